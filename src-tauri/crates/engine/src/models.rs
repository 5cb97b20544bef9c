//! The models in use: which are installed, which are loaded, and fetching those that are missing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use docent_domain::Progress;
use docent_inference::catalog::Role;
use docent_inference::embedder::{EmbedderOptions, OnnxEmbedder, TokenizerCounter};
use docent_inference::fake::{FakeEmbedder, FakeGenerator};
use docent_inference::generator::{GeneratorOptions, GeneratorState, LlamaGenerator};
use docent_inference::models::{self as files, ModelStore};
use docent_inference::openai::{OpenAiEmbedder, OpenAiGenerator, OpenAiOptions};
use docent_inference::{Embedder, Generator, TokenCounter};
use docent_secrets::Secrets;
use docent_worker::{Launch, Limits};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{Engine, EngineOptions};
use crate::error::{Code, Error, Result};
use crate::indexes::blocking;
use crate::types::{Installed, ModelInfo, ModelState, ModelStatus, Status, Topic};

/// Name under which the key of an OpenAI-compatible server is kept.
const OPENAI_SECRET: &str = "openai";

/// Where models come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelSource {
    /// Verified files of the models folder, run in child processes.
    #[default]
    Installed,
    /// Deterministic stand-ins, for tests alone.
    Fakes,
}

/// The models of an engine. Each is made at first use and kept.
pub(crate) struct Models {
    files: ModelStore,
    config: Config,
    source: ModelSource,
    secrets: Secrets,
    embedders: Mutex<HashMap<String, LoadedEmbedder>>,
    generator: Mutex<Option<LoadedGenerator>>,
    /// Overrides the configured generator until the next start.
    chosen: SyncMutex<Option<String>>,
    fetches: SyncMutex<HashMap<String, Fetch>>,
    last_use: SyncMutex<Instant>,
    /// Stand-ins that are as if their files were not here.
    #[cfg(test)]
    gone: SyncMutex<Vec<String>>,
}

#[derive(Clone)]
struct LoadedEmbedder {
    embedder: Arc<dyn Embedder>,
    tokens: Arc<dyn TokenCounter>,
    /// The same, if it runs in a worker process here.
    local: Option<Arc<OnnxEmbedder>>,
}

struct LoadedGenerator {
    generator: Arc<dyn Generator>,
    /// The same, if it runs in a worker process here.
    local: Option<Arc<LlamaGenerator>>,
}

#[derive(Clone)]
struct Fetch {
    progress: Progress,
    cancel: CancellationToken,
    /// Why the last attempt ended without the model.
    failure: Option<String>,
    running: bool,
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Models {
    pub(crate) async fn open(options: &EngineOptions) -> Result<Self> {
        let folder = options.models_dir.clone();
        let files = blocking("opening the models folder", move || {
            Ok(ModelStore::open(folder)?)
        })
        .await?;
        Ok(Self {
            files,
            config: options.config.clone(),
            source: options.models,
            secrets: Secrets::new("docent", options.data_dir.join("secrets.json")),
            embedders: Mutex::default(),
            generator: Mutex::default(),
            chosen: SyncMutex::default(),
            fetches: SyncMutex::default(),
            last_use: SyncMutex::new(Instant::now()),
            #[cfg(test)]
            gone: SyncMutex::default(),
        })
    }

    #[cfg(test)]
    pub(crate) async fn take_away(&self, id: &str) {
        self.gone.lock().unwrap().push(id.to_owned());
        self.forget(id).await;
    }

    #[cfg(test)]
    pub(crate) fn bring_back(&self) {
        self.gone.lock().unwrap().clear();
    }

    #[cfg(test)]
    fn is_gone(&self, id: &str) -> bool {
        self.gone.lock().unwrap().iter().any(|gone| gone == id)
    }

    pub(crate) fn files(&self) -> &ModelStore {
        &self.files
    }

    /// The catalog id of the model that writes answers.
    pub(crate) fn generator_id(&self) -> String {
        let chosen = self
            .chosen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        chosen.unwrap_or_else(|| self.config.generator.clone())
    }

    /// Whether the generator may be asked to answer in another language than the passages have.
    pub(crate) fn answers_across_languages(&self) -> bool {
        let id = self.generator_id();
        self.source == ModelSource::Fakes
            || id == "openai"
            || self
                .files
                .entry(&id)
                .is_ok_and(|entry| entry.answers_across_languages)
    }

    pub(crate) fn knows_embedder(&self, id: &str) -> bool {
        self.source == ModelSource::Fakes
            || id == "openai"
            || self
                .files
                .entry(id)
                .is_ok_and(|entry| entry.role == Role::Embedder)
    }

    /// The embedder of that catalog id. Loading its weights waits until it is first asked.
    pub(crate) async fn embedder(&self, id: &str) -> Result<Arc<dyn Embedder>> {
        Ok(self.loaded_embedder(id).await?.embedder)
    }

    /// Counts tokens as that embedder does.
    pub(crate) async fn token_counter(&self, id: &str) -> Result<Arc<dyn TokenCounter>> {
        Ok(self.loaded_embedder(id).await?.tokens)
    }

    async fn loaded_embedder(&self, id: &str) -> Result<LoadedEmbedder> {
        self.touch();
        let mut embedders = self.embedders.lock().await;
        if let Some(known) = embedders.get(id) {
            return Ok(known.clone());
        }
        let loaded = match self.source {
            #[cfg(test)]
            ModelSource::Fakes if self.is_gone(id) => {
                return Err(Error::new(Code::ModelMissing, format!("{id} is gone")));
            }
            ModelSource::Fakes => {
                let fake = Arc::new(fake_embedder(id));
                LoadedEmbedder {
                    embedder: fake.clone(),
                    tokens: fake,
                    local: None,
                }
            }
            ModelSource::Installed if id == "openai" => self.openai_embedder().await?,
            ModelSource::Installed => self.installed_embedder(id).await?,
        };
        embedders.insert(id.to_owned(), loaded.clone());
        Ok(loaded)
    }

    async fn installed_embedder(&self, id: &str) -> Result<LoadedEmbedder> {
        let store = self.files.clone();
        let threads = self.config.threads;
        let id = id.to_owned();
        blocking("opening an embedder", move || {
            let launch = worker_launch("embedder")?;
            let tokenizer = store.file(&id, "tokenizer.json")?;
            let tokens = TokenizerCounter::open(&tokenizer)?;
            let mut options = EmbedderOptions::from_store(&store, &id, launch)?;
            if threads > 0 {
                options = options.with_threads(threads);
            }
            let embedder = Arc::new(OnnxEmbedder::new(options));
            Ok(LoadedEmbedder {
                embedder: embedder.clone(),
                tokens: Arc::new(tokens),
                local: Some(embedder),
            })
        })
        .await
    }

    /// Counts tokens with the starter embedder's tokenizer, since a remote one offers none; both
    /// err on the side of smaller chunks for what they don't know.
    async fn openai_embedder(&self) -> Result<LoadedEmbedder> {
        let options = self.openai_options().await?;
        let config = self.openai_config()?;
        let model = config.embedder_model.clone().unwrap_or_default();
        let dimensions = config.embedder_dimensions.unwrap_or_default();
        let tokenizer = self.files.file("multilingual-e5-small", "tokenizer.json")?;
        let tokens = blocking("opening a tokenizer", move || {
            Ok(TokenizerCounter::open(&tokenizer)?)
        })
        .await?;
        Ok(LoadedEmbedder {
            embedder: Arc::new(OpenAiEmbedder::new(options, model, dimensions)?),
            tokens: Arc::new(tokens),
            local: None,
        })
    }

    /// The generator. Loading its weights waits until it is first asked.
    pub(crate) async fn generator(&self) -> Result<Arc<dyn Generator>> {
        self.touch();
        let id = self.generator_id();
        let mut slot = self.generator.lock().await;
        if let Some(known) = slot.as_ref().filter(|known| known.generator.model() == id) {
            return Ok(Arc::clone(&known.generator));
        }
        let mut local = None;
        let generator: Arc<dyn Generator> = match self.source {
            ModelSource::Fakes => Arc::new(FakeGenerator::new(&id)),
            ModelSource::Installed if id == "openai" => {
                let options = self.openai_options().await?;
                let config = self.openai_config()?;
                let model = config.generator_model.clone().unwrap_or_default();
                Arc::new(OpenAiGenerator::new(options, model, config.context_tokens)?)
            }
            ModelSource::Installed => {
                let llama = Arc::new(self.installed_generator(id).await?);
                local = Some(Arc::clone(&llama));
                llama
            }
        };
        let loaded = LoadedGenerator {
            generator: Arc::clone(&generator),
            local,
        };
        if let Some(LoadedGenerator { generator, local }) = slot.replace(loaded) {
            drop(local);
            // An answer that is being written by the old one ends first; its process goes with it.
            if Arc::strong_count(&generator) == 1 {
                generator.unload().await;
            }
        }
        Ok(generator)
    }

    /// A local generator in a process of its own.
    pub(crate) async fn installed_generator(&self, id: String) -> Result<LlamaGenerator> {
        let store = self.files.clone();
        let wanted = id.clone();
        let path = blocking("finding a model", move || Ok(store.path(&wanted)?)).await?;
        Ok(LlamaGenerator::new(GeneratorOptions {
            model_id: id,
            model_path: path,
            context_tokens: Some(self.config.context_tokens),
            threads: self.config.threads,
            launch: worker_launch("generator")?,
        }))
    }

    /// Gives all models' memory back; the next request loads them again.
    pub(crate) async fn unload(&self) {
        if let Some(loaded) = self.generator.lock().await.as_ref() {
            loaded.generator.unload().await;
        }
        for loaded in self.embedders.lock().await.values() {
            loaded.embedder.unload().await;
        }
    }

    fn touch(&self) {
        *self.last_use.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle_for(&self) -> Duration {
        self.last_use
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    fn openai_config(&self) -> Result<&crate::config::OpenAiConfig> {
        self.config.openai.as_ref().ok_or_else(|| {
            let message = "the configuration has no [openai] section any more";
            Error::new(Code::ModelMissing, message).with_hint("Add it to config.toml again")
        })
    }

    async fn openai_options(&self) -> Result<OpenAiOptions> {
        let key = self
            .secrets
            .get(OPENAI_SECRET)
            .await
            .map_err(|error| Error::internal("reading the server's key", error))?;
        let key = key.map(|key| key.expose().to_owned());
        Ok(OpenAiOptions::new(&self.openai_config()?.base_url, key))
    }

    /// What is here of a model: missing, failed, being fetched (`Loading`), or else `Idle`; `Ready`
    /// for what needs no loading.
    fn installed_status(&self, id: &str) -> ModelStatus {
        let (state, message) = match self.source {
            #[cfg(test)]
            ModelSource::Fakes if self.is_gone(id) => (ModelState::Missing, None),
            ModelSource::Fakes => (ModelState::Ready, None),
            ModelSource::Installed if id == "openai" => match self.openai_config() {
                Ok(_) => (ModelState::Ready, None),
                Err(error) => (ModelState::Missing, Some(error.to_string())),
            },
            ModelSource::Installed => match self.files.status(id) {
                Ok(files::Status::Verified) => (ModelState::Idle, None),
                Ok(files::Status::Missing) => (ModelState::Missing, None),
                Ok(files::Status::Partial { missing }) => (
                    ModelState::Missing,
                    Some(format!("still to come: {}", missing.join(", "))),
                ),
                Ok(files::Status::Damaged { sentence, .. }) => (ModelState::Failed, Some(sentence)),
                Err(error) => (ModelState::Failed, Some(error.to_string())),
            },
        };
        let fetching = self.fetch_of(id).filter(|fetch| fetch.running);
        match fetching {
            Some(_) => ModelStatus {
                model: id.to_owned(),
                state: ModelState::Loading,
                message,
            },
            None => ModelStatus {
                model: id.to_owned(),
                state,
                message,
            },
        }
    }

    /// What is here of an embedder, and whether it can be asked.
    pub(crate) fn installed(&self, id: &str) -> (ModelStatus, bool) {
        let status = self.installed_status(id);
        let usable = is_usable(&status);
        (status, usable)
    }

    /// The generator's status, and whether it can be asked.
    async fn generator_status(&self) -> (ModelStatus, bool) {
        let id = self.generator_id();
        let mut status = self.installed_status(&id);
        let usable = is_usable(&status);
        let slot = self.generator.lock().await;
        let local = slot.as_ref().and_then(|loaded| loaded.local.as_ref());
        if let Some(local) = local.filter(|local| usable && local.model() == id) {
            (status.state, status.message) = match local.state() {
                GeneratorState::Idle => (ModelState::Idle, None),
                GeneratorState::Loading => (ModelState::Loading, None),
                GeneratorState::Ready => (ModelState::Ready, None),
                GeneratorState::Failed { reason } => (ModelState::Failed, Some(reason)),
            };
        }
        (status, usable)
    }

    /// The status of the embedder of new workspaces, and whether it can be asked.
    async fn embedder_status(&self) -> (ModelStatus, bool) {
        let id = &self.config.embedder;
        let mut status = self.installed_status(id);
        let usable = is_usable(&status);
        let embedders = self.embedders.lock().await;
        let local = embedders.get(id).and_then(|loaded| loaded.local.as_ref());
        if usable && local.is_some_and(|local| local.worker_pid().is_some()) {
            status.state = ModelState::Ready;
        }
        (status, usable)
    }

    /// The libraries that models and PDFs are read with.
    fn has_runtimes(&self) -> bool {
        self.source == ModelSource::Fakes
            || ["onnxruntime", "pdfium"]
                .iter()
                .all(|id| matches!(self.files.status(id), Ok(files::Status::Verified)))
    }

    fn fetch_of(&self, id: &str) -> Option<Fetch> {
        self.fetches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// Whether any model is on its way here.
    pub(crate) fn is_fetching(&self) -> bool {
        self.fetches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .any(|fetch| fetch.running)
    }

    fn update_fetch(&self, id: &str, update: impl FnOnce(&mut Fetch)) {
        if let Some(fetch) = self
            .fetches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(id)
        {
            update(fetch);
        }
    }

    /// Forgets a loaded model whose files have changed.
    async fn forget(&self, id: &str) {
        self.embedders.lock().await.remove(id);
        let mut slot = self.generator.lock().await;
        if slot
            .as_ref()
            .is_some_and(|known| known.generator.model() == id)
        {
            slot.take();
        }
    }
}

impl Engine {
    /// Every known model with what is here of it.
    pub async fn models(&self) -> Result<Vec<ModelInfo>> {
        let store = self.model_set().files().clone();
        let listed = blocking("listing the models", move || Ok(store.list())).await?;
        let memory = total_memory_bytes();
        let generator = self.model_set().generator_id();
        Ok(listed
            .into_iter()
            .map(|(entry, status)| {
                let fetch = self.model_set().fetch_of(&entry.id);
                let (installed, trouble) = match status {
                    files::Status::Missing => (Installed::Missing, None),
                    files::Status::Partial { .. } => (Installed::Partial, None),
                    files::Status::Verified => (Installed::Verified, None),
                    files::Status::Damaged { sentence, .. } => (Installed::Damaged, Some(sentence)),
                };
                ModelInfo {
                    active: entry.id == generator || entry.id == self.config().embedder,
                    size_bytes: entry.size_bytes(),
                    role: entry.role.as_str().to_owned(),
                    // The system and the window want a quarter of the memory for themselves.
                    fits: memory.is_none_or(|total| entry.memory_bytes <= total / 4 * 3)
                        && entry.runs_here(),
                    progress: fetch
                        .as_ref()
                        .filter(|fetch| fetch.running)
                        .map(|fetch| fetch.progress),
                    note: trouble
                        .or_else(|| fetch.and_then(|fetch| fetch.failure))
                        .or(entry.note),
                    installed,
                    id: entry.id,
                    name: entry.name,
                    memory_bytes: entry.memory_bytes,
                    licence: entry.licence,
                }
            })
            .collect())
    }

    /// Begins to fetch a model in the background; a fetch that runs already goes on.
    pub fn fetch_model(self: &Arc<Self>, id: &str) -> Result<()> {
        self.model_set().files().entry(id)?;
        let cancel = self.stopping().child_token();
        {
            let mut fetches = self
                .model_set()
                .fetches
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if fetches.get(id).is_some_and(|fetch| fetch.running) {
                return Ok(());
            }
            fetches.insert(
                id.to_owned(),
                Fetch {
                    progress: Progress::default(),
                    cancel: cancel.clone(),
                    failure: None,
                    running: true,
                },
            );
        }
        let engine = Arc::clone(self);
        let id = id.to_owned();
        self.tasks().spawn(async move {
            let reporter = Arc::clone(&engine);
            let reported = id.clone();
            let on_progress: files::OnProgress = Arc::new(move |progress| {
                reporter.model_set().update_fetch(&reported, |fetch| {
                    fetch.progress = Progress {
                        done: progress.done,
                        total: progress.total,
                    };
                });
                reporter.changed(Topic::Models, None);
            });
            let result = engine
                .model_set()
                .files()
                .fetch(&id, on_progress, cancel)
                .await;
            engine.model_set().forget(&id).await;
            engine.model_set().update_fetch(&id, |fetch| {
                fetch.running = false;
                fetch.failure = result.err().map(|error| error.to_string());
            });
            engine.changed(Topic::Models, None);
            // Jobs that waited for this model may run now.
            engine.reader().try_blocked();
            engine.ring();
        });
        self.changed(Topic::Models, None);
        Ok(())
    }

    /// Stops a fetch; what was downloaded is kept for the next one.
    pub fn cancel_fetch(&self, id: &str) -> Result<()> {
        match self.model_set().fetch_of(id) {
            Some(fetch) if fetch.running => {
                fetch.cancel.cancel();
                Ok(())
            }
            _ => Err(Error::new(
                Code::Conflict,
                format!("{id} is not being fetched"),
            )),
        }
    }

    /// Makes a model the one that writes answers, until the next start.
    pub fn activate_model(&self, id: &str) -> Result<()> {
        let entry = self.model_set().files().entry(id)?;
        if entry.role != Role::Generator {
            return Err(Error::invalid(format!("{id} does not write answers"))
                .with_hint("Embedders are chosen for each workspace, in its settings"));
        }
        self.model_set().files().path(id)?;
        *self
            .model_set()
            .chosen
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(id.to_owned());
        self.changed(Topic::Models, None);
        Ok(())
    }

    /// Whether questions can be answered, and if not, what is missing.
    pub async fn status(&self) -> Status {
        let (generator, can_write) = self.model_set().generator_status().await;
        let (embedder, can_embed) = self.model_set().embedder_status().await;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            ready: can_write && can_embed && self.model_set().has_runtimes(),
            generator,
            embedder,
            data_dir: self.options().data_dir.display().to_string(),
        }
    }

    /// Ends the worker processes of models that nobody has asked for so long.
    pub(crate) async fn unload_idle_models(&self, limit: Duration) {
        if self.cores().are_wanted() {
            // One long answer is no idleness.
            self.model_set().touch();
            return;
        }
        if self.model_set().idle_for() >= limit {
            let status = self.status().await;
            self.model_set().unload().await;
            if [status.generator.state, status.embedder.state].contains(&ModelState::Ready) {
                self.changed(Topic::Models, None);
            }
        }
    }
}

/// Ids of stand-ins say what they are unlike: `fake-64` in width, `fake-short` in how much they read,
/// `fake-picky` in refusing a word, `fake-x` in what they make of it. Any other id names the same one.
fn fake_embedder(id: &str) -> FakeEmbedder {
    match id.strip_prefix("fake-") {
        None => FakeEmbedder::new(),
        Some("picky") => FakeEmbedder::new().salted("picky").refusing("otrov"),
        Some("short") => FakeEmbedder::new().salted("short").with_max_tokens(8),
        Some(variant) => match variant.parse() {
            Ok(dimensions) => FakeEmbedder::with_dimensions(dimensions),
            Err(_) => FakeEmbedder::new().salted(variant),
        },
    }
}

fn is_usable(status: &ModelStatus) -> bool {
    matches!(status.state, ModelState::Idle | ModelState::Ready)
}

fn worker_launch(role: &str) -> Result<Launch> {
    let mut launch = Launch::of_this_binary(role)
        .map_err(|error| Error::internal("finding Docent's own program", error))?;
    launch.limits = Limits::default();
    Ok(launch)
}

/// Of this machine; `None` where it cannot be told.
fn total_memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Tokens that a text will take in the generator, estimated without asking it: Croatian takes
/// one for about 2.6 characters in Qwen's vocabulary and English one for about 4.3, and too
/// high an estimate only makes a prompt shorter.
pub(crate) fn token_estimate() -> impl Fn(&str) -> usize {
    |text: &str| {
        let chars = text.chars().count();
        let foreign = text.chars().filter(|c| !c.is_ascii()).count();
        if foreign * 100 >= chars {
            chars * 10 / 26 + 1
        } else {
            chars * 10 / 38 + 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_generator_is_taken_from_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let mut options =
            EngineOptions::new(folder.path().join("data"), folder.path().join("models"));
        options.models = ModelSource::Fakes;
        options.run_jobs = false;
        let engine = Engine::open(options).await.unwrap();
        let models = engine.model_set();
        let fake = Arc::new(FakeGenerator::new(&models.generator_id()));
        let loaded = LoadedGenerator {
            generator: fake.clone(),
            local: None,
        };
        *models.generator.lock().await = Some(loaded);
        let answer = engine.cores().interactive();
        engine.unload_idle_models(Duration::ZERO).await;
        assert_eq!(fake.unloads(), 0, "an answer is being written");
        drop(answer);
        engine.unload_idle_models(Duration::MAX).await;
        assert_eq!(fake.unloads(), 0, "one has just been written");
        engine.unload_idle_models(Duration::ZERO).await;
        assert_eq!(fake.unloads(), 1);

        let writing = models.generator().await.unwrap();
        *models.chosen.lock().unwrap() = Some("another".into());
        let other = models.generator().await.unwrap();
        assert_eq!(other.model(), "another");
        assert_eq!(fake.unloads(), 1, "an answer still has it");
        drop((writing, other, fake));
        engine.shutdown().await;
    }
}
