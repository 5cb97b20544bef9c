//! `docent openapi`.

use crate::failure::Failure;
use crate::output;

pub fn run() -> Result<(), Failure> {
    let json = docent_api::openapi_json()
        .map_err(|error| Failure::internal(format!("the document cannot be written: {error}")))?;
    output::piece(&json)
}
