//! Watched folders as true mirrors: whatever happens to files, the index holds what the disk does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use docent_domain::{
    ChunkKey, DocumentStatus, Folder, FolderId, FolderPatterns, FolderState, Origin,
};
use docent_engine::{Code, JobFilter};

use crate::Test;
use crate::support::{Bench, run};

pub const TESTS: &[Test] = &[
    ("patterns_choose_what_is_read", patterns_choose_what_is_read),
    (
        "what_an_outer_folder_leaves_out_an_inner_one_may_want",
        what_an_outer_folder_leaves_out_an_inner_one_may_want,
    ),
    (
        "folders_that_overlap_have_what_one_of_them_wants",
        folders_that_overlap_have_what_one_of_them_wants,
    ),
    (
        "a_folder_that_goes_leaves_what_another_one_wants",
        a_folder_that_goes_leaves_what_another_one_wants,
    ),
    (
        "another_name_of_the_same_format_costs_no_embedding",
        another_name_of_the_same_format_costs_no_embedding,
    ),
    (
        "moved_files_are_not_read_again",
        moved_files_are_not_read_again,
    ),
    (
        "a_moved_file_is_found_by_its_new_name",
        a_moved_file_is_found_by_its_new_name,
    ),
    (
        "files_move_between_folders_without_being_embedded",
        files_move_between_folders_without_being_embedded,
    ),
    (
        "a_file_is_read_once_when_it_is_whole",
        a_file_is_read_once_when_it_is_whole,
    ),
    (
        "a_file_that_never_rests_is_read_as_it_is",
        a_file_that_never_rests_is_read_as_it_is,
    ),
    (
        "a_file_that_never_rests_is_not_waited_for",
        a_file_that_never_rests_is_not_waited_for,
    ),
    (
        "a_file_added_by_hand_stays_when_it_is_deleted",
        a_file_added_by_hand_stays_when_it_is_deleted,
    ),
    (
        "what_was_removed_stays_away_under_another_name",
        what_was_removed_stays_away_under_another_name,
    ),
    ("a_half_empty_folder_asks", a_half_empty_folder_asks),
    (
        "a_consent_outlasts_the_process_and_goes_no_further",
        a_consent_outlasts_the_process_and_goes_no_further,
    ),
    (
        "a_thousand_random_changes_are_followed",
        a_thousand_random_changes_are_followed,
    ),
    #[cfg(target_os = "linux")]
    (
        "an_overflowing_event_queue_loses_nothing",
        an_overflowing_event_queue_loses_nothing,
    ),
];

fn patterns(include: &[&str], exclude: &[&str]) -> FolderPatterns {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    FolderPatterns {
        include: owned(include),
        exclude: owned(exclude),
    }
}

async fn the_folder(bench: &Bench) -> Folder {
    let mut folders = bench.engine.folders(&bench.scope).await.unwrap();
    assert_eq!(folders.len(), 1);
    folders.remove(0)
}

async fn set_patterns(bench: &Bench, id: FolderId, patterns: &FolderPatterns) {
    bench
        .engine
        .set_folder_patterns(&bench.scope, id, patterns)
        .await
        .unwrap();
    bench.idle().await;
}

/// The paths of all documents, relative to the files' folder.
async fn names(bench: &Bench) -> Vec<String> {
    let root = bench.files();
    let mut names: Vec<String> = bench
        .documents()
        .await
        .iter()
        .map(|document| relative(&root, Path::new(&document.path)))
        .collect();
    names.sort();
    names
}

fn relative(root: &Path, path: &Path) -> String {
    let name = path.strip_prefix(root).unwrap();
    name.to_string_lossy().replace('\\', "/")
}

fn patterns_choose_what_is_read() {
    run(async {
        let bench = Bench::open().await;
        for n in 0..6 {
            bench.write(&format!("logs/{n}.log"), &format!("Zapis broj {n}."));
        }
        bench.write("a.md", "Prva bilješka.");
        bench.write("b.txt", "Drugi tekst.");
        bench.add(&[&bench.files()]).await;
        assert_eq!(names(&bench).await.len(), 8, "control");
        let folder = the_folder(&bench).await;

        let bad = patterns(&["*.md"], &["ok", "[z-a]"]);
        let refused = bench
            .engine
            .set_folder_patterns(&bench.scope, folder.id, &bad)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::BadRequest);
        assert!(refused.message().contains("[z-a]"), "{refused}");

        // More than half of it: the user asked for it.
        set_patterns(&bench, folder.id, &patterns(&[], &["logs/"])).await;
        assert_eq!(names(&bench).await, ["a.md", "b.txt"]);
        let now = the_folder(&bench).await;
        assert_eq!(now.state, FolderState::Watching, "{:?}", now.reason);
        let seen = now.last_scan.unwrap();
        assert_eq!((seen.files, seen.excluded), (2, 1));
        assert!(
            bench
                .search("zapis")
                .await
                .iter()
                .all(|text| !text.contains("Zapis"))
        );

        set_patterns(
            &bench,
            folder.id,
            &patterns(&["*.md", "/logs/"], &["0.log"]),
        )
        .await;
        let wanted = [
            "a.md",
            "logs/1.log",
            "logs/2.log",
            "logs/3.log",
            "logs/4.log",
            "logs/5.log",
        ];
        assert_eq!(names(&bench).await, wanted);
        let bench = bench.restart(|_| {}).await;
        bench.idle().await;
        assert_eq!(names(&bench).await, wanted, "after a restart");
        set_patterns(&bench, folder.id, &patterns(&[], &[])).await;
        assert_eq!(names(&bench).await.len(), 8);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn what_an_outer_folder_leaves_out_an_inner_one_may_want() {
    run(async {
        let bench = Bench::open().await;
        bench.write("a.txt", "Vani.");
        bench.write("in/b.txt", "Unutra.");
        bench.add(&[&bench.files()]).await;
        bench.add(&[&bench.files().join("in")]).await;
        let folders = bench.engine.folders(&bench.scope).await.unwrap();
        let outer = folders.iter().find(|folder| !folder.path.ends_with("in"));
        set_patterns(&bench, outer.unwrap().id, &patterns(&[], &["/in/"])).await;
        assert_eq!(names(&bench).await, ["a.txt", "in/b.txt"]);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn folders_that_overlap_have_what_one_of_them_wants() {
    run(async {
        let bench = Bench::open().await;
        let inner = bench.files().join("in");
        for (name, text) in [
            ("a.log", "Vani."),
            ("in/b.log", "Unutra."),
            ("in/c.txt", "I ovo."),
        ] {
            bench.write(name, text);
        }
        // Its patterns are relative to itself, and nobody else's.
        bench.add(&[&inner]).await;
        let id = the_folder(&bench).await.id;
        set_patterns(&bench, id, &patterns(&["/*.log"], &[])).await;
        assert_eq!(names(&bench).await, ["in/b.log"]);
        bench.add(&[&bench.files()]).await;
        let all = ["a.log", "in/b.log", "in/c.txt"];
        assert_eq!(names(&bench).await, all, "the outer one wants them");
        set_patterns(&bench, id, &patterns(&[], &["*.log"])).await;
        assert_eq!(names(&bench).await, all, "still");
        let ids = async || {
            let documents = bench.documents().await;
            let mut ids: Vec<_> = documents.iter().map(|document| document.id).collect();
            ids.sort();
            ids
        };
        let before = ids().await;
        bench.scan().await;
        bench.scan().await;
        assert_eq!(ids().await, before, "they do not take turns at it");
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn a_folder_that_goes_leaves_what_another_one_wants() {
    run(async {
        let bench = Bench::open().await;
        for (name, text) in [
            ("a.txt", "Vani."),
            ("in/b.txt", "Unutra."),
            ("in/c.log", "Nitko drugi to ne želi."),
            ("in/node_modules/d.txt", "Ni ovo."),
        ] {
            bench.write(name, text);
        }
        let (root, inner) = (bench.files(), bench.files().join("in"));
        bench.add(&[&inner]).await;
        bench.add(&[&inner.join("node_modules")]).await;
        bench.add(&[&root]).await;
        let folders = bench.engine.folders(&bench.scope).await.unwrap();
        let id_of = |path: &Path| {
            let found = folders.iter().find(|found| Path::new(&found.path) == path);
            found.unwrap().id
        };
        set_patterns(&bench, id_of(&root), &patterns(&[], &["*.log"])).await;
        let all = ["a.txt", "in/b.txt", "in/c.log", "in/node_modules/d.txt"];
        assert_eq!(names(&bench).await, all, "control");
        let (kept, embedded) = (
            bench.document(&inner.join("b.txt")).await.id,
            bench.engine.embedded(),
        );
        for folder in [&inner, &inner.join("node_modules")] {
            let id = id_of(folder);
            bench.engine.remove_folder(&bench.scope, id).await.unwrap();
        }
        // At once, and after the other one has been scanned.
        assert_eq!(names(&bench).await, ["a.txt", "in/b.txt"]);
        bench.idle().await;
        assert_eq!(names(&bench).await, ["a.txt", "in/b.txt"]);
        let document = bench.document(&inner.join("b.txt")).await;
        assert_eq!(
            (document.id, document.folder_id),
            (kept, Some(id_of(&root)))
        );
        assert_eq!(bench.engine.embedded(), embedded);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn another_name_of_the_same_format_costs_no_embedding() {
    run(async {
        let bench = Bench::open().await;
        let root = bench.files();
        bench.write("page.htm", "<p>Prva stranica.</p>");
        bench.write("notes.txt", "# Naslov\n\nDrugi tekst.\n");
        bench.add(&[&root]).await;
        let id = bench.document(&root.join("page.htm")).await.id;
        assert_eq!(bench.engine.embedded(), 2, "control");
        fs::rename(root.join("page.htm"), root.join("page.html")).unwrap();
        bench.scan().await;
        let page = bench.document(&root.join("page.html")).await;
        assert_eq!((page.id, page.status), (id, DocumentStatus::Ready));
        assert_eq!(bench.engine.embedded(), 2);
        // As Markdown, the same bytes are another text.
        fs::rename(root.join("notes.txt"), root.join("notes.md")).unwrap();
        bench.scan().await;
        let notes = bench.document(&root.join("notes.md")).await;
        assert_eq!(notes.format, Some(docent_domain::Format::Markdown));
        assert_eq!(
            (notes.status, notes.title.as_str()),
            (DocumentStatus::Ready, "Naslov")
        );
        assert_eq!(bench.engine.embedded(), 3);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn moved_files_are_not_read_again() {
    run(async {
        let bench = Bench::open().await;
        let (a, b) = (
            bench.write("a.txt", "Prvi tekst."),
            bench.write("b.txt", "Drugi tekst."),
        );
        bench.write("dir/c.txt", "Treći tekst.");
        bench.write("dir/deep/d.txt", "Četvrti tekst.");
        bench.add(&[&bench.files()]).await;
        let root = bench.files();
        let (id_a, id_b) = (bench.document(&a).await.id, bench.document(&b).await.id);
        let before = bench.engine.embedded();
        assert_eq!(before, 4, "control");

        fs::rename(root.join("dir"), root.join("moved")).unwrap();
        bench.scan().await;
        assert_eq!(
            names(&bench).await,
            ["a.txt", "b.txt", "moved/c.txt", "moved/deep/d.txt"]
        );

        // They change places.
        fs::rename(&a, root.join("t")).unwrap();
        fs::rename(&b, &a).unwrap();
        fs::rename(root.join("t"), &b).unwrap();
        bench.scan().await;
        assert_eq!(bench.document(&a).await.id, id_b);
        assert_eq!(bench.document(&b).await.id, id_a);

        assert_eq!(bench.engine.embedded(), before);

        // As across disks, or restored from a backup: another file of the same content.
        let bench = bench
            .restart(|_| {
                fs::copy(&a, root.join("copy.txt")).unwrap();
                fs::remove_file(&a).unwrap();
            })
            .await;
        bench.scan().await;
        assert_eq!(bench.document(&root.join("copy.txt")).await.id, id_b);
        assert_eq!(bench.engine.embedded(), 0);

        // A log is rotated: its name goes to a new file.
        fs::rename(&b, root.join("b.1.txt")).unwrap();
        bench.write("b.txt", "Nešto posve novo.");
        bench.scan().await;
        assert_eq!(bench.document(&root.join("b.1.txt")).await.id, id_a);
        assert_eq!(bench.engine.embedded(), 1, "the new file alone");

        // One known file replaces another, which stays the same document.
        let there = bench.document(&b).await.id;
        fs::rename(root.join("copy.txt"), &b).unwrap();
        bench.scan().await;
        assert_eq!(bench.document(&b).await.id, there);
        assert_eq!(bench.search("drugi tekst").await[0], "Drugi tekst.");
        assert!(
            !bench
                .search("nešto posve novo")
                .await
                .contains(&"Nešto posve novo.".to_owned())
        );
        // Saved by writing another file and renaming it, with nothing changed.
        fs::copy(&b, root.join(".b.new")).unwrap();
        fs::rename(root.join(".b.new"), &b).unwrap();
        bench.scan().await;
        assert_eq!(bench.engine.embedded(), 1);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn a_moved_file_is_found_by_its_new_name() {
    run(async {
        let bench = Bench::open().await;
        bench.write("zagrebulja.txt", "Sadržaj bez naslova.");
        for n in 0..15 {
            bench.write(
                &format!("drugo/{n}.txt"),
                &format!("Nešto drugo, broj {n}."),
            );
        }
        bench.add(&[&bench.files()]).await;
        let words = async |bench: &Bench, question: &str| {
            let index = bench.engine.index(&bench.scope).await.unwrap();
            index.search_words(question, 5, None).unwrap()
        };
        let key = words(&bench, "zagrebulja").await[0].key;
        let root = bench.files();
        let bench = bench
            .restart(|_| {
                fs::rename(root.join("zagrebulja.txt"), root.join("vukovarac.txt")).unwrap();
            })
            .await;
        bench.scan().await;
        let hits = words(&bench, "vukovarac").await;
        assert_eq!(
            hits.first().map(|hit| hit.key),
            Some(key),
            "the chunk is the same"
        );
        assert!(words(&bench, "zagrebulja").await.is_empty());
        assert_eq!(bench.engine.embedded(), 0);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn files_move_between_folders_without_being_embedded() {
    run(async {
        let bench = Bench::open().await;
        let root = bench.files();
        // Scans are claimed in the order of the folders' adding: the first sees what is gone first.
        for (n, text) in ["Prvi.", "Drugi.", "Treći."].iter().enumerate() {
            bench.write(&format!("a/{n}.txt"), text);
        }
        bench.write("b/x.txt", "Četvrti.");
        bench.add(&[&root.join("a")]).await;
        bench.add(&[&root.join("b")]).await;
        let id = bench.document(&root.join("a/0.txt")).await.id;
        let other = bench.document(&root.join("b/x.txt")).await.id;
        let bench = bench
            .restart(|_| {
                fs::rename(root.join("a/0.txt"), root.join("b/0.txt")).unwrap();
                fs::copy(root.join("a/1.txt"), root.join("b/1.txt")).unwrap();
                fs::remove_file(root.join("a/1.txt")).unwrap();
                fs::rename(root.join("b/x.txt"), root.join("a/x.txt")).unwrap();
            })
            .await;
        bench.scan().await;
        assert_eq!(
            names(&bench).await,
            ["a/2.txt", "a/x.txt", "b/0.txt", "b/1.txt"]
        );
        assert_eq!(bench.document(&root.join("b/0.txt")).await.id, id);
        assert_eq!(bench.document(&root.join("a/x.txt")).await.id, other);
        assert_eq!(bench.engine.embedded(), 0);
        bench.assert_healthy().await;

        // Each belongs to the folder it is in now.
        let folders = bench.engine.folders(&bench.scope).await.unwrap();
        let a = folders
            .iter()
            .find(|folder| folder.path.ends_with('a'))
            .unwrap();
        bench
            .engine
            .remove_folder(&bench.scope, a.id)
            .await
            .unwrap();
        assert_eq!(names(&bench).await, ["b/0.txt", "b/1.txt"]);
        bench.engine.shutdown().await;
    });
}

/// Long ago on every clock.
fn make_old(path: &Path) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000))
        .unwrap();
}

fn a_file_is_read_once_when_it_is_whole() {
    run(async {
        // What was written in this century is fresh.
        let bench = Bench::configured(|config| {
            config.quiet_seconds = 1_000_000_000;
            config.restless_seconds = 1_000_000_000;
        })
        .await;
        let file = bench.write("a.txt", "Prva ");
        let added = vec![bench.files()];
        bench
            .engine
            .add_paths(&bench.scope, added, docent_engine::AddedFolders::Watch)
            .await
            .unwrap();
        for piece in ["rečenica, ", "koja ", "stiže u dijelovima."] {
            // Nobody waits until it is read, but it is known, and looked at when the user asks.
            while bench.documents().await.is_empty() {
                tokio::task::yield_now().await;
            }
            let document = bench.document(&file).await;
            bench
                .engine
                .retry_document(&bench.scope, document.id)
                .await
                .unwrap();
            loop {
                let document = bench.document(&file).await;
                if document
                    .reason
                    .is_some_and(|reason| reason.contains("being written"))
                {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let text = fs::read_to_string(&file).unwrap() + piece;
            fs::write(&file, text).unwrap();
        }
        let jobs = bench
            .engine
            .jobs(&bench.scope, JobFilter::default())
            .await
            .unwrap();
        let read = jobs
            .items
            .iter()
            .find(|listed| matches!(listed.job.kind, docent_domain::JobKind::Read { .. }));
        assert!(read.unwrap().job.attempts <= 1, "waiting costs no attempt");
        make_old(&file);
        bench.scan().await;
        let document = bench.document(&file).await;
        assert_eq!(document.status, DocumentStatus::Ready);
        assert_eq!(document.reason, None);
        let chunks = bench
            .engine
            .document_chunks(&bench.scope, document.id)
            .await
            .unwrap();
        assert_eq!(chunks.len(), 1);
        assert_eq!(
            chunks[0].content.text,
            "Prva rečenica, koja stiže u dijelovima."
        );
        assert_eq!(chunks[0].key, ChunkKey(0), "no other version was ever read");
        bench.engine.shutdown().await;
    });
}

fn a_file_that_never_rests_is_read_as_it_is() {
    run(async {
        let bench = Bench::configured(|config| {
            config.quiet_seconds = 1_000_000_000;
            config.restless_seconds = 0;
        })
        .await;
        let file = bench.write("a.log", "Zapis do sada.");
        bench.add(&[&file]).await;
        assert_eq!(bench.document(&file).await.status, DocumentStatus::Ready);
        bench.engine.shutdown().await;
    });
}

fn a_file_that_never_rests_is_not_waited_for() {
    run(async {
        // What was written in this century is fresh, and read as it is.
        let bench = Bench::configured(|config| {
            config.quiet_seconds = 1_000_000_000;
            config.restless_seconds = 0;
        })
        .await;
        let log = bench.write("a.log", "Zapis do sada.");
        let still = bench.write("b.txt", "Nešto drugo.");
        make_old(&still);
        let is_over = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (is_over, log) = (Arc::clone(&is_over), log.clone());
            move || {
                let mut file = fs::OpenOptions::new().append(true).open(log).unwrap();
                while !is_over.load(Ordering::SeqCst) {
                    writeln!(file, "Još jedan zapis.").unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let added = vec![bench.files()];
        let engine = &bench.engine;
        engine
            .add_paths(&bench.scope, added, docent_engine::AddedFolders::Watch)
            .await
            .unwrap();
        let waited = engine.wait_idle(&bench.scope, |_| {});
        let waited = tokio::time::timeout(Duration::from_mins(2), waited).await;
        is_over.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        let changing = waited.expect("it ends").unwrap();
        assert_eq!(changing, [bench.document(&log).await.id].into());
        let document = bench.document(&still).await;
        assert_eq!(document.status, DocumentStatus::Ready, "what rests is read");
        bench.engine.shutdown().await;
    });
}

fn a_file_added_by_hand_stays_when_it_is_deleted() {
    run(async {
        let bench = Bench::open().await;
        let hand = bench.write("hand.txt", "Dodano rukom.");
        for n in 0..3 {
            bench.write(&format!("{n}.txt"), &format!("Iz mape, broj {n}."));
        }
        bench.add(&[&hand]).await;
        bench.add(&[&bench.files()]).await;
        let before = bench.document(&hand).await;
        let text = fs::read_to_string(&hand).unwrap();
        fs::remove_file(&hand).unwrap();
        bench.scan().await;
        let gone = bench.document(&hand).await;
        assert_eq!((gone.status, gone.id), (DocumentStatus::Failed, before.id));
        assert!(gone.reason.unwrap().contains("not there any more"));
        assert_eq!(gone.chunk_count, 1);
        bench.scan().await;
        assert_eq!(bench.document(&hand).await.status, DocumentStatus::Failed);

        fs::write(&hand, text).unwrap();
        bench.scan().await;
        let back = bench.document(&hand).await;
        assert_eq!((back.status, back.id), (DocumentStatus::Ready, before.id));
        assert_eq!(back.reason, None);

        // It follows its file, and outlives the folder.
        let moved = bench.files().join("moved.txt");
        fs::rename(&hand, &moved).unwrap();
        bench.scan().await;
        let document = bench.document(&moved).await;
        assert_eq!((document.id, document.origin), (before.id, Origin::File));
        assert_eq!(bench.engine.embedded(), 4);
        let folder = the_folder(&bench).await.id;
        set_patterns(&bench, folder, &patterns(&[], &["moved.txt"])).await;
        assert_eq!(names(&bench).await.len(), 4, "excluded, but added by hand");
        bench
            .engine
            .remove_folder(&bench.scope, folder)
            .await
            .unwrap();
        assert_eq!(names(&bench).await, ["moved.txt"]);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn a_consent_outlasts_the_process_and_goes_no_further() {
    run(async {
        let bench = Bench::open().await;
        for n in 0..20 {
            bench.write(&format!("{n}.txt"), &format!("Tekst broj {n}."));
        }
        bench.add(&[&bench.files()]).await;
        let root = bench.files();
        let remove = |range: std::ops::Range<u32>| {
            for n in range {
                fs::remove_file(root.join(format!("{n}.txt"))).unwrap();
            }
        };
        let id = the_folder(&bench).await.id;
        let state = async |bench: &Bench| {
            let folder = the_folder(bench).await;
            (folder.state, names(bench).await.len())
        };
        remove(0..11);
        bench.scan().await;
        assert_eq!(state(&bench).await, (FolderState::Paused, 20));

        // The process ends before the scan that was to carry it out.
        bench.engine.pause_work(&bench.scope).await.unwrap();
        bench.engine.resume_folder(&bench.scope, id).await.unwrap();
        let bench = bench.restart(|_| remove(11..19)).await;
        bench.engine.resume_work(&bench.scope).await.unwrap();
        bench.idle().await;
        assert_eq!(
            state(&bench).await,
            (FolderState::Paused, 20),
            "nobody has consented to as much as that"
        );
        bench.engine.pause_work(&bench.scope).await.unwrap();
        bench.engine.resume_folder(&bench.scope, id).await.unwrap();
        let bench = bench.restart(|_| {}).await;
        bench.engine.resume_work(&bench.scope).await.unwrap();
        bench.idle().await;
        assert_eq!(
            state(&bench).await,
            (FolderState::Watching, 1),
            "it is not asked again"
        );

        // Used up.
        for n in 0..19 {
            bench.write(&format!("{n}.txt"), &format!("Tekst broj {n}."));
        }
        bench.scan().await;
        remove(0..19);
        bench.scan().await;
        assert_eq!(state(&bench).await, (FolderState::Paused, 20));
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn what_was_removed_stays_away_under_another_name() {
    run(async {
        let bench = Bench::open().await;
        let root = bench.files();
        let path = |name: &str| root.join(name);
        let remove = async |bench: &Bench, name: &str| {
            let id = bench.document(&path(name)).await.id;
            bench
                .engine
                .delete_document(&bench.scope, id)
                .await
                .unwrap();
        };
        let copy = |from: &str, to: &str| {
            fs::copy(path(from), path(to)).unwrap();
        };
        for (name, text) in [
            ("a.txt", "Prvi tekst."),
            ("b.txt", "Drugi tekst."),
            ("c.txt", "Treći tekst."),
            ("d.txt", "Četvrti tekst."),
            ("e.txt", "Peti tekst."),
            ("e-twin.txt", "Peti tekst."),
        ] {
            bench.write(name, text);
        }
        bench.add(&[&root]).await;
        for name in ["a.txt", "b.txt", "c.txt", "d.txt", "e.txt"] {
            remove(&bench, name).await;
        }
        assert_eq!(names(&bench).await, ["e-twin.txt"], "control");
        bench.write("d.txt", "Četvrti tekst, promijenjen.");
        bench.scan().await;

        let bench = bench
            .restart(|_| {
                // Renamed; moved as across disks; copied beside it; edited before it is renamed.
                fs::rename(path("a.txt"), path("a-1.txt")).unwrap();
                copy("b.txt", "b-1.txt");
                fs::remove_file(path("b.txt")).unwrap();
                copy("c.txt", "c-1.txt");
                fs::rename(path("d.txt"), path("d-1.txt")).unwrap();
                // A copy of what is wanted, although its twin was removed, and is gone.
                fs::remove_file(path("e.txt")).unwrap();
                copy("e-twin.txt", "e-1.txt");
            })
            .await;
        bench.scan().await;
        let wanted = ["c-1.txt", "e-1.txt", "e-twin.txt"];
        assert_eq!(names(&bench).await, wanted);
        let seen = the_folder(&bench).await.last_scan.unwrap();
        assert_eq!((seen.files, seen.removed), (3, 4), "a-1, b-1, c and d-1");
        // Again and again, and another file under the old name too.
        let bench = bench
            .restart(|_| {
                fs::rename(path("a-1.txt"), path("a-2.txt")).unwrap();
                fs::rename(path("b-1.txt"), path("b-2.txt")).unwrap();
                fs::write(path("a.txt"), "Nešto novo.").unwrap();
            })
            .await;
        bench.scan().await;
        assert_eq!(names(&bench).await, wanted);

        // What the user adds by hand is wanted under all of its names.
        bench.add(&[&path("a-2.txt")]).await;
        fs::rename(path("a-2.txt"), path("a-1.txt")).unwrap();
        bench.scan().await;
        assert_eq!(
            names(&bench).await,
            ["a-1.txt", "c-1.txt", "e-1.txt", "e-twin.txt"]
        );
        bench.add(&[&root]).await;
        let wanted = ["a-1.txt", "c-1.txt", "e-1.txt", "e-twin.txt"];
        assert_eq!(names(&bench).await, wanted, "it was watched already");
        let id = the_folder(&bench).await.id;
        bench.engine.remove_folder(&bench.scope, id).await.unwrap();
        bench.add(&[&root]).await;
        assert_eq!(names(&bench).await.len(), 8, "the folder is new");
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

fn a_half_empty_folder_asks() {
    run(async {
        let bench = Bench::open().await;
        for n in 0..10 {
            bench.write(&format!("{n}.txt"), &format!("Tekst broj {n}."));
        }
        bench.write("out/x.txt", "Izostavljeno.");
        bench.add(&[&bench.files()]).await;
        for n in 0..6 {
            fs::remove_file(bench.files().join(format!("{n}.txt"))).unwrap();
        }
        let id = the_folder(&bench).await.id;
        set_patterns(&bench, id, &patterns(&[], &["out/"])).await;
        let folder = the_folder(&bench).await;
        assert_eq!(folder.state, FolderState::Paused);
        assert!(folder.reason.unwrap().contains("6 of 10 files"));
        assert_eq!(names(&bench).await.len(), 10, "what was left out is gone");
        bench.engine.resume_folder(&bench.scope, id).await.unwrap();
        bench.idle().await;
        assert_eq!(names(&bench).await.len(), 4);
        assert_eq!(the_folder(&bench).await.state, FolderState::Watching);
        bench.assert_healthy().await;
        bench.engine.shutdown().await;
    });
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn one_of<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        (!items.is_empty()).then(|| items[self.below(items.len())].clone())
    }
}

const DIRS: &[&str] = &["", "a", "a/deep", "b", "skip", "b/skip"];
const ENDINGS: &[&str] = &["txt", "log", "tex"];
/// Include and exclude patterns, and the same said by hand.
const PATTERNS: &[(&[&str], &[&str])] = &[
    (&[], &[]),
    (&[], &["skip/"]),
    (&[], &["*.log", "/a/deep/"]),
    (&["*.txt", "/b/"], &[]),
    (&["*.tex", "*.txt"], &["skip/"]),
];

fn is_wanted(pattern: usize, name: &str) -> bool {
    let (parent, _) = name.rsplit_once('/').unwrap_or(("", name));
    let below = |folder: &str| parent == folder || parent.starts_with(&format!("{folder}/"));
    let in_skip = parent.split('/').any(|part| part == "skip");
    let ends = |ending: &str| name.ends_with(ending);
    match pattern {
        0 => true,
        1 => !in_skip,
        2 => !ends(".log") && !below("a/deep"),
        3 => ends(".txt") || below("b"),
        4 => (ends(".tex") || ends(".txt")) && !in_skip,
        _ => unreachable!(),
    }
}

/// The regular files below a folder: name and content, `None` where it may not be read.
fn on_disk(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    fn visit(root: &Path, folder: &Path, found: &mut BTreeMap<String, Option<Vec<u8>>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                visit(root, &entry.path(), found);
            } else {
                found.insert(relative(root, &entry.path()), fs::read(entry.path()).ok());
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found
}

struct World {
    random: Random,
    root: PathBuf,
    /// Counts contents, so that none comes twice.
    written: usize,
    pattern: usize,
    /// What each document added by hand is called now.
    by_hand: BTreeSet<String>,
    /// Contents that came with this batch, and may have to be embedded.
    fresh: BTreeSet<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    All,
    /// Nothing but moves.
    Moves,
}

impl World {
    fn files(&self) -> Vec<String> {
        on_disk(&self.root).into_keys().collect()
    }

    fn folders(&self) -> Vec<String> {
        DIRS.iter()
            .filter(|dir| !dir.is_empty() && self.root.join(dir).is_dir())
            .map(ToString::to_string)
            .collect()
    }

    fn content(&mut self) -> Vec<u8> {
        self.written += 1;
        // Sizes repeat, so that contents are compared.
        let text = format!("Sadržaj s oznakom q{:06} u rečenici.", self.written);
        self.fresh.insert(text.clone().into_bytes());
        text.into_bytes()
    }

    fn free_name(&mut self) -> String {
        loop {
            let dir = DIRS[self.random.below(DIRS.len())];
            let ending = ENDINGS[self.random.below(ENDINGS.len())];
            let name = format!("f{}.{ending}", self.random.below(400));
            let name = if dir.is_empty() {
                name
            } else {
                format!("{dir}/{name}")
            };
            if !self.root.join(&name).exists() && !self.by_hand.contains(&name) {
                fs::create_dir_all(self.root.join(&name).parent().unwrap()).unwrap();
                return name;
            }
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Documents added by hand are moved and changed, but no other file takes their place.
    fn target(&mut self, files: &[String]) -> Option<String> {
        let free: Vec<String> = files
            .iter()
            .filter(|name| !self.by_hand.contains(*name))
            .cloned()
            .collect();
        self.random.one_of(&free)
    }

    /// `None` when there is nothing to do it to.
    fn change(&mut self, kinds: Kinds) -> Option<&'static str> {
        let files = self.files();
        let kind = match kinds {
            Kinds::All => self.random.below(13),
            Kinds::Moves => 20 + self.random.below(2),
        };
        let any = self.target(&files);
        Some(match kind {
            0 | 1 => {
                let (name, content) = (self.free_name(), self.content());
                fs::write(self.at(&name), content).unwrap();
                "create"
            }
            2 => {
                let content = self.content();
                fs::write(self.at(&any?), content).unwrap();
                "write"
            }
            3 | 4 | 20 => {
                let from = any?;
                // Another extension is another way of reading, which embeds.
                let to = loop {
                    let to = self.free_name();
                    if to.ends_with(&from[from.len() - 4..]) {
                        break to;
                    }
                };
                fs::rename(self.at(&from), self.at(&to)).unwrap();
                "move file"
            }
            5 => {
                let content = self.content();
                let new = self.at(".new");
                fs::write(&new, content).unwrap();
                fs::rename(new, self.at(&any?)).unwrap();
                "replace by rename"
            }
            6 => {
                let (from, to) = (any?, self.target(&files)?);
                self.fresh.insert(fs::read(self.at(&from)).ok()?);
                fs::rename(self.at(&from), self.at(&to)).unwrap();
                "move over another"
            }
            7 | 21 => {
                let from = self.random.one_of(&self.folders())?;
                let to = format!("m{}", self.random.below(1000));
                let holds_by_hand = self.by_hand.iter().any(|name| name.starts_with(&from));
                if holds_by_hand || self.at(&to).exists() {
                    return None;
                }
                fs::rename(self.at(&from), self.at(&to)).unwrap();
                "move directory"
            }
            8 => {
                fs::remove_file(self.at(&any?)).unwrap();
                "delete file"
            }
            9 => {
                let from = self.random.one_of(&self.folders())?;
                let holds = self
                    .files()
                    .iter()
                    .filter(|name| name.starts_with(&from))
                    .count();
                let holds_by_hand = self.by_hand.iter().any(|name| name.starts_with(&from));
                if holds > 6 || holds_by_hand {
                    return None;
                }
                fs::remove_dir_all(self.at(&from)).unwrap();
                "delete directory"
            }
            10 => {
                let file = fs::File::options().append(true).open(self.at(&any?)).ok()?;
                self.written += 1;
                let time = std::time::Duration::from_secs(1_000_000 + self.written as u64);
                file.set_modified(std::time::UNIX_EPOCH + time).unwrap();
                "touch"
            }
            11 => {
                let (from, to) = (any?, self.free_name());
                self.fresh.insert(fs::read(self.at(&from)).ok()?);
                fs::copy(self.at(&from), self.at(&to)).unwrap();
                "copy"
            }
            12 => {
                let (from, to) = (any?, self.free_name());
                self.fresh.insert(fs::read(self.at(&from)).ok()?);
                fs::hard_link(self.at(&from), self.at(&to)).unwrap();
                "hard link"
            }
            _ => unreachable!(),
        })
    }

    #[cfg(unix)]
    fn make_unreadable(&mut self) -> Option<&'static str> {
        use std::os::unix::fs::PermissionsExt as _;
        let any = self.target(&self.files())?;
        fs::set_permissions(self.at(&any), fs::Permissions::from_mode(0o000)).unwrap();
        Some("make unreadable")
    }

    #[cfg(not(unix))]
    fn make_unreadable(&mut self) -> Option<&'static str> {
        None
    }
}

/// What the index does not have as the disk does.
async fn differences(
    bench: &Bench,
    disk: &BTreeMap<String, Option<Vec<u8>>>,
    pattern: usize,
    by_hand: &BTreeSet<String>,
) -> Vec<String> {
    let root = bench.files();
    let mut problems = Vec::new();
    let mut known = BTreeMap::new();
    for document in bench.documents().await {
        known.insert(relative(&root, Path::new(&document.path)), document);
    }
    for (name, content) in disk {
        let hand = by_hand.contains(name);
        if !hand && !is_wanted(pattern, name) {
            continue;
        }
        let Some(document) = known.remove(name) else {
            problems.push(format!("{name} is missing"));
            continue;
        };
        if (document.origin == Origin::File) != hand {
            problems.push(format!("{name} came by {:?}", document.origin));
        }
        let Some(content) = content else { continue };
        let hash = blake3::hash(content).to_hex().to_string();
        if document.content_hash.as_ref().map(ToString::to_string) != Some(hash) {
            problems.push(format!("{name} holds something else"));
        }
        if document.status != DocumentStatus::Ready {
            problems.push(format!(
                "{name} is {:?}: {:?}",
                document.status, document.reason
            ));
        }
        if (document.chunk_count, document.embedded_count) != (1, 1) {
            problems.push(format!("{name} has {} chunks", document.chunk_count));
        }
    }
    for (name, document) in known {
        if !(by_hand.contains(&name) && document.status == DocumentStatus::Failed) {
            problems.push(format!("{name} is not wanted: {:?}", document.status));
        }
    }
    // Rows, words and vectors.
    let report = bench.engine.doctor(false).await.unwrap();
    problems.extend(report.findings.iter().map(|found| found.problem.clone()));
    let index = bench.engine.index(&bench.scope).await.unwrap();
    let chunks = u64::from(
        bench
            .documents()
            .await
            .iter()
            .map(|d| d.chunk_count)
            .sum::<u32>(),
    );
    let held = (
        index.word_keys().unwrap().len(),
        index.vector_keys().unwrap().len(),
    );
    if held != (chunks, chunks) {
        problems.push(format!("{chunks} chunks, {held:?} words and vectors"));
    }
    problems
}

const CHANGES: usize = 1000;
const BATCH: usize = 25;

fn a_thousand_random_changes_are_followed() {
    run(async {
        let mut bench = Bench::open().await;
        let mut world = World {
            random: Random(0x5eed_d0ce),
            root: bench.files(),
            written: 0,
            pattern: 0,
            by_hand: BTreeSet::new(),
            fresh: BTreeSet::new(),
        };
        for _ in 0..60 {
            let (name, content) = (world.free_name(), world.content());
            fs::write(world.at(&name), content).unwrap();
        }
        // Names of documents added by hand are left alone, apart from these three.
        for name in ["a/hand1.txt", "hand2.log", "skip/hand3.txt"] {
            let content = world.content();
            fs::create_dir_all(world.at(name).parent().unwrap()).unwrap();
            fs::write(world.at(name), content).unwrap();
            bench.add(&[&world.at(name)]).await;
            world.by_hand.insert(name.to_owned());
        }
        bench.add(&[&bench.files()]).await;
        let folder = the_folder(&bench).await.id;

        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut done = 0;
        for round in 0.. {
            if done >= CHANGES {
                break;
            }
            let kinds = if round % 5 == 4 {
                Kinds::Moves
            } else {
                Kinds::All
            };
            let is_open = round % 2 == 0;
            world.fresh.clear();
            let indexed = contents(&bench).await;
            let mut embedded = bench.engine.embedded();
            let mut batch = |world: &mut World| {
                let mut made = 0;
                while made < BATCH {
                    let change = if kinds == Kinds::All && world.random.below(60) == 0 {
                        world.make_unreadable()
                    } else {
                        world.change(kinds)
                    };
                    if let Some(change) = change {
                        *counts.entry(change).or_default() += 1;
                        made += 1;
                    }
                }
                made
            };
            if is_open {
                done += batch(&mut world);
            } else {
                bench = bench.restart(|_| done += batch(&mut world)).await;
                embedded = 0;
            }
            let changes_patterns = kinds == Kinds::All && round % 3 == 0;
            if changes_patterns {
                world.pattern = world.random.below(PATTERNS.len());
                let (include, exclude) = PATTERNS[world.pattern];
                let chosen = patterns(include, exclude);
                bench
                    .engine
                    .set_folder_patterns(&bench.scope, folder, &chosen)
                    .await
                    .unwrap();
                *counts.entry("change patterns").or_default() += 1;
                done += 1;
            }
            bench.scan().await;
            if the_folder(&bench).await.state == FolderState::Paused {
                bench
                    .engine
                    .resume_folder(&bench.scope, folder)
                    .await
                    .unwrap();
                bench.idle().await;
            }
            let disk = on_disk(&world.root);
            let problems = differences(&bench, &disk, world.pattern, &world.by_hand).await;
            assert!(
                problems.is_empty(),
                "round {round}, {kinds:?}: {problems:#?}"
            );

            // What was there already is not embedded again. (While it is open, a file may leave and
            // come back within a batch.)
            if !is_open {
                let made = bench.engine.embedded() - embedded;
                let new = new_contents(&disk, &indexed, world.pattern);
                if kinds == Kinds::Moves && !changes_patterns {
                    assert_eq!(made, new.len() as u64, "round {round}: moves");
                } else {
                    let copies = world.fresh.iter().filter(|content| !new.contains(*content));
                    let allowed = new.len() + copies.count();
                    assert!(
                        made <= allowed as u64,
                        "round {round}: {made}, {allowed} new"
                    );
                }
            }
        }
        eprintln!("{counts:?}");

        // A disk that differs from the index is noticed, each way.
        let disk = on_disk(&world.root);
        let wanted = disk
            .iter()
            .find(|(name, content)| content.is_some() && is_wanted(world.pattern, name));
        let name = wanted.unwrap().0.clone();
        for doctor in [
            |disk: &mut BTreeMap<String, Option<Vec<u8>>>, name: &String| {
                disk.remove(name);
            },
            |disk: &mut BTreeMap<String, Option<Vec<u8>>>, name: &String| {
                disk.insert(name.clone(), Some(b"another".to_vec()));
            },
            |disk: &mut BTreeMap<String, Option<Vec<u8>>>, _: &String| {
                disk.insert("b/unseen.txt".to_owned(), Some(b"new".to_vec()));
            },
        ] {
            let mut doctored = disk.clone();
            doctor(&mut doctored, &name);
            let problems = differences(&bench, &doctored, world.pattern, &world.by_hand).await;
            assert_eq!(problems.len(), 1, "control: {problems:?}");
        }
        bench.engine.shutdown().await;
    });
}

/// The contents that are indexed.
async fn contents(bench: &Bench) -> BTreeSet<Vec<u8>> {
    let mut contents = BTreeSet::new();
    for document in bench.documents().await {
        let text = bench.engine.document_text(&bench.scope, document.id).await;
        contents.extend(text.ok().map(|text| text.text.trim().as_bytes().to_vec()));
    }
    contents
}

/// The contents that were not indexed, and are wanted.
fn new_contents(
    disk: &BTreeMap<String, Option<Vec<u8>>>,
    indexed: &BTreeSet<Vec<u8>>,
    pattern: usize,
) -> BTreeSet<Vec<u8>> {
    let wanted = disk.iter().filter(|(name, _)| is_wanted(pattern, name));
    wanted
        .filter_map(|(_, content)| content.clone())
        .filter(|content| !indexed.contains(content))
        .collect()
}

/// Writes a setting of the kernel, and puts back what was there.
#[cfg(target_os = "linux")]
struct Setting(&'static str, String);

#[cfg(target_os = "linux")]
impl Setting {
    fn set(path: &'static str, value: &str) -> Option<Self> {
        let before = fs::read_to_string(path).ok()?;
        fs::write(path, value).ok()?;
        Some(Self(path, before))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Setting {
    fn drop(&mut self) {
        fs::write(self.0, &self.1).unwrap();
    }
}

#[cfg(target_os = "linux")]
fn an_overflowing_event_queue_loses_nothing() {
    const FILES: usize = 5000;
    run(async {
        let bench = Bench::open().await;
        let root = bench.files();
        bench.write("0.txt", "Prvi.");
        bench.add(&[&root]).await;
        // The queue's length is set when watching begins.
        let Some(setting) = Setting::set("/proc/sys/fs/inotify/max_queued_events", "64") else {
            println!("skipped: the kernel's event queue cannot be shortened here");
            bench.engine.shutdown().await;
            return;
        };
        let bench = bench.restart(|_| {}).await;
        bench.scan().await;
        drop(setting);
        for n in 1..FILES {
            fs::write(root.join(format!("{n}.txt")), format!("Tekst broj {n}.")).unwrap();
        }
        // Nobody asks for a scan: the overflow does.
        loop {
            let counts = bench.engine.counts(&bench.scope).await.unwrap();
            let known = counts.queued + counts.reading + counts.words + counts.ready;
            if known == FILES as u64 {
                break;
            }
            assert!(
                known < FILES as u64 && counts.failed + counts.skipped == 0,
                "{counts:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        bench.engine.shutdown().await;
    });
}
