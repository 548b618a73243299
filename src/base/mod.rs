//! Floor 0: what every room may use. Errors, settings, the clock, random numbers, telemetry.

pub mod clock;
mod error;
mod nearest;
pub mod random;
pub mod scram;
mod secret;
pub mod settings;
pub mod telemetry;

pub use clock::{Clock, FileClock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind, Result, ResultExt, sqlstate};
pub use nearest::{did_you_mean, nearest};
pub use secret::Secret;
pub use settings::{SessionSettings, Settings};
