//! An encoder of texts that adapts to what is told of rows, with the other columns beside the text.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::layers::{Activation, Linear as Layer, Parameters, concat};
use crate::ml::rng::Rng;
use crate::ml::supervised::design::Design;
use crate::ml::supervised::options::{RowsOptions, Task};
use crate::ml::supervised::table::{ColumnKind, Table, Target};
use crate::ml::text::{Bert, Encoded, TextEncoder, Tokens, pooled, repeated};
use crate::ml::training::{
    Dataset, Labels, LossSum, Network, OptimizerConfig, Trainer, TrainerConfig, cross_entropy,
};

/// Texts of a pass.
const PASS: usize = 8;
/// Dropout probability.
const DROPOUT: f64 = 0.1;
/// Columns that may stand beside a text.
const BESIDE_MAX: usize = 512;

/// The encoder with its head.
#[derive(Debug)]
pub(super) struct TextModel {
    pub(super) network: TextNetwork,
    pub(super) encoder: Arc<TextEncoder>,
    pub(super) beside: Design,
    pub(super) unit: [f64; 2],
    pub(super) longest: usize,
    pub(super) epochs: usize,
}

/// What learns.
#[derive(Debug)]
pub(super) struct TextNetwork {
    pub(super) parameters: Parameters,
    bert: Bert,
    head: Layer,
    outputs: usize,
    pooling: crate::ml::text::Pooling,
}

impl TextNetwork {
    /// The network of an encoder's sizes; `beside` numbers stand beside each text.
    pub(super) fn new(
        mut parameters: Parameters,
        encoder: &TextEncoder,
        (beside, outputs): (usize, usize),
    ) -> Result<Self> {
        let bert = Bert::new(&mut parameters, encoder.config())?;
        let head = Layer::new(&mut parameters, "head", encoder.width() + beside, outputs)?;
        let bert = bert.freezing_words(&mut parameters);
        Ok(Self { bert, head, outputs, pooling: encoder.pooling(), parameters })
    }

    /// The values of the head.
    pub(super) fn head(&self) -> Result<Vec<Vec<f32>>> {
        let of_head = self.parameters.iter().filter(|(name, _, _)| name.starts_with("head."));
        of_head.map(|(_, var, _)| Ok(var.flatten_all()?.to_vec1::<f32>()?)).collect()
    }

    /// Puts back what [`TextNetwork::head`] gave.
    pub(super) fn set_head(&self, values: &[Vec<f32>]) -> Result<()> {
        let of_head = self.parameters.iter().filter(|(name, _, _)| name.starts_with("head."));
        for ((_, var, _), values) in of_head.zip(values) {
            var.set(&Tensor::from_slice(values, var.shape(), var.device())?)?;
        }
        Ok(())
    }

    /// Logits of classes, or numbers, `[texts, outputs]`.
    fn forward(&self, batch: &TextBatch, drop: Option<(f64, u64)>) -> Result<Tensor> {
        let x = self.bert.forward(&batch.tokens, drop)?;
        let mut x = pooled(&x, &batch.tokens, self.pooling)?;
        if batch.width > 0 {
            let beside = Tensor::from_slice(
                &batch.beside,
                (batch.tokens.texts, batch.width),
                self.parameters.device(),
            )?;
            x = concat(&x, &beside)?;
        }
        self.head.forward(&x, Activation::None)
    }
}

/// Texts of a pass, what stands beside them, and what is to be told.
#[derive(Debug, Default)]
pub(super) struct TextBatch {
    tokens: Tokens,
    beside: Vec<f32>,
    width: usize,
    classes: Vec<u32>,
    numbers: Vec<f32>,
}

impl Network for TextNetwork {
    type Batch = TextBatch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn pass_length(&self) -> usize {
        self.parameters.pass_length(PASS)
    }

    fn loss(&self, batch: &TextBatch, seed: Option<u64>) -> Result<LossSum> {
        let outputs = self.forward(batch, seed.map(|seed| (DROPOUT, seed)))?;
        let texts = batch.tokens.texts;
        let sum = if batch.numbers.is_empty() {
            let weight = vec![1.0; texts];
            cross_entropy(&outputs, Labels { class: &batch.classes, weight: &weight, class_weight: &[] })?
        } else {
            let wanted = Tensor::from_slice(&batch.numbers, (texts, 1), outputs.device())?;
            ((outputs - wanted)?.sqr()?.sum_all()? * 0.5)?
        };
        Ok(LossSum { sum, weight: texts as f64 })
    }
}

/// Rows as tokens.
struct Examples {
    texts: Vec<Arc<Encoded>>,
    beside: Vec<f32>,
    width: usize,
    classes: Vec<u32>,
    numbers: Vec<f32>,
}

impl Dataset for Examples {
    type Batch = TextBatch;

    fn len(&self) -> usize {
        self.texts.len()
    }

    fn gather(&self, indexes: &[usize], batch: &mut TextBatch) {
        batch.tokens = Tokens::of(indexes.iter().map(|i| self.texts[*i].as_ref()));
        batch.width = self.width;
        batch.beside.clear();
        indexes
            .iter()
            .for_each(|i| batch.beside.extend_from_slice(&self.beside[i * self.width..][..self.width]));
        batch.classes = indexes.iter().filter_map(|i| self.classes.get(*i).copied()).collect();
        batch.numbers = indexes.iter().filter_map(|i| self.numbers.get(*i).copied()).collect();
    }
}

impl TextModel {
    pub(super) fn fit(
        (table, target, task): (&Table, &Target, &Task),
        (train, valid): (&[usize], &[usize]),
        options: &RowsOptions,
        control: &Control,
    ) -> Result<Self> {
        let encoder = options
            .encoder
            .clone()
            .ok_or_else(|| Error::data("the family bert begins with an encoder: FROM names a text model"))?;
        let beside = Design::fit(table, train, &[ColumnKind::Number, ColumnKind::Category]);
        if beside.width() > BESIDE_MAX {
            let message =
                format!("{} columns stand beside the texts; bert takes {BESIDE_MAX}", beside.width());
            return Err(Error::data(message));
        }
        let seeded = Parameters::seeded(Rng::new(options.seed).fork("head")).on(options.device.open()?);
        let network = TextNetwork::new(seeded, &encoder, (beside.width(), task.outputs()))?;
        network.parameters.copy_from(encoder.parameters())?;
        let unit = target.of(train).unit();
        let longest = options.longest.min(encoder.longest());
        let model = Self { network, encoder, beside, unit, longest, epochs: 0 };
        let examples = |rows: &[usize]| model.examples(table, Some(target), rows);
        let (of_train, of_valid) = (examples(train)?, examples(valid)?);
        let settings = TrainerConfig {
            epochs: options.epochs,
            epoch_length: train.len(),
            batch_size: options.batch_size,
            shard_size: options.batch_size.div_ceil(2).max(1),
            learning_rate: options.learning_rate,
            patience: 1,
            optimizer: OptimizerConfig::default(),
            average_decay: 0.98,
            progress: (0.0, 1.0),
            seconds_max: options.max_seconds,
            seed: options.seed,
        };
        let mut trainer = Trainer::new(&model.network, &of_train, &of_valid, settings)?;
        trainer.run(control)?;
        let epochs = trainer.best_epoch();
        drop(trainer);
        let network = match model.network.parameters.is_on_card() {
            // It tells on the processor.
            true => TextNetwork::new(
                model.network.parameters.copied_to(Device::Cpu)?,
                &model.encoder,
                (model.beside.width(), task.outputs()),
            )?,
            false => model.network,
        };
        Ok(Self { epochs, network, ..model })
    }

    fn examples(&self, table: &Table, target: Option<&Target>, rows: &[usize]) -> Result<Examples> {
        let mut known: std::collections::HashMap<String, Arc<Encoded>> = std::collections::HashMap::new();
        let mut texts = Vec::with_capacity(rows.len());
        for row in rows {
            let text = table.text(*row);
            let tokens = match known.get(&text) {
                Some(tokens) => Arc::clone(tokens),
                None => {
                    let mut tokens = self.encoder.tokenizer().encode(&text, None)?;
                    tokens.cut(self.longest);
                    let tokens = Arc::new(tokens);
                    known.insert(text, Arc::clone(&tokens));
                    tokens
                }
            };
            texts.push(tokens);
        }
        let (sparse, width) = (self.beside.apply(table, rows), self.beside.width());
        let mut beside = vec![0.0; rows.len() * width];
        for (i, dense) in
            beside.chunks_exact_mut(width.max(1)).enumerate().take(if width > 0 { rows.len() } else { 0 })
        {
            let (columns, values) = sparse.row(i);
            columns.iter().zip(values).for_each(|(column, value)| dense[*column as usize] = *value);
        }
        let (classes, numbers) = match target.map(|target| target.of(rows)) {
            Some(Target::Classes(classes)) => (classes, vec![]),
            Some(Target::Numbers(numbers)) => {
                let scaled = numbers.into_iter().map(|y| ((y - self.unit[0]) / self.unit[1]) as f32);
                (vec![], scaled.collect())
            }
            None => (vec![], vec![]),
        };
        Ok(Examples { texts, beside, width, classes, numbers })
    }

    /// What is told of these rows, `[rows, outputs]`.
    pub(super) fn predict(&self, table: &Table, rows: &[usize], control: &Control) -> Result<Vec<f32>> {
        use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
        let examples = self.examples(table, None, rows)?;
        // Texts of as many tokens side by side.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|i| examples.texts[*i].ids.len());
        let passes: Vec<&[usize]> = order
            .chunk_by(|a, b| examples.texts[*a].ids.len() == examples.texts[*b].ids.len())
            .flat_map(|alike| alike.chunks(4 * PASS))
            .collect();
        let done: Vec<Vec<f32>> = passes
            .par_iter()
            .map(|pass| {
                control.check()?;
                let mut batch = TextBatch::default();
                let pass = repeated(pass, &examples.texts, self.encoder.width());
                examples.gather(&pass, &mut batch);
                let outputs = self.network.forward(&batch, None)?.flatten_all()?.to_vec1::<f32>()?;
                Ok(self.told(outputs))
            })
            .collect::<Result<_>>()?;
        let outputs = self.network.outputs;
        let mut out = vec![0.0; rows.len() * outputs];
        for (pass, values) in passes.iter().zip(done) {
            for (i, row) in pass.iter().zip(values.chunks_exact(outputs)) {
                out[i * outputs..(i + 1) * outputs].copy_from_slice(row);
            }
        }
        Ok(out)
    }

    /// Probabilities of logits, or numbers in their own unit.
    fn told(&self, mut outputs: Vec<f32>) -> Vec<f32> {
        if self.network.outputs == 1 {
            outputs.iter_mut().for_each(|y| *y = (f64::from(*y) * self.unit[1] + self.unit[0]) as f32);
            return outputs;
        }
        for row in outputs.chunks_exact_mut(self.network.outputs) {
            let most = row.iter().copied().fold(f32::MIN, f32::max);
            let total: f32 = row.iter().map(|z| (z - most).exp()).sum();
            row.iter_mut().for_each(|z| *z = (*z - most).exp() / total);
        }
        outputs
    }
}
