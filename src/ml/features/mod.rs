//! A panel as the inputs of a network: one code path for training and serving.

mod batch;
mod calendar;
mod cell;
mod column;
mod encoded;
mod factors;
mod featurizer;
mod history;
mod holidays;
mod outliers;
mod rows;
mod target_encoding;
mod taught;
mod texts;
mod window;

pub use batch::WindowBatch;
pub use column::ColumnEncoder;
pub use encoded::EncodedPanel;
pub use factors::{Factors, Switch};
#[cfg(test)]
pub(crate) use featurizer::tests::panel as test_panel;
pub use featurizer::{Featurizer, Layout, Widths, canonical_order};
pub use holidays::{Holidays, ListedDay};
pub use outliers::Outliers;
pub use rows::{RowColumn, RowWriter};
pub use target_encoding::{EncodingHistory, TargetEncoding};
pub use taught::Taught;
pub use texts::Texts;
pub use window::Gatherer;
