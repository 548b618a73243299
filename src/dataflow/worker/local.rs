//! Relations published on this worker, and the relation inputs of other jobs that follow them here.
//!
//! A view and its followers share a worker shard by shard, so following costs no exchange: a snapshot of the shard at
//! the epoch of joining, then the changes of every later epoch, handed over in memory.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use timely::scheduling::Activator;

use crate::base::{Error, Result};
use crate::dataflow::Close;
use crate::dataflow::input::slice_bytes;
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
    pub(super) fn follow(&self, activator: Activator, limit_bytes: usize) -> Rc<Follower> {
        let follower = Rc::new(Follower {
            queue: RefCell::default(),
            bytes: Cell::new(0),
            limit_bytes,
            overflown: Cell::new(false),
            activator,
        });
        self.followers.borrow_mut().push(Rc::downgrade(&follower));
        follower
    }
}

/// The changes that a relation input has still to take.
pub(super) struct Follower {
    queue: RefCell<VecDeque<(Close, Vec<DeltaBatch>)>>,
    bytes: Cell<usize>,
    limit_bytes: usize,
    overflown: Cell<bool>,
    activator: Activator,
}

impl Follower {
    fn push(&self, close: Close, changes: Vec<DeltaBatch>) {
        if self.overflown.get() {
            return;
        }
        let more: usize = changes.iter().map(slice_bytes).sum();
        if self.bytes.get() > 0 && self.bytes.get() + more > self.limit_bytes {
            // The relation does not wait for its followers; this one has lost its way and must start anew.
            self.overflown.set(true);
            self.queue.borrow_mut().clear();
        } else {
            self.bytes.set(self.bytes.get() + more);
            self.queue.borrow_mut().push_back((close, changes));
        }
        self.activator.activate();
    }

    /// The oldest epoch's end and changes. `Limit` when the follower was too slow.
    pub(super) fn pop(&self) -> Result<Option<(Close, Vec<DeltaBatch>)>> {
        if self.overflown.get() {
            return Err(Error::limit("job is too slow for the relation it reads")
                .with_detail(format!("More than {} bytes of changes waited for it.", self.limit_bytes))
                .with_hint("Raise the setting follow_queue_bytes, or drop and create the view or sink again."));
        }
        let first = self.queue.borrow_mut().pop_front();
        if let Some((_, changes)) = &first {
            self.bytes.set(self.bytes.get() - changes.iter().map(slice_bytes).sum::<usize>());
        }
        Ok(first)
    }
}
