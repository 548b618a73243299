//! JSONB: operators and functions.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::fault::Reason;
use crate::functions::text::write_value;
use crate::types::jsonb::{self, Item, Object};

use Kind::{Any, Bool, Int, Json, Text, Texts};
const JSON: Returns = Returns::Type(Kind::Json);
const TEXT: Returns = Returns::Type(Kind::Text);
const BOOL: Returns = Returns::Type(Kind::Bool);

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "__json_get",
        &[Json, Text],
        JSON,
        Run::Bytes(|row, out| copy(jsonb::field(row.bytes(0), row.text(1)), out)),
    ),
    function(
        "__json_get",
        &[Json, Int],
        JSON,
        Run::Bytes(|row, out| copy(jsonb::element(row.bytes(0), row.int(1)), out)),
    ),
    function(
        "__json_get_text",
        &[Json, Text],
        TEXT,
        Run::Text(|row, out| text(jsonb::field(row.bytes(0), row.text(1)), out)),
    ),
    function(
        "__json_get_text",
        &[Json, Int],
        TEXT,
        Run::Text(|row, out| text(jsonb::element(row.bytes(0), row.int(1)), out)),
    ),
    function("__json_path", &[Json, Texts], JSON, Run::Bytes(|row, out| copy(path(row.bytes(0), &row.texts(1)), out))),
    function(
        "__json_path_text",
        &[Json, Texts],
        TEXT,
        Run::Text(|row, out| text(path(row.bytes(0), &row.texts(1)), out)),
    ),
    function(
        "jsonb_extract_path",
        &[Json, Text],
        JSON,
        Run::Bytes(|row, out| copy(path(row.bytes(0), &names(row, 1)), out)),
    )
    .variadic(),
    function(
        "jsonb_extract_path_text",
        &[Json, Text],
        TEXT,
        Run::Text(|row, out| text(path(row.bytes(0), &names(row, 1)), out)),
    )
    .variadic(),
    function("__contains", &[Json, Json], BOOL, Run::Bool(|row| Ok(Some(jsonb::contains(row.bytes(0), row.bytes(1)))))),
    function(
        "__contained",
        &[Json, Json],
        BOOL,
        Run::Bool(|row| Ok(Some(jsonb::contains(row.bytes(1), row.bytes(0))))),
    ),
    function("__json_has", &[Json, Text], BOOL, Run::Bool(|row| Ok(Some(has(row.bytes(0), row.text(1)))))),
    function(
        "__json_has_any",
        &[Json, Texts],
        BOOL,
        Run::Bool(|row| Ok(Some(row.texts(1).iter().any(|key| has(row.bytes(0), key))))),
    ),
    function(
        "__json_has_all",
        &[Json, Texts],
        BOOL,
        Run::Bool(|row| Ok(Some(row.texts(1).iter().all(|key| has(row.bytes(0), key))))),
    ),
    function("__concat", &[Json, Json], JSON, Run::Bytes(concat)),
    function(
        "__minus",
        &[Json, Text],
        JSON,
        Run::Bytes(|row, out| without(row.bytes(0), &[row.text(1).to_owned()], out)),
    ),
    function("__minus", &[Json, Texts], JSON, Run::Bytes(|row, out| without(row.bytes(0), &row.texts(1), out))),
    function("__minus", &[Json, Int], JSON, Run::Bytes(without_index)),
    function("__json_delete_path", &[Json, Texts], JSON, Run::Bytes(delete_path)),
    function(
        "jsonb_typeof",
        &[Json],
        TEXT,
        Run::Text(|row, out| {
            out.push_str(Item::of(row.bytes(0)).type_name());
            Ok(Some(()))
        }),
    ),
    function("jsonb_array_length", &[Json], Returns::Type(Int), Run::Int(array_length)),
    function("jsonb_build_object", &[Any], JSON, Run::Bytes(build_object)).variadic().loose(),
    function("jsonb_build_array", &[Any], JSON, Run::Bytes(build_array)).variadic().loose(),
    function("to_jsonb", &[Any], JSON, Run::Bytes(|row, out| value(row, 0, out).map(Some))),
    function(
        "jsonb_strip_nulls",
        &[Json],
        JSON,
        Run::Bytes(|row, out| {
            strip(row.bytes(0), out);
            Ok(Some(()))
        }),
    ),
    function("jsonb_set", &[Json, Texts, Json], JSON, Run::Bytes(set)),
    function("jsonb_set", &[Json, Texts, Json, Bool], JSON, Run::Bytes(set)),
    function(
        "jsonb_pretty",
        &[Json],
        TEXT,
        Run::Text(|row, out| {
            pretty(row.bytes(0), 0, out);
            Ok(Some(()))
        }),
    ),
    function("jsonb_object", &[Texts], JSON, Run::Bytes(object)),
    function("__json_merge", &[Json], JSON, Run::Bytes(merge)),
];

fn copy(found: Option<&[u8]>, out: &mut Vec<u8>) -> Made<()> {
    out.extend_from_slice(found.unwrap_or_default());
    Ok(found.map(|_| ()))
}

/// As `->>`: strings without quotes, null as NULL.
pub(super) fn text(found: Option<&[u8]>, out: &mut String) -> Made<()> {
    let Some(found) = found else { return Ok(None) };
    match Item::of(found) {
        Item::Null => Ok(None),
        Item::String(text) => {
            out.push_str(text);
            Ok(Some(()))
        }
        Item::Number(_) | Item::Bool(_) | Item::Array(_) | Item::Object(_) => {
            super::text::written(jsonb::to_text(found, out))
        }
    }
}

fn names(row: &Row<'_>, from: usize) -> Vec<String> {
    (from..row.len()).map(|index| row.text(index).to_owned()).collect()
}

fn path<'a>(mut bytes: &'a [u8], steps: &[String]) -> Option<&'a [u8]> {
    for step in steps {
        bytes = match Item::of(bytes) {
            Item::Object(_) => jsonb::field(bytes, step)?,
            Item::Array(_) => jsonb::element(bytes, step.trim().parse().ok()?)?,
            Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => return None,
        };
    }
    Some(bytes)
}

/// Whether a key, an element of an array or the value itself is the string `key`.
fn has(bytes: &[u8], key: &str) -> bool {
    let is_key = |bytes: &[u8]| matches!(Item::of(bytes), Item::String(text) if text == key);
    match Item::of(bytes) {
        Item::Object(mut pairs) => pairs.any(|(name, _)| name == key),
        Item::Array(mut elements) => elements.any(is_key),
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => is_key(bytes),
    }
}

fn concat(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    let (left, right) = (row.bytes(0), row.bytes(1));
    match (Item::of(left), Item::of(right)) {
        (Item::Object(mine), Item::Object(theirs)) => {
            let mut object = Object::default();
            mine.chain(theirs).for_each(|(key, value)| object.add(key, value));
            object.finish(out);
        }
        (mine, theirs) => {
            let all = parts(mine, left).into_iter().chain(parts(theirs, right));
            jsonb::push_array(all, out);
        }
    }
    Ok(Some(()))
}

/// The elements of an array; another value is its own.
fn parts<'a>(item: Item<'a>, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    match item {
        Item::Array(elements) => elements.collect(),
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) | Item::Object(_) => vec![bytes],
    }
}

fn wrong(message: &'static str) -> Reason {
    Reason::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn without(bytes: &[u8], keys: &[String], out: &mut Vec<u8>) -> Made<()> {
    match Item::of(bytes) {
        Item::Object(pairs) => {
            let mut object = Object::default();
            pairs
                .filter(|(key, _)| !keys.iter().any(|gone| gone == key))
                .for_each(|(key, value)| object.add(key, value));
            object.finish(out);
        }
        Item::Array(elements) => {
            let gone =
                |bytes: &&[u8]| matches!(Item::of(bytes), Item::String(text) if keys.iter().any(|key| key == text));
            jsonb::push_array(elements.filter(|bytes| !gone(bytes)), out);
        }
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => {
            return Err(wrong("cannot delete from scalar"));
        }
    }
    Ok(Some(()))
}

fn without_index(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    match Item::of(row.bytes(0)) {
        Item::Array(elements) => {
            let index = if row.int(1) < 0 { row.int(1) + elements.len() as i64 } else { row.int(1) };
            let kept = elements.enumerate().filter(|(at, _)| *at as i64 != index).map(|(_, bytes)| bytes);
            jsonb::push_array(kept, out);
            Ok(Some(()))
        }
        Item::Object(_) => Err(wrong("cannot delete from object using integer index")),
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => Err(wrong("cannot delete from scalar")),
    }
}

/// `bytes` with the value at `steps` replaced by what `with` is (or left out); `create` adds what is not there.
fn changed(bytes: &[u8], steps: &[String], with: Option<&[u8]>, create: bool, out: &mut Vec<u8>) {
    let Some((step, rest)) = steps.split_first() else { return out.extend_from_slice(with.unwrap_or(bytes)) };
    match Item::of(bytes) {
        Item::Object(pairs) => {
            let mut object = Object::default();
            let mut found = false;
            for (key, value) in pairs {
                if key != step {
                    object.add(key, value);
                    continue;
                }
                found = true;
                if with.is_none() && rest.is_empty() {
                    continue;
                }
                let mut inner = Vec::new();
                changed(value, rest, with, create, &mut inner);
                object.add(key, &inner);
            }
            if let (false, true, true, Some(with)) = (found, create, rest.is_empty(), with) {
                object.add(step, with);
            }
            object.finish(out);
        }
        Item::Array(elements) => {
            let count = elements.len() as i64;
            let index = step.trim().parse::<i64>().unwrap_or(i64::MAX);
            let place = if index < 0 { index + count } else { index };
            let mut parts: Vec<Vec<u8>> = Vec::new();
            for (at, element) in elements.enumerate() {
                if at as i64 != place {
                    parts.push(element.to_vec());
                } else if with.is_some() || !rest.is_empty() {
                    let mut inner = Vec::new();
                    changed(element, rest, with, create, &mut inner);
                    parts.push(inner);
                }
            }
            if let (true, true, Some(with)) = (create, rest.is_empty(), with) {
                if place >= count {
                    parts.push(with.to_vec());
                } else if place < 0 {
                    parts.insert(0, with.to_vec());
                }
            }
            jsonb::push_array(parts.iter().map(Vec::as_slice), out);
        }
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => out.extend_from_slice(bytes),
    }
}

fn container(bytes: &[u8], message: &'static str) -> Result<(), Reason> {
    match Item::of(bytes) {
        Item::Array(_) | Item::Object(_) => Ok(()),
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => Err(wrong(message)),
    }
}

fn delete_path(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    container(row.bytes(0), "cannot delete path in scalar")?;
    changed(row.bytes(0), &row.texts(1), None, false, out);
    Ok(Some(()))
}

fn set(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    container(row.bytes(0), "cannot set path in scalar")?;
    let create = row.len() < 4 || row.bool(3);
    let steps = row.texts(1);
    if steps.is_empty() {
        out.extend_from_slice(row.bytes(0));
    } else {
        changed(row.bytes(0), &steps, Some(row.bytes(2)), create, out);
    }
    Ok(Some(()))
}

fn array_length(row: &Row<'_>) -> Made<i64> {
    match Item::of(row.bytes(0)) {
        Item::Array(elements) => Ok(Some(elements.len() as i64)),
        Item::Object(_) => Err(wrong("cannot get array length of a non-array")),
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => {
            Err(wrong("cannot get array length of a scalar"))
        }
    }
}

/// Appends argument `index` as JSON.
fn value(row: &Row<'_>, index: usize, out: &mut Vec<u8>) -> Result<(), Reason> {
    match row.value(index) {
        Some((array, at)) => of_value(array, at, out),
        None => {
            jsonb::push_null(out);
            Ok(())
        }
    }
}

/// Appends the value in row `row` of `array` as `to_jsonb` makes it.
fn of_value(array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), Reason> {
    if array.is_null(row) {
        jsonb::push_null(out);
        return Ok(());
    }
    let mut shown = String::new();
    match array.data_type() {
        DataType::Boolean => jsonb::push_bool(array.as_boolean().value(row), out),
        DataType::LargeBinary => out.extend_from_slice(array.as_binary::<i64>().value(row)),
        DataType::Utf8 => jsonb::push_string(array.as_string::<i32>().value(row), out),
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            let parts = (0..list.len()).map(|at| {
                let mut part = Vec::new();
                of_value(&list, at, &mut part).map(|()| part)
            });
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            jsonb::push_array(parts.iter().map(Vec::as_slice), out);
        }
        DataType::Struct(fields) => {
            let mut object = Object::default();
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                object.add_with(field.name().clone(), |out| of_value(column, row, out))?;
            }
            object.finish(out);
        }
        ty => {
            super::text::written(write_value(array.as_ref(), row, &mut shown))?;
            let is_number = ty.is_numeric() && !shown.ends_with(|c: char| c.is_ascii_alphabetic());
            if is_number {
                jsonb::push_number(&shown, out)?;
            } else {
                // JSON's dates are ISO 8601.
                let stamp = matches!(ty, DataType::Timestamp(..));
                if stamp {
                    shown = shown.replacen(' ', "T", 1);
                }
                if matches!(ty, DataType::Timestamp(_, Some(_))) && shown.ends_with("+00") {
                    shown.push_str(":00");
                }
                jsonb::push_string(&shown, out);
            }
        }
    }
    Ok(())
}

fn build_object(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    if !row.len().is_multiple_of(2) {
        return Err(wrong("argument list must have even number of elements"));
    }
    let mut object = Object::default();
    for index in (0..row.len()).step_by(2) {
        if row.is_null(index) {
            return Err(wrong("argument 1: key must not be null"));
        }
        let mut key = String::new();
        super::text::show(row, index, &mut key)?;
        object.add_with(key, |out| value(row, index + 1, out))?;
    }
    object.finish(out);
    Ok(Some(()))
}

fn build_array(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    let part = |index: usize| {
        let mut part = Vec::new();
        value(row, index, &mut part).map(|()| part)
    };
    let parts = (0..row.len()).map(part).collect::<Result<Vec<_>, _>>()?;
    jsonb::push_array(parts.iter().map(Vec::as_slice), out);
    Ok(Some(()))
}

fn object(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    let list = row.list(0);
    let Some(texts) = list.as_string_opt::<i32>() else { return Ok(None) };
    if texts.len() % 2 != 0 {
        return Err(Reason::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, "array must have even number of elements"));
    }
    let mut object = Object::default();
    for at in (0..texts.len()).step_by(2) {
        if texts.is_null(at) {
            return Err(Reason::new("22004", "null value not allowed for object key"));
        }
        let mut part = Vec::new();
        match texts.is_null(at + 1) {
            true => jsonb::push_null(&mut part),
            false => jsonb::push_string(texts.value(at + 1), &mut part),
        }
        object.add(texts.value(at), &part);
    }
    object.finish(out);
    Ok(Some(()))
}

/// The objects of an array as one.
fn merge(row: &Row<'_>, out: &mut Vec<u8>) -> Made<()> {
    let Item::Array(objects) = Item::of(row.bytes(0)) else { return Ok(None) };
    let mut merged = Object::default();
    for object in objects {
        if let Item::Object(pairs) = Item::of(object) {
            pairs.for_each(|(key, value)| merged.add(key, value));
        }
    }
    merged.finish(out);
    Ok(Some(()))
}

fn strip(bytes: &[u8], out: &mut Vec<u8>) {
    let inner = |bytes: &[u8]| {
        let mut part = Vec::new();
        strip(bytes, &mut part);
        part
    };
    match Item::of(bytes) {
        Item::Object(pairs) => {
            let mut object = Object::default();
            let kept = pairs.filter(|(_, value)| !matches!(Item::of(value), Item::Null));
            kept.for_each(|(key, value)| object.add(key, &inner(value)));
            object.finish(out);
        }
        Item::Array(elements) => {
            let parts: Vec<Vec<u8>> = elements.map(inner).collect();
            jsonb::push_array(parts.iter().map(Vec::as_slice), out);
        }
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => out.extend_from_slice(bytes),
    }
}

fn pretty(bytes: &[u8], depth: usize, out: &mut String) {
    let indent = |depth: usize, out: &mut String| (0..depth * 4).for_each(|_| out.push(' '));
    let separate = |first: bool, out: &mut String| out.push_str(if first { "\n" } else { ",\n" });
    match Item::of(bytes) {
        Item::Object(pairs) => {
            out.push('{');
            for (i, (key, value)) in pairs.enumerate() {
                separate(i == 0, out);
                indent(depth + 1, out);
                // Writing into memory does not fail.
                let _ = crate::types::json::write_string(key, out);
                out.push_str(": ");
                pretty(value, depth + 1, out);
            }
            out.push('\n');
            indent(depth, out);
            out.push('}');
        }
        Item::Array(elements) => {
            out.push('[');
            for (i, value) in elements.enumerate() {
                separate(i == 0, out);
                indent(depth + 1, out);
                pretty(value, depth + 1, out);
            }
            out.push('\n');
            indent(depth, out);
            out.push(']');
        }
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) => {
            let _ = jsonb::to_text(bytes, out);
        }
    }
}
