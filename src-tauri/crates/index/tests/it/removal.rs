//! What is removed leaves the files too.

use std::collections::HashMap;
use std::path::Path;

use docent_domain::Language::English;
use docent_index::{Generation, VectorSpec};
use roaring::RoaringBitmap;

use crate::support::{Bench, Random, dense, keys, word};

fn random_vectors(count: usize, dimensions: usize) -> Vec<Vec<f32>> {
    let mut random = Random(11);
    let mut vectors: Vec<Vec<f32>> = (0..count)
        .map(|_| (0..dimensions).map(|_| random.normal()).collect())
        .collect();
    for vector in &mut vectors {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vectors
}

/// The keys of whose vectors some eight numbers are in a file below `folder`.
fn found(folder: &Path, vectors: &[Vec<f32>]) -> RoaringBitmap {
    let mut pieces = HashMap::new();
    for (key, vector) in (0..).zip(vectors) {
        for piece in vector.chunks_exact(8) {
            let bytes: Vec<u8> = piece.iter().flat_map(|x| x.to_le_bytes()).collect();
            pieces.insert(bytes, key);
        }
    }
    let mut found = RoaringBitmap::new();
    for file in walk(folder) {
        for window in std::fs::read(file).unwrap().windows(32) {
            found.extend(pieces.get(window));
        }
    }
    found
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Vectors of 384 numbers share pages, those of 1024 have pages of their own.
#[test]
fn vectors_of_removed_chunks_can_be_wiped_from_the_disk() {
    for dimensions in [384, 1024] {
        let bench = Bench::new(dimensions);
        let index = bench.open();
        let vectors = random_vectors(400, dimensions);
        let entries: Vec<_> = (0..)
            .zip(&vectors)
            .map(|(key, vector)| dense(key, vector))
            .collect();
        for batch in entries.chunks(50) {
            index.add_vectors(batch).unwrap();
        }
        let all: RoaringBitmap = (0..400).collect();
        assert_eq!(found(bench.dir.path(), &vectors), all, "control");
        let mut random = Random(3);
        let removed: RoaringBitmap = (0..400)
            .filter(|_| random.chance(0.2))
            .chain([399])
            .collect();
        for key in &removed {
            index.remove(&RoaringBitmap::from_iter([key])).unwrap();
        }
        assert_eq!(index.vector_keys().unwrap(), &all - &removed);
        assert!(index.holds_removed());
        let left = found(bench.dir.path(), &vectors) & &removed;
        assert!(!left.is_empty(), "control: removing alone leaves them");

        assert!(index.forget_removed().unwrap());
        assert!(!index.holds_removed());
        assert_eq!(
            found(bench.dir.path(), &vectors),
            &all - &removed,
            "{dimensions}"
        );
        let kept = (&all - &removed).min().unwrap();
        let hits = index
            .search_dense(&vectors[kept as usize], 1, None)
            .unwrap();
        assert_eq!(keys(&hits), [kept]);
        index.add_vectors(&entries[399..]).unwrap();
        drop(index);
        let (index, report) = bench.open_reported();
        assert!(!report.vectors.is_emptied() && !index.holds_removed());
        let expected = (&all - &removed) | RoaringBitmap::from_iter([399]);
        assert_eq!(
            index.vector_keys().unwrap(),
            expected,
            "it goes on with the copy"
        );
    }
}

#[test]
fn a_removal_that_was_not_wiped_is_remembered() {
    let bench = Bench::new(8);
    let index = bench.open();
    index
        .add_words(&[word(1, "", "gardening", English)])
        .unwrap();
    assert!(!index.holds_removed());
    // Not there as far as anybody knows; a process that was killed may have left it in the files.
    index.remove(&RoaringBitmap::from_iter([7])).unwrap();
    assert!(index.holds_removed());
    drop(index);
    let aside = bench.dir.path().join("quarantine-vectors-1");
    std::fs::create_dir(&aside).unwrap();
    let copy = bench.dir.path().join("vectors/copy.mdb");
    std::fs::write(&copy, "of a process that was killed").unwrap();
    let index = bench.open();
    assert!(index.holds_removed() && !copy.exists());
    assert!(index.forget_removed().unwrap());
    assert!(!aside.exists(), "what was moved aside goes as well");
    drop(index);
    assert!(!bench.open().holds_removed());
}

#[test]
fn words_alone_in_their_segment_leave_no_files() {
    let bench = Bench::new(8);
    let index = bench.open();
    let files = || walk(&bench.dir.path().join("words")).len();
    index
        .add_words(&[word(1, "", "gardening", English)])
        .unwrap();
    let before = files();
    index.add_words(&[word(2, "", "secret", English)]).unwrap();
    index.remove(&RoaringBitmap::from_iter([2])).unwrap();
    assert!(index.forget_removed().unwrap());
    assert_eq!(files(), before);
}

#[test]
fn removed_vectors_leave_trees_too() {
    let mut bench = Bench::new(64);
    bench.tuning.trees_from = 200;
    let index = bench.open();
    let vectors = random_vectors(400, 64);
    let entries: Vec<_> = (0..)
        .zip(&vectors)
        .map(|(key, vector)| dense(key, vector))
        .collect();
    index.add_vectors(&entries).unwrap();
    assert!(index.maybe_build_trees().unwrap().built);
    let removed: RoaringBitmap = (0..40).collect();
    index.remove(&removed).unwrap();
    assert!(index.forget_removed().unwrap());
    assert!(found(bench.dir.path(), &vectors).is_disjoint(&removed));
    let hits = index.search_dense(&vectors[99], 1, None).unwrap();
    assert_eq!(keys(&hits), [99]);
    index.maybe_build_trees().unwrap();
    let hits = index.search_dense(&vectors[99], 1, None).unwrap();
    assert_eq!(keys(&hits), [99]);
}

/// Also where nobody has the other vectors open when they are wiped.
#[test]
fn removed_vectors_leave_every_generation() {
    let bench = Bench::new(64);
    let index = bench.open();
    let vectors = random_vectors(200, 64);
    let entries: Vec<_> = (0..)
        .zip(&vectors)
        .map(|(key, vector)| dense(key, vector))
        .collect();
    index.add_vectors(&entries[..100]).unwrap();
    let spec = VectorSpec {
        fingerprint: "another".into(),
        dimensions: 64,
    };
    let (beside, _) = index.beside(Generation(2), spec).unwrap();
    beside.add_vectors(&entries[100..]).unwrap();
    let (first, second) = (
        RoaringBitmap::from_iter([7]),
        RoaringBitmap::from_iter([107]),
    );
    index.remove(&first).unwrap();
    beside.remove_vectors(&second).unwrap();
    drop(beside);
    let both = first | second;
    assert_eq!(found(bench.dir.path(), &vectors) & &both, both, "control");
    assert!(index.forget_removed().unwrap());
    assert!(found(bench.dir.path(), &vectors).is_disjoint(&both));
    assert_eq!(found(bench.dir.path(), &vectors).len(), 198);
}

/// Where nobody has them open, so that nothing but the disk says what they are.
#[test]
fn damaged_vectors_that_hold_what_was_removed_are_deleted() {
    let bench = Bench::new(64);
    let index = bench.open();
    let vectors = random_vectors(200, 64);
    let entries: Vec<_> = (0..)
        .zip(&vectors)
        .map(|(key, vector)| dense(key, vector))
        .collect();
    index.add_vectors(&entries[..100]).unwrap();
    let spec = VectorSpec {
        fingerprint: "another".into(),
        dimensions: 64,
    };
    let (beside, _) = index.beside(Generation(2), spec).unwrap();
    beside.add_vectors(&entries[100..]).unwrap();
    let removed = RoaringBitmap::from_iter([107]);
    beside.remove_vectors(&removed).unwrap();
    drop(beside);
    let data = bench.dir.path().join("vectors-2/data.mdb");
    let mut bytes = std::fs::read(&data).unwrap();
    // The flags of the first page that is no meta page.
    bytes[2 * 4096 + 10..][..2].fill(0xff);
    std::fs::write(&data, bytes).unwrap();
    assert_eq!(index.spec_of(Generation(2)).unwrap(), None, "control");
    assert_eq!(
        found(bench.dir.path(), &vectors) & &removed,
        removed,
        "control"
    );
    assert!(index.forget_removed().unwrap());
    assert!(found(bench.dir.path(), &vectors).is_disjoint(&removed));
    assert_eq!(index.generations().unwrap(), [Generation::FIRST]);
    assert_eq!(index.vector_keys().unwrap().len(), 100);
}
