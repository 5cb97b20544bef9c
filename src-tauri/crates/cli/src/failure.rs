//! Why a command did not do what it was asked.

use std::fmt;

use docent_api::error::{Code, ErrorDetail};
use docent_engine::Error as EngineError;

/// In the API's codes, so that a script learns one list.
#[derive(Debug)]
pub struct Failure {
    pub detail: ErrorDetail,
    /// The result is printed already, and says what failed.
    pub is_reported: bool,
}

impl Failure {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let detail = ErrorDetail {
            code,
            message: message.into(),
            hint: None,
        };
        Self {
            detail,
            is_reported: false,
        }
    }

    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.detail.hint = Some(hint.into());
        self
    }

    /// For commands whose result tells what failed: standard output holds it already.
    #[must_use]
    pub fn reported(message: impl Into<String>) -> Self {
        Self {
            is_reported: true,
            ..Self::new(Code::Internal, message)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail.message)
    }
}

impl std::error::Error for Failure {}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let mut detail = ErrorDetail::from(&error);
        // The API's own hints speak to somebody in front of a window.
        if error.hint().is_none() && detail.code == Code::ModelMissing {
            detail.hint = Some("Bring it here with: docent models fetch".to_owned());
        }
        // Whoever reads this owns the machine: the cause helps, and betrays nothing.
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !detail.message.contains(&text) {
                detail.message = format!("{}: {text}", detail.message);
            }
            cause = inner.source();
        }
        Self {
            detail,
            is_reported: false,
        }
    }
}
