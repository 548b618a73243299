//! A table's cut: the entries changed since the last one, as buffers that are moved.

use super::codec::LAYOUT_VERSION;

/// A segment that has so many bytes is followed by a new one: growing one buffer would copy all that is in it again and again,
/// into memory that was never touched.
const SEGMENT: usize = 1 << 20;

/// The entries of one table that changed since its last cut: stored key → value, or deleted.
///
/// Taking it costs the worker one copy of the changed bytes into buffers of its own (measured as cheap as cloning a
/// pointer per entry: the cache miss dominates, and values stay mutable in place); sorting is left to who writes it.
#[derive(Clone, Debug, Default)]
pub struct TableCut {
    /// The table's number within its operator.
    pub table: u16,
    segments: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    sorted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    segment: u32,
    start: u32,
    key_length: u32,
    /// [`DELETED`]: there is none.
    value_length: u32,
}

const DELETED: u32 = u32::MAX;

impl TableCut {
    pub(super) fn new(table: u16) -> Self {
        TableCut { table, ..TableCut::default() }
    }

    /// How many entries; after [`TableCut::sort`] each stored key counts once.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let segments: usize = self.segments.iter().map(Vec::capacity).sum();
        segments + self.entries.capacity() * size_of::<Entry>()
    }

    /// Adds the entries of a later cut of the same table: when a checkpoint was not published, its cut must go into the
    /// next one.
    pub fn append(&mut self, later: TableCut) {
        let base = self.segments.len() as u32;
        self.segments.extend(later.segments);
        self.sorted = self.sorted && later.entries.is_empty();
        self.entries.extend(later.entries.iter().map(|entry| Entry { segment: entry.segment + base, ..*entry }));
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        &self.segments[entry.segment as usize][start..start + entry.key_length as usize]
    }

    fn value(&self, entry: &Entry) -> Option<&[u8]> {
        let start = entry.start as usize + entry.key_length as usize;
        let length = (entry.value_length != DELETED).then_some(entry.value_length as usize)?;
        Some(&self.segments[entry.segment as usize][start..start + length])
    }

    /// Sorts by stored key; of several entries of one key the last stays. Call it off the worker thread.
    pub fn sort(&mut self) {
        if self.sorted {
            return;
        }
        // The first bytes of each key beside its place: most comparisons need not go to the keys themselves.
        let head = |entry: &Entry| {
            let mut head = [0; 16];
            let key = self.key(entry);
            let bytes = &key[..key.len().min(16)];
            head[..bytes.len()].copy_from_slice(bytes);
            u128::from_be_bytes(head)
        };
        let mut order: Vec<(u128, usize)> = self.entries.iter().map(head).zip(0..).collect();
        order.sort_unstable_by(|&(head_a, a), &(head_b, b)| {
            let keys = || self.key(&self.entries[a]).cmp(self.key(&self.entries[b]));
            // Of entries of one key the latest comes first, and stays.
            head_a.cmp(&head_b).then_with(keys).then(b.cmp(&a))
        });
        let mut entries: Vec<Entry> = order.into_iter().map(|(_, place)| self.entries[place]).collect();
        entries.dedup_by(|later, first| self.key(later) == self.key(first));
        self.entries = entries;
        self.sorted = true;
    }

    /// (stored key, value; `None` = deleted), sorted by key with one entry per key once [`TableCut::sort`] has run.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries.iter().map(|entry| (self.key(entry), self.value(entry)))
    }

    /// The segment that the next entry goes to.
    fn segment(&mut self) -> &mut Vec<u8> {
        match self.segments.last().map(Vec::len) {
            None => self.segments.push(Vec::new()),
            Some(full) if full >= SEGMENT => self.segments.push(Vec::with_capacity(SEGMENT + SEGMENT / 16)),
            Some(_) => (),
        }
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// Appends a deletion; `write` appends the stored key.
    pub(super) fn delete(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let segment = self.segment();
        let start = segment.len();
        write(segment);
        let end = segment.len();
        self.push(start, end, DELETED);
    }

    /// Appends an entry of `payload` as value; `write` appends the stored key.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>), payload: &[u8]) {
        let segment = self.segment();
        let start = segment.len();
        write(segment);
        let key_end = segment.len();
        segment.push(LAYOUT_VERSION);
        segment.extend_from_slice(payload);
        let value_length = (segment.len() - key_end) as u32;
        self.push(start, key_end, value_length);
    }

    fn push(&mut self, start: usize, key_end: usize, value_length: u32) {
        let segment = self.segments.len() as u32 - 1;
        self.entries.push(Entry { segment, start: start as u32, key_length: (key_end - start) as u32, value_length });
        self.sorted = false;
    }
}
