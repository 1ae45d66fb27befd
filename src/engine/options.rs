//! Options of TRAIN: raw pairs in, checked and typed options out.

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result, Span, Subject, did_you_mean};
use crate::ml::forecaster::{Family, FitOptions};
use crate::ml::models::family_name;
use crate::ml::objective::OptimizerKind;

/// How a value is read and which values are allowed.
#[derive(Debug, Clone, Copy)]
enum Range {
    Integer(i64, i64),
    /// Inclusive bounds.
    Number(f64, f64),
    /// True or false.
    Switch,
    /// One of a few words, told by its place among them.
    Word(fn(&str) -> Result<usize>),
}

/// One option: its name, range and meaning.
#[derive(Debug)]
pub struct OptionSpec {
    /// The word before `=`.
    pub name: &'static str,
    range: Range,
    /// Only networks have it.
    network: bool,
    /// What it does, for completion and help.
    pub doc: &'static str,
}

const fn integer(name: &'static str, min: i64, max: i64, doc: &'static str) -> OptionSpec {
    OptionSpec { name, range: Range::Integer(min, max), network: true, doc }
}

const fn number(name: &'static str, min: f64, max: f64, doc: &'static str) -> OptionSpec {
    OptionSpec { name, range: Range::Number(min, max), network: true, doc }
}

const fn switch(name: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec { name, range: Range::Switch, network: false, doc }
}

const fn word(name: &'static str, read: fn(&str) -> Result<usize>, doc: &'static str) -> OptionSpec {
    OptionSpec { name, range: Range::Word(read), network: true, doc }
}

impl OptionSpec {
    /// The same option, for every family of models.
    const fn of_every_family(self) -> Self {
        Self { network: false, ..self }
    }
}

/// Longest horizon in steps.
const HORIZON_MAX: i64 = 100_000;

/// The name of every level in `QUANTILES (…)`.
pub const QUANTILE: &str = "quantile";

const QUANTILES_DEFAULT: [f64; 3] = [0.05, 0.5, 0.95];

/// The keys of `WITH (…)`.
pub const OPTIONS: &[OptionSpec] = &[
    switch("background", "train beside other work; TRAIN returns the number of the job at once"),
    integer("batch_size", 1, 65_536, "training windows per step"),
    integer("context", 1, 65_536, "steps of history the model sees"),
    integer("dim", 4, 4_096, "width of hidden layers"),
    number("dropout", 0.0, 0.9, "share of hidden values dropped while training"),
    integer("early_stop", 1, 10_000, "epochs without improvement before training stops"),
    integer("epochs", 1, 100_000, "most passes over the training windows"),
    integer("heads", 1, 64, "heads of attention in a transformer"),
    integer("layers", 1, 64, "layers or blocks of a network"),
    number("learning_rate", 1e-8, 1.0, "peak learning rate"),
    number("max_seconds", 0.1, 1e7, "wall-clock budget of the training").of_every_family(),
    word("optimizer", optimizer, "what moves the parameters of a network: adamw or sgd"),
    integer("patch", 1, 4_096, "steps of a patch in a transformer"),
    integer("season", 1, 100_000, "periods in a season, where the usual one of the frequency is wrong")
        .of_every_family(),
    integer("seed", 0, 1 << 53, "seed of all randomness").of_every_family(),
    number("weight_decay", 0.0, 1.0, "decoupled weight decay"),
];

/// The clause values that are not keys of `WITH`.
const CLAUSES: &[OptionSpec] = &[
    integer("horizon", 1, HORIZON_MAX, "steps to forecast").of_every_family(),
    integer(
        "validate",
        1,
        HORIZON_MAX,
        "steps held out at the end of every series, in windows of the horizon",
    )
    .of_every_family(),
];

/// One raw value: a name, a literal or parameter, and its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawOption {
    /// The name as written, in lower case.
    pub name: String,
    /// Its value.
    pub value: Expr,
    /// Where it stands.
    pub place: Option<Span>,
}

/// The options of one TRAIN, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Families of models, combined where there are several.
    pub families: Vec<Family>,
    /// Steps to forecast; `None` takes the usual horizon of the frequency.
    pub horizon: Option<usize>,
    /// Steps held out; `None` holds out as many windows of the horizon as the histories allow.
    pub validation_length: Option<usize>,
    /// Periods in a season; `None` takes the usual one of the frequency.
    pub season_length: Option<usize>,
    /// Levels to learn.
    pub quantile_levels: Vec<f64>,
    /// Train beside other work.
    pub background: bool,
    fit: FitOptions,
}

impl TrainOptions {
    /// Options of a fit with this horizon.
    pub fn fit_options(&self, horizon: usize) -> FitOptions {
        FitOptions {
            horizon,
            validation_length: self.validation_length,
            quantile_levels: self.quantile_levels.clone(),
            ..self.fit.clone()
        }
    }

    /// Reads and checks raw options; parameters that have no value yet are skipped.
    pub fn check(families: &[Family], raw: &[RawOption]) -> Result<Self> {
        let mut options = Self {
            families: if families.is_empty() { vec![Family::Auto] } else { families.to_vec() },
            horizon: None,
            validation_length: None,
            season_length: None,
            quantile_levels: vec![],
            background: false,
            fit: default_fit(),
        };
        for option in raw {
            options.read(option).map_err(|e| e.at(option.place))?;
        }
        if options.quantile_levels.is_empty() {
            options.quantile_levels = QUANTILES_DEFAULT.to_vec();
        }
        options.quantile_levels = ascending(options.quantile_levels);
        Ok(options)
    }

    fn read(&mut self, option: &RawOption) -> Result<()> {
        if option.name == QUANTILE {
            self.quantile_levels.extend(literal(&option.value).map(|_| level(&option.value)).transpose()?);
            return Ok(());
        }
        let spec = find(&option.name)?;
        if let (true, [family]) = (spec.network, self.families.as_slice())
            && !matches!(family, Family::Tide | Family::Auto)
        {
            return Err(not_of(*family, spec));
        }
        match literal(&option.value) {
            Some(value) => self.set(spec.name, in_range(spec, &value)?),
            None if spec.name == "background" => {
                let message = "background shapes the result and must be a literal in a prepared statement";
                return Err(Error::input(Subject::Option, message));
            }
            None => {}
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: f64) {
        let count = Some(value as usize);
        match name {
            "horizon" => self.horizon = count,
            "validate" => self.validation_length = count,
            "season" => self.season_length = count,
            "context" => self.fit.context_length = count,
            "epochs" => self.fit.epochs = count,
            "batch_size" => self.fit.batch_size = count,
            "dim" => self.fit.hidden_size = count,
            "layers" => self.fit.layers = count,
            "heads" => self.fit.heads = count,
            "patch" => self.fit.patch_length = count,
            "early_stop" => self.fit.early_stop = count,
            "background" => self.background = value != 0.0,
            "seed" => self.fit.seed = value as u64,
            "learning_rate" => self.fit.learning_rate = Some(value),
            "optimizer" => self.fit.optimizer = OptimizerKind::ALL.get(value as usize).copied(),
            "weight_decay" => self.fit.weight_decay = Some(value),
            "dropout" => self.fit.dropout = Some(value),
            _ => self.fit.max_seconds = Some(value),
        }
    }
}

fn default_fit() -> FitOptions {
    FitOptions { horizon: 1, seed: 1, ..FitOptions::default() }
}

fn find(name: &str) -> Result<&'static OptionSpec> {
    OPTIONS.iter().chain(CLAUSES).find(|s| s.name == name).ok_or_else(|| {
        let names = OPTIONS.iter().map(|s| s.name);
        let suggestion = did_you_mean(name, names.clone());
        Error::input(Subject::Option, format!("unknown option {name}{suggestion}"))
            .with_hint(format!("options: {}", names.collect::<Vec<_>>().join(", ")))
    })
}

/// The error for an option of networks that is given to another family.
fn not_of(family: Family, spec: &OptionSpec) -> Error {
    let taken: Vec<_> = OPTIONS.iter().filter(|s| !s.network).map(|s| s.name).collect();
    let (family, network) = (family_name(family), family_name(Family::Tide));
    Error::input(Subject::Option, format!("{family} has no option {}", spec.name)).with_hint(format!(
        "{family} takes {}; {} ({}) is an option of {network}",
        taken.join(", "),
        spec.name,
        spec.doc
    ))
}

/// The type of an option's parameter.
pub fn type_of(name: &str) -> DataType {
    match OPTIONS.iter().chain(CLAUSES).find(|spec| spec.name == name).map(|spec| spec.range) {
        Some(Range::Integer(..)) => DataType::Int64,
        Some(Range::Switch) => DataType::Boolean,
        Some(Range::Word(_)) => DataType::Utf8,
        Some(Range::Number(..)) | None => DataType::Float64,
    }
}

/// The value of a literal or bound parameter; `None` for a parameter without a value.
fn literal(expr: &Expr) -> Option<ScalarValue> {
    match expr.clone().unalias() {
        Expr::Literal(value, _) => Some(value),
        Expr::Negative(inner) => literal(&inner).and_then(|v| v.arithmetic_negate().ok()),
        Expr::Placeholder(_) => None,
        _ => Some(ScalarValue::Null),
    }
}

fn in_range(spec: &OptionSpec, value: &ScalarValue) -> Result<f64> {
    let checked = match spec.range {
        Range::Integer(min, max) => whole(spec.name, value, min, max),
        Range::Switch => match value {
            ScalarValue::Boolean(Some(on)) => Ok(f64::from(u8::from(*on))),
            _ => Err(Error::input(
                Subject::Option,
                format!("{} must be true or false, got {value}", spec.name),
            )),
        },
        Range::Word(read) => match value.try_as_str() {
            Some(Some(word)) => read(word).map(|place| place as f64),
            _ => Err(Error::input(Subject::Option, format!("{} must be a word, got {value}", spec.name))),
        },
        Range::Number(min, max) => as_number(value).filter(|n| *n >= min && *n <= max).ok_or_else(|| {
            let message = format!("{} must be a number from {min} to {max}, got {value}", spec.name);
            Error::input(Subject::Option, message)
        }),
    };
    checked.map_err(|e| e.with_hint(format!("{}: {}", spec.name, spec.doc)))
}

/// The place of an optimiser among all of them.
fn optimizer(word: &str) -> Result<usize> {
    OptimizerKind::parse(word).map(|kind| kind as usize)
}

fn whole(name: &str, value: &ScalarValue, min: i64, max: i64) -> Result<f64> {
    let number = as_number(value).filter(|n| n.fract() == 0.0 && *n >= min as f64 && *n <= max as f64);
    number.ok_or_else(|| {
        let message = format!("{name} must be a whole number from {min} to {max}, got {value}");
        Error::input(Subject::Option, message)
    })
}

fn as_number(value: &ScalarValue) -> Option<f64> {
    if !value.data_type().is_numeric() {
        return None;
    }
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(number))) if number.is_finite() => Some(number),
        _ => None,
    }
}

/// A quantile level, between 0 and 1.
pub fn level(expr: &Expr) -> Result<f64> {
    let value = literal(expr).unwrap_or(ScalarValue::Null);
    as_number(&value).filter(|l| *l > 0.0 && *l < 1.0).ok_or_else(|| {
        Error::input(Subject::Option, format!("quantile levels must be between 0 and 1, got {value}"))
    })
}

/// An interval level, 90 or 0.9, as a share.
pub fn interval_level(expr: &Expr) -> Result<f64> {
    let value = literal(expr).unwrap_or(ScalarValue::Null);
    let level = as_number(&value).map(|l| if l >= 1.0 { l / 100.0 } else { l });
    level.filter(|l| *l > 0.0 && *l < 1.0).ok_or_else(|| {
        Error::input(Subject::Option, format!("level must be between 0 and 100, got {value}"))
            .with_hint("level => 90 gives the interval that holds 90 % of the outcomes")
    })
}

/// Levels in ascending order, each once.
pub fn ascending(mut levels: Vec<f64>) -> Vec<f64> {
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    levels
}

/// A named argument that is a whole number in a range.
pub fn whole_number(name: &str, expr: &Expr, min: i64, max: i64) -> Result<i64> {
    let value = literal(expr).ok_or_else(|| Error::input(Subject::Option, format!("{name} has no value")))?;
    whole(name, &value, min, max).map(|n| n as i64)
}

/// Checks `horizon`.
pub fn horizon(expr: &Expr) -> Result<usize> {
    whole_number("horizon", expr, 1, HORIZON_MAX).map(|n| n as usize)
}
