//! Aggregates that make one JSON value of many rows, as what they are made of here:
//!
//! | call | becomes |
//! |---|---|
//! | `jsonb_agg(x ORDER BY o)` | `to_jsonb(array_agg(x ORDER BY o))` |
//! | `jsonb_object_agg(k, v)` | `__json_merge(to_jsonb(array_agg(jsonb_build_object(k, v))))`: of equal keys the last one counts |
//!
//! DISTINCT, FILTER and OVER go along to `array_agg`. JSON is kept as JSONB: `json_agg` and `json_object_agg` are the same.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Spanned, VisitMut,
    VisitorMut,
};

use super::super::parse::{fold, visited};
use super::operators::call;
use super::set_functions::expressions;
use crate::base::{Error, Result, sqlstate};

/// Whether `name` is such an aggregate.
pub(super) fn is_one(name: &str) -> bool {
    arguments(name).is_some()
}

/// How many arguments it takes.
fn arguments(name: &str) -> Option<usize> {
    match name {
        "json_agg" | "jsonb_agg" => Some(1),
        "json_object_agg" | "jsonb_object_agg" => Some(2),
        _ => None,
    }
}

/// Rewrites what `query` calls of them.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    visited(query.visit(&mut Rewriter))
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some(name) = function.name.0.last().and_then(|part| part.as_ident()).map(fold) else {
            return ControlFlow::Continue(());
        };
        let Some(wanted) = arguments(&name) else { return ControlFlow::Continue(()) };
        let FunctionArguments::List(list) = &mut function.args else {
            return ControlFlow::Break(misused(function, &name));
        };
        let Some(given) = expressions(&list.args).filter(|given| given.len() == wanted) else {
            return ControlFlow::Break(misused(function, &name));
        };
        if wanted == 2 {
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(call("jsonb_build_object", given)))];
        }
        function.name = ObjectName::from(vec![Ident::new("array_agg")]);
        let values = call("to_jsonb", vec![Expr::Function(function.clone())]);
        *expr = match wanted {
            1 => values,
            _ => call("__json_merge", vec![values]),
        };
        ControlFlow::Continue(())
    }
}

fn misused(function: &Function, name: &str) -> Error {
    let usage = if arguments(name) == Some(1) { "(value)" } else { "(key, value)" };
    let error = Error::invalid(format!("{name} does not take these arguments"))
        .with_code(sqlstate::UNDEFINED_FUNCTION)
        .with_hint(format!("Write {name}{usage}."));
    match function.name.span().start.column as usize {
        0 => error,
        at => error.at(at),
    }
}
