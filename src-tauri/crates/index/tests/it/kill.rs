//! A process that is killed while it writes loses at most what it hadn't finished.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use docent_domain::Language;
use docent_index::{PartState, Tuning, WorkspaceIndex};
use roaring::RoaringBitmap;

use crate::support::{Anisotropic, Bench, Random, dense, small_tuning, spec, word};

const WRITER_DIR: &str = "DOCENT_INDEX_TEST_WRITER_DIR";
const DIMENSIONS: usize = 32;

fn tuning() -> Tuning {
    Tuning {
        trees_from: 200,
        ..small_tuning()
    }
}

/// Not a test by itself: the process that the test below starts and kills. It says on its output
/// which keys are durable.
#[test]
fn writer_process() {
    let Some(dir) = std::env::var_os(WRITER_DIR) else {
        return;
    };
    let (index, _) = WorkspaceIndex::open_tuned(dir.as_ref(), spec(DIMENSIONS), tuning()).unwrap();
    let mut random = Random(1);
    let shape = Anisotropic::like_e5(DIMENSIONS, 3, &mut random);
    let first = index.vector_keys().unwrap().max().map_or(0, |key| key + 1);
    for key in (first..).step_by(10) {
        let vectors: Vec<_> = (key..key + 10).map(|_| shape.draw(&mut random)).collect();
        let entries: Vec<_> = (key..)
            .zip(&vectors)
            .map(|(key, v)| dense(key, v))
            .collect();
        index.add_vectors(&entries).unwrap();
        let words: Vec<_> = (key..key + 10)
            .map(|key| word(key, "", "a garden with a roof", Language::English))
            .collect();
        index.add_words(&words).unwrap();
        if key % 50 == 0 {
            index.maybe_build_trees().unwrap();
        }
        println!("durable {}", key + 10);
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let bench = Bench::new(DIMENSIONS);
    for round in 0..12_u32 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["kill::writer_process", "--exact", "--nocapture"])
            .env(WRITER_DIR, bench.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut durable = 0;
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // The kill falls on whatever the writer does after so many acknowledgements.
        for line in lines
            .map_while(Result::ok)
            .filter(|line| line.contains("durable"))
        {
            durable = line.rsplit(' ').next().unwrap().parse().unwrap();
            if durable > 60 * (round + 1) {
                break;
            }
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        assert!(
            durable > 60 * (round + 1),
            "the writer ended early at {durable}"
        );

        let (index, report) =
            WorkspaceIndex::open_tuned(bench.dir.path(), spec(DIMENSIONS), tuning()).unwrap();
        assert_eq!(report.vectors, PartState::Opened, "round {round}");
        assert_eq!(report.words, PartState::Opened, "round {round}");
        let acknowledged: RoaringBitmap = (0..durable).collect();
        assert!(
            acknowledged.is_subset(&index.vector_keys().unwrap()),
            "round {round}"
        );
        assert!(
            acknowledged.is_subset(&index.word_keys().unwrap()),
            "round {round}"
        );
        let found = index
            .search_words("garden", durable as usize, None)
            .unwrap();
        assert_eq!(found.len(), durable as usize, "round {round}");
        index
            .search_dense_exact(&[0.5; DIMENSIONS], 5, None)
            .unwrap();
        // What was being written may be half there; the keys say so, and removing it is clean.
        let rest = index.vector_keys().unwrap() | index.word_keys().unwrap();
        index.remove(&(rest - acknowledged)).unwrap();
    }
}
