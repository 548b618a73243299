//! PostgreSQL's catalog: the relations of `pg_catalog` and `information_schema` with the columns of PostgreSQL 16, and the
//! numbers (oids) by which they name everything. Their rows are made where views can be told from their texts, in `sql`.
//!
//! `tables.txt` holds one relation per line: schema, name, oid, then `column:type` in PostgreSQL's order. It was written from
//! the bootstrap catalog and the views of a real server; what version 16 changed was put in by hand.

mod oid;
mod told;
mod types;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

pub use oid::{
    OWNER, attrdef_oid, constraint_oid, key_index_oid, named_oid, relation_of_oid, relation_oid, schema_oid,
};
pub use told::{as_type, type_told, types_told};
pub use types::{PgType, io_functions, pg_type, pg_type_named, pg_type_of, pg_types};

use super::relation::{Relation, RelationKind};
use super::system::FIRST_ID;
use arrow::datatypes::SchemaRef;

use crate::types::{Column, RelationId, Schema, SqlType};

const TABLES: &str = include_str!("tables.txt");

/// Numbers of PostgreSQL's relations begin here.
const FIRST_POSTGRES_ID: u64 = FIRST_ID + (1 << 32);

/// A relation of PostgreSQL's catalog.
#[derive(Debug)]
pub struct PgTable {
    /// `pg_catalog` or `information_schema`.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// PostgreSQL's number of it.
    pub oid: u32,
    /// Its columns with PostgreSQL's names of their types.
    pub columns: Vec<(&'static str, &'static str)>,
    /// The same as a relation of ours.
    pub relation: Arc<Relation>,
    /// How its rows lie in Arrow.
    pub arrow: SchemaRef,
}

/// All of them.
pub fn pg_tables() -> &'static [PgTable] {
    static FOUND: OnceLock<Vec<PgTable>> = OnceLock::new();
    FOUND.get_or_init(|| TABLES.lines().filter_map(table).collect())
}

fn table(line: &'static str) -> Option<PgTable> {
    let mut words = line.split(' ');
    let (schema, name) = (words.next()?, words.next()?);
    let oid: u32 = words.next()?.parse().ok()?;
    let columns: Vec<(&str, &str)> = words.filter_map(|word| word.split_once(':')).collect();
    let typed = columns.iter().map(|(name, ty)| Column::new(*name, lies_as(ty))).collect();
    let id = RelationId(FIRST_POSTGRES_ID + u64::from(oid));
    let fields = columns.iter().map(|(name, ty)| told::field(name, ty, &lies_as(ty)));
    let arrow = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
    let mut relation = Relation::new(id, name, RelationKind::System, Schema::new(typed));
    relation.schema_name = schema.to_owned();
    Some(PgTable { schema, name, oid, columns, relation: Arc::new(relation), arrow })
}

/// The SQL type in which a column of PostgreSQL's type `name` lies. Numbers of objects are bigint, names and trees text.
fn lies_as(name: &str) -> SqlType {
    if let Some(element) = name.strip_prefix('_') {
        return SqlType::Array(Box::new(lies_as(element)));
    }
    match name {
        "bool" => SqlType::Boolean,
        "int2" => SqlType::SmallInt,
        "int4" => SqlType::Int,
        "int8" | "oid" | "regproc" | "regtype" | "xid" => SqlType::BigInt,
        "float4" => SqlType::Real,
        "float8" => SqlType::Double,
        "numeric" => SqlType::NUMERIC,
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "timestamp" => SqlType::Timestamp,
        "timestamptz" => SqlType::TimestampTz,
        "interval" => SqlType::Interval,
        "int2vector" => SqlType::Array(Box::new(SqlType::SmallInt)),
        "oidvector" => SqlType::Array(Box::new(SqlType::BigInt)),
        _ => SqlType::Varchar,
    }
}

/// The relation `name` of `schema`.
pub fn pg_table(schema: &str, name: &str) -> Option<&'static PgTable> {
    static BY_NAME: OnceLock<HashMap<(&'static str, &'static str), usize>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        pg_tables().iter().enumerate().map(|(place, table)| ((table.schema, table.name), place)).collect()
    });
    pg_tables().get(*by_name.get(&(schema, name))?)
}

/// How the rows of `relation` lie in Arrow: those of PostgreSQL's catalog know their PostgreSQL types.
pub fn arrow_schema(relation: &Relation) -> SchemaRef {
    let known = Some(relation).filter(|relation| relation.kind == RelationKind::System);
    let known = known.and_then(|relation| pg_table(&relation.schema_name, &relation.name));
    known.map_or_else(|| relation.columns.arrow(), |table| SchemaRef::clone(&table.arrow))
}

/// The relation with this number of ours.
pub(super) fn pg_table_by_id(id: RelationId) -> Option<&'static PgTable> {
    let oid = id.0.checked_sub(FIRST_POSTGRES_ID)?;
    pg_tables().iter().find(|table| u64::from(table.oid) == oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_has_a_name_and_a_number_of_its_own() {
        let lines = TABLES.lines().count();
        assert_eq!(pg_tables().len(), lines);
        let mut oids: Vec<u32> = pg_tables().iter().map(|table| table.oid).collect();
        oids.sort_unstable();
        oids.dedup();
        assert_eq!(oids.len(), lines);
        assert!(pg_tables().iter().all(|table| pg_table(table.schema, table.name).is_some()));
    }

    #[test]
    fn every_type_of_a_column_is_a_type_of_the_catalog() {
        for table in pg_tables() {
            for (column, ty) in &table.columns {
                assert!(pg_type_named(ty).is_some(), "{}.{column}: {ty}", table.name);
            }
        }
    }
}
