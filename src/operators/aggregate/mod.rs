//! `aggregate`: GROUP BY with every aggregate of `functions`, over insertions and retractions.
//!
//! ```text
//!  on_delta       rows ─▶ groups of this epoch (numbers) ─▶ partial accumulators in flat vectors
//!                     └─▶ (group, row) weights for calls that keep rows: DISTINCT, min, percentiles, …
//!  on_epoch_end   per changed group, in slices:  stored ⊕ partial = new;  -stored +new if they differ;  store new
//!                 then, where a window's end is a key: groups that the watermark has reached are shown and freed
//! ```
//!
//! | table | kind | order | key | row or value |
//! |---|---|---|---|---|
//! | 0 `groups` | Map; Ordered if windows close | none; the window's end | group key | the accumulators, see `functions/aggregate` |
//! | 1… `values_{call}` | Bag | | group key | what the call orders by and its arguments, for calls that keep them; one for all calls over the same |
//!
//! Sums and counts are added to and taken from. Min, max, first and last read one end of their kept rows, when theirs
//! goes. What can only be worked out anew (percentiles, mode, string_agg) goes once per epoch through all kept rows of
//! each group that changed; with EMIT ON WINDOW CLOSE once, at the close.
//!
//! A row for which an argument or FILTER faults counts for no call and leaves on port 2. A result that faults (a sum
//! beyond its type) leaves on port 2 with the group's key, and comes back to port 0 when it fits again.

mod groups;
mod kept;
mod shown;
mod slice;
mod spec;

pub use spec::{AggregateSpec, Emit};

use arrow::array::{ArrayRef, BooleanArray, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use std::sync::Arc;

use super::faults::fault_batch;
use super::instant::time_of;
use super::spec::Door;
use super::{EpochEnd, FAULT_PORT, Flow, Operator, Output};
use crate::base::{Error, Result};
use crate::functions::{Accumulators, Aggregates};
use crate::state::{OperatorState, TableSpec};
use crate::types::{DeltaBatch, RowCodec, SqlType, Watermark, Weights};
use groups::Groups;
use kept::Kept;
use shown::Showing;

#[cfg(test)]
mod tests;

/// The table of the groups.
const GROUPS: usize = 0;

impl AggregateSpec {
    fn aggregates(&self) -> Result<Aggregates> {
        Aggregates::new(&self.calls, &self.input, self.append_only)
    }

    pub(super) fn tables(&self) -> Result<Vec<TableSpec>> {
        self.output()?;
        let keys = self.key_schema().types();
        let mut tables = vec![match self.window() {
            None => TableSpec::map("groups", keys.clone(), Vec::new()),
            Some(place) => TableSpec::ordered("groups", vec![keys[place].clone()], keys.clone(), Vec::new()),
        }];
        let aggregates = self.aggregates()?;
        for (call, keeping) in aggregates.keeping().iter().enumerate() {
            if aggregates.keeps_as(call) == call
                && let Some(row) = keeping.row()
            {
                tables.push(TableSpec::bag(format!("values_{call}"), keys.clone(), row.to_vec()));
            }
        }
        Ok(tables)
    }

    pub(super) fn build(&self) -> Result<Aggregate> {
        let output = self.output()?;
        let aggregates = self.aggregates()?;
        let mut kept: Vec<Kept> = Vec::new();
        let mut places = Vec::new();
        for (call, keeping) in aggregates.keeping().iter().enumerate() {
            places.push(kept.len());
            let Some(row) = keeping.row() else { continue };
            let first = aggregates.keeps_as(call);
            if first == call {
                kept.push(Kept::new(GROUPS + 1 + kept.len(), row));
            } else {
                places[call] = places[first];
            }
            kept[places[call]].serve(call, keeping);
        }
        let keys = self.key_schema();
        Ok(Aggregate {
            door: Door::new("aggregate", &self.input),
            showing: Showing::new(keys.clone(), &output),
            groups: Groups::new(&keys, self.window()),
            partial: aggregates.accumulators(),
            aggregates,
            kept,
            ids: Vec::new(),
            counted: 0,
            phase: Phase::Filling,
            started: !self.keys.is_empty(),
            closed: Vec::new(),
            spec: self.clone(),
        })
    }
}

/// The aggregate at work.
pub(super) struct Aggregate {
    spec: AggregateSpec,
    door: Door,
    aggregates: Aggregates,
    showing: Showing,
    /// The groups that the open epoch has touched, and what it has added to each.
    groups: Groups,
    partial: Accumulators,
    kept: Vec<Kept>,
    ids: Vec<u32>,
    /// How many groups there were when their bytes were last told to the state handle.
    counted: usize,
    phase: Phase,
    /// Without keys: whether the one group is known to have its row.
    started: bool,
    /// Windows up to this end (as canonical bytes) have been freed by this operator; empty: none yet.
    closed: Vec<u8>,
}

/// Where in the epoch the operator is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Deltas come.
    Filling,
    /// The epoch ends: changed groups from this one on are still to be merged.
    Merging(usize),
    /// All changed groups are merged; groups of windows that closed are to be freed.
    Closing,
}

impl Operator for Aggregate {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        if self.spec.append_only && has_retraction(&batch.weights) {
            return Err(Error::internal("operator \"aggregate\" of an append-only input was given a retraction"));
        }
        let mut arguments = self.aggregates.arguments(&batch.rows)?;
        let mut batch = batch.clone();
        if let Some(faults) = arguments.faults.take() {
            let mask = BooleanArray::new(faults.mask.clone(), None);
            let reasons = faults.mask.set_indices().map(|row| faults.reason(row).to_owned()).collect();
            let weights = faults.mask.set_indices().map(|row| batch.weights.get(row)).collect();
            out.emit(FAULT_PORT, fault_batch(&filter_record_batch(&batch.rows, &mask)?, reasons, weights)?);
            batch = batch.filter(&arrow::compute::not(&mask)?)?;
            arguments = self.aggregates.arguments(&batch.rows)?;
        }
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(|&key| Arc::clone(batch.rows.column(key))).collect();
        self.groups.assign(&keys, batch.len(), &mut self.ids)?;
        self.partial.resize(self.groups.len());
        self.partial.update(&arguments, &self.ids, &batch.weights)?;
        self.kept.iter_mut().try_for_each(|kept| kept.update(&arguments, &self.ids, &batch.weights))?;
        // Counting goes over every group, so it waits until there are many new ones.
        if self.groups.len() > self.counted + self.counted / 4 + 1024 {
            self.counted = self.groups.len();
            state.hold(self.bytes());
        }
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let bound = self.bound(end.watermark(0))?;
        if self.phase == Phase::Filling {
            if !self.started {
                self.groups.add_only_group();
                self.partial.resize(1);
            }
            self.kept.iter_mut().for_each(Kept::sort);
            self.phase = Phase::Merging(0);
        }
        if let Phase::Merging(from) = self.phase {
            let flow = self.merge_slice(from, &bound, state, out)?;
            match flow {
                Flow::Done => {}
                Flow::More | Flow::Fetch(_) => return Ok(flow),
            }
            self.forget_epoch();
            state.hold(0);
            self.phase = Phase::Closing;
        }
        let flow = self.close_slice(&bound, state, out)?;
        match flow {
            Flow::Done => {
                self.phase = Phase::Filling;
                self.started = true;
                self.closed = std::mem::take(&mut self.closed).max(bound);
                self.ask_for_close(state, out)?;
            }
            Flow::More | Flow::Fetch(_) => {}
        }
        Ok(flow)
    }
}

impl Aggregate {
    /// The canonical bytes of the latest window's end that closes; empty if none does. A NULL end closes at the end.
    fn bound(&self, watermark: Watermark) -> Result<Vec<u8>> {
        if self.spec.window().is_none() || watermark == Watermark::NONE {
            return Ok(Vec::new());
        }
        let end = (watermark != Watermark::END).then_some(watermark.0);
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![end]));
        Ok(RowCodec::new(vec![SqlType::Timestamp]).encode(&[column])?.row(0).to_vec())
    }

    /// Whoever closes by the clock wants to be called when the first window ends.
    fn ask_for_close(&self, state: &mut OperatorState, out: &mut Output) -> Result<()> {
        if let Emit::WindowClose { .. } = self.spec.emit
            && let Some(Ok(first)) = state.ordered(GROUPS)?.first_order().map(time_of)
        {
            out.wake_at(first);
        }
        Ok(())
    }

    /// Bytes gathered in the open epoch.
    fn bytes(&self) -> usize {
        self.groups.bytes() + self.partial.bytes() + self.kept.iter().map(Kept::bytes).sum::<usize>()
    }

    fn forget_epoch(&mut self) {
        self.counted = 0;
        self.groups.clear();
        self.partial = self.aggregates.accumulators();
        self.kept.iter_mut().for_each(Kept::clear);
    }
}

fn has_retraction(weights: &Weights) -> bool {
    match weights {
        Weights::Ones => false,
        Weights::Each(weights) => weights.iter().any(|&weight| weight < 0),
    }
}
