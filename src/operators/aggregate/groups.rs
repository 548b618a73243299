//! The groups seen in the open epoch: rows of key columns → dense local numbers.
//!
//! Keys whose columns all have a fixed width are compared as rows of machine words, built column by column; other keys
//! by their canonical bytes. Either way a group's canonical key bytes are written once, when it is first seen.

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use hashbrown::HashTable;

use crate::base::{Error, Result};
use crate::types::{EncodedRows, RowCodec, Schema, SqlType, key_hash};

/// A map from key rows to group numbers `0 .. len`, in order of first appearance.
pub(super) struct Groups {
    codec: RowCodec,
    layout: Layout,
    index: HashTable<u32>,
    hashes: Vec<u64>,
    /// Canonical key bytes of every group.
    keys: EncodedRows,
    /// The key column by which windows close, and its canonical bytes for every group.
    order: Option<(usize, RowCodec)>,
    orders: EncodedRows,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    words: Vec<u64>,
    fresh: Vec<u32>,
}

enum Layout {
    /// Keys as `width` words each; `nulls`: the last word has a bit per NULL column.
    Words { width: usize, nulls: bool, groups: Vec<u64> },
    /// Keys as canonical bytes.
    Bytes,
}

impl Groups {
    /// For key columns of `schema`. Each distinct key is one group; NULLs are equal to each other. `order`: the column
    /// whose bytes are kept beside the key.
    pub fn new(schema: &Schema, order: Option<usize>) -> Groups {
        let widths: Option<Vec<usize>> = schema.columns.iter().map(|column| words_of(&column.ty)).collect();
        let nulls = schema.columns.iter().any(|column| column.nullable);
        let layout = match widths {
            // The null word has 64 bits.
            Some(widths) if widths.len() <= 64 => {
                let width = widths.iter().sum::<usize>() + usize::from(nulls);
                Layout::Words { width, nulls, groups: Vec::new() }
            }
            _ => Layout::Bytes,
        };
        Groups {
            codec: RowCodec::new(schema.types()),
            layout,
            index: HashTable::new(),
            hashes: Vec::new(),
            keys: EncodedRows::with_capacity(0, 0),
            order: order.map(|column| (column, RowCodec::new(schema.project(&[column]).types()))),
            orders: EncodedRows::with_capacity(0, 0),
            scratch: Scratch::default(),
        }
    }

    /// How many groups.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The canonical bytes of every group's key.
    pub fn keys(&self) -> &EncodedRows {
        &self.keys
    }

    /// The canonical bytes of the order column of every group's key; none without such a column.
    pub fn orders(&self) -> &EncodedRows {
        &self.orders
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        let words = match &self.layout {
            Layout::Words { groups, .. } => groups.capacity() * 8,
            Layout::Bytes => 0,
        };
        words
            + self.index.capacity() * 5
            + (self.hashes.capacity() + self.scratch.words.capacity()) * 8
            + self.keys.bytes()
            + self.orders.bytes()
    }

    /// Forgets all groups; keeps memory for as many as there were, within reason.
    pub fn clear(&mut self) {
        const KEPT: usize = 1 << 16;
        self.index.clear();
        self.index.shrink_to(KEPT, |&group| u64::from(group));
        self.hashes.clear();
        self.hashes.shrink_to(KEPT);
        self.keys = EncodedRows::with_capacity(0, 0);
        self.orders = EncodedRows::with_capacity(0, 0);
        if let Layout::Words { groups, .. } = &mut self.layout {
            groups.clear();
            groups.shrink_to(KEPT * 4);
        }
    }

    /// Sets `ids` to the group of each of the `rows` rows of `columns`.
    pub fn assign(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        if self.len().checked_add(rows).is_none_or(|most| u32::try_from(most).is_err()) {
            return Err(Error::limit("more than 4294967295 groups changed in one epoch"));
        }
        if columns.is_empty() {
            return self.assign_only_group(rows, ids);
        }
        let (width, nulls) = match &self.layout {
            Layout::Words { width, nulls, .. } => (*width, *nulls),
            Layout::Bytes => return self.assign_bytes(columns, rows, ids),
        };
        let mut words = std::mem::take(&mut self.scratch.words);
        words.clear();
        words.resize(rows * width, 0);
        let mut at = 0;
        for (place, column) in columns.iter().enumerate() {
            at += write_words(column, &mut words, width, at)?;
            if let Some(missing) = column.nulls().filter(|missing| nulls && missing.null_count() > 0) {
                mark_nulls(missing, &mut words, width, place);
            }
        }
        self.scratch.fresh.clear();
        match width {
            1 => self.probe::<1>(&words, ids),
            2 => self.probe::<2>(&words, ids),
            3 => self.probe::<3>(&words, ids),
            4 => self.probe::<4>(&words, ids),
            5 => self.probe::<5>(&words, ids),
            _ => self.probe_wide(&words, width, ids),
        }
        self.scratch.words = words;
        self.append_fresh(columns)
    }

    /// Makes the one group of no key columns, if it is not there.
    pub fn add_only_group(&mut self) {
        if self.len() == 0 {
            self.keys.push(&[]);
            self.hashes.push(0);
        }
    }

    fn assign_only_group(&mut self, rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        ids.resize(rows, 0);
        if rows > 0 {
            self.add_only_group();
        }
        Ok(())
    }

    fn probe<const W: usize>(&mut self, words: &[u64], ids: &mut Vec<u32>) {
        let Layout::Words { groups, .. } = &mut self.layout else { return };
        let (rows, _) = words.as_chunks::<W>();
        let mut last: Option<(&[u64; W], u32)> = None;
        for (row, key) in rows.iter().enumerate() {
            // Rows of one group often come together.
            if let Some((same, id)) = last
                && same == key
            {
                ids.push(id);
                continue;
            }
            let hash = key.iter().fold(SEED, |hash, &word| fold(hash, word));
            let equal = |&id: &u32| groups.as_chunks::<W>().0[id as usize] == *key;
            let id = match self.index.find(hash, equal) {
                Some(&id) => id,
                None => {
                    let id = self.hashes.len() as u32;
                    self.hashes.push(hash);
                    groups.extend_from_slice(key);
                    self.index.insert_unique(hash, id, |&id| self.hashes[id as usize]);
                    self.scratch.fresh.push(row as u32);
                    id
                }
            };
            ids.push(id);
            last = Some((key, id));
        }
    }

    fn probe_wide(&mut self, words: &[u64], width: usize, ids: &mut Vec<u32>) {
        let Layout::Words { groups, .. } = &mut self.layout else { return };
        for (row, key) in words.chunks_exact(width).enumerate() {
            let hash = key.iter().fold(SEED, |hash, &word| fold(hash, word));
            let equal = |&id: &u32| groups[id as usize * width..][..width] == *key;
            let id = match self.index.find(hash, equal) {
                Some(&id) => id,
                None => {
                    let id = self.hashes.len() as u32;
                    self.hashes.push(hash);
                    groups.extend_from_slice(key);
                    self.index.insert_unique(hash, id, |&id| self.hashes[id as usize]);
                    self.scratch.fresh.push(row as u32);
                    id
                }
            };
            ids.push(id);
        }
    }

    /// Writes the canonical keys of the groups first seen in this batch.
    fn append_fresh(&mut self, columns: &[ArrayRef]) -> Result<()> {
        if self.scratch.fresh.is_empty() {
            return Ok(());
        }
        let fresh = UInt32Array::from(std::mem::take(&mut self.scratch.fresh));
        let columns = arrow::compute::take_arrays(columns, &fresh, None)?;
        self.codec.encode_rows(&columns, fresh.len())?.iter().for_each(|key| self.keys.push(key));
        self.append_orders(&columns, fresh.len())
    }

    fn append_orders(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        if let Some((column, codec)) = &self.order {
            let encoded = codec.encode_rows(&columns[*column..=*column], rows)?;
            encoded.iter().for_each(|order| self.orders.push(order));
        }
        Ok(())
    }

    fn assign_bytes(&mut self, columns: &[ArrayRef], rows: usize, ids: &mut Vec<u32>) -> Result<()> {
        let encoded = self.codec.encode_rows(columns, rows)?;
        self.scratch.fresh.clear();
        for (row, key) in encoded.iter().enumerate() {
            let hash = key_hash(key);
            let id = match self.index.find(hash, |&id| self.keys.row(id as usize) == key) {
                Some(&id) => id,
                None => {
                    let id = self.hashes.len() as u32;
                    self.hashes.push(hash);
                    self.keys.push(key);
                    self.index.insert_unique(hash, id, |&id| self.hashes[id as usize]);
                    self.scratch.fresh.push(row as u32);
                    id
                }
            };
            ids.push(id);
        }
        if self.order.is_some() && !self.scratch.fresh.is_empty() {
            let fresh = UInt32Array::from(std::mem::take(&mut self.scratch.fresh));
            let columns = arrow::compute::take_arrays(columns, &fresh, None)?;
            self.append_orders(&columns, fresh.len())?;
        }
        Ok(())
    }
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Folded multiply (as in wyhash): both halves of a 128-bit product.
#[inline]
fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(0xa076_1d64_78bd_642f_u64);
    (product as u64 ^ (product >> 64) as u64).wrapping_add(SEED)
}

/// How many words a value takes; `None` for types without a fixed width (and interval, whose equality is not its bits').
fn words_of(ty: &SqlType) -> Option<usize> {
    match ty {
        SqlType::Boolean
        | SqlType::SmallInt
        | SqlType::Int
        | SqlType::BigInt
        | SqlType::Real
        | SqlType::Double
        | SqlType::Date
        | SqlType::Time
        | SqlType::Timestamp
        | SqlType::TimestampTz => Some(1),
        SqlType::Decimal { .. } => Some(2),
        SqlType::Varchar | SqlType::Bytea | SqlType::Interval | SqlType::Uuid | SqlType::Jsonb => None,
        SqlType::Array(_) | SqlType::Row(_) => None,
    }
}

/// Sets bit `place` of the last word of every NULL row, and its value words to 0, so that NULLs are equal.
fn mark_nulls(missing: &NullBuffer, words: &mut [u64], width: usize, place: usize) {
    for (row, key) in words.chunks_exact_mut(width).enumerate() {
        if missing.is_null(row) {
            key[width - 1] |= 1 << place;
        }
    }
}

/// Writes a column into words `at ..` of every row (0 where it is NULL); returns how many words it took.
fn write_words(column: &ArrayRef, words: &mut [u64], width: usize, at: usize) -> Result<usize> {
    macro_rules! primitive {
        ($ty:ty, $word:expr) => {
            write_column(column.as_primitive::<$ty>(), words, width, at, $word)
        };
    }
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            for (row, key) in words.chunks_exact_mut(width).enumerate() {
                key[at] = u64::from(values.is_valid(row) && values.value(row));
            }
        }
        DataType::Int16 => primitive!(Int16Type, |v| [v as u64]),
        DataType::Int32 => primitive!(Int32Type, |v| [v as u64]),
        DataType::Int64 => primitive!(Int64Type, |v| [v as u64]),
        DataType::Date32 => primitive!(Date32Type, |v| [v as u64]),
        DataType::Time64(_) => primitive!(Time64MicrosecondType, |v| [v as u64]),
        DataType::Timestamp(..) => primitive!(TimestampMicrosecondType, |v| [v as u64]),
        // As the canonical encoding: -0 is 0, and all NaNs are one.
        DataType::Float32 => {
            primitive!(Float32Type, |v| [u64::from(if v.is_nan() { f32::NAN } else { v + 0.0 }.to_bits())]);
        }
        DataType::Float64 => primitive!(Float64Type, |v| [if v.is_nan() { f64::NAN } else { v + 0.0 }.to_bits()]),
        DataType::Decimal128(..) => {
            primitive!(Decimal128Type, |v| [v as u64, (v >> 64) as u64]);
            return Ok(2);
        }
        other => return Err(Error::internal(format!("a column of type {other} is not of fixed width"))),
    }
    Ok(1)
}

fn write_column<T: ArrowPrimitiveType, const N: usize>(
    column: &PrimitiveArray<T>,
    words: &mut [u64],
    width: usize,
    at: usize,
    word: impl Fn(T::Native) -> [u64; N],
) {
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
    for (row, (key, &value)) in words.chunks_exact_mut(width).zip(column.values()).enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            key[at..at + N].copy_from_slice(&word(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::Column;

    fn ids(groups: &mut Groups, columns: &[ArrayRef]) -> Vec<u32> {
        let mut ids = Vec::new();
        groups.assign(columns, columns[0].len(), &mut ids).unwrap();
        ids
    }

    #[test]
    fn words_and_bytes_agree() {
        let fixed = Schema::new(vec![Column::new("a", SqlType::Double), Column::new("b", SqlType::NUMERIC)]);
        let a: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(0.0), Some(-0.0), None, Some(f64::NAN), Some(-f64::NAN)]));
        let b: ArrayRef = Arc::new(
            Decimal128Array::from(vec![Some(1), Some(1), None, Some(-1), Some(-1)])
                .with_data_type(SqlType::NUMERIC.arrow()),
        );
        let mut words = Groups::new(&fixed, None);
        assert!(matches!(words.layout, Layout::Words { width: 4, .. }));
        let mut bytes = Groups::new(&fixed, None);
        bytes.layout = Layout::Bytes;
        let columns = [a, b];
        assert_eq!(ids(&mut words, &columns), [0, 0, 1, 2, 2]);
        assert_eq!(ids(&mut bytes, &columns), [0, 0, 1, 2, 2]);
        assert!(words.keys().iter().eq(bytes.keys().iter()));
        assert_eq!(ids(&mut words, &[columns[0].slice(2, 3), columns[1].slice(2, 3)]), [1, 2, 2]);
        words.clear();
        assert_eq!((words.len(), ids(&mut words, &columns).len()), (0, 5));
    }

    #[test]
    fn null_is_not_zero() {
        let schema = Schema::new(vec![Column::new("a", SqlType::Int)]);
        let mut groups = Groups::new(&schema, None);
        let column: ArrayRef = Arc::new(Int32Array::from(vec![Some(0), None, Some(0), None]));
        assert_eq!(ids(&mut groups, &[column]), [0, 1, 0, 1]);
    }
}
