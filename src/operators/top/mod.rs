//! `top`: the first rows of each partition: LIMIT, OFFSET, DISTINCT ON, and filters on row_number, rank or dense_rank.
//!
//! ```text
//!  on_delta       rows ─▶ gathered, by (partition; order key, row)
//!  on_epoch_end   per changed partition, in slices: what it showed, read from the front ─▶ changes put into the Bag
//!                 ─▶ what it shows now ─▶ the difference of both
//! ```
//!
//! | table | kind | order | key | row |
//! |---|---|---|---|---|
//! | 0 `rows` | Bag | | partition | see `partition`: order keys, the row |
//! | 1 `windows` | Ordered; only if windows close | the window's column | partition | |
//!
//! A change costs the rows up to the last one shown, never the partition. Of append-only input the rows behind the last
//! one shown are dropped: they can never come back.

mod showing;

use serde::{Deserialize, Serialize};

use super::partition::{FreeOn, Merge, Merging, PartitionCodec, ROWS, RowOrder, Slice, Windows};
use super::spec::{Door, names};
use super::{EpochEnd, Flow, Operator, Output, SLICE_ROWS};
use crate::base::{Error, Result};
use crate::state::{OperatorState, TableSpec};
use crate::types::{Column, DeltaBatch, Schema, SqlType, Weights};
use showing::{Picked, Showing};

#[cfg(test)]
mod tests;

const WINDOWS: usize = 1;

/// The first rows of each partition. The output has the input's columns, then, if `shows_rank`, a bigint `rank`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopSpec {
    /// The schema of the input.
    pub input: Schema,
    /// Partitions, and the order in them.
    pub order: RowOrder,
    /// How rows are numbered from 1.
    pub rank: Rank,
    /// Rows with a number not above this are passed over.
    pub skip: u64,
    /// Rows with a number above this are not shown.
    pub upto: u64,
    /// Whether the number is shown.
    pub shows_rank: bool,
    /// Whether the input never retracts; then rows that can never be shown are not kept.
    pub append_only: bool,
    /// The partition column that says when no more rows come; state is freed then, rows stay. As
    /// `AggregateSpec::free_on`.
    #[serde(default)]
    pub free_on: Option<FreeOn>,
}

/// How rows are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// row_number: one after another.
    RowNumber,
    /// rank: peers alike, gaps behind them.
    Rank,
    /// dense_rank: peers alike, no gaps.
    DenseRank,
}

impl Rank {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Rank::RowNumber => "row_number",
            Rank::Rank => "rank",
            Rank::DenseRank => "dense_rank",
        }
    }
}

impl TopSpec {
    /// The schema of port 0.
    pub(super) fn output(&self) -> Schema {
        let mut columns = self.input.columns.clone();
        if self.shows_rank {
            columns.push(Column { name: self.rank.name().to_owned(), ty: SqlType::BigInt, nullable: false });
        }
        Schema::new(columns)
    }

    /// For EXPLAIN.
    pub(super) fn detail(&self) -> String {
        let mut text = match (self.skip, self.upto) {
            (0, upto) => format!("{} <= {upto}", self.rank.name()),
            (skip, u64::MAX) => format!("{} > {skip}", self.rank.name()),
            (skip, upto) => format!("{skip} < {} <= {upto}", self.rank.name()),
        };
        text.push_str(&self.order.detail(&self.input));
        if self.append_only {
            text.push_str(", append-only");
        }
        text
    }

    /// What bounds the state.
    pub(super) fn bounded_by(&self) -> String {
        let mut text = match (self.append_only && self.upto < u64::MAX, self.rank) {
            (false, _) => "the rows of the input".to_owned(),
            (true, Rank::RowNumber) => format!("{} rows", self.upto),
            (true, Rank::Rank) => format!("{} rows, and the peers of the last", self.upto),
            (true, Rank::DenseRank) => format!("the rows of {} order keys", self.upto),
        };
        if !self.order.partition.is_empty() {
            text.push_str(&format!(" per partition ({})", names(&self.input, &self.order.partition)));
        }
        if let Some(free) = &self.free_on {
            text.push_str(&free.text(&self.input, &self.order));
        }
        text
    }

    pub(super) fn tables(&self) -> Result<Vec<TableSpec>> {
        let codec = PartitionCodec::new(&self.input, &self.order)?;
        let mut tables = vec![TableSpec::bag("rows", codec.key_types().to_vec(), codec.row_types())];
        if let Some(free) = &self.free_on {
            tables.push(free.table(&codec)?);
        }
        Ok(tables)
    }

    pub(super) fn build(&self) -> Result<Top> {
        self.tables()?;
        let codec = PartitionCodec::new(&self.input, &self.order)?;
        Ok(Top {
            door: Door::new("top", &self.input),
            merging: Merging::default(),
            codec,
            windows: Windows::new(self.free_on, ROWS, WINDOWS),
            spec: self.clone(),
        })
    }
}

/// The top at work.
pub(super) struct Top {
    spec: TopSpec,
    door: Door,
    codec: PartitionCodec,
    merging: Merging,
    windows: Windows,
}

impl Operator for Top {
    fn on_delta(&mut self, _: usize, batch: &DeltaBatch, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.door.check(&batch.rows)?;
        if self.spec.append_only && has_retraction(&batch.weights) {
            return Err(Error::internal("operator \"top\" of an append-only input was given a retraction"));
        }
        let (keys, rows) = self.codec.encode(&batch.rows)?;
        self.merging.add(&keys, &rows, &batch.weights, state)?;
        if self.spec.append_only && self.spec.rank == Rank::RowNumber && self.spec.upto < u64::MAX {
            self.merging.trim(self.spec.upto, state);
        }
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        let mut merging = std::mem::take(&mut self.merging);
        let flow = merging.end(self, end, state, out);
        self.merging = merging;
        flow
    }
}

impl Merge for Top {
    fn merge(&mut self, slice: &Slice<'_>, state: &mut OperatorState, out: &mut Output) -> Result<usize> {
        self.windows.note(&slice.keys, &self.codec, state)?;
        let mut showing = Showing::new(&self.codec, &self.spec);
        let mut done = 0;
        for &partition in slice.touched {
            let key = slice.gathered.key(partition);
            let bag = state.bag(ROWS)?;
            let before = Picked::read(&self.spec, bag.rows(key)?).0;
            for (row, weight) in slice.gathered.changes(partition) {
                if bag.add(key, row, weight)? < 0 {
                    return Err(Error::internal("a row was taken back more often than it was put in"));
                }
            }
            let (after, surplus) = Picked::read(&self.spec, bag.rows(key)?);
            for (row, weight) in surplus {
                bag.add(key, &row, -weight)?;
            }
            showing.difference(key, &before, &after);
            done += 1;
            if showing.len() >= SLICE_ROWS {
                break;
            }
        }
        showing.emit(out)?;
        Ok(done)
    }

    fn close(&mut self, end: &EpochEnd, state: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        self.windows.close_slice(end.watermark(0), state)
    }
}

fn has_retraction(weights: &Weights) -> bool {
    match weights {
        Weights::Ones => false,
        Weights::Each(weights) => weights.iter().any(|&weight| weight < 0),
    }
}
