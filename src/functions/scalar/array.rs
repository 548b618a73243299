//! Arrays and rows: making them, taking them apart, searching them.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::{Error, Result, sqlstate};
use crate::functions::expr::BinaryOp;
use crate::functions::fault::{Fault, Reason, SEVERAL_ROWS};
use crate::functions::kernels::{Col, compare};
use crate::types::schema::{element_field, row_fields};
use crate::types::{RowCodec, SqlType};

use Kind::{Any, Element, Int, List, Text};
const INT: Returns = Returns::Type(Kind::Int);
const BOOL: Returns = Returns::Type(Kind::Bool);

type Columns = Result<(ArrayRef, Vec<Fault>)>;

pub(super) const FUNCTIONS: &[Function] = &[
    function("__array", &[Element], Returns::List, Run::Columns(make)).variadic().loose(),
    function("__element", &[List, Int], Returns::Element, Run::Columns(element)).loose(),
    function("__single", &[List], Returns::Element, Run::Columns(single)),
    function("__slice", &[List, Int, Int], Returns::List, Run::Columns(slice)),
    function("__slice_from", &[List, Int], Returns::List, Run::Columns(slice)),
    function("__slice_to", &[List, Int], Returns::List, Run::Columns(slice_to)),
    function("__concat", &[List, List], Returns::List, Run::Columns(concat)).loose(),
    function("__concat", &[List, Element], Returns::List, Run::Columns(concat)).loose(),
    function("__concat", &[Element, List], Returns::List, Run::Columns(concat)).loose(),
    function("array_cat", &[List, List], Returns::List, Run::Columns(concat)).loose(),
    function("array_append", &[List, Element], Returns::List, Run::Columns(concat)).loose(),
    function("array_prepend", &[Element, List], Returns::List, Run::Columns(concat)).loose(),
    function("array_remove", &[List, Element], Returns::List, Run::Columns(|a, ty, rows| edit(a, ty, rows, true)))
        .loose(),
    function(
        "array_replace",
        &[List, Element, Element],
        Returns::List,
        Run::Columns(|a, ty, rows| edit(a, ty, rows, false)),
    )
    .loose(),
    function("trim_array", &[List, Int], Returns::List, Run::Columns(trim)),
    function("array_length", &[List, Int], INT, Run::Int(|row| Ok(dimension(row).map(|n| n as i64)))),
    function("array_upper", &[List, Int], INT, Run::Int(|row| Ok(dimension(row).map(|n| n as i64)))),
    function("array_lower", &[List, Int], INT, Run::Int(|row| Ok(dimension(row).map(|_| 1)))),
    function("array_ndims", &[List], INT, Run::Int(|row| Ok((!row.list(0).is_empty()).then_some(1)))),
    function("cardinality", &[List], INT, Run::Int(|row| Ok(Some(row.list(0).len() as i64)))),
    function("array_position", &[List, Element], INT, Run::Columns(position)).loose(),
    function("array_to_string", &[List, Text], Returns::Type(Kind::Text), Run::Text(to_string)).loose(),
    function("array_to_string", &[List, Text, Text], Returns::Type(Kind::Text), Run::Text(to_string)).loose(),
    function("string_to_array", &[Text, Text], Returns::Texts, Run::Texts(from_string)).loose(),
    function("string_to_array", &[Text, Text, Text], Returns::Texts, Run::Texts(from_string)).loose(),
    function("__contains", &[List, List], BOOL, Run::Columns(|a, _, rows| sets(a, rows, Sets::Contains))),
    function("__contained", &[List, List], BOOL, Run::Columns(|a, _, rows| sets(a, rows, Sets::Contained))),
    function("__overlaps", &[List, List], BOOL, Run::Columns(|a, _, rows| sets(a, rows, Sets::Overlaps))),
    function("__any_eq", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::Equal, false))).loose(),
    function("__any_ne", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::NotEqual, false))).loose(),
    function("__any_lt", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::Less, false))).loose(),
    function("__any_le", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::LessEqual, false)))
        .loose(),
    function("__any_gt", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::Greater, false))).loose(),
    function("__any_ge", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::GreaterEqual, false)))
        .loose(),
    function("__all_eq", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::Equal, true))).loose(),
    function("__all_ne", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::NotEqual, true))).loose(),
    function("__all_lt", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::Less, true))).loose(),
    function("__all_le", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::LessEqual, true))).loose(),
    function("__all_gt", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::Greater, true))).loose(),
    function("__all_ge", &[Element, List], BOOL, Run::Columns(|a, _, n| some(a, n, BinaryOp::GreaterEqual, true)))
        .loose(),
    function("row", &[Any], Returns::Of(row_type), Run::Columns(make_row)).variadic().loose(),
    function("__field", &[Kind::Row, Text], Returns::Of(field_type), Run::Columns(field)).loose(),
];

fn internal(what: &str) -> Error {
    Error::internal(format!("a function over arrays was called {what}"))
}

/// Arrays out of runs of elements: per row, which elements of `from` (its sources side by side) it has; none for NULL.
fn gather(from: &[&dyn Array], picks: Vec<Option<Vec<(usize, usize)>>>, ty: &SqlType) -> Columns {
    let SqlType::Array(element) = ty else { return Err(internal("for another result")) };
    let mut indices = Vec::new();
    let (mut lengths, mut valid) = (Vec::with_capacity(picks.len()), Vec::with_capacity(picks.len()));
    for pick in picks {
        valid.push(pick.is_some());
        let pick = pick.unwrap_or_default();
        lengths.push(pick.len());
        indices.extend(pick);
    }
    let values = if indices.is_empty() {
        new_empty_array(&element.arrow())
    } else {
        arrow::compute::interleave(from, &indices)?
    };
    let ends = OffsetBuffer::from_lengths(lengths);
    Ok((Arc::new(ListArray::try_new(element_field(element), ends, values, Some(NullBuffer::from(valid)))?), Vec::new()))
}

fn lists(array: &ArrayRef) -> Result<&ListArray> {
    array.as_list_opt::<i32>().ok_or_else(|| internal("without an array"))
}

/// The places of a row's elements; none for NULL.
fn places(lists: &ListArray, row: usize) -> Option<std::ops::Range<usize>> {
    let start = lists.value_offsets()[row] as usize;
    lists.is_valid(row).then(|| start..start + lists.value_length(row) as usize)
}

fn make(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let from: Vec<&dyn Array> = args.iter().map(AsRef::as_ref).collect();
    let picks = (0..rows).map(|row| Some((0..args.len()).map(|arg| (arg, row)).collect())).collect();
    gather(&from, picks, ty)
}

fn element(args: &[ArrayRef], _: &SqlType, rows: usize) -> Columns {
    let [array, index] = args else { return Err(internal("with another number of arguments")) };
    let lists = lists(array)?;
    let index = index.as_primitive::<arrow::datatypes::Int32Type>();
    let pick = |row: usize| {
        let places = places(lists, row)?;
        let at =
            index.is_valid(row).then(|| index.value(row)).and_then(|at| usize::try_from(at).ok())?.checked_sub(1)?;
        (at < places.len()).then(|| (places.start + at) as u32)
    };
    let picks: UInt32Array = (0..rows).map(pick).collect();
    Ok((arrow::compute::take(lists.values(), &picks, None)?, Vec::new()))
}

/// The one element; NULL of none, a fault of several: what a sub-query that is a value gives.
fn single(args: &[ArrayRef], _: &SqlType, rows: usize) -> Columns {
    let [array] = args else { return Err(internal("with another number of arguments")) };
    let lists = lists(array)?;
    let mut faults = Vec::new();
    let mut pick = |row: usize| {
        let places = places(lists, row)?;
        if places.len() > 1 {
            faults.push(Fault { row: row as u32, reason: Reason::new(sqlstate::CARDINALITY_VIOLATION, SEVERAL_ROWS) });
        }
        (places.len() == 1).then_some(places.start as u32)
    };
    let picks: UInt32Array = (0..rows).map(&mut pick).collect();
    Ok((arrow::compute::take(lists.values(), &picks, None)?, faults))
}

fn cut(args: &[ArrayRef], ty: &SqlType, rows: usize, bounds: impl Fn(usize, usize) -> (i64, i64)) -> Columns {
    let lists = lists(args.first().ok_or_else(|| internal("without arguments"))?)?;
    let pick = |row: usize| {
        if args.iter().any(|arg| arg.is_null(row)) {
            return None;
        }
        let places = places(lists, row)?;
        let (from, to) = bounds(row, places.len());
        let from = from.clamp(1, places.len() as i64 + 1) as usize - 1;
        let to = to.clamp(from as i64, places.len() as i64) as usize;
        Some((from..to).map(|at| (0, places.start + at)).collect())
    };
    gather(&[lists.values().as_ref()], (0..rows).map(pick).collect(), ty)
}

fn number(args: &[ArrayRef], index: usize, row: usize) -> i64 {
    args.get(index)
        .and_then(|arg| arg.as_primitive_opt::<arrow::datatypes::Int32Type>())
        .map_or(0, |n| n.value(row).into())
}

fn slice(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let open = args.len() < 3;
    cut(args, ty, rows, |row, _| (number(args, 1, row), if open { i64::MAX } else { number(args, 2, row) }))
}

fn slice_to(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    cut(args, ty, rows, |row, _| (1, number(args, 1, row)))
}

fn trim(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let mut faults = Vec::new();
    let lists = lists(args.first().ok_or_else(|| internal("without arguments"))?)?;
    for row in (0..rows).filter(|&row| args.iter().all(|arg| arg.is_valid(row))) {
        let length = lists.value_length(row);
        if !(0..=i64::from(length)).contains(&number(args, 1, row)) {
            let message = format!("number of elements to trim must be between 0 and {length}");
            faults.push(Fault { row: row as u32, reason: Reason::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, message) });
        }
    }
    let (values, _) = cut(args, ty, rows, |row, length| (1, length as i64 - number(args, 1, row)))?;
    Ok((values, faults))
}

fn concat(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let parts: Vec<(&ArrayRef, Option<&ListArray>)> = args
        .iter()
        .map(|arg| (arg, if arg.data_type() == &ty.arrow() { arg.as_list_opt::<i32>() } else { None }))
        .collect();
    let from: Vec<&dyn Array> =
        parts.iter().map(|(arg, lists)| lists.map_or(arg.as_ref(), |lists| lists.values().as_ref())).collect();
    let pick = |row: usize| {
        let mut found = Vec::new();
        let mut any = false;
        for (source, (_, lists)) in parts.iter().enumerate() {
            match lists {
                Some(lists) => {
                    let places = places(lists, row);
                    any |= places.is_some();
                    found.extend(places.unwrap_or_default().map(|at| (source, at)));
                }
                None => {
                    any = true;
                    found.push((source, row));
                }
            }
        }
        any.then_some(found)
    };
    gather(&from, (0..rows).map(pick).collect(), ty)
}

/// Every value of a column in bytes that are equal when the values are (NULL too).
fn coded(values: &ArrayRef) -> Result<crate::types::EncodedRows> {
    RowCodec::new(vec![SqlType::from_arrow(values.data_type())?]).encode(std::slice::from_ref(values))
}

fn edit(args: &[ArrayRef], ty: &SqlType, rows: usize, remove: bool) -> Columns {
    let (array, wanted) = (args.first().ok_or_else(|| internal("without arguments"))?, args.get(1));
    let lists = lists(array)?;
    let wanted = coded(wanted.ok_or_else(|| internal("with one argument"))?)?;
    let held = coded(lists.values())?;
    let pick = |row: usize| {
        let kept = places(lists, row)?.filter_map(|at| match (held.row(at) == wanted.row(row), remove) {
            (true, true) => None,
            (true, false) => Some((1, row)),
            (false, _) => Some((0, at)),
        });
        Some(kept.collect())
    };
    let with: &dyn Array = args.get(2).map_or(lists.values().as_ref(), AsRef::as_ref);
    gather(&[lists.values().as_ref(), with], (0..rows).map(pick).collect(), ty)
}

fn dimension(row: &Row<'_>) -> Option<usize> {
    let length = row.list(0).len();
    (row.int(1) == 1 && length > 0).then_some(length)
}

fn position(args: &[ArrayRef], _: &SqlType, rows: usize) -> Columns {
    let [array, wanted] = args else { return Err(internal("with another number of arguments")) };
    let lists = lists(array)?;
    let (held, wanted) = (coded(lists.values())?, coded(wanted)?);
    let find = |row: usize| {
        let found = places(lists, row)?.position(|at| held.row(at) == wanted.row(row))?;
        Some(found as i32 + 1)
    };
    Ok((Arc::new((0..rows).map(find).collect::<Int32Array>()), Vec::new()))
}

fn to_string(row: &Row<'_>, out: &mut String) -> Made<()> {
    if row.is_null(0) || row.is_null(1) {
        return Ok(None);
    }
    let (list, between) = (row.list(0), row.text(1));
    let mut first = true;
    for at in 0..list.len() {
        let null = if row.len() > 2 && !row.is_null(2) { Some(row.text(2)) } else { None };
        if list.is_null(at) && null.is_none() {
            continue;
        }
        if !first {
            out.push_str(between);
        }
        first = false;
        match (list.is_null(at), list.as_boolean_opt()) {
            (true, _) => out.push_str(null.unwrap_or_default()),
            (false, Some(values)) => out.push(if values.value(at) { 't' } else { 'f' }),
            (false, None) => drop(super::text::written(crate::functions::text::write_value(list.as_ref(), at, out))?),
        }
    }
    Ok(Some(()))
}

fn from_string(row: &Row<'_>, out: &mut Vec<Option<String>>) -> Made<()> {
    if row.is_null(0) {
        return Ok(None);
    }
    let (text, null) = (row.text(0), (row.len() > 2 && !row.is_null(2)).then(|| row.text(2)));
    let part = |part: &str| (null != Some(part)).then(|| part.to_owned());
    if text.is_empty() {
        return Ok(Some(()));
    }
    if row.is_null(1) {
        out.extend(text.chars().map(|c| part(c.encode_utf8(&mut [0; 4]))));
    } else if row.text(1).is_empty() {
        out.push(part(text));
    } else {
        out.extend(text.split(row.text(1)).map(part));
    }
    Ok(Some(()))
}

#[derive(Clone, Copy, PartialEq)]
enum Sets {
    Contains,
    Contained,
    Overlaps,
}

fn sets(args: &[ArrayRef], rows: usize, kind: Sets) -> Columns {
    let [left, right] = args else { return Err(internal("with another number of arguments")) };
    let (left, right) =
        if kind == Sets::Contained { (lists(right)?, lists(left)?) } else { (lists(left)?, lists(right)?) };
    let (l, r) = (coded(left.values())?, coded(right.values())?);
    let test = |row: usize| {
        let (mine, mut theirs) = (places(left, row)?, places(right, row)?);
        // NULL is equal to nothing here.
        let mut held = |at: usize| {
            right.values().is_valid(at)
                && mine.clone().any(|mine| left.values().is_valid(mine) && l.row(mine) == r.row(at))
        };
        Some(if kind == Sets::Overlaps { theirs.any(&mut held) } else { theirs.all(&mut held) })
    };
    Ok((Arc::new((0..rows).map(test).collect::<BooleanArray>()), Vec::new()))
}

/// `x op ANY (array)`, `x op ALL (array)` with three-valued logic.
fn some(args: &[ArrayRef], rows: usize, op: BinaryOp, all: bool) -> Columns {
    let [value, array] = args else { return Err(internal("with another number of arguments")) };
    let lists = lists(array)?;
    let owners: UInt32Array =
        (0..rows).flat_map(|row| places(lists, row).unwrap_or_default().map(move |_| Some(row as u32))).collect();
    let picks: UInt32Array =
        (0..rows).flat_map(|row| places(lists, row).unwrap_or_default()).map(|at| Some(at as u32)).collect();
    let left = arrow::compute::take(value, &owners, None)?;
    let right = arrow::compute::take(lists.values(), &picks, None)?;
    let held = compare::binary(op, Col::array(left), Col::array(right), picks.len())?;
    let mut held = held.values.as_boolean().iter().collect::<Vec<_>>().into_iter();
    let test = |row: usize| {
        let mut tests = held.by_ref().take(places(lists, row)?.len()).collect::<Vec<_>>().into_iter();
        if tests.clone().any(|test| test == Some(!all)) {
            return Some(!all);
        }
        if tests.any(|test| test.is_none()) { None } else { Some(all) }
    };
    Ok((Arc::new((0..rows).map(test).collect::<BooleanArray>()), Vec::new()))
}

fn row_type(types: &[SqlType], _: &[Option<ArrayRef>]) -> Option<SqlType> {
    Some(SqlType::Row(types.iter().enumerate().map(|(i, ty)| (format!("f{}", i + 1), ty.clone())).collect()))
}

fn make_row(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let SqlType::Row(fields) = ty else { return Err(internal("for another result")) };
    Ok((Arc::new(StructArray::try_new_with_length(row_fields(fields), args.to_vec(), None, rows)?), Vec::new()))
}

fn field_place(ty: &SqlType, name: Option<&ArrayRef>) -> Option<usize> {
    let SqlType::Row(fields) = ty else { return None };
    let name = name?.as_string_opt::<i32>()?.value(0).to_owned();
    fields.iter().position(|(field, _)| *field == name)
}

fn field_type(types: &[SqlType], constants: &[Option<ArrayRef>]) -> Option<SqlType> {
    let ty = types.first()?;
    let place = field_place(ty, constants.get(1)?.as_ref())?;
    let SqlType::Row(fields) = ty else { return None };
    Some(fields.get(place)?.1.clone())
}

fn field(args: &[ArrayRef], ty: &SqlType, rows: usize) -> Columns {
    let value = args.first().ok_or_else(|| internal("without arguments"))?;
    let place = field_place(&SqlType::from_arrow(value.data_type())?, args.get(1).filter(|_| rows > 0));
    let Some(place) = place else { return Ok((new_null_array(&ty.arrow(), rows), Vec::new())) };
    let row = value.as_struct();
    let valid: UInt32Array = (0..rows).map(|at| row.is_valid(at).then_some(at as u32)).collect();
    Ok((arrow::compute::take(row.column(place), &valid, None)?, Vec::new()))
}
