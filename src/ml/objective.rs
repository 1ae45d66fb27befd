//! What a fit minimises, and the optimiser that does it, by the words users write.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::series::Panel;

/// What a fit minimises, by the word after OBJECTIVE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveKind {
    /// Quantile loss at all levels (Koenker and Bassett 1978).
    #[default]
    Quantile,
    /// Squared error: the mean.
    Mse,
    /// Absolute error: the median.
    Mae,
    /// Squared error up to the scale of the series, absolute error beyond (Huber 1964).
    Huber,
    /// Likelihood of a Poisson distribution of counts.
    Poisson,
    /// Likelihood of a negative binomial distribution of counts, its dispersion learnt (Salinas et al. 2020, DeepAR).
    NegativeBinomial,
    /// Tweedie deviance of power 1.5: many zeros and a long tail (Jørgensen 1987).
    Tweedie,
    /// Likelihood of Student's t distribution, its width and tails learnt.
    StudentT,
}

impl ObjectiveKind {
    /// All of them, the usual one first.
    pub const ALL: [Self; 8] = [
        Self::Quantile,
        Self::Mse,
        Self::Mae,
        Self::Huber,
        Self::Poisson,
        Self::NegativeBinomial,
        Self::Tweedie,
        Self::StudentT,
    ];

    /// The word users write.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quantile => "quantile",
            Self::Mse => "mse",
            Self::Mae => "mae",
            Self::Huber => "huber",
            Self::Poisson => "poisson",
            Self::NegativeBinomial => "negative_binomial",
            Self::Tweedie => "tweedie",
            Self::StudentT => "student_t",
        }
    }

    /// The objective of this word, in any case; `negbin` is short for `negative_binomial`.
    pub fn parse(word: &str) -> Result<Self> {
        let short = word.eq_ignore_ascii_case("negbin").then_some(Self::NegativeBinomial);
        let known = || Self::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word));
        short.or_else(known).ok_or_else(|| {
            let words = Self::ALL.map(Self::word);
            let message = format!("unknown OBJECTIVE {word}{}", did_you_mean(word, words));
            Error::input(Subject::Option, message).with_hint(format!("OBJECTIVE takes {}", words.join(", ")))
        })
    }

    /// Whether it is of amounts from 0 up: their mean is learnt through a link that keeps it above 0. Fractions are
    /// amounts, too: likelihoods of counts go on between whole numbers, though their quantiles are whole.
    pub fn is_of_amounts(self) -> bool {
        matches!(self, Self::Poisson | Self::NegativeBinomial | Self::Tweedie)
    }

    /// Fails where a target of the panel, which `target` names, cannot be one of this objective.
    pub fn check(self, panel: &Panel, target: &str) -> Result<()> {
        if !self.is_of_amounts() {
            return Ok(());
        }
        let least = |i: usize| panel.history_of(i).iter().copied().find(|y| *y < 0.0);
        match (0..panel.len()).find_map(|i| Some((i, least(i)?))) {
            None => Ok(()),
            Some((i, y)) => {
                let key = &panel.keys[i];
                let of = if key.is_empty() { String::new() } else { format!(" of series {key}") };
                let message = format!("OBJECTIVE {} takes no negative {target}: {y}{of}", self.word());
                let others: Vec<&str> =
                    Self::ALL.into_iter().filter(|kind| !kind.is_of_amounts()).map(Self::word).collect();
                Err(Error::data(message).with_hint(format!("{} take any number", others.join(", "))))
            }
        }
    }
}

/// What moves the parameters of a network, by the value of the option `optimizer`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adaptive moments with decoupled weight decay (Loshchilov and Hutter 2019).
    #[default]
    AdamW,
    /// Stochastic gradient descent with momentum (Polyak 1964).
    Sgd,
}

impl OptimizerKind {
    /// All of them, the usual one first.
    pub const ALL: [Self; 2] = [Self::AdamW, Self::Sgd];

    /// The word users write.
    pub fn word(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Sgd => "sgd",
        }
    }

    /// The optimiser of this word, in any case.
    pub fn parse(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word)).ok_or_else(|| {
            let words = Self::ALL.map(Self::word);
            let message = format!("unknown optimizer {word}{}", did_you_mean(word, words));
            Error::input(Subject::Option, message).with_hint(format!("optimizer takes {}", words.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::ml::features::test_panel;

    #[test]
    fn words_are_read_in_any_case() {
        for kind in ObjectiveKind::ALL {
            assert_eq!(ObjectiveKind::parse(&kind.word().to_uppercase()).unwrap(), kind);
        }
        assert_eq!(ObjectiveKind::parse("NegBin").unwrap(), ObjectiveKind::NegativeBinomial);
        let error = ObjectiveKind::parse("tweedy").unwrap_err();
        assert_eq!(error.message(), "unknown OBJECTIVE tweedy; did you mean tweedie?");
        assert!(error.hint().unwrap().starts_with("OBJECTIVE takes quantile, mse, "));
        assert_eq!(OptimizerKind::parse("AdamW").unwrap(), OptimizerKind::AdamW);
        assert!(OptimizerKind::parse("adam").unwrap_err().message().starts_with("unknown optimizer adam"));
    }

    #[test]
    fn amounts_are_not_negative() {
        let mut panel = test_panel(2, 20);
        panel.target.iter_mut().for_each(|y| *y = y.abs());
        for kind in ObjectiveKind::ALL {
            kind.check(&panel, "units").unwrap();
        }
        panel.target[25] = -2.5;
        let error = ObjectiveKind::Tweedie.check(&panel, "units").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        let expected = format!("OBJECTIVE tweedie takes no negative units: -2.5 of series {}", panel.keys[1]);
        assert_eq!(error.message(), expected);
        ObjectiveKind::StudentT.check(&panel, "units").unwrap();
    }
}
