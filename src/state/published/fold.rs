//! Folding: neighbouring runs become one, so that a view is few runs and work per row stays logarithmic.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock, Weak};

use super::PublishedView;
use super::run::{Run, merge};
use super::shard::RunList;
use crate::base::Result;
use crate::types::Epoch;

/// So many young runs wait before they are folded at once.
const YOUNG_RUNS: usize = 8;

type Work = (Weak<PublishedView>, usize);

/// The one thread that folds, started at the first need.
static FOLDER: OnceLock<Option<Sender<Work>>> = OnceLock::new();

fn start_folder() -> Option<Sender<Work>> {
    let (sender, receiver) = channel::<Work>();
    let fold_all = move || {
        for (view, shard) in receiver {
            if let Some(view) = view.upgrade() {
                view.fold_in_background(shard);
            }
        }
    };
    std::thread::Builder::new().name("millstream-fold".into()).spawn(fold_all).ok().map(|_| sender)
}

/// Has the background fold `shard` if there is something to fold.
pub(super) fn schedule(view: &Arc<PublishedView>, shard: usize) {
    let cell = &view.shards[shard];
    if candidate(&cell.list(), view.floor(), YOUNG_RUNS).is_none() || cell.folding.swap(true, Ordering::AcqRel) {
        return;
    }
    let sender = FOLDER.get_or_init(start_folder).as_ref();
    let sent = sender.is_some_and(|sender| sender.send((Arc::downgrade(view), shard)).is_ok());
    if !sent {
        view.fold_in_background(shard);
    }
}

impl PublishedView {
    fn fold_in_background(&self, shard: usize) {
        let done = self.fold_shard(shard);
        self.shards[shard].folding.store(false, Ordering::Release);
        if let Err(error) = done {
            self.shards[shard].note_broken(error.report());
        }
    }

    /// Folds one shard until nothing is left to fold.
    pub(super) fn fold_shard(&self, shard: usize) -> Result<()> {
        let cell = &self.shards[shard];
        loop {
            let list = cell.list();
            let Some(range) = candidate(&list, self.floor(), YOUNG_RUNS) else { return Ok(()) };
            let oldest = range.start == 0;
            let parts = &list.runs[range];
            let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(()) };
            let merged = Run::new(first.first, last.last, merge(&self.layout, parts)?);
            if oldest && merged.negatives > 0 {
                cell.note_broken(format!("published view holds rows of negative weight at epoch {}", merged.last));
            }
            cell.replace(parts, merged);
            // Freed memory is told to the budget; passing the limit is the writer's to report.
            if let Err(error) = cell.settle() {
                tracing::debug!(%error, "folding a published view found memory short");
            }
        }
    }
}

/// The runs to fold next: neighbours up to `floor`, on one side of the last cut, of like sizes.
fn candidate(list: &RunList, floor: Epoch, young_runs: usize) -> Option<Range<usize>> {
    let end = list.runs.partition_point(|run| run.last <= floor);
    let cut = list.runs.partition_point(|run| run.last <= list.cut).min(end);
    like_sized(list, cut..end, young_runs).or_else(|| like_sized(list, 0..cut, 2))
}

/// The longest tail of `region` in which no run is more than twice as long as all after it; if of `count` runs.
fn like_sized(list: &RunList, region: Range<usize>, count: usize) -> Option<Range<usize>> {
    let mut start = region.end.checked_sub(1)?;
    let mut rows = list.runs.get(start)?.rows;
    while start > region.start && list.runs[start - 1].rows <= 2 * rows {
        start -= 1;
        rows += list.runs[start].rows;
    }
    (start >= region.start && region.end - start >= count).then_some(start..region.end)
}
