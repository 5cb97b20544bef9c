//! Searching by vectors, against an oracle that reads them all.

use std::collections::BTreeMap;

use docent_domain::{ChunkKey, Language};
use docent_index::{Error, Generation, PartState, Tuning, VectorEntry, VectorSpec, WorkspaceIndex};
use roaring::RoaringBitmap;

use crate::support::{Anisotropic, Bench, Random, cosine, dense, keys, small_tuning};

type Oracle = BTreeMap<u32, Vec<f32>>;

fn nearest(
    oracle: &Oracle,
    question: &[f32],
    k: usize,
    filter: Option<&RoaringBitmap>,
) -> Vec<(u32, f32)> {
    let mut scored: Vec<(u32, f32)> = oracle
        .iter()
        .filter(|(key, _)| filter.is_none_or(|filter| filter.contains(**key)))
        .map(|(&key, vector)| (key, cosine(question, vector)))
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scored.truncate(k);
    scored
}

/// The same keys in the same order, up to rounding among equals.
fn assert_same(hits: &[docent_index::Hit], expected: &[(u32, f32)], context: &str) {
    assert_eq!(hits.len(), expected.len(), "{context}");
    for (hit, (key, score)) in hits.iter().zip(expected) {
        assert!(
            (hit.score - score).abs() < 1e-5,
            "{context}: {hit:?} stands where chunk {key} with {score} should"
        );
    }
}

fn add(index: &WorkspaceIndex, vectors: &[(u32, Vec<f32>)]) {
    let entries: Vec<_> = vectors
        .iter()
        .map(|(key, vector)| dense(*key, vector))
        .collect();
    index.add_vectors(&entries).unwrap();
}

/// Adds, replaces, removes, searches and reopens in a seeded order. The codes' depth is as large
/// as the workspace, so whatever way a search takes must give the oracle's answer.
fn agrees_with_the_oracle(seed: u64, tuning: Tuning) {
    const DIMENSIONS: usize = 24;
    let mut random = Random(seed);
    let shape = Anisotropic::like_e5(DIMENSIONS, 5, &mut random);
    let mut bench = Bench::new(DIMENSIONS);
    bench.tuning = Tuning {
        rescored: 2000,
        ..tuning
    };
    let mut index = bench.open();
    let mut oracle = Oracle::new();
    let mut next_key = 0;
    for step in 0..160 {
        match random.below(10) {
            0..4 => {
                let count = 1 + random.below(40);
                let new: Vec<(u32, Vec<f32>)> = (next_key..)
                    .take(count)
                    .map(|key| (key, shape.draw(&mut random)))
                    .collect();
                next_key += count as u32;
                add(&index, &new);
                oracle.extend(new);
            }
            4 => {
                let known: Vec<u32> = oracle.keys().copied().collect();
                if let Some(&key) = known.get(random.below(known.len().max(1))) {
                    let new = vec![(key, shape.draw(&mut random))];
                    add(&index, &new);
                    oracle.extend(new);
                }
            }
            5 | 6 => {
                let share = random.below(12) as f32 / 100.0;
                let removed: RoaringBitmap = oracle
                    .keys()
                    .copied()
                    .filter(|_| random.chance(share))
                    .collect();
                index.remove(&removed).unwrap();
                oracle.retain(|&key, _| !removed.contains(key));
            }
            7 if random.chance(0.3) => {
                drop(index);
                let (reopened, report) = bench.open_reported();
                assert_eq!(report.vectors, PartState::Opened, "step {step}");
                index = reopened;
            }
            8 if random.chance(0.4) => {
                index.maybe_build_trees().unwrap();
            }
            _ => {}
        }
        assert_eq!(
            index.vector_keys().unwrap(),
            oracle.keys().copied().collect(),
            "step {step}"
        );
        let question = shape.draw(&mut random);
        let filter: Option<RoaringBitmap> = random.chance(0.5).then(|| {
            let share = random.below(100) as f32 / 100.0;
            (0..next_key + 5).filter(|_| random.chance(share)).collect()
        });
        let k = 1 + random.below(12);
        let expected = nearest(&oracle, &question, k, filter.as_ref());
        let context = format!("seed {seed}, step {step}, {} vectors", oracle.len());
        let hits = index.search_dense(&question, k, filter.as_ref()).unwrap();
        assert_same(&hits, &expected, &context);
        let hits = index
            .search_dense_exact(&question, k, filter.as_ref())
            .unwrap();
        assert_same(&hits, &expected, &context);

        let groups = [0, 1].map(|odd| (odd..next_key).step_by(2).collect::<RoaringBitmap>());
        let each = index
            .search_dense_each(&question, k, &groups.each_ref())
            .unwrap();
        for (group, hits) in groups.iter().zip(each) {
            let expected = nearest(&oracle, &question, k, Some(group));
            assert_same(&hits, &expected, &context);
        }
    }
}

#[test]
fn scanning_agrees_with_the_oracle() {
    for seed in 0..4 {
        agrees_with_the_oracle(seed, small_tuning());
    }
}

/// Trees are looked at as a whole here (there are fewer vectors than arroy is asked to look at),
/// so what they, the open vectors and the dropped ones give together must be exact too.
#[test]
fn trees_agree_with_the_oracle() {
    let tuning = Tuning {
        trees_from: 100,
        ..small_tuning()
    };
    for seed in 100..104 {
        agrees_with_the_oracle(seed, tuning);
    }
}

#[test]
fn trees_answer_for_what_they_hold_and_no_more() {
    let mut random = Random(5);
    let shape = Anisotropic::like_e5(16, 0, &mut random);
    let mut bench = Bench::new(16);
    bench.tuning.trees_from = 200;
    let index = bench.open();
    let vectors: Vec<(u32, Vec<f32>)> =
        (0..300).map(|key| (key, shape.draw(&mut random))).collect();
    add(&index, &vectors[..150]);
    assert!(
        !index.maybe_build_trees().unwrap().built,
        "too few for trees"
    );
    add(&index, &vectors[150..]);
    let report = index.maybe_build_trees().unwrap();
    assert!(report.built && report.in_trees == 300, "{report:?}");
    assert!(!index.maybe_build_trees().unwrap().built, "nothing changed");

    index.remove(&RoaringBitmap::from_iter([7])).unwrap();
    let hits = index.search_dense(&vectors[7].1, 300, None).unwrap();
    assert!(
        !keys(&hits).contains(&7),
        "a removed vector is not found by its tree"
    );
    assert_eq!(hits.len(), 299);
    add(
        &index,
        &[(7, vectors[8].1.clone()), (1000, vectors[9].1.clone())],
    );
    drop(index);
    let index = bench.open();
    assert_eq!(index.stats().in_trees, 299);
    let hits = index.search_dense(&vectors[8].1, 2, None).unwrap();
    assert_eq!(
        keys(&hits),
        [7, 8],
        "the new vector of a dropped key is its own"
    );

    index.stop_building();
    index.remove(&(0..60).collect()).unwrap();
    let report = index.maybe_build_trees().unwrap();
    assert!(
        report.built,
        "an earlier stop doesn't count, and a fifth is gone"
    );
    assert_eq!(report.in_trees, 241);
}

/// Recall on data shaped like the starter embedder's, at the default depth.
#[test]
fn the_ten_nearest_are_nearly_always_found() {
    for (clusters, at_least) in [(0, 0.98), (150, 0.995)] {
        let mut random = Random(77);
        let shape = Anisotropic::like_e5(384, clusters, &mut random);
        let mut bench = Bench::new(384);
        bench.tuning = Tuning::default();
        let index = bench.open();
        for start in (0..12_000).step_by(500) {
            let vectors: Vec<(u32, Vec<f32>)> = (start..start + 500)
                .map(|key| (key, shape.draw(&mut random)))
                .collect();
            add(&index, &vectors);
        }
        let mut found = 0;
        for _ in 0..40 {
            let question = shape.draw(&mut random);
            let expected = index.search_dense_exact(&question, 10, None).unwrap();
            let hits = keys(&index.search_dense(&question, 10, None).unwrap());
            found += expected
                .iter()
                .filter(|hit| hits.contains(&hit.key.0))
                .count();
        }
        let recall = found as f32 / 400.0;
        assert!(
            recall >= at_least,
            "recall {recall} with {clusters} clusters"
        );
    }
}

#[test]
fn the_centre_is_taken_again_when_the_workspace_outgrows_it() {
    let mut random = Random(3);
    let bench = Bench::new(16);
    let index = bench.open();
    let early = Anisotropic::like_e5(16, 0, &mut random);
    let late = Anisotropic::like_e5(16, 0, &mut random);
    let draw = |shape: &Anisotropic, keys: std::ops::Range<u32>, random: &mut Random| {
        keys.map(|key| (key, shape.draw(random)))
            .collect::<Vec<_>>()
    };
    let first = draw(&early, 0..80, &mut random);
    add(&index, &first);
    assert!(!index.maybe_build_trees().unwrap().recentred);
    let rest = draw(&late, 80..400, &mut random);
    add(&index, &rest);
    assert!(index.maybe_build_trees().unwrap().recentred);
    assert!(
        !index.maybe_build_trees().unwrap().recentred,
        "once is enough"
    );
    drop(index);
    let index = bench.open();
    let hits = index.search_dense(&rest[10].1, 1, None).unwrap();
    assert_eq!(keys(&hits), [90]);
}

#[test]
fn a_small_map_grows_by_itself() {
    let mut random = Random(4);
    let shape = Anisotropic::like_e5(256, 0, &mut random);
    let bench = Bench::new(256);
    let index = bench.open();
    let before = index.stats().map_bytes;
    assert_eq!(before, 1 << 20);
    let vectors: Vec<(u32, Vec<f32>)> = (0..6000)
        .map(|key| (key, shape.draw(&mut random)))
        .collect();
    std::thread::scope(|scope| {
        let searching = scope.spawn(|| {
            for (_, vector) in vectors.iter().take(300) {
                index.search_dense(vector, 3, None).unwrap();
            }
        });
        for batch in vectors.chunks(200) {
            add(&index, batch);
        }
        searching.join().unwrap();
    });
    assert!(index.stats().map_bytes > before);
    let hits = index.search_dense(&vectors[5999].1, 1, None).unwrap();
    assert_eq!(keys(&hits), [5999]);
    drop(index);
    assert_eq!(bench.open().vector_keys().unwrap().len(), 6000);
}

#[test]
fn vectors_of_another_embedder_are_dropped() {
    let bench = Bench::new(3);
    {
        let index = bench.open();
        add(&index, &[(1, vec![1.0, 0.0, 0.0])]);
        let text = crate::support::word(1, "", "words stay", Language::English);
        index.add_words(&[text]).unwrap();
    }
    for spec in [
        VectorSpec {
            fingerprint: "another".into(),
            dimensions: 3,
        },
        VectorSpec {
            fingerprint: "another".into(),
            dimensions: 5,
        },
    ] {
        let (index, report) =
            WorkspaceIndex::open_tuned(bench.dir.path(), spec.clone(), bench.tuning).unwrap();
        assert!(
            matches!(report.vectors, PartState::Dropped { .. }),
            "{report:?}"
        );
        assert_eq!(report.words, PartState::Opened, "words know no embedder");
        assert!(index.vector_keys().unwrap().is_empty());
        assert_eq!(index.search_words("stay", 1, None).unwrap().len(), 1);
        let vector = vec![0.5; spec.dimensions];
        add(&index, &[(1, vector)]);
    }
}

#[test]
fn sparse_weights_are_scored_for_the_keys_asked() {
    let bench = Bench::new(2);
    let index = bench.open();
    let entry = |key, sparse| VectorEntry {
        key: ChunkKey(key),
        language: Language::Croatian,
        dense: &[0.6, 0.8],
        sparse,
    };
    index
        .add_vectors(&[
            entry(1, Some(&[(10, 0.5), (3, 1.0)][..])),
            entry(2, Some(&[(3, 2.0)][..])),
            entry(3, None),
        ])
        .unwrap();
    let asked = [3, 2, 1, 99].map(ChunkKey);
    let scores = index
        .sparse_scores(&[(10, 2.0), (3, 0.25)], &asked)
        .unwrap();
    assert_eq!(scores, [0.0, 0.5, 1.25, 0.0]);
    index.remove(&RoaringBitmap::from_iter([2])).unwrap();
    index.add_vectors(&[entry(1, None)]).unwrap();
    let scores = index.sparse_scores(&[(3, 1.0)], &asked).unwrap();
    assert_eq!(
        scores, [0.0; 4],
        "weights go with their chunk, and with a replacement"
    );
    assert_eq!(index.stats().sparse, 0);
    assert_eq!(index.languages().croatian, RoaringBitmap::from_iter([1, 3]));
}

#[test]
fn what_is_no_vector_is_refused_and_changes_nothing() {
    let bench = Bench::new(3);
    let index = bench.open();
    let good = [1.0, 2.0, 2.0];
    let wrong: [&[f32]; 4] = [
        &[1.0, 0.0],
        &[0.0, 0.0, 0.0],
        &[f32::NAN, 0.0, 1.0],
        &[f32::INFINITY, 0.0, 1.0],
    ];
    for bad in wrong {
        let added = index.add_vectors(&[dense(1, &good), dense(2, bad)]);
        let error = added.expect_err("not a vector of this workspace");
        assert!(
            matches!(error, Error::Dimensions { .. } | Error::NoDirection(_)),
            "{error}"
        );
        assert!(index.search_dense(bad, 1, None).is_err());
        assert!(index.vector_keys().unwrap().is_empty());
    }
    index.add_vectors(&[dense(1, &good)]).unwrap();
    let hits = index.search_dense(&[10.0, 20.0, 20.0], 1, None).unwrap();
    assert!((hits[0].score - 1.0).abs() < 1e-6, "lengths don't count");
    assert!(index.search_dense(&good, 0, None).unwrap().is_empty());
}

#[test]
fn one_folder_is_open_once() {
    let bench = Bench::new(2);
    let index = bench.open();
    let second = WorkspaceIndex::open(bench.dir.path(), crate::support::spec(2));
    assert!(matches!(second.err(), Some(Error::InUse { .. })));
    assert!(matches!(
        WorkspaceIndex::destroy(bench.dir.path()),
        Err(Error::InUse { .. })
    ));
    drop(index);
    WorkspaceIndex::destroy(bench.dir.path()).unwrap();
    assert!(!bench.dir.path().exists());
    WorkspaceIndex::destroy(bench.dir.path()).unwrap();
}

#[test]
fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room() {
    let mut bench = Bench::new(64);
    bench.tuning.map_bytes = 256 << 10;
    bench.tuning.max_map_bytes = Some(256 << 10);
    let index = bench.open();
    let mut random = Random(3);
    let vectors: Vec<Vec<f32>> = (0..2000)
        .map(|_| (0..64).map(|_| random.normal()).collect())
        .collect();
    let mut written = RoaringBitmap::new();
    let error = loop {
        let from = written.len() as usize;
        let batch: Vec<_> = (from..from + 20)
            .map(|key| dense(key as u32, &vectors[key]))
            .collect();
        match index.add_vectors(&batch) {
            Ok(()) => written.extend(batch.iter().map(|entry| entry.key.0)),
            Err(error) => break error,
        }
        assert!(written.len() < 1900, "the fault point does not work");
    };
    assert!(error.is_disk_full(), "{error}");
    assert!(!error.is_damage() && !index.is_damaged());
    assert_eq!(index.vector_keys().unwrap(), written);
    assert_eq!(
        index.search_dense(&vectors[0], 1, None).unwrap()[0].key.0,
        0
    );

    drop(index);
    bench.tuning.max_map_bytes = None;
    let index = bench.open();
    let batch: Vec<_> = (0..2000)
        .map(|key| dense(key as u32, &vectors[key]))
        .collect();
    index.add_vectors(&batch).unwrap();
    assert_eq!(index.vector_keys().unwrap().len(), 2000);
}

#[test]
fn an_index_can_be_opened_as_what_it_is() {
    let bench = Bench::new(8);
    assert!(
        WorkspaceIndex::open_as_stored(bench.dir.path(), Generation::FIRST)
            .unwrap()
            .is_none(),
        "nothing is made where nothing is"
    );
    let index = bench.open();
    index.add_vectors(&[dense(3, &[1.0; 8])]).unwrap();
    let spec = index.vector_spec().clone();
    drop(index);
    let (index, report) = WorkspaceIndex::open_as_stored(bench.dir.path(), Generation::FIRST)
        .unwrap()
        .expect("its vectors say what they are");
    assert_eq!(index.vector_spec(), &spec);
    assert!(!report.vectors.is_emptied());
    assert_eq!(index.vector_keys().unwrap().len(), 1);
}

#[test]
fn stored_vectors_can_be_read_back() {
    let bench = Bench::new(4);
    let index = bench.open();
    let sparse = [(9, 0.5), (3, 1.5)];
    let mut weighted = dense(1, &[0.0, 3.0, 4.0, 0.0]);
    weighted.sparse = Some(&sparse);
    index
        .add_vectors(&[weighted, dense(2, &[1.0, 0.0, 0.0, 0.0])])
        .unwrap();
    let stored = index
        .stored_vectors(&RoaringBitmap::from_iter([1, 2, 7]))
        .unwrap();
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0].dense, [0.0, 0.6, 0.8, 0.0]);
    assert_eq!(stored[0].sparse, Some(vec![(3, 1.5), (9, 0.5)]));
    assert_eq!((stored[1].key.0, &stored[1].sparse), (2, &None));
}
