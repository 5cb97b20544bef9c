//! Every format on real documents: what became of each file, how fast, and how much of the text of
//! an independent reader was read, in which order.
//!
//! The documents and the references are made by `cargo xtask corpus --formats`. Words are compared
//! without case: recall is the share of the reference's words that were read (as often as there),
//! precision the share of the words read that the reference has. Order is the share of the words
//! that occur once in both that stand in the same order (the longest increasing run).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use docent_api::error::Code;
use docent_domain::{Document, DocumentStatus};
use docent_engine::{AddedFolders, BlockKind, DocumentQuery, Engine};
use serde::{Deserialize, Serialize};

use super::machine;
use super::report::{Report, Row};
use super::{Stage, new_workspace};
use crate::commands::documents;
use crate::failure::Failure;

const FOLDER: &str = "formats";
const REFERENCES: &str = "formats-reference";

/// Files of a format below this recall are named.
const NAMED_BELOW: f64 = 0.98;
const NAMED: usize = 12;

/// A row of the table.
#[derive(Debug, Default, Serialize)]
pub struct FormatFigures {
    pub files: usize,
    pub read: usize,
    /// Files that are neither searchable nor listed with a reason. There must be none.
    pub lost: usize,
    /// Listed with a reason, by what the reason says.
    pub refused: BTreeMap<&'static str, usize>,
    /// Files that were read and that the reference has a text of.
    pub compared: usize,
    pub characters: usize,
    pub bytes: u64,
    pub seconds: f64,
    /// Of all words of the compared files together; the rest are means over the files.
    pub recall_of_words: Option<f64>,
    pub recall: Option<f64>,
    pub precision: Option<f64>,
    pub order: Option<f64>,
    /// Compared files with a recall below 0.98.
    pub below: usize,
    /// What both count in the compared files: ours, then the reference's.
    pub headings: [usize; 2],
    pub tables: [usize; 2],
    pub slides: [usize; 2],
    pub sheets: [usize; 2],
    /// Of the files below, the lowest first.
    pub lowest: Vec<Compared>,
    /// Files that the reference could read and that were refused.
    pub refused_alone: Vec<Refused>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub file: String,
    /// Words of the reference.
    pub words: usize,
    pub recall: f64,
    pub precision: f64,
    pub order: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    pub file: String,
    pub reason: String,
}

/// What the reference says of a file besides its text.
#[derive(Default, Deserialize)]
struct Reference {
    #[serde(default)]
    counts: HashMap<String, usize>,
}

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    let root = stage.corpus_dir.join(FOLDER);
    let references = stage.corpus_dir.join(REFERENCES);
    let folders = sorted(&root);
    if folders.is_empty() {
        let message = format!("there are no documents in {}", root.display());
        return Err(Failure::new(Code::NotFound, message)
            .with_hint("Bring them here with: cargo xtask corpus --formats"));
    }
    let models = [&*stage.config.embedder, "onnxruntime", "pdfium"];
    stage
        .with_engine(&models, async |engine| {
            let _held = engine.hold_embedding().await;
            let mut table = BTreeMap::new();
            for folder in &folders {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                let figures = of_format(engine, folder, &references.join(&*name)).await?;
                table.insert(name.into_owned(), figures);
            }
            Ok(report(table))
        })
        .await
}

async fn of_format(
    engine: &std::sync::Arc<Engine>,
    folder: &Path,
    references: &Path,
) -> Result<FormatFigures, Failure> {
    let files = sorted(folder);
    let name = folder.to_string_lossy();
    let extension = folder.file_name().unwrap_or_default().to_string_lossy();
    let scope = new_workspace(engine, &name).await?;
    let begun = Instant::now();
    let processor = machine::processor_time();
    engine
        .add_paths(&scope, files.clone(), AddedFolders::Once)
        .await?;
    loop {
        let counts = engine.counts(&scope).await?;
        if counts.queued + counts.reading == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let seconds = match (processor, machine::processor_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before).as_secs_f64(),
        _ => begun.elapsed().as_secs_f64(),
    };
    let known: HashMap<String, Document> = documents::all(engine, &scope, DocumentQuery::default())
        .await?
        .into_iter()
        .map(|document| (document.path.clone(), document))
        .collect();
    let mut figures = FormatFigures {
        files: files.len(),
        seconds,
        ..FormatFigures::default()
    };
    let mut compared = Vec::new();
    for file in &files {
        let stem = file.file_name().unwrap_or_default().to_string_lossy();
        let reference = std::fs::read_to_string(references.join(format!("{stem}.txt"))).ok();
        let Some(document) = known.get(&*file.to_string_lossy()) else {
            figures.lost += 1;
            continue;
        };
        figures.bytes += document.size_bytes;
        match document.status {
            DocumentStatus::Words | DocumentStatus::Ready if document.chunk_count > 0 => {
                figures.read += 1;
            }
            DocumentStatus::Failed | DocumentStatus::Skipped if document.reason.is_some() => {
                let reason = document.reason.clone().unwrap_or_default();
                *figures.refused.entry(kind_of(&reason)).or_default() += 1;
                if reference.is_some_and(|text| words(&text, Counted::All).len() > 3) {
                    figures.refused_alone.push(Refused {
                        file: stem.into_owned(),
                        reason,
                    });
                }
                continue;
            }
            _ => {
                figures.lost += 1;
                continue;
            }
        }
        let text = engine.document_text(&scope, document.id).await?;
        figures.characters += text.text.chars().count();
        let Some(reference) = reference else { continue };
        figures.compared += 1;
        let counted = if SPREADSHEETS.contains(&&*extension) {
            Counted::WithLetters
        } else {
            Counted::All
        };
        compared.push(compare(&stem, &text.text, &reference, counted));
        let counts: Reference = std::fs::read(references.join(format!("{stem}.json")))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        count(&mut figures, &text, &counts);
    }
    finish(&mut figures, compared);
    engine.delete_workspace(&scope).await?;
    Ok(figures)
}

fn count(
    figures: &mut FormatFigures,
    text: &docent_engine::DocumentText,
    Reference { counts }: &Reference,
) {
    let headings: Vec<String> = text
        .blocks
        .iter()
        .filter(|block| block.kind == BlockKind::Heading)
        .filter_map(|block| block.span.slice(&text.text).map(str::to_owned))
        .collect();
    let beginning = |with: &str| {
        headings
            .iter()
            .filter(|text| text.starts_with(with))
            .count()
    };
    let mut tables = 0;
    let mut in_table = false;
    for block in &text.blocks {
        let is_row = block.kind == BlockKind::TableRow;
        tables += usize::from(is_row && !in_table);
        in_table = is_row;
    }
    for (name, ours, both) in [
        ("headings", headings.len(), &mut figures.headings),
        ("tables", tables, &mut figures.tables),
        ("slides", beginning("Slide "), &mut figures.slides),
        ("sheets", beginning("Sheet: "), &mut figures.sheets),
    ] {
        if let Some(theirs) = counts.get(name) {
            both[0] += ours;
            both[1] += theirs;
        }
    }
}

fn finish(figures: &mut FormatFigures, mut compared: Vec<Compared>) {
    let mean = |values: Vec<f64>| {
        let count = values.len();
        (count > 0).then(|| values.iter().sum::<f64>() / count as f64)
    };
    let all: usize = compared.iter().map(|file| file.words).sum();
    let found: f64 = compared
        .iter()
        .map(|file| file.recall * file.words as f64)
        .sum();
    figures.recall_of_words = (all > 0).then(|| found / all as f64);
    figures.recall = mean(compared.iter().map(|file| file.recall).collect());
    figures.precision = mean(compared.iter().map(|file| file.precision).collect());
    figures.order = mean(compared.iter().filter_map(|file| file.order).collect());
    compared.sort_by(|one, other| one.recall.total_cmp(&other.recall));
    compared.retain(|file| file.recall < NAMED_BELOW);
    figures.below = compared.len();
    figures.lowest = compared;
}

fn report(table: BTreeMap<String, FormatFigures>) -> Report {
    let sum = |of: fn(&FormatFigures) -> usize| table.values().map(of).sum::<usize>();
    let files = sum(|figures| figures.files);
    let lost = sum(|figures| figures.lost);
    let lowest = table
        .values()
        .filter_map(|figures| figures.recall_of_words)
        .fold(1.0, f64::min);
    let unexplained: usize = table
        .values()
        .filter_map(|figures| figures.refused.get(OTHER))
        .sum();
    let rows = vec![
        Row::new("files lost without a reason", lost as f64, "").at_most(0.0),
        Row::new("refusals of no known kind", unexplained as f64, "").at_most(0.0),
        Row::new("words read, lowest extension", lowest, "").at_least(NAMED_BELOW),
    ];
    let setting = format!(
        "{files} files of {} extensions, each compared with an independent reader",
        table.len()
    );
    let mut report = Report::new(setting, rows).note(format!(
        "{:<6} {:>5} {:>5} {:>7} {:>9} {:>8} {:>7} {:>7}  {:>7} {:>6} {:>6} {:>6} {:>6}",
        "",
        "files",
        "read",
        "refused",
        "compared",
        "million",
        "cpu s",
        "MB/s",
        "words",
        "recall",
        "precis",
        "order",
        "<0.98"
    ));
    for (name, figures) in &table {
        let share = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
        };
        report = report.note(format!(
            "{name:<6} {:>5} {:>5} {:>7} {:>9} {:>8.2} {:>7.1} {:>7.1}  {:>7} {:>6} {:>6} {:>6} {:>6}",
            figures.files,
            figures.read,
            figures.refused.values().sum::<usize>(),
            figures.compared,
            figures.characters as f64 / 1e6,
            figures.seconds,
            figures.bytes as f64 / 1e6 / figures.seconds.max(1e-9),
            share(figures.recall_of_words),
            share(figures.recall),
            share(figures.precision),
            share(figures.order),
            figures.below,
        ));
    }
    report = report.note("million: characters; cpu s: processor seconds of all processes until the words are searchable; words: share of the reference's words that were read; recall, precision and order: means over the files");
    for (name, figures) in &table {
        for (what, [ours, theirs]) in [
            ("headings", figures.headings),
            ("tables", figures.tables),
            ("slides", figures.slides),
            ("sheets", figures.sheets),
        ] {
            if theirs > 0 {
                report = report.note(format!("{name}: {what} {ours}, the reference has {theirs}"));
            }
        }
        if !figures.refused.is_empty() {
            let kinds: Vec<String> = figures
                .refused
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect();
            report = report.note(format!("{name}: refused: {}", kinds.join(", ")));
        }
        for refused in figures.refused_alone.iter().take(NAMED) {
            report = report.note(format!(
                "{name}: refused, and the reference has text: {}: {}",
                refused.file, refused.reason
            ));
        }
        for file in figures.lowest.iter().take(NAMED) {
            report = report.note(format!(
                "{name}: recall {:.3}, precision {:.3}, {} words: {}",
                file.recall, file.precision, file.words, file.file
            ));
        }
    }
    report.with_formats(table)
}

const OTHER: &str = "other";

/// What a reason speaks of.
fn kind_of(reason: &str) -> &'static str {
    const KINDS: &[(&str, &str)] = &[
        ("password", "password"),
        ("locked (DRM)", "DRM"),
        ("encrypted", "encrypted"),
        ("The file is empty", "empty"),
        ("holds no text", "no text"),
        ("Scanned:", "scanned"),
        ("is damaged", "damaged"),
        ("could not be read: the reader", "reader ended"),
        ("is named .", "name and content disagree"),
        ("By its name", "name and content disagree"),
        ("name does not fit", "name and content disagree"),
        ("holds binary data", "binary"),
        ("too big", "too big"),
        ("unpacks to more", "too big"),
        ("characters of text", "too big"),
        ("more than", "too many parts"),
        ("does not read .", "unsupported"),
        ("does not know", "unsupported"),
        ("took too long", "too slow"),
    ];
    KINDS
        .iter()
        .find(|(says, _)| reason.contains(says))
        .map_or(OTHER, |(_, kind)| kind)
}

const SPREADSHEETS: [&str; 4] = ["xlsx", "xlsm", "xls", "ods"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    All,
    WithLetters,
}

/// Runs of letters and digits, in lower case.
fn words(text: &str, counted: Counted) -> Vec<String> {
    text.split(|char: char| !char.is_alphanumeric())
        .filter(|word| match counted {
            Counted::All => !word.is_empty(),
            Counted::WithLetters => word.chars().any(char::is_alphabetic),
        })
        .map(str::to_lowercase)
        .collect()
}

fn compare(file: &str, ours: &str, reference: &str, counted: Counted) -> Compared {
    let (ours, theirs) = (words(ours, counted), words(reference, counted));
    let mut counts: HashMap<&str, [usize; 2]> = HashMap::new();
    for word in &ours {
        counts.entry(word).or_default()[0] += 1;
    }
    for word in &theirs {
        counts.entry(word).or_default()[1] += 1;
    }
    let both: usize = counts.values().map(|[ours, theirs]| ours.min(theirs)).sum();
    let share = |of: usize| {
        if of == 0 {
            1.0
        } else {
            both as f64 / of as f64
        }
    };
    let unique = |word: &str| counts.get(word) == Some(&[1, 1]);
    let places: HashMap<&str, usize> = theirs
        .iter()
        .enumerate()
        .filter(|(_, word)| unique(word))
        .map(|(at, word)| (word.as_str(), at))
        .collect();
    let sequence: Vec<usize> = ours
        .iter()
        .filter_map(|word| places.get(word.as_str()).copied())
        .collect();
    Compared {
        file: file.to_owned(),
        words: theirs.len(),
        recall: share(theirs.len()),
        precision: share(ours.len()),
        order: (sequence.len() > 1).then(|| increasing(&sequence) as f64 / sequence.len() as f64),
    }
}

/// The length of the longest increasing subsequence.
fn increasing(sequence: &[usize]) -> usize {
    let mut ends: Vec<usize> = Vec::new();
    for &value in sequence {
        let at = ends.partition_point(|end| *end < value);
        match ends.get_mut(at) {
            Some(end) => *end = value,
            None => ends.push(value),
        }
    }
    ends.len()
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_lowers_recall_and_what_is_added_precision() {
        let of = |ours, theirs| {
            let found = compare("a", ours, theirs, Counted::All);
            (found.recall, found.precision, found.order)
        };
        let whole = of("Šuma, jela: bor", "šuma jela bor");
        assert!((whole.0 - 1.0).abs() < 1e-9 && (whole.1 - 1.0).abs() < 1e-9);
        let missing = of("šuma jela", "šuma jela bor hrast");
        assert!((missing.0 - 0.5).abs() < 1e-9 && (missing.1 - 1.0).abs() < 1e-9);
        let added = of("šuma jela bor hrast", "šuma jela");
        assert!((added.0 - 1.0).abs() < 1e-9 && (added.1 - 0.5).abs() < 1e-9);
        let repeated = of("bor", "bor bor");
        assert!((repeated.0 - 0.5).abs() < 1e-9, "as often as there");
    }

    #[test]
    fn order_is_told_from_words_that_occur_once() {
        let order = |ours: &str, theirs: &str| compare("a", ours, theirs, Counted::All).order;
        assert_eq!(order("a b c d", "a b c d"), Some(1.0));
        assert_eq!(order("c d a b", "a b c d"), Some(0.5));
        assert_eq!(order("a a", "a a"), None);
    }

    #[test]
    fn every_reason_has_a_kind() {
        for (reason, kind) in [
            (
                "The document is protected by a password. Save a copy",
                "password",
            ),
            ("The document is damaged: it is not a whole PDF.", "damaged"),
            ("The document holds no text.", "no text"),
            ("Something nobody thought of.", OTHER),
        ] {
            assert_eq!(kind_of(reason), kind);
        }
    }
}
