//! What the CREATE statement of a relation says of its columns, to be shown again.

use super::parse::parse;
use super::statement::Statement;

/// A column as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// `DEFAULT`.
    pub default: Option<String>,
    /// The expression of a generated column.
    pub generated: Option<String>,
}

/// The columns that `text`, a CREATE statement, declares; none if it declares none.
pub fn declared_columns(text: &str) -> Vec<Declared> {
    let parsed = parse(text).ok().and_then(|parsed| parsed.into_iter().next()).map(|parsed| parsed.statement);
    let columns = match parsed {
        Some(Statement::CreateSource(create) | Statement::CreateTable(create)) => create.columns,
        _ => Vec::new(),
    };
    let declared = columns.into_iter().map(|column| Declared {
        name: column.name.name,
        default: column.default.map(|default| default.to_string()),
        generated: column.generated.map(|generated| generated.to_string()),
    });
    declared.collect()
}
