//! The inputs of a network as tensors, categories embedded.

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::ml::features::{Featurizer, Widths, WindowBatch};
use crate::ml::layers::{Initializer, Parameters, concat, embedding, keeps};

/// Share of training windows whose series is treated as unknown.
const UNKNOWN_SERIES: f64 = 0.1;

/// Sizes of what a body gets.
#[derive(Debug, Clone)]
pub(super) struct InputSizes {
    pub(super) context: usize,
    pub(super) horizon: usize,
    pub(super) season: usize,
    pub(super) widths: Widths,
    /// Width of a row before the origin, embeddings of known categories included.
    pub(super) context_row: usize,
    /// Width of a row of the horizon, embeddings of known categories included.
    pub(super) future_row: usize,
    /// Width of the embeddings of static categories and of the series.
    pub(super) statics: usize,
}

/// Windows of one pass as tensors.
#[derive(Debug)]
pub(super) struct WindowTensors {
    /// Windows.
    pub(super) len: usize,
    /// Scaled target before the origin: `[len, context]`.
    pub(super) values: Tensor,
    /// 1 where it is there: `[len, context]`.
    pub(super) observed: Tensor,
    /// Covariates before the origin, where there are any: `[len, context, context_row]`.
    pub(super) context: Option<Tensor>,
    /// Features of the steps: `[len, horizon, future_row]`.
    pub(super) future: Tensor,
    /// Statistics of the history and numeric static covariates: `[len, window_row]`.
    pub(super) window: Tensor,
    /// Embeddings of static categories and of the series: `[len, size]` each.
    pub(super) statics: Vec<Tensor>,
}

/// Tables of embeddings.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) sizes: InputSizes,
    known_tables: Vec<Tensor>,
    static_tables: Vec<Tensor>,
    series_table: Option<Tensor>,
    device: Device,
}

/// Size of the embedding of a vocabulary.
fn embedding_size(words: usize) -> usize {
    ((words as f64).sqrt().ceil() as usize).clamp(2, 16)
}

impl Inputs {
    /// Registers the tables.
    pub(super) fn new(p: &mut Parameters, featurizer: &Featurizer, knows_series: bool) -> Result<Self> {
        let widths = featurizer.widths();
        let series_size = embedding_size(widths.series);
        let series_table = if knows_series {
            Some(p.register("series.table", &[widths.series, series_size], Initializer::Normal(0.05))?)
        } else {
            None
        };
        let known: usize = widths.known_words.iter().map(|w| embedding_size(*w)).sum();
        let statics: usize = widths.static_words.iter().map(|w| embedding_size(*w)).sum();
        Ok(Self {
            known_tables: tables(p, "known", &widths.known_words)?,
            static_tables: tables(p, "static", &widths.static_words)?,
            sizes: InputSizes {
                context: featurizer.layout.context,
                horizon: featurizer.layout.horizon,
                season: featurizer.season_length,
                context_row: widths.context_row + known,
                future_row: widths.future_row + known,
                statics: statics + series_table.as_ref().map_or(0, |_| series_size),
                widths,
            },
            series_table,
            device: p.device().clone(),
        })
    }

    /// The windows of a batch; some of their series are hidden where there is a seed.
    pub(super) fn read(&self, batch: &WindowBatch, seed: Option<u64>) -> Result<WindowTensors> {
        let (n, device) = (batch.len, &self.device);
        let InputSizes { context, horizon, widths, .. } = &self.sizes;
        let (context, horizon) = (*context, *horizon);
        let known = self.known_embeddings(batch)?;
        let future = Tensor::from_slice(&batch.future, (n, horizon, widths.future_row), device)?;
        let rows = if self.sizes.context_row > 0 {
            let rows = Tensor::from_slice(&batch.context, (n, context, widths.context_row), device)?;
            Some(with_embeddings(rows, &known, 0, context)?)
        } else {
            None
        };
        Ok(WindowTensors {
            len: n,
            values: Tensor::from_slice(&batch.values, (n, context), device)?,
            observed: Tensor::from_slice(&batch.observed, (n, context), device)?,
            context: rows,
            future: with_embeddings(future, &known, context, horizon)?,
            window: Tensor::from_slice(&batch.window, (n, widths.window_row), device)?,
            statics: self.static_embeddings(batch, seed)?,
        })
    }

    /// One `[len, context + horizon, size]` per known category.
    fn known_embeddings(&self, batch: &WindowBatch) -> Result<Vec<Tensor>> {
        let steps = self.sizes.context + self.sizes.horizon;
        let columns = self.known_tables.iter().zip(&batch.known_categories);
        columns.map(|(table, codes)| Ok(embedding(table, codes)?.reshape((batch.len, steps, ()))?)).collect()
    }

    /// Embeddings of static categories and of the series, some series hidden in training.
    fn static_embeddings(&self, batch: &WindowBatch, seed: Option<u64>) -> Result<Vec<Tensor>> {
        let mut out = Vec::with_capacity(self.static_tables.len() + 1);
        for (table, codes) in self.static_tables.iter().zip(&batch.static_categories) {
            out.push(embedding(table, codes)?);
        }
        if let Some(table) = &self.series_table {
            let hide = |i: usize| seed.is_some_and(|seed| !keeps(i, UNKNOWN_SERIES, seed));
            let codes: Vec<u32> =
                batch.series.iter().enumerate().map(|(i, code)| if hide(i) { 0 } else { *code }).collect();
            out.push(embedding(table, &codes)?);
        }
        Ok(out)
    }
}

/// `first` and all others side by side.
pub(super) fn beside(first: Tensor, others: &[Tensor]) -> Result<Tensor> {
    others.iter().try_fold(first, |all, other| Ok(concat(&all, other)?))
}

fn tables(parameters: &mut Parameters, name: &str, words: &[usize]) -> Result<Vec<Tensor>> {
    let register = |(i, words): (usize, &usize)| {
        let size = embedding_size(*words);
        parameters.register(&format!("{name}.{i}.table"), &[*words, size], Initializer::Normal(0.05))
    };
    words.iter().enumerate().map(register).collect()
}

/// Appends the embeddings of steps `from..from + steps` to the rows.
fn with_embeddings(rows: Tensor, known: &[Tensor], from: usize, steps: usize) -> Result<Tensor> {
    let mut rows = rows;
    for embedded in known {
        rows = concat(&rows, &embedded.narrow(1, from, steps)?)?;
    }
    Ok(rows)
}
