//! Automatic numbering in Word documents: `Članak 12.` is often not typed but counted.

use std::collections::HashMap;

/// Word's own limit on levels.
const LEVELS: usize = 9;

/// How one level of a list is numbered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    pub start: u32,
    /// `decimal`, `bullet`, `lowerLetter` and so on.
    pub format: String,
    /// Text with `%1` for the number of the first level, `%2` of the second, …
    pub text: String,
}

/// The document's list definitions, and how far each has counted.
#[derive(Default)]
pub struct Numbering {
    pub abstracts: HashMap<String, [Option<Level>; LEVELS]>,
    /// List id to definition id.
    pub lists: HashMap<String, String>,
    counters: HashMap<String, [u32; LEVELS]>,
}

impl Numbering {
    pub fn set_level(&mut self, definition: &str, level: usize, value: Level) {
        if let Some(slot) = self
            .abstracts
            .entry(definition.to_owned())
            .or_default()
            .get_mut(level)
        {
            *slot = Some(value);
        }
    }

    /// Lets a definition count from its start again.
    pub fn restart(&mut self, definition: &str) {
        self.counters.remove(definition);
    }

    /// Counts one item and returns its label, such as `2.1.` or `-`; empty when it has none.
    pub fn label(&mut self, list: &str, level: usize) -> String {
        let Some(definition) = self.lists.get(list) else {
            return "-".to_owned();
        };
        let Some(levels) = self.abstracts.get(definition) else {
            return "-".to_owned();
        };
        let level = level.min(LEVELS - 1);
        let Some(current) = &levels[level] else {
            return "-".to_owned();
        };
        let counters = self
            .counters
            .entry(definition.clone())
            .or_insert([0; LEVELS]);
        let start = |index: usize| levels[index].as_ref().map_or(1, |level| level.start);
        for (index, counter) in counters.iter_mut().enumerate().take(level) {
            if *counter == 0 {
                *counter = start(index);
            }
        }
        counters[level] = match counters[level] {
            0 => start(level),
            number => number.saturating_add(1),
        };
        counters[level + 1..].fill(0);
        match current.format.as_str() {
            "bullet" => "-".to_owned(),
            "none" => String::new(),
            _ => {
                let mut label = current.text.clone();
                for index in 0..LEVELS {
                    let place = format!("%{}", index + 1);
                    if label.contains(&place) {
                        let format = levels[index]
                            .as_ref()
                            .map_or("decimal", |level| &level.format);
                        label = label.replace(&place, &spelled(counters[index], format));
                    }
                }
                label
            }
        }
    }
}

fn spelled(number: u32, format: &str) -> String {
    match format {
        "lowerLetter" => letters(number),
        "upperLetter" => letters(number).to_uppercase(),
        "lowerRoman" => roman(number).to_lowercase(),
        "upperRoman" => roman(number),
        "decimalZero" => format!("{number:02}"),
        _ => number.to_string(),
    }
}

/// a … z, aa … zz, as Word counts.
fn letters(number: u32) -> String {
    const LONGEST: u32 = 8;
    let Some(index) = number.checked_sub(1) else {
        return String::new();
    };
    let letter = char::from(b'a' + (index % 26) as u8);
    std::iter::repeat_n(letter, (index / 26 + 1).min(LONGEST) as usize).collect()
}

fn roman(number: u32) -> String {
    const DIGITS: &[(u32, &str)] = &[
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
    if !(1..4000).contains(&number) {
        return number.to_string();
    }
    let mut rest = number;
    let mut text = String::new();
    for (value, digit) in DIGITS {
        while rest >= *value {
            text.push_str(digit);
            rest -= value;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(format: &str, text: &str) -> Level {
        Level {
            start: 1,
            format: format.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn counts_as_word_does() {
        let mut numbering = Numbering::default();
        numbering.lists.insert("1".to_owned(), "0".to_owned());
        numbering.set_level("0", 0, level("decimal", "Članak %1."));
        numbering.set_level("0", 1, level("lowerLetter", "%1.%2)"));
        numbering.set_level("0", 2, level("bullet", "o"));
        let labels: Vec<_> = [0, 0, 1, 1, 2, 0, 1]
            .into_iter()
            .map(|level| numbering.label("1", level))
            .collect();
        assert_eq!(
            labels,
            [
                "Članak 1.",
                "Članak 2.",
                "2.a)",
                "2.b)",
                "-",
                "Članak 3.",
                "3.a)"
            ]
        );
        assert_eq!(numbering.label("missing", 3), "-");
        assert_eq!(
            (roman(1994), letters(28)),
            ("MCMXCIV".to_owned(), "bb".to_owned())
        );
    }
}
