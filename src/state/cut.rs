//! A table's cut: the entries changed since the last one, as one moved buffer.

use super::codec::LAYOUT_VERSION;

/// The entries of one table that changed since its last cut: stored key → value, or deleted.
///
/// Taking it costs the worker one copy of the changed bytes into a buffer of its own (measured as cheap as cloning a
/// pointer per entry: the cache miss dominates, and values stay mutable in place); sorting is left to who writes it.
#[derive(Clone, Debug, Default)]
pub struct TableCut {
    /// The table's number within its operator.
    pub table: u16,
    data: Vec<u8>,
    entries: Vec<Entry>,
    sorted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    key_length: u32,
    /// `None`: deleted.
    value_length: Option<u32>,
}

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
        self.data.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Adds the entries of a later cut of the same table: when a checkpoint was not published, its cut must go into the
    /// next one.
    pub fn append(&mut self, later: TableCut) {
        let base = self.data.len();
        self.data.extend_from_slice(&later.data);
        self.entries.extend(later.entries.iter().map(|entry| Entry { start: entry.start + base, ..*entry }));
        self.sorted = self.sorted && later.entries.is_empty();
    }

    /// Sorts by stored key; of several entries of one key the last stays. Call it off the worker thread.
    pub fn sort(&mut self) {
        if self.sorted {
            return;
        }
        let data = &self.data;
        let key = |entry: &Entry| &data[entry.start..entry.start + entry.key_length as usize];
        // Stable, so that a later entry of the same key comes later; reversed, dedup keeps that one.
        self.entries.sort_by(|a, b| key(a).cmp(key(b)));
        self.entries.reverse();
        self.entries.dedup_by(|a, b| key(a) == key(b));
        self.entries.reverse();
        self.sorted = true;
    }

    /// (stored key, value; `None` = deleted), sorted by key with one entry per key once [`TableCut::sort`] has run.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries.iter().map(|entry| {
            let (key, rest) = self.data[entry.start..].split_at(entry.key_length as usize);
            (key, entry.value_length.map(|length| &rest[..length as usize]))
        })
    }

    /// Appends a deletion; `write` appends the stored key.
    pub(super) fn delete(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.data.len();
        write(&mut self.data);
        self.push(start, self.data.len(), None);
    }

    /// Appends an entry of `parts` joined as value; `write` appends the stored key.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>), payload: &[u8]) {
        let start = self.data.len();
        write(&mut self.data);
        let key_end = self.data.len();
        self.data.push(LAYOUT_VERSION);
        self.data.extend_from_slice(payload);
        self.push(start, key_end, Some((self.data.len() - key_end) as u32));
    }

    fn push(&mut self, start: usize, key_end: usize, value_length: Option<u32>) {
        self.entries.push(Entry { start, key_length: (key_end - start) as u32, value_length });
        self.sorted = false;
    }
}
