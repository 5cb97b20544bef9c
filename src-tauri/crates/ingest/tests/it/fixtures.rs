//! Writers of small documents, so that tests say what is in them.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use docent_domain::Format;
use docent_ingest::{BlockKind, Bounds, Extracted, Refusal, extract_here};
use zip::write::SimpleFileOptions;

/// The folder that holds PDFium's library: below `DOCENT_MODELS_DIR`, or where `cargo xtask` keeps it.
pub fn pdfium_dir() -> PathBuf {
    let models = std::env::var_os("DOCENT_MODELS_DIR").map_or_else(
        || {
            let home = std::env::var_os("HOME").expect("a home folder");
            PathBuf::from(home).join(".cache/docent/models")
        },
        PathBuf::from,
    );
    let dir = models.join("pdfium");
    assert!(
        dir.join(format!(
            "{}pdfium{}",
            std::env::consts::DLL_PREFIX,
            std::env::consts::DLL_SUFFIX
        ))
        .is_file(),
        "no PDFium in {}: run `cargo xtask models`, or name its parent in DOCENT_MODELS_DIR",
        dir.display()
    );
    dir
}

pub fn read(path: &Path, format: Format) -> Result<Extracted, Refusal> {
    extract_here(path, format, Bounds::default(), Some(&pdfium_dir()))
}

/// Writes `bytes` to a file of its own and reads it.
pub fn read_bytes(bytes: &[u8], format: Format) -> Result<Extracted, Refusal> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    read(&path, format)
}

/// The blocks of a document with the text at their spans.
pub fn blocks(extracted: &Extracted) -> Vec<(BlockKind, &str)> {
    extracted
        .blocks
        .iter()
        .map(|block| (block.kind, block.span.slice(&extracted.text).unwrap()))
        .collect()
}

/// The texts of its blocks.
pub fn texts(extracted: &Extracted) -> Vec<&str> {
    blocks(extracted)
        .into_iter()
        .map(|(_, text)| text)
        .collect()
}

/// A PNG of that size with nothing on it.
pub fn picture_of(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::GrayImage::from_pixel(width, height, image::Luma([90]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

pub fn zip(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A Word document with the given body and further parts.
pub fn docx(body: &str, parts: &[(&str, &str)]) -> Vec<u8> {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><w:document xmlns:w=\"w\"><w:body>{body}</w:body></w:document>"
    );
    let mut all = vec![("word/document.xml", document.as_bytes())];
    all.extend(
        parts
            .iter()
            .map(|(name, content)| (*name, content.as_bytes())),
    );
    zip(&all)
}

/// An Excel workbook: names of sheets with their rows, and the texts that cells share. Style 1
/// shows kuna, style 2 dates.
pub fn xlsx(sheets: &[(&str, &str)], strings: &[&str]) -> Vec<u8> {
    let mut list = String::new();
    let mut relations = String::from(
        "<Relationships><Relationship Id='s' Type='http://x/sharedStrings' Target='sharedStrings.xml'/>\
         <Relationship Id='y' Type='http://x/styles' Target='/xl/styles.xml'/>",
    );
    let mut parts = Vec::new();
    for (number, (name, rows)) in (1..).zip(sheets) {
        write!(
            list,
            "<sheet name='{name}' sheetId='{number}' r:id='r{number}'/>"
        )
        .unwrap();
        write!(relations, "<Relationship Id='r{number}' Type='http://x/worksheet' Target='worksheets/sheet{number}.xml'/>").unwrap();
        parts.push((
            format!("xl/worksheets/sheet{number}.xml"),
            format!("<worksheet><sheetData>{rows}</sheetData></worksheet>"),
        ));
    }
    let strings = strings.iter().fold(String::new(), |all, text| {
        all + &format!("<si><r><t>{text}</t></r><rPh><t>izgovor</t></rPh></si>")
    });
    let styles = "<styleSheet><numFmts><numFmt numFmtId='164' formatCode='#,##0.00\\ &quot;kn&quot;'/></numFmts>\
        <cellStyleXfs><xf numFmtId='9'/></cellStyleXfs>\
        <cellXfs><xf numFmtId='0'/><xf numFmtId='164'/><xf numFmtId='14'/></cellXfs></styleSheet>";
    for (name, content) in [
        (
            "xl/workbook.xml",
            format!("<workbook><sheets>{list}</sheets></workbook>"),
        ),
        ("xl/_rels/workbook.xml.rels", relations + "</Relationships>"),
        ("xl/sharedStrings.xml", format!("<sst>{strings}</sst>")),
        ("xl/styles.xml", styles.to_owned()),
        (
            "docProps/core.xml",
            "<c><dc:title>Obračun</dc:title></c>".to_owned(),
        ),
    ] {
        parts.push((name.to_owned(), content));
    }
    zip_of(&parts)
}

/// A book of these pages, and further parts.
pub fn epub(pages: &[(&str, &str)], parts: &[(&str, &str)]) -> Vec<u8> {
    let mut items = String::from("<item id='css' href='x.css' media-type='text/css'/>");
    let mut spine = String::new();
    let mut all: Vec<(String, String)> = parts
        .iter()
        .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
        .collect();
    for (number, (name, page)) in (1..).zip(pages) {
        let href = name.replace(' ', "%20");
        // The list of parts is in no order; the spine is.
        items.insert_str(
            0,
            &format!(
                "<item id='p{number}' href='../text/{href}#x' media-type='application/xhtml+xml'/>"
            ),
        );
        write!(spine, "<itemref idref='p{number}'/>").unwrap();
        all.push((format!("OEBPS/text/{name}"), (*page).to_owned()));
    }
    let package = format!(
        "<package><metadata><dc:title>Šuma &amp; more</dc:title><dc:title>Drugi naslov</dc:title><dc:language>hr</dc:language></metadata>\
         <manifest>{items}</manifest><spine>{spine}</spine></package>"
    );
    all.push(("OEBPS/package/book.opf".to_owned(), package));
    let container = "<container><rootfiles><rootfile full-path='OEBPS/package/book.opf'/></rootfiles></container>";
    all.push(("META-INF/container.xml".to_owned(), container.to_owned()));
    zip_of(&all)
}

/// A PowerPoint presentation: slides with the notes that belong to them.
pub fn pptx(slides: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut list = String::new();
    let mut relations = String::from("<Relationships>");
    let mut parts = Vec::new();
    // The order of the files is not the order of the slides.
    for (index, (shapes, notes)) in slides.iter().enumerate().rev() {
        let number = index + 1;
        list.insert_str(
            0,
            &format!("<p:sldId id='{}' r:id='r{number}'/>", 255 + number),
        );
        write!(
            relations,
            "<Relationship Id='r{number}' Type='http://x/slide' Target='slides/s{number}.xml'/>"
        )
        .unwrap();
        let slide = if shapes.starts_with("<p:sld") {
            (*shapes).to_owned()
        } else {
            format!("<p:sld>{shapes}</p:sld>")
        };
        parts.push((format!("ppt/slides/s{number}.xml"), slide));
        if let Some(notes) = notes {
            parts.push((
                format!("ppt/slides/_rels/s{number}.xml.rels"),
                format!("<Relationships><Relationship Id='r1' Type='http://x/notesSlide' Target='../notesSlides/n{number}.xml'/></Relationships>"),
            ));
            parts.push((
                format!("ppt/notesSlides/n{number}.xml"),
                format!("<p:notes>{notes}</p:notes>"),
            ));
        }
    }
    for (name, content) in [
        (
            "ppt/presentation.xml",
            format!("<p:presentation><p:sldIdLst>{list}</p:sldIdLst></p:presentation>"),
        ),
        (
            "ppt/_rels/presentation.xml.rels",
            relations + "</Relationships>",
        ),
        (
            "docProps/core.xml",
            "<c><dc:title>PowerPoint Presentation</dc:title></c>".to_owned(),
        ),
    ] {
        parts.push((name.to_owned(), content));
    }
    zip_of(&parts)
}

fn zip_of(parts: &[(String, String)]) -> Vec<u8> {
    let parts: Vec<_> = parts
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_bytes()))
        .collect();
    zip(&parts)
}

/// An OpenDocument spreadsheet with the given content.
pub fn ods(content: &str) -> Vec<u8> {
    open_document("spreadsheet", "Popis", content, "")
}

/// An OpenDocument text with the given content and named styles.
pub fn odt(content: &str, styles: &str) -> Vec<u8> {
    open_document("text", "Tekst", content, styles)
}

fn open_document(kind: &str, title: &str, content: &str, styles: &str) -> Vec<u8> {
    zip_of(
        &[
            (
                "mimetype",
                format!("application/vnd.oasis.opendocument.{kind}"),
            ),
            (
                "content.xml",
                format!("<office:document-content>{content}</office:document-content>"),
            ),
            (
                "styles.xml",
                format!("<office:styles>{styles}</office:styles>"),
            ),
            (
                "meta.xml",
                format!("<m><office:meta><dc:title>{title}</dc:title></office:meta></m>"),
            ),
        ]
        .map(|(name, content)| (name.to_owned(), content)),
    )
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (number, piece) in (1..).zip(bytes.chunks(3)) {
        let bits = piece
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - piece.len()));
        for index in 0..=piece.len() {
            let digit = bits >> (18 - 6 * index) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        }
        text.extend(std::iter::repeat_n('=', 3 - piece.len()));
        if number % 19 == 0 {
            text.push_str("\r\n");
        }
    }
    text
}

/// A compound file with empty streams of these names, at most three.
pub fn compound(streams: &[&str]) -> Vec<u8> {
    let streams: Vec<_> = streams.iter().map(|name| (*name, &b""[..])).collect();
    compound_of(&streams)
}

/// A compound file with these streams, at most three, each of at most 500 sectors.
pub fn compound_of(streams: &[(&str, &[u8])]) -> Vec<u8> {
    const SECTOR: usize = 512;
    const END: u32 = 0xffff_fffe;
    let mut header = vec![0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
    header.resize(SECTOR, 0xff);
    let mut set = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    set(30, &9_u16.to_le_bytes());
    set(32, &6_u16.to_le_bytes());
    // The table of sectors stands in the first four, the directory in the fifth. No stream is so
    // small that it would stand elsewhere.
    set(48, &4_u32.to_le_bytes());
    set(56, &0_u32.to_le_bytes());
    set(68, &END.to_le_bytes());
    for sector in 0..4_u32 {
        set(76 + 4 * sector as usize, &sector.to_le_bytes());
    }
    let mut table = vec![0xffff_fffd_u32; 4];
    table.push(END);
    let mut directory = Vec::new();
    let mut contents = Vec::new();
    let root = std::iter::once(("Root Entry", 5, &b""[..]));
    for (name, kind, content) in root.chain(streams.iter().map(|(name, bytes)| (*name, 2, *bytes)))
    {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = entry.len() as u16 + 2;
        entry.resize(128, 0);
        entry[64..66].copy_from_slice(&length.to_le_bytes());
        entry[66] = kind;
        let sectors = content.len().div_ceil(SECTOR);
        let first = if sectors == 0 {
            END
        } else {
            table.len() as u32
        };
        entry[116..120].copy_from_slice(&first.to_le_bytes());
        entry[120..124].copy_from_slice(&(content.len() as u32).to_le_bytes());
        directory.extend(entry);
        for sector in 1..=sectors {
            let next = table.len() as u32 + 1;
            table.push(if sector == sectors { END } else { next });
        }
        contents.extend_from_slice(content);
        contents.resize(contents.len().next_multiple_of(SECTOR), 0);
    }
    directory.resize(SECTOR, 0);
    let mut table: Vec<u8> = table.into_iter().flat_map(u32::to_le_bytes).collect();
    table.resize(4 * SECTOR, 0xff);
    [header, table, directory, contents].concat()
}

/// A binary workbook: records of the workbook's own, and a sheet with these.
pub fn xls(globals: &[(u16, &[u8])], sheet: &[(u16, &[u8])]) -> Vec<u8> {
    compound_of(&[("Workbook", &xls_stream(globals, sheet))])
}

fn xls_stream(globals: &[(u16, &[u8])], sheet: &[(u16, &[u8])]) -> Vec<u8> {
    let record = |kind: u16, data: &[u8]| {
        let mut record = kind.to_le_bytes().to_vec();
        record.extend((data.len() as u16).to_le_bytes());
        record.extend_from_slice(data);
        record
    };
    let begin = record(0x0809, &[0x00, 0x06, 0x05, 0x00]);
    let end = record(0x000a, b"");
    let all = |records: &[(u16, &[u8])]| -> Vec<u8> {
        records
            .iter()
            .flat_map(|(kind, data)| record(*kind, data))
            .collect()
    };
    let name = "Plaće";
    let mut bound = vec![0; 6];
    bound.extend([name.chars().count() as u8, 1]);
    bound.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
    let globals = all(globals);
    let start = begin.len() + globals.len() + 4 + bound.len() + end.len();
    bound[..4].copy_from_slice(&(start as u32).to_le_bytes());
    [
        begin.clone(),
        globals,
        record(0x0085, &bound),
        end.clone(),
        begin,
        all(sheet),
        end,
    ]
    .concat()
}

/// A line of text on a PDF page; `y` from the bottom, in points.
pub struct Text<'a> {
    pub x: f32,
    pub y: f32,
    pub size: f32,
    /// 1 Helvetica, 2 Helvetica-Bold, 3 Courier.
    pub font: u8,
    pub words: &'a str,
}

pub fn text(x: f32, y: f32, size: f32, words: &str) -> Text<'_> {
    Text {
        x,
        y,
        size,
        font: 1,
        words,
    }
}

/// Letters beyond ASCII that the fixtures' fonts have, by code.
const LETTERS: &[(u8, char, &str)] = &[
    (200, 'č', "ccaron"),
    (201, 'ć', "cacute"),
    (202, 'ž', "zcaron"),
    (203, 'š', "scaron"),
    (204, 'đ', "dcroat"),
    (205, 'Č', "Ccaron"),
    (206, 'Ć', "Cacute"),
    (207, 'Ž', "Zcaron"),
    (208, 'Š', "Scaron"),
    (209, 'Đ', "Dcroat"),
    (210, '•', "bullet"),
];

#[derive(Default)]
pub struct PdfOptions<'a> {
    pub title: Option<&'a str>,
    /// Degrees, for every page.
    pub rotate: u32,
    /// Title, level 1, and page from 0.
    pub outline: &'a [(&'a str, usize)],
    /// A picture on every page.
    pub picture: bool,
    /// A monospaced TrueType font in place of font 1, which is PDFium's own otherwise and lacks č, ć
    /// and đ.
    pub font: Option<&'a [u8]>,
    /// An `/Encrypt` entry that no empty password opens.
    pub encrypted: bool,
}

/// A PDF of A4 pages.
pub fn pdf(pages: &[Vec<Text<'_>>], options: &PdfOptions<'_>) -> Vec<u8> {
    let mut objects: Vec<String> = vec![String::new(); 8];
    let differences: String = LETTERS.iter().fold(String::new(), |all, (code, _, name)| {
        all + &format!("{code} /{name} ")
    });
    objects[2] = format!(
        "<< /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [{differences}] >>"
    );
    for (index, font) in ["Helvetica", "Helvetica-Bold", "Courier"]
        .iter()
        .enumerate()
    {
        objects[3 + index] =
            format!("<< /Type /Font /Subtype /Type1 /BaseFont /{font} /Encoding 3 0 R >>");
    }
    objects[6] = stream(
        "/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8",
        "x",
    );
    if let Some(font) = options.font {
        let widths = "602 ".repeat(256);
        objects[3] = format!(
            "<< /Type /Font /Subtype /TrueType /BaseFont /Mono /FirstChar 0 /LastChar 255 \
             /Widths [{widths}] /Encoding 3 0 R /FontDescriptor 9 0 R >>"
        );
        objects.push(
            "<< /Type /FontDescriptor /FontName /Mono /Flags 33 /FontBBox [-200 -300 800 1000] \
             /ItalicAngle 0 /Ascent 900 /Descent -240 /CapHeight 730 /StemV 80 /FontFile2 10 0 R >>"
                .to_owned(),
        );
        let hex = font.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        objects.push(stream(
            &format!("/Filter /ASCIIHexDecode /Length1 {}", font.len()),
            &hex,
        ));
    }
    let mut kids = String::new();
    let mut page_ids = Vec::new();
    for page in pages {
        let mut content = String::new();
        if options.picture {
            content.push_str("q 500 0 0 700 40 40 cm /Im Do Q\n");
        }
        for line in page {
            let mut escaped = String::new();
            for char in line.words.chars() {
                match LETTERS.iter().find(|(_, letter, _)| *letter == char) {
                    Some((code, _, _)) => write!(escaped, "\\{code:o}").unwrap(),
                    None if "()\\".contains(char) => write!(escaped, "\\{char}").unwrap(),
                    None => escaped.push(char),
                }
            }
            writeln!(
                content,
                "BT /F{} {} Tf {} {} Td ({escaped}) Tj ET",
                line.font, line.size, line.x, line.y
            )
            .unwrap();
        }
        objects.push(stream("", &content));
        let content = objects.len();
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Rotate {} /Contents {content} 0 R /Resources << \
             /Font << /F1 4 0 R /F2 5 0 R /F3 6 0 R >> /XObject << /Im 7 0 R >> >> >>",
            options.rotate
        ));
        page_ids.push(objects.len());
        write!(kids, "{} 0 R ", objects.len()).unwrap();
    }
    objects[1] = format!("<< /Type /Pages /Kids [{kids}] /Count {} >>", pages.len());
    objects[7] = format!("<< /Title ({}) >>", options.title.unwrap_or(""));
    let mut catalog = "<< /Type /Catalog /Pages 2 0 R".to_owned();
    if !options.outline.is_empty() {
        let root = objects.len() + 1;
        let count = options.outline.len();
        objects.push(format!(
            "<< /Type /Outlines /First {} 0 R /Last {} 0 R /Count {count} >>",
            root + 1,
            root + count
        ));
        for (index, (title, page)) in options.outline.iter().enumerate() {
            let next = if index + 1 < count {
                format!("/Next {} 0 R", root + index + 2)
            } else {
                String::new()
            };
            objects.push(format!(
                "<< /Title ({title}) /Parent {root} 0 R /Dest [{} 0 R /Fit] {next} >>",
                page_ids[*page]
            ));
        }
        write!(catalog, " /Outlines {root} 0 R").unwrap();
    }
    objects[0] = catalog + " >>";
    let mut file = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut offsets = Vec::new();
    for (number, object) in (1..).zip(&objects) {
        offsets.push(file.len());
        file.extend_from_slice(format!("{number} 0 obj\n{object}\nendobj\n").as_bytes());
    }
    let start = file.len();
    let mut tail = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for offset in offsets {
        writeln!(tail, "{offset:010} 00000 n ").unwrap();
    }
    let encrypt = if options.encrypted {
        let key = "41".repeat(32);
        format!(
            "/Encrypt << /Filter /Standard /V 1 /R 2 /O <{key}> /U <{key}> /P -4 >> /ID [<00> <00>]"
        )
    } else {
        String::new()
    };
    write!(
        tail,
        "trailer\n<< /Size {} /Root 1 0 R /Info 8 0 R {encrypt} >>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1
    )
    .unwrap();
    file.extend_from_slice(tail.as_bytes());
    file
}

fn stream(dictionary: &str, content: &str) -> String {
    format!(
        "<< {dictionary} /Length {} >>\nstream\n{content}\nendstream",
        content.len()
    )
}
