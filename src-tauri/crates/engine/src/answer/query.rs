//! One question, from its first word to the stored answer.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use docent_domain::{
    Answer, AskedAs, ChatId, Citation, Language, Message, MessageId, MessageStatus, Role,
    Timestamp, Timings, WorkspaceScope,
};
use docent_inference::{Finish, Generation, GenerationRequest, Generator};
use docent_store::NewMessage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::citations::{self, CitationFilter};
use super::evidence::{CALIBRATION, Evidence};
use super::prompt::{self, NumberedPassage, PastTurn};
use super::verify::{self, Checked};
use crate::config::ExpansionPolicy;
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::indexes::OpenIndex;
use crate::models::token_estimate;
use crate::retrieve::{Wording, language};
use crate::search::language_of;
use crate::types::{QueryEvent, QueryOutcome, QueryRequest, RetrievalStage, Topic};

/// Longer texts are pasted documents, not questions; the embedder would cut them anyway.
pub const LONGEST_QUESTION_CHARS: usize = 4000;

/// More passages than this fit into no local model's prompt.
pub const MOST_PASSAGES: usize = 20;

/// Tokens of the prompt's fixed text and example, and of a turn's marks.
const FIXED_TOKENS: usize = 512;

/// Weight of a question that leans on the one before it, beside both together.
const LEANING_WEIGHT: f32 = 0.7;

/// A passage in the question's language is answered from when it scores at least this share of the
/// best one.
const OWN_LANGUAGE_SHARE: f32 = 0.8;

/// Passages listed with a refusal.
const NEAREST_PASSAGES: usize = 3;

/// Pieces of an answer between two saves, so that a crash loses a sentence and not the answer.
const PIECES_PER_SAVE: usize = 48;

/// A question being answered.
struct Turn {
    scope: WorkspaceScope,
    chat: ChatId,
    message: MessageId,
    question: String,
    language: Language,
    max_results: usize,
    history: Vec<PastTurn>,
    events: mpsc::Sender<QueryEvent>,
    cancel: CancellationToken,
    started: Instant,
    /// What stood in the prompt, for an answer that breaks off.
    prompted: OnceLock<Vec<Citation>>,
}

/// What retrieval brought for a question.
struct Found {
    passages: Vec<Citation>,
    /// The question in the workspace's other language.
    translation: Option<String>,
    evidence: Evidence,
    retrieval_ms: u64,
}

/// How a turn ended, before it is stored.
struct Finished {
    text: String,
    answer: Answer,
    interrupted: bool,
}

impl Engine {
    /// Answers a question from the workspace's documents, storing both messages. Events go to
    /// `events` while it works; nobody need listen. Cancelling keeps what was written so far.
    pub async fn query(
        self: &Arc<Self>,
        scope: &WorkspaceScope,
        request: QueryRequest,
        events: mpsc::Sender<QueryEvent>,
        cancel: CancellationToken,
    ) -> Result<QueryOutcome> {
        let started = Instant::now();
        let question = request.text.trim().to_owned();
        if question.is_empty() {
            return Err(Error::invalid("the question is empty"));
        }
        if question.chars().count() > LONGEST_QUESTION_CHARS {
            return Err(Error::invalid(format!(
                "the question is longer than {LONGEST_QUESTION_CHARS} characters"
            ))
            .with_hint("Add the text as a document and ask about it"));
        }
        let open = self.open_index(scope).await?;
        let chat = match request.chat {
            Some(chat) => self.chat(scope, chat).await?.id,
            None => {
                self.create_chat(scope, Some(&title_of(&question)))
                    .await?
                    .id
            }
        };
        let history = self.past_turns(scope, chat).await?;
        let language = language_of(
            &open,
            &question,
            request.language,
            history.last().map(|turn| turn.asked_in),
        );
        let (user_message, message) = self.begin_turn(scope, chat, &question).await?;
        self.name_chat(scope, chat, &title_of(&question)).await?;
        self.changed(Topic::Chats, Some(scope.workspace()));

        let turn = Turn {
            scope: *scope,
            chat,
            message: message.id,
            question,
            language,
            max_results: request.max_results.clamp(1, MOST_PASSAGES),
            history,
            events,
            cancel: cancel.clone(),
            started,
            prompted: OnceLock::new(),
        };
        self.answering().insert(turn.message, cancel);
        turn.send(QueryEvent::Started {
            query_id: turn.message,
            chat_id: turn.chat,
            user_message_id: user_message.id,
            message_id: turn.message,
            language_detected: turn.language,
        })
        .await;
        let result = self.answer(&turn, &open).await;
        let outcome = self.record_turn(&turn, result).await;
        self.answering().remove(&turn.message);
        self.changed(Topic::Chats, Some(scope.workspace()));
        if let Ok(outcome) = &outcome {
            turn.send(QueryEvent::Done(Box::new(outcome.clone()))).await;
        }
        outcome
    }

    /// Stops the answer in flight; what was written is kept. Stopping a finished one does nothing.
    pub async fn stop_message(
        &self,
        scope: &WorkspaceScope,
        chat: ChatId,
        message: MessageId,
    ) -> Result<()> {
        let known = self
            .messages(scope, chat)
            .await?
            .iter()
            .any(|known| known.id == message);
        if !known {
            return Err(Error::not_found("the answer"));
        }
        self.answering().cancel(message);
        Ok(())
    }

    /// Stores the question and an empty answer in one transaction.
    async fn begin_turn(
        &self,
        scope: &WorkspaceScope,
        chat: ChatId,
        question: &str,
    ) -> Result<(Message, Message)> {
        let new = |role, content: &str, status| NewMessage {
            role,
            content: content.to_owned(),
            status,
            answer: None,
        };
        let pair = [
            new(Role::User, question, MessageStatus::Complete),
            new(Role::Assistant, "", MessageStatus::Streaming),
        ];
        let added = self
            .store()
            .chats()
            .add_messages(scope, chat, &pair, Timestamp::now())
            .await?;
        let [question, answer] = <[Message; 2]>::try_from(added)
            .map_err(|_| Error::new(Code::Internal, "storing the question failed"))?;
        Ok((question, answer))
    }

    async fn save(
        &self,
        turn: &Turn,
        text: &str,
        status: MessageStatus,
        answer: Option<&Answer>,
    ) -> Result<()> {
        self.store()
            .chats()
            .update_message(
                &turn.scope,
                turn.message,
                text,
                status,
                answer,
                Timestamp::now(),
            )
            .await?;
        Ok(())
    }

    async fn answer(self: &Arc<Self>, turn: &Turn, open: &OpenIndex) -> Result<Finished> {
        let interactive = self.cores().interactive();
        interactive.ready().await;
        let found = self.find(turn, open).await?;
        if turn.cancel.is_cancelled() {
            return Ok(turn.interrupted(&found, self.model_set().generator_id()));
        }
        let confidence = found.evidence.confidence(&CALIBRATION);
        if found.passages.is_empty() || confidence < self.config().refuse_below {
            return Ok(turn.refused(found, confidence, self.model_set().generator_id()));
        }
        let generator = self.model_set().generator().await?;
        self.write(turn, open, &generator, found, confidence).await
    }

    /// Retrieves in two stages, showing the first one at once.
    async fn find(self: &Arc<Self>, turn: &Turn, open: &OpenIndex) -> Result<Found> {
        let started = Instant::now();
        let mut wordings = vec![Wording::question(&turn.question)];
        if let Some(previous) = turn.history.last().filter(|_| continues(&turn.question)) {
            // By itself such a question says little of what is meant.
            wordings[0].weight = LEANING_WEIGHT;
            wordings.push(Wording::follow_up(&previous.question, &turn.question));
        }
        let mut found = self
            .retrieve(&turn.scope, open, wordings, turn.max_results)
            .await?;
        turn.send(QueryEvent::Retrieved {
            passages: found.passages.clone(),
            stage: RetrievalStage::First,
        })
        .await;
        let retrieval_ms = elapsed_ms(started);
        let mut translation = None;
        if self.config().expansion != ExpansionPolicy::Never {
            let expansion = self.widen(open, turn.language, &found, &turn.cancel).await;
            if let Some(expansion) = expansion {
                found = self
                    .retrieve_widened(&turn.scope, open, found, &expansion, turn.max_results)
                    .await?;
                turn.send(QueryEvent::Retrieved {
                    passages: found.passages.clone(),
                    stage: RetrievalStage::Expanded,
                })
                .await;
                translation = expansion.translation;
            }
        }
        Ok(Found {
            passages: found.passages,
            translation,
            evidence: found.evidence,
            retrieval_ms,
        })
    }

    /// The question as the model is asked it. A model that cannot read one language and write another
    /// answers in that of the passages, unless some in the question's own are nearly as good.
    fn asking(&self, turn: &Turn, found: &Found) -> AskedAs {
        let as_asked = AskedAs {
            question: turn.question.clone(),
            language: turn.language,
        };
        if self.model_set().answers_across_languages() {
            return as_asked;
        }
        let best_in = |wanted: fn(Language, Language) -> bool| {
            found
                .passages
                .iter()
                .map(|passage| (language::of_document(&passage.text), passage.score))
                .filter(|(language, _)| {
                    *language != Language::Undetermined && wanted(*language, turn.language)
                })
                .max_by(|a, b| a.1.total_cmp(&b.1))
        };
        let own = best_in(|found, asked| found == asked);
        match (best_in(|found, asked| found != asked), own) {
            (Some((language, foreign)), own)
                if own.is_none_or(|(_, own)| own < foreign * OWN_LANGUAGE_SHARE) =>
            {
                AskedAs {
                    question: found.translation.clone().unwrap_or(as_asked.question),
                    language,
                }
            }
            _ => as_asked,
        }
    }

    async fn write(
        self: &Arc<Self>,
        turn: &Turn,
        open: &OpenIndex,
        generator: &Arc<dyn Generator>,
        found: Found,
        confidence: f32,
    ) -> Result<Finished> {
        let tokens = token_estimate();
        let config = self.config();
        let asked = self.asking(turn, &found);
        let room = config
            .context_tokens
            .min(generator.context_tokens())
            .saturating_sub(config.answer_tokens as usize + tokens(&asked.question) + FIXED_TOKENS);
        let history_room = room.saturating_sub(config.passage_tokens);
        let history = prompt::fitting_history(turn.history.clone(), history_room, &tokens);
        let standing: HashMap<(String, String), u32> = history
            .iter()
            .flat_map(|past| &past.passages)
            .map(|passage| ((passage.header.clone(), passage.text.clone()), passage.n))
            .collect();
        let budget = if history.is_empty() {
            config.passage_tokens
        } else {
            config.follow_up_passage_tokens
        };
        let mut next = turn.next_number();
        let mut spent = 0;
        let mut prompt_passages = Vec::new();
        let mut citations = Vec::new();
        for mut citation in found.passages {
            let passage = NumberedPassage {
                n: next,
                header: citation.title.clone(),
                text: citation.text.clone(),
            };
            if let Some(n) = standing.get(&(passage.header.clone(), passage.text.clone())) {
                // A copy of a document that is cited already says nothing new.
                if citations.iter().any(|listed: &Citation| listed.n == *n) {
                    continue;
                }
                citation.n = *n;
                citations.push(citation);
                continue;
            }
            let cost = tokens(&passage.text) + tokens(&passage.header) + 8;
            if spent + cost > budget && !prompt_passages.is_empty() {
                continue;
            }
            spent += cost;
            citation.n = next;
            next += 1;
            prompt_passages.push(passage);
            citations.push(citation);
        }
        citations.sort_by_key(|citation| citation.n);
        // The numbers that the answer will use, before its first word.
        turn.send(QueryEvent::Retrieved {
            passages: citations.clone(),
            stage: RetrievalStage::Prompt,
        })
        .await;
        // Set once: a turn has one prompt.
        let _ = turn.prompted.set(citations.clone());
        let messages =
            prompt::conversation(&history, &asked.question, asked.language, &prompt_passages);
        let request = GenerationRequest {
            stop: vec![
                "<passage".into(),
                "</passage".into(),
                "Pitanje:".into(),
                "Question:".into(),
            ],
            ..GenerationRequest::greedy(messages, config.answer_tokens)
        };
        let notice = prompt::foreign_notice(turn.language, asked.language);
        let (generation, mut streamed) = self
            .stream(turn, generator, request, &citations, notice)
            .await?;
        let interrupted = generation.finish == Finish::Cancelled && !streamed.is_circling;
        let mut text = streamed.text.clone();
        if !interrupted {
            let checker = verify::Checker {
                embedder: &open.embedder,
                general: open.general().await?,
                question: &asked.question,
                asked_in: turn.language,
                language: asked.language,
                citations: &citations,
            };
            let written = text.strip_prefix(notice).unwrap_or(&text);
            text = match checker.check(written).await? {
                Checked::Written(written) => format!("{notice}{written}"),
                Checked::Quotation(quotation) => quotation,
            };
            if text != streamed.text {
                turn.send(QueryEvent::Revised { text: text.clone() }).await;
            }
        }
        let (_, used) = citations::resolve(&text, citations.iter().map(|citation| citation.n));
        for citation in &mut citations {
            citation.used = used.contains(&citation.n);
        }
        let first_token_ms = streamed
            .first_token
            .take()
            .map(|at| (at - turn.started).as_millis() as u64);
        let answer = Answer {
            language: turn.language,
            confidence,
            refused: false,
            sources: sources(&citations),
            citations,
            nearest: Vec::new(),
            model: generator.model().to_owned(),
            timings: timings(
                &generation,
                found.retrieval_ms,
                first_token_ms,
                turn.started,
            ),
            error: None,
            asked_as: (asked.language != turn.language).then_some(asked),
        };
        Ok(Finished {
            text,
            answer,
            interrupted,
        })
    }

    async fn stream(
        &self,
        turn: &Turn,
        generator: &Arc<dyn Generator>,
        request: GenerationRequest,
        citations: &[Citation],
        notice: &str,
    ) -> Result<(Generation, Streamed)> {
        let (pieces, received) = mpsc::channel::<String>(64);
        let mut filter = CitationFilter::new(citations.iter().map(|citation| citation.n));
        let mut streamed = Streamed::default();
        let ended = turn.cancel.child_token();
        let generate = generator.generate(request, pieces, ended.clone());
        let forward = async {
            // Gone with this block however it ends: a generator that nobody hears stops.
            let mut received = received;
            let mut unsaved = 0;
            while let Some(piece) = received.recv().await {
                streamed.first_token.get_or_insert_with(Instant::now);
                let mut text = filter.push(&piece);
                if text.is_empty() {
                    continue;
                }
                if streamed.text.is_empty() {
                    text.insert_str(0, notice);
                }
                streamed.text.push_str(&text);
                if citations::repeats(&streamed.text) {
                    // What follows would be the same again, to the end of the room.
                    streamed.is_circling = true;
                    ended.cancel();
                    break;
                }
                turn.send(QueryEvent::Token { text }).await;
                unsaved += 1;
                if unsaved >= PIECES_PER_SAVE {
                    unsaved = 0;
                    self.save(turn, &streamed.text, MessageStatus::Streaming, None)
                        .await?;
                }
            }
            Ok::<(), Error>(())
        };
        let (generation, forwarded) = tokio::join!(generate, forward);
        forwarded?;
        let rest = filter.finish();
        if !rest.is_empty() && !streamed.is_circling {
            streamed.text.push_str(&rest);
            turn.send(QueryEvent::Token { text: rest }).await;
        }
        streamed.text.truncate(streamed.text.trim_end().len());
        match generation {
            Ok(generation) => Ok((generation, streamed)),
            Err(error) => {
                // What was written is kept with the message, which says why it ends there.
                self.save(turn, &streamed.text, MessageStatus::Streaming, None)
                    .await?;
                Err(error.into())
            }
        }
    }

    async fn record_turn(&self, turn: &Turn, result: Result<Finished>) -> Result<QueryOutcome> {
        match result {
            Ok(finished) => {
                let status = if finished.interrupted {
                    MessageStatus::Interrupted
                } else {
                    MessageStatus::Complete
                };
                self.save(turn, &finished.text, status, Some(&finished.answer))
                    .await?;
                Ok(QueryOutcome {
                    query_id: turn.message,
                    chat_id: turn.chat,
                    message_id: turn.message,
                    answer: finished.text,
                    confidence: finished.answer.confidence,
                    sources: finished.answer.sources,
                    language_detected: turn.language,
                    citations: finished.answer.citations,
                    refused: finished.answer.refused,
                    nearest: finished.answer.nearest,
                    interrupted: finished.interrupted,
                    timings: finished.answer.timings,
                })
            }
            Err(error) => {
                let kept = self
                    .store()
                    .chats()
                    .get_message(&turn.scope, turn.message)
                    .await?
                    .content;
                let status = if kept.is_empty() {
                    MessageStatus::Failed
                } else {
                    MessageStatus::Interrupted
                };
                let mut citations = turn.prompted.get().cloned().unwrap_or_default();
                let (_, used) =
                    citations::resolve(&kept, citations.iter().map(|citation| citation.n));
                for citation in &mut citations {
                    citation.used = used.contains(&citation.n);
                }
                let answer = Answer {
                    error: Some(error.to_string()),
                    sources: sources(&citations),
                    citations,
                    ..turn.empty_answer(self.model_set().generator_id())
                };
                self.save(turn, &kept, status, Some(&answer)).await?;
                Err(error)
            }
        }
    }

    /// The chat's finished turns, as the prompt shows them.
    async fn past_turns(&self, scope: &WorkspaceScope, chat: ChatId) -> Result<Vec<PastTurn>> {
        let messages = self.messages(scope, chat).await?;
        let mut turns = Vec::new();
        let mut highest = 0;
        let mut question: Option<&Message> = None;
        for message in &messages {
            match (message.role, &message.answer, question) {
                (Role::User, _, _) => question = Some(message),
                (Role::Assistant, Some(answer), Some(asked))
                    if !answer.refused && answer.error.is_none() && !message.content.is_empty() =>
                {
                    let passages: Vec<NumberedPassage> = answer
                        .citations
                        .iter()
                        .filter(|citation| citation.n > highest)
                        .map(|citation| NumberedPassage {
                            n: citation.n,
                            header: citation.title.clone(),
                            text: citation.text.clone(),
                        })
                        .collect();
                    highest = passages
                        .iter()
                        .map(|passage| passage.n)
                        .max()
                        .unwrap_or(highest);
                    let as_asked = AskedAs {
                        question: asked.content.clone(),
                        language: answer.language,
                    };
                    let asked_as = answer.asked_as.clone().unwrap_or(as_asked);
                    let notice = prompt::foreign_notice(answer.language, asked_as.language);
                    let text = &message.content;
                    turns.push(PastTurn {
                        asked_in: answer.language,
                        question: asked_as.question,
                        language: asked_as.language,
                        passages,
                        answer: text.strip_prefix(notice).unwrap_or(text).to_owned(),
                    });
                    question = None;
                }
                (Role::Assistant, _, _) => question = None,
            }
        }
        Ok(turns)
    }
}

#[derive(Default)]
struct Streamed {
    text: String,
    first_token: Option<Instant>,
    /// It was ended because the model had begun to repeat itself.
    is_circling: bool,
}

impl Turn {
    async fn send(&self, event: QueryEvent) {
        // Whoever asked may have gone; the answer is finished and stored all the same.
        let _ = self.events.send(event).await;
    }

    fn next_number(&self) -> u32 {
        let highest = self
            .history
            .iter()
            .flat_map(|turn| &turn.passages)
            .map(|passage| passage.n)
            .max();
        highest.map_or(1, |n| n + 1)
    }

    fn empty_answer(&self, model: String) -> Answer {
        Answer {
            language: self.language,
            confidence: 0.0,
            refused: false,
            citations: Vec::new(),
            nearest: Vec::new(),
            sources: Vec::new(),
            model,
            timings: Timings {
                total_ms: elapsed_ms(self.started),
                ..Timings::default()
            },
            error: None,
            asked_as: None,
        }
    }

    fn interrupted(&self, found: &Found, model: String) -> Finished {
        let mut answer = self.empty_answer(model);
        answer.timings.retrieval_ms = found.retrieval_ms;
        Finished {
            text: String::new(),
            answer,
            interrupted: true,
        }
    }

    fn refused(&self, found: Found, confidence: f32, model: String) -> Finished {
        let mut answer = self.empty_answer(model);
        answer.refused = true;
        answer.confidence = confidence;
        answer.timings.retrieval_ms = found.retrieval_ms;
        answer.nearest = found.passages.into_iter().take(NEAREST_PASSAGES).collect();
        let text = prompt::refusal(self.language, !answer.nearest.is_empty()).to_owned();
        Finished {
            text,
            answer,
            interrupted: false,
        }
    }
}

/// Whether a question leans on the one before it: short, or beginning as continuations do.
fn continues(question: &str) -> bool {
    const BEGINNINGS: &[&str] = &[
        "and ",
        "or ",
        "but ",
        "what about",
        "how about",
        "a ",
        "i ",
        "ali ",
        "što s ",
        "sto s ",
        "why",
        "zašto",
        "zasto",
    ];
    const BACKWARD: &[&str] = &[
        "it", "they", "them", "that", "this", "those", "these", "toga", "tome", "njih", "njega",
        "nju", "tamo", "there", "ga", "ih",
    ];
    let lower = question.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.len() <= 3
        || BEGINNINGS
            .iter()
            .any(|beginning| lower.starts_with(beginning))
        || (words.len() <= 8 && words.iter().any(|word| BACKWARD.contains(word)))
}

fn title_of(question: &str) -> String {
    const LONGEST: usize = 60;
    let line = question.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    let cut: String = line.chars().take(LONGEST).collect();
    let whole = cut
        .rsplit_once(' ')
        .map_or(cut.as_str(), |(whole, _)| whole);
    format!("{whole}…")
}

fn sources(citations: &[Citation]) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for citation in citations.iter().filter(|citation| citation.used) {
        if !paths.contains(&citation.path) {
            paths.push(citation.path.clone());
        }
    }
    paths
}

fn timings(
    generation: &Generation,
    retrieval_ms: u64,
    first_token_ms: Option<u64>,
    started: Instant,
) -> Timings {
    let seconds = generation.generation_ms as f32 / 1000.0;
    Timings {
        retrieval_ms,
        first_token_ms,
        total_ms: elapsed_ms(started),
        tokens_per_second: (seconds > 0.0).then(|| generation.generated_tokens as f32 / seconds),
        prompt_tokens: generation.prompt_tokens,
        reused_tokens: generation.reused_tokens,
        generated_tokens: generation.generated_tokens,
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}
