//! The canonical row encoding: columns ↔ bytes whose order is the rows' order. It is on disk; a golden test guards it.
//!
//! Each field is a marker byte, then its value; NULL sorts last, as in PostgreSQL.
//!
//! | type | bytes after marker `01` (NULL is the lone byte `02`) |
//! |---|---|
//! | boolean | 1: `00` or `01` |
//! | smallint, integer, bigint, date, time, timestamp(tz), numeric | 2, 4, 8, 4, 8, 8, 16: big-endian, sign bit flipped |
//! | real, double precision | 4, 8: IEEE bits big-endian; positive: sign bit flipped, negative: all bits flipped; -0 is written as 0, every NaN as the one above +infinity |
//! | character varying, bytea | the bytes, `00` written as `00 ff`, then `00 00` |
//! | uuid | its 16 bytes |
//! | jsonb | the canonical bytes of [`super::jsonb`], as bytea |
//! | array | its elements, each with its marker, then `00`: a shorter array sorts before a longer one |
//! | row | its fields, each with its marker |
//! | interval | 16: length in nanoseconds with months of 30 days, as numeric; then months (4), days (4), nanoseconds (8) as integers |
//!
//! Worked value: `(7::bigint, 'a', NULL)` is `01 80 00 00 00 00 00 00 07 · 01 61 00 00 · 02`.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::*;

use super::SqlType;
use crate::base::{Error, Result};

mod nested;

const VALUE: u8 = 1;
const NULL: u8 = 2;

/// Rows as canonical bytes, one after another.
#[derive(Clone, Debug, Default)]
pub struct EncodedRows {
    data: Vec<u8>,
    /// `rows + 1` starts; row `i` is `data[offsets[i] .. offsets[i + 1]]`.
    offsets: Vec<usize>,
}

impl EncodedRows {
    /// No rows, with room for `rows` of `bytes` in all.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        EncodedRows { data: Vec::with_capacity(bytes), offsets }
    }

    /// Appends a row that a codec has encoded.
    pub fn push(&mut self, row: &[u8]) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.data.extend_from_slice(row);
        self.offsets.push(self.data.len());
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.data.capacity() + self.offsets.capacity() * size_of::<usize>()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of row `row` (must be below [`EncodedRows::len`]).
    pub fn row(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row]..self.offsets[row + 1]]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.offsets.windows(2).map(|ends| &self.data[ends[0]..ends[1]])
    }
}

/// Encodes and decodes rows of fixed types.
#[derive(Clone, Debug)]
pub struct RowCodec {
    types: Vec<SqlType>,
}

impl RowCodec {
    /// A codec for rows of these types.
    pub fn new(types: Vec<SqlType>) -> Self {
        RowCodec { types }
    }

    /// The types it was made for.
    pub fn types(&self) -> &[SqlType] {
        &self.types
    }

    /// Encodes the rows of `columns` (equally long, of this codec's types). Without columns: no rows.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        let rows = columns.first().map_or(0, |column| column.len());
        self.encode_rows(columns, rows)
    }

    /// As [`RowCodec::encode`] for `rows` rows, which may have no column at all.
    pub fn encode_rows(&self, columns: &[ArrayRef], rows: usize) -> Result<EncodedRows> {
        self.check(columns, rows)?;
        let mut offsets = vec![0usize; rows + 1];
        for column in columns {
            add_widths(column, &mut offsets[1..]);
        }
        let mut end = 0;
        for offset in &mut offsets {
            end += *offset;
            *offset = end;
        }
        let mut data = vec![0u8; end];
        let mut at: Vec<usize> = offsets[..rows].to_vec();
        for column in columns {
            write_column(column, &mut data, &mut at);
        }
        Ok(EncodedRows { data, offsets })
    }

    fn check(&self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let fits = columns.len() == self.types.len()
            && columns.iter().zip(&self.types).all(|(c, ty)| c.len() == rows && *c.data_type() == ty.arrow());
        if fits {
            return Ok(());
        }
        let found: Vec<_> = columns.iter().map(|column| column.data_type().to_string()).collect();
        Err(Error::internal(format!("row codec of {:?} was given columns of {found:?}", self.types)))
    }

    /// Decodes rows into one array per type. Bytes that this codec did not write are a `Corrupt` error.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let mut rest: Vec<&[u8]> = rows.into_iter().collect();
        let columns = self.types.iter().map(|ty| read_column(ty, &mut rest)).collect::<Result<Vec<_>>>()?;
        if rest.iter().any(|bytes| !bytes.is_empty()) {
            return Err(torn());
        }
        Ok(columns)
    }

    /// What follows one encoded field of type `ty` at the head of `bytes`; `None` when they end before, or a marker is
    /// unknown.
    pub fn skip<'a>(ty: &SqlType, bytes: &'a [u8]) -> Option<&'a [u8]> {
        nested::skip(ty, bytes)
    }

    /// Decodes rows that may be followed by other bytes, and returns what follows each.
    pub fn decode_prefix<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<ArrayRef>, Vec<&'a [u8]>)> {
        let mut rest: Vec<&[u8]> = rows.into_iter().collect();
        let columns = self.types.iter().map(|ty| read_column(ty, &mut rest)).collect::<Result<Vec<_>>>()?;
        Ok((columns, rest))
    }
}

fn torn() -> Error {
    Error::corrupt("encoded row ends before its types do, or after")
}

/// The bytes of a value behind its marker, for types of fixed width.
fn fixed_width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        DataType::Boolean => Some(1),
        DataType::Interval(_) => Some(32),
        other => other.primitive_width(),
    }
}

fn add_widths(column: &ArrayRef, widths: &mut [usize]) {
    if let Some(width) = fixed_width(column.data_type()) {
        match column.nulls() {
            None => widths.iter_mut().for_each(|w| *w += 1 + width),
            Some(nulls) => widths.iter_mut().zip(nulls).for_each(|(w, valid)| *w += 1 + usize::from(valid) * width),
        }
        return;
    }
    if column.data_type().is_nested() {
        return nested::add_widths(column, widths);
    }
    let mut add = |row: usize, bytes: &[u8]| widths[row] += 3 + bytes.len() + memchr::memchr_iter(0, bytes).count();
    each_bytes(column, &mut add);
    if let Some(nulls) = column.nulls() {
        widths.iter_mut().zip(nulls).filter(|(_, valid)| !valid).for_each(|(w, _)| *w += 1);
    }
}

/// Calls `each` with every non-NULL row's bytes of a Utf8, Binary or LargeBinary column.
fn each_bytes(column: &ArrayRef, each: &mut dyn FnMut(usize, &[u8])) {
    if let Some(strings) = column.as_string_opt::<i32>() {
        (0..strings.len()).filter(|&i| strings.is_valid(i)).for_each(|i| each(i, strings.value(i).as_bytes()));
    } else if let Some(binary) = column.as_binary_opt::<i32>() {
        (0..binary.len()).filter(|&i| binary.is_valid(i)).for_each(|i| each(i, binary.value(i)));
    } else if let Some(binary) = column.as_binary_opt::<i64>() {
        (0..binary.len()).filter(|&i| binary.is_valid(i)).for_each(|i| each(i, binary.value(i)));
    }
}

fn write_column(column: &ArrayRef, data: &mut [u8], at: &mut [usize]) {
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            write_fixed(column, data, at, |i| [u8::from(values.value(i))]);
        }
        DataType::Int16 => write_primitive::<Int16Type, 2>(column, data, at, |v| flip(v.to_be_bytes())),
        DataType::Int32 => write_primitive::<Int32Type, 4>(column, data, at, |v| flip(v.to_be_bytes())),
        DataType::Int64 => write_primitive::<Int64Type, 8>(column, data, at, |v| flip(v.to_be_bytes())),
        DataType::Date32 => write_primitive::<Date32Type, 4>(column, data, at, |v| flip(v.to_be_bytes())),
        DataType::Time64(_) => {
            write_primitive::<Time64MicrosecondType, 8>(column, data, at, |v| flip(v.to_be_bytes()));
        }
        DataType::Timestamp(..) => {
            write_primitive::<TimestampMicrosecondType, 8>(column, data, at, |v| flip(v.to_be_bytes()));
        }
        DataType::Decimal128(..) => {
            write_primitive::<Decimal128Type, 16>(column, data, at, |v| flip(v.to_be_bytes()));
        }
        DataType::Float32 => write_primitive::<Float32Type, 4>(column, data, at, |v| order_f32(v).to_be_bytes()),
        DataType::Float64 => write_primitive::<Float64Type, 8>(column, data, at, |v| order_f64(v).to_be_bytes()),
        DataType::Interval(_) => {
            write_primitive::<IntervalMonthDayNanoType, 32>(column, data, at, interval_bytes);
        }
        DataType::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            write_fixed::<16>(column, data, at, |i| {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(values.value(i));
                bytes
            });
        }
        DataType::List(_) | DataType::Struct(_) => nested::write_column(column, data, at),
        _ => {
            let mut write = |row: usize, bytes: &[u8]| at[row] = write_bytes(data, at[row], bytes);
            each_bytes(column, &mut write);
            write_nulls(column, data, at);
        }
    }
}

fn write_primitive<T: ArrowPrimitiveType, const N: usize>(
    column: &ArrayRef,
    data: &mut [u8],
    at: &mut [usize],
    bytes: impl Fn(T::Native) -> [u8; N],
) {
    let values = column.as_primitive::<T>().values();
    write_fixed(column, data, at, |i| bytes(values[i]));
}

fn write_fixed<const N: usize>(column: &ArrayRef, data: &mut [u8], at: &mut [usize], value: impl Fn(usize) -> [u8; N]) {
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
    for (row, at) in at.iter_mut().enumerate() {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            data[*at] = NULL;
            *at += 1;
        } else {
            data[*at] = VALUE;
            data[*at + 1..*at + 1 + N].copy_from_slice(&value(row));
            *at += 1 + N;
        }
    }
}

fn write_nulls(column: &ArrayRef, data: &mut [u8], at: &mut [usize]) {
    let Some(nulls) = column.nulls() else { return };
    for (at, _) in at.iter_mut().zip(nulls).filter(|(_, valid)| !valid) {
        data[*at] = NULL;
        *at += 1;
    }
}

fn write_bytes(data: &mut [u8], start: usize, bytes: &[u8]) -> usize {
    let mut at = start;
    data[at] = VALUE;
    at += 1;
    let mut from = 0;
    for zero in memchr::memchr_iter(0, bytes) {
        let part = &bytes[from..=zero];
        data[at..at + part.len()].copy_from_slice(part);
        at += part.len();
        data[at] = 0xff;
        at += 1;
        from = zero + 1;
    }
    let part = &bytes[from..];
    data[at..at + part.len()].copy_from_slice(part);
    at + part.len() + 2 // the two zeros are there already
}

fn flip<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    bytes[0] ^= 0x80;
    bytes
}

fn order_f64(value: f64) -> u64 {
    let bits = if value.is_nan() { f64::NAN.to_bits() & !(1 << 63) } else { (value + 0.0).to_bits() };
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn order_f32(value: f32) -> u32 {
    let bits = if value.is_nan() { f32::NAN.to_bits() & !(1 << 31) } else { (value + 0.0).to_bits() };
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn interval_bytes(value: IntervalMonthDayNano) -> [u8; 32] {
    const DAY_NS: i128 = 86_400_000_000_000;
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    let length = days * DAY_NS + i128::from(value.nanoseconds);
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&flip(length.to_be_bytes()));
    bytes[16..20].copy_from_slice(&flip(value.months.to_be_bytes()));
    bytes[20..24].copy_from_slice(&flip(value.days.to_be_bytes()));
    bytes[24..].copy_from_slice(&flip(value.nanoseconds.to_be_bytes()));
    bytes
}

fn read_column(ty: &SqlType, rest: &mut [&[u8]]) -> Result<ArrayRef> {
    Ok(match ty {
        SqlType::Boolean => {
            let (values, nulls) = read_fixed::<1, bool>(rest, |[byte]| byte != 0)?;
            Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
        }
        SqlType::SmallInt => read_primitive::<Int16Type, 2>(rest, |b| i16::from_be_bytes(flip(b)))?,
        SqlType::Int => read_primitive::<Int32Type, 4>(rest, |b| i32::from_be_bytes(flip(b)))?,
        SqlType::BigInt => read_primitive::<Int64Type, 8>(rest, |b| i64::from_be_bytes(flip(b)))?,
        SqlType::Date => read_primitive::<Date32Type, 4>(rest, |b| i32::from_be_bytes(flip(b)))?,
        SqlType::Time => read_primitive::<Time64MicrosecondType, 8>(rest, |b| i64::from_be_bytes(flip(b)))?,
        SqlType::Timestamp | SqlType::TimestampTz | SqlType::Decimal { .. } => read_with_type(ty, rest)?,
        SqlType::Real => read_primitive::<Float32Type, 4>(rest, |b| {
            let bits = u32::from_be_bytes(b);
            f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
        })?,
        SqlType::Double => read_primitive::<Float64Type, 8>(rest, |b| {
            let bits = u64::from_be_bytes(b);
            f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
        })?,
        SqlType::Interval => read_primitive::<IntervalMonthDayNanoType, 32>(rest, |b| {
            let part = |from: usize| flip([b[from], b[from + 1], b[from + 2], b[from + 3]]);
            let mut nanoseconds = [0; 8];
            nanoseconds.copy_from_slice(&b[24..]);
            IntervalMonthDayNano::new(
                i32::from_be_bytes(part(16)),
                i32::from_be_bytes(part(20)),
                i64::from_be_bytes(flip(nanoseconds)),
            )
        })?,
        SqlType::Varchar => {
            let (bytes, nulls, ends) = read_bytes(rest)?;
            Arc::new(StringArray::try_new(ends, bytes.into(), nulls).map_err(|_| torn())?)
        }
        SqlType::Bytea => {
            let (bytes, nulls, ends) = read_bytes(rest)?;
            Arc::new(BinaryArray::try_new(ends, bytes.into(), nulls).map_err(|_| torn())?)
        }
        SqlType::Jsonb => {
            let (bytes, nulls, ends) = read_bytes(rest)?;
            let ends: Vec<i64> = ends.iter().map(|&end| end.into()).collect();
            let ends = arrow::buffer::OffsetBuffer::new(ends.into());
            Arc::new(LargeBinaryArray::try_new(ends, bytes.into(), nulls).map_err(|_| torn())?)
        }
        SqlType::Uuid => {
            let (values, nulls) = read_fixed::<16, [u8; 16]>(rest, |bytes| bytes)?;
            Arc::new(FixedSizeBinaryArray::new(16, values.concat().into(), nulls))
        }
        SqlType::Array(element) => nested::read_array(element, rest)?,
        SqlType::Row(fields) => nested::read_row(fields, rest)?,
    })
}

fn read_with_type(ty: &SqlType, rest: &mut [&[u8]]) -> Result<ArrayRef> {
    if let SqlType::Decimal { .. } = ty {
        let (values, nulls) = read_fixed::<16, i128>(rest, |b| i128::from_be_bytes(flip(b)))?;
        let array = Decimal128Array::new(values.into(), nulls).with_data_type(ty.arrow());
        return Ok(Arc::new(array));
    }
    let (values, nulls) = read_fixed::<8, i64>(rest, |b| i64::from_be_bytes(flip(b)))?;
    Ok(Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_data_type(ty.arrow())))
}

fn read_primitive<T: ArrowPrimitiveType, const N: usize>(
    rest: &mut [&[u8]],
    value: impl Fn([u8; N]) -> T::Native,
) -> Result<ArrayRef> {
    let (values, nulls) = read_fixed::<N, T::Native>(rest, value)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
}

fn read_fixed<const N: usize, V: Default>(
    rest: &mut [&[u8]],
    value: impl Fn([u8; N]) -> V,
) -> Result<(Vec<V>, Option<NullBuffer>)> {
    let mut values = Vec::with_capacity(rest.len());
    let mut valid = Vec::new();
    for (row, bytes) in rest.iter_mut().enumerate() {
        match bytes.split_first() {
            Some((&VALUE, tail)) => {
                let (field, tail) = tail.split_first_chunk::<N>().ok_or_else(torn)?;
                values.push(value(*field));
                *bytes = tail;
            }
            Some((&NULL, tail)) => {
                note_null(&mut valid, row, values.len(), rest_capacity(&values));
                values.push(V::default());
                *bytes = tail;
            }
            _ => return Err(torn()),
        }
        if !valid.is_empty() && valid.len() < values.len() {
            valid.push(true);
        }
    }
    Ok((values, (!valid.is_empty()).then(|| NullBuffer::from(valid))))
}

fn rest_capacity<V>(values: &Vec<V>) -> usize {
    values.capacity()
}

/// Marks `row` as NULL in a validity list that exists only once a NULL was seen.
fn note_null(valid: &mut Vec<bool>, row: usize, seen: usize, capacity: usize) {
    if valid.is_empty() {
        valid.reserve(capacity);
        valid.resize(seen, true);
    }
    debug_assert_eq!(valid.len(), row);
    valid.push(false);
}

type BytesColumn = (Vec<u8>, Option<NullBuffer>, arrow::buffer::OffsetBuffer<i32>);

fn read_bytes(rest: &mut [&[u8]]) -> Result<BytesColumn> {
    let mut data = Vec::new();
    let mut lengths = Vec::with_capacity(rest.len());
    let mut valid = Vec::new();
    for (row, bytes) in rest.iter_mut().enumerate() {
        let before = data.len();
        match bytes.split_first() {
            Some((&VALUE, tail)) => {
                *bytes = unescape(tail, &mut data)?;
                if !valid.is_empty() {
                    valid.push(true);
                }
            }
            Some((&NULL, tail)) => {
                note_null(&mut valid, row, row, lengths.capacity());
                *bytes = tail;
            }
            _ => return Err(torn()),
        }
        lengths.push(data.len() - before);
    }
    if i32::try_from(data.len()).is_err() {
        return Err(Error::limit("more than 2 GiB of text in one batch of rows"));
    }
    let ends = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    Ok((data, (!valid.is_empty()).then(|| NullBuffer::from(valid)), ends))
}

/// Appends the escaped bytes at the front of `bytes` to `data`; returns what follows their end mark.
fn unescape<'a>(bytes: &'a [u8], data: &mut Vec<u8>) -> Result<&'a [u8]> {
    let mut from = bytes;
    loop {
        let zero = memchr::memchr(0, from).ok_or_else(torn)?;
        let (part, tail) = from.split_at(zero);
        data.extend_from_slice(part);
        match tail.get(1) {
            Some(0) => return tail.get(2..).ok_or_else(torn),
            Some(0xff) => data.push(0),
            _ => return Err(torn()),
        }
        from = tail.get(2..).ok_or_else(torn)?;
    }
}

#[cfg(test)]
mod tests;
