//! Books (EPUB): the chapters in their order of reading, each an XHTML page.

use std::collections::{HashMap, HashSet};

use percent_encoding::percent_decode_str;
use quick_xml::events::BytesStart;

use super::archive::{Archive, Source, resolve};
use super::xml::{Part, attribute};
use super::{Bounds, html};
use crate::characters::title;
use crate::extracted::{Assembler, Extracted, Warning};
use crate::refusal::Refusal;

const CONTAINER: &str = "META-INF/container.xml";

pub fn extract(source: &mut dyn Source, bounds: &Bounds) -> Result<Extracted, Refusal> {
    let mut archive = Archive::open(source, bounds)?;
    let mut container = Container::default();
    archive.read(CONTAINER, &mut container)?;
    let main = container
        .package
        .filter(|package| archive.has(package))
        .ok_or_else(|| archive.mistaken("book (EPUB)"))?;
    let mut package = Package::default();
    archive.read(&main, &mut package)?;
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    // Those that are no pages, or are nowhere, stay in the count.
    let chapters: Vec<Option<String>> = package
        .spine
        .iter()
        .filter_map(|id| match package.items.get(id) {
            Some(Item::Contents) => None,
            Some(Item::Page { href }) => {
                let path = href.split('#').next().unwrap_or_default();
                let path = percent_decode_str(path).decode_utf8_lossy();
                Some(Some(resolve(folder, &path)))
            }
            Some(Item::Other) | None => Some(None),
        })
        .collect();
    if chapters.is_empty() {
        return Err(Refusal::damaged("the list of its chapters is missing"));
    }
    // Fonts are often encrypted in books that anyone may read; text is not.
    let mut encryption = Encryption::default();
    archive.read("META-INF/encryption.xml", &mut encryption)?;
    let is_locked = |part: &String| encryption.parts.contains(part);
    if chapters.iter().flatten().any(is_locked) {
        return Err(Refusal::WrongContent {
            message: "The book is locked (DRM): only its shop's own program opens it.".to_owned(),
        });
    }

    let mut assembler = Assembler::new(bounds.max_chars);
    let mut unreadable = 0_usize;
    let mut warnings = Vec::new();
    for chapter in &chapters {
        let Some(chapter) = chapter else {
            unreadable += 1;
            continue;
        };
        match archive.bytes(chapter) {
            Ok(Some(bytes)) if bytes.len() as u64 <= bounds.html_bytes => {
                let before = assembler.chars();
                match html::extract_chapter(&bytes, &mut assembler) {
                    Ok(_) if assembler.chars() == before && seems_to_hold_text(&bytes) => {
                        unreadable += 1;
                    }
                    Ok(page) => warnings.extend(page.warnings),
                    Err(Refusal::Binary) => unreadable += 1,
                    Err(refusal) => return Err(refusal),
                }
            }
            Ok(_) | Err(Refusal::Damaged { .. }) => unreadable += 1,
            Err(refusal) => return Err(refusal),
        }
    }
    let mut extracted = assembler.finish();
    if unreadable == chapters.len() {
        return Err(Refusal::damaged("none of its chapters can be read"));
    }
    if unreadable > 0 {
        warnings.push(Warning::PartLeftOut {
            part: format!("{unreadable} of {} chapters", chapters.len()),
        });
    }
    warnings.dedup();
    extracted.warnings = warnings;
    extracted.title = package.title.as_deref().and_then(title);
    extracted.language_hint = package.language;
    Ok(extracted)
}

/// Whether there is much between the tags of a page's body. Covers and pages of pictures have next
/// to nothing there.
fn seems_to_hold_text(bytes: &[u8]) -> bool {
    const LEAST: usize = 300;
    let body = bytes
        .windows(5)
        .position(|window| window.eq_ignore_ascii_case(b"<body"))
        .unwrap_or(0);
    let mut within_tag = false;
    let shown = bytes[body..].iter().filter(|byte| match byte {
        b'<' | b'>' => {
            within_tag = **byte == b'<';
            false
        }
        byte => !within_tag && !byte.is_ascii_whitespace(),
    });
    shown.count() >= LEAST
}

/// Says where the package is.
#[derive(Default)]
struct Container {
    package: Option<String>,
}

impl Part for Container {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        if name == "rootfile" && self.package.is_none() {
            self.package = attribute(element, "full-path");
        }
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

#[derive(Default)]
struct Package {
    title: Option<String>,
    language: Option<String>,
    /// By their ids.
    items: HashMap<String, Item>,
    spine: Vec<String>,
    within: Option<Field>,
}

/// What a part of the book is.
enum Item {
    Page {
        href: String,
    },
    /// The table of contents that programs show.
    Contents,
    Other,
}

#[derive(Clone, Copy)]
enum Field {
    Title,
    Language,
}

impl Part for Package {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        self.within = match name {
            "title" if self.title.is_none() => Some(Field::Title),
            "language" if self.language.is_none() => Some(Field::Language),
            _ => None,
        };
        match name {
            "item" => {
                let kind = attribute(element, "media-type").unwrap_or_default();
                let properties = attribute(element, "properties").unwrap_or_default();
                let is_contents = properties
                    .split_whitespace()
                    .any(|property| property == "nav");
                // The books of twenty years ago have a type of their own for the same pages.
                let is_page = kind.contains("html") || kind == "text/x-oeb1-document";
                if let Some(id) = attribute(element, "id") {
                    let item = match attribute(element, "href") {
                        _ if is_contents => Item::Contents,
                        Some(href) if is_page => Item::Page { href },
                        _ => Item::Other,
                    };
                    self.items.insert(id, item);
                }
            }
            "itemref" => self.spine.extend(attribute(element, "idref")),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), Refusal> {
        self.within = None;
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let slot = match self.within {
            Some(Field::Title) => &mut self.title,
            Some(Field::Language) => &mut self.language,
            None => return,
        };
        slot.get_or_insert_default().push_str(text);
    }
}

/// Names what is encrypted in a book.
#[derive(Default)]
struct Encryption {
    parts: HashSet<String>,
}

impl Part for Encryption {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        if name == "CipherReference"
            && let Some(part) = attribute(element, "URI")
        {
            let part = percent_decode_str(&part).decode_utf8_lossy();
            self.parts.insert(resolve("", &part));
        }
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}
