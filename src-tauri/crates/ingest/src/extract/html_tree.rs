//! A page's tree, of bounded depth.
//!
//! The parser looks through all elements that are open for nearly every tag, so that a million nested
//! ones take it hours. Past a depth that no page has, start tags are left out, and their content stands
//! where they would have stood; Chromium does so too. It also holds every attribute of a tag against
//! those before it, so that tags have no more of them than pages have.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts, TreeSink};
use html5ever::{Attribute, LocalName, QualName, TokenizerResult, local_name, ns};
use scraper::{Html, HtmlTreeSink};

/// Chromium's.
const DEEPEST: u32 = 512;

/// Attributes of one tag: a page's have some dozens.
const MOST_ATTRIBUTES: usize = 500;

/// What never has content, and is whole without an end tag in HTML too.
const VOID: &[LocalName] = &[
    local_name!("area"),
    local_name!("base"),
    local_name!("br"),
    local_name!("col"),
    local_name!("embed"),
    local_name!("hr"),
    local_name!("img"),
    local_name!("input"),
    local_name!("link"),
    local_name!("meta"),
    local_name!("param"),
    local_name!("source"),
    local_name!("track"),
    local_name!("wbr"),
];

/// What has no content, what the next of its kind closes, and what holds nothing but text: none of it
/// nests without others in between.
const SHALLOW: &[LocalName] = &[
    local_name!("a"),
    local_name!("area"),
    local_name!("base"),
    local_name!("body"),
    local_name!("br"),
    local_name!("col"),
    local_name!("colgroup"),
    local_name!("dd"),
    local_name!("dt"),
    local_name!("embed"),
    local_name!("head"),
    local_name!("hr"),
    local_name!("html"),
    local_name!("iframe"),
    local_name!("img"),
    local_name!("input"),
    local_name!("li"),
    local_name!("link"),
    local_name!("meta"),
    local_name!("noembed"),
    local_name!("noframes"),
    local_name!("noscript"),
    local_name!("optgroup"),
    local_name!("option"),
    local_name!("p"),
    local_name!("param"),
    local_name!("plaintext"),
    local_name!("script"),
    local_name!("source"),
    local_name!("style"),
    local_name!("tbody"),
    local_name!("td"),
    local_name!("textarea"),
    local_name!("tfoot"),
    local_name!("th"),
    local_name!("thead"),
    local_name!("title"),
    local_name!("tr"),
    local_name!("track"),
    local_name!("wbr"),
    local_name!("xmp"),
];

/// A page. In XHTML, which pages also say themselves that they are, `<script src="x"/>` is whole; in
/// HTML it is only begun, and swallows the page.
pub fn document(source: &str, is_xhtml: bool) -> Html {
    let sink = HtmlTreeSink::new(Html::new_document());
    let builder = TreeBuilder::new(sink, TreeBuilderOpts::default());
    let is_xhtml = is_xhtml || source.trim_start().starts_with("<?xml");
    parse(source, builder, TokenizerOpts::default(), is_xhtml)
}

/// A piece of a page's body.
pub fn fragment(source: &str) -> Html {
    let sink = HtmlTreeSink::new(Html::new_fragment());
    let body = QualName::new(None, ns!(html), local_name!("body"));
    let body = html5ever::tree_builder::create_element(&sink, body, Vec::new());
    let builder = TreeBuilder::new_for_fragment(sink, body, None, TreeBuilderOpts::default());
    let options = TokenizerOpts {
        initial_state: Some(builder.tokenizer_state_for_context_elem(false)),
        ..TokenizerOpts::default()
    };
    parse(source, builder, options, false)
}

type Builder = TreeBuilder<<HtmlTreeSink as TreeSink>::Handle, HtmlTreeSink>;

fn parse(source: &str, builder: Builder, options: TokenizerOpts, is_xhtml: bool) -> Html {
    let bounded = Bounded {
        builder,
        is_xhtml: Cell::new(is_xhtml),
        open: RefCell::default(),
        depth: Cell::new(0),
    };
    let tokenizer = Tokenizer::new(bounded, options);
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(&with_few_attributes(source)));
    // It stops at scripts, for somebody to run them, and where an encoding is named.
    while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
    tokenizer.end();
    tokenizer.sink.builder.sink.finish()
}

/// The page without those attributes that stand after the first [`MOST_ATTRIBUTES`] of their tag.
fn with_few_attributes(source: &str) -> Cow<'_, str> {
    let mut shorter = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(start) = source[at..].find('<') {
        let tag = Attributes {
            source: source.as_bytes(),
            at: at + start + 1,
        };
        let (cut, end) = tag.extent();
        if let Some(cut) = cut {
            shorter.push_str(&source[copied..cut]);
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(source);
    }
    shorter.push_str(&source[copied..]);
    Cow::Owned(shorter)
}

/// Reads a tag's attributes as the tokenizer does. Every place where it stops is beside an ASCII
/// character.
struct Attributes<'a> {
    source: &'a [u8],
    at: usize,
}

impl Attributes<'_> {
    /// Where the tag has enough attributes, if it has too many, and where it ends.
    fn extent(mut self) -> (Option<usize>, usize) {
        if self.peek() == Some(b'/') {
            self.at += 1;
        }
        if !self.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return (None, self.at);
        }
        self.skip(|byte| !matches!(byte, b'/' | b'>') && !byte.is_ascii_whitespace());
        let mut count = 0;
        let mut cut = None;
        loop {
            self.skip(|byte| byte == b'/' || byte.is_ascii_whitespace());
            if matches!(self.peek(), None | Some(b'>')) {
                return (cut, self.at);
            }
            if count == MOST_ATTRIBUTES {
                cut = Some(self.at);
            }
            count += 1;
            // A name may begin with an equals sign.
            self.at += 1;
            self.skip(|byte| !matches!(byte, b'/' | b'>' | b'=') && !byte.is_ascii_whitespace());
            self.skip(|byte| byte.is_ascii_whitespace());
            if self.peek() != Some(b'=') {
                continue;
            }
            self.at += 1;
            self.skip(|byte| byte.is_ascii_whitespace());
            match self.peek() {
                Some(quote @ (b'"' | b'\'')) => {
                    self.at += 1;
                    self.skip(|byte| byte != quote);
                    self.at = self.source.len().min(self.at + 1);
                }
                _ => self.skip(|byte| byte != b'>' && !byte.is_ascii_whitespace()),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skipped) {
            self.at += 1;
        }
    }
}

/// Lets as many elements be open as [`DEEPEST`] says.
struct Bounded {
    builder: Builder,
    is_xhtml: Cell<bool>,
    /// By name, so that end tags without a beginning count for nothing.
    open: RefCell<HashMap<LocalName, u32>>,
    depth: Cell<u32>,
}

impl Bounded {
    fn is_too_deep(&self, tag: &Tag) -> bool {
        if SHALLOW.contains(&tag.name) {
            return false;
        }
        let mut open = self.open.borrow_mut();
        let depth = self.depth.get();
        match tag.kind {
            TagKind::StartTag => {
                let is_closed = tag.self_closing
                    && self
                        .builder
                        .adjusted_current_node_present_but_not_in_html_namespace();
                if is_closed {
                    return false;
                }
                if depth >= DEEPEST {
                    return true;
                }
                *open.entry(tag.name.clone()).or_default() += 1;
                self.depth.set(depth + 1);
            }
            TagKind::EndTag => {
                if let Some(count) = open.get_mut(&tag.name).filter(|count| **count > 0) {
                    *count -= 1;
                    self.depth.set(depth - 1);
                }
            }
        }
        false
    }

    /// Whether a start tag is an element in itself, though HTML has it wait for its end.
    fn is_whole(&self, tag: &Tag) -> bool {
        if tag.kind != TagKind::StartTag {
            return false;
        }
        if tag.name == local_name!("html") {
            let says_so = |attribute: &Attribute| {
                attribute.name.local == local_name!("xmlns") && *attribute.value == *ns!(html)
            };
            self.is_xhtml
                .set(self.is_xhtml.get() || tag.attrs.iter().any(says_so));
        }
        tag.self_closing
            && self.is_xhtml.get()
            && !VOID.contains(&tag.name)
            && !self
                .builder
                .adjusted_current_node_present_but_not_in_html_namespace()
    }
}

impl TokenSink for Bounded {
    type Handle = <HtmlTreeSink as TreeSink>::Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Self::Handle> {
        match &token {
            Token::TagToken(tag) if self.is_too_deep(tag) => TokenSinkResult::Continue,
            Token::TagToken(tag) if self.is_whole(tag) => {
                let end = Tag {
                    kind: TagKind::EndTag,
                    self_closing: false,
                    attrs: Vec::new(),
                    ..tag.clone()
                };
                // What the start tag asks for, such as taking what follows as a script, is over with
                // the end tag.
                let _ = self.builder.process_token(token, line);
                self.process_token(Token::TagToken(end), line)
            }
            _ => self.builder.process_token(token, line),
        }
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder
            .adjusted_current_node_present_but_not_in_html_namespace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_as_the_parser_makes_them_up_to_the_bound() {
        let page = "<title>T</title><ol><li>a<li>b</ol><svg><path/></svg><p>c<table><tr><td>d</table>\
                    <script>'<b>'</script>e</i>";
        assert_eq!(document(page, false), Html::parse_document(page));
        assert_eq!(fragment(page), Html::parse_fragment(page));
        let flat = "<p><a id=x /><b>a</b><li>b".repeat(2000);
        assert_eq!(document(&flat, false), Html::parse_document(&flat));
    }

    #[test]
    fn what_is_too_deep_stands_where_it_can() {
        for nested in [
            "<div>",
            "<b>",
            "<ol><li>",
            "<table><tr><td>",
            "<svg>",
            "<div></p></i>",
        ] {
            let page = document(&format!("{}end", nested.repeat(20_000)), false);
            let deepest = page.tree.nodes().map(|node| node.ancestors().count()).max();
            assert!(deepest < Some(2100), "{nested}: {deepest:?}");
            assert!(
                page.root_element().text().any(|text| text == "end"),
                "{nested}"
            );
        }
    }

    #[test]
    fn elements_of_xhtml_end_where_they_say() {
        let page = "<html xmlns='http://www.w3.org/1999/xhtml'><head><title/><script src='x'/></head>\
                    <body><h1/><p>a<br/><a id='x'/></p><svg><title/><p>in</p></svg><table><tr><td/><td>b</td></tr></table>\
                    <script>'<title/>'</script><p>c</p></body></html>";
        let written_out = page
            .replace(
                "<title/><script src='x'/>",
                "<title></title><script src='x'></script>",
            )
            .replace("<h1/>", "<h1></h1>")
            .replace("<a id='x'/>", "<a id='x'></a>")
            .replace("<td/>", "<td></td>");
        assert_eq!(document(page, false), Html::parse_document(&written_out));
        let bare = page.replace(" xmlns='http://www.w3.org/1999/xhtml'", "");
        let written_out = written_out.replace(" xmlns='http://www.w3.org/1999/xhtml'", "");
        assert_eq!(document(&bare, true), Html::parse_document(&written_out));
        assert_eq!(document(&bare, false), Html::parse_document(&bare), "HTML");
    }

    #[test]
    fn attributes_are_bounded_and_their_values_are_whole() {
        let page = "<p a='>' b=\"<i x='\" c = d/e disabled=><b><a / href=č>č</a ž><!-- <x y=' -->'";
        assert!(matches!(with_few_attributes(page), Cow::Borrowed(_)));
        let many = (0..MOST_ATTRIBUTES).fold(String::new(), |all, number| {
            all + &format!(" a{number}='>{number}'")
        });
        assert_eq!(
            with_few_attributes(&format!("<p><i{many} b=c d='>' />č</i{many}/e f><b")),
            format!("<p><i{many} >č</i{many}/><b")
        );
        assert_eq!(
            with_few_attributes(&format!("<p{many} b='č")),
            format!("<p{many} ")
        );
    }
}
