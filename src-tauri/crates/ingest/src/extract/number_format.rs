//! Numbers in spreadsheets as their cells show them. A date is a count of days there, and only the
//! cell's number format says so.
//!
//! Dates come out as ISO 8601 and decimals with a point, whatever the sheet's language: the rest of
//! a format (digit groups, names of months, colours, the sections for other signs) is left out.

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
    /// Digits after the point; `None` for as many as there are.
    decimals: Option<usize>,
    /// A currency or another word around the number.
    prefix: String,
    suffix: String,
}

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
            decimals: Some(decimals),
            ..Self::default()
        };
        match id {
            1 | 3 | 37 | 38 => number(0),
            2 | 4 | 39 | 40 => number(2),
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
        let mut format = Self::default();
        let mut months = false;
        let mut digits = false;
        let mut decimals: Option<usize> = None;
        let mut optional_decimals = false;
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
                            digits = true;
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
                            digits = true;
                            if let Some(decimals) = &mut decimals {
                                *decimals += 1;
                                optional_decimals |= char != '0';
                            }
                        }
                        '.' if digits => decimals = Some(0),
                        _ => {}
                    }
                    ("", after)
                }
            };
            let place = if digits {
                &mut format.suffix
            } else {
                &mut format.prefix
            };
            place.push_str(literal.trim_matches(['(', ')', '-', '+']));
            rest = next;
        }
        format.date |= months && !format.time;
        format.decimals = match decimals {
            None if digits && !code.to_ascii_lowercase().contains("general") => Some(0),
            // A bound, because a format may ask for a thousand digits.
            Some(count) if !optional_decimals => Some(count.min(30)),
            _ => None,
        };
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
        let scaled = if self.percent { number * 100.0 } else { number };
        let digits = match self.decimals {
            Some(decimals) => format!("{scaled:.decimals$}"),
            None => general(scaled),
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
            ("#,##0", 1234.5, "1234"),
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
        assert_eq!(NumberFormat::builtin(10).show(0.5, false), "50.00 %");
        assert_eq!(NumberFormat::parse("0").show(f64::NAN, false), "");
    }
}
