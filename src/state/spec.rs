//! What a state table is: its name, its kind, and the types of its key and rows.

use serde::{Deserialize, Serialize};

use crate::types::SqlType;

/// How a table is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// One value per key: [`super::MapTable`].
    Map,
    /// Per key an ordered multiset of rows with weights: [`super::BagTable`].
    Bag,
    /// One value per (order, key), the table ordered by `order`: timers and windows, [`super::OrderedTable`].
    Ordered,
}

/// The declaration of one state table, part of an operator's spec.
///
/// The **key** is what rows are exchanged by: its key group says which worker holds the entry. All entries of a key
/// lie in one group, whatever their order or row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSpec {
    /// Unique within its operator.
    pub name: String,
    /// How it is read and written.
    pub kind: TableKind,
    /// Types of what an `Ordered` table is ordered by; empty for the other kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<SqlType>,
    /// Types of the key.
    pub key: Vec<SqlType>,
    /// Types of the row (`Bag`), or of the value where it is a row; opaque values leave it empty.
    pub row: Vec<SqlType>,
}

impl TableSpec {
    /// A `Map` table.
    pub fn map(name: impl Into<String>, key: Vec<SqlType>, row: Vec<SqlType>) -> Self {
        TableSpec { name: name.into(), kind: TableKind::Map, order: Vec::new(), key, row }
    }

    /// A `Bag` table.
    pub fn bag(name: impl Into<String>, key: Vec<SqlType>, row: Vec<SqlType>) -> Self {
        TableSpec { name: name.into(), kind: TableKind::Bag, order: Vec::new(), key, row }
    }

    /// An `Ordered` table.
    pub fn ordered(name: impl Into<String>, order: Vec<SqlType>, key: Vec<SqlType>, row: Vec<SqlType>) -> Self {
        TableSpec { name: name.into(), kind: TableKind::Ordered, order, key, row }
    }
}
