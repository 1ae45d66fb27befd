//! Options of TRAIN and PRETRAIN: raw pairs in, checked and typed options out.

mod pretrain;
mod refresh;
mod rows;
mod sequence;
mod text;

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result, Span, Subject, did_you_mean};
use crate::ml::device::Placement;
use crate::ml::forecaster::{Family, FitOptions};
use crate::ml::models::{Search, Space, Tuning, families_with, family_name, has_option};
use crate::ml::objective::OptimizerKind;

pub use pretrain::{PRETRAIN_OPTIONS, PretrainSettings, hidden};
pub use refresh::{REFRESH_OPTIONS, RefreshSettings};
pub use rows::{ROWS_OPTIONS, rows_options};
pub use sequence::{SEQUENCE_OPTIONS, SIZES, sequence_options};
pub use text::{TEXT_OPTIONS, TextSettings, text_objective};

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
    /// Each family of models has it, or is asked.
    general: bool,
    /// What it does, for completion and help.
    pub doc: &'static str,
}

const fn integer(name: &'static str, min: i64, max: i64, doc: &'static str) -> OptionSpec {
    OptionSpec { name, range: Range::Integer(min, max), general: false, doc }
}

const fn number(name: &'static str, min: f64, max: f64, doc: &'static str) -> OptionSpec {
    OptionSpec { name, range: Range::Number(min, max), general: false, doc }
}

const fn switch(name: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec { name, range: Range::Switch, general: true, doc }
}

const fn word(name: &'static str, read: fn(&str) -> Result<usize>, doc: &'static str) -> OptionSpec {
    OptionSpec { name, range: Range::Word(read), general: false, doc }
}

impl OptionSpec {
    /// Numbers on which what is learnt depends.
    fn is_tunable(&self) -> bool {
        !self.general && matches!(self.range, Range::Integer(..) | Range::Number(..))
    }

    /// The same option, for the families that have it.
    const fn of_some_families(self) -> Self {
        Self { general: false, ..self }
    }

    /// The same option, for every family of models.
    const fn of_every_family(self) -> Self {
        Self { general: true, ..self }
    }
}

/// Longest horizon in steps.
pub const HORIZON_MAX: i64 = 100_000;

/// The name of every level in `QUANTILES (…)`.
pub const QUANTILE: &str = "quantile";

const QUANTILES_DEFAULT: [f64; 3] = [0.05, 0.5, 0.95];

/// The keys of `WITH (…)`.
pub const OPTIONS: &[OptionSpec] = &[
    switch("background", "train beside other work; TRAIN returns the number of the job at once"),
    integer("batch_size", 1, 65_536, "training windows per step"),
    integer("context", 1, 65_536, "steps of history the model sees"),
    word("device", device, "where a network learns: auto, cpu or cuda; auto is a card for pretrained ones"),
    integer("dim", 4, 4_096, "width of hidden layers"),
    switch("distill", "learn from the forecasts of the model that FROM names, beside the rows")
        .of_some_families(),
    number("dropout", 0.0, 0.9, "share of hidden values dropped while training"),
    integer("early_stop", 1, 10_000, "epochs without improvement before training stops"),
    integer("epochs", 1, 100_000, "most passes over the training windows"),
    word("freeze", freeze, "what of a pretrained network stays as it is: none or encoder"),
    integer("heads", 1, 64, "heads of attention in a transformer"),
    integer("layers", 1, 64, "layers or blocks of a network"),
    integer("leaves", 2, 1_024, "leaves of a boosted tree"),
    number("learning_rate", 1e-8, 1.0, "peak learning rate"),
    integer(
        "lora_rank",
        1,
        256,
        "rank of what the matrices of a pretrained network learn, in place of all their numbers",
    ),
    number("max_seconds", 0.1, 1e7, "wall-clock budget of the training").of_every_family(),
    word("optimizer", optimizer, "what moves the parameters of a network: adamw or sgd"),
    integer("patch", 1, 4_096, "steps of a patch in a transformer"),
    number("replay", 0.0, 0.9, "share of made-up series among those that a pretrained network adapts by"),
    integer("season", 1, 100_000, "periods in a season, where the usual one of the frequency is wrong")
        .of_every_family(),
    integer("seed", 0, 1 << 53, "seed of all randomness").of_every_family(),
    integer("trees", 1, 10_000, "most trees of each booster"),
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

    /// It learns from the forecasts of the model that FROM names.
    pub fn distills(&self) -> bool {
        self.fit.distill
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
        check_families(&self.families, spec)?;
        match literal(&option.value) {
            Some(value) => self.set(spec.name, in_range(spec, &value)?),
            None if matches!(spec.name, "background" | "distill") => {
                let message =
                    format!("{} shapes the result and must be a literal in a prepared statement", spec.name);
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
            "background" => self.background = value != 0.0,
            name => self.fit.set(name, value),
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

/// Fails for an option that none of the families has.
fn check_families(families: &[Family], spec: &OptionSpec) -> Result<()> {
    if spec.general || families.iter().any(|family| has_option(*family, spec.name)) {
        return Ok(());
    }
    let names: Vec<&str> = families.iter().map(|family| family_name(*family)).collect();
    let has = |option: &str| families.iter().any(|family| has_option(*family, option));
    let taken: Vec<_> = OPTIONS.iter().map(|s| s.name).filter(|name| has(name)).collect();
    let (names, verbs) =
        (names.join(", "), if names.len() == 1 { ["has", "takes"] } else { ["have", "take"] });
    let message = format!("{names} {} no option {}", verbs[0], spec.name);
    Err(Error::input(Subject::Option, message).with_hint(format!(
        "{names} {} {}; {} ({}) is an option of {}",
        verbs[1],
        taken.join(", "),
        spec.name,
        spec.doc,
        families_with(spec.name).join(", ")
    )))
}

/// Most trials of a search.
const TRIALS_MAX: i64 = 10_000;
/// Trials where neither TRIALS nor a grid of no more says how many.
const TRIALS_DEFAULT: usize = 16;
/// Longest search in seconds.
const WITHIN_MAX: f64 = 1e7;

/// The values of an option in TUNE, as literals.
pub type Tried = (String, Option<Span>, TriedValues);

/// The literals of an option's values.
pub enum TriedValues {
    /// One of these.
    In(Vec<Expr>),
    /// Any between two.
    Between(Expr, Expr),
}

/// The rest of TUNE.
#[derive(Default)]
pub struct TuneBounds {
    /// `SEARCH`.
    pub search: Option<Search>,
    /// `TRIALS`.
    pub trials: Option<Expr>,
    /// `WITHIN`.
    pub within: Option<Expr>,
}

/// Reads and checks what TUNE asks for.
pub fn tuning(families: &[Family], tried: &[Tried], bounds: &TuneBounds) -> Result<Tuning> {
    let families = if families.is_empty() { &[Family::Auto][..] } else { families };
    let mut parameters = vec![];
    for (name, place, values) in tried {
        let parameter = space(families, name, values).map_err(|e| e.at(*place))?;
        parameters.push((name.clone(), parameter));
    }
    let trials = bounds.trials.as_ref().map(|n| whole_number("trials", n, 1, TRIALS_MAX)).transpose()?;
    let trials = trials.and_then(|n| usize::try_from(n).ok());
    let seconds = bounds.within.as_ref().map(seconds).transpose()?;
    let mut tuning = Tuning { parameters, trials: 0, search: Search::Random, seconds };
    let grid = tuning.combinations().filter(|n| *n <= trials.unwrap_or(4 * TRIALS_DEFAULT));
    tuning.search = bounds.search.unwrap_or(if grid.is_some() { Search::Grid } else { Search::Random });
    tuning.trials = match (tuning.search, tuning.combinations()) {
        (Search::Grid, None) => {
            let message = "SEARCH GRID tries every value of lists, and BETWEEN is none";
            return Err(Error::input(Subject::Option, message)
                .with_hint("write the values to try: layers IN (2, 3, 4); or SEARCH RANDOM"));
        }
        (Search::Grid, Some(all)) if trials.unwrap_or(TRIALS_MAX as usize) < all => {
            let message = format!("SEARCH GRID makes {all} trials of these lists, more than TRIALS allows");
            return Err(Error::input(Subject::Option, message)
                .with_hint("shorten the lists, raise TRIALS, or SEARCH RANDOM"));
        }
        (Search::Grid, Some(all)) => all,
        _ => trials.unwrap_or(TRIALS_DEFAULT),
    };
    Ok(tuning)
}

/// What one option of TUNE may be.
fn space(families: &[Family], name: &str, values: &TriedValues) -> Result<Space> {
    let spec = find(name)?;
    if !spec.is_tunable() {
        let tunable: Vec<_> = OPTIONS.iter().filter(|s| s.is_tunable()).map(|s| s.name).collect();
        return Err(Error::input(Subject::Option, format!("TUNE cannot search for {name}"))
            .with_hint(format!("it searches for {}", tunable.join(", "))));
    }
    check_families(families, spec)?;
    let value = |expr: &Expr| in_range(spec, &literal(expr).unwrap_or(ScalarValue::Null));
    Ok(match values {
        TriedValues::In(list) => {
            let mut list = list.iter().map(value).collect::<Result<Vec<_>>>()?;
            let mut seen: Vec<f64> = vec![];
            list.retain(|x| {
                !seen.contains(x) && {
                    seen.push(*x);
                    true
                }
            });
            Space::List(list)
        }
        TriedValues::Between(low, high) => {
            let (low, high) = (value(low)?, value(high)?);
            if low >= high {
                let message = format!("TUNE: {name} BETWEEN {low} AND {high} holds no values to choose from");
                return Err(Error::input(Subject::Option, message).with_hint("the lesser value stands first"));
            }
            let whole = matches!(spec.range, Range::Integer(..));
            let logarithmic = matches!(name, "learning_rate" | "weight_decay");
            Space::Range { low, high, whole, logarithmic }
        }
    })
}

/// The seconds of an interval.
fn seconds(expr: &Expr) -> Result<f64> {
    let value = literal(expr).unwrap_or(ScalarValue::Null);
    let seconds = match &value {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months == 0 => {
            Some(f64::from(i.days) * 86_400.0 + i.nanoseconds as f64 / 1e9)
        }
        ScalarValue::IntervalDayTime(Some(i)) => {
            Some(f64::from(i.days) * 86_400.0 + f64::from(i.milliseconds) / 1e3)
        }
        _ => None,
    };
    seconds.filter(|s| *s > 0.0 && *s <= WITHIN_MAX).ok_or_else(|| {
        Error::input(Subject::Option, format!("WITHIN takes an interval of days or less, got {value}"))
            .with_hint("WITHIN INTERVAL '5 minutes'")
    })
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

/// The literals of a statement's options, each with its name, checked one by one.
fn checked(specs: &'static [OptionSpec], raw: &[(String, Expr)]) -> Result<Vec<(&'static str, f64)>> {
    let check = |(name, value): &(String, Expr)| {
        let unknown = || Error::internal(format!("{name} is no option of this statement"));
        let spec = specs.iter().find(|spec| spec.name == name).ok_or_else(unknown)?;
        Ok((spec.name, in_range(spec, &literal(value).unwrap_or(ScalarValue::Null))?))
    };
    raw.iter().map(check).collect()
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

/// The place of a word for a device.
fn device(word: &str) -> Result<usize> {
    let words = Placement::ALL.map(Placement::word);
    words.iter().position(|known| known.eq_ignore_ascii_case(word)).ok_or_else(|| {
        let message = format!("unknown device {word}{}", did_you_mean(word, words));
        Error::input(Subject::Option, message).with_hint("device is one of auto, cpu, cuda")
    })
}

/// 1 where the encoder is frozen.
fn freeze(word: &str) -> Result<usize> {
    const WORDS: [&str; 2] = ["none", "encoder"];
    WORDS.iter().position(|known| known.eq_ignore_ascii_case(word)).ok_or_else(|| {
        let message = format!("unknown word {word} for freeze{}", did_you_mean(word, WORDS));
        Error::input(Subject::Option, message)
    })
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
    let value = literal(expr).ok_or_else(|| {
        Error::input(
            Subject::Option,
            format!("{name} must be a literal: a statement is planned before its parameters have values"),
        )
    })?;
    whole(name, &value, min, max).map(|n| n as i64)
}

/// Checks `horizon`.
pub fn horizon(expr: &Expr) -> Result<usize> {
    whole_number("horizon", expr, 1, HORIZON_MAX).map(|n| n as usize)
}
