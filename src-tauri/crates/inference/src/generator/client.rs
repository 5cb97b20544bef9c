//! The parent's side: the [`Generator`] that the application uses.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use docent_worker::{Call, Launch, RestartPolicy, Supervisor};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::protocol::{Benchmark, ModelSpec, PromptProgress, Reply, Request, Task};
use super::{cores, file};
use crate::{ChatTurn, Error, Finish, Generation, GenerationRequest, Generator, Result};

/// Context where the caller names none.
const DEFAULT_CONTEXT_TOKENS: u64 = 8192;
/// Below this a conversation over documents makes no sense, however little memory there is.
const MIN_CONTEXT_TOKENS: u64 = 2048;
/// Of the memory that is available, the part that a context may take.
const CONTEXT_SHARE: u64 = 4;

/// How long a cancelled generation may go on before its process is ended. The worker looks between
/// chunks of about 200 ms; this is for one that is stuck or starved.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    /// Catalog id.
    pub model_id: String,
    /// GGUF file; of a split model the first.
    pub model_path: PathBuf,
    /// Prompt and answer together; `None` means as much as model and memory allow, up to 8192. Never
    /// more than the model was trained on.
    pub context_tokens: Option<usize>,
    /// 0 means one per physical core.
    pub threads: usize,
    pub launch: Launch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeneratorState {
    /// Not in memory; the next request loads it.
    Idle,
    Loading,
    Ready,
    /// The last attempt to load or run it failed; the next request tries again.
    Failed {
        reason: String,
    },
}

/// A GGUF model in a worker process that starts with the first request.
pub struct LlamaGenerator {
    spec: ModelSpec,
    supervisor: Supervisor,
    /// One generation at a time: two would only share the same cores and lose each other's prefix.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    reading: Mutex<Option<PromptProgress>>,
}

enum State {
    Idle,
    Loading,
    /// With the process that holds the model.
    Ready(Option<u32>),
    Failed(String),
}

impl LlamaGenerator {
    /// Looks at the file's header for its context, some milliseconds of blocking; a file that cannot
    /// be read says so at the first request. Starts nothing.
    pub fn new(options: GeneratorOptions) -> Self {
        let summary = file::check(&options.model_path).ok();
        let context_tokens = context_tokens(
            options.context_tokens,
            summary
                .as_ref()
                .map(|summary| summary.context_tokens.into()),
            summary.and_then(|summary| summary.context_bytes_per_token),
            cores::available_memory_bytes(),
        );
        let threads = match options.threads {
            0 => cores::physical_cores(),
            threads => threads,
        };
        Self {
            spec: ModelSpec {
                id: options.model_id,
                path: options.model_path,
                context_tokens,
                threads: threads as u32,
            },
            supervisor: Supervisor::new("generator", options.launch, RestartPolicy::default()),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::new(State::Idle),
            reading: Mutex::default(),
        }
    }

    pub fn state(&self) -> GeneratorState {
        match &*self.lock_state() {
            State::Loading => GeneratorState::Loading,
            State::Ready(pid) if *pid == self.supervisor.pid() => GeneratorState::Ready,
            State::Idle | State::Ready(_) => GeneratorState::Idle,
            State::Failed(reason) => GeneratorState::Failed {
                reason: reason.clone(),
            },
        }
    }

    /// Process id of the worker, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// How far the prompt of the generation at work has been read; `None` while none is being read.
    pub fn prompt_progress(&self) -> Option<PromptProgress> {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the model now, if it is not loaded.
    pub async fn load(&self) -> Result<()> {
        self.count_tokens("").await.map(drop)
    }

    /// Runs llama.cpp's own loop in the worker, for comparison with [`Generator::generate`].
    pub async fn benchmark(&self, prompt_tokens: u32, generated_tokens: u32) -> Result<Benchmark> {
        let _turn = self.turn.lock().await;
        let task = Task::Benchmark {
            prompt_tokens,
            generated_tokens,
        };
        match self.ask(task).await? {
            Reply::Benchmarked(benchmark) => Ok(benchmark),
            other => Err(unexpected(&other)),
        }
    }

    fn lock_state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, task: Task) -> Result<Call<Reply>> {
        if !self.supervisor.is_running() {
            *self.lock_state() = State::Loading;
        }
        let request = Request {
            model: self.spec.clone(),
            task,
        };
        let call = self.supervisor.call(&request, Bytes::new()).await;
        call.map_err(|error| self.note_failure(error.into()))
    }

    fn set_reading(&self, progress: Option<PromptProgress>) {
        let reading = progress.filter(|progress| progress.read < progress.total);
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }

    /// The next reply other than readiness and progress.
    async fn next(&self, call: &mut Call<Reply>) -> Result<Reply> {
        loop {
            match call.next().await {
                Some(Ok((Reply::Ready, _))) => {
                    *self.lock_state() = State::Ready(self.supervisor.pid());
                }
                Some(Ok((Reply::Reading(progress), _))) => self.set_reading(Some(progress)),
                Some(Ok((Reply::Failed(failure), _))) => {
                    let error = self.note_failure(failure.into());
                    if matches!(error, Error::Load { .. } | Error::ModelDamaged { .. }) {
                        // What a failed attempt left in memory goes with its process.
                        self.supervisor.stop().await;
                    }
                    return Err(error);
                }
                Some(Ok((reply, _))) => return Ok(reply),
                Some(Err(error)) => return Err(self.note_failure(error.into())),
                None => return Err(Error::Inference("the worker fell silent".to_owned())),
            }
        }
    }

    async fn ask(&self, task: Task) -> Result<Reply> {
        let mut call = self.call(task).await?;
        self.next(&mut call).await
    }

    fn note_failure(&self, error: Error) -> Error {
        let state = match &error {
            Error::ModelDamaged { .. } | Error::Load { .. } => {
                Some(State::Failed(error.to_string()))
            }
            Error::Worker(worker) => Some(match worker {
                docent_worker::Error::Stopped { .. } => State::Idle,
                docent_worker::Error::Died { .. }
                | docent_worker::Error::CrashLoop { .. }
                | docent_worker::Error::Spawn { .. } => State::Failed(error.to_string()),
                docent_worker::Error::Encode { .. }
                | docent_worker::Error::Decode { .. }
                | docent_worker::Error::Refused { .. }
                | docent_worker::Error::Panicked { .. } => return error,
            }),
            _ => None,
        };
        if let Some(state) = state {
            *self.lock_state() = state;
        }
        error
    }
}

#[async_trait]
impl Generator for LlamaGenerator {
    fn model(&self) -> &str {
        &self.spec.id
    }

    fn context_tokens(&self) -> usize {
        self.spec.context_tokens as usize
    }

    async fn count_tokens(&self, text: &str) -> Result<usize> {
        let task = Task::CountTokens {
            text: text.to_owned(),
        };
        match self.ask(task).await? {
            Reply::Count(tokens) => Ok(tokens),
            other => Err(unexpected(&other)),
        }
    }

    async fn generate(
        &self,
        request: GenerationRequest,
        pieces: mpsc::Sender<String>,
        cancel: CancellationToken,
    ) -> Result<Generation> {
        let mut text = String::new();
        let _turn = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(cancelled(text)),
            turn = self.turn.lock() => turn,
        };
        let _reading = EndOfReading(self);
        let mut call = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(cancelled(text)),
            call = self.call(Task::Generate(request)) => call?,
        };
        loop {
            let reply = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                reply = self.next(&mut call) => reply?,
            };
            match reply {
                Reply::Piece(piece) => {
                    let place = tokio::select! {
                        biased;
                        () = cancel.cancelled() => break,
                        place = pieces.reserve() => place,
                    };
                    let Ok(place) = place else { break };
                    text.push_str(&piece);
                    place.send(piece);
                }
                Reply::Done(generation) => return Ok(generation),
                other => return Err(unexpected(&other)),
            }
        }
        call.cancel();
        // What was generated until the worker saw it counts no more; the text is what was sent.
        let wound_up = async {
            loop {
                match self.next(&mut call).await? {
                    Reply::Piece(_) => {}
                    Reply::Done(generation) => return Ok(generation),
                    other => return Err(unexpected(&other)),
                }
            }
        };
        match tokio::time::timeout(CANCEL_GRACE, wound_up).await {
            Ok(Ok(generation)) => Ok(Generation {
                text,
                finish: Finish::Cancelled,
                ..generation
            }),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a cancelled generation ended badly");
                Ok(cancelled(text))
            }
            // Loading cannot be interrupted; it goes on for the next request.
            Err(_) if matches!(*self.lock_state(), State::Loading) => Ok(cancelled(text)),
            Err(_) => {
                tracing::warn!("a cancelled generation did not end: its process is stopped");
                self.supervisor.stop().await;
                *self.lock_state() = State::Idle;
                Ok(cancelled(text))
            }
        }
    }

    async fn score_choices(
        &self,
        messages: Vec<ChatTurn>,
        choices: Vec<String>,
        cancel: CancellationToken,
    ) -> Result<Vec<f32>> {
        let scored = async {
            let _turn = self.turn.lock().await;
            // Dropping the future drops the call, which cancels it in the worker.
            match self.ask(Task::ScoreChoices { messages, choices }).await? {
                Reply::Scores(scores) => Ok(scores),
                other => Err(unexpected(&other)),
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            scores = scored => scores,
        }
    }

    async fn unload(&self) {
        self.supervisor.stop().await;
        *self.lock_state() = State::Idle;
    }
}

/// However a generation ends, also by being dropped, its prompt is no longer being read.
struct EndOfReading<'a>(&'a LlamaGenerator);

impl Drop for EndOfReading<'_> {
    fn drop(&mut self) {
        self.0.set_reading(None);
    }
}

/// A generation that was cancelled before it said what it cost.
const fn cancelled(text: String) -> Generation {
    Generation {
        text,
        prompt_tokens: 0,
        reused_tokens: 0,
        generated_tokens: 0,
        prompt_ms: 0,
        generation_ms: 0,
        finish: Finish::Cancelled,
    }
}

fn unexpected(reply: &Reply) -> Error {
    let name = match reply {
        Reply::Ready => "readiness",
        Reply::Count(_) => "a count",
        Reply::Reading(_) => "progress",
        Reply::Piece(_) => "text",
        Reply::Done(_) => "an end",
        Reply::Scores(_) => "scores",
        Reply::Benchmarked(_) => "a benchmark",
        Reply::Failed(_) => "a failure",
    };
    Error::Inference(format!("the worker answered another question: {name}"))
}

fn context_tokens(
    wanted: Option<usize>,
    trained: Option<u64>,
    bytes_per_token: Option<u64>,
    memory: Option<u64>,
) -> u32 {
    let trained = trained.filter(|tokens| *tokens > 0).unwrap_or(u64::MAX);
    let tokens = if let Some(wanted) = wanted {
        trained.min(wanted as u64)
    } else {
        let affordable = memory
            .zip(bytes_per_token)
            .and_then(|(memory, per_token)| (memory / CONTEXT_SHARE).checked_div(per_token))
            .map_or(u64::MAX, |tokens| {
                tokens.max(MIN_CONTEXT_TOKENS) / 256 * 256
            });
        trained.min(DEFAULT_CONTEXT_TOKENS).min(affordable)
    };
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_fits_model_and_memory() {
        // Qwen2.5-7B.
        let model = |wanted, memory| context_tokens(wanted, Some(32768), Some(57_344), memory);
        assert_eq!(model(None, Some(16 << 30)), 8192);
        assert_eq!(model(None, Some(1 << 30)), 4608);
        assert_eq!(model(None, Some(1 << 20)), 2048, "never useless");
        assert_eq!(model(Some(6144), Some(1 << 20)), 6144, "as was asked");
        assert_eq!(model(Some(1 << 20), None), 32768, "as it was trained");
        assert_eq!(
            context_tokens(None, Some(0), None, Some(1 << 20)),
            8192,
            "unknown"
        );
    }
}
