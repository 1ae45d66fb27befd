//! `median(x)`: DataFusion's, which tells in time what it will take.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::median::Median as Untold;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature};

use crate::engine::functions::aggregate::ahead::Ahead;
use crate::engine::methods::delegate;

/// The value in the middle, or between the two that are there.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Median(Untold);

impl AggregateUDFImpl for Median {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        state_fields(args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>>;
        groups_accumulator_supported(args: AccumulatorArgs<'_>) -> bool;
        create_groups_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>>;
        documentation() -> Option<&Documentation>;
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let is_distinct = args.is_distinct;
        let values = self.0.accumulator(args)?;
        Ok(if is_distinct { values } else { Ahead::of(values, 0) })
    }
}
