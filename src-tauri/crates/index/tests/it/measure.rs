//! The figures in the crate's documentation, for whoever wants to repeat them:
//! `DOCENT_MEASURE=100000x384 cargo test -p docent-index measure -- --nocapture`
//! (vectors × dimensions; add `t` to build trees). Without the variable nothing is measured.

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

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = run();
    (start.elapsed(), value)
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
        println!("{count}x{dimensions}, {clusters} clusters; adding 1000: {}", percentiles(adding));
        let exact: Vec<_> = questions
            .iter()
            .map(|q| timed(|| keys(&index.search_dense_exact(q, 10, None).unwrap())))
            .collect();
        println!("  exact {}", percentiles(exact.iter().map(|e| e.0).collect()));
        let exact_limit = RoaringBitmap::from_iter(0..4096);
        let small: Vec<_> = questions
            .iter()
            .map(|q| timed(|| index.search_dense(q, 10, Some(&exact_limit)).unwrap()).0)
            .collect();
        println!("  4096 read whole {}", percentiles(small));
        let compare = |label: &str, filter: Option<&RoaringBitmap>| {
            let mut found = 0;
            let mut times = Vec::new();
            for (question, (_, expected)) in questions.iter().zip(&exact) {
                let (time, hits) = timed(|| index.search_dense(question, 10, filter).unwrap());
                times.push(time);
                let hits = keys(&hits);
                found += expected.iter().filter(|key| hits.contains(key)).count();
            }
            let recall = found as f32 / (10 * questions.len()) as f32;
            println!("  {label} {} recall {recall:.4}", percentiles(times));
        };
        compare("scan", None);
        compare("scan again", None);
        let third: RoaringBitmap = (0..count).filter(|key| key % 3 == 0).collect();
        compare("scan, a third allowed (recall means nothing)", Some(&third));
        let one = shape.draw(&mut random);
        println!("  add one {:.2?}", timed(|| index.add_vectors(&[dense(count, &one)])).0);
        println!("  remove one {:.2?}", timed(|| index.remove(&[count].into())).0);
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

#[test]
fn measure_words() {
    let Some((count, _, _)) = asked() else {
        return;
    };
    let mut random = Random(2);
    let syllables = ["ra", "čun", "pla", "ti", "do", "bav", "lja", "ka", "mat", "šnje", "in", "vo"];
    let lexicon: Vec<String> = (0..20_000)
        .map(|_| (0..2 + random.below(4)).map(|_| syllables[random.below(12)]).collect())
        .collect();
    // A word's frequency falls with its rank, as in language.
    let text = |random: &mut Random, words: usize| -> String {
        (0..words)
            .map(|_| {
                let rank = (20_000_f64.powf(random.below(1_000_000) as f64 / 1e6)) as usize;
                lexicon[rank.min(19_999)].clone() + " "
            })
            .collect()
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
                timed(|| index.search_words(&question, 50, None).unwrap()).0
            })
            .collect();
        println!("  question of {words} words: {}", percentiles(searching));
    }
    println!("  {:?}", index.stats());
    println!("  optimise {:.2?}", timed(|| index.optimise().unwrap()).0);
    let searching: Vec<_> = (0..60)
        .map(|_| {
            let question = text(&mut random, 8);
            timed(|| index.search_words(&question, 50, None).unwrap()).0
        })
        .collect();
    println!("  question of 8 words, optimised: {}", percentiles(searching));
    drop(index);
    println!("  reopen {:.2?}", timed(|| bench.open()).0);
}
