//! Search among 100,000 passages of real text with real vectors, and a document that comes and goes
//! there.
//!
//! The workspace is made once, by the engine from files as any other, and kept in the bench folder;
//! interrupted, it goes on from where it was. There is not so much text for passages of the usual
//! size, so these are shorter, and most are in languages that the questions are not in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use docent_api::error::Code;
use docent_domain::{DocumentCounts, WorkspaceScope};
use docent_engine::parts::{EmbedKind, Hit, WorkspaceIndex};
use docent_engine::{AddedFolders, Code as EngineCode, Config, Engine, Legs, SearchRequest};

use super::report::{Report, Row};
use super::rounds::{Paired, median};
use super::{Stage, new_workspace};
use crate::eval::metrics::percentile;
use crate::eval::questions::{Question, parse};
use crate::failure::Failure;
use crate::output::counted;

const PASSAGES: u64 = 100_000;

/// Largest passage in tokens; 256 by default.
const PASSAGE_TOKENS: usize = 48;

/// Files that are registered before their passages are counted.
const FILES: usize = 250;

const WORKSPACE: &str = "passages";

/// Of a single document, to tell what the size of the other costs.
const SMALL: &str = "small";

/// Questions in the language of the documents that they were written for.
const QUESTIONS: [&str; 2] = ["en-en", "hr-hr"];

/// Asked before anything is measured.
const WARM_UP: usize = 20;

const FIRST: usize = 10;

/// Between two looks at whether a document is found.
const LOOK: Duration = Duration::from_micros(500);

/// By now something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two lines about the making of the workspace, where nobody sees a bar.
const TELL: Duration = Duration::from_secs(30);

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    let questions = questions(stage)?;
    let files = files(stage)?;
    let config = Config {
        chunk_tokens: PASSAGE_TOKENS,
        // Nothing may be loaded again in the middle.
        unload_after_seconds: 0,
        ..stage.config.clone()
    };
    let embedder = config.embedder.clone();
    let data_dir = stage.bench_dir.join(format!("retrieval-{embedder}"));
    let models = [&*embedder, "onnxruntime", "pdfium"];
    stage
        .with_engine_on(&data_dir, config, &models, async |engine| {
            let scope = workspace(engine).await?;
            fill(stage, engine, &scope, &files).await?;
            let counts = engine.counts(&scope).await?;
            let setting = format!(
                "{} of at most {PASSAGE_TOKENS} tokens in {}, {}, {embedder}",
                counted(counts.chunks, "passage"),
                counted(counts.ready, "document"),
                counted(questions.len() as u64, "question"),
            );
            let mut rows = search(engine, &scope, &questions).await?;
            rows.extend(come_and_go(stage, engine, &scope, &questions).await?);
            Ok(Report::new(setting, rows)
                .note(
                    "Retrieval is all from the question's vector to passages with their text: \
                     vectors and words in each language, fusion, rows.",
                )
                .note(format!(
                    "Adding counts all from the path to the passage in search, also the reader's \
                     process; for meaning, less what embedding it takes alone. Median of {}.",
                    stage.rounds
                )))
        })
        .await
}

fn questions(stage: &Stage) -> Result<Vec<Question>, Failure> {
    let mut questions = Vec::new();
    for name in QUESTIONS {
        let file = stage
            .corpus_dir
            .join("known-item")
            .join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let message = format!("{} cannot be read: {error}", file.display());
            Failure::new(Code::NotFound, message)
                .with_hint("Bring it here with: cargo xtask corpus")
        })?;
        questions.extend(parse(&text).map_err(|error| Failure::internal(error.to_string()))?);
    }
    Ok(questions)
}

/// Documents for the workspace, those in the languages of the questions first.
fn files(stage: &Stage) -> Result<Vec<PathBuf>, Failure> {
    let mut files = stage.documents("help/en", "html")?;
    files.extend(stage.documents("help/hr", "html")?);
    files.extend(stage.documents("manuals", "pdf")?);
    let translations = stage.corpus_dir.join("translations");
    let mut languages: Vec<String> = std::fs::read_dir(&translations)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    languages.sort();
    if languages.is_empty() {
        let message = format!("there is nothing in {}", translations.display());
        return Err(Failure::new(Code::NotFound, message)
            .with_hint("Bring it here with: cargo xtask corpus"));
    }
    for language in languages {
        files.extend(stage.documents(&format!("translations/{language}"), "html")?);
    }
    Ok(files)
}

async fn workspace(engine: &Engine) -> Result<WorkspaceScope, Failure> {
    match engine.scope(WORKSPACE).await {
        Err(error) if error.code() == EngineCode::NotFound => {
            new_workspace(engine, WORKSPACE).await
        }
        scope => Ok(scope?),
    }
}

/// Adds files until there are enough passages, and waits until all have their vectors.
async fn fill(
    stage: &Stage,
    engine: &Arc<Engine>,
    scope: &WorkspaceScope,
    files: &[PathBuf],
) -> Result<(), Failure> {
    let is_full =
        |counts: &DocumentCounts| counts.chunks >= PASSAGES && counts.queued + counts.reading == 0;
    let counts = engine.counts(scope).await?;
    if is_full(&counts) && counts.embedded_chunks == counts.chunks {
        return Ok(());
    }
    let bar = stage.output.progress("{bar:40} {msg} {eta}");
    bar.set_length(PASSAGES);
    let begun = Instant::now();
    let mut told = Instant::now();
    let mut tell = |counts: &DocumentCounts, doing: &str| {
        let message = format!(
            "{doing}: {}, {} with vectors, {} s",
            counted(counts.chunks, "passage"),
            counts.embedded_chunks,
            begun.elapsed().as_secs(),
        );
        if bar.is_hidden() && told.elapsed() >= TELL {
            told = Instant::now();
            eprintln!("{message}");
        }
        bar.set_length(PASSAGES.max(counts.chunks));
        bar.set_position(counts.embedded_chunks);
        bar.set_message(message);
    };
    {
        let _held = engine.hold_embedding().await;
        for files in files.chunks(FILES) {
            if engine.counts(scope).await?.chunks >= PASSAGES {
                break;
            }
            engine
                .add_paths(scope, files.to_vec(), AddedFolders::Watch)
                .await?;
            loop {
                let counts = engine.counts(scope).await?;
                tell(&counts, "reading");
                if counts.queued + counts.reading == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    engine
        .wait_idle(scope, |counts| tell(&counts, "embedding"))
        .await?;
    bar.finish_and_clear();
    let counts = engine.counts(scope).await?;
    if !is_full(&counts) {
        let message = format!(
            "the corpus holds only {}",
            counted(counts.chunks, "passage")
        );
        return Err(Failure::internal(message).with_hint("Make it anew with: cargo xtask corpus"));
    }
    Ok(())
}

async fn search(
    engine: &Arc<Engine>,
    scope: &WorkspaceScope,
    questions: &[Question],
) -> Result<Vec<Row>, Failure> {
    let index = engine.index(scope).await?;
    let embedder = engine.embedder(scope).await?;
    let asked = |question: &Question| SearchRequest {
        text: question.question.clone(),
        k: FIRST,
        expand: false,
        legs: Legs::Hybrid,
        language: None,
    };
    for question in questions.iter().take(WARM_UP) {
        engine.search(scope, asked(question)).await?;
    }
    let (mut whole, mut vectors, mut exactly) = (Vec::new(), Vec::new(), Vec::new());
    let mut words = Vec::new();
    let (mut right, mut expected) = (0, 0);
    for question in questions {
        whole.push(engine.search(scope, asked(question)).await?.retrieval_ms);
        let embedded = embedder
            .embed(EmbedKind::Query, vec![question.question.clone()])
            .await
            .map_err(failed)?;
        let vector = &embedded[0].dense;
        let (ms, found) = timed(|| index.search_dense(vector, FIRST, None))?;
        vectors.push(ms);
        words.push(timed(|| index.search_words(&question.question, FIRST, None))?.0);
        let (ms, exact) = timed(|| index.search_dense_exact(vector, FIRST, None))?;
        exactly.push(ms);
        expected += exact.len();
        right += exact
            .iter()
            .filter(|hit| found.iter().any(|found| found.key == hit.key))
            .count();
    }
    let at = |times: &[f64], share| percentile(times.to_vec(), share).unwrap_or(f64::NAN);
    let row = |name, times: &[f64], share| {
        let (time, exact) = (at(times, share), at(&exactly, share));
        Row::new(name, time, "ms").against("reading every vector", exact, time / exact)
    };
    Ok(vec![
        row("whole retrieval, p50", &whole, 0.5),
        row("whole retrieval, p95", &whole, 0.95).at_most(15.0),
        row("of which vectors once, p50", &vectors, 0.5),
        row("of which vectors once, p95", &vectors, 0.95),
        row("of which words once, p50", &words, 0.5),
        row("of which words once, p95", &words, 0.95),
        Row::new(
            "recall@10 of the vector search",
            f64::from(right as u32) / f64::from(expected as u32),
            "",
        )
        .against(
            "reading every vector",
            1.0,
            f64::from(right as u32) / f64::from(expected as u32),
        )
        .at_least(0.99),
    ])
}

/// Milliseconds.
struct ComeAndGone {
    words: f64,
    meaning: f64,
    gone: f64,
}

/// A short note added and deleted among many passages, against the same where it is alone.
async fn come_and_go(
    stage: &Stage,
    engine: &Arc<Engine>,
    scope: &WorkspaceScope,
    questions: &[Question],
) -> Result<Vec<Row>, Failure> {
    if let Ok(left) = engine.scope(SMALL).await {
        engine.delete_workspace(&left).await?;
    }
    let small = new_workspace(engine, SMALL).await?;
    let folder = stage.scratch()?;
    // Starts the reader and opens both indexes for writing.
    for (name, scope) in [("warm-up.txt", scope), ("warm-up-small.txt", &small)] {
        once(engine, scope, &folder.path().join(name), questions).await?;
    }
    let paired = Paired::run(
        stage.rounds,
        async |round| {
            let file = folder.path().join(format!("{round}.txt"));
            let part = &questions[10 * round % (questions.len() / 2)..];
            once(engine, scope, &file, part).await
        },
        async |round| {
            let file = folder.path().join(format!("small-{round}.txt"));
            let part = &questions[10 * round % (questions.len() / 2)..];
            once(engine, &small, &file, part).await
        },
    )
    .await?;
    engine.delete_workspace(&small).await?;
    let row = |name, value: fn(&ComeAndGone) -> f64| {
        Row::new(name, paired.figure(value), "ms")
            .against(
                "in an empty workspace",
                paired.baseline(value),
                paired.ratio(value),
            )
            .at_most(100.0)
    };
    Ok(vec![
        row("added, found by its words", |times| times.words),
        row("added, found by its meaning", |times| times.meaning),
        row("deleted, in no search", |times| times.gone),
    ])
}

/// Adds a note of ten sentences and deletes it.
async fn once(
    engine: &Arc<Engine>,
    scope: &WorkspaceScope,
    file: &Path,
    sentences: &[Question],
) -> Result<ComeAndGone, Failure> {
    let word = "qwyjibozum";
    let mut text = format!("A note about the {word}.\n\n");
    for question in sentences.iter().take(10) {
        text.push_str(&question.question);
        text.push('\n');
    }
    std::fs::write(file, text).map_err(failed)?;
    let index = engine.index(scope).await?;
    let highest = index.word_keys().map_err(failed)?.max();

    let begun = Instant::now();
    let added = engine
        .add_paths(scope, vec![file.to_owned()], AddedFolders::Watch)
        .await?;
    let [document] = added.documents[..] else {
        return Err(Failure::internal("a note was not added"));
    };
    // Keys grow, so a greater one is new.
    let is_new = |hits: &[Hit]| hits.first().is_some_and(|hit| Some(hit.key.0) > highest);
    let found = |index: &WorkspaceIndex| Ok(is_new(&index.search_words(word, 1, None)?));
    until(&index, found).await?;
    let words = milliseconds(begun);
    let keys: Vec<u32> = engine
        .document_chunks(scope, document)
        .await?
        .iter()
        .map(|chunk| chunk.key.0)
        .collect();
    until(&index, |index| {
        let there = index.vector_keys()?;
        Ok(keys.iter().all(|key| there.contains(*key)))
    })
    .await?;
    let until_meaning = milliseconds(begun);
    // The job is recorded after its vectors are there.
    engine.wait_idle(scope, |_| {}).await?;

    let texts = engine.embedded_texts(scope, document).await?.concat();
    let embedder = engine.embedder(scope).await?;
    let mut embedding = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        embedder
            .embed(EmbedKind::Passage, texts.clone())
            .await
            .map_err(failed)?;
        embedding.push(milliseconds(begun));
    }

    let begun = Instant::now();
    engine.delete_document(scope, document).await?;
    let gone = milliseconds(begun);
    let vectors = index.vector_keys().map_err(failed)?;
    let by_words = index.search_words(word, 1, None).map_err(failed)?;
    if is_new(&by_words) || keys.iter().any(|key| vectors.contains(*key)) {
        return Err(Failure::internal("a deleted document is still found"));
    }
    Ok(ComeAndGone {
        words,
        meaning: until_meaning - median(embedding),
        gone,
    })
}

async fn until(
    index: &WorkspaceIndex,
    is_there: impl Fn(&WorkspaceIndex) -> docent_engine::parts::IndexResult<bool>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    while !is_there(index).map_err(failed)? {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::internal("an added document is not found"));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn timed(
    search: impl FnOnce() -> docent_engine::parts::IndexResult<Vec<Hit>>,
) -> Result<(f64, Vec<Hit>), Failure> {
    let begun = Instant::now();
    let hits = search().map_err(failed)?;
    Ok((milliseconds(begun), hits))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::internal(error.to_string())
}
