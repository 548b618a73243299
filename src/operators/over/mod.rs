//! `over`: window functions over partitions in order, under insertions and retractions.
//!
//! ```text
//!  on_delta       rows ─▶ gathered, by (partition; order key, row)
//!  on_epoch_end   per changed partition: the stretch that the changes reach, and its results ─▶ changes put into the Bag
//!                 ─▶ the same stretch anew ─▶ the difference of both
//! ```
//!
//! | table | kind | order | key | row |
//! |---|---|---|---|---|
//! | 0 `rows` | Bag | | partition | see `partition`: order keys, the row |
//! | 1 `windows` | Ordered; only if windows close | the window's column | partition | |
//!
//! Results are not kept: those before the change are computed again from the rows, over the same stretch. How long it is
//! the frames say ([`reach`]): some rows around the change for `ROWS BETWEEN 3 PRECEDING ...`, lag and lead; everything
//! behind it for row_number and running sums; rows with near values for
//! `RANGE BETWEEN INTERVAL ... PRECEDING`; all for ntile. A row whose result faults (a sum beyond its type) leaves on
//! port 2.

mod evaluate;
mod frames;
mod reach;
mod span;
mod spec;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::take_record_batch;

pub use spec::{Bound, Frame, OverCall, OverFunction, OverSpec, Units};

use super::faults::fault_batch;
use super::partition::{Merge, Merging, PartitionCodec, ROWS, Slice, Windows, split};
use super::spec::Door;
use super::{EpochEnd, FAULT_PORT, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::state::{OperatorState, TableSpec};
use crate::types::{DeltaBatch, EncodedRows, RowCodec};
use evaluate::{Calling, Results, result_type};
use frames::Rows;
use reach::{Place, Reach, Stretch};
use span::{Span, edges};

#[cfg(test)]
mod tests;

const WINDOWS: usize = 1;

impl OverSpec {
    pub(super) fn tables(&self) -> Result<Vec<TableSpec>> {
        let codec = PartitionCodec::new(&self.input, &self.order)?;
        let mut tables = vec![TableSpec::bag("rows", codec.key_types().to_vec(), codec.row_types())];
        if let Some(free) = &self.free_on {
            tables.push(free.table(&codec)?);
        }
        Ok(tables)
    }

    fn spans(&self) -> Result<Vec<Span>> {
        let spans = self.calls.iter().map(|call| Span::new(&call.frame, &self.input, &self.order));
        Ok(spans.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    pub(super) fn build(&self) -> Result<Over> {
        self.tables()?;
        for call in &self.calls {
            if result_type(&call.function, &self.input).as_ref() != Some(&call.ty) {
                return Err(Error::internal(format!("window function {:?} does not give {}", call.function, call.ty)));
            }
        }
        let calls = self.calls.iter().map(|call| Calling::new(call, &self.input, &self.order));
        Ok(Over {
            door: Door::new("over", &self.input),
            codec: PartitionCodec::new(&self.input, &self.order)?,
            calls: calls.collect::<Result<_>>()?,
            results: RowCodec::new(self.calls.iter().map(|call| call.ty.clone()).collect()),
            reach: Reach::of(self),
            spans: self.spans()?,
            merging: Merging::default(),
            windows: Windows::new(self.free_on, ROWS, WINDOWS),
            spec: self.clone(),
        })
    }
}

/// The window functions at work.
pub(super) struct Over {
    spec: OverSpec,
    door: Door,
    codec: PartitionCodec,
    calls: Vec<Calling>,
    results: RowCodec,
    reach: Reach,
    /// Of frames by value, if all are.
    spans: Vec<Span>,
    merging: Merging,
    windows: Windows,
}

impl Operator for Over {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        let (keys, rows) = self.codec.encode(&batch.rows)?;
        self.merging.add(&keys, &rows, &batch.weights, state)?;
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let mut merging = std::mem::take(&mut self.merging);
        let flow = merging.end(self, end, state, out);
        self.merging = merging;
        flow
    }
}

/// A stretch with its results.
struct Computed {
    /// Input columns, then results.
    batch: RecordBatch,
    rows: EncodedRows,
    /// Results as canonical bytes.
    results: EncodedRows,
    /// Why a row has no results; empty when all have.
    reasons: Vec<Option<String>>,
    from: usize,
    to: usize,
}

impl Computed {
    fn reason(&self, row: usize) -> Option<&String> {
        self.reasons.get(row).and_then(Option::as_ref)
    }

    /// The rows that may differ, equal ones (with their results) together.
    fn sorted(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (self.from..self.to).collect();
        rows.sort_by(|&a, &b| self.place(a).cmp(&self.place(b)));
        rows
    }

    /// What makes a row of the output: equal rows cancel.
    fn place(&self, row: usize) -> (&[u8], Option<&String>, &[u8]) {
        let reason = self.reason(row);
        (self.rows.row(row), reason, if reason.is_some() { &[] } else { self.results.row(row) })
    }
}

/// Rows on their way out.
#[derive(Default)]
struct Leaving {
    good: Vec<DeltaBatch>,
    faulty: Vec<DeltaBatch>,
    rows: usize,
}

impl Merge for Over {
    fn merge(&mut self, slice: &Slice<'_>, state: &mut OperatorState, out: &mut Output) -> Result<usize> {
        self.windows.note(&slice.keys, &self.codec, state)?;
        let mut leaving = Leaving::default();
        let mut done = 0;
        for &partition in slice.touched {
            let key = slice.gathered.key(partition);
            let bag = state.bag(ROWS)?;
            let mut changes = slice.gathered.changes(partition);
            let Some((first, _)) = changes.next() else { continue };
            let last = changes.next_back().map_or(first, |(last, _)| last);
            let place = match self.reach {
                Reach::Values => {
                    Place::between(edges(&self.spans, &self.row(key, first)?, &self.row(key, last)?, &self.codec)?)
                }
                Reach::Rows { .. } | Reach::Front { .. } | Reach::Whole => {
                    Place::new(self.reach, bag, key, first, last)?
                }
            };
            let before = self.compute(key, place.read(bag, key)?)?;
            for (row, weight) in slice.gathered.changes(partition) {
                if bag.add(key, row, weight)? < 0 {
                    return Err(Error::internal("a row was taken back more often than it was put in"));
                }
            }
            let after = self.compute(key, place.read(bag, key)?)?;
            self.difference(&before, &after, &mut leaving)?;
            done += 1;
            if leaving.rows >= SLICE_ROWS {
                break;
            }
        }
        self.emit(leaving, out)?;
        Ok(done)
    }

    fn close(&mut self, end: &EpochEnd, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.windows.close_slice(end.watermark(0), state)
    }
}

impl Over {
    /// One row of state as one row of the input.
    fn row(&self, key: &[u8], row: &[u8]) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(self.spec.input.arrow(), self.codec.decode([key], [row])?)?)
    }

    /// The results of a stretch.
    fn compute(&self, key: &[u8], stretch: Stretch) -> Result<Computed> {
        let count = stretch.rows.len();
        let bytes = || stretch.rows.iter();
        let columns = self.codec.decode(std::iter::repeat_n(key, count), bytes())?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(self.spec.input.arrow(), columns, &options)?;
        let rows = with_groups(batch, bytes());
        let mut columns = rows.batch.columns().to_vec();
        let mut reasons: Vec<Option<String>> = Vec::new();
        for call in &self.calls {
            let Results { values, reasons: found } = call.results(&rows, &self.codec)?;
            columns.push(values);
            if !found.is_empty() {
                reasons.resize(count, None);
                reasons.iter_mut().zip(found).for_each(|(reason, found)| *reason = reason.take().or(found));
            }
        }
        let results = self.results.encode_rows(&columns[self.spec.input.columns.len()..], count)?;
        let batch = RecordBatch::try_new_with_options(self.spec.output().arrow(), columns, &options)?;
        Ok(Computed { batch, rows: stretch.rows, results, reasons, from: stretch.from, to: stretch.to })
    }

    /// The change from `before` to `after`.
    fn difference(&self, before: &Computed, after: &Computed, leaving: &mut Leaving) -> Result<()> {
        let (old, new) = (before.sorted(), after.sorted());
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let order = match (old.get(i), new.get(j)) {
                (Some(&old), Some(&new)) => before.place(old).cmp(&after.place(new)),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, _) => std::cmp::Ordering::Greater,
            };
            if order.is_le() {
                gone.extend(order.is_lt().then(|| old[i]));
                i += 1;
            }
            if order.is_ge() {
                come.extend(order.is_gt().then(|| new[j]));
                j += 1;
            }
        }
        self.leave(before, &gone, -1, leaving)?;
        self.leave(after, &come, 1, leaving)
    }

    fn leave(&self, computed: &Computed, rows: &[usize], weight: i64, leaving: &mut Leaving) -> Result<()> {
        let (good, faulty): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| computed.reason(**row).is_none());
        leaving.rows += rows.len();
        let pick = |rows: &[usize]| {
            let indices = arrow::array::UInt64Array::from_iter_values(rows.iter().map(|&row| row as u64));
            take_record_batch(&computed.batch, &indices)
        };
        if !good.is_empty() {
            leaving.good.push(DeltaBatch::new(pick(&good)?, vec![weight; good.len()])?);
        }
        if !faulty.is_empty() {
            let input: Vec<usize> = (0..self.spec.input.columns.len()).collect();
            let rows = pick(&faulty)?.project(&input)?;
            let reasons = faulty.iter().filter_map(|&row| computed.reason(row).cloned()).collect();
            leaving.faulty.push(fault_batch(&rows, reasons, vec![weight; faulty.len()])?);
        }
        Ok(())
    }

    fn emit(&self, leaving: Leaving, out: &mut Output) -> Result<()> {
        if !leaving.good.is_empty() {
            out.emit(MAIN_PORT, DeltaBatch::concat(&self.spec.output().arrow(), &leaving.good)?.consolidate()?);
        }
        leaving.faulty.into_iter().for_each(|batch| out.emit(FAULT_PORT, batch));
        Ok(())
    }
}

/// `batch` with its groups of peers, which the order bytes of `rows` say.
fn with_groups<'a>(batch: RecordBatch, rows: impl Iterator<Item = &'a [u8]>) -> Rows {
    let mut orders = EncodedRows::default();
    let (mut groups, mut starts) = (Vec::with_capacity(batch.num_rows()), Vec::new());
    for (row, bytes) in rows.enumerate() {
        let (order, _) = split(bytes);
        if row == 0 || orders.row(row - 1) != order {
            starts.push(row);
        }
        orders.push(order);
        groups.push(starts.len() - 1);
    }
    starts.push(groups.len());
    Rows { batch, orders, groups, starts }
}
