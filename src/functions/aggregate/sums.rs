//! The inner loops of sums: adding rows to slots, and results.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::*;

use super::float_sum::FloatSum;
use super::wide::Wide;
use crate::base::{Error, Result};
use crate::functions::fault::{Evaluated, Fault, Faults, Reason};
use crate::functions::kernels::decimal::{bound, divide_wide, power_of_ten};
use crate::types::numeric::Leading;
use crate::types::{SqlType, Weights};

pub(super) fn merge_counts(mine: &mut [i64], theirs: &[i64], map: &[u32]) {
    map.iter().zip(theirs).for_each(|(&slot, count)| mine[slot as usize] += count);
}

/// The rows of a batch that count for a call.
pub(super) struct Rows<'a> {
    nulls: Option<&'a NullBuffer>,
    keep: Option<&'a BooleanBuffer>,
    groups: &'a [u32],
    weights: &'a Weights,
}

impl<'a> Rows<'a> {
    pub fn new(
        values: Option<&'a ArrayRef>,
        keep: Option<&'a BooleanBuffer>,
        groups: &'a [u32],
        weights: &'a Weights,
    ) -> Self {
        let nulls = values.and_then(|values| values.nulls()).filter(|nulls| nulls.null_count() > 0);
        Rows { nulls, keep, groups, weights }
    }

    /// Calls `each` with row, slot and weight.
    #[inline]
    pub fn each(&self, mut each: impl FnMut(usize, usize, i64)) {
        if let (None, None, Weights::Ones) = (self.nulls, self.keep, self.weights) {
            self.groups.iter().enumerate().for_each(|(row, &slot)| each(row, slot as usize, 1));
            return;
        }
        for (row, &slot) in self.groups.iter().enumerate() {
            let counts =
                self.nulls.is_none_or(|nulls| nulls.is_valid(row)) && self.keep.is_none_or(|keep| keep.value(row));
            if counts {
                each(row, slot as usize, self.weights.get(row));
            }
        }
    }
}

pub(super) fn add_whole(sums: &mut [Wide], counts: &mut [i64], values: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
    match values.data_type() {
        DataType::Int16 => add_whole_of::<Int16Type>(sums, counts, values, rows),
        DataType::Int32 => add_whole_of::<Int32Type>(sums, counts, values, rows),
        DataType::Int64 => add_whole_of::<Int64Type>(sums, counts, values, rows),
        DataType::Decimal128(..) => add_whole_of::<Decimal128Type>(sums, counts, values, rows),
        other => return Err(Error::internal(format!("sum was given values of {other}"))),
    }
    Ok(())
}

fn add_whole_of<T: ArrowPrimitiveType>(sums: &mut [Wide], counts: &mut [i64], values: &ArrayRef, rows: &Rows<'_>)
where
    T::Native: Into<i128>,
{
    let values = values.as_primitive::<T>().values();
    if *rows.weights == Weights::Ones {
        rows.each(|row, slot, _| {
            sums[slot].add(values[row].into());
            counts[slot] += 1;
        });
        return;
    }
    rows.each(|row, slot, weight| {
        sums[slot].add_weighted(values[row].into(), weight);
        counts[slot] += weight;
    });
}

pub(super) fn add_floats(sums: &mut [FloatSum], counts: &mut [i64], values: &ArrayRef, rows: &Rows<'_>) {
    if let Some(reals) = values.as_primitive_opt::<Float32Type>() {
        rows.each(|row, slot, weight| {
            sums[slot].add(reals.value(row).into(), weight);
            counts[slot] += weight;
        });
    } else if let Some(doubles) = values.as_primitive_opt::<Float64Type>() {
        rows.each(|row, slot, weight| {
            sums[slot].add(doubles.value(row), weight);
            counts[slot] += weight;
        });
    }
}

/// Sums, or averages of values of a type.
pub(super) fn finish_whole(sums: &[Wide], counts: &[i64], average: Option<&SqlType>, ty: &SqlType) -> Evaluated {
    let limit = match ty {
        SqlType::Decimal { precision, .. } => bound(*precision) - 1,
        _ => i64::MAX.into(),
    };
    let lowest = if *ty == SqlType::BigInt { i128::from(i64::MIN) } else { -limit };
    let mut faults = Vec::new();
    let values: Vec<i128> = sums
        .iter()
        .zip(counts)
        .enumerate()
        .map(|(row, (sum, &count))| {
            let value = match average {
                _ if count == 0 => Some(0),
                None => sum.get(),
                Some(of) => averaged(sum, count, of, ty),
            };
            value.filter(|value| *value >= lowest && *value <= limit).unwrap_or_else(|| {
                faults.push(Fault { row: row as u32, reason: Reason::out_of_range(ty) });
                0
            })
        })
        .collect();
    let nulls = present(counts);
    let array: ArrayRef = match ty {
        SqlType::Decimal { .. } => Arc::new(Decimal128Array::new(values.into(), nulls).with_data_type(ty.arrow())),
        _ => Arc::new(Int64Array::new(values.into_iter().map(|value| value as i64).collect(), nulls)),
    };
    Evaluated { values: array, faults: Faults::new(counts.len(), faults) }
}

/// `sum / count` with the digits that PostgreSQL gives a quotient, at the scale of `ty`.
fn averaged(sum: &Wide, count: i64, of: &SqlType, ty: &SqlType) -> Option<i128> {
    let scale_of = |ty: &SqlType| if let SqlType::Decimal { scale, .. } = ty { i32::from(*scale) } else { 0 };
    let (from, to) = (scale_of(of), scale_of(ty));
    let leading = match sum.get() {
        Some(sum) => Leading::of(sum.unsigned_abs(), from),
        None => Leading::of_text(&sum.wide().wrapping_abs().to_string(), from),
    };
    let by = Leading::of(count.unsigned_abs().into(), 0);
    let digits = leading.divided_by(by).max(from).min(to);
    let moved = sum.wide().checked_mul(i256::from_i128(power_of_ten((digits - from) as u32)))?;
    divide_wide(moved, i256::from_i128(count.into()))?.checked_mul(power_of_ten((to - digits) as u32))
}

pub(super) fn finish_floats(sums: &[FloatSum], counts: &[i64], average: bool, ty: &SqlType) -> Evaluated {
    let mut faults = Vec::new();
    let values: Vec<f64> = sums
        .iter()
        .zip(counts)
        .enumerate()
        .map(|(row, (sum, &count))| {
            let value = if *ty == SqlType::Real { sum.to_f32().into() } else { sum.to_f64() };
            if count != 0 && value.is_infinite() && !sum.has_special() {
                faults.push(Fault { row: row as u32, reason: Reason::out_of_range(ty) });
            }
            if average { value / count as f64 } else { value }
        })
        .collect();
    let nulls = present(counts);
    let array: ArrayRef = match ty {
        SqlType::Real => Arc::new(Float32Array::new(values.into_iter().map(|value| value as f32).collect(), nulls)),
        _ => Arc::new(Float64Array::new(values.into(), nulls)),
    };
    Evaluated { values: array, faults: Faults::new(counts.len(), faults) }
}

/// A sum over no value is NULL.
fn present(counts: &[i64]) -> Option<NullBuffer> {
    let nulls = counts.contains(&0);
    nulls.then(|| NullBuffer::new(BooleanBuffer::collect_bool(counts.len(), |row| counts[row] != 0)))
}
