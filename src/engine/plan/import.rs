//! IMPORT MODEL: a network that others have trained, from a directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chrono::Utc;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::sql::sqlparser::ast::FunctionArg;

use crate::engine::access::{FileAccess, Guard};
use crate::engine::plan::arguments::{Arguments, model_argument};
use crate::engine::plan::new_model::NewModel;
use crate::engine::plan::scope::Scope;
use crate::engine::plan::task::{ModelTask, TaskCall};
use crate::engine::plan::train_function::flag;
use crate::engine::registry::{Contents, Manifest, ModelKind};
use crate::engine::shared::Engine;
use crate::error::{Error, Result, Subject, identifier};
use crate::ml::published::{self, Imported};

/// Bytes of a file of words and sizes, and of one of weights.
const FILE_MAX: [u64; 2] = [64 << 20, 8 << 30];

/// One IMPORT MODEL.
#[derive(Debug)]
pub struct Import {
    model: NewModel,
    /// The directory, as far as whoever acts may read it.
    directory: PathBuf,
    comment: Option<String>,
    text: String,
}

impl Import {
    /// Reads a call of `import_model`.
    pub fn read(
        args: Vec<FunctionArg>,
        scope: &Scope,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<Self> {
        let allowed = ["path", "replace", "if_not_exists", "comment"];
        let mut args = Arguments::read("import_model", args, &allowed, context)?;
        let (or_replace, if_not_exists) = (flag(&mut args, "replace")?, flag(&mut args, "if_not_exists")?);
        let comment =
            args.named("comment").map(|value| args.as_name("comment", value, context)).transpose()?;
        let Some(path) = args.named("path") else {
            let usage = "IMPORT MODEL needs a directory: IMPORT MODEL m FROM '/models/chronos-2'";
            return Err(args.invalid(usage.to_owned()));
        };
        let path = args.as_name("path", path, context)?;
        let model = NewModel { name: model_argument(&mut args, context)?, or_replace, if_not_exists };
        let directory = FileAccess::reading(&scope.session.state(), &path)?.into();
        let text = format!("IMPORT MODEL {} FROM '{}'", identifier(&model.name), path.replace('\'', "''"));
        Ok(Self { model, directory, comment, text })
    }

    /// What the directory holds, and the manifest that tells of it.
    fn imported(&self) -> Result<(Manifest, Vec<u8>)> {
        let started = Instant::now();
        if !self.directory.is_dir() {
            let message = format!("{} is not a directory", self.directory.display());
            return Err(Error::not_found(Subject::File, message)
                .with_hint("IMPORT MODEL reads config.json and model.safetensors of a directory"));
        }
        let files = |name: &str| file(&self.directory, name);
        let Imported { kind, family, parameters, file, context_length, horizon, quantile_levels } =
            published::import(&files).map_err(|e| e.with_context(self.directory.display().to_string()))?;
        let mut manifest = Manifest {
            kind: match kind {
                published::Kind::Forecast => ModelKind::Pretrained,
                published::Kind::Text => ModelKind::Text,
            },
            family: family.to_owned(),
            sql: self.text.clone(),
            horizon,
            quantile_levels,
            context_length: Some(context_length),
            comment: self.comment.clone(),
            ..Manifest::new(&self.model.name, Utc::now())
        };
        manifest.report.parameters = parameters;
        manifest.seconds = started.elapsed().as_secs_f64();
        Ok((manifest, file))
    }
}

/// A file of a directory; `None` where there is none.
fn file(directory: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = directory.join(name);
    let most = FILE_MAX[usize::from(name.ends_with(".safetensors"))];
    match std::fs::metadata(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(&path, &e)),
        Ok(found) if found.len() > most => {
            let message = format!("{} has {} bytes; at most {most} are read", path.display(), found.len());
            Err(Error::input(Subject::File, message))
        }
        Ok(_) => std::fs::read(&path).map(Some).map_err(|e| Error::io(&path, &e)),
    }
}

#[async_trait]
impl ModelTask for Import {
    fn name(&self) -> &'static str {
        "ImportModel"
    }

    fn model(&self) -> &str {
        &self.model.name
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn schema(&self) -> Schema {
        let count = |name: &str| Field::new(name, DataType::Int64, false);
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        Schema::new(vec![
            text("model"),
            count("version"),
            text("kind"),
            text("family"),
            count("parameters"),
            count("bytes"),
        ])
    }

    fn check_rights(&self, engine: &Engine, guard: &Guard) -> Result<()> {
        self.model.check_rights(engine, guard)
    }

    async fn run(self: Arc<Self>, call: TaskCall) -> Result<RecordBatch> {
        let name = &self.model.name;
        if let Some(version) = self.model.existing(&call.engine, &call.query, "IMPORT OR REPLACE MODEL")? {
            return self.row(call.engine.registry.get(name, Some(version))?.manifest(), version);
        }
        let task = Arc::clone(&self);
        let (manifest, file) = tokio::task::spawn_blocking(move || task.imported())
            .await
            .map_err(|e| Error::internal(format!("importing stopped: {e}")))??;
        call.query.control.check()?;
        let contents = Contents { weights: file, ..Contents::default() };
        let version = self.model.publish(&call.engine, manifest, contents, call.owner).await?;
        self.row(call.engine.registry.get(name, Some(version))?.manifest(), version)
    }
}

impl Import {
    fn row(&self, manifest: &Manifest, version: u64) -> Result<RecordBatch> {
        let count = |n: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![n as i64])) };
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let columns = vec![
            text(&manifest.name),
            count(version),
            text(manifest.kind.word()),
            text(&manifest.family),
            count(manifest.report.parameters as u64),
            count(manifest.files.iter().map(|file| file.bytes).sum()),
        ];
        RecordBatch::try_new(Arc::new(self.schema()), columns).map_err(|e| Error::internal(e.to_string()))
    }
}
