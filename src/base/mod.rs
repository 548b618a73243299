//! Floor 0: what every room may use. Errors here; settings, clock, random and telemetry beside them.

mod error;

pub use error::{Error, ErrorKind, Result, ResultExt, sqlstate};
