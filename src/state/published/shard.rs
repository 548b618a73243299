//! One shard of a published view: its runs, its history, and the worker's side that closes epochs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use super::run::{Run, sort};
use super::snapshot::Visible;
use super::{PublishedView, ViewCut, ViewLimits, fold};
use crate::base::{Error, Result};
use crate::state::budget::Account;
use crate::types::{DeltaBatch, Epoch};

/// The runs of a shard at one moment; replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct RunList {
    /// Oldest first.
    pub(super) runs: Vec<Arc<Run>>,
    /// Runs up to this epoch are in the last cut.
    pub(super) cut: Epoch,
    /// Which rows are present, worked out by the first reader.
    visible: OnceLock<Arc<Visible>>,
}

impl RunList {
    pub(super) fn new(runs: Vec<Arc<Run>>, cut: Epoch) -> Self {
        RunList { runs, cut, visible: OnceLock::new() }
    }

    pub(super) fn visible(&self) -> Result<Arc<Visible>> {
        if let Some(visible) = self.visible.get() {
            return Ok(Arc::clone(visible));
        }
        let visible = Arc::new(Visible::of(&self.runs)?);
        Ok(Arc::clone(self.visible.get_or_init(|| visible)))
    }
}

#[derive(Debug)]
pub(super) struct ShardCell {
    list: RwLock<Arc<RunList>>,
    upper: AtomicU64,
    net_rows: AtomicI64,
    history: Mutex<History>,
    account: Mutex<Account>,
    /// Whether a fold is queued or under way.
    pub(super) folding: AtomicBool,
    /// Why this shard can no longer be trusted; told to the writer at its next epoch.
    broken: Mutex<Option<String>>,
}

/// The runs of single epochs, for subscriptions that resume. Shares the runs not yet folded.
#[derive(Debug, Default)]
struct History {
    runs: VecDeque<Arc<Run>>,
    bytes: usize,
    /// Changes above this epoch are all here.
    start: Epoch,
}

impl ShardCell {
    pub(super) fn new(limits: &ViewLimits) -> Self {
        ShardCell {
            list: RwLock::default(),
            upper: AtomicU64::new(0),
            net_rows: AtomicI64::new(0),
            history: Mutex::default(),
            account: Mutex::new(Account::new(Arc::clone(&limits.budget))),
            folding: AtomicBool::new(false),
            broken: Mutex::new(None),
        }
    }

    pub(super) fn upper(&self) -> Epoch {
        Epoch(self.upper.load(Ordering::Acquire))
    }

    pub(super) fn net_rows(&self) -> usize {
        usize::try_from(self.net_rows.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(super) fn list(&self) -> Arc<RunList> {
        Arc::clone(&self.list.read())
    }

    /// The runs that make up the contents at `epoch`.
    pub(super) fn at(&self, epoch: Epoch) -> Result<Arc<RunList>> {
        let list = self.list();
        let count = list.runs.partition_point(|run| run.last <= epoch);
        match list.runs.get(count) {
            None => Ok(list),
            Some(next) if next.first > epoch => {
                Ok(Arc::new(RunList::new(list.runs[..count].to_vec(), list.cut.min(epoch))))
            }
            Some(next) => Err(Error::limit(format!("contents at epoch {epoch} are no longer kept"))
                .with_detail(format!("They were folded into those of epoch {}.", next.last))
                .with_hint("Read again: a new statement reads the newest epoch.")),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let list = self.list();
        // History shares the runs above the last fold with the list; only what the list has folded away counts.
        let single = list.runs.iter().filter(|run| run.first == run.last).map(|run| run.bytes).sum::<usize>();
        let runs: usize = list.runs.iter().map(|run| run.bytes).sum();
        runs + self.history.lock().bytes.saturating_sub(single)
    }

    pub(super) fn settle(&self) -> Result<()> {
        let bytes = self.bytes();
        self.account.lock().set(bytes)
    }

    pub(super) fn history_start(&self) -> Epoch {
        self.history.lock().start
    }

    /// Nothing is known of epochs before `epoch`, in which the first contents come.
    pub(super) fn begin_at(&self, epoch: Epoch) {
        self.history.lock().start = epoch;
    }

    pub(super) fn history_between(&self, after: Epoch, upto: Epoch, runs: &mut Vec<Arc<Run>>) -> Result<()> {
        let history = self.history.lock();
        if after < history.start && after < upto {
            return Err(Error::limit(format!("changes after epoch {after} are no longer kept"))
                .with_detail(format!("The oldest kept are those after epoch {}.", history.start))
                .with_hint("Subscribe with a snapshot, or raise the setting view_history_bytes."));
        }
        let from = history.runs.partition_point(|run| run.last <= after);
        let kept = history.runs.iter().skip(from).take_while(|run| run.last <= upto);
        runs.extend(kept.cloned());
        Ok(())
    }

    /// Puts a run that holds all contents up to `epoch` into the empty shard.
    pub(super) fn restore(&self, epoch: Epoch, run: Run) -> Result<()> {
        let mut list = self.list.write();
        if !list.runs.is_empty() || self.upper() > epoch {
            return Err(Error::internal("published view was filled twice"));
        }
        self.net_rows.store(run.net, Ordering::Relaxed);
        let runs = if run.rows == 0 { Vec::new() } else { vec![Arc::new(run)] };
        *list = Arc::new(RunList::new(runs, epoch));
        drop(list);
        self.history.lock().start = epoch;
        self.upper.store(epoch.0, Ordering::Release);
        self.settle()
    }

    /// Puts `merged` in the place of `parts`, if they are still neighbours in the list: another thread may have folded
    /// some of them meanwhile, and then its work stays.
    pub(super) fn replace(&self, parts: &[Arc<Run>], merged: Run) {
        let mut list = self.list.write();
        let at = list.runs.iter().position(|run| parts.first().is_some_and(|first| Arc::ptr_eq(run, first)));
        let Some(at) = at else { return };
        let there = list.runs.get(at..at + parts.len());
        if !there.is_some_and(|there| there.iter().zip(parts).all(|(run, part)| Arc::ptr_eq(run, part))) {
            return;
        }
        let mut runs = list.runs.clone();
        let merged = (merged.rows > 0).then(|| Arc::new(merged));
        runs.splice(at..at + parts.len(), merged);
        *list = Arc::new(RunList::new(runs, list.cut));
    }

    pub(super) fn note_broken(&self, why: String) {
        self.broken.lock().get_or_insert(why);
    }

    fn push(&self, run: Run, history_bytes: usize) {
        let run = Arc::new(run);
        {
            let mut history = self.history.lock();
            history.bytes += run.bytes;
            history.runs.push_back(Arc::clone(&run));
            while history.bytes > history_bytes
                && let Some(oldest) = history.runs.pop_front()
            {
                history.bytes -= oldest.bytes;
                history.start = oldest.last;
            }
        }
        self.net_rows.fetch_add(run.net, Ordering::Relaxed);
        let mut list = self.list.write();
        let mut runs = Vec::with_capacity(list.runs.len() + 1);
        runs.extend(list.runs.iter().cloned());
        runs.push(run);
        *list = Arc::new(RunList::new(runs, list.cut));
    }
}

/// The worker's side of one shard.
#[derive(Debug)]
pub struct ShardWriter {
    view: Arc<PublishedView>,
    shard: usize,
}

impl ShardWriter {
    pub(super) fn new(view: Arc<PublishedView>, shard: usize) -> Self {
        ShardWriter { view, shard }
    }

    /// The view it writes.
    pub fn view(&self) -> &Arc<PublishedView> {
        &self.view
    }

    fn cell(&self) -> &ShardCell {
        &self.view.shards[self.shard]
    }

    /// Ends `epoch` with its changes: consolidates them, shows them to readers of `epoch`, and returns them, sorted,
    /// for taps and sinks. An epoch without change costs nothing, and need not be closed at all.
    ///
    /// `Internal` when a row of a keyed view would appear twice, a weight become negative, or epochs go backwards;
    /// `Limit` when `state_memory_limit` is passed.
    pub fn close(&mut self, epoch: Epoch, deltas: Vec<DeltaBatch>) -> Result<Vec<DeltaBatch>> {
        let cell = self.cell();
        if epoch <= cell.upper() {
            return Err(Error::internal(format!("epoch {epoch} was closed after epoch {}", cell.upper())));
        }
        if let Some(why) = cell.broken.lock().clone() {
            return Err(Error::internal(why));
        }
        let chunks =
            if deltas.iter().all(DeltaBatch::is_empty) { Vec::new() } else { sort(&self.view.layout, &deltas)? };
        if chunks.is_empty() {
            cell.upper.store(epoch.0, Ordering::Release);
            return Ok(Vec::new());
        }
        drop(deltas);
        let run = Run::new(epoch, epoch, chunks);
        self.check_key(&run)?;
        let changes: Vec<DeltaBatch> = run.deltas().collect();
        cell.push(run, self.view.limits.history_bytes / self.view.shards.len());
        cell.upper.store(epoch.0, Ordering::Release);
        cell.settle()?;
        fold::schedule(&self.view, self.shard);
        Ok(changes)
    }

    /// Of a keyed view, an epoch inserts at most one row per key, once, and takes back at most one.
    fn check_key(&self, run: &Run) -> Result<()> {
        // A key of all columns is an order, and rows may be there several times.
        if self.view.key().is_empty() || self.view.key().len() == self.view.schema().columns.len() {
            return Ok(());
        }
        let mut last: (Option<&[u8]>, [bool; 2]) = (None, [false; 2]);
        for chunk in &run.chunks {
            for (i, row) in chunk.keys.iter().enumerate() {
                let (key, weight) = (self.view.key_part(row), chunk.weights.get(i));
                if last.0 != Some(key) {
                    last = (Some(key), [false; 2]);
                }
                let seen = &mut last.1[usize::from(weight > 0)];
                if weight.abs() != 1 || std::mem::replace(seen, true) {
                    return Err(Error::internal("a key of a published view has two rows").with_detail(format!(
                        "Epoch {} adds weight {weight} to a row of a key it had changed.",
                        run.last
                    )));
                }
            }
        }
        Ok(())
    }

    /// The newest epoch closed.
    pub fn upper(&self) -> Epoch {
        self.cell().upper()
    }

    /// The rows changed since the last cut, up to the newest epoch closed: pointers only, to be written elsewhere.
    pub fn cut(&mut self) -> ViewCut {
        let cell = self.cell();
        let upto = cell.upper();
        let mut list = cell.list.write();
        let before = Arc::clone(&list);
        *list = Arc::new(RunList::new(before.runs.clone(), upto));
        drop(list);
        ViewCut::new(Arc::clone(&self.view), before, upto)
    }
}
