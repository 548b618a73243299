//! Tables whose rows come from elsewhere than published views: given at once, or read once as a stream.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;

use super::error::from_datafusion;
use crate::base::Result;
use crate::types::Schema;

/// Batches that may wait for the query.
const WAITING_BATCHES: usize = 4;

/// A table of `rows`.
pub fn rows_table(rows: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(from_datafusion)?;
    Ok(Arc::new(table))
}

/// What a stream table reads: each time anew, blocking its thread while it does.
pub type Rows = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A table whose rows `open` gives, once per scan, on a thread that may block.
pub fn stream_table(
    schema: &Schema,
    open: impl Fn() -> Result<Rows> + Send + Sync + 'static,
) -> Result<Arc<dyn TableProvider>> {
    let part = Part { schema: schema.arrow(), open: Arc::new(open) };
    let table = StreamingTable::try_new(Arc::clone(&part.schema), vec![Arc::new(part)]).map_err(from_datafusion)?;
    Ok(Arc::new(table))
}

struct Part {
    schema: SchemaRef,
    open: Arc<dyn Fn() -> Result<Rows> + Send + Sync>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), WAITING_BATCHES);
        let (sender, open, schema) = (builder.tx(), Arc::clone(&self.open), Arc::clone(&self.schema));
        builder.spawn_blocking(move || {
            let external = |error| DataFusionError::External(Box::new(error));
            for rows in open().map_err(external)? {
                let rows = rows.map_err(external)?;
                let rows = RecordBatch::try_new(Arc::clone(&schema), rows.columns().to_vec())?;
                if sender.blocking_send(Ok(rows)).is_err() {
                    break; // The query has ended.
                }
            }
            Ok(())
        });
        builder.build()
    }
}
