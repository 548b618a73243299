//! The rows of one key of a Bag: packed bytes while few, a B-tree of packed leaves when many ([`super::tree`]).
//!
//! Packed, sorted by row: `length u32 · flags u8 · weight i64 · row bytes`, one row after another, in memory only
//! (native byte order of the fields is little-endian). A row costs 13 bytes beside its own and no allocation; reading a
//! group reads memory in one direction.

use std::ops::Range;

use crate::base::{Error, Result};

/// A packed group beyond this many bytes becomes a tree, unless it is a single row.
pub(super) const PACKED_MAX: usize = 4096;
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
    let room = HEAD + row.len();
    if buffer.capacity() - end < room {
        // A quarter in hand: rows come to a key one after another.
        buffer.reserve_exact(room + if end > start { end / 4 } else { 0 });
    }
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

/// Where to cut a packed group of more than one row in two: before its last row if that was the last one to come
/// (`last_came`: rows come in ascending order), else before the row in the middle.
pub(super) fn half(buffer: &[u8], last_came: bool) -> usize {
    let (mut at, mut before) = (0, 0);
    while at < buffer.len() && (last_came || at <= buffer.len() / 2) {
        before = at;
        at = read_at(buffer, at).place.end;
    }
    if last_came || at >= buffer.len() { before } else { at }
}

/// Whether the packed group (without its key) has more than `max` bytes, and can be cut in two.
pub(super) fn outgrown(buffer: &[u8], max: usize) -> bool {
    buffer.len() > max && read_at(buffer, 0).place.end < buffer.len()
}

fn add_weights(a: i64, b: i64) -> Result<i64> {
    a.checked_add(b).ok_or_else(|| Error::limit("a row of state is present more than 9223372036854775807 times"))
}
