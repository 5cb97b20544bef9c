//! Files that cannot be read: each says why, and none disturbs the others.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{Docent, named, outcome, until};

#[test]
fn each_bad_file_says_why_and_the_good_one_is_searchable() -> Result<()> {
    let docent = Docent::new()?;
    let folder = docent.documents();
    fs::write(
        folder.join("good.txt"),
        "The archive room is open on Tuesdays and Thursdays.\n",
    )?;
    fs::write(folder.join("empty.txt"), "")?;
    fs::write(
        folder.join("not-a-word-file.docx"),
        "PK\u{3}\u{4} this is no archive at all",
    )?;
    fs::write(
        folder.join("not-a.pdf"),
        "just some text that calls itself a PDF",
    )?;
    fs::write(folder.join("table.xlsx"), "whatever")?;
    fs::write(
        folder.join("broken-text.txt"),
        b"Za\xe8elje i pravilnik \xff\xfe\xfd o radu u uredu.",
    )?;
    fs::write(
        folder.join("binary.txt"),
        [0_u8, 1, 2, 0, 255, 0, 7].repeat(400),
    )?;
    fs::write(folder.join("locked.pdf"), locked_pdf()?)?;
    symlink("/etc/passwd", folder.join("link.txt"))?;

    let report = docent.ingest()?;
    for (name, outcomes, says) in [
        ("empty.txt", ["skipped", "skipped"], "empty"),
        ("not-a-word-file.docx", ["failed", "skipped"], ""),
        ("not-a.pdf", ["failed", "skipped"], ""),
        ("table.xlsx", ["skipped", "skipped"], "xlsx"),
        ("binary.txt", ["failed", "skipped"], ""),
        ("locked.pdf", ["failed", "failed"], "password"),
    ] {
        let file = outcome(&report, name)?;
        ensure!(
            outcomes.iter().any(|outcome| file["outcome"] == *outcome),
            "{name}: {file}"
        );
        let reason = file["reason"].as_str().unwrap_or_default();
        ensure!(
            reason.len() > 10 && reason.contains(says),
            "{name} says why: {file}"
        );
    }
    ensure!(outcome(&report, "good.txt")?["outcome"] == "indexed");
    ensure!(
        outcome(&report, "broken-text.txt")?["outcome"] == "indexed",
        "bad bytes are no reason"
    );
    ensure!(
        outcome(&report, "link.txt").is_err(),
        "links are not followed"
    );

    let found = docent.succeed(&["search", "When is the archive open?", "--workspace", "test"])?;
    ensure!(found.to_string().contains("Tuesdays"), "{found}");
    ensure!(docent.findings()?.is_empty());
    Ok(())
}

/// A PDF that no empty password opens.
fn locked_pdf() -> Result<Vec<u8>> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
    ];
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes();
    for (number, object) in (1..).zip(objects) {
        writeln!(table, "{:010} 00000 n ", file.len())?;
        write!(file, "{number} 0 obj\n{object}\nendobj\n")?;
    }
    let start = file.len();
    file.append(&mut table);
    let check = "41".repeat(32);
    write!(
        file,
        "trailer\n<< /Size {} /Root 1 0 R /ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 \
         /O <{check}> /U <{check}> /P -4 >> >>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1
    )?;
    Ok(file)
}

#[test]
fn what_may_not_be_read_says_so_and_is_read_once_it_may() -> Result<()> {
    // Root may read everything, unless it is started without the right to override permissions.
    let docent = if rustix::process::geteuid().is_root() {
        Docent::new()?.through(&["setpriv", "--bounding-set=-dac_override,-dac_read_search"])
    } else {
        Docent::new()?
    };
    let folder = docent.documents();
    let (closed, private) = (folder.join("closed"), folder.join("private.txt"));
    fs::write(
        folder.join("good.txt"),
        "The archive room is open on Tuesdays.",
    )?;
    fs::write(&private, "The vault is opened by two keys.")?;
    fs::create_dir(&closed)?;
    fs::write(
        closed.join("inside.txt"),
        "The boiler is serviced in October.",
    )?;
    let allow = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode));
    allow(&private, 0)?;
    allow(&closed, 0)?;

    let report = docent.ingest()?;
    ensure!(
        outcome(&report, "good.txt")?["outcome"] == "indexed",
        "{report}"
    );
    let file = outcome(&report, "private.txt")?;
    let says = |file: &Value, what: &str| {
        file["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains(what))
    };
    ensure!(
        file["outcome"] == "failed" && says(file, "permission"),
        "{file}"
    );
    let whole = outcome(&report, "documents")?;
    ensure!(
        whole["outcome"] == "failed" && says(whole, &closed.to_string_lossy()),
        "a folder that could not be read to its end says where: {whole}"
    );

    allow(&private, 0o600)?;
    allow(&closed, 0o700)?;
    let report = docent.ingest()?;
    ensure!(report["totals"]["failed"] == 0, "{report}");
    ensure!(
        outcome(&report, "private.txt")?["outcome"] == "indexed",
        "{report}"
    );
    ensure!(
        outcome(&report, "closed/inside.txt")?["outcome"] == "indexed",
        "{report}"
    );
    ensure!(
        outcome(&report, "good.txt")?["outcome"] == "unchanged",
        "{report}"
    );

    // What could be seen once is not taken for deleted because it cannot be seen now.
    allow(&closed, 0)?;
    docent.ingest()?;
    allow(&closed, 0o700)?;
    let found = docent.succeed(&["search", "When is the boiler serviced?", "-w", "test"])?;
    ensure!(found.to_string().contains("October"), "{found}");
    ensure!(docent.findings()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_file_that_disappears_while_it_is_read_says_so() -> Result<()> {
    let docent = Docent::new()?;
    let (there, going, next) = (
        docent.documents().join("there.txt"),
        docent.documents().join("going.txt"),
        docent.documents().join("next.txt"),
    );
    fs::write(&there, "The archive room is open on Tuesdays.")?;
    fs::write(&going, "The vault is opened by two keys.")?;
    fs::write(&next, "The boiler is serviced in October.")?;
    let server = docent.serve().await?;
    let status = async |name: &str| -> Result<Option<Value>> {
        Ok(named(&server.documents().await?, name).cloned())
    };
    let ready = async |name: &str| -> Result<Value> {
        until(name, async || {
            Ok(status(name).await?.filter(|file| file["status"] == "ready"))
        })
        .await
    };
    server.import(&there).await?;
    ready("there.txt").await?;

    // The reader is held where it is, so that the file goes while it is in its hands.
    let reader = i32::try_from(server.worker("extractor").await?)?;
    let reader = Pid::from_raw(reader).context("a process id")?;
    kill_process(reader, Signal::STOP)?;
    server.import(&going).await?;
    until("the file to be in hand", async || {
        Ok(status("going.txt")
            .await?
            .filter(|file| file["status"] == "reading"))
    })
    .await?;
    fs::remove_file(&going)?;
    kill_process(reader, Signal::CONT)?;
    let failed = until("the file to be given up", async || {
        Ok(status("going.txt")
            .await?
            .filter(|file| file["status"] == "failed"))
    })
    .await?;
    ensure!(
        failed["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("not there any more")),
        "{failed}"
    );

    server.import(&next).await?;
    ready("next.txt").await?;
    ready("there.txt").await?;
    server.kill()?;
    ensure!(docent.findings()?.is_empty());
    Ok(())
}

/// Process memory that is not a model's: the file must not be in it.
const MEMORY_BYTES: u64 = 512 << 20;

#[test]
fn a_text_of_a_gigabyte_is_refused_in_little_memory() -> Result<()> {
    let docent = Docent::new()?;
    let folder = docent.documents();
    fs::write(
        folder.join("good.txt"),
        "The archive room is open on Tuesdays.",
    )?;
    let mut huge = fs::File::create(folder.join("huge.txt"))?;
    huge.write_all(
        "Text as text goes, line after line.\n"
            .repeat(5000)
            .as_bytes(),
    )?;
    // The rest takes no room on the disk, but would be read all the same.
    huge.set_len(1 << 30)?;
    drop(huge);

    let mut child = docent
        .command(&["ingest", &folder.to_string_lossy(), "--workspace", "test"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let extractor = docent_tests::worker(child.id(), "extractor")?;
        for process in [Some(child.id()), extractor].into_iter().flatten() {
            peak = peak.max(docent_tests::peak_memory(process).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let report: Value = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
    let file = outcome(&report, "huge.txt")?;
    ensure!(
        file["outcome"] == "failed"
            && file["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("too big")),
        "{file}"
    );
    ensure!(outcome(&report, "good.txt")?["outcome"] == "indexed");
    ensure!(
        (1 << 20..MEMORY_BYTES).contains(&peak),
        "peak memory was {peak} bytes"
    );
    println!("peak memory {} MiB", peak >> 20);
    Ok(())
}

#[test]
fn an_empty_folder_is_no_error() -> Result<()> {
    let docent = Docent::new()?;
    let report = docent.ingest()?;
    ensure!(report["totals"]["files"] == 0, "{report}");
    Ok(())
}

#[test]
fn a_changed_file_replaces_its_old_self_and_a_deleted_one_goes() -> Result<()> {
    let docent = Docent::new()?;
    let file = docent.documents().join("note.txt");
    fs::write(
        &file,
        "The code of the safe is kept by Marija Kovač in the archive.",
    )?;
    docent.ingest()?;
    let search = |question: &str| docent.succeed(&["search", question, "--workspace", "test"]);
    ensure!(
        search("Who keeps the code?")?
            .to_string()
            .contains("Marija")
    );

    let mut changed = fs::File::create(&file)?;
    changed.write_all(b"The code of the safe is kept by Petar Babic in the cellar now.")?;
    drop(changed);
    let report = docent.ingest()?;
    ensure!(
        outcome(&report, "note.txt")?["outcome"] == "indexed",
        "{report}"
    );
    let found = search("Who keeps the code?")?.to_string();
    ensure!(
        found.contains("Petar") && !found.contains("Marija"),
        "{found}"
    );

    fs::remove_file(&file)?;
    docent.ingest()?;
    let found = search("Who keeps the code?")?.to_string();
    ensure!(!found.contains("Petar"), "{found}");
    ensure!(docent.findings()?.is_empty());
    Ok(())
}

#[test]
fn what_docent_keeps_is_no_document() -> Result<()> {
    let docent = Docent::new()?;
    let folder = docent.documents();
    let docent = docent.with_data(&folder.join("docent"));
    fs::write(folder.join("a.txt"), "Arhiv je otvoren utorkom.")?;
    let folder = folder.to_string_lossy().into_owned();
    let report = docent.succeed(&["ingest", "--once", &folder, "--workspace", "test"])?;
    ensure!(outcome(&report, "a.txt")?["outcome"] == "indexed");
    let skipped = outcome(&report, "docent")?;
    ensure!(skipped["outcome"] == "skipped", "{report}");
    ensure!(report["totals"]["files"] == 2, "{report}");
    Ok(())
}

#[test]
fn a_model_with_one_flipped_byte_is_refused_by_name() -> Result<()> {
    let models = tempfile::tempdir()?;
    for model in ["multilingual-e5-small", "onnxruntime", "pdfium"] {
        let from = docent_tests::models_dir().join(model);
        let to = models.path().join(model);
        fs::create_dir(&to)?;
        for file in fs::read_dir(from)? {
            let file = file?;
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    let weights = models.path().join("multilingual-e5-small/model.onnx");
    let mut bytes = fs::read(&weights)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, bytes)?;

    let output = std::process::Command::new(docent_testkit::docent_binary())
        .arg("--models-dir")
        .arg(models.path())
        .args(["models", "verify", "multilingual-e5-small"])
        .output()?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        !output.status.success(),
        "a damaged model is no success: {said}"
    );
    ensure!(said.contains("model.onnx"), "the file is named: {said}");
    Ok(())
}
