//! Values of parameters in PostgreSQL's binary form, as text.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{Error, Result, Subject};
use crate::postgres::{self, Format, Zone};

/// The text of a value in this format.
pub fn text(value: Bytes, oid: u32, format: Format) -> Result<String> {
    match format {
        Format::Text => utf8(&value),
        Format::Binary => binary(value, oid),
    }
}

fn utf8(value: &[u8]) -> Result<String> {
    match std::str::from_utf8(value) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(Error::input(Subject::Value, "invalid byte sequence for encoding \"UTF8\"")),
    }
}

fn invalid() -> Error {
    Error::input(Subject::Parameter, "incorrect binary data format in bind parameter")
}

fn exact<const N: usize>(value: &[u8]) -> Result<[u8; N]> {
    value.try_into().map_err(|_| invalid())
}

fn binary(value: Bytes, oid: u32) -> Result<String> {
    if let Some(element) = postgres::element_of(oid) {
        let text = array(value, element)?;
        // Vectors are written without braces.
        return Ok(if matches!(oid, 22 | 30) {
            text.trim_matches(['{', '}']).replace(',', " ")
        } else {
            text
        });
    }
    Ok(match oid {
        16 => if exact::<1>(&value)?[0] != 0 { "t" } else { "f" }.to_owned(),
        21 => i16::from_be_bytes(exact(&value)?).to_string(),
        23 => i32::from_be_bytes(exact(&value)?).to_string(),
        20 => i64::from_be_bytes(exact(&value)?).to_string(),
        24 | 26 | 28 | 2202..=2206 | 4089 | 4096 => u32::from_be_bytes(exact(&value)?).to_string(),
        700 => written(|out| postgres::single(f32::from_be_bytes(value_of(exact(&value))), out)),
        701 => written(|out| postgres::double(f64::from_be_bytes(value_of(exact(&value))), out)),
        17 => written(|out| postgres::bytea(&value, false, out)),
        1082 => {
            let days = i64::from(i32::from_be_bytes(exact(&value)?)) + postgres::EPOCH_DAYS;
            written(|out| postgres::date(days, out))
        }
        1083 => {
            let micros = i64::from_be_bytes(exact(&value)?);
            written(|out| postgres::time(micros, out))
        }
        1114 | 1184 => {
            let micros = i64::from_be_bytes(exact(&value)?).saturating_add(postgres::EPOCH_MICROS);
            written(|out| match oid {
                1114 => postgres::timestamp(micros, out),
                _ => postgres::timestamptz(micros, Zone::Utc, out),
            })
        }
        1186 => {
            let parts = exact::<16>(&value)?;
            let mut parts = &parts[..];
            let (micros, days, months) = (parts.get_i64(), parts.get_i32(), parts.get_i32());
            written(|out| postgres::interval(months, days, micros, out))
        }
        1700 => numeric(value)?,
        2950 => uuid::Uuid::from_bytes(exact(&value)?).to_string(),
        3802 => utf8(value.get(1..).ok_or_else(invalid)?)?,
        18 | 19 | 25 | 114 | 705 | 1042 | 1043 | 0 => utf8(&value)?,
        _ => {
            let message = format!("binary form of the type with number {oid} is not supported");
            return Err(Error::unsupported(message).with_hint("send the value as text"));
        }
    })
}

/// Floats of a wrong length are no numbers.
fn value_of<const N: usize>(bytes: Result<[u8; N]>) -> [u8; N] {
    bytes.unwrap_or([0xff; N])
}

fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn numeric(mut value: Bytes) -> Result<String> {
    let mut next = || value.try_get_i16().map_err(|_| invalid());
    let (count, weight, sign, scale) = (next()?, next()?, next()? as u16, next()?);
    match sign {
        0x0000 | 0x4000 => {}
        0xc000 => return Ok("NaN".to_owned()),
        0xd000 => return Ok("Infinity".to_owned()),
        0xf000 => return Ok("-Infinity".to_owned()),
        _ => return Err(invalid()),
    }
    let groups = (0..count.max(0)).map(|_| next()).collect::<Result<Vec<i16>>>()?;
    if scale < 0 || groups.iter().any(|g| !(0..10_000).contains(g)) {
        return Err(invalid());
    }
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    let whole: String = (0..=weight).map(|at| format!("{:04}", group(at))).collect();
    let whole = whole.trim_start_matches('0');
    let scale = scale as usize;
    let mut fraction: String =
        (0..scale.div_ceil(4) as i32).map(|at| format!("{:04}", group(weight + 1 + at))).collect();
    fraction.truncate(scale);
    let minus = if sign == 0x4000 { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Ok(if scale == 0 { format!("{minus}{whole}") } else { format!("{minus}{whole}.{fraction}") })
}

fn array(mut value: Bytes, element: u32) -> Result<String> {
    let mut next = || value.try_get_i32().map_err(|_| invalid());
    let (dimensions, _flags, told) = (next()?, next()?, next()? as u32);
    let element = if told == 0 { element } else { told };
    // Dimensions are told: arrays of arrays have no type of their own.
    if !(0..=postgres::DIMENSIONS_MAX as i32).contains(&dimensions) || postgres::element_of(element).is_some()
    {
        return Err(invalid());
    }
    let mut lengths = vec![];
    for _ in 0..dimensions {
        lengths.push(usize::try_from(next()?).map_err(|_| invalid())?);
        next()?;
    }
    let count = lengths.iter().try_fold(1usize, |count, length| count.checked_mul(*length));
    let count = if lengths.is_empty() { 0 } else { count.ok_or_else(invalid)? };
    if count == 0 {
        return Ok("{}".to_owned());
    }
    // Every element has at least its length.
    if count > value.len() / 4 {
        return Err(invalid());
    }
    let mut out = BytesMut::new();
    braces(&mut value, &lengths, element, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn braces(value: &mut Bytes, lengths: &[usize], element: u32, out: &mut BytesMut) -> Result<()> {
    out.extend_from_slice(b"{");
    let Some((length, inner)) = lengths.split_first() else { return Err(invalid()) };
    for n in 0..*length {
        if n > 0 {
            out.extend_from_slice(b",");
        }
        if !inner.is_empty() {
            braces(value, inner, element, out)?;
            continue;
        }
        let size = value.try_get_i32().map_err(|_| invalid())?;
        if size == -1 {
            out.extend_from_slice(b"NULL");
            continue;
        }
        let size = usize::try_from(size).ok().filter(|size| *size <= value.len()).ok_or_else(invalid)?;
        let text = binary(value.split_to(size), element)?;
        postgres::quote_array_element(text.as_bytes(), out);
    }
    out.extend_from_slice(b"}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Bytes {
        let pairs = hex.as_bytes().chunks(2);
        pairs.map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
    }

    /// The bytes are what the send functions of PostgreSQL 15 give.
    #[test]
    fn binary_values_become_their_text() {
        for (oid, hex, expected) in [
            (1700, "0002000000000002007b1194", "123.45"),
            (1700, "0001ffff4000000201f4", "-0.05"),
            (1700, "0000000000000003", "0.000"),
            (1700, "0001000200000000000a", "1000000000"),
            (1082, "ffffffff", "1999-12-31"),
            (1186, "00000000001b774000000003fffffff2", "-1 years -2 mons +3 days 00:00:01.8"),
            (1016, "0000000100000001000000140000000200000001000000080000000000000001ffffffff", "{1,NULL}"),
            // As many empty rows as there can be are an empty array.
            (1007, "0000000200000000000000177fffffff000000010000000000000001", "{}"),
            (2950, "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (16, "01", "t"),
            (17, "00ff", "\\x00ff"),
        ] {
            assert_eq!(binary(bytes(hex), oid).unwrap(), expected);
        }
    }

    #[test]
    fn broken_binary_values_are_errors() {
        for (oid, hex) in [
            (20, "00"),
            (1700, "0009"),
            (1700, "000100000000000027ff"),
            (1016, "7fffffff0000000000000014"),
            (1016, "0000000100000000000000147fffffff00000001"),
            // More elements than bytes, and an array of arrays.
            (
                1007,
                "0000000200000000000000177fffffff00000001000000010000000100000004000000010000000400000001",
            ),
            (
                1007,
                "0000000100000000000003ef0000000100000001000000140000000100000000000003ef0000000000000001",
            ),
            (2950, "00"),
            (600, "00"),
        ] {
            assert!(binary(bytes(hex), oid).is_err(), "{hex}");
        }
    }
}
