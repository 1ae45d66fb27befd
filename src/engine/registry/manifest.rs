//! What is known about one version of a model, as it lies beside its weights.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject};
use crate::ml::features::Holidays;
use crate::ml::forecaster::{FitOptions, FitReport};
use crate::ml::hierarchy::Rollup;
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::{Frequency, Gaps, PanelReport, TimeKind};
use crate::ml::supervised::RowsReport;

const FORMAT: u32 = 1;

/// What a column is to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// Tells the series apart.
    Key,
    /// Orders the rows of a series.
    Time,
    /// Is predicted.
    Target,
    /// A covariate known for the future.
    Known,
    /// A covariate known only for the past.
    Past,
    /// A covariate that never changes within a series.
    Static,
    /// The country of a series, whose holidays the model sees.
    Holidays,
    /// What is told of a row follows from it.
    Feature,
    /// A text from which it follows.
    Text,
}

impl ModelRole {
    /// The roles of models of series, in the order in which they are told.
    pub const OF_SERIES: [Self; 8] = [
        Self::Key,
        Self::Time,
        Self::Target,
        Self::Known,
        Self::Past,
        Self::Static,
        Self::Text,
        Self::Holidays,
    ];
    /// Those of models of rows.
    pub const OF_ROWS: [Self; 3] = [Self::Target, Self::Feature, Self::Text];

    /// Those of models of sequences.
    pub const OF_SEQUENCES: [Self; 4] = [Self::Key, Self::Time, Self::Target, Self::Feature];

    /// The role in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Time => "time",
            Self::Target => "target",
            Self::Known => "known",
            Self::Past => "past",
            Self::Static => "static",
            Self::Holidays => "holidays",
            Self::Feature => "feature",
            Self::Text => "text",
        }
    }
}

/// What a model is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Forecasts the series that it was trained on.
    #[default]
    Forecast,
    /// A pretrained network that others begin with, and that forecasts rows which are given to it.
    Pretrained,
    /// Reads texts.
    Text,
    /// A pretrained network of sequences of events, which others begin with.
    Sequence,
    /// Tells classes of rows.
    Classification,
    /// Tells numbers of rows.
    Regression,
}

impl ModelKind {
    /// The kind in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Forecast => "forecast",
            Self::Pretrained => "pretrained",
            Self::Text => "text",
            Self::Sequence => "sequence",
            Self::Classification => "classification",
            Self::Regression => "regression",
        }
    }
}

/// A score that a model is known by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// One column that a model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRole {
    /// Its name.
    pub name: String,
    /// What it is to the model.
    pub role: ModelRole,
    /// Its Arrow type, written so that it parses back.
    pub data_type: String,
    /// True when the role was found from the data and not given in the statement.
    pub inferred: bool,
    /// Distinct values of a category.
    pub cardinality: Option<u64>,
    /// Rows without a value.
    pub missing: Option<u64>,
}

/// A file of an artifact with its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFile {
    /// Its name inside the artifact's directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// Everything about one version of a model besides its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the layout of the manifest's file.
    pub format: u32,
    /// The model's name.
    pub name: String,
    /// The version, counted from 1.
    pub version: u64,
    /// What it is for.
    #[serde(default)]
    pub kind: ModelKind,
    /// The word of its family.
    pub family: String,
    /// The score that it is known by, where that is not the MASE of its report.
    #[serde(default)]
    pub metric: Option<Metric>,
    /// The statement that trained it, in canonical form.
    pub sql: String,
    /// Steps it was trained to forecast.
    pub horizon: usize,
    /// Levels of its quantiles, ascending.
    pub quantile_levels: Vec<f64>,
    /// The columns it was trained on, in the order of its input.
    pub roles: Vec<ColumnRole>,
    /// Step of the time grid.
    pub frequency: Frequency,
    /// An instant that lies on the time grid.
    pub origin: i64,
    /// What the values of the time column are.
    pub time_kind: TimeKind,
    /// Steps of a season.
    pub season_length: usize,
    /// What a period without a row is.
    pub gaps: Gaps,
    /// Which keys are rolled up, of a model that forecasts sums of series too.
    #[serde(default)]
    pub hierarchy: Option<Rollup>,
    /// How forecasts of those are reconciled.
    #[serde(default)]
    pub reconciliation: Option<Reconciliation>,
    /// The holidays that it sees.
    #[serde(default)]
    pub holidays: Option<Holidays>,
    /// The pretrained model, and its version, that foundation models began with; `None` for the one that ships with
    /// the engine.
    #[serde(default)]
    pub base: Option<(String, u64)>,
    /// The text model, and its version, that reads the texts of series; `None` where their words are weighed.
    #[serde(default)]
    pub encoder: Option<(String, u64)>,
    /// The expressions of the columns that a model of rows reads, in its order.
    #[serde(default)]
    pub expressions: Vec<String>,
    /// How the fit of a model of rows went.
    #[serde(default)]
    pub rows: Option<RowsReport>,
    /// Of a model of sequences, the mean reciprocal rank of telling the most frequent events, and the share of what came next
    /// among the first ten that it tells.
    #[serde(default)]
    pub sequence: Option<(Option<f64>, Option<f64>)>,
    /// Seed of all randomness of the fit.
    pub seed: u64,
    /// Steps of history that a forecast reads; `None` means all of it.
    pub context_length: Option<usize>,
    /// The options of the fit.
    pub options: FitOptions,
    /// The tables that were read, with their versions.
    pub table_versions: Vec<(String, u64)>,
    /// What was found in the rows.
    pub panel: PanelReport,
    /// Log and scores of the fit.
    pub report: FitReport,
    /// Seconds from the first row to the finished weights.
    pub seconds: f64,
    /// The user's own words about the model.
    pub comment: Option<String>,
    /// When the training ended.
    #[serde(with = "instant")]
    pub created_at: DateTime<Utc>,
    /// The version of this program that trained it.
    pub engine_version: String,
    /// The active version at the time of the training.
    pub parent_version: Option<u64>,
    /// The files of the artifact.
    pub files: Vec<ArtifactFile>,
}

impl Manifest {
    /// A manifest with neutral values for everything but name and time.
    pub fn new(name: &str, created_at: DateTime<Utc>) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            version: 0,
            kind: ModelKind::default(),
            family: String::new(),
            metric: None,
            sql: String::new(),
            horizon: 0,
            quantile_levels: Vec::new(),
            roles: Vec::new(),
            frequency: Frequency::Days(1),
            origin: 0,
            time_kind: TimeKind::Date,
            season_length: 1,
            gaps: Gaps::default(),
            hierarchy: None,
            reconciliation: None,
            holidays: None,
            base: None,
            encoder: None,
            expressions: Vec::new(),
            rows: None,
            sequence: None,
            seed: 0,
            context_length: None,
            options: FitOptions::default(),
            table_versions: Vec::new(),
            panel: PanelReport::default(),
            report: FitReport::default(),
            seconds: 0.0,
            comment: None,
            created_at,
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            parent_version: None,
            files: Vec::new(),
        }
    }

    /// The score that it is known by.
    pub fn score(&self) -> Option<Metric> {
        let mase = || self.report.scores.mase.map(|value| Metric { name: "mase".to_owned(), value });
        self.metric.clone().or_else(mase)
    }

    /// The names of the keys.
    pub fn key_columns(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().filter(|c| c.role == ModelRole::Key).map(|c| c.name.as_str())
    }

    /// The name of the time.
    pub fn time_column(&self) -> &str {
        self.roles.iter().find(|c| c.role == ModelRole::Time).map_or("", |c| c.name.as_str())
    }

    /// The manifest as the bytes of its file; what cannot be read back is an error.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let broken =
            |e| Error::internal(format!("the manifest of model {} cannot be written: {e}", self.name));
        let bytes = serde_json::to_vec_pretty(self).map_err(broken)?;
        serde_json::from_slice::<Self>(&bytes).map_err(broken)?;
        Ok(bytes)
    }

    /// Reads the bytes of a manifest's file; `place` names it in errors.
    pub fn from_bytes(bytes: &[u8], place: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let broken = |e| Error::corrupt(Subject::File, format!("{place} is not a manifest: {e}"));
        let header: Header = serde_json::from_slice(bytes).map_err(broken)?;
        if header.format != FORMAT {
            let message = format!("{place} has format {}; this version reads format {FORMAT}", header.format);
            return Err(Error::unsupported(message).with_hint("open the database with a newer foretell"));
        }
        serde_json::from_slice(bytes).map_err(broken)
    }
}

/// Instants as RFC 3339 text.
mod instant {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?.to_utc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_reads_back_and_other_formats_are_refused() {
        let mut manifest = Manifest::new("m", DateTime::from_timestamp_nanos(1_700_000_000_123_456_789));
        manifest.roles.push(ColumnRole {
            name: "sale_date".to_owned(),
            role: ModelRole::Time,
            data_type: "Date32".to_owned(),
            inferred: false,
            cardinality: None,
            missing: Some(0),
        });
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(Manifest::from_bytes(&bytes, "m/manifest.json").unwrap(), manifest);
        let newer = String::from_utf8(bytes).unwrap().replace("\"format\": 1", "\"format\": 2");
        let error = Manifest::from_bytes(newer.as_bytes(), "m/manifest.json").unwrap_err();
        assert_eq!(error.message(), "m/manifest.json has format 2; this version reads format 1");
    }
}
