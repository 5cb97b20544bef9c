//! Word documents: a zip of XML parts, read as a stream with everything bounded.
//!
//! Headings come from styles and outline levels, list labels from the numbering definitions, table
//! rows become one line each, and footnotes follow the paragraph that refers to them. Headers stand
//! in front of the text and footers after it, each once. Deleted text, hidden text, comments, field
//! codes and tables of contents are left out.

use std::collections::{HashMap, HashSet};

use quick_xml::events::BytesStart;

use super::archive::{Archive, Relations, Source};
use super::embedded::{Blocks, Embedded, blocks};
use super::margin::Margin;
use super::numbering::{Level, Numbering, Override};
use super::xml::{Outcome, Part, attribute, prefixed};
use super::{Context, html, text::division};
use crate::characters::{collapsed, composed, is_invisible, title};
use crate::extracted::{Assembler, BlockKind, Extracted, Warning};
use crate::refusal::Refusal;

/// Styles or notes of one document. A book has some thousand notes.
const MAX_DEFINITIONS: usize = 100_000;

/// Documents in a document that a warning names.
const MAX_NAMED: usize = 5;

/// Word's own limit.
const MAX_COLUMNS: usize = 63;

pub fn extract(source: &mut dyn Source, context: &Context<'_>) -> Result<Extracted, Refusal> {
    let bounds = &context.bounds;
    let mut archive = Archive::open(source, bounds)?;
    let main = archive
        .main_part("word/document.xml")?
        .ok_or_else(|| archive.mistaken("Word document"))?;
    let relations = archive.relations(&main)?;
    let mut warnings = Vec::new();
    let mut styles = Styles::default();
    let mut numbering = NumberingPart::default();
    let mut footnotes = NotesPart::of("footnote");
    let mut endnotes = NotesPart::of("endnote");
    let mut parts = Parts {
        archive: &mut archive,
        relations: &relations,
        warnings: &mut warnings,
    };
    parts.read("styles", "word/styles.xml", &mut styles)?;
    parts.read("numbering", "word/numbering.xml", &mut numbering)?;
    parts.read("footnotes", "word/footnotes.xml", &mut footnotes)?;
    parts.read("endnotes", "word/endnotes.xml", &mut endnotes)?;
    let chunks = parts.chunks(context)?;
    let mut embedded = Embedded::new(context);
    let mut pictures = HashMap::new();
    for (id, part) in relations.entries_of_kind("image") {
        pictures.insert(id.to_owned(), embedded.read(part, &mut archive)?);
    }
    let mut notes = footnotes.notes;
    notes.extend(endnotes.notes);
    let around = Around {
        styles,
        notes,
        pictures,
        chunks,
        max_chars: bounds.max_chars,
    };
    let properties = archive.properties("docProps/core.xml")?;

    let mut body = Body::new(&around, numbering.numbering);
    margin(&mut archive, &relations, "header", &around, &mut warnings)?
        .push(&mut body.assembler)?;
    let begun = body.assembler.chars();
    let outcome = archive.read(&main, &mut body)?;
    if let Outcome::Broken { message } = &outcome
        && body.assembler.chars() == begun
    {
        return Err(Refusal::damaged(message));
    }
    margin(&mut archive, &relations, "footer", &around, &mut warnings)?
        .push(&mut body.assembler)?;
    let title = properties.title.or_else(|| body.title.take());
    let mut extracted = body.assembler.finish();
    extracted.warnings = warnings;
    embedded.settle(&mut extracted)?;
    outcome.settle(&mut extracted)?;
    extracted.title = title;
    extracted.language_hint = properties.language.or(around.styles.language);
    Ok(extracted)
}

/// All headers, or all footers.
fn margin(
    archive: &mut Archive<'_>,
    relations: &Relations,
    kind: &str,
    around: &Around,
    warnings: &mut Vec<Warning>,
) -> Result<Margin, Refusal> {
    let mut margin = Margin::default();
    let mut known = HashSet::new();
    let mut is_whole = true;
    for part in relations.of_kind(kind) {
        if !known.insert(part) {
            continue;
        }
        let mut body = Body::new(around, Numbering::default());
        body.is_margin = true;
        is_whole &= matches!(archive.read(part, &mut body)?, Outcome::Whole);
        margin.add(&body.assembler.finish());
    }
    if !is_whole {
        warnings.push(Warning::PartLeftOut {
            part: format!("a {kind}, or the end of it"),
        });
    }
    Ok(margin)
}

/// The parts that a document refers to.
struct Parts<'r, 'a> {
    archive: &'r mut Archive<'a>,
    relations: &'r Relations,
    warnings: &'r mut Vec<Warning>,
}

impl Parts<'_, '_> {
    /// Reads the part of a kind, by its usual name where nothing else is said.
    fn read(&mut self, kind: &str, usual: &str, part: &mut impl Part) -> Result<(), Refusal> {
        let named = self.relations.of_kind(kind).next();
        match self.archive.read(named.unwrap_or(usual), part)? {
            Outcome::Whole => {}
            Outcome::Missing if named.is_none() => {}
            Outcome::Missing | Outcome::Broken { .. } => self.warnings.push(Warning::PartLeftOut {
                part: format!("its {kind}, or the end of them"),
            }),
        }
        Ok(())
    }

    /// Documents that are put into this one whole, by the ids of their relations; web pages alone
    /// are read.
    fn chunks(&mut self, context: &Context<'_>) -> Result<HashMap<String, Blocks>, Refusal> {
        let mut chunks = HashMap::new();
        let mut unread = Vec::new();
        for (id, part) in self.relations.entries_of_kind("aFChunk") {
            let bytes = match self.archive.bytes(part) {
                Err(Refusal::Damaged { .. }) => None,
                read => read?,
            };
            let page = bytes.filter(|bytes| {
                bytes.len() as u64 <= context.bounds.html_bytes && is_web_page(part, bytes)
            });
            match page.map(|bytes| html::extract(&bytes, &context.bounds)) {
                Some(Ok(page)) => {
                    chunks.insert(id.to_owned(), blocks(&page));
                    for warning in page.warnings {
                        if !self.warnings.contains(&warning) {
                            self.warnings.push(warning);
                        }
                    }
                }
                None | Some(Err(Refusal::Binary)) => unread.push(part),
                Some(Err(refusal)) => return Err(refusal),
            }
        }
        if !unread.is_empty() {
            unread.truncate(MAX_NAMED);
            self.warnings.push(Warning::PartNotRead {
                part: format!("documents in it ({})", unread.join(", ")),
            });
        }
        Ok(chunks)
    }
}

fn is_web_page(name: &str, bytes: &[u8]) -> bool {
    const HEAD: usize = 1024;
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]).to_ascii_lowercase();
    name.ends_with(".html") || name.ends_with(".htm") || head.contains("<html")
}

/// What stands around a document's text.
struct Around {
    styles: Styles,
    notes: Notes,
    /// The text of pictures, and of documents in this one, by the ids of their relations.
    pictures: HashMap<String, Blocks>,
    chunks: HashMap<String, Blocks>,
    max_chars: u64,
}

fn value(element: &BytesStart<'_>) -> String {
    attribute(element, "val").unwrap_or_default()
}

/// An on-off property: present means on, unless it says otherwise.
fn is_on(element: &BytesStart<'_>) -> bool {
    !matches!(value(element).as_str(), "0" | "false" | "off" | "none")
}

fn bounded(definitions: usize) -> Result<(), Refusal> {
    if definitions >= MAX_DEFINITIONS {
        return Err(Refusal::TooManyParts {
            max: MAX_DEFINITIONS as u64,
        });
    }
    Ok(())
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
            bounded(self.by_id.len())?;
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
    /// The level of the open list that is otherwise than in its definition.
    overridden: Option<usize>,
    level: Option<(usize, Level)>,
}

impl Part for NumberingPart {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        match name {
            "abstractNum" => self.definition = attribute(element, "abstractNumId"),
            "num" => self.list = attribute(element, "numId"),
            "abstractNumId" => {
                if let Some(list) = &self.list {
                    self.numbering.set_list(list, value(element))?;
                }
            }
            "lvlOverride" => {
                let level = attribute(element, "ilvl");
                self.overridden = level.and_then(|level| level.parse().ok());
            }
            "startOverride" => {
                if let (Some(list), Some(level)) = (&self.list, self.overridden) {
                    let start = Override::Start(value(element).parse().unwrap_or(1));
                    self.numbering.set_override(list, level, start);
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
                let Some((index, level)) = self.level.take() else {
                    return Ok(());
                };
                if let Some(definition) = &self.definition {
                    self.numbering.set_level(definition, index, level)?;
                } else if let (Some(list), Some(overridden)) = (&self.list, self.overridden) {
                    let level = Override::Level(level);
                    self.numbering.set_override(list, overridden, level);
                }
            }
            "lvlOverride" => self.overridden = None,
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

impl NotesPart {
    fn of(element: &'static str) -> Self {
        Self {
            element,
            ..Self::default()
        }
    }
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
            bounded(self.notes.len())?;
            let text = composed(&collapsed(&self.text)).into_owned();
            self.notes.insert((self.element, id), text);
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
    around: &'a Around,
    /// Whether it is a header or a footer, in which ids mean other things.
    is_margin: bool,
    numbering: Numbering,
    note_count: u32,
    /// Pictures whose text was written.
    shown: HashSet<&'a str>,
    assembler: Assembler,
    title: Option<String>,
    /// Open paragraphs: a text box stands inside one.
    paragraphs: Vec<Paragraph<'a>>,
    table_depth: usize,
    row: Option<Row<'a>>,
    /// Whether the row that comes next is the first of its table.
    first_row: bool,
    /// Of the check box that is open.
    checked: Option<bool>,
}

/// A note, or the text of a picture: what follows a paragraph or a row.
struct After<'a> {
    kind: BlockKind,
    mark: String,
    text: &'a str,
}

#[derive(Default)]
struct Paragraph<'a> {
    text: String,
    style: String,
    outline: Option<u8>,
    list: Option<String>,
    level: Option<usize>,
    after: Vec<After<'a>>,
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

struct Row<'a> {
    cells: Vec<Blocks>,
    header: bool,
    after: Vec<After<'a>>,
    /// Columns that the last cell stands in.
    span: usize,
    /// What the cells take in memory.
    bytes: u64,
}

impl Row<'_> {
    /// Adds a cell, after those that the one before it spans.
    fn begin_cell(&mut self) {
        self.skip_columns(self.span.saturating_sub(1));
        self.cells.push(Vec::new());
        self.span = 1;
    }

    fn skip_columns(&mut self, count: usize) {
        let columns = self.cells.len().saturating_add(count).min(MAX_COLUMNS);
        if columns > self.cells.len() {
            self.cells.resize(columns, Vec::new());
        }
    }

    /// A row is held until it is whole, and what is in it may repeat itself.
    fn push(&mut self, kind: BlockKind, text: String, max_bytes: u64) -> Result<(), Refusal> {
        self.bytes += (text.len() + size_of::<(BlockKind, String)>()) as u64;
        if self.bytes > max_bytes {
            return Err(Refusal::TooMuchText {
                max_chars: max_bytes,
            });
        }
        match self.cells.last_mut() {
            Some(cell) => cell.push((kind, text)),
            None => self.cells.push(vec![(kind, text)]),
        }
        Ok(())
    }
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
                    after: Vec::new(),
                    span: 1,
                    bytes: 0,
                });
                return Ok(());
            }
            "tc" if self.table_depth == 1 => {
                if let Some(row) = &mut self.row {
                    row.begin_cell();
                }
                return Ok(());
            }
            "gridSpan" if self.table_depth == 1 => {
                if let Some(row) = &mut self.row {
                    row.span = value(element).parse().unwrap_or(1);
                }
                return Ok(());
            }
            "gridBefore" if self.table_depth == 1 => {
                if let Some(row) = &mut self.row {
                    row.skip_columns(value(element).parse().unwrap_or(0));
                }
                return Ok(());
            }
            "tblHeader" if self.table_depth == 1 => {
                if let Some(row) = &mut self.row {
                    row.header = is_on(element);
                }
                return Ok(());
            }
            "altChunk" if !self.is_margin => {
                let id = prefixed(element, "id").unwrap_or_default();
                return self.push_chunk(&id);
            }
            "checkBox" => self.checked = Some(false),
            "default" | "checked" if self.checked.is_some() => self.checked = Some(is_on(element)),
            _ => {}
        }
        let around = self.around;
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
                if let Some(note) = around.notes.get(&(kind, id)) {
                    self.note_count += 1;
                    let mark = superscript(self.note_count);
                    paragraph.text.push_str(&mark);
                    paragraph.after.push(After {
                        kind: BlockKind::Paragraph,
                        mark: mark + " ",
                        text: note,
                    });
                }
            }
            "sym" if !paragraph.run.hidden => {
                let font = attribute(element, "font").unwrap_or_default();
                let code = attribute(element, "char").unwrap_or_default();
                paragraph.text.extend(symbol(&font, &code));
            }
            "blip" | "imagedata" if !self.is_margin => {
                let name = if name == "blip" { "embed" } else { "id" };
                let id = prefixed(element, name).unwrap_or_default();
                if let Some((id, blocks)) = around.pictures.get_key_value(&id)
                    && self.shown.insert(id)
                {
                    paragraph
                        .after
                        .extend(blocks.iter().map(|(kind, text)| After {
                            kind: *kind,
                            mark: String::new(),
                            text,
                        }));
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
                    self.end_row(row)?;
                }
            }
            "tbl" => self.table_depth = self.table_depth.saturating_sub(1),
            _ => {
                if let Some(paragraph) = self.paragraphs.last_mut() {
                    match name {
                        "pPr" => paragraph.in_properties = false,
                        "r" => paragraph.in_run = false,
                        "t" => paragraph.in_text = false,
                        "checkBox" => {
                            let checked = self.checked.take();
                            paragraph.text.extend(checked.map(check_box));
                        }
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

impl<'a> Body<'a> {
    fn new(around: &'a Around, numbering: Numbering) -> Self {
        Self {
            around,
            is_margin: false,
            numbering,
            note_count: 0,
            shown: HashSet::new(),
            assembler: Assembler::new(around.max_chars),
            title: None,
            paragraphs: Vec::new(),
            table_depth: 0,
            row: None,
            first_row: false,
            checked: None,
        }
    }

    fn push_chunk(&mut self, id: &str) -> Result<(), Refusal> {
        for (kind, text) in self.around.chunks.get(id).into_iter().flatten() {
            match &mut self.row {
                Some(row) => row.push(*kind, text.clone(), self.around.max_chars)?,
                None => self.assembler.push(*kind, text)?,
            }
        }
        Ok(())
    }

    fn end_paragraph(&mut self, paragraph: Paragraph<'a>) -> Result<(), Refusal> {
        let style = self.around.styles.kind(&paragraph.style);
        let outlined = paragraph
            .outline
            .filter(|outline| *outline < 9)
            .map(|outline| outline + 1);
        if style == Kind::Contents {
            return Ok(());
        }
        let numbering = match (
            &paragraph.list,
            self.around.styles.numbering(&paragraph.style),
        ) {
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
            return self.end_block(paragraph.after);
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
                let label = self.numbering.label(&list, level, None);
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
        match &mut self.row {
            Some(row) => row.push(kind, text, self.around.max_chars)?,
            None => self.assembler.push(kind, &text)?,
        }
        self.end_block(paragraph.after)
    }

    fn end_row(&mut self, row: Row<'a>) -> Result<(), Refusal> {
        self.assembler.push_row(&row.cells, row.header)?;
        self.end_block(row.after)
    }

    /// Writes what follows a paragraph; that of a paragraph in a table follows its row.
    fn end_block(&mut self, after: Vec<After<'a>>) -> Result<(), Refusal> {
        if let Some(row) = &mut self.row {
            row.after.extend(after);
            return Ok(());
        }
        for After { kind, mark, text } in after {
            self.assembler.push(kind, &format!("{mark}{text}"))?;
        }
        Ok(())
    }
}

const fn check_box(checked: bool) -> char {
    if checked { '☒' } else { '☐' }
}

/// The letter that a character of a symbol font shows, of those that say something: boxes, marks,
/// arrows, and the signs of formulas.
fn symbol(font: &str, code: &str) -> Option<char> {
    const GREEK: &str = "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ";
    const GREEK_SMALL: &str = "αβχδεφγηιϕκλμνοπθρστυϖωξψζ";
    let code = u32::from_str_radix(code, 16).ok()?;
    // Symbol fonts have theirs in a private area, which some programs leave away.
    let byte = match code {
        0xf000..=0xf0ff => code - 0xf000,
        code => code,
    };
    let letter = |letters: &str, first| letters.chars().nth((byte - first) as usize);
    match (font, byte) {
        ("Wingdings", 0x6f | 0x70 | 0x71 | 0x72 | 0xa8) | ("Wingdings 2", 0xa3) => {
            Some(check_box(false))
        }
        ("Wingdings", 0x78 | 0xfd | 0xfe) | ("Wingdings 2", 0x51..=0x54) => Some(check_box(true)),
        ("Wingdings", 0xfc) | ("Wingdings 2", 0x50) => Some('✓'),
        ("Wingdings", 0xfb) | ("Wingdings 2", 0x4f) => Some('✗'),
        ("Wingdings", 0xe0) | ("Symbol", 0xae) => Some('→'),
        ("Symbol", 0x41..=0x5a) => letter(GREEK, 0x41),
        ("Symbol", 0x61..=0x7a) => letter(GREEK_SMALL, 0x61),
        ("Symbol", 0xa3) => Some('≤'),
        ("Symbol", 0xb0) => Some('°'),
        ("Symbol", 0xb1) => Some('±'),
        ("Symbol", 0xb3) => Some('≥'),
        ("Symbol", 0xb4) => Some('×'),
        ("Symbol", 0xb9) => Some('≠'),
        ("Symbol", 0xbb) => Some('≈'),
        _ if (0xe000..=0xf8ff).contains(&code) => None,
        _ => char::from_u32(code).filter(|char| !is_invisible(*char)),
    }
}

/// Headings without a style: the divisions of laws, and short lines all in bold.
fn drawn_heading(paragraph: &Paragraph<'_>, text: &str) -> Option<u8> {
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
