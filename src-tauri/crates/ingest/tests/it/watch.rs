//! Watching real folders. Nothing here waits for time to pass, only for a hint to come.

use std::path::{Path, PathBuf};
use std::time::Duration;

use docent_ingest::{FolderWatcher, Hint, HintCause, WatchedBy};
use tokio::sync::mpsc::Receiver;

/// Far beyond any delay of the watcher; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_mins(1);

async fn next(hints: &mut Receiver<Hint>) -> Hint {
    tokio::time::timeout(PATIENCE, hints.recv())
        .await
        .expect("a hint in time")
        .expect("a watcher")
}

async fn until(hints: &mut Receiver<Hint>, root: &Path, cause: HintCause) {
    let wanted = Hint {
        root: root.to_owned(),
        cause,
    };
    while next(hints).await != wanted {}
}

fn root(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().canonicalize().unwrap()
}

#[tokio::test]
async fn changes_below_a_root_are_hinted_at() {
    let folder = tempfile::tempdir().unwrap();
    let root = root(&folder);
    let (watcher, mut hints) = FolderWatcher::spawn([root.clone()]);
    until(&mut hints, &root, HintCause::Watching).await;

    std::fs::write(root.join("new.txt"), "x").unwrap();
    until(&mut hints, &root, HintCause::Changed).await;

    std::fs::create_dir_all(root.join("a/b")).unwrap();
    until(&mut hints, &root, HintCause::Changed).await;
    std::fs::rename(root.join("new.txt"), root.join("a/b/moved.txt")).unwrap();
    until(&mut hints, &root, HintCause::Changed).await;
    std::fs::remove_dir_all(root.join("a")).unwrap();
    until(&mut hints, &root, HintCause::Changed).await;
    assert_eq!(watcher.watched_by(&root), Some(WatchedBy::Events));
    assert_eq!(watcher.watched_by(Path::new("/elsewhere")), None);
    drop(watcher);
    assert_eq!(hints.recv().await, None, "a dropped watcher ends its hints");
}

#[tokio::test]
async fn roots_come_and_go() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one_root, two_root) = (root(&one), root(&two));
    let (watcher, mut hints) = FolderWatcher::spawn([]);
    watcher.add(one_root.clone());
    until(&mut hints, &one_root, HintCause::Watching).await;
    watcher.add(two_root.clone());
    until(&mut hints, &two_root, HintCause::Watching).await;

    watcher.remove(&one_root);
    std::fs::write(one_root.join("unseen"), "x").unwrap();
    std::fs::write(two_root.join("seen"), "x").unwrap();
    assert_eq!(
        next(&mut hints).await,
        Hint {
            root: two_root,
            cause: HintCause::Changed
        }
    );
}

/// The system's watcher drops all that lies below what it is told to drop.
#[tokio::test]
async fn a_root_that_goes_leaves_those_around_it_and_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let outer = root(&folder);
    let (inner, innermost) = (outer.join("in"), outer.join("in/most"));
    std::fs::create_dir_all(&innermost).unwrap();
    let (watcher, mut hints) = FolderWatcher::spawn([]);
    for root in [&outer, &inner, &innermost] {
        watcher.add(root.clone());
        until(&mut hints, root, HintCause::Watching).await;
    }
    watcher.remove(&inner);
    // Commands are carried out in turn, so its watch is given back when another's stands.
    let other = tempfile::tempdir().unwrap();
    watcher.add(root(&other));
    until(&mut hints, &root(&other), HintCause::Watching).await;
    std::fs::write(inner.join("a.txt"), "x").unwrap();
    until(&mut hints, &outer, HintCause::Changed).await;

    watcher.remove(&outer);
    until(&mut hints, &innermost, HintCause::Overflow).await;
    std::fs::write(innermost.join("b.txt"), "x").unwrap();
    until(&mut hints, &innermost, HintCause::Changed).await;
    assert_eq!(watcher.watched_by(&innermost), Some(WatchedBy::Events));
}

#[tokio::test]
async fn a_root_that_appears_later_is_watched_then() {
    let folder = tempfile::tempdir().unwrap();
    let root = root(&folder).join("usb");
    let (_watcher, mut hints) = FolderWatcher::spawn([root.clone()]);
    until(&mut hints, &root, HintCause::Watching).await;
    std::fs::create_dir(&root).unwrap();
    until(&mut hints, &root, HintCause::RootChanged).await;
    std::fs::write(root.join("file"), "x").unwrap();
    until(&mut hints, &root, HintCause::Changed).await;
}
