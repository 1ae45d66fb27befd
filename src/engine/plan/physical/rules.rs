//! DataFusion's rules for physical plans, of which some are kept from what is wrong.

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use super::far_rows::FarRows;
use super::filters::FiltersByPlace;
use super::first_rows::FirstRows;
use super::large_aggregates::LargeAggregates;
use super::large_constants::LargeConstants;
use super::large_joins::LargeJoins;
use super::nulled::NulledColumns;
use super::own_texts::OwnTexts;
use super::skips::HeldSkips;
use super::sorted_again::SortedAgain;
use super::top_keys::WholeKeys;
use super::windows::CountedWindows;

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The rules of every session whose statements take their memory from this pool.
pub fn physical_rules(pool: &Arc<dyn MemoryPool>) -> Vec<Rule> {
    let limit = match pool.memory_limit() {
        MemoryLimit::Finite(limit) => limit,
        _ => usize::MAX,
    };
    let mut rules: Vec<Rule> = vec![Arc::new(LargeConstants(Arc::clone(pool))), Arc::new(NulledColumns)];
    for rule in PhysicalOptimizer::new().rules {
        match rule.name() {
            "join_selection" => {
                rules.push(rule);
                rules.push(Arc::new(LargeJoins { bytes_max: limit / 4 * 3 }));
            }
            // The pool counts what a last stage keeps three times, and it grows by doubling; of three quarters of the pool
            // its streams have a third or less, beside those that make, pass on and sort its rows.
            "CombinePartialFinalAggregate" => {
                rules.push(rule);
                rules.push(Arc::new(LargeAggregates { bytes_max: limit / 32 }));
            }
            "EnsureRequirements" => rules.push(Arc::new(HeldSkips(rule))),
            "FilterPushdown" => rules.push(Arc::new(FiltersByPlace(rule))),
            // It hands out the thresholds of sorts, which must have their keys by then.
            "FilterPushdown(Post)" => {
                rules.push(Arc::new(WholeKeys));
                rules.push(Arc::new(FarRows));
                rules.push(Arc::new(FiltersByPlace(rule)));
            }
            "SanityCheckPlan" => rules.push(Arc::new(SortedAgain(rule))),
            _ => rules.push(rule),
        }
    }
    rules.push(Arc::new(FirstRows));
    rules.push(Arc::new(CountedWindows));
    rules.push(Arc::new(OwnTexts));
    rules
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::UnboundedMemoryPool;

    use super::*;

    #[test]
    fn finds_the_rules_that_it_mends() {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let rules = physical_rules(&pool);
        assert_eq!(rules.len(), PhysicalOptimizer::new().rules.len() + 9);
        let shown = format!("{rules:?}");
        assert_eq!(shown.matches("FiltersByPlace").count(), 2);
        for ours in [
            "HeldSkips",
            "WholeKeys",
            "FarRows",
            "LargeJoins",
            "LargeAggregates",
            "LargeConstants",
            "NulledColumns",
            "OwnTexts",
            "SortedAgain",
            "FirstRows",
            "CountedWindows",
        ] {
            assert_eq!(shown.matches(ours).count(), 1, "{ours}");
        }
    }
}
