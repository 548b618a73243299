//! Transaction blocks: what they change takes effect in one epoch at COMMIT; their reads are at one epoch.

use std::collections::BTreeMap;

use crate::base::Result;
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

    /// ROLLBACK.
    pub(super) fn rollback(&mut self) -> Result<Outcome> {
        let failed = std::mem::take(&mut self.inner.failed);
        if self.inner.transaction.take().is_none() && !failed {
            self.notices.push(Notice::warning("there is no transaction in progress"));
        }
        Ok(self.done("ROLLBACK"))
    }
}
