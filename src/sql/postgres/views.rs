//! Rows of the views that list relations by name: `pg_tables`, `pg_views`, `pg_matviews`, `pg_indexes`.

use super::Facts;
use super::definitions::{indexes, view};
use super::relations::all;
use super::table::Table;

/// Adds the rows if `table` is one of these.
pub(super) fn fill(table: &mut Table, facts: &Facts) {
    match table.name() {
        "pg_tables" | "pg_views" | "pg_matviews" => relations(table, facts),
        "pg_indexes" => {
            for index in indexes(&facts.catalog) {
                table.row([
                    ("schemaname", index.of.schema_name.as_str().into()),
                    ("tablename", index.of.name.as_str().into()),
                    ("indexname", index.name.as_str().into()),
                    ("indexdef", index.definition().into()),
                ]);
            }
        }
        _ => {}
    }
}

fn relations(table: &mut Table, facts: &Facts) {
    let indexes = indexes(&facts.catalog);
    for (relation, kind) in all(&facts.catalog) {
        let [schema, name] = [&relation.schema_name, &relation.name].map(|text| text.as_str());
        let indexed = indexes.iter().any(|index| index.of.id == relation.id);
        let owner = facts.catalog.relation_rights(&relation).owner;
        match (table.name(), kind) {
            ("pg_tables", "r") => table.row([
                ("schemaname", schema.into()),
                ("tablename", name.into()),
                ("tableowner", owner.as_str().into()),
                ("hasindexes", indexed.into()),
            ]),
            ("pg_views", "v") => table.row([
                ("schemaname", schema.into()),
                ("viewname", name.into()),
                ("viewowner", owner.as_str().into()),
                ("definition", view(&relation).into()),
            ]),
            ("pg_matviews", "m") => table.row([
                ("schemaname", schema.into()),
                ("matviewname", name.into()),
                ("matviewowner", owner.as_str().into()),
                ("hasindexes", indexed.into()),
                ("ispopulated", true.into()),
                ("definition", view(&relation).into()),
            ]),
            _ => {}
        }
    }
}
