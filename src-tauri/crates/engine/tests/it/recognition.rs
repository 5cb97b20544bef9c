//! Scanned documents: read twice, words first. A script stands in for Tesseract here, which can be
//! made to wait; the real one has its tests where it is called.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use docent_domain::{Document, DocumentStatus, Problem, WorkspaceScope};
use docent_engine::{
    AddedFolders, DocumentQuery, Engine, EngineOptions, HealthStatus, Legs, ModelSource,
    SearchRequest,
};
use docent_testkit::scans::{Picture, ScannedPage, scanned_pdf};
use tempfile::TempDir;

use crate::Test;
use crate::support::run;

pub const TESTS: &[Test] = &[
    (
        "scanned_pages_are_recognised_after_all_else",
        scanned_pages_are_recognised_after_all_else,
    ),
    (
        "recognition_goes_on_after_a_restart",
        recognition_goes_on_after_a_restart,
    ),
    (
        "a_recogniser_that_comes_later_is_given_what_waits_for_it_once",
        a_recogniser_that_comes_later_is_given_what_waits_for_it_once,
    ),
];

/// Overrides where Tesseract is looked for.
const PROGRAM_VARIABLE: &str = "DOCENT_TESSERACT";

/// Puts the stand-in where it is looked for. Call before there are threads.
pub fn prepare(folder: &Path) {
    let program = folder.join("tesseract");
    // Workers may write nothing, but make empty files.
    let script = r#"#!/bin/sh
case $1 in
    --version) echo 'tesseract 5.0'; exit;;
    --list-langs) printf 'hrv\neng\n'; exit;;
esac
here=${0%/*}
cat > /dev/null
: > "$here/entered"
while [ -e "$here/closed" ]; do sleep 0.02; done
[ -e "$here/blind" ] && exit 0
cat << 'END'
<html><body><span class='ocr_line' title="bbox 10 10 90 30; x_size 20">
<span class='ocrx_word' title='bbox 10 10 50 30; x_wconf 95'>Šumarski</span>
<span class='ocrx_word' title='bbox 55 10 90 30; x_wconf 95'>inspektor</span>
</span></body></html>
END
"#;
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    // SAFETY: no other thread reads the environment yet.
    unsafe { std::env::set_var(PROGRAM_VARIABLE, program) };
}

/// A file that tells the stand-in something, or is made by it.
fn sign(name: &str) -> PathBuf {
    let program = std::env::var_os(PROGRAM_VARIABLE).expect("main has set it");
    Path::new(&program).with_file_name(name)
}

/// Recognition waits while this lives.
struct Closed;

impl Closed {
    fn now() -> Self {
        let _ = std::fs::remove_file(sign("entered"));
        std::fs::write(sign("closed"), "").unwrap();
        Self
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(sign("closed"));
    }
}

fn options(folder: &Path) -> EngineOptions {
    let models = std::env::var_os("DOCENT_MODELS_DIR").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/docent/models"),
        PathBuf::from,
    );
    let mut options = EngineOptions::new(folder.join("data"), models);
    options.models = ModelSource::Fakes;
    options
}

struct Office {
    folder: TempDir,
    engine: Arc<Engine>,
    scope: WorkspaceScope,
}

impl Office {
    async fn open(options: impl FnOnce(&Path) -> EngineOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(options(folder.path())).await.unwrap();
        let created = engine.create_workspace("Ured", None).await.unwrap();
        Self {
            folder,
            engine,
            scope: WorkspaceScope::new(created.id),
        }
    }

    async fn restart(self) -> Self {
        self.engine.shutdown().await;
        drop(self.engine);
        let engine = Engine::open(options(self.folder.path())).await.unwrap();
        Self { engine, ..self }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().canonicalize().unwrap().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    async fn add(&self, paths: &[&PathBuf]) {
        let paths = paths.iter().map(|path| (*path).clone()).collect();
        self.engine
            .add_paths(&self.scope, paths, AddedFolders::Watch)
            .await
            .unwrap();
    }

    async fn document(&self, path: &Path) -> Document {
        let query = DocumentQuery::default();
        let page = self.engine.documents(&self.scope, query).await.unwrap();
        let found = page
            .items
            .into_iter()
            .find(|document| Path::new(&document.path) == path);
        found.unwrap_or_else(|| panic!("{} is no document", path.display()))
    }

    async fn until(&self, path: &Path, is: impl Fn(&Document) -> bool) -> Document {
        loop {
            let document = self.document(path).await;
            if is(&document) {
                return document;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn finds(&self, words: &str) -> Vec<String> {
        let request = SearchRequest {
            text: words.to_owned(),
            k: 10,
            expand: false,
            legs: Legs::Hybrid,
            language: None,
        };
        let found = self.engine.search(&self.scope, request).await.unwrap();
        found
            .hits
            .into_iter()
            .map(|hit| hit.citation.text)
            .collect()
    }

    async fn idle(&self) {
        self.engine.wait_idle(&self.scope, |_| {}).await.unwrap();
    }
}

const A4: (f32, f32) = (595.0, 842.0);

fn scanned() -> Vec<u8> {
    let picture = Picture::noise(100, 100);
    scanned_pdf(&[ScannedPage::Picture(&picture)], A4)
}

fn mixed() -> Vec<u8> {
    let picture = Picture::noise(100, 100);
    scanned_pdf(
        &[
            ScannedPage::Text("Fires are reported to the brigade."),
            ScannedPage::Picture(&picture),
        ],
        A4,
    )
}

fn scanned_pages_are_recognised_after_all_else() {
    run(async {
        let office = Office::open(options).await;
        let closed = Closed::now();
        let (first, second) = (
            office.write("1.pdf", &scanned()),
            office.write("2.pdf", &scanned()),
        );
        let mixed = office.write("3.pdf", &mixed());
        let note = office.write("4.txt", "Pčele se bude u travnju.".as_bytes());
        office.add(&[&first, &second, &mixed, &note]).await;
        office
            .until(&note, |document| document.status == DocumentStatus::Ready)
            .await;
        // What has words of its own is found by them, while the first picture is being looked at.
        office.until(&mixed, |mixed| mixed.chunk_count > 0).await;
        while !sign("entered").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while office.finds("Fires brigade").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for scan in [&first, &second] {
            let scan = office.document(scan).await;
            assert_eq!(scan.chunk_count, 0);
            assert!(!scan.status.is_settled(), "{:?}", scan.status);
            let reason = scan.reason.unwrap_or_default();
            assert!(reason.contains("recognised when"), "{reason}");
        }
        // One document is recognised at a time, and it keeps no other file from being read and
        // embedded.
        let late = office.write("5.txt", "Ose se bude u svibnju.".as_bytes());
        office.add(&[&late]).await;
        office
            .until(&late, |document| document.status == DocumentStatus::Ready)
            .await;
        let mut reading = Vec::new();
        for scan in [&first, &second, &mixed] {
            reading.push(office.document(scan).await.status == DocumentStatus::Reading);
        }
        assert_eq!(reading.iter().filter(|reading| **reading).count(), 1);
        drop(closed);
        office.idle().await;
        for scan in [&first, &second, &mixed] {
            let scan = office.document(scan).await;
            assert_eq!((scan.status, scan.problem), (DocumentStatus::Ready, None));
            let warning = scan.reason.unwrap_or_default();
            assert!(warning.contains("recognised from pictures"), "{warning}");
        }
        let found = office.finds("Šumarski inspektor").await;
        let recognised = found
            .iter()
            .filter(|text| text.contains("Šumarski inspektor"));
        assert_eq!(recognised.count(), 3, "{found:?}");
        assert!(
            office
                .engine
                .problems(&office.scope)
                .await
                .unwrap()
                .is_empty()
        );
        office.engine.shutdown().await;
    });
}

fn recognition_goes_on_after_a_restart() {
    run(async {
        let office = Office::open(options).await;
        let closed = Closed::now();
        let scan = office.write("scan.pdf", &scanned());
        office.add(&[&scan]).await;
        while !sign("entered").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let office = office.restart().await;
        let waiting = office.document(&scan).await;
        assert_eq!(waiting.chunk_count, 0, "control: it was not done");
        drop(closed);
        office.idle().await;
        assert_eq!(office.finds("inspektor").await, ["Šumarski inspektor"]);
        // A file that is read again is not recognised again.
        let _ = std::fs::remove_file(sign("entered"));
        office.write("scan.pdf", &scanned());
        office.add(&[&scan]).await;
        office.idle().await;
        assert!(!sign("entered").exists());
        office.engine.shutdown().await;
    });
}

fn a_recogniser_that_comes_later_is_given_what_waits_for_it_once() {
    run(async {
        let without = |folder: &Path| {
            let mut options = options(folder);
            options.config.recognise_text = false;
            options
        };
        let office = Office::open(without).await;
        let (scan, mixed) = (
            office.write("scan.pdf", &scanned()),
            office.write("mixed.pdf", &mixed()),
        );
        office.add(&[&scan, &mixed]).await;
        office.idle().await;
        let listed = office.document(&scan).await;
        assert_eq!(
            (listed.status, listed.problem),
            (DocumentStatus::Skipped, Some(Problem::Scanned))
        );
        let reason = listed.reason.unwrap_or_default();
        assert!(reason.contains("tesseract-ocr"), "{reason}");
        let partly = office.document(&mixed).await;
        assert_eq!(partly.problem, Some(Problem::PartlyScanned));
        let health = office.engine.health().await;
        let recognition = health
            .components
            .iter()
            .find(|component| component.name == "recognition");
        assert_eq!(recognition.unwrap().status, HealthStatus::Degraded);
        assert_eq!(health.status, HealthStatus::Healthy, "it is an extra");

        // It is there, and sees nothing on the pages.
        std::fs::write(sign("blind"), "").unwrap();
        let _ = std::fs::remove_file(sign("entered"));
        let office = office.restart().await;
        office
            .until(&scan, |scan| scan.problem == Some(Problem::Empty))
            .await;
        office.idle().await;
        assert!(sign("entered").exists());
        let partly = office.document(&mixed).await;
        assert_eq!(partly.problem, None, "an empty page lacks nothing");
        assert_eq!(partly.status, DocumentStatus::Ready);
        assert!(partly.chunk_count > 0, "what it had stays");
        std::fs::remove_file(sign("blind")).unwrap();

        // What has been recognised is not taken up again at every start, but when it is asked for.
        let _ = std::fs::remove_file(sign("entered"));
        let office = office.restart().await;
        office.idle().await;
        assert!(!sign("entered").exists());
        let id = office.document(&scan).await.id;
        office
            .engine
            .retry_document(&office.scope, id)
            .await
            .unwrap();
        office.idle().await;
        assert_eq!(office.finds("inspektor").await[0], "Šumarski inspektor");
        let health = office.engine.health().await;
        let recognition = health
            .components
            .iter()
            .find(|component| component.name == "recognition")
            .unwrap();
        assert_eq!(recognition.message, "Tesseract 5.0 with hrv and eng");
        office.engine.shutdown().await;
    });
}
