use docent_domain::{
    DocumentCounts, DocumentStatus, Language, WorkspaceName, WorkspaceScope, WorkspaceStatus,
};
use docent_store::{Claim, Entity, Error, JobType};

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
async fn another_embedder_means_embedding_everything_again() {
    let f = Fixture::new().await;
    let (ready, keys) = f.ready("/a.pdf", &["jedan", "dva"]).await;
    let half = f.register("/b.pdf").await.id;
    let half_keys = f.read(half, &["tri"]).await.added;
    let stale = Claim::from(&f.claim(JobType::Embed).await);

    let workspaces = f.store.workspaces();
    assert!(
        !workspaces
            .set_embedder(&f.scope, "e5-small", NOW)
            .await
            .unwrap(),
        "the same one changes nothing"
    );
    assert_eq!(f.get(ready).await.status, DocumentStatus::Ready);

    assert!(
        workspaces
            .set_embedder(&f.scope, "bge-m3", NOW)
            .await
            .unwrap()
    );
    assert_eq!(workspaces.get(&f.scope).await.unwrap().embedder, "bge-m3");
    let document = f.get(ready).await;
    assert_eq!(
        (document.status, document.embedded_count),
        (DocumentStatus::Words, 0)
    );
    assert_eq!(
        f.store
            .chunks()
            .unembedded_keys(&f.scope)
            .await
            .unwrap()
            .len(),
        3
    );
    let refused = f
        .store
        .chunks()
        .mark_embedded(&f.scope, half, &half_keys, stale, NOW)
        .await;
    assert!(
        matches!(refused, Err(Error::StaleFence(_))),
        "vectors of the old model must not be taken for new ones: {refused:?}"
    );
    // Both documents get there.
    for _ in 0..2 {
        let job = f.claim(JobType::Embed).await;
        let claim = Claim::from(&job);
        let (document, keys) = match job.kind {
            docent_domain::JobKind::Embed { document } if document == ready => (ready, &keys),
            _ => (half, &half_keys),
        };
        f.store
            .chunks()
            .mark_embedded(&f.scope, document, keys, claim, NOW)
            .await
            .unwrap();
    }
    assert_eq!(f.get(ready).await.status, DocumentStatus::Ready);
    assert_eq!(f.get(half).await.status, DocumentStatus::Ready);
    assert_eq!(f.store.check().await.unwrap().findings, []);
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
        f.store.jobs().next_due(&JobType::ALL, NOW).await.unwrap(),
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
