//! What a file is, by its name and by its first bytes. Both must agree.

use std::path::Path;

use docent_domain::Format;

/// How much of a file's beginning [`detect_format`] wants to see.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Extensions that are read, in lower case.
pub const SUPPORTED_EXTENSIONS: &[(&str, Format)] = &[
    ("txt", Format::Text),
    ("text", Format::Text),
    ("tex", Format::Text),
    ("adoc", Format::Text),
    ("org", Format::Text),
    ("md", Format::Markdown),
    ("markdown", Format::Markdown),
    ("mdown", Format::Markdown),
    ("mkd", Format::Markdown),
    ("html", Format::Html),
    ("htm", Format::Html),
    ("xhtml", Format::Html),
    ("pdf", Format::Pdf),
    ("docx", Format::Docx),
    ("docm", Format::Docx),
    ("dotx", Format::Docx),
    ("xlsx", Format::Xlsx),
    ("xlsm", Format::Xlsx),
    ("ods", Format::Ods),
    ("csv", Format::Csv),
    ("tsv", Format::Csv),
    ("tab", Format::Csv),
    ("eml", Format::Email),
    ("pptx", Format::Pptx),
    ("pptm", Format::Pptx),
    ("ppsx", Format::Pptx),
    ("odt", Format::Odt),
    ("epub", Format::Epub),
    ("rst", Format::Rst),
    ("rest", Format::Rst),
    ("json", Format::Json),
    ("jsonl", Format::Json),
    ("ndjson", Format::Json),
    ("geojson", Format::Json),
    ("rs", Format::Code),
    ("py", Format::Code),
    ("pyi", Format::Code),
    ("ipy", Format::Code),
    ("js", Format::Code),
    ("mjs", Format::Code),
    ("cjs", Format::Code),
    ("jsx", Format::Code),
    ("ts", Format::Code),
    ("tsx", Format::Code),
    ("vue", Format::Code),
    ("svelte", Format::Code),
    ("java", Format::Code),
    ("kt", Format::Code),
    ("kts", Format::Code),
    ("scala", Format::Code),
    ("groovy", Format::Code),
    ("gradle", Format::Code),
    ("c", Format::Code),
    ("h", Format::Code),
    ("cc", Format::Code),
    ("cpp", Format::Code),
    ("cxx", Format::Code),
    ("hh", Format::Code),
    ("hpp", Format::Code),
    ("hxx", Format::Code),
    ("cs", Format::Code),
    ("fs", Format::Code),
    ("vb", Format::Code),
    ("go", Format::Code),
    ("rb", Format::Code),
    ("php", Format::Code),
    ("pl", Format::Code),
    ("pm", Format::Code),
    ("lua", Format::Code),
    ("r", Format::Code),
    ("jl", Format::Code),
    ("m", Format::Code),
    ("swift", Format::Code),
    ("dart", Format::Code),
    ("hs", Format::Code),
    ("ml", Format::Code),
    ("mli", Format::Code),
    ("ex", Format::Code),
    ("exs", Format::Code),
    ("erl", Format::Code),
    ("clj", Format::Code),
    ("lisp", Format::Code),
    ("el", Format::Code),
    ("scm", Format::Code),
    ("zig", Format::Code),
    ("nim", Format::Code),
    ("pas", Format::Code),
    ("asm", Format::Code),
    ("sh", Format::Code),
    ("bash", Format::Code),
    ("zsh", Format::Code),
    ("fish", Format::Code),
    ("ps1", Format::Code),
    ("psm1", Format::Code),
    ("bat", Format::Code),
    ("cmd", Format::Code),
    ("awk", Format::Code),
    ("sql", Format::Code),
    ("css", Format::Code),
    ("scss", Format::Code),
    ("sass", Format::Code),
    ("less", Format::Code),
    ("yaml", Format::Code),
    ("yml", Format::Code),
    ("toml", Format::Code),
    ("ini", Format::Code),
    ("cfg", Format::Code),
    ("conf", Format::Code),
    ("properties", Format::Code),
    ("xml", Format::Code),
    ("xsd", Format::Code),
    ("xsl", Format::Code),
    ("xslt", Format::Code),
    ("dtd", Format::Code),
    ("proto", Format::Code),
    ("graphql", Format::Code),
    ("cmake", Format::Code),
    ("mk", Format::Code),
    ("tf", Format::Code),
    ("nix", Format::Code),
    ("diff", Format::Code),
    ("patch", Format::Code),
    ("log", Format::Code),
    ("po", Format::Code),
    ("bib", Format::Code),
    ("xls", Format::Xls),
    ("xlt", Format::Xls),
    ("png", Format::Picture),
    ("jpg", Format::Picture),
    ("jpeg", Format::Picture),
    ("tif", Format::Picture),
    ("tiff", Format::Picture),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    Supported(Format),
    /// Not read, and why: a sentence for the user.
    Unsupported {
        reason: String,
    },
}

/// What the first bytes are, whatever the name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Empty,
    Pdf,
    Zip,
    /// The container of old Office files, and of encrypted new ones.
    OldOffice,
    Picture,
    OtherPicture,
    Html,
    Text,
    Binary,
}

/// Decides how a file is read. `head` holds its first [`HEAD_BYTES`], or all of it if it is shorter.
///
/// A file whose name and content disagree is not read: guessing would index rubbish. A file without
/// an extension goes by its content, and so does one whose name ends in a date or a further word:
/// `Dopis br. 12.2026`.
#[must_use]
pub fn detect_format(path: &Path, head: &[u8]) -> Detection {
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase())
        .filter(|extension| {
            let is_number = extension.bytes().all(|byte| byte.is_ascii_digit());
            !is_number && !extension.contains(char::is_whitespace)
        });
    let content = content_of(head);
    if content == Content::Empty {
        return unsupported("The file is empty.");
    }
    let Some(extension) = extension else {
        return match content {
            Content::Pdf => Detection::Supported(Format::Pdf),
            Content::Html => Detection::Supported(Format::Html),
            Content::Picture => Detection::Supported(Format::Picture),
            Content::Text => Detection::Supported(Format::Text),
            Content::Empty
            | Content::Zip
            | Content::OldOffice
            | Content::OtherPicture
            | Content::Binary => unsupported("Docent does not know what kind of file this is."),
        };
    };
    let Some((_, format)) = SUPPORTED_EXTENSIONS
        .iter()
        .find(|(known, _)| *known == extension)
    else {
        return unsupported(format!("Docent does not read .{extension} files yet."));
    };
    match (format, content) {
        (
            Format::Text | Format::Markdown | Format::Html | Format::Rst | Format::Code,
            Content::Text | Content::Html,
        )
        | (Format::Csv | Format::Email | Format::Json, Content::Text)
        | (Format::Pdf, Content::Pdf)
        | (Format::Picture, Content::Picture)
        // What a zip holds is seen when its table of contents is read, and so is whether an old
        // Office file is the wrapping of an encrypted new one.
        | (Format::Docx | Format::Xlsx | Format::Pptx | Format::Ods | Format::Odt | Format::Epub, Content::Zip)
        | (Format::Docx | Format::Xlsx | Format::Pptx | Format::Xls, Content::OldOffice) => Detection::Supported(*format),
        (_, Content::Pdf) => misnamed(&extension, "a PDF", RENAME),
        (_, Content::Zip) => misnamed(
            &extension,
            "a zip archive",
            " If it is a document, give it the right name and it is read.",
        ),
        (_, Content::OldOffice) => misnamed(
            &extension,
            "an old Office file",
            " If it is an Excel workbook, give it the right name and it is read.",
        ),
        (_, Content::Picture) => misnamed(&extension, "a picture", RENAME),
        (_, Content::OtherPicture) => misnamed(
            &extension,
            "a picture of a kind that Docent does not read",
            " Save it as PNG, JPEG or PDF.",
        ),
        (_, Content::Html) => misnamed(&extension, "a web page", RENAME),
        (_, Content::Text) => misnamed(&extension, "plain text", RENAME),
        (_, Content::Binary) => misnamed(&extension, "binary data", ""),
        (_, Content::Empty) => unsupported("The file is empty."),
    }
}

const RENAME: &str = " Give it the right name and it is read.";

fn misnamed(extension: &str, content: &str, advice: &str) -> Detection {
    unsupported(format!(
        "The file is named .{extension}, but holds {content}.{advice}"
    ))
}

fn unsupported(reason: impl Into<String>) -> Detection {
    Detection::Unsupported {
        reason: reason.into(),
    }
}

/// How PNG, JPEG, and TIFF of both byte orders and of both sizes of offsets begin.
const PICTURES: [&[u8]; 6] = [
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"II\x2a\0",
    b"MM\0\x2a",
    b"II\x2b\0",
    b"MM\0\x2b",
];

/// What a telephone's pictures in HEIC or AVIF hold at their fifth byte, by their brands.
const TELEPHONE_PICTURES: [&[u8]; 5] = [
    b"ftyphei",
    b"ftyphev",
    b"ftypmif1",
    b"ftypmsf1",
    b"ftypavif",
];

/// WebP, GIF, BMP, HEIC and AVIF.
fn is_other_picture(head: &[u8]) -> bool {
    let holds =
        |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    (holds(0, b"RIFF") && holds(8, b"WEBP"))
        || holds(0, b"GIF8")
        || (holds(0, b"BM") && holds(6, &[0; 4]))
        || TELEPHONE_PICTURES.iter().any(|brand| holds(4, brand))
}

fn content_of(head: &[u8]) -> Content {
    // Readers accept a PDF header anywhere in the first kilobyte.
    const PDF_HEADER_WITHIN: usize = 1024;
    if head.is_empty() {
        return Content::Empty;
    }
    let beginning = &head[..head.len().min(PDF_HEADER_WITHIN)];
    if beginning.windows(5).any(|window| window == b"%PDF-")
        && (head.starts_with(b"%PDF-") || is_binary(head))
    {
        return Content::Pdf;
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Content::Zip;
    }
    if head.starts_with(&[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]) {
        return Content::OldOffice;
    }
    if PICTURES.iter().any(|start| head.starts_with(start)) {
        return Content::Picture;
    }
    if is_binary(head) && is_other_picture(head) {
        return Content::OtherPicture;
    }
    if is_binary(head) {
        return Content::Binary;
    }
    let start: String = String::from_utf8_lossy(&head[..head.len().min(512)])
        .trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
        .chars()
        .take(64)
        .collect::<String>()
        .to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        Content::Html
    } else {
        Content::Text
    }
}

/// Whether bytes are not text in any encoding that Docent reads: more than one in a hundred is a
/// control character that text does not use, or NUL without being UTF-16.
pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    if encoding_rs::Encoding::for_bom(bytes).is_some() || utf16_without_mark(bytes).is_some() {
        return false;
    }
    let controls = bytes
        .iter()
        .filter(|byte| matches!(byte, 0..=6 | 14..=26 | 28..=31))
        .count();
    controls * 100 > bytes.len()
}

/// UTF-16 without a byte order mark shows in Western text as NULs in every other place.
pub(crate) fn utf16_without_mark(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    const LOOK_AT: usize = 4096;
    let bytes = &bytes[..bytes.len().min(LOOK_AT) & !1];
    let nuls = |offset: usize| {
        bytes
            .iter()
            .skip(offset)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (even, odd) = (nuls(0), nuls(1));
    let units = bytes.len() / 2;
    if units < 4 {
        None
    } else if odd * 10 >= units * 7 && even * 50 <= units {
        Some(encoding_rs::UTF_16LE)
    } else if even * 10 >= units * 7 && odd * 50 <= units {
        Some(encoding_rs::UTF_16BE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(name: &str, head: &[u8]) -> Result<Format, String> {
        match detect_format(Path::new(name), head) {
            Detection::Supported(format) => Ok(format),
            Detection::Unsupported { reason } => Err(reason),
        }
    }

    #[test]
    fn name_and_content_must_agree() {
        assert_eq!(detect("a.TXT", b"hello"), Ok(Format::Text));
        assert_eq!(detect("a.md", "# Šuma".as_bytes()), Ok(Format::Markdown));
        assert_eq!(detect("a.htm", b"<p>hello"), Ok(Format::Html));
        assert_eq!(detect("a.pdf", b"%PDF-1.7\n%\xe2\xe3"), Ok(Format::Pdf));
        assert_eq!(detect("a.csv", b"Ime;Iznos"), Ok(Format::Csv));
        assert_eq!(detect("a.rst", b"<html>"), Ok(Format::Rst));
        assert_eq!(detect("a.JSONL", b"{}"), Ok(Format::Json));
        assert_eq!(detect("a.php", b"<html><?php"), Ok(Format::Code));
        assert_eq!(detect("a.docx", b"PK\x03\x04rest"), Ok(Format::Docx));
        for (name, head, says) in [
            ("a.pdf", &b"hello"[..], "holds plain text"),
            ("a.pdf", b"<!DOCTYPE html><p>not found", "holds a web page"),
            ("a.txt", b"%PDF-1.4\n", "holds a PDF"),
            ("a.txt", b"\0\x01\x02\x03binary", "holds binary data"),
            ("a.md", b"PK\x03\x04rest", "holds a zip archive"),
            ("a.docx", b"hello", "holds plain text"),
            ("a.xlsx", b"Ime;Iznos", "holds plain text"),
            ("a.ts", b"G\x40\x11\x10\0\0\x01\x02", "holds binary data"),
            ("a.json", b"<!doctype html>", "holds a web page"),
            ("a.eml", b"%PDF-1.4\n", "holds a PDF"),
            ("a.csv", b"<html><table>", "holds a web page"),
            ("a.xls", b"PK\x03\x04rest", "holds a zip archive"),
            ("a.csv", b"PK\x03\x04rest", "holds a zip archive"),
            (
                "a.ods",
                &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1],
                "holds an old Office file",
            ),
            (
                "a.dwg",
                b"PK\x03\x04rest",
                "Docent does not read .dwg files yet.",
            ),
            ("a.pdf", b"", "The file is empty."),
            ("unknown", b"\0\x01\x02\x03", "does not know"),
        ] {
            let reason = detect(name, head).expect_err(name);
            assert!(
                reason.contains(says),
                "{name}: {reason:?} should say {says:?}"
            );
        }
    }

    #[test]
    fn reading_is_promised_for_what_is_read() {
        let promises =
            |name: &str, head: &[u8]| detect(name, head).unwrap_err().contains("it is read");
        assert!(promises("a.jpg", b"%PDF-1.4\n"));
        assert!(promises("a.pdf", b"\x89PNG\r\n\x1a\n"));
        assert!(!promises("a.jpg", b"\0\x01\x02\x03"));
        for head in [
            &b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..],
            b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0",
            b"GIF89a\x01\0\x01\0\x80\0\0",
            b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0",
        ] {
            let reason = detect("a.jpg", head).unwrap_err();
            assert!(reason.contains("Save it as PNG"), "{reason}");
        }
    }

    #[test]
    fn what_only_looks_like_an_extension_is_none() {
        for name in [
            "Dopis br. 12.2026",
            "Zapisnik 3. sjednice",
            "syslog.1",
            "Bilješka.",
        ] {
            assert_eq!(
                detect(name, "Poštovani".as_bytes()),
                Ok(Format::Text),
                "{name}"
            );
        }
        assert_eq!(detect("Račun 7.2026", b"%PDF-1.4\n"), Ok(Format::Pdf));
        assert!(detect("film.mp4", "Poštovani".as_bytes()).is_err());
    }

    #[test]
    fn files_without_extension_go_by_content() {
        assert_eq!(detect("README", b"Read me first.\n"), Ok(Format::Text));
        assert_eq!(detect("scan", b"%PDF-1.4\n"), Ok(Format::Pdf));
        assert_eq!(detect("index", b"\n <!doctype HTML>"), Ok(Format::Html));
    }

    #[test]
    fn utf16_is_text() {
        let utf16: Vec<u8> = "Zakon o radu\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(detect("a.txt", &utf16), Ok(Format::Text));
        assert_eq!(
            detect("b.txt", &[&[0xff, 0xfe], &utf16[..]].concat()),
            Ok(Format::Text)
        );
    }

    #[test]
    fn a_text_about_pdf_headers_is_text() {
        assert_eq!(
            detect("notes.txt", b"A PDF begins with %PDF-1.7."),
            Ok(Format::Text)
        );
    }
}
