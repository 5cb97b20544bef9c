//! The engine's life: opening a data folder, running its tasks, closing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use docent_domain::{MessageId, Timestamp, WorkspaceId};
use docent_store::{BootId, Store, StoreOptions};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::cores::Cores;
use crate::embedder_change::Changes;
use crate::error::{Code, Error, Result};
use crate::events::Events;
use crate::folders::Watching;
use crate::indexes::Indexes;
use crate::lock::DataLock;
use crate::models::{ModelSource, Models};
use crate::pipeline::Reader;
use crate::retrieve::expand::Expander;
use crate::types::{Change, Topic};

/// Where an engine works and with what.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    pub data_dir: PathBuf,
    pub models_dir: PathBuf,
    pub config: Config,
    pub models: ModelSource,
    /// Whether jobs run by themselves. Tests that step through them turn it off.
    pub run_jobs: bool,
    /// How long to wait for another process that is just closing the same data folder.
    pub patience: Duration,
}

impl EngineOptions {
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, models_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            models_dir: models_dir.into(),
            config: Config::default(),
            models: ModelSource::Installed,
            run_jobs: true,
            patience: Duration::from_secs(1),
        }
    }
}

/// One open data folder. Call [`Engine::shutdown`] before dropping the last reference; a process
/// that dies without it loses nothing that was acknowledged.
pub struct Engine {
    options: EngineOptions,
    store: Store,
    boot: BootId,
    events: Events,
    cores: Arc<Cores>,
    models: Models,
    indexes: Indexes,
    reader: Reader,
    changes: Changes,
    expander: Expander,
    watching: Watching,
    answering: Answering,
    /// Held from a blob's arrival to its row's, and from the look for a blob's rows to its removal.
    blobs: tokio::sync::Mutex<()>,
    /// Rung whenever a job may have become due.
    jobs_due: Notify,
    stopping: CancellationToken,
    tasks: TaskTracker,
    _lock: DataLock,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens a data folder, creating it if need be, rescues the jobs of a process that died, and
    /// starts the background tasks.
    pub async fn open(options: EngineOptions) -> Result<Arc<Self>> {
        let data_dir = options.data_dir.clone();
        let patience = options.patience;
        let lock = tokio::task::spawn_blocking(move || {
            for folder in [data_dir.clone(), data_dir.join("blobs"), data_dir.join("indexes"), data_dir.join("incoming")] {
                std::fs::create_dir_all(&folder).map_err(|error| {
                    Error::new(Code::Internal, format!("{} cannot be created", folder.display()))
                        .with_source(error)
                        .with_hint("Check the permissions of the folder above it, or choose another with --data-dir")
                })?;
            }
            DataLock::acquire(&data_dir, patience)
        })
        .await
        .map_err(|error| Error::internal("opening the data folder", error))??;
        let store =
            Store::open_with(options.data_dir.join("docent.db"), StoreOptions::from_env()).await?;
        let boot = BootId::generate();
        let recovery = store.jobs().rescue_foreign(boot, Timestamp::now()).await?;
        tracing::info!(
            requeued = recovery.requeued.len(),
            given_up = recovery.dead.len(),
            jobs_added = recovery.jobs_added,
            interrupted_answers = recovery.interrupted_messages,
            "opened {}",
            options.data_dir.display()
        );
        let models = Models::open(&options).await?;
        let engine = Arc::new(Self {
            indexes: Indexes::new(options.data_dir.join("indexes")),
            reader: Reader::new(&models)?,
            changes: Changes::default(),
            store,
            boot,
            events: Events::new(),
            cores: Arc::new(Cores::default()),
            models,
            expander: Expander::default(),
            watching: Watching::default(),
            answering: Answering::default(),
            blobs: tokio::sync::Mutex::default(),
            jobs_due: Notify::new(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            _lock: lock,
            options,
        });
        engine.discard_incoming().await;
        engine.watch_folders().await?;
        if engine.options.run_jobs {
            engine.spawn_tasks();
        }
        Ok(engine)
    }

    /// Ends background work, keeps what is done, and gives the models' memory back.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.answering.cancel_all();
        self.watching.stop().await;
        self.tasks.close();
        self.jobs_due.notify_waiters();
        self.tasks.wait().await;
        self.models.unload().await;
        self.reader.stop().await;
        self.changes.close().await;
        self.indexes.close().await;
        self.store.close().await;
    }

    /// Runs a use-case in a task of the engine's, for callers who may be dropped while they wait
    /// (a client hangs up): what has begun is done to its end all the same. A panic is passed on.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.tasks.spawn(work).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Changes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.events.subscribe()
    }

    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.options.config
    }

    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn boot(&self) -> BootId {
        self.boot
    }

    pub(crate) fn cores(&self) -> &Arc<Cores> {
        &self.cores
    }

    pub(crate) fn model_set(&self) -> &Models {
        &self.models
    }

    pub(crate) fn indexes(&self) -> &Indexes {
        &self.indexes
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn expander(&self) -> &Expander {
        &self.expander
    }

    pub(crate) fn watching(&self) -> &Watching {
        &self.watching
    }

    pub(crate) fn answering(&self) -> &Answering {
        &self.answering
    }

    /// The lock on blobs and the rows that refer to them.
    pub(crate) async fn keeping_blobs(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.blobs.lock().await
    }

    pub(crate) fn jobs_due(&self) -> &Notify {
        &self.jobs_due
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn changed(&self, topic: Topic, workspace: Option<WorkspaceId>) {
        self.events.changed(topic, workspace);
    }

    /// New work may be waiting.
    pub(crate) fn ring(&self) {
        self.jobs_due.notify_waiters();
    }
}

/// The answers being written, so that they can be stopped by their message.
#[derive(Debug, Default)]
pub(crate) struct Answering {
    running: Mutex<HashMap<MessageId, CancellationToken>>,
}

impl Answering {
    pub(crate) fn insert(&self, message: MessageId, cancel: CancellationToken) {
        self.lock().insert(message, cancel);
    }

    pub(crate) fn remove(&self, message: &MessageId) {
        self.lock().remove(message);
    }

    pub(crate) fn cancel(&self, message: MessageId) {
        if let Some(cancel) = self.lock().get(&message) {
            cancel.cancel();
        }
    }

    fn cancel_all(&self) {
        for cancel in self.lock().values() {
            cancel.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MessageId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
