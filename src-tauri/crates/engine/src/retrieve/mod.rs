//! From a question to ranked chunks: by meaning and by words, in every language of the workspace.
//!
//! A question may come in several wordings (as asked, translated, as a passage that would answer
//! it); each is ranked by itself and the rankings are joined. Nothing here builds an index, and
//! nothing asks a model to decide whether to retrieve: it happens on every turn.

pub mod expand;
pub mod fuse;
pub mod language;

use std::collections::HashMap;
use std::sync::Arc;

use docent_domain::{ChunkKey, Language};
use docent_index::{Hit, WorkspaceIndex};
use docent_inference::{EmbedKind, Embedder, Embedding};

use crate::error::{Code, Error, Result};
use crate::indexes::OpenIndex;
use roaring::RoaringBitmap;

use fuse::{Background, Group, Scored, Weights};

/// Candidates that each leg brings, per language. Deeper lists changed no ranking's first ten.
const CANDIDATES: usize = 100;

/// Chunks that stand for "unrelated text" of a language. Their mean score is known to a sixteenth
/// of a standard deviation, and reading them takes less than a millisecond.
const BACKGROUND_SAMPLE: usize = 256;

/// Of fewer chunks than this too many may be related to the question.
const SMALLEST_BACKGROUND: usize = 64;

/// A language with fewer chunks is ranked together with the others, because it has no background
/// of its own to speak of.
const SMALLEST_LANGUAGE: u64 = 32;

/// One way to put the question.
#[derive(Clone, Debug, PartialEq)]
pub struct Wording {
    pub text: String,
    pub kind: EmbedKind,
    pub weight: f32,
    /// Whether its words are searched too; a hypothetical passage's words mislead.
    pub words: bool,
    /// Holds the words of the question before it, which are no evidence for this one by themselves.
    pub leans: bool,
}

impl Wording {
    #[must_use]
    pub fn question(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: EmbedKind::Query,
            weight: 1.0,
            words: true,
            leans: false,
        }
    }

    /// A question that leans on the one before it.
    #[must_use]
    pub fn follow_up(before: &str, text: &str) -> Self {
        Self {
            leans: true,
            ..Self::question(format!("{before} {text}"))
        }
    }

    #[must_use]
    pub fn translation(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: EmbedKind::Query,
            weight: 1.0,
            words: true,
            leans: false,
        }
    }

    #[must_use]
    pub fn hypothetical(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: EmbedKind::Passage,
            weight: 0.8,
            words: false,
            leans: false,
        }
    }
}

/// What a ranking is made from: a wording with its vector, so that a second stage embeds only what
/// it adds.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub wording: Wording,
    pub embedding: Embedding,
    /// Of the embedder: with vectors of another one the embedding compares to nothing.
    pub fingerprint: String,
}

/// Embeds wordings, each once.
pub(crate) async fn embed(
    embedder: &Arc<dyn Embedder>,
    wordings: Vec<Wording>,
) -> Result<Vec<Probe>> {
    let mut probes = Vec::with_capacity(wordings.len());
    for kind in [EmbedKind::Query, EmbedKind::Passage] {
        let of_kind: Vec<&Wording> = wordings
            .iter()
            .filter(|wording| wording.kind == kind)
            .collect();
        if of_kind.is_empty() {
            continue;
        }
        let texts = of_kind.iter().map(|wording| wording.text.clone()).collect();
        let embeddings = embedder.embed(kind, texts).await.map_err(Error::from)?;
        probes.extend(
            of_kind
                .into_iter()
                .zip(embeddings)
                .map(|(wording, embedding)| Probe {
                    wording: wording.clone(),
                    embedding,
                    fingerprint: embedder.fingerprint().to_owned(),
                }),
        );
    }
    Ok(probes)
}

/// Sentences about nothing in particular: the background of small workspaces.
const GENERAL_ENGLISH: [&str; 12] = [
    "The train to the coast leaves every two hours and stops at most villages.",
    "She put the kettle on and looked for the blue cups.",
    "Prices rose slightly in the second quarter of the year.",
    "The museum is closed on Mondays and on public holidays.",
    "Add the flour slowly and stir until the dough is smooth.",
    "The committee will meet again in the first week of March.",
    "Heavy rain is expected in the north, with strong winds near the lakes.",
    "He repaired the fence before the sheep came back from the hill.",
    "The contract is signed by both parties in two copies.",
    "Press the button for three seconds until the light turns green.",
    "The report describes the methods and the results of the study.",
    "Our customers can return the goods within fourteen days.",
];

const GENERAL_CROATIAN: [&str; 12] = [
    "Vlak za obalu polazi svaka dva sata i staje u većini mjesta.",
    "Pristavila je čaj i potražila plave šalice.",
    "Cijene su u drugom tromjesečju blago porasle.",
    "Muzej je zatvoren ponedjeljkom i blagdanima.",
    "Polako dodajte brašno i miješajte dok tijesto ne postane glatko.",
    "Odbor će se ponovno sastati prvog tjedna u ožujku.",
    "Na sjeveru se očekuje jaka kiša, a uz jezera i jak vjetar.",
    "Popravio je ogradu prije nego što su se ovce vratile s brda.",
    "Ugovor potpisuju obje strane u dva primjerka.",
    "Držite tipku tri sekunde dok svjetlo ne postane zeleno.",
    "Izvještaj opisuje metode i rezultate istraživanja.",
    "Kupci mogu vratiti robu u roku od četrnaest dana.",
];

/// The vectors of the general sentences for an embedder, the English ones first.
pub(crate) async fn general_background(embedder: &Arc<dyn Embedder>) -> Result<Vec<Vec<f32>>> {
    let texts = GENERAL_ENGLISH
        .into_iter()
        .chain(GENERAL_CROATIAN)
        .map(str::to_owned)
        .collect();
    let vectors = embedder.embed(EmbedKind::Passage, texts).await?;
    Ok(vectors.into_iter().map(|vector| vector.dense).collect())
}

/// Of the [`general_background`], the sentences in a language.
pub(crate) fn general_of(general: &[Vec<f32>], language: Language) -> &[Vec<f32>] {
    let (english, croatian) = general.split_at(GENERAL_ENGLISH.len().min(general.len()));
    match language {
        Language::Croatian => croatian,
        Language::English => english,
        Language::Undetermined => general,
    }
}

/// Ranks the chunks of an index for all probes together.
pub(crate) async fn rank(open: &OpenIndex, probes: Vec<Probe>) -> Result<Vec<Scored>> {
    let index = Arc::clone(&open.index);
    let general = open.general().await?;
    tokio::task::spawn_blocking(move || rank_blocking(&index, &probes, &general))
        .await
        .map_err(|error| Error::internal("searching", error))?
}

/// As [`rank`], on the calling thread.
pub(crate) fn rank_blocking(
    index: &WorkspaceIndex,
    probes: &[Probe],
    general: &[Vec<f32>],
) -> Result<Vec<Scored>> {
    let made_by = &index.vector_spec().fingerprint;
    if let Some(foreign) = probes.iter().find(|probe| probe.fingerprint != *made_by) {
        return Err(Error::new(
            Code::Internal,
            format!(
                "a question embedded by {} was to be searched among vectors of {made_by}",
                foreign.fingerprint
            ),
        ));
    }
    let mut rankings = Vec::with_capacity(probes.len());
    for probe in probes {
        rankings.push((probe.wording.weight, rank_one(index, probe, general)?));
    }
    Ok(match rankings.len() {
        1 => rankings.swap_remove(0).1,
        _ => fuse::join(&rankings),
    })
}

fn rank_one(index: &WorkspaceIndex, probe: &Probe, general: &[Vec<f32>]) -> Result<Vec<Scored>> {
    let query = &probe.embedding.dense;
    let groups = search_groups(index, probe, general)?;
    let mut failure = None;
    let mut scored = fuse::fuse(&groups, Weights::default(), |keys| {
        dense_scores(index, query, keys).unwrap_or_else(|error| {
            failure = Some(error);
            vec![None; keys.len()]
        })
    });
    if let Some(error) = failure {
        return Err(error);
    }
    if let Some(sparse) = &probe.embedding.sparse {
        let keys: Vec<ChunkKey> = scored.iter().map(|scored| scored.key).collect();
        let scores = index.sparse_scores(sparse, &keys)?;
        fuse::add_sparse(&mut scored, &scores);
    }
    Ok(scored)
}

/// What each language of an index finds, by meaning and by words side by side.
fn search_groups(
    index: &WorkspaceIndex,
    probe: &Probe,
    general: &[Vec<f32>],
) -> Result<Vec<Group>> {
    let query = &probe.embedding.dense;
    let members = language_groups(index);
    let members: Vec<&RoaringBitmap> = members.iter().collect();
    // A filter over everything would only cost time.
    let whole = members.len() == 1;
    let by_words = || -> Result<Vec<Vec<Hit>>> {
        let text = &probe.wording.text;
        Ok(if !probe.wording.words {
            vec![Vec::new(); members.len()]
        } else if whole {
            vec![index.search_words(text, CANDIDATES, None)?]
        } else {
            index.search_words_each(text, CANDIDATES, &members)?
        })
    };
    let by_meaning = || -> Result<Vec<(Vec<Hit>, Background)>> {
        let found = if whole {
            vec![index.search_dense(query, CANDIDATES, None)?]
        } else {
            index.search_dense_each(query, CANDIDATES, &members)?
        };
        members
            .iter()
            .zip(found)
            .map(|(keys, found)| Ok((found, background(index, query, keys, general)?)))
            .collect()
    };
    let (dense, words) = std::thread::scope(|scope| {
        let words = scope.spawn(by_words);
        let dense = by_meaning();
        (dense, words.join().expect("BUG: searching does not panic"))
    });
    Ok(dense?
        .into_iter()
        .zip(words?)
        .map(|((dense, background), words)| Group {
            dense,
            words,
            background,
        })
        .collect())
}

/// Cosines of given chunks, in their order; `None` for those without a vector.
fn dense_scores(
    index: &WorkspaceIndex,
    query: &[f32],
    keys: &[ChunkKey],
) -> Result<Vec<Option<f32>>> {
    let filter: RoaringBitmap = keys.iter().map(|key| key.0).collect();
    let hits = index.search_dense(query, keys.len(), Some(&filter))?;
    let found: HashMap<ChunkKey, f32> = hits.iter().map(|hit| (hit.key, hit.score)).collect();
    Ok(keys.iter().map(|key| found.get(key).copied()).collect())
}

/// The chunks of each language that is ranked by itself.
fn language_groups(index: &WorkspaceIndex) -> Vec<RoaringBitmap> {
    let languages = index.languages();
    let (large, small): (Vec<_>, Vec<_>) = languages
        .present()
        .map(|(_, keys)| keys.clone())
        .partition(|keys| keys.len() >= SMALLEST_LANGUAGE);
    let mut groups: Vec<RoaringBitmap> = large;
    let rest = small
        .into_iter()
        .fold(RoaringBitmap::new(), |all, keys| all | keys);
    if !rest.is_empty() {
        match groups.iter_mut().max_by_key(|keys| keys.len()) {
            Some(largest) => *largest |= rest,
            None => groups.push(rest),
        }
    }
    groups
}

/// What unrelated chunks score. A workspace too small to have unrelated chunks of its own is
/// measured against general sentences instead.
fn background(
    index: &WorkspaceIndex,
    query: &[f32],
    members: &RoaringBitmap,
    general: &[Vec<f32>],
) -> Result<Background> {
    let step = (members.len() / BACKGROUND_SAMPLE as u64).max(1) as u32;
    let sample: RoaringBitmap = (0..BACKGROUND_SAMPLE as u32)
        .map_while(|n| members.select(n * step))
        .collect();
    let mut scores = index.sample_scores(query, &sample)?;
    if scores.len() < SMALLEST_BACKGROUND {
        scores = general
            .iter()
            .map(|sentence| dot(sentence, query))
            .collect();
    }
    Ok(Background::of(&scores))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The languages that make up at least a tenth of an index, the largest first.
#[must_use]
pub(crate) fn present_languages(index: &WorkspaceIndex) -> Vec<Language> {
    let languages = index.languages();
    let total = languages.len();
    let mut present: Vec<(u64, Language)> = languages
        .present()
        .map(|(language, keys)| (keys.len(), language))
        .filter(|(count, language)| *language != Language::Undetermined && count * 10 >= total)
        .collect();
    present.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    present.into_iter().map(|(_, language)| language).collect()
}
