//! Floor 5: graphs as plain data, the inputs and commands of running ones, and the workers that run them.
//!
//! `worker/` is the only folder of the crate that knows timely.

mod deal;
mod input;
mod metrics;
pub mod source;

pub use deal::Deal;
pub use input::{Close, InputMessage, JobInput, JobInputReceivers, Sent, job_input};
pub use metrics::{Counter, JobMetrics, SubtaskMetrics, WorkerMetrics};
