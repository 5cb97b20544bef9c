//! Web pages: the main content as a reader sees it, without scripts, navigation and hidden parts.
//!
//! The tree is walked without recursion, because its depth is the page's to choose.

use std::borrow::Cow;

use encoding_rs::Encoding;
use scraper::node::Element;
use scraper::{ElementRef, Html, Node, Selector};

use super::{Bounds, html_tree, text};
use crate::characters::{composed, is_invisible, push_collapsed, title};
use crate::extracted::{Assembler, BlockKind, Extracted, Warning};
use crate::refusal::Refusal;

pub fn extract(bytes: &[u8], bounds: &Bounds) -> Result<Extracted, Refusal> {
    let mut assembler = Assembler::new(bounds.max_chars);
    let page = extract_page(bytes, &mut assembler)?;
    let mut extracted = assembler.finish();
    extracted.title = page.title;
    extracted.language_hint = page.language;
    extracted.warnings = page.warnings;
    Ok(extracted)
}

/// What a page says of itself.
pub struct Page {
    pub title: Option<String>,
    pub language: Option<String>,
    pub warnings: Vec<Warning>,
}

/// Adds what a page shows.
pub fn extract_page(bytes: &[u8], assembler: &mut Assembler) -> Result<Page, Refusal> {
    let decoded = text::decode(bytes.to_vec(), declared_encoding(bytes))?;
    let page = extract_source(&decoded.text, assembler)?;
    Ok(Page {
        warnings: decoded.warnings,
        ..page
    })
}

/// Adds what a page shows that is decoded already.
pub fn extract_source(source: &str, assembler: &mut Assembler) -> Result<Page, Refusal> {
    let page = html_tree::document(&closed(source));
    let before = assembler.chars();
    Walker::new(assembler).walk(main_content(&page))?;
    if assembler.chars() == before {
        Walker::new(assembler).walk(page.root_element())?;
    }
    Ok(Page {
        title: first(&page, "title")
            .or_else(|| first(&page, "h1"))
            .and_then(|element| title(&element.text().collect::<String>())),
        language: page.root_element().attr("lang").map(str::to_owned),
        warnings: Vec::new(),
    })
}

/// XHTML with end tags for the empty elements that would swallow the rest of the page in HTML:
/// `<script src="x"/>` is whole in one and only begun in the other.
fn closed(source: &str) -> Cow<'_, str> {
    const SWALLOWING: [&str; 5] = ["script", "style", "title", "textarea", "iframe"];
    if !source.trim_start().starts_with("<?xml") {
        return Cow::Borrowed(source);
    }
    let mut closed = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(end) = rest.find("/>") {
        let (tag, after) = rest.split_at(end);
        closed.push_str(tag);
        let name = tag.rfind('<').map_or("", |start| {
            let tag = &tag[start + 1..];
            tag.split(|char: char| !char.is_ascii_alphanumeric())
                .next()
                .unwrap_or_default()
        });
        if SWALLOWING.contains(&name) {
            closed.push_str("></");
            closed.push_str(name);
            closed.push('>');
        } else {
            closed.push_str("/>");
        }
        rest = &after[2..];
    }
    closed.push_str(rest);
    Cow::Owned(closed)
}

/// Adds what a piece of HTML inside another format shows.
pub fn extract_fragment(source: &str, assembler: &mut Assembler) -> Result<(), Refusal> {
    let fragment = html_tree::fragment(source);
    Walker::new(assembler).walk(fragment.root_element())
}

fn first<'a>(page: &'a Html, selector: &'static str) -> Option<ElementRef<'a>> {
    let selector = Selector::parse(selector).expect("BUG: a constant selector");
    page.select(&selector).next()
}

/// `charset=` in the first kilobyte, which is where browsers look for it.
fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    const LOOK_AT: usize = 1024;
    let head = bytes[..bytes.len().min(LOOK_AT)].to_ascii_lowercase();
    let at = head.windows(8).position(|window| window == b"charset=")? + 8;
    let label: Vec<u8> = head[at..]
        .iter()
        .copied()
        .skip_while(|byte| matches!(byte, b'"' | b'\'' | b' '))
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':'))
        .collect();
    let encoding = Encoding::for_label(&label)?;
    // A page that can say so in ASCII is not UTF-16.
    let is_utf16 = encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE;
    (!is_utf16).then_some(encoding)
}

/// The element that the page itself marks as its content, if that holds a good part of its text.
fn main_content(page: &Html) -> ElementRef<'_> {
    const LEAST_SHARE: f64 = 0.25;
    let root = page.root_element();
    let length =
        |element: ElementRef<'_>| -> usize { element.text().map(|text| text.trim().len()).sum() };
    let all = length(root);
    ["main", "[role=main]", "article"]
        .into_iter()
        .filter_map(|selector| {
            let parsed = Selector::parse(selector).expect("BUG: a constant selector");
            let mut found = page.select(&parsed);
            let only = found.next()?;
            found.next().is_none().then_some(only)
        })
        .find(|element| length(*element) as f64 >= all as f64 * LEAST_SHARE)
        .unwrap_or(root)
}

struct Walker<'a> {
    assembler: &'a mut Assembler,
    inline: String,
    heading: Option<u8>,
    quotes: usize,
    /// Inside `pre`: white space counts.
    preformatted: bool,
    lists: Vec<Option<u64>>,
    marker: String,
    /// Open tables; `true` for those that hold data rather than lay out the page.
    tables: Vec<bool>,
    row: Option<Row>,
}

/// A table row that is open; everything in it becomes one line.
struct Row {
    cells: usize,
    headers: usize,
}

impl<'a> Walker<'a> {
    fn new(assembler: &'a mut Assembler) -> Self {
        Self {
            assembler,
            inline: String::new(),
            heading: None,
            quotes: 0,
            preformatted: false,
            lists: Vec::new(),
            marker: String::new(),
            tables: Vec::new(),
            row: None,
        }
    }

    fn walk(mut self, root: ElementRef<'_>) -> Result<(), Refusal> {
        let root = *root;
        let mut node = root;
        loop {
            let descend = match node.value() {
                Node::Text(text) => {
                    self.text(text);
                    false
                }
                Node::Element(element) if is_noise(element) && node != root => false,
                Node::Element(element) => {
                    self.open(element, ElementRef::wrap(node))?;
                    true
                }
                Node::Document | Node::Fragment => true,
                Node::Comment(_) | Node::Doctype(_) | Node::ProcessingInstruction(_) => false,
            };
            if descend && let Some(child) = node.first_child() {
                node = child;
                continue;
            }
            if descend && let Node::Element(element) = node.value() {
                self.close(element)?;
            }
            loop {
                if node == root {
                    return self.flush();
                }
                if let Some(next) = node.next_sibling() {
                    node = next;
                    break;
                }
                let Some(parent) = node.parent() else {
                    return self.flush();
                };
                node = parent;
                if let Node::Element(element) = node.value() {
                    self.close(element)?;
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.preformatted && self.row.is_none() {
            self.inline
                .extend(text.chars().filter(|char| !is_invisible(*char)));
        } else {
            push_collapsed(&mut self.inline, text);
        }
    }

    fn open(&mut self, element: &Element, node: Option<ElementRef<'_>>) -> Result<(), Refusal> {
        let name = element.name();
        if self.row.is_some() {
            self.open_in_row(name);
            return Ok(());
        }
        if name == "br" {
            self.inline.push('\n');
            return Ok(());
        }
        if !is_block(name) {
            return Ok(());
        }
        self.flush()?;
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.heading = Some(name.as_bytes()[1] - b'0');
            }
            "blockquote" => self.quotes += 1,
            "pre" => self.preformatted = true,
            "ul" | "menu" | "dir" => self.lists.push(None),
            "ol" => {
                let start = element.attr("start").and_then(|start| start.parse().ok());
                self.lists.push(Some(start.unwrap_or(1)));
            }
            "li" => {
                let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(8));
                self.marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{indent}{number}. ");
                        *number = number.saturating_add(1);
                        marker
                    }
                    Some(None) | None => format!("{indent}- "),
                };
            }
            "table" => self
                .tables
                .push(node.is_some_and(|table| holds_data(element, table))),
            "tr" if self.tables.last() == Some(&true) => {
                self.row = Some(Row {
                    cells: 0,
                    headers: 0,
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn open_in_row(&mut self, name: &str) {
        let Some(row) = &mut self.row else { return };
        if matches!(name, "td" | "th") {
            if row.cells > 0 {
                self.inline.truncate(self.inline.trim_end().len());
                self.inline.push_str(" | ");
            }
            row.cells += 1;
            row.headers += usize::from(name == "th");
        } else if name == "br" || is_block(name) {
            push_collapsed(&mut self.inline, " ");
        }
    }

    fn close(&mut self, element: &Element) -> Result<(), Refusal> {
        let name = element.name();
        if let Some(row) = &self.row {
            if name == "tr" || name == "table" {
                let header = row.headers == row.cells && row.cells > 0;
                let kind = if header {
                    BlockKind::TableHeader
                } else {
                    BlockKind::TableRow
                };
                let blank = !self.inline.chars().any(char::is_alphanumeric);
                let line = std::mem::take(&mut self.inline);
                self.row = None;
                if !blank {
                    self.assembler.push(kind, composed(line.trim()).as_ref())?;
                }
            } else if is_block(name) {
                push_collapsed(&mut self.inline, " ");
            }
            if name != "table" {
                return Ok(());
            }
        }
        if !is_block(name) {
            return Ok(());
        }
        self.flush()?;
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading = None,
            "blockquote" => self.quotes = self.quotes.saturating_sub(1),
            "pre" => self.preformatted = false,
            "ul" | "ol" | "menu" | "dir" => {
                self.lists.pop();
                self.marker.clear();
            }
            "li" => self.marker.clear(),
            "table" => {
                self.tables.pop();
            }
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        let inline = std::mem::take(&mut self.inline);
        if inline.trim().is_empty() {
            return Ok(());
        }
        let text = composed(&inline);
        if self.preformatted {
            return self.assembler.push(BlockKind::Code, &text);
        }
        let kind = match self.heading {
            Some(level) => BlockKind::Heading(level),
            None if !self.lists.is_empty() => BlockKind::ListItem,
            None if self.quotes > 0 => BlockKind::Quote,
            None => BlockKind::Paragraph,
        };
        let marker = match kind {
            BlockKind::ListItem => std::mem::take(&mut self.marker),
            _ => String::new(),
        };
        let lines: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let separator = if matches!(kind, BlockKind::Heading(_)) {
            " "
        } else {
            "\n"
        };
        self.assembler
            .push(kind, &format!("{marker}{}", lines.join(separator)))
    }
}

/// Whether a table's rows are data. Tables that contain tables or headings lay out the page.
fn holds_data(element: &Element, table: ElementRef<'_>) -> bool {
    let role = element.attr("role").unwrap_or_default();
    role != "presentation"
        && role != "none"
        && !table.descendent_elements().skip(1).any(|inner| {
            matches!(
                inner.value().name(),
                "table" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6"
            )
        })
}

/// What a reader of the page doesn't see, or doesn't read.
fn is_noise(element: &Element) -> bool {
    const CLASSES: &[&str] = &[
        "navheader",
        "navfooter",
        "headerlink",
        "sphinxsidebar",
        "sidebar",
        "breadcrumb",
        "breadcrumbs",
        "mw-editsection",
        "noprint",
        "skip-link",
        "sr-only",
        "visually-hidden",
    ];
    let attr = |name: &str| element.attr(name).unwrap_or_default();
    matches!(
        element.name(),
        "script"
            | "style"
            | "noscript"
            | "template"
            | "head"
            | "nav"
            | "footer"
            | "svg"
            | "iframe"
            | "object"
            | "embed"
            | "canvas"
            | "audio"
            | "video"
            | "button"
            | "select"
            | "input"
            | "textarea"
            | "datalist"
            | "map"
            | "dialog"
    ) || element.attr("hidden").is_some()
        || attr("aria-hidden") == "true"
        || matches!(
            attr("role"),
            "navigation" | "banner" | "contentinfo" | "search" | "menu"
        )
        || element.classes().any(|class| CLASSES.contains(&class))
        || (element.attr("style").is_some()
            && attr("style")
                .replace(' ', "")
                .to_ascii_lowercase()
                .contains("display:none"))
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "dd"
            | "details"
            | "dir"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hgroup"
            | "hr"
            | "html"
            | "legend"
            | "li"
            | "main"
            | "menu"
            | "ol"
            | "p"
            | "pre"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "td"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "ul"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(source: &str) -> Vec<(BlockKind, String)> {
        let extracted = extract(source.as_bytes(), &Bounds::default()).unwrap();
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

    #[test]
    fn reads_the_content_and_not_the_frame() {
        let source = "<!doctype html><html lang=hr><head><title>Vodič – Portal</title><style>p{}</style></head><body>\
            <nav><a href=/>Početna</a></nav><script>var x = '<p>ne';</script>\
            <main><h1>Vodič<a class=headerlink>¶</a></h1><p>Prvi\n  odlomak<br>drugi red.</p>\
            <ol start=3><li>tri<ul><li>pod</li></ul></li><li><p>četiri</p></li></ol>\
            <pre>fn main() {\n  x\n}</pre>\
            <table><tr><th>Ime</th><th>Broj</th></tr><tr><td><p>Ana</p></td><td>5</td></tr></table>\
            <blockquote><p>citat</p></blockquote><p hidden>skriveno</p><p style='display: none'>i ovo</p></main>\
            <footer>© 2026</footer></body></html>";
        let expected = [
            (BlockKind::Heading(1), "Vodič"),
            (BlockKind::Paragraph, "Prvi odlomak\ndrugi red."),
            (BlockKind::ListItem, "3. tri"),
            (BlockKind::ListItem, "  - pod"),
            (BlockKind::ListItem, "4. četiri"),
            (BlockKind::Code, "fn main() {\n  x\n}"),
            (BlockKind::TableHeader, "Ime | Broj"),
            (BlockKind::TableRow, "Ana | 5"),
            (BlockKind::Quote, "citat"),
        ];
        assert_eq!(
            blocks(source),
            expected.map(|(kind, text)| (kind, text.to_owned()))
        );
        let extracted = extract(source.as_bytes(), &Bounds::default()).unwrap();
        assert_eq!(extracted.title.as_deref(), Some("Vodič – Portal"));
        assert_eq!(extracted.language_hint.as_deref(), Some("hr"));
    }

    #[test]
    fn layout_tables_are_not_rows() {
        let source = "<table><tr><td><h2>Naslov</h2><p>Odlomak</p></td></tr></table>";
        assert_eq!(
            blocks(source),
            [
                (BlockKind::Heading(2), "Naslov".to_owned()),
                (BlockKind::Paragraph, "Odlomak".to_owned()),
            ]
        );
    }

    #[test]
    fn the_declared_encoding_counts() {
        let source = "<html><head><meta charset=\"windows-1250\"></head><p>Žalba u roku</p>";
        let (bytes, _, _) = encoding_rs::WINDOWS_1250.encode(source);
        assert_eq!(
            extract(&bytes, &Bounds::default()).unwrap().text,
            "Žalba u roku"
        );
    }

    #[test]
    fn a_deep_page_does_not_overflow_the_stack() {
        let source = format!(
            "{}duboko{}",
            "<div>".repeat(50_000),
            "</div>".repeat(50_000)
        );
        assert_eq!(
            extract(source.as_bytes(), &Bounds::default()).unwrap().text,
            "duboko"
        );
    }

    #[test]
    fn a_page_of_nothing_but_scripts_has_no_text() {
        let extracted = extract(
            b"<html><script>app()</script><div id=root></div>",
            &Bounds::default(),
        );
        assert_eq!(extracted.unwrap().text, "");
    }
}
