//! Small files that unpack, expand, nest or repeat themselves into large ones, and files that lie about
//! what they hold. None holds more than 8 MiB of honest text: that, the application has to take in.

use std::fmt::Write as _;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

use docent_domain::Format;
use image::{DynamicImage, ImageFormat};
use zip::write::SimpleFileOptions;

use crate::Hostile;
use crate::fixtures::{PdfOptions, text};
use crate::fixtures::{base64, compound_of, docx, epub, ods, odt, pdf, pptx, xls, xlsx, zip};

const MIB: usize = 1 << 20;

/// Writes each bomb when it is made, so that one at a time is in memory.
pub fn write_all(folder: &Path) -> Vec<Hostile> {
    let mut files = Vec::new();
    let mut add = |name: &str, format: Format, bytes: Vec<u8>| {
        files.push(crate::write(folder, name.to_owned(), format, &bytes));
    };
    archives(&mut add);
    word(&mut add);
    sheets(&mut add);
    books(&mut add);
    markup(&mut add);
    plain(&mut add);
    mail(&mut add);
    pdfs(&mut add);
    pictures(&mut add);
    files
}

type Add<'a> = &'a mut dyn FnMut(&str, Format, Vec<u8>);

fn archives(add: Add<'_>) {
    add(
        "flat",
        Format::Docx,
        zip_of_zeros(&[(
            "word/document.xml",
            b"<w:document><w:body><w:p><w:r><w:t>",
            1024,
        )]),
    );
    add(
        "flat-parts",
        Format::Docx,
        zip_of_zeros(&[
            (
                "word/document.xml",
                b"<w:document><w:body><w:p><w:r><w:t>a</w:t></w:r></w:p></w:body></w:document>",
                0,
            ),
            ("word/styles.xml", b"<w:styles>", 300),
            ("word/numbering.xml", b"<w:numbering>", 300),
            ("word/footnotes.xml", b"<w:footnotes>", 300),
            ("docProps/core.xml", b"<c>", 300),
        ]),
    );
    let inner = zip_of_zeros(&[("word/document.xml", b"<w:document>", 200)]);
    let nested = (0..5).fold(inner, |inner, _| {
        let parts: Vec<String> = (0..10)
            .map(|number| format!("word/{number}.docx"))
            .collect();
        let mut all: Vec<(&str, &[u8])> = parts
            .iter()
            .map(|name| (name.as_str(), inner.as_slice()))
            .collect();
        all.push(("word/document.xml", &inner));
        zip(&all)
    });
    add("nested", Format::Docx, nested);
    // As an archive that holds itself: the part that is read is an archive of the same beginning.
    let quine = docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>", &[]);
    let quine = zip(&[("word/document.xml", &quine), ("quine.docx", &quine)]);
    add("quine", Format::Docx, quine);
    let mut many = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..70_000 {
        many.start_file(format!("p{number}"), SimpleFileOptions::default())
            .unwrap();
    }
    add(
        "many-entries",
        Format::Docx,
        many.finish().unwrap().into_inner(),
    );
    let small = docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>", &[]);
    add("zip64", Format::Docx, lying_zip64(&small));
    let flat = zip_of_zeros(&[(
        "word/document.xml",
        b"<w:document><w:body><w:p><w:r><w:t>",
        600,
    )]);
    add("claims-one-byte", Format::Docx, with_claimed_size(&flat, 1));
    add(
        "claims-everything",
        Format::Docx,
        with_claimed_size(&small, 0xffff_fffe),
    );
    add("overlapping", Format::Docx, overlapping(&flat, 9000));
}

fn word(add: Add<'_>) {
    let laughs: String = (1..12).fold("<!ENTITY l0 'ha'>".to_owned(), |all, number| {
        all + &format!(
            "<!ENTITY l{number} '{}'>",
            format!("&l{};", number - 1).repeat(10)
        )
    });
    let with_entities = |entities: &str, used: &str| {
        let part = format!(
            "<?xml version='1.0'?><!DOCTYPE d [{entities}]><w:document><w:body><w:p><w:r><w:t>{used}</w:t></w:r></w:p></w:body></w:document>"
        );
        zip(&[("word/document.xml", part.as_bytes())])
    };
    add("laughs", Format::Docx, with_entities(&laughs, "&l11;"));
    let long = format!("<!ENTITY l '{}'>", "x".repeat(100_000));
    add(
        "quadratic",
        Format::Docx,
        with_entities(&long, &"&l;".repeat(100_000)),
    );
    add(
        "parameter-entities",
        Format::Docx,
        with_entities(
            &"<!ENTITY % p '<!ENTITY &#37; q \"%p;\">'>%p;".repeat(1000),
            "a",
        ),
    );
    let attributes = (0..100_000).fold(String::new(), |all, number| {
        all + &format!(" a{number}='x'")
    });
    add(
        "attributes",
        Format::Docx,
        docx(
            &format!("<w:p{attributes}><w:r><w:t>a</w:t></w:r></w:p>"),
            &[],
        ),
    );
    let namespaces = (0..50_000).fold(String::new(), |all, number| {
        all + &format!(" xmlns:n{number}='x'")
    });
    add(
        "namespaces",
        Format::Docx,
        docx(
            &format!(
                "<w:p{namespaces}>{}</w:p>",
                "<w:r><w:t>a</w:t></w:r>".repeat(10_000)
            ),
            &[],
        ),
    );
    add("deep", Format::Docx, docx(&"<w:p>".repeat(MIB), &[]));
    add(
        "deep-tables",
        Format::Docx,
        docx(
            &"<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p>".repeat(100_000),
            &[],
        ),
    );
    add(
        "empty-paragraphs",
        Format::Docx,
        docx(&"<w:p/>".repeat(3 * MIB), &[]),
    );
    let note = "<w:footnotes><w:footnote w:id='1'><w:p><w:r><w:t>x</w:t><w:footnoteReference w:id='1'/></w:r></w:p></w:footnote></w:footnotes>";
    add(
        "note-in-itself",
        Format::Docx,
        docx(
            &"<w:p><w:r><w:footnoteReference w:id='1'/></w:r></w:p>".repeat(1000),
            &[("word/footnotes.xml", note)],
        ),
    );
    let long_note = format!(
        "<w:footnotes><w:footnote w:id='1'><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:footnote></w:footnotes>",
        "nota ".repeat(50_000)
    );
    add(
        "note-again-and-again",
        Format::Docx,
        docx(
            &"<w:p><w:r><w:footnoteReference w:id='1'/></w:r></w:p>".repeat(20_000),
            &[("word/footnotes.xml", &long_note)],
        ),
    );
    add(
        "notes-in-a-cell",
        Format::Docx,
        docx(
            &format!(
                "<w:tbl><w:tr><w:tc>{}</w:tc></w:tr></w:tbl>",
                "<w:p><w:r><w:footnoteReference w:id='1'/></w:r></w:p>".repeat(20_000)
            ),
            &[("word/footnotes.xml", &long_note)],
        ),
    );
    let long_label = format!(
        "<w:numbering><w:abstractNum w:abstractNumId='0'><w:lvl w:ilvl='0'><w:numFmt w:val='decimal'/><w:lvlText w:val='{}'/></w:lvl></w:abstractNum>\
         <w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:numbering>",
        "x".repeat(200_000)
    );
    add(
        "long-labels",
        Format::Docx,
        docx(
            &format!(
                "<w:tbl><w:tr><w:tc>{}</w:tc></w:tr></w:tbl>",
                "<w:p><w:pPr><w:numPr><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>a</w:t></w:r></w:p>".repeat(20_000)
            ),
            &[("word/numbering.xml", &long_label)],
        ),
    );
    let definitions = (0..300_000).fold(String::new(), |mut all, number| {
        let _ = write!(
            all,
            "<w:abstractNum w:abstractNumId='{number}'><w:lvl w:ilvl='0'/></w:abstractNum>"
        );
        all
    });
    add(
        "list-definitions",
        Format::Docx,
        docx(
            "<w:p><w:r><w:t>a</w:t></w:r></w:p>",
            &[(
                "word/numbering.xml",
                &format!("<w:numbering>{definitions}</w:numbering>"),
            )],
        ),
    );
    let spans = "<w:tc><w:tcPr><w:gridSpan w:val='63'/></w:tcPr></w:tc>".repeat(200_000);
    add(
        "wide-cells",
        Format::Docx,
        docx(&format!("<w:tbl><w:tr>{spans}</w:tr></w:tbl>"), &[]),
    );
    add(
        "one-name",
        Format::Docx,
        docx(&format!("<{}>a", "n".repeat(20 * MIB)), &[]),
    );
}

fn sheets(add: Add<'_>) {
    let long = "dijeljeni tekst ".repeat(20_000);
    let cells = "<row><c t='s'><v>0</v></c></row>".repeat(50_000);
    add(
        "shared-string",
        Format::Xlsx,
        xlsx(&[("A", &cells)], &[&long]),
    );
    add(
        "far-cells",
        Format::Xlsx,
        xlsx(
            &[(
                "A",
                &"<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>".repeat(50_000),
            )],
            &[],
        ),
    );
    add(
        "cells",
        Format::Xlsx,
        xlsx(&[("A", &"<c><v>1</v></c>".repeat(2 * MIB))], &[]),
    );
    let many: Vec<(String, &str)> = (0..9000)
        .map(|number| (format!("S{number}"), "<row><c><v>1</v></c></row>"))
        .collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, rows)| (name.as_str(), *rows))
        .collect();
    add("sheets", Format::Xlsx, xlsx(&many, &[]));
    let (entries, relations) = lost_parts("sheet");
    add(
        "lost-sheets",
        Format::Xlsx,
        zip(&[
            (
                "xl/workbook.xml",
                format!("<workbook><sheets>{entries}</sheets></workbook>").as_bytes(),
            ),
            ("xl/_rels/workbook.xml.rels", relations.as_bytes()),
        ]),
    );
    let repeated = |cell: &str| {
        ods(&format!(
            "<office:body><table:table table:name='A'><table:table-row table:number-rows-repeated='1048576'>{cell}</table:table-row></table:table></office:body>"
        ))
    };
    add(
        "repeated-cells",
        Format::Ods,
        repeated(
            "<table:table-cell table:number-columns-repeated='16384'><text:p>x</text:p></table:table-cell>",
        ),
    );
    let wide = format!(
        "<table:table-cell table:number-columns-repeated='1000'><text:p>{}</text:p></table:table-cell>",
        "x".repeat(1000)
    );
    add(
        "repeated-long-cells",
        Format::Ods,
        repeated(&wide.repeat(400)),
    );
    add("repeated-without-end", Format::Ods, repeated(&"<table:table-cell table:number-columns-repeated='18446744073709551615'><text:p>x</text:p></table:table-cell>".repeat(100)));
    add(
        "spaces",
        Format::Ods,
        repeated(
            "<table:table-cell><text:p>x<text:s text:c='4294967295'/>y</text:p></table:table-cell>",
        ),
    );
    add(
        "spaces-in-text",
        Format::Odt,
        odt(
            &format!(
                "<office:body><text:p>{}</text:p></office:body>",
                "<text:s text:c='2147483647'/>x".repeat(1000)
            ),
            "",
        ),
    );
    add(
        "deep-lists",
        Format::Odt,
        odt(
            &format!(
                "<office:body>{}<text:p>x",
                "<text:list><text:list-item>".repeat(200_000)
            ),
            "",
        ),
    );
    let loop_of_styles = "<style:style style:name='A' style:parent-style-name='B'/><style:style style:name='B' style:parent-style-name='A'/>";
    add(
        "style-loop",
        Format::Odt,
        odt(
            "<office:body><text:p text:style-name='A'>x</text:p></office:body>",
            loop_of_styles,
        ),
    );
    // The number of texts, and a text's length, as large as they can be said to be.
    add(
        "shared-strings-that-lie",
        Format::Xls,
        xls(
            &[(0x00fc, b"\xff\xff\xff\x7f\xff\xff\xff\x7f\xff\xff\x01a\0")],
            &[(0x00fd, &[0; 10])],
        ),
    );
    let rows = (0..60_000_u32).map(|row| {
        let mut cell = (row as u16).to_le_bytes().to_vec();
        cell.extend(b"\xff\xff\0\0\x01\0\0x");
        (0x0204_u16, cell)
    });
    let rows: Vec<(u16, Vec<u8>)> = rows.take(15_000).collect();
    let rows: Vec<(u16, &[u8])> = rows
        .iter()
        .map(|(kind, bytes)| (*kind, bytes.as_slice()))
        .collect();
    add("far-rows", Format::Xls, xls(&[], &rows));
    let mut looping = compound_of(&[("Workbook", &[0; 4096])]);
    // Every sector is followed by the first: the chains never end.
    for at in (512 + 16..512 + 4 * 512).step_by(4) {
        looping[at..at + 4].copy_from_slice(&5_u32.to_le_bytes());
    }
    add("sector-loop", Format::Xls, looping);
    let mut lying = compound_of(&[("Workbook", &[0; 4096])]);
    lying[44..48].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    lying[72..76].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    add("sectors-that-lie", Format::Xls, lying);
}

/// A hundred thousand elements that refer to parts which are not there, and those relations.
fn lost_parts(element: &str) -> (String, String) {
    let (mut entries, mut relations) = (String::new(), String::from("<Relationships>"));
    for number in 0..100_000 {
        let _ = write!(entries, "<x:{element} name='a' r:id='r{number}'/>");
        let _ = write!(
            relations,
            "<Relationship Id='r{number}' Type='x/y' Target='p{number}.xml'/>"
        );
    }
    (entries, relations + "</Relationships>")
}

fn books(add: Add<'_>) {
    let slides: Vec<(&str, Option<&str>)> =
        vec![("<p:sp><a:p><a:r><a:t>x</a:t></a:r></a:p></p:sp>", None); 4000];
    add("slides", Format::Pptx, pptx(&slides));
    let (entries, relations) = lost_parts("sldId");
    add(
        "lost-slides",
        Format::Pptx,
        zip(&[
            (
                "ppt/presentation.xml",
                format!("<p:presentation>{entries}</p:presentation>").as_bytes(),
            ),
            ("ppt/_rels/presentation.xml.rels", relations.as_bytes()),
        ]),
    );
    add(
        "deep-shapes",
        Format::Pptx,
        pptx(&[(&"<p:grpSp>".repeat(500_000), None)]),
    );
    let page = format!(
        "<html><body><p>{}</p></body></html>",
        "stranica ".repeat(100_000)
    );
    let package = |spine: &str| {
        format!(
            "<package><manifest><item id='p' href='a.xhtml' media-type='application/xhtml+xml'/></manifest><spine>{spine}</spine></package>"
        )
    };
    let container = "<container><rootfiles><rootfile full-path='b.opf'/></rootfiles></container>";
    let book = |page: &str, spine: &str| {
        zip(&[
            ("META-INF/container.xml", container.as_bytes()),
            ("b.opf", package(spine).as_bytes()),
            ("a.xhtml", page.as_bytes()),
        ])
    };
    add(
        "page-again-and-again",
        Format::Epub,
        book(&page, &"<itemref idref='p'/>".repeat(9000)),
    );
    add(
        "spine",
        Format::Epub,
        book("<p>a", &"<itemref idref='p'/>".repeat(300_000)),
    );
    let pages: Vec<(String, String)> = (0..4000)
        .map(|number| (format!("{number}.xhtml"), "<p>a".to_owned()))
        .collect();
    let pages: Vec<(&str, &str)> = pages
        .iter()
        .map(|(name, page)| (name.as_str(), page.as_str()))
        .collect();
    add("pages", Format::Epub, epub(&pages, &[]));
    add(
        "deep-page",
        Format::Epub,
        book(&"<div>".repeat(MIB), "<itemref idref='p'/>"),
    );
}

fn markup(add: Add<'_>) {
    let html = |text: String| text.into_bytes();
    add("tree", Format::Html, html("<b>x".repeat(3 * MIB)));
    add("deep-html", Format::Html, html("<div>".repeat(2 * MIB)));
    add(
        "deep-formatting",
        Format::Html,
        html("<b><i><a><p>".repeat(200_000)),
    );
    add(
        "html-attributes",
        Format::Html,
        html(format!(
            "<p{}>a",
            (0..300_000).fold(String::new(), |all, number| all + &format!(" a{number}=x"))
        )),
    );
    add(
        "html-cells",
        Format::Html,
        html(format!(
            "<table>{}",
            "<tr><td colspan=65534 rowspan=65534>x<td>y".repeat(50_000)
        )),
    );
    add(
        "html-tables",
        Format::Html,
        html("<table><tr><td>".repeat(100_000)),
    );
    add(
        "html-entities",
        Format::Html,
        html("&CounterClockwiseContourIntegral;".repeat(200_000)),
    );
    add(
        "html-lists",
        Format::Html,
        html("<ol><li>x".repeat(100_000)),
    );
    add("quotes", Format::Markdown, html(">".repeat(MIB)));
    add("brackets", Format::Markdown, html("[".repeat(MIB)));
    add(
        "emphasis",
        Format::Markdown,
        html("*a_ **b__ ".repeat(100_000)),
    );
    add("links", Format::Markdown, html("[a](".repeat(200_000)));
    add(
        "lists",
        Format::Markdown,
        html((0..5000).fold(String::new(), |all, depth| {
            all + &" ".repeat(2 * depth) + "- a\n"
        })),
    );
    add(
        "columns",
        Format::Markdown,
        html(format!(
            "{}\n{}\n{}",
            "|a".repeat(50_000),
            "|-".repeat(50_000),
            "|b\n".repeat(50_000)
        )),
    );
    add(
        "references",
        Format::Markdown,
        html(format!(
            "[a]: {}\n\n{}",
            "x".repeat(100_000),
            "[a]\n".repeat(50_000)
        )),
    );
    add(
        "footnotes",
        Format::Markdown,
        html((0..50_000).fold(String::new(), |all, number| {
            all + &format!("[^{number}]: [^{number}]\n")
        })),
    );
    add(
        "deep-rst",
        Format::Rst,
        html((0..5000).fold(String::new(), |all, depth| {
            all + &" ".repeat(depth) + "* a\n\n"
        })),
    );
    add(
        "rst-table",
        Format::Rst,
        html(format!(
            "{}\n|{}|\n{}\n",
            "+-".repeat(200_000) + "+",
            " |".repeat(200_000),
            "+-".repeat(200_000) + "+"
        )),
    );
    add(
        "rst-columns",
        Format::Rst,
        html(format!(
            "{0}\n{1}\n{0}\n",
            "= ".repeat(200_000),
            "a ".repeat(200_000)
        )),
    );
}

fn plain(add: Add<'_>) {
    add("deep-json", Format::Json, "[".repeat(4 * MIB).into_bytes());
    add(
        "deep-objects",
        Format::Json,
        "{\"a\":".repeat(2 * MIB).into_bytes(),
    );
    // A value stands under all the names that lead to it.
    let name = "n".repeat(100_000);
    let values = "1,".repeat(100_000);
    add(
        "names",
        Format::Json,
        format!("{{\"{name}\":{{\"{name}\":{{\"{name}\":[{values}1]}}}}}}").into_bytes(),
    );
    let objects = "{\"x\":{}},".repeat(500_000);
    add(
        "names-of-nothing",
        Format::Json,
        format!("{{\"{name}\":[{objects}1]}}").into_bytes(),
    );
    add(
        "long-number",
        Format::Json,
        "9".repeat(4 * MIB).into_bytes(),
    );
    add("row", Format::Csv, "polje;".repeat(MIB).into_bytes());
    add("fields", Format::Csv, ",".repeat(16 * MIB).into_bytes());
    add(
        "quote-without-end",
        Format::Csv,
        format!("\"{}", "a,\n".repeat(4 * MIB)).into_bytes(),
    );
    let wide = (0..20_000).fold(String::new(), |all, number| all + &format!("c{number},"));
    add(
        "wide-header",
        Format::Csv,
        format!("{wide}\n{}", "1\n".repeat(200_000)).into_bytes(),
    );
    add("line", Format::Text, "a".repeat(4 * MIB).into_bytes());
    add("newlines", Format::Text, "\n".repeat(24 * MIB).into_bytes());
    add(
        "paragraphs",
        Format::Text,
        "a\n\n".repeat(2 * MIB).into_bytes(),
    );
    add(
        "underlines",
        Format::Text,
        "a\n===\n".repeat(MIB).into_bytes(),
    );
    add(
        "marks",
        Format::Text,
        format!("a{}", "\u{301}".repeat(2 * MIB)).into_bytes(),
    );
    add("braces", Format::Code, "{".repeat(4 * MIB).into_bytes());
}

fn mail(add: Add<'_>) {
    let nested = (0..20_000).fold(String::new(), |all, depth| {
        all + &format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n")
    });
    add("multiparts", Format::Email, nested.into_bytes());
    let words = format!("Subject: {}\r\n\r\na", "=?utf-8?Q?a".repeat(400_000));
    add("words-that-only-begin", Format::Email, words.into_bytes());
    add(
        "messages",
        Format::Email,
        "Content-Type: message/rfc822\r\n\r\n"
            .repeat(100_000)
            .into_bytes(),
    );
    let parts = "--b\r\nContent-Type: text/plain; name=a.txt\r\n\r\na\r\n".repeat(200_000);
    add(
        "parts",
        Format::Email,
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}").into_bytes(),
    );
    let bomb = base64(&zip_of_zeros(&[(
        "word/document.xml",
        b"<w:document><w:body><w:p><w:r><w:t>",
        100,
    )]));
    let part = format!(
        "--b\r\nContent-Type: application/octet-stream; name=a.docx\r\nContent-Transfer-Encoding: base64\r\n\r\n{bomb}\r\n"
    );
    add(
        "attached-bombs",
        Format::Email,
        format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
            part.repeat(100)
        )
        .into_bytes(),
    );
    let words = "=?utf-8?Q?=C4=8D?= ".repeat(500_000);
    add(
        "encoded-words",
        Format::Email,
        format!("Subject: {words}\r\n\r\na").into_bytes(),
    );
    let parameters = (0..100_000).fold(String::new(), |all, number| {
        all + &format!("; name*{number}=a")
    });
    add(
        "parameters",
        Format::Email,
        format!("Content-Type: text/plain{parameters}\r\n\r\na").into_bytes(),
    );
    add(
        "headers",
        Format::Email,
        format!("{}\r\na", "To: a\r\n b\r\n".repeat(MIB)).into_bytes(),
    );
    add(
        "quoted",
        Format::Email,
        format!(
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n{}",
            "=\r\n".repeat(4 * MIB)
        )
        .into_bytes(),
    );
    add(
        "deep-quotes",
        Format::Email,
        format!("\r\n{}", (">".repeat(1000) + " a\r\n").repeat(5000)).into_bytes(),
    );
}

fn pictures(add: Add<'_>) {
    let encoded = |picture: DynamicImage, format: ImageFormat| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    // As large as a picture may be; its colors take 16 bits in one of them.
    let (width, height) = (7000, 7000);
    let black = DynamicImage::new_rgba8(width, height);
    add(
        "black.png",
        Format::Picture,
        encoded(black, ImageFormat::Png),
    );
    let deep = DynamicImage::new_rgba16(width, height);
    add("deep.png", Format::Picture, encoded(deep, ImageFormat::Png));
    let grey = DynamicImage::new_rgb8(width, height);
    let jpeg = encoded(grey.clone(), ImageFormat::Jpeg);
    // Baseline said to be progressive, which wants all of it in memory at once.
    let mut progressive = jpeg.clone();
    let frame = jpeg.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    progressive[frame + 1] = 0xc2;
    add("grey.jpg", Format::Picture, jpeg);
    add("progressive.jpg", Format::Picture, progressive);
    add(
        "grey.tif",
        Format::Picture,
        encoded(grey, ImageFormat::Tiff)[..4096].to_vec(),
    );
    let mut wide = encoded(DynamicImage::new_luma8(60_000, 200), ImageFormat::Png);
    add("wide.png", Format::Picture, wide.clone());
    wide.truncate(60);
    add("cut.png", Format::Picture, wide);
    // Directories that follow each other in a circle.
    let mut circle = encoded(DynamicImage::new_luma8(300, 300), ImageFormat::Tiff);
    let first = u32::from_le_bytes(circle[4..8].try_into().unwrap());
    let at = first as usize;
    let entries = u16::from_le_bytes(circle[at..at + 2].try_into().unwrap());
    let next = at + 2 + 12 * usize::from(entries);
    circle[next..next + 4].copy_from_slice(&first.to_le_bytes());
    add("circle.tif", Format::Picture, circle.clone());
    // One strip of all the bytes that there can be.
    for entry in circle[at + 2..next].chunks_exact_mut(12) {
        if entry[..2] == 279_u16.to_le_bytes() {
            entry[8..].fill(0xff);
        }
    }
    add("strip.tif", Format::Picture, circle);
}

fn pdfs(add: Add<'_>) {
    let objects = |objects: &[String]| {
        let mut file = b"%PDF-1.7\n".to_vec();
        let mut offsets = Vec::new();
        for (number, object) in (1..).zip(objects) {
            offsets.push(file.len());
            file.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
        }
        let start = file.len();
        let mut tail = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
        for offset in offsets {
            writeln!(tail, "{offset:010} 00000 n ").unwrap();
        }
        write!(
            tail,
            "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n",
            objects.len() + 1
        )
        .unwrap();
        file.extend(tail.bytes());
        file
    };
    let catalog = "<< /Type /Catalog /Pages 2 0 R >>".to_owned();
    add(
        "page-loop",
        Format::Pdf,
        objects(&[
            catalog.clone(),
            "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 1000000 >>".into(),
        ]),
    );
    let deep: Vec<String> = std::iter::once(catalog.clone())
        .chain((3..20_000).map(|next| format!("<< /Type /Pages /Kids [{next} 0 R] /Count 1 >>")))
        .collect();
    add("deep-pages", Format::Pdf, objects(&deep));
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> /Font << /F1 6 0 R >> >> >>";
    let pages = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned();
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>";
    let stream = |content: &str| {
        format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        )
    };
    let form = |content: &str| {
        format!(
            "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 5 0 R >> >> /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        )
    };
    add(
        "form-in-itself",
        Format::Pdf,
        objects(&[
            catalog.clone(),
            pages.clone(),
            page.into(),
            stream("/X Do"),
            form("/X Do /X Do"),
            font.into(),
        ]),
    );
    add(
        "letters",
        Format::Pdf,
        objects(&[
            catalog.clone(),
            pages.clone(),
            page.into(),
            stream(&"BT /F1 9 Tf 9 9 Td (slova) Tj ET\n".repeat(200_000)),
            form(""),
            font.into(),
        ]),
    );
    add(
        "states",
        Format::Pdf,
        objects(&[
            catalog.clone(),
            pages.clone(),
            page.into(),
            stream(&"q ".repeat(4 * MIB)),
            form(""),
            font.into(),
        ]),
    );
    add(
        "brackets-pdf",
        Format::Pdf,
        objects(&[
            catalog.clone(),
            pages.clone(),
            page.into(),
            stream(&"[".repeat(4 * MIB)),
            form(""),
            font.into(),
        ]),
    );
    // Content that unpacks to 512 MiB.
    let packed = deflated(b"BT /F1 9 Tf 9 9 Td (slova) Tj ET\n", 512);
    let mut file = objects(&[
        catalog.clone(),
        pages.clone(),
        page.into(),
        "PACKED".into(),
        form(""),
        font.into(),
    ]);
    let at = file
        .windows(6)
        .position(|window| window == b"PACKED")
        .unwrap();
    let mut object = format!(
        "<< /Filter /FlateDecode /Length {} >>\nstream\n",
        packed.len()
    )
    .into_bytes();
    object.extend(&packed);
    object.extend(b"\nendstream");
    file.splice(at..at + 6, object);
    add("packed-content", Format::Pdf, file);
    let outline = vec![("Naslov", 0); 20_000];
    let options = PdfOptions {
        outline: &outline,
        ..PdfOptions::default()
    };
    add(
        "outline",
        Format::Pdf,
        pdf(&[vec![text(70.0, 700.0, 12.0, "stranica")]], &options),
    );
    let looping = "<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R >>".to_owned();
    add(
        "outline-loop",
        Format::Pdf,
        objects(&[
            looping,
            pages,
            page.into(),
            "<< /First 5 0 R /Last 5 0 R >>".into(),
            "<< /Title (a) /Next 5 0 R /First 5 0 R /Parent 4 0 R >>".into(),
            font.into(),
        ]),
    );
    let pages: Vec<_> = (0..3000)
        .map(|_| vec![text(70.0, 700.0, 12.0, "x")])
        .collect();
    add(
        "many-pages",
        Format::Pdf,
        pdf(&pages, &PdfOptions::default()),
    );
}

/// Parts that begin so and go on with so many mebibytes of one letter.
fn zip_of_zeros(parts: &[(&str, &[u8], usize)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let letters = vec![b'x'; MIB];
    for (name, beginning, mebibytes) in parts {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(beginning).unwrap();
        for _ in 0..*mebibytes {
            writer.write_all(&letters).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

/// So many mebibytes of a line, in the format of zlib.
fn deflated(line: &[u8], mebibytes: usize) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file("x", SimpleFileOptions::default())
        .unwrap();
    let lines = line.repeat(MIB / line.len());
    for _ in 0..mebibytes {
        writer.write_all(&lines).unwrap();
    }
    let archive = writer.finish().unwrap();
    let mut archive = zip::ZipArchive::new(archive).unwrap();
    let (start, length) = {
        let entry = archive.by_index_raw(0).unwrap();
        (
            entry.data_start().unwrap() as usize,
            entry.compressed_size() as usize,
        )
    };
    let mut bytes = Vec::new();
    let mut whole = archive.into_inner();
    whole.set_position(0);
    whole.read_to_end(&mut bytes).unwrap();
    let mut packed = vec![0x78, 0x01];
    packed.extend(&bytes[start..start + length]);
    packed
}

const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";

fn last(bytes: &[u8], signature: &[u8]) -> usize {
    bytes
        .windows(4)
        .rposition(|window| window == signature)
        .unwrap()
}

/// The first entry claims to unpack to so many bytes, in both places.
fn with_claimed_size(archive: &[u8], bytes: u32) -> Vec<u8> {
    let mut archive = archive.to_vec();
    let end = last(&archive, END);
    let central = u32::from_le_bytes(archive[end + 16..end + 20].try_into().unwrap()) as usize;
    assert!(archive[central..].starts_with(CENTRAL));
    archive[central + 24..central + 28].copy_from_slice(&bytes.to_le_bytes());
    archive[22..26].copy_from_slice(&bytes.to_le_bytes());
    archive
}

/// Many entries of different names, all of them the first one's bytes.
fn overlapping(archive: &[u8], count: u16) -> Vec<u8> {
    let end = last(archive, END);
    let central = u32::from_le_bytes(archive[end + 16..end + 20].try_into().unwrap()) as usize;
    let record = &archive[central..central + 46];
    let mut all = archive[..central].to_vec();
    for number in 0..count {
        let name = if number == 0 {
            "word/document.xml".to_owned()
        } else {
            format!("word/header{number}.xml")
        };
        let mut record = record.to_vec();
        record[28..30].copy_from_slice(&(name.len() as u16).to_le_bytes());
        record[30..34].fill(0);
        all.extend(record);
        all.extend(name.bytes());
    }
    let size = (all.len() - central) as u32;
    let mut tail = archive[end..].to_vec();
    tail[8..10].copy_from_slice(&count.to_le_bytes());
    tail[10..12].copy_from_slice(&count.to_le_bytes());
    tail[12..16].copy_from_slice(&size.to_le_bytes());
    all.extend(tail);
    all
}

/// Claims, in the records of large archives, more entries and bytes than any disk holds.
fn lying_zip64(archive: &[u8]) -> Vec<u8> {
    let end = last(archive, END);
    let mut all = archive[..end].to_vec();
    let at = all.len() as u64;
    all.extend(b"PK\x06\x06");
    all.extend(44_u64.to_le_bytes());
    all.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for _ in 0..4 {
        all.extend((1_u64 << 40).to_le_bytes());
    }
    all.extend(b"PK\x06\x07\0\0\0\0");
    all.extend(at.to_le_bytes());
    all.extend(1_u32.to_le_bytes());
    let mut tail = archive[end..].to_vec();
    tail[8..20].fill(0xff);
    all.extend(tail);
    all
}
