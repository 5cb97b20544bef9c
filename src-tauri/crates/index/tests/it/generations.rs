//! Several sets of vectors beside each other.

use docent_domain::Language;
use docent_index::{
    Error, Generation, PartState, VectorEntry, VectorSpec, WorkspaceIndex, estimated_bytes,
};
use roaring::RoaringBitmap;

use crate::support::{Bench, Random, dense, keys, spec, word};

const SECOND: Generation = Generation(2);

fn another(dimensions: usize) -> VectorSpec {
    VectorSpec {
        fingerprint: "another".into(),
        dimensions,
    }
}

fn first_key(keys: &[u32]) -> RoaringBitmap {
    keys.iter().copied().collect()
}

#[test]
fn generations_share_their_words_and_nothing_else() {
    let bench = Bench::new(2);
    let old = bench.open();
    old.add_words(&[word(1, "", "more", Language::Croatian)])
        .unwrap();
    old.add_vectors(&[dense(1, &[1.0, 0.0])]).unwrap();
    let (new, state) = old.beside(SECOND, another(2)).unwrap();
    assert_eq!((new.generation(), state), (SECOND, PartState::Created));
    assert!(new.vector_keys().unwrap().is_empty());
    new.add_vectors(&[dense(1, &[0.0, 1.0]), dense(2, &[1.0, 0.0])])
        .unwrap();

    let nearest = |index: &WorkspaceIndex| keys(&index.search_dense(&[1.0, 0.0], 1, None).unwrap());
    assert_eq!((nearest(&old), nearest(&new)), (vec![1], vec![2]));
    assert_eq!(new.search_words("more", 1, None).unwrap().len(), 1);
    assert_eq!(old.generations().unwrap(), [Generation::FIRST, SECOND]);

    new.remove(&first_key(&[1])).unwrap();
    assert_eq!(old.search_words("more", 1, None).unwrap(), []);
    assert_eq!(nearest(&old), [1], "its vectors are its own");
    old.remove_vectors(&first_key(&[1])).unwrap();
    assert_eq!(nearest(&old), [0; 0]);
    assert_eq!(nearest(&new), [2]);
}

#[test]
fn a_generation_that_is_open_is_not_opened_twice_nor_as_another() {
    let bench = Bench::new(2);
    let old = bench.open();
    let (new, _) = old.beside(SECOND, another(2)).unwrap();
    let (again, state) = old.beside(SECOND, another(2)).unwrap();
    assert_eq!(state, PartState::Opened);
    new.add_vectors(&[dense(5, &[1.0, 0.0])]).unwrap();
    assert_eq!(again.vector_keys().unwrap().len(), 1, "it is the same one");
    assert_eq!(old.spec_of(SECOND).unwrap(), Some(another(2)));
    for other in [spec(2), another(3)] {
        let refused = old.beside(SECOND, other).map(|_| ());
        assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    }
    let refused = old.delete_generation(SECOND);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    assert_eq!(again.vector_keys().unwrap().len(), 1, "nothing was dropped");
}

#[test]
fn a_generation_outlives_its_closing_and_not_its_deletion() {
    let bench = Bench::new(2);
    let old = bench.open();
    let add = |index: &WorkspaceIndex| index.add_vectors(&[dense(5, &[1.0, 0.0])]).unwrap();
    let (second, _) = old.beside(SECOND, another(3)).unwrap();
    add(&old.beside(Generation(3), another(2)).unwrap().0);
    assert_eq!(old.spec_of(Generation(3)).unwrap(), Some(another(2)));
    let (third, state) = old.beside(Generation(3), another(2)).unwrap();
    assert_eq!(state, PartState::Opened);
    assert_eq!(third.vector_keys().unwrap().len(), 1);
    assert!(WorkspaceIndex::bytes_of(bench.dir.path(), Generation(3)) > 0);
    drop(third);

    old.delete_generation(Generation(3)).unwrap();
    old.delete_generation(Generation(3)).unwrap();
    assert_eq!(old.generations().unwrap(), [Generation::FIRST, SECOND]);
    assert!(second.vector_keys().unwrap().is_empty());
    assert_eq!(old.spec_of(Generation(3)).unwrap(), None);
    assert_eq!(WorkspaceIndex::bytes_of(bench.dir.path(), Generation(3)), 0);
    let (third, state) = old.beside(Generation(3), another(2)).unwrap();
    assert_eq!(state, PartState::Created);
    assert!(third.vector_keys().unwrap().is_empty());
}

#[test]
fn the_folder_stays_locked_as_long_as_any_generation_is_open() {
    let bench = Bench::new(2);
    let old = bench.open();
    let (new, _) = old.beside(SECOND, another(2)).unwrap();
    new.add_vectors(&[dense(5, &[1.0, 0.0])]).unwrap();
    drop(old);
    let open = |spec| WorkspaceIndex::open_generation(bench.dir.path(), SECOND, spec);
    let refused = open(another(2)).map(|_| ());
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    drop(new);
    let (new, report) = open(another(2)).unwrap();
    assert_eq!(report.vectors, PartState::Opened);
    assert_eq!(new.vector_keys().unwrap().len(), 1);
    drop(new);
    let (_, report) = open(spec(2)).unwrap();
    assert!(
        matches!(report.vectors, PartState::Dropped { .. }),
        "vectors of another embedder are of no use: {report:?}"
    );
}

/// Of passages that come in order, as a change of embedder makes them.
#[test]
fn the_room_of_learned_weights_is_estimated_too() {
    let mut random = Random(5);
    let sizes = [false, true].map(|has_sparse| {
        let bench = Bench::new(1024);
        let index = bench.open();
        let weights: Vec<(u32, f32)> = (0..150).map(|token| (token * 7, 0.5)).collect();
        let vectors: Vec<Vec<f32>> = (0..2000)
            .map(|_| (0..1024).map(|_| random.normal()).collect())
            .collect();
        let entries: Vec<_> = (1..)
            .zip(&vectors)
            .map(|(key, vector)| VectorEntry {
                sparse: has_sparse.then_some(weights.as_slice()),
                ..dense(key, vector)
            })
            .collect();
        for batch in entries.chunks(16) {
            index.add_vectors(batch).unwrap();
        }
        WorkspaceIndex::bytes_of(bench.dir.path(), Generation::FIRST)
    });
    let difference = sizes[1] - sizes[0];
    let estimated = estimated_bytes(2000, 1024, true) - estimated_bytes(2000, 1024, false);
    assert!(
        difference.abs_diff(estimated) < estimated / 5,
        "{difference} {estimated}"
    );
}
