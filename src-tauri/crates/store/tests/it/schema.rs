//! The schema on the disk is what it was when it was released.

use docent_domain::WorkspaceScope;
use docent_store::{SCHEMA_VERSION, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::fixture::{Fixture, NOW, in_folder};

#[tokio::test]
async fn the_schema_is_the_snapshot() {
    let f = Fixture::new().await;
    let mut raw = f.raw().await;
    let objects: Vec<String> = sqlx::query_scalar(
        "SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name",
    )
    .fetch_all(&mut raw)
    .await
    .unwrap();
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    assert_eq!(version, i64::from(SCHEMA_VERSION));
    let actual = format!("-- schema {version}\n{}\n", objects.join("\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/schema.sql");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &actual).unwrap();
    }
    assert!(
        actual == include_str!("schema.sql"),
        "the schema differs from {path}. A released migration must not change: add a new one, then run with UPDATE_SNAPSHOTS=1"
    );
}

/// What a user of the first version has is there after the upgrade, and works.
#[tokio::test]
async fn the_first_version_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docent.db");
    let mut old = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    for statement in [
        include_str!("../../migrations/0001_first.sql"),
        "PRAGMA application_id = 1145261652; PRAGMA user_version = 1",
        "INSERT INTO workspaces (id, name, folded_name, status, plan, embedder, created_at, updated_at)
         VALUES (x'0198c0de000070008000000000000001', 'Ured', 'ured', 'active', 'local', 'e5', 1, 1)",
        "INSERT INTO folders (workspace_id, id, path, state, created_at)
         VALUES (x'0198c0de000070008000000000000001', x'0198c0de000070008000000000000002', '/m',
                 'watching', 1)",
        "INSERT INTO documents (workspace_id, id, origin, path, title, folded_title, folded_path,
                                format, size_bytes, status, created_at, updated_at)
         VALUES (x'0198c0de000070008000000000000001', x'0198c0de000070008000000000000003', 'file',
                 '/old.docx', 'old', 'old', '/old.docx', 'docx', 1, 'failed', 1, 1)",
    ] {
        old.execute(sqlx::raw_sql(statement)).await.unwrap();
    }
    old.close().await.unwrap();

    let store = Store::open(&path).await.unwrap();
    let report = store.check().await.unwrap();
    assert_eq!(
        (report.schema_version, report.findings),
        (SCHEMA_VERSION, vec![])
    );
    let folder = &store.folders().list_all().await.unwrap()[0];
    let scope = WorkspaceScope::new(folder.workspace_id);
    let (document, _) = store
        .documents()
        .register(&scope, &in_folder("/m/a.pdf", folder.id), NOW)
        .await
        .unwrap();
    store.documents().delete(&scope, document.id).await.unwrap();
    let mut raw = SqliteConnectOptions::new()
        .filename(&path)
        .connect()
        .await
        .unwrap();
    let formats: Vec<Option<String>> = sqlx::query_scalar("SELECT format FROM documents")
        .fetch_all(&mut raw)
        .await
        .unwrap();
    assert_eq!(formats, [Some("docx".to_owned())], "kept by the upgrade");
    raw.execute("UPDATE documents SET format = 'xlsx'")
        .await
        .unwrap();
    let removed = store.documents().removed_files(&scope).await.unwrap();
    assert_eq!(removed[0].path, "/m/a.pdf");
}

#[tokio::test]
async fn opening_again_changes_nothing() {
    let mut f = Fixture::new().await;
    f.ready("/a.pdf", &["jedan"]).await;
    f.restart().await;
    assert_eq!(f.store.check().await.unwrap().findings, []);
    assert_eq!(f.store.workspaces().list().await.unwrap().len(), 1);
}

/// Rows of every table that refer to a parent are found by an index when the parent goes.
#[tokio::test]
async fn every_reference_has_an_index() {
    let f = Fixture::new().await;
    let mut raw = f.raw().await;
    let references: Vec<(String, String)> = sqlx::query_as(
        "SELECT m.name, group_concat(f.\"from\") FROM sqlite_schema m, pragma_foreign_key_list(m.name) f
         WHERE m.type = 'table' GROUP BY m.name, f.id",
    )
    .fetch_all(&mut raw)
    .await
    .unwrap();
    assert!(references.len() > 10);
    for (table, columns) in references {
        let conditions: Vec<String> = columns.split(',').map(|c| format!("{c} = x'00'")).collect();
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(&format!(
            "EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {}",
            conditions.join(" AND ")
        ))
        .fetch_all(&mut raw)
        .await
        .unwrap();
        assert!(
            plan[0].3.starts_with("SEARCH"),
            "{table} ({columns}): {}",
            plan[0].3
        );
    }
}

#[tokio::test]
async fn the_journal_is_durable_and_deleted_text_is_overwritten() {
    let f = Fixture::new().await;
    let report = f.store.check().await.unwrap();
    assert_eq!(report.journal_mode, "wal");
    let word = "kanarinac-4711";
    let (id, _) = f.ready("/a.pdf", &[word]).await;
    f.store.checkpoint().await.unwrap();
    let holds = |path: std::path::PathBuf| {
        std::fs::read(path).is_ok_and(|bytes| {
            bytes
                .windows(word.len())
                .any(|window| window == word.as_bytes())
        })
    };
    assert!(holds(f.path()), "control: the text is in the file");
    f.store.documents().delete(&f.scope, id).await.unwrap();
    f.store.checkpoint().await.unwrap();
    let wal = f.path().with_extension("db-wal");
    assert!(
        !holds(f.path()) && !holds(wal),
        "no byte of a deleted document remains"
    );
}
