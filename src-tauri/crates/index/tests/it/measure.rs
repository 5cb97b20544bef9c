//! The figures in the crate's documentation, for whoever wants to repeat them:
//! `DOCENT_MEASURE=100000x384 cargo test -p docent-index measure -- --nocapture`
//! (vectors × dimensions; add `t` to build trees). `DOCENT_MEASURE_TEXT` names a folder of text for
//! the words. Without the variables nothing is measured.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use docent_domain::Language;
use docent_index::Tuning;
use roaring::RoaringBitmap;

use crate::support::{Anisotropic, Bench, Random, dense, keys, word};

fn asked() -> Option<(u32, usize, bool)> {
    let asked = std::env::var("DOCENT_MEASURE").ok()?;
    let (size, trees) = match asked.strip_suffix('t') {
        Some(size) => (size, true),
        None => (asked.as_str(), false),
    };
    let (count, dimensions) = size.split_once('x').expect("100000x384");
    Some((count.parse().unwrap(), dimensions.parse().unwrap(), trees))
}

/// Time that this thread was on a processor: on a busy machine the steadier figure.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn timed_on_processor<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = processor_time();
    let value = run();
    (processor_time().saturating_sub(start), value)
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = run();
    (start.elapsed(), value)
}

/// For processor time, which the system counts in steps of milliseconds.
fn mean(times: &[Duration]) -> String {
    format!(
        "mean {:.2?}",
        times.iter().sum::<Duration>() / times.len() as u32
    )
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    format!("p50 {:.2?} p95 {:.2?}", at(50), at(95))
}

#[test]
fn measure_vectors() {
    let Some((count, dimensions, trees)) = asked() else {
        return;
    };
    for clusters in [0, count as usize / 20] {
        let mut random = Random(1);
        let shape = Anisotropic::like_e5(dimensions, clusters, &mut random);
        let mut bench = Bench::new(dimensions);
        bench.tuning = Tuning {
            trees_from: if trees { 1 } else { u64::MAX },
            ..Tuning::default()
        };
        let index = bench.open();
        let mut adding = Vec::new();
        let questions: Vec<Vec<f32>> = (0..60).map(|_| shape.draw(&mut random)).collect();
        for start in (0..count).step_by(1000) {
            let vectors: Vec<_> = (0..1000).map(|_| shape.draw(&mut random)).collect();
            let entries: Vec<_> = (start..).zip(&vectors).map(|(k, v)| dense(k, v)).collect();
            adding.push(timed(|| index.add_vectors(&entries).unwrap()).0);
        }
        println!(
            "{count}x{dimensions}, {clusters} clusters; adding 1000: {}",
            percentiles(adding)
        );
        let exact: Vec<_> = questions
            .iter()
            .map(|q| timed_on_processor(|| keys(&index.search_dense_exact(q, 10, None).unwrap())))
            .collect();
        println!(
            "  exact {}",
            mean(&exact.iter().map(|e| e.0).collect::<Vec<_>>())
        );
        let exact_limit: RoaringBitmap = (0..4096).collect();
        let small: Vec<_> = questions
            .iter()
            .map(|q| {
                timed_on_processor(|| index.search_dense(q, 10, Some(&exact_limit)).unwrap()).0
            })
            .collect();
        println!("  4096 read whole {}", mean(&small));
        let compare = |label: &str, filter: Option<&RoaringBitmap>| {
            let mut found = 0;
            let mut times = Vec::new();
            for (question, (_, expected)) in questions.iter().zip(&exact) {
                let (time, hits) =
                    timed_on_processor(|| index.search_dense(question, 10, filter).unwrap());
                times.push(time);
                let hits = keys(&hits);
                found += expected.iter().filter(|key| hits.contains(key)).count();
            }
            let recall = found as f32 / (10 * questions.len()) as f32;
            println!("  {label} {} recall {recall:.4}", mean(&times));
        };
        compare("scan", None);
        compare("scan again", None);
        let third: RoaringBitmap = (0..count).filter(|key| key % 3 == 0).collect();
        compare("scan, a third allowed (recall means nothing)", Some(&third));
        let one = shape.draw(&mut random);
        println!(
            "  add one {:.2?}",
            timed(|| index.add_vectors(&[dense(count, &one)])).0
        );
        println!(
            "  remove one {:.2?}",
            timed(|| index.remove(&[count].into())).0
        );
        println!("  wipe {:.2?}", timed(|| index.forget_removed().unwrap()).0);
        if trees {
            let (time, report) = timed(|| index.maybe_build_trees().unwrap());
            println!("  trees {time:.1?} {report:?}");
            compare("trees", None);
            compare("trees again", None);
        }
        println!("  {:?}", index.stats());
        drop(index);
        println!("  reopen {:.2?}", timed(|| bench.open()).0);
    }
}

/// The words of the text files under a folder, up to a few million.
fn real_words() -> Option<Vec<String>> {
    let mut folders = vec![PathBuf::from(std::env::var_os("DOCENT_MEASURE_TEXT")?)];
    let mut words = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|ext| ext == "md" || ext == "page" || ext == "txt")
            {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                words.extend(text.split_whitespace().map(str::to_owned));
            }
        }
        if words.len() > 6_000_000 {
            break;
        }
    }
    Some(words)
}

#[test]
fn measure_words() {
    let Some((count, _, _)) = asked() else {
        return;
    };
    let mut random = Random(2);
    let Some(words) = real_words() else {
        return;
    };
    let text = |random: &mut Random, length: usize| -> String {
        let start = random.below(words.len() - length);
        words[start..start + length].join(" ")
    };
    let bench = Bench::new(4);
    let index = bench.open();
    let mut commits = Vec::new();
    for start in (0..count).step_by(500) {
        let texts: Vec<String> = (0..500).map(|_| text(&mut random, 60)).collect();
        let entries: Vec<_> = (start..)
            .zip(&texts)
            .map(|(key, text)| word(key, "Naslov dokumenta", text, Language::Croatian))
            .collect();
        commits.push(timed(|| index.add_words(&entries).unwrap()).0);
    }
    println!("{count} chunks; commits of 500: {}", percentiles(commits));
    let commits: Vec<_> = (count..count + 30)
        .map(|n| {
            let texts: Vec<String> = (0..32).map(|_| text(&mut random, 60)).collect();
            let entries: Vec<_> = (0..)
                .zip(&texts)
                .map(|(i, text)| word(n * 32 + i, "Naslov", text, Language::Croatian))
                .collect();
            timed(|| index.add_words(&entries).unwrap()).0
        })
        .collect();
    println!("  commits of 32: {}", percentiles(commits));
    let removing: Vec<_> = (0..30)
        .map(|key| timed(|| index.remove(&[key].into()).unwrap()).0)
        .collect();
    println!("  removing one: {}", percentiles(removing));
    for words in [3, 8, 80] {
        let searching: Vec<_> = (0..60)
            .map(|_| {
                let question = text(&mut random, words);
                timed_on_processor(|| index.search_words(&question, 50, None).unwrap()).0
            })
            .collect();
        println!("  question of {words} words: {}", mean(&searching));
    }
    println!("  {:?}", index.stats());
    drop(index);
    println!("  reopen {:.2?}", timed(|| bench.open()).0);
}
