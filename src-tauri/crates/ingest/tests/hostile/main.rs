//! Files made to break their reader, through the worker processes that the application reads with: no
//! crash, no hang, no memory beyond the limit, in the worker or here. All of it by fixed seeds, which
//! are printed.
//!
//! The controls send the same checks something that has to fail them.

mod bombs;
#[path = "../it/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;
mod mutations;
#[path = "../it/seeds.rs"]
mod seeds;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use docent_domain::Format;
use docent_ingest::{Bounds, ExtractError, ExtractLimits, Extracted, Extractor, Recogniser};
use docent_worker::Launch;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::fixtures::pdfium_dir;

/// Stands in for Tesseract.
const BLIND: &str = "blind";

/// A worker may have this much memory resident, what it maps of files included.
const WORKER_BYTES: u64 = 512 << 20;

/// The application may grow by this much while others read for it.
const APPLICATION_BYTES: u64 = 64 << 20;

/// Texts up to this length are checked against every promise.
const CHECKED_BYTES: usize = 1 << 20;

/// Each test measures memory and time, so they don't run beside each other.
static ALONE: Mutex<()> = Mutex::const_new(());

struct Hostile {
    name: String,
    format: Format,
    path: PathBuf,
}

/// What became of all the files.
#[derive(Debug, Default)]
struct Outcome {
    read: usize,
    refused: usize,
    /// Files that ended their worker, that were given up for their time, or that gave nonsense.
    failed: Vec<String>,
    slowest: (Duration, String),
    /// The most memory that a worker had resident, in bytes.
    worker_peak: u64,
    application_growth: u64,
}

impl Outcome {
    /// What of it must not be.
    fn violations(&self) -> Vec<String> {
        let mut violations = self.failed.clone();
        for (who, bytes, most) in [
            ("a worker had", self.worker_peak, WORKER_BYTES),
            (
                "the application grew by",
                self.application_growth,
                APPLICATION_BYTES,
            ),
        ] {
            if bytes > most {
                violations.push(format!("{who} {} MiB", bytes >> 20));
            }
        }
        violations
    }

    fn report(&self, what: &str) {
        println!(
            "{what}: {} read, {} refused, {} failed; slowest {:.2?} ({}); a worker had at most {} MiB, \
             the application grew by {} MiB",
            self.read,
            self.refused,
            self.failed.len(),
            self.slowest.0,
            self.slowest.1,
            self.worker_peak >> 20,
            self.application_growth >> 20,
        );
    }
}

fn extractor(limits: ExtractLimits) -> Extractor {
    let launch = Launch {
        program: docent_testkit::docent_binary(),
        args: vec!["worker".into(), "extractor".into()],
        env: Vec::new(),
        limits: docent_worker::Limits::default(),
    };
    Extractor::new(launch, limits, Some(pdfium_dir()))
}

/// Reads all files, as many at a time as there are worker processes.
async fn read_all(limits: ExtractLimits, files: Vec<Hostile>) -> Outcome {
    let extractor = Arc::new(extractor(limits));
    let files = Arc::new(std::sync::Mutex::new(files.into_iter()));
    forget_peak();
    let before = memory("self", "VmRSS:").unwrap_or_default();
    let lanes: Vec<_> = (0..limits.processes)
        .map(|_| tokio::spawn(read_next(Arc::clone(&extractor), Arc::clone(&files))))
        .collect();
    let mut all = Outcome::default();
    for lane in lanes {
        let of_lane = lane.await.unwrap();
        all.read += of_lane.read;
        all.refused += of_lane.refused;
        all.failed.extend(of_lane.failed);
        all.worker_peak = all.worker_peak.max(of_lane.worker_peak);
        if of_lane.slowest.0 > all.slowest.0 {
            all.slowest = of_lane.slowest;
        }
    }
    let peak = memory("self", "VmHWM:").unwrap_or_default();
    all.application_growth = peak.saturating_sub(before);
    extractor.stop().await;
    all
}

async fn read_next(
    extractor: Arc<Extractor>,
    files: Arc<std::sync::Mutex<std::vec::IntoIter<Hostile>>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let Some(file) = files.lock().unwrap().next() else {
            return outcome;
        };
        let begun = Instant::now();
        let read = read_one(&extractor, &file).await;
        let took = begun.elapsed();
        if std::env::var_os("DOCENT_HOSTILE_KEEP").is_some() {
            let of = |figure| memory("self", figure).unwrap_or_default() >> 20;
            println!(
                "{} {took:.1?}, here {} of {} MiB",
                file.name,
                of("VmRSS:"),
                of("VmHWM:")
            );
        }
        if took > outcome.slowest.0 {
            outcome.slowest = (took, file.name.clone());
        }
        match read {
            Ok(extracted) => {
                outcome.read += 1;
                // The checks take a multiple of a text's memory.
                let is_small = extracted.text.len() < CHECKED_BYTES;
                if is_small && std::panic::catch_unwind(|| seeds::check(&extracted)).is_err() {
                    let broken = format!("{}: broken promises", file.name);
                    outcome.failed.push(broken);
                }
            }
            Err(ExtractError::Refused(_)) => outcome.refused += 1,
            // PDFium is not ours; that it ends its worker and nothing else is what the worker is for.
            Err(error @ ExtractError::Crashed { .. }) if file.format == Format::Pdf => {
                println!("{}: {error}", file.name);
                outcome.refused += 1;
            }
            Err(error) => outcome.failed.push(format!("{}: {error}", file.name)),
        }
        for worker in extractor.idle_pids() {
            let peak = memory(&worker.to_string(), "VmHWM:").unwrap_or_default();
            outcome.worker_peak = outcome.worker_peak.max(peak);
        }
    }
}

/// Pictures are decoded only for recognition, which a script does here that sees nothing on them.
async fn read_one(extractor: &Extractor, file: &Hostile) -> Result<Extracted, ExtractError> {
    let (format, cancel) = (file.format, CancellationToken::new());
    if format != Format::Picture {
        return extractor.extract(&file.path, format, cancel, |_| {}).await;
    }
    let recogniser = Recogniser {
        program: file.path.with_file_name(BLIND),
        version: "5".into(),
        languages: vec!["eng".into()],
        finds_orientation: false,
    };
    extractor
        .recognise(&file.path, format, recogniser, cancel, |_| {})
        .await
}

/// A figure of a process's memory, in bytes; `None` when it has ended, and where there is no `/proc`.
fn memory(process: &str, figure: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Has the peak of this process's memory counted from now.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn write(folder: &Path, name: String, format: Format, bytes: &[u8]) -> Hostile {
    let path = folder.join(&name);
    std::fs::write(&path, bytes).unwrap();
    Hostile { name, format, path }
}

/// A folder for hostile files, with what looks at their pictures.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(BLIND);
    std::fs::write(&program, "#!/bin/sh\ncat > /dev/null\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// `DOCENT_HOSTILE=5000` tries so many mutations of every format; a failure's file is named by its
/// number, and made again by the same seed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_files_cost_a_reason_at_most() {
    let _alone = ALONE.lock().await;
    let count = std::env::var("DOCENT_HOSTILE").map_or(500, |count| count.parse().unwrap());
    let folder = folder();
    let files = mutations::write_all(folder.path(), count);
    println!("{} files, seed {:#x}", files.len(), mutations::SEED);
    let outcome = read_all(ExtractLimits::default(), files).await;
    outcome.report("mutated");
    keep_failed(folder.path(), &outcome);
    assert_eq!(outcome.violations(), Vec::<String>::new());
    assert!(
        outcome.read > count,
        "the mutations leave something to read"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_are_refused_or_read_within_the_limits() {
    let _alone = ALONE.lock().await;
    let folder = folder();
    let files = bombs::write_all(folder.path());
    assert!(files.len() >= 40, "{}", files.len());
    // One at a time, so that a figure belongs to a file.
    let limits = ExtractLimits {
        processes: 1,
        ..ExtractLimits::default()
    };
    let outcome = read_all(limits, files).await;
    outcome.report("bombs");
    keep_failed(folder.path(), &outcome);
    assert_eq!(outcome.violations(), Vec::<String>::new());
}

/// A file that needs more than a worker may have, one that takes longer than it may, and one that
/// gets what it wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_the_checks_notice_crashes_hangs_and_memory() {
    let _alone = ALONE.lock().await;
    let folder = folder();
    let hungry = || {
        let page = "<i>x</i>".repeat(3 << 19);
        write(
            folder.path(),
            "hungry.html".into(),
            Format::Html,
            page.as_bytes(),
        )
    };
    let limits = ExtractLimits {
        processes: 1,
        ..ExtractLimits::default()
    };
    let crashing = ExtractLimits {
        data_bytes: 96 << 20,
        ..limits
    };
    let slow = ExtractLimits {
        stall: Duration::from_millis(1),
        ..limits
    };
    for (limits, expected) in [(crashing, "crashed"), (slow, "took longer")] {
        let outcome = read_all(limits, vec![hungry()]).await;
        let violations = outcome.violations();
        assert!(
            violations
                .iter()
                .any(|violation| violation.contains(expected)),
            "{expected}: {violations:?}"
        );
    }
    let huge = "<i>x</i>".repeat(6 << 20);
    let huge = write(
        folder.path(),
        "huge.html".into(),
        Format::Html,
        huge.as_bytes(),
    );
    let generous = ExtractLimits {
        data_bytes: 4 << 30,
        bounds: Bounds {
            html_bytes: 64 << 20,
            ..Bounds::default()
        },
        ..limits
    };
    let outcome = read_all(generous, vec![huge]).await;
    outcome.report("control");
    let violations = outcome.violations();
    assert!(
        violations
            .iter()
            .any(|violation| violation.contains("a worker had")),
        "{violations:?}"
    );
}

/// Where `DOCENT_HOSTILE_KEEP` names a folder, the files that failed are put there.
fn keep_failed(folder: &Path, outcome: &Outcome) {
    let Some(keep) = std::env::var_os("DOCENT_HOSTILE_KEEP").map(PathBuf::from) else {
        return;
    };
    for failed in &outcome.failed {
        println!("{failed}");
        let name = failed.split(':').next().unwrap_or_default();
        std::fs::copy(folder.join(name), keep.join(name)).unwrap();
    }
}
