//! What is in a folder: a walk that follows no links and says when it could not see everything.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use docent_domain::Timestamp;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use tokio_util::sync::CancellationToken;
use walkdir::{DirEntry, WalkDir};

use crate::source::FileStamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// Whether names that begin with a dot are looked at.
    pub hidden: bool,
    /// Patterns of what to leave out, in gitignore's syntax, relative to the root.
    pub exclude: Vec<String>,
    /// A tree with more files is not read to its end, and the scan is incomplete.
    pub max_files: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            hidden: false,
            exclude: Vec::new(),
            max_files: 500_000,
        }
    }
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub modified_at: Timestamp,
    /// The same instant to the nanosecond, for comparing.
    pub modified_ns: i64,
    /// Device and inode.
    pub file_id: Option<(u64, u64)>,
}

impl FoundFile {
    #[must_use]
    pub fn stamp(&self) -> FileStamp {
        FileStamp {
            size_bytes: self.size_bytes,
            modified_ns: self.modified_ns,
            file_id: self.file_id,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// In the order of their paths.
    pub files: Vec<FoundFile>,
    /// What could not be seen, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Seen, but nothing that Docent can read: pipes, devices, names that are not Unicode.
    pub skipped: Vec<(PathBuf, String)>,
    /// Whether everything was seen. Only then does the absence of a file mean that it is gone.
    pub complete: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error("the folder {} is not there; is its disk connected?", .0.display())]
    RootMissing(PathBuf),
    #[error("{} is not a folder", .0.display())]
    RootNotAFolder(PathBuf),
    #[error("the folder {} could not be read: {source}", path.display())]
    RootUnreadable { path: PathBuf, source: io::Error },
    #[error("the folder {} was replaced by another while it was being read", .0.display())]
    RootReplaced(PathBuf),
    #[error("the exclude pattern {pattern:?} is not understood: {message}")]
    BadPattern { pattern: String, message: String },
    #[error("the scan was cancelled")]
    Cancelled,
}

/// Lists the regular files below `root`. Blocking.
///
/// Links are never followed (the root itself may be one). Hidden files, version control, installed packages and the
/// temporary files of editors, office suites and browsers are left out.
pub fn scan(
    root: &Path,
    options: &ScanOptions,
    cancel: &CancellationToken,
) -> Result<Scan, ScanError> {
    let identity = root_identity(root)?;
    // An unreadable root would otherwise look like one unreadable thing among others.
    std::fs::read_dir(root).map_err(|source| root_error(root, source))?;
    let exclude = excluded(root, &options.exclude)?;
    let mut scan = Scan {
        complete: true,
        ..Scan::default()
    };
    let walk = WalkDir::new(root)
        .follow_links(false)
        .sort_by_file_name()
        .into_iter();
    let wanted = |entry: &DirEntry| {
        entry.depth() == 0
            || !(is_left_out(entry, options.hidden)
                || exclude
                    .matched(entry.path(), entry.file_type().is_dir())
                    .is_ignore())
    };
    for entry in walk.filter_entry(wanted) {
        if cancel.is_cancelled() {
            return Err(ScanError::Cancelled);
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(root).to_owned();
                scan.unseen(
                    path,
                    error.io_error().map(io::Error::kind),
                    error.to_string(),
                );
                continue;
            }
        };
        let kind = entry.file_type();
        if kind.is_dir() || kind.is_symlink() {
            continue;
        }
        if !kind.is_file() {
            scan.skip(entry.into_path(), "a pipe, a socket or a device");
            continue;
        }
        if entry.path().to_str().is_none() {
            scan.skip(entry.into_path(), "its name is not Unicode");
            continue;
        }
        if scan.files.len() >= options.max_files {
            let message = format!("the folder holds more than {} files", options.max_files);
            scan.unreadable.push((root.to_owned(), message));
            scan.complete = false;
            break;
        }
        match entry.metadata() {
            Ok(metadata) => scan.files.push(found(entry.into_path(), &metadata)),
            Err(error) => {
                let kind = error.io_error().map(io::Error::kind);
                scan.unseen(entry.into_path(), kind, error.to_string());
            }
        }
    }
    // A disk that went away in the middle leaves a half-seen tree that looks like deletions.
    if root_identity(root)? != identity {
        return Err(ScanError::RootReplaced(root.to_owned()));
    }
    Ok(scan)
}

/// Notes kept of what was not read; a folder of a million pipes needs no more.
const MAX_NOTES: usize = 1_000;

impl Scan {
    fn unseen(&mut self, path: PathBuf, kind: Option<io::ErrorKind>, message: String) {
        // Gone since its folder was listed: that is seeing it, not failing to.
        if kind == Some(io::ErrorKind::NotFound) {
            return;
        }
        self.complete = false;
        if self.unreadable.len() < MAX_NOTES {
            self.unreadable.push((path, message));
        }
    }

    fn skip(&mut self, path: PathBuf, why: &str) {
        if self.skipped.len() < MAX_NOTES {
            self.skipped.push((path, why.to_owned()));
        }
    }
}

fn found(path: PathBuf, metadata: &Metadata) -> FoundFile {
    let stamp = FileStamp::from_metadata(metadata);
    FoundFile {
        path,
        size_bytes: stamp.size_bytes,
        modified_at: stamp.modified_at(),
        modified_ns: stamp.modified_ns,
        file_id: stamp.file_id,
    }
}

fn root_identity(root: &Path) -> Result<Option<(u64, u64)>, ScanError> {
    let metadata = std::fs::metadata(root).map_err(|source| root_error(root, source))?;
    if metadata.is_dir() {
        Ok(FileStamp::from_metadata(&metadata).file_id)
    } else {
        Err(ScanError::RootNotAFolder(root.to_owned()))
    }
}

fn root_error(root: &Path, source: io::Error) -> ScanError {
    match source.kind() {
        io::ErrorKind::NotFound => ScanError::RootMissing(root.to_owned()),
        io::ErrorKind::NotADirectory => ScanError::RootNotAFolder(root.to_owned()),
        _ => ScanError::RootUnreadable {
            path: root.to_owned(),
            source,
        },
    }
}

fn excluded(root: &Path, patterns: &[String]) -> Result<Gitignore, ScanError> {
    let bad = |pattern: &str, error: ignore::Error| ScanError::BadPattern {
        pattern: pattern.to_owned(),
        message: error.to_string(),
    };
    let mut builder = GitignoreBuilder::new(root);
    for pattern in patterns {
        builder
            .add_line(None, pattern)
            .map_err(|error| bad(pattern, error))?;
    }
    builder.build().map_err(|error| bad("", error))
}

/// Hidden names, and files that programs put beside the real ones while they work.
fn is_left_out(entry: &DirEntry, hidden: bool) -> bool {
    const ENDINGS: &[&str] = &[
        "~",
        ".part",
        ".partial",
        ".crdownload",
        ".download",
        ".tmp",
        ".temp",
        ".swp",
        ".swo",
        ".swx",
        ".bak~",
        ".lock",
        ".filepart",
        ".opdownload",
    ];
    let name = entry.file_name().to_string_lossy();
    if name.starts_with('.') && !hidden {
        return true;
    }
    if entry.file_type().is_dir() {
        return matches!(
            name.as_ref(),
            ".git"
                | ".hg"
                | ".svn"
                | "node_modules"
                | "__pycache__"
                | "$RECYCLE.BIN"
                | "System Volume Information"
        );
    }
    let lower = name.to_lowercase();
    lower.starts_with("~$")
        || lower.starts_with(".~lock.")
        || (lower.starts_with('#') && lower.ends_with('#'))
        || matches!(lower.as_str(), "thumbs.db" | "desktop.ini" | ".ds_store")
        || ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scan: &Scan, root: &Path) -> Vec<String> {
        scan.files
            .iter()
            .map(|file| {
                file.path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        folder
    }

    #[test]
    fn lists_files_and_leaves_out_what_is_no_document() {
        let folder = tree(&[
            "b.txt",
            "a/č.pdf",
            "a/b/c.md",
            ".git/config",
            ".hidden",
            "~$report.docx",
            "x.crdownload",
            "y.swp",
            "z.txt~",
            "Thumbs.db",
            "build/out.txt",
            "a/keep.log",
        ]);
        let options = ScanOptions {
            exclude: vec![
                "/build/".to_owned(),
                "*.log".to_owned(),
                "!keep.log".to_owned(),
            ],
            ..ScanOptions::default()
        };
        let scan = scan(folder.path(), &options, &CancellationToken::new()).unwrap();
        assert_eq!(
            names(&scan, folder.path()),
            ["a/b/c.md", "a/keep.log", "a/č.pdf", "b.txt"]
        );
        assert!(scan.complete);
        let file = &scan.files[3];
        assert_eq!(file.size_bytes, 5);
        assert_eq!(file.stamp(), FileStamp::of(&file.path).unwrap());
    }

    #[test]
    fn a_missing_root_is_not_an_empty_one() {
        let folder = tree(&["file.txt"]);
        let cancel = CancellationToken::new();
        let options = ScanOptions::default();
        assert!(matches!(
            scan(&folder.path().join("gone"), &options, &cancel),
            Err(ScanError::RootMissing(_))
        ));
        assert!(matches!(
            scan(&folder.path().join("file.txt"), &options, &cancel),
            Err(ScanError::RootNotAFolder(_))
        ));
        cancel.cancel();
        assert!(matches!(
            scan(folder.path(), &options, &cancel),
            Err(ScanError::Cancelled)
        ));
    }

    #[test]
    fn a_tree_that_is_too_large_is_incomplete() {
        let folder = tree(&["1", "2", "3"]);
        let options = ScanOptions {
            max_files: 2,
            ..ScanOptions::default()
        };
        let scan = scan(folder.path(), &options, &CancellationToken::new()).unwrap();
        assert_eq!((scan.files.len(), scan.complete), (2, false));
    }

    #[cfg(unix)]
    #[test]
    fn links_and_special_files_are_not_followed() {
        let outside = tree(&["secret.txt"]);
        let folder = tree(&["real.txt"]);
        let link = |name: &str, to: &Path| {
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        };
        link("out", outside.path());
        link("secret.txt", &outside.path().join("secret.txt"));
        link("loop", folder.path());
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let scan = scan(
            folder.path(),
            &ScanOptions::default(),
            &CancellationToken::new(),
        )
        .unwrap();
        drop(socket);
        assert_eq!(names(&scan, folder.path()), ["real.txt"]);
        assert_eq!(scan.skipped.len(), 1);
        assert!(scan.complete, "what is left out on purpose is not unseen");
    }
}
