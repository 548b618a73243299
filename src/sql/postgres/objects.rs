//! Rows about everything that is no relation: schemas, types, functions, settings.

use super::definitions;
use super::names::role;
use super::roles::{acl, owner};
use super::table::{Table, Value};
use super::{DATABASE, Facts};
use crate::catalog::postgres::{OWNER, io_functions, named_oid, pg_type_of, pg_types, relation_oid, schema_oid};
use crate::catalog::{Object, RelationKind, schemas};

/// Numbers of the database and of its tablespace.
const DATABASE_OID: u32 = 5;
const TABLESPACE_OID: u32 = 1663;

/// UTF-8 among PostgreSQL's encodings.
pub(super) const UTF8: i64 = 6;

/// Adds the rows if `table` is one of these.
pub(super) fn fill(table: &mut Table, facts: &Facts) {
    match table.name() {
        "pg_namespace" => namespaces(table, facts),
        "pg_type" => types(table),
        "pg_am" => access_methods(table),
        "pg_collation" => collations(table),
        "pg_language" => languages(table),
        "pg_database" => database(table, facts),
        "pg_tablespace" => tablespaces(table),
        "pg_proc" => {
            functions(table, facts);
            users_functions(table, facts);
        }
        "pg_settings" => settings(table, facts),
        _ => {}
    }
}

fn namespaces(table: &mut Table, facts: &Facts) {
    for name in facts.catalog.schemas() {
        let Some((rights, ..)) = facts.catalog.rights(&Object::Schema(name.to_string())) else { continue };
        let owner = role(&rights.owner).into();
        table.row([
            ("oid", schema_oid(name).into()),
            ("nspname", name.into()),
            ("nspowner", owner),
            ("nspacl", acl(&rights)),
        ]);
    }
}

fn types(table: &mut Table) {
    let [postgres, owner] = [schema_oid(schemas::POSTGRES), OWNER.0];
    for ty in pg_types() {
        let [input, output, receive, send] = ty.functions;
        table.row([
            ("oid", ty.oid.into()),
            ("typname", ty.name.into()),
            ("typnamespace", postgres.into()),
            ("typowner", owner.into()),
            ("typlen", i64::from(ty.bytes).into()),
            ("typbyval", ty.by_value.into()),
            ("typtype", ty.kind.into()),
            ("typcategory", ty.category.into()),
            ("typispreferred", ty.preferred.into()),
            ("typisdefined", true.into()),
            ("typdelim", ",".into()),
            ("typelem", ty.element.into()),
            ("typarray", ty.array.into()),
            ("typinput", input.into()),
            ("typoutput", output.into()),
            ("typreceive", receive.into()),
            ("typsend", send.into()),
            ("typalign", ty.align.into()),
            ("typstorage", ty.storage.into()),
            ("typtypmod", Value::Int(-1)),
            ("typcollation", ty.collation.into()),
        ]);
    }
}

fn access_methods(table: &mut Table) {
    for (oid, name, kind) in [(2u32, "heap", "t"), (403, "btree", "i")] {
        table.row([("oid", oid.into()), ("amname", name.into()), ("amtype", kind.into())]);
    }
}

fn collations(table: &mut Table) {
    for (oid, name, provider) in [(100u32, "default", "d"), (950, "C", "c"), (951, "POSIX", "c")] {
        let locale: Value = if provider == "c" { name.into() } else { Value::Null };
        table.row([
            ("oid", oid.into()),
            ("collname", name.into()),
            ("collnamespace", schema_oid(schemas::POSTGRES).into()),
            ("collowner", OWNER.0.into()),
            ("collprovider", provider.into()),
            ("collisdeterministic", true.into()),
            ("collencoding", Value::Int(-1)),
            ("collcollate", locale.clone()),
            ("collctype", locale),
        ]);
    }
}

fn languages(table: &mut Table) {
    for (oid, name, trusted) in [(12u32, "internal", false), (14, "sql", true)] {
        table.row([
            ("oid", oid.into()),
            ("lanname", name.into()),
            ("lanowner", OWNER.0.into()),
            ("lanpltrusted", trusted.into()),
        ]);
    }
}

fn database(table: &mut Table, facts: &Facts) {
    let Some((rights, ..)) = facts.catalog.rights(&Object::Database) else { return };
    table.row([
        ("oid", DATABASE_OID.into()),
        ("datname", DATABASE.into()),
        ("datdba", role(&rights.owner).into()),
        ("datacl", acl(&rights)),
        ("encoding", UTF8.into()),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", Value::Int(-1)),
        ("dattablespace", TABLESPACE_OID.into()),
        ("datcollate", "C".into()),
        ("datctype", "C".into()),
    ]);
}

fn tablespaces(table: &mut Table) {
    table.row([("oid", TABLESPACE_OID.into()), ("spcname", "pg_default".into()), ("spcowner", OWNER.0.into())]);
}

fn functions(table: &mut Table, facts: &Facts) {
    for (oid, name) in io_functions() {
        table.row([
            ("oid", oid.into()),
            ("proname", name.into()),
            ("pronamespace", schema_oid(schemas::POSTGRES).into()),
            ("proowner", OWNER.0.into()),
            ("prolang", 12u32.into()),
            ("procost", Value::Float(1.0)),
            ("prokind", "f".into()),
            ("proisstrict", true.into()),
            ("provolatile", "i".into()),
            ("proparallel", "s".into()),
            ("pronargs", Value::Int(1)),
            ("prorettype", 2281u32.into()),
            ("proargtypes", Value::Ints(vec![2281])),
            ("prosrc", name.into()),
        ]);
    }
    for (name, kind) in facts.functions.iter() {
        table.row([
            ("oid", named_oid("function", name).into()),
            ("proname", name.as_str().into()),
            ("pronamespace", schema_oid(schemas::POSTGRES).into()),
            ("proowner", OWNER.0.into()),
            ("prolang", 12u32.into()),
            ("procost", Value::Float(1.0)),
            ("prokind", (*kind).into()),
            ("provolatile", "i".into()),
            ("proparallel", "s".into()),
            // Which types they take is decided call by call.
            ("pronargs", Value::Int(1)),
            ("provariadic", 2276u32.into()),
            ("prorettype", 2276u32.into()),
            ("proargtypes", Value::Ints(vec![2276])),
            ("prosrc", name.as_str().into()),
        ]);
    }
}

/// Functions that users made.
fn users_functions(table: &mut Table, facts: &Facts) {
    let functions = facts.catalog.relations().filter(|relation| relation.kind == RelationKind::Function);
    for relation in functions {
        let oid = relation_oid(relation);
        let Some((function, _)) = definitions::function(&facts.catalog, oid) else { continue };
        let number = |ty| definitions::function_type(ty).map_or(2276, |ty| i64::from(pg_type_of(&ty).0));
        let parameters: Vec<i64> = function.parameters.iter().map(|parameter| number(&parameter.data_type)).collect();
        let names = function.parameters.iter().map(|parameter| parameter.name.as_ref());
        let names = names.map(|name| name.map_or_else(String::new, |name| name.name.clone())).collect::<Vec<_>>();
        let named = names.iter().any(|name| !name.is_empty());
        table.row([
            ("oid", oid.into()),
            ("proname", function.name.name.as_str().into()),
            ("pronamespace", schema_oid(&relation.schema_name).into()),
            ("proowner", owner(facts, relation).into()),
            ("proacl", acl(&relation.rights)),
            ("prolang", 14u32.into()),
            ("procost", Value::Float(1.0)),
            ("prokind", "f".into()),
            ("provolatile", "i".into()),
            ("proparallel", "s".into()),
            ("pronargs", parameters.len().into()),
            ("prorettype", number(&function.returns).into()),
            ("proargtypes", Value::Ints(parameters)),
            ("proargnames", if named { names.into() } else { Value::Null }),
            ("proisstrict", function.strict.into()),
            ("prosrc", relation.sql.as_str().into()),
        ]);
    }
}

fn settings(table: &mut Table, facts: &Facts) {
    for (name, value, doc) in facts.settings.all() {
        table.row([
            ("name", name.into()),
            ("setting", value.into()),
            ("category", "Session".into()),
            ("short_desc", doc.into()),
            ("context", "user".into()),
            ("vartype", "string".into()),
            ("source", "session".into()),
            ("boot_val", value.into()),
            ("reset_val", value.into()),
        ]);
    }
}
