//! Pictures as files of their own, with the Tesseract that is installed here.

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

use docent_domain::{Format, PageBox};
use docent_ingest::{ExtractError, Extracted, Recogniser, Refusal, Warning};
use docent_testkit::scans::Picture;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
use tokio_util::sync::CancellationToken;

use crate::extractor::{extractor, one_process};
use crate::fixtures::{base64, picture_of, read_bytes, zip};
use crate::ocr::{boxes, error_rate, original, overlap, scan, tesseract};

const CITED: &str = "Rok za žalbu iznosi petnaest dana od dana dostave rješenja.";

fn image_of(picture: Picture) -> GrayImage {
    let (width, height) = (picture.width as u32, picture.height as u32);
    GrayImage::from_raw(width, height, picture.pixels).unwrap()
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A TIFF of many pages.
fn tiff(pages: &[&GrayImage]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes)
        .unwrap()
        .with_compression(tiff::encoder::Compression::Lzw);
    for page in pages {
        encoder
            .write_image::<tiff::encoder::colortype::Gray8>(page.width(), page.height(), page)
            .unwrap();
    }
    bytes.into_inner()
}

/// A JPEG that says that it is to be turned by a quarter to the right to be looked at.
fn lying_jpeg(picture: &GrayImage) -> Vec<u8> {
    let jpeg = encoded(picture.clone(), ImageFormat::Jpeg);
    let note =
        b"\xff\xe1\0\x22Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    [&jpeg[..2], note, &jpeg[2..]].concat()
}

async fn recognise(bytes: &[u8], recogniser: &Recogniser) -> Result<Extracted, ExtractError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture");
    std::fs::write(&path, bytes).unwrap();
    extract(&path, recogniser).await
}

async fn extract(path: &Path, recogniser: &Recogniser) -> Result<Extracted, ExtractError> {
    let (recogniser, cancel) = (recogniser.clone(), CancellationToken::new());
    extractor(one_process())
        .recognise(path, Format::Picture, recogniser, cancel, |_| {})
        .await
}

/// `cargo test -p docent-ingest --test it pictures -- --nocapture` prints the error rates.
#[tokio::test]
async fn text_in_pictures_is_recognised_where_it_stands() {
    let Some(recogniser) = tesseract() else {
        return;
    };
    let original = read_bytes(&original(), Format::Pdf).unwrap();
    let page = image_of(scan(200.0));
    let turned = image::imageops::rotate270(&page);
    let glass = RgbaImage::from_fn(page.width(), page.height(), |x, y| {
        let Luma([light]) = *page.get_pixel(x, y);
        Rgba([0, 0, 0, u8::MAX - light])
    });
    let screen = image_of(scan(96.0));
    let color = DynamicImage::ImageLuma8(page.clone()).into_rgb8();
    let found: [PageBox; 1] = boxes(&original, CITED).try_into().unwrap();
    for (what, bytes) in [
        ("a grey PNG", encoded(page.clone(), ImageFormat::Png)),
        ("a colored JPEG", encoded(color, ImageFormat::Jpeg)),
        ("black on nothing", encoded(glass, ImageFormat::Png)),
        ("a camera held sideways", lying_jpeg(&turned)),
        ("a TIFF", tiff(&[&page])),
        ("a screen's resolution", encoded(screen, ImageFormat::Png)),
    ] {
        let extracted = recognise(&bytes, &recogniser).await.unwrap();
        let rate = error_rate(&original.text, &extracted.text);
        println!("{what}: character error rate {rate:.4}");
        assert!(rate < 0.02, "{what}: {rate} in {}", extracted.text);
        assert_eq!(
            extracted.warnings,
            [Warning::Recognised { pages: 1, total: 1 }]
        );
        let same = overlap(&found[0], &boxes(&extracted, CITED)[0]);
        assert!(same > 0.5, "{what}: {same}");
        let without = read_bytes(&bytes, Format::Picture);
        assert!(
            matches!(without, Err(Refusal::Scanned { pages: 1 })),
            "{what}, control: {without:?}"
        );
    }
}

#[tokio::test]
async fn every_page_of_a_tiff_is_read_and_a_damaged_one_is_told() {
    let Some(recogniser) = tesseract() else {
        return;
    };
    let (page, noise) = (image_of(scan(150.0)), image_of(Picture::noise(300, 400)));
    let white = GrayImage::from_pixel(300, 400, Luma([u8::MAX]));
    let thumbnail = image::imageops::thumbnail(&page, 60, 80);
    let whole = tiff(&[&thumbnail, &page, &white, &page]);
    let extracted = recognise(&whole, &recogniser).await.unwrap();
    assert_eq!(
        extracted.warnings,
        [Warning::Recognised { pages: 2, total: 4 }],
        "an empty sheet and a thumbnail lack nothing"
    );
    assert_eq!(extracted.text.matches(CITED).count(), 2);
    assert_eq!(boxes(&extracted, CITED)[0].page, 2);
    let refused = recognise(&tiff(&[&noise]), &recogniser).await;
    assert!(
        matches!(
            refused,
            Err(ExtractError::Refused(Refusal::NothingRecognised {
                pages: 1
            }))
        ),
        "{refused:?}"
    );

    // The second directory is cut off: what came before it is read, and that there was more is told.
    let two = tiff(&[&page, &page]);
    let extracted = recognise(&two[..two.len() - 8], &recogniser).await.unwrap();
    assert_eq!(extracted.text.matches(CITED).count(), 1);
    assert!(
        matches!(
            extracted.warnings.as_slice(),
            [Warning::Recognised { pages: 1, total: 1 }, Warning::PartLeftOut { part }] if part.contains("after page 1")
        ),
        "{:?}",
        extracted.warnings
    );
    // The pixels of the first page are damaged.
    let mut damaged = two.clone();
    damaged[100..4000].fill(0xa5);
    let extracted = recognise(&damaged, &recogniser).await.unwrap();
    assert_eq!(boxes(&extracted, CITED)[0].page, 2);
    assert_eq!(
        extracted.warnings,
        [
            Warning::Recognised { pages: 1, total: 2 },
            Warning::PagesWithoutText { pages: 1, total: 2 },
        ]
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_picture_is_not_laid_to_recognition() {
    let Some(recogniser) = tesseract() else {
        return;
    };
    let page = image_of(scan(150.0));
    let refusal = async |bytes: &[u8]| match recognise(bytes, &recogniser).await {
        Err(ExtractError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let png = encoded(page.clone(), ImageFormat::Png);
    let tiff = tiff(&[&page]);
    // The directory stands at the end of this TIFF, so its pixels are damaged instead.
    let mut damaged = tiff.clone();
    damaged[100..4000].fill(0xa5);
    for bytes in [&png[..png.len() / 2], &damaged] {
        let refusal = refusal(bytes).await;
        assert!(matches!(refusal, Refusal::Damaged { .. }), "{refusal:?}");
    }
    // Compressed in a way that fax machines use.
    let mut fax = tiff;
    let compression = b"\x03\x01\x03\0\x01\0\0\0\x05\0";
    let at = fax
        .windows(compression.len())
        .position(|entry| entry == compression);
    fax[at.unwrap() + 8] = 2;
    let refusal = refusal(&fax).await;
    assert!(
        matches!(refusal, Refusal::WrongContent { .. }),
        "{refusal:?}"
    );

    let jpeg = encoded(page, ImageFormat::Jpeg);
    let extracted = recognise(&jpeg[..jpeg.len() * 2 / 3], &recogniser)
        .await
        .unwrap();
    assert!(
        matches!(
            extracted.warnings.as_slice(),
            [Warning::Recognised { .. }, Warning::PartLeftOut { part }] if part.contains("picture")
        ),
        "{:?}",
        extracted.warnings
    );
}

#[test]
fn what_cannot_hold_text_is_refused_before_it_is_looked_at() {
    let icon = GrayImage::from_pixel(64, 64, Luma([0]));
    for bytes in [encoded(icon.clone(), ImageFormat::Png), tiff(&[&icon])] {
        let refused = read_bytes(&bytes, Format::Picture);
        assert!(matches!(refused, Err(Refusal::NoText)), "{refused:?}");
    }
    // One that says that it is larger than any camera's.
    let mut huge = encoded(icon, ImageFormat::Png);
    huge[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    let mut crc = check_sum(&huge[12..29]).to_be_bytes();
    huge[29..33].swap_with_slice(&mut crc);
    let refused = read_bytes(&huge, Format::Picture);
    assert!(
        matches!(
            refused,
            Err(Refusal::PictureTooBig {
                width: 0x4000,
                height: 0x4000,
                ..
            })
        ),
        "{refused:?}"
    );
    for bytes in [
        &b"\x89PNG\r\n\x1a\n"[..],
        b"II\x2a\0\x08\0\0\0",
        b"\xff\xd8\xff\xe0",
    ] {
        let refused = read_bytes(bytes, Format::Picture);
        assert!(
            matches!(refused, Err(Refusal::Damaged { .. })),
            "{refused:?}"
        );
    }
}

/// CRC-32, as of a PNG's chunks.
fn check_sum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}

#[tokio::test]
async fn pictures_in_a_mail_are_read_and_logos_left_alone() {
    let Some(recogniser) = tesseract() else {
        return;
    };
    let mail = |pictures: &[(&str, GrayImage)]| {
        let mut mail = String::from(
            "Subject: Rješenje\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nU privitku.\r\n",
        );
        for (name, picture) in pictures {
            let picture = base64(&encoded(picture.clone(), ImageFormat::Png));
            write!(
                mail,
                "--b\r\nContent-Type: image/png; name={name}\r\nContent-Transfer-Encoding: base64\r\n\r\n{picture}\r\n"
            )
            .unwrap();
        }
        mail + "--b--\r\n"
    };
    let (logo, page) = (
        GrayImage::from_pixel(120, 40, Luma([90])),
        image_of(scan(150.0)),
    );
    let photo = image_of(Picture::noise(320, 240));
    let without = read_bytes(
        mail(&[("logo.png", logo.clone())]).as_bytes(),
        Format::Email,
    );
    assert_eq!(without.unwrap().warnings, []);
    let scans = mail(&[("logo.png", logo), ("nalog.png", page), ("more.png", photo)]);
    let without = read_bytes(scans.as_bytes(), Format::Email).unwrap();
    // The logo says nothing of itself.
    let scanned = |name: &str| Warning::AttachmentScanned { name: name.into() };
    assert_eq!(
        without.warnings,
        [scanned("nalog.png"), scanned("more.png")]
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.eml");
    std::fs::write(&path, scans).unwrap();
    let cancel = CancellationToken::new();
    let extracted = extractor(one_process())
        .recognise(&path, Format::Email, recogniser, cancel, |_| {})
        .await
        .unwrap();
    assert!(extracted.text.contains("U privitku."), "{}", extracted.text);
    assert!(extracted.text.contains(CITED), "{}", extracted.text);
    assert_eq!(
        extracted.warnings,
        [Warning::Recognised { pages: 1, total: 1 }],
        "a photo without words lacks nothing"
    );
}

#[tokio::test]
async fn pictures_in_documents_are_read_after_their_paragraphs() {
    let Some(recogniser) = tesseract() else {
        return;
    };
    let page = encoded(image_of(scan(150.0)), ImageFormat::Png);
    let document = "<w:document><w:body><w:p><w:r><w:t>Uz dopis:</w:t></w:r><w:r><a:blip r:embed='p'/></w:r></w:p>\
        <w:p><w:r><w:t>Kraj.</w:t></w:r></w:p></w:body></w:document>";
    let relations =
        "<Relationships><Relationship Id='p' Type='x/image' Target='p.png'/></Relationships>";
    let file = zip(&[
        ("word/document.xml", document.as_bytes()),
        ("word/_rels/document.xml.rels", relations.as_bytes()),
        ("word/p.png", &page),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dopis.docx");
    std::fs::write(&path, file).unwrap();
    let cancel = CancellationToken::new();
    let extracted = extractor(one_process())
        .recognise(&path, Format::Docx, recogniser, cancel, |_| {})
        .await
        .unwrap();
    let at = |part: &str| extracted.text.find(part).unwrap();
    assert!(at("Uz dopis:") < at(CITED) && at(CITED) < at("Kraj."));
    assert_eq!(
        extracted.warnings,
        [Warning::Recognised { pages: 1, total: 1 }]
    );
}

#[test]
fn photos_as_telephones_attach_them_are_attachments() {
    let mail = |width: u32| {
        let picture = base64(&picture_of(width, 40));
        format!(
            "Subject: Slika\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nEvo.\r\n--b\r\nContent-Type: image/png; name=IMG_1.png\r\n\
             Content-Disposition: inline; filename=IMG_1.png\r\nContent-Transfer-Encoding: base64\r\nContent-Id: <a@x>\r\n\r\n{picture}\r\n--b--\r\n"
        )
    };
    let photo = read_bytes(mail(300).as_bytes(), Format::Email).unwrap();
    assert!(
        photo.text.ends_with("Attachments: IMG_1.png"),
        "{}",
        photo.text
    );
    let name = "IMG_1.png".to_owned();
    assert_eq!(photo.warnings, [Warning::AttachmentScanned { name }]);
    let logo = read_bytes(mail(299).as_bytes(), Format::Email).unwrap();
    assert!(logo.text.ends_with("Evo."), "{}", logo.text);
    assert_eq!(logo.warnings, []);
}
