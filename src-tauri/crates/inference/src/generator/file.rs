//! The look at a model's files before llama.cpp gets them.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::models::{Error as FileError, gguf};

/// More parts than any model is split into.
const MAX_PARTS: u32 = 999;

/// Checks the headers of a model file, or of all files of a split model when `path` is the first,
/// and returns the first one's summary. Damage inside the weights shows only in the checksums, which
/// are the model store's business. Blocking.
pub(crate) fn check(path: &Path) -> Result<gguf::Summary, Error> {
    let summary = check_file(path)?;
    for part in further_parts(path) {
        check_file(&part)?;
    }
    Ok(summary)
}

fn check_file(path: &Path) -> Result<gguf::Summary, Error> {
    gguf::check(path).map_err(|error| match error {
        FileError::Gguf { path, problem } => Error::ModelDamaged {
            path,
            reason: problem,
        },
        other => Error::Load {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    })
}

/// `NAME-00001-of-00003.gguf` has two further parts.
fn further_parts(path: &Path) -> Vec<PathBuf> {
    let parts = || {
        let stem = path.file_stem()?.to_str()?;
        let (rest, total) = stem.rsplit_once("-of-")?;
        let (name, first) = rest.rsplit_once('-')?;
        let total: u32 = total.parse().ok().filter(|total| *total <= MAX_PARTS)?;
        (first == "00001").then(|| {
            (2..=total)
                .map(|part| path.with_file_name(format!("{name}-{part:05}-of-{total:05}.gguf")))
                .collect()
        })
    };
    parts().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_split_model_are_found() {
        let parts = further_parts(Path::new("/m/big-00001-of-00003.gguf"));
        assert_eq!(
            parts,
            [
                PathBuf::from("/m/big-00002-of-00003.gguf"),
                PathBuf::from("/m/big-00003-of-00003.gguf")
            ]
        );
        for single in ["/m/a.gguf", "/m/a-00002-of-00003.gguf", "/m/-of-.gguf"] {
            assert!(further_parts(Path::new(single)).is_empty(), "{single}");
        }
    }
}
