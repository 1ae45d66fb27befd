//! Decimal digits as text: moved, rounded, in powers of ten and in Roman numerals.

/// Digits with a point moved to the right.
pub fn shifted(digits: &str, places: usize) -> String {
    if places == 0 {
        return digits.to_owned();
    }
    let (whole, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let behind = format!("{behind:0<places$}");
    let (moved, rest) = behind.split_at(places);
    let joined = format!("{whole}{moved}");
    let (sign, joined) = joined.strip_prefix('-').map_or(("", joined.as_str()), |rest| ("-", rest));
    let trimmed = joined.trim_start_matches('0');
    let whole = if trimmed.is_empty() { "0" } else { trimmed };
    if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
}

/// Digits rounded to places behind the point, half away from zero.
pub fn rounded(digits: &str, places: usize) -> String {
    let (sign, plain) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let (whole, behind) = plain.split_once('.').unwrap_or((plain, ""));
    let mut kept: Vec<u8> =
        whole.bytes().chain(behind.bytes().chain(std::iter::repeat(b'0')).take(places)).collect();
    let up = behind.as_bytes().get(places).is_some_and(|digit| *digit >= b'5');
    let mut carry = up;
    for digit in kept.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { *digit + 1 };
    }
    if carry {
        kept.insert(0, b'1');
    }
    let zero = kept.iter().all(|digit| *digit == b'0');
    let mut text = String::from_utf8_lossy(&kept).into_owned();
    if places > 0 {
        text.insert(text.len() - places, '.');
    }
    format!("{}{text}", if zero { "" } else { sign })
}

/// `1.23e+04` with a blank for the sign that a positive number does not have.
pub fn scientific(digits: &str, places: usize) -> String {
    let (negative, plain) = digits.strip_prefix('-').map_or((false, digits), |rest| (true, rest));
    let (whole, behind) = plain.split_once('.').unwrap_or((plain, ""));
    let all = format!("{whole}{behind}");
    let sign = if negative { "-" } else { " " };
    let Some(first) = all.find(|c| c != '0') else {
        return format!("{sign}{}e+00", rounded("0", places));
    };
    let mut exponent = whole.len() as i64 - first as i64 - 1;
    let significant = &all[first..];
    let mut mantissa = rounded(&format!("{}.{}", &significant[..1], &significant[1..]), places);
    if mantissa.starts_with("10") {
        exponent += 1;
        mantissa = rounded("1", places);
    }
    format!("{sign}{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// As [`scientific`], of a double.
pub fn double_scientific(value: f64, places: usize) -> String {
    let text = format!("{value:.places$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text.as_str(), "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    let blank = if mantissa.starts_with('-') { "" } else { " " };
    format!("{blank}{mantissa}e{sign}{exponent:0>2}")
}

/// A number from 1 to 3999 in Roman numerals.
pub fn roman(number: i64) -> Option<String> {
    const DIGITS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..=3999).contains(&number) {
        return None;
    }
    let mut left = number;
    let mut text = String::new();
    for (value, letters) in DIGITS {
        while left >= value {
            text.push_str(letters);
            left -= value;
        }
    }
    Some(text)
}
