//! Small documents of every format, for tests that break them, and what must hold of every document.

use docent_domain::Format;
use docent_ingest::{Extracted, PageKind};
use image::{ImageFormat, RgbImage};

use crate::fixtures::{PdfOptions, compound, docx, epub, ods, odt, pdf, pptx, text, xls, xlsx};

/// Every promise about an extracted document that others build on.
pub fn check(extracted: &Extracted) {
    let chars = extracted.text.chars().count() as u32;
    let mut covered = vec![false; chars as usize];
    let mut at = 0;
    for block in &extracted.blocks {
        assert!(
            block.span.start >= at && block.span.start < block.span.end && block.span.end <= chars
        );
        at = block.span.end;
        covered[block.span.start as usize..block.span.end as usize].fill(true);
    }
    for (index, char) in extracted.text.chars().enumerate() {
        assert!(
            covered[index] || char.is_whitespace(),
            "{char:?} at {index} is in no block"
        );
    }
    let mut at = 0;
    for page in &extracted.pages {
        assert!(
            page.span.start >= at && page.span.end >= page.span.start && page.span.end <= chars
        );
        at = page.span.end;
        for line in &page.lines {
            assert!(line.span.start >= page.span.start && line.span.end <= page.span.end);
            match page.kind {
                PageKind::Page => {
                    for side in [line.left, line.top, line.right, line.bottom] {
                        assert!((0.0..=1.0).contains(&side), "{line:?}");
                    }
                }
                PageKind::Sheet => assert!(
                    (1.0..=line.right).contains(&line.left)
                        && (1.0..=line.bottom).contains(&line.top),
                    "{line:?}"
                ),
                PageKind::Slide | PageKind::Part => panic!("{line:?} on a {:?}", page.kind),
            }
        }
    }
}

fn picture(format: ImageFormat) -> Vec<u8> {
    let stripes = RgbImage::from_fn(320, 60, |x, y| {
        image::Rgb([(x / 8 * 60) as u8, 200, y as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    stripes.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A small document of every format, with much of what a format can hold.
pub fn seeds() -> Vec<(Format, Vec<u8>)> {
    let page = |number: u32| {
        vec![
            text(70.0, 800.0, 18.0, "Naslov o šumi"),
            text(
                70.0,
                760.0,
                11.0,
                "Prvi odlomak koji traje i traje do kraja re-",
            ),
            text(70.0, 746.0, 11.0, "da, pa dalje."),
            text(300.0, 30.0, 9.0, if number == 1 { "1" } else { "2" }),
        ]
    };
    vec![
        (Format::Pdf, pdf(&[page(1), page(2)], &PdfOptions { outline: &[("Naslov", 0)], ..PdfOptions::default() })),
        (
            Format::Docx,
            docx(
                "<w:p><w:pPr><w:numPr><w:ilvl w:val='0'/><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>č &#269; x</w:t></w:r></w:p>\
                 <w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p/></w:tc></w:tr></w:tbl>",
                &[("word/numbering.xml", "<w:numbering><w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:numbering>")],
            ),
        ),
        (
            Format::Xlsx,
            xlsx(
                &[
                    ("Prvi", "<row r='2'><c r='B2' t='s'><v>0</v></c><c s='2'><v>46112</v></c></row><row><c t='b'><v>1</v></c></row>"),
                    ("Drugi", "<row><c s='1'><v>1</v></c></row>"),
                ],
                &["čaša"],
            ),
        ),
        (
            Format::Xls,
            xls(
                &[(0x00fc, b"\x01\0\0\0\x01\0\0\0\x04\0\x01\x0d\x01a\0"), (0x003c, b"\0bc")],
                &[(0x00fd, &[0; 10]), (0x027e, b"\x01\0\0\0\0\0\x16\0\0\0"), (0x0204, b"\x02\0\0\0\0\0\x01\0\0x")],
            ),
        ),
        (Format::Xlsx, compound(&["EncryptionInfo", "EncryptedPackage"])),
        (
            Format::Pptx,
            pptx(&[
                (
                    "<p:sp><p:nvPr><p:ph type='title'/></p:nvPr><a:p><a:r><a:t>č</a:t></a:r></a:p></p:sp>\
                     <p:sp><p:nvPr><p:ph/></p:nvPr><a:p><a:pPr lvl='1'/><a:r><a:t>a</a:t></a:r><a:br/></a:p></p:sp>",
                    Some("<p:sp><p:nvPr><p:ph type='body'/></p:nvPr><a:p><a:t>b</a:t></a:p></p:sp>"),
                ),
                ("<a:tbl><a:tr><a:tc><a:p><a:t>x</a:t></a:p></a:tc><a:tc/></a:tr></a:tbl>", None),
            ]),
        ),
        (
            Format::Odt,
            odt(
                "<office:body><text:h>Č</text:h><text:list text:style-name='L'><text:list-item><text:p>a<text:note><text:note-citation>1</text:note-citation>\
                 <text:note-body><text:p>b</text:p></text:note-body></text:note></text:p></text:list-item></text:list>\
                 <table:table><table:table-row><table:table-cell><text:p>x<text:s text:c='3'/>y</text:p></table:table-cell><table:table-cell/></table:table-row></table:table></office:body>",
                "<text:list-style style:name='L'><text:list-level-style-number text:level='1' style:num-format='i' style:num-suffix='.'/></text:list-style>",
            ),
        ),
        (
            Format::Epub,
            epub(&[("a.xhtml", "<?xml version='1.0'?><html><head><title/></head><body><h1>Č</h1><script/><p>a</p></body></html>"), ("b.xhtml", "<p>b")], &[]),
        ),
        (
            Format::Ods,
            ods("<office:body><table:table table:name='Č'><table:table-row table:number-rows-repeated='3'>\
                 <table:table-cell table:number-columns-repeated='2'><text:p>č<text:s/>x</text:p></table:table-cell></table:table-row></table:table></office:body>"),
        ),
        (
            Format::Html,
            "<html><head><title>T</title></head><body><h1>Č</h1><table><tr><td>a<td>b</table><ol><li>x<pre> y </pre></ol>"
                .as_bytes()
                .to_vec(),
        ),
        (Format::Csv, "Ime;Iznos\r\n\"Ž\"\"a;\";1,5\r\n\r\nx;\"".as_bytes().to_vec()),
        (
            Format::Email,
            "Subject: =?utf-8?Q?=C4=8D?=\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nč =\r\n> x\r\n\
             --b\r\nContent-Type: text/html; charset=windows-1250\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=E8</p>\r\n\
             --b\r\nContent-Type: text/csv; name*0*=utf-8''%C4%8D; name*1=.csv\r\nContent-Transfer-Encoding: base64\r\n\r\nYTtiCjE7Mg==\r\n--b--\r\n"
                .as_bytes()
                .to_vec(),
        ),
        (
            Format::Rst,
            "=\nČ\n=\n\nNaslov\n------\ntekst::\n\n  kod\n\n.. note:: a\n   b\n.. c\n\n- č\n  č\n\n== ==\nč  b\n== ==\n1  2\n== ==\n\n+--+\n|č |\n+--+\n"
                .as_bytes()
                .to_vec(),
        ),
        (Format::Picture, picture(ImageFormat::Png)),
        (Format::Picture, picture(ImageFormat::Jpeg)),
        (Format::Picture, picture(ImageFormat::Tiff)),
        (Format::Code, "fn č() {\r\n\r\n    a();\n}\n\n\tb\n".as_bytes().to_vec()),
        (Format::Json, "{\"č\": [{\"a\": 1}, [true, \"x\\ny\"]], \"b\": {\"c\": \"\\u010d \"}}".as_bytes().to_vec()),
        (Format::Markdown, "# Č\n\n- a\n  1. b\n\n| x | y |\n|---|---|\n| 1 |\n\n```\ncode\n```\n> q[^1]\n\n[^1]: f\n".as_bytes().to_vec()),
        (Format::Text, "Naslov\n======\n\nČlanak 5.\n\ntekst\r\n\u{feff}\u{c}dalje\n".as_bytes().to_vec()),
    ]
}
