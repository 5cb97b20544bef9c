//! Models in this process: real weights, and a tiny random BGE-M3.

use std::time::Instant;

use prost::Message;

use super::*;
use crate::TokenCounter;
use crate::catalog::Catalog;
use crate::embedder::TokenizerCounter;
use crate::models::onnx::{Extent, FLOAT, Graph, INT64, Model, Node, ValueInfo};
use crate::models::{ModelStore, shared_models_dir};

fn never() -> bool {
    false
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The store with these models in it.
fn store(ids: &[&str]) -> ModelStore {
    let store = ModelStore::open(shared_models_dir()).expect("store");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    for id in ids {
        runtime
            .block_on(store.fetch(
                id,
                std::sync::Arc::new(|_| {}),
                tokio_util::sync::CancellationToken::new(),
            ))
            .expect(id);
    }
    store
}

fn spec(id: &str, threads: usize) -> ModelSpec {
    let store = store(&["onnxruntime", id]);
    ModelSpec {
        shape: Catalog::embedded()
            .get(id)
            .and_then(|entry| entry.embedder.clone())
            .expect("an embedder"),
        model: store.path(id).expect("model"),
        tokenizer: store.file(id, "tokenizer.json").expect("tokenizer"),
        runtime: store.path("onnxruntime").expect("runtime"),
        threads,
    }
}

/// The counter keeps its vocabulary in a way of its own, but splits as the model's tokenizer does.
#[test]
fn tokens_are_counted_as_the_model_splits_them() {
    for id in ["multilingual-e5-small", "all-minilm-l6-v2"] {
        let path = store(&[id]).file(id, "tokenizer.json").expect("tokenizer");
        let counter = TokenizerCounter::open(&path).expect("tokenizer");
        let mut whole = tokenizers::Tokenizer::from_file(&path).expect("tokenizer");
        whole.with_padding(None);
        whole.with_truncation(None).expect("no truncation");
        let texts = [
            include_str!("tests.rs"),
            include_str!("../../../../../ARCHITECTURE.md"),
            "Zakašnjenje u plaćanju računa obračunava se po stopi od 5,25 % – čl. 29. st. 2.",
            "Đurđevac,\tŠibenik;\r\n  Ćićarija\u{a0}ž\u{30c} ﬁnanc\u{ad}ije",
            "<s> </s> <unk> <mask> [CLS] ▁ ▁▁a \u{0}\u{7f}\u{200b}",
            "漢字とかな 한국어 العربية 🦀👩‍👩‍👧 \u{10ffff} ⟦⟧",
            "",
            "   \n\n ",
        ];
        for text in texts {
            for piece in [text, &text.to_uppercase(), &text.replace(' ', "")] {
                let piece = &piece[..piece.floor_char_boundary(30_000)];
                let expected = whole.encode(piece, false).expect("tokens");
                assert_eq!(
                    counter.token_offsets(piece),
                    expected.get_offsets(),
                    "{id}: {piece:.80}"
                );
            }
        }
    }
}

fn dense(model: &mut EmbeddingModel, kind: EmbedKind, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
    let embeddings = model.embed(kind, &texts, &never).expect("embed");
    embeddings
        .into_iter()
        .map(|embedding| {
            assert!(embedding.sparse.is_none());
            let length = cosine(&embedding.dense, &embedding.dense);
            assert!((length - 1.0).abs() < 1e-5, "of unit length, not {length}");
            embedding.dense
        })
        .collect()
}

#[test]
fn the_starter_embedder_knows_the_capital_of_croatia() {
    let mut model = EmbeddingModel::load(&spec("multilingual-e5-small", 2)).expect("load");
    let query = dense(
        &mut model,
        EmbedKind::Query,
        &["Koji je glavni grad Hrvatske?"],
    );
    let passages = [
        "Zagreb je glavni i najveći grad Republike Hrvatske.",
        "Paella je španjolsko jelo od riže.",
        "Zagreb is the capital and largest city of Croatia.",
    ];
    let found = dense(&mut model, EmbedKind::Passage, &passages);
    let similar = cosine(&query[0], &found[0]);
    let other = cosine(&query[0], &found[1]);
    assert!((similar - 0.91).abs() < 0.01, "{similar}");
    assert!((other - 0.73).abs() < 0.03, "{other}");
    let across = cosine(&query[0], &found[2]);
    assert!(across > other + 0.05, "{across} across languages");

    // A vector depends on its text alone.
    let long = "Rijeka teče kroz grad. ".repeat(300);
    let with_others = dense(&mut model, EmbedKind::Passage, &[&long, passages[0], ""]);
    assert_eq!(with_others[1], found[0]);
    let cut = dense(
        &mut model,
        EmbedKind::Passage,
        &[&"Rijeka teče kroz grad. ".repeat(400)],
    );
    assert_eq!(with_others[0], cut[0], "cut at the model's length");

    // Composed and decomposed letters are the same text.
    let decomposed = passages[1].replace('š', "s\u{30c}");
    let found = dense(&mut model, EmbedKind::Passage, &[passages[1], &decomposed]);
    assert_eq!(found[0], found[1]);

    let cancelled = model.embed(EmbedKind::Passage, &["x".to_owned()], &|| true);
    assert_eq!(cancelled, Err("cancelled".to_owned()));
}

#[test]
fn the_english_embedder_is_another_space() {
    let mut model = EmbeddingModel::load(&spec("all-minilm-l6-v2", 1)).expect("load");
    let found = dense(
        &mut model,
        EmbedKind::Passage,
        &[
            "What is the capital of Croatia?",
            "Zagreb is the capital of Croatia.",
            "Paella is a dish of rice.",
        ],
    );
    let similar = cosine(&found[0], &found[1]);
    let other = cosine(&found[0], &found[2]);
    assert!(similar > 0.7 && other < 0.3, "{similar} {other}");
}

#[test]
fn tokens_are_counted_with_offsets_into_the_text() {
    let spec = spec("multilingual-e5-small", 1);
    let counter = TokenizerCounter::open(&spec.tokenizer).expect("tokenizer");
    let text = "Člankom 15. Zakona\tpropisano je – ništa više. 🦀 ﬁn";
    let offsets = counter.token_offsets(text);
    let pieces: Vec<&str> = offsets.iter().map(|&(from, to)| &text[from..to]).collect();
    assert_eq!(pieces[..2], ["Član", "kom"], "{pieces:?}");
    assert!(offsets.is_sorted_by_key(|(from, _)| *from), "{offsets:?}");
    let last = offsets.last().expect("tokens").1;
    assert_eq!(last, text.len(), "{pieces:?}");
    assert!(counter.token_offsets("").is_empty());

    // Piece by piece gives what the whole gives.
    let long = format!("{text} ").repeat(2_000);
    let whole = Tokenizer::from_file(&spec.tokenizer)
        .expect("tokenizer")
        .encode(long.as_str(), false)
        .expect("encode");
    assert_eq!(counter.token_offsets(&long), whole.get_offsets());
}

/// The shapes of the real one, with random weights: hidden states are looked up per token.
struct TinyBgeM3 {
    folder: tempfile::TempDir,
}

const TINY_WIDTH: usize = 8;
const WORDS: [&str; 8] = [
    "<s>", "<pad>", "</s>", "<unk>", "grad", "city", "riža", "rice",
];

impl TinyBgeM3 {
    fn new() -> Self {
        use crate::models::onnx::Tensor as Weights;

        let mut state = 3_u32;
        let mut random = |count: usize| -> Vec<f32> {
            (0..count)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state as f32 / u32::MAX as f32
                })
                .collect()
        };
        let width = TINY_WIDTH as i64;
        let words = WORDS.len() as i64;
        let free = |name: &str| Extent::Free(name.to_owned());
        let graph = Graph {
            node: vec![
                Node::new("Gather", &["words", "input_ids"], &["looked_up"]),
                Node::new("Cast", &["attention_mask"], &["mask"]).int("to", i64::from(FLOAT)),
                Node::new("Unsqueeze", &["mask", "two"], &["mask3"]),
                Node::new("Mul", &["looked_up", "mask3"], &["hidden"]),
                Node::new("ReduceMean", &["hidden", "one"], &["dense_vecs"]).int("keepdims", 0),
                Node::new("MatMul", &["hidden", "weigh"], &["weighed"]),
                Node::new("Relu", &["weighed"], &["sparse_vecs"]),
                Node::new("Slice", &["hidden", "one", "end", "one"], &["colbert_vecs"]),
            ],
            name: "tiny-bge-m3".to_owned(),
            initializer: vec![
                Weights::floats("words", &[words, width], &random(WORDS.len() * TINY_WIDTH)),
                Weights::floats("weigh", &[width, 1], &random(TINY_WIDTH)),
                Weights::ints("one", &[1], &[1]),
                Weights::ints("two", &[1], &[2]),
                Weights::ints("end", &[1], &[i64::MAX]),
            ],
            input: ["input_ids", "attention_mask"]
                .map(|name| ValueInfo::new(name, INT64, vec![free("batch"), free("sequence")]))
                .to_vec(),
            output: vec![
                ValueInfo::new(
                    "dense_vecs",
                    FLOAT,
                    vec![free("batch"), Extent::Fixed(width)],
                ),
                ValueInfo::new(
                    "sparse_vecs",
                    FLOAT,
                    vec![free("batch"), free("sequence"), Extent::Fixed(1)],
                ),
                ValueInfo::new(
                    "colbert_vecs",
                    FLOAT,
                    vec![free("batch"), free("rest"), Extent::Fixed(width)],
                ),
            ],
        };
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, content: &[u8]| {
            std::fs::write(folder.path().join(name), content).expect("write");
        };
        write("model_quantized.onnx", &Model::new(graph).encode_to_vec());
        let vocabulary: Vec<String> = WORDS
            .iter()
            .enumerate()
            .map(|(id, word)| format!("\"{word}\":{id}"))
            .collect();
        let tokenizer = format!(
            r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],
            "normalizer":null,"pre_tokenizer":{{"type":"WhitespaceSplit"}},
            "post_processor":{{"type":"TemplateProcessing",
              "single":[{{"SpecialToken":{{"id":"<s>","type_id":0}}}},{{"Sequence":{{"id":"A","type_id":0}}}},{{"SpecialToken":{{"id":"</s>","type_id":0}}}}],
              "pair":[{{"Sequence":{{"id":"A","type_id":0}}}},{{"Sequence":{{"id":"B","type_id":0}}}}],
              "special_tokens":{{"<s>":{{"id":"<s>","ids":[0],"tokens":["<s>"]}},"</s>":{{"id":"</s>","ids":[2],"tokens":["</s>"]}}}}}},
            "decoder":null,"model":{{"type":"WordLevel","unk_token":"<unk>","vocab":{{{}}}}}}}"#,
            vocabulary.join(",")
        );
        write("tokenizer.json", tokenizer.as_bytes());
        write("config.json", br#"{"pad_token_id":1}"#);
        write("special_tokens_map.json", br#"{"pad_token":"<pad>"}"#);
        write(
            "tokenizer_config.json",
            br#"{"model_max_length":8192,"pad_token":"<pad>"}"#,
        );
        Self { folder }
    }

    fn spec(&self) -> ModelSpec {
        let real = Catalog::embedded().get("bge-m3").expect("in the catalog");
        let mut shape = real.embedder.clone().expect("an embedder");
        shape.dimensions = TINY_WIDTH;
        ModelSpec {
            shape,
            model: self.folder.path().join(&real.files[0].name),
            tokenizer: self.folder.path().join("tokenizer.json"),
            runtime: store(&["onnxruntime"])
                .path("onnxruntime")
                .expect("runtime"),
            threads: 1,
        }
    }
}

#[test]
fn a_model_of_bge_m3s_shape_gives_dense_and_sparse_vectors() {
    let tiny = TinyBgeM3::new();
    let mut model = EmbeddingModel::load(&tiny.spec()).expect("load");
    let texts: Vec<String> = ["grad city grad", "rice", "grad city grad"]
        .map(str::to_owned)
        .to_vec();
    let found = model
        .embed(EmbedKind::Passage, &texts, &never)
        .expect("embed");
    assert_eq!(found[0], found[2]);
    assert_ne!(found[0].dense, found[1].dense);
    for embedding in &found {
        assert!((cosine(&embedding.dense, &embedding.dense) - 1.0).abs() < 1e-5);
    }
    let tokens = |index: usize| -> Vec<u32> {
        let sparse: &Vec<(u32, f32)> = found[index].sparse.as_ref().expect("sparse");
        assert!(sparse.iter().all(|(_, weight)| *weight > 0.0));
        sparse.iter().map(|(token, _)| *token).collect()
    };
    assert_eq!(tokens(0), [4, 5], "each word once, special tokens never");
    assert_eq!(tokens(1), [7]);
}

#[test]
fn a_model_of_another_width_or_with_weights_elsewhere_is_refused() {
    let tiny = TinyBgeM3::new();
    let mut spec = tiny.spec();
    spec.shape.dimensions = 1024;
    let mut model = EmbeddingModel::load(&spec).expect("load");
    let error = model
        .embed(EmbedKind::Query, &["grad".to_owned()], &never)
        .expect_err("another width");
    assert!(error.contains("1024 dimensions"), "{error}");

    let bytes = std::fs::read(&spec.model).expect("read");
    let mut graph = Model::decode(bytes.as_slice()).expect("decode");
    let weights = &mut graph.graph.as_mut().expect("a graph").initializer[0];
    weights.raw_data.clear();
    weights.data_location = 1;
    weights.external_data = vec![crate::models::onnx::StringEntry {
        key: "location".to_owned(),
        value: "/etc/passwd".to_owned(),
    }];
    std::fs::write(&spec.model, graph.encode_to_vec()).expect("write");
    let error = EmbeddingModel::load(&spec).err().expect("refused");
    assert!(error.contains("/etc/passwd"), "{error}");
}

#[test]
fn threads_are_shared_out_to_lanes() {
    assert_eq!(lanes(0), (1, 1));
    assert_eq!(lanes(1), (1, 1));
    assert_eq!(lanes(2), (2, 1));
    assert_eq!(lanes(4), (4, 1));
    assert_eq!(lanes(9), (4, 2));
}

/// Not a test of anything: prints the speed, for the figures in the documentation. Per second of
/// processor time too, which other work on the machine disturbs less. Run it with
/// `cargo test -p docent-inference --lib speed_of_the_starter_embedder -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed_of_the_starter_embedder() {
    let sentence = "Članak 15. propisuje da poslodavac mora radniku izdati pisanu potvrdu o \
                    sklopljenom ugovoru, which the employer keeps for at least six years. ";
    let memory = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|value| value.trim().trim_end_matches(" kB").trim().parse().ok())
            .unwrap_or(0)
            / 1024
    };
    // User and system time, in hundredths of a second on Linux.
    let processor = || -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
        let ticks: u32 = [12, 13]
            .iter()
            .filter_map(|&field| fields.get(field)?.parse::<u32>().ok())
            .sum();
        f64::from(ticks) / 100.0
    };
    let tokenizer = spec("multilingual-e5-small", 1).tokenizer;
    let before = memory();
    let counter = TokenizerCounter::open(&tokenizer).expect("tokenizer");
    println!("the tokenizer alone: {} MB", memory() - before);
    for threads in [1, 2] {
        let spec = spec("multilingual-e5-small", threads);
        let before = memory();
        let start = Instant::now();
        let mut model = EmbeddingModel::load(&spec).expect("load");
        println!(
            "threads {threads}: loaded in {:?}, {} MB",
            start.elapsed(),
            memory().saturating_sub(before)
        );
        for (name, repeat, count) in [("45", 1, 200), ("180", 4, 60), ("450", 10, 24)] {
            let texts: Vec<String> = (0..count)
                .map(|index| format!("{index}. {}", sentence.repeat(repeat)))
                .collect();
            let tokens: usize = texts
                .iter()
                .map(|text| counter.token_offsets(text).len() + 4)
                .sum();
            let (mut best, mut work) = (f64::MAX, f64::MAX);
            for _ in 0..3 {
                let (start, begun) = (Instant::now(), processor());
                model
                    .embed(EmbedKind::Passage, &texts, &never)
                    .expect("embed");
                best = best.min(start.elapsed().as_secs_f64());
                work = work.min(processor() - begun);
            }
            println!(
                "threads {threads}, about {name} tokens: {:.1} texts/s, {:.0} tokens/s, {:.0} per \
                 processor second, {} MB",
                f64::from(count) / best,
                tokens as f64 / best,
                tokens as f64 / work,
                memory().saturating_sub(before),
            );
        }
        let start = Instant::now();
        let query = ["Koji je rok za izdavanje potvrde?".to_owned()];
        for _ in 0..20 {
            model
                .embed(EmbedKind::Query, &query, &never)
                .expect("embed");
        }
        println!("threads {threads}: a question {:?}", start.elapsed() / 20);
        drop(model);
    }
    let text = sentence.repeat(4_000);
    let start = Instant::now();
    let tokens = counter.token_offsets(&text).len();
    println!(
        "counting: {:.2} MB/s, {:.0} tokens/s",
        text.len() as f64 / 1e6 / start.elapsed().as_secs_f64(),
        tokens as f64 / start.elapsed().as_secs_f64()
    );
}
