//! Snapshots: the whole contents of a published view at one epoch, to be read by any thread, touching no worker.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;

use super::Layout;
use super::run::{CHUNK_ROWS, Run, Seeker, gather, total_weight};
use super::shard::RunList;
use crate::base::{Error, Result};
use crate::types::{EncodedRows, Epoch, Weights};

/// How often each row of a list of runs is present. Rows that no run takes back keep their weight; the others are
/// looked up in all runs and shown once, at their oldest place. So a read costs nothing for rows that did not change.
#[derive(Debug, Default)]
pub(super) struct Visible {
    /// Per run, sorted by place: (chunk, row) → times present, where that is not the weight. Empty for a run whose
    /// weights are the truth.
    changed: Vec<Vec<((u32, u32), i64)>>,
}

impl Visible {
    pub(super) fn of(runs: &[Arc<Run>]) -> Result<Visible> {
        let mut changed: Vec<Vec<((u32, u32), i64)>> = vec![Vec::new(); runs.len()];
        let mut found = Vec::new();
        for taking in runs.iter().filter(|run| run.negatives > 0) {
            // A run's rows ascend, so one pass over the other runs serves all of them.
            let mut seeker = Seeker::new(runs);
            for (chunk, row) in taking.places_from((0, 0)) {
                let chunk = &taking.chunks[chunk];
                if chunk.weights.get(row) > 0 {
                    continue;
                }
                seeker.find(chunk.keys.row(row), &mut found);
                let total: i64 = total_weight(&found);
                if total < 0 {
                    return Err(Error::internal(format!("published view holds a row with weight {total}")));
                }
                for (nth, &(run, (chunk, row), _)) in found.iter().enumerate() {
                    changed[run].push(((chunk as u32, row as u32), if nth == 0 { total } else { 0 }));
                }
            }
        }
        for places in &mut changed {
            places.sort_unstable();
            places.dedup();
        }
        Ok(Visible { changed })
    }

    fn of_chunk(&self, run: usize, chunk: usize) -> &[((u32, u32), i64)] {
        let Some(changed) = self.changed.get(run) else { return &[] };
        let chunk = chunk as u32;
        let start = changed.partition_point(|((c, _), _)| *c < chunk);
        let end = changed.partition_point(|((c, _), _)| *c <= chunk);
        &changed[start..end]
    }
}

/// The contents of a view at one epoch.
#[derive(Clone, Debug)]
pub struct Snapshot {
    epoch: Epoch,
    layout: Arc<Layout>,
    shards: Vec<Arc<RunList>>,
}

impl Snapshot {
    pub(super) fn new(epoch: Epoch, layout: Arc<Layout>, shards: Vec<Arc<RunList>>) -> Self {
        Snapshot { epoch, layout, shards }
    }

    /// The epoch it shows.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The columns of its batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    /// Places of the columns that [`Snapshot::get`] takes a prefix of.
    pub fn key_columns(&self) -> &[usize] {
        &self.layout.order[..self.layout.key_columns]
    }

    /// Encodes key columns, or the first of them, for [`Snapshot::get`].
    pub fn encode_key(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.layout.encode_key(columns)
    }

    /// How many shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// How many rows, exactly.
    pub fn rows(&self) -> usize {
        let nets = self.shards.iter().flat_map(|list| list.runs.iter().map(|run| run.net));
        let net = nets.fold(0i64, i64::saturating_add);
        usize::try_from(net).unwrap_or(0)
    }

    /// About how many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.shards.iter().flat_map(|list| list.runs.iter().map(|run| run.bytes)).sum()
    }

    /// All rows, in no order, in batches of at most `batch_rows`; a row of weight n comes n times.
    pub fn batches(
        &self,
        projection: Option<&[usize]>,
        batch_rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
        let snapshot = self.clone();
        let projection = projection.map(<[usize]>::to_vec);
        (0..self.shards.len()).flat_map(move |shard| snapshot.shard_batches(shard, projection.as_deref(), batch_rows))
    }

    /// As [`Snapshot::batches`], of one shard.
    pub fn shard_batches(
        &self,
        shard: usize,
        projection: Option<&[usize]>,
        batch_rows: usize,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
        Batches {
            list: self.shards.get(shard).cloned().unwrap_or_default(),
            visible: None,
            projection: projection.map(<[usize]>::to_vec),
            batch_rows: batch_rows.max(1),
            run: 0,
            chunk: 0,
            row: 0,
            repeat: 0,
        }
    }

    /// The rows whose encoded key begins with `key` (from [`Snapshot::encode_key`]); `None` if there are
    /// none.
    pub fn get(&self, key: &[u8]) -> Result<Option<RecordBatch>> {
        self.found(&self.shards, key)
    }

    /// As [`Snapshot::get`], of one shard.
    pub fn shard_get(&self, shard: usize, key: &[u8]) -> Result<Option<RecordBatch>> {
        self.found(self.shards.get(shard).map_or(&[], std::slice::from_ref), key)
    }

    fn found(&self, shards: &[Arc<RunList>], key: &[u8]) -> Result<Option<RecordBatch>> {
        let mut found: Vec<(&[u8], i64, &RecordBatch, usize)> = Vec::new();
        for run in shards.iter().flat_map(|list| list.runs.iter()) {
            for (chunk, row) in run.places_from(run.lower_bound(key)) {
                let chunk = &run.chunks[chunk];
                let bytes = chunk.keys.row(row);
                if !bytes.starts_with(key) {
                    break;
                }
                found.push((bytes, chunk.weights.get(row), &chunk.rows, row));
            }
        }
        found.sort_by_key(|&(bytes, ..)| bytes);
        let (mut sources, mut places): (Vec<&RecordBatch>, Vec<(usize, usize)>) = Default::default();
        for same in found.chunk_by(|a, b| a.0 == b.0) {
            let weight = same.iter().fold(0i64, |sum, row| sum.saturating_add(row.1));
            let weight = usize::try_from(weight)
                .map_err(|_| Error::internal(format!("published view holds a row with weight {weight}")))?;
            places.extend(std::iter::repeat_n((sources.len(), same[0].3), weight));
            sources.push(same[0].2);
        }
        if places.is_empty() {
            return Ok(None);
        }
        gather(&self.layout, &sources, &mut places).map(Some)
    }
}

/// Iterator over the rows present in a list of runs.
struct Batches {
    list: Arc<RunList>,
    visible: Option<Arc<Visible>>,
    projection: Option<Vec<usize>>,
    batch_rows: usize,
    run: usize,
    chunk: usize,
    row: usize,
    /// How often the row at hand has come already.
    repeat: usize,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl Batches {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let visible = match &self.visible {
            Some(visible) => Arc::clone(visible),
            None => Arc::clone(self.visible.insert(self.list.visible()?)),
        };
        let list = Arc::clone(&self.list);
        while let Some(run) = list.runs.get(self.run) {
            let Some(chunk) = run.chunks.get(self.chunk) else {
                (self.run, self.chunk) = (self.run + 1, 0);
                continue;
            };
            if self.row >= chunk.keys.len() {
                (self.chunk, self.row) = (self.chunk + 1, 0);
                continue;
            }
            let changed = visible.of_chunk(self.run, self.chunk);
            let batch = if changed.is_empty() && chunk.weights == Weights::Ones {
                let count = self.batch_rows.min(chunk.keys.len() - self.row);
                let whole = count == chunk.rows.num_rows();
                let rows = if whole { chunk.rows.clone() } else { chunk.rows.slice(self.row, count) };
                self.row += count;
                self.project(rows)?
            } else {
                let indices = self.collect(&chunk.weights, chunk.keys.len(), changed);
                if indices.is_empty() {
                    continue;
                }
                take(&self.project(chunk.rows.clone())?, indices)?
            };
            return Ok(Some(batch));
        }
        Ok(None)
    }

    /// Up to `batch_rows` rows of the chunk at hand, each as often as it is present.
    fn collect(&mut self, weights: &Weights, rows: usize, changed: &[((u32, u32), i64)]) -> Vec<u64> {
        let mut indices = Vec::with_capacity(self.batch_rows.min(rows - self.row).min(CHUNK_ROWS));
        let mut next = changed.partition_point(|((_, row), _)| (*row as usize) < self.row);
        while self.row < rows && indices.len() < self.batch_rows {
            let times = match changed.get(next) {
                Some(&((_, row), times)) if row as usize == self.row => times,
                _ => weights.get(self.row),
            };
            let left = usize::try_from(times).unwrap_or(0).saturating_sub(self.repeat);
            let now = left.min(self.batch_rows - indices.len());
            indices.extend(std::iter::repeat_n(self.row as u64, now));
            if now < left {
                self.repeat += now;
                break;
            }
            next += usize::from(changed.get(next).is_some_and(|((_, row), _)| *row as usize == self.row));
            (self.row, self.repeat) = (self.row + 1, 0);
        }
        indices
    }

    fn project(&self, rows: RecordBatch) -> Result<RecordBatch> {
        match &self.projection {
            Some(projection) => Ok(rows.project(projection)?),
            None => Ok(rows),
        }
    }
}

fn take(rows: &RecordBatch, indices: Vec<u64>) -> Result<RecordBatch> {
    if rows.num_columns() == 0 {
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        return Ok(RecordBatch::try_new_with_options(rows.schema(), Vec::new(), &options)?);
    }
    Ok(take_record_batch(rows, &UInt64Array::from(indices))?)
}
