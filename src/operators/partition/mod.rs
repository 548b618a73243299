//! Rows of a partition in order: what `top`, `over` and `session` share. A Bag keeps them by (partition; order key, row).
//!
//! | bytes of a row | what |
//! |---|---|
//! | order | per order key a marker: `00` NULL that comes first, `01` a value, `ff` NULL that comes last; then the value's canonical bytes without their marker, for DESC all inverted |
//! | row | canonical bytes of the columns that are not of the partition: those that break ties first |
//! | length | of `order`, `u32` big-endian |
//!
//! So rows sort by (order keys, the whole row), and rows with the same `order` are peers. Worked row for
//! `ORDER BY a DESC` over (a integer, s text) = (7, 'x'): `01 7f ff ff f8 · 01 80 00 00 07 · 01 78 00 00 · 00 00 00 05`.

mod gathered;
mod merging;
mod windows;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use serde::{Deserialize, Serialize};

pub(super) use gathered::Gathered;
use gathered::Touched;
pub(super) use merging::{Merge, Merging, ROWS, Slice};
pub use windows::FreeOn;
pub(super) use windows::Windows;

use crate::base::{Error, Result};
use crate::types::{EncodedRows, RowCodec, Schema, SqlType};

/// How rows are parted, and in which order those of a partition stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowOrder {
    /// PARTITION BY these columns; none: all rows are one partition, on one subtask.
    pub partition: Vec<usize>,
    /// ORDER BY.
    pub order: Vec<OrderKey>,
    /// Columns that break ties, in this order; those left out break what is left, in the order of the input.
    pub tie: Vec<usize>,
}

/// One key of ORDER BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderKey {
    /// The column.
    pub column: usize,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

const NULL_FIRST: u8 = 0;
const VALUE: u8 = 1;
const NULL_LAST: u8 = 0xff;
/// Bytes of the length at a row's end.
const LENGTH: usize = 4;

impl RowOrder {
    /// For EXPLAIN: ` by (a) order b desc`.
    pub fn detail(&self, input: &Schema) -> String {
        let name = |i: usize| input.columns.get(i).map_or("?", |column| column.name.as_str());
        let mut text = String::new();
        if !self.partition.is_empty() {
            let names: Vec<&str> = self.partition.iter().map(|&i| name(i)).collect();
            text.push_str(&format!(" by ({})", names.join(", ")));
        }
        if !self.order.is_empty() {
            let key = |key: &OrderKey| {
                let direction = if key.descending { " desc" } else { "" };
                let nulls = match (key.descending, key.nulls_first) {
                    (false, true) => " nulls first",
                    (true, false) => " nulls last",
                    (false, false) | (true, true) => "",
                };
                format!("{}{direction}{nulls}", name(key.column))
            };
            let keys: Vec<String> = self.order.iter().map(key).collect();
            text.push_str(&format!(" order {}", keys.join(", ")));
        }
        text
    }
}

/// Where a column of the input lies in state.
#[derive(Clone, Copy, Debug)]
enum Place {
    Key(usize),
    Rest(usize),
}

/// Rows of the input to state and back.
pub(super) struct PartitionCodec {
    partition: Vec<usize>,
    order: Vec<(OrderKey, RowCodec)>,
    rest: Vec<usize>,
    places: Vec<Place>,
    key_codec: RowCodec,
    rest_codec: RowCodec,
}

impl PartitionCodec {
    /// For rows of `input`. `Internal` when the order names columns that are not there.
    pub fn new(input: &Schema, order: &RowOrder) -> Result<PartitionCodec> {
        let width = input.columns.len();
        let mut named = order.partition.iter().chain(&order.tie).copied().chain(order.order.iter().map(|k| k.column));
        if let Some(column) = named.find(|&column| column >= width) {
            return Err(Error::internal(format!("rows are ordered by column {column} of {width}")));
        }
        let mut rest: Vec<usize> = Vec::new();
        for column in order.tie.iter().copied().chain(0..width) {
            if !order.partition.contains(&column) && !rest.contains(&column) {
                rest.push(column);
            }
        }
        let place = |column: usize| match order.partition.iter().position(|&other| other == column) {
            Some(place) => Place::Key(place),
            None => Place::Rest(rest.iter().position(|&other| other == column).unwrap_or_default()),
        };
        let places = (0..width).map(place).collect();
        let codec = |columns: &[usize]| RowCodec::new(input.project(columns).types());
        Ok(PartitionCodec {
            places,
            order: order.order.iter().map(|key| (*key, codec(&[key.column]))).collect(),
            key_codec: codec(&order.partition),
            rest_codec: codec(&rest),
            partition: order.partition.clone(),
            rest,
        })
    }

    /// The types of a partition's key.
    pub fn key_types(&self) -> &[SqlType] {
        self.key_codec.types()
    }

    /// The types that a row of state is made of.
    pub fn row_types(&self) -> Vec<SqlType> {
        self.order.iter().flat_map(|(_, codec)| codec.types()).chain(self.rest_codec.types()).cloned().collect()
    }

    /// The keys of a batch's rows.
    pub fn encode_keys(&self, batch: &RecordBatch) -> Result<EncodedRows> {
        let columns: Vec<ArrayRef> = self.partition.iter().map(|&column| Arc::clone(batch.column(column))).collect();
        self.key_codec.encode_rows(&columns, batch.num_rows())
    }

    /// Keys and rows of state, one per row of the batch.
    pub fn encode(&self, batch: &RecordBatch) -> Result<(EncodedRows, EncodedRows)> {
        let count = batch.num_rows();
        let columns = |indices: &[usize]| -> Vec<ArrayRef> {
            indices.iter().map(|&column| Arc::clone(batch.column(column))).collect()
        };
        let keys = self.encode_keys(batch)?;
        let rests = self.rest_codec.encode_rows(&columns(&self.rest), count)?;
        let encode = |(key, codec): &(OrderKey, RowCodec)| codec.encode_rows(&columns(&[key.column]), count);
        let orders = self.order.iter().map(encode).collect::<Result<Vec<_>>>()?;
        let order_bytes: usize = orders.iter().map(EncodedRows::bytes).sum();
        let mut rows = EncodedRows::with_capacity(count, rests.bytes() + order_bytes + count * LENGTH);
        let mut row = Vec::new();
        for i in 0..count {
            row.clear();
            for ((key, _), encoded) in self.order.iter().zip(&orders) {
                write_order(*key, encoded.row(i), &mut row);
            }
            let length = row.len() as u32;
            row.extend_from_slice(rests.row(i));
            row.extend_from_slice(&length.to_be_bytes());
            rows.push(&row);
        }
        Ok((keys, rows))
    }

    /// The `place`th order key's bytes of each value of `column`, as they stand in a row.
    pub fn encode_order(&self, place: usize, column: &ArrayRef) -> Result<EncodedRows> {
        let (key, codec) = self.order.get(place).ok_or_else(|| Error::internal("an order key that is not there"))?;
        let encoded = codec.encode_rows(std::slice::from_ref(column), column.len())?;
        let mut keys = EncodedRows::with_capacity(encoded.len(), encoded.bytes());
        let mut bytes = Vec::new();
        for value in encoded.iter() {
            bytes.clear();
            write_order(*key, value, &mut bytes);
            keys.push(&bytes);
        }
        Ok(keys)
    }

    /// The partition columns of keys.
    pub fn decode_keys<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.key_codec.decode(keys)
    }

    /// The input's columns of (key, row)s.
    pub fn decode<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a [u8]>,
        rows: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>> {
        let keys = self.key_codec.decode(keys)?;
        let rests = self.rest_codec.decode(rows.into_iter().map(|row| split(row).1))?;
        let column = |place: &Place| match *place {
            Place::Key(i) => Arc::clone(&keys[i]),
            Place::Rest(i) => Arc::clone(&rests[i]),
        };
        Ok(self.places.iter().map(column).collect())
    }
}

/// Appends one order key; `encoded` is a canonical field: marker `01` and value, or the lone marker of NULL.
fn write_order(key: OrderKey, encoded: &[u8], out: &mut Vec<u8>) {
    match encoded {
        [VALUE, value @ ..] => {
            out.push(VALUE);
            match key.descending {
                true => out.extend(value.iter().map(|byte| !byte)),
                false => out.extend_from_slice(value),
            }
        }
        _ => out.push(if key.nulls_first { NULL_FIRST } else { NULL_LAST }),
    }
}

/// A row of state as (order, row): rows with the same order are peers.
pub(super) fn split(row: &[u8]) -> (&[u8], &[u8]) {
    let Some((row, length)) = row.split_last_chunk::<LENGTH>() else { return (&[], row) };
    row.split_at_checked(u32::from_be_bytes(*length) as usize).unwrap_or((row, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::workbench::{batch_of_text, row_text, schema};

    /// The rows of `texts` in the order that `keys` say.
    fn sorted(keys: &[(usize, bool, bool)], texts: &[&str]) -> Vec<String> {
        let input = schema("a int, s varchar, x double");
        let key =
            |&(column, descending, nulls_first): &(usize, bool, bool)| OrderKey { column, descending, nulls_first };
        let order = RowOrder { partition: Vec::new(), order: keys.iter().map(key).collect(), tie: vec![2, 1, 0] };
        let codec = PartitionCodec::new(&input, &order).unwrap();
        let (keys, rows) = codec.encode(&batch_of_text(&input, texts)).unwrap();
        let mut pairs: Vec<(&[u8], &[u8])> = rows.iter().zip(keys.iter()).collect();
        pairs.sort_unstable();
        let columns = codec.decode(pairs.iter().map(|pair| pair.1), pairs.iter().map(|pair| pair.0)).unwrap();
        let batch = RecordBatch::try_new(input.arrow(), columns).unwrap();
        (0..batch.num_rows()).map(|row| row_text(&batch, row)).collect()
    }

    #[test]
    fn order_of_directions_and_nulls() {
        let rows = ["(1, 'b', 0)", "(NULL, 'a', 0)", "(1, 'ab', 0)", "(-5, NULL, 0)", "(1, '', 0)"];
        let ascending = sorted(&[(0, false, false), (1, false, true)], &rows);
        assert_eq!(
            ascending,
            ["(-5, NULL, 0.0)", "(1, '', 0.0)", "(1, 'ab', 0.0)", "(1, 'b', 0.0)", "(NULL, 'a', 0.0)"]
        );
        let descending = sorted(&[(0, true, true), (1, true, false)], &rows);
        assert_eq!(
            descending,
            ["(NULL, 'a', 0.0)", "(1, 'b', 0.0)", "(1, 'ab', 0.0)", "(1, '', 0.0)", "(-5, NULL, 0.0)"]
        );
        let nulls_last = sorted(&[(0, true, false)], &["(NULL, 'a', 0)", "(2, 'a', 0)", "(3, 'a', 0)"]);
        assert_eq!(nulls_last, ["(3, 'a', 0.0)", "(2, 'a', 0.0)", "(NULL, 'a', 0.0)"]);
    }

    #[test]
    fn ties_are_broken_by_the_columns_named_first() {
        let rows = ["(1, 'b', 1)", "(2, 'a', 1)", "(3, 'b', 0)"];
        assert_eq!(sorted(&[], &rows), ["(3, 'b', 0.0)", "(2, 'a', 1.0)", "(1, 'b', 1.0)"]);
    }

    #[test]
    fn worked_row() {
        let input = schema("a int, s varchar");
        let key = OrderKey { column: 0, descending: true, nulls_first: true };
        let order = RowOrder { partition: Vec::new(), order: vec![key], tie: Vec::new() };
        let (_, rows) =
            PartitionCodec::new(&input, &order).unwrap().encode(&batch_of_text(&input, &["(7, 'x')"])).unwrap();
        let expected = [1, 0x7f, 0xff, 0xff, 0xf8, 1, 0x80, 0, 0, 7, 1, 0x78, 0, 0, 0, 0, 0, 5];
        assert_eq!(rows.row(0), expected);
        assert_eq!(split(rows.row(0)).0, &expected[..5]);
    }
}
