//! The languages that Docent distinguishes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The language of a question, a document or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Language {
    #[serde(rename = "hr")]
    Croatian,
    #[serde(rename = "en")]
    English,
    /// Some other language, or too little text to tell.
    #[serde(rename = "und")]
    Undetermined,
}

impl Language {
    /// The ISO 639-1 code, or `und`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Croatian => "hr",
            Self::English => "en",
            Self::Undetermined => "und",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown language {0:?}: use hr or en")]
pub struct UnknownLanguage(pub String);

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        match code {
            "hr" => Ok(Self::Croatian),
            "en" => Ok(Self::English),
            "und" => Ok(Self::Undetermined),
            other => Err(UnknownLanguage(other.to_owned())),
        }
    }
}
