//! The rows of one key of a Bag: packed bytes while few, a B-tree when many.
//!
//! Packed, sorted by row: `length u32 · flags u8 · weight i64 · row bytes`, one row after another, in memory only
//! (native byte order of the fields is little-endian).

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::{Bound, Range};

use crate::base::{Error, Result};

/// A packed group beyond this many bytes becomes a tree, unless it is a single row.
const PACKED_MAX: usize = 1024;
const HEAD: usize = 4 + 1 + 8;

/// Changed since the last cut.
const DIRTY: u8 = 1;
/// Present in the last cut.
const STORED: u8 = 2;

/// What adding to a row did.
#[derive(Debug)]
pub(super) struct Added {
    /// The row's weight now; 0 = it went.
    pub(super) weight: i64,
    /// Whether a row of the last cut went.
    pub(super) deleted_stored: bool,
    /// The change in the number of rows.
    pub(super) rows: isize,
}

/// A row of a packed group.
struct Packed {
    /// Of the whole row, head included.
    place: Range<usize>,
    flags: u8,
    weight: i64,
}

fn read_at(buffer: &[u8], at: usize) -> Packed {
    let length: [u8; 4] = buffer[at..at + 4].try_into().expect("slice of 4");
    let weight: [u8; 8] = buffer[at + 5..at + HEAD].try_into().expect("slice of 8");
    let length = u32::from_le_bytes(length) as usize;
    Packed { place: at..at + HEAD + length, flags: buffer[at + 4], weight: i64::from_le_bytes(weight) }
}

fn write_head(buffer: &mut [u8], at: usize, flags: u8, weight: i64) {
    buffer[at + 4] = flags;
    buffer[at + 5..at + HEAD].copy_from_slice(&weight.to_le_bytes());
}

/// The row bytes and weights of the packed group in `buffer`, in order.
pub(super) fn packed_rows(buffer: &[u8]) -> PackedRows<'_> {
    PackedRows { rest: buffer }
}

/// Iterator over a packed group.
#[derive(Clone, Debug)]
pub(super) struct PackedRows<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for PackedRows<'a> {
    type Item = (&'a [u8], i64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packed = read_at(self.rest, 0);
        let (row, rest) = self.rest.split_at(packed.place.end);
        self.rest = rest;
        Some((&row[HEAD..], packed.weight))
    }
}

/// Adds `weight` to `row` in the packed group behind `start` of `buffer`. `stored`: the row comes from the last cut.
pub(super) fn add_packed(buffer: &mut Vec<u8>, start: usize, row: &[u8], weight: i64, stored: bool) -> Result<Added> {
    let new_flags = if stored { STORED } else { DIRTY };
    let mut at = start;
    while at < buffer.len() {
        let packed = read_at(buffer, at);
        match buffer[packed.place.start + HEAD..packed.place.end].cmp(row) {
            std::cmp::Ordering::Less => at = packed.place.end,
            std::cmp::Ordering::Greater => break,
            std::cmp::Ordering::Equal => {
                let sum = add_weights(packed.weight, weight)?;
                if sum == 0 {
                    buffer.drain(packed.place);
                    return Ok(Added { weight: 0, deleted_stored: packed.flags & STORED != 0, rows: -1 });
                }
                write_head(buffer, at, if stored { STORED } else { packed.flags | DIRTY }, sum);
                return Ok(Added { weight: sum, deleted_stored: false, rows: 0 });
            }
        }
    }
    let length = u32::try_from(row.len()).map_err(|_| Error::limit("row of state is longer than 4 GiB"))?;
    let end = buffer.len();
    buffer.resize(end + HEAD + row.len(), 0);
    buffer.copy_within(at..end, at + HEAD + row.len());
    buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
    write_head(buffer, at, new_flags, weight);
    buffer[at + HEAD..at + HEAD + row.len()].copy_from_slice(row);
    Ok(Added { weight, deleted_stored: false, rows: 1 })
}

/// The weight of `row` in a packed group; 0 if it is not there.
pub(super) fn packed_weight(buffer: &[u8], row: &[u8]) -> i64 {
    packed_rows(buffer)
        .find(|(other, _)| *other >= row)
        .map_or(0, |(other, weight)| if other == row { weight } else { 0 })
}

/// Calls `each` with every (row, weight, stored) of a packed group.
pub(super) fn each_packed(buffer: &[u8], mut each: impl FnMut(&[u8], i64, bool)) {
    let mut at = 0;
    while at < buffer.len() {
        let packed = read_at(buffer, at);
        each(&buffer[at + HEAD..packed.place.end], packed.weight, packed.flags & STORED != 0);
        at = packed.place.end;
    }
}

/// Calls `each` with every changed (row, weight) of a packed group, and takes them as stored.
pub(super) fn take_dirty_packed(buffer: &mut [u8], start: usize, mut each: impl FnMut(&[u8], i64)) {
    let mut at = start;
    while at < buffer.len() {
        let packed = read_at(buffer, at);
        if packed.flags & DIRTY != 0 {
            each(&buffer[at + HEAD..packed.place.end], packed.weight);
            buffer[at + 4] = STORED;
        }
        at = packed.place.end;
    }
}

/// Whether the packed group (without its key) has become too big to be scanned.
pub(super) fn outgrown(buffer: &[u8]) -> bool {
    buffer.len() > PACKED_MAX && read_at(buffer, 0).place.end < buffer.len()
}

/// The rows of a key that has many.
#[derive(Debug, Default)]
pub(super) struct Tree {
    rows: BTreeMap<Box<[u8]>, Count>,
    dirty: Dirty,
    bytes: usize,
}

/// Which rows have their DIRTY flag set.
#[derive(Debug)]
enum Dirty {
    /// These; may name rows that went, or one row twice.
    Listed(Vec<Box<[u8]>>),
    /// Too many to list: all rows are looked at.
    Many,
}

impl Default for Dirty {
    fn default() -> Self {
        Dirty::Listed(Vec::new())
    }
}

/// More than one row in so many is changed: looking at all of them costs less than finding each.
const MANY_ONE_IN: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Count {
    weight: i64,
    flags: u8,
}

/// What a row costs in a tree beside its bytes: key pointer, count, its share of the node.
const TREE_ROW: usize = 48;

impl Tree {
    /// The packed group `buffer` as a tree.
    pub(super) fn from_packed(buffer: &[u8]) -> Tree {
        let mut tree = Tree::default();
        let mut at = 0;
        while at < buffer.len() {
            let packed = read_at(buffer, at);
            let row: Box<[u8]> = buffer[at + HEAD..packed.place.end].into();
            tree.bytes += row.len() + TREE_ROW;
            if packed.flags & DIRTY != 0 {
                tree.note_dirty(&row);
            }
            tree.rows.insert(row, Count { weight: packed.weight, flags: packed.flags });
            at = packed.place.end;
        }
        tree
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        match &self.dirty {
            Dirty::Listed(rows) => self.bytes + rows.capacity() * 32,
            Dirty::Many => self.bytes,
        }
    }

    pub(super) fn weight(&self, row: &[u8]) -> i64 {
        self.rows.get(row).map_or(0, |count| count.weight)
    }

    pub(super) fn rows(&self) -> TreeRows<'_> {
        TreeRows { inner: self.rows.range::<[u8], _>(..) }
    }

    pub(super) fn rows_below(&self, bound: &[u8]) -> TreeRows<'_> {
        TreeRows { inner: self.rows.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(bound))) }
    }

    pub(super) fn rows_from(&self, from: &[u8]) -> TreeRows<'_> {
        TreeRows { inner: self.rows.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) }
    }

    /// As [`add_packed`].
    pub(super) fn add(&mut self, row: &[u8], weight: i64, stored: bool) -> Result<Added> {
        let Some(count) = self.rows.get_mut(row) else {
            let flags = if stored { STORED } else { DIRTY };
            self.bytes += row.len() + TREE_ROW;
            self.rows.insert(row.into(), Count { weight, flags });
            if !stored {
                self.note_dirty(row);
            }
            return Ok(Added { weight, deleted_stored: false, rows: 1 });
        };
        let sum = add_weights(count.weight, weight)?;
        if sum == 0 {
            let deleted_stored = count.flags & STORED != 0;
            self.rows.remove(row);
            self.bytes -= row.len() + TREE_ROW;
            return Ok(Added { weight: 0, deleted_stored, rows: -1 });
        }
        count.weight = sum;
        if stored {
            count.flags = STORED;
        } else if count.flags & DIRTY == 0 {
            count.flags |= DIRTY;
            self.note_dirty(row);
        }
        Ok(Added { weight: sum, deleted_stored: false, rows: 0 })
    }

    fn note_dirty(&mut self, row: &[u8]) {
        let Dirty::Listed(dirty) = &mut self.dirty else { return };
        dirty.push(row.into());
        if dirty.len() > self.rows.len() / MANY_ONE_IN + 64 {
            self.dirty = Dirty::Many;
        }
    }

    pub(super) fn take_dirty(&mut self, mut each: impl FnMut(&[u8], i64)) {
        let mut take = |row: &[u8], count: &mut Count| {
            if count.flags & DIRTY != 0 {
                count.flags = STORED;
                each(row, count.weight);
            }
        };
        match std::mem::take(&mut self.dirty) {
            Dirty::Many => self.rows.iter_mut().for_each(|(row, count)| take(row, count)),
            Dirty::Listed(dirty) => {
                for row in dirty {
                    if let Some(count) = self.rows.get_mut(&row) {
                        take(&row, count);
                    }
                }
            }
        }
    }

    pub(super) fn each(&self, mut each: impl FnMut(&[u8], i64, bool)) {
        for (row, count) in &self.rows {
            each(row, count.weight, count.flags & STORED != 0);
        }
    }
}

/// Iterator over a tree's rows, in order.
#[derive(Clone, Debug)]
pub(super) struct TreeRows<'a> {
    inner: btree_map::Range<'a, Box<[u8]>, Count>,
}

impl<'a> Iterator for TreeRows<'a> {
    type Item = (&'a [u8], i64);

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().map(|(row, count)| (&**row, count.weight))
    }
}

impl DoubleEndedIterator for TreeRows<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.inner.next_back().map(|(row, count)| (&**row, count.weight))
    }
}

fn add_weights(a: i64, b: i64) -> Result<i64> {
    a.checked_add(b).ok_or_else(|| Error::limit("a row of state is present more than 9223372036854775807 times"))
}
