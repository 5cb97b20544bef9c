use docent_domain::{DocumentCounts, Language, WorkspaceName, WorkspaceScope, WorkspaceStatus};
use docent_store::{Entity, Error, JobType};

use crate::fixture::{Fixture, NOW, later, workspace};

#[tokio::test]
async fn a_name_is_taken_without_regard_to_case() {
    let f = Fixture::new().await;
    let workspaces = f.store.workspaces();
    let shout = WorkspaceName::parse("URED").unwrap();
    let taken = workspaces.create(&shout, "e5-small", NOW).await;
    assert!(matches!(taken, Err(Error::NameTaken(name)) if name == "URED"));

    let other = workspace(&f.store, "Šuma").await;
    let found = workspaces
        .find_by_name(&WorkspaceName::parse("šUMA").unwrap())
        .await
        .unwrap();
    assert_eq!(
        found.map(|w| w.id),
        Some(other.workspace()),
        "case folding knows Croatian"
    );
    assert!(matches!(
        workspaces.rename(&other, &shout, NOW).await,
        Err(Error::NameTaken(_))
    ));
    let shouted = workspaces.rename(&f.scope, &shout, later(5)).await.unwrap();
    assert_eq!(shouted.name, shout, "its own name in other letters is free");
    assert_eq!(shouted.updated_at, later(5));
    let names: Vec<String> = workspaces
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|w| w.name.into())
        .collect();
    assert_eq!(names, ["URED", "Šuma"], "by folded name");
}

#[tokio::test]
async fn deleting_takes_everything_along() {
    let f = Fixture::new().await;
    f.ready("/a.pdf", &["jedan"]).await;
    f.store.folders().add(&f.scope, "/mapa", NOW).await.unwrap();
    f.store.chats().create(&f.scope, "x", NOW).await.unwrap();
    f.store.workspaces().delete(&f.scope).await.unwrap();

    assert!(f.store.workspaces().list().await.unwrap().is_empty());
    let mut raw = f.raw().await;
    for table in [
        "chats",
        "folders",
        "documents",
        "document_texts",
        "chunks",
        "jobs",
    ] {
        let rows: i64 = sqlx::query_scalar(&format!("SELECT count(*) FROM {table}"))
            .fetch_one(&mut raw)
            .await
            .unwrap();
        assert_eq!(rows, 0, "{table} still has rows of the deleted workspace");
    }
    let again = f.store.workspaces().delete(&f.scope).await;
    assert!(matches!(again, Err(Error::NotFound(Entity::Workspace))));
}

#[tokio::test]
async fn counts_and_languages_follow_the_documents() {
    let f = Fixture::new().await;
    f.ready("/a.pdf", &["jedan", "dva"]).await;
    let words = f.register("/b.pdf").await.id;
    f.read(words, &["tri"]).await;
    f.register("/c.pdf").await;
    let counts = f
        .store
        .workspaces()
        .document_counts(&f.scope)
        .await
        .unwrap();
    assert_eq!(
        counts,
        DocumentCounts {
            queued: 1,
            words: 1,
            ready: 1,
            chunks: 3,
            embedded_chunks: 2,
            ..DocumentCounts::default()
        }
    );
    assert_eq!(
        f.store.workspaces().languages(&f.scope).await.unwrap(),
        [Language::Croatian]
    );
}

#[tokio::test]
async fn a_suspended_workspace_gets_no_work_done() {
    let f = Fixture::new().await;
    f.register("/a.pdf").await;
    let workspaces = f.store.workspaces();
    workspaces
        .set_status(&f.scope, WorkspaceStatus::Suspended, NOW)
        .await
        .unwrap();
    let claimed = f.store.jobs().claim_next(f.boot, &JobType::ALL, NOW).await;
    assert_eq!(claimed.unwrap(), None);
    assert_eq!(
        f.store
            .jobs()
            .next_due(&JobType::ALL, &[], NOW)
            .await
            .unwrap(),
        None
    );
    workspaces
        .set_status(&f.scope, WorkspaceStatus::Active, NOW)
        .await
        .unwrap();
    f.claim(JobType::Read).await;
}

#[tokio::test]
async fn nothing_can_be_put_into_a_workspace_that_is_not_there() {
    let f = Fixture::new().await;
    let nowhere = WorkspaceScope::new(docent_domain::WorkspaceId::generate());
    let missing = |result: Error| assert!(matches!(result, Error::NotFound(Entity::Workspace)));
    missing(
        f.store
            .folders()
            .add(&nowhere, "/x", NOW)
            .await
            .unwrap_err(),
    );
    missing(
        f.store
            .chats()
            .create(&nowhere, "x", NOW)
            .await
            .unwrap_err(),
    );
    missing(
        f.store
            .documents()
            .register(&nowhere, &crate::fixture::file("/x"), NOW)
            .await
            .unwrap_err(),
    );
}
