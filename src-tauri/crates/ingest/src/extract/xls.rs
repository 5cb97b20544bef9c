//! Excel's binary workbooks (MS-XLS, BIFF 5 and 8), as Excel 95 to 2003 and many programs since
//! wrote them: each sheet under its name, cells with what they show. Hidden sheets are left out.

use std::collections::{BTreeMap, HashMap};

use encoding_rs::{Encoding, WINDOWS_1252};

use docent_domain::SHEET_HEADING;

use super::Bounds;
use super::archive::Source;
use super::compound::{Compound, u16_at, u32_at};
use super::number_format::NumberFormat;
use super::table::{Cell, Tables};
use crate::extracted::{Assembler, Extracted, Warning};
use crate::refusal::Refusal;

// Kinds of records.
const FORMULA: u16 = 0x0006;
const END: u16 = 0x000a;
const DATE_MODE: u16 = 0x0022;
const FILE_PASS: u16 = 0x002f;
const CONTINUE: u16 = 0x003c;
const CODE_PAGE: u16 = 0x0042;
const BOUND_SHEET: u16 = 0x0085;
const MUL_RK: u16 = 0x00bd;
const RICH_STRING: u16 = 0x00d6;
const XF: u16 = 0x00e0;
const SHARED_STRINGS: u16 = 0x00fc;
const LABEL_SST: u16 = 0x00fd;
const NUMBER: u16 = 0x0203;
const LABEL: u16 = 0x0204;
const BOOL_ERR: u16 = 0x0205;
const STRING: u16 = 0x0207;
const RK: u16 = 0x027e;
const FORMAT: u16 = 0x041e;
const BEGIN: u16 = 0x0809;

const BIFF8: u16 = 0x0600;

pub fn extract(source: &mut dyn Source, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let mut compound = Compound::open(source)?;
    if compound.has("EncryptedPackage") {
        return Err(Refusal::PasswordProtected);
    }
    let stream = match compound.stream("Workbook", bounds.unpacked_bytes)? {
        Some(stream) => Some(stream),
        None => compound.stream("Book", bounds.unpacked_bytes)?,
    };
    let stream = stream.ok_or_else(|| Refusal::WrongContent {
        message: "The file's name does not fit: it is an old Office file that holds no Excel \
                  workbook."
            .to_owned(),
    })?;
    let workbook = Workbook::read(&stream, bounds)?;
    let mut assembler = Assembler::new(bounds.max_chars);
    let mut tables = Tables::new(&mut assembler, bounds);
    let mut damaged = Vec::new();
    for (name, at) in &workbook.sheets {
        tables.sheet(format!("{SHEET_HEADING}{name}"))?;
        let Some(records) = stream.get(*at..) else {
            damaged.push(name.clone());
            continue;
        };
        let mut last = None;
        for (row, cells) in workbook.cells(Records { rest: records }, bounds)? {
            if last.is_some_and(|last| row > last + 1) {
                tables.gap()?;
            }
            last = Some(row);
            tables.row(u32::from(row) + 1, cells)?;
        }
    }
    let sheets = tables.finish()?;
    let mut extracted = assembler.finish();
    extracted.pages = sheets;
    if extracted.blocks.is_empty() && !damaged.is_empty() {
        return Err(Refusal::damaged("its sheets are missing"));
    }
    extracted
        .warnings
        .extend(damaged.into_iter().map(|name| Warning::PartLeftOut {
            part: format!("the sheet {name}"),
        }));
    Ok(extracted)
}

/// One record, with what continues it.
struct Record<'a> {
    kind: u16,
    data: &'a [u8],
    continued: Vec<&'a [u8]>,
}

impl Record<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        (self.data.len() >= at + 2).then(|| u16_at(self.data, at))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        (self.data.len() >= at + 4).then(|| u32_at(self.data, at))
    }

    fn u8(&self, at: usize) -> Option<u8> {
        self.data.get(at).copied()
    }

    fn f64(&self, at: usize) -> Option<f64> {
        let bytes = self.data.get(at..at + 8)?;
        Some(f64::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// The records of a stream, until it ends or is cut off.
struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    fn one(&mut self) -> Option<(u16, &'a [u8])> {
        if self.rest.len() < 4 {
            return None;
        }
        let (kind, length) = (u16_at(self.rest, 0), usize::from(u16_at(self.rest, 2)));
        let data = self.rest.get(4..4 + length)?;
        self.rest = &self.rest[4 + length..];
        Some((kind, data))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (kind, data) = self.one()?;
        let mut continued = Vec::new();
        while self.rest.len() >= 4 && u16_at(self.rest, 0) == CONTINUE {
            let Some((_, data)) = self.one() else { break };
            continued.push(data);
        }
        Some(Record {
            kind,
            data,
            continued,
        })
    }
}

struct Workbook {
    is_biff8: bool,
    encoding: &'static Encoding,
    /// Whether days are counted from 1904.
    mac: bool,
    /// Names, and where in the stream they begin.
    sheets: Vec<(String, usize)>,
    strings: Vec<String>,
    formats: Vec<NumberFormat>,
}

impl Workbook {
    fn read(stream: &[u8], bounds: &Bounds) -> Result<Self, Refusal> {
        let mut workbook = Self {
            is_biff8: true,
            encoding: WINDOWS_1252,
            mac: false,
            sheets: Vec::new(),
            strings: Vec::new(),
            formats: Vec::new(),
        };
        let mut custom: HashMap<u16, NumberFormat> = HashMap::new();
        let mut styles = Vec::new();
        for record in (Records { rest: stream }) {
            match record.kind {
                BEGIN => workbook.is_biff8 = record.u16(0) == Some(BIFF8),
                FILE_PASS => return Err(Refusal::PasswordProtected),
                CODE_PAGE => {
                    if let Some(page) = record.u16(0)
                        && let Some(encoding) =
                            Encoding::for_label(format!("windows-{page}").as_bytes())
                    {
                        workbook.encoding = encoding;
                    }
                }
                DATE_MODE => workbook.mac = record.u16(0) == Some(1),
                FORMAT => {
                    let width = if workbook.is_biff8 { 2 } else { 1 };
                    if let (Some(id), Some(code)) =
                        (record.u16(0), workbook.string(&record, 2, width))
                    {
                        custom.insert(id, NumberFormat::parse(&code));
                    }
                }
                XF => styles.push(record.u16(2).unwrap_or(0)),
                BOUND_SHEET => {
                    // The lowest two bits say hidden, the type 0 a sheet of cells.
                    let is_shown = record
                        .u8(4)
                        .is_some_and(|state| state.trailing_zeros() >= 2)
                        && record.u8(5) == Some(0);
                    if let (true, Some(at), Some(name)) =
                        (is_shown, record.u32(0), workbook.string(&record, 6, 1))
                    {
                        workbook.sheets.push((name, at as usize));
                    }
                }
                SHARED_STRINGS => {
                    let max = bounds.cells;
                    workbook.strings = shared_strings(&record, max)?;
                }
                END => break,
                _ => {}
            }
        }
        workbook.formats = styles
            .iter()
            .map(|id| {
                let format = custom.get(id).cloned();
                format.unwrap_or_else(|| NumberFormat::builtin(u32::from(*id)))
            })
            .collect();
        Ok(workbook)
    }

    /// A string in one record, with a length of `width` bytes before it.
    fn string(&self, record: &Record<'_>, at: usize, width: usize) -> Option<String> {
        let length = match width {
            1 => usize::from(record.u8(at)?),
            _ => usize::from(record.u16(at)?),
        };
        let start = at + width;
        if !self.is_biff8 {
            let end = (start + length).min(record.data.len());
            let bytes = record.data.get(start..end)?;
            return Some(
                self.encoding
                    .decode_without_bom_handling(bytes)
                    .0
                    .into_owned(),
            );
        }
        let mut reader = Continued {
            data: record.data.get(start..)?,
            more: record.continued.iter(),
        };
        let flags = reader.u8()?;
        if flags & 8 != 0 {
            reader.skip(2);
        }
        if flags & 4 != 0 {
            reader.skip(4);
        }
        reader.chars(length, flags)
    }

    /// A sheet's cells by rows.
    fn cells(
        &self,
        records: Records<'_>,
        bounds: &Bounds,
    ) -> Result<BTreeMap<u16, Vec<Cell>>, Refusal> {
        let mut rows: BTreeMap<u16, Vec<Cell>> = BTreeMap::new();
        let mut count = 0;
        // Charts stand inside sheets, as streams of their own.
        let mut depth = 0_u32;
        // The cell whose formula gave a text, which comes in the next record.
        let mut awaited = None;
        for record in records {
            match record.kind {
                BEGIN => depth += 1,
                END if depth <= 1 => break,
                END => depth -= 1,
                _ => {}
            }
            if depth > 1 {
                continue;
            }
            if record.kind == STRING {
                if let Some((row, column)) = awaited.take()
                    && let Some(text) = self.string(&record, 0, 2)
                {
                    push(&mut rows, row, column, text, false);
                }
                continue;
            }
            let (Some(row), Some(column)) = (record.u16(0), record.u16(2)) else {
                continue;
            };
            let number = |number: f64, at: usize| {
                let style = usize::from(record.u16(at).unwrap_or(0));
                let general = NumberFormat::default();
                let format = self.formats.get(style).unwrap_or(&general);
                format.show(number, self.mac)
            };
            let found = match record.kind {
                NUMBER => record.f64(6).map(|value| (number(value, 4), true)),
                RK => record.u32(6).map(|value| (number(packed(value), 4), true)),
                MUL_RK => {
                    // Pairs of a style and a number; the last column's index ends the record.
                    let pairs = record.data.len().saturating_sub(6) / 6;
                    for index in 0..pairs {
                        let at = 4 + index * 6;
                        if let Some(value) = record.u32(at + 2) {
                            let text = number(packed(value), at);
                            let column = column.saturating_add(index as u16);
                            push(&mut rows, row, column, text, true);
                        }
                    }
                    count += pairs as u64;
                    None
                }
                LABEL_SST => record
                    .u32(6)
                    .and_then(|index| self.strings.get(index as usize))
                    .map(|text| (text.clone(), false)),
                LABEL | RICH_STRING => self.string(&record, 6, 2).map(|text| (text, false)),
                BOOL_ERR if record.u8(7) == Some(0) => record
                    .u8(6)
                    .map(|value| (if value == 1 { "TRUE" } else { "FALSE" }.to_owned(), true)),
                FORMULA if record.u16(12) == Some(0xffff) => match record.u8(6) {
                    Some(0) => {
                        awaited = Some((row, column));
                        None
                    }
                    Some(1) => record
                        .u8(8)
                        .map(|value| (if value == 1 { "TRUE" } else { "FALSE" }.to_owned(), true)),
                    _ => None,
                },
                FORMULA => record.f64(6).map(|value| (number(value, 4), true)),
                _ => None,
            };
            if let Some((text, is_data)) = found {
                push(&mut rows, row, column, text, is_data);
                count += 1;
            }
            if count > bounds.cells {
                return Err(Refusal::TooManyParts { max: bounds.cells });
            }
        }
        Ok(rows)
    }
}

fn push(rows: &mut BTreeMap<u16, Vec<Cell>>, row: u16, column: u16, text: String, is_data: bool) {
    rows.entry(row).or_default().push(Cell {
        column: u32::from(column),
        text,
        is_data,
    });
}

/// A number in four bytes: the upper half of a float, or an integer, either perhaps in hundredths.
fn packed(value: u32) -> f64 {
    let number = if value & 2 == 0 {
        f64::from_bits(u64::from(value & !3) << 32)
    } else {
        f64::from(value as i32 >> 2)
    };
    if value & 1 == 0 {
        number
    } else {
        number / 100.0
    }
}

/// A record's bytes and those that continue it.
struct Continued<'r, 'a> {
    data: &'a [u8],
    more: std::slice::Iter<'r, &'a [u8]>,
}

impl Continued<'_, '_> {
    fn u8(&mut self) -> Option<u8> {
        while self.data.is_empty() {
            self.data = self.more.next()?;
        }
        let (first, rest) = self.data.split_first()?;
        self.data = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.u8()?, self.u8()?]))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from(self.u16()?) | u32::from(self.u16()?) << 16)
    }

    fn skip(&mut self, mut count: usize) {
        while count > self.data.len() {
            count -= self.data.len();
            let Some(data) = self.more.next() else {
                self.data = &[];
                return;
            };
            self.data = data;
        }
        self.data = &self.data[count..];
    }

    /// Characters in one byte or two each; where a record continues, it says anew in how many.
    fn chars(&mut self, count: usize, flags: u8) -> Option<String> {
        let mut units = Vec::new();
        let mut width = if flags & 1 == 0 { 1 } else { 2 };
        let mut left = count;
        loop {
            let here = left.min(self.data.len() / width);
            let (chars, rest) = self.data.split_at(here * width);
            match width {
                1 => units.extend(chars.iter().map(|byte| u16::from(*byte))),
                _ => units.extend(chars.chunks_exact(2).map(|unit| u16_at(unit, 0))),
            }
            self.data = rest;
            left -= here;
            if left == 0 {
                return Some(String::from_utf16_lossy(&units));
            }
            self.data = self.more.next()?;
            width = if self.u8()? & 1 == 0 { 1 } else { 2 };
        }
    }
}

fn shared_strings(record: &Record<'_>, max: u64) -> Result<Vec<String>, Refusal> {
    let mut reader = Continued {
        data: record.data,
        more: record.continued.iter(),
    };
    // How many there are is counted, not believed.
    reader.skip(8);
    let mut strings = Vec::new();
    while let Some(string) = shared_string(&mut reader) {
        if strings.len() as u64 >= max {
            return Err(Refusal::TooManyParts { max });
        }
        strings.push(string);
    }
    Ok(strings)
}

fn shared_string(reader: &mut Continued<'_, '_>) -> Option<String> {
    let count = usize::from(reader.u16()?);
    let flags = reader.u8()?;
    let runs = if flags & 8 == 0 { 0 } else { reader.u16()? };
    let extension = if flags & 4 == 0 { 0 } else { reader.u32()? };
    let text = reader.chars(count, flags)?;
    reader.skip(usize::from(runs) * 4 + extension as usize);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_four_bytes() {
        for (value, number) in [
            (5 << 2 | 2, 5.0),
            ((-5_i32 << 2) as u32 | 2, -5.0),
            (12_345 << 2 | 3, 123.45),
            ((1.5_f64.to_bits() >> 32) as u32, 1.5),
        ] {
            assert_eq!(packed(value).to_bits(), f64::to_bits(number), "{number}");
        }
    }

    #[test]
    fn strings_go_on_in_the_next_record() {
        let record = Record {
            kind: SHARED_STRINGS,
            // Two bytes a character first, one after the break.
            data: b"\x02\0\0\0\x02\0\0\0\x04\0\x01\x0d\x01a\0",
            continued: vec![b"\0bc\x01\0\x08\x01\0d", b"1234"],
        };
        assert_eq!(
            shared_strings(&record, 10),
            Ok(vec!["čabc".to_owned(), "d".to_owned()])
        );
        assert_eq!(
            shared_strings(&record, 1),
            Err(Refusal::TooManyParts { max: 1 })
        );
    }
}
