//! Which files of a folder are wanted: patterns in gitignore's syntax, given by the user.
//!
//! A pattern that is understood but can match nothing (a comment, an empty line) is refused too, since
//! whoever wrote it expected something of it.

use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// More patterns than this are no longer written by hand.
const MAX_PATTERNS: usize = 1_000;
const MAX_PATTERN_BYTES: usize = 1_000;

/// A pattern that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} cannot be used: {message}")]
pub struct PatternError {
    pub pattern: String,
    pub message: String,
}

/// The patterns of a folder, ready to be asked.
#[derive(Clone, Debug)]
pub struct Patterns {
    root: PathBuf,
    /// `None` when everything is included.
    include: Option<Gitignore>,
    exclude: Gitignore,
}

impl Patterns {
    /// Patterns are relative to `root`, which need not exist.
    pub fn new(root: &Path, include: &[String], exclude: &[String]) -> Result<Self, PatternError> {
        let included = matcher(root, include)?;
        if let Some(first) = include.first()
            && included.num_ignores() == 0
        {
            return Err(PatternError {
                pattern: first.clone(),
                message: "it takes something back, and no other pattern includes anything"
                    .to_owned(),
            });
        }
        Ok(Self {
            root: root.to_owned(),
            include: (!include.is_empty()).then_some(included),
            exclude: matcher(root, exclude)?,
        })
    }

    /// Whether an exclude pattern matches this file or folder, which lies in none that is excluded.
    pub(crate) fn excludes(&self, path: &Path, is_dir: bool) -> bool {
        self.exclude.matched(path, is_dir).is_ignore()
    }

    pub(crate) fn includes(&self, file: &Path) -> bool {
        self.include.as_ref().is_none_or(|include| {
            matches!(
                include.matched_path_or_any_parents(file, false),
                Match::Ignore(_)
            )
        })
    }

    /// Whether a file below the root, by its absolute path, is not wanted.
    #[must_use]
    pub fn leave_out(&self, file: &Path) -> bool {
        let root = &*self.root;
        let in_excluded = file
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != root && folder.starts_with(root))
            .any(|folder| self.excludes(folder, true));
        in_excluded || self.excludes(file, false) || !self.includes(file)
    }
}

fn matcher(root: &Path, patterns: &[String]) -> Result<Gitignore, PatternError> {
    let bad = |pattern: &str, message: &str| PatternError {
        pattern: pattern.to_owned(),
        message: message.to_owned(),
    };
    if let Some(one_too_many) = patterns.get(MAX_PATTERNS) {
        let message = format!("there are more than {MAX_PATTERNS}");
        return Err(bad(one_too_many, &message));
    }
    let mut builder = GitignoreBuilder::new(root);
    for pattern in patterns {
        if pattern.len() > MAX_PATTERN_BYTES {
            let start: String = pattern.chars().take(40).collect();
            return Err(bad(&format!("{start}…"), "it is too long"));
        }
        if pattern.contains(['\n', '\r', '\0']) {
            return Err(bad(pattern, "it has more than one line"));
        }
        if pattern.trim().is_empty() {
            return Err(bad(pattern, "it is empty"));
        }
        if pattern.starts_with('#') {
            return Err(bad(
                pattern,
                "it is a comment; for a name that begins with # write \\#",
            ));
        }
        if matches!(pattern.trim(), "!" | "/" | "!/") {
            return Err(bad(pattern, "it names nothing"));
        }
        builder
            .add_line(None, pattern)
            .map_err(|error| bad(pattern, &message_of(&error)))?;
    }
    builder
        .build()
        .map_err(|error| bad("", &message_of(&error)))
}

/// Without the pattern, which the caller says.
fn message_of(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let root = Path::new("/m");
        for bad in ["[z-a]", "{a", "", "  ", "# note", "a\nb", "!", "/"] {
            for (include, exclude) in [
                (list(&["*.pdf", bad]), list(&[])),
                (list(&[]), list(&[bad])),
            ] {
                let error = Patterns::new(root, &include, &exclude).unwrap_err();
                assert_eq!(error.pattern, bad);
                assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
            }
        }
        let error = Patterns::new(root, &list(&["!*.pdf"]), &[]).unwrap_err();
        assert_eq!(error.pattern, "!*.pdf");
        Patterns::new(root, &[], &list(&["!*.pdf", "*.log"])).unwrap();
        let long = "a".repeat(MAX_PATTERN_BYTES + 1);
        assert!(Patterns::new(root, &[], &[long]).is_err());
        let many = vec!["a".to_owned(); MAX_PATTERNS + 1];
        assert!(Patterns::new(root, &[], &many).is_err());
    }

    #[test]
    fn a_file_is_left_out_with_the_folder_it_lies_in() {
        let patterns = Patterns::new(
            Path::new("/m"),
            &list(&["*.txt", "/All/", "!*.tmp.txt"]),
            &list(&["/out/", "*.log", "!keep.log", "/out/back.txt"]),
        )
        .unwrap();
        let out = |path: &str| patterns.leave_out(Path::new(path));
        for wanted in [
            "/m/a.txt",
            "/m/b/a.txt",
            "/m/All/x/y.pdf",
            "/m/in/out/a.txt",
        ] {
            assert!(!out(wanted), "{wanted}");
        }
        for left_out in [
            "/m/a.pdf",
            "/m/b/All/y.pdf",
            "/m/out/a.txt",
            "/m/out/deep/a.txt",
            "/m/All/x.log",
            "/m/a.tmp.txt",
        ] {
            assert!(out(left_out), "{left_out}");
        }
        assert!(!out("/m/All/keep.log"));
    }
}
