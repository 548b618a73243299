//! Which rows of a partition are shown, and the change from what was shown before.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use std::cmp::Ordering;
use std::sync::Arc;

use super::{Rank, TopSpec};
use crate::base::Result;
use crate::operators::partition::{PartitionCodec, split};
use crate::operators::{MAIN_PORT, Output};
use crate::types::{DeltaBatch, EncodedRows};

/// The rows that a partition shows, in order: row, number, how often. The number is 0 if it is not shown.
#[derive(Default)]
pub(super) struct Picked {
    rows: EncodedRows,
    numbers: Vec<(i64, i64)>,
}

/// Rows of state with their weights.
type Surplus = Vec<(Vec<u8>, i64)>;

impl Picked {
    /// Reads a partition from its front up to the last row that is shown. Of append-only input the rows behind that
    /// one come beside: they can go.
    pub fn read<'a>(spec: &TopSpec, mut rows: impl Iterator<Item = (&'a [u8], i64)>) -> (Picked, Surplus) {
        let (skip, upto) = (limit(spec.skip), limit(spec.upto));
        let mut picked = Picked::default();
        let mut numbering = Numbering { peers: None, before: 0, rank: 0, dense: 0 };
        let mut surplus = Vec::new();
        for (row, weight) in rows.by_ref() {
            let (first, last) = numbering.next(spec.rank, row, weight);
            if first > upto {
                surplus.push((row.to_vec(), weight));
                break;
            }
            let from = first.max(skip.saturating_add(1));
            match spec.rank {
                Rank::RowNumber if spec.shows_rank => {
                    (from..=last.min(upto)).for_each(|number| picked.push(row, number, 1));
                }
                Rank::RowNumber if from <= last.min(upto) => picked.push(row, 0, last.min(upto) - from + 1),
                Rank::Rank | Rank::DenseRank if first > skip => {
                    picked.push(row, if spec.shows_rank { first } else { 0 }, weight);
                }
                Rank::RowNumber | Rank::Rank | Rank::DenseRank => {}
            }
            if spec.rank == Rank::RowNumber && last >= upto {
                break;
            }
        }
        if spec.append_only {
            surplus.extend(rows.map(|(row, weight)| (row.to_vec(), weight)));
        } else {
            surplus.clear();
        }
        (picked, surplus)
    }

    fn push(&mut self, row: &[u8], number: i64, times: i64) {
        self.rows.push(row);
        self.numbers.push((number, times));
    }
}

fn limit(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Counts along a partition.
struct Numbering<'a> {
    /// The order key of the row before.
    peers: Option<&'a [u8]>,
    /// Rows so far.
    before: i64,
    rank: i64,
    dense: i64,
}

impl<'a> Numbering<'a> {
    /// The numbers of the next row's first and last copy.
    fn next(&mut self, rank: Rank, row: &'a [u8], weight: i64) -> (i64, i64) {
        let (order, _) = split(row);
        let first = self.before.saturating_add(1);
        if self.peers != Some(order) {
            self.peers = Some(order);
            self.rank = first;
            self.dense += 1;
        }
        self.before = self.before.saturating_add(weight);
        match rank {
            Rank::RowNumber => (first, self.before),
            Rank::Rank => (self.rank, self.rank),
            Rank::DenseRank => (self.dense, self.dense),
        }
    }
}

/// Changes of what is shown, on their way out.
pub(super) struct Showing<'a> {
    codec: &'a PartitionCodec,
    spec: &'a TopSpec,
    keys: EncodedRows,
    rows: EncodedRows,
    numbers: Vec<i64>,
    weights: Vec<i64>,
}

impl<'a> Showing<'a> {
    pub fn new(codec: &'a PartitionCodec, spec: &'a TopSpec) -> Showing<'a> {
        let (keys, rows) = Default::default();
        Showing { codec, spec, keys, rows, numbers: Vec::new(), weights: Vec::new() }
    }

    /// How many rows wait.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// The change from `before` to `after`; both are in order of (row, number).
    pub fn difference(&mut self, key: &[u8], before: &Picked, after: &Picked) {
        let (mut old, mut new) = (0, 0);
        while old < before.numbers.len() || new < after.numbers.len() {
            let order = match (old < before.numbers.len(), new < after.numbers.len()) {
                (true, true) => {
                    let (one, other) = (before.rows.row(old), after.rows.row(new));
                    one.cmp(other).then(before.numbers[old].0.cmp(&after.numbers[new].0))
                }
                (true, false) => Ordering::Less,
                (false, _) => Ordering::Greater,
            };
            match order {
                Ordering::Less => {
                    let (number, times) = before.numbers[old];
                    self.push(key, before.rows.row(old), number, -times);
                    old += 1;
                }
                Ordering::Greater => {
                    let (number, times) = after.numbers[new];
                    self.push(key, after.rows.row(new), number, times);
                    new += 1;
                }
                Ordering::Equal => {
                    let (number, times) = after.numbers[new];
                    self.push(key, after.rows.row(new), number, times - before.numbers[old].1);
                    (old, new) = (old + 1, new + 1);
                }
            }
        }
    }

    fn push(&mut self, key: &[u8], row: &[u8], number: i64, weight: i64) {
        if weight != 0 {
            self.keys.push(key);
            self.rows.push(row);
            self.numbers.push(number);
            self.weights.push(weight);
        }
    }

    /// Emits what waits.
    pub fn emit(self, out: &mut Output) -> Result<()> {
        if self.weights.is_empty() {
            return Ok(());
        }
        let mut columns = self.codec.decode(self.keys.iter(), self.rows.iter())?;
        if self.spec.shows_rank {
            columns.push(Arc::new(Int64Array::from(self.numbers)) as ArrayRef);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.weights.len()));
        let rows = RecordBatch::try_new_with_options(self.spec.output().arrow(), columns, &options)?;
        out.emit(MAIN_PORT, DeltaBatch::new(rows, self.weights)?);
        Ok(())
    }
}
