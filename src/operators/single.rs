//! `single`: what a scalar sub-query stands for: its one row, NULLs if it has none, a fault while it has several.
//!
//! It speaks once per epoch and only if the answer changed, so that what reads it (a join with every row of something
//! large) does nothing as long as the value stays the same.
//!
//! | table | kind | key | row or value |
//! |---|---|---|---|
//! | 0 `rows` | Bag | none | the input's rows |
//! | 1 `shown` | Map | none | a byte: 1 a row, whose canonical bytes follow; 2 a fault |

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use serde::{Deserialize, Serialize};

use super::faults::fault_batch;
use super::spec::Door;
use super::{EpochEnd, FAULT_PORT, Flow, MAIN_PORT, Operator, Output};
use crate::base::{Error, Result};
use crate::functions::SEVERAL_ROWS;
use crate::state::{OperatorState, TableSpec};
use crate::types::{Column, DeltaBatch, EncodedRows, RowCodec, Schema};

#[cfg(test)]
mod tests;

const ROWS: usize = 0;
const SHOWN: usize = 1;
const ROW: u8 = 1;
const FAULT: u8 = 2;

/// The one row of the input. Port 0: that row, or NULLs over no rows; nothing while there are several rows, which is a
/// fault on port 2. Runs as one subtask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SingleSpec {
    /// The schema of the input.
    pub input: Schema,
}

impl SingleSpec {
    /// The schema of port 0.
    pub(super) fn output(&self) -> Schema {
        Schema::new(self.input.columns.iter().map(|column| Column { nullable: true, ..column.clone() }).collect())
    }

    pub(super) fn tables(&self) -> Vec<TableSpec> {
        vec![TableSpec::bag("rows", Vec::new(), self.input.types()), TableSpec::map("shown", Vec::new(), Vec::new())]
    }

    pub(super) fn build(&self) -> Single {
        Single {
            door: Door::new("single", &self.input),
            codec: RowCodec::new(self.input.types()),
            output: self.output(),
        }
    }
}

/// The operator at work.
pub(super) struct Single {
    door: Door,
    codec: RowCodec,
    output: Schema,
}

/// The empty key, so many times.
fn no_keys(rows: usize) -> EncodedRows {
    let mut keys = EncodedRows::with_capacity(rows, 0);
    (0..rows).for_each(|_| keys.push(&[]));
    keys
}

impl Operator for Single {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        let rows = self.codec.encode_rows(batch.rows.columns(), batch.len())?;
        let keys = no_keys(batch.len());
        let bag = state.bag(ROWS)?;
        if let Some(read) = bag.missing_rows(&keys, &rows) {
            return Ok(Flow::Fetch(vec![read]));
        }
        bag.add_batch(&keys, &rows, &batch.weights)?;
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, _: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let key = no_keys(1);
        let mut reads: Vec<_> = state.bag(ROWS)?.missing(&key).into_iter().collect();
        reads.extend(state.map(SHOWN)?.missing(&key));
        if !reads.is_empty() {
            return Ok(Flow::Fetch(reads));
        }
        let mut shows = vec![ROW];
        let mut rows = state.bag(ROWS)?.rows(&[])?;
        match (rows.next(), rows.next()) {
            (None, _) => {
                let nulls = self.output.columns.iter().map(|column| new_null_array(&column.ty.arrow(), 1));
                shows.extend_from_slice(self.codec.encode_rows(&nulls.collect::<Vec<_>>(), 1)?.row(0));
            }
            (Some((row, 1)), None) => shows.extend_from_slice(row),
            (Some(_), _) => shows = vec![FAULT],
        }
        let shown = state.map(SHOWN)?;
        let before = shown.get(&[])?.map(<[u8]>::to_vec);
        if before.as_ref() == Some(&shows) {
            return Ok(Flow::Done);
        }
        shown.put(&[], &shows)?;
        let mut deltas: Vec<(&[u8], i64)> = before.iter().map(|before| (before.as_slice(), -1)).collect();
        deltas.push((&shows, 1));
        self.emit(&deltas, out)?;
        Ok(Flow::Done)
    }
}

impl Single {
    fn emit(&self, deltas: &[(&[u8], i64)], out: &mut Output) -> Result<()> {
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for (shown, weight) in deltas {
            match shown.split_first() {
                Some((&ROW, row)) => {
                    rows.push(row);
                    weights.push(*weight);
                }
                Some((&FAULT, _)) => {
                    let options = RecordBatchOptions::new().with_row_count(Some(1));
                    let none = RecordBatch::try_new_with_options(Schema::default().arrow(), Vec::new(), &options)?;
                    out.emit(FAULT_PORT, fault_batch(&none, vec![SEVERAL_ROWS.to_owned()], vec![*weight])?);
                }
                _ => return Err(Error::corrupt("state table \"shown\" of operator \"single\" holds another format")),
            }
        }
        let columns: Vec<ArrayRef> = self.codec.decode(rows)?;
        let options = RecordBatchOptions::new().with_row_count(Some(weights.len()));
        let rows = RecordBatch::try_new_with_options(self.output.arrow(), columns, &options)?;
        out.emit(MAIN_PORT, DeltaBatch::new(rows, weights)?);
        Ok(())
    }
}
