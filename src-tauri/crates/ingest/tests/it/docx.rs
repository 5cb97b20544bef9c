//! Word documents built part by part.

use std::fmt::Write as _;

use docent_domain::Format;
use docent_ingest::{BlockKind, Refusal, Warning};

use crate::fixtures::{blocks, docx, read_bytes, zip};

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
