//! Markdown: the visible text, without its marks.

use pulldown_cmark::{CodeBlockKind, Event, MetadataBlockKind, Options, Parser, Tag, TagEnd};

use super::{Bounds, html, text};
use crate::characters::{collapsed, composed, title};
use crate::extracted::{Assembler, BlockKind, Extracted};
use crate::refusal::Refusal;

pub fn extract(bytes: Vec<u8>, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let decoded = text::decode(bytes, None)?;
    let source = composed(&decoded.text);
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader = Reader::new(bounds);
    for event in Parser::new_ext(&source, options) {
        reader.event(event)?;
    }
    reader.flush()?;
    let title = reader.front_title.or(reader.heading_title);
    let mut extracted = reader.assembler.finish();
    extracted.title = title;
    extracted.warnings = decoded.warnings;
    Ok(extracted)
}

struct Reader {
    assembler: Assembler,
    /// The inline text of the block that is open.
    inline: String,
    kind: BlockKind,
    /// What the next text of a list item or a footnote begins with.
    marker: String,
    /// The next number of each open list, outermost first; `None` for bullets.
    lists: Vec<Option<u64>>,
    quotes: usize,
    /// Cells of the table row that is open.
    cells: usize,
    /// Whether text is gathered elsewhere than in `inline`.
    within: Within,
    raw: String,
    front_title: Option<String>,
    heading_title: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Flow,
    Code,
    Html,
    FrontMatter,
}

impl Reader {
    fn new(bounds: &Bounds) -> Self {
        Self {
            assembler: Assembler::new(bounds.max_chars),
            inline: String::new(),
            kind: BlockKind::Paragraph,
            marker: String::new(),
            lists: Vec::new(),
            quotes: 0,
            cells: 0,
            within: Within::Flow,
            raw: String::new(),
            front_title: None,
            heading_title: None,
        }
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), Refusal> {
        match event {
            Event::Start(tag) => self.start(tag)?,
            Event::End(tag) => self.end(tag)?,
            Event::Text(text) if self.within == Within::Flow => self.inline.push_str(&text),
            Event::Text(text) => self.raw.push_str(&text),
            Event::Html(html) => self.raw.push_str(&html),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.inline.push_str(&text);
            }
            Event::InlineHtml(html) => {
                if html.starts_with("<br") {
                    self.inline.push('\n');
                }
            }
            Event::FootnoteReference(name) => {
                self.inline.push_str("[^");
                self.inline.push_str(&name);
                self.inline.push(']');
            }
            Event::SoftBreak => self.inline.push(' '),
            Event::HardBreak => self.inline.push('\n'),
            Event::Rule => self.flush()?,
            Event::TaskListMarker(done) => self.inline.push_str(if done { "[x] " } else { "[ ] " }),
        }
        Ok(())
    }

    fn start(&mut self, tag: Tag<'_>) -> Result<(), Refusal> {
        match tag {
            Tag::Paragraph => {
                self.flush()?;
                self.kind = self.flow_kind();
            }
            Tag::Heading { level, .. } => {
                self.flush()?;
                self.kind = BlockKind::Heading(level as u8);
            }
            Tag::BlockQuote(_) => {
                self.flush()?;
                self.quotes += 1;
                self.kind = self.flow_kind();
            }
            Tag::CodeBlock(kind) => {
                self.flush()?;
                self.within = Within::Code;
                if let CodeBlockKind::Fenced(_) = kind {
                    self.raw.clear();
                }
            }
            Tag::HtmlBlock => {
                self.flush()?;
                self.within = Within::Html;
            }
            Tag::List(first) => {
                self.flush()?;
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush()?;
                let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(8));
                self.marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{indent}{number}. ");
                        *number += 1;
                        marker
                    }
                    Some(None) | None => format!("{indent}- "),
                };
                self.kind = BlockKind::ListItem;
            }
            Tag::FootnoteDefinition(name) => {
                self.flush()?;
                self.marker = format!("[^{name}]: ");
                self.kind = BlockKind::Paragraph;
            }
            Tag::TableHead => {
                self.flush()?;
                self.cells = 0;
                self.kind = BlockKind::TableHeader;
            }
            Tag::TableRow => {
                self.flush()?;
                self.cells = 0;
                self.kind = BlockKind::TableRow;
            }
            Tag::TableCell => {
                if self.cells > 0 {
                    self.inline.push_str(" | ");
                }
                self.cells += 1;
            }
            Tag::MetadataBlock(MetadataBlockKind::YamlStyle | MetadataBlockKind::PlusesStyle) => {
                self.flush()?;
                self.within = Within::FrontMatter;
            }
            Tag::DefinitionListTitle | Tag::DefinitionListDefinition => {
                self.flush()?;
                self.kind = BlockKind::Paragraph;
            }
            Tag::Table(_)
            | Tag::DefinitionList
            | Tag::Emphasis
            | Tag::Strong
            | Tag::Strikethrough
            | Tag::Superscript
            | Tag::Subscript
            | Tag::Link { .. }
            | Tag::Image { .. } => {}
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd) -> Result<(), Refusal> {
        match tag {
            TagEnd::Heading(_) => {
                if self.heading_title.is_none() {
                    self.heading_title = title(&self.inline);
                }
                self.flush()?;
                self.kind = self.flow_kind();
            }
            TagEnd::Paragraph
            | TagEnd::Item
            | TagEnd::TableHead
            | TagEnd::TableRow
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition => {
                self.flush()?;
                self.kind = self.flow_kind();
            }
            TagEnd::BlockQuote(_) => {
                self.flush()?;
                self.quotes = self.quotes.saturating_sub(1);
                self.kind = self.flow_kind();
            }
            TagEnd::List(_) => {
                self.flush()?;
                self.lists.pop();
                self.marker.clear();
                self.kind = self.flow_kind();
            }
            TagEnd::CodeBlock => {
                self.within = Within::Flow;
                let code = std::mem::take(&mut self.raw);
                self.assembler.push(BlockKind::Code, &code)?;
            }
            TagEnd::HtmlBlock => {
                self.within = Within::Flow;
                let source = std::mem::take(&mut self.raw);
                html::extract_fragment(&source, &mut self.assembler)?;
            }
            TagEnd::MetadataBlock(_) => {
                self.within = Within::Flow;
                let front_matter = std::mem::take(&mut self.raw);
                self.front_title = front_title(&front_matter);
                // The title stands above everything; the rest (whose it is, since when) nowhere else.
                let rest: Vec<_> = front_matter
                    .lines()
                    .filter(|line| self.front_title.is_none() || !line.starts_with(TITLE))
                    .collect();
                self.assembler.push(BlockKind::Code, &rest.join("\n"))?;
            }
            TagEnd::Table
            | TagEnd::TableCell
            | TagEnd::DefinitionList
            | TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::Link
            | TagEnd::Image => {}
        }
        Ok(())
    }

    /// The kind of a paragraph where the reader stands.
    fn flow_kind(&self) -> BlockKind {
        if !self.lists.is_empty() {
            BlockKind::ListItem
        } else if self.quotes > 0 {
            BlockKind::Quote
        } else {
            BlockKind::Paragraph
        }
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        let inline = std::mem::take(&mut self.inline);
        if inline.trim().is_empty() {
            return Ok(());
        }
        let marker = match self.kind {
            BlockKind::ListItem | BlockKind::Paragraph => std::mem::take(&mut self.marker),
            _ => String::new(),
        };
        let lines: Vec<_> = inline
            .split('\n')
            .map(collapsed)
            .filter(|line| !line.is_empty())
            .collect();
        self.assembler
            .push(self.kind, &format!("{marker}{}", lines.join("\n")))
    }
}

const TITLE: &str = "title:";

/// The `title:` of a YAML front matter. Reading the one line spares a YAML parser.
fn front_title(front_matter: &str) -> Option<String> {
    let line = front_matter
        .lines()
        .find_map(|line| line.strip_prefix(TITLE))?;
    title(line.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_a_reader_sees() {
        let source = "---\ntitle: \"Vodič\"\n---\n# Uvod {#uvod}\n\nPrvi *važan* odlomak\nu [dva](https://x.hr) reda.\n\n\
                      1. jedan\n2. dva\n   - pod\n\n> citat\n\n```rust\nfn main() {}\n\n```\n\n\
                      | Ime | Broj |\n|---|---|\n| Ana | 5 |\n\n<div>u <b>HTML</b>-u</div>\n\nTvrdnja[^1].\n\n[^1]: Izvor.\n";
        let extracted = extract(source.as_bytes().to_vec(), &Bounds::default()).unwrap();
        let blocks: Vec<_> = extracted
            .blocks
            .iter()
            .map(|block| (block.kind, block.span.slice(&extracted.text).unwrap()))
            .collect();
        assert_eq!(
            blocks,
            [
                (BlockKind::Heading(1), "Uvod"),
                (BlockKind::Paragraph, "Prvi važan odlomak u dva reda."),
                (BlockKind::ListItem, "1. jedan"),
                (BlockKind::ListItem, "2. dva"),
                (BlockKind::ListItem, "  - pod"),
                (BlockKind::Quote, "citat"),
                (BlockKind::Code, "fn main() {}"),
                (BlockKind::TableHeader, "Ime | Broj"),
                (BlockKind::TableRow, "Ana | 5"),
                (BlockKind::Paragraph, "u HTML-u"),
                (BlockKind::Paragraph, "Tvrdnja[^1]."),
                (BlockKind::Paragraph, "[^1]: Izvor."),
            ]
        );
        assert_eq!(extracted.title.as_deref(), Some("Vodič"));
    }

    #[test]
    fn front_matter_is_read() {
        let source = "---\ntitle: Odluka\nklasa: 112-01/26\n\nautori:\n  - Ana\n---\nTekst.\n";
        let extracted = extract(source.as_bytes().to_vec(), &Bounds::default()).unwrap();
        assert_eq!(extracted.title.as_deref(), Some("Odluka"));
        let blocks: Vec<_> = extracted.block_texts().collect();
        assert_eq!(
            blocks,
            [
                (BlockKind::Code, "klasa: 112-01/26\n\nautori:\n  - Ana"),
                (BlockKind::Paragraph, "Tekst."),
            ]
        );
    }

    #[test]
    fn an_empty_cell_keeps_its_place() {
        let source = "| a | b | c |\n|---|---|---|\n|  | 2 |  |\n";
        let extracted = extract(source.as_bytes().to_vec(), &Bounds::default()).unwrap();
        assert_eq!(extracted.text, "a | b | c\n| 2 |");
    }
}
