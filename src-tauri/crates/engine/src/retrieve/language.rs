//! Which language a text is in.

use docent_domain::Language;
use whatlang::{Detector, Lang};

/// Letters of the Croatian alphabet that English text does not use.
const CROATIAN_LETTERS: &str = "čćđšžČĆĐŠŽ";

/// Frequent short words of one language that are rare in the other. They decide questions too
/// short for letter statistics; written without diacritics too, as people type.
const CROATIAN_WORDS: &[&str] = &[
    "kako",
    "koji",
    "koja",
    "koje",
    "koliko",
    "gdje",
    "gde",
    "zasto",
    "zašto",
    "sto",
    "što",
    "tko",
    "kada",
    "kad",
    "je",
    "su",
    "se",
    "u",
    "na",
    "za",
    "ili",
    "ako",
    "li",
    "mogu",
    "moze",
    "može",
    "moram",
    "treba",
    "biti",
    "nije",
    "nema",
    "od",
    "iz",
    "po",
    "sa",
    "s",
    "da",
    "koju",
    "kojim",
    "ovaj",
    "taj",
    "moj",
    "moje",
    "moju",
    "mi",
    "bi",
    "ima",
    "imam",
    "jesu",
    "jesam",
    "kod",
    "čemu",
    "cemu",
    "čime",
    "zbog",
    "prema",
    "bez",
    "preko",
    "hrvatskoj",
];
const ENGLISH_WORDS: &[&str] = &[
    "the", "is", "are", "how", "what", "which", "who", "where", "when", "why", "does", "did",
    "can", "could", "should", "of", "in", "for", "and", "or", "my", "an", "with", "from", "this",
    "that", "it", "be", "has", "have", "not", "if", "there", "any", "between", "by", "about",
    "was",
];

/// The language of a question: Croatian or English, by its letters, its small words, and letter
/// statistics between those two alone. Too little to tell is [`Language::Undetermined`].
#[must_use]
pub fn of_question(text: &str) -> Language {
    if text.chars().any(|letter| CROATIAN_LETTERS.contains(letter)) {
        return Language::Croatian;
    }
    let (mut croatian, mut english) = (0_u32, 0_u32);
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        let word = word.to_lowercase();
        croatian += u32::from(CROATIAN_WORDS.contains(&word.as_str()));
        english += u32::from(ENGLISH_WORDS.contains(&word.as_str()));
    }
    match croatian.cmp(&english) {
        std::cmp::Ordering::Greater => Language::Croatian,
        std::cmp::Ordering::Less => Language::English,
        std::cmp::Ordering::Equal => Detector::with_allowlist(vec![Lang::Hrv, Lang::Eng])
            .detect(text)
            .filter(whatlang::Info::is_reliable)
            .map_or(Language::Undetermined, |found| from_whatlang(found.lang())),
    }
}

/// The language of a document, from a sample of its text.
#[must_use]
pub fn of_document(text: &str) -> Language {
    /// Letter statistics settle long before this; a manual's licence page must not decide, so the
    /// sample is taken from the middle.
    const SAMPLE_CHARS: usize = 6000;
    let length = text.chars().count();
    let sample: String = text
        .chars()
        .skip(length.saturating_sub(SAMPLE_CHARS) / 2)
        .take(SAMPLE_CHARS)
        .collect();
    if sample.chars().filter(|c| c.is_alphabetic()).count() < 20 {
        return Language::Undetermined;
    }
    Detector::new()
        .detect(&sample)
        .map_or(Language::Undetermined, |found| from_whatlang(found.lang()))
}

fn from_whatlang(lang: Lang) -> Language {
    // The four standards of one pluricentric language cannot be told apart by letter statistics
    // in Latin script; all of them are read as Croatian here.
    match lang {
        Lang::Hrv => Language::Croatian,
        Lang::Eng => Language::English,
        _ => Language::Undetermined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_questions_apart() {
        for question in [
            "Kako promijeniti lozinku?",
            "koliko kosta odvjetnik",
            "A u Hrvatskoj?",
            "Što je žalba",
            "tko moze biti svjedok",
        ] {
            assert_eq!(of_question(question), Language::Croatian, "{question}");
        }
        for question in [
            "How do I change my password?",
            "what is the notice period",
            "And in Croatia?",
            "who can be a witness",
        ] {
            assert_eq!(of_question(question), Language::English, "{question}");
        }
        assert_eq!(of_question("HP 1320"), Language::Undetermined);
    }

    #[test]
    fn tells_documents_apart() {
        let croatian = "Možete podesiti svjetlinu zaslona kako biste uštedjeli energiju baterije ili \
                        kako bi zaslon bio čitljiviji na jakom svjetlu. ";
        let english = "You can adjust the brightness of your screen to save power or to make the \
                       screen more readable in bright light. ";
        assert_eq!(of_document(&croatian.repeat(5)), Language::Croatian);
        assert_eq!(of_document(&english.repeat(5)), Language::English);
        assert_eq!(of_document("12 34"), Language::Undetermined);
    }
}
