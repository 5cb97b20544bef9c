//! The frames between a parent and its worker.
//!
//! Little-endian: `u32` length of what follows, `u64` call id, `u8` kind, `u32` length of the head,
//! the head (JSON), the body (raw bytes). Both ends are always the same binary, so the layout may
//! change freely.

use std::io::{self, Read, Write};

use bytes::Bytes;

/// Larger frames are a protocol error: nothing that is sent comes near it.
pub const MAX_FRAME_BYTES: u32 = 1 << 30;

const FIXED_BYTES: u32 = 8 + 1 + 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Parent to child: head and body are the request.
    Request = 1,
    /// Parent to child: the call's answer is no longer wanted.
    Cancel = 2,
    /// Child to parent: one of any number of replies.
    Reply = 3,
    /// Child to parent: the call is over.
    End = 4,
    /// Child to parent: the call is over; the head is a [`Failure`].
    Error = 5,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Request),
            2 => Some(Self::Cancel),
            3 => Some(Self::Reply),
            4 => Some(Self::End),
            5 => Some(Self::Error),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub id: u64,
    pub kind: Kind,
    pub head: Bytes,
    pub body: Bytes,
}

/// The head of an error frame.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    pub message: String,
    pub panicked: bool,
}

/// Writes one frame and flushes.
pub fn write(
    out: &mut impl Write,
    id: u64,
    kind: Kind,
    head: &[u8],
    body: &[u8],
) -> io::Result<()> {
    let total = (head.len() + body.len())
        .checked_add(FIXED_BYTES as usize)
        .filter(|total| *total <= MAX_FRAME_BYTES as usize)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a frame over 1 GiB"))?;
    let mut start = Vec::with_capacity(4 + FIXED_BYTES as usize + head.len());
    start.extend_from_slice(&(total as u32).to_le_bytes());
    start.extend_from_slice(&id.to_le_bytes());
    start.push(kind as u8);
    start.extend_from_slice(&(head.len() as u32).to_le_bytes());
    start.extend_from_slice(head);
    out.write_all(&start)?;
    out.write_all(body)?;
    out.flush()
}

/// Reads one frame; `None` when the stream ends between two frames.
pub fn read(input: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut length = [0; 4];
    match input.read(&mut length)? {
        0 => return Ok(None),
        got => input.read_exact(&mut length[got..])?,
    }
    let total = u32::from_le_bytes(length);
    if !(FIXED_BYTES..=MAX_FRAME_BYTES).contains(&total) {
        return Err(malformed("impossible frame length"));
    }
    // Grows with what arrives, so that a wrong length costs no memory.
    let mut bytes = Vec::with_capacity((total as usize).min(1 << 16));
    input.take(u64::from(total)).read_to_end(&mut bytes)?;
    if bytes.len() < total as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let bytes = Bytes::from(bytes);
    let id = u64::from_le_bytes(array(&bytes[0..8])?);
    let kind = Kind::from_byte(bytes[8]).ok_or_else(|| malformed("unknown frame kind"))?;
    let head_length = u32::from_le_bytes(array(&bytes[9..13])?) as usize;
    let content = bytes.slice(FIXED_BYTES as usize..);
    if head_length > content.len() {
        return Err(malformed("head longer than its frame"));
    }
    Ok(Some(Frame {
        id,
        kind,
        head: content.slice(..head_length),
        body: content.slice(head_length..),
    }))
}

fn array<const N: usize>(bytes: &[u8]) -> io::Result<[u8; N]> {
    bytes.try_into().map_err(|_| malformed("short frame"))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_pipe() {
        let mut pipe = Vec::new();
        write(&mut pipe, 7, Kind::Reply, br#"{"a":1}"#, &[0, 255, 10]).unwrap();
        write(&mut pipe, 8, Kind::End, b"", b"").unwrap();
        let mut pipe = pipe.as_slice();
        let first = read(&mut pipe).unwrap().unwrap();
        assert_eq!((first.id, first.kind), (7, Kind::Reply));
        assert_eq!(&first.head[..], br#"{"a":1}"#);
        assert_eq!(&first.body[..], [0, 255, 10]);
        assert_eq!(read(&mut pipe).unwrap().unwrap().kind, Kind::End);
        assert_eq!(
            read(&mut pipe).unwrap(),
            None,
            "an end between frames is no error"
        );
    }

    #[test]
    fn nonsense_is_refused_without_panic_or_memory() {
        let mut whole = Vec::new();
        write(&mut whole, 1, Kind::Request, b"{}", b"body").unwrap();
        for cut in 1..whole.len() {
            assert!(read(&mut &whole[..cut]).is_err(), "cut after {cut} bytes");
        }
        let mut huge = whole.clone();
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(
            read(&mut huge.as_slice()).is_err(),
            "length beyond the limit"
        );
        let mut kind = whole.clone();
        kind[12] = 99;
        assert!(read(&mut kind.as_slice()).is_err(), "unknown kind");
        let mut head = whole;
        head[13..17].copy_from_slice(&1000_u32.to_le_bytes());
        assert!(read(&mut head.as_slice()).is_err(), "head beyond the frame");
    }
}
