//! Sizes of a foundation model.

use serde::{Deserialize, Serialize};

use crate::ml::evaluation::LEVELS;
use crate::ml::foundation::bolt::BoltSizes;
use crate::ml::foundation::groups::LAGS;
use crate::ml::foundation::rows::CovariateRows;
use crate::ml::series::Frequency;
use crate::ml::training::BYTES_PER_PARAMETER;

/// Bytes of the activations of a token, over the width and the number of blocks.
const BYTES_PER_ACTIVATION: usize = 120;

/// What the tensors of a [`Chronos2`](super::Chronos2) are shaped by; the names are those of its `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundationConfig {
    /// Width of a token.
    pub d_model: usize,
    /// Width of a head.
    pub d_kv: usize,
    /// Width of the hidden layers.
    pub d_ff: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Heads of each attention.
    pub num_heads: usize,
    /// Steps of a token.
    pub input_patch_size: usize,
    /// What the numbers of steps are divided by.
    pub time_encoding_scale: usize,
    /// Longest history that is read, in steps.
    pub context_length: usize,
    /// Most tokens that are forecast at once.
    pub max_output_patches: usize,
    /// Rows of the table whose second row, and those after it by frequency, separate history and future.
    pub vocab_size: usize,
    /// Levels of the forecast quantiles.
    pub quantiles: Vec<f64>,
    /// All covariates are rows beside the target, as the network has learnt to read them; otherwise what known ones explain is taken
    /// out of the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub covariate_rows: bool,
    /// Those of the past are, the network having learnt from series that have some.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub past_rows: bool,
    /// Earlier values that every step shows beside its own: of the step before, and of a season and a longer one ago.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lags: usize,
    /// The frequencies of the series that the network has seen, as [`Frequency::common`] counts them; none where it has seen
    /// made-up series of all of them, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Vec<usize>>,
    /// Sizes of a network whose graph is that of Chronos-Bolt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bolt: Option<BoltSizes>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Default for FoundationConfig {
    /// The sizes of the base model: about 4 million parameters.
    fn default() -> Self {
        Self {
            d_model: 192,
            d_kv: 32,
            d_ff: 640,
            num_layers: 6,
            num_heads: 6,
            input_patch_size: 16,
            time_encoding_scale: 512,
            context_length: 512,
            max_output_patches: 6,
            vocab_size: 2 + crate::ml::synthetic::FREQUENCIES,
            quantiles: LEVELS.to_vec(),
            covariate_rows: false,
            past_rows: false,
            lags: LAGS,
            seen: None,
            bolt: None,
        }
    }
}

impl FoundationConfig {
    /// Sizes for tests.
    #[cfg(test)]
    pub fn small() -> Self {
        Self {
            d_model: 16,
            d_kv: 8,
            d_ff: 24,
            num_layers: 1,
            num_heads: 2,
            context_length: 96,
            ..Self::default()
        }
    }

    /// False for a frequency that none of the series had which the network has seen; counted times have none.
    pub fn has_seen(&self, frequency: Frequency) -> bool {
        let place = frequency.common();
        let seen = |seen: &Vec<usize>| seen.contains(&place);
        matches!(frequency, Frequency::Integer(_)) || self.seen.as_ref().map_or(place > 0, seen)
    }

    /// The covariates that it reads as rows.
    pub fn rows(&self) -> CovariateRows {
        match (self.covariate_rows, self.past_rows) {
            (true, _) => CovariateRows::All,
            (false, true) => CovariateRows::Past,
            (false, false) => CovariateRows::None,
        }
    }

    /// Numbers of every step of a token: its time, its value, a flag, and earlier values.
    pub fn channels(&self) -> usize {
        3 + self.lags
    }

    /// Numbers that a network of these sizes learns, about.
    pub fn parameters(&self) -> usize {
        let (width, inner) = (self.d_model, self.num_heads * self.d_kv);
        let block = 8 * width * inner + 2 * width * self.d_ff;
        let ends = (self.channels() + self.quantiles.len()) * self.input_patch_size + 2 * width;
        self.num_layers * block + ends * (self.d_ff + width)
    }

    /// Bytes that it takes to learn from so many tokens at a time, about.
    pub fn learning_bytes(&self, tokens: usize) -> usize {
        self.parameters() * BYTES_PER_PARAMETER
            + tokens * self.d_model * self.num_layers * BYTES_PER_ACTIVATION
    }

    /// What stored sizes must keep to, so that foreign ones are an error and nothing worse.
    pub(super) fn check(&self) -> Result<(), String> {
        let sizes = [self.d_model, self.d_kv, self.d_ff, self.num_layers, self.num_heads];
        let steps =
            [self.input_patch_size, self.time_encoding_scale, self.max_output_patches, self.vocab_size];
        let bolt = self.bolt.as_ref().map(|bolt| {
            let BoltSizes { num_decoder_layers, relative_attention_num_buckets: buckets, .. } = *bolt;
            [num_decoder_layers, buckets / 4, bolt.relative_attention_max_distance]
        });
        let rising = self.quantiles.windows(2).all(|pair| pair[0] < pair[1]);
        if sizes.iter().chain(&steps).chain(bolt.iter().flatten()).any(|n| !(1..=65_536).contains(n))
            || self.vocab_size < 2
            || self.lags > if self.bolt.is_some() { 0 } else { LAGS }
        {
            Err("its sizes are out of range".to_owned())
        } else if !self.d_kv.is_multiple_of(2) {
            Err("its heads have an odd width".to_owned())
        } else if self.context_length < self.input_patch_size {
            Err("its context is shorter than a patch".to_owned())
        } else if !rising
            || !self.quantiles.contains(&0.5)
            || !self.quantiles.iter().all(|u| *u > 0.0 && *u < 1.0)
        {
            Err("its quantiles do not rise from above 0 through 0.5 to below 1".to_owned())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_seen_is_told() {
        let mut config = FoundationConfig::default();
        let seen = |config: &FoundationConfig| {
            [Frequency::Days(1), Frequency::Days(7), Frequency::Days(3), Frequency::Integer(1)]
                .map(|frequency| config.has_seen(frequency))
        };
        assert_eq!(seen(&config), [true, true, false, true]);
        config.seen = Some(vec![0, 4]);
        assert_eq!(seen(&config), [false, true, true, true]);
    }
}
