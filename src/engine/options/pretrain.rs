//! Options of PRETRAIN.

use datafusion::logical_expr::Expr;

use crate::engine::options::{OptionSpec, checked, device, integer, number, word};
use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::device::Placement;
use crate::ml::foundation::{FoundationConfig, Hidden, PretrainOptions};

/// The keys of `WITH (…)` in PRETRAIN.
pub const PRETRAIN_OPTIONS: &[OptionSpec] = &[
    integer("batch_size", 64, 1 << 22, "tokens per step: patches of series"),
    integer("context", 16, 4_096, "steps of history the model sees"),
    word("device", device, "where it is computed: auto, cpu or cuda"),
    integer("dim", 32, 1_024, "width of a token, of heads that are 32 wide"),
    integer("layers", 1, 24, "blocks of the network"),
    number("learning_rate", 1e-8, 1.0, "peak learning rate"),
    number("max_seconds", 0.1, 1e7, "wall-clock budget of the pretraining"),
    integer("patch", 1, 256, "steps of a token"),
    integer("seed", 0, 1 << 53, "seed of all randomness"),
    integer("steps", 1, 10_000_000, "steps of the optimiser"),
    number("synthetic", 0.0, 1.0, "share of made-up series among those that are learnt from"),
];

/// Width of a head of attention.
const HEAD: usize = 32;
/// Hidden width of a block, over the width of a token.
const HIDDEN: usize = 4;

/// What PRETRAIN asks for, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct PretrainSettings {
    /// How the network is pretrained.
    pub options: PretrainOptions,
    /// Share of made-up series; `None` leaves it to what there is.
    pub synthetic: Option<f64>,
    /// Options of sizes, which only a network that begins from nothing has.
    pub sizes: Vec<&'static str>,
}

impl PretrainSettings {
    /// Reads and checks literals.
    pub fn check(raw: &[(String, Expr)], hidden: Hidden) -> Result<Self> {
        let options = PretrainOptions {
            config: FoundationConfig::default(),
            hidden,
            steps: 2_000,
            batch_tokens: 24_576,
            learning_rate: 1e-3,
            device: Placement::Auto,
            max_seconds: None,
            seed: 1,
        };
        let mut settings = Self { options, synthetic: None, sizes: vec![] };
        for (name, value) in checked(PRETRAIN_OPTIONS, raw)? {
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &'static str, value: f64) -> Result<()> {
        let (options, count) = (&mut self.options, value as usize);
        match name {
            "batch_size" => options.batch_tokens = count,
            "device" => options.device = Placement::at(count),
            "learning_rate" => options.learning_rate = value,
            "max_seconds" => options.max_seconds = Some(value),
            "seed" => options.seed = value as u64,
            "steps" => options.steps = count,
            "synthetic" => self.synthetic = Some(value),
            size => {
                self.sizes.push(size);
                let config = &mut options.config;
                match size {
                    "context" => (config.context_length, config.time_encoding_scale) = (count, count),
                    "layers" => config.num_layers = count,
                    "patch" => config.input_patch_size = count,
                    _ if !count.is_multiple_of(HEAD) => {
                        let message = format!("dim must be a multiple of {HEAD}, got {count}");
                        return Err(Error::input(Subject::Option, message));
                    }
                    _ => {
                        (config.d_model, config.d_kv) = (count, HEAD);
                        (config.num_heads, config.d_ff) = (count / HEAD, HIDDEN * count);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is hidden while pretraining, by the word of OBJECTIVE.
pub fn hidden(word: &str) -> Result<Hidden> {
    const WORDS: [(&str, Hidden); 2] =
        [("next_patch", Hidden::NextPatch), ("masked_patch", Hidden::MaskedPatch)];
    let known = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|(_, hidden)| *hidden).ok_or_else(|| {
        let message = format!("unknown objective {word}{}", did_you_mean(word, WORDS.map(|(name, _)| name)));
        Error::input(Subject::Option, message)
            .with_hint("OBJECTIVE of PRETRAIN is next_patch or masked_patch")
    })
}
