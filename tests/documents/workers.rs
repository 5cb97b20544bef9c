//! The processes that the models run in are killed in the middle of their work. That costs the
//! answer in hand and nothing else; what was written of it is kept.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::program::{Docent, Events, Server, is_read, until};

const QUESTION: &str = "How do I water the plants in the greenhouse?";

fn kill(process: u32) -> Result<()> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(process.context("a process id")?, Signal::KILL)?;
    Ok(())
}

/// The end of an answer: the event `done` or `error`, and the text that was streamed until then.
async fn end_of(events: &mut Events, mut text: String) -> Result<(String, Value, String)> {
    while let Some((name, data)) = events.next().await? {
        match name.as_str() {
            "token" => text.push_str(data["text"].as_str().unwrap_or_default()),
            "revised" => data["text"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut text),
            "done" | "error" => return Ok((name, data, text)),
            _ => {}
        }
    }
    bail!("the answer broke off without a word; so far: {text}")
}

#[tokio::test]
async fn a_killed_generator_costs_the_answer_in_hand_and_what_was_written_is_kept() -> Result<()> {
    let docent = Docent::new()?;
    fs::write(
        docent.documents().join("greenhouse.md"),
        "# Watering the plants in the greenhouse\n\nWater the plants in the greenhouse early in \
         the morning. Fill the green can from the rain barrel, water the tomatoes first, then the \
         peppers, then the basil by the door, and at last the lemon tree. Give each tomato two \
         litres and each pepper one litre. Never wet the leaves, because wet leaves burn in the \
         sun. Close the tap of the barrel and hang the can on its hook.\n",
    )?;
    ensure!(docent.ingest()?["totals"]["indexed"] == 1);
    let server = docent.serve().await?;

    let mut events = server.ask(QUESTION).await?;
    let mut started = Value::Null;
    let begun = loop {
        match events.next().await?.context("the answer has begun")? {
            (name, data) if name == "started" => started = data,
            (name, data) if name == "token" => {
                break data["text"].as_str().unwrap_or_default().to_owned();
            }
            (name, data) if name == "done" || name == "error" => {
                bail!("nothing was written: {name} {data}")
            }
            _ => {}
        }
    };
    let generator = server.worker("generator").await?;
    kill(generator)?;

    let (end, error, streamed) = end_of(&mut events, begun).await?;
    ensure!(end == "error", "the answer in hand fails: {end} {error}");
    let said = error["message"].as_str().unwrap_or_default();
    ensure!(said.len() > 10 && !error["code"].is_null(), "{error}");

    let of = |name: &str| started[name].as_str().context("the answer has ids");
    let chat = format!("/workspaces/test/chats/{}/messages", of("chat_id")?);
    let messages = server.get(&chat).await?;
    let kept = messages
        .as_array()
        .context("messages are listed")?
        .iter()
        .find(|message| message["id"] == started["message_id"])
        .context("the message is kept")?;
    ensure!(kept["status"] == "interrupted", "{kept}");
    ensure!(
        kept["content"].as_str().map(str::trim) == Some(streamed.trim()),
        "what the reader saw is what is kept: {streamed:?} and {kept}"
    );
    ensure!(
        kept["answer"]["error"]
            .as_str()
            .is_some_and(|error| error.len() > 10),
        "the message says why it ends there: {kept}"
    );

    let mut events = server.ask(QUESTION).await?;
    let (end, answer, _) = end_of(&mut events, String::new()).await?;
    ensure!(end == "done", "the next question is answered: {answer}");
    ensure!(
        answer["refused"] == false && answer["answer"] != json!(""),
        "{answer}"
    );
    ensure!(server.worker("generator").await? != generator);
    server.kill()?;
    ensure!(docent.findings()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_killed_embedder_costs_nothing() -> Result<()> {
    let docent = Docent::new()?;
    let files = 40;
    for number in 0..files {
        let text = format!(
            "# Shelf {number}\n\nOn shelf number {number} stands the box of clerk {number}, with \
             the letters that came in week {number} and the stamps of that week.\n"
        );
        fs::write(
            docent.documents().join(format!("shelf-{number:02}.md")),
            text,
        )?;
    }
    let server = docent.serve().await?;
    server.import(&docent.documents()).await?;
    // As often as a job is tried at all, less one.
    let mut killed = Vec::new();
    for more in [3, 3] {
        let before = ready(&server).await?;
        let now = until("vectors", async || {
            let ready = ready(&server).await?;
            Ok((ready >= before + more).then_some(ready))
        })
        .await?;
        ensure!(now < files, "it is killed at work, not at rest");
        let embedder = server.worker("embedder").await?;
        ensure!(!killed.contains(&embedder), "a new process has taken over");
        kill(embedder)?;
        killed.push(embedder);
    }
    until("everything to be ready", async || {
        let documents = server.documents().await?;
        ensure!(
            documents
                .iter()
                .all(|document| document["status"] != "failed"),
            "no file is to blame: {documents:?}"
        );
        let is_ready = |document: &Value| document["status"] == "ready";
        Ok((documents.len() == files && documents.iter().all(is_ready)).then_some(()))
    })
    .await?;
    ensure!(!killed.contains(&server.worker("embedder").await?));
    let found = server
        .get("/workspaces/test/search?q=Whose+box+is+on+shelf+7&k=5")
        .await?;
    ensure!(found.to_string().contains("shelf-"), "{found}");
    server.kill()?;
    ensure!(docent.findings()?.is_empty());
    Ok(())
}

async fn ready(server: &Server) -> Result<usize> {
    let documents = server.documents().await?;
    Ok(documents
        .iter()
        .filter(|document| is_read(document) && document["status"] == "ready")
        .count())
}
