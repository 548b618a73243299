//! What the functions that return several rows return, as arrays: `generate_series`, subscripts, the parts of a JSONB value.
//! One step of the chain spreads them over rows (`plan/unnest.rs`).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::{Error, Result, sqlstate};
use crate::functions::fault::{Fault, Reason};
use crate::functions::typing;
use crate::types::SqlType;
use crate::types::calendar::add_interval;
use crate::types::digits::{bound, rescale};
use crate::types::jsonb::{Elements, Item, Pairs};
use crate::types::schema::{element_field, row_fields};

use Kind::{Any, Big, Int, Json, List, Numeric, Span, Stamp, StampTz};

/// So many elements one series may have.
const SERIES_MAX: usize = 1_000_000;

type Columns = Result<(ArrayRef, Vec<Fault>)>;

const SERIES: Returns = Returns::Of(|types, _| Some(SqlType::Array(Box::new(common_of(types)?))));
const BIGINTS: Returns = Returns::Of(|_, _| Some(SqlType::Array(Box::new(SqlType::BigInt))));
const INTS: Returns = Returns::Of(|_, _| Some(SqlType::Array(Box::new(SqlType::Int))));
const JSONS: Returns = Returns::Of(|_, _| Some(SqlType::Array(Box::new(SqlType::Jsonb))));

pub(super) const FUNCTIONS: &[Function] = &[
    function("__series", &[Int, Int], SERIES, Run::Columns(whole::<Int32Type>)),
    function("__series", &[Int, Int, Int], SERIES, Run::Columns(whole::<Int32Type>)),
    function("__series", &[Big, Big], SERIES, Run::Columns(whole::<Int64Type>)),
    function("__series", &[Big, Big, Big], SERIES, Run::Columns(whole::<Int64Type>)),
    function("__series", &[Numeric, Numeric], SERIES, Run::Columns(decimals)),
    function("__series", &[Numeric, Numeric, Numeric], SERIES, Run::Columns(decimals)),
    function("__series", &[Stamp, Stamp, Span], SERIES, Run::Columns(times)),
    function("__series", &[StampTz, StampTz, Span], SERIES, Run::Columns(times)),
    function("__subscripts", &[List, Int], INTS, Run::Columns(subscripts)),
    function("__expand_array", &[List], Returns::Of(expanded_of), Run::Columns(expanded)),
    function("__ordinals", &[Any], BIGINTS, Run::Columns(|args, _, rows| ordinals(args, rows, false)))
        .variadic()
        .loose(),
    function("__places", &[Any], BIGINTS, Run::Columns(|args, _, rows| ordinals(args, rows, true))).variadic().loose(),
    function("__json_elements", &[Json], JSONS, Run::Columns(json_elements)),
    function("__json_elements_text", &[Json], Returns::Texts, Run::Texts(json_texts)),
    function("__json_keys", &[Json], Returns::Texts, Run::Texts(json_keys)),
    function("__json_each", &[Json], Returns::Of(|_, _| pairs_of(SqlType::Jsonb)), Run::Columns(json_each)),
    function("__json_each_text", &[Json], Returns::Of(|_, _| pairs_of(SqlType::Varchar)), Run::Columns(json_each)),
];

/// The type of a series from the types of its ends and step.
fn common_of(types: &[SqlType]) -> Option<SqlType> {
    let (first, rest) = types.split_first()?;
    let ends = rest.iter().filter(|ty| **ty != SqlType::Interval);
    ends.into_iter().try_fold(first.clone(), |found, ty| match (&found, ty) {
        // As many digits before the point and behind it as the widest has.
        (SqlType::Decimal { precision: a, scale: s }, SqlType::Decimal { precision: b, scale: t }) => {
            let scale = (*s).max(*t);
            let front = (*a as i8 - *s).max(*b as i8 - *t);
            Some(SqlType::Decimal { precision: (front + scale).clamp(1, 38) as u8, scale })
        }
        _ => typing::common(&found, ty),
    })
}

fn pairs_of(value: SqlType) -> Option<SqlType> {
    let fields = vec![("key".to_string(), SqlType::Varchar), ("value".to_string(), value)];
    Some(SqlType::Array(Box::new(SqlType::Row(fields))))
}

/// What `information_schema._pg_expandarray` gives: each element with its place.
fn expanded_of(types: &[SqlType], _: &[Option<ArrayRef>]) -> Option<SqlType> {
    let [SqlType::Array(element)] = types else { return None };
    let fields = vec![("x".to_string(), SqlType::clone(element)), ("n".to_string(), SqlType::Int)];
    Some(SqlType::Array(Box::new(SqlType::Row(fields))))
}

fn expanded(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let lists = args.first().and_then(|arg| arg.as_list_opt::<i32>()).ok_or_else(internal)?;
    let SqlType::Row(fields) = element_of(ty)? else { return Err(internal()) };
    let (mut picks, mut places, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(rows));
    for row in 0..rows {
        let length = if lists.is_valid(row) { lists.value_length(row) } else { 0 };
        let start = lists.value_offsets().get(row).copied().unwrap_or_default();
        picks.extend((start..start + length).map(|at| at as u32));
        places.extend(1..=length);
        lengths.push(length as usize);
    }
    let elements = arrow::compute::take(lists.values(), &UInt32Array::from(picks), None)?;
    let columns: Vec<ArrayRef> = vec![elements, Arc::new(Int32Array::from(places))];
    let values = Arc::new(StructArray::try_new(row_fields(fields), columns, None)?);
    Ok((listed(args, ty, lengths, values)?, Vec::new()))
}

fn internal() -> Error {
    Error::internal("a function of several rows was called for another result")
}

fn element_of(ty: &SqlType) -> Result<&SqlType> {
    let SqlType::Array(element) = ty else { return Err(internal()) };
    Ok(element)
}

/// Lists of `values`, cut at `lengths`; NULL where an argument is.
fn listed(args: &[ArrayRef], ty: &SqlType, lengths: Vec<usize>, values: ArrayRef) -> Result<ArrayRef> {
    let rows = lengths.len();
    let valid = NullBuffer::from((0..rows).map(|row| args.iter().all(|arg| arg.is_valid(row))).collect::<Vec<bool>>());
    let ends = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(element_field(element_of(ty)?), ends, values, Some(valid))?))
}

/// The elements of all rows, and where a row has none, why.
struct Series<T> {
    values: Vec<T>,
    lengths: Vec<usize>,
    faults: Vec<Fault>,
}

impl<T: Copy> Series<T> {
    /// Each row's elements: from `start(row)` on, as long as `next` gives one that is not behind `stop(row)`.
    fn of_rows(
        args: &[ArrayRef],
        rows: usize,
        bounds: impl Fn(usize) -> Result<(T, T, bool), Reason>,
        next: impl Fn(usize, T) -> Option<T>,
        behind: impl Fn(T, T, bool) -> bool,
    ) -> Series<T> {
        let mut series = Series { values: Vec::new(), lengths: Vec::with_capacity(rows), faults: Vec::new() };
        for row in 0..rows {
            let before = series.values.len();
            if args.iter().all(|arg| arg.is_valid(row))
                && let Err(reason) = series.row(bounds(row), |value| next(row, value), &behind)
            {
                series.values.truncate(before);
                series.faults.push(Fault { row: row as u32, reason });
            }
            series.lengths.push(series.values.len() - before);
        }
        series
    }

    fn row(
        &mut self,
        bounds: Result<(T, T, bool), Reason>,
        next: impl Fn(T) -> Option<T>,
        behind: impl Fn(T, T, bool) -> bool,
    ) -> Result<(), Reason> {
        let (start, stop, rising) = bounds?;
        let before = self.values.len();
        let mut at = Some(start);
        while let Some(value) = at.filter(|value| !behind(*value, stop, rising)) {
            if self.values.len() - before == SERIES_MAX {
                let message = format!("generate_series would give more than {SERIES_MAX} rows");
                return Err(Reason::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
            }
            self.values.push(value);
            at = next(value);
        }
        Ok(())
    }
}

fn no_step() -> Reason {
    Reason::new(sqlstate::INVALID_PARAMETER_VALUE, "step size cannot equal zero")
}

fn past<T: PartialOrd>(value: T, stop: T, rising: bool) -> bool {
    if rising { value > stop } else { value < stop }
}

fn whole<T>(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64> + TryFrom<i64>,
{
    let column = |i: usize| args.get(i).and_then(|arg| arg.as_primitive_opt::<T>());
    let (Some(from), Some(to)) = (column(0), column(1)) else { return Err(internal()) };
    let by = column(2);
    let step = |row: usize| by.map_or(1, |by| by.value(row).into());
    let bounds = |row: usize| match step(row) {
        0 => Err(no_step()),
        step => Ok((from.value(row).into(), to.value(row).into(), step > 0)),
    };
    let found = Series::of_rows(args, rows, bounds, |row, value: i64| value.checked_add(step(row)), past);
    // Elements lie between the ends, which are of the type.
    let values = found.values.into_iter().filter_map(|value| T::Native::try_from(value).ok());
    let values: ArrayRef = Arc::new(PrimitiveArray::<T>::from_iter_values(values));
    Ok((listed(args, ty, found.lengths, values)?, found.faults))
}

fn decimals(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let SqlType::Decimal { scale, .. } = *element_of(ty)? else { return Err(internal()) };
    let limit = bound(38);
    let columns = args.iter().map(|arg| {
        let DataType::Decimal128(_, scale) = arg.data_type() else { return Err(internal()) };
        Ok((arg.as_primitive::<Decimal128Type>(), *scale))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let value = |i: usize, row: usize| match columns.get(i) {
        Some((values, from)) => {
            rescale(values.value(row), *from, scale, limit).ok_or_else(|| Reason::out_of_range(&SqlType::NUMERIC))
        }
        None => rescale(1, 0, scale, limit).ok_or_else(|| Reason::out_of_range(&SqlType::NUMERIC)),
    };
    let bounds = |row: usize| {
        let (from, to, by) = (value(0, row)?, value(1, row)?, value(2, row)?);
        if by == 0 { Err(no_step()) } else { Ok((from, to, by > 0)) }
    };
    let next = |row: usize, at: i128| at.checked_add(value(2, row).ok()?);
    let found = Series::of_rows(args, rows, bounds, next, past);
    let values = Decimal128Array::from(found.values).with_data_type(element_of(ty)?.arrow());
    Ok((listed(args, ty, found.lengths, Arc::new(values))?, found.faults))
}

fn times(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let column = |i: usize| args.get(i).and_then(|arg| arg.as_primitive_opt::<TimestampMicrosecondType>());
    let by = args.get(2).and_then(|arg| arg.as_primitive_opt::<IntervalMonthDayNanoType>());
    let (Some(from), Some(to), Some(by)) = (column(0), column(1), by) else { return Err(internal()) };
    let bounds = |row: usize| {
        let step = by.value(row);
        // As intervals are compared: a month is 30 days, a day 24 hours.
        let days = i128::from(step.months) * 30 + i128::from(step.days);
        match days * 86_400_000_000_000 + i128::from(step.nanoseconds) {
            0 => Err(no_step()),
            length => Ok((from.value(row), to.value(row), length > 0)),
        }
    };
    let next = |row: usize, at: i64| {
        let step = by.value(row);
        add_interval(at, step.months, step.days, step.nanoseconds)
    };
    let found = Series::of_rows(args, rows, bounds, next, past);
    let values = TimestampMicrosecondArray::from(found.values).with_data_type(element_of(ty)?.arrow());
    Ok((listed(args, ty, found.lengths, Arc::new(values))?, found.faults))
}

fn lists(array: &ArrayRef) -> Result<&ListArray> {
    array.as_list_opt::<i32>().ok_or_else(internal)
}

fn subscripts(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let [array, dimension] = args else { return Err(internal()) };
    let (lists, dimension) = (lists(array)?, dimension.as_primitive::<Int32Type>());
    let length = |row: usize| {
        let there = lists.is_valid(row) && dimension.is_valid(row) && dimension.value(row) == 1;
        if there { lists.value_length(row) as usize } else { 0 }
    };
    let lengths: Vec<usize> = (0..rows).map(length).collect();
    let values = Int32Array::from_iter_values(lengths.iter().flat_map(|length| 1..=*length as i32));
    Ok((listed(args, ty, lengths, Arc::new(values))?, Vec::new()))
}

/// 1, 2, ... as long as the longest of the arrays; `padded`: one NULL where all are empty.
fn ordinals(args: &[ArrayRef], rows: usize, padded: bool) -> Columns {
    let lists = args.iter().map(lists).collect::<Result<Vec<_>>>()?;
    let length = |list: &&ListArray, row: usize| if list.is_valid(row) { list.value_length(row) as usize } else { 0 };
    let mut values = Int64Builder::new();
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        let longest = lists.iter().map(|list| length(list, row)).max().unwrap_or(0);
        (1..=longest as i64).for_each(|ordinal| values.append_value(ordinal));
        if padded && longest == 0 {
            values.append_null();
        }
        lengths.push(if padded { longest.max(1) } else { longest });
    }
    let ends = OffsetBuffer::from_lengths(lengths);
    let list = ListArray::try_new(element_field(&SqlType::BigInt), ends, Arc::new(values.finish()), None)?;
    Ok((Arc::new(list), Vec::new()))
}

fn wrong(what: &str, item: &Item<'_>) -> Reason {
    let found = match item {
        Item::Array(_) => "an array",
        Item::Object(_) => "an object",
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => "a scalar",
    };
    Reason::new(sqlstate::INVALID_PARAMETER_VALUE, format!("cannot {what} {found}"))
}

fn elements<'a>(bytes: &'a [u8]) -> Result<Elements<'a>, Reason> {
    match Item::of(bytes) {
        Item::Array(elements) => Ok(elements),
        other => Err(wrong("extract elements from", &other)),
    }
}

fn pairs<'a>(bytes: &'a [u8], what: &str) -> Result<Pairs<'a>, Reason> {
    match Item::of(bytes) {
        Item::Object(pairs) => Ok(pairs),
        other => Err(wrong(what, &other)),
    }
}

/// As `->>`: strings without quotes, null as NULL.
fn text_of(bytes: &[u8]) -> Result<Option<String>, Reason> {
    let mut text = String::new();
    Ok(super::json::text(Some(bytes), &mut text)?.map(|()| text))
}

fn json_texts(row: &Row<'_>, out: &mut Vec<Option<String>>) -> Made<()> {
    for element in elements(row.bytes(0))? {
        out.push(text_of(element)?);
    }
    Ok(Some(()))
}

fn json_keys(row: &Row<'_>, out: &mut Vec<Option<String>>) -> Made<()> {
    out.extend(pairs(row.bytes(0), "call jsonb_object_keys on")?.map(|(key, _)| Some(key.to_owned())));
    Ok(Some(()))
}

/// For each row the bytes of its JSONB; the places of parts in what `part` has gathered, or why there are none.
fn by_value(
    args: &[ArrayRef],
    rows: usize,
    mut part: impl FnMut(&[u8]) -> Result<Range<usize>, Reason>,
) -> Result<(Vec<usize>, Vec<Fault>)> {
    let [values] = args else { return Err(internal()) };
    let values = values.as_binary_opt::<i64>().ok_or_else(internal)?;
    let (mut lengths, mut faults) = (Vec::with_capacity(rows), Vec::new());
    for row in 0..rows {
        let found = if values.is_valid(row) { part(values.value(row)) } else { Ok(0..0) };
        lengths.push(match found {
            Ok(places) => places.len(),
            Err(reason) => {
                faults.push(Fault { row: row as u32, reason });
                0
            }
        });
    }
    Ok((lengths, faults))
}

fn json_elements(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let mut values = LargeBinaryBuilder::new();
    let (lengths, faults) = by_value(args, rows, |bytes| {
        let before = values.len();
        elements(bytes)?.for_each(|element| values.append_value(element));
        Ok(before..values.len())
    })?;
    Ok((listed(args, ty, lengths, Arc::new(values.finish()))?, faults))
}

fn json_each(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let SqlType::Row(fields) = element_of(ty)? else { return Err(internal()) };
    let texts = fields.iter().any(|(name, ty)| name == "value" && *ty == SqlType::Varchar);
    let (mut keys, mut values, mut shown) = (StringBuilder::new(), LargeBinaryBuilder::new(), StringBuilder::new());
    let (lengths, faults) = by_value(args, rows, |bytes| {
        let before = keys.len();
        let what = if texts { "call jsonb_each_text on" } else { "call jsonb_each on" };
        for (key, value) in pairs(bytes, what)? {
            keys.append_value(key);
            if texts { shown.append_option(text_of(value)?) } else { values.append_value(value) }
        }
        Ok(before..keys.len())
    })?;
    let values: ArrayRef = if texts { Arc::new(shown.finish()) } else { Arc::new(values.finish()) };
    let pairs = StructArray::try_new(row_fields(fields), vec![Arc::new(keys.finish()), values], None)?;
    Ok((listed(args, ty, lengths, Arc::new(pairs))?, faults))
}
