//! What foundation models learn from: series of panels, made-up series, or both.

use crate::ml::foundation::explained::explained;
use crate::ml::foundation::groups::Group;
use crate::ml::foundation::rows::{CovariateRows, rows_of};
use crate::ml::rng::Rng;
use crate::ml::series::Panel;
use crate::ml::synthetic::{self, augment};

/// Fewest steps before an origin.
const HISTORY_MIN: usize = 4;
/// Rows of a group that is learnt from, at most.
const ROWS_MAX: usize = 8;
/// How often an example of a panel is augmented, by each of the ways.
const AUGMENTED: f64 = 0.15;

/// Series to learn from.
#[derive(Debug)]
pub struct Corpus {
    sources: Vec<Source>,
    /// Share of made-up examples.
    synthetic: f64,
    /// Steps of every series that are held out.
    held_out: usize,
    /// The covariates that are rows beside the target.
    covariate_rows: CovariateRows,
}

/// A panel, the last steps of whose series are held out.
#[derive(Debug)]
struct Source {
    panel: Panel,
    /// Steps of every series that may be learnt from.
    train: Vec<usize>,
    /// Steps of every series that may be seen, those that tell when to stop included.
    end: Vec<usize>,
    /// Windows up to and including those of every series.
    cumulative: Vec<usize>,
    /// How often it is drawn from, beside the others.
    weight: f64,
}

impl Corpus {
    /// The panels without the last `held_out` steps of their series, and a share of made-up series.
    pub fn new(panels: Vec<Panel>, held_out: usize, synthetic: f64) -> Self {
        let sources: Vec<Source> = panels
            .into_iter()
            .map(|panel| Source::new(panel, held_out))
            .filter(|s| s.windows() > 0)
            .collect();
        let synthetic = if sources.is_empty() { 1.0 } else { synthetic.clamp(0.0, 1.0) };
        Self { sources, synthetic, held_out, covariate_rows: CovariateRows::None }
    }

    /// A panel of whose series so many steps may be learnt from; those after them are held out. A share of the examples
    /// are made up, so that the network does not forget what it knew.
    pub fn of_panel(panel: &Panel, train: &[usize], synthetic: f64) -> Self {
        let source = Source::before(panel.clone(), train.to_vec());
        Self {
            sources: vec![source],
            synthetic: synthetic.clamp(0.0, 1.0),
            held_out: 0,
            covariate_rows: CovariateRows::None,
        }
    }

    /// The corpus for a network that reads these covariates as rows.
    pub fn with_covariate_rows(self, covariate_rows: CovariateRows) -> Self {
        Self { covariate_rows, ..self }
    }

    /// True where some of the series that it draws have covariates of the past.
    pub fn has_past(&self) -> bool {
        self.synthetic < 1.0 && self.sources.iter().any(|source| !source.panel.past.is_empty())
    }

    /// Windows of its series.
    pub fn windows(&self) -> usize {
        self.sources.iter().map(Source::windows).sum()
    }

    /// Rows of a group: a target, and its covariates where they are rows.
    pub fn rows(&self) -> usize {
        let most = self.sources.iter().map(|source| self.covariate_rows.most(&source.panel)).max();
        (1 + most.unwrap_or(0)).min(ROWS_MAX)
    }

    /// Steps of the windows that are held out.
    pub fn horizon(&self) -> usize {
        self.held_out
    }

    /// The frequencies of its series, as [`crate::ml::series::Frequency::common`] counts them; none where made-up ones have all.
    pub fn frequencies(&self) -> Option<Vec<usize>> {
        let mut found: Vec<usize> =
            self.sources.iter().map(|source| source.panel.frequency.common()).collect();
        found.sort_unstable();
        found.dedup();
        (self.synthetic == 0.0).then_some(found)
    }

    /// An example of at most `rows` rows with at most `context` steps before the origin and `horizon` after it.
    pub fn draw(&self, rng: &mut Rng, rows: usize, context: usize, horizon: usize) -> Group {
        if rng.chance(self.synthetic) {
            return synthetic::sample(rng, rows, context, horizon);
        }
        let weights: Vec<f64> = self.sources.iter().map(|source| source.weight).collect();
        match self.sources.get(synthetic::pick(rng, &weights)) {
            Some(source) => source.draw(rng, rows, (context, horizon), self.covariate_rows),
            None => synthetic::sample(rng, rows, context, horizon),
        }
    }

    /// The windows at the ends of the series that were held out, each `horizon` steps long; at most `most`, evenly spread.
    pub fn held_out(&self, context: usize, horizon: usize, most: usize) -> Vec<Group> {
        let mut windows = Vec::new();
        for source in &self.sources {
            for s in (0..source.panel.len()).filter(|s| source.train[*s] >= HISTORY_MIN) {
                let origins = (source.train[s]..source.end[s]).step_by(horizon.max(1));
                windows.extend(origins.map(|origin| (source, s, origin)));
            }
        }
        let n = windows.len().min(most);
        let window = |i: usize| {
            let (source, s, origin) = windows[i * windows.len() / n];
            source.window((s, origin), source.end[s], (context, horizon), self.covariate_rows)
        };
        (0..n).map(window).collect()
    }
}

impl Source {
    fn new(panel: Panel, held_out: usize) -> Self {
        let train = panel.history.iter().map(|n| n.saturating_sub(held_out)).collect();
        Self::before(panel, train)
    }

    fn before(panel: Panel, train: Vec<usize>) -> Self {
        let mut total = 0;
        let cumulative = train.iter().map(|n| {
            total += n.saturating_sub(HISTORY_MIN);
            total
        });
        let cumulative = cumulative.collect();
        // A panel a hundred times as large is seen ten times as often.
        let end = panel.history.clone();
        Self { panel, train, end, cumulative, weight: (total as f64).sqrt() }
    }

    fn windows(&self) -> usize {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// The series before `origin` and its targets from there to `end`, with its covariates or without what they explain.
    fn window(
        &self,
        (series, origin): (usize, usize),
        end: usize,
        (context, horizon): (usize, usize),
        covariate_rows: CovariateRows,
    ) -> Group {
        let panel = &self.panel;
        let (mut rows, unit) = rows_of(panel, (series, origin), (context, horizon), covariate_rows);
        let targets = &panel.history_of(series)[origin..end.min(origin + horizon)];
        let targets = targets.iter().map(|y| (y / unit) as f32);
        rows[0].future = targets.chain(std::iter::repeat(f32::NAN)).take(horizon).collect();
        let group = Group { rows, frequency: panel.frequency.common(), season: panel.season_length };
        if covariate_rows == CovariateRows::All { group } else { explained(group).0 }
    }

    fn draw(
        &self,
        rng: &mut Rng,
        rows: usize,
        (context, horizon): (usize, usize),
        covariate_rows: CovariateRows,
    ) -> Group {
        let (series, origin) = self.place(rng);
        let context =
            if rng.chance(0.6) { context } else { HISTORY_MIN + rng.below(context.max(HISTORY_MIN)) };
        let mut group = self.window((series, origin), self.train[series], (context, horizon), covariate_rows);
        group.rows.truncate(rows);
        if rng.chance(AUGMENTED) && group.rows.len() == 1 {
            let (series, origin) = self.place(rng);
            let other = self.window((series, origin), self.train[series], (context, horizon), covariate_rows);
            augment::mix_rows(rng, &mut group.rows[0], &other.rows[0]);
        }
        if rng.chance(AUGMENTED) {
            augment::jitter_row(rng, &mut group.rows[0]);
        }
        if rng.chance(AUGMENTED) && group.rows.len() == 1 {
            augment::warp_row(rng, &mut group.rows[0]);
        }
        if rng.chance(AUGMENTED) {
            augment::mask(rng, &mut group.rows[0]);
        }
        group
    }

    /// A series and an origin, every window as likely as any other.
    fn place(&self, rng: &mut Rng) -> (usize, usize) {
        let window = rng.below(self.windows());
        let series = self.cumulative.partition_point(|c| *c <= window);
        let before = if series == 0 { 0 } else { self.cumulative[series - 1] };
        (series, HISTORY_MIN + window - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::series::Frequency;

    /// Values tell their series and steps.
    fn panel(series: usize, steps: usize) -> Panel {
        let target: Vec<f64> =
            (0..series * steps).map(|i| (i % steps) as f64 + 1000.0 * (i / steps) as f64).collect();
        Panel {
            frequency: Frequency::Days(1),
            origin: 0,
            season_length: 7,
            keys: (0..series).map(|i| i.to_string()).collect(),
            offsets: (0..=series).map(|i| i * steps).collect(),
            history: vec![steps; series],
            start: vec![0; series],
            target,
            known: vec![],
            past: vec![],
            statics: vec![],
            lines: vec![],
        }
    }

    #[test]
    fn nothing_that_is_held_out_is_drawn() {
        let corpus = Corpus::new(vec![panel(3, 60), panel(2, 40)], 10, 0.0);
        for seed in 0..400 {
            let group = corpus.draw(&mut Rng::new(seed), 1, 32, 8);
            assert_eq!((group.rows.len(), group.frequency), (1, 5));
        }
        // Without augmentation values tell their steps.
        let source = Source::new(panel(3, 60), 10);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..2_000 {
            let (series, origin) = source.place(&mut Rng::new(seed));
            assert!((HISTORY_MIN..50).contains(&origin));
            let group = source.window((series, origin), 50, (32, 8), CovariateRows::None);
            let unit = rows_of(&source.panel, (series, origin), (32, 8), CovariateRows::None).1;
            let future = group.rows[0].future.iter().filter(|y| y.is_finite());
            let steps = future.map(|y| (f64::from(*y) * unit).round() as usize % 1000);
            assert!(steps.clone().all(|step| step >= origin && step < 50));
            seen.extend(steps.map(|step| (series, step)));
        }
        assert_eq!(seen.len(), 3 * (50 - HISTORY_MIN));
    }

    #[test]
    fn what_is_held_out_are_the_last_steps() {
        let corpus = Corpus::new(vec![panel(3, 60)], 10, 0.0);
        let windows = corpus.held_out(32, 10, 2);
        assert_eq!(windows.len(), 2);
        let row = &windows[0].rows[0];
        let last = row.history[31];
        assert!(row.future.iter().zip(50..60).all(|(y, t)| (y / last - t as f32 / 49.0).abs() < 1e-5));
    }

    #[test]
    fn without_series_all_is_made_up() {
        let corpus = Corpus::new(vec![panel(2, 3)], 0, 0.0);
        assert_eq!(corpus.draw(&mut Rng::new(1), 1, 32, 8).rows[0].future.len(), 8);
    }
}
