//! How many threads llama.cpp works with, as other programs leave cores free.
//!
//! Its threads meet hundreds of times per token and spin while they wait. When another program takes
//! the core of one, all others spin for it: on two cores with eight busy processes two threads write
//! 1 token a second where one writes 40. So the share of the processor that the threads really got
//! is measured, one that is starved is given up, and it comes back when a core stands idle.

use std::time::Duration;

/// Long enough for the kernel's clock, which ticks every 10 ms.
const WINDOW: Duration = Duration::from_millis(400);
/// Of the time that the threads should have run, what they must have got. Without other programs it
/// is nearly all, because waiting threads spin.
const FAIR_SHARE: f64 = 0.85;
/// Cores that stood idle before another thread is tried.
const IDLE_CORES: f64 = 0.9;
/// Windows in a row that must have had them; giving up is quick and trying again is not.
const IDLE_WINDOWS: u32 = 3;

#[derive(Debug)]
pub(crate) struct Pace {
    most: u32,
    threads: u32,
    window: Window,
    idle_windows: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    wall: Duration,
    /// Processor time of this process.
    own: Duration,
    /// Time that cores of this machine stood idle, all together.
    idle: Duration,
}

impl Pace {
    /// Begins with `most` threads, which is also the limit.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most: most.max(1),
            threads: most.max(1),
            window: Window::default(),
            idle_windows: 0,
        }
    }

    pub(crate) const fn threads(&self) -> u32 {
        self.threads
    }

    /// Whether there is anything to decide.
    pub(crate) const fn is_adaptive(&self) -> bool {
        self.most > 1
    }

    /// Stays at what it is for good, when changing it has failed.
    pub(crate) const fn freeze(&mut self, threads: u32) {
        self.most = 1;
        self.threads = threads;
    }

    /// Takes in one run of llama.cpp; `used` is what lay between its begin and its end.
    pub(crate) fn note(&mut self, wall: Duration, used: Usage) {
        self.window.wall += wall;
        self.window.own += used.own;
        self.window.idle += used.idle;
        if self.window.wall >= WINDOW {
            let window = std::mem::take(&mut self.window);
            self.decide(window);
        }
    }

    fn decide(&mut self, window: Window) {
        let wall = window.wall.as_secs_f64();
        let got = window.own.as_secs_f64() / wall;
        let idle = window.idle.as_secs_f64() / wall;
        if self.threads > 1 && got < FAIR_SHARE * f64::from(self.threads) {
            self.idle_windows = 0;
            self.threads = (got.round() as u32).clamp(1, self.threads - 1);
        } else if self.threads < self.most && idle >= IDLE_CORES {
            self.idle_windows += 1;
            if self.idle_windows >= IDLE_WINDOWS {
                self.idle_windows = 0;
                self.threads += 1;
            }
        } else {
            self.idle_windows = 0;
        }
    }
}

/// Processor time so far, or between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    own: Duration,
    idle: Duration,
}

impl Usage {
    /// `None` where the system does not tell.
    #[cfg(target_os = "linux")]
    pub(crate) fn now() -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        let all = std::fs::read_to_string("/proc/stat").ok()?;
        Self::parse(&own, &all)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn now() -> Option<Self> {
        None
    }

    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            own: self.own.saturating_sub(before.own),
            idle: self.idle.saturating_sub(before.idle),
        }
    }

    /// From `/proc/self/stat` (fields 14 and 15) and the first line of `/proc/stat` (idle, iowait);
    /// both count in hundredths of a second.
    #[cfg(any(target_os = "linux", test))]
    fn parse(own: &str, all: &str) -> Option<Self> {
        let ticks =
            |field: Option<&str>| Some(Duration::from_millis(field?.parse::<u64>().ok()? * 10));
        // The name before it is in parentheses and may contain anything.
        let (_, own) = own.rsplit_once(')')?;
        let mut own = own.split_whitespace().skip(11);
        let own = ticks(own.next())? + ticks(own.next())?;
        let mut all = all.lines().next()?.split_whitespace().skip(4);
        let idle = ticks(all.next())? + ticks(all.next())?;
        Some(Self { own, idle })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One window in which this many cores were got, and this many stood idle.
    fn run(pace: &mut Pace, got: f64, idle: f64) -> u32 {
        let used = Usage {
            own: WINDOW.mul_f64(got),
            idle: WINDOW.mul_f64(idle),
        };
        pace.note(WINDOW, used);
        pace.threads()
    }

    #[test]
    fn a_starved_thread_is_given_up_and_comes_back() {
        let mut pace = Pace::new(2);
        assert_eq!(run(&mut pace, 1.97, 0.0), 2, "alone on the machine");
        assert_eq!(run(&mut pace, 1.3, 0.0), 1, "another program came");
        assert_eq!(run(&mut pace, 0.4, 0.0), 1, "never below one");
        for _ in 0..IDLE_WINDOWS - 1 {
            assert_eq!(run(&mut pace, 1.0, 1.0), 1);
        }
        assert_eq!(run(&mut pace, 1.0, 0.2), 1, "it was only a pause");
        for _ in 0..IDLE_WINDOWS - 1 {
            assert_eq!(run(&mut pace, 1.0, 0.95), 1);
        }
        assert_eq!(run(&mut pace, 1.0, 0.95), 2, "the other program has ended");
        assert_eq!(run(&mut pace, 2.0, 0.0), 2, "and that was right");

        let mut many = Pace::new(8);
        assert_eq!(run(&mut many, 5.2, 0.0), 5, "three cores are taken");
        let mut one = Pace::new(1);
        assert!(!one.is_adaptive());
        assert_eq!(run(&mut one, 0.3, 0.9), 1);
    }

    #[test]
    fn short_runs_make_one_window() {
        let mut pace = Pace::new(2);
        let run = WINDOW / 8;
        for number in 0..8 {
            assert_eq!(pace.threads(), 2, "after {number} runs");
            pace.note(
                run,
                Usage {
                    own: run,
                    idle: Duration::ZERO,
                },
            );
        }
        assert_eq!(pace.threads(), 1);
    }

    #[test]
    fn the_systems_figures_are_read() {
        let own = "31865 (a) b) R 31861 31861 16175 0 -1 4194304 98 0 0 0 250 50 0 0 20 0 1 0 7";
        let all = "cpu  944901 206572 198340 161454 2256 0 1733 1602 0 0\ncpu0 1 2 3";
        let usage = Usage::parse(own, all).unwrap();
        assert_eq!(usage.own, Duration::from_secs(3));
        assert_eq!(usage.idle, Duration::from_millis(1_637_100));
        assert!(Usage::parse("", "").is_none());
    }
}
