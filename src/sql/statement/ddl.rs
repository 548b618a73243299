//! What is said about objects that are there, and about what belongs to them: indexes, schemas, names, comments.

use super::{Name, ObjectKind, RoleName};

/// `CREATE INDEX [IF NOT EXISTS] [name] ON relation (column, ...) [INCLUDE (...)]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateIndex {
    /// Its name, if it was given one.
    pub name: Option<Name>,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Whose rows.
    pub relation: Name,
    /// The columns by which they are found, in order.
    pub columns: Vec<Name>,
}

/// `CREATE SCHEMA [IF NOT EXISTS] name [AUTHORIZATION role]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSchema {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `AUTHORIZATION`: whose it is to be.
    pub owner: Option<RoleName>,
}

/// `DROP SCHEMA [IF EXISTS] name [CASCADE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropSchema {
    /// Which.
    pub name: Name,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// `CASCADE`.
    pub cascade: bool,
}

/// `ALTER kind [IF EXISTS] name RENAME TO other`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// Of what kind.
    pub kind: ObjectKind,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// Which.
    pub name: Name,
    /// What it is to be called.
    pub to: Name,
}

/// `COMMENT ON kind name IS 'text'`, `COMMENT ON COLUMN name.column IS 'text'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Of what kind; none: of a column.
    pub kind: Option<ObjectKind>,
    /// Which relation.
    pub name: Name,
    /// Which column.
    pub column: Option<Name>,
    /// The text; none: no comment.
    pub text: Option<String>,
}
