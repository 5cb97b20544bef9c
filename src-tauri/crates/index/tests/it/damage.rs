//! Damaged files: the index opens, says what it found, and can be filled again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use docent_domain::Language;
use docent_index::{Error, Hit, OpenReport, Part, PartState, WorkspaceIndex};
use roaring::RoaringBitmap;

use crate::support::{Anisotropic, Bench, Random, dense, keys, word};

const DIMENSIONS: usize = 24;
const CHUNKS: u32 = 300;

/// A filled index: vectors beyond the exact limit, in trees and outside, some with sparse
/// weights, and removed ones, so that every kind of page and record exists.
struct Filled {
    bench: Bench,
    vectors: Vec<Vec<f32>>,
    question: Vec<f32>,
    dense: Vec<Hit>,
    words: Vec<Hit>,
}

impl Filled {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let shape = Anisotropic::like_e5(DIMENSIONS, 4, &mut random);
        let mut bench = Bench::new(DIMENSIONS);
        bench.tuning.trees_from = 150;
        bench.tuning.rescored = 1000;
        let vectors = (0..CHUNKS).map(|_| shape.draw(&mut random)).collect();
        let mut filled = Self {
            question: shape.draw(&mut random),
            bench,
            vectors,
            dense: Vec::new(),
            words: Vec::new(),
        };
        let index = filled.bench.open();
        filled.fill(&index);
        filled.dense = index.search_dense(&filled.question, 10, None).unwrap();
        filled.words = index.search_words("number17 gardens", 5, None).unwrap();
        drop(index);
        filled
    }

    /// Brings the index to the full state, as reconciling would.
    fn fill(&self, index: &WorkspaceIndex) {
        let all: RoaringBitmap = (20..CHUNKS).collect();
        let sparse = [(3, 0.5), (9, 1.5)];
        let missing = &all - index.vector_keys().unwrap();
        let entries: Vec<_> = missing
            .iter()
            .map(|key| {
                let mut entry = dense(key, &self.vectors[key as usize]);
                entry.sparse = (key % 3 == 0).then_some(&sparse[..]);
                entry
            })
            .collect();
        let half = entries.len() / 2;
        index.add_vectors(&entries[..half]).unwrap();
        index.maybe_build_trees().unwrap();
        index.add_vectors(&entries[half..]).unwrap();
        let surplus = [dense(5, &self.vectors[5])];
        index.add_vectors(&surplus).unwrap();

        let missing = &all - index.word_keys().unwrap();
        let texts: Vec<(u32, String)> = missing
            .iter()
            .map(|key| (key, format!("page number{key} about gardens and roofs")))
            .collect();
        let entries: Vec<_> = texts
            .iter()
            .map(|(key, text)| word(*key, "Manual", text, Language::English))
            .collect();
        for batch in entries.chunks(100) {
            index.add_words(batch).unwrap();
        }
        index.remove(&RoaringBitmap::from_iter([5])).unwrap();
    }

    fn folder(&self, part: Part) -> PathBuf {
        self.bench.dir.path().join(part.folder())
    }

    fn data(&self) -> PathBuf {
        self.folder(Part::Vectors).join("data.mdb")
    }

    /// Opens, uses and refills, and opens again when searching finds damage; whatever happened to
    /// the files, the answers must then be those of the undamaged index.
    fn recover(&self, context: &str) -> OpenReport {
        let (mut index, mut report) = self.bench.open_reported();
        let use_it = |index: &WorkspaceIndex| {
            index.search_dense_exact(&self.question, 10, None)?;
            let all: Vec<_> = (0..CHUNKS).map(docent_domain::ChunkKey).collect();
            index.sparse_scores(&[(3, 1.0)], &all)?;
            index.search_dense(&self.question, 10, None)
        };
        if let Err(error) = use_it(&index) {
            assert!(error.is_damage(), "{context}: {error}");
            drop(index);
            let (reopened, second) = self.bench.open_reported();
            assert!(
                second.vectors.is_emptied(),
                "{context}: {error}, then {second:?}"
            );
            index = reopened;
            report = second;
        }
        self.fill(&index);
        let dense = index.search_dense(&self.question, 10, None).unwrap();
        assert_eq!(keys(&dense), keys(&self.dense), "{context}: {report:?}");
        let words = index.search_words("number17 gardens", 5, None).unwrap();
        assert_eq!(words.len(), self.words.len(), "{context}: {report:?}");
        assert_eq!(words[0].key, self.words[0].key, "{context}: {report:?}");
        report
    }
}

fn copy_folder(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Runs `damage` and recovery on fresh copies of the same folder of one part.
fn each_time(filled: &Filled, part: Part, times: u64, damage: impl Fn(&Path, &mut Random)) -> u64 {
    let pristine = filled.bench.dir.path().join("pristine");
    copy_folder(&filled.folder(part), &pristine);
    let mut noticed = 0;
    for round in 0..times {
        copy_folder(&pristine, &filled.folder(part));
        damage(&filled.folder(part), &mut Random(round));
        let report = filled.recover(&format!("{part} round {round}"));
        let state = match part {
            Part::Words => &report.words,
            Part::Vectors => &report.vectors,
        };
        noticed += u64::from(state.is_emptied());
    }
    copy_folder(&pristine, &filled.folder(part));
    noticed
}

#[test]
fn an_undamaged_index_is_left_alone() {
    let filled = Filled::new(1);
    let noticed = each_time(&filled, Part::Vectors, 2, |_, _| {});
    assert_eq!(
        noticed, 0,
        "the control: without damage nothing is moved aside"
    );
    assert_eq!(each_time(&filled, Part::Words, 2, |_, _| {}), 0);
}

#[test]
fn a_truncated_vector_file_is_moved_aside() {
    let filled = Filled::new(2);
    let length = fs::metadata(filled.data()).unwrap().len();
    let noticed = each_time(&filled, Part::Vectors, 60, |dir, random| {
        let data = fs::File::options()
            .write(true)
            .open(dir.join("data.mdb"))
            .unwrap();
        // Every second time on a page boundary, where the length alone gives nothing away.
        let mut kept = random.next() % length;
        if random.chance(0.5) {
            kept = kept / 4096 * 4096;
        }
        data.set_len(kept.max(1)).unwrap();
    });
    assert!(
        noticed >= 55,
        "only free pages at the very end may be missed, noticed {noticed}"
    );
}

#[test]
fn flipped_bytes_never_crash_and_never_change_an_answer() {
    let filled = Filled::new(3);
    let noticed = each_time(&filled, Part::Vectors, 250, |dir, random| {
        let path = dir.join("data.mdb");
        let mut bytes = fs::read(&path).unwrap();
        for _ in 0..=random.below(64) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        fs::write(&path, bytes).unwrap();
    });
    assert!(noticed >= 150, "the damage is not even there: {noticed}");
}

/// The pages' headers and pointers are where LMDB would crash.
#[test]
fn flipped_page_headers_never_crash() {
    let filled = Filled::new(4);
    let noticed = each_time(&filled, Part::Vectors, 250, |dir, random| {
        let path = dir.join("data.mdb");
        let mut bytes = fs::read(&path).unwrap();
        for _ in 0..=random.below(3) {
            let page = random.below(bytes.len() / 4096);
            let at = page * 4096 + random.below(64);
            bytes[at] ^= 1 << random.below(8);
        }
        fs::write(&path, bytes).unwrap();
    });
    assert!(noticed >= 100, "the damage is not even there: {noticed}");
}

#[test]
fn garbage_instead_of_a_file_is_moved_aside() {
    let filled = Filled::new(5);
    for garbage in [
        vec![0; 40_960],
        vec![0xFF; 40_960],
        b"not a database".to_vec(),
    ] {
        let noticed = each_time(&filled, Part::Vectors, 1, |dir, _| {
            fs::write(dir.join("data.mdb"), &garbage).unwrap();
        });
        assert_eq!(noticed, 1);
    }
}

#[test]
fn damaged_word_files_are_moved_aside() {
    let filled = Filled::new(6);
    let noticed = each_time(&filled, Part::Words, 120, |dir, random| {
        let mut files: Vec<PathBuf> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.to_string_lossy().ends_with(".lock"))
            .collect();
        files.sort();
        let path = &files[random.below(files.len())];
        let mut bytes = fs::read(path).unwrap();
        match random.below(3) {
            0 => bytes.truncate(random.below(bytes.len().max(1))),
            1 => {
                fs::remove_file(path).unwrap();
                return;
            }
            _ => {
                for _ in 0..=random.below(8) {
                    let at = random.below(bytes.len().max(1));
                    bytes[at] ^= 1 << random.below(8);
                }
            }
        }
        fs::write(path, bytes).unwrap();
    });
    assert!(noticed >= 80, "the damage is not even there: {noticed}");
}

#[test]
fn an_opening_that_ends_the_process_twice_is_not_tried_a_third_time() {
    let filled = Filled::new(7);
    let opening = filled.folder(Part::Vectors).join("opening");
    fs::write(&opening, ".").unwrap();
    assert_eq!(filled.recover("one strike").vectors, PartState::Opened);
    assert!(
        !opening.exists(),
        "an opening that ended well clears the strikes"
    );
    fs::write(&opening, "..").unwrap();
    assert!(matches!(
        filled.recover("two strikes").vectors,
        PartState::Quarantined { .. }
    ));
}

#[test]
fn the_newest_quarantine_is_kept() {
    let filled = Filled::new(8);
    for _ in 0..3 {
        fs::write(filled.data(), "not a database").unwrap();
        let report = filled.recover("garbage");
        let PartState::Quarantined { moved_to, reason } = report.vectors else {
            panic!("the vectors were not moved aside");
        };
        assert!(moved_to.join("data.mdb").exists());
        assert!(!reason.is_empty());
        assert_eq!(
            report.words,
            PartState::Opened,
            "the other part is untouched"
        );
    }
    let quarantined = fs::read_dir(filled.bench.dir.path())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("quarantine-vectors-")
        })
        .count();
    assert_eq!(quarantined, 1);
}

/// Damage that only a search comes upon, as of a page that rots while the program runs.
#[test]
fn a_damaged_part_is_mended_in_use() {
    let filled = Filled::new(5);
    let index = filled.bench.open();
    let vector: Vec<u8> = filled.vectors[299]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let mut bytes = fs::read(filled.data()).unwrap();
    let places: Vec<usize> = (0..bytes.len() - vector.len())
        .filter(|&at| bytes[at..].starts_with(&vector))
        .collect();
    assert!(!places.is_empty(), "control: the vector is in the file");
    for at in places {
        bytes[at] ^= 0x40;
    }
    // In place, since LMDB has the file mapped.
    let mut file = fs::File::options().write(true).open(filled.data()).unwrap();
    file.write_all(&bytes).unwrap();

    assert!(!index.is_damaged(), "nobody has looked yet");
    let error = index
        .search_dense_exact(&filled.question, 10, None)
        .unwrap_err();
    assert!(error.is_damage() && index.is_damaged(), "{error}");
    let report = index.mend().unwrap();
    assert!(report.vectors.is_emptied(), "{report:?}");
    assert_eq!(report.words, PartState::Opened, "the words are whole");
    assert!(!index.is_damaged());
    assert!(index.vector_keys().unwrap().is_empty());
    filled.fill(&index);
    let dense = index.search_dense(&filled.question, 10, None).unwrap();
    assert_eq!(keys(&dense), keys(&filled.dense));
}

/// Has the next commit fail at its very last write, which LMDB cannot take back: the descriptor that
/// it writes the meta pages by, the one of the file that syncs every write, only reads from then on.
#[cfg(target_os = "linux")]
fn break_commits(data: &Path) {
    use std::os::fd::{FromRawFd as _, IntoRawFd as _, OwnedFd};
    const O_DSYNC: u32 = 0o10_000;
    let data = data.canonicalize().unwrap();
    let mut broken = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        if fs::read_link(&path).ok().as_ref() != Some(&data) {
            continue;
        }
        let number = path.file_name().unwrap().to_str().unwrap();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        if u32::from_str_radix(flags.unwrap().trim(), 8).unwrap() & O_DSYNC == 0 {
            continue;
        }
        let reads_only = fs::File::open(&data).unwrap();
        // SAFETY: LMDB goes on to own the descriptor, which stays open; it is given back below.
        let mut meta = unsafe { OwnedFd::from_raw_fd(number.parse().unwrap()) };
        rustix::io::dup2(&reads_only, &mut meta).unwrap();
        let _ = meta.into_raw_fd();
        broken += 1;
    }
    assert_eq!(broken, 1, "control");
}

#[cfg(target_os = "linux")]
#[test]
fn vectors_that_refuse_everything_after_a_failed_commit_are_opened_again() {
    let bench = Bench::new(2);
    let index = bench.open();
    index.add_vectors(&[dense(1, &[1.0, 0.0])]).unwrap();
    break_commits(&bench.dir.path().join("vectors/data.mdb"));
    let add = || index.add_vectors(&[dense(2, &[0.0, 1.0])]);
    let failed = add().unwrap_err();
    assert!(!failed.is_damage(), "control: {failed}");
    for refused in [
        add().unwrap_err(),
        index.search_dense(&[1.0, 0.0], 1, None).unwrap_err(),
    ] {
        assert!(matches!(refused, Error::Halted(Part::Vectors)), "{refused}");
    }
    assert!(index.is_damaged());
    assert_eq!(index.mend().unwrap().vectors, PartState::Opened);
    assert!(!index.is_damaged());
    assert_eq!(index.vector_keys().unwrap().len(), 1, "nothing is lost");
    add().unwrap();
    let hits = index.search_dense(&[0.0, 1.0], 1, None).unwrap();
    assert_eq!(keys(&hits), [2]);
}
