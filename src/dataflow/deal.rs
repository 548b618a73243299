//! Dealing rows to workers: whole batches in turn, or each row to the owner of its key.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::{Error, Result};
use crate::types::{DeltaBatch, RowCodec, Schema, key_group, worker_of};

/// How a host deals the batches of an input to the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deal {
    /// Whole batches in turn.
    InTurn,
    /// Each row to the worker that owns the key group of these columns.
    Key(Vec<usize>),
}

/// Deals for a fixed number of workers.
#[derive(Debug)]
pub(super) struct Dealer {
    deal: Deal,
    workers: usize,
    next: AtomicUsize,
}

impl Dealer {
    pub(super) fn new(deal: Deal, workers: usize) -> Self {
        Dealer { deal, workers, next: AtomicUsize::new(0) }
    }

    /// (worker, part) for each worker that gets rows; the rows of `batch` in their order.
    pub(super) fn deal(&self, batch: DeltaBatch) -> Result<Vec<(usize, DeltaBatch)>> {
        if self.workers == 1 {
            return Ok(vec![(0, batch)]);
        }
        match &self.deal {
            Deal::InTurn => Ok(vec![(self.next.fetch_add(1, Ordering::Relaxed) % self.workers, batch)]),
            Deal::Key(columns) => split_by_key(&batch, columns, self.workers),
        }
    }
}

/// The rows of `batch` by the worker, of `workers`, that owns the key group of `columns`. Workers without rows are
/// left out; a batch that goes to one worker whole is not copied.
pub(super) fn split_by_key(batch: &DeltaBatch, columns: &[usize], workers: usize) -> Result<Vec<(usize, DeltaBatch)>> {
    let whole = |worker: usize| Ok(vec![(worker, batch.clone())]);
    if workers <= 1 {
        return whole(0);
    }
    if columns.is_empty() {
        return whole(worker_of(key_group(b""), workers));
    }
    let keys = batch.rows.project(columns).map_err(|error| {
        Error::internal(format!("exchange key {columns:?} is not in a batch of {} columns", batch.rows.num_columns()))
            .caused_by(error)
    })?;
    let codec = RowCodec::new(Schema::from_arrow(&keys.schema())?.types());
    let encoded = codec.encode(keys.columns())?;
    let mut targets: Vec<Vec<u64>> = vec![Vec::new(); workers];
    for (row, key) in encoded.iter().enumerate() {
        targets[worker_of(key_group(key), workers)].push(row as u64);
    }
    let mut parts = Vec::new();
    for (worker, rows) in targets.into_iter().enumerate() {
        if rows.len() == batch.len() {
            return whole(worker);
        }
        if !rows.is_empty() {
            parts.push((worker, batch.take(&rows)?));
        }
    }
    Ok(parts)
}
