//! Transaction blocks: what they change takes effect in one epoch at COMMIT; their reads are at one epoch.

use std::collections::BTreeMap;

use crate::base::{Error, Result};
use crate::types::{DeltaBatch, Epoch, RelationId};

use super::super::api::{Notice, Outcome};
use super::super::request::Request;
use super::super::tables::TableGuard;
use super::Work;

/// An open transaction block.
#[derive(Default)]
pub(in crate::engine) struct Transaction {
    /// The epoch of its reads, once it has read.
    pub epoch: Option<Epoch>,
    /// Tables that it changes: nobody else may until it ends.
    pub guards: BTreeMap<RelationId, TableGuard>,
    /// Resolved deltas, in order.
    pub writes: Vec<(RelationId, DeltaBatch)>,
    /// Savepoints, oldest first: the name, and how many of `writes` came before it.
    pub savepoints: Vec<(String, usize)>,
}

impl Work<'_> {
    /// BEGIN.
    pub(super) fn begin(&mut self) -> Result<Outcome> {
        if self.inner.transaction.is_some() {
            self.notices.push(Notice::warning("there is already a transaction in progress"));
        } else {
            self.inner.transaction = Some(Transaction::default());
        }
        Ok(self.done("BEGIN"))
    }

    /// COMMIT: everything in one epoch, durable and visible.
    pub(super) async fn commit(&mut self) -> Result<Outcome> {
        if std::mem::take(&mut self.inner.failed) {
            self.inner.transaction = None;
            return Ok(self.done("ROLLBACK"));
        }
        let Some(transaction) = self.inner.transaction.take() else {
            self.notices.push(Notice::warning("there is no transaction in progress"));
            return Ok(self.done("COMMIT"));
        };
        if !transaction.writes.is_empty() {
            let writes = transaction.writes;
            let (tables, kept) = (writes.iter().map(|(table, _)| *table).collect(), writes.clone());
            let epoch = self.ask(|reply| Request::Write { writes, reply }).await?;
            let mut guards = transaction.guards;
            for (table, deltas) in kept {
                if let Some(guard) = guards.get_mut(&table) {
                    guard.push(epoch, deltas);
                }
            }
            drop(guards);
            self.wait_visible(tables, epoch).await?;
        }
        Ok(self.done("COMMIT"))
    }

    /// SAVEPOINT: what comes behind it can be given up alone.
    pub(super) fn savepoint(&mut self, name: &str) -> Result<Outcome> {
        let transaction = self.inner.transaction.as_mut().ok_or_else(|| no_block("SAVEPOINT"))?;
        transaction.savepoints.push((name.to_string(), transaction.writes.len()));
        Ok(self.done("SAVEPOINT"))
    }

    /// ROLLBACK TO: changes behind the savepoint are given up, and the block goes on.
    pub(super) fn rollback_to(&mut self, name: &str) -> Result<Outcome> {
        let place = self.savepoint_place(name, "ROLLBACK TO SAVEPOINT")?;
        if let Some(transaction) = &mut self.inner.transaction {
            let kept = transaction.savepoints.get(place).map_or(0, |(_, writes)| *writes);
            transaction.writes.truncate(kept);
            transaction.savepoints.truncate(place + 1);
        }
        self.inner.failed = false;
        Ok(self.done("ROLLBACK"))
    }

    /// RELEASE: the savepoint and those behind it are forgotten, changes stay.
    pub(super) fn release(&mut self, name: &str) -> Result<Outcome> {
        let place = self.savepoint_place(name, "RELEASE SAVEPOINT")?;
        if let Some(transaction) = &mut self.inner.transaction {
            transaction.savepoints.truncate(place);
        }
        Ok(self.done("RELEASE"))
    }

    /// The place of the newest savepoint called `name`.
    fn savepoint_place(&self, name: &str, what: &str) -> Result<usize> {
        if self.inner.transaction.is_none() && !self.inner.failed {
            return Err(no_block(what));
        }
        let savepoints = self.inner.transaction.iter().flat_map(|transaction| &transaction.savepoints);
        let place = savepoints.enumerate().filter(|(_, (found, _))| found == name).map(|(place, _)| place).last();
        place.ok_or_else(|| Error::invalid(format!("savepoint \"{name}\" does not exist")).with_code("3B001"))
    }

    /// DDL in a block takes effect at once: the client is told, and later reads of the block see it.
    pub(super) fn ddl_in_block(&mut self, what: &str, changed: &[RelationId]) -> Result<()> {
        let Some(transaction) = &mut self.inner.transaction else { return Ok(()) };
        if changed.iter().any(|id| transaction.guards.contains_key(id)) {
            return Err(Error::unsupported(format!(
                "{what} cannot follow changes of its table in one transaction block"
            ))
            .with_hint("COMMIT first."));
        }
        transaction.epoch = None;
        self.notices.push(
            Notice::new(format!("{what} takes effect at once"))
                .with_detail("ROLLBACK does not undo it; changes of rows take effect together at COMMIT."),
        );
        Ok(())
    }

    /// ROLLBACK.
    pub(super) fn rollback(&mut self) -> Result<Outcome> {
        let failed = std::mem::take(&mut self.inner.failed);
        if self.inner.transaction.take().is_none() && !failed {
            self.notices.push(Notice::warning("there is no transaction in progress"));
        }
        Ok(self.done("ROLLBACK"))
    }
}

fn no_block(what: &str) -> Error {
    Error::invalid(format!("{what} can only be used in transaction blocks"))
        .with_code("25P01")
        .with_hint("BEGIN first.")
}
