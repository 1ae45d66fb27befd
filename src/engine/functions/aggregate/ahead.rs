//! Aggregates that append all values to one vector: while it grows, the old one stands beside the new one. What the next
//! values may make of it is told before they come.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, GenericStringArray, OffsetSizeTrait};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

/// What a vector takes once so many more elements have come.
pub fn grown<T>(vector: &Vec<T>, more: usize) -> usize {
    grown_capacity(vector.capacity(), vector.len().saturating_add(more)).saturating_mul(size_of::<T>())
}

/// What becomes of a capacity where so many elements are to have room.
fn grown_capacity(capacity: usize, needed: usize) -> usize {
    if needed > capacity { needed.max(capacity.saturating_mul(2)) } else { capacity }
}

/// An accumulator of DataFusion's that appends numbers, or texts with delimiters, to one vector.
#[derive(Debug)]
pub struct Ahead {
    inner: Box<dyn Accumulator>,
    /// Its size without the vector.
    empty: usize,
    /// Bytes of a delimiter.
    delimiter: usize,
    /// Bytes in the vector.
    filled: usize,
    /// The most that came at once.
    most: usize,
}

impl Ahead {
    /// One that nothing has come to, and the length of its delimiters.
    pub fn of(inner: Box<dyn Accumulator>, delimiter: usize) -> Box<dyn Accumulator> {
        Box::new(Self { empty: inner.size(), inner, delimiter, filled: 0, most: 0 })
    }

    /// Bytes that are appended of these values, or of lists of such.
    fn appended(&self, values: &ArrayRef) -> usize {
        let present = values.len() - values.null_count();
        let bytes = match values.data_type() {
            DataType::List(_) => {
                let lists = values.as_list::<i32>();
                return lists.iter().flatten().map(|values| self.appended(&values)).sum();
            }
            DataType::Utf8View => values.as_string_view().total_bytes_len(),
            DataType::Utf8 => text_bytes(values.as_string::<i32>()),
            DataType::LargeUtf8 => text_bytes(values.as_string::<i64>()),
            number => present * number.primitive_width().unwrap_or_default(),
        };
        bytes + present * self.delimiter
    }

    fn note(&mut self, columns: &[ArrayRef]) {
        let appended = columns.first().map_or(0, |values| self.appended(values));
        self.filled += appended;
        self.most = self.most.max(appended);
    }
}

fn text_bytes<O: OffsetSizeTrait>(texts: &GenericStringArray<O>) -> usize {
    let offsets = texts.value_offsets();
    offsets[offsets.len() - 1].as_usize() - offsets[0].as_usize()
}

impl Accumulator for Ahead {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)?;
        self.note(values);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)?;
        self.note(states);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        let vector = self.inner.size().saturating_sub(self.empty);
        self.empty + size_of::<Self>() + grown_capacity(vector, self.filled.saturating_add(self.most))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Float64Array, StringArray, StringViewArray};

    use super::*;

    /// Appends to one vector, as DataFusion's do.
    #[derive(Debug, Default)]
    struct Bytes(Vec<u8>);

    impl Accumulator for Bytes {
        fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
            let bytes = 8 * (values[0].len() - values[0].null_count());
            self.0.extend(std::iter::repeat_n(0, bytes));
            Ok(())
        }

        fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
            Ok(())
        }

        fn state(&mut self) -> Result<Vec<ScalarValue>> {
            Ok(vec![])
        }

        fn evaluate(&mut self) -> Result<ScalarValue> {
            Ok(ScalarValue::Null)
        }

        fn size(&self) -> usize {
            size_of::<Self>() + self.0.capacity()
        }
    }

    #[test]
    fn what_a_vector_grows_to_is_told_before() {
        let mut ahead = Ahead::of(Box::new(Bytes::default()), 0);
        let empty = ahead.size();
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(2.0), Some(3.0)]));
        let mut told = 0;
        let mut plain = Bytes::default();
        for batch in 0..1_000 {
            ahead.update_batch(&[Arc::clone(&values)]).unwrap();
            plain.update_batch(&[Arc::clone(&values)]).unwrap();
            assert!(batch == 0 || plain.0.capacity() <= told, "{} of {told}", plain.0.capacity());
            assert!(ahead.size() - empty >= told);
            told = ahead.size() - empty;
        }
        assert!(told <= 2 * plain.0.capacity());
        let mut vector = Vec::<u64>::with_capacity(8);
        vector.extend(0..6);
        assert_eq!((grown(&vector, 2), grown(&vector, 3), grown(&vector, 90)), (64, 128, 768));
    }

    #[test]
    fn texts_are_appended_with_their_delimiters() {
        let ahead = Ahead { inner: Box::new(Bytes::default()), empty: 0, delimiter: 2, filled: 0, most: 0 };
        let texts = [Some("a text that is too long to stand in a view"), None, Some("short"), Some("x")];
        let arrays: [ArrayRef; 2] =
            [Arc::new(StringArray::from_iter(texts)), Arc::new(StringViewArray::from_iter(texts))];
        for texts in arrays {
            assert_eq!(ahead.appended(&texts.slice(1, 3)), 6 + 2 * 2);
        }
    }
}
