//! What PRETRAIN does with its rows: a corpus of panels and made-up series, a network, a published version.

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use datafusion::catalog::Session;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use sha2::{Digest, Sha256};

use crate::engine::access::Actor;
use crate::engine::pg_catalog::Surroundings;
use crate::engine::plan::kept::{Checkpoints, Fingerprint, tell_cut};
use crate::engine::plan::pretrain_function::PretrainRequest;
use crate::engine::plan::training::{Job, Prepared, prepare};
use crate::engine::query::QueryContext;
use crate::engine::registry::{Contents, Manifest, ModelKind};
use crate::engine::shared::Engine;
use crate::engine::storage::Acl;
use crate::error::{Error, Result, Subject};
use crate::ml::Control;
use crate::ml::forecaster::{Family, FitReport};
use crate::ml::foundation::{self, Corpus, PretrainOptions, Pretrained};
use crate::ml::models::{BASE_NAME, base_network, family_name};
use crate::ml::series::PanelReport;
use crate::ml::training::{Checkpoint, Course};

/// Share of made-up series beside those of relations, where the user names none.
const SYNTHETIC: f64 = 0.5;
/// Tokens that are learnt from at a time, at most.
const TOKENS: usize = 4_096;

/// One PRETRAIN, ready to read its rows.
#[derive(Debug)]
pub struct Pretraining {
    engine: Arc<Engine>,
    /// What is asked for.
    pub request: Arc<PretrainRequest>,
    /// How each relation is read, and how many inputs that takes.
    pub sources: Vec<(Arc<Job>, usize)>,
    owner: Option<String>,
    pid: i64,
}

impl Pretraining {
    /// A pretraining by the role and the session that plan it.
    pub fn new(
        engine: &Arc<Engine>,
        request: &Arc<PretrainRequest>,
        sources: Vec<(Arc<Job>, usize)>,
        session: &dyn Session,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            request: Arc::clone(request),
            sources,
            owner: session.config().get_extension::<Actor>().and_then(|actor| actor.role()),
            pid: session.config_options().extensions.get::<Surroundings>().map_or(0, Surroundings::pid),
        }
    }

    /// What it begins with.
    fn base(&self) -> Result<Beginning> {
        let Some(base) = &self.request.base else { return Ok(Beginning::default()) };
        if let Some(size) = self.request.settings.sizes.first() {
            let message = format!("{size} is a size of the network, which FROM {base} brings along");
            return Err(Error::input(Subject::Option, message));
        }
        if base == BASE_NAME {
            return Ok(Beginning { network: Some(base_network().to_vec()), model: None });
        }
        let model = self.engine.registry.get(base, None)?;
        if model.manifest().kind == ModelKind::Pretrained {
            let version = model.manifest().version;
            return Ok(Beginning { network: Some(model.network()?), model: Some((base.clone(), version)) });
        }
        let message = format!("model {base} is not pretrained: PRETRAIN begins FROM a model of PRETRAIN");
        Err(Error::input(Subject::Model, message)
            .with_hint(format!("or FROM {BASE_NAME}, which ships with the engine")))
    }
}

/// What a pretraining begins with; nothing where it begins anew.
#[derive(Default)]
struct Beginning {
    network: Option<Vec<u8>>,
    /// The model that has it, with its version; `None` for the one that ships.
    model: Option<(String, u64)>,
}

/// Pretrains and publishes; the row tells of it.
pub async fn pretrain(
    pretraining: &Arc<Pretraining>,
    inputs: Vec<SendableRecordBatchStream>,
    query: &Arc<QueryContext>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Vec<ArrayRef>> {
    let model = &pretraining.request.model;
    let name = &model.name;
    if let Some(version) = model.existing(&pretraining.engine, query, "PRETRAIN OR REPLACE FORECAST MODEL")? {
        let model = pretraining.engine.registry.get(name, Some(version))?;
        return Ok(result_row(model.manifest(), version));
    }
    let acl = Acl::of_owner(pretraining.owner.clone());
    let running = pretraining.engine.trainings.enter(name, pretraining.pid, &query.control, acl);
    let published = run(pretraining, inputs, query, pool).await;
    running.end(published.as_ref().map(|(version, _)| Some(*version)).map_err(Clone::clone));
    published.map(|(_, row)| row)
}

async fn run(
    pretraining: &Arc<Pretraining>,
    inputs: Vec<SendableRecordBatchStream>,
    query: &Arc<QueryContext>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<(u64, Vec<ArrayRef>)> {
    let started = Instant::now();
    let request = Arc::clone(&pretraining.request);
    let memory = MemoryConsumer::new(format!("PRETRAIN {}", request.model.name)).register(pool);
    let Beginning { network: base, model: began_with } = pretraining.base()?;
    let fingerprint = Fingerprint::default();
    let mut inputs = inputs.into_iter().map(|rows| fingerprint.watch(rows));
    let (mut panels, mut report, mut held_out) = (vec![], PanelReport::default(), usize::MAX);
    let mut lineage = vec![];
    for (job, count) in &pretraining.sources {
        let rows = inputs.by_ref().take(*count).collect();
        let Prepared { panel, report: own, fit, memory: read, .. } = prepare(job, rows, query, pool).await?;
        memory.try_grow(panel.bytes())?;
        drop(read);
        report.series += own.series;
        report.rows += own.rows;
        held_out = held_out.min(fit.horizon);
        lineage.extend(job.lineage.iter().cloned());
        panels.push(panel);
    }
    lineage.sort();
    lineage.dedup();
    let synthetic = request.settings.synthetic.unwrap_or(if panels.is_empty() { 1.0 } else { SYNTHETIC });
    if panels.is_empty() && synthetic < 1.0 {
        let message = "synthetic below 1 leaves room for series of yours: name their tables after ON";
        return Err(Error::input(Subject::Option, message));
    }
    let corpus = Corpus::new(panels, if held_out == usize::MAX { 0 } else { held_out }, synthetic);
    let config = &request.settings.options.config;
    memory.try_grow(config.learning_bytes(TOKENS))?;
    let began =
        base.as_deref().map_or_else(|| format!("{config:?}"), |base| format!("{:?}", Sha256::digest(base)));
    let checkpoints = Arc::new(Checkpoints::new(&pretraining.engine, &request.text, &fingerprint, &began));
    let (engine, options) = (Arc::clone(&pretraining.engine), request.settings.options.clone());
    let resume = checkpoints.last(query)?;
    let keeper = Arc::clone(&checkpoints);
    let work = move |control: &Arc<Control>| {
        let keep = |checkpoint: &Checkpoint| keeper.keep(checkpoint);
        let course = Course { resume, keep: &keep };
        foundation::pretrain(corpus, &options, base.as_deref(), course, control)
    };
    let Pretrained { file, parameters, log } = engine.runtimes.train(&query.control, work).await?;
    let context = foundation::read(&file)?.config().clone();
    let PretrainOptions { steps, max_seconds, .. } = request.settings.options;
    tell_cut(&log, (steps, max_seconds), query);
    let manifest = Manifest {
        kind: ModelKind::Pretrained,
        family: family_name(Family::Foundation).to_owned(),
        sql: request.text.clone(),
        horizon: context.max_output_patches * context.input_patch_size,
        quantile_levels: context.quantiles,
        seed: request.settings.options.seed,
        context_length: Some(context.context_length),
        base: began_with,
        table_versions: lineage,
        panel: report,
        report: FitReport { epochs: log.len(), parameters, log, ..FitReport::default() },
        seconds: started.elapsed().as_secs_f64(),
        comment: request.comment.clone(),
        ..Manifest::new(&request.model.name, Utc::now())
    };
    query.control.check()?;
    let row_of = manifest.clone();
    let contents = Contents { weights: file, ..Contents::default() };
    let version = request.model.publish(&engine, manifest, contents, pretraining.owner.clone()).await?;
    checkpoints.forget()?;
    Ok((version, result_row(&row_of, version)))
}

fn result_row(manifest: &Manifest, version: u64) -> Vec<ArrayRef> {
    let count = |n: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![n as i64])) };
    let number = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
    let last = manifest.report.log.last();
    vec![
        Arc::new(StringArray::from(vec![manifest.name.as_str()])),
        count(version as usize),
        count(manifest.panel.series),
        count(manifest.panel.rows),
        count(manifest.report.parameters),
        count(last.map_or(0, |line| line.step)),
        number(last.map(|line| line.train_loss)),
        number(last.map(|line| line.valid_loss)),
        number(Some(manifest.seconds)),
    ]
}
