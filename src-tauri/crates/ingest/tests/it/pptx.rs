//! Presentations built slide by slide.

use docent_domain::Format;
use docent_ingest::{BlockKind, Refusal, Warning};

use crate::fixtures::{blocks, compound, picture_of, pptx, read_bytes, xlsx, zip};

/// A shape with paragraphs; `placeholder` as it stands in the file.
fn shape(placeholder: &str, paragraphs: &str) -> String {
    format!(
        "<p:sp><p:nvSpPr><p:nvPr>{placeholder}</p:nvPr></p:nvSpPr><p:txBody>{paragraphs}</p:txBody></p:sp>"
    )
}

fn paragraph(properties: &str, text: &str) -> String {
    format!("<a:p><a:pPr {properties}</a:pPr><a:r><a:t>{text}</a:t></a:r></a:p>")
}

#[test]
fn slides_with_their_titles_tables_and_notes() {
    let first = [
        shape(
            "<p:ph idx='1'/>",
            &(paragraph(">", "Prva")
                + &paragraph("lvl='1'>", "Pod &amp; prva")
                + &paragraph("><a:buNone/>", "Bez točke")),
        ),
        shape(
            "<p:ph type='title'/>",
            "<a:p><a:r><a:t>Plan</a:t></a:r><a:br/><a:r><a:t>rada</a:t></a:r></a:p>",
        ),
        shape(
            "<p:ph type='sldNum'/>",
            "<a:p><a:fld><a:t>1</a:t></a:fld></a:p>",
        ),
        shape("", &paragraph(">", "Slobodan tekst")),
    ]
    .concat();
    let notes = [
        shape("<p:ph type='sldImg'/>", ""),
        shape(
            "<p:ph type='body' idx='1'/>",
            &paragraph(">", "Reći i ovo."),
        ),
        shape("<p:ph type='sldNum'/>", &paragraph(">", "1")),
    ]
    .concat();
    let table = "<p:graphicFrame><a:tbl>\
        <a:tr><a:tc><a:txBody><a:p><a:r><a:t>Mjesec</a:t></a:r></a:p></a:txBody></a:tc><a:tc><a:p><a:r><a:t>Iznos</a:t></a:r></a:p></a:tc></a:tr>\
        <a:tr><a:tc><a:p><a:r><a:t>Ožujak</a:t></a:r></a:p><a:p><a:r><a:t>i travanj</a:t></a:r></a:p></a:tc><a:tc><a:p><a:r><a:t>5</a:t></a:r></a:p></a:tc></a:tr>\
        </a:tbl></p:graphicFrame>";
    let hidden = format!(
        "<p:sld show='0'>{}</p:sld>",
        shape("", &paragraph(">", "tajna"))
    );
    let file = pptx(&[
        (&first, Some(&notes)),
        (&hidden, None),
        (table, None),
        ("", None),
    ]);
    let extracted = read_bytes(&file, Format::Pptx).unwrap();
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Slide 1: Plan rada"),
            (BlockKind::ListItem, "- Prva"),
            (BlockKind::ListItem, "  - Pod & prva"),
            (BlockKind::Paragraph, "Bez točke"),
            (BlockKind::Paragraph, "Slobodan tekst"),
            (BlockKind::Heading(2), "Notes"),
            (BlockKind::Paragraph, "Reći i ovo."),
            (BlockKind::Heading(1), "Slide 3"),
            (BlockKind::TableHeader, "Mjesec | Iznos"),
            (BlockKind::TableRow, "Ožujak i travanj | 5"),
        ]
    );
    assert_eq!(extracted.title.as_deref(), Some("Plan rada"));
}

#[test]
fn a_damaged_slide_costs_that_slide_alone() {
    let good = shape("", &paragraph(">", "dobar"));
    let file = pptx(&[("<p:sld><a:p></oops>", None), (&good, None)]);
    let extracted = read_bytes(&file, Format::Pptx).unwrap();
    assert_eq!(extracted.text, "Slide 2\n\ndobar");
    assert!(matches!(
        extracted.warnings[..],
        [Warning::PartLeftOut { .. }]
    ));
    let file = pptx(&[("<p:sld></oops>", None)]);
    assert!(matches!(
        read_bytes(&file, Format::Pptx),
        Err(Refusal::Damaged { .. })
    ));
}

#[test]
fn passwords_wrong_names_and_bombs_are_refused() {
    assert_eq!(
        read_bytes(&compound(&["EncryptedPackage"]), Format::Pptx),
        Err(Refusal::PasswordProtected)
    );
    let refusal = read_bytes(&xlsx(&[], &[]), Format::Pptx).unwrap_err();
    assert!(
        refusal.to_string().contains("holds an Excel workbook"),
        "{refusal}"
    );
    let bomb = shape("", &paragraph(">", &" ".repeat(100 << 20)));
    assert!(matches!(
        read_bytes(&pptx(&[(&bomb, None)]), Format::Pptx),
        Err(Refusal::UnpacksTooBig { .. })
    ));
}

#[test]
fn slides_of_pictures_are_scanned() {
    let slide = "<p:pic><p:blipFill><a:blip r:embed='r1'/></p:blipFill></p:pic>";
    let read = |text: &str, pixels: u32| {
        let text = shape("", &paragraph(">", text));
        let slide = format!("<p:sld>{slide}{text}</p:sld>");
        let picture = picture_of(pixels, 40);
        let relations = "<Relationships><Relationship Id='r1' Type='http://x/image' Target='../media/a.png'/></Relationships>";
        let file = zip(&[
            (
                "ppt/presentation.xml",
                b"<p:presentation><p:sldId r:id='r1'/><p:sldId r:id='r2'/></p:presentation>",
            ),
            (
                "ppt/_rels/presentation.xml.rels",
                b"<Relationships><Relationship Id='r1' Type='x/slide' Target='slides/a.xml'/><Relationship Id='r2' Type='x/slide' Target='slides/b.xml'/></Relationships>",
            ),
            ("ppt/slides/a.xml", slide.as_bytes()),
            ("ppt/slides/_rels/a.xml.rels", relations.as_bytes()),
            ("ppt/slides/b.xml", slide.as_bytes()),
            ("ppt/slides/_rels/b.xml.rels", relations.as_bytes()),
            ("ppt/media/a.png", &picture),
        ]);
        read_bytes(&file, Format::Pptx)
    };
    assert_eq!(read("", 300), Err(Refusal::Scanned { pages: 1 }));
    assert_eq!(read("", 299), Err(Refusal::NoText));
    assert_eq!(
        read("Plan", 300).unwrap().warnings,
        [Warning::PicturesWithoutText { pictures: 1 }],
        "the same on both"
    );
}
