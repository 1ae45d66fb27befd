//! Results as line charts in the terminal.

mod canvas;
mod selection;

use arrow::record_batch::RecordBatch;

use crate::error::Result;

use super::terminal::Style;

/// A chart of the rows, `columns` wide; `request` names columns to draw and `key=value` pairs to keep.
pub(super) fn chart(batches: &[RecordBatch], request: &str, columns: usize, style: Style) -> Result<String> {
    Ok(canvas::draw(&selection::select(batches, request)?, columns, style))
}
