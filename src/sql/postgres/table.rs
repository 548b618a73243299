//! Rows of the catalog under construction: named values, laid out as the definition's columns want them.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListBuilder, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray, new_null_array,
};
use datafusion::arrow::array::{Int16Builder, Int32Builder, Int64Builder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatchOptions;

use crate::base::{Error, Result};
use crate::catalog::postgres::PgTable;
use crate::catalog::schemas;
use crate::types::SqlType;

/// A value of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i64>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Int(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_string())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<Vec<String>> for Value {
    fn from(value: Vec<String>) -> Value {
        Value::Texts(value)
    }
}

impl From<Vec<i64>> for Value {
    fn from(value: Vec<i64>) -> Value {
        Value::Ints(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// The rows of one relation.
pub(super) struct Table {
    definition: &'static PgTable,
    rows: Vec<Vec<Value>>,
    /// What a column holds of which a row says nothing.
    unsaid: Vec<Value>,
    /// A column that was named and does not exist.
    stray: Option<String>,
}

impl Table {
    pub fn new(definition: &'static PgTable) -> Table {
        let stored = definition.schema == schemas::POSTGRES;
        let unsaid = definition.columns.iter().map(|(_, ty)| match *ty {
            "bool" if stored => Value::Bool(false),
            "oid" | "regproc" | "xid" | "int2" | "int4" | "int8" if stored => Value::Int(0),
            "float4" | "float8" if stored => Value::Float(0.0),
            _ => Value::Null,
        });
        Table { definition, rows: Vec::new(), unsaid: unsaid.collect(), stray: None }
    }

    /// The relation's name.
    pub fn name(&self) -> &'static str {
        self.definition.name
    }

    /// Adds a row. What is not named is 0, false or NULL.
    pub fn row<const N: usize>(&mut self, values: [(&str, Value); N]) {
        let mut row = self.unsaid.clone();
        for (name, value) in values {
            match self.definition.columns.iter().position(|(column, _)| *column == name) {
                Some(place) => row[place] = value,
                None => self.stray = Some(name.to_string()),
            }
        }
        self.rows.push(row);
    }

    /// The rows as a batch.
    pub fn finish(self) -> Result<RecordBatch> {
        if let Some(stray) = self.stray {
            return Err(Error::internal(format!("{} has no column {stray}", self.definition.name)));
        }
        let columns = self.definition.relation.columns.columns.iter().enumerate();
        let schema = SchemaRef::clone(&self.definition.arrow);
        let columns = columns.map(|(place, column)| {
            let values = array(&column.ty, self.rows.iter().map(|row| &row[place]))?;
            let wanted = schema.field(place).data_type();
            Ok(if values.data_type() == wanted { values } else { cast(&values, wanted)? })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

/// `values` as an array of `ty`; a value of another kind is NULL.
pub(super) fn array<'a>(ty: &SqlType, values: impl ExactSizeIterator<Item = &'a Value>) -> Result<ArrayRef> {
    let int = |value: &Value| match value {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    let float = |value: &Value| match value {
        Value::Float(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        _ => None,
    };
    let text = |value: &'a Value| match value {
        Value::Text(value) => Some(value.as_str()),
        _ => None,
    };
    Ok(match ty {
        SqlType::Boolean => Arc::new(BooleanArray::from_iter(values.map(|value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }))),
        SqlType::SmallInt => {
            Arc::new(values.map(|v| int(v).and_then(|v| i16::try_from(v).ok())).collect::<Int16Array>())
        }
        SqlType::Int => Arc::new(values.map(|v| int(v).and_then(|v| i32::try_from(v).ok())).collect::<Int32Array>()),
        SqlType::BigInt => Arc::new(values.map(int).collect::<Int64Array>()),
        SqlType::Real => Arc::new(values.map(|v| float(v).map(|v| v as f32)).collect::<Float32Array>()),
        SqlType::Double => Arc::new(values.map(float).collect::<Float64Array>()),
        SqlType::Varchar => Arc::new(values.map(text).collect::<StringArray>()),
        SqlType::TimestampTz => Arc::new(values.map(int).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        SqlType::Array(element) => list(element, values)?,
        other => new_null_array(&other.arrow(), values.len()),
    })
}

fn list<'a>(element: &SqlType, values: impl ExactSizeIterator<Item = &'a Value>) -> Result<ArrayRef> {
    match element {
        SqlType::SmallInt => {
            let mut list = ListBuilder::new(Int16Builder::new());
            for value in values {
                if let Value::Ints(ints) = value {
                    ints.iter().for_each(|&int| list.values().append_value(int as i16));
                }
                list.append(matches!(value, Value::Ints(_)));
            }
            Ok(Arc::new(list.finish()))
        }
        SqlType::Int => {
            let mut list = ListBuilder::new(Int32Builder::new());
            for value in values {
                if let Value::Ints(ints) = value {
                    ints.iter().for_each(|&int| list.values().append_value(int as i32));
                }
                list.append(matches!(value, Value::Ints(_)));
            }
            Ok(Arc::new(list.finish()))
        }
        SqlType::BigInt => {
            let mut list = ListBuilder::new(Int64Builder::new());
            for value in values {
                if let Value::Ints(ints) = value {
                    ints.iter().for_each(|&int| list.values().append_value(int));
                }
                list.append(matches!(value, Value::Ints(_)));
            }
            Ok(Arc::new(list.finish()))
        }
        SqlType::Varchar => {
            let mut list = ListBuilder::new(StringBuilder::new());
            for value in values {
                if let Value::Texts(texts) = value {
                    texts.iter().for_each(|text| list.values().append_value(text));
                }
                list.append(matches!(value, Value::Texts(_)));
            }
            Ok(Arc::new(list.finish()))
        }
        other => Ok(new_null_array(&SqlType::Array(Box::new(other.clone())).arrow(), values.len())),
    }
}
