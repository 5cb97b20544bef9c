//! A request's body, delivered no faster than its form is taken apart.
//!
//! The parser of forms reads on for as long as its source has something ready, and keeps all of
//! it. A source that is always ready, such as a body in memory or an endless head of a part, would
//! so be held in memory whole. This one pauses after each piece, and ends with an error when too
//! much was delivered that nobody took.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::{Stream, StreamExt};

/// Bytes delivered and not taken. More than a piece of the window's tunnel (4 MiB) with the heads
/// of a thousand parts.
const MAX_UNTAKEN: u64 = 16 << 20;

/// What was delivered and what was taken of one body.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    taken: AtomicU64,
    overflowed: AtomicBool,
}

impl Meter {
    /// `body`, metered.
    pub(super) fn on(&self, body: Body) -> Body {
        let meter = self.clone();
        Body::from_stream(Metered {
            body: body.into_data_stream(),
            meter,
            paused: true,
        })
    }

    pub(super) fn took(&self, bytes: usize) {
        self.counts.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether the body ended because too much of it was not taken.
    pub(super) fn overflowed(&self) -> bool {
        self.counts.overflowed.load(Ordering::Relaxed)
    }

    fn delivers(&self, bytes: usize) -> io::Result<()> {
        let delivered = self
            .counts
            .delivered
            .fetch_add(bytes as u64, Ordering::Relaxed)
            + bytes as u64;
        if delivered.saturating_sub(self.counts.taken.load(Ordering::Relaxed)) > MAX_UNTAKEN {
            self.counts.overflowed.store(true, Ordering::Relaxed);
            return Err(io::Error::other("too much of the form is not a file"));
        }
        Ok(())
    }
}

struct Metered {
    body: BodyDataStream,
    meter: Meter,
    /// Whether the reader has had its turn since the last piece.
    paused: bool,
}

impl Stream for Metered {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.paused {
            self.paused = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = std::task::ready!(self.body.poll_next_unpin(cx));
        self.paused = false;
        Poll::Ready(piece.map(|piece| {
            let piece = piece?;
            self.meter.delivers(piece.len()).map_err(axum::Error::new)?;
            Ok(piece)
        }))
    }
}
