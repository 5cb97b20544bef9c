//! What keeps a document, or a part of it, from being found.

use serde::{Deserialize, Serialize};

/// Kinds of trouble with a document's file, as they are listed together. The document's `reason`
/// has the particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// All its pages are pictures.
    Scanned,
    /// Some of its pages are pictures.
    PartlyScanned,
    /// There is nothing in it to read.
    Empty,
    /// The letters that it holds are not those that it shows.
    Garbled,
    /// Its encoding had to be guessed, or is broken in places.
    Encoding,
    /// A password is needed to open it.
    Protected,
    /// Too broken to be opened.
    Damaged,
    /// A part of it was left out: cut off, broken, or of no use by itself.
    Incomplete,
    TooBig,
    /// Of no format that is read, or no file at all.
    Unsupported,
    /// Gone, forbidden, or on a disk that does not answer.
    Unreachable,
    /// The reader crashed on it, took too long, or is missing.
    ReaderFailed,
    /// Somebody stopped its reading: it is not known, or as it was before it changed.
    Cancelled,
    /// Something else, as the reason says.
    Other,
}

impl Problem {
    /// As in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scanned => "scanned",
            Self::PartlyScanned => "partly_scanned",
            Self::Empty => "empty",
            Self::Garbled => "garbled",
            Self::Encoding => "encoding",
            Self::Protected => "protected",
            Self::Damaged => "damaged",
            Self::Incomplete => "incomplete",
            Self::TooBig => "too_big",
            Self::Unsupported => "unsupported",
            Self::Unreachable => "unreachable",
            Self::ReaderFailed => "reader_failed",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        }
    }
}

/// How many documents have a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemCount {
    pub problem: Problem,
    pub documents: u64,
    /// Those of them of which something is searchable all the same.
    pub searchable: u64,
}
