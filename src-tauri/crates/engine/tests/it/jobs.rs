//! The control of background work: pausing, cancelling, trying again, and what it says of itself.

use std::path::Path;

use docent_domain::{DocumentStatus, JobState, Problem, WorkspaceScope};
use docent_engine::{
    AddedFolders, Code, Export, ExportFormat, JobFilter, JobPage, Over, WorkProgress,
};

use crate::Test;
use crate::support::{Bench, Gate, run};

pub const TESTS: &[Test] = &[
    (
        "a_pause_stops_what_runs_and_outlasts_a_restart",
        a_pause_stops_what_runs_and_outlasts_a_restart,
    ),
    (
        "a_pause_stops_one_workspace_alone",
        a_pause_stops_one_workspace_alone,
    ),
    (
        "cancelling_ends_the_reader_at_work",
        cancelling_ends_the_reader_at_work,
    ),
    (
        "everything_can_be_cancelled_at_once",
        everything_can_be_cancelled_at_once,
    ),
    (
        "a_cancelled_upload_that_is_sent_again_is_read",
        a_cancelled_upload_that_is_sent_again_is_read,
    ),
    (
        "the_end_of_a_batch_is_told_and_what_failed_can_be_tried_again",
        the_end_of_a_batch_is_told_and_what_failed_can_be_tried_again,
    ),
    (
        "an_export_says_what_happened_to_every_file",
        an_export_says_what_happened_to_every_file,
    ),
];

async fn jobs(bench: &Bench, state: Option<JobState>) -> JobPage {
    let filter = JobFilter {
        state,
        ..JobFilter::default()
    };
    bench.engine.jobs(&bench.scope, filter).await.unwrap()
}

/// Adds files by hand without waiting for them.
async fn put(bench: &Bench, files: &[&Path]) {
    let files = files.iter().map(|file| file.to_path_buf()).collect();
    bench
        .engine
        .add_paths(&bench.scope, files, AddedFolders::Watch)
        .await
        .unwrap();
}

/// Waits until so many jobs run.
async fn running(bench: &Bench, wanted: u64) {
    let mut changes = bench.engine.subscribe();
    while jobs(bench, None).await.counts.running < wanted {
        changes.recv().await.unwrap();
    }
}

fn a_pause_stops_what_runs_and_outlasts_a_restart() {
    run(async {
        let gate = Gate::close();
        let bench = Bench::open().await;
        let files: Vec<_> = (0..5)
            .map(|n| bench.write(&format!("{n}.txt"), "Rečenica."))
            .collect();
        let files: Vec<_> = files.iter().map(AsRef::as_ref).collect();
        put(&bench, &files).await;
        running(&bench, 2).await;
        bench.engine.pause_work(&bench.scope).await.unwrap();
        let page = jobs(&bench, Some(JobState::Queued)).await;
        assert_eq!((page.counts.queued, page.counts.running), (5, 0));
        assert!(
            page.items.iter().all(|listed| listed.job.attempts == 0),
            "what was stopped has lost no attempt"
        );
        assert_eq!(
            page.progress,
            WorkProgress {
                files_total: 5,
                paused: true,
                ..WorkProgress::default()
            }
        );
        let waited = bench.engine.wait_idle(&bench.scope, |_| {}).await;
        assert_eq!(waited.unwrap_err().code(), Code::Conflict, "not for ever");
        drop(gate);
        let bench = bench.restart(|_| {}).await;
        // A look by hand: the lanes have had their chance when another workspace is done.
        let other = bench.engine.create_workspace("B", None).await.unwrap();
        let other = WorkspaceScope::new(other.id);
        let file = bench.write("b.txt", "Druga.");
        bench
            .engine
            .add_paths(&other, vec![file], AddedFolders::Watch)
            .await
            .unwrap();
        bench.engine.wait_idle(&other, |_| {}).await.unwrap();
        let page = jobs(&bench, None).await;
        assert!(page.progress.paused);
        assert_eq!(page.counts.queued, 5);
        bench.engine.resume_work(&bench.scope).await.unwrap();
        bench.idle().await;
        let ready = |document: &docent_domain::Document| document.status == DocumentStatus::Ready;
        assert!(bench.documents().await.iter().all(ready));
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn a_pause_stops_one_workspace_alone() {
    run(async {
        let bench = Bench::open().await;
        let other = bench.engine.create_workspace("B", None).await.unwrap();
        let other = WorkspaceScope::new(other.id);
        bench.engine.pause_work(&other).await.unwrap();
        let file = bench.write("a.txt", "Prva rečenica.");
        bench
            .engine
            .add_paths(&other, vec![file.clone()], AddedFolders::Watch)
            .await
            .unwrap();
        bench.add(&[&file]).await;
        assert_eq!(bench.search("rečenica").await.len(), 1);
        let progress = bench.engine.work_progress(&other).await.unwrap();
        assert_eq!((progress.files_done, progress.files_total), (0, 1));
        bench.engine.shutdown().await;
    });
}

fn cancelling_ends_the_reader_at_work() {
    run(async {
        let gate = Gate::close();
        let bench = Bench::open().await;
        let file = bench.write("a.txt", "Prva rečenica.");
        put(&bench, &[&file]).await;
        running(&bench, 1).await;
        let listed = &jobs(&bench, Some(JobState::Running)).await.items[0];
        assert_eq!(listed.title.as_deref(), Some("a"));
        assert_eq!(Path::new(&listed.path), file);
        let job = listed.job.id;
        bench.engine.cancel_job(&bench.scope, job).await.unwrap();
        let cancelled = jobs(&bench, Some(JobState::Cancelled)).await;
        assert_eq!(cancelled.items[0].job.id, job, "it shows at once");
        let document = bench.document(&file).await;
        assert_eq!(document.status, DocumentStatus::Skipped);
        assert!(document.reason.unwrap().contains("cancelled"));
        // The gate is still closed: another file is read only by a new process.
        drop(gate);
        let next = bench.write("b.txt", "Druga rečenica.");
        bench.add(&[&next]).await;
        bench.engine.retry_job(&bench.scope, job).await.unwrap();
        bench.idle().await;
        assert_eq!(bench.search("rečenica").await.len(), 2);
        bench.engine.shutdown().await;
    });
}

fn everything_can_be_cancelled_at_once() {
    run(async {
        let bench = Bench::open().await;
        let kept = bench.write("kept.txt", "Prva rečenica.");
        bench.add(&[&kept]).await;
        let gate = Gate::close();
        let bench = bench.restart(|_| {}).await;
        let files: Vec<_> = (0..20)
            .map(|n| bench.write(&format!("{n}.txt"), &format!("Rečenica {n}.")))
            .collect();
        let files: Vec<_> = files.iter().map(AsRef::as_ref).collect();
        put(&bench, &files).await;
        running(&bench, 2).await;
        let cancelled = bench.engine.cancel_all_jobs(&bench.scope).await.unwrap();
        assert_eq!(cancelled, 20);
        let page = jobs(&bench, None).await;
        assert_eq!(
            (
                page.counts.queued,
                page.counts.running,
                page.counts.cancelled
            ),
            (0, 0, 20)
        );
        assert_eq!(
            page.progress.files_done, page.progress.files_total,
            "nothing is left to do"
        );
        drop(gate);
        bench.idle().await;
        assert_eq!(
            bench.search("rečenica").await.len(),
            1,
            "what was there stays"
        );
        bench.assert_healthy().await;

        // Nobody who looks at the documents takes it for all there is.
        let problems = bench.engine.problems(&bench.scope).await.unwrap();
        let listed: Vec<_> = problems.iter().map(|p| (p.problem, p.documents)).collect();
        assert_eq!(listed, [(Problem::Cancelled, 20)]);
        // Adding files again reads them, and so does asking for all.
        bench.add(&files[..5]).await;
        assert_eq!(bench.search("rečenica").await.len(), 6);
        let retried = bench.engine.retry_jobs(&bench.scope, Over::Cancelled).await;
        assert_eq!(retried.unwrap(), 15);
        bench.idle().await;
        assert!(
            bench
                .engine
                .problems(&bench.scope)
                .await
                .unwrap()
                .is_empty()
        );
        bench.engine.shutdown().await;
    });
}

fn a_cancelled_upload_that_is_sent_again_is_read() {
    run(async {
        let gate = Gate::close();
        let bench = Bench::open().await;
        let id = bench.upload("a.txt", "Prva rečenica.").await;
        let cancelled = bench.engine.cancel_all_jobs(&bench.scope).await;
        assert_eq!(cancelled.unwrap(), 1);
        drop(gate);
        bench.idle().await;
        assert_eq!(bench.documents().await[0].status, DocumentStatus::Skipped);
        assert_eq!(bench.upload("a.txt", "Prva rečenica.").await, id);
        bench.idle().await;
        assert_eq!(bench.documents().await[0].status, DocumentStatus::Ready);
        assert_eq!(bench.search("rečenica").await.len(), 1);
        bench.engine.shutdown().await;
    });
}

fn the_end_of_a_batch_is_told_and_what_failed_can_be_tried_again() {
    run(async {
        let bench = Bench::open().await;
        let mut batches = bench.engine.subscribe_batches();
        let good = bench.write("good.txt", "Prva rečenica.");
        let skipped = bench.write("picture.xyz", "\0\u{1}\u{2}");
        let bad = bench.write("bad.docx", "PK\u{3}\u{4} this is no archive");
        put(&bench, &[&good, &skipped, &bad]).await;
        let ended = batches.recv().await.unwrap();
        assert_eq!(ended.workspace_id, bench.scope.workspace());
        let documents = bench.documents().await;
        let with = |status| documents.iter().filter(|d| d.status == status).count() as u64;
        assert_eq!(ended.indexed, with(DocumentStatus::Ready));
        assert_eq!(ended.failed, with(DocumentStatus::Failed));
        assert_eq!(ended.skipped, with(DocumentStatus::Skipped));
        assert_eq!((ended.indexed, ended.failed), (1, 1), "{documents:?}");
        let page = jobs(&bench, Some(JobState::Dead)).await;
        assert_eq!(page.progress, WorkProgress::default());
        let (job, fence) = (page.items[0].job.id, page.items[0].job.fence);
        assert_eq!(Path::new(&page.items[0].path), bad);

        let retried = bench
            .engine
            .retry_jobs(&bench.scope, Over::Dead)
            .await
            .unwrap();
        assert_eq!(retried, 1);
        let again = batches.recv().await.unwrap();
        assert_eq!((again.indexed, again.failed, again.skipped), (0, 1, 0));
        let page = jobs(&bench, Some(JobState::Dead)).await;
        assert_eq!(page.items[0].job.id, job);
        assert!(page.items[0].job.fence > fence, "it was tried again");
        bench.engine.shutdown().await;
    });
}

fn an_export_says_what_happened_to_every_file() {
    run(async {
        let bench = Bench::open().await;
        let good = bench.write("=good, \"really\".txt", "Prva rečenica.");
        let bad = bench.write("bad.docx", "PK\u{3}\u{4} this is no archive");
        bench.add(&[&good, &bad]).await;
        let text = async |format| {
            let mut export = Export::new(bench.scope, format);
            let mut text = String::new();
            while let Some(piece) = export.next(&bench.engine).await.unwrap() {
                text.push_str(&piece);
            }
            text
        };
        let json: serde_json::Value =
            serde_json::from_str(&text(ExportFormat::Json).await).unwrap();
        let documents = json["documents"].as_array().unwrap();
        assert_eq!(documents.len(), 2);
        let failed = documents.iter().find(|d| d["status"] == "failed").unwrap();
        assert_eq!(failed["path"], bad.to_str().unwrap());
        assert!(failed["reason"].as_str().unwrap().len() > 10);
        assert_eq!(failed["problem"], "damaged");
        assert_eq!(json["jobs"].as_array().unwrap().len(), 3);

        let csv = text(ExportFormat::Csv).await;
        let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
        assert!(lines[0].starts_with("\u{feff}record,path,title,status,problem,reason,"));
        assert_eq!(lines.len(), 1 + 2 + 3);
        assert!(
            csv.contains(",\"'=good, \"\"really\"\"\",ready,"),
            "the title is no formula: {csv}"
        );
        bench.engine.shutdown().await;
    });
}
