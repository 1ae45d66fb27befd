//! Our layers beside PyTorch on the CPU, same shapes, same run, in turns: seconds of a training step with clipping and
//! AdamW, and of the forward pass of a long short-term memory. The least of several rounds counts; the processor time
//! is what is compared, since others may share the machine. `FORETELL_LAYERS=lstm,gru` measures those named.

use std::time::Instant;

use candle_core::{Device, Tensor};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use foretell::ml::Control;
use foretell::ml::layers::{
    Activation, Initializer, Linear, Parameters, ResidualBlock, TransformerBlock, gru, lstm,
};
use foretell::ml::rng::Rng;
use foretell::ml::training::{
    Dataset, LossSum, Network, Objective, OptimizerConfig, Steps, Trainer, TrainerConfig, masked_loss,
    pass_length,
};
use foretell::{Error, Result};

use crate::peers::{self, Process};
use crate::{Report, cpu_seconds};

const ROUNDS: usize = 5;
/// Steps of a round.
const STEPS: usize = 4;
/// Width of tokens and states.
const WIDTH: usize = 128;
/// Tokens of a window, and what a recurrent step reads.
const TOKENS: usize = 16;
const SEQUENCE: (usize, usize) = (64, 32);
/// Inputs, hidden units and outputs of the dense network.
const DENSE: (usize, usize, usize) = (512, 256, 64);

/// What is measured.
struct Workload {
    name: &'static str,
    body: fn(&mut Parameters) -> Result<Body>,
    batch: usize,
    train: bool,
    /// Most processor time in units of PyTorch's.
    target: f64,
}

const WORKLOADS: [Workload; 5] = [
    Workload { name: "transformer", body: Body::transformer, batch: 256, train: true, target: 0.7 },
    Workload { name: "lstm", body: Body::lstm, batch: 256, train: true, target: 1.0 },
    Workload { name: "lstm_forward", body: Body::lstm, batch: 256, train: false, target: 1.5 },
    Workload { name: "gru", body: Body::gru, batch: 256, train: true, target: 1.0 },
    Workload { name: "dense", body: Body::dense, batch: 1024, train: true, target: 0.7 },
];

/// Measures every workload with one thread and with two.
pub fn run() -> Result<Report> {
    let python = peers::python(&["torch"])?;
    let (mut lines, mut json) = (vec![], serde_json::Map::new());
    for threads in [1, 2] {
        let mut torch = Process::start(&python, "layers.py", &[])?;
        for workload in WORKLOADS.iter().filter(|w| wanted(w.name)) {
            let (ours, theirs) = compare(workload, threads, &mut torch)?;
            let label = format!("{}, {threads} threads", workload.name);
            let ratio = ours.cpu / theirs.cpu;
            lines.push((
                label.clone(),
                format!(
                    "ours {:.1} CPU-ms {:.1} ms  torch {:.1} CPU-ms {:.1} ms  ratio {ratio:.2} (at most {})",
                    ours.cpu * 1e3,
                    ours.wall * 1e3,
                    theirs.cpu * 1e3,
                    theirs.wall * 1e3,
                    workload.target
                ),
            ));
            json.insert(
                label,
                serde_json::json!({
                    "cpu_seconds": ours.cpu, "wall_seconds": ours.wall, "torch_cpu_seconds": theirs.cpu,
                    "torch_wall_seconds": theirs.wall, "ratio": ratio, "target": workload.target,
                }),
            );
        }
    }
    Ok(Report { lines, json: json.into() })
}

/// True for workloads that the environment names, and for all where it names none.
fn wanted(name: &str) -> bool {
    std::env::var("FORETELL_LAYERS").map_or(true, |names| names.split(',').any(|n| n.trim() == name))
}

/// Seconds of a step.
#[derive(Clone, Copy)]
struct Spent {
    wall: f64,
    cpu: f64,
}

impl Spent {
    const NONE: Self = Self { wall: f64::INFINITY, cpu: f64::INFINITY };

    fn least(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu) }
    }
}

/// The least seconds of ours and of PyTorch's, measured in turns.
fn compare(workload: &Workload, threads: usize, torch: &mut Process) -> Result<(Spent, Spent)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::internal(format!("no threads: {e}")))?;
    let model = Model::new(workload)?;
    let examples = Examples::new(&model.body, workload.batch);
    let (mut ours, mut theirs) = (Spent::NONE, Spent::NONE);
    for round in 0..=ROUNDS {
        let (mine, other) = if round % 2 == 0 {
            let mine = pool.install(|| steps(workload, &model, &examples))?;
            (mine, torch_steps(workload, threads, torch)?)
        } else {
            let other = torch_steps(workload, threads, torch)?;
            (pool.install(|| steps(workload, &model, &examples))?, other)
        };
        if round > 0 {
            (ours, theirs) = (ours.least(mine), theirs.least(other));
        }
    }
    Ok((ours, theirs))
}

/// Steps of PyTorch's.
fn torch_steps(workload: &Workload, threads: usize, torch: &mut Process) -> Result<Spent> {
    match torch.ask(&format!("{} {threads} {STEPS}", workload.name))?.as_slice() {
        [wall, cpu] => Ok(Spent { wall: *wall, cpu: *cpu }),
        other => Err(Error::internal(format!("PyTorch's process answered {other:?}"))),
    }
}

/// Steps of ours on the threads of the present pool.
fn steps(workload: &Workload, model: &Model, examples: &Examples) -> Result<Spent> {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    if workload.train {
        let none = Examples { of: 0, ..*examples };
        Trainer::new(model, examples, &none, config(workload.batch))?.run_epoch(&Control::default())?;
    } else {
        for _ in 0..STEPS {
            forward(workload, model, examples)?;
        }
    }
    let each = 1.0 / STEPS as f64;
    Ok(Spent { wall: started.elapsed().as_secs_f64() * each, cpu: (cpu_seconds() - cpu) * each })
}

/// One forward pass over a batch.
fn forward(workload: &Workload, model: &Model, examples: &Examples) -> Result<()> {
    let pass = model.pass_length();
    (0..workload.batch.div_ceil(pass)).into_par_iter().try_for_each(|i| {
        let indexes: Vec<usize> = (i * pass..workload.batch.min((i + 1) * pass)).collect();
        let mut batch = Batch::default();
        examples.gather(&indexes, &mut batch);
        model.loss(&batch, None).map(drop)
    })
}

fn config(batch_size: usize) -> TrainerConfig {
    TrainerConfig {
        epochs: 1,
        epoch_length: batch_size * STEPS,
        batch_size,
        shard_size: (batch_size / 4).min(128),
        learning_rate: 1e-3,
        patience: 1,
        optimizer: OptimizerConfig::default(),
        average_decay: 0.99,
        progress: (0.0, 1.0),
        seconds_max: None,
        seed: 1,
    }
}

/// The layers of a workload.
enum Body {
    Transformer(Vec<TransformerBlock>),
    Lstm { input: Linear, state: Tensor },
    Gru { input: Linear, state: Tensor, bias: Tensor },
    Dense(Vec<ResidualBlock>),
}

impl Body {
    fn transformer(p: &mut Parameters) -> Result<Self> {
        let block = |i: usize| TransformerBlock::new(p, &format!("block.{i}"), WIDTH, 4);
        Ok(Self::Transformer((0..4).map(block).collect::<Result<_>>()?))
    }

    fn lstm(p: &mut Parameters) -> Result<Self> {
        let input = Linear::new(p, "input", SEQUENCE.1, 4 * WIDTH)?;
        Ok(Self::Lstm { input, state: p.register("state", &[4 * WIDTH, WIDTH], Initializer::Glorot)? })
    }

    fn gru(p: &mut Parameters) -> Result<Self> {
        let input = Linear::new(p, "input", SEQUENCE.1, 3 * WIDTH)?;
        let state = p.register("state", &[3 * WIDTH, WIDTH], Initializer::Glorot)?;
        Ok(Self::Gru { input, state, bias: p.register("bias", &[3 * WIDTH], Initializer::Zeros)? })
    }

    fn dense(p: &mut Parameters) -> Result<Self> {
        let (inputs, hidden, outputs) = DENSE;
        let sizes = [(inputs, hidden), (hidden, hidden), (hidden, hidden), (hidden, outputs)];
        let block = |(i, (from, to)): (usize, (usize, usize))| {
            ResidualBlock::new(p, &format!("block.{i}"), (from, hidden, to), to == hidden)
        };
        Ok(Self::Dense(sizes.into_iter().enumerate().map(block).collect::<Result<_>>()?))
    }

    /// Numbers of an example that go in and come out of the head, and elements of its largest activation.
    fn sizes(&self) -> (usize, usize, usize) {
        match self {
            Self::Transformer(_) => (TOKENS * WIDTH, TOKENS, TOKENS * 4 * WIDTH),
            Self::Lstm { .. } | Self::Gru { .. } => (SEQUENCE.0 * SEQUENCE.1, 1, SEQUENCE.0 * WIDTH),
            Self::Dense(_) => (DENSE.0, 1, DENSE.0),
        }
    }

    fn width(&self) -> usize {
        if matches!(self, Self::Dense(_)) { DENSE.2 } else { WIDTH }
    }

    fn forward(&self, x: &[f32], len: usize) -> Result<Tensor> {
        let tensor = |shape: &[usize]| Tensor::from_slice(x, shape, &Device::Cpu);
        match self {
            Self::Transformer(blocks) => {
                let present = vec![true; len * TOKENS];
                let x = tensor(&[len, 1, TOKENS, WIDTH])?;
                blocks.iter().try_fold(x, |x, block| block.forward(&x, &present, None))
            }
            Self::Lstm { input, state } => {
                Ok(lstm(&tensor(&[SEQUENCE.0, len, SEQUENCE.1])?, input, state)?.get(SEQUENCE.0 - 1)?)
            }
            Self::Gru { input, state, bias } => {
                Ok(gru(&tensor(&[SEQUENCE.0, len, SEQUENCE.1])?, input, state, bias)?.get(SEQUENCE.0 - 1)?)
            }
            Self::Dense(blocks) => {
                blocks.iter().try_fold(tensor(&[len, DENSE.0])?, |x, block| block.forward(&x, None))
            }
        }
    }
}

/// A body and a linear head of one output.
struct Model {
    parameters: Parameters,
    body: Body,
    head: Linear,
}

impl Model {
    fn new(workload: &Workload) -> Result<Self> {
        let mut parameters = Parameters::seeded(Rng::new(1));
        let body = (workload.body)(&mut parameters)?;
        let head = Linear::new(&mut parameters, "head", body.width(), 1)?;
        Ok(Self { parameters, body, head })
    }
}

#[derive(Default)]
struct Batch {
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Network for Model {
    type Batch = Batch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn pass_length(&self) -> usize {
        pass_length(self.body.sizes().2)
    }

    fn loss(&self, batch: &Batch, _: Option<u64>) -> Result<LossSum> {
        let len = batch.y.len() / self.body.sizes().1;
        let y = self.head.forward(&self.body.forward(&batch.x, len)?, Activation::None)?;
        let weight = vec![1.0; batch.y.len()];
        let steps = Steps { actual: &batch.y, weight: &weight, scale: &[] };
        let sum = masked_loss(&y, steps, &Objective::Mse)?;
        Ok(LossSum { sum, weight: batch.y.len() as f64 })
    }
}

/// Examples that all read the same numbers, of which how many there are matters and not what they are.
#[derive(Clone, Copy)]
struct Examples {
    of: usize,
    inputs: usize,
    outputs: usize,
}

impl Examples {
    fn new(body: &Body, batch: usize) -> Self {
        let (inputs, outputs, _) = body.sizes();
        Self { of: batch * STEPS, inputs, outputs }
    }
}

impl Dataset for Examples {
    type Batch = Batch;

    fn len(&self) -> usize {
        self.of
    }

    fn gather(&self, indexes: &[usize], batch: &mut Batch) {
        let wave = |i: usize| (i * 379 % 1021) as f32 / 500.0 - 1.0;
        if batch.x.len() != indexes.len() * self.inputs {
            batch.x = (0..indexes.len() * self.inputs).map(wave).collect();
            batch.y = (0..indexes.len() * self.outputs).map(wave).collect();
        }
    }
}
