//! Rows of `information_schema`: the standard's views of relations, columns, keys and schemas.

use super::definitions::{index_name, view};
use super::names::has_key_index;
use super::relations::all;
use super::table::{Table, Value};
use super::{DATABASE, Facts};
use crate::catalog::postgres::{OWNER, PgType, pg_table, pg_type, pg_type_named, pg_type_of};
use crate::catalog::{Object, ObjectClass, Privilege, Relation, RelationKind, schemas};
use crate::sql::declared_columns;
use crate::types::SqlType;
use crate::types::numeric::Shows;

fn schema_owner(facts: &Facts, name: &str) -> String {
    let rights = facts.catalog.rights(&Object::Schema(name.to_string()));
    rights.map_or_else(|| OWNER.1.to_string(), |(rights, ..)| rights.owner)
}

/// Adds the rows of `table`.
pub(super) fn fill(table: &mut Table, facts: &Facts) {
    match table.name() {
        "tables" | "views" => relations(table, facts),
        "columns" => columns(table, facts),
        "schemata" => {
            for name in facts.catalog.schemas() {
                table.row([
                    ("catalog_name", DATABASE.into()),
                    ("schema_name", name.into()),
                    ("schema_owner", schema_owner(facts, name).into()),
                ]);
            }
        }
        "table_constraints" | "key_column_usage" | "constraint_column_usage" | "constraint_table_usage" => {
            keys(table, facts);
        }
        "information_schema_catalog_name" => table.row([("catalog_name", DATABASE.into())]),
        "enabled_roles" => {
            for role in &facts.identity.roles {
                table.row([("role_name", role.as_str().into())]);
            }
        }
        "applicable_roles" => {}
        "character_sets" => table.row([
            ("character_set_name", "UTF8".into()),
            ("character_repertoire", "UCS".into()),
            ("form_of_use", "UTF8".into()),
            ("default_collate_catalog", DATABASE.into()),
            ("default_collate_schema", schemas::POSTGRES.into()),
            ("default_collate_name", "C".into()),
        ]),
        "table_privileges" | "role_table_grants" => privileges(table, facts),
        _ => {}
    }
}

fn yes(flag: bool) -> Value {
    if flag { "YES".into() } else { "NO".into() }
}

fn relations(table: &mut Table, facts: &Facts) {
    for (relation, kind) in all(&facts.catalog) {
        let (schema, name) = (relation.schema_name.as_str(), relation.name.as_str());
        let stored = relation.kind == RelationKind::Table;
        if table.name() == "tables" {
            let kind = match kind {
                "v" => "VIEW",
                // The standard has no word for materialized views; clients that list relations are to find them.
                "m" => "MATERIALIZED VIEW",
                "f" => "FOREIGN",
                _ => "BASE TABLE",
            };
            table.row([
                ("table_catalog", DATABASE.into()),
                ("table_schema", schema.into()),
                ("table_name", name.into()),
                ("table_type", kind.into()),
                ("is_insertable_into", yes(stored)),
                ("is_typed", yes(false)),
            ]);
        } else if kind == "v" {
            table.row([
                ("table_catalog", DATABASE.into()),
                ("table_schema", schema.into()),
                ("table_name", name.into()),
                ("view_definition", view(&relation).into()),
                ("check_option", "NONE".into()),
                ("is_updatable", yes(false)),
                ("is_insertable_into", yes(false)),
                ("is_trigger_updatable", yes(false)),
                ("is_trigger_deletable", yes(false)),
                ("is_trigger_insertable_into", yes(false)),
            ]);
        }
    }
}

fn columns(table: &mut Table, facts: &Facts) {
    for (relation, _) in all(&facts.catalog) {
        let declared = declared_columns(&relation.sql);
        let postgres = pg_table(&relation.schema_name, &relation.name);
        for (place, column) in relation.columns.columns.iter().enumerate() {
            let known = postgres.and_then(|table| table.columns.get(place)).and_then(|(_, ty)| pg_type_named(ty));
            let Some(ty) = known.or_else(|| pg_type(pg_type_of(&column.ty).0)) else { continue };
            let said = declared.iter().find(|declared| declared.name == column.name);
            let generated = said.and_then(|said| said.generated.as_deref());
            let (precision, radix, scale) = digits(&column.ty);
            let nullable = relation.may_be_null(place);
            table.row([
                ("table_catalog", DATABASE.into()),
                ("table_schema", relation.schema_name.as_str().into()),
                ("table_name", relation.name.as_str().into()),
                ("column_name", column.name.as_str().into()),
                ("ordinal_position", (place + 1).into()),
                ("column_default", said.and_then(|said| said.default.as_deref()).into()),
                ("is_nullable", yes(nullable)),
                ("data_type", data_type(ty).into()),
                ("numeric_precision", precision),
                ("numeric_precision_radix", radix),
                ("numeric_scale", scale),
                ("datetime_precision", datetime_digits(&column.ty)),
                ("udt_catalog", DATABASE.into()),
                ("udt_schema", schemas::POSTGRES.into()),
                ("udt_name", ty.name.into()),
                ("dtd_identifier", (place + 1).to_string().into()),
                ("is_self_referencing", yes(false)),
                ("is_identity", yes(false)),
                ("identity_cycle", yes(false)),
                ("is_generated", if generated.is_some() { "ALWAYS".into() } else { "NEVER".into() }),
                ("generation_expression", generated.into()),
                ("is_updatable", yes(relation.kind == RelationKind::Table)),
            ]);
        }
    }
}

/// A type as the standard calls it.
fn data_type(ty: &PgType) -> String {
    if ty.category == "A" { "ARRAY".to_string() } else { super::names::type_name(ty.oid, -1) }
}

/// Precision, radix and scale of a number.
fn digits(ty: &SqlType) -> (Value, Value, Value) {
    let binary = |bits: i32, scale: Value| (bits.into(), Value::Int(2), scale);
    match ty {
        SqlType::SmallInt => binary(16, Value::Int(0)),
        SqlType::Int => binary(32, Value::Int(0)),
        SqlType::BigInt => binary(64, Value::Int(0)),
        SqlType::Real => binary(24, Value::Null),
        SqlType::Double => binary(53, Value::Null),
        SqlType::Decimal { precision, scale } if Shows::of(*precision, *scale) != Shows::Scale => {
            (Value::Null, Value::Int(10), Value::Null)
        }
        SqlType::Decimal { precision, scale } => {
            (i32::from(*precision).into(), Value::Int(10), i32::from(*scale).into())
        }
        _ => (Value::Null, Value::Null, Value::Null),
    }
}

fn datetime_digits(ty: &SqlType) -> Value {
    match ty {
        SqlType::Date => Value::Int(0),
        SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval => Value::Int(6),
        _ => Value::Null,
    }
}

fn keys(table: &mut Table, facts: &Facts) {
    for relation in facts.catalog.relations().filter(|relation| has_key_index(relation)) {
        let names = KeyNames { relation, constraint: index_name(relation) };
        match table.name() {
            "table_constraints" => table.row([
                ("constraint_catalog", DATABASE.into()),
                ("constraint_schema", names.schema()),
                ("constraint_name", names.name()),
                ("table_catalog", DATABASE.into()),
                ("table_schema", names.schema()),
                ("table_name", names.table()),
                ("constraint_type", "PRIMARY KEY".into()),
                ("is_deferrable", yes(false)),
                ("initially_deferred", yes(false)),
                ("enforced", yes(true)),
            ]),
            "constraint_table_usage" => table.row([
                ("table_catalog", DATABASE.into()),
                ("table_schema", names.schema()),
                ("table_name", names.table()),
                ("constraint_catalog", DATABASE.into()),
                ("constraint_schema", names.schema()),
                ("constraint_name", names.name()),
            ]),
            _ => key_columns(table, &names),
        }
    }
}

/// A primary key as the standard names it.
struct KeyNames<'a> {
    relation: &'a Relation,
    constraint: String,
}

impl KeyNames<'_> {
    fn schema(&self) -> Value {
        self.relation.schema_name.as_str().into()
    }

    fn table(&self) -> Value {
        self.relation.name.as_str().into()
    }

    fn name(&self) -> Value {
        self.constraint.as_str().into()
    }
}

fn key_columns(table: &mut Table, names: &KeyNames<'_>) {
    for (place, &column) in names.relation.primary_key.iter().enumerate() {
        let Some(column) = names.relation.columns.columns.get(column) else { continue };
        let shared = [
            ("table_catalog", DATABASE.into()),
            ("table_schema", names.schema()),
            ("table_name", names.table()),
            ("column_name", column.name.as_str().into()),
            ("constraint_catalog", DATABASE.into()),
            ("constraint_schema", names.schema()),
            ("constraint_name", names.name()),
        ];
        if table.name() == "constraint_column_usage" {
            table.row(shared);
            continue;
        }
        let [a, b, c, d, e, f, g] = shared;
        table.row([a, b, c, d, e, f, g, ("ordinal_position", (place + 1).into())]);
    }
}

fn privileges(table: &mut Table, facts: &Facts) {
    for (relation, _) in all(&facts.catalog).filter(|(relation, _)| relation.kind != RelationKind::System) {
        let rights = facts.catalog.relation_rights(&relation);
        for item in rights.items(ObjectClass::Relation, false) {
            let grantee = if item.grantee.is_empty() { "PUBLIC" } else { item.grantee.as_str() };
            for privilege in &item.privileges {
                let grantable = item.grantee == rights.owner || item.grantable.contains(privilege);
                table.row([
                    ("grantor", item.grantor.as_str().into()),
                    ("grantee", grantee.into()),
                    ("table_catalog", DATABASE.into()),
                    ("table_schema", relation.schema_name.as_str().into()),
                    ("table_name", relation.name.as_str().into()),
                    ("privilege_type", privilege.word().into()),
                    ("is_grantable", yes(grantable)),
                    ("with_hierarchy", yes(*privilege == Privilege::Select)),
                ]);
            }
        }
    }
}
