//! The cut of a view's shard: rows changed since the last cut, with their weights now.

use std::sync::Arc;

use super::PublishedView;
use super::run::{Seeker, total_weight};
use super::shard::RunList;
use crate::base::Result;
use crate::state::TableCut;
use crate::types::{Epoch, key_group};

/// What a checkpoint writes of one shard. Holds pointers to runs; the work is done by [`ViewCut::entries`].
#[derive(Debug)]
pub struct ViewCut {
    view: Arc<PublishedView>,
    list: Arc<RunList>,
    upto: Epoch,
}

impl ViewCut {
    pub(super) fn new(view: Arc<PublishedView>, list: Arc<RunList>, upto: Epoch) -> Self {
        ViewCut { view, list, upto }
    }

    /// The epoch at whose end it was taken.
    pub fn epoch(&self) -> Epoch {
        self.upto
    }

    /// Whether nothing changed since the last cut.
    pub fn is_empty(&self) -> bool {
        !self.list.runs.iter().any(|run| run.first > self.list.cut)
    }

    /// The changed rows in the stored layout of a Bag (see `state/codec.rs`): key group, key columns, other columns →
    /// weight, or deleted. Sorted. Call it off the worker thread: it looks each changed row up in every run.
    pub fn entries(&self) -> Result<TableCut> {
        let mut cut = TableCut::new(0);
        let changed = self.list.runs.iter().filter(|run| run.first > self.list.cut);
        let mut found = Vec::new();
        for run in changed {
            let mut seeker = Seeker::new(&self.list.runs);
            for row in run.chunks.iter().flat_map(|chunk| chunk.keys.iter()) {
                seeker.find(row, &mut found);
                let weight: i64 = total_weight(&found);
                let write = |out: &mut Vec<u8>| {
                    out.push(key_group(self.view.key_part(row)));
                    out.extend_from_slice(row);
                };
                if weight == 0 { cut.delete(write) } else { cut.put(write, &weight.to_be_bytes()) }
            }
        }
        cut.sort();
        Ok(cut)
    }
}
