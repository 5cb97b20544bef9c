//! Files that cannot be read: each says why, and none disturbs the others.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use anyhow::{Result, ensure};

use crate::program::{Docent, outcome};

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
    // A sparse file: a gigabyte to read, and nothing on the disk.
    fs::File::create(folder.join("huge.txt"))?.set_len(1 << 30)?;
    symlink("/etc/passwd", folder.join("link.txt"))?;

    let report = docent.ingest()?;
    for (name, outcomes, says) in [
        ("empty.txt", ["skipped", "skipped"], "empty"),
        ("not-a-word-file.docx", ["failed", "skipped"], ""),
        ("not-a.pdf", ["failed", "skipped"], ""),
        ("table.xlsx", ["skipped", "skipped"], "xlsx"),
        ("binary.txt", ["failed", "skipped"], ""),
        ("huge.txt", ["failed", "skipped"], ""),
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
