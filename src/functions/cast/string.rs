//! Casts to and from text.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

use crate::base::{Error, Result};
use crate::functions::fault::{Fault, Reason, merge};
use crate::functions::kernels::Col;
use crate::functions::parse;
use crate::functions::text::write_value;
use crate::types::SqlType;

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
    let arrow = to.arrow();
    match to {
        SqlType::Boolean => booleans(column),
        SqlType::SmallInt => primitive::<Int16Type>(column, &arrow, |text| parse::integer(text, to)),
        SqlType::Int => primitive::<Int32Type>(column, &arrow, |text| parse::integer(text, to)),
        SqlType::BigInt => primitive::<Int64Type>(column, &arrow, |text| parse::integer(text, to)),
        SqlType::Real => primitive::<Float32Type>(column, &arrow, |text| parse::float(text, to)),
        SqlType::Double => primitive::<Float64Type>(column, &arrow, |text| parse::float(text, to)),
        SqlType::Decimal { precision, scale } => {
            primitive::<Decimal128Type>(column, &arrow, |text| parse::decimal(text, *precision, *scale))
        }
        SqlType::Varchar => Ok(column),
        SqlType::Bytea => bytes(column),
        SqlType::Date => primitive::<Date32Type>(column, &arrow, parse::date),
        SqlType::Time => primitive::<Time64MicrosecondType>(column, &arrow, parse::time),
        SqlType::Timestamp => primitive::<TimestampMicrosecondType>(column, &arrow, parse::timestamp),
        SqlType::TimestampTz => primitive::<TimestampMicrosecondType>(column, &arrow, parse::timestamp_tz),
        SqlType::Interval => primitive::<IntervalMonthDayNanoType>(column, &arrow, parse::interval),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    column: Col,
    to: &DataType,
    read: impl Fn(&str) -> Result<T::Native, Reason>,
) -> Result<Col> {
    let texts = column.values.as_string::<i32>();
    let mut values = Vec::with_capacity(texts.len());
    let mut faults = Vec::new();
    for row in 0..texts.len() {
        let value = if texts.is_null(row) { Ok(T::Native::default()) } else { read(texts.value(row)) };
        values.push(value.unwrap_or_else(|reason| {
            faults.push(Fault { row: row as u32, reason });
            T::Native::default()
        }));
    }
    let array = PrimitiveArray::<T>::new(values.into(), texts.nulls().cloned()).with_data_type(to.clone());
    Ok(Col { values: Arc::new(array), scalar: column.scalar, faults: merge(column.faults, faults) })
}

fn booleans(column: Col) -> Result<Col> {
    let texts = column.values.as_string::<i32>();
    let mut values = BooleanBuilder::with_capacity(texts.len());
    let mut faults = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        match text.map(parse::boolean) {
            Some(Ok(value)) => values.append_value(value),
            Some(Err(reason)) => {
                faults.push(Fault { row: row as u32, reason });
                values.append_null();
            }
            None => values.append_null(),
        }
    }
    Ok(Col { values: Arc::new(values.finish()), scalar: column.scalar, faults: merge(column.faults, faults) })
}

fn bytes(column: Col) -> Result<Col> {
    let texts = column.values.as_string::<i32>();
    let mut values = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
    let mut faults = Vec::new();
    let mut buffer = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        match text.map(|text| parse::bytea(text, &mut buffer)) {
            Some(Ok(())) => values.append_value(&buffer),
            Some(Err(reason)) => {
                faults.push(Fault { row: row as u32, reason });
                values.append_null();
            }
            None => values.append_null(),
        }
    }
    Ok(Col { values: Arc::new(values.finish()), scalar: column.scalar, faults: merge(column.faults, faults) })
}
