//! Aggregates over the values of a group in the order of `WITHIN GROUP (ORDER BY x)`.

use std::hash::{Hash, Hasher};
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{SortOptions, concat, filter, is_not_null, sort};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use crate::engine::array_bytes::array_bytes;
use crate::engine::storage::sql_name;
use crate::error::{Error, Subject};

/// An aggregate of sorted values.
#[derive(Debug)]
pub struct OfSortedValues {
    /// Its SQL name.
    pub name: &'static str,
    /// The types that its arguments are taken as, the value and perhaps another; none where they are no such arguments.
    pub arguments: fn(&[DataType]) -> Option<Vec<DataType>>,
    /// What it makes of values, of which there is one at least and none is NULL, and of its other argument.
    pub pick: fn(&ArrayRef, &ScalarValue) -> Result<ScalarValue>,
}

impl OfSortedValues {
    /// The aggregate as a function of the SQL engine.
    pub fn into_udaf(self) -> AggregateUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::new_from_impl(SortedUdaf { aggregate: Arc::new(self), signature })
    }
}

/// An array of one list.
pub fn one_list(items: ArrayRef) -> Result<ListArray> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    Ok(ListArray::try_new(field, OffsetBuffer::from_lengths([items.len()]), items, None)?)
}

#[derive(Debug)]
struct SortedUdaf {
    aggregate: Arc<OfSortedValues>,
    signature: Signature,
}

impl PartialEq for SortedUdaf {
    fn eq(&self, other: &Self) -> bool {
        self.aggregate.name == other.aggregate.name
    }
}

impl Eq for SortedUdaf {}

impl Hash for SortedUdaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.aggregate.name.hash(state);
    }
}

impl AggregateUDFImpl for SortedUdaf {
    fn name(&self) -> &str {
        self.aggregate.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = (self.aggregate.arguments)(types);
        Ok(coerced.ok_or_else(|| {
            let types: Vec<String> = types.iter().map(|t| sql_name(t).to_lowercase()).collect();
            let message =
                format!("no function {}({}) takes values of these types", self.name(), types.join(", "));
            Error::input(Subject::Function, message)
                .with_hint(format!("it is written {}(…) WITHIN GROUP (ORDER BY x)", self.name()))
        })?)
    }

    /// The type of the values, in a list for a list of places.
    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types {
            [value, DataType::List(_)] => DataType::new_list(value.clone(), true),
            types => types.first().cloned().unwrap_or(DataType::Null),
        })
    }

    /// A value keeps what clients are told of its type.
    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
        let data_type = self.return_type(&types)?;
        let field = match fields.first() {
            Some(value) if value.data_type() == &data_type => value.as_ref().clone(),
            _ => Field::new("", data_type, true),
        };
        Ok(Arc::new(field.with_name(self.name()).with_nullable(true)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let type_of = |n: usize| args.input_fields.get(n).map_or(DataType::Null, |f| f.data_type().clone());
        let values = Field::new_list_field(type_of(0), true);
        Ok(vec![
            Arc::new(Field::new_list(format_state_name(args.name, "values"), values, true)),
            Arc::new(Field::new(format_state_name(args.name, "argument"), type_of(1), true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            let message = format!("{} does not take DISTINCT", self.name());
            return Err(Error::input(Subject::Function, message).into());
        }
        let type_of = |n: usize| args.expr_fields.get(n).map_or(DataType::Null, |f| f.data_type().clone());
        Ok(Box::new(Values {
            aggregate: Arc::clone(&self.aggregate),
            descending: args.order_bys.first().is_some_and(|order| order.options.descending),
            data_type: type_of(0),
            result: ScalarValue::try_from(args.return_field.data_type())?,
            values: vec![],
            bytes: 0,
            argument: ScalarValue::try_from(&type_of(1))?,
        }))
    }

    /// Values are sorted once all of them are here.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

/// Arrays of fewer values are put together, since each takes memory beside its values.
const ROWS_MIN: usize = 1_024;

/// The values of one group.
#[derive(Debug)]
struct Values {
    aggregate: Arc<OfSortedValues>,
    descending: bool,
    data_type: DataType,
    /// What there is of no values.
    result: ScalarValue,
    values: Vec<ArrayRef>,
    /// What these take.
    bytes: usize,
    argument: ScalarValue,
}

impl Values {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let present = match values.logical_null_count() {
            0 => Arc::clone(values),
            _ => filter(values, &is_not_null(values)?)?,
        };
        if !present.is_empty() {
            self.bytes += array_bytes(&present);
            self.values.push(present);
        }
        while let [.., before, last] = self.values.as_slice()
            && before.len() <= last.len()
            && before.len() < ROWS_MIN
        {
            let both = concat(&[before.as_ref(), last.as_ref()])?;
            self.values.truncate(self.values.len() - 2);
            self.values.push(both);
        }
        Ok(())
    }

    /// Takes the other argument, which is the same in all rows, from those that have it.
    fn argue(&mut self, arguments: &ArrayRef) -> Result<()> {
        if self.argument.is_null()
            && let Some(row) = (0..arguments.len()).find(|row| arguments.is_valid(*row))
        {
            self.argument = ScalarValue::try_from_array(arguments, row)?;
        }
        Ok(())
    }

    /// All values in one array, which takes the place of the others.
    fn all(&mut self) -> Result<ArrayRef> {
        let values: Vec<&dyn Array> = self.values.iter().map(AsRef::as_ref).collect();
        let all = match values.as_slice() {
            [] => return Ok(new_empty_array(&self.data_type)),
            values => concat(values)?,
        };
        self.values = vec![Arc::clone(&all)];
        Ok(all)
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0])?;
        values.get(1).map_or(Ok(()), |arguments| self.argue(arguments))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.add(&values)?;
        }
        self.argue(&states[1])
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = ScalarValue::List(Arc::new(one_list(self.all()?)?));
        Ok(vec![values, self.argument.clone()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_empty() {
            return Ok(self.result.clone());
        }
        let options = SortOptions { descending: self.descending, nulls_first: false };
        let sorted = sort(&self.all()?, Some(options))?;
        self.values = vec![Arc::clone(&sorted)];
        (self.aggregate.pick)(&sorted, &self.argument)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<ArrayRef>() + self.bytes + self.argument.size()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float64Array, Int64Array};

    use super::*;
    use crate::engine::functions::aggregate::percentile_disc::PERCENTILE_DISC;

    fn values() -> Values {
        Values {
            aggregate: Arc::new(PERCENTILE_DISC),
            descending: false,
            data_type: DataType::Int64,
            result: ScalarValue::Int64(None),
            values: vec![],
            bytes: 0,
            argument: ScalarValue::Float64(None),
        }
    }

    fn rows(values: &[Option<i64>]) -> Vec<ArrayRef> {
        let places = Float64Array::from(vec![0.5; values.len()]);
        vec![Arc::new(Int64Array::from(values.to_vec())), Arc::new(places)]
    }

    #[test]
    fn values_are_sorted_across_partial_states() {
        let (mut left, mut right, mut empty) = (values(), values(), values());
        left.update_batch(&rows(&[Some(9), None, Some(1)])).unwrap();
        right.update_batch(&rows(&[Some(4), Some(3), Some(2)])).unwrap();
        for other in [&mut right, &mut empty] {
            let state: Vec<_> = other.state().unwrap().iter().map(|s| s.to_array().unwrap()).collect();
            left.merge_batch(&state).unwrap();
        }
        assert_eq!(left.evaluate().unwrap(), ScalarValue::from(3_i64));
        assert_eq!(empty.evaluate().unwrap(), ScalarValue::Int64(None));
    }

    #[test]
    fn values_that_come_one_by_one_take_as_much_as_those_that_come_together() {
        let (mut one_by_one, mut together) = (values(), values());
        let all: Vec<_> = (0..3_000).map(|n| Some(n * 7 % 3_000)).collect();
        all.iter().for_each(|value| one_by_one.update_batch(&rows(&[*value])).unwrap());
        together.update_batch(&rows(&all)).unwrap();
        assert!(one_by_one.values.len() < 16, "{}", one_by_one.values.len());
        assert!(one_by_one.bytes < 2 * together.bytes, "{}", one_by_one.bytes);
        for mut values in [one_by_one, together] {
            assert_eq!(values.evaluate().unwrap(), ScalarValue::from(1_499_i64));
            assert_eq!(values.evaluate().unwrap(), ScalarValue::from(1_499_i64));
        }
    }
}
