//! DataFusion's rules for physical plans, of which some are kept from what is wrong.

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use super::filters::FiltersByPlace;
use super::skips::HeldSkips;
use super::top_keys::WholeKeys;

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The rules of every session.
pub fn physical_rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = vec![];
    for rule in PhysicalOptimizer::new().rules {
        match rule.name() {
            "EnsureRequirements" => rules.push(Arc::new(HeldSkips(rule))),
            "FilterPushdown" => rules.push(Arc::new(FiltersByPlace(rule))),
            // It hands out the thresholds of sorts, which must have their keys by then.
            "FilterPushdown(Post)" => {
                rules.push(Arc::new(WholeKeys));
                rules.push(Arc::new(FiltersByPlace(rule)));
            }
            _ => rules.push(rule),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_rules_that_it_mends() {
        let rules = physical_rules();
        assert_eq!(rules.len(), PhysicalOptimizer::new().rules.len() + 1);
        let shown = format!("{rules:?}");
        assert_eq!(shown.matches("FiltersByPlace").count(), 2);
        assert_eq!(shown.matches("HeldSkips").count(), 1);
        assert_eq!(shown.matches("WholeKeys").count(), 1);
    }
}
