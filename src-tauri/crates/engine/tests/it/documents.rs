//! Documents that come, change and go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use docent_domain::{DocumentStatus, FolderState, Problem, WorkspaceScope};
use docent_engine::{AddedFolders, Code, Engine, EngineOptions, JobFilter, ModelSource};

use crate::Test;
use crate::support::{
    Bench, files_holding, in_one_segment, let_worker_replace, noted_removals, run, write_more,
};

pub const TESTS: &[Test] = &[
    ("removed_documents_stay_away", removed_documents_stay_away),
    ("removed_text_is_wiped", removed_text_is_wiped),
    (
        "a_file_written_while_it_is_read_is_read_again",
        a_file_written_while_it_is_read_is_read_again,
    ),
    (
        "waiting_ends_when_a_model_is_missing",
        waiting_ends_when_a_model_is_missing,
    ),
    (
        "an_upload_survives_the_removal_of_its_bytes",
        an_upload_survives_the_removal_of_its_bytes,
    ),
    (
        "a_removed_upload_stays_where_others_have_it",
        a_removed_upload_stays_where_others_have_it,
    ),
    (
        "a_failed_upload_that_is_sent_again_is_read_again",
        a_failed_upload_that_is_sent_again_is_read_again,
    ),
    ("an_id_is_no_name", an_id_is_no_name),
    (
        "what_a_damaged_file_held_leaves_the_search",
        what_a_damaged_file_held_leaves_the_search,
    ),
    (
        "documents_in_trouble_are_listed_with_what_is_the_matter",
        documents_in_trouble_are_listed_with_what_is_the_matter,
    ),
    (
        "a_folder_in_a_removed_folder_keeps_its_documents",
        a_folder_in_a_removed_folder_keeps_its_documents,
    ),
    (
        "nothing_removed_stays_in_the_database",
        nothing_removed_stays_in_the_database,
    ),
    (
        "a_workspace_is_deleted_while_it_is_read",
        a_workspace_is_deleted_while_it_is_read,
    ),
    #[cfg(unix)]
    (
        "what_cannot_be_a_document_is_named_and_a_folder_read_once_is_not_watched",
        what_cannot_be_a_document_is_named_and_a_folder_read_once_is_not_watched,
    ),
    #[cfg(unix)]
    (
        "all_names_of_a_vanished_file_go",
        all_names_of_a_vanished_file_go,
    ),
    #[cfg(unix)]
    (
        "a_file_moves_to_where_another_document_is",
        a_file_moves_to_where_another_document_is,
    ),
    #[cfg(unix)]
    (
        "the_data_folder_behind_a_link_is_not_watched",
        the_data_folder_behind_a_link_is_not_watched,
    ),
    #[cfg(unix)]
    (
        "a_link_is_the_file_it_leads_to",
        a_link_is_the_file_it_leads_to,
    ),
];

fn removed_documents_stay_away() {
    run(async {
        let bench = Bench::open().await;
        let (unwanted, folder) = (bench.write("unwanted.txt", "Tajna."), bench.files());
        bench.write("wanted.txt", "Javno.");
        bench.add(&[&folder]).await;
        assert_eq!(bench.titles().await, ["unwanted", "wanted"]);
        let id = bench.document(&unwanted).await.id;
        bench
            .engine
            .delete_document(&bench.scope, id)
            .await
            .unwrap();
        bench.scan().await;
        assert_eq!(bench.titles().await, ["wanted"]);
        bench.write("unwanted.txt", "Tajna, dulja nego prije.");
        bench.scan().await;
        assert_eq!(bench.titles().await, ["wanted"], "its content changed");
        let bench = bench.restart(|_| {}).await;
        bench.idle().await;
        assert_eq!(bench.titles().await, ["wanted"], "after a restart");
        bench.assert_healthy().await;

        bench.add(&[&unwanted]).await;
        assert_eq!(bench.titles().await, ["unwanted", "wanted"], "by hand");
        let id = bench.document(&unwanted).await.id;
        bench
            .engine
            .delete_document(&bench.scope, id)
            .await
            .unwrap();
        bench.scan().await;
        assert_eq!(bench.titles().await, ["wanted"]);
        bench.add(&[&folder]).await;
        assert_eq!(bench.titles().await, ["wanted"], "it was watched already");
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn removed_text_is_wiped() {
    run(async {
        let bench = Bench::open().await;
        let secret = ["kanarinac", "4711"].concat();
        let none: [PathBuf; 0] = [];
        let unwanted = bench.write("a.txt", &format!("Lozinka je {secret}."));
        write_more(&bench);
        bench.add(&[&bench.files()]).await;
        assert_ne!(files_holding(&bench.data(), &secret), none, "control");
        let bench = in_one_segment(bench).await;
        let id = bench.document(&unwanted).await.id;
        bench
            .engine
            .delete_document(&bench.scope, id)
            .await
            .unwrap();
        assert!(
            bench
                .search(&secret)
                .await
                .iter()
                .all(|text| !text.contains(&secret))
        );
        let bench = bench
            .restart(|data| {
                assert_eq!(files_holding(data, &secret), none);
                assert_eq!(noted_removals(data), none);
            })
            .await;
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

/// Whoever uploads what somebody else is just removing has a document with its file.
fn an_upload_survives_the_removal_of_its_bytes() {
    run(async {
        let bench = Bench::open().await;
        for round in 0..40 {
            let text = format!("Rečenica broj {round}.");
            let (engine, scope) = (&bench.engine, &bench.scope);
            let first = bench.upload("a.txt", &text).await;
            let (removed, second) = tokio::join!(
                engine.delete_document(scope, first),
                bench.upload("b.txt", &text)
            );
            removed.unwrap();
            let file = engine.document_file(scope, second).await.unwrap();
            assert!(file.path.exists(), "round {round}");
        }
        bench.engine.shutdown().await;
    });
}

fn a_removed_upload_stays_where_others_have_it() {
    run(async {
        let mut bench = Bench::open().await;
        let engine = Arc::clone(&bench.engine);
        let first = bench.scope;
        let (a, b) = (
            bench.upload("a.txt", "Isto.").await,
            bench.upload("b.txt", "Isto.").await,
        );
        let other = engine.create_workspace("Drugi", None).await.unwrap();
        bench.scope = WorkspaceScope::new(other.id);
        let c = bench.upload("a.txt", "Isto.").await;
        let file = engine.document_file(&first, a).await.unwrap().path;

        engine.delete_document(&first, a).await.unwrap();
        assert!(file.exists(), "another document of the workspace has it");
        engine.delete_document(&first, b).await.unwrap();
        assert!(!file.exists(), "nobody of the workspace has it");
        let kept = engine.document_file(&bench.scope, c).await.unwrap();
        assert!(kept.path.exists(), "another workspace has it");
        bench.idle().await;
        bench.assert_healthy().await;

        std::fs::write(&file, "Isto.").unwrap();
        let report = engine.doctor(true).await.unwrap();
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert!(!file.exists());
        engine.shutdown().await;
    });
}

fn a_failed_upload_that_is_sent_again_is_read_again() {
    run(async {
        let bench = Bench::open().await;
        let (engine, scope) = (&bench.engine, &bench.scope);
        let id = bench.upload("a.txt", "Rok je petak.").await;
        bench.idle().await;
        let blob = engine.document_file(scope, id).await.unwrap().path;
        // More than is read of any file.
        std::fs::write(&blob, "Nešto drugo. ".repeat(10_000)).unwrap();
        let damaged = std::fs::File::options().write(true).open(&blob).unwrap();
        damaged.set_len(1 << 34).unwrap();
        engine.retry_document(scope, id).await.unwrap();
        bench.idle().await;
        let status = engine.document(scope, id).await.unwrap().status;
        assert_eq!(status, DocumentStatus::Failed, "control");

        assert_eq!(bench.upload("a.txt", "Rok je petak.").await, id);
        bench.idle().await;
        let status = engine.document(scope, id).await.unwrap().status;
        assert_eq!(status, DocumentStatus::Ready);
        engine.shutdown().await;
    });
}

fn an_id_is_no_name() {
    run(async {
        let bench = Bench::open().await;
        let id = bench.scope.workspace().to_string();
        for name in [id.clone(), id.to_uppercase(), format!(" {id} ")] {
            let created = bench.engine.create_workspace(&name, None).await;
            assert_eq!(created.unwrap_err().code(), Code::BadRequest, "{name:?}");
        }
        let renamed = bench.engine.rename_workspace(&bench.scope, &id).await;
        assert_eq!(renamed.unwrap_err().code(), Code::BadRequest);
        assert_eq!(bench.engine.scope(&id).await.unwrap(), bench.scope);
        assert_eq!(bench.engine.scope("ured").await.unwrap(), bench.scope);
        bench.engine.shutdown().await;
    });
}

fn what_a_damaged_file_held_leaves_the_search() {
    run(async {
        let bench = Bench::open().await;
        let text = "Rok za žalbu je petnaest dana.";
        let file = bench.write("a.txt", text);
        bench.add(&[&file]).await;
        assert_eq!(bench.search("rok za žalbu").await, [text], "control");

        // More than is read of any file.
        std::fs::write(&file, "Nešto drugo. ".repeat(10_000)).unwrap();
        let longer = std::fs::File::options().write(true).open(&file).unwrap();
        longer.set_len(1 << 34).unwrap();
        bench.add(&[&file]).await;
        let document = bench.document(&file).await;
        assert_eq!(document.status, DocumentStatus::Failed, "{document:?}");
        assert_eq!(document.chunk_count, 0);
        assert!(bench.search("rok za žalbu").await.is_empty());
        bench.assert_healthy().await;

        std::fs::write(&file, text).unwrap();
        bench.add(&[&file]).await;
        assert_eq!(bench.search("rok za žalbu").await, [text], "it is back");
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn documents_in_trouble_are_listed_with_what_is_the_matter() {
    run(async {
        let bench = Bench::open().await;
        let croatian = "Žalba se podnosi u roku od petnaest dana; tužitelj šuti, đak uči. ";
        bench.write("good.txt", croatian);
        bench.write("empty.txt", "");
        bench.write("drawing.dwg", "AC1027");
        bench.write("report.docx", "PK\u{3}\u{4} nothing of an archive follows");
        // UTF-8 that somebody's program took for Windows-1250's bytes, and saved as what it saw.
        bench.write("twice.txt", &"Å¾alba podnoÅ¡enje Å¡uti Äak ".repeat(3));
        let old = bench.files().join("old.txt");
        // Windows-1250.
        let bytes =
            b"\x8Ealba se podnosi u roku od petnaest dana; tu\x9Eitelj \x9Auti, \xF0ak u\xE8i.";
        std::fs::write(&old, bytes).unwrap();
        bench.add(&[&bench.files()]).await;
        let mut found: Vec<(String, Option<Problem>)> = bench
            .documents()
            .await
            .into_iter()
            .map(|document| (document.title, document.problem))
            .collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        let found: Vec<(&str, Option<Problem>)> = found
            .iter()
            .map(|(title, problem)| (title.as_str(), *problem))
            .collect();
        assert_eq!(
            found,
            [
                ("drawing", Some(Problem::Unsupported)),
                ("empty", Some(Problem::Empty)),
                ("good", None),
                ("old", Some(Problem::Encoding)),
                ("report", Some(Problem::Damaged)),
                ("twice", Some(Problem::Garbled)),
            ]
        );
        let counts = bench.engine.problems(&bench.scope).await.unwrap();
        assert_eq!(counts.len(), 5, "{counts:?}");
        let searchable = counts.iter().filter(|count| count.searchable == 1);
        assert_eq!(searchable.count(), 2, "{counts:?}");
        bench.engine.shutdown().await;
    });
}

fn a_folder_in_a_removed_folder_keeps_its_documents() {
    run(async {
        let bench = Bench::open().await;
        bench.write("outer.txt", "Vani.");
        bench.write("sub/inner.txt", "Unutra.");
        let inner = bench.files().join("sub");
        bench.add(&[&bench.files()]).await;
        bench.add(&[&inner]).await;
        assert_eq!(bench.titles().await, ["inner", "outer"], "control");
        let folders = bench.engine.folders(&bench.scope).await.unwrap();
        let outer = folders
            .iter()
            .find(|folder| folder.path != inner.to_string_lossy())
            .unwrap();
        bench
            .engine
            .remove_folder(&bench.scope, outer.id)
            .await
            .unwrap();
        bench.idle().await;
        assert_eq!(bench.titles().await, ["inner"]);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

/// Files that vanish, chats and workspaces: each is off the disk while the program goes on.
fn nothing_removed_stays_in_the_database() {
    run(async {
        let bench = Bench::open().await;
        let (engine, scope) = (&bench.engine, &bench.scope);
        let in_database = |word: &str| {
            let mut found = files_holding(&bench.data(), word);
            found.retain(|path| path.to_string_lossy().contains("docent.db"));
            found
        };
        let none: [PathBuf; 0] = [];

        let file = bench.write("a.txt", "Ovdje piše kanarinac4711.");
        bench.write("b.txt", "Ništa posebno.");
        bench.add(&[&bench.files()]).await;
        assert_ne!(in_database("kanarinac4711"), none, "control");
        std::fs::remove_file(&file).unwrap();
        bench.scan().await;
        assert_eq!(in_database("kanarinac4711"), none, "a vanished file");

        let chat = engine
            .create_chat(scope, Some("češljugar4712"))
            .await
            .unwrap();
        assert_ne!(in_database("češljugar4712"), none, "control");
        engine.delete_chat(scope, chat.id).await.unwrap();
        assert_eq!(in_database("češljugar4712"), none, "a chat");

        bench.write("c.txt", "Ovdje piše zeba4713.");
        bench.scan().await;
        assert_ne!(in_database("zeba4713"), none, "control");
        engine.delete_workspace(scope).await.unwrap();
        assert_eq!(in_database("zeba4713"), none, "a workspace");
        engine.shutdown().await;
    });
}

fn a_workspace_is_deleted_while_it_is_read() {
    run(async {
        let bench = Bench::open().await;
        for index in 0..30 {
            bench.write(&format!("{index}.txt"), &format!("Dokument broj {index}."));
        }
        bench
            .engine
            .add_paths(&bench.scope, vec![bench.files()], AddedFolders::Watch)
            .await
            .unwrap();
        bench.upload("a.txt", "Učitano.").await;
        while bench.documents().await.is_empty() {
            tokio::task::yield_now().await;
        }
        bench.engine.delete_workspace(&bench.scope).await.unwrap();
        let id = bench.scope.workspace().to_string();
        assert!(!bench.data().join("indexes").join(&id).exists());
        assert!(!bench.data().join("blobs").join(&id).exists());

        // What a process that died has left of it.
        let left = bench.data().join("blobs").join(&id);
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("blob.txt"), "Učitano.").unwrap();
        let bench = bench.restart(|_| {}).await;
        while left.exists() {
            tokio::task::yield_now().await;
        }
        bench.engine.shutdown().await;
    });
}

#[cfg(unix)]
fn what_cannot_be_a_document_is_named_and_a_folder_read_once_is_not_watched() {
    use std::os::unix::ffi::OsStrExt as _;
    run(async {
        let bench = Bench::open().await;
        let files = [
            bench.write("a.txt", "Prvi."),
            bench.write("below/b.txt", "Drugi."),
        ];
        bench.write(".hidden", "Skriveno.");
        let unreadable = std::ffi::OsStr::from_bytes(b"\xff.txt");
        let unreadable = bench.files().join(unreadable);
        std::fs::write(&unreadable, "Bez imena.").unwrap();

        let added = bench
            .engine
            .add_paths(&bench.scope, vec![bench.files()], AddedFolders::Once)
            .await
            .unwrap();
        bench.idle().await;
        assert_eq!(added.skipped.len(), 1);
        assert_eq!(added.skipped[0].path, unreadable);
        assert!(bench.engine.folders(&bench.scope).await.unwrap().is_empty());
        let mut paths: Vec<_> = bench.documents().await;
        paths.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<_> = paths.iter().map(|found| Path::new(&found.path)).collect();
        assert_eq!(paths, files);

        bench.add(&[&bench.files()]).await;
        let folders = bench.engine.folders(&bench.scope).await.unwrap();
        assert_eq!(folders[0].state, FolderState::Watching);
        let reason = folders[0].reason.as_deref().unwrap_or_default();
        assert!(reason.contains("not Unicode"), "{reason}");
        bench.engine.shutdown().await;
    });
}

#[cfg(unix)]
fn all_names_of_a_vanished_file_go() {
    run(async {
        let bench = Bench::open().await;
        let first = bench.write("first.txt", "Isto pod dva imena.");
        let second = bench.files().join("second.txt");
        std::fs::hard_link(&first, &second).unwrap();
        bench.write("third.txt", "Nešto drugo.");
        bench.add(&[&bench.files()]).await;
        assert_eq!(bench.titles().await, ["first", "second", "third"]);
        std::fs::remove_file(&first).unwrap();
        std::fs::remove_file(&second).unwrap();
        bench.scan().await;
        assert_eq!(bench.titles().await, ["third"]);
        bench.engine.shutdown().await;
    });
}

#[cfg(unix)]
fn a_file_moves_to_where_another_document_is() {
    run(async {
        let bench = Bench::open().await;
        let (a, c) = (bench.write("a.txt", "Prva."), bench.files().join("c.txt"));
        bench.add(&[&a]).await;
        let by_hand = bench.document(&a).await.id;
        bench.write("c.txt", "Treća.");
        bench.add(&[&bench.files()]).await;
        assert_eq!(bench.titles().await, ["a", "c"], "control");

        std::fs::rename(&c, &a).unwrap();
        bench.scan().await;
        assert_eq!(bench.titles().await, ["a"]);
        assert_eq!(bench.document(&a).await.id, by_hand);
        assert_eq!(bench.search("treća").await, ["Treća."]);
        assert!(!bench.search("prva").await.contains(&"Prva.".to_owned()));

        // A folder in a watched folder that is watched itself sees what comes into it first.
        bench.write("below/b.txt", "Druga.");
        bench.add(&[&bench.files().join("below")]).await;
        let moved = bench.write("d.txt", "Četvrta.");
        bench.scan().await;
        std::fs::rename(&moved, bench.files().join("below/d.txt")).unwrap();
        let folders = bench.engine.folders(&bench.scope).await.unwrap();
        let below = folders.iter().find(|folder| folder.path.ends_with("below"));
        let below = below.unwrap().id;
        bench.engine.scan_folder(&bench.scope, below).await.unwrap();
        bench.idle().await;
        bench.scan().await;
        assert_eq!(bench.titles().await, ["a", "b", "d"]);
        bench.write("new.txt", "Peta.");
        bench.scan().await;
        assert_eq!(bench.titles().await, ["a", "b", "d", "new"], "it goes on");
        let jobs = bench
            .engine
            .jobs(&bench.scope, JobFilter::default())
            .await
            .unwrap();
        assert_eq!((jobs.counts.running, jobs.counts.dead), (0, 0));
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

#[cfg(unix)]
fn the_data_folder_behind_a_link_is_not_watched() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (data, link) = (folder.path().join("data"), folder.path().join("link"));
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, &link).unwrap();
        let mut options = EngineOptions::new(&link, folder.path().join("models"));
        options.models = ModelSource::Fakes;
        let engine = Engine::open(options).await.unwrap();
        let created = engine.create_workspace("Ured", None).await.unwrap();
        let scope = WorkspaceScope::new(created.id);
        for path in [&data, &link, &data.join("blobs")] {
            let added = engine.add_folder(&scope, path).await;
            assert_eq!(added.unwrap_err().code(), Code::Conflict);
        }
        engine.shutdown().await;
    });
}

fn a_file_written_while_it_is_read_is_read_again() {
    run(async {
        let bench = Bench::open().await;
        let file = bench.write("a.txt", "Prva rečenica.\n");
        let newer = bench.write("newer", "Druga rečenica.\n");
        let_worker_replace(&file, &newer);
        bench.add(&[&file]).await;
        let document = bench.document(&file).await;
        let now = std::fs::read(&file).unwrap();
        assert!(!newer.exists(), "control: it was replaced");
        assert_eq!(
            document.content_hash.unwrap().to_string(),
            blake3::hash(&now).to_hex().to_string(),
            "what is indexed is the file as it is, under its hash"
        );
        let text = bench
            .engine
            .document_text(&bench.scope, document.id)
            .await
            .unwrap();
        assert_eq!(text.text.trim().as_bytes(), now.trim_ascii());
        let jobs = bench
            .engine
            .jobs(&bench.scope, JobFilter::default())
            .await
            .unwrap();
        let read = jobs
            .items
            .iter()
            .find(|listed| matches!(listed.job.kind, docent_domain::JobKind::Read { .. }));
        let read = &read.unwrap().job;
        assert_eq!(
            read.attempts, 1,
            "what others do to a file costs no attempt"
        );
        assert_eq!(read.fence, 2, "control: it was read twice");
        bench.engine.shutdown().await;
    });
}

fn waiting_ends_when_a_model_is_missing() {
    run(async {
        let bench = Bench::with(ModelSource::Installed).await;
        bench.write("a.txt", "Prva.");
        bench.write("below/b.txt", "Druga.");
        bench
            .engine
            .add_paths(&bench.scope, vec![bench.files()], AddedFolders::Watch)
            .await
            .unwrap();
        let ended = bench.engine.wait_idle(&bench.scope, |_| {}).await;
        let error = ended.expect_err("there is no embedder");
        assert_eq!(error.code(), Code::ModelMissing);
        assert!(error.message().starts_with("2 documents "), "{error}");
        let folders = bench.engine.folders(&bench.scope).await.unwrap();
        assert!(
            folders[0].last_scan_at.is_some() && bench.documents().await.len() == 2,
            "looking for files needs no model"
        );
        bench.engine.shutdown().await;
    });
}

#[cfg(unix)]
fn a_link_is_the_file_it_leads_to() {
    run(async {
        let bench = Bench::open().await;
        let file = bench.write("real/a.txt", "Prva.");
        let (link, folder) = (bench.files().join("link.txt"), bench.files().join("linked"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::os::unix::fs::symlink(bench.files().join("real"), &folder).unwrap();
        bench.add(&[&link]).await;
        bench.add(&[&file, &folder.join("a.txt")]).await;
        let documents = bench.documents().await;
        assert_eq!(documents.len(), 1, "{documents:?}");
        assert_eq!(documents[0].path, file.to_string_lossy());
        bench.engine.shutdown().await;
    });
}
