//! Partitions of windows: noted when they change, freed when the watermark has closed their window.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use serde::{Deserialize, Serialize};

use super::{PartitionCodec, RowOrder};
use crate::base::{Error, Result};
use crate::operators::spec::names;
use crate::operators::{Flow, SLICE_ROWS};
use crate::state::{OperatorState, TableSpec};
use crate::types::{EncodedRows, RowCodec, Schema, SqlType, Watermark};

/// When a partition's state is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeOn {
    /// The place in the partition of a timestamp.
    pub place: usize,
    /// What is to be added to it to get the end of the window.
    pub shift_us: i64,
}

impl FreeOn {
    /// What bounds the state, behind what else does.
    pub(in crate::operators) fn text(&self, input: &Schema, order: &RowOrder) -> String {
        let column = order.partition.get(self.place).map_or_else(String::new, |&column| names(input, &[column]));
        format!(", while the watermark has not closed the window of {column}")
    }

    /// The Ordered table (order: the window's column, key: partition) that notes windows.
    pub(in crate::operators) fn table(&self, codec: &PartitionCodec) -> Result<TableSpec> {
        let ty = codec.key_types().get(self.place).filter(|ty| ty.is_timestamp()).cloned();
        let ty = ty.ok_or_else(|| Error::internal("partitions are freed by a column that is no timestamp"))?;
        Ok(TableSpec::ordered("windows", vec![ty], codec.key_types().to_vec(), Vec::new()))
    }
}

/// The windows of an operator whose table `rows` is a Bag by partition, and `windows` that of [`FreeOn::table`].
pub(in crate::operators) struct Windows {
    free: Option<FreeOn>,
    rows: usize,
    windows: usize,
    /// Windows up to this (canonical bytes) were freed by this operator.
    closed: Vec<u8>,
}

impl Windows {
    pub fn new(free: Option<FreeOn>, rows: usize, windows: usize) -> Windows {
        Windows { free, rows, windows, closed: Vec::new() }
    }

    /// Notes when the partitions of `keys` will be freed.
    pub fn note(&self, keys: &EncodedRows, codec: &PartitionCodec, state: &mut OperatorState) -> Result<()> {
        let Some(free) = self.free.filter(|_| !keys.is_empty()) else { return Ok(()) };
        let columns = codec.decode_keys(keys.iter())?;
        let ends = RowCodec::new(vec![codec.key_types()[free.place].clone()]);
        let windows = state.ordered(self.windows)?;
        for (order, key) in ends.encode(&columns[free.place..=free.place])?.iter().zip(keys.iter()) {
            if order <= self.closed.as_slice() {
                return Err(Error::internal("a row came for a window that was closed and freed").with_detail(
                    "The watermark had reached the window's end, so the gate should have called the row late.",
                ));
            }
            windows.put(order, key, &[])?;
        }
        Ok(())
    }

    /// Frees the next partitions whose window `watermark` has closed.
    pub fn close_slice(&mut self, watermark: Watermark, state: &mut OperatorState) -> Result<Flow> {
        let bound = self.bound(watermark)?;
        if bound.is_empty() {
            return Ok(Flow::Done);
        }
        let flow = self.free_through(&bound, state)?;
        match flow {
            Flow::Done => self.closed = std::mem::take(&mut self.closed).max(bound),
            Flow::More | Flow::Fetch(_) => {}
        }
        Ok(flow)
    }

    /// The canonical bytes of the latest window column whose window has closed; empty if none has.
    fn bound(&self, watermark: Watermark) -> Result<Vec<u8>> {
        let Some(free) = self.free.filter(|_| watermark != Watermark::NONE) else { return Ok(Vec::new()) };
        let last = watermark.shifted(free.shift_us.saturating_neg());
        let last = (watermark != Watermark::END).then_some(last.0);
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![last]));
        Ok(RowCodec::new(vec![SqlType::Timestamp]).encode(&[column])?.row(0).to_vec())
    }

    fn free_through(&self, bound: &[u8], state: &mut OperatorState) -> Result<Flow> {
        let windows = state.ordered(self.windows)?;
        if windows.first_order().is_none_or(|first| first > bound) {
            return Ok(Flow::Done);
        }
        if let Some(read) = windows.missing_through(bound) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let mut keys = EncodedRows::default();
        windows.each_through(bound, |_, key, _| {
            keys.push(key);
            Ok(())
        })?;
        if let Some(read) = state.bag(self.rows)?.missing(&keys) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let mut taken = EncodedRows::default();
        let left = state.ordered(self.windows)?.take_through(bound, SLICE_ROWS, |_, key, _| {
            taken.push(key);
            Ok(())
        })?;
        let bag = state.bag(self.rows)?;
        taken.iter().try_for_each(|key| bag.delete_key(key))?;
        Ok(if left { Flow::More } else { Flow::Done })
    }
}
