//! Freeing rows by watermark: when no partner can come any more, and the row itself will not be taken back.
//!
//! A row whose time is *t* is freed once the other side's watermark has reached *t* + `partner_us`: its gate lets
//! nothing pass that could still match. Where this side takes rows back, its own watermark must have reached
//! *t* + `own_us` too, since a retraction must find the row. What was shown of a freed row stays.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use serde::{Deserialize, Serialize};

use super::side::Side;
use super::work::Join;
use crate::base::{Error, Result};
use crate::operators::{EpochEnd, Flow, SLICE_ROWS};
use crate::state::{OperatorState, Read};
use crate::types::{EncodedRows, RowCodec, Schema, Watermark};

/// When the rows of one side are freed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// The column of the time: a timestamp, in the join key or the column of the band.
    pub column: usize,
    /// The other side is done with a row when its watermark has reached the row's time and this.
    pub partner_us: i64,
    /// This side is done with a row when its own watermark has reached the row's time and this; `None`: at once.
    pub own_us: Option<i64>,
}

impl Due {
    pub(super) fn check(&self, schema: &Schema, key: &[usize], band: Option<usize>) -> Result<()> {
        let typed = schema.columns.get(self.column).is_some_and(|column| column.ty.is_timestamp());
        if typed && (key.contains(&self.column) || band == Some(self.column)) {
            return Ok(());
        }
        Err(Error::internal(format!("join cannot free rows by column {}", self.column)))
    }

    pub(super) fn text(&self, schema: &Schema, other: &str) -> String {
        let name = schema.columns.get(self.column).map_or("?", |column| column.name.as_str());
        format!("whose {name} the watermark of the {other} side has not passed by {} us", self.partner_us)
    }

    /// The canonical bytes of the latest time that is freed; empty if none is. A NULL time goes at the end.
    fn bound(&self, partner: Watermark, own: Watermark) -> Result<Vec<u8>> {
        let passed = |watermark: Watermark, shift: i64| match watermark {
            Watermark::NONE => None,
            Watermark::END => Some(i64::MAX),
            Watermark(us) => Some(us.saturating_sub(shift)),
        };
        let own_passed = self.own_us.map_or(Some(i64::MAX), |shift| passed(own, shift));
        let (Some(partner), Some(own)) = (passed(partner, self.partner_us), own_passed) else { return Ok(Vec::new()) };
        let bound = partner.min(own);
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![(bound < i64::MAX).then_some(bound)]));
        Ok(RowCodec::new(vec![crate::types::SqlType::Timestamp]).encode(&[column])?.row(0).to_vec())
    }
}

impl Side {
    /// The times of a batch's rows as canonical bytes, if rows are freed.
    pub(super) fn times(&self, columns: &[ArrayRef]) -> Result<Option<EncodedRows>> {
        let Some(due) = &self.due else { return Ok(None) };
        let ty = self.schema.columns[due.column].ty.clone();
        Ok(Some(RowCodec::new(vec![ty]).encode(&[Arc::clone(&columns[due.column])])?))
    }
}

impl Join {
    /// Frees a slice of the rows of `side` that are due.
    pub(super) fn free(&self, side: usize, end: &EpochEnd, state: &mut OperatorState) -> Result<Flow> {
        let (Some(due), Some(place)) = (&self.sides[side].due, self.places.due[side]) else { return Ok(Flow::Done) };
        let bound = due.bound(end.watermark(1 - side), end.watermark(side))?;
        let table = state.ordered(place)?;
        if bound.is_empty() || table.first_order().is_none_or(|first| first > bound.as_slice()) {
            return Ok(Flow::Done);
        }
        if let Some(read) = table.missing_through(&bound) {
            return Ok(Flow::Fetch(vec![read]));
        }
        let mut keys = EncodedRows::default();
        table.each_through(&bound, |_, key, _| {
            keys.push(key);
            Ok(())
        })?;
        let bags = || [Some(side), self.places.matches[side]].into_iter().flatten();
        let mut reads: Vec<Read> = Vec::new();
        for bag in bags() {
            reads.extend(state.bag(bag)?.missing(&keys));
        }
        if !reads.is_empty() {
            return Ok(Flow::Fetch(reads));
        }
        let (mut orders, mut keys) = (EncodedRows::default(), EncodedRows::default());
        let left = state.ordered(place)?.take_through(&bound, SLICE_ROWS, |order, key, _| {
            orders.push(order);
            keys.push(key);
            Ok(())
        })?;
        let in_key = self.sides[side].key.contains(&due.column);
        for (order, key) in orders.iter().zip(keys.iter()) {
            for bag in bags() {
                free_rows(state, bag, key, if in_key { &[] } else { order })?;
            }
        }
        Ok(if left { Flow::More } else { Flow::Done })
    }
}

/// Takes the rows of `key` that begin with `prefix` out of a Bag.
fn free_rows(state: &mut OperatorState, bag: usize, key: &[u8], prefix: &[u8]) -> Result<()> {
    let bag = state.bag(bag)?;
    if prefix.is_empty() {
        return bag.delete_key(key);
    }
    let (mut rows, mut weights) = (EncodedRows::default(), Vec::new());
    for (row, weight) in bag.rows_from(key, prefix)?.take_while(|(row, _)| row.starts_with(prefix)) {
        rows.push(row);
        weights.push(weight);
    }
    rows.iter().zip(weights).try_for_each(|(row, weight)| bag.add(key, row, -weight).map(|_| ()))
}
