//! Options of PRETRAIN SEQUENCE, and of TRAIN CLASSIFICATION over sequences.

use datafusion::logical_expr::Expr;

use crate::engine::options::{OptionSpec, checked, device, integer, number, word};
use crate::error::{Error, Result, Subject};
use crate::ml::device::Placement;
use crate::ml::sequence::{SequenceOptions, SequencePretraining};

/// The keys of `WITH (…)`.
pub const SEQUENCE_OPTIONS: &[OptionSpec] = &[
    integer("batch_size", 1, 4_096, "sequences per step"),
    integer("classes", 2, 200_000, "events that are told apart, at most, the most frequent ones"),
    integer("context", 2, 1_000, "events of a sequence that are looked at, the latest ones"),
    word("device", device, "where it is computed: auto, cpu or cuda"),
    integer("dim", 4, 1_024, "width of an event"),
    number("dropout", 0.0, 0.9, "share of the numbers that are left out while learning"),
    integer("early_stop", 1, 1_000, "passes without improvement before it stops"),
    integer("epochs", 1, 10_000, "most passes over the sequences"),
    integer("heads", 1, 64, "heads of attention"),
    integer("layers", 1, 24, "layers of the network"),
    number("learning_rate", 1e-8, 1.0, "peak learning rate"),
    number(
        "mask",
        0.05,
        0.9,
        "share of the events that PRETRAIN hides, the larger by itself the shorter sequences are",
    ),
    number("max_seconds", 0.1, 1e7, "wall-clock budget of the training"),
    integer("seed", 0, 1 << 53, "seed of all randomness"),
];

/// Sizes, which only a network that begins from nothing has.
pub const SIZES: [&str; 5] = ["classes", "context", "dim", "heads", "layers"];

/// Reads and checks literals; `epochs` where none are given.
pub fn sequence_options(raw: &[(String, Expr)], epochs: usize) -> Result<SequenceOptions> {
    let course = SequencePretraining {
        width: 64,
        heads: 2,
        layers: 2,
        longest: 50,
        epochs,
        batch_size: 128,
        learning_rate: 1e-3,
        dropout: 0.3,
        hidden: None,
        classes: 50_000,
        device: Placement::Auto,
        max_seconds: None,
        seed: 1,
    };
    let mut options = SequenceOptions { course, patience: 5 };
    for (name, value) in checked(SEQUENCE_OPTIONS, raw)? {
        let (course, count) = (&mut options.course, value as usize);
        match name {
            "batch_size" => course.batch_size = count,
            "classes" => course.classes = count,
            "context" => course.longest = count,
            "device" => course.device = Placement::at(count),
            "dim" => course.width = count,
            "dropout" => course.dropout = value,
            "early_stop" => options.patience = count,
            "epochs" => course.epochs = count,
            "heads" => course.heads = count,
            "layers" => course.layers = count,
            "learning_rate" => course.learning_rate = value,
            "mask" => course.hidden = Some(value),
            "max_seconds" => course.max_seconds = Some(value),
            _ => course.seed = value as u64,
        }
    }
    let SequencePretraining { width, heads, .. } = options.course;
    if !width.is_multiple_of(2 * heads) {
        let message = format!("dim {width} is no multiple of twice the {heads} heads");
        return Err(Error::input(Subject::Option, message).with_hint("dim = 64 goes with heads = 2"));
    }
    Ok(options)
}
