//! What the series of every static word did: the past of series that have just begun.

use std::cmp::Reverse;
use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::ml::series::{MISSING, Panel, Values};

/// Series that have a value in a period for it to count, at least.
const PEERS_MIN: usize = 3;
/// Words of a column that are kept, those of most series.
const WORDS_MAX: usize = 256;
/// Values of its own by which a series tells its level, at least.
const OWN_MIN: usize = 3;

/// Means of the series with a static word, each divided by its own mean size, period by period.
///
/// A network knows the season of a series from its history: what is sold for eight weeks has shown none yet, others of its
/// category have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// The first period.
    first: i64,
    /// Periods.
    steps: usize,
    /// Columns, the one with most words first.
    columns: Vec<Column>,
    /// NaN where too few series have a value: `[words of all columns, steps]`.
    #[serde(skip)]
    means: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Column {
    name: String,
    words: Vec<String>,
}

impl Peers {
    /// Those of a panel's static words in the last `steps` periods, the first `train` rows of every series known.
    pub fn of(panel: &Panel, train: &[usize], steps: usize) -> Self {
        let ends = (0..panel.len()).map(|series| panel.start[series] + train[series] as i64);
        let first = ends.max().unwrap_or(0) - steps as i64;
        let mut columns: Vec<(Column, Vec<Vec<usize>>)> = vec![];
        for of in &panel.statics {
            let Values::Category { codes, labels } = &of.values else { continue };
            let mut series: Vec<(usize, Vec<usize>)> = labels.iter().map(|_| vec![]).enumerate().collect();
            let told = codes.iter().enumerate().filter(|(_, code)| **code != MISSING);
            told.for_each(|(i, code)| series[*code as usize].1.push(i));
            series.retain(|(_, series)| series.len() > PEERS_MIN);
            series.sort_by_key(|(word, series)| (Reverse(series.len()), *word));
            series.truncate(WORDS_MAX);
            if series.is_empty() {
                continue;
            }
            let words = series.iter().map(|(word, _)| labels[*word].clone()).collect();
            columns.push((
                Column { name: of.name.clone(), words },
                series.into_iter().map(|(_, of)| of).collect(),
            ));
        }
        columns.sort_by_key(|(column, _)| Reverse(column.words.len()));
        let (columns, words): (Vec<Column>, Vec<_>) = columns.into_iter().unzip();
        let words: Vec<Vec<usize>> = words.into_iter().flatten().collect();
        let means =
            words.into_par_iter().flat_map_iter(|of| means(panel, train, first..first + steps as i64, &of));
        Self { first, steps, means: means.collect(), columns }
    }

    /// The means with what else was read of them; `None` where they do not fit.
    pub fn with_means(self, means: Vec<f32>) -> Option<Self> {
        let words: usize = self.columns.iter().map(|column| column.words.len()).sum();
        (words.checked_mul(self.steps) == Some(means.len())).then_some(Self { means, ..self })
    }

    /// `[words, steps]`.
    pub fn means(&self) -> &[f32] {
        &self.means
    }

    /// The means of the word of every series in the column that has most words, of those where its word is known.
    pub fn of_series(&self, panel: &Panel) -> Vec<Option<&[f32]>> {
        let mut found = vec![None; panel.len()];
        let mut before = 0;
        for column in &self.columns {
            let of = panel.statics.iter().find(|of| of.name == column.name);
            let codes = of.map_or(vec![], |of| of.values.codes_in(&column.words));
            for (found, code) in found.iter_mut().zip(codes).filter(|(_, code)| *code != MISSING) {
                let at = (before + code as usize) * self.steps;
                *found = found.or_else(|| self.means.get(at..at + self.steps));
            }
            before += column.words.len();
        }
        found
    }

    /// What the peers did before a history that ends before the period `end`, at its level, where it has fewer than `wanted` steps; from
    /// the first period on of which it is known. Nothing where the history tells no level.
    pub fn before(&self, means: &[f32], history: &[f32], end: i64, wanted: usize) -> Vec<f32> {
        let at = |back: usize| usize::try_from(end - back as i64 - self.first).ok();
        let mean = |back: usize| means.get(at(back)?).copied().filter(|mean| mean.is_finite());
        let own = history.iter().enumerate().filter(|(_, y)| y.is_finite());
        let both = own.filter_map(|(t, y)| Some((*y, mean(history.len() - t)?)));
        let (mut n, mut own, mut of_peers) = (0, 0.0, 0.0);
        for (y, mean) in both {
            (n, own, of_peers) = (n + usize::from(y != 0.0), own + f64::from(y), of_peers + f64::from(mean));
        }
        let level = (own / of_peers) as f32;
        if n < OWN_MIN || !level.is_normal() || level < 0.0 || history.iter().any(|y| *y < 0.0) {
            return vec![];
        }
        let backs = (history.len() + 1..=wanted).rev();
        backs
            .skip_while(|back| mean(*back).is_none())
            .map(|back| mean(back).map_or(f32::NAN, |mean| mean * level))
            .collect()
    }
}

/// The means of these series in these periods; those with a negative value have no part in them.
fn means(panel: &Panel, train: &[usize], periods: Range<i64>, of: &[usize]) -> Vec<f32> {
    let mut sums = vec![(0.0, 0usize); usize::try_from(periods.end - periods.start).unwrap_or(0)];
    for series in of {
        let history = &panel.history_of(*series)[..train[*series]];
        let skipped = usize::try_from(periods.start - panel.start[*series]).unwrap_or(0).min(history.len());
        let first = usize::try_from(panel.start[*series] - periods.start).unwrap_or(0);
        let values = &history[skipped..];
        let observed = || values.iter().filter(|y| !y.is_nan());
        let size = observed().sum::<f64>() / observed().count().max(1) as f64;
        if size.is_normal() && observed().all(|y| *y >= 0.0) {
            let places = sums.iter_mut().skip(first).zip(values).filter(|(_, y)| !y.is_nan());
            places.for_each(|((sum, count), y)| (*sum, *count) = (*sum + y / size, *count + 1));
        }
    }
    let mean =
        |(sum, count): (f64, usize)| if count < PEERS_MIN { f32::NAN } else { (sum / count as f64) as f32 };
    sums.into_iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::series::{Covariate, Frequency};

    const END: i64 = 36;

    /// Series with a category each, which begin at these periods and end at the same one; a peak every twelfth month.
    fn panel(series: &[(i64, &str, f64)]) -> Panel {
        let rows = |begin: &i64| (END - begin) as usize;
        let mut offsets = vec![0];
        series.iter().for_each(|(begin, ..)| offsets.push(offsets[offsets.len() - 1] + rows(begin)));
        let value = |t: i64, level: f64| level * if t % 12 == 11 { 5.0 } else { 1.0 };
        let mut labels: Vec<String> = series.iter().map(|(_, word, _)| (*word).to_owned()).collect();
        labels.dedup();
        let codes = series.iter().map(|(_, word, _)| labels.iter().position(|l| l == word).unwrap() as u32);
        let kind = Values::Category { codes: codes.collect(), labels: labels.clone() };
        let all = Values::Category { codes: vec![0; series.len()], labels: vec!["drinks".into()] };
        let statics = [("all", all), ("kind", kind)];
        Panel {
            frequency: Frequency::Months(1),
            origin: 0,
            season_length: 12,
            keys: (0..series.len()).map(|i| i.to_string()).collect(),
            history: series.iter().map(|(begin, ..)| rows(begin)).collect(),
            start: series.iter().map(|(begin, ..)| *begin).collect(),
            target: series
                .iter()
                .flat_map(|(begin, _, level)| (*begin..END).map(|t| value(t, *level)))
                .collect(),
            known: vec![],
            past: vec![],
            statics: statics.map(|(name, values)| Covariate { name: name.into(), values }).to_vec(),
            lines: vec![],
            offsets,
        }
    }

    fn drinks() -> Panel {
        let beer = [(0, "beer", 2.0), (0, "beer", 30.0), (4, "beer", 7.0), (28, "beer", 10.0)];
        let wine = [(0, "wine", 9.0), (0, "wine", 1.0), (0, "wine", 4.0), (0, "wine", 4.0), (30, "tea", 4.0)];
        panel(&[&beer[..], &wine].concat())
    }

    fn peers(panel: &Panel) -> Peers {
        Peers::of(panel, &panel.history, 30)
    }

    #[test]
    fn the_past_of_peers_is_at_the_level_of_a_series() {
        let mut panel = drinks();
        panel.target[panel.offsets[4]..panel.offsets[8]].iter_mut().for_each(|y| *y = y.powi(0));
        let peers = peers(&panel);
        let of = peers.of_series(&panel);
        let own: Vec<f32> = panel.history_of(3).iter().map(|y| *y as f32).collect();
        let past = peers.before(of[3].unwrap(), &own, END, 24);
        assert_eq!(past.len(), 16);
        for (t, y) in past.iter().enumerate() {
            let expected = if (12 + t) % 12 == 11 { 50.0 } else { 10.0 };
            assert!((y / expected - 1.0).abs() < 0.2, "{t}: {y}");
        }
        // Wine has no season here; tea has no word of its own that others have.
        let flat = peers.before(of[4].unwrap(), &[6.0; 4], END, 10);
        assert!(flat.len() == 6 && flat.iter().all(|y| (y - 6.0).abs() < 1e-5));
        assert!(of[8] == peers.of_series(&panel)[8] && of[8] != of[3] && of[8] != of[4] && of[8].is_some());
        // Six periods are before the first of which the peers are known.
        assert_eq!(peers.before(of[4].unwrap(), &[6.0; 4], END, 40).len(), 26);
        assert!(peers.before(of[4].unwrap(), &[6.0; 24], END, 24).is_empty());
    }

    #[test]
    fn nothing_is_borrowed_without_words_or_a_level() {
        let panel = drinks();
        let peers = peers(&panel);
        let of = peers.of_series(&panel)[3].unwrap();
        for history in [&[][..], &[0.0; 8], &[f32::NAN; 8], &[1.0, 2.0], &[5.0, 1.0, -1.0, 4.0]] {
            assert!(peers.before(of, history, END, 24).is_empty(), "{history:?}");
        }
        assert!(peers.before(of, &[1.0; 8], END + 100, 24).is_empty());
        let mut wordless = panel.clone();
        wordless.statics.clear();
        assert_eq!(
            Peers::of(&wordless, &wordless.history, 30),
            Peers { first: 6, steps: 30, ..Peers::default() }
        );
        assert!(peers.of_series(&wordless).iter().all(Option::is_none));
    }

    #[test]
    fn what_is_held_out_has_no_part_and_the_means_are_stored_apart() {
        let panel = drinks();
        let train: Vec<usize> = panel.history.iter().map(|n| n - 6).collect();
        let mut other = panel.clone();
        (0..panel.len())
            .for_each(|i| other.target[panel.offsets[i] + train[i]..panel.offsets[i + 1]].fill(1e9));
        let peers = Peers::of(&panel, &train, 30);
        let bits = |peers: &Peers| peers.means().iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&peers), bits(&Peers::of(&other, &train, 30)));
        let words: Peers = serde_json::from_str(&serde_json::to_string(&peers).unwrap()).unwrap();
        assert_eq!(words.clone().with_means(vec![1.0]), None);
        assert_eq!(bits(&words.with_means(peers.means().to_vec()).unwrap()), bits(&peers));
    }
}
