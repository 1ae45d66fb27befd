//! Methods of a trait that are those of a field, or the same for several types.

/// Hands these methods on to the field of this name: `delegate! { to inner: name() -> &str; }`.
macro_rules! delegate {
    (to $field:tt: $($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self $(, $arg: $type)*) -> $result { self.$field.$name($($arg),*) })*
    };
}

/// Methods of a plan's node that hands on the rows of its `input`, as many and in the same order.
macro_rules! rows_of_input {
    () => {
        fn children(&self) -> Vec<&std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
            vec![&self.input]
        }

        fn maintains_input_order(&self) -> Vec<bool> {
            vec![true]
        }

        fn cardinality_effect(&self) -> datafusion::physical_plan::execution_plan::CardinalityEffect {
            datafusion::physical_plan::execution_plan::CardinalityEffect::Equal
        }

        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(
                &std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>,
            )
                -> datafusion::error::Result<datafusion::common::tree_node::TreeNodeRecursion>,
        ) -> datafusion::error::Result<datafusion::common::tree_node::TreeNodeRecursion> {
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        }

        fn child_stats_requests(
            &self,
            partition: Option<usize>,
        ) -> Vec<datafusion::physical_plan::ChildStats> {
            vec![datafusion::physical_plan::ChildStats::At(partition)]
        }

        fn statistics_from_inputs(
            &self,
            inputs: &[std::sync::Arc<datafusion::common::Statistics>],
            _: &datafusion::physical_plan::StatisticsArgs,
        ) -> datafusion::error::Result<std::sync::Arc<datafusion::common::Statistics>> {
            let unknown = || std::sync::Arc::new(datafusion::common::Statistics::new_unknown(&self.schema()));
            Ok(inputs.first().map_or_else(unknown, std::sync::Arc::clone))
        }
    };
}

/// Methods of a rule for physical plans of this name, that leaves their schema as it was.
macro_rules! rule_named {
    ($name:literal) => {
        fn name(&self) -> &str {
            $name
        }

        fn schema_check(&self) -> bool {
            true
        }
    };
}

pub(super) use {delegate, rows_of_input, rule_named};
