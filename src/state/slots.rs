//! A hash map from keys to bytes, the heart of the Map, Bag and Ordered tables.
//!
//! ```text
//!  index: hash table of (u32 hash, u32 slot)      slots: Vec of { record: key ‖ value, key length, flags, extra }
//! ```
//! One allocation per key, key and value side by side; growing the index touches no slot; an overwrite of equal length
//! happens in place. The hash is the upper half of the key's xxh3-64 (its low byte is the key group, which a worker
//! sees only some values of).

use hashbrown::HashTable;

use crate::base::{Error, Result};
use crate::types::key_hash;

/// Changed since the last cut (and listed in `dirty`).
const DIRTY: u8 = 1;
/// Present in the last cut, so that its deletion must be written.
const STORED: u8 = 2;
/// In use; a free slot has no flags.
const LIVE: u8 = 4;

/// Slots with `X` beside the bytes of each key.
#[derive(Debug)]
pub(super) struct Slots<X> {
    index: HashTable<Handle>,
    slots: Vec<Slot<X>>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    /// Bytes of all records' buffers.
    record_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Handle {
    hash: u32,
    slot: u32,
}

#[derive(Debug)]
pub(super) struct Slot<X> {
    record: Vec<u8>,
    key_length: u32,
    flags: u8,
    pub(super) extra: X,
}

impl<X> Slot<X> {
    pub(super) fn key(&self) -> &[u8] {
        &self.record[..self.key_length as usize]
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.record[self.key_length as usize..]
    }

    pub(super) fn value_mut(&mut self) -> &mut [u8] {
        &mut self.record[self.key_length as usize..]
    }

    pub(super) fn is_stored(&self) -> bool {
        self.flags & STORED != 0
    }
}

/// hashbrown takes the bucket from the low bits and the tag from the top ones; both halves serve.
fn spread(hash: u32) -> u64 {
    u64::from(hash) | u64::from(hash) << 32
}

impl<X> Default for Slots<X> {
    fn default() -> Self {
        Slots { index: HashTable::new(), slots: Vec::new(), free: Vec::new(), dirty: Vec::new(), record_bytes: 0 }
    }
}

impl<X: Default> Slots<X> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held, spare capacity included.
    pub(super) fn bytes(&self) -> usize {
        self.record_bytes
            + self.slots.capacity() * size_of::<Slot<X>>()
            + self.index.capacity() * (size_of::<Handle>() + 1)
            + (self.free.capacity() + self.dirty.capacity()) * 4
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        self.find_hashed((key_hash(key) >> 32) as u32, key)
    }

    #[inline]
    fn find_hashed(&self, hash: u32, key: &[u8]) -> Option<u32> {
        let same = |handle: &Handle| handle.hash == hash && self.slots[handle.slot as usize].key() == key;
        self.index.find(spread(hash), same).map(|handle| handle.slot)
    }

    /// The slot of `key`, made if there was none; whether it was made.
    pub(super) fn find_or_insert(&mut self, key: &[u8]) -> Result<(u32, bool)> {
        let hash = (key_hash(key) >> 32) as u32;
        if let Some(slot) = self.find_hashed(hash, key) {
            return Ok((slot, false));
        }
        let key_length = u32::try_from(key.len()).map_err(|_| too_many("bytes in one key"))?;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).map_err(|_| too_many("keys in one state table"))?;
                self.slots.push(Slot { record: Vec::new(), key_length: 0, flags: 0, extra: X::default() });
                slot
            }
        };
        let place = &mut self.slots[slot as usize];
        place.record.reserve_exact(key.len());
        place.record.extend_from_slice(key);
        place.key_length = key_length;
        place.flags = LIVE;
        self.record_bytes += place.record.capacity();
        self.index.insert_unique(spread(hash), Handle { hash, slot }, |handle| spread(handle.hash));
        Ok((slot, true))
    }

    #[inline]
    pub(super) fn slot(&self, slot: u32) -> &Slot<X> {
        &self.slots[slot as usize]
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> &mut Slot<X> {
        &mut self.slots[slot as usize]
    }

    /// Replaces the value of a slot.
    pub(super) fn set_value(&mut self, slot: u32, value: &[u8]) {
        let place = &mut self.slots[slot as usize];
        let key_length = place.key_length as usize;
        if place.record.len() == key_length + value.len() {
            place.record[key_length..].copy_from_slice(value);
        } else {
            let before = place.record.capacity();
            place.record.truncate(key_length);
            place.record.reserve_exact(value.len());
            place.record.extend_from_slice(value);
            if place.record.capacity() > 2 * place.record.len() + 32 {
                place.record.shrink_to_fit();
            }
            self.record_bytes = self.record_bytes + place.record.capacity() - before;
        }
        self.mark(slot);
    }

    /// Lets `edit` change the bytes behind the key of a slot in place; the caller marks it.
    pub(super) fn edit_value<T>(&mut self, slot: u32, edit: impl FnOnce(&mut Vec<u8>, usize) -> T) -> T {
        let place = &mut self.slots[slot as usize];
        let before = place.record.capacity();
        let answer = edit(&mut place.record, place.key_length as usize);
        self.record_bytes = self.record_bytes + place.record.capacity() - before;
        answer
    }

    /// Notes that a slot changed since the last cut.
    pub(super) fn mark(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        if place.flags & DIRTY == 0 {
            place.flags |= DIRTY;
            self.dirty.push(slot);
        }
    }

    /// Sets the value of a slot to what the last cut holds.
    pub(super) fn load_value(&mut self, slot: u32, value: &[u8]) {
        self.set_value(slot, value);
        let place = &mut self.slots[slot as usize];
        place.flags = (place.flags & !DIRTY) | STORED;
        if self.dirty.last() == Some(&slot) {
            self.dirty.pop();
        }
    }

    /// Frees a slot. The caller has written down its deletion if it was stored.
    pub(super) fn remove(&mut self, slot: u32) {
        let hash = (key_hash(self.slots[slot as usize].key()) >> 32) as u32;
        if let Ok(found) = self.index.find_entry(spread(hash), |handle| handle.slot == slot) {
            found.remove();
        }
        let place = &mut self.slots[slot as usize];
        self.record_bytes -= place.record.capacity();
        *place = Slot { record: Vec::new(), key_length: 0, flags: 0, extra: X::default() };
        self.free.push(slot);
        self.forget_freed();
    }

    /// `dirty` may name slots that were freed, and one slot twice after reuse; this keeps it in proportion.
    fn forget_freed(&mut self) {
        if self.dirty.len() > 2 * self.len() + 64 {
            self.dirty.sort_unstable();
            self.dirty.dedup();
            let slots = &self.slots;
            self.dirty.retain(|&slot| slots[slot as usize].flags & DIRTY != 0);
        }
    }

    /// Calls `each` with every slot changed since the last time, and takes them as stored.
    pub(super) fn take_dirty(&mut self, mut each: impl FnMut(&mut Slot<X>)) {
        for slot in std::mem::take(&mut self.dirty) {
            let place = &mut self.slots[slot as usize];
            if place.flags & DIRTY != 0 {
                place.flags = (place.flags & !DIRTY) | STORED;
                each(place);
            }
        }
    }

    /// All keys' slots, in order of slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot<X>> {
        self.slots.iter().filter(|slot| slot.flags & LIVE != 0)
    }

    /// Takes up to `limit` keys out, calling `each`; the rest can still be found.
    pub(super) fn drain(&mut self, limit: usize, mut each: impl FnMut(&Slot<X>) -> Result<()>) -> Result<usize> {
        let mut taken = 0;
        while taken < limit
            && let Some(place) = self.slots.pop()
        {
            if place.flags & LIVE == 0 {
                continue;
            }
            let slot = self.slots.len() as u32;
            let hash = (key_hash(place.key()) >> 32) as u32;
            if let Ok(found) = self.index.find_entry(spread(hash), |handle| handle.slot == slot) {
                found.remove();
            }
            self.record_bytes -= place.record.capacity();
            taken += 1;
            each(&place)?;
        }
        let length = self.slots.len() as u32;
        self.free.retain(|&slot| slot < length);
        self.dirty.retain(|&slot| slot < length);
        Ok(taken)
    }
}

fn too_many(what: &str) -> Error {
    Error::limit(format!("more than 4294967295 {what}")).with_hint("Use more workers, or bound the state by a window.")
}
