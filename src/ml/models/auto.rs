//! Which families take part where the user leaves the choice to us.

use crate::ml::evaluation::group_of;
use crate::ml::forecaster::Family;
use crate::ml::series::Panel;

/// Share of intermittent series from which the rules for them take part.
const INTERMITTENT_SHARE: f64 = 0.05;

/// Steps of all series up to which ARIMA takes part: some ten seconds of a core.
const ARIMA_STEPS_MAX: usize = 2_000_000;

/// The families that these words name; `auto` stands for those that suit the panel.
pub fn candidates(families: &[Family], panel: &Panel) -> Vec<Family> {
    let mut out = Vec::new();
    for family in families {
        match family {
            Family::Auto => out.extend(suitable(panel)),
            family => out.push(*family),
        }
    }
    let mut seen = Vec::new();
    out.retain(|family| {
        !seen.contains(family) && {
            seen.push(*family);
            true
        }
    });
    out
}

/// Where seconds are few those that come first have them: a quick rule, and the one that usually is best.
fn suitable(panel: &Panel) -> Vec<Family> {
    let mut families =
        vec![Family::SeasonalNaive, Family::Theta, Family::Gbt, Family::Foundation, Family::Ets, Family::Ces];
    if panel.target.len() <= ARIMA_STEPS_MAX {
        families.push(Family::Arima);
    }
    let intermittent = (0..panel.len()).filter(|i| group_of(panel.history_of(*i)) == 1).count();
    if intermittent as f64 > INTERMITTENT_SHARE * panel.len() as f64 {
        families.push(Family::Tsb);
    }
    families.push(Family::Tide);
    families
}
