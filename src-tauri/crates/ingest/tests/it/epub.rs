//! Books built page by page.

use docent_domain::Format;
use docent_ingest::{BlockKind, Refusal, Warning};

use crate::fixtures::{blocks, docx, epub, read_bytes, zip};

fn page(body: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='utf-8'?><html xmlns='http://www.w3.org/1999/xhtml'><head><title/><script src='x.js'/></head><body>{body}</body></html>"
    )
}

#[test]
fn chapters_in_their_order_of_reading() {
    let first = page("<h1>Prvo poglavlje</h1><p>Bila je <em>jednom</em>\n šuma.<a id='x'/></p>");
    let second = page("<h1>Drugo</h1><ul><li>jela</li></ul>");
    let file = epub(
        &[("prvo poglavlje.xhtml", &first), ("2.xhtml", &second)],
        &[],
    );
    let extracted = read_bytes(&file, Format::Epub).unwrap();
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Prvo poglavlje"),
            (BlockKind::Paragraph, "Bila je jednom šuma."),
            (BlockKind::Heading(1), "Drugo"),
            (BlockKind::ListItem, "- jela"),
        ]
    );
    assert_eq!(extracted.title.as_deref(), Some("Šuma & more"));
    assert_eq!(extracted.language_hint.as_deref(), Some("hr"));
}

#[test]
fn chapters_that_do_not_say_that_they_are_xhtml() {
    for start in [
        "",
        "<!DOCTYPE html>",
        "<html xmlns='http://www.w3.org/1999/xhtml'>",
    ] {
        let page = format!("{start}<head><title/><script src='x.js'/></head><p>Tekst.</p>");
        let file = epub(&[("a.xhtml", &page)], &[]);
        assert_eq!(read_bytes(&file, Format::Epub).unwrap().text, "Tekst.");
    }
}

#[test]
fn every_chapter_that_gives_no_text_is_counted() {
    let text = page("<p>tekst</p>");
    let cover = page("<svg><title>Naslovnica</title></svg>");
    let swallowed = page(&format!("<script>{}", "riječ po riječ ".repeat(50)));
    let chapters = [
        ("a.xhtml", text.as_str()),
        ("b.xhtml", &cover),
        ("c.xhtml", &swallowed),
    ];
    let file = epub(&chapters, &[]);
    let extracted = read_bytes(&file, Format::Epub).unwrap();
    assert_eq!(extracted.text, "tekst");
    let left_out = |part: &str| [Warning::PartLeftOut { part: part.into() }];
    assert_eq!(extracted.warnings, left_out("1 of 3 chapters"));

    let package = "<package><manifest>\
        <item id='a' href='a.html' media-type='text/x-oeb1-document'/>\
        <item id='b' href='b.svg' media-type='image/svg+xml'/>\
        <item id='toc' href='toc.xhtml' media-type='application/xhtml+xml' properties='nav'/></manifest>\
        <spine><itemref idref='toc'/><itemref idref='a'/><itemref idref='b'/><itemref idref='none'/></spine></package>";
    let container = "<container><rootfile full-path='book.opf'/></container>";
    let file = zip(&[
        ("META-INF/container.xml", container.as_bytes()),
        ("book.opf", package.as_bytes()),
        ("a.html", text.as_bytes()),
    ]);
    let extracted = read_bytes(&file, Format::Epub).unwrap();
    assert_eq!(extracted.text, "tekst");
    assert_eq!(extracted.warnings, left_out("2 of 3 chapters"));
}

#[test]
fn locked_damaged_and_other_files() {
    let text = page("<p>tekst</p>");
    let lock = "<encryption><EncryptedData><CipherData><CipherReference URI='OEBPS/text/a%20b.xhtml'/></CipherData></EncryptedData></encryption>";
    let file = epub(
        &[("a b.xhtml", &text)],
        &[("META-INF/encryption.xml", lock)],
    );
    let refusal = read_bytes(&file, Format::Epub).unwrap_err();
    assert!(refusal.to_string().contains("locked"), "{refusal}");
    // An encrypted font locks nothing.
    let file = epub(
        &[("b.xhtml", &text)],
        &[(
            "META-INF/encryption.xml",
            &lock.replace("a%20b.xhtml", "font.otf"),
        )],
    );
    assert_eq!(read_bytes(&file, Format::Epub).unwrap().text, "tekst");

    let file = epub(&[("a.xhtml", "\0\0\0\u{1}"), ("b.xhtml", &text)], &[]);
    let extracted = read_bytes(&file, Format::Epub).unwrap();
    let part = "1 of 2 chapters".to_owned();
    assert_eq!(extracted.warnings, [Warning::PartLeftOut { part }]);
    assert_eq!(extracted.text, "tekst");
    assert!(matches!(
        read_bytes(&epub(&[], &[]), Format::Epub),
        Err(Refusal::Damaged { .. })
    ));
    let refusal = read_bytes(&docx("", &[]), Format::Epub).unwrap_err();
    assert!(
        refusal.to_string().contains("holds a Word document"),
        "{refusal}"
    );
    let bomb = page(&" ".repeat(100 << 20));
    assert!(matches!(
        read_bytes(&epub(&[("a.xhtml", &bomb)], &[]), Format::Epub),
        Err(Refusal::UnpacksTooBig { .. })
    ));
}
