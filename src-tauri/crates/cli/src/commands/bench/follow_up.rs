//! A chat's second question against its first: the time until the first word, from asking to
//! reading it. The workspace speaks one language, so no question is translated.

use std::sync::Arc;

use docent_domain::{ChatId, WorkspaceScope};
use docent_engine::{AddedFolders, Engine, QueryEvent, QueryOutcome, QueryRequest, RetrievalStage};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::report::{Report, Row};
use super::rounds::{Paired, median};
use super::{Stage, new_workspace};
use crate::failure::Failure;

const FOLDER: &str = "help/en";

/// As many passages as a question in the window has.
const MAX_RESULTS: usize = 5;

/// First and second questions of chats, each answered by a page of the help.
const CHATS: [[&str; 2]; 5] = [
    [
        "How can I take a screenshot of my whole screen?",
        "In which folder are screenshots saved automatically?",
    ],
    [
        "How do I restore a deleted file from the Trash?",
        "Can a file be recovered that was deleted with Shift+Delete?",
    ],
    [
        "What happens when I suspend my computer?",
        "Should I save all of my work before suspending the computer?",
    ],
    [
        "How do I make the color of the screen warmer in the evening with Night Light?",
        "How can the Night Light schedule follow sunset and sunrise?",
    ],
    [
        "How do I connect to a wireless network?",
        "Where can I find the password of the wireless network?",
    ],
];

/// Before anything is measured, so that the models are loaded.
const WARM_UP: &str = "How do I print on both sides of the paper?";

/// What the two answers took.
struct Turn {
    first_token_ms: f64,
    prompt_tokens: u32,
    reused_tokens: u32,
    widened: bool,
}

pub async fn measure(stage: &Stage) -> Result<Report, Failure> {
    stage.documents(FOLDER, "html")?;
    let folder = stage.corpus_dir.join(FOLDER);
    let model = stage.config.generator.clone();
    let models = [&*model, &stage.config.embedder, "onnxruntime"];
    stage
        .with_engine(&models, async |engine| {
            let scope = new_workspace(engine, "help").await?;
            engine
                .add_paths(&scope, vec![folder], AddedFolders::Watch)
                .await?;
            engine.wait_idle(&scope, |_| {}).await?;
            ask(engine, &scope, None, WARM_UP).await?;

            let mut rounds = Vec::with_capacity(stage.rounds);
            for [first, second] in CHATS.iter().cycle().take(stage.rounds) {
                let (chat, first) = ask(engine, &scope, None, first).await?;
                let (_, second) = ask(engine, &scope, Some(chat), second).await?;
                rounds.push((second, first));
            }
            // A second question cannot come before its first, so these rounds don't alternate.
            let paired = Paired { rounds };
            let until_first = |turn: &Turn| turn.first_token_ms;
            let tokens = |value: fn(&Turn) -> u32| {
                let of = |turns: &mut dyn Iterator<Item = &Turn>| {
                    median(turns.map(|turn| f64::from(value(turn))))
                };
                (
                    of(&mut paired.rounds.iter().map(|(second, _)| second)),
                    of(&mut paired.rounds.iter().map(|(_, first)| first)),
                )
            };
            let (second_prompt, first_prompt) = tokens(|turn| turn.prompt_tokens);
            let (second_reused, first_reused) = tokens(|turn| turn.reused_tokens);
            let widened = paired
                .rounds
                .iter()
                .filter(|(second, first)| second.widened || first.widened)
                .count();
            let row = Row::new(
                "second question, first word",
                paired.figure(until_first),
                "ms",
            )
            .against(
                "for the first question",
                paired.baseline(until_first),
                paired.ratio(until_first),
            );
            let setting = format!(
                "{model}, English help pages, median of {} chats",
                stage.rounds
            );
            let mut report = Report::new(setting, vec![row.ratio_at_most(0.35)]).note(format!(
                "Tokens of the prompt: {first_prompt:.0} of the first question ({first_reused:.0} \
                 reused), {second_prompt:.0} of the second ({second_reused:.0} reused)."
            ));
            if widened > 0 {
                report = report.note(format!(
                    "In {widened} of the chats a question was widened by the model first."
                ));
            }
            Ok(report)
        })
        .await
}

async fn ask(
    engine: &Arc<Engine>,
    scope: &WorkspaceScope,
    chat: Option<ChatId>,
    question: &str,
) -> Result<(ChatId, Turn), Failure> {
    let request = QueryRequest {
        text: question.to_owned(),
        language: None,
        max_results: MAX_RESULTS,
        chat,
    };
    let (events, mut received) = mpsc::channel(64);
    let answering = engine.query(scope, request, events, CancellationToken::new());
    let listening = async {
        let mut widened = false;
        while let Some(event) = received.recv().await {
            widened |= matches!(
                event,
                QueryEvent::Retrieved {
                    stage: RetrievalStage::Expanded,
                    ..
                }
            );
        }
        widened
    };
    let (outcome, widened) = tokio::join!(answering, listening);
    let QueryOutcome {
        chat_id, timings, ..
    } = outcome?;
    let Some(first_token_ms) = timings.first_token_ms else {
        let message = format!("{question:?} was refused, so there is nothing to measure");
        return Err(Failure::internal(message));
    };
    let turn = Turn {
        first_token_ms: first_token_ms as f64,
        prompt_tokens: timings.prompt_tokens,
        reused_tokens: timings.reused_tokens,
        widened,
    };
    Ok((chat_id, turn))
}
