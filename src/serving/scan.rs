//! The physical scan of a snapshot: a stream of its batches, shards dealt over partitions.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};

use super::wanted;
use crate::state::Snapshot;

/// Reads a snapshot, or the rows of one key prefix.
#[derive(Debug)]
pub(super) struct SnapshotScan {
    snapshot: Snapshot,
    projection: Option<Vec<usize>>,
    /// Encoded key prefix of a point read.
    prefix: Option<Vec<u8>>,
    limit: Option<usize>,
    /// Filters of joins above, known once these run.
    wanted: Vec<Arc<dyn PhysicalExpr>>,
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
        let (wanted, properties) = (Vec::new(), Arc::new(properties));
        Ok(SnapshotScan { snapshot, projection, prefix, limit, wanted, partitions, properties })
    }

    /// The rows of `shards`: of the keys that are wanted, or all.
    fn rows(
        &self,
        shards: impl Iterator<Item = usize> + Send + 'static,
        batch_rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send + 'static {
        let (snapshot, projection) = (self.snapshot.clone(), self.projection.clone());
        let filters = self.wanted.clone();
        // Asked when the first row is: by then a join knows what it wants.
        std::iter::once_with(move || -> BatchIter {
            let place = |column: usize| projection.as_ref().map_or(column, |places| places[column]);
            match wanted::keys(&filters, &snapshot, place) {
                Err(error) => Box::new(std::iter::once(Err(error))),
                Ok(None) => Box::new(shards.flat_map(move |shard| {
                    let batches = snapshot.shard_batches(shard, projection.as_deref(), batch_rows);
                    batches.map(|batch| batch.map_err(external))
                })),
                Ok(Some(keys)) => {
                    let shards: Vec<usize> = shards.collect();
                    let places = keys
                        .into_iter()
                        .flat_map(move |key| shards.clone().into_iter().map(move |shard| (shard, key.clone())));
                    Box::new(places.filter_map(move |(shard, key)| {
                        let found = snapshot.shard_get(shard, &key).map_err(external).transpose()?;
                        Some(found.and_then(|rows| projected(rows, projection.as_deref())))
                    }))
                }
            }
        })
        .flatten()
    }
}

impl DisplayAs for SnapshotScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.prefix.is_some() { "key" } else { "all" };
        write!(f, "SnapshotScan: epoch={}, rows={how}, shards={}", self.snapshot.epoch(), self.snapshot.shards())?;
        if !self.wanted.is_empty() {
            write!(f, ", or the keys that a join wants")?;
        }
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
            let rows = self.snapshot.get(prefix).map_err(external).transpose();
            let projection = self.projection.clone();
            let rows = rows.map(|rows| projected(rows?, projection.as_deref()));
            let stream = futures::stream::iter(rows);
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)));
        }
        let shards = (partition..self.snapshot.shards()).step_by(self.partitions);
        let batches = self.rows(shards, context.session_config().batch_size());
        let stream = futures::stream::iter(up_to(batches, self.limit));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters = result.parent_filters.iter().map(|filter| Arc::clone(&filter.filter));
        let wanted: Vec<Arc<dyn PhysicalExpr>> =
            filters.filter(|filter| filter.downcast_ref::<DynamicFilterPhysicalExpr>().is_some()).collect();
        let kept_above = FilterPushdownPropagation::all_unsupported(result);
        if phase != FilterPushdownPhase::Post || wanted.is_empty() || self.prefix.is_some() || self.limit.is_some() {
            return Ok(kept_above);
        }
        let scan = SnapshotScan {
            snapshot: self.snapshot.clone(),
            projection: self.projection.clone(),
            prefix: None,
            limit: None,
            wanted,
            partitions: self.partitions,
            properties: Arc::clone(&self.properties),
        };
        Ok(kept_above.with_updated_node(Arc::new(scan)))
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

type BatchIter = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

fn projected(rows: RecordBatch, projection: Option<&[usize]>) -> Result<RecordBatch> {
    match projection {
        Some(projection) => Ok(rows.project(projection)?),
        None => Ok(rows),
    }
}

pub(super) fn external(error: crate::base::Error) -> DataFusionError {
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
