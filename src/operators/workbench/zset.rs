//! Z-sets of rows as canonical bytes: what deltas add up to, for comparing.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use crate::types::{DeltaBatch, RowCodec, Schema, Weights};

/// Rows (canonical bytes) and their weights; no weight is zero.
#[derive(Clone, Debug)]
pub(in crate::operators) struct ZSet {
    pub schema: Schema,
    pub rows: BTreeMap<Vec<u8>, i64>,
}

impl PartialEq for ZSet {
    fn eq(&self, other: &ZSet) -> bool {
        self.rows == other.rows
    }
}

impl ZSet {
    pub fn new(schema: Schema) -> ZSet {
        ZSet { schema, rows: BTreeMap::new() }
    }

    pub fn codec(&self) -> RowCodec {
        RowCodec::new(self.schema.types())
    }

    pub fn add(&mut self, batch: &DeltaBatch) {
        let encoded = self.codec().encode_rows(batch.rows.columns(), batch.len()).unwrap();
        for (row, bytes) in encoded.iter().enumerate() {
            self.add_row(bytes, batch.weights.get(row));
        }
    }

    pub fn add_row(&mut self, bytes: &[u8], weight: i64) {
        let sum = self.rows.entry(bytes.to_vec()).or_default();
        *sum += weight;
        if *sum == 0 {
            self.rows.remove(bytes);
        }
    }

    pub fn add_all(&mut self, other: &ZSet) {
        for (row, weight) in &other.rows {
            self.add_row(row, *weight);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The distinct rows and their weights.
    pub fn batch(&self) -> DeltaBatch {
        let columns = self.codec().decode(self.rows.keys().map(Vec::as_slice)).unwrap();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.arrow(), columns, &options).unwrap();
        DeltaBatch { rows, weights: Weights::from_vec(self.rows.values().copied().collect()) }
    }

    /// One line per row: `+1 (1, 'a')`.
    pub fn lines(&self) -> Vec<String> {
        let batch = self.batch();
        (0..batch.len())
            .map(|row| format!("{:+} {}", batch.weights.get(row), super::row_text(&batch.rows, row)))
            .collect()
    }
}
