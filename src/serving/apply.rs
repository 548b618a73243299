//! Sub-queries that cannot be made joins, run once for each set of values that they take from outside.
//!
//! Correlated sub-queries are joined with what is around them, where that can be done. Where it cannot (`WITH RECURSIVE`
//! about the row around), and over rows that are in memory anyway (catalogs), the
//! sub-query becomes a function of the columns that it takes from outside: for each distinct set of values they are put in
//! as constants, and the query is planned and run by itself.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, Result as PlanResult, ScalarValue};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{MemTable, source_as_provider};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery, Volatility,
};
use datafusion::physical_plan::collect;
use tokio::runtime::Handle;

use crate::base::{Error, sqlstate};
use crate::functions::SEVERAL_ROWS;
use crate::functions::outward::{columns_around, subquery_in};
use crate::functions::plain::is_plain;

/// `plan`, in which the sub-queries that need it are functions.
pub(super) fn without_dependents(plan: LogicalPlan, state: &Arc<SessionState>) -> PlanResult<LogicalPlan> {
    if !has_subquery(&plan)? {
        return Ok(plan);
    }
    let eager = all_in_memory(&plan)?;
    Rewriting { state, eager }.plan(plan)
}

fn has_subquery(plan: &LogicalPlan) -> PlanResult<bool> {
    let mut found = false;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(subquery_in(expr).is_some()))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// Whether everything that `plan` reads is given at once, as catalogs are.
fn all_in_memory(plan: &LogicalPlan) -> PlanResult<bool> {
    let mut all = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source).ok();
            all &= provider.is_some_and(|provider| {
                let provider: &dyn std::any::Any = provider.as_ref();
                // What a recursive query has found so far is in memory too.
                provider.is::<MemTable>() || provider.is::<CteWorkTable>()
            });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(all)
}

struct Rewriting<'a> {
    state: &'a Arc<SessionState>,
    /// Whether every correlated sub-query becomes a function.
    eager: bool,
}

impl Rewriting<'_> {
    fn plan(&self, plan: LogicalPlan) -> PlanResult<LogicalPlan> {
        let rewritten = plan.transform_up(|node| {
            let names = NamePreserver::new(&node);
            let changed = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_down(|expr| self.expr(expr))?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })?;
            if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
        })?;
        Ok(rewritten.data)
    }

    fn expr(&self, expr: Expr) -> PlanResult<Transformed<Expr>> {
        let Some(subquery) = subquery_in(&expr) else { return Ok(Transformed::no(expr)) };
        let correlated = !columns_around(&subquery.subquery).is_empty();
        if !correlated || (is_plain(&expr) && !self.eager) {
            return self.inside(expr);
        }
        match expr {
            Expr::ScalarSubquery(subquery) => self.function(Kind::Scalar, &subquery, None),
            Expr::Exists(Exists { subquery, negated }) => {
                let found = self.function(Kind::Exists, &subquery, None)?;
                Ok(found.update_data(|found| if negated { !found } else { found }))
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let found = self.function(Kind::In, &subquery, Some(*expr))?;
                Ok(found.update_data(|found| if negated { !found } else { found }))
            }
            other => self.inside(other),
        }
    }

    /// A sub-query that stays, with what is inside it rewritten.
    fn inside(&self, expr: Expr) -> PlanResult<Transformed<Expr>> {
        let rewrite = |subquery: Subquery| -> PlanResult<Subquery> {
            let plan = self.plan(subquery.subquery.as_ref().clone())?;
            Ok(subquery.with_plan(Arc::new(plan)))
        };
        let rewritten = match expr {
            Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(rewrite(subquery)?),
            Expr::Exists(exists) => {
                Expr::Exists(Exists { subquery: rewrite(exists.subquery)?, negated: exists.negated })
            }
            Expr::InSubquery(within) => {
                Expr::InSubquery(InSubquery::new(within.expr, rewrite(within.subquery)?, within.negated))
            }
            other => other,
        };
        Ok(Transformed::new(rewritten, true, TreeNodeRecursion::Continue))
    }

    fn function(&self, kind: Kind, subquery: &Subquery, first: Option<Expr>) -> PlanResult<Transformed<Expr>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let outer = columns_around(&subquery.subquery);
        let value = subquery.subquery.schema().field(0).data_type().clone();
        let ty = match kind {
            Kind::Scalar => value,
            Kind::Exists | Kind::In => DataType::Boolean,
        };
        let args = first.into_iter().chain(outer.iter().cloned().map(Expr::Column)).collect();
        let function = Dependent {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            kind,
            plan: Arc::clone(&subquery.subquery),
            outer,
            ty,
            state: Arc::clone(self.state),
            signature: Signature::one_of(
                vec![
                    datafusion::logical_expr::TypeSignature::VariadicAny,
                    datafusion::logical_expr::TypeSignature::Nullary,
                ],
                Volatility::Stable,
            ),
        };
        let call = Arc::new(ScalarUDF::new_from_impl(function)).call(args);
        Ok(Transformed::new(call, true, TreeNodeRecursion::Jump))
    }
}

/// `plan` with constants in the place of what it takes from outside.
fn with_constants(plan: LogicalPlan, values: &[(&Column, ScalarValue)]) -> PlanResult<LogicalPlan> {
    let substituted = plan.transform_up(|node| {
        let scope = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| constant(expr, values, &scope))?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    })?;
    Ok(substituted.data)
}

fn constant(expr: Expr, values: &[(&Column, ScalarValue)], scope: &DFSchema) -> PlanResult<Transformed<Expr>> {
    let inside = |subquery: Subquery| -> PlanResult<Subquery> {
        let outside: Vec<(&Column, ScalarValue)> =
            values.iter().filter(|(column, _)| !scope.has_column(column)).cloned().collect();
        let plan = with_constants(subquery.subquery.as_ref().clone(), &outside)?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans })
    };
    Ok(match expr {
        Expr::OuterReferenceColumn(field, column) => match values.iter().find(|(name, _)| **name == column) {
            Some((_, value)) => Transformed::yes(Expr::Literal(value.clone(), None)),
            None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
        },
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(inside(subquery)?)),
        Expr::Exists(exists) => {
            Transformed::yes(Expr::Exists(Exists { subquery: inside(exists.subquery)?, negated: exists.negated }))
        }
        Expr::InSubquery(within) => {
            Transformed::yes(Expr::InSubquery(InSubquery::new(within.expr, inside(within.subquery)?, within.negated)))
        }
        other => Transformed::no(other),
    })
}

/// What is asked of a sub-query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its one value; NULL without rows.
    Scalar,
    /// Whether it has rows.
    Exists,
    /// Whether the first argument is among its values.
    In,
}

/// A sub-query as a function of what it takes from outside.
struct Dependent {
    number: u64,
    kind: Kind,
    plan: Arc<LogicalPlan>,
    /// What the arguments are (behind the first, for [`Kind::In`]).
    outer: Vec<Column>,
    ty: DataType,
    state: Arc<SessionState>,
    signature: Signature,
}

impl std::fmt::Debug for Dependent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dependent").field("kind", &self.kind).field("outer", &self.outer).finish_non_exhaustive()
    }
}

impl PartialEq for Dependent {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Dependent {}

impl Hash for Dependent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl ScalarUDFImpl for Dependent {
    fn name(&self) -> &str {
        "__subquery"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(self.ty.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let given =
                arrays.iter().map(|array| ScalarValue::try_from_array(array, row)).collect::<PlanResult<Vec<_>>>()?;
            let value = match known.get(&given) {
                Some(value) => value.clone(),
                None => {
                    let value = self.value(&given)?;
                    known.insert(given, value.clone());
                    value
                }
            };
            values.push(value);
        }
        if all_scalar && let Some(value) = values.pop() {
            return Ok(ColumnarValue::Scalar(value));
        }
        if values.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.ty)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }
}

impl Dependent {
    /// Its value for one set of arguments.
    fn value(&self, args: &[ScalarValue]) -> PlanResult<ScalarValue> {
        let behind = usize::from(self.kind == Kind::In);
        let values: Vec<(&Column, ScalarValue)> = self.outer.iter().zip(args.iter().skip(behind).cloned()).collect();
        let plan = with_constants(self.plan.as_ref().clone(), &values)?;
        let plan = without_dependents(plan, &self.state)?;
        // This thread gives its other work away and waits.
        let rows = tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                let physical = self.state.create_physical_plan(&plan).await?;
                collect(physical, self.state.task_ctx()).await
            })
        })?;
        match self.kind {
            Kind::Exists => Ok(ScalarValue::Boolean(Some(rows.iter().any(|rows| rows.num_rows() > 0)))),
            Kind::Scalar => self.single(&rows),
            Kind::In => within(args.first(), &rows),
        }
    }

    fn single(&self, rows: &[RecordBatch]) -> PlanResult<ScalarValue> {
        let mut filled = rows.iter().filter(|rows| rows.num_rows() > 0);
        match (filled.next(), filled.next()) {
            (None, _) => ScalarValue::try_new_null(&self.ty),
            (Some(rows), None) if rows.num_rows() == 1 => {
                ScalarValue::try_from_array(rows.column(0), 0)?.cast_to(&self.ty)
            }
            (Some(_), _) => Err(DataFusionError::External(Box::new(
                Error::fault(SEVERAL_ROWS)
                    .with_code(sqlstate::CARDINALITY_VIOLATION)
                    .with_hint("Add LIMIT 1, or an aggregate."),
            ))),
        }
    }
}

/// `value IN (rows)`: NULL when it is not found and one of them, or it, is NULL.
fn within(value: Option<&ScalarValue>, rows: &[RecordBatch]) -> PlanResult<ScalarValue> {
    let mut open = false;
    for rows in rows {
        for row in 0..rows.num_rows() {
            let other = ScalarValue::try_from_array(rows.column(0), row)?;
            match value {
                Some(value) if !value.is_null() && !other.is_null() => {
                    if other.cast_to(&value.data_type())? == *value {
                        return Ok(ScalarValue::Boolean(Some(true)));
                    }
                }
                _ => open = true,
            }
        }
    }
    Ok(ScalarValue::Boolean(if open { None } else { Some(false) }))
}
