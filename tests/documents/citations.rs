//! Golden citations: quotations from small documents of every format, and where each must be marked.
//!
//! `tests/corpora/citations.jsonl` names a file, a quotation, the text in front of it and its place:
//! a page with the boxes that another program's reader (pdftotext) gives, a slide, a sheet with its
//! row, a part of a message, the headings above. The program reads the files and finds each
//! quotation as a question's passage would be found; the window's own code marks it.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::program::{Docent, Server, named, until};

/// Of the citations, how many must be marked at their place. None may be marked at another.
const RIGHT_SHARE: f64 = 0.98;

/// A box of the other reader may reach this far out of ours, as a share of the page: fonts' heights
/// are counted in more than one way.
const OUTSIDE: f64 = 0.006;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    file: String,
    quote: String,
    /// The text that the quotation follows, without its beginning; may be empty.
    after: String,
    #[serde(default)]
    headings: Vec<String>,
    page: Option<u64>,
    /// Left, top, right and bottom of its lines, in fractions of the page.
    #[serde(default)]
    boxes: Vec<[f64; 4]>,
    slide: Option<u64>,
    sheet: Option<String>,
    row: Option<u64>,
    #[serde(default)]
    message: bool,
    attachment: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Marks {
    quoted: String,
    passage: String,
    before: String,
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Right,
    /// Nothing is marked.
    Unmarked,
    Wrong(String),
}

impl fmt::Display for Golden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.file, self.quote)
    }
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora")
}

fn golden() -> Result<Vec<Golden>> {
    fs::read_to_string(corpora().join("citations.jsonl"))?
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// Without white space, which no two readers agree on, and without the bars between cells.
fn bare(text: &str) -> String {
    text.chars()
        .filter(|char| !char.is_whitespace() && *char != '|')
        .collect()
}

/// A hit of the search as the answer would cite it, with how the window marks it.
fn judge(golden: &Golden, hit: &Value, marks: &Marks) -> Verdict {
    if marks.quoted.is_empty() {
        return Verdict::Unmarked;
    }
    let wrong = |what: String| Verdict::Wrong(what);
    if bare(&marks.quoted) != bare(&golden.quote) {
        return wrong(format!("{:?} is marked", marks.quoted));
    }
    if !is_same(&marks.passage, hit["text"].as_str().unwrap_or_default()) {
        return wrong(format!("the passage is marked as {:?}", marks.passage));
    }
    if !bare(&marks.before).ends_with(&bare(&golden.after)) {
        return wrong(format!("it is marked after {:?}", tail(&marks.before)));
    }
    let title = hit["title"].as_str().unwrap_or_default();
    let path: Vec<&str> = title.split(" > ").collect();
    if let Some(missing) = golden
        .headings
        .iter()
        .find(|heading| !path.contains(&heading.as_str()) && !marks.passage.contains(&***heading))
    {
        return wrong(format!("the heading {missing:?} is not in {title:?}"));
    }
    match place(golden, hit) {
        Some(reason) => wrong(reason),
        None => Verdict::Right,
    }
}

/// Bullets and numbers of lists are drawn and not part of the text.
fn is_same(marked: &str, text: &str) -> bool {
    let letters =
        |text: &str| -> String { text.chars().filter(|char| char.is_alphanumeric()).collect() };
    letters(marked) == letters(text)
}

fn tail(text: &str) -> &str {
    let from = text.char_indices().rev().nth(40).map_or(0, |(at, _)| at);
    &text[from..]
}

/// Why the place that the API gives is not where the quotation stands; `None` when it is.
fn place(golden: &Golden, hit: &Value) -> Option<String> {
    let place = &hit["place"];
    let kind = place["kind"].as_str().unwrap_or("none");
    let within = |first: &str, last: &str, number: u64| {
        place[first].as_u64().is_some_and(|first| first <= number)
            && place[last].as_u64().is_some_and(|last| number <= last)
    };
    let is_there = match golden {
        Golden {
            page: Some(page), ..
        } => kind == "pages" && within("first", "last", *page) && boxes(golden, *page, hit),
        Golden {
            slide: Some(slide), ..
        } => kind == "slides" && within("first", "last", *slide),
        Golden { row: Some(row), .. } => {
            let range = place["range"].as_str().unwrap_or_default();
            kind == "cells"
                && within("first_row", "last_row", *row)
                && place["sheet"].as_str() == golden.sheet.as_deref()
                && range.contains(&format!("{}", place["first_row"]))
        }
        Golden { message: true, .. } => kind == "message",
        Golden {
            attachment: Some(name),
            ..
        } => kind == "attachment" && place["name"].as_str() == Some(name),
        Golden { .. } => place.is_null(),
    };
    (!is_there).then(|| format!("the place is {place}, boxes {}", hit["boxes"]))
}

/// Whether every line of the quotation lies in a box of the passage.
fn boxes(golden: &Golden, page: u64, hit: &Value) -> bool {
    let ours: Vec<[f64; 4]> = hit["boxes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|found| found["page"].as_u64() == Some(page))
        .map(|found| {
            ["left", "top", "right", "bottom"].map(|side| found[side].as_f64().unwrap_or(-1.0))
        })
        .collect();
    golden.boxes.iter().all(|[left, top, right, bottom]| {
        let middle = f64::midpoint(*top, *bottom);
        ours.iter().any(|ours| {
            ours[0] <= left + OUTSIDE
                && ours[2] >= right - OUTSIDE
                && ours[1] <= middle
                && middle <= ours[3]
        })
    })
}

/// Whether a box of the passage covers what is another quotation of the file.
fn covers(other: &Golden, hit: &Value) -> bool {
    other.page.is_some_and(|page| boxes(other, page, hit))
}

/// The same entry, said of another place.
fn doctored(golden: &Golden) -> Golden {
    let mut wrong = golden.clone();
    if let Some(page) = &mut wrong.page {
        *page += 1;
    } else if let Some(slide) = &mut wrong.slide {
        *slide += 5;
    } else if wrong.sheet.is_some() {
        wrong.sheet = Some("Plaće 2".to_owned());
    } else if let Some(row) = &mut wrong.row {
        *row += 500;
    } else if wrong.message {
        wrong.message = false;
        wrong.attachment = Some("ponuda.pdf".to_owned());
    } else if let Some(name) = &mut wrong.attachment {
        name.push_str(".zip");
    } else {
        wrong.after = "Something that stands elsewhere.".to_owned();
    }
    wrong
}

#[tokio::test]
async fn golden_citations_are_marked_where_they_stand() -> Result<()> {
    let golden = golden()?;
    ensure!(golden.len() >= 60, "{} citations", golden.len());
    let docent = Docent::new()?;
    for entry in fs::read_dir(corpora().join("citations"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension != "py")
            || path.ends_with("tariff.py")
        {
            fs::copy(
                &path,
                docent.documents().join(path.file_name().context("a file")?),
            )?;
        }
    }
    let server = docent.serve().await?;
    server.import(&docent.documents()).await?;
    let documents = until("every document to be ready", async || {
        let documents = server.documents().await?;
        for document in &documents {
            ensure!(
                document["status"] != "failed" && document["status"] != "skipped",
                "{document}"
            );
        }
        let ready = documents.len() >= 20
            && documents
                .iter()
                .all(|document| document["status"] == "ready");
        Ok(ready.then_some(documents))
    })
    .await?;

    let mut texts: HashMap<String, Value> = HashMap::new();
    let mut hits = Vec::new();
    let mut cases = Vec::new();
    for entry in &golden {
        let document = named(&documents, &entry.file).with_context(|| entry.to_string())?;
        let id = document["id"]
            .as_str()
            .context("documents have ids")?
            .to_owned();
        let hit = cited(&server, &id, entry).await?;
        if !texts.contains_key(&id) {
            let text = server
                .get(&format!("/workspaces/test/documents/{id}/text"))
                .await?;
            texts.insert(id.clone(), text);
        }
        cases.push(json!({
            "document": texts[&id],
            "passage": { "start": hit["start"], "end": hit["end"], "text": hit["text"] },
            "quote": entry.quote,
        }));
        hits.push(hit);
    }
    let marks = marked(docent.data(), &cases)?;
    ensure!(marks.len() == golden.len());

    let mut right = 0;
    let mut said = Vec::new();
    let mut wrong = 0;
    for ((entry, hit), marks) in golden.iter().zip(&hits).zip(&marks) {
        match judge(entry, hit, marks) {
            Verdict::Right => right += 1,
            Verdict::Unmarked => said.push(format!("{entry} is not marked")),
            Verdict::Wrong(reason) => {
                wrong += 1;
                said.push(format!("{entry}: {reason}"));
            }
        }
        let text = bare(hit["text"].as_str().unwrap_or_default());
        for other in golden.iter().filter(|other| other.file == entry.file) {
            if !text.contains(&bare(&other.quote)) && covers(other, hit) {
                wrong += 1;
                said.push(format!("the boxes of {entry} cover {:?} too", other.quote));
            }
        }
        ensure!(
            judge(&doctored(entry), hit, marks) != Verdict::Right,
            "{entry} passes for right at another place too"
        );
    }
    println!(
        "{right} of {} citations are marked at their place, {wrong} at another",
        golden.len()
    );
    ensure!(wrong == 0, "{}", said.join("\n"));
    ensure!(
        right as f64 >= RIGHT_SHARE * golden.len() as f64,
        "{}",
        said.join("\n")
    );
    Ok(())
}

/// The passage of this document that holds the quotation, as the API gives it.
async fn cited(server: &Server, document: &str, golden: &Golden) -> Result<Value> {
    let words: String = golden
        .quote
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    let found = server
        .get(&format!("/workspaces/test/search?q={words}&k=200"))
        .await?;
    let quote = bare(&golden.quote);
    let wanted = |hit: &&Value| {
        let text = bare(hit["text"].as_str().unwrap_or_default());
        hit["document_id"] == *document && text.contains(&quote)
    };
    let hits = found["hits"].as_array().context("hits are listed")?;
    // A word may stand in several passages: then the one that continues the text in front of it.
    let after = bare(&golden.after) + &quote;
    hits.iter()
        .filter(wanted)
        .find(|hit| bare(hit["text"].as_str().unwrap_or_default()).contains(&after))
        .or_else(|| hits.iter().find(wanted))
        .cloned()
        .with_context(|| format!("{golden} is in no passage"))
}

/// How the window's code marks the passages.
fn marked(folder: &Path, cases: &[Value]) -> Result<Vec<Marks>> {
    let file = folder.join("citations.json");
    fs::write(&file, serde_json::to_vec(cases)?)?;
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui");
    let output = Command::new(if cfg!(windows) { "npx.cmd" } else { "npx" })
        .current_dir(ui)
        .args(["vitest", "run", "src/features/passage/citations.test.tsx"])
        .env("DOCENT_CITATIONS", &file)
        .stdin(Stdio::null())
        .output()
        .context("npx runs the window's tests; `cargo xtask test` installs them")?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let mut written = file.into_os_string();
    written.push(".marks");
    Ok(serde_json::from_slice(&fs::read(written)?)?)
}
