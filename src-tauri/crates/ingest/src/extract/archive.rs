//! Documents that are zip archives of XML parts: opened and unpacked with everything bounded.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use quick_xml::events::BytesStart;
use zip::ZipArchive;
use zip::result::ZipError;

use super::Bounds;
use super::xml::{Outcome, Part, attribute, events};
use crate::characters::title;
use crate::refusal::Refusal;

/// A file, or what a file holds in another.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// Parts that give away what an archive is.
const KNOWN_PARTS: &[(&str, &str)] = &[
    ("word/document.xml", "holds a Word document"),
    ("xl/workbook.xml", "holds an Excel workbook"),
    ("xl/workbook.bin", "holds a binary Excel workbook"),
    ("ppt/presentation.xml", "holds a PowerPoint presentation"),
    ("META-INF/container.xml", "holds a book (EPUB)"),
    ("content.xml", "holds an OpenDocument file"),
];

/// What the parts of a document refer to, links included.
const MAX_RELATIONS: usize = 300_000;

pub struct Archive<'a> {
    entries: ZipArchive<BufReader<&'a mut dyn Source>>,
    /// Where parts are, by their names in lower case with slashes; made when a name is spelled
    /// otherwise than in what refers to it.
    spellings: OnceCell<HashMap<String, usize>>,
    /// What is left of the bound on unpacked bytes, for all parts together.
    left: Rc<Cell<u64>>,
    max: u64,
}

impl<'a> Archive<'a> {
    pub fn open(source: &'a mut dyn Source, bounds: &Bounds) -> Result<Self, Refusal> {
        if claimed_entries(source)? > bounds.zip_entries as u64 {
            return Err(Refusal::TooManyParts {
                max: bounds.zip_entries as u64,
            });
        }
        let entries = ZipArchive::new(BufReader::new(source)).map_err(zip_refusal)?;
        if entries.len() > bounds.zip_entries {
            return Err(Refusal::TooManyParts {
                max: bounds.zip_entries as u64,
            });
        }
        Ok(Self {
            entries,
            spellings: OnceCell::new(),
            left: Rc::new(Cell::new(bounds.unpacked_bytes)),
            max: bounds.unpacked_bytes,
        })
    }

    pub fn has(&self, part: &str) -> bool {
        self.index(part).is_some()
    }

    /// Where a part is. Names differ in their capitals and slashes from what refers to them where a
    /// program was careless, and office suites don't mind.
    fn index(&self, part: &str) -> Option<usize> {
        /// Longer names are found as they are spelled, or not.
        const LONGEST: usize = 1_000;
        self.entries.index_for_name(part).or_else(|| {
            let spellings = self.spellings.get_or_init(|| {
                let mut spellings = HashMap::new();
                for (index, name) in self.entries.file_names().enumerate() {
                    if let Ok(name) = name
                        && name.len() <= LONGEST
                    {
                        let name = name.to_ascii_lowercase().replace('\\', "/");
                        spellings.entry(name).or_insert(index);
                    }
                }
                spellings
            });
            spellings.get(&part.to_ascii_lowercase()).copied()
        })
    }

    /// The part that a package names as its document. Nearly always the usual one.
    pub fn main_part(&mut self, usual: &str) -> Result<Option<String>, Refusal> {
        if self.has(usual) {
            return Ok(Some(usual.to_owned()));
        }
        if KNOWN_PARTS.iter().any(|(part, _)| self.has(part)) {
            return Ok(None);
        }
        let relations = self.relations("")?;
        Ok(relations
            .of_kind("officeDocument")
            .next()
            .map(str::to_owned)
            .filter(|target| self.has(target)))
    }

    /// Says what the archive is, which is not what its name says.
    pub fn mistaken(&self, expected: &str) -> Refusal {
        let what = KNOWN_PARTS
            .iter()
            .find(|(part, what)| self.has(part) && !what.ends_with(expected))
            .map_or_else(
                || format!("holds no {expected}"),
                |(_, what)| (*what).to_owned(),
            );
        Refusal::WrongContent {
            message: format!("The file's name does not fit: it is a zip archive that {what}."),
        }
    }

    /// Feeds a part's events to its reader.
    pub fn read(&mut self, name: &str, part: &mut impl Part) -> Result<Outcome, Refusal> {
        let outcome = self.unpack(name, |unpacked| {
            events(BufReader::with_capacity(64 * 1024, unpacked), part)
        })?;
        Ok(outcome.unwrap_or(Outcome::Missing))
    }

    /// A part whole; `None` if there is none of that name.
    pub fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        self.unpack(name, |unpacked| {
            let mut bytes = Vec::new();
            match unpacked.read_to_end(&mut bytes) {
                Ok(_) => Ok(bytes),
                Err(error) => Err(Refusal::damaged(error.to_string())),
            }
        })
    }

    /// The first `max` bytes of a part. They don't count towards the bound on unpacked bytes, which
    /// is for text: pictures may be many times larger.
    pub fn head(&mut self, name: &str, max: u64) -> Option<Vec<u8>> {
        let index = self.index(name)?;
        let entry = self.entries.by_index(index).ok()?;
        let mut bytes = Vec::new();
        entry.take(max).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn unpack<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        let left = Rc::clone(&self.left);
        let Some(index) = self.index(name) else {
            return Ok(None);
        };
        let entry = self.entries.by_index(index).map_err(zip_refusal)?;
        let packed = entry.compressed_size();
        let exhausted = Rc::new(Cell::new(false));
        let mut unpacked = Unpacked {
            entry,
            left,
            bytes: 0,
            packed,
            exhausted: Rc::clone(&exhausted),
        };
        let result = read(&mut unpacked);
        if exhausted.get() {
            return Err(Refusal::UnpacksTooBig {
                max_bytes: self.max,
            });
        }
        result.map(Some)
    }

    /// What a part of an Office document refers to; the package itself is the part without a name.
    pub fn relations(&mut self, part: &str) -> Result<Relations, Refusal> {
        let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
        let separator = if folder.is_empty() { "" } else { "/" };
        let mut relations = Relations::default();
        self.read(
            &format!("{folder}{separator}_rels/{name}.rels"),
            &mut relations,
        )?;
        for (_, target) in relations.by_id.values_mut() {
            *target = resolve(folder, target);
        }
        Ok(relations)
    }

    /// Title and language from a part that holds Dublin Core elements.
    pub fn properties(&mut self, name: &str) -> Result<Properties, Refusal> {
        let mut properties = Properties::default();
        self.read(name, &mut properties)?;
        properties.title = properties.title.as_deref().and_then(title);
        Ok(properties)
    }
}

/// The name of a part that another in `folder` refers to.
pub fn resolve(folder: &str, target: &str) -> String {
    let mut steps: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => folder.split('/').filter(|step| !step.is_empty()).collect(),
    };
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// The number of entries that the end of the archive claims, read before the archive is, because
/// its table of contents is held in memory whole.
fn claimed_entries(source: &mut dyn Source) -> Result<u64, Refusal> {
    const RECORD: usize = 22;
    const LONGEST_COMMENT: u64 = 65_535;
    let end = source.seek(SeekFrom::End(0))?;
    let from = end.saturating_sub(LONGEST_COMMENT + RECORD as u64);
    source.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    (&mut *source).take(end - from).read_to_end(&mut tail)?;
    source.seek(SeekFrom::Start(0))?;
    let record = tail
        .windows(RECORD)
        .rev()
        .find(|window| window.starts_with(b"PK\x05\x06"))
        .ok_or_else(|| Refusal::damaged("the end of the file is missing"))?;
    // 65535 says that the true number stands elsewhere, and that it is no smaller.
    Ok(u64::from(u16::from_le_bytes([record[10], record[11]])))
}

fn zip_refusal(error: ZipError) -> Refusal {
    match error {
        ZipError::Io(error) => error.into(),
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => Refusal::PasswordProtected,
        other => Refusal::damaged(other.to_string()),
    }
}

/// Unpacked bytes, counted as they come: what the archive claims of its sizes is not believed.
struct Unpacked<R> {
    entry: R,
    left: Rc<Cell<u64>>,
    bytes: u64,
    packed: u64,
    exhausted: Rc<Cell<bool>>,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // XML of documents packs ten to thirty times; a hundred times, and a lot of it, is a bomb.
        const SUSPICIOUS_RATIO: u64 = 100;
        const SUSPICIOUS_BYTES: u64 = 32 << 20;
        let count = self.entry.read(buffer)?;
        self.bytes += count as u64;
        let left = self.left.get();
        let bomb =
            self.bytes > SUSPICIOUS_BYTES && self.bytes / SUSPICIOUS_RATIO > self.packed.max(1);
        if count as u64 > left || bomb {
            self.exhausted.set(true);
            return Err(std::io::Error::other("unpacks to too much"));
        }
        self.left.set(left - count as u64);
        Ok(count)
    }
}

/// What a part of an Office document refers to.
#[derive(Default)]
pub struct Relations {
    /// Ids in the order of the file.
    ids: Vec<String>,
    /// Id to kind and target. The kind is the last piece of its URI: the dialects of Office differ
    /// in the rest.
    by_id: HashMap<String, (String, String)>,
}

impl Relations {
    pub fn target(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(|(_, target)| target.as_str())
    }

    /// Targets of a kind, in the order of the file.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.entries_of_kind(kind).map(|(_, target)| target)
    }

    /// Ids and targets of a kind, in the order of the file.
    pub fn entries_of_kind(&self, kind: &str) -> impl Iterator<Item = (&str, &str)> {
        self.ids.iter().filter_map(move |id| {
            let (known, target) = self.by_id.get(id)?;
            (known == kind).then_some((id.as_str(), target.as_str()))
        })
    }
}

impl Part for Relations {
    fn open(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), Refusal> {
        if name == "Relationship" {
            if self.ids.len() >= MAX_RELATIONS {
                return Err(Refusal::TooManyParts {
                    max: MAX_RELATIONS as u64,
                });
            }
            let get = |name| attribute(element, name).unwrap_or_default();
            let id = get("Id");
            if !self.by_id.contains_key(&id) {
                let kind = get("Type");
                let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                self.by_id.insert(id.clone(), (kind, get("Target")));
                self.ids.push(id);
            }
        }
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), Refusal> {
        Ok(())
    }

    fn text(&mut self, _: &str) {}
}

/// What a document says of itself; the first of each.
#[derive(Default)]
pub struct Properties {
    pub title: Option<String>,
    pub language: Option<String>,
    within: Option<&'static str>,
}

impl Part for Properties {
    fn open(&mut self, name: &str, _: &BytesStart<'_>) -> Result<(), Refusal> {
        self.within = match name {
            "title" if self.title.is_none() => Some("title"),
            "language" if self.language.is_none() => Some("language"),
            _ => None,
        };
        Ok(())
    }

    fn close(&mut self, _: &str) -> Result<(), Refusal> {
        self.within = None;
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let slot = match self.within {
            Some("title") => &mut self.title,
            Some(_) => &mut self.language,
            None => return,
        };
        slot.get_or_insert_default().push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_like_links() {
        assert_eq!(
            resolve("xl", "worksheets/sheet1.xml"),
            "xl/worksheets/sheet1.xml"
        );
        assert_eq!(
            resolve("ppt/slides", "../notesSlides/n1.xml"),
            "ppt/notesSlides/n1.xml"
        );
        assert_eq!(
            resolve("xl", "/xl/sharedStrings.xml"),
            "xl/sharedStrings.xml"
        );
        assert_eq!(resolve("", "../../etc/passwd"), "etc/passwd");
    }
}
