//! OpenDocument texts: headings by their outline levels with their numbers, numbered lists, tables,
//! footnotes after their paragraphs, headers in front of the text and footers after it, each once.
//! Remarks, deletions and generated indexes are left out.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::archive::Source;
use super::margin::Margin;
use super::numbering::{Level, Numbering};
use super::opendocument::{CONTENT, META, is_left_out, open, push_special};
use super::xml::{Outcome, Part, attribute};
use super::{Bounds, text::division};
use crate::characters::{collapsed, composed, is_invisible, title};
use crate::extracted::{Assembler, BlockKind, Extracted};
use crate::refusal::Refusal;

/// The part with what documents of one look have in common, headers and footers among it.
const STYLES: &str = "styles.xml";

/// The list that headings are counted by. No style's name has a colon.
const OUTLINE: &str = "text:outline-style";

pub fn extract(source: &mut dyn Source, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let mut archive = open(source, bounds, "text", "OpenDocument text")?;
    let properties = archive.properties(META)?;
    // Named styles first: the content's own are based on them.
    let mut styles = Styles::default();
    archive.read(STYLES, &mut styles)?;
    let mut margin = |names: &'static [&'static str]| -> Result<Margin, Refusal> {
        let mut body = Body::new(Styles::default(), names, bounds.max_chars);
        archive.read(STYLES, &mut body)?;
        let mut margin = Margin::default();
        margin.add(&body.assembler.finish());
        Ok(margin)
    };
    let headers = margin(&["header", "header-first", "header-left"])?;
    let footers = margin(&["footer", "footer-first", "footer-left"])?;
    let mut body = Body::new(styles, &["body"], bounds.max_chars);
    headers.push(&mut body.assembler)?;
    let begun = body.assembler.chars();
    let outcome = archive.read(CONTENT, &mut body)?;
    if let Outcome::Broken { message } = &outcome
        && body.assembler.chars() == begun
    {
        return Err(Refusal::damaged(message));
    }
    footers.push(&mut body.assembler)?;
    let title = properties.title.or_else(|| body.title.take());
    let mut extracted = body.assembler.finish();
    outcome.settle(&mut extracted)?;
    extracted.title = title;
    extracted.language_hint = properties.language;
    Ok(extracted)
}

#[derive(Default)]
struct Styles {
    /// Paragraph styles to those that they are based on.
    parents: HashMap<String, String>,
    /// Paragraph styles that say whether they are numbered: the empty list is none.
    unnumbered: HashMap<String, bool>,
    numbering: Numbering,
    /// The list style that is open.
    list: Option<String>,
}

impl Styles {
    /// A style and those that it is based on, nearest first.
    fn chain<'a>(&'a self, style: &'a str) -> impl Iterator<Item = &'a str> {
        // Bases can form a ring in a damaged document.
        const LONGEST: usize = 20;
        std::iter::successors(Some(style), |style| {
            self.parents.get(*style).map(String::as_str)
        })
        .take(LONGEST)
    }

    /// The number of a heading, with a space after it; empty where headings have none.
    fn heading_number(&mut self, heading: &Heading, style: &str) -> String {
        let is_unnumbered = self
            .chain(style)
            .find_map(|style| self.unnumbered.get(style));
        if heading.is_unnumbered || is_unnumbered == Some(&true) || !self.numbering.has(OUTLINE) {
            return String::new();
        }
        let level = usize::from(heading.level.saturating_sub(1));
        let label = self.numbering.label(OUTLINE, level, heading.begin);
        separated(label)
    }

    /// The kind of a paragraph, by the names of LibreOffice's own styles.
    fn kind(&self, style: &str) -> Kind {
        self.chain(style)
            .map(|style| match style {
                "Title" => Kind::Title,
                "Quotations" => Kind::Quote,
                "Preformatted_20_Text" => Kind::Code,
                _ => style
                    .strip_prefix("Heading_20_")
                    .and_then(|level| level.parse::<u8>().ok())
                    .map_or(Kind::Body, |level| Kind::Heading(level.clamp(1, 6))),
            })
            .find(|kind| *kind != Kind::Body)
            .unwrap_or(Kind::Body)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Title,
    Heading(u8),
    Quote,
    Code,
    Body,
}

impl Part for Styles {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        let get = |name| attribute(element, name).unwrap_or_default();
        match name {
            "style" => {
                if let Some(list) = attribute(element, "list-style-name") {
                    self.unnumbered.insert(get("name"), list.is_empty());
                }
                if let Some(parent) = attribute(element, "parent-style-name") {
                    self.parents.insert(get("name"), parent);
                }
            }
            "list-style" | "outline-style" => {
                let style = if name == "list-style" {
                    get("name")
                } else {
                    OUTLINE.to_owned()
                };
                self.numbering.set_list(&style, style.clone())?;
                self.list = Some(style);
            }
            "list-level-style-number" | "list-level-style-bullet" | "outline-level-style" => {
                let Some(level) = get("level")
                    .parse::<usize>()
                    .ok()
                    .filter(|level| *level > 0)
                else {
                    return Ok(());
                };
                let format = match (name, get("num-format").as_str()) {
                    ("list-level-style-bullet", _) => "bullet",
                    (_, "") => "none",
                    (_, "a") => "lowerLetter",
                    (_, "A") => "upperLetter",
                    (_, "i") => "lowerRoman",
                    (_, "I") => "upperRoman",
                    _ => "decimal",
                };
                let shown = get("display-levels").parse().unwrap_or(1).clamp(1, level);
                let numbers: Vec<_> = (level + 1 - shown..=level)
                    .map(|level| format!("%{level}"))
                    .collect();
                let value = Level {
                    start: get("start-value").parse().unwrap_or(1),
                    format: format.to_owned(),
                    text: format!(
                        "{}{}{}",
                        get("num-prefix"),
                        numbers.join("."),
                        get("num-suffix")
                    ),
                };
                if let Some(style) = &self.list {
                    self.numbering.set_level(style, level - 1, value)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        if matches!(name, "list-style" | "outline-style") {
            self.list = None;
        }
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

struct Body {
    styles: Styles,
    assembler: Assembler,
    title: Option<String>,
    /// The elements whose text is read.
    within: &'static [&'static str],
    begun: bool,
    max_chars: u64,
    /// Open paragraphs: notes and text boxes stand inside one.
    open: Vec<Paragraph>,
    /// Styles of the open lists, outermost first.
    lists: Vec<String>,
    /// The label of the item whose first paragraph has not come yet.
    item: Option<String>,
    table_depth: usize,
    header_rows: bool,
    /// Whether the row that comes next is the first of its table.
    first_row: bool,
    row: Option<Row>,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    style: String,
    heading: Option<Heading>,
    /// Whether the mark of a note is open.
    in_mark: bool,
    mark: String,
    notes: Vec<String>,
    /// Open bodies of notes; the paragraphs in them are the note's.
    in_note: bool,
}

#[derive(Default)]
struct Heading {
    /// 1 is the outermost.
    level: u8,
    /// Its number, where it says so itself.
    begin: Option<u32>,
    is_unnumbered: bool,
}

impl Heading {
    fn of(element: &BytesStart<'_>) -> Self {
        let number = |name| attribute(element, name).and_then(|number| number.parse().ok());
        let is = |name| attribute(element, name).as_deref() == Some("true");
        let level = attribute(element, "outline-level").and_then(|level| level.parse().ok());
        Self {
            level: level.unwrap_or(1).max(1),
            begin: number("start-value").or_else(|| is("restart-numbering").then_some(1)),
            is_unnumbered: is("is-list-header"),
        }
    }
}

struct Row {
    cells: Vec<Vec<(BlockKind, String)>>,
    header: bool,
    notes: Vec<String>,
    /// A row is held until it is whole, and every paragraph in it may have a long number.
    chars: u64,
}

impl Part for Body {
    fn skips(&self, name: &str) -> bool {
        is_left_out(name)
    }

    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        if !self.begun {
            self.begun = self.within.contains(&name);
            return self.styles.open(name, element);
        }
        match name {
            "p" | "h" => {
                self.open.push(Paragraph {
                    style: attribute(element, "style-name").unwrap_or_default(),
                    heading: (name == "h").then(|| Heading::of(element)),
                    ..Paragraph::default()
                });
            }
            "list" => {
                let style = attribute(element, "style-name");
                if self.lists.is_empty()
                    && attribute(element, "continue-numbering").as_deref() != Some("true")
                    && attribute(element, "continue-list").is_none()
                    && let Some(style) = &style
                {
                    self.styles.numbering.restart(style);
                }
                let outer = self.lists.last().cloned().unwrap_or_default();
                self.lists.push(style.unwrap_or(outer));
            }
            "list-item" => {
                if let Some(style) = self.lists.last() {
                    let level = self.lists.len() - 1;
                    let begin = attribute(element, "start-value");
                    let begin = begin.and_then(|number| number.parse().ok());
                    let label = self.styles.numbering.label(style, level, begin);
                    let indent = "  ".repeat(level.min(8));
                    self.item = Some(indent + &separated(label));
                }
            }
            "table" => {
                self.table_depth += 1;
                if self.table_depth == 1 {
                    self.first_row = true;
                }
            }
            "table-header-rows" => self.header_rows = true,
            "table-row" if self.table_depth == 1 => {
                self.row = Some(Row {
                    cells: Vec::new(),
                    header: std::mem::take(&mut self.first_row) || self.header_rows,
                    notes: Vec::new(),
                    chars: 0,
                });
            }
            "table-cell" if self.table_depth == 1 => {
                if let Some(row) = &mut self.row {
                    row.cells.push(Vec::new());
                }
            }
            _ => {
                if let Some(paragraph) = self.open.last_mut() {
                    match name {
                        "note-citation" => {
                            paragraph.in_mark = true;
                            paragraph.mark.clear();
                        }
                        "note-body" => paragraph.in_note = true,
                        _ => push_special(&mut paragraph.text, name, element),
                    }
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        if !self.begun {
            return self.styles.close(name);
        }
        if self.within.contains(&name) {
            self.begun = false;
            return Ok(());
        }
        match name {
            "p" | "h" => {
                if let Some(paragraph) = self.open.pop() {
                    self.end_paragraph(paragraph)?;
                }
            }
            "list" => {
                self.lists.pop();
            }
            "list-item" => self.item = None,
            "table-header-rows" => self.header_rows = false,
            "table-row" if self.table_depth == 1 => {
                if let Some(row) = self.row.take() {
                    self.end_row(&row)?;
                }
            }
            "table" => self.table_depth = self.table_depth.saturating_sub(1),
            "note-citation" => {
                if let Some(paragraph) = self.open.last_mut() {
                    paragraph.in_mark = false;
                    let mark = format!("[{}]", paragraph.mark.trim());
                    paragraph.text.push_str(&mark);
                    paragraph.notes.push(mark);
                }
            }
            "note-body" => {
                if let Some(paragraph) = self.open.last_mut() {
                    paragraph.in_note = false;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(paragraph) = self.open.last_mut() {
            let shown = text.chars().filter(|char| !is_invisible(*char));
            if paragraph.in_mark {
                paragraph.mark.extend(shown);
            } else {
                paragraph.text.extend(shown);
            }
        }
    }
}

fn separated(mut label: String) -> String {
    if !label.is_empty() {
        label.push(' ');
    }
    label
}

impl Body {
    fn new(styles: Styles, within: &'static [&'static str], max_chars: u64) -> Self {
        Self {
            styles,
            assembler: Assembler::new(max_chars),
            title: None,
            within,
            begun: false,
            max_chars,
            open: Vec::new(),
            lists: Vec::new(),
            item: None,
            table_depth: 0,
            header_rows: false,
            first_row: false,
            row: None,
        }
    }

    fn end_paragraph(&mut self, paragraph: Paragraph) -> Result<(), Refusal> {
        let kind = self.styles.kind(&paragraph.style);
        let text = if kind == Kind::Code {
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
        if let Some(outer) = self.open.last_mut()
            && outer.in_note
            && let Some(note) = outer.notes.last_mut()
        {
            note.push(' ');
            note.push_str(&text.replace('\n', " "));
            return Ok(());
        }
        let in_table = self.row.is_some();
        let label = match (self.item.take(), &paragraph.heading) {
            (None, Some(heading)) => self.styles.heading_number(heading, &paragraph.style),
            (label, _) => label.unwrap_or_default(),
        };
        let level = paragraph.heading.map(|heading| heading.level.min(6));
        let kind = match (kind, level) {
            _ if in_table => BlockKind::Paragraph,
            (Kind::Title, _) => {
                if self.title.is_none() {
                    self.title = title(&text);
                }
                BlockKind::Heading(1)
            }
            (_, Some(level)) | (Kind::Heading(level), None) => BlockKind::Heading(level),
            (Kind::Quote, None) => BlockKind::Quote,
            (Kind::Code, None) => BlockKind::Code,
            (Kind::Body, None) => match (division(&text), self.lists.is_empty()) {
                (Some(level), _) if !text.contains('\n') && text.chars().count() <= 100 => {
                    BlockKind::Heading(level)
                }
                (_, true) => BlockKind::Paragraph,
                (_, false) => BlockKind::ListItem,
            },
        };
        let text = match kind {
            BlockKind::Heading(_) => text.replace('\n', " "),
            _ => text,
        };
        let text = label + &text;
        if let Some(row) = &mut self.row {
            row.chars += text.len() as u64;
            if row.chars > self.max_chars {
                return Err(Refusal::TooMuchText {
                    max_chars: self.max_chars,
                });
            }
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
            self.assembler.push(BlockKind::Paragraph, note)?;
        }
        Ok(())
    }
}
