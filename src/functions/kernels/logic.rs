//! AND, OR, NOT, IS, CASE, COALESCE, GREATEST: what decides a row is looked at, everything else is not, faults
//! included.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Datum, Scalar};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::zip::zip as choose;
use arrow::compute::{and_kleene, interleave, is_not_null, is_null, not, or_kleene};

use super::{Col, align, compare, operand_faults};
use crate::base::Result;
use crate::functions::expr::{BinaryOp, Test};
use crate::functions::fault::{Fault, merge};

/// The booleans of a column, NULL where it is faulted.
fn booleans(column: &Col) -> BooleanArray {
    let values = column.values.as_boolean();
    if column.faults.is_empty() {
        return values.clone();
    }
    let mut fine = BooleanBufferBuilder::new(values.len());
    fine.append_n(values.len(), true);
    for fault in &column.faults {
        fine.set_bit(fault.row as usize, false);
    }
    let fine = NullBuffer::new(fine.finish());
    BooleanArray::new(values.values().clone(), NullBuffer::union(values.nulls(), Some(&fine)))
}

/// AND (or OR) of all operands.
pub(crate) fn connect(columns: Vec<Col>, all: bool, rows: usize) -> Result<Col> {
    let mut columns = columns.into_iter();
    let Some(mut result) = columns.next() else {
        return Ok(Col::scalar(Arc::new(BooleanArray::from(vec![all]))));
    };
    for column in columns {
        let (left, right) = if result.scalar && column.scalar {
            (result, column)
        } else {
            (result.spread(rows)?, column.spread(rows)?)
        };
        let (l, r) = (booleans(&left), booleans(&right));
        let values = if all { and_kleene(&l, &r)? } else { or_kleene(&l, &r)? };
        let mut faults = merge(left.faults, right.faults);
        faults.retain(|fault| values.is_null(fault.row as usize));
        result = Col { values: Arc::new(values), scalar: left.scalar, faults };
    }
    Ok(result)
}

/// NOT.
pub(crate) fn negate(column: Col) -> Result<Col> {
    let values: ArrayRef = Arc::new(not(column.values.as_boolean())?);
    Ok(Col { values, ..column })
}

/// IS [NOT] NULL, TRUE, FALSE.
pub(crate) fn is(column: Col, test: Test, negated: bool) -> Result<Col> {
    let held = match test {
        Test::Null => is_null(&column.values)?,
        Test::True => {
            let values = column.values.as_boolean();
            BooleanArray::new(and_valid(values.values(), values.nulls()), None)
        }
        Test::False => {
            let values = column.values.as_boolean();
            BooleanArray::new(and_valid(&!values.values(), values.nulls()), None)
        }
    };
    let held = if negated { not(&held)? } else { held };
    Ok(Col { values: Arc::new(held), ..column })
}

fn and_valid(values: &BooleanBuffer, nulls: Option<&NullBuffer>) -> BooleanBuffer {
    nulls.map_or_else(|| values.clone(), |nulls| values & nulls.inner())
}

/// Where a boolean column is surely true.
fn taken(column: &Col) -> BooleanArray {
    let values = booleans(column);
    BooleanArray::new(and_valid(values.values(), values.nulls()), None)
}

/// `then` where `mask` is set, `otherwise` elsewhere; all aligned to `rows`.
fn select(mask: &BooleanArray, then: &Col, otherwise: &Col) -> Result<ArrayRef> {
    let datum = |column: &Col| -> Box<dyn Datum> {
        let values = Arc::clone(&column.values);
        if column.scalar { Box::new(Scalar::new(values)) } else { Box::new(values) }
    };
    Ok(choose(mask, &*datum(then), &*datum(otherwise))?)
}

/// The faults of `then` where `mask` is set, of `otherwise` elsewhere.
fn select_faults(mask: &BooleanArray, then: &Col, otherwise: &Col, rows: usize) -> Vec<Fault> {
    if then.faults.is_empty() && otherwise.faults.is_empty() {
        return Vec::new();
    }
    let chosen = |column: &Col, wanted: bool| -> Vec<Fault> {
        if column.scalar {
            let Some(fault) = column.faults.first() else { return Vec::new() };
            let rows = (0..rows).filter(|&row| mask.value(row) == wanted);
            return rows.map(|row| Fault { row: row as u32, reason: fault.reason.clone() }).collect();
        }
        column.faults.iter().filter(|fault| mask.value(fault.row as usize) == wanted).cloned().collect()
    };
    merge(chosen(then, true), chosen(otherwise, false))
}

/// CASE: conditions with results in order, and ELSE; all results have one type.
pub(crate) fn case(branches: Vec<(Col, Col)>, otherwise: Col, rows: usize) -> Result<Col> {
    // Which result each row takes, and the rows that take none of those looked at.
    let mut taken_by = vec![branches.len(); rows];
    let mut open = BooleanBuffer::new_set(rows);
    let mut faults = Vec::new();
    let mut results = Vec::with_capacity(branches.len() + 1);
    for (place, (when, then)) in branches.into_iter().enumerate() {
        let when = when.spread(rows)?;
        let taken = taken(&when).values() & &open;
        taken.set_indices().for_each(|row| taken_by[row] = place);
        open = &open & &!&taken;
        let faulted: Vec<Fault> = when.faults.into_iter().filter(|fault| open.value(fault.row as usize)).collect();
        if !faulted.is_empty() {
            let mut fine = BooleanBufferBuilder::new(rows);
            fine.append_n(rows, true);
            faulted.iter().for_each(|fault| fine.set_bit(fault.row as usize, false));
            open = &open & &fine.finish();
            faults.extend(faulted);
        }
        results.push((then, taken));
    }
    results.push((otherwise, open));
    for (result, taken) in &results {
        let reason = |row: usize, fault: &Fault| Fault { row: row as u32, reason: fault.reason.clone() };
        match result.faults.first() {
            Some(fault) if result.scalar => faults.extend(taken.set_indices().map(|row| reason(row, fault))),
            Some(_) => faults.extend(result.faults.iter().filter(|fault| taken.value(fault.row as usize)).cloned()),
            None => {}
        }
    }
    faults.sort_unstable_by_key(|fault| fault.row);
    let arrays: Vec<&dyn Array> = results.iter().map(|(result, _)| result.values.as_ref()).collect();
    let places =
        taken_by.iter().enumerate().map(|(row, &place)| (place, if results[place].0.scalar { 0 } else { row }));
    let values = interleave(&arrays, &places.collect::<Vec<_>>())?;
    Ok(Col { values, scalar: false, faults })
}

/// COALESCE over columns of one type.
pub(crate) fn coalesce(columns: Vec<Col>, rows: usize) -> Result<Col> {
    let mut columns = columns.into_iter().rev();
    let Some(mut result) = columns.next() else { return Err(crate::base::Error::internal("COALESCE of nothing")) };
    for column in columns {
        let column = column.spread(rows)?;
        let mask = is_not_null(&column.values)?;
        let values = select(&mask, &column, &result)?;
        let behind = select_faults(&mask, &Col::array(Arc::clone(&column.values)), &result, rows);
        result = Col { values, scalar: false, faults: merge(column.faults, behind) };
    }
    Ok(result)
}

/// GREATEST or LEAST over columns of one type.
pub(crate) fn extreme(columns: Vec<Col>, greatest: bool, rows: usize) -> Result<Col> {
    let mut columns = columns.into_iter();
    let Some(mut best) = columns.next() else { return Err(crate::base::Error::internal("GREATEST of nothing")) };
    let op = if greatest { BinaryOp::Greater } else { BinaryOp::Less };
    for column in columns {
        let mut pair = [best, column];
        align(&mut pair, rows)?;
        let faults = operand_faults(&mut pair);
        let [left, right] = pair;
        let (left, right) = (left.spread(rows)?, right.spread(rows)?);
        let better = compare::binary(op, right.clone(), left.clone(), rows)?;
        let better = taken(&better.spread(rows)?);
        let mask = BooleanArray::new(better.values() | is_null(&left.values)?.values(), None);
        best = Col { values: select(&mask, &right, &left)?, scalar: false, faults };
    }
    Ok(best)
}
