//! Where a passage stands, in the terms of its format: what a reader opens the document at.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Format, NewChunk};

/// What stands in front of a sheet's name in its heading.
pub const SHEET_HEADING: &str = "Sheet: ";
/// What stands in front of an attachment's name in its heading.
pub const ATTACHMENT_HEADING: &str = "Attachment: ";

/// Pages, slides, rows and columns count from 1; the last one belongs to the passage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Place {
    Pages {
        first: u32,
        last: u32,
    },
    Slides {
        first: u32,
        last: u32,
    },
    Cells {
        /// `None` in a format without sheets.
        sheet: Option<String>,
        /// Such as `A5:F12`; `None` for a document that was read before ranges were kept.
        range: Option<String>,
        first_row: u32,
        last_row: u32,
    },
    /// The text of a mail message itself.
    Message,
    Attachment {
        name: String,
    },
}

impl Place {
    /// `None` for formats that are read as one text, whose headings say enough.
    #[must_use]
    pub fn of(format: Format, chunk: &NewChunk) -> Option<Self> {
        let named = |mark: &str| {
            let mut headings = chunk.heading_path.iter();
            headings
                .find_map(|heading| heading.strip_prefix(mark))
                .map(str::to_owned)
        };
        let first = chunk.page;
        let last = chunk.boxes.iter().map(|each| each.page).max().or(first);
        match format {
            Format::Pdf | Format::Picture => Some(Self::Pages {
                first: first?,
                last: last?,
            }),
            Format::Pptx => Some(Self::Slides {
                first: first?,
                last: last?,
            }),
            Format::Xlsx | Format::Xls | Format::Ods | Format::Csv => {
                let cells = chunk.boxes.first().map(|cells| {
                    let [left, top, right, bottom] =
                        [cells.left, cells.top, cells.right, cells.bottom].map(|side| side as u32);
                    (
                        format!("{}{top}:{}{bottom}", column(left), column(right)),
                        top,
                        bottom,
                    )
                });
                let sheet = named(SHEET_HEADING);
                if cells.is_none() && sheet.is_none() {
                    return None;
                }
                let (range, first_row, last_row) = match cells {
                    Some((range, top, bottom)) => (Some(range), top, bottom),
                    None => (None, 0, 0),
                };
                Some(Self::Cells {
                    sheet,
                    range,
                    first_row,
                    last_row,
                })
            }
            Format::Email if first? == 1 => Some(Self::Message),
            Format::Email => named(ATTACHMENT_HEADING).map(|name| Self::Attachment { name }),
            Format::Text
            | Format::Markdown
            | Format::Html
            | Format::Docx
            | Format::Odt
            | Format::Epub
            | Format::Rst
            | Format::Json
            | Format::Code => None,
        }
    }

    /// Leaves what says nothing of the document's content.
    #[must_use]
    pub fn without_names(self) -> Option<Self> {
        match self {
            Self::Pages { .. } | Self::Slides { .. } | Self::Message => Some(self),
            Self::Cells { .. } | Self::Attachment { .. } => None,
        }
    }
}

/// The letters of a column, from 1: `A`, `Z`, `AA`.
fn column(mut number: u32) -> String {
    let mut letters = Vec::new();
    while number > 0 {
        number -= 1;
        letters.push(b'A' + (number % 26) as u8);
        number /= 26;
    }
    letters
        .iter()
        .rev()
        .map(|letter| char::from(*letter))
        .collect()
}

/// In English, for the command line and scripts' eyes.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |f: &mut fmt::Formatter<'_>, what: &str, first: u32, last: u32| {
            if first == last {
                write!(f, "{what} {first}")
            } else {
                write!(f, "{what}s {first}–{last}")
            }
        };
        match self {
            Self::Pages { first, last } => numbers(f, "page", *first, *last),
            Self::Slides { first, last } => numbers(f, "slide", *first, *last),
            Self::Cells {
                sheet: Some(sheet),
                range,
                ..
            } => match range {
                Some(range) if sheet.chars().all(char::is_alphanumeric) => {
                    write!(f, "{sheet}!{range}")
                }
                Some(range) => write!(f, "'{}'!{range}", sheet.replace('\'', "''")),
                None => write!(f, "sheet {sheet}"),
            },
            Self::Cells {
                sheet: None,
                first_row,
                last_row,
                ..
            } => numbers(f, "row", *first_row, *last_row),
            Self::Message => f.write_str("message"),
            Self::Attachment { name } => write!(f, "attachment {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PageBox, Span};

    fn chunk(page: Option<u32>, boxes: &[(u32, [f32; 4])], path: &[&str]) -> NewChunk {
        NewChunk {
            span: Span::new(0, 1),
            text: "x".to_owned(),
            heading_path: path.iter().map(|heading| (*heading).to_owned()).collect(),
            page,
            boxes: boxes
                .iter()
                .map(|&(page, [left, top, right, bottom])| PageBox {
                    page,
                    left,
                    top,
                    right,
                    bottom,
                })
                .collect(),
            token_count: 1,
        }
    }

    fn says(format: Format, chunk: &NewChunk) -> Option<String> {
        Place::of(format, chunk).map(|place| place.to_string())
    }

    #[test]
    fn every_format_in_its_own_terms() {
        let whole = [0.0, 0.0, 1.0, 1.0];
        let on = |pages: &[u32]| {
            let boxes: Vec<_> = pages.iter().map(|page| (*page, whole)).collect();
            chunk(pages.first().copied(), &boxes, &["Slide 3: Plan"])
        };
        assert_eq!(says(Format::Pdf, &on(&[3])).unwrap(), "page 3");
        assert_eq!(says(Format::Pdf, &on(&[3, 4])).unwrap(), "pages 3–4");
        assert_eq!(says(Format::Pptx, &on(&[3, 5])).unwrap(), "slides 3–5");
        let cells = [(2, [1.0, 5.0, 28.0, 12.0])];
        let sheet =
            |name: &str| chunk(Some(2), &cells, &[&format!("Sheet: {name}"), "Ime | Iznos"]);
        assert_eq!(
            says(Format::Xlsx, &sheet("Plaće")).unwrap(),
            "Plaće!A5:AB12"
        );
        assert_eq!(
            says(Format::Ods, &sheet("Ana's 2026")).unwrap(),
            "'Ana''s 2026'!A5:AB12"
        );
        assert_eq!(
            says(Format::Csv, &chunk(Some(1), &cells, &[])).unwrap(),
            "rows 5–12"
        );
        assert_eq!(
            says(Format::Xls, &chunk(None, &[], &["Sheet: Plaće"])).unwrap(),
            "sheet Plaće",
            "read before ranges were kept"
        );
        let part = |page, path: &[&str]| chunk(Some(page), &[], path);
        assert_eq!(
            says(Format::Email, &part(1, &["Attachment: nacrt"])).unwrap(),
            "message",
            "a subject may look like an attachment"
        );
        assert_eq!(
            says(
                Format::Email,
                &part(2, &["Re: ugovor", "Attachment: ugovor.docx", "Članak 1"])
            )
            .unwrap(),
            "attachment ugovor.docx"
        );
        assert_eq!(says(Format::Docx, &part(1, &["Uvod"])), None);
    }

    #[test]
    fn columns_have_letters() {
        assert_eq!(
            [1, 26, 27, 702, 703, 16_384].map(column),
            ["A", "Z", "AA", "ZZ", "AAA", "XFD"]
        );
    }
}
