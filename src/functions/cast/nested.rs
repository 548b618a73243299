//! Casts among arrays and rows, and from JSONB.

use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, StringBuilder, StructArray};

use crate::base::{Result, sqlstate};
use crate::functions::fault::{Fault, Reason, merge};
use crate::functions::kernels::Col;
use crate::types::SqlType;
use crate::types::jsonb::{Item, number};
use crate::types::schema::{element_field, row_fields};
use crate::types::text::read_column;

/// From an array to one of another element type.
pub(super) fn array(column: Col, from: &SqlType, to: &SqlType) -> Result<Col> {
    let lists = column.values.as_list::<i32>();
    let elements = super::cast(Col::array(Arc::clone(lists.values())), from, to)?;
    let offsets = lists.value_offsets();
    let mut found: Vec<Fault> = Vec::new();
    for fault in elements.faults {
        // The row whose elements begin at or before the faulted one.
        let row = offsets.partition_point(|start| *start as u32 <= fault.row).saturating_sub(1);
        let row_of = (row < lists.len() && lists.is_valid(row)).then_some(row as u32);
        if let Some(row) = row_of.filter(|row| found.last().is_none_or(|last| last.row < *row)) {
            found.push(Fault { row, reason: fault.reason });
        }
    }
    let cast = ListArray::try_new(element_field(to), lists.offsets().clone(), elements.values, lists.nulls().cloned())?;
    Ok(Col { values: Arc::new(cast), scalar: column.scalar, faults: merge(column.faults, found) })
}

/// From a row to one of other field types (and names), field by field.
pub(super) fn row(column: Col, from: &[(String, SqlType)], to: &[(String, SqlType)]) -> Result<Col> {
    let rows = column.values.as_struct();
    let mut faults = column.faults;
    let mut columns = Vec::with_capacity(to.len());
    for (field, ((_, from), (_, to))) in rows.columns().iter().zip(from.iter().zip(to)) {
        let cast = super::cast(Col::array(Arc::clone(field)), from, to)?;
        let found = cast.faults.into_iter().filter(|fault| rows.is_valid(fault.row as usize)).collect();
        faults = merge(faults, found);
        columns.push(cast.values);
    }
    let cast = StructArray::try_new_with_length(row_fields(to), columns, rows.nulls().cloned(), rows.len())?;
    Ok(Col { values: Arc::new(cast), scalar: column.scalar, faults })
}

/// From JSONB to boolean or a number; a value of another kind is a fault, null is NULL.
pub(super) fn from_jsonb(column: Col, to: &SqlType) -> Result<Col> {
    let documents = column.values.as_binary::<i64>();
    let wants_number = *to != SqlType::Boolean;
    let mut texts = StringBuilder::new();
    let mut found = Vec::new();
    let mut text = String::new();
    for (row, document) in documents.iter().enumerate() {
        match document.map(Item::of) {
            None | Some(Item::Null) => texts.append_null(),
            Some(Item::Bool(value)) if !wants_number => texts.append_value(if value { "t" } else { "f" }),
            Some(Item::Number(digits)) if wants_number => {
                text.clear();
                number::write(digits, &mut text).map_err(|_| crate::base::Error::internal("number without text"))?;
                texts.append_value(&text);
            }
            Some(other) => {
                let message = format!("cannot cast jsonb {} to type {to}", other.type_name());
                found.push(Fault { row: row as u32, reason: Reason::new(sqlstate::INVALID_PARAMETER_VALUE, message) });
                texts.append_null();
            }
        }
    }
    let whole = matches!(to, SqlType::SmallInt | SqlType::Int | SqlType::BigInt);
    // Whole numbers are rounded from numeric, not read from text.
    let read_as = if whole { SqlType::NUMERIC } else { to.clone() };
    let (values, misread) = read_column(&texts.finish(), &read_as)?;
    let misread = misread.into_iter().map(|(row, reason)| Fault { row, reason }).collect();
    let faults = merge(merge(column.faults, found), misread);
    super::cast(Col { values, scalar: column.scalar, faults }, &read_as, to)
}
