//! Row values in predicates, column by column, as SQL's three truth values want it.
//!
//! ```text
//! (a, b) = (c, d)              a = c AND b = d                         <> is NOT of it
//! (a, b) < (c, d)              a < c OR (a = c AND b < d)              <=, >, >= alike
//! (a, b) IN ((c, d), (e, f))   (a, b) = (c, d) OR (a, b) = (e, f)
//! (a, b) IS NULL               a IS NULL AND b IS NULL                 IS NOT NULL, IS [NOT] DISTINCT FROM alike
//! (a, b) IN (SELECT ...)       EXISTS (SELECT 1 FROM (SELECT ...) AS s (x, y) WHERE x = a AND y = b)
//! (a, b) NOT IN (SELECT ...)   NOT EXISTS (SELECT 1 FROM (SELECT ...) AS s (x, y)
//!                                          WHERE (x = a OR x IS NULL OR a IS NULL) AND (y = b OR y IS NULL OR b IS NULL))
//! (a, b) = (SELECT ...)        a = (SELECT x FROM (SELECT ...) AS s (x, y)) AND b = (SELECT y FROM (SELECT ...) AS s (x, y))
//! ```
//!
//! Where a membership is no condition of its own, it is `CASE WHEN EXISTS (equal) THEN true WHEN EXISTS (equal or NULL) THEN NULL
//! ELSE false END`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, Select, SetExpr, Spanned, Statement, UnaryOperator, Value, VisitMut,
    VisitorMut,
};
use sqlparser::parser::Parser;

use super::super::dialect::MillstreamDialect;
use super::super::parse::fold;
use crate::base::{Error, Result};

/// Rewrites all of them in `node`.
pub(super) fn rewrite<T: VisitMut>(node: &mut T) -> Result<()> {
    match node.visit(&mut Rewriter { count: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter {
    count: usize,
}

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for condition in select.selection.iter_mut().chain(&mut select.having) {
            if let Err(error) = self.condition(condition) {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.value(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The values of `(a, b)` or `ROW(a, b)`.
fn row_of(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(values) => Some(values.clone()),
        Expr::Nested(inner) => row_of(inner),
        Expr::Function(function) if function.over.is_none() && function.filter.is_none() => {
            let [name] = function.name.0.as_slice() else { return None };
            if fold(name.as_ident()?) != "row" {
                return None;
            }
            let sqlparser::ast::FunctionArguments::List(list) = &function.args else { return None };
            super::set_functions::expressions(&list.args)
        }
        _ => None,
    }
}

fn subquery_of(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) => Some(query),
        Expr::Nested(inner) => subquery_of(inner),
        _ => None,
    }
}

impl Rewriter {
    /// Memberships that are conditions of their own in WHERE and HAVING.
    fn condition(&mut self, expr: &mut Expr) -> Result<()> {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.condition(left)?;
                self.condition(right)
            }
            Expr::Nested(inner) => self.condition(inner),
            Expr::InSubquery { expr: row, subquery, negated } => {
                if let Some(values) = row_of(row) {
                    *expr = self.exists(&values, subquery, *negated, *negated)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn value(&mut self, expr: &mut Expr) -> Result<()> {
        let replaced = match &*expr {
            Expr::BinaryOp { left, op, right } => match (row_of(left), row_of(right)) {
                (Some(left), Some(right)) => compared(&left, op, &right, expr)?,
                (Some(row), None) if subquery_of(right).is_some() => self.with_one_row(&row, op, right)?,
                _ => None,
            },
            Expr::IsDistinctFrom(left, right) => distinct(left, right, BinaryOperator::Or, Expr::IsDistinctFrom)?,
            Expr::IsNotDistinctFrom(left, right) => {
                distinct(left, right, BinaryOperator::And, Expr::IsNotDistinctFrom)?
            }
            Expr::IsNull(row) => row_of(row).and_then(|row| each(row, Expr::IsNull)),
            Expr::IsNotNull(row) => row_of(row).and_then(|row| each(row, Expr::IsNotNull)),
            Expr::InList { expr: row, list, negated } => match row_of(row) {
                Some(row) => Some(in_list(&row, list, *negated)?),
                None => None,
            },
            Expr::InSubquery { expr: row, subquery, negated } => match row_of(row) {
                Some(row) => Some(self.membership(&row, subquery, *negated)?),
                None => None,
            },
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => match (row_of(left), subquery_of(right))
            {
                (Some(row), Some(subquery)) => Some(self.membership(&row, subquery, false)?),
                _ => None,
            },
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
                match (row_of(left), subquery_of(right)) {
                    (Some(row), Some(subquery)) => Some(self.membership(&row, subquery, true)?),
                    _ => None,
                }
            }
            Expr::Between { expr: row, negated, low, high } => match (row_of(row), row_of(low), row_of(high)) {
                (Some(row), Some(low), Some(high)) => {
                    let low = compared(&row, &BinaryOperator::GtEq, &low, expr)?;
                    let high = compared(&row, &BinaryOperator::LtEq, &high, expr)?;
                    let both = low.zip(high).map(|(low, high)| binary(low, BinaryOperator::And, high));
                    both.map(|both| if *negated { not(both) } else { nested(both) })
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(replaced) = replaced {
            *expr = replaced;
        }
        Ok(())
    }

    /// `row IN (subquery)` as a value.
    fn membership(&mut self, row: &[Expr], subquery: &Query, negated: bool) -> Result<Expr> {
        let truth = |value| Expr::Value(Value::Boolean(value).into());
        let when = |condition, result| CaseWhen { condition, result };
        let null = Expr::Cast {
            kind: sqlparser::ast::CastKind::Cast,
            expr: Box::new(Expr::Value(Value::Null.into())),
            data_type: sqlparser::ast::DataType::Boolean,
            array: false,
            format: None,
        };
        Ok(nested(Expr::Case {
            case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
            end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![
                when(self.exists(row, subquery, false, false)?, truth(!negated)),
                when(self.exists(row, subquery, true, false)?, null),
            ],
            else_result: Some(Box::new(truth(negated))),
        }))
    }

    /// Whether the sub-query has a row equal to `row`; `open`: or one that may be, for all that NULLs say.
    fn exists(&mut self, row: &[Expr], subquery: &Query, open: bool, negated: bool) -> Result<Expr> {
        let (columns, query) = self.named(row, subquery)?;
        let equal = columns.into_iter().zip(row).map(|(column, value)| {
            let same = binary(column.clone(), BinaryOperator::Eq, nested(value.clone()));
            if !open {
                return same;
            }
            let null = |expr: Expr| Expr::IsNull(Box::new(expr));
            let either = binary(null(column), BinaryOperator::Or, null(nested(value.clone())));
            nested(binary(same, BinaryOperator::Or, either))
        });
        let condition = equal.reduce(|all, one| binary(all, BinaryOperator::And, one));
        let mut query = query;
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.selection = condition;
        }
        Ok(Expr::Exists { subquery: Box::new(query), negated })
    }

    /// `row op (subquery of one row)`.
    fn with_one_row(&mut self, row: &[Expr], op: &BinaryOperator, side: &Expr) -> Result<Option<Expr>> {
        if sides(op).is_none() {
            return Ok(None);
        }
        let Some(subquery) = subquery_of(side) else { return Ok(None) };
        let (columns, query) = self.named(row, subquery)?;
        let values = columns.into_iter().map(|column| {
            let mut query = query.clone();
            if let SetExpr::Select(select) = query.body.as_mut() {
                select.projection = vec![sqlparser::ast::SelectItem::UnnamedExpr(column)];
            }
            Expr::Subquery(Box::new(query))
        });
        let values: Vec<Expr> = values.collect();
        compared(row, op, &values, side)
    }

    /// `SELECT 1 FROM (subquery) AS s (names)`, and the names.
    fn named(&mut self, row: &[Expr], subquery: &Query) -> Result<(Vec<Expr>, Query)> {
        if let SetExpr::Select(select) = subquery.body.as_ref() {
            let plain = |item: &sqlparser::ast::SelectItem| {
                use sqlparser::ast::SelectItem::{ExprWithAlias, UnnamedExpr};
                matches!(item, UnnamedExpr(_) | ExprWithAlias { .. })
            };
            let (found, wanted) = (select.projection.len(), row.len());
            if select.projection.iter().all(plain) && found != wanted {
                let many = if found > wanted { "many" } else { "few" };
                return Err(at(
                    Error::syntax(format!("subquery has too {many} columns"))
                        .with_detail(format!("The row has {wanted} columns, the sub-query {found}.")),
                    &Expr::Subquery(Box::new(subquery.clone())),
                ));
            }
        }
        self.count += 1;
        let name = format!("__row_{}", self.count);
        let names: Vec<String> = (1..=row.len()).map(|i| format!("__value_{i}")).collect();
        let text = format!("SELECT 1 FROM (SELECT 1) AS {name} ({})", names.join(", "));
        let parsed = Parser::parse_sql(&MillstreamDialect::default(), &text);
        let Some(Statement::Query(mut query)) = parsed.ok().and_then(|mut statements| statements.pop()) else {
            return Err(Error::internal(format!("a query of ours does not parse: {text}")));
        };
        if let SetExpr::Select(select) = query.body.as_mut()
            && let Some(sqlparser::ast::TableFactor::Derived { subquery: inner, .. }) =
                select.from.first_mut().map(|from| &mut from.relation)
        {
            **inner = subquery.clone();
        }
        let columns =
            names.iter().map(|column| Expr::CompoundIdentifier(vec![Ident::new(&name), Ident::new(column)])).collect();
        Ok((columns, *query))
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(expr)) }
}

fn at(error: Error, expr: &Expr) -> Error {
    match expr.span().start.column as usize {
        0 => error,
        column => error.at(column),
    }
}

/// What decides at a column that differs, and whether equal rows pass; `None`: not a comparison.
fn sides(op: &BinaryOperator) -> Option<(BinaryOperator, bool)> {
    Some(match op {
        BinaryOperator::Eq | BinaryOperator::NotEq => (BinaryOperator::Eq, true),
        BinaryOperator::Lt => (BinaryOperator::Lt, false),
        BinaryOperator::LtEq => (BinaryOperator::Lt, true),
        BinaryOperator::Gt => (BinaryOperator::Gt, false),
        BinaryOperator::GtEq => (BinaryOperator::Gt, true),
        _ => return None,
    })
}

fn check_widths(left: &[Expr], right: &[Expr], place: &Expr) -> Result<()> {
    if left.len() == right.len() {
        return Ok(());
    }
    let error = Error::syntax("unequal number of entries in row expressions")
        .with_detail(format!("One row has {} columns, the other {}.", left.len(), right.len()))
        .with_hint("Compare rows of the same number of columns.");
    Err(at(error, place))
}

/// `left op right`; `None` when it is not a comparison.
fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr], place: &Expr) -> Result<Option<Expr>> {
    let Some((strict, equal_passes)) = sides(op) else { return Ok(None) };
    check_widths(left, right, place)?;
    let pair = |at: usize, op: &BinaryOperator| binary(nested(left[at].clone()), op.clone(), nested(right[at].clone()));
    let Some(last) = left.len().checked_sub(1) else { return Ok(None) };
    if strict == BinaryOperator::Eq {
        let equal = (0..=last).map(|at| pair(at, &strict)).reduce(|all, one| binary(all, BinaryOperator::And, one));
        let negated = *op == BinaryOperator::NotEq;
        return Ok(equal.map(|equal| if negated { not(equal) } else { nested(equal) }));
    }
    let mut held = pair(last, if equal_passes { op } else { &strict });
    for at in (0..last).rev() {
        let rest = nested(binary(pair(at, &BinaryOperator::Eq), BinaryOperator::And, nested(held)));
        held = binary(pair(at, &strict), BinaryOperator::Or, rest);
    }
    Ok(Some(nested(held)))
}

fn distinct(
    left: &Expr,
    right: &Expr,
    join: BinaryOperator,
    make: fn(Box<Expr>, Box<Expr>) -> Expr,
) -> Result<Option<Expr>> {
    let (Some(lefts), Some(rights)) = (row_of(left), row_of(right)) else { return Ok(None) };
    check_widths(&lefts, &rights, left)?;
    let pairs =
        lefts.into_iter().zip(rights).map(|(left, right)| make(Box::new(nested(left)), Box::new(nested(right))));
    Ok(pairs.map(nested).reduce(|all, one| binary(all, join.clone(), one)).map(nested))
}

/// `make` of every value.
fn each(row: Vec<Expr>, make: fn(Box<Expr>) -> Expr) -> Option<Expr> {
    let tests = row.into_iter().map(|value| make(Box::new(nested(value))));
    tests.reduce(|all, one| binary(all, BinaryOperator::And, one)).map(nested)
}

fn in_list(row: &[Expr], list: &[Expr], negated: bool) -> Result<Expr> {
    let mut any = None;
    for other in list {
        let values = row_of(other).ok_or_else(|| {
            at(
                Error::syntax("a row is compared with something that is no row")
                    .with_hint("Write (a, b) IN ((1, 2), (3, 4))."),
                other,
            )
        })?;
        let Some(equal) = compared(row, &BinaryOperator::Eq, &values, other)? else { continue };
        any = Some(match any {
            None => equal,
            Some(any) => binary(any, BinaryOperator::Or, equal),
        });
    }
    let any = any.map_or_else(|| Expr::Value(Value::Boolean(false).into()), nested);
    Ok(if negated { not(any) } else { any })
}
