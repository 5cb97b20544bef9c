use std::time::Instant;

use docent_domain::{ChunkKey, DocumentId, DocumentStatus, Format, JobKind, Origin, Problem};
use docent_store::{
    AddedAgain, Claim, DocumentContent, DocumentQuery, DocumentSort, Entity, Error, FileMove,
    JobQuery, JobType, MovedFiles, NewDocument, PRIORITY_FOLDER, PRIORITY_HAND_ADDED, Registered,
    Retitled, in_turns,
};

use crate::fixture::{Fixture, NOW, chunk, content, file, hash, in_folder, later, touched};

#[tokio::test]
async fn registering_queues_a_reading_and_only_when_needed() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let (new, registered) = documents
        .register(&f.scope, &file("/a.pdf"), NOW)
        .await
        .unwrap();
    assert_eq!(registered, Registered::Created);
    assert_eq!(new.status, DocumentStatus::Queued);
    assert_eq!(
        documents
            .register(&f.scope, &file("/a.pdf"), NOW)
            .await
            .unwrap()
            .1,
        Registered::Unchanged,
        "it is waiting already"
    );
    let keys = f.read(new.id, &["jedan"]).await.added;
    assert_eq!(
        documents
            .register(&f.scope, &file("/a.pdf"), NOW)
            .await
            .unwrap()
            .1,
        Registered::Unchanged,
        "its embedding is waiting"
    );
    f.embed(new.id, &keys).await;
    assert_eq!(
        documents
            .register(&f.scope, &file("/a.pdf"), NOW)
            .await
            .unwrap()
            .1,
        Registered::Unchanged,
        "settled and the same"
    );
    for changed in [
        touched(file("/a.pdf")),
        {
            let mut other_inode = touched(file("/a.pdf"));
            other_inode.stamp.file_id = Some((u64::MAX, 43));
            other_inode
        },
        {
            let mut unknown_time = file("/a.pdf");
            unknown_time.stamp.modified_ns = None;
            unknown_time
        },
    ] {
        let (document, registered) = documents.register(&f.scope, &changed, NOW).await.unwrap();
        assert_eq!(registered, Registered::Changed, "{:?}", changed.stamp);
        assert_eq!(document.id, new.id);
        assert_eq!(document.status, DocumentStatus::Queued);
        assert_eq!(document.chunk_count, 1, "the old content stays searchable");
        let job = f.claim(JobType::Read).await;
        documents
            .mark_unchanged(&f.scope, new.id, Claim::from(&job), NOW)
            .await
            .unwrap();
        assert_eq!(f.get(new.id).await.status, DocumentStatus::Ready);
    }
    assert_eq!(f.store.jobs().counts(&f.scope).await.unwrap().queued, 0);
}

#[tokio::test]
async fn uploads_of_one_name_do_not_replace_one_another() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let upload = |bytes: &str| NewDocument {
        origin: Origin::Upload,
        blob: Some(hash(bytes)),
        ..file("scan.pdf")
    };
    let (a, _) = documents
        .register(&f.scope, &upload("a"), NOW)
        .await
        .unwrap();
    let (b, registered) = documents
        .register(&f.scope, &upload("bb"), NOW)
        .await
        .unwrap();
    assert_eq!(
        registered,
        Registered::Created,
        "other bytes are another document"
    );
    let (again, registered) = documents
        .register(&f.scope, &upload("a"), NOW)
        .await
        .unwrap();
    assert_eq!((again.id, registered), (a.id, Registered::Unchanged));
    assert_eq!(
        documents.blob(&f.scope, b.id).await.unwrap(),
        Some(hash("bb"))
    );
    let blobs = documents.all_blobs().await.unwrap();
    let hashes: Vec<_> = blobs.into_iter().map(|blob| blob.hash).collect();
    assert_eq!(hashes, [hash("a"), hash("bb")]);
}

#[tokio::test]
async fn new_content_replaces_the_old_under_new_keys() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let (id, first) = f.ready("/a.pdf", &["jedan", "dva"]).await;
    documents
        .register(&f.scope, &touched(file("/a.pdf")), NOW)
        .await
        .unwrap();
    let job = f.claim(JobType::Read).await;
    assert_eq!(f.get(id).await.status, DocumentStatus::Reading);
    let mut new = content(&["tri", "četiri", "pet"]);
    new.title = Some("Zaključak".into());
    new.note = Some("One page could not be read.".into());
    let replaced = documents
        .replace_content(&f.scope, id, Claim::from(&job), &new, later(1))
        .await
        .unwrap();
    assert_eq!(replaced.removed, first);
    assert!(
        replaced
            .added
            .iter()
            .all(|key| first.iter().all(|old| old < key)),
        "keys only grow"
    );
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Words);
    assert_eq!(document.title, "Zaključak");
    assert_eq!(
        document.reason.as_deref(),
        Some("One page could not be read.")
    );
    assert_eq!((document.chunk_count, document.embedded_count), (3, 0));
    assert_eq!(document.content_hash, Some(new.hash));
    assert_eq!(document.page_count, Some(3));
    let text = documents.text(&f.scope, id).await.unwrap();
    assert_eq!(text.text, "tričetiripet");
    assert_eq!(text.layout_json, r#"{"blocks":[]}"#);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_title_goes_when_the_file_no_longer_says_it() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let titled = DocumentContent {
        title: Some("Tajni naslov".into()),
        ..content(&["jedan"])
    };
    let mut new = file("/p.html");
    let id = f.register("/p.html").await.id;
    for forget in [false, true] {
        let job = Claim::from(&f.claim(JobType::Read).await);
        documents
            .replace_content(&f.scope, id, job, &titled, NOW)
            .await
            .unwrap();
        assert_eq!(f.get(id).await.title, "Tajni naslov", "control");
        if forget {
            documents.retry(&f.scope, id, NOW).await.unwrap();
            let job = Claim::from(&f.claim(JobType::Read).await);
            let forgotten = documents.forget_content(&f.scope, id, job).await;
            assert_eq!(forgotten.unwrap().len(), 1);
        } else {
            new = touched(new);
            documents.register(&f.scope, &new, NOW).await.unwrap();
            f.read(id, &["dva"]).await;
            new = touched(new);
            documents.register(&f.scope, &new, NOW).await.unwrap();
        }
        assert_eq!(f.get(id).await.title, "p");
    }
}

#[tokio::test]
async fn keys_are_not_reused_after_the_last_chunk_is_gone() {
    let f = Fixture::new().await;
    let (a, keys) = f.ready("/a.pdf", &["jedan", "dva"]).await;
    assert_eq!(f.store.documents().delete(&f.scope, a).await.unwrap(), keys);
    let (_, later_keys) = f.ready("/b.pdf", &["tri"]).await;
    assert!(later_keys[0] > keys[1], "{later_keys:?} after {keys:?}");
}

#[tokio::test]
async fn a_stale_claim_changes_nothing() {
    let mut f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let stale = Claim::from(&f.claim(JobType::Read).await);
    f.restart().await;
    f.store.jobs().rescue_foreign(f.boot, NOW).await.unwrap();
    let current = Claim::from(&f.claim(JobType::Read).await);
    assert_eq!(current.job, stale.job, "the same job, taken over");

    let documents = f.store.documents();
    let refused = |error: Error| {
        assert!(
            matches!(error, Error::StaleFence(job) if job == stale.job),
            "{error:?}"
        );
    };
    refused(
        documents
            .replace_content(&f.scope, id, stale, &content(&["x"]), NOW)
            .await
            .unwrap_err(),
    );
    refused(
        documents
            .mark_unchanged(&f.scope, id, stale, NOW)
            .await
            .unwrap_err(),
    );
    refused(
        documents
            .skip(&f.scope, id, stale, "x", Problem::Empty, NOW)
            .await
            .unwrap_err(),
    );
    refused(
        f.store
            .jobs()
            .finish(&f.scope, stale, NOW)
            .await
            .unwrap_err(),
    );
    refused(
        f.store
            .jobs()
            .fail(&f.scope, stale, "x", true, NOW)
            .await
            .unwrap_err(),
    );
    assert!(!f.holds(stale).await);
    assert_eq!(f.get(id).await.chunk_count, 0);

    documents
        .replace_content(&f.scope, id, current, &content(&["jedan"]), NOW)
        .await
        .unwrap();
    refused(
        documents
            .replace_content(&f.scope, id, current, &content(&["x"]), NOW)
            .await
            .unwrap_err(),
    );
    assert_eq!(f.get(id).await.chunk_count, 1, "once, whoever tries again");
}

#[tokio::test]
async fn a_claim_is_good_for_its_own_document_only() {
    let f = Fixture::new().await;
    let a = f.register("/a.pdf").await.id;
    let b = f.register("/b.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    assert_eq!(
        job.kind,
        JobKind::Read { document: a },
        "the older one first"
    );
    let crossed = f
        .store
        .documents()
        .replace_content(&f.scope, b, Claim::from(&job), &content(&["x"]), NOW)
        .await;
    assert!(matches!(crossed, Err(Error::StaleFence(_))));
    assert_eq!(f.get(b).await.chunk_count, 0);
    assert!(
        f.holds(Claim::from(&job)).await,
        "the refusal undid the end of the job too"
    );
}

#[tokio::test]
async fn a_change_during_the_reading_is_read_afterwards() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let id = f.register("/a.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    let (_, registered) = documents
        .register(&f.scope, &touched(file("/a.pdf")), NOW)
        .await
        .unwrap();
    assert_eq!(registered, Registered::Changed);
    assert_eq!(
        f.get(id).await.status,
        DocumentStatus::Reading,
        "still running"
    );
    documents
        .replace_content(&f.scope, id, Claim::from(&job), &content(&["jedan"]), NOW)
        .await
        .unwrap();
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Queued);
    assert_eq!(
        document.chunk_count, 1,
        "what was read is searchable meanwhile"
    );
    let second = f.claim(JobType::Read).await;
    assert_eq!(second.id, job.id);
    assert_eq!(second.attempts, 1, "a fresh start, not a second try");
    documents
        .replace_content(
            &f.scope,
            id,
            Claim::from(&second),
            &content(&["dva", "tri"]),
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(f.get(id).await.status, DocumentStatus::Words);
}

#[tokio::test]
async fn embedding_of_content_that_is_gone_is_refused() {
    let f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let old = f.read(id, &["jedan", "dva"]).await.added;
    let embedding = Claim::from(&f.claim(JobType::Embed).await);
    f.store
        .documents()
        .register(&f.scope, &touched(file("/a.pdf")), NOW)
        .await
        .unwrap();
    f.read(id, &["tri"]).await;
    let refused = f
        .store
        .chunks()
        .mark_embedded(&f.scope, id, &old, embedding, NOW)
        .await;
    assert!(matches!(refused, Err(Error::StaleFence(_))));
    assert_eq!(f.get(id).await.embedded_count, 0);
    let fresh = f.claim(JobType::Embed).await;
    assert_eq!(fresh.id, embedding.job, "one embedding job per document");
}

#[tokio::test]
async fn a_document_without_text_is_skipped_with_a_reason() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let (id, keys) = f.ready("/a.pdf", &["jedan"]).await;
    documents.retry(&f.scope, id, NOW).await.unwrap();
    let replaced = f.read(id, &[]).await;
    assert_eq!(replaced.removed, keys);
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Skipped);
    assert_eq!(
        document.reason.as_deref(),
        Some("No text was found in this document.")
    );

    let (id, keys) = f.ready("/b.pdf", &["dva"]).await;
    documents.retry(&f.scope, id, NOW).await.unwrap();
    let job = f.claim(JobType::Read).await;
    let replaced = documents
        .skip(
            &f.scope,
            id,
            Claim::from(&job),
            "Pictures are not read.",
            Problem::Unsupported,
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(replaced.removed, keys);
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Skipped);
    assert_eq!(document.reason.as_deref(), Some("Pictures are not read."));
    assert!(matches!(
        documents.text(&f.scope, id).await,
        Err(Error::NotFound(Entity::Content))
    ));
    assert_eq!(f.store.jobs().counts(&f.scope).await.unwrap().queued, 0);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn documents_in_trouble_are_counted_and_listed_by_their_problem() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let problems = async || documents.problems(&f.scope).await.unwrap();
    f.ready("/good.pdf", &["jedan"]).await;
    assert_eq!(problems().await, []);

    let id = f.register("/partly.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    let mut partly = content(&["dva"]);
    partly.note = Some("1 of 2 pages holds no text.".into());
    partly.problem = Some(Problem::PartlyScanned);
    documents
        .replace_content(&f.scope, id, Claim::from(&job), &partly, NOW)
        .await
        .unwrap();

    let failed = f.register("/locked.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    documents
        .note_problem(&f.scope, failed, Claim::from(&job), Problem::Protected)
        .await
        .unwrap();
    assert_eq!(problems().await.len(), 1, "it has not failed yet");
    assert_eq!(f.get(failed).await.problem, None, "neither does it say so");
    let jobs = f.store.jobs();
    jobs.fail(&f.scope, Claim::from(&job), "A password.", false, NOW)
        .await
        .unwrap();
    let unknown = f.register("/unknown.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    jobs.fail(&f.scope, Claim::from(&job), "Something.", false, NOW)
        .await
        .unwrap();

    for (id, problem) in [(failed, Problem::Protected), (unknown, Problem::Other)] {
        assert_eq!(f.get(id).await.problem, Some(problem), "as it is listed");
    }
    let counted: Vec<_> = problems()
        .await
        .iter()
        .map(|count| (count.problem, count.documents, count.searchable))
        .collect();
    assert_eq!(
        counted,
        [
            (Problem::Other, 1, 0),
            (Problem::PartlyScanned, 1, 1),
            (Problem::Protected, 1, 0)
        ]
    );
    let listed = async |problem| {
        let query = DocumentQuery {
            problem: Some(problem),
            ..DocumentQuery::default()
        };
        let page = documents.list(&f.scope, &query).await.unwrap();
        page.items
            .into_iter()
            .map(|item| item.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(Problem::PartlyScanned).await, [id]);
    assert_eq!(listed(Problem::Protected).await, [failed]);
    assert_eq!(listed(Problem::Other).await, [unknown]);
    assert_eq!(f.get(failed).await.problem, Some(Problem::Protected));

    // What is tried again is not in trouble until it has failed again.
    documents.retry(&f.scope, failed, NOW).await.unwrap();
    assert_eq!(f.get(failed).await.problem, None);
    assert_eq!(listed(Problem::Protected).await, []);
}

#[tokio::test]
async fn a_warning_outlives_a_failed_attempt() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let id = f.register("/a.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    let mut new = content(&["jedan"]);
    new.note = Some("Page 3 is a picture.".into());
    documents
        .replace_content(&f.scope, id, Claim::from(&job), &new, NOW)
        .await
        .unwrap();
    documents.retry(&f.scope, id, NOW).await.unwrap();
    let job = f.claim(JobType::Read).await;
    f.store
        .jobs()
        .fail(&f.scope, Claim::from(&job), "locked by Word", false, NOW)
        .await
        .unwrap();
    let failed = f.get(id).await;
    assert_eq!(failed.status, DocumentStatus::Failed);
    assert_eq!(failed.reason.as_deref(), Some("locked by Word"));
    assert_eq!(failed.chunk_count, 1, "what was readable stays searchable");
    documents.retry(&f.scope, id, NOW).await.unwrap();
    let job = f.claim(JobType::Read).await;
    documents
        .mark_unchanged(&f.scope, id, Claim::from(&job), NOW)
        .await
        .unwrap();
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Words);
    assert_eq!(document.reason.as_deref(), Some("Page 3 is a picture."));
    f.claim(JobType::Embed).await;
}

#[tokio::test]
async fn a_moved_file_keeps_its_content_and_vectors() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let (folder, _) = f.store.folders().add(&f.scope, "/mapa", NOW).await.unwrap();
    documents
        .register(&f.scope, &in_folder("/mapa/a.pdf", folder.id), NOW)
        .await
        .unwrap();
    let id = f.at("/mapa/a.pdf").await.id;
    let keys = f.read(id, &["jedan"]).await.added;
    f.embed(id, &keys).await;

    let to = in_folder("/mapa/Č/b.pdf", folder.id);
    let moved = documents
        .move_files(&f.scope, &[moved_to(id, "/mapa/a.pdf", to)], later(1))
        .await
        .unwrap();
    assert_eq!(
        moved,
        MovedFiles {
            retitled: true,
            ..MovedFiles::default()
        }
    );
    let document = f.get(id).await;
    assert_eq!(document.path, "/mapa/Č/b.pdf");
    assert_eq!(
        document.title, "b.pdf",
        "a title that was the file's name follows"
    );
    assert_eq!(document.folder_id, Some(folder.id));
    assert_eq!(document.status, DocumentStatus::Ready);
    assert_eq!(keys_of(&f, id).await, keys);

    let told = documents.retitled(&f.scope).await.unwrap();
    assert_eq!(told, [Retitled { id, times: 1 }]);
    let to = in_folder("/mapa/c.pdf", folder.id);
    documents
        .move_files(&f.scope, &[moved_to(id, "/mapa/Č/b.pdf", to)], later(2))
        .await
        .unwrap();
    documents.mark_reworded(&f.scope, &told).await.unwrap();
    let told = documents.retitled(&f.scope).await.unwrap();
    assert_eq!(told, [Retitled { id, times: 2 }], "it changed meanwhile");
    documents.mark_reworded(&f.scope, &told).await.unwrap();
    assert_eq!(documents.retitled(&f.scope).await.unwrap(), []);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

fn moved_to(id: DocumentId, from: &str, to: NewDocument) -> FileMove {
    FileMove {
        id,
        from: from.into(),
        to,
        look_again: false,
    }
}

/// A file that moved to a name of another kind, or is only believed to be the same, is looked at; its
/// passages stay until the reading has found another text, or another structure.
#[tokio::test]
async fn a_moved_file_of_another_kind_is_looked_at_and_keeps_equal_text() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let id = f.register("/a.htm").await.id;
    let keys = f.read(id, &["jedan", "dva"]).await.added;
    f.embed(id, &keys).await;
    let look_again = FileMove {
        look_again: true,
        ..moved_to(id, "/b.html", file("/c.html"))
    };
    for change in [moved_to(id, "/a.htm", file("/b.html")), look_again] {
        documents
            .move_files(&f.scope, &[change], NOW)
            .await
            .unwrap();
        let document = f.get(id).await;
        assert_eq!(document.status, DocumentStatus::Queued);
        assert_eq!(document.content_hash, Some(content(&["jedan", "dva"]).hash));
        let claim = Claim::from(&f.claim(JobType::Read).await);
        documents
            .mark_unchanged(&f.scope, id, claim, NOW)
            .await
            .unwrap();
        assert_eq!(f.get(id).await.status, DocumentStatus::Ready);
    }

    let read_as = async |format, layout: &str, to: &str| {
        let change = moved_to(id, "/c.html", file(to));
        documents
            .move_files(&f.scope, &[change], NOW)
            .await
            .unwrap();
        let mut found = content(&["jedan", "dva"]);
        (found.format, found.layout_json) = (Some(format), layout.to_owned());
        let claim = Claim::from(&f.claim(JobType::Read).await);
        let replaced = documents.replace_content(&f.scope, id, claim, &found, NOW);
        let replaced = replaced.await.unwrap();
        assert_eq!(f.get(id).await.format, Some(format));
        replaced
    };
    let layout = content(&[]).layout_json;
    let same = read_as(Format::Text, &layout, "/c.txt").await;
    assert_eq!(same, docent_store::ContentReplaced::default());
    let other = read_as(Format::Markdown, "[\"heading\"]", "/c.md").await;
    assert_eq!(other.removed, keys, "cut by another structure");
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[test]
fn many_moves_are_carried_out_in_turns_that_can_be_interrupted() {
    let moves = |names: &[(&str, &str)]| {
        let moves = names.iter().map(|(from, to)| {
            let id = DocumentId::generate();
            moved_to(id, from, file(to))
        });
        moves.collect::<Vec<_>>()
    };
    let turns = |names: &[(&str, &str)], at_most| {
        let turns = in_turns(moves(names), at_most);
        let names = turns.into_iter().map(|turn| {
            let names = turn.into_iter().map(|change| change.from);
            names.collect::<Vec<_>>().join(" ")
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(turns(&[], 2), [""; 0]);
    assert_eq!(
        turns(&[("a", "b"), ("c", "d"), ("e", "f")], 2),
        ["a c", "e"]
    );
    // Rotated logs: the last one first.
    let rotated = [("log", "log.1"), ("log.2", "log.3"), ("log.1", "log.2")];
    assert_eq!(turns(&rotated, 1), ["log.2", "log.1", "log"]);
    // A ring is one transaction, however long; what goes to where it was comes after it.
    let ring = [("x", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("y", "z")];
    assert_eq!(turns(&ring, 2), ["a b c", "x y"]);
    assert_eq!(turns(&[("a", "a"), ("b", "c")], 9), ["a b"]);
}

#[tokio::test]
async fn moved_files_change_places() {
    let f = Fixture::new().await;
    let (a, b) = (f.register("/a.pdf").await.id, f.register("/b.pdf").await.id);
    let moves = [
        moved_to(a, "/a.pdf", file("/b.pdf")),
        moved_to(b, "/b.pdf", file("/a.pdf")),
    ];
    let documents = f.store.documents();
    documents.move_files(&f.scope, &moves, NOW).await.unwrap();
    assert_eq!(f.at("/a.pdf").await.id, b);
    assert_eq!(f.at("/b.pdf").await.id, a);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_document_whose_file_is_replaced_gets_the_content_of_the_one_that_moved() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    f.register("/m/a.pdf").await;
    let there = f.at("/m/a.pdf").await.id;
    let old = f.read(there, &["staro"]).await.added;
    f.embed(there, &old).await;
    documents
        .register(&f.scope, &in_folder("/m/b.pdf", folder.id), NOW)
        .await
        .unwrap();
    let from = f.at("/m/b.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    let mut found = content(&["jedan", "dva"]);
    found.note = Some("Some letters were guessed.".into());
    found.problem = Some(Problem::Encoding);
    let claim = Claim::from(&job);
    let replaced = documents.replace_content(&f.scope, from, claim, &found, NOW);
    let keys = replaced.await.unwrap().added;
    f.embed(from, &keys).await;

    let to = touched(in_folder("/m/a.pdf", folder.id));
    let change = [moved_to(from, "/m/b.pdf", to)];
    let moved = documents.move_files(&f.scope, &change, NOW).await.unwrap();
    assert_eq!(moved.removed, old);
    let document = f.get(there).await;
    assert_eq!(keys_of(&f, there).await, keys);
    assert_eq!((document.chunk_count, document.embedded_count), (2, 2));
    assert_eq!(document.origin, Origin::File, "it stays what it was");
    assert_eq!(document.problem, Some(Problem::Encoding), "of its content");
    assert_eq!(
        documents.text(&f.scope, there).await.unwrap().text,
        content(&["jedan", "dva"]).text
    );
    assert!(matches!(
        documents.get(&f.scope, from).await,
        Err(Error::NotFound(Entity::Document))
    ));
    // Whatever was on its way for the old content finds nothing to do.
    let job = f.claim(JobType::Read).await;
    documents
        .mark_unchanged(&f.scope, there, Claim::from(&job), NOW)
        .await
        .unwrap();
    assert_eq!(f.get(there).await.status, DocumentStatus::Ready);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_file_added_by_hand_may_be_gone_and_come_back() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let id = f.register("/a.pdf").await.id;
    let keys = f.read(id, &["jedan"]).await.added;
    f.embed(id, &keys).await;
    let gone = async || documents.mark_gone(&f.scope, &[id], "gone", NOW).await;
    assert_eq!(gone().await.unwrap(), 1);
    assert_eq!(gone().await.unwrap(), 0, "no news");
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Failed);
    assert_eq!(document.problem, Some(Problem::Unreachable));
    assert_eq!(document.chunk_count, 1, "what was read of it is kept");
    let (_, registered) = documents
        .register(&f.scope, &file("/a.pdf"), NOW)
        .await
        .unwrap();
    assert_eq!(registered, Registered::Changed, "the same file is back");
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

async fn keys_of(f: &Fixture, id: DocumentId) -> Vec<ChunkKey> {
    let chunks = f.store.chunks();
    chunks.keys_of_document(&f.scope, id).await.unwrap()
}

/// The titles of every page of two, in order.
async fn titles(f: &Fixture, mut query: DocumentQuery) -> Vec<String> {
    query.limit = 2;
    let mut titles = Vec::new();
    loop {
        let page = f.store.documents().list(&f.scope, &query).await.unwrap();
        assert!(page.items.len() <= 2);
        titles.extend(page.items.into_iter().map(|d| d.title));
        match page.next_cursor {
            None => return titles,
            Some(cursor) => query.cursor = Some(cursor),
        }
    }
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_cut_without_gaps() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let names = [
        "Čaj.pdf",
        "cigla.pdf",
        "Žaba.pdf",
        "auto.pdf",
        "đak.pdf",
        "ZEC.pdf",
    ];
    let files: Vec<_> = names
        .iter()
        .map(|name| file(&format!("/spis/{name}")))
        .collect();
    let mut ids = Vec::new();
    for (n, new) in files.iter().enumerate() {
        ids.push(
            documents
                .register(&f.scope, new, later(n as i64))
                .await
                .unwrap()
                .0
                .id,
        );
    }
    sqlx::query("UPDATE documents SET status = 'failed', updated_at = ?2 WHERE id = ?1")
        .bind(ids[2].as_uuid().as_bytes().to_vec())
        .bind(later(99).0)
        .execute(&mut f.raw().await)
        .await
        .unwrap();

    let by = |sort| DocumentQuery {
        sort,
        ..DocumentQuery::default()
    };
    assert_eq!(
        titles(&f, by(DocumentSort::Name)).await,
        [
            "auto.pdf",
            "Čaj.pdf",
            "cigla.pdf",
            "đak.pdf",
            "Žaba.pdf",
            "ZEC.pdf"
        ]
    );
    assert_eq!(
        titles(&f, by(DocumentSort::Updated)).await,
        [
            "Žaba.pdf",
            "ZEC.pdf",
            "đak.pdf",
            "auto.pdf",
            "cigla.pdf",
            "Čaj.pdf"
        ]
    );
    assert_eq!(
        titles(&f, by(DocumentSort::Status)).await,
        [
            "Žaba.pdf",
            "auto.pdf",
            "Čaj.pdf",
            "cigla.pdf",
            "đak.pdf",
            "ZEC.pdf"
        ]
    );
    let found = DocumentQuery {
        text: Some("CA".into()),
        ..DocumentQuery::default()
    };
    assert_eq!(
        titles(&f, found).await,
        ["Čaj.pdf"],
        "marks and case do not matter"
    );
    let in_path = DocumentQuery {
        text: Some("/spis/z".into()),
        status: Some(DocumentStatus::Queued),
        ..DocumentQuery::default()
    };
    assert_eq!(titles(&f, in_path).await, ["ZEC.pdf"]);
    let bad = DocumentQuery {
        cursor: Some("7".into()),
        ..DocumentQuery::default()
    };
    assert!(matches!(
        documents.list(&f.scope, &bad).await,
        Err(Error::BadCursor)
    ));
}

#[tokio::test]
async fn deleting_takes_text_chunks_and_jobs_along() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let a = f.register("/a.pdf").await.id;
    let keys = f.read(a, &["jedan", "dva"]).await.added;
    let b = f.register("/b.pdf").await.id;
    assert_eq!(
        documents.delete_all(&f.scope, &[a, b, a]).await.unwrap(),
        keys,
        "twice is no error"
    );
    assert!(
        f.store
            .jobs()
            .list(&f.scope, &JobQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        f.store
            .chunks()
            .all_keys(&f.scope)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(matches!(
        documents.delete(&f.scope, a).await,
        Err(Error::NotFound(Entity::Document))
    ));
}

/// A folder of thousands of files is one transaction; its time is printed, not judged.
#[tokio::test]
async fn five_thousand_files_are_registered_at_once() {
    let f = Fixture::new().await;
    let (folder, _) = f
        .store
        .folders()
        .add(&f.scope, "/arhiv", NOW)
        .await
        .unwrap();
    let mut files: Vec<_> = (0..5000)
        .map(|n| in_folder(&format!("/arhiv/{n:05}.txt"), folder.id))
        .collect();
    let start = Instant::now();
    let registered = f
        .store
        .documents()
        .register_all(&f.scope, &files, NOW)
        .await
        .unwrap();
    println!("5,000 registered in {:?}", start.elapsed());
    assert!(registered.iter().all(|(_, r)| *r == Registered::Created));
    assert_eq!(f.store.jobs().counts(&f.scope).await.unwrap().queued, 5001);

    files[17] = touched(files[17].clone());
    let start = Instant::now();
    let again = f
        .store
        .documents()
        .register_all(&f.scope, &files, NOW)
        .await
        .unwrap();
    println!("5,000 compared in {:?}", start.elapsed());
    let changed: Vec<_> = again
        .iter()
        .filter(|(_, r)| *r != Registered::Unchanged)
        .collect();
    assert_eq!(changed, [&(registered[17].0, Registered::Changed)]);
    assert_eq!(
        f.store.jobs().counts(&f.scope).await.unwrap().queued,
        5001,
        "one reading per document, however often it changes before"
    );
    let start = Instant::now();
    for _ in 0..100 {
        f.claim(JobType::Read).await;
    }
    println!("a claim among 5,000 jobs takes {:?}", start.elapsed() / 100);
}

#[tokio::test]
async fn a_big_document_is_one_transaction() {
    let f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let job = f.claim(JobType::Read).await;
    let mut new = content(&[]);
    let text = "riječ ".repeat(300);
    new.chunks = (0..2000).map(|_| chunk(&text)).collect();
    let start = Instant::now();
    let replaced = f
        .store
        .documents()
        .replace_content(&f.scope, id, Claim::from(&job), &new, NOW)
        .await
        .unwrap();
    println!("2,000 chunks stored in {:?}", start.elapsed());
    assert_eq!(replaced.added.len(), 2000);
    assert_eq!(
        f.store.chunks().all_keys(&f.scope).await.unwrap(),
        replaced.added
    );
}

/// What a reader finds whose claim has been lost changes nothing.
#[tokio::test]
async fn a_reader_that_was_stopped_forgets_nothing() {
    let f = Fixture::new().await;
    let documents = f.store.documents();
    let (id, keys) = f.ready("/a.pdf", &["jedan"]).await;
    documents.retry(&f.scope, id, NOW).await.unwrap();
    let job = f.claim(JobType::Read).await;
    let claim = Claim::from(&job);
    f.store.jobs().cancel(&f.scope, job.id, NOW).await.unwrap();
    let before = f.get(id).await;
    let refused = [
        documents.forget_content(&f.scope, id, claim).await.err(),
        documents.forget_stamp(&f.scope, id, claim).await.err(),
        documents
            .note_problem(&f.scope, id, claim, Problem::Damaged)
            .await
            .err(),
    ];
    for refused in refused {
        assert!(matches!(refused, Some(Error::StaleFence(_))), "{refused:?}");
    }
    assert_eq!(f.get(id).await, before);
    let unchanged = documents.register(&f.scope, &file("/a.pdf"), NOW).await;
    assert_eq!(unchanged.unwrap().1, Registered::Unchanged);
    assert_eq!(f.store.chunks().all_keys(&f.scope).await.unwrap(), keys);
}

/// Whoever adds a folder or a file again wants all of it, in the order in which it came first.
#[tokio::test]
async fn what_is_added_again_is_taken_up_where_it_was_left() {
    let f = Fixture::new().await;
    let (documents, jobs) = (f.store.documents(), f.store.jobs());
    let folder = async |path| f.store.folders().add(&f.scope, path, NOW).await.unwrap().0;
    let (outer, inner) = (folder("/m").await, folder("/m/in").await);
    let found = [
        in_folder("/m/words.txt", outer.id),
        in_folder("/m/failed.txt", outer.id),
        in_folder("/m/in/cancelled.txt", inner.id),
        in_folder("/mm/beside.txt", outer.id),
    ];
    let found = documents.register_all(&f.scope, &found, NOW).await.unwrap();
    let [words, failed, cancelled, beside] = [0, 1, 2, 3].map(|n: usize| found[n].0);
    jobs.cancel(&f.scope, f.claim(JobType::Scan).await.id, NOW)
        .await
        .unwrap();
    jobs.cancel(&f.scope, f.claim(JobType::Scan).await.id, NOW)
        .await
        .unwrap();
    f.read(words, &["jedan"]).await;
    let embedding = f.claim(JobType::Embed).await;
    jobs.cancel(&f.scope, embedding.id, NOW).await.unwrap();
    let bad = Claim::from(&f.claim(JobType::Read).await);
    jobs.fail(&f.scope, bad, "x", false, NOW).await.unwrap();
    let by_hand = f.register("/m/hand.txt").await.id;
    jobs.cancel_all(&f.scope, NOW).await.unwrap();
    let left = async || {
        let counts = jobs.counts(&f.scope).await.unwrap();
        (counts.queued, counts.cancelled, counts.dead)
    };
    // Two scans, an embedding, and three readings.
    assert_eq!(left().await, (0, 6, 1), "control");

    let again = documents.retry_unread(&f.scope, AddedAgain::Below("/m"), NOW);
    assert_eq!(again.await.unwrap(), 4);
    assert_eq!(left().await, (4, 3, 0), "what lies beside it is left alone");
    let again = documents.retry_unread(&f.scope, AddedAgain::Below("/m"), NOW);
    assert_eq!(again.await.unwrap(), 0, "it is under way");
    for (id, status) in [
        (words, DocumentStatus::Words),
        (failed, DocumentStatus::Queued),
        (cancelled, DocumentStatus::Queued),
        (by_hand, DocumentStatus::Queued),
        (beside, DocumentStatus::Skipped),
    ] {
        let document = f.get(id).await;
        let is_left = id == beside;
        assert_eq!(document.status, status, "{}", document.path);
        assert_eq!(document.reason.is_some(), is_left, "{}", document.path);
    }
    let mut order = Vec::new();
    while let Some(job) = jobs
        .claim_next(f.boot, &[JobType::Read], NOW)
        .await
        .unwrap()
    {
        order.push((job.kind, job.priority));
    }
    let read = |document, priority| (JobKind::Read { document }, priority);
    assert_eq!(order[0], read(by_hand, PRIORITY_HAND_ADDED));
    assert_eq!(order.len(), 3);
    assert!(order.contains(&read(failed, PRIORITY_FOLDER)), "{order:?}");
    assert!(order.contains(&read(cancelled, PRIORITY_FOLDER)));
    let embedding = f.claim(JobType::Embed).await;
    assert_eq!(embedding.priority, PRIORITY_FOLDER);

    let one = AddedAgain::Documents(&[beside, words]);
    let again = documents.retry_unread(&f.scope, one, NOW).await;
    assert_eq!(again.unwrap(), 1);
    assert_eq!(f.get(beside).await.status, DocumentStatus::Queued);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}
