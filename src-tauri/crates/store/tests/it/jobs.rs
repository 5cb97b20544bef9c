use docent_domain::{DocumentStatus, Job, JobKind, JobState, Progress, Stage};
use docent_store::{BootId, Claim, Error, Failed, JobQuery, JobType, MAX_ATTEMPTS, MAX_DEATHS};

use crate::fixture::{Fixture, NOW, content, file, in_folder, later, touched, workspace};

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
        jobs.next_due(&JobType::ALL, NOW).await.unwrap(),
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
    assert_eq!(jobs.next_due(&JobType::ALL, NOW).await.unwrap(), None);

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
        assert_eq!(after.attempts, 2, "the lost attempt counts");
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
    let due = f.store.jobs().next_due(&JobType::ALL, NOW).await.unwrap();
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
    let retried = jobs.retry(&f.scope, dead.id, NOW).await.unwrap();
    assert_eq!(
        retried.id, fresh,
        "the one under way stands for the dead one"
    );
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
    let all = jobs.list(&f.scope, &JobQuery::default()).await.unwrap();
    assert_eq!(all.len(), 3);
    assert!(matches!(all[0].kind, JobKind::Read { document } if document != id));
    let rest = JobQuery {
        before: Some(all[0].id),
        limit: 1,
        ..JobQuery::default()
    };
    assert_eq!(jobs.list(&f.scope, &rest).await.unwrap(), all[1..2]);
    let of_document = JobQuery {
        document: Some(id),
        states: vec![JobState::Done],
        ..JobQuery::default()
    };
    assert_eq!(jobs.list(&f.scope, &of_document).await.unwrap(), all[1..]);

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
    assert_eq!(f.store.jobs().untried(&f.scope).await.unwrap(), 2);
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
    assert_eq!(f.store.jobs().untried(&f.scope).await.unwrap(), 1);
}
