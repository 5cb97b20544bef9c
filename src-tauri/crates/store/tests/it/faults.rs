//! Full disks, foreign files, other processes, damage and cancelled calls.

use std::future::Future as _;
use std::task::{Context, Waker};

use sqlx::{ConnectOptions as _, Connection as _};

use docent_domain::{DocumentStatus, MessageStatus, Role};
use docent_store::{
    Claim, Error, Fault, Finding, JobType, Journal, NewMessage, Store, StoreOptions,
};

use crate::fixture::{Fixture, NOW, content, file, workspace};

#[tokio::test]
async fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room() {
    let f = Fixture::with(StoreOptions {
        max_pages: Some(120),
        ..StoreOptions::default()
    })
    .await;
    let big = "x".repeat(20_000);
    let mut acknowledged = Vec::new();
    let error = loop {
        let id = match f
            .store
            .documents()
            .register(&f.scope, &file(&format!("/{}", acknowledged.len())), NOW)
            .await
        {
            Ok((document, _)) => document.id,
            Err(error) => break error,
        };
        let job = f.claim(JobType::Read).await;
        let claim = Claim::from(&job);
        let documents = f.store.documents();
        match documents
            .replace_content(&f.scope, id, claim, &content(&[&big]), NOW)
            .await
        {
            Ok(_) => acknowledged.push(id),
            Err(error) => {
                assert!(
                    f.holds(claim).await,
                    "the job did not end, because its result was not recorded"
                );
                break error;
            }
        }
        assert!(acknowledged.len() < 100, "the fault point does not work");
    };
    assert!(matches!(error, Error::DiskFull), "{error:?}");
    assert!(error.is_retryable());
    assert_eq!(error.fault(), Fault::Environment);
    assert!(!acknowledged.is_empty());

    // Reading works, and so does writing once something small or nothing new is asked for.
    for id in &acknowledged {
        assert_eq!(f.get(*id).await.status, DocumentStatus::Words);
    }
    for _ in 0..3 {
        let refused = f
            .store
            .settings()
            .set("x", &"y".repeat(1_000_000), NOW)
            .await;
        assert!(matches!(refused, Err(Error::DiskFull)), "{refused:?}");
    }
    f.store
        .documents()
        .delete(&f.scope, acknowledged[0])
        .await
        .unwrap();
    f.store
        .settings()
        .set("x", &"y".repeat(1000), NOW)
        .await
        .unwrap();
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let f = Fixture::new().await;
    f.store.close().await;
    let mut raw = f.raw().await;
    sqlx::query("PRAGMA user_version = 99")
        .execute(&mut raw)
        .await
        .unwrap();
    raw.close().await.unwrap();
    let path = f.path();
    let in_use = Store::open(&path).await.unwrap_err();
    assert!(
        matches!(in_use, Error::InUse { .. }),
        "the first one still has the lock"
    );
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("copy.db");
    std::fs::copy(&path, &copied).unwrap();
    let before = std::fs::read(&copied).unwrap();
    let refused = Store::open(&copied).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::NewerVersion {
                found: 99,
                supported: docent_store::SCHEMA_VERSION
            }
        ),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("newer Docent"));
    assert_eq!(std::fs::read(&copied).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_another_application_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.db");
    {
        let mut theirs = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .connect()
            .await
            .unwrap();
        sqlx::query("CREATE TABLE bookmarks (url TEXT)")
            .execute(&mut theirs)
            .await
            .unwrap();
        theirs.close().await.unwrap();
    }
    let before = std::fs::read(&path).unwrap();
    let refused = Store::open(&path).await.unwrap_err();
    assert!(matches!(refused, Error::ForeignFile { .. }), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "not a database at all".repeat(100)).unwrap();
    let refused = Store::open(&garbage).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
}

#[tokio::test]
async fn one_process_at_a_time() {
    let f = Fixture::new().await;
    let second = Store::open(f.path()).await.unwrap_err();
    assert!(matches!(second, Error::InUse { .. }), "{second:?}");
    assert!(second.is_retryable());
}

/// Calls are dropped all the time: a window closes, a request is cancelled.
#[tokio::test]
async fn a_dropped_call_happened_or_not_and_blocks_nobody() {
    let f = Fixture::new().await;
    for polls in 0..40 {
        let name = format!("w{polls}");
        let parsed = docent_domain::WorkspaceName::parse(&name).unwrap();
        {
            let mut call =
                Box::pin(async { f.store.workspaces().create(&parsed, "e5-small", NOW).await });
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if call.as_mut().poll(&mut context).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let probe = workspace(&f.store, &format!("probe {polls}")).await;
        f.store.workspaces().delete(&probe).await.unwrap();
    }
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn without_a_journal_it_works_until_it_crashes() {
    let f = Fixture::with(StoreOptions {
        journal: Journal::Off,
        ..StoreOptions::default()
    })
    .await;
    f.ready("/a.pdf", &["jedan"]).await;
    let report = f.store.check().await.unwrap();
    assert_eq!(
        (report.journal_mode.as_str(), report.findings),
        ("off", vec![])
    );
}

#[tokio::test]
async fn the_check_finds_what_is_planted() {
    let f = Fixture::new().await;
    let (a, keys) = f.ready("/a.pdf", &["jedan", "dva", "tri"]).await;
    let (b, _) = f.ready("/b.pdf", &["četiri"]).await;
    let workspace = f.scope.workspace();
    assert_eq!(f.store.check().await.unwrap().findings, [], "control");

    let mut raw = f.raw().await;
    for damage in [
        "DELETE FROM chunks WHERE ordinal = 1",
        "UPDATE chunks SET embedded = 0 WHERE ordinal = 2",
        "UPDATE workspaces SET next_chunk_key = 2",
        "DELETE FROM document_texts WHERE text = 'četiri'",
    ] {
        sqlx::query(damage).execute(&mut raw).await.unwrap();
    }
    let findings = f.store.check().await.unwrap().findings;
    assert_eq!(
        findings,
        [
            Finding::ChunkOrdinals {
                workspace,
                document: a
            },
            Finding::ChunkCounts {
                workspace,
                document: a,
                chunks: 2,
                embedded: 1
            },
            Finding::ReadyButUnembedded {
                workspace,
                document: a,
                missing: 1
            },
            Finding::NoText {
                workspace,
                document: b
            },
            Finding::KeyReusable {
                workspace,
                key: docent_domain::ChunkKey(3)
            },
        ],
        "{keys:?}"
    );
    sqlx::query("DELETE FROM documents")
        .execute(&mut raw)
        .await
        .unwrap();
    let findings = f.store.check().await.unwrap().findings;
    assert!(findings.contains(&Finding::BrokenReference {
        table: "chunks".into(),
        parent: "documents".into()
    }));
}

#[tokio::test]
async fn pages_that_rot_are_reported_not_fatal() {
    let mut f = Fixture::new().await;
    for n in 0..30 {
        f.ready(&format!("/{n}.pdf"), &["riječ ".repeat(500).as_str()])
            .await;
    }
    f.store.checkpoint().await.unwrap();
    f.store.close().await;
    let path = f.path();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    f.restart().await;
    let report = f.store.check().await.unwrap();
    assert!(
        report
            .findings
            .iter()
            .any(|finding| matches!(finding, Finding::Damaged { .. })),
        "{:?}",
        report.findings
    );
}

/// What one call has written, the next one reads, on whichever connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_see_what_was_written_before() {
    let f = Fixture::new().await;
    let chat = f.store.chats().create(&f.scope, "", NOW).await.unwrap();
    for n in 1..=50 {
        let new = NewMessage {
            role: Role::User,
            content: n.to_string(),
            status: MessageStatus::Complete,
            answer: None,
        };
        f.store
            .chats()
            .add_message(&f.scope, chat.id, new, NOW)
            .await
            .unwrap();
        let chats = [f.store.clone(), f.store.clone(), f.store.clone()];
        for store in &chats {
            let seen = store.chats().messages(&f.scope, chat.id).await.unwrap();
            assert_eq!(seen.len(), n);
        }
    }
}
