//! OpenDocument spreadsheets: each sheet under its name, cells with the text that they show. Hidden
//! sheets are left out.

use std::collections::HashSet;

use quick_xml::events::BytesStart;

use docent_domain::SHEET_HEADING;

use super::Bounds;
use super::archive::Source;
use super::opendocument::{CONTENT, META, is_left_out, open, push_special};
use super::table::{Cell, Tables};
use super::xml::{Part, attribute};
use crate::extracted::{Assembler, Extracted};
use crate::refusal::Refusal;

/// What a file may say of how often a row or a cell is repeated before it is a format of empty
/// space rather than data.
const MAX_REPEATED: u32 = 1_000;

/// LibreOffice's own limit.
const MAX_COLUMNS: u32 = 16_384;

pub fn extract(source: &mut dyn Source, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let mut archive = open(source, bounds, "spreadsheet", "OpenDocument spreadsheet")?;
    let properties = archive.properties(META)?;
    let mut assembler = Assembler::new(bounds.max_chars);
    let mut content = Content {
        tables: Tables::new(&mut assembler, bounds),
        hidden_styles: HashSet::new(),
        style: String::new(),
        depth: 0,
        hidden: false,
        rows: 1,
        row: 0,
        column: 0,
        cells: Vec::new(),
        row_chars: 0,
        columns: 1,
        value: None,
        is_data: false,
        text: String::new(),
        paragraphs: 0,
    };
    let outcome = archive.read(CONTENT, &mut content)?;
    let sheets = content.tables.finish()?;
    let mut extracted = assembler.finish();
    extracted.pages = sheets;
    outcome.settle(&mut extracted)?;
    extracted.title = properties.title;
    extracted.language_hint = properties.language;
    Ok(extracted)
}

struct Content<'a> {
    tables: Tables<'a>,
    /// Styles of sheets that are not shown.
    hidden_styles: HashSet<String>,
    style: String,
    /// Open tables: a cell may hold another.
    depth: usize,
    hidden: bool,
    /// How often the open row stands there.
    rows: u32,
    /// Rows of the sheet above the open one.
    row: u32,
    column: u32,
    cells: Vec<Cell>,
    /// Of the open row. A row is held until it is whole, and a cell may say that it is there a
    /// thousand times.
    row_chars: u64,
    /// How often the open cell stands there.
    columns: u32,
    /// What the open cell holds, whatever it shows.
    value: Option<String>,
    is_data: bool,
    text: String,
    /// Open paragraphs.
    paragraphs: usize,
}

/// A cell's value in the words of the file; a share in percent.
fn value(element: &BytesStart<'_>, kind: &str) -> Option<String> {
    let name = match kind {
        "float" | "currency" | "percentage" => "value",
        "date" => "date-value",
        "time" => "time-value",
        "boolean" => "boolean-value",
        "string" => "string-value",
        _ => return None,
    };
    let value = attribute(element, name)?;
    if kind != "percentage" {
        return Some(value);
    }
    let share: f64 = value.parse().ok()?;
    // Hundredths of a percent are exact enough, and hide what binary fractions leave over.
    Some(format!("{}%", (share * 10_000.0).round() / 100.0))
}

fn repeated(element: &BytesStart<'_>, name: &str) -> u32 {
    attribute(element, name)
        .and_then(|count| count.parse().ok())
        .unwrap_or(1)
}

impl Part for Content<'_> {
    fn skips(&self, name: &str) -> bool {
        is_left_out(name)
    }

    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        match name {
            "style" => self.style = attribute(element, "name").unwrap_or_default(),
            "table-properties" if attribute(element, "display").as_deref() == Some("false") => {
                self.hidden_styles.insert(std::mem::take(&mut self.style));
            }
            "table" => {
                self.depth += 1;
                if self.depth == 1 {
                    self.row = 0;
                    let style = attribute(element, "style-name").unwrap_or_default();
                    self.hidden = self.hidden_styles.contains(&style);
                    if !self.hidden {
                        let name = attribute(element, "name").unwrap_or_default();
                        self.tables.sheet(format!("{SHEET_HEADING}{name}"))?;
                    }
                }
            }
            "table-row" if self.depth == 1 => {
                self.rows = repeated(element, "number-rows-repeated");
                self.column = 0;
            }
            "table-cell" | "covered-table-cell" if self.depth == 1 => {
                self.columns = repeated(element, "number-columns-repeated");
                self.text.clear();
                let kind = attribute(element, "value-type").unwrap_or_default();
                self.is_data = !matches!(kind.as_str(), "" | "string" | "void");
                self.value = value(element, &kind);
            }
            "p" => {
                self.paragraphs += 1;
                self.text.push(' ');
            }
            _ if self.paragraphs > 0 => push_special(&mut self.text, name, element),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "p" => self.paragraphs = self.paragraphs.saturating_sub(1),
            "table-cell" | "covered-table-cell" if self.depth == 1 => {
                // Some programs write values without the text that shows them.
                if self.text.trim().is_empty()
                    && let Some(value) = self.value.take()
                {
                    self.text = value;
                }
                if !self.text.trim().is_empty() {
                    let times = self.columns.min(MAX_REPEATED);
                    let times = times.min(MAX_COLUMNS.saturating_sub(self.column));
                    self.row_chars += self.text.len() as u64 * u64::from(times);
                    self.tables.check_row(self.row_chars)?;
                    for index in 0..times {
                        self.cells.push(Cell {
                            column: self.column.saturating_add(index),
                            text: self.text.clone(),
                            is_data: self.is_data,
                        });
                    }
                }
                self.column = self.column.saturating_add(self.columns);
            }
            "table-row" if self.depth == 1 => {
                let cells = std::mem::take(&mut self.cells);
                self.row_chars = 0;
                if !self.hidden {
                    let times = if cells.is_empty() { 1 } else { self.rows };
                    let times = times.min(MAX_REPEATED);
                    for index in 1..times {
                        self.tables
                            .row(self.row.saturating_add(index), cells.clone())?;
                    }
                    self.tables.row(self.row.saturating_add(times), cells)?;
                }
                self.row = self.row.saturating_add(self.rows);
            }
            "table" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.paragraphs > 0 && self.depth > 0 {
            self.text.push_str(text);
        }
    }
}
