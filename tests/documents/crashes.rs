//! The process is killed again and again in the middle of an ingest. What it had acknowledged is
//! there after every kill, and in the end everything is there once.
//!
//! A control shows that the same checks would notice a loss.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::program::{Docent, is_read, until};

/// New files before each start, so that every kill finds work under way.
const FILES_A_ROUND: u32 = 6;

/// What the server has said of a document: none of it may be taken back.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    path: Value,
    chunks: Value,
    /// When it became searchable by meaning too; nothing touches it after that.
    pub ready_since: Option<Value>,
}

/// Documents by their id.
pub type Acknowledgements = BTreeMap<String, Acknowledged>;

#[tokio::test]
async fn killed_twenty_five_times_nothing_is_lost_and_nothing_is_there_twice() -> Result<()> {
    let docent = Docent::new()?;
    let rounds = 25;
    let losses = kill_again_and_again(&docent, rounds, |_, _| Ok(())).await?;
    ensure!(losses.is_empty(), "{losses:#?}");

    let report = docent.ingest()?;
    ensure!(report["totals"]["failed"] == 0, "{}", report["totals"]);
    ensure!(docent.findings()?.is_empty());
    let files = rounds * FILES_A_ROUND;
    let listed = listed(&docent)?;
    ensure!(
        listed.len() == files as usize,
        "each file once: {}",
        listed.len()
    );
    ensure!(
        listed.iter().all(|document| document["status"] == "ready"),
        "{listed:?}"
    );
    let again = docent.ingest()?;
    ensure!(
        again["totals"]["unchanged"] == files,
        "nothing is left to do: {}",
        again["totals"]
    );
    Ok(())
}

/// The control. The journal holds what was acknowledged since the last checkpoint; without it the
/// checks have to fail.
#[tokio::test]
async fn control_without_its_journal_the_same_kills_lose_what_was_acknowledged() -> Result<()> {
    let docent = Docent::new()?;
    let losses = kill_again_and_again(&docent, 3, |docent, round| {
        // After the first one, so that there is a workspace to lose documents from.
        if round > 0 {
            fs::remove_file(docent.data().join("docent.db-wal")).context("there is a journal")?;
        }
        Ok(())
    })
    .await?;
    ensure!(
        losses.iter().any(|loss| loss.ends_with("is gone")),
        "the checks of this test would not notice a loss"
    );
    println!("noticed, as it has to be: {losses:#?}");
    Ok(())
}

/// Kills a server in the middle of an ingest, round after round, does `afterwards`, and checks what
/// the next start finds. Returns everything that was lost.
async fn kill_again_and_again(
    docent: &Docent,
    rounds: u32,
    afterwards: impl Fn(&Docent, u32) -> Result<()>,
) -> Result<Vec<String>> {
    // A fixed seed, so that a failure can be run again.
    let mut random = SmallRng::seed_from_u64(25);
    let mut losses = Vec::new();
    for round in 0..rounds {
        for number in round * FILES_A_ROUND..(round + 1) * FILES_A_ROUND {
            write_file(docent, number)?;
        }
        // Each new file is acknowledged twice, when its words and when its vectors are searchable.
        let enough = random.random_range(1..2 * FILES_A_ROUND as usize);
        let acknowledged = kill_after(docent, enough).await?;
        afterwards(docent, round)?;
        losses.extend(
            losses_after(docent, &acknowledged)?
                .into_iter()
                .map(|loss| format!("kill {round}: {loss}")),
        );
    }
    Ok(losses)
}

/// Lets a server acknowledge so many things that it had not acknowledged at its start, and kills it.
async fn kill_after(docent: &Docent, enough: usize) -> Result<Acknowledgements> {
    let server = docent.serve().await?;
    let steps = |acknowledged: &Acknowledgements| {
        acknowledged
            .values()
            .map(|document| 1 + usize::from(document.ready_since.is_some()))
            .sum::<usize>()
    };
    let before = steps(&acknowledgements(&server.documents().await?));
    server.import(&docent.documents()).await?;
    let acknowledged = until("acknowledgements", async || {
        let acknowledged = acknowledgements(&server.documents().await?);
        Ok((steps(&acknowledged) >= before + enough).then_some(acknowledged))
    })
    .await?;
    server.kill()?;
    Ok(acknowledged)
}

pub fn acknowledgements(documents: &[Value]) -> Acknowledgements {
    documents
        .iter()
        .filter(|document| is_read(document))
        .map(|document| {
            (
                document["id"].to_string(),
                Acknowledged {
                    path: document["path"].clone(),
                    chunks: document["chunk_count"].clone(),
                    ready_since: (document["status"] == "ready")
                        .then(|| document["updated_at"].clone()),
                },
            )
        })
        .collect()
}

/// What of the acknowledged is missing, and what doctor finds.
pub fn losses_after(docent: &Docent, acknowledged: &Acknowledgements) -> Result<Vec<String>> {
    let mut losses: Vec<String> = docent
        .findings()?
        .iter()
        .map(|finding| format!("doctor finds {finding}"))
        .collect();
    let Ok(listed) = listed(docent) else {
        losses.push("the workspace is gone".to_owned());
        return Ok(losses);
    };
    let there = acknowledgements(&listed);
    for (id, was) in acknowledged {
        match there.get(id) {
            None => losses.push(format!("{} is gone", was.path)),
            Some(is) if is.path != was.path || is.chunks != was.chunks => {
                losses.push(format!("{} was {was:?} and is {is:?}", was.path));
            }
            Some(is) if was.ready_since.is_some() && is.ready_since != was.ready_since => {
                losses.push(format!("{} was ready and was done again", was.path));
            }
            Some(_) => {}
        }
    }
    Ok(losses)
}

fn listed(docent: &Docent) -> Result<Vec<Value>> {
    let listed = docent.succeed(&["documents", "list", "--workspace", "test"])?;
    listed
        .as_array()
        .cloned()
        .with_context(|| format!("documents are listed: {listed}"))
}

pub fn write_file(docent: &Docent, number: u32) -> Result<()> {
    let text = format!(
        "# Spis {number}\n\nPredmet broj {number} zaprimljen je u uredu. The case number {number} \
         was filed by clerk {}.\n\n## Rok\n\nRok za žalbu u predmetu {number} iznosi {} dana od \
         dana dostave.\n",
        number * 7 % 31,
        number % 29 + 2
    );
    fs::write(
        docent.documents().join(format!("spis-{number:03}.md")),
        text,
    )?;
    Ok(())
}
