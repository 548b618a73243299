//! `Unnest`: the logical node that spreads rows over the elements of arrays, for every function that returns rows.
//!
//! What stands on the right of a join and reads one row alone, as `unnest(t.tags)` behind `t`, is applied to the rows of the
//! left side ([`apply_to_rows`]); the join is gone.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, JoinType, NullHandling, Result as PlanResult, TableReference, UnnestOptions,
    not_impl_err, plan_datafusion_err,
};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, Join, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore,
    build_join_schema, lit,
};

/// Its input's rows, each once per element of the longest of its lists, with a column of elements for each list. Rows
/// whose lists are all empty or NULL go; behind the end of a shorter list stand NULLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unnest {
    /// The rows.
    pub input: LogicalPlan,
    /// Arrays over the input's columns.
    pub lists: Vec<Expr>,
    /// The names of the columns of elements, which no other column has.
    names: Vec<String>,
    schema: DFSchemaRef,
}

impl Unnest {
    /// The rows of `input` spread over `lists`, each with the name of its column. Fails unless all are arrays.
    pub fn new(input: LogicalPlan, lists: Vec<(String, Expr)>) -> PlanResult<Unnest> {
        let mut fields: Vec<_> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        for (name, list) in &lists {
            let DataType::List(element) = list.get_type(input.schema())? else {
                return Err(plan_datafusion_err!("unnest of {list}, which is no array"));
            };
            fields.push((None, Arc::new(Field::new(name, element.data_type().clone(), true))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        let (names, lists) = lists.into_iter().unzip();
        Ok(Unnest { input, lists, names, schema })
    }

    /// The node as a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// The lists, each with the name of its column.
    pub(super) fn named(&self) -> impl Iterator<Item = (&String, &Expr)> {
        self.names.iter().zip(&self.lists)
    }
}

impl PartialOrd for Unnest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) => self.lists.partial_cmp(&other.lists),
            other => other,
        }
    }
}

impl UserDefinedLogicalNodeCore for Unnest {
    fn name(&self) -> &str {
        "Unnest"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.lists.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.names.iter().cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unnest:")?;
        for (i, list) in self.lists.iter().enumerate() {
            write!(f, "{} {list}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let input = inputs.pop().ok_or_else(|| plan_datafusion_err!("Unnest has no input"))?;
        Unnest::new(input, self.names.iter().cloned().zip(exprs).collect())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|&column| column < width).collect();
        for column in self.lists.iter().flat_map(Expr::column_refs) {
            needed.push(self.input.schema().maybe_index_of_column(column)?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// `plan` with every [`Unnest`] as DataFusion's own: what a batch engine can run.
pub(super) fn expand_unnest(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let expanded = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Extension(extension) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(unnest) = extension.node.as_any().downcast_ref::<Unnest>() else {
            return Ok(Transformed::no(plan));
        };
        let columns = unnest.input.schema().columns().into_iter().map(Expr::Column);
        let lists = unnest.named().map(|(name, list)| list.clone().alias(name));
        let spread = unnest.names.iter().map(Column::new_unqualified).collect();
        let options = UnnestOptions { null_handling: NullHandling::Drop, recursions: Vec::new() };
        let expanded = LogicalPlanBuilder::from(unnest.input.clone())
            .project(columns.chain(lists))?
            .unnest_columns_with_options(spread, options)?
            .build()?;
        Ok(Transformed::yes(expanded))
    })?;
    Ok(expanded.data)
}

/// `plan` with every join whose right side is an [`Unnest`] of one row as an [`Unnest`] of the rows of the left side.
pub fn apply_to_rows(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let count = Cell::new(0);
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        if let LogicalPlan::Join(join) = &plan
            && let Some(applied) = applied(join, &count)?
        {
            changed = true;
            return Ok(Transformed::yes(applied));
        }
        if changed { Ok(Transformed::yes(plan.recompute_schema()?)) } else { Ok(Transformed::no(plan)) }
    })?;
    Ok(plan.data)
}

/// The join as steps over its left side; `None` when it has to stay a join.
fn applied(join: &Join, count: &Cell<usize>) -> PlanResult<Option<LogicalPlan>> {
    if let Some((first, rest)) = turned(join) {
        let Some(applied) = applied(&first, count)? else { return Ok(None) };
        let joined = LogicalPlan::Join(Join { left: Arc::new(applied), ..rest }).recompute_schema()?;
        let mut rest = LogicalPlanBuilder::from(joined);
        if let Some(filter) = join.filter.clone() {
            rest = rest.filter(filter)?;
        }
        return rest.build().map(Some);
    }
    let padded = match join.join_type {
        JoinType::Inner => false,
        // What the condition refuses would have to come back without elements.
        JoinType::Left if join.on.is_empty() && join.filter.as_ref().is_none_or(|filter| *filter == lit(true)) => true,
        JoinType::Left if is_of_one_row(&join.right, false) && is_lateral(&join.right)? => {
            return not_impl_err!("LEFT JOIN LATERAL of a function of several rows takes ON true alone");
        }
        _ => return Ok(None),
    };
    if !is_of_one_row(&join.right, padded) {
        return Ok(None);
    }
    let mut steps = Steps { outer: Arc::clone(join.left.schema()), padded, count };
    let (plan, mut columns) = steps.over(&join.right, join.left.as_ref().clone())?;
    // A side that is no sub-query of its own has no name around its columns.
    let own = join.left.schema().columns().into_iter().map(Expr::Column);
    let named = join.right.schema().iter().zip(columns.drain(..));
    let named = named.map(|((qualifier, field), column)| column.alias_qualified(qualifier.cloned(), field.name()));
    let mut builder = LogicalPlanBuilder::from(plan).project(own.chain(named))?;
    for (left, right) in &join.on {
        builder = builder.filter(left.clone().eq(right.clone()))?;
    }
    if let Some(filter) = join.filter.clone().filter(|_| !padded) {
        builder = builder.filter(filter)?;
    }
    builder.build().map(Some)
}

/// `l, (u JOIN r ON c)` as `(l, u)` and `JOIN r ON c`, if `u` spreads one row.
fn turned(join: &Join) -> Option<(Join, Join)> {
    let LogicalPlan::Join(rest) = join.right.as_ref() else { return None };
    let turns = join.join_type == JoinType::Inner
        && join.on.is_empty()
        && matches!(rest.join_type, JoinType::Inner | JoinType::Left)
        && leads(&rest.left);
    let schema = || build_join_schema(join.left.schema(), rest.left.schema(), &JoinType::Inner).ok();
    if !turns {
        return None;
    }
    let first = Join { right: Arc::clone(&rest.left), filter: None, schema: Arc::new(schema()?), ..join.clone() };
    Some((first, rest.clone()))
}

/// Whether the first relation of a plan spreads one row.
fn leads(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Inner | JoinType::Left) => leads(&join.left),
        plan => is_of_one_row(plan, false),
    }
}

/// Whether a plan names columns of rows around it.
fn is_lateral(plan: &LogicalPlan) -> PlanResult<bool> {
    plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Subquery(_))))
}

/// Whether a plan spreads one row without columns, with nothing but steps between; `padded`: none that a missing row would pass
/// with another answer than NULL.
fn is_of_one_row(plan: &LogicalPlan, padded: bool) -> bool {
    fn steps(plan: &LogicalPlan, padded: bool, spreads: usize) -> bool {
        match plan {
            LogicalPlan::EmptyRelation(empty) => {
                empty.produce_one_row && if padded { spreads == 1 } else { spreads > 0 }
            }
            LogicalPlan::Subquery(subquery) => steps(&subquery.subquery, padded, spreads),
            LogicalPlan::SubqueryAlias(alias) => steps(&alias.input, padded, spreads),
            LogicalPlan::Projection(projection) => {
                let plain = |expr: &Expr| !padded || gives_null(expr);
                projection.expr.iter().all(plain) && steps(&projection.input, padded, spreads)
            }
            LogicalPlan::Filter(filter) => !padded && steps(&filter.input, padded, spreads),
            LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<Unnest>() {
                Some(unnest) => steps(&unnest.input, padded, spreads + 1),
                None => false,
            },
            _ => false,
        }
    }
    steps(plan, padded, 0)
}

/// Whether an expression is a column of elements, or a field of one: NULL where there is none.
fn gives_null(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Alias(alias) => gives_null(&alias.expr),
        Expr::ScalarFunction(call) => call.name() == "__field" && call.args.first().is_some_and(gives_null),
        _ => false,
    }
}

/// Steps over one row, to be taken over the rows of another plan.
struct Steps<'a> {
    /// The columns of these rows: what outer references name.
    outer: DFSchemaRef,
    padded: bool,
    count: &'a Cell<usize>,
}

impl Steps<'_> {
    /// `steps` over `rows`: the plan, which keeps the columns of `rows`, and the columns of `steps` in it.
    fn over(&mut self, steps: &LogicalPlan, rows: LogicalPlan) -> PlanResult<(LogicalPlan, Vec<Expr>)> {
        match steps {
            LogicalPlan::Subquery(subquery) => self.over(&subquery.subquery, rows),
            LogicalPlan::SubqueryAlias(alias) => self.over(&alias.input, rows),
            LogicalPlan::Filter(filter) => {
                let (plan, columns) = self.over(&filter.input, rows)?;
                let condition = self.moved(&filter.predicate, filter.input.schema(), &columns)?;
                Ok((LogicalPlanBuilder::from(plan).filter(condition)?.build()?, columns))
            }
            LogicalPlan::Projection(projection) => {
                let (plan, columns) = self.over(&projection.input, rows)?;
                let input = projection.input.schema();
                let moved = projection.expr.iter().map(|expr| self.moved(expr, input, &columns));
                let moved = moved.collect::<PlanResult<Vec<_>>>()?;
                if moved.iter().all(|expr| matches!(expr, Expr::Column(_))) {
                    return Ok((plan, moved));
                }
                let kept = plan.schema().columns().into_iter().map(Expr::Column);
                let names: Vec<String> = moved.iter().map(|_| self.name()).collect();
                let named = moved.into_iter().zip(&names).map(|(expr, name)| expr.alias(name));
                let plan = LogicalPlanBuilder::from(plan).project(kept.chain(named))?.build()?;
                Ok((plan, names.into_iter().map(column).collect()))
            }
            LogicalPlan::Extension(extension) => {
                let unnest = extension.node.as_any().downcast_ref::<Unnest>();
                let unnest = unnest.ok_or_else(|| plan_datafusion_err!("{} is no step", steps.display()))?;
                let (plan, mut columns) = self.over(&unnest.input, rows)?;
                let mut lists = Vec::new();
                for list in &unnest.lists {
                    lists.push((self.name(), self.moved(list, unnest.input.schema(), &columns)?));
                }
                columns.extend(lists.iter().map(|(name, _)| column(name.clone())));
                if self.padded {
                    let places = lists.iter().map(|(_, list)| list.clone()).collect();
                    lists.push((self.name(), crate::functions::native_call("__places", places)));
                }
                Ok((Unnest::new(plan, lists)?.into_plan(), columns))
            }
            _ => Ok((rows, Vec::new())),
        }
    }

    /// A name that no column has.
    fn name(&self) -> String {
        self.count.set(self.count.get() + 1);
        format!("__applied_{}", self.count.get())
    }

    /// `expr` over `input` as an expression over the plan in which `columns` stand for those of `input`.
    fn moved(&self, expr: &Expr, input: &DFSchema, columns: &[Expr]) -> PlanResult<Expr> {
        let moved = expr.clone().unalias().transform_up(|expr| match &expr {
            Expr::Column(column) => match input.maybe_index_of_column(column).and_then(|at| columns.get(at)) {
                Some(moved) => Ok(Transformed::yes(moved.clone())),
                None => Err(plan_datafusion_err!("{column} is no column of a row")),
            },
            Expr::OuterReferenceColumn(_, column) if self.outer.maybe_index_of_column(column).is_some() => {
                Ok(Transformed::yes(Expr::Column(column.clone())))
            }
            _ => Ok(Transformed::no(expr)),
        })?;
        Ok(moved.data)
    }
}

fn column(name: String) -> Expr {
    Expr::Column(Column::new(None::<TableReference>, name))
}
