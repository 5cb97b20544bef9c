use docent_domain::{FolderPatterns, FolderState, JobKind, ScanSummary};
use docent_store::{Claim, Entity, Error, JobType, Registered, RootIdentity};

use crate::fixture::{Fixture, NOW, file, in_folder, later, touched, workspace};

#[tokio::test]
async fn adding_twice_is_adding_once_and_scans_are_queued() {
    let f = Fixture::new().await;
    let folders = f.store.folders();
    let (folder, created) = folders.add(&f.scope, "/mapa", NOW).await.unwrap();
    assert!(created);
    assert_eq!(folder.state, FolderState::Watching);
    let (again, created) = folders.add(&f.scope, "/mapa", later(1)).await.unwrap();
    assert!(!created);
    assert_eq!(again, folder);

    let job = f.claim(JobType::Scan).await;
    assert_eq!(job.kind, JobKind::Scan { folder: folder.id });
    // A change during the scan: the running one may have passed the place already.
    folders
        .enqueue_scan(&f.scope, folder.id, NOW)
        .await
        .unwrap();
    let requeued = f
        .store
        .jobs()
        .finish(&f.scope, Claim::from(&job), NOW)
        .await;
    assert!(requeued.unwrap(), "a scan asked for meanwhile follows");
    let second = f.claim(JobType::Scan).await;
    assert!(
        !f.store
            .jobs()
            .finish(&f.scope, Claim::from(&second), NOW)
            .await
            .unwrap()
    );
    let none = f.store.jobs().claim_next(f.boot, &JobType::ALL, NOW).await;
    assert_eq!(none.unwrap(), None);
}

#[tokio::test]
async fn the_state_keeps_the_time_of_the_last_scan() {
    let f = Fixture::new().await;
    let folders = f.store.folders();
    let (folder, _) = folders.add(&f.scope, "/mapa", NOW).await.unwrap();
    assert_eq!(folder.last_scan, None);
    let seen = ScanSummary {
        files: 7,
        excluded: 2,
        ..ScanSummary::default()
    };
    folders
        .set_state(
            &f.scope,
            folder.id,
            FolderState::Watching,
            None,
            Some((later(3), seen)),
        )
        .await
        .unwrap();
    let paused = folders
        .set_state(
            &f.scope,
            folder.id,
            FolderState::Paused,
            Some("missing"),
            None,
        )
        .await
        .unwrap();
    assert_eq!(paused.last_scan_at, Some(later(3)));
    assert_eq!(paused.last_scan, Some(seen));
    assert_eq!(paused.reason.as_deref(), Some("missing"));
    assert_eq!(folders.get(&f.scope, folder.id).await.unwrap(), paused);

    let other = workspace(&f.store, "B").await;
    folders.add(&other, "/mapa", NOW).await.unwrap();
    assert_eq!(folders.list_all().await.unwrap().len(), 2);
    assert_eq!(folders.list(&f.scope).await.unwrap(), [paused]);
}

#[tokio::test]
async fn removing_takes_the_folders_documents_and_no_others() {
    let f = Fixture::new().await;
    let folders = f.store.folders();
    let documents = f.store.documents();
    let (folder, _) = folders.add(&f.scope, "/mapa", NOW).await.unwrap();
    documents
        .register(&f.scope, &in_folder("/mapa/a.pdf", folder.id), NOW)
        .await
        .unwrap();
    let a = f.at("/mapa/a.pdf").await;
    let keys = f.read(a.id, &["jedan", "dva"]).await.added;
    documents
        .register(&f.scope, &in_folder("/mapa/b.pdf", folder.id), NOW)
        .await
        .unwrap();
    // Added by hand as well, so the user wants it whatever becomes of the folder.
    let (b, _) = documents
        .register(&f.scope, &file("/mapa/b.pdf"), NOW)
        .await
        .unwrap();

    let known = documents
        .known_files(&f.scope, &folder, "", 10)
        .await
        .unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!(known[0].folder, Some(folder.id));
    assert_eq!(known[1].folder, None, "added by hand");
    let second = documents.known_files(&f.scope, &folder, &known[0].path, 1);
    assert_eq!(second.await.unwrap(), known[1..]);
    assert_eq!(
        known[0].stamp,
        file(&known[0].path).stamp,
        "a stamp survives the round trip"
    );

    let removed = folders.remove(&f.scope, folder.id, |_| None).await.unwrap();
    assert_eq!(removed.documents, 1);
    assert_eq!(removed.chunks, keys);
    assert!(matches!(
        documents.get(&f.scope, a.id).await,
        Err(Error::NotFound(Entity::Document))
    ));
    assert_eq!(documents.get(&f.scope, b.id).await.unwrap().folder_id, None);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

/// What a scan gets for a file: registered or left out.
async fn scanned(f: &Fixture, new: &docent_store::NewDocument) -> Option<Registered> {
    let registered = f
        .store
        .documents()
        .register_all(&f.scope, std::slice::from_ref(new), NOW)
        .await
        .unwrap();
    registered.first().map(|(_, registered)| *registered)
}

async fn removed_paths(f: &Fixture) -> Vec<String> {
    let removed = f.store.documents().removed_files(&f.scope).await.unwrap();
    removed.into_iter().map(|file| file.path).collect()
}

#[tokio::test]
async fn what_the_user_removes_stays_away_until_it_is_added_again() {
    let mut f = Fixture::new().await;
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    let new = in_folder("/m/a.pdf", folder.id);
    assert_eq!(scanned(&f, &new).await, Some(Registered::Created));
    let id = f
        .store
        .documents()
        .known_files(&f.scope, &folder, "", 10)
        .await
        .unwrap()[0]
        .id;
    f.store.documents().delete(&f.scope, id).await.unwrap();
    f.restart().await;
    let removed = removed_paths(&f).await;
    assert_eq!(removed, ["/m/a.pdf"]);
    assert_eq!(scanned(&f, &new).await, None);
    assert_eq!(
        scanned(&f, &touched(new.clone())).await,
        None,
        "a change of the file is no wish of the user's"
    );
    assert_eq!(f.store.check().await.unwrap().findings, []);

    f.register("/m/a.pdf").await;
    assert_eq!(removed_paths(&f).await, [""; 0], "added by hand");
    let id = f.at("/m/a.pdf").await.id;
    f.store.documents().delete(&f.scope, id).await.unwrap();
    assert_eq!(
        scanned(&f, &new).await,
        None,
        "added by hand and removed again, it still lies in a watched folder"
    );
    let folders = f.store.folders();
    folders.add(&f.scope, "/m", NOW).await.unwrap();
    assert_eq!(
        scanned(&f, &new).await,
        None,
        "a folder that is watched already is added again by programs too"
    );
    let nobody = |_: &std::path::Path| None;
    folders.remove(&f.scope, folder.id, nobody).await.unwrap();
    let (folder, _) = folders.add(&f.scope, "/m", NOW).await.unwrap();
    let new = in_folder("/m/a.pdf", folder.id);
    assert_eq!(
        scanned(&f, &new).await,
        Some(Registered::Created),
        "its folder is new"
    );
}

#[tokio::test]
async fn another_folder_inherits_documents_with_all_that_was_made_of_them() {
    let f = Fixture::new().await;
    let folders = f.store.folders();
    let (outer, _) = folders.add(&f.scope, "/m", NOW).await.unwrap();
    let (inner, _) = folders.add(&f.scope, "/m/in", NOW).await.unwrap();
    let mut made = Vec::new();
    for path in ["/m/in/a.pdf", "/m/in/b.pdf"] {
        scanned(&f, &in_folder(path, inner.id)).await;
        let id = f.at(path).await.id;
        made.push((id, f.read(id, &["jedan"]).await.added));
    }
    let heir = |path: &std::path::Path| path.ends_with("a.pdf").then_some(outer.id);
    let removed = folders.remove(&f.scope, inner.id, heir).await.unwrap();
    assert_eq!((removed.documents, removed.chunks), (1, made[1].1.clone()));
    let kept = f.at("/m/in/a.pdf").await;
    assert_eq!((kept.id, kept.folder_id), (made[0].0, Some(outer.id)));
    assert_eq!(kept.chunk_count, 1);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_folder_knows_which_directory_it_was() {
    let f = Fixture::new().await;
    let folders = f.store.folders();
    let (folder, _) = folders.add(&f.scope, "/m", NOW).await.unwrap();
    let unknown = folders.root(&f.scope, folder.id).await.unwrap();
    assert_eq!(unknown, RootIdentity::default());
    let root = |inode, born_ns| RootIdentity { inode, born_ns };
    let first = root(Some(u64::MAX), Some(-7));
    folders
        .note_root(&f.scope, folder.id, &first)
        .await
        .unwrap();
    assert_eq!(folders.root(&f.scope, folder.id).await.unwrap(), first);
    assert!(!first.differs_from(&first) && !unknown.differs_from(&first));
    assert!(!first.differs_from(&root(Some(u64::MAX), None)));
    assert!(first.differs_from(&root(Some(u64::MAX), Some(1))));
    assert!(first.differs_from(&root(Some(3), None)));
}

#[tokio::test]
async fn removals_are_forgotten_with_the_folders_that_would_bring_them_back() {
    let f = Fixture::new().await;
    let folders = f.store.folders();
    let removed = async || removed_paths(&f).await;
    let (outer, _) = folders.add(&f.scope, "/m", NOW).await.unwrap();
    let (inner, _) = folders.add(&f.scope, "/m/in", NOW).await.unwrap();
    for path in ["/m/in/a.pdf", "/m/b.pdf", "/mb.pdf"] {
        let id = f.register(path).await.id;
        f.store.documents().delete(&f.scope, id).await.unwrap();
    }
    assert_eq!(
        removed().await,
        ["/m/b.pdf", "/m/in/a.pdf"],
        "no scan brings back what lies in no watched folder"
    );
    folders.remove(&f.scope, inner.id, |_| None).await.unwrap();
    assert_eq!(removed().await, ["/m/b.pdf", "/m/in/a.pdf"]);
    folders.add(&f.scope, "/m/in", NOW).await.unwrap();
    folders.add(&f.scope, "/m", NOW).await.unwrap();
    assert_eq!(
        removed().await,
        ["/m/b.pdf", "/m/in/a.pdf"],
        "it was watched all the time"
    );
    folders.add(&f.scope, "/", NOW).await.unwrap();
    assert_eq!(removed().await, [""; 0], "new, with all that lies in it");
    folders.remove(&f.scope, outer.id, |_| None).await.unwrap();
    assert_eq!(removed().await, [""; 0]);
}

/// A folder whose files vanish and come back (a disk that is unplugged) is nobody's wish.
#[tokio::test]
async fn what_a_scan_removes_may_come_back() {
    let f = Fixture::new().await;
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    let new = in_folder("/m/a.pdf", folder.id);
    scanned(&f, &new).await;
    let id = f
        .store
        .documents()
        .known_files(&f.scope, &folder, "", 10)
        .await
        .unwrap()[0]
        .id;
    f.store
        .documents()
        .delete_all(&f.scope, &[id])
        .await
        .unwrap();
    assert_eq!(scanned(&f, &new).await, Some(Registered::Created));
}

#[tokio::test]
async fn patterns_are_kept_and_scanned_by() {
    let mut f = Fixture::new().await;
    let given = FolderPatterns {
        include: vec!["*.pdf".into(), "/Ugovori/".into()],
        exclude: vec!["stari \"nacrti\"".into()],
    };
    let folders = f.store.folders();
    let (folder, _) = folders
        .add_with(&f.scope, "/m", Some(&given), NOW)
        .await
        .unwrap();
    assert_eq!(folder.patterns, given);
    let (again, _) = folders.add(&f.scope, "/m", NOW).await.unwrap();
    assert_eq!(again.patterns, given, "adding it again changes no patterns");
    f.restart().await;
    let folders = f.store.folders();
    assert_eq!(folders.get(&f.scope, folder.id).await.unwrap(), folder);
    let scan = f.claim(JobType::Scan).await;
    f.store
        .jobs()
        .finish(&f.scope, Claim::from(&scan), NOW)
        .await
        .unwrap();

    let none = FolderPatterns::default();
    let changed = folders
        .set_patterns(&f.scope, folder.id, &none, NOW)
        .await
        .unwrap();
    assert_eq!(changed.patterns, none);
    f.claim(JobType::Scan).await;
}

#[tokio::test]
async fn scans_of_other_folders_are_known_and_hastened() {
    let f = Fixture::new().await;
    let folders = f.store.folders();
    let (a, _) = folders.add(&f.scope, "/a", NOW).await.unwrap();
    let (b, _) = folders.add(&f.scope, "/b", NOW).await.unwrap();
    let first = f.claim(JobType::Scan).await;
    assert_eq!(first.kind, JobKind::Scan { folder: a.id });
    let others = async |id, by| folders.hasten_others(&f.scope, id, by).await.unwrap();
    assert_eq!(others(a.id, NOW).await, [(b.id, NOW)]);
    assert_eq!(others(b.id, NOW).await, [(a.id, NOW)], "it runs");
    f.claim(JobType::Scan).await;

    let other = workspace(&f.store, "B").await;
    let (c, _) = folders.add(&other, "/c", NOW).await.unwrap();
    folders.remove(&other, c.id, |_| None).await.unwrap();
    let (d, _) = folders.add(&f.scope, "/d", NOW).await.unwrap();
    f.claim(JobType::Scan).await;
    let jobs = f.store.jobs();
    for id in [a.id, b.id, d.id] {
        let query = docent_store::JobQuery::default();
        let all = jobs.list(&f.scope, &query).await.unwrap();
        let job = all
            .items
            .iter()
            .find(|listed| listed.job.kind == JobKind::Scan { folder: id });
        jobs.finish(&f.scope, Claim::from(&job.unwrap().job), NOW)
            .await
            .unwrap();
    }
    folders
        .enqueue_scans(
            &[
                (f.scope, b.id, later(500)),
                (other, c.id, NOW),
                (f.scope, a.id, NOW),
            ],
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(others(a.id, later(900)).await, [(b.id, later(500))]);
    assert_eq!(others(a.id, later(200)).await, [(b.id, later(200))]);
    assert_eq!(
        others(a.id, later(900)).await,
        [(b.id, later(200))],
        "it stays"
    );
    assert_eq!(
        f.claim(JobType::Scan).await.kind,
        JobKind::Scan { folder: a.id }
    );
}

#[tokio::test]
async fn a_consent_is_to_what_was_asked_and_is_used_once() {
    let mut f = Fixture::new().await;
    let (folder, _) = f.store.folders().add(&f.scope, "/m", NOW).await.unwrap();
    let id = folder.id;
    let accepted = async |f: &Fixture| f.store.folders().accepted(&f.scope, id).await.unwrap();
    let ask = async |f: &Fixture, gone, known| {
        let scanned = (NOW, ScanSummary::default());
        let folders = f.store.folders();
        let asked = folders.ask(&f.scope, id, gone, known, "gone", scanned);
        asked.await.unwrap();
    };
    let accept = async |f: &Fixture| {
        let consented = f.store.folders().accept(&f.scope, id, NOW).await;
        consented.unwrap();
    };
    let end = async |f: &Fixture, state| {
        let folders = f.store.folders();
        let ended = folders.set_state(&f.scope, id, state, None, None).await;
        ended.unwrap();
    };
    accept(&f).await;
    assert_eq!(accepted(&f).await, 0, "nothing was asked");
    ask(&f, 6, 0).await;
    assert_eq!(accepted(&f).await, 0);
    accept(&f).await;
    f.restart().await;
    assert_eq!(accepted(&f).await, 6);
    end(&f, FolderState::Incomplete).await;
    assert_eq!(accepted(&f).await, 6, "until a scan has seen everything");
    accept(&f).await;
    assert_eq!(accepted(&f).await, 6);
    ask(&f, 9, 0).await;
    assert_eq!(
        accepted(&f).await,
        6,
        "given while a scan was under way that did not know of it"
    );
    ask(&f, 9, 6).await;
    assert_eq!(accepted(&f).await, 0, "more is gone: asked again");
    accept(&f).await;
    let documents = f.store.documents();
    let removed = documents
        .delete_vanished(&f.scope, id, &[], 4)
        .await
        .unwrap();
    assert_eq!((removed.len(), accepted(&f).await), (0, 4), "for the rest");
    documents
        .delete_vanished(&f.scope, id, &[], 0)
        .await
        .unwrap();
    assert_eq!(accepted(&f).await, 0);
    accept(&f).await;
    assert_eq!(accepted(&f).await, 0, "answered");
    ask(&f, 9, 0).await;
    accept(&f).await;
    end(&f, FolderState::Watching).await;
    assert_eq!(accepted(&f).await, 0);
}
