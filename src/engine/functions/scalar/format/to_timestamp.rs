//! `to_date(text, pattern)` and `to_timestamp(text, pattern)`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Date32Array, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions::datetime;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::moment::instant_of;
use super::pattern::{Part, parts};
use super::reading::read;
use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::error::Error;

/// A function that reads a text by a pattern; with one argument, or with patterns that have `%`, it is DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FromText {
    date: bool,
    signature: Signature,
    strftime: Arc<ScalarUDF>,
}

impl FromText {
    /// `to_date`.
    pub fn to_date() -> Self {
        Self { date: true, strftime: datetime::to_date(), signature: signature() }
    }

    /// `to_timestamp`.
    pub fn to_timestamp() -> Self {
        let mut options = ConfigOptions::default();
        options.execution.time_zone = Some("UTC".to_owned());
        Self { date: false, strftime: datetime::to_timestamp(&options), signature: signature() }
    }

    fn value_type(&self) -> DataType {
        if self.date {
            return DataType::Date32;
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    fn read(&self, texts: &ArrayRef, patterns: &ArrayRef, zone: &str) -> Result<ArrayRef> {
        let (texts, patterns) = (texts.as_string::<i32>(), patterns.as_string::<i32>());
        let mut known: Option<(&str, Vec<Part>)> = None;
        let mut values = Vec::with_capacity(texts.len());
        for (text, pattern) in texts.iter().zip(patterns) {
            let (Some(text), Some(pattern)) = (text, pattern) else {
                values.push(None);
                continue;
            };
            let parts = match known.take() {
                Some((before, parts)) if before == pattern => parts,
                _ => parts(pattern),
            };
            let (at, offset) = read(text, &parts)?;
            values.push(Some(match self.date {
                true => i64::from(days(at.date())),
                false => instant_of(at, offset, zone).ok_or_else(|| Error::data("timestamp out of range"))?,
            }));
            known = Some((pattern, parts));
        }
        Ok(match self.date {
            true => {
                let days = values.into_iter().map(|value| value.and_then(|days| i32::try_from(days).ok()));
                Arc::new(days.collect::<Date32Array>())
            }
            false => Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")),
        })
    }
}

fn days(date: chrono::NaiveDate) -> i32 {
    chrono::Datelike::num_days_from_ce(&date) - 719_163
}

fn signature() -> Signature {
    // A text without a zone is in the session's.
    Signature::user_defined(Volatility::Stable)
}

fn is_text(data_type: &DataType) -> bool {
    data_type.is_string() || data_type.is_null()
}

impl ScalarUDFImpl for FromText {
    fn name(&self) -> &str {
        self.strftime.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(match arg_types {
            [text, pattern] if is_text(text) && is_text(pattern) => vec![DataType::Utf8; 2],
            others => others.to_vec(),
        })
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [text, pattern] if is_text(text) && is_text(pattern) => Ok(self.value_type()),
            others => self.strftime.return_type(others),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, pattern] = args.args.as_slice() else { return self.strftime.invoke_with_args(args) };
        if !is_text(&text.data_type()) || !is_text(&pattern.data_type()) {
            return self.strftime.invoke_with_args(args);
        }
        let rows = rows(&args);
        let patterns = pattern.to_array(rows)?;
        if patterns.as_string::<i32>().iter().flatten().any(|pattern| pattern.contains('%')) {
            return self.strftime.invoke_with_args(args)?.cast_to(&self.value_type(), None);
        }
        let zone = args.config_options.execution.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        let values = self.read(&text.to_array(rows)?, &patterns, &zone)?;
        answer(values, is_one(&args))
    }
}
