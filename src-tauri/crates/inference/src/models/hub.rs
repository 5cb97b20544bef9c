//! Resumable downloads from a Hugging Face compatible hub.
//!
//! The bytes go to a `.part` file outside the models' folders and are hashed as they arrive; what is
//! there from an earlier run is hashed again before it is continued. Only the caller, after the
//! comparison with the catalog, moves the file. Names of files come from the catalog, never from the
//! server. Redirects are followed here, at most [`MAX_REDIRECTS`] of them, to `https` hosts that
//! have a name: a redirect must not be able to make us talk to the local network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, LOCATION, RANGE,
};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::error::{Error, Mismatch};
use super::record::{Expected, hex};
use crate::catalog::is_sha256;

/// The hub redirects once to its file store, and once more for a renamed repository.
const MAX_REDIRECTS: usize = 5;

/// A connection that gives nothing for so long is given up and resumed.
const STALL: Duration = Duration::from_mins(1);

/// So many attempts in a row may bring nothing.
const FRUITLESS_ATTEMPTS: u32 = 6;

/// A server that gives a little and hangs up, again and again, is left at some point.
const ALL_ATTEMPTS: u32 = 1_000;

const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(super) struct Hub {
    client: reqwest::Client,
    base: Url,
    first_backoff: Duration,
}

pub(super) struct Download<'a> {
    pub id: &'a str,
    pub repo: &'a str,
    pub revision: &'a str,
    pub file: &'a str,
    pub expected: &'a Expected,
    pub part: &'a Path,
}

/// What the hub says of a file.
pub(super) struct Described {
    /// The commit that the revision stands for now.
    pub commit: Option<String>,
    pub size: Option<u64>,
    /// Of files in large file storage; the hub states no SHA-256 of the others.
    pub sha256: Option<String>,
}

enum Failure {
    /// Going on where it stopped may help.
    Cut(Error),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// The file so far.
struct Part {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    size: u64,
    /// Whether some of it came before the attempt that is running.
    resumed: bool,
}

impl Part {
    async fn open(path: &Path) -> Result<Self, Error> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .await
            .map_err(Error::io("open", path))?;
        let mut hasher = Sha256::new();
        let mut size = 0;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = file
                .read(&mut buffer)
                .await
                .map_err(Error::io("read", path))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            size += count as u64;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            hasher,
            size,
            resumed: size > 0,
        })
    }

    async fn restart(&mut self) -> Result<(), Error> {
        self.file
            .set_len(0)
            .await
            .map_err(Error::io("empty", &self.path))?;
        self.file
            .rewind()
            .await
            .map_err(Error::io("empty", &self.path))?;
        self.hasher = Sha256::new();
        self.size = 0;
        self.resumed = false;
        Ok(())
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .await
            .map_err(Error::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.file
            .flush()
            .await
            .map_err(Error::io("write", &self.path))
    }
}

impl Hub {
    /// `base` is `https://host`, or `http` on the loopback interface for tests.
    pub fn new(base: &str, first_backoff: Duration) -> Result<Self, Error> {
        let misconfigured = |problem: String| Error::HubMisbehaves {
            host: base.to_owned(),
            file: "the hub's address".to_owned(),
            problem,
        };
        let base = Url::parse(base).map_err(|error| misconfigured(error.to_string()))?;
        if base.scheme() != "https" && !is_loopback(&base) {
            return Err(misconfigured("only https is allowed".to_owned()));
        }
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(STALL)
            .user_agent(concat!("docent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| misconfigured(error.to_string()))?;
        Ok(Self {
            client,
            base,
            first_backoff,
        })
    }

    fn host(&self) -> String {
        self.base.host_str().unwrap_or("the hub").to_owned()
    }

    fn url(&self, repo: &str, revision: &str, file: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{repo}/resolve/{revision}/{file}"));
        url
    }

    /// Asks for a file's headers without following the redirect to its bytes.
    pub async fn describe(
        &self,
        repo: &str,
        revision: &str,
        file: &str,
    ) -> Result<Described, Error> {
        let response = self
            .client
            .request(Method::HEAD, self.url(repo, revision, file))
            .header(ACCEPT_ENCODING, "identity")
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if !status.is_success() && !status.is_redirection() {
            return Err(self.status(status, file));
        }
        Ok(described(response.headers()))
    }

    /// Downloads into `part`, going on where an earlier download stopped, until the file has the
    /// expected size and hash. Anything else is removed. Gives the file's size and SHA-256.
    pub async fn download(
        &self,
        download: &Download<'_>,
        on_size: &(dyn Fn(u64) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<(u64, String), Error> {
        let mut part = Part::open(download.part).await?;
        if download.expected.sha256.is_none() {
            // Without a hash there is nothing to tell the parts of two versions apart.
            part.restart().await?;
        }
        let mut fruitless = 0;
        for _ in 0..ALL_ATTEMPTS {
            let before = part.size;
            let attempt = tokio::select! {
                result = self.attempt(download, &mut part, on_size) => result,
                () = cancel.cancelled() => {
                    part.flush().await?;
                    return Err(Error::Cancelled { id: download.id.to_owned() });
                }
            };
            match attempt {
                Ok(()) => {
                    let sha256 = hex(&part.hasher.clone().finalize());
                    let Some(mismatch) = download.expected.mismatch(part.size, &sha256) else {
                        part.flush().await?;
                        part.file
                            .sync_all()
                            .await
                            .map_err(Error::io("sync", &part.path))?;
                        return Ok((part.size, sha256));
                    };
                    let resumed = part.resumed;
                    part.restart().await?;
                    if !resumed {
                        return Err(wrong(download, mismatch));
                    }
                    // The old beginning may be at fault: once more, from the start.
                }
                Err(Failure::Final(error)) => {
                    part.flush().await?;
                    return Err(error);
                }
                Err(Failure::Cut(error)) => {
                    part.flush().await?;
                    fruitless = if part.size > before { 0 } else { fruitless + 1 };
                    if fruitless > FRUITLESS_ATTEMPTS {
                        return Err(error);
                    }
                    tracing::debug!(file = download.file, %error, "a download was cut");
                    let wait = (self.first_backoff * 2_u32.pow(fruitless)).min(LONGEST_BACKOFF);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = cancel.cancelled() => {
                            return Err(Error::Cancelled { id: download.id.to_owned() });
                        }
                    }
                    part.resumed = part.size > 0;
                }
            }
        }
        Err(self.misbehaves(download.file, "it keeps hanging up"))
    }

    async fn attempt(
        &self,
        download: &Download<'_>,
        part: &mut Part,
        on_size: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Failure> {
        let Download { file, expected, .. } = *download;
        if expected.size.is_some_and(|size| part.size > size) || part.size > expected.size_at_most {
            part.restart().await?;
        }
        on_size(part.size);
        if expected.size == Some(part.size) {
            return Ok(());
        }
        let response = self.get(download, part.size).await?;
        let headers = response.headers();
        if let Some(encoding) = headers.get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            return Err(self
                .misbehaves(file, "it compresses what must be sent as it is")
                .into());
        }
        match response.status() {
            StatusCode::OK => {
                if part.size > 0 {
                    part.restart().await?;
                }
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = headers
                    .get(CONTENT_RANGE)
                    .and_then(|value| parse_content_range(value.to_str().ok()?));
                let Some((start, total)) = range else {
                    return Err(self
                        .misbehaves(file, "it does not say which part it sends")
                        .into());
                };
                if start != part.size {
                    return Err(self
                        .misbehaves(file, "it sends another part than was asked for")
                        .into());
                }
                if let Some(mismatch) = total.and_then(|total| expected.size_mismatch(total)) {
                    return Err(wrong(download, mismatch).into());
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if part.size > 0 => {
                part.restart().await?;
                return Err(Failure::Cut(
                    self.misbehaves(file, "it does not have the rest of what it began"),
                ));
            }
            status => return Err(self.failed_status(status, file)),
        }
        // The length of this body as announced; `content_length()` alone would be none for a body
        // that is sent in pieces.
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let Some(total) = announced.map(|length| length.saturating_add(part.size))
            && let Some(mismatch) = expected.size_mismatch(total)
        {
            part.restart().await?;
            return Err(wrong(download, mismatch).into());
        }
        let end = announced.map(|length| part.size + length);

        let mut response = response;
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| Failure::Cut(self.unreachable(error)))?;
            let Some(chunk) = chunk else { break };
            let size = part.size + chunk.len() as u64;
            let limit = expected.size.unwrap_or(expected.size_at_most);
            if size > limit {
                part.restart().await?;
                return Err(wrong(download, Mismatch::TooLong { at_most: limit }).into());
            }
            part.append(&chunk).await?;
            on_size(part.size);
        }
        if expected.size.or(end).is_some_and(|end| part.size < end) {
            return Err(Failure::Cut(Error::Unreachable {
                host: self.host(),
                reason: format!("the connection ended after {} bytes of {file}", part.size),
            }));
        }
        Ok(())
    }

    /// Follows redirects by hand, each one judged.
    async fn get(&self, download: &Download<'_>, from: u64) -> Result<Response, Failure> {
        let mut url = self.url(download.repo, download.revision, download.file);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self
                .client
                .get(url.clone())
                .header(ACCEPT_ENCODING, "identity");
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let response = request
                .send()
                .await
                .map_err(|error| Failure::Cut(self.unreachable(error)))?;
            // The hub states the hash in the redirect: a wrong file need not be downloaded.
            if let (Some(expected), Some(stated)) = (
                &download.expected.sha256,
                described(response.headers()).sha256,
            ) && *expected != stated
            {
                let mismatch = Mismatch::Hash {
                    expected: expected.clone(),
                    actual: stated,
                };
                return Err(wrong(download, mismatch).into());
            }
            if !response.status().is_redirection() {
                return Ok(response);
            }
            url = response
                .headers()
                .get(LOCATION)
                .and_then(|value| url.join(value.to_str().ok()?).ok())
                .ok_or_else(|| self.misbehaves(download.file, "it redirects to nowhere"))?;
            if !self.may_redirect_to(&url) {
                return Err(self
                    .misbehaves(
                        download.file,
                        &format!("it redirects to {}", url.origin().ascii_serialization()),
                    )
                    .into());
            }
        }
        Err(self
            .misbehaves(download.file, "it redirects without end")
            .into())
    }

    fn may_redirect_to(&self, url: &Url) -> bool {
        if is_loopback(&self.base) {
            return is_loopback(url);
        }
        url.scheme() == "https" && url.domain().is_some_and(|domain| domain.contains('.'))
    }

    fn failed_status(&self, status: StatusCode, file: &str) -> Failure {
        let error = self.status(status, file);
        if status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
            )
        {
            Failure::Cut(error)
        } else {
            Failure::Final(error)
        }
    }

    fn status(&self, status: StatusCode, file: &str) -> Error {
        Error::HubStatus {
            host: self.host(),
            status: status.as_u16(),
            file: file.to_owned(),
        }
    }

    fn misbehaves(&self, file: &str, problem: &str) -> Error {
        Error::HubMisbehaves {
            host: self.host(),
            file: file.to_owned(),
            problem: problem.to_owned(),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        Error::Unreachable {
            host: self.host(),
            reason,
        }
    }
}

fn wrong(download: &Download<'_>, mismatch: Mismatch) -> Error {
    Error::WrongDownload {
        id: download.id.to_owned(),
        file: download.file.to_owned(),
        mismatch,
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host.trim_matches(['[', ']'])
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

/// Reads the hub's headers about a file; what is not well formed counts as not said.
fn described(headers: &HeaderMap) -> Described {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Described {
        commit: text("x-repo-commit")
            .filter(|commit| {
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
            .map(str::to_owned),
        size: text("x-linked-size").and_then(|size| size.parse().ok()),
        sha256: text("x-linked-etag")
            .map(|tag| tag.trim_start_matches("W/").trim_matches('"'))
            .filter(|tag| is_sha256(tag))
            .map(str::to_owned),
    }
}

/// Start and total of `bytes START-END/TOTAL`.
fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (start <= end && total.is_none_or(|total| end < total)).then_some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges_and_refuses_impossible_ones() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for bad in [
            "bytes 9-5/10",
            "bytes 5-10/10",
            "items 5-9/10",
            "bytes */10",
            "",
        ] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn redirects_stay_on_https_and_off_the_local_network() {
        let hub = Hub::new("https://hub.example", Duration::ZERO).expect("hub");
        let may = |url: &str| hub.may_redirect_to(&Url::parse(url).expect(url));
        assert!(may("https://files.hub.example/x"));
        for bad in [
            "http://files.hub.example/x",
            "https://127.0.0.1/x",
            "https://169.254.169.254/latest",
            "https://[::1]/x",
            "https://printer/x",
            "ftp://files.hub.example/x",
            "file:///etc/passwd",
        ] {
            assert!(!may(bad), "{bad}");
        }
        assert!(Hub::new("http://hub.example", Duration::ZERO).is_err());
    }
}
