//! How an epoch goes for an operator over partitions: changes are gathered, at its end merged partition by partition in
//! slices, then what is complete is closed.

use super::{Gathered, Touched};
use crate::base::Result;
use crate::operators::{EpochEnd, Flow, Output};
use crate::state::OperatorState;
use crate::types::{EncodedRows, Weights};

/// The state table of every such operator's rows: a Bag by partition.
pub(in crate::operators) const ROWS: usize = 0;
/// Partitions whose rows are asked for at once.
const PARTITIONS_AT_ONCE: usize = 1024;

/// Rows gathered before those that cannot be shown are looked for; few in tests, that they come there too.
const TRIM_ROWS: usize = if cfg!(test) { 4 } else { 32_768 };

/// What an operator does with the partitions that changed.
pub(in crate::operators) trait Merge {
    /// Merges the changes of a slice's partitions, whose rows are in memory. Returns how many it has merged: all, or
    /// fewer (but at least one) once it has emitted enough for one call.
    fn merge(&mut self, slice: &Slice<'_>, state: &mut OperatorState, out: &mut Output) -> Result<usize>;

    /// Closes what the epoch's end completes, after all changes are merged; called again after `More` and `Fetch`.
    fn close(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow>;
}

/// Changed partitions that are merged in one call.
pub(in crate::operators) struct Slice<'a> {
    /// The changes of the whole epoch.
    pub gathered: &'a Gathered,
    /// The partitions of this slice.
    pub touched: &'a [Touched],
    /// Their keys.
    pub keys: EncodedRows,
}

/// Where in the epoch the operator is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Phase {
    #[default]
    Filling,
    Merging,
    Closing,
}

/// An operator's open epoch.
#[derive(Default)]
pub(in crate::operators) struct Merging {
    gathered: Gathered,
    phase: Phase,
    /// The first touched partition that is still to be merged.
    next: usize,
    /// Rows that the last [`Merging::trim`] has left.
    trimmed: usize,
}

impl Merging {
    /// Takes in (partition, row, weight)s side by side.
    pub fn add(
        &mut self,
        keys: &EncodedRows,
        rows: &EncodedRows,
        weights: &Weights,
        state: &mut OperatorState,
    ) -> Result<()> {
        self.gathered.add(keys, rows, weights)?;
        state.hold(self.gathered.bytes());
        Ok(())
    }

    /// Forgets rows behind the first `count` of their partition, once many have come. For input without retractions.
    pub fn trim(&mut self, count: u64, state: &mut OperatorState) {
        if self.gathered.len() < TRIM_ROWS.max(self.trimmed.saturating_mul(2)) {
            return;
        }
        self.gathered.keep_first(i64::try_from(count).unwrap_or(i64::MAX));
        self.trimmed = self.gathered.len();
        state.hold(self.gathered.bytes());
    }

    /// One call of `on_epoch_end` for `operator`.
    pub fn end(
        &mut self,
        operator: &mut impl Merge,
        end: &EpochEnd,
        state: &mut OperatorState,
        out: &mut Output,
    ) -> Result<Flow> {
        if self.phase == Phase::Filling {
            self.gathered.sort();
            self.next = 0;
            self.phase = Phase::Merging;
        }
        if self.phase == Phase::Merging {
            match self.merge_slice(operator, state, out)? {
                Flow::Done => {}
                flow @ (Flow::More | Flow::Fetch(_)) => return Ok(flow),
            }
            self.gathered.clear();
            self.trimmed = 0;
            state.hold(0);
            self.phase = Phase::Closing;
        }
        let flow = operator.close(end, state, out)?;
        match flow {
            Flow::Done => self.phase = Phase::Filling,
            Flow::More | Flow::Fetch(_) => {}
        }
        Ok(flow)
    }

    /// `Done` when no changed partition is left.
    fn merge_slice(&mut self, operator: &mut impl Merge, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let all = self.gathered.touched();
        let touched = &all[self.next..(self.next + PARTITIONS_AT_ONCE).min(all.len())];
        let keys = self.gathered.keys(touched);
        if let Some(read) = state.bag(ROWS)?.missing(&keys) {
            return Ok(Flow::Fetch(vec![read]));
        }
        self.next += operator.merge(&Slice { gathered: &self.gathered, touched, keys }, state, out)?;
        Ok(if self.next < all.len() { Flow::More } else { Flow::Done })
    }
}
