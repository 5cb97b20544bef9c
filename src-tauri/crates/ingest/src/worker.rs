//! Entry point of the extraction worker: reads one file after another for its parent.

use std::io;

use bytes::Bytes;
use docent_worker::Reply;

use crate::extract::{Context, extract};
use crate::refusal::Refusal;
use crate::wire::{self, PIECE_BYTES, Request, Response};

/// Serves extraction until the parent closes the pipe, then ends the process.
pub fn run_extractor() -> io::Result<()> {
    docent_worker::serve(|request: Request, path: Bytes, reply: &Reply<Response>| {
        handle(&request, &path, reply).map_err(|error| error.to_string())
    })
}

fn handle(request: &Request, path: &[u8], reply: &Reply<Response>) -> io::Result<()> {
    let context = Context {
        bounds: request.bounds,
        pdfium_dir: request.pdfium_dir.as_deref(),
        recognition: request.recognition.as_ref(),
        progress: &|progress| {
            // A parent that is gone is noticed by the next write that matters.
            let _ = reply.send(&Response::Progress(progress), b"");
        },
        cancelled: &|| reply.is_cancelled(),
    };
    let extracted = match extract(&wire::path_of(path), request.format, &context) {
        Ok(extracted) => extracted,
        Err(Refusal::Cancelled) => return Ok(()),
        Err(refusal) => return reply.send(&Response::Refused(refusal), b""),
    };
    let (head, body) = wire::encode(extracted);
    for piece in body.chunks(PIECE_BYTES) {
        if reply.is_cancelled() {
            return Ok(());
        }
        reply.send(&Response::Piece, piece)?;
    }
    reply.send(&Response::Done(head), b"")
}
