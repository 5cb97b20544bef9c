//! Where a passage stands in its document.

use serde::{Deserialize, Serialize};

/// A half-open range of Unicode scalar values in a document's extracted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    #[must_use]
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    #[must_use]
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The text of the span, or `None` when it reaches past the end of `text`.
    #[must_use]
    pub fn slice(self, text: &str) -> Option<&str> {
        let mut offsets = text
            .char_indices()
            .map(|(byte, _)| byte)
            .chain([text.len()]);
        let start = offsets.nth(self.start as usize)?;
        let end = match self.len() {
            0 => start,
            length => offsets.nth(length as usize - 1)?,
        };
        text.get(start..end)
    }
}

/// A rectangle on a page, in fractions of the page's width and height, origin at the top left, so
/// that a viewer needs neither the page's size nor its zoom to draw it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageBox {
    /// 1-based.
    pub page: u32,
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_by_characters_not_bytes() {
        let text = "Čvor i žaba";
        assert_eq!(Span::new(0, 4).slice(text), Some("Čvor"));
        assert_eq!(Span::new(7, 11).slice(text), Some("žaba"));
        assert_eq!(Span::new(3, 3).slice(text), Some(""));
        assert_eq!(
            Span::new(7, 12).slice(text),
            None,
            "one past the end is not a passage"
        );
    }
}
