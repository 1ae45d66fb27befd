//! The loop of a training: batches, shards, gradients in a fixed order, validation, early stopping.

use std::time::Instant;

use rayon::iter::{
    IndexedParallelIterator, IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator,
};
use rayon::slice::ParallelSlice;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::forecaster::EpochLog;
use crate::ml::layers::{Gradients, Parameters};
use crate::ml::rng::Rng;
use crate::ml::training::checkpoint::Checkpoint;
use crate::ml::training::early_stopping::EarlyStopping;
use crate::ml::training::optimizer::{Optimizer, OptimizerConfig};
use crate::ml::training::schedule::Schedule;

/// Training examples by index, gathered on the fly.
pub trait Dataset: Sync {
    /// Buffers that one shard of a batch is gathered into, used again and again.
    type Batch: Default + Send;

    /// Number of examples.
    fn len(&self) -> usize;

    /// True when there is no example.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes ready what [`Dataset::gather`] will be asked for next, while the step before is computed.
    fn prepare(&self, _indexes: &[usize]) {}

    /// Replaces the content of `batch` by these examples.
    fn gather(&self, indexes: &[usize], batch: &mut Self::Batch);
}

/// The loss of some examples before division by their weight.
#[derive(Debug)]
pub struct LossSum {
    /// Weighted sum of the losses, a scalar with its graph.
    pub sum: Tensor,
    /// Sum of the weights.
    pub weight: f64,
}

/// Bytes that a parameter takes while it is learnt: its value, in the network and beside it, the mean and the best ones,
/// two moments, and a gradient for each of some four shards.
pub const BYTES_PER_PARAMETER: usize = 40;

/// What is trained.
pub trait Network: Sync {
    /// What one forward pass reads.
    type Batch;

    /// The trainable tensors.
    fn parameters(&self) -> &Parameters;

    /// Most examples that one pass should take.
    fn pass_length(&self) -> usize;

    /// The loss of some examples; randomness from `seed` in training, none without.
    fn loss(&self, batch: &Self::Batch, seed: Option<u64>) -> Result<LossSum>;
}

/// Examples of a pass whose largest activation has `widest` elements an example: few enough to stay in the cache of a
/// core and below the size from which Candle's pointwise operations wait for a pool of spinning threads.
pub fn pass_length(widest: usize) -> usize {
    (65_535 / widest.max(1)).clamp(1, 128)
}

/// Settings of a [`Trainer`].
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerConfig {
    /// Most epochs.
    pub epochs: usize,
    /// Most examples an epoch; more are sampled evenly over the data, others every epoch.
    pub epoch_length: usize,
    /// Examples per optimiser step.
    pub batch_size: usize,
    /// Examples that one thread works on; fixed, so that sums do not depend on the threads. A card computes a batch in one piece.
    pub shard_size: usize,
    /// Peak of the learning rate.
    pub learning_rate: f64,
    /// Epochs without improvement before the training stops.
    pub patience: usize,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// Decay of the moving average of the weights, which is what is validated and kept.
    pub average_decay: f64,
    /// Share of the whole work that is done before and after this training.
    pub progress: (f64, f64),
    /// Wall-clock budget in seconds.
    pub seconds_max: Option<f64>,
    /// Seed of order and dropout.
    pub seed: u64,
}

/// Where a long training goes on from, and what is told of it on its way.
pub struct Course<'a> {
    /// Where an earlier run of the same training stopped.
    pub resume: Option<Checkpoint>,
    /// Gets every checkpoint.
    pub keep: &'a dyn Fn(&Checkpoint) -> Result<()>,
}

/// A training under way.
pub struct Trainer<'a, N, D> {
    network: &'a N,
    train: &'a D,
    valid: &'a D,
    config: TrainerConfig,
    optimizer: Optimizer,
    stopping: EarlyStopping,
    values: Vec<Vec<f32>>,
    average: Vec<Vec<f32>>,
    epoch: usize,
    log: Vec<EpochLog>,
    started: Instant,
    /// Seconds of the runs before this one.
    before: f64,
}

/// What one shard contributes to a step, or all of them.
struct Shard {
    loss: f64,
    weight: f64,
    gradients: Vec<Vec<f32>>,
}

impl<'a, B: Default + Send, N: Network<Batch = B>, D: Dataset<Batch = B>> Trainer<'a, N, D> {
    /// A training from the network's present parameters; without validation examples all epochs run and the
    /// training loss stands for the validation loss.
    pub fn new(network: &'a N, train: &'a D, valid: &'a D, mut config: TrainerConfig) -> Result<Self> {
        if network.parameters().is_on_card() {
            config.shard_size = config.batch_size;
        }
        let values = network.parameters().values()?;
        Ok(Self {
            network,
            train,
            valid,
            optimizer: Optimizer::beginning(config.optimizer, network.parameters(), &values),
            stopping: EarlyStopping::new(config.patience),
            average: values.clone(),
            values,
            config,
            epoch: 0,
            log: Vec::new(),
            started: Instant::now(),
            before: 0.0,
        })
    }

    /// Goes on from a checkpoint of a training with the same network, data and settings.
    pub fn resume(mut self, checkpoint: Checkpoint) -> Result<Self> {
        let sizes = |tensors: &[Vec<f32>]| tensors.iter().map(Vec::len).collect::<Vec<_>>();
        let groups = [&checkpoint.values, &checkpoint.average];
        if groups.iter().any(|group| sizes(group) != sizes(&self.values)) {
            return Err(Error::internal("the checkpoint belongs to a network of another shape"));
        }
        let Checkpoint { epoch, step, best_loss, best_epoch, values, first, second, average, best, log } =
            checkpoint;
        self.optimizer = self.optimizer.restored(step, first, second)?;
        self.stopping = EarlyStopping::restored(self.config.patience, best_loss, best_epoch, best);
        self.network.parameters().set_values(&values)?;
        (self.epoch, self.values, self.average, self.log) = (epoch, values, average, log);
        self.before = self.log.last().map_or(0.0, |line| line.seconds);
        Ok(self)
    }

    /// The state after the last finished epoch.
    pub fn checkpoint(&self) -> Checkpoint {
        let (first, second) = self.optimizer.moments();
        Checkpoint {
            epoch: self.epoch,
            step: self.optimizer.steps(),
            best_loss: self.stopping.best_loss(),
            best_epoch: self.stopping.best_epoch(),
            values: self.values.clone(),
            first: first.to_vec(),
            second: second.to_vec(),
            average: self.average.clone(),
            best: self.stopping.best_values().map(<[_]>::to_vec),
            log: self.log.clone(),
        }
    }

    /// The log, one line an epoch.
    pub fn log(&self) -> &[EpochLog] {
        &self.log
    }

    /// The epoch whose parameters [`Trainer::finish`] leaves.
    pub fn best_epoch(&self) -> usize {
        if self.stopping.best_values().is_some() { self.stopping.best_epoch() } else { self.epoch }
    }

    /// Looks at the held-out examples before the first epoch: where no epoch is better, the parameters stay as they are.
    pub fn look(&mut self, control: &Control) -> Result<()> {
        if self.valid.is_empty() || self.epoch > 0 {
            return Ok(());
        }
        let loss = evaluate(self.network, self.valid, control)?;
        self.stopping.observe(0, loss, || Ok::<_, Error>(self.average.clone()))?;
        Ok(())
    }

    /// True while there are epochs left that may still help, and time for them.
    pub fn goes_on(&self) -> bool {
        self.epoch < self.config.epochs && !self.stopping.stops_after(self.epoch) && !self.out_of_time()
    }

    /// Runs all epochs until the last, the patience or the time is spent, and leaves the best parameters.
    pub fn run(&mut self, control: &Control) -> Result<()> {
        while self.goes_on() {
            self.run_epoch(control)?;
        }
        self.finish()
    }

    /// As [`Trainer::run`], from where an earlier run stopped, telling of every epoch.
    pub fn run_kept(mut self, course: Course<'_>, control: &Control) -> Result<Self> {
        if let Some(checkpoint) = course.resume {
            self = self.resume(checkpoint)?;
        }
        while self.goes_on() {
            self.run_epoch(control)?;
            (course.keep)(&self.checkpoint())?;
        }
        self.finish()?;
        Ok(self)
    }

    /// Leaves the best parameters in the network; the moving average of the last step without validation.
    pub fn finish(&self) -> Result<()> {
        self.network.parameters().set_values(self.stopping.best_values().unwrap_or(&self.average))
    }

    /// One pass over the examples of an epoch, then validation.
    pub fn run_epoch(&mut self, control: &Control) -> Result<()> {
        let epoch_started = Instant::now();
        self.network.parameters().set_values(&self.values)?;
        let order = self.epoch_order();
        let schedule = self.schedule(order.len());
        let (mut loss, mut weight, mut seen) = (0.0, 0.0, 0);
        let mut batches = order.chunks(self.config.batch_size).peekable();
        while let Some(batch) = batches.next() {
            control.check()?;
            let (batch_loss, batch_weight) =
                self.step((batch, batches.peek().copied()), &schedule, control)?;
            loss += batch_loss;
            weight += batch_weight;
            seen += batch.len();
            let done = (self.epoch as f64 + seen as f64 / order.len() as f64) / self.config.epochs as f64;
            let (from, to) = self.config.progress;
            let speed = seen as f64 / epoch_started.elapsed().as_secs_f64().max(1e-9);
            control.report(|p| {
                (p.phase, p.epoch, p.epochs) = ("fit", self.epoch + 1, self.config.epochs);
                (p.fraction, p.rows_per_second) = (from + (to - from) * done, Some(speed));
            });
            if self.out_of_time() {
                break;
            }
        }
        let speed = seen as f64 / epoch_started.elapsed().as_secs_f64().max(1e-9);
        self.end_epoch(loss / f64::max(weight, 1e-12), schedule.rate(self.optimizer.steps()), speed, control)
    }

    fn end_epoch(&mut self, train_loss: f64, rate: f64, speed: f64, control: &Control) -> Result<()> {
        self.epoch += 1;
        let valid_loss = if self.valid.is_empty() {
            train_loss
        } else {
            self.network.parameters().set_values(&self.average)?;
            let loss = evaluate(self.network, self.valid, control)?;
            self.stopping.observe(self.epoch, loss, || Ok::<_, Error>(self.average.clone()))?;
            loss
        };
        control.report(|p| {
            p.epoch = self.epoch;
            p.train_loss = Some(train_loss);
            p.valid_loss = (!self.valid.is_empty()).then_some(valid_loss);
        });
        self.log.push(EpochLog {
            epoch: self.epoch,
            step: self.optimizer.steps(),
            train_loss,
            valid_loss,
            learning_rate: rate,
            rows_per_second: speed,
            seconds: self.before + self.started.elapsed().as_secs_f64(),
        });
        Ok(())
    }

    fn out_of_time(&self) -> bool {
        self.config.seconds_max.is_some_and(|limit| self.started.elapsed().as_secs_f64() >= limit)
    }

    fn schedule(&self, epoch_length: usize) -> Schedule {
        let steps = epoch_length.div_ceil(self.config.batch_size) * self.config.epochs;
        Schedule { peak: self.config.learning_rate, warm_up: (steps / 20).clamp(1, 500), steps }
    }

    /// The examples of this epoch in random order, one from every stretch of the data.
    fn epoch_order(&self) -> Vec<usize> {
        let mut rng = Rng::new(self.config.seed).fork("order").stream(self.epoch as u64);
        let examples = self.train.len();
        let wanted = self.config.epoch_length.clamp(1, examples.max(1)).min(examples);
        let mut order: Vec<usize> = (0..wanted)
            .map(|i| {
                let (start, end) = (i * examples / wanted, (i + 1) * examples / wanted);
                start + if end - start > 1 { rng.below(end - start) } else { 0 }
            })
            .collect();
        rng.shuffle(&mut order);
        order
    }

    /// One optimiser step; returns loss sum and weight of the batch.
    fn step(
        &mut self,
        (batch, next): (&[usize], Option<&[usize]>),
        schedule: &Schedule,
        control: &Control,
    ) -> Result<(f64, f64)> {
        let step = self.optimizer.steps();
        let prepare = || next.map(|next| self.train.prepare(next));
        let (shard, _) = rayon::join(|| self.gradients(batch, control), prepare);
        let Shard { loss, weight, gradients } = shard?;
        if !loss.is_finite() {
            return Err(Error::data(format!("training diverged at step {}: the loss is {loss}", step + 1))
                .with_hint(
                    "lower learning_rate, or look for extreme values in the target and the covariates",
                ));
        }
        if weight <= 0.0 {
            return Ok((0.0, 0.0));
        }
        let rate = schedule.rate(step);
        self.optimizer.step(self.network.parameters(), &mut self.values, &gradients, rate)?;
        let made = self.optimizer.steps() as f64;
        let keep = self.config.average_decay.min(made / (made + 9.0)) as f32;
        self.average.par_iter_mut().zip(self.values.par_iter()).for_each(|(average, values)| {
            average.iter_mut().zip(values).for_each(|(a, v)| *a = keep * *a + (1.0 - keep) * v);
        });
        self.network.parameters().set_values(&self.values)?;
        Ok((loss, weight))
    }

    /// Loss and weight of a batch and the gradients of its mean loss, summed over shards in their order, and so the
    /// same on any number of threads.
    fn gradients(&self, batch: &[usize], control: &Control) -> Result<Shard> {
        let step = self.optimizer.steps();
        let seeds = Rng::new(self.config.seed).fork("dropout").stream(step as u64);
        let shards: Vec<Shard> = batch
            .par_chunks(self.config.shard_size)
            .enumerate()
            .map_init(B::default, |buffer, (i, indexes)| {
                self.shard(indexes, buffer, seeds.stream(i as u64), control)
            })
            .collect::<Result<_>>()?;
        let weight: f64 = shards.iter().map(|s| s.weight).sum();
        let loss: f64 = shards.iter().map(|s| s.loss).sum();
        Ok(Shard { loss, weight, gradients: sum_gradients(shards, (1.0 / weight) as f32) })
    }

    /// Loss and gradients of the examples of a shard, pass after pass on this thread.
    fn shard(&self, indexes: &[usize], buffer: &mut B, mut seeds: Rng, control: &Control) -> Result<Shard> {
        let (mut loss, mut weight) = (0.0, 0.0);
        let mut gradients = Gradients::default();
        for indexes in indexes.chunks(self.network.pass_length().max(1)) {
            control.check()?;
            self.train.gather(indexes, buffer);
            let part = self.network.loss(buffer, Some(seeds.next_u64()))?;
            gradients.add(&part.sum, self.network.parameters())?;
            loss += f64::from(part.sum.to_scalar::<f32>()?);
            weight += part.weight;
        }
        let gradients = self
            .network
            .parameters()
            .iter()
            .map(|(name, var, _)| {
                let missing = || Error::internal(format!("the parameter {name} received no gradient"));
                match gradients.take(var)? {
                    // What is frozen does not move.
                    None if self.network.parameters().is_frozen(name) => Ok(vec![0.0; var.elem_count()]),
                    gradient => gradient.ok_or_else(missing),
                }
            })
            .collect::<Result<_>>()?;
        Ok(Shard { loss, weight, gradients })
    }
}

/// Gradients of all shards, first shard first, times `scale`.
fn sum_gradients(shards: Vec<Shard>, scale: f32) -> Vec<Vec<f32>> {
    let mut shards = shards.into_iter().map(|s| s.gradients);
    let mut total = shards.next().unwrap_or_default();
    let rest: Vec<Vec<Vec<f32>>> = shards.collect();
    total.par_iter_mut().enumerate().for_each(|(i, total)| {
        // In pieces that stay in the cache.
        for (piece, total) in total.chunks_mut(4096).enumerate() {
            for gradients in &rest {
                let gradients = &gradients[i][piece * 4096..];
                total.iter_mut().zip(gradients).for_each(|(t, g)| *t += g);
            }
            total.iter_mut().for_each(|t| *t *= scale);
        }
    });
    total
}

/// Mean loss over all examples, without randomness.
fn evaluate<B: Default + Send, N: Network<Batch = B>, D: Dataset<Batch = B>>(
    network: &N,
    data: &D,
    control: &Control,
) -> Result<f64> {
    let indexes: Vec<usize> = (0..data.len()).collect();
    let pass = network.pass_length().max(1);
    let loss = |buffer: &mut B, indexes: &[usize]| -> Result<(f64, f64)> {
        control.check()?;
        data.gather(indexes, buffer);
        let loss = network.loss(buffer, None)?;
        Ok((f64::from(loss.sum.to_scalar::<f32>()?), loss.weight))
    };
    let sums: Vec<(f64, f64)> = if network.parameters().is_on_card() {
        // One after the other, so that its memory holds one.
        let mut buffer = B::default();
        indexes.chunks(pass).map(|indexes| loss(&mut buffer, indexes)).collect::<Result<_>>()?
    } else {
        indexes.par_chunks(pass).map_init(B::default, &loss).collect::<Result<_>>()?
    };
    let (loss, weight) = sums.iter().fold((0.0, 0.0), |(l, w), (loss, weight)| (l + loss, w + weight));
    Ok(if weight > 0.0 { loss / weight } else { f64::NAN })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::{Activation, Initializer, Linear};
    use crate::ml::training::loss::{Objective, Steps, masked_loss};
    use candle_core::Device;

    /// Learns y = x1 - 2 x2 through a hidden layer.
    struct Toy {
        parameters: Parameters,
        hidden: Linear,
        output: Linear,
        dead: bool,
        pass_length: usize,
        noisy: bool,
    }

    impl Toy {
        fn new(dead: bool) -> Self {
            let mut parameters = Parameters::seeded(Rng::new(2));
            let hidden = Linear::new(&mut parameters, "hidden", 2, 8).unwrap();
            let output = Linear::new(&mut parameters, "output", 8, 1).unwrap();
            if dead {
                parameters.register("dead", &[1], Initializer::Zeros).unwrap();
            }
            Self { parameters, hidden, output, dead, pass_length: 3, noisy: true }
        }
    }

    #[derive(Default)]
    struct Rows {
        x: Vec<f32>,
        y: Vec<f32>,
    }

    impl Network for Toy {
        type Batch = Rows;

        fn parameters(&self) -> &Parameters {
            &self.parameters
        }

        fn pass_length(&self) -> usize {
            self.pass_length
        }

        fn loss(&self, batch: &Rows, seed: Option<u64>) -> Result<LossSum> {
            let x = Tensor::from_slice(&batch.x, (batch.y.len(), 2), &Device::Cpu)?;
            let mut hidden = self.hidden.forward(&x, Activation::Relu)?;
            if let Some(seed) = seed.filter(|_| self.noisy) {
                hidden = (hidden * (1.0 + 1e-3 * (seed % 7) as f64))?;
            }
            let y = self.output.forward(&hidden, Activation::None)?;
            let weight = vec![1.0; batch.y.len()];
            let steps = Steps { actual: &batch.y, weight: &weight, ..Steps::default() };
            let sum = masked_loss(&y, steps, &Objective::Mse)?;
            Ok(LossSum { sum, weight: batch.y.len() as f64 })
        }
    }

    struct Examples(usize, f32);

    impl Dataset for Examples {
        type Batch = Rows;

        fn len(&self) -> usize {
            self.0
        }

        fn gather(&self, indexes: &[usize], batch: &mut Rows) {
            batch.x.clear();
            batch.y.clear();
            for i in indexes {
                let (a, b) = ((*i as f32 * 0.37).sin(), (*i as f32 * 0.11).cos());
                batch.x.extend([a, b]);
                batch.y.push((a - 2.0 * b) * self.1);
            }
        }
    }

    fn config(epochs: usize) -> TrainerConfig {
        TrainerConfig {
            epochs,
            epoch_length: 80,
            batch_size: 16,
            shard_size: 5,
            learning_rate: 2e-2,
            patience: 50,
            optimizer: OptimizerConfig::default(),
            average_decay: 0.9,
            progress: (0.0, 1.0),
            seconds_max: None,
            seed: 4,
        }
    }

    #[test]
    fn the_loss_falls_and_the_best_parameters_stay() {
        let (toy, train, valid) = (Toy::new(false), Examples(100, 1.0), Examples(9, 1.0));
        let mut trainer = Trainer::new(&toy, &train, &valid, config(40)).unwrap();
        let control = Control::default();
        trainer.run(&control).unwrap();
        let log = trainer.log();
        assert!(log[39].train_loss < 0.01 * log[0].train_loss);
        assert_eq!((log[39].step, control.progress().epoch, control.progress().phase), (200, 40, "fit"));
        let best = log.iter().map(|l| l.valid_loss).fold(f64::INFINITY, f64::min);
        assert_eq!(evaluate(&toy, &valid, &control).unwrap(), best);
    }

    #[test]
    fn a_resumed_training_ends_with_the_same_bits() {
        let (train, valid) = (Examples(100, 1.0), Examples(9, 1.0));
        let control = Control::default();
        let whole = Toy::new(false);
        let mut at_once = Trainer::new(&whole, &train, &valid, config(6)).unwrap();
        at_once.run(&control).unwrap();
        let half = Toy::new(false);
        let mut trainer = Trainer::new(&half, &train, &valid, config(6)).unwrap();
        (0..3).for_each(|_| trainer.run_epoch(&control).unwrap());
        let bytes = trainer.checkpoint().to_bytes().unwrap();
        let other = Toy::new(false);
        let trainer = Trainer::new(&other, &train, &valid, config(6)).unwrap();
        let mut trainer = trainer.resume(Checkpoint::from_bytes(&bytes).unwrap()).unwrap();
        trainer.run(&control).unwrap();
        assert_eq!(other.parameters.values().unwrap(), whole.parameters.values().unwrap());
        let told =
            |log: &[EpochLog]| log.iter().map(|l| (l.step, l.train_loss, l.valid_loss)).collect::<Vec<_>>();
        assert_eq!(told(trainer.log()), told(at_once.log()));
        assert!(trainer.log().windows(2).all(|lines| lines[0].seconds <= lines[1].seconds));
    }

    #[test]
    fn a_batch_has_the_same_gradients_in_any_number_of_passes() {
        let (train, batch) = (Examples(300, 1.0), (0..257).collect::<Vec<usize>>());
        let gradients = |pass_length: usize, shard_size: usize, threads: usize| {
            let toy = Toy { pass_length, noisy: false, ..Toy::new(false) };
            let config = TrainerConfig { shard_size, ..config(1) };
            let trainer = Trainer::new(&toy, &train, &train, config).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| trainer.gradients(&batch, &Control::default()).unwrap()).gradients.concat()
        };
        let whole = gradients(257, 257, 1);
        let norm = |values: &[f32]| values.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        for (pass_length, shard_size) in [(1, 257), (7, 64), (64, 5), (100, 130), (2, 1)] {
            let parts = gradients(pass_length, shard_size, 1);
            let gap: Vec<f32> = parts.iter().zip(&whole).map(|(a, b)| a - b).collect();
            assert!(norm(&gap) <= 1e-6 * norm(&whole), "{pass_length} {shard_size}: {}", norm(&gap));
            assert_eq!(parts, gradients(pass_length, shard_size, 3));
        }
    }

    #[test]
    fn a_parameter_without_gradient_and_a_loss_of_nan_are_errors() {
        let none = Examples(0, 1.0);
        let run = |toy: &Toy, examples: &Examples| {
            assert_eq!(toy.dead, toy.parameters.iter().any(|(name, _, _)| name == "dead"));
            Trainer::new(toy, examples, &none, config(1)).unwrap().run(&Control::default()).unwrap_err()
        };
        let unused = run(&Toy::new(true), &Examples(50, 1.0));
        assert_eq!(unused.message(), "the parameter dead received no gradient");
        let diverged = run(&Toy::new(false), &Examples(50, f32::INFINITY));
        assert!(diverged.message().starts_with("training diverged at step 1"), "{diverged}");
    }

    #[test]
    fn an_epoch_shorter_than_the_data_still_sees_all_of_it() {
        let (toy, train) = (Toy::new(false), Examples(1000, 1.0));
        let trainer = Trainer::new(&toy, &train, &train, config(1)).unwrap();
        let mut order = trainer.epoch_order();
        order.sort_unstable();
        assert_eq!(order.len(), 80);
        assert!(order.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] < 26));
    }
}
