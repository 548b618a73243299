//! `session`: SESSION windows: rows of a key that follow each other within a gap, merging and splitting as rows come and go.
//!
//! ```text
//!  on_delta       rows ─▶ gathered, by (key; time, row)
//!  on_epoch_end   per changed key and cluster (rows within the gap of each other, before or after the change):
//!                 sessions before and after; -1 +1 for every row whose window moved
//!                 then sessions that no change can touch any more leave the state; their rows stay shown
//! ```
//!
//! A session is `[first time, last time + gap)`; two rows belong to one session if no pause between neighbours is longer
//! than the gap. A row is late (the gate before judges it) when the window that it would make alone, `[time, time + gap)`,
//! had ended by its split's watermark; so a session is final once the watermark has reached its end plus the gap: no row
//! that the gate lets pass can touch it. Behind this operator the watermark is the input's less the gap, so that whoever
//! closes windows by `window_end` sees final ones only. With `on_close` rows are shown then, and not before.
//!
//! | table | kind | order | key | row or value |
//! |---|---|---|---|---|
//! | 0 `rows` | Bag | | the key | see `partition`: time, the row |
//! | 1 `ends` | Ordered, if sessions are freed | the session's end | the key | its first time: `i64`, big-endian |

mod cluster;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};

pub use spec::SessionSpec;

use super::faults::fault_batch;
use super::instant::{time_key, time_of};
use super::partition::{Merge, Merging, PartitionCodec, ROWS, Slice};
use super::spec::Door;
use super::{EpochEnd, FAULT_PORT, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::state::OperatorState;
use crate::types::{DeltaBatch, EncodedRows, Watermark};
use cluster::Cluster;

const ENDS: usize = 1;
/// Sessions that are freed at once.
const SESSIONS_AT_ONCE: usize = 1024;

impl SessionSpec {
    pub(super) fn build(&self) -> Result<Session> {
        self.tables()?;
        Ok(Session {
            door: Door::new("session", &self.input),
            output: self.output()?.arrow(),
            time_type: self.time_type()?.arrow(),
            codec: self.codec()?,
            merging: Merging::default(),
            spec: self.clone(),
        })
    }
}

/// The operator at work.
pub(super) struct Session {
    spec: SessionSpec,
    door: Door,
    output: SchemaRef,
    time_type: DataType,
    codec: PartitionCodec,
    merging: Merging,
}

/// What is to be emitted: rows as in the Bag, their windows and weights.
#[derive(Default)]
struct Leaving {
    keys: EncodedRows,
    rows: EncodedRows,
    starts: Vec<i64>,
    ends: Vec<i64>,
    weights: Vec<i64>,
}

impl Leaving {
    fn push(&mut self, key: &[u8], row: &[u8], (start, end): (i64, i64), weight: i64) {
        if weight != 0 {
            self.keys.push(key);
            self.rows.push(row);
            self.starts.push(start);
            self.ends.push(end);
            self.weights.push(weight);
        }
    }
}

impl Operator for Session {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        let timed = self.with_windows(batch, out)?;
        let (keys, rows) = self.codec.encode(&timed.rows)?;
        self.merging.add(&keys, &rows, &timed.weights, state)?;
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let mut merging = std::mem::take(&mut self.merging);
        let flow = merging.end(self, end, state, out);
        self.merging = merging;
        flow
    }
}

impl Merge for Session {
    fn merge(&mut self, slice: &Slice<'_>, state: &mut OperatorState, out: &mut Output) -> Result<usize> {
        let mut leaving = Leaving::default();
        let mut done = 0;
        for &key in slice.touched {
            let changes: Vec<(&[u8], i64)> = slice.gathered.changes(key).collect();
            self.merge_key(slice.gathered.key(key), &changes, state, &mut leaving)?;
            done += 1;
            if leaving.weights.len() >= SLICE_ROWS {
                break;
            }
        }
        self.emit(&leaving, out)?;
        Ok(done)
    }

    fn close(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let flow = self.free_slice(end.watermark(0), state, out)?;
        match flow {
            Flow::Done => self.ask_for_close(state, out)?,
            Flow::More | Flow::Fetch(_) => {}
        }
        Ok(flow)
    }
}

impl Session {
    /// The rows of `batch` that have a time; those whose window no timestamp can tell are faults.
    fn with_windows(&self, batch: &DeltaBatch, out: &mut Output) -> Result<DeltaBatch> {
        let times = batch.rows.column(self.spec.time).as_primitive::<TimestampMicrosecondType>();
        let fits = |time: i64| {
            let gap = self.spec.gap_us;
            gap.checked_mul(2).is_some_and(|both| time.checked_add(both).is_some() && time.checked_sub(both).is_some())
        };
        let all = times.null_count() == 0 && times.values().iter().all(|&time| fits(time));
        if all {
            return Ok(batch.clone());
        }
        let timed = BooleanBuffer::collect_bool(batch.len(), |row| times.is_valid(row) && fits(times.value(row)));
        let faulty = BooleanBuffer::collect_bool(batch.len(), |row| times.is_valid(row) && !fits(times.value(row)));
        let faulty = batch.filter(&BooleanArray::new(faulty, None))?;
        if !faulty.is_empty() {
            let reasons = vec!["window lies outside the range of timestamps".to_owned(); faulty.len()];
            let weights = (0..faulty.len()).map(|row| faulty.weights.get(row)).collect();
            out.emit(FAULT_PORT, fault_batch(&faulty.rows, reasons, weights)?);
        }
        batch.filter(&BooleanArray::new(timed, None))
    }

    /// Merges the changes of one key, cluster by cluster.
    fn merge_key(
        &self,
        key: &[u8],
        mut changes: &[(&[u8], i64)],
        state: &mut OperatorState,
        leaving: &mut Leaving,
    ) -> Result<()> {
        while !changes.is_empty() {
            let (cluster, taken) = Cluster::around(state.bag(ROWS)?, key, changes, self.spec.gap_us)?;
            let (before, after) = (cluster.sessions(|row| row.old), cluster.sessions(|row| row.new));
            if self.spec.free_after_us.is_some() {
                let ends = state.ordered(ENDS)?;
                for (_, end) in before.iter().filter(|session| !after.contains(session)) {
                    ends.delete(&time_key(*end), key)?;
                }
                for (start, end) in after.iter().filter(|session| !before.contains(session)) {
                    ends.put(&time_key(*end), key, &start.to_be_bytes())?;
                }
            }
            if !self.spec.on_close {
                cluster.each_change(&before, &after, |row, window, weight| leaving.push(key, row, window, weight));
            }
            let bag = state.bag(ROWS)?;
            for (row, weight) in changes.iter().take(taken) {
                bag.add(key, row, *weight)?;
            }
            changes = changes.get(taken.max(1)..).unwrap_or_default();
        }
        Ok(())
    }

    fn emit(&self, leaving: &Leaving, out: &mut Output) -> Result<()> {
        if leaving.weights.is_empty() {
            return Ok(());
        }
        let mut columns = self.codec.decode(leaving.keys.iter(), leaving.rows.iter())?;
        for bounds in [&leaving.starts, &leaving.ends] {
            let bounds = TimestampMicrosecondArray::from(bounds.clone());
            columns.push(Arc::new(bounds.with_data_type(self.time_type.clone())));
        }
        let rows = RecordBatch::try_new(SchemaRef::clone(&self.output), columns)?;
        out.emit(MAIN_PORT, DeltaBatch::new(rows, leaving.weights.clone())?);
        Ok(())
    }

    /// Whoever closes by the clock wants to be called when the first session is final.
    fn ask_for_close(&self, state: &mut OperatorState, out: &mut Output) -> Result<()> {
        let Some(after) = self.spec.free_after_us.filter(|_| self.spec.on_close) else { return Ok(()) };
        if let Some(first) = state.ordered(ENDS)?.first_order() {
            out.wake_at(time_of(first)?.saturating_add(after));
        }
        Ok(())
    }

    /// Frees the rows of the next sessions that `watermark` has made final; shows them, if nothing has been shown yet.
    fn free_slice(&self, watermark: Watermark, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let Some(after) = self.spec.free_after_us.filter(|_| watermark != Watermark::NONE) else {
            return Ok(Flow::Done);
        };
        let bound = time_key(watermark.shifted(after.saturating_neg()).0);
        let ends = state.ordered(ENDS)?;
        if ends.first_order().is_none_or(|first| *first > *bound) {
            return Ok(Flow::Done);
        }
        if let Some(read) = ends.missing_through(&bound) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let mut keys = EncodedRows::default();
        ends.each_through(&bound, |_, key, _| {
            keys.push(key);
            Ok(())
        })?;
        if let Some(read) = state.bag(ROWS)?.missing(&keys) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let mut closed: Vec<(Vec<u8>, (i64, i64))> = Vec::new();
        let left = state.ordered(ENDS)?.take_through(&bound, SESSIONS_AT_ONCE, |end, key, start| {
            let start = start.first_chunk::<8>().map(|start| i64::from_be_bytes(*start));
            let start = start.ok_or_else(|| Error::corrupt("the start of a session is not eight bytes"))?;
            closed.push((key.to_vec(), (start, time_of(end)?)));
            Ok(())
        })?;
        let bag = state.bag(ROWS)?;
        let mut leaving = Leaving::default();
        for (key, (start, end)) in closed {
            let last = end - self.spec.gap_us;
            let mut gone: Vec<(Vec<u8>, i64)> = Vec::new();
            for (row, weight) in bag.rows_from(&key, &time_key(start))? {
                if time_of(row)? > last {
                    break;
                }
                gone.push((row.to_vec(), weight));
            }
            for (row, weight) in gone {
                bag.add(&key, &row, -weight)?;
                if self.spec.on_close {
                    leaving.push(&key, &row, (start, end), weight);
                }
            }
        }
        self.emit(&leaving, out)?;
        Ok(if left { Flow::More } else { Flow::Done })
    }
}
