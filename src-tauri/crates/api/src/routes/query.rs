//! Asking: one route that answers as JSON or as a stream of events.
//!
//! An answer runs as a task of its own, because a client that hangs up drops the handler at any
//! await, and what there is of the answer must still be recorded. Hanging up cancels the task;
//! it then ends by itself.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use docent_domain::ChatId;
use docent_engine as engine;
use docent_engine::{LONGEST_QUESTION_CHARS, MOST_PASSAGES, QueryEvent};
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::events::event_stream;
use super::named_scope;
use crate::ApiState;
use crate::dto::{
    QueryRequest, QueryResponse, QueryRetrieved, QueryRevised, QueryStarted, QueryToken, all,
};
use crate::error::{ApiError, Code, ErrorDetail};
use crate::extract::Body;

/// Room for the pieces that a slow reader has not taken yet; the generator waits when it is full.
const EVENTS_IN_FLIGHT: usize = 256;

/// Answers a question from the documents of a workspace.
///
/// With `Accept: text/event-stream` the answer comes as events: `started` (QueryStarted),
/// `retrieved` (QueryRetrieved, once for each stage), `token` (QueryToken), `revised`
/// (QueryRevised, at most once), then `done` (QueryResponse) or `error` (ErrorDetail).
#[utoipa::path(
    post,
    path = "/query",
    tag = "query",
    request_body = QueryRequest,
    responses((
        status = 200,
        description = "The answer",
        content((QueryResponse = "application/json"), (String = "text/event-stream"))
    ))
)]
pub(super) async fn query(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Body(request): Body<QueryRequest>,
) -> Result<Response, ApiError> {
    let question = checked(&request)?;
    let scope = named_scope(&state.engine, request.workspace.as_deref()).await?;

    let (events, mut received) = mpsc::channel(EVENTS_IN_FLIGHT);
    let (outcome, ended) = oneshot::channel();
    let cancel = state.options.closing.child_token();
    let hung_up = cancel.clone().drop_guard();
    let engine = state.engine.clone();
    state.answers.spawn(async move {
        let result = engine.query(&scope, question, events, cancel).await;
        if let Err(Err(error)) = outcome.send(result) {
            tracing::warn!(%error, "an answer failed after its client had hung up");
        }
    });
    let answer = Answering { ended, hung_up };

    let mut response = if wants_events(&headers) {
        // Until something has happened, a failure still has its own status.
        match received.recv().await {
            None => return Err(answer.failure().await),
            Some(first) => event_stream(sent(first, received, answer), &state.options.closing),
        }
    } else {
        drop(received);
        Json(answer.outcome().await?).into_response()
    };
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn checked(request: &QueryRequest) -> Result<engine::QueryRequest, ApiError> {
    let invalid = |message: String| Err(ApiError::new(Code::BadRequest, message));
    if request.text.trim().is_empty() {
        return invalid("`text` is empty: ask something".to_owned());
    }
    let length = request.text.chars().count();
    if length > LONGEST_QUESTION_CHARS {
        let limit = LONGEST_QUESTION_CHARS;
        return invalid(format!(
            "A question has at most {limit} characters, this one {length}"
        ));
    }
    if !(1..=MOST_PASSAGES).contains(&request.max_results) {
        let given = request.max_results;
        return invalid(format!(
            "`max_results` is 1 to {MOST_PASSAGES}, not {given}"
        ));
    }
    Ok(engine::QueryRequest {
        text: request.text.clone(),
        language: request.language.into(),
        max_results: request.max_results,
        chat: request.chat_id.map(ChatId::from_uuid),
    })
}

fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media_type| media_type.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// An answer being made. Dropping it means that nobody waits for it any more.
struct Answering {
    ended: oneshot::Receiver<engine::Result<engine::QueryOutcome>>,
    hung_up: DropGuard,
}

impl Answering {
    async fn outcome(self) -> Result<QueryResponse, ApiError> {
        let ended = self.ended.await;
        // It has ended: there is nothing left to cancel.
        let _: CancellationToken = self.hung_up.disarm();
        match ended {
            Ok(result) => Ok(result?.into()),
            // The task panicked; it has logged why.
            Err(_) => Err(ApiError::new(Code::Internal, "The answer broke off")),
        }
    }

    /// Of an answer that ended without saying anything.
    async fn failure(self) -> ApiError {
        match self.outcome().await {
            Err(error) => error,
            Ok(_) => ApiError::new(Code::Internal, "The answer ended before it began"),
        }
    }
}

fn sent(
    first: QueryEvent,
    received: mpsc::Receiver<QueryEvent>,
    answer: Answering,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let events = futures::stream::unfold(
        (Some(first), received, Some(answer)),
        |(first, mut received, mut answer)| async move {
            let next = match first {
                Some(event) => Some(event),
                None => received.recv().await,
            };
            let event = match next {
                Some(event) => wire(event),
                // The channel has closed, so the result is there or about to be. `done` was sent
                // as an event already.
                None => match answer.take()?.outcome().await {
                    Ok(_) => return None,
                    Err(error) => named("error", &error.into_detail()),
                },
            };
            Some((Ok(event), (None, received, answer)))
        },
    );
    events.fuse()
}

fn wire(event: QueryEvent) -> Event {
    match event {
        QueryEvent::Started {
            query_id,
            chat_id,
            user_message_id,
            message_id,
            language_detected,
        } => named(
            "started",
            &QueryStarted {
                query_id: *query_id.as_uuid(),
                chat_id: *chat_id.as_uuid(),
                user_message_id: *user_message_id.as_uuid(),
                message_id: *message_id.as_uuid(),
                language_detected: language_detected.into(),
            },
        ),
        QueryEvent::Retrieved { passages, stage } => named(
            "retrieved",
            &QueryRetrieved {
                passages: all(passages),
                stage: stage.into(),
            },
        ),
        QueryEvent::Token { text } => named("token", &QueryToken { text }),
        QueryEvent::Revised { text } => named("revised", &QueryRevised { text }),
        QueryEvent::Done(outcome) => named("done", &QueryResponse::from(*outcome)),
    }
}

fn named<T: Serialize>(name: &'static str, data: &T) -> Event {
    Event::default()
        .event(name)
        .json_data(data)
        .unwrap_or_else(|error| {
            tracing::error!(%error, name, "an event could not be written");
            let detail = ErrorDetail {
                code: Code::Internal,
                message: "A part of the answer could not be sent".to_owned(),
                hint: None,
            };
            Event::default()
                .event("error")
                .json_data(detail)
                .expect("BUG: an error of plain strings serialises")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sent_to_those_who_ask_for_them() {
        let accepts = |value: &'static str| {
            wants_events(&HeaderMap::from_iter([(
                ACCEPT,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(accepts("text/event-stream"));
        assert!(accepts("application/json;q=0.5, Text/Event-Stream;q=1"));
        assert!(
            !accepts("*/*"),
            "a program that takes anything wants the one JSON body"
        );
        assert!(!accepts("application/json"));
        assert!(!wants_events(&HeaderMap::new()));
    }

    #[test]
    fn the_published_request_has_its_defaults() {
        let request: QueryRequest = serde_json::from_str(r#"{"text":"Što je polog?"}"#).unwrap();
        assert_eq!(request.max_results, 5);
        assert_eq!(request.user_id, "default_user");
        let question = checked(&request).unwrap();
        assert_eq!(question.language, None, "auto detects");
        assert_eq!(question.chat, None);
    }
}
