//! INSERT, UPDATE, DELETE: resolved against the table as it will be when they take effect, then logged as deltas.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::TryStreamExt;

use crate::base::{Error, Result, ResultExt};
use crate::catalog::Relation;
use crate::sql::{Binder, BoundQuery, Delete, Insert, Update};
use crate::types::{DeltaBatch, Epoch, RelationId};

use super::super::api::Outcome;
use super::super::request::{ReadGrant, Request};
use super::super::tables::{Accepted, TableGuard, check_keys, check_not_null, contents};
use super::Work;

/// Accepted batches of one table that are kept without asking what is visible.
const ACCEPTED_MAX: usize = 256;

impl Work<'_> {
    /// INSERT INTO.
    pub(super) async fn insert(&mut self, insert: &Insert) -> Result<Outcome> {
        let catalog = self.catalog();
        let bound =
            Binder::new(&catalog, self.handle.queries.session_state()).insert(insert, &self.parameter_types()?)?;
        let table = bound.table;
        let rows = self.collect(bound.rows, &table, None).await?;
        let rows = as_table(&table, rows)?;
        let count = rows.num_rows();
        if count > 0 {
            check_not_null(&table, &rows)?;
            self.change(&table, DeltaBatch::inserts(rows), None).await?;
        }
        Ok(self.done(format!("INSERT 0 {count}")))
    }

    /// UPDATE.
    pub(super) async fn update(&mut self, update: &Update) -> Result<Outcome> {
        let catalog = self.catalog();
        let bound =
            Binder::new(&catalog, self.handle.queries.session_state()).update(update, &self.parameter_types()?)?;
        let table = bound.table;
        let mut guard = self.guard(&table).await?;
        let rows = self.rows_to_change(&table, bound.rows, &mut guard).await?;
        let width = table.columns.columns.len();
        let half = |from: usize| rows.project(&(from..from + width).collect::<Vec<_>>());
        let old = as_table(&table, half(0)?)?;
        let new = as_table(&table, half(width)?)?;
        let count = old.num_rows();
        if count > 0 {
            check_not_null(&table, &new)?;
            let weights = std::iter::repeat_n(-1, count).chain(std::iter::repeat_n(1, count)).collect();
            let rows = concat_batches(&table.columns.arrow(), [&old, &new])?;
            let deltas = DeltaBatch::new(rows, weights)?.consolidate()?;
            self.change(&table, deltas, guard).await?;
        }
        Ok(self.done(format!("UPDATE {count}")))
    }

    /// DELETE FROM.
    pub(super) async fn delete(&mut self, delete: &Delete) -> Result<Outcome> {
        let catalog = self.catalog();
        let bound =
            Binder::new(&catalog, self.handle.queries.session_state()).delete(delete, &self.parameter_types()?)?;
        let table = bound.table;
        let mut guard = self.guard(&table).await?;
        let rows = self.rows_to_change(&table, bound.rows, &mut guard).await?;
        let rows = as_table(&table, rows)?;
        let count = rows.num_rows();
        if count > 0 {
            let deltas = DeltaBatch::new(rows, vec![-1; count])?;
            self.change(&table, deltas, guard).await?;
        }
        Ok(self.done(format!("DELETE {count}")))
    }

    /// The right to change `table`: of the transaction block, if it has it already.
    async fn guard(&mut self, table: &Relation) -> Result<Option<TableGuard>> {
        let deadline = self.read_deadline();
        if let Some(transaction) = &mut self.inner.transaction {
            if let Entry::Vacant(free) = transaction.guards.entry(table.id) {
                let lock = self.handle.tables.lock(table.id);
                let guard = tokio::time::timeout_at(deadline.into(), lock).await.map_err(|_| {
                    Error::conflict(format!("table \"{}\" is being changed by another transaction", table.name))
                        .with_hint("Send the transaction again; keep transactions short.")
                })?;
                free.insert(guard);
            }
            return Ok(None);
        }
        Ok(Some(self.handle.tables.lock(table.id).await))
    }

    /// The rows that a bound UPDATE or DELETE gives over the table's contents, with what is accepted but not visible.
    async fn rows_to_change(
        &mut self,
        table: &Arc<Relation>,
        rows: BoundQuery,
        guard: &mut Option<TableGuard>,
    ) -> Result<RecordBatch> {
        let own = self.present(table, guard).await?;
        self.collect(rows, table, Some(own)).await
    }

    /// All rows of the table as the next statement sees them.
    async fn present(&mut self, table: &Arc<Relation>, guard: &mut Option<TableGuard>) -> Result<RecordBatch> {
        let newest = |accepted: &Accepted| accepted.newest();
        let wait_for = match (&*guard, &self.inner.transaction) {
            (Some(guard), _) => newest(guard),
            (None, Some(transaction)) => transaction.guards.get(&table.id).and_then(|guard| newest(guard)),
            (None, None) => None,
        };
        // Epochs that end by themselves are waited for; manual ones would never come.
        let wait_for = wait_for.filter(|_| !self.settings.epoch_is_manual()).unwrap_or_default();
        let grant = self.grant(&[table.id], wait_for).await?;
        let snapshot = grant.set.snapshot(table.id)?;
        let own_writes: Vec<DeltaBatch> = match &self.inner.transaction {
            Some(transaction) => {
                transaction.writes.iter().filter(|(id, _)| *id == table.id).map(|(_, batch)| batch.clone()).collect()
            }
            None => Vec::new(),
        };
        let accepted: Vec<DeltaBatch> = match (guard.as_mut(), &mut self.inner.transaction) {
            (Some(guard), _) => after(guard, grant.epoch),
            (None, Some(transaction)) => {
                transaction.guards.get_mut(&table.id).map(|guard| after(guard, grant.epoch)).unwrap_or_default()
            }
            (None, None) => Vec::new(),
        };
        contents(snapshot, accepted.iter().chain(&own_writes))
    }

    /// Checks keys, hands the deltas to the coordinator (or keeps them for COMMIT), and waits until they are visible.
    async fn change(&mut self, table: &Arc<Relation>, deltas: DeltaBatch, guard: Option<TableGuard>) -> Result<()> {
        let mut guard = match guard {
            Some(guard) => Some(guard),
            None => self.guard(table).await?,
        };
        self.check_keys(table, &deltas, &mut guard).await?;
        if let Some(transaction) = &mut self.inner.transaction {
            transaction.writes.push((table.id, deltas));
            return Ok(());
        }
        let writes = vec![(table.id, deltas.clone())];
        let epoch = self.ask(|reply| Request::Write { writes, reply }).await?;
        if let Some(guard) = &mut guard {
            guard.push(epoch, deltas);
        }
        drop(guard);
        self.wait_visible(BTreeSet::from([table.id]), epoch).await
    }

    async fn check_keys(
        &mut self,
        table: &Arc<Relation>,
        deltas: &DeltaBatch,
        guard: &mut Option<TableGuard>,
    ) -> Result<()> {
        let accepted = match (guard.as_mut(), &mut self.inner.transaction) {
            (Some(guard), _) => Some(guard),
            (None, Some(transaction)) => transaction.guards.get_mut(&table.id),
            (None, None) => None,
        };
        let Some(long) = accepted.as_ref().map(|accepted| accepted.len() > ACCEPTED_MAX) else { return Ok(()) };
        if table.primary_key.is_empty() && !long {
            return Ok(());
        }
        let grant: ReadGrant = self.grant(&[table.id], Epoch::ZERO).await?;
        let (guards, writes) = match &mut self.inner.transaction {
            Some(transaction) => (Some(&mut transaction.guards), transaction.writes.as_slice()),
            None => (None, [].as_slice()),
        };
        let accepted = match (guard.as_mut(), guards) {
            (Some(guard), _) => guard,
            (None, Some(guards)) => match guards.get_mut(&table.id) {
                Some(guard) => guard,
                None => return Ok(()),
            },
            (None, None) => return Ok(()),
        };
        accepted.forget(grant.epoch);
        let mut pending = Accepted::default();
        accepted.batches().for_each(|batch| pending.push(Epoch::ZERO, batch.clone()));
        let own = writes.iter().filter(|(id, _)| *id == table.id);
        own.for_each(|(_, batch)| pending.push(Epoch::ZERO, batch.clone()));
        let view = grant.views.first().ok_or_else(|| Error::internal("table was granted without its view"))?;
        check_keys(table, view, grant.set.snapshot(table.id)?, &pending, deltas)
    }

    /// Waits until `epoch` is on disk and visible in `tables`. Manual epochs are not waited for, neither here nor by
    /// the session's later reads: those show what FLUSH has closed.
    pub(super) async fn wait_visible(&mut self, tables: BTreeSet<RelationId>, epoch: Epoch) -> Result<()> {
        if self.settings.epoch_is_manual() {
            return Ok(());
        }
        self.inner.least = self.inner.least.max(epoch);
        let tables: Vec<RelationId> = tables.into_iter().collect();
        let waited = self.grant(&tables, epoch).await;
        waited.map(drop).context(|| format!("the change is accepted into epoch {epoch} and will take effect"))
    }

    /// All rows of a bound query in one batch; `own` stands for the contents of `table`.
    async fn collect(
        &mut self,
        bound: BoundQuery,
        table: &Arc<Relation>,
        own: Option<RecordBatch>,
    ) -> Result<RecordBatch> {
        let schema = bound.schema.arrow();
        let bound = bound.with_parameters(self.parameters)?;
        let rows = self.rows(bound, own.map(|rows| (table.id, rows))).await?;
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        let batches = batches.iter().map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()));
        Ok(concat_batches(&schema, &batches.collect::<Result<Vec<_>, _>>()?)?)
    }
}

/// What was accepted after `epoch`; the rest is forgotten.
fn after(accepted: &mut Accepted, epoch: Epoch) -> Vec<DeltaBatch> {
    accepted.forget(epoch);
    accepted.batches().cloned().collect()
}

/// `rows` with the names of the table's columns; nullability is checked apart.
fn as_table(table: &Relation, rows: RecordBatch) -> Result<RecordBatch> {
    let nullable = table.columns.columns.iter().map(|column| crate::types::Column { nullable: true, ..column.clone() });
    let schema = crate::types::Schema::new(nullable.collect()).arrow();
    Ok(RecordBatch::try_new(schema, rows.columns().to_vec())?)
}
