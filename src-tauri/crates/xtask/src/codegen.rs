//! `ui/openapi.json` from the router, `ui/src/api/schema.ts` from that. Both are committed, so that
//! a change of the API shows in a diff and the UI builds without the Rust side.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::repo::{Repo, output, run};
use crate::{build, ui};

const DOCUMENT: &str = "openapi.json";
const TYPES: &str = "src/api/schema.ts";

/// `cargo xtask codegen`.
pub fn codegen(repo: &Repo, check: bool) -> Result<()> {
    ui::install(repo)?;
    build::cli(repo)?;
    if check {
        self::check(repo)
    } else {
        write(repo)
    }
}

fn write(repo: &Repo) -> Result<()> {
    fs::write(repo.ui().join(DOCUMENT), document(repo)?)?;
    generate(repo, &repo.ui().join(DOCUMENT), &repo.ui().join(TYPES))
}

/// Fails when the committed files aren't what the built program would write.
pub fn check(repo: &Repo) -> Result<()> {
    let scratch = repo.root.join("target/xtask/codegen");
    fs::create_dir_all(&scratch)?;
    let (document_now, types_now) = (scratch.join(DOCUMENT), scratch.join("schema.ts"));
    fs::write(&document_now, document(repo)?)?;
    generate(repo, &document_now, &types_now)?;
    for (committed, now) in [(DOCUMENT, &document_now), (TYPES, &types_now)] {
        let path = repo.ui().join(committed);
        let there = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        if there != fs::read(now)? {
            bail!("ui/{committed} no longer follows from the API; run `cargo xtask codegen`");
        }
    }
    Ok(())
}

fn document(repo: &Repo) -> Result<String> {
    output(repo.command(repo.binary("docent", false)).arg("openapi"))
}

fn generate(repo: &Repo, document: &Path, types: &Path) -> Result<()> {
    run(repo
        .npm()
        .args(["run", "--silent", "codegen", "--"])
        .arg(document)
        .arg("-o")
        .arg(types))
}
