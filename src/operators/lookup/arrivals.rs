//! Left rows that are never taken back: they wait as the batches that they came in, and are looked up when the epoch ends.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use crate::base::Result;
use crate::operators::SLICE_ROWS;
use crate::operators::partition::PartitionCodec;
use crate::state::BagTable;
use crate::types::{DeltaBatch, EncodedRows};

/// The batches of the open epoch, oldest first.
#[derive(Default)]
pub(super) struct Arrivals {
    waiting: VecDeque<Arrived>,
    bytes: usize,
}

struct Arrived {
    batch: DeltaBatch,
    keys: EncodedRows,
    /// The first row that is still to be looked up.
    next: usize,
}

impl Arrived {
    fn bytes(&self) -> usize {
        self.batch.bytes() + self.keys.bytes()
    }

    /// The rows that are looked up next.
    fn slice(&self) -> Range<usize> {
        self.next..(self.next + SLICE_ROWS).min(self.batch.len())
    }
}

/// Where right rows are found, and how they are shown.
pub(super) struct Rights<'a> {
    /// Them.
    pub bag: &'a BagTable,
    /// How they are kept.
    pub codec: &'a PartitionCodec,
    /// Whether left rows without any are shown.
    pub outer: bool,
    /// The columns of both sides.
    pub output: &'a SchemaRef,
}

impl Arrivals {
    /// Takes in a batch beside its keys.
    pub fn push(&mut self, batch: DeltaBatch, keys: EncodedRows) {
        let arrived = Arrived { batch, keys, next: 0 };
        self.bytes += arrived.bytes();
        self.waiting.push_back(arrived);
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether all are looked up.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The keys that [`Arrivals::look_up`] asks for next.
    pub fn keys(&self) -> EncodedRows {
        let mut keys = EncodedRows::default();
        if let Some(arrived) = self.waiting.front() {
            arrived.slice().for_each(|row| keys.push(arrived.keys.row(row)));
        }
        keys
    }

    /// The next rows beside their right rows; `None` if nothing is shown for them.
    pub fn look_up(&mut self, rights: &Rights<'_>) -> Result<Option<DeltaBatch>> {
        let Some(arrived) = self.waiting.front_mut() else { return Ok(None) };
        let mut found: HashMap<&[u8], Range<usize>> = HashMap::new();
        let (mut keys, mut rows, mut times) = (EncodedRows::default(), EncodedRows::default(), Vec::new());
        let (mut lefts, mut beside, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = arrived.next;
        for row in arrived.slice() {
            if weights.len() >= SLICE_ROWS {
                break;
            }
            next = row + 1;
            let key = arrived.keys.row(row);
            if !found.contains_key(key) {
                let from = rows.len();
                for (right, weight) in rights.bag.rows(key)? {
                    keys.push(key);
                    rows.push(right);
                    times.push(weight);
                }
                found.insert(key, from..rows.len());
            }
            let range = found[key].clone();
            let weight = arrived.batch.weights.get(row);
            if range.is_empty() && rights.outer {
                lefts.push(row as u64);
                beside.push(None);
                weights.push(weight);
            }
            for right in range {
                lefts.push(row as u64);
                beside.push(Some(right as u64));
                weights.push(weight.saturating_mul(times[right]));
            }
        }
        let shown = match weights.is_empty() {
            true => None,
            false => {
                let mut columns = arrived.batch.take(&lefts)?.rows.columns().to_vec();
                let beside = UInt64Array::from(beside);
                for right in rights.codec.decode(keys.iter(), rows.iter())? {
                    columns.push(take(right.as_ref(), &beside, None)?);
                }
                let options = RecordBatchOptions::new().with_row_count(Some(weights.len()));
                let rows = RecordBatch::try_new_with_options(Arc::clone(rights.output), columns, &options)?;
                Some(DeltaBatch::new(rows, weights)?)
            }
        };
        arrived.next = next;
        if next == arrived.batch.len() {
            self.bytes -= arrived.bytes();
            self.waiting.pop_front();
        }
        Ok(shown)
    }
}
