//! Messages as mail programs save them.

use std::fmt::Write as _;

use docent_domain::Format;
use docent_ingest::{BlockKind, Refusal, Warning};

use crate::fixtures::{PdfOptions, base64, blocks, compound, docx, pdf, read_bytes, text};

const HEADERS: &str = "Received: from x\r\nFrom: =?windows-1250?Q?=8Eana_An=E8i=E6?= <zana@primjer.hr>\r\n\
    To: Ured <ured@primjer.hr>,\r\n Uprava <uprava@primjer.hr>\r\nSubject: =?utf-8?B?UG9udWRhIHphIMWhdW11?=\r\n\
    Date: Tue, 24 Mar 2026 10:12:00 +0100\r\nMIME-Version: 1.0\r\n";

const FIRST: [(BlockKind, &str); 2] = [
    (BlockKind::Heading(1), "Ponuda za šumu"),
    (
        BlockKind::Paragraph,
        "From: Žana Ančić <zana@primjer.hr>\nTo: Ured <ured@primjer.hr>, Uprava <uprava@primjer.hr>\nDate: Tue, 24 Mar 2026 10:12:00 +0100",
    ),
];

#[test]
fn headers_and_plain_text_in_an_old_code_page() {
    let mut message = format!(
        "{HEADERS}Content-Type: text/plain; charset=windows-1250\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    .into_bytes();
    message.extend(b"Po=9Atovani,\r\nu privit=\r\nku ponuda.\r\n\r\n> Kada sti=9Ee?\r\n> =\r\nHvala.\r\nSutra.\r\n");
    let extracted = read_bytes(&message, Format::Email).unwrap();
    let mut expected = FIRST.to_vec();
    expected.extend([
        (BlockKind::Paragraph, "Poštovani,\nu privitku ponuda."),
        (BlockKind::Quote, "Kada stiže?\nHvala."),
        (BlockKind::Paragraph, "Sutra."),
    ]);
    assert_eq!(blocks(&extracted), expected);
    assert_eq!(extracted.title.as_deref(), Some("Ponuda za šumu"));
}

#[test]
fn the_richest_text_and_the_attachments_that_can_be_read() {
    let word = base64(&docx(
        "<w:p><w:r><w:t>Cijena je 500 €.</w:t></w:r></w:p>",
        &[],
    ));
    let page = vec![text(70.0, 700.0, 11.0, "Jamstvo traje dvije godine.")];
    let portable = base64(&pdf(&[page], &PdfOptions::default()));
    let locked = base64(&compound(&["EncryptedPackage"]));
    let message = format!(
        "{HEADERS}Content-Type: multipart/mixed; boundary=\"out\"\r\n\r\n--out\r\n\
         Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\nSiromasno.\r\n\
         --in\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><head><title>x</title><style>p{{}}</style></head><body><p>Bogato.</p>\
         <table><tr><th>Stavka</th><th>Kom</th></tr><tr><td>Čamac</td><td>2</td></tr></table></body></html>\r\n--in--\r\n\
         --out\r\nContent-Type: application/octet-stream; name=\"ponuda.docx\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{word}\r\n\
         --out\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''jamstvo%C5%A1.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{portable}\r\n\
         --out\r\nContent-Type: image/png; name=logo.png\r\nContent-Disposition: attachment\r\n\r\nPNG\r\n\
         --out\r\nContent-Disposition: attachment; filename=tajno.xlsx\r\nContent-Transfer-Encoding: base64\r\n\r\n{locked}\r\n\
         --out\r\nContent-Type: message/rfc822\r\n\r\nSubject: Upit\r\nFrom: a@b.hr\r\n\r\nImate li camac?\r\n--out--\r\n"
    );
    let extracted = read_bytes(message.as_bytes(), Format::Email).unwrap();
    let mut expected = FIRST.to_vec();
    expected.extend([
        (BlockKind::Paragraph, "Bogato."),
        (BlockKind::TableHeader, "Stavka | Kom"),
        (BlockKind::TableRow, "Čamac | 2"),
        (
            BlockKind::Paragraph,
            "Attachments: ponuda.docx, jamstvoš.pdf, logo.png, tajno.xlsx, Upit",
        ),
        (BlockKind::Heading(2), "Attachment: ponuda.docx"),
        (BlockKind::Paragraph, "Cijena je 500 €."),
        (BlockKind::Heading(2), "Attachment: jamstvoš.pdf"),
        (BlockKind::Paragraph, "Jamstvo traje dvije godine."),
        (BlockKind::Heading(2), "Attachment: Upit"),
        (BlockKind::Heading(3), "Upit"),
        (BlockKind::Paragraph, "From: a@b.hr"),
        (BlockKind::Paragraph, "Imate li camac?"),
    ]);
    assert_eq!(blocks(&extracted), expected);
    let chars: Vec<char> = extracted.text.chars().collect();
    let parts: Vec<String> = extracted
        .pages
        .iter()
        .map(|part| {
            chars[part.span.start as usize..part.span.end as usize]
                .iter()
                .collect()
        })
        .collect();
    assert_eq!(
        parts.len(),
        4,
        "the message and three attachments: {parts:?}"
    );
    assert!(
        parts[1].contains("500 €") && parts[2].contains("dvije godine"),
        "{parts:?}"
    );
    assert!(
        parts[3].contains("camac") && !parts[0].contains("camac"),
        "{parts:?}"
    );
    let [Warning::PartLeftOut { part }] = &extracted.warnings[..] else {
        panic!("{:?}", extracted.warnings);
    };
    assert!(
        part.contains("tajno.xlsx") && part.contains("password"),
        "{part}"
    );
}

#[test]
fn what_is_no_message_or_locked_is_refused() {
    assert!(matches!(
        read_bytes(b"Just a text.\n", Format::Email),
        Err(Refusal::WrongContent { .. })
    ));
    let encrypted = format!(
        "{HEADERS}Content-Type: multipart/encrypted; boundary=x\r\n\r\n--x\r\n\r\nVersion: 1\r\n--x--\r\n"
    );
    let refusal = read_bytes(encrypted.as_bytes(), Format::Email).unwrap_err();
    assert!(refusal.to_string().contains("encrypted"), "{refusal}");
}

/// Parts in parts in parts, and thousands of them side by side: what is read is bounded.
#[test]
fn endless_messages_end() {
    let mut nested = format!("{HEADERS}Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for _ in 0..50_000 {
        nested.push_str("--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
    }
    let mut wrapped = HEADERS.to_owned();
    for number in 0..50_000 {
        write!(
            wrapped,
            "Content-Type: message/rfc822\r\n\r\nSubject: {number}\r\n"
        )
        .unwrap();
    }
    let mut deep = HEADERS.to_owned();
    for number in 0..5_000 {
        write!(
            deep,
            "Content-Type: multipart/mixed; boundary=b{number}\r\n\r\n--b{number}\r\n"
        )
        .unwrap();
    }
    for message in [nested, wrapped, deep] {
        let extracted = read_bytes(message.as_bytes(), Format::Email).unwrap();
        assert!(extracted.text.starts_with("Ponuda za šumu"));
        assert!(!extracted.warnings.is_empty());
    }
}
