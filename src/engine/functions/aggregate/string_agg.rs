//! `string_agg(x, delimiter ORDER BY y)`: DataFusion's, that sorts as `array_agg` does, and over frames that rows leave.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::string_agg::StringAgg as Unordered;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::ahead::Ahead;
use crate::engine::functions::aggregate::array_agg::{OrderedArray, ordered_state};
use crate::engine::functions::aggregate::frame_texts::FrameTexts;
use crate::engine::methods::delegate;
use crate::error::Error;

/// Texts one behind the other, delimiters between them.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct StringAgg(Unordered);

impl AggregateUDFImpl for StringAgg {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        groups_accumulator_supported(args: AccumulatorArgs<'_>) -> bool;
        create_groups_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>>;
        documentation() -> Option<&Documentation>;
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        match ordered_state(&args) {
            Some(fields) => Ok(fields),
            None => self.0.state_fields(args),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let Some(delimiter) = args.exprs.get(1).and_then(|delimiter| delimiter.downcast_ref::<Literal>())
        else {
            return Err(Error::unsupported("string_agg delimiter must be a string literal").into());
        };
        let delimiter = delimiter.value().try_as_str().flatten().unwrap_or_default().to_owned();
        if let Some(array) = OrderedArray::of(&args)? {
            return Ok(Box::new(Ordered { array, delimiter }));
        }
        let appends = !args.is_distinct && args.order_bys.is_empty();
        let texts = self.0.accumulator(args)?;
        Ok(if appends { Ahead::of(texts, delimiter.len()) } else { texts })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match args.is_distinct || !args.order_bys.is_empty() {
            true => self.accumulator(args),
            false => Ok(Box::new(FrameTexts::default())),
        }
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

/// The texts of a group in the order of its ORDER BY.
#[derive(Debug)]
struct Ordered {
    array: OrderedArray,
    delimiter: String,
}

impl Accumulator for Ordered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let without_delimiters = values.iter().enumerate().filter(|(n, _)| *n != 1);
        let columns: Vec<ArrayRef> = without_delimiters.map(|(_, column)| Arc::clone(column)).collect();
        self.array.update_batch(&columns)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.array.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.array.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let ScalarValue::List(list) = self.array.evaluate()? else {
            return Err(Error::internal("array_agg gives a list").into());
        };
        let texts = cast(list.values(), &DataType::LargeUtf8)?;
        let texts: Vec<&str> = texts.as_string::<i64>().iter().flatten().collect();
        Ok(ScalarValue::LargeUtf8((!texts.is_empty()).then(|| texts.join(&self.delimiter))))
    }

    fn size(&self) -> usize {
        self.array.size() + size_of::<String>() + self.delimiter.capacity()
    }
}
