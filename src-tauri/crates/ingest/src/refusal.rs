//! Why a file was not read, in words for its owner.

use docent_domain::Problem;
use serde::{Deserialize, Serialize};

/// A file that gives no text, and why. It travels from the worker to the application as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    #[error("The file is not there any more.")]
    Vanished,
    #[error(
        "Docent may not read this file: permission denied. Change its permissions and try again."
    )]
    PermissionDenied,
    #[error("This is {what}, not a file that can be read.")]
    NotAFile { what: String },
    #[error("The file was changed while it was being read. It is read again when it is at rest.")]
    Changed,
    #[error("The file could not be read: {message}.")]
    Unreadable { message: String },
    #[error("The file is empty.")]
    Empty,
    #[error("The document holds no text.")]
    NoText,
    #[error(
        "Scanned: its pages ({pages}) are pictures without text. Install text recognition (Debian, Ubuntu: apt install tesseract-ocr tesseract-ocr-hrv) and start Docent again, or save it as a searchable PDF."
    )]
    Scanned { pages: u32 },
    #[error(
        "Scanned: its pages ({pages}) are pictures, and no text could be recognised in them. Scan it again at 300 dots an inch if there is text to be seen."
    )]
    NothingRecognised { pages: u32 },
    #[error(
        "Scanned: its pages ({pages}) are pictures, and recognising their text failed: {message}. Retry, or save it as a searchable PDF.",
        message = .message.trim_end_matches('.')
    )]
    RecognitionFailed { pages: u32, message: String },
    #[error(
        "The document is protected by a password. Save a copy without the password and add that."
    )]
    PasswordProtected,
    #[error("The document is damaged: {what}.")]
    Damaged { what: String },
    #[error("{message}")]
    WrongContent { message: String },
    #[error("The file holds binary data, not text.")]
    Binary,
    #[error("The file is too big: {bytes} bytes, and Docent reads {format} files up to {max_bytes} bytes. Split it into smaller files.", format = .format)]
    FileTooBig {
        format: String,
        bytes: u64,
        max_bytes: u64,
    },
    #[error(
        "The file unpacks to more than {max_bytes} bytes, far more than a document holds. It was left alone."
    )]
    UnpacksTooBig { max_bytes: u64 },
    #[error(
        "The document has more than {max_chars} characters of text. Split it into smaller documents."
    )]
    TooMuchText { max_chars: u64 },
    #[error(
        "The picture is too big: {width} by {height} pixels, and Docent reads pictures of up to {max}. Save it smaller."
    )]
    PictureTooBig { width: u32, height: u32, max: u64 },
    #[error("The document has more than {max} parts. Split it into smaller documents.")]
    TooManyParts { max: u64 },
    #[error(
        "The PDF reader is missing or damaged: {message}. Fetch Docent's models again and retry."
    )]
    ReaderMissing { message: String },
    #[error("Reading was cancelled.")]
    Cancelled,
}

impl Refusal {
    /// Whether the file was left out on purpose (there is nothing to read in it) rather than failed.
    #[must_use]
    pub const fn is_skip(&self) -> bool {
        match self {
            Self::Empty
            | Self::NoText
            | Self::Scanned { .. }
            | Self::NothingRecognised { .. }
            | Self::RecognitionFailed { .. }
            | Self::NotAFile { .. } => true,
            Self::Vanished
            | Self::PermissionDenied
            | Self::Changed
            | Self::Unreadable { .. }
            | Self::PasswordProtected
            | Self::Damaged { .. }
            | Self::WrongContent { .. }
            | Self::Binary
            | Self::FileTooBig { .. }
            | Self::PictureTooBig { .. }
            | Self::UnpacksTooBig { .. }
            | Self::TooMuchText { .. }
            | Self::TooManyParts { .. }
            | Self::ReaderMissing { .. }
            | Self::Cancelled => false,
        }
    }

    #[must_use]
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Vanished | Self::PermissionDenied | Self::Changed | Self::Unreadable { .. } => {
                Problem::Unreachable
            }
            Self::NotAFile { .. } | Self::WrongContent { .. } | Self::Binary => {
                Problem::Unsupported
            }
            Self::Empty | Self::NoText | Self::NothingRecognised { .. } => Problem::Empty,
            Self::Scanned { .. } | Self::RecognitionFailed { .. } => Problem::Scanned,
            Self::PasswordProtected => Problem::Protected,
            Self::Damaged { .. } => Problem::Damaged,
            Self::FileTooBig { .. }
            | Self::PictureTooBig { .. }
            | Self::UnpacksTooBig { .. }
            | Self::TooMuchText { .. }
            | Self::TooManyParts { .. } => Problem::TooBig,
            Self::ReaderMissing { .. } => Problem::ReaderFailed,
            Self::Cancelled => Problem::Cancelled,
        }
    }

    /// Whether the same file may be readable in a while, without anyone doing anything about it.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Changed | Self::Unreadable { .. } | Self::ReaderMissing { .. } => true,
            Self::Vanished
            | Self::PermissionDenied
            | Self::NotAFile { .. }
            | Self::Empty
            | Self::NoText
            | Self::Scanned { .. }
            | Self::NothingRecognised { .. }
            | Self::RecognitionFailed { .. }
            | Self::PasswordProtected
            | Self::Damaged { .. }
            | Self::WrongContent { .. }
            | Self::Binary
            | Self::FileTooBig { .. }
            | Self::PictureTooBig { .. }
            | Self::UnpacksTooBig { .. }
            | Self::TooMuchText { .. }
            | Self::TooManyParts { .. }
            | Self::Cancelled => false,
        }
    }

    /// A parser's words may quote the file at any length; their beginning tells as much.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        const LONGEST_CHARS: usize = 200;
        let mut what = what.into();
        if let Some((end, _)) = what.char_indices().nth(LONGEST_CHARS) {
            what.truncate(end);
            what.push('…');
        }
        Self::Damaged { what }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Vanished,
            std::io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            _ => Self::Unreadable {
                message: error.to_string(),
            },
        }
    }
}
