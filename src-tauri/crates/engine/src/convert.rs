//! What the leaf crates report, in the engine's terms.

use crate::error::{Code, Error};

impl From<docent_store::Error> for Error {
    fn from(error: docent_store::Error) -> Self {
        use docent_store::Error as Store;
        let code = match &error {
            Store::NotFound(_) => Code::NotFound,
            Store::NameTaken(_)
            | Store::ChangeUnderWay
            | Store::StaleFence(_)
            | Store::MessageSettled
            | Store::InUse { .. } => Code::Conflict,
            Store::BadCursor | Store::KeysExhausted(_) => Code::BadRequest,
            Store::DiskFull => Code::InsufficientStorage,
            Store::Busy => Code::Overloaded,
            _ => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<docent_index::Error> for Error {
    fn from(error: docent_index::Error) -> Self {
        if error.is_disk_full() {
            return Self::new(
                Code::InsufficientStorage,
                "the disk is full, so the search index could not be written. Your documents and \
                 all that was indexed before are kept",
            )
            .with_hint("Free some space; it goes on by itself")
            .with_source(error);
        }
        if error.is_damage() {
            return Self::new(
                Code::Overloaded,
                "a part of the search index was damaged on the disk and is being made again. Your \
                 documents are safe",
            )
            .with_hint("Try again in a moment")
            .with_source(error);
        }
        Self::new(Code::Internal, error.to_string())
    }
}

impl From<docent_inference::Error> for Error {
    fn from(error: docent_inference::Error) -> Self {
        use docent_inference::Error as Model;
        let code = match &error {
            Model::ModelMissing { .. } | Model::ModelDamaged { .. } => Code::ModelMissing,
            Model::ContextOverflow { .. } | Model::Grammar => Code::BadRequest,
            Model::Unsupported { .. } => Code::Unsupported,
            Model::Load { .. }
            | Model::Template { .. }
            | Model::Inference(_)
            | Model::Worker(_)
            | Model::Unreachable { .. }
            | Model::Endpoint { .. }
            | Model::Malformed { .. }
            | Model::Cancelled => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<docent_inference::models::Error> for Error {
    fn from(error: docent_inference::models::Error) -> Self {
        use docent_inference::models::Error as Files;
        let code = match &error {
            Files::UnknownModel { .. } => Code::NotFound,
            Files::Missing { .. }
            | Files::Incomplete { .. }
            | Files::Unverified { .. }
            | Files::WrongFile { .. } => Code::ModelMissing,
            Files::NotForThisPlatform { .. } => Code::Unsupported,
            _ => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<docent_ingest::ExtractError> for Error {
    fn from(error: docent_ingest::ExtractError) -> Self {
        use docent_ingest::ExtractError as Extract;
        let code = match &error {
            Extract::Refused(_) | Extract::TooSlow { .. } | Extract::BadAnswer => Code::Unsupported,
            // A crash may be the machine's doing; it is tried again before it is given up.
            Extract::Crashed { .. } | Extract::Cancelled | Extract::Worker(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_with_an_index_that_passes_costs_a_job_no_attempt() {
        let full = docent_index::Error::Folder {
            path: "words".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        assert_eq!(Error::from(full).code(), Code::InsufficientStorage);
        let damaged = docent_index::Error::Damaged {
            part: docent_index::Part::Vectors,
            detail: "x".into(),
        };
        assert_eq!(Error::from(damaged).code(), Code::Overloaded);
        let bug = docent_index::Error::Dimensions {
            expected: 2,
            got: 1,
        };
        assert_eq!(Error::from(bug).code(), Code::Internal);
    }
}
