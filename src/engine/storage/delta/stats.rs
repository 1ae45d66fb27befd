//! What the log knows about the values of a data file: written as Delta's JSON, read back as bounds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};
use datafusion::common::ScalarValue;
use datafusion::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use datafusion::parquet::file::metadata::RowGroupMetaData;
use serde_json::{Map, Value, json};

use crate::engine::storage::types;

/// Decimals with more digits do not survive the JSON number other readers expect.
const DECIMAL_DIGITS_MAX: u8 = 15;

/// Bounds of one column in one file: every value lies between them, though neither need occur.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnBounds {
    /// A value no row is below.
    pub min: Option<ScalarValue>,
    /// A value no row is above.
    pub max: Option<ScalarValue>,
    /// How many rows are NULL.
    pub null_count: Option<u64>,
}

/// Bounds of one floating-point column of a file being written; a NaN leaves it without bounds.
#[derive(Debug)]
pub struct FloatBounds {
    index: usize,
    range: Option<(f64, f64)>,
    nulls: u64,
    nan: bool,
}

impl FloatBounds {
    /// Bounds of nothing yet for every floating-point column of `schema`.
    pub fn of(schema: &Schema) -> Vec<Self> {
        let columns = schema.fields().iter().enumerate();
        columns
            .filter(|(_, f)| matches!(f.data_type(), DataType::Float32 | DataType::Float64))
            .map(|(index, _)| Self { index, range: None, nulls: 0, nan: false })
            .collect()
    }

    /// Position of the column.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Widens the bounds by the rows of `batch`.
    pub fn see(&mut self, batch: &RecordBatch) {
        let column = batch.column(self.index);
        self.nulls += column.null_count() as u64;
        match column.data_type() {
            DataType::Float32 => {
                column.as_primitive::<Float32Type>().iter().flatten().for_each(|v| self.add(f64::from(v)));
            }
            _ => column.as_primitive::<Float64Type>().iter().flatten().for_each(|v| self.add(v)),
        }
    }

    fn add(&mut self, value: f64) {
        self.nan |= value.is_nan();
        let (min, max) = self.range.get_or_insert((value, value));
        if value.total_cmp(min).is_lt() {
            *min = value;
        }
        if value.total_cmp(max).is_gt() {
            *max = value;
        }
    }

    fn finite(&self) -> Option<(f64, f64)> {
        self.range.filter(|(min, max)| !self.nan && min.is_finite() && max.is_finite())
    }
}

/// The statistics of a file just written, as the JSON text of Delta's log.
pub fn from_parquet(groups: &[RowGroupMetaData], schema: &Schema, floats: &[FloatBounds]) -> String {
    let (mut mins, mut maxs, mut nulls) = (Map::new(), Map::new(), Map::new());
    let parquet_schema = groups.first().map(RowGroupMetaData::schema_descr);
    for field in schema.fields() {
        let converter =
            parquet_schema.and_then(|known| StatisticsConverter::try_new(field.name(), schema, known).ok());
        let Some(converter) = converter else { continue };
        if converter.parquet_column_index().is_none() {
            continue;
        }
        let counts = converter.row_group_null_counts(groups.iter()).ok();
        insert(&mut nulls, field.name(), counts.and_then(|c| total(&c)).map(|n| json!(n)));
        if let (Ok(min), Ok(max)) =
            (converter.row_group_mins(groups.iter()), converter.row_group_maxes(groups.iter()))
        {
            insert(&mut mins, field.name(), extreme(&min, false).and_then(|v| to_json(&v, false)));
            insert(&mut maxs, field.name(), extreme(&max, true).and_then(|v| to_json(&v, true)));
        }
    }
    for column in floats {
        let name = schema.field(column.index).name();
        nulls.insert(name.clone(), json!(column.nulls));
        insert(&mut mins, name, column.finite().map(|(min, _)| json!(min)));
        insert(&mut maxs, name, column.finite().map(|(_, max)| json!(max)));
    }
    let rows: i64 = groups.iter().map(RowGroupMetaData::num_rows).sum();
    json!({ "numRecords": rows, "minValues": mins, "maxValues": maxs, "nullCount": nulls }).to_string()
}

fn insert(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.to_string(), value);
    }
}

fn total(counts: &UInt64Array) -> Option<u64> {
    (counts.iter().len() == counts.iter().flatten().count()).then(|| counts.iter().flatten().sum())
}

/// The smallest or largest value over the row groups; row groups of NULLs only have none.
fn extreme(values: &ArrayRef, largest: bool) -> Option<ScalarValue> {
    let mut found: Option<ScalarValue> = None;
    for index in 0..values.len() {
        let value = ScalarValue::try_from_array(values, index).ok()?;
        if value.is_null() {
            continue;
        }
        let better = match &found {
            None => true,
            Some(best) => {
                let order = value.partial_cmp(best)?;
                if largest { order.is_gt() } else { order.is_lt() }
            }
        };
        if better {
            found = Some(value);
        }
    }
    found
}

/// A bound as JSON; timestamps are rounded outwards to the millisecond the format keeps.
fn to_json(value: &ScalarValue, upper: bool) -> Option<Value> {
    Some(match value {
        ScalarValue::Int8(Some(v)) => json!(v),
        ScalarValue::Int16(Some(v)) => json!(v),
        ScalarValue::Int32(Some(v)) => json!(v),
        ScalarValue::Int64(Some(v)) => json!(v),
        ScalarValue::Utf8(Some(v)) | ScalarValue::Utf8View(Some(v)) => json!(v),
        ScalarValue::Date32(Some(days)) => {
            let date = NaiveDate::from_epoch_days(*days)?;
            (0..=9999).contains(&chrono::Datelike::year(&date)).then(|| json!(date.to_string()))?
        }
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => {
            let milliseconds =
                if upper { -(micros.checked_neg()?.div_euclid(1000)) } else { micros.div_euclid(1000) };
            let time = DateTime::from_timestamp_millis(milliseconds)?;
            if !(0..=9999).contains(&chrono::Datelike::year(&time)) {
                return None;
            }
            let suffix = if zone.is_some() { "Z" } else { "" };
            json!(format!("{}{suffix}", time.format("%Y-%m-%dT%H:%M:%S%.3f")))
        }
        ScalarValue::Decimal128(Some(v), precision, 0) if *precision <= DECIMAL_DIGITS_MAX => {
            json!(i64::try_from(*v).ok()?)
        }
        ScalarValue::Decimal128(Some(v), precision, scale) if *precision <= DECIMAL_DIGITS_MAX => {
            json!(*v as f64 / 10f64.powi(i32::from(*scale)))
        }
        _ => return None,
    })
}

/// Reads the bounds of every column of `schema` (stored names and types) out of a log entry's JSON.
pub fn from_json(stats: &str, schema: &Schema) -> HashMap<String, ColumnBounds> {
    #[derive(serde::Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Stats {
        min_values: BTreeMap<String, Value>,
        max_values: BTreeMap<String, Value>,
        null_count: BTreeMap<String, Value>,
    }
    let stats: Stats = serde_json::from_str(stats).unwrap_or_default();
    let bounds = schema.fields().iter().map(|field| {
        let read = |values: &BTreeMap<String, Value>, upper: bool| {
            values.get(field.name()).and_then(|v| parse(v, field.data_type(), upper))
        };
        let null_count = stats.null_count.get(field.name()).and_then(Value::as_u64);
        let bounds = ColumnBounds {
            min: read(&stats.min_values, false),
            max: read(&stats.max_values, true),
            null_count,
        };
        (field.name().clone(), bounds)
    });
    bounds.collect()
}

fn parse(value: &Value, data_type: &DataType, upper: bool) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Int8 => ScalarValue::Int8(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int16 => ScalarValue::Int16(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.as_i64()?)),
        DataType::Float32 => ScalarValue::Float32(Some(value.as_f64()? as f32)),
        DataType::Float64 => ScalarValue::Float64(Some(value.as_f64()?)),
        DataType::Utf8 => ScalarValue::Utf8View(Some(value.as_str()?.to_string())),
        DataType::Date32 => {
            let date: NaiveDate = value.as_str()?.parse().ok()?;
            ScalarValue::Date32(Some(date.to_epoch_days()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let time = parse_time(value.as_str()?)?;
            // Writers cut timestamps to milliseconds, so the true maximum may be up to 999 µs later.
            let bound = if upper { time.checked_add_signed(TimeDelta::microseconds(999))? } else { time };
            ScalarValue::TimestampMicrosecond(Some(bound.and_utc().timestamp_micros()), zone.clone())
        }
        DataType::Decimal128(precision, scale) if *precision <= DECIMAL_DIGITS_MAX => {
            let scaled = value.as_f64()? * 10f64.powi(i32::from(*scale));
            ScalarValue::Decimal128(Some(scaled.round() as i128), *precision, *scale)
        }
        _ => return None,
    })
}

fn parse_time(text: &str) -> Option<NaiveDateTime> {
    let local = text.trim_end_matches('Z');
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    formats.iter().find_map(|format| NaiveDateTime::parse_from_str(local, format).ok())
}

/// The bounds of one column over several files as an array of its scanned type, NULL where unknown.
pub fn bounds_array<'a>(
    bounds: impl Iterator<Item = Option<&'a ScalarValue>>,
    stored: &DataType,
) -> Option<ArrayRef> {
    let data_type = types::scanned(stored);
    let unknown = ScalarValue::try_from(&data_type).ok()?;
    let values: Vec<ScalarValue> = bounds.map(|b| b.cloned().unwrap_or_else(|| unknown.clone())).collect();
    if values.iter().all(ScalarValue::is_null) {
        return None;
    }
    ScalarValue::iter_to_array(values).ok()
}

/// Counts over several files as an array, NULL where unknown.
pub fn counts_array(counts: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(counts.collect::<UInt64Array>())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    fn round_trip(value: ScalarValue, data_type: DataType) -> (Option<ScalarValue>, Option<ScalarValue>) {
        let json = |upper| to_json(&value, upper).unwrap();
        (parse(&json(false), &data_type, false), parse(&json(true), &data_type, true))
    }

    #[test]
    fn bounds_enclose_the_value_after_a_round_trip() {
        let zone: Option<Arc<str>> = Some("UTC".into());
        for micros in [0i64, 1, 999, 1000, -1, -1001, 1_700_000_000_123_456] {
            let value = ScalarValue::TimestampMicrosecond(Some(micros), zone.clone());
            let kind = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            let (min, max) = round_trip(value.clone(), kind);
            assert!(min.unwrap() <= value && max.unwrap() >= value, "{micros}");
        }
        let decimal = ScalarValue::Decimal128(Some(-12_345), 9, 2);
        let (min, max) = round_trip(decimal.clone(), DataType::Decimal128(9, 2));
        assert_eq!((min, max), (Some(decimal.clone()), Some(decimal)));
    }

    #[test]
    fn unknown_and_foreign_entries_give_no_bounds() {
        let schema = Schema::new(vec![
            Field::new("a", DataType::Int8, true),
            Field::new("d", DataType::Decimal128(30, 2), true),
        ]);
        let bounds =
            from_json(r#"{"numRecords":3,"minValues":{"a":300,"d":1.5},"nullCount":{"a":2}}"#, &schema);
        assert_eq!(bounds["a"], ColumnBounds { min: None, max: None, null_count: Some(2) });
        assert_eq!(bounds["d"].min, None);
        assert_eq!(from_json("not json", &schema)["a"].null_count, None);
    }
}
