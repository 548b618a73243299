//! Values that are kept as bytes whose order is theirs: text, bytes, UUIDs, documents; arrays and rows as they are encoded.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::*;

use crate::base::{Error, Result};
use crate::types::{RowCodec, SqlType};

/// `column` in a form of which [`bytes_at`] gives every row's bytes.
pub(super) fn flat(column: &ArrayRef) -> Cow<'_, ArrayRef> {
    if !column.data_type().is_nested() {
        return Cow::Borrowed(column);
    }
    let rows = SqlType::from_arrow(column.data_type())
        .and_then(|ty| RowCodec::new(vec![ty]).encode(std::slice::from_ref(column)))
        .expect("a column of nested SQL type is encoded by the codec of that type");
    let rows = BinaryArray::from_iter_values(rows.iter());
    let (ends, bytes, _) = rows.into_parts();
    let flat: ArrayRef = Arc::new(BinaryArray::new(ends, bytes, column.nulls().cloned()));
    Cow::Owned(flat)
}

/// The bytes of row `row`, which is not NULL.
pub(super) fn bytes_at(column: &ArrayRef, row: usize) -> &[u8] {
    if let Some(strings) = column.as_string_opt::<i32>() {
        strings.value(row).as_bytes()
    } else if let Some(documents) = column.as_binary_opt::<i64>() {
        documents.value(row)
    } else if let Some(fixed) = column.as_fixed_size_binary_opt() {
        fixed.value(row)
    } else {
        column.as_binary::<i32>().value(row)
    }
}

/// The column of type `ty` whose rows have these bytes.
pub(super) fn column<'a>(rows: impl Iterator<Item = Option<&'a [u8]>> + Clone, ty: &SqlType) -> Result<ArrayRef> {
    let wrong = |_| Error::corrupt(format!("bytes in an accumulator are no {ty}"));
    Ok(match ty {
        SqlType::Bytea => Arc::new(BinaryArray::from_iter(rows)),
        SqlType::Jsonb => Arc::new(LargeBinaryArray::from_iter(rows)),
        SqlType::Uuid => Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows, 16).map_err(wrong)?),
        SqlType::Array(_) | SqlType::Row(_) => {
            let null = RowCodec::new(vec![ty.clone()]).encode(&[new_null_array(&ty.arrow(), 1)])?;
            let rows: Vec<&[u8]> = rows.map(|row| row.unwrap_or_else(|| null.row(0))).collect();
            let mut columns = RowCodec::new(vec![ty.clone()]).decode(rows)?;
            columns.pop().ok_or_else(|| Error::internal("a codec of one type gave no column"))?
        }
        _ => Arc::new(StringArray::try_from_binary(BinaryArray::from_iter(rows)).map_err(wrong)?),
    })
}
