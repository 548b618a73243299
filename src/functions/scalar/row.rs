//! One row of a function's arguments.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use memchr::memmem::Finder;
use regex::Regex;

use crate::base::{Error, Result};
use crate::functions::kernels::Col;

use super::Made;

/// An argument, downcast once.
pub(super) struct Arg<'a> {
    array: &'a ArrayRef,
    values: Values<'a>,
    scalar: bool,
}

enum Values<'a> {
    Bool(&'a BooleanArray),
    I16(&'a Int16Array),
    I32(&'a Int32Array),
    I64(&'a [i64]),
    Date(&'a Date32Array),
    Real(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array, i8),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Json(&'a LargeBinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
    Span(&'a IntervalMonthDayNanoArray),
    Other,
}

impl<'a> Arg<'a> {
    pub fn new(column: &'a Col) -> Result<Arg<'a>> {
        let array = &column.values;
        let values = match array.data_type() {
            DataType::Boolean => Values::Bool(array.as_boolean()),
            DataType::Int16 => Values::I16(array.as_primitive()),
            DataType::Int32 => Values::I32(array.as_primitive()),
            DataType::Int64 => Values::I64(array.as_primitive::<Int64Type>().values()),
            DataType::Date32 => Values::Date(array.as_primitive()),
            DataType::Time64(TimeUnit::Microsecond) => {
                Values::I64(array.as_primitive::<Time64MicrosecondType>().values())
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::I64(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Float32 => Values::Real(array.as_primitive()),
            DataType::Float64 => Values::Double(array.as_primitive()),
            DataType::Decimal128(_, scale) => Values::Decimal(array.as_primitive(), *scale),
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::Binary => Values::Bytes(array.as_binary()),
            DataType::LargeBinary => Values::Json(array.as_binary()),
            DataType::FixedSizeBinary(_) => Values::Uuid(array.as_fixed_size_binary()),
            DataType::Interval(_) => Values::Span(array.as_primitive()),
            DataType::List(_) | DataType::Struct(_) => Values::Other,
            other => return Err(Error::internal(format!("a function was given Arrow {other}"))),
        };
        Ok(Arg { array, values, scalar: column.scalar })
    }

    fn at(&self, row: usize) -> usize {
        if self.scalar { 0 } else { row }
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.at(row))
    }
}

/// What lives as long as the evaluation of a batch.
#[derive(Default)]
pub(super) struct Scratch {
    /// The last regular expression: its pattern and flags.
    regex: RefCell<Option<(String, String, Arc<Regex>)>>,
    /// The last text that was looked for.
    finder: RefCell<Option<Arc<Finder<'static>>>>,
    /// The last time that was shown.
    shown: RefCell<Shown>,
}

/// A time as a template shows it, and all times that it shows alike.
#[derive(Default)]
struct Shown {
    template: String,
    unit_us: i64,
    alike: std::ops::Range<i64>,
    text: String,
}

/// One row. Reading an argument as what it is not gives zero or nothing: types were resolved before.
pub(super) struct Row<'a> {
    pub(super) args: &'a [Arg<'a>],
    pub(super) row: usize,
    pub(super) scratch: &'a Scratch,
}

impl<'a> Row<'a> {
    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.args.len()
    }

    fn arg(&self, index: usize) -> Option<(&'a Arg<'a>, usize)> {
        self.args.get(index).map(|arg| (arg, arg.at(self.row)))
    }

    /// Whether the argument is NULL or not there.
    pub fn is_null(&self, index: usize) -> bool {
        self.args.get(index).is_none_or(|arg| arg.is_null(self.row))
    }

    pub fn bool(&self, index: usize) -> bool {
        matches!(self.arg(index), Some((Arg { values: Values::Bool(values), .. }, at)) if values.value(at))
    }

    /// A whole number, the days of a date, the microseconds of a time or timestamp.
    pub fn int(&self, index: usize) -> i64 {
        match self.arg(index) {
            Some((Arg { values: Values::I64(values), .. }, at)) => values[at],
            Some((Arg { values: Values::I32(values), .. }, at)) => values.value(at).into(),
            Some((Arg { values: Values::I16(values), .. }, at)) => values.value(at).into(),
            Some((Arg { values: Values::Date(values), .. }, at)) => values.value(at).into(),
            _ => 0,
        }
    }

    pub fn double(&self, index: usize) -> f64 {
        match self.arg(index) {
            Some((Arg { values: Values::Double(values), .. }, at)) => values.value(at),
            Some((Arg { values: Values::Real(values), .. }, at)) => values.value(at).into(),
            _ => 0.0,
        }
    }

    /// Unscaled digits and scale.
    pub fn decimal(&self, index: usize) -> (i128, i8) {
        match self.arg(index) {
            Some((Arg { values: Values::Decimal(values, scale), .. }, at)) => (values.value(at), *scale),
            _ => (self.int(index).into(), 0),
        }
    }

    pub fn text(&self, index: usize) -> &'a str {
        match self.arg(index) {
            Some((Arg { values: Values::Text(values), .. }, at)) => values.value(at),
            _ => "",
        }
    }

    /// The bytes of a bytea, uuid or jsonb.
    pub fn bytes(&self, index: usize) -> &'a [u8] {
        match self.arg(index) {
            Some((Arg { values: Values::Bytes(values), .. }, at)) => values.value(at),
            Some((Arg { values: Values::Json(values), .. }, at)) => values.value(at),
            Some((Arg { values: Values::Uuid(values), .. }, at)) => values.value(at),
            _ => &[],
        }
    }

    pub fn span(&self, index: usize) -> IntervalMonthDayNano {
        match self.arg(index) {
            Some((Arg { values: Values::Span(values), .. }, at)) => values.value(at),
            _ => IntervalMonthDayNano::ZERO,
        }
    }

    /// The elements of an array.
    pub fn list(&self, index: usize) -> ArrayRef {
        match self.arg(index).and_then(|(arg, at)| Some((arg.array.as_list_opt::<i32>()?, at))) {
            Some((lists, at)) => lists.value(at),
            None => new_empty_array(&DataType::Utf8),
        }
    }

    /// The texts of a `text[]`, NULLs left out.
    pub fn texts(&self, index: usize) -> Vec<String> {
        let list = self.list(index);
        list.as_string_opt::<i32>().map_or(Vec::new(), |texts| texts.iter().flatten().map(str::to_owned).collect())
    }

    /// The value as an array and its row, whatever it is.
    pub fn value(&self, index: usize) -> Option<(&'a ArrayRef, usize)> {
        self.arg(index).map(|(arg, at)| (arg.array, at))
    }

    /// What finds the text of argument `index` in others; the last one is kept.
    pub fn finder(&self, index: usize) -> Arc<Finder<'static>> {
        let (part, mut kept) = (self.text(index).as_bytes(), self.scratch.finder.borrow_mut());
        match &*kept {
            Some(finder) if finder.needle() == part => Arc::clone(finder),
            _ => Arc::clone(kept.insert(Arc::new(Finder::new(part).into_owned()))),
        }
    }

    /// The regular expression that `make` gives for a pattern; the last one is kept.
    pub fn regex<E>(
        &self,
        pattern: &str,
        flags: &str,
        make: impl FnOnce() -> std::result::Result<Regex, E>,
    ) -> std::result::Result<Arc<Regex>, E> {
        let mut kept = self.scratch.regex.borrow_mut();
        if let Some((last, last_flags, regex)) = &*kept
            && last == pattern
            && last_flags == flags
        {
            return Ok(Arc::clone(regex));
        }
        let regex = Arc::new(make()?);
        *kept = Some((pattern.to_owned(), flags.to_owned(), Arc::clone(&regex)));
        Ok(regex)
    }

    /// Appends `us` as `show` shows it by `template`. Times of one unit (`unit_us`, in microseconds) of the template are shown
    /// alike, and rows that come one after another are often of one time: they are shown once.
    pub fn shown(
        &self,
        us: i64,
        template: &str,
        unit_us: fn(&str) -> i64,
        out: &mut String,
        show: impl FnOnce(&mut String) -> Made<()>,
    ) -> Made<()> {
        let mut last = self.scratch.shown.borrow_mut();
        if last.template != template {
            *last = Shown { template: template.to_owned(), unit_us: unit_us(template), ..Shown::default() };
        }
        if last.alike.contains(&us) {
            out.push_str(&last.text);
            return Ok(Some(()));
        }
        let start = out.len();
        let made = show(out)?;
        if let (Some(()), Some(from)) = (made, us.div_euclid(last.unit_us).checked_mul(last.unit_us)) {
            last.alike = from..from.saturating_add(last.unit_us);
            last.text.clear();
            last.text.push_str(out.get(start..).unwrap_or_default());
        }
        Ok(made)
    }
}
