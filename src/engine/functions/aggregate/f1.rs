//! `f1(actual, prediction)`: precision and recall in one number, the mean over classes.

use std::collections::BTreeSet;

use crate::engine::functions::aggregate::confusion::ClassMetric;

/// Mean over classes of the harmonic mean of precision and recall (macro F1).
pub const F1: ClassMetric = ClassMetric {
    name: "f1",
    description: "Macro F1: the mean over classes of the harmonic mean of precision and recall.",
    sql_example: "SELECT f1(actual, prediction) FROM (VALUES ('a', 'a'), ('a', 'b'), ('b', 'b')) AS t(actual, prediction);",
    score: |counts| {
        let classes: BTreeSet<&String> = counts.keys().flat_map(|(a, b)| [a, b]).collect();
        let of = |class: &String| {
            let sum = |is: &dyn Fn(&(String, String)) -> bool| -> i64 {
                counts.iter().filter(|(pair, _)| is(pair)).map(|(_, n)| n).sum()
            };
            let both = sum(&|(a, b)| a == class && b == class);
            2.0 * both as f64 / (sum(&|(a, _)| a == class) + sum(&|(_, b)| b == class)) as f64
        };
        classes.iter().map(|class| of(class)).sum::<f64>() / classes.len() as f64
    },
};
