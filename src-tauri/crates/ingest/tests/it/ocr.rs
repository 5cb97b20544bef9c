//! Scanned documents, with the Tesseract that is installed here. Without one, what needs it is
//! skipped, and says so.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use docent_domain::{Format, PageBox, Span};
use docent_ingest::{
    ExtractError, ExtractLimits, Extracted, Recogniser, RecogniserMissing, Refusal, Warning,
    boxes_of, draw_page,
};
use docent_testkit::scans::{Picture, ScannedPage, scanned_pdf};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::extractor::{extractor, one_process};
use crate::fixtures::{PdfOptions, pdf, pdfium_dir, read_bytes, text};

const A4: (f32, f32) = (595.0, 842.0);

const LINES: &[&str] = &[
    "Zakon o zaštiti i čuvanju šuma",
    "Članak 1. Ovim se zakonom uređuje gospodarenje šumama i šumskim",
    "zemljištem na području Republike Hrvatske, kao i ovlasti inspekcije.",
    "Članak 2. Šume su dobro od interesa za državu i imaju njezinu osobitu",
    "zaštitu. Vlasnik je dužan čuvati ih i njegovati prema programu.",
    "Članak 3. Za žalbu protiv rješenja plaća se pristojba od 35,50 eura.",
    "Rok za žalbu iznosi petnaest dana od dana dostave rješenja.",
    "Section 4. The owner of a forest shall report every fire without",
    "delay to the nearest fire brigade, whose expenses are reimbursed.",
    "Section 5. Anyone who cuts down more than twelve trees a year needs",
    "a permit. Applications are decided upon within thirty working days.",
    "Članak 6. Ovaj zakon stupa na snagu osmoga dana od dana objave.",
];

/// Of the packages that `cargo xtask test` installs.
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";

/// A page of prose with a text layer.
pub fn original() -> Vec<u8> {
    let font = std::fs::read(FONT).unwrap();
    let lines = (0_u8..)
        .zip(LINES)
        .map(|(number, line)| text(70.0, 760.0 - 15.0 * f32::from(number), 11.0, line))
        .collect();
    let options = PdfOptions {
        font: Some(&font),
        ..PdfOptions::default()
    };
    pdf(&[lines], &options)
}

pub fn scan(dpi: f32) -> Picture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("original.pdf");
    std::fs::write(&path, original()).unwrap();
    let drawn = draw_page(&path, 0, dpi, &pdfium_dir()).unwrap();
    Picture {
        width: drawn.width as usize,
        height: drawn.height as usize,
        pixels: drawn.pixels,
    }
}

/// `None`, said aloud, where there is no Tesseract with both languages, or nothing to write with.
pub fn tesseract() -> Option<Recogniser> {
    if !Path::new(FONT).is_file() {
        println!("skipped: {FONT} is not here");
        return None;
    }
    match Recogniser::find() {
        Ok(found) if found.languages == ["hrv", "eng"] => Some(found),
        found => {
            println!("skipped: Tesseract with hrv and eng is not here ({found:?})");
            None
        }
    }
}

struct Scan {
    _folder: TempDir,
    path: PathBuf,
}

fn write(pages: &[ScannedPage<'_>], size: (f32, f32)) -> Scan {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.pdf");
    std::fs::write(&path, scanned_pdf(pages, size)).unwrap();
    Scan {
        _folder: folder,
        path,
    }
}

async fn recognise(path: &Path, recogniser: Recogniser) -> Result<Extracted, ExtractError> {
    extractor(one_process())
        .recognise(
            path,
            Format::Pdf,
            recogniser,
            CancellationToken::new(),
            |_| {},
        )
        .await
}

/// Characters to change per character, white space aside.
pub fn error_rate(wanted: &str, found: &str) -> f64 {
    let words = |text: &str| -> Vec<char> {
        let words: Vec<_> = text.split_whitespace().collect();
        words.join(" ").chars().collect()
    };
    let (wanted, found) = (words(wanted), words(found));
    let mut row: Vec<usize> = (0..=found.len()).collect();
    for (at, wanted) in wanted.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (to, found) in found.iter().enumerate() {
            let changed = diagonal + usize::from(wanted != found);
            diagonal = row[to + 1];
            row[to + 1] = changed.min(diagonal + 1).min(row[to] + 1);
        }
    }
    row[found.len()] as f64 / wanted.len() as f64
}

pub fn boxes(extracted: &Extracted, part: &str) -> Vec<PageBox> {
    let byte = extracted
        .text
        .find(part)
        .unwrap_or_else(|| panic!("{part:?} in {:?}", extracted.text));
    let start = extracted.text[..byte].chars().count() as u32;
    boxes_of(
        extracted,
        Span::new(start, start + part.chars().count() as u32),
    )
}

/// Intersection over union.
pub fn overlap(a: &PageBox, b: &PageBox) -> f32 {
    let area = |left: f32, top: f32, right: f32, bottom: f32| {
        (right - left).max(0.0) * (bottom - top).max(0.0)
    };
    let common = area(
        a.left.max(b.left),
        a.top.max(b.top),
        a.right.min(b.right),
        a.bottom.min(b.bottom),
    );
    let of = |of: &PageBox| area(of.left, of.top, of.right, of.bottom);
    common / (of(a) + of(b) - common)
}

/// `cargo test -p docent-ingest --test it scanned_text -- --nocapture` prints the error rates.
#[tokio::test]
async fn scanned_text_is_recognised_where_it_stands() {
    const CITED: &str = "Rok za žalbu iznosi petnaest dana od dana dostave rješenja.";
    let Some(recogniser) = tesseract() else {
        return;
    };
    let original = read_bytes(&original(), Format::Pdf).unwrap();
    assert!(error_rate("čaša", "časa") > 0.2, "control");
    for dpi in [150.0, 300.0] {
        let picture = scan(dpi);
        let scan = write(&[ScannedPage::Picture(&picture)], A4);
        let without = extractor(one_process())
            .extract(&scan.path, Format::Pdf, CancellationToken::new(), |_| {})
            .await;
        assert!(
            matches!(
                without,
                Err(ExtractError::Refused(Refusal::Scanned { pages: 1 }))
            ),
            "control: the page has no text of its own"
        );
        let extracted = recognise(&scan.path, recogniser.clone()).await.unwrap();
        let rate = error_rate(&original.text, &extracted.text);
        println!("{dpi} dpi: character error rate {rate:.4}");
        assert!(rate < 0.02, "{dpi} dpi: {rate} in {}", extracted.text);
        assert_eq!(
            extracted.warnings,
            [Warning::Recognised { pages: 1, total: 1 }]
        );
        let [page] = extracted.pages.as_slice() else {
            panic!("{:?}", extracted.pages)
        };
        assert_eq!((page.page, page.width, page.height), (1, A4.0, A4.1));
        for line in &page.lines {
            let inside = 0.0 <= line.left
                && line.left < line.right
                && line.right <= 1.0
                && 0.0 <= line.top
                && line.top < line.bottom
                && line.bottom <= 1.0;
            assert!(inside, "{line:?}");
        }
        let (wanted, found) = (boxes(&original, CITED), boxes(&extracted, CITED));
        assert_eq!((wanted.len(), found.len()), (1, 1));
        let same = overlap(&wanted[0], &found[0]);
        assert!(same > 0.5, "{same}: {wanted:?} {found:?}");
        let other = overlap(&boxes(&original, "Section 4.")[0], &found[0]);
        assert!(other < 0.1, "control: {other}");
    }
}

#[tokio::test]
async fn turned_pages_are_recognised_as_they_lie() {
    const CITED: &str = "zemljištem na području Republike Hrvatske";
    let Some(recogniser) = tesseract() else {
        return;
    };
    if !recogniser.finds_orientation {
        println!("skipped: Tesseract has no model of a page's orientation here");
        return;
    }
    let original = read_bytes(&original(), Format::Pdf).unwrap();
    let mut picture = scan(200.0);
    let mut wanted = boxes(&original, CITED)[0];
    for turns in 1..4 {
        picture = picture.turned();
        wanted = PageBox {
            left: 1.0 - wanted.bottom,
            top: wanted.left,
            right: 1.0 - wanted.top,
            bottom: wanted.right,
            ..wanted
        };
        let size = if turns % 2 == 1 { (A4.1, A4.0) } else { A4 };
        let scan = write(&[ScannedPage::Picture(&picture)], size);
        let extracted = recognise(&scan.path, recogniser.clone()).await.unwrap();
        let rate = error_rate(&original.text, &extracted.text);
        assert!(rate < 0.02, "{turns}: {rate} in {}", extracted.text);
        let found = boxes(&extracted, CITED);
        let same = overlap(&wanted, &found[0]);
        assert!(same > 0.5, "{turns}: {same}: {wanted:?} {found:?}");
    }
}

#[tokio::test]
async fn only_pages_without_text_are_recognised() {
    let Some(recogniser) = tesseract() else {
        return;
    };
    let (picture, noise) = (scan(150.0), Picture::noise(800, 1100));
    let blank = Picture {
        width: 10,
        height: 10,
        pixels: vec![u8::MAX; 100],
    };
    let mixed = write(
        &[
            ScannedPage::Text("The first page has a text of its own."),
            ScannedPage::Picture(&picture),
            ScannedPage::Damaged,
            ScannedPage::Picture(&noise),
            ScannedPage::Picture(&blank),
        ],
        A4,
    );
    let extracted = recognise(&mixed.path, recogniser.clone()).await.unwrap();
    assert_eq!(
        extracted.warnings,
        [
            Warning::Recognised { pages: 1, total: 5 },
            Warning::PagesWithoutText { pages: 1, total: 5 },
        ],
        "a damaged picture may have held text, noise and an empty sheet have not"
    );
    let first = boxes(&extracted, "The first page has a text of its own.");
    assert_eq!(first[0].page, 1);
    let second = boxes(&extracted, "Republike Hrvatske");
    assert_eq!(second[0].page, 2);
    let after: String = {
        let end = extracted.pages[1].span.end as usize;
        extracted.text.chars().skip(end).collect()
    };
    assert_eq!(after.trim(), "", "nothing is made of noise");

    let nothing = write(&[ScannedPage::Picture(&noise)], A4);
    let refused = recognise(&nothing.path, recogniser).await;
    assert!(
        matches!(
            refused,
            Err(ExtractError::Refused(Refusal::NothingRecognised {
                pages: 1
            }))
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_scan_under_a_stamp_is_recognised_and_keeps_the_stamp() {
    let Some(recogniser) = tesseract() else {
        return;
    };
    let picture = scan(150.0);
    let scan = write(
        &[
            ScannedPage::Stamped(&picture, "Potpisano. Stranica 1 od 2"),
            ScannedPage::Stamped(&picture, "Potpisano. Stranica 2 od 2"),
        ],
        A4,
    );
    let without = extractor(one_process())
        .extract(&scan.path, Format::Pdf, CancellationToken::new(), |_| {})
        .await;
    assert!(
        matches!(
            without,
            Err(ExtractError::Refused(Refusal::Scanned { pages: 2 }))
        ),
        "a stamp is no text of the page's: {without:?}"
    );
    let extracted = recognise(&scan.path, recogniser).await.unwrap();
    assert_eq!(
        extracted.warnings,
        [Warning::Recognised { pages: 2, total: 2 }]
    );
    let found = boxes(&extracted, "Republike Hrvatske");
    assert_eq!(found[0].page, 1);
    // What stands at the top of both pages is taken for a running head and stays once.
    assert_eq!(
        extracted.text.matches("Ovaj zakon stupa na snagu").count(),
        2,
        "{}",
        extracted.text
    );
    assert_eq!(
        extracted.text.matches("Potpisano").count(),
        1,
        "it is not recognised once more, and counts the pages: {}",
        extracted.text
    );
    let stamp = boxes(&extracted, "Potpisano. Stranica 1 od 2");
    assert!(
        stamp[0].page == 1 && stamp[0].top > 0.95,
        "it stays where it stands: {stamp:?}"
    );
}

#[tokio::test]
async fn the_largest_pages_fit_the_workers_memory() {
    let Some(recogniser) = tesseract() else {
        return;
    };
    // A poster, which is drawn at the most pixels that there may be.
    let picture = scan(150.0);
    let poster = write(&[ScannedPage::Picture(&picture)], (2976.0, 4210.0));
    let extracted = recognise(&poster.path, recogniser).await.unwrap();
    let original = read_bytes(&original(), Format::Pdf).unwrap();
    let rate = error_rate(&original.text, &extracted.text);
    assert!(rate < 0.05, "{rate} in {}", extracted.text);
}

/// A program that stands in for Tesseract.
#[cfg(unix)]
fn script(folder: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("tesseract");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Processes whose command line holds a path.
#[cfg(target_os = "linux")]
fn processes_of(path: &Path) -> usize {
    let wanted = path.to_str().unwrap().as_bytes();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| line.windows(wanted.len()).any(|window| window == wanted))
        .count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn cancelling_ends_the_recognition_and_its_processes() {
    let folder = tempfile::tempdir().unwrap();
    // It reads the page and never answers, and neither does what it starts.
    let program = script(
        folder.path(),
        "case $1 in --version) echo tesseract 5;; --list-langs) echo eng;; *) cat >/dev/null; while :; do :; done;; esac",
    );
    let recogniser = Recogniser::at(program.clone()).unwrap();
    let picture = Picture::noise(100, 100);
    let scan = write(&[ScannedPage::Picture(&picture)], A4);
    let extractor = extractor(one_process());
    let cancel = CancellationToken::new();
    let (result, ()) = tokio::join!(
        extractor.recognise(&scan.path, Format::Pdf, recogniser, cancel.clone(), |_| {}),
        async {
            while processes_of(&program) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cancel.cancel();
        }
    );
    assert!(matches!(result, Err(ExtractError::Cancelled)), "{result:?}");
    // The system ends it a moment after its parent.
    for _ in 0..200 {
        if processes_of(&program) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it still runs two seconds after it was cancelled");
}

#[cfg(unix)]
#[tokio::test]
async fn a_recogniser_that_fails_costs_no_document_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(
        folder.path(),
        "case $1 in --version) echo tesseract 5.9; echo ' libpng';; --list-langs) echo Languages:; echo hrv;; *) exit 3;; esac",
    );
    let recogniser = Recogniser::at(program).unwrap();
    assert_eq!(
        (recogniser.version.as_str(), recogniser.languages.as_slice()),
        ("5.9", &["hrv".to_owned()][..])
    );
    assert!(!recogniser.finds_orientation);
    let picture = Picture::noise(100, 100);
    let reports = Mutex::new(Vec::new());
    let mixed = write(
        &[
            ScannedPage::Text("The first page has a text of its own."),
            ScannedPage::Picture(&picture),
        ],
        A4,
    );
    let extracted = extractor(one_process())
        .recognise(
            &mixed.path,
            Format::Pdf,
            recogniser.clone(),
            CancellationToken::new(),
            |progress| reports.lock().unwrap().push(progress.done),
        )
        .await
        .unwrap();
    assert_eq!(extracted.text, "The first page has a text of its own.");
    assert_eq!(
        extracted.warnings,
        [Warning::PagesWithoutText { pages: 1, total: 2 }]
    );
    assert_eq!(*reports.lock().unwrap(), [1, 2, 2]);
    let scan = write(&[ScannedPage::Picture(&picture)], A4);
    let refused = recognise(&scan.path, recogniser.clone()).await;
    assert!(
        matches!(
            &refused,
            Err(ExtractError::Refused(Refusal::RecognitionFailed { pages: 1, message })) if message.contains('3')
        ),
        "{refused:?}"
    );
    // With no time left for it, nothing is recognised, and nothing fails.
    let hurried = extractor(ExtractLimits {
        recognition: Duration::ZERO,
        ..one_process()
    });
    let extracted = hurried
        .recognise(
            &mixed.path,
            Format::Pdf,
            recogniser,
            CancellationToken::new(),
            |_| {},
        )
        .await
        .unwrap();
    assert_eq!(extracted.text, "The first page has a text of its own.");
}

#[cfg(unix)]
#[test]
fn what_cannot_recognise_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Recogniser::at(folder.path().join("nothing"));
    assert_eq!(missing, Err(RecogniserMissing::NotInstalled));
    let foreign = script(folder.path(), "echo tesseract 5.0; echo deu");
    assert_eq!(
        Recogniser::at(foreign),
        Err(RecogniserMissing::NoLanguage {
            version: "5.0".to_owned()
        })
    );
    let broken = script(folder.path(), "exit 1");
    assert!(matches!(
        Recogniser::at(broken),
        Err(RecogniserMissing::Broken { .. })
    ));
}
