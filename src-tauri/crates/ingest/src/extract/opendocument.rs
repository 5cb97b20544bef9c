//! What OpenDocument texts and spreadsheets have in common: the package around them.

use quick_xml::events::BytesStart;

use super::Bounds;
use super::archive::{Archive, Source};
use super::xml::{Part, attribute};
use crate::refusal::Refusal;

/// The part with the content, in every kind of OpenDocument file.
pub const CONTENT: &str = "content.xml";
/// The part with title and language.
pub const META: &str = "meta.xml";

/// Opens a document of a kind (`text`, `spreadsheet`), as its media type names it; `expected` names
/// it for the user.
pub fn open<'a>(
    source: &'a mut dyn Source,
    bounds: &Bounds,
    kind: &str,
    expected: &str,
) -> Result<Archive<'a>, Refusal> {
    let mut archive = Archive::open(source, bounds)?;
    let media_type = archive.bytes("mimetype")?.unwrap_or_default();
    let media_type = String::from_utf8_lossy(&media_type);
    let is_other = media_type
        .trim()
        .strip_prefix("application/vnd.oasis.opendocument.")
        .is_some_and(|found| !found.starts_with(kind));
    let mut manifest = Manifest::default();
    archive.read("META-INF/manifest.xml", &mut manifest)?;
    if manifest.encrypted {
        return Err(Refusal::PasswordProtected);
    }
    if is_other || !archive.has(CONTENT) {
        return Err(archive.mistaken(expected));
    }
    Ok(archive)
}

#[derive(Default)]
struct Manifest {
    encrypted: bool,
}

impl Part for Manifest {
    fn open(&mut self, name: &str, _: &BytesStart<'_>) -> Result<(), Refusal> {
        self.encrypted |= name == "encryption-data";
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

/// What stands in the content without being part of its text: remarks, deletions, generated
/// indexes, sources of data.
pub fn is_left_out(name: &str) -> bool {
    matches!(
        name,
        "annotation"
            | "tracked-changes"
            | "forms"
            | "table-of-content"
            | "illustration-index"
            | "table-index"
            | "object-index"
            | "user-index"
            | "alphabetical-index"
            | "sequence-decls"
            | "ruby-text"
            | "shapes"
            | "event-listeners"
            | "desc"
    )
}

/// The character that an element inside a paragraph stands for.
pub fn push_special(text: &mut String, name: &str, element: &BytesStart<'_>) {
    match name {
        "s" => {
            // A bound, because the number of spaces is the file's to choose.
            let count = attribute(element, "c").and_then(|count| count.parse().ok());
            text.extend(std::iter::repeat_n(' ', count.unwrap_or(1).min(100)));
        }
        "tab" => text.push('\t'),
        "line-break" => text.push('\n'),
        _ => {}
    }
}
