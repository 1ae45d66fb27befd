//! Options of PRETRAIN TEXT.

use datafusion::logical_expr::Expr;

use crate::engine::options::{OptionSpec, checked, device, integer, number, word};
use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::device::Placement;
use crate::ml::text::{HEAD, TextObjective, TextPretraining};

/// The keys of `WITH (…)` in PRETRAIN TEXT.
pub const TEXT_OPTIONS: &[OptionSpec] = &[
    integer("batch_size", 1, 4_096, "texts per step"),
    integer("context", 8, 512, "tokens of a text that are read"),
    word("device", device, "where it is computed: auto, cpu or cuda"),
    integer("dim", 32, 1_024, "width of a token, of heads that are 32 wide"),
    number("dropout", 0.0, 0.9, "share of the numbers that are left out while learning"),
    integer("layers", 1, 24, "layers of the encoder"),
    number("learning_rate", 1e-8, 1.0, "peak learning rate"),
    number("max_seconds", 0.1, 1e7, "wall-clock budget of the pretraining"),
    integer("seed", 0, 1 << 53, "seed of all randomness"),
    integer("steps", 1, 10_000_000, "steps of the optimiser"),
    integer("vocabulary", 100, 200_000, "pieces of words that are told apart, at most"),
];

/// What PRETRAIN TEXT asks for, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSettings {
    /// How the encoder is pretrained.
    pub options: TextPretraining,
    /// Options of sizes, which only an encoder that begins from nothing has.
    pub sizes: Vec<&'static str>,
}

impl TextSettings {
    /// Reads and checks literals.
    pub fn check(raw: &[(String, Expr)], objective: TextObjective) -> Result<Self> {
        let options = TextPretraining {
            objective,
            vocabulary: 8_000,
            width: 128,
            layers: 3,
            longest: 64,
            steps: 1_000,
            batch_size: 64,
            learning_rate: 1e-3,
            dropout: 0.1,
            device: Placement::Auto,
            max_seconds: None,
            seed: 1,
        };
        let mut settings = Self { options, sizes: vec![] };
        for (name, value) in checked(TEXT_OPTIONS, raw)? {
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &'static str, value: f64) -> Result<()> {
        let (options, count) = (&mut self.options, value as usize);
        if matches!(name, "dim" | "layers" | "vocabulary") {
            self.sizes.push(name);
        }
        match name {
            "batch_size" => options.batch_size = count,
            "context" => options.longest = count,
            "device" => options.device = Placement::at(count),
            "dropout" => options.dropout = value,
            "layers" => options.layers = count,
            "learning_rate" => options.learning_rate = value,
            "max_seconds" => options.max_seconds = Some(value),
            "seed" => options.seed = value as u64,
            "steps" => options.steps = count,
            "vocabulary" => options.vocabulary = count,
            _ if !count.is_multiple_of(HEAD) => {
                let message = format!("dim must be a multiple of {HEAD}, got {count}");
                return Err(Error::input(Subject::Option, message));
            }
            _ => options.width = count,
        }
        Ok(())
    }
}

/// What is asked of an encoder, by the word of OBJECTIVE.
pub fn text_objective(word: &str) -> Result<TextObjective> {
    const WORDS: [(&str, TextObjective); 2] =
        [("masked_lm", TextObjective::MaskedLm), ("sentence_order", TextObjective::SentenceOrder)];
    let known = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|(_, objective)| *objective).ok_or_else(|| {
        let suggestion = did_you_mean(word, WORDS.map(|(name, _)| name));
        let message = format!("unknown objective {word}{suggestion}");
        Error::input(Subject::Option, message)
            .with_hint("OBJECTIVE of PRETRAIN TEXT is masked_lm or sentence_order")
    })
}
