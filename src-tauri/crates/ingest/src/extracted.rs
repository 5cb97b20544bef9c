//! What an extractor makes of a file: text, its blocks and, for paged formats, where lines stand.

use docent_domain::{PageBox, Problem, Span};
use serde::{Deserialize, Serialize};

pub use crate::extract::pdfium::Turn;
use crate::refusal::Refusal;

/// A file's text with its structure.
///
/// `blocks` are in order, don't overlap, and cover every character of `text` that is not white
/// space. `pages` are in order and their spans too. They are what a
/// format is divided in: pages, slides, sheets, parts of a message; most have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extracted {
    pub text: String,
    /// The document's own title, where it has one.
    pub title: Option<String>,
    /// A language tag that the document declares for itself, such as `hr` or `en-GB`. Often wrong.
    pub language_hint: Option<String>,
    pub blocks: Vec<Block>,
    pub pages: Vec<PageLayout>,
    pub warnings: Vec<Warning>,
}

impl Extracted {
    /// The blocks with their texts, in one pass.
    pub(crate) fn block_texts(&self) -> impl Iterator<Item = (BlockKind, &str)> {
        let mut rest = self.text.as_str();
        let mut at = 0;
        let mut skip = move |chars: u32| {
            let byte = rest
                .char_indices()
                .nth(chars as usize)
                .map_or(rest.len(), |(byte, _)| byte);
            let (skipped, after) = rest.split_at(byte);
            rest = after;
            skipped
        };
        self.blocks.iter().map(move |block| {
            skip(block.span.start - at);
            at = block.span.end;
            (block.kind, skip(block.span.len()))
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub kind: BlockKind,
    /// Characters of the text.
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Level 1 (outermost) to 6.
    Heading(u8),
    Paragraph,
    ListItem,
    Code,
    /// The row that names the columns of the rows after it.
    TableHeader,
    /// One row; its cells are separated by ` | `.
    TableRow,
    Quote,
}

impl BlockKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heading(_) => "heading",
            Self::Paragraph => "paragraph",
            Self::ListItem => "list_item",
            Self::Code => "code",
            Self::TableHeader => "table_header",
            Self::TableRow => "table_row",
            Self::Quote => "quote",
        }
    }

    /// The level of a heading.
    #[must_use]
    pub const fn level(self) -> Option<u8> {
        match self {
            Self::Heading(level) => Some(level),
            Self::Paragraph
            | Self::ListItem
            | Self::Code
            | Self::TableHeader
            | Self::TableRow
            | Self::Quote => None,
        }
    }

    /// Whether it stands close to a block of the same kind, on the next line, with no line between.
    const fn is_tight(self) -> bool {
        matches!(self, Self::ListItem | Self::TableHeader | Self::TableRow)
    }
}

/// What a [`PageLayout`] is in its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Of a PDF; its lines are lines of text.
    Page,
    /// It has no lines: where texts stand on it is not told.
    Slide,
    /// Its lines are rows, and their sides cells: first column, row, last column, row, 1-based.
    Sheet,
    /// Of a mail message: its text, then each attachment that is read. No lines.
    Part,
}

impl PageKind {
    /// Whether a passage may reach into the next one.
    pub(crate) const fn runs_on(self) -> bool {
        match self {
            Self::Page | Self::Slide => true,
            Self::Sheet | Self::Part => false,
        }
    }
}

/// One page: its size, the characters on it, and its lines.
#[derive(Clone, Debug, PartialEq)]
pub struct PageLayout {
    pub kind: PageKind,
    /// 1-based.
    pub page: u32,
    /// In points, as the page is shown (after its rotation); 0 for other than pages.
    pub width: f32,
    pub height: f32,
    /// How its lines run.
    pub turn: Turn,
    pub span: Span,
    pub lines: Vec<LineBox>,
}

/// Where a line of text stands, in fractions of the page, origin at the top left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineBox {
    pub span: Span,
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

/// Something about a readable file that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    #[error("{count} unreadable characters were replaced")]
    ReplacedCharacters { count: u64 },
    #[error("the text is not Unicode; it was read as {encoding}")]
    GuessedEncoding { encoding: String },
    #[error(
        "the text of {pages} of {total} pages was recognised from pictures and may hold mistakes"
    )]
    Recognised { pages: u32, total: u32 },
    #[error("{pages} of {total} pages hold no text (scanned?)")]
    PagesWithoutText { pages: u32, total: u32 },
    #[error("the attachment {name} is scanned, and its text is not known")]
    AttachmentScanned { name: String },
    #[error("much of the text is garbled: the document's fonts don't say which letters they show")]
    Garbled,
    #[error(
        "the text seems to have been saved in the wrong encoding: many letters stand as two others, such as Å¡ for š"
    )]
    DoublyEncoded,
    #[error("a part of the document is damaged and was left out: {part}")]
    PartLeftOut { part: String },
    #[error(
        "{count} results of formulas are not in the file: open it in a spreadsheet program and save it"
    )]
    FormulasWithoutResults { count: u64 },
    #[error("a part of the document is not read: {part}")]
    PartNotRead { part: String },
    #[error("{pictures} of the document's pictures may hold text, which is not known")]
    PicturesWithoutText { pictures: u32 },
}

impl Warning {
    /// `None` when it is worth knowing and there is nothing to be done about it.
    #[must_use]
    pub const fn problem(&self) -> Option<Problem> {
        match self {
            Self::ReplacedCharacters { .. } | Self::GuessedEncoding { .. } => {
                Some(Problem::Encoding)
            }
            Self::Recognised { .. } => None,
            Self::PagesWithoutText { .. }
            | Self::AttachmentScanned { .. }
            | Self::PicturesWithoutText { .. } => Some(Problem::PartlyScanned),
            Self::Garbled | Self::DoublyEncoded => Some(Problem::Garbled),
            Self::PartLeftOut { .. }
            | Self::PartNotRead { .. }
            | Self::FormulasWithoutResults { .. } => Some(Problem::Incomplete),
        }
    }
}

/// The blocks that a span touches, for a viewer that marks it.
#[must_use]
pub fn blocks_between(extracted: &Extracted, span: Span) -> &[Block] {
    let blocks = &extracted.blocks;
    let from = blocks.partition_point(|block| block.span.end <= span.start);
    let to = blocks.partition_point(|block| block.span.start < span.end);
    blocks.get(from..to.max(from)).unwrap_or_default()
}

/// Where a span stands on its pages, line by line. The first and the last line are clipped in
/// proportion to their characters. On a sheet, the cells from its first to its last row; of a slide,
/// all of it.
#[must_use]
pub fn boxes_of(extracted: &Extracted, span: Span) -> Vec<PageBox> {
    let pages = &extracted.pages;
    let from = pages.partition_point(|page| page.span.end <= span.start);
    pages[from..]
        .iter()
        .take_while(|page| page.span.start < span.end)
        .flat_map(|page| {
            let from = page
                .lines
                .partition_point(|line| line.span.end <= span.start);
            let lines = page.lines[from..]
                .iter()
                .take_while(|line| line.span.start < span.end);
            match page.kind {
                PageKind::Page => lines.map(|line| line.clipped(page, span)).collect(),
                PageKind::Slide => vec![PageBox {
                    page: page.page,
                    left: 0.0,
                    top: 0.0,
                    right: 1.0,
                    bottom: 1.0,
                }],
                PageKind::Sheet => lines
                    .map(|line| line.whole(page.page))
                    .reduce(around)
                    .into_iter()
                    .collect(),
                PageKind::Part => Vec::new(),
            }
        })
        .collect()
}

fn around(one: PageBox, other: PageBox) -> PageBox {
    PageBox {
        page: one.page,
        left: one.left.min(other.left),
        top: one.top.min(other.top),
        right: one.right.max(other.right),
        bottom: one.bottom.max(other.bottom),
    }
}

impl LineBox {
    const fn whole(&self, page: u32) -> PageBox {
        PageBox {
            page,
            left: self.left,
            top: self.top,
            right: self.right,
            bottom: self.bottom,
        }
    }

    fn clipped(&self, page: &PageLayout, span: Span) -> PageBox {
        let chars = self.span.len().max(1) as f32;
        let share = |char: u32| char.saturating_sub(self.span.start) as f32 / chars;
        let (from, to) = (share(span.start), share(span.end.min(self.span.end)));
        let mut clipped = PageBox {
            page: page.page,
            left: self.left,
            top: self.top,
            right: self.right,
            bottom: self.bottom,
        };
        let (width, height) = (self.right - self.left, self.bottom - self.top);
        match page.turn {
            Turn::Upright => {
                clipped.left = self.left + width * from;
                clipped.right = self.left + width * to;
            }
            Turn::UpsideDown => {
                clipped.left = self.right - width * to;
                clipped.right = self.right - width * from;
            }
            Turn::Downwards => {
                clipped.top = self.top + height * from;
                clipped.bottom = self.top + height * to;
            }
            Turn::Upwards => {
                clipped.top = self.bottom - height * to;
                clipped.bottom = self.bottom - height * from;
            }
        }
        clipped
    }
}

/// Builds an [`Extracted`] block by block, and keeps its invariants.
pub(crate) struct Assembler {
    text: String,
    chars: u32,
    blocks: Vec<Block>,
    max_chars: u64,
}

/// Blocks of one document. A document with more is no document but a table of data, and the list
/// itself would cost more memory than its text.
pub(crate) const MAX_BLOCKS: usize = 2_000_000;

impl Assembler {
    pub fn new(max_chars: u64) -> Self {
        Self {
            text: String::new(),
            chars: 0,
            blocks: Vec::new(),
            max_chars: max_chars.min(u64::from(u32::MAX - 1)),
        }
    }

    /// Adds a block; outer line breaks are dropped, and one that is blank is not added at all.
    pub fn push(&mut self, kind: BlockKind, text: &str) -> Result<(), Refusal> {
        let text = text.trim_end().trim_start_matches(['\n', '\r']);
        if text.trim_start().is_empty() {
            return Ok(());
        }
        if let Some(last) = self.blocks.last() {
            let tight = last.kind.is_tight() && kind.is_tight();
            self.raw(if tight { "\n" } else { "\n\n" })?;
        }
        let start = self.chars;
        self.raw(text)?;
        self.block(kind, Span::new(start, self.chars))
    }

    /// Adds a row of a table in a text document. A table of one column frames text, and its cells
    /// are the blocks that are in them.
    pub fn push_row(
        &mut self,
        cells: &[Vec<(BlockKind, String)>],
        is_header: bool,
    ) -> Result<(), Refusal> {
        if let [only] = cells {
            for (kind, text) in only {
                self.push(*kind, text)?;
            }
            return Ok(());
        }
        let cells: Vec<_> = cells
            .iter()
            .map(|cell| {
                let texts: Vec<_> = cell.iter().map(|(_, text)| text.trim()).collect();
                texts.join(" ").replace('\n', " ")
            })
            .collect();
        if cells.iter().all(String::is_empty) {
            return Ok(());
        }
        let kind = if is_header {
            BlockKind::TableHeader
        } else {
            BlockKind::TableRow
        };
        self.push(kind, cells.join(" | ").trim())
    }

    /// Adds characters that belong to no block yet, and returns their span.
    pub fn raw(&mut self, text: &str) -> Result<Span, Refusal> {
        let chars = if text.is_ascii() {
            text.len()
        } else {
            text.chars().count()
        };
        if u64::from(self.chars) + chars as u64 > self.max_chars {
            return Err(Refusal::TooMuchText {
                max_chars: self.max_chars,
            });
        }
        let start = self.chars;
        self.text.push_str(text);
        self.chars += chars as u32;
        Ok(Span::new(start, self.chars))
    }

    /// Declares a block over characters that are there already.
    pub fn block(&mut self, kind: BlockKind, span: Span) -> Result<(), Refusal> {
        if self.blocks.len() >= MAX_BLOCKS {
            return Err(Refusal::TooManyParts {
                max: MAX_BLOCKS as u64,
            });
        }
        self.blocks.push(Block { kind, span });
        Ok(())
    }

    pub fn max_chars(&self) -> u64 {
        self.max_chars
    }

    pub fn chars(&self) -> u32 {
        self.chars
    }

    /// Where the last block stands.
    pub fn last_block(&self) -> Option<Span> {
        self.blocks.last().map(|block| block.span)
    }

    /// The slide or part number `page` that began at character `start` and ends here.
    pub fn page_since(&self, kind: PageKind, page: u32, start: u32) -> PageLayout {
        PageLayout {
            turn: Turn::default(),
            kind,
            page,
            width: 0.0,
            height: 0.0,
            span: Span::new(start, self.chars),
            lines: Vec::new(),
        }
    }

    pub fn finish(self) -> Extracted {
        Extracted {
            text: self.text,
            blocks: self.blocks,
            ..Extracted::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted() -> Extracted {
        let mut assembler = Assembler::new(1000);
        assembler.push(BlockKind::Heading(1), "Šuma").unwrap();
        assembler.push(BlockKind::ListItem, "- jela\n").unwrap();
        assembler.push(BlockKind::ListItem, "- bor").unwrap();
        assembler.push(BlockKind::Paragraph, " \n ").unwrap();
        assembler.finish()
    }

    #[test]
    fn blocks_are_separated_by_their_kind() {
        let extracted = extracted();
        assert_eq!(extracted.text, "Šuma\n\n- jela\n- bor");
        let texts: Vec<_> = extracted
            .blocks
            .iter()
            .map(|block| block.span.slice(&extracted.text).unwrap())
            .collect();
        assert_eq!(texts, ["Šuma", "- jela", "- bor"], "a blank block is none");
    }

    #[test]
    fn finds_the_blocks_under_a_span() {
        let extracted = extracted();
        assert_eq!(
            blocks_between(&extracted, Span::new(5, 14)),
            &extracted.blocks[1..]
        );
        assert_eq!(
            blocks_between(&extracted, Span::new(4, 6)),
            &[],
            "a gap holds none"
        );
        assert_eq!(blocks_between(&extracted, Span::new(90, 99)), &[]);
    }

    #[test]
    fn more_text_than_allowed_is_refused() {
        let mut assembler = Assembler::new(8);
        assembler.push(BlockKind::Paragraph, "čćžšđ").unwrap();
        assert_eq!(
            assembler.push(BlockKind::Paragraph, "one"),
            Err(Refusal::TooMuchText { max_chars: 8 })
        );
    }

    #[test]
    fn boxes_clip_the_first_and_last_line() {
        let line = |start: u32, end: u32, top: f32| LineBox {
            span: Span::new(start, end),
            left: 0.1,
            top,
            right: 0.9,
            bottom: top + 0.1,
        };
        let extracted = Extracted {
            text: "x".repeat(30),
            pages: vec![
                PageLayout {
                    kind: PageKind::Page,
                    page: 1,
                    width: 600.0,
                    height: 800.0,
                    turn: Turn::Upright,
                    span: Span::new(0, 20),
                    lines: vec![line(0, 10, 0.1), line(10, 20, 0.2)],
                },
                PageLayout {
                    kind: PageKind::Page,
                    page: 2,
                    width: 600.0,
                    height: 800.0,
                    turn: Turn::Upright,
                    span: Span::new(20, 30),
                    lines: vec![line(20, 30, 0.1)],
                },
            ],
            ..Extracted::default()
        };
        let boxes = boxes_of(&extracted, Span::new(15, 25));
        let corners: Vec<_> = boxes
            .iter()
            .map(|found| {
                (
                    found.page,
                    (found.left * 10.0).round(),
                    (found.right * 10.0).round(),
                )
            })
            .collect();
        assert_eq!(corners, [(1, 5.0, 9.0), (2, 1.0, 5.0)]);
    }
}
