//! Constants of the expression IR: a SQL type and a plain value that survives JSON exactly.

use std::fmt;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::IntervalMonthDayNano;
use serde::{Deserialize, Serialize};

use super::text;
use crate::base::{Error, Result};
use crate::types::SqlType;
use crate::types::schema::{element_field, row_fields};
use crate::types::text::read_column;

/// A constant: its type and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Literal {
    /// The type; the value fits it.
    pub ty: SqlType,
    /// The value.
    pub value: Value,
}

/// The value of a [`Literal`]. Floats and decimals are kept as text in JSON, since JSON numbers are not exact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// NULL of any type.
    Null,
    /// boolean.
    Boolean(bool),
    /// smallint, int and bigint; days of a date; microseconds of time, timestamp and timestamptz.
    Integer(i64),
    /// real (widened) and double precision, as IEEE 754 bits of the double.
    Float(FloatBits),
    /// The unscaled digits of a numeric.
    Decimal(Digits),
    /// varchar; uuid and jsonb in their text form.
    Text(String),
    /// bytea.
    Bytes(Vec<u8>),
    /// interval.
    Interval {
        /// Months.
        months: i32,
        /// Days.
        days: i32,
        /// Nanoseconds.
        nanoseconds: i64,
    },
    /// The elements of an array, or the fields of a row.
    Items(Vec<Value>),
}

/// A double by its bits, so that it can be compared and hashed; JSON shows its shortest decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FloatBits(pub u64);

impl From<f64> for FloatBits {
    fn from(value: f64) -> Self {
        FloatBits(value.to_bits())
    }
}

impl From<FloatBits> for f64 {
    fn from(bits: FloatBits) -> Self {
        f64::from_bits(bits.0)
    }
}

impl From<FloatBits> for String {
    fn from(bits: FloatBits) -> Self {
        format!("{:?}", f64::from(bits))
    }
}

impl TryFrom<String> for FloatBits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<f64>().map(FloatBits::from).map_err(|error| format!("\"{text}\" is not a float: {error}"))
    }
}

/// The unscaled digits of a numeric; JSON shows them as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digits(pub i128);

impl From<Digits> for String {
    fn from(digits: Digits) -> Self {
        digits.0.to_string()
    }
}

impl TryFrom<String> for Digits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<i128>().map(Digits).map_err(|error| format!("\"{text}\" is not a whole number: {error}"))
    }
}

impl Literal {
    /// NULL of type `ty`.
    pub fn null(ty: SqlType) -> Self {
        Literal { ty, value: Value::Null }
    }

    /// A bigint.
    pub fn bigint(value: i64) -> Self {
        Literal { ty: SqlType::BigInt, value: Value::Integer(value) }
    }

    /// A double precision.
    pub fn double(value: f64) -> Self {
        Literal { ty: SqlType::Double, value: Value::Float(value.into()) }
    }

    /// A varchar.
    pub fn text(value: impl Into<String>) -> Self {
        Literal { ty: SqlType::Varchar, value: Value::Text(value.into()) }
    }

    /// A boolean.
    pub fn boolean(value: bool) -> Self {
        Literal { ty: SqlType::Boolean, value: Value::Boolean(value) }
    }

    /// An interval.
    pub fn interval(months: i32, days: i32, nanoseconds: i64) -> Self {
        Literal { ty: SqlType::Interval, value: Value::Interval { months, days, nanoseconds } }
    }

    /// An array of one row that holds the value. Fails when the value is not of the type.
    pub fn to_array(&self) -> Result<ArrayRef> {
        let misfit = || Error::internal(format!("literal {:?} does not fit type {}", self.value, self.ty));
        if self.value == Value::Null {
            return Ok(new_null_array(&self.ty.arrow(), 1));
        }
        Ok(match (&self.ty, &self.value) {
            (SqlType::Boolean, Value::Boolean(v)) => Arc::new(BooleanArray::from(vec![*v])),
            (SqlType::SmallInt, Value::Integer(v)) => {
                Arc::new(Int16Array::from(vec![i16::try_from(*v).map_err(|_| misfit())?]))
            }
            (SqlType::Int, Value::Integer(v)) => {
                Arc::new(Int32Array::from(vec![i32::try_from(*v).map_err(|_| misfit())?]))
            }
            (SqlType::Date, Value::Integer(v)) => {
                Arc::new(Date32Array::from(vec![i32::try_from(*v).map_err(|_| misfit())?]))
            }
            (SqlType::BigInt, Value::Integer(v)) => Arc::new(Int64Array::from(vec![*v])),
            (SqlType::Time, Value::Integer(v)) => Arc::new(Time64MicrosecondArray::from(vec![*v])),
            (SqlType::Timestamp | SqlType::TimestampTz, Value::Integer(v)) => {
                Arc::new(TimestampMicrosecondArray::from(vec![*v]).with_data_type(self.ty.arrow()))
            }
            (SqlType::Real, Value::Float(v)) => Arc::new(Float32Array::from(vec![f64::from(*v) as f32])),
            (SqlType::Double, Value::Float(v)) => Arc::new(Float64Array::from(vec![f64::from(*v)])),
            (SqlType::Decimal { .. }, Value::Decimal(v)) => {
                Arc::new(Decimal128Array::from(vec![v.0]).with_data_type(self.ty.arrow()))
            }
            (SqlType::Varchar, Value::Text(v)) => Arc::new(StringArray::from(vec![v.as_str()])),
            (SqlType::Bytea, Value::Bytes(v)) => Arc::new(BinaryArray::from(vec![v.as_slice()])),
            (SqlType::Interval, Value::Interval { months, days, nanoseconds }) => {
                Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(*months, *days, *nanoseconds)]))
            }
            (SqlType::Uuid | SqlType::Jsonb, Value::Text(v)) => {
                let (values, misread) = read_column(&StringArray::from(vec![v.as_str()]), &self.ty)?;
                if !misread.is_empty() {
                    return Err(misfit());
                }
                values
            }
            (SqlType::Array(element), Value::Items(items)) => {
                let part = |value: &Value| Literal { ty: (**element).clone(), value: value.clone() }.to_array();
                let parts = items.iter().map(part).collect::<Result<Vec<_>>>()?;
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                let values =
                    if parts.is_empty() { new_empty_array(&element.arrow()) } else { arrow::compute::concat(&parts)? };
                let ends = OffsetBuffer::from_lengths([items.len()]);
                Arc::new(ListArray::try_new(element_field(element), ends, values, None)?)
            }
            (SqlType::Row(fields), Value::Items(items)) if fields.len() == items.len() => {
                let part = |((_, ty), value): (&(String, SqlType), &Value)| {
                    Literal { ty: ty.clone(), value: value.clone() }.to_array()
                };
                let columns = fields.iter().zip(items).map(part).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(row_fields(fields), columns, None, 1)?)
            }
            _ => return Err(misfit()),
        })
    }

    /// The value in row `row` of `array`, whose Arrow type is one of [`SqlType::arrow`].
    pub fn from_array(array: &dyn Array, row: usize) -> Result<Literal> {
        use arrow::datatypes::*;
        let ty = SqlType::from_arrow(array.data_type())?;
        if *array.data_type() != ty.arrow() {
            return Err(Error::internal(format!("array of {} is not one of the SQL types", array.data_type())));
        }
        if array.is_null(row) {
            return Ok(Literal::null(ty));
        }
        let value = match &ty {
            SqlType::Boolean => Value::Boolean(array.as_boolean().value(row)),
            SqlType::SmallInt => Value::Integer(array.as_primitive::<Int16Type>().value(row).into()),
            SqlType::Int => Value::Integer(array.as_primitive::<Int32Type>().value(row).into()),
            SqlType::Date => Value::Integer(array.as_primitive::<Date32Type>().value(row).into()),
            SqlType::BigInt => Value::Integer(array.as_primitive::<Int64Type>().value(row)),
            SqlType::Time => Value::Integer(array.as_primitive::<Time64MicrosecondType>().value(row)),
            SqlType::Timestamp | SqlType::TimestampTz => {
                Value::Integer(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            SqlType::Real => Value::Float(f64::from(array.as_primitive::<Float32Type>().value(row)).into()),
            SqlType::Double => Value::Float(array.as_primitive::<Float64Type>().value(row).into()),
            SqlType::Decimal { .. } => Value::Decimal(Digits(array.as_primitive::<Decimal128Type>().value(row))),
            SqlType::Varchar => Value::Text(array.as_string::<i32>().value(row).to_owned()),
            SqlType::Bytea => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
            SqlType::Interval => {
                let v = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                Value::Interval { months: v.months, days: v.days, nanoseconds: v.nanoseconds }
            }
            SqlType::Uuid | SqlType::Jsonb => {
                let mut shown = String::new();
                text::write_value(array, row, &mut shown).map_err(|_| Error::internal("literal without text"))?;
                Value::Text(shown)
            }
            SqlType::Array(_) => {
                let values = array.as_list::<i32>().value(row);
                let value = |i| Ok(Literal::from_array(values.as_ref(), i)?.value);
                Value::Items((0..values.len()).map(value).collect::<Result<_>>()?)
            }
            SqlType::Row(_) => {
                let fields = array.as_struct().columns().iter();
                let value = |field: &ArrayRef| Ok(Literal::from_array(field.as_ref(), row)?.value);
                Value::Items(fields.map(value).collect::<Result<_>>()?)
            }
        };
        Ok(Literal { ty, value })
    }
}

impl fmt::Display for Literal {
    /// As SQL text that PostgreSQL would read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("NULL"),
            Value::Boolean(v) => write!(f, "{v}"),
            Value::Text(_) | Value::Items(_) => {
                let mut shown = String::new();
                let array = self.to_array().map_err(|_| fmt::Error)?;
                text::write_value(array.as_ref(), 0, &mut shown)?;
                write!(f, "'{}'", shown.replace('\'', "''"))?;
                if self.ty == SqlType::Varchar { Ok(()) } else { write!(f, "::{}", self.ty) }
            }
            Value::Integer(v) if self.ty.is_numeric() => write!(f, "{v}"),
            Value::Decimal(_) => write_array(self, f),
            Value::Integer(_) | Value::Float(_) | Value::Bytes(_) | Value::Interval { .. } => {
                let word = match self.ty {
                    SqlType::Date => "DATE ",
                    SqlType::Time => "TIME ",
                    SqlType::Timestamp => "TIMESTAMP ",
                    SqlType::TimestampTz => "TIMESTAMPTZ ",
                    SqlType::Interval => "INTERVAL ",
                    SqlType::Bytea => "BYTEA ",
                    _ => return write_array(self, f),
                };
                write!(f, "{word}'")?;
                write_array(self, f)?;
                f.write_str("'")
            }
        }
    }
}

fn write_array(literal: &Literal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let array = literal.to_array().map_err(|_| fmt::Error)?;
    text::write_value(array.as_ref(), 0, f)
}
