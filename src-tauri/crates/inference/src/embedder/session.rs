//! Running an embedding model in this process: tokens in, unit vectors out. Worker side only.
//!
//! BERT-shaped models run on sessions of our own; BGE-M3 runs through fastembed, which knows its
//! three outputs. Texts are cut at the model's length and run one by one, never padded: on a CPU a
//! batch is not faster than its texts one after the other (measured from 45 to 500 tokens), padding
//! is work for nothing, and a vector doesn't depend on its neighbours. Several texts run at once, in
//! [`lanes`] of one thread each, which scales better than threads inside of one run.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fastembed::{Bgem3Embedding, InitOptionsUserDefined, TokenizerFiles};
use ort::environment::Environment;
use ort::ep::{CPU, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;
use tokenizers::{Tokenizer, TruncationParams};

use super::beside;
use super::protocol::ModelSpec;
use crate::catalog::{EmbedderFamily, EmbedderShape, Pooling};
use crate::models::onnx;
use crate::{EmbedKind, Embedding};

/// Each lane has the weights once more in memory.
const MAX_LANES: usize = 4;

/// What goes wrong in the worker travels to the parent as a sentence.
type Outcome<T> = Result<T, String>;

pub(crate) struct EmbeddingModel {
    shape: EmbedderShape,
    engine: Engine,
}

enum Engine {
    Bert(Box<Bert>),
    BgeM3(Box<Bgem3Embedding>),
}

impl EmbeddingModel {
    pub fn load(spec: &ModelSpec) -> Outcome<Self> {
        let environment = environment(&spec.runtime)?;
        onnx::check_external_data(&spec.model, &[]).map_err(|error| error.to_string())?;
        let engine = match spec.shape.family {
            EmbedderFamily::Bert => Engine::Bert(Box::new(Bert::load(&environment, spec)?)),
            EmbedderFamily::BgeM3 => {
                let options = InitOptionsUserDefined::new()
                    .with_environment(environment)
                    .with_execution_providers(providers())
                    .with_max_length(spec.shape.max_tokens)
                    .with_intra_threads(spec.threads)
                    .with_session_config(SPINNING, "0");
                let files = tokenizer_files(&spec.model, &spec.tokenizer)?;
                let model = Bgem3Embedding::try_new_from_path(&spec.model, files, options)
                    .map_err(|error| could_not_load(&spec.model, &error))?;
                Engine::BgeM3(Box::new(model))
            }
        };
        Ok(Self {
            shape: spec.shape.clone(),
            engine,
        })
    }

    /// One embedding per text, in order.
    pub fn embed(
        &mut self,
        kind: EmbedKind,
        texts: &[String],
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Outcome<Vec<Embedding>> {
        let prefix = match kind {
            EmbedKind::Query => &self.shape.query_prefix,
            EmbedKind::Passage => &self.shape.passage_prefix,
        };
        let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let embeddings = match &mut self.engine {
            Engine::Bert(bert) => bert.embed(&texts, &self.shape, is_cancelled)?,
            Engine::BgeM3(model) => embed_bge_m3(model, &texts, is_cancelled)?,
        };
        if embeddings
            .iter()
            .any(|embedding| embedding.dense.len() != self.shape.dimensions)
        {
            return Err(format!(
                "the model does not give {} dimensions",
                self.shape.dimensions
            ));
        }
        Ok(embeddings)
    }
}

/// ONNX Runtime allows one environment per process, and stays loaded for its life.
pub(crate) fn environment(runtime: &Path) -> Outcome<Environment> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = slot.as_ref() {
        return Ok(environment.clone());
    }
    let failed = |error: &dyn std::fmt::Display| {
        format!(
            "ONNX Runtime could not be loaded from {}: {error}; run `docent models fetch onnxruntime`",
            runtime.display()
        )
    };
    // Without this `ort` would look for a library by itself, and panic where there is none.
    let environment = ort::init_from(runtime)
        .map_err(|error| failed(&error))?
        .with_name("docent")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(&error))?;
    *slot = Some(environment.clone());
    Ok(environment)
}

/// Without an arena, which would keep the memory of the largest batch for ever.
pub(crate) fn providers() -> Vec<ExecutionProviderDispatch> {
    vec![CPU::default().with_arena_allocator(false).build()]
}

/// Idle threads that spin take the cores from the model that writes the answer.
pub(crate) const SPINNING: &str = "session.intra_op.allow_spinning";

/// What fastembed wants beside the graph; the files lie in the model's folder.
pub(crate) fn tokenizer_files(model: &Path, tokenizer: &Path) -> Outcome<TokenizerFiles> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| format!("could not read {}: {error}", path.display()))
    };
    Ok(TokenizerFiles {
        tokenizer_file: read(tokenizer)?,
        config_file: read(&beside(model, "config.json"))?,
        special_tokens_map_file: read(&beside(model, "special_tokens_map.json"))?,
        tokenizer_config_file: read(&beside(model, "tokenizer_config.json"))?,
    })
}

pub(crate) fn could_not_load(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{} could not be loaded: {error}", path.display())
}

struct Bert {
    tokenizer: Tokenizer,
    lanes: Vec<Lane>,
}

/// A session and what it is asked for.
struct Lane {
    session: Session,
    wants_mask: bool,
    wants_types: bool,
}

/// A text's place among its like, and its vector.
type Numbered = (usize, Vec<f32>);

/// How many sessions share so many threads, and how many each gets.
fn lanes(threads: usize) -> (usize, usize) {
    let lanes = threads.clamp(1, MAX_LANES);
    (lanes, (threads / lanes).max(1))
}

impl Bert {
    fn load(environment: &Environment, spec: &ModelSpec) -> Outcome<Self> {
        let (lanes, threads) = lanes(spec.threads);
        let mut tokenizer = Tokenizer::from_file(&spec.tokenizer)
            .map_err(|error| could_not_load(&spec.tokenizer, &error))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: spec.shape.max_tokens,
                ..TruncationParams::default()
            }))
            .map_err(|error| could_not_load(&spec.tokenizer, &error))?;
        Ok(Self {
            tokenizer,
            lanes: (0..lanes)
                .map(|_| Lane::load(environment, &spec.model, threads))
                .collect::<Outcome<_>>()?,
        })
    }

    fn embed(
        &mut self,
        texts: &[String],
        shape: &EmbedderShape,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Outcome<Vec<Embedding>> {
        let tokenizer = &self.tokenizer;
        let next = AtomicUsize::new(0);
        let work = |lane: &mut Lane| {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(text) = texts.get(index) else {
                    return Ok(done);
                };
                if is_cancelled() {
                    return Err("cancelled".to_owned());
                }
                let tokens = tokenizer
                    .encode_fast(text.as_str(), true)
                    .map_err(|error| format!("a text could not be split into tokens: {error}"))?;
                done.push((index, lane.run(tokens.get_ids(), shape)?));
            }
        };
        let (first, others) = self
            .lanes
            .split_first_mut()
            .expect("BUG: at least one lane");
        let helpers = others.len().min(texts.len().saturating_sub(1));
        let done: Vec<Outcome<Vec<Numbered>>> = std::thread::scope(|scope| {
            let helpers: Vec<_> = others[..helpers]
                .iter_mut()
                .map(|lane| scope.spawn(|| work(lane)))
                .collect();
            let mut done = vec![work(first)];
            done.extend(helpers.into_iter().map(|helper| {
                helper
                    .join()
                    .unwrap_or_else(|_| Err("the embedding model failed".to_owned()))
            }));
            done
        });
        let mut embeddings = vec![None; texts.len()];
        for part in done {
            for (index, dense) in part? {
                embeddings[index] = Some(Embedding {
                    dense,
                    sparse: None,
                });
            }
        }
        Ok(embeddings
            .into_iter()
            .map(|embedding| embedding.expect("BUG: every text is taken once"))
            .collect())
    }
}

impl Lane {
    fn load(environment: &Environment, model: &Path, threads: usize) -> Outcome<Self> {
        let failed = |error: &dyn std::fmt::Display| could_not_load(model, error);
        let session = Session::builder(environment)
            .map_err(|error| failed(&error))?
            .with_execution_providers(providers())
            .map_err(|error| failed(&error))?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|error| failed(&error))?
            .with_intra_threads(threads)
            .map_err(|error| failed(&error))?
            // A pattern of memory is planned per shape, and every text has another.
            .with_memory_pattern(false)
            .map_err(|error| failed(&error))?
            .with_config_entry(SPINNING, "0")
            .map_err(|error| failed(&error))?
            .commit_from_file(model)
            .map_err(|error| failed(&error))?;
        let wants = |name: &str| session.inputs().iter().any(|input| input.name() == name);
        Ok(Self {
            wants_mask: wants("attention_mask"),
            wants_types: wants("token_type_ids"),
            session,
        })
    }

    /// The unit vector of one text.
    fn run(&mut self, tokens: &[u32], shape: &EmbedderShape) -> Outcome<Vec<f32>> {
        let failed = |error: ort::Error| format!("the embedding model failed: {error}");
        let length = tokens.len();
        let extent = [1, length];
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let mut values = ort::inputs![
            "input_ids" => Tensor::from_array((extent, ids)).map_err(failed)?,
        ];
        if self.wants_mask {
            let mask = Tensor::from_array((extent, vec![1_i64; length])).map_err(failed)?;
            values.push(("attention_mask".into(), mask.into()));
        }
        if self.wants_types {
            let types = Tensor::from_array((extent, vec![0_i64; length])).map_err(failed)?;
            values.push(("token_type_ids".into(), types.into()));
        }
        let outputs = self.session.run(values).map_err(failed)?;
        let output = outputs.get("last_hidden_state").unwrap_or(&outputs[0]);
        let (found, data) = output.try_extract_tensor::<f32>().map_err(failed)?;
        let width = shape.dimensions;
        let rows = match shape.pooling {
            Pooling::InGraph => 1,
            Pooling::Mean | Pooling::Cls => length,
        };
        if rows == 0 || width == 0 || data.len() != rows * width {
            return Err(format!(
                "the embedding model gives {:?} values where {rows} times {width} were expected",
                &**found
            ));
        }
        let mut vector = match shape.pooling {
            Pooling::InGraph | Pooling::Cls => data[..width].to_vec(),
            Pooling::Mean => {
                // The sum: its length is made 1 below.
                let mut sum = vec![0.0; width];
                for token in data.chunks_exact(width) {
                    for (total, value) in sum.iter_mut().zip(token) {
                        *total += value;
                    }
                }
                sum
            }
        };
        normalise(&mut vector);
        Ok(vector)
    }
}

fn embed_bge_m3(
    model: &mut Bgem3Embedding,
    texts: &[String],
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Outcome<Vec<Embedding>> {
    texts
        .iter()
        .map(|text| {
            if is_cancelled() {
                return Err("cancelled".to_owned());
            }
            let output = model
                .embed([text.as_str()], Some(1))
                .map_err(|error| format!("the embedding model failed: {error}"))?;
            let (Some(mut dense), Some(sparse)) = (
                output.dense.into_iter().next(),
                output.sparse.into_iter().next(),
            ) else {
                return Err("the embedding model gave no vector".to_owned());
            };
            normalise(&mut dense);
            let pairs = sparse.indices.into_iter().zip(sparse.values);
            Ok(Embedding {
                dense,
                sparse: Some(
                    pairs
                        .map(|(token, weight)| (token as u32, weight))
                        .collect(),
                ),
            })
        })
        .collect()
}

/// To unit length; a vector of zeros stays one.
fn normalise(vector: &mut [f32]) {
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if norm > 0.0 {
        for value in vector {
            *value /= norm;
        }
    }
}

#[cfg(test)]
mod tests;
