//! Pictures in documents that are text otherwise: a scan pasted into a letter, slides that are
//! pictures. Their text is recognised as that of attached pictures is, on the second reading.

use std::collections::HashSet;
use std::io::Cursor;
use std::time::Instant;

use super::archive::Archive;
use super::{Context, picture};
use crate::extracted::{BlockKind, Extracted, Warning};
use crate::refusal::Refusal;

/// What of a picture is looked at for its size.
const HEAD_BYTES: u64 = 64 << 10;
/// A picture that is recognised is in memory whole, beside what it unpacks to.
const MAX_BYTES: u64 = 32 << 20;
/// Pictures that are looked at; further ones are taken for large.
const MAX_LOOKED_AT: usize = 2_000;

/// Blocks of a text that stands in another document.
pub type Blocks = Vec<(BlockKind, String)>;

pub struct Embedded<'c> {
    context: &'c Context<'c>,
    until: Option<Instant>,
    /// The parts that were looked at: a logo may stand on every slide.
    known: HashSet<String>,
    /// Pictures that are large enough for text.
    pictures: u32,
    recognised: u32,
    /// Pictures whose text is not known.
    unread: u32,
    /// Why no text could be looked for, the last time that it was so.
    failure: Option<String>,
}

impl<'c> Embedded<'c> {
    pub fn new(context: &'c Context<'c>) -> Self {
        let time = context.recognition.map(|recognition| recognition.time);
        Self {
            context,
            until: time.and_then(|time| Instant::now().checked_add(time)),
            known: HashSet::new(),
            pictures: 0,
            recognised: 0,
            unread: 0,
            failure: None,
        }
    }

    /// The text of a picture where it is to be recognised, without headings: they would be none of
    /// the document's.
    pub fn read(&mut self, part: &str, archive: &mut Archive<'_>) -> Result<Blocks, Refusal> {
        if !self.known.insert(part.to_owned()) {
            return Ok(Vec::new());
        }
        if self.known.len() <= MAX_LOOKED_AT {
            let head = archive.head(part, HEAD_BYTES).unwrap_or_default();
            if !picture::may_hold_text(&head) {
                return Ok(Vec::new());
            }
        }
        self.pictures += 1;
        if self.context.recognition.is_none() {
            self.unread += 1;
            return Ok(Vec::new());
        }
        if self.until.is_some_and(|until| Instant::now() >= until) {
            self.unread += 1;
            self.failure = Some("there are too many of them".to_owned());
            return Ok(Vec::new());
        }
        let bytes = archive.head(part, MAX_BYTES).unwrap_or_default();
        match picture::extract(&mut Cursor::new(bytes), self.context) {
            Ok(extracted) => {
                self.recognised += 1;
                return Ok(blocks(&extracted));
            }
            Err(Refusal::Cancelled) => return Err(Refusal::Cancelled),
            Err(Refusal::NoText | Refusal::NothingRecognised { .. }) => {}
            Err(Refusal::RecognitionFailed { message, .. }) => {
                self.unread += 1;
                self.failure = Some(message);
            }
            Err(refusal) => {
                self.unread += 1;
                self.failure = Some(refusal.to_string());
            }
        }
        Ok(Vec::new())
    }

    /// Says what is not known of a document, or refuses it when it is nothing but pictures.
    pub fn settle(self, extracted: &mut Extracted) -> Result<(), Refusal> {
        if self.pictures > 0 && extracted.text.trim().is_empty() {
            let pages = self.pictures;
            return Err(match (self.context.recognition, self.failure) {
                (None, _) => Refusal::Scanned { pages },
                (Some(_), Some(message)) => Refusal::RecognitionFailed { pages, message },
                (Some(_), None) => Refusal::NothingRecognised { pages },
            });
        }
        if self.recognised > 0 {
            extracted.warnings.push(Warning::Recognised {
                pages: self.recognised,
                total: self.pictures,
            });
        }
        if self.unread > 0 {
            extracted.warnings.push(Warning::PicturesWithoutText {
                pictures: self.unread,
            });
        }
        Ok(())
    }
}

/// What was read elsewhere, as text of another document.
pub fn blocks(extracted: &Extracted) -> Blocks {
    extracted
        .block_texts()
        .map(|(kind, text)| match kind {
            BlockKind::Heading(_) => (BlockKind::Paragraph, text.to_owned()),
            kind => (kind, text.to_owned()),
        })
        .collect()
}
