//! Delta batches as Arrow IPC streams: how rows of DML lie in the epoch log, and changes that wait on disk.
//!
//! The stream holds the rows' columns and, last, `__weight bigint not null`; that column is absent when every weight is 1.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::base::{Error, Result};
use crate::types::{DeltaBatch, Weights};

const WEIGHT: &str = "__weight";

/// The rows and weights of `batch` as one Arrow IPC stream.
pub fn encode_rows(batch: &DeltaBatch) -> Result<Vec<u8>> {
    let rows = match &batch.weights {
        Weights::Ones => batch.rows.clone(),
        Weights::Each(_) => with_weights(batch)?,
    };
    let mut writer = StreamWriter::try_new(Vec::with_capacity(1024), &rows.schema())?;
    writer.write(&rows)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

fn with_weights(batch: &DeltaBatch) -> Result<RecordBatch> {
    let mut fields: Vec<_> = batch.rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
    let mut columns = batch.rows.columns().to_vec();
    columns.push(Arc::new(batch.weight_array()) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?)
}

/// The batch that [`encode_rows`] wrote; its columns must have the types of `schema`, whose names it takes.
/// Fails with `Corrupt` when they have not.
pub fn decode_rows(bytes: &[u8], schema: &SchemaRef) -> Result<DeltaBatch> {
    let broken = |what: String| Error::corrupt(format!("stored rows are not readable: {what}"));
    let mut reader = StreamReader::try_new(bytes, None).map_err(|error| broken(error.to_string()))?;
    let Some(batch) = reader.next() else {
        return Ok(DeltaBatch::empty(Arc::clone(schema)));
    };
    let batch = batch.map_err(|error| broken(error.to_string()))?;
    let width = schema.fields().len();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns: Vec<ArrayRef> = batch.columns().iter().take(width).map(Arc::clone).collect();
    let weights = match batch.columns().get(width) {
        None => Weights::Ones,
        Some(column) => match column.as_primitive_opt::<Int64Type>() {
            Some(weights) if weights.null_count() == 0 => Weights::Each(weights.values().clone()),
            Some(_) | None => return Err(broken(format!("column {width} does not hold weights"))),
        },
    };
    let rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| broken(error.to_string()))?;
    Ok(DeltaBatch { rows, weights })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::types::{Column, Schema, SqlType};

    #[test]
    fn round_trip_with_and_without_weights() {
        let schema = Schema::new(vec![Column::new("a", SqlType::BigInt), Column::new("b", SqlType::Varchar)]).arrow();
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![None, Some("ü"), Some("")]));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![a, b]).unwrap();
        for batch in [
            DeltaBatch::inserts(rows.clone()),
            DeltaBatch::new(rows.clone(), vec![1, -1, 2]).unwrap(),
            DeltaBatch::new(rows, vec![1, -1, 2]).unwrap().slice(1, 2),
            DeltaBatch::empty(Arc::clone(&schema)),
        ] {
            let back = decode_rows(&encode_rows(&batch).unwrap(), &schema).unwrap();
            assert_eq!(back.rows, batch.rows);
            assert_eq!(back.weights, batch.weights);
        }
        let other = Schema::new(vec![Column::new("a", SqlType::Varchar), Column::new("b", SqlType::Varchar)]).arrow();
        let bytes = encode_rows(&DeltaBatch::empty(Arc::clone(&schema))).unwrap();
        assert!(decode_rows(&bytes, &other).is_err());
        assert!(decode_rows(&bytes[..bytes.len() / 2], &schema).is_err());
    }
}
