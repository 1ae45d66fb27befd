//! Sums of forecasts over series and over steps, by their sample paths.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::concat;
use datafusion::execution::memory_pool::MemoryReservation;

use crate::engine::plan::forecast::OutputRows;
use crate::engine::plan::forecasting::Reading;
use crate::engine::plan::forecasting::output::{Output, status_word};
use crate::engine::plan::input::Role;
use crate::engine::plan::series::from_instants;
use crate::error::{Error, Result};
use crate::ml::evaluation::LEVELS;
use crate::ml::evaluation::levels::{at_level, central, interval};
use crate::ml::forecaster::Status;

/// The sums of a statement while its series are read.
pub(super) struct Sums {
    reading: Arc<Reading>,
    groups: Vec<Group>,
    by_key: HashMap<String, usize>,
}

/// Series with the same keys.
struct Group {
    /// One row of every key column that is shown.
    keys: Vec<ArrayRef>,
    /// By period; only the last one where steps are summed, too.
    sums: BTreeMap<i64, Sum>,
    status: Option<Status>,
}

#[derive(Default)]
struct Sum {
    /// One value a path; empty where no series has anything to say.
    paths: Vec<f64>,
    /// Steps from the first one on.
    step: i64,
    instant: Option<i64>,
}

impl Sums {
    pub(super) fn new(reading: Arc<Reading>) -> Self {
        Self { reading, groups: Vec::new(), by_key: HashMap::new() }
    }

    /// Key columns that are shown, by their place among the keys, and whether steps are summed.
    fn plan(&self) -> (Vec<usize>, bool) {
        let keys = self.reading.columns.iter().filter(|c| c.role == Role::Key);
        match &self.reading.shape.rows {
            OutputRows::Sums { by: Some(by), total, .. } => {
                let places = keys.enumerate().filter(|(_, key)| by.contains(&key.name)).map(|(i, _)| i);
                (places.collect(), *total)
            }
            OutputRows::Sums { by: None, total, .. } => ((0..keys.count()).collect(), *total),
            _ => (Vec::new(), false),
        }
    }

    /// Adds the series of a panel; those of rolled up keys are sums already and left out.
    pub(super) fn add(&mut self, output: &Output<'_>, memory: &mut MemoryReservation) -> Result<()> {
        let (shown, total) = self.plan();
        let series = output.sums.map_or(output.panel.len(), |sums| sums.series());
        let places = output.places();
        let mut last = vec![i64::MIN; series];
        for place in places.iter().filter(|place| place.series < series) {
            last[place.series] = last[place.series].max(place.step);
        }
        let groups: Vec<usize> = (0..series)
            .map(|i| self.group(shown.iter().map(|k| Arc::clone(&output.keys[i][*k])).collect()))
            .collect();
        for place in places.iter().filter(|place| place.series < series) {
            let group = &mut self.groups[groups[place.series]];
            let step = if total { last[place.series] } else { place.step };
            let period = output.panel.first_step(place.series) + step - 1;
            group.status = group.status.or(output.status(place));
            let sum = group.sums.entry(if total { 0 } else { period }).or_default();
            sum.step = sum.step.max(step);
            sum.instant = sum.instant.max(output.panel.instant(period));
            let Some(at) = output.forecast_step(place) else { continue };
            let count = output.frame.shape.paths().map_or(0, |paths| paths.count);
            if sum.paths.is_empty() {
                memory.try_grow(count * size_of::<f64>())?;
                sum.paths.resize(count, 0.0);
            }
            for (path, value) in sum.paths.iter_mut().enumerate() {
                *value += output.path(place.series, path).and_then(|steps| steps.get(at)).unwrap_or(&0.0);
            }
        }
        Ok(())
    }

    /// The place of the group of these keys.
    fn group(&mut self, keys: Vec<ArrayRef>) -> usize {
        let text = format!("{keys:?}");
        let next = self.groups.len();
        let at = *self.by_key.entry(text).or_insert(next);
        if at == next {
            self.groups.push(Group { keys, sums: BTreeMap::new(), status: None });
        }
        at
    }

    /// One row for every group and period, groups in the order of their first series.
    pub(super) fn rows(&self) -> Result<Option<RecordBatch>> {
        let internal = |e: datafusion::arrow::error::ArrowError| Error::internal(e.to_string());
        let found: Vec<(&Group, &Sum)> =
            self.groups.iter().flat_map(|group| group.sums.values().map(move |sum| (group, sum))).collect();
        if found.is_empty() {
            return Ok(None);
        }
        let shape = &self.reading.shape;
        let mut columns = vec![];
        let width = self.groups.first().map_or(0, |group| group.keys.len());
        for key in 0..width {
            let parts: Vec<&dyn Array> = found.iter().map(|(group, _)| group.keys[key].as_ref()).collect();
            columns.push(concat(&parts).map_err(internal)?);
        }
        let instants = found.iter().map(|(_, sum)| sum.instant);
        let beyond = || Error::data("the forecast reaches beyond the range of time");
        let instants = instants.map(|i| i.ok_or_else(beyond)).collect::<Result<Vec<_>>>()?;
        columns.push(from_instants(instants, self.reading.schema.field(width).data_type())?);
        columns.push(Arc::new(found.iter().map(|(_, sum)| Some(sum.step)).collect::<Int64Array>()));
        let known: Vec<Option<Distribution>> =
            found.iter().map(|(_, sum)| Distribution::new(&sum.paths)).collect();
        let numbers = |value: &dyn Fn(&Distribution) -> f64| -> ArrayRef {
            Arc::new(known.iter().map(|known| known.as_ref().map(value)).collect::<Float64Array>())
        };
        columns
            .push(numbers(&|known| if shape.mean { known.mean } else { at_level(&LEVELS, &known.row, 0.5) }));
        for level in &shape.levels {
            let (below, above) = central(*level);
            columns.push(numbers(&|known| interval(&LEVELS, &known.row, below, above).0));
            columns.push(numbers(&|known| interval(&LEVELS, &known.row, below, above).1));
        }
        for level in &shape.quantiles {
            columns.push(numbers(&|known| at_level(&LEVELS, &known.row, *level)));
        }
        let version = self.reading.model.manifest().version as i64;
        columns.push(Arc::new(Int64Array::from(vec![version; found.len()])));
        let status = found.iter().map(|(group, _)| group.status.map(status_word));
        columns.push(Arc::new(status.collect::<StringArray>()));
        RecordBatch::try_new(Arc::clone(&self.reading.schema), columns).map_err(internal).map(Some)
    }
}

/// What sample paths tell of a sum.
struct Distribution {
    mean: f64,
    /// Quantiles at [`LEVELS`].
    row: Vec<f64>,
}

impl Distribution {
    /// None without paths.
    fn new(paths: &[f64]) -> Option<Self> {
        let mut sorted = paths.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let quantile = |level: &f64| {
            let at = level * last as f64;
            let below = sorted[at as usize];
            below + at.fract() * (sorted[(at as usize + 1).min(last)] - below)
        };
        let mean = paths.iter().sum::<f64>() / paths.len() as f64;
        Some(Self { mean, row: LEVELS.iter().map(quantile).collect() })
    }
}
