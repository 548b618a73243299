//! The tap of a relation input: the snapshot of its shard at the epoch of joining, then every later epoch.
//!
//! A restored job holds what it had read already: its tap begins with the changes.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::local::{Follower, LocalRelation};
use crate::base::Result;
use crate::dataflow::Close;
use crate::state::PublishedView;
use crate::types::{DeltaBatch, Epoch};

/// Rows of a snapshot's batches.
const SNAPSHOT_ROWS: usize = 8192;

/// What a tap has to say next.
pub(super) enum Tapped {
    /// Rows of an epoch.
    Deltas(Epoch, Vec<DeltaBatch>),
    /// Rows of an epoch and its end.
    Closed(Close, Vec<DeltaBatch>),
    /// Nothing until the relation moves.
    Nothing,
}

/// A relation as an input of another job, on one worker.
pub(super) struct Tap {
    view: Arc<PublishedView>,
    shard: usize,
    follower: Rc<Follower>,
    /// Keeps the entry of the relation while somebody follows it.
    _relation: Rc<LocalRelation>,
    start: Epoch,
    /// Changes up to this epoch are in the snapshot.
    known: Option<Epoch>,
    stage: Stage,
}

enum Stage {
    /// Until the relation has closed the epoch of joining here.
    Waiting,
    /// The snapshot is being sent.
    Snapshot(Box<dyn Iterator<Item = Result<RecordBatch>>>),
    /// Changes only.
    Following,
}

impl Tap {
    pub(super) fn new(
        view: Arc<PublishedView>,
        shard: usize,
        relation: Rc<LocalRelation>,
        follower: Rc<Follower>,
        start: Epoch,
        restored: bool,
    ) -> Self {
        let (stage, known) = if restored { (Stage::Following, None) } else { (Stage::Waiting, Some(start)) };
        Tap { view, shard, follower, _relation: relation, start, known, stage }
    }

    /// Whether the snapshot has been sent.
    pub(super) fn is_following(&self) -> bool {
        matches!(self.stage, Stage::Following)
    }

    /// What comes next. `grants`: the first epoch counts as closed once the relation has closed the second.
    pub(super) fn next(&mut self, grants: &VecDeque<(Close, Epoch)>) -> Result<Tapped> {
        loop {
            match &mut self.stage {
                Stage::Waiting => {
                    let upper = self.view.upper(self.shard);
                    let silent = grants.iter().any(|(close, after)| close.epoch >= self.start && *after <= upper);
                    if upper < self.start && !silent {
                        return Ok(Tapped::Nothing);
                    }
                    let snapshot = self.view.snapshot(self.start)?;
                    self.stage = Stage::Snapshot(Box::new(snapshot.shard_batches(self.shard, None, SNAPSHOT_ROWS)));
                }
                Stage::Snapshot(batches) => match batches.next() {
                    Some(rows) => return Ok(Tapped::Deltas(self.start, vec![DeltaBatch::inserts(rows?)])),
                    None => self.stage = Stage::Following,
                },
                Stage::Following => return self.follow(),
            }
        }
    }

    fn follow(&mut self) -> Result<Tapped> {
        while let Some((close, changes)) = self.follower.pop()? {
            if close.epoch >= self.start {
                let known = self.known.is_some_and(|known| close.epoch <= known);
                return Ok(Tapped::Closed(close, if known { Vec::new() } else { changes }));
            }
        }
        Ok(Tapped::Nothing)
    }
}
