//! The memory of values that share their buffers with others.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait, RecordBatch,
};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer};
use datafusion::arrow::datatypes::{ByteViewType, DataType};
use datafusion::error::Result;

/// What the rows of a batch take by themselves, whatever else its buffers hold.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| array_bytes(column)).fold(0, usize::saturating_add)
}

/// What the values of an array take by themselves, whatever else its buffers hold.
pub fn array_bytes(array: &dyn Array) -> usize {
    let nulls = array.nulls().map_or(0, |nulls| nulls.len().div_ceil(8));
    let values = match array.data_type() {
        DataType::Utf8View => view_bytes(array.as_string_view()),
        DataType::BinaryView => view_bytes(array.as_binary_view()),
        DataType::List(_) => list_bytes(array.as_list::<i32>().values(), array.as_list::<i32>().offsets()),
        DataType::LargeList(_) => {
            list_bytes(array.as_list::<i64>().values(), array.as_list::<i64>().offsets())
        }
        DataType::Map(..) => list_bytes(array.as_map().entries(), array.as_map().offsets()),
        DataType::FixedSizeList(..) => array_bytes(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| array_bytes(column)).sum(),
        DataType::Dictionary(..) => return dictionary_bytes(array),
        _ => {
            let whole = |_| array.get_array_memory_size();
            return array.to_data().get_slice_memory_size().unwrap_or_else(whole);
        }
    };
    values.saturating_add(nulls)
}

fn view_bytes<T: ByteViewType>(array: &GenericByteViewArray<T>) -> usize {
    size_of_val::<[u128]>(array.views()).saturating_add(array.total_buffer_bytes_used())
}

fn list_bytes<O: OffsetSizeTrait>(items: &dyn Array, offsets: &OffsetBuffer<O>) -> usize {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    let items = items.slice(first, last - first);
    size_of_val::<[O]>(offsets).saturating_add(array_bytes(&items))
}

/// The keys, and as many of the values as they may be of: arrays of the same rows share them.
fn dictionary_bytes(array: &dyn Array) -> usize {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    let each = array_bytes(values) / values.len().max(1);
    array_bytes(dictionary.keys()).saturating_add(each.saturating_mul(array.len().min(values.len())))
}

/// The batch without the texts of other rows, where most of what its buffers hold is of these.
///
/// Sorts and merges hand on batches of which each holds the buffers of all, and count them for each.
pub fn compacted(batch: RecordBatch) -> Result<RecordBatch> {
    let own: Vec<Option<ArrayRef>> = batch.columns().iter().map(own_texts).collect();
    if own.iter().all(Option::is_none) {
        return Ok(batch);
    }
    let columns =
        batch.columns().iter().zip(own).map(|(column, own)| own.unwrap_or_else(|| Arc::clone(column)));
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

/// The texts in buffers of their own, where most of what their buffers hold is of others.
pub fn own_texts(array: &ArrayRef) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::Utf8View => own_bytes(array.as_string_view()).map(|own| Arc::new(own) as ArrayRef),
        DataType::BinaryView => own_bytes(array.as_binary_view()).map(|own| Arc::new(own) as ArrayRef),
        _ => None,
    }
}

/// The values in buffers of their own, where their buffers hold more than twice as much.
fn own_bytes<T: ByteViewType>(values: &GenericByteViewArray<T>) -> Option<GenericByteViewArray<T>> {
    let held: usize = values.data_buffers().iter().map(Buffer::len).sum();
    (held / 2 > values.total_buffer_bytes_used()).then(|| values.gc())
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use datafusion::arrow::array::{DictionaryArray, ListArray, StringViewArray, StructArray};
    use datafusion::arrow::datatypes::{Field, Int32Type, Int64Type};

    use super::*;

    const TEXT: &str = "a text that is too long to stand in a view";

    fn texts(count: usize) -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(repeat_n(TEXT, count)))
    }

    #[test]
    fn slices_of_lists_count_their_items() {
        let lists =
            ListArray::from_iter_primitive::<Int64Type, _, _>((0..100).map(|n| Some(vec![Some(n); 10])));
        assert_eq!(array_bytes(&lists.slice(5, 2)), 3 * 4 + 20 * 8);
        let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([2; 50]), texts(100), None);
        assert_eq!(array_bytes(&lists.slice(7, 3)), 4 * 4 + 6 * (16 + TEXT.len()));
    }

    #[test]
    fn texts_count_wherever_they_stand() {
        let field = Arc::new(Field::new("text", DataType::Utf8View, true));
        let rows = StructArray::from(vec![(field, texts(100))]);
        assert_eq!(array_bytes(&rows.slice(5, 10)), 10 * (16 + TEXT.len()));
    }

    #[test]
    fn slices_of_a_dictionary_share_its_values() {
        let words: Vec<String> = (0..1_000).map(|n| format!("{TEXT} {:02}", n % 100)).collect();
        let all: DictionaryArray<Int32Type> = words.iter().map(String::as_str).collect();
        let (whole, slice) = (array_bytes(&all), array_bytes(&all.slice(0, 10)));
        assert!((8_000..12_000).contains(&whole), "{whole}");
        assert!((500..600).contains(&slice), "{slice}");
    }
}
