//! A method with one workspace's scope neither sees nor touches a row of another one.

use std::fmt::Debug;

use docent_domain::{
    FolderId, FolderPatterns, FolderState, Limit, MessageStatus, Problem, Progress, Role,
    ScanSummary, Stage, WorkspaceScope,
};
use docent_store::{
    AddedAgain, Claim, DocumentQuery, Error, FileMove, FileStamp, JobQuery, JobType, NewMessage,
    Over, RemovedMove, Result, Store,
};
use serde_json::json;
use sqlx::Row as _;

use crate::fixture::{Fixture, NOW, content, file, in_folder, later, workspace};

/// Every value of every row of the workspace, except the place in the queue.
async fn rows(f: &Fixture, scope: &WorkspaceScope) -> Vec<String> {
    let mut raw = f.raw().await;
    let mut dump = Vec::new();
    for table in [
        "workspaces",
        "chats",
        "messages",
        "folders",
        "generations",
        "removed_files",
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
    let result = result.map(|found| format!("{found:?}"));
    assert!(
        matches!(&result, Err(Error::NotFound(_) | Error::StaleFence(_))),
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
    let (unwanted, _) = store
        .documents()
        .register(&own, &in_folder("/m/unwanted.pdf", folder.id), NOW)
        .await
        .unwrap();
    store.documents().delete(&own, unwanted.id).await.unwrap();
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
    store.generations().begin(&own, "x", NOW).await.unwrap();
    let before = rows(&f, &own).await;

    let foreign = &workspace(store, "Tuđi").await;
    let at = later(1_000);

    let documents = store.documents();
    for id in [scanned.id, ready] {
        hidden("get", documents.get(foreign, id).await);
        hidden("blob", documents.blob(foreign, id).await);
        hidden("text", documents.text(foreign, id).await);
        hidden("retry", documents.retry(foreign, id, at).await);
        hidden("delete", documents.delete(foreign, id).await);
        let change = FileMove {
            id,
            from: "/a".into(),
            to: file("/z"),
            look_again: false,
        };
        empty("move", documents.move_files(foreign, &[change], at).await);
        empty(
            "mark gone",
            documents.mark_gone(foreign, &[id], "x", at).await,
        );
        let again = AddedAgain::Documents(&[id]);
        empty(
            "retry unread",
            documents.retry_unread(foreign, again, at).await,
        );
        hidden("stamp", documents.forget_stamp(foreign, id, read).await);
        hidden("content", documents.forget_content(foreign, id, read).await);
        empty(
            "content hashes",
            documents.content_hashes(foreign, &[id]).await,
        );
        hidden(
            "replace",
            documents
                .replace_content(foreign, id, read, &content(&["x"]), at)
                .await,
        );
        hidden(
            "unchanged",
            documents.mark_unchanged(foreign, id, read, at).await,
        );
        hidden(
            "skip",
            documents
                .skip(foreign, id, read, "x", Problem::Empty, at)
                .await,
        );
        hidden(
            "note problem",
            documents
                .note_problem(foreign, id, read, Problem::Empty)
                .await,
        );
    }
    empty("problems", documents.problems(foreign).await);
    empty(
        "delete all",
        documents.delete_all(foreign, &[scanned.id, ready]).await,
    );
    empty(
        "known files",
        documents
            .known_files(foreign, &folder, "", 10)
            .await
            .map(|k| k.len()),
    );
    empty("retitled", documents.retitled(foreign).await);
    empty(
        "known elsewhere",
        documents
            .known_elsewhere(foreign, FolderId::generate(), &[100])
            .await,
    );
    empty(
        "delete vanished",
        documents
            .delete_vanished(foreign, folder.id, &[scanned.id, ready], 0)
            .await,
    );
    empty("removed files", documents.removed_files(foreign).await);
    documents
        .note_removed_files(
            foreign,
            &[RemovedMove {
                from: "/m/unwanted.pdf".to_owned(),
                to: "/m/again.pdf".to_owned(),
                stamp: FileStamp::default(),
            }],
            &[("/m/unwanted.pdf".to_owned(), FileStamp::default())],
        )
        .await
        .unwrap();
    let hash = content(&["jedan"]).hash;
    empty("has content", documents.has_content(foreign, &hash).await);
    let page = documents
        .list(foreign, &DocumentQuery::default())
        .await
        .unwrap();
    assert_eq!(page.items, []);
    hidden(
        "a folder of another workspace",
        documents
            .register(foreign, &in_folder("/m/c.pdf", folder.id), at)
            .await,
    );
    hidden(
        "many of them",
        documents
            .register_all(foreign, &[in_folder("/m/c.pdf", folder.id)], at)
            .await,
    );

    let chunks = store.chunks();
    empty("chunks", chunks.get_many(foreign, &keys).await);
    empty(
        "neighbours",
        chunks.neighbours(foreign, ready, 0, 1, 1).await,
    );
    empty("of document", chunks.of_document(foreign, ready).await);
    empty("keys", chunks.keys_of_document(foreign, ready).await);
    empty("all keys", chunks.all_keys(foreign).await);
    empty("unembedded keys", chunks.unembedded_keys(foreign).await);
    empty("entries", chunks.entries_for_keys(foreign, &keys).await);
    empty(
        "unembedded",
        chunks.unembedded(foreign, Some(ready), 9).await,
    );
    empty("unembedded", chunks.unembedded(foreign, None, 9).await);
    hidden(
        "mark",
        chunks.mark_embedded(foreign, ready, &keys, embed, at).await,
    );
    empty("twins", chunks.embedded_twins(foreign, ready).await);
    empty("adopt", chunks.adopt_embedded(foreign, &keys, at).await);
    empty("reset", chunks.reset_embedded(foreign, &keys, at).await);

    let jobs = store.jobs();
    for claim in [read, embed, scan] {
        hidden("job", jobs.get(foreign, claim.job).await);
        hidden("cancel", jobs.cancel(foreign, claim.job, at).await);
        hidden("retry", jobs.retry(foreign, claim.job, at).await);
        hidden("finish", jobs.finish(foreign, claim, at).await);
        hidden("fail", jobs.fail(foreign, claim, "x", false, at).await);
        hidden(
            "put back",
            jobs.put_back(foreign, claim, at, None, at).await,
        );
        let progress = Progress::default();
        hidden(
            "progress",
            jobs.progress(foreign, claim, Stage::Chunking, progress, at)
                .await,
        );
    }
    let page = jobs.list(foreign, &JobQuery::default()).await;
    empty("jobs", page.map(|page| page.items));
    empty("batch", jobs.batch_progress(foreign).await);
    empty("end", jobs.end_batch(foreign, at).await);
    empty("cancel all", jobs.cancel_all(foreign, at).await);
    for over in [Over::Dead, Over::Cancelled] {
        empty("retry all", jobs.retry_all(foreign, over, at).await);
    }
    jobs.set_paused(foreign, true, at).await.unwrap();
    empty("paused", jobs.is_paused(&own).await);
    empty("job counts", jobs.counts(foreign).await);

    let folders = store.folders();
    empty("folders", folders.list(foreign).await);
    hidden("folder", folders.get(foreign, folder.id).await);
    let patterns = FolderPatterns::default();
    hidden(
        "patterns",
        folders
            .set_patterns(foreign, folder.id, &patterns, at)
            .await,
    );
    folders
        .enqueue_scans(&[(*foreign, folder.id, at)], at)
        .await
        .unwrap();
    hidden("scan", folders.enqueue_scan(foreign, folder.id, at).await);
    hidden("remove", folders.remove(foreign, folder.id, |_| None).await);
    hidden("root", folders.root(foreign, folder.id).await);
    let root = docent_store::RootIdentity::default();
    hidden("root", folders.note_root(foreign, folder.id, &root).await);
    let others = folders.hasten_others(foreign, folder.id, at).await;
    assert_eq!(others.unwrap(), [], "no scan of ours");
    hidden("accepted", folders.accepted(foreign, folder.id).await);
    hidden("accept", folders.accept(foreign, folder.id, at).await);
    hidden(
        "ask",
        folders
            .ask(foreign, folder.id, 9, 0, "x", (at, ScanSummary::default()))
            .await,
    );
    hidden(
        "state",
        folders
            .set_state(foreign, folder.id, FolderState::Paused, None, None)
            .await,
    );

    let chats = store.chats();
    empty("chats", chats.list(foreign).await);
    hidden("chat", chats.get(foreign, chat.id).await);
    hidden("rename", chats.rename(foreign, chat.id, "x", at).await);
    hidden("pin", chats.set_pinned(foreign, chat.id, true).await);
    hidden("delete", chats.delete(foreign, chat.id).await);
    hidden("messages", chats.messages(foreign, chat.id).await);
    empty("recent", chats.recent_messages(foreign, chat.id, 9).await);
    hidden("message", chats.get_message(foreign, message.id).await);
    hidden("add", chats.add_messages(foreign, chat.id, &[], at).await);
    let status = MessageStatus::Complete;
    hidden(
        "update",
        chats
            .update_message(foreign, message.id, "x", status, None, at)
            .await,
    );

    empty(
        "untried jobs",
        store.jobs().untried(foreign, &JobType::ALL).await,
    );
    empty("flag", store.flags().get(foreign, "x").await);
    empty("flags", store.flags().list(foreign).await);
    empty("clear", store.flags().clear(foreign, "x").await);
    empty("limit", store.limits().get(foreign, "x").await);
    empty("limits", store.limits().list(foreign).await);
    empty("unlimit", store.limits().remove(foreign, "x").await);
    let generations = store.generations();
    let state = docent_store::ChangeState::Paused;
    hidden(
        "change",
        generations.set_state(foreign, 2, state, None).await,
    );
    hidden("cancel", generations.cancel(foreign).await);
    hidden("cut over", generations.cut_over(foreign, 2, at).await);
    hidden("roll back", generations.roll_back(foreign, at).await);
    hidden("discard", generations.discard(foreign).await);
    let workspaces = store.workspaces();
    empty("counts", workspaces.document_counts(foreign).await);
    empty("languages", workspaces.languages(foreign).await);

    // The same paths and names, and then the end of the whole workspace.
    store.folders().add(foreign, "/m", at).await.unwrap();
    for path in ["/b.pdf", "/m/unwanted.pdf"] {
        documents.register(foreign, &file(path), at).await.unwrap();
    }
    store
        .flags()
        .set(foreign, "x", false, &json!({}), at)
        .await
        .unwrap();
    workspaces.delete(foreign).await.unwrap();

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
