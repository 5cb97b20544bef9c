//! llama.cpp's log: warnings and errors go to standard error, its thousands of other lines nowhere.
//!
//! Standard error is what the parent logs, and its last line is part of the report of a death, so it
//! should hold what matters.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use llama_cpp_2::{LogOptions, send_logs_to_tracing};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

static LAST_ERROR: Mutex<Option<String>> = Mutex::new(None);

/// For the whole process, once.
pub(super) fn install() {
    // Fails when there is a subscriber, which then gets the lines.
    let _ = tracing::subscriber::set_global_default(Warnings);
    send_logs_to_tracing(LogOptions::default());
}

/// The last error that llama.cpp has logged; it returns none.
pub(super) fn take_last_error() -> Option<String> {
    LAST_ERROR
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

struct Warnings;

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.0.trim();
        if !text.is_empty() {
            eprintln!("{text}");
            if *event.metadata().level() == Level::ERROR {
                *LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
            }
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
