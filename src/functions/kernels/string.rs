//! `||`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringBuilder, new_null_array};
use arrow::datatypes::DataType;

use super::{Col, align, operand_faults};
use crate::base::Result;

/// Text or bytes one after the other.
pub(crate) fn concat(left: Col, right: Col, bytes: bool, rows: usize) -> Result<Col> {
    let mut columns = [left, right];
    let (rows, scalar) = align(&mut columns, rows)?;
    let faults = operand_faults(&mut columns);
    let [left, right] = columns;
    if left.is_null_scalar() || right.is_null_scalar() {
        let ty = if bytes { DataType::Binary } else { DataType::Utf8 };
        return Ok(Col { values: new_null_array(&ty, rows), scalar, faults });
    }
    let at = |column: &Col, row: usize| if column.scalar { 0 } else { row };
    let null = |row: usize| left.values.is_null(at(&left, row)) || right.values.is_null(at(&right, row));
    let values: ArrayRef = if bytes {
        let (l, r) = (left.values.as_binary::<i32>(), right.values.as_binary::<i32>());
        let mut out = BinaryBuilder::with_capacity(rows, l.value_data().len() + r.value_data().len());
        let mut buffer = Vec::new();
        for row in 0..rows {
            if null(row) {
                out.append_null();
                continue;
            }
            buffer.clear();
            buffer.extend_from_slice(l.value(at(&left, row)));
            buffer.extend_from_slice(r.value(at(&right, row)));
            out.append_value(&buffer);
        }
        Arc::new(out.finish())
    } else {
        let (l, r) = (left.values.as_string::<i32>(), right.values.as_string::<i32>());
        let mut out = StringBuilder::with_capacity(rows, l.value_data().len() + r.value_data().len());
        let mut buffer = String::new();
        for row in 0..rows {
            if null(row) {
                out.append_null();
                continue;
            }
            buffer.clear();
            buffer.push_str(l.value(at(&left, row)));
            buffer.push_str(r.value(at(&right, row)));
            out.append_value(&buffer);
        }
        Arc::new(out.finish())
    };
    Ok(Col { values, scalar, faults })
}
