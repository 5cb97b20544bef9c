//! Cuts extracted text into passages for search: by structure first, then by tokens.
//!
//! A chunk stays within one section, unless neighbouring sections under the same parent are too
//! small to stand alone. A section that is too large is cut between blocks, then between sentences,
//! then between words. A chunk's text is always the text of its span, verbatim, so that a citation
//! can be marked where it stands; what a reader needs besides (headings, a table's header) goes into
//! the heading path.

use std::ops::Range;

use docent_domain::{NewChunk, Span};

use crate::extracted::{Block, BlockKind, Extracted, PageLayout, boxes_of};
use crate::sentences::sentence_starts;

/// Sizes are in tokens of the embedder in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkOptions {
    /// No chunk is larger.
    pub max_tokens: usize,
    /// How much of a chunk's end the next one of the same section repeats, at most.
    pub overlap_tokens: usize,
    /// Smaller sections are put together with their neighbours where they fit.
    pub min_tokens: usize,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        Self {
            max_tokens: 320,
            overlap_tokens: 0,
            min_tokens: 64,
        }
    }
}

/// The embedder's way of cutting text, for exact sizes.
pub trait Tokens {
    /// Byte offsets (start, end) of each token in order, without special tokens.
    fn token_offsets(&self, text: &str) -> Vec<(usize, usize)>;
}

/// Cuts a document. Every character that is not white space is in at least one chunk; chunks are in
/// the order of the text.
pub fn chunk(extracted: &Extracted, options: &ChunkOptions, tokens: &dyn Tokens) -> Vec<NewChunk> {
    let text = Measured::new(&extracted.text, tokens);
    let pieces = pieces(extracted, &text);
    let options = &ChunkOptions {
        max_tokens: options.max_tokens.max(1),
        ..*options
    };
    let mut chunks = Vec::new();
    let headers = headers(&pieces);
    let sections = sections(&pieces, &text);
    for unit in pack(sections, &pieces, &text, &extracted.pages, options) {
        let atoms = atoms(&pieces[unit.pieces.clone()], &text, options);
        for range in partition(&atoms, options) {
            let bytes = overlapped(&atoms, &range, &text, options);
            let mut path = unit.path.clone();
            path.extend(table_header(&pieces, &headers, &bytes, &text));
            chunks.extend(make(extracted, &text, bytes, path));
        }
    }
    chunks
}

fn make(
    extracted: &Extracted,
    text: &Measured<'_>,
    bytes: Range<usize>,
    heading_path: Vec<String>,
) -> Option<NewChunk> {
    let slice = &text.text[bytes.clone()];
    let start = bytes.start + (slice.len() - slice.trim_start().len());
    let slice = slice.trim();
    if slice.is_empty() {
        return None;
    }
    let end = start + slice.len();
    let span = Span::new(text.char_at(start), text.char_at(end));
    let boxes = boxes_of(extracted, span);
    let first = extracted
        .pages
        .partition_point(|page| page.span.end <= span.start);
    Some(NewChunk {
        span,
        text: slice.to_owned(),
        heading_path,
        page: extracted
            .pages
            .get(first)
            .filter(|page| page.span.start < span.end)
            .map(|page| page.page),
        boxes,
        token_count: text.tokens_in(&(start..end)) as u32,
    })
}

/// The text with its token boundaries, and both ways between bytes and characters.
struct Measured<'a> {
    text: &'a str,
    /// Byte offset at which each token begins, in order.
    tokens: Vec<u32>,
    /// Byte offset of every `STRIDE`th character; empty when the text is ASCII.
    strides: Vec<u32>,
}

const STRIDE: usize = 64;

impl<'a> Measured<'a> {
    fn new(text: &'a str, tokens: &dyn Tokens) -> Self {
        let strides = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices()
                .step_by(STRIDE)
                .map(|(byte, _)| byte as u32)
                .collect()
        };
        let mut starts: Vec<u32> = Vec::with_capacity(text.len() / 4);
        for window in windows(text) {
            let slice = &text[window.clone()];
            for (start, end) in tokens.token_offsets(slice) {
                // Some tokenizers count the space before a word to its token.
                let token = slice.get(start..end).unwrap_or("");
                let start = window.start + start + (token.len() - token.trim_start().len());
                let last = starts.last().copied().unwrap_or(0);
                starts.push((start as u32).max(last));
            }
        }
        Self {
            text,
            tokens: starts,
            strides,
        }
    }

    fn tokens_in(&self, bytes: &Range<usize>) -> usize {
        let range = self.token_range(bytes);
        range.end.saturating_sub(range.start)
    }

    fn token_range(&self, bytes: &Range<usize>) -> Range<usize> {
        let index = |byte: usize| {
            self.tokens
                .partition_point(|start| (*start as usize) < byte)
        };
        index(bytes.start)..index(bytes.end)
    }

    fn byte_at(&self, char: u32) -> usize {
        let char = char as usize;
        if self.strides.is_empty() {
            return char.min(self.text.len());
        }
        let Some(from) = self.strides.get(char / STRIDE) else {
            return self.text.len();
        };
        let from = *from as usize;
        let rest = &self.text[from..];
        rest.char_indices()
            .nth(char % STRIDE)
            .map_or(self.text.len(), |(byte, _)| from + byte)
    }

    fn char_at(&self, byte: usize) -> u32 {
        if self.strides.is_empty() {
            return byte as u32;
        }
        let stride = self
            .strides
            .partition_point(|start| *start as usize <= byte)
            .saturating_sub(1);
        let from = self.strides[stride] as usize;
        (stride * STRIDE + self.text[from..byte].chars().count()) as u32
    }
}

/// Pieces of text that are tokenized at once, cut at white space, which no token crosses. Tokenizers
/// slow down on long inputs, and have a price per call.
fn windows(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    const BYTES: usize = 16 * 1024;
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= text.len() {
            return None;
        }
        let mut end = (at + BYTES).min(text.len());
        if end < text.len() {
            end = floor_char_boundary(text, end);
            let slice = &text[at..end];
            let cut = slice.rfind('\n').filter(|cut| *cut > BYTES / 2);
            let cut = cut
                .or_else(|| slice.rfind(char::is_whitespace))
                .filter(|cut| *cut > 0);
            end = cut.map_or(end, |cut| at + cut);
        }
        let window = at..end;
        at = end;
        Some(window)
    })
}

fn floor_char_boundary(text: &str, mut byte: usize) -> usize {
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

/// A block, in bytes.
#[derive(Clone, Debug)]
struct Piece {
    kind: BlockKind,
    bytes: Range<usize>,
}

/// The document's blocks, and whatever text lies between them.
fn pieces(extracted: &Extracted, text: &Measured<'_>) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(extracted.blocks.len());
    let mut at = 0;
    let mut push = |kind: BlockKind, bytes: Range<usize>| {
        if !text.text[bytes.clone()].trim().is_empty() {
            pieces.push(Piece { kind, bytes });
        }
    };
    for Block { kind, span } in &extracted.blocks {
        let start = text.byte_at(span.start).max(at);
        let end = text.byte_at(span.end).max(start);
        push(BlockKind::Paragraph, at..start);
        push(*kind, start..end);
        at = end;
    }
    push(BlockKind::Paragraph, at..text.text.len());
    pieces
}

/// Consecutive pieces under the same headings.
struct Section {
    path: Vec<String>,
    pieces: Range<usize>,
}

fn sections(pieces: &[Piece], text: &Measured<'_>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Vec<(u8, String)> = Vec::new();
    let mut only_headings = false;
    for (index, piece) in pieces.iter().enumerate() {
        let path = |open: &[(u8, String)]| open.iter().map(|(_, text)| text.clone()).collect();
        if let BlockKind::Heading(level) = piece.kind {
            let deeper = open.last().is_some_and(|(above, _)| *above < level);
            while open.last().is_some_and(|(above, _)| *above >= level) {
                open.pop();
            }
            if let Some(heading) = heading_text(&text.text[piece.bytes.clone()]) {
                open.push((level, heading));
            }
            if only_headings
                && deeper
                && let Some(section) = sections.last_mut()
            {
                // A heading right under a heading: they share a section.
                section.path = path(&open);
                section.pieces.end = index + 1;
                continue;
            }
            only_headings = true;
            sections.push(Section {
                path: path(&open),
                pieces: index..index + 1,
            });
        } else {
            only_headings = false;
            match sections.last_mut() {
                Some(section) => section.pieces.end = index + 1,
                None => sections.push(Section {
                    path: Vec::new(),
                    pieces: 0..index + 1,
                }),
            }
        }
    }
    sections
}

/// A heading as it stands in a path: its first line with letters or digits, bounded.
fn heading_text(block: &str) -> Option<String> {
    const LONGEST: usize = 200;
    let line = block
        .lines()
        .find(|line| line.chars().any(char::is_alphanumeric))?;
    Some(line.trim().chars().take(LONGEST).collect())
}

/// Puts small neighbouring sections together.
fn pack(
    sections: Vec<Section>,
    pieces: &[Piece],
    text: &Measured<'_>,
    pages: &[PageLayout],
    options: &ChunkOptions,
) -> Vec<Section> {
    // Sheets and parts of a message stay apart: a passage is of one of them.
    let part_of = |section: &Section| -> usize {
        if pages.first().is_none_or(|page| page.kind.runs_on()) {
            return 0;
        }
        let start = pieces.get(section.pieces.start);
        let at = start.map_or(0, |piece| text.char_at(piece.bytes.start));
        pages.partition_point(|page| page.span.end <= at)
    };
    let size = |range: &Range<usize>| -> usize {
        let (Some(first), Some(last)) = (pieces.get(range.start), pieces.get(range.end - 1)) else {
            return 0;
        };
        text.tokens_in(&(first.bytes.start..last.bytes.end))
    };
    let mut packed: Vec<(Section, usize)> = Vec::with_capacity(sections.len());
    for section in sections {
        let tokens = size(&section.pieces);
        if let Some((last, last_tokens)) = packed.last_mut() {
            let small = *last_tokens < options.min_tokens || tokens < options.min_tokens;
            let together = last.pieces.start..section.pieces.end;
            if small
                && part_of(last) == part_of(&section)
                && *last_tokens + tokens <= options.max_tokens
                && size(&together) <= options.max_tokens
                && let Some(shared) = shared_path(&last.path, &section.path)
            {
                last.path.truncate(shared);
                last.pieces = together;
                *last_tokens += tokens;
                continue;
            }
        }
        packed.push((section, tokens));
    }
    packed.into_iter().map(|(section, _)| section).collect()
}

/// How much of their paths two sections share, if they belong together: siblings, or one under the
/// other.
fn shared_path(one: &[String], other: &[String]) -> Option<usize> {
    let shared = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let siblings = one.len() == other.len() && shared + 1 >= one.len();
    let below = shared == one.len();
    (siblings || below).then_some(shared)
}

/// What is not cut any further.
struct Atom {
    bytes: Range<usize>,
    tokens: usize,
    starts_block: bool,
}

fn atoms(pieces: &[Piece], text: &Measured<'_>, options: &ChunkOptions) -> Vec<Atom> {
    let mut atoms = Vec::new();
    for piece in pieces {
        let tokens = text.tokens_in(&piece.bytes);
        if tokens <= options.max_tokens {
            atoms.push(Atom {
                bytes: piece.bytes.clone(),
                tokens,
                starts_block: true,
            });
            continue;
        }
        let slice = &text.text[piece.bytes.clone()];
        let starts = match piece.kind {
            BlockKind::Code => line_starts(slice),
            BlockKind::Heading(_)
            | BlockKind::Paragraph
            | BlockKind::ListItem
            | BlockKind::TableHeader
            | BlockKind::TableRow
            | BlockKind::Quote => sentence_starts(slice),
        };
        let ends = starts.iter().skip(1).copied().chain([slice.len()]);
        for (start, end) in starts.iter().copied().zip(ends) {
            let bytes = piece.bytes.start + start..piece.bytes.start + end;
            let tokens = text.tokens_in(&bytes);
            if tokens <= options.max_tokens {
                atoms.push(Atom {
                    bytes,
                    tokens,
                    starts_block: start == 0,
                });
            } else {
                for bytes in cut(&bytes, text, options.max_tokens) {
                    let starts_block = bytes.start == piece.bytes.start;
                    let tokens = text.tokens_in(&bytes);
                    atoms.push(Atom {
                        bytes,
                        tokens,
                        starts_block,
                    });
                }
            }
        }
    }
    atoms
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
    [0].into_iter()
        .chain(after_breaks.filter(|at| *at < text.len()))
        .collect()
}

/// Cuts a sentence that is too long: between words where that is possible.
fn cut(bytes: &Range<usize>, text: &Measured<'_>, max: usize) -> Vec<Range<usize>> {
    let range = text.token_range(bytes);
    let tokens = &text.tokens[range];
    let parts = tokens.len().div_ceil(max).max(1);
    let size = tokens.len().div_ceil(parts).max(1);
    let starts_word = |byte: usize| text.text[..byte].ends_with(|char: char| char.is_whitespace());
    let mut cuts = Vec::with_capacity(parts);
    let mut start = bytes.start;
    let mut token = 0;
    while tokens.len() - token > max {
        let latest = token + max.min(size + size / 8);
        let earliest = token + (size / 2).max(1);
        let usable = |index: &usize| {
            let at = tokens[*index] as usize;
            // A token that is only the space before a word begins where the word's next one does;
            // they stay together, or the rest would count one more than it was taken for.
            let is_first = tokens[*index - 1] < tokens[*index];
            is_first && at > start && text.text.is_char_boundary(at)
        };
        let next = (earliest..=latest)
            .rev()
            .find(|index| usable(index) && starts_word(tokens[*index] as usize))
            .or_else(|| (token + 1..=token + max).rev().find(usable));
        let Some(next) = next else { break };
        let at = tokens[next] as usize;
        cuts.push(start..at);
        start = at;
        token = next;
    }
    cuts.push(start..bytes.end);
    cuts
}

/// Divides atoms into chunks of about the same size, none above the maximum, preferably at blocks.
fn partition(atoms: &[Atom], options: &ChunkOptions) -> Vec<Range<usize>> {
    let max = options.max_tokens;
    let total: usize = atoms.iter().map(|atom| atom.tokens).sum();
    if total <= max {
        return std::iter::once(0..atoms.len()).collect();
    }
    let fewest = total.div_ceil(max);
    let goal = total.div_ceil(fewest);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    let mut size = 0;
    let mut rest = total;
    for (index, atom) in atoms.iter().enumerate() {
        let full = size + atom.tokens > max;
        // An early end at a block must not cost a chunk more in the end.
        let affordable = rest <= fewest.saturating_sub(ranges.len() + 1) * max;
        let good = affordable
            && atom.starts_block
            && size + atom.tokens > goal + goal / 10
            && size * 10 >= goal * 6;
        if index > start && (full || good) {
            ranges.push(start..index);
            start = index;
            size = 0;
        }
        size += atom.tokens;
        rest -= atom.tokens;
    }
    ranges.push(start..atoms.len());
    // A small rest takes from the chunk before it.
    if let [.., before, last] = ranges.as_mut_slice() {
        let size = |range: &Range<usize>| -> usize {
            atoms[range.clone()].iter().map(|atom| atom.tokens).sum()
        };
        let (mut large, mut small) = (size(before), size(last));
        while small < options.min_tokens && before.len() > 1 {
            let moved = atoms[before.end - 1].tokens;
            if large - moved < small + moved || small + moved > max {
                break;
            }
            large -= moved;
            small += moved;
            before.end -= 1;
            last.start -= 1;
        }
    }
    ranges
}

/// The bytes of a chunk, begun a little earlier if chunks of a section overlap: by whole atoms, and
/// by the last sentences of the one that is too large.
fn overlapped(
    atoms: &[Atom],
    range: &Range<usize>,
    text: &Measured<'_>,
    options: &ChunkOptions,
) -> Range<usize> {
    let Some(last) = range.end.checked_sub(1).and_then(|index| atoms.get(index)) else {
        return 0..0;
    };
    let size: usize = atoms[range.clone()].iter().map(|atom| atom.tokens).sum();
    let mut room = options
        .overlap_tokens
        .min(options.max_tokens.saturating_sub(size));
    let mut start = atoms[range.start].bytes.start;
    for atom in atoms[..range.start].iter().rev() {
        if atom.tokens > room {
            let sentences = sentence_starts(&text.text[atom.bytes.clone()]);
            start = sentences
                .into_iter()
                .map(|sentence| atom.bytes.start + sentence)
                .find(|at| text.tokens_in(&(*at..atom.bytes.end)) <= room)
                .filter(|_| room > 0)
                .unwrap_or(start);
            break;
        }
        room -= atom.tokens;
        start = atom.bytes.start;
    }
    start..last.bytes.end
}

/// For each piece the one that names the columns of its table, if it stands below one.
fn headers(pieces: &[Piece]) -> Vec<Option<usize>> {
    let mut header = None;
    let of = |(index, piece): (usize, &Piece)| {
        match piece.kind {
            BlockKind::TableHeader => header = Some(index),
            BlockKind::TableRow => {}
            BlockKind::Heading(_)
            | BlockKind::Paragraph
            | BlockKind::ListItem
            | BlockKind::Code
            | BlockKind::Quote => header = None,
        }
        header
    };
    pieces.iter().enumerate().map(of).collect()
}

/// For a chunk that begins inside a table: the row that names its columns.
fn table_header(
    pieces: &[Piece],
    headers: &[Option<usize>],
    bytes: &Range<usize>,
    text: &Measured<'_>,
) -> Option<String> {
    let first = pieces.partition_point(|piece| piece.bytes.end <= bytes.start);
    let header = headers.get(first).copied().flatten()?;
    let header = pieces
        .get(header)
        .filter(|piece| piece.bytes.start < bytes.start)?;
    heading_text(&text.text[header.bytes.clone()])
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::extracted::Assembler;

    /// Words, and every fourth letter of long ones, as subword tokenizers do.
    struct Words;

    impl Tokens for Words {
        fn token_offsets(&self, text: &str) -> Vec<(usize, usize)> {
            let mut tokens = Vec::new();
            for word in text.split_whitespace() {
                let start = word.as_ptr() as usize - text.as_ptr() as usize;
                let mut bounds: Vec<usize> =
                    word.char_indices().step_by(4).map(|(at, _)| at).collect();
                bounds.push(word.len());
                tokens.extend(
                    bounds
                        .windows(2)
                        .map(|pair| (start + pair[0], start + pair[1])),
                );
            }
            tokens
        }
    }

    fn document(blocks: &[(BlockKind, &str)]) -> Extracted {
        let mut assembler = Assembler::new(u64::MAX);
        for (kind, text) in blocks {
            assembler.push(*kind, text).unwrap();
        }
        assembler.finish()
    }

    fn options(max_tokens: usize, overlap_tokens: usize, min_tokens: usize) -> ChunkOptions {
        ChunkOptions {
            max_tokens,
            overlap_tokens,
            min_tokens,
        }
    }

    fn texts(chunks: &[NewChunk]) -> Vec<&str> {
        chunks.iter().map(|chunk| chunk.text.as_str()).collect()
    }

    #[test]
    fn sections_are_kept_apart_and_carry_their_headings() {
        let extracted = document(&[
            (BlockKind::Heading(1), "Vodič"),
            (BlockKind::Heading(2), "Uvod"),
            (BlockKind::Paragraph, "a b c d e f"),
            (BlockKind::Heading(2), "Kraj"),
            (BlockKind::Paragraph, "g h i j k l"),
        ]);
        let chunks = chunk(&extracted, &options(20, 0, 4), &Words);
        assert_eq!(
            texts(&chunks),
            ["Vodič\n\nUvod\n\na b c d e f", "Kraj\n\ng h i j k l"]
        );
        assert_eq!(chunks[0].heading_path, ["Vodič", "Uvod"]);
        assert_eq!(chunks[1].heading_path, ["Vodič", "Kraj"]);
    }

    #[test]
    fn small_siblings_are_packed_and_strangers_are_not() {
        let extracted = document(&[
            (BlockKind::Heading(1), "A"),
            (BlockKind::Paragraph, "p q r s t u v w"),
            (BlockKind::Heading(2), "one"),
            (BlockKind::Paragraph, "x"),
            (BlockKind::Heading(2), "two"),
            (BlockKind::Paragraph, "y"),
            (BlockKind::Heading(1), "B"),
            (BlockKind::Paragraph, "z z z z z z z z"),
        ]);
        let chunks = chunk(&extracted, &options(10, 0, 6), &Words);
        assert_eq!(
            texts(&chunks),
            [
                "A\n\np q r s t u v w",
                "one\n\nx\n\ntwo\n\ny",
                "B\n\nz z z z z z z z"
            ]
        );
        assert_eq!(chunks[1].heading_path, ["A"], "what the two sections share");
    }

    #[test]
    fn long_paragraphs_are_cut_between_sentences_with_overlap() {
        let extracted = document(&[(
            BlockKind::Paragraph,
            "Aa b c d. Ee f g h. Ii j k l. Mm n o p.",
        )]);
        let chunks = chunk(&extracted, &options(9, 4, 1), &Words);
        assert_eq!(
            texts(&chunks),
            ["Aa b c d. Ee f g h.", "Ii j k l. Mm n o p."],
            "an overlap that would make the chunk too large is left out"
        );
        let chunks = chunk(&extracted, &options(12, 4, 1), &Words);
        assert_eq!(
            texts(&chunks),
            ["Aa b c d. Ee f g h. Ii j k l.", "Ii j k l. Mm n o p."]
        );
    }

    #[test]
    fn rows_stay_whole_and_remember_their_header() {
        let extracted = document(&[
            (BlockKind::TableHeader, "Ime | Broj"),
            (BlockKind::TableRow, "Ana | 1"),
            (BlockKind::TableRow, "Iva | 2"),
            (BlockKind::TableRow, "Eva | 3"),
            (BlockKind::TableRow, "Ema | 4"),
        ]);
        let chunks = chunk(&extracted, &options(9, 0, 1), &Words);
        assert_eq!(
            texts(&chunks),
            ["Ime | Broj\nAna | 1", "Iva | 2\nEva | 3\nEma | 4"]
        );
        assert_eq!(chunks[0].heading_path, Vec::<String>::new());
        assert_eq!(chunks[1].heading_path, ["Ime | Broj"]);
    }

    #[test]
    fn every_chunk_of_a_long_table_names_its_columns() {
        let mut blocks = vec![
            (BlockKind::Heading(1), "Plaće"),
            (BlockKind::TableHeader, "Ime | Broj"),
        ];
        blocks.extend(std::iter::repeat_n((BlockKind::TableRow, "Ana | 1"), 9_000));
        let chunks = chunk(&document(&blocks), &options(64, 16, 8), &Words);
        assert!(chunks.len() > 300, "{}", chunks.len());
        assert_eq!(chunks[0].heading_path, ["Plaće"]);
        for chunk in &chunks[1..] {
            assert_eq!(chunk.heading_path, ["Plaće", "Ime | Broj"]);
        }
    }

    #[test]
    fn small_sheets_stay_apart() {
        let blocks = [
            (BlockKind::Heading(1), "Sheet: A"),
            (BlockKind::TableRow, "a | 1"),
            (BlockKind::Heading(1), "Sheet: B"),
            (BlockKind::TableRow, "b | 2"),
        ];
        let mut extracted = document(&blocks);
        let together = chunk(&extracted, &options(64, 0, 32), &Words);
        assert_eq!(together.len(), 1, "without sheets they are one");
        let at = |index: usize| extracted.blocks[index].span;
        extracted.pages = [(1, at(0).start, at(1)), (2, at(2).start, at(3))]
            .map(|(page, start, row)| PageLayout {
                turn: crate::extracted::Turn::Upright,
                kind: crate::PageKind::Sheet,
                page,
                width: 0.0,
                height: 0.0,
                span: Span::new(start, row.end),
                lines: vec![crate::LineBox {
                    span: row,
                    left: 1.0,
                    top: 4.0,
                    right: 2.0,
                    bottom: 4.0,
                }],
            })
            .to_vec();
        let apart = chunk(&extracted, &options(64, 0, 32), &Words);
        let pages: Vec<_> = apart.iter().map(|chunk| chunk.page).collect();
        assert_eq!(pages, [Some(1), Some(2)]);
        assert_eq!(apart[1].heading_path, ["Sheet: B"]);
        assert_eq!(
            (apart[1].boxes[0].left, apart[1].boxes[0].bottom),
            (1.0, 4.0)
        );
    }

    #[test]
    fn text_outside_of_blocks_is_not_lost() {
        let extracted = Extracted {
            text: "before block after".to_owned(),
            blocks: vec![Block {
                kind: BlockKind::Paragraph,
                span: Span::new(7, 12),
            }],
            ..Extracted::default()
        };
        let chunks = chunk(&extracted, &options(50, 0, 1), &Words);
        assert_eq!(texts(&chunks), ["before block after"]);
    }

    #[test]
    fn no_text_no_chunks() {
        assert_eq!(
            chunk(&Extracted::default(), &ChunkOptions::default(), &Words),
            []
        );
        assert_eq!(chunk(&document(&[]), &ChunkOptions::default(), &Words), []);
    }

    fn random_document(rng: &mut StdRng) -> Extracted {
        const WORDS: &[&str] = &[
            "zakon",
            "i",
            "Čl.",
            "12.",
            "žaba!",
            "radnik",
            "🦀",
            "nepretrgnutodugačkariječbezkraja",
            "The",
            "end.",
            "a",
            "\u{1f468}\u{200d}\u{1f469}",
            "日本語の文章です",
            "(e.g.",
            "x)",
            "\n",
            "«Da»",
            "...",
        ];
        let mut assembler = Assembler::new(u64::MAX);
        for _ in 0..rng.random_range(0..25) {
            let kind = match rng.random_range(0..8) {
                0 | 1 => BlockKind::Heading(rng.random_range(1..5)),
                2 => BlockKind::ListItem,
                3 => BlockKind::Code,
                4 => BlockKind::TableHeader,
                5 => BlockKind::TableRow,
                _ => BlockKind::Paragraph,
            };
            let length = if rng.random_bool(0.1) { 400 } else { 20 };
            let words: Vec<_> = (0..rng.random_range(0..length))
                .map(|_| WORDS[rng.random_range(0..WORDS.len())])
                .collect();
            let separator = if rng.random_bool(0.05) { "" } else { " " };
            assembler.push(kind, &words.join(separator)).unwrap();
        }
        let mut extracted = assembler.finish();
        // Extractors may leave text outside of blocks.
        if rng.random_bool(0.3) {
            extracted.blocks.retain(|_| rng.random_bool(0.8));
        }
        extracted
    }

    /// For any document and any options: chunks are verbatim, bounded, in order, and lose nothing.
    #[test]
    fn invariants() {
        for seed in 0..1500 {
            let mut rng = StdRng::seed_from_u64(seed);
            let extracted = random_document(&mut rng);
            let max = rng.random_range(1..80);
            let options = options(max, rng.random_range(0..20), rng.random_range(0..30));
            let chunks = chunk(&extracted, &options, &Words);
            let mut covered = vec![false; extracted.text.chars().count()];
            let mut last_end = 0;
            for chunk in &chunks {
                assert_eq!(
                    chunk.span.slice(&extracted.text),
                    Some(chunk.text.as_str()),
                    "seed {seed}: a chunk is its span's text"
                );
                assert_eq!(
                    chunk.token_count as usize,
                    Words.token_offsets(&chunk.text).len(),
                    "seed {seed}: the count is what the tokenizer says of the chunk alone"
                );
                assert!(
                    chunk.token_count as usize <= max,
                    "seed {seed}: {} > {max}",
                    chunk.token_count
                );
                assert!(
                    chunk.span.end > last_end,
                    "seed {seed}: every chunk goes on"
                );
                last_end = chunk.span.end;
                covered[chunk.span.start as usize..chunk.span.end as usize].fill(true);
            }
            for (index, char) in extracted.text.chars().enumerate() {
                assert!(
                    covered[index] || char.is_whitespace(),
                    "seed {seed}: {char:?} at {index} is lost"
                );
            }
        }
    }

    /// The space before a word is a token of its own, as it is before rare characters.
    struct SpacesApart;

    impl Tokens for SpacesApart {
        fn token_offsets(&self, text: &str) -> Vec<(usize, usize)> {
            let words = text.split_whitespace();
            words
                .flat_map(|word| {
                    let start = word.as_ptr() as usize - text.as_ptr() as usize;
                    [
                        (start.saturating_sub(1), start),
                        (start, start + word.len()),
                    ]
                })
                .collect()
        }
    }

    #[test]
    fn tokens_that_begin_together_are_not_cut_apart() {
        let extracted = document(&[(BlockKind::Paragraph, &"┌ ".repeat(500))]);
        for max in 2..40 {
            let chunks = chunk(&extracted, &options(max, 0, 1), &SpacesApart);
            for chunk in chunks {
                let count = SpacesApart.token_offsets(&chunk.text).len();
                assert!(count <= max, "{count} > {max}");
                assert_eq!(chunk.token_count as usize, count);
            }
        }
    }

    #[test]
    fn long_texts_are_cut_in_linear_time_into_windows_at_white_space() {
        let text = "riječ ".repeat(20_000);
        let windows: Vec<_> = windows(&text).collect();
        assert_eq!(windows.iter().map(Range::len).sum::<usize>(), text.len());
        assert!(windows.iter().all(|window| window.len() <= 16 * 1024));
        assert!(
            windows
                .iter()
                .skip(1)
                .all(|window| text[window.clone()].starts_with(' '))
        );
        let solid = "č".repeat(40_000);
        assert_eq!(
            super::windows(&solid)
                .map(|window| window.len())
                .sum::<usize>(),
            solid.len()
        );
    }
}
