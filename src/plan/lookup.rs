//! `LookupJoin`: the logical node of FOR SYSTEM_TIME AS OF PROCTIME(), and what it means to a batch engine: a plain join.
//!
//! The binder writes such a join as a plain one with [`LOOKUP`] among its conditions, perhaps of a column that must be
//! PROCTIME() (with the title of the right side, and where that stands); [`find_lookups`] makes the node of it, whose conditions are equalities.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, DataFusionError, JoinType, Result as PlanResult, plan_datafusion_err};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Extension, Filter, Join, LogicalPlan, Operator, ScalarUDF, Signature, SimpleScalarUDF,
    TypeSignature, UserDefinedLogicalNodeCore, Volatility, build_join_schema,
};

use super::proctime::is_processing_time;

use crate::base::{Error, Result};
use crate::functions::error_from_datafusion;

/// The name of the condition that marks a join as a lookup.
pub const LOOKUP: &str = "__lookup";

/// The function of that name. It is never called.
pub fn lookup_mark() -> Arc<ScalarUDF> {
    static MARK: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let never = Arc::new(|_: &[_]| Err(DataFusionError::Plan("a lookup join was not planned".to_string())));
        let one_of = vec![TypeSignature::Nullary, TypeSignature::Any(3)];
        let signature = Signature::one_of(one_of, Volatility::Volatile);
        Arc::new(SimpleScalarUDF::new_with_signature(LOOKUP, signature, DataType::Boolean, never).into())
    });
    Arc::clone(&MARK)
}

/// Each left row beside the right rows of its key as they are when it comes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LookupJoin {
    pub left: LogicalPlan,
    pub right: LogicalPlan,
    /// Expressions over the left and over the right side that must be equal.
    pub on: Vec<(Expr, Expr)>,
    /// Left rows without a match are shown.
    pub outer: bool,
    schema: DFSchemaRef,
}

impl LookupJoin {
    fn with_schema(mut self) -> PlanResult<LookupJoin> {
        let kind = if self.outer { JoinType::Left } else { JoinType::Inner };
        self.schema = Arc::new(build_join_schema(self.left.schema(), self.right.schema(), &kind)?);
        Ok(self)
    }
}

impl PartialOrd for LookupJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.left, &self.right).partial_cmp(&(&other.left, &other.right))
    }
}

impl UserDefinedLogicalNodeCore for LookupJoin {
    fn name(&self) -> &str {
        "LookupJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]).collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LookupJoin: {}", if self.outer { "Left" } else { "Inner" })?;
        self.on.iter().try_for_each(|(left, right)| write!(f, ", {left} = {right}"))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return Err(plan_datafusion_err!("a lookup join needs two inputs"));
        };
        let on = exprs.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        LookupJoin { left, right, on, ..self.clone() }.with_schema()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        // Left rows that are taken back are found by all their columns.
        let mut needed = [(0..width).collect::<Vec<_>>(), Vec::new()];
        needed[1].extend(output_columns.iter().filter(|column| **column >= width).map(|column| column - width));
        for (_, right) in &self.on {
            for column in right.column_refs() {
                needed[1].push(self.right.schema().maybe_index_of_column(column)?);
            }
        }
        needed[1].sort_unstable();
        needed[1].dedup();
        Some(needed.into())
    }
}

/// Fails unless the columns in the marks of `plan` are PROCTIME().
pub fn check_lookups(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node
            && let Some((_, about)) = marked(join)
            && let [time, title, place] = about.as_slice()
            && !is_processing_time(time, &join.left)
        {
            return Err(DataFusionError::External(Box::new(no_versions(title, place))));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(plan)
}

/// `plan` with every join that is marked as a [`LookupJoin`]; with `present`, as a plain join with what is there now.
pub(super) fn find_lookups(plan: LogicalPlan, present: bool) -> Result<LogicalPlan> {
    let mut refusal = None;
    let found = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let Some((conditions, _)) = marked(&join) else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
        if present {
            return Ok(Transformed::yes(LogicalPlan::Join(Join { filter: conjunction(conditions), ..join })));
        }
        match node_of(join, conditions) {
            Ok(node) => Ok(Transformed::yes(node)),
            Err(error) => {
                refusal = Some(error);
                Err(plan_datafusion_err!("a lookup join is refused"))
            }
        }
    });
    match (refusal, found) {
        (Some(error), _) => Err(error),
        (None, found) => Ok(found.map_err(error_from_datafusion)?.data),
    }
}

/// The other conditions of a join that is marked, and the arguments of the mark.
fn marked(join: &Join) -> Option<(Vec<Expr>, Vec<Expr>)> {
    let mut about = Vec::new();
    let mut found = false;
    let mut others = Vec::new();
    for condition in split_conjunction_owned(join.filter.clone()?) {
        match condition {
            Expr::ScalarFunction(call) if call.func.name() == LOOKUP => {
                found = true;
                about = call.args;
            }
            other => others.push(other),
        }
    }
    found.then_some((others, about))
}

fn no_versions(title: &Expr, place: &Expr) -> Error {
    let shown = |expr: &Expr| match expr {
        Expr::Literal(value, _) => value.to_string(),
        other => other.to_string(),
    };
    let error = Error::unsupported(format!("{} has no versions: it has no event time", shown(title)))
        .with_hint("Declare WATERMARK FOR its time, or write ASOF JOIN ... ON keys AND left.time >= right.time.");
    match shown(place).parse() {
        Ok(at) => error.at(at),
        Err(_) => error,
    }
}

fn node_of(join: Join, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    let outer = join.join_type == JoinType::Left;
    let (mut on, mut others) = (join.on, Vec::new());
    let of = |expr: &Expr, plan: &LogicalPlan| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| plan.schema().has_column(column))
    };
    for condition in conditions {
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
                if of(&left, &join.left) && of(&right, &join.right) =>
            {
                on.push((*left, *right));
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
                if of(&left, &join.right) && of(&right, &join.left) =>
            {
                on.push((*right, *left));
            }
            other => others.push(other),
        }
    }
    if on.is_empty() || outer && !others.is_empty() {
        let what = if on.is_empty() { "has no equality" } else { "of a LEFT JOIN takes equalities only" };
        return Err(Error::unsupported(format!("a join FOR SYSTEM_TIME AS OF PROCTIME() {what}"))
            .with_hint("Write ON left.key = right.key, and other conditions in WHERE."));
    }
    let schema = Arc::clone(&join.schema);
    let (left, right) = (Arc::unwrap_or_clone(join.left), Arc::unwrap_or_clone(join.right));
    let node = LookupJoin { left, right, on, outer, schema }.with_schema().map_err(error_from_datafusion)?;
    let node = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    match conjunction(others) {
        None => Ok(node),
        Some(others) => Filter::try_new(others, Arc::new(node)).map(LogicalPlan::Filter).map_err(error_from_datafusion),
    }
}
