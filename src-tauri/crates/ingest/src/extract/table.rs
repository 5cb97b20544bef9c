//! Rows of cells as blocks: captions, the row that names the columns, and the rows below it.
//!
//! A row is written one row late, because whether it names columns shows in the next one.

use super::Bounds;
use crate::characters::{collapsed, composed};
use crate::extracted::{Assembler, BlockKind, LineBox, PageKind, PageLayout};
use crate::refusal::Refusal;

/// Empty cells in a row that are kept to tell its columns apart. No table has a wider gap, but a
/// stray cell at the edge of a sheet stands sixteen thousand columns away.
const MAX_GAP: u32 = 16;

#[derive(Clone, Debug)]
pub struct Cell {
    /// From 0.
    pub column: u32,
    pub text: String,
    /// A number, a date or a truth value: what tables hold, and their first rows don't.
    pub is_data: bool,
}

pub struct Tables<'a> {
    assembler: &'a mut Assembler,
    cells: u64,
    max_cells: u64,
    /// Written when a row follows: a sheet without cells has no heading either.
    heading: Option<String>,
    /// The row that is not written yet, and its number.
    held: Option<(u32, Vec<Cell>)>,
    /// The table's first column, once a row told it.
    left: Option<u32>,
    in_table: bool,
    /// Whether a row of this sheet named columns.
    has_header: bool,
    /// The sheets that have rows, with a line for each.
    sheets: Vec<PageLayout>,
    /// Of the open one, 1-based; 0 in a format without sheets.
    number: u32,
}

impl<'a> Tables<'a> {
    pub fn new(assembler: &'a mut Assembler, bounds: &Bounds) -> Self {
        Self {
            assembler,
            cells: 0,
            max_cells: bounds.cells,
            heading: None,
            held: None,
            left: None,
            in_table: false,
            has_header: false,
            sheets: Vec::new(),
            number: 0,
        }
    }

    /// Begins a sheet.
    pub fn sheet(&mut self, heading: String) -> Result<(), Refusal> {
        self.gap()?;
        self.heading = Some(heading);
        self.number += 1;
        self.has_header = false;
        Ok(())
    }

    /// An empty row: what follows is another table, if it looks like one.
    pub fn gap(&mut self) -> Result<(), Refusal> {
        self.release(None)?;
        self.in_table = false;
        self.left = None;
        Ok(())
    }

    /// Refuses a row of `chars` characters when there is no room for it, while it is being read.
    pub fn check_row(&self, chars: u64) -> Result<(), Refusal> {
        let max_chars = self.assembler.max_chars();
        if u64::from(self.assembler.chars()) + chars > max_chars {
            return Err(Refusal::TooMuchText { max_chars });
        }
        Ok(())
    }

    /// Adds row `number` of the sheet, 1-based. Cells without text may be left out.
    pub fn row(&mut self, number: u32, mut cells: Vec<Cell>) -> Result<(), Refusal> {
        self.cells += cells.len() as u64;
        if self.cells > self.max_cells {
            return Err(Refusal::TooManyParts {
                max: self.max_cells,
            });
        }
        for cell in &mut cells {
            cell.text = composed(&collapsed(&cell.text)).into_owned();
        }
        cells.retain(|cell| !cell.text.is_empty());
        if cells.is_empty() {
            return self.gap();
        }
        if !cells.is_sorted_by_key(|cell| cell.column) {
            cells.sort_by_key(|cell| cell.column);
        }
        self.release(Some(&cells))?;
        self.held = Some((number, cells));
        Ok(())
    }

    /// Writes what was held back, and says where the rows of each sheet stand.
    pub fn finish(mut self) -> Result<Vec<PageLayout>, Refusal> {
        self.release(None)?;
        Ok(self.sheets)
    }

    /// Writes the row that was held back, knowing the `next`.
    fn release(&mut self, next: Option<&[Cell]>) -> Result<(), Refusal> {
        let Some((number, cells)) = self.held.take() else {
            return Ok(());
        };
        let kind = self.kind(&cells, next);
        let start = self.assembler.chars();
        if let Some(heading) = self.heading.take() {
            self.assembler.push(BlockKind::Heading(1), &heading)?;
        }
        let left = match kind {
            BlockKind::Paragraph => cells[0].column,
            _ => *self.left.get_or_insert(cells[0].column),
        };
        self.assembler.push(kind, &line(&cells, left))?;
        self.locate(number, &cells, start);
        Ok(())
    }

    /// Notes where the row that was written last stands in the sheet.
    fn locate(&mut self, row: u32, cells: &[Cell], start: u32) {
        let Some(span) = self.assembler.last_block() else {
            return;
        };
        let number = self.number.max(1);
        if self.sheets.last().is_none_or(|sheet| sheet.page != number) {
            self.sheets
                .push(self.assembler.page_since(PageKind::Sheet, number, start));
        }
        let (Some(sheet), Some(first), Some(last)) =
            (self.sheets.last_mut(), cells.first(), cells.last())
        else {
            return;
        };
        sheet.span.end = span.end;
        // Every number up to Excel's last row is exact in 32 bits.
        sheet.lines.push(LineBox {
            span,
            left: (first.column + 1) as f32,
            top: row as f32,
            right: (last.column + 1) as f32,
            bottom: row as f32,
        });
    }

    fn kind(&mut self, cells: &[Cell], next: Option<&[Cell]>) -> BlockKind {
        if cells.len() == 1 && !self.in_table {
            return BlockKind::Paragraph;
        }
        let names_columns = !self.in_table
            && cells.iter().all(|cell| !cell.is_data)
            && next.is_some_and(|next| {
                // A second header on a sheet must head numbers: it may be a row of words after a gap.
                !self.has_header || next.iter().any(|cell| cell.is_data)
            });
        self.in_table = true;
        if names_columns {
            self.has_header = true;
            BlockKind::TableHeader
        } else {
            BlockKind::TableRow
        }
    }
}

fn line(cells: &[Cell], left: u32) -> String {
    let mut line = String::new();
    let mut column = left.min(cells[0].column);
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push_str(" | ");
        }
        for _ in 0..cell.column.saturating_sub(column).min(MAX_GAP) {
            line.push_str("| ");
        }
        line.push_str(&cell.text);
        column = cell.column + 1;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(texts: &[&str]) -> Vec<Cell> {
        (0..)
            .zip(texts)
            .map(|(column, text)| Cell {
                column,
                text: (*text).to_owned(),
                is_data: text.starts_with(|char: char| char.is_ascii_digit()),
            })
            .collect()
    }

    #[test]
    fn captions_headers_and_rows_are_told_apart() {
        let mut assembler = Assembler::new(10_000);
        let mut tables = Tables::new(&mut assembler, &Bounds::default());
        tables.sheet("empty".to_owned()).unwrap();
        tables.sheet("Plaće".to_owned()).unwrap();
        for texts in [
            &["", "Isplata za\nožujak"][..],
            &["", "Ime", "", "Iznos"],
            &["", "Ana", "", "5"],
            &["Bruno"],
            &[],
            &["", "Ukupno", "Stanje"],
            &["", "5", "6"],
            &[],
            &["Napomena", "vidi dolje"],
            &["Još", "nešto"],
        ] {
            tables.row(1, row(texts)).unwrap();
        }
        tables.finish().unwrap();
        let extracted = assembler.finish();
        let blocks: Vec<_> = extracted
            .blocks
            .iter()
            .map(|block| (block.kind, block.span.slice(&extracted.text).unwrap()))
            .collect();
        assert_eq!(
            blocks,
            [
                (BlockKind::Heading(1), "Plaće"),
                (BlockKind::Paragraph, "Isplata za ožujak"),
                (BlockKind::TableHeader, "Ime | | Iznos"),
                (BlockKind::TableRow, "Ana | | 5"),
                (BlockKind::TableRow, "Bruno"),
                (BlockKind::TableHeader, "Ukupno | Stanje"),
                (BlockKind::TableRow, "5 | 6"),
                (BlockKind::TableRow, "Napomena | vidi dolje"),
                (BlockKind::TableRow, "Još | nešto"),
            ]
        );
    }

    #[test]
    fn stray_cells_cost_little_and_too_many_are_refused() {
        let mut assembler = Assembler::new(10_000);
        let bounds = Bounds {
            cells: 3,
            ..Bounds::default()
        };
        let mut tables = Tables::new(&mut assembler, &bounds);
        let mut wide = row(&["a", "b"]);
        wide[1].column = 16_383;
        tables.row(1, wide).unwrap();
        assert_eq!(
            tables.row(2, row(&["c", "d"])),
            Err(Refusal::TooManyParts { max: 3 })
        );
        tables.finish().unwrap();
        assert!(assembler.finish().text.len() < 100);
    }
}
