//! A state table: one of the three kinds, with its spec.

use super::map::wrong_kind;
use super::residency::Residency;
use super::{BagTable, MapTable, OrderedTable, Read, StoredKey, TableCut, TableKind, TableSpec, Tier};
use crate::base::{Error, Result};

/// One named, typed table owned by one operator's subtask.
#[derive(Debug)]
pub struct StateTable {
    spec: TableSpec,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Map(MapTable),
    Bag(BagTable),
    Ordered(OrderedTable),
}

impl StateTable {
    /// An empty table of `spec`, the `number`th of its operator.
    pub fn new(number: u16, spec: TableSpec, tier: Tier) -> Self {
        let kind = match spec.kind {
            TableKind::Map => Kind::Map(MapTable::new(number, &spec, tier)),
            TableKind::Bag => Kind::Bag(BagTable::new(number, &spec, tier)),
            TableKind::Ordered => Kind::Ordered(OrderedTable::new(number, &spec, tier)),
        };
        StateTable { spec, kind }
    }

    /// What it was declared as.
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// As a Map. `Internal` if it is of another kind.
    pub fn map(&mut self) -> Result<&mut MapTable> {
        match &mut self.kind {
            Kind::Map(table) => Ok(table),
            Kind::Bag(_) | Kind::Ordered(_) => Err(wrong_kind(&self.spec, "Map")),
        }
    }

    /// As a Bag. `Internal` if it is of another kind.
    pub fn bag(&mut self) -> Result<&mut BagTable> {
        match &mut self.kind {
            Kind::Bag(table) => Ok(table),
            Kind::Map(_) | Kind::Ordered(_) => Err(wrong_kind(&self.spec, "Bag")),
        }
    }

    /// As an Ordered table. `Internal` if it is of another kind.
    pub fn ordered(&mut self) -> Result<&mut OrderedTable> {
        match &mut self.kind {
            Kind::Ordered(table) => Ok(table),
            Kind::Map(_) | Kind::Bag(_) => Err(wrong_kind(&self.spec, "Ordered")),
        }
    }

    /// How many entries.
    pub fn rows(&self) -> usize {
        match &self.kind {
            Kind::Map(table) => table.len(),
            Kind::Bag(table) => table.len(),
            Kind::Ordered(table) => table.len(),
        }
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Map(table) => table.bytes(),
            Kind::Bag(table) => table.bytes(),
            Kind::Ordered(table) => table.bytes(),
        }
    }

    /// The entries changed since the last cut (or load); possibly none.
    pub fn cut(&mut self) -> TableCut {
        match &mut self.kind {
            Kind::Map(table) => table.cut(),
            Kind::Bag(table) => table.cut(),
            Kind::Ordered(table) => table.cut(),
        }
    }

    /// Applies one stored entry, as a cut gave it; a later one of the same key replaces it. `Corrupt` when the bytes
    /// are not of this table's layout.
    pub fn load(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let stored = StoredKey::parse(&self.spec, key)?;
        let loaded = match &mut self.kind {
            Kind::Map(table) => table.load(stored, value),
            Kind::Bag(table) => table.load(stored, value),
            Kind::Ordered(table) => table.load(stored, value),
        };
        loaded.map_err(|error: Error| error.context(format!("in state table \"{}\"", self.spec.name)))
    }

    pub(super) fn admit(&mut self, read: &Read) {
        self.residency().admit(&read.wanted);
    }

    pub(super) fn forget(&mut self) {
        self.residency().forget();
    }

    fn residency(&mut self) -> &mut Residency {
        match &mut self.kind {
            Kind::Map(table) => table.residency_mut(),
            Kind::Bag(table) => table.residency_mut(),
            Kind::Ordered(table) => table.residency_mut(),
        }
    }
}
