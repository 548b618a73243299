//! The state of one subtask: its operator's tables, their budget, their cuts.

use std::sync::Arc;

use super::budget::Account;
use super::{BagTable, MapTable, MemoryBudget, OrderedTable, Read, StateTable, TableCut, TableSpec, Tier};
use crate::base::{Error, Result};

/// The tables of one operator's subtask.
///
/// The host calls, around every call of the operator: `admit` (after a `Flow::Fetch`), the operator, `settle`; and
/// `cut` at the end of an epoch that is checkpointed.
#[derive(Debug)]
pub struct OperatorState {
    tables: Vec<StateTable>,
    account: Account,
    /// Bytes that the operator holds beside its tables.
    held: usize,
}

/// Bytes by which an operator may grow or shrink before the budget hears of it.
const REPORT_STEP: usize = 64 << 10;

impl OperatorState {
    /// Empty tables of `specs`, counted against `budget`.
    pub fn new(specs: Vec<TableSpec>, tier: Tier, budget: &Arc<MemoryBudget>) -> Self {
        let numbered = specs.into_iter().zip(0u16..);
        let tables = numbered.map(|(spec, number)| StateTable::new(number, spec, tier)).collect();
        OperatorState { tables, account: Account::new(Arc::clone(budget)), held: 0 }
    }

    /// Resident tables without a limit, for tests and for operators run by hand.
    pub fn in_memory(specs: Vec<TableSpec>) -> Self {
        Self::new(specs, Tier::Resident, &MemoryBudget::unlimited())
    }

    /// The `i`th table of the spec. `Internal` when the operator declared fewer.
    pub fn table(&mut self, i: usize) -> Result<&mut StateTable> {
        let declared = self.tables.len();
        self.tables
            .get_mut(i)
            .ok_or_else(|| Error::internal(format!("operator used state table {i} and has declared {declared}")))
    }

    /// The `i`th table, a Map.
    pub fn map(&mut self, i: usize) -> Result<&mut MapTable> {
        self.table(i)?.map()
    }

    /// The `i`th table, a Bag.
    pub fn bag(&mut self, i: usize) -> Result<&mut BagTable> {
        self.table(i)?.bag()
    }

    /// The `i`th table, an Ordered one.
    pub fn ordered(&mut self, i: usize) -> Result<&mut OrderedTable> {
        self.table(i)?.ordered()
    }

    /// All tables, to borrow several at once.
    pub fn tables_mut(&mut self) -> &mut [StateTable] {
        &mut self.tables
    }

    /// Takes the entries of `reads` as being in memory, until [`OperatorState::forget_all`].
    pub fn admit(&mut self, reads: &[Read]) {
        for read in reads {
            if let Some(table) = self.tables.get_mut(usize::from(read.table)) {
                table.admit(read);
            }
        }
    }

    /// Forgets what was admitted; the host calls it once an operator's call is done. Nothing on the resident tier.
    pub fn forget_all(&mut self) {
        self.tables.iter_mut().for_each(StateTable::forget);
    }

    /// Tells how many bytes the operator now holds beside its tables: what it gathers within an epoch.
    pub fn hold(&mut self, bytes: usize) {
        self.held = bytes;
    }

    /// Reports the bytes held to the budget. `Limit` when `state_memory_limit` is passed. Call it after every call
    /// of the operator: cheap unless 64 KiB have come or gone.
    pub fn settle(&mut self) -> Result<()> {
        let bytes = self.bytes();
        if bytes.abs_diff(self.account.reported()) < REPORT_STEP {
            return Ok(());
        }
        self.account.set(bytes)
    }

    /// The entries of each table changed since the last cut; tables without a change are left out.
    pub fn cut(&mut self) -> Vec<TableCut> {
        self.tables.iter_mut().map(StateTable::cut).filter(|cut| !cut.is_empty()).collect()
    }

    /// Applies stored entries, as cuts gave them, to the `table`th table: an entry replaces an earlier one of its key.
    pub fn load<'a>(
        &mut self,
        table: usize,
        entries: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<()> {
        let table = self.table(table)?;
        entries.into_iter().try_for_each(|(key, value)| table.load(key, value))
    }

    /// Bytes of memory held by all tables, and by the operator beside them.
    pub fn bytes(&self) -> usize {
        self.held + self.tables.iter().map(StateTable::bytes).sum::<usize>()
    }

    /// Entries of all tables.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(StateTable::rows).sum()
    }
}
