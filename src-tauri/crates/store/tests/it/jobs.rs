use docent_domain::{
    DocumentStatus, Job, JobKind, JobState, Problem, Progress, Stage, WorkspaceId, WorkspaceScope,
};
use docent_store::{
    BatchEnded, BatchProgress, BootId, Claim, Error, Failed, JobQuery, JobType, MAX_ATTEMPTS,
    MAX_DEATHS, Over, Registered, Wanted,
};

use crate::fixture::{Fixture, NOW, content, file, in_folder, later, touched, workspace};

/// As embedding lanes claim.
const WORDS_FIRST: Wanted<'_> = Wanted {
    types: &[JobType::Embed],
    above: None,
    words_first: true,
    held: &[],
};

async fn claim_at(f: &Fixture, ms: i64) -> Option<Job> {
    f.store
        .jobs()
        .claim_next(f.boot, &JobType::ALL, later(ms))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_added_by_hand_goes_first_then_age_decides() {
    let f = Fixture::new().await;
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    let documents = f.store.documents();
    for path in ["/m/1", "/m/2"] {
        documents
            .register(&f.scope, &in_folder(path, folder.id), NOW)
            .await
            .unwrap();
    }
    f.register("/hand").await;
    let mut order = Vec::new();
    while let Some(job) = claim_at(&f, 0).await {
        order.push(match job.kind {
            JobKind::Read { document } => f.get(document).await.path,
            JobKind::Embed { .. } | JobKind::Scan { .. } => "scan".into(),
        });
    }
    assert_eq!(order, ["scan", "/hand", "/m/1", "/m/2"]);
}

#[tokio::test]
async fn workspaces_take_turns_whatever_the_length_of_their_queues() {
    let f = Fixture::new().await;
    let scopes = [
        f.scope,
        workspace(&f.store, "B").await,
        workspace(&f.store, "C").await,
    ];
    for (scope, files) in scopes.iter().zip([6, 2, 1]) {
        for n in 0..files {
            f.store
                .documents()
                .register(scope, &file(&format!("/{n}")), NOW)
                .await
                .unwrap();
        }
    }
    let mut order = String::new();
    while let Some(job) = claim_at(&f, 0).await {
        let at = scopes
            .iter()
            .position(|s| s.workspace() == job.workspace_id)
            .unwrap();
        order.push(['A', 'B', 'C'][at]);
    }
    assert_eq!(order.len(), 9);
    let mut first_round: Vec<char> = order[..3].chars().collect();
    first_round.sort_unstable();
    assert_eq!(first_round, ['A', 'B', 'C'], "{order}");
    assert_eq!(order[..5].matches('B').count(), 2, "{order}");
    assert!(order.ends_with("AAAA"), "{order}");
}

/// However urgent and however many the jobs of one workspace are, another one gets its turns.
#[tokio::test]
async fn a_long_and_urgent_queue_starves_nobody() {
    let f = Fixture::new().await;
    let other = workspace(&f.store, "B").await;
    let (folder, _) = f.store.folders().add(&other, "/m", NOW).await.unwrap();
    let urgent: Vec<_> = (0..500).map(|n| file(&format!("/{n}"))).collect();
    let patient: Vec<_> = (0..20)
        .map(|n| in_folder(&format!("/m/{n}"), folder.id))
        .collect();
    let documents = f.store.documents();
    documents
        .register_all(&f.scope, &urgent, NOW)
        .await
        .unwrap();
    documents.register_all(&other, &patient, NOW).await.unwrap();
    for kind in [JobType::Read, JobType::Embed] {
        let mut order = Vec::new();
        for _ in 0..40 {
            let job = f.claim(kind).await;
            let scope = WorkspaceScope::new(job.workspace_id);
            order.push(scope == other);
            if let JobKind::Read { document } = job.kind {
                documents
                    .replace_content(&scope, document, Claim::from(&job), &content(&["x"]), NOW)
                    .await
                    .unwrap();
            }
        }
        let turns = order.iter().filter(|is_other| **is_other).count();
        assert_eq!(turns, 20, "{kind:?}");
        assert!(
            order.windows(2).all(|two| two[0] != two[1]),
            "one after the other: {order:?}"
        );
    }
}

#[tokio::test]
async fn what_was_added_by_hand_is_embedded_first_and_may_overtake_reading() {
    let f = Fixture::new().await;
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    let (documents, jobs) = (f.store.documents(), f.store.jobs());
    for path in ["/m/1", "/m/2", "/m/3"] {
        documents
            .register(&f.scope, &in_folder(path, folder.id), NOW)
            .await
            .unwrap();
    }
    let read = async || {
        let job = f.claim(JobType::Read).await;
        let JobKind::Read { document } = job.kind else {
            panic!("{job:?}")
        };
        documents
            .replace_content(&f.scope, document, Claim::from(&job), &content(&["x"]), NOW)
            .await
            .unwrap();
        document
    };
    read().await;
    let by_hand = f.register("/hand").await.id;
    let embeds = async || {
        let job = jobs.claim(f.boot, &WORDS_FIRST, NOW).await.unwrap();
        job.map(|job| job.kind)
    };
    assert_eq!(embeds().await, None, "it has no words yet");
    assert_eq!(read().await, by_hand, "read before what came earlier");
    assert_eq!(embeds().await, Some(JobKind::Embed { document: by_hand }));
    assert_eq!(
        embeds().await,
        None,
        "a folder's files wait until all words are there"
    );
    read().await;
    let last = f.claim(JobType::Read).await;
    assert_eq!(embeds().await, None, "being read counts as much");
    jobs.cancel(&f.scope, last.id, NOW).await.unwrap();
    assert!(embeds().await.is_some());
}

/// Files that wait in one workspace hold back no vectors of another one, and no book keeps others waiting.
#[tokio::test]
async fn workspaces_take_turns_at_embedding() {
    let f = Fixture::new().await;
    let other = workspace(&f.store, "B").await;
    let (jobs, documents) = (f.store.jobs(), f.store.documents());
    let book = f.register("/book.pdf").await.id;
    f.read(book, &["jedan", "dva"]).await;
    let job = jobs.claim(f.boot, &WORDS_FIRST, NOW).await.unwrap();
    let job = job.expect("nothing waits to be read");
    let gives_way = async |held: &[(WorkspaceId, JobType)]| {
        let wanted = Wanted {
            held,
            ..WORDS_FIRST
        };
        let gives_way = jobs.is_to_give_way(&f.scope, job.id, &wanted, NOW);
        gives_way.await.unwrap()
    };
    assert!(!gives_way(&[]).await, "it is alone");
    let small = documents.register(&other, &file("/small.txt"), NOW).await;
    let small = small.unwrap().0.id;
    assert!(!gives_way(&[]).await, "reading has lanes of its own");
    let reading = f.claim(JobType::Read).await;
    let claim = Claim::from(&reading);
    documents
        .replace_content(&other, small, claim, &content(&["x"]), NOW)
        .await
        .unwrap();
    assert!(gives_way(&[]).await);
    let held = [(other.workspace(), JobType::Embed)];
    assert!(!gives_way(&held).await, "nobody else can be at work");
    let wanted = Wanted {
        held: &held,
        ..WORDS_FIRST
    };
    assert_eq!(jobs.claim(f.boot, &wanted, NOW).await.unwrap(), None);
    let next = jobs.next_due(&[JobType::Embed], &held, NOW).await;
    assert_eq!(next.unwrap(), None);

    jobs.put_back(&f.scope, Claim::from(&job), NOW, None, NOW)
        .await
        .unwrap();
    f.register("/more.txt").await;
    let next = jobs.claim(f.boot, &WORDS_FIRST, NOW).await.unwrap();
    let of_small = JobKind::Embed { document: small };
    assert_eq!(next.map(|job| job.kind), Some(of_small));
    let next = jobs.claim(f.boot, &WORDS_FIRST, NOW).await.unwrap();
    assert_eq!(next, None, "words come first within a workspace");
    let more = f.claim(JobType::Read).await;
    jobs.cancel(&f.scope, more.id, NOW).await.unwrap();
    let again = jobs.claim(f.boot, &WORDS_FIRST, NOW).await.unwrap();
    assert_eq!(again.map(|again| again.id), Some(job.id));
    assert!(!gives_way(&[]).await, "both are at work");
    f.register("/urgent.txt").await;
    assert!(gives_way(&[]).await, "its own words come first too");
}

#[tokio::test]
async fn a_paused_workspace_keeps_its_queue_and_stands_in_nobodys_way() {
    let mut f = Fixture::new().await;
    let other = workspace(&f.store, "B").await;
    f.register("/a.pdf").await;
    f.store
        .jobs()
        .set_paused(&f.scope, true, NOW)
        .await
        .unwrap();
    assert_eq!(claim_at(&f, 0).await, None);
    let jobs = f.store.jobs();
    assert_eq!(jobs.next_due(&JobType::ALL, &[], NOW).await.unwrap(), None);
    let documents = f.store.documents();
    documents
        .register(&other, &file("/b.pdf"), NOW)
        .await
        .unwrap();
    let claimed = claim_at(&f, 0).await.unwrap();
    assert_eq!(claimed.workspace_id, other.workspace());

    f.restart().await;
    let jobs = f.store.jobs();
    assert!(
        jobs.is_paused(&f.scope).await.unwrap(),
        "a restart keeps it"
    );
    assert!(!jobs.is_paused(&other).await.unwrap());
    assert_eq!(jobs.counts(&f.scope).await.unwrap().queued, 1);
    jobs.set_paused(&f.scope, false, NOW).await.unwrap();
    assert!(claim_at(&f, 0).await.is_some());
}

#[tokio::test]
async fn cancelling_everything_leaves_what_was_indexed() {
    let f = Fixture::new().await;
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    let (ready, _) = f.ready("/ready.pdf", &["jedan"]).await;
    let words = f.register("/words.pdf").await.id;
    f.read(words, &["dva"]).await;
    let unread = f.register("/unread.pdf").await.id;
    let running = f.claim(JobType::Embed).await;
    let jobs = f.store.jobs();
    assert_eq!(
        jobs.cancel_all(&f.scope, NOW).await.unwrap(),
        3,
        "the scan too"
    );
    let counts = jobs.counts(&f.scope).await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.cancelled), (0, 0, 3));
    assert!(!f.holds(Claim::from(&running)).await);
    assert_eq!(f.get(ready).await.status, DocumentStatus::Ready);
    assert_eq!(f.get(ready).await.reason, None);
    let document = f.get(words).await;
    assert_eq!(document.status, DocumentStatus::Words);
    assert!(
        document
            .reason
            .unwrap()
            .starts_with("Embedding was cancelled")
    );
    let document = f.get(unread).await;
    assert_eq!(document.status, DocumentStatus::Skipped);
    assert!(
        document
            .reason
            .unwrap()
            .starts_with("Reading was cancelled")
    );
    assert_eq!(f.store.check().await.unwrap().findings, []);
    // The folder can be scanned again, and the scan is no news.
    let folders = f.store.folders();
    folders
        .enqueue_scan(&f.scope, folder.id, NOW)
        .await
        .unwrap();
    assert_eq!(jobs.counts(&f.scope).await.unwrap().cancelled, 2);
}

/// Thousands, in one transaction, and none of them twice.
#[tokio::test]
async fn all_that_failed_is_queued_again_at_once() {
    let f = Fixture::new().await;
    let files: Vec<_> = (0..3000).map(|n| file(&format!("/{n}"))).collect();
    let documents = f.store.documents();
    let registered = documents.register_all(&f.scope, &files, NOW).await.unwrap();
    f.read(registered[0].0, &["jedan"]).await;
    sqlx::query(
        "UPDATE jobs SET state = 'dead', reason = 'x', attempts = 3 WHERE state = 'queued'",
    )
    .execute(&mut f.raw().await)
    .await
    .unwrap();
    sqlx::query("UPDATE documents SET status = 'failed', reason = 'x'")
        .execute(&mut f.raw().await)
        .await
        .unwrap();
    // This one is under way again already.
    documents
        .retry(&f.scope, registered[1].0, NOW)
        .await
        .unwrap();
    let jobs = f.store.jobs();
    assert_eq!(jobs.counts(&f.scope).await.unwrap().dead, 2999);
    assert_eq!(
        jobs.retry_all(&f.scope, Over::Dead, NOW).await.unwrap(),
        2999
    );
    let counts = jobs.counts(&f.scope).await.unwrap();
    assert_eq!((counts.queued, counts.dead), (3000, 0));
    let of_documents = f
        .store
        .workspaces()
        .document_counts(&f.scope)
        .await
        .unwrap();
    assert_eq!(
        (of_documents.queued, of_documents.words, of_documents.failed),
        (2999, 1, 0),
        "what had its words goes on with its vectors"
    );
    let job = f.claim(JobType::Read).await;
    assert_eq!((job.attempts, job.reason), (1, None));
    assert_eq!(f.store.check().await.unwrap().findings, []);
    assert_eq!(jobs.retry_all(&f.scope, Over::Dead, NOW).await.unwrap(), 0);
}

#[tokio::test]
async fn a_batch_lasts_from_the_first_job_until_the_queue_is_empty() {
    let f = Fixture::new().await;
    let jobs = f.store.jobs();
    let progress = async || jobs.batch_progress(&f.scope).await.unwrap();
    let end = async |ms| jobs.end_batch(&f.scope, later(ms)).await.unwrap();
    assert_eq!(progress().await, BatchProgress::default());
    assert_eq!(end(0).await, None, "nothing was to be done");

    let a = f.register("/a.pdf").await.id;
    f.register("/b.pdf").await;
    f.register("/c.pdf").await;
    let keys = f.read(a, &["jedan", "dva"]).await.added;
    let bad = f.claim(JobType::Read).await;
    jobs.fail(&f.scope, Claim::from(&bad), "x", false, NOW)
        .await
        .unwrap();
    let now = progress().await;
    assert_eq!(
        now,
        BatchProgress {
            started_at: Some(NOW),
            unread: 1,
            unread_bytes: 100,
            words: 1,
            failed: 1,
            chunks: 2,
            ..BatchProgress::default()
        }
    );
    let claimed = f.claim(JobType::Read).await;
    assert_eq!(end(10).await, None, "one is running");
    jobs.cancel(&f.scope, claimed.id, NOW).await.unwrap();
    assert_eq!(progress().await.unread, 0, "what is cancelled is out of it");
    assert_eq!(end(10).await, None, "one is waiting");
    f.embed(a, &keys).await;
    let ended = BatchEnded {
        indexed: 1,
        failed: 1,
        skipped: 0,
        took: std::time::Duration::from_secs(7),
    };
    assert_eq!(end(7000).await, Some(ended));
    assert_eq!(end(7000).await, None, "once");
    assert_eq!(progress().await, BatchProgress::default());

    jobs.retry_all(&f.scope, Over::Dead, later(9000))
        .await
        .unwrap();
    let again = progress().await;
    assert_eq!((again.unread, again.ready), (1, 0), "another batch");
    assert_eq!(again.started_at, Some(later(9000)));
    // A folder's regular scan brings nothing, and is no batch.
    jobs.cancel_all(&f.scope, later(9000)).await.unwrap();
    assert_eq!(end(9000).await, None, "nothing came of it");
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    let scan = f.claim(JobType::Scan).await;
    jobs.finish(&f.scope, Claim::from(&scan), NOW)
        .await
        .unwrap();
    assert_eq!(end(9000).await, None, "{folder:?}");
}

/// A thousand files of which twenty are poison: ten kill their reader, ten the whole process.
#[tokio::test]
async fn poison_among_a_thousand_files_is_isolated() {
    let mut f = Fixture::new().await;
    let files: Vec<_> = (0..1020).map(|n| file(&format!("/{n}"))).collect();
    let documents = f.store.documents();
    documents.register_all(&f.scope, &files, NOW).await.unwrap();
    let mut attempts = std::collections::HashMap::new();
    let mut at = 0;
    loop {
        let Some(job) = claim_at(&f, at).await else {
            let due = f.store.jobs().next_due(&JobType::ALL, &[], later(at)).await;
            let Some(due) = due.unwrap() else { break };
            at = due.0 - NOW.0;
            continue;
        };
        let claim = Claim::from(&job);
        let JobKind::Read { document } = job.kind else {
            f.store
                .jobs()
                .finish(&f.scope, claim, later(at))
                .await
                .unwrap();
            continue;
        };
        let path = f.get(document).await.path;
        let number: u32 = path[1..].parse().unwrap();
        *attempts.entry(number).or_insert(0) += 1;
        match number % 102 {
            7 => {
                f.store
                    .jobs()
                    .fail(&f.scope, claim, "The reader crashed", true, later(at))
                    .await
                    .unwrap();
            }
            50 => {
                f.boot = BootId::generate();
                f.store
                    .jobs()
                    .rescue_foreign(f.boot, later(at))
                    .await
                    .unwrap();
            }
            _ => {
                f.store
                    .documents()
                    .skip(&f.scope, document, claim, "x", Problem::Empty, later(at))
                    .await
                    .unwrap();
            }
        }
    }
    let counts = f.store.jobs().counts(&f.scope).await.unwrap();
    assert_eq!(
        (counts.done, counts.dead, counts.queued, counts.running),
        (1000, 20, 0, 0)
    );
    let dead = JobQuery {
        state: Some(JobState::Dead),
        ..JobQuery::default()
    };
    for listed in f.store.jobs().list(&f.scope, &dead).await.unwrap().items {
        let reason = listed.job.reason.unwrap();
        assert!(
            reason.contains("crashed") || reason.contains("3 times in a row"),
            "{reason}"
        );
    }
    for (number, times) in attempts {
        let is_poison = matches!(number % 102, 7 | 50);
        assert_eq!(times, if is_poison { 3 } else { 1 }, "file {number}");
    }
}

#[tokio::test]
async fn waiting_jobs_are_listed_in_the_order_of_their_turns() {
    let f = Fixture::new().await;
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    for n in 0..3 {
        let new = in_folder(&format!("/m/{n}"), folder.id);
        f.store
            .documents()
            .register(&f.scope, &new, NOW)
            .await
            .unwrap();
    }
    f.register("/hand").await;
    let mut paths = Vec::new();
    let mut query = JobQuery {
        state: Some(JobState::Queued),
        limit: 2,
        ..JobQuery::default()
    };
    loop {
        let page = f.store.jobs().list(&f.scope, &query).await.unwrap();
        paths.extend(page.items.into_iter().map(|listed| listed.path));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(paths, ["/m", "/hand", "/m/0", "/m/1", "/m/2"]);
}

#[tokio::test]
async fn failures_wait_longer_and_longer_and_end_with_a_dead_letter() {
    let f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let jobs = f.store.jobs();

    let first = claim_at(&f, 0).await.unwrap();
    assert_eq!((first.attempts, first.fence), (1, 1));
    let failed = jobs
        .fail(&f.scope, Claim::from(&first), "locked", true, NOW)
        .await
        .unwrap();
    assert_eq!(failed, Failed::Retry { at: later(5_000) });
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Queued);
    assert_eq!(document.reason.as_deref(), Some("locked"));
    assert_eq!(claim_at(&f, 4_999).await, None);
    assert_eq!(
        jobs.next_due(&JobType::ALL, &[], NOW).await.unwrap(),
        Some(later(5_000))
    );

    let second = claim_at(&f, 5_000).await.unwrap();
    assert_eq!((second.attempts, second.fence), (2, 2));
    let failed = jobs
        .fail(&f.scope, Claim::from(&second), "locked", true, later(5_000))
        .await
        .unwrap();
    assert_eq!(failed, Failed::Retry { at: later(35_000) });

    let third = claim_at(&f, 35_000).await.unwrap();
    assert_eq!(third.attempts, MAX_ATTEMPTS);
    let failed = jobs
        .fail(
            &f.scope,
            Claim::from(&third),
            "still locked",
            true,
            later(35_000),
        )
        .await
        .unwrap();
    assert_eq!(failed, Failed::Dead);
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Failed);
    assert_eq!(document.reason.as_deref(), Some("still locked"));
    assert_eq!(claim_at(&f, 10_000_000).await, None);
    assert_eq!(jobs.next_due(&JobType::ALL, &[], NOW).await.unwrap(), None);

    let revived = jobs.retry(&f.scope, first.id, later(40_000)).await.unwrap();
    assert_eq!((revived.state, revived.attempts), (JobState::Queued, 0));
    let document = f.get(id).await;
    assert_eq!(
        (document.status, document.reason),
        (DocumentStatus::Queued, None)
    );
    assert_eq!(claim_at(&f, 40_000).await.unwrap().id, first.id);
}

#[tokio::test]
async fn a_hopeless_failure_is_not_tried_again() {
    let f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let job = claim_at(&f, 0).await.unwrap();
    let failed = f
        .store
        .jobs()
        .fail(
            &f.scope,
            Claim::from(&job),
            "it needs a password",
            false,
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(failed, Failed::Dead);
    assert_eq!(f.get(id).await.status, DocumentStatus::Failed);
}

#[tokio::test]
async fn a_changed_file_gets_all_its_attempts_again() {
    let f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let job = claim_at(&f, 0).await.unwrap();
    let changed = touched(file("/a.pdf"));
    f.store
        .documents()
        .register(&f.scope, &changed, NOW)
        .await
        .unwrap();
    let failed = f
        .store
        .jobs()
        .fail(&f.scope, Claim::from(&job), "broken", false, NOW)
        .await
        .unwrap();
    assert_eq!(
        failed,
        Failed::Retry { at: NOW },
        "what failed is not what is there now"
    );
    assert_eq!(f.get(id).await.status, DocumentStatus::Queued);
    assert_eq!(claim_at(&f, 0).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn rescue_is_immediate_whatever_the_clock_says() {
    const DAYS_40: i64 = 40 * 24 * 3600 * 1000;
    for jump in [0, DAYS_40, -DAYS_40] {
        let mut f = Fixture::new().await;
        let id = f.register("/a.pdf").await.id;
        let before = claim_at(&f, 0).await.unwrap();
        f.restart().await;
        assert_eq!(
            claim_at(&f, jump).await,
            None,
            "still leased to the old boot"
        );
        let recovery = f
            .store
            .jobs()
            .rescue_foreign(f.boot, later(jump))
            .await
            .unwrap();
        assert_eq!(recovery.requeued.len(), 1);
        assert_eq!(recovery.dead, []);
        assert_eq!(f.get(id).await.status, DocumentStatus::Queued);
        let after = claim_at(&f, jump).await.expect("at once");
        assert_eq!(after.id, before.id);
        assert!(after.fence > before.fence);
        assert_eq!(after.attempts, 1, "a process that ended is no failure");
        let own = f
            .store
            .jobs()
            .rescue_foreign(f.boot, later(jump))
            .await
            .unwrap();
        assert_eq!(own.requeued, [], "one's own jobs are left alone");
        assert!(f.holds(Claim::from(&after)).await);
    }
}

#[tokio::test]
async fn a_backoff_does_not_outlast_a_clock_that_jumped_back() {
    const DAYS_40: i64 = 40 * 24 * 3600 * 1000;
    let f = Fixture::new().await;
    f.register("/a.pdf").await;
    let job = claim_at(&f, DAYS_40).await.unwrap();
    f.store
        .jobs()
        .fail(&f.scope, Claim::from(&job), "x", true, later(DAYS_40))
        .await
        .unwrap();
    let due = f
        .store
        .jobs()
        .next_due(&JobType::ALL, &[], NOW)
        .await
        .unwrap();
    assert_eq!(due, Some(NOW), "40 days are no wait of ours");
    assert!(claim_at(&f, 0).await.is_some());
}

#[tokio::test]
async fn poison_is_given_up_and_the_others_go_on() {
    let mut f = Fixture::new().await;
    let poison = f.register("/poison.pdf").await.id;
    let good = f.register("/good.pdf").await.id;
    for death in 1..=MAX_DEATHS {
        let job = claim_at(&f, 0).await.unwrap();
        assert_eq!(
            job.kind,
            JobKind::Read { document: poison },
            "death {death}"
        );
        if death == 1 {
            // Jobs that have ended a process come after those that have not.
            let other = claim_at(&f, 0).await.unwrap();
            f.store
                .documents()
                .replace_content(&f.scope, good, Claim::from(&other), &content(&["x"]), NOW)
                .await
                .unwrap();
            let embedding = claim_at(&f, 0).await.unwrap();
            f.store
                .jobs()
                .put_back(&f.scope, Claim::from(&embedding), later(50), None, NOW)
                .await
                .unwrap();
        }
        f.restart().await;
        let recovery = f.store.jobs().rescue_foreign(f.boot, NOW).await.unwrap();
        assert_eq!(recovery.dead.len(), usize::from(death == MAX_DEATHS));
    }
    let document = f.get(poison).await;
    assert_eq!(document.status, DocumentStatus::Failed);
    let reason = document.reason.unwrap();
    assert!(reason.contains(&format!("{MAX_DEATHS} times in a row")));
    let embedding = claim_at(&f, 50).await.unwrap();
    assert_eq!(embedding.kind, JobKind::Embed { document: good });
    assert_eq!(embedding.attempts, 1, "putting back counts no attempt");
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

/// Whatever runs when processes end, only what ran alone when the last one did is given up.
#[tokio::test]
async fn what_runs_beside_poison_is_not_given_up() {
    let mut f = Fixture::new().await;
    let poison = f.register("/poison.pdf").await.id;
    let slow = f.register("/slow.pdf").await.id;
    let mut dead = Vec::new();
    for _ in 0..MAX_DEATHS {
        while claim_at(&f, 0).await.is_some() {}
        f.restart().await;
        let recovery = f.store.jobs().rescue_foreign(f.boot, NOW).await.unwrap();
        dead.extend(recovery.dead.into_iter().map(|job| job.kind));
    }
    assert_eq!(dead, [JobKind::Read { document: poison }]);
    // Where others come, it waits, and nothing comes beside it.
    let other = f.register("/other.pdf").await.id;
    let job = claim_at(&f, 0).await.unwrap();
    assert_eq!(job.kind, JobKind::Read { document: other });
    assert_eq!(claim_at(&f, 0).await, None);
    f.store
        .documents()
        .replace_content(&f.scope, other, Claim::from(&job), &content(&["x"]), NOW)
        .await
        .unwrap();
    let embedding = f.claim(JobType::Embed).await;
    assert_eq!(claim_at(&f, 0).await, None);
    f.store
        .jobs()
        .finish(&f.scope, Claim::from(&embedding), NOW)
        .await
        .unwrap();
    f.register("/late.pdf").await;
    let late = claim_at(&f, 0).await.unwrap();
    f.store.jobs().cancel(&f.scope, late.id, NOW).await.unwrap();
    let alone = claim_at(&f, 0).await.unwrap();
    assert_eq!(alone.kind, JobKind::Read { document: slow });
    f.register("/later.pdf").await;
    assert_eq!(claim_at(&f, 0).await, None);
    f.store
        .documents()
        .skip(
            &f.scope,
            slow,
            Claim::from(&alone),
            "x",
            Problem::Empty,
            NOW,
        )
        .await
        .unwrap();
    assert!(claim_at(&f, 0).await.is_some());
}

/// Hints during a scan that outlasts their interval do not have the folder scanned without a rest.
#[tokio::test]
async fn a_scan_that_hints_ask_for_meanwhile_comes_after_a_rest() {
    let f = Fixture::new().await;
    let (folders, jobs) = (f.store.folders(), f.store.jobs());
    let (folder, _) = folders.add(&f.scope, "/m", NOW).await.unwrap();
    let (mut at, rest) = (0, 90_000);
    for (hint_in, by_hand, next_in) in [
        (Some(1), false, rest),
        (Some(200_000), false, 200_000),
        (None, true, 0),
        (Some(1), true, 0),
        (Some(0), false, 0),
    ] {
        let scan = claim_at(&f, at).await.expect("a scan");
        let hint = async || {
            let hinted = hint_in.map(|wait| (f.scope, folder.id, later(at + wait)));
            let hinted: Vec<_> = hinted.into_iter().collect();
            folders.enqueue_scans(&hinted, later(at)).await.unwrap();
        };
        hint().await;
        if by_hand {
            let scanned = folders.enqueue_scan(&f.scope, folder.id, later(at));
            scanned.await.unwrap();
            hint().await;
        }
        let rested = later(at + rest);
        let finished = jobs.finish_scan(&f.scope, Claim::from(&scan), rested, later(at));
        assert!(finished.await.unwrap());
        let due = jobs.next_due(&[JobType::Scan], &[], later(at)).await;
        assert_eq!(due.unwrap(), Some(later(at + next_in)), "{hint_in:?}");
        at += next_in;
    }
    // A rest is no longer than what counts as one.
    let scan = claim_at(&f, at).await.unwrap();
    let hinted = [(f.scope, folder.id, later(at + 1))];
    folders.enqueue_scans(&hinted, later(at)).await.unwrap();
    let rested = later(at + 90_000_000);
    jobs.finish_scan(&f.scope, Claim::from(&scan), rested, later(at))
        .await
        .unwrap();
    assert_eq!(claim_at(&f, at + 3_599_999).await, None);
    let scan = claim_at(&f, at + 3_600_000).await.unwrap();
    let finished = jobs.finish(&f.scope, Claim::from(&scan), later(at)).await;
    assert!(!finished.unwrap(), "control: nobody asked for another");
}

#[tokio::test]
async fn an_embedding_that_gets_further_is_no_poison() {
    let mut f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let keys = f.read(id, &["1", "2", "3", "4", "5", "6"]).await.added;
    for key in &keys {
        let job = f.claim(JobType::Embed).await;
        f.store
            .chunks()
            .mark_embedded(&f.scope, id, &[*key], Claim::from(&job), NOW)
            .await
            .unwrap();
        f.restart().await;
        let recovery = f.store.jobs().rescue_foreign(f.boot, NOW).await.unwrap();
        assert_eq!(recovery.dead, []);
    }
    assert_eq!(f.get(id).await.status, DocumentStatus::Ready);
}

#[tokio::test]
async fn cancelling_makes_the_claim_stale_and_leaves_nothing_behind() {
    let f = Fixture::new().await;
    let jobs = f.store.jobs();
    let id = f.register("/a.pdf").await.id;
    let job = claim_at(&f, 0).await.unwrap();
    let claim = Claim::from(&job);
    jobs.progress(
        &f.scope,
        claim,
        Stage::Extracting,
        Progress { done: 1, total: 9 },
        NOW,
    )
    .await
    .unwrap();
    let cancelled = jobs.cancel(&f.scope, job.id, NOW).await.unwrap();
    assert_eq!(cancelled.state, JobState::Cancelled);
    let refused = jobs
        .progress(
            &f.scope,
            claim,
            Stage::Extracting,
            Progress { done: 2, total: 9 },
            NOW,
        )
        .await;
    assert!(
        matches!(refused, Err(Error::StaleFence(_))),
        "that is how the worker learns of it"
    );
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Skipped);
    assert!(document.reason.unwrap().contains("cancelled"));
    assert_eq!(f.store.chunks().all_keys(&f.scope).await.unwrap(), []);
    assert_eq!(claim_at(&f, 0).await, None);
    assert_eq!(
        jobs.cancel(&f.scope, job.id, NOW).await.unwrap(),
        cancelled,
        "once"
    );

    assert_eq!(
        jobs.retry(&f.scope, job.id, NOW).await.unwrap().state,
        JobState::Queued
    );
    f.read(id, &["jedan"]).await;
    // A cancelled embedding leaves the words, also after a restart.
    let embedding = f.claim(JobType::Embed).await;
    jobs.cancel(&f.scope, embedding.id, NOW).await.unwrap();
    assert_eq!(f.get(id).await.status, DocumentStatus::Words);
    // However long ago that was.
    jobs.prune(later(1)).await.unwrap();
    let recovery = jobs.rescue_foreign(BootId::generate(), NOW).await.unwrap();
    assert_eq!(recovery.jobs_added, 0);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn retrying_does_not_run_a_thing_twice() {
    let f = Fixture::new().await;
    let jobs = f.store.jobs();
    let id = f.register("/a.pdf").await.id;
    let dead = claim_at(&f, 0).await.unwrap();
    jobs.fail(&f.scope, Claim::from(&dead), "x", false, NOW)
        .await
        .unwrap();
    let fresh = f.store.documents().retry(&f.scope, id, NOW).await.unwrap();
    assert_ne!(fresh, dead.id);
    let retried = jobs.retry(&f.scope, dead.id, NOW).await;
    assert!(
        matches!(retried, Err(Error::NotFound(_))),
        "the one under way has taken the dead one's place"
    );
    let counts = jobs.counts(&f.scope).await.unwrap();
    assert_eq!(counts.dead, 0, "what is tried again is no failure");
    assert_eq!(jobs.counts(&f.scope).await.unwrap().queued, 1);
}

#[tokio::test]
async fn a_document_without_its_job_gets_one_at_start() {
    let f = Fixture::new().await;
    f.register("/a.pdf").await;
    let b = f.register("/b.pdf").await.id;
    claim_at(&f, 0).await.unwrap();
    let job = claim_at(&f, 0).await.unwrap();
    f.store
        .documents()
        .replace_content(&f.scope, b, Claim::from(&job), &content(&["x"]), NOW)
        .await
        .unwrap();
    sqlx::query("DELETE FROM jobs")
        .execute(&mut f.raw().await)
        .await
        .unwrap();
    assert_eq!(f.store.check().await.unwrap().findings.len(), 2);
    let recovery = f.store.jobs().rescue_foreign(f.boot, NOW).await.unwrap();
    assert_eq!(recovery.jobs_added, 2);
    assert_eq!(f.store.check().await.unwrap().findings, []);
    f.claim(JobType::Read).await;
    f.claim(JobType::Embed).await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_pruned_when_over() {
    let f = Fixture::new().await;
    let jobs = f.store.jobs();
    let (id, _) = f.ready("/a.pdf", &["jedan"]).await;
    f.register("/b.pdf").await;
    let list = async |query: JobQuery| jobs.list(&f.scope, &query).await.unwrap();
    let all = list(JobQuery::default()).await.items;
    assert_eq!(all.len(), 3);
    assert!(matches!(all[0].job.kind, JobKind::Read { document } if document != id));
    assert_eq!(
        (all[0].title.as_deref(), all[0].path.as_str()),
        (Some("b.pdf"), "/b.pdf")
    );
    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let query = JobQuery {
            cursor,
            limit: 1,
            ..JobQuery::default()
        };
        let page = list(query).await;
        assert_eq!(
            page.items.len(),
            1,
            "the last page says that it is the last"
        );
        paged.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    let of_document = JobQuery {
        document: Some(id),
        state: Some(JobState::Done),
        ..JobQuery::default()
    };
    assert_eq!(list(of_document).await.items, all[1..]);
    let embeddings = JobQuery {
        kind: Some(JobType::Embed),
        ..JobQuery::default()
    };
    assert_eq!(list(embeddings).await.items, all[1..2]);
    let wrong = JobQuery {
        cursor: Some("x".into()),
        ..JobQuery::default()
    };
    assert!(matches!(
        jobs.list(&f.scope, &wrong).await,
        Err(Error::BadCursor)
    ));

    assert_eq!(jobs.prune(NOW).await.unwrap(), 0, "not older than now");
    assert_eq!(jobs.prune(later(1)).await.unwrap(), 2);
    let counts = jobs.counts(&f.scope).await.unwrap();
    assert_eq!((counts.queued, counts.done), (1, 0));
}

/// Two workers that claim at the same time get different jobs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_claimed_twice() {
    let f = Fixture::new().await;
    let files: Vec<_> = (0..60).map(|n| file(&format!("/{n}"))).collect();
    f.store
        .documents()
        .register_all(&f.scope, &files, NOW)
        .await
        .unwrap();
    let worker = |store: docent_store::Store, boot: BootId| async move {
        let mut mine = Vec::new();
        while let Some(job) = store
            .jobs()
            .claim_next(boot, &JobType::ALL, NOW)
            .await
            .unwrap()
        {
            mine.push(job.id);
        }
        mine
    };
    let (a, b) = tokio::join!(
        tokio::spawn(worker(f.store.clone(), f.boot)),
        tokio::spawn(worker(f.store.clone(), f.boot)),
    );
    let mut claimed = [a.unwrap(), b.unwrap()].concat();
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), 60);
}

#[tokio::test]
async fn a_job_that_was_put_back_has_been_tried() {
    let f = Fixture::new().await;
    f.register("/a.pdf").await;
    f.register("/b.pdf").await;
    assert_eq!(
        f.store
            .jobs()
            .untried(&f.scope, &JobType::ALL)
            .await
            .unwrap(),
        2
    );
    let job = f.claim(JobType::Read).await;
    f.store
        .jobs()
        .put_back(
            &f.scope,
            Claim::from(&job),
            later(10),
            Some("no model"),
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(
        f.store
            .jobs()
            .untried(&f.scope, &JobType::ALL)
            .await
            .unwrap(),
        1
    );
    let others = [JobType::Embed, JobType::Scan];
    assert_eq!(f.store.jobs().untried(&f.scope, &others).await.unwrap(), 0);
}

#[tokio::test]
async fn cancelled_reading_is_listed_until_the_document_is_read() {
    let f = Fixture::new().await;
    let (jobs, documents) = (f.store.jobs(), f.store.documents());
    let listed = async || {
        let problems = documents.problems(&f.scope).await.unwrap();
        let of = |count: &docent_domain::ProblemCount| {
            (count.problem, count.documents, count.searchable)
        };
        problems.iter().map(of).collect::<Vec<_>>()
    };
    let edited = f.register("/edited.txt").await.id;
    let chunks = f.read(edited, &["staro"]).await.added;
    let now = touched(file("/edited.txt"));
    let again = documents.register(&f.scope, &now, NOW).await;
    assert_eq!(again.unwrap().1, Registered::Changed);
    let unread = f.register("/unread.txt").await.id;
    assert_eq!(listed().await, [], "control: both wait");
    let job = f.claim(JobType::Read).await;
    assert_eq!(job.kind, JobKind::Read { document: edited });
    jobs.cancel(&f.scope, job.id, NOW).await.unwrap();
    assert_eq!(listed().await, [(Problem::Cancelled, 1, 1)]);
    // Neither the end of other work forgets it, nor time.
    f.embed(edited, &chunks).await;
    assert_eq!(f.get(edited).await.status, DocumentStatus::Ready);
    assert_eq!(jobs.cancel_all(&f.scope, NOW).await.unwrap(), 1);
    jobs.prune(later(3_600_000)).await.unwrap();
    assert_eq!(listed().await, [(Problem::Cancelled, 2, 1)]);
    assert_eq!(f.get(edited).await.problem, Some(Problem::Cancelled));
    assert!(f.get(edited).await.reason.unwrap().contains("cancelled"));

    assert_eq!(
        jobs.retry_all(&f.scope, Over::Dead, NOW).await.unwrap(),
        0,
        "control"
    );
    let revived = jobs.retry_all(&f.scope, Over::Cancelled, NOW).await;
    assert_eq!(revived.unwrap(), 2);
    for id in [edited, unread] {
        let waiting = f.get(id).await;
        assert_eq!(
            (waiting.status, waiting.problem, waiting.reason),
            (DocumentStatus::Queued, None, None)
        );
    }
    // One by one, and while it is being read.
    let job = f.claim(JobType::Read).await;
    jobs.cancel(&f.scope, job.id, NOW).await.unwrap();
    assert_eq!(listed().await.len(), 1);
    jobs.retry(&f.scope, job.id, NOW).await.unwrap();
    assert_eq!(listed().await, []);
    for _ in 0..2 {
        let job = f.claim(JobType::Read).await;
        let JobKind::Read { document } = job.kind else {
            unreachable!()
        };
        documents
            .replace_content(
                &f.scope,
                document,
                Claim::from(&job),
                &content(&["novo"]),
                NOW,
            )
            .await
            .unwrap();
    }
    assert_eq!(listed().await, []);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}
