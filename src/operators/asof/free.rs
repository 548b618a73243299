//! Freeing by watermark: left rows that no version comes for, and versions that a newer one has replaced for good.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};

use super::{Asof, LEFT, RIGHT};
use crate::base::Result;
use crate::operators::join::Arriving;
use crate::operators::{EpochEnd, Flow, SLICE_ROWS};
use crate::state::OperatorState;
use crate::types::{EncodedRows, RowCodec, SqlType, Watermark};

/// The table of the times of a side's rows.
const DUE: [usize; 2] = [2, 3];

impl Asof {
    /// Notes the times of rows that were kept.
    pub(super) fn note_due(&self, open: &Arriving, state: &mut OperatorState) -> Result<()> {
        if self.spec.sealed_us.is_none() {
            return Ok(());
        }
        let times = self.spec.after(self.time(open, open.port), false)?;
        let due = state.ordered(DUE[open.port])?;
        times.iter().zip(open.keys.iter()).try_for_each(|(time, key)| due.put(time, key, &[]))
    }

    /// Frees what is due, a slice at a time.
    pub(super) fn free(&self, end: &EpochEnd, state: &mut OperatorState) -> Result<Flow> {
        let Some([left_us, right_us]) = self.spec.sealed_us else { return Ok(Flow::Done) };
        let Some(passed) = latest(end.watermark(RIGHT), right_us) else { return Ok(Flow::Done) };
        match self.free_side(LEFT, passed, state)? {
            Flow::Done => {}
            wait @ (Flow::More | Flow::Fetch(_)) => return Ok(wait),
        }
        // The earliest left row that may still ask, or be asked for, is of the time after this.
        let Some(asked) = latest(end.watermark(LEFT), left_us) else { return Ok(Flow::Done) };
        self.free_side(RIGHT, passed.min(asked), state)
    }

    fn free_side(&self, side: usize, through: i64, state: &mut OperatorState) -> Result<Flow> {
        let bound = encoded(through)?;
        let due = state.ordered(DUE[side])?;
        if due.first_order().is_none_or(|first| first > bound.row(0)) {
            return Ok(Flow::Done);
        }
        if let Some(read) = due.missing_through(bound.row(0)) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let mut keys = EncodedRows::default();
        due.each_through(bound.row(0), |_, key, _| {
            keys.push(key);
            Ok(())
        })?;
        if let Some(read) = state.bag(side)?.missing(&keys) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let (mut orders, mut keys) = (EncodedRows::default(), EncodedRows::default());
        let left = state.ordered(DUE[side])?.take_through(bound.row(0), SLICE_ROWS, |order, key, _| {
            orders.push(order);
            keys.push(key);
            Ok(())
        })?;
        let after = encoded(through.saturating_add(1))?;
        for (order, key) in orders.iter().zip(keys.iter()) {
            match side {
                LEFT => take_rows(state, LEFT, key, order, |row| row.starts_with(order))?,
                _ => {
                    let newest = state.bag(RIGHT)?.last_below(key, after.row(0))?.map(|(row, _)| row.to_vec());
                    if let Some(newest) = newest {
                        take_rows(state, RIGHT, key, &[], |row| row < newest.as_slice())?;
                    }
                }
            }
        }
        Ok(if left { Flow::More } else { Flow::Done })
    }
}

/// The latest time of which nothing comes any more at this watermark.
fn latest(watermark: Watermark, shift_us: i64) -> Option<i64> {
    match watermark {
        Watermark::NONE => None,
        Watermark::END => Some(i64::MAX),
        Watermark(us) => Some(us.saturating_sub(shift_us)),
    }
}

fn encoded(time: i64) -> Result<EncodedRows> {
    let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![time]));
    RowCodec::new(vec![SqlType::Timestamp]).encode(&[column])
}

/// Takes the rows of `key` from `start` on out of a Bag, as long as they are `wanted`.
fn take_rows(
    state: &mut OperatorState,
    bag: usize,
    key: &[u8],
    start: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<()> {
    let bag = state.bag(bag)?;
    let (mut rows, mut weights) = (EncodedRows::default(), Vec::new());
    for (row, weight) in bag.rows_from(key, start)?.take_while(|(row, _)| wanted(row)) {
        rows.push(row);
        weights.push(weight);
    }
    rows.iter().zip(weights).try_for_each(|(row, weight)| bag.add(key, row, -weight).map(|_| ()))
}
