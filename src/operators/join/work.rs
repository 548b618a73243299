//! The join at work: a batch meets the other side's rows slice by slice, then its own side keeps it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, take_arrays};
use arrow::datatypes::SchemaRef;

use super::SLICE_BYTES;
use super::band::{Band, Ranges};
use super::side::{Arriving, Matching, Place, Shown, Side};
use super::spec::{JoinKind, JoinSpec, Places};
use crate::base::{Error, Result};
use crate::functions::Compiled;
use crate::operators::faults::fault_batch;
use crate::operators::{EpochEnd, FAULT_PORT, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::state::{OperatorState, Read};
use crate::types::{DeltaBatch, RowCodec, Weights};

/// The join at work.
pub(in crate::operators) struct Join {
    pub(super) sides: [Side; 2],
    pub(super) places: Places,
    kind: JoinKind,
    band: Option<Band>,
    residual: Option<Compiled>,
    pair: SchemaRef,
    output: SchemaRef,
    open: Option<Arriving>,
}

/// Pairs found for one slice of output.
#[derive(Default)]
struct Pairs<'a> {
    arriving: Vec<u64>,
    others: Vec<&'a [u8]>,
    /// How often the other row is there.
    times: Vec<i64>,
    bytes: usize,
}

impl Operator for Join {
    fn on_delta(
        &mut self,
        port: usize,
        batch: &DeltaBatch,
        state: &mut OperatorState,
        out: &mut Output,
    ) -> Result<Flow> {
        let Some(side) = self.sides.get(port) else {
            return Err(self.sides[0].door.no_port(port));
        };
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                side.door.check(&batch.rows)?;
                let (hopeful, lone) = side.hopeful(batch)?;
                if let Some(lone) = lone.filter(|_| side.shown == Some(Shown::Unmatched)) {
                    self.show_batch(port, lone, out)?;
                }
                side.encode(port, hopeful, self.band.as_ref())?
            }
        };
        // Every slice asks again: the host may have let go of what it read for the last one.
        let reads = self.reads(&open, state)?;
        if !reads.is_empty() {
            state.hold(open.bytes());
            self.open = Some(open);
            return Ok(Flow::Fetch(reads));
        }
        if self.slice(&mut open, state, out)? {
            state.hold(open.bytes());
            self.open = Some(open);
            return Ok(Flow::More);
        }
        state.hold(0);
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        for side in 0..2 {
            match self.free(side, end, state)? {
                Flow::Done => {}
                wait @ (Flow::More | Flow::Fetch(_)) => return Ok(wait),
            }
        }
        Ok(Flow::Done)
    }
}

impl Join {
    pub(super) fn new(
        spec: &JoinSpec,
        sides: [Side; 2],
        places: Places,
        residual: Option<Compiled>,
        pair: SchemaRef,
        output: SchemaRef,
    ) -> Join {
        Join { sides, places, kind: spec.kind, band: spec.band.clone(), residual, pair, output, open: None }
    }

    /// What must be in memory for the open batch.
    fn reads(&self, open: &Arriving, state: &mut OperatorState) -> Result<Vec<Read>> {
        let (port, other) = (open.port, 1 - open.port);
        let mut reads = Vec::new();
        let own = state.bag(port)?;
        reads.extend(match self.sides[other].matching {
            Matching::ByKey => own.missing(&open.keys),
            Matching::Counted | Matching::Unknown => own.missing_rows(&open.keys, &open.rests),
        });
        reads.extend(state.bag(other)?.missing(&open.keys));
        if let Some(matches) = self.places.matches[port] {
            reads.extend(state.bag(matches)?.missing_rows(&open.keys, &open.rests));
        }
        if let Some(matches) = self.places.matches[other] {
            reads.extend(state.bag(matches)?.missing(&open.keys));
        }
        Ok(reads)
    }

    /// Goes on with the open batch until a slice of output is full; whether work is left.
    fn slice(&self, open: &mut Arriving, state: &mut OperatorState, out: &mut Output) -> Result<bool> {
        if open.turned.is_none() {
            if self.meets(open.port) && self.match_slice(open, state, out)? {
                return Ok(true);
            }
            self.keep(open, state, out)?;
        }
        self.turn_slice(open, state, out)
    }

    /// Whether rows of a side must meet the other side's one by one.
    fn meets(&self, port: usize) -> bool {
        let counted = |side: &Side| side.matching == Matching::Counted;
        self.kind.pairs() || counted(&self.sides[port]) || counted(&self.sides[1 - port])
    }

    /// Matches rows until a slice is full; whether some are left.
    fn match_slice(&self, open: &mut Arriving, state: &mut OperatorState, out: &mut Output) -> Result<bool> {
        let other = &*state.bag(1 - open.port)?;
        let mut pairs = Pairs::default();
        let from = std::mem::take(&mut open.from);
        let ranges = open.ranges.take();
        let mut resumed = !from.is_empty();
        let mut full = false;
        'rows: while open.row < open.batch.len() {
            let start = match (&ranges, resumed) {
                (_, true) => from.as_slice(),
                (Some(ranges), false) => ranges.start(open.row),
                (None, false) => &[],
            };
            for (row, times) in other.rows_from(open.keys.row(open.row), start)? {
                if ranges.as_ref().is_some_and(|ranges: &Ranges| ranges.ends_before(open.row, row)) {
                    break;
                }
                if pairs.times.len() >= SLICE_ROWS || pairs.bytes >= SLICE_BYTES {
                    open.from = row.to_vec();
                    full = true;
                    break 'rows;
                }
                pairs.arriving.push(open.row as u64);
                pairs.bytes += row.len();
                pairs.others.push(row);
                pairs.times.push(times);
            }
            resumed = false;
            open.row += 1;
        }
        let hits = self.emit_pairs(open, pairs, out)?;
        open.ranges = ranges;
        self.count_hits(open, hits, state, out)?;
        Ok(full)
    }

    /// Puts out the pairs that fulfil the condition, and gives those that count as matches, if anyone counts.
    fn emit_pairs(&self, open: &mut Arriving, pairs: Pairs<'_>, out: &mut Output) -> Result<super::matching::Hits> {
        let mut hits = super::matching::Hits::default();
        if pairs.times.is_empty() {
            return Ok(hits);
        }
        let weight = |pair: usize| -> Result<i64> {
            let own = open.batch.weights.get(pairs.arriving[pair] as usize);
            own.checked_mul(pairs.times[pair]).ok_or_else(too_often)
        };
        let judged =
            if self.residual.is_some() || self.kind.pairs() { Some(self.pair_rows(open, &pairs)?) } else { None };
        let mut kept = BooleanBuffer::new_set(pairs.times.len());
        let mut counted = None;
        if let (Some(residual), Some(rows)) = (&self.residual, &judged) {
            let (values, faults) = residual.evaluate_filter(rows)?;
            kept = match values.nulls() {
                Some(nulls) => values.values() & nulls.inner(),
                None => values.values().clone(),
            };
            if let Some(faults) = faults {
                let sure = &kept & &!&faults.mask;
                let faulty = filter_record_batch(rows, &BooleanArray::new(faults.mask.clone(), None))?;
                let reasons = faults.mask.set_indices().map(|row| faults.reason(row).to_owned()).collect();
                let weights = faults.mask.set_indices().map(weight).collect::<Result<_>>()?;
                out.emit(FAULT_PORT, fault_batch(&faulty, reasons, weights)?);
                counted = (self.kind != JoinKind::Semi).then(|| &sure | &faults.mask);
                kept = sure;
            }
        }
        if let Some(rows) = judged.filter(|_| self.kind.pairs()) {
            let weights = (0..pairs.times.len()).map(weight).collect::<Result<_>>()?;
            let rows = self.under_output(rows.columns().to_vec(), rows.num_rows())?;
            out.emit(MAIN_PORT, keep(DeltaBatch { rows, weights: Weights::from_vec(weights) }, kept.clone())?);
        }
        let counted = counted.unwrap_or(kept);
        if self.sides[open.port].matching == Matching::Counted {
            for pair in counted.set_indices() {
                let count = &mut open.counts[pairs.arriving[pair] as usize];
                *count = count.checked_add(pairs.times[pair]).ok_or_else(too_often)?;
            }
        }
        if self.sides[1 - open.port].matching == Matching::Counted {
            for pair in counted.set_indices() {
                hits.push(pairs.arriving[pair] as usize, pairs.others[pair]);
            }
        }
        Ok(hits)
    }

    /// The pairs as rows of both sides.
    fn pair_rows(&self, open: &Arriving, pairs: &Pairs<'_>) -> Result<RecordBatch> {
        let (own, other) = (&self.sides[open.port], &self.sides[1 - open.port]);
        let indices = UInt64Array::from(pairs.arriving.clone());
        let arriving = take_arrays(open.batch.rows.columns(), &indices, None)?;
        let rests = RowCodec::new(other.rest_types.clone()).decode(pairs.others.iter().copied())?;
        // The other side's key equals this side's, so it need not be decoded.
        let met = other.places.iter().map(|place| match *place {
            Place::Key(i) => Arc::clone(&arriving[own.key[i]]),
            Place::Rest(i) => Arc::clone(&rests[i]),
        });
        let columns: Vec<ArrayRef> = match open.port {
            0 => arriving.iter().cloned().chain(met).collect(),
            _ => met.chain(arriving.iter().cloned()).collect(),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.times.len()));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.pair), columns, &options)?)
    }

    pub(super) fn under_output(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.output), columns, &options)?)
    }

    /// Shows single rows of a side: bare, or beside NULLs.
    pub(super) fn show(&self, side: usize, columns: Vec<ArrayRef>, weights: Vec<i64>, out: &mut Output) -> Result<()> {
        let rows = weights.len();
        let batch = DeltaBatch { rows: self.lone_rows(side, columns, rows)?, weights: Weights::from_vec(weights) };
        out.emit(MAIN_PORT, batch);
        Ok(())
    }

    fn show_batch(&self, side: usize, batch: DeltaBatch, out: &mut Output) -> Result<()> {
        let rows = self.lone_rows(side, batch.rows.columns().to_vec(), batch.len())?;
        out.emit(MAIN_PORT, DeltaBatch { rows, weights: batch.weights });
        Ok(())
    }

    fn lone_rows(&self, side: usize, mut columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        if self.kind.pairs() {
            let nulls =
                self.sides[1 - side].schema.columns.iter().map(|column| new_null_array(&column.ty.arrow(), rows));
            match side {
                0 => columns.extend(nulls),
                _ => columns = nulls.chain(columns).collect(),
            }
        }
        self.under_output(columns, rows)
    }
}

fn keep(batch: DeltaBatch, kept: BooleanBuffer) -> Result<DeltaBatch> {
    if kept.count_set_bits() == kept.len() {
        return Ok(batch);
    }
    batch.filter(&BooleanArray::new(kept, None))
}

pub(super) fn too_often() -> Error {
    Error::limit("a pair of joined rows is present more than 9223372036854775807 times")
}
