//! From the bytes of tokens to text that may be shown: whole characters only, and nothing of a stop
//! text, however it is cut into tokens.

/// Collects a generation's text and says what of it can be shown.
pub(crate) struct TextStream {
    /// Bytes of a character that is not complete yet.
    partial: Vec<u8>,
    text: String,
    shown: usize,
    stops: Vec<String>,
    stopped: bool,
}

impl TextStream {
    pub(crate) fn new(stops: &[String]) -> Self {
        Self {
            partial: Vec::new(),
            text: String::new(),
            shown: 0,
            stops: stops
                .iter()
                .filter(|stop| !stop.is_empty())
                .cloned()
                .collect(),
            stopped: false,
        }
    }

    /// Adds a token's bytes and returns what may be shown now, often nothing.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<String> {
        if self.stopped {
            return None;
        }
        let before = self.text.len();
        self.partial.extend_from_slice(bytes);
        self.take_whole_characters();
        self.cut_at_stop(before);
        let end = if self.stopped {
            self.text.len()
        } else {
            self.text.len() - self.possible_stop()
        };
        self.show(end)
    }

    /// Whether a stop text has ended the answer.
    pub(crate) const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// What was held back, now that nothing follows.
    pub(crate) fn finish(&mut self) -> Option<String> {
        if !self.stopped && !self.partial.is_empty() {
            self.partial.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        self.show(self.text.len())
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn show(&mut self, end: usize) -> Option<String> {
        let new = self
            .text
            .get(self.shown..end)
            .filter(|new| !new.is_empty())?;
        let new = new.to_owned();
        self.shown = end;
        Some(new)
    }

    fn take_whole_characters(&mut self) {
        loop {
            match std::str::from_utf8(&self.partial) {
                Ok(text) => {
                    self.text.push_str(text);
                    self.partial.clear();
                    return;
                }
                Err(error) => {
                    let (valid, rest) = self.partial.split_at(error.valid_up_to());
                    self.text.push_str(&String::from_utf8_lossy(valid));
                    match error.error_len() {
                        None => {
                            self.partial = rest.to_vec();
                            return;
                        }
                        Some(wrong) => {
                            self.text.push(char::REPLACEMENT_CHARACTER);
                            self.partial = rest[wrong..].to_vec();
                        }
                    }
                }
            }
        }
    }

    /// Looks for a stop text that ends after `before`, and removes it and what follows.
    fn cut_at_stop(&mut self, before: usize) {
        let found = self
            .stops
            .iter()
            .filter_map(|stop| {
                let mut from = before.saturating_sub(stop.len()).max(self.shown);
                while !self.text.is_char_boundary(from) {
                    from -= 1;
                }
                self.text[from..].find(stop).map(|at| from + at)
            })
            .min();
        if let Some(at) = found {
            self.text.truncate(at);
            self.stopped = true;
        }
    }

    /// Bytes at the end that may be the beginning of a stop text.
    fn possible_stop(&self) -> usize {
        let unshown = &self.text[self.shown..];
        self.stops
            .iter()
            .flat_map(|stop| {
                stop.char_indices()
                    .skip(1)
                    .map(|(at, _)| &stop[..at])
                    .filter(|beginning| unshown.ends_with(beginning))
                    .map(str::len)
            })
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], tokens: &[&[u8]]) -> (Vec<String>, String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut stream = TextStream::new(&stops);
        let mut pieces: Vec<String> = tokens
            .iter()
            .filter_map(|token| stream.push(token))
            .collect();
        pieces.extend(stream.finish());
        let stopped = stream.is_stopped();
        let text = stream.into_text();
        assert_eq!(pieces.concat(), text, "what was shown is the text");
        (pieces, text, stopped)
    }

    #[test]
    fn characters_are_shown_whole() {
        let text = "Čvor žaba 🐸!";
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        let (pieces, whole, _) = run(&[], &bytes);
        assert_eq!(whole, text);
        assert_eq!(
            pieces.len(),
            text.chars().count(),
            "one piece per character"
        );
        let (_, broken, _) = run(&[], &[b"a\xc4", b"b\xff", b"\xe2\x82"]);
        assert_eq!(
            broken, "a\u{fffd}b\u{fffd}\u{fffd}",
            "bytes that are no text are marked"
        );
    }

    #[test]
    fn stop_texts_never_show_however_they_are_cut() {
        for cut in 1..6 {
            let bytes = "Da.\n\nPitanje: x".as_bytes();
            let tokens: Vec<&[u8]> = bytes.chunks(cut).collect();
            let (_, text, stopped) = run(&["\n\nPitanje", "###"], &tokens);
            assert_eq!(
                (text.as_str(), stopped),
                ("Da.", true),
                "cut every {cut} bytes"
            );
        }
        let (pieces, text, stopped) = run(&["###"], &[b"a#", b"#", b"b##"]);
        assert_eq!(
            (text.as_str(), stopped),
            ("a##b##", false),
            "a false alarm is shown late"
        );
        assert_eq!(pieces, ["a", "##b", "##"]);
        let (_, text, _) = run(&["b", "abc"], &[b"xabcd"]);
        assert_eq!(text, "x", "the earliest stop counts");
    }
}
