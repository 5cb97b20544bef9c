//! What commands print.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use docent_api::error::ErrorBody;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

#[derive(Clone, Copy, Debug)]
pub struct Output {
    is_json: bool,
}

impl Output {
    #[must_use]
    pub const fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    #[must_use]
    pub const fn is_json(self) -> bool {
        self.is_json
    }

    /// Whether somebody watches text as it comes.
    #[must_use]
    pub fn is_watched(self) -> bool {
        !self.is_json && io::stdout().is_terminal()
    }

    /// Prints a result: `value` as JSON, or what `text` makes of it.
    pub fn result<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = if self.is_json {
            serde_json::to_string_pretty(value).map_err(|error| {
                Failure::internal(format!("the result cannot be written: {error}"))
            })?
        } else {
            text(value)
        };
        line(text.trim_end())
    }

    /// A bar on standard error, or nothing where that is no terminal.
    #[must_use]
    pub fn progress(self, template: &str) -> ProgressBar {
        let target = if self.is_json || !io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template(template)
            .expect("BUG: the templates in this program are valid");
        bar.set_style(style.progress_chars("━╸ "));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Says why the command failed, and gives its exit code.
    #[must_use]
    pub fn fail(self, failure: &Failure) -> ExitCode {
        let detail = &failure.detail;
        if self.is_json && !failure.is_reported {
            let body = ErrorBody {
                error: detail.clone(),
            };
            match serde_json::to_string_pretty(&body) {
                Ok(text) => println!("{text}"),
                Err(error) => eprintln!("docent: {error}"),
            }
        }
        if (!self.is_json || failure.is_reported) && !detail.message.is_empty() {
            eprintln!("docent: {}", detail.message);
            if let Some(hint) = &detail.hint {
                eprintln!("  {hint}");
            }
        }
        ExitCode::FAILURE
    }
}

/// Prints one line, or several.
pub fn line(text: impl Display) -> Result<(), Failure> {
    written(writeln!(io::stdout(), "{text}"))
}

/// Prints a piece of a line, at once.
pub fn piece(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    written(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

/// A reader that has seen enough, such as `head`, is no reason to complain; but neither is it
/// success.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reported(""),
        _ => Failure::reported(format!("the result cannot be written: {error}")),
    })
}

/// `1 file`, `2 files`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// Bytes in the largest unit that leaves a number of at least one.
#[must_use]
pub fn bytes(number: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut size = number as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{number} B")
    } else {
        format!("{size:.1} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(0, "file"), "0 files");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500_000), "1.5 MB");
    }
}
