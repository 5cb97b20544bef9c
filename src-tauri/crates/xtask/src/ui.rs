//! The UI's packages and its build, each redone only when its inputs changed.

use anyhow::Result;

use crate::repo::{Repo, fingerprint, run};

/// What `npm run build` reads.
const SOURCES: &[&str] = &[
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
];

/// Installs the packages that the lock file names.
pub fn install(repo: &Repo) -> Result<()> {
    let inputs = fingerprint(&repo.ui(), &["package.json", "package-lock.json"])?;
    // npm writes this file last, so an interrupted installation is done again.
    let complete = repo.ui().join("node_modules/.package-lock.json").is_file();
    if complete && repo.is_done("npm", &inputs) {
        return Ok(());
    }
    run(repo.npm().args(["ci", "--no-audit", "--no-fund"]))?;
    repo.mark_done("npm", &inputs)
}

/// Type-checks and builds `ui/dist`, which the desktop program embeds and the server serves.
pub fn build(repo: &Repo) -> Result<()> {
    let inputs = fingerprint(&repo.ui(), SOURCES)?;
    if repo.ui().join("dist/index.html").is_file() && repo.is_done("ui", &inputs) {
        return Ok(());
    }
    run(repo.npm().args(["run", "--silent", "build"]))?;
    repo.mark_done("ui", &inputs)
}

pub fn test(repo: &Repo) -> Result<()> {
    run(repo.npm().args(["test", "--silent"]))
}
