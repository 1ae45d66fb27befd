//! What TRAIN does otherwise where a model learns from the forecasts of another: the grid and the texts are those of the other,
//! and the row compares both.

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field};

use crate::engine::plan::training::{Job, Learnt, Prepared};
use crate::engine::query::QueryContext;
use crate::engine::registry::{ColumnRole, Manifest, Model, ModelKind, ModelRole};
use crate::error::{Error, Result, Subject};
use crate::ml::Control;
use crate::ml::forecaster::{Family, FitOptions, FittedForecaster, PredictOptions, Scores};
use crate::ml::foundation::Base;
use crate::ml::models::{self, BASE_NAME, TAUGHT_SHARE, base_network};
use crate::ml::series::{Panel, PanelReport};

/// What the row of TRAIN tells besides where a model learnt from another.
pub fn teacher_fields() -> Vec<Field> {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let count = |name: &str| Field::new(name, DataType::Int64, true);
    vec![
        Field::new("teacher", DataType::Utf8, false),
        number("teacher_value"),
        count("bytes"),
        count("teacher_bytes"),
        number("forecast_seconds"),
        number("teacher_forecast_seconds"),
    ]
}

/// How a model and its teacher compare.
#[derive(Debug)]
pub struct Compared {
    /// The teacher's score, of the windows that the model is scored by.
    value: Option<f64>,
    /// Bytes of the weights of both.
    bytes: [usize; 2],
    /// Seconds that both take to forecast all series.
    seconds: [f64; 2],
}

impl Compared {
    /// Those fields of the row; `None` of a model that was there already.
    pub fn row(of: Option<&Self>, teacher: &str) -> Vec<ArrayRef> {
        let count =
            |n: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![of.map(|c| c.bytes[n] as i64)])) };
        let number = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
        vec![
            Arc::new(StringArray::from(vec![teacher])),
            number(of.and_then(|c| c.value)),
            count(0),
            count(1),
            number(of.map(|c| c.seconds[0])),
            number(of.map(|c| c.seconds[1])),
        ]
    }
}

impl Job {
    /// The trained model whose forecasts are learnt from; a pretrained one has no grid and no columns of its own.
    pub(super) fn trained_teacher(&self) -> Option<&Arc<Model>> {
        let teacher = self.base.as_ref().filter(|_| self.options.distills());
        teacher.filter(|teacher| teacher.manifest().kind == ModelKind::Forecast)
    }

    /// The text model that reads the texts, and its version: the teacher's where the texts are read as it reads them.
    pub(super) fn encoder_of_texts(&self) -> Option<(String, u64)> {
        let own = self.encoder.as_ref().map(|model| model.manifest());
        let own = own.map(|manifest| (manifest.name.clone(), manifest.version));
        own.or_else(|| self.trained_teacher().and_then(|teacher| teacher.manifest().encoder.clone()))
    }

    /// The name of the model whose forecasts are learnt from.
    pub(super) fn teacher_name(&self) -> Option<&str> {
        let named = || self.base.as_ref().map_or(BASE_NAME, |base| base.manifest().name.as_str());
        self.options.distills().then(named)
    }
}

/// Fails where the rows are not what the teacher forecasts, and tells whose rows it has learnt.
pub(super) fn check(job: &Job, prepared: &Prepared, query: &QueryContext) -> Result<()> {
    if !job.options.distills() {
        return Ok(());
    }
    let refused = |message: String, hint: &str| Err(Error::input(Subject::Option, message).with_hint(hint));
    if job.rollup.is_some() {
        let message = "distill is not for HIERARCHY: a teacher tells of single series".to_owned();
        return refused(message, "leave HIERARCHY or distill away");
    }
    let Some(teacher) = job.trained_teacher().map(|teacher| teacher.manifest()) else { return Ok(()) };
    let (name, same) = (&teacher.name, "give both the same columns, clauses and season");
    let (asked, reads) = (columns(&prepared.roles), columns(&teacher.roles));
    if asked != reads {
        return refused(format!("{name} reads {reads}; the rows have {asked}"), same);
    }
    let (season, frequency) = (job.options.season_length, job.statement.every);
    let holidays = prepared.holidays.as_ref().map(|(holidays, _)| holidays);
    let PanelReport { gaps_filled, rows, .. } = prepared.report;
    if prepared.schema.time_kind != teacher.time_kind
        || gaps_filled > rows && teacher.panel.gaps_filled <= teacher.panel.rows
    {
        let unit = teacher.frequency.to_string().to_lowercase();
        return refused(format!("{name} has a row every {unit}, which most of these rows do not"), same);
    }
    if job.encoder.is_some() && job.encoder_of_texts() != teacher.encoder {
        return refused(format!("{name} reads texts by another model than ENCODER names"), same);
    }
    if teacher.hierarchy.is_some()
        || holidays != teacher.holidays.as_ref()
        || season.is_some_and(|season| season != teacher.season_length)
        || frequency.is_some_and(|frequency| frequency != teacher.frequency)
    {
        return refused(
            format!("{name} has another EVERY, season, HOLIDAYS or HIERARCHY than the rows"),
            same,
        );
    }
    if has_learnt(teacher, &prepared.panel, &prepared.fit) {
        let student = &job.statement.name;
        query.notice(format!(
            "{name} has learnt rows that {student} is scored by: what it tells of those before them may flatter the score"
        ));
    }
    Ok(())
}

/// True where a teacher has learnt some of the rows that are held out.
fn has_learnt(teacher: &Manifest, panel: &Panel, options: &FitOptions) -> bool {
    let (windows, length) = models::held_out(panel, options);
    windows * length > new_steps(teacher, panel)
}

/// The columns that forecasts are made from, and the series by.
fn columns(roles: &[ColumnRole]) -> String {
    let of = |role: ModelRole| {
        let names = roles.iter().filter(|r| r.role == role).map(|r| r.name.as_str());
        let names: Vec<&str> = names.collect();
        (!names.is_empty()).then(|| format!("{} {}", role.word().to_uppercase(), names.join(", ")))
    };
    let told = [
        ModelRole::Target,
        ModelRole::Key,
        ModelRole::Known,
        ModelRole::Past,
        ModelRole::Static,
        ModelRole::Text,
    ];
    let told: Vec<String> = told.into_iter().filter_map(of).collect();
    told.join(" ")
}

/// Steps that came since a model was trained.
pub(super) fn new_steps(manifest: &Manifest, panel: &Panel) -> usize {
    let before = panel.frequency.period(panel.origin, manifest.panel.last_time);
    panel.last_period().map_or(0, |last| usize::try_from(last - before).unwrap_or(0))
}

/// A model whose forecasts are learnt from.
pub(super) struct Teacher {
    model: Arc<dyn FittedForecaster>,
    bytes: usize,
    /// Its scores of the windows, where it was scored by them before it learnt them; none where it has learnt them since.
    scores: Option<Option<Scores>>,
}

impl Teacher {
    /// The teacher of a job, where it has one.
    pub(super) fn of(
        job: &Job,
        panel: &Panel,
        rows: &PanelReport,
        options: &FitOptions,
        control: &Arc<Control>,
    ) -> Result<Option<Self>> {
        if !job.options.distills() {
            return Ok(None);
        }
        if let Some(teacher) = job.trained_teacher() {
            let manifest = teacher.manifest();
            let bytes = manifest.files.iter().find(|file| file.name.starts_with("weights"));
            let alike = manifest.panel == *rows
                && manifest.table_versions == *job.lineage
                && manifest.horizon == options.horizon
                && manifest.report.held_out == models::held_out(panel, options);
            let scores = match alike {
                true => Some(Some(manifest.report.scores.clone())),
                false => has_learnt(manifest, panel, options).then_some(None),
            };
            return Ok(Some(Self {
                model: teacher.forecaster()?,
                bytes: bytes.map_or(0, |file| file.bytes as usize),
                scores,
            }));
        }
        let base = job.base.as_ref().map(|base| base.network()).transpose()?;
        let bytes = base.as_ref().map_or(base_network().len(), Vec::len);
        let zero_shot = FitOptions {
            horizon: options.horizon,
            quantile_levels: options.quantile_levels.clone(),
            validation_length: Some(0),
            outliers: options.outliers,
            base: base.map(|file| Base::read(&file)).transpose()?,
            ..FitOptions::default()
        };
        // It is there already: nothing of the work is done by this.
        let part = Control::part(control, 0.0);
        let (model, _) = models::fit(&[Family::Foundation], panel, &zero_shot, &part)?;
        Ok(Some(Self { model, bytes, scores: None }))
    }

    /// The options of a model that learns from its forecasts.
    pub(super) fn teach(
        &self,
        panel: &Panel,
        options: FitOptions,
        control: &Arc<Control>,
    ) -> Result<FitOptions> {
        let part = Control::part(control, TAUGHT_SHARE);
        let taught = models::taught(&*self.model, panel, &options, &part)?;
        Ok(FitOptions { taught: Some(Arc::new(taught)), ..options })
    }

    /// How the model that learnt from it compares.
    pub(super) fn compared(&self, learnt: &Learnt, panel: &Panel, control: &Control) -> Result<Compared> {
        let options = &learnt.options;
        let scores = match &self.scores {
            Some(scores) => scores.clone(),
            None => Some(models::score(&*self.model, panel, None, options, control)?),
        };
        let wanted = PredictOptions {
            horizon: options.horizon,
            quantile_levels: options.quantile_levels.clone(),
            ..PredictOptions::default()
        };
        let seconds = |model: &dyn FittedForecaster| {
            let started = Instant::now();
            model.predict(panel, &wanted, control)?;
            Ok::<_, Error>(started.elapsed().as_secs_f64())
        };
        Ok(Compared {
            value: scores.and_then(|scores| scores.mase),
            bytes: [learnt.weights.len(), self.bytes],
            seconds: [seconds(&*learnt.model)?, seconds(&*self.model)?],
        })
    }
}
