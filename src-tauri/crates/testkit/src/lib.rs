//! Fixtures, fakes and fault points for tests.

pub mod scans;

use std::path::PathBuf;

/// Path of the built `docent` binary, which tests start as a worker or as a server.
///
/// # Panics
/// When it has not been built; the message says how to.
#[must_use]
pub fn docent_binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let name = format!("docent{}", std::env::consts::EXE_SUFFIX);
    test.ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "no {name} beside {}: run `cargo build -p docent-cli` first",
                test.display()
            )
        })
}
