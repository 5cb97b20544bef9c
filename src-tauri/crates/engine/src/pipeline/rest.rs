//! When a file that is being written is read: once it has come to rest.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use docent_domain::{DocumentId, Timestamp};
use docent_ingest::FileStamp;

use super::{HOUSEKEEPING, Reader};
use crate::config::Config;

/// A file that was changed while it was read is looked at again after this at the earliest.
const CHANGED_AGAIN: Duration = Duration::from_millis(100);

/// A file that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restless {
    first_seen: Instant,
    stamp: FileStamp,
    stamp_seen: Instant,
    looked_at: Instant,
    /// It may be read as it is, since it does not come to rest.
    is_overdue: bool,
    /// When it was last read so.
    read_as_is: Option<Instant>,
}

impl Restless {
    fn new(stamp: FileStamp, at: Instant) -> Self {
        Self {
            first_seen: at,
            stamp,
            stamp_seen: at,
            looked_at: at,
            is_overdue: false,
            read_as_is: None,
        }
    }

    /// How long the file is to be left alone after a look at it; `None` when it can be read. A time
    /// of change ahead of our clock, or behind it on another machine, says nothing: then it has to
    /// look the same twice.
    pub(super) fn wait(
        &mut self,
        stamp: FileStamp,
        now: Timestamp,
        at: Instant,
        rest: &Rest,
    ) -> Option<Duration> {
        if self.stamp != stamp {
            (self.stamp, self.stamp_seen) = (stamp, at);
        }
        self.looked_at = at;
        let rests =
            rest.is_long_ago(&stamp, now) || at.duration_since(self.stamp_seen) >= rest.quiet;
        self.is_overdue = !rests && at.duration_since(self.first_seen) >= rest.longest;
        if rests || self.is_overdue {
            return None;
        }
        let age = now.0.saturating_sub(stamp.modified_at().0).max(0);
        let age = Duration::from_millis(age.unsigned_abs());
        Some(rest.quiet.saturating_sub(age).max(CHANGED_AGAIN))
    }
}

/// When a file that is being written is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// After so long without a change.
    quiet: Duration,
    /// After so long, changing or not.
    longest: Duration,
}

impl Rest {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            quiet: Duration::from_secs(config.quiet_seconds),
            longest: Duration::from_secs(config.restless_seconds),
        }
    }

    fn is_long_ago(&self, stamp: &FileStamp, now: Timestamp) -> bool {
        let age = now.0.saturating_sub(stamp.modified_at().0);
        age >= i64::try_from(self.quiet.as_millis()).unwrap_or(i64::MAX)
    }

    /// When to look at a file first that has just been found; `None` means now.
    pub(crate) fn read_after(&self, stamp: &FileStamp, now: Timestamp) -> Option<Timestamp> {
        if self.is_long_ago(stamp, now) {
            return None;
        }
        let quiet = i64::try_from(self.quiet.as_millis()).unwrap_or(i64::MAX);
        // A time ahead of our clock is not waited for.
        Some(Timestamp(
            stamp.modified_at().0.min(now.0).saturating_add(quiet),
        ))
    }
}

impl Reader {
    fn restless(&self) -> std::sync::MutexGuard<'_, HashMap<DocumentId, Restless>> {
        self.restless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a file is to be left alone; `None` when it can be read.
    pub(super) fn wait_for_rest(
        &self,
        id: DocumentId,
        stamp: FileStamp,
        rest: &Rest,
    ) -> Option<Duration> {
        let (now, at) = (Timestamp::now(), Instant::now());
        let mut restless = self.restless();
        if !restless.contains_key(&id) && rest.is_long_ago(&stamp, now) {
            return None;
        }
        let known = restless.entry(id).or_insert(Restless::new(stamp, at));
        known.wait(stamp, now, at, rest)
    }

    /// How long to wait after a file was changed while it was read; `None` when that has gone on for
    /// too long.
    pub(super) fn wait_after_change(
        &self,
        id: DocumentId,
        stamp: FileStamp,
        rest: &Rest,
    ) -> Option<Duration> {
        let at = Instant::now();
        let mut restless = self.restless();
        let known = restless.entry(id).or_insert(Restless::new(stamp, at));
        known.looked_at = at;
        known.is_overdue = at.duration_since(known.first_seen) >= rest.longest;
        (!known.is_overdue).then(|| rest.quiet.max(CHANGED_AGAIN))
    }

    /// A file was read. One that did not come to rest is given as long again.
    pub(super) fn note_read(&self, id: DocumentId) {
        let mut restless = self.restless();
        match restless.get_mut(&id) {
            Some(known) if known.is_overdue => {
                let at = Instant::now();
                known.first_seen = at;
                known.read_as_is = Some(at);
            }
            _ => {
                restless.remove(&id);
            }
        }
    }

    /// Files that were read as they were since then, because they did not come to rest.
    pub(crate) fn read_as_they_were(&self, since: Instant) -> HashSet<DocumentId> {
        let restless = self.restless();
        let read = restless
            .iter()
            .filter(|(_, file)| file.read_as_is.is_some_and(|at| at >= since));
        read.map(|(id, _)| *id).collect()
    }

    /// Forgets files that nobody has looked at for longer than one that is still to be read is left
    /// alone: they have vanished, or their jobs were cancelled.
    pub(super) fn forget_restless(&self, now: Instant, rest: &Rest) {
        let kept = rest.quiet + rest.longest + HOUSEKEEPING;
        self.restless()
            .retain(|_, file| now.saturating_duration_since(file.looked_at) < kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineOptions};
    use crate::models::ModelSource;

    #[tokio::test]
    async fn files_that_vanish_before_they_rest_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut options =
            EngineOptions::new(folder.path().join("data"), folder.path().join("models"));
        options.models = ModelSource::Fakes;
        options.run_jobs = false;
        let engine = Engine::open(options).await.unwrap();
        let rest = Rest {
            quiet: Duration::from_secs(2),
            longest: Duration::from_mins(1),
        };
        let stamp = FileStamp {
            size_bytes: 1,
            modified_ns: Timestamp::now().0 * 1_000_000,
            file_id: None,
            born_ns: None,
        };
        let reader = engine.reader();
        let (vanished, written) = (DocumentId::generate(), DocumentId::generate());
        for id in [vanished, written] {
            assert!(reader.wait_for_rest(id, stamp, &rest).is_some());
        }
        let later = Instant::now() + Duration::from_mins(2);
        reader.restless().get_mut(&written).unwrap().looked_at = later;
        reader.forget_restless(Instant::now(), &rest);
        assert_eq!(reader.restless().len(), 2, "control");
        reader.forget_restless(later, &rest);
        let known: Vec<DocumentId> = reader.restless().keys().copied().collect();
        assert_eq!(known, [written]);
        engine.shutdown().await;
    }

    #[test]
    fn a_file_is_read_when_it_rests_or_has_not_for_long() {
        let rest = Rest {
            quiet: Duration::from_secs(2),
            longest: Duration::from_mins(1),
        };
        let begun = Instant::now();
        let (at, now) = (
            |ms| begun + Duration::from_millis(ms),
            |ms| Timestamp(1_000_000 + ms),
        );
        let written = |ms: i64, size_bytes| FileStamp {
            size_bytes,
            modified_ns: (1_000_000 + ms) * 1_000_000,
            file_id: None,
            born_ns: None,
        };
        let fresh = |stamp| Restless::new(stamp, begun);
        let ms = |wait: Option<Duration>| wait.map(|wait| wait.as_millis());

        let mut file = fresh(written(0, 1));
        assert_eq!(
            ms(file.wait(written(0, 1), now(500), at(0), &rest)),
            Some(1500)
        );
        // Written to again meanwhile.
        assert_eq!(
            ms(file.wait(written(1900, 2), now(2000), at(1500), &rest)),
            Some(1900)
        );
        assert_eq!(
            ms(file.wait(written(1900, 2), now(3900), at(3400), &rest)),
            None
        );

        // The clock of a server is an hour ahead: it has to look the same for as long.
        let ahead = |size| written(3_600_000, size);
        let mut file = fresh(ahead(1));
        assert_eq!(ms(file.wait(ahead(1), now(0), at(0), &rest)), Some(2000));
        assert_eq!(
            ms(file.wait(ahead(2), now(1000), at(1000), &rest)),
            Some(2000)
        );
        assert_eq!(ms(file.wait(ahead(2), now(3000), at(3000), &rest)), None);

        // A log never rests.
        let mut log = fresh(written(0, 0));
        let mut waited = 0;
        for second in 0_u32..60 {
            let stamp = written(i64::from(second) * 1000, u64::from(second));
            let looked = at(u64::from(second) * 1000);
            waited += u32::from(
                log.wait(stamp, now(i64::from(second) * 1000), looked, &rest)
                    .is_some(),
            );
        }
        assert_eq!(waited, 60);
        assert_eq!(
            ms(log.wait(written(60_000, 60), now(60_000), at(60_000), &rest)),
            None
        );

        assert_eq!(rest.read_after(&written(0, 1), now(500)), Some(now(2000)));
        assert_eq!(rest.read_after(&ahead(1), now(0)), Some(now(2000)));
        assert_eq!(rest.read_after(&written(-2000, 1), now(0)), None);
    }
}
