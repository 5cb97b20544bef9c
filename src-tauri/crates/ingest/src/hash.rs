//! Content hashes.

use std::fs::File;
use std::io;
use std::path::Path;

use docent_domain::ContentHash;

use crate::refusal::Refusal;
use crate::source::{self, FileStamp};

/// The BLAKE3 hash of a file's bytes and how many they are. Blocking; memory is bounded.
pub fn hash_file(path: &Path) -> io::Result<(ContentHash, u64)> {
    hash(&File::open(path)?)
}

/// Hashes a regular file and says which version of it that was. A file that is written meanwhile
/// is refused as [`Refusal::Changed`], a link or a pipe as [`Refusal::NotAFile`].
pub fn hash_stable(path: &Path) -> Result<(ContentHash, FileStamp), Refusal> {
    let (file, metadata) = source::open(path)?;
    let before = FileStamp::from_metadata(&metadata);
    let (content, bytes) = hash(&file)?;
    let after = FileStamp::from_metadata(&file.metadata()?);
    if before == after && bytes == before.size_bytes {
        Ok((content, before))
    } else {
        Err(Refusal::Changed)
    }
}

fn hash(file: &File) -> io::Result<(ContentHash, u64)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    let bytes = hasher.count();
    Ok((ContentHash(hasher.finalize().to_hex().to_string()), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_content_not_names() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::write(&one, b"isti sadrzaj").unwrap();
        std::fs::write(&two, b"isti sadrzaj").unwrap();
        let (hash, bytes) = hash_file(&one).unwrap();
        assert_eq!(bytes, 12);
        assert_eq!(hash.0.len(), 64);
        let (stable, stamp) = hash_stable(&two).unwrap();
        assert_eq!(hash, stable);
        assert_eq!(stamp, FileStamp::of(&two).unwrap());
        assert_eq!(
            hash_stable(&folder.path().join("none")),
            Err(Refusal::Vanished)
        );
    }
}
