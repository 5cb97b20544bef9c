//! An engine in a folder of its own, and short ways to use it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use docent_domain::{Document, DocumentId, WorkspaceScope};
use docent_engine::{
    AddedFolders, Config, DocumentQuery, Engine, EngineOptions, ModelSource, SearchRequest,
};
use tempfile::TempDir;

/// Runs a test to its end on threads of its own.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

pub struct Bench {
    pub engine: Arc<Engine>,
    pub scope: WorkspaceScope,
    pub models: ModelSource,
    folder: TempDir,
}

impl Bench {
    pub async fn open() -> Self {
        Self::with(ModelSource::Fakes).await
    }

    pub async fn with(models: ModelSource) -> Self {
        Self::made(models, |_| {}).await
    }

    /// With other settings, until it is restarted.
    pub async fn configured(configure: impl FnOnce(&mut Config)) -> Self {
        Self::made(ModelSource::Fakes, configure).await
    }

    async fn made(models: ModelSource, configure: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(folder.path(), models);
        configure(&mut options.config);
        let engine = Engine::open(options).await.unwrap();
        let created = engine.create_workspace("Ured", None).await.unwrap();
        std::fs::create_dir(folder.path().join("files")).unwrap();
        Self {
            engine,
            scope: WorkspaceScope::new(created.id),
            models,
            folder,
        }
    }

    /// The process ends in an orderly way; `between` happens, and another one starts.
    pub async fn restart(self, between: impl FnOnce(&Path)) -> Self {
        let Self {
            engine,
            scope,
            models,
            folder,
        } = self;
        engine.shutdown().await;
        drop(engine);
        between(&folder.path().join("data"));
        let engine = Engine::open(options(folder.path(), models)).await.unwrap();
        Self {
            engine,
            scope,
            models,
            folder,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the user's files are, by the path that the system gives it.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files").canonicalize().unwrap()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Adds paths by hand, and waits until all is done.
    pub async fn add(&self, paths: &[&Path]) {
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        self.engine
            .add_paths(&self.scope, paths, AddedFolders::Watch)
            .await
            .unwrap();
        self.idle().await;
    }

    pub async fn upload(&self, name: &str, text: &str) -> DocumentId {
        let mut upload = self.engine.begin_upload(&self.scope, name).await.unwrap();
        upload.write(text.as_bytes()).await.unwrap();
        upload.finish().await.unwrap().document_id
    }

    pub async fn idle(&self) {
        self.engine.wait_idle(&self.scope, |_| {}).await.unwrap();
    }

    /// Scans every watched folder, and waits until all is done.
    pub async fn scan(&self) {
        for folder in self.engine.folders(&self.scope).await.unwrap() {
            self.engine
                .scan_folder(&self.scope, folder.id)
                .await
                .unwrap();
        }
        self.idle().await;
    }

    pub async fn documents(&self) -> Vec<Document> {
        let query = DocumentQuery {
            limit: 500,
            ..DocumentQuery::default()
        };
        let page = self.engine.documents(&self.scope, query).await.unwrap();
        page.items
    }

    pub async fn titles(&self) -> Vec<String> {
        let documents = self.documents().await;
        documents.into_iter().map(|found| found.title).collect()
    }

    /// The document of a file.
    pub async fn document(&self, path: &Path) -> Document {
        let documents = self.documents().await;
        documents
            .into_iter()
            .find(|document| Path::new(&document.path) == path)
            .unwrap_or_else(|| panic!("{} is no document", path.display()))
    }

    /// The texts that a question finds.
    pub async fn search(&self, question: &str) -> Vec<String> {
        let request = SearchRequest {
            text: question.to_owned(),
            k: 10,
            expand: false,
            legs: docent_engine::Legs::Hybrid,
            language: None,
        };
        let found = self.engine.search(&self.scope, request).await.unwrap();
        found
            .hits
            .into_iter()
            .map(|hit| hit.citation.text)
            .collect()
    }

    /// Nothing contradicts anything.
    pub async fn assert_healthy(&self) {
        let report = self.engine.doctor(false).await.unwrap();
        let problems: Vec<_> = report.findings.iter().map(|f| &f.problem).collect();
        assert!(problems.is_empty(), "{problems:?}");
    }
}

pub fn options(folder: &Path, models: ModelSource) -> EngineOptions {
    let mut options = EngineOptions::new(folder.join("data"), folder.join("models"));
    options.models = models;
    // What tests write is read at once.
    options.config.quiet_seconds = 0;
    options
}

/// Looks again and again until something is so. What never comes ends the test by its own limit.
pub async fn wait(mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), looking)
        .await
        .expect("it is so within two minutes");
}

/// Files below a folder that hold these bytes.
pub fn files_holding(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_holding(&path, needle));
        } else if std::fs::read(&path).is_ok_and(|bytes| {
            needle.is_empty()
                || bytes
                    .windows(needle.len())
                    .any(|window| window == needle.as_bytes())
        }) {
            found.push(path);
        }
    }
    found
}

/// The files below a folder in which word indexes note what was removed but still stands in them.
pub fn noted_removals(folder: &Path) -> Vec<PathBuf> {
    let mut found = files_holding(folder, "");
    found.retain(|path| path.extension() == Some("del".as_ref()));
    found
}

/// Writes a dozen files.
pub fn write_more(bench: &Bench) {
    for n in 0..12 {
        bench.write(&format!("more/{n}.txt"), &format!("Rečenica broj {n}."));
    }
}

/// Has the words made again, in one segment, which is not rewritten for one chunk of many.
pub async fn in_one_segment(bench: Bench) -> Bench {
    let workspace = bench.scope.workspace().to_string();
    let bench = bench
        .restart(|data| {
            let words = data.join("indexes").join(&workspace).join("words");
            std::fs::remove_dir_all(words).unwrap();
        })
        .await;
    // It opens the index.
    assert_eq!(bench.search("rečenica").await.len(), 10);
    bench
}

/// Names the file that holds an order for the next worker: a path and the one to move there.
const MEDDLE_VARIABLE: &str = "DOCENT_TEST_MEDDLE";

/// What a worker process does before it reads its first file, which the engine has looked at by
/// then: it replaces a file as some other program might, once. (It may rename, but not write.)
pub fn meddle() {
    let Some(order) = std::env::var_os(MEDDLE_VARIABLE) else {
        return;
    };
    while gate_beside(&order).exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let Ok(text) = std::fs::read_to_string(&order) else {
        return;
    };
    std::fs::remove_file(&order).unwrap();
    let (path, replacement) = text.split_once('\n').unwrap();
    std::fs::rename(replacement, path).unwrap();
}

/// While it is closed, workers that start wait before they read their first file.
pub struct Gate(PathBuf);

impl Gate {
    pub fn close() -> Self {
        let path = gate_beside(&std::env::var_os(MEDDLE_VARIABLE).expect("main has set it"));
        std::fs::write(&path, "").unwrap();
        Self(path)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn gate_beside(order: &std::ffi::OsStr) -> PathBuf {
    Path::new(order).with_file_name("gate")
}

/// Has the next worker that starts replace a file.
pub fn let_worker_replace(path: &Path, replacement: &Path) {
    let order = std::env::var_os(MEDDLE_VARIABLE).expect("main has set it");
    let text = format!("{}\n{}", path.display(), replacement.display());
    std::fs::write(order, text).unwrap();
}

/// Tells the workers where their orders will be. Call before there are threads.
pub fn prepare_meddling(folder: &Path) {
    // SAFETY: no other thread reads the environment yet.
    unsafe { std::env::set_var(MEDDLE_VARIABLE, folder.join("order")) };
}
