//! The API's router as the transport of a window: no port, no HTTP.
//!
//! A call is one exchange: `call` sends it and brings the head of the answer, with the body when it
//! is small; a long body is parked and *pulled* with `read`, so that a slow reader slows the
//! producer; a long request body is pushed in pieces with `write`; `cancel` drops everything the
//! exchange still holds. Exchanges belong to a window and end with its page: `cancel_window`.
//! Which requests are allowed, and what they mean, is the router's business, not the tunnel's.

mod wire;

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use wire::{BodyMode, pack_reply};
pub use wire::{Frame, Head, RequestBody};

/// A body up to this size travels with the head of its answer (one round trip instead of two), and
/// a longer one is pulled in frames of about this size.
const INLINE_BYTES: usize = 1024 * 1024;

/// Pieces of a request body that may wait for the handler. A piece is a few megabytes, so two keep
/// the handler busy and bound the memory.
const WAITING_PIECES: usize = 2;

/// Ids of ended exchanges that are remembered, so that a cancel which overtakes its call, or a
/// piece that arrives after the answer, is recognised. A page has far fewer calls under way.
const REMEMBERED_IDS: usize = 4096;

/// Why a request of the window got no answer. The router's own errors are answers, not this.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// The window cancelled the exchange, or its page is gone.
    #[error("the request was cancelled")]
    Cancelled,
    /// The head isn't what the window should send.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// Only the API is served here.
    #[error("the window may only ask for paths under /api/")]
    OutsideApi,
    /// The id is in use or was used.
    #[error("the request id was used before")]
    Repeated,
    /// The handler panicked outside the router's own protection.
    #[error("the request failed inside Docent")]
    Panicked,
    /// The handler no longer reads the request's body.
    #[error("the request's body is no longer read")]
    NotRead,
    /// The answer broke off before it was complete.
    #[error("the answer broke off: {0}")]
    BrokeOff(String),
}

/// The exchanges of all windows over one router.
pub struct Tunnel {
    router: Router,
    open: Mutex<Open>,
}

/// Window label and id of an exchange. Ids are made by the page and unique in it.
type Key = (String, String);

#[derive(Default)]
struct Open {
    exchanges: HashMap<Key, Exchange>,
    ended: HashSet<Key>,
    /// The same keys as `ended`, oldest first.
    ended_order: VecDeque<Key>,
}

struct Exchange {
    cancelled: CancellationToken,
    /// False while only pieces of its body have arrived: they may overtake the call.
    called: bool,
    upload: Option<Upload>,
    answer: Option<Arc<tokio::sync::Mutex<Answer>>>,
}

struct Upload {
    sender: mpsc::Sender<UploadPiece>,
    /// Taken by the call.
    receiver: Option<mpsc::Receiver<UploadPiece>>,
}

enum UploadPiece {
    Data(Bytes),
    /// Distinguishes a complete body from one whose sender went away.
    Last,
}

struct Answer {
    body: BodyDataStream,
    /// The end or the failure that was met while a frame was filled; reported by the next read.
    held: Option<Frame>,
}

impl Tunnel {
    pub fn new(router: Router) -> Self {
        Self {
            router,
            open: Mutex::new(Open::default()),
        }
    }

    /// Runs one request of `window` and returns the packed head of its answer (see [`wire`]).
    ///
    /// `inline` is the request's body unless the head announces a streamed one.
    pub async fn call(&self, window: &str, head: Head, inline: Bytes) -> Result<Vec<u8>, Refusal> {
        let method = Method::from_bytes(head.method.as_bytes())
            .map_err(|_| Refusal::Malformed(format!("method {:?}", head.method)))?;
        if !head.path.starts_with("/api/") {
            return Err(Refusal::OutsideApi);
        }
        let mut request = Request::builder().method(method.clone()).uri(&head.path);
        for (name, value) in &head.headers {
            request = request.header(name, value);
        }

        let key = (window.to_owned(), head.id);
        let (cancelled, upload) = self.lock().begin(&key, head.body)?;
        let guard = EndOnDrop {
            tunnel: self,
            key: Some(key),
        };
        let body = match upload {
            Some(receiver) => Body::from_stream(pieces(receiver)),
            None => Body::from(inline),
        };
        let request = request
            .body(body)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;

        let answered = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        let answer: Result<Response<Body>, Infallible> = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Err(Refusal::Cancelled),
            answer = answered => answer.map_err(|_| Refusal::Panicked)?,
        };
        let Ok(answer) = answer;
        let (mut parts, body) = answer.into_parts();

        let bodiless = method == Method::HEAD
            || matches!(
                parts.status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
            );
        if bodiless {
            return Ok(pack_reply(&parts, BodyMode::Inline, &[]));
        }
        let exact = axum::body::HttpBody::size_hint(&body).exact();
        // Over TCP hyper adds the length; clients look at it.
        if let Some(length) = exact {
            parts
                .headers
                .entry(header::CONTENT_LENGTH)
                .or_insert_with(|| HeaderValue::from(length));
        }
        let announced = parts
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length <= INLINE_BYTES as u64) {
            let collected = AssertUnwindSafe(body.collect()).catch_unwind();
            let collected = tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(Refusal::Cancelled),
                collected = collected => collected.map_err(|_| Refusal::Panicked)?,
            };
            let bytes = collected
                .map_err(|error| Refusal::BrokeOff(error.to_string()))?
                .to_bytes();
            return Ok(pack_reply(&parts, BodyMode::Inline, &bytes));
        }
        let reply = pack_reply(&parts, BodyMode::Pull, &[]);
        guard.park(Answer {
            body: body.into_data_stream(),
            held: None,
        })?;
        Ok(reply)
    }

    /// Waits for the next frame of a parked body and adds what is ready without waiting.
    pub async fn read(&self, window: &str, id: &str) -> Frame {
        let key = (window.to_owned(), id.to_owned());
        let parked = {
            let open = self.lock();
            open.exchanges
                .get(&key)
                .and_then(|exchange| Some((exchange.cancelled.clone(), exchange.answer.clone()?)))
        };
        let Some((cancelled, answer)) = parked else {
            return Frame::Failed("the answer is no longer open".into());
        };
        let frame = tokio::select! {
            biased;
            () = cancelled.cancelled() => Frame::Failed(Refusal::Cancelled.to_string()),
            frame = async { answer.lock().await.next_frame().await } => frame,
        };
        if !matches!(frame, Frame::Data(_)) {
            self.lock().end(&key);
        }
        frame
    }

    /// Hands the next piece of a streamed request body to the handler; waits while it is busy.
    pub async fn write(
        &self,
        window: &str,
        id: &str,
        piece: Bytes,
        last: bool,
    ) -> Result<(), Refusal> {
        let key = (window.to_owned(), id.to_owned());
        let (cancelled, sender) = self.lock().upload(&key)?;
        let mut queue = Vec::with_capacity(2);
        if !piece.is_empty() {
            queue.push(UploadPiece::Data(piece));
        }
        if last {
            queue.push(UploadPiece::Last);
        }
        for piece in queue {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(Refusal::Cancelled),
                sent = sender.send(piece) => sent.map_err(|_| Refusal::NotRead)?,
            }
        }
        Ok(())
    }

    /// Ends an exchange at whatever point it is, also one whose call has still to arrive.
    pub fn cancel(&self, window: &str, id: &str) {
        self.lock().end(&(window.to_owned(), id.to_owned()));
    }

    /// Ends every exchange of a window: its page is being replaced, or the window is gone. Nobody
    /// would read the answers, and a stream nobody reads would live for ever.
    pub fn cancel_window(&self, window: &str) {
        let mut open = self.lock();
        let keys: Vec<Key> = open
            .exchanges
            .keys()
            .filter(|(label, _)| label == window)
            .cloned()
            .collect();
        tracing::debug!(window, ended = keys.len(), "the window's exchanges ended");
        for key in keys {
            open.end(&key);
        }
    }

    /// Exchanges under way or parked, over all windows.
    pub fn open_exchanges(&self) -> usize {
        self.lock().exchanges.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // The table is consistent between statements, so a panic elsewhere doesn't spoil it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Registers a call; returns its cancellation and, for a streamed body, where the pieces come.
    fn begin(
        &mut self,
        key: &Key,
        body: RequestBody,
    ) -> Result<(CancellationToken, Option<mpsc::Receiver<UploadPiece>>), Refusal> {
        if self.ended.contains(key) {
            return Err(Refusal::Cancelled);
        }
        let exchange = self
            .exchanges
            .entry(key.clone())
            .or_insert_with(Exchange::new);
        if exchange.called {
            return Err(Refusal::Repeated);
        }
        exchange.called = true;
        let receiver = match body {
            RequestBody::Inline => None,
            RequestBody::Stream => exchange
                .upload
                .get_or_insert_with(Upload::new)
                .receiver
                .take(),
        };
        Ok((exchange.cancelled.clone(), receiver))
    }

    fn upload(
        &mut self,
        key: &Key,
    ) -> Result<(CancellationToken, mpsc::Sender<UploadPiece>), Refusal> {
        if self.ended.contains(key) {
            return Err(Refusal::NotRead);
        }
        let exchange = self
            .exchanges
            .entry(key.clone())
            .or_insert_with(Exchange::new);
        if exchange.called && exchange.upload.is_none() {
            return Err(Refusal::NotRead);
        }
        let upload = exchange.upload.get_or_insert_with(Upload::new);
        Ok((exchange.cancelled.clone(), upload.sender.clone()))
    }

    fn end(&mut self, key: &Key) {
        if let Some(exchange) = self.exchanges.remove(key) {
            exchange.cancelled.cancel();
        }
        if self.ended.insert(key.clone()) {
            self.ended_order.push_back(key.clone());
            if self.ended_order.len() > REMEMBERED_IDS
                && let Some(oldest) = self.ended_order.pop_front()
            {
                self.ended.remove(&oldest);
            }
        }
    }
}

impl Exchange {
    fn new() -> Self {
        Self {
            cancelled: CancellationToken::new(),
            called: false,
            upload: None,
            answer: None,
        }
    }
}

impl Upload {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_PIECES);
        Self {
            sender,
            receiver: Some(receiver),
        }
    }
}

impl Answer {
    async fn next_frame(&mut self) -> Frame {
        if let Some(held) = self.held.take() {
            return held;
        }
        let first = match self.next_piece().await {
            Frame::Data(bytes) => bytes,
            last => return last,
        };
        let mut filled = BytesMut::from(first);
        while filled.len() < INLINE_BYTES {
            match self.next_piece().now_or_never() {
                None => break,
                Some(Frame::Data(bytes)) => filled.extend_from_slice(&bytes),
                Some(last) => {
                    self.held = Some(last);
                    break;
                }
            }
        }
        Frame::Data(filled.freeze())
    }

    /// A panic while the body is made would otherwise leave the window waiting for ever: the
    /// router's protection ends where the head is sent.
    async fn next_piece(&mut self) -> Frame {
        match AssertUnwindSafe(self.body.next()).catch_unwind().await {
            Ok(Some(Ok(bytes))) => Frame::Data(bytes),
            Ok(None) => Frame::End,
            Ok(Some(Err(error))) => Frame::Failed(error.to_string()),
            Err(_) => Frame::Failed(Refusal::Panicked.to_string()),
        }
    }
}

/// Removes an exchange when its call ends, however it ends, unless its body was parked.
struct EndOnDrop<'a> {
    tunnel: &'a Tunnel,
    key: Option<Key>,
}

impl EndOnDrop<'_> {
    fn park(mut self, answer: Answer) -> Result<(), Refusal> {
        let Some(key) = self.key.take() else {
            return Ok(());
        };
        match self.tunnel.lock().exchanges.get_mut(&key) {
            Some(exchange) => {
                exchange.answer = Some(Arc::new(tokio::sync::Mutex::new(answer)));
                Ok(())
            }
            // Cancelled between the answer's head and this line.
            None => Err(Refusal::Cancelled),
        }
    }
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.tunnel.lock().end(&key);
        }
    }
}

/// The pieces as a body. It fails, instead of ending, when they stop before the last one: a
/// cancelled upload must not look like a short file.
fn pieces(
    receiver: mpsc::Receiver<UploadPiece>,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(UploadPiece::Data(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(UploadPiece::Last) => None,
            None => {
                let error = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the window stopped sending before the end of the body",
                );
                Some((Err(error), None))
            }
        }
    })
}

#[cfg(test)]
mod tests;
