//! Floor 4: the operators: pure state machines that take deltas and give deltas. One file or folder each.
//!
//! An operator is described by an [`OperatorSpec`] (plain data, planner to worker) and built from it on each worker
//! that owns a part of its key groups. It knows no runtime: a host calls it, reads for it and carries what it emits.
//!
//! ```text
//!   host ── on_delta(port, batch) ──▶ operator ──▶ Output: (port, DeltaBatch)…
//!        ── on_epoch_end(end) ──────▶    │  ▲          0 the answer · 1 late rows (gate), count (keep) · 2 faults
//!                                        ▼  │
//!                                   OperatorState (tables of this subtask, in the room `state`)
//! ```

mod aggregate;
mod asof;
mod chain;
mod during;
mod faults;
mod gate;
mod instant;
mod join;
mod keep;
mod lookup;
mod output;
mod over;
mod partition;
mod proctime;
mod session;
mod single;
mod spec;
#[cfg(test)]
mod tests;
mod top;
mod union;
#[cfg(test)]
mod workbench;

pub use aggregate::{AggregateSpec, Emit};
pub use asof::AsofSpec;
pub use chain::{ChainSpec, Step};
pub use during::{ClockBound, DuringSpec};
pub use faults::fault_schema;
pub use gate::GateSpec;
pub use join::{Band, Due, JoinKind, JoinSpec};
pub use keep::KeepSpec;
pub use lookup::LookupSpec;
pub use output::Output;
pub use over::{Bound, Frame, OverCall, OverFunction, OverSpec, Units};
pub use partition::{FreeOn, OrderKey, RowOrder};
pub use proctime::ProctimeSpec;
pub use session::SessionSpec;
pub use single::SingleSpec;
pub use spec::OperatorSpec;
pub use top::{Rank, TopSpec};
pub use union::UnionSpec;

use crate::base::Result;
use crate::state::{OperatorState, Read};
use crate::types::{DeltaBatch, Epoch, Watermark};

/// The output port of the answer.
pub const MAIN_PORT: usize = 0;
/// The output port of a gate's late rows, and of a keep's exact count.
pub const LATE_PORT: usize = 1;
/// The output port of faulty rows, of [`fault_schema`].
pub const FAULT_PORT: usize = 2;

/// Rows that a slice of work aims to emit before the host is given the word again ([`Flow::More`]).
pub const SLICE_ROWS: usize = 8192;

/// One operator's copy on one worker.
///
/// # Contract
///
/// What the operator owes, and what breaks if it does not:
///
/// 1. *The law.* After the end of an epoch, the sum of all it emitted on port 0 is the batch answer over the sum of all
///    it was given, minus what it put out as late (port 1) or faulty (port 2). Otherwise answers are wrong.
/// 2. It emits nothing for an epoch after it returned [`Flow::Done`] from that epoch's end: readers have seen it.
/// 3. Its output, added up per epoch, does not depend on how input was cut into batches nor on their order within the
///    epoch (weights may be negative in between). Otherwise a replay after a crash gives other rows.
/// 4. Restored from the cut of epoch *e* and given the input after *e*, it gives what it would have given without the
///    stop; its key groups may by then be shared by another number of workers. So all that must outlive an epoch's end
///    is in the state tables. Otherwise a crash changes answers.
/// 5. Per key at most one -1 and one +1 leave a view per epoch: an operator that holds keys speaks at the epoch's end,
///    once per changed key, and not at all when nothing changed; a stateless one passes on what it was given.
/// 6. Memory it holds between calls is told to the state handle, so that one budget sees all.
/// 7. Its spec says what bounds its state ([`OperatorSpec::bounded_by`]).
/// 8. It never waits, asks the time, opens files, logs per row or panics on any input.
///
/// What the host owes:
///
/// 1. Epochs one after another: all `on_delta` of an epoch on every port, then one `on_epoch_end`. Epochs without input
///    may be left out.
/// 2. After [`Flow::More`] or [`Flow::Fetch`] the same call again with the same arguments, before any other call; after
///    `Fetch` the named reads have been admitted to the state. What was emitted meanwhile may be drained in between.
/// 3. Rows of one key come to the one subtask that owns the key's group; an operator without keys has one subtask, the
///    owner of the empty key's group, and no other is called.
/// 4. After an `Err` the operator is not called again: its job has stopped.
/// 5. State is cut only between `on_epoch_end` (done) and the next `on_delta`.
pub trait Operator {
    /// Takes a batch of the open epoch on input `port`.
    fn on_delta(
        &mut self,
        port: usize,
        batch: &DeltaBatch,
        state: &mut OperatorState,
        out: &mut Output,
    ) -> Result<Flow>;

    /// Ends the open epoch.
    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow>;
}

/// What is known at the end of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochEnd {
    /// The epoch that ends.
    pub epoch: Epoch,
    /// The clock reading that `now()` has in it, in microseconds since 1970.
    pub clock_us: i64,
    /// The watermark of each input port.
    pub watermarks: Vec<Watermark>,
}

impl EpochEnd {
    /// The watermark of input `port`; nothing is promised for a port that was not named.
    pub fn watermark(&self, port: usize) -> Watermark {
        self.watermarks.get(port).copied().unwrap_or(Watermark::NONE)
    }
}

/// What the host does next.
#[derive(Debug)]
#[must_use]
pub enum Flow {
    /// The call is finished.
    Done,
    /// Call again with the same arguments: the work is cut into slices.
    More,
    /// Read these, admit them to the state, and call again with the same arguments.
    Fetch(Vec<Read>),
}
