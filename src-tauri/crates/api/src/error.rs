//! Errors as clients see them: one table from code to status.
//!
//! Clients branch on `error.code`, never on its text. The engine's codes are a part of these; the
//! others come from the transport.

use std::fmt;

use axum::extract::multipart::MultipartError;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use docent_engine::{Code as EngineCode, Error as EngineError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a client may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    Conflict,
    PayloadTooLarge,
    Unsupported,
    TooManyRequests,
    Overloaded,
    ModelMissing,
    ModelLoading,
    InsufficientStorage,
    Internal,
}

impl Code {
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::ModelMissing | Self::ModelLoading => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::InsufficientStorage => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Seconds after which asking again may help.
    const fn retry_after(self) -> Option<u16> {
        match self {
            Self::Overloaded | Self::ModelLoading => Some(2),
            Self::TooManyRequests => Some(10),
            Self::BadRequest
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::Conflict
            | Self::PayloadTooLarge
            | Self::Unsupported
            | Self::ModelMissing
            | Self::InsufficientStorage
            | Self::Internal => None,
        }
    }

    /// What to do next, where the error itself doesn't say.
    const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Overloaded => Some("Other work is in progress. Try again in a moment."),
            Self::ModelMissing => Some("Fetch the model under Models, then ask again."),
            Self::ModelLoading => Some("The model is being loaded. Try again in a moment."),
            Self::InsufficientStorage => Some("Free some disk space, then try again."),
            Self::Internal => Some("Try again; the log says more."),
            Self::BadRequest
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::Conflict
            | Self::PayloadTooLarge
            | Self::Unsupported
            | Self::TooManyRequests => None,
        }
    }
}

impl From<EngineCode> for Code {
    fn from(code: EngineCode) -> Self {
        match code {
            EngineCode::BadRequest => Self::BadRequest,
            EngineCode::NotFound => Self::NotFound,
            EngineCode::Conflict => Self::Conflict,
            EngineCode::PayloadTooLarge => Self::PayloadTooLarge,
            EngineCode::Unsupported => Self::Unsupported,
            EngineCode::Overloaded => Self::Overloaded,
            EngineCode::ModelMissing => Self::ModelMissing,
            EngineCode::ModelLoading => Self::ModelLoading,
            EngineCode::InsufficientStorage => Self::InsufficientStorage,
            EngineCode::Internal => Self::Internal,
        }
    }
}

/// The body of every response that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    pub code: Code,
    /// What happened and what was kept, for people.
    pub message: String,
    /// What to do next.
    #[schema(required)]
    pub hint: Option<String>,
}

impl From<&EngineError> for ErrorDetail {
    fn from(error: &EngineError) -> Self {
        let code = Code::from(error.code());
        let hint = error.hint().or_else(|| code.hint()).map(str::to_owned);
        Self {
            code,
            message: error.message().to_owned(),
            hint,
        }
    }
}

/// An error on its way to a client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    detail: ErrorDetail,
}

impl ApiError {
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let hint = code.hint().map(str::to_owned);
        let detail = ErrorDetail {
            code,
            message: message.into(),
            hint,
        };
        Self {
            status: code.status(),
            detail,
        }
    }

    /// For statuses that nobody branches on, and that therefore share a code.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.detail.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.detail.code
    }

    #[must_use]
    pub fn into_detail(self) -> ErrorDetail {
        self.detail
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail.message)
    }
}

impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry_after = self.detail.code.retry_after();
        let body = axum::Json(ErrorBody { error: self.detail });
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let detail = ErrorDetail::from(&error);
        if detail.code == Code::Internal {
            // The client gets the sentence; the cause, which may name paths, stays in the log.
            tracing::error!(%error, "a request failed");
        }
        Self {
            status: detail.code.status(),
            detail,
        }
    }
}

/// The code for a status that axum chose.
fn rejected(status: StatusCode, message: String) -> ApiError {
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::Unsupported,
        status if status.is_server_error() => Code::Internal,
        _ => Code::BadRequest,
    };
    ApiError::new(code, message)
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        rejected(error.status(), error.body_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelt_as_clients_know_them() {
        let spelt = |code: Code| serde_json::to_value(code).expect("a code is a string");
        assert_eq!(spelt(Code::BadRequest), "BAD_REQUEST");
        assert_eq!(spelt(Code::PayloadTooLarge), "PAYLOAD_TOO_LARGE");
        assert_eq!(spelt(Code::TooManyRequests), "TOO_MANY_REQUESTS");
        assert_eq!(spelt(Code::InsufficientStorage), "INSUFFICIENT_STORAGE");
    }

    #[test]
    fn the_engines_hint_wins_over_the_tables() {
        let error = EngineError::new(EngineCode::Overloaded, "busy");
        assert_eq!(
            ErrorDetail::from(&error).hint.as_deref(),
            Code::Overloaded.hint()
        );
        let error = error.with_hint("Wait for the import.");
        assert_eq!(
            ErrorDetail::from(&error).hint.as_deref(),
            Some("Wait for the import.")
        );
    }

    #[test]
    fn the_cause_of_an_internal_error_stays_here() {
        let cause = std::io::Error::other("/home/ana/secret.db is damaged");
        let error = ApiError::from(EngineError::internal("reading the documents", cause));
        let text = serde_json::to_string(&error.into_detail()).expect("serialises");
        assert!(!text.contains("/home/ana"), "{text}");
    }
}
