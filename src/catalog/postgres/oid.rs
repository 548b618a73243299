//! Numbers (oids) of objects as PostgreSQL's catalog shows them: the same in every session and after every restart.
//!
//! ```text
//!   below 16384                what PostgreSQL has: its number there; 15000 + n: ms_catalog
//!   16384 + relation number    relations and indexes that users made, and what belongs to them
//!   1_000_000_000 + relation   the index of a primary key          1_200_000_000 + relation  its constraint
//!   2_000_000_000 + hash       what has a name alone: schemas, roles, functions; defaults of columns
//! ```

use xxhash_rust::xxh3::xxh3_64;

use super::super::catalog::Catalog;
use super::super::relation::{Relation, RelationKind, schemas};
use super::super::system::{FIRST_ID, system_relations};
use super::{FIRST_POSTGRES_ID, pg_tables};
use crate::types::RelationId;

/// The role that owns everything.
pub const OWNER: (u32, &str) = (10, "millstream");

const FIRST_SYSTEM: u32 = 15_000;
const FIRST_USERS: u32 = 16_384;
const FIRST_KEY_INDEX: u32 = 1_000_000_000;
const FIRST_CONSTRAINT: u32 = 1_200_000_000;
const FIRST_NAMED: u32 = 2_000_000_000;

fn low(base: u32, id: RelationId, room: u32) -> u32 {
    base + u32::try_from(id.0 % u64::from(room)).unwrap_or_default()
}

/// The number of a relation.
pub fn relation_oid(relation: &Relation) -> u32 {
    if relation.kind != RelationKind::System {
        return low(FIRST_USERS, relation.id, FIRST_KEY_INDEX - FIRST_USERS);
    }
    match relation.id.0.checked_sub(FIRST_POSTGRES_ID) {
        Some(oid) => u32::try_from(oid).unwrap_or_default(),
        None => FIRST_SYSTEM + u32::try_from(relation.id.0 - FIRST_ID).unwrap_or_default(),
    }
}

/// The relation with that number, indexes of primary keys aside.
pub fn relation_of_oid(catalog: &Catalog, oid: u32) -> Option<std::sync::Arc<Relation>> {
    if let Some(place) = oid.checked_sub(FIRST_USERS) {
        return catalog.by_id(RelationId(u64::from(place)));
    }
    let system = system_relations().iter().chain(pg_tables().iter().map(|table| &table.relation));
    system.map(std::sync::Arc::clone).find(|relation| relation_oid(relation) == oid)
}

/// The number of the index that keeps the primary key of a relation.
pub fn key_index_oid(relation: &Relation) -> u32 {
    low(FIRST_KEY_INDEX, relation.id, FIRST_CONSTRAINT - FIRST_KEY_INDEX)
}

/// The number of the constraint that is the primary key of a relation.
pub fn constraint_oid(relation: &Relation) -> u32 {
    low(FIRST_CONSTRAINT, relation.id, FIRST_NAMED - FIRST_CONSTRAINT)
}

/// The number of the default of a column.
pub fn attrdef_oid(relation: &Relation, column: usize) -> u32 {
    named_oid("default", &format!("{}.{column}", relation.id.0))
}

/// The number of what is known by its name alone.
pub fn named_oid(kind: &str, name: &str) -> u32 {
    let hash = xxh3_64(format!("{kind} {name}").as_bytes());
    FIRST_NAMED + u32::try_from(hash % u64::from(u32::MAX - FIRST_NAMED)).unwrap_or_default()
}

/// The number of a schema.
pub fn schema_oid(name: &str) -> u32 {
    match name {
        schemas::POSTGRES => 11,
        schemas::PUBLIC => 2200,
        schemas::INFORMATION => 12_990,
        schemas::CATALOG => 12_991,
        schemas::FAULTS => 12_992,
        schemas::LATE => 12_993,
        name => named_oid("schema", name),
    }
}
