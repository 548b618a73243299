//! One column of made-up rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray,
    StringBuilder, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{CastOptions, cast, cast_with_options, take};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};

use super::FieldOptions;
use crate::base::random::Random;
use crate::base::settings::parse_duration;
use crate::base::{Error, Result, sqlstate};
use crate::types::text::read_column;
use crate::types::{Column, SqlType};

/// The longest made-up text or bytes.
const LENGTH_MAX: u64 = 65_536;
/// Odd numbers that set rows and columns apart in the seed (from the Weyl sequences of Steele and Vigna).
const ROW: u64 = 0xd134_2543_de82_ef95;
const COLUMN: u64 = 0x9fb2_1c65_1e98_df25;

/// How the values of a column are made.
pub(super) struct Field {
    ty: SqlType,
    made: Made,
    seed: u64,
    /// NULLs per hundred rows.
    nulls: u64,
}

enum Made {
    /// `start + number * step`, from the beginning again after `count` values. In the type's own units.
    Sequence {
        start: i64,
        step: i64,
        count: Option<u64>,
    },
    /// Between the two, in the type's own units.
    Number {
        min: i64,
        max: i64,
    },
    Fraction {
        min: f64,
        max: f64,
    },
    Boolean,
    /// Letters `a` to `z`, or any bytes.
    Text {
        length: u64,
    },
    Choice(ArrayRef),
}

impl Field {
    pub(super) fn new(place: usize, column: &Column, options: &FieldOptions) -> Result<Field> {
        let ty = column.ty.clone();
        let read = Reader { options, ty: &ty };
        let kind = options.get("kind").map_or("random", String::as_str).to_ascii_lowercase();
        let made = match kind.as_str() {
            "sequence" => read.sequence()?,
            "random" => read.random()?,
            _ => return Err(read.refuse("kind", "sequence or random")),
        };
        let nulls = read.number("nulls", 0, 100)?.unwrap_or(0);
        if nulls > 0 && !column.nullable {
            return Err(read.refuse("nulls", "0: the column is NOT NULL"));
        }
        let seed = read.number("seed", 0, u64::MAX)?.unwrap_or(0);
        Ok(Field { ty, made, seed: seed.wrapping_add((place as u64).wrapping_mul(COLUMN)), nulls })
    }

    /// About how many bytes a value takes.
    pub(super) fn bytes(&self) -> u64 {
        match &self.made {
            Made::Text { length } => length + 8,
            Made::Sequence { .. } | Made::Number { .. } | Made::Fraction { .. } | Made::Boolean | Made::Choice(_) => 16,
        }
    }

    /// The random numbers of one row.
    fn random(&self, row: u64) -> Random {
        Random::new(self.seed.wrapping_add(row.wrapping_mul(ROW)))
    }

    /// The values of rows `from .. to`.
    pub(super) fn values(&self, from: u64, to: u64) -> Result<ArrayRef> {
        let rows = from..to;
        let values: ArrayRef = match &self.made {
            Made::Sequence { start, step, count } => {
                let value = |row: u64| {
                    let number = count.map_or(row, |count| row % count);
                    i64::try_from(i128::from(*start) + i128::from(number) * i128::from(*step)).unwrap_or(*start)
                };
                self.units(rows.map(value))?
            }
            Made::Number { min, max } => self.units(rows.map(|row| self.random(row).between(*min, *max)))?,
            Made::Fraction { min, max } => {
                let values = rows.map(|row| min + (max - min) * self.random(row).fraction());
                cast(&Float64Array::from_iter_values(values), &self.ty.arrow())?
            }
            Made::Boolean => {
                Arc::new(BooleanArray::from_iter(rows.map(|row| Some(self.random(row).next_u64() >> 63 == 1))))
            }
            Made::Text { length } => self.letters(from, to, usize::try_from(*length).unwrap_or_default()),
            Made::Choice(choices) => {
                let picked = rows.map(|row| self.random(row).below(choices.len() as u64));
                take(choices, &UInt64Array::from_iter_values(picked), None)?
            }
        };
        if self.nulls == 0 {
            return Ok(values);
        }
        let valid = |row: u64| self.random(row ^ (1 << 63)).below(100) >= self.nulls;
        let valid = NullBuffer::new(BooleanBuffer::from_iter((from..to).map(valid)));
        let nulls = NullBuffer::union(values.nulls(), Some(&valid));
        Ok(arrow::array::make_array(values.to_data().into_builder().nulls(nulls).build()?))
    }

    /// Numbers in the type's own units as the type.
    fn units(&self, values: impl Iterator<Item = i64>) -> Result<ArrayRef> {
        if let SqlType::Decimal { precision, scale } = &self.ty {
            let digits = Decimal128Array::from_iter_values(values.map(i128::from));
            return Ok(Arc::new(digits.with_precision_and_scale(*precision, *scale)?));
        }
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        let numbers = if self.ty == SqlType::Date { cast(&numbers, &DataType::Int32)? } else { numbers };
        Ok(cast(&numbers, &self.ty.arrow())?)
    }

    fn letters(&self, from: u64, to: u64, length: usize) -> ArrayRef {
        let rows = usize::try_from(to - from).unwrap_or_default();
        let mut value = vec![0u8; length];
        if self.ty == SqlType::Bytea {
            let mut builder = BinaryBuilder::with_capacity(rows, rows.saturating_mul(length));
            for row in from..to {
                let mut random = self.random(row);
                value.iter_mut().for_each(|byte| *byte = random.next_u64() as u8);
                builder.append_value(&value);
            }
            return Arc::new(builder.finish());
        }
        let mut builder = StringBuilder::with_capacity(rows, rows.saturating_mul(length));
        for row in from..to {
            let mut random = self.random(row);
            value.iter_mut().for_each(|byte| *byte = b'a' + random.below(26) as u8);
            builder.append_value(std::str::from_utf8(&value).unwrap_or_default());
        }
        Arc::new(builder.finish())
    }
}

/// Reads the options of one column.
struct Reader<'a> {
    options: &'a FieldOptions,
    ty: &'a SqlType,
}

impl Reader<'_> {
    fn refuse(&self, key: &str, expected: &str) -> Error {
        let found = match self.options.get(key) {
            Some(text) => format!("option \"{key}\" of a column of type {} has no value '{text}'", self.ty),
            None => format!("option \"{key}\" is missing for a column of type {}", self.ty),
        };
        let error = Error::invalid(found).with_code(sqlstate::INVALID_PARAMETER_VALUE);
        error.with_hint(format!("It takes {expected}."))
    }

    fn number(&self, key: &str, min: u64, max: u64) -> Result<Option<u64>> {
        let Some(text) = self.options.get(key) else { return Ok(None) };
        let value = text.parse().ok().filter(|value| (min..=max).contains(value));
        value.map(Some).ok_or_else(|| self.refuse(key, &format!("a whole number from {min} to {max}")))
    }

    /// The option as a value of the column's type.
    fn typed(&self, key: &str) -> Result<Option<ArrayRef>> {
        let Some(text) = self.options.get(key) else { return Ok(None) };
        let expected = format!("a value of type {}", self.ty);
        parsed(vec![text.clone()], self.ty).map(Some).map_err(|_| self.refuse(key, &expected))
    }

    /// The option in the type's own units: whole numbers, unscaled digits, microseconds, days.
    fn units(&self, key: &str) -> Result<Option<i64>> {
        let Some(value) = self.typed(key)? else { return Ok(None) };
        let number = match self.ty {
            SqlType::Decimal { .. } => i64::try_from(value.as_primitive::<Decimal128Type>().value(0)).ok(),
            SqlType::Date => cast(&value, &DataType::Int32)?
                .as_primitive_opt::<arrow::datatypes::Int32Type>()
                .map(|days| i64::from(days.value(0))),
            _ => cast(&value, &DataType::Int64)?.as_primitive_opt::<Int64Type>().map(|numbers| numbers.value(0)),
        };
        number.map(Some).ok_or_else(|| self.refuse(key, "a smaller value"))
    }

    /// 2020-01-01, 0, or the like, and how far values reach from there unless the statement says.
    fn defaults(&self) -> (i64, i64, i64) {
        const DAY_US: i64 = 86_400_000_000;
        match self.ty {
            SqlType::Timestamp | SqlType::TimestampTz => (18_262 * DAY_US, 18_628 * DAY_US, 1_000_000),
            SqlType::Time => (0, DAY_US - 1, 1_000_000),
            SqlType::Date => (18_262, 18_628, 1),
            SqlType::Decimal { scale, .. } => {
                let one = 10i64.checked_pow(u32::try_from(*scale).unwrap_or(0)).unwrap_or(1);
                (0, one.saturating_mul(1000), one)
            }
            _ => (0, 1000, 1),
        }
    }

    fn sequence(&self) -> Result<Made> {
        let largest = match self.ty {
            SqlType::SmallInt => i64::from(i16::MAX),
            SqlType::Int | SqlType::Date => i64::from(i32::MAX),
            SqlType::BigInt => i64::MAX,
            SqlType::Timestamp | SqlType::TimestampTz => 250_000 * 365 * 86_400_000_000,
            SqlType::Time => 86_400_000_000 - 1,
            SqlType::Decimal { precision, .. } => {
                10i64.checked_pow(u32::from(*precision)).map_or(i64::MAX, |above| above - 1)
            }
            _ => return Err(self.refuse("kind", "random: a sequence counts numbers or times")),
        };
        let (start, _, step) = self.defaults();
        let start = self.units("start")?.unwrap_or(start);
        let step = match (self.options.get("step"), self.ty) {
            (None, _) => step,
            (Some(text), SqlType::Timestamp | SqlType::TimestampTz | SqlType::Time) => parse_duration(text, None)
                .ok()
                .and_then(|step| i64::try_from(step.as_micros()).ok())
                .ok_or_else(|| self.refuse("step", "a time such as '1 second'"))?,
            (Some(text), SqlType::Date) => text.parse().map_err(|_| self.refuse("step", "a number of days"))?,
            (Some(_), _) => self.units("step")?.unwrap_or(step),
        };
        if step <= 0 {
            return Err(self.refuse("step", "a step above 0"));
        }
        let end = self.units("end")?.unwrap_or(largest);
        if end < start {
            return Err(self.refuse("end", "a value not below \"start\""));
        }
        let count = (i128::from(end) - i128::from(start)) / i128::from(step) + 1;
        Ok(Made::Sequence { start, step, count: u64::try_from(count).ok() })
    }

    fn random(&self) -> Result<Made> {
        if let Some(text) = self.options.get("choices") {
            let texts = text.split(',').map(|choice| choice.trim().to_string()).collect();
            let expected = format!("values of type {} with commas between", self.ty);
            return parsed(texts, self.ty).map(Made::Choice).map_err(|_| self.refuse("choices", &expected));
        }
        match self.ty {
            SqlType::Boolean => Ok(Made::Boolean),
            SqlType::Varchar | SqlType::Bytea => {
                Ok(Made::Text { length: self.number("length", 0, LENGTH_MAX)?.unwrap_or(10) })
            }
            SqlType::Real | SqlType::Double => {
                let read = |key, otherwise| -> Result<f64> {
                    let Some(value) = self.typed(key)? else { return Ok(otherwise) };
                    Ok(cast(&value, &DataType::Float64)?.as_primitive::<Float64Type>().value(0))
                };
                let (min, max) = (read("min", 0.0)?, read("max", 1.0)?);
                if !min.is_finite() || !max.is_finite() || max < min {
                    return Err(self.refuse("max", "a finite value not below \"min\""));
                }
                Ok(Made::Fraction { min, max })
            }
            SqlType::SmallInt
            | SqlType::Int
            | SqlType::BigInt
            | SqlType::Decimal { .. }
            | SqlType::Date
            | SqlType::Time
            | SqlType::Timestamp
            | SqlType::TimestampTz => {
                let (min, max, _) = self.defaults();
                let given = self.units("min")?;
                let min = given.unwrap_or(min);
                let max = self.units("max")?.unwrap_or(if given.is_some() { max.max(min) } else { max });
                if max < min {
                    return Err(self.refuse("max", "a value not below \"min\""));
                }
                Ok(Made::Number { min, max })
            }
            SqlType::Interval => Err(self.refuse("choices", "intervals with commas between")),
            SqlType::Uuid | SqlType::Jsonb | SqlType::Array(_) | SqlType::Row(_) => {
                Err(self.refuse("choices", "values with commas between"))
            }
        }
    }
}

/// Texts as values of `ty`; fails when one spells none.
fn parsed(texts: Vec<String>, ty: &SqlType) -> Result<ArrayRef> {
    if ty.is_nested() || matches!(ty, SqlType::Uuid | SqlType::Jsonb) {
        let (values, misread) = read_column(&StringArray::from(texts), ty)?;
        return match misread.first() {
            Some((_, reason)) => Err(reason.to_error()),
            None => Ok(values),
        };
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(&StringArray::from(texts), &ty.arrow(), &strict)?)
}
