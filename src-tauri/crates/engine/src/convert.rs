//! What the leaf crates report, in the engine's terms.

use crate::error::{Code, Error};

impl From<docent_store::Error> for Error {
    fn from(error: docent_store::Error) -> Self {
        use docent_store::Error as Store;
        let code = match &error {
            Store::NotFound(_) => Code::NotFound,
            Store::NameTaken(_)
            | Store::PathTaken(_)
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
        let code = match &error {
            docent_index::Error::DiskFull(_) => Code::InsufficientStorage,
            docent_index::Error::Folder { source, .. }
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                Code::InsufficientStorage
            }
            _ => Code::Internal,
        };
        Self::new(code, error.to_string())
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
