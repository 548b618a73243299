//! Faulty rows as data: a reason and the row as JSON text, on port 2, with the weight the row had.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};

use crate::base::{Error, Result};
use crate::functions::write_value;
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

/// Each row as the text of a JSON object: numbers and booleans bare, everything else as PostgreSQL writes it, in
/// quotes. The text is a function of the row's canonical bytes alone (-0 is 0), so that a retraction finds it again.
pub(super) fn json_rows(rows: &RecordBatch) -> Result<Vec<String>> {
    let schema = rows.schema();
    let mut texts = vec!["{".to_owned(); rows.num_rows()];
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if field.name().starts_with("__") {
            continue;
        }
        let name = serde_json::Value::from(field.name().as_str()).to_string();
        for (row, text) in texts.iter_mut().enumerate() {
            text.push_str(if text.len() > 1 { "," } else { "" });
            text.push_str(&name);
            text.push(':');
            append_json(column, row, text)?;
        }
    }
    texts.iter_mut().for_each(|text| text.push('}'));
    Ok(texts)
}

fn append_json(column: &ArrayRef, row: usize, text: &mut String) -> Result<()> {
    if column.is_null(row) {
        text.push_str("null");
    } else if let Some(values) = column.as_boolean_opt() {
        text.push_str(if values.value(row) { "true" } else { "false" });
    } else {
        let mut value = String::new();
        write_value(column.as_ref(), row, &mut value)
            .map_err(|error| Error::internal("a value of a faulty row has no text").caused_by(error))?;
        // Also infinities and NaN are words and want quotes; so does -0, which is 0.
        match value.as_str() {
            "-0" => text.push('0'),
            number if column.data_type().is_numeric() && !number.ends_with(char::is_alphabetic) => {
                text.push_str(number)
            }
            other => text.push_str(&serde_json::Value::from(other).to_string()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float64Array, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

    use super::*;

    #[test]
    fn rows_are_json_of_their_values() {
        let field = |name: &str, ty: DataType| Field::new(name, ty, true);
        let fields = vec![
            field("a\"b", DataType::Int64),
            field("__hidden", DataType::Int64),
            field("f", DataType::Float64),
            field("ok", DataType::Boolean),
            field("s", DataType::Utf8),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(-7), None, None])),
            Arc::new(Int64Array::from(vec![1, 2, 3])),
            Arc::new(Float64Array::from(vec![-0.0, f64::NAN, f64::NEG_INFINITY])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            Arc::new(StringArray::from(vec![Some("a\n\"b\""), Some(""), None])),
        ];
        let rows = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap();
        assert_eq!(
            json_rows(&rows).unwrap(),
            [
                r#"{"a\"b":-7,"f":0,"ok":true,"s":"a\n\"b\""}"#,
                r#"{"a\"b":null,"f":"NaN","ok":false,"s":""}"#,
                r#"{"a\"b":null,"f":"-Infinity","ok":null,"s":null}"#,
            ]
        );
        for text in json_rows(&rows).unwrap() {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        assert_eq!(json_rows(&rows.project(&[1]).unwrap()).unwrap(), ["{}", "{}", "{}"]);
    }
}
