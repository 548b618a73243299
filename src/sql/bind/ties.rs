//! Ties are broken by the whole row: wherever the order of peers shows in an answer, ORDER BY goes on with `row_order` of
//! all columns. The one place of this rule: reads, the oracle and the operators all run what it makes.
//!
//! | where | whole row |
//! |---|---|
//! | row_number, ntile, lag, lead; anything over ROWS frames | the input of OVER |
//! | first_value, last_value, nth_value over RANGE and GROUPS: rows are sorted beneath, peers stay peers | the same |
//! | ORDER BY ... LIMIT (in views) | what ORDER BY sees |
//! | DISTINCT ON | the rows that it chooses from |
//!
//! rank, dense_rank, percent_rank, cume_dist and sums over RANGE and GROUPS are the same whatever the order of peers.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{Alias, Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprSchemable, Limit, LogicalPlan, Projection, Sort, Window, WindowFrame,
    WindowFrameBound, WindowFrameUnits, lit,
};

use crate::functions::row_order;

/// `plan` with its ties broken. `limits`: also those of LIMIT; a SELECT may leave them open, as PostgreSQL does.
pub(super) fn break_ties(plan: LogicalPlan, limits: bool) -> Result<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let done = match plan {
            LogicalPlan::Window(window) => over(window)?,
            LogicalPlan::Limit(limit) if limits => Transformed::yes(LogicalPlan::Limit(first(limit)?)),
            LogicalPlan::Distinct(Distinct::On(on)) => {
                Transformed::yes(LogicalPlan::Distinct(Distinct::On(distinct_on(on))))
            }
            other => Transformed::no(other),
        };
        changed |= done.transformed;
        if changed { Ok(Transformed::yes(done.data.recompute_schema()?)) } else { Ok(done) }
    })?;
    Ok(plan.data)
}

fn tie(columns: Vec<Column>) -> SortExpr {
    // Rows without columns are all the same.
    if columns.is_empty() { lit(true).sort(true, false) } else { row_order(columns).sort(true, false) }
}

/// How a window function sees the order of peers.
#[derive(Clone, Copy, PartialEq)]
enum Sees {
    /// Not at all.
    Nothing,
    /// As the order of rows.
    Rows,
    /// As the order within peers that stay peers.
    Peers,
}

fn sees(function: &WindowFunction) -> Sees {
    let name = function.fun.name();
    match name {
        "rank" | "dense_rank" | "percent_rank" | "cume_dist" => return Sees::Nothing,
        "row_number" | "ntile" | "lag" | "lead" => return Sees::Rows,
        _ => {}
    }
    let by_order = ["first_value", "last_value", "nth_value", "array_agg", "string_agg"].contains(&name);
    let frame = &function.params.window_frame;
    match frame.units {
        WindowFrameUnits::Rows if by_order || !is_whole(frame) => Sees::Rows,
        WindowFrameUnits::Range | WindowFrameUnits::Groups if by_order => Sees::Peers,
        WindowFrameUnits::Rows | WindowFrameUnits::Range | WindowFrameUnits::Groups => Sees::Nothing,
    }
}

fn is_whole(frame: &WindowFrame) -> bool {
    frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded()
}

fn function_of(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::WindowFunction(function) => Some(function),
        Expr::Alias(alias) => function_of(&alias.expr),
        _ => None,
    }
}

/// RANGE without offsets is GROUPS: both end with peers. DataFusion knows RANGE only over types with a difference.
fn with_groups(expr: Expr, input: &LogicalPlan) -> Result<Expr> {
    let changed = expr.transform_down(|expr| {
        let Expr::WindowFunction(mut function) = expr else { return Ok(Transformed::no(expr)) };
        let frame = &function.params.window_frame;
        let open = |bound: &WindowFrameBound| bound.is_unbounded() || *bound == WindowFrameBound::CurrentRow;
        let Some(first) = function.params.order_by.first() else {
            return Ok(Transformed::no(Expr::WindowFunction(function)));
        };
        let ty = first.expr.get_type(input.schema())?;
        let fits = frame.units == WindowFrameUnits::Range && open(&frame.start_bound) && open(&frame.end_bound);
        if !fits || !matches!(ty, DataType::Time64(_) | DataType::Binary) {
            return Ok(Transformed::no(Expr::WindowFunction(function)));
        }
        function.params.window_frame.units = WindowFrameUnits::Groups;
        Ok(Transformed::yes(Expr::WindowFunction(function)))
    })?;
    Ok(changed.data)
}

/// Functions that see rows in order get their own node; they keep their names.
fn over(mut window: Window) -> Result<Transformed<LogicalPlan>> {
    let functions = std::mem::take(&mut window.window_expr).into_iter();
    window.window_expr = functions
        .map(|expr| {
            let name = expr.schema_name().to_string();
            let grouped = with_groups(expr.clone(), &window.input)?;
            Ok(if grouped == expr { expr } else { grouped.unalias().alias(name) })
        })
        .collect::<Result<_>>()?;
    let kind = |expr: &Expr| function_of(expr).map_or(Sees::Nothing, sees);
    if window.window_expr.iter().all(|expr| kind(expr) == Sees::Nothing) {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    // What other windows of the same SELECT have computed is part of the row: it tells copies of a row apart.
    let tie = tie(window.input.schema().columns());
    let (by_row, by_peers): (Vec<Expr>, Vec<Expr>) =
        window.window_expr.into_iter().partition(|expr| kind(expr) == Sees::Rows);
    let mut plan = window.input;
    if let LogicalPlan::Window(_) = &*plan {
        // DataFusion computes what adjacent windows have in common beneath all of them, where results are not yet.
        let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
        plan = Arc::new(LogicalPlan::Projection(Projection::try_new(columns, plan)?));
    }
    if let Some(function) = by_peers.iter().filter(|expr| kind(expr) == Sees::Peers).find_map(function_of) {
        let partition = function.params.partition_by.iter().map(|expr| expr.clone().sort(true, false));
        let order = function.params.order_by.iter().cloned();
        let expr = partition.chain(order).chain([tie.clone()]).collect();
        plan = Arc::new(LogicalPlan::Sort(Sort { expr, input: plan, fetch: None }));
    }
    if !by_peers.is_empty() {
        plan = Arc::new(LogicalPlan::Window(Window::try_new(by_peers, plan)?));
    }
    if by_row.is_empty() {
        return Ok(Transformed::yes(Arc::unwrap_or_clone(plan)));
    }
    let by_row = by_row.into_iter().map(|expr| with_tie(expr, &tie)).collect();
    Ok(Transformed::yes(LogicalPlan::Window(Window::try_new(by_row, plan)?)))
}

fn with_tie(expr: Expr, tie: &SortExpr) -> Expr {
    let name = expr.schema_name().to_string();
    match expr {
        Expr::WindowFunction(mut function) => {
            function.params.order_by.push(tie.clone());
            Expr::WindowFunction(function).alias(name)
        }
        Expr::Alias(alias) => {
            let inner = with_tie(*alias.expr, tie).unalias();
            Expr::Alias(Alias { expr: Box::new(inner), ..alias })
        }
        other => other,
    }
}

/// LIMIT and OFFSET take rows from a full order.
fn first(limit: Limit) -> Result<Limit> {
    let input = match Arc::unwrap_or_clone(limit.input) {
        LogicalPlan::Sort(sort) => LogicalPlan::Sort(with_whole_row(sort)),
        LogicalPlan::Projection(projection) => match Arc::unwrap_or_clone(projection.input) {
            // Columns that only ORDER BY names are taken away behind it.
            LogicalPlan::Sort(sort) => {
                let sorted = Arc::new(LogicalPlan::Sort(with_whole_row(sort)));
                LogicalPlan::Projection(Projection::try_new(projection.expr, sorted)?)
            }
            input => unsorted(LogicalPlan::Projection(Projection::try_new(projection.expr, Arc::new(input))?)),
        },
        other => unsorted(other),
    };
    Ok(Limit { input: Arc::new(input), ..limit })
}

fn with_whole_row(mut sort: Sort) -> Sort {
    sort.expr.push(tie(sort.input.schema().columns()));
    sort.expr = once(sort.expr);
    sort
}

fn unsorted(input: LogicalPlan) -> LogicalPlan {
    let expr = vec![tie(input.schema().columns())];
    LogicalPlan::Sort(Sort { expr, input: Arc::new(input), fetch: None })
}

/// Keys without those that come again: DataFusion's `first_value` counts on that.
fn once(order: Vec<SortExpr>) -> Vec<SortExpr> {
    let mut seen: Vec<SortExpr> = Vec::with_capacity(order.len());
    for key in order {
        if seen.iter().all(|other| other.expr != key.expr) {
            seen.push(key);
        }
    }
    seen
}

fn distinct_on(mut on: DistinctOn) -> DistinctOn {
    let order = on.on_expr.iter().map(|expr| expr.clone().sort(true, false));
    let mut order = on.sort_expr.take().unwrap_or_else(|| order.collect());
    order.push(tie(on.input.schema().columns()));
    on.sort_expr = Some(once(order));
    on
}
