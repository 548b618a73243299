//! Tables: statements that change one are resolved one after another, against its contents with what is accepted but
//! not yet visible.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::base::{Error, Result, sqlstate};
use crate::catalog::Relation;
use crate::state::{PublishedView, Snapshot};
use crate::types::{DeltaBatch, Epoch, RelationId};

/// Accepted deltas of one table that a snapshot may not hold yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    deltas: Vec<(Epoch, DeltaBatch)>,
}

impl Accepted {
    /// Notes deltas that were accepted into `epoch`.
    pub fn push(&mut self, epoch: Epoch, deltas: DeltaBatch) {
        self.deltas.push((epoch, deltas));
    }

    /// Forgets what a snapshot at `epoch` holds.
    pub fn forget(&mut self, epoch: Epoch) {
        self.deltas.retain(|(accepted, _)| *accepted > epoch);
    }

    /// How many batches are kept.
    pub fn len(&self) -> usize {
        self.deltas.len()
    }

    /// All of them.
    pub fn batches(&self) -> impl Iterator<Item = &DeltaBatch> {
        self.deltas.iter().map(|(_, batch)| batch)
    }
}

/// The right to change one table: held while a statement is resolved, or until its transaction block ends.
pub(super) type TableGuard = OwnedMutexGuard<Accepted>;

/// One lock per table.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: Mutex<HashMap<RelationId, Arc<AsyncMutex<Accepted>>>>,
}

impl Tables {
    /// Waits for the right to change a table.
    pub async fn lock(&self, table: RelationId) -> TableGuard {
        let lock = Arc::clone(self.tables.lock().entry(table).or_default());
        lock.lock_owned().await
    }

    /// Forgets a dropped table.
    pub fn forget(&self, table: RelationId) {
        self.tables.lock().remove(&table);
    }
}

/// The rows of `snapshot` with `changes` on top, as inserts.
pub(super) fn contents<'a>(snapshot: &Snapshot, changes: impl Iterator<Item = &'a DeltaBatch>) -> Result<RecordBatch> {
    let mut batches: Vec<DeltaBatch> =
        snapshot.batches(None, 65_536).map(|batch| batch.map(DeltaBatch::inserts)).collect::<Result<_>>()?;
    batches.extend(changes.cloned());
    let all = DeltaBatch::concat(&snapshot.schema(), &batches)?.consolidate()?;
    let repeated: Vec<u64> = (0..all.len())
        .flat_map(|row| {
            let times = usize::try_from(all.weights.get(row)).unwrap_or(0);
            std::iter::repeat_n(row as u64, times)
        })
        .collect();
    Ok(all.take(&repeated)?.rows)
}

/// The rows of `snapshot` with `changes` on top whose key is one of `keys` (encoded by the table's view).
pub(super) fn keyed<'a, 'k>(
    table: &Relation,
    view: &PublishedView,
    snapshot: &Snapshot,
    changes: impl Iterator<Item = &'a DeltaBatch>,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<RecordBatch> {
    let keys: HashSet<&[u8]> = keys.collect();
    let mut batches = Vec::new();
    for key in &keys {
        batches.extend(snapshot.get(key)?.map(DeltaBatch::inserts));
    }
    for change in changes {
        let encoded = view.encode_key(&key_columns(table, &change.rows))?;
        let own: Vec<u64> =
            (0..change.len()).filter(|&row| keys.contains(encoded.row(row))).map(|row| row as u64).collect();
        if !own.is_empty() {
            batches.push(change.take(&own)?);
        }
    }
    let all = DeltaBatch::concat(&snapshot.schema(), &batches)?.consolidate()?;
    let present: Vec<u64> = (0..all.len()).filter(|&row| all.weights.get(row) > 0).map(|row| row as u64).collect();
    Ok(all.take(&present)?.rows)
}

/// The columns of the primary key.
pub(super) fn key_columns(table: &Relation, rows: &RecordBatch) -> Vec<ArrayRef> {
    table.primary_key.iter().filter_map(|&column| rows.columns().get(column).cloned()).collect()
}

/// Fails with 23502 when a column that refuses NULL holds one.
pub(super) fn check_not_null(table: &Relation, rows: &RecordBatch) -> Result<()> {
    for (column, values) in table.columns.columns.iter().zip(rows.columns()) {
        let refuses = !column.nullable;
        if refuses && values.null_count() > 0 {
            return Err(Error::invalid(format!(
                "null value in column \"{}\" of table \"{}\" violates not-null constraint",
                column.name, table.name
            ))
            .with_code(sqlstate::NOT_NULL_VIOLATION)
            .with_hint("Give the column a value, or declare it without NOT NULL."));
        }
    }
    Ok(())
}

/// Fails with 23505 when `deltas` would leave two rows with one key: each key that gains a row must not be there, or
/// lose its old one in the same deltas.
pub(super) fn check_keys(
    table: &Relation,
    view: &PublishedView,
    snapshot: &Snapshot,
    accepted: &[DeltaBatch],
    deltas: &DeltaBatch,
) -> Result<()> {
    if table.primary_key.is_empty() {
        return Ok(());
    }
    let keys = view.encode_key(&key_columns(table, &deltas.rows))?;
    let mut present: HashMap<&[u8], i64> = HashMap::new();
    for row in 0..deltas.len() {
        *present.entry(keys.row(row)).or_default() += deltas.weights.get(row);
    }
    let mut pending: HashMap<Vec<u8>, i64> = HashMap::new();
    for batch in accepted {
        let keys = view.encode_key(&key_columns(table, &batch.rows))?;
        for row in 0..batch.len() {
            *pending.entry(keys.row(row).to_vec()).or_default() += batch.weights.get(row);
        }
    }
    for row in 0..deltas.len() {
        let bytes = keys.row(row);
        let gained = present.get(bytes).copied().unwrap_or_default();
        if gained <= 0 {
            continue;
        }
        let stored = snapshot.get(bytes)?.map_or(0, |rows| rows.num_rows() as i64);
        if gained + stored + pending.get(bytes).copied().unwrap_or_default() > 1 {
            return Err(duplicate(table, &deltas.rows, row));
        }
    }
    Ok(())
}

fn duplicate(table: &Relation, rows: &RecordBatch, row: usize) -> Error {
    let text = |column: &usize| {
        let name = table.columns.columns.get(*column).map_or("?", |column| column.name.as_str());
        let value = rows
            .columns()
            .get(*column)
            .and_then(|values| arrow::util::display::array_value_to_string(values, row).ok());
        (name.to_string(), value.unwrap_or_default())
    };
    let (names, values): (Vec<String>, Vec<String>) = table.primary_key.iter().map(text).unzip();
    Error::invalid(format!("duplicate key value violates unique constraint \"{}_pkey\"", table.name))
        .with_code(sqlstate::UNIQUE_VIOLATION)
        .with_detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
        .with_hint("UPDATE the row, or DELETE it first.")
}
