//! Aggregates worked out anew from all rows of a group, in order: percentiles, mode, string_agg, array_agg.
//!
//! The rows come as they are kept: what the call orders by, then its arguments; each with how often it is there.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Float64Type};

use super::aggregates::fraction;
use super::call::AggregateCall;
use super::flat::bytes_at;
use super::function::{AggregateFunction, Method};
use crate::base::{Error, Result};
use crate::types::{EncodedRows, RowCodec, SqlType};

/// How many rows are decoded at a time.
const CHUNK_ROWS: usize = 1024;
/// The longest text that string_agg makes, as in PostgreSQL.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// The longest array that array_agg makes.
const LIST_VALUES_MAX: usize = 1 << 26;

/// What is worked out.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    kind: Kind,
    codec: RowCodec,
    /// The place of the first argument in the rows.
    value: usize,
    /// Whether equal rows count once.
    distinct: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Interpolated between the two rows around the fraction.
    Continuous { fraction: Option<f64>, descending: bool },
    /// The first row at or behind the fraction.
    Discrete { fraction: Option<f64>, descending: bool },
    /// The value that is there most often, the first of these.
    Mode { descending: bool },
    /// Texts with delimiters between them.
    Text,
    /// All values.
    List,
}

impl Fold {
    /// What `call` works out of kept rows of types `row`; `None` if it is no such call.
    pub fn of(call: &AggregateCall, row: &[SqlType], value: usize) -> Result<Option<Fold>> {
        if call.function.method() != Method::Fold {
            return Ok(None);
        }
        let descending = call.order.first().is_some_and(|order| order.descending);
        let kind = match call.function {
            AggregateFunction::PercentileCont => Kind::Continuous { fraction: fraction(call.args.get(1))?, descending },
            AggregateFunction::PercentileDisc => Kind::Discrete { fraction: fraction(call.args.get(1))?, descending },
            AggregateFunction::Mode => Kind::Mode { descending },
            AggregateFunction::ArrayAgg => Kind::List,
            _ => Kind::Text,
        };
        Ok(Some(Fold { kind, codec: RowCodec::new(row.to_vec()), value, distinct: call.distinct }))
    }
}

/// Answers of one call for several groups, one after another.
pub struct Folding<'a> {
    fold: &'a Fold,
    ty: SqlType,
    answers: Answers,
}

enum Answers {
    Numbers(Vec<Option<f64>>),
    /// Kept rows in which the answer lies; empty: none.
    Rows(EncodedRows),
    Texts(Vec<Option<Vec<u8>>>),
    /// The values of all groups one after another, and how many each has.
    Lists(Vec<ArrayRef>, Vec<usize>),
}

impl<'a> Folding<'a> {
    pub(super) fn new(fold: &'a Fold, ty: SqlType) -> Folding<'a> {
        let answers = match fold.kind {
            Kind::Continuous { .. } => Answers::Numbers(Vec::new()),
            Kind::Discrete { .. } | Kind::Mode { .. } => Answers::Rows(EncodedRows::with_capacity(0, 0)),
            Kind::Text => Answers::Texts(Vec::new()),
            Kind::List => Answers::Lists(Vec::new(), Vec::new()),
        };
        Folding { fold, ty, answers }
    }

    /// Works out the answer of the next group from its rows, in order, each with its weight (above 0).
    pub fn group<'r>(&mut self, rows: impl Iterator<Item = (&'r [u8], i64)> + Clone) -> Result<()> {
        let distinct = self.fold.distinct;
        let rows = rows.map(|(row, weight)| (row, if distinct { weight.min(1) } else { weight }));
        let count =
            |rows: &mut dyn Iterator<Item = (&'r [u8], i64)>| rows.map(|(_, weight)| weight.max(0)).sum::<i64>();
        match (&mut self.answers, self.fold.kind) {
            (Answers::Numbers(numbers), Kind::Continuous { fraction, descending }) => {
                let answer = match (count(&mut rows.clone()), fraction) {
                    (0, _) | (_, None) => None,
                    (total, Some(fraction)) => Some(continuous(self.fold, rows, total, fraction, descending)?),
                };
                numbers.push(answer);
            }
            (Answers::Rows(answers), Kind::Discrete { fraction, descending }) => {
                let found = match (count(&mut rows.clone()), fraction) {
                    (0, _) | (_, None) => None,
                    (total, Some(fraction)) => {
                        let rank = ((fraction * total as f64).ceil() as i64).clamp(1, total) - 1;
                        nth(rows, if descending { total - 1 - rank } else { rank })
                    }
                };
                answers.push(found.unwrap_or_default());
            }
            (Answers::Rows(answers), Kind::Mode { descending }) => {
                let mut best: Option<(&[u8], i64)> = None;
                for (row, weight) in rows {
                    if best.is_none_or(|(_, most)| if descending { weight >= most } else { weight > most }) {
                        best = Some((row, weight));
                    }
                }
                answers.push(best.map_or(&[][..], |(row, _)| row));
            }
            (Answers::Texts(texts), Kind::Text) => texts.push(text(self.fold, rows)?),
            (Answers::Lists(values, lengths), Kind::List) => lengths.push(list(self.fold, rows, values)?),
            _ => return Err(Error::internal("answers of another aggregate")),
        }
        Ok(())
    }

    /// The answers of all groups so far.
    pub fn finish(self) -> Result<ArrayRef> {
        Ok(match self.answers {
            Answers::Numbers(numbers) => Arc::new(numbers.into_iter().collect::<Float64Array>()),
            Answers::Rows(rows) => {
                let codec = &self.fold.codec;
                let none =
                    codec.encode(&codec.types().iter().map(|ty| new_null_array(&ty.arrow(), 1)).collect::<Vec<_>>())?;
                let rows = rows.iter().map(|row| if row.is_empty() { none.row(0) } else { row });
                let columns = codec.decode(rows.collect::<Vec<_>>())?;
                columns.into_iter().nth(self.fold.value).ok_or_else(|| Error::internal("an answer has no column"))?
            }
            Answers::Lists(values, lengths) => lists(&self.ty, &values, &lengths)?,
            Answers::Texts(texts) => {
                let bytes = BinaryArray::from_iter(texts);
                match self.ty {
                    SqlType::Bytea => Arc::new(bytes),
                    _ => Arc::new(
                        StringArray::try_from_binary(bytes).map_err(|_| Error::corrupt("kept text is not UTF-8"))?,
                    ),
                }
            }
        })
    }
}

/// The row at `place`, counting from 0.
fn nth<'r>(rows: impl Iterator<Item = (&'r [u8], i64)>, place: i64) -> Option<&'r [u8]> {
    let mut seen = 0;
    for (row, weight) in rows {
        seen += weight;
        if seen > place {
            return Some(row);
        }
    }
    None
}

fn continuous<'r>(
    fold: &Fold,
    rows: impl Iterator<Item = (&'r [u8], i64)> + Clone,
    total: i64,
    fraction: f64,
    descending: bool,
) -> Result<f64> {
    let place = fraction * (total - 1) as f64;
    let (low, high) = (place.floor() as i64, place.ceil() as i64);
    let at = |place: i64| if descending { total - 1 - place } else { place };
    let missing = || Error::internal("a percentile lies behind its rows");
    let first = nth(rows.clone(), at(low)).ok_or_else(missing)?;
    let second = if high == low { first } else { nth(rows, at(high)).ok_or_else(missing)? };
    let columns = fold.codec.decode([first, second])?;
    let values = columns.get(fold.value).ok_or_else(missing)?.as_primitive::<Float64Type>();
    let (first, second) = (values.value(0), values.value(1));
    Ok(if high == low { first } else { first + (place - low as f64) * (second - first) })
}

/// Appends the values of a group to `values`; how many there were.
fn list<'r>(fold: &Fold, rows: impl Iterator<Item = (&'r [u8], i64)>, values: &mut Vec<ArrayRef>) -> Result<usize> {
    let mut length = 0;
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let chunk: Vec<(&[u8], i64)> = rows.by_ref().take(CHUNK_ROWS).collect();
        let mut columns = fold.codec.decode(chunk.iter().map(|(row, _)| *row))?;
        if fold.value >= columns.len() {
            return Err(Error::internal("array_agg kept rows without a value"));
        }
        let column = columns.swap_remove(fold.value);
        let copies = |(row, (_, weight)): (usize, &(&[u8], i64))| (0..*weight).map(move |_| row as u32);
        let places: UInt32Array = chunk.iter().enumerate().flat_map(copies).collect();
        length += places.len();
        if length > LIST_VALUES_MAX {
            return Err(Error::limit(format!("array_agg makes an array of more than {LIST_VALUES_MAX} values"))
                .with_hint("Group by more columns, or FILTER the rows."));
        }
        values.push(if places.len() == column.len() { column } else { arrow::compute::take(&column, &places, None)? });
    }
    Ok(length)
}

/// One list per length; a group without rows has none.
fn lists(ty: &SqlType, values: &[ArrayRef], lengths: &[usize]) -> Result<ArrayRef> {
    let DataType::List(field) = ty.arrow() else { return Err(Error::internal(format!("{ty} is no array"))) };
    let values: Vec<&dyn Array> = values.iter().map(|values| values.as_ref()).collect();
    let values = if values.is_empty() { new_empty_array(field.data_type()) } else { arrow::compute::concat(&values)? };
    let nulls = NullBuffer::from_iter(lengths.iter().map(|&length| length > 0));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(nulls))?))
}

fn text<'r>(fold: &Fold, rows: impl Iterator<Item = (&'r [u8], i64)>) -> Result<Option<Vec<u8>>> {
    let mut text: Option<Vec<u8>> = None;
    let mut rows = rows.peekable();
    let mut chunk = Vec::with_capacity(CHUNK_ROWS);
    while rows.peek().is_some() {
        chunk.clear();
        chunk.extend(rows.by_ref().take(CHUNK_ROWS));
        let columns = fold.codec.decode(chunk.iter().map(|(row, _)| *row))?;
        let (Some(values), Some(delimiters)) = (columns.get(fold.value), columns.get(fold.value + 1)) else {
            return Err(Error::internal("string_agg kept rows without a text"));
        };
        for (row, (_, weight)) in chunk.iter().enumerate() {
            for _ in 0..*weight {
                match &mut text {
                    None => text = Some(bytes_at(values, row).to_vec()),
                    Some(text) => {
                        if delimiters.is_valid(row) {
                            text.extend_from_slice(bytes_at(delimiters, row));
                        }
                        text.extend_from_slice(bytes_at(values, row));
                        if text.len() > TEXT_BYTES_MAX {
                            return Err(Error::limit("string_agg makes a text of more than 1073741824 bytes")
                                .with_hint("Group by more columns, or FILTER the rows."));
                        }
                    }
                }
            }
        }
    }
    Ok(text)
}
