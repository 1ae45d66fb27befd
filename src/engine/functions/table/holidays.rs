//! `holidays(country, from, to)`: the public holidays of a country as rows.

use std::sync::Arc;

use chrono::Datelike;
use datafusion::arrow::array::{BooleanArray, Date32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::error::{Error, Result, Subject};
use crate::ml::holidays::{Country, Holiday, date_of_day, day_number};

/// Most years that one call may span.
const YEARS_MAX: i32 = 1000;

/// The holidays of countries between two days, both included, in days since 1970-01-01.
pub fn holidays(countries: &[&'static Country], first: i32, last: i32) -> Result<RecordBatch> {
    let year = |day: i32| date_of_day(day).map(|date| date.year());
    let (Some(begin), Some(end)) = (year(first), year(last)) else {
        return Err(Error::input(Subject::Option, "holidays: from and to must be dates of the calendar"));
    };
    if end - begin > YEARS_MAX {
        let message = format!("holidays spans {} years; the limit is {YEARS_MAX}", end - begin);
        return Err(Error::input(Subject::Option, message));
    }
    let mut found: Vec<(&Country, Holiday)> = vec![];
    for country in countries {
        let all = (begin..=end).flat_map(|year| country.of_year(year));
        let within = all.filter(|holiday| (first..=last).contains(&day_number(holiday.date)));
        found.extend(within.map(|holiday| (*country, holiday)));
    }
    let dates: Date32Array = found.iter().map(|(_, holiday)| Some(day_number(holiday.date))).collect();
    let names: StringArray = found.iter().map(|(_, holiday)| Some(holiday.title())).collect();
    let codes: StringArray = found.iter().map(|(country, _)| Some(country.code)).collect();
    let observed: BooleanArray = found.iter().map(|(_, holiday)| Some(holiday.observed)).collect();
    let schema = Schema::new(vec![
        Field::new("holiday_date", DataType::Date32, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("country", DataType::Utf8, false),
        Field::new("observed", DataType::Boolean, false),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(dates), Arc::new(names), Arc::new(codes), Arc::new(observed)],
    )
    .map_err(|e| Error::internal(e.to_string()))
}
