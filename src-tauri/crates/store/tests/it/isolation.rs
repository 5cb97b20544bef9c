//! A method with one workspace's scope neither sees nor touches a row of another one.

use std::fmt::Debug;

use docent_domain::{
    DocumentStatus, FolderState, Limit, MessageStatus, Progress, Role, Stage, WorkspaceScope,
};
use docent_store::{Claim, DocumentQuery, Error, JobQuery, JobType, NewMessage, Result, Store};
use serde_json::json;
use sqlx::Row as _;

use crate::fixture::{Fixture, NOW, content, file, hash, in_folder, later, workspace};

/// Every value of every row of the workspace, except the place in the queue.
async fn rows(f: &Fixture, scope: &WorkspaceScope) -> Vec<String> {
    let mut raw = f.raw().await;
    let mut dump = Vec::new();
    for table in [
        "workspaces",
        "chats",
        "messages",
        "folders",
        "documents",
        "document_texts",
        "chunks",
        "jobs",
        "feature_flags",
        "limits",
    ] {
        let columns: Vec<String> = sqlx::query("SELECT name FROM pragma_table_info(?1)")
            .bind(table)
            .fetch_all(&mut raw)
            .await
            .unwrap()
            .iter()
            .map(|row| format!("quote(\"{}\")", row.get::<&str, _>("name")))
            .collect();
        let id = if table == "workspaces" {
            "id"
        } else {
            "workspace_id"
        };
        let sql = format!(
            "SELECT {} AS line FROM {table} WHERE {id} = ?1 ORDER BY 1",
            columns.join(" || ',' || ")
        );
        let lines: Vec<String> = sqlx::query_scalar(&sql)
            .bind(scope.workspace().as_uuid().as_bytes().to_vec())
            .fetch_all(&mut raw)
            .await
            .unwrap();
        assert!(!lines.is_empty(), "{table} has no row to protect");
        dump.extend(lines.into_iter().map(|line| format!("{table}: {line}")));
    }
    dump
}

#[track_caller]
fn hidden<T: Debug>(what: &str, result: Result<T>) {
    assert!(
        matches!(result, Err(Error::NotFound(_) | Error::StaleFence(_))),
        "{what}: {result:?}"
    );
}

#[track_caller]
fn empty<T: Debug + PartialEq + Default>(what: &str, result: Result<T>) {
    assert_eq!(result.expect(what), T::default(), "{what}");
}

#[tokio::test]
async fn a_foreign_scope_is_like_a_missing_row() {
    let f = Fixture::new().await;
    let store: &Store = &f.store;
    let own = f.scope;
    // What there is to see and to harm, in `own`.
    let (folder, _) = store.folders().add(&own, "/m", NOW).await.unwrap();
    let (scanned, _) = store
        .documents()
        .register(&own, &in_folder("/m/a.pdf", folder.id), NOW)
        .await
        .unwrap();
    let read = Claim::from(&f.claim(JobType::Read).await);
    let (ready, keys) = {
        let (id, keys) = {
            let id = f.register("/b.pdf").await.id;
            (id, f.read(id, &["jedan", "dva"]).await.added)
        };
        (id, keys)
    };
    let embed = Claim::from(&f.claim(JobType::Embed).await);
    let scan = Claim::from(&f.claim(JobType::Scan).await);
    let chat = store.chats().create(&own, "tajna", NOW).await.unwrap();
    let message = store
        .chats()
        .add_message(
            &own,
            chat.id,
            NewMessage {
                role: Role::Assistant,
                content: "tajna".into(),
                status: MessageStatus::Streaming,
                answer: None,
            },
            NOW,
        )
        .await
        .unwrap();
    store
        .flags()
        .set(&own, "x", true, &json!({}), NOW)
        .await
        .unwrap();
    let limit = Limit {
        operation: "x".into(),
        max: 1,
        window_seconds: 1,
    };
    store.limits().set(&own, &limit, NOW).await.unwrap();
    let before = rows(&f, &own).await;

    let foreign = &workspace(store, "Tuđi").await;
    let t = later(1_000);

    let d = store.documents();
    for id in [scanned.id, ready] {
        hidden("get", d.get(foreign, id).await);
        hidden("blob", d.blob(foreign, id).await);
        hidden("text", d.text(foreign, id).await);
        hidden("retry", d.retry(foreign, id, t).await);
        hidden("delete", d.delete(foreign, id).await);
        hidden("rename", d.rename_path(foreign, id, &file("/z"), t).await);
        hidden(
            "status",
            d.set_status(foreign, id, DocumentStatus::Failed, None, t)
                .await,
        );
        hidden(
            "replace",
            d.replace_content(foreign, id, read, &content(&["x"]), t)
                .await,
        );
        hidden("unchanged", d.mark_unchanged(foreign, id, read, t).await);
        hidden("skip", d.skip(foreign, id, read, "x", t).await);
    }
    empty(
        "delete all",
        d.delete_all(foreign, &[scanned.id, ready]).await,
    );
    empty(
        "by path",
        d.find_by_path(foreign, "/b.pdf").await.map(|d| d.is_some()),
    );
    empty("by hash", d.find_by_hash(foreign, &hash("jedandva")).await);
    empty(
        "known files",
        d.known_files(foreign, folder.id).await.map(|k| k.len()),
    );
    let page = d.list(foreign, &DocumentQuery::default()).await.unwrap();
    assert_eq!(page.items, []);
    hidden(
        "a folder of another workspace",
        d.register(foreign, &in_folder("/m/c.pdf", folder.id), t)
            .await,
    );
    hidden(
        "many of them",
        d.register_all(foreign, &[in_folder("/m/c.pdf", folder.id)], t)
            .await,
    );

    let c = store.chunks();
    empty("chunks", c.get_many(foreign, &keys).await);
    empty("neighbours", c.neighbours(foreign, ready, 0, 1, 1).await);
    empty("of document", c.of_document(foreign, ready).await);
    empty("keys", c.keys_of_document(foreign, ready).await);
    empty("all keys", c.all_keys(foreign).await);
    empty("unembedded keys", c.unembedded_keys(foreign).await);
    empty("entries", c.entries_for_keys(foreign, &keys).await);
    empty("unembedded", c.unembedded(foreign, Some(ready), 9).await);
    empty("unembedded", c.unembedded(foreign, None, 9).await);
    hidden(
        "mark",
        c.mark_embedded(foreign, ready, &keys, embed, t).await,
    );
    empty("reset", c.reset_embedded(foreign, &keys, t).await);

    let j = store.jobs();
    for claim in [read, embed, scan] {
        hidden("job", j.get(foreign, claim.job).await);
        hidden("cancel", j.cancel(foreign, claim.job, t).await);
        hidden("retry", j.retry(foreign, claim.job, t).await);
        hidden("finish", j.finish(foreign, claim, t).await);
        hidden("fail", j.fail(foreign, claim, "x", false, t).await);
        hidden("put back", j.put_back(foreign, claim, t, None, t).await);
        let progress = Progress::default();
        hidden(
            "progress",
            j.progress(foreign, claim, Stage::Chunking, progress, t)
                .await,
        );
        empty("current", j.is_current(foreign, claim).await);
    }
    empty("jobs", j.list(foreign, &JobQuery::default()).await);
    empty("job counts", j.counts(foreign).await);

    let fo = store.folders();
    empty("folders", fo.list(foreign).await);
    hidden("folder", fo.get(foreign, folder.id).await);
    hidden("scan", fo.enqueue_scan(foreign, folder.id, t).await);
    hidden("remove", fo.remove(foreign, folder.id).await);
    hidden(
        "state",
        fo.set_state(foreign, folder.id, FolderState::Paused, None, Some(t))
            .await,
    );

    let ch = store.chats();
    empty("chats", ch.list(foreign).await);
    hidden("chat", ch.get(foreign, chat.id).await);
    hidden("rename", ch.rename(foreign, chat.id, "x", t).await);
    hidden("pin", ch.set_pinned(foreign, chat.id, true).await);
    hidden("delete", ch.delete(foreign, chat.id).await);
    hidden("messages", ch.messages(foreign, chat.id).await);
    empty("recent", ch.recent_messages(foreign, chat.id, 9).await);
    hidden("message", ch.get_message(foreign, message.id).await);
    hidden("add", ch.add_messages(foreign, chat.id, &[], t).await);
    let status = MessageStatus::Complete;
    hidden(
        "update",
        ch.update_message(foreign, message.id, "x", status, None, t)
            .await,
    );

    empty("flag", store.flags().get(foreign, "x").await);
    empty("flags", store.flags().list(foreign).await);
    empty("clear", store.flags().clear(foreign, "x").await);
    empty("limit", store.limits().get(foreign, "x").await);
    empty("limits", store.limits().list(foreign).await);
    empty("unlimit", store.limits().remove(foreign, "x").await);
    let w = store.workspaces();
    empty("counts", w.document_counts(foreign).await);
    empty("languages", w.languages(foreign).await);

    // The same paths and names, and then the end of the whole workspace.
    store.folders().add(foreign, "/m", t).await.unwrap();
    d.register(foreign, &file("/b.pdf"), t).await.unwrap();
    store
        .flags()
        .set(foreign, "x", false, &json!({}), t)
        .await
        .unwrap();
    w.set_embedder(foreign, "other", t).await.unwrap();
    w.delete(foreign).await.unwrap();

    assert_eq!(rows(&f, &own).await, before);
}

/// The schema refuses what the methods cannot even say.
#[tokio::test]
async fn a_row_cannot_refer_into_another_workspace() {
    let f = Fixture::new().await;
    let (id, _) = f.ready("/a.pdf", &["jedan"]).await;
    let other = workspace(&f.store, "B").await;
    let mut raw = f.raw().await;
    sqlx::query("PRAGMA foreign_keys = ON")
        .execute(&mut raw)
        .await
        .unwrap();
    let moved = sqlx::query("UPDATE chunks SET workspace_id = ?1 WHERE document_id = ?2")
        .bind(other.workspace().as_uuid().as_bytes().to_vec())
        .bind(id.as_uuid().as_bytes().to_vec())
        .execute(&mut raw)
        .await
        .unwrap_err();
    assert!(moved.to_string().contains("FOREIGN KEY"), "{moved}");
}
