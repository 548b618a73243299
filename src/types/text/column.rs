//! A column of texts read as a type; what the type does not read is NULL, with its reason.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;

use super::{nested, read};
use crate::base::{Error, Result};
use crate::types::schema::{element_field, row_fields};
use crate::types::{Reason, SqlType, jsonb};

/// Rows that could not be read, in order, and why.
type Misread = Vec<(u32, Reason)>;

/// Reads `texts` as values of `to`. The value of a row that could not be read is meaningless.
pub fn read_column(texts: &StringArray, to: &SqlType) -> Result<(ArrayRef, Misread)> {
    let arrow = to.arrow();
    Ok(match to {
        SqlType::Boolean => booleans(texts),
        SqlType::SmallInt => primitive::<Int16Type>(texts, &arrow, |text| read::integer(text, to)),
        SqlType::Int => primitive::<Int32Type>(texts, &arrow, |text| read::integer(text, to)),
        SqlType::BigInt => primitive::<Int64Type>(texts, &arrow, |text| read::integer(text, to)),
        SqlType::Real => primitive::<Float32Type>(texts, &arrow, |text| read::float(text, to)),
        SqlType::Double => primitive::<Float64Type>(texts, &arrow, |text| read::float(text, to)),
        SqlType::Decimal { precision, scale } => {
            primitive::<Decimal128Type>(texts, &arrow, |text| read::decimal(text, *precision, *scale))
        }
        SqlType::Varchar => (Arc::new(texts.clone()) as ArrayRef, Vec::new()),
        SqlType::Bytea => bytes(texts),
        SqlType::Date => primitive::<Date32Type>(texts, &arrow, read::date),
        SqlType::Time => primitive::<Time64MicrosecondType>(texts, &arrow, read::time),
        SqlType::Timestamp => primitive::<TimestampMicrosecondType>(texts, &arrow, read::timestamp),
        SqlType::TimestampTz => primitive::<TimestampMicrosecondType>(texts, &arrow, read::timestamp_tz),
        SqlType::Interval => primitive::<IntervalMonthDayNanoType>(texts, &arrow, read::interval),
        SqlType::Uuid => uuids(texts),
        SqlType::Jsonb => documents(texts),
        SqlType::Array(element) => arrays(texts, element)?,
        SqlType::Row(fields) => rows(texts, fields)?,
    })
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringArray,
    to: &DataType,
    read: impl Fn(&str) -> Result<T::Native, Reason>,
) -> (ArrayRef, Misread) {
    let mut values = Vec::with_capacity(texts.len());
    let mut misread = Vec::new();
    for row in 0..texts.len() {
        let value = if texts.is_null(row) { Ok(T::Native::default()) } else { read(texts.value(row)) };
        values.push(value.unwrap_or_else(|reason| {
            misread.push((row as u32, reason));
            T::Native::default()
        }));
    }
    let array = PrimitiveArray::<T>::new(values.into(), texts.nulls().cloned()).with_data_type(to.clone());
    (Arc::new(array), misread)
}

/// What a text says, or its row is noted as misread.
fn noted<T>(row: usize, read: Result<T, Reason>, misread: &mut Misread) -> Option<T> {
    read.map_err(|reason| misread.push((row as u32, reason))).ok()
}

fn booleans(texts: &StringArray) -> (ArrayRef, Misread) {
    let mut misread = Vec::new();
    let mut values = BooleanBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        values.append_option(text.and_then(|text| noted(row, read::boolean(text), &mut misread)));
    }
    (Arc::new(values.finish()), misread)
}

fn bytes(texts: &StringArray) -> (ArrayRef, Misread) {
    let mut misread = Vec::new();
    let mut values = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
    let mut buffer = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        let held = text.and_then(|text| noted(row, read::bytea(text, &mut buffer), &mut misread));
        values.append_option(held.map(|()| &buffer));
    }
    (Arc::new(values.finish()), misread)
}

fn documents(texts: &StringArray) -> (ArrayRef, Misread) {
    let mut misread = Vec::new();
    let mut values = LargeBinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
    let mut buffer = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        buffer.clear();
        let held = text.and_then(|text| noted(row, jsonb::from_text(text, &mut buffer), &mut misread));
        values.append_option(held.map(|()| &buffer));
    }
    (Arc::new(values.finish()), misread)
}

fn uuids(texts: &StringArray) -> (ArrayRef, Misread) {
    let mut misread = Vec::new();
    let mut values = Vec::with_capacity(texts.len() * 16);
    for (row, text) in texts.iter().enumerate() {
        let held = text.and_then(|text| noted(row, read::uuid(text), &mut misread));
        values.extend_from_slice(&held.unwrap_or_default());
    }
    (Arc::new(FixedSizeBinaryArray::new(16, values.into(), texts.nulls().cloned())), misread)
}

fn arrays(texts: &StringArray, element: &SqlType) -> Result<(ArrayRef, Misread)> {
    let mut misread = Vec::new();
    let mut elements = StringBuilder::new();
    let mut owners: Vec<u32> = Vec::new();
    let mut lengths = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let found = text.and_then(|text| noted(row, nested::read_array(text), &mut misread)).unwrap_or_default();
        lengths.push(found.len());
        owners.extend(found.iter().map(|_| row as u32));
        elements.extend(found);
    }
    if i32::try_from(owners.len()).is_err() {
        return Err(Error::limit("more than 2^31 array elements in one batch of rows"));
    }
    let (values, inner) = read_column(&elements.finish(), element)?;
    for (at, reason) in inner {
        note(&mut misread, owners[at as usize], reason);
    }
    let ends = OffsetBuffer::from_lengths(lengths);
    let array = ListArray::try_new(element_field(element), ends, values, texts.nulls().cloned())?;
    Ok((Arc::new(array), misread))
}

fn rows(texts: &StringArray, fields: &[(String, SqlType)]) -> Result<(ArrayRef, Misread)> {
    let mut misread = Vec::new();
    let mut parts: Vec<StringBuilder> = fields.iter().map(|_| StringBuilder::new()).collect();
    for (row, text) in texts.iter().enumerate() {
        let read = text.map(|text| nested::read_row(text, fields.len()));
        let mut found = read.and_then(|read| noted(row, read, &mut misread)).unwrap_or_default().into_iter();
        parts.iter_mut().for_each(|part| part.append_option(found.next().flatten()));
    }
    let mut columns = Vec::with_capacity(fields.len());
    for (mut part, (_, ty)) in parts.into_iter().zip(fields) {
        let (values, inner) = read_column(&part.finish(), ty)?;
        inner.into_iter().for_each(|(row, reason)| note(&mut misread, row, reason));
        columns.push(values);
    }
    let nulls: Option<NullBuffer> = texts.nulls().cloned();
    let array = StructArray::try_new_with_length(row_fields(fields), columns, nulls, texts.len())?;
    Ok((Arc::new(array), misread))
}

/// Notes `row` once, keeping the order of rows.
fn note(misread: &mut Misread, row: u32, reason: Reason) {
    if let Err(place) = misread.binary_search_by_key(&row, |(row, _)| *row) {
        misread.insert(place, (row, reason));
    }
}
