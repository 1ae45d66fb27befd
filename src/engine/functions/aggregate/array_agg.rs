//! `array_agg(x ORDER BY y)`: DataFusion keeps a vector of scalars for each row, and counts them all anew with every
//! batch; here a row is the bytes that sort it and those of its value.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BinaryBuilder, ListArray, RecordBatch};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{filter, is_not_null};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::cast::{as_binary_array, as_list_array};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::array_agg::ArrayAgg as Unordered;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature};
use datafusion::scalar::ScalarValue;

use crate::engine::array_bytes::own_texts;
use crate::engine::functions::aggregate::ahead::grown;
use crate::engine::methods::delegate;

/// Values as an array: DataFusion's where they have no order, and for types whose bytes do not sort.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct ArrayAgg(Unordered);

impl AggregateUDFImpl for ArrayAgg {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        groups_accumulator_supported(args: AccumulatorArgs<'_>) -> bool;
        create_groups_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>>;
        supports_null_handling_clause() -> bool;
        documentation() -> Option<&Documentation>;
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        match ordered_state(&args) {
            Some(fields) => Ok(fields),
            None => self.0.state_fields(args),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if let Some(ordered) = OrderedArray::of(&args)? {
            return Ok(Box::new(ordered));
        }
        if args.is_distinct || !args.order_bys.is_empty() {
            return self.0.accumulator(args);
        }
        let (ignore_nulls, array) = (args.ignore_nulls, self.0.accumulator(args)?);
        Ok(Box::new(Unsorted { array, ignore_nulls, kept: RecordBatchMemoryCounter::new() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _beneficial_ordering: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }
}

/// True for types whose values come back from their bytes as they were.
fn has_bytes(data_type: &DataType) -> bool {
    data_type.is_primitive()
        || data_type.is_string()
        || matches!(data_type, DataType::Boolean | DataType::Binary | DataType::BinaryView)
}

/// What an [`OrderedArray`] keeps of the first argument; `None` where DataFusion's accumulator is to do it.
pub fn ordered_state(args: &StateFieldsArgs<'_>) -> Option<Vec<FieldRef>> {
    let value = args.input_fields.first()?.data_type();
    let sorted = args.ordering_fields.iter().all(|field| has_bytes(field.data_type()));
    if args.is_distinct || args.ordering_fields.is_empty() || !sorted || !has_bytes(value) {
        return None;
    }
    let list = |part, item: &DataType| {
        let item = Field::new_list_field(item.clone(), true);
        Arc::new(Field::new_list(format_state_name(args.name, part), item, true)) as FieldRef
    };
    Some(vec![list("values", value), list("order", &DataType::Binary)])
}

/// DataFusion's array of values as they come. It keeps whole batches, and counts 16 bytes for each text: here the buffers
/// count, each once.
#[derive(Debug)]
struct Unsorted {
    array: Box<dyn Accumulator>,
    ignore_nulls: bool,
    kept: RecordBatchMemoryCounter,
}

impl Unsorted {
    fn keep(&mut self, values: &ArrayRef) -> Result<()> {
        self.kept.count_batch(&RecordBatch::try_from_iter([("values", Arc::clone(values))])?);
        Ok(())
    }
}

impl Accumulator for Unsorted {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [column] = columns else { return self.array.update_batch(columns) };
        // Without its NULLs a column is a copy, which is kept in its place.
        let values = match self.ignore_nulls && column.logical_null_count() > 0 {
            true => filter(column, &is_not_null(column)?)?,
            false => Arc::clone(column),
        };
        // A window hands over single rows, each with the buffers of all: every answer would name them anew.
        let values = own_texts(&values).unwrap_or(values);
        self.keep(&values)?;
        self.array.update_batch(&[values])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        if let [lists] = states {
            self.keep(as_list_array(lists)?.values())?;
        }
        self.array.merge_batch(states)
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.array.retract_batch(columns)
    }

    fn supports_retract_batch(&self) -> bool {
        self.array.supports_retract_batch()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.array.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.array.evaluate()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.kept.memory_usage()
    }
}

/// The rows of one group: each the bytes that sort it, and behind them those of its value.
#[derive(Debug)]
pub struct OrderedArray {
    order: RowConverter,
    values: RowConverter,
    data_type: DataType,
    ignore_nulls: bool,
    bytes: Vec<u8>,
    /// Where the two parts of each row end.
    ends: Vec<(usize, usize)>,
    /// The most bytes, and rows, that came at once.
    most: (usize, usize),
}

impl OrderedArray {
    /// The rows of an aggregate's first argument; `None` where it has no order, or [`ordered_state`] is `None`.
    pub fn of(args: &AccumulatorArgs<'_>) -> Result<Option<Self>> {
        let Some(value) = args.expr_fields.first() else { return Ok(None) };
        if args.is_distinct || args.order_bys.is_empty() || !has_bytes(value.data_type()) {
            return Ok(None);
        }
        let mut order = vec![];
        for by in args.order_bys {
            let data_type = by.expr.data_type(args.schema)?;
            if !has_bytes(&data_type) {
                return Ok(None);
            }
            let options = if args.is_reversed { !by.options } else { by.options };
            order.push(SortField::new_with_options(data_type, options));
        }
        let ignore_nulls = args.ignore_nulls && value.is_nullable();
        Ok(Some(Self::new(RowConverter::new(order)?, value.data_type(), ignore_nulls)?))
    }

    fn new(order: RowConverter, data_type: &DataType, ignore_nulls: bool) -> Result<Self> {
        let values = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let (bytes, ends, most) = <_>::default();
        Ok(Self { order, values, data_type: data_type.clone(), ignore_nulls, bytes, ends, most })
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((middle, self.bytes.len()));
    }

    /// Notes how much has come since there were so many bytes and rows.
    fn note(&mut self, (bytes, rows): (usize, usize)) {
        self.most.0 = self.most.0.max(self.bytes.len() - bytes);
        self.most.1 = self.most.1.max(self.ends.len() - rows);
    }

    fn start(&self, row: usize) -> usize {
        if row == 0 { 0 } else { self.ends[row - 1].1 }
    }

    fn key(&self, row: usize) -> &[u8] {
        &self.bytes[self.start(row)..self.ends[row].0]
    }

    fn value(&self, row: usize) -> &[u8] {
        let (middle, end) = self.ends[row];
        &self.bytes[middle..end]
    }

    /// The rows in their order; equal ones stay as they came.
    fn sorted(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.ends.len()).collect();
        rows.sort_by(|a, b| self.key(*a).cmp(self.key(*b)));
        rows
    }

    fn array(&self, rows: &[usize]) -> Result<ArrayRef> {
        let parser = self.values.parser();
        let mut columns = self.values.convert_rows(rows.iter().map(|row| parser.parse(self.value(*row))))?;
        columns.pop().ok_or_else(|| DataFusionError::Internal("a value has one column".to_owned()))
    }
}

impl Accumulator for OrderedArray {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [column, order @ ..] = columns else { return Ok(()) };
        let values = self.values.convert_columns(std::slice::from_ref(column))?;
        // A window gives its rows in their order, without what they are ordered by.
        let keys = if order.is_empty() { None } else { Some(self.order.convert_columns(order)?) };
        let nulls = if self.ignore_nulls { column.logical_nulls() } else { None };
        let before = (self.bytes.len(), self.ends.len());
        for row in 0..column.len() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                let key = keys.as_ref().map_or(&[][..], |keys| keys.row(row).data());
                self.push(key, values.row(row).data());
            }
        }
        self.note(before);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let rows = self.sorted();
        let mut keys = BinaryBuilder::with_capacity(rows.len(), 0);
        rows.iter().for_each(|row| keys.append_value(self.key(*row)));
        Ok(vec![one_list(self.array(&rows)?)?, one_list(Arc::new(keys.finish()))?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, keys] = states else {
            return Err(DataFusionError::Internal(format!("an array keeps 2 states, got {}", states.len())));
        };
        let (values, keys) = (as_list_array(values)?, as_list_array(keys)?);
        let before = (self.bytes.len(), self.ends.len());
        for (values, keys) in values.iter().flatten().zip(keys.iter().flatten()) {
            let values = self.values.convert_columns(&[values])?;
            for (value, key) in values.iter().zip(as_binary_array(&keys)?.iter().flatten()) {
                self.push(key, value.as_ref());
            }
        }
        self.note(before);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.ends.is_empty() {
            return Ok(ScalarValue::new_null_list(self.data_type.clone(), true, 1));
        }
        one_list(self.array(&self.sorted())?)
    }

    fn size(&self) -> usize {
        let rows = grown(&self.bytes, self.most.0) + grown(&self.ends, self.most.1);
        size_of::<Self>() + self.order.size() + self.values.size() + rows
    }
}

fn one_list(items: ArrayRef) -> Result<ScalarValue> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let list = ListArray::try_new(field, OffsetBuffer::from_lengths([items.len()]), items, None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use datafusion::arrow::array::{AsArray, Int64Array, StringArray, StringViewArray};
    use datafusion::arrow::compute::SortOptions;
    use datafusion::functions_aggregate::array_agg::ArrayAggAccumulator;

    use super::*;

    fn descending(ignore_nulls: bool) -> OrderedArray {
        let options = SortOptions { descending: true, nulls_first: false };
        let order = RowConverter::new(vec![SortField::new_with_options(DataType::Int64, options)]).unwrap();
        OrderedArray::new(order, &DataType::Utf8, ignore_nulls).unwrap()
    }

    fn batch(rows: &[(Option<&str>, Option<i64>)]) -> Vec<ArrayRef> {
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        ]
    }

    fn texts(array: &mut OrderedArray) -> Vec<Option<String>> {
        let list = array.evaluate().unwrap().to_array().unwrap();
        let texts = list.as_list::<i32>().value(0);
        texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn rows_are_in_order_across_states_and_equal_ones_as_they_came() {
        let (mut left, mut right) = (descending(false), descending(false));
        left.update_batch(&batch(&[(Some("c"), Some(1)), (None, Some(7)), (Some("z"), Some(3))])).unwrap();
        right
            .update_batch(&batch(&[(Some("a"), Some(3)), (Some("last"), None), (Some("e"), Some(9))]))
            .unwrap();
        let state: Vec<_> = right.state().unwrap().iter().map(|s| s.to_array().unwrap()).collect();
        left.merge_batch(&state).unwrap();
        let expected = [Some("e"), None, Some("z"), Some("a"), Some("c"), Some("last")];
        assert_eq!(texts(&mut left), expected.map(|text| text.map(str::to_owned)));
        let mut present = descending(true);
        present.update_batch(&batch(&[(None, Some(7)), (Some("z"), Some(3))])).unwrap();
        assert_eq!(texts(&mut present), [Some("z".to_owned())]);
        assert!(descending(false).evaluate().unwrap().is_null());
    }

    #[test]
    fn texts_that_come_as_views_count_with_their_buffers_once() {
        let text = "a text that is too long to stand in a view";
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(repeat_n(text, 1_000)));
        let array = || {
            let array = Box::new(ArrayAggAccumulator::try_new(&DataType::Utf8View, false).unwrap());
            Unsorted { array, ignore_nulls: false, kept: RecordBatchMemoryCounter::new() }
        };
        let (mut all, mut parts) = (array(), array());
        let empty = all.size();
        all.update_batch(&[Arc::clone(&texts)]).unwrap();
        assert!(all.size() - empty >= 1_000 * (16 + text.len()), "{}", all.size() - empty);
        for part in [texts.slice(0, 300), texts.slice(300, 700)] {
            parts.update_batch(&[part]).unwrap();
        }
        assert!(parts.size() < all.size() * 3 / 2, "{} {}", parts.size(), all.size());
        assert_eq!(parts.evaluate().unwrap(), all.evaluate().unwrap());
        let state: Vec<_> = all.state().unwrap().iter().map(|state| state.to_array().unwrap()).collect();
        let mut merged = array();
        merged.merge_batch(&state).unwrap();
        assert!(merged.size() - empty >= 1_000 * (16 + text.len()), "{}", merged.size() - empty);
    }

    #[test]
    fn a_row_takes_its_bytes_and_little_more() {
        let mut array = descending(false);
        let empty = array.size();
        for _ in 0..100 {
            array.update_batch(&batch(&[(Some("eight by"), Some(1)); 100])).unwrap();
        }
        assert!(array.size() - empty < 10_000 * 100, "{}", array.size() - empty);
        let mut told = array.size();
        for _ in 0..200 {
            array.update_batch(&batch(&[(Some("eight by"), Some(1)); 100])).unwrap();
            let vectors = array.bytes.capacity() + array.ends.capacity() * size_of::<(usize, usize)>();
            assert!(empty + vectors <= told, "{vectors} of {told}");
            told = array.size();
        }
    }
}
