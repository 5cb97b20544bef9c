//! Automatic numbering in Word documents: `Članak 12.` is often not typed but counted.

use std::collections::{HashMap, HashSet};

use crate::refusal::Refusal;

/// Word's own limit on levels.
const LEVELS: usize = 9;

/// Lists of a document, and definitions: Word itself stops at 2,047 of these.
const MAX_LISTS: usize = 100_000;

/// What stands around a number is at most some words. Every item repeats it.
const MAX_TEXT_CHARS: usize = 200;

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
    definitions: HashMap<String, Box<[Option<Level>; LEVELS]>>,
    lists: HashMap<String, List>,
    /// By definition: lists of the same one count on from each other.
    counters: HashMap<String, [Option<u32>; LEVELS]>,
    /// The lists with overrides that have begun.
    begun: HashSet<String>,
}

#[derive(Default)]
struct List {
    definition: String,
    /// What is otherwise in this list than in its definition.
    overrides: Vec<(usize, Override)>,
}

/// How one level of a list differs from its definition.
pub enum Override {
    /// The number from which the list counts anew.
    Start(u32),
    Level(Level),
}

impl List {
    fn start(&self, level: usize) -> Option<u32> {
        self.overrides.iter().find_map(|(at, change)| match change {
            Override::Start(start) if *at == level => Some(*start),
            _ => None,
        })
    }

    fn level(&self, level: usize) -> Option<&Level> {
        self.overrides.iter().find_map(|(at, change)| match change {
            Override::Level(changed) if *at == level => Some(changed),
            _ => None,
        })
    }
}

impl Numbering {
    pub fn set_level(
        &mut self,
        definition: &str,
        level: usize,
        value: Level,
    ) -> Result<(), Refusal> {
        if !self.definitions.contains_key(definition) {
            bounded(self.definitions.len())?;
        }
        let levels = self.definitions.entry(definition.to_owned()).or_default();
        if let Some(slot) = levels.get_mut(level) {
            *slot = Some(shortened(value));
        }
        Ok(())
    }

    /// Has a list count by a definition.
    pub fn set_list(&mut self, list: &str, definition: String) -> Result<(), Refusal> {
        bounded(self.lists.len())?;
        self.lists.entry(list.to_owned()).or_default().definition = definition;
        Ok(())
    }

    /// The first change of a level counts.
    pub fn set_override(&mut self, list: &str, level: usize, change: Override) {
        if level < LEVELS
            && let Some(list) = self.lists.get_mut(list)
            && list.overrides.len() < 2 * LEVELS
        {
            let change = match change {
                Override::Level(level) => Override::Level(shortened(level)),
                start @ Override::Start(_) => start,
            };
            list.overrides.push((level, change));
        }
    }

    /// Whether there is a list of that name.
    pub fn has(&self, list: &str) -> bool {
        self.lists.contains_key(list)
    }

    /// Lets a definition count from its start again.
    pub fn restart(&mut self, definition: &str) {
        self.counters.remove(definition);
    }

    /// Counts one item, from `begin` where it says so itself, and returns its label, such as `2.1.`
    /// or `-`; empty when it has none.
    pub fn label(&mut self, list: &str, level: usize, begin: Option<u32>) -> String {
        let Some((name, list)) = self.lists.get_key_value(list) else {
            return "-".to_owned();
        };
        let Some(levels) = self.definitions.get(&list.definition) else {
            return "-".to_owned();
        };
        let level = level.min(LEVELS - 1);
        let level_at = |index: usize| list.level(index).or(levels[index].as_ref());
        let Some(current) = level_at(level) else {
            return "-".to_owned();
        };
        let start = |index: usize| {
            let own = list.start(index);
            own.unwrap_or_else(|| level_at(index).map_or(1, |level| level.start))
        };
        let counters = self.counters.entry(list.definition.clone()).or_default();
        if !list.overrides.is_empty() && !self.begun.contains(name) {
            self.begun.insert(name.clone());
            // What is deeper than a level that counts anew does so too.
            if let Some(from) = (0..LEVELS).find(|level| list.start(*level).is_some()) {
                counters[from..].fill(None);
            }
        }
        for (index, counter) in counters.iter_mut().enumerate().take(level) {
            counter.get_or_insert_with(|| start(index));
        }
        counters[level] = begin.or_else(|| {
            Some(counters[level].map_or_else(|| start(level), |number| number.saturating_add(1)))
        });
        counters[level + 1..].fill(None);
        match current.format.as_str() {
            "bullet" => "-".to_owned(),
            "none" => String::new(),
            _ => {
                let mut label = current.text.clone();
                for (index, counter) in counters.iter().enumerate() {
                    let place = format!("%{}", index + 1);
                    if label.contains(&place) {
                        let format = level_at(index).map_or("decimal", |level| &level.format);
                        let number = counter.unwrap_or_else(|| start(index));
                        label = label.replace(&place, &spelled(number, format));
                    }
                }
                label
            }
        }
    }
}

fn bounded(count: usize) -> Result<(), Refusal> {
    if count >= MAX_LISTS {
        return Err(Refusal::TooManyParts {
            max: MAX_LISTS as u64,
        });
    }
    Ok(())
}

fn shortened(mut level: Level) -> Level {
    if let Some((end, _)) = level.text.char_indices().nth(MAX_TEXT_CHARS) {
        level.text.truncate(end);
    }
    level
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

    fn articles() -> Numbering {
        let mut numbering = Numbering::default();
        numbering.set_list("1", "0".to_owned()).unwrap();
        for (index, level) in [
            level("decimal", "Članak %1."),
            level("lowerLetter", "%1.%2)"),
            level("bullet", "o"),
        ]
        .into_iter()
        .enumerate()
        {
            numbering.set_level("0", index, level).unwrap();
        }
        numbering
    }

    #[test]
    fn lists_of_one_definition_count_on_unless_they_begin_anew() {
        let mut numbering = articles();
        for list in ["2", "3"] {
            numbering.set_list(list, "0".to_owned()).unwrap();
        }
        numbering.set_override("3", 0, Override::Start(5));
        numbering.set_override("3", 1, Override::Level(level("decimal", "%1-%2")));
        let mut label = |list, level| numbering.label(list, level, None);
        assert_eq!(label("1", 0), "Članak 1.");
        assert_eq!(label("2", 0), "Članak 2.", "no override");
        assert_eq!(label("2", 1), "2.a)");
        assert_eq!(label("3", 1), "5-1", "under a number that was not given");
        assert_eq!(label("3", 0), "Članak 6.", "once is enough");
        assert_eq!(label("3", 1), "6-1");
        assert_eq!(label("1", 0), "Članak 7.");
        assert_eq!(numbering.label("1", 0, Some(0)), "Članak 0.");
        assert_eq!(numbering.label("1", 0, None), "Članak 1.");
    }

    #[test]
    fn counts_as_word_does() {
        let mut numbering = articles();
        let labels: Vec<_> = [0, 0, 1, 1, 2, 0, 1]
            .into_iter()
            .map(|level| numbering.label("1", level, None))
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
        assert_eq!(numbering.label("missing", 3, None), "-");
        assert_eq!(
            (roman(1994), letters(28)),
            ("MCMXCIV".to_owned(), "bb".to_owned())
        );
    }
}
