//! PowerPoint presentations: each slide under its number and title, then its texts in the order of
//! the file, its tables, the text of its pictures, and the speaker's notes. Hidden slides, footers and
//! numbers are left out.

use quick_xml::events::BytesStart;

use super::Context;
use super::archive::{Archive, Source};
use super::embedded::Embedded;
use super::xml::{Outcome, Part, attribute, prefixed};
use crate::characters::{collapsed, composed, is_invisible, title};
use crate::extracted::{Assembler, BlockKind, Extracted, PageKind, Warning};
use crate::refusal::Refusal;

/// Titles that PowerPoint itself gives to files.
const NO_TITLES: [&str; 2] = ["PowerPoint Presentation", "PowerPoint prezentacija"];

pub fn extract(source: &mut dyn Source, context: &Context<'_>) -> Result<Extracted, Refusal> {
    let bounds = &context.bounds;
    let mut archive = Archive::open(source, bounds)?;
    let main = archive
        .main_part("ppt/presentation.xml")?
        .ok_or_else(|| archive.mistaken("PowerPoint presentation"))?;
    let relations = archive.relations(&main)?;
    let mut presentation = Presentation {
        max: bounds.zip_entries,
        slides: Vec::new(),
    };
    let mut embedded = Embedded::new(context);
    if let Outcome::Broken { message } = archive.read(&main, &mut presentation)?
        && presentation.slides.is_empty()
    {
        return Err(Refusal::damaged(message));
    }
    let properties = archive.properties("docProps/core.xml")?;
    let mut assembler = Assembler::new(bounds.max_chars);
    let mut damaged = 0_usize;
    let mut first_title = None;
    let mut pages = Vec::new();
    for (number, id) in (1..).zip(&presentation.slides) {
        let mut slide = Shapes::default();
        let part = relations.target(id).unwrap_or_default();
        if !matches!(archive.read(part, &mut slide)?, Outcome::Whole) {
            damaged += 1;
        }
        if slide.hidden {
            continue;
        }
        let relations = archive.relations(part)?;
        for id in &slide.pictures {
            let text = match relations.target(id) {
                Some(picture) => embedded.read(picture, &mut archive)?,
                None => continue,
            };
            slide
                .blocks
                .extend(text.into_iter().map(|(kind, text)| Block {
                    kind,
                    text,
                    in_body: false,
                }));
        }
        let mut notes = Shapes::default();
        if let Some(part) = relations.of_kind("notesSlide").next() {
            archive.read(part, &mut notes)?;
        }
        // Beside the notes, their page shows the slide again.
        notes.blocks.retain(|block| block.in_body);
        if slide.title.is_empty() && slide.blocks.is_empty() && notes.blocks.is_empty() {
            continue;
        }
        let heading = if slide.title.is_empty() {
            format!("Slide {number}")
        } else {
            format!("Slide {number}: {}", slide.title)
        };
        let start = assembler.chars();
        first_title = first_title.or_else(|| title(&slide.title));
        assembler.push(BlockKind::Heading(1), &heading)?;
        for block in &slide.blocks {
            assembler.push(block.kind, &block.text)?;
        }
        if !notes.blocks.is_empty() {
            assembler.push(BlockKind::Heading(2), "Notes")?;
            for block in &notes.blocks {
                assembler.push(BlockKind::Paragraph, block.text.trim_start_matches("- "))?;
            }
        }
        pages.push(assembler.page_since(PageKind::Slide, number, start));
    }
    let mut extracted = assembler.finish();
    extracted.pages = pages;
    embedded.settle(&mut extracted)?;
    if damaged > 0 {
        if extracted.blocks.is_empty() {
            return Err(Refusal::damaged("none of its slides can be read"));
        }
        extracted.warnings.push(Warning::PartLeftOut {
            part: format!("{damaged} slides, or the ends of them"),
        });
    }
    extracted.title = properties
        .title
        .filter(|title| !NO_TITLES.contains(&title.as_str()))
        .or(first_title);
    extracted.language_hint = properties.language;
    Ok(extracted)
}

struct Presentation {
    /// Every slide is a part of its own.
    max: usize,
    /// Relation ids, in the order in which they are shown.
    slides: Vec<String>,
}

impl Part for Presentation {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        if name == "sldId" {
            if self.slides.len() >= self.max {
                return Err(Refusal::TooManyParts {
                    max: self.max as u64,
                });
            }
            self.slides
                .push(prefixed(element, "id").unwrap_or_default());
        }
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

/// Reads what stands on one slide, or on a page of notes.
#[derive(Default)]
struct Shapes {
    hidden: bool,
    title: String,
    blocks: Vec<Block>,
    /// What the open shape is a placeholder for; `None` for a text box.
    placeholder: Option<String>,
    paragraph: Option<Paragraph>,
    within: bool,
    row: Option<Vec<String>>,
    first_row: bool,
    /// Ids of relations.
    pictures: Vec<String>,
}

struct Block {
    kind: BlockKind,
    text: String,
    in_body: bool,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    level: usize,
    /// Whether it says itself that it has a bullet, or that it has none.
    bullet: Option<bool>,
}

impl Shapes {
    /// Placeholders for text whose paragraphs have bullets unless they say otherwise.
    fn in_body(&self) -> bool {
        matches!(self.placeholder.as_deref(), Some("" | "body" | "obj"))
    }

    fn end_paragraph(&mut self, paragraph: &Paragraph) {
        let lines: Vec<_> = paragraph
            .text
            .split('\n')
            .map(collapsed)
            .filter(|line| !line.is_empty())
            .collect();
        let text = composed(&lines.join("\n")).into_owned();
        if text.is_empty() {
            return;
        }
        if let Some(row) = &mut self.row {
            if let Some(cell) = row.last_mut() {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&text.replace('\n', " "));
            }
            return;
        }
        match self.placeholder.as_deref() {
            Some("title" | "ctrTitle") => {
                if !self.title.is_empty() {
                    self.title.push(' ');
                }
                self.title.push_str(&text.replace('\n', " "));
                return;
            }
            // Footer, date and number are the same on every slide.
            Some("ftr" | "dt" | "sldNum" | "hdr" | "sldImg") => return,
            _ => {}
        }
        let in_body = self.in_body();
        let block = if paragraph.bullet.unwrap_or(in_body) {
            let indent = "  ".repeat(paragraph.level.min(8));
            Block {
                kind: BlockKind::ListItem,
                text: format!("{indent}- {text}"),
                in_body,
            }
        } else {
            Block {
                kind: BlockKind::Paragraph,
                text,
                in_body,
            }
        };
        self.blocks.push(block);
    }
}

impl Part for Shapes {
    fn skips(&self, name: &str) -> bool {
        name == "Fallback"
    }

    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        match name {
            "sld" => {
                self.hidden = matches!(attribute(element, "show").as_deref(), Some("0" | "false"));
            }
            "sp" | "graphicFrame" => self.placeholder = None,
            "ph" => self.placeholder = Some(attribute(element, "type").unwrap_or_default()),
            "p" => self.paragraph = Some(Paragraph::default()),
            "t" => self.within = true,
            "tbl" => self.first_row = true,
            "tr" => self.row = Some(Vec::new()),
            "blip" => self.pictures.extend(prefixed(element, "embed")),
            "tc" => {
                if let Some(row) = &mut self.row {
                    row.push(String::new());
                }
            }
            _ => {
                if let Some(paragraph) = &mut self.paragraph {
                    match name {
                        "pPr" => {
                            let level = attribute(element, "lvl");
                            paragraph.level = level.and_then(|l| l.parse().ok()).unwrap_or(0);
                        }
                        "buNone" => paragraph.bullet = Some(false),
                        "buChar" | "buAutoNum" | "buBlip" => paragraph.bullet = Some(true),
                        "br" => paragraph.text.push('\n'),
                        "tab" => paragraph.text.push(' '),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), Refusal> {
        match name {
            "p" => {
                if let Some(paragraph) = self.paragraph.take() {
                    self.end_paragraph(&paragraph);
                }
            }
            "t" => self.within = false,
            "sp" => self.placeholder = None,
            "tr" => {
                if let Some(cells) = self.row.take()
                    && cells.iter().any(|cell| !cell.is_empty())
                {
                    let kind = if std::mem::take(&mut self.first_row) {
                        BlockKind::TableHeader
                    } else {
                        BlockKind::TableRow
                    };
                    self.blocks.push(Block {
                        kind,
                        text: cells.join(" | ").trim().to_owned(),
                        in_body: false,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(paragraph) = &mut self.paragraph
            && self.within
        {
            paragraph
                .text
                .extend(text.chars().filter(|char| !is_invisible(*char)));
        }
    }
}
