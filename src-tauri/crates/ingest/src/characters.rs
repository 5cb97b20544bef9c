//! Cleaning of extracted characters: what no reader sees is dropped, and letters are composed.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Longest title that is kept, in characters.
const TITLE_CHARS: usize = 300;

/// Whether a character is there for layout engines alone: soft hyphens, zero-width marks, byte
/// order marks, controls. Zero-width joiners stay, because some scripts spell with them.
pub fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{200e}' | '\u{200f}' | '\u{fffe}'
            | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    ) || (char.is_control() && !matches!(char, '\n' | '\t'))
}

/// Composes letters (NFC): PDFs and macOS write `č` as `c` and a caron, questions don't.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// Appends `text` with every run of white space as one space, as a browser would show it.
pub fn push_collapsed(into: &mut String, text: &str) {
    let mut space = into.ends_with(|char: char| char.is_whitespace());
    for char in text.chars() {
        if char.is_whitespace() {
            if !space && !into.is_empty() {
                into.push(' ');
            }
            space = true;
        } else if !is_invisible(char) {
            into.push(char);
            space = false;
        }
    }
}

/// One line without outer white space.
pub fn collapsed(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    push_collapsed(&mut line, text);
    line.truncate(line.trim_end().len());
    line
}

/// A title as it is shown: one line, bounded; `None` when nothing is left.
pub fn title(text: &str) -> Option<String> {
    let title: String = composed(&collapsed(text))
        .chars()
        .take(TITLE_CHARS)
        .collect();
    let title = title.trim();
    title
        .chars()
        .any(char::is_alphanumeric)
        .then(|| title.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_dropped() {
        assert_eq!(
            collapsed(" za\u{ad}kon\u{a0} \t\u{200b}o\nradu "),
            "zakon o radu"
        );
        assert_eq!(composed("c\u{30c}"), "č");
        assert_eq!(title(" \n "), None);
        assert_eq!(title("--"), None);
        assert_eq!(title(" Zakon\no radu ").as_deref(), Some("Zakon o radu"));
    }
}
