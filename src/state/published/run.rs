//! Runs: immutable, sorted, consolidated pieces of a published view.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use rustc_hash::FxHashMap;

use super::Layout;
use crate::base::{Error, Result};
use crate::types::{DeltaBatch, EncodedRows, Epoch, Weights};

/// Rows of a chunk: what DataFusion reads at once, and small enough that no text column passes 2 GiB.
pub(super) const CHUNK_ROWS: usize = 8192;
/// A chunk also ends at this many encoded bytes.
const CHUNK_BYTES: usize = 64 << 20;

/// Sorted rows with their weights: what the epochs `first..=last` changed, or the contents up to `last`.
#[derive(Debug)]
pub struct Run {
    /// The first epoch whose changes it holds; 0: from the beginning.
    pub first: Epoch,
    /// The last epoch whose changes it holds.
    pub last: Epoch,
    pub(super) chunks: Vec<Chunk>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// How many rows have a negative weight.
    pub(super) negatives: usize,
    /// The sum of all weights.
    pub(super) net: i64,
}

/// A stretch of a run: encoded rows (sort order), the same rows as columns, and their weights.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) keys: EncodedRows,
    pub(super) rows: RecordBatch,
    pub(super) weights: Weights,
}

impl Run {
    pub(super) fn new(first: Epoch, last: Epoch, chunks: Vec<Chunk>) -> Self {
        let rows = chunks.iter().map(|chunk| chunk.keys.len()).sum();
        let bytes = chunks.iter().map(Chunk::bytes).sum::<usize>() + size_of::<Run>();
        let negatives = chunks.iter().map(Chunk::negatives).sum();
        let net = chunks.iter().fold(0i64, |net, chunk| net.saturating_add(chunk.net()));
        Run { first, last, chunks, rows, bytes, negatives, net }
    }

    /// The changes as delta batches, without copying.
    pub(super) fn deltas(&self) -> impl Iterator<Item = DeltaBatch> {
        self.chunks.iter().map(|chunk| DeltaBatch { rows: chunk.rows.clone(), weights: chunk.weights.clone() })
    }

    /// The place (chunk, row) of the first row not below `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> (usize, usize) {
        let chunk = self.chunks.partition_point(|chunk| chunk.keys.row(chunk.keys.len() - 1) < key);
        let row = self.chunks.get(chunk).map_or(0, |chunk| lower_bound(&chunk.keys, key));
        (chunk, row)
    }

    /// Places from (chunk, row) on, in order.
    pub(super) fn places_from(&self, from: (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
        let chunks = self.chunks.iter().enumerate().skip(from.0);
        chunks.flat_map(move |(c, chunk)| {
            let start = if c == from.0 { from.1 } else { 0 };
            (start..chunk.keys.len()).map(move |row| (c, row))
        })
    }
}

/// Finds rows in each of several runs, asked for in ascending order: each search starts where the last one ended and
/// doubles its steps, so that near rows cost few comparisons and far ones a logarithm.
pub(super) struct Seeker<'a> {
    runs: &'a [Arc<Run>],
    places: Vec<(usize, usize)>,
}

impl<'a> Seeker<'a> {
    pub(super) fn new(runs: &'a [Arc<Run>]) -> Self {
        Seeker { runs, places: vec![(0, 0); runs.len()] }
    }

    /// Where the row that is exactly `key` is, and its weight: (run, place, weight) of every run that has it, oldest
    /// first. `key` must not be below that of the call before.
    pub(super) fn find(&mut self, key: &[u8], found: &mut Vec<(usize, (usize, usize), i64)>) {
        found.clear();
        for (i, (run, place)) in self.runs.iter().zip(&mut self.places).enumerate() {
            let behind = |chunk: &Chunk| chunk.keys.row(chunk.keys.len() - 1) < key;
            if run.chunks.get(place.0).is_some_and(behind) {
                let skipped = run.chunks[place.0..].partition_point(behind);
                *place = (place.0 + skipped, 0);
            }
            let Some(chunk) = run.chunks.get(place.0) else { continue };
            place.1 = gallop(&chunk.keys, place.1, key);
            if chunk.keys.row(place.1) == key {
                found.push((i, *place, chunk.weights.get(place.1)));
            }
        }
    }
}

/// The weight of a row over all runs that [`Seeker::find`] found it in.
pub(super) fn total_weight(found: &[(usize, (usize, usize), i64)]) -> i64 {
    found.iter().fold(0, |sum: i64, &(_, _, weight)| sum.saturating_add(weight))
}

/// The first row of `keys` not below `key`, which lies at or behind `from`.
fn gallop(keys: &EncodedRows, from: usize, key: &[u8]) -> usize {
    let (mut low, mut step) = (from, 1);
    while low + step < keys.len() && keys.row(low + step) < key {
        low += step;
        step *= 2;
    }
    search(keys, low, (low + step).min(keys.len()), key)
}

/// The first row of `keys` not below `key`.
fn lower_bound(keys: &EncodedRows, key: &[u8]) -> usize {
    search(keys, 0, keys.len(), key)
}

/// The first row of `keys[low .. high]` not below `key`, or `high`.
fn search(keys: &EncodedRows, mut low: usize, mut high: usize, key: &[u8]) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if keys.row(middle) < key { low = middle + 1 } else { high = middle }
    }
    low
}

impl Chunk {
    fn bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::Ones => 0,
            Weights::Each(weights) => weights.len() * 8,
        };
        self.keys.bytes() + self.rows.get_array_memory_size() + weights + size_of::<Chunk>()
    }

    fn net(&self) -> i64 {
        match &self.weights {
            Weights::Ones => self.keys.len() as i64,
            Weights::Each(weights) => weights.iter().fold(0, |net: i64, &weight| net.saturating_add(weight)),
        }
    }

    fn negatives(&self) -> usize {
        match &self.weights {
            Weights::Ones => 0,
            Weights::Each(weights) => weights.iter().filter(|&&weight| weight < 0).count(),
        }
    }
}

/// Sorts and consolidates the rows of `batches` into chunks.
pub(super) fn sort(layout: &Layout, batches: &[DeltaBatch]) -> Result<Vec<Chunk>> {
    let encoded: Vec<EncodedRows> = batches.iter().map(|batch| layout.encode(&batch.rows)).collect::<Result<_>>()?;
    let mut order: Vec<(u32, u32)> = Vec::with_capacity(batches.iter().map(DeltaBatch::len).sum());
    for (batch, rows) in encoded.iter().enumerate() {
        order.extend((0..rows.len()).map(|row| (batch as u32, row as u32)));
    }
    let key = |place: (u32, u32)| encoded[place.0 as usize].row(place.1 as usize);
    order.sort_unstable_by(|&a, &b| key(a).cmp(key(b)));
    let mut writer = ChunkWriter::new(layout, batches.iter().map(|batch| &batch.rows).collect());
    let mut at = 0;
    while let Some(&place) = order.get(at) {
        let same = order[at..].iter().take_while(|&&other| key(other) == key(place)).count();
        let weights = order[at..at + same].iter().map(|&(b, row)| batches[b as usize].weights.get(row as usize));
        writer.push(place.0 as usize, place.1 as usize, key(place), sum(weights)?)?;
        at += same;
    }
    writer.finish()
}

/// Merges runs, oldest first, into chunks: weights of equal rows are added, zeros dropped.
pub(super) fn merge(layout: &Layout, runs: &[Arc<Run>]) -> Result<Vec<Chunk>> {
    let sources: Vec<&RecordBatch> = runs.iter().flat_map(|run| run.chunks.iter().map(|chunk| &chunk.rows)).collect();
    let mut cursors = Cursors::new(runs);
    let mut writer = ChunkWriter::new(layout, sources);
    while let Some((key, source, row, weight)) = cursors.next_row()? {
        writer.push(source, row, key, weight)?;
    }
    writer.finish()
}

fn sum(mut weights: impl Iterator<Item = i64>) -> Result<i64> {
    weights.try_fold(0i64, i64::checked_add).ok_or_else(overflow)
}

fn overflow() -> Error {
    Error::limit("a row of a published view is present more than 9223372036854775807 times")
}

/// A row's key, the source and place of its columns, its weight.
type MergedRow<'a> = (&'a [u8], usize, usize, i64);

/// One cursor per run; few runs, so the smallest head is found by looking at all.
struct Cursors<'a> {
    heads: Vec<Cursor<'a>>,
}

struct Cursor<'a> {
    chunks: &'a [Chunk],
    /// The number of `chunks[0]` among the chunks of all runs.
    source: usize,
    row: usize,
}

impl<'a> Cursor<'a> {
    fn key(&self) -> Option<&'a [u8]> {
        self.chunks.first().map(|chunk| chunk.keys.row(self.row))
    }

    fn advance(&mut self) {
        self.row += 1;
        if self.chunks.first().is_some_and(|chunk| chunk.keys.len() == self.row) {
            self.chunks = &self.chunks[1..];
            self.source += 1;
            self.row = 0;
        }
    }
}

impl<'a> Cursors<'a> {
    fn new(runs: &'a [Arc<Run>]) -> Self {
        let mut source = 0;
        let cursor = |run: &'a Arc<Run>| {
            let cursor = Cursor { chunks: &run.chunks, source, row: 0 };
            source += run.chunks.len();
            cursor
        };
        Cursors { heads: runs.iter().map(cursor).collect() }
    }

    /// The next distinct row: its key, where its columns are, its weight over all runs (maybe 0).
    fn next_row(&mut self) -> Result<Option<MergedRow<'a>>> {
        let Some(key) = self.heads.iter().filter_map(Cursor::key).min() else { return Ok(None) };
        let mut found = (0, 0, 0i64);
        for head in &mut self.heads {
            if head.key() == Some(key) {
                let weight = head.chunks[0].weights.get(head.row);
                found = (head.source, head.row, found.2.checked_add(weight).ok_or_else(overflow)?);
                head.advance();
            }
        }
        Ok(Some((key, found.0, found.1, found.2)))
    }
}

/// Gathers rows of several batches into chunks.
struct ChunkWriter<'a> {
    layout: &'a Layout,
    sources: Vec<&'a RecordBatch>,
    chunks: Vec<Chunk>,
    keys: EncodedRows,
    key_bytes: usize,
    places: Vec<(usize, usize)>,
    weights: Vec<i64>,
}

impl<'a> ChunkWriter<'a> {
    fn new(layout: &'a Layout, sources: Vec<&'a RecordBatch>) -> Self {
        ChunkWriter {
            layout,
            sources,
            chunks: Vec::new(),
            keys: EncodedRows::default(),
            key_bytes: 0,
            places: Vec::new(),
            weights: Vec::new(),
        }
    }

    fn push(&mut self, source: usize, row: usize, key: &[u8], weight: i64) -> Result<()> {
        if weight == 0 {
            return Ok(());
        }
        self.keys.push(key);
        self.key_bytes += key.len();
        self.places.push((source, row));
        self.weights.push(weight);
        if self.places.len() == CHUNK_ROWS || self.key_bytes >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.places.is_empty() {
            return Ok(());
        }
        let rows = gather(self.layout, &self.sources, &mut self.places)?;
        let keys = std::mem::take(&mut self.keys);
        let weights = Weights::from_vec(std::mem::take(&mut self.weights));
        self.chunks.push(Chunk { keys, rows, weights });
        self.places.clear();
        self.key_bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Chunk>> {
        self.flush()?;
        Ok(self.chunks)
    }
}

/// The rows at `places` (source, row) as one batch. Renumbers `places`, so that only sources in use are touched.
pub(super) fn gather(layout: &Layout, sources: &[&RecordBatch], places: &mut [(usize, usize)]) -> Result<RecordBatch> {
    if layout.schema.fields().is_empty() {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(places.len()));
        return Ok(RecordBatch::try_new_with_options(Arc::clone(&layout.schema), Vec::new(), &options)?);
    }
    let mut used: Vec<&RecordBatch> = Vec::new();
    let mut numbers: FxHashMap<usize, usize> = FxHashMap::default();
    for place in places.iter_mut() {
        place.0 = *numbers.entry(place.0).or_insert_with(|| {
            used.push(sources[place.0]);
            used.len() - 1
        });
    }
    let batch = if let [only] = used[..] {
        let rows: UInt64Array = places.iter().map(|place| place.1 as u64).collect();
        take_record_batch(only, &rows)?
    } else {
        interleave_record_batch(&used, places)?
    };
    // The relation's own schema: an operator's batch may carry other column names.
    Ok(RecordBatch::try_new(Arc::clone(&layout.schema), batch.columns().to_vec())?)
}
