//! The parts that use-cases are made of, for benchmarks, which hold the whole against them.
//!
//! The same models, processes and indexes as the engine uses, without the rows and jobs around them.
//! No use-case is reached this way.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use docent_domain::{DocumentId, FolderId, WorkspaceScope};
use docent_ingest::{Detection, ScanOptions};
use tokio_util::sync::CancellationToken;

use crate::cores::Interactive;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::indexes::blocking;
use crate::pipeline::{EMBED_BATCH, embedded_text};

pub use docent_index::{Hit, Result as IndexResult, WorkspaceIndex};
pub use docent_inference::generator::{Benchmark, LlamaGenerator};
pub use docent_inference::{ChatTurn, EmbedKind, Embedder, GenerationRequest, Generator};

/// No document is embedded while it lives, as while an answer is being written.
#[derive(Debug)]
pub struct EmbeddingHeld {
    _interactive: Interactive,
}

impl Engine {
    /// The configured local generator, in a process of its own.
    pub async fn llama_generator(&self) -> Result<LlamaGenerator> {
        let models = self.model_set();
        models.installed_generator(models.generator_id()).await
    }

    /// The workspace's embedder, in the process that the workspace's documents are embedded in.
    pub async fn embedder(&self, scope: &WorkspaceScope) -> Result<Arc<dyn Embedder>> {
        Ok(self.open_index(scope).await?.embedder)
    }

    /// The workspace's index.
    pub async fn index(&self, scope: &WorkspaceScope) -> Result<Arc<WorkspaceIndex>> {
        Ok(self.open_index(scope).await?.index)
    }

    /// What the embedder reads of every chunk of a document, in the batches of an ingest.
    pub async fn embedded_texts(
        &self,
        scope: &WorkspaceScope,
        document: DocumentId,
    ) -> Result<Vec<Vec<String>>> {
        let chunks = self.store().chunks();
        let keys = chunks.keys_of_document(scope, document).await?;
        let entries = chunks.entries_for_keys(scope, &keys).await?;
        let texts: Vec<String> = entries.iter().map(embedded_text).collect();
        Ok(texts.chunks(EMBED_BATCH).map(<[_]>::to_vec).collect())
    }

    /// Extracts a file's text in the engine's reader, drops it, and returns the number of its pages.
    pub async fn extract(&self, path: &Path) -> Result<usize> {
        let inspected = {
            let path = path.to_owned();
            blocking("looking at a file", move || {
                Ok(docent_ingest::inspect(&path))
            })
            .await?
        };
        let detection = inspected.map(|inspection| inspection.detection);
        let Ok(Detection::Supported(format)) = detection else {
            return Err(Error::invalid(format!("{} is not read", path.display())));
        };
        let extracted = self
            .reader()
            .extractor
            .extract(path, format, CancellationToken::new(), |_| {})
            .await?;
        Ok(extracted.pages.len())
    }

    /// How many chunks an embedder was asked for since the start.
    #[must_use]
    pub fn embedded(&self) -> u64 {
        self.reader().embedded()
    }

    /// Walks over a folder as a scan does, and returns the number of its files.
    pub async fn walk(&self, root: &Path) -> Result<usize> {
        let (root, cancel) = (root.to_owned(), self.stopping().clone());
        blocking("walking over a folder", move || {
            let options = ScanOptions::default();
            docent_ingest::walk(&root, &options, &cancel, |_| ControlFlow::Continue(()))
                .map(|seen| seen.files)
                .map_err(|error| Error::invalid(error.to_string()))
        })
        .await
    }

    /// Compares a folder with the disk now, beside the queue. Not for an engine that runs jobs.
    pub async fn scan_now(self: &Arc<Self>, scope: &WorkspaceScope, id: FolderId) -> Result<()> {
        self.scan(scope, id, self.stopping()).await?;
        Ok(())
    }

    /// Lets documents be read and their words indexed, but not embedded, while the result lives.
    pub async fn hold_embedding(&self) -> EmbeddingHeld {
        let interactive = self.cores().interactive();
        interactive.ready().await;
        EmbeddingHeld {
            _interactive: interactive,
        }
    }
}
