//! Relations published on this worker, and the relation inputs of other jobs that follow them here.
//!
//! A view and its followers share a worker shard by shard, so following costs no exchange: a snapshot of the shard at
//! the epoch of joining, then the changes of every later epoch, handed over in memory; what a slow follower leaves waits
//! on disk.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use timely::scheduling::Activator;

use super::RuntimeSettings;
use crate::base::{Error, Result};
use crate::dataflow::Close;
use crate::dataflow::input::slice_bytes;
use crate::storage::ScratchQueue;
use crate::types::{DeltaBatch, RelationId};

/// The relations of one worker.
#[derive(Default)]
pub(super) struct LocalRelations {
    relations: RefCell<HashMap<RelationId, Rc<LocalRelation>>>,
}

impl LocalRelations {
    /// The relation called `id`, which need not be published yet.
    pub(super) fn relation(&self, id: RelationId) -> Rc<LocalRelation> {
        Rc::clone(self.relations.borrow_mut().entry(id).or_default())
    }

    /// Forgets relations that nobody publishes or follows any more.
    pub(super) fn tidy(&self) {
        self.relations.borrow_mut().retain(|_, relation| Rc::strong_count(relation) > 1);
    }
}

/// One relation on one worker.
#[derive(Default)]
pub(super) struct LocalRelation {
    followers: RefCell<Vec<Weak<Follower>>>,
}

impl LocalRelation {
    /// Hands the changes of an epoch to all followers.
    pub(super) fn publish(&self, close: Close, changes: Vec<DeltaBatch>) {
        self.followers.borrow_mut().retain(|follower| {
            let follower = follower.upgrade();
            if let Some(follower) = &follower {
                follower.push(close, changes.clone());
            }
            follower.is_some()
        });
    }

    /// A follower of the epochs closed from now on.
    pub(super) fn follow(&self, activator: Activator, settings: &RuntimeSettings) -> Rc<Follower> {
        let follower = Rc::new(Follower { queue: RefCell::new(FollowQueue::new(settings)), activator });
        self.followers.borrow_mut().push(Rc::downgrade(&follower));
        follower
    }
}

/// A relation input that follows a relation.
pub(super) struct Follower {
    queue: RefCell<FollowQueue>,
    activator: Activator,
}

impl Follower {
    fn push(&self, close: Close, changes: Vec<DeltaBatch>) {
        self.queue.borrow_mut().push(close, changes);
        self.activator.activate();
    }

    /// The oldest epoch's end and changes. Fails when they were too many for memory and disk.
    pub(super) fn pop(&self) -> Result<Option<(Close, Vec<DeltaBatch>)>> {
        self.queue.borrow_mut().pop()
    }
}

/// The changes that a relation input has still to take. The relation does not wait for its followers: what one has not
/// taken waits in memory, and beyond a limit on disk.
struct FollowQueue {
    epochs: VecDeque<(Close, Place)>,
    bytes: usize,
    bytes_max: usize,
    far: ScratchQueue,
    /// Changes were lost; the reason stays until it has been told.
    lost: bool,
    reason: Option<Error>,
}

/// Where the changes of an epoch wait.
enum Place {
    Memory(Vec<DeltaBatch>),
    Disk,
}

impl FollowQueue {
    fn new(settings: &RuntimeSettings) -> FollowQueue {
        FollowQueue {
            epochs: VecDeque::new(),
            bytes: 0,
            bytes_max: settings.follow_bytes_max,
            far: ScratchQueue::new(settings.scratch.clone(), settings.follow_disk_bytes_max),
            lost: false,
            reason: None,
        }
    }

    fn push(&mut self, close: Close, changes: Vec<DeltaBatch>) {
        if self.lost {
            return;
        }
        let more: usize = changes.iter().map(slice_bytes).sum();
        if self.bytes == 0 || more == 0 || self.bytes + more <= self.bytes_max {
            self.bytes += more;
            self.epochs.push_back((close, Place::Memory(changes)));
            return;
        }
        match self.far.push(&changes) {
            Ok(()) => self.epochs.push_back((close, Place::Disk)),
            Err(error) => {
                self.epochs.clear();
                self.lost = true;
                self.reason = Some(
                    Error::limit("job is too slow for the relation it reads")
                        .with_detail(format!("Its changes cannot wait: {error}."))
                        .with_hint("Raise the setting follow_disk_bytes_max or make room on the disk, then drop and create the view or sink again."),
                );
            }
        }
    }

    fn pop(&mut self) -> Result<Option<(Close, Vec<DeltaBatch>)>> {
        if let Some(reason) = self.reason.take() {
            return Err(reason);
        }
        match self.epochs.pop_front() {
            Some((close, Place::Memory(changes))) => {
                self.bytes -= changes.iter().map(slice_bytes).sum::<usize>();
                Ok(Some((close, changes)))
            }
            Some((close, Place::Disk)) => Ok(Some((close, self.far.pop()?))),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};

    use super::*;
    use crate::types::{Column, Epoch, Schema, SqlType, Watermark};

    fn changes(epoch: u64) -> Vec<DeltaBatch> {
        let schema = Schema::new(vec![Column::new("n", SqlType::BigInt)]).arrow();
        let batch = |i| {
            let numbers = Int64Array::from_iter_values((0..100).map(|n| (epoch * 1000 + i * 100 + n) as i64));
            DeltaBatch::inserts(RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(numbers)]).unwrap())
        };
        // Some epochs change nothing here.
        (0..epoch % 4).map(batch).collect()
    }

    fn settings(folder: &tempfile::TempDir, disk: u64) -> RuntimeSettings {
        let scratch = folder.path().to_owned();
        RuntimeSettings { follow_bytes_max: 4000, follow_disk_bytes_max: disk, scratch, ..RuntimeSettings::default() }
    }

    fn close(epoch: u64) -> Close {
        Close { epoch: Epoch(epoch), watermark: Watermark::NONE, clock_us: 0, checkpoint: false }
    }

    #[test]
    fn what_a_slow_follower_leaves_waits_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = FollowQueue::new(&settings(&folder, 1 << 30));
        let (mut pushed, mut popped, mut most) = (0, 0, 0);
        for step in 0..390 {
            // At first it falls behind, then it catches up, thrice.
            let (more, fewer) = if step % 130 < 60 { (3, 1) } else { (1, 3) };
            for _ in 0..more {
                pushed += 1;
                queue.push(close(pushed), changes(pushed));
                assert!(queue.bytes <= 4000);
                most = most.max(queue.far.bytes());
            }
            for _ in 0..fewer {
                let Some((close, batches)) = queue.pop().unwrap() else { continue };
                popped += 1;
                assert_eq!(close.epoch, Epoch(popped));
                assert_eq!(
                    batches.into_iter().map(|batch| batch.rows).collect::<Vec<_>>(),
                    changes(popped).into_iter().map(|batch| batch.rows).collect::<Vec<_>>()
                );
            }
        }
        assert!(most > 50_000 && queue.far.bytes() == 0, "{most} bytes waited on disk, {} do", queue.far.bytes());
    }

    #[test]
    fn a_follower_beyond_the_disk_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = FollowQueue::new(&settings(&folder, 10_000));
        (1..40).for_each(|epoch| queue.push(close(epoch), changes(epoch)));
        let report = queue.pop().unwrap_err().report();
        assert!(
            report.contains("more than 10000 bytes wait on disk") && report.contains("follow_disk_bytes_max"),
            "{report}"
        );
    }
}
