//! Tables in text files, whatever separates their cells: commas, semicolons (what Excel writes
//! where the comma is the decimal sign), tabs or bars.

use super::table::{Cell, Tables};
use super::{Bounds, text};
use crate::extracted::{Assembler, Extracted};
use crate::refusal::Refusal;

const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

pub fn extract(bytes: Vec<u8>, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let decoded = text::decode(bytes, None)?;
    // The mark may stand twice when a program adds its own.
    let source = decoded.text.trim_start_matches('\u{feff}');
    let (delimiter, source) = match declared(source) {
        Some((delimiter, rest)) => (Some(delimiter), rest),
        None => (delimiter(source), source),
    };
    let mut assembler = Assembler::new(bounds.max_chars);
    let mut tables = Tables::new(&mut assembler, bounds);
    for (number, record) in (1..).zip(Records {
        rest: source,
        delimiter,
    }) {
        let cells = record
            .cells
            .into_iter()
            .map(|(column, text)| Cell {
                column,
                is_data: is_data(&text),
                text,
            })
            .collect();
        tables.row(number, cells)?;
    }
    let sheets = tables.finish()?;
    let mut extracted = assembler.finish();
    extracted.pages = sheets;
    extracted.warnings = decoded.warnings;
    Ok(extracted)
}

/// The delimiter that Excel lets a file name in its first line, and what follows that line.
fn declared(source: &str) -> Option<(char, &str)> {
    let rest = source
        .strip_prefix("sep=")
        .or_else(|| source.strip_prefix("\"sep="))?;
    let delimiter = rest.chars().next()?;
    let (line, rest) = rest.split_once('\n')?;
    (line.chars().count() <= 3).then_some((delimiter, rest))
}

/// The delimiter that cuts the first records into the same number of cells most often. Where two do,
/// the comma and the bar are the likelier to stand within cells: in amounts, for one.
fn delimiter(source: &str) -> Option<char> {
    const RECORDS: usize = 64;
    const LOOK_AT: usize = 256 * 1024;
    let mut end = source.len().min(LOOK_AT);
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let head = &source[..end];
    DELIMITERS
        .into_iter()
        .filter_map(|delimiter| {
            let records = Records {
                rest: head,
                delimiter: Some(delimiter),
            };
            let mut widths: Vec<u32> = records
                .take(RECORDS)
                .map(|record| record.width)
                .filter(|width| *width > 1)
                .collect();
            widths.sort_unstable();
            let (agreeing, width) = widths
                .chunk_by(|one, other| one == other)
                .map(|same| (same.len(), same[0]))
                .max()?;
            Some((agreeing, width, delimiter))
        })
        .max_by_key(|(agreeing, width, delimiter)| {
            (*agreeing, matches!(delimiter, ';' | '\t'), *width)
        })
        .map(|(_, _, delimiter)| delimiter)
}

/// Numbers, dates and times, in any notation.
fn is_data(text: &str) -> bool {
    text.contains(|char: char| char.is_ascii_digit())
        && text
            .chars()
            .all(|char| char.is_ascii_digit() || " .,:/-+%€$T\u{a0}".contains(char))
}

/// Cuts text into records (RFC 4180, and what is written instead of it).
struct Records<'a> {
    rest: &'a str,
    /// `None` for lines of one cell.
    delimiter: Option<char>,
}

/// Those cells of a record that hold something, by their columns, and how many it has in all.
#[derive(Default)]
struct Record {
    cells: Vec<(u32, String)>,
    width: u32,
}

/// A record that goes on for longer is cut: its delimiter is none.
const LONGEST_RECORD: u32 = 1 << 20;

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.rest.is_empty() {
            return None;
        }
        let mut record = Record::default();
        loop {
            let mut cell = String::new();
            if let Some((quoted, rest)) = quoted(self.rest) {
                cell = quoted;
                self.rest = rest;
            }
            let end = self
                .rest
                .find(|char| char == '\n' || char == '\r' || Some(char) == self.delimiter)
                .unwrap_or(self.rest.len());
            cell.push_str(&self.rest[..end]);
            if !cell.trim().is_empty() {
                record.cells.push((record.width, cell));
            }
            record.width += 1;
            self.rest = &self.rest[end..];
            let mut chars = self.rest.chars();
            match chars.next() {
                Some('\r') => {
                    let rest = chars.as_str();
                    self.rest = rest.strip_prefix('\n').unwrap_or(rest);
                    return Some(record);
                }
                None | Some('\n') => {
                    self.rest = chars.as_str();
                    return Some(record);
                }
                Some(_) => self.rest = chars.as_str(),
            }
            if record.width == LONGEST_RECORD {
                return Some(record);
            }
        }
    }
}

/// The quoted cell that `text` begins with, and what follows its closing quote. A quote that is
/// not closed within the length of a cell is an inch or a misprint.
fn quoted(text: &str) -> Option<(String, &str)> {
    const LONGEST_CELL: usize = 32_767;
    let inner = text.strip_prefix('"')?;
    let mut cell = String::new();
    let mut rest = inner;
    loop {
        let quote = rest.find('"')?;
        cell.push_str(&rest[..quote]);
        if cell.len() > LONGEST_CELL {
            return None;
        }
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                cell.push('"');
                rest = after;
            }
            None => return Some((cell, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::extracted::{BlockKind, Warning};

    fn blocks(bytes: &[u8]) -> Vec<(BlockKind, String)> {
        let extracted = extract(bytes.to_vec(), &Bounds::default()).unwrap();
        extracted
            .blocks
            .iter()
            .map(|block| {
                (
                    block.kind,
                    block.span.slice(&extracted.text).unwrap().to_owned(),
                )
            })
            .collect()
    }

    fn expected() -> Vec<(BlockKind, String)> {
        vec![
            (BlockKind::TableHeader, "Ime | Iznos | Napomena".to_owned()),
            (
                BlockKind::TableRow,
                "Žana | 1.234,50 | šef; \"kum\" dva reda".to_owned(),
            ),
            (BlockKind::TableRow, "Čedo | 5,00".to_owned()),
        ]
    }

    #[test]
    fn semicolons_as_croatian_excel_writes_them() {
        let text = "Ime;Iznos;Napomena\r\nŽana;1.234,50;\"šef; \"\"kum\"\"\r\ndva reda\"\r\nČedo;5,00;\r\n";
        assert_eq!(blocks(text.as_bytes()), expected());
        assert_eq!(blocks(format!("\u{feff}{text}").as_bytes()), expected());
        assert_eq!(blocks(format!("sep=;\r\n{text}").as_bytes()), expected());
        let utf16: Vec<u8> = std::iter::once(0xfeff)
            .chain(text.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(blocks(&utf16), expected());

        let (windows, _, _) = encoding_rs::WINDOWS_1250.encode(text);
        assert_eq!(blocks(&windows), expected());
        let extracted = extract(windows.into_owned(), &Bounds::default()).unwrap();
        assert_eq!(
            extracted.warnings,
            [Warning::GuessedEncoding {
                encoding: "windows-1250".to_owned()
            }]
        );
    }

    #[test]
    fn commas_tabs_and_single_columns() {
        let expected = [
            (BlockKind::TableHeader, "name | amount".to_owned()),
            (BlockKind::TableRow, "a, b | 5".to_owned()),
        ];
        assert_eq!(blocks(b"name,amount\n\"a, b\",5\n"), expected);
        assert_eq!(blocks(b"name\tamount\na, b\t5"), expected);
        assert_eq!(
            blocks(b"one\ntwo"),
            [
                (BlockKind::Paragraph, "one".to_owned()),
                (BlockKind::Paragraph, "two".to_owned())
            ]
        );
    }

    #[test]
    fn decimal_commas_do_not_cut_amounts() {
        for text in [
            "1,50;2,50;3,50\n4,50;5,50;6,50\n",
            "1,50\t2,50\t3,50\n4,50\t5,50\t6,50\n",
        ] {
            assert_eq!(
                blocks(text.as_bytes()),
                [
                    (BlockKind::TableRow, "1,50 | 2,50 | 3,50".to_owned()),
                    (BlockKind::TableRow, "4,50 | 5,50 | 6,50".to_owned()),
                ]
            );
        }
    }

    #[test]
    fn a_stray_quote_does_not_swallow_the_file() {
        let mut text = "size,what\n\"5,screen\n".to_owned();
        for number in 0..20_000 {
            writeln!(text, "{number},row").unwrap();
        }
        assert_eq!(blocks(text.as_bytes()).len(), 20_002);
    }

    #[test]
    fn too_many_cells_are_refused() {
        let bounds = Bounds {
            cells: 100,
            ..Bounds::default()
        };
        assert_eq!(
            extract("1,2\n".repeat(51).into_bytes(), &bounds),
            Err(Refusal::TooManyParts { max: 100 })
        );
    }
}
