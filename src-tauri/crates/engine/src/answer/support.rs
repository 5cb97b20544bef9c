//! Whether a passage supports a sentence.
//!
//! Two cheap signs, both without a model call of their own: how much of the sentence's wording the
//! passage holds (character 4-grams of its longer words, so that inflection does not matter), and
//! that its numbers and names appear there. Across languages wording says nothing, so there the
//! embedder's cosine, given by the caller, decides.

use std::collections::HashSet;

/// Share of the sentence's wording found in the passage, from 0 to 1. A sentence without words of
/// four letters or more has nothing to find and scores 1.
#[must_use]
pub fn wording(sentence: &str, passage: &str) -> f32 {
    let wanted = grams(sentence);
    if wanted.is_empty() {
        return 1.0;
    }
    let there = grams(passage);
    wanted.intersection(&there).count() as f32 / wanted.len() as f32
}

/// Numbers of the sentence that the passage does not contain. References in brackets don't count.
#[must_use]
pub fn foreign_numbers(sentence: &str, passage: &str) -> Vec<String> {
    let there: HashSet<String> = numbers(passage).collect();
    numbers(&without_references(sentence))
        .filter(|number| !there.contains(number))
        .collect()
}

/// The sentence without its `[n]`.
#[must_use]
pub fn without_references(sentence: &str) -> String {
    let mut out = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(open) = rest.find('[') {
        out.push_str(&rest[..open]);
        let tail = &rest[open..];
        match tail.find(']') {
            Some(close) if tail[1..close].chars().all(|c| c.is_ascii_digit()) => {
                rest = &tail[close + 1..];
            }
            _ => {
                out.push('[');
                rest = &tail[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn numbers(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ',' | ':')))
        .map(|number| number.trim_matches(['.', ',', ':']).to_owned())
        .filter(|number| number.chars().any(|c| c.is_ascii_digit()))
}

fn grams(text: &str) -> HashSet<String> {
    let mut grams = HashSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        let letters: Vec<char> = word.to_lowercase().chars().collect();
        if letters.len() < 4 {
            continue;
        }
        for gram in letters.windows(4) {
            grams.insert(gram.iter().collect());
        }
    }
    grams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflected_wording_is_found_and_foreign_wording_is_not() {
        let passage = "Ugovor o radu otkazuje se pisanim putem, uz otkazni rok od 30 dana.";
        let held = wording("Otkazni rok ugovora o radu je 30 dana.", passage);
        let planted = wording("Radnik ima pravo na besplatan godišnji parking.", passage);
        assert!(held > 0.6, "inflected wording counts: {held}");
        assert!(planted < 0.3, "foreign wording does not: {planted}");
        assert!(foreign_numbers("Rok je 30 dana [1].", passage).is_empty());
        assert_eq!(foreign_numbers("Rok je 45 dana [30].", passage), ["45"]);
    }

    #[test]
    fn references_are_not_wording() {
        assert_eq!(without_references("A [12] b [x] c[3]."), "A  b [x] c.");
    }
}
