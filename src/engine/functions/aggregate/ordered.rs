//! Aggregates that read a series in time order, `f(y, ... ORDER BY t)`, however its rows arrive.

use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::cast::{as_binary_array, as_float64_array, as_list_array};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, DocSection, Documentation, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::metric::Parameter;
use crate::error::{Error, Result, Subject};

/// The target of a series.
pub const TARGET: Parameter = ("y", "the target; NULL is a missing period");
/// The seasonal period.
pub const SEASON_LENGTH: Parameter = ("season_length", "periods in a season, 7 for daily data");

/// An aggregate over the values of one series in the order of its ORDER BY.
///
/// Every row is one period; NULL is a missing one. NaN and infinity are errors.
#[derive(Debug)]
pub struct OrderedStatistic {
    /// Its SQL name.
    pub name: &'static str,
    /// Its arguments: the target, and perhaps a positive integer.
    pub parameters: &'static [Parameter],
    /// The exact variant, in one sentence.
    pub description: &'static str,
    /// A statement that runs as it stands.
    pub sql_example: &'static str,
    /// The statistic of the values (NaN is missing) and the integer argument, 1 where there is none.
    pub statistic: fn(&[f64], usize) -> Option<f64>,
}

impl OrderedStatistic {
    /// The statistic as a function of the SQL engine.
    pub fn into_udaf(self) -> AggregateUDF {
        AggregateUDF::new_from_impl(OrderedUdaf::new(Arc::new(self)))
    }

    fn signature(&self) -> Signature {
        let names: Vec<_> = self.parameters.iter().map(|p| p.0.to_owned()).collect();
        let types = [DataType::Float64, DataType::Int64].into_iter().take(names.len()).collect();
        Signature::exact(types, Volatility::Immutable)
            .with_parameter_names(names)
            .expect("there is one distinct name for each argument type")
    }

    fn documentation(&self) -> Documentation {
        let section = DocSection { include: true, label: "Forecast metrics", description: None };
        let names: Vec<_> = self.parameters.iter().map(|p| p.0).collect();
        let syntax = format!("{}({} ORDER BY t)", self.name, names.join(", "));
        let documentation = Documentation::builder(section, self.description, syntax);
        let documentation = documentation.with_sql_example(self.sql_example);
        self.parameters.iter().fold(documentation, |d, p| d.with_argument(p.0, p.1)).build()
    }
}

#[derive(Debug)]
struct OrderedUdaf {
    statistic: Arc<OrderedStatistic>,
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for OrderedUdaf {
    fn eq(&self, other: &Self) -> bool {
        self.statistic.name == other.statistic.name
    }
}

impl Eq for OrderedUdaf {}

impl Hash for OrderedUdaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.statistic.name.hash(state);
    }
}

impl OrderedUdaf {
    fn new(statistic: Arc<OrderedStatistic>) -> Self {
        Self { signature: statistic.signature(), documentation: statistic.documentation(), statistic }
    }
}

impl AggregateUDFImpl for OrderedUdaf {
    fn name(&self) -> &str {
        self.statistic.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let list = |part, item| {
            let item = Field::new_list_field(item, false);
            Arc::new(Field::new_list(format_state_name(args.name, part), item, true)) as FieldRef
        };
        let season = Field::new(format_state_name(args.name, "argument"), DataType::Int64, true);
        Ok(vec![list("values", DataType::Float64), list("order", DataType::Binary), Arc::new(season)])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let name = self.statistic.name;
        if args.order_bys.is_empty() {
            let message = format!("{name} needs the order of the rows inside its parentheses");
            let example = format!("write {name}({} ORDER BY sale_date)", self.parameters_text());
            return Err(Error::input(Subject::Function, message).with_hint(example).into());
        }
        if args.is_distinct {
            let message = format!("{name} does not take DISTINCT: every row is one period");
            return Err(Error::input(Subject::Function, message).into());
        }
        let sort_fields = args.order_bys.iter().map(|order| {
            let data_type = order.expr.data_type(args.schema)?;
            Ok(SortField::new_with_options(data_type, order.options))
        });
        let order = RowConverter::new(sort_fields.collect::<DataFusionResult<_>>()?)?;
        Ok(Box::new(SeriesAccumulator::new(Arc::clone(&self.statistic), order)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _beneficial_ordering: bool,
    ) -> DataFusionResult<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl OrderedUdaf {
    fn parameters_text(&self) -> String {
        let names: Vec<_> = self.statistic.parameters.iter().map(|p| p.0).collect();
        names.join(", ")
    }
}

/// The rows of one group: values beside the bytes that sort them.
#[derive(Debug)]
struct SeriesAccumulator {
    statistic: Arc<OrderedStatistic>,
    order: RowConverter,
    values: Vec<f64>,
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    argument: Option<i64>,
}

impl SeriesAccumulator {
    fn new(statistic: Arc<OrderedStatistic>, order: RowConverter) -> Self {
        Self { statistic, order, values: vec![], keys: vec![], key_ends: vec![], argument: None }
    }

    fn push(&mut self, value: f64, key: &[u8]) {
        self.values.push(value);
        self.keys.extend_from_slice(key);
        self.key_ends.push(self.keys.len());
    }

    fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.key_ends[row - 1] };
        &self.keys[start..self.key_ends[row]]
    }

    fn set_argument(&mut self, argument: i64) -> Result<()> {
        let (name, parameters) = (self.statistic.name, self.statistic.parameters);
        let parameter = parameters.get(1).map_or("argument", |p| p.0);
        if argument < 1 {
            let message = format!("{parameter} of {name} must be 1 or more, got {argument}");
            return Err(Error::input(Subject::Value, message));
        }
        if self.argument.is_some_and(|known| known != argument) {
            let message = format!("{parameter} of {name} must be the same in all rows of a group");
            return Err(Error::input(Subject::Value, message));
        }
        self.argument = Some(argument);
        Ok(())
    }

    /// Values in time order; equal times are ordered by value, so that the result does not depend on arrival.
    fn sorted_values(&self) -> Vec<f64> {
        let mut rows: Vec<usize> = (0..self.values.len()).collect();
        rows.sort_by(|a, b| {
            self.key(*a).cmp(self.key(*b)).then_with(|| self.values[*a].total_cmp(&self.values[*b]))
        });
        rows.into_iter().map(|row| self.values[row]).collect()
    }

    fn update_argument(&mut self, arguments: &ArrayRef) -> Result<()> {
        let arguments = arguments.as_primitive::<Int64Type>();
        let mut last = None;
        for argument in arguments.iter().flatten() {
            if last != Some(argument) {
                self.set_argument(argument)?;
                last = Some(argument);
            }
        }
        Ok(())
    }

    fn missing_or_finite(&self, values: &Float64Array, row: usize) -> Result<f64> {
        if values.is_null(row) {
            return Ok(f64::NAN);
        }
        let value = values.value(row);
        if value.is_finite() {
            return Ok(value);
        }
        let message =
            format!("argument y of {} is {value}; a target must be finite or NULL", self.statistic.name);
        Err(Error::data(message))
    }
}

impl Accumulator for SeriesAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let arguments = self.statistic.parameters.len();
        if values.len() <= arguments {
            return Err(DataFusionError::Internal(format!(
                "{} got no ordering columns",
                self.statistic.name
            )));
        }
        if arguments == 2 {
            self.update_argument(&values[1])?;
        }
        let target = as_float64_array(&values[0])?;
        let keys = self.order.convert_columns(&values[arguments..])?;
        for (row, key) in keys.iter().enumerate() {
            let value = self.missing_or_finite(target, row)?;
            self.push(value, key.as_ref());
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let mut keys = BinaryBuilder::with_capacity(self.values.len(), self.keys.len());
        (0..self.values.len()).for_each(|row| keys.append_value(self.key(row)));
        let values = Float64Array::from(self.values.clone());
        Ok(vec![
            ScalarValue::List(Arc::new(one_list(Arc::new(values))?)),
            ScalarValue::List(Arc::new(one_list(Arc::new(keys.finish()))?)),
            ScalarValue::Int64(self.argument),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let [values, keys, arguments] = states else {
            return Err(DataFusionError::Internal(format!("a series keeps 3 states, got {}", states.len())));
        };
        self.update_argument(arguments)?;
        let (values, keys) = (as_list_array(values)?, as_list_array(keys)?);
        for (values, keys) in values.iter().flatten().zip(keys.iter().flatten()) {
            let (values, keys) = (as_float64_array(&values)?, as_binary_array(&keys)?);
            for (value, key) in values.values().iter().zip(keys.iter().flatten()) {
                self.push(*value, key);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let argument = match (self.statistic.parameters.len(), self.argument) {
            (1, _) => 1,
            (_, Some(argument)) => usize::try_from(argument).unwrap_or(usize::MAX),
            (_, None) => return Ok(ScalarValue::Float64(None)),
        };
        let result = (self.statistic.statistic)(&self.sorted_values(), argument);
        Ok(ScalarValue::Float64(result.filter(|v| v.is_finite())))
    }

    fn size(&self) -> usize {
        let heap = self.values.capacity() * size_of::<f64>() + self.keys.capacity();
        size_of::<Self>() + self.order.size() + heap + self.key_ends.capacity() * size_of::<usize>()
    }
}

fn one_list(items: ArrayRef) -> DataFusionResult<ListArray> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), false));
    Ok(ListArray::try_new(field, OffsetBuffer::from_lengths([items.len()]), items, None)?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Date32Array, Int64Array};

    use super::*;
    use crate::engine::functions::aggregate::seasonal_scale::SEASONAL_SCALE;

    fn accumulator() -> SeriesAccumulator {
        let order = RowConverter::new(vec![SortField::new(DataType::Date32)]).unwrap();
        SeriesAccumulator::new(Arc::new(SEASONAL_SCALE), order)
    }

    fn batch(rows: &[(i32, f64)]) -> Vec<ArrayRef> {
        vec![
            Arc::new(rows.iter().map(|r| Some(r.1)).collect::<Float64Array>()),
            Arc::new(Int64Array::from(vec![1; rows.len()])),
            Arc::new(rows.iter().map(|r| Some(r.0)).collect::<Date32Array>()),
        ]
    }

    #[test]
    fn time_order_is_restored_across_partial_states() {
        let (mut left, mut right) = (accumulator(), accumulator());
        left.update_batch(&batch(&[(4, 7.0), (1, 1.0)])).unwrap();
        right.update_batch(&batch(&[(3, 4.0), (2, 2.0)])).unwrap();
        let state: Vec<_> = right.state().unwrap().iter().map(|s| s.to_array().unwrap()).collect();
        left.merge_batch(&state).unwrap();
        assert_eq!(left.sorted_values(), [1.0, 2.0, 4.0, 7.0]);
        assert_eq!(left.evaluate().unwrap(), ScalarValue::Float64(Some(2.0)));
    }

    #[test]
    fn season_length_below_one_is_refused() {
        let error = accumulator().set_argument(0).unwrap_err();
        assert_eq!(error.message(), "season_length of seasonal_scale must be 1 or more, got 0");
    }
}
