//! What every part of the engine may look at: settings, clock, catalog, and how far epochs are visible.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::Settings;
use crate::base::clock::Clock;
use crate::catalog::Catalog;
use crate::state::{MemoryBudget, ViewLimits};
use crate::storage::DataDir;
use crate::types::{JobId, RelationId};

use super::author::Numbers;
use super::request::SharedCatalog;
use super::secrets::Stored;

/// Shared by reference between the coordinator, sessions and tasks.
#[derive(Debug)]
pub(super) struct Shared {
    /// The settings of the process.
    pub settings: Settings,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The data directory, locked while this lives.
    pub data_dir: DataDir,
    /// How many workers run.
    pub workers: usize,
    /// The present catalog.
    pub catalog: SharedCatalog,
    /// Memory for state.
    pub budget: Arc<MemoryBudget>,
    /// Views fold nothing that readers may still ask for: nothing above this epoch.
    pub foldable: Arc<AtomicU64>,
    /// The smallest numbers that name nothing.
    pub next_relation: AtomicU64,
    /// As [`Shared::next_relation`].
    pub next_job: AtomicU64,
}

impl Numbers for Shared {
    fn relation(&self) -> RelationId {
        RelationId(self.next_relation.fetch_add(1, Ordering::Relaxed))
    }

    fn job(&self) -> JobId {
        JobId(self.next_job.fetch_add(1, Ordering::Relaxed))
    }
}

impl Shared {
    /// What a published view may take.
    pub fn view_limits(&self) -> ViewLimits {
        ViewLimits {
            budget: Arc::clone(&self.budget),
            visible: Some(Arc::clone(&self.foldable)),
            history_bytes: self.settings.view_history_bytes.0 as usize,
        }
    }

    /// The secrets of `catalog` with their values.
    pub fn secrets<'a>(&self, catalog: &'a Catalog) -> Stored<'a> {
        Stored { catalog, files: self.data_dir.secrets() }
    }

    /// Where run files lie.
    pub fn runs_dir(&self) -> PathBuf {
        self.data_dir.runs()
    }
}
