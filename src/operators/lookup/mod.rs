//! `lookup`: each left row beside the right rows of its key as they are when it comes: `FOR SYSTEM_TIME AS OF PROCTIME()`.
//!
//! ```text
//!  on_delta       both sides ─▶ gathered by key; a left side that never retracts stays as it came
//!  on_epoch_end   the epoch's changes of the right side take effect; then each left row that came is looked up once,
//!                 and one that goes takes with it what it was shown beside
//! ```
//!
//! Later changes of the right side change nothing that was shown. Of several equal left rows the newest goes first.
//!
//! | table | kind | key | row |
//! |---|---|---|---|
//! | 0 `right` | Bag | the key | the right row's other columns |
//! | 1 `shown` | Bag; only if left rows are taken back | the key | see `shown`: the left row, when it came, what it was shown beside |

mod arrivals;
mod shown;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::partition::{Gathered, PartitionCodec, RowOrder};
use super::spec::{Door, names};
use super::{EpochEnd, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::state::{OperatorState, TableSpec};
use crate::types::{DeltaBatch, EncodedRows, Epoch, Schema};
use arrivals::{Arrivals, Rights};
use shown::Shown;

const LEFT: usize = 0;
const RIGHT: usize = 1;
/// State tables.
const RIGHTS: usize = 0;
const SHOWN: usize = 1;
/// Keys whose rows are asked for at once.
const KEYS_AT_ONCE: usize = 1024;

/// Looks left rows up among the right ones. The output has the columns of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookupSpec {
    /// The schema of port 0.
    pub left: Schema,
    /// The schema of port 1.
    pub right: Schema,
    /// Columns of the left and of the right side that must be equal.
    pub on: Vec<(usize, usize)>,
    /// Whether left rows without a match are shown, beside NULLs.
    pub outer: bool,
    /// Whether the left side never retracts; then nothing of it is kept.
    pub append_only: bool,
}

impl LookupSpec {
    /// The schema of port 0.
    pub(super) fn output(&self) -> Schema {
        let mut columns = self.left.columns.clone();
        columns.extend(self.right.columns.iter().cloned().map(|mut column| {
            column.nullable |= self.outer;
            column
        }));
        Schema::new(columns)
    }

    /// The columns by which input `port` is exchanged.
    pub(super) fn partition(&self, port: usize) -> Vec<usize> {
        self.on.iter().map(|&(left, right)| if port == LEFT { left } else { right }).collect()
    }

    fn codec(&self, port: usize) -> Result<PartitionCodec> {
        let schema = if port == LEFT { &self.left } else { &self.right };
        PartitionCodec::new(schema, &RowOrder { partition: self.partition(port), ..RowOrder::default() })
    }

    pub(super) fn tables(&self) -> Result<Vec<TableSpec>> {
        let right = self.codec(RIGHT)?;
        let mut tables = vec![TableSpec::bag("right", right.key_types().to_vec(), right.row_types())];
        if !self.append_only {
            let left = self.codec(LEFT)?;
            tables.push(TableSpec::bag("shown", left.key_types().to_vec(), left.row_types()));
        }
        Ok(tables)
    }

    /// For EXPLAIN.
    pub(super) fn detail(&self) -> String {
        let (left, right) = (self.partition(LEFT), self.partition(RIGHT));
        let kind = if self.outer { "left " } else { "" };
        let append_only = if self.append_only { ", append-only" } else { "" };
        format!("{kind}({}) among ({}){append_only}", names(&self.left, &left), names(&self.right, &right))
    }

    /// What bounds the state.
    pub(super) fn bounded_by(&self) -> String {
        match self.append_only {
            true => "the rows of the right side".to_owned(),
            false => "the rows of both sides".to_owned(),
        }
    }

    pub(super) fn build(&self) -> Result<Lookup> {
        self.tables()?;
        let side = |port: usize, name, schema: &Schema| -> Result<Side> {
            Ok(Side { door: Door::new(name, schema), codec: self.codec(port)?, gathered: Gathered::default() })
        };
        Ok(Lookup {
            sides: [side(LEFT, "lookup", &self.left)?, side(RIGHT, "lookup", &self.right)?],
            arrivals: Arrivals::default(),
            output: self.output().arrow(),
            phase: Phase::Filling,
            spec: self.clone(),
        })
    }
}

struct Side {
    door: Door,
    codec: PartitionCodec,
    gathered: Gathered,
}

/// Where in the epoch the operator is: the next changed key of a side.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Filling,
    Right(usize),
    Left(usize),
}

/// The operator at work.
pub(super) struct Lookup {
    spec: LookupSpec,
    sides: [Side; 2],
    /// The left rows, if they are never taken back.
    arrivals: Arrivals,
    output: SchemaRef,
    phase: Phase,
}

/// Pairs on their way out.
#[derive(Default)]
struct Pairs {
    keys: EncodedRows,
    lefts: EncodedRows,
    right_keys: EncodedRows,
    rights: EncodedRows,
    beside: Vec<Option<u64>>,
    weights: Vec<i64>,
}

impl Pairs {
    /// `left` beside each of `rights`, or alone.
    fn push(&mut self, key: &[u8], left: &[u8], rights: &[(Vec<u8>, i64)], weight: i64, outer: bool) {
        for (right, times) in rights {
            self.right_keys.push(key);
            self.rights.push(right);
            self.beside.push(Some(self.rights.len() as u64 - 1));
            self.left(key, left, weight.saturating_mul(*times));
        }
        if rights.is_empty() && outer {
            self.beside.push(None);
            self.left(key, left, weight);
        }
    }

    fn left(&mut self, key: &[u8], left: &[u8], weight: i64) {
        self.keys.push(key);
        self.lefts.push(left);
        self.weights.push(weight);
    }
}

impl Operator for Lookup {
    fn on_delta(&mut self, port: usize, batch: &DeltaBatch, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        let keys = self.spec.partition(port);
        let Some(side) = self.sides.get_mut(port) else { return Err(self.sides[LEFT].door.no_port(port)) };
        side.door.check(&batch.rows)?;
        let found = if port == RIGHT { with_keys(batch, &keys)? } else { batch.clone() };
        if port == LEFT && self.spec.append_only && (0..batch.len()).any(|row| batch.weights.get(row) < 0) {
            return Err(Error::internal("operator \"lookup\" of an append-only input was given a retraction"));
        }
        if port == LEFT && self.spec.append_only {
            let keys = side.codec.encode_keys(&found.rows)?;
            self.arrivals.push(found, keys);
        } else {
            let (keys, rows) = side.codec.encode(&found.rows)?;
            side.gathered.add(&keys, &rows, &found.weights)?;
        }
        state.hold(self.sides.iter().map(|side| side.gathered.bytes()).sum::<usize>() + self.arrivals.bytes());
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        if self.phase == Phase::Filling {
            self.sides.iter_mut().for_each(|side| side.gathered.sort());
            self.phase = Phase::Right(0);
        }
        if let Phase::Right(from) = self.phase {
            let touched = self.sides[RIGHT].gathered.touched().len();
            if from < touched {
                return self.change_slice(from, state);
            }
            self.phase = Phase::Left(0);
        }
        if let Phase::Left(from) = self.phase
            && from < self.sides[LEFT].gathered.touched().len()
        {
            return self.look_up_slice(from, end.epoch, state, out);
        }
        if !self.arrivals.is_empty() {
            return self.look_up_arrivals(state, out);
        }
        self.sides.iter_mut().for_each(|side| side.gathered.clear());
        state.hold(0);
        self.phase = Phase::Filling;
        Ok(Flow::Done)
    }
}

impl Lookup {
    /// The next changes of the right side.
    fn change_slice(&mut self, from: usize, state: &mut OperatorState) -> Result<Flow> {
        let gathered = &self.sides[RIGHT].gathered;
        let to = (from + KEYS_AT_ONCE).min(gathered.touched().len());
        let slice = &gathered.touched()[from..to];
        let rights = state.bag(RIGHTS)?;
        if let Some(read) = rights.missing(&gathered.keys(slice)) {
            return Ok(Flow::Fetch(vec![read]));
        }
        for &touched in slice {
            for (row, weight) in gathered.changes(touched) {
                rights.add(gathered.key(touched), row, weight)?;
            }
        }
        self.phase = Phase::Right(to);
        Ok(Flow::More)
    }

    /// Looks up the next left rows of those that are never taken back.
    fn look_up_arrivals(&mut self, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let bag = state.bag(RIGHTS)?;
        if let Some(read) = bag.missing(&self.arrivals.keys()) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let codec = &self.sides[RIGHT].codec;
        let rights = Rights { bag, codec, outer: self.spec.outer, output: &self.output };
        if let Some(shown) = self.arrivals.look_up(&rights)? {
            out.emit(MAIN_PORT, shown);
        }
        Ok(Flow::More)
    }

    /// Looks up the next left rows of those that may be taken back.
    fn look_up_slice(
        &mut self,
        from: usize,
        epoch: Epoch,
        state: &mut OperatorState,
        out: &mut Output,
    ) -> Result<Flow> {
        let gathered = &self.sides[LEFT].gathered;
        let to = (from + KEYS_AT_ONCE).min(gathered.touched().len());
        let slice = &gathered.touched()[from..to];
        let keys = gathered.keys(slice);
        let mut reads: Vec<_> = state.bag(RIGHTS)?.missing(&keys).into_iter().collect();
        reads.extend(state.bag(SHOWN)?.missing(&keys));
        if !reads.is_empty() {
            return Ok(Flow::Fetch(reads));
        }
        let mut pairs = Pairs::default();
        let mut done = 0;
        for &touched in slice {
            let key = gathered.key(touched);
            let rights: Vec<(Vec<u8>, i64)> =
                state.bag(RIGHTS)?.rows(key)?.map(|(row, weight)| (row.to_vec(), weight)).collect();
            for (left, weight) in gathered.changes(touched) {
                if weight > 0 {
                    pairs.push(key, left, &rights, weight, self.spec.outer);
                    state.bag(SHOWN)?.add(key, &Shown::encode(left, epoch, &rights)?, weight)?;
                } else {
                    self.take_back(key, left, -weight, state, &mut pairs)?;
                }
            }
            done += 1;
            if pairs.weights.len() >= SLICE_ROWS {
                break;
            }
        }
        self.emit(pairs, out)?;
        self.phase = Phase::Left(from + done);
        Ok(Flow::More)
    }

    /// Takes `times` of the left row back, as they were shown.
    fn take_back(
        &self,
        key: &[u8],
        left: &[u8],
        times: i64,
        state: &mut OperatorState,
        pairs: &mut Pairs,
    ) -> Result<()> {
        let bag = state.bag(SHOWN)?;
        let prefix = Shown::prefix(left)?;
        let mut wanted = times;
        let mut taken: Vec<(Vec<u8>, i64)> = Vec::new();
        for (row, weight) in bag.rows_from(key, &prefix)?.take_while(|(row, _)| row.starts_with(&prefix)) {
            let take = wanted.min(weight);
            taken.push((row.to_vec(), take));
            wanted -= take;
            if wanted == 0 {
                break;
            }
        }
        if wanted > 0 {
            return Err(Error::internal("a row was taken back more often than it came"));
        }
        for (row, take) in taken {
            pairs.push(key, left, &Shown::rights(&row, prefix.len())?, -take, self.spec.outer);
            bag.add(key, &row, -take)?;
        }
        Ok(())
    }

    fn emit(&self, pairs: Pairs, out: &mut Output) -> Result<()> {
        if pairs.weights.is_empty() {
            return Ok(());
        }
        let mut columns = self.sides[LEFT].codec.decode(pairs.keys.iter(), pairs.lefts.iter())?;
        let rights = self.sides[RIGHT].codec.decode(pairs.right_keys.iter(), pairs.rights.iter())?;
        let beside: UInt64Array = pairs.beside.iter().copied().collect();
        for right in &rights {
            columns.push(take(right.as_ref(), &beside, None)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.weights.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?;
        out.emit(MAIN_PORT, DeltaBatch::new(rows, pairs.weights)?);
        Ok(())
    }
}

/// The rows of which no key is NULL: NULL equals nothing.
fn with_keys(batch: &DeltaBatch, keys: &[usize]) -> Result<DeltaBatch> {
    let columns: Vec<&ArrayRef> = keys.iter().map(|&key| batch.rows.column(key)).collect();
    if columns.iter().all(|column| column.null_count() == 0) {
        return Ok(batch.clone());
    }
    let known = BooleanBuffer::collect_bool(batch.len(), |row| columns.iter().all(|column| column.is_valid(row)));
    batch.filter(&BooleanArray::new(known, None))
}
