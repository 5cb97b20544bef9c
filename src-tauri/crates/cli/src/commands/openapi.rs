//! `docent openapi`.

use crate::failure::Failure;
use crate::output::Output;

pub fn run(output: &Output) -> Result<(), Failure> {
    let json = docent_api::openapi_json()
        .map_err(|error| Failure::internal(format!("the document cannot be written: {error}")))?;
    output.piece(&json)
}
