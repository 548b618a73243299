//! `AsofJoin`: the logical node of ASOF JOIN and of FOR SYSTEM_TIME AS OF a row's time, and what it means to a batch engine.
//!
//! The binder writes such a join as a plain one with [`ASOF`] among its conditions; [`find_asof`] makes the node of it, whose
//! conditions are equalities and one comparison of times.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{
    Column, DFSchemaRef, DataFusionError, JoinType, NullEquality, Result as PlanResult, plan_datafusion_err,
};
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprFunctionExt, Extension, Join, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF, SortExpr,
    UserDefinedLogicalNodeCore, Volatility, build_join_schema, create_udf, lit,
};

use crate::base::{Error, Result};
use crate::functions::error_from_datafusion;

/// The name of the condition that marks a join as one with versions.
pub const ASOF: &str = "__asof";

/// The function of that name. It is never called.
pub fn asof_mark() -> Arc<ScalarUDF> {
    static MARK: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let never = Arc::new(|_: &[_]| Err(DataFusionError::Plan("a version join was not planned".to_string())));
        Arc::new(create_udf(ASOF, Vec::new(), DataType::Boolean, Volatility::Volatile, never))
    });
    Arc::clone(&MARK)
}

/// Each left row beside the newest right row of its key that is not newer than it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AsofJoin {
    pub left: LogicalPlan,
    pub right: LogicalPlan,
    /// Expressions over the left and over the right side that must be equal.
    pub on: Vec<(Expr, Expr)>,
    pub left_time: Expr,
    pub right_time: Expr,
    /// The right time must be below the left one, not equal.
    pub strict: bool,
    /// Left rows without a version are shown.
    pub outer: bool,
    schema: DFSchemaRef,
}

impl AsofJoin {
    fn join_type(&self) -> JoinType {
        if self.outer { JoinType::Left } else { JoinType::Inner }
    }

    fn with_schema(mut self) -> PlanResult<AsofJoin> {
        self.schema = Arc::new(build_join_schema(self.left.schema(), self.right.schema(), &self.join_type())?);
        Ok(self)
    }
}

impl PartialOrd for AsofJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.left, &self.right).partial_cmp(&(&other.left, &other.right))
    }
}

impl UserDefinedLogicalNodeCore for AsofJoin {
    fn name(&self) -> &str {
        "AsofJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let on = self.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
        [self.left_time.clone(), self.right_time.clone()].into_iter().chain(on).collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.strict { "<" } else { "<=" };
        write!(f, "AsofJoin: {} the newest {} {sign} {}", self.join_type(), self.right_time, self.left_time)?;
        self.on.iter().try_for_each(|(left, right)| write!(f, ", {left} = {right}"))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let (Ok([left, right]), Some(([left_time, right_time], on))) =
            (<[LogicalPlan; 2]>::try_from(inputs), exprs.split_first_chunk::<2>())
        else {
            return Err(plan_datafusion_err!("a version join needs two inputs and two times"));
        };
        let pair = |pair: &[Expr]| (pair[0].clone(), pair[1].clone());
        let on = on.chunks_exact(2).map(pair).collect();
        let (left_time, right_time) = (left_time.clone(), right_time.clone());
        AsofJoin { left, right, on, left_time, right_time, ..self.clone() }.with_schema()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let mut needed = [Vec::new(), Vec::new()];
        for &column in output_columns {
            if column < width { needed[0].push(column) } else { needed[1].push(column - width) }
        }
        for expr in self.expressions() {
            for column in expr.column_refs() {
                for (side, plan) in [&self.left, &self.right].into_iter().enumerate() {
                    needed[side].extend(plan.schema().maybe_index_of_column(column));
                }
            }
        }
        for side in &mut needed {
            side.sort_unstable();
            side.dedup();
        }
        Some(needed.into())
    }
}

/// `plan` with every join that is marked as an [`AsofJoin`].
pub(super) fn find_asof(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut refusal = None;
    let found = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let Some(conditions) = marked(&join) else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
        match node_of(join, conditions) {
            Ok(node) => Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) }))),
            Err(error) => {
                refusal = Some(error);
                Err(plan_datafusion_err!("a version join is refused"))
            }
        }
    });
    match (refusal, found) {
        (Some(error), _) => Err(error),
        (None, found) => Ok(found.map_err(error_from_datafusion)?.data),
    }
}

/// The other conditions of a join that is marked.
fn marked(join: &Join) -> Option<Vec<Expr>> {
    let is_mark = |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if call.func.name() == ASOF);
    let all = split_conjunction_owned(join.filter.clone()?);
    all.iter().any(is_mark).then(|| all.into_iter().filter(|expr| !is_mark(expr)).collect())
}

fn node_of(join: Join, conditions: Vec<Expr>) -> Result<AsofJoin> {
    let outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Err(refused("is an inner or a LEFT join", "Write ASOF JOIN or ASOF LEFT JOIN.")),
    };
    let (mut on, mut times) = (join.on, Vec::new());
    let of = |expr: &Expr, plan: &LogicalPlan| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| plan.schema().has_column(column))
    };
    for condition in conditions {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return Err(other_condition()) };
        let (left, op, right) = match (of(&left, &join.left), of(&right, &join.left)) {
            (true, false) if of(&right, &join.right) => (left, op, right),
            (false, true) if of(&left, &join.right) => match op.swap() {
                Some(swapped) => (right, swapped, left),
                None => return Err(other_condition()),
            },
            _ => return Err(other_condition()),
        };
        match op {
            Operator::Eq => on.push((*left, *right)),
            Operator::GtEq => times.push((*left, *right, false)),
            Operator::Gt => times.push((*left, *right, true)),
            _ => return Err(other_condition()),
        }
    }
    let Ok([(left_time, right_time, strict)]) = <[_; 1]>::try_from(times) else { return Err(other_condition()) };
    let schema = Arc::clone(&join.schema);
    let (left, right) = (Arc::unwrap_or_clone(join.left), Arc::unwrap_or_clone(join.right));
    let node = AsofJoin { left, right, on, left_time, right_time, strict, outer, schema };
    node.with_schema().map_err(error_from_datafusion)
}

fn refused(what: &str, hint: &str) -> Error {
    Error::unsupported(format!("a join with versions {what}")).with_hint(hint)
}

fn other_condition() -> Error {
    refused(
        "takes equalities and one comparison of times, left.time >= right.time or >",
        "Put other conditions into a sub-query of one side, or into WHERE.",
    )
}

/// `plan` with every [`AsofJoin`] as a plain join whose pairs are numbered, newest first, and all but the first left out.
/// It serves reads, and is the oracle that the operator is tested against.
pub(super) fn expand_asof(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let expanded = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Extension(extension) = &plan else { return Ok(Transformed::no(plan)) };
        match extension.node.as_any().downcast_ref::<AsofJoin>() {
            Some(asof) => Ok(Transformed::yes(expand(asof)?)),
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(expanded.data)
}

fn expand(asof: &AsofJoin) -> PlanResult<LogicalPlan> {
    const ROW: &str = "__asof_row";
    const PLACE: &str = "__asof_place";
    let named = |name: &str| Expr::Column(Column::new_unqualified(name));
    let numbered = LogicalPlanBuilder::from(asof.left.clone()).window(vec![row_number().alias(ROW)])?.build()?;
    let sign = if asof.strict { Operator::Gt } else { Operator::GtEq };
    let later =
        Expr::BinaryExpr(BinaryExpr::new(Box::new(asof.left_time.clone()), sign, Box::new(asof.right_time.clone())));
    let equal = asof.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    let condition = conjunction(equal.chain([later])).unwrap_or_else(|| lit(true));
    let keys = (Vec::<Column>::new(), Vec::<Column>::new());
    let joined = LogicalPlanBuilder::from(numbered).join_detailed(
        asof.right.clone(),
        asof.join_type(),
        keys,
        Some(condition),
        NullEquality::NullEqualsNothing,
    )?;
    let order =
        [asof.right_time.clone()].into_iter().chain(asof.right.schema().columns().into_iter().map(Expr::Column));
    let order: Vec<SortExpr> = order.map(|expr| expr.sort(false, true)).collect();
    let place = row_number().partition_by(vec![named(ROW)]).order_by(order).build()?.alias(PLACE);
    let columns: Vec<Expr> = asof.schema.columns().into_iter().map(Expr::Column).collect();
    joined.window(vec![place])?.filter(named(PLACE).eq(lit(1u64)))?.project(columns)?.build()
}
