//! What is said about the rows of tables.

use sqlparser::ast;

use super::{Name, Query};

/// `INSERT INTO table [(columns)] query`.
#[derive(Clone, Debug)]
pub struct Insert {
    /// Into which table.
    pub table: Name,
    /// The column list; empty: all columns in order.
    pub columns: Vec<Name>,
    /// The rows; `None`: `DEFAULT VALUES`.
    pub source: Option<Box<Query>>,
    /// `AS alias`.
    pub alias: Option<ast::Ident>,
    /// `ON CONFLICT`.
    pub on_conflict: Option<OnConflict>,
    /// `RETURNING`.
    pub returning: Option<Vec<ast::SelectItem>>,
}

/// `ON CONFLICT [(columns)] DO NOTHING | DO UPDATE SET ... [WHERE ...]`.
#[derive(Clone, Debug)]
pub struct OnConflict {
    /// The columns whose equality is the conflict; empty: any.
    pub target: Vec<Name>,
    /// What happens to a row that is there already.
    pub action: ConflictAction,
}

/// What an INSERT does where a row with its key is there already.
#[derive(Clone, Debug)]
pub enum ConflictAction {
    /// `DO NOTHING`.
    Nothing,
    /// `DO UPDATE SET ... [WHERE ...]`.
    Update {
        /// What is set.
        assignments: Vec<(Name, ast::Expr)>,
        /// `WHERE`.
        selection: Option<Box<ast::Expr>>,
    },
}

/// `UPDATE table SET ... [WHERE ...]`.
#[derive(Clone, Debug)]
pub struct Update {
    /// Which table.
    pub table: Name,
    /// `AS alias`.
    pub alias: Option<ast::TableAlias>,
    /// What is set.
    pub assignments: Vec<(Name, ast::Expr)>,
    /// `WHERE`.
    pub selection: Option<ast::Expr>,
    /// `RETURNING`.
    pub returning: Option<Vec<ast::SelectItem>>,
}

/// `DELETE FROM table [WHERE ...]`, or `TRUNCATE table`.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Which table.
    pub table: Name,
    /// `AS alias`.
    pub alias: Option<ast::TableAlias>,
    /// `WHERE`.
    pub selection: Option<ast::Expr>,
    /// `RETURNING`.
    pub returning: Option<Vec<ast::SelectItem>>,
    /// Whether it was written TRUNCATE, and is answered so.
    pub truncates: bool,
}
