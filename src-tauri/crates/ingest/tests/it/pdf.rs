//! PDFs: text in reading order, positions, and the reasons for having none.

use docent_domain::{Format, Span};
use docent_ingest::{BlockKind, Extracted, Refusal, boxes_of};

use crate::fixtures::{PdfOptions, Text, pdf, read_bytes, text};

fn blocks(extracted: &Extracted) -> Vec<(BlockKind, &str)> {
    extracted
        .blocks
        .iter()
        .map(|block| (block.kind, block.span.slice(&extracted.text).unwrap()))
        .collect()
}

fn extract(pages: &[Vec<Text<'_>>], options: &PdfOptions<'_>) -> Extracted {
    read_bytes(&pdf(pages, options), Format::Pdf).unwrap()
}

fn span_of(extracted: &Extracted, part: &str) -> Span {
    let byte = extracted
        .text
        .find(part)
        .unwrap_or_else(|| panic!("{part:?} in {:?}", extracted.text));
    let start = extracted.text[..byte].chars().count() as u32;
    Span::new(start, start + part.chars().count() as u32)
}

#[test]
fn croatian_paragraphs_headings_and_hyphens() {
    let page = vec![
        Text {
            x: 70.0,
            y: 780.0,
            size: 20.0,
            font: 2,
            words: "Zakon o zaštiti",
        },
        text(
            70.0,
            740.0,
            11.0,
            "Čuvanje šuma uređuje ovaj zakon, a provedbu infor-",
        ),
        text(
            70.0,
            726.0,
            11.0,
            "macijskog sustava propisuje ministar koji je za to",
        ),
        text(70.0, 712.0, 11.0, "nadležan."),
        text(70.0, 684.0, 11.0, "• prva točka"),
        text(70.0, 670.0, 11.0, "• druga točka"),
    ];
    let extracted = extract(&[page], &PdfOptions::default());
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Zakon o zaštiti"),
            (
                BlockKind::Paragraph,
                "Čuvanje šuma uređuje ovaj zakon, a provedbu informacijskog sustava propisuje ministar koji je za to nadležan."
            ),
            (BlockKind::ListItem, "• prva točka"),
            (BlockKind::ListItem, "• druga točka"),
        ]
    );
    assert_eq!(extracted.title.as_deref(), Some("Zakon o zaštiti"));
    let boxes = boxes_of(&extracted, span_of(&extracted, "informacijskog"));
    assert_eq!(boxes.len(), 2, "a word over two lines stands in two boxes");
    assert!(
        boxes[0].right > boxes[1].right && boxes[0].bottom < boxes[1].bottom,
        "{boxes:?}"
    );
}

#[test]
fn boxes_are_fractions_from_the_top_left() {
    let page = || {
        vec![
            text(100.0, 742.0, 20.0, "Mark this"),
            text(100.0, 100.0, 12.0, "bottom line"),
        ]
    };
    let extracted = extract(&[page()], &PdfOptions::default());
    let found = boxes_of(&extracted, span_of(&extracted, "Mark this"))[0];
    assert_eq!(found.page, 1);
    assert!((found.left - 100.0 / 595.0).abs() < 0.01, "{found:?}");
    // The baseline stands 100 points below the top.
    assert!(
        found.top < 100.0 / 842.0 && found.bottom > 100.0 / 842.0,
        "{found:?}"
    );
    assert!(found.bottom - found.top < 30.0 / 842.0, "{found:?}");
    assert!(
        found.right > found.left + 0.1 && found.right < 0.4,
        "{found:?}"
    );

    // The same page, turned to the right: its top is now at the right edge, and its lines run down.
    let turned = extract(
        &[page()],
        &PdfOptions {
            rotate: 90,
            ..PdfOptions::default()
        },
    );
    assert_eq!(
        (turned.pages[0].width, turned.pages[0].height),
        (842.0, 595.0)
    );
    assert_eq!(turned.text, extracted.text);
    let found = boxes_of(&turned, span_of(&turned, "Mark this"))[0];
    assert!(
        found.bottom - found.top > 0.1 && found.right - found.left < 30.0 / 842.0,
        "{found:?}"
    );
    assert!(found.left > 0.8 && found.top < 0.3, "{found:?}");
    // A part of a line that runs down is a part of its height.
    let part = boxes_of(&turned, span_of(&turned, "this"))[0];
    assert_eq!(
        (part.left, part.right, part.bottom),
        (found.left, found.right, found.bottom)
    );
    let share = (part.bottom - part.top) / (found.bottom - found.top);
    assert!((share - 4.0 / 9.0).abs() < 0.01, "{share}");
}

#[test]
fn paragraphs_go_on_over_pages_and_running_heads_do_not() {
    let page = |number: &'static str, body: &'static str| {
        vec![
            text(70.0, 810.0, 9.0, "Pravilnik o radu"),
            // Another on every page, but it counts them, and the headings have it.
            text(
                200.0,
                60.0,
                9.0,
                match number {
                    "1" => "1.1 Odmor 11",
                    "2" => "1.1 Odmor 12",
                    "3" => "1.2 Sindikat 13",
                    _ => "1.3 Kazne 14",
                },
            ),
            text(70.0, 710.0, 11.0, body),
            text(300.0, 30.0, 9.0, number),
        ]
    };
    let heading = |words: &'static str| Text {
        x: 70.0,
        y: 760.0,
        size: 14.0,
        font: 2,
        words,
    };
    let mut pages = [
        page("1", "Radnik ima pravo na odmor koji traje"),
        page("2", "najmanje dvadeset dana u godini."),
        page("3", "Sindikat daje mišljenje o svakoj odluci poslodavca."),
        page("4", "Kazna je određena zakonom i ovim pravilnikom."),
    ];
    pages[0].insert(0, heading("1.1 Odmor"));
    pages[2].insert(0, heading("1.2 Sindikat"));
    pages[3].insert(0, heading("1.3 Kazne"));
    let extracted = extract(&pages, &PdfOptions::default());
    assert_eq!(
        blocks(&extracted),
        [
            // What is nowhere else stays where it is said first.
            (BlockKind::Paragraph, "Pravilnik o radu"),
            (BlockKind::Heading(1), "1.1 Odmor"),
            (
                BlockKind::Paragraph,
                "Radnik ima pravo na odmor koji traje najmanje dvadeset dana u godini."
            ),
            (BlockKind::Heading(1), "1.2 Sindikat"),
            (
                BlockKind::Paragraph,
                "Sindikat daje mišljenje o svakoj odluci poslodavca."
            ),
            (BlockKind::Heading(1), "1.3 Kazne"),
            (
                BlockKind::Paragraph,
                "Kazna je određena zakonom i ovim pravilnikom."
            ),
        ]
    );
    let boxes = boxes_of(&extracted, span_of(&extracted, "traje najmanje"));
    assert_eq!(
        boxes.iter().map(|found| found.page).collect::<Vec<_>>(),
        [1, 2]
    );
}

/// The texts of a document's lines, page by page.
fn lines(extracted: &Extracted) -> Vec<Vec<&str>> {
    let of = |span: Span| span.slice(&extracted.text).unwrap();
    extracted
        .pages
        .iter()
        .map(|page| page.lines.iter().map(|line| of(line.span)).collect())
        .collect()
}

#[test]
fn rows_at_the_edges_of_pages_stay() {
    // A statement, and a table of numbers alone, both without a head: only their numbers differ.
    let statement: Vec<Vec<String>> = (0..4)
        .map(|page| {
            (0..50)
                .map(|row| format!("{}.3.2026.|Placanje|{},50 EUR", row + page, row * 3 + page))
                .collect()
        })
        .collect();
    let numbers: Vec<Vec<String>> = (0..4)
        .map(|page| {
            (0..50)
                .map(|row| format!("{}|{row}", 2018 + page * 50 + row))
                .collect()
        })
        .collect();
    for rows in [statement, numbers] {
        let pages: Vec<Vec<Text<'_>>> = rows
            .iter()
            .map(|rows| {
                let cells = (0_u8..).zip(rows).flat_map(|(row, cells)| {
                    let y = 812.0 - 15.0 * f32::from(row);
                    let cells = (0_u8..).zip(cells.split('|'));
                    cells.map(move |(cell, words)| {
                        text(60.0 + 150.0 * f32::from(cell), y, 11.0, words)
                    })
                });
                cells.collect()
            })
            .collect();
        let extracted = extract(&pages, &PdfOptions::default());
        let wanted: Vec<Vec<String>> = rows
            .iter()
            .map(|rows| rows.iter().map(|row| row.replace('|', " | ")).collect())
            .collect();
        assert_eq!(lines(&extracted), wanted);
    }
}

#[test]
fn what_tells_pages_apart_stays_and_what_does_not_stays_once() {
    let page = |number: &'static str, sum: &'static str| {
        vec![
            text(60.0, 800.0, 11.0, "Tvrtka d.o.o., Ilica 5, OIB 12345678903"),
            text(60.0, 785.0, 11.0, number),
            text(60.0, 650.0, 11.0, "Usluga prema ugovoru."),
            text(60.0, 60.0, 11.0, sum),
            text(60.0, 30.0, 8.0, "IBAN HR1210010051863000160"),
        ]
    };
    let pages = [
        page("Račun br. 12/2026", "Ukupno: 1234,50 EUR"),
        // They happen to count the pages, but they are no page numbers.
        page("Račun br. 13/2026", "Ukupno: 1545,50 EUR"),
        page("Račun br. 14/2026", "Ukupno: 1856,50 EUR"),
    ];
    for count in [2, 3] {
        let extracted = extract(&pages[..count], &PdfOptions::default());
        let mut wanted = vec![vec![
            "Tvrtka d.o.o., Ilica 5, OIB 12345678903",
            "IBAN HR1210010051863000160",
            "Račun br. 12/2026",
            "Usluga prema ugovoru.",
            "Ukupno: 1234,50 EUR",
        ]];
        for page in &pages[1..count] {
            wanted.push(vec![page[1].words, page[2].words, page[3].words]);
        }
        assert_eq!(lines(&extracted), wanted);
    }
}

#[test]
fn page_numbers_go_wherever_they_stand() {
    let page = |words: &'static [(f32, &'static str)]| -> Vec<Text<'static>> {
        let body = text(70.0, 500.0, 11.0, "The text of a page.");
        let line = |(y, words): &(f32, &'static str)| text(290.0, *y, 11.0, words);
        words.iter().map(line).chain([body]).collect()
    };
    let pages = [
        page(&[(30.0, "i")]),
        page(&[(30.0, "ii")]),
        // Where a chapter begins, the number stands at the foot.
        page(&[(30.0, "1")]),
        page(&[(810.0, "2")]),
        page(&[(810.0, "3")]),
        page(&[(810.0, "4")]),
        page(&[(810.0, "5"), (30.0, "Potpisano. Stranica 7 od 9")]),
        page(&[(810.0, "6"), (30.0, "Potpisano. Stranica 8 od 9")]),
        page(&[(810.0, "7"), (30.0, "Potpisano. Stranica 9 od 9")]),
        // No page has this number.
        page(&[(810.0, "1918")]),
    ];
    let extracted = extract(&pages, &PdfOptions::default());
    let body = "The text of a page.";
    let mut wanted = vec![vec![body]; 10];
    wanted[6].insert(0, "Potpisano. Stranica 7 od 9");
    wanted[9].insert(0, "1918");
    assert_eq!(lines(&extracted), wanted);
}

#[test]
fn numbers_alone_repeat_no_title_of_the_outline() {
    let pages = [
        vec![
            text(70.0, 780.0, 16.0, "Broj stanovnika"),
            text(70.0, 740.0, 11.0, "Broj raste iz godine u godinu."),
        ],
        vec![
            text(70.0, 800.0, 11.0, "2018"),
            text(200.0, 800.0, 11.0, "391"),
            text(70.0, 780.0, 11.0, "2019"),
            text(200.0, 780.0, 11.0, "402"),
            text(70.0, 700.0, 11.0, "Tako je bilo."),
            text(300.0, 40.0, 11.0, "Broj stanovnika"),
        ],
    ];
    let options = PdfOptions {
        outline: &[("Broj stanovnika", 0)],
        ..PdfOptions::default()
    };
    let extracted = extract(&pages, &options);
    assert_eq!(
        lines(&extracted)[1],
        ["2018 | 391", "2019 | 402", "Tako je bilo."]
    );
}

#[test]
fn the_outline_names_the_headings() {
    let pages = [
        vec![
            text(70.0, 780.0, 11.0, "1 Uvod"),
            text(70.0, 740.0, 11.0, "Prvi odlomak."),
        ],
        vec![
            text(70.0, 780.0, 11.0, "2 Opseg"),
            text(70.0, 740.0, 11.0, "Drugi odlomak."),
        ],
        vec![
            text(70.0, 780.0, 11.0, "3 Kraj"),
            text(70.0, 740.0, 11.0, "Treci odlomak."),
        ],
    ];
    let outline = [("Uvod", 0), ("Opseg", 1), ("Kraj", 2)];
    let options = PdfOptions {
        outline: &outline,
        title: Some("Vodic"),
        ..PdfOptions::default()
    };
    let extracted = extract(&pages, &options);
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "1 Uvod"),
            (BlockKind::Paragraph, "Prvi odlomak."),
            (BlockKind::Heading(1), "2 Opseg"),
            (BlockKind::Paragraph, "Drugi odlomak."),
            (BlockKind::Heading(1), "3 Kraj"),
            (BlockKind::Paragraph, "Treci odlomak."),
        ]
    );
    assert_eq!(extracted.title.as_deref(), Some("Vodic"));
}

#[test]
fn tables_and_code_keep_their_shape() {
    let mono = |y: f32, words: &'static str| Text {
        x: 70.0,
        y,
        size: 10.0,
        font: 3,
        words,
    };
    let page = vec![
        text(
            70.0,
            800.0,
            11.0,
            "Prices of the year are listed below in euros.",
        ),
        text(70.0, 770.0, 11.0, "Item"),
        text(300.0, 770.0, 11.0, "Price"),
        text(70.0, 755.0, 11.0, "Apple"),
        text(300.0, 755.0, 11.0, "3"),
        mono(720.0, "fn main() {"),
        mono(708.0, "}"),
    ];
    let extracted = extract(&[page], &PdfOptions::default());
    assert_eq!(
        blocks(&extracted),
        [
            (
                BlockKind::Paragraph,
                "Prices of the year are listed below in euros."
            ),
            (BlockKind::TableRow, "Item | Price"),
            (BlockKind::TableRow, "Apple | 3"),
            (BlockKind::Code, "fn main() {\n}"),
        ]
    );
}

#[test]
fn no_text_has_a_reason() {
    let scanned = pdf(
        &[vec![], vec![]],
        &PdfOptions {
            picture: true,
            ..PdfOptions::default()
        },
    );
    assert_eq!(
        read_bytes(&scanned, Format::Pdf),
        Err(Refusal::Scanned { pages: 2 })
    );
    let empty = pdf(&[vec![]], &PdfOptions::default());
    assert_eq!(read_bytes(&empty, Format::Pdf), Err(Refusal::NoText));
    let locked = pdf(
        &[vec![text(70.0, 700.0, 12.0, "secret")]],
        &PdfOptions {
            encrypted: true,
            ..PdfOptions::default()
        },
    );
    assert_eq!(
        read_bytes(&locked, Format::Pdf),
        Err(Refusal::PasswordProtected)
    );
    let whole = pdf(
        &[vec![text(70.0, 700.0, 12.0, "text")]],
        &PdfOptions::default(),
    );
    assert!(matches!(
        read_bytes(&whole[..40], Format::Pdf),
        Err(Refusal::Damaged { .. })
    ));
}

/// A page that is full of text.
fn full_page() -> Vec<Text<'static>> {
    (0_u8..30)
        .map(|line| {
            let y = 780.0 - 20.0 * f32::from(line);
            text(
                70.0,
                y,
                12.0,
                "This page has text, also where a picture lies behind it.",
            )
        })
        .collect()
}

const STAMPS: [&str; 3] = [
    "Dokument je potpisan. Stranica 1 od 3",
    "Dokument je potpisan. Stranica 2 od 3",
    "Dokument je potpisan. Stranica 3 od 3",
];

#[test]
fn a_partly_scanned_document_is_read_with_a_warning() {
    let pages = [full_page(), vec![], vec![text(60.0, 20.0, 8.0, STAMPS[2])]];
    let extracted = extract(
        &pages,
        &PdfOptions {
            picture: true,
            ..PdfOptions::default()
        },
    );
    assert!(extracted.text.starts_with("This page has text"));
    assert!(extracted.text.ends_with(STAMPS[2]), "a stamp stays");
    assert_eq!(
        extracted.warnings[0].to_string(),
        "2 of 3 pages hold no text (scanned?)"
    );
    assert_eq!(extracted.pages.len(), 3);
}

/// Changes what is written in a PDF. Offsets are wrong after this; readers rebuild them.
fn edited(file: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let mut file = String::from_utf8_lossy(file).into_owned();
    for (from, to) in changes {
        assert!(file.contains(from), "{from}");
        file = file.replace(from, to);
    }
    file.into_bytes()
}

#[test]
fn a_stamp_on_a_scan_is_not_its_text() {
    let pages = STAMPS.map(|stamp| vec![text(60.0, 20.0, 8.0, stamp)]);
    let options = PdfOptions {
        picture: true,
        ..PdfOptions::default()
    };
    let stamped = pdf(&pages, &options);
    assert_eq!(
        read_bytes(&stamped, Format::Pdf),
        Err(Refusal::Scanned { pages: 3 })
    );
    // Recognised before: the text lies unseen over the picture, however little it is.
    let seen = edited(&stamped, &[("BT /F1", "BT 3 Tr /F1")]);
    let extracted = read_bytes(&seen, Format::Pdf).unwrap();
    assert_eq!(extracted.warnings, []);
    // A logo beside a line is no scan.
    let logo = edited(&stamped, &[("500 0 0 700 40 40 cm", "50 0 0 70 40 740 cm")]);
    assert_eq!(read_bytes(&logo, Format::Pdf).unwrap().warnings, []);
}

#[test]
fn letters_drawn_as_curves_and_pictures_behind_drawings_are_scanned() {
    let words = |words: &'static str| [vec![text(70.0, 700.0, 12.0, words)]];
    let with = |drawn: &str| {
        let file = pdf(&words("drawn"), &PdfOptions::default());
        let file = edited(&file, &[("BT /F1 12 Tf 70 700 Td (drawn) Tj ET", drawn)]);
        read_bytes(&file, Format::Pdf)
    };
    let letter = "0 0 m 1 1 2 2 3 3 c 4 4 5 5 6 6 c 7 7 8 8 9 9 c 1 1 2 2 3 3 c h f\n";
    assert_eq!(with(&letter.repeat(20)), Err(Refusal::Scanned { pages: 1 }));
    let rule = "70 700 m 500 700 l S\n";
    assert_eq!(with(&rule.repeat(200)), Err(Refusal::NoText), "control");
    let picture = rule.repeat(300) + "q 500 0 0 700 40 40 cm /Im Do Q";
    assert_eq!(with(&picture), Err(Refusal::Scanned { pages: 1 }));
}

#[test]
fn fields_and_typed_text_stand_where_they_are_seen() {
    let page = vec![
        text(60.0, 780.0, 11.0, "Ime i prezime podnositelja zahtjeva:"),
        text(60.0, 740.0, 11.0, "Iznos:"),
        text(60.0, 705.0, 11.0, "OIB:"),
        text(60.0, 500.0, 11.0, "Zahtjev se predaje osobno."),
    ];
    let annotations = "/MediaBox [0 0 595 842]";
    let fields = "/Annots [ \
        << /Subtype /Widget /FT /Tx /V (IVAN HORVAT) /Rect [300 775 500 795] /AP << /N 90 0 R >> >> \
        << /Subtype /Widget /FT /Tx /V (7777 EUR) /Rect [300 735 500 755] >> \
        << /Subtype /Widget /FT /Tx /V (123) /Rect [300 700 500 720] /AP << /N 91 0 R >> >> \
        << /Subtype /FreeText /Contents (Rok je produljen.) /Rect [100 300 300 320] >> \
        << /Subtype /Widget /FT /Tx /F 2 /V (hidden) /Rect [300 600 500 620] >> \
        << /Subtype /Text /Contents (remark) /Rect [300 500 320 520] >> ]";
    let look = |number: u8, content: &str| {
        format!(
            "{number} 0 obj\n<< /Type /XObject /Subtype /Form /BBox [0 0 200 20] /Resources << \
             /Font << /F1 4 0 R >> >> /Length {} >>\nstream\n{content}\nendstream\nendobj\nxref\n0 ",
            content.len()
        )
    };
    // A box for each of its letters.
    let comb = "BT /F1 10 Tf 2 5 Td (1) Tj 30 0 Td (2) Tj 30 0 Td (3) Tj ET";
    let file = edited(
        &pdf(&[page], &PdfOptions::default()),
        &[
            // The size of the page is inherited.
            (annotations, fields),
            ("/Type /Pages", "/Type /Pages /MediaBox [0 0 595 842]"),
            (
                "xref\n0 ",
                &look(90, "BT /F1 10 Tf 2 5 Td (IVAN HORVAT) Tj ET"),
            ),
            ("xref\n0 ", &look(91, comb)),
        ],
    );
    let extracted = read_bytes(&file, Format::Pdf).unwrap();
    assert_eq!(
        lines(&extracted),
        [[
            "Ime i prezime podnositelja zahtjeva: | IVAN HORVAT",
            "Iznos: | 7777 EUR",
            "OIB: | 123",
            "Zahtjev se predaje osobno.",
            "Rok je produljen.",
        ]]
    );
    let page = &extracted.pages[0];
    assert_eq!((page.width, page.height), (595.0, 842.0));
    let right = page.lines[0].right * 595.0;
    assert!(
        (350.0..400.0).contains(&right),
        "where the name ends: {right}"
    );
    let typed = &page.lines[4];
    let place = [typed.left, typed.top, typed.right, typed.bottom];
    let wanted = [100.0 / 595.0, 522.0 / 842.0, 300.0 / 595.0, 542.0 / 842.0];
    for (found, wanted) in place.iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-3, "{place:?}");
    }
}

#[test]
fn a_note_in_the_margin_that_runs_upwards_is_one_line() {
    // The matrix of a margin stamp, as preprint servers set it.
    let pages = [vec![
        text(70.0, 700.0, 12.0, "The text of the page."),
        text(70.0, 686.0, 12.0, "It goes on."),
    ]];
    let file = String::from_utf8_lossy(&pdf(&pages, &PdfOptions::default())).into_owned();
    let stamp = "BT /F1 12 Tf 0 1 -1 0 30 200 Tm (Set sideways here) Tj ET";
    let replaced = "BT /F1 12 Tf 70 686 Td (It goes on.) Tj ET";
    assert!(file.contains(replaced));
    // Offsets are wrong after this; readers rebuild them.
    let file = file
        .replace(replaced, stamp)
        .replace("/Length 92", "/Length 107");
    let extracted = read_bytes(file.as_bytes(), Format::Pdf).unwrap();
    assert_eq!(
        extracted
            .blocks
            .iter()
            .map(|block| block.span.slice(&extracted.text).unwrap())
            .collect::<Vec<_>>(),
        ["The text of the page.", "Set sideways here"]
    );
}
