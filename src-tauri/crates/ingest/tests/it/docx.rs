//! Word documents built part by part.

use std::fmt::Write as _;
use std::path::Path;

use docent_domain::Format;
use docent_ingest::{BlockKind, Detection, Refusal, Warning, detect_format};

use crate::fixtures::{blocks, docx, picture_of, read_bytes, texts, zip};

const STYLES: &str = "<w:styles xmlns:w='w'><w:docDefaults><w:rPrDefault><w:rPr><w:lang w:val='hr-HR'/></w:rPr></w:rPrDefault></w:docDefaults>\
    <w:style w:type='paragraph' w:styleId='H2'><w:name w:val='heading 2'/></w:style>\
    <w:style w:type='paragraph' w:styleId='Mine'><w:name w:val='Moj naslov'/><w:basedOn w:val='H2'/></w:style>\
    <w:style w:type='paragraph' w:styleId='T'><w:name w:val='Title'/></w:style>\
    <w:style w:type='paragraph' w:styleId='TOC1'><w:name w:val='toc 1'/></w:style></w:styles>";

const NUMBERING: &str = "<w:numbering xmlns:w='w'><w:abstractNum w:abstractNumId='0'>\
    <w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='%1.'/></w:lvl>\
    <w:lvl w:ilvl='1'><w:start w:val='1'/><w:numFmt w:val='lowerLetter'/><w:lvlText w:val='%2)'/></w:lvl>\
    </w:abstractNum><w:num w:numId='7'><w:abstractNumId w:val='0'/></w:num></w:numbering>";

fn paragraph(properties: &str, text: &str) -> String {
    format!("<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
}

fn item(level: u8, text: &str) -> String {
    paragraph(
        &format!("<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='7'/></w:numPr>"),
        text,
    )
}

#[test]
fn structure_comes_from_styles_and_numbering() {
    let body = [
        paragraph("<w:pStyle w:val='T'/>", "Pravilnik"),
        paragraph("<w:pStyle w:val='TOC1'/>", "1. Uvod 3"),
        paragraph("<w:pStyle w:val='Mine'/>", "Uvod"),
        "<w:p><w:r><w:t>Prvi </w:t></w:r><w:del><w:r><w:delText>stari</w:delText></w:r></w:del><w:ins><w:r>\
         <w:t xml:space='preserve'>novi &amp; </w:t></w:r></w:ins><w:r><w:rPr><w:vanish/></w:rPr><w:t>skriven</w:t></w:r>\
         <w:r><w:t>cijeli</w:t><w:br/><w:t>red</w:t><w:footnoteReference w:id='2'/></w:r></w:p>"
            .to_owned(),
        item(0, "jedan"),
        item(1, "pod"),
        item(0, "dva"),
        paragraph("", "Članak 5."),
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Ime</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Broj</w:t></w:r></w:p></w:tc></w:tr>\
         <w:tr><w:tc><w:p><w:r><w:t>Ana</w:t></w:r></w:p><w:p><w:r><w:t>Anić</w:t></w:r></w:p></w:tc><w:tc><w:p/></w:tc></w:tr></w:tbl>"
            .to_owned(),
        "<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>Podebljano</w:t></w:r></w:p>".to_owned(),
    ]
    .concat();
    let footnotes = "<w:footnotes xmlns:w='w'><w:footnote w:type='separator' w:id='0'><w:p/></w:footnote>\
        <w:footnote w:id='2'><w:p><w:r><w:t>Izvor: NN 1/26.</w:t></w:r></w:p></w:footnote></w:footnotes>";
    let core = "<cp:coreProperties xmlns:cp='c' xmlns:dc='d'><dc:title>Pravilnik o radu</dc:title></cp:coreProperties>";
    let file = docx(
        &body,
        &[
            ("word/styles.xml", STYLES),
            ("word/numbering.xml", NUMBERING),
            ("word/footnotes.xml", footnotes),
            ("docProps/core.xml", core),
        ],
    );
    let extracted = read_bytes(&file, Format::Docx).unwrap();
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Pravilnik"),
            (BlockKind::Heading(2), "Uvod"),
            (BlockKind::Paragraph, "Prvi novi & cijeli\nred¹"),
            (BlockKind::Paragraph, "¹ Izvor: NN 1/26."),
            (BlockKind::ListItem, "1. jedan"),
            (BlockKind::ListItem, "  a) pod"),
            (BlockKind::ListItem, "2. dva"),
            (BlockKind::Heading(4), "Članak 5."),
            (BlockKind::TableHeader, "Ime | Broj"),
            (BlockKind::TableRow, "Ana Anić |"),
            (BlockKind::Heading(5), "Podebljano"),
        ]
    );
    assert_eq!(extracted.title.as_deref(), Some("Pravilnik o radu"));
    assert_eq!(extracted.language_hint.as_deref(), Some("hr-HR"));
}

#[test]
fn a_zip_that_is_no_document_says_what_it_is() {
    for (part, says) in [
        ("readme.txt", "holds no Word document"),
        ("xl/workbook.xml", "holds an Excel workbook"),
        ("content.xml", "holds an OpenDocument file"),
    ] {
        let refusal = read_bytes(&zip(&[(part, b"<x/>")]), Format::Docx).unwrap_err();
        assert!(refusal.to_string().contains(says), "{part}: {refusal}");
    }
}

#[test]
fn damage_keeps_what_came_before_it() {
    let file = docx("<w:p><w:r><w:t>Prvi</w:t></w:r></w:p><w:p></w:oops>", &[]);
    let extracted = read_bytes(&file, Format::Docx).unwrap();
    assert_eq!(extracted.text, "Prvi");
    assert!(matches!(
        extracted.warnings[..],
        [Warning::PartLeftOut { .. }]
    ));
    let file = docx("<w:p></w:oops>", &[]);
    assert!(matches!(
        read_bytes(&file, Format::Docx),
        Err(Refusal::Damaged { .. })
    ));
}

#[test]
fn entities_are_not_expanded() {
    let document = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><w:document><w:body><w:p><w:r>\
        <w:t>x&b;&lt;&#269;</w:t></w:r></w:p></w:body></w:document>";
    let file = zip(&[("word/document.xml", document.as_bytes())]);
    assert_eq!(read_bytes(&file, Format::Docx).unwrap().text, "x<č");
}

#[test]
fn a_bomb_is_refused_while_it_is_unpacked() {
    // A gigabyte of spaces packs to one megabyte.
    let mut document = b"<w:document><w:body><w:p><w:r><w:t>".to_vec();
    document.resize(1 << 30, b' ');
    let file = zip(&[("word/document.xml", &document)]);
    drop(document);
    assert!(file.len() < 2 << 20);
    assert!(matches!(
        read_bytes(&file, Format::Docx),
        Err(Refusal::UnpacksTooBig { .. })
    ));

    let names: Vec<_> = (0..10_001).map(|number| format!("part{number}")).collect();
    let parts: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert_eq!(
        read_bytes(&zip(&parts), Format::Docx),
        Err(Refusal::TooManyParts { max: 10_000 })
    );

    let deep = "<w:sdt>".repeat(5_000);
    assert!(matches!(
        read_bytes(&docx(&deep, &[]), Format::Docx),
        Err(Refusal::Damaged { .. })
    ));

    let attributes = (0..100_000).fold(String::new(), |mut all, number| {
        write!(all, " a{number}='x'").unwrap();
        all
    });
    let wide = docx(
        &format!("<w:p{attributes}><w:r><w:t>ok</w:t></w:r></w:p>"),
        &[],
    );
    assert_eq!(read_bytes(&wide, Format::Docx).unwrap().text, "ok");
}

/// Relations of the document: kind (also the id) and target.
fn relations(all: &[(&str, &str)]) -> String {
    let all: String = all
        .iter()
        .map(|(kind, target)| {
            format!("<Relationship Id='{target}' Type='http://x/{kind}' Target='{target}'/>")
        })
        .collect();
    format!("<Relationships>{all}</Relationships>")
}

const RELATIONS: &str = "word/_rels/document.xml.rels";

#[test]
fn parts_are_found_under_any_name_and_damage_in_them_is_told() {
    let relations = relations(&[
        ("styles", "styles2.xml"),
        ("numbering", "numbering2.xml"),
        ("footnotes", "footnotes2.xml"),
    ]);
    let body = paragraph("<w:pStyle w:val='H2'/>", "Uvod")
        + &item(0, "jedan")
        + "<w:p><w:r><w:t>Rok</w:t><w:footnoteReference w:id='2'/></w:r></w:p>";
    let read = |notes: &str| {
        let file = docx(
            &body,
            &[
                (RELATIONS, &relations),
                ("word/styles2.xml", STYLES),
                ("word/numbering2.xml", NUMBERING),
                ("word/footnotes2.xml", notes),
            ],
        );
        read_bytes(&file, Format::Docx).unwrap()
    };
    let notes = "<w:footnotes><w:footnote w:id='2'><w:p><w:r><w:t>15 dana.</w:t></w:r></w:p></w:footnote></w:footnotes>";
    let whole = read(notes);
    assert_eq!(
        blocks(&whole),
        [
            (BlockKind::Heading(2), "Uvod"),
            (BlockKind::ListItem, "1. jedan"),
            (BlockKind::Paragraph, "Rok¹"),
            (BlockKind::Paragraph, "¹ 15 dana."),
        ]
    );
    assert_eq!(whole.warnings, []);
    let broken = read(&notes[..60]);
    assert!(
        matches!(&broken.warnings[..], [Warning::PartLeftOut { part }] if part.contains("footnotes")),
        "{:?}",
        broken.warnings
    );
}

#[test]
fn a_list_that_begins_anew_counts_from_its_start() {
    let numbering = NUMBERING.replace(
        "</w:numbering>",
        "<w:num w:numId='8'><w:abstractNumId w:val='0'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='1'/></w:lvlOverride></w:num>\
         <w:num w:numId='9'><w:abstractNumId w:val='0'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='3'/>\
         <w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='upperRoman'/><w:lvlText w:val='(%1)'/></w:lvl></w:lvlOverride></w:num></w:numbering>",
    );
    let in_list = |list: &str, text: &str| {
        paragraph(
            &format!("<w:numPr><w:ilvl w:val='0'/><w:numId w:val='{list}'/></w:numPr>"),
            text,
        )
    };
    let body = [
        in_list("7", "a"),
        in_list("7", "b"),
        in_list("8", "c"),
        in_list("8", "d"),
        in_list("9", "e"),
        in_list("9", "f"),
    ]
    .concat();
    let file = docx(&body, &[("word/numbering.xml", &numbering)]);
    let extracted = read_bytes(&file, Format::Docx).unwrap();
    assert_eq!(
        texts(&extracted),
        ["1. a", "2. b", "1. c", "2. d", "(III) e", "(IV) f"]
    );
}

#[test]
fn headers_and_footers_are_written_once() {
    let margin = |texts: &[&str]| {
        let paragraphs: String = texts.iter().map(|text| paragraph("", text)).collect();
        format!("<w:hdr>{paragraphs}</w:hdr>")
    };
    let file = docx(
        &paragraph("", "Rješenje."),
        &[
            (
                RELATIONS,
                &relations(&[
                    ("header", "h1.xml"),
                    ("footer", "f1.xml"),
                    ("header", "h2.xml"),
                ]),
            ),
            ("word/h1.xml", &margin(&["Urbroj 251-99-77"])),
            ("word/h2.xml", &margin(&["Urbroj 251-99-77", "Povjerljivo"])),
            (
                "word/f1.xml",
                &margin(&["OIB 12345678903", "Stranica 1 od 3"]),
            ),
        ],
    );
    let extracted = read_bytes(&file, Format::Docx).unwrap();
    assert_eq!(
        texts(&extracted),
        [
            "Urbroj 251-99-77",
            "Povjerljivo",
            "Rješenje.",
            "OIB 12345678903"
        ]
    );
    // A header alone does not hide that the text is damaged.
    let file = docx(
        "<w:p></w:oops>",
        &[
            (RELATIONS, &relations(&[("header", "h1.xml")])),
            ("word/h1.xml", &margin(&["Urbroj"])),
        ],
    );
    assert!(matches!(
        read_bytes(&file, Format::Docx),
        Err(Refusal::Damaged { .. })
    ));
}

#[test]
fn boxes_and_symbols_are_letters() {
    let body = "<w:p><w:r><w:t xml:space='preserve'>Pristajem: </w:t></w:r><w:r><w:sym w:font='Wingdings' w:char='F0FE'/></w:r>\
        <w:r><w:t xml:space='preserve'> DA </w:t></w:r><w:r><w:sym w:font='Wingdings' w:char='F0A8'/></w:r><w:r><w:t> NE</w:t></w:r></w:p>\
        <w:p><w:r><w:fldChar w:fldCharType='begin'><w:ffData><w:checkBox><w:default w:val='0'/><w:checked/></w:checkBox></w:ffData></w:fldChar></w:r>\
        <w:r><w:t xml:space='preserve'> oženjen </w:t></w:r><w:r><w:fldChar><w:ffData><w:checkBox><w:default w:val='0'/></w:checkBox></w:ffData></w:fldChar><w:t> udan</w:t></w:r></w:p>\
        <w:p><w:r><w:t>10 </w:t><w:sym w:font='Symbol' w:char='F06D'/><w:t>m </w:t><w:sym w:font='Symbol' w:char='F0A3'/><w:t> x</w:t><w:sym w:font='Mine' w:char='F041'/></w:r></w:p>";
    let extracted = read_bytes(&docx(body, &[]), Format::Docx).unwrap();
    assert_eq!(
        texts(&extracted),
        ["Pristajem: ☒ DA ☐ NE", "☒ oženjen ☐ udan", "10 μm ≤ x"]
    );
}

#[test]
fn pages_in_a_document_are_read_and_other_documents_told() {
    let body = paragraph("", "Uvod.")
        + "<w:altChunk r:id='chunk.html'/><w:altChunk r:id='chunk.rtf'/>"
        + &paragraph("", "Kraj.");
    let file = docx(
        &body,
        &[
            (
                RELATIONS,
                &relations(&[("aFChunk", "chunk.html"), ("aFChunk", "chunk.rtf")]),
            ),
            (
                "word/chunk.html",
                "<html><body><h1>Ugovor</h1><p>Cijena je 500 eura.</p></body></html>",
            ),
            ("word/chunk.rtf", "{\\rtf1 a}"),
        ],
    );
    let extracted = read_bytes(&file, Format::Docx).unwrap();
    assert_eq!(
        texts(&extracted),
        ["Uvod.", "Ugovor", "Cijena je 500 eura.", "Kraj."]
    );
    assert!(
        matches!(&extracted.warnings[..], [Warning::PartNotRead { part }] if part.contains("chunk.rtf")),
        "{:?}",
        extracted.warnings
    );
}

#[test]
fn cells_stand_in_their_columns() {
    let cell = |span: &str, text: &str| {
        format!("<w:tc><w:tcPr>{span}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>")
    };
    let rows = [
        [cell("", "Ime"), cell("", "Iznos"), cell("", "Napomena")].concat(),
        cell("<w:gridSpan w:val='2'/>", "Spojeno") + &cell("", "ispod napomene"),
        "<w:trPr><w:gridBefore w:val='1'/></w:trPr>".to_owned()
            + &cell("", "5")
            + &cell("", "ovdje"),
        cell("<w:gridSpan w:val='3'/>", "Odlomak u okviru"),
        cell("<w:gridSpan w:val='4000000000'/>", "a") + &cell("", "b"),
    ];
    let rows: String = rows
        .iter()
        .map(|row| format!("<w:tr>{row}</w:tr>"))
        .collect();
    let file = docx(&format!("<w:tbl>{rows}</w:tbl>"), &[]);
    let extracted = read_bytes(&file, Format::Docx).unwrap();
    let [header, merged, before, framed, wide] = blocks(&extracted)[..] else {
        panic!("{}", extracted.text);
    };
    assert_eq!(header, (BlockKind::TableHeader, "Ime | Iznos | Napomena"));
    assert_eq!(merged, (BlockKind::TableRow, "Spojeno |  | ispod napomene"));
    assert_eq!(before, (BlockKind::TableRow, "| 5 | ovdje"));
    assert_eq!(framed, (BlockKind::Paragraph, "Odlomak u okviru"));
    assert_eq!(wide.1.matches('|').count(), 63);
}

#[test]
fn documents_of_pictures_are_scanned() {
    let body = "<w:p><w:r><w:drawing><a:blip r:embed='media/a.png'/></w:drawing></w:r></w:p>";
    let with = |text: &str, pixels: u32| {
        let document = format!(
            "<w:document><w:body>{body}{}</w:body></w:document>",
            paragraph("", text)
        );
        let relations = relations(&[("image", "media/a.png")]);
        let file = zip(&[
            ("word/document.xml", document.as_bytes()),
            (RELATIONS, relations.as_bytes()),
            ("word/media/a.png", &picture_of(pixels, 40)),
        ]);
        read_bytes(&file, Format::Docx)
    };
    assert_eq!(with("", 300), Err(Refusal::Scanned { pages: 1 }));
    assert_eq!(with("", 299), Err(Refusal::NoText), "a logo");
    assert_eq!(
        with("Uz dopis:", 300).unwrap().warnings,
        [Warning::PicturesWithoutText { pictures: 1 }]
    );
    assert_eq!(with("Uz dopis:", 299).unwrap().warnings, []);
}

#[test]
fn documents_with_macros_and_templates_are_read_as_documents() {
    let file = docx(&paragraph("", "a"), &[]);
    for name in ["a.docx", "a.docm", "A.DOTX"] {
        assert_eq!(
            detect_format(Path::new(name), &file),
            Detection::Supported(Format::Docx),
            "{name}"
        );
    }
}
