//! A unigram vocabulary in little memory.
//!
//! The tokenizers crate keeps 250,000 pieces as two hash maps of strings and a trie of hash maps,
//! 280 MB. For counting, the pieces' texts need not be kept: their trie lies in three arrays of 9
//! bytes a node, and everything before and after the model (normalizing, splitting, offsets) is the
//! crate's own. The segmentation is that of the crate's `Unigram`, step by step.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use tokenizers::models::unigram::UnigramTrainer;
use tokenizers::{
    AddedToken, DecoderWrapper, Model, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, Token, TokenizerImpl,
};

/// What a character outside the vocabulary scores below the worst piece.
const UNKNOWN_PENALTY: f64 = 10.0;

/// In place of a piece's id: no piece ends here.
const NO_PIECE: u32 = u32::MAX;

pub(super) type Compact = TokenizerImpl<
    Unigram,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Reads a `tokenizer.json`; `None` when its model is another than unigram pieces.
pub(super) fn open(json: &[u8]) -> Result<Option<Compact>, String> {
    let head: Head = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if head.model.kind != "Unigram" || head.model.byte_fallback {
        return Ok(None);
    }
    let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let unigram = Unigram::new(file.model.vocab, file.model.unk_id)?;
    let mut tokenizer = Compact::new(unigram);
    tokenizer.with_pre_tokenizer(file.pre_tokenizer);
    tokenizer
        .with_normalizer(file.normalizer)
        .map_err(|error| error.to_string())?;
    let (special, plain): (Vec<AddedToken>, Vec<AddedToken>) = file
        .added_tokens
        .into_iter()
        .partition(|added| added.special);
    tokenizer
        .add_special_tokens(special)
        .and_then(|_| tokenizer.add_tokens(plain))
        .map_err(|error| error.to_string())?;
    Ok(Some(tokenizer))
}

#[derive(Deserialize)]
struct Head {
    model: Kind,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    byte_fallback: bool,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    pre_tokenizer: Option<PreTokenizerWrapper>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    model: ModelPart,
}

#[derive(Deserialize)]
struct ModelPart {
    unk_id: Option<u32>,
    vocab: Pieces,
}

/// The vocabulary as it stands in the file, texts one after the other.
#[derive(Default)]
struct Pieces {
    text: Vec<u8>,
    ends: Vec<u32>,
    scores: Vec<f64>,
}

impl Pieces {
    fn get(&self, id: u32) -> &[u8] {
        let at = |id: u32| self.ends[id as usize] as usize;
        let start = id.checked_sub(1).map_or(0, at);
        &self.text[start..at(id)]
    }
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pieces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pieces with their scores")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pieces, A::Error> {
                let mut pieces = Pieces::default();
                while let Some((piece, score)) = seq.next_element::<(String, f64)>()? {
                    pieces.text.extend_from_slice(piece.as_bytes());
                    pieces.ends.push(pieces.text.len() as u32);
                    pieces.scores.push(score);
                }
                Ok(pieces)
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

/// The vocabulary as a trie. A node's children are the nodes from its `first` up to the next node's,
/// ascending by label; node 0 is the root.
pub(super) struct Unigram {
    labels: Vec<u8>,
    first: Vec<u32>,
    /// The id of the piece that ends at the node, or [`NO_PIECE`].
    piece: Vec<u32>,
    /// By id.
    scores: Vec<f64>,
    unknown: u32,
    unknown_score: f64,
}

/// How a best path gets to a place in the text.
#[derive(Clone, Copy)]
struct Arrival {
    score: f64,
    /// Where its last piece starts; none while nothing gets here.
    start: Option<usize>,
    is_unknown: bool,
}

impl Unigram {
    fn new(pieces: Pieces, unknown: Option<u32>) -> Result<Self, String> {
        let count = pieces.scores.len() as u32;
        let unknown = unknown
            .filter(|&id| id < count)
            .ok_or("the vocabulary has no piece for what it does not know")?;
        let worst = pieces.scores.iter().copied().fold(f64::INFINITY, f64::min);
        // Of equal pieces the last one counts, so it goes last in each run.
        let mut sorted: Vec<u32> = (0..count).collect();
        sorted.sort_by(|&a, &b| pieces.get(a).cmp(pieces.get(b)).then(a.cmp(&b)));

        let mut trie = Self {
            labels: vec![0],
            first: Vec::new(),
            piece: Vec::new(),
            scores: Vec::new(),
            unknown,
            unknown_score: worst - UNKNOWN_PENALTY,
        };
        // Level by level, so that the nodes come in the order of their numbers and siblings lie side
        // by side. Each has the range of the sorted pieces that go through it.
        let mut level = Vec::from([(0, sorted.len())]);
        let mut depth = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for (from, to) in level {
                let mut rest = from;
                let mut ends_here = NO_PIECE;
                while rest < to && pieces.get(sorted[rest]).len() == depth {
                    ends_here = sorted[rest];
                    rest += 1;
                }
                trie.piece.push(ends_here);
                trie.first.push(trie.labels.len() as u32);
                while rest < to {
                    let label = pieces.get(sorted[rest])[depth];
                    let run =
                        sorted[rest..to].partition_point(|&id| pieces.get(id)[depth] == label);
                    trie.labels.push(label);
                    next.push((rest, rest + run));
                    rest += run;
                }
            }
            level = next;
            depth += 1;
        }
        trie.first.push(trie.labels.len() as u32);
        trie.labels.shrink_to_fit();
        trie.first.shrink_to_fit();
        trie.piece.shrink_to_fit();
        trie.scores = pieces.scores;
        trie.scores.shrink_to_fit();
        Ok(trie)
    }

    fn child(&self, node: u32, label: u8) -> Option<u32> {
        let from = self.first[node as usize];
        let to = self.first[node as usize + 1];
        let labels = &self.labels[from as usize..to as usize];
        labels.binary_search(&label).ok().map(|at| from + at as u32)
    }

    /// Calls with the length and the id of every piece that the text begins with, the shortest
    /// first.
    fn each_prefix(&self, text: &[u8], mut found: impl FnMut(usize, u32)) {
        let mut node = 0;
        for (at, &byte) in text.iter().enumerate() {
            let Some(child) = self.child(node, byte) else {
                return;
            };
            node = child;
            let piece = self.piece[node as usize];
            if piece != NO_PIECE {
                found(at + 1, piece);
            }
        }
    }

    fn id(&self, text: &str) -> Option<u32> {
        let mut whole = None;
        self.each_prefix(text.as_bytes(), |length, piece| {
            if length == text.len() {
                whole = Some(piece);
            }
        });
        whole
    }

    /// Where the pieces of the likeliest segmentation end; neighbouring unknowns are one.
    fn segment(&self, text: &str) -> Vec<usize> {
        let nowhere = Arrival {
            score: 0.0,
            start: None,
            is_unknown: false,
        };
        let mut arrivals = vec![nowhere; text.len() + 1];
        for (start, first) in text.char_indices() {
            let so_far = arrivals[start].score;
            let mut is_known = false;
            let mut offer = |end: usize, score: f64, is_unknown: bool| {
                let arrival = &mut arrivals[end];
                if arrival.start.is_none() || score > arrival.score {
                    *arrival = Arrival {
                        score,
                        start: Some(start),
                        is_unknown,
                    };
                }
            };
            self.each_prefix(&text.as_bytes()[start..], |length, id| {
                is_known |= length == first.len_utf8();
                let score = so_far + self.scores[id as usize];
                offer(start + length, score, id == self.unknown);
            });
            if !is_known {
                let score = so_far + self.unknown_score;
                offer(start + first.len_utf8(), score, true);
            }
        }
        let mut ends = Vec::new();
        let mut end = text.len();
        let mut after_is_unknown = false;
        while end > 0 {
            let arrival = arrivals[end];
            if !(arrival.is_unknown && after_is_unknown) {
                ends.push(end);
            }
            after_is_unknown = arrival.is_unknown;
            end = arrival
                .start
                .expect("BUG: every character is a piece or unknown");
        }
        ends.reverse();
        ends
    }
}

impl Model for Unigram {
    type Trainer = UnigramTrainer;

    fn tokenize(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        let mut start = 0;
        let tokens = self.segment(text).into_iter().map(|end| {
            let piece = &text[start..end];
            let id = self.id(piece).unwrap_or(self.unknown);
            let token = Token::new(id, piece.to_owned(), (start, end));
            start = end;
            token
        });
        Ok(tokens.collect())
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.id(token)
    }

    /// The texts are not kept.
    fn id_to_token(&self, _: u32) -> Option<String> {
        None
    }

    /// The texts are not kept.
    fn get_vocab(&self) -> HashMap<String, u32> {
        HashMap::new()
    }

    fn get_vocab_size(&self) -> usize {
        self.scores.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("a compact vocabulary is for counting alone".into())
    }

    fn get_trainer(&self) -> UnigramTrainer {
        UnigramTrainer::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokenizers::Tokenizer;

    use super::*;

    /// Pieces that compete, one that stands twice, and one of several bytes a character.
    fn vocabulary() -> Vec<u8> {
        let file = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [
                {"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
                 "rstrip": false, "normalized": false, "special": true},
            ],
            "normalizer": {"type": "NFKC"},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁",
                              "prepend_scheme": "always", "split": true},
            "post_processor": null,
            "decoder": null,
            "model": {"type": "Unigram", "unk_id": 1, "byte_fallback": false, "vocab": [
                ["<s>", 0.0], ["<unk>", 0.0], ["▁", -3.0], ["a", -4.0], ["ab", -4.5],
                ["b", -4.2], ["abc", -9.5], ["▁ab", -5.0], ["č", -6.0], ["čaj", -6.5],
                ["j", -5.0], ["ab", -4.4], ["▁a", -6.1], ["aj", -8.0],
            ]},
        });
        serde_json::to_vec(&file).unwrap()
    }

    fn offsets<T: Fn(&str) -> tokenizers::Encoding>(
        encode: T,
        text: &str,
    ) -> Vec<(u32, usize, usize)> {
        let encoding = encode(text);
        let ids = encoding.get_ids().iter();
        ids.zip(encoding.get_offsets())
            .map(|(id, (from, to))| (*id, *from, *to))
            .collect()
    }

    #[test]
    fn a_compact_vocabulary_counts_as_the_whole_one_does() {
        let json = vocabulary();
        let compact = open(&json).unwrap().expect("unigram");
        let whole = Tokenizer::from_bytes(&json).unwrap();
        for text in [
            "abc ab čaj",
            "",
            " ",
            "a  b",
            "xyz",
            "axbxč",
            "abab<s>ab",
            "<unk> a",
            "ﬁ ab",
            "čačaj\u{301}",
            "🦀🦀 ab 🦀",
            "abcabcabc",
            "ajajaj\nab",
        ] {
            assert_eq!(
                offsets(|text| compact.encode(text, false).unwrap(), text),
                offsets(|text| whole.encode(text, false).unwrap(), text),
                "{text:?}"
            );
        }
    }

    #[test]
    fn other_models_are_left_to_others() {
        let json = br#"{"model": {"type": "WordPiece", "vocab": {}}}"#;
        assert!(open(json).unwrap().is_none());
        assert!(open(b"no json").is_err());
        let unknown = br#"{"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0]]}}"#;
        assert!(open(unknown).is_err());
    }
}
