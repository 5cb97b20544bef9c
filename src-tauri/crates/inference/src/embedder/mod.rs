//! Embedding in a worker process, seen from the application.
//!
//! One worker holds one model. A call is cut into frames of a few texts of similar length; between
//! the frames of a long ingest a question's frame goes first, so that asking never waits for more
//! than one frame. The request carries the whole configuration, so a worker that died and was
//! started again needs nobody to remember what it had loaded.

pub(crate) mod protocol;
pub(crate) mod session;
mod tokens;
mod turns;
mod unigram;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use docent_worker::{Launch, RestartPolicy, Supervisor};

pub use tokens::TokenizerCounter;

use crate::catalog::{EmbedderShape, ModelEntry, Pooling};
use crate::models::{self, ModelStore};
use crate::{EmbedKind, Embedder, Embedding, Error};
use protocol::{Embedded, ModelSpec, Request};
use turns::Turns;

/// Estimated tokens of a frame: a quarter to half of a second of work on two cores with the starter
/// embedder, which is what a question may have to wait.
const FRAME_TOKENS: usize = 1536;

/// Texts of a frame, however short they are.
const FRAME_TEXTS: usize = 64;

/// Bytes of a token of prose, on the low side, so that frames come out smaller rather than larger.
const BYTES_PER_TOKEN: usize = 3;

/// What an [`OnnxEmbedder`] runs.
#[derive(Clone, Debug)]
pub struct EmbedderOptions {
    pub fingerprint: String,
    pub shape: EmbedderShape,
    pub model: PathBuf,
    pub tokenizer: PathBuf,
    /// The ONNX Runtime library.
    pub runtime: PathBuf,
    /// Threads of the worker; `None` for one per physical core.
    pub threads: Option<usize>,
    pub launch: Launch,
}

impl EmbedderOptions {
    /// A verified model of the store, with the store's ONNX Runtime. `launch` starts the worker role
    /// `embedder`.
    pub fn from_store(store: &ModelStore, id: &str, launch: Launch) -> models::Result<Self> {
        let entry = store.entry(id)?;
        let shape = entry
            .embedder
            .clone()
            .ok_or_else(|| models::Error::UnknownModel { id: id.to_owned() })?;
        Ok(Self {
            fingerprint: fingerprint(&entry, &shape, &store.sha256(id)?),
            shape,
            model: store.path(id)?,
            tokenizer: store.file(id, "tokenizer.json")?,
            runtime: store.path("onnxruntime")?,
            threads: None,
            launch,
        })
    }

    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    fn spec(&self) -> ModelSpec {
        ModelSpec {
            shape: self.shape.clone(),
            model: self.model.clone(),
            tokenizer: self.tokenizer.clone(),
            runtime: self.runtime.clone(),
            threads: self.threads.unwrap_or_else(physical_cores),
        }
    }
}

/// Everything that the vectors depend on.
fn fingerprint(entry: &ModelEntry, shape: &EmbedderShape, sha256: &str) -> String {
    let pooling = match shape.pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
        Pooling::InGraph => "graph",
    };
    format!(
        "{}:{}:{pooling}:v{}",
        entry.id,
        sha256.get(..16).unwrap_or(sha256),
        shape.version
    )
}

/// An embedder of the catalog, in a worker process that starts with the first call.
pub struct OnnxEmbedder {
    options: EmbedderOptions,
    spec: ModelSpec,
    worker: Supervisor,
    turns: Turns,
}

impl OnnxEmbedder {
    #[must_use]
    pub fn new(options: EmbedderOptions) -> Self {
        Self {
            spec: options.spec(),
            worker: Supervisor::new("embedder", options.launch.clone(), RestartPolicy::default()),
            turns: Turns::default(),
            options,
        }
    }

    /// Process id of the worker while it runs.
    #[must_use]
    pub fn worker_pid(&self) -> Option<u32> {
        self.worker.pid()
    }

    /// The text as the model reads it, but for the prefix, cut into frames: indices, each frame's
    /// texts of similar length.
    fn frames(texts: &[String]) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(texts[index].len()));
        let mut frames: Vec<Vec<usize>> = Vec::new();
        let mut tokens = 0;
        for index in order {
            let estimate = texts[index].len() / BYTES_PER_TOKEN + 1;
            match frames.last_mut() {
                Some(frame) if tokens + estimate <= FRAME_TOKENS && frame.len() < FRAME_TEXTS => {
                    frame.push(index);
                    tokens += estimate;
                }
                _ => {
                    frames.push(vec![index]);
                    tokens = estimate;
                }
            }
        }
        frames
    }

    async fn embed_frame(
        &self,
        kind: EmbedKind,
        texts: Vec<String>,
    ) -> Result<Vec<Embedding>, Error> {
        let _turn = self.turns.take(kind).await;
        let count = texts.len();
        let request = Request::Embed {
            model: self.spec.clone(),
            kind,
            texts,
        };
        let mut answer = self.worker.ask(&request, Bytes::new()).await;
        if let Err(docent_worker::Error::Died { .. }) = answer {
            // A new process gives the same vectors, and one death need not fail a search.
            answer = self.worker.ask(&request, Bytes::new()).await;
        }
        let (head, body): (Embedded, Bytes) = answer?;
        head.decode(&body, count, self.dimensions())
            .ok_or_else(|| Error::Inference("the embedder's answer has the wrong size".to_owned()))
    }
}

#[async_trait]
impl Embedder for OnnxEmbedder {
    fn fingerprint(&self) -> &str {
        &self.options.fingerprint
    }

    fn dimensions(&self) -> usize {
        self.options.shape.dimensions
    }

    fn max_tokens(&self) -> usize {
        self.options.shape.max_tokens
    }

    fn has_sparse(&self) -> bool {
        self.options.shape.sparse
    }

    async fn embed(&self, kind: EmbedKind, texts: Vec<String>) -> Result<Vec<Embedding>, Error> {
        let mut texts = texts;
        let mut embeddings: Vec<Option<Embedding>> = Vec::new();
        embeddings.resize_with(texts.len(), || None);
        for frame in Self::frames(&texts) {
            let batch = frame
                .iter()
                .map(|&index| std::mem::take(&mut texts[index]))
                .collect();
            for (index, embedding) in frame.iter().zip(self.embed_frame(kind, batch).await?) {
                embeddings[*index] = Some(embedding);
            }
        }
        Ok(embeddings
            .into_iter()
            .map(|embedding| embedding.expect("BUG: every text is in one frame"))
            .collect())
    }

    async fn unload(&self) {
        // Between two frames, so that an ingest loses nothing.
        let _turn = self.turns.take(EmbedKind::Passage).await;
        self.worker.stop().await;
    }
}

/// Cores without their hyper-threads, which matrix products don't profit from.
#[must_use]
pub fn physical_cores() -> usize {
    let logical = std::thread::available_parallelism().map_or(1, usize::from);
    let mut siblings = std::collections::HashSet::new();
    for cpu in 0..logical {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        match std::fs::read_to_string(path) {
            Ok(list) => siblings.insert(list),
            Err(_) => return logical,
        };
    }
    siblings.len().clamp(1, logical)
}

pub(crate) fn beside(model: &Path, name: &str) -> PathBuf {
    model.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_hold_every_text_once_and_stay_small() {
        let texts: Vec<String> = (0..300_usize)
            .map(|index| "x".repeat(index * 37 % 4000))
            .collect();
        let frames = OnnxEmbedder::frames(&texts);
        let mut seen: Vec<usize> = frames.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..300).collect::<Vec<_>>());
        for frame in &frames {
            let tokens: usize = frame
                .iter()
                .map(|&index| texts[index].len() / BYTES_PER_TOKEN + 1)
                .sum();
            assert!(frame.len() == 1 || tokens <= FRAME_TOKENS);
            assert!(frame.len() <= FRAME_TEXTS);
        }
        assert!(OnnxEmbedder::frames(&[]).is_empty());
    }
}
