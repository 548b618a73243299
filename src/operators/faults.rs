//! Faulty rows as data: a reason and the row as JSON text, on port 2, with the weight the row had.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::json::writer::{LineDelimited, WriterBuilder};

use crate::base::{Error, Result};
use crate::types::{Column, DeltaBatch, Schema, SqlType};

/// The schema of port 2 of every operator.
///
/// | column | type | what |
/// |---|---|---|
/// | `reason` | varchar | why no value came out |
/// | `row` | varchar | the row it came from, as a JSON object; hidden columns (`__…`) are left out |
pub fn fault_schema() -> Schema {
    Schema::new(vec![Column::new("reason", SqlType::Varchar), Column::new("row", SqlType::Varchar)])
}

/// The fault rows for `rows[i]` (of `batch`) with `reasons[i]` and `weights[i]`.
pub(super) fn fault_batch(rows: &RecordBatch, reasons: Vec<String>, weights: Vec<i64>) -> Result<DeltaBatch> {
    let texts = json_rows(rows)?;
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(reasons)), Arc::new(StringArray::from(texts))];
    DeltaBatch::new(RecordBatch::try_new(fault_schema().arrow(), columns)?, weights)
}

/// Each row as the text of a JSON object. The text is a function of the row alone, so that a retraction finds it again.
pub(super) fn json_rows(rows: &RecordBatch) -> Result<Vec<String>> {
    let schema = rows.schema();
    let shown: Vec<usize> = (0..schema.fields().len()).filter(|&i| !schema.field(i).name().starts_with("__")).collect();
    let shown = rows.project(&shown)?;
    if shown.num_columns() == 0 {
        return Ok(vec!["{}".to_owned(); rows.num_rows()]);
    }
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut bytes);
    writer.write(&shown)?;
    writer.finish()?;
    drop(writer);
    let text = String::from_utf8(bytes).map_err(|error| {
        Error::internal("row written as JSON is not UTF-8").caused_by(error)
    })?;
    // JSON escapes line ends inside strings, so each line is one row.
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.len() == rows.num_rows() {
        return Ok(lines);
    }
    Err(Error::internal(format!("{} rows were written as {} lines of JSON", rows.num_rows(), lines.len())))
}
