//! What can go wrong, told apart by what the caller can do about it.

use std::fmt;
use std::path::PathBuf;

use docent_domain::JobId;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the database folder {path} cannot be prepared: {source}")]
    Prepare {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{path} is in use by another Docent process. Nothing was changed. Close the other one, or use it instead."
    )]
    InUse { path: PathBuf },
    #[error(
        "{path} is a database of another application. Nothing was changed. Choose another data folder."
    )]
    ForeignFile { path: PathBuf },
    #[error(
        "this database was written by a newer Docent (schema {found}; this one knows up to {supported}). Nothing was changed. Install the newer Docent to open it."
    )]
    NewerVersion { found: u32, supported: u32 },
    #[error(
        "upgrading the database to schema {version} failed and was undone; the data is as it was: {source}"
    )]
    Migrate { version: u32, source: Box<Error> },

    #[error("there is no such {0}")]
    NotFound(Entity),
    #[error("a workspace called {0:?} exists already; choose another name")]
    NameTaken(String),
    #[error("the embedder of this workspace is being changed already")]
    ChangeUnderWay,
    /// The job was taken over, cancelled or superseded since it was claimed. The result that came
    /// with the claim must be dropped.
    #[error("job {0} is no longer held by this claim, so its result was not taken")]
    StaleFence(JobId),
    /// Messages do not change once they are complete, interrupted or failed.
    #[error("the message is finished and cannot change any more")]
    MessageSettled,
    #[error("the position in the list is not one that this list gave out")]
    BadCursor,
    #[error(
        "this workspace has numbered as many passages as it can; {0} more do not fit. Nothing was changed. Put new documents into another workspace."
    )]
    KeysExhausted(usize),

    #[error(
        "the disk is full. What was acknowledged before is kept and can be read; free some space and it goes on by itself."
    )]
    DiskFull,
    #[error("reading or writing the database failed (disk trouble?): {message}")]
    Io { message: String },
    #[error(
        "the database is damaged: {message}. Stop, keep a copy of the data folder, and run `docent doctor`."
    )]
    Corrupt { message: String },
    #[error("the database is read-only: {message}")]
    ReadOnly { message: String },
    #[error("the database is busy; try again")]
    Busy,
    #[error("the database was closed, because Docent is ending")]
    Closed,
    /// A row holds something that this version cannot read.
    #[error("{column} of a row cannot be read: {message}")]
    Decode { column: String, message: String },
    #[error("a value cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// A statement that should have worked did not.
    #[error("a database statement failed: {0}")]
    Statement(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What was not found. An object of another workspace is reported exactly like a missing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    Workspace,
    User,
    Folder,
    Document,
    Content,
    Job,
    Chat,
    Message,
    EmbedderChange,
    PreviousVectors,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workspace => "workspace",
            Self::User => "user",
            Self::Folder => "folder",
            Self::Document => "document",
            Self::Content => "document content",
            Self::Job => "job",
            Self::Chat => "chat",
            Self::Message => "message",
            Self::EmbedderChange => "change of embedder",
            Self::PreviousVectors => "set of previous vectors",
        })
    }
}

/// Whose doing an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request; asking differently helps.
    User,
    /// The machine: disk, permissions, another process.
    Environment,
    /// This program.
    Bug,
}

impl Error {
    /// Whether the same call can succeed later without anybody changing the request.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::DiskFull | Self::Io { .. } | Self::Busy | Self::InUse { .. } => true,
            Self::Migrate { source, .. } => source.is_retryable(),
            Self::Prepare { .. }
            | Self::ForeignFile { .. }
            | Self::NewerVersion { .. }
            | Self::NotFound(_)
            | Self::NameTaken(_)
            | Self::ChangeUnderWay
            | Self::StaleFence(_)
            | Self::MessageSettled
            | Self::BadCursor
            | Self::KeysExhausted(_)
            | Self::Closed
            | Self::Corrupt { .. }
            | Self::ReadOnly { .. }
            | Self::Decode { .. }
            | Self::Encode(_)
            | Self::Statement(_) => false,
        }
    }

    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotFound(_)
            | Self::NameTaken(_)
            | Self::ChangeUnderWay
            | Self::StaleFence(_)
            | Self::MessageSettled
            | Self::BadCursor
            | Self::KeysExhausted(_) => Fault::User,
            Self::Prepare { .. }
            | Self::InUse { .. }
            | Self::ForeignFile { .. }
            | Self::NewerVersion { .. }
            | Self::DiskFull
            | Self::Io { .. }
            | Self::Corrupt { .. }
            | Self::ReadOnly { .. }
            | Self::Closed
            | Self::Busy => Fault::Environment,
            Self::Migrate { source, .. } => source.fault(),
            Self::Decode { .. } | Self::Encode(_) | Self::Statement(_) => Fault::Bug,
        }
    }

    /// Whether a unique index refused the statement.
    pub(crate) fn is_unique_violation(&self) -> bool {
        match self {
            Self::Statement(source) => source
                .downcast_ref::<sqlx::Error>()
                .and_then(sqlx::Error::as_database_error)
                .is_some_and(sqlx::error::DatabaseError::is_unique_violation),
            _ => false,
        }
    }
}

/// Growing the shared-memory file failed, which is a full disk too.
const SQLITE_IOERR_SHMSIZE: u32 = 4874;

/// SQLite's result codes, <https://www.sqlite.org/rescode.html>; the primary code is the low byte.
fn of_result_code(code: u32, message: &str) -> Option<Error> {
    let message = message.to_owned();
    if code == SQLITE_IOERR_SHMSIZE {
        return Some(Error::DiskFull);
    }
    match code & 0xff {
        5 | 6 => Some(Error::Busy),
        8 => Some(Error::ReadOnly { message }),
        10 | 14 => Some(Error::Io { message }),
        11 | 26 => Some(Error::Corrupt { message }),
        13 => Some(Error::DiskFull),
        _ => None,
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(ref database) => database
                .code()
                .and_then(|code| code.parse().ok())
                .and_then(|code| of_result_code(code, database.message()))
                .unwrap_or_else(|| Self::Statement(Box::new(error))),
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::Io(source) => Self::Io {
                message: source.to_string(),
            },
            sqlx::Error::ColumnDecode { index, source } => Self::Decode {
                column: index,
                message: source.to_string(),
            },
            other => Self::Statement(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_codes_become_what_a_caller_can_act_on() {
        for (code, name) in [
            (13, "DiskFull"),
            (4874, "DiskFull"),
            (10, "Io"),
            (1034, "Io"),
            (14, "Io"),
            (11, "Corrupt"),
            (26, "Corrupt"),
            (5, "Busy"),
            (261, "Busy"),
            (8, "ReadOnly"),
        ] {
            let error = of_result_code(code, "x").expect("a known code");
            assert!(
                format!("{error:?}").starts_with(name),
                "{code} became {error:?}"
            );
            assert_eq!(error.fault(), Fault::Environment, "{code}");
        }
        assert!(
            of_result_code(2067, "UNIQUE constraint failed").is_none(),
            "a violated constraint is the caller's to interpret"
        );
    }
}
