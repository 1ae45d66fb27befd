//! Functions of a date and the code of a country, about its public holidays.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use chrono::Datelike;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Date32Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result as OurResult, Subject};
use crate::ml::holidays::{Calendar, date_of_day, parse_country};

/// What a function makes of a day and the holidays of a country.
#[derive(Debug, Clone, Copy)]
pub enum OfHoliday {
    /// True or false.
    Truth(fn(&Calendar, i32) -> bool),
    /// A number of days, or NULL.
    Days(fn(&Calendar, i32) -> Option<i32>),
    /// A name, or NULL.
    Name(fn(&Calendar, i32) -> Option<&str>),
}

/// A function of a date and a country; NULL gives NULL.
#[derive(Debug)]
pub struct HolidayFunction {
    /// Its SQL name.
    pub name: &'static str,
    /// What it tells, in one sentence.
    pub description: &'static str,
    /// A statement that runs as it stands.
    pub sql_example: &'static str,
    /// Its value.
    pub value: OfHoliday,
}

impl HolidayFunction {
    /// The function for the SQL engine.
    pub fn into_udf(self) -> ScalarUDF {
        let section = DocSection { include: true, label: "Calendar", description: None };
        let usage = format!("{}(date, country)", self.name);
        let documentation = Documentation::builder(section, self.description, usage)
            .with_sql_example(self.sql_example)
            .with_argument("date", "a date or timestamp")
            .with_argument("country", "the ISO 3166 code of a country, such as 'DE'")
            .build();
        ScalarUDF::new_from_impl(HolidayUdf {
            function: self,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation,
        })
    }
}

#[derive(Debug)]
struct HolidayUdf {
    function: HolidayFunction,
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for HolidayUdf {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for HolidayUdf {}

impl Hash for HolidayUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for HolidayUdf {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType::{Date32, Date64, LargeUtf8, Null, Timestamp, Utf8, Utf8View};
        match arg_types {
            [Timestamp(..), Utf8 | LargeUtf8 | Utf8View | Null] => Ok(vec![arg_types[0].clone(), Utf8]),
            [Date32 | Date64 | Utf8 | LargeUtf8 | Utf8View | Null, Utf8 | LargeUtf8 | Utf8View | Null] => {
                Ok(vec![Date32, Utf8])
            }
            _ => {
                let types: Vec<_> = arg_types.iter().map(ToString::to_string).collect();
                let (name, types) = (self.function.name, types.join(", "));
                let message =
                    format!("{name} takes a date and the code of a country, such as 'DE', got ({types})");
                Err(Error::input(Subject::Function, message).into())
            }
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.function.value {
            OfHoliday::Truth(_) => DataType::Boolean,
            OfHoliday::Days(_) => DataType::Int32,
            OfHoliday::Name(_) => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let days = cast(&args.args[0].to_array(rows)?, &DataType::Date32)?;
        let countries = cast(&args.args[1].to_array(rows)?, &DataType::Utf8)?;
        let (days, countries) = (days.as_primitive::<Date32Type>(), countries.as_string::<i32>());
        let given = |row: usize| {
            (days.is_valid(row) && countries.is_valid(row)).then(|| (days.value(row), countries.value(row)))
        };
        let mut calendars = Calendars::default();
        for (day, country) in (0..rows).filter_map(given) {
            calendars.learn(day, country)?;
        }
        let of = |row: usize| given(row).map(|(day, country)| (calendars.get(country), day));
        let values: ArrayRef = match self.function.value {
            OfHoliday::Truth(truth) => {
                Arc::new((0..rows).map(|row| of(row).map(|(c, day)| truth(c, day))).collect::<BooleanArray>())
            }
            OfHoliday::Days(days) => Arc::new(
                (0..rows).map(|row| of(row).and_then(|(c, day)| days(c, day))).collect::<Int32Array>(),
            ),
            OfHoliday::Name(name) => Arc::new(
                (0..rows).map(|row| of(row).and_then(|(c, day)| name(c, day))).collect::<StringArray>(),
            ),
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

/// The calendars of the countries that occur, for the years that occur and those beside them.
#[derive(Default)]
struct Calendars {
    places: HashMap<String, usize>,
    known: Vec<(Calendar, std::collections::BTreeSet<i32>)>,
    nothing: Calendar,
}

impl Calendars {
    fn learn(&mut self, day: i32, code: &str) -> OurResult<()> {
        let place = match self.places.get(code) {
            Some(place) => *place,
            None => {
                parse_country(code)?;
                self.known.push(Default::default());
                self.places.insert(code.to_owned(), self.known.len() - 1);
                self.known.len() - 1
            }
        };
        let Some(year) = date_of_day(day).map(|date| date.year()) else { return Ok(()) };
        let (calendar, years) = &mut self.known[place];
        if years.contains(&year) {
            return Ok(());
        }
        let country = parse_country(code)?;
        for near in (year - 1..=year + 1).filter(|near| !years.contains(near)) {
            calendar.add_country(country, near..=near);
        }
        years.insert(year);
        Ok(())
    }

    fn get(&self, code: &str) -> &Calendar {
        self.places.get(code).map_or(&self.nothing, |place| &self.known[*place].0)
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;
    use crate::ml::holidays::day_number;

    #[test]
    fn years_beside_those_of_the_rows_are_known() {
        let mut calendars = Calendars::default();
        let day = |y, m, d| day_number(NaiveDate::from_ymd_opt(y, m, d).unwrap());
        calendars.learn(day(2024, 12, 30), "de").unwrap();
        assert_eq!(calendars.get("de").days_to(day(2024, 12, 30)), Some(2));
        assert_eq!(calendars.get("de").days_since(day(2024, 1, 1)), Some(0));
        assert_eq!(calendars.get("de").days_since(day(2023, 12, 31)), Some(5));
        assert!(calendars.learn(0, "XX").is_err());
    }
}
