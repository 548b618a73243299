//! `asof`: each left row beside the newest right row of its key that is not newer than it: versions by event time.
//!
//! Of several right rows of one time the greatest (by its canonical bytes) counts. The operator always has put out what
//! its state would show: a left row looks up its version when it comes; a version that comes or goes changes the left rows
//! between its time and the next version's.
//!
//! | table | kind | key | row, or order |
//! |---|---|---|---|
//! | 0 `left`, 1 `right` | Bag | join key | the columns that are not in the key, the time first |
//! | 2 `left_due`, 3 `right_due`, if freed by watermark | Ordered | join key | order: the time |
//!
//! With both sides gated, no version comes any more for a left row that the right watermark has passed: it is freed. Of
//! the versions that both watermarks have passed only the newest of each key is kept, for left rows still to come.

mod free;
mod spec;

#[cfg(test)]
mod tests;

pub use spec::AsofSpec;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::compute::take_arrays;
use arrow::datatypes::SchemaRef;

use super::join::{Arriving, Side};
use super::{EpochEnd, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::Result;
use crate::state::{BagTable, OperatorState, Read};
use crate::types::{DeltaBatch, EncodedRows, Weights};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// The operator at work.
pub(super) struct Asof {
    spec: AsofSpec,
    sides: [Side; 2],
    output: SchemaRef,
    open: Option<Arriving>,
}

/// Rows of the output under construction: left rows, each beside a right row or none.
#[derive(Default)]
struct Shown<'a> {
    keys: Vec<&'a [u8]>,
    lefts: Vec<&'a [u8]>,
    /// Keys and rests of right rows, and which of them stands beside each left row.
    right_keys: Vec<&'a [u8]>,
    rights: Vec<&'a [u8]>,
    beside: Vec<Option<u64>>,
    weights: Vec<i64>,
}

impl<'a> Shown<'a> {
    /// A right row that rows may stand beside.
    fn right(&mut self, key: &'a [u8], right: Option<&'a [u8]>) -> Option<u64> {
        right.map(|right| {
            self.right_keys.push(key);
            self.rights.push(right);
            self.rights.len() as u64 - 1
        })
    }

    fn push(&mut self, key: &'a [u8], left: &'a [u8], beside: Option<u64>, weight: i64) {
        self.keys.push(key);
        self.lefts.push(left);
        self.beside.push(beside);
        self.weights.push(weight);
    }
}

impl Operator for Asof {
    fn on_delta(
        &mut self,
        port: usize,
        batch: &DeltaBatch,
        state: &mut OperatorState,
        out: &mut Output,
    ) -> Result<Flow> {
        let Some(side) = self.sides.get(port) else { return Err(self.sides[LEFT].door.no_port(port)) };
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                side.door.check(&batch.rows)?;
                let (hopeful, lone) = side.hopeful(batch)?;
                if let Some(lone) = lone.filter(|_| port == LEFT && self.spec.outer) {
                    self.show_alone(&lone, out)?;
                }
                side.encode(port, hopeful, None)?
            }
        };
        let reads = self.reads(&open, state)?;
        if !reads.is_empty() {
            state.hold(open.bytes());
            self.open = Some(open);
            return Ok(Flow::Fetch(reads));
        }
        let left = if port == LEFT { self.look_up(&open, state, out)? } else { self.change(&mut open, state, out)? };
        if left {
            state.hold(open.bytes());
            self.open = Some(open);
            return Ok(Flow::More);
        }
        state.hold(0);
        self.note_due(&open, state)?;
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.free(end, state)
    }
}

impl Asof {
    fn reads(&self, open: &Arriving, state: &mut OperatorState) -> Result<Vec<Read>> {
        let mut reads: Vec<Read> = state.bag(RIGHT)?.missing(&open.keys).into_iter().collect();
        let left = state.bag(LEFT)?;
        reads.extend(match open.port {
            LEFT => left.missing_rows(&open.keys, &open.rests),
            _ => left.missing(&open.keys),
        });
        Ok(reads)
    }

    /// Left rows beside their versions. Never leaves anything for another slice: a row gives one row.
    fn look_up(&self, open: &Arriving, state: &mut OperatorState, out: &mut Output) -> Result<bool> {
        let bounds = self.spec.after(self.time(open, LEFT), !self.spec.strict)?;
        let versions = &*state.bag(RIGHT)?;
        let mut shown = Shown::default();
        for (row, (key, rest)) in open.keys.iter().zip(open.rests.iter()).enumerate() {
            let version = versions.last_below(key, bounds.row(row))?.map(|(right, _)| right);
            let beside = shown.right(key, version);
            shown.push(key, rest, beside, open.batch.weights.get(row));
        }
        self.emit(shown, out)?;
        state.bag(LEFT)?.add_batch(&open.keys, &open.rests, &open.batch.weights)?;
        Ok(false)
    }

    /// Versions that come and go, one after the other, until a slice is full; whether some are left.
    fn change(&self, open: &mut Arriving, state: &mut OperatorState, out: &mut Output) -> Result<bool> {
        let starts = self.spec.after(self.time(open, RIGHT), self.spec.strict)?;
        let from = std::mem::take(&mut open.from);
        let mut resumed = !from.is_empty();
        let mut given = 0;
        while open.row < open.batch.len() {
            let (key, rest) = (open.keys.row(open.row), open.rests.row(open.row));
            let weight = open.batch.weights.get(open.row);
            let before = state.bag(RIGHT)?.weight(key, rest)?;
            let (was, is) = (before > 0, before.saturating_add(weight) > 0);
            if was != is {
                let start = if resumed { &from } else { starts.row(open.row) };
                let stopped = self.revise(key, rest, start, if is { 1 } else { -1 }, &mut given, state, out)?;
                if let Some(at) = stopped {
                    open.from = at;
                    return Ok(true);
                }
            }
            resumed = false;
            state.bag(RIGHT)?.add(key, rest, weight)?;
            open.row += 1;
        }
        Ok(false)
    }

    /// Gives the version `right` of `key` (sign 1) to the left rows from `start` up to the next version, which had the
    /// one before it; or takes it from them (sign -1). Where it stopped, if the slice is full.
    #[expect(clippy::too_many_arguments, reason = "one call, from the loop above")]
    fn revise(
        &self,
        key: &[u8],
        right: &[u8],
        start: &[u8],
        sign: i64,
        given: &mut usize,
        state: &mut OperatorState,
        out: &mut Output,
    ) -> Result<Option<Vec<u8>>> {
        let [left_table, right_table, ..] = state.tables_mut() else { return Ok(None) };
        let (lefts, versions): (&BagTable, &BagTable) = (left_table.bag()?, right_table.bag()?);
        let next = versions.rows_from(key, right)?.find(|&(row, weight)| row != right && weight > 0);
        let stop = match next {
            Some((next, _)) => Some(self.spec.after(self.first_time(next)?, self.spec.strict)?),
            None => None,
        };
        let previous = versions.last_below(key, right)?.map(|(row, _)| row);
        let mut shown = Shown::default();
        let (new, old) = (shown.right(key, Some(right)), shown.right(key, previous));
        let mut stopped = None;
        for (left, times) in lefts.rows_from(key, start)? {
            if stop.as_ref().is_some_and(|stop| left >= stop.row(0)) {
                break;
            }
            if *given >= SLICE_ROWS {
                stopped = Some(left.to_vec());
                break;
            }
            shown.push(key, left, old, -sign * times);
            shown.push(key, left, new, sign * times);
            *given += 2;
        }
        self.emit(shown, out)?;
        Ok(stopped)
    }

    fn time(&self, open: &Arriving, side: usize) -> ArrayRef {
        ArrayRef::clone(open.batch.rows.column(self.spec.time(side)))
    }

    /// The time with which a kept row of the right side begins.
    fn first_time(&self, rest: &[u8]) -> Result<ArrayRef> {
        Ok(ArrayRef::clone(&self.sides[RIGHT].decode_rest([rest])?[0]))
    }

    fn emit(&self, shown: Shown<'_>, out: &mut Output) -> Result<()> {
        let kept: Vec<usize> =
            (0..shown.weights.len()).filter(|&row| self.spec.outer || shown.beside[row].is_some()).collect();
        if kept.is_empty() {
            return Ok(());
        }
        let left = self.sides[LEFT]
            .decode(kept.iter().map(|&row| shown.keys[row]), kept.iter().map(|&row| shown.lefts[row]))?;
        let right = self.sides[RIGHT].decode(shown.right_keys, shown.rights)?;
        let beside: UInt64Array = kept.iter().map(|&row| shown.beside[row]).collect();
        let columns = left.into_iter().chain(take_arrays(&right, &beside, None)?).collect();
        let weights = kept.iter().map(|&row| shown.weights[row]).collect();
        out.emit(MAIN_PORT, DeltaBatch { rows: self.rows(columns, kept.len())?, weights: Weights::from_vec(weights) });
        Ok(())
    }

    /// Left rows that have no key or no time, beside NULLs.
    fn show_alone(&self, batch: &DeltaBatch, out: &mut Output) -> Result<()> {
        let nulls = self.spec.right.columns.iter().map(|column| new_null_array(&column.ty.arrow(), batch.len()));
        let columns = batch.rows.columns().iter().cloned().chain(nulls).collect();
        out.emit(MAIN_PORT, DeltaBatch { rows: self.rows(columns, batch.len())?, weights: batch.weights.clone() });
        Ok(())
    }

    fn rows(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.output), columns, &options)?)
    }
}

/// Where rows of a side begin, as canonical bytes: one per row asked for.
type Bounds = EncodedRows;
