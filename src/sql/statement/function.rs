//! What is said about functions.

use sqlparser::ast;

use super::Name;

/// `CREATE [OR REPLACE] FUNCTION name (parameters) RETURNS type LANGUAGE sql ...`.
#[derive(Clone, Debug)]
pub struct CreateFunction {
    /// Its name.
    pub name: Name,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// Its parameters, in order.
    pub parameters: Vec<FunctionParameter>,
    /// The type of its result.
    pub returns: ast::DataType,
    /// Where that stands.
    pub returns_position: usize,
    /// `STRICT`: NULL for any NULL argument.
    pub strict: bool,
    /// What it computes.
    pub body: Box<ast::Expr>,
    /// Where the body stands, if it is a text: places in it are none of the statement's.
    pub body_position: Option<usize>,
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct FunctionParameter {
    /// Its name, if it has one beside its number.
    pub name: Option<Name>,
    /// Its type.
    pub data_type: ast::DataType,
    /// Where it stands.
    pub position: usize,
}
