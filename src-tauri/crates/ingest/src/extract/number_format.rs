//! Numbers in spreadsheets as their cells show them. A date is a count of days there, and only the
//! cell's number format says so.
//!
//! Dates come out as ISO 8601 and decimals with a point, whatever the sheet's language: the rest of
//! a format (commas between digits, names of months, colours, the sections for other signs) is left
//! out. Fractions come out as decimals, and where no digit is asked for, a zero stands all the same.

use std::fmt::Write as _;

use time::{Duration, OffsetDateTime};

/// How a cell's number is shown.
#[allow(
    clippy::struct_excessive_bools,
    reason = "formats combine their marks freely"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberFormat {
    date: bool,
    time: bool,
    /// Time that counts on above 24 hours.
    elapsed: bool,
    percent: bool,
    /// `None` for as many digits as there are.
    digits: Option<Digits>,
    /// A currency or another word around the number.
    prefix: String,
    suffix: String,
}

/// The digits that a format asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Digits {
    /// The fewest before the point: a number of an account keeps its zeros.
    whole: usize,
    /// The fewest and the most after it.
    decimals: (usize, usize),
    /// How many times the number is divided by a thousand.
    thousands: usize,
    /// What stands between the digits before the point, and how many of them follow it.
    between: Vec<(usize, String)>,
}

/// Digits that a format may ask for, on either side of the point: Excel knows fifteen.
const MOST_DIGITS: usize = 30;

/// Bytes of a format code; Excel's have 255 characters at most.
const LONGEST_CODE: usize = 2_000;

/// Days from 1899-12-30, where Excel counts from (after its leap day that never was), to 1970.
const UNIX_EPOCH: i64 = 25_569;
/// Days between the two epochs of Excel.
const MAC_OFFSET: f64 = 1_462.0;
/// 9999-12-31, the last day that Excel knows.
const LAST_DAY: f64 = 2_958_465.0;

impl NumberFormat {
    /// The formats that are not written into files.
    pub fn builtin(id: u32) -> Self {
        let number = |decimals| Self {
            digits: Some(Digits {
                decimals: (decimals, decimals),
                ..Digits::default()
            }),
            ..Self::default()
        };
        match id {
            1 | 3 | 37 | 38 | 41 | 42 => number(0),
            2 | 4 | 39 | 40 | 43 | 44 => number(2),
            9 => Self {
                percent: true,
                ..number(0)
            },
            10 => Self {
                percent: true,
                ..number(2)
            },
            14..=17 | 27..=31 | 36 | 50..=58 => Self {
                date: true,
                ..Self::default()
            },
            18..=21 | 32..=35 | 45 | 47 => Self {
                time: true,
                ..Self::default()
            },
            46 => Self {
                time: true,
                elapsed: true,
                ..Self::default()
            },
            22 => Self {
                date: true,
                time: true,
                ..Self::default()
            },
            _ => Self::default(),
        }
    }

    /// Reads a format code such as `#,##0.00 "kn"`: the section for positive numbers.
    pub fn parse(code: &str) -> Self {
        if code.len() > LONGEST_CODE {
            return Self::default();
        }
        let mut format = Self::default();
        let mut months = false;
        let mut general = false;
        let mut slots = Slots::default();
        let mut rest = code;
        while let Some(char) = rest.chars().next() {
            let after = &rest[char.len_utf8()..];
            let (literal, next) = match char {
                ';' => break,
                '"' => after.split_once('"').unwrap_or((after, "")),
                '\\' | '_' | '*' => {
                    let skipped = after.chars().next().map_or(0, char::len_utf8);
                    let shown = if char == '\\' { &after[..skipped] } else { "" };
                    (shown, &after[skipped..])
                }
                '[' => {
                    let (inner, next) = after.split_once(']').unwrap_or((after, ""));
                    let is_time = !inner.is_empty()
                        && inner
                            .chars()
                            .all(|char| matches!(char, 'h' | 'm' | 's' | 'H' | 'M' | 'S'));
                    if is_time {
                        format.time = true;
                        format.elapsed = true;
                    }
                    let currency = inner
                        .strip_prefix('$')
                        .map_or("", |inner| inner.split('-').next().unwrap_or(""));
                    (currency, next)
                }
                '€' | '$' | '£' | '¥' => (&rest[..char.len_utf8()], after),
                _ => {
                    match char.to_ascii_lowercase() {
                        'g' if begins(rest, "general") => {
                            general = true;
                            rest = &rest[7..];
                            continue;
                        }
                        'a' if begins(rest, "am/pm") => {
                            rest = &rest[5..];
                            continue;
                        }
                        // Scientific notation says nothing that the number doesn't.
                        'e' if after.starts_with(['+', '-']) => return Self::default(),
                        'y' | 'd' => format.date = true,
                        'm' => months = true,
                        'h' | 's' => format.time = true,
                        '%' => format.percent = true,
                        '0' | '#' | '?' => {
                            if slots.digit(char == '0') {
                                format.suffix.clear();
                            }
                        }
                        '.' => slots.point(),
                        ',' => slots.comma(),
                        // A fraction; a slash between digits that is meant as one has a mark before it.
                        '/' if slots.any()
                            && after.starts_with(|next: char| {
                                matches!(next, '?' | '#') || next.is_ascii_digit()
                            }) =>
                        {
                            general = true;
                        }
                        _ => slots.literal(&rest[..char.len_utf8()]),
                    }
                    ("", after)
                }
            };
            slots.literal(literal);
            let place = if general || slots.any() {
                &mut format.suffix
            } else {
                &mut format.prefix
            };
            place.push_str(literal.trim_matches(['(', ')', '-', '+']));
            rest = next;
        }
        format.date |= months && !format.time;
        format.digits = slots.digits().filter(|_| !general);
        format.prefix = format.prefix.trim().to_owned();
        format.suffix = format.suffix.trim().to_owned();
        format
    }

    /// The number as its cell shows it. `mac` for workbooks that count days from 1904.
    pub fn show(&self, number: f64, mac: bool) -> String {
        if !number.is_finite() {
            return String::new();
        }
        if self.date || self.time {
            let days = if mac && self.date {
                number + MAC_OFFSET
            } else {
                number
            };
            if (0.0..=LAST_DAY).contains(&days) {
                return self.show_instant(days);
            }
            return general(number);
        }
        let hundreds = if self.percent { 2 } else { 0 };
        let digits = match &self.digits {
            Some(digits) => digits.show(number, hundreds),
            None if self.percent => general(number * 100.0),
            None => general(number),
        };
        let percent = if self.percent { " %" } else { "" };
        let space = |text: &str| if text.is_empty() { "" } else { " " };
        format!(
            "{}{}{digits}{percent}{}{}",
            self.prefix,
            space(&self.prefix),
            space(&self.suffix),
            self.suffix
        )
    }

    fn show_instant(&self, days: f64) -> String {
        const DAY: i64 = 86_400;
        let seconds = (days * DAY as f64).round() as i64;
        let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let mut shown = String::new();
        if self.date {
            // Excel believes in 29 February 1900, as Lotus did.
            let shifted = if day < 60 { day + 1 } else { day };
            let date = OffsetDateTime::UNIX_EPOCH.date() + Duration::days(shifted - UNIX_EPOCH);
            shown = date.to_string();
        }
        if self.time {
            if self.date {
                shown.push(' ');
            }
            let hours = if self.elapsed {
                seconds / 3600
            } else {
                second / 3600
            };
            let _ = write!(shown, "{hours:02}:{:02}", second / 60 % 60);
            if second % 60 != 0 {
                let _ = write!(shown, ":{:02}", second % 60);
            }
        }
        shown
    }
}

/// The places for digits that a format code has named so far.
#[derive(Default)]
struct Slots {
    digits: Digits,
    /// Places before the point.
    count: usize,
    /// Whether the point has come.
    after_point: bool,
    /// Places after it.
    decimals: usize,
    /// Commas since the last place: they divide when none follows.
    commas: usize,
    /// What has come since the last place before the point.
    literal: String,
}

impl Slots {
    fn any(&self) -> bool {
        self.count > 0 || self.decimals > 0
    }

    /// Takes one more place, and tells whether what was taken for the end of the number stands within.
    fn digit(&mut self, is_zero: bool) -> bool {
        self.commas = 0;
        if self.after_point {
            self.decimals += 1;
            self.digits.decimals.1 = self.decimals.min(MOST_DIGITS);
            if is_zero {
                self.digits.decimals.0 = self.digits.decimals.1;
            }
            return false;
        }
        let literal = std::mem::take(&mut self.literal);
        let is_within = self.count > 0 && !literal.is_empty();
        if is_within {
            self.digits.between.push((self.count, literal));
        }
        self.count += 1;
        // Once a zero has come, every later place shows one.
        if is_zero || self.digits.whole > 0 {
            self.digits.whole += 1;
        }
        is_within
    }

    fn point(&mut self) {
        self.digits.thousands += std::mem::take(&mut self.commas);
        self.after_point = true;
    }

    fn comma(&mut self) {
        self.commas += usize::from(self.any());
    }

    fn literal(&mut self, literal: &str) {
        if self.count > 0 && !self.after_point {
            self.literal.push_str(literal);
        }
    }

    /// `None` if there is no place for a digit.
    fn digits(mut self) -> Option<Digits> {
        if !self.any() {
            return None;
        }
        self.digits.thousands += self.commas;
        self.digits.whole = self.digits.whole.min(MOST_DIGITS);
        for (place, _) in &mut self.digits.between {
            *place = self.count - *place;
        }
        Some(self.digits)
    }
}

impl Digits {
    /// The number times ten to the power of `shift`, rounded as spreadsheets do: half away from zero,
    /// of the fifteen digits that they keep.
    fn show(&self, number: f64, shift: i32) -> String {
        let (mut digits, point) = significant(number);
        let thousands = self.thousands.min(LONGEST_CODE) as i32;
        // Where the point stands among the digits, and where they end.
        let mut point = point + shift - 3 * thousands;
        let end = point + self.decimals.1 as i32;
        if end < digits.len() as i32 {
            let kept = usize::try_from(end).unwrap_or(0);
            let is_up = end >= 0 && digits[kept] >= b'5';
            digits.truncate(kept);
            if is_up {
                let nines = digits
                    .iter()
                    .rev()
                    .take_while(|digit| **digit == b'9')
                    .count();
                let others = kept - nines;
                digits[others..].fill(b'0');
                match digits[..others].last_mut() {
                    Some(digit) => *digit += 1,
                    None => {
                        digits.insert(0, b'1');
                        point += 1;
                    }
                }
            }
        }
        let digit = |at: i32| {
            let digit = usize::try_from(at).ok().and_then(|at| digits.get(at));
            char::from(*digit.unwrap_or(&b'0'))
        };
        let mut whole = String::new();
        let wanted = self.whole.max(1) as i32;
        let mut between = self.between.iter().peekable();
        // Counts the digits that follow.
        for place in (0..point.max(wanted)).rev() {
            while let Some((_, literal)) = between.next_if(|(after, _)| *after > place as usize) {
                whole.push_str(literal);
            }
            whole.push(digit(point - 1 - place));
        }
        let mut decimals: String = (0..self.decimals.1 as i32)
            .map(|at| digit(point + at))
            .collect();
        while decimals.len() > self.decimals.0 && decimals.ends_with('0') {
            decimals.pop();
        }
        let sign = if number < 0.0 { "-" } else { "" };
        let separator = if decimals.is_empty() { "" } else { "." };
        format!("{sign}{}{separator}{decimals}", whole.trim_start())
    }
}

/// The fifteen digits that spreadsheets keep of a number, and where its point stands among them.
fn significant(number: f64) -> (Vec<u8>, i32) {
    let scientific = format!("{:.14e}", number.abs());
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = digits.bytes().filter(u8::is_ascii_digit).collect();
    (digits, exponent.parse().unwrap_or(0) + 1)
}

fn begins(text: &str, word: &str) -> bool {
    text.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// A number with the fifteen digits that spreadsheets keep, so that 0.1 + 0.2 is 0.3.
fn general(number: f64) -> String {
    const WHOLE: f64 = 1e15;
    if number == 0.0 {
        return "0".to_owned();
    }
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    if (1e-9..WHOLE).contains(&rounded.abs()) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_their_cells_show_them() {
        for (code, number, shown) in [
            ("General", 5.0, "5"),
            ("General", 0.1 + 0.2, "0.3"),
            ("General", -12.5, "-12.5"),
            ("General", 1e300, "1e300"),
            ("0.00", 1234.5, "1234.50"),
            ("#,##0", 1234.5, "1235"),
            ("0.##", 1234.5, "1234.5"),
            ("0%", 0.25, "25 %"),
            ("0.0 %", 0.255, "25.5 %"),
            ("#,##0.00 \"kn\"", 100.0, "100.00 kn"),
            (
                "#,##0.00\\ [$€-41A];[Red]\\-#,##0.00\\ [$€-41A]",
                100.0,
                "100.00 €",
            ),
            ("_-$* #,##0.00_-", 3.0, "$ 3.00"),
            ("0.00E+00", 1234.5, "1234.5"),
            ("00000000000", 1_234_567_890.0, "01234567890"),
            ("000000", 42.0, "000042"),
            ("000-000-000", 123_456_789.0, "123-456-789"),
            ("000-000-000", 6_789.0, "000-006-789"),
            ("000-000-000", 91_123_456_789.0, "91123-456-789"),
            ("0##\\/###\" - \"###", 91_234_567.0, "091/234 - 567"),
            ("\"HR\"00 0000 \"x\"", 123_456.0, "HR 12 3456 x"),
            ("00000\\-0000", -12_345.0, "-00001-2345"),
            ("# ##0.00", 1_234.5, "1 234.50"),
            ("# ##0", 12.0, "12"),
            ("#,##0.0,,\"M\"", 12_345_678.0, "12.3 M"),
            ("#,##0.0,", 12_345_678.0, "12345.7"),
            ("0,.00", 12_345.0, "12.35"),
            ("0,,,,", 12_345.0, "0"),
            ("0", 2.5, "3"),
            ("0", -2.5, "-3"),
            ("0", 0.4, "0"),
            ("0", 0.5, "1"),
            ("0", 0.05, "0"),
            ("0", 1e17, "100000000000000000"),
            ("0.00", 10.125, "10.13"),
            ("0.00", 2.675, "2.68"),
            ("0.00", 9.999, "10.00"),
            ("0.00", 0.0, "0.00"),
            ("#,##0.00 \"€\"", 1.005, "1.01 €"),
            ("0.0#", 1.0, "1.0"),
            ("0.0#", 0.125, "0.13"),
            ("0%", 0.005, "1 %"),
            ("0.0 %", 1.005, "100.5 %"),
            ("General%", 0.5, "50 %"),
            ("General \"kom\"", 1.5, "1.5 kom"),
            ("# ?/2", 0.5, "0.5"),
            ("# ??/??", 1.25, "1.25"),
            ("#", 0.0, "0"),
            (".00", 0.5, "0.50"),
            ("d.m.yyyy.", 46_112.0, "2026-03-31"),
            ("dd/mm/yyyy hh:mm", 46_112.5, "2026-03-31 12:00"),
            ("[$-41A]mmmm yy;@", 46_112.0, "2026-03-31"),
            ("mm:ss", 0.5 + 1.0 / 86_400.0, "12:00:01"),
            ("[h]:mm", 1.5, "36:00"),
            ("h:mm AM/PM", 0.75, "18:00"),
            ("yyyy-mm-dd", 1.0, "1900-01-01"),
            ("yyyy-mm-dd", 61.0, "1900-03-01"),
            ("yyyy-mm-dd", -1.0, "-1"),
            ("yyyy-mm-dd", 1e12, "1000000000000"),
            ("\"", 1.0, "1"),
            ("[", 1.0, "1"),
            ("č\\", 1.0, "1"),
        ] {
            assert_eq!(
                NumberFormat::parse(code).show(number, false),
                shown,
                "{code}"
            );
        }
        assert_eq!(
            NumberFormat::builtin(14).show(46_112.0, false),
            "2026-03-31"
        );
        assert_eq!(NumberFormat::builtin(14).show(44_650.0, true), "2026-03-31");
        assert_eq!(NumberFormat::builtin(44).show(1.005, false), "1.01");
        assert_eq!(NumberFormat::builtin(10).show(0.5, false), "50.00 %");
        assert_eq!(NumberFormat::parse("0").show(f64::NAN, false), "");
    }
}
