//! Where a query that is kept up to date may name the clock: in comparisons of WHERE, of HAVING and of the ON of inner
//! joins, alone or joined by AND. What they compare is for the planner to solve. PROCTIME() stands in the list of SELECT.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, JoinConstraint,
    JoinOperator, Select, Spanned, UnaryOperator, visit_expressions,
};

use super::super::parse::fold;
use crate::functions::{PROCTIME, is_clock};

/// The places of the functions of the clock that may stand in `select`.
pub(super) fn places(select: &Select) -> Vec<usize> {
    let mut places = Vec::new();
    let joins = select.from.iter().flat_map(|from| &from.joins);
    let conditions = joins.filter_map(|join| match &join.join_operator {
        JoinOperator::Join(JoinConstraint::On(condition)) | JoinOperator::Inner(JoinConstraint::On(condition)) => {
            Some(condition)
        }
        _ => None,
    });
    for item in &select.projection {
        let _ = visit_expressions(item, |expr| {
            if let Expr::Function(function) = expr
                && named(function).as_deref() == Some(PROCTIME)
            {
                places.push(expr.span().start.column as usize);
            }
            ControlFlow::<()>::Continue(())
        });
    }
    for condition in conditions.chain(&select.selection).chain(&select.having) {
        of_condition(condition, &mut places);
    }
    places
}

fn of_condition(condition: &Expr, places: &mut Vec<usize>) {
    match condition {
        Expr::Nested(inner) => of_condition(inner, places),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            of_condition(left, places);
            of_condition(right, places);
        }
        Expr::BinaryOp {
            left,
            op:
                BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq | BinaryOperator::Eq,
            right,
        } => of_sides(left, right, places),
        Expr::Between { expr, negated: false, low, high } => {
            of_sides(expr, low, places);
            of_sides(expr, high, places);
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
            let compared = if let Expr::Nested(inner) = expr.as_ref() { inner } else { expr };
            let connected = matches!(
                compared.as_ref(),
                Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Eq, .. } | Expr::Between { .. }
            );
            if !connected {
                of_condition(compared, places);
            }
        }
        _ => {}
    }
}

/// One of two compared sides may name the clock.
fn of_sides(left: &Expr, right: &Expr, places: &mut Vec<usize>) {
    match (names_clock(left), names_clock(right)) {
        (true, false) => of_side(left, places),
        (false, true) => of_side(right, places),
        (true, true) | (false, false) => {}
    }
}

/// The clock, its day, the beginning of its hour or the like, or one of these plus or minus something.
fn of_side(side: &Expr, places: &mut Vec<usize>) {
    match side {
        Expr::Nested(inner) => of_side(inner, places),
        Expr::Cast { expr, data_type: DataType::Timestamp(..) | DataType::Date, .. } => of_side(expr, places),
        Expr::Function(function) if named(function).as_deref() == Some("date_trunc") => {
            if let FunctionArguments::List(list) = &function.args
                && let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(time))] = list.args.as_slice()
            {
                of_side(time, places);
            }
        }
        Expr::Function(function) if is_clock_call(function) => places.push(side.span().start.column as usize),
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
            match (names_clock(left), names_clock(right)) {
                (true, false) => of_side(left, places),
                (false, true) => of_side(right, places),
                (true, true) | (false, false) => {}
            }
        }
        _ => {}
    }
}

fn is_clock_call(function: &Function) -> bool {
    named(function).is_some_and(|name| is_clock(&name) && name != PROCTIME)
}

fn named(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [part] => part.as_ident().map(fold),
        _ => None,
    }
}

fn names_clock(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Function(function) if is_clock_call(function) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
