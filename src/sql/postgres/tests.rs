//! Every relation of the catalog gives rows that fit its columns, and every function of it is told what it is.

use std::sync::Arc;

use super::names::{Reg, find, name, type_name};
use super::*;
use crate::catalog::RelationKind;
use crate::catalog::postgres::{pg_tables, relation_oid};
use crate::types::{Column, RelationId, Schema, SqlType};

fn facts() -> Facts {
    let mut catalog = Catalog::new();
    let id = catalog.allocate_relation();
    let columns = Schema::new(vec![
        Column { nullable: false, ..Column::new("id", SqlType::Int) },
        Column::new("Odd name", SqlType::Decimal { precision: 12, scale: 2 }),
    ]);
    let mut table = Relation::new(id, "t", RelationKind::Table, columns.clone());
    table.primary_key = vec![0];
    table.sql = "CREATE TABLE t (id INT PRIMARY KEY, \"Odd name\" NUMERIC(12,2) DEFAULT 1)".to_string();
    table.comment = Some("a table".to_string());
    catalog.create(table).unwrap();
    let index = catalog.allocate_relation();
    let mut found = Relation::new(index, "by_odd", RelationKind::Index(id), columns);
    found.sql = "CREATE INDEX by_odd ON t (\"Odd name\")".to_string();
    catalog.create(found).unwrap();
    let view = catalog.allocate_relation();
    let mut v = Relation::new(view, "v", RelationKind::View, Schema::new(vec![Column::new("id", SqlType::Int)]));
    v.sql = "CREATE VIEW v AS SELECT id FROM t".to_string();
    v.depends_on = [id].into();
    catalog.create(v).unwrap();
    Facts { functions: Arc::new([("abs".to_string(), "f")]), ..Facts::of(catalog) }
}

#[test]
fn every_relation_gives_rows_that_fit() {
    let facts = facts();
    for table in pg_tables() {
        let rows = catalog_rows(&table.relation, &facts).unwrap_or_else(|error| panic!("{}: {error}", table.name));
        assert_eq!(rows.schema(), table.arrow, "{}", table.name);
    }
    let count = |schema: &str, name: &str| {
        let table = pg_tables().iter().find(|table| (table.schema, table.name) == (schema, name)).unwrap();
        catalog_rows(&table.relation, &facts).unwrap().num_rows()
    };
    assert_eq!(count("pg_catalog", "pg_index"), 2);
    assert_eq!(count("pg_catalog", "pg_constraint"), 1);
    assert_eq!(count("pg_catalog", "pg_attrdef"), 1);
    assert_eq!(count("pg_catalog", "pg_description"), 9);
    assert!(count("information_schema", "columns") > 2_000);
}

#[test]
fn names_and_numbers_are_each_others() {
    let facts = facts();
    let oid = find(Reg::Class, "t", &facts).unwrap();
    assert_eq!(oid, relation_oid(&facts.catalog.find(None, "t").unwrap()));
    let check = |reg: Reg, text: &str, expected: &str| {
        let shown = find(reg, text, &facts).map(|oid| name(reg, oid, &facts));
        assert_eq!(shown.as_deref().unwrap_or("none"), expected, "{text}");
    };
    check(Reg::Class, "public.T", "t");
    check(Reg::Class, "\"public\" . \"t\"", "t");
    check(Reg::Class, "t_pkey", "t_pkey");
    check(Reg::Class, "\"T\"", "none");
    check(Reg::Class, "pg_class", "pg_class");
    check(Reg::Class, "information_schema.tables", "information_schema.tables");
    check(Reg::Type, "int4", "integer");
    check(Reg::Type, "timestamp with time zone", "timestamp with time zone");
    check(Reg::Type, "text[]", "text[]");
    check(Reg::Namespace, "public", "public");
    check(Reg::Proc, "abs", "abs");
    check(Reg::Proc, "nothing", "none");
    assert_eq!(type_name(1700, ((12 << 16) | 2) + 4), "numeric(12,2)");
    assert_eq!(find(Reg::Class, "1259", &facts), Some(1259));
    assert_eq!(facts.catalog.by_id(RelationId(1)).unwrap().name, "t");
}
