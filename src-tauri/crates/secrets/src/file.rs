//! The fallback: a JSON object of names and secrets that only its owner may read. Blocking.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

pub(crate) struct SecretFile {
    path: PathBuf,
}

impl SecretFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn get(&self, name: &str) -> Result<Option<String>> {
        Ok(self.read()?.remove(name))
    }

    pub(crate) fn set(&self, name: &str, secret: &str) -> Result<()> {
        let mut secrets = self.read()?;
        secrets.insert(name.to_owned(), secret.to_owned());
        self.write(&secrets)
    }

    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let mut secrets = self.read()?;
        if secrets.remove(name).is_some() {
            self.write(&secrets)
        } else {
            Ok(())
        }
    }

    fn read(&self) -> Result<BTreeMap<String, String>> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                make_private(&self.path, 0o600).map_err(|source| self.read_error(source))?;
                serde_json::from_slice(&bytes).map_err(|_| Error::DamagedFile {
                    path: self.path.clone(),
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(source) => Err(self.read_error(source)),
        }
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    fn write(&self, secrets: &BTreeMap<String, String>) -> Result<()> {
        self.replace(secrets).map_err(|source| Error::WriteFile {
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, secrets: &BTreeMap<String, String>) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder)?;
        // A temporary file is private from its creation.
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut temporary, secrets)?;
        temporary.flush()?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        #[cfg(unix)]
        fs::File::open(folder)?.sync_all()?;
        Ok(())
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::ReadFile {
            path: self.path.clone(),
            source,
        }
    }
}

/// Takes away what group and others may do, for instance after a copy that lost the mode.
#[cfg(unix)]
fn make_private(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let others = fs::metadata(path)?.permissions().mode() & 0o077;
    if others == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "others could read the secrets; now they cannot");
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the other systems' version can fail"
)]
fn make_private(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}
