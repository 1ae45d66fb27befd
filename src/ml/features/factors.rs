//! Known binary covariates by which history is matched: promotions, school holidays, opening.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ml::features::column::ColumnEncoder;
use crate::ml::series::{Covariate, Panel};

/// Most factors that are crossed with the season.
const FACTORS_MAX: usize = 3;
/// Codes of a factor: first value, second value, missing.
pub(super) const CODES: usize = 3;
/// Most cells of season and factors: more would match too little and cost too much.
const CELLS_MAX: usize = 1500;
/// Series that the choice looks at.
const SERIES_MAX: usize = 2000;

/// A known binary covariate whose one value means that the target is zero, such as a closed shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Index of the covariate among the known ones.
    pub column: usize,
    /// Its code when the target is zero.
    pub off: u8,
}

/// The binary covariates that history is matched by, the most telling first, and the switch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    /// Indexes among the known covariates.
    pub columns: Vec<usize>,
    /// The switch, when there is one.
    pub switch: Option<Switch>,
}

/// Rows of one series with its scaled target, and the number of its first period.
struct Scaled {
    rows: Range<usize>,
    start: i64,
    values: Vec<f64>,
}

impl Factors {
    /// Chooses from the training rows (`rows[i]` and series `order[i]` belong together).
    pub fn fit(panel: &Panel, encoders: &[ColumnEncoder], order: &[usize], rows: &[Range<usize>]) -> Self {
        let codes: Vec<Option<Vec<u8>>> =
            encoders.iter().zip(&panel.known).map(|(encoder, c)| encoder.two_way(&c.values)).collect();
        let switch = (0..codes.len())
            .find_map(|column| find_switch(column, codes[column].as_deref()?, &panel.target, rows));
        let active = |row: usize| {
            switch.is_none_or(|s| codes[s.column].as_ref().is_none_or(|codes| codes[row] != s.off))
        };
        let sample: Vec<Scaled> = order
            .iter()
            .zip(rows)
            .take(SERIES_MAX)
            .map(|(&series, rows)| scaled(panel, series, rows, active))
            .collect();
        let columns = choose(&sample, &codes, switch, matching_season(panel.season_length));
        Self { columns, switch }
    }

    /// The switch's state and the crossed codes of every row.
    pub fn encode(&self, encoders: &[ColumnEncoder], known: &[Covariate]) -> (Option<Vec<bool>>, Vec<u8>) {
        let codes = |column: usize| encoders[column].two_way(&known[column].values).unwrap_or_default();
        let active = self.switch.map(|s| codes(s.column).iter().map(|code| *code != s.off).collect());
        let active = active.filter(|active: &Vec<bool>| !active.is_empty());
        let mut crossed: Vec<u8> = Vec::new();
        for &column in &self.columns {
            let codes = codes(column);
            crossed.resize(codes.len(), 0);
            crossed.iter_mut().zip(codes).for_each(|(c, code)| *c = *c * CODES as u8 + code);
        }
        (active, crossed)
    }

    /// Number of crossed codes of the first `depth` factors.
    pub fn combinations(depth: usize) -> usize {
        CODES.pow(depth as u32)
    }
}

/// The season that history is matched by: none where it is too long to come back.
pub(super) fn matching_season(season_length: usize) -> usize {
    if season_length <= CELLS_MAX { season_length.max(1) } else { 1 }
}

/// A code under which the training target is always zero, although zeros are not the rule.
fn find_switch(column: usize, codes: &[u8], target: &[f64], rows: &[Range<usize>]) -> Option<Switch> {
    let (mut seen, mut zero) = ([0usize; CODES], [0usize; CODES]);
    for row in rows.iter().cloned().flatten().filter(|row| target[*row].is_finite()) {
        seen[codes[row] as usize] += 1;
        zero[codes[row] as usize] += usize::from(target[row] == 0.0);
    }
    (0..2).find_map(|off| {
        let on = 1 - off;
        let chance = (zero[on] as f64 + 1.0) / (seen[on] as f64 + 2.0);
        // Were the code without meaning, so many zeros in a row would be less likely than one in a million.
        let certain = seen[off] as f64 * -chance.ln() > 14.0;
        (seen[off] > 0 && zero[off] == seen[off] && certain).then_some(Switch { column, off: off as u8 })
    })
}

fn scaled(panel: &Panel, series: usize, rows: &Range<usize>, active: impl Fn(usize) -> bool) -> Scaled {
    let usable = |row: usize| if active(row) { panel.target[row] } else { f64::NAN };
    let present = || rows.clone().map(usable).filter(|y| y.is_finite());
    let mean = present().map(f64::abs).sum::<f64>() / present().count().max(1) as f64;
    let scale = if mean > 0.0 { mean } else { 1.0 };
    let values = rows.clone().map(|row| usable(row) / scale).collect();
    Scaled { rows: rows.clone(), start: panel.start[series], values }
}

/// Adds the factor that leaves the least squared error, while it takes off at least a hundredth.
fn choose(sample: &[Scaled], codes: &[Option<Vec<u8>>], switch: Option<Switch>, season: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut error = squared_error(sample, codes, &chosen, season);
    while chosen.len() < FACTORS_MAX && season * Factors::combinations(chosen.len() + 1) <= CELLS_MAX {
        let candidates = (0..codes.len()).filter(|column| {
            codes[*column].is_some() && !chosen.contains(column) && switch.is_none_or(|s| s.column != *column)
        });
        let best = candidates
            .map(|column| {
                let tried: Vec<usize> = chosen.iter().copied().chain([column]).collect();
                (squared_error(sample, codes, &tried, season), column)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0));
        match best {
            Some((left, column)) if left < 0.99 * error => {
                chosen.push(column);
                error = left;
            }
            _ => break,
        }
    }
    chosen
}

/// Squared error of the mean of each cell of season and factors, over all series.
fn squared_error(sample: &[Scaled], codes: &[Option<Vec<u8>>], factors: &[usize], season: usize) -> f64 {
    let factors: Vec<&[u8]> = factors.iter().filter_map(|column| codes[*column].as_deref()).collect();
    let combinations = Factors::combinations(factors.len());
    let mut cells = vec![(0.0f64, 0.0f64, 0.0f64); season * combinations];
    for series in sample {
        for (i, y) in series.values.iter().enumerate().filter(|(_, y)| y.is_finite()) {
            let phase = (series.start + i as i64).rem_euclid(season as i64) as usize;
            let row = series.rows.start + i;
            let crossed = factors.iter().fold(0, |key, codes| key * CODES + codes[row] as usize);
            let cell = &mut cells[phase * combinations + crossed];
            *cell = (cell.0 + 1.0, cell.1 + y, cell.2 + y * y);
        }
    }
    cells.iter().filter(|(n, _, _)| *n > 0.0).map(|(n, sum, squares)| squares - sum * sum / n).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::featurizer::tests::panel;
    use crate::ml::rng::Rng;
    use crate::ml::series::Values;

    fn fit(panel: &Panel) -> Factors {
        let order: Vec<usize> = (0..panel.len()).collect();
        let rows: Vec<Range<usize>> = order.iter().map(|i| panel.rows_of(*i)).collect();
        let encoders: Vec<_> = panel.known.iter().map(|c| ColumnEncoder::fit(c, &rows)).collect();
        Factors::fit(panel, &encoders, &order, &rows)
    }

    #[test]
    fn finds_the_switch_and_the_telling_factor_but_not_noise() {
        let mut panel = panel(5, 200);
        let n = panel.target.len();
        let bits = |seed: u64| {
            let mut rng = Rng::new(seed);
            (0..n).map(|_| f32::from(u8::from(rng.chance(0.4)))).collect::<Vec<_>>()
        };
        let (open, promo, noise) = (bits(1), bits(5), bits(9));
        for row in 0..n {
            panel.target[row] = f64::from(open[row] * (10.0 + 8.0 * promo[row]));
        }
        panel.known = [("noise", noise), ("promo", promo), ("open", open)]
            .map(|(name, values)| Covariate { name: name.into(), values: Values::Number(values) })
            .to_vec();
        let factors = fit(&panel);
        assert_eq!(factors.switch, Some(Switch { column: 2, off: 0 }));
        assert_eq!(factors.columns[0], 1);
        let encoders: Vec<_> =
            panel.known.iter().map(|c| ColumnEncoder::fit(c, std::slice::from_ref(&(0..n)))).collect();
        let (active, crossed) = factors.encode(&encoders, &panel.known);
        assert!(active.unwrap().iter().zip(&panel.target).all(|(a, y)| *a == (*y != 0.0)));
        assert_eq!(crossed.len(), n);
    }
}
