//! Messages as mail programs save them.

use std::fmt::Write as _;

use docent_domain::{Format, NewChunk, Place, Span};
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

/// A message with these parts, and how they are put together.
fn multipart(kind: &str, subject: &str, parts: &[&str]) -> String {
    let parts: String = parts
        .iter()
        .map(|part| format!("--b\r\n{part}\r\n"))
        .collect();
    format!(
        "Subject: {subject}\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\n{parts}--b--\r\n"
    )
}

#[test]
fn the_richest_form_that_says_something_is_read() {
    let plain = "Content-Type: text/plain\r\n\r\nCijena je 500 eura.";
    let page = "Content-Type: text/html\r\n\r\n<p>Cijena je <b>500</b> eura.</p>";
    let picture = "Content-Type: text/html\r\n\r\n<html><body><img src='cid:1'></body></html>";
    let bytes = "Content-Type: text/html\r\n\r\n\0\x01\0\x02\0\0";
    let related = "Content-Type: multipart/related; boundary=in\r\n\r\n--in\r\nContent-Type: text/html\r\n\r\n<img src='cid:1'>\r\n--in--";
    for forms in [
        &[plain, picture][..],
        &[plain, related],
        &[plain, bytes],
        &[plain, page],
        &[plain, page, picture],
    ] {
        let mail = multipart("alternative", "Ponuda", forms);
        let extracted = read_bytes(mail.as_bytes(), Format::Email).unwrap();
        assert_eq!(
            blocks(&extracted),
            [
                (BlockKind::Heading(1), "Ponuda"),
                (BlockKind::Paragraph, "Cijena je 500 eura."),
            ],
            "{forms:?}"
        );
        assert_eq!(extracted.warnings, [], "{forms:?}");
    }
}

#[test]
fn what_cannot_be_seen_of_a_mail_is_told() {
    let envelope = |kind: &str, identifier: &[u8]| {
        let content = base64(&[b"0\x80\x06\x09", identifier, b"..."].concat());
        format!(
            "Content-Type: application/pkcs7-mime{kind}; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n{content}"
        )
    };
    let (signed, enveloped) = (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03",
    );
    for part in [
        envelope("; smime-type=signed-data", signed),
        envelope("", signed),
    ] {
        let mail = format!("Subject: Potpisano\r\n{part}");
        let extracted = read_bytes(mail.as_bytes(), Format::Email).unwrap();
        let [Warning::PartNotRead { part }] = &extracted.warnings[..] else {
            panic!("{:?}", extracted.warnings);
        };
        assert!(part.contains("smime.p7m"), "{part}");
    }
    let mail = format!("Subject: Tajno\r\n{}", envelope("", enveloped));
    let refusal = read_bytes(mail.as_bytes(), Format::Email).unwrap_err();
    assert!(refusal.to_string().contains("encrypted"), "{refusal}");
    let certificates = envelope("; smime-type=certs-only", signed);
    let packed = "Content-Type: application/ms-tnef\r\n\r\n\x78";
    let mail = multipart("mixed", "Outlook", &["\r\nTekst.", packed, &certificates]);
    let extracted = read_bytes(mail.as_bytes(), Format::Email).unwrap();
    let [Warning::PartNotRead { part }] = &extracted.warnings[..] else {
        panic!("{:?}", extracted.warnings);
    };
    assert!(part.contains("winmail.dat"), "{part}");
    assert!(
        extracted.text.ends_with("Attachments: winmail.dat"),
        "{}",
        extracted.text
    );
}

#[test]
fn a_subject_that_looks_like_an_attachment_is_none() {
    let attached = "Content-Type: text/plain\r\nContent-Disposition: attachment; filename=racun.txt\r\n\r\nUkupno 500 eura.";
    let mail = multipart("mixed", "Attachment: nacrt", &["\r\nU privitku.", attached]);
    let extracted = read_bytes(mail.as_bytes(), Format::Email).unwrap();
    let [(_, subject), _, _, (_, attachment), _] = blocks(&extracted)[..] else {
        panic!("{}", extracted.text);
    };
    let chunk = NewChunk {
        span: Span::new(0, 1),
        text: "x".to_owned(),
        heading_path: vec![subject.to_owned(), attachment.to_owned()],
        page: Some(2),
        boxes: Vec::new(),
        token_count: 1,
    };
    let place = Place::of(Format::Email, &chunk).unwrap();
    assert_eq!(place.to_string(), "attachment racun.txt");
    assert_eq!(extracted.title.as_deref(), Some("Attachment: nacrt"));
}
