//! `proctime`: each row with the clock reading of the epoch in which it came: `PROCTIME()`.
//!
//! The clock of an epoch is known when it ends, so rows wait until then. A row that is taken back takes the reading that
//! it came with: of several equal rows the newest one goes.
//!
//! | table | kind | key | row |
//! |---|---|---|---|
//! | 0 `came` | Bag; only if rows are taken back | the row | the clock reading, newest first: `u64`, big-endian, inverted |

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::partition::Gathered;
use super::spec::Door;
use super::{EpochEnd, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::state::{OperatorState, TableSpec};
use crate::types::{Column, DeltaBatch, EncodedRows, RowCodec, Schema, SqlType};

const CAME: usize = 0;

/// Appends a timestamptz `__proctime`: the clock reading of the epoch in which the row came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProctimeSpec {
    /// The schema of the input.
    pub input: Schema,
    /// Whether the input never retracts; then nothing is kept.
    pub append_only: bool,
}

impl ProctimeSpec {
    /// The schema of port 0.
    pub(super) fn output(&self) -> Schema {
        let mut columns = self.input.columns.clone();
        columns.push(Column::new("__proctime", SqlType::TimestampTz));
        Schema::new(columns)
    }

    pub(super) fn tables(&self) -> Vec<TableSpec> {
        match self.append_only {
            true => Vec::new(),
            false => vec![TableSpec::bag("came", self.input.types(), vec![SqlType::TimestampTz])],
        }
    }

    /// Rows meet their retractions by all columns.
    pub(super) fn partition(&self) -> Option<Vec<usize>> {
        (!self.append_only).then(|| (0..self.input.columns.len()).collect())
    }

    /// For EXPLAIN.
    pub(super) fn detail(&self) -> String {
        let kind = if self.append_only { ", append-only" } else { "" };
        format!("the clock of the epoch in which each row came{kind}")
    }

    /// What bounds the state.
    pub(super) fn bounded_by(&self) -> String {
        if self.append_only { "the rows of an epoch" } else { "the rows of the input" }.to_owned()
    }

    pub(super) fn build(&self) -> Proctime {
        Proctime {
            door: Door::new("proctime", &self.input),
            codec: RowCodec::new(self.input.types()),
            output: self.output().arrow(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            gathered: Gathered::default(),
            next: None,
            spec: self.clone(),
        }
    }
}

/// The operator at work.
pub(super) struct Proctime {
    spec: ProctimeSpec,
    door: Door,
    codec: RowCodec,
    output: SchemaRef,
    /// Batches of the open epoch, if nothing is taken back.
    waiting: Vec<DeltaBatch>,
    waiting_bytes: usize,
    /// Rows of the open epoch, otherwise.
    gathered: Gathered,
    /// The first of them that is still to be looked at; none before the epoch ends.
    next: Option<usize>,
}

impl Operator for Proctime {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        if self.spec.append_only {
            if (0..batch.len()).any(|row| batch.weights.get(row) < 0) {
                return Err(Error::internal("operator \"proctime\" of an append-only input was given a retraction"));
            }
            self.waiting_bytes += batch.rows.get_array_memory_size();
            self.waiting.push(batch.clone());
            state.hold(self.waiting_bytes);
            return Ok(Flow::Done);
        }
        let rows = self.codec.encode_rows(batch.rows.columns(), batch.len())?;
        let mut none = EncodedRows::default();
        (0..batch.len()).for_each(|_| none.push(&[]));
        self.gathered.add(&rows, &none, &batch.weights)?;
        state.hold(self.gathered.bytes());
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        if self.spec.append_only {
            self.waiting_bytes = 0;
            for batch in std::mem::take(&mut self.waiting) {
                let stamps = vec![end.clock_us; batch.len()];
                let rows = self.stamped(batch.rows.columns().to_vec(), stamps)?;
                out.emit(MAIN_PORT, DeltaBatch { rows, weights: batch.weights });
            }
            state.hold(0);
            return Ok(Flow::Done);
        }
        let from = match self.next {
            Some(from) => from,
            None => {
                self.gathered.sort();
                0
            }
        };
        let to = (from + SLICE_ROWS).min(self.gathered.touched().len());
        let slice = &self.gathered.touched()[from..to];
        let keys = self.gathered.keys(slice);
        if let Some(read) = state.bag(CAME)?.missing(&keys) {
            self.next = Some(from);
            return Ok(Flow::Fetch(vec![read]));
        }
        let (mut rows, mut stamps, mut weights) = (EncodedRows::default(), Vec::new(), Vec::new());
        for &touched in slice {
            let key = self.gathered.key(touched);
            let change: i64 = self.gathered.changes(touched).map(|(_, weight)| weight).sum();
            for (stamp, weight) in self.came(key, change, end.clock_us, state)? {
                rows.push(key);
                stamps.push(stamp);
                weights.push(weight);
            }
        }
        if !weights.is_empty() {
            let columns = self.codec.decode(rows.iter())?;
            out.emit(MAIN_PORT, DeltaBatch::new(self.stamped(columns, stamps)?, weights)?);
        }
        if to < self.gathered.touched().len() {
            self.next = Some(to);
            return Ok(Flow::More);
        }
        self.next = None;
        self.gathered.clear();
        state.hold(0);
        Ok(Flow::Done)
    }
}

impl Proctime {
    /// The clock readings, with weights, by which `change` of the row `key` is told.
    fn came(&self, key: &[u8], change: i64, now: i64, state: &mut OperatorState) -> Result<Vec<(i64, i64)>> {
        let bag = state.bag(CAME)?;
        if change >= 0 {
            bag.add(key, &newest_first(now), change)?;
            return Ok(vec![(now, change)]);
        }
        let mut left = -change;
        let mut taken = Vec::new();
        for (row, weight) in bag.rows(key)? {
            let take = left.min(weight);
            taken.push((row.to_vec(), take));
            left -= take;
            if left == 0 {
                break;
            }
        }
        if left > 0 {
            return Err(Error::internal("a row was taken back more often than it came"));
        }
        let mut told = Vec::with_capacity(taken.len());
        for (row, take) in taken {
            bag.add(key, &row, -take)?;
            let stamp = row.first_chunk::<8>().map(|stamp| !u64::from_be_bytes(*stamp) as i64 ^ i64::MIN);
            told.push((stamp.ok_or_else(|| Error::corrupt("a clock reading is not eight bytes"))?, -take));
        }
        Ok(told)
    }

    fn stamped(&self, mut columns: Vec<ArrayRef>, stamps: Vec<i64>) -> Result<RecordBatch> {
        let stamps = TimestampMicrosecondArray::from(stamps).with_data_type(SqlType::TimestampTz.arrow());
        columns.push(Arc::new(stamps));
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.output), columns)?)
    }
}

/// A clock reading as it lies in state.
fn newest_first(stamp: i64) -> [u8; 8] {
    (!((stamp ^ i64::MIN) as u64)).to_be_bytes()
}
