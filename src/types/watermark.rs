//! Watermarks: promises in event time.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A promise in event time, in microseconds since 1970: rows older than this are no longer expected on time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is promised yet.
    pub const NONE: Watermark = Watermark(i64::MIN);
    /// Every split of a bounded source has ended: nothing will come.
    pub const END: Watermark = Watermark(i64::MAX);

    /// Whether a window that ends at `end_us` (exclusive) is closed by this watermark.
    pub fn closes(self, end_us: i64) -> bool {
        end_us <= self.0
    }

    /// This watermark moved by `us` microseconds; `NONE` and `END` stay what they are.
    pub fn shifted(self, us: i64) -> Watermark {
        match self {
            Watermark::NONE | Watermark::END => self,
            Watermark(at) => Watermark(at.saturating_add(us).clamp(i64::MIN + 1, i64::MAX - 1)),
        }
    }
}

impl Default for Watermark {
    fn default() -> Self {
        Watermark::NONE
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Watermark::NONE => f.write_str("none"),
            Watermark::END => f.write_str("end"),
            Watermark(us) => match chrono::DateTime::from_timestamp_micros(us) {
                Some(at) => write!(f, "{}", at.format("%Y-%m-%d %H:%M:%S%.f")),
                None => write!(f, "{us} us"),
            },
        }
    }
}
