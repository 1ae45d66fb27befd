//! One number on its way through a pattern, place by place.

use super::numbers::{NumberPattern, Place, Sign};
use super::pattern::ending;

/// One number on its way through a pattern.
pub struct Writer<'a> {
    pattern: &'a NumberPattern,
    number: &'a [u8],
    /// Digits of the number that are written.
    at: usize,
    negative: bool,
    brackets: bool,
    signed: Option<Place>,
    /// Places that the number leaves empty.
    blanks: usize,
    /// Places done.
    place: usize,
    /// Places in all, of which the last takes what stands behind the number.
    places: usize,
    sign_done: bool,
    /// A digit stands before this place.
    begun: bool,
    /// Of `FM`: where the last digit stands that is not a zero behind the point.
    last: Option<usize>,
    /// What was written.
    pub out: String,
}

impl<'a> Writer<'a> {
    /// A number, its digits without a sign, before its first place; `blanks` places before it stay empty.
    pub fn new(
        pattern: &'a NumberPattern,
        number: &'a str,
        negative: bool,
        before: usize,
        behind: usize,
        blanks: usize,
    ) -> Self {
        let number = number.as_bytes();
        let brackets = pattern.brackets && (negative || !pattern.fill);
        let sign_done = match (pattern.plus, pattern.minus) {
            (false, false) => !negative && pattern.fill && pattern.signed.is_none(),
            (plus, minus) => !plus || minus,
        };
        let plain = !pattern.plus && !pattern.minus;
        let signed = match pattern.signed {
            Some(Place::Before) if plain && before == pattern.before_sign => Some(Place::After),
            place => place,
        };
        let mut places = (before + behind).wrapping_sub(1);
        let last = (pattern.fill && pattern.point).then(|| last_digit(number, pattern, blanks)).flatten();
        if !sign_done && blanks == 0 {
            places = places.wrapping_add(1);
        }
        Self {
            pattern,
            number,
            at: 0,
            negative,
            brackets,
            signed,
            blanks,
            place: 0,
            places,
            sign_done,
            begun: false,
            last,
            out: String::new(),
        }
    }

    /// Goes on by one part of the pattern.
    pub fn sign(&mut self, sign: Sign) {
        let fill = self.pattern.fill;
        match sign {
            Sign::Nine | Sign::Zero | Sign::Point => self.place(sign == Sign::Zero),
            Sign::Comma | Sign::Group if self.begun => self.out.push(','),
            Sign::Comma | Sign::Group | Sign::Currency if !fill => self.out.push(' '),
            Sign::Currency => self.out.push(' '),
            Sign::Minus if self.negative => self.out.push('-'),
            Sign::Plus if !self.negative => self.out.push('+'),
            Sign::Minus | Sign::Plus if !fill => self.out.push(' '),
            Sign::PlusMinus => self.out.push(if self.negative { '-' } else { '+' }),
            Sign::Ordinal(case) => {
                let plain = !self.negative && !self.pattern.point && self.number.first() != Some(&b'#');
                if plain {
                    self.out.push_str(ending(&String::from_utf8_lossy(self.number), case));
                }
            }
            _ => {}
        }
    }

    fn current(&self) -> Option<u8> {
        self.number.get(self.at).copied()
    }

    fn ends_with_point(&self) -> bool {
        self.last.is_some_and(|last| self.number.get(last) == Some(&b'.'))
    }

    /// A place whose digit is the zero of `0.5`, where the pattern wants none.
    fn is_bare_zero(&self) -> bool {
        self.pattern.zero_start.is_none()
            && self.at == 0
            && self.number.first() == Some(&b'0')
            && self.pattern.behind != 0
    }

    fn place(&mut self, zero: bool) {
        self.begun = false;
        let starts = self.place >= self.blanks || self.pattern.zero_start == Some(self.place);
        if !self.sign_done && starts && (!self.is_bare_zero() || self.ends_with_point()) {
            self.sign_before();
        }
        let zero_start = self.pattern.zero_start;
        if self.place < self.blanks && zero_start.is_none_or(|start| start > self.place) {
            if !self.pattern.fill {
                self.out.push(' ');
            }
        } else if self.place < self.blanks {
            self.out.push('0');
            self.begun = true;
        } else {
            self.digit(zero);
            self.at += usize::from(self.at < self.number.len());
        }
        self.sign_behind();
        self.place += 1;
    }

    fn sign_before(&mut self) {
        match self.signed {
            Some(Place::Before) => self.out.push(if self.negative { '-' } else { '+' }),
            Some(Place::After) => return,
            None if self.brackets => self.out.push(if self.negative { '<' } else { ' ' }),
            None if self.negative => self.out.push('-'),
            None if !self.pattern.fill => self.out.push(' '),
            None => {}
        }
        self.sign_done = true;
    }

    fn digit(&mut self, zero: bool) {
        match self.current() {
            Some(b'.') => self.out.push('.'),
            _ if self.last.is_some_and(|last| self.at > last) && !zero => {}
            _ if self.is_bare_zero() => {
                if !self.pattern.fill {
                    self.out.push(' ');
                } else if self.ends_with_point() {
                    self.out.push('0');
                }
            }
            Some(digit) => {
                self.out.push(digit as char);
                self.begun = true;
            }
            None => {}
        }
    }

    /// What stands behind the number's last place.
    fn sign_behind(&mut self) {
        let mut end =
            self.places.wrapping_add(usize::from(self.blanks > 0) + usize::from(self.pattern.point));
        if self.last == Some(self.at) {
            end = self.place;
        }
        if self.place + 1 != end {
            return;
        }
        if self.sign_done && self.brackets {
            self.out.push(if self.negative { '>' } else { ' ' });
        } else if self.signed == Some(Place::After) {
            self.out.push(if self.negative { '-' } else { '+' });
        }
    }
}

/// The place of the last digit that `FM` leaves.
fn last_digit(number: &[u8], pattern: &NumberPattern, blanks: usize) -> Option<usize> {
    let point = number.iter().position(|c| *c == b'.')?;
    let behind = number.iter().rposition(|c| *c != b'0').unwrap_or(point).max(point);
    // Zeros that are written out stay.
    let wanted = pattern.zero_end.saturating_sub(blanks);
    let wanted = if pattern.zero_end > blanks { wanted.min(number.len() - 1) } else { 0 };
    Some(behind.max(wanted))
}
