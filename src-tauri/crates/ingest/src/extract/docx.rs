//! Word documents: a zip of XML parts, read as a stream with everything bounded.
//!
//! Headings come from styles and outline levels, list labels from the numbering definitions, table
//! rows become one line each, and footnotes follow the paragraph that refers to them. Deleted text,
//! hidden text, field codes and tables of contents are left out.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::archive::{Archive, Source};
use super::numbering::{Level, Numbering};
use super::xml::{Part, attribute};
use super::{Bounds, text::division};
use crate::characters::{collapsed, composed, is_invisible, title};
use crate::extracted::{Assembler, BlockKind, Extracted};
use crate::refusal::Refusal;

pub fn extract(source: &mut dyn Source, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let mut archive = Archive::open(source, bounds)?;
    let main = archive
        .main_part("word/document.xml")?
        .ok_or_else(|| archive.mistaken("Word document"))?;
    let mut styles = Styles::default();
    archive.read("word/styles.xml", &mut styles)?;
    let mut numbering = NumberingPart::default();
    archive.read("word/numbering.xml", &mut numbering)?;
    let mut notes = read_notes(&mut archive, "word/footnotes.xml", "footnote")?;
    notes.extend(read_notes(&mut archive, "word/endnotes.xml", "endnote")?);
    let properties = archive.properties("docProps/core.xml")?;

    let mut body = Body {
        styles: &styles,
        numbering: numbering.numbering,
        notes: &notes,
        note_count: 0,
        assembler: Assembler::new(bounds.max_chars),
        title: None,
        paragraphs: Vec::new(),
        table_depth: 0,
        row: None,
        first_row: false,
    };
    let outcome = archive.read(&main, &mut body)?;
    let title = properties.title.or_else(|| body.title.take());
    let mut extracted = body.assembler.finish();
    outcome.settle(&mut extracted)?;
    extracted.title = title;
    extracted.language_hint = properties.language.or(styles.language);
    Ok(extracted)
}

fn read_notes(
    archive: &mut Archive<'_>,
    part: &str,
    element: &'static str,
) -> Result<Notes, Refusal> {
    let mut notes = NotesPart {
        element,
        ..NotesPart::default()
    };
    archive.read(part, &mut notes)?;
    Ok(notes.notes)
}

fn value(element: &BytesStart<'_>) -> String {
    attribute(element, "val").unwrap_or_default()
}

/// An on-off property: present means on, unless it says otherwise.
fn is_on(element: &BytesStart<'_>) -> bool {
    !matches!(value(element).as_str(), "0" | "false" | "off" | "none")
}

#[derive(Clone, Debug, Default)]
struct Style {
    name: String,
    based_on: Option<String>,
    outline: Option<u8>,
    list: Option<String>,
    level: Option<usize>,
}

#[derive(Default)]
struct Styles {
    by_id: HashMap<String, Style>,
    language: Option<String>,
    current: Option<(String, Style)>,
}

impl Part for Styles {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        if name == "style" {
            let id = attribute(element, "styleId").unwrap_or_default();
            self.current = Some((id, Style::default()));
        } else if let Some((_, style)) = &mut self.current {
            match name {
                "name" => style.name = value(element).to_lowercase(),
                "basedOn" => style.based_on = Some(value(element)),
                "outlineLvl" => style.outline = value(element).parse().ok(),
                "numId" => style.list = Some(value(element)),
                "ilvl" => style.level = value(element).parse().ok(),
                _ => {}
            }
        } else if name == "lang" && self.language.is_none() {
            self.language = attribute(element, "val").filter(|language| !language.is_empty());
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        if name == "style"
            && let Some((id, style)) = self.current.take()
        {
            self.by_id.insert(id, style);
        }
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

impl Styles {
    /// A style and those that it is based on, nearest first.
    fn chain<'a>(&'a self, id: &str) -> impl Iterator<Item = &'a Style> {
        // Bases can form a ring in a damaged document.
        const LONGEST: usize = 20;
        std::iter::successors(self.by_id.get(id), |style| {
            style
                .based_on
                .as_ref()
                .and_then(|base| self.by_id.get(base))
        })
        .take(LONGEST)
    }

    fn kind(&self, id: &str) -> Kind {
        for style in self.chain(id) {
            let name = style.name.as_str();
            if name.starts_with("toc ") || name == "toc heading" || name == "table of figures" {
                return Kind::Contents;
            }
            if name == "title" || name == "naslov" {
                return Kind::Title;
            }
            let numbered = name
                .strip_prefix("heading ")
                .or_else(|| name.strip_prefix("naslov "))
                .and_then(|level| level.trim().parse::<u8>().ok());
            if let Some(level) = numbered.or_else(|| {
                // Nine means body text.
                style
                    .outline
                    .filter(|outline| *outline < 9)
                    .map(|outline| outline + 1)
            }) {
                return Kind::Heading(level.clamp(1, 6));
            }
            if name.contains("quote") || name == "citat" {
                return Kind::Quote;
            }
            if name.contains("preformatted") || name.contains("source code") || name == "code" {
                return Kind::Code;
            }
        }
        Kind::Body
    }

    fn numbering(&self, id: &str) -> Option<(String, usize)> {
        let list = self.chain(id).find_map(|style| style.list.clone())?;
        let level = self.chain(id).find_map(|style| style.level).unwrap_or(0);
        Some((list, level))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Title,
    Heading(u8),
    Body,
    Quote,
    Code,
    Contents,
}

#[derive(Default)]
struct NumberingPart {
    numbering: Numbering,
    definition: Option<String>,
    list: Option<String>,
    level: Option<(usize, Level)>,
}

impl Part for NumberingPart {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        match name {
            "abstractNum" => self.definition = attribute(element, "abstractNumId"),
            "num" => self.list = attribute(element, "numId"),
            "abstractNumId" => {
                if let Some(list) = &self.list {
                    self.numbering.lists.insert(list.clone(), value(element));
                }
            }
            "lvl" => {
                let level = attribute(element, "ilvl").and_then(|level| level.parse().ok());
                let empty = Level {
                    start: 1,
                    ..Level::default()
                };
                self.level = level.map(|level| (level, empty));
            }
            _ => {
                if let Some((_, level)) = &mut self.level {
                    match name {
                        "start" => level.start = value(element).parse().unwrap_or(1),
                        "numFmt" => level.format = value(element),
                        "lvlText" => level.text = value(element),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "lvl" => {
                if let (Some(definition), Some((index, level))) =
                    (&self.definition, self.level.take())
                {
                    self.numbering.set_level(definition, index, level);
                }
            }
            "abstractNum" => self.definition = None,
            "num" => self.list = None,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

/// Kind (footnote or endnote) and id to text.
type Notes = HashMap<(&'static str, String), String>;

#[derive(Default)]
struct NotesPart {
    element: &'static str,
    notes: Notes,
    id: Option<String>,
    text: String,
    in_text: bool,
}

impl Part for NotesPart {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        if name == self.element {
            // Separators have a type, notes have none or `normal`.
            let is_note = attribute(element, "type").is_none_or(|kind| kind == "normal");
            self.id = attribute(element, "id").filter(|_| is_note);
            self.text.clear();
        } else if name == "t" {
            self.in_text = true;
        } else if matches!(name, "tab" | "br" | "p") {
            self.text.push(' ');
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        if name == "t" {
            self.in_text = false;
        } else if name == self.element
            && let Some(id) = self.id.take()
        {
            self.notes.insert((self.element, id), collapsed(&self.text));
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.in_text && self.id.is_some() {
            self.text.push_str(text);
        }
    }

    fn skips(&self, name: &str) -> bool {
        is_left_out(name)
    }
}

/// Deleted and moved-away text, earlier properties, field codes, and the copy of a drawing for old
/// programs.
fn is_left_out(name: &str) -> bool {
    matches!(
        name,
        "del"
            | "moveFrom"
            | "delText"
            | "instrText"
            | "Fallback"
            | "pPrChange"
            | "rPrChange"
            | "sectPrChange"
            | "tblPrChange"
            | "trPrChange"
            | "tcPrChange"
            | "numberingChange"
    )
}

struct Body<'a> {
    styles: &'a Styles,
    numbering: Numbering,
    notes: &'a Notes,
    note_count: u32,
    assembler: Assembler,
    title: Option<String>,
    /// Open paragraphs: a text box stands inside one.
    paragraphs: Vec<Paragraph>,
    table_depth: usize,
    row: Option<Row>,
    /// Whether the row that comes next is the first of its table.
    first_row: bool,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    style: String,
    outline: Option<u8>,
    list: Option<String>,
    level: Option<usize>,
    notes: Vec<String>,
    in_properties: bool,
    in_run: bool,
    in_text: bool,
    run: Run,
    bold_chars: usize,
    chars: usize,
}

#[derive(Clone, Copy, Default)]
struct Run {
    hidden: bool,
    bold: bool,
}

struct Row {
    cells: Vec<Vec<(BlockKind, String)>>,
    header: bool,
    notes: Vec<String>,
}

impl Part for Body<'_> {
    fn skips(&self, name: &str) -> bool {
        is_left_out(name)
    }

    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        match name {
            "p" => {
                self.paragraphs.push(Paragraph::default());
                return Ok(());
            }
            "tbl" => {
                self.table_depth += 1;
                if self.table_depth == 1 {
                    self.first_row = true;
                }
                return Ok(());
            }
            "tr" if self.table_depth == 1 => {
                self.row = Some(Row {
                    cells: Vec::new(),
                    header: std::mem::take(&mut self.first_row),
                    notes: Vec::new(),
                });
                return Ok(());
            }
            "tc" if self.table_depth == 1 => {
                if let Some(row) = &mut self.row {
                    row.cells.push(Vec::new());
                }
                return Ok(());
            }
            "tblHeader" if self.table_depth == 1 => {
                if let Some(row) = &mut self.row {
                    row.header = is_on(element);
                }
                return Ok(());
            }
            _ => {}
        }
        let note_count = &mut self.note_count;
        let Some(paragraph) = self.paragraphs.last_mut() else {
            return Ok(());
        };
        match name {
            "pPr" => paragraph.in_properties = true,
            "pStyle" => paragraph.style = value(element),
            "outlineLvl" => paragraph.outline = value(element).parse().ok(),
            "numId" => paragraph.list = Some(value(element)),
            "ilvl" => paragraph.level = value(element).parse().ok(),
            "r" => {
                paragraph.in_run = true;
                paragraph.run = Run::default();
            }
            "vanish" if !paragraph.in_properties => paragraph.run.hidden = is_on(element),
            "b" if !paragraph.in_properties => paragraph.run.bold = is_on(element),
            "t" => paragraph.in_text = true,
            "tab" | "ptab" if paragraph.in_run => paragraph.text.push(' '),
            "br" | "cr" if paragraph.in_run => paragraph.text.push('\n'),
            "noBreakHyphen" => paragraph.text.push('-'),
            "footnoteReference" | "endnoteReference" => {
                let kind = if name == "footnoteReference" {
                    "footnote"
                } else {
                    "endnote"
                };
                let id = attribute(element, "id").unwrap_or_default();
                if let Some(note) = self.notes.get(&(kind, id)) {
                    *note_count += 1;
                    let mark = superscript(*note_count);
                    paragraph.text.push_str(&mark);
                    paragraph.notes.push(format!("{mark} {note}"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "p" => {
                if let Some(paragraph) = self.paragraphs.pop() {
                    self.end_paragraph(paragraph)?;
                }
            }
            "tr" if self.table_depth == 1 => {
                if let Some(row) = self.row.take() {
                    self.end_row(&row)?;
                }
            }
            "tbl" => self.table_depth = self.table_depth.saturating_sub(1),
            _ => {
                if let Some(paragraph) = self.paragraphs.last_mut() {
                    match name {
                        "pPr" => paragraph.in_properties = false,
                        "r" => paragraph.in_run = false,
                        "t" => paragraph.in_text = false,
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let Some(paragraph) = self.paragraphs.last_mut() else {
            return;
        };
        if !paragraph.in_text || paragraph.run.hidden {
            return;
        }
        paragraph
            .text
            .extend(text.chars().filter(|char| !is_invisible(*char)));
        let letters = text.chars().filter(|char| !char.is_whitespace()).count();
        paragraph.chars += letters;
        if paragraph.run.bold {
            paragraph.bold_chars += letters;
        }
    }
}

impl Body<'_> {
    fn end_paragraph(&mut self, paragraph: Paragraph) -> Result<(), Refusal> {
        let style = self.styles.kind(&paragraph.style);
        let outlined = paragraph
            .outline
            .filter(|outline| *outline < 9)
            .map(|outline| outline + 1);
        if style == Kind::Contents {
            return Ok(());
        }
        let numbering = match (&paragraph.list, self.styles.numbering(&paragraph.style)) {
            (Some(list), inherited) => Some((
                list.clone(),
                paragraph
                    .level
                    .or(inherited.map(|(_, level)| level))
                    .unwrap_or(0),
            )),
            (None, inherited) => {
                inherited.map(|(list, level)| (list, paragraph.level.unwrap_or(level)))
            }
        }
        // List 0 takes a paragraph out of its style's list.
        .filter(|(list, _)| list != "0");
        let text = if style == Kind::Code {
            composed(&paragraph.text).into_owned()
        } else {
            let lines: Vec<_> = paragraph
                .text
                .split('\n')
                .map(collapsed)
                .filter(|line| !line.is_empty())
                .collect();
            composed(&lines.join("\n")).into_owned()
        };
        if text.trim().is_empty() {
            return Ok(());
        }
        let in_table = self.row.is_some();
        let kind = match (style, outlined) {
            _ if in_table => BlockKind::Paragraph,
            (_, Some(level)) => BlockKind::Heading(level.clamp(1, 6)),
            (Kind::Title, None) => {
                if self.title.is_none() {
                    self.title = title(&text);
                }
                BlockKind::Heading(1)
            }
            (Kind::Heading(level), None) => BlockKind::Heading(level),
            (Kind::Quote, None) => BlockKind::Quote,
            (Kind::Code, None) => BlockKind::Code,
            (Kind::Body | Kind::Contents, None) => match drawn_heading(&paragraph, &text) {
                Some(level) => BlockKind::Heading(level),
                None if numbering.is_some() => BlockKind::ListItem,
                None => BlockKind::Paragraph,
            },
        };
        let text = match numbering {
            None => text,
            Some((list, level)) => {
                let label = self.numbering.label(&list, level);
                let indent = match kind {
                    BlockKind::ListItem => "  ".repeat(level.min(8)),
                    _ => String::new(),
                };
                let separator = if label.is_empty() { "" } else { " " };
                format!("{indent}{label}{separator}{text}")
            }
        };
        let text = match kind {
            BlockKind::Heading(_) => text.replace('\n', " "),
            _ => text,
        };
        if let Some(row) = &mut self.row {
            row.notes.extend(paragraph.notes);
            match row.cells.last_mut() {
                Some(cell) => cell.push((kind, text)),
                None => row.cells.push(vec![(kind, text)]),
            }
            return Ok(());
        }
        self.assembler.push(kind, &text)?;
        self.push_notes(&paragraph.notes)
    }

    fn end_row(&mut self, row: &Row) -> Result<(), Refusal> {
        self.assembler.push_row(&row.cells, row.header)?;
        self.push_notes(&row.notes)
    }

    fn push_notes(&mut self, notes: &[String]) -> Result<(), Refusal> {
        for note in notes {
            self.assembler.push(BlockKind::Paragraph, &composed(note))?;
        }
        Ok(())
    }
}

/// Headings without a style: the divisions of laws, and short lines all in bold.
fn drawn_heading(paragraph: &Paragraph, text: &str) -> Option<u8> {
    const LONGEST: usize = 100;
    const BOLD_LEVEL: u8 = 5;
    if text.contains('\n') || text.chars().count() > LONGEST {
        return None;
    }
    let bold = paragraph.chars > 0
        && paragraph.bold_chars == paragraph.chars
        && !text.ends_with(['.', ',', ';', ':'])
        && text.chars().any(char::is_alphabetic);
    division(text).or(bold.then_some(BOLD_LEVEL))
}

fn superscript(number: u32) -> String {
    number
        .to_string()
        .bytes()
        .map(|digit| ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][usize::from(digit - b'0')])
        .collect()
}
