//! Residency: which keys of a table are in memory, and how an operator asks for those that are not.
//!
//! The order of calls: the operator asks `missing(..)`; if that returns a [`Read`], it returns `Flow::Fetch` before it
//! changed anything; the host reads in bulk off the worker thread, calls `OperatorState::admit`, and calls the operator
//! again with the same arguments.

use rustc_hash::FxHashSet;

use super::TableSpec;
use super::codec::split;
use crate::base::{Error, Result};
use crate::types::EncodedRows;

/// Where the entries of an operator's tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// All in memory: nothing is ever missing.
    #[default]
    Resident,
    /// For tests: every first read of a call is missing, and reading what was not admitted is an `Internal` error.
    Strict,
}

/// Entries of one table that an operator needs in memory before it can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The table's number within its operator.
    pub table: u16,
    /// What is needed of it.
    pub wanted: Vec<Wanted>,
}

/// A part of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Map: the entry of a key. Bag: all rows of a key.
    Key(Box<[u8]>),
    /// Bag: the first (or last) rows of a key, so many of those that are there before the call changes any.
    End {
        /// The key.
        key: Box<[u8]>,
        /// How many rows at least.
        rows: u32,
        /// The last ones.
        last: bool,
    },
    /// Bag: the weight of one row of a key.
    Row(Box<[u8]>, Box<[u8]>),
    /// Ordered: the entry of (order, key).
    Entry(Box<[u8]>, Box<[u8]>),
    /// Ordered: every entry whose order is at most this.
    Through(Box<[u8]>),
    /// The whole table.
    All,
}

/// A table's record of what is in memory.
#[derive(Debug)]
pub(super) enum Residency {
    Resident,
    Strict(StrictSet),
}

#[derive(Debug)]
pub(super) struct StrictSet {
    spec: TableSpec,
    admitted: FxHashSet<Wanted>,
    through: Option<Box<[u8]>>,
    all: bool,
}

impl Residency {
    pub(super) fn new(tier: Tier, spec: &TableSpec) -> Self {
        match tier {
            Tier::Resident => Residency::Resident,
            Tier::Strict => Residency::Strict(StrictSet {
                spec: spec.clone(),
                admitted: FxHashSet::default(),
                through: None,
                all: false,
            }),
        }
    }

    /// The read that brings `wanted` into memory; nothing is even collected when all is resident.
    pub(super) fn missing(&self, table: u16, wanted: impl IntoIterator<Item = Wanted>) -> Option<Read> {
        let Residency::Strict(set) = self else { return None };
        let mut seen = FxHashSet::default();
        let wanted: Vec<_> =
            wanted.into_iter().filter(|wanted| !set.holds(wanted) && seen.insert(wanted.clone())).collect();
        (!wanted.is_empty()).then_some(Read { table, wanted })
    }

    pub(super) fn admit(&mut self, wanted: &[Wanted]) {
        let Residency::Strict(set) = self else { return };
        for wanted in wanted {
            match wanted {
                Wanted::All => set.all = true,
                Wanted::Through(bound) => set.through = set.through.take().max(Some(bound.clone())),
                Wanted::End { key, last, .. } => {
                    // How many are needed the operator knows; what is checked is that it asked.
                    set.admitted.insert(wanted.clone());
                    set.admitted.insert(Wanted::End { key: key.clone(), rows: 1, last: *last });
                }
                Wanted::Key(_) | Wanted::Row(..) | Wanted::Entry(..) => {
                    set.admitted.insert(wanted.clone());
                }
            }
        }
    }

    pub(super) fn forget(&mut self) {
        if let Residency::Strict(set) = self {
            set.admitted.clear();
            set.through = None;
            set.all = false;
        }
    }

    /// Refuses to read what is not in memory.
    #[inline]
    pub(super) fn check(&self, wanted: impl FnOnce() -> Wanted) -> Result<()> {
        match self {
            Residency::Resident => Ok(()),
            Residency::Strict(set) => set.check(wanted()),
        }
    }

    /// Refuses keys that are not of the table's types.
    #[inline]
    pub(super) fn check_key(&self, order: &[u8], key: &[u8]) -> Result<()> {
        match self {
            Residency::Resident => Ok(()),
            Residency::Strict(set) => set.check_key(order, key),
        }
    }
}

impl StrictSet {
    fn holds(&self, wanted: &Wanted) -> bool {
        if self.all || self.admitted.contains(wanted) {
            return true;
        }
        let through = |order: &[u8]| self.through.as_deref().is_some_and(|bound| order <= bound);
        match wanted {
            Wanted::Row(key, _) | Wanted::End { key, .. } => self.admitted.contains(&Wanted::Key(key.clone())),
            Wanted::Entry(order, _) => through(order),
            Wanted::Through(bound) => through(bound),
            Wanted::Key(_) | Wanted::All => false,
        }
    }

    fn check(&self, wanted: Wanted) -> Result<()> {
        if self.holds(&wanted) {
            return Ok(());
        }
        Err(Error::internal(format!("operator read state that is not in memory: table \"{}\"", self.spec.name))
            .with_detail(format!("{wanted:?} was not admitted; the operator must ask with missing() first.")))
    }

    fn check_key(&self, order: &[u8], key: &[u8]) -> Result<()> {
        let whole = |types, bytes| split(types, bytes).is_some_and(|(_, rest)| rest.is_empty());
        if whole(&self.spec.order, order) && whole(&self.spec.key, key) {
            return Ok(());
        }
        Err(Error::internal(format!("operator wrote a key that is not of the types of table \"{}\"", self.spec.name))
            .with_detail(format!("Expected order {:?} and key {:?}.", self.spec.order, self.spec.key)))
    }
}

/// One [`Wanted::Key`] per row of `keys`.
pub(super) fn keys_of(keys: &EncodedRows) -> impl Iterator<Item = Wanted> {
    keys.iter().map(|key| Wanted::Key(key.into()))
}
