//! A snapshot as a table of DataFusion.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::lookup::{KeyFilter, key_prefix};
use super::scan::SnapshotScan;
use crate::state::Snapshot;

/// One relation at one epoch. Equality on the first key columns becomes a point read.
#[derive(Debug)]
pub struct SnapshotTable {
    snapshot: Snapshot,
}

impl SnapshotTable {
    /// `snapshot` as a table.
    pub fn new(snapshot: Snapshot) -> Self {
        SnapshotTable { snapshot }
    }

    /// What it shows.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        self.snapshot.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let schema = self.snapshot.schema();
        let supported = |filter: &&Expr| match KeyFilter::of(filter, &schema) {
            // The filter stays above the scan: a point read may show it more than it wants, never less.
            Some(filter) if self.snapshot.key_columns().contains(&filter.column) => {
                TableProviderFilterPushDown::Inexact
            }
            Some(_) | None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(supported).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.snapshot.schema();
        let keys: Vec<KeyFilter> = filters.iter().filter_map(|filter| KeyFilter::of(filter, &schema)).collect();
        let prefix = key_prefix(&self.snapshot, &keys).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let partitions = state.config().target_partitions();
        Ok(Arc::new(SnapshotScan::new(self.snapshot.clone(), projection.cloned(), prefix, limit, partitions)?))
    }
}
