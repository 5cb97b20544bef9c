//! The API and the window's files over HTTP, for a browser on this machine.
//!
//! Until there are users, whoever can ask is the owner. So the server binds to loopback only, and
//! [`guard`] lets nothing through without this start's token, from another host name or from
//! another site's page. No CORS header is ever sent.

mod guard;
mod site;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use axum::{Router, middleware};
use docent_engine::Engine;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{ApiOptions, router_with};
use guard::Guard;
pub use guard::{InvalidToken, Token};

/// How long open requests may still run once the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The window's own scripts, styles and workers and nothing else; no request leaves for another
/// host, whatever an answer or a document contains. WebAssembly is for image decoders in PDFs.
const SITE_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
    connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// A loopback address; port 0 takes any free one.
    pub listen: SocketAddr,
    /// `None` makes one up for this start.
    pub token: Option<String>,
    /// The window's built files; `None` serves the API alone.
    pub ui_dir: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "{0} can be reached from other machines, and Docent has no users yet. Listen on 127.0.0.1 \
         or [::1]"
    )]
    NotLoopback(SocketAddr),
    #[error(transparent)]
    InvalidToken(#[from] InvalidToken),
    #[error("cannot listen on {address}: {source}. Choose another port with --listen")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the server broke off: {0}")]
    Serve(#[source] io::Error),
}

/// A server that has its address but takes no request yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    token: Token,
    router: Router,
    closing: CancellationToken,
}

impl Server {
    pub async fn bind(engine: Arc<Engine>, options: ServeOptions) -> Result<Self, ServeError> {
        let ServeOptions {
            listen,
            token,
            ui_dir,
        } = options;
        if !listen.ip().is_loopback() {
            return Err(ServeError::NotLoopback(listen));
        }
        let token = match token {
            Some(token) => Token::parse(token)?,
            None => Token::generate(),
        };
        let bind = |source| ServeError::Bind {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let closing = CancellationToken::new();
        let api = ApiOptions {
            upload_bytes: engine.config().upload_max_bytes,
            closing: closing.clone(),
        };
        let guard = Guard::new(address.port(), token.clone());
        let router = guarded(site::beside(router_with(engine, api), ui_dir), guard);
        Ok(Self {
            listener,
            address,
            token,
            router,
            closing,
        })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The address to open in a browser, which carries the token.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token.as_str())
    }

    /// Serves until `shutdown` resolves, then lets open requests end.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let closing = self.closing.clone();
        let stop = async move {
            shutdown.await;
            closing.cancel();
        };
        let closing = self.closing;
        let serving = axum::serve(self.listener, self.router).with_graceful_shutdown(stop);
        let grace = async move {
            closing.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = serving.into_future() => served.map_err(ServeError::Serve),
            () = grace => Ok(()),
        }
    }
}

/// Serves `engine` until `shutdown` resolves, and prints the address to open.
pub async fn serve(
    engine: Arc<Engine>,
    options: ServeOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let server = Server::bind(engine, options).await?;
    println!("Docent is at {}", server.url());
    server.run(shutdown).await
}

/// `router` behind the guard, with the headers that every answer carries.
fn guarded(router: Router, guard: Guard) -> Router {
    router
        .layer(middleware::from_fn_with_state(
            Arc::new(guard),
            guard::guard,
        ))
        .layer(middleware::map_response(harden))
}

async fn harden(mut response: Response) -> Response {
    const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
        HeaderName::from_static("cross-origin-opener-policy");
    const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
        HeaderName::from_static("cross-origin-resource-policy");
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        // Pages of other ports on this machine count as the same site, so cookies are sent for
        // them; this keeps them from embedding what comes back.
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A document's file has a stricter one.
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(SITE_POLICY));
    response
}
