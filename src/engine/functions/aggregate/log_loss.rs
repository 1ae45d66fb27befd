//! `log_loss(actual, probability)`: mean negative logarithm of the probability of what came true.

use crate::engine::functions::aggregate::metric::{Metric, Parameter, Term};
use crate::error::{Error, Subject};

/// Whether it came true.
const HAPPENED: Parameter = ("actual", "1 where it came true, else 0");
/// What was said of it.
const PROBABILITY: Parameter = ("probability", "the probability that was told, from 0 to 1");
/// Probabilities are taken to be at least this far from 0 and 1.
const EDGE: f64 = 1e-15;

/// Mean over all rows of -ln p where it came true and of -ln(1 - p) where not.
pub const LOG_LOSS: Metric = Metric {
    name: "log_loss",
    aliases: &[],
    parameters: &[HAPPENED, PROBABILITY],
    description: "Log loss: the mean of -ln(probability) where actual is 1, and of -ln(1 - probability) where it is 0.",
    sql_example: "SELECT log_loss(actual, p) FROM (VALUES (1, 0.9), (0, 0.2)) AS t(actual, p);",
    term: |row| {
        let (actual, p) = (row[0], row[1]);
        if !(0.0..=1.0).contains(&p) || (actual != 0.0 && actual != 1.0) {
            let message =
                format!("log_loss takes actual 0 or 1 and a probability from 0 to 1, got {actual} and {p}");
            return Err(Error::input(Subject::Value, message));
        }
        let p = if actual == 1.0 { p } else { 1.0 - p };
        Ok(Some(Term::mean(-p.clamp(EDGE, 1.0).ln())))
    },
    null: Term::NOTHING,
    finish: |mean| mean,
};
