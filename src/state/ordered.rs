//! The Ordered table: one value per (order, key), ordered by `order`: timers, and windows freed by watermark.
//!
//! A B-tree of orders, under each a hash map of its keys: a lookup costs a short walk over few orders and one hash
//! probe, and everything through a bound goes in time proportional to what goes.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::codec::{read_value, write_key};
use super::residency::Residency;
use super::slots::{Slots, WARM_KEYS};
use super::{Change, Read, StoredKey, TableCut, TableSpec, Tier, Wanted};
use crate::base::Result;
use crate::types::EncodedRows;

/// One value per (order, key). Orders come in ascending order; within an order, keys in none.
#[derive(Debug)]
pub struct OrderedTable {
    number: u16,
    orders: BTreeMap<Box<[u8]>, Slots<()>>,
    residency: Residency,
    /// Deletions of stored entries since the last cut.
    deleted: TableCut,
    len: usize,
    /// Bytes of all buckets.
    bucket_bytes: usize,
    scratch: Vec<u8>,
}

/// What an order costs beside its bucket's own bytes.
const ORDER_BYTES: usize = 64 + size_of::<Slots<()>>();

impl OrderedTable {
    pub(super) fn new(number: u16, spec: &TableSpec, tier: Tier) -> Self {
        OrderedTable {
            number,
            orders: BTreeMap::new(),
            residency: Residency::new(tier, spec),
            deleted: TableCut::new(number),
            len: 0,
            bucket_bytes: 0,
            scratch: Vec::new(),
        }
    }

    /// The read that must be fetched before these entries (`orders` and `keys` side by side) can be read. Brings near
    /// what is in memory, as [`super::MapTable::missing`] does, best where equal orders follow each other.
    pub fn missing(&self, orders: &EncodedRows, keys: &EncodedRows) -> Option<Read> {
        self.warm(orders, keys);
        let wanted = orders.iter().zip(keys.iter()).map(|(order, key)| Wanted::Entry(order.into(), key.into()));
        self.residency.missing(self.number, wanted)
    }

    /// The read that must be fetched before everything whose order is at most `bound` can be read.
    pub fn missing_through(&self, bound: &[u8]) -> Option<Read> {
        self.residency.missing(self.number, [Wanted::Through(bound.into())])
    }

    /// The value of (order, key). `Internal` when it is not in memory.
    #[inline]
    pub fn get(&self, order: &[u8], key: &[u8]) -> Result<Option<&[u8]>> {
        self.residency.check(|| Wanted::Entry(order.into(), key.into()))?;
        let Some(bucket) = self.orders.get(order) else { return Ok(None) };
        Ok(bucket.find(key).map(|slot| bucket.slot(slot).value()))
    }

    /// Sets the value of (order, key), which need not be in memory.
    pub fn put(&mut self, order: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        self.residency.check_key(order, key)?;
        self.with_bucket(order, |bucket, _| {
            let (slot, _) = bucket.find_or_insert(key)?;
            bucket.set_value(slot, value);
            Ok(())
        })
    }

    /// Removes the entry of (order, key), which need not be in memory.
    pub fn delete(&mut self, order: &[u8], key: &[u8]) -> Result<()> {
        self.residency.check_key(order, key)?;
        if !self.orders.contains_key(order) {
            return Ok(());
        }
        self.with_bucket(order, |bucket, deleted| {
            if let Some(slot) = bucket.find(key) {
                remove(bucket, slot, order, deleted);
            }
            Ok(())
        })
    }

    /// Shows `change` the value of (order, key) and an empty buffer for the new one, and does what it answers.
    /// `Internal` when the entry is not in memory.
    pub fn update(
        &mut self,
        order: &[u8],
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>, &mut Vec<u8>) -> Result<Change>,
    ) -> Result<()> {
        self.residency.check(|| Wanted::Entry(order.into(), key.into()))?;
        self.residency.check_key(order, key)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let done = self.with_bucket(order, |bucket, deleted| {
            let (slot, new) = bucket.find_or_insert(key)?;
            let answer = change((!new).then(|| bucket.slot(slot).value()), &mut scratch);
            match answer {
                Ok(Change::Put) => bucket.set_value(slot, &scratch),
                Ok(Change::Delete) => remove(bucket, slot, order, deleted),
                Ok(Change::Keep) | Err(_) if new => bucket.remove(slot),
                Ok(Change::Keep) | Err(_) => {}
            }
            answer.map(|_| ())
        });
        self.scratch = scratch;
        done
    }

    /// The smallest order, if the table is not empty. Always known, whatever is in memory.
    pub fn first_order(&self) -> Option<&[u8]> {
        self.orders.keys().next().map(|order| &**order)
    }

    /// Calls `each` with every (order, key, value) whose order is at most `bound`, in ascending order.
    pub fn each_through(&self, bound: &[u8], mut each: impl FnMut(&[u8], &[u8], &[u8]) -> Result<()>) -> Result<()> {
        self.residency.check(|| Wanted::Through(bound.into()))?;
        for (order, bucket) in self.orders.range::<[u8], _>((Bound::Unbounded, Bound::Included(bound))) {
            bucket.iter().try_for_each(|slot| each(order, slot.key(), slot.value()))?;
        }
        Ok(())
    }

    /// Takes out the entries whose order is at most `bound`, smallest order first, at most `limit` of them, calling
    /// `each` with every (order, key, value). Returns whether some are left: then call again (`Flow::More`).
    pub fn take_through(
        &mut self,
        bound: &[u8],
        limit: usize,
        mut each: impl FnMut(&[u8], &[u8], &[u8]) -> Result<()>,
    ) -> Result<bool> {
        self.residency.check(|| Wanted::Through(bound.into()))?;
        let mut left = limit;
        while let Some(mut first) = self.orders.first_entry()
            && **first.key() <= *bound
        {
            if left == 0 {
                return Ok(true);
            }
            let order = first.key().clone();
            let bucket = first.get_mut();
            let before = bucket.bytes();
            let deleted = &mut self.deleted;
            let taken = bucket.drain(left, |slot| {
                if slot.is_stored() {
                    deleted.delete(|out| write_key(out, &order, slot.key(), &[]));
                }
                each(&order, slot.key(), slot.value())
            });
            let (after, empty) = (bucket.bytes(), bucket.is_empty());
            self.bucket_bytes = self.bucket_bytes + after - before;
            if empty {
                first.remove();
                self.bucket_bytes -= after + ORDER_BYTES + order.len();
            }
            let taken = taken?;
            self.len -= taken;
            left -= taken;
        }
        Ok(false)
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn warm(&self, orders: &EncodedRows, keys: &EncodedRows) {
        let rows = orders.len().min(keys.len());
        let mut from = 0;
        while from < rows && self.len >= WARM_KEYS {
            let order = orders.row(from);
            let same = (from..rows).take_while(|&row| orders.row(row) == order).count();
            if let Some(bucket) = self.orders.get(order) {
                bucket.warm((from..from + same).map(|row| keys.row(row)));
            }
            from += same;
        }
    }

    /// Runs `act` on the bucket of `order` (made if there was none), then settles the counts and an empty bucket.
    fn with_bucket<T>(
        &mut self,
        order: &[u8],
        act: impl FnOnce(&mut Slots<()>, &mut TableCut) -> Result<T>,
    ) -> Result<T> {
        let bucket = match self.orders.get_mut(order) {
            Some(bucket) => bucket,
            None => {
                // A new bucket holds no buffer, so that its bytes count from nothing.
                self.bucket_bytes += ORDER_BYTES + order.len();
                self.orders.entry(order.into()).or_default()
            }
        };
        let (len, bytes) = (bucket.len(), bucket.bytes());
        let answer = act(bucket, &mut self.deleted);
        self.len = self.len + bucket.len() - len;
        self.bucket_bytes = self.bucket_bytes + bucket.bytes() - bytes;
        if bucket.is_empty() {
            self.bucket_bytes -= bucket.bytes() + ORDER_BYTES + order.len();
            self.orders.remove(order);
        }
        answer
    }

    pub(super) fn bytes(&self) -> usize {
        self.bucket_bytes + self.deleted.bytes() + self.scratch.capacity()
    }

    pub(super) fn residency_mut(&mut self) -> &mut Residency {
        &mut self.residency
    }

    pub(super) fn cut(&mut self) -> TableCut {
        let mut cut = std::mem::replace(&mut self.deleted, TableCut::new(self.number));
        for (order, bucket) in &mut self.orders {
            let before = bucket.bytes();
            bucket.take_dirty(|slot| cut.put(|out| write_key(out, order, slot.key(), &[]), slot.value()));
            self.bucket_bytes = self.bucket_bytes + bucket.bytes() - before;
        }
        cut
    }

    pub(super) fn load(&mut self, stored: StoredKey<'_>, value: Option<&[u8]>) -> Result<()> {
        self.with_bucket(stored.order, |bucket, _| {
            match value {
                Some(value) => {
                    let payload = read_value(value)?;
                    let (slot, _) = bucket.find_or_insert(stored.key)?;
                    bucket.load_value(slot, payload);
                }
                None => {
                    if let Some(slot) = bucket.find(stored.key) {
                        bucket.remove(slot);
                    }
                }
            }
            Ok(())
        })
    }
}

fn remove(bucket: &mut Slots<()>, slot: u32, order: &[u8], deleted: &mut TableCut) {
    let place = bucket.slot(slot);
    if place.is_stored() {
        deleted.delete(|out| write_key(out, order, place.key(), &[]));
    }
    bucket.remove(slot);
}
