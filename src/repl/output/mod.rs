//! Results as tables, CSV or JSON.

mod cell;
mod format;
mod pager;
mod table;
mod text;

pub(super) use cell::{is_numeric, short_float, texts};
pub use format::Format;
pub(super) use format::{Expanded, ResultWriter, Screen};
pub(super) use pager::Output;
pub(super) use text::{cut, pad, width};
