//! `min(x)` and `max(x)`: DataFusion's, of whose order over the rows of a window nothing is told. It takes the NULL of a
//! frame without values for larger where it is smaller, and the other way round.

use std::fmt::Debug;
use std::hash::Hash;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;

use crate::engine::methods::delegate;

/// The least or the greatest value.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Extreme<T>(pub T);

impl<T: AggregateUDFImpl + Debug + Eq + Hash + 'static> AggregateUDFImpl for Extreme<T> {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        coerce_types(types: &[DataType]) -> Result<Vec<DataType>>;
        accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>;
        create_sliding_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>;
        groups_accumulator_supported(args: AccumulatorArgs<'_>) -> bool;
        create_groups_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>>;
        is_descending() -> Option<bool>;
        order_sensitivity() -> AggregateOrderSensitivity;
        reverse_expr() -> ReversedUDAF;
        value_from_stats(args: &StatisticsArgs<'_>) -> Option<ScalarValue>;
        documentation() -> Option<&Documentation>;
    }
}
