//! The family of foundation models: a pretrained network forecasts every series from its own history, at once.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::evaluation::levels::at_level;
use crate::ml::evaluation::{LEVELS, MIDDLE, WIDTH};
use crate::ml::forecaster::{EpochLog, FitEstimate, FitOptions, Forecast, Status};
use crate::ml::foundation::{
    Base, Corpus, FineTuned, FineTuning, FoundationNetwork, Group, Groups, Peers, Scale, explained,
    fine_tune, look_back, rows_of,
};
use crate::ml::models::container::{Data, Stored, corrupt};
use crate::ml::models::local::{OBSERVED_MIN, bounds};
use crate::ml::models::model::{Learner, Learnt, Lesson, Model, Saved};
use crate::ml::models::{passes, seasonal_naive};
use crate::ml::series::Panel;

/// The model that ships with the engine, pretrained on made-up series alone.
static BASE: &[u8] = include_bytes!("../foundation/base.safetensors");
/// The name of that model.
pub const BASE_NAME: &str = "foretell_base";
/// The tensor that holds the whole file of the network.
const FILE: &str = "file";
/// The tensor that holds the means of [`Peers`].
const PEERS: &str = "peers";
/// Series that are forecast in one pass.
const PASS_LENGTH: usize = 32;
/// What a core computes in a second, about, of a network that forecasts, and of one that learns.
const FORECASTS_A_SECOND: f64 = 1.5e11;
const LEARNS_A_SECOND: f64 = 3e10;

/// The family.
pub(super) struct FoundationLearner;

#[derive(Debug, Clone)]
struct Foundation {
    config: FoundationModelConfig,
    base: Base,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FoundationModelConfig {
    season_length: usize,
    /// The frequency's place among those that the network tells apart.
    frequency: usize,
    /// True where no forecast is below 0.
    nonnegative: bool,
    /// Epochs of fine-tuning that were best; `None` of a network that was not fine-tuned.
    #[serde(default)]
    tuned: Option<usize>,
    /// What the series of every static word did, whose past is that of series that have just begun.
    #[serde(default)]
    peers: Peers,
}

/// The network that ships with the engine, as the bytes of its file.
pub fn base_network() -> &'static [u8] {
    BASE
}

/// The network that ships with the engine.
fn shipped() -> Result<Base> {
    static SHIPPED: OnceLock<Base> = OnceLock::new();
    if let Some(base) = SHIPPED.get() {
        return Ok(base.clone());
    }
    let base = Base::read(BASE)?;
    Ok(SHIPPED.get_or_init(|| base).clone())
}

/// The network that these options begin with.
fn base_of(options: &FitOptions) -> Result<Base> {
    options.base.clone().map_or_else(shipped, Ok)
}

/// Looks at the held-out windows, steps between them, and tokens of a step.
const EPOCHS: usize = 12;
const STEPS: usize = 16;
const TOKENS: usize = 2_048;
/// Looks where other families learn beside it: most of what there is to gain comes with the first ones.
const EPOCHS_SHARED: usize = 4;
/// Fewest series to which a network adapts where it was not asked to.
const SERIES_MIN: usize = 50;
/// Looks without improvement before fine-tuning stops.
const PATIENCE: usize = 4;
/// Peak learning rates of a whole network, and of few numbers: its last layers, or thin matrices.
const LEARNING_RATES: [f64; 2] = [2e-4, 1e-3];
/// Share of made-up examples.
const REPLAY: f64 = 0.1;

impl Foundation {
    /// The model of a panel's series before its network adapts to them.
    fn plain(lesson: &Lesson<'_>) -> Result<Self> {
        let panel = lesson.panel;
        let mut values = (0..panel.len()).flat_map(|s| lesson.history_of(s)).filter(|y| !y.is_nan());
        let config = FoundationModelConfig {
            season_length: panel.season_length.max(1),
            frequency: panel.frequency.common(),
            nonnegative: values.all(|y| *y >= 0.0),
            tuned: None,
            peers: Peers::default(),
        };
        Ok(Self { config, base: base_of(lesson.options)? }.with_peers(lesson))
    }

    /// The model with what the series of every static word did, where the network looks back on seasons.
    fn with_peers(mut self, lesson: &Lesson<'_>) -> Self {
        let config = self.network().config();
        if config.lags > 0 && !config.covariate_rows {
            self.config.peers = Peers::of(lesson.panel, &lesson.train, config.context_length);
        }
        self
    }

    /// Epochs for which a network adapts at most; none where it does not.
    fn epochs(lesson: &Lesson<'_>) -> usize {
        let named = lesson.options.epochs;
        match lesson.options.fine_tune {
            true => named.unwrap_or(EPOCHS),
            false if lesson.shared && lesson.panel.len() >= SERIES_MIN => {
                named.map_or(EPOCHS_SHARED, |epochs| epochs.min(EPOCHS_SHARED))
            }
            false => 0,
        }
    }

    /// Steps between looks.
    fn steps(lesson: &Lesson<'_>) -> usize {
        ((STEPS as f64 * lesson.effort.sqrt()) as usize).max(4)
    }

    /// Lets the network adapt, for so many epochs at most.
    fn adapted(self, lesson: &Lesson<'_>, epochs: usize) -> Result<(Self, Vec<EpochLog>)> {
        let (options, unasked) = (lesson.options, FitOptions::default());
        // What is told of other networks is not for one that nobody asked to adapt.
        let how = if options.fine_tune { options } else { &unasked };
        let corpus = Corpus::of_panel(lesson.panel, &lesson.train, how.replay.unwrap_or(REPLAY));
        let corpus = corpus.with_covariate_rows(self.network().config().rows());
        if corpus.windows() == 0 {
            return Ok((self, Vec::new()));
        }
        let longest = lesson.train.iter().copied().max().unwrap_or(0);
        let tuning = FineTuning {
            epochs,
            steps: Self::steps(lesson),
            tokens: how.batch_size.map_or(TOKENS, |series| series * 16),
            context: how.context_length.unwrap_or(self.context_length()).min(longest.max(1)),
            horizon: options.horizon,
            learning_rate: how
                .learning_rate
                .unwrap_or(LEARNING_RATES[usize::from(how.freeze_encoder || how.lora_rank.is_some())]),
            patience: how.early_stop.unwrap_or(PATIENCE),
            freezes_encoder: how.freeze_encoder,
            rank: how.lora_rank,
            device: options.device,
            seconds_max: lesson.seconds_left().map(|left| if options.fine_tune { left } else { left / 2.0 }),
            progress: lesson.span,
            seed: options.seed,
        };
        let FineTuned { base, best_epoch, log } = fine_tune(&self.base, &corpus, &tuning, lesson.control)?;
        let config = FoundationModelConfig { tuned: Some(best_epoch), ..self.config };
        Ok((Self { config, base }, log))
    }
}

impl Learner for FoundationLearner {
    fn fit(&self, lesson: &Lesson<'_>) -> Result<Learnt> {
        let plain = Foundation::plain(lesson)?;
        let of = |model: Foundation| -> Arc<dyn Model> { Arc::new(model) };
        let epochs = Foundation::epochs(lesson);
        if epochs == 0 {
            return Ok(Learnt::from(of(plain)));
        }
        let (config, base) =
            (FoundationModelConfig { tuned: Some(0), ..plain.config.clone() }, plain.base.clone());
        let (model, log) = plain.adapted(lesson, epochs)?;
        let before =
            model.config.tuned.is_some_and(|epochs| epochs > 0).then(|| of(Foundation { config, base }));
        Ok(Learnt { log, before, ..Learnt::from(of(model)) })
    }

    fn can_stop(&self) -> bool {
        true
    }

    fn estimate(&self, lesson: &Lesson<'_>) -> Result<FitEstimate> {
        let (panel, options) = (lesson.panel, lesson.options);
        let base = base_of(options)?;
        let (network, config) = (base.network(), base.network().config());
        let patch = config.input_patch_size;
        let tokens = |n: &usize| (n.min(&config.context_length) + options.horizon).div_ceil(patch) + 2;
        let tokens: usize = panel.history.iter().map(tokens).sum();
        // Two operations a parameter and token, six where it learns, and what is learnt at the end as long as before.
        let parameters = network.parameters().count();
        let learnt = 2 * Foundation::epochs(lesson) * Foundation::steps(lesson) * TOKENS;
        let learning = if learnt > 0 { config.learning_bytes(TOKENS) } else { 0 };
        let of = |tokens: usize, each: usize| (tokens * each * parameters) as f64;
        let seconds = of(tokens, 2) / FORECASTS_A_SECOND + of(learnt, 6) / LEARNS_A_SECOND;
        Ok(FitEstimate {
            parameters,
            windows: 0,
            memory_bytes: panel.bytes() + base.file().len() * 3 + learning,
            seconds: seconds / rayon::current_num_threads().max(1) as f64,
        })
    }

    fn load(&self, stored: &Stored<'_>) -> Result<Arc<dyn Model>> {
        let mut config: FoundationModelConfig = stored.config()?;
        if config.season_length == 0 {
            return Err(corrupt("its season has no steps".into()));
        }
        if config.peers != Peers::default() {
            let peers = config.peers.with_means(stored.f32(PEERS)?);
            config.peers = peers.ok_or_else(|| corrupt("its peers do not fit their words".into()))?;
        }
        let file = stored.u8(FILE)?;
        let base = if file == BASE { shipped()? } else { Base::read(&file)? };
        Ok(Arc::new(Foundation { config, base }))
    }
}

impl Model for Foundation {
    fn predict(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        passes::predict(panel, PASS_LENGTH, horizon, |part| self.predict_pass(part, horizon, control))
    }

    /// Adapts from the beginning with all steps among the targets, for as many epochs as were best.
    fn learn_rest(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>> {
        match self.config.tuned {
            None | Some(0) => Ok(Arc::new(Arc::unwrap_or_clone(self).with_peers(lesson))),
            Some(epochs) => Ok(Arc::new(Self::plain(lesson)?.adapted(lesson, epochs)?.0)),
        }
    }

    fn go_on(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>> {
        // Without windows that tell when to stop it learns for as long as helped when there were some.
        let epochs = match self.config.tuned {
            None => 0,
            Some(_) if lesson.holds_out() => Self::epochs(lesson),
            Some(epochs) => epochs,
        };
        let model = Arc::unwrap_or_clone(self).with_peers(lesson);
        Ok(Arc::new(if epochs == 0 { model } else { model.adapted(lesson, epochs)?.0 }))
    }

    fn context_length(&self) -> usize {
        self.network().config().context_length
    }

    fn parameters(&self) -> usize {
        self.network().parameters().count()
    }

    fn save(&self) -> Result<Saved> {
        let (file, means) = (self.base.file(), self.config.peers.means());
        let saved = Saved::new(&self.config)?.with(FILE, vec![file.len()], Data::U8(file.to_vec()));
        Ok(saved.with(PEERS, vec![means.len()], Data::F32(means.to_vec())))
    }
}

/// A series on its way to its forecast.
struct Row {
    group: Group,
    /// What its values were divided by.
    unit: f64,
    /// What known covariates explain of the steps to forecast.
    explained: Option<Vec<f32>>,
    /// Tokens of history.
    before: usize,
    status: Option<Status>,
}

impl Foundation {
    fn network(&self) -> &FoundationNetwork {
        self.base.network()
    }

    fn predict_pass(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        let config = self.network().config();
        let block = config.max_output_patches * config.input_patch_size;
        let peers = self.config.peers.of_series(panel);
        let rows = peers.into_iter().enumerate().map(|(s, peers)| self.row(panel, s, peers, horizon));
        let mut rows: Vec<Row> = rows.collect();
        let mut out = Forecast {
            horizon,
            quantile_levels: LEVELS.to_vec(),
            quantiles: vec![0.0; panel.len() * horizon * WIDTH],
            status: rows.iter().map(|row| row.status).collect(),
            ..Forecast::default()
        };
        for done in (0..horizon).step_by(block) {
            let steps = block.min(horizon - done);
            for of_one_shape in shapes(&rows) {
                control.check()?;
                let forecasts = self.forecast(&rows, &of_one_shape, steps)?;
                for (forecast, s) in forecasts.chunks_exact(steps * WIDTH).zip(of_one_shape) {
                    let at = (s * horizon + done) * WIDTH;
                    out.quantiles[at..at + forecast.len()].copy_from_slice(forecast);
                    rows[s].extend(forecast);
                }
            }
        }
        for s in 0..panel.len() {
            let quantiles = &mut out.quantiles[s * horizon * WIDTH..(s + 1) * horizon * WIDTH];
            out.status[s] = self.settle(panel.history_of(s), horizon, quantiles, out.status[s]);
        }
        out.point = out.quantiles.chunks_exact(WIDTH).map(|row| row[MIDDLE]).collect();
        Ok(out)
    }

    /// The history of a series, with that of its peers before it, or what its known covariates explain of it.
    fn row(&self, panel: &Panel, series: usize, peers: Option<&[f32]>, horizon: usize) -> Row {
        let config = self.network().config();
        let history = panel.history_of(series);
        let sizes = (config.context_length, horizon);
        let (rows, unit) = rows_of(panel, (series, history.len()), sizes, config.rows());
        let carried = !panel.known.is_empty() && panel.future_of(series) < horizon;
        let group = Group { rows, frequency: self.config.frequency, season: self.config.season_length };
        let (mut group, explained) = if config.covariate_rows { (group, None) } else { explained(group) };
        if let (Some(peers), None) = (peers, &explained) {
            let history = &mut group.rows[0].history;
            let wanted = look_back(self.config.season_length).min(config.context_length);
            let past = self.config.peers.before(peers, history, panel.first_step(series), wanted);
            history.splice(..0, past);
        }
        let before = group.rows[0].history.len().div_ceil(config.input_patch_size).max(1);
        let short = history.iter().filter(|y| !y.is_nan()).count() < OBSERVED_MIN;
        let status = seasonal_naive::status(history, 1).or(short.then_some(Status::ShortHistory));
        Row {
            group,
            unit,
            explained,
            before,
            status: status.or(carried.then_some(Status::CovariatesCarried)),
        }
    }

    /// Quantiles `[rows, steps, WIDTH]` of the rows at these places, which are of one shape.
    fn forecast(&self, rows: &[Row], places: &[usize], steps: usize) -> Result<Vec<f64>> {
        let config = self.network().config();
        let Some(first) = places.first().map(|s| &rows[*s]) else { return Ok(Vec::new()) };
        let after = steps.div_ceil(config.input_patch_size);
        let mut batch = Groups::default();
        batch.start(first.group.rows.len(), (first.before, after));
        places.iter().for_each(|s| batch.push(&rows[*s].group, config));
        if places.len() * batch.rows * after == 1 {
            // The product of one row alone is computed otherwise, and differs in its last bits.
            batch.push(&first.group, config);
        }
        let outputs = self.network().forward(&batch)?.flatten_all()?.to_vec1::<f32>()?;
        let levels = config.quantiles.len();
        let each = batch.rows * after * config.input_patch_size * levels;
        let mut out = Vec::with_capacity(places.len() * steps * WIDTH);
        for (i, outputs) in outputs.chunks_exact(each).enumerate().take(places.len()) {
            let (scale, row) = (batch.scales[i * batch.rows], &rows[places[i]]);
            for (step, outputs) in outputs.chunks_exact(levels).take(steps).enumerate() {
                self.quantiles(outputs, scale, row.explained_at(step), row.unit, &mut out);
            }
        }
        Ok(out)
    }

    /// Appends the quantiles at [`LEVELS`] of a step in the user's units, ascending, `more` added to each before.
    fn quantiles(&self, outputs: &[f32], scale: Scale, more: f64, unit: f64, out: &mut Vec<f64>) {
        let levels = &self.network().config().quantiles;
        let mut row: Vec<f64> =
            outputs.iter().map(|z| unit * (more + f64::from(scale.unscaled(*z)))).collect();
        row.sort_by(f64::total_cmp);
        match levels.as_slice() == LEVELS.as_slice() {
            true => out.append(&mut row),
            false => out.extend(LEVELS.iter().map(|level| at_level(levels, &row, *level))),
        }
    }

    /// Bounds the forecasts of a series; where there is nothing to go by, or they are not numbers, they are naive.
    fn settle(
        &self,
        history: &[f64],
        horizon: usize,
        quantiles: &mut [f64],
        status: Option<Status>,
    ) -> Option<Status> {
        let finite = quantiles.iter().all(|y| y.is_finite());
        let special = matches!(status, Some(Status::NoHistory | Status::ConstantSeries));
        if special || !finite {
            let naive = seasonal_naive::forecast(history, self.config.season_length, horizon).point;
            quantiles.chunks_exact_mut(WIDTH).zip(naive).for_each(|(row, y)| row.fill(y));
            return if finite { status } else { Some(Status::FallbackNaive) };
        }
        let (low, high) = bounds(history);
        let low = if self.config.nonnegative { low.max(0.0) } else { low };
        quantiles.iter_mut().for_each(|y| *y = y.clamp(low, high));
        status
    }
}

impl Row {
    /// What known covariates explain of a step ahead.
    fn explained_at(&self, step: usize) -> f64 {
        self.explained.as_ref().and_then(|all| all.get(step)).map_or(0.0, |y| f64::from(*y))
    }

    /// Lets what was forecast become history.
    fn extend(&mut self, forecast: &[f64]) {
        let steps = forecast.len() / WIDTH;
        let medians = forecast.chunks_exact(WIDTH).enumerate();
        let left = medians.map(|(step, row)| (row[MIDDLE] / self.unit - self.explained_at(step)) as f32);
        let left: Vec<f32> = left.collect();
        let (target, others) = self.group.rows.split_at_mut(1);
        target.iter_mut().for_each(|target| target.history.extend(&left));
        for row in others {
            let known = row.future.drain(..steps.min(row.future.len()));
            row.history.extend(known.chain(std::iter::repeat(f32::NAN)).take(steps));
        }
        if let Some(explained) = &mut self.explained {
            explained.drain(..steps.min(explained.len()));
        }
    }
}

/// Places of the rows by their shapes: rows of a group, and tokens of history.
fn shapes(rows: &[Row]) -> Vec<Vec<usize>> {
    let mut places: Vec<usize> = (0..rows.len()).collect();
    let shape = |s: &usize| (rows[*s].group.rows.len(), rows[*s].before);
    places.sort_by_key(shape);
    places.chunk_by(|a, b| shape(a) == shape(b)).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::ml::features::test_panel as panel;
    use crate::ml::forecaster::{Family, FitReport, PredictOptions};
    use crate::ml::foundation::{Chronos2, FoundationConfig, write};
    use crate::ml::layers::Parameters;
    use crate::ml::models::{fit, load};
    use crate::ml::rng::Rng;
    use crate::ml::tensor_file::Precision;
    use crate::ml::training::Network;

    fn options(horizon: usize) -> PredictOptions {
        PredictOptions { horizon, quantile_levels: vec![0.1, 0.5, 0.9], ..PredictOptions::default() }
    }

    fn forecast(panel: &Panel, horizon: usize) -> Forecast {
        let fitting = FitOptions { horizon: 7, quantile_levels: vec![0.5], ..FitOptions::default() };
        let (model, _) = fit(&[Family::Foundation], panel, &fitting, &Control::default()).unwrap();
        model.predict(panel, &options(horizon), &Control::default()).unwrap()
    }

    #[test]
    fn the_unit_of_the_target_and_the_order_of_the_series_change_nothing() {
        let panel = panel(5, 70);
        let plain = forecast(&panel, 9);
        let mut scaled = panel.clone();
        scaled.target.iter_mut().for_each(|y| *y *= 2f64.powi(40));
        let scaled = forecast(&scaled, 9);
        assert!(
            plain
                .point
                .iter()
                .zip(&scaled.point)
                .all(|(a, b)| (a * 2f64.powi(40) - b).abs() <= 1e-9 * b.abs())
        );
        let one = forecast(&panel.select(3..4), 9);
        assert_eq!(one.point, plain.point[27..36]);
    }

    #[test]
    fn fine_tuning_is_never_worse_on_what_is_held_out_and_repeats() {
        let panel = panel(6, 90);
        let of = |fine_tune: bool, freeze_encoder: bool| {
            let fitting = FitOptions {
                horizon: 7,
                quantile_levels: vec![0.5],
                epochs: Some(2),
                batch_size: Some(16),
                context_length: Some(64),
                seed: 3,
                fine_tune,
                freeze_encoder,
                ..FitOptions::default()
            };
            let (model, report) = fit(&[Family::Foundation], &panel, &fitting, &Control::default()).unwrap();
            (model.predict(&panel, &options(7), &Control::default()).unwrap(), report)
        };
        let (_, zero_shot) = of(false, false);
        for freezes in [false, true] {
            let (tuned, report) = of(true, freezes);
            assert!(report.log.len() == 2 && report.log.iter().all(|line| line.valid_loss.is_finite()));
            assert!(tuned.point.iter().all(|y| y.is_finite()));
            assert_eq!(tuned.point, of(true, freezes).0.point);
            assert!(report.scores.rank() <= zero_shot.scores.rank());
        }
    }

    #[test]
    fn it_adapts_to_many_series_where_others_learn_beside_it() {
        let config = FoundationConfig::small();
        let network = Chronos2::new(Parameters::seeded(Rng::new(1)), &config).unwrap();
        let base = Base::read(&write((network.parameters(), &config), Precision::Half).unwrap()).unwrap();
        let fitted = |families: &[Family], series: usize| {
            let fitting = FitOptions {
                horizon: 7,
                quantile_levels: vec![0.5],
                learning_rate: Some(9.0),
                base: Some(base.clone()),
                ..FitOptions::default()
            };
            fit(families, &panel(series, 60), &fitting, &Control::default()).unwrap().1
        };
        let score = |report: &FitReport| {
            let candidate = report.candidates.iter().find(|c| c.family == Family::Foundation).unwrap();
            candidate.scores.rank()
        };
        let (alone, few) = ([Family::Foundation], [Family::SeasonalNaive, Family::Foundation]);
        let (zero_shot, adapted) = (fitted(&alone, SERIES_MIN), fitted(&few, SERIES_MIN));
        assert!(zero_shot.log.is_empty() && fitted(&few, SERIES_MIN - 1).log.is_empty());
        // The rate that was named is for networks of the data, and would have broken it.
        assert_eq!(adapted.log.len(), EPOCHS_SHARED);
        assert!(score(&adapted) < score(&zero_shot), "{adapted:?}");
    }

    #[test]
    fn the_network_that_ships_is_as_small_as_promised() {
        let parameters = shipped().unwrap().network().parameters().count();
        assert!(BASE.len() <= 8_000_000 && (1_000_000..=8_000_000).contains(&parameters), "{parameters}");
    }

    #[test]
    fn far_horizons_are_forecast_block_after_block() {
        let far = forecast(&panel(2, 70), 230);
        assert!(far.point.iter().all(|y| y.is_finite()) && far.point.len() == 460);
        assert!(far.quantiles.chunks_exact(3).all(|q| q[0] <= q[1] && q[1] <= q[2]));
    }

    #[test]
    fn damage_to_the_network_is_refused_or_harmless() {
        let panel = panel(2, 40);
        let fitting = FitOptions { horizon: 7, quantile_levels: vec![0.5], ..FitOptions::default() };
        let (model, _) = fit(&[Family::Foundation], &panel, &fitting, &Control::default()).unwrap();
        let bytes = model.to_bytes().unwrap();
        let mut rng = Rng::new(8);
        for i in 0..40 {
            let mut damaged = bytes.clone();
            let at = if i % 2 == 0 { rng.below(bytes.len()) } else { rng.below(8_000) };
            damaged[at] ^= 1 << rng.below(8);
            match load(&damaged) {
                Ok(model) => {
                    let forecast = model.predict(&panel, &options(3), &Control::default()).unwrap();
                    assert!(forecast.point.iter().all(|y| y.is_finite()));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
            }
        }
        assert_eq!(load(&bytes[..bytes.len() / 2]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
