//! The bytes of a document, in ranges, for the viewer.

use std::fs::Metadata;
use std::io::SeekFrom;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use docent_domain::DocumentId;
use docent_engine::DocumentFile;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::range::{Wanted, wanted};
use crate::ApiState;
use crate::error::{ApiError, Code};
use crate::extract::Segments;

/// What is read from the disk at once.
const PIECE_BYTES: usize = 64 << 10;

/// Characters that RFC 5987 lets stand in an extended parameter.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The document's file. Ranges are answered, so that a viewer need not read all of a long PDF.
#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/documents/{document}/file",
    tag = "documents",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("document" = Uuid, Path),
        ("range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", body = String),
        (status = 206, content_type = "application/octet-stream", body = String),
        (status = 304),
        (status = 416),
    )
)]
pub(super) async fn get_document_file(
    State(state): State<ApiState>,
    Segments((workspace, document)): Segments<(String, Uuid)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let file = state
        .engine
        .document_file(&scope, DocumentId::from_uuid(document))
        .await?;
    let gone = |error: std::io::Error| {
        tracing::info!(%error, "a document's file cannot be opened");
        ApiError::new(
            Code::NotFound,
            format!("The file of {} cannot be read any more", file.name),
        )
        .with_hint("It was moved or its permissions changed. What was read of it is kept.")
    };
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !tokio::fs::metadata(&file.path)
        .await
        .map_err(gone)?
        .is_file()
    {
        return Err(gone(std::io::ErrorKind::InvalidInput.into()));
    }
    let mut bytes = tokio::fs::File::open(&file.path).await.map_err(gone)?;
    let metadata = bytes.metadata().await.map_err(gone)?;
    let length = metadata.len();
    let tag = entity_tag(&metadata);

    if header(&headers, &IF_NONE_MATCH).is_some_and(|known| matches(known, &tag)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        response.headers_mut().insert(ETAG, value(&tag)?);
        return Ok(response);
    }
    // A range of a version that is gone would be mixed with the new one's.
    let same = header(&headers, &IF_RANGE).is_none_or(|known| known == tag);
    let range = header(&headers, &RANGE).filter(|_| same);
    let part = match wanted(range, length) {
        Wanted::Unsatisfiable => {
            let message = format!("{} has {length} bytes", file.name);
            let mut response = ApiError::new(Code::BadRequest, message)
                .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
                .into_response();
            response
                .headers_mut()
                .insert(CONTENT_RANGE, value(&format!("bytes */{length}"))?);
            return Ok(response);
        }
        Wanted::Part(part) => Some(part),
        Wanted::Whole => None,
    };

    let (status, start, count) = match &part {
        Some(part) => (
            StatusCode::PARTIAL_CONTENT,
            *part.start(),
            part.end() - part.start() + 1,
        ),
        None => (StatusCode::OK, 0, length),
    };
    bytes.seek(SeekFrom::Start(start)).await.map_err(gone)?;
    let body = Body::from_stream(ReaderStream::with_capacity(bytes.take(count), PIECE_BYTES));
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    if let Some(part) = part {
        let range = format!("bytes {}-{}/{length}", part.start(), part.end());
        headers.insert(CONTENT_RANGE, value(&range)?);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(count));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(CONTENT_DISPOSITION, value(&disposition(&file))?);
    headers.insert(ETAG, value(&tag)?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    // A document is a stranger's: wherever it is opened, it runs nothing and reaches nothing.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    Ok(response)
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text)
        .map_err(|_| ApiError::new(Code::Internal, "The file could not be described"))
}

/// Changes whenever the file does, as far as its size and its time tell.
fn entity_tag(metadata: &Metadata) -> String {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos());
    format!("\"{:x}-{modified:x}\"", metadata.len())
}

fn matches(known: &str, tag: &str) -> bool {
    known
        .split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// Says "save", with the name in ASCII for old readers and in full for the others.
fn disposition(file: &DocumentFile) -> String {
    let plain: String = file
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !"\"\\%".contains(c) || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let full = utf8_percent_encode(&file.name, ATTR_CHAR);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{full}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_makes_one_valid_header() {
        let name = "račun \"2024\"\r\nX-Evil: 1.pdf".to_owned();
        let file = DocumentFile {
            path: "x".into(),
            name,
            media_type: "text/plain",
            size_bytes: 0,
        };
        let header = disposition(&file);
        assert_eq!(
            header,
            "attachment; filename=\"ra_un _2024___X-Evil: 1.pdf\"; \
             filename*=UTF-8''ra%C4%8Dun%20%222024%22%0D%0AX-Evil%3A%201.pdf"
        );
        assert!(value(&header).is_ok());
    }

    #[test]
    fn tags_match_weakly() {
        assert!(matches("W/\"a\", \"b\"", "\"b\""));
        assert!(matches("W/\"a\"", "\"a\""));
        assert!(matches("*", "\"a\""));
        assert!(!matches("\"ab\"", "\"a\""));
    }
}
