//! Frames: for each row of a partition the rows that a function sees, as a range of places.

use std::ops::Range;

use arrow::array::{Array, RecordBatch};

use super::spec::{Bound, Frame, Units};
use crate::base::{Error, Result};
use crate::functions::{BinaryOp, Compiled, Evaluated, Expr, Literal};
use crate::operators::partition::{PartitionCodec, RowOrder};
use crate::types::{EncodedRows, Schema};

/// The rows of one partition (or a stretch of it) in order, each copy by itself.
pub(super) struct Rows {
    /// The input's columns.
    pub batch: RecordBatch,
    /// Order bytes of each row.
    pub orders: EncodedRows,
    /// The group of peers of each row.
    pub groups: Vec<usize>,
    /// The first row of each group, and the end of the last.
    pub starts: Vec<usize>,
}

impl Rows {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// The end of a group.
    pub fn group_end(&self, group: usize) -> usize {
        self.starts[group + 1]
    }

    /// The first row whose order is not below `order` (or, if `behind`, is above it).
    fn place(&self, order: &[u8], behind: bool) -> usize {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            let found = self.orders.row(middle);
            if found < order || (behind && found == order) { from = middle + 1 } else { to = middle }
        }
        from
    }
}

/// A frame, compiled.
pub(super) struct Framing {
    frame: Frame,
    start: Option<Compiled>,
    end: Option<Compiled>,
    /// The column of the first order key.
    key: Option<usize>,
}

impl Framing {
    /// For rows of `input` in `order`.
    pub fn new(frame: &Frame, input: &Schema, order: &RowOrder) -> Result<Framing> {
        let by_value = |bound: &Bound| -> Result<Option<Compiled>> {
            let (offset, below) = match bound {
                Bound::Below(offset) => (offset, true),
                Bound::Above(offset) => (offset, false),
                Bound::First | Bound::Before(_) | Bound::Current | Bound::Behind(_) | Bound::Last => return Ok(None),
            };
            moved(offset, below, input, order).map(Some)
        };
        let key = order.order.first().map(|key| key.column);
        Ok(Framing { start: by_value(&frame.start)?, end: by_value(&frame.end)?, frame: frame.clone(), key })
    }

    /// The frame of each row.
    pub fn ranges(&self, rows: &Rows, codec: &PartitionCodec) -> Result<Vec<Range<usize>>> {
        let starts = self.start.as_ref().map(|bound| values(bound, rows, codec)).transpose()?;
        let ends = self.end.as_ref().map(|bound| values(bound, rows, codec)).transpose()?;
        let values = self.values(rows);
        // A bound beyond all values of the type lies behind the last value, not among the NULLs.
        let beyond = |bound: &Bound| if let Bound::Above(_) = bound { values.end } else { values.start };
        let frame = |row: usize| {
            let start = match &starts {
                Some(bounds) => bounds.place(row, rows, false).unwrap_or_else(|| beyond(&self.frame.start)),
                None => start(&self.frame, row, rows),
            };
            let end = match &ends {
                Some(bounds) => bounds.place(row, rows, true).unwrap_or_else(|| beyond(&self.frame.end)),
                None => end(&self.frame, row, rows),
            };
            start..end.max(start)
        };
        Ok((0..rows.len()).map(frame).collect())
    }

    /// The rows whose key is not NULL; those with NULL stand before or behind them.
    fn values(&self, rows: &Rows) -> Range<usize> {
        let Some(key) = self.key.map(|key| rows.batch.column(key)).filter(|key| key.null_count() > 0) else {
            return 0..rows.len();
        };
        let count = rows.len() - key.null_count();
        if key.is_null(0) { rows.len() - count..rows.len() } else { 0..count }
    }
}

/// The one order key moved by `offset`, of the key's type: against the order if `below`, else along it.
pub(super) fn moved(offset: &Literal, below: bool, input: &Schema, order: &RowOrder) -> Result<Compiled> {
    let [key] = order.order.as_slice() else {
        return Err(Error::internal("RANGE with an offset needs one order key"));
    };
    let op = if below != key.descending { BinaryOp::Subtract } else { BinaryOp::Add };
    let column = Expr::Column(key.column);
    let wanted = column.ty(input)?;
    let moved = Expr::binary(op, column, Expr::Literal(offset.clone()));
    let moved = if moved.ty(input)? == wanted { moved } else { moved.cast(wanted) };
    Compiled::new(&moved, input)
}

/// Bounds by value, as order bytes.
struct Bounds {
    orders: EncodedRows,
    evaluated: Evaluated,
}

fn values(bound: &Compiled, rows: &Rows, codec: &PartitionCodec) -> Result<Bounds> {
    let evaluated = bound.evaluate(&rows.batch)?;
    Ok(Bounds { orders: codec.encode_order(0, &evaluated.values)?, evaluated })
}

impl Bounds {
    /// Where the bound of a row lies; `None`: beyond all values of the type.
    fn place(&self, row: usize, rows: &Rows, behind: bool) -> Option<usize> {
        if self.evaluated.faults.as_ref().is_some_and(|faults| faults.mask.value(row)) {
            return None;
        }
        debug_assert_eq!(self.evaluated.values.len(), rows.len());
        Some(rows.place(self.orders.row(row), behind))
    }
}

fn start(frame: &Frame, row: usize, rows: &Rows) -> usize {
    let group = rows.groups[row];
    match (&frame.start, frame.units) {
        (Bound::First, _) => 0,
        (Bound::Last, _) => rows.len(),
        (Bound::Before(n), Units::Rows) => row.saturating_sub(index(*n)),
        (Bound::Current, Units::Rows) => row,
        (Bound::Behind(n), Units::Rows) => row.saturating_add(index(*n)).min(rows.len()),
        (Bound::Before(n), _) => rows.starts[group.saturating_sub(index(*n))],
        (Bound::Current | Bound::Below(_) | Bound::Above(_), _) => rows.starts[group],
        (Bound::Behind(n), _) => rows.starts.get(group.saturating_add(index(*n))).copied().unwrap_or(rows.len()),
    }
}

fn end(frame: &Frame, row: usize, rows: &Rows) -> usize {
    let group = rows.groups[row];
    match (&frame.end, frame.units) {
        (Bound::First, _) => 0,
        (Bound::Last, _) => rows.len(),
        (Bound::Before(n), Units::Rows) => (row + 1).saturating_sub(index(*n)),
        (Bound::Current, Units::Rows) => row + 1,
        (Bound::Behind(n), Units::Rows) => row.saturating_add(1).saturating_add(index(*n)).min(rows.len()),
        (Bound::Before(n), _) => group.checked_sub(index(*n)).map_or(0, |group| rows.group_end(group)),
        (Bound::Current | Bound::Below(_) | Bound::Above(_), _) => rows.group_end(group),
        (Bound::Behind(n), _) => {
            let last = rows.starts.len().saturating_sub(2);
            rows.group_end(group.saturating_add(index(*n)).min(last))
        }
    }
}

fn index(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}
