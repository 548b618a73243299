//! Columns whose canonical bytes come in the order that ORDER BY asks for.
//!
//! The canonical encoding orders ascending with NULL last. For any other order a column becomes bytea: its canonical
//! bytes, complemented for DESC, NULL as the one byte that sorts where it should.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder};

use crate::base::Result;
use crate::types::{RowCodec, SqlType};

/// The type of a column ordered so.
pub(super) fn ordered_type(ty: &SqlType, descending: bool, nulls_first: bool) -> SqlType {
    if descending || nulls_first { SqlType::Bytea } else { ty.clone() }
}

/// The column to be kept for `column` ordered so; never NULL if it is bytea.
pub(super) fn ordered(column: &ArrayRef, ty: &SqlType, descending: bool, nulls_first: bool) -> Result<ArrayRef> {
    if !descending && !nulls_first {
        return Ok(Arc::clone(column));
    }
    let rows = RowCodec::new(vec![ty.clone()]).encode(std::slice::from_ref(column))?;
    let mut keys = BinaryBuilder::with_capacity(rows.len(), rows.bytes());
    let mut key = Vec::new();
    for (row, bytes) in rows.iter().enumerate() {
        key.clear();
        if column.is_null(row) {
            key.push(if nulls_first { 0x00 } else { 0xff });
        } else if descending {
            key.extend(bytes.iter().map(|byte| !byte));
        } else {
            key.extend_from_slice(bytes);
        }
        keys.append_value(&key);
    }
    Ok(Arc::new(keys.finish()))
}
