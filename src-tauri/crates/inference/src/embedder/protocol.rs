//! What travels between [`OnnxEmbedder`](super::OnnxEmbedder) and its worker, and the worker's loop.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::session::EmbeddingModel;
use crate::catalog::EmbedderShape;
use crate::reranker::{RerankModel, RerankSpec};
use crate::{EmbedKind, Embedding};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModelSpec {
    pub shape: EmbedderShape,
    pub model: PathBuf,
    pub tokenizer: PathBuf,
    pub runtime: PathBuf,
    pub threads: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind_of_work", rename_all = "snake_case")]
pub(crate) enum Request {
    Embed {
        model: ModelSpec,
        kind: EmbedKind,
        texts: Vec<String>,
    },
    Rerank {
        model: RerankSpec,
        query: String,
        passages: Vec<String>,
    },
}

/// Head of the one reply to [`Request::Embed`]. The body holds the dense vectors as f32, little
/// endian, one after the other; then, of models that have them, the sparse ones as (u32, f32) pairs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Embedded {
    pub texts: usize,
    pub dimensions: usize,
    /// Pairs of each text.
    pub sparse: Option<Vec<usize>>,
}

/// Body of the reply to [`Request::Rerank`]: one f32 per passage.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reranked {
    pub passages: usize,
}

impl Embedded {
    pub fn encode(embeddings: &[Embedding], dimensions: usize) -> (Self, Vec<u8>) {
        let mut body = Vec::with_capacity(embeddings.len() * dimensions * 4);
        for embedding in embeddings {
            body.extend(embedding.dense.iter().flat_map(|value| value.to_le_bytes()));
        }
        let sparse: Option<Vec<&Vec<(u32, f32)>>> = embeddings
            .iter()
            .map(|embedding| embedding.sparse.as_ref())
            .collect();
        let sparse = sparse.filter(|sparse| !sparse.is_empty()).map(|sparse| {
            for (token, weight) in sparse.iter().copied().flatten() {
                body.extend(token.to_le_bytes());
                body.extend(weight.to_le_bytes());
            }
            sparse.iter().map(|pairs| pairs.len()).collect()
        });
        let head = Self {
            texts: embeddings.len(),
            dimensions,
            sparse,
        };
        (head, body)
    }

    /// `None` when the sizes don't fit together or aren't those that were asked for.
    pub fn decode(&self, body: &[u8], texts: usize, dimensions: usize) -> Option<Vec<Embedding>> {
        if self.texts != texts || self.dimensions != dimensions {
            return None;
        }
        let (dense, pairs) = body.split_at_checked(texts * dimensions * 4)?;
        let (words, rest) = dense.as_chunks::<4>();
        let mut pairs = match (&self.sparse, pairs.as_chunks::<8>()) {
            (Some(counts), (pairs, [])) if counts.iter().sum::<usize>() == pairs.len() => {
                pairs.iter()
            }
            (None, ([], [])) => [].iter(),
            _ => return None,
        };
        if !rest.is_empty()
            || self
                .sparse
                .as_ref()
                .is_some_and(|counts| counts.len() != texts)
        {
            return None;
        }
        let embeddings = (0..texts).map(|text| Embedding {
            dense: words[text * dimensions..(text + 1) * dimensions]
                .iter()
                .map(|word| f32::from_le_bytes(*word))
                .collect(),
            sparse: self.sparse.as_ref().map(|counts| {
                pairs
                    .by_ref()
                    .take(counts[text])
                    .map(|[a, b, c, d, weight @ ..]| {
                        (
                            u32::from_le_bytes([*a, *b, *c, *d]),
                            f32::from_le_bytes(*weight),
                        )
                    })
                    .collect()
            }),
        });
        Some(embeddings.collect())
    }
}

/// The worker's life: loads what a request names, keeps it, answers one request after the other.
pub(crate) fn run() -> io::Result<()> {
    let embedding: Mutex<Option<(ModelSpec, EmbeddingModel)>> = Mutex::default();
    let reranking: Mutex<Option<(RerankSpec, RerankModel)>> = Mutex::default();
    docent_worker::serve(|request: Request, _body, reply| match request {
        Request::Embed { model, kind, texts } => {
            let mut loaded = embedding.lock().unwrap_or_else(PoisonError::into_inner);
            if loaded.as_ref().is_none_or(|(spec, _)| *spec != model) {
                // The old model's memory goes before the new one's comes.
                *loaded = None;
                let session = EmbeddingModel::load(&model)?;
                *loaded = Some((model, session));
            }
            let Some((spec, session)) = loaded.as_mut() else {
                return Err("no model is loaded".to_owned());
            };
            let embeddings = session.embed(kind, &texts, &|| reply.is_cancelled())?;
            let (head, body) = Embedded::encode(&embeddings, spec.shape.dimensions);
            send(reply, &serde_json::to_value(head), &body)
        }
        Request::Rerank {
            model,
            query,
            passages,
        } => {
            let mut loaded = reranking.lock().unwrap_or_else(PoisonError::into_inner);
            if loaded.as_ref().is_none_or(|(spec, _)| *spec != model) {
                *loaded = None;
                let session = RerankModel::load(&model)?;
                *loaded = Some((model, session));
            }
            let Some((_, session)) = loaded.as_mut() else {
                return Err("no model is loaded".to_owned());
            };
            let scores = session.score(&query, &passages)?;
            let body: Vec<u8> = scores
                .iter()
                .flat_map(|score| score.to_le_bytes())
                .collect();
            let head = Reranked {
                passages: scores.len(),
            };
            send(reply, &serde_json::to_value(head), &body)
        }
    })
}

fn send(
    reply: &docent_worker::Reply<serde_json::Value>,
    head: &serde_json::Result<serde_json::Value>,
    body: &[u8],
) -> Result<(), String> {
    match head {
        Ok(head) => reply.send(head, body).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_survive_the_way_and_wrong_sizes_do_not() {
        for sparse in [
            None,
            Some(vec![(5, 0.5), (250_001, 0.25)]),
            Some(Vec::new()),
        ] {
            let embeddings = vec![
                Embedding {
                    dense: vec![0.6, 0.8],
                    sparse: sparse.clone(),
                },
                Embedding {
                    dense: vec![-1.0, 0.0],
                    sparse: sparse.as_ref().map(|_| vec![(7, 1.0)]),
                },
            ];
            let (head, body) = Embedded::encode(&embeddings, 2);
            assert_eq!(head.decode(&body, 2, 2), Some(embeddings));
            assert_eq!(head.decode(&body[..body.len() - 1], 2, 2), None);
            assert_eq!(head.decode(&body, 1, 2), None, "not what was asked");
            assert_eq!(head.decode(&body, 2, 3), None, "another width");
        }
    }
}
