//! The tunnel over a small router: what the window sees of each kind of answer and of each ending.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use futures::stream;
use serde_json::Value;
use tokio::sync::Notify;

use super::*;

/// What the handlers report to the test.
#[derive(Default)]
struct Seen {
    produced: AtomicUsize,
    dropped: Notify,
    upload: Mutex<Option<Result<usize, String>>>,
}

struct ReportDrop(Arc<Seen>);

impl Drop for ReportDrop {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

fn tunnel() -> (Arc<Tunnel>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let router = Router::new()
        .route(
            "/api/hello",
            get(|| async { "hello" }).post(|body: String| async { body }),
        )
        .route("/api/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route(
            "/api/missing",
            get(|| async { (StatusCode::NOT_FOUND, "no such thing") }),
        )
        .route("/api/big", get(|| async { vec![7_u8; 3 * INLINE_BYTES] }))
        .route(
            "/api/panic",
            get(|| async { panic!("on purpose") as &'static str }),
        )
        .route("/api/panic-in-body", get(panic_in_body))
        .route("/api/error-in-body", get(error_in_body))
        .route("/api/endless", get(endless))
        .route("/api/silent", get(silent))
        .route(
            "/api/never",
            get(|State(seen): State<Arc<Seen>>| never(seen)),
        )
        .route("/api/upload", post(upload))
        .route(
            "/api/refuses-upload",
            post(|| async { StatusCode::PAYLOAD_TOO_LARGE }),
        )
        .with_state(seen.clone());
    (Arc::new(Tunnel::new(router)), seen)
}

async fn panic_in_body() -> Body {
    Body::from_stream(stream::iter(0..3).map(|n| {
        assert!(n < 2, "on purpose");
        io::Result::Ok(Bytes::from_static(b"piece"))
    }))
}

async fn error_in_body() -> Body {
    Body::from_stream(stream::iter([
        Ok(Bytes::from_static(b"piece")),
        Err(io::Error::other("the disk went away")),
    ]))
}

async fn endless(State(seen): State<Arc<Seen>>) -> Body {
    let report = ReportDrop(seen.clone());
    Body::from_stream(stream::repeat_with(move || {
        let _held = &report;
        seen.produced.fetch_add(1, Ordering::SeqCst);
        io::Result::Ok(Bytes::from(vec![0_u8; 64 * 1024]))
    }))
}

async fn silent(State(seen): State<Arc<Seen>>) -> Body {
    let report = ReportDrop(seen);
    Body::from_stream(
        stream::once(async { io::Result::Ok(Bytes::from_static(b"first")) }).chain(
            stream::pending().map(move |never: io::Result<Bytes>| {
                let _held = &report;
                never
            }),
        ),
    )
}

async fn never(seen: Arc<Seen>) -> &'static str {
    let _report = ReportDrop(seen);
    futures::future::pending().await
}

async fn upload(State(seen): State<Arc<Seen>>, body: Body) -> String {
    let mut body = body.into_data_stream();
    let mut length = 0;
    let result = loop {
        match body.next().await {
            None => break Ok(length),
            Some(Ok(bytes)) => length += bytes.len(),
            Some(Err(error)) => break Err(error.to_string()),
        }
    };
    *seen.upload.lock().unwrap() = Some(result);
    seen.dropped.notify_one();
    length.to_string()
}

fn head(id: &str, method: &str, path: &str) -> Head {
    Head {
        id: id.into(),
        method: method.into(),
        path: path.into(),
        headers: vec![("content-type".into(), "text/plain".into())],
        body: RequestBody::Inline,
    }
}

fn unpack(reply: &[u8]) -> (Value, &[u8]) {
    let (length, rest) = reply.split_at(4);
    let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
    (
        serde_json::from_slice(&rest[..length]).unwrap(),
        &rest[length..],
    )
}

/// The shape that every test of a hang would otherwise show as a stuck run.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("hangs")
}

#[tokio::test]
async fn a_small_answer_comes_with_its_head() {
    let (tunnel, _) = tunnel();
    let reply = tunnel
        .call("main", head("1", "GET", "/api/hello?x=1"), Bytes::new())
        .await
        .unwrap();
    let (head_json, body) = unpack(&reply);
    assert_eq!(head_json["status"], 200);
    assert_eq!(head_json["body"], "inline");
    assert!(
        head_json["headers"]
            .as_array()
            .unwrap()
            .contains(&serde_json::json!(["content-length", "5"])),
        "clients look at the length, and no server adds it here: {head_json}"
    );
    assert_eq!(body, b"hello");
    assert_eq!(tunnel.open_exchanges(), 0);
}

#[tokio::test]
async fn a_body_reaches_the_handler_and_statuses_pass_unchanged() {
    let (tunnel, _) = tunnel();
    let echoed = tunnel
        .call(
            "main",
            head("1", "POST", "/api/hello"),
            Bytes::from("pozdrav š"),
        )
        .await
        .unwrap();
    assert_eq!(unpack(&echoed).1, "pozdrav š".as_bytes());
    for (id, path, status) in [
        ("2", "/api/missing", 404),
        ("3", "/api/nothing", 204),
        ("4", "/api/nowhere", 404),
    ] {
        let reply = tunnel
            .call("main", head(id, "GET", path), Bytes::new())
            .await
            .unwrap();
        assert_eq!(unpack(&reply).0["status"], status, "{path}");
    }
}

#[tokio::test]
async fn only_the_api_is_reachable() {
    let (tunnel, _) = tunnel();
    for path in [
        "/",
        "/index.html",
        "api/hello",
        "//api/hello",
        "http://127.0.0.1/api/hello",
        "",
    ] {
        let refused = tunnel
            .call("main", head(path, "GET", path), Bytes::new())
            .await;
        assert_eq!(refused, Err(Refusal::OutsideApi), "{path}");
    }
    let malformed = tunnel
        .call("main", head("m", "G T", "/api/hello"), Bytes::new())
        .await;
    assert!(matches!(malformed, Err(Refusal::Malformed(_))));
    let malformed = tunnel
        .call("main", head("n", "GET", "/api/he llo"), Bytes::new())
        .await;
    assert!(matches!(malformed, Err(Refusal::Malformed(_))));
    assert_eq!(tunnel.open_exchanges(), 0);
}

#[tokio::test]
async fn a_long_answer_is_pulled_to_its_end() {
    let (tunnel, _) = tunnel();
    let reply = tunnel
        .call("main", head("1", "GET", "/api/big"), Bytes::new())
        .await
        .unwrap();
    assert_eq!(unpack(&reply).0["body"], "pull");
    let mut length = 0;
    loop {
        match soon(tunnel.read("main", "1")).await {
            Frame::Data(bytes) => length += bytes.len(),
            Frame::End => break,
            Frame::Failed(message) => panic!("{message}"),
        }
    }
    assert_eq!(length, 3 * INLINE_BYTES);
    assert_eq!(tunnel.open_exchanges(), 0, "an ended answer is forgotten");
    assert!(matches!(tunnel.read("main", "1").await, Frame::Failed(_)));
}

#[tokio::test]
async fn a_window_cannot_read_or_cancel_another_windows_answer() {
    let (tunnel, _) = tunnel();
    tunnel
        .call("main", head("1", "GET", "/api/big"), Bytes::new())
        .await
        .unwrap();
    assert!(matches!(tunnel.read("other", "1").await, Frame::Failed(_)));
    tunnel.cancel("other", "1");
    tunnel.cancel_window("other");
    assert!(matches!(tunnel.read("main", "1").await, Frame::Data(_)));
}

#[tokio::test]
async fn a_stalled_reader_stalls_the_producer() {
    let (tunnel, seen) = tunnel();
    tunnel
        .call("main", head("1", "GET", "/api/endless"), Bytes::new())
        .await
        .unwrap();
    assert_eq!(
        seen.produced.load(Ordering::SeqCst),
        0,
        "nothing is made before it is asked for"
    );
    let Frame::Data(bytes) = soon(tunnel.read("main", "1")).await else {
        panic!()
    };
    assert!(bytes.len() <= INLINE_BYTES + 64 * 1024);
    assert_eq!(
        seen.produced.load(Ordering::SeqCst) * 64 * 1024,
        bytes.len()
    );
}

#[tokio::test]
async fn cancelling_drops_the_handler_and_the_stream() {
    let (tunnel, seen) = tunnel();
    // In the middle of a body, with a read waiting.
    tunnel
        .call("main", head("1", "GET", "/api/silent"), Bytes::new())
        .await
        .unwrap();
    assert_eq!(
        soon(tunnel.read("main", "1")).await,
        Frame::Data(Bytes::from_static(b"first"))
    );
    let reading = tokio::spawn({
        let tunnel = tunnel.clone();
        async move { tunnel.read("main", "1").await }
    });
    tokio::task::yield_now().await;
    tunnel.cancel("main", "1");
    assert!(matches!(soon(reading).await.unwrap(), Frame::Failed(_)));
    soon(seen.dropped.notified()).await;

    // Before the head.
    let calling = tokio::spawn({
        let tunnel = tunnel.clone();
        async move {
            tunnel
                .call("main", head("2", "GET", "/api/never"), Bytes::new())
                .await
        }
    });
    while tunnel.open_exchanges() == 0 {
        tokio::task::yield_now().await;
    }
    tunnel.cancel("main", "2");
    assert_eq!(soon(calling).await.unwrap(), Err(Refusal::Cancelled));
    soon(seen.dropped.notified()).await;
    assert_eq!(tunnel.open_exchanges(), 0);
}

#[tokio::test]
async fn a_cancel_may_overtake_its_call() {
    let (tunnel, _) = tunnel();
    tunnel.cancel("main", "1");
    let refused = tunnel
        .call("main", head("1", "GET", "/api/hello"), Bytes::new())
        .await;
    assert_eq!(refused, Err(Refusal::Cancelled));
}

#[tokio::test]
async fn the_ids_of_ended_exchanges_take_bounded_memory() {
    let (tunnel, _) = tunnel();
    for id in 0..REMEMBERED_IDS * 2 {
        tunnel.cancel("main", &id.to_string());
    }
    let open = tunnel.lock();
    assert_eq!(open.ended.len(), REMEMBERED_IDS);
    assert_eq!(open.ended_order.len(), REMEMBERED_IDS);
}

#[tokio::test]
async fn a_page_that_goes_takes_its_exchanges_with_it() {
    let (tunnel, seen) = tunnel();
    tunnel
        .call("main", head("1", "GET", "/api/endless"), Bytes::new())
        .await
        .unwrap();
    tunnel
        .call("main", head("2", "GET", "/api/big"), Bytes::new())
        .await
        .unwrap();
    tunnel
        .call("second", head("1", "GET", "/api/big"), Bytes::new())
        .await
        .unwrap();
    tunnel.cancel_window("main");
    soon(seen.dropped.notified()).await;
    assert_eq!(tunnel.open_exchanges(), 1, "the other window's stays");
}

#[tokio::test]
async fn a_panic_is_an_error_and_never_a_hang() {
    let (tunnel, _) = tunnel();
    let refused = tunnel
        .call("main", head("1", "GET", "/api/panic"), Bytes::new())
        .await;
    assert_eq!(refused, Err(Refusal::Panicked));

    tunnel
        .call("main", head("2", "GET", "/api/panic-in-body"), Bytes::new())
        .await
        .unwrap();
    assert_eq!(
        soon(tunnel.read("main", "2")).await,
        Frame::Data(Bytes::from_static(b"piecepiece")),
        "what came before the panic arrives"
    );
    assert!(matches!(
        soon(tunnel.read("main", "2")).await,
        Frame::Failed(_)
    ));

    tunnel
        .call("main", head("3", "GET", "/api/error-in-body"), Bytes::new())
        .await
        .unwrap();
    assert_eq!(
        soon(tunnel.read("main", "3")).await,
        Frame::Data(Bytes::from_static(b"piece"))
    );
    assert!(matches!(
        soon(tunnel.read("main", "3")).await,
        Frame::Failed(_)
    ));
    assert_eq!(tunnel.open_exchanges(), 0);
}

#[tokio::test]
async fn a_streamed_body_arrives_whole_even_when_its_pieces_overtake_the_call() {
    let (tunnel, seen) = tunnel();
    let writing = tokio::spawn({
        let tunnel = tunnel.clone();
        async move {
            for piece in 0..10 {
                let bytes = Bytes::from(vec![1_u8; 1000]);
                tunnel.write("main", "1", bytes, piece == 9).await?;
            }
            Ok::<(), Refusal>(())
        }
    });
    while tunnel.open_exchanges() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(
        !writing.is_finished(),
        "nobody reads yet, so the pieces wait"
    );
    let request = Head {
        body: RequestBody::Stream,
        ..head("1", "POST", "/api/upload")
    };
    let reply = soon(tunnel.call("main", request, Bytes::new()))
        .await
        .unwrap();
    assert_eq!(unpack(&reply).1, b"10000");
    soon(writing).await.unwrap().unwrap();
    assert_eq!(*seen.upload.lock().unwrap(), Some(Ok(10_000)));
}

#[tokio::test]
async fn an_upload_that_stops_is_never_taken_for_a_short_file() {
    // The body as the handler would read it, after its sender went away.
    let (sender, receiver) = mpsc::channel(WAITING_PIECES);
    sender
        .send(UploadPiece::Data(Bytes::from_static(b"half")))
        .await
        .unwrap();
    drop(sender);
    let read: Vec<_> = pieces(receiver).collect().await;
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].as_ref().unwrap(), "half");
    assert_eq!(
        read[1].as_ref().unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
}

#[tokio::test]
async fn pieces_after_the_answer_are_refused_and_kept_nowhere() {
    let (tunnel, _) = tunnel();
    let request = Head {
        body: RequestBody::Stream,
        ..head("1", "POST", "/api/refuses-upload")
    };
    let reply = soon(tunnel.call("main", request, Bytes::new()))
        .await
        .unwrap();
    assert_eq!(unpack(&reply).0["status"], 413);
    let late = tunnel
        .write("main", "1", Bytes::from_static(b"more"), false)
        .await;
    assert_eq!(late, Err(Refusal::NotRead));
    assert_eq!(tunnel.open_exchanges(), 0);
}

#[tokio::test]
async fn an_id_is_used_once() {
    let (tunnel, _) = tunnel();
    tunnel
        .call("main", head("1", "GET", "/api/endless"), Bytes::new())
        .await
        .unwrap();
    let again = tunnel
        .call("main", head("1", "GET", "/api/hello"), Bytes::new())
        .await;
    assert_eq!(again, Err(Refusal::Repeated));
    assert!(
        matches!(soon(tunnel.read("main", "1")).await, Frame::Data(_)),
        "the first one isn't disturbed"
    );
}
