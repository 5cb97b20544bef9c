//! Documents with scanned pages: queued once more, after everything else.

use docent_domain::{DocumentId, DocumentStatus, Problem};
use docent_store::{
    Claim, DocumentContent, Failed, FileMove, JobType, PRIORITY_FOLDER, PRIORITY_RECOGNITION,
    Registered, Wanted,
};

use crate::fixture::{Fixture, NOW, content, file, touched};

const REASON: &str = "Its pages are pictures.";

async fn is_flagged(f: &Fixture, id: DocumentId) -> bool {
    let documents = f.store.documents();
    documents.is_to_be_recognised(&f.scope, id).await.unwrap()
}

/// Ends the next reading as that of a document that is all pictures.
async fn read_as_scanned(f: &Fixture, id: DocumentId) {
    let job = f.claim(JobType::Read).await;
    f.store
        .documents()
        .skip_until_recognised(&f.scope, id, Claim::from(&job), REASON, NOW)
        .await
        .unwrap();
}

fn partly() -> DocumentContent {
    DocumentContent {
        note: Some("1 of 2 pages hold no text.".into()),
        problem: Some(Problem::PartlyScanned),
        recognise: true,
        ..content(&["jedan"])
    }
}

#[tokio::test]
async fn scanned_documents_are_read_again_after_all_others() {
    let f = Fixture::new().await;
    let (jobs, documents) = (f.store.jobs(), f.store.documents());
    let scan = f.register("/scan.pdf").await.id;
    read_as_scanned(&f, scan).await;
    let waiting = f.get(scan).await;
    assert_eq!(
        (waiting.status, waiting.reason.as_deref()),
        (DocumentStatus::Queued, Some(REASON))
    );
    assert!(is_flagged(&f, scan).await);
    let note = f.register("/note.txt").await.id;
    let wanted = Wanted {
        types: &[JobType::Read],
        above: Some(PRIORITY_RECOGNITION),
        ..Wanted::default()
    };
    let claimed = jobs.claim(f.boot, &wanted, NOW).await.unwrap();
    let claimed = claimed.expect("the other file");
    assert_eq!(f.get(note).await.status, DocumentStatus::Reading);
    documents
        .replace_content(
            &f.scope,
            note,
            Claim::from(&claimed),
            &content(&["dva"]),
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(jobs.claim(f.boot, &wanted, NOW).await.unwrap(), None);
    let wanted = Wanted {
        types: &[JobType::Embed],
        words_first: true,
        ..Wanted::default()
    };
    let embedding = jobs.claim(f.boot, &wanted, NOW).await.unwrap();
    assert!(embedding.is_some(), "it holds no vectors back");

    let job = f.claim(JobType::Read).await;
    assert_eq!(job.priority, PRIORITY_RECOGNITION);
    documents
        .replace_content(
            &f.scope,
            scan,
            Claim::from(&job),
            &content(&["pročitano"]),
            NOW,
        )
        .await
        .unwrap();
    assert!(!is_flagged(&f, scan).await);
    assert_eq!(f.get(scan).await.status, DocumentStatus::Words);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_partly_scanned_document_is_searchable_while_it_waits() {
    let mut f = Fixture::new().await;
    let id = f.register("/mixed.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    let replaced = f
        .store
        .documents()
        .replace_content(&f.scope, id, Claim::from(&job), &partly(), NOW)
        .await
        .unwrap();
    assert_eq!(replaced.added.len(), 1);
    assert_eq!(f.get(id).await.status, DocumentStatus::Queued);
    f.embed(id, &replaced.added).await;

    // The process dies in the middle, and the job is gone, as after a restored backup.
    f.claim(JobType::Read).await;
    f.restart().await;
    f.store.jobs().rescue_foreign(f.boot, NOW).await.unwrap();
    assert!(is_flagged(&f, id).await);
    sqlx::query("DELETE FROM jobs")
        .execute(&mut f.raw().await)
        .await
        .unwrap();
    f.store.jobs().rescue_foreign(f.boot, NOW).await.unwrap();
    let job = f.claim(JobType::Read).await;
    assert_eq!(job.priority, PRIORITY_RECOGNITION);

    // It fails for good: what was there stays, and a retry recognises again, as late as before.
    let jobs = f.store.jobs();
    let failed = jobs.fail(&f.scope, Claim::from(&job), "no", false, NOW);
    assert_eq!(failed.await.unwrap(), Failed::Dead);
    let document = f.get(id).await;
    assert_eq!(
        (document.status, document.chunk_count),
        (DocumentStatus::Failed, 1)
    );
    f.store.documents().retry(&f.scope, id, NOW).await.unwrap();
    assert!(is_flagged(&f, id).await);
    let job = f.claim(JobType::Read).await;
    assert_eq!(job.priority, PRIORITY_RECOGNITION);
}

#[tokio::test]
async fn a_file_that_changes_is_read_like_any_other() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let id = f.register("/scan.pdf").await.id;
    read_as_scanned(&f, id).await;
    let again = documents.register(&f.scope, &file("/scan.pdf"), NOW).await;
    assert_eq!(again.unwrap().1, Registered::Unchanged);
    assert!(is_flagged(&f, id).await, "control");
    // While it is recognised.
    let job = f.claim(JobType::Read).await;
    let changed = documents
        .register(&f.scope, &touched(file("/scan.pdf")), NOW)
        .await;
    assert_eq!(changed.unwrap().1, Registered::Changed);
    documents
        .skip_until_recognised(&f.scope, id, Claim::from(&job), REASON, NOW)
        .await
        .unwrap();
    assert!(!is_flagged(&f, id).await);
    let job = f.claim(JobType::Read).await;
    assert!(job.priority >= PRIORITY_FOLDER, "{}", job.priority);
}

#[tokio::test]
async fn what_was_scanned_before_there_was_a_recogniser_is_queued() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    f.ready("/good.pdf", &["dobro"]).await;
    let scan = f.register("/scan.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    documents
        .skip(
            &f.scope,
            scan,
            Claim::from(&job),
            "scanned",
            Problem::Scanned,
            NOW,
        )
        .await
        .unwrap();
    let empty = f.register("/empty.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    documents
        .skip(
            &f.scope,
            empty,
            Claim::from(&job),
            "empty",
            Problem::Empty,
            NOW,
        )
        .await
        .unwrap();
    let mixed = f.register("/mixed.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    let without = DocumentContent {
        recognise: false,
        ..partly()
    };
    documents
        .replace_content(&f.scope, mixed, Claim::from(&job), &without, NOW)
        .await
        .unwrap();
    let queued = documents.recognise_scanned(REASON, NOW).await.unwrap();
    assert_eq!(queued, 2);
    for (id, is_queued) in [(scan, true), (mixed, true), (empty, false)] {
        assert_eq!(is_flagged(&f, id).await, is_queued);
        let status = f.get(id).await.status;
        assert_eq!(status == DocumentStatus::Queued, is_queued);
    }
    assert_eq!(f.get(scan).await.reason.as_deref(), Some(REASON));
    let again = documents.recognise_scanned(REASON, NOW).await.unwrap();
    assert_eq!(again, 0, "they wait already");
}

#[tokio::test]
async fn a_second_reading_that_finds_nothing_new_keeps_the_chunks() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let id = f.register("/mail.eml").await.id;
    let job = f.claim(JobType::Read).await;
    let first = documents
        .replace_content(&f.scope, id, Claim::from(&job), &partly(), NOW)
        .await
        .unwrap();
    f.embed(id, &first.added).await;
    let same = DocumentContent {
        note: None,
        problem: None,
        recognise: false,
        ..partly()
    };
    let job = f.claim(JobType::Read).await;
    let second = documents
        .replace_content(&f.scope, id, Claim::from(&job), &same, NOW)
        .await
        .unwrap();
    assert_eq!((second.added, second.removed), (Vec::new(), Vec::new()));
    let document = f.get(id).await;
    assert_eq!(
        (document.status, document.problem, document.reason),
        (DocumentStatus::Ready, None, None)
    );
    assert_eq!((document.chunk_count, document.embedded_count), (1, 1));

    // Control: other text of the same bytes.
    documents.retry(&f.scope, id, NOW).await.unwrap();
    let job = f.claim(JobType::Read).await;
    let more = DocumentContent {
        hash: same.hash.clone(),
        ..content(&["jedan", "s privitka"])
    };
    let third = documents
        .replace_content(&f.scope, id, Claim::from(&job), &more, NOW)
        .await
        .unwrap();
    assert_eq!((third.added.len(), third.removed), (2, first.added));
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

/// Where its file goes does not make it urgent, and nothing of it is lost there.
#[tokio::test]
async fn a_scanned_document_that_moves_waits_as_before() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let go = async |id, to: &str| {
        let from = f.get(id).await.path;
        let to = file(to);
        let moves = [FileMove {
            id,
            from,
            to,
            look_again: false,
        }];
        documents.move_files(&f.scope, &moves, NOW).await.unwrap();
    };
    let scan = f.register("/scan.pdf").await.id;
    read_as_scanned(&f, scan).await;
    go(scan, "/moved.pdf").await;
    assert!(is_flagged(&f, scan).await);
    let job = f.claim(JobType::Read).await;
    assert_eq!(job.priority, PRIORITY_RECOGNITION);
    f.store.jobs().cancel(&f.scope, job.id, NOW).await.unwrap();

    // Over another file, which is to be read.
    let mixed = f.register("/mixed.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    let claim = Claim::from(&job);
    let content = partly();
    let replaced = documents.replace_content(&f.scope, mixed, claim, &content, NOW);
    let chunks = replaced.await.unwrap().added;
    f.embed(mixed, &chunks).await;
    let there = f.register("/there.pdf").await.id;
    go(mixed, "/there.pdf").await;
    assert_eq!(f.get(there).await.chunk_count, 1, "control: it has moved");
    assert!(is_flagged(&f, there).await);
    let job = f.claim(JobType::Read).await;
    assert_eq!(job.priority, PRIORITY_RECOGNITION);
    f.store
        .jobs()
        .put_back(&f.scope, Claim::from(&job), NOW, None, NOW)
        .await
        .unwrap();

    // Another extension has it read in another way, for the first time.
    go(there, "/there.txt").await;
    assert!(!is_flagged(&f, there).await);
    let job = f.claim(JobType::Read).await;
    assert_eq!(job.priority, PRIORITY_FOLDER);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}
