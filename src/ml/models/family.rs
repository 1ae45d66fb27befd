//! One door for all families of models.

use std::sync::Arc;

use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::control::Control;
use crate::ml::forecaster::{Family, FitEstimate, FitOptions, FitReport, FittedForecaster};
use crate::ml::models::container;
use crate::ml::models::{ets, seasonal_naive, tide};
use crate::ml::series::Panel;

const FAMILIES: [Family; 3] = [Family::SeasonalNaive, Family::Ets, Family::Tide];

/// The word users write after USING.
pub fn family_name(family: Family) -> &'static str {
    match family {
        Family::SeasonalNaive => "seasonal_naive",
        Family::Ets => "ets",
        Family::Tide => "tide",
    }
}

/// The family of this word, in any case.
pub fn parse_family(word: &str) -> Result<Family> {
    let known = FAMILIES.into_iter().find(|family| family_name(*family).eq_ignore_ascii_case(word));
    known.ok_or_else(|| {
        let names = FAMILIES.map(family_name);
        let message = format!("unknown family {word}{}", did_you_mean(word, names));
        Error::input(Subject::Option, message).with_hint(format!("USING knows {}", names.join(", ")))
    })
}

/// Fits a model of this family to all series of the panel.
pub fn fit(
    family: Family,
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    match family {
        Family::SeasonalNaive => seasonal_naive::fit(panel, options, control),
        Family::Ets => ets::fit(panel, options, control),
        Family::Tide => tide::fit(panel, options, control),
    }
}

/// What a fit of this family will need.
pub fn estimate(
    family: Family,
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<FitEstimate> {
    match family {
        Family::SeasonalNaive => Ok(seasonal_naive::estimate(panel)),
        Family::Ets => Ok(ets::estimate(panel)),
        Family::Tide => tide::estimate(panel, options, control),
    }
}

/// The model that [`FittedForecaster::to_bytes`] wrote; any other bytes are an error, never a panic.
pub fn load(bytes: &[u8]) -> Result<Arc<dyn FittedForecaster>> {
    let stored = container::read(bytes)?;
    let family = FAMILIES.into_iter().find(|family| family_name(*family) == stored.family);
    match family {
        Some(Family::SeasonalNaive) => seasonal_naive::load(&stored),
        Some(Family::Ets) => ets::load(&stored),
        Some(Family::Tide) => tide::load(&stored.config, &stored.file),
        None => Err(Error::corrupt(
            Subject::Model,
            format!("the model file names the family {}, which this version does not know", stored.family),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_families_in_any_case() {
        assert_eq!(parse_family("TiDE").unwrap(), Family::Tide);
        let error = parse_family("etc").unwrap_err();
        assert_eq!(error.message(), "unknown family etc; did you mean ets?");
        assert_eq!(error.hint(), Some("USING knows seasonal_naive, ets, tide"));
    }

    #[test]
    fn foreign_bytes_are_corrupt() {
        for bytes in [&[][..], b"12345678", &[255; 64], &[1, 0, 0, 0, 0, 0, 0, 0, b'{']] {
            assert_eq!(load(bytes).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
        }
    }
}
