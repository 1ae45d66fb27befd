//! The text of one cell: floats short, times without trailing zeros, control characters made visible.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The cells of one row; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

/// Format of timestamps without a time zone: the fraction only when there is one.
pub(crate) const TIMESTAMP: &str = "%Y-%m-%d %H:%M:%S%.f";
/// Format of timestamps with a time zone.
pub(crate) const TIMESTAMP_TZ: &str = "%Y-%m-%d %H:%M:%S%.f%:z";
/// Format of times of day.
pub(crate) const TIME: &str = "%H:%M:%S%.f";

/// The cells of a batch, row by row.
pub(crate) fn rows(batch: &RecordBatch) -> Result<Vec<Row>, ArrowError> {
    let mut rows = vec![Row::with_capacity(batch.num_columns()); batch.num_rows()];
    for column in batch.columns() {
        for (row, text) in rows.iter_mut().zip(texts(column)?) {
            row.push(text);
        }
    }
    Ok(rows)
}

/// The cells of one column, top to bottom.
pub(crate) fn texts(column: &dyn Array) -> Result<Vec<Option<String>>, ArrowError> {
    if column.data_type().is_floating() {
        let doubles = cast(column, &DataType::Float64)?;
        return Ok(doubles.as_primitive::<Float64Type>().iter().map(|v| v.map(short_float)).collect());
    }
    let options = FormatOptions::new()
        .with_timestamp_format(Some(TIMESTAMP))
        .with_timestamp_tz_format(Some(TIMESTAMP_TZ))
        .with_datetime_format(Some(TIMESTAMP))
        .with_time_format(Some(TIME));
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let nulls = column.logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    Ok((0..column.len())
        .map(|row| (!is_null(row)).then(|| visible(&formatter.value(row).to_string())))
        .collect())
}

/// True for columns that read best when their digits line up on the right.
pub(crate) fn is_numeric(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => values.is_numeric(),
        other => other.is_numeric(),
    }
}

/// True for columns whose cells may be cut or wrapped.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string() || other.is_nested() || other.is_binary(),
    }
}

/// A float for reading: six significant digits, never fewer than all before the point and two behind it.
pub(crate) fn short_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e15).contains(&size) {
        let text = format!("{value:.5e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trim_zeros(mantissa));
    }
    let digits_before_point = size.log10().floor() as i32 + 1;
    let decimals = (6 - digits_before_point).clamp(2, 10) as usize;
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Escapes control characters except line breaks, so that data cannot drive the terminal.
fn visible(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\n') {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut shown, c| {
        match c {
            '\n' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, NullArray, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn floats_are_short_but_keep_every_digit_before_the_point() {
        let cases = [
            (12.345678901, "12.3457"),
            (1234567.891, "1234567.89"),
            (100.0, "100"),
            (-0.5, "-0.5"),
            (0.000123456789, "0.000123457"),
            (0.00001, "1e-5"),
            (1.5e20, "1.5e20"),
            (0.1 + 0.2, "0.3"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(short_float(value), text);
        }
        let singles = Float32Array::from(vec![Some(0.1), None]);
        assert_eq!(texts(&singles).unwrap(), [Some("0.1".to_owned()), None]);
    }

    #[test]
    fn timestamps_lose_trailing_zeros_and_control_characters_are_shown() {
        let times = TimestampMicrosecondArray::from(vec![0, 1_500_000]);
        let shown = texts(&times).unwrap();
        assert_eq!(shown[0].as_deref(), Some("1970-01-01 00:00:00"));
        assert_eq!(shown[1].as_deref(), Some("1970-01-01 00:00:01.500"));
        let texts_in = StringArray::from(vec!["a\x1b[31mb\tc\nd"]);
        assert_eq!(texts(&texts_in).unwrap()[0].as_deref(), Some("a\\u{1b}[31mb\\tc\nd"));
        assert_eq!(texts(&NullArray::new(1)).unwrap(), [None]);
    }
}
