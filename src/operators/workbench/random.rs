//! Random rows from small domains, so that keys meet, values repeat and NULLs are met everywhere.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, IntervalMonthDayNano};

use crate::base::random::Random;
use crate::types::text::read_column;
use crate::types::{Schema, SqlType};

/// Makes rows of a schema.
#[derive(Clone, Debug)]
pub(in crate::operators) struct RandomRows {
    pub schema: Schema,
    /// Columns (of number types) that now and then hold the largest and smallest value of their type.
    pub extremes: bool,
}

impl RandomRows {
    pub fn new(schema: Schema) -> RandomRows {
        RandomRows { schema, extremes: false }
    }

    pub fn rows(&self, random: &mut Random, rows: usize) -> RecordBatch {
        let columns = self.schema.columns.iter().map(|column| self.column(&column.ty, column.nullable, random, rows));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.arrow(), columns.collect(), &options).unwrap()
    }

    fn column(&self, ty: &SqlType, nullable: bool, random: &mut Random, rows: usize) -> ArrayRef {
        let extremes = self.extremes;
        let mut small = |low: i64, high: i64, min: i64, max: i64| -> Vec<Option<i64>> {
            (0..rows)
                .map(|_| match random.below(24) {
                    0..4 if nullable => None,
                    4 if extremes => Some(min),
                    5 | 6 if extremes => Some(max),
                    _ => Some(random.between(low, high)),
                })
                .collect()
        };
        match ty {
            SqlType::Boolean => {
                Arc::new(small(0, 1, 0, 1).into_iter().map(|v| v.map(|v| v == 1)).collect::<BooleanArray>())
            }
            SqlType::SmallInt => {
                let values = small(-3, 3, i64::from(i16::MIN), i64::from(i16::MAX));
                Arc::new(values.into_iter().map(|v| v.map(|v| v as i16)).collect::<Int16Array>())
            }
            SqlType::Int => {
                let values = small(-3, 3, i64::from(i32::MIN), i64::from(i32::MAX));
                Arc::new(values.into_iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>())
            }
            SqlType::BigInt => Arc::new(Int64Array::from(small(-3, 3, i64::MIN, i64::MAX))),
            SqlType::Real => {
                let values = small(-3, 3, -1000, 1000).into_iter().map(|v| v.map(|v| v as f32 / 2.0));
                Arc::new(values.collect::<Float32Array>())
            }
            SqlType::Double => {
                const ODD: [f64; 6] = [0.1, 1e300, -1e300, 1e-300, -0.0, 3.0];
                let values = small(-6, 5, -7, 6);
                Arc::new(values.into_iter().map(|v| v.map(|v| odd_float(&ODD, v))).collect::<Float64Array>())
            }
            SqlType::Decimal { .. } => {
                // The extremes leave no room for a second one in 38 digits.
                let huge = 6 * 10_i128.pow(37);
                let wide = |v: i64| if v.abs() == 1_000_000 { huge * i128::from(v.signum()) } else { v.into() };
                let values = small(-30, 30, -1_000_000, 1_000_000).into_iter().map(|v| v.map(wide));
                Arc::new(values.collect::<Decimal128Array>().with_data_type(ty.arrow()))
            }
            SqlType::Varchar => {
                const WORDS: [&str; 5] = ["", "a", "b", "a\0", "äöü"];
                let values = small(0, 4, 0, 4);
                Arc::new(values.into_iter().map(|v| v.map(|v| WORDS[v as usize])).collect::<StringArray>())
            }
            SqlType::Date => {
                let values = small(-3, 3, -3000, 3000).into_iter().map(|v| v.map(|v| v as i32));
                Arc::new(values.collect::<Date32Array>())
            }
            SqlType::Time => Arc::new(Time64MicrosecondArray::from(small(0, 5, 0, 5))),
            SqlType::Timestamp | SqlType::TimestampTz => {
                Arc::new(TimestampMicrosecondArray::from(small(-20, 40, -20, 40)).with_data_type(ty.arrow()))
            }
            SqlType::Interval => {
                let values =
                    small(0, 3, 0, 3).into_iter().map(|v| v.map(|v| IntervalMonthDayNano::new(0, v as i32, 0)));
                Arc::new(values.collect::<IntervalMonthDayNanoArray>())
            }
            SqlType::Bytea | SqlType::Uuid | SqlType::Jsonb => of_bytes(ty, small(0, 3, 0, 4)),
            SqlType::Array(_) | SqlType::Row(_) => {
                let lengths = small(0, 2, 0, 3);
                self.nested(ty, &lengths, random)
            }
        }
    }

    /// Arrays of these lengths, or rows where there is one; NULL where there is none.
    fn nested(&self, ty: &SqlType, lengths: &[Option<i64>], random: &mut Random) -> ArrayRef {
        let valid: Vec<bool> = lengths.iter().map(Option::is_some).collect();
        match ty {
            SqlType::Array(element) => {
                let ends = OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0) as usize));
                let count = ends.last().map_or(0, |end| *end as usize);
                let values = self.column(element, true, random, count);
                let field = Arc::new(Field::new_list_field(element.arrow(), true));
                Arc::new(ListArray::new(field, ends, values, Some(valid.into())))
            }
            SqlType::Row(fields) => {
                let names = fields.iter().map(|(name, ty)| Field::new(name, ty.arrow(), true)).collect();
                let columns = fields.iter().map(|(_, ty)| self.column(ty, true, random, lengths.len())).collect();
                Arc::new(StructArray::new(names, columns, Some(valid.into())))
            }
            other => panic!("{other} holds no other values"),
        }
    }
}

/// Values that bytes stand for.
fn of_bytes(ty: &SqlType, values: Vec<Option<i64>>) -> ArrayRef {
    const TEXTS: [&str; 5] = ["null", "{}", "[1, \"a\"]", "{\"a\": 1.50}", "{\"a\": {\"b\": [null]}}"];
    let text = |v: i64| match ty {
        SqlType::Jsonb => TEXTS[v as usize].to_owned(),
        SqlType::Bytea => format!("\\x{v:04x}"),
        _ => format!("{v:032x}"),
    };
    let texts: StringArray = values.into_iter().map(|v| v.map(text)).collect();
    read_column(&texts, ty).unwrap().0
}

fn odd_float(odd: &[f64], value: i64) -> f64 {
    if value >= 0 { odd[value as usize % odd.len()] } else { value as f64 }
}
