//! `gate`: tells late rows from the others, by the watermark that each row carries from its own split.
//!
//! A row is late for its window when the window's end (exclusive) is not above the row's hidden watermark. That is a
//! function of the split's contents alone: not of epochs, batches or workers. For HOP each (row, window) is judged.

use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use super::spec::{Door, names};
use super::{EpochEnd, Flow, LATE_PORT, MAIN_PORT, Operator, Output};
use crate::base::{Error, Result};
use crate::state::OperatorState;
use crate::types::{Column, DeltaBatch, Schema, SqlType};

/// Judges each row's lateness.
///
/// Port 0: the rows in time, without the hidden column. Port 1: the late rows, without it, followed by `watermark`:
/// the watermark that had passed them, of the type of the window's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateSpec {
    /// The schema of the input.
    pub input: Schema,
    /// The hidden column: the watermark of the row's split when it was read, as bigint microseconds; NULL is none.
    pub watermark: usize,
    /// The column of the window's end, a timestamp. A row whose end is NULL is never late.
    pub window_end: usize,
    /// What is added to that column to have the end; 1 for the time of a row that is its own window.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shift_us: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_zero(shift: &i64) -> bool {
    *shift == 0
}

impl GateSpec {
    /// The end of a row's window, from the column.
    fn end(&self, value: i64) -> i64 {
        value.saturating_add(self.shift_us)
    }

    /// Fails when a column does not exist or has another type.
    pub(super) fn build(&self) -> Result<Gate> {
        let [main, late] = self.outputs()?;
        Ok(Gate { spec: self.clone(), door: Door::new("gate", &self.input), main: main.arrow(), late: late.arrow() })
    }

    /// The schemas of ports 0 and 1.
    pub(super) fn outputs(&self) -> Result<[Schema; 2]> {
        let hidden = self.input.columns.get(self.watermark);
        let end = self.input.columns.get(self.window_end).filter(|end| end.ty.is_timestamp());
        let (Some(end), true) = (end, hidden.is_some_and(|hidden| hidden.ty == SqlType::BigInt)) else {
            return Err(Error::internal(format!(
                "gate expects a timestamp in column {} and a bigint watermark in column {}, found {:?}",
                self.window_end,
                self.watermark,
                self.input.types()
            )));
        };
        let main = Schema::new(self.shown().map(|i| self.input.columns[i].clone()).collect());
        let mut late = main.clone();
        late.columns.push(Column::new("watermark", end.ty.clone()));
        Ok([main, late])
    }

    /// For EXPLAIN.
    pub(super) fn detail(&self) -> String {
        let sign = if self.shift_us == 1 { "<" } else { "<=" };
        let shift = match self.shift_us {
            0 | 1 => String::new(),
            shift => format!(" + {shift} us"),
        };
        format!("late when {}{shift} {sign} watermark of its split", names(&self.input, &[self.window_end]))
    }

    /// The columns that are not hidden.
    fn shown(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.input.columns.len()).filter(|&i| i != self.watermark)
    }
}

/// The gate at work.
pub(super) struct Gate {
    spec: GateSpec,
    door: Door,
    main: SchemaRef,
    late: SchemaRef,
}

impl Gate {
    /// Which rows are late; `None` if none is.
    fn judge(&self, rows: &RecordBatch) -> Option<BooleanArray> {
        let ends = rows.column(self.spec.window_end).as_primitive::<TimestampMicrosecondType>();
        let marks = rows.column(self.spec.watermark).as_primitive::<Int64Type>();
        let pairs = || ends.values().iter().zip(marks.values().iter());
        // One pass without branches finds the usual case: nobody is late.
        if !pairs().fold(false, |any, (end, mark)| any | (self.spec.end(*end) <= *mark)) {
            return None;
        }
        let known = |row: usize| ends.is_valid(row) && marks.is_valid(row);
        let late = BooleanBuffer::collect_bool(rows.num_rows(), |row| {
            self.spec.end(ends.values()[row]) <= marks.values()[row] && known(row)
        });
        (late.count_set_bits() > 0).then(|| BooleanArray::new(late, None))
    }

    fn shown(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.spec.shown().map(|i| Arc::clone(rows.column(i))).collect()
    }

    fn late_rows(&self, batch: &DeltaBatch, late: &BooleanArray) -> Result<DeltaBatch> {
        let batch = batch.filter(late)?;
        let marks: &Int64Array = batch.rows.column(self.spec.watermark).as_primitive();
        let end_type = self.spec.input.columns[self.spec.window_end].ty.arrow();
        let marks = TimestampMicrosecondArray::new(marks.values().clone(), marks.nulls().cloned());
        let mut columns = self.shown(&batch.rows);
        columns.push(Arc::new(marks.with_data_type(end_type)));
        Ok(DeltaBatch { rows: RecordBatch::try_new(SchemaRef::clone(&self.late), columns)?, weights: batch.weights })
    }
}

impl Operator for Gate {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, _: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        let late = self.judge(&batch.rows);
        let in_time = match &late {
            None => batch.clone(),
            Some(late) => {
                out.emit(LATE_PORT, self.late_rows(batch, late)?);
                batch.filter(&arrow::compute::not(late)?)?
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(in_time.len()));
        let columns = self.shown(&in_time.rows);
        let rows = RecordBatch::try_new_with_options(SchemaRef::clone(&self.main), columns, &options)?;
        out.emit(MAIN_PORT, DeltaBatch { rows, weights: in_time.weights });
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, _: &EpochEnd, _: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        Ok(Flow::Done)
    }
}

#[cfg(test)]
mod tests;
