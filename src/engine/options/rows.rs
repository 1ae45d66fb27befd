//! Options of TRAIN CLASSIFICATION and TRAIN REGRESSION.

use datafusion::logical_expr::Expr;

use crate::engine::options::{OptionSpec, checked, device, integer, number, word};
use crate::error::Result;
use crate::ml::device::Placement;
use crate::ml::supervised::RowsOptions;

/// The keys of `WITH (…)` in TRAIN CLASSIFICATION and TRAIN REGRESSION.
pub const ROWS_OPTIONS: &[OptionSpec] = &[
    integer("batch_size", 1, 4_096, "texts per step of an encoder"),
    integer("context", 8, 512, "tokens of a text that an encoder reads"),
    word("device", device, "where an encoder learns: auto, cpu or cuda"),
    integer("epochs", 1, 1_000, "most passes of an encoder over the texts"),
    integer("leaves", 2, 4_096, "leaves of a tree"),
    number("learning_rate", 1e-8, 1.0, "peak learning rate of an encoder"),
    number("max_seconds", 0.1, 1e7, "seconds after which no other family begins"),
    integer("seed", 0, 1 << 53, "seed of all randomness"),
    integer("trees", 1, 10_000, "most boosted trees"),
    number("validate", 0.01, 0.5, "share of the rows that are held out, to choose and to report"),
];

/// Reads and checks literals.
pub fn rows_options(raw: &[(String, Expr)]) -> Result<RowsOptions> {
    let mut options = RowsOptions::default();
    for (name, value) in checked(ROWS_OPTIONS, raw)? {
        let count = value as usize;
        match name {
            "batch_size" => options.batch_size = count,
            "context" => options.longest = count,
            "device" => options.device = Placement::at(count),
            "epochs" => options.epochs = count,
            "leaves" => options.leaves = count,
            "learning_rate" => options.learning_rate = value,
            "max_seconds" => options.max_seconds = Some(value),
            "seed" => options.seed = value as u64,
            "trees" => options.trees = count,
            _ => options.held_out = value,
        }
    }
    Ok(options)
}
