//! Sinks hosted: the outbox that workers fill, and the thread that delivers what published checkpoints have fixed.
//!
//! ```text
//!  sink node on each worker ─▶ Outbox ── take(epoch) at a checkpoint ─▶ bytes beside the manifest (engine, storage)
//!                                                                         │ once published
//!  destination ◀─ connector ◀─ format ◀─ SinkHost (a thread per sink) ◀─ offer(number, bytes)
//! ```
//!
//! [`Outbox::take`] fixes the bounds of a batch; from then on its bytes are the same at every delivery. Only batches of
//! published checkpoints are offered, so nothing reaches a destination that a crash could make undone.

mod host;
mod outbox;

#[cfg(test)]
mod tests;

pub use host::{SinkHost, SinkSpec, SinkState, SinkStats};
pub use outbox::{CHANGELOG_COLUMNS, Keep, Outbox, OutboxBatch, changelog_schema};
