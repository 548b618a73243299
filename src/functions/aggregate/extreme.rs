//! Minima and maxima in flat typed vectors.

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::*;
use std::sync::Arc;

use super::flat;
use super::varint::{Bytes, put_i64, put_i128, put_u64, take, take_i64, take_i128, take_u64, torn};
use crate::base::Result;
use crate::functions::kernels::compare::{interval_length, order_f32, order_f64};
use crate::types::SqlType;

/// The least or greatest value per slot; `seen[slot]` tells whether there is one.
#[derive(Clone, Debug)]
pub(super) struct Extremes {
    values: Values,
    seen: Vec<bool>,
    max: bool,
    ty: SqlType,
}

/// Values by physical type.
#[derive(Clone, Debug)]
enum Values {
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    I128(Vec<i128>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Interval(Vec<IntervalMonthDayNano>),
    Boolean(Vec<bool>),
    Bytes(Vec<Box<[u8]>>),
}

/// Runs `$body` with `$values` bound to the vector and `$array` to the values slice of `$column`.
macro_rules! primitive {
    ($self:expr, $column:expr, |$values:ident, $array:ident, $key:ident| $body:expr, $boolean:expr, $bytes:expr) => {
        match $self {
            Values::I16($values) => {
                let ($array, $key) = ($column.as_primitive::<Int16Type>().values(), |v: i16| v);
                $body
            }
            Values::I32($values) => {
                let $array = match $column.data_type() {
                    DataType::Date32 => $column.as_primitive::<Date32Type>().values(),
                    _ => $column.as_primitive::<Int32Type>().values(),
                };
                let $key = |v: i32| v;
                $body
            }
            Values::I64($values) => {
                let $array = match $column.data_type() {
                    DataType::Int64 => $column.as_primitive::<Int64Type>().values(),
                    DataType::Time64(_) => $column.as_primitive::<Time64MicrosecondType>().values(),
                    _ => $column.as_primitive::<TimestampMicrosecondType>().values(),
                };
                let $key = |v: i64| v;
                $body
            }
            Values::I128($values) => {
                let ($array, $key) = ($column.as_primitive::<Decimal128Type>().values(), |v: i128| v);
                $body
            }
            Values::F32($values) => {
                let ($array, $key) = ($column.as_primitive::<Float32Type>().values(), order_f32);
                $body
            }
            Values::F64($values) => {
                let ($array, $key) = ($column.as_primitive::<Float64Type>().values(), order_f64);
                $body
            }
            Values::Interval($values) => {
                let $array = $column.as_primitive::<IntervalMonthDayNanoType>().values();
                let $key = |v: IntervalMonthDayNano| (interval_length(v), v.months, v.days);
                $body
            }
            Values::Boolean(values) => $boolean(values),
            Values::Bytes(values) => $bytes(values),
        }
    };
}

impl Extremes {
    pub fn new(ty: &SqlType, max: bool) -> Extremes {
        let values = match ty {
            SqlType::Boolean => Values::Boolean(Vec::new()),
            SqlType::SmallInt => Values::I16(Vec::new()),
            SqlType::Int | SqlType::Date => Values::I32(Vec::new()),
            SqlType::BigInt | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => Values::I64(Vec::new()),
            SqlType::Real => Values::F32(Vec::new()),
            SqlType::Double => Values::F64(Vec::new()),
            SqlType::Decimal { .. } => Values::I128(Vec::new()),
            SqlType::Varchar | SqlType::Bytea | SqlType::Uuid | SqlType::Jsonb => Values::Bytes(Vec::new()),
            SqlType::Array(_) | SqlType::Row(_) => Values::Bytes(Vec::new()),
            SqlType::Interval => Values::Interval(Vec::new()),
        };
        Extremes { values, seen: Vec::new(), max, ty: ty.clone() }
    }

    pub fn resize(&mut self, slots: usize) {
        self.seen.resize(slots, false);
        match &mut self.values {
            Values::I16(values) => values.resize(slots, 0),
            Values::I32(values) => values.resize(slots, 0),
            Values::I64(values) => values.resize(slots, 0),
            Values::I128(values) => values.resize(slots, 0),
            Values::F32(values) => values.resize(slots, 0.0),
            Values::F64(values) => values.resize(slots, 0.0),
            Values::Interval(values) => values.resize(slots, IntervalMonthDayNano::ZERO),
            Values::Boolean(values) => values.resize(slots, false),
            Values::Bytes(values) => values.resize(slots, Box::default()),
        }
    }

    pub fn forget_first(&mut self, count: usize) {
        self.seen.drain(..count);
        match &mut self.values {
            Values::I16(values) => drop(values.drain(..count)),
            Values::I32(values) => drop(values.drain(..count)),
            Values::I64(values) => drop(values.drain(..count)),
            Values::I128(values) => drop(values.drain(..count)),
            Values::F32(values) => drop(values.drain(..count)),
            Values::F64(values) => drop(values.drain(..count)),
            Values::Interval(values) => drop(values.drain(..count)),
            Values::Boolean(values) => drop(values.drain(..count)),
            Values::Bytes(values) => drop(values.drain(..count)),
        }
    }

    /// Takes in one value per row where `keep` says so and the value is not NULL.
    pub fn update(&mut self, column: &ArrayRef, groups: &[u32], keep: impl Fn(usize) -> bool, all: bool) {
        let column = &*flat::flat(column);
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let all = all && nulls.is_none();
        let keep = |row: usize| keep(row) && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let (max, seen) = (self.max, &mut self.seen);
        primitive!(
            &mut self.values,
            column,
            |values, array, key| {
                if all {
                    take_in(values, seen, groups, array.iter().copied().enumerate(), max, key);
                } else {
                    let rows = array.iter().copied().enumerate().filter(|(row, _)| keep(*row));
                    take_in(values, seen, groups, rows, max, key);
                }
            },
            |values: &mut Vec<bool>| {
                let array = column.as_boolean();
                let rows = (0..array.len()).filter(|&row| keep(row)).map(|row| (row, array.value(row)));
                take_in(values, seen, groups, rows, max, |v| v);
            },
            |values: &mut Vec<Box<[u8]>>| {
                for row in (0..column.len()).filter(|&row| keep(row)) {
                    take_in_bytes(values, seen, groups[row] as usize, flat::bytes_at(column, row), max);
                }
            }
        );
    }

    /// Whether row `row` of `column` holds the slot's present value.
    pub fn holds(&self, slot: usize, column: &ArrayRef, row: usize) -> bool {
        if column.data_type().is_nested() {
            let one = column.slice(row, 1);
            let Values::Bytes(values) = &self.values else { return false };
            return self.seen[slot] && one.is_valid(0) && *values[slot] == *flat::bytes_at(&flat::flat(&one), 0);
        }
        self.seen[slot]
            && column.is_valid(row)
            && primitive!(
                &self.values,
                column,
                |values, array, key| key(values[slot]) == key(array[row]),
                |values: &Vec<bool>| values[slot] == column.as_boolean().value(row),
                |values: &Vec<Box<[u8]>>| *values[slot] == *flat::bytes_at(column, row)
            )
    }

    /// Forgets the slot's value.
    pub fn clear(&mut self, slot: usize) {
        self.seen[slot] = false;
        if let Values::Bytes(values) = &mut self.values {
            values[slot] = Box::default();
        }
    }

    /// Takes in the values of `other`: its slot `i` into slot `map[i]`.
    pub fn merge(&mut self, other: &Extremes, map: &[u32]) -> Result<()> {
        self.update(&other.array(0, other.seen.len())?, map, |_| true, true);
        Ok(())
    }

    /// The values of slots `from..to` as an array.
    pub fn array(&self, from: usize, to: usize) -> Result<ArrayRef> {
        let seen = &self.seen[from..to];
        let nulls = if seen.iter().all(|&seen| seen) { None } else { Some(NullBuffer::new(BooleanBuffer::from(seen))) };
        let ty = self.ty.arrow();
        Ok(match &self.values {
            Values::I16(values) => Arc::new(Int16Array::new(values[from..to].to_vec().into(), nulls)),
            Values::I32(values) => {
                let values = values[from..to].to_vec().into();
                match self.ty {
                    SqlType::Date => Arc::new(Date32Array::new(values, nulls)),
                    _ => Arc::new(Int32Array::new(values, nulls)),
                }
            }
            Values::I64(values) => {
                let values = values[from..to].to_vec().into();
                match self.ty {
                    SqlType::BigInt => Arc::new(Int64Array::new(values, nulls)),
                    SqlType::Time => Arc::new(Time64MicrosecondArray::new(values, nulls)),
                    _ => Arc::new(TimestampMicrosecondArray::new(values, nulls).with_data_type(ty)),
                }
            }
            Values::I128(values) => {
                Arc::new(Decimal128Array::new(values[from..to].to_vec().into(), nulls).with_data_type(ty))
            }
            Values::F32(values) => Arc::new(Float32Array::new(values[from..to].to_vec().into(), nulls)),
            Values::F64(values) => Arc::new(Float64Array::new(values[from..to].to_vec().into(), nulls)),
            Values::Interval(values) => {
                Arc::new(IntervalMonthDayNanoArray::new(values[from..to].to_vec().into(), nulls))
            }
            Values::Boolean(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(&values[from..to]), nulls)),
            Values::Bytes(values) => {
                let rows = values[from..to].iter().zip(seen).map(|(bytes, seen)| seen.then_some(&**bytes));
                flat::column(rows, &self.ty)?
            }
        })
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let width = match &self.values {
            Values::I16(_) => 2,
            Values::I32(_) | Values::F32(_) => 4,
            Values::I64(_) | Values::F64(_) => 8,
            Values::I128(_) | Values::Interval(_) => 16,
            Values::Boolean(_) => 1,
            Values::Bytes(values) => {
                return self.seen.capacity() + values.iter().map(|bytes| 16 + bytes.len()).sum::<usize>();
            }
        };
        self.seen.capacity() * (1 + width)
    }

    pub fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        out.push(u8::from(self.seen[slot]));
        if !self.seen[slot] {
            return;
        }
        match &self.values {
            Values::I16(values) => put_i64(values[slot].into(), out),
            Values::I32(values) => put_i64(values[slot].into(), out),
            Values::I64(values) => put_i64(values[slot], out),
            Values::I128(values) => put_i128(values[slot], out),
            Values::F32(values) => out.extend_from_slice(&canonical_f32(values[slot]).to_le_bytes()),
            Values::F64(values) => out.extend_from_slice(&canonical_f64(values[slot]).to_le_bytes()),
            Values::Interval(values) => {
                put_i64(values[slot].months.into(), out);
                put_i64(values[slot].days.into(), out);
                put_i64(values[slot].nanoseconds, out);
            }
            Values::Boolean(values) => out.push(u8::from(values[slot])),
            Values::Bytes(values) => {
                put_u64(values[slot].len() as u64, out);
                out.extend_from_slice(&values[slot]);
            }
        }
    }

    /// Appends a slot.
    pub fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<()> {
        let slot = self.seen.len();
        self.resize(slot + 1);
        let [seen] = take::<1>(bytes)?;
        if seen == 0 {
            return Ok(());
        }
        self.seen[slot] = true;
        match &mut self.values {
            Values::I16(values) => values[slot] = take_i64(bytes)?.try_into().map_err(|_| torn())?,
            Values::I32(values) => values[slot] = take_i64(bytes)?.try_into().map_err(|_| torn())?,
            Values::I64(values) => values[slot] = take_i64(bytes)?,
            Values::I128(values) => values[slot] = take_i128(bytes)?,
            Values::F32(values) => values[slot] = f32::from_le_bytes(take(bytes)?),
            Values::F64(values) => values[slot] = f64::from_le_bytes(take(bytes)?),
            Values::Interval(values) => {
                let months = take_i64(bytes)?.try_into().map_err(|_| torn())?;
                let days = take_i64(bytes)?.try_into().map_err(|_| torn())?;
                values[slot] = IntervalMonthDayNano::new(months, days, take_i64(bytes)?);
            }
            Values::Boolean(values) => values[slot] = take::<1>(bytes)? != [0],
            Values::Bytes(values) => {
                let length = usize::try_from(take_u64(bytes)?).map_err(|_| torn())?;
                let (value, rest) = bytes.split_at_checked(length).ok_or_else(torn)?;
                values[slot] = value.into();
                *bytes = rest;
            }
        }
        Ok(())
    }
}

fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

#[inline]
fn take_in<V: Copy, K: PartialOrd>(
    values: &mut [V],
    seen: &mut [bool],
    groups: &[u32],
    rows: impl Iterator<Item = (usize, V)>,
    max: bool,
    key: impl Fn(V) -> K,
) {
    for (row, value) in rows {
        let slot = groups[row] as usize;
        let (mine, theirs) = (key(values[slot]), key(value));
        if !seen[slot] || (if max { theirs > mine } else { theirs < mine }) {
            values[slot] = value;
            seen[slot] = true;
        }
    }
}

fn take_in_bytes(values: &mut [Box<[u8]>], seen: &mut [bool], slot: usize, value: &[u8], max: bool) {
    if !seen[slot] || (if max { *value > *values[slot] } else { *value < *values[slot] }) {
        values[slot] = value.into();
        seen[slot] = true;
    }
}
