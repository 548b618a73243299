//! INSERT, UPDATE, DELETE: resolved against the table as it will be when they take effect, then logged as deltas.

use std::collections::btree_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, take_record_batch};
use futures::{StreamExt, TryStreamExt};

use crate::base::{Error, Result, ResultExt};
use crate::catalog::Relation;
use crate::plan::fixed_key;
use crate::sql::{BoundConflict, BoundQuery, Delete, Insert, Update};
use crate::state::PublishedView;
use crate::types::{DeltaBatch, Epoch, RelationId, Schema};

use super::super::api::{Outcome, Tag};
use super::super::request::{ReadGrant, Request};
use super::super::tables::{Accepted, TableGuard, check_keys, check_not_null, contents, key_columns, keyed};
use super::{Inner, Work};

/// Accepted batches of one table that are kept without asking what is visible.
const ACCEPTED_MAX: usize = 256;

/// A table as the next statement sees it: a snapshot, and what was accepted after it.
struct Seen {
    grant: ReadGrant,
    pending: Vec<DeltaBatch>,
}

/// What an INSERT comes to.
struct Resolved {
    deltas: DeltaBatch,
    /// The rows that were inserted or updated, as they are now.
    rows: RecordBatch,
}

/// What is told of a change.
struct Changed {
    tag: &'static str,
    count: u64,
    returned: Option<(Schema, RecordBatch)>,
}

impl Work<'_> {
    /// INSERT INTO.
    pub(super) async fn insert(&mut self, insert: &Insert) -> Result<Outcome> {
        let catalog = self.catalog();
        let bound = self.binder(&catalog).insert(insert, &self.parameter_types()?)?;
        self.permit_insert(&bound)?;
        let table = bound.table;
        let rows = self.collect(bound.rows, Vec::new()).await?;
        let rows = as_table(&table, rows)?;
        check_not_null(&table, &rows)?;
        let mut guard = None;
        let resolved = match bound.conflict.filter(|_| rows.num_rows() > 0 && !table.primary_key.is_empty()) {
            None => Resolved { deltas: DeltaBatch::inserts(rows.clone()), rows },
            Some(conflict) => {
                guard = self.guard(&table).await?;
                self.meet(&table, rows, conflict, &mut guard).await?
            }
        };
        let Resolved { deltas, rows } = resolved;
        let changed = self.changed("INSERT 0", &table, rows, bound.returning).await?;
        if !deltas.is_empty() {
            self.change(&table, deltas, guard).await?;
        }
        Ok(self.answer(changed))
    }

    /// Inserts the rows that `rows` makes of given ones.
    pub(super) async fn bring_in(
        &mut self,
        table: &Arc<Relation>,
        rows: BoundQuery,
        given: (RelationId, RecordBatch),
    ) -> Result<()> {
        let rows = as_table(table, self.collect(rows, vec![given]).await?)?;
        check_not_null(table, &rows)?;
        self.change(table, DeltaBatch::inserts(rows), None).await
    }

    /// UPDATE.
    pub(super) async fn update(&mut self, update: &Update) -> Result<Outcome> {
        let catalog = self.catalog();
        let bound = self.binder(&catalog).update(update, &self.parameter_types()?)?;
        self.permit_update(update, &bound)?;
        let table = bound.table;
        let mut guard = self.guard(&table).await?;
        let rows = self.rows_to_change(&table, bound.rows, &mut guard).await?;
        let (old, new) = halves(&table, &rows)?;
        check_not_null(&table, &new)?;
        let deltas = replaced(&table, &old, &new)?;
        let changed = self.changed("UPDATE", &table, new, bound.returning).await?;
        if old.num_rows() > 0 {
            self.change(&table, deltas, guard).await?;
        }
        Ok(self.answer(changed))
    }

    /// DELETE FROM.
    pub(super) async fn delete(&mut self, delete: &Delete) -> Result<Outcome> {
        let catalog = self.catalog();
        let bound = self.binder(&catalog).delete(delete, &self.parameter_types()?)?;
        self.permit_delete(delete, &bound)?;
        let table = bound.table;
        let mut guard = self.guard(&table).await?;
        let rows = self.rows_to_change(&table, bound.rows, &mut guard).await?;
        let rows = as_table(&table, rows)?;
        let changed = self.changed("DELETE", &table, rows.clone(), bound.returning).await?;
        if rows.num_rows() > 0 {
            let weights = vec![-1; rows.num_rows()];
            self.change(&table, DeltaBatch::new(rows, weights)?, guard).await?;
        }
        if delete.truncates {
            return Ok(self.done("TRUNCATE TABLE".to_string()));
        }
        Ok(self.answer(changed))
    }

    /// What is to be answered when `rows` have changed: how many they are, or what RETURNING makes of them. It comes
    /// before the change, which a fault in RETURNING must leave undone.
    async fn changed(
        &mut self,
        tag: &'static str,
        table: &Arc<Relation>,
        rows: RecordBatch,
        returning: Option<BoundQuery>,
    ) -> Result<Changed> {
        let count = rows.num_rows() as u64;
        let returned = match returning {
            Some(returning) => {
                let schema = returning.schema.clone();
                Some((schema, self.collect(returning, vec![(table.id, rows)]).await?))
            }
            None => None,
        };
        Ok(Changed { tag, count, returned })
    }

    fn answer(&mut self, changed: Changed) -> Outcome {
        let tag = Tag::Counted(changed.tag);
        match changed.returned {
            None => self.done(tag.text(changed.count)),
            Some((schema, rows)) => {
                let rows = futures::stream::iter([Ok(rows)]).boxed();
                Outcome::Rows { schema, rows, follows: false, tag, notices: std::mem::take(&mut self.notices) }
            }
        }
    }

    /// What becomes of new `rows` where a row with the key is there already.
    async fn meet(
        &mut self,
        table: &Arc<Relation>,
        rows: RecordBatch,
        conflict: BoundConflict,
        guard: &mut Option<TableGuard>,
    ) -> Result<Resolved> {
        let seen = self.seen(table, guard).await?;
        let view = seen.view()?;
        let keys = view.encode_key(&key_columns(table, &rows))?;
        let all = (0..rows.num_rows()).map(|row| keys.row(row));
        let there = keyed(table, view, seen.grant.set.snapshot(table.id)?, seen.pending.iter(), all)?;
        let there_keys = view.encode_key(&key_columns(table, &there))?;
        let mut first: HashMap<&[u8], bool> = (0..there.num_rows()).map(|row| (there_keys.row(row), true)).collect();
        let (mut fresh, mut met) = (Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            let key = keys.row(row);
            match (first.insert(key, false), &conflict) {
                (None, _) => fresh.push(row as u64),
                (Some(true), _) => met.push(row as u64),
                (Some(false), BoundConflict::Nothing) => {}
                (Some(false), BoundConflict::Update { .. }) => {
                    return Err(Error::invalid("ON CONFLICT DO UPDATE cannot affect a row a second time")
                        .with_code("21000")
                        .with_hint("Give each key once in one INSERT."));
                }
            }
        }
        let take = |places: Vec<u64>| take_record_batch(&rows, &arrow::array::UInt64Array::from(places));
        let fresh = take(fresh)?;
        let inserted = DeltaBatch::inserts(fresh.clone());
        let BoundConflict::Update { excluded, rows: update } = conflict else {
            return Ok(Resolved { deltas: inserted, rows: fresh });
        };
        let own = vec![(table.id, there), (excluded.id, take(met)?)];
        let (old, new) = halves(table, &self.collect(*update, own).await?)?;
        check_not_null(table, &new)?;
        let schema = new.schema();
        let updated = replaced(table, &old, &new)?;
        let deltas = DeltaBatch::concat(&inserted.rows.schema(), &[inserted, updated])?;
        Ok(Resolved { deltas, rows: concat_batches(&schema, [&fresh, &new])? })
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
    /// Where its condition names one key, only that row is looked at.
    async fn rows_to_change(
        &mut self,
        table: &Arc<Relation>,
        rows: BoundQuery,
        guard: &mut Option<TableGuard>,
    ) -> Result<RecordBatch> {
        let rows = rows.with_parameters(self.parameters)?;
        let own = self.seen(table, guard).await?.rows(table, &rows)?;
        self.collect(rows, vec![(table.id, own)]).await
    }

    /// The contents of the tables that `bound` reads and the open block has changed: a block sees what it did.
    pub(super) async fn own_rows(&mut self, bound: &BoundQuery) -> Result<Vec<(RelationId, RecordBatch)>> {
        let mut own = Vec::new();
        for table in &bound.relations {
            let writes = self.inner.transaction.iter().flat_map(|transaction| &transaction.writes);
            if !writes.into_iter().any(|(id, _)| *id == table.id) {
                continue;
            }
            let rows = self.seen(table, &mut None).await?.rows(table, bound)?;
            own.push((table.id, rows));
        }
        Ok(own)
    }

    /// The table as this statement sees it.
    async fn seen(&mut self, table: &Arc<Relation>, guard: &mut Option<TableGuard>) -> Result<Seen> {
        let grant = self.grant(&[table.id], Epoch::ZERO).await?;
        let mut pending = Vec::new();
        if let Some(accepted) = accepted(self.inner, guard, table.id) {
            accepted.forget(grant.epoch);
            pending.extend(accepted.batches().cloned());
        }
        let own = self.inner.transaction.iter().flat_map(|transaction| &transaction.writes);
        pending.extend(own.filter(|(id, _)| *id == table.id).map(|(_, batch)| batch.clone()));
        Ok(Seen { grant, pending })
    }

    /// Checks keys, hands the deltas to the coordinator (or keeps them for COMMIT), and waits until they are visible.
    async fn change(&mut self, table: &Arc<Relation>, deltas: DeltaBatch, guard: Option<TableGuard>) -> Result<()> {
        let mut guard = match guard {
            Some(guard) => Some(guard),
            None => self.guard(table).await?,
        };
        let many = accepted(self.inner, &mut guard, table.id).is_some_and(|accepted| accepted.len() > ACCEPTED_MAX);
        if many || !table.primary_key.is_empty() {
            let seen = self.seen(table, &mut guard).await?;
            check_keys(table, seen.view()?, seen.grant.set.snapshot(table.id)?, &seen.pending, &deltas)?;
        }
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

    /// All rows of a bound query in one batch; `own` stands for the contents of relations.
    async fn collect(&mut self, bound: BoundQuery, own: Vec<(RelationId, RecordBatch)>) -> Result<RecordBatch> {
        let schema = bound.schema.arrow();
        let bound = bound.with_parameters(self.parameters)?;
        let rows = self.rows(bound, own).await?;
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        let batches = batches.iter().map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()));
        Ok(concat_batches(&schema, &batches.collect::<Result<Vec<_>, _>>()?)?)
    }
}

impl Seen {
    fn view(&self) -> Result<&Arc<PublishedView>> {
        self.grant.views.first().ok_or_else(|| Error::internal("table was granted without its view"))
    }

    /// The rows of `table` that `bound` may ask for: all, or those of the one key that its condition names.
    fn rows(&self, table: &Relation, bound: &BoundQuery) -> Result<RecordBatch> {
        let snapshot = self.grant.set.snapshot(table.id)?;
        match fixed_key(&bound.plan, table) {
            Some(key) => {
                let key = self.view()?.encode_key(&key)?;
                keyed(table, self.view()?, snapshot, self.pending.iter(), std::iter::once(key.row(0)))
            }
            None => contents(snapshot, self.pending.iter()),
        }
    }
}

/// What was accepted for `table` and may not be visible yet: under the statement's own guard, or the block's.
fn accepted<'a>(
    inner: &'a mut Inner,
    guard: &'a mut Option<TableGuard>,
    table: RelationId,
) -> Option<&'a mut Accepted> {
    match (guard, &mut inner.transaction) {
        (Some(guard), _) => Some(guard),
        (None, Some(transaction)) => transaction.guards.get_mut(&table).map(|guard| &mut **guard),
        (None, None) => None,
    }
}

/// The rows of an UPDATE: as they were, as they will be.
fn halves(table: &Relation, rows: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
    let width = table.columns.columns.len();
    let half = |from: usize| rows.project(&(from..from + width).collect::<Vec<_>>());
    Ok((as_table(table, half(0)?)?, as_table(table, half(width)?)?))
}

/// `old` taken back, `new` in its place.
fn replaced(table: &Relation, old: &RecordBatch, new: &RecordBatch) -> Result<DeltaBatch> {
    let count = old.num_rows();
    let weights = std::iter::repeat_n(-1, count).chain(std::iter::repeat_n(1, count)).collect();
    let rows = concat_batches(&nullable(table), [old, new])?;
    DeltaBatch::new(rows, weights)?.consolidate()
}

fn nullable(table: &Relation) -> arrow::datatypes::SchemaRef {
    let columns = table.columns.columns.iter().map(|column| crate::types::Column { nullable: true, ..column.clone() });
    Schema::new(columns.collect()).arrow()
}

/// `rows` with the names of the table's columns; nullability is checked apart.
fn as_table(table: &Relation, rows: RecordBatch) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(nullable(table), rows.columns().to_vec())?)
}
