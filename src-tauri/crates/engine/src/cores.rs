//! Who has the cores: an answer being written, or documents being embedded.
//!
//! Both run one thread per physical core with spinning barriers; side by side each falls to a
//! fraction of its speed. An answer therefore goes first: it waits for the batch being embedded
//! (seconds at most), and no further batch starts until it is done. Reading files is light and is
//! not governed here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, RwLock, RwLockReadGuard};

#[derive(Debug, Default)]
pub(crate) struct Cores {
    /// Answers waiting or running.
    interactive: AtomicUsize,
    idle: Notify,
    batch: RwLock<()>,
}

/// While it lives, no batch of background work starts.
#[derive(Debug)]
pub(crate) struct Interactive {
    cores: Arc<Cores>,
}

impl Cores {
    /// Announces an answer. Returns at once; a batch that is running ends first only for those who
    /// also wait for [`Interactive::ready`].
    pub(crate) fn interactive(self: &Arc<Self>) -> Interactive {
        self.interactive.fetch_add(1, Ordering::SeqCst);
        Interactive {
            cores: Arc::clone(self),
        }
    }

    /// Whether an answer (or a search) is waiting or running.
    pub(crate) fn are_wanted(&self) -> bool {
        self.interactive.load(Ordering::SeqCst) > 0
    }

    /// Waits until no answer wants the cores, and holds them for one batch.
    pub(crate) async fn background(&self) -> RwLockReadGuard<'_, ()> {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.interactive.load(Ordering::SeqCst) == 0 {
                let guard = self.batch.read().await;
                if self.interactive.load(Ordering::SeqCst) == 0 {
                    return guard;
                }
                drop(guard);
            }
            idle.await;
        }
    }
}

impl Interactive {
    /// Waits for the batch that was running when the answer was announced.
    pub(crate) async fn ready(&self) {
        drop(self.cores.batch.write().await);
    }
}

impl Drop for Interactive {
    fn drop(&mut self) {
        if self.cores.interactive.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.cores.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_waits_for_the_answer_and_the_answer_for_the_batch() {
        let cores = Arc::new(Cores::default());
        let batch = cores.background().await;
        let answer = cores.interactive();
        let ready = tokio::spawn({
            let cores = Arc::clone(&cores);
            async move {
                let second = cores.interactive();
                second.ready().await;
            }
        });
        tokio::task::yield_now().await;
        assert!(
            !ready.is_finished(),
            "the batch in flight still has the cores"
        );
        drop(batch);
        ready
            .await
            .expect("the waiting answer runs once the batch is done");

        let next = tokio::spawn({
            let cores = Arc::clone(&cores);
            async move {
                drop(cores.background().await);
            }
        });
        tokio::task::yield_now().await;
        assert!(
            !next.is_finished(),
            "no batch starts while an answer is wanted"
        );
        drop(answer);
        next.await.expect("the batch runs after the answer");
    }
}
