//! Headers and footers of office documents. They are the same on many pages, in several parts that
//! differ little, and each text in them is written once.

use std::collections::HashSet;

use super::embedded::{Blocks, blocks};
use crate::extracted::{Assembler, Extracted};
use crate::refusal::Refusal;

/// All headers of a document, or all footers.
#[derive(Default)]
pub struct Margin {
    known: HashSet<String>,
    blocks: Blocks,
}

impl Margin {
    /// Adds what a header says that none before it said.
    pub fn add(&mut self, margin: &Extracted) {
        for (kind, text) in blocks(margin) {
            if !is_page_number(&text) && self.known.insert(text.clone()) {
                self.blocks.push((kind, text));
            }
        }
    }

    pub fn push(&self, assembler: &mut Assembler) -> Result<(), Refusal> {
        for (kind, text) in &self.blocks {
            assembler.push(*kind, text)?;
        }
        Ok(())
    }
}

/// Whether a text says nothing but which page it stands on: `Stranica 3 od 5`.
fn is_page_number(text: &str) -> bool {
    const WORDS: [&str; 8] = ["stranica", "strana", "str", "od", "page", "pg", "p", "of"];
    text.split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .all(|word| {
            word.bytes().all(|byte| byte.is_ascii_digit()) && word.len() <= 3
                || WORDS.contains(&word.to_lowercase().as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_numbers_are_told_from_text() {
        for text in ["3", "- 3 -", "Stranica 3 od 12", "Page 3 of 12", "Str. 1/4"] {
            assert!(is_page_number(text), "{text}");
        }
        for text in [
            "Urbroj 251-99-77",
            "2026",
            "Stranica o sudu",
            "OIB 12345678903",
        ] {
            assert!(!is_page_number(text), "{text}");
        }
    }
}
