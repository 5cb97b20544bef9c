//! Where things are, how programs are run, and what was already done (stamps).

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

/// This clone of the repository.
pub struct Repo {
    pub root: PathBuf,
    /// What is worth keeping between clones: models, corpora, wheels.
    pub cache: PathBuf,
}

impl Repo {
    pub fn open() -> Result<Self> {
        // src-tauri/crates/xtask, three below the root.
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(3)
            .context("xtask lies three folders below the root")?;
        let root = root
            .canonicalize()
            .with_context(|| format!("{} is gone", root.display()))?;
        let cache = match env::var_os("XDG_CACHE_HOME") {
            Some(cache) => PathBuf::from(cache),
            None => env::home_dir()
                .context("there is no home folder")?
                .join(".cache"),
        };
        Ok(Self {
            root,
            cache: cache.join("docent"),
        })
    }

    pub fn ui(&self) -> PathBuf {
        self.root.join("ui")
    }

    /// Where cargo builds, as it would decide itself.
    pub fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |target| self.root.join(target))
    }

    /// A built program of this workspace.
    pub fn binary(&self, name: &str, release: bool) -> PathBuf {
        let profile = if release { "release" } else { "debug" };
        self.target()
            .join(profile)
            .join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Shared by clones; what is started from here is told of it. An installed Docent keeps its
    /// models in its data folder.
    pub fn models_dir(&self) -> PathBuf {
        env::var_os("DOCENT_MODELS_DIR").map_or_else(|| self.cache.join("models"), PathBuf::from)
    }

    pub fn corpus_dir(&self) -> PathBuf {
        env::var_os("DOCENT_CORPUS_DIR").map_or_else(|| self.cache.join("corpus"), PathBuf::from)
    }

    /// A program run in the root, with what every child should see.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("DOCENT_MODELS_DIR", self.models_dir())
            .env("DOCENT_CORPUS_DIR", self.corpus_dir())
            // Programs may be built far from the clone, so they can't find it from where they are.
            .env("DOCENT_UI_DIR", self.ui().join("dist"))
            // llama.cpp is compiled through ccache when that is installed. Two clones build the
            // same sources into different folders, which must not count as different.
            .env("CCACHE_NOHASHDIR", "true")
            .env("CCACHE_BASEDIR", self.target());
        command
    }

    pub fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    pub fn npm(&self) -> Command {
        let mut command = self.command(if cfg!(windows) { "npm.cmd" } else { "npm" });
        command.current_dir(self.ui());
        command
    }

    /// Whether `step` was done with exactly these inputs.
    pub fn is_done(&self, step: &str, inputs: &str) -> bool {
        fs::read_to_string(self.stamp(step)).is_ok_and(|stamped| stamped == inputs)
    }

    pub fn mark_done(&self, step: &str, inputs: &str) -> Result<()> {
        let stamp = self.stamp(step);
        let folder = stamp.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)?;
        fs::write(&stamp, inputs).with_context(|| format!("writing {}", stamp.display()))
    }

    /// Stamps speak of this clone, so they stay in it whatever CARGO_TARGET_DIR says.
    fn stamp(&self, step: &str) -> PathBuf {
        self.root.join("target/xtask").join(step)
    }
}

/// Prints a command, runs it with its output shown, and fails if it does.
pub fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| missing(command))?;
    if !status.success() {
        bail!("{} failed ({status})", written(command));
    }
    Ok(())
}

/// Runs a command and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| missing(command))?;
    if !output.status.success() {
        bail!("{} failed ({})", written(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", written(command)))
}

/// Whether a command runs and succeeds; its output is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

pub fn announce(command: &Command) {
    println!("$ {}", written(command));
    let _ = std::io::stdout().flush();
}

fn written(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![
        program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy(),
    ];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

fn missing(command: &Command) -> String {
    format!(
        "{} could not be started",
        command.get_program().to_string_lossy()
    )
}

/// A fingerprint of files and folders: their paths and contents. What doesn't exist counts too.
pub fn fingerprint(root: &Path, paths: &[&str]) -> Result<String> {
    let mut hash = Sha256::new();
    for path in paths {
        for entry in WalkDir::new(root.join(path)).sort_by_file_name() {
            let Ok(entry) = entry else { continue };
            if entry.file_type().is_file() {
                let path = entry.path();
                hash.update(
                    path.strip_prefix(root)
                        .unwrap_or(path)
                        .to_string_lossy()
                        .as_bytes(),
                );
                hash.update([0]);
                let bytes =
                    fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                hash.update((bytes.len() as u64).to_le_bytes());
                hash.update(&bytes);
            }
        }
    }
    Ok(format!("{:x}", hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_changes_with_content_name_and_presence() {
        let folder = tempfile::tempdir().unwrap();
        let take = || fingerprint(folder.path(), &["src", "package.json"]).unwrap();
        let empty = take();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/a"), "1").unwrap();
        let first = take();
        fs::write(folder.path().join("src/a"), "2").unwrap();
        let changed = take();
        fs::rename(folder.path().join("src/a"), folder.path().join("src/b")).unwrap();
        let renamed = take();
        let all = [&empty, &first, &changed, &renamed];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "step {i}");
        }
        assert_eq!(renamed, take());
    }
}
