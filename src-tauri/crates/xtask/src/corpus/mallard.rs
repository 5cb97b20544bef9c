//! Mallard (the XML of GNOME's help pages) to plain HTML: headings, paragraphs, lists, tables.
//!
//! Pictures, credits and comments are left out. As in the help viewer, a link without text shows the
//! title of the page it leads to, and a page ends with the titles of the topics that belong to it,
//! which is all that some pages hold.

use std::fmt::Write;

use anyhow::{Context, Result};
use roxmltree::{Document, Node, ParsingOptions};

/// What a page's neighbours need to know of it.
pub struct Entry {
    pub id: String,
    pub title: String,
    /// Ids of the pages that list it.
    guides: Vec<String>,
    /// Ids of the pages that it lists by its own will.
    topics: Vec<String>,
}

impl Entry {
    pub fn parse(id: String, xml: &str) -> Result<Self> {
        let document = parse(xml)?;
        let page = document.root_element();
        let links = |kind: &str| {
            child(page, "info")
                .into_iter()
                .flat_map(|info| info.children())
                .filter(|node| {
                    node.has_tag_name_local("link") && node.attribute("type") == Some(kind)
                })
                .map(|link| target(link).to_owned())
                .collect()
        };
        Ok(Self {
            id,
            title: page_title(page)?,
            guides: links("guide"),
            topics: links("topic"),
        })
    }

    fn lists(&self, other: &Self) -> bool {
        other.guides.contains(&self.id) || self.topics.contains(&other.id)
    }
}

/// A converted page.
pub struct Page {
    pub title: String,
    /// The one-sentence description that the help viewer shows beside links to the page.
    pub description: String,
    /// HTML of everything below the title.
    body: String,
}

impl Page {
    /// `entries` are all pages of the book, this one among them.
    pub fn parse(id: &str, xml: &str, entries: &[Entry]) -> Result<Self> {
        let document = parse(xml)?;
        let page = document.root_element();
        let description = child(page, "info")
            .and_then(|info| child(info, "desc"))
            .map(|desc| {
                Inline {
                    entries,
                    html: false,
                }
                .text(desc)
            })
            .unwrap_or_default();
        let title = page_title(page)?;
        let mut body = String::new();
        Blocks {
            entries,
            out: &mut body,
        }
        .children(page, 1);
        let itself = entries.iter().find(|entry| entry.id == id);
        let listed: Vec<&Entry> = entries
            .iter()
            .filter(|entry| itself.is_some_and(|itself| itself.lists(entry)))
            .collect();
        if !listed.is_empty() {
            body.push_str("<ul>\n");
            for entry in listed {
                let _ = writeln!(body, "<li>{}</li>", escape(&entry.title));
            }
            body.push_str("</ul>\n");
        }
        Ok(Self {
            title,
            description,
            body,
        })
    }

    /// The page as its reader sees it.
    pub fn html(&self, language: &str) -> String {
        let mut body = format!("<h1>{}</h1>\n", escape(&self.title));
        if !self.description.is_empty() {
            let _ = writeln!(body, "<p>{}</p>", escape(&self.description));
        }
        body.push_str(&self.body);
        self.document(language, &body)
    }

    /// The page without its description, and its title only where a document has its title, not in
    /// the text: what a description is searched in.
    pub fn html_without_description(&self, language: &str) -> String {
        self.document(language, &self.body)
    }

    fn document(&self, language: &str, body: &str) -> String {
        format!(
            "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <title>{}</title>\n</head>\n<body>\n{body}</body>\n</html>\n",
            escape(&self.title)
        )
    }
}

fn parse(xml: &str) -> Result<Document<'_>> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(xml, options).context("not well-formed XML")
}

fn page_title(page: Node<'_, '_>) -> Result<String> {
    let title = child(page, "title").context("the page has no title")?;
    Ok(Inline {
        entries: &[],
        html: false,
    }
    .text(title))
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name_local(name))
}

/// Pages use several namespaces for the same names; the local name says enough.
trait LocalName {
    fn has_tag_name_local(&self, name: &str) -> bool;
}

impl LocalName for Node<'_, '_> {
    fn has_tag_name_local(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

struct Blocks<'a> {
    entries: &'a [Entry],
    out: &'a mut String,
}

impl Blocks<'_> {
    /// `depth` is the level of the heading above.
    fn children(&mut self, node: Node<'_, '_>, depth: usize) {
        for child in node.children().filter(Node::is_element) {
            self.block(child, depth);
        }
    }

    fn block(&mut self, node: Node<'_, '_>, depth: usize) {
        match node.tag_name().name() {
            "p" => self.element("p", node),
            "section" => {
                if let Some(title) = child(node, "title") {
                    self.element(&format!("h{}", (depth + 1).min(6)), title);
                }
                self.children(node, depth + 1);
            }
            "list" => self.list("ul", node, depth),
            "steps" => self.list("ol", node, depth),
            "terms" => self.terms(node, depth),
            "table" => self.table(node),
            "code" | "screen" | "listing" | "synopsis" => self.preformatted(node),
            "choose" => self.choice(node, depth),
            "note" | "example" | "quote" | "figure" | "div" | "if" | "tree" => {
                // Their titles are part of the text, one level below what they stand in.
                if let Some(title) = child(node, "title") {
                    self.element("p", title);
                }
                self.children(node, depth);
            }
            // The page's own title, credits and links, pictures, remarks between authors.
            _ => {}
        }
    }

    fn element(&mut self, tag: &str, node: Node<'_, '_>) {
        let text = self.inline(node);
        if !text.is_empty() {
            let _ = writeln!(self.out, "<{tag}>{text}</{tag}>");
        }
    }

    fn list(&mut self, tag: &str, node: Node<'_, '_>, depth: usize) {
        if let Some(title) = child(node, "title") {
            self.element("p", title);
        }
        let _ = writeln!(self.out, "<{tag}>");
        for item in node
            .children()
            .filter(|child| child.has_tag_name_local("item"))
        {
            self.item("li", item, depth);
        }
        let _ = writeln!(self.out, "</{tag}>");
    }

    fn terms(&mut self, node: Node<'_, '_>, depth: usize) {
        if let Some(title) = child(node, "title") {
            self.element("p", title);
        }
        self.out.push_str("<dl>\n");
        for item in node
            .children()
            .filter(|child| child.has_tag_name_local("item"))
        {
            for title in item
                .children()
                .filter(|child| child.has_tag_name_local("title"))
            {
                self.element("dt", title);
            }
            self.item("dd", item, depth);
        }
        self.out.push_str("</dl>\n");
    }

    /// An item with one paragraph holds the text itself.
    fn item(&mut self, tag: &str, item: Node<'_, '_>, depth: usize) {
        let mut blocks = item
            .children()
            .filter(|child| child.is_element() && !child.has_tag_name_local("title"));
        match (blocks.next(), blocks.next()) {
            (Some(only), None) if only.has_tag_name_local("p") => self.element(tag, only),
            (None, _) => self.element(tag, item),
            _ => {
                let _ = writeln!(self.out, "<{tag}>");
                self.children(item, depth);
                let _ = writeln!(self.out, "</{tag}>");
            }
        }
    }

    fn table(&mut self, node: Node<'_, '_>) {
        if let Some(title) = child(node, "title") {
            self.element("p", title);
        }
        self.out.push_str("<table>\n");
        for row in node
            .descendants()
            .filter(|node| node.has_tag_name_local("tr"))
        {
            self.out.push_str("<tr>");
            for cell in row.children().filter(Node::is_element) {
                let tag = if cell.has_tag_name_local("th") {
                    "th"
                } else {
                    "td"
                };
                let text = self.inline(cell);
                let _ = write!(self.out, "<{tag}>{text}</{tag}>");
            }
            self.out.push_str("</tr>\n");
        }
        self.out.push_str("</table>\n");
    }

    fn preformatted(&mut self, node: Node<'_, '_>) {
        let text: String = node
            .descendants()
            .filter_map(|node| plain_text(&node))
            .collect();
        let _ = writeln!(self.out, "<pre>{}</pre>", escape(text.trim_matches('\n')));
    }

    /// The viewer shows the first alternative that fits; all are written for one release or
    /// another, so the first one serves.
    fn choice(&mut self, node: Node<'_, '_>, depth: usize) {
        if let Some(first) = node.children().find(Node::is_element) {
            self.children(first, depth);
        }
    }

    fn inline(&self, node: Node<'_, '_>) -> String {
        Inline {
            entries: self.entries,
            html: true,
        }
        .text(node)
    }
}

struct Inline<'a> {
    entries: &'a [Entry],
    /// Escaped for HTML.
    html: bool,
}

impl Inline<'_> {
    /// The text below a node, with its white space folded.
    fn text(&self, node: Node<'_, '_>) -> String {
        let mut text = String::new();
        self.collect(node, &mut text);
        let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.html { escape(&folded) } else { folded }
    }

    fn collect(&self, node: Node<'_, '_>, text: &mut String) {
        for child in node.children() {
            if let Some(plain) = plain_text(&child) {
                text.push_str(plain);
                continue;
            }
            if !child.is_element() {
                continue;
            }
            match child.tag_name().name() {
                "guiseq" => self.sequence(child, " ▸ ", text),
                "keyseq" => self.sequence(child, "+", text),
                "link" if !has_text(child) => {
                    let target = target(child);
                    if let Some(entry) = self.entries.iter().find(|entry| entry.id == target) {
                        text.push_str(&entry.title);
                    }
                }
                "choose" => {
                    if let Some(first) = child.children().find(Node::is_element) {
                        self.collect(first, text);
                    }
                }
                "comment" | "cite" | "desc" => {}
                // Blocks inside a table's cell or an item are words apart.
                "p" | "item" | "list" | "steps" | "note" => {
                    text.push(' ');
                    self.collect(child, text);
                    text.push(' ');
                }
                _ => self.collect(child, text),
            }
        }
    }

    fn sequence(&self, node: Node<'_, '_>, separator: &str, text: &mut String) {
        for (n, part) in node.children().filter(Node::is_element).enumerate() {
            if n > 0 {
                text.push_str(separator);
            }
            self.collect(part, text);
        }
    }
}

/// The page that a link leads to.
fn target<'a>(link: Node<'a, '_>) -> &'a str {
    let target = link.attribute("xref").unwrap_or_default();
    target.split('#').next().unwrap_or_default()
}

fn plain_text<'a>(node: &Node<'a, '_>) -> Option<&'a str> {
    if node.is_text() { node.text() } else { None }
}

fn has_text(node: Node<'_, '_>) -> bool {
    node.descendants()
        .filter_map(|node| plain_text(&node))
        .any(|text| !text.trim().is_empty())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<page xmlns="http://projectmallard.org/1.0/" xmlns:if="http://projectmallard.org/if/1.0/"
      id="net-vpn" xml:lang="hr">
  <info>
    <link type="guide" xref="net"/>
    <credit type="author"><name>Netko</name></credit>
    <desc>Spajanje na <em>VPN</em>.</desc>
  </info>
  <title>Povezivanje s VPN-om</title>
  <comment><cite>author</cite><p>Remark.</p></comment>
  <p>Pritisnite <keyseq><key>Ctrl</key><key>C</key></keyseq> &amp; čekajte;
     v. <link xref="net-wireless"/> i <link xref="x">ovo</link>.</p>
  <note><title>Pazite</title><p>Važno &lt;je&gt;.</p></note>
  <steps>
    <item><p>Otvorite <gui>Mreža</gui>.</p></item>
    <item><p>Prvo.</p><p>Drugo.</p></item>
  </steps>
  <terms><item><title>VPN</title><p>Mreža.</p></item></terms>
  <table><tr><td><p>a</p></td><td><p>b</p></td></tr></table>
  <screen>$ <input>nmcli
  con</input></screen>
  <if:choose><if:when test="a"><p>Novo.</p></if:when><if:else><p>Staro.</p></if:else></if:choose>
  <media type="image" src="x.png"><p>Slika</p></media>
  <section id="s"><title>Dalje</title><p>Tekst.</p>
    <section id="t"><title>Dublje</title><p>Kraj.</p></section></section>
</page>"#;

    #[test]
    fn a_page_becomes_the_html_its_reader_would_see() {
        let wireless = "<page><info><link type='guide' xref='net-vpn#s'/></info>\
                        <title>Bežične mreže</title></page>";
        let entries = [
            Entry::parse("net-vpn".into(), PAGE).unwrap(),
            Entry::parse("net-wireless".into(), wireless).unwrap(),
        ];
        let page = Page::parse("net-vpn", PAGE, &entries).unwrap();
        assert_eq!(page.title, "Povezivanje s VPN-om");
        assert_eq!(page.description, "Spajanje na VPN.");
        assert_eq!(
            page.html("hr"),
            "<!doctype html>\n<html lang=\"hr\">\n<head>\n<meta charset=\"utf-8\">\n\
             <title>Povezivanje s VPN-om</title>\n</head>\n<body>\n\
             <h1>Povezivanje s VPN-om</h1>\n\
             <p>Spajanje na VPN.</p>\n\
             <p>Pritisnite Ctrl+C &amp; čekajte; v. Bežične mreže i ovo.</p>\n\
             <p>Pazite</p>\n<p>Važno &lt;je&gt;.</p>\n\
             <ol>\n<li>Otvorite Mreža.</li>\n<li>\n<p>Prvo.</p>\n<p>Drugo.</p>\n</li>\n</ol>\n\
             <dl>\n<dt>VPN</dt>\n<dd>Mreža.</dd>\n</dl>\n\
             <table>\n<tr><td>a</td><td>b</td></tr>\n</table>\n\
             <pre>$ nmcli\n  con</pre>\n\
             <p>Novo.</p>\n\
             <h2>Dalje</h2>\n<p>Tekst.</p>\n<h3>Dublje</h3>\n<p>Kraj.</p>\n\
             <ul>\n<li>Bežične mreže</li>\n</ul>\n\
             </body>\n</html>\n"
        );
    }

    #[test]
    fn the_known_item_page_gives_nothing_of_its_question_away() {
        let page = Page::parse("net-vpn", PAGE, &[]).unwrap();
        let html = page.html_without_description("hr");
        let (head, body) = html.split_once("<body>").unwrap();
        assert!(head.contains("<title>Povezivanje s VPN-om</title>"));
        assert!(!body.contains("Povezivanje s VPN-om"));
        assert!(!html.contains(&page.description));
        assert!(body.contains("Pritisnite"));
    }
}
