//! The server on a real loopback port, asked in plain HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use docent_api::server::{ServeError, ServeOptions, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::Api;

const TOKEN: &str = "test-token";

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
    _api: Api,
}

async fn start(ui_dir: Option<PathBuf>, api: Api) -> Running {
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: Some(TOKEN.to_owned()),
        ui_dir,
    };
    let server = Server::bind(api.engine.clone(), options).await.unwrap();
    let address = server.address();
    assert_eq!(server.url(), format!("http://{address}/?token={TOKEN}"));
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running {
        address,
        stop,
        served,
        _api: api,
    }
}

impl Running {
    /// The status and the whole answer to a request with these header lines.
    async fn ask(&self, request: &str, headers: &[&str]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!("{request} HTTP/1.1\r\nconnection: close\r\n");
        for header in headers {
            head.push_str(&header.replace("PORT", &self.address.port().to_string()));
            head.push_str("\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

const HOST: &str = "host: 127.0.0.1:PORT";
const BEARER: &str = "authorization: Bearer test-token";
const COOKIE: &str = "cookie: docent_session=test-token";

#[tokio::test]
async fn who_may_ask() {
    let server = start(None, Api::open().await).await;
    let list = "GET /api/v1/workspaces";
    let create = "POST /api/v1/workspaces";
    let body = "content-length: 0";
    let own = "origin: http://127.0.0.1:PORT";
    let table: &[(&str, &[&str], u16)] = &[
        (list, &[HOST, BEARER], 200),
        (list, &[HOST, COOKIE], 200),
        (list, &["host: localhost:PORT", BEARER], 200),
        (list, &["host: [::1]:PORT", BEARER], 200),
        (list, &[HOST, COOKIE, own], 200),
        (list, &[HOST], 401),
        (list, &[HOST, "authorization: Bearer wrong"], 401),
        ("GET /api/v1/workspaces?token=test-token", &[HOST], 401),
        ("GET /api/v1/health", &[HOST], 401),
        ("GET /", &[HOST], 401),
        ("GET /index.html", &[HOST], 401),
        ("GET /?token=wrong", &[HOST], 401),
        (list, &["host: evil.example:PORT", BEARER], 403),
        (list, &["host: evil.example", BEARER], 403),
        (list, &["host: 127.0.0.1", BEARER], 403),
        ("GET /?token=test-token", &["host: evil.example:PORT"], 403),
        (list, &[HOST, COOKIE, "origin: null"], 403),
        (list, &[HOST, COOKIE, "origin: https://evil.example"], 403),
        (list, &[HOST, COOKIE, "origin: http://127.0.0.1:1"], 403),
        (list, &[HOST, COOKIE, "sec-fetch-site: cross-site"], 403),
        (
            "OPTIONS /api/v1/query",
            &[HOST, "origin: https://evil.example"],
            403,
        ),
        ("OPTIONS /api/v1/query", &[HOST], 401),
        (
            create,
            &[HOST, COOKIE, "content-type: text/plain", body],
            415,
        ),
        (
            create,
            &[
                HOST,
                COOKIE,
                "content-type: application/x-www-form-urlencoded",
                body,
            ],
            415,
        ),
        ("DELETE /", &[HOST, BEARER], 405),
        ("GET /api/nowhere", &[HOST, BEARER], 404),
        ("GET /", &[HOST, BEARER], 200),
    ];
    for (request, headers, expected) in table {
        let (status, answer) = server.ask(request, headers).await;
        assert_eq!(status, *expected, "{request} {headers:?}: {answer}");
        let lower = answer.to_ascii_lowercase();
        assert!(
            !lower.contains("access-control-"),
            "no CORS header, ever: {answer}"
        );
        assert!(
            lower.contains("x-content-type-options: nosniff"),
            "{answer}"
        );
        assert!(lower.contains("content-security-policy: "), "{answer}");
        assert!(
            lower.contains("cross-origin-resource-policy: same-origin"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_printed_address_becomes_a_cookie() {
    let server = start(None, Api::open().await).await;
    let (status, answer) = server.ask(&format!("GET /?token={TOKEN}"), &[HOST]).await;
    assert_eq!(status, 303);
    let lower = answer.to_ascii_lowercase();
    assert!(
        lower.contains("\r\nlocation: /\r\n"),
        "without the token: {answer}"
    );
    let cookie = "set-cookie: docent_session=test-token; httponly; samesite=strict; path=/";
    assert!(lower.contains(cookie), "{answer}");
    assert!(lower.contains("referrer-policy: no-referrer"), "{answer}");
    assert!(lower.contains("cache-control: no-store"), "{answer}");
}

#[tokio::test]
async fn the_windows_files() {
    let api = Api::open().await;
    let ui = api.folder.path().join("ui");
    std::fs::create_dir_all(ui.join("assets")).unwrap();
    std::fs::write(ui.join("index.html"), "<title>the window</title>").unwrap();
    std::fs::write(ui.join("assets/main-abc.js"), "let x;").unwrap();
    std::fs::write(api.folder.path().join("secret.txt"), "outside").unwrap();
    let server = start(Some(ui), api).await;
    for page in ["/", "/workspaces/1/chats", "/index.html"] {
        let (status, answer) = server.ask(&format!("GET {page}"), &[HOST, COOKIE]).await;
        assert_eq!(status, 200, "{page}");
        assert!(
            answer.contains("the window") && answer.contains("no-cache"),
            "{page}: {answer}"
        );
    }
    let (_, script) = server.ask("GET /assets/main-abc.js", &[HOST, COOKIE]).await;
    assert!(
        script.contains("immutable") && script.ends_with("let x;"),
        "{script}"
    );
    for missing in [
        "/assets/gone.js",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
    ] {
        let (status, answer) = server.ask(&format!("GET {missing}"), &[HOST, COOKIE]).await;
        assert!(!answer.contains("outside"), "{missing}: {answer}");
        assert!((400..500).contains(&status), "{missing}: {answer}");
    }
}

#[tokio::test]
async fn stopping_ends_open_streams() {
    let server = start(None, Api::open().await).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "GET /api/v1/events HTTP/1.1\r\nhost: {}\r\n{BEARER}\r\nconnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut piece = [0; 64];
    assert!(
        stream.read(&mut piece).await.unwrap() > 0,
        "the stream is open"
    );
    server.stop.send(()).unwrap();
    server.served.await.unwrap().unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn only_loopback_only_tokens_that_fit() {
    let api = Api::open().await;
    let bind = async |listen: &str, token: &str| {
        let options = ServeOptions {
            listen: listen.parse().unwrap(),
            token: Some(token.to_owned()),
            ui_dir: None,
        };
        Server::bind(api.engine.clone(), options).await
    };
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = bind(listen, TOKEN).await;
        assert!(
            matches!(refused, Err(ServeError::NotLoopback(_))),
            "{listen}: {refused:?}"
        );
    }
    for token in ["", "with space", "a;b"] {
        let refused = bind("127.0.0.1:0", token).await;
        assert!(
            matches!(refused, Err(ServeError::InvalidToken(_))),
            "{token:?}"
        );
    }
    let first = bind("127.0.0.1:0", TOKEN).await.unwrap();
    let taken = bind(&first.address().to_string(), TOKEN).await;
    assert!(matches!(taken, Err(ServeError::Bind { .. })), "{taken:?}");
}
