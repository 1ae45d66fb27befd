//! Binary forms of values, as PostgreSQL's send functions write them.

use bytes::{BufMut, BytesMut};

/// Days from 1970 to 2000, where PostgreSQL counts from.
pub const EPOCH_DAYS: i64 = 10_957;

/// Microseconds from 1970 to 2000.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;

/// Writes a day since 1970 as date_send does.
pub fn date(days: i64, out: &mut BytesMut) {
    let days = (days - EPOCH_DAYS).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    out.put_i32(days as i32);
}

/// Writes microseconds since 1970 as timestamp_send does.
pub fn timestamp(micros: i64, out: &mut BytesMut) {
    out.put_i64(micros.saturating_sub(EPOCH_MICROS));
}

/// Writes an interval as interval_send does.
pub fn interval(months: i32, days: i32, micros: i64, out: &mut BytesMut) {
    out.put_i64(micros);
    out.put_i32(days);
    out.put_i32(months);
}
