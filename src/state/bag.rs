//! The Bag table: per key an ordered multiset of rows with weights.

use super::codec::{read_weight, write_key};
use super::group::{self, PackedRows};
use super::residency::{Residency, keys_of};
use super::slots::{Slot, Slots};
use super::tree::{Tree, TreeRows};
use super::{Read, StoredKey, TableCut, TableSpec, Tier, Wanted};
use crate::base::{Error, Result};
use crate::types::{EncodedRows, Weights};

type BagSlot = Slot<Option<Box<Tree>>>;

/// Per key an ordered multiset: row → weight, never 0. Within an epoch a weight may be negative (a retraction may
/// arrive before its insertion); at an epoch's end none is, if the input is a relation.
#[derive(Debug)]
pub struct BagTable {
    number: u16,
    slots: Slots<Option<Box<Tree>>>,
    residency: Residency,
    /// Deletions of stored rows since the last cut.
    deleted: TableCut,
    rows: usize,
    tree_bytes: usize,
}

impl BagTable {
    pub(super) fn new(number: u16, spec: &TableSpec, tier: Tier) -> Self {
        BagTable {
            number,
            slots: Slots::default(),
            residency: Residency::new(tier, spec),
            deleted: TableCut::new(number),
            rows: 0,
            tree_bytes: 0,
        }
    }

    /// The read that must be fetched before all rows of `keys` can be read. Brings near what is in memory, as
    /// [`super::MapTable::missing`] does.
    pub fn missing(&self, keys: &EncodedRows) -> Option<Read> {
        self.slots.warm(keys.iter());
        self.residency.missing(self.number, keys_of(keys))
    }

    /// The read that must be fetched before weights of these single rows (`keys` and `rows` side by side) can be read
    /// or added to. Much less than [`BagTable::missing`] where a key has many rows.
    pub fn missing_rows(&self, keys: &EncodedRows, rows: &EncodedRows) -> Option<Read> {
        self.slots.warm(keys.iter());
        let wanted = keys.iter().zip(rows.iter()).map(|(key, row)| Wanted::Row(key.into(), row.into()));
        self.residency.missing(self.number, wanted)
    }

    /// The read that must be fetched before [`BagTable::first`] (or, if `last`, [`BagTable::last`]) can be asked of
    /// `keys`, when up to `rows - 1` of a key's rows (side by side) may have gone by then.
    pub fn missing_ends(&self, keys: &EncodedRows, rows: &[u32], last: bool) -> Option<Read> {
        let end = |(key, &rows): (&[u8], &u32)| Wanted::End { key: key.into(), rows, last };
        self.residency.missing(self.number, keys.iter().zip(rows).map(end))
    }

    /// Adds `weight` to `row` of `key`; returns the row's weight now (0: it went). Never scans a big group.
    pub fn add(&mut self, key: &[u8], row: &[u8], weight: i64) -> Result<i64> {
        self.residency.check(|| Wanted::Row(key.into(), row.into()))?;
        self.residency.check_key(&[], key)?;
        if weight == 0 {
            return Ok(self.weight_in_memory(key, row));
        }
        let (slot, _) = self.slots.find_or_insert(key)?;
        let added = self.add_to(slot, row, weight, false)?;
        if added.deleted_stored {
            self.deleted.delete(|out| write_key(out, &[], key, row));
        }
        if added.weight == 0 && self.slots.slot(slot).is_empty_bag() {
            self.slots.remove(slot);
        }
        Ok(added.weight)
    }

    /// [`BagTable::add`] for each row of `keys` and `rows` (side by side) with its weight.
    pub fn add_batch(&mut self, keys: &EncodedRows, rows: &EncodedRows, weights: &Weights) -> Result<()> {
        if keys.len() != rows.len() {
            return Err(Error::internal(format!("{} keys beside {} rows", keys.len(), rows.len())));
        }
        for (i, (key, row)) in keys.iter().zip(rows.iter()).enumerate() {
            self.add(key, row, weights.get(i))?;
        }
        Ok(())
    }

    fn add_to(&mut self, slot: u32, row: &[u8], weight: i64, stored: bool) -> Result<group::Added> {
        let place = self.slots.slot_mut(slot);
        let added = if let Some(tree) = &mut place.extra {
            let before = tree.bytes();
            let added = tree.add(row, weight, stored)?;
            self.tree_bytes = self.tree_bytes + tree.bytes() - before;
            added
        } else {
            let (added, outgrown) = self.slots.edit_value(slot, |record, start| {
                let added = group::add_packed(record, start, row, weight, stored);
                (added, group::outgrown(&record[start..], group::PACKED_MAX))
            });
            if outgrown {
                self.make_tree(slot);
            }
            added?
        };
        if !stored {
            self.slots.mark(slot);
        }
        self.rows = self.rows.saturating_add_signed(added.rows);
        Ok(added)
    }

    fn make_tree(&mut self, slot: u32) {
        let tree = self.slots.edit_value(slot, |record, start| {
            let tree = Tree::from_packed(&record[start..]);
            record.truncate(start);
            tree
        });
        self.tree_bytes += tree.bytes();
        self.slots.slot_mut(slot).extra = Some(Box::new(tree));
    }

    /// The weight of `row` of `key`; 0 if it is not there.
    pub fn weight(&self, key: &[u8], row: &[u8]) -> Result<i64> {
        self.residency.check(|| Wanted::Row(key.into(), row.into()))?;
        Ok(self.weight_in_memory(key, row))
    }

    fn weight_in_memory(&self, key: &[u8], row: &[u8]) -> i64 {
        let Some(slot) = self.slots.find(key) else { return 0 };
        let slot = self.slots.slot(slot);
        match &slot.extra {
            Some(tree) => tree.weight(row),
            None => group::packed_weight(slot.value(), row),
        }
    }

    /// The (row, weight)s of `key`, in order of rows. `Internal` when the key is not in memory as a whole.
    #[inline]
    pub fn rows(&self, key: &[u8]) -> Result<RowsOfKey<'_>> {
        self.residency.check(|| Wanted::Key(key.into()))?;
        Ok(self.rows_in_memory(key))
    }

    #[inline]
    fn rows_in_memory(&self, key: &[u8]) -> RowsOfKey<'_> {
        let Some(slot) = self.slots.find(key) else { return RowsOfKey::none() };
        let slot = self.slots.slot(slot);
        match &slot.extra {
            Some(tree) => RowsOfKey { rows: Inner::Tree(tree.rows()), from: &[] },
            None => RowsOfKey { rows: Inner::Packed(group::packed_rows(slot.value())), from: &[] },
        }
    }

    /// As [`BagTable::rows`], beginning with the first row not below `from`.
    pub fn rows_from<'a>(&'a self, key: &[u8], from: &'a [u8]) -> Result<RowsOfKey<'a>> {
        self.residency.check(|| Wanted::Key(key.into()))?;
        let Some(slot) = self.slots.find(key) else { return Ok(RowsOfKey::none()) };
        let slot = self.slots.slot(slot);
        Ok(match &slot.extra {
            Some(tree) => RowsOfKey { rows: Inner::Tree(tree.rows_about(from)), from },
            None => RowsOfKey { rows: Inner::Packed(group::packed_rows(slot.value())), from },
        })
    }

    /// The last rows of `key` that are below `before`, at most `count` of them, in order of rows.
    pub fn rows_before(&self, key: &[u8], before: &[u8], count: usize) -> Result<Vec<&[u8]>> {
        self.residency.check(|| Wanted::Key(key.into()))?;
        let Some(slot) = self.slots.find(key) else { return Ok(Vec::new()) };
        let slot = self.slots.slot(slot);
        let Some(tree) = &slot.extra else {
            let below = group::packed_rows(slot.value()).map(|(row, _)| row).take_while(|row| *row < before);
            let below: Vec<&[u8]> = below.collect();
            return Ok(below[below.len().saturating_sub(count)..].to_vec());
        };
        let mut found: Vec<&[u8]> = tree.rows_back_below(before).take(count).map(|(row, _)| row).collect();
        found.reverse();
        Ok(found)
    }

    /// The first row of `key` with positive weight.
    pub fn first(&self, key: &[u8]) -> Result<Option<(&[u8], i64)>> {
        self.residency.check(|| Wanted::End { key: key.into(), rows: 1, last: false })?;
        Ok(self.rows_in_memory(key).find(|&(_, weight)| weight > 0))
    }

    /// The last row of `key` with positive weight.
    pub fn last(&self, key: &[u8]) -> Result<Option<(&[u8], i64)>> {
        self.residency.check(|| Wanted::End { key: key.into(), rows: 1, last: true })?;
        let Some(slot) = self.slots.find(key) else { return Ok(None) };
        let slot = self.slots.slot(slot);
        Ok(match &slot.extra {
            Some(tree) => tree.rows_back().find(|&(_, weight)| weight > 0),
            None => group::packed_rows(slot.value()).filter(|&(_, weight)| weight > 0).last(),
        })
    }

    /// The last row of `key` below `bound` with positive weight.
    pub fn last_below(&self, key: &[u8], bound: &[u8]) -> Result<Option<(&[u8], i64)>> {
        self.residency.check(|| Wanted::Key(key.into()))?;
        let Some(slot) = self.slots.find(key) else { return Ok(None) };
        let slot = self.slots.slot(slot);
        Ok(match &slot.extra {
            Some(tree) => tree.rows_back_below(bound).find(|&(_, weight)| weight > 0),
            None => {
                let rows = group::packed_rows(slot.value());
                rows.take_while(|&(row, _)| row < bound).filter(|&(_, weight)| weight > 0).last()
            }
        })
    }

    /// How many distinct rows `key` has.
    pub fn rows_of(&self, key: &[u8]) -> Result<usize> {
        self.residency.check(|| Wanted::Key(key.into()))?;
        let Some(slot) = self.slots.find(key) else { return Ok(0) };
        let slot = self.slots.slot(slot);
        Ok(slot.extra.as_ref().map_or_else(|| group::packed_rows(slot.value()).count(), |tree| tree.len()))
    }

    /// Removes all rows of `key`, which must be in memory.
    pub fn delete_key(&mut self, key: &[u8]) -> Result<()> {
        self.residency.check(|| Wanted::Key(key.into()))?;
        let Some(slot) = self.slots.find(key) else { return Ok(()) };
        let (deleted, mut rows) = (&mut self.deleted, 0);
        self.slots.slot(slot).each(|row, _, stored| {
            rows += 1;
            if stored {
                deleted.delete(|out| write_key(out, &[], key, row));
            }
        });
        self.rows -= rows;
        self.tree_bytes -= self.slots.slot(slot).extra.as_ref().map_or(0, |tree| tree.bytes());
        self.slots.remove(slot);
        Ok(())
    }

    /// Calls `each` with every (key, row, weight), keys in no order. `Internal` unless the whole table is in memory.
    pub fn each(&self, mut each: impl FnMut(&[u8], &[u8], i64)) -> Result<()> {
        self.residency.check(|| Wanted::All)?;
        self.slots.iter().for_each(|slot| slot.each(|row, weight, _| each(slot.key(), row, weight)));
        Ok(())
    }

    /// How many rows (distinct per key).
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many keys.
    pub fn keys(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes() + self.tree_bytes + self.deleted.bytes()
    }

    pub(super) fn residency_mut(&mut self) -> &mut Residency {
        &mut self.residency
    }

    pub(super) fn cut(&mut self) -> TableCut {
        let mut cut = std::mem::replace(&mut self.deleted, TableCut::new(self.number));
        let tree_bytes = &mut self.tree_bytes;
        let mut key = Vec::new();
        self.slots.take_dirty(|slot| {
            key.clear();
            key.extend_from_slice(slot.key());
            let mut put = |row: &[u8], weight: i64| {
                cut.put(|out| write_key(out, &[], &key, row), &weight.to_be_bytes());
            };
            if let Some(tree) = &mut slot.extra {
                let before = tree.bytes();
                tree.take_dirty(&mut put);
                *tree_bytes = *tree_bytes + tree.bytes() - before;
            } else {
                group::take_dirty_packed(slot.value_mut(), 0, &mut put);
            }
        });
        cut
    }

    pub(super) fn load(&mut self, stored: StoredKey<'_>, value: Option<&[u8]>) -> Result<()> {
        let present = self.weight_in_memory(stored.key, stored.row);
        let wanted = value.map_or(Ok(0), read_weight)?;
        if wanted == present {
            return Ok(());
        }
        let (slot, _) = self.slots.find_or_insert(stored.key)?;
        self.add_to(slot, stored.row, wanted - present, true)?;
        if self.slots.slot(slot).is_empty_bag() {
            self.slots.remove(slot);
        }
        Ok(())
    }
}

impl BagSlot {
    fn is_empty_bag(&self) -> bool {
        self.extra.as_ref().map_or_else(|| self.value().is_empty(), |tree| tree.len() == 0)
    }

    fn each(&self, each: impl FnMut(&[u8], i64, bool)) {
        match &self.extra {
            Some(tree) => tree.each(each),
            None => group::each_packed(self.value(), each),
        }
    }
}

/// Iterator over the (row, weight)s of one key, in order of rows.
#[derive(Clone, Debug)]
pub struct RowsOfKey<'a> {
    rows: Inner<'a>,
    /// Rows below it are passed over.
    from: &'a [u8],
}

#[derive(Clone, Debug)]
enum Inner<'a> {
    Packed(PackedRows<'a>),
    Tree(TreeRows<'a>),
}

impl RowsOfKey<'_> {
    fn none() -> Self {
        RowsOfKey { rows: Inner::Packed(group::packed_rows(&[])), from: &[] }
    }
}

impl<'a> Iterator for RowsOfKey<'a> {
    type Item = (&'a [u8], i64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = match &mut self.rows {
                Inner::Packed(rows) => rows.next(),
                Inner::Tree(rows) => rows.next(),
            }?;
            if self.from.is_empty() || next.0 >= self.from {
                self.from = &[];
                return Some(next);
            }
        }
    }
}
