//! The disk runs full in the middle of an ingest: it is said, what was there stays, and work goes on
//! when there is room again.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::program::{Docent, Server, named, outcome, until};

/// Of the whole disk.
const DISK_KIB: u64 = 64 << 10;

/// Left of it: room for a few of the new files, not for all of them.
const ROOM_KIB: u64 = 500;

fn write_files(folder: &Path, name: &str, count: u32) -> Result<()> {
    for number in 0..count {
        let text = format!("The {name} shelf number {number} holds the box of clerk {number}. ");
        fs::write(
            folder.join(format!("{name}-{number:02}.txt")),
            text.repeat(40),
        )?;
    }
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_said_costs_nothing_and_work_goes_on_when_there_is_room() -> Result<()> {
    let Some(disk) = Disk::in_memory(DISK_KIB)? else {
        println!("skipped: this machine lets nobody mount a small disk to fill");
        return Ok(());
    };
    let wrapper = disk.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let docent = Docent::new()?.with_data(&disk.data()).through(&wrapper);
    write_files(&docent.documents(), "first", 3)?;
    ensure!(docent.ingest()?["totals"]["indexed"] == 3);

    // On the command line: the command ends and says why.
    disk.fill(ROOM_KIB)?;
    write_files(&docent.documents(), "second", 30)?;
    let folder = docent.documents().to_string_lossy().into_owned();
    let (said, output) = docent.run(&["ingest", &folder, "--workspace", "test"])?;
    ensure!(!output.status.success(), "{said}");
    ensure!(
        said["error"]["code"] == "INSUFFICIENT_STORAGE",
        "the reason is for scripts too: {said}"
    );
    let message = said["error"]["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("disk is full") && message.contains("kept"),
        "it says what happened and what was kept: {message}"
    );
    ensure!(
        said["error"]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("Free some")),
        "it says what to do: {said}"
    );

    disk.free()?;
    let report = docent.ingest()?;
    ensure!(report["totals"]["failed"] == 0, "{report}");
    ensure!(report["totals"]["files"] == 33, "{report}");
    for number in 0..3 {
        let file = outcome(&report, &format!("first-{number:02}.txt"))?;
        ensure!(
            file["outcome"] == "unchanged",
            "what was there stays: {file}"
        );
    }
    ensure!(docent.findings()?.is_empty());

    // In the server: it goes on by itself, and meanwhile what was there is found.
    let server = docent.serve().await?;
    server.import(&docent.documents()).await?;
    disk.fill(ROOM_KIB)?;
    write_files(&docent.documents(), "third", 30)?;
    server.import(&docent.documents()).await.ok();
    let jobs = until("the server to say that the disk is full", async || {
        let health = server.get("/health").await?;
        let jobs = component(&health, "jobs")?.clone();
        Ok((jobs["status"] == "degraded").then_some(jobs))
    })
    .await?;
    ensure!(
        jobs["message"]
            .as_str()
            .is_some_and(|message| message.contains("disk is full")),
        "{jobs}"
    );
    let found = server
        .get("/workspaces/test/search?q=first+shelf&k=3")
        .await?;
    ensure!(found.to_string().contains("first-0"), "{found}");

    disk.free()?;
    until("everything to be ready", async || {
        let documents = server.documents().await?;
        ensure!(
            documents
                .iter()
                .all(|document| document["status"] != "failed"),
            "a full disk is no fault of a file: {documents:?}"
        );
        let is_ready = |number: u32| {
            named(&documents, &format!("third-{number:02}.txt"))
                .is_some_and(|document| document["status"] == "ready")
        };
        Ok((0..30).all(is_ready).then_some(()))
    })
    .await?;
    until("the server to be at rest", async || {
        let health = server.get("/health").await?;
        Ok((component(&health, "jobs")?["status"] == "healthy").then_some(()))
    })
    .await?;
    let found = server
        .get("/workspaces/test/search?q=third+shelf&k=3")
        .await?;
    ensure!(found.to_string().contains("third-"), "{found}");
    let documents = server.documents().await?;
    ensure!(documents.len() == 63, "each once: {}", documents.len());
    server.kill()?;
    ensure!(docent.findings()?.is_empty());
    Ok(())
}

/// What is left of the disk while files are added and removed, so that one stage or another finds no
/// room: everything, the uploaded bytes, the rows, the words, the vectors.
const LEVELS_KIB: [u64; 6] = [0, 150, 300, 500, 900, 1500];

/// Files added at each level, one that is uploaded, and one that is removed.
const FILES_A_LEVEL: u32 = 12;

#[tokio::test]
async fn at_six_fill_levels_nothing_acknowledged_is_lost_and_all_of_it_goes_on_by_itself()
-> Result<()> {
    let Some(disk) = Disk::in_memory(DISK_KIB)? else {
        println!("skipped: this machine lets nobody mount a small disk to fill");
        return Ok(());
    };
    let wrapper = disk.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let docent = Docent::new()?.with_data(&disk.data()).through(&wrapper);
    write_files(&docent.documents(), "zero", FILES_A_LEVEL)?;
    let server = docent.serve().await?;
    server.import(&docent.documents()).await?;
    let mut expected = FILES_A_LEVEL as usize;
    all_ready(&server, expected).await?;
    let mut full = 0;
    for (level, left_kib) in LEVELS_KIB.into_iter().enumerate() {
        let name = format!("level-{level}");
        let unwanted = format!("unwanted-{level}.txt");
        let said = "Nobody wants this zaborav any more. ".repeat(40 + level);
        server.upload(&unwanted, said.as_bytes()).await?;
        all_ready(&server, expected + 1).await?;
        let documents = server.documents().await?;
        let unwanted = &named(&documents, &unwanted).context("it is there")?["id"];
        let unwanted = unwanted.as_str().context("it has an id")?;
        let unwanted = format!("/workspaces/test/documents/{unwanted}");
        disk.fill(left_kib)?;
        if left_kib == 0 {
            // Said at once, and as what it is, whatever is wanted.
            let renamed = server
                .patch("/workspaces/test", &json!({ "name": "Test" }))
                .await;
            let made = server
                .post("/workspaces", &json!({ "name": "other" }))
                .await;
            for refused in [renamed, made] {
                let said = refused.err().context("there is no room for it")?;
                ensure!(said.to_string().starts_with("507"), "{said}");
            }
        }
        let removed = server.delete(&unwanted).await;
        write_files(&docent.documents(), &name, FILES_A_LEVEL)?;
        expected += FILES_A_LEVEL as usize;
        // Refused, it was not acknowledged; taken, it has to be there in the end.
        let uploaded = "The receipt is in the drawer. ".repeat(2000 + level);
        let upload = server
            .upload(&format!("{name}.txt"), uploaded.as_bytes())
            .await;
        let imported = server.import(&docent.documents()).await;
        let errors = [
            removed.as_ref().err(),
            upload.as_ref().err(),
            imported.as_ref().err(),
        ];
        let said = errors.map(|error| error.map(ToString::to_string));
        for said in said.iter().flatten() {
            ensure!(said.starts_with("507"), "{said}");
        }
        expected += usize::from(upload.is_ok());
        let there = expected + usize::from(removed.is_err());
        // Refused by the database itself, nothing is on its way.
        let is_full = imported.is_err()
            || until("a full disk, or the end of it", async || {
                let health = server.get("/health").await?;
                let is_full = component(&health, "jobs")?["status"] == "degraded";
                let documents = server.documents().await?;
                let is_done = documents.len() == there && documents.iter().all(is_ready);
                Ok((is_full || is_done).then_some(is_full))
            })
            .await?;
        println!("{left_kib} KiB left: full {is_full}, said to the client {said:?}");
        full += usize::from(is_full);
        let found = server
            .get("/workspaces/test/search?q=zero+shelf&k=3")
            .await?;
        ensure!(
            found.to_string().contains("zero-"),
            "what was there is found: {found}"
        );

        disk.free()?;
        if removed.is_err() {
            server.delete(&unwanted).await?;
        }
        // Also where the folder could not be added again: it is watched.
        all_ready(&server, expected).await?;
        until("the words of what was removed to be gone", async || {
            let found = server
                .get("/workspaces/test/search?q=zaborav&k=3")
                .await?
                .to_string();
            ensure!(!found.contains("zaborav any"), "it is found: {found}");
            let removals = component(&server.get("/health").await?, "removals")?.to_string();
            Ok(removals.contains("removed is wiped").then_some(()))
        })
        .await?;
    }
    ensure!(
        full >= 3,
        "the levels are so low that the disk runs full: {full}"
    );
    server.kill()?;
    ensure!(docent.findings()?.is_empty());
    Ok(())
}

fn is_ready(document: &Value) -> bool {
    document["status"] == "ready"
}

async fn all_ready(server: &Server, count: usize) -> Result<()> {
    until("everything to be ready", async || {
        let documents = server.documents().await?;
        ensure!(
            documents
                .iter()
                .all(|document| document["status"] != "failed"),
            "a full disk is no fault of a file: {documents:?}"
        );
        Ok((documents.len() == count && documents.iter().all(is_ready)).then_some(()))
    })
    .await
}

fn component<'a>(health: &'a Value, name: &str) -> Result<&'a Value> {
    health["components"]
        .as_array()
        .and_then(|components| {
            components
                .iter()
                .find(|component| component["name"] == json!(name))
        })
        .with_context(|| format!("{name} is missing from {health}"))
}
