//! Published views: what readers see of a relation. Per worker shard a list of immutable sorted runs, one per epoch
//! that changed something, folded together geometrically off the worker thread, and swapped atomically.
//!
//! ```text
//!   runs, oldest first:  [ 0 ..= 41 · 900k rows ][ 42 ..= 57 · 30k ][ 58 ][ 59 ][ 60 ]
//!                          folded                   folded            one per epoch: a snapshot at 58 is possible
//! ```
//! A run is sorted by its rows' canonical encoding, key columns first. Weights of equal rows over all runs add up to the
//! contents: never negative. Nothing is folded above the *floor*: 16 epochs below the visible epoch, and not above a
//! hold. Nor across the last cut: what lies above it is the next cut.

mod cut;
mod fold;
mod run;
mod shard;
mod snapshot;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::base::Result;
use crate::types::{EncodedRows, RowCodec, Schema, SqlType};

pub use cut::ViewCut;
pub use run::Run;
pub use shard::ShardWriter;
pub use snapshot::Snapshot;
pub use view::{Hold, PublishedView, ViewLimits};

/// How the rows of a view are encoded: key columns first, then the others in their order.
#[derive(Debug)]
pub(super) struct Layout {
    schema: SchemaRef,
    /// The place in the schema of each encoded column.
    order: Vec<usize>,
    /// How many of `order` are the key.
    key_columns: usize,
    codec: RowCodec,
    key_types: Vec<SqlType>,
}

impl Layout {
    fn new(schema: &Schema, key: &[usize]) -> Arc<Layout> {
        let key: Vec<usize> = if key.is_empty() { (0..schema.columns.len()).collect() } else { key.to_vec() };
        let others = (0..schema.columns.len()).filter(|column| !key.contains(column));
        let order: Vec<usize> = key.iter().copied().chain(others).collect();
        let types = schema.project(&order).types();
        Arc::new(Layout {
            schema: schema.arrow(),
            key_types: types[..key.len()].to_vec(),
            key_columns: key.len(),
            order,
            codec: RowCodec::new(types),
        })
    }

    fn encode(&self, rows: &RecordBatch) -> Result<EncodedRows> {
        let columns: Vec<ArrayRef> =
            self.order.iter().filter_map(|&column| rows.columns().get(column).cloned()).collect();
        self.codec.encode_rows(&columns, rows.num_rows())
    }

    /// Key columns, or the first of them, as the prefix of encoded rows.
    fn encode_key(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        let types = self.key_types.get(..columns.len()).unwrap_or(&self.key_types);
        RowCodec::new(types.to_vec()).encode(columns)
    }

    /// Encoded rows as a batch of the view's schema.
    fn decode<'a>(&self, rows: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let count = rows.len();
        let decoded = self.codec.decode(rows)?;
        let mut columns: Vec<(usize, ArrayRef)> = self.order.iter().copied().zip(decoded).collect();
        columns.sort_by_key(|(place, _)| *place);
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}
