//! One llama.cpp context and the tokens whose state it holds.
//!
//! A conversation's next prompt begins as the last one did, so the longest common beginning is kept
//! and only the rest is read. Prompts are read in chunks short enough that a cancellation between
//! two of them comes soon; llama.cpp cannot be interrupted inside one.

use std::time::{Duration, Instant};

use llama_cpp_2::LlamaStateSeqFlags;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use super::pace::{Pace, Usage};
use super::prompt;
use super::protocol::{Benchmark, PromptProgress, Reply};
use super::text::TextStream;
use crate::{ChatTurn, Error, Finish, Generation, GenerationRequest};

/// Most tokens that one call to llama.cpp reads; its working memory grows with it (75 MB at 128
/// with Qwen's vocabulary).
pub(crate) const MAX_CHUNK: usize = 128;
/// The kernels work on rows by fours.
const MIN_CHUNK: usize = 4;
/// Small, because with starved threads even this may take a second.
const FIRST_CHUNK: usize = 8;
/// How long reading one chunk should take: a cancellation waits for one at most.
const CHUNK_TIME: Duration = Duration::from_millis(200);

/// What sampling at a temperature chooses from.
const TOP_K: i32 = 40;
const TOP_P: f32 = 0.9;

/// Cells that auxiliary work has in the context, beside the conversation's: a translation takes some
/// 200.
pub(crate) const AUXILIARY_TOKENS: u32 = 768;

/// Whose state: each lane is a sequence of llama.cpp's, so that a translation between two turns does
/// not displace what the conversation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Conversation,
    Auxiliary,
}

/// Sequences that a context must have room for.
pub(crate) const LANES: u32 = 2;

impl Lane {
    const ALL: [Self; LANES as usize] = [Self::Conversation, Self::Auxiliary];

    const fn sequence(self) -> i32 {
        self as i32
    }
}

/// What a generation tells while it goes on.
pub(crate) enum Progress {
    Reading(PromptProgress),
    Piece(String),
}

impl From<Progress> for Reply {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Reading(progress) => Self::Reading(progress),
            Progress::Piece(piece) => Self::Piece(piece),
        }
    }
}

pub(crate) struct Session<'model> {
    model: &'model LlamaModel,
    model_id: String,
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    /// By lane, the tokens whose state the context holds, from position 0 on.
    held: [Vec<LlamaToken>; LANES as usize],
    lane: Lane,
    chunk: usize,
    pace: Pace,
    /// Of the context at hand; `pace` may want another number.
    threads: u32,
    make_context: Box<MakeContext<'model>>,
}

/// Makes a context that works with so many threads.
type MakeContext<'model> = dyn Fn(u32) -> Result<LlamaContext<'model>, Error> + Send;

impl<'model> Session<'model> {
    /// `threads` is the most that it will use.
    pub(crate) fn new(
        model: &'model LlamaModel,
        model_id: String,
        threads: u32,
        make_context: impl Fn(u32) -> Result<LlamaContext<'model>, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let pace = Pace::new(threads);
        let threads = pace.threads();
        Ok(Self {
            model,
            model_id,
            context: make_context(threads)?,
            batch: LlamaBatch::new(MAX_CHUNK, 1),
            held: [const { Vec::new() }; LANES as usize],
            lane: Lane::Conversation,
            chunk: FIRST_CHUNK,
            pace,
            threads,
            make_context: Box::new(make_context),
        })
    }

    /// Forgets all state, after something went wrong in the middle of a change.
    pub(crate) fn clear(&mut self) {
        self.held.iter_mut().for_each(Vec::clear);
        self.context.clear_kv_cache();
    }

    /// The tokens held of the lane at work.
    fn held(&mut self) -> &mut Vec<LlamaToken> {
        &mut self.held[self.lane as usize]
    }

    fn held_tokens(&self) -> usize {
        self.held[self.lane as usize].len()
    }

    /// Generates an answer; `tell` hears how it goes, `is_cancelled` is asked between chunks and
    /// tokens.
    pub(crate) fn generate(
        &mut self,
        request: &GenerationRequest,
        mut tell: impl FnMut(Progress) -> Result<(), Error>,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<Generation, Error> {
        let started = Instant::now();
        let tokens = prompt::tokens(
            self.model,
            &self.model_id,
            &request.messages,
            request.assistant_prefix.as_deref(),
        )?;
        let mut sampler = Sampler::new(self.model, request)?;
        let mut text = TextStream::new(&request.stop);
        let needed = tokens.len() + request.max_tokens as usize;
        self.lane = if request.auxiliary && needed < AUXILIARY_TOKENS as usize {
            Lane::Auxiliary
        } else {
            Lane::Conversation
        };
        let reused = self.keep_common_beginning(&tokens)?;
        let has_read = self.read(&tokens, &mut tell, &is_cancelled)?;
        let prompt_time = started.elapsed();

        let started = Instant::now();
        let mut generated = 0;
        let finish = if !has_read {
            Finish::Cancelled
        } else if request.max_tokens == 0 {
            Finish::Length
        } else {
            self.write(
                request,
                &mut sampler,
                &mut text,
                &mut generated,
                &mut tell,
                &is_cancelled,
            )?
        };
        if let Some(rest) = text.finish() {
            tell(Progress::Piece(rest))?;
        }
        Ok(Generation {
            text: text.into_text(),
            prompt_tokens: if has_read {
                tokens.len()
            } else {
                self.held_tokens()
            } as u32,
            reused_tokens: reused as u32,
            generated_tokens: generated,
            prompt_ms: prompt_time.as_millis() as u64,
            generation_ms: started.elapsed().as_millis() as u64,
            finish,
        })
    }

    fn write(
        &mut self,
        request: &GenerationRequest,
        sampler: &mut Sampler,
        text: &mut TextStream,
        generated: &mut u32,
        tell: &mut impl FnMut(Progress) -> Result<(), Error>,
        is_cancelled: &impl Fn() -> bool,
    ) -> Result<Finish, Error> {
        let vocab = self.model.vocab();
        let mut bytes = Vec::with_capacity(64);
        loop {
            if is_cancelled() {
                return Ok(Finish::Cancelled);
            }
            let token = sampler.sample(&self.context)?;
            if vocab.is_eog(token) {
                return Ok(Finish::Stop);
            }
            *generated += 1;
            bytes.clear();
            vocab.token_to_piece_into(token, &mut bytes, false, None);
            if let Some(new) = text.push(&bytes) {
                tell(Progress::Piece(new))?;
            }
            if text.is_stopped() {
                return Ok(Finish::Stop);
            }
            if *generated >= request.max_tokens || self.held_tokens() >= self.context_tokens() {
                return Ok(Finish::Length);
            }
            self.decode(&[token])?;
        }
    }

    /// For each choice the probability that the answer begins with it, against the others.
    pub(crate) fn score_choices(
        &mut self,
        messages: &[ChatTurn],
        choices: &[String],
        is_cancelled: impl Fn() -> bool,
    ) -> Result<Vec<f32>, Error> {
        let tokens = prompt::tokens(self.model, &self.model_id, messages, None)?;
        let choices: Vec<Vec<LlamaToken>> = choices
            .iter()
            .map(|choice| prompt::plain_tokens(self.model, choice))
            .collect();
        if choices.is_empty() || choices.iter().any(Vec::is_empty) {
            return Err(Error::Inference(
                "a choice to be scored is empty".to_owned(),
            ));
        }
        let longest = choices.iter().map(Vec::len).max().unwrap_or(0);
        self.lane = Lane::Conversation;
        self.check_room(tokens.len() + longest)?;
        self.keep_common_beginning(&tokens)?;
        if !self.read(&tokens, &mut |_| Ok(()), &is_cancelled)? {
            return Err(Error::Cancelled);
        }
        let first = log_probabilities(self.context.get_logits_ith(-1));
        let mut scores = Vec::with_capacity(choices.len());
        for choice in &choices {
            let mut score = first[choice[0].0 as usize];
            for pair in choice.windows(2) {
                if is_cancelled() {
                    return Err(Error::Cancelled);
                }
                self.decode(&pair[..1])?;
                score += log_probabilities(self.context.get_logits_ith(-1))[pair[1].0 as usize];
            }
            self.forget_after(tokens.len())?;
            scores.push(score);
        }
        Ok(softmax(&scores))
    }

    /// llama.cpp's own loop, for comparison with [`generate`](Self::generate): the same kind of
    /// prompt and context, nothing but decoding and taking the likeliest token.
    pub(crate) fn benchmark(
        &mut self,
        prompt_tokens: u32,
        generated_tokens: u32,
    ) -> Result<Benchmark, Error> {
        self.lane = Lane::Conversation;
        self.check_room((prompt_tokens + generated_tokens) as usize)?;
        self.clear();
        let vocab = self.model.vocab();
        let text =
            "Ugovor se sklapa na određeno vrijeme. The contract is signed for a fixed term. ";
        let tokens: Vec<LlamaToken> = vocab
            .tokenize(text.as_bytes(), false, false)
            .into_iter()
            .cycle()
            .take(prompt_tokens.max(1) as usize)
            .collect();
        let started = Instant::now();
        for chunk in tokens.chunks(MAX_CHUNK) {
            self.decode(chunk)?;
        }
        let prompt_time = started.elapsed();
        let mut sampler = LlamaSampler::greedy();
        let started = Instant::now();
        for _ in 0..generated_tokens {
            let token = sampler.sample(&self.context, -1);
            self.decode(&[token])?;
        }
        let generation_time = started.elapsed();
        self.clear();
        Ok(Benchmark {
            prompt_tokens: tokens.len() as u32,
            prompt_micros: prompt_time.as_micros() as u64,
            generated_tokens,
            generation_micros: generation_time.as_micros() as u64,
        })
    }

    /// Room of the lane at work.
    fn context_tokens(&self) -> usize {
        match self.lane {
            Lane::Conversation => (self.context.n_ctx() - AUXILIARY_TOKENS) as usize,
            Lane::Auxiliary => AUXILIARY_TOKENS as usize,
        }
    }

    fn check_room(&self, needed: usize) -> Result<(), Error> {
        let available = self.context_tokens();
        if needed > available {
            return Err(Error::ContextOverflow { needed, available });
        }
        Ok(())
    }

    /// Drops what differs from `tokens` and returns how many of them are held. At least the last is
    /// left to be read, since what follows it is asked for.
    fn keep_common_beginning(&mut self, tokens: &[LlamaToken]) -> Result<usize, Error> {
        // One more for the first token of the answer.
        self.check_room(tokens.len() + 1)?;
        let common = self
            .held()
            .iter()
            .zip(tokens)
            .take_while(|(held, wanted)| held == wanted)
            .count()
            .min(tokens.len().saturating_sub(1));
        self.forget_after(common)?;
        Ok(self.held_tokens())
    }

    fn forget_after(&mut self, kept: usize) -> Result<(), Error> {
        if kept >= self.held_tokens() {
            return Ok(());
        }
        let sequence = Some(self.lane.sequence() as u32);
        let is_cut = self.forget(sequence, kept)?;
        if is_cut {
            self.held().truncate(kept);
        } else {
            // Models with a running state cannot go back, only start again.
            self.forget(sequence, 0)?;
            self.held().clear();
        }
        Ok(())
    }

    /// False when the model cannot forget a part of a sequence.
    fn forget(&mut self, sequence: Option<u32>, from: usize) -> Result<bool, Error> {
        self.context
            .clear_kv_cache_seq(sequence, Some(from as u32), None)
            .map_err(|error| Error::Inference(error.to_string()))
    }

    /// Reads what is not held yet; false when cancelled before the end.
    fn read(
        &mut self,
        tokens: &[LlamaToken],
        tell: &mut impl FnMut(Progress) -> Result<(), Error>,
        is_cancelled: &impl Fn() -> bool,
    ) -> Result<bool, Error> {
        while self.held_tokens() < tokens.len() {
            if is_cancelled() {
                return Ok(false);
            }
            let chunk = &tokens[self.held_tokens()..];
            let chunk = &chunk[..chunk.len().min(self.chunk)];
            let started = Instant::now();
            self.decode(chunk)?;
            if chunk.len() == self.chunk {
                self.chunk = next_chunk(chunk.len(), started.elapsed());
            }
            tell(Progress::Reading(PromptProgress {
                read: self.held_tokens() as u32,
                total: tokens.len() as u32,
            }))?;
        }
        Ok(true)
    }

    /// Runs the model over `tokens`, behind what is held.
    fn decode(&mut self, tokens: &[LlamaToken]) -> Result<(), Error> {
        // Here and nowhere else: what was computed last has been looked at, and is lost with the
        // context.
        if self.pace.threads() != self.threads {
            self.change_threads(self.pace.threads());
        }
        let before = self.pace.is_adaptive().then(Usage::now).flatten();
        let started = Instant::now();
        self.run(tokens)?;
        if let Some(before) = before {
            let wall = started.elapsed();
            if let Some(after) = Usage::now() {
                self.pace.note(wall, after.since(before));
            }
        }
        Ok(())
    }

    /// Moves the state to a context with another number of threads: the binding cannot change it
    /// in place. Takes some milliseconds, and when it fails all stays as it is.
    fn change_threads(&mut self, threads: u32) {
        let changed = (self.make_context)(threads).and_then(|mut context| {
            let failed = |error: llama_cpp_2::StateSeqError| Error::Inference(error.to_string());
            for lane in Lane::ALL {
                if self.held[lane as usize].is_empty() {
                    continue;
                }
                let sequence = lane.sequence();
                let state = self
                    .context
                    .state_seq_get(sequence, LlamaStateSeqFlags::empty())
                    .map_err(failed)?;
                context.state_seq_set(&state, sequence).map_err(failed)?;
            }
            Ok(context)
        });
        match changed {
            Ok(context) => {
                self.context = context;
                self.threads = threads;
            }
            Err(error) => {
                eprintln!("llama.cpp stays with {} threads: {error}", self.threads);
                self.pace.freeze(self.threads);
            }
        }
    }

    fn run(&mut self, tokens: &[LlamaToken]) -> Result<(), Error> {
        self.batch.clear();
        for (number, token) in tokens.iter().enumerate() {
            let position = (self.held_tokens() + number) as i32;
            self.batch
                .add(
                    *token,
                    position,
                    &[self.lane.sequence()],
                    number + 1 == tokens.len(),
                )
                .map_err(|error| Error::Inference(error.to_string()))?;
        }
        if let Err(error) = self.context.decode(&mut self.batch) {
            self.clear();
            return Err(Error::Inference(error.to_string()));
        }
        self.held().extend_from_slice(tokens);
        Ok(())
    }
}

/// How many tokens to read at once, from how long the last ones took.
fn next_chunk(read: usize, took: Duration) -> usize {
    let fitting = read as f64 * CHUNK_TIME.as_secs_f64() / took.as_secs_f64().max(1e-6);
    // At most doubled at once: one fast chunk may be luck.
    let chunk = (fitting as usize).min(read * 2).clamp(MIN_CHUNK, MAX_CHUNK);
    chunk - chunk % MIN_CHUNK
}

/// Chooses tokens: greedily or by chance, within a grammar where there is one.
struct Sampler {
    grammar: Option<LlamaSampler>,
    chance: Option<LlamaSampler>,
}

impl Sampler {
    fn new(model: &LlamaModel, request: &GenerationRequest) -> Result<Self, Error> {
        let grammar = request
            .grammar
            .as_deref()
            .map(|grammar| LlamaSampler::grammar(model, grammar, "root"))
            .transpose()
            .map_err(|_| Error::Grammar)?;
        let chance = (request.temperature > 0.0).then(|| {
            LlamaSampler::chain(
                [
                    LlamaSampler::top_k(TOP_K),
                    LlamaSampler::top_p(TOP_P, 1),
                    LlamaSampler::temp(request.temperature),
                    LlamaSampler::dist(request.seed),
                ],
                true,
            )
        });
        Ok(Self { grammar, chance })
    }

    fn sample(&mut self, context: &LlamaContext<'_>) -> Result<LlamaToken, Error> {
        let logits = context.get_logits_ith(-1);
        let Self { grammar, chance } = self;
        let Some(grammar) = grammar else {
            return match chance {
                None => likeliest(logits),
                Some(chance) => select(chance, candidates(logits)),
            };
        };
        // Trying the favourite first is much cheaper than ruling the whole vocabulary out.
        let favourite = match chance {
            None => likeliest(logits)?,
            Some(chance) => select(chance, candidates(logits))?,
        };
        let mut alone =
            LlamaTokenDataArray::new(vec![LlamaTokenData::new(favourite, 1.0, 0.0)], false);
        grammar.apply(&mut alone);
        let token = if alone.data[0].logit().is_finite() {
            favourite
        } else {
            let mut allowed = candidates(logits);
            grammar.apply(&mut allowed);
            allowed
                .data
                .retain(|candidate| candidate.logit().is_finite());
            if allowed.data.is_empty() {
                return Err(Error::Inference(
                    "the grammar allows no further token".to_owned(),
                ));
            }
            match chance {
                None => allowed
                    .data
                    .iter()
                    .max_by(|a, b| a.logit().total_cmp(&b.logit()))
                    .map(LlamaTokenData::id)
                    .ok_or_else(no_token)?,
                Some(chance) => select(chance, allowed)?,
            }
        };
        grammar
            .try_accept(token)
            .map_err(|error| Error::Inference(format!("the grammar refused a token: {error}")))?;
        Ok(token)
    }
}

fn no_token() -> Error {
    Error::Inference("the model gave no token to choose".to_owned())
}

fn candidates(logits: &[f32]) -> LlamaTokenDataArray {
    LlamaTokenDataArray::from_iter(
        (0..)
            .zip(logits)
            .map(|(id, logit)| LlamaTokenData::new(LlamaToken(id), *logit, 0.0)),
        false,
    )
}

fn select(
    chance: &mut LlamaSampler,
    mut candidates: LlamaTokenDataArray,
) -> Result<LlamaToken, Error> {
    chance.apply(&mut candidates);
    candidates.selected_token().ok_or_else(no_token)
}

fn likeliest(logits: &[f32]) -> Result<LlamaToken, Error> {
    (0..)
        .zip(logits)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(id, _)| LlamaToken(id))
        .ok_or_else(no_token)
}

fn log_probabilities(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - highest).exp())
        .sum();
    let log_sum = highest + sum.ln() as f32;
    logits.iter().map(|logit| logit - log_sum).collect()
}

fn softmax(scores: &[f32]) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = scores.iter().map(|score| (score - highest).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use llama_cpp_2::context::params::LlamaContextParams;
    use llama_cpp_2::llama_backend::LlamaBackend;
    use llama_cpp_2::model::params::LlamaModelParams;

    use super::*;

    #[test]
    fn chunks_follow_the_speed() {
        assert_eq!(next_chunk(32, Duration::from_millis(200)), 32);
        assert_eq!(
            next_chunk(32, Duration::from_millis(10)),
            64,
            "doubled at most"
        );
        assert_eq!(next_chunk(128, Duration::from_millis(1)), MAX_CHUNK);
        assert_eq!(next_chunk(32, Duration::from_millis(900)), 4);
        assert_eq!(next_chunk(4, Duration::from_mins(1)), MIN_CHUNK);
    }

    /// With real weights, like the tests in `tests/it`.
    #[test]
    fn state_survives_a_change_of_threads() {
        let models = std::env::var_os("DOCENT_TEST_MODELS").map_or_else(
            || std::env::home_dir().unwrap().join(".cache/docent/models"),
            std::path::PathBuf::from,
        );
        let path = models.join("smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
        assert!(
            path.is_file(),
            "{} is missing: fetch the starter models",
            path.display()
        );
        let backend = LlamaBackend::init().unwrap();
        let model = LlamaModel::load_from_file(&backend, &path, &LlamaModelParams::default());
        let model: &'static LlamaModel = Box::leak(Box::new(model.unwrap()));
        let make = move |threads| {
            let params = LlamaContextParams::default()
                .with_n_ctx(NonZeroU32::new(512 + AUXILIARY_TOKENS))
                .with_n_seq_max(LANES)
                .with_kv_unified(true)
                .with_n_batch(MAX_CHUNK as u32)
                .with_n_ubatch(MAX_CHUNK as u32)
                .with_n_threads(threads as i32)
                .with_n_threads_batch(threads as i32);
            Ok(model.new_context(&backend, params).unwrap())
        };
        let mut session = Session::new(model, "smol".into(), 1, make).unwrap();
        let mut request = GenerationRequest::greedy(
            vec![ChatTurn::user("Write three sentences about the sea.")],
            24,
        );
        let whole = session.generate(&request, |_| Ok(()), || false).unwrap();

        // The same once more, changing the threads after every few tokens of it.
        session.clear();
        let mut text = String::new();
        request.max_tokens = 4;
        for round in 0..6 {
            let part = session.generate(&request, |_| Ok(()), || false).unwrap();
            assert_eq!(
                part.reused_tokens > 0,
                round > 0,
                "what was read is kept: {part:?}"
            );
            text.push_str(&part.text);
            request.assistant_prefix = Some(text.clone());
            let held = session.held.clone();
            session.change_threads(2 - round % 2);
            assert_eq!(session.threads, 2 - round % 2);
            assert_eq!(session.held, held);
        }
        assert_eq!(text, whole.text);
    }

    #[test]
    fn scores_are_probabilities() {
        let scores = softmax(&[-1000.0, -1001.0]);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((scores[0] / scores[1] - std::f32::consts::E).abs() < 1e-3);
        let logs = log_probabilities(&[2.0, 2.0, f32::NEG_INFINITY]);
        assert!((logs[0] - 0.5_f32.ln()).abs() < 1e-6);
    }
}
