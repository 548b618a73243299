//! Sources hosted: read once, cut once, fanned out to every job.
//!
//! ```text
//!  split ─▶ blocks ─▶ decode pool ─▶ in order: hidden watermark ─▶ shared reader ─┬▶ job input (columns it wants)
//!           (connector)  (format)                                                  ├▶ job input
//!                                                                                  └▶ faults
//!           lone reader: the same, for one job that is behind ─────────────────────▶ job input
//! ```
//!
//! [`SourceHost`] owns the positions. The coordinator calls [`SourceHost::cut`] at the end of every epoch and
//! [`SourceHost::close`] when the cut is durable; whatever was handed to a job before the cut is labelled with that epoch,
//! everything after it with the next. A job that starts behind ([`Attach`]) or lags is read to by a reader of its own
//! along the recorded cuts until it has caught up, then joins the shared reader without loss or repetition.

mod bounded;
mod computed;
mod host;
mod lone;
mod pool;
mod reading;
mod rows;
mod shared;
mod spec;

#[cfg(test)]
mod tests;

pub use super::Close;
pub use bounded::BoundedReader;
pub use host::SourceHost;
pub(super) use pool::decode_busy;
pub use spec::{
    Attach, Generated, HostSettings, Inlet, RecordedCut, SourceCut, SourceEvent, SourceSpec, SourceState, SourceStats,
    SplitCut, SplitPoint, SplitStats, SubscriberId, Wanted, WatermarkRule, source_fault_schema,
};
