//! The process is killed again and again in the middle of an ingest; in the end everything is there
//! once, and at most the file in hand was done again.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::program::Docent;

const KILLS: u32 = 25;
const FILES: u32 = 150;

#[test]
fn killed_twenty_five_times_nothing_is_lost_and_nothing_is_there_twice() -> Result<()> {
    let docent = Docent::new()?;
    for number in 0..FILES {
        let text = format!(
            "# Spis {number}\n\nPredmet broj {number} zaprimljen je u uredu. The case number \
             {number} was filed by clerk {}.\n\n## Rok\n\nRok za žalbu u predmetu {number} iznosi \
             {} dana od dana dostave.\n",
            number * 7 % 31,
            number % 29 + 2
        );
        fs::write(
            docent.documents().join(format!("spis-{number:03}.md")),
            text,
        )?;
    }
    let folder = docent.documents().to_string_lossy().into_owned();
    // A fixed seed, so that a failure can be run again.
    let mut random = SmallRng::seed_from_u64(25);
    let mut cut_short = 0;
    for _ in 0..KILLS {
        let mut child = docent
            .command(&["ingest", &folder, "--workspace", "test"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(random.random_range(150..1500)));
        cut_short += u32::from(child.try_wait()?.is_none());
        child.kill()?;
        child.wait()?;
        let findings = docent.findings()?;
        ensure!(
            findings.is_empty(),
            "the next start mends what a kill leaves: {findings:?}"
        );
    }
    ensure!(
        cut_short >= 5,
        "kills have to hit an ingest under way: {cut_short}"
    );

    let report = docent.ingest()?;
    ensure!(report["totals"]["failed"] == 0, "{}", report["totals"]);
    ensure!(docent.findings()?.is_empty());
    let listed = docent.succeed(&["documents", "list", "--workspace", "test"])?;
    let documents = listed["documents"]
        .as_array()
        .or_else(|| listed.as_array())
        .with_context(|| format!("documents are listed: {listed}"))?;
    ensure!(
        documents.len() == FILES as usize,
        "each file once: {}",
        documents.len()
    );
    ensure!(
        documents
            .iter()
            .all(|document| document["status"] == "ready"),
        "{listed}"
    );

    let again = docent.ingest()?;
    ensure!(
        again["totals"]["unchanged"] == FILES,
        "nothing is left to do: {}",
        again["totals"]
    );
    Ok(())
}
