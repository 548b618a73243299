//! `keep`: the newest rows of a relation, bounded in rows and bytes, and the exact count of all (`ms_late`, `ms_faults`).
//!
//! "Newer" is by epoch of arrival, then by the row's canonical bytes, so that what is kept does not depend on how an
//! epoch was cut into batches. A retraction takes back a kept row of the same contents, the oldest first; if none is
//! kept any more, it only counts.
//!
//! | table | kind | key | row or value |
//! |---|---|---|---|
//! | 0 `count` | Map | none | three `i64` big-endian: rows in all, rows kept, bytes kept |
//! | 1 `newest` | Bag | none | epoch (bigint), the row's columns |
//! | 2 `places` | Bag | none | the row's columns, epoch (bigint); only if rows can be retracted |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use serde::{Deserialize, Serialize};

use super::spec::Door;
use super::{EpochEnd, Flow, LATE_PORT, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::state::{OperatorState, TableSpec};
use crate::types::{Column, DeltaBatch, EncodedRows, RowCodec, Schema, SqlType};

#[cfg(test)]
mod tests;

const COUNT: usize = 0;
const NEWEST: usize = 1;
const PLACES: usize = 2;

/// Keeps the newest rows. Port 0: the kept rows, as they come and go. Port 1: one row `total` (bigint): how many rows
/// the input has, kept or not. Runs as one subtask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeepSpec {
    /// The schema of the input.
    pub input: Schema,
    /// Rows kept at most.
    pub rows_max: u64,
    /// Bytes kept at most, counted in the canonical encoding of rows.
    pub bytes_max: u64,
    /// Whether the input never retracts; then a table is saved.
    pub append_only: bool,
}

impl KeepSpec {
    /// The schemas of ports 0 and 1.
    pub(super) fn outputs(&self) -> [Schema; 2] {
        [self.input.clone(), Schema::new(vec![Column::new("total", SqlType::BigInt)])]
    }

    /// For EXPLAIN.
    pub(super) fn detail(&self) -> String {
        format!("the newest {} rows or {} bytes", self.rows_max, self.bytes_max)
    }

    /// What bounds the state.
    pub(super) fn bounded_by(&self) -> String {
        self.detail()
    }

    pub(super) fn tables(&self) -> Vec<TableSpec> {
        let types = self.input.types();
        let newest = [vec![SqlType::BigInt], types.clone()].concat();
        let places = [types, vec![SqlType::BigInt]].concat();
        let mut tables =
            vec![TableSpec::map("count", Vec::new(), Vec::new()), TableSpec::bag("newest", Vec::new(), newest)];
        if !self.append_only {
            tables.push(TableSpec::bag("places", Vec::new(), places));
        }
        tables
    }

    pub(super) fn build(&self) -> Result<Keep> {
        let rows_max = i64::try_from(self.rows_max).unwrap_or(i64::MAX);
        let bytes_max = i64::try_from(self.bytes_max).unwrap_or(i64::MAX);
        Ok(Keep {
            door: Door::new("keep", &self.input),
            codec: RowCodec::new(self.input.types()),
            spec: self.clone(),
            rows_max,
            bytes_max,
            arrived: BTreeMap::new(),
            arrived_weight: 0,
            arrived_bytes: 0,
        })
    }
}

/// The keep at work.
pub(super) struct Keep {
    spec: KeepSpec,
    door: Door,
    codec: RowCodec,
    rows_max: i64,
    bytes_max: i64,
    /// Rows of the open epoch and their weights. Of an append-only input only those that could be kept.
    arrived: BTreeMap<Box<[u8]>, i64>,
    /// The sum of all weights of the open epoch.
    arrived_weight: i64,
    /// About how many bytes they take.
    arrived_bytes: usize,
}

/// The value of table 0.
#[derive(Clone, Copy, Default, PartialEq)]
struct Count {
    total: i64,
    rows: i64,
    bytes: i64,
}

impl Count {
    fn read(bytes: &[u8]) -> Result<Count> {
        let field =
            |i: usize| bytes.get(i * 8..).and_then(|rest| rest.first_chunk::<8>()).map(|b| i64::from_be_bytes(*b));
        match (field(0), field(1), field(2)) {
            (Some(total), Some(rows), Some(bytes)) => Ok(Count { total, rows, bytes }),
            _ => Err(Error::corrupt("count of kept rows is not three integers")),
        }
    }

    fn write(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (field, value) in bytes.chunks_exact_mut(8).zip([self.total, self.rows, self.bytes]) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }
}

impl Operator for Keep {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        for (row, bytes) in self.codec.encode_rows(batch.rows.columns(), batch.len())?.iter().enumerate() {
            let weight = batch.weights.get(row);
            if weight < 0 && self.spec.append_only {
                return Err(Error::internal("operator \"keep\" of an append-only input was given a retraction"));
            }
            self.arrived_weight = self.arrived_weight.saturating_add(weight);
            let sum = match self.arrived.get_mut(bytes) {
                Some(sum) => sum,
                None => {
                    self.arrived_bytes += bytes.len() + ENTRY_BYTES;
                    self.arrived.entry(bytes.into()).or_insert(0)
                }
            };
            *sum = sum.saturating_add(weight);
            if self.spec.append_only && self.arrived.len() as u64 > self.spec.rows_max {
                self.arrived_bytes -= self.arrived.pop_first().map_or(0, |(row, _)| row.len() + ENTRY_BYTES);
            }
        }
        state.hold(self.arrived_bytes);
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        self.arrived.retain(|_, weight| *weight != 0);
        if self.arrived.is_empty() {
            self.arrived_bytes = 0;
            state.hold(0);
        }
        if self.arrived.is_empty() && self.arrived_weight == 0 {
            return Ok(Flow::Done);
        }
        let whole = RowCodec::new(Vec::new()).encode_rows(&[], 1)?;
        let reads = self.reads(&whole, state)?;
        if !reads.is_empty() {
            return Ok(Flow::Fetch(reads));
        }
        let stored = state.map(COUNT)?.get(&[])?.map(Count::read).transpose()?;
        let old = stored.unwrap_or_default();
        let mut count = Count { total: old.total.saturating_add(self.arrived_weight), ..old };
        self.arrived_weight = 0;
        self.arrived_bytes = 0;
        state.hold(0);
        let mut changes = BTreeMap::new();
        let arrived = std::mem::take(&mut self.arrived);
        for (row, weight) in arrived.iter().filter(|(_, weight)| **weight < 0) {
            self.retract(row, weight.saturating_neg(), &mut count, state, &mut changes)?;
        }
        for (row, weight) in arrived.into_iter().filter(|(_, weight)| *weight > 0) {
            let epoch = order(end)?;
            self.change(&epoch, &row, weight, &mut count, state, &mut changes)?;
        }
        self.evict(&mut count, state, &mut changes)?;
        state.map(COUNT)?.put(&[], &count.write())?;
        self.emit(changes, out)?;
        self.emit_total(stored, count, out)?;
        Ok(Flow::Done)
    }
}

impl Keep {
    fn reads(&self, whole: &EncodedRows, state: &mut OperatorState) -> Result<Vec<crate::state::Read>> {
        let mut reads: Vec<_> = state.map(COUNT)?.missing(whole).into_iter().collect();
        reads.extend(state.bag(NEWEST)?.missing(whole));
        if !self.spec.append_only {
            reads.extend(state.bag(PLACES)?.missing(whole));
        }
        Ok(reads)
    }

    /// Adds `weight` of `row`, arrived in `epoch` (its encoding), to what is kept.
    fn change(
        &self,
        epoch: &[u8],
        row: &[u8],
        weight: i64,
        count: &mut Count,
        state: &mut OperatorState,
        changes: &mut BTreeMap<Box<[u8]>, i64>,
    ) -> Result<()> {
        state.bag(NEWEST)?.add(&[], &[epoch, row].concat(), weight)?;
        if !self.spec.append_only {
            state.bag(PLACES)?.add(&[], &[row, epoch].concat(), weight)?;
        }
        count.rows = count.rows.saturating_add(weight);
        count.bytes = count.bytes.saturating_add(weight.saturating_mul(row.len() as i64));
        *changes.entry(row.into()).or_insert(0) += weight;
        Ok(())
    }

    /// Takes back up to `times` kept rows equal to `row`, the oldest first.
    fn retract(
        &self,
        row: &[u8],
        mut times: i64,
        count: &mut Count,
        state: &mut OperatorState,
        changes: &mut BTreeMap<Box<[u8]>, i64>,
    ) -> Result<()> {
        while times > 0 {
            // Canonical rows are self-delimiting: what begins with this row is this row and an epoch.
            let place = state.bag(PLACES)?.rows_from(&[], row)?.next();
            let Some((epoch, kept)) = place.and_then(|(place, kept)| Some((place.strip_prefix(row)?, kept))) else {
                return Ok(());
            };
            let (epoch, taken) = (epoch.to_vec(), kept.min(times));
            self.change(&epoch, row, -taken, count, state, changes)?;
            times -= taken;
        }
        Ok(())
    }

    /// Lets the oldest rows go until both bounds hold.
    fn evict(
        &self,
        count: &mut Count,
        state: &mut OperatorState,
        changes: &mut BTreeMap<Box<[u8]>, i64>,
    ) -> Result<()> {
        while count.rows > self.rows_max || count.bytes > self.bytes_max {
            let Some((place, kept)) = state.bag(NEWEST)?.first(&[])? else {
                return Err(Error::internal("kept rows are counted that are not there"));
            };
            let place = place.to_vec();
            let (epoch, row) = place.split_at(EPOCH_BYTES.min(place.len()));
            let width = (row.len() as i64).max(1);
            let too_many = (count.rows - self.rows_max).max(0);
            let too_big = (count.bytes - self.bytes_max).max(0);
            let enough = too_many.max(too_big / width + i64::from(too_big % width > 0));
            self.change(epoch, row, -kept.min(enough), count, state, changes)?;
        }
        Ok(())
    }

    fn emit(&self, mut changes: BTreeMap<Box<[u8]>, i64>, out: &mut Output) -> Result<()> {
        changes.retain(|_, weight| *weight != 0);
        let changes: Vec<(Box<[u8]>, i64)> = changes.into_iter().collect();
        let schema = self.spec.input.arrow();
        for slice in changes.chunks(SLICE_ROWS) {
            let columns = self.codec.decode(slice.iter().map(|(row, _)| &**row))?;
            let options = RecordBatchOptions::new().with_row_count(Some(slice.len()));
            let rows = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
            out.emit(MAIN_PORT, DeltaBatch::new(rows, slice.iter().map(|(_, weight)| *weight).collect())?);
        }
        Ok(())
    }

    fn emit_total(&self, old: Option<Count>, new: Count, out: &mut Output) -> Result<()> {
        if old.is_some_and(|old| old.total == new.total) {
            return Ok(());
        }
        let totals: Vec<i64> = old.map(|old| old.total).into_iter().chain([new.total]).collect();
        let weights = if old.is_some() { vec![-1, 1] } else { vec![1] };
        let [_, schema] = self.spec.outputs();
        let column: ArrayRef = Arc::new(Int64Array::from(totals));
        out.emit(LATE_PORT, DeltaBatch::new(RecordBatch::try_new(schema.arrow(), vec![column])?, weights)?);
        Ok(())
    }
}

/// What an entry of a B-tree costs beside its bytes.
const ENTRY_BYTES: usize = 40;

/// Bytes of an encoded epoch: marker and bigint.
const EPOCH_BYTES: usize = 9;

/// The epoch in the canonical encoding.
fn order(end: &EpochEnd) -> Result<Vec<u8>> {
    let epoch = i64::try_from(end.epoch.0).unwrap_or(i64::MAX);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![epoch]));
    Ok(RowCodec::new(vec![SqlType::BigInt]).encode_rows(&[column], 1)?.row(0).to_vec())
}
