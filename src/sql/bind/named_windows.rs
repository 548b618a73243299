//! `WINDOW w AS (...)`: definitions put where they are named, those built on others completed.
//!
//! A window that names another copies its PARTITION BY, and its ORDER BY unless it has one of its own (SQL:2003, 7.11).

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderByKind, Query, Select, SetExpr, VisitMut, VisitorMut,
    WindowSpec, WindowType, visit_expressions_mut,
};

use super::super::parse::{fold, visited};
use crate::base::{Error, Result, sqlstate};

/// Rewrites `query` and those within it.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    visited(query.visit(&mut Rewriter))
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    // Behind the queries within: what they name has been found there.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let Query { body, order_by, .. } = query;
        if let SetExpr::Select(select) = body.as_mut()
            && let Some(order) = order_by
            && let OrderByKind::Expressions(order) = &mut order.kind
            && !select.named_window.is_empty()
        {
            let applied = resolved(&select.named_window)
                .and_then(|windows| order.iter_mut().try_for_each(|item| apply(&mut item.expr, &windows)));
            if let Err(error) = applied {
                return ControlFlow::Break(error);
            }
        }
        match selects(body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn selects(body: &mut SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(select) => one(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects(left)?;
            selects(right)
        }
        _ => Ok(()),
    }
}

fn one(select: &mut Select) -> Result<()> {
    let windows = resolved(&std::mem::take(&mut select.named_window))?;
    let mut projection = std::mem::take(&mut select.projection);
    let applied = projection.iter_mut().try_for_each(|item| apply(item, &windows));
    select.projection = projection;
    applied
}

/// A window's name and what it is in full.
type Windows = Vec<(String, WindowSpec)>;

fn resolved(definitions: &[NamedWindowDefinition]) -> Result<Windows> {
    let mut windows = Windows::new();
    for NamedWindowDefinition(name, definition) in definitions {
        if windows.iter().any(|(other, _)| *other == fold(name)) {
            return Err(windowing(name, format!("window \"{}\" is already defined", fold(name)))
                .with_hint("Give it another name."));
        }
        let spec = match definition {
            NamedWindowExpr::NamedWindow(base) => find(base, &windows)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => complete(spec, &windows)?,
        };
        windows.push((fold(name), spec));
    }
    Ok(windows)
}

fn find<'a>(name: &Ident, windows: &'a Windows) -> Result<&'a WindowSpec> {
    let wanted = fold(name);
    windows.iter().find(|(other, _)| *other == wanted).map(|(_, spec)| spec).ok_or_else(|| {
        place(Error::invalid(format!("window \"{wanted}\" does not exist")), name)
            .with_code(sqlstate::UNDEFINED_OBJECT)
            .with_hint("Define it before it is used: WINDOW name AS (PARTITION BY ... ORDER BY ...).")
    })
}

fn complete(spec: &WindowSpec, windows: &Windows) -> Result<WindowSpec> {
    let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
    let base = find(name, windows)?;
    let refused = |what: &str| windowing(name, format!("cannot {what} of window \"{}\"", fold(name)));
    if !spec.partition_by.is_empty() {
        return Err(refused("override the PARTITION BY clause").with_hint("Leave PARTITION BY out, or the name."));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(refused("override the ORDER BY clause").with_hint("Leave ORDER BY out, or the name."));
    }
    if base.window_frame.is_some() {
        return Err(refused("copy the frame").with_hint("Write OVER with the bare name, or spell the window out."));
    }
    let order_by = if spec.order_by.is_empty() { base.order_by.clone() } else { spec.order_by.clone() };
    let (partition_by, window_frame) = (base.partition_by.clone(), spec.window_frame.clone());
    Ok(WindowSpec { window_name: None, partition_by, order_by, window_frame })
}

fn windowing(name: &Ident, message: String) -> Error {
    place(Error::invalid(message), name).with_code(sqlstate::WINDOWING_ERROR)
}

fn place(error: Error, name: &Ident) -> Error {
    match name.span.start.column as usize {
        0 => error,
        column => error.at(column),
    }
}

/// Puts definitions where `node` names them.
fn apply<T: VisitMut>(node: &mut T, windows: &Windows) -> Result<()> {
    let done = visit_expressions_mut(node, |expr| {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let spec = match &function.over {
            Some(WindowType::NamedWindow(name)) => find(name, windows).cloned(),
            Some(WindowType::WindowSpec(spec)) if spec.window_name.is_some() => complete(spec, windows),
            _ => return ControlFlow::Continue(()),
        };
        match spec {
            Ok(spec) => function.over = Some(WindowType::WindowSpec(spec)),
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    });
    match done {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}
