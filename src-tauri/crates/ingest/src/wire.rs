//! How a request and its answer travel between the application and the worker.
//!
//! A large PDF has a hundred thousand line boxes; as JSON they would cost more than reading it. So
//! text, blocks and lines go as bytes behind a small JSON head, in pieces. Both ends are the same
//! binary, so the layout may change freely. The worker has parsed a file that nobody vouched for:
//! what comes from it is checked here like any other input.

use std::path::{Path, PathBuf};

use docent_domain::{Format, Progress, Span};
use serde::{Deserialize, Serialize};

use crate::extract::{Bounds, ocr::Recognition};
use crate::extracted::{Block, BlockKind, Extracted, LineBox, PageKind, PageLayout, Turn, Warning};
use crate::refusal::Refusal;

/// What is sent at once, so that neither end holds a second copy of a large document.
pub const PIECE_BYTES: usize = 4 << 20;

/// The path travels as the request's body: it need not be Unicode.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub format: Format,
    pub bounds: Bounds,
    pub pdfium_dir: Option<PathBuf>,
    pub recognition: Option<Recognition>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    Progress(Progress),
    /// The body is the next piece of the document's bytes.
    Piece,
    /// All pieces are sent.
    Done(Head),
    Refused(Refusal),
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    title: Option<String>,
    language_hint: Option<String>,
    warnings: Vec<Warning>,
    text_bytes: usize,
    blocks: usize,
    pages: usize,
}

#[cfg(unix)]
pub fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(unix)]
pub fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
pub fn path_bytes(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

#[cfg(not(unix))]
pub fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

pub fn encode(extracted: Extracted) -> (Head, Vec<u8>) {
    let head = Head {
        title: extracted.title,
        language_hint: extracted.language_hint,
        warnings: extracted.warnings,
        text_bytes: extracted.text.len(),
        blocks: extracted.blocks.len(),
        pages: extracted.pages.len(),
    };
    let mut body = extracted.text.into_bytes();
    for block in &extracted.blocks {
        body.extend_from_slice(&kind_code(block.kind));
        put_span(&mut body, block.span);
    }
    for page in &extracted.pages {
        body.push(page_code(page.kind));
        body.extend_from_slice(&page.page.to_le_bytes());
        body.extend_from_slice(&page.width.to_le_bytes());
        body.extend_from_slice(&page.height.to_le_bytes());
        body.push(page.turn as u8);
        put_span(&mut body, page.span);
        body.extend_from_slice(&(page.lines.len() as u32).to_le_bytes());
        for line in &page.lines {
            put_span(&mut body, line.span);
            for side in [line.left, line.top, line.right, line.bottom] {
                body.extend_from_slice(&side.to_le_bytes());
            }
        }
    }
    (head, body)
}

/// `None` when the bytes are not what [`encode`] makes.
pub fn decode(head: Head, mut body: Vec<u8>) -> Option<Extracted> {
    if head.text_bytes > body.len() {
        return None;
    }
    let tail = body.split_off(head.text_bytes);
    let text = String::from_utf8(body).ok()?;
    let chars = if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    };
    let chars = u32::try_from(chars).ok()?;
    let mut input = Input {
        bytes: &tail,
        chars,
    };
    // Counts are claims: no room is made for more than the bytes can hold.
    let mut blocks = Vec::with_capacity(head.blocks.min(tail.len() / 10));
    let mut at = 0;
    for _ in 0..head.blocks {
        let code = [input.byte()?, input.byte()?];
        let kind = kind_of(code)?;
        let span = input.span()?;
        if span.start < at {
            return None;
        }
        at = span.end;
        blocks.push(Block { kind, span });
    }
    let mut pages = Vec::with_capacity(head.pages.min(tail.len() / 20));
    for _ in 0..head.pages {
        let kind = page_kind_of(input.byte()?)?;
        let page = input.number()?;
        let (width, height) = (input.float()?, input.float()?);
        let turn = *Turn::ALL.get(usize::from(input.byte()?))?;
        let span = input.span()?;
        let count = input.number()? as usize;
        let mut lines = Vec::with_capacity(count.min(input.bytes.len() / 24));
        for _ in 0..count {
            lines.push(LineBox {
                span: input.span()?,
                left: input.float()?,
                top: input.float()?,
                right: input.float()?,
                bottom: input.float()?,
            });
        }
        pages.push(PageLayout {
            kind,
            page,
            width,
            height,
            turn,
            span,
            lines,
        });
    }
    input.bytes.is_empty().then_some(Extracted {
        text,
        title: head.title,
        language_hint: head.language_hint,
        blocks,
        pages,
        warnings: head.warnings,
    })
}

fn put_span(body: &mut Vec<u8>, span: Span) {
    body.extend_from_slice(&span.start.to_le_bytes());
    body.extend_from_slice(&span.end.to_le_bytes());
}

const fn kind_code(kind: BlockKind) -> [u8; 2] {
    match kind {
        BlockKind::Heading(level) => [0, level],
        BlockKind::Paragraph => [1, 0],
        BlockKind::ListItem => [2, 0],
        BlockKind::Code => [3, 0],
        BlockKind::TableHeader => [4, 0],
        BlockKind::TableRow => [5, 0],
        BlockKind::Quote => [6, 0],
    }
}

const fn kind_of(code: [u8; 2]) -> Option<BlockKind> {
    Some(match code {
        [0, level] => BlockKind::Heading(level),
        [1, 0] => BlockKind::Paragraph,
        [2, 0] => BlockKind::ListItem,
        [3, 0] => BlockKind::Code,
        [4, 0] => BlockKind::TableHeader,
        [5, 0] => BlockKind::TableRow,
        [6, 0] => BlockKind::Quote,
        _ => return None,
    })
}

const fn page_code(kind: PageKind) -> u8 {
    match kind {
        PageKind::Page => 0,
        PageKind::Slide => 1,
        PageKind::Sheet => 2,
        PageKind::Part => 3,
    }
}

const fn page_kind_of(code: u8) -> Option<PageKind> {
    Some(match code {
        0 => PageKind::Page,
        1 => PageKind::Slide,
        2 => PageKind::Sheet,
        3 => PageKind::Part,
        _ => return None,
    })
}

struct Input<'a> {
    bytes: &'a [u8],
    chars: u32,
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn float(&mut self) -> Option<f32> {
        self.take()
            .map(f32::from_le_bytes)
            .filter(|float| float.is_finite())
    }

    fn span(&mut self) -> Option<Span> {
        let span = Span::new(self.number()?, self.number()?);
        (span.start <= span.end && span.end <= self.chars).then_some(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Extracted {
        Extracted {
            text: "Šuma\n\njela".to_owned(),
            title: Some("Šuma".to_owned()),
            language_hint: None,
            blocks: vec![
                Block {
                    kind: BlockKind::Heading(2),
                    span: Span::new(0, 4),
                },
                Block {
                    kind: BlockKind::Quote,
                    span: Span::new(6, 10),
                },
            ],
            pages: vec![PageLayout {
                kind: PageKind::Sheet,
                page: 1,
                width: 595.0,
                height: 842.0,
                turn: Turn::Upwards,
                span: Span::new(0, 10),
                lines: vec![LineBox {
                    span: Span::new(0, 4),
                    left: 0.1,
                    top: 0.2,
                    right: 0.3,
                    bottom: 0.4,
                }],
            }],
            warnings: vec![Warning::Garbled],
        }
    }

    #[test]
    fn comes_back_as_it_went() {
        let (head, body) = encode(document());
        let head: Head = serde_json::from_slice(&serde_json::to_vec(&head).unwrap()).unwrap();
        assert_eq!(decode(head, body), Some(document()));
    }

    #[test]
    fn nonsense_from_a_worker_is_not_believed() {
        let whole = || encode(document());
        let (head, mut body) = whole();
        body.pop();
        assert_eq!(decode(head, body), None, "cut");
        let (mut head, body) = whole();
        head.blocks = usize::MAX;
        assert_eq!(decode(head, body), None, "more blocks than bytes");
        let (mut head, body) = whole();
        head.text_bytes = 1;
        assert_eq!(decode(head, body), None, "text cut inside a letter");
        let mut wrong = document();
        wrong.blocks[1].span = Span::new(6, 11);
        let (head, body) = encode(wrong);
        assert_eq!(decode(head, body), None, "a span past the end");
        let mut wrong = document();
        wrong.blocks.swap(0, 1);
        let (head, body) = encode(wrong);
        assert_eq!(decode(head, body), None, "blocks out of order");
    }
}
