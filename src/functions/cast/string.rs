//! Casts to and from text.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringBuilder};

use crate::base::{Error, Result};
use crate::functions::fault::{Fault, merge};
use crate::functions::kernels::Col;
use crate::functions::text::write_value;
use crate::types::SqlType;
use crate::types::text::read_column;

/// From any type to text.
pub(super) fn to_text(column: Col) -> Result<Col> {
    let values = &column.values;
    let mut text = StringBuilder::with_capacity(values.len(), values.len() * 8);
    for row in 0..values.len() {
        if values.is_null(row) {
            text.append_null();
            continue;
        }
        write_value(values.as_ref(), row, &mut text)
            .map_err(|_| Error::internal("value could not be written as text"))?;
        text.append_value("");
    }
    Ok(Col { values: Arc::new(text.finish()), ..column })
}

/// From text to any type; text that the type does not read is a fault.
pub(super) fn from_text(column: Col, to: &SqlType) -> Result<Col> {
    if *to == SqlType::Varchar {
        return Ok(column);
    }
    let (values, misread) = read_column(column.values.as_string::<i32>(), to)?;
    let found = misread.into_iter().map(|(row, reason)| Fault { row, reason }).collect();
    Ok(Col { values, scalar: column.scalar, faults: merge(column.faults, found) })
}
