//! Deterministic stand-ins for models, for tests and for running without weights.
//!
//! They obey the contracts of [`Generator`], [`Embedder`] and [`TokenCounter`] and are good enough
//! that a search finds what shares words with the question; nothing is to be learned from them about
//! quality.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    ChatTurn, EmbedKind, Embedder, Embedding, Error, Finish, Generation, GenerationRequest,
    Generator, Result, TokenCounter,
};

const CONTEXT_TOKENS: usize = 8192;
const DIMENSIONS: usize = 256;
const MAX_TOKENS: usize = 512;

type Script = dyn Fn(&GenerationRequest) -> Result<String> + Send + Sync;

/// Answers with what a script says; by default with the last message's beginning.
pub struct FakeGenerator {
    model: String,
    context_tokens: usize,
    script: Box<Script>,
    requests: Mutex<Vec<GenerationRequest>>,
    /// Each piece waits for a permit, where there is a gate.
    gate: Option<Arc<Semaphore>>,
    unloads: AtomicUsize,
}

impl FakeGenerator {
    pub fn new(model: &str) -> Self {
        Self::scripted(model, |request| {
            let mut answer = String::from("Answer to");
            let last = request
                .messages
                .last()
                .map_or("", |turn| turn.content.as_str());
            for word in last.split_whitespace().take(12) {
                let _ = write!(answer, " {word}");
            }
            Ok(answer)
        })
    }

    /// Answers with what `script` returns; an error is the generation's error.
    pub fn scripted(
        model: &str,
        script: impl Fn(&GenerationRequest) -> Result<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            model: model.to_owned(),
            context_tokens: CONTEXT_TOKENS,
            script: Box::new(script),
            requests: Mutex::default(),
            gate: None,
            unloads: AtomicUsize::new(0),
        }
    }

    /// Answers with these texts, one after the other, and with the last one for ever.
    pub fn answering(model: &str, answers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let answers: Vec<String> = answers.into_iter().map(Into::into).collect();
        let next = Mutex::new(0);
        Self::scripted(model, move |_| {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = answers.get(*next).or(answers.last()).cloned();
            *next += 1;
            Ok(answer.unwrap_or_default())
        })
    }

    #[must_use]
    pub fn with_context_tokens(mut self, tokens: usize) -> Self {
        self.context_tokens = tokens;
        self
    }

    /// Makes each piece of an answer wait for a permit, so that a test decides what happens between
    /// two of them.
    #[must_use]
    pub fn with_gate(mut self, gate: Arc<Semaphore>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<GenerationRequest> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How often its memory was to be given back so far.
    pub fn unloads(&self) -> usize {
        self.unloads.load(Ordering::SeqCst)
    }

    fn prompt_tokens(messages: &[ChatTurn]) -> usize {
        messages
            .iter()
            .map(|turn| words(&turn.content).count() + 1)
            .sum()
    }
}

#[async_trait]
impl Generator for FakeGenerator {
    fn model(&self) -> &str {
        &self.model
    }

    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    async fn count_tokens(&self, text: &str) -> Result<usize> {
        Ok(words(text).count())
    }

    async fn generate(
        &self,
        request: GenerationRequest,
        pieces: mpsc::Sender<String>,
        cancel: CancellationToken,
    ) -> Result<Generation> {
        let needed = Self::prompt_tokens(&request.messages) + 1;
        if needed > self.context_tokens {
            return Err(Error::ContextOverflow {
                needed,
                available: self.context_tokens,
            });
        }
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        let mut answer = (self.script)(&request)?;
        let stop = request
            .stop
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| answer.find(stop))
            .min();
        if let Some(stop) = stop {
            answer.truncate(stop);
        }
        let mut generation = Generation {
            text: String::new(),
            prompt_tokens: needed as u32 - 1,
            reused_tokens: 0,
            generated_tokens: 0,
            prompt_ms: 0,
            generation_ms: 0,
            finish: Finish::Stop,
        };
        for piece in answer.split_inclusive(' ') {
            if generation.generated_tokens >= request.max_tokens {
                generation.finish = Finish::Length;
                break;
            }
            let sent = async {
                if let Some(gate) = &self.gate {
                    // A closed gate is an open one.
                    if let Ok(permit) = gate.acquire().await {
                        permit.forget();
                    }
                }
                pieces.send(piece.to_owned()).await
            };
            let sent = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                sent = sent => sent.ok(),
            };
            if sent.is_none() {
                generation.finish = Finish::Cancelled;
                break;
            }
            generation.text.push_str(piece);
            generation.generated_tokens += 1;
        }
        Ok(generation)
    }

    /// By words shared with the conversation.
    async fn score_choices(
        &self,
        messages: Vec<ChatTurn>,
        choices: Vec<String>,
        _cancel: CancellationToken,
    ) -> Result<Vec<f32>> {
        let context: Vec<String> = messages
            .iter()
            .flat_map(|turn| words(&turn.content).map(|(_, word)| word.to_lowercase()))
            .collect();
        let weights: Vec<f32> = choices
            .iter()
            .map(|choice| {
                let shared = words(choice)
                    .filter(|(_, word)| context.contains(&word.to_lowercase()))
                    .count();
                1.0 + shared as f32
            })
            .collect();
        let sum: f32 = weights.iter().sum();
        Ok(weights.into_iter().map(|weight| weight / sum).collect())
    }

    async fn unload(&self) {
        self.unloads.fetch_add(1, Ordering::SeqCst);
    }
}

/// Hashes words and their parts into a vector: texts that share words are near each other.
pub struct FakeEmbedder {
    fingerprint: String,
    dimensions: usize,
    sparse: bool,
    salt: String,
    max_tokens: usize,
    refused: Option<String>,
}

impl Default for FakeEmbedder {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEmbedder {
    pub fn new() -> Self {
        Self::with_dimensions(DIMENSIONS)
    }

    /// Another width has another fingerprint, as another model has.
    pub fn with_dimensions(dimensions: usize) -> Self {
        Self {
            fingerprint: format!("fake-{dimensions}"),
            dimensions,
            sparse: false,
            salt: String::new(),
            max_tokens: MAX_TOKENS,
            refused: None,
        }
    }

    /// Makes vectors unlike those of others of the same width, as another model does.
    #[must_use]
    pub fn salted(mut self, salt: &str) -> Self {
        self.fingerprint = format!("{}-{salt}", self.fingerprint);
        salt.clone_into(&mut self.salt);
        self
    }

    /// Fails whenever a text holds this word.
    #[must_use]
    pub fn refusing(mut self, word: &str) -> Self {
        self.refused = Some(word.to_owned());
        self
    }

    #[must_use]
    pub fn with_max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = tokens;
        self
    }

    #[must_use]
    pub fn with_sparse(mut self) -> Self {
        self.sparse = true;
        self.fingerprint.push_str("-sparse");
        self
    }

    fn embedding(&self, text: &str) -> Embedding {
        let text = text.to_lowercase();
        let mut dense = vec![0.0_f32; self.dimensions];
        let mut sparse = std::collections::BTreeMap::<u32, f32>::new();
        let mut add = |feature: &str, weight: f32| {
            let hash = if self.salt.is_empty() {
                fnv1a(feature)
            } else {
                fnv1a(&format!("{}{feature}", self.salt))
            };
            let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
            if let Some(place) = dense.get_mut(hash as usize % self.dimensions.max(1)) {
                *place += sign * weight;
            }
        };
        for (_, word) in words(&text) {
            add(word, 1.0);
            let chars: Vec<char> = word.chars().collect();
            for gram in chars.windows(4) {
                add(&gram.iter().collect::<String>(), 0.5);
            }
            *sparse.entry((fnv1a(word) % 250_000) as u32).or_default() += 1.0;
        }
        let norm = dense.iter().map(|x| x * x).sum::<f32>().sqrt();
        if norm > 0.0 {
            for x in &mut dense {
                *x /= norm;
            }
        } else if let Some(first) = dense.first_mut() {
            *first = 1.0;
        }
        Embedding {
            dense,
            sparse: self.sparse.then(|| sparse.into_iter().collect()),
        }
    }
}

#[async_trait]
impl Embedder for FakeEmbedder {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    fn has_sparse(&self) -> bool {
        self.sparse
    }

    async fn embed(&self, _kind: EmbedKind, texts: Vec<String>) -> Result<Vec<Embedding>> {
        let refused = self.refused.as_deref();
        if refused.is_some_and(|word| texts.iter().any(|text| text.contains(word))) {
            return Err(Error::Inference("a stand-in refuses this text".into()));
        }
        Ok(texts.iter().map(|text| self.embedding(text)).collect())
    }

    async fn unload(&self) {}
}

impl TokenCounter for FakeEmbedder {
    fn token_offsets(&self, text: &str) -> Vec<(usize, usize)> {
        words(text)
            .map(|(start, word)| (start, start + word.len()))
            .collect()
    }
}

/// Runs of letters and digits, with their byte offsets.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = text.as_ptr() as usize;
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - start, word))
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn generate(
        generator: &FakeGenerator,
        request: GenerationRequest,
        cancel: CancellationToken,
    ) -> (Generation, String) {
        let (pieces, mut stream) = mpsc::channel(64);
        let generation = generator.generate(request, pieces, cancel).await.unwrap();
        let mut streamed = String::new();
        while let Some(piece) = stream.recv().await {
            streamed.push_str(&piece);
        }
        (generation, streamed)
    }

    #[tokio::test]
    async fn answers_are_scripted_streamed_and_cancelled() {
        let gate = Arc::new(Semaphore::new(2));
        let generator =
            FakeGenerator::answering("fake", ["jedan dva tri", "four"]).with_gate(gate.clone());
        let request = GenerationRequest::greedy(vec![ChatTurn::user("broji")], 10);

        let (pieces, mut stream) = mpsc::channel(64);
        let cancel = CancellationToken::new();
        let waiting = generator.generate(request.clone(), pieces, cancel.clone());
        let stop = async {
            assert_eq!(stream.recv().await.as_deref(), Some("jedan "));
            assert_eq!(stream.recv().await.as_deref(), Some("dva "));
            cancel.cancel();
        };
        let (generation, ()) = tokio::join!(waiting, stop);
        let generation = generation.unwrap();
        assert_eq!(generation.text, "jedan dva ");
        assert_eq!(generation.finish, Finish::Cancelled);

        gate.add_permits(100);
        let (generation, streamed) = generate(&generator, request, CancellationToken::new()).await;
        assert_eq!(
            (generation.text.as_str(), streamed.as_str()),
            ("four", "four")
        );
        assert_eq!(generator.requests().len(), 2);
    }

    #[tokio::test]
    async fn shared_words_make_near_vectors() {
        let embedder = FakeEmbedder::new();
        let texts = [
            "ugovor o najmu stana",
            "Najam stana: ugovor",
            "recept za juhu",
        ];
        let vectors = embedder
            .embed(EmbedKind::Passage, texts.map(str::to_owned).to_vec())
            .await
            .unwrap();
        let dot = |a: usize, b: usize| -> f32 {
            vectors[a]
                .dense
                .iter()
                .zip(&vectors[b].dense)
                .map(|(x, y)| x * y)
                .sum()
        };
        assert!((dot(0, 0) - 1.0).abs() < 1e-5, "unit length");
        assert!(dot(0, 1) > dot(0, 2) + 0.2);
        assert_eq!(embedder.token_offsets("Čvor, dva"), [(0, 5), (7, 10)]);
    }
}
