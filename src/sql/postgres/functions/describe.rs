//! Functions that describe objects: definitions, comments, names of types, visibility.

use super::super::definitions;
use super::super::names::{Reg, function_name, is_visible_oid, parts, role_name, type_name};
use super::super::table::Value;
use super::{Call, Entry, entry, flag, number, text, texts};
use crate::base::Result;
use crate::catalog::postgres::{pg_type, relation_of_oid};

pub(super) const ENTRIES: &[Entry] = &[
    entry("format_type", (2, 2), text, format_type).loose(),
    entry("pg_get_viewdef", (1, 2), text, |call| Ok(definitions::view_of(&call.facts.catalog, class(call)?).into())),
    entry("pg_get_indexdef", (1, 3), text, |call| {
        let column = call.int(1).and_then(|column| usize::try_from(column).ok()).unwrap_or_default();
        Ok(definitions::index(&call.facts.catalog, class(call)?, column).into())
    }),
    entry("pg_get_constraintdef", (1, 2), text, |call| {
        Ok(definitions::constraint(&call.facts.catalog, class(call)?).into())
    }),
    // Expressions are kept as they were written.
    entry("pg_get_expr", (2, 3), text, |call| Ok(call.text(0).into())),
    entry("pg_get_userbyid", (1, 1), text, |call| {
        let oid = class(call)?;
        let unknown = || format!("unknown (OID={oid})");
        Ok(role_name(oid, call.facts).map_or_else(unknown, str::to_string).into())
    }),
    // There are none of these objects: nothing has such a number.
    entry("pg_get_ruledef", (1, 2), text, none),
    entry("pg_get_triggerdef", (1, 2), text, none),
    entry("pg_get_partkeydef", (1, 1), text, none),
    entry("pg_get_partition_constraintdef", (1, 1), text, none),
    entry("pg_partition_ancestors", (1, 1), number, none).told("regclass"),
    entry("pg_partition_root", (1, 1), number, none).told("regclass"),
    entry("pg_get_statisticsobjdef", (1, 1), text, none),
    entry("pg_get_statisticsobjdef_columns", (1, 1), text, none),
    entry("pg_get_functiondef", (1, 1), text, functiondef),
    entry("pg_get_function_result", (1, 1), text, function_result),
    entry("pg_get_function_arguments", (1, 1), text, function_arguments),
    entry("pg_get_function_identity_arguments", (1, 1), text, function_arguments),
    entry("pg_get_function_sqlbody", (1, 1), text, none),
    entry("pg_get_serial_sequence", (2, 2), text, none),
    entry("pg_tablespace_location", (1, 1), text, |_| Ok("".into())),
    entry("obj_description", (1, 2), text, obj_description),
    entry("col_description", (2, 2), text, col_description),
    entry("shobj_description", (2, 2), text, none),
    entry("pg_table_is_visible", (1, 1), flag, |call| Ok(is_visible_oid(class(call)?, call.facts).into())),
    entry("pg_type_is_visible", (1, 1), flag, |call| Ok(pg_type(call.oid(0, Reg::Type)?).map(|_| true).into())),
    entry("pg_function_is_visible", (1, 1), flag, exists),
    entry("pg_operator_is_visible", (1, 1), flag, exists),
    entry("pg_opclass_is_visible", (1, 1), flag, exists),
    entry("pg_opfamily_is_visible", (1, 1), flag, exists),
    entry("pg_collation_is_visible", (1, 1), flag, exists),
    entry("pg_conversion_is_visible", (1, 1), flag, exists),
    entry("pg_statistics_obj_is_visible", (1, 1), flag, exists),
    entry("pg_ts_config_is_visible", (1, 1), flag, exists),
    entry("pg_ts_dict_is_visible", (1, 1), flag, exists),
    entry("pg_ts_parser_is_visible", (1, 1), flag, exists),
    entry("pg_ts_template_is_visible", (1, 1), flag, exists),
    entry("pg_relation_is_publishable", (1, 1), flag, |_| Ok(false.into())),
    entry("parse_ident", (1, 2), texts, |call| Ok(parts(call.text(0).unwrap_or_default()).into())),
    entry("pg_typeof", (1, 1), text, pg_typeof).loose(),
];

/// Which types a built-in function takes and gives is decided call by call.
fn function_result(call: &Call<'_>) -> Result<Value> {
    let oid = call.oid(0, Reg::Proc)?;
    if let Some((function, _)) = definitions::function(&call.facts.catalog, oid) {
        return Ok(definitions::type_name(&function.returns).into());
    }
    Ok(function_name(oid, call.facts).map(|_| "\"any\"").into())
}

fn function_arguments(call: &Call<'_>) -> Result<Value> {
    let oid = call.oid(0, Reg::Proc)?;
    if let Some((function, _)) = definitions::function(&call.facts.catalog, oid) {
        return Ok(definitions::function_parameters(&function).into());
    }
    Ok(function_name(oid, call.facts).map(|_| "VARIADIC \"any\"").into())
}

fn functiondef(call: &Call<'_>) -> Result<Value> {
    let definition = |name: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION pg_catalog.{name}(VARIADIC \"any\")\n RETURNS \"any\"\n LANGUAGE internal\nAS $function${name}$function$\n"
        )
    };
    let oid = call.oid(0, Reg::Proc)?;
    if let Some((_, text)) = definitions::function(&call.facts.catalog, oid) {
        return Ok(format!("{text}\n").into());
    }
    Ok(function_name(oid, call.facts).map(definition).into())
}

fn none(_: &Call<'_>) -> Result<Value> {
    Ok(Value::Null)
}

/// Everything in pg_catalog is found by its name alone.
fn exists(_: &Call<'_>) -> Result<Value> {
    Ok(true.into())
}

fn class(call: &Call<'_>) -> Result<u32> {
    call.oid(0, Reg::Class)
}

fn format_type(call: &Call<'_>) -> Result<Value> {
    let Some(oid) = call.int(0) else { return Ok(Value::Null) };
    if oid == 0 {
        return Ok("-".into());
    }
    let modifier = call.int(1).and_then(|modifier| i32::try_from(modifier).ok()).unwrap_or(-1);
    Ok(type_name(u32::try_from(oid).unwrap_or_default(), modifier).into())
}

fn pg_typeof(call: &Call<'_>) -> Result<Value> {
    let Some(ty) = call.types.first() else { return Ok(Value::Null) };
    if ty.is_null() {
        return Ok("unknown".into());
    }
    let ty = crate::types::SqlType::from_arrow(ty)?;
    let (oid, _) = crate::catalog::postgres::pg_type_of(&ty);
    Ok(type_name(oid, -1).into())
}

fn obj_description(call: &Call<'_>) -> Result<Value> {
    let class = call.text(1).unwrap_or("pg_class");
    if class != "pg_class" {
        return Ok(Value::Null);
    }
    let relation = relation_of_oid(&call.facts.catalog, call.oid(0, Reg::Class)?);
    Ok(relation.and_then(|relation| relation.comment.clone()).into())
}

fn col_description(call: &Call<'_>) -> Result<Value> {
    let relation = relation_of_oid(&call.facts.catalog, call.oid(0, Reg::Class)?);
    let place = call.int(1).and_then(|column| usize::try_from(column).ok()).and_then(|column| column.checked_sub(1));
    let comment = relation.zip(place).and_then(|(relation, place)| relation.column_comments.get(&place).cloned());
    Ok(comment.into())
}
