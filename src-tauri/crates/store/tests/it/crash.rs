//! Killing the process at any point: what was acknowledged is there, and the queue goes on.
//!
//! The killed process is this test binary, told by an environment variable to be the victim. A kill
//! spares what the system has taken over; that it also survives a power cut is for the tests that
//! cut it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use docent_domain::{DocumentId, DocumentStatus, JobKind, WorkspaceName, WorkspaceScope};
use docent_store::{BootId, Claim, JobType, Registered, Store};

use crate::fixture::{NOW, content, file};

const FOLDER: &str = "DOCENT_TEST_CRASH_FOLDER";
const STALL: &str = "DOCENT_TEST_CRASH_STALL";

/// Not a test of its own: without the variables it does nothing.
#[tokio::test]
async fn victim() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let store = Store::open(Path::new(&folder).join("docent.db"))
        .await
        .unwrap();
    let name = WorkspaceName::parse("Ured").unwrap();
    let workspace = match store.workspaces().find_by_name(&name).await.unwrap() {
        Some(workspace) => workspace,
        None => store
            .workspaces()
            .create(&name, "e5-small", NOW)
            .await
            .unwrap(),
    };
    let scope = WorkspaceScope::new(workspace.id);
    let boot = BootId::generate();
    store.jobs().rescue_foreign(boot, NOW).await.unwrap();
    for n in 0.. {
        let (document, registered) = store
            .documents()
            .register(&scope, &file(&format!("/{n}")), NOW)
            .await
            .unwrap();
        if registered == Registered::Created {
            println!("ack known {}", document.id);
        }
        while let Some(job) = store
            .jobs()
            .claim_next(boot, &JobType::ALL, NOW)
            .await
            .unwrap()
        {
            if std::env::var_os(STALL).is_some() {
                println!("ack stalled {}", DocumentId::generate());
                std::future::pending::<()>().await;
            }
            let claim = Claim::from(&job);
            match job.kind {
                JobKind::Read { document } => {
                    let text = "riječ ".repeat(700);
                    let content = content(&[&text, &text, &text]);
                    store
                        .documents()
                        .replace_content(&scope, document, claim, &content, NOW)
                        .await
                        .unwrap();
                    println!("ack words {document}");
                }
                JobKind::Embed { document } => {
                    let keys = store
                        .chunks()
                        .keys_of_document(&scope, document)
                        .await
                        .unwrap();
                    store
                        .chunks()
                        .mark_embedded(&scope, document, &keys, claim, NOW)
                        .await
                        .unwrap();
                    println!("ack ready {document}");
                }
                JobKind::Scan { .. } => unreachable!("there is no folder"),
            }
        }
    }
}

fn start(folder: &Path, stall: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "crash::victim",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped());
    if stall {
        command.env(STALL, "1");
    }
    command.spawn().unwrap()
}

/// Lets the victim acknowledge `count` things or stall, kills it, and returns all that it managed to
/// say.
fn kill_after(mut victim: Child, count: usize) -> Vec<(String, DocumentId)> {
    let mut acknowledged = Vec::new();
    for line in BufReader::new(victim.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The test harness writes its own words in front.
        let Some(at) = line.find("ack ") else {
            continue;
        };
        let mut words = line[at..].split(' ').skip(1);
        let what = words.next().unwrap().to_owned();
        acknowledged.push((what, words.next().unwrap().parse().unwrap()));
        let stalled = acknowledged
            .last()
            .is_some_and(|(what, _)| what == "stalled");
        if acknowledged.len() == count || stalled {
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut known = BTreeSet::new();
    let mut ready = BTreeSet::new();
    let mut words = BTreeSet::new();
    let rounds = 10;
    for round in 0..=rounds {
        let stall = round == rounds;
        let count = if stall { usize::MAX } else { 4 + round * 5 % 9 };
        for (what, id) in kill_after(start(folder.path(), stall), count) {
            match what.as_str() {
                "known" => known.insert(id),
                "words" => words.insert(id),
                "ready" => ready.insert(id),
                _ => continue,
            };
        }

        let store = Store::open(folder.path().join("docent.db")).await.unwrap();
        let scope = WorkspaceScope::new(store.workspaces().list().await.unwrap()[0].id);
        let recovery = store
            .jobs()
            .rescue_foreign(BootId::generate(), NOW)
            .await
            .unwrap();
        if stall {
            assert_eq!(
                recovery.requeued.len(),
                1,
                "control: a kill leaves a running job behind"
            );
        }
        assert_eq!(
            recovery.jobs_added, 0,
            "no document is ever without its job"
        );
        assert_eq!(store.check().await.unwrap().findings, [], "round {round}");
        for id in &known {
            let document = store.documents().get(&scope, *id).await.unwrap();
            if ready.contains(id) {
                assert_eq!(document.status, DocumentStatus::Ready);
            }
            if words.contains(id) {
                assert_eq!(
                    store.chunks().of_document(&scope, *id).await.unwrap().len(),
                    3
                );
            }
        }
        store.close().await;
    }
    assert!(ready.len() > rounds, "{} documents got ready", ready.len());
}
