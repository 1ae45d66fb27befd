//! ALTER MODEL … QUANTIZE TO and PRUNE TO: a version with smaller weights. Of models that forecast the rows that they were
//! trained on tell what that costs, as REFRESH reads them; of others how alike what they say is.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chrono::Utc;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::FunctionArg;

use crate::engine::access::Guard;
use crate::engine::plan::arguments::{Arguments, model_argument, scalar};
use crate::engine::plan::new_model::{NewModel, publish};
use crate::engine::plan::predict_sequence::PredictSequenceNode;
use crate::engine::plan::refresh::Change;
use crate::engine::plan::scope::Scope;
use crate::engine::plan::task::{ModelTask, TaskCall};
use crate::engine::plan::training::{compressed_row, refreshed_schema};
use crate::engine::registry::{Contents, Manifest, Model, ModelKind, PublishMode};
use crate::engine::shared::Engine;
use crate::engine::storage::Privilege;
use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::Control;
use crate::ml::compression::{Compression, compress, ensure_smaller, nothing_smaller, restored};
use crate::ml::foundation;
use crate::ml::sequence::SequenceModel;
use crate::ml::supervised::Fitted;
use crate::ml::text::TextEncoder;

/// Reads a call of `compress_model`.
pub fn read(
    args: Vec<FunctionArg>,
    scope: &Scope,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<(Arc<Model>, Compression)> {
    let mut args = Arguments::read("compress_model", args, &["quantize", "prune"], context)?;
    let (to, share) = (args.named("quantize"), args.named("prune"));
    let how = match (to, share) {
        (Some(to), None) => precision(&args.as_name("quantize", to, context)?)?,
        (None, Some(share)) => kept(&scalar(share, DataType::Float64, context)?)?,
        _ => {
            let usage = "compress_model takes quantize => 'q8_0' or 'f16', or prune => 0.5".to_owned();
            return Err(args.invalid(usage));
        }
    };
    let name = model_argument(&mut args, context)?;
    scope.guard()?.model(&name, Privilege::Refresh)?;
    Ok((scope.engine.registry.get(&name, None)?, how))
}

fn precision(word: &str) -> Result<Compression> {
    match word.to_lowercase().as_str() {
        "q8_0" => Ok(Compression::Q8),
        "f16" => Ok(Compression::Half),
        _ => {
            let message = format!("unknown precision {word}{}", did_you_mean(word, ["q8_0", "f16"]));
            Err(Error::input(Subject::Option, message).with_hint("QUANTIZE TO q8_0 or f16"))
        }
    }
}

/// The share of the weights that stay.
fn kept(share: &Expr) -> Result<Compression> {
    let number = match share {
        Expr::Literal(value, _) => value.cast_to(&DataType::Float64).ok(),
        _ => None,
    };
    match number {
        Some(ScalarValue::Float64(Some(share))) if share > 0.0 && share < 1.0 => {
            Ok(Compression::Prune(share))
        }
        _ => Err(Error::input(
            Subject::Option,
            "PRUNE TO takes the share of the weights that stay, between 0 and 1",
        )
        .with_hint("PRUNE TO 0.5 keeps the larger half")),
    }
}

/// A version of a model with smaller weights, of a kind that is compared by what it says.
#[derive(Debug)]
pub struct Compress {
    model: Arc<Model>,
    how: Compression,
    text: String,
}

impl Compress {
    /// What is done with a model.
    pub fn new(model: Arc<Model>, how: Compression) -> Self {
        let text = format!("ALTER MODEL {} {how:?}", model.manifest().name);
        Self { model, how, text }
    }

    /// The new version, seconds that it and the one before need to speak, and how alike they do.
    fn compressed(&self, control: &Control) -> Result<(Manifest, Vec<u8>, [f64; 2], f64)> {
        let file = self.model.network()?;
        let weights = compress(&self.model.manifest().name, &file, self.how)?;
        let back = restored(&weights)?;
        // What is said for the first time takes longer.
        self.said(&file, control)?;
        let ((before, old), (after, new)) = (self.said(&file, control)?, self.said(&back, control)?);
        let manifest = Manifest { created_at: Utc::now(), ..self.model.manifest().clone() };
        Ok((manifest, weights, [old, new], similarity(&before, &after)))
    }

    /// What the model of these bytes says: of words, of made-up series, of what comes after each event; and in how many seconds.
    fn said(&self, file: &[u8], control: &Control) -> Result<(Vec<Vec<f32>>, f64)> {
        let Manifest { name, kind, .. } = self.model.manifest();
        let of_words = |encoder: &TextEncoder| {
            let words = encoder.tokenizer().vocabulary(WORDS_MAX);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            Ok::<_, Error>(encoder.embed(&words, control)?.iter().map(|vector| vector.to_vec()).collect())
        };
        let started = Instant::now();
        let said: Vec<Vec<f32>> = match kind {
            ModelKind::Text => of_words(&TextEncoder::read(file)?)?,
            ModelKind::Pretrained => foundation::said(file, control)?,
            _ if *kind == ModelKind::Sequence || PredictSequenceNode::is_for(&self.model) => {
                SequenceModel::from_bytes(file)?.said(WORDS_MAX, control)?
            }
            _ => {
                let model = Fitted::from_bytes(file)?;
                let encoders = model.encoders().map(of_words);
                encoders.collect::<Result<Vec<_>>>()?.concat()
            }
        };
        if said.is_empty() {
            return Err(nothing_smaller(name)
                .with_hint("of models of rows those that read texts FROM a text model have some"));
        }
        Ok((said, started.elapsed().as_secs_f64()))
    }
}

/// Words and events that models are compared by, at most.
const WORDS_MAX: usize = 512;

/// The mean cosine of vectors and what they have become.
fn similarity(before: &[Vec<f32>], after: &[Vec<f32>]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let cosine =
        |(a, b): (&Vec<f32>, &Vec<f32>)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE);
    before.iter().zip(after).map(cosine).sum::<f64>() / before.len().max(1) as f64
}

#[async_trait]
impl ModelTask for Compress {
    fn name(&self) -> &'static str {
        "CompressModel"
    }

    fn model(&self) -> &str {
        &self.model.manifest().name
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn schema(&self) -> Schema {
        refreshed_schema(Change::Shrinks(self.how))
    }

    fn check_rights(&self, engine: &Engine, guard: &Guard) -> Result<()> {
        self.new_model().check_rights(engine, guard)
    }

    async fn run(self: Arc<Self>, call: TaskCall) -> Result<RecordBatch> {
        let task = Arc::clone(&self);
        let work = move |control: &Arc<Control>| task.compressed(control);
        let (manifest, weights, seconds, alike) =
            call.engine.runtimes.train(&call.query.control, work).await?;
        call.query.control.check()?;
        let weights_of = |manifest: &Manifest| manifest.files.iter().map(|file| file.bytes as usize).sum();
        let bytes = [weights_of(self.model.manifest()), weights.len()];
        ensure_smaller(self.model(), bytes)?;
        let contents = Contents { weights, ..Contents::default() };
        let mode = PublishMode::Refresh(self.model.id().to_owned());
        let version = publish(&call.engine, self.model(), (manifest, contents), mode, call.owner).await?;
        let row = compressed_row(self.model(), version, (bytes, seconds), ("similarity", [1.0, alike]));
        RecordBatch::try_new(Arc::new(self.schema()), row).map_err(|e| Error::internal(e.to_string()))
    }
}

impl Compress {
    fn new_model(&self) -> NewModel {
        NewModel { name: self.model().to_owned(), or_replace: true, if_not_exists: false }
    }
}
