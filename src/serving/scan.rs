//! The physical scan of a snapshot: a stream of its batches, shards dealt over partitions.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};

use crate::state::Snapshot;

/// Reads a snapshot, or the rows of one key prefix.
#[derive(Debug)]
pub(super) struct SnapshotScan {
    snapshot: Snapshot,
    projection: Option<Vec<usize>>,
    /// Encoded key prefix of a point read.
    prefix: Option<Vec<u8>>,
    limit: Option<usize>,
    partitions: usize,
    properties: Arc<PlanProperties>,
}

impl SnapshotScan {
    pub(super) fn new(
        snapshot: Snapshot,
        projection: Option<Vec<usize>>,
        prefix: Option<Vec<u8>>,
        limit: Option<usize>,
        target_partitions: usize,
    ) -> Result<Self> {
        let schema: SchemaRef = match &projection {
            Some(projection) => Arc::new(snapshot.schema().project(projection)?),
            None => snapshot.schema(),
        };
        let whole = prefix.is_none() && limit.is_none();
        let partitions = if whole { snapshot.shards().min(target_partitions).max(1) } else { 1 };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(SnapshotScan { snapshot, projection, prefix, limit, partitions, properties: Arc::new(properties) })
    }

    fn point(&self, prefix: &[u8]) -> crate::base::Result<Option<RecordBatch>> {
        let Some(rows) = self.snapshot.get(prefix)? else { return Ok(None) };
        Ok(Some(match &self.projection {
            Some(projection) => rows.project(projection)?,
            None => rows,
        }))
    }
}

impl DisplayAs for SnapshotScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.prefix.is_some() { "key" } else { "all" };
        write!(f, "SnapshotScan: epoch={}, rows={how}, shards={}", self.snapshot.epoch(), self.snapshot.shards())?;
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SnapshotScan {
    fn name(&self) -> &str {
        "SnapshotScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan of a snapshot has no children") }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.partitions {
            return internal_err!("a scan of {} partitions has no partition {partition}", self.partitions);
        }
        let schema = self.schema();
        if let Some(prefix) = &self.prefix {
            let rows = self.point(prefix).map_err(external).transpose();
            let stream = futures::stream::iter(rows);
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)));
        }
        let (snapshot, projection) = (self.snapshot.clone(), self.projection.clone());
        let batch_rows = context.session_config().batch_size();
        let shards = (partition..snapshot.shards()).step_by(self.partitions);
        let batches = shards.flat_map(move |shard| snapshot.shard_batches(shard, projection.as_deref(), batch_rows));
        let batches = batches.map(|batch| batch.map_err(external));
        let stream = futures::stream::iter(up_to(batches, self.limit));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if args.partition().is_none() {
            let rows = self.snapshot.rows();
            statistics.num_rows = match (&self.prefix, self.limit) {
                (Some(_), _) => Precision::Inexact(1),
                (None, Some(limit)) => Precision::Exact(rows.min(limit)),
                (None, None) => Precision::Exact(rows),
            };
        }
        Ok(Arc::new(statistics))
    }
}

fn external(error: crate::base::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The first `limit` rows of `batches`.
fn up_to(
    batches: impl Iterator<Item = Result<RecordBatch>>,
    limit: Option<usize>,
) -> impl Iterator<Item = Result<RecordBatch>> {
    let mut left = limit.unwrap_or(usize::MAX);
    batches.map_while(move |batch| {
        if left == 0 {
            return None;
        }
        Some(batch.map(|rows| {
            let rows = if rows.num_rows() > left { rows.slice(0, left) } else { rows };
            left -= rows.num_rows();
            rows
        }))
    })
}
