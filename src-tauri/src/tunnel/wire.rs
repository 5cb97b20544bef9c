//! How calls and answers are laid out between the window and the tunnel.
//!
//! A request's head is JSON, percent-encoded in the header `x-api-head`, because raw bytes carry no
//! arguments; the body is the raw payload. An answer is `[u32 LE head length][head JSON][body]`.
//! A frame of a pulled body is one tag byte and its bytes. `ui/src/platform/tauri` is the other end.

use axum::http::response::Parts;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::Refusal;

/// What the window asks.
#[derive(Debug, Deserialize)]
pub struct Head {
    /// Unique in the window's page and never used again.
    pub id: String,
    pub method: String,
    /// Path and query.
    pub path: String,
    #[serde(default, deserialize_with = "pairs_or_record")]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub body: RequestBody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestBody {
    /// The payload of the call itself.
    #[default]
    Inline,
    /// Comes in pieces.
    Stream,
}

impl Head {
    /// Decodes the value of `x-api-head`.
    pub fn decode(encoded: &str) -> Result<Self, Refusal> {
        let json = percent_decode_str(encoded)
            .decode_utf8()
            .map_err(|_| Refusal::Malformed("the head isn't UTF-8".into()))?;
        serde_json::from_str(&json).map_err(|error| Refusal::Malformed(error.to_string()))
    }
}

fn pairs_or_record<'de, D>(deserializer: D) -> Result<Vec<(String, String)>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Headers {
        Pairs(Vec<(String, String)>),
        Record(std::collections::BTreeMap<String, String>),
    }
    Ok(match Headers::deserialize(deserializer)? {
        Headers::Pairs(pairs) => pairs,
        Headers::Record(record) => record.into_iter().collect(),
    })
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BodyMode {
    Inline,
    Pull,
}

#[derive(Serialize)]
struct ReplyHead<'a> {
    status: u16,
    headers: Vec<(&'a str, String)>,
    body: BodyMode,
}

pub(super) fn pack_reply(parts: &Parts, mode: BodyMode, body: &[u8]) -> Vec<u8> {
    let head = ReplyHead {
        status: parts.status.as_u16(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect(),
        body: mode,
    };
    let head = serde_json::to_vec(&head).expect("BUG: numbers and strings always serialise");
    let mut reply = Vec::with_capacity(4 + head.len() + body.len());
    reply.extend_from_slice(&(head.len() as u32).to_le_bytes());
    reply.extend_from_slice(&head);
    reply.extend_from_slice(body);
    reply
}

/// One piece of a pulled body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Data(Bytes),
    End,
    /// The body broke off; the text is for a log, not for a person.
    Failed(String),
}

impl Frame {
    pub fn encode(self) -> Vec<u8> {
        let (tag, bytes) = match self {
            Self::Data(bytes) => (0, bytes),
            Self::End => (1, Bytes::new()),
            Self::Failed(message) => (2, Bytes::from(message)),
        };
        let mut frame = Vec::with_capacity(1 + bytes.len());
        frame.push(tag);
        frame.extend_from_slice(&bytes);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_decoded_with_headers_as_pairs_or_as_a_record() {
        let pairs = r#"{"id":"p1","method":"GET","path":"/api/v1/health","headers":[["a","b"]]}"#;
        let record = r#"{"id":"p1","method":"GET","path":"/api/v1/health","headers":{"a":"b"}}"#;
        for json in [pairs, record] {
            let head = Head::decode(&percent(json)).unwrap();
            assert_eq!(head.headers, [("a".to_owned(), "b".to_owned())]);
            assert_eq!(head.body, RequestBody::Inline);
        }
        let streamed = r#"{"id":"p","method":"POST","path":"/api/š","body":"stream"}"#;
        let head = Head::decode(&percent(streamed)).unwrap();
        assert_eq!(head.body, RequestBody::Stream);
        assert_eq!(head.path, "/api/š");
    }

    #[test]
    fn a_head_that_is_not_one_is_refused() {
        for text in ["", "%ff", "{}", "%7B%22id%22%3A1%7D"] {
            assert!(
                matches!(Head::decode(text), Err(Refusal::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn frames_keep_their_tags() {
        assert_eq!(Frame::Data(Bytes::from_static(b"xy")).encode(), b"\x00xy");
        assert_eq!(Frame::End.encode(), [1]);
        assert_eq!(Frame::Failed("š".into()).encode(), [2, 0xc5, 0xa1]);
    }

    fn percent(text: &str) -> String {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    }
}
