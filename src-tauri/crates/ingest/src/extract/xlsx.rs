//! Excel workbooks: each sheet under its name, its rows as table rows with the values that their
//! cells show. Formulas are read as their last results, which some programs leave out; those are
//! counted. Hidden sheets are left out.

use std::borrow::Cow;
use std::collections::HashMap;

use quick_xml::events::BytesStart;

use docent_domain::SHEET_HEADING;

use super::Bounds;
use super::archive::{Archive, Source};
use super::number_format::NumberFormat;
use super::table::{Cell, Tables};
use super::xml::{Outcome, Part, attribute, prefixed};
use crate::extracted::{Assembler, Extracted, Warning};
use crate::refusal::Refusal;

/// Excel's own limit.
const MAX_COLUMN: u32 = 16_384;

pub fn extract(source: &mut dyn Source, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let mut archive = Archive::open(source, bounds)?;
    let main = archive
        .main_part("xl/workbook.xml")?
        .ok_or_else(|| archive.mistaken("Excel workbook"))?;
    let relations = archive.relations(&main)?;
    let mut workbook = Workbook {
        max_sheets: bounds.zip_entries,
        ..Workbook::default()
    };
    if let Outcome::Broken { message } = archive.read(&main, &mut workbook)?
        && workbook.sheets.is_empty()
    {
        return Err(Refusal::damaged(message));
    }
    let mut strings = Strings {
        max: bounds.cells,
        ..Strings::default()
    };
    if let Some(part) = relations.of_kind("sharedStrings").next() {
        archive.read(part, &mut strings)?;
    }
    let mut styles = Styles::default();
    if let Some(part) = relations.of_kind("styles").next() {
        archive.read(part, &mut styles)?;
    }
    let properties = archive.properties("docProps/core.xml")?;

    let mut assembler = Assembler::new(bounds.max_chars);
    let mut tables = Tables::new(&mut assembler, bounds);
    let mut damaged = Vec::new();
    let mut without_results = 0;
    for sheet in &workbook.sheets {
        let Some(part) = relations.target(&sheet.relation) else {
            damaged.push(sheet.name.clone());
            continue;
        };
        tables.sheet(format!("{SHEET_HEADING}{}", sheet.name))?;
        let mut rows = Rows {
            tables: &mut tables,
            strings: &strings.all,
            styles: &styles,
            mac: workbook.mac,
            row: 0,
            column: 0,
            cells: Vec::new(),
            kind: String::new(),
            style: 0,
            value: String::new(),
            within: false,
            is_formula: false,
            without_results: 0,
        };
        let outcome = archive.read(part, &mut rows)?;
        without_results += rows.without_results;
        if !matches!(outcome, Outcome::Whole) {
            damaged.push(sheet.name.clone());
        }
    }
    let sheets = tables.finish()?;
    let mut extracted = assembler.finish();
    extracted.pages = sheets;
    if extracted.blocks.is_empty() && !damaged.is_empty() {
        return Err(Refusal::damaged(format!(
            "the sheet {} cannot be read",
            damaged[0]
        )));
    }
    extracted
        .warnings
        .extend(damaged.into_iter().map(|name| Warning::PartLeftOut {
            part: format!("the sheet {name}, or the end of it"),
        }));
    if without_results > 0 {
        let count = without_results;
        let warning = Warning::FormulasWithoutResults { count };
        extracted.warnings.push(warning);
    }
    extracted.title = properties.title;
    extracted.language_hint = properties.language;
    Ok(extracted)
}

#[derive(Default)]
struct Workbook {
    sheets: Vec<Sheet>,
    /// Every sheet is a part of its own.
    max_sheets: usize,
    /// Whether days are counted from 1904.
    mac: bool,
}

struct Sheet {
    name: String,
    relation: String,
}

impl Part for Workbook {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        match name {
            "workbookPr" => {
                self.mac = matches!(
                    attribute(element, "date1904").as_deref(),
                    Some("1" | "true")
                );
            }
            "sheet" if attribute(element, "state").is_none_or(|state| state == "visible") => {
                if self.sheets.len() >= self.max_sheets {
                    return Err(Refusal::TooManyParts {
                        max: self.max_sheets as u64,
                    });
                }
                self.sheets.push(Sheet {
                    name: attribute(element, "name").unwrap_or_default(),
                    relation: prefixed(element, "id").unwrap_or_default(),
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

/// Texts that cells refer to by number.
#[derive(Default)]
struct Strings {
    all: Vec<Box<str>>,
    max: u64,
    current: String,
    within: bool,
}

impl Part for Strings {
    fn skips(&self, name: &str) -> bool {
        // How to pronounce the text.
        name == "rPh"
    }

    fn open(&mut self, name: &str, _: &BytesStart<'_>) -> Result<(), Refusal> {
        match name {
            "si" => self.current.clear(),
            "t" => self.within = true,
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "si" => {
                if self.all.len() as u64 >= self.max {
                    return Err(Refusal::TooManyParts { max: self.max });
                }
                self.all.push(unescaped(&self.current).into());
            }
            "t" => self.within = false,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.within {
            self.current.push_str(text);
        }
    }
}

/// The number formats of cell styles.
#[derive(Default)]
struct Styles {
    custom: HashMap<u32, NumberFormat>,
    cells: Vec<NumberFormat>,
    within: bool,
}

impl Part for Styles {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        let id = || attribute(element, "numFmtId").and_then(|id| id.parse::<u32>().ok());
        match name {
            "numFmt" => {
                if let (Some(id), Some(code)) = (id(), attribute(element, "formatCode")) {
                    self.custom.insert(id, NumberFormat::parse(&code));
                }
            }
            "cellXfs" => self.within = true,
            "xf" if self.within => {
                let id = id().unwrap_or(0);
                let format = self.custom.get(&id).cloned();
                self.cells
                    .push(format.unwrap_or_else(|| NumberFormat::builtin(id)));
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        if name == "cellXfs" {
            self.within = false;
        }
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

/// Reads one sheet.
struct Rows<'a, 'b> {
    tables: &'a mut Tables<'b>,
    strings: &'a [Box<str>],
    styles: &'a Styles,
    mac: bool,
    /// From 1; both count on where the file does not say.
    row: u32,
    column: u32,
    cells: Vec<Cell>,
    kind: String,
    style: usize,
    value: String,
    within: bool,
    is_formula: bool,
    /// Cells with a formula whose result is not in the file.
    without_results: u64,
}

impl Part for Rows<'_, '_> {
    fn skips(&self, name: &str) -> bool {
        name == "rPh"
    }

    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        match name {
            "row" => {
                let number = attribute(element, "r").and_then(|row| row.parse().ok());
                let number = number.unwrap_or(self.row.saturating_add(1));
                if number > self.row.saturating_add(1) {
                    self.tables.gap()?;
                }
                self.row = number;
                self.column = 0;
            }
            "c" => {
                self.column = attribute(element, "r")
                    .and_then(|reference| column(&reference))
                    .unwrap_or(self.column.saturating_add(1));
                self.kind = attribute(element, "t").unwrap_or_default();
                self.style = attribute(element, "s")
                    .and_then(|style| style.parse().ok())
                    .unwrap_or(0);
                self.value.clear();
                self.is_formula = false;
            }
            "f" => self.is_formula = true,
            "v" | "t" => self.within = true,
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "v" | "t" => self.within = false,
            "c" => self.end_cell(),
            "row" => self.tables.row(self.row, std::mem::take(&mut self.cells))?,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.within {
            self.value.push_str(text);
        }
    }
}

impl Rows<'_, '_> {
    fn end_cell(&mut self) {
        // A result that is an empty text has that type.
        if self.value.is_empty() && self.is_formula && self.kind != "str" {
            self.without_results += 1;
        }
        if self.value.is_empty() || self.column > MAX_COLUMN {
            return;
        }
        let value = self.value.trim();
        let (text, is_data) = match self.kind.as_str() {
            "s" => {
                let shared = value
                    .parse()
                    .ok()
                    .and_then(|at: usize| self.strings.get(at));
                (shared.map(ToString::to_string).unwrap_or_default(), false)
            }
            "str" | "inlineStr" => (unescaped(&self.value).into_owned(), false),
            "b" => (if value == "1" { "TRUE" } else { "FALSE" }.to_owned(), true),
            // What went wrong in a formula is nothing that the sheet says.
            "e" => return,
            _ => match value.parse::<f64>() {
                Ok(number) => {
                    let general = NumberFormat::default();
                    let format = self.styles.cells.get(self.style).unwrap_or(&general);
                    (format.show(number, self.mac), true)
                }
                Err(_) => (value.to_owned(), true),
            },
        };
        self.cells.push(Cell {
            column: self.column.saturating_sub(1),
            text,
            is_data,
        });
    }
}

/// Text with its escapes resolved: `_x000D_` is a carriage return, and `_x005F_` the underscore of
/// what would look like one.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("_x") {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let escaped = rest
            .get(2..6)
            .filter(|_| rest.as_bytes().get(6) == Some(&b'_'))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        let taken = if let Some(char) = escaped {
            plain.push(char);
            7
        } else {
            plain.push_str("_x");
            2
        };
        rest = &rest[taken..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// The column of a reference such as `AB12`, from 1.
fn column(reference: &str) -> Option<u32> {
    let letters = reference
        .bytes()
        .take_while(u8::is_ascii_alphabetic)
        .map(|letter| u32::from(letter.to_ascii_uppercase() - b'A') + 1);
    let column = letters.fold(0_u32, |column, letter| {
        column.saturating_mul(26).saturating_add(letter)
    });
    (column > 0).then_some(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_texts() {
        assert_eq!(unescaped("a_x000D_b"), "a\rb");
        assert_eq!(unescaped("_x005F_x000D_"), "_x000D_");
        assert_eq!(unescaped("_x00_ č_xčč _x0041"), "_x00_ č_xčč _x0041");
    }

    #[test]
    fn columns_of_references() {
        assert_eq!(column("A1"), Some(1));
        assert_eq!(column("AB12"), Some(28));
        assert_eq!(column("XFD1"), Some(16_384));
        assert_eq!(column("12"), None);
        assert_eq!(column(&"Z".repeat(100)), Some(u32::MAX));
    }
}
