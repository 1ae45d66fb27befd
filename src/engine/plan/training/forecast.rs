//! Forecasts of rows at once: what would be trained on is forecast, and nothing is kept.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryPool;

use crate::engine::plan::forecast::Shape;
use crate::engine::plan::forecasting::{Frame, Output, shown};
use crate::engine::plan::training::needs::{Needs, too_little_memory};
use crate::engine::plan::training::{Job, Prepared, prepare};
use crate::engine::query::QueryContext;
use crate::error::Result;
use crate::ml::Control;
use crate::ml::forecaster::PredictOptions;
use crate::ml::models;

/// Series from which on one window of each tells how wide intervals must be, as several do of fewer.
const MANY: usize = 200;

/// The version of the network that ships with the engine.
const VERSION: u64 = 1;

/// Forecasts the rows of a job.
pub async fn forecast(
    job: &Arc<Job>,
    inputs: Vec<SendableRecordBatchStream>,
    query: &Arc<QueryContext>,
    pool: &Arc<dyn MemoryPool>,
    (shape, schema): (&Shape, &SchemaRef),
) -> Result<RecordBatch> {
    let Prepared { panel, keys, mut fit, reading, memory, .. } = prepare(job, inputs, query, pool).await?;
    if panel.len() >= MANY {
        fit.validation_length = fit.validation_length.or(Some(fit.horizon));
    }
    let version = job.base.as_ref().map_or(VERSION, |base| base.manifest().version);
    let families = job.options.families.clone();
    let estimate = models::estimate(&families, &panel, &fit, &query.control)?;
    let needs = Needs::new(job, (&panel, &fit), &estimate, reading);
    memory.try_resize(needs.of_fit()).map_err(|_| too_little_memory(needs.peak()))?;
    let options = PredictOptions {
        horizon: fit.horizon,
        quantile_levels: shape.quantiles.clone(),
        interval_levels: shape.levels.clone(),
        mean: shape.mean,
        paths: None,
    };
    let (panel, horizon) = (Arc::new(panel), fit.horizon);
    let rows = Arc::clone(&panel);
    let work = move |control: &Arc<Control>| {
        let (model, _) = models::fit(&families, &rows, &fit, control)?;
        model.predict(&rows, &options, control)
    };
    let forecast = job.engine.runtimes.predict(panel.len(), &query.control, work).await?;
    let frame = Frame { shape, columns: &job.columns, schema, until: None, version, trained: horizon };
    let of = |series: usize| -> Vec<ArrayRef> { keys.iter().map(|key| key.slice(series, 1)).collect() };
    let keys = (0..panel.len()).map(of).collect();
    let shown = shown(panel.len(), None);
    Output { frame, panel: &panel, sums: None, forecast: &forecast, keys, shown }.rows()
}
