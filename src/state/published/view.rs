//! The published view itself: shared by the workers that write it and the readers that take snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::run::{Run, sort};
use super::shard::ShardCell;
use super::{Layout, ShardWriter, Snapshot};
use crate::base::{Error, Result};
use crate::state::codec::{read_weight, split};
use crate::state::{MemoryBudget, TableSpec};
use crate::types::{DeltaBatch, EncodedRows, Epoch, Schema, worker_of};

/// Epochs below the visible one of which snapshots stay possible, so that a reader that has just learned the visible
/// epoch is not overtaken (at the closest spacing of cuts, 5 ms, these are 80 ms).
const FLOOR_SLACK: u64 = 16;

/// What a view may take, and what it is told.
#[derive(Clone, Debug)]
pub struct ViewLimits {
    /// Where its bytes are counted (`state_memory_limit`).
    pub budget: Arc<MemoryBudget>,
    /// The newest epoch that readers are given; nothing newer is folded. Without it: what all shards have closed.
    pub visible: Option<Arc<AtomicU64>>,
    /// Bytes of past changes kept for subscriptions that resume (`view_history_bytes`), over all shards.
    pub history_bytes: usize,
}

impl Default for ViewLimits {
    fn default() -> Self {
        ViewLimits { budget: MemoryBudget::unlimited(), visible: None, history_bytes: 16 << 20 }
    }
}

/// A relation's contents, opened to readers at finished epochs.
#[derive(Debug)]
pub struct PublishedView {
    pub(super) layout: Arc<Layout>,
    schema: Schema,
    key: Vec<usize>,
    pub(super) limits: ViewLimits,
    pub(super) shards: Vec<Arc<ShardCell>>,
    holds: Mutex<BTreeMap<Epoch, usize>>,
}

impl PublishedView {
    /// An empty view over `shards` workers. `key`: places of the key columns; none: all columns.
    pub fn new(schema: Schema, key: Vec<usize>, shards: usize) -> Arc<Self> {
        Self::with_limits(schema, key, shards, ViewLimits::default())
    }

    /// As [`PublishedView::new`] within `limits`.
    pub fn with_limits(schema: Schema, key: Vec<usize>, shards: usize, limits: ViewLimits) -> Arc<Self> {
        let layout = Layout::new(&schema, &key);
        let shards = (0..shards.max(1)).map(|_| Arc::new(ShardCell::new(&limits))).collect();
        Arc::new(PublishedView { layout, schema, key, limits, shards, holds: Mutex::default() })
    }

    /// The first contents come in `epoch`: no subscriber resumes from before it, as what an earlier life of the relation
    /// showed (its job may be filled anew after a crash) is not known here.
    pub fn begin_at(&self, epoch: Epoch) {
        self.shards.iter().for_each(|shard| shard.begin_at(epoch));
    }

    /// The relation's columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Places of the key columns; none: all columns.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// How many shards (workers) write it.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The worker's side of one shard. One writer per shard at a time. `Internal` when there is no such shard.
    pub fn shard(self: &Arc<Self>, shard: usize) -> Result<ShardWriter> {
        if shard >= self.shards.len() {
            return Err(Error::internal(format!(
                "published view of {} shards has no shard {shard}",
                self.shards.len()
            )));
        }
        Ok(ShardWriter::new(Arc::clone(self), shard))
    }

    /// The contents at `epoch`, which the caller knows to be closed (an epoch without change need not have been
    /// closed here). `Limit` when what `epoch` saw has been folded into later contents.
    pub fn snapshot(&self, epoch: Epoch) -> Result<Snapshot> {
        let shards = self.shards.iter().map(|shard| shard.at(epoch)).collect::<Result<Vec<_>>>()?;
        Ok(Snapshot::new(epoch, Arc::clone(&self.layout), shards))
    }

    /// The changes of the epochs above `after` up to `upto`, in order; an epoch may come in several batches.
    /// `Limit` when they are no longer kept (`view_history_bytes`).
    pub fn changes(&self, after: Epoch, upto: Epoch) -> Result<Vec<(Epoch, DeltaBatch)>> {
        let mut runs: Vec<Arc<Run>> = Vec::new();
        for shard in &self.shards {
            shard.history_between(after, upto, &mut runs)?;
        }
        runs.sort_by_key(|run| run.last);
        Ok(runs.iter().flat_map(|run| run.deltas().map(|deltas| (run.last, deltas))).collect())
    }

    /// The oldest epoch from which [`PublishedView::changes`] can still be told.
    pub fn history_start(&self) -> Epoch {
        self.shards.iter().map(|shard| shard.history_start()).max().unwrap_or_default()
    }

    /// Keeps snapshots at `epoch` and above possible until the guard is dropped. `Limit` when it is too late.
    pub fn hold(self: &Arc<Self>, epoch: Epoch) -> Result<Hold> {
        *self.holds.lock().entry(epoch).or_default() += 1;
        let hold = Hold { view: Arc::clone(self), epoch };
        self.snapshot(epoch)?;
        Ok(hold)
    }

    /// The newest epoch that `shard` has closed.
    pub fn upper(&self, shard: usize) -> Epoch {
        self.shards.get(shard).map_or(Epoch::ZERO, |shard| shard.upper())
    }

    /// Rows present as of what each shard has closed.
    pub fn rows(&self) -> usize {
        self.shards.iter().map(|shard| shard.net_rows()).sum()
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.bytes()).sum()
    }

    /// Folds all that may be folded, now and here. The background does it anyhow; tests and idle times call it.
    pub fn fold(&self) -> Result<()> {
        (0..self.shards.len()).try_for_each(|shard| self.fold_shard(shard))
    }

    /// Nothing above this epoch is folded. A shard that has nothing to say need not close epochs, so the visible epoch,
    /// if it is known, counts alone.
    pub(super) fn floor(&self) -> Epoch {
        let newest = match &self.limits.visible {
            Some(visible) => Epoch(visible.load(Ordering::Acquire)),
            None => self.shards.iter().map(|shard| shard.upper()).min().unwrap_or_default(),
        };
        let reached = Epoch(newest.0.saturating_sub(FLOOR_SLACK));
        let held = self.holds.lock().keys().next().copied();
        held.map_or(reached, |held| held.min(reached))
    }

    /// How a view is stored: as a Bag of its key and its other columns.
    pub fn table_spec(&self) -> TableSpec {
        let types = self.layout.codec.types();
        let (key, row) = types.split_at(self.layout.key_columns);
        TableSpec::bag("published", key.to_vec(), row.to_vec())
    }

    /// Encodes key columns for [`Snapshot::get`]: a prefix of the key is enough.
    pub fn encode_key(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.layout.encode_key(columns)
    }

    /// Fills the empty view with the contents at `epoch`: entries as [`super::ViewCut::entries`] gave them, maybe of
    /// several cuts one after another, under whatever number of shards. `Corrupt` when they are not of this view.
    pub fn load<'a>(
        &self,
        epoch: Epoch,
        entries: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<()> {
        let mut shards: Vec<FxHashMap<&'a [u8], i64>> = vec![FxHashMap::default(); self.shards.len()];
        let torn = || Error::corrupt("stored row of a published view is not of the view's types");
        for (key, value) in entries {
            let (&group, row) = key.split_first().ok_or_else(torn)?;
            let shard = &mut shards[worker_of(group, self.shards.len())];
            match value {
                Some(value) => shard.insert(row, read_weight(value)?),
                None => shard.remove(row),
            };
        }
        for (cell, rows) in self.shards.iter().zip(shards) {
            if let Some(weight) = rows.values().find(|&&weight| weight <= 0) {
                return Err(Error::corrupt(format!("stored row of a published view has weight {weight}")));
            }
            cell.restore(epoch, self.loaded_run(epoch, rows)?)?;
        }
        Ok(())
    }

    fn loaded_run(&self, epoch: Epoch, rows: FxHashMap<&[u8], i64>) -> Result<Run> {
        let rows: Vec<(&[u8], i64)> = rows.into_iter().collect();
        let mut batches = Vec::new();
        for part in rows.chunks(super::run::CHUNK_ROWS) {
            let batch = self.layout.decode(part.iter().map(|(row, _)| *row))?;
            batches.push(DeltaBatch::new(batch, part.iter().map(|(_, weight)| *weight).collect())?);
        }
        Ok(Run::new(Epoch::ZERO, epoch, sort(&self.layout, &batches)?))
    }

    /// The key part of an encoded row.
    pub(super) fn key_part<'a>(&self, row: &'a [u8]) -> &'a [u8] {
        split(&self.layout.key_types, row).map_or(row, |(key, _)| key)
    }

    fn release(&self, epoch: Epoch) {
        let mut holds = self.holds.lock();
        if let Some(count) = holds.get_mut(&epoch) {
            *count -= 1;
            if *count == 0 {
                holds.remove(&epoch);
            }
        }
    }
}

/// Keeps a view's snapshots at an epoch possible while it lives.
#[derive(Debug)]
pub struct Hold {
    view: Arc<PublishedView>,
    epoch: Epoch,
}

impl Hold {
    /// The epoch it holds.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.view.release(self.epoch);
    }
}
