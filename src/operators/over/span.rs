//! How far a change reaches by value: frames of RANGE with offsets on both sides.

use arrow::array::RecordBatch;

use super::frames::moved;
use super::spec::{Bound, Frame, Units};
use crate::base::{Error, Result};
use crate::functions::{Compiled, Literal};
use crate::operators::partition::{PartitionCodec, RowOrder};
use crate::types::Schema;

/// One offset, both ways along the order.
struct Moves {
    back: Compiled,
    forth: Compiled,
}

/// The span of one frame: results depend on values so far before and behind their own.
pub(super) struct Span {
    column: usize,
    before: Option<Moves>,
    behind: Option<Moves>,
}

/// Order bytes between which results may differ, and between which rows must be read; `None`: there is no end.
#[derive(Debug, Default)]
pub(super) struct Edges {
    pub read_from: Option<Vec<u8>>,
    pub from: Option<Vec<u8>>,
    pub to: Option<Vec<u8>>,
    pub read_to: Option<Vec<u8>>,
}

impl Span {
    /// The span of `frame` over rows of `input` in `order`; `None` if it is of another kind.
    pub fn new(frame: &Frame, input: &Schema, order: &RowOrder) -> Result<Option<Span>> {
        let [key] = order.order.as_slice() else { return Ok(None) };
        if frame.units != Units::Range {
            return Ok(None);
        }
        let before = match &frame.start {
            Bound::Below(offset) => Some(offset),
            Bound::Current | Bound::Above(_) => None,
            Bound::First | Bound::Before(_) | Bound::Behind(_) | Bound::Last => return Ok(None),
        };
        let behind = match &frame.end {
            Bound::Above(offset) => Some(offset),
            Bound::Current | Bound::Below(_) => None,
            Bound::First | Bound::Before(_) | Bound::Behind(_) | Bound::Last => return Ok(None),
        };
        let moves = |offset: &Literal| -> Result<Moves> {
            Ok(Moves { back: moved(offset, true, input, order)?, forth: moved(offset, false, input, order)? })
        };
        let before = before.map(moves).transpose()?;
        let behind = behind.map(moves).transpose()?;
        Ok(Some(Span { column: key.column, before, behind }))
    }

    /// The edges of a change between the values of `first` and `last` (one row each).
    fn edges(&self, first: &RecordBatch, last: &RecordBatch, codec: &PartitionCodec) -> Result<Edges> {
        let back = |moves: &Option<Moves>, row: &Option<RecordBatch>| self.step(moves.as_ref().map(|m| &m.back), row);
        let forth = |moves: &Option<Moves>, row: &Option<RecordBatch>| self.step(moves.as_ref().map(|m| &m.forth), row);
        let from = back(&self.behind, &Some(first.clone()))?;
        let to = forth(&self.before, &Some(last.clone()))?;
        Ok(Edges {
            read_from: self.bytes(&back(&self.before, &from)?, codec)?,
            read_to: self.bytes(&forth(&self.behind, &to)?, codec)?,
            from: self.bytes(&from, codec)?,
            to: self.bytes(&to, codec)?,
        })
    }

    /// `row` with its key moved; `None` beyond all values of the type.
    fn step(&self, by: Option<&Compiled>, row: &Option<RecordBatch>) -> Result<Option<RecordBatch>> {
        let (Some(by), Some(row)) = (by, row) else { return Ok(row.clone()) };
        let moved = by.evaluate(row)?;
        if moved.faults.is_some() {
            return Ok(None);
        }
        let mut columns = row.columns().to_vec();
        columns[self.column] = moved.values;
        Ok(Some(RecordBatch::try_new(row.schema(), columns)?))
    }

    fn bytes(&self, row: &Option<RecordBatch>, codec: &PartitionCodec) -> Result<Option<Vec<u8>>> {
        let Some(row) = row else { return Ok(None) };
        Ok(Some(codec.encode_order(0, row.column(self.column))?.row(0).to_vec()))
    }
}

/// The widest edges of all spans.
pub(super) fn edges(spans: &[Span], first: &RecordBatch, last: &RecordBatch, codec: &PartitionCodec) -> Result<Edges> {
    let mut all: Option<Edges> = None;
    for span in spans {
        let edges = span.edges(first, last, codec)?;
        all = Some(match all {
            None => edges,
            Some(all) => Edges {
                // `None` is below everything at the front, and above everything at the end.
                read_from: all.read_from.min(edges.read_from),
                from: all.from.min(edges.from),
                to: widest(all.to, edges.to),
                read_to: widest(all.read_to, edges.read_to),
            },
        });
    }
    all.ok_or_else(|| Error::internal("a change by value without a frame by value"))
}

fn widest(one: Option<Vec<u8>>, other: Option<Vec<u8>>) -> Option<Vec<u8>> {
    one.zip(other).map(|(one, other)| one.max(other))
}
