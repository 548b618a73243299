//! The Map table: one value per key.

use super::codec::{read_value, write_key};
use super::residency::{Residency, keys_of};
use super::slots::Slots;
use super::{Read, StoredKey, TableCut, TableSpec, Tier, Wanted};
use crate::base::{Error, Result};
use crate::types::EncodedRows;

/// What an update does to the entry it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// Its value becomes what was written into the buffer.
    Put,
    /// It goes.
    Delete,
}

/// One value per key; bytes in, bytes out.
#[derive(Debug)]
pub struct MapTable {
    number: u16,
    slots: Slots<()>,
    residency: Residency,
    /// Deletions of stored entries since the last cut.
    deleted: TableCut,
    scratch: Vec<u8>,
}

impl MapTable {
    pub(super) fn new(number: u16, spec: &TableSpec, tier: Tier) -> Self {
        MapTable {
            number,
            slots: Slots::default(),
            residency: Residency::new(tier, spec),
            deleted: TableCut::new(number),
            scratch: Vec::new(),
        }
    }

    /// The read that must be fetched before the entries of `keys` can be read. Ask for a batch at a time: entries in
    /// memory are brought near, which makes the lookups that follow more than twice as fast in a big table.
    pub fn missing(&self, keys: &EncodedRows) -> Option<Read> {
        self.slots.warm(keys.iter());
        self.residency.missing(self.number, keys_of(keys))
    }

    /// The value of `key`. `Internal` when the key is not in memory.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        self.residency.check(|| Wanted::Key(key.into()))?;
        Ok(self.slots.find(key).map(|slot| self.slots.slot(slot).value()))
    }

    /// Sets the value of `key`, which need not be in memory.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.residency.check_key(&[], key)?;
        let (slot, _) = self.slots.find_or_insert(key)?;
        self.slots.set_value(slot, value);
        Ok(())
    }

    /// Removes the entry of `key`, which need not be in memory.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.residency.check_key(&[], key)?;
        if let Some(slot) = self.slots.find(key) {
            self.remove(slot);
        }
        Ok(())
    }

    /// Shows `change` the value of `key` and an empty buffer for the new one, and does what it answers: one lookup.
    /// `Internal` when the key is not in memory.
    pub fn update(
        &mut self,
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>, &mut Vec<u8>) -> Result<Change>,
    ) -> Result<()> {
        self.residency.check(|| Wanted::Key(key.into()))?;
        self.residency.check_key(&[], key)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let (slot, new) = self.slots.find_or_insert(key)?;
        let old = (!new).then(|| self.slots.slot(slot).value());
        let answer = change(old, &mut scratch);
        match answer {
            Ok(Change::Put) => self.slots.set_value(slot, &scratch),
            Ok(Change::Delete) if !new => self.remove(slot),
            Ok(Change::Keep) if !new => {}
            Ok(Change::Delete | Change::Keep) => self.slots.remove(slot),
            Err(_) if new => self.slots.remove(slot),
            Err(_) => {}
        }
        self.scratch = scratch;
        answer.map(|_| ())
    }

    /// Every (key, value), in no order. `Internal` unless the whole table is in memory.
    pub fn entries(&self) -> Result<impl Iterator<Item = (&[u8], &[u8])>> {
        self.residency.check(|| Wanted::All)?;
        Ok(self.slots.iter().map(|slot| (slot.key(), slot.value())))
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn remove(&mut self, slot: u32) {
        let place = self.slots.slot(slot);
        if place.is_stored() {
            self.deleted.delete(|out| write_key(out, &[], place.key(), &[]));
        }
        self.slots.remove(slot);
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes() + self.deleted.bytes() + self.scratch.capacity()
    }

    pub(super) fn residency_mut(&mut self) -> &mut Residency {
        &mut self.residency
    }

    pub(super) fn cut(&mut self) -> TableCut {
        let mut cut = std::mem::replace(&mut self.deleted, TableCut::new(self.number));
        self.slots.take_dirty(|slot| cut.put(|out| write_key(out, &[], slot.key(), &[]), slot.value()));
        cut
    }

    pub(super) fn load(&mut self, stored: StoredKey<'_>, value: Option<&[u8]>) -> Result<()> {
        let Some(value) = value else {
            if let Some(slot) = self.slots.find(stored.key) {
                self.slots.remove(slot);
            }
            return Ok(());
        };
        let payload = read_value(value)?;
        let (slot, _) = self.slots.find_or_insert(stored.key)?;
        self.slots.load_value(slot, payload);
        Ok(())
    }
}

/// The error of asking a table for what its kind does not do.
pub(super) fn wrong_kind(spec: &TableSpec, wanted: &str) -> Error {
    Error::internal(format!("state table \"{}\" is a {:?} table and was used as {wanted}", spec.name, spec.kind))
}
