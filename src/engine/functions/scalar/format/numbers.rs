//! Numbers in a pattern.

use super::digits::{double_scientific, roman, rounded, scientific, shifted};
use super::number_writer::Writer;
use super::pattern::Case;
use crate::error::{Error, Result, Subject};

/// Digits that a double has for sure.
const DOUBLE_DIGITS: usize = 15;

/// Digits that a single precision number has for sure.
const SINGLE_DIGITS: usize = 6;

/// What a part of a pattern of numbers stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Nine,
    Zero,
    Point,
    Comma,
    Group,
    Currency,
    Minus,
    Plus,
    PlusMinus,
    Signed,
    Brackets,
    Roman(Case),
    Ordinal(Case),
    Scientific,
    Shift,
    Blank,
    Fill,
}

const WORDS: [(&str, Sign); 18] = [
    (",", Sign::Comma),
    (".", Sign::Point),
    ("0", Sign::Zero),
    ("9", Sign::Nine),
    ("B", Sign::Blank),
    ("D", Sign::Point),
    ("EEEE", Sign::Scientific),
    ("FM", Sign::Fill),
    ("G", Sign::Group),
    ("L", Sign::Currency),
    ("MI", Sign::Minus),
    ("PL", Sign::Plus),
    ("PR", Sign::Brackets),
    ("RN", Sign::Roman(Case::Upper)),
    ("SG", Sign::PlusMinus),
    ("S", Sign::Signed),
    ("TH", Sign::Ordinal(Case::Upper)),
    ("V", Sign::Shift),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(char),
    Sign(Sign),
}

/// Where `S` writes the sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Before,
    After,
}

/// A pattern of numbers.
#[derive(Debug, Clone, Default)]
pub struct NumberPattern {
    parts: Vec<Part>,
    /// Places before the point.
    before: usize,
    /// Places behind it.
    pub(super) behind: usize,
    /// Places behind `V`.
    shift: usize,
    pub(super) point: bool,
    pub(super) fill: bool,
    pub(super) brackets: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    roman: bool,
    scientific: bool,
    shifted: bool,
    pub(super) signed: Option<Place>,
    /// Places before `S`.
    pub(super) before_sign: usize,
    /// The place of the first `0`, from 0.
    pub(super) zero_start: Option<usize>,
    /// Places up to the last `0`.
    pub(super) zero_end: usize,
}

fn wrong(message: &str) -> Error {
    Error::input(Subject::Syntax, message)
}

fn word(text: &str) -> Option<(usize, Sign)> {
    let upper = WORDS.iter().find(|(word, _)| text.starts_with(word));
    let lower = || WORDS.iter().find(|(word, _)| text.starts_with(word.to_lowercase().as_str()));
    if let Some((word, sign)) = upper {
        return Some((word.len(), *sign));
    }
    lower().map(|(word, sign)| {
        let sign = match sign {
            Sign::Roman(_) => Sign::Roman(Case::Lower),
            Sign::Ordinal(_) => Sign::Ordinal(Case::Lower),
            sign => *sign,
        };
        (word.len(), sign)
    })
}

impl NumberPattern {
    /// Takes a pattern apart.
    pub fn parse(pattern: &str) -> Result<Self> {
        let mut found = Self::default();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            if let Some((length, sign)) = word(rest) {
                found.add(sign)?;
                found.parts.push(Part::Sign(sign));
                rest = &rest[length..];
            } else if first == '"' {
                rest = found.quoted(&rest[1..]);
            } else {
                let escaped = rest.starts_with("\\\"");
                found.parts.push(Part::Text(if escaped { '"' } else { first }));
                rest = &rest[if escaped { 2 } else { first.len_utf8() }..];
            }
        }
        Ok(found)
    }

    fn quoted<'a>(&mut self, text: &'a str) -> &'a str {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => return chars.as_str(),
                '\\' => self.parts.extend(chars.next().map(Part::Text)),
                c => self.parts.push(Part::Text(c)),
            }
        }
        ""
    }

    fn add(&mut self, sign: Sign) -> Result<()> {
        if self.scientific {
            return Err(wrong("\"EEEE\" must be the last pattern used"));
        }
        match sign {
            Sign::Nine | Sign::Zero => self.add_place(sign == Sign::Zero)?,
            Sign::Point => {
                if self.point {
                    return Err(wrong("multiple decimal points"));
                }
                self.check_no_shift(self.shifted)?;
                self.point = true;
            }
            Sign::Fill => self.fill = true,
            Sign::Signed => self.add_sign()?,
            Sign::Minus | Sign::Plus | Sign::PlusMinus => {
                if self.signed.is_some() {
                    return Err(wrong("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
                self.minus |= sign != Sign::Plus;
                self.plus |= sign != Sign::Minus;
            }
            Sign::Brackets => {
                if self.signed.is_some() || self.plus || self.minus {
                    return Err(wrong("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.brackets = true;
            }
            Sign::Roman(_) => self.roman = true,
            Sign::Shift => {
                self.check_no_shift(self.point)?;
                self.shifted = true;
            }
            Sign::Scientific => self.add_scientific()?,
            Sign::Blank | Sign::Comma | Sign::Group | Sign::Currency | Sign::Ordinal(_) => {}
        }
        Ok(())
    }

    fn check_no_shift(&self, other: bool) -> Result<()> {
        if other { Err(wrong("cannot use \"V\" and decimal point together")) } else { Ok(()) }
    }

    fn add_place(&mut self, zero: bool) -> Result<()> {
        if self.brackets {
            return Err(wrong("\"9\" must be ahead of \"PR\""));
        }
        if zero && self.zero_start.is_none() && !self.point {
            self.zero_start = Some(self.before);
        }
        match (self.shifted && !zero, self.point) {
            (true, _) => self.shift += 1,
            (false, true) => self.behind += 1,
            (false, false) => self.before += 1,
        }
        if zero {
            self.zero_end = self.before + self.behind;
        }
        Ok(())
    }

    fn add_sign(&mut self) -> Result<()> {
        if self.signed.is_some() {
            return Err(wrong("cannot use \"S\" twice"));
        }
        if self.plus || self.minus || self.brackets {
            return Err(wrong("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
        }
        self.before_sign = self.before;
        self.signed = Some(if self.point { Place::After } else { Place::Before });
        Ok(())
    }

    fn add_scientific(&mut self) -> Result<()> {
        let other = self.fill || self.signed.is_some() || self.brackets || self.minus || self.plus;
        if other || self.roman || self.shifted {
            return Err(wrong("\"EEEE\" is incompatible with other formats"));
        }
        self.scientific = true;
        Ok(())
    }

    /// Digits behind the point.
    pub fn scale(&self) -> usize {
        self.behind
    }

    /// Digits behind the point of a number that is read: those behind `V`, too.
    pub fn scale_read(&self) -> usize {
        self.behind + self.shift
    }

    /// Writes a number that is digits with a sign and a point.
    pub fn write_decimal(&self, digits: &str, out: &mut String) {
        if self.roman {
            return self.write_roman(&rounded(digits, 0), out);
        }
        if self.scientific {
            return out.push_str(&scientific(digits, self.behind));
        }
        self.write(&rounded(&shifted(digits, self.shift), self.behind), self.behind, out);
    }

    /// Writes a double.
    pub fn write_double(&self, value: f64, out: &mut String) {
        self.write_float(value, DOUBLE_DIGITS, out);
    }

    /// Writes a single precision number.
    pub fn write_single(&self, value: f32, out: &mut String) {
        self.write_float(f64::from(value), SINGLE_DIGITS, out);
    }

    fn write_float(&self, value: f64, digits: usize, out: &mut String) {
        if self.roman {
            return self.write_roman(&format!("{value:.0}"), out);
        }
        if self.scientific {
            return match value.is_finite() {
                true => out.push_str(&double_scientific(value, self.behind)),
                false => out.push_str(&self.overflow()),
            };
        }
        let value = value * 10_f64.powi(self.shift as i32);
        let whole = format!("{:.0}", value.abs()).len();
        let scale = self.behind.min(digits.saturating_sub(whole));
        let text = if value.is_finite() {
            format!("{value:.scale$}")
        } else {
            value.to_string().replace("inf", "Infinity")
        };
        self.write(&text, scale, out);
    }

    /// What stands for a number that does not fit.
    fn overflow(&self) -> String {
        format!(" {}.{}", "#".repeat(self.before), "#".repeat(self.behind))
    }

    fn write_roman(&self, digits: &str, out: &mut String) {
        let number = digits.parse::<i64>().unwrap_or(0);
        let text = roman(number).unwrap_or_else(|| "#".repeat(15));
        for part in &self.parts {
            match part {
                Part::Text(c) => out.push(*c),
                Part::Sign(Sign::Roman(case)) => {
                    let text = if *case == Case::Lower { text.to_lowercase() } else { text.clone() };
                    out.push_str(&if self.fill { text } else { format!("{text:>15}") });
                }
                Part::Sign(_) => {}
            }
        }
    }

    /// Writes digits that are rounded to `behind` places.
    fn write(&self, digits: &str, behind: usize, out: &mut String) {
        let (negative, digits) = digits.strip_prefix('-').map_or((false, digits), |rest| (true, rest));
        let whole = digits.find('.').unwrap_or(digits.len());
        let before = self.before + self.shift;
        let (number, blanks) = match whole <= before {
            true => (digits.to_owned(), before - whole),
            false => (format!("{}.{}", "#".repeat(before), "#".repeat(behind)), 0),
        };
        let mut writer = Writer::new(self, &number, negative, before, behind, blanks);
        for part in &self.parts {
            match part {
                Part::Text(c) => writer.out.push(*c),
                Part::Sign(sign) => writer.sign(*sign),
            }
        }
        out.push_str(&writer.out);
    }
}
