//! Running an embedding model in this process: tokens in, unit vectors out. Worker side only.
//!
//! BERT-shaped models run on a session of our own, which pools and batches as it likes; BGE-M3 runs
//! through fastembed, which knows its three outputs. Texts are cut at the model's length, sorted by
//! it and batched by padded tokens, because a short text in a long batch costs as much as a long one.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fastembed::{Bgem3Embedding, InitOptionsUserDefined, TokenizerFiles};
use ort::environment::Environment;
use ort::ep::{CPU, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;
use tokenizers::{Tokenizer, TruncationParams};

use super::protocol::ModelSpec;
use super::beside;
use crate::catalog::{EmbedderFamily, EmbedderShape, Pooling};
use crate::models::onnx;
use crate::{EmbedKind, Embedding};

/// Padded tokens of one run. More is not faster on a CPU, and takes more memory.
const BATCH_TOKENS: usize = 1024;

/// What goes wrong in the worker travels to the parent as a sentence.
type Outcome<T> = Result<T, String>;

pub(crate) struct EmbeddingModel {
    shape: EmbedderShape,
    engine: Engine,
}

enum Engine {
    Bert(Bert),
    BgeM3(Box<Bgem3Embedding>),
}

impl EmbeddingModel {
    pub fn load(spec: &ModelSpec) -> Outcome<Self> {
        let environment = environment(&spec.runtime)?;
        onnx::check_external_data(&spec.model, &[]).map_err(|error| error.to_string())?;
        let engine = match spec.shape.family {
            EmbedderFamily::Bert => Engine::Bert(Bert::load(&environment, spec)?),
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
        is_cancelled: &dyn Fn() -> bool,
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
    session: Session,
    wants_types: bool,
}

impl Bert {
    fn load(environment: &Environment, spec: &ModelSpec) -> Outcome<Self> {
        let failed = |error: &dyn std::fmt::Display| could_not_load(&spec.model, error);
        let session = Session::builder(environment)
            .map_err(|error| failed(&error))?
            .with_execution_providers(providers())
            .map_err(|error| failed(&error))?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|error| failed(&error))?
            .with_intra_threads(spec.threads.max(1))
            .map_err(|error| failed(&error))?
            // A pattern of memory is planned per shape, and every batch has another.
            .with_memory_pattern(false)
            .map_err(|error| failed(&error))?
            .with_config_entry(SPINNING, "0")
            .map_err(|error| failed(&error))?
            .commit_from_file(&spec.model)
            .map_err(|error| failed(&error))?;
        let mut tokenizer = Tokenizer::from_file(&spec.tokenizer)
            .map_err(|error| could_not_load(&spec.tokenizer, &error))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: spec.shape.max_tokens,
                ..TruncationParams::default()
            }))
            .map_err(|error| could_not_load(&spec.tokenizer, &error))?;
        let wants_types = session
            .inputs()
            .iter()
            .any(|input| input.name() == "token_type_ids");
        Ok(Self {
            tokenizer,
            session,
            wants_types,
        })
    }

    fn embed(
        &mut self,
        texts: &[String],
        shape: &EmbedderShape,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Outcome<Vec<Embedding>> {
        let tokens = texts
            .iter()
            .map(|text| {
                self.tokenizer
                    .encode_fast(text.as_str(), true)
                    .map(|encoding| encoding.get_ids().to_vec())
                    .map_err(|error| format!("a text could not be split into tokens: {error}"))
            })
            .collect::<Outcome<Vec<Vec<u32>>>>()?;
        let lengths: Vec<usize> = tokens.iter().map(Vec::len).collect();
        let mut embeddings = vec![None; texts.len()];
        for batch in batches(&lengths) {
            if is_cancelled() {
                return Err("cancelled".to_owned());
            }
            let inputs: Vec<&[u32]> = batch.iter().map(|&text| tokens[text].as_slice()).collect();
            for (text, dense) in batch.iter().zip(self.run(&inputs, shape)?) {
                embeddings[*text] = Some(Embedding {
                    dense,
                    sparse: None,
                });
            }
        }
        Ok(embeddings
            .into_iter()
            .map(|embedding| embedding.expect("BUG: every text is in one batch"))
            .collect())
    }

    fn run(&mut self, inputs: &[&[u32]], shape: &EmbedderShape) -> Outcome<Vec<Vec<f32>>> {
        let failed = |error: ort::Error| format!("the embedding model failed: {error}");
        let length = inputs.iter().map(|ids| ids.len()).max().unwrap_or(0).max(1);
        let extent = [inputs.len(), length];
        let mut ids = vec![0_i64; inputs.len() * length];
        let mut mask = vec![0_i64; inputs.len() * length];
        for (row, input) in inputs.iter().enumerate() {
            for (column, id) in input.iter().enumerate() {
                ids[row * length + column] = i64::from(*id);
                mask[row * length + column] = 1;
            }
        }
        let types = vec![0_i64; ids.len()];
        let mut values = ort::inputs![
            "input_ids" => Tensor::from_array((extent, ids)).map_err(failed)?,
            "attention_mask" => Tensor::from_array((extent, mask)).map_err(failed)?,
        ];
        if self.wants_types {
            let types = Tensor::from_array((extent, types)).map_err(failed)?;
            values.push(("token_type_ids".into(), types.into()));
        }
        let outputs = self.session.run(values).map_err(failed)?;
        let output = outputs
            .get("last_hidden_state")
            .or_else(|| outputs.get("token_embeddings"))
            .unwrap_or(&outputs[0]);
        let (found, data) = output.try_extract_tensor::<f32>().map_err(failed)?;
        let width = shape.dimensions;
        let expected: Vec<i64> = match shape.pooling {
            Pooling::InGraph => vec![inputs.len() as i64, width as i64],
            Pooling::Mean | Pooling::Cls => {
                vec![inputs.len() as i64, length as i64, width as i64]
            }
        };
        if **found != *expected {
            return Err(format!(
                "the embedding model gives {:?} values where {expected:?} were expected",
                &**found
            ));
        }
        let vectors = inputs.iter().enumerate().map(|(row, input)| {
            let mut vector = match shape.pooling {
                Pooling::InGraph => data[row * width..(row + 1) * width].to_vec(),
                Pooling::Cls => data[row * length * width..][..width].to_vec(),
                Pooling::Mean => {
                    let hidden = &data[row * length * width..][..input.len().max(1) * width];
                    let mut sum = vec![0.0; width];
                    for token in hidden.chunks_exact(width) {
                        for (total, value) in sum.iter_mut().zip(token) {
                            *total += value;
                        }
                    }
                    sum
                }
            };
            normalise(&mut vector);
            vector
        });
        Ok(vectors.collect())
    }
}

fn embed_bge_m3(
    model: &mut Bgem3Embedding,
    texts: &[String],
    is_cancelled: &dyn Fn() -> bool,
) -> Outcome<Vec<Embedding>> {
    let lengths = texts
        .iter()
        .map(|text| {
            model
                .tokenizer
                .encode_fast(text.as_str(), true)
                .map(|encoding| encoding.len())
                .map_err(|error| format!("a text could not be split into tokens: {error}"))
        })
        .collect::<Outcome<Vec<usize>>>()?;
    let mut embeddings = vec![None; texts.len()];
    for batch in batches(&lengths) {
        if is_cancelled() {
            return Err("cancelled".to_owned());
        }
        let inputs: Vec<&str> = batch.iter().map(|&text| texts[text].as_str()).collect();
        let output = model
            .embed(&inputs, Some(inputs.len()))
            .map_err(|error| format!("the embedding model failed: {error}"))?;
        for ((text, mut dense), sparse) in batch.iter().zip(output.dense).zip(output.sparse) {
            normalise(&mut dense);
            let pairs = sparse.indices.into_iter().zip(sparse.values);
            embeddings[*text] = Some(Embedding {
                dense,
                sparse: Some(pairs.map(|(token, weight)| (token as u32, weight)).collect()),
            });
        }
    }
    Ok(embeddings
        .into_iter()
        .map(|embedding| embedding.expect("BUG: every text is in one batch"))
        .collect())
}

/// Indices of texts, longest first, in batches of at most [`BATCH_TOKENS`] with their padding.
fn batches(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&text| std::cmp::Reverse(lengths[text]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for text in order {
        match batches.last_mut() {
            Some(batch) if lengths[batch[0]] * (batch.len() + 1) <= BATCH_TOKENS => {
                batch.push(text);
            }
            _ => batches.push(vec![text]),
        }
    }
    batches
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
