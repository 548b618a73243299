//! Arrays and rows within the canonical row encoding.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};

use super::{NULL, VALUE, torn};
use crate::base::{Error, Result};
use crate::types::SqlType;
use crate::types::schema::{element_field, row_fields};

/// What ends an array's elements; below every marker.
const END: u8 = 0;

/// A column of arrays or rows without what lies hidden beneath its NULLs.
enum Dense {
    /// The elements of all rows, one after the other, and how many each row has.
    List(ArrayRef, Vec<usize>),
    /// The fields of the rows that are not NULL.
    Row(Vec<ArrayRef>),
}

/// The rows that are not NULL.
fn present(column: &ArrayRef) -> Vec<usize> {
    (0..column.len()).filter(|&row| column.is_valid(row)).collect()
}

fn take(values: &ArrayRef, indices: impl IntoIterator<Item = usize>) -> ArrayRef {
    let indices: UInt32Array = indices.into_iter().map(|index| Some(index as u32)).collect();
    arrow::compute::take(values, &indices, None).expect("indices lie within the array")
}

fn dense(column: &ArrayRef) -> Dense {
    if let Some(rows) = column.as_struct_opt() {
        let fields = rows.columns().iter();
        if rows.null_count() == 0 {
            return Dense::Row(fields.map(Arc::clone).collect());
        }
        let present = present(column);
        return Dense::Row(fields.map(|field| take(field, present.iter().copied())).collect());
    }
    let lists = column.as_list::<i32>();
    let offsets = lists.value_offsets();
    let length = |row: usize| if lists.is_valid(row) { (offsets[row + 1] - offsets[row]) as usize } else { 0 };
    let lengths: Vec<usize> = (0..lists.len()).map(length).collect();
    let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
    let values = if lengths.iter().sum::<usize>() == last - first {
        lists.values().slice(first, last - first)
    } else {
        let elements = (0..lists.len()).flat_map(|row| (0..lengths[row]).map(move |i| offsets[row] as usize + i));
        take(lists.values(), elements)
    };
    Dense::List(values, lengths)
}

/// Adds the bytes that every row of `column` takes, its marker included.
pub(super) fn add_widths(column: &ArrayRef, widths: &mut [usize]) {
    widths.iter_mut().for_each(|width| *width += 1);
    match dense(column) {
        Dense::List(values, lengths) => {
            let mut inner = vec![0; values.len()];
            super::add_widths(&values, &mut inner);
            let mut inner = inner.into_iter();
            for (row, length) in lengths.into_iter().enumerate() {
                let end = usize::from(column.is_valid(row));
                widths[row] += end + inner.by_ref().take(length).sum::<usize>();
            }
        }
        Dense::Row(fields) => {
            let present = present(column);
            let mut inner = vec![0; present.len()];
            fields.iter().for_each(|field| super::add_widths(field, &mut inner));
            present.into_iter().zip(inner).for_each(|(row, width)| widths[row] += width);
        }
    }
}

/// Writes every row of `column` at its place in `data`, and moves the place behind it.
pub(super) fn write_column(column: &ArrayRef, data: &mut [u8], at: &mut [usize]) {
    for (row, at) in at.iter_mut().enumerate() {
        data[*at] = if column.is_valid(row) { VALUE } else { NULL };
        *at += 1;
    }
    match dense(column) {
        Dense::List(values, lengths) => {
            let mut inner = vec![0; values.len()];
            super::add_widths(&values, &mut inner);
            let mut element = 0;
            for (row, length) in lengths.into_iter().enumerate() {
                let mut place = at[row];
                for start in &mut inner[element..element + length] {
                    let width = std::mem::replace(start, place);
                    place += width;
                }
                element += length;
                // The end mark is zero, and there already.
                at[row] = place + usize::from(column.is_valid(row));
            }
            super::write_column(&values, data, &mut inner);
        }
        Dense::Row(fields) => {
            let present = present(column);
            let mut inner: Vec<usize> = present.iter().map(|&row| at[row]).collect();
            fields.iter().for_each(|field| super::write_column(field, data, &mut inner));
            present.into_iter().zip(inner).for_each(|(row, place)| at[row] = place);
        }
    }
}

/// Reads the marker of every row; returns which are valid.
fn read_markers(rest: &mut [&[u8]]) -> Result<Vec<bool>> {
    let marker = |bytes: &mut &[u8]| match bytes.split_first() {
        Some((&VALUE, tail)) => {
            *bytes = tail;
            Ok(true)
        }
        Some((&NULL, tail)) => {
            *bytes = tail;
            Ok(false)
        }
        _ => Err(torn()),
    };
    rest.iter_mut().map(marker).collect()
}

fn nulls(valid: &[bool]) -> Option<NullBuffer> {
    (!valid.iter().all(|valid| *valid)).then(|| NullBuffer::from(valid))
}

/// Reads a column of arrays of `element`.
pub(super) fn read_array(element: &SqlType, rest: &mut [&[u8]]) -> Result<ArrayRef> {
    let valid = read_markers(rest)?;
    let (mut elements, mut lengths) = (Vec::new(), Vec::with_capacity(rest.len()));
    for (bytes, valid) in rest.iter_mut().zip(&valid) {
        let before = elements.len();
        if !valid {
            lengths.push(0);
            continue;
        }
        loop {
            if let Some((&END, tail)) = bytes.split_first() {
                *bytes = tail;
                break;
            }
            let tail = skip(element, bytes).ok_or_else(torn)?;
            elements.push(&bytes[..bytes.len() - tail.len()]);
            *bytes = tail;
        }
        lengths.push(elements.len() - before);
    }
    if i32::try_from(elements.len()).is_err() {
        return Err(Error::limit("more than 2^31 array elements in one batch of rows"));
    }
    let values = super::read_column(element, &mut elements)?;
    let ends = OffsetBuffer::from_lengths(lengths);
    let array = ListArray::try_new(element_field(element), ends, values, nulls(&valid)).map_err(|_| torn())?;
    Ok(Arc::new(array))
}

/// Reads a column of rows of these fields.
pub(super) fn read_row(fields: &[(String, SqlType)], rest: &mut [&[u8]]) -> Result<ArrayRef> {
    let valid = read_markers(rest)?;
    let present: Vec<usize> = (0..valid.len()).filter(|&row| valid[row]).collect();
    let mut inner: Vec<&[u8]> = present.iter().map(|&row| rest[row]).collect();
    let mut place = 0;
    let places: UInt32Array = valid
        .iter()
        .map(|valid| {
            place += u32::from(*valid);
            valid.then(|| place - 1)
        })
        .collect();
    let mut columns = Vec::with_capacity(fields.len());
    for (_, ty) in fields {
        let column = super::read_column(ty, &mut inner)?;
        columns.push(if present.len() == valid.len() { column } else { arrow::compute::take(&column, &places, None)? });
    }
    present.into_iter().zip(inner).for_each(|(row, tail)| rest[row] = tail);
    let rows = StructArray::try_new_with_length(row_fields(fields), columns, nulls(&valid), valid.len());
    Ok(Arc::new(rows.map_err(|_| torn())?))
}

/// What follows one encoded field of type `ty`; `None` when the bytes end before, or a marker is unknown.
pub(crate) fn skip<'a>(ty: &SqlType, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (marker, rest) = bytes.split_first()?;
    match *marker {
        VALUE => {}
        NULL => return Some(rest),
        _ => return None,
    }
    let width = match ty {
        SqlType::Boolean => 1,
        SqlType::SmallInt => 2,
        SqlType::Int | SqlType::Real | SqlType::Date => 4,
        SqlType::BigInt | SqlType::Double | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => 8,
        SqlType::Decimal { .. } | SqlType::Uuid => 16,
        SqlType::Interval => 32,
        SqlType::Varchar | SqlType::Bytea | SqlType::Jsonb => return skip_text(rest),
        SqlType::Array(element) => {
            let mut rest = rest;
            while *rest.first()? != END {
                rest = skip(element, rest)?;
            }
            return rest.get(1..);
        }
        SqlType::Row(fields) => return fields.iter().try_fold(rest, |rest, (_, ty)| skip(ty, rest)),
    };
    rest.get(width..)
}

fn skip_text(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let zero = memchr::memchr(0, bytes)?;
        let tail = bytes.get(zero + 2..)?;
        match bytes.get(zero + 1)? {
            0 => return Some(tail),
            0xff => bytes = tail,
            _ => return None,
        }
    }
}
