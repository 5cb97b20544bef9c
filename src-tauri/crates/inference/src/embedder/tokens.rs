//! Counting tokens without running a model.

use std::path::Path;

use tokenizers::{Encoding, Tokenizer};

use super::unigram::{self, Compact};
use crate::{Error, TokenCounter};

/// A text is tokenised piece by piece, each about this long and cut at white space, which no token
/// spans. The tokenizer keeps some hundred bytes per byte of its input, so that a book at once would
/// take gigabytes.
const PIECE_BYTES: usize = 32 << 10;

/// A model's own tokenizer, from its `tokenizer.json`. Some 10 MB for a unigram vocabulary of
/// 250,000 pieces.
pub struct TokenizerCounter {
    tokenizer: Vocabulary,
}

enum Vocabulary {
    Compact(Box<Compact>),
    Whole(Box<Tokenizer>),
}

impl TokenizerCounter {
    /// Reads the vocabulary; a tenth of a second for one of 250,000 pieces. Blocking.
    pub fn open(tokenizer_json: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Load {
            path: tokenizer_json.to_owned(),
            reason,
        };
        let json = std::fs::read(tokenizer_json).map_err(|error| failed(error.to_string()))?;
        if let Some(compact) = unigram::open(&json).map_err(failed)? {
            return Ok(Self {
                tokenizer: Vocabulary::Compact(Box::new(compact)),
            });
        }
        let mut whole = Tokenizer::from_bytes(&json).map_err(|error| failed(error.to_string()))?;
        whole.with_padding(None);
        whole
            .with_truncation(None)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            tokenizer: Vocabulary::Whole(Box::new(whole)),
        })
    }

    fn encode(&self, text: &str) -> tokenizers::Result<Encoding> {
        match &self.tokenizer {
            Vocabulary::Compact(compact) => compact.encode(text, false),
            Vocabulary::Whole(whole) => whole.encode(text, false),
        }
    }
}

impl TokenCounter for TokenizerCounter {
    /// Starts never go back. A token that stands for the white space before a word shares the word's
    /// first bytes.
    fn token_offsets(&self, text: &str) -> Vec<(usize, usize)> {
        let mut offsets = Vec::with_capacity(text.len() / 3);
        let mut start = 0;
        while start < text.len() {
            let end = piece_end(text, start);
            match self.encode(&text[start..end]) {
                Ok(encoding) => offsets.extend(
                    encoding
                        .get_offsets()
                        .iter()
                        .map(|(from, to)| (start + from, start + to)),
                ),
                // Never seen; a token per character keeps chunks from becoming too long.
                Err(error) => {
                    tracing::warn!(%error, "a text could not be split into tokens");
                    offsets.extend(
                        text[start..end]
                            .char_indices()
                            .map(|(at, c)| (start + at, start + at + c.len_utf8())),
                    );
                }
            }
            start = end;
        }
        offsets
    }
}

/// After the last white space within reach, else at the last character that fits.
fn piece_end(text: &str, start: usize) -> usize {
    if text.len() - start <= PIECE_BYTES {
        return text.len();
    }
    let limit = text.floor_char_boundary(start + PIECE_BYTES);
    text[start..limit]
        .char_indices()
        .rev()
        .find(|(_, c)| c.is_whitespace())
        .map_or(limit, |(at, c)| start + at + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_at_white_space_and_cover_the_text() {
        let text = "čvor i žaba ".repeat(10_000);
        let mut start = 0;
        while start < text.len() {
            let end = piece_end(&text, start);
            assert!(end > start && end - start <= PIECE_BYTES);
            assert!(end == text.len() || text[..end].ends_with(' '));
            start = end;
        }
        let solid = "č".repeat(PIECE_BYTES);
        assert_eq!(piece_end(&solid, 0), PIECE_BYTES);
    }
}
