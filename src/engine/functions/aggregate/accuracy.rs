//! `accuracy(actual, prediction)`: the share of the rows that are told right.

use crate::engine::functions::aggregate::confusion::ClassMetric;

/// Share of the rows whose prediction is what came true.
pub const ACCURACY: ClassMetric = ClassMetric {
    name: "accuracy",
    description: "Accuracy: the share of the rows whose prediction is what came true.",
    sql_example: "SELECT accuracy(actual, prediction) FROM (VALUES ('a', 'a'), ('a', 'b')) AS t(actual, prediction);",
    score: |counts| {
        let right: i64 = counts.iter().filter(|((a, b), _)| a == b).map(|(_, n)| n).sum();
        right as f64 / counts.values().sum::<i64>() as f64
    },
};
