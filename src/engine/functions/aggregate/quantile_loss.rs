//! `quantile_loss(actual, forecast, level)`: the loss that a quantile forecast minimises.

use crate::engine::functions::aggregate::metric::{ACTUAL, Metric, Term, quantile_level};
use crate::ml::metrics::quantile_loss_term;

/// Mean of max(level * (actual - forecast), (level - 1) * (actual - forecast)), without a factor 2.
pub const QUANTILE_LOSS: Metric = Metric {
    name: "quantile_loss",
    aliases: &["pinball"],
    parameters: &[
        ACTUAL,
        ("forecast", "the forecast of the quantile"),
        ("level", "the level of the quantile, above 0 and below 1"),
    ],
    description: "Quantile (pinball) loss: the mean of max(level * (actual - forecast), (level - 1) * \
                  (actual - forecast)); at level 0.5 it is half the mae.",
    sql_example: "SELECT quantile_loss(actual, q90, 0.9) FROM (VALUES (10, 8), (3, 5)) AS t(actual, q90);",
    term: |row| Ok(Some(Term::mean(quantile_loss_term(row[0], row[1], quantile_level(row[2])?)))),
    null: Term::NOTHING,
    finish: |mean| mean,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_low_costs_the_level_and_too_high_the_rest() {
        assert_eq!(QUANTILE_LOSS.score(&[[10.0, 8.0, 0.75], [3.0, 5.0, 0.75]]).unwrap(), Some(1.0));
        assert!(QUANTILE_LOSS.score(&[[1.0, 1.0, 90.0]]).is_err());
    }
}
