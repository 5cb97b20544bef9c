//! The disk runs full in the middle of an ingest: it is said, what was there stays, and work goes on
//! when there is room again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Docent, named, outcome, until};

/// Of the whole disk.
const DISK_KIB: u64 = 64 << 10;

/// Left of it: room for a few of the new files, not for all of them.
const ROOM_KIB: u64 = 500;

/// A small file system in a mount namespace of its own, which ends with the process that holds it.
struct SmallDisk {
    folder: TempDir,
    holder: Child,
    /// Whether there is a user namespace too, because this is not root.
    with_user: bool,
}

impl SmallDisk {
    /// `None` where this user may mount nothing, as in a container without any privilege.
    fn mount() -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let with_user = !rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if with_user {
            command.args(["--user", "--map-root-user"]);
        }
        let mut holder = command
            .args(["sh", "-c"])
            .arg(format!(
                "mount -t tmpfs -o size={DISK_KIB}k tmpfs \"$0\" && echo mounted && exec cat"
            ))
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare (util-linux) makes the small disk")?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().context("it is piped")?).read_line(&mut said)?;
        let disk = Self {
            folder,
            holder,
            with_user,
        };
        Ok((said.trim() == "mounted").then_some(disk))
    }

    /// The words that start a program where the disk is visible.
    fn wrapper(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), "--mount".to_owned()];
        if self.with_user {
            words.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words.push(format!("--target={}", self.holder.id()));
        words
    }

    fn shell(&self, script: &str) -> Result<String> {
        let wrapper = self.wrapper();
        let output = Command::new(&wrapper[0])
            .args(&wrapper[1..])
            .args(["sh", "-c", script])
            .arg(self.folder.path())
            .output()?;
        ensure!(
            output.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn room_kib(&self) -> Result<u64> {
        let said = self.shell("df --output=avail -k \"$0\" | tail -n 1")?;
        Ok(said.trim().parse()?)
    }

    /// Fills the disk but for [`ROOM_KIB`].
    fn fill(&self) -> Result<()> {
        let filler = self.room_kib()?.saturating_sub(ROOM_KIB);
        self.shell(&format!(
            "head -c {filler}K /dev/zero > \"$0/somebody-elses-file\""
        ))
        .map(drop)
    }

    fn free(&self) -> Result<()> {
        self.shell("rm \"$0/somebody-elses-file\"").map(drop)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

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
    let Some(disk) = SmallDisk::mount()? else {
        println!("skipped: this machine lets nobody mount a small disk to fill");
        return Ok(());
    };
    let wrapper = disk.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let docent = Docent::new()?.with_data(&disk.data()).through(&wrapper);
    write_files(&docent.documents(), "first", 3)?;
    ensure!(docent.ingest()?["totals"]["indexed"] == 3);

    // On the command line: the command ends and says why.
    disk.fill()?;
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
    disk.fill()?;
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
