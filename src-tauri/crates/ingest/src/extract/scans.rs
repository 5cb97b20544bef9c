//! Pages that are pictures, and what becomes of them.

use std::time::Instant;

use super::Context;
use super::ocr::{self, Grey, Recognised, Recognition};
use super::pdf_layout::Page;
use crate::extracted::Warning;
use crate::refusal::Refusal;

pub struct Scans<'a> {
    /// `None` when nothing is to be recognised.
    recognition: Option<&'a Recognition>,
    until: Option<Instant>,
    /// Pages without a text of their own, or next to none.
    pub pictures: u32,
    pub recognised: u32,
    blank: u32,
    /// Why no text could be looked for, the last time that it was so.
    failure: Option<String>,
}

impl<'a> Scans<'a> {
    pub fn new(recognition: Option<&'a Recognition>) -> Self {
        Self {
            recognition,
            until: recognition.and_then(|recognition| Instant::now().checked_add(recognition.time)),
            pictures: 0,
            recognised: 0,
            blank: 0,
            failure: None,
        }
    }

    /// Whether further pages are to be recognised.
    pub fn go_on(&self) -> bool {
        self.recognition.is_some() && self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Recognises a page of `size` points, which `draw` draws, or says why it cannot. `None` when the
    /// page stays as it is. What `own`, the page's own text, covers is left to it.
    pub fn read(
        &mut self,
        size: (f32, f32),
        own: &Page,
        context: &Context<'_>,
        draw: impl FnOnce() -> Result<Grey, String>,
    ) -> Result<Option<Page>, Refusal> {
        self.pictures += 1;
        let Some(recognition) = self.recognition.filter(|_| self.go_on()) else {
            return Ok(None);
        };
        let grey = match draw() {
            Ok(grey) => grey,
            Err(message) => {
                self.failure = Some(message);
                return Ok(None);
            }
        };
        if grey.is_white() {
            self.blank += 1;
            return Ok(None);
        }
        match ocr::recognise(&grey, size, &recognition.recogniser, context.cancelled)? {
            Recognised::Text(mut page) => {
                page.leave_to(own);
                if !page.lines.is_empty() {
                    self.recognised += 1;
                    return Ok(Some(page));
                }
                self.blank += 1;
            }
            Recognised::Blank => self.blank += 1,
            // Behind a title lies a photograph more often than a text that cannot be made out.
            Recognised::Illegible => self.blank += u32::from(!own.lines.is_empty()),
            Recognised::Failed(message) => self.failure = Some(message),
        }
        Ok(None)
    }

    /// Whether pages were looked at, with whatever success.
    pub fn has_looked(&self) -> bool {
        self.recognition.is_some()
    }

    /// A page that cannot be looked at.
    pub fn note_failure(&mut self, why: &Refusal) {
        self.pictures += 1;
        self.failure = Some(why.to_string());
    }

    /// Of a document that is all pictures, of which none gave text.
    pub fn refusal(self, pages: u32) -> Refusal {
        match (self.recognition, self.failure) {
            (None, _) => Refusal::Scanned { pages },
            (Some(_), Some(message)) => Refusal::RecognitionFailed { pages, message },
            (Some(_), None) => Refusal::NothingRecognised { pages },
        }
    }

    pub fn warnings(&self, total: u32) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.recognised > 0 {
            warnings.push(Warning::Recognised {
                pages: self.recognised,
                total,
            });
        }
        // Between scanned pages lie blank ones, and nothing is missing of these.
        let without = self.pictures - self.recognised - self.blank;
        if without > 0 {
            warnings.push(Warning::PagesWithoutText {
                pages: without,
                total,
            });
        }
        warnings
    }
}
