//! What is in a folder: a walk that follows no links and says when it could not see everything.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use docent_domain::Timestamp;
use tokio_util::sync::CancellationToken;
use walkdir::{DirEntry, WalkDir};

use crate::patterns::{PatternError, Patterns};
use crate::source::FileStamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// Whether names that begin with a dot are looked at.
    pub hidden: bool,
    /// Patterns in gitignore's syntax, relative to the root. When there are any, only files that
    /// they match, or that lie in a folder that they match, are listed.
    pub include: Vec<String>,
    /// Patterns of what to leave out. Folders that match are not walked into.
    pub exclude: Vec<String>,
    /// A tree with more files is not read to its end, and the scan is incomplete.
    pub max_files: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            hidden: false,
            include: Vec::new(),
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
    /// When it was made, where the file system says.
    pub born_ns: Option<i64>,
}

impl FoundFile {
    #[must_use]
    pub fn stamp(&self) -> FileStamp {
        FileStamp {
            size_bytes: self.size_bytes,
            modified_ns: self.modified_ns,
            file_id: self.file_id,
            born_ns: self.born_ns,
        }
    }
}

/// What a walk saw besides the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of the root itself.
    pub root_inode: Option<u64>,
    /// When the root was made, where the file system says.
    pub root_born_ns: Option<i64>,
    pub files: usize,
    /// What could not be seen, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Seen, but nothing that Docent can read: pipes, devices, names that are not Unicode.
    pub skipped: Vec<(PathBuf, String)>,
    pub left_out: LeftOut,
    /// Whether everything was seen. Only then does the absence of a file mean that it is gone.
    pub complete: bool,
}

/// How much was left out on purpose. What lies in a folder that is left out is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Files and folders that an exclude pattern matches.
    pub excluded: u64,
    /// Files that no include pattern matches.
    pub not_included: u64,
    /// Hidden files and folders, version control, installed packages.
    pub hidden: u64,
    /// Files that programs put beside the real ones while they work.
    pub temporary: u64,
    /// As many as [`Seen::skipped`] would hold without a bound.
    pub special: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// In the order of their paths' bytes.
    pub files: Vec<FoundFile>,
    pub seen: Seen,
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
    #[error(transparent)]
    BadPattern(#[from] PatternError),
    #[error("the scan was cancelled")]
    Cancelled,
}

/// Lists the regular files below `root`. Blocking. See [`walk`].
pub fn scan(
    root: &Path,
    options: &ScanOptions,
    cancel: &CancellationToken,
) -> Result<Scan, ScanError> {
    let mut files = Vec::new();
    let seen = walk(root, options, cancel, |file| {
        files.push(file);
        ControlFlow::Continue(())
    })?;
    Ok(Scan { files, seen })
}

/// Gives the regular files below `root` to `each`, in the order of their paths' bytes, until it
/// breaks the walk off. Blocking; memory does not grow with the tree.
///
/// Links are never followed (the root itself may be one). Hidden files, version control, installed packages and the
/// temporary files of editors, office suites and browsers are left out.
pub fn walk(
    root: &Path,
    options: &ScanOptions,
    cancel: &CancellationToken,
    mut each: impl FnMut(FoundFile) -> ControlFlow<()>,
) -> Result<Seen, ScanError> {
    let identity = root_identity(root)?;
    // An unreadable root would otherwise look like one unreadable thing among others.
    std::fs::read_dir(root).map_err(|source| root_error(root, source))?;
    let patterns = Patterns::new(root, &options.include, &options.exclude)?;
    let (file_id, root_born_ns) = identity;
    let mut seen = Seen {
        root_inode: file_id.map(|(_, inode)| inode),
        root_born_ns,
        complete: true,
        ..Seen::default()
    };
    let left_out = Cell::new(LeftOut::default());
    let wanted = |entry: &DirEntry| {
        if entry.depth() == 0 {
            return true;
        }
        let is_dir = entry.file_type().is_dir();
        let mut counts = left_out.get();
        let count = match aside(entry.file_name(), is_dir, options.hidden) {
            Some(Aside::Hidden) => &mut counts.hidden,
            Some(Aside::Temporary) => &mut counts.temporary,
            None if patterns.excludes(entry.path(), is_dir) => &mut counts.excluded,
            None if entry.file_type().is_file() && !patterns.includes(entry.path()) => {
                &mut counts.not_included
            }
            None => return true,
        };
        *count += 1;
        left_out.set(counts);
        false
    };
    let walk = WalkDir::new(root)
        .follow_links(false)
        .sort_by(by_path)
        .into_iter();
    for entry in walk.filter_entry(wanted) {
        if cancel.is_cancelled() {
            return Err(ScanError::Cancelled);
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(root).to_owned();
                seen.unseen(
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
            seen.skip(entry.into_path(), "a pipe, a socket or a device");
            continue;
        }
        if entry.path().to_str().is_none() {
            seen.skip(entry.into_path(), "its name is not Unicode");
            continue;
        }
        if seen.files >= options.max_files {
            let message = format!("the folder holds more than {} files", options.max_files);
            seen.unreadable.push((root.to_owned(), message));
            seen.complete = false;
            break;
        }
        match entry.metadata() {
            Ok(metadata) => {
                seen.files += 1;
                if each(found(entry.into_path(), &metadata)).is_break() {
                    return Err(ScanError::Cancelled);
                }
            }
            Err(error) => {
                let kind = error.io_error().map(io::Error::kind);
                seen.unseen(entry.into_path(), kind, error.to_string());
            }
        }
    }
    // A disk that went away in the middle leaves a half-seen tree that looks like deletions.
    if root_identity(root)? != identity {
        return Err(ScanError::RootReplaced(root.to_owned()));
    }
    seen.left_out = LeftOut {
        special: seen.left_out.special,
        ..left_out.get()
    };
    Ok(seen)
}

/// What lies in a folder comes where the folder's name with a separator would.
fn by_path(a: &DirEntry, b: &DirEntry) -> Ordering {
    let key = |entry: &DirEntry| {
        let mut name = entry.file_name().as_encoded_bytes().to_vec();
        if entry.file_type().is_dir() {
            name.push(std::path::MAIN_SEPARATOR as u8);
        }
        name
    };
    key(a).cmp(&key(b))
}

/// Notes kept of what was not read; a folder of a million pipes needs no more.
const MAX_NOTES: usize = 1_000;

impl Seen {
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
        self.left_out.special += 1;
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
        born_ns: stamp.born_ns,
    }
}

/// Device and inode, and when it was made.
type RootIdentity = (Option<(u64, u64)>, Option<i64>);

fn root_identity(root: &Path) -> Result<RootIdentity, ScanError> {
    let metadata = std::fs::metadata(root).map_err(|source| root_error(root, source))?;
    if metadata.is_dir() {
        let stamp = FileStamp::from_metadata(&metadata);
        Ok((stamp.file_id, stamp.born_ns))
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

/// Whether a walk over `root` by its default options comes past this file below it, whatever the
/// patterns say.
#[must_use]
pub fn passes_over(root: &Path, file: &Path) -> bool {
    let below = file.strip_prefix(root).unwrap_or(file);
    let mut names = below.iter().peekable();
    while let Some(name) = names.next() {
        if aside(name, names.peek().is_some(), false).is_some() {
            return true;
        }
    }
    false
}

/// Why a name is left out whatever the patterns say.
enum Aside {
    Hidden,
    Temporary,
}

fn aside(name: &OsStr, is_dir: bool, hidden: bool) -> Option<Aside> {
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
    let name = name.to_string_lossy();
    if name.starts_with('.') && !hidden {
        return Some(Aside::Hidden);
    }
    if is_dir {
        let is_known = matches!(
            name.as_ref(),
            ".git"
                | ".hg"
                | ".svn"
                | "node_modules"
                | "__pycache__"
                | "$RECYCLE.BIN"
                | "System Volume Information"
        );
        return is_known.then_some(Aside::Hidden);
    }
    let lower = name.to_lowercase();
    let is_temporary = lower.starts_with("~$")
        || lower.starts_with(".~lock.")
        || (lower.starts_with('#') && lower.ends_with('#'))
        || matches!(lower.as_str(), "thumbs.db" | "desktop.ini" | ".ds_store")
        || ENDINGS.iter().any(|ending| lower.ends_with(ending));
    is_temporary.then_some(Aside::Temporary)
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
        let left_out = LeftOut {
            excluded: 1,
            hidden: 2,
            temporary: 5,
            ..LeftOut::default()
        };
        assert_eq!(scan.seen.left_out, left_out);
        assert!(scan.seen.complete);
        let file = &scan.files[3];
        assert_eq!(file.size_bytes, 5);
        assert_eq!(file.stamp(), FileStamp::of(&file.path).unwrap());
    }

    #[test]
    fn what_a_walk_passes_over_is_known_by_its_path() {
        let over = |file: &str| passes_over(Path::new("/m/.x"), Path::new(file));
        assert!(over("/m/.x/.git/a") && over("/m/.x/a/~$b.docx") && over("/m/.x/node_modules/a"));
        assert!(!over("/m/.x/a/b.txt") && !over("/m/.x/node_modules"));
    }

    #[test]
    fn files_come_in_the_order_of_their_paths_bytes() {
        let folder = tree(&["a/b", "a.txt", "a-b/c", "a0", "č/d", "a/č", "z", "a/b.d/e"]);
        let options = ScanOptions::default();
        let scan = scan(folder.path(), &options, &CancellationToken::new()).unwrap();
        let found = names(&scan, folder.path());
        let mut sorted = found.clone();
        sorted.sort();
        assert_eq!(found, sorted);
        assert_eq!(found.len(), 8);
    }

    #[test]
    fn only_what_is_included_and_not_excluded_is_listed() {
        let folder = tree(&[
            "a.pdf",
            "a.txt",
            "Ugovori/2025/b.doc",
            "Ugovori/stari/c.pdf",
            "drugo/d.pdf",
            "drugo/e.log",
        ]);
        let options = ScanOptions {
            include: vec!["*.pdf".to_owned(), "/Ugovori/".to_owned()],
            exclude: vec!["stari/".to_owned()],
            ..ScanOptions::default()
        };
        let scan = scan(folder.path(), &options, &CancellationToken::new()).unwrap();
        assert_eq!(
            names(&scan, folder.path()),
            ["Ugovori/2025/b.doc", "a.pdf", "drugo/d.pdf"]
        );
        let left_out = LeftOut {
            excluded: 1,
            not_included: 2,
            ..LeftOut::default()
        };
        assert_eq!(scan.seen.left_out, left_out);
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
        assert_eq!((scan.files.len(), scan.seen.complete), (2, false));
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
        assert_eq!(scan.seen.skipped.len(), 1);
        assert_eq!(scan.seen.left_out.special, 1);
        assert!(
            scan.seen.complete,
            "what is left out on purpose is not unseen"
        );
    }
}
