//! Who may ask: the policy of the local server, before any handler.
//!
//! Against other machines the loopback address suffices. Against web pages in the user's own
//! browser it doesn't: a page can point its own host name at 127.0.0.1 (so the `Host` is checked),
//! can send requests here blindly (so `Origin` and `Sec-Fetch-Site` are), and other programs of
//! other users can connect (so there is a token). The order is the order of the checks.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::site::is_api;
use crate::error::{ApiError, Code};

const COOKIE_NAME: &str = "docent_session";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Shown to a browser that comes without the token.
const LOCKED_PAGE: &str = "<!doctype html><meta charset=utf-8><title>Docent</title>\
    <p>This Docent is locked. Open the address that it printed when it started: it ends in \
    <code>/?token=…</code>.</p>";

/// The secret of one start. Whoever has it is the owner.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has 1 to 256 letters, digits and -._~, so that it fits into an address; leave it out \
     to have one made up"
)]
pub struct InvalidToken;

impl Token {
    /// 244 random bits.
    #[must_use]
    pub fn generate() -> Self {
        Self(format!(
            "{}{}",
            Uuid::new_v4().simple(),
            Uuid::new_v4().simple()
        ))
    }

    pub fn parse(token: String) -> Result<Self, InvalidToken> {
        let fits = (1..=256).contains(&token.len())
            && token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        if fits {
            Ok(Self(token))
        } else {
            Err(InvalidToken)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In a time that depends on the lengths alone.
    fn is(&self, given: &[u8]) -> bool {
        let token = self.0.as_bytes();
        let differences = token
            .iter()
            .zip(given)
            .fold(0, |differences, (ours, theirs)| {
                black_box(differences | (ours ^ theirs))
            });
        token.len() == given.len() && differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Not addressed to us: DNS rebinding, or a proxy that was not meant.
    Host,
    /// From another site's page.
    Origin,
    Token,
}

#[derive(Debug)]
pub(super) struct Guard {
    hosts: Vec<String>,
    token: Token,
}

impl Guard {
    pub(super) fn new(port: u16, token: Token) -> Self {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let mut hosts: Vec<String> = names.iter().map(|name| format!("{name}:{port}")).collect();
        if port == 80 {
            hosts.extend(names.map(str::to_owned));
        }
        Self { hosts, token }
    }

    fn check(&self, headers: &HeaderMap, is_api: bool) -> Result<(), Refusal> {
        let host = only(headers, &HOST)
            .ok_or(Refusal::Host)?
            .to_ascii_lowercase();
        if !self.hosts.contains(&host) {
            return Err(Refusal::Host);
        }
        if headers.contains_key(ORIGIN) {
            let origin = only(headers, &ORIGIN).ok_or(Refusal::Origin)?;
            if origin.to_ascii_lowercase().strip_prefix("http://") != Some(&host) {
                return Err(Refusal::Origin);
            }
        }
        // A link from elsewhere may open the window; nothing elsewhere may call the API.
        if is_api
            && let Some(site) = headers.get(SEC_FETCH_SITE)
            && site != "same-origin"
            && site != "none"
        {
            return Err(Refusal::Origin);
        }
        if self.has_token(headers) {
            Ok(())
        } else {
            Err(Refusal::Token)
        }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        });
        let cookies = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter_map(|(name, token)| (name == COOKIE_NAME).then_some(token));
        bearer
            .chain(cookies)
            .any(|token| self.token.is(token.as_bytes()))
    }
}

/// The header's value when it comes exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let is_api = is_api(request.uri().path());
    let checked = guard.check(request.headers(), is_api);
    let is_printed = request.method() == Method::GET && request.uri().path() == "/";
    let refusal = match (
        checked,
        token_in(request.uri().query()).filter(|_| is_printed),
    ) {
        (Err(refusal @ (Refusal::Host | Refusal::Origin)), _) => refusal,
        // The address that was printed: take the token out of it and into a cookie.
        (_, Some(token)) if guard.token.is(token.as_bytes()) => return admitted(&guard.token),
        (_, Some(_)) | (Err(Refusal::Token), None) => Refusal::Token,
        (Ok(()), None) => return next.run(request).await,
    };
    tracing::debug!(?refusal, path = request.uri().path(), "refused a request");
    refused(refusal, is_api)
}

fn token_in(query: Option<&str>) -> Option<&str> {
    query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
}

fn admitted(token: &Token) -> Response {
    let cookie = format!(
        "{COOKIE_NAME}={}; HttpOnly; SameSite=Strict; Path=/",
        token.as_str()
    );
    let cookie = HeaderValue::from_str(&cookie).expect("BUG: tokens fit into headers");
    let mut response = StatusCode::SEE_OTHER.into_response();
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static("/"));
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refused(refusal: Refusal, is_api: bool) -> Response {
    let forbidden = |message| ApiError::new(Code::Forbidden, message).into_response();
    let mut response = match refusal {
        Refusal::Host => forbidden("This address is not Docent's"),
        Refusal::Origin => forbidden("Other sites may not ask Docent"),
        Refusal::Token if is_api => {
            ApiError::new(Code::Unauthorized, "The token is missing or wrong")
                .with_hint(
                    "Open the address that was printed at the start, or send it as \
                     `Authorization: Bearer …`.",
                )
                .into_response()
        }
        Refusal::Token => {
            let html = [(CONTENT_TYPE, "text/html; charset=utf-8")];
            (StatusCode::UNAUTHORIZED, html, LOCKED_PAGE).into_response()
        }
    };
    if refusal == Refusal::Token {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 4180;

    fn check(headers: &[(&'static str, &str)], is_api: bool) -> Result<(), Refusal> {
        let guard = Guard::new(PORT, Token::parse("secret-1".to_owned()).unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        guard.check(&map, is_api)
    }

    #[test]
    fn hosts() {
        let bearer = ("authorization", "Bearer secret-1");
        for host in [
            "127.0.0.1:4180",
            "localhost:4180",
            "LocalHost:4180",
            "[::1]:4180",
        ] {
            assert_eq!(check(&[("host", host), bearer], true), Ok(()), "{host}");
        }
        for host in [
            "evil.example:4180",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:4180.evil.example",
            "localhost.evil.example:4180",
            "user@127.0.0.1:4180",
            "0.0.0.0:4180",
            "[::]:4180",
            "192.168.1.5:4180",
            "",
        ] {
            assert_eq!(
                check(&[("host", host), bearer], true),
                Err(Refusal::Host),
                "{host}"
            );
        }
        assert_eq!(check(&[bearer], true), Err(Refusal::Host), "no host at all");
        let twice = [("host", "127.0.0.1:4180"), ("host", "evil.example"), bearer];
        assert_eq!(check(&twice, true), Err(Refusal::Host), "two hosts");
        let guard = Guard::new(80, Token::generate());
        assert!(
            guard.hosts.contains(&"localhost".to_owned()),
            "the default port goes unsaid"
        );
    }

    #[test]
    fn origins() {
        let us = [
            ("host", "127.0.0.1:4180"),
            ("authorization", "Bearer secret-1"),
        ];
        let with = |name, value| check(&[us[0], us[1], (name, value)], true);
        assert_eq!(with("origin", "http://127.0.0.1:4180"), Ok(()));
        for origin in [
            "null",
            "",
            "https://127.0.0.1:4180",
            "http://localhost:4180",
            "http://127.0.0.1:3000",
            "http://127.0.0.1",
            "https://evil.example",
            "http://127.0.0.1:4180.evil.example",
        ] {
            assert_eq!(with("origin", origin), Err(Refusal::Origin), "{origin}");
        }
        assert_eq!(with("sec-fetch-site", "same-origin"), Ok(()));
        assert_eq!(
            with("sec-fetch-site", "none"),
            Ok(()),
            "typed into the address bar"
        );
        assert_eq!(
            with("sec-fetch-site", "same-site"),
            Err(Refusal::Origin),
            "another port"
        );
        assert_eq!(with("sec-fetch-site", "cross-site"), Err(Refusal::Origin));
        let link = [
            us[0],
            ("cookie", "docent_session=secret-1"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(check(&link, false), Ok(()), "a link may open the window");
    }

    #[test]
    fn tokens() {
        let host = ("host", "127.0.0.1:4180");
        for good in [
            ("authorization", "Bearer secret-1"),
            ("authorization", "bearer  secret-1"),
            ("cookie", "docent_session=secret-1"),
            ("cookie", "a=b; docent_session=secret-1; c=d"),
            (
                "cookie",
                "docent_session=of-another-port; docent_session=secret-1",
            ),
        ] {
            assert_eq!(check(&[host, good], true), Ok(()), "{good:?}");
        }
        for bad in [
            ("authorization", "Bearer secret-2"),
            ("authorization", "Bearer secret-"),
            ("authorization", "Bearer secret-11"),
            ("authorization", "Bearer "),
            ("authorization", "Basic secret-1"),
            ("authorization", "secret-1"),
            ("cookie", "docent_session="),
            ("cookie", "session=secret-1"),
            ("cookie", "xdocent_session=secret-1"),
            ("x-token", "secret-1"),
        ] {
            assert_eq!(check(&[host, bad], true), Err(Refusal::Token), "{bad:?}");
        }
        assert_eq!(check(&[host], true), Err(Refusal::Token));
        assert_eq!(check(&[host], false), Err(Refusal::Token));
    }

    #[test]
    fn generated_tokens_fit_and_differ() {
        let (first, second) = (Token::generate(), Token::generate());
        assert_ne!(first, second);
        assert_eq!(first.as_str().len(), 64);
        assert_eq!(Token::parse(first.as_str().to_owned()), Ok(first.clone()));
        assert_eq!(format!("{first:?}"), "Token(…)", "logs don't have it");
        for bad in ["", "a b", "a;b", "a\r\nb", "ž", "a&b"] {
            assert_eq!(Token::parse(bad.to_owned()), Err(InvalidToken), "{bad:?}");
        }
    }
}
