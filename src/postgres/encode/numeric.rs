//! Numerics: decimals with a scale, in text and in base 10,000.

use bytes::{BufMut, BytesMut};

/// Writes digits (with a sign) that have `scale` digits after the point.
pub fn text(digits: &str, scale: i8, out: &mut BytesMut) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let scale = scale.max(0) as usize;
    if !(sign == "-" && digits.bytes().all(|b| b == b'0')) {
        out.put_slice(sign.as_bytes());
    }
    if scale == 0 {
        out.put_slice(digits.as_bytes());
        return;
    }
    let whole = digits.len().saturating_sub(scale);
    out.put_slice(if whole == 0 { b"0" } else { &digits.as_bytes()[..whole] });
    out.put_u8(b'.');
    out.put_bytes(b'0', scale.saturating_sub(digits.len()));
    out.put_slice(&digits.as_bytes()[whole..]);
}

/// Writes the same value as PostgreSQL's numeric_send.
pub fn binary(digits: &str, scale: i8, out: &mut BytesMut) {
    let (negative, digits) = digits.strip_prefix('-').map_or((false, digits), |rest| (true, rest));
    let scale = scale.max(0) as usize;
    // Groups of four decimal digits meet at the point.
    let mut padded = digits.as_bytes().to_vec();
    if padded.len() <= scale {
        padded.splice(0..0, std::iter::repeat_n(b'0', scale + 1 - padded.len()));
    }
    let whole = padded.len() - scale;
    padded.splice(0..0, std::iter::repeat_n(b'0', (4 - whole % 4) % 4));
    let whole_groups = whole.div_ceil(4);
    padded.extend(std::iter::repeat_n(b'0', (4 - scale % 4) % 4));
    let groups: Vec<i16> = padded
        .chunks(4)
        .map(|group| group.iter().fold(0i16, |n, digit| n * 10 + i16::from(digit - b'0')))
        .collect();
    let first = groups.iter().position(|g| *g != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|g| *g != 0).map_or(first, |at| at + 1);
    let weight = if first == groups.len() { 0 } else { whole_groups as i16 - first as i16 - 1 };
    let zero = first == groups.len();
    out.put_i16((last - first) as i16);
    out.put_i16(weight);
    out.put_u16(if negative && !zero { 0x4000 } else { 0 });
    out.put_i16(scale as i16);
    groups[first..last].iter().for_each(|group| out.put_i16(*group));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_get_their_point() {
        for (digits, scale, expected) in
            [("12345", 2, "123.45"), ("-5", 2, "-0.05"), ("0", 3, "0.000"), ("7", 0, "7"), ("-0", 1, "0.0")]
        {
            let mut out = BytesMut::new();
            text(digits, scale, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn binary_is_what_postgresql_sends() {
        // From numeric_send() of PostgreSQL 15: SELECT numeric_send(x).
        for (digits, scale, expected) in [
            ("12345", 2, "0002000000000002007b1194"),
            ("-5", 2, "0001ffff4000000201f4"),
            ("0", 3, "0000000000000003"),
            ("100000000", 0, "00010002000000000001"),
            ("10000", 8, "0001ffff000000080001"),
        ] {
            let mut out = BytesMut::new();
            binary(digits, scale, &mut out);
            let hex: String = out.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, expected, "{digits} {scale}");
        }
    }
}
