//! The host of one source: who gets what, up to where, labelled with which epoch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::lone;
use super::rows::Ready;
use super::shared;
use super::spec::{
    Attach, Inlet, RecordedCut, SourceCut, SourceEvent, SourceSpec, SourceState, SourceStats, SplitCut, SplitPoint,
    SplitStats, SubscriberId, Wanted,
};
use crate::base::telemetry::{Phase, PhaseGuard};
use crate::base::{Error, Result};
use crate::dataflow::Close;
use crate::types::{Epoch, Position, Watermark};

/// Told what happens at a source.
pub(super) type Listener = Box<dyn Fn(SourceEvent) + Send + Sync>;

/// One source, read once for all its jobs. See the module's words.
pub struct SourceHost {
    pub(super) spec: Arc<SourceSpec>,
    hub: Mutex<Hub>,
    /// Someone waits for room, a pause to end, or the end of a nap.
    pub(super) changed: Condvar,
    listener: Listener,
}

/// A split as the shared reader has handed it over.
pub(super) struct SplitState {
    pub(super) point: SplitPoint,
    pub(super) ended: bool,
    /// Since when its end was reached and nothing was queued.
    pub(super) waiting_since: Option<Instant>,
    /// When the last look that found nothing more began.
    pub(super) looked: Option<Instant>,
    idle: bool,
    pub(super) state: SourceState,
    pub(super) reading: bool,
    records: u64,
    faults: u64,
    bytes: u64,
}

/// A job fed by the shared reader.
pub(super) struct Subscriber {
    pub(super) id: SubscriberId,
    pub(super) inlet: Arc<dyn Inlet>,
    pub(super) wanted: Wanted,
    /// The newest epoch it was told the end of.
    pub(super) closed: Epoch,
    /// Since when it has held up others.
    pub(super) full_since: Option<Instant>,
}

/// A job with a reader of its own.
pub(super) struct Lone {
    /// Cuts that it has not passed, or whose close it has not been told.
    pub(super) cuts: VecDeque<RecordedCut>,
    /// Why it does not get on, if so.
    pub(super) trouble: Option<String>,
}

/// What the host's lock guards.
pub(super) struct Hub {
    pub(super) open: Epoch,
    pub(super) splits: Vec<SplitState>,
    pub(super) shared: Vec<Subscriber>,
    pub(super) alone: BTreeMap<SubscriberId, Lone>,
    /// How many lone readers ask the shared one to hold still while they catch up.
    pub(super) pauses: usize,
    pub(super) stopped: bool,
    merged: Watermark,
    cut_merged: Watermark,
    epoch_rows: u64,
    epoch_faults: u64,
    moved: bool,
    told_full: bool,
    next_id: u64,
}

impl SourceHost {
    /// A host whose shared reader stands at `at` (the newest cut, or [`SourceSpec::start`]), in the epoch `open` that
    /// the next cut will end, with the merged watermark of the newest cut. Nothing is read before a job is attached.
    /// `listener` is called from any thread and must return at once, without calling the host.
    pub fn new(
        spec: Arc<SourceSpec>,
        at: Vec<SplitCut>,
        merged: Watermark,
        open: Epoch,
        listener: impl Fn(SourceEvent) + Send + Sync + 'static,
    ) -> Result<Arc<SourceHost>> {
        let splits = spec.start()?.into_iter().map(|start| {
            let known = at.iter().find(|cut| cut.point.split == start.split);
            let ended = known.is_some_and(|cut| cut.ended);
            SplitState {
                point: known.map_or(start, |cut| cut.point.clone()),
                ended,
                waiting_since: None,
                looked: None,
                idle: known.is_some_and(|cut| cut.idle),
                state: if ended { SourceState::Finished } else { SourceState::Waiting },
                reading: false,
                records: 0,
                faults: 0,
                bytes: 0,
            }
        });
        let hub = Hub {
            open,
            splits: splits.collect(),
            shared: Vec::new(),
            alone: BTreeMap::new(),
            pauses: 0,
            stopped: false,
            merged,
            cut_merged: merged,
            epoch_rows: 0,
            epoch_faults: 0,
            moved: false,
            told_full: false,
            next_id: 0,
        };
        Ok(Arc::new(SourceHost { spec, hub: Mutex::new(hub), changed: Condvar::new(), listener: Box::new(listener) }))
    }

    /// What it hosts.
    pub fn spec(&self) -> &Arc<SourceSpec> {
        &self.spec
    }

    /// Feeds a job from now on. Call it with no cut in between since `request.cuts` was put together.
    pub fn attach(self: &Arc<Self>, request: Attach) -> Result<SubscriberId> {
        if let Wanted::Rows { columns, .. } = &request.wanted
            && let Some(column) = columns.iter().find(|&&column| column >= self.spec.schema.columns.len())
        {
            return Err(Error::internal(format!("source \"{}\" has no column {column}", self.spec.name)));
        }
        let mut hub = self.lock();
        if hub.stopped {
            return Err(Error::unavailable(format!("source \"{}\" is being shut down", self.spec.name)));
        }
        let id = SubscriberId(hub.next_id);
        hub.next_id += 1;
        let from = hub.splits.iter().map(|split| {
            let given = request.from.iter().find(|point| point.split == split.point.split);
            match given {
                Some(point) => Ok(point.clone()),
                None => {
                    let split = split.point.split.clone();
                    let position = self.spec.connector.start(&split)?;
                    Ok(SplitPoint { split, position, watermark: Watermark::NONE })
                }
            }
        });
        let from = from.collect::<Result<Vec<_>>>()?;
        let subscriber =
            Subscriber { id, inlet: request.inlet, wanted: request.wanted, closed: Epoch::ZERO, full_since: None };
        self.leave_alone(&mut hub, subscriber, from, request.cuts.into());
        Ok(id)
    }

    /// Feeds a job no more. Whatever it was sent before, it keeps.
    pub fn detach(&self, id: SubscriberId) {
        let mut hub = self.lock();
        hub.shared.retain(|subscriber| subscriber.id != id);
        hub.alone.remove(&id);
        drop(hub);
        self.changed.notify_all();
    }

    /// Ends the open epoch, which must be `epoch` or an earlier one: everything handed over before is of `epoch` at the
    /// latest, everything after it of a later one. The coordinator calls it for every source under one lock of its own.
    pub fn cut(&self, epoch: Epoch) -> SourceCut {
        let mut hub = self.lock();
        debug_assert!(hub.open <= epoch);
        self.note_idle(&mut hub);
        let splits: Vec<SplitCut> = hub
            .splits
            .iter()
            .map(|split| SplitCut { point: split.point.clone(), idle: split.idle, ended: split.ended })
            .collect();
        let had_input = hub.moved || hub.merged != hub.cut_merged;
        let cut = SourceCut {
            relation: self.spec.relation,
            epoch,
            watermark: hub.merged,
            rows: std::mem::take(&mut hub.epoch_rows),
            faults: std::mem::take(&mut hub.epoch_faults),
            had_input,
            splits,
        };
        hub.cut_merged = hub.merged;
        hub.moved = false;
        hub.told_full = false;
        hub.open = epoch.next();
        if had_input {
            let points: Vec<SplitPoint> = cut.splits.iter().map(|split| split.point.clone()).collect();
            for lone in hub.alone.values_mut() {
                lone.cuts.push_back(RecordedCut { epoch, splits: points.clone(), close: None });
            }
            self.changed.notify_all();
        }
        cut
    }

    /// Tells every job the end of an epoch, once the cut is durable; jobs with a reader of their own when that has passed
    /// the cut. Epochs ascend.
    pub fn close(&self, close: Close) {
        let mut hub = self.lock();
        for subscriber in hub.shared.iter_mut().filter(|subscriber| subscriber.closed < close.epoch) {
            subscriber.closed = close.epoch;
            subscriber.inlet.close(close);
        }
        for lone in hub.alone.values_mut() {
            let at = lone.cuts.partition_point(|cut| cut.epoch < close.epoch);
            match lone.cuts.get_mut(at).filter(|cut| cut.epoch == close.epoch) {
                Some(cut) => cut.close = Some(close),
                None => {
                    lone.cuts.insert(at, RecordedCut { epoch: close.epoch, splits: Vec::new(), close: Some(close) });
                }
            }
        }
        drop(hub);
        self.changed.notify_all();
    }

    /// Stops all reading for good.
    pub fn stop(&self) {
        let mut hub = self.lock();
        hub.stopped = true;
        hub.shared.clear();
        hub.alone.clear();
        drop(hub);
        self.changed.notify_all();
    }

    /// Whether input has come since the last cut.
    pub fn has_input(&self) -> bool {
        let mut hub = self.lock();
        self.note_idle(&mut hub);
        hub.moved || hub.merged != hub.cut_merged
    }

    /// Whether the shared reader has handed over all that there was at `asked`; if not, it looks at once.
    pub fn has_caught_up(&self, asked: Instant) -> bool {
        let has_looked = |split: &SplitState| {
            split.ended || split.waiting_since.is_some() && split.looked.is_some_and(|looked| looked >= asked)
        };
        let caught_up = self.lock().splits.iter().all(has_looked);
        if !caught_up {
            self.changed.notify_all();
        }
        caught_up
    }

    /// Whether a job is still read to alone, and why it does not get on, if so.
    pub fn is_alone(&self, id: SubscriberId) -> Option<Option<String>> {
        self.lock().alone.get(&id).map(|lone| lone.trouble.clone())
    }

    /// Counts and places, for `ms_sources`.
    pub fn stats(&self) -> SourceStats {
        let mut hub = self.lock();
        self.note_idle(&mut hub);
        let splits = hub.splits.iter().map(|split| SplitStats {
            split: split.point.split.clone(),
            position: split.point.position.clone(),
            watermark: split.point.watermark,
            idle: split.idle,
            rows_read: split.records,
            rows_decoded: split.records - split.faults,
            rows_faulted: split.faults,
            bytes_read: split.bytes,
            state: split.state.clone(),
        });
        SourceStats {
            splits: splits.collect(),
            watermark: hub.merged,
            shared: hub.shared.len(),
            alone: hub.alone.len(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock()
    }

    /// Sleeps until something changes, at most `time`.
    pub(super) fn nap(&self, hub: &mut MutexGuard<'_, Hub>, time: Duration) {
        self.changed.wait_for(hub, time);
    }

    pub(super) fn tell(&self, event: SourceEvent) {
        (self.listener)(event);
    }

    /// Gives a job a reader of its own, from `from` along `cuts`.
    pub(super) fn leave_alone(
        self: &Arc<Self>,
        hub: &mut Hub,
        subscriber: Subscriber,
        from: Vec<SplitPoint>,
        cuts: VecDeque<RecordedCut>,
    ) {
        let id = subscriber.id;
        hub.alone.insert(id, Lone { cuts, trouble: None });
        if let Err(error) = lone::spawn(self, subscriber, from)
            && let Some(lone) = hub.alone.get_mut(&id)
        {
            lone.trouble = Some(error.to_string());
        }
    }

    /// Takes a job that has caught up to the shared reader, which starts if it was the first.
    pub(super) fn join(self: &Arc<Self>, hub: &mut Hub, subscriber: Subscriber) {
        hub.alone.remove(&subscriber.id);
        hub.shared.push(subscriber);
        shared::start(self, hub);
    }

    /// Hands `ready` of split `index` to every job of the shared reader. All of them, or none on an error.
    pub(super) fn deliver(&self, hub: &mut Hub, index: usize, ready: &Ready) -> Result<()> {
        let _marked = PhaseGuard::enter(Phase::Reading);
        let rows = ready.rows.num_rows() as u64;
        let faults = ready.fault_count() as u64;
        let mut batches = Vec::with_capacity(hub.shared.len());
        for subscriber in &hub.shared {
            batches.push(ready.project(&subscriber.wanted)?);
        }
        for (subscriber, batch) in hub.shared.iter().zip(batches) {
            if let Some(batch) = batch {
                subscriber.inlet.send(hub.open, batch);
            }
        }
        let Some(split) = hub.splits.get_mut(index) else { return Ok(()) };
        split.point.position = ready.end.clone();
        split.point.watermark = split.point.watermark.max(Watermark(ready.watermark));
        split.records += rows + faults;
        split.faults += faults;
        split.bytes += ready.bytes;
        split.idle = false;
        split.waiting_since = None;
        let first = !hub.moved;
        hub.moved = true;
        hub.epoch_rows += rows;
        hub.epoch_faults += faults;
        hub.merge();
        if first {
            self.tell(SourceEvent::Input);
        }
        if hub.epoch_rows >= self.spec.settings.epoch_rows && !hub.told_full {
            hub.told_full = true;
            self.tell(SourceEvent::Full);
        }
        Ok(())
    }

    /// Marks the splits that have had nothing for long enough; tells the coordinator if that moves the watermark.
    pub(super) fn note_idle(&self, hub: &mut Hub) {
        let timeout = self.spec.settings.idle_timeout;
        for split in &mut hub.splits {
            split.idle = !split.ended && split.waiting_since.is_some_and(|since| since.elapsed() >= timeout)
                || split.idle && !split.reading && !split.ended;
        }
        hub.merge();
    }

    /// A split has ended.
    pub(super) fn end(&self, hub: &mut Hub, index: usize) {
        if let Some(split) = hub.splits.get_mut(index) {
            split.ended = true;
            split.idle = false;
            split.reading = false;
            split.state = SourceState::Finished;
        }
        hub.moved = true;
        hub.merge();
        let all = hub.splits.iter().all(|split| split.ended);
        self.tell(if all { SourceEvent::Ended } else { SourceEvent::Input });
    }
}

impl Hub {
    /// Whether any job reads rows from the shared reader; faults alone are no reason to read.
    pub(super) fn is_wanted(&self) -> bool {
        !self.stopped && self.shared.iter().any(|subscriber| matches!(subscriber.wanted, Wanted::Rows { .. }))
    }

    /// Where the shared reader stands in `split`.
    pub(super) fn position(&self, index: usize) -> Option<&Position> {
        self.splits.get(index).map(|split| &split.point.position)
    }

    /// The merged watermark: the smallest of the splits that are neither idle nor ended; it never goes back.
    fn merge(&mut self) {
        let held = self.splits.iter().filter(|split| !split.idle && !split.ended);
        let merged = match held.map(|split| split.point.watermark).min() {
            Some(least) => least,
            None if self.splits.iter().all(|split| split.ended) => Watermark::END,
            // All that go on are idle: the watermark stays.
            None => self.merged,
        };
        self.merged = self.merged.max(merged);
    }
}

impl Hub {
    /// Whether the merged watermark is another than at the last cut.
    pub(super) fn watermark_moved(&self) -> bool {
        self.merged != self.cut_merged
    }
}
