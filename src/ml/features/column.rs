//! Covariates as numbers and indexes, by what the training rows taught.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ml::series::{Covariate, MISSING, Values};

/// Standardised values beyond this are cut.
const LIMIT: f32 = 10.0;
/// Words a vocabulary holds; rarer ones are unknown.
const WORDS_MAX: usize = 1000;

/// How one covariate is encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ColumnEncoder {
    /// `(f(x) - mean) / deviation`, f = ln(1 + x) for skewed non-negative numbers; missing becomes 0.
    Number {
        /// The user's column name.
        name: String,
        /// Mean after f.
        mean: f64,
        /// Standard deviation after f.
        deviation: f64,
        /// True when f is the logarithm.
        logarithm: bool,
        /// True when some training rows lack it: then a second feature tells which.
        missing: bool,
        /// The two values of a number that has only two.
        binary: Option<(f32, f32)>,
    },
    /// Index in the vocabulary counted from 1; 0 is unknown and missing.
    Category {
        /// The user's column name.
        name: String,
        /// The words of the training rows, sorted.
        vocabulary: Vec<String>,
    },
}

impl ColumnEncoder {
    /// Learns from these rows only.
    pub fn fit(covariate: &Covariate, rows: &[Range<usize>]) -> Self {
        match &covariate.values {
            Values::Number(numbers) => fit_number(&covariate.name, numbers, rows),
            Values::Category { codes, labels } => {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for code in rows.iter().flat_map(|range| &codes[range.clone()]).filter(|c| **c != MISSING) {
                    if let Some(label) = labels.get(*code as usize) {
                        *counts.entry(label).or_default() += 1;
                    }
                }
                let mut words: Vec<(&str, usize)> = counts.into_iter().collect();
                words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                words.truncate(WORDS_MAX);
                let mut vocabulary: Vec<String> =
                    words.into_iter().map(|(word, _)| word.to_string()).collect();
                vocabulary.sort_unstable();
                Self::Category { name: covariate.name.clone(), vocabulary }
            }
        }
    }

    /// The user's column name.
    pub fn name(&self) -> &str {
        match self {
            Self::Number { name, .. } | Self::Category { name, .. } => name,
        }
    }

    /// Numeric features per row.
    pub fn width(&self) -> usize {
        match self {
            Self::Number { missing, .. } => 1 + usize::from(*missing),
            Self::Category { .. } => 0,
        }
    }

    /// Names of the numeric features.
    pub fn feature_names(&self) -> Vec<String> {
        match self {
            Self::Number { name, missing: true, .. } => vec![name.clone(), format!("{name}_missing")],
            Self::Number { name, .. } => vec![name.clone()],
            Self::Category { .. } => Vec::new(),
        }
    }

    /// The words of the vocabulary; `None` for numbers.
    pub fn vocabulary(&self) -> Option<&[String]> {
        match self {
            Self::Category { vocabulary, .. } => Some(vocabulary),
            Self::Number { .. } => None,
        }
    }

    /// Words of the vocabulary with the unknown one; `None` for numbers.
    pub fn words(&self) -> Option<usize> {
        match self {
            Self::Number { .. } => None,
            Self::Category { vocabulary, .. } => Some(vocabulary.len() + 1),
        }
    }

    /// True when training rows never lack it.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Number { missing: false, .. })
    }

    /// True when the number has only two values.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Number { binary: Some(_), .. })
    }

    /// The feature of a number that is there.
    pub fn encode(&self, x: f32) -> f32 {
        match self {
            Self::Number { binary: Some((low, high)), .. } => ((x - low) / (high - low)).clamp(-LIMIT, LIMIT),
            Self::Number { mean, deviation, logarithm, .. } => {
                let x = if *logarithm { f64::from(x.max(0.0)).ln_1p() } else { f64::from(x) };
                ((x - mean) / deviation).clamp(f64::from(-LIMIT), f64::from(LIMIT)) as f32
            }
            Self::Category { .. } => 0.0,
        }
    }

    /// 0 or 1 for the two values of a binary column, 2 for anything else; `None` when it is not binary.
    pub fn two_way(&self, values: &Values) -> Option<Vec<u8>> {
        match (self, values) {
            (Self::Number { binary: Some((low, high)), .. }, Values::Number(numbers)) => Some(
                numbers
                    .iter()
                    .map(|x| {
                        if x == low {
                            0
                        } else if x == high {
                            1
                        } else {
                            2
                        }
                    })
                    .collect(),
            ),
            (Self::Category { vocabulary, .. }, Values::Category { .. }) if vocabulary.len() == 2 => {
                Some(values.codes_in(vocabulary).iter().map(|c| (*c).min(2) as u8).collect())
            }
            _ => None,
        }
    }
}

fn fit_number(name: &str, numbers: &[f32], rows: &[Range<usize>]) -> ColumnEncoder {
    let all = || rows.iter().flat_map(|range| &numbers[range.clone()]).copied();
    let present = || all().filter(|x| x.is_finite());
    let n = present().count().max(1) as f64;
    let (low, high) = present().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    let binary = (low < high && present().all(|x| x == low || x == high)).then_some((low, high));
    let plain_mean = present().map(f64::from).sum::<f64>() / n;
    let logarithm = binary.is_none() && low >= 0.0 && f64::from(high) > 10.0 * plain_mean;
    let f = |x: f32| if logarithm { f64::from(x).ln_1p() } else { f64::from(x) };
    let mean = present().map(f).sum::<f64>() / n;
    let variance = present().map(|x| (f(x) - mean) * (f(x) - mean)).sum::<f64>() / n;
    let deviation = if variance > 1e-12 * mean * mean && variance > 0.0 { variance.sqrt() } else { 1.0 };
    ColumnEncoder::Number {
        name: name.to_string(),
        mean,
        deviation,
        logarithm,
        missing: all().any(|x| !x.is_finite()),
        binary,
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn numbers(values: &[f32]) -> Covariate {
        Covariate { name: "x".into(), values: Values::Number(values.to_vec()) }
    }

    #[test]
    fn only_the_given_rows_teach() {
        let clean = ColumnEncoder::fit(&numbers(&[1.0, 2.0, 3.0, 9e9, f32::NAN]), slice::from_ref(&(0..3)));
        assert_eq!(clean, ColumnEncoder::fit(&numbers(&[1.0, 2.0, 3.0]), slice::from_ref(&(0..3))));
        assert!((clean.encode(2.0)).abs() < 1e-6 && clean.is_complete());
        assert_eq!(clean.encode(9e9), LIMIT);
    }

    #[test]
    fn two_values_are_binary_and_missing_is_a_third_code() {
        let column = numbers(&[5.0, 0.0, f32::NAN, 5.0]);
        let encoder = ColumnEncoder::fit(&column, slice::from_ref(&(0..4)));
        assert_eq!(encoder.two_way(&column.values), Some(vec![1, 0, 2, 1]));
        assert_eq!((encoder.encode(5.0), encoder.width()), (1.0, 2));
    }

    #[test]
    fn vocabulary_is_sorted_and_unseen_words_are_unknown() {
        let labels: Vec<String> = ["b", "a", "later"].iter().map(ToString::to_string).collect();
        let values = Values::Category { codes: vec![0, 1, 2, MISSING], labels };
        let encoder = ColumnEncoder::fit(&Covariate { name: "x".into(), values }, slice::from_ref(&(0..2)));
        let ColumnEncoder::Category { vocabulary, .. } = &encoder else { panic!("category") };
        assert_eq!(
            (vocabulary.as_slice(), encoder.words()),
            (&["a".to_string(), "b".to_string()][..], Some(3))
        );
    }

    #[test]
    fn a_constant_column_is_harmless() {
        let encoder = ColumnEncoder::fit(&numbers(&[4.0, 4.0]), slice::from_ref(&(0..2)));
        assert_eq!(encoder.encode(4.0), 0.0);
        assert!(encoder.encode(5.0).is_finite());
    }
}
