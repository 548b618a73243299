//! Queries without columns (`SELECT FROM t`): they count rows, and give no value.
//!
//! DataFusion names a sub-query by its first column and panics where there is none (datafusion-common 55,
//! `DFSchema::field`), so these are found in the syntax tree. What has a name always has columns: views and `WITH`
//! without any are refused, so a `*` over nothing is seen where it stands.

use sqlparser::ast::{
    Expr, Function, FunctionArguments, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned,
    TableFactor,
};

use super::super::parse::fold;
use crate::base::{Error, Result};

/// Refuses `expr` if it takes a value from a query that has none.
pub(super) fn check_value(expr: &Expr) -> Result<()> {
    let query = match expr {
        Expr::Subquery(query) | Expr::InSubquery { subquery: query, .. } => query,
        Expr::Function(Function { args: FunctionArguments::Subquery(query), .. }) => query,
        _ => return Ok(()),
    };
    if is_columnless(query) { Err(without_columns("a sub-query used as a value", query)) } else { Ok(()) }
}

/// Refuses names in WITH for queries without columns.
pub(super) fn check_with(query: &Query) -> Result<()> {
    let named = query.with.iter().flat_map(|with| &with.cte_tables);
    match named.map(|cte| &cte.query).find(|query| is_columnless(query)) {
        Some(query) => Err(without_columns("a query in WITH", query)),
        None => Ok(()),
    }
}

fn without_columns(what: &str, query: &Query) -> Error {
    let error = Error::syntax(format!("{what} must return a column")).with_hint("Name a column behind SELECT.");
    match query.span().start.column as usize {
        0 => error,
        at => error.at(at),
    }
}

fn is_columnless(query: &Query) -> bool {
    body_is_columnless(&query.body)
}

fn body_is_columnless(body: &SetExpr) -> bool {
    match body {
        SetExpr::Query(query) => is_columnless(query),
        SetExpr::SetOperation { left, .. } => body_is_columnless(left),
        SetExpr::Select(select) => select.projection.iter().all(|item| match item {
            SelectItem::Wildcard(_) => factors(select).all(factor_is_columnless),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let named = name.0.last().and_then(|part| part.as_ident()).map(fold);
                factors(select).any(|factor| factor_is_columnless(factor) && alias(factor) == named)
            }
            _ => false,
        }),
        _ => false,
    }
}

fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)))
}

fn alias(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Derived { alias: Some(alias), .. } => Some(fold(&alias.name)),
        _ => None,
    }
}

fn factor_is_columnless(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Derived { subquery, .. } => is_columnless(subquery),
        TableFactor::NestedJoin { table_with_joins, .. } => {
            factor_is_columnless(&table_with_joins.relation)
                && table_with_joins.joins.iter().all(|join| factor_is_columnless(&join.relation))
        }
        _ => false,
    }
}
