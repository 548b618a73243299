//! `during`: rows while `now()` is within their bounds: temporal filters, by timers.
//!
//! ```text
//!  on_delta       rows ─▶ gathered, with the time from which and up to which each is shown
//!  on_epoch_end   timers that the epoch's clock has reached: +1 for rows whose time has come, -1 for those whose time is up
//!                 then the gathered rows: shown, or waited for, or passed over
//! ```
//!
//! The clock is that of the epoch, from the log: a replay finds the same. It never goes back, so a row whose time is up is
//! forgotten, and so is its retraction. A row that only waits to be shown leaves the state when it is.
//!
//! | table | kind | order | key | value |
//! |---|---|---|---|---|
//! | 0 `timers` | Ordered | when the row is shown next, or no longer: a timestamp | the row | its weight: `i64`, big-endian |

mod spec;
#[cfg(test)]
mod tests;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

pub use spec::{ClockBound, DuringSpec};

use super::instant::{time_key, time_of};
use super::spec::Door;
use super::{EpochEnd, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::state::{Change, OperatorState};
use crate::types::{DeltaBatch, EncodedRows, RowCodec};

const TIMERS: usize = 0;

/// When a row is shown: from the first time on, before the second.
type Span = (i64, i64);
/// There is no such time.
const NEVER: Span = (i64::MAX, i64::MIN);

impl DuringSpec {
    pub(super) fn build(&self) -> Result<During> {
        self.check()?;
        Ok(During {
            door: Door::new("during", &self.input),
            schema: self.input.arrow(),
            codec: RowCodec::new(self.input.types()),
            rows: EncodedRows::default(),
            spans: Vec::new(),
            weights: Vec::new(),
            phase: Phase::Filling,
            spec: self.clone(),
        })
    }

    /// When each row of these columns is shown.
    fn spans(&self, columns: &[ArrayRef], rows: usize) -> Vec<Span> {
        let mut spans = vec![(i64::MIN, i64::MAX); rows];
        for (bound, is_from) in self.from.iter().map(|b| (b, true)).chain(self.until.iter().map(|b| (b, false))) {
            let times = columns[bound.column].as_primitive::<TimestampMicrosecondType>();
            for (row, span) in spans.iter_mut().enumerate() {
                if times.is_null(row) {
                    *span = NEVER;
                    continue;
                }
                let at = times.value(row).saturating_add(i64::from(bound.after));
                if is_from {
                    span.0 = span.0.max(at);
                } else {
                    span.1 = span.1.min(at);
                }
            }
        }
        spans
    }
}

/// Where in the epoch the operator is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Filling,
    Timers,
    /// Gathered rows from this one on are still to be looked at.
    Rows(usize),
}

/// The operator at work.
pub(super) struct During {
    spec: DuringSpec,
    door: Door,
    schema: SchemaRef,
    codec: RowCodec,
    /// Rows of the open epoch, side by side.
    rows: EncodedRows,
    spans: Vec<Span>,
    weights: Vec<i64>,
    phase: Phase,
}

impl Operator for During {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        let columns = batch.rows.columns();
        let encoded = self.codec.encode_rows(columns, batch.len())?;
        for ((row, bytes), span) in encoded.iter().enumerate().zip(self.spec.spans(columns, batch.len())) {
            if span.0 < span.1 {
                self.rows.push(bytes);
                self.spans.push(span);
                self.weights.push(batch.weights.get(row));
            }
        }
        state.hold(self.rows.bytes() + self.spans.capacity() * size_of::<Span>() + self.weights.capacity() * 8);
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        if self.phase == Phase::Filling {
            self.phase = Phase::Timers;
        }
        if self.phase == Phase::Timers {
            let flow = self.ring(end.clock_us, state, out)?;
            match flow {
                Flow::Done => self.phase = Phase::Rows(0),
                Flow::More | Flow::Fetch(_) => return Ok(flow),
            }
        }
        if let Phase::Rows(from) = self.phase
            && from < self.weights.len()
        {
            return self.admit_slice(from, end.clock_us, state, out);
        }
        self.rows = EncodedRows::default();
        self.spans = Vec::new();
        self.weights = Vec::new();
        state.hold(0);
        self.phase = Phase::Filling;
        if let Some(next) = state.ordered(TIMERS)?.first_order() {
            out.wake_at(time_of(next)?);
        }
        Ok(Flow::Done)
    }
}

impl During {
    /// Shows and takes back the next rows whose timers the clock has reached.
    fn ring(&self, now: i64, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let bound = time_key(now);
        let timers = state.ordered(TIMERS)?;
        if timers.first_order().is_none_or(|first| *first > *bound) {
            return Ok(Flow::Done);
        }
        if let Some(read) = timers.missing_through(&bound) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let (mut rows, mut due, mut weights) = (EncodedRows::default(), Vec::new(), Vec::new());
        let left = timers.take_through(&bound, SLICE_ROWS, |order, row, weight| {
            rows.push(row);
            due.push(time_of(order)?);
            weights.push(weight_of(weight)?);
            Ok(())
        })?;
        let columns = self.codec.decode(rows.iter())?;
        let spans = self.spec.spans(&columns, rows.len());
        let (mut picked, mut changes) = (Vec::new(), Vec::new());
        for (row, (&(from, until), &due)) in spans.iter().zip(&due).enumerate() {
            let weight = weights[row];
            if due != from {
                picked.push(row as u64);
                changes.push(-weight);
            } else if now < until {
                picked.push(row as u64);
                changes.push(weight);
                if until != i64::MAX {
                    timers.put(&time_key(until), rows.row(row), &weight.to_be_bytes())?;
                }
            }
        }
        let whole = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?;
        let rung = DeltaBatch::inserts(whole).take(&picked)?;
        out.emit(MAIN_PORT, DeltaBatch::new(rung.rows, changes)?);
        Ok(if left { Flow::More } else { Flow::Done })
    }

    /// Looks at the next gathered rows.
    fn admit_slice(&mut self, from: usize, now: i64, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let to = self.weights.len().min(from + SLICE_ROWS);
        let timer = |&(from, until): &Span| match (from > now, until) {
            (true, _) => Some(from),
            (false, i64::MAX) => None,
            (false, until) => Some(until).filter(|until| *until > now),
        };
        let (mut orders, mut keys) = (EncodedRows::default(), EncodedRows::default());
        for row in from..to {
            if let Some(at) = timer(&self.spans[row]) {
                orders.push(&time_key(at));
                keys.push(self.rows.row(row));
            }
        }
        let timers = state.ordered(TIMERS)?;
        if let Some(read) = timers.missing(&orders, &keys) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let (mut shown, mut weights) = (EncodedRows::default(), Vec::new());
        for row in from..to {
            let (span, weight, bytes) = (self.spans[row], self.weights[row], self.rows.row(row));
            if let Some(at) = timer(&span) {
                timers.update(&time_key(at), bytes, |old, new| {
                    let sum = old.map_or(Ok(0), weight_of)?.saturating_add(weight);
                    new.extend_from_slice(&sum.to_be_bytes());
                    Ok(if sum == 0 { Change::Delete } else { Change::Put })
                })?;
            }
            if span.0 <= now && now < span.1 {
                shown.push(bytes);
                weights.push(weight);
            }
        }
        if !weights.is_empty() {
            let columns = self.codec.decode(shown.iter())?;
            let rows = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?;
            out.emit(MAIN_PORT, DeltaBatch::new(rows, weights)?);
        }
        self.phase = Phase::Rows(to);
        Ok(Flow::More)
    }
}

fn weight_of(value: &[u8]) -> Result<i64> {
    let weight = value.first_chunk::<8>().map(|weight| i64::from_be_bytes(*weight));
    weight.ok_or_else(|| Error::corrupt("the weight of a timer is not eight bytes"))
}
