//! Web pages: the main content as a reader sees it, without scripts, navigation and hidden parts.
//!
//! The tree is walked without recursion, because its depth is the page's to choose.

use encoding_rs::Encoding;
use scraper::node::Element;
use scraper::{ElementRef, Html, Node, Selector};

use super::{Bounds, html_tree, text};
use crate::characters::{composed, is_invisible, push_collapsed, title};
use crate::extracted::{Assembler, BlockKind, Extracted, Warning};
use crate::refusal::Refusal;

pub fn extract(bytes: &[u8], bounds: &Bounds) -> Result<Extracted, Refusal> {
    let mut assembler = Assembler::new(bounds.max_chars);
    let page = extract_page(bytes, &mut assembler, false)?;
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

/// Adds what a chapter of a book shows. It is XHTML, whether or not it says so.
pub fn extract_chapter(bytes: &[u8], assembler: &mut Assembler) -> Result<Page, Refusal> {
    extract_page(bytes, assembler, true)
}

fn extract_page(bytes: &[u8], assembler: &mut Assembler, is_xhtml: bool) -> Result<Page, Refusal> {
    let decoded = text::decode(bytes.to_vec(), declared_encoding(bytes))?;
    let page = read(&decoded.text, assembler, is_xhtml)?;
    Ok(Page {
        warnings: decoded.warnings,
        ..page
    })
}

/// Adds what a page shows that is decoded already.
pub fn extract_source(source: &str, assembler: &mut Assembler) -> Result<Page, Refusal> {
    read(source, assembler, false)
}

fn read(source: &str, assembler: &mut Assembler, is_xhtml: bool) -> Result<Page, Refusal> {
    let page = html_tree::document(source, is_xhtml);
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

/// Adds what a piece of HTML inside another format shows.
pub fn extract_fragment(source: &str, assembler: &mut Assembler) -> Result<(), Refusal> {
    let fragment = html_tree::fragment(source);
    Walker::new(assembler).walk(fragment.root_element())
}

fn first<'a>(page: &'a Html, selector: &'static str) -> Option<ElementRef<'a>> {
    let selector = Selector::parse(selector).expect("BUG: a constant selector");
    page.select(&selector).next()
}

/// `charset=` in the first kilobyte, which is where browsers look for it, or XML's own declaration.
fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    const LOOK_AT: usize = 1024;
    let head = &bytes[..bytes.len().min(LOOK_AT)];
    text::encoding_after(head, "charset=").or_else(|| text::declared_in_xml(bytes))
}

/// The element that the page itself marks as its content, if that holds a good part of its text: of
/// `article`, which a page may also have for a piece of its content, next to all but the frame.
fn main_content(page: &Html) -> ElementRef<'_> {
    let root = page.root_element();
    let all = shown_length(root);
    [("main", 0.25), ("[role=main]", 0.25), ("article", 0.8)]
        .into_iter()
        .find_map(|(selector, least_share)| {
            let parsed = Selector::parse(selector).expect("BUG: a constant selector");
            let mut found = page.select(&parsed);
            let only = found.next()?;
            let is_content =
                found.next().is_none() && shown_length(only) as f64 >= all as f64 * least_share;
            is_content.then_some(only)
        })
        .unwrap_or(root)
}

/// How much text an element shows, without what frames it.
fn shown_length(root: ElementRef<'_>) -> usize {
    let root = *root;
    let mut node = root;
    let mut length = 0;
    loop {
        let descend = match node.value() {
            Node::Text(text) => {
                length += text.trim().len();
                false
            }
            Node::Element(element) => {
                let is_frame = matches!(element.name(), "aside" | "header") || is_noise(element);
                node == root || !is_frame
            }
            Node::Document | Node::Fragment => true,
            Node::Comment(_) | Node::Doctype(_) | Node::ProcessingInstruction(_) => false,
        };
        if descend && let Some(child) = node.first_child() {
            node = child;
            continue;
        }
        loop {
            if node == root {
                return length;
            }
            if let Some(next) = node.next_sibling() {
                node = next;
                break;
            }
            let Some(parent) = node.parent() else {
                return length;
            };
            node = parent;
        }
    }
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
    /// Open tables; `None` for those that lay out the page rather than hold data.
    tables: Vec<Option<Table>>,
    row: Option<Row>,
}

/// A table that is open.
#[derive(Default)]
struct Table {
    /// Into how many more rows the cells above reach down, by their columns.
    below: Vec<u32>,
}

/// A table row that is open; everything in it becomes one line.
#[derive(Default)]
struct Row {
    cells: usize,
    headers: usize,
    /// Columns so far, those taken by cells that span several or come from above among them.
    columns: usize,
    /// Further columns that the cell takes which was begun last.
    spanned: usize,
}

/// Empty cells are written for no column after this one: no page has a wider table.
const MOST_COLUMNS: usize = 64;

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
            self.open_in_row(element);
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
            "table" => self.tables.push(
                node.filter(|table| holds_data(element, *table))
                    .map(|_| Table::default()),
            ),
            "thead" | "tbody" | "tfoot" => {
                // Cells do not reach beyond their part of the table.
                if let Some(Some(table)) = self.tables.last_mut() {
                    table.below.clear();
                }
            }
            "tr" if matches!(self.tables.last(), Some(Some(_))) => {
                self.row = Some(Row::default());
            }
            _ => {}
        }
        Ok(())
    }

    fn open_in_row(&mut self, element: &Element) {
        let Some(row) = &mut self.row else { return };
        let name = element.name();
        if matches!(name, "td" | "th") {
            let span = |name: &str| {
                let span = element.attr(name).and_then(|span| span.trim().parse().ok());
                span.unwrap_or(1_usize)
            };
            let Some(Some(table)) = self.tables.last_mut() else {
                return;
            };
            let mut begin = |row: &mut Row| {
                if row.columns > 0 {
                    self.inline.truncate(self.inline.trim_end().len());
                    self.inline.push_str(" | ");
                }
                row.columns += 1;
            };
            for _ in 0..std::mem::take(&mut row.spanned) {
                begin(row);
            }
            while let Some(rows) = table.below.get_mut(row.columns).filter(|rows| **rows > 0) {
                *rows -= 1;
                begin(row);
            }
            let first = row.columns;
            begin(row);
            row.cells += 1;
            row.headers += usize::from(name == "th");
            let end = (first.saturating_add(span("colspan"))).min(MOST_COLUMNS);
            row.spanned = end.saturating_sub(row.columns);
            // A span of no rows reaches down to the last one.
            let rows = match span("rowspan") {
                0 => u32::MAX,
                rows => u32::try_from(rows - 1).unwrap_or(u32::MAX),
            };
            if rows > 0 && first < MOST_COLUMNS {
                let end = end.max(first + 1);
                table.below.resize(table.below.len().max(end), 0);
                table.below[first..end].fill(rows);
            }
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
                let columns = row.columns + row.spanned;
                // Cells from above that stand after this row's last one.
                if let Some(Some(table)) = self.tables.last_mut() {
                    for rows in table.below.iter_mut().skip(columns) {
                        *rows = rows.saturating_sub(1);
                    }
                }
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

/// Whether a table's rows are data. Tables that contain tables or headings, or have one column, lay
/// out the page.
fn holds_data(element: &Element, table: ElementRef<'_>) -> bool {
    let role = element.attr("role").unwrap_or_default();
    if role == "presentation" || role == "none" {
        return false;
    }
    let mut has_columns = false;
    let mut cells = 0;
    for inner in table.descendent_elements().skip(1) {
        match inner.value().name() {
            "table" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => return false,
            "tr" => cells = 0,
            "td" | "th" => {
                cells += 1;
                has_columns |= cells > 1;
            }
            _ => {}
        }
    }
    has_columns
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
    fn a_table_of_one_column_frames_what_is_in_it() {
        let source = "<table><tr><td><p>Poštovani,</p><p>u privitku.</p></td></tr>\
                      <tr><td><ul><li>jedan</ul></td></tr></table>";
        assert_eq!(
            blocks(source),
            [
                (BlockKind::Paragraph, "Poštovani,".to_owned()),
                (BlockKind::Paragraph, "u privitku.".to_owned()),
                (BlockKind::ListItem, "- jedan".to_owned()),
            ]
        );
    }

    #[test]
    fn cells_that_span_others_leave_their_columns_where_they_are() {
        let source = "<table><thead><tr><th rowspan=2>Grad<th colspan=2>Iznos<th rowspan=0>Rok\
                      <tr><th>neto<th>bruto\
                      <tbody><tr><td rowspan=3 colspan=2>Zagreb<td>1<td>2<tr><td>3<tr><td>4<td>5\
                      <tr><td>Split<td rowspan=2>6<td>7<td rowspan=2>8<tr><td>Osijek<td>9</table>";
        let rows: Vec<_> = blocks(source).into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            rows,
            [
                "Grad | Iznos | | Rok",
                "| neto | bruto",
                "Zagreb | | 1 | 2",
                "| | 3",
                "| | 4 | 5",
                "Split | 6 | 7 | 8",
                "Osijek | | 9",
            ]
        );
        let wide = "<table><tr><td colspan=65534 rowspan=65534>a<td>b<tr><td>c<td>d</table>";
        let rows = blocks(wide);
        assert_eq!(rows[0].1.matches('|').count(), MOST_COLUMNS);
        assert_eq!(rows[1].1.matches('|').count(), MOST_COLUMNS + 1);
    }

    #[test]
    fn an_article_that_is_a_piece_of_the_page_does_not_hide_the_rest() {
        let piece = "<p>Uvod u pravilnik o radu.</p><article><p>Prvi članak.</p></article><p>Otkazni rok.</p>";
        assert_eq!(
            extract(piece.as_bytes(), &Bounds::default()).unwrap().text,
            "Uvod u pravilnik o radu.\n\nPrvi članak.\n\nOtkazni rok."
        );
        let frame = "<header>Portal</header><nav>Sport, vrijeme, horoskop i još mnogo toga</nav>\
                     <script>var dugacko = 'i dulje od clanka samoga';</script>\
                     <article><p>Prvi članak.</p></article><aside>Pročitajte i ovo</aside>";
        assert_eq!(
            extract(frame.as_bytes(), &Bounds::default()).unwrap().text,
            "Prvi članak."
        );
    }

    #[test]
    fn xhtml_is_read_as_what_it_says_it_is() {
        let head = "<head><title/><script src=\"x.js\"/></head>";
        let page = format!(
            "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\">{head}<body><p>Tekst.</p></body></html>"
        );
        let read = |page: &str| extract(page.as_bytes(), &Bounds::default()).unwrap().text;
        assert_eq!(read(&page), "Tekst.");
        let declared =
            format!("<?xml version='1.0' encoding='windows-1250'?><html>{head}<p>Žuto</p></html>");
        assert_eq!(read(&declared), "Žuto", "it is UTF-8 all the same");
        let (bytes, _, _) = encoding_rs::WINDOWS_1250.encode(&declared);
        let extracted = extract(&bytes, &Bounds::default()).unwrap();
        assert_eq!(
            (extracted.text.as_str(), extracted.warnings.len()),
            ("Žuto", 0)
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
