//! Extraction through the worker process: what a file does to its reader costs that file only.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use docent_domain::Format;
use docent_ingest::{
    Bounds, ExtractError, ExtractLimits, Extracted, Extractor, Refusal, extract_here,
};
use docent_worker::Launch;
use tokio_util::sync::CancellationToken;

use crate::fixtures::{PdfOptions, pdf, pdfium_dir, text, zip};

fn launch() -> Launch {
    Launch {
        program: docent_testkit::docent_binary(),
        args: vec!["worker".into(), "extractor".into()],
        env: Vec::new(),
        limits: docent_worker::Limits::default(),
    }
}

pub fn extractor(limits: ExtractLimits) -> Extractor {
    Extractor::new(launch(), limits, Some(pdfium_dir()))
}

pub fn one_process() -> ExtractLimits {
    ExtractLimits {
        processes: 1,
        ..ExtractLimits::default()
    }
}

async fn read(
    extractor: &Extractor,
    path: &Path,
    format: Format,
) -> Result<Extracted, ExtractError> {
    extractor
        .extract(path, format, CancellationToken::new(), |_| {})
        .await
}

#[tokio::test]
async fn the_worker_reads_what_this_process_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("čaj.pdf");
    let pages: Vec<_> = (0..40)
        .map(|_| vec![text(70.0, 700.0, 12.0, "Jedna stranica o šumi.")])
        .collect();
    std::fs::write(&path, pdf(&pages, &PdfOptions::default())).unwrap();
    let extractor = extractor(one_process());
    let reports = Mutex::new(Vec::new());
    let extracted = extractor
        .extract(&path, Format::Pdf, CancellationToken::new(), |progress| {
            reports
                .lock()
                .unwrap()
                .push((progress.done, progress.total));
        })
        .await
        .unwrap();
    let here = extract_here(&path, Format::Pdf, Bounds::default(), Some(&pdfium_dir())).unwrap();
    assert_eq!(extracted, here);
    assert_eq!(*reports.lock().unwrap(), [(16, 40), (32, 40), (40, 40)]);
}

#[tokio::test]
async fn refusals_come_back_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let extractor = extractor(one_process());
    let gone = read(&extractor, &folder.path().join("gone.txt"), Format::Text)
        .await
        .unwrap_err();
    assert!(
        matches!(gone, ExtractError::Refused(Refusal::Vanished)),
        "{gone}"
    );
    let path = folder.path().join("note.txt");
    std::fs::write(&path, "bilješka").unwrap();
    assert_eq!(
        read(&extractor, &path, Format::Text).await.unwrap().text,
        "bilješka"
    );
}

/// A page whose tree does not fit the memory that a worker has.
fn memory_bomb() -> Vec<u8> {
    "<i>x</i>".repeat(3 << 19).into_bytes()
}

#[tokio::test]
async fn a_file_that_kills_its_reader_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (bomb, note) = (
        folder.path().join("bomb.html"),
        folder.path().join("note.txt"),
    );
    std::fs::write(&bomb, memory_bomb()).unwrap();
    std::fs::write(&note, "bilješka").unwrap();
    let extractor = extractor(ExtractLimits {
        data_bytes: 96 << 20,
        ..one_process()
    });
    let error = read(&extractor, &bomb, Format::Html).await.unwrap_err();
    assert!(matches!(error, ExtractError::Crashed { .. }), "{error}");
    assert!(
        error.to_string().contains("Nothing else is affected"),
        "{error}"
    );
    assert_eq!(
        read(&extractor, &note, Format::Text).await.unwrap().text,
        "bilješka"
    );
}

#[tokio::test]
async fn a_file_that_takes_too_long_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (slow, note) = (
        folder.path().join("slow.html"),
        folder.path().join("note.txt"),
    );
    std::fs::write(&slow, "<i>x</i>".repeat(1 << 19)).unwrap();
    std::fs::write(&note, "bilješka").unwrap();
    let extractor = extractor(ExtractLimits {
        stall: Duration::from_millis(1),
        ..one_process()
    });
    let error = read(&extractor, &slow, Format::Html).await.unwrap_err();
    assert!(matches!(error, ExtractError::TooSlow { .. }), "{error}");
    assert_eq!(
        extractor.idle_pids(),
        Vec::<u32>::new(),
        "the process was ended with it"
    );
}

#[tokio::test]
async fn cancelling_ends_the_reading() {
    let folder = tempfile::tempdir().unwrap();
    let (slow, note) = (
        folder.path().join("slow.html"),
        folder.path().join("note.txt"),
    );
    std::fs::write(&slow, memory_bomb()).unwrap();
    std::fs::write(&note, "bilješka").unwrap();
    let extractor = extractor(one_process());
    // Before it began, and while it runs.
    let cancel = CancellationToken::new();
    cancel.cancel();
    let early = extractor.extract(&slow, Format::Html, cancel, |_| {}).await;
    assert!(matches!(early, Err(ExtractError::Cancelled)));
    let cancel = CancellationToken::new();
    let (late, ()) = tokio::join!(
        extractor.extract(&slow, Format::Html, cancel.clone(), |_| {}),
        async {
            tokio::task::yield_now().await;
            cancel.cancel();
        }
    );
    assert!(matches!(late, Err(ExtractError::Cancelled)));
    assert_eq!(
        read(&extractor, &note, Format::Text).await.unwrap().text,
        "bilješka"
    );
}

#[tokio::test]
async fn a_dropped_reading_does_not_hold_up_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (slow, note) = (
        folder.path().join("slow.html"),
        folder.path().join("note.txt"),
    );
    std::fs::write(&slow, memory_bomb()).unwrap();
    std::fs::write(&note, "bilješka").unwrap();
    let extractor = extractor(one_process());
    read(&extractor, &note, Format::Text).await.unwrap();
    let before = extractor.idle_pids();
    {
        let reading = read(&extractor, &slow, Format::Html);
        tokio::pin!(reading);
        // Poll it once: the request is on its way.
        tokio::select! {
            biased;
            _ = &mut reading => panic!("it cannot be done at once"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(
        read(&extractor, &note, Format::Text).await.unwrap().text,
        "bilješka"
    );
    assert_ne!(
        extractor.idle_pids(),
        before,
        "the busy process was replaced"
    );
}

#[tokio::test]
async fn processes_are_replaced_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note.txt");
    std::fs::write(&note, "bilješka").unwrap();
    let extractor = extractor(ExtractLimits {
        files_per_process: 2,
        ..one_process()
    });
    let mut pids = Vec::new();
    for _ in 0..5 {
        read(&extractor, &note, Format::Text).await.unwrap();
        pids.extend(extractor.idle_pids());
    }
    pids.dedup();
    assert_eq!(pids.len(), 3, "{pids:?}");
    extractor.stop().await;
    assert_eq!(extractor.idle_pids(), Vec::<u32>::new());
}

#[tokio::test]
async fn large_documents_come_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.txt");
    let text = "Redak teksta, koji se ponavlja i ponavlja.\n\n".repeat(300_000);
    std::fs::write(&path, &text).unwrap();
    let extracted = read(&extractor(one_process()), &path, Format::Text)
        .await
        .unwrap();
    assert!(extracted.text == text);
    assert_eq!(extracted.blocks.len(), 300_000);
}

#[tokio::test]
async fn bombs_stay_in_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let (bomb, note) = (
        folder.path().join("bomb.docx"),
        folder.path().join("note.txt"),
    );
    let mut document = b"<w:document><w:body><w:p><w:r><w:t>".to_vec();
    document.resize(1 << 30, b'x');
    std::fs::write(&bomb, zip(&[("word/document.xml", &document)])).unwrap();
    drop(document);
    std::fs::write(&note, "bilješka").unwrap();
    let extractor = extractor(one_process());
    let error = read(&extractor, &bomb, Format::Docx).await.unwrap_err();
    assert!(
        matches!(error, ExtractError::Refused(Refusal::UnpacksTooBig { .. })),
        "{error}"
    );
    assert_eq!(
        read(&extractor, &note, Format::Text).await.unwrap().text,
        "bilješka"
    );
}
