//! Flink's older spelling, `GROUP BY TUMBLE(ts, size)` with `TUMBLE_START(ts, size)`, rewritten to the table function.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Interval,
    ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr, Spanned, TableFactor, TableFunctionArgs, Value,
    VisitMut, VisitorMut, visit_expressions_mut,
};

use super::super::dialect::PARTITION_ARGUMENT;
use super::super::parse::visited;
use crate::base::{Error, Result};
use crate::plan::{WINDOW_END, WINDOW_START};

/// Rewrites every SELECT of `query` that groups by a window function.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    visited(query.visit(&mut Rewriter))
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let done = match query.body.as_mut() {
            SetExpr::Select(select) => rewrite_select(select).map(|window| {
                if let (Some(window), Some(order_by)) = (window, &mut query.order_by)
                    && let OrderByKind::Expressions(expressions) = &mut order_by.kind
                {
                    for ordered in expressions {
                        window.replace_in(&mut ordered.expr);
                    }
                }
            }),
            body => rewrite_body(body),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The SELECTs beneath a set operation.
fn rewrite_body(body: &mut SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(select) => rewrite_select(select).map(|_| ()),
        SetExpr::SetOperation { left, right, .. } => {
            rewrite_body(left)?;
            rewrite_body(right)
        }
        _ => Ok(()),
    }
}

/// The window function of a GROUP BY.
struct GroupWindow {
    name: String,
    /// Its arguments as text, to recognise `TUMBLE_START` of the same window.
    arguments: String,
    args: Vec<FunctionArg>,
    position: usize,
}

impl GroupWindow {
    fn of(expr: &Expr) -> Option<GroupWindow> {
        let Expr::Function(function) = expr else { return None };
        let name = function_name(function)?;
        if !["tumble", "hop", "session", "cumulate"].contains(&name.as_str()) {
            return None;
        }
        let FunctionArguments::List(list) = &function.args else { return None };
        let position = expr.span().start.column as usize;
        Some(GroupWindow { name, arguments: list.to_string(), args: list.args.clone(), position })
    }

    /// What `expr` means once the window is a table function, if it speaks of this window.
    fn replacement(&self, expr: &Expr) -> Option<Expr> {
        let Expr::Function(function) = expr else { return None };
        let part = function_name(function)?.strip_prefix(&format!("{}_", self.name))?.to_string();
        let FunctionArguments::List(list) = &function.args else { return None };
        if list.to_string() != self.arguments {
            return None;
        }
        let column =
            |name: &str| Expr::Identifier(Ident { value: name.to_string(), quote_style: None, span: expr.span() });
        match part.as_str() {
            "start" => Some(column(WINDOW_START)),
            "end" => Some(column(WINDOW_END)),
            "rowtime" => Some(Expr::BinaryOp {
                left: Box::new(column(WINDOW_END)),
                op: BinaryOperator::Minus,
                right: Box::new(millisecond()),
            }),
            _ => None,
        }
    }

    fn replace_in<T: VisitMut>(&self, node: &mut T) {
        let _ = visit_expressions_mut(node, |expr| {
            if let Some(replacement) = self.replacement(expr) {
                *expr = replacement;
            }
            ControlFlow::<()>::Continue(())
        });
    }
}

fn function_name(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [part] => part.as_ident().map(|ident| ident.value.to_lowercase()),
        _ => None,
    }
}

fn millisecond() -> Expr {
    Expr::Interval(Interval {
        value: Box::new(Expr::Value(Value::SingleQuotedString("1 millisecond".to_string()).into())),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

fn rewrite_select(select: &mut Select) -> Result<Option<GroupWindow>> {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return Ok(None) };
    let Some((index, window)) = groups.iter().enumerate().find_map(|(i, group)| Some((i, GroupWindow::of(group)?)))
    else {
        return Ok(None);
    };
    let keys = match window.name.as_str() {
        "session" => keys_beside(index, groups, &select.projection, &window)?,
        _ => Vec::new(),
    };
    let key = |name: &str| Expr::Identifier(Ident::new(name));
    groups.splice(index..=index, [key(WINDOW_START), key(WINDOW_END)]);
    let [from] = select.from.as_mut_slice() else { return Err(not_one_relation(&window)) };
    if !from.joins.is_empty() {
        return Err(not_one_relation(&window));
    }
    wrap(&mut from.relation, &window, keys)?;
    window.replace_in(&mut select.projection);
    if let Some(having) = &mut select.having {
        window.replace_in(having);
    }
    Ok(Some(window))
}

/// The columns beside the SESSION at `index` of GROUP BY: sessions are kept apart by them.
fn keys_beside(index: usize, groups: &[Expr], select: &[SelectItem], window: &GroupWindow) -> Result<Vec<Expr>> {
    let mut keys = Vec::new();
    for (_, group) in groups.iter().enumerate().filter(|(i, _)| *i != index) {
        match of_select(group, select) {
            Expr::Identifier(column) => keys.push(Expr::Identifier(column.clone())),
            // The relation's alias is not known inside the table function's arguments.
            Expr::CompoundIdentifier(parts) => keys.extend(parts.last().cloned().map(Expr::Identifier)),
            other => {
                return Err(Error::unsupported("GROUP BY SESSION beside an expression is not supported")
                    .with_hint(
                        "Compute it in a sub-query: FROM (SELECT *, expression AS x FROM relation) GROUP BY x, SESSION(...).",
                    )
                    .at(position_of(other).unwrap_or(window.position)));
            }
        }
    }
    Ok(keys)
}

/// What a GROUP BY item means: `1` is the first item of SELECT.
fn of_select<'a>(group: &'a Expr, select: &'a [SelectItem]) -> &'a Expr {
    let Expr::Value(value) = group else { return group };
    let Value::Number(number, _) = &value.value else { return group };
    let item = number.to_string().parse::<usize>().ok().and_then(|number| select.get(number.checked_sub(1)?));
    match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
        _ => group,
    }
}

fn position_of(expr: &Expr) -> Option<usize> {
    Some(expr.span().start.column as usize).filter(|at| *at > 0)
}

fn not_one_relation(window: &GroupWindow) -> Error {
    let name = window.name.to_uppercase();
    Error::unsupported(format!("GROUP BY {name} over several relations is not supported"))
        .with_hint(format!(
            "Write the window as a table function over one of them, FROM {name}(relation, time, ...) JOIN ..., and GROUP BY {WINDOW_START}, {WINDOW_END}."
        ))
        .at(window.position)
}

/// Turns the relation of FROM into `TUMBLE(relation, time, ...)`.
fn wrap(factor: &mut TableFactor, window: &GroupWindow, keys: Vec<Expr>) -> Result<()> {
    let position = window.position;
    let (data, alias) = match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let idents: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
            (Expr::CompoundIdentifier(idents), alias.take())
        }
        TableFactor::Derived { subquery, alias, lateral: false, .. } => {
            (Expr::Subquery(subquery.clone()), alias.take())
        }
        _ => return Err(not_one_relation(window)),
    };
    let data = match keys.is_empty() {
        true => data,
        false => {
            let parts = std::iter::once(data).chain(keys).collect();
            Expr::Named { expr: Box::new(Expr::Tuple(parts)), name: Ident::new(PARTITION_ARGUMENT) }
        }
    };
    let mut args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(data))];
    for (i, arg) in window.args.iter().enumerate() {
        let mut arg = arg.clone();
        // The relation's alias is not known inside the table function's arguments.
        if i == 0
            && let FunctionArg::Unnamed(FunctionArgExpr::Expr(time)) = &mut arg
            && let Expr::CompoundIdentifier(parts) = time
            && let Some(last) = parts.pop()
        {
            *time = Expr::Identifier(last);
        }
        args.push(arg);
    }
    let name = Ident { value: window.name.clone(), quote_style: None, span: span_at(position) };
    *factor = TableFactor::Table {
        name: ObjectName::from(vec![name]),
        alias,
        args: Some(TableFunctionArgs { args, settings: None }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    Ok(())
}

fn span_at(position: usize) -> sqlparser::tokenizer::Span {
    let at = sqlparser::tokenizer::Location { line: 1, column: position as u64 };
    sqlparser::tokenizer::Span::new(at, at)
}
