//! Functions of one date, whatever type of date or timestamp it comes as.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use chrono::NaiveDate;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Date32Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Subject};

/// What a function makes of a date.
#[derive(Debug, Clone, Copy)]
pub enum OfDate {
    /// A whole number, or NULL.
    Number(fn(NaiveDate) -> Option<i32>),
    /// True or false.
    Truth(fn(NaiveDate) -> bool),
}

/// A function of one date; NULL gives NULL.
#[derive(Debug)]
pub struct DateFunction {
    /// Its SQL name.
    pub name: &'static str,
    /// What it tells, in one sentence.
    pub description: &'static str,
    /// A statement that runs as it stands.
    pub sql_example: &'static str,
    /// Its value.
    pub value: OfDate,
}

impl DateFunction {
    /// The function for the SQL engine.
    pub fn into_udf(self) -> ScalarUDF {
        let section = DocSection { include: true, label: "Calendar", description: None };
        let documentation = Documentation::builder(section, self.description, format!("{}(date)", self.name))
            .with_sql_example(self.sql_example)
            .with_argument("date", "a date or timestamp")
            .build();
        ScalarUDF::new_from_impl(DateUdf {
            function: self,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation,
        })
    }
}

#[derive(Debug)]
struct DateUdf {
    function: DateFunction,
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for DateUdf {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for DateUdf {}

impl Hash for DateUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for DateUdf {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType::{Date32, Date64, LargeUtf8, Null, Timestamp, Utf8, Utf8View};
        match arg_types {
            [Timestamp(..)] => Ok(arg_types.to_vec()),
            [Date32 | Date64 | Utf8 | LargeUtf8 | Utf8View | Null] => Ok(vec![Date32]),
            _ => {
                let types: Vec<_> = arg_types.iter().map(ToString::to_string).collect();
                let name = self.function.name;
                let message = format!("{name} takes one date or timestamp, got ({})", types.join(", "));
                Err(Error::input(Subject::Function, message).into())
            }
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.function.value {
            OfDate::Number(_) => DataType::Int32,
            OfDate::Truth(_) => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let dates =
            cast(&args.args[0].to_array(if scalar { 1 } else { args.number_rows })?, &DataType::Date32)?;
        let dates = dates.as_primitive::<Date32Type>();
        let dates = (0..dates.len()).map(|i| if dates.is_null(i) { None } else { dates.value_as_date(i) });
        let values: ArrayRef = match self.function.value {
            OfDate::Number(number) => Arc::new(dates.map(|d| d.and_then(number)).collect::<Int32Array>()),
            OfDate::Truth(truth) => Arc::new(dates.map(|d| d.map(truth)).collect::<BooleanArray>()),
        };
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::functions::scalar::{
        days_in_month, easter_offset, is_month_end, is_weekend, iso_week,
    };

    #[test]
    fn calendar_facts_of_known_days() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
        let number = |f: DateFunction, date| match f.value {
            OfDate::Number(number) => number(date),
            OfDate::Truth(truth) => Some(i32::from(truth(date))),
        };
        assert_eq!(number(is_weekend::IS_WEEKEND, day(2024, 6, 1)), Some(1));
        assert_eq!(number(is_weekend::IS_WEEKEND, day(2024, 6, 3)), Some(0));
        assert_eq!(number(iso_week::ISO_WEEK, day(2021, 1, 3)), Some(53));
        assert_eq!(number(iso_week::ISO_WEEK, day(2024, 12, 30)), Some(1));
        assert_eq!(number(days_in_month::DAYS_IN_MONTH, day(2024, 2, 10)), Some(29));
        assert_eq!(number(days_in_month::DAYS_IN_MONTH, day(1900, 2, 10)), Some(28));
        assert_eq!(number(is_month_end::IS_MONTH_END, day(2023, 2, 28)), Some(1));
        assert_eq!(number(is_month_end::IS_MONTH_END, day(2024, 2, 28)), Some(0));
        assert_eq!(number(easter_offset::EASTER_OFFSET, day(2024, 3, 29)), Some(-2));
        assert_eq!(number(easter_offset::EASTER_OFFSET, day(2024, 5, 9)), Some(39));
    }
}
