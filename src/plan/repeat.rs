//! `Repeat`: the logical node that gives each row as often as an expression says, for INTERSECT ALL and EXCEPT ALL.

use std::cmp::Ordering;
use std::fmt;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchemaRef, NullHandling, Result as PlanResult, UnnestOptions, plan_datafusion_err};
use datafusion::functions_nested::range::range_udf;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, lit};

/// The column that a batch engine unnests.
const TIMES: &str = "__times";

/// Its input's rows, each `times` times. NULL and numbers below 1: not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repeat {
    /// The rows.
    pub input: LogicalPlan,
    /// How often, a bigint over the input's columns.
    pub times: Expr,
}

impl Repeat {
    /// The node as a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: std::sync::Arc::new(self) })
    }
}

impl PartialOrd for Repeat {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) => self.times.partial_cmp(&other.times),
            other => other,
        }
    }
}

impl UserDefinedLogicalNodeCore for Repeat {
    fn name(&self) -> &str {
        "Repeat"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.times.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repeat: {}", self.times)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        match (exprs.pop(), inputs.pop()) {
            (Some(times), Some(input)) => Ok(Repeat { input, times }),
            _ => Err(plan_datafusion_err!("Repeat needs an input and an expression")),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut needed = output_columns.to_vec();
        for column in self.times.column_refs() {
            needed.push(self.input.schema().maybe_index_of_column(column)?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// `plan` with every [`Repeat`] as a list of that length and its unnesting: what a batch engine can run.
pub(super) fn expand_repeats(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let expanded = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Extension(extension) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(repeat) = extension.node.as_any().downcast_ref::<Repeat>() else {
            return Ok(Transformed::no(plan));
        };
        let columns = || repeat.input.schema().columns().into_iter().map(Expr::Column);
        let list = range_udf().call(vec![lit(0i64), repeat.times.clone()]).alias(TIMES);
        let options = UnnestOptions { null_handling: NullHandling::Drop, recursions: Vec::new() };
        let expanded = LogicalPlanBuilder::from(repeat.input.clone())
            .project(columns().chain([list]))?
            .unnest_column_with_options(Column::new_unqualified(TIMES), options)?
            .project(columns())?;
        Ok(Transformed::yes(expanded.build()?))
    })?;
    Ok(expanded.data)
}
