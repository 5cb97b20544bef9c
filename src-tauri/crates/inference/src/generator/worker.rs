//! The child's side: one model in memory, one session, requests from the parent.

use std::io;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

use super::prompt;
use super::protocol::{Failure, ModelSpec, Reply, Request, Task};
use super::session::{AUXILIARY_TOKENS, LANES, MAX_CHUNK, Session};
use super::{file, log};
use crate::Error;

/// One for the generation at work, the others for counting tokens meanwhile. The parent sends one
/// generation at a time.
const CONCURRENCY: usize = 3;

/// Runs the generator worker until its parent closes the pipe. Blocking.
pub(crate) fn run() -> io::Result<()> {
    log::install();
    let host = Host::default();
    docent_worker::serve_concurrently(CONCURRENCY, |request: Request, _body, reply| {
        let answer = answer(&host, request, reply);
        match answer {
            Ok(last) => reply.send(&last, b""),
            Err(error) => reply.send(&Reply::Failed(Failure::from(error)), b""),
        }
        .map_err(|error| error.to_string())
    })
}

#[derive(Default)]
struct Host {
    loaded: Mutex<Option<&'static Loaded>>,
}

/// Lives as long as the process, which is how a model is unloaded.
struct Loaded {
    spec: ModelSpec,
    model: LlamaModel,
    backend: LlamaBackend,
    session: Mutex<Option<Session<'static>>>,
}

fn answer(
    host: &Host,
    request: Request,
    reply: &docent_worker::Reply<Reply>,
) -> Result<Reply, Error> {
    let loaded = host.load(request.model)?;
    let send = |message: Reply| {
        reply
            .send(&message, b"")
            .map_err(|error| Error::Inference(error.to_string()))
    };
    send(Reply::Ready)?;
    if let Task::CountTokens { text } = &request.task {
        return Ok(Reply::Count(
            prompt::plain_tokens(&loaded.model, text).len(),
        ));
    }
    let mut session = loaded.session()?;
    let session = session
        .as_mut()
        .ok_or_else(|| Error::Inference("there is no session".to_owned()))?;
    let is_cancelled = || reply.is_cancelled();
    match request.task {
        Task::CountTokens { text } => Ok(Reply::Count(
            prompt::plain_tokens(&loaded.model, &text).len(),
        )),
        Task::Generate(request) => session
            .generate(&request, |progress| send(progress.into()), is_cancelled)
            .map(Reply::Done),
        Task::ScoreChoices { messages, choices } => session
            .score_choices(&messages, &choices, is_cancelled)
            .map(Reply::Scores),
        Task::Benchmark {
            prompt_tokens,
            generated_tokens,
        } => session
            .benchmark(prompt_tokens, generated_tokens)
            .map(Reply::Benchmarked),
    }
}

impl Host {
    fn load(&self, spec: ModelSpec) -> Result<&'static Loaded, Error> {
        // Poisoned only when loading panicked, and then nothing was put in.
        let mut slot = self
            .loaded
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(loaded) = *slot {
            if loaded.spec == spec {
                return Ok(loaded);
            }
            return Err(Error::Load {
                path: spec.path,
                reason: format!("this process already holds {}", loaded.spec.id),
            });
        }
        file::check(&spec.path)?;
        let failed = |reason: String| Error::Load {
            path: spec.path.clone(),
            reason,
        };
        let backend = LlamaBackend::init().map_err(|error| failed(error.to_string()))?;
        let model = LlamaModel::load_from_file(&backend, &spec.path, &LlamaModelParams::default())
            .map_err(|_| {
                failed(log::take_last_error().unwrap_or_else(|| {
                    "llama.cpp does not accept it: the file is damaged, too large for the memory, \
                     or of a kind it does not know"
                        .to_owned()
                }))
            })?;
        let loaded: &'static Loaded = Box::leak(Box::new(Loaded {
            spec,
            model,
            backend,
            session: Mutex::new(None),
        }));
        // Made now, so that a context that does not fit is part of a failed load.
        drop(loaded.session()?);
        *slot = Some(loaded);
        Ok(loaded)
    }
}

impl Loaded {
    /// The session, made or made good again when it is not there or a panic left it half changed.
    fn session(&'static self) -> Result<MutexGuard<'static, Option<Session<'static>>>, Error> {
        let mut session = match self.session.lock() {
            Ok(session) => session,
            Err(poisoned) => {
                self.session.clear_poison();
                let mut session = poisoned.into_inner();
                if let Some(session) = session.as_mut() {
                    session.clear();
                }
                session
            }
        };
        if session.is_none() {
            *session = Some(Session::new(
                &self.model,
                self.spec.id.clone(),
                self.spec.threads,
                |threads| self.context(threads),
            )?);
        }
        Ok(session)
    }

    fn context(&'static self, threads: u32) -> Result<LlamaContext<'static>, Error> {
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(self.spec.context_tokens + AUXILIARY_TOKENS))
            .with_n_seq_max(LANES)
            // One pool of cells for both lanes; otherwise each would have half of it.
            .with_kv_unified(true)
            .with_n_batch(MAX_CHUNK as u32)
            .with_n_ubatch(MAX_CHUNK as u32)
            .with_n_threads(threads as i32)
            .with_n_threads_batch(threads as i32)
            .with_no_perf(true);
        self.model
            .new_context(&self.backend, params)
            .map_err(|_| Error::Load {
                path: self.spec.path.clone(),
                reason: format!(
                    "there is not enough memory for a context of {} tokens",
                    self.spec.context_tokens
                ),
            })
    }
}
