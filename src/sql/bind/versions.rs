//! `FOR SYSTEM_TIME AS OF row.time` on the right of a join, as a join with versions by the relation's event time.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Join,
    JoinConstraint, JoinOperator, ObjectName, Query, Select, Spanned, TableFactor, TableVersion, Value, VisitMut,
    VisitorMut,
};

use super::super::parse::{fold, visited};
use crate::base::{Error, Result};
use crate::catalog::Catalog;
use crate::plan::{ASOF, LOOKUP};

/// Rewrites every versioned relation of `query` that stands on the right of a join.
pub(super) fn rewrite(query: &mut Query, catalog: &Catalog) -> Result<()> {
    visited(query.visit(&mut Rewriter { catalog }))
}

struct Rewriter<'a> {
    catalog: &'a Catalog,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
            if let Err(error) = self.join(join) {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn join(&self, join: &mut Join) -> Result<()> {
        let at = join.relation.span().start.column as usize;
        let TableFactor::Table { name, alias, version, .. } = &mut join.relation else { return Ok(()) };
        let Some(TableVersion::ForSystemTimeAsOf(time)) = version.take() else { return Ok(()) };
        if is_proctime(&time) {
            let condition = condition(&mut join.join_operator, at)?;
            *condition =
                binary(mark(LOOKUP, Vec::new()), BinaryOperator::And, Expr::Nested(Box::new(condition.clone())));
            return Ok(());
        }
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
        let (schema, table) = match parts.as_slice() {
            [table] => (None, table.as_str()),
            [schema, table] => (Some(schema.as_str()), table.as_str()),
            _ => return Err(Error::syntax("FOR SYSTEM_TIME AS OF stands behind a relation's name").at(at)),
        };
        let relation = self.catalog.resolve(schema, table).map_err(|error| error.at(at))?;
        let column = relation.watermark.as_ref().and_then(|watermark| relation.columns.columns.get(watermark.column));
        let Some(column) = column else {
            // Without versions there is what it holds when the row comes: whether `time` says so is seen in the plan.
            let condition = condition(&mut join.join_operator, at)?;
            let title = Expr::value(Value::SingleQuotedString(relation.title()));
            let place = Expr::value(Value::Number(at.to_string(), false));
            let lookup = mark(LOOKUP, vec![time, title, place]);
            *condition = binary(lookup, BinaryOperator::And, Expr::Nested(Box::new(condition.clone())));
            return Ok(());
        };
        let mut idents = match alias {
            Some(alias) => vec![alias.name.clone()],
            None => name.0.iter().filter_map(|part| part.as_ident().cloned()).collect(),
        };
        idents.push(Ident::with_quote('"', column.name.clone()));
        let later = binary(time, BinaryOperator::GtEq, Expr::CompoundIdentifier(idents));
        let condition = condition(&mut join.join_operator, at)?;
        let versions = binary(mark(ASOF, Vec::new()), BinaryOperator::And, later);
        *condition = binary(versions, BinaryOperator::And, Expr::Nested(Box::new(condition.clone())));
        Ok(())
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn is_proctime(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("proctime"))
}

/// The condition behind ON.
fn condition(operator: &mut JoinOperator, at: usize) -> Result<&mut Expr> {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)) = operator
    else {
        return Err(Error::unsupported("FOR SYSTEM_TIME AS OF takes JOIN and LEFT JOIN")
            .with_hint("Write the versioned relation on the right of one of them.")
            .at(at));
    };
    let JoinConstraint::On(condition) = constraint else {
        return Err(Error::unsupported("FOR SYSTEM_TIME AS OF takes conditions with ON")
            .with_hint("Write ON left.key = right.key.")
            .at(at));
    };
    Ok(condition)
}

/// The condition that marks a join as one with versions, or a lookup; of what time, of what relation and where, if that is
/// to be judged.
fn mark(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
