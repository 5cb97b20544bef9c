//! Where sentences begin, in Croatian and English, by rules.
//!
//! Good enough to cut long paragraphs between sentences; a missed end makes a piece longer, a false
//! one makes it shorter, and neither loses text.

/// Abbreviations that end with a full stop in the middle of sentences, in lower case, without it.
const ABBREVIATIONS: &[&str] = &[
    // Croatian
    "al", "bacc", "br", "čl", "d.d", "d.o.o", "dipl", "dr", "g", "gđa", "gđe", "god", "i.e", "ing",
    "izd", "mag", "mr", "npr", "odn", "prof", "r.br", "rbr", "sc", "st", "str", "sv", "t.j", "tel",
    "tj", "toč", "tzv", "u.z", "ul", "univ", "ur", "usp", "v", "v.d", // English
    "approx", "ca", "cf", "dept", "e.g", "eds", "eg", "fig", "figs", "ie", "inc", "jr", "ltd",
    "mrs", "ms", "no", "nos", "op", "p", "pp", "sec", "sr", "viz", "vol", "vs",
];

/// Byte offsets at which sentences begin, the first one at 0.
pub fn sentence_starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let ends = match char {
            '.' | '!' | '?' | '…' => true,
            '\n' => {
                // A line that begins like a list's item stands for itself.
                let rest = text[at + 1..].trim_start();
                rest.starts_with(['•', '–', '*', '▪']) || rest.starts_with("- ")
            }
            _ => false,
        };
        if !ends {
            continue;
        }
        let mut end = at + char.len_utf8();
        let bare_end = end;
        while let Some((at, _)) = chars.next_if(|(_, next)| {
            matches!(
                next,
                '.' | '!' | '?' | '…' | '"' | '”' | '“' | '\'' | '’' | ')' | ']' | '»'
            )
        }) {
            end = at + text[at..].chars().next().map_or(1, char::len_utf8);
        }
        let rest = &text[end..];
        let gap = rest.len() - rest.trim_start().len();
        if (gap == 0 && char != '\n') || gap == rest.len() {
            continue;
        }
        let next = rest[gap..].chars().next().unwrap_or(' ');
        let opens = next.is_uppercase()
            || next.is_numeric()
            || matches!(
                next,
                '"' | '„' | '“' | '«' | '»' | '\'' | '(' | '[' | '•' | '–' | '-' | '*' | '▪'
            );
        let letterless = !next.is_alphabetic() || (!next.is_lowercase() && !next.is_uppercase());
        if char != '\n' && !(opens || letterless) {
            continue;
        }
        if char == '.' && end == bare_end && is_abbreviation(&text[..at], next) {
            continue;
        }
        starts.push(end + gap);
    }
    starts.dedup();
    starts
}

/// Whether the full stop after `before` belongs to its last word.
fn is_abbreviation(before: &str, next: char) -> bool {
    let word = before
        .rsplit(|char: char| char.is_whitespace() || matches!(char, '(' | '[' | '"' | '„'))
        .next()
        .unwrap_or("");
    let mut chars = word.chars();
    match (chars.next(), chars.next()) {
        (None, _) => return false,
        // Initials: I. Horvat.
        (Some(initial), None) if initial.is_uppercase() => return true,
        _ => {}
    }
    // Ordinals: 12. siječnja, 5. Opće odredbe are one; a sentence that ends with a number is rarer.
    if word.chars().all(|char| char.is_ascii_digit()) && word.len() <= 2 {
        return next.is_alphabetic();
    }
    let word = word.to_lowercase();
    ABBREVIATIONS.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(text: &str) -> Vec<&str> {
        let starts = sentence_starts(text);
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        starts
            .iter()
            .zip(ends)
            .map(|(start, end)| text[*start..end].trim_end())
            .collect()
    }

    #[test]
    fn croatian() {
        assert_eq!(
            sentences(
                "Prema čl. 12. st. 3. Zakona rok je 15. siječnja 2026. godine. Dr. sc. I. Horvat ima pravo! Žalba? Da."
            ),
            [
                "Prema čl. 12. st. 3. Zakona rok je 15. siječnja 2026. godine.",
                "Dr. sc. I. Horvat ima pravo!",
                "Žalba?",
                "Da."
            ]
        );
    }

    #[test]
    fn english() {
        assert_eq!(
            sentences(
                "See e.g. Fig. 3 for version 1.2.3 of it. \"Really?\" she said. Yes (no.) Maybe."
            ),
            [
                "See e.g. Fig. 3 for version 1.2.3 of it.",
                "\"Really?\" she said.",
                "Yes (no.)",
                "Maybe."
            ]
        );
    }

    #[test]
    fn text_without_ends_is_one_sentence() {
        assert_eq!(sentence_starts("no end"), [0]);
        assert_eq!(sentence_starts(""), [0]);
        assert_eq!(sentence_starts("ends."), [0]);
        assert_eq!(sentence_starts("..."), [0]);
    }
}
