//! PostgreSQL's operators that DataFusion's planner has no word for, rewritten to calls of our functions (`__name`; see
//! `functions/scalar`). Column names were given before, from what the user wrote.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Select, SelectItem, Subscript, UnaryOperator, Value, VisitMut, VisitorMut,
};

/// Digits of the widest numeric.
const DIGITS_MAX: usize = 38;

/// Rewrites all operators in `node`.
pub(super) fn rewrite<T: VisitMut>(node: &mut T) {
    let _ = node.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // An array without elements has the type that it is cast to.
        if let Expr::Cast { expr: inner, .. } = expr
            && let Expr::Array(Array { elem, .. }) = inner.as_ref()
            && elem.is_empty()
        {
            **inner = text("{}");
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                integer(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        integers(expr);
        let taken = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *expr = rewritten(taken);
        ControlFlow::Continue(())
    }
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).into())
}

fn cast(expr: Expr, data_type: sqlparser::ast::DataType) -> Expr {
    let kind = sqlparser::ast::CastKind::Cast;
    Expr::Cast { kind, expr: Box::new(expr), data_type, array: false, format: None }
}

/// A bare whole number that fits 32 bits is an `integer`: to DataFusion's planner it is a bigint, which shows where nothing
/// stands beside it that has another type.
fn integer(expr: &mut Expr) {
    let digits = match &*expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => expr.as_ref(),
        other => other,
    };
    let Expr::Value(value) = digits else { return };
    let Value::Number(digits, _) = &value.value else { return };
    if digits.parse::<i32>().is_ok() {
        let taken = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *expr = cast(taken, sqlparser::ast::DataType::Integer(None));
    }
}

/// Bare whole numbers where they give an expression its type.
fn integers(expr: &mut Expr) {
    const OF_ARGUMENTS: [&str; 6] = ["coalesce", "greatest", "least", "nullif", "mod", "to_hex"];
    match expr {
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter_mut().for_each(|when| integer(&mut when.result));
            else_result.iter_mut().for_each(|otherwise| integer(otherwise));
        }
        Expr::BinaryOp {
            left, op: BinaryOperator::PGBitwiseShiftLeft | BinaryOperator::PGBitwiseShiftRight, ..
        } => {
            integer(left);
        }
        Expr::Function(function) => {
            let FunctionArguments::List(list) = &mut function.args else { return };
            let [name] = function.name.0.as_slice() else { return };
            let Some(name) = name.as_ident().map(super::super::parse::fold) else { return };
            if OF_ARGUMENTS.contains(&name.as_str()) {
                for arg in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
                        integer(expr);
                    }
                }
            }
        }
        _ => {}
    }
}

fn is_postgres_interval(value: &Value) -> bool {
    let Value::SingleQuotedString(text) = value else { return false };
    text.contains(':') || text.ends_with("ago") || text.starts_with('P')
}

pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn rewritten(expr: Expr) -> Expr {
    match expr {
        Expr::BinaryOp { left, op, right } => match function_of(&op) {
            Some(name) => call(name, vec![*left, *right]),
            None => match matching(&op) {
                Some((name, false)) => call(name, vec![*left, *right]),
                Some((name, true)) => not(call(name, vec![*left, *right])),
                None => Expr::BinaryOp { left, op, right },
            },
        },
        Expr::UnaryOp { op, expr } => match op {
            UnaryOperator::BitwiseNot => call("__bit_not", vec![*expr]),
            UnaryOperator::PGAbs => call("abs", vec![*expr]),
            UnaryOperator::PGSquareRoot => call("sqrt", vec![*expr]),
            UnaryOperator::PGCubeRoot => call("cbrt", vec![*expr]),
            op => Expr::UnaryOp { op, expr },
        },
        Expr::AnyOp { left, compare_op, right, is_some } => {
            match comparison(&compare_op).filter(|_| !matches!(*right, Expr::Subquery(_))) {
                Some(name) => call(&format!("__any_{name}"), vec![*left, *right]),
                None => Expr::AnyOp { left, compare_op, right, is_some },
            }
        }
        Expr::AllOp { left, compare_op, right } => {
            match comparison(&compare_op).filter(|_| !matches!(*right, Expr::Subquery(_))) {
                Some(name) => call(&format!("__all_{name}"), vec![*left, *right]),
                None => Expr::AllOp { left, compare_op, right },
            }
        }
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let from = substring_from.map_or_else(|| number("1"), |from| *from);
            call("substring", [*expr, from].into_iter().chain(substring_for.map(|count| *count)).collect())
        }
        Expr::Interval(interval) => match &*interval.value {
            // What only PostgreSQL reads; the others are constants to the planner.
            Expr::Value(value) if interval.leading_field.is_none() && is_postgres_interval(&value.value) => {
                let ty = sqlparser::ast::DataType::Interval { fields: None, precision: None };
                cast(Expr::Value(value.clone()), ty)
            }
            _ => Expr::Interval(interval),
        },
        Expr::AtTimeZone { timestamp, time_zone } => call("timezone", vec![*time_zone, *timestamp]),
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let mut args = vec![*expr, *pattern];
            args.extend(escape_char.map(Expr::Value));
            let held = call("__similar", args);
            if negated { not(held) } else { held }
        }
        Expr::Array(Array { elem, .. }) => call("__array", elem),
        Expr::CompoundFieldAccess { root, access_chain } => access(*root, access_chain),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if !is_numeric(digits) => {
                cast(text(digits), sqlparser::ast::DataType::DoublePrecision)
            }
            _ => Expr::Value(value),
        },
        other => other,
    }
}

/// Whether a number fits 38 digits.
fn is_numeric(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let Ok(exponent) = exponent.parse::<i64>() else { return false };
    let before = (whole.trim_start_matches('0').len() as i64 + exponent).max(0);
    let behind = (fraction.len() as i64 - exponent).max(0);
    before + behind <= DIGITS_MAX as i64
}

fn function_of(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::Arrow => "__json_get",
        BinaryOperator::LongArrow => "__json_get_text",
        BinaryOperator::HashArrow => "__json_path",
        BinaryOperator::HashLongArrow => "__json_path_text",
        BinaryOperator::HashMinus => "__json_delete_path",
        BinaryOperator::AtArrow => "__contains",
        BinaryOperator::ArrowAt => "__contained",
        BinaryOperator::PGOverlap => "__overlaps",
        BinaryOperator::Question => "__json_has",
        BinaryOperator::QuestionPipe => "__json_has_any",
        BinaryOperator::QuestionAnd => "__json_has_all",
        BinaryOperator::BitwiseAnd => "__bit_and",
        BinaryOperator::BitwiseOr => "__bit_or",
        BinaryOperator::PGBitwiseXor => "__bit_xor",
        BinaryOperator::PGBitwiseShiftLeft => "__shift_left",
        BinaryOperator::PGBitwiseShiftRight => "__shift_right",
        _ => return None,
    })
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
}

/// Regular expressions: the function, and whether it is to fail.
fn matching(op: &BinaryOperator) -> Option<(&'static str, bool)> {
    Some(match op {
        BinaryOperator::PGRegexMatch => ("__match", false),
        BinaryOperator::PGRegexIMatch => ("__imatch", false),
        BinaryOperator::PGRegexNotMatch => ("__match", true),
        BinaryOperator::PGRegexNotIMatch => ("__imatch", true),
        _ => return None,
    })
}

fn comparison(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::Eq => "eq",
        BinaryOperator::NotEq => "ne",
        BinaryOperator::Lt => "lt",
        BinaryOperator::LtEq => "le",
        BinaryOperator::Gt => "gt",
        BinaryOperator::GtEq => "ge",
        _ => return None,
    })
}

/// `a.b[1]`, `(row).field`, `array[2:3]`.
fn access(root: Expr, chain: Vec<AccessExpr>) -> Expr {
    let mut root = root;
    let mut chain = chain.into_iter().peekable();
    // Names before the first subscript are a column's.
    if let Expr::Identifier(first) = &root {
        let mut parts = vec![first.clone()];
        while let Some(AccessExpr::Dot(Expr::Identifier(_))) = chain.peek() {
            if let Some(AccessExpr::Dot(Expr::Identifier(part))) = chain.next() {
                parts.push(part);
            }
        }
        if parts.len() > 1 {
            root = Expr::CompoundIdentifier(parts);
        }
    }
    for step in chain {
        root = match step {
            AccessExpr::Dot(Expr::Identifier(name)) => {
                call("__field", vec![root, text(&super::super::parse::fold(&name))])
            }
            AccessExpr::Subscript(Subscript::Index { index }) => call("__element", vec![root, index]),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                match (lower_bound, upper_bound) {
                    (Some(from), Some(to)) => call("__slice", vec![root, from, to]),
                    (Some(from), None) => call("__slice_from", vec![root, from]),
                    (None, Some(to)) => call("__slice_to", vec![root, to]),
                    (None, None) => root,
                }
            }
            other => Expr::CompoundFieldAccess { root: Box::new(root), access_chain: vec![other] },
        };
    }
    root
}
