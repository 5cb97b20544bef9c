//! How text becomes terms: character 4-grams for inflected words, plain words for rare tokens.
//!
//! Everything is compared in NFKC and lower case. A word with diacritics yields the grams of both
//! its written and its folded form ("račun" and "racun"), so that a question typed without
//! diacritics finds it; documents typed without them are found by the folded grams too.
//! Croatian inflects at the end ("račun", "računa", "računima"), which is why grams begin with a
//! boundary mark and don't end with one.
//!
//! The terms are an on-disk format: changing them breaks existing indexes, so the names in
//! [`GRAMS`] and [`WORDS`] carry a version, which opening compares.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Names under which the tokenizers stand in the schema on disk.
pub(crate) const GRAMS: &str = "docent_grams_1";
pub(crate) const WORDS: &str = "docent_words_1";

const GRAM_CHARS: usize = 4;

/// Marks the start of a word in a gram. Words hold letters and digits alone, so it cannot occur
/// in one.
const BOUNDARY: char = '^';

/// Longer runs are data (keys, encoded bytes), which nobody types into a question.
const MAX_WORD_CHARS: usize = 64;

/// Characters that hold the parts of one token together: part numbers, versions, dates, file
/// names, addresses.
const JOINERS: [char; 9] = ['-', '_', '.', '/', ':', '+', '#', '@', '&'];

/// A term and how much of a full term it counts for in a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct QueryTerm {
    pub text: String,
    pub weight: f32,
}

/// Terms of the `grams` field for a question. Where a word has a written and a folded form, each
/// counts half, so that a word weighs the same with and without diacritics.
pub(crate) fn query_grams(text: &str) -> Vec<QueryTerm> {
    let mut terms = Terms::default();
    grams(text, &mut terms);
    terms.distinct()
}

/// Terms of the `words` field for a question.
pub(crate) fn query_words(text: &str) -> Vec<QueryTerm> {
    let mut terms = Terms::default();
    words(text, &mut terms);
    terms.distinct()
}

/// Many short strings in one allocation, in the order they were added.
#[derive(Clone, Default)]
struct Terms {
    text: String,
    /// End offset in `text`, and the weight.
    ends: Vec<(usize, f32)>,
}

impl Terms {
    fn push(&mut self, chars: impl IntoIterator<Item = char>, weight: f32) {
        let start = self.text.len();
        self.text.extend(chars);
        if self.text.len() > start {
            self.ends.push((self.text.len(), weight));
        }
    }

    fn get(&self, index: usize) -> Option<(&str, f32)> {
        let &(end, weight) = self.ends.get(index)?;
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1].0,
        };
        Some((&self.text[start..end], weight))
    }

    fn distinct(&self) -> Vec<QueryTerm> {
        let mut terms: Vec<QueryTerm> = (0..self.ends.len())
            .filter_map(|index| self.get(index))
            .map(|(text, weight)| QueryTerm {
                text: text.to_owned(),
                weight,
            })
            .collect();
        terms.sort_by(|a, b| a.text.cmp(&b.text).then(b.weight.total_cmp(&a.weight)));
        terms.dedup_by(|later, earlier| later.text == earlier.text);
        terms
    }
}

/// NFKC, lower case, one kind of hyphen, without the invisible characters that PDFs are full of.
fn normalise(text: &str) -> Vec<char> {
    text.nfkc()
        .flat_map(char::to_lowercase)
        .filter(|c| {
            !matches!(
                c,
                '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
            )
        })
        .map(|c| match c {
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            other => other,
        })
        .collect()
}

/// The character without its diacritics. `đ`, `ł` and `ø` have no canonical decomposition.
fn fold(c: char) -> char {
    match c {
        'a'..='z' | '0'..='9' => c,
        'đ' | 'ð' => 'd',
        'ł' => 'l',
        'ø' | 'œ' => 'o',
        'ı' => 'i',
        'ß' => 's',
        'æ' => 'a',
        _ => std::iter::once(c)
            .nfd()
            .find(|part| !is_combining_mark(*part))
            .unwrap_or(c),
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// Runs of letters and digits.
fn word_runs(chars: &[char]) -> impl Iterator<Item = &[char]> {
    chars
        .split(|&c| !is_word_char(c))
        .filter(|word| !word.is_empty() && word.len() <= MAX_WORD_CHARS)
}

fn grams(text: &str, terms: &mut Terms) {
    let chars = normalise(text);
    let mut written = Vec::with_capacity(MAX_WORD_CHARS + 1);
    let mut folded = Vec::with_capacity(MAX_WORD_CHARS + 1);
    for word in word_runs(&chars) {
        // Short words are kept whole; one of three letters is also the beginning of longer ones.
        if word.len() < GRAM_CHARS {
            let has_two_forms = word.iter().any(|&c| fold(c) != c);
            terms.push(word.iter().copied(), if has_two_forms { 0.5 } else { 1.0 });
            if has_two_forms {
                terms.push(word.iter().map(|&c| fold(c)), 0.5);
            }
        }
        written.clear();
        written.push(BOUNDARY);
        written.extend_from_slice(word);
        folded.clear();
        folded.extend(written.iter().map(|&c| fold(c)));
        for (written, folded) in written.windows(GRAM_CHARS).zip(folded.windows(GRAM_CHARS)) {
            if written == folded {
                terms.push(written.iter().copied(), 1.0);
            } else {
                terms.push(written.iter().copied(), 0.5);
                terms.push(folded.iter().copied(), 0.5);
            }
        }
    }
}

fn words(text: &str, terms: &mut Terms) {
    let chars = normalise(text);
    for word in word_runs(&chars) {
        terms.push(word.iter().map(|&c| fold(c)), 1.0);
    }
    for run in chars.split(|&c| !is_word_char(c) && !JOINERS.contains(&c)) {
        compound(run, terms);
    }
}

/// A token with joiners inside is also kept whole ("KX-2231/B"), and with digits also without its
/// joiners ("kx2231b"), because people leave them out.
fn compound(run: &[char], terms: &mut Terms) {
    let Some(first) = run.iter().position(|&c| is_word_char(c)) else {
        return;
    };
    let Some(last) = run.iter().rposition(|&c| is_word_char(c)) else {
        return;
    };
    let whole = &run[first..=last];
    let is_joined = whole.iter().any(|c| JOINERS.contains(c));
    if !is_joined || whole.len() > MAX_WORD_CHARS {
        return;
    }
    terms.push(whole.iter().map(|&c| fold(c)), 1.0);
    if whole.iter().any(char::is_ascii_digit) {
        terms.push(
            whole.iter().filter(|&&c| is_word_char(c)).map(|&c| fold(c)),
            1.0,
        );
    }
}

macro_rules! tokenizer {
    ($(#[$doc:meta])* $name:ident, $split:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Tokenizer for $name {
            type TokenStream<'a> = Stream;

            fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream {
                let mut terms = Terms::default();
                $split(text, &mut terms);
                Stream {
                    terms,
                    next: 0,
                    token: Token::default(),
                }
            }
        }
    };
}

tokenizer!(
    /// Terms of the `grams` field.
    GramTokenizer,
    grams
);
tokenizer!(
    /// Terms of the `words` field.
    WordTokenizer,
    words
);

/// The terms of one text. Offsets and positions are not recorded by the schema and stay zero.
pub(crate) struct Stream {
    terms: Terms,
    next: usize,
    token: Token,
}

impl TokenStream for Stream {
    fn advance(&mut self) -> bool {
        let Some((text, _)) = self.terms.get(self.next) else {
            return false;
        };
        self.token.text.clear();
        self.token.text.push_str(text);
        self.token.position = self.next;
        self.next += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "halves and ones add exactly")]
mod tests {
    use super::*;

    fn gram_texts(text: &str) -> Vec<String> {
        let mut terms = Terms::default();
        grams(text, &mut terms);
        (0..terms.ends.len())
            .filter_map(|index| terms.get(index).map(|(term, _)| term.to_owned()))
            .collect()
    }

    fn word_texts(text: &str) -> Vec<String> {
        let mut terms = Terms::default();
        words(text, &mut terms);
        (0..terms.ends.len())
            .filter_map(|index| terms.get(index).map(|(term, _)| term.to_owned()))
            .collect()
    }

    /// These lists are the format on disk: if one changes, so must the version in the name.
    #[test]
    fn the_terms_of_a_text_must_not_change() {
        assert_eq!(
            gram_texts("Račun za KRUH"),
            [
                "^rač", "^rac", "raču", "racu", "ačun", "acun", "za", "^kru", "kruh"
            ]
        );
        assert_eq!(
            gram_texts("rad sač"),
            ["rad", "^rad", "sač", "sac", "^sač", "^sac"]
        );
        assert_eq!(
            word_texts("Šifra KX-2231/B, 3.14 i Đuro."),
            [
                "sifra",
                "kx",
                "2231",
                "b",
                "3",
                "14",
                "i",
                "duro",
                "kx-2231/b",
                "kx2231b",
                "3.14",
                "314"
            ]
        );
        assert_eq!((GRAMS, WORDS), ("docent_grams_1", "docent_words_1"));
    }

    #[test]
    fn composed_and_decomposed_text_give_the_same_terms() {
        assert_eq!(gram_texts("kašnjenje"), gram_texts("kas\u{30c}njenje"));
        assert_eq!(
            word_texts("ﬁle\u{ad}name"),
            ["filename"],
            "ligature and soft hyphen"
        );
        assert_eq!(
            word_texts("AB\u{2011}12"),
            word_texts("ab-12"),
            "kinds of hyphen"
        );
    }

    #[test]
    fn a_word_weighs_the_same_with_and_without_diacritics() {
        let weight = |text| {
            query_grams(text)
                .iter()
                .map(|term| term.weight)
                .sum::<f32>()
        };
        assert_eq!(weight("zakašnjenje"), weight("zakasnjenje"));
        assert_eq!(weight("čvor"), weight("cvor"));
        assert_eq!(weight("što"), 2.0 * 1.0, "whole, and as a beginning");
    }

    #[test]
    fn questions_name_each_term_once() {
        let terms = query_words("račun Racun RAČUN");
        assert_eq!(terms.len(), 1);
        assert_eq!(terms[0].text, "racun");
    }

    #[test]
    fn hostile_text_is_harmless() {
        for text in [
            "",
            "\u{301}\u{301}\u{301}",
            "---///...",
            "\u{0}\u{fffd}\u{10ffff}",
            "İstanbul ẞ ﷺ",
        ] {
            let _ = (gram_texts(text), word_texts(text));
        }
        assert_eq!(
            word_texts(&"x".repeat(10_000)),
            Vec::<String>::new(),
            "a run of ten thousand letters is no word"
        );
    }
}
