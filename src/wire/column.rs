//! One column of a batch, downcast once, that writes its values as PostgreSQL does: as text or in binary.

use std::fmt::Write;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeBinaryArray,
    ListArray, StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes as dt;
use bytes::{BufMut, BytesMut};

use super::pg_type::{oid, told};
use super::text;
use crate::base::{Error, Result};
use crate::types::SqlType;
use crate::types::numeric::as_shown;
use crate::types::text::write::write_value;

/// A column of one batch. Rows outside it are NULL.
pub enum Column<'a> {
    /// BOOLEAN.
    Boolean(&'a BooleanArray),
    /// SMALLINT.
    SmallInt(&'a Int16Array),
    /// INT.
    Int(&'a Int32Array),
    /// BIGINT.
    BigInt(&'a Int64Array),
    /// REAL.
    Real(&'a Float32Array),
    /// DOUBLE PRECISION.
    Double(&'a Float64Array),
    /// NUMERIC and its scale.
    Decimal(&'a Decimal128Array, i8),
    /// VARCHAR.
    Varchar(&'a StringArray),
    /// BYTEA.
    Bytea(&'a BinaryArray),
    /// DATE.
    Date(&'a Date32Array),
    /// TIME.
    Time(&'a Time64MicrosecondArray),
    /// TIMESTAMP.
    Timestamp(&'a TimestampMicrosecondArray),
    /// TIMESTAMPTZ.
    TimestampTz(&'a TimestampMicrosecondArray),
    /// INTERVAL.
    Interval(&'a IntervalMonthDayNanoArray),
    /// UUID.
    Uuid(&'a FixedSizeBinaryArray),
    /// JSONB.
    Jsonb(&'a LargeBinaryArray),
    /// An array, its elements and their number in the catalog.
    Array(&'a ListArray, Box<Column<'a>>, u32),
    /// Numbers of objects.
    Oid(&'a Int64Array),
    /// `int2vector` or `oidvector`, its elements and their number in the catalog.
    Vector(&'a ListArray, Box<Column<'a>>, u32),
    /// A row, its fields and their numbers in the catalog.
    Row(&'a StructArray, Vec<(u32, Column<'a>)>),
}

/// Microseconds from 1970 to 2000, where PostgreSQL's binary times begin.
pub(super) const Y2000_US: i64 = 946_684_800_000_000;
/// What binary JSONB begins with.
pub(super) const JSONB_VERSION: u8 = 1;
/// Days from 1970 to 2000.
pub(super) const Y2000_DAYS: i32 = 10_957;

impl<'a> Column<'a> {
    /// `array` as a column of type `ty`. Fails (internal) when it is not of that type's Arrow type.
    pub fn new(array: &'a ArrayRef, ty: &SqlType) -> Result<Column<'a>> {
        Column::downcast(array, ty).ok_or_else(|| {
            Error::internal(format!("column of type {ty} arrived as Arrow {}", array.data_type()))
                .with_detail(format!("Expected Arrow {}.", ty.arrow()))
        })
    }

    /// The same, told as PostgreSQL's type of number `told`.
    pub(super) fn told(array: &'a ArrayRef, ty: &SqlType, told: Option<u32>) -> Result<Column<'a>> {
        let column = Column::new(array, ty)?;
        Ok(match (told, column) {
            (Some(told::OID), Column::BigInt(array)) => Column::Oid(array),
            (Some(told::OIDS), Column::Array(list, elements, _)) => {
                Column::Array(list, elements.into_oids(), told::OID)
            }
            (Some(told::OID_VECTOR), Column::Array(list, elements, _)) => {
                Column::Vector(list, elements.into_oids(), told::OID)
            }
            (Some(told::INT2_VECTOR), Column::Array(list, elements, oid)) => Column::Vector(list, elements, oid),
            (_, column) => column,
        })
    }

    fn into_oids(self) -> Box<Column<'a>> {
        Box::new(match self {
            Column::BigInt(array) => Column::Oid(array),
            other => other,
        })
    }

    fn downcast(array: &'a ArrayRef, ty: &SqlType) -> Option<Column<'a>> {
        Some(match ty {
            SqlType::Boolean => Column::Boolean(array.as_boolean_opt()?),
            SqlType::SmallInt => Column::SmallInt(array.as_primitive_opt::<dt::Int16Type>()?),
            SqlType::Int => Column::Int(array.as_primitive_opt::<dt::Int32Type>()?),
            SqlType::BigInt => Column::BigInt(array.as_primitive_opt::<dt::Int64Type>()?),
            SqlType::Real => Column::Real(array.as_primitive_opt::<dt::Float32Type>()?),
            SqlType::Double => Column::Double(array.as_primitive_opt::<dt::Float64Type>()?),
            SqlType::Decimal { .. } => {
                let decimals = array.as_primitive_opt::<dt::Decimal128Type>()?;
                Column::Decimal(decimals, decimals.scale())
            }
            SqlType::Varchar => Column::Varchar(array.as_string_opt::<i32>()?),
            SqlType::Bytea => Column::Bytea(array.as_binary_opt::<i32>()?),
            SqlType::Date => Column::Date(array.as_primitive_opt::<dt::Date32Type>()?),
            SqlType::Time => Column::Time(array.as_primitive_opt::<dt::Time64MicrosecondType>()?),
            SqlType::Timestamp => Column::Timestamp(array.as_primitive_opt::<dt::TimestampMicrosecondType>()?),
            SqlType::TimestampTz => Column::TimestampTz(array.as_primitive_opt::<dt::TimestampMicrosecondType>()?),
            SqlType::Interval => Column::Interval(array.as_primitive_opt::<dt::IntervalMonthDayNanoType>()?),
            SqlType::Uuid => Column::Uuid(array.as_fixed_size_binary_opt()?),
            SqlType::Jsonb => Column::Jsonb(array.as_binary_opt::<i64>()?),
            SqlType::Array(element) => {
                let lists = array.as_list_opt::<i32>()?;
                Column::Array(lists, Box::new(Column::downcast(lists.values(), element)?), oid(element))
            }
            SqlType::Row(fields) => {
                let rows = array.as_struct_opt()?;
                let field = |(array, (_, ty)): (&'a ArrayRef, &(String, SqlType))| {
                    Some((oid(ty), Column::downcast(array, ty)?))
                };
                Column::Row(rows, rows.columns().iter().zip(fields).map(field).collect::<Option<_>>()?)
            }
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Column::Boolean(array) => array,
            Column::SmallInt(array) => array,
            Column::Int(array) => array,
            Column::BigInt(array) | Column::Oid(array) => array,
            Column::Real(array) => array,
            Column::Double(array) => array,
            Column::Decimal(array, _) => array,
            Column::Varchar(array) => array,
            Column::Bytea(array) => array,
            Column::Date(array) => array,
            Column::Time(array) => array,
            Column::Timestamp(array) | Column::TimestampTz(array) => array,
            Column::Interval(array) => array,
            Column::Uuid(array) => array,
            Column::Jsonb(array) => array,
            Column::Array(array, ..) | Column::Vector(array, ..) => array,
            Column::Row(array, _) => array,
        }
    }

    /// Whether the value at `row` is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        row >= self.array().len() || self.array().is_null(row)
    }

    /// Appends the value at `row` as text. NULL appends nothing: the caller writes its own sign for it.
    pub fn write_text(&self, row: usize, out: &mut BytesMut) {
        if self.is_null(row) {
            return;
        }
        // Writing into memory does not fail.
        let _ = match self {
            Column::Boolean(array) => out.write_str(if array.value(row) { "t" } else { "f" }),
            Column::SmallInt(array) => write!(out, "{}", array.value(row)),
            Column::Int(array) => write!(out, "{}", array.value(row)),
            Column::BigInt(array) | Column::Oid(array) => write!(out, "{}", array.value(row)),
            Column::Real(array) => text::real(array.value(row), out),
            Column::Double(array) => text::double(array.value(row), out),
            Column::Decimal(array, scale) => {
                let (value, scale) = as_shown(array.value(row), array.precision(), *scale);
                text::decimal(value, scale, out)
            }
            Column::Varchar(array) => out.write_str(array.value(row)),
            Column::Bytea(array) => text::bytea(array.value(row), out),
            Column::Date(array) => text::date(array.value(row), out),
            Column::Time(array) => text::time(array.value(row), out),
            Column::Timestamp(array) => text::timestamp(array.value(row), false, out),
            Column::TimestampTz(array) => text::timestamp(array.value(row), true, out),
            Column::Interval(array) => {
                let value = array.value(row);
                text::interval(value.months, value.days, value.nanoseconds, out)
            }
            Column::Uuid(array) => write_value(array, row, out),
            Column::Jsonb(array) => write_value(array, row, out),
            Column::Array(array, ..) => write_value(array, row, out),
            Column::Vector(array, elements, _) => {
                for (place, element) in elements_of(array, row).enumerate() {
                    out.put_slice(if place > 0 { b" " } else { b"" });
                    elements.write_text(element, out);
                }
                Ok(())
            }
            Column::Row(array, _) => write_value(array, row, out),
        };
    }

    /// Appends the value at `row` in PostgreSQL's binary format. NULL appends nothing.
    pub fn write_binary(&self, row: usize, out: &mut BytesMut) {
        if self.is_null(row) {
            return;
        }
        match self {
            Column::Boolean(array) => out.put_u8(u8::from(array.value(row))),
            Column::SmallInt(array) => out.put_i16(array.value(row)),
            Column::Int(array) => out.put_i32(array.value(row)),
            Column::BigInt(array) => out.put_i64(array.value(row)),
            // Their numbers have 32 bits.
            Column::Oid(array) => out.put_u32(array.value(row) as u32),
            Column::Real(array) => out.put_f32(array.value(row)),
            Column::Double(array) => out.put_f64(array.value(row)),
            Column::Decimal(array, scale) => {
                let (value, scale) = as_shown(array.value(row), array.precision(), *scale);
                binary_decimal(value, scale, out)
            }
            Column::Varchar(array) => out.put_slice(array.value(row).as_bytes()),
            Column::Bytea(array) => out.put_slice(array.value(row)),
            Column::Date(array) => out.put_i32(array.value(row).saturating_sub(Y2000_DAYS)),
            Column::Time(array) => out.put_i64(array.value(row)),
            Column::Timestamp(array) | Column::TimestampTz(array) => {
                let us = array.value(row);
                let infinite = us == i64::MAX || us == i64::MIN;
                out.put_i64(if infinite { us } else { us.saturating_sub(Y2000_US) });
            }
            Column::Interval(array) => {
                let value = array.value(row);
                out.put_i64(value.nanoseconds / 1_000);
                out.put_i32(value.days);
                out.put_i32(value.months);
            }
            Column::Uuid(array) => out.put_slice(array.value(row)),
            Column::Jsonb(array) => {
                out.put_u8(JSONB_VERSION);
                let _ = write_value(array, row, out);
            }
            Column::Array(array, elements, oid) => binary_array(array, elements, *oid, 1, row, out),
            Column::Vector(array, elements, oid) => binary_array(array, elements, *oid, 0, row, out),
            Column::Row(_, fields) => {
                out.put_i32(fields.len() as i32);
                for (oid, field) in fields {
                    out.put_u32(*oid);
                    field.write_sized(row, out);
                }
            }
        }
    }

    /// Appends the value at `row` in binary behind its length; -1 for NULL.
    fn write_sized(&self, row: usize, out: &mut BytesMut) {
        if self.is_null(row) {
            return out.put_i32(-1);
        }
        let start = out.len();
        out.put_i32(0);
        self.write_binary(row, out);
        let bytes = (out.len() - start - 4) as i32;
        if let Some(length) = out.get_mut(start..start + 4) {
            length.copy_from_slice(&bytes.to_be_bytes());
        }
    }

    /// Whether psql would align it to the right: numbers.
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            Column::SmallInt(_)
                | Column::Int(_)
                | Column::BigInt(_)
                | Column::Oid(_)
                | Column::Real(_)
                | Column::Double(_)
                | Column::Decimal(..)
        )
    }
}

/// The places of the elements of an array among all elements.
fn elements_of(array: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offset = |index: usize| array.value_offsets().get(index).map_or(0, |&offset| offset as usize);
    offset(row)..offset(row + 1)
}

/// PostgreSQL's binary array: how many dimensions, whether NULLs are in it, the number of the elements' type; per
/// dimension its length and lower bound (0 in vectors); then each element behind its length. An empty array has no dimension.
fn binary_array(array: &ListArray, elements: &Column<'_>, oid: u32, lower: i32, row: usize, out: &mut BytesMut) {
    let range = elements_of(array, row);
    out.put_i32(i32::from(!range.is_empty()));
    out.put_i32(i32::from(range.clone().any(|element| elements.is_null(element))));
    out.put_u32(oid);
    if !range.is_empty() {
        out.put_i32(range.len() as i32);
        out.put_i32(lower);
    }
    range.for_each(|element| elements.write_sized(element, out));
}

/// PostgreSQL's binary numeric: `i16` groups, `i16` weight (power of 10,000 of the first group), `u16` sign, `i16`
/// digits behind the point, then groups of four decimal digits. 12345.678 at scale 3:
///
/// | groups | weight | sign | scale | 1 | 2345 | 6780 |
/// |---|---|---|---|---|---|---|
/// | 0003 | 0001 | 0000 | 0003 | 0001 | 0929 | 1a7c |
fn binary_decimal(value: i128, scale: i8, out: &mut BytesMut) {
    let mut digits = value.unsigned_abs().to_string();
    let behind = usize::from(scale.max(0).unsigned_abs());
    if scale < 0 {
        digits.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    }
    // Whole groups on both sides of the point: zeros before and after.
    let short = behind.saturating_sub(digits.len());
    let before = digits.len() + short - behind;
    let lead = short + (4 - before % 4) % 4;
    let trail = (4 - behind % 4) % 4;
    let padded = format!("{}{digits}{}", "0".repeat(lead), "0".repeat(trail));
    let groups: Vec<i16> = padded
        .as_bytes()
        .chunks(4)
        .map(|group| group.iter().fold(0i16, |number, digit| number * 10 + i16::from(digit - b'0')))
        .collect();
    let first = groups.iter().position(|&group| group != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|&group| group != 0).map_or(first, |index| index + 1);
    let kept = groups.get(first..last).unwrap_or_default();
    let groups_before = before.div_ceil(4);
    let weight = if kept.is_empty() { 0 } else { groups_before as i16 - 1 - first as i16 };
    out.put_i16(kept.len() as i16);
    out.put_i16(weight);
    out.put_u16(if value < 0 { 0x4000 } else { 0 });
    out.put_i16(behind as i16);
    for &group in kept {
        out.put_i16(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_in_binary() {
        let check = |value: i128, scale: i8, expected: &str| {
            let mut out = BytesMut::new();
            binary_decimal(value, scale, &mut out);
            let shown: Vec<String> = out.chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
            assert_eq!(shown.join(" "), expected, "{value} at {scale}");
        };
        check(12_345_678, 3, "0003 0001 0000 0003 0001 0929 1a7c");
        check(0, 2, "0000 0000 0000 0002");
        check(-5, 0, "0001 0000 4000 0000 0005");
        check(5, 4, "0001 ffff 0000 0004 0005");
        check(5, 5, "0001 fffe 0000 0005 1388");
        check(100_000_000, 0, "0001 0002 0000 0000 0001");
        check(10, -3, "0001 0001 0000 0000 0001");
    }
}
