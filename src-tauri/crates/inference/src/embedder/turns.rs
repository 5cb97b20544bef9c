//! Who may use the worker next: one frame at a time, questions before documents.

use tokio::sync::{Mutex, MutexGuard, watch};

use crate::EmbedKind;

pub(super) struct Turns {
    lane: Mutex<()>,
    waiting_queries: watch::Sender<usize>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            lane: Mutex::default(),
            waiting_queries: watch::Sender::new(0),
        }
    }
}

impl Turns {
    /// Waits for a turn, which lasts as long as the guard.
    pub async fn take(&self, kind: EmbedKind) -> MutexGuard<'_, ()> {
        match kind {
            EmbedKind::Query => {
                let waiting = Waiting::new(&self.waiting_queries);
                let turn = self.lane.lock().await;
                drop(waiting);
                turn
            }
            EmbedKind::Passage => {
                let mut queries = self.waiting_queries.subscribe();
                loop {
                    // The sender lives as long as `self`.
                    let _ = queries.wait_for(|count| *count == 0).await;
                    let turn = self.lane.lock().await;
                    if *queries.borrow() == 0 {
                        return turn;
                    }
                }
            }
        }
    }
}

/// Counted even when its future is dropped while it waits.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex as StdMutex};

    use super::*;

    #[tokio::test]
    async fn a_question_goes_before_documents_that_wait_longer() {
        let turns = Arc::new(Turns::default());
        let order = Arc::new(StdMutex::new(Vec::new()));
        let running = turns.take(EmbedKind::Passage).await;
        let mut tasks = Vec::new();
        for (name, kind) in [
            ("first document", EmbedKind::Passage),
            ("second document", EmbedKind::Passage),
            ("question", EmbedKind::Query),
        ] {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _turn = turns.take(kind).await;
                order.lock().expect("a lock").push(name);
            }));
            // The runtime has one thread: the task runs until it waits.
            tokio::task::yield_now().await;
        }
        drop(running);
        for task in tasks {
            task.await.expect("a task");
        }
        let order = order.lock().expect("a lock");
        assert_eq!(order[0], "question", "{order:?}");
        assert_eq!(order.len(), 3);
    }
}
