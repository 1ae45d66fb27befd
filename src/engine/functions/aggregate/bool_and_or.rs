//! `bool_and(x)`, which is `every(x)` too, and `bool_or(x)`: DataFusion's, over frames that rows leave, too.

use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::engine::methods::delegate;

/// Whether all values that are not NULL are true, or one of them is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BoolAndOr {
    function: Arc<AggregateUDF>,
    aliases: Vec<String>,
    all: bool,
}

impl BoolAndOr {
    /// `bool_and`.
    pub fn and() -> Self {
        Self { function: bool_and_udaf(), aliases: vec!["every".to_owned()], all: true }
    }

    /// `bool_or`.
    pub fn or() -> Self {
        Self { function: bool_or_udaf(), aliases: vec![], all: false }
    }
}

impl AggregateUDFImpl for BoolAndOr {
    delegate! {
        to function:
        name() -> &str;
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        state_fields(args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>>;
        accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>;
        groups_accumulator_supported(args: AccumulatorArgs<'_>) -> bool;
        create_groups_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>>;
        order_sensitivity() -> AggregateOrderSensitivity;
        documentation() -> Option<&Documentation>;
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn create_sliding_accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Counts { all: self.all, trues: 0, values: 0 }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// The values in a window's frame.
#[derive(Debug)]
struct Counts {
    all: bool,
    trues: usize,
    values: usize,
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let truths = values[0].as_boolean();
        self.trues += truths.true_count();
        self.values += truths.len() - truths.null_count();
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let truths = values[0].as_boolean();
        self.trues -= truths.true_count();
        self.values -= truths.len() - truths.null_count();
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let holds = if self.all { self.trues == self.values } else { self.trues > 0 };
        Ok(ScalarValue::Boolean((self.values > 0).then_some(holds)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::BooleanArray;

    use super::*;

    #[test]
    fn rows_that_left_count_no_more() {
        let rows = |rows: &[Option<bool>]| vec![Arc::new(BooleanArray::from(rows.to_vec())) as ArrayRef];
        let (mut and, mut or) =
            (Counts { all: true, trues: 0, values: 0 }, Counts { all: false, trues: 0, values: 0 });
        for counts in [&mut and, &mut or] {
            assert_eq!(counts.evaluate().unwrap(), ScalarValue::Boolean(None));
            counts.update_batch(&rows(&[Some(true), None, Some(false)])).unwrap();
        }
        assert_eq!(and.evaluate().unwrap(), ScalarValue::from(false));
        assert_eq!(or.evaluate().unwrap(), ScalarValue::from(true));
        for counts in [&mut and, &mut or] {
            counts.retract_batch(&rows(&[Some(true), None])).unwrap();
        }
        assert_eq!(and.evaluate().unwrap(), ScalarValue::from(false));
        assert_eq!(or.evaluate().unwrap(), ScalarValue::from(false));
    }
}
