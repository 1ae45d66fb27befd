//! Text forms of values, as PostgreSQL's output functions write them.

use bytes::{BufMut, BytesMut};

use super::zone::Zone;

const DAY: i64 = 86_400_000_000;

/// Writes a whole number.
pub fn integer(value: impl itoa::Integer, out: &mut BytesMut) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub fn boolean(value: bool, out: &mut BytesMut) {
    out.put_u8(if value { b't' } else { b'f' });
}

/// Writes a double in the fewest digits that read back as the same value.
pub fn double(value: f64, out: &mut BytesMut) {
    if value.is_finite() {
        shortest(ryu::Buffer::new().format_finite(value), 15, out);
    } else {
        out.put_slice(not_finite(value));
    }
}

/// Writes a single precision number in the fewest digits that read back as the same value.
pub fn single(value: f32, out: &mut BytesMut) {
    if value.is_finite() {
        shortest(ryu::Buffer::new().format_finite(value), 6, out);
    } else {
        out.put_slice(not_finite(f64::from(value)));
    }
}

fn not_finite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    }
}

/// Writes the digits of `1.25e-7` or `120.0` as PostgreSQL does: with an exponent from `1e<limit>` on and below 1e-4.
fn shortest(formatted: &str, limit: i32, out: &mut BytesMut) {
    let (negative, rest) = formatted.strip_prefix('-').map_or((false, formatted), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once('e').unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let mut exponent = exponent.parse::<i32>().unwrap_or(0) + whole.len() as i32 - 1;
    let zeros = digits.iter().take_while(|d| **d == b'0').count().min(digits.len() - 1);
    digits.drain(..zeros);
    exponent -= zeros as i32;
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if negative {
        out.put_u8(b'-');
    }
    if digits == b"0" {
        return out.put_u8(b'0');
    }
    if exponent < -4 || exponent >= limit {
        out.put_u8(digits[0]);
        if digits.len() > 1 {
            out.put_u8(b'.');
            out.put_slice(&digits[1..]);
        }
        out.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
        two_digits(exponent.unsigned_abs(), out);
    } else if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', (-exponent - 1) as usize);
        out.put_slice(&digits);
    } else {
        let point = exponent as usize + 1;
        let shown = digits.len().min(point);
        out.put_slice(&digits[..shown]);
        out.put_bytes(b'0', point - shown);
        if digits.len() > point {
            out.put_u8(b'.');
            out.put_slice(&digits[point..]);
        }
    }
}

fn two_digits(value: u32, out: &mut BytesMut) {
    if value < 10 {
        out.put_u8(b'0');
    }
    integer(value, out);
}

/// Year, month and day of a day since 1970 in the Gregorian calendar.
///
/// Source: Howard Hinnant, chrono-compatible low-level date algorithms, `civil_from_days`.
fn civil(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = (if shifted < 10 { shifted + 3 } else { shifted - 9 }) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Writes a day since 1970; true for a year before Christ, which ends the text with ` BC`.
fn calendar_day(days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil(days);
    let (shown, before) = if year <= 0 { (1 - year, true) } else { (year, false) };
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(shown);
    out.put_bytes(b'0', 4usize.saturating_sub(text.len()));
    out.put_slice(text.as_bytes());
    out.put_u8(b'-');
    two_digits(month, out);
    out.put_u8(b'-');
    two_digits(day, out);
    before
}

/// Writes a date.
pub fn date(days: i64, out: &mut BytesMut) {
    if calendar_day(days, out) {
        out.put_slice(b" BC");
    }
}

/// Writes microseconds since midnight.
pub fn time(micros: i64, out: &mut BytesMut) {
    let seconds = micros / 1_000_000;
    two_digits((seconds / 3_600) as u32, out);
    out.put_u8(b':');
    two_digits((seconds / 60 % 60) as u32, out);
    out.put_u8(b':');
    two_digits((seconds % 60) as u32, out);
    fraction((micros % 1_000_000) as u32, out);
}

fn fraction(micros: u32, out: &mut BytesMut) {
    if micros > 0 {
        let digits = format!("{micros:06}");
        out.put_u8(b'.');
        out.put_slice(digits.trim_end_matches('0').as_bytes());
    }
}

/// Writes microseconds since 1970, without a zone.
pub fn timestamp(micros: i64, out: &mut BytesMut) {
    let before = calendar_day(micros.div_euclid(DAY), out);
    out.put_u8(b' ');
    time(micros.rem_euclid(DAY), out);
    if before {
        out.put_slice(b" BC");
    }
}

/// Writes an instant in a zone, with its offset.
pub fn timestamptz(micros: i64, zone: Zone, out: &mut BytesMut) {
    let offset = zone.offset(micros);
    let local = micros + i64::from(offset) * 1_000_000;
    let before = calendar_day(local.div_euclid(DAY), out);
    out.put_u8(b' ');
    time(local.rem_euclid(DAY), out);
    out.put_u8(if offset < 0 { b'-' } else { b'+' });
    let seconds = offset.unsigned_abs();
    two_digits(seconds / 3_600, out);
    if !seconds.is_multiple_of(3_600) {
        out.put_u8(b':');
        two_digits(seconds / 60 % 60, out);
    }
    if !seconds.is_multiple_of(60) {
        out.put_u8(b':');
        two_digits(seconds % 60, out);
    }
    if before {
        out.put_slice(b" BC");
    }
}

/// Writes an interval in the style `postgres`.
pub fn interval(months: i32, days: i32, micros: i64, out: &mut BytesMut) {
    let mut parts = Parts { out, any: false, negative: false };
    parts.unit(months / 12, "year");
    parts.unit(months % 12, "mon");
    parts.unit(days, "day");
    parts.clock(micros);
}

/// The parts of an interval that were written.
struct Parts<'a> {
    out: &'a mut BytesMut,
    any: bool,
    /// The last one was negative: a positive one after it needs its sign.
    negative: bool,
}

impl Parts<'_> {
    fn unit(&mut self, value: i32, name: &str) {
        if value == 0 {
            return;
        }
        self.begin(value < 0);
        integer(value, self.out);
        self.out.put_u8(b' ');
        self.out.put_slice(name.as_bytes());
        if value != 1 {
            self.out.put_u8(b's');
        }
    }

    fn begin(&mut self, negative: bool) {
        if self.any {
            self.out.put_u8(b' ');
        }
        if self.negative && !negative {
            self.out.put_u8(b'+');
        }
        self.any = true;
        self.negative = negative;
    }

    fn clock(&mut self, micros: i64) {
        if micros == 0 && self.any {
            return;
        }
        self.begin(micros < 0);
        if micros < 0 {
            self.out.put_u8(b'-');
        }
        let micros = micros.unsigned_abs();
        let hours = micros / 3_600_000_000;
        if hours < 10 {
            self.out.put_u8(b'0');
        }
        integer(hours, self.out);
        let rest = micros % 3_600_000_000;
        self.out.put_u8(b':');
        two_digits((rest / 60_000_000) as u32, self.out);
        self.out.put_u8(b':');
        two_digits((rest / 1_000_000 % 60) as u32, self.out);
        fraction((rest % 1_000_000) as u32, self.out);
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes bytes as `\x…`, or in the older form with octal escapes.
pub fn bytea(value: &[u8], escape: bool, out: &mut BytesMut) {
    if escape {
        for byte in value {
            match byte {
                b'\\' => out.put_slice(b"\\\\"),
                0x20..=0x7e => out.put_u8(*byte),
                _ => out.put_slice(format!("\\{byte:03o}").as_bytes()),
            }
        }
        return;
    }
    out.put_slice(b"\\x");
    for byte in value {
        out.put_u8(HEX[usize::from(byte >> 4)]);
        out.put_u8(HEX[usize::from(byte & 15)]);
    }
}

/// Writes an element of an array, in quotes where it needs them.
pub fn quote_array_element(text: &[u8], out: &mut BytesMut) {
    let special =
        |b: &u8| matches!(b, b'"' | b'\\' | b'{' | b'}' | b',') || b.is_ascii_whitespace() || *b == 0x0b;
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        return out.put_slice(text);
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Every text is what PostgreSQL 15 answers to `SELECT 'x'::float8` and so on.
    #[test]
    fn floats_read_as_postgresql_writes_them() {
        for text in [
            "0",
            "-0",
            "1",
            "-1.5",
            "100000000000000",
            "1e+15",
            "1.2345678901234568e+17",
            "0.0001",
            "1e-05",
            "1.7976931348623157e+308",
            "5e-324",
            "0.1",
            "123456.789",
            "NaN",
            "Infinity",
            "-Infinity",
        ] {
            let value: f64 = text.parse().unwrap();
            assert_eq!(written(|out| double(value, out)), text);
        }
        for text in ["1e+06", "100000", "0.1", "3.4028235e+38", "1.1754944e-38", "16777.217"] {
            let value: f32 = text.parse().unwrap();
            assert_eq!(written(|out| single(value, out)), text);
        }
    }

    #[test]
    fn dates_and_times_read_as_postgresql_writes_them() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-719_528, "0001-01-01 BC"),
            (-719_162, "0001-01-01"),
            (11_016, "2000-02-29"),
            (2_932_897, "10000-01-01"),
        ] {
            assert_eq!(written(|out| date(days, out)), text);
        }
        assert_eq!(written(|out| timestamp(-1, out)), "1969-12-31 23:59:59.999999");
        assert_eq!(written(|out| timestamp(1_500_000, out)), "1970-01-01 00:00:01.5");
        let berlin = Zone::of("Europe/Berlin");
        assert_eq!(written(|out| timestamptz(1_774_746_000_000_000, berlin, out)), "2026-03-29 03:00:00+02");
        let kathmandu = Zone::of("Asia/Kathmandu");
        assert_eq!(written(|out| timestamptz(0, kathmandu, out)), "1970-01-01 05:30:00+05:30");
        assert_eq!(written(|out| timestamptz(0, Zone::Utc, out)), "1970-01-01 00:00:00+00");
    }

    #[test]
    fn intervals_read_as_postgresql_writes_them() {
        for (months, days, micros, text) in [
            (0, 0, 0, "00:00:00"),
            (14, 3, 14_706_789_000, "1 year 2 mons 3 days 04:05:06.789"),
            (-14, 3, -1_000_000, "-1 years -2 mons +3 days -00:00:01"),
            (1, -1, 0, "1 mon -1 days"),
            (0, 0, 360_000_000_000, "100:00:00"),
            (0, -1, 3_600_000_000, "-1 days +01:00:00"),
        ] {
            assert_eq!(written(|out| interval(months, days, micros, out)), text);
        }
    }

    #[test]
    fn bytes_and_elements_are_escaped() {
        assert_eq!(written(|out| bytea(&[0, 255, b'a'], false, out)), "\\x00ff61");
        assert_eq!(written(|out| bytea(&[0, b'\\', b'a'], true, out)), "\\000\\\\a");
        let element = |text: &str| written(|out| quote_array_element(text.as_bytes(), out));
        assert_eq!(element("a"), "a");
        assert_eq!(element("a b"), "\"a b\"");
        assert_eq!(element("NULL"), "\"NULL\"");
        assert_eq!(element(""), "\"\"");
        assert_eq!(element("q\"\\"), "\"q\\\"\\\\\"");
    }
}
