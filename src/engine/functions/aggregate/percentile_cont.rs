//! `percentile_cont(fraction) WITHIN GROUP (ORDER BY x)`: DataFusion's, which takes its rows in any order, but has all of
//! them sorted before.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::percentile_cont::PercentileCont as OfSorted;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature};

use crate::engine::functions::aggregate::ahead::Ahead;
use crate::engine::methods::delegate;

/// The value at a fraction, between two of them where it falls there.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct PercentileCont(OfSorted);

impl AggregateUDFImpl for PercentileCont {
    delegate! {
        to 0:
        name() -> &str;
        aliases() -> &[String];
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        state_fields(args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>>;
        groups_accumulator_supported(args: AccumulatorArgs<'_>) -> bool;
        create_groups_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>>;
        simplify() -> Option<AggregateFunctionSimplification>;
        supports_within_group_clause() -> bool;
        documentation() -> Option<&Documentation>;
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let is_distinct = args.is_distinct;
        let values = self.0.accumulator(args)?;
        Ok(if is_distinct { values } else { Ahead::of(values, 0) })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
