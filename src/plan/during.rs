//! `During`: the logical node of temporal filters: conditions that compare `now()` with a time of the row.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, JoinType, Result as PlanResult, plan_datafusion_err};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Extension, Filter, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::base::{Error, Result};
use crate::functions::{error_from_datafusion, is_clock};

/// The rows of its input for which all predicates hold, as time passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct During {
    pub input: LogicalPlan,
    /// Comparisons with `now()`.
    pub predicates: Vec<Expr>,
}

impl PartialOrd for During {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) => self.predicates.partial_cmp(&other.predicates),
            other => other,
        }
    }
}

impl UserDefinedLogicalNodeCore for During {
    fn name(&self) -> &str {
        "During"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.predicates.clone()
    }

    /// Whatever else is asked of a row may be asked before.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("During: ")?;
        for (i, predicate) in self.predicates.iter().enumerate() {
            write!(f, "{}{predicate}", if i == 0 { "" } else { " AND " })?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, predicates: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        match inputs.pop() {
            Some(input) => Ok(During { input, predicates }),
            None => Err(plan_datafusion_err!("During needs an input")),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut needed = output_columns.to_vec();
        for column in self.predicates.iter().flat_map(Expr::column_refs) {
            needed.push(self.input.schema().maybe_index_of_column(column)?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// `plan`, of a query that is kept up to date, with the conditions that name the clock in nodes of their own. The clock
/// anywhere else is refused.
pub(super) fn find_during(plan: LogicalPlan) -> Result<LogicalPlan> {
    let found = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) => {
            let (clock, others) = apart(filter.predicate.clone());
            if clock.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Filter(filter)));
            }
            let during = during(Arc::unwrap_or_clone(filter.input), clock);
            Ok(Transformed::yes(filtered(during, others)?))
        }
        LogicalPlan::Join(mut join) if join.join_type == JoinType::Inner => {
            let (clock, others) = join.filter.take().map_or_else(Default::default, apart);
            join.filter = conjunction(others);
            if clock.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Join(join)));
            }
            Ok(Transformed::yes(during(LogicalPlan::Join(join), clock)))
        }
        other => Ok(Transformed::no(other)),
    });
    let plan = found.map_err(error_from_datafusion)?.data;
    let mut elsewhere = false;
    let checked = plan.apply_with_subqueries(|node| {
        if !is_during(node) {
            node.apply_expressions(|expr| {
                elsewhere |= names_clock(expr)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    checked.map_err(error_from_datafusion)?;
    if elsewhere { Err(refused()) } else { Ok(plan) }
}

/// The refusal of a use of the clock that no timer can follow.
pub(super) fn refused() -> Error {
    Error::unsupported("this use of now() is not supported in a materialized view or sink").with_hint(CLOCK_HINT)
}

/// What can be written instead.
pub const CLOCK_HINT: &str = "Compare it with a time of the row in WHERE or HAVING, alone or joined by AND: ts > now() - INTERVAL '1 hour'. \
    Or filter in the SELECT that reads the view.";

fn during(input: LogicalPlan, predicates: Vec<Expr>) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(During { input, predicates }) })
}

fn is_during(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().is::<During>(),
        _ => false,
    }
}

fn filtered(input: LogicalPlan, predicates: Vec<Expr>) -> PlanResult<LogicalPlan> {
    match conjunction(predicates) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)),
        None => Ok(input),
    }
}

/// The conditions of `predicate` that name the clock, and the others.
fn apart(predicate: Expr) -> (Vec<Expr>, Vec<Expr>) {
    split_conjunction_owned(predicate).into_iter().partition(|expr| names_clock(expr).unwrap_or(false))
}

fn names_clock(expr: &Expr) -> PlanResult<bool> {
    expr.exists(|expr| match expr {
        Expr::ScalarFunction(call) => Ok(is_clock(call.func.name())),
        _ => Ok(false),
    })
}
