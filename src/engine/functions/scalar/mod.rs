//! Scalar functions: calendar, prices, and PostgreSQL's where DataFusion's differ.

mod age;
mod answer;
mod argument_types;
mod arithmetic;
mod array_has;
mod coalesce;
mod cosine_similarity;
mod date;
mod days_between;
mod days_in_month;
mod days_since_holiday;
mod days_to_holiday;
mod discount_pct;
mod div;
mod easter_offset;
mod embed;
mod format;
mod formatted;
mod formula;
mod from_text;
mod holiday;
mod holiday_name;
mod interval;
mod interval_length;
mod is_holiday;
mod is_month_end;
mod is_weekend;
mod isfinite;
mod iso_week;
mod justify;
mod make_interval;
mod make_timestamp;
mod num_nulls;
mod operator;
mod pg_sleep;
mod pg_typeof;
mod quoted;
mod random;
mod regexp_flags;
mod regexp_pieces;
mod regexp_replace;
mod regexp_search;
mod rint;
mod row_key;
mod scale;
mod similar_to_escape;
mod single_value;
mod text;
mod textcat;
mod timezone;
mod to_hex;
mod told_apart;
mod width_bucket;
mod zero;

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use crate::engine::functions::scalar::justify::Parts;

pub use arithmetic::Operation;
pub use format::instant_text;
pub use formatted::formatted_bytes;
pub use formula::{first_number, joined};
pub use from_text::is_read_otherwise;
pub use interval::Scaling;
pub use interval_length::micros_of_interval;
pub use operator::operator;
pub use quoted::{quoted_name, quoted_text};
pub use random::SeededNumbers;
pub use regexp_flags::at_all_characters;
pub use text::is_written_otherwise;
pub use zero::round_to_one_zero;

/// The function behind `interval * number` or `interval / number`.
pub fn scaled_interval(scaling: Scaling) -> ScalarUDF {
    ScalarUDF::new_from_impl(interval::ScaledInterval::new(scaling))
}

/// The function behind an operator between numbers.
pub fn arithmetic(operation: Operation) -> ScalarUDF {
    ScalarUDF::new_from_impl(arithmetic::Arithmetic::new(operation))
}

/// An instant as the clocks of a zone show it, and back.
pub fn timezone() -> ScalarUDF {
    ScalarUDF::new_from_impl(timezone::Timezone::new())
}

/// The bytes by which rows are told apart.
pub fn row_key() -> ScalarUDF {
    ScalarUDF::new_from_impl(row_key::RowKey::default())
}

/// The function behind `round(x)` of a float.
pub fn rint() -> ScalarUDF {
    ScalarUDF::new_from_impl(rint::Rint::default())
}

/// The function behind the difference of two dates.
pub fn days_between() -> ScalarUDF {
    ScalarUDF::new_from_impl(days_between::DaysBetween::default())
}

/// The length by which intervals are compared.
pub fn interval_length() -> ScalarUDF {
    ScalarUDF::new_from_impl(interval_length::IntervalLength::default())
}

/// The function behind a cast of text to this type.
pub fn from_text(target: DataType) -> ScalarUDF {
    ScalarUDF::new_from_impl(from_text::FromText::to(target))
}

/// The function behind a cast to this type of text.
pub fn text(target: DataType) -> ScalarUDF {
    ScalarUDF::new_from_impl(text::Text::to(target))
}

/// The function behind `a || b` of texts.
pub fn textcat() -> ScalarUDF {
    ScalarUDF::new_from_impl(textcat::Textcat::default())
}

/// Every scalar function, one line each.
pub fn all() -> Vec<ScalarUDF> {
    let mut functions = format::all();
    functions.extend(regexp_search::all());
    functions.extend([
        is_weekend::IS_WEEKEND.into_udf(),
        iso_week::ISO_WEEK.into_udf(),
        days_in_month::DAYS_IN_MONTH.into_udf(),
        is_month_end::IS_MONTH_END.into_udf(),
        easter_offset::EASTER_OFFSET.into_udf(),
        is_holiday::IS_HOLIDAY.into_udf(),
        holiday_name::HOLIDAY_NAME.into_udf(),
        days_to_holiday::DAYS_TO_HOLIDAY.into_udf(),
        days_since_holiday::DAYS_SINCE_HOLIDAY.into_udf(),
        ScalarUDF::new_from_impl(cosine_similarity::CosineSimilarity::new()),
        ScalarUDF::new_from_impl(discount_pct::DiscountPct::new()),
        ScalarUDF::new_from_impl(embed::Embed::new()),
        ScalarUDF::new_from_impl(age::Age::default()),
        ScalarUDF::new_from_impl(array_has::ArrayHas::default()),
        days_between(),
        ScalarUDF::new_from_impl(div::Div::default()),
        ScalarUDF::new_from_impl(formatted::Formatted::default()),
        ScalarUDF::new_from_impl(isfinite::IsFinite::default()),
        ScalarUDF::new_from_impl(justify::Justify::new(Parts::Days)),
        ScalarUDF::new_from_impl(justify::Justify::new(Parts::Hours)),
        ScalarUDF::new_from_impl(justify::Justify::new(Parts::All)),
        ScalarUDF::new_from_impl(make_interval::MakeInterval::default()),
        ScalarUDF::new_from_impl(make_timestamp::MakeTimestamp::default()),
        ScalarUDF::new_from_impl(num_nulls::NumNulls::new()),
        ScalarUDF::new_from_impl(num_nulls::NumNulls::of_others()),
        ScalarUDF::new_from_impl(coalesce::Coalesce::default()),
        ScalarUDF::new_from_impl(pg_sleep::Sleep::default()),
        ScalarUDF::new_from_impl(pg_typeof::PgTypeof::default()),
        ScalarUDF::new_from_impl(random::Random::default()),
        ScalarUDF::new_from_impl(random::SetSeed::default()),
        ScalarUDF::new_from_impl(regexp_pieces::RegexpPieces::groups()),
        ScalarUDF::new_from_impl(regexp_pieces::RegexpPieces::split()),
        ScalarUDF::new_from_impl(regexp_replace::RegexpReplace::default()),
        ScalarUDF::new_from_impl(scale::Scale::default()),
        ScalarUDF::new_from_impl(similar_to_escape::SimilarToEscape::default()),
        ScalarUDF::new_from_impl(single_value::SingleValue::default()),
        ScalarUDF::new_from_impl(timezone::Timezone::new()),
        ScalarUDF::new_from_impl(to_hex::ToHex::default()),
        ScalarUDF::new_from_impl(told_apart::ToldApart::default()),
        ScalarUDF::new_from_impl(width_bucket::WidthBucket::default()),
        scaled_interval(Scaling::Times),
        scaled_interval(Scaling::Over),
        arithmetic(Operation::Plus),
        arithmetic(Operation::Minus),
        arithmetic(Operation::Times),
        arithmetic(Operation::Over),
        text(DataType::Utf8View),
    ]);
    functions
}
