//! The texts in a window's frame, which rows leave.

use std::collections::VecDeque;
use std::mem::{size_of, size_of_val};

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use crate::error::Error;

/// Texts one behind the other as they came, each but the first behind its delimiter.
#[derive(Debug, Default)]
pub struct FrameTexts {
    texts: VecDeque<(String, String)>,
    /// Bytes of all of them.
    bytes: usize,
}

impl FrameTexts {
    fn joined(&self) -> Option<String> {
        let mut texts = self.texts.iter();
        let mut joined = texts.next()?.0.clone();
        joined.reserve(self.bytes - joined.len());
        for (text, delimiter) in texts {
            joined.push_str(delimiter);
            joined.push_str(text);
        }
        Some(joined)
    }
}

impl Accumulator for FrameTexts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let texts = cast(&values[0], &DataType::LargeUtf8)?;
        let delimiters = cast(&values[1], &DataType::LargeUtf8)?;
        for (text, delimiter) in texts.as_string::<i64>().iter().zip(delimiters.as_string::<i64>()) {
            let Some(text) = text else { continue };
            let delimiter = delimiter.unwrap_or_default();
            self.bytes += text.len() + delimiter.len();
            self.texts.push_back((text.to_owned(), delimiter.to_owned()));
        }
        Ok(())
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        Err(Error::internal("the texts of a window's frame are not merged").into())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let leaving = values[0].len() - values[0].logical_null_count();
        for (text, delimiter) in self.texts.drain(..leaving.min(self.texts.len())) {
            self.bytes -= text.len() + delimiter.len();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::LargeUtf8(self.joined()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.texts.capacity() * size_of::<(String, String)>() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::StringArray;

    use super::*;

    #[test]
    fn texts_leave_with_their_delimiters() {
        let rows = |rows: &[(Option<&str>, &str)]| -> Vec<ArrayRef> {
            let (texts, delimiters): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
            vec![Arc::new(StringArray::from(texts)), Arc::new(StringArray::from(delimiters))]
        };
        let mut frame = FrameTexts::default();
        assert_eq!(frame.joined(), None);
        frame
            .update_batch(&rows(&[(Some("a"), ","), (None, ","), (Some("b"), ";"), (Some("c"), "-")]))
            .unwrap();
        assert_eq!(frame.joined().as_deref(), Some("a;b-c"));
        frame.retract_batch(&rows(&[(Some("a"), ","), (None, ",")])).unwrap();
        assert_eq!(frame.joined().as_deref(), Some("b-c"));
        assert_eq!(frame.bytes, 4);
        frame.retract_batch(&rows(&[(Some("b"), ";"), (Some("c"), "-")])).unwrap();
        assert_eq!((frame.joined(), frame.bytes), (None, 0));
    }
}
