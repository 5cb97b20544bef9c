//! How fast background work goes, and from that how long the rest of it takes.
//!
//! Rates are measured on what was done lately and kept in memory. Until enough was done there is no
//! rate, and then there is no estimate either. Time comes in as an argument.

use std::time::Duration;

use docent_domain::Progress;
use docent_store::BatchProgress;

/// Work done so long ago (in time spent on such work) counts half.
const HALF_LIFE_SECONDS: f64 = 60.0;

/// A rate is not known before this much time was spent.
const ENOUGH_SECONDS: f64 = 0.5;

/// Work per second, over what was done lately.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    work: f64,
    seconds: f64,
}

impl Rate {
    fn note(&mut self, work: f64, took: Duration) {
        let seconds = took.as_secs_f64();
        let kept = 0.5_f64.powf(seconds / HALF_LIFE_SECONDS);
        self.work = self.work * kept + work;
        self.seconds = self.seconds * kept + seconds;
    }

    fn seconds_for(&self, work: f64) -> Option<f64> {
        (self.seconds >= ENOUGH_SECONDS && self.work > 0.0).then(|| work * self.seconds / self.work)
    }
}

/// What was measured of reading and embedding since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Of one lane.
    bytes: Rate,
    /// Of one lane. Small files take their time however small they are.
    files: Rate,
    chunks: Rate,
    chunks_read: f64,
    bytes_read: f64,
}

impl Pace {
    pub(crate) fn note_read(&mut self, bytes: u64, chunks: usize, took: Duration) {
        self.bytes.note(bytes as f64, took);
        self.files.note(1.0, took);
        self.bytes_read += bytes as f64;
        self.chunks_read += chunks as f64;
    }

    pub(crate) fn note_embedded(&mut self, chunks: usize, took: Duration) {
        self.chunks.note(chunks as f64, took);
    }

    /// What is left of reading a file of which nothing is known but its size.
    pub(crate) fn left_of_file(&self, bytes: u64, elapsed: Duration) -> Option<Duration> {
        let whole = self.reading(1, bytes)?;
        // Past the estimate it has turned out to be wrong.
        seconds(whole - elapsed.as_secs_f64()).filter(|left| !left.is_zero())
    }

    pub(crate) fn left_of_chunks(&self, chunks: u64) -> Option<Duration> {
        seconds(self.chunks.seconds_for(chunks as f64)?)
    }

    /// What is left of a batch that `lanes` files are read of at a time and that is embedded after
    /// that.
    pub(crate) fn left_of_batch(&self, batch: &BatchProgress, lanes: usize) -> Option<Duration> {
        let mut left = 0.0;
        let mut chunks = batch.chunks.saturating_sub(batch.embedded_chunks) as f64;
        if batch.unread > 0 {
            let lanes = (lanes as u64).min(batch.unread).max(1);
            left += self.reading(batch.unread, batch.unread_bytes)? / lanes as f64;
            if self.bytes_read <= 0.0 {
                return None;
            }
            chunks += batch.unread_bytes as f64 * self.chunks_read / self.bytes_read;
        }
        if chunks > 0.0 {
            left += self.chunks.seconds_for(chunks)?;
        }
        seconds(left)
    }

    /// By size or by number, whichever says it takes longer.
    fn reading(&self, files: u64, bytes: u64) -> Option<f64> {
        let by_size = self.bytes.seconds_for(bytes as f64)?;
        let by_number = self.files.seconds_for(files as f64)?;
        Some(by_size.max(by_number))
    }
}

/// What is left of something that has come so far in this time.
pub(crate) fn left_at_this_rate(progress: Progress, elapsed: Duration) -> Option<Duration> {
    if progress.done == 0 || progress.total == 0 {
        return None;
    }
    let left = progress.total.saturating_sub(progress.done) as f64;
    seconds(elapsed.as_secs_f64() * left / progress.done as f64)
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rounded(left: Option<Duration>) -> Option<u64> {
        left.map(|left| left.as_secs_f64().round() as u64)
    }

    #[test]
    fn nothing_is_said_before_something_was_measured() {
        let mut pace = Pace::default();
        let batch = BatchProgress {
            unread: 10,
            unread_bytes: 1000,
            ..BatchProgress::default()
        };
        assert_eq!(pace.left_of_batch(&batch, 2), None);
        assert_eq!(pace.left_of_chunks(5), None);
        assert_eq!(left_at_this_rate(Progress::default(), SECOND), None);
        pace.note_read(100, 4, Duration::from_millis(10));
        assert_eq!(pace.left_of_batch(&batch, 2), None, "too little");
        pace.note_read(100, 4, SECOND);
        assert_eq!(
            pace.left_of_batch(&batch, 2),
            None,
            "how fast its passages are embedded is not known"
        );
    }

    #[test]
    fn a_batch_is_read_and_then_embedded() {
        let mut pace = Pace::default();
        for _ in 0..4 {
            pace.note_read(1000, 4, SECOND);
            pace.note_embedded(8, SECOND);
        }
        let mut batch = BatchProgress {
            words: 1,
            chunks: 30,
            embedded_chunks: 14,
            ..BatchProgress::default()
        };
        assert_eq!(rounded(pace.left_of_batch(&batch, 2)), Some(2));
        batch.unread = 10;
        batch.unread_bytes = 10_000;
        // Ten seconds of two lanes, and 40 more passages.
        assert_eq!(rounded(pace.left_of_batch(&batch, 2)), Some(5 + 5 + 2));
        batch.unread_bytes = 10;
        assert_eq!(
            rounded(pace.left_of_batch(&batch, 2)),
            Some(5 + 2),
            "a small file takes its time too"
        );
        assert_eq!(rounded(pace.left_of_file(2000, SECOND / 2)), Some(2));
        assert_eq!(
            pace.left_of_file(1000, 3 * SECOND),
            None,
            "the estimate has turned out to be wrong"
        );
    }

    #[test]
    fn what_was_done_lately_counts_more() {
        let mut pace = Pace::default();
        pace.note_embedded(6000, 60 * SECOND);
        assert_eq!(rounded(pace.left_of_chunks(1000)), Some(10));
        for _ in 0..10 {
            pace.note_embedded(600, 60 * SECOND);
        }
        assert_eq!(rounded(pace.left_of_chunks(1000)), Some(100));
        let pages = Progress {
            done: 30,
            total: 90,
        };
        assert_eq!(rounded(left_at_this_rate(pages, 10 * SECOND)), Some(20));
    }
}
