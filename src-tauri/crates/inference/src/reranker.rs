//! The optional cross-encoder: reads a question and a passage together and scores the pair.
//!
//! It runs in a worker of the embedder's kind, through fastembed.

use std::path::PathBuf;

use bytes::Bytes;
use docent_worker::{Launch, RestartPolicy, Supervisor};
use fastembed::{OnnxSource, RerankInitOptionsUserDefined, TextRerank, UserDefinedRerankingModel};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::embedder::physical_cores;
use crate::embedder::protocol::{Request, Reranked};
use crate::embedder::session::{SPINNING, could_not_load, environment, providers, tokenizer_files};
use crate::models::{self, ModelStore, onnx};

/// A question and a chunk; longer passages are cut.
const MAX_TOKENS: usize = 1024;

/// The weights of the catalog's reranker lie beside its graph, in this file alone.
const EXTERNAL_DATA: [&str; 1] = ["model.onnx.data"];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RerankSpec {
    pub model: PathBuf,
    pub tokenizer: PathBuf,
    pub runtime: PathBuf,
    pub threads: usize,
}

/// A reranker of the catalog, in a worker process that starts with the first call.
pub struct OnnxReranker {
    spec: RerankSpec,
    worker: Supervisor,
}

impl OnnxReranker {
    /// A verified model of the store. `launch` starts the worker role `embedder`.
    pub fn from_store(
        store: &ModelStore,
        id: &str,
        launch: Launch,
        threads: Option<usize>,
    ) -> models::Result<Self> {
        Ok(Self {
            spec: RerankSpec {
                model: store.path(id)?,
                tokenizer: store.file(id, "tokenizer.json")?,
                runtime: store.path("onnxruntime")?,
                threads: threads.unwrap_or_else(physical_cores),
            },
            worker: Supervisor::new("reranker", launch, RestartPolicy::default()),
        })
    }

    /// One score per passage, in order; higher is better, the scale is the model's own.
    pub async fn rerank(&self, query: &str, passages: Vec<String>) -> Result<Vec<f32>, Error> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let count = passages.len();
        let request = Request::Rerank {
            model: self.spec.clone(),
            query: query.to_owned(),
            passages,
        };
        let (head, body): (Reranked, Bytes) = self.worker.ask(&request, Bytes::new()).await?;
        let (scores, rest) = body.as_chunks::<4>();
        if head.passages != count || scores.len() != count || !rest.is_empty() {
            return Err(Error::Inference(
                "the reranker's answer has the wrong size".to_owned(),
            ));
        }
        Ok(scores
            .iter()
            .map(|score| f32::from_le_bytes(*score))
            .collect())
    }

    /// Gives the model's memory back; the next request loads it again.
    pub async fn unload(&self) {
        self.worker.stop().await;
    }
}

/// Worker side.
pub(crate) struct RerankModel {
    model: TextRerank,
}

impl RerankModel {
    pub fn load(spec: &RerankSpec) -> Result<Self, String> {
        let environment = environment(&spec.runtime)?;
        onnx::check_external_data(&spec.model, &EXTERNAL_DATA)
            .map_err(|error| error.to_string())?;
        let files = tokenizer_files(&spec.model, &spec.tokenizer)?;
        let options = RerankInitOptionsUserDefined::new()
            .with_environment(environment)
            .with_execution_providers(providers())
            .with_max_length(MAX_TOKENS)
            .with_intra_threads(spec.threads.max(1))
            .with_session_config(SPINNING, "0");
        let source = OnnxSource::File(spec.model.clone());
        let model = TextRerank::try_new_from_user_defined(
            UserDefinedRerankingModel::new(source, files),
            options,
        )
        .map_err(|error| could_not_load(&spec.model, &error))?;
        Ok(Self { model })
    }

    /// In the order of the passages.
    pub fn score(&mut self, query: &str, passages: &[String]) -> Result<Vec<f32>, String> {
        let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
        // One passage a run: nothing is padded, and memory stays that of one.
        let ranked = self
            .model
            .rerank(query, &passages, false, Some(1))
            .map_err(|error| format!("the reranking model failed: {error}"))?;
        let mut scores = vec![0.0; passages.len()];
        for result in ranked {
            scores[result.index] = result.score;
        }
        Ok(scores)
    }
}
