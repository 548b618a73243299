//! Parameters of a bound statement: bytes in text or binary to arrays of one value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, IntervalMonthDayNanoType};
use bytes::{Buf, Bytes};

use super::column::{JSONB_VERSION, Y2000_DAYS, Y2000_US};
use super::pg_type::told;
use crate::base::{Error, Result};
use crate::types::SqlType;
use crate::types::text::read_column;

/// The parameter `$index` of type `ty`. Text stays text (an array of `Utf8`): the session reads it as SQL would.
/// `told`: what the client takes the type for.
pub fn decode(index: usize, ty: &SqlType, told: Option<u32>, value: Option<&Bytes>, binary: bool) -> Result<ArrayRef> {
    let Some(bytes) = value else { return Ok(new_null_array(&ty.arrow(), 1)) };
    if binary {
        return from_binary(ty, told, bytes.clone()).ok_or_else(|| {
            Error::invalid(format!("incorrect binary data format in bind parameter {index}"))
                .with_code("22P03")
                .with_detail(format!("{} bytes are no value of type {ty}.", bytes.len()))
        });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => match ty {
            // Which elements it has says the declared type alone.
            SqlType::Array(_) => {
                let (values, misread) = read_column(&StringArray::from(vec![text]), ty)?;
                match misread.into_iter().next() {
                    Some((_, reason)) => Err(reason.to_error().context(format!("in bind parameter {index}"))),
                    None => Ok(values),
                }
            }
            _ => Ok(Arc::new(StringArray::from(vec![text]))),
        },
        Ok(_) | Err(_) => Err(Error::invalid("invalid byte sequence for encoding \"UTF8\"")
            .with_code("22021")
            .with_detail(format!("In bind parameter {index}."))),
    }
}

/// A value of PostgreSQL's binary format; none when the bytes are not one.
pub(super) fn from_binary(ty: &SqlType, told: Option<u32>, mut bytes: Bytes) -> Option<ArrayRef> {
    let array: ArrayRef = match ty {
        SqlType::Boolean => Arc::new(BooleanArray::from(vec![bytes.try_get_u8().ok()? != 0])),
        SqlType::SmallInt => Arc::new(Int16Array::from(vec![bytes.try_get_i16().ok()?])),
        SqlType::Int => Arc::new(Int32Array::from(vec![bytes.try_get_i32().ok()?])),
        SqlType::BigInt if told == Some(told::OID) => {
            Arc::new(Int64Array::from(vec![i64::from(bytes.try_get_u32().ok()?)]))
        }
        SqlType::BigInt => Arc::new(Int64Array::from(vec![bytes.try_get_i64().ok()?])),
        SqlType::Real => Arc::new(Float32Array::from(vec![bytes.try_get_f32().ok()?])),
        SqlType::Double => Arc::new(Float64Array::from(vec![bytes.try_get_f64().ok()?])),
        SqlType::Decimal { .. } => Arc::new(StringArray::from(vec![decimal_text(&mut bytes)?])),
        SqlType::Varchar => {
            let text = std::str::from_utf8(&bytes).ok().filter(|text| !text.contains('\0'))?.to_string();
            bytes.clear();
            Arc::new(StringArray::from(vec![text]))
        }
        SqlType::Bytea => Arc::new(BinaryArray::from_iter_values([std::mem::take(&mut bytes)])),
        SqlType::Date => Arc::new(Date32Array::from(vec![bytes.try_get_i32().ok()?.checked_add(Y2000_DAYS)?])),
        SqlType::Time => Arc::new(Time64MicrosecondArray::from(vec![time_of_day(bytes.try_get_i64().ok()?)?])),
        SqlType::Timestamp => Arc::new(TimestampMicrosecondArray::from(vec![point(&mut bytes)?])),
        SqlType::TimestampTz => {
            Arc::new(TimestampMicrosecondArray::from(vec![point(&mut bytes)?]).with_timezone("UTC"))
        }
        SqlType::Interval => {
            let nanoseconds = bytes.try_get_i64().ok()?.checked_mul(1_000)?;
            let (days, months) = (bytes.try_get_i32().ok()?, bytes.try_get_i32().ok()?);
            let value = IntervalMonthDayNanoType::make_value(months, days, nanoseconds);
            Arc::new(IntervalMonthDayNanoArray::from(vec![value]))
        }
        SqlType::Uuid => {
            let value = take(&mut bytes, 16)?;
            Arc::new(FixedSizeBinaryArray::try_from_iter([value].into_iter()).ok()?)
        }
        SqlType::Jsonb => {
            if bytes.try_get_u8().ok()? != JSONB_VERSION {
                return None;
            }
            let text = std::str::from_utf8(&bytes).ok()?.to_string();
            bytes.clear();
            Arc::new(StringArray::from(vec![text]))
        }
        SqlType::Array(element) => array(element, (told == Some(told::OIDS)).then_some(told::OID), &mut bytes)?,
        // PostgreSQL takes no anonymous row either.
        SqlType::Row(_) => return None,
    };
    bytes.is_empty().then_some(array)
}

/// An array of one dimension (see `column.rs`).
fn array(element: &SqlType, told: Option<u32>, bytes: &mut Bytes) -> Option<ArrayRef> {
    let (dimensions, _nulls, _oid) = (bytes.try_get_i32().ok()?, bytes.try_get_i32().ok()?, bytes.try_get_u32().ok()?);
    let count = match dimensions {
        0 => 0,
        1 => usize::try_from(bytes.try_get_i32().ok()?).ok()?,
        _ => return None,
    };
    if dimensions == 1 {
        bytes.try_get_i32().ok()?;
    }
    let mut parts = vec![new_empty_array(&element.arrow())];
    for _ in 0..count {
        let Ok(length) = usize::try_from(bytes.try_get_i32().ok()?) else {
            parts.push(new_null_array(&element.arrow(), 1));
            continue;
        };
        let part = from_binary(element, told, take(bytes, length)?)?;
        parts.push(match part.as_string_opt::<i32>() {
            // Numerics and documents arrive as their text.
            Some(text) => {
                let (part, misread) = read_column(text, element).ok()?;
                misread.is_empty().then_some(part)?
            }
            None => part,
        });
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let values = arrow::compute::concat(&parts).ok()?;
    let field = Arc::new(Field::new_list_field(element.arrow(), true));
    Some(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths([count]), values, None).ok()?))
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

fn point(bytes: &mut Bytes) -> Option<i64> {
    match bytes.try_get_i64().ok()? {
        infinite @ (i64::MAX | i64::MIN) => Some(infinite),
        us => us.checked_add(Y2000_US),
    }
}

fn time_of_day(us: i64) -> Option<i64> {
    (0..=86_400_000_000).contains(&us).then_some(us)
}

/// A binary numeric (see `column.rs`) as its digits; NaN and infinities as their names.
fn decimal_text(bytes: &mut Bytes) -> Option<String> {
    let groups = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let weight = i32::from(bytes.try_get_i16().ok()?);
    let sign = bytes.try_get_u16().ok()?;
    let behind = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let mut text = match sign {
        0 => String::new(),
        0x4000 => "-".to_string(),
        0xc000 => return Some("NaN".to_string()),
        0xd000 => return Some("Infinity".to_string()),
        0xf000 => return Some("-Infinity".to_string()),
        _ => return None,
    };
    let mut digits = Vec::with_capacity(groups);
    for _ in 0..groups {
        digits.push(bytes.try_get_u16().ok().filter(|&group| group < 10_000)?);
    }
    let group = |power: i32| {
        let index = usize::try_from(weight - power).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    for power in (0..=weight.max(0)).rev() {
        text.push_str(&format!("{:04}", group(power)));
    }
    if behind > 0 {
        let mut fraction = String::new();
        for power in 1..=behind.div_ceil(4) {
            fraction.push_str(&format!("{:04}", group(-i32::try_from(power).ok()?)));
        }
        fraction.truncate(behind);
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::wire::column::Column;

    /// What is read from the binary form of a value is that value.
    fn check(ty: SqlType, array: ArrayRef) {
        let mut bytes = BytesMut::new();
        Column::new(&array, &ty).unwrap().write_binary(0, &mut bytes);
        let read = decode(1, &ty, None, Some(&bytes.clone().freeze()), true).unwrap();
        assert_eq!(&read, &array, "{ty}");
        bytes.truncate(bytes.len() - 1);
        assert!(
            matches!(ty, SqlType::Varchar | SqlType::Bytea) || from_binary(&ty, None, bytes.freeze()).is_none(),
            "{ty}"
        );
    }

    #[test]
    fn binary_values_come_back() {
        check(SqlType::Boolean, Arc::new(BooleanArray::from(vec![true])));
        check(SqlType::SmallInt, Arc::new(Int16Array::from(vec![-3])));
        check(SqlType::Int, Arc::new(Int32Array::from(vec![i32::MIN])));
        check(SqlType::BigInt, Arc::new(Int64Array::from(vec![i64::MAX])));
        check(SqlType::Real, Arc::new(Float32Array::from(vec![1.5])));
        check(SqlType::Double, Arc::new(Float64Array::from(vec![-0.1])));
        check(SqlType::Varchar, Arc::new(StringArray::from(vec!["ünder"])));
        check(SqlType::Bytea, Arc::new(BinaryArray::from_iter_values([[0u8, 255]])));
        check(SqlType::Date, Arc::new(Date32Array::from(vec![-1])));
        check(SqlType::Time, Arc::new(Time64MicrosecondArray::from(vec![1])));
        check(SqlType::Timestamp, Arc::new(TimestampMicrosecondArray::from(vec![-1])));
        check(SqlType::TimestampTz, Arc::new(TimestampMicrosecondArray::from(vec![5]).with_timezone("UTC")));
        let interval = IntervalMonthDayNanoType::make_value(1, -2, 3_000);
        check(SqlType::Interval, Arc::new(IntervalMonthDayNanoArray::from(vec![interval])));
        let read = |ty: SqlType, text: &str| {
            let array = read_column(&StringArray::from(vec![text]), &ty).unwrap().0;
            check(ty, array);
        };
        read(SqlType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        read(SqlType::Array(Box::new(SqlType::Int)), "{1,NULL,3}");
        read(SqlType::Array(Box::new(SqlType::NUMERIC)), "{1.5,-2}");
        read(SqlType::Array(Box::new(SqlType::Jsonb)), "{\"{\\\"a\\\": 1}\"}");
        read(SqlType::Array(Box::new(SqlType::Varchar)), "{}");
    }

    #[test]
    fn numbers_of_objects_have_four_bytes() {
        let read = decode(1, &SqlType::BigInt, Some(told::OID), Some(&Bytes::from_static(&[0xff, 0, 0, 1])), true);
        assert_eq!(read.unwrap().as_ref(), &Int64Array::from(vec![0xff00_0001]) as &dyn Array);
        let oids = SqlType::Array(Box::new(SqlType::BigInt));
        let array: ArrayRef = read_column(&StringArray::from(vec!["{4294967295,NULL}"]), &oids).unwrap().0;
        let mut bytes = BytesMut::new();
        Column::told(&array, &oids, Some(told::OIDS)).unwrap().write_binary(0, &mut bytes);
        assert_eq!(decode(1, &oids, Some(told::OIDS), Some(&bytes.freeze()), true).unwrap().as_ref(), array.as_ref());
    }

    #[test]
    fn numerics_become_their_digits() {
        let check = |words: &[u16], expected: Option<&str>| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            assert_eq!(decimal_text(&mut Bytes::from(bytes)).as_deref(), expected, "{words:x?}");
        };
        check(&[3, 1, 0, 3, 1, 0x0929, 0x1a7c], Some("00012345.678"));
        check(&[1, 0xffff, 0x4000, 4, 5], Some("-0000.0005"));
        check(&[1, 0xfffe, 0, 5, 5000], Some("0000.00005"));
        check(&[0, 0, 0, 2], Some("0000.00"));
        check(&[1, 2, 0, 0, 1], Some("000100000000"));
        check(&[0, 0, 0xc000, 0], Some("NaN"));
        check(&[1, 0, 0, 0, 10_000], None);
        check(&[2, 0, 0, 0, 1], None);
        check(&[0xffff, 0, 0, 0], None);
    }

    #[test]
    fn text_stays_text() {
        let read = decode(1, &SqlType::Int, None, Some(&Bytes::from_static(b"12")), false).unwrap();
        assert_eq!(read.as_ref(), &StringArray::from(vec!["12"]) as &dyn arrow::array::Array);
        assert_eq!(decode(2, &SqlType::Int, None, None, false).unwrap().null_count(), 1);
        assert_eq!(
            decode(1, &SqlType::Int, None, Some(&Bytes::from_static(b"\xff")), false).unwrap_err().sqlstate(),
            "22021"
        );
    }
}
