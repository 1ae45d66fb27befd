//! Options of REFRESH.

use datafusion::logical_expr::Expr;

use crate::engine::options::{OptionSpec, checked, number, word};
use crate::error::{Error, Result, Subject, did_you_mean};

/// The keys of `WITH (…)` in REFRESH.
pub const REFRESH_OPTIONS: &[OptionSpec] = &[
    number("max_seconds", 0.1, 1e7, "wall-clock budget of the training"),
    word("promote", promote, "when the new version becomes the active one: if_better or always"),
];

/// What REFRESH asks for, checked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RefreshSettings {
    /// Wall-clock budget; none takes that of the training.
    pub max_seconds: Option<f64>,
    /// The new version becomes the active one even where it is no better.
    pub always: bool,
}

impl RefreshSettings {
    /// Reads and checks literals.
    pub fn check(raw: &[(String, Expr)]) -> Result<Self> {
        let mut settings = Self::default();
        for (name, value) in checked(REFRESH_OPTIONS, raw)? {
            match name {
                "max_seconds" => settings.max_seconds = Some(value),
                _ => settings.always = value > 0.0,
            }
        }
        Ok(settings)
    }
}

fn promote(word: &str) -> Result<usize> {
    let words = ["if_better", "always"];
    words.iter().position(|known| known.eq_ignore_ascii_case(word)).ok_or_else(|| {
        let message = format!("unknown promote {word}{}", did_you_mean(word, words));
        Error::input(Subject::Option, message).with_hint("promote is if_better or always")
    })
}
