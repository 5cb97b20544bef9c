//! Models behind an OpenAI-compatible HTTP endpoint: llama.cpp's server, vLLM, Ollama, a company's
//! gateway.
//!
//! Only what all of them understand is sent. Documents leave this machine through here, so an
//! endpoint is used only when the user has configured it, redirects are not followed, and the key
//! never appears in an error or a log.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    EmbedKind, Embedder, Embedding, Error, Finish, Generation, GenerationRequest, Generator, Result,
};

/// To a server in the same network or on the internet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer: a server on two cores may read a prompt for a minute.
const READ_TIMEOUT: Duration = Duration::from_mins(3);
/// Texts in one request for embeddings; servers limit it, and OpenAI's own limit is 2048.
const EMBED_BATCH: usize = 64;
/// Of an error's body, what is shown.
const MAX_MESSAGE_CHARS: usize = 300;
/// One event holds one token; more than this is not an answer.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// Estimated, because the protocol cannot count: fewer in English, about so many in Croatian.
const BYTES_PER_TOKEN: usize = 3;

#[derive(Clone)]
pub struct OpenAiOptions {
    /// Such as `http://127.0.0.1:8080/v1`.
    pub base_url: String,
    pub key: Option<String>,
    pub connect_timeout: Duration,
    /// Longest silence of the server.
    pub read_timeout: Duration,
}

impl OpenAiOptions {
    pub fn new(base_url: &str, key: Option<String>) -> Self {
        Self {
            base_url: base_url.to_owned(),
            key,
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: READ_TIMEOUT,
        }
    }
}

impl std::fmt::Debug for OpenAiOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiOptions")
            .field("base_url", &self.base_url)
            .field("key", &self.key.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}

struct Endpoint {
    client: reqwest::Client,
    base_url: String,
}

impl Endpoint {
    fn new(options: OpenAiOptions) -> Result<Self> {
        let base_url = options.base_url.trim_end_matches('/').to_owned();
        let refused = |reason: String| Error::Unreachable {
            endpoint: base_url.clone(),
            reason,
        };
        let url = reqwest::Url::parse(&base_url)
            .map_err(|error| refused(format!("that is not an address: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(
                "the address must begin with http:// or https://".to_owned(),
            ));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = options.key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                refused("the key contains characters that a key cannot have".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| refused(reason(&error)))?;
        Ok(Self { client, base_url })
    }

    async fn post(&self, path: &str, body: &Value) -> Result<reqwest::Response> {
        let response = self
            .client
            .post(format!("{}/{path}", self.base_url))
            .json(body)
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(Error::Endpoint {
            endpoint: self.base_url.clone(),
            status: status.as_u16(),
            message: error_message(&body)
                .or_else(|| status.canonical_reason().map(str::to_owned))
                .unwrap_or_else(|| "no message".to_owned()),
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        Error::Unreachable {
            endpoint: self.base_url.clone(),
            reason: reason(error),
        }
    }

    fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::Malformed {
            endpoint: self.base_url.clone(),
            reason: reason.into(),
        }
    }
}

/// The innermost cause, which says what happened ("connection refused").
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// `{"error": {"message": …}}`, `{"error": …}`, `{"message": …}` or plain text.
fn error_message(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let parsed: Option<Value> = serde_json::from_str(&text).ok();
    let found = parsed.as_ref().and_then(|body| {
        [
            &body["error"]["message"],
            &body["error"],
            &body["message"],
            &body["detail"],
        ]
        .into_iter()
        .find_map(Value::as_str)
    });
    let message = found.unwrap_or(text.trim());
    (!message.is_empty()).then(|| message.chars().take(MAX_MESSAGE_CHARS).collect())
}

/// Text from `/chat/completions`.
pub struct OpenAiGenerator {
    endpoint: Endpoint,
    model: String,
    context_tokens: usize,
}

impl OpenAiGenerator {
    /// Connects to nothing yet.
    pub fn new(options: OpenAiOptions, model: String, context_tokens: usize) -> Result<Self> {
        Ok(Self {
            endpoint: Endpoint::new(options)?,
            model,
            context_tokens,
        })
    }

    fn body(&self, request: &GenerationRequest) -> Value {
        let mut messages: Vec<Value> = request
            .messages
            .iter()
            .map(|turn| json!({ "role": turn.role.as_str(), "content": turn.content }))
            .collect();
        // Servers that continue a last message of the assistant do so unasked.
        if let Some(prefix) = &request.assistant_prefix {
            messages.push(json!({ "role": "assistant", "content": prefix }));
        }
        let mut body = json!({
            "model": self.model,
            "messages": messages,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        if !request.stop.is_empty() {
            body["stop"] = json!(request.stop);
        }
        if let Some(grammar) = &request.grammar {
            // llama.cpp's server knows this field; others ignore or refuse it.
            body["grammar"] = json!(grammar);
        }
        body
    }

    async fn stream(
        &self,
        request: &GenerationRequest,
        pieces: &mpsc::Sender<String>,
        generation: &mut Generation,
    ) -> Result<()> {
        let started = Instant::now();
        let response = self
            .endpoint
            .post("chat/completions", &self.body(request))
            .await?;
        let mut body = response.bytes_stream();
        let mut events = EventLines::default();
        let mut first: Option<Instant> = None;
        let mut is_done = false;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| self.endpoint.unreachable(&error))?;
            let lines = events
                .push(&bytes)
                .ok_or_else(|| self.endpoint.malformed("a line without end"))?;
            for data in lines {
                if data == "[DONE]" {
                    is_done = true;
                    continue;
                }
                let event: ChatEvent = serde_json::from_str(&data)
                    .map_err(|error| self.endpoint.malformed(error.to_string()))?;
                if let Some(error) = event.error {
                    let message = error_message(error.to_string().as_bytes()).unwrap_or_default();
                    return Err(Error::Endpoint {
                        endpoint: self.endpoint.base_url.clone(),
                        status: 200,
                        message,
                    });
                }
                if let Some(usage) = event.usage {
                    generation.prompt_tokens = usage.prompt_tokens;
                    generation.generated_tokens = usage.completion_tokens;
                    generation.reused_tokens = usage
                        .prompt_tokens_details
                        .map_or(0, |details| details.cached_tokens);
                }
                let Some(choice) = event.choices.into_iter().next() else {
                    continue;
                };
                if let Some(finish) = choice.finish_reason {
                    is_done = true;
                    generation.finish = match finish.as_str() {
                        "length" => Finish::Length,
                        _ => Finish::Stop,
                    };
                }
                let piece = choice.delta.content.unwrap_or_default();
                if !piece.is_empty() {
                    let first = *first.get_or_insert_with(|| {
                        generation.prompt_ms = started.elapsed().as_millis() as u64;
                        Instant::now()
                    });
                    if pieces.send(piece.clone()).await.is_err() {
                        generation.finish = Finish::Cancelled;
                        return Ok(());
                    }
                    generation.text.push_str(&piece);
                    generation.generation_ms = first.elapsed().as_millis() as u64;
                }
            }
        }
        if is_done {
            Ok(())
        } else {
            Err(self.endpoint.malformed("the answer breaks off"))
        }
    }
}

#[derive(Deserialize)]
struct ChatEvent {
    #[serde(default)]
    choices: Vec<ChatChoice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct ChatChoice {
    #[serde(default)]
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: u32,
}

/// Cuts a stream of server-sent events into the contents of its `data:` lines.
#[derive(Default)]
struct EventLines {
    rest: Vec<u8>,
}

impl EventLines {
    /// `None` when a line grows beyond all reason.
    fn push(&mut self, bytes: &[u8]) -> Option<Vec<String>> {
        self.rest.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[start..start + length]);
            if let Some(data) = line.trim_end().strip_prefix("data:") {
                let data = data.trim_start();
                if !data.is_empty() {
                    lines.push(data.to_owned());
                }
            }
            start += length + 1;
        }
        self.rest.drain(..start);
        (self.rest.len() <= MAX_EVENT_BYTES).then_some(lines)
    }
}

#[async_trait]
impl Generator for OpenAiGenerator {
    fn model(&self) -> &str {
        &self.model
    }

    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// An estimate, rather too high than too low: the protocol has no way to ask.
    async fn count_tokens(&self, text: &str) -> Result<usize> {
        Ok(text.len().div_ceil(BYTES_PER_TOKEN))
    }

    async fn generate(
        &self,
        request: GenerationRequest,
        pieces: mpsc::Sender<String>,
        cancel: CancellationToken,
    ) -> Result<Generation> {
        let mut generation = Generation {
            text: String::new(),
            prompt_tokens: 0,
            reused_tokens: 0,
            generated_tokens: 0,
            prompt_ms: 0,
            generation_ms: 0,
            finish: Finish::Stop,
        };
        // Dropping the stream closes the connection, which is how a server learns of it.
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                generation.finish = Finish::Cancelled;
                Ok(())
            }
            ended = self.stream(&request, &pieces, &mut generation) => ended,
        };
        ended.map(|()| generation)
    }

    async fn unload(&self) {}
}

/// Vectors from `/embeddings`.
pub struct OpenAiEmbedder {
    endpoint: Endpoint,
    model: String,
    fingerprint: String,
    dimensions: usize,
    max_tokens: usize,
    query_prefix: String,
    passage_prefix: String,
}

impl OpenAiEmbedder {
    /// Connects to nothing yet; vectors of another width than `dimensions` are refused.
    pub fn new(options: OpenAiOptions, model: String, dimensions: usize) -> Result<Self> {
        let endpoint = Endpoint::new(options)?;
        Ok(Self {
            fingerprint: format!("openai:{}:{model}:{dimensions}", endpoint.base_url),
            endpoint,
            model,
            dimensions,
            max_tokens: 512,
            query_prefix: String::new(),
            passage_prefix: String::new(),
        })
    }

    #[must_use]
    pub fn with_max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// What models of the E5 family want in front of a text.
    #[must_use]
    pub fn with_prefixes(mut self, query: &str, passage: &str) -> Self {
        query.clone_into(&mut self.query_prefix);
        passage.clone_into(&mut self.passage_prefix);
        self.fingerprint = format!("{}:{query}:{passage}", self.fingerprint);
        self
    }

    async fn embed_batch(&self, texts: &[String]) -> Result<Vec<Embedding>> {
        let body = json!({ "model": self.model, "input": texts, "encoding_format": "float" });
        let response = self.endpoint.post("embeddings", &body).await?;
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.endpoint.unreachable(&error))?;
        let mut answer: EmbeddingAnswer = serde_json::from_slice(&bytes)
            .map_err(|error| self.endpoint.malformed(error.to_string()))?;
        answer.data.sort_by_key(|item| item.index);
        let is_complete = answer.data.len() == texts.len()
            && answer
                .data
                .iter()
                .enumerate()
                .all(|(at, item)| item.index == at);
        if !is_complete {
            return Err(self.endpoint.malformed(format!(
                "{} texts were sent and {} vectors came back",
                texts.len(),
                answer.data.len()
            )));
        }
        answer
            .data
            .into_iter()
            .map(|item| self.unit_vector(item.embedding))
            .collect()
    }

    fn unit_vector(&self, mut dense: Vec<f32>) -> Result<Embedding> {
        if dense.len() != self.dimensions {
            return Err(self.endpoint.malformed(format!(
                "its vectors have {} dimensions and not {}; correct the configuration",
                dense.len(),
                self.dimensions
            )));
        }
        let norm = dense
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt() as f32;
        if !norm.is_finite() || norm == 0.0 {
            return Err(self.endpoint.malformed("a vector without direction"));
        }
        for x in &mut dense {
            *x /= norm;
        }
        Ok(Embedding {
            dense,
            sparse: None,
        })
    }
}

#[derive(Deserialize)]
struct EmbeddingAnswer {
    data: Vec<EmbeddingItem>,
}

#[derive(Deserialize)]
struct EmbeddingItem {
    index: usize,
    embedding: Vec<f32>,
}

#[async_trait]
impl Embedder for OpenAiEmbedder {
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
        false
    }

    async fn embed(&self, kind: EmbedKind, texts: Vec<String>) -> Result<Vec<Embedding>> {
        let prefix = match kind {
            EmbedKind::Query => &self.query_prefix,
            EmbedKind::Passage => &self.passage_prefix,
        };
        let texts: Vec<String> = texts
            .into_iter()
            .map(|text| format!("{prefix}{text}"))
            .collect();
        let mut embeddings = Vec::with_capacity(texts.len());
        for batch in texts.chunks(EMBED_BATCH) {
            embeddings.extend(self.embed_batch(batch).await?);
        }
        Ok(embeddings)
    }

    async fn unload(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_any_cut() {
        let stream = "event: x\ndata: {\"a\":\"č\"}\r\n\r\n: comment\ndata:[DONE]\n\n".as_bytes();
        for cut in 1..stream.len() {
            let mut events = EventLines::default();
            let lines: Vec<String> = stream
                .chunks(cut)
                .flat_map(|bytes| events.push(bytes).unwrap())
                .collect();
            assert_eq!(lines, ["{\"a\":\"č\"}", "[DONE]"], "cut every {cut} bytes");
        }
        let mut events = EventLines::default();
        assert_eq!(events.push(&vec![b'x'; MAX_EVENT_BYTES + 1]), None);
    }

    #[test]
    fn messages_of_servers_are_found() {
        let found = |body: &str| error_message(body.as_bytes());
        assert_eq!(
            found(r#"{"error":{"message":"no such model"}}"#).unwrap(),
            "no such model"
        );
        assert_eq!(found(r#"{"error":"busy"}"#).unwrap(), "busy");
        assert_eq!(found("<html>").unwrap(), "<html>");
        assert_eq!(found(" "), None);
        assert_eq!(found(&"x".repeat(5000)).unwrap().len(), MAX_MESSAGE_CHARS);
    }

    #[test]
    fn the_key_is_never_shown() {
        let options = OpenAiOptions::new("http://127.0.0.1:1/v1", Some("secret-key".into()));
        assert!(!format!("{options:?}").contains("secret-key"));
        for wrong in ["ftp://host/v1", "no address"] {
            let options = OpenAiOptions::new(wrong, Some("secret-key".into()));
            let error = OpenAiGenerator::new(options, "m".into(), 1).err().unwrap();
            assert!(!error.to_string().contains("secret-key"), "{error}");
        }
    }
}
