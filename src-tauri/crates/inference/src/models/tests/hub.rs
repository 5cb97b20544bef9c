//! A hub on the loopback interface that misbehaves in every way we could think of. Whatever it
//! does, nothing unverified lands among the models.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};

use super::*;

const SIZE: usize = 1_000_000;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Clone, Debug, PartialEq)]
enum Behaviour {
    Honest,
    /// Hangs up after so many bytes of each answer, ranges obeyed.
    CutsAfter(usize),
    /// Hangs up at once when asked to go on.
    NeverGoesOn,
    Announces(usize),
    /// Without a length, so that only counting finds it.
    SendsMore,
    FlipsAByte,
    IgnoresRange {
        cut_first_at: usize,
    },
    RefusesRange {
        cut_first_at: usize,
    },
    SendsAnotherRange {
        cut_first_at: usize,
    },
    RedirectsTo(&'static str),
    RedirectsToItself,
    Compresses,
    StatesAnotherHash,
    NotFound,
    FailsTwice,
}

#[derive(Clone)]
struct Server {
    content: Arc<Vec<u8>>,
    behaviour: Behaviour,
    requests: Arc<Mutex<Vec<Option<String>>>>,
}

async fn answer(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let range = headers
        .get(header::RANGE)
        .map(|value| value.to_str().expect("ASCII").to_owned());
    let asked = {
        let mut requests = server.requests.lock().expect("a lock");
        if method == Method::GET {
            requests.push(range.clone());
        }
        requests.len()
    };
    let content = &server.content;
    let from: usize = range.as_deref().map_or(0, |range| {
        range
            .trim_start_matches("bytes=")
            .trim_end_matches('-')
            .parse()
            .expect("a range")
    });
    let response = Response::builder()
        .header("x-repo-commit", COMMIT)
        .header("x-linked-size", content.len());
    let stated = if server.behaviour == Behaviour::StatesAnotherHash {
        sha256(b"another")
    } else {
        sha256(content)
    };
    let mut response = response.header("x-linked-etag", format!("\"{stated}\""));
    if method == Method::HEAD {
        return response.body(Body::empty()).expect("a response");
    }
    let mut status = if from > 0 {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let mut announced = Some(content.len() - from);
    let mut bytes = content[from..].to_vec();
    let mut range_start = from;
    let mut cut = None;
    match server.behaviour {
        Behaviour::Honest | Behaviour::StatesAnotherHash => {}
        Behaviour::CutsAfter(count) => cut = Some(count),
        Behaviour::NeverGoesOn => cut = Some(if from == 0 { 1000 } else { 0 }),
        Behaviour::Announces(length) => {
            announced = Some(length);
            bytes.resize(length, 0);
        }
        Behaviour::SendsMore => {
            announced = None;
            bytes.extend([0; 100]);
        }
        Behaviour::FlipsAByte => bytes[SIZE / 2] ^= 1,
        Behaviour::IgnoresRange { cut_first_at } => {
            if asked == 1 {
                cut = Some(cut_first_at);
            } else {
                status = StatusCode::OK;
                bytes.clone_from(content);
                announced = Some(content.len());
            }
        }
        Behaviour::RefusesRange { cut_first_at } => {
            if asked == 1 {
                cut = Some(cut_first_at);
            } else if from > 0 {
                return response
                    .status(StatusCode::RANGE_NOT_SATISFIABLE)
                    .body(Body::empty())
                    .expect("a response");
            }
        }
        Behaviour::SendsAnotherRange { cut_first_at } => {
            if asked == 1 {
                cut = Some(cut_first_at);
            } else {
                range_start = from - 10;
            }
        }
        Behaviour::RedirectsTo(target) => {
            return response
                .status(StatusCode::FOUND)
                .header(header::LOCATION, target)
                .body(Body::empty())
                .expect("a response");
        }
        Behaviour::RedirectsToItself => {
            return response
                .status(StatusCode::FOUND)
                .header(header::LOCATION, uri.to_string())
                .body(Body::empty())
                .expect("a response");
        }
        Behaviour::Compresses => {
            // A bomb would be a few bytes here; that it is compressed at all is refused.
            response = response.header(header::CONTENT_ENCODING, "gzip");
        }
        Behaviour::NotFound => status = StatusCode::NOT_FOUND,
        Behaviour::FailsTwice => {
            if asked <= 2 {
                status = StatusCode::SERVICE_UNAVAILABLE;
            }
        }
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let end = content.len() - 1;
        response = response.header(
            header::CONTENT_RANGE,
            format!("bytes {range_start}-{end}/{}", content.len()),
        );
    }
    if let Some(length) = announced {
        response = response.header(header::CONTENT_LENGTH, length);
    }
    let body = match cut {
        None if announced.is_some() => Body::from(bytes),
        None => Body::from_stream(futures::stream::iter(
            bytes
                .chunks(10_000)
                .map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)))
                .collect::<Vec<_>>(),
        )),
        Some(count) => {
            bytes.truncate(count);
            let pieces: Vec<_> = bytes
                .chunks(10_000)
                .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
                .chain([Err(std::io::Error::other("cut"))])
                .collect();
            // The server writes out what it has whenever it must wait for more.
            Body::from_stream(futures::StreamExt::then(
                futures::stream::iter(pieces),
                async |piece| {
                    tokio::task::yield_now().await;
                    piece
                },
            ))
        }
    };
    response.status(status).body(body).expect("a response")
}

struct Case {
    _folder: tempfile::TempDir,
    store: ModelStore,
    content: Arc<Vec<u8>>,
    requests: Arc<Mutex<Vec<Option<String>>>>,
}

async fn case(behaviour: Behaviour, pinned: bool) -> Case {
    let content = Arc::new(noise(SIZE));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let server = Server {
        content: Arc::clone(&content),
        behaviour,
        requests: Arc::clone(&requests),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().fallback(answer).with_state(server);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = tempfile::tempdir().expect("folder");
    let pin = if pinned {
        format!("size={SIZE},sha256='{}'", sha256(&content))
    } else {
        "size_at_most=2000000,pin='on_first_download'".to_owned()
    };
    let catalog = format!(
        "[[model]]\nid='m'\nname='M'\nrole='generator'\nlicence='MIT'\n\
         source={{kind='hugging_face',repo='a/b',revision='main'}}\n\
         files=[{{name='m.gguf',{pin}}}]"
    );
    let store = ModelStore::open_with(options(
        folder.path(),
        &format!("http://{address}"),
        &catalog,
    ))
    .expect("store");
    Case {
        _folder: folder,
        store,
        content,
        requests,
    }
}

impl Case {
    async fn fetch(&self) -> Result<()> {
        self.store
            .fetch("m", silent(), CancellationToken::new())
            .await
    }

    async fn must_succeed(&self) {
        self.fetch().await.expect("the download");
        let path = self.store.path("m").expect("verified");
        assert_eq!(fs::read(path).expect("the file"), *self.content);
        assert!(
            !self.store.fetch_folder("m").exists(),
            "nothing is left over"
        );
    }

    async fn must_fail(&self) -> Error {
        let error = self.fetch().await.expect_err("a failure");
        assert_eq!(
            models_content(&self.store),
            Vec::<String>::new(),
            "nothing unverified among the models after: {error}"
        );
        assert!(self.store.path("m").is_err());
        error
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.requests.lock().expect("a lock").clone()
    }
}

#[tokio::test]
async fn an_honest_hub() {
    let case = case(Behaviour::Honest, true).await;
    case.must_succeed().await;
    assert_eq!(case.ranges(), [None]);
}

#[tokio::test]
async fn cut_at_every_tenth_it_goes_on_where_it_stopped() {
    let case = case(Behaviour::CutsAfter(SIZE / 10), true).await;
    case.must_succeed().await;
    let ranges = case.ranges();
    assert!(
        ranges.len() >= 10 && ranges.iter().skip(1).all(Option::is_some),
        "{ranges:?}"
    );
}

#[tokio::test]
async fn what_an_earlier_run_left_is_continued_and_what_it_left_wrong_is_found() {
    for (left, requests) in [
        (
            noise(SIZE)[..400_000].to_vec(),
            vec![Some("bytes=400000-".to_owned())],
        ),
        // Wrong bytes from before: found by the hash, and everything is downloaded again.
        (
            vec![9; 400_000],
            vec![Some("bytes=400000-".to_owned()), None],
        ),
        (vec![9; SIZE + 5], vec![None]),
        (noise(SIZE), vec![]),
    ] {
        let case = case(Behaviour::Honest, true).await;
        let folder = case.store.fetch_folder("m");
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join("m.gguf.part"), &left).expect("write");
        assert_eq!(case.store.status("m").expect("status").as_str(), "partial");
        case.must_succeed().await;
        assert_eq!(case.ranges(), requests);
    }
}

#[tokio::test]
async fn a_hub_that_never_goes_on_is_left_and_what_came_is_kept() {
    let case = case(Behaviour::NeverGoesOn, true).await;
    let error = case.must_fail().await;
    assert!(
        error.to_string().contains("what arrived is kept"),
        "{error}"
    );
    let part = case.store.fetch_folder("m").join("m.gguf.part");
    assert!(
        fs::read(part).expect("the part") == case.content[..1000],
        "the first thousand bytes are kept"
    );
}

#[tokio::test]
async fn wrong_lengths_and_wrong_bytes_are_refused() {
    for behaviour in [
        Behaviour::Announces(SIZE / 2),
        Behaviour::Announces(SIZE * 2),
        Behaviour::SendsMore,
        Behaviour::FlipsAByte,
        Behaviour::StatesAnotherHash,
    ] {
        let case = case(behaviour.clone(), true).await;
        let error = case.must_fail().await;
        assert!(
            matches!(error, Error::WrongDownload { .. }),
            "{behaviour:?}: {error}"
        );
        assert!(error.to_string().contains("docent models fetch m"));
    }
}

#[tokio::test]
async fn a_hub_that_cannot_do_ranges_still_serves() {
    for behaviour in [
        Behaviour::IgnoresRange {
            cut_first_at: 300_000,
        },
        Behaviour::RefusesRange {
            cut_first_at: 300_000,
        },
        Behaviour::FailsTwice,
    ] {
        case(behaviour, true).await.must_succeed().await;
    }
}

#[tokio::test]
async fn misbehaviour_is_refused_at_once() {
    for behaviour in [
        Behaviour::SendsAnotherRange {
            cut_first_at: 300_000,
        },
        Behaviour::RedirectsTo("http://192.0.2.1/m.gguf"),
        Behaviour::RedirectsTo("https://192.0.2.1/m.gguf"),
        Behaviour::RedirectsTo("file:///etc/passwd"),
        Behaviour::RedirectsTo("//evil.example/m.gguf"),
        Behaviour::RedirectsToItself,
        Behaviour::Compresses,
        Behaviour::NotFound,
    ] {
        let case = case(behaviour.clone(), true).await;
        let error = case.must_fail().await;
        assert!(
            matches!(error, Error::HubMisbehaves { .. } | Error::HubStatus { .. }),
            "{behaviour:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_file_without_a_hash_is_pinned_at_the_first_download_and_held_to_it() {
    let case = case(Behaviour::Honest, false).await;
    case.must_succeed().await;
    let lock: LockFile = serde_json::from_slice(
        &fs::read(case.store.models_dir().join(LOCK_FILE)).expect("a lock file"),
    )
    .expect("a lock file");
    let locked = &lock.models["m"];
    assert_eq!(locked.commit, COMMIT);
    assert_eq!(
        locked.files["m.gguf"],
        LockedFile {
            size: Some(SIZE as u64),
            sha256: Some(sha256(&case.content)),
        }
    );
    let path = case.store.path("m").expect("verified");
    let mut changed = case.content.to_vec();
    changed[0] ^= 1;
    fs::write(&path, changed).expect("write");
    assert_eq!(case.store.verify("m").expect("verify").as_str(), "damaged");
    case.fetch().await.expect("repaired");
    assert_eq!(fs::read(&path).expect("the file"), *case.content);
}

#[tokio::test]
async fn the_hubs_own_statement_is_held_against_it() {
    for behaviour in [Behaviour::StatesAnotherHash, Behaviour::FlipsAByte] {
        let case = case(behaviour, false).await;
        let error = case.fetch().await.expect_err("a lie");
        assert!(matches!(error, Error::WrongDownload { .. }), "{error}");
        assert!(case.store.path("m").is_err());
    }
}

#[tokio::test]
async fn a_cancelled_download_keeps_what_arrived() {
    let case = case(Behaviour::CutsAfter(10_000), true).await;
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let report: OnProgress = Arc::new(move |progress| {
        if progress.step == FetchStep::Downloading && progress.done >= 50_000 {
            stop.cancel();
        }
    });
    let error = case
        .store
        .fetch("m", report, cancel)
        .await
        .expect_err("cancelled");
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert_eq!(case.store.status("m").expect("status").as_str(), "partial");
    case.must_succeed().await;
}
