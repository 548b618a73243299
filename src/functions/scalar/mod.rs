//! PostgreSQL's scalar functions, row by row: a table of names, argument kinds and results, one file per subject.
//!
//! A function that DataFusion has under the same name is replaced. Arguments are cast as PostgreSQL casts them without
//! being asked: whole numbers upwards, dates to timestamps, string constants to anything. The overload that needs the
//! fewest and smallest casts is taken, the first of equals. Functions are strict unless they say otherwise: one NULL
//! argument makes NULL.

mod array;
mod binary;
mod datetime;
mod flink;
mod format;
mod json;
mod number;
mod parse_time;
mod pattern;
mod row;
mod sets;
mod text;
mod to_char;
mod to_char_number;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::*;
use arrow::datatypes::*;

use self::row::{Arg, Row, Scratch};
use super::fault::{Fault, Reason, merge};
use super::kernels::{Col, align, operand_faults};
use super::native::missing;
use super::typing;
use crate::base::{Error, Result};
use crate::types::SqlType;

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bool,
    Int,
    Big,
    Double,
    /// Any numeric, with the scale that it has.
    Numeric,
    Text,
    Bytes,
    Date,
    Time,
    Stamp,
    StampTz,
    Span,
    Json,
    /// `text[]`.
    Texts,
    /// An array of anything; all of one call have the same elements.
    List,
    /// An element of the call's arrays.
    Element,
    Any,
    Row,
}

/// The type of a result.
#[derive(Clone, Copy)]
enum Returns {
    Type(Kind),
    /// An element of the call's arrays.
    Element,
    /// An array of the call's elements.
    List,
    /// `text[]`.
    Texts,
    /// What the arguments make it.
    Of(fn(&[SqlType], &[Option<ArrayRef>]) -> Option<SqlType>),
}

/// A value, NULL, or why there is none.
type Made<T> = Result<Option<T>, Reason>;

/// How a row's result is made, by what holds it.
#[derive(Clone, Copy)]
enum Run {
    Bool(fn(&Row<'_>) -> Made<bool>),
    /// smallint to bigint, date, time, timestamp(tz).
    Int(fn(&Row<'_>) -> Made<i64>),
    Double(fn(&Row<'_>) -> Made<f64>),
    /// The unscaled digits at the result's scale.
    Decimal(fn(&Row<'_>, i8) -> Made<i128>),
    Text(fn(&Row<'_>, &mut String) -> Made<()>),
    /// bytea, uuid, jsonb.
    Bytes(fn(&Row<'_>, &mut Vec<u8>) -> Made<()>),
    Span(fn(&Row<'_>) -> Made<IntervalMonthDayNano>),
    /// An array of text.
    Texts(fn(&Row<'_>, &mut Vec<Option<String>>) -> Made<()>),
    Columns(OfColumns),
}

/// From arguments, the result's type and the number of rows: results, and the faults among them.
type OfColumns = fn(&[ArrayRef], &SqlType, usize) -> Result<(ArrayRef, Vec<Fault>)>;

/// A function of one name and one list of arguments.
struct Function {
    name: &'static str,
    args: &'static [Kind],
    /// Whether the last argument may be repeated, or left out.
    variadic: bool,
    strict: bool,
    returns: Returns,
    run: Run,
}

const fn function(name: &'static str, args: &'static [Kind], returns: Returns, run: Run) -> Function {
    Function { name, args, variadic: false, strict: true, returns, run }
}

impl Function {
    /// NULL arguments are passed on.
    const fn loose(mut self) -> Function {
        self.strict = false;
        self
    }

    const fn variadic(mut self) -> Function {
        self.variadic = true;
        self
    }
}

/// All functions, by name.
fn table() -> &'static BTreeMap<&'static str, Vec<&'static Function>> {
    static TABLE: OnceLock<BTreeMap<&'static str, Vec<&'static Function>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let all = [
            array::FUNCTIONS,
            binary::FUNCTIONS,
            datetime::FUNCTIONS,
            flink::FUNCTIONS,
            format::FUNCTIONS,
            json::FUNCTIONS,
            number::FUNCTIONS,
            parse_time::FUNCTIONS,
            pattern::FUNCTIONS,
            sets::FUNCTIONS,
            text::FUNCTIONS,
            to_char::FUNCTIONS,
            to_char_number::FUNCTIONS,
        ];
        let mut table: BTreeMap<&'static str, Vec<&'static Function>> = BTreeMap::new();
        for function in all.into_iter().flatten() {
            table.entry(function.name).or_default().push(function);
        }
        table
    })
}

/// The names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    table().keys().copied()
}

/// Whether there is a function `name`.
pub(crate) fn exists(name: &str) -> bool {
    table().contains_key(name)
}

/// A function resolved for its arguments.
#[derive(Clone)]
pub(crate) struct Scalar {
    function: &'static Function,
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

/// A function, the types that its arguments are cast to, and that of its result.
pub(crate) struct Resolved {
    pub scalar: Scalar,
    pub args: Vec<SqlType>,
    pub ty: SqlType,
}

/// The function `name` for arguments of these types, constants among them given; an error when none takes them.
pub(crate) fn find(name: &str, types: &[SqlType], constants: &[Option<ArrayRef>]) -> Result<Resolved> {
    let candidates = table().get(name).map(Vec::as_slice).unwrap_or_default();
    let mut best: Option<(u32, &'static Function, Vec<SqlType>)> = None;
    for function in candidates.iter().copied() {
        let Some((cost, args)) = fit(function, types, constants) else { continue };
        if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
            best = Some((cost, function, args));
        }
    }
    let Some((_, function, args)) = best else { return Err(missing(shown(name), types)) };
    let ty = match function.returns {
        Returns::Type(kind) => Some(kind.ty()),
        Returns::Element => element(function, &args),
        Returns::List => element(function, &args).map(|element| SqlType::Array(Box::new(element))),
        Returns::Texts => Some(SqlType::Array(Box::new(SqlType::Varchar))),
        Returns::Of(of) => of(&args, constants),
    };
    let ty = ty.ok_or_else(|| missing(shown(name), types))?;
    Ok(Resolved { scalar: Scalar { function }, args, ty })
}

/// Operators are functions whose names begin with `__`; messages call them by their sign.
fn shown(name: &str) -> &str {
    name.strip_prefix("__").unwrap_or(name)
}

/// Functions that give another value for the same number in more bits; the binder types their bare whole numbers.
const BY_WIDTH: [&str; 3] = ["to_hex", "__shift_left", "__shift_right"];

/// The types of a call's arguments, where a constant that fits 32 bits is an integer as PostgreSQL reads it. A constant
/// that was cast to bigint cannot be told from it, so it stays wide where that would show.
pub(super) fn narrowed(name: &str, types: &[SqlType], constants: &[Option<ArrayRef>]) -> Vec<SqlType> {
    let keep = |index: usize| index == 0 && BY_WIDTH.contains(&name);
    let all = types.iter().zip(constants).enumerate();
    all.map(|(index, (ty, constant))| if keep(index) { ty.clone() } else { narrow(ty, constant) }).collect()
}

fn narrow(ty: &SqlType, constant: &Option<ArrayRef>) -> SqlType {
    let value = constant.as_ref().and_then(|value| value.as_primitive_opt::<Int64Type>());
    match value {
        Some(value) if value.is_valid(0) && i32::try_from(value.value(0)).is_ok() => SqlType::Int,
        _ => ty.clone(),
    }
}

fn kind_at(function: &Function, index: usize) -> Option<Kind> {
    function.args.get(index).or_else(|| function.args.last().filter(|_| function.variadic)).copied()
}

fn element(function: &Function, args: &[SqlType]) -> Option<SqlType> {
    args.iter().enumerate().find_map(|(index, ty)| match (kind_at(function, index)?, ty) {
        (Kind::List, SqlType::Array(element)) => Some((**element).clone()),
        (Kind::Element, ty) => Some(ty.clone()),
        _ => None,
    })
}

/// What it costs to call `function` with these arguments, and what they are cast to; `None` when it does not take them.
fn fit(function: &Function, types: &[SqlType], constants: &[Option<ArrayRef>]) -> Option<(u32, Vec<SqlType>)> {
    let least = function.args.len() - usize::from(function.variadic);
    if types.len() < least || (types.len() > function.args.len() && !function.variadic) {
        return None;
    }
    let constant = |index: usize| constants.get(index).and_then(Option::as_ref);
    let free = |index: usize| types[index] == SqlType::Varchar && constant(index).is_some();
    // The element type that all arrays and elements of the call agree on.
    let mut element: Option<SqlType> = None;
    for (index, ty) in types.iter().enumerate() {
        let is_null = constant(index).is_some_and(|value| value.is_null(0));
        let found = match (kind_at(function, index)?, ty) {
            (Kind::List, SqlType::Array(found)) => &**found,
            (Kind::List | Kind::Element, _) if is_null || free(index) => continue,
            (Kind::List, _) => return None,
            (Kind::Element, ty) => ty,
            _ => continue,
        };
        element = Some(match element {
            None => found.clone(),
            Some(before) => typing::common(&before, found)?,
        });
    }
    let (mut cost, mut args) = (0, Vec::with_capacity(types.len()));
    for (index, ty) in types.iter().enumerate() {
        let kind = kind_at(function, index)?;
        let wanted = match kind {
            Kind::Element => element.clone().unwrap_or(SqlType::Varchar),
            Kind::List => SqlType::Array(Box::new(element.clone()?)),
            Kind::Any => ty.clone(),
            Kind::Row if matches!(ty, SqlType::Row(_)) => ty.clone(),
            Kind::Row => return None,
            Kind::Numeric => match ty {
                SqlType::Decimal { .. } => ty.clone(),
                other => {
                    let (precision, scale) = typing::as_decimal(other).unwrap_or((38, 10));
                    SqlType::Decimal { precision, scale }
                }
            },
            fixed => fixed.ty(),
        };
        let is_null = constant(index).is_some_and(|value| value.is_null(0));
        cost += if is_null || *ty == wanted { 0 } else { price(ty, &wanted, free(index), kind)? };
        args.push(wanted);
    }
    Some((cost, args))
}

impl Kind {
    fn ty(self) -> SqlType {
        match self {
            Kind::Bool => SqlType::Boolean,
            Kind::Int => SqlType::Int,
            Kind::Big => SqlType::BigInt,
            Kind::Double => SqlType::Double,
            Kind::Numeric => SqlType::NUMERIC,
            Kind::Bytes => SqlType::Bytea,
            Kind::Date => SqlType::Date,
            Kind::Time => SqlType::Time,
            Kind::Stamp => SqlType::Timestamp,
            Kind::StampTz => SqlType::TimestampTz,
            Kind::Span => SqlType::Interval,
            Kind::Json => SqlType::Jsonb,
            Kind::Texts => SqlType::Array(Box::new(SqlType::Varchar)),
            Kind::Text | Kind::List | Kind::Element | Kind::Any | Kind::Row => SqlType::Varchar,
        }
    }
}

/// What an implicit cast costs; `None` when there is none.
fn price(from: &SqlType, to: &SqlType, free: bool, kind: Kind) -> Option<u32> {
    use SqlType::*;
    if free {
        return Some(if kind == Kind::StampTz || kind == Kind::Double { 9 } else { 10 });
    }
    match (from, to) {
        (SmallInt, Int) | (Int, BigInt) | (Real, Double) => Some(1),
        (SmallInt, BigInt) => Some(2),
        (SmallInt | Int | BigInt, Decimal { .. }) => Some(4),
        (Decimal { .. }, Decimal { .. }) => Some(0),
        // Preferred among numbers, as PostgreSQL has it.
        (SmallInt | Int | BigInt | Decimal { .. }, Double) => Some(3),
        (Date, Timestamp) => Some(2),
        (Date, TimestampTz) | (Timestamp, TimestampTz) => Some(1),
        (Time, Interval) => Some(1),
        (Array(from), Array(to)) => {
            if typing::common(from, to).as_ref() == Some(&**to) {
                Some(1)
            } else {
                None
            }
        }
        _ => None,
    }
}

impl Scalar {
    /// Evaluates it over arguments of the resolved types; the result is of `ty`.
    pub fn evaluate(&self, mut args: Vec<Col>, ty: &SqlType, rows: usize) -> Result<Col> {
        let (rows, scalar) = if args.is_empty() { (1, true) } else { align(&mut args, rows)? };
        let faults = operand_faults(&mut args);
        let (values, mut found) = match self.function.run {
            Run::Columns(run) => {
                let args = args.into_iter().map(|arg| Ok(arg.spread(rows)?.values)).collect::<Result<Vec<_>>>()?;
                run(&args, ty, rows)?
            }
            _ => self.by_row(&args, ty, rows)?,
        };
        // A row that has no arguments has no fault of its own.
        if !faults.is_empty() {
            found.retain(|fault| faults.binary_search_by_key(&fault.row, |fault| fault.row).is_err());
        }
        Ok(Col { values, scalar, faults: merge(faults, found) })
    }

    fn by_row(&self, args: &[Col], ty: &SqlType, rows: usize) -> Result<(ArrayRef, Vec<Fault>)> {
        let args = args.iter().map(Arg::new).collect::<Result<Vec<_>>>()?;
        let strict = self.function.strict;
        let mut each = Rows { args, strict, rows, scratch: Scratch::default(), faults: Vec::new() };
        let values: ArrayRef = match self.function.run {
            Run::Bool(run) => {
                Arc::new(each.collect(run, BooleanBuilder::with_capacity(rows), BooleanBuilder::append_option).finish())
            }
            Run::Double(run) => {
                Arc::new(each.collect(run, Float64Builder::with_capacity(rows), Float64Builder::append_option).finish())
            }
            Run::Span(run) => {
                let values = IntervalMonthDayNanoBuilder::with_capacity(rows);
                Arc::new(each.collect(run, values, IntervalMonthDayNanoBuilder::append_option).finish())
            }
            Run::Int(run) => {
                let run = |row: &Row<'_>| run(row)?.map(|made| in_range(made, ty)).transpose();
                let values = Int64Builder::with_capacity(rows);
                whole(each.collect(run, values, Int64Builder::append_option).finish(), ty)?
            }
            Run::Decimal(run) => {
                let (precision, scale) = typing::as_decimal(ty).unwrap_or((38, 10));
                let limit = crate::types::digits::bound(precision);
                let run = |row: &Row<'_>| match run(row, scale)? {
                    Some(made) if made.abs() >= limit => Err(Reason::out_of_range(ty)),
                    made => Ok(made),
                };
                let values = Decimal128Builder::with_capacity(rows).with_data_type(ty.arrow());
                Arc::new(each.collect(run, values, Decimal128Builder::append_option).finish())
            }
            Run::Text(run) => {
                let mut values = StringBuilder::with_capacity(rows, rows * 8);
                let mut text = String::new();
                for row in 0..rows {
                    text.clear();
                    let made = each.row(row, |row| run(row, &mut text));
                    values.append_option(made.map(|()| text.as_str()));
                }
                Arc::new(values.finish())
            }
            Run::Bytes(run) => {
                let mut bytes = Vec::new();
                let mut values = LargeBinaryBuilder::with_capacity(rows, rows * 16);
                for row in 0..rows {
                    bytes.clear();
                    let made = each.row(row, |row| run(row, &mut bytes));
                    values.append_option(made.map(|()| &bytes));
                }
                of_bytes(values.finish(), ty)?
            }
            Run::Texts(run) => {
                let mut values = ListBuilder::new(StringBuilder::new());
                let mut parts = Vec::new();
                for row in 0..rows {
                    parts.clear();
                    let made = each.row(row, |row| run(row, &mut parts));
                    if made.is_some() {
                        values.values().extend(parts.drain(..));
                    }
                    values.append(made.is_some());
                }
                Arc::new(values.finish())
            }
            Run::Columns(_) => return Err(Error::internal("a function over columns was called by row")),
        };
        Ok((values, each.faults))
    }
}

/// The rows of a call, and those that faulted so far.
struct Rows<'a> {
    args: Vec<Arg<'a>>,
    strict: bool,
    rows: usize,
    scratch: Scratch,
    faults: Vec<Fault>,
}

impl Rows<'_> {
    /// What `make` gives for row `row`; none for NULL and for a fault, which is noted.
    fn row<T>(&mut self, row: usize, make: impl FnOnce(&Row<'_>) -> Made<T>) -> Option<T> {
        if self.strict && self.args.iter().any(|arg| arg.is_null(row)) {
            return None;
        }
        match make(&Row { args: &self.args, row, scratch: &self.scratch }) {
            Ok(made) => made,
            Err(reason) => {
                self.faults.push(Fault { row: row as u32, reason });
                None
            }
        }
    }

    /// Every row's value, appended to `values`.
    fn collect<T, B>(
        &mut self,
        make: impl Fn(&Row<'_>) -> Made<T>,
        mut values: B,
        append: impl Fn(&mut B, Option<T>),
    ) -> B {
        for row in 0..self.rows {
            let made = self.row(row, &make);
            append(&mut values, made);
        }
        values
    }
}

fn in_range(value: i64, ty: &SqlType) -> Result<i64, Reason> {
    let fits = match ty {
        SqlType::SmallInt => i16::try_from(value).is_ok(),
        SqlType::Int | SqlType::Date => i32::try_from(value).is_ok(),
        _ => true,
    };
    if fits { Ok(value) } else { Err(Reason::out_of_range(ty)) }
}

/// Whole numbers as the type whose values they are.
fn whole(values: Int64Array, ty: &SqlType) -> Result<ArrayRef> {
    let to = ty.arrow();
    Ok(match ty {
        SqlType::BigInt => Arc::new(values),
        SqlType::SmallInt => Arc::new(values.unary::<_, Int16Type>(|value| value as i16)),
        SqlType::Int => Arc::new(values.unary::<_, Int32Type>(|value| value as i32)),
        SqlType::Date => Arc::new(values.unary::<_, Date32Type>(|value| value as i32)),
        SqlType::Time => Arc::new(values.reinterpret_cast::<Time64MicrosecondType>()),
        SqlType::Timestamp | SqlType::TimestampTz => {
            Arc::new(values.reinterpret_cast::<TimestampMicrosecondType>().with_data_type(to))
        }
        _ => return Err(Error::internal(format!("a whole number is no {ty}"))),
    })
}

fn of_bytes(values: LargeBinaryArray, ty: &SqlType) -> Result<ArrayRef> {
    Ok(match ty {
        SqlType::Jsonb => Arc::new(values),
        SqlType::Bytea => Arc::new(BinaryArray::from_iter(values.iter())),
        SqlType::Uuid => Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.iter(), 16)?),
        _ => return Err(Error::internal(format!("bytes are no {ty}"))),
    })
}
