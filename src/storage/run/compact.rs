//! Making few runs of many, so that a restore reads every row about once.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{Horizons, RunFile, RunWriter, live_entries, merge_runs};
use crate::base::Result;

/// When and how far runs are put together (size-tiered).
#[derive(Clone, Copy, Debug)]
pub struct CompactionSettings {
    /// A job may have as many runs. Default 8.
    pub runs_max: usize,
    /// A run is taken along when it is at most this many times as large as all newer ones together. Default 2.
    pub size_ratio: u64,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        CompactionSettings { runs_max: 8, size_ratio: 2 }
    }
}

/// Which of a job's runs (oldest first) should become one now. They are the newest ones: at least two, and on for as
/// long as the next older is not much larger than those taken, so that a row is rewritten about log(rows) times.
pub fn runs_to_compact(runs: &[RunFile], settings: CompactionSettings) -> Option<Range<usize>> {
    if runs.len() <= settings.runs_max.max(1) {
        return None;
    }
    let mut taken_bytes = 0u64;
    let mut start = runs.len();
    for (place, run) in runs.iter().enumerate().rev() {
        let taken = runs.len() - start;
        if taken >= 2 && run.bytes > taken_bytes.saturating_mul(settings.size_ratio) {
            break;
        }
        taken_bytes = taken_bytes.saturating_add(run.bytes);
        start = place;
    }
    Some(start..runs.len())
}

/// Writes `runs` (oldest first, neighbours) as the one run `name` in the folder `dir`, where they lie.
/// `with_oldest` says that there is no older run: then deletions are left out, as are the rows of jobs as `horizons` say
/// in any case. No run when nothing is left. For a thread that may wait.
pub fn compact_runs(
    dir: &Path,
    runs: &[RunFile],
    name: &str,
    with_oldest: bool,
    horizons: &Arc<Horizons>,
) -> Result<Option<RunFile>> {
    let newest_first = runs.iter().rev().map(|run| live_entries(dir, run, horizons));
    let merged = merge_runs(newest_first.collect::<Result<_>>()?);
    let merged = if with_oldest { merged.only_present() } else { merged };
    let mut writer = RunWriter::create(dir, name)?;
    for entry in merged {
        let (key, value) = entry?;
        writer.put(&key, value.as_deref())?;
    }
    writer.finish()
}
