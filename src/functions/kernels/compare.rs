//! Comparisons: NaN equals NaN and is greatest, -0 equals 0, intervals compare by their length with months of 30
//! days: PostgreSQL's order, and that of the row encoding.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Datum, Scalar, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes::*;

use super::{Col, align, operand_faults, valid_rows};
use crate::base::{Error, Result};
use crate::functions::expr::BinaryOp;
use crate::types::{RowCodec, SqlType};

/// The order of doubles as integers.
pub(crate) fn order_f64(value: f64) -> i64 {
    let bits = (if value.is_nan() { f64::NAN.abs() } else { value + 0.0 }).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The order of reals as integers.
pub(crate) fn order_f32(value: f32) -> i32 {
    let bits = (if value.is_nan() { f32::NAN.abs() } else { value + 0.0 }).to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The length of an interval in nanoseconds, months having 30 days.
pub(crate) fn interval_length(span: IntervalMonthDayNano) -> i128 {
    let days = i128::from(span.months) * 30 + i128::from(span.days);
    days * 86_400_000_000_000 + i128::from(span.nanoseconds)
}

/// Evaluates a comparison of two columns of one type.
pub(crate) fn binary(op: BinaryOp, left: Col, right: Col, rows: usize) -> Result<Col> {
    let mut columns = [left, right];
    let (rows, scalar) = align(&mut columns, rows)?;
    let faults = operand_faults(&mut columns);
    let [left, right] = columns;
    let nullable = matches!(op, BinaryOp::Distinct | BinaryOp::NotDistinct);
    let values: ArrayRef = if !nullable && (left.is_null_scalar() || right.is_null_scalar()) {
        new_null_array(&DataType::Boolean, rows)
    } else {
        Arc::new(match left.values.data_type() {
            DataType::Float64 => keyed::<Float64Type, _>(op, &left, &right, rows, order_f64)?,
            DataType::Float32 => keyed::<Float32Type, _>(op, &left, &right, rows, order_f32)?,
            DataType::Interval(_) => keyed::<IntervalMonthDayNanoType, _>(op, &left, &right, rows, interval_length)?,
            DataType::List(_) | DataType::Struct(_) => encoded(op, &left, &right, rows)?,
            _ => plain(op, &left, &right)?,
        })
    };
    Ok(Col { values, scalar, faults })
}

fn plain(op: BinaryOp, left: &Col, right: &Col) -> Result<BooleanArray> {
    let one = |column: &Col| -> Box<dyn Datum> {
        let values = Arc::clone(&column.values);
        if column.scalar { Box::new(Scalar::new(values)) } else { Box::new(values) }
    };
    if left.scalar && right.scalar {
        return plain_datum(op, &left.values, &right.values);
    }
    let (left, right) = (one(left), one(right));
    plain_datum(op, &*left, &*right)
}

fn plain_datum(op: BinaryOp, left: &dyn Datum, right: &dyn Datum) -> Result<BooleanArray> {
    let kernel = match op {
        BinaryOp::Equal => cmp::eq,
        BinaryOp::NotEqual => cmp::neq,
        BinaryOp::Less => cmp::lt,
        BinaryOp::LessEqual => cmp::lt_eq,
        BinaryOp::Greater => cmp::gt,
        BinaryOp::GreaterEqual => cmp::gt_eq,
        BinaryOp::Distinct => cmp::distinct,
        BinaryOp::NotDistinct => cmp::not_distinct,
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo => {
            return Err(not_comparison(op));
        }
        BinaryOp::Concat => return Err(not_comparison(op)),
    };
    Ok(kernel(left, right)?)
}

fn not_comparison(op: BinaryOp) -> Error {
    Error::internal(format!("operator {} is not a comparison", op.symbol()))
}

/// The comparison that `op` is.
fn holds<K: Ord + ?Sized>(op: BinaryOp) -> Result<fn(&K, &K) -> bool> {
    Ok(match op {
        BinaryOp::Equal | BinaryOp::NotDistinct => |l, r| l == r,
        BinaryOp::NotEqual | BinaryOp::Distinct => |l, r| l != r,
        BinaryOp::Less => |l, r| l < r,
        BinaryOp::LessEqual => |l, r| l <= r,
        BinaryOp::Greater => |l, r| l > r,
        BinaryOp::GreaterEqual => |l, r| l >= r,
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo => {
            return Err(not_comparison(op));
        }
        BinaryOp::Concat => return Err(not_comparison(op)),
    })
}

/// Arrays and rows compare as their encodings do, NULL elements being equal and greatest.
fn encoded(op: BinaryOp, left: &Col, right: &Col, rows: usize) -> Result<BooleanArray> {
    let test = holds::<[u8]>(op)?;
    let encode = |column: &Col| {
        let ty = SqlType::from_arrow(column.values.data_type())?;
        RowCodec::new(vec![ty]).encode(std::slice::from_ref(&column.values))
    };
    let (l, r) = (encode(left)?, encode(right)?);
    let at = |column: &Col, row: usize| if column.scalar { 0 } else { row };
    let bits = BooleanBuffer::collect_bool(rows, |row| test(l.row(at(left, row)), r.row(at(right, row))));
    let nullable = matches!(op, BinaryOp::Distinct | BinaryOp::NotDistinct);
    Ok(BooleanArray::new(bits, if nullable { None } else { valid_rows(left, right) }))
}

fn keyed<T: ArrowPrimitiveType, K: Ord>(
    op: BinaryOp,
    left: &Col,
    right: &Col,
    rows: usize,
    key: impl Fn(T::Native) -> K + Copy,
) -> Result<BooleanArray> {
    let test = holds::<K>(op)?;
    let (l, r) = (left.values.as_primitive::<T>(), right.values.as_primitive::<T>());
    let at = |column: &Col, row: usize| if column.scalar { 0 } else { row };
    let bits =
        BooleanBuffer::collect_bool(rows, |row| test(&key(l.value(at(left, row))), &key(r.value(at(right, row)))));
    if !matches!(op, BinaryOp::Distinct | BinaryOp::NotDistinct) {
        return Ok(BooleanArray::new(bits, valid_rows(left, right)));
    }
    let negated = op == BinaryOp::Distinct;
    let bits = BooleanBuffer::collect_bool(rows, |row| match (l.is_null(at(left, row)), r.is_null(at(right, row))) {
        (true, true) => !negated,
        (false, false) => bits.value(row),
        _ => negated,
    });
    Ok(BooleanArray::new(bits, None))
}
