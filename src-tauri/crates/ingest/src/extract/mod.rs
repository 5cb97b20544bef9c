//! One extractor per format. They run in the worker process, on files that nobody has vouched for:
//! every size is bounded, and what is damaged gives a reason, never a panic that anyone relies on.
//!
//! To add a format: a variant of `Format` (the database and the API list them too), its extensions
//! in `format.rs`, a module here, and an arm in `extract_source`. What several formats share stands
//! in `archive` and `xml` (packages of XML), `compound` (old Office files), `table` (rows of cells)
//! and `text` (decoding).

mod archive;
mod compound;
mod csv;
mod docx;
mod email;
mod embedded;
mod epub;
mod html;
mod html_tree;
mod json;
mod margin;
mod markdown;
mod mime;
mod number_format;
mod numbering;
pub(crate) mod ocr;
mod ods;
mod odt;
mod opendocument;
pub(crate) mod pdf;
mod pdf_layout;
pub(crate) mod pdfium;
mod picture;
mod pptx;
mod rst;
mod scans;
mod table;
mod text;
mod xls;
mod xlsx;
mod xml;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use docent_domain::{Format, Progress};
use serde::{Deserialize, Serialize};

use self::archive::Source;
use crate::extracted::{Extracted, Warning};
use crate::refusal::Refusal;
use crate::source::{self, FileStamp};

/// What a document may cost. The worker's memory limit stands behind these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Files of plain text (Markdown and CSV are), which are read into memory.
    pub text_bytes: u64,
    /// Web pages: their tree takes some twenty times their size.
    pub html_bytes: u64,
    /// PDFs. They are read in place; the bound keeps out disk images with the wrong name.
    pub pdf_bytes: u64,
    /// Pictures. They are read in place, too.
    pub picture_bytes: u64,
    /// Pixels of one picture: a telephone's have 50 million at most.
    pub picture_pixels: u64,
    /// Messages with their attachments.
    pub email_bytes: u64,
    /// Zip-based documents, packed.
    pub packed_bytes: u64,
    /// What all parts of one zip-based document may unpack to together, counted as it is unpacked.
    pub unpacked_bytes: u64,
    pub zip_entries: usize,
    /// Cells of a spreadsheet that hold something.
    pub cells: u64,
    /// Extracted text.
    pub max_chars: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            text_bytes: 64 * MIB,
            html_bytes: 16 * MIB,
            pdf_bytes: 2048 * MIB,
            picture_bytes: 1024 * MIB,
            picture_pixels: 50_000_000,
            email_bytes: 128 * MIB,
            packed_bytes: 256 * MIB,
            unpacked_bytes: 128 * MIB,
            zip_entries: 10_000,
            cells: 10_000_000,
            max_chars: 64 * MIB,
        }
    }
}

impl Bounds {
    const fn file_bytes(&self, format: Format) -> u64 {
        match format {
            Format::Text
            | Format::Markdown
            | Format::Csv
            | Format::Rst
            | Format::Json
            | Format::Code => self.text_bytes,
            Format::Html => self.html_bytes,
            Format::Email => self.email_bytes,
            Format::Docx
            | Format::Xlsx
            | Format::Xls
            | Format::Ods
            | Format::Pptx
            | Format::Odt
            | Format::Epub => self.packed_bytes,
            Format::Pdf => self.pdf_bytes,
            Format::Picture => self.picture_bytes,
        }
    }

    /// Refuses a file that is bigger than those of its format may be.
    pub fn check_size(&self, format: Format, bytes: u64) -> Result<(), Refusal> {
        let max_bytes = self.file_bytes(format);
        if bytes > max_bytes {
            return Err(Refusal::FileTooBig {
                format: name_of(format).to_owned(),
                bytes,
                max_bytes,
            });
        }
        Ok(())
    }
}

/// What an extractor is given besides the file.
pub(crate) struct Context<'a> {
    pub bounds: Bounds,
    /// The folder that holds PDFium's library.
    pub pdfium_dir: Option<&'a Path>,
    /// `None` leaves scanned pages as they are.
    pub recognition: Option<&'a ocr::Recognition>,
    pub progress: &'a dyn Fn(Progress),
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Reads a file in this process. The application goes through [`crate::Extractor`] instead, so that
/// what a file does to its reader stays in the worker.
pub fn extract_here(
    path: &Path,
    format: Format,
    bounds: Bounds,
    pdfium_dir: Option<&Path>,
) -> Result<Extracted, Refusal> {
    let context = Context {
        bounds,
        pdfium_dir,
        recognition: None,
        progress: &|_| {},
        cancelled: &|| false,
    };
    extract(path, format, &context)
}

pub(crate) fn extract(
    path: &Path,
    format: Format,
    context: &Context<'_>,
) -> Result<Extracted, Refusal> {
    let (mut file, metadata) = source::open(path)?;
    if metadata.len() == 0 {
        return Err(Refusal::Empty);
    }
    let bounds = &context.bounds;
    bounds.check_size(format, metadata.len())?;
    let extracted = match format {
        Format::Pdf => pdf::extract(&mut file, path, context),
        _ => extract_source(&mut file, format, context),
    };
    // A file that changed under the reader looks damaged; the change is the true reason.
    let unchanged = file
        .metadata()
        .is_ok_and(|now| FileStamp::from_metadata(&now) == FileStamp::from_metadata(&metadata));
    if !unchanged {
        return Err(Refusal::Changed);
    }
    let mut extracted = with_text(extracted?)?;
    if is_doubly_encoded(&extracted.text) {
        extracted.warnings.push(Warning::DoublyEncoded);
    }
    Ok(extracted)
}

/// Whether most letters beyond ASCII look like UTF-8 that was taken for Windows-1252: a letter of
/// those that begin such a sequence, then a character that stands for one of its further bytes.
fn is_doubly_encoded(text: &str) -> bool {
    /// What Windows-1252 has at 0x80 to 0x9F.
    const UPPER: &str = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ";
    const FEWEST: usize = 3;
    let mut beyond_ascii = 0;
    let mut pairs = 0;
    let mut before = ' ';
    for char in text.chars() {
        if char.is_ascii() {
            before = char;
            continue;
        }
        beyond_ascii += 1;
        let begins = matches!(before, 'Ã' | 'Ä' | 'Å' | 'Â' | 'Æ' | 'â');
        if begins && (matches!(char, '\u{80}'..='\u{BF}') || UPPER.contains(char)) {
            pairs += 1;
            before = ' ';
        } else {
            before = char;
        }
    }
    pairs >= FEWEST && pairs * 2 * 10 >= beyond_ascii * 7
}

/// Reads what another file holds.
fn extract_bytes(
    bytes: Vec<u8>,
    format: Format,
    context: &Context<'_>,
) -> Result<Extracted, Refusal> {
    context.bounds.check_size(format, bytes.len() as u64)?;
    with_text(match format {
        Format::Pdf => pdf::extract_bytes(&bytes, context),
        _ => extract_source(&mut Cursor::new(bytes), format, context),
    }?)
}

fn extract_source(
    source: &mut dyn Source,
    format: Format,
    context: &Context<'_>,
) -> Result<Extracted, Refusal> {
    let bounds = &context.bounds;
    let max_bytes = bounds.file_bytes(format);
    let whole = |source: &mut dyn Source| source::read_whole(source, max_bytes);
    match format {
        Format::Text => text::extract(whole(source)?, bounds),
        Format::Markdown => markdown::extract(whole(source)?, bounds),
        Format::Html => html::extract(&whole(source)?, bounds),
        Format::Rst => rst::extract(whole(source)?, bounds),
        Format::Json => json::extract(whole(source)?, bounds),
        Format::Code => text::extract_code(whole(source)?, bounds),
        Format::Csv => csv::extract(whole(source)?, bounds),
        Format::Email => email::extract(&whole(source)?, context),
        Format::Docx | Format::Xlsx | Format::Pptx if compound::is_compound(source)? => {
            Err(compound::refusal(source))
        }
        Format::Docx => docx::extract(source, context),
        Format::Xlsx => xlsx::extract(source, bounds),
        Format::Xls => xls::extract(source, bounds),
        Format::Ods => ods::extract(source, bounds),
        Format::Pptx => pptx::extract(source, context),
        Format::Odt => odt::extract(source, bounds),
        Format::Epub => epub::extract(source, bounds),
        Format::Pdf => pdf::extract_bytes(&whole(source)?, context),
        Format::Picture => picture::extract(source, context),
    }
}

fn with_text(extracted: Extracted) -> Result<Extracted, Refusal> {
    if extracted.text.trim().is_empty() {
        return Err(Refusal::NoText);
    }
    Ok(extracted)
}

const fn name_of(format: Format) -> &'static str {
    match format {
        Format::Text => "text",
        Format::Markdown => "Markdown",
        Format::Html => "HTML",
        Format::Pdf => "PDF",
        Format::Docx => "Word",
        Format::Xlsx | Format::Xls => "Excel",
        Format::Ods | Format::Odt => "OpenDocument",
        Format::Csv => "CSV",
        Format::Email => "mail",
        Format::Pptx => "PowerPoint",
        Format::Epub => "EPUB",
        Format::Rst => "reStructuredText",
        Format::Json => "JSON",
        Format::Code => "source code",
        Format::Picture => "picture",
    }
}

fn replaced_characters(count: u64) -> Option<Warning> {
    (count > 0).then_some(Warning::ReplacedCharacters { count })
}

/// A path under which the very file that is open can be opened again, even when its name has been
/// taken over by another file meanwhile.
#[cfg(target_os = "linux")]
fn reopenable(file: &std::fs::File, _: &Path) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn reopenable(_: &std::fs::File, path: &Path) -> PathBuf {
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_was_encoded_twice_is_told_from_text_in_many_languages() {
        let croatian = "Županijski sud u Čakovcu odlučio je: žalba se odbija, đak šuti.";
        let (twice, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(croatian.as_bytes());
        assert!(is_doubly_encoded(&twice), "{twice}");
        for text in [
            croatian,
            "SÃO PAULO, ÂMBAR, MANHÃ",
            "Ærlig talt: på Åland äro vi många.",
            "plain",
            "€ 5–10 “quoted” … â€",
        ] {
            assert!(!is_doubly_encoded(text), "{text}");
        }
    }
}
