//! Groups of series that are weighted and calibrated by themselves.

/// Number of groups.
pub const GROUPS: usize = 3;
/// Mean number of periods between two demands from which demand is intermittent (Syntetos, Boylan and Croston 2005).
const ADI_MIN: f64 = 1.32;
/// Observations below which a history is short.
const OBSERVED_MIN: usize = 20;

/// The group of a history: 0 for demand in most periods, 1 for intermittent demand, 2 for short histories.
pub fn group_of(history: &[f64]) -> usize {
    match history.iter().filter(|y| !y.is_nan()).count() {
        observed if observed < OBSERVED_MIN => 2,
        _ => usize::from(is_intermittent(history)),
    }
}

/// Whether there is demand in few periods only.
pub fn is_intermittent(history: &[f64]) -> bool {
    let observed = history.iter().filter(|y| !y.is_nan()).count();
    let demands = history.iter().filter(|y| !y.is_nan() && **y != 0.0).count();
    observed as f64 >= ADI_MIN * demands as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_and_missing_values_tell_the_groups() {
        let nan = f64::NAN;
        assert_eq!(group_of(&[5.0; 30]), 0);
        assert_eq!(group_of(&[5.0; 19]), 2);
        assert_eq!(group_of(&[0.0; 30]), 1);
        let history = |zeros: usize| (0..40).map(|t| if t < zeros { 0.0 } else { 3.0 }).collect::<Vec<_>>();
        assert_eq!((group_of(&history(9)), group_of(&history(10))), (0, 1));
        assert_eq!(group_of(&[vec![nan; 60], vec![1.0; 25]].concat()), 0);
    }
}
