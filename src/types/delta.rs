//! Delta batches: Arrow rows with a weight each, all of one epoch. What they add up to is a Z-set.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter_record_batch, take_arrays};
use arrow::datatypes::SchemaRef;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

use super::{RowCodec, Schema};
use crate::base::{Error, Result};

/// How often each row's presence changes. Append-only edges carry no buffer at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Weights {
    /// Every row is inserted once.
    Ones,
    /// One weight per row; never zero in a batch that leaves an operator.
    Each(ScalarBuffer<i64>),
}

impl Weights {
    /// The weight of row `row`.
    pub fn get(&self, row: usize) -> i64 {
        match self {
            Weights::Ones => 1,
            Weights::Each(weights) => weights[row],
        }
    }

    /// From one weight per row; all ones become [`Weights::Ones`].
    pub fn from_vec(weights: Vec<i64>) -> Weights {
        if weights.iter().all(|&weight| weight == 1) { Weights::Ones } else { Weights::Each(weights.into()) }
    }
}

/// Rows × weights of one epoch (which epoch, the host says by the order of its calls).
#[derive(Clone, Debug)]
pub struct DeltaBatch {
    /// The rows: `rows × columns`.
    pub rows: RecordBatch,
    /// A weight per row.
    pub weights: Weights,
}

impl DeltaBatch {
    /// Every row of `rows` inserted once.
    pub fn inserts(rows: RecordBatch) -> Self {
        DeltaBatch { rows, weights: Weights::Ones }
    }

    /// Rows with a weight each. Fails when the counts differ.
    pub fn new(rows: RecordBatch, weights: Vec<i64>) -> Result<Self> {
        if rows.num_rows() != weights.len() {
            return Err(Error::internal(format!(
                "delta batch of {} rows carries {} weights",
                rows.num_rows(),
                weights.len()
            )));
        }
        Ok(DeltaBatch { rows, weights: Weights::from_vec(weights) })
    }

    /// No rows of `schema`.
    pub fn empty(schema: SchemaRef) -> Self {
        DeltaBatch::inserts(RecordBatch::new_empty(schema))
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the rows and weights hold (shared buffers are counted in full).
    pub fn bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::Ones => 0,
            Weights::Each(weights) => weights.len() * 8,
        };
        self.rows.get_array_memory_size() + weights
    }

    /// The rows at `indices`, in that order, with their weights.
    pub fn take(&self, indices: &[u64]) -> Result<DeltaBatch> {
        let index_array = UInt64Array::from(indices.to_vec());
        let columns = take_arrays(self.rows.columns(), &index_array, None)?;
        let rows = batch_of(self.rows.schema(), columns, indices.len())?;
        let weights = match &self.weights {
            Weights::Ones => Weights::Ones,
            Weights::Each(weights) => Weights::from_vec(indices.iter().map(|&i| weights[i as usize]).collect()),
        };
        Ok(DeltaBatch { rows, weights })
    }

    /// The rows for which `mask` is true (NULL counts as false).
    pub fn filter(&self, mask: &BooleanArray) -> Result<DeltaBatch> {
        let rows = filter_record_batch(&self.rows, mask)?;
        let weights = match &self.weights {
            Weights::Ones => Weights::Ones,
            Weights::Each(weights) => {
                let kept = (0..mask.len()).filter(|&i| mask.is_valid(i) && mask.value(i)).map(|i| weights[i]);
                Weights::from_vec(kept.collect())
            }
        };
        Ok(DeltaBatch { rows, weights })
    }

    /// Rows `offset .. offset + length`, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> DeltaBatch {
        let weights = match &self.weights {
            Weights::Ones => Weights::Ones,
            Weights::Each(weights) => Weights::Each(weights.slice(offset, length)),
        };
        DeltaBatch { rows: self.rows.slice(offset, length), weights }
    }

    /// All batches one after another. Fails when their schemas differ; `schema` is that of the result.
    pub fn concat(schema: &SchemaRef, batches: &[DeltaBatch]) -> Result<DeltaBatch> {
        let rows = arrow::compute::concat_batches(schema, batches.iter().map(|batch| &batch.rows))?;
        if batches.iter().all(|batch| batch.weights == Weights::Ones) {
            return Ok(DeltaBatch::inserts(rows));
        }
        let weights = batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.weights.get(row)));
        let weights = Weights::from_vec(weights.collect());
        Ok(DeltaBatch { rows, weights })
    }

    /// Adds the weights of equal rows and drops zeros. Rows keep the order of their first appearance.
    pub fn consolidate(&self) -> Result<DeltaBatch> {
        if self.len() < 2 && self.weights == Weights::Ones {
            return Ok(self.clone());
        }
        let codec = RowCodec::new(Schema::from_arrow(&self.rows.schema())?.types());
        let encoded = codec.encode(self.rows.columns())?;
        let mut slots: HashTable<usize> = HashTable::with_capacity(self.len());
        let mut firsts: Vec<(u64, i64)> = Vec::with_capacity(self.len());
        for row in 0..self.len() {
            let bytes = encoded.row(row);
            let hash = FxBuildHasher.hash_one(bytes);
            let same = |&slot: &usize| encoded.row(firsts[slot].0 as usize) == bytes;
            match slots.find(hash, same).copied() {
                Some(slot) => firsts[slot].1 += self.weights.get(row),
                None => {
                    let rehash = |&slot: &usize| FxBuildHasher.hash_one(encoded.row(firsts[slot].0 as usize));
                    slots.insert_unique(hash, firsts.len(), rehash);
                    firsts.push((row as u64, self.weights.get(row)));
                }
            }
        }
        firsts.retain(|&(_, weight)| weight != 0);
        let indices: Vec<u64> = firsts.iter().map(|&(row, _)| row).collect();
        let rows = self.take(&indices)?.rows;
        DeltaBatch::new(rows, firsts.into_iter().map(|(_, weight)| weight).collect())
    }

    /// The weights as an Arrow column (for SUBSCRIBE and for edges that leave the process).
    pub fn weight_array(&self) -> Int64Array {
        match &self.weights {
            Weights::Ones => Int64Array::from_value(1, self.len()),
            Weights::Each(weights) => Int64Array::new(weights.clone(), None),
        }
    }
}

/// A batch of `columns`; the row count is given because there may be no column.
fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;
    use crate::types::{Column, SqlType};

    #[test]
    fn consolidate_adds_weights() {
        let schema = Schema::new(vec![Column::new("a", SqlType::BigInt), Column::new("b", SqlType::Varchar)]);
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(1), None, Some(2)]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "x", "y", "z"]));
        let rows = RecordBatch::try_new(schema.arrow(), vec![a, b]).unwrap();
        let batch = DeltaBatch::new(rows, vec![1, 1, 1, -1, 1]).unwrap().consolidate().unwrap();
        assert_eq!(batch.len(), 2);
        assert_eq!((batch.weights.get(0), batch.weights.get(1)), (2, 1));
    }
}
