//! A page's tree, of bounded depth.
//!
//! The parser looks through all elements that are open for nearly every tag, so that a million nested
//! ones take it hours. Past a depth that no page has, start tags are left out, and their content stands
//! where they would have stood; Chromium does so too.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts, TreeSink};
use html5ever::{LocalName, QualName, TokenizerResult, local_name, ns};
use scraper::{Html, HtmlTreeSink};

/// Chromium's.
const DEEPEST: u32 = 512;

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

pub fn document(source: &str) -> Html {
    let sink = HtmlTreeSink::new(Html::new_document());
    let builder = TreeBuilder::new(sink, TreeBuilderOpts::default());
    parse(source, builder, TokenizerOpts::default())
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
    parse(source, builder, options)
}

type Builder = TreeBuilder<<HtmlTreeSink as TreeSink>::Handle, HtmlTreeSink>;

fn parse(source: &str, builder: Builder, options: TokenizerOpts) -> Html {
    let bounded = Bounded {
        builder,
        open: RefCell::default(),
        depth: Cell::new(0),
    };
    let tokenizer = Tokenizer::new(bounded, options);
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(source));
    // It stops at scripts, for somebody to run them, and where an encoding is named.
    while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
    tokenizer.end();
    tokenizer.sink.builder.sink.finish()
}

/// Lets as many elements be open as [`DEEPEST`] says.
struct Bounded {
    builder: Builder,
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
}

impl TokenSink for Bounded {
    type Handle = <HtmlTreeSink as TreeSink>::Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Self::Handle> {
        match &token {
            Token::TagToken(tag) if self.is_too_deep(tag) => TokenSinkResult::Continue,
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
        assert_eq!(document(page), Html::parse_document(page));
        assert_eq!(fragment(page), Html::parse_fragment(page));
        let flat = "<p><a id=x /><b>a</b><li>b".repeat(2000);
        assert_eq!(document(&flat), Html::parse_document(&flat));
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
            let page = document(&format!("{}end", nested.repeat(20_000)));
            let deepest = page.tree.nodes().map(|node| node.ancestors().count()).max();
            assert!(deepest < Some(2100), "{nested}: {deepest:?}");
            assert!(
                page.root_element().text().any(|text| text == "end"),
                "{nested}"
            );
        }
    }
}
