//! One stream that says what changed, so that windows need not poll.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use docent_domain::WorkspaceId;
use docent_engine::{BatchReport, Change, Topic};
use futures::{Stream, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ApiState;
use crate::dto::{BatchEvent, ChangeEvent, EventParameters};
use crate::error::ApiError;
use crate::extract::Parameters;

/// Short enough for proxies and sleeping laptops to notice a dead peer.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Changes that come closer together than this are told once. An ingest changes rows hundreds of
/// times a second; a list that follows ten times a second looks live.
const COALESCE: Duration = Duration::from_millis(100);

const TOPICS: [Topic; 7] = [
    Topic::Workspaces,
    Topic::Folders,
    Topic::Documents,
    Topic::Jobs,
    Topic::Chats,
    Topic::Models,
    Topic::Health,
];

/// Says what changed: events named `change` with a ChangeEvent each, and events named `batch` with a
/// BatchEvent each when all that was waiting in a workspace is done.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(EventParameters),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
pub(super) async fn subscribe_events(
    State(state): State<ApiState>,
    Parameters(parameters): Parameters<EventParameters>,
) -> Result<Response, ApiError> {
    // Subscribed before anything is awaited: a change after this request began is told.
    let changes = state.engine.subscribe();
    let batches = state.engine.subscribe_batches();
    let only = match parameters.workspace.as_deref() {
        Some(name_or_id) => Some(state.engine.scope(name_or_id).await?.workspace()),
        None => None,
    };
    let events = coalesced(changes, only).filter_map(|change| async move {
        Event::default()
            .event("change")
            .json_data(ChangeEvent::from(change))
            .ok()
            .map(Ok)
    });
    let ended = ended(batches, only).filter_map(|report| async move {
        Event::default()
            .event("batch")
            .json_data(BatchEvent::from(report))
            .ok()
            .map(Ok)
    });
    Ok(event_stream(
        futures::stream::select(events, ended),
        &state.options.closing,
    ))
}

/// A reader that fell behind misses the oldest; nothing has to be asked again for that.
fn ended(
    batches: Receiver<BatchReport>,
    only: Option<WorkspaceId>,
) -> impl Stream<Item = BatchReport> + Send {
    let reports = futures::stream::unfold(batches, |mut batches| async move {
        loop {
            match batches.recv().await {
                Ok(report) => return Some((report, batches)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    reports.filter(move |report| {
        let concerns = only.is_none_or(|only| only == report.workspace_id);
        std::future::ready(concerns)
    })
}

/// Sends `events` with heartbeats until they end or the host closes.
pub(super) fn event_stream(
    events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static,
    closing: &CancellationToken,
) -> Response {
    // The first comment makes every transport deliver the head at once.
    let open = futures::stream::iter([Ok(Event::default().comment("open"))]);
    let events = open
        .chain(events)
        .take_until(closing.clone().cancelled_owned());
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(HEARTBEAT))
        .into_response()
}

fn coalesced(
    changes: Receiver<Change>,
    only: Option<WorkspaceId>,
) -> impl Stream<Item = Change> + Send {
    let batches = futures::stream::unfold(changes, move |mut changes| async move {
        let mut batch = Vec::new();
        let mut until = None;
        loop {
            let received = match until {
                None => changes.recv().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, changes.recv()).await {
                    Ok(received) => received,
                    Err(_) => break,
                },
            };
            match received {
                Ok(change) => note(&mut batch, change, only),
                // What was missed may have been anything.
                Err(RecvError::Lagged(_)) => {
                    for topic in TOPICS {
                        note(
                            &mut batch,
                            Change {
                                topic,
                                workspace_id: None,
                            },
                            only,
                        );
                    }
                }
                Err(RecvError::Closed) if batch.is_empty() => return None,
                Err(RecvError::Closed) => break,
            }
            if !batch.is_empty() && until.is_none() {
                until = Some(Instant::now() + COALESCE);
            }
        }
        Some((futures::stream::iter(batch), changes))
    });
    batches.flatten()
}

fn note(batch: &mut Vec<Change>, change: Change, only: Option<WorkspaceId>) {
    let concerns = only.is_none() || change.workspace_id.is_none() || change.workspace_id == only;
    if concerns && !batch.contains(&change) {
        batch.push(change);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn a_burst_is_told_once_for_each_topic() {
        let (sender, receiver) = broadcast::channel(16);
        let documents = Change {
            topic: Topic::Documents,
            workspace_id: None,
        };
        let jobs = Change {
            topic: Topic::Jobs,
            workspace_id: None,
        };
        for change in [documents, jobs, documents, documents] {
            sender.send(change).unwrap();
        }
        drop(sender);
        let told: Vec<_> = coalesced(receiver, None).collect().await;
        assert_eq!(told, [documents, jobs]);
    }

    #[tokio::test]
    async fn another_workspaces_changes_are_not_told() {
        let (sender, receiver) = broadcast::channel(16);
        let (mine, other) = (WorkspaceId::generate(), WorkspaceId::generate());
        let change = |workspace_id| Change {
            topic: Topic::Chats,
            workspace_id,
        };
        for workspace in [Some(other), Some(mine), None] {
            sender.send(change(workspace)).unwrap();
        }
        drop(sender);
        let told: Vec<_> = coalesced(receiver, Some(mine)).collect().await;
        assert_eq!(told, [change(Some(mine)), change(None)]);
    }

    #[tokio::test]
    async fn a_reader_that_fell_behind_is_told_to_ask_for_everything() {
        let (sender, receiver) = broadcast::channel(1);
        for _ in 0..3 {
            sender
                .send(Change {
                    topic: Topic::Jobs,
                    workspace_id: None,
                })
                .unwrap();
        }
        drop(sender);
        let told: Vec<_> = coalesced(receiver, None).collect().await;
        assert_eq!(told.len(), TOPICS.len(), "each topic once: {told:?}");
    }
}
