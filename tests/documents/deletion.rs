//! What the user deletes is in no file of the data folder any more. Twenty random words stand in every
//! place where a document, a chat or a workspace keeps text; once all of it is deleted and wiped, a scan
//! of every byte finds none of them, nor any of the vectors that were made of them.
//!
//! Before the deletion the same scan has to find each.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use docent_domain::ChunkKey;
use docent_index::WorkspaceIndex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::program::{Docent, Server, named, until};

const SEED: u64 = 20;

/// What each word stands in.
const PLACES: [&str; 20] = [
    "text",
    "heading",
    "title",
    "page",
    "file-name",
    "cell",
    "word-text",
    "word-heading",
    "word-cell",
    "pdf",
    "mail-subject",
    "mail-attachment",
    "json",
    "upload",
    "upload-name",
    "folder-text",
    "workspace-text",
    "workspace-name",
    "old-version",
    "question",
];

struct Canaries(Vec<String>);

impl Canaries {
    fn new() -> Self {
        let mut random = SmallRng::seed_from_u64(SEED);
        let mut word = || (0..18).map(|_| random.random_range('a'..='z')).collect();
        Self(PLACES.iter().map(|_| word()).collect())
    }

    fn of(&self, place: &str) -> &str {
        let index = PLACES.iter().position(|known| *known == place);
        &self.0[index.expect("a place")]
    }

    /// The places whose word is in some file below `folder`, as any encoding of it.
    fn found_below(&self, folder: &Path) -> Result<Vec<&'static str>> {
        let files = files_below(folder)?;
        let mut found = Vec::new();
        for (place, word) in PLACES.iter().zip(&self.0) {
            let wide: Vec<u8> = word.bytes().flat_map(|byte| [byte, 0]).collect();
            for (path, bytes) in &files {
                let in_name = path.to_string_lossy().contains(word);
                if in_name || contains(bytes, word.as_bytes()) || contains(bytes, &wide) {
                    found.push(*place);
                    break;
                }
            }
        }
        Ok(found)
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn files_below(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            let bytes = fs::read(&path)?;
            files.push((path, bytes));
        }
    }
    Ok(files)
}

fn zip(parts: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        writer.start_file(*name, SimpleFileOptions::default())?;
        writer.write_all(content.as_bytes())?;
    }
    Ok(writer.finish()?.into_inner())
}

fn word_document(text: &str, heading: &str, cell: &str) -> Result<Vec<u8>> {
    let paragraph = |style: &str, text: &str| {
        format!("<w:p><w:pPr><w:pStyle w:val='{style}'/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
    };
    let body = paragraph("Heading1", heading)
        + &paragraph("Normal", &format!("The clerk wrote {text} on the form."))
        + &format!(
            "<w:tbl><w:tr><w:tc>{}</w:tc></w:tr></w:tbl>",
            paragraph("Normal", cell)
        );
    zip(&[(
        "word/document.xml",
        &format!("<w:document><w:body>{body}</w:body></w:document>"),
    )])
}

fn pdf(text: &str) -> Vec<u8> {
    let content = format!("BT /F1 12 Tf 70 700 Td ({text}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut file = String::from("%PDF-1.7\n");
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (number, object) in (1..).zip(&objects) {
        table.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
    }
    let start = file.len();
    file.push_str(&table);
    file.push_str(&format!(
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1
    ));
    file.into_bytes()
}

/// Files whose names say how they are deleted: one by one, or by vanishing from their folder.
fn write_documents(folder: &Path, canaries: &Canaries) -> Result<()> {
    let of = |place: &str| canaries.of(place);
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes);
    write(
        "one-note.md",
        format!(
            "# {}\n\nThe meeting was about {}.\n",
            of("heading"),
            of("text")
        )
        .as_bytes(),
    )?;
    write(
        "one-page.html",
        format!(
            "<title>{}</title><p>Our garden grows {}.</p>",
            of("title"),
            of("page")
        )
        .as_bytes(),
    )?;
    write(
        &format!("vanishing-{}.txt", of("file-name")),
        b"This file has a telling name.",
    )?;
    write(
        "vanishing-table.csv",
        format!("Name,Amount\n{},12\n", of("cell")).as_bytes(),
    )?;
    write(
        "one-form.docx",
        &word_document(of("word-text"), of("word-heading"), of("word-cell"))?,
    )?;
    write(
        "vanishing-sheet.pdf",
        &pdf(&format!("The plan is {}", of("pdf"))),
    )?;
    let mail = format!(
        "From: a@b.hr\r\nSubject: {}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello.\r\n\
         --b\r\nContent-Type: text/plain; name=list.txt\r\n\r\nAttached is {}.\r\n--b--\r\n",
        of("mail-subject"),
        of("mail-attachment")
    );
    write("one-mail.eml", mail.as_bytes())?;
    write(
        "one-record.json",
        format!("{{\"{}\": [1, 2]}}", of("json")).as_bytes(),
    )?;
    write(
        "vanishing-versions.txt",
        format!("The first version says {}.", of("old-version")).as_bytes(),
    )?;
    // Those that stay, so that what is deleted has neighbours.
    for number in 0..40 {
        let text = format!(
            "Shelf {number} holds the box of clerk {number}, with the letters of week {number}. "
        );
        write(&format!("kept-{number}.txt"), text.repeat(20).as_bytes())?;
    }
    Ok(())
}

async fn all_ready(server: &Server, workspace: &str, count: usize) -> Result<Vec<Value>> {
    until("all documents to be ready", async || {
        let listed = server
            .get(&format!("/workspaces/{workspace}/documents?limit=500"))
            .await?;
        let documents = listed["items"].as_array().context("a list")?.clone();
        let is_ready = |document: &Value| document["status"] == "ready";
        Ok((documents.len() == count && documents.iter().all(is_ready)).then_some(documents))
    })
    .await
}

/// Waits until the server says that all that was removed is wiped.
async fn wiped(server: &Server) -> Result<()> {
    until("what was removed to be wiped", async || {
        let health = server.get("/health").await?;
        let components = health["components"].as_array().context("components")?;
        let removals = components
            .iter()
            .find(|component| component["name"] == "removals")
            .context("the server says what is to be wiped")?;
        let is_wiped = removals["message"] == "what was removed is wiped";
        Ok(is_wiped.then_some(()))
    })
    .await
}

/// The one index of the data folder, for looking into it while no program has it.
fn index_folders(docent: &Docent) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(docent.data().join("indexes"))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Some numbers of every vector in an index, as they stand in its file.
fn vectors(folder: &Path) -> Result<Vec<(ChunkKey, Vec<u8>)>> {
    let (index, _) = WorkspaceIndex::open_as_stored(folder, docent_index::Generation::FIRST)?
        .context("there are vectors")?;
    let keys: RoaringBitmap = index.vector_keys()?;
    let stored = index.stored_vectors(&keys)?;
    Ok(stored
        .into_iter()
        .map(|vector| {
            let bytes = vector.dense[100..116].iter().flat_map(|x| x.to_le_bytes());
            (vector.key, bytes.collect())
        })
        .collect())
}

/// The segments of the word index that note removals, and the files of those that are not in use.
fn removed_words(folder: &Path) -> Result<Vec<String>> {
    let meta: Value = serde_json::from_slice(&fs::read(folder.join("words/meta.json"))?)?;
    let segments = meta["segments"].as_array().context("segments")?;
    let mut removed = Vec::new();
    let mut used = Vec::new();
    for segment in segments {
        used.push(
            segment["segment_id"]
                .as_str()
                .context("an id")?
                .replace('-', ""),
        );
        if !segment["deletes"].is_null() {
            removed.push(segment.to_string());
        }
    }
    for file in fs::read_dir(folder.join("words"))? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let (stem, _) = name.split_once('.').unwrap_or((&name, ""));
        if stem.len() == 32 && !used.iter().any(|segment| segment == stem) {
            removed.push(name);
        }
    }
    Ok(removed)
}

#[tokio::test]
async fn deleted_text_is_in_no_file_of_the_data_folder() -> Result<()> {
    let canaries = Canaries::new();
    println!("seed {SEED}: {:?}", canaries.0);
    let docent = Docent::new()?;
    let (folder, second) = (docent.documents(), docent.documents().join("../second"));
    write_documents(&folder, &canaries)?;
    fs::create_dir(&second)?;
    let second = second.canonicalize()?;
    let in_folder = format!("In the folder lies {}.", canaries.of("folder-text"));
    fs::write(second.join("inside.txt"), in_folder)?;

    let server = docent.serve().await?;
    server.import(&folder).await?;
    server.import(&second).await?;
    let name = canaries.of("workspace-name");
    server.post("/workspaces", &json!({ "name": name })).await?;
    let other = docent.documents().join("../other.txt");
    let in_workspace = format!("The workspace knows {}.", canaries.of("workspace-text"));
    fs::write(&other, in_workspace)?;
    let import = json!({ "paths": [other.canonicalize()?] });
    server
        .post(&format!("/workspaces/{name}/documents/import"), &import)
        .await?;
    let uploaded = format!("The upload speaks of {}.", canaries.of("upload"));
    let upload_name = format!("{}.txt", canaries.of("upload-name"));
    server.upload(&upload_name, uploaded.as_bytes()).await?;
    let documents = all_ready(&server, "test", 9 + 40 + 1 + 1).await?;
    all_ready(&server, name, 1).await?;

    // A chat that cites what is deleted later, and is deleted itself.
    let question = format!(
        "What was the meeting about, {} or {}?",
        canaries.of("text"),
        canaries.of("question")
    );
    let mut events = server.ask(&question).await?;
    let mut chat = None;
    let mut message = None;
    while let Some((event, data)) = events.next().await? {
        if event == "started" {
            chat = data["chat_id"].as_str().map(str::to_owned);
            message = data["message_id"].as_str().map(str::to_owned);
        }
        if event == "done" || event == "error" {
            break;
        }
    }
    let chat = format!("/workspaces/test/chats/{}", chat.context("a chat")?);
    let message = message.context("a message")?;

    // The control: each is there to be found, by the scan and in the index.
    let found = canaries.found_below(docent.data())?;
    ensure!(
        found == PLACES,
        "the scan finds all that is there: {found:?}"
    );

    // A new version of a file, and the vectors of the old one.
    server.kill()?;
    let folders = index_folders(&docent)?;
    let before: Vec<(PathBuf, Vec<(ChunkKey, Vec<u8>)>)> = folders
        .iter()
        .map(|folder| Ok((folder.clone(), vectors(folder)?)))
        .collect::<Result<_>>()?;
    for (folder, vectors) in &before {
        let data = fs::read(folder.join("vectors/data.mdb"))?;
        ensure!(
            !vectors.is_empty() && vectors.iter().all(|(_, bytes)| contains(&data, bytes)),
            "the scan finds vectors that are there"
        );
    }
    fs::write(
        folder.join("vanishing-versions.txt"),
        "The second version says nothing of the kind, and more of it.",
    )?;
    let server = docent.serve().await?;
    until("the new version", async || {
        let found = server
            .get("/workspaces/test/search?q=second+version+says+nothing&k=5")
            .await?;
        Ok(found
            .to_string()
            .contains("nothing of the kind")
            .then_some(()))
    })
    .await?;
    wiped(&server).await?;
    let found = canaries.found_below(docent.data())?;
    ensure!(
        !found.contains(&"old-version"),
        "a replaced version is wiped"
    );
    ensure!(
        found.len() == PLACES.len() - 1,
        "and nothing else: {found:?}"
    );

    // Delete all of it, each in its own way.
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("vanishing-"))
        {
            fs::remove_file(path)?;
        }
    }
    for document in &documents {
        let path = document["path"].as_str().unwrap_or_default();
        let id = document["id"].as_str().context("an id")?;
        let name = Path::new(path)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        if name.starts_with("one-") || name == upload_name.as_str() {
            server
                .delete(&format!("/workspaces/test/documents/{id}"))
                .await?;
        }
    }
    for (place, question) in [("text", "meeting"), ("upload", "upload+speaks")] {
        let found = server
            .get(&format!(
                "/workspaces/test/search?q={question}+{}&k=10",
                canaries.of(place)
            ))
            .await?;
        ensure!(
            !found.to_string().contains(canaries.of(place)),
            "at once in no search: {found}"
        );
    }
    let messages = server.get(&format!("{chat}/messages")).await?;
    let cited = messages
        .as_array()
        .into_iter()
        .flatten()
        .find(|shown| shown["id"] == message.as_str())
        .context("the answer is kept")?;
    let answer = &cited["answer"];
    let sources: Vec<&Value> = ["citations", "nearest"]
        .iter()
        .filter_map(|list| answer[*list].as_array())
        .flatten()
        .collect();
    ensure!(!sources.is_empty(), "the answer has sources: {cited}");
    let said = serde_json::to_string(&sources)?;
    ensure!(
        !said.contains(canaries.of("text")),
        "sources that were removed say no text: {said}"
    );
    let folders = server.get("/workspaces/test/folders").await?;
    let second_id = folders
        .as_array()
        .into_iter()
        .flatten()
        .find(|known| known["path"] == second.to_string_lossy().as_ref())
        .and_then(|known| known["id"].as_str())
        .context("the second folder")?;
    server
        .delete(&format!("/workspaces/test/folders/{second_id}"))
        .await?;
    server.delete(&chat).await?;
    server.delete(&format!("/workspaces/{name}")).await?;
    until("vanished files to be noticed", async || {
        let documents = server.documents().await?;
        Ok((documents.len() == 40).then_some(()))
    })
    .await?;
    wiped(&server).await?;

    let found = canaries.found_below(docent.data())?;
    ensure!(found.is_empty(), "after the wipe there is still {found:?}");
    server.kill()?;
    let folders = index_folders(&docent)?;
    ensure!(
        folders.len() == 1,
        "the other workspace's index is gone: {folders:?}"
    );
    let (_, before) = before
        .iter()
        .find(|(folder, _)| folder == &folders[0])
        .context("it was there before")?;
    let data = fs::read(folders[0].join("vectors/data.mdb"))?;
    let left: Vec<ChunkKey> = vectors(&folders[0])?.iter().map(|(key, _)| *key).collect();
    let (kept, gone): (Vec<_>, Vec<_>) = before.iter().partition(|(key, _)| left.contains(key));
    ensure!(
        kept.len() >= 40 && gone.len() >= 8,
        "{} and {}",
        kept.len(),
        gone.len()
    );
    ensure!(
        kept.iter().all(|(_, bytes)| contains(&data, bytes)),
        "what was not deleted stays"
    );
    ensure!(
        !gone.iter().any(|(_, bytes)| contains(&data, bytes)),
        "no vector is left of it"
    );
    let words = removed_words(&folders[0])?;
    ensure!(words.is_empty(), "no words are left of it: {words:?}");
    let (report, _) = docent.run(&["doctor"])?;
    ensure!(
        report["findings"] == json!([]) && report["to_wipe"] == json!([]),
        "{report}"
    );
    ensure!(named(&documents, "kept-0.txt").is_some());
    Ok(())
}

/// Without a server at its side, a command that removes also wipes.
#[test]
fn commands_wipe_what_they_remove() -> Result<()> {
    let canaries = Canaries::new();
    let docent = Docent::new()?;
    let (folder, second) = (docent.documents(), docent.documents().join("../second"));
    fs::create_dir(&second)?;
    let write = |path: PathBuf, place: &str| {
        fs::write(path, format!("Here stands {}.", canaries.of(place)))
    };
    write(folder.join("kept.txt"), "page")?;
    write(folder.join("removed.txt"), "text")?;
    write(second.join("inside.txt"), "folder-text")?;
    let other = docent.documents().join("../other.txt");
    write(other.clone(), "workspace-text")?;
    let command = |arguments: &[&str]| docent.succeed(arguments);
    let path = |path: &Path| path.to_string_lossy().into_owned();
    for (file, workspace) in [(&folder, "test"), (&second, "test"), (&other, "other")] {
        command(&["ingest", &path(file), "--workspace", workspace])?;
    }
    let left = || {
        let mut left = canaries.found_below(docent.data())?;
        left.sort_unstable();
        anyhow::Ok(left)
    };
    ensure!(left()? == ["folder-text", "page", "text", "workspace-text"]);

    let missing = path(&folder.join("missing.txt"));
    let removed = path(&folder.join("removed.txt"));
    let remove = ["documents", "remove", "--workspace", "test", &removed];
    let (said, output) = docent.run(&[&remove[..], &[&missing]].concat())?;
    ensure!(!output.status.success() && said["error"]["code"] == "NOT_FOUND");
    ensure!(left()?.contains(&"text"), "all or none");
    let said = command(&[&remove[..], &[&removed]].concat())?;
    ensure!(
        said.as_array().map(Vec::len) == Some(1),
        "named twice: {said}"
    );
    ensure!(said[0]["path"] == fs::canonicalize(&removed)?.to_string_lossy().as_ref());
    ensure!(left()? == ["folder-text", "page", "workspace-text"]);
    command(&["folders", "remove", "--workspace", "test", &path(&second)])?;
    ensure!(left()? == ["page", "workspace-text"]);
    command(&["workspaces", "delete", "other", "--yes"])?;
    ensure!(left()? == ["page"]);

    // The folder that is still watched does not bring it back; adding it again would.
    let scan = ["folders", "scan", "--workspace", "test", &path(&folder)];
    command(&scan)?;
    ensure!(left()? == ["page"]);
    docent.ingest()?;
    ensure!(left()? == ["page", "text"], "control");
    ensure!(Path::new(&removed).exists(), "the user's own file stays");
    Ok(())
}
