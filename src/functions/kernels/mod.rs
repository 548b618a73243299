//! Our own kernels: columns in, a column and its faults out. No allocation per row unless a row faults.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::fault::{Evaluated, Fault, Faults, Reason, merge};
use crate::base::Result;

pub(crate) mod arithmetic;
pub(crate) mod compare;
pub(crate) mod decimal;
pub(crate) mod like;
pub(crate) mod logic;
pub(crate) mod string;
pub(crate) mod temporal;

/// A column within an evaluation: one value per row, or a single value that stands for all rows.
#[derive(Clone, Debug)]
pub(crate) struct Col {
    /// `rows` values; one value if `scalar`.
    pub values: ArrayRef,
    /// Whether the single value stands for all rows.
    pub scalar: bool,
    /// In row order; of a scalar at most one, at row 0.
    pub faults: Vec<Fault>,
}

impl Col {
    /// One value per row, without faults.
    pub fn array(values: ArrayRef) -> Col {
        Col { values, scalar: false, faults: Vec::new() }
    }

    /// One value for all rows.
    pub fn scalar(values: ArrayRef) -> Col {
        Col { values, scalar: true, faults: Vec::new() }
    }

    /// Whether it is one NULL for all rows.
    pub fn is_null_scalar(&self) -> bool {
        self.scalar && self.values.is_null(0)
    }

    /// As one value per row.
    pub fn spread(self, rows: usize) -> Result<Col> {
        if !self.scalar {
            return Ok(self);
        }
        let values = match rows {
            1 => self.values,
            _ => arrow::compute::take(&self.values, &UInt32Array::from(vec![0; rows]), None)?,
        };
        let faults = match self.faults.first() {
            Some(fault) => (0..rows as u32).map(|row| Fault { row, reason: fault.reason.clone() }).collect(),
            None => Vec::new(),
        };
        Ok(Col { values, scalar: false, faults })
    }

    /// As what an evaluation hands out.
    pub fn evaluated(self, rows: usize) -> Result<Evaluated> {
        let column = self.spread(rows)?;
        Ok(Evaluated { values: column.values, faults: Faults::new(rows, column.faults) })
    }
}

/// Both columns of the same shape: two scalars stay so, otherwise a faulted scalar is spread over all rows.
/// Returns the shape (rows to compute, whether the result is a scalar).
pub(crate) fn align(columns: &mut [Col], rows: usize) -> Result<(usize, bool)> {
    if columns.iter().all(|column| column.scalar) {
        return Ok((1, true));
    }
    for column in columns.iter_mut() {
        if column.scalar && !column.faults.is_empty() {
            *column = column.clone().spread(rows)?;
        }
    }
    Ok((rows, false))
}

/// The faults of all operands of an operator that needs all of them, the leftmost first.
pub(crate) fn operand_faults(columns: &mut [Col]) -> Vec<Fault> {
    columns.iter_mut().fold(Vec::new(), |all, column| merge(all, std::mem::take(&mut column.faults)))
}

/// Which rows of aligned operands are all valid.
pub(crate) fn valid_rows(left: &Col, right: &Col) -> Option<NullBuffer> {
    let nulls = |column: &Col| if column.scalar { None } else { column.values.nulls().cloned() };
    NullBuffer::union(nulls(left).as_ref(), nulls(right).as_ref())
}

/// `op` on every row of one column; `op` gives the value and whether the row is in order, `explain` why not.
pub(crate) fn map<I: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    column: Col,
    to: &DataType,
    op: impl Fn(I::Native) -> (O::Native, bool),
    explain: impl Fn(I::Native) -> Reason,
) -> Result<Col> {
    let input = column.values.as_primitive::<I>();
    let mut ok = true;
    let values: Vec<O::Native> = input
        .values()
        .iter()
        .map(|&value| {
            let (value, fine) = op(value);
            ok &= fine;
            value
        })
        .collect();
    let mut faults = Vec::new();
    if !ok {
        for (row, &value) in input.values().iter().enumerate() {
            if input.is_valid(row) && !op(value).1 {
                faults.push(Fault { row: row as u32, reason: explain(value) });
            }
        }
    }
    let array = PrimitiveArray::<O>::new(values.into(), input.nulls().cloned()).with_data_type(to.clone());
    Ok(Col { values: std::sync::Arc::new(array), scalar: column.scalar, faults: merge(column.faults, faults) })
}

/// `op` on every pair of rows; see [`map`].
pub(crate) fn zip<L: ArrowPrimitiveType, R: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    left: Col,
    right: Col,
    rows: usize,
    to: &DataType,
    op: impl Fn(L::Native, R::Native) -> (O::Native, bool),
    explain: impl Fn(L::Native, R::Native) -> Reason,
) -> Result<Col> {
    let mut columns = [left, right];
    let (rows, scalar) = align(&mut columns, rows)?;
    let faults = operand_faults(&mut columns);
    let [left, right] = columns;
    if left.is_null_scalar() || right.is_null_scalar() {
        return Ok(Col { values: new_null_array(to, rows), scalar, faults });
    }
    let nulls = if scalar { None } else { valid_rows(&left, &right) };
    let (l, r) = (left.values.as_primitive::<L>().values(), right.values.as_primitive::<R>().values());
    let mut ok = true;
    let mut checked = |l: L::Native, r: R::Native| {
        let (value, fine) = op(l, r);
        ok &= fine;
        value
    };
    let values: Vec<O::Native> = match (left.scalar, right.scalar) {
        (false, false) => l.iter().zip(r).map(|(&l, &r)| checked(l, r)).collect(),
        (false, true) => l.iter().map(|&l| checked(l, r[0])).collect(),
        (true, false) => r.iter().map(|&r| checked(l[0], r)).collect(),
        (true, true) => vec![checked(l[0], r[0])],
    };
    let mut found = Vec::new();
    if !ok {
        for row in 0..rows {
            let (l, r) = (l[if left.scalar { 0 } else { row }], r[if right.scalar { 0 } else { row }]);
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) && !op(l, r).1 {
                found.push(Fault { row: row as u32, reason: explain(l, r) });
            }
        }
    }
    let array = PrimitiveArray::<O>::new(values.into(), nulls).with_data_type(to.clone());
    Ok(Col { values: std::sync::Arc::new(array), scalar, faults: merge(faults, found) })
}
