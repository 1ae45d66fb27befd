//! The rows of one panel's forecasts.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use crate::engine::plan::forecast::Shape;
use crate::engine::plan::input::{InputColumn, Role};
use crate::engine::plan::series::from_instants;
use crate::error::{Error, Result};
use crate::ml::features::RowColumn;
use crate::ml::forecaster::{Forecast, Status};
use crate::ml::hierarchy::Hierarchy;
use crate::ml::series::Panel;

/// What the rows of forecasts look like.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What shapes them.
    pub shape: &'a Shape,
    /// Columns of the history and their roles.
    pub columns: &'a [InputColumn],
    /// The columns of the result.
    pub schema: &'a SchemaRef,
    /// Last instant wanted; none for the whole horizon.
    pub until: Option<i64>,
    /// The version of the model.
    pub version: u64,
    /// The steps that it was trained for.
    pub trained: usize,
}

/// The rows of one panel's forecasts.
pub struct Output<'a> {
    /// What they look like.
    pub frame: Frame<'a>,
    /// The series.
    pub panel: &'a Panel,
    /// Their sums, where they are series of the panel, too.
    pub sums: Option<&'a Hierarchy>,
    /// What is said of them.
    pub forecast: &'a Forecast,
    /// Key columns of every series, one row each.
    pub keys: Vec<Vec<ArrayRef>>,
    /// The series of the result.
    pub shown: Vec<Shown<'a>>,
}

/// A series of the output: one of the panel, or keys of it with some rolled up.
pub struct Shown<'a> {
    /// Its series in the panel.
    series: usize,
    /// The series that has its keys.
    keys: usize,
    /// Which keys it has; all where nothing is rolled up.
    kept: Option<&'a [bool]>,
}

/// The series of the panel, and the sums of every level.
pub fn shown(series: usize, sums: Option<&Hierarchy>) -> Vec<Shown<'_>> {
    let plain = |series| Shown { series, keys: series, kept: None };
    let Some(sums) = sums else { return (0..series).map(plain).collect() };
    let rolled_up = sums.rows().iter().map(|sum| Shown {
        series: sum.node,
        keys: sum.first,
        kept: Some(&sums.levels()[sum.level]),
    });
    (0..sums.series()).map(plain).chain(rolled_up).collect()
}

/// One output row: a step of a series, counted from 1, or a row of its history (0 or less).
pub(super) struct Place {
    /// Its place among those shown.
    shown: usize,
    pub(super) series: usize,
    pub(super) step: i64,
}

impl Output<'_> {
    /// One row for every series and step.
    pub fn rows(&self) -> Result<RecordBatch> {
        let places = self.places();
        let mut columns = self.key_columns(&places)?;
        columns.push(self.time_column(&places)?);
        if self.frame.shape.history.is_some() {
            let kind = places.iter().map(|p| if p.step > 0 { "forecast" } else { "history" });
            columns.push(Arc::new(kind.map(Some).collect::<StringArray>()));
            columns.push(Arc::new(self.numbers(&places, |p| self.actual(p))));
        }
        columns.push(Arc::new(places.iter().map(|p| (p.step > 0).then_some(p.step)).collect::<Int64Array>()));
        columns.push(Arc::new(self.numbers(&places, |p| self.point(p))));
        let shape = &self.frame.shape;
        for n in 0..shape.levels.len() {
            let bounds = |p: &Place| self.of_step(p, &self.forecast.intervals, (n, shape.levels.len()));
            columns.push(Arc::new(self.numbers(&places, |p| bounds(p).map(|(lower, _)| lower))));
            columns.push(Arc::new(self.numbers(&places, |p| bounds(p).map(|(_, upper)| upper))));
        }
        for n in 0..shape.quantiles.len() {
            let quantile = |p: &Place| self.of_step(p, &self.forecast.quantiles, (n, shape.quantiles.len()));
            columns.push(Arc::new(self.numbers(&places, quantile)));
        }
        let version = self.frame.version as i64;
        columns.push(Arc::new(Int64Array::from(vec![version; places.len()])));
        let status = places.iter().map(|p| self.status(p).map(status_word));
        columns.push(Arc::new(status.collect::<StringArray>()));
        RecordBatch::try_new(Arc::clone(self.frame.schema), columns)
            .map_err(|e| Error::internal(e.to_string()))
    }

    /// One row for every series, step and path.
    pub(super) fn paths(&self) -> Result<RecordBatch> {
        let count = self.frame.shape.paths().map_or(0, |paths| paths.count);
        let places = self.places();
        let rows = (0..places.len()).flat_map(|place| (0..count).map(move |path| (place, path)));
        let (index, path): (Vec<u32>, Vec<usize>) = rows.map(|(place, path)| (place as u32, path)).unzip();
        let index = UInt32Array::from(index);
        let mut columns = self.key_columns(&places)?;
        columns.push(self.time_column(&places)?);
        columns.push(Arc::new(places.iter().map(|p| Some(p.step)).collect::<Int64Array>()));
        let mut columns = columns
            .iter()
            .map(|column| take(column, &index, None).map_err(|e| Error::internal(e.to_string())))
            .collect::<Result<Vec<_>>>()?;
        columns.push(Arc::new(path.iter().map(|path| Some(*path as i64 + 1)).collect::<Int64Array>()));
        let values = index.values().iter().zip(&path).map(|(place, path)| {
            let place = &places[*place as usize];
            self.path(place.series, *path)?.get(self.forecast_step(place)?).copied()
        });
        columns.push(Arc::new(values.collect::<Float64Array>()));
        RecordBatch::try_new(Arc::clone(self.frame.schema), columns)
            .map_err(|e| Error::internal(e.to_string()))
    }

    /// The features of every series and step.
    pub(super) fn features(
        &self,
        horizon: usize,
        features: &[RowColumn],
        values: &[f32],
    ) -> Result<RecordBatch> {
        let steps = |(shown, one): (usize, &Shown<'_>)| {
            let series = one.series;
            (1..=horizon as i64).map(move |step| Place { shown, series, step })
        };
        let places: Vec<Place> = self.shown.iter().enumerate().flat_map(steps).collect();
        let mut columns = self.key_columns(&places)?;
        columns.push(self.time_column(&places)?);
        columns.push(Arc::new(places.iter().map(|p| Some(p.step)).collect::<Int64Array>()));
        for (at, feature) in features.iter().enumerate().filter(|(_, feature)| feature.name != "step") {
            let value = |p: &Place| {
                let row = p.series * horizon + usize::try_from(p.step - 1).ok()?;
                values.get(row * features.len() + at).copied().filter(|x| x.is_finite())
            };
            columns.push(match &feature.words {
                None => Arc::new(self.numbers(&places, |p| value(p).map(f64::from))),
                Some(words) => {
                    let word = |p| words.get((value(p)? as usize).checked_sub(1)?).map(String::as_str);
                    Arc::new(places.iter().map(word).collect::<StringArray>())
                }
            });
        }
        RecordBatch::try_new(Arc::clone(self.frame.schema), columns)
            .map_err(|e| Error::internal(e.to_string()))
    }

    /// The steps of a sample path of a series.
    pub(super) fn path(&self, series: usize, path: usize) -> Option<&[f64]> {
        let (count, horizon) = (self.frame.shape.paths()?.count, self.forecast.horizon);
        let from = (series * count + path) * horizon;
        self.forecast.paths.get(from..from + horizon)
    }

    /// All places that are wanted.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = vec![];
        for (shown, Shown { series, .. }) in self.shown.iter().enumerate() {
            let series = *series;
            let before = self.frame.shape.history.map_or(0, |n| n.min(self.panel.history[series])) as i64;
            let steps = match self.frame.until {
                Some(until) => {
                    self.panel.frequency.period(self.panel.origin, until) - self.panel.first_step(series) + 1
                }
                None => self.forecast.horizon as i64,
            };
            places.extend((1 - before..=steps.max(0)).map(|step| Place { shown, series, step }));
        }
        places
    }

    fn key_columns(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        let count = self.keys.first().map_or(0, Vec::len);
        let mut columns = vec![];
        for k in 0..count {
            let row = |shown: &Shown<'_>| shown.kept.is_none_or(|kept| kept[k]).then_some(shown.keys as u32);
            let index: UInt32Array = places.iter().map(|p| row(&self.shown[p.shown])).collect();
            let parts: Vec<&dyn Array> = self.keys.iter().map(|row| row[k].as_ref()).collect();
            let all = concat(&parts).and_then(|all| take(&all, &index, None));
            columns.push(all.map_err(|e| Error::internal(e.to_string()))?);
        }
        Ok(columns)
    }

    fn time_column(&self, places: &[Place]) -> Result<ArrayRef> {
        let at = self.frame.columns.iter().filter(|c| c.role == Role::Key).count();
        let data_type: &DataType = self.frame.schema.field(at).data_type();
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            let period = self.panel.first_step(place.series) + place.step - 1;
            let instant = self.panel.instant(period);
            found.push(instant.ok_or_else(|| Error::data("the forecast reaches beyond the range of time"))?);
        }
        from_instants(found, data_type)
    }

    fn numbers(&self, places: &[Place], value: impl Fn(&Place) -> Option<f64>) -> Float64Array {
        places.iter().map(value).collect()
    }

    /// What was observed; of a sum, the sum of what was observed of its series.
    fn actual(&self, place: &Place) -> Option<f64> {
        let back = usize::try_from(-place.step).ok()? + 1;
        let observed = |series: usize| {
            let row = self.panel.offsets[series] + self.panel.history[series].checked_sub(back)?;
            self.panel.target.get(row).copied().filter(|v| !v.is_nan())
        };
        match self.sums {
            None => observed(place.series),
            Some(sums) => sums.series_of(place.series).into_iter().filter_map(observed).reduce(|a, b| a + b),
        }
    }

    /// The step, counted from 0, where the model has something to say.
    pub(super) fn forecast_step(&self, place: &Place) -> Option<usize> {
        let lost = self.forecast.status[place.series] == Some(Status::NoHistory);
        usize::try_from(place.step - 1).ok().filter(|_| !lost)
    }

    /// The status of a step; only those beyond the trained horizon are extended.
    pub(super) fn status(&self, place: &Place) -> Option<Status> {
        let trained = self.frame.trained as i64;
        let applies = |status: &Status| *status != Status::Extended || place.step > trained;
        self.forecast.status[place.series].filter(|status| place.step > 0 && applies(status))
    }

    fn point(&self, place: &Place) -> Option<f64> {
        self.of_step(place, &self.forecast.point, (0, 1))
    }

    /// Value `n` of the `width` values that a forecast has for every step.
    fn of_step<T: Copy>(&self, place: &Place, values: &[T], (n, width): (usize, usize)) -> Option<T> {
        let row = place.series * self.forecast.horizon + self.forecast_step(place)?;
        values.get(row * width + n).copied()
    }
}

/// The word of a status in SQL.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::NoHistory => "failed: no history",
        Status::ShortHistory => "short_history",
        Status::FallbackNaive => "fallback_naive",
        Status::Extended => "extended",
        Status::CovariatesCarried => "covariates_carried",
        Status::ConstantSeries => "constant_series",
        Status::EndedSeries => "ended_series",
        Status::ColdStart => "cold_start",
    }
}
