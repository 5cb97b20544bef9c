//! `[n]` in an answer: kept when passage n stood in the prompt, else removed.
//!
//! The same rule serves the stream and the final text, so that nothing is shown for a moment that
//! is not shown in the end.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::support;

/// No list of numbers in brackets is longer; anything else in brackets is ordinary text.
const LONGEST_REFERENCE: usize = 24;

/// Passes an answer through while it streams, rewriting `[1, 2]` to `[1][2]` and dropping numbers
/// that were not in the prompt.
#[derive(Debug)]
pub struct CitationFilter {
    valid: BTreeSet<u32>,
    held: String,
    /// White space that is only written when something follows it.
    space: String,
    used: Vec<u32>,
    /// A reference was just dropped, and with it the white space that led to it.
    dropped: bool,
}

impl CitationFilter {
    #[must_use]
    pub fn new(valid: impl IntoIterator<Item = u32>) -> Self {
        Self {
            valid: valid.into_iter().collect(),
            held: String::new(),
            space: String::new(),
            used: Vec::new(),
            dropped: false,
        }
    }

    /// The text that is now certain.
    pub fn push(&mut self, piece: &str) -> String {
        let mut out = String::new();
        for c in piece.chars() {
            if self.held.is_empty() {
                match c {
                    '[' => self.held.push(c),
                    c if c.is_whitespace() => {
                        if std::mem::take(&mut self.dropped) {
                            self.space.clear();
                        }
                        self.space.push(c);
                    }
                    c => {
                        if std::mem::take(&mut self.dropped)
                            && matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | ')')
                        {
                            self.space.clear();
                        }
                        out.push_str(&self.space);
                        self.space.clear();
                        out.push(c);
                    }
                }
                continue;
            }
            if c == '[' {
                // `[[9]]` and `[1[9]]` must not hide a number from the check.
                self.release_as_text(&mut out);
                self.held.push(c);
                continue;
            }
            self.held.push(c);
            if c == ']' {
                self.release(&mut out);
            } else if !is_reference_char(c) || self.held.len() > LONGEST_REFERENCE {
                self.release_as_text(&mut out);
            }
        }
        out
    }

    /// The rest, once the model has ended. An unfinished `[1` is not a citation and is dropped.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        if !self.held.is_empty() && !self.held[1..].chars().all(is_reference_char) {
            self.release_as_text(&mut out);
        }
        self.held.clear();
        self.space.clear();
        out
    }

    fn release(&mut self, out: &mut String) {
        let inside = &self.held[1..self.held.len() - 1];
        let Some(numbers) = parse_reference(inside) else {
            self.release_as_text(out);
            return;
        };
        self.held.clear();
        let valid: Vec<u32> = numbers
            .into_iter()
            .filter(|n| self.valid.contains(n))
            .collect();
        self.dropped = valid.is_empty();
        if !valid.is_empty() {
            out.push_str(&self.space);
            self.space.clear();
        }
        for n in valid {
            let _ = write!(out, "[{n}]");
            if !self.used.contains(&n) {
                self.used.push(n);
            }
        }
    }

    fn release_as_text(&mut self, out: &mut String) {
        out.push_str(&self.space);
        self.space.clear();
        out.push_str(&self.held);
        self.held.clear();
    }
}

fn is_reference_char(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, ',' | ';' | ' ' | '-' | '–' | ']')
}

/// `1`, `1, 2`, `1; 2` or `1-3`; `None` when it is something else.
fn parse_reference(inside: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in inside.split([',', ';']) {
        match part.split_once(['-', '–']) {
            Some((from, to)) => {
                let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
                // A span of years in brackets is not a list of passages.
                if to < from || to - from > 20 {
                    return None;
                }
                numbers.extend(from..=to);
            }
            None => numbers.push(part.trim().parse().ok()?),
        }
    }
    // `[2021]` is a year; no prompt holds so many passages.
    numbers.iter().all(|n| *n < 1000).then_some(numbers)
}

/// The whole answer at once: the cleaned text and the numbers it uses.
#[must_use]
pub fn resolve(answer: &str, valid: impl IntoIterator<Item = u32>) -> (String, Vec<u32>) {
    let mut filter = CitationFilter::new(valid);
    let mut text = filter.push(answer);
    text.push_str(&filter.finish());
    (text, filter.used)
}

/// The answer's sentences with the numbers that each carries. The pieces join to the answer.
#[must_use]
pub fn sentences(answer: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut chars = answer.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let ends = match c {
            '\n' => true,
            '.' | '!' | '?' | '…' => {
                chars.peek().is_none_or(|(_, next)| next.is_whitespace())
                    && !ends_with_abbreviation(&answer[start..at])
                    && !goes_on(&answer[at + c.len_utf8()..])
            }
            _ => false,
        };
        if !ends {
            continue;
        }
        // References that follow the full stop belong to the sentence before it.
        let mut end = at + c.len_utf8();
        let mut rest = &answer[end..];
        loop {
            let trimmed = rest.trim_start_matches(' ');
            match trimmed
                .strip_prefix('[')
                .and_then(|tail| tail.split_once(']'))
            {
                Some((inside, tail)) if parse_reference(inside).is_some() => {
                    end = answer.len() - tail.len();
                    rest = tail;
                }
                _ => break,
            }
        }
        while chars.peek().is_some_and(|(next, _)| *next < end) {
            chars.next();
        }
        pieces.push(&answer[start..end]);
        start = end;
    }
    if start < answer.len() {
        pieces.push(&answer[start..]);
    }
    pieces
}

/// Whether a sentence goes on after a full stop, as in "select Add User... under Other Users".
fn goes_on(rest: &str) -> bool {
    rest.trim_start_matches(' ').starts_with(char::is_lowercase)
}

fn ends_with_abbreviation(text: &str) -> bool {
    let word = text
        .rsplit(|c: char| c.is_whitespace() || c == '(')
        .next()
        .unwrap_or_default();
    // "br. 5", "čl. 3", "e.g. this", "5. siječnja": a number or a known abbreviation goes on.
    word.chars().all(|c| c.is_ascii_digit()) && !word.is_empty()
        || matches!(
            word.to_lowercase().as_str(),
            "br" | "čl"
                | "st"
                | "npr"
                | "tzv"
                | "itd"
                | "sl"
                | "str"
                | "e.g"
                | "i.e"
                | "no"
                | "mr"
                | "dr"
                | "art"
                | "vs"
        )
}

/// A document's text with its own `[3]` in other brackets, which look alike and refer to nothing here.
#[must_use]
pub fn without_own_references(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        out.push_str(&rest[..open]);
        let tail = &rest[open + 1..];
        match tail.find(['[', ']']) {
            Some(close)
                if tail[close..].starts_with(']') && parse_reference(&tail[..close]).is_some() =>
            {
                out.push('［');
                out.push_str(&tail[..close]);
                out.push('］');
                rest = &tail[close + 1..];
            }
            _ => {
                out.push('[');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    out
}

/// A sentence for comparison: its letters and digits in lower case, without references.
#[must_use]
pub fn folded(sentence: &str) -> String {
    support::without_references(sentence)
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Shorter sentences may rightly come twice ("Click OK.").
const SHORTEST_REPEATED_CHARS: usize = 24;

/// Whether the last whole sentence of a text has been said before in it.
#[must_use]
pub fn repeats(text: &str) -> bool {
    if !text.trim_end().ends_with(['.', '!', '?', ']', ':']) {
        return false;
    }
    let pieces: Vec<String> = sentences(text).into_iter().map(folded).collect();
    let Some((last, before)) = pieces.split_last() else {
        return false;
    };
    last.chars().count() >= SHORTEST_REPEATED_CHARS && before.contains(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_goes_on_after_dots_in_it() {
        let answer = "Select Add User... under Other Users. Then wait.";
        assert_eq!(
            sentences(answer),
            ["Select Add User... under Other Users.", " Then wait."]
        );
    }

    #[test]
    fn keeps_valid_numbers_and_drops_the_rest() {
        let (text, used) = resolve("A [1]. B [2, 7]. C [9]. See [2021] and [x].", [1, 2]);
        assert_eq!(text, "A [1]. B [2]. C. See [2021] and [x].");
        assert_eq!(used, [1, 2]);
    }

    #[test]
    fn ranges_and_lists_become_single_citations() {
        assert_eq!(resolve("A [1-3].", 1..=3).0, "A [1][2][3].");
        assert_eq!(resolve("A [1;3]", 1..=3).0, "A [1][3]");
        assert_eq!(
            resolve("In the years [1990-2020].", 1..=3).0,
            "In the years [1990-2020]."
        );
    }

    #[test]
    fn every_split_of_the_stream_gives_the_final_text() {
        let answer = "Prvo [1], drugo [2, 3]  i treće [44]. [a] kraj [1";
        let (whole, used) = resolve(answer, 1..=3);
        for size in 1..answer.chars().count() {
            let mut filter = CitationFilter::new(1..=3);
            let chars: Vec<char> = answer.chars().collect();
            let mut streamed = String::new();
            for piece in chars.chunks(size) {
                streamed.push_str(&filter.push(&piece.iter().collect::<String>()));
            }
            streamed.push_str(&filter.finish());
            assert_eq!(streamed, whole, "pieces of {size}");
            assert_eq!(filter.used, used);
        }
        assert_eq!(whole, "Prvo [1], drugo [2][3]  i treće. [a] kraj");
    }

    #[test]
    fn sentences_keep_their_references() {
        let answer = "Rok je 5. siječnja [1]. Vidi čl. 3. [2] Kraj!\nNovo";
        let pieces = sentences(answer);
        assert_eq!(
            pieces,
            [
                "Rok je 5. siječnja [1].",
                " Vidi čl. 3. [2] Kraj!",
                "\n",
                "Novo"
            ]
        );
        assert_eq!(pieces.concat(), answer);
        assert_eq!(sentences("One. [1] Two [2]."), ["One. [1]", " Two [2]."]);
    }

    #[test]
    fn a_model_that_goes_in_circles_is_noticed() {
        let once = "Open the Activities overview [1]. Start typing Settings [1].";
        assert!(!repeats(once));
        let circling = format!(
            "{once} You can find the address in the panel [1]. You can find the address in the panel [2]."
        );
        assert!(repeats(&circling));
        assert!(!repeats("Click OK. Click OK."), "short ones may come twice");
        assert!(
            !repeats(&circling[..circling.len() - 5]),
            "not before it is whole"
        );
    }

    #[test]
    fn brackets_in_brackets_hide_nothing() {
        assert_eq!(
            resolve("It eats crayfish [[14]] [2].", [2]).0,
            "It eats crayfish [] [2]."
        );
        assert!(!resolve("So [1[9]].", [2]).0.contains("[9]"));
        assert_eq!(resolve("So [[2]].", [2]), ("So [[2]].".to_owned(), vec![2]));
    }

    #[test]
    fn a_documents_own_references_refer_to_nothing_here() {
        let text = "24 days. [1] See x[[2]] and [a], [3, 4] and [5";
        assert_eq!(
            without_own_references(text),
            "24 days. ［1］ See x[［2］] and [a], ［3, 4］ and [5"
        );
    }
}
