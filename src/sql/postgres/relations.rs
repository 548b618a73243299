//! Rows about relations: `pg_class`, `pg_attribute`, and what hangs on them.

use std::sync::Arc;

use super::Facts;
use super::definitions::{Index, connector, indexes, view};
use super::names::has_key_index;
use super::roles::{acl, owner};
use super::table::{Table, Value};
use crate::catalog::postgres::{
    OWNER, PgType, attrdef_oid, constraint_oid, key_index_oid, named_oid, pg_table, pg_tables, pg_type, pg_type_named,
    pg_type_of, relation_oid, schema_oid,
};
use crate::catalog::{Catalog, Relation, RelationKind, schemas};
use crate::sql::declared_columns;

/// Access methods: rows of tables, and indexes.
const HEAP: u32 = 2;
const BTREE: u32 = 403;

/// Number of `pg_class` itself, which descriptions refer to.
const PG_CLASS: u32 = 1259;
const PG_CONSTRAINT: u32 = 2606;
const PG_REWRITE: u32 = 2618;

/// Adds the rows if `table` is one of these.
pub(super) fn fill(table: &mut Table, facts: &Facts) {
    match table.name() {
        "pg_class" => pg_class(table, facts),
        "pg_attribute" => pg_attribute(table, facts),
        "pg_attrdef" => pg_attrdef(table, facts),
        "pg_index" => pg_index(table, &facts.catalog),
        "pg_constraint" => pg_constraint(table, &facts.catalog),
        "pg_description" => pg_description(table, facts),
        "pg_depend" => pg_depend(table, &facts.catalog),
        "pg_rewrite" => pg_rewrite(table, &facts.catalog),
        "pg_foreign_data_wrapper" | "pg_foreign_server" | "pg_foreign_table" => foreign(table, &facts.catalog),
        _ => {}
    }
}

/// How a relation appears in `pg_class`; `None` for what does not.
fn class_kind(relation: &Relation) -> Option<&'static str> {
    match relation.kind {
        RelationKind::Table | RelationKind::Late(_) | RelationKind::Faults(_) => Some("r"),
        RelationKind::View => Some("v"),
        RelationKind::MaterializedView => Some("m"),
        RelationKind::Source => Some("f"),
        RelationKind::System => match pg_table(&relation.schema_name, &relation.name) {
            Some(table) if table.schema == schemas::POSTGRES && table.oid < 12_000 => Some("r"),
            Some(_) | None => Some("v"),
        },
        RelationKind::Sink | RelationKind::Index(_) | RelationKind::Function => None,
    }
}

/// Every relation that has columns for clients to see.
pub(super) fn all(catalog: &Catalog) -> impl Iterator<Item = (Arc<Relation>, &'static str)> + '_ {
    let users = catalog.relations().map(Arc::clone);
    let system = catalog.of_kind(RelationKind::System).into_iter();
    let postgres = pg_tables().iter().map(|table| Arc::clone(&table.relation));
    users.chain(system).chain(postgres).filter_map(|relation| class_kind(&relation).map(|kind| (relation, kind)))
}

fn pg_class(table: &mut Table, facts: &Facts) {
    let indexes = indexes(&facts.catalog);
    for (relation, kind) in all(&facts.catalog) {
        let stored = matches!(kind, "r" | "m");
        let indexed = indexes.iter().any(|index| index.of.id == relation.id);
        table.row([
            ("oid", relation_oid(&relation).into()),
            ("relname", relation.name.as_str().into()),
            ("relnamespace", schema_oid(&relation.schema_name).into()),
            ("relowner", owner(facts, &relation).into()),
            ("relacl", acl(&facts.catalog.relation_rights(&relation))),
            ("relam", if stored { HEAP.into() } else { 0u32.into() }),
            ("relfilenode", if stored { relation_oid(&relation).into() } else { 0u32.into() }),
            ("reltuples", Value::Float(-1.0)),
            ("relhasindex", indexed.into()),
            ("relpersistence", "p".into()),
            ("relkind", kind.into()),
            ("relnatts", relation.columns.columns.len().into()),
            ("relhasrules", (kind == "v").into()),
            ("relispopulated", true.into()),
            ("relreplident", if stored { "d".into() } else { "n".into() }),
        ]);
    }
    for index in &indexes {
        table.row([
            ("oid", index.oid.into()),
            ("relname", index.name.as_str().into()),
            ("relnamespace", schema_oid(&index.of.schema_name).into()),
            ("relowner", owner(facts, index.of).into()),
            ("relam", BTREE.into()),
            ("relfilenode", index.oid.into()),
            ("reltuples", Value::Float(-1.0)),
            ("relpersistence", "p".into()),
            ("relkind", "i".into()),
            ("relnatts", index.columns.len().into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
        ]);
    }
}

/// One column of one relation.
struct Attribute<'a> {
    relation: u32,
    number: usize,
    name: &'a str,
    ty: &'static PgType,
    modifier: i32,
    nullable: bool,
    default: bool,
    generated: bool,
}

fn attribute(table: &mut Table, attribute: &Attribute<'_>) {
    let ty = attribute.ty;
    table.row([
        ("attrelid", attribute.relation.into()),
        ("attname", attribute.name.into()),
        ("atttypid", ty.oid.into()),
        ("attstattarget", Value::Int(-1)),
        ("attlen", i64::from(ty.bytes).into()),
        ("attnum", attribute.number.into()),
        ("attndims", usize::from(ty.category == "A").into()),
        ("attcacheoff", Value::Int(-1)),
        ("atttypmod", attribute.modifier.into()),
        ("attbyval", ty.by_value.into()),
        ("attalign", ty.align.into()),
        ("attstorage", ty.storage.into()),
        ("attcompression", "".into()),
        ("attnotnull", (!attribute.nullable).into()),
        ("atthasdef", attribute.default.into()),
        ("attidentity", "".into()),
        ("attgenerated", if attribute.generated { "s".into() } else { "".into() }),
        ("attislocal", true.into()),
        ("attcollation", ty.collation.into()),
    ]);
}

fn pg_attribute(table: &mut Table, facts: &Facts) {
    for (relation, _) in all(&facts.catalog) {
        let declared = declared_columns(&relation.sql);
        let oid = relation_oid(&relation);
        let postgres = pg_table(&relation.schema_name, &relation.name);
        for (place, column) in relation.columns.columns.iter().enumerate() {
            let known = postgres.and_then(|table| table.columns.get(place)).and_then(|(_, ty)| pg_type_named(ty));
            let (of, modifier) = pg_type_of(&column.ty);
            let Some(ty) = known.or_else(|| pg_type(of)) else { continue };
            let said = declared.iter().find(|declared| declared.name == column.name);
            let generated = said.is_some_and(|said| said.generated.is_some());
            attribute(
                table,
                &Attribute {
                    relation: oid,
                    number: place + 1,
                    name: &column.name,
                    ty,
                    modifier: if known.is_some() { -1 } else { modifier },
                    nullable: relation.may_be_null(place) && postgres.is_none(),
                    default: generated || said.is_some_and(|said| said.default.is_some()),
                    generated,
                },
            );
        }
    }
    for index in indexes(&facts.catalog) {
        for (number, &place) in index.columns.iter().enumerate() {
            let Some(column) = index.of.columns.columns.get(place) else { continue };
            let (of, modifier) = pg_type_of(&column.ty);
            let Some(ty) = pg_type(of) else { continue };
            attribute(
                table,
                &Attribute {
                    relation: index.oid,
                    number: number + 1,
                    name: &column.name,
                    ty,
                    modifier,
                    nullable: true,
                    default: false,
                    generated: false,
                },
            );
        }
    }
}

fn pg_attrdef(table: &mut Table, facts: &Facts) {
    for relation in facts.catalog.relations() {
        for said in declared_columns(&relation.sql) {
            let Some(place) = relation.columns.index_of(&said.name) else { continue };
            let Some(expression) = said.generated.or(said.default) else { continue };
            table.row([
                ("oid", attrdef_oid(relation, place).into()),
                ("adrelid", relation_oid(relation).into()),
                ("adnum", (place + 1).into()),
                ("adbin", expression.into()),
            ]);
        }
    }
}

/// Places of columns as attribute numbers.
fn numbers(columns: &[usize]) -> Value {
    Value::Ints(columns.iter().map(|&column| column as i64 + 1).collect())
}

fn pg_index(table: &mut Table, catalog: &Catalog) {
    for index in indexes(catalog) {
        let Index { oid, of, columns, primary, .. } = &index;
        table.row([
            ("indexrelid", (*oid).into()),
            ("indrelid", relation_oid(of).into()),
            ("indnatts", columns.len().into()),
            ("indnkeyatts", columns.len().into()),
            ("indisunique", (*primary).into()),
            ("indisprimary", (*primary).into()),
            ("indimmediate", true.into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", numbers(columns)),
            ("indcollation", Value::Ints(vec![0; columns.len()])),
            ("indclass", Value::Ints(vec![0; columns.len()])),
            ("indoption", Value::Ints(vec![0; columns.len()])),
        ]);
    }
}

fn pg_constraint(table: &mut Table, catalog: &Catalog) {
    for relation in catalog.relations().filter(|relation| has_key_index(relation)) {
        table.row([
            ("oid", constraint_oid(relation).into()),
            ("conname", super::definitions::index_name(relation).into()),
            ("connamespace", schema_oid(&relation.schema_name).into()),
            ("contype", "p".into()),
            ("convalidated", true.into()),
            ("conrelid", relation_oid(relation).into()),
            ("conindid", key_index_oid(relation).into()),
            ("confupdtype", " ".into()),
            ("confdeltype", " ".into()),
            ("confmatchtype", " ".into()),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", numbers(&relation.primary_key)),
        ]);
    }
}

fn pg_description(table: &mut Table, facts: &Facts) {
    let mut row = |relation: &Relation, column: usize, text: &str| {
        table.row([
            ("objoid", relation_oid(relation).into()),
            ("classoid", PG_CLASS.into()),
            ("objsubid", column.into()),
            ("description", text.into()),
        ]);
    };
    for (relation, _) in all(&facts.catalog) {
        if let Some(text) = &relation.comment {
            row(&relation, 0, text);
        }
        for (column, text) in &relation.column_comments {
            row(&relation, column + 1, text);
        }
    }
}

fn rewrite_oid(relation: &Relation) -> u32 {
    named_oid("rewrite", &relation.id.0.to_string())
}

fn is_view(relation: &Relation) -> bool {
    matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView)
}

fn pg_depend(table: &mut Table, catalog: &Catalog) {
    let mut row = |class: u32, object: u32, on: u32, kind: &str| {
        table.row([
            ("classid", class.into()),
            ("objid", object.into()),
            ("refclassid", PG_CLASS.into()),
            ("refobjid", on.into()),
            ("deptype", kind.into()),
        ]);
    };
    for relation in catalog.relations() {
        if is_view(relation) {
            row(PG_REWRITE, rewrite_oid(relation), relation_oid(relation), "i");
            for needed in relation.depends_on.iter().filter_map(|&id| catalog.by_id(id)) {
                row(PG_REWRITE, rewrite_oid(relation), relation_oid(&needed), "n");
            }
        }
        if has_key_index(relation) {
            row(PG_CONSTRAINT, constraint_oid(relation), relation_oid(relation), "a");
        }
        if let Some(owner) = relation.kind.owner().and_then(|owner| catalog.by_id(owner)) {
            row(PG_CLASS, relation_oid(relation), relation_oid(&owner), "a");
        }
    }
}

fn pg_rewrite(table: &mut Table, catalog: &Catalog) {
    for relation in catalog.relations().filter(|relation| is_view(relation)) {
        table.row([
            ("oid", rewrite_oid(relation).into()),
            ("rulename", "_RETURN".into()),
            ("ev_class", relation_oid(relation).into()),
            ("ev_type", "1".into()),
            ("ev_enabled", "O".into()),
            ("is_instead", true.into()),
            ("ev_action", view(relation).into()),
        ]);
    }
}

/// Sources as foreign tables: a server for each connector.
fn foreign(table: &mut Table, catalog: &Catalog) {
    let mut servers: Vec<String> = Vec::new();
    for relation in catalog.relations().filter(|relation| relation.kind == RelationKind::Source) {
        let (server, options) = connector(relation).unwrap_or_else(|| ("connector".to_string(), Vec::new()));
        let oid = named_oid("server", &server);
        if table.name() == "pg_foreign_table" {
            table.row([
                ("ftrelid", relation_oid(relation).into()),
                ("ftserver", oid.into()),
                ("ftoptions", options.into()),
            ]);
        } else if !servers.contains(&server) {
            servers.push(server);
        }
    }
    for server in servers {
        let wrapper = named_oid("wrapper", &server);
        if table.name() == "pg_foreign_server" {
            table.row([
                ("oid", named_oid("server", &server).into()),
                ("srvname", server.into()),
                ("srvowner", OWNER.0.into()),
                ("srvfdw", wrapper.into()),
            ]);
        } else {
            table.row([("oid", wrapper.into()), ("fdwname", server.into()), ("fdwowner", OWNER.0.into())]);
        }
    }
}
