//! `join`: inner join on equality with a residual condition, by delta: new rows of one side meet the state of the other.
//!
//! Each side keeps its rows in a Bag by join key. A batch is matched against the other side's state first and then put
//! into its own side's, so that of two rows of one epoch the one that comes later finds the other: every pair is met
//! once. Weights multiply. A key with a NULL in it matches nothing, so such rows are neither matched nor kept.
//!
//! | table | kind | key | row |
//! |---|---|---|---|
//! | 0 `left` | Bag | join key | the left columns that are not in the key |
//! | 1 `right` | Bag | join key | the right columns that are not in the key |
//!
//! A pair whose residual condition faults leaves on port 2 with the product of the weights.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{filter_record_batch, take_arrays};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::faults::fault_batch;
use super::spec::{Door, names};
use super::{EpochEnd, FAULT_PORT, Flow, MAIN_PORT, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::functions::{Compiled, Expr, Named};
use crate::state::{OperatorState, TableSpec};
use crate::types::{DeltaBatch, EncodedRows, RowCodec, Schema, SqlType, Weights};

#[cfg(test)]
mod tests;

/// Bytes of state rows after which a slice of output ends, if [`SLICE_ROWS`] has not ended it.
const SLICE_BYTES: usize = 4 << 20;

/// An inner join. Port 0 of the input is the left side, port 1 the right; the output has the left columns, then the
/// right ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinSpec {
    /// The schema of the left input.
    pub left: Schema,
    /// The schema of the right input.
    pub right: Schema,
    /// Pairs of (left column, right column) of one type that must be equal; NULL equals nothing. None: every pair of
    /// rows, on one subtask.
    pub on: Vec<(usize, usize)>,
    /// What else must be true of a pair, over the output's columns.
    pub residual: Option<Expr>,
}

impl JoinSpec {
    /// The schema of port 0.
    pub(super) fn output(&self) -> Schema {
        Schema::new(self.left.columns.iter().chain(&self.right.columns).cloned().collect())
    }

    /// For EXPLAIN.
    pub(super) fn detail(&self) -> String {
        let pair = |&(left, right): &(usize, usize)| {
            format!("{} = {}", names(&self.left, &[left]), names(&self.right, &[right]))
        };
        let mut text = match self.on.as_slice() {
            [] => "every pair of rows".to_owned(),
            on => format!("on {}", on.iter().map(pair).collect::<Vec<_>>().join(" and ")),
        };
        if let Some(residual) = &self.residual {
            text.push_str(&format!(" where {}", Named { expr: residual, input: &self.output() }));
        }
        text
    }

    /// What bounds the state.
    pub(super) fn bounded_by(&self) -> String {
        "the rows of both inputs".to_owned()
    }

    pub(super) fn tables(&self) -> Result<Vec<TableSpec>> {
        let [left, right] = self.sides()?;
        Ok(vec![
            TableSpec::bag("left", left.key_types, left.rest_types),
            TableSpec::bag("right", right.key_types, right.rest_types),
        ])
    }

    fn sides(&self) -> Result<[Side; 2]> {
        let (left, right): (Vec<_>, Vec<_>) = self.on.iter().copied().unzip();
        let sides = [Side::new("left", &self.left, left)?, Side::new("right", &self.right, right)?];
        if sides[0].key_types != sides[1].key_types {
            return Err(Error::internal("join key has other types on the left than on the right").with_detail(
                format!(
                    "Left {:?}, right {:?}; the planner casts them to one type.",
                    sides[0].key_types, sides[1].key_types
                ),
            ));
        }
        Ok(sides)
    }

    pub(super) fn build(&self) -> Result<Join> {
        let output = self.output();
        let residual = self.residual.as_ref().map(|expr| Compiled::new(expr, &output)).transpose()?;
        Ok(Join { sides: self.sides()?, residual, schema: output.arrow(), open: None })
    }
}

/// One input, as this operator sees it.
struct Side {
    door: Door,
    key: Vec<usize>,
    rest: Vec<usize>,
    key_types: Vec<SqlType>,
    rest_types: Vec<SqlType>,
    /// Where each column comes from when a row is put together from (key, rest).
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
enum Place {
    Key(usize),
    Rest(usize),
}

impl Side {
    fn new(name: &'static str, schema: &Schema, key: Vec<usize>) -> Result<Side> {
        let width = schema.columns.len();
        if key.iter().any(|&column| column >= width) {
            return Err(Error::internal(format!("join key names a column outside the {width} of its {name} side")));
        }
        let mut rest = Vec::new();
        let places = (0..width)
            .map(|column| match key.iter().position(|&other| other == column) {
                Some(place) => Place::Key(place),
                None => {
                    rest.push(column);
                    Place::Rest(rest.len() - 1)
                }
            })
            .collect();
        let (key_types, rest_types) = (schema.project(&key).types(), schema.project(&rest).types());
        Ok(Side { door: Door::new("join", schema), key, rest, key_types, rest_types, places })
    }

    /// The rows of a batch whose key has no NULL, encoded.
    fn encode(&self, batch: &DeltaBatch) -> Result<Arriving> {
        let nulls = self.key.iter().fold(None, |nulls: Option<NullBuffer>, &column| {
            NullBuffer::union(nulls.as_ref(), batch.rows.column(column).nulls())
        });
        let batch = match nulls.filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => batch.filter(&BooleanArray::new(nulls.into_inner(), None))?,
            None => batch.clone(),
        };
        let columns = |indices: &[usize]| -> Vec<ArrayRef> {
            indices.iter().map(|&column| Arc::clone(batch.rows.column(column))).collect()
        };
        let keys = RowCodec::new(self.key_types.clone()).encode_rows(&columns(&self.key), batch.len())?;
        let rests = RowCodec::new(self.rest_types.clone()).encode_rows(&columns(&self.rest), batch.len())?;
        Ok(Arriving { port: 0, batch, keys, rests, row: 0, from: Vec::new() })
    }
}

/// The batch of the open call, and how far its rows have met the other side.
struct Arriving {
    port: usize,
    batch: DeltaBatch,
    keys: EncodedRows,
    rests: EncodedRows,
    /// The row being matched.
    row: usize,
    /// The first row of the other side that it has not met.
    from: Vec<u8>,
}

impl Arriving {
    /// Bytes held beside the batch, which is the host's.
    fn bytes(&self) -> usize {
        self.keys.bytes() + self.rests.bytes() + self.from.capacity()
    }
}

/// The join at work.
pub(super) struct Join {
    sides: [Side; 2],
    residual: Option<Compiled>,
    schema: SchemaRef,
    open: Option<Arriving>,
}

/// Pairs found for one slice of output.
#[derive(Default)]
struct Pairs<'a> {
    arriving: Vec<u64>,
    others: Vec<&'a [u8]>,
    weights: Vec<i64>,
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
                Arriving { port, ..side.encode(batch)? }
            }
        };
        // Every slice asks again: the host may have let go of what it read for the last one.
        let own = state.bag(port)?.missing_rows(&open.keys, &open.rests);
        let other = state.bag(1 - port)?.missing(&open.keys);
        let reads: Vec<_> = own.into_iter().chain(other).collect();
        if !reads.is_empty() {
            state.hold(open.bytes());
            self.open = Some(open);
            return Ok(Flow::Fetch(reads));
        }
        if self.match_slice(&mut open, state, out)? {
            state.hold(open.bytes());
            self.open = Some(open);
            return Ok(Flow::More);
        }
        state.hold(0);
        state.bag(port)?.add_batch(&open.keys, &open.rests, &open.batch.weights)?;
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, _: &EpochEnd, _: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        Ok(Flow::Done)
    }
}

impl Join {
    /// Matches rows until a slice is full; whether some are left.
    fn match_slice(&self, open: &mut Arriving, state: &mut OperatorState, out: &mut Output) -> Result<bool> {
        let other = &*state.bag(1 - open.port)?;
        let mut pairs = Pairs::default();
        let from = std::mem::take(&mut open.from);
        let mut start: &[u8] = &from;
        while open.row < open.batch.len() {
            let weight = open.batch.weights.get(open.row);
            for (row, times) in other.rows_from(open.keys.row(open.row), start)? {
                if pairs.weights.len() >= SLICE_ROWS || pairs.bytes >= SLICE_BYTES {
                    open.from = row.to_vec();
                    self.emit(open, pairs, out)?;
                    return Ok(true);
                }
                pairs.arriving.push(open.row as u64);
                pairs.bytes += row.len();
                pairs.others.push(row);
                pairs.weights.push(weight.checked_mul(times).ok_or_else(too_often)?);
            }
            start = &[];
            open.row += 1;
        }
        self.emit(open, pairs, out)?;
        Ok(false)
    }

    fn emit(&self, open: &Arriving, pairs: Pairs<'_>, out: &mut Output) -> Result<()> {
        if pairs.weights.is_empty() {
            return Ok(());
        }
        let rows = self.pair_rows(open, &pairs)?;
        let Some(residual) = &self.residual else {
            out.emit(MAIN_PORT, DeltaBatch { rows, weights: Weights::from_vec(pairs.weights) });
            return Ok(());
        };
        let (values, faults) = residual.evaluate_filter(&rows)?;
        let mut kept = match values.nulls() {
            Some(nulls) => values.values() & nulls.inner(),
            None => values.values().clone(),
        };
        if let Some(faults) = faults {
            kept = &kept & &!&faults.mask;
            let faulty = filter_record_batch(&rows, &BooleanArray::new(faults.mask.clone(), None))?;
            let reasons = faults.mask.set_indices().map(|row| faults.reason(row).to_owned()).collect();
            let weights = faults.mask.set_indices().map(|row| pairs.weights[row]).collect();
            out.emit(FAULT_PORT, fault_batch(&faulty, reasons, weights)?);
        }
        out.emit(MAIN_PORT, keep(DeltaBatch { rows, weights: Weights::from_vec(pairs.weights) }, kept)?);
        Ok(())
    }

    /// The pairs as rows of the output.
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
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.weights.len()));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }
}

fn keep(batch: DeltaBatch, kept: BooleanBuffer) -> Result<DeltaBatch> {
    if kept.count_set_bits() == kept.len() {
        return Ok(batch);
    }
    batch.filter(&BooleanArray::new(kept, None))
}

fn too_often() -> Error {
    Error::limit("a pair of joined rows is present more than 9223372036854775807 times")
}
