//! FETCH FIRST as LIMIT, and WITH TIES as what it means: rows whose rank is not above the limit.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result as PlanResult, ScalarValue, internal_err};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Limit, LogicalPlan, LogicalPlanBuilder, Projection, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Sort, Volatility, Window, WindowFrame, WindowFunctionDefinition, lit,
};
use sqlparser::ast::{self, Ident, LimitClause, Query, Select, SetExpr, Spanned, VisitMut, VisitorMut};

use super::errors::carry;
use crate::base::{Error, Result};

/// The function around the limit of FETCH ... WITH TIES, until its plan is made.
pub(super) const WITH_TIES: &str = "__with_ties";
/// The columns that number rows.
const RANK: &str = "__rank";
const NUMBER: &str = "__row_number";

/// Whether ORDER BY of `query` says which rows there are, not only how they stand.
pub(super) fn order_matters(query: &Query) -> bool {
    let distinct_on = |select: &Select| matches!(select.distinct, Some(ast::Distinct::On(_)));
    query.limit_clause.is_some()
        || query.fetch.is_some()
        || matches!(query.body.as_ref(), SetExpr::Select(select) if distinct_on(select))
}

/// Rewrites every FETCH in `query` to LIMIT.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    match query.visit(&mut Fetches) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Fetches;

impl VisitorMut for Fetches {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match fetch_to_limit(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn fetch_to_limit(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    let at = fetch.quantity.as_ref().map_or(0, |quantity| quantity.span().start.column as usize);
    let positioned = |error: Error| if at > 0 { error.at(at) } else { error };
    if fetch.percent {
        let error = Error::unsupported("FETCH FIRST ... PERCENT is not supported");
        return Err(positioned(error.with_hint("Write a number of rows.")));
    }
    if fetch.with_ties && query.order_by.is_none() {
        let error = Error::syntax("WITH TIES cannot be specified without ORDER BY");
        return Err(positioned(error.with_hint("Write ORDER BY, or FETCH FIRST ... ROWS ONLY.")));
    }
    let one = || ast::Expr::Value(ast::Value::Number("1".into(), false).into());
    let mut rows = fetch.quantity.unwrap_or_else(one);
    if fetch.with_ties {
        rows = with_ties(rows);
    }
    query.limit_clause = Some(match query.limit_clause.take() {
        None => LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() },
        Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) => {
            LimitClause::LimitOffset { limit: Some(rows), offset, limit_by }
        }
        Some(_) => {
            let error = Error::syntax("a query has LIMIT and FETCH");
            return Err(positioned(error.with_hint("Leave one of them out.")));
        }
    });
    Ok(())
}

fn with_ties(rows: ast::Expr) -> ast::Expr {
    let argument = ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(rows));
    let list = ast::FunctionArgumentList { duplicate_treatment: None, args: vec![argument], clauses: Vec::new() };
    ast::Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![Ident::new(WITH_TIES)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The function itself: it is gone before anything could call it.
pub(super) fn with_ties_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(WithTies { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WithTies {
    signature: Signature,
}

impl ScalarUDFImpl for WithTies {
    fn name(&self) -> &str {
        WITH_TIES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        internal_err!("WITH TIES was not rewritten")
    }
}

/// `plan` with every limit WITH TIES as a filter on `rank`, and on `row_number` for its OFFSET.
pub(super) fn expand_ties(plan: LogicalPlan, session: &SessionState) -> PlanResult<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let rows = match &plan {
            LogicalPlan::Limit(limit) => rows_with_ties(limit)?,
            _ => None,
        };
        let plan = match (plan, rows) {
            (LogicalPlan::Limit(limit), Some(rows)) => {
                changed = true;
                ranked(limit, rows, session)?
            }
            (plan, _) => plan,
        };
        if changed { Ok(Transformed::yes(plan.recompute_schema()?)) } else { Ok(Transformed::no(plan)) }
    })?;
    Ok(plan.data)
}

/// The limit, if it is WITH TIES.
fn rows_with_ties(limit: &Limit) -> PlanResult<Option<i64>> {
    let Some(Expr::ScalarFunction(call)) = limit.fetch.as_deref() else { return Ok(None) };
    if call.name() != WITH_TIES {
        return Ok(None);
    }
    constant(call.args.first()).map(Some)
}

fn constant(expr: Option<&Expr>) -> PlanResult<i64> {
    match expr {
        Some(Expr::Literal(ScalarValue::Int64(Some(rows)), _)) if *rows >= 0 => Ok(*rows),
        None => Ok(0),
        Some(_) => Err(carry(
            Error::unsupported("FETCH ... WITH TIES takes constants only")
                .with_hint("Write a number that is not negative."),
        )),
    }
}

fn ranked(limit: Limit, rows: i64, session: &SessionState) -> PlanResult<LogicalPlan> {
    let skip = constant(limit.skip.as_deref())?;
    let (sort, projection) = match Arc::unwrap_or_clone(limit.input) {
        LogicalPlan::Sort(sort) => (sort, None),
        LogicalPlan::Projection(projection) => match Arc::unwrap_or_clone(projection.input) {
            LogicalPlan::Sort(sort) => (sort, Some(projection.expr)),
            other => return internal_err!("WITH TIES over {}", other.display()),
        },
        other => return internal_err!("WITH TIES over {}", other.display()),
    };
    let columns: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut plan = sort.input;
    let mut condition = named(RANK).lt_eq(lit(rows.saturating_add(skip)));
    plan = Arc::new(number(plan, session, "rank", RANK, &sort.expr)?);
    if skip > 0 {
        plan = Arc::new(number(plan, session, "row_number", NUMBER, &sort.expr)?);
        condition = condition.and(named(NUMBER).gt(lit(skip)));
    }
    let kept = LogicalPlanBuilder::from(plan).filter(condition)?.project(columns)?.build()?;
    let sorted = LogicalPlan::Sort(Sort { expr: sort.expr, input: Arc::new(kept), fetch: None });
    match projection {
        Some(expr) => Ok(LogicalPlan::Projection(Projection::try_new(expr, Arc::new(sorted))?)),
        None => Ok(sorted),
    }
}

fn named(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// `input` with one more column: `function() OVER (ORDER BY order)`.
fn number(
    input: Arc<LogicalPlan>,
    session: &SessionState,
    function: &str,
    name: &str,
    order: &[SortExpr],
) -> PlanResult<LogicalPlan> {
    let Some(udf) = session.window_functions().get(function) else {
        return internal_err!("no window function {function}");
    };
    let function = Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(Arc::clone(udf)),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by: Vec::new(),
            order_by: order.to_vec(),
            window_frame: WindowFrame::new(Some(false)),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }));
    Ok(LogicalPlan::Window(Window::try_new(vec![function.alias(name)], input)?))
}
