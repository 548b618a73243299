//! All relations of a statement, at one epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::SnapshotTable;
use crate::base::{Error, Result};
use crate::state::{PublishedView, Snapshot};
use crate::types::{Epoch, RelationId};

/// Snapshots of relations, all of the same epoch. Holds what it shows in memory; drop it when the statement ends.
#[derive(Clone, Debug)]
pub struct ReadSet {
    epoch: Epoch,
    snapshots: BTreeMap<RelationId, Snapshot>,
}

impl ReadSet {
    /// Takes all of `views` at `epoch`, which is visible in each. `Limit` when one no longer has it: then take a newer
    /// epoch and try again.
    pub fn at<'a>(
        epoch: Epoch,
        views: impl IntoIterator<Item = (RelationId, &'a Arc<PublishedView>)>,
    ) -> Result<ReadSet> {
        let snapshots = views.into_iter().map(|(id, view)| Ok((id, view.snapshot(epoch)?)));
        Ok(ReadSet { epoch, snapshots: snapshots.collect::<Result<_>>()? })
    }

    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The snapshot of `relation`. `Internal` when it was not asked for.
    pub fn snapshot(&self, relation: RelationId) -> Result<&Snapshot> {
        self.snapshots.get(&relation).ok_or_else(|| {
            Error::internal(format!("relation {relation} is not among those read at epoch {}", self.epoch))
        })
    }

    /// `relation` as a table of DataFusion.
    pub fn table(&self, relation: RelationId) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(SnapshotTable::new(self.snapshot(relation)?.clone())))
    }

    /// Rows of all snapshots.
    pub fn rows(&self) -> usize {
        self.snapshots.values().map(Snapshot::rows).sum()
    }
}
