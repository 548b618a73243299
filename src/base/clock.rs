//! The clock: the only place that asks the operating system what time it is. Sync rooms never see it; a test gives
//! [`ManualClock`] instead.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
///
/// # Contract
/// 1. `now_us` may jump either way when the system's clock is set; whoever needs order must keep the largest seen.
/// 2. `elapsed` never goes back.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Microseconds since 1970 in UTC.
    fn now_us(&self) -> i64;

    /// Time since this clock was made.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_us: AtomicI64,
    elapsed_us: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now_us`.
    pub fn at(now_us: i64) -> Self {
        ManualClock { now_us: AtomicI64::new(now_us), elapsed_us: AtomicI64::new(0) }
    }

    /// Moves both readings on.
    pub fn advance(&self, by: Duration) {
        let by_us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.now_us.fetch_add(by_us, Ordering::SeqCst);
        self.elapsed_us.fetch_add(by_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.now_us.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed_us.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// The system's clock, unless a file says otherwise: for tests of what the clock does over processes that come and go.
/// The file holds a time such as `2026-01-31 12:00:00`, in UTC.
#[derive(Debug)]
pub struct FileClock {
    path: PathBuf,
    system: SystemClock,
}

impl FileClock {
    /// The clock that `path` may set.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        FileClock { path: path.into(), system: SystemClock::default() }
    }

    fn reading_us(&self) -> Option<i64> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let at = chrono::NaiveDateTime::parse_from_str(text.trim(), "%Y-%m-%d %H:%M:%S%.f").ok()?;
        Some(at.and_utc().timestamp_micros())
    }
}

impl Clock for FileClock {
    fn now_us(&self) -> i64 {
        self.reading_us().unwrap_or_else(|| self.system.now_us())
    }

    fn elapsed(&self) -> Duration {
        self.system.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_set_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let clock = FileClock::new(&path);
        assert!(clock.now_us() > 1_600_000_000_000_000);
        std::fs::write(&path, "1970-01-01 00:00:02.5\n").unwrap();
        assert_eq!(clock.now_us(), 2_500_000);
    }

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(1_000);
        assert_eq!((clock.now_us(), clock.elapsed()), (1_000, Duration::ZERO));
        clock.advance(Duration::from_millis(2));
        assert_eq!((clock.now_us(), clock.elapsed()), (3_000, Duration::from_millis(2)));
        assert!(SystemClock::default().now_us() > 1_600_000_000_000_000);
    }
}
