//! `Proctime`: the logical node that gives each row the clock reading of the epoch in which it came, for PROCTIME() in a
//! query that is kept up to date.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result as PlanResult, plan_datafusion_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, Projection, UserDefinedLogicalNodeCore,
};

use super::relation::RelationSource;
use crate::base::{Error, Result};
use crate::catalog::{Relation, RelationKind};
use crate::functions::{Expr as Value, PROCTIME, error_from_datafusion, proctime_udf};
use crate::types::SqlType;

/// The column that it appends.
pub(super) const STAMP: &str = "__proctime";

/// Its input's rows with the time at which they came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proctime {
    pub input: LogicalPlan,
    /// Whether equal parts of two rows are as good as the rows: nothing is ever taken back.
    parts: bool,
    schema: DFSchemaRef,
}

impl Proctime {
    fn new(input: LogicalPlan, parts: bool) -> PlanResult<Proctime> {
        let mut fields: Vec<_> =
            input.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        fields.push((None, Arc::new(Field::new(STAMP, SqlType::TimestampTz.arrow(), true))));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(Proctime { input, parts, schema })
    }
}

impl PartialOrd for Proctime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Proctime {
    fn name(&self) -> &str {
        "Proctime"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        [STAMP.to_string()].into()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proctime")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let input = inputs.pop().ok_or_else(|| plan_datafusion_err!("Proctime needs an input"))?;
        Proctime::new(input, self.parts)
    }

    /// Rows that are taken back are found by all their columns.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let needed = match self.parts {
            true => output_columns.iter().copied().filter(|column| *column < width).collect(),
            false => (0..width).collect(),
        };
        Some(vec![needed])
    }
}

/// `plan`, of a query that is kept up to date, with PROCTIME() in the lists of SELECT as a column of nodes of their own.
pub(super) fn find_proctime(plan: LogicalPlan) -> Result<LogicalPlan> {
    let found = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Projection(projection) = plan else { return Ok(Transformed::no(plan)) };
        let mut named = false;
        for expr in &projection.expr {
            named |= expr.exists(|expr| Ok(is_proctime(expr)))?;
        }
        if !named {
            return Ok(Transformed::no(LogicalPlan::Projection(projection)));
        }
        let node = LogicalPlan::Projection(projection.clone());
        let names = NamePreserver::new(&node);
        let parts = is_plain(&projection.input);
        let input = Proctime::new(Arc::unwrap_or_clone(projection.input), parts)?;
        let stamp = || Expr::Column(Column::new_unqualified(STAMP));
        let exprs = projection.expr.into_iter().map(|expr| {
            let name = names.save(&expr);
            let stamped = expr.transform_up(|expr| match is_proctime(&expr) {
                true => Ok(Transformed::yes(stamp())),
                false => Ok(Transformed::no(expr)),
            })?;
            Ok(name.restore(stamped.data))
        });
        let exprs = exprs.collect::<PlanResult<Vec<_>>>()?;
        let input = LogicalPlan::Extension(Extension { node: Arc::new(input) });
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)))
    });
    Ok(found.map_err(error_from_datafusion)?.data)
}

/// The rows of the source `relation` with its columns that are PROCTIME() stamped; `None` if it has none.
pub fn stamped(relation: &Arc<Relation>) -> Result<Option<LogicalPlan>> {
    let columns = proctime_columns(relation)?;
    if columns.is_empty() || relation.kind != RelationKind::Source {
        return Ok(None);
    }
    let source = Arc::new(RelationSource::new(Arc::clone(relation)));
    let scan = LogicalPlanBuilder::scan(relation.name.clone(), source, None);
    let stamp = |expr: Expr, i: usize| match columns.contains(&i) {
        true => proctime_udf().call(Vec::new()).alias(&relation.columns.columns[i].name),
        false => expr,
    };
    let plan = scan.and_then(|scan| {
        let all = scan.schema().columns().into_iter().enumerate().map(|(i, column)| stamp(Expr::Column(column), i));
        let all: Vec<Expr> = all.collect();
        scan.project(all)?.build()
    });
    Ok(Some(plan.map_err(error_from_datafusion)?))
}

/// The places of the generated columns of `relation` that are PROCTIME().
pub fn proctime_columns(relation: &Relation) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    for (column, json) in &relation.generated {
        let value: Value = serde_json::from_value(json.clone())
            .map_err(|error| Error::corrupt("a generated column of the catalog cannot be read").caused_by(error))?;
        if matches!(&value, Value::Call { function, .. } if function == PROCTIME) {
            found.push(*column);
        }
    }
    Ok(found)
}

fn is_proctime(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == PROCTIME)
}

/// Whether `expr`, over the rows of `plan`, is the time at which they came.
pub(super) fn is_processing_time(expr: &Expr, plan: &LogicalPlan) -> bool {
    let column = match expr {
        Expr::Alias(alias) => return is_processing_time(&alias.expr, plan),
        Expr::Cast(cast) => return is_processing_time(&cast.expr, plan),
        Expr::Column(column) => column,
        other => return is_proctime(other),
    };
    let Some(at) = plan.schema().maybe_index_of_column(column) else { return false };
    match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.get(at).is_some_and(|expr| is_processing_time(expr, &projection.input))
        }
        LogicalPlan::TableScan(scan) => RelationSource::of(&scan.source).is_some_and(|relation| {
            let at = scan.projection.as_ref().map_or(Some(at), |columns| columns.get(at).copied());
            proctime_columns(relation).is_ok_and(|columns| at.is_some_and(|at| columns.contains(&at)))
        }),
        LogicalPlan::Extension(extension) if extension.node.as_any().is::<Proctime>() && column.name == STAMP => true,
        // What passes rows on has the columns of its inputs in their order.
        other => {
            let mut from = 0;
            other.inputs().into_iter().any(|input| {
                let place = at.checked_sub(from).filter(|at| *at < input.schema().fields().len());
                from += input.schema().fields().len();
                let below = place.map(|at| Expr::Column(Column::from(input.schema().qualified_field(at))));
                passes(other) && below.is_some_and(|below| is_processing_time(&below, input))
            })
        }
    }
}

fn passes(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().is::<Proctime>(),
        other => matches!(other, LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Join(_)),
    }
}

/// Whether `plan` gives the rows of one relation that never retracts, one by one.
fn is_plain(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_plain(&projection.input),
        LogicalPlan::Filter(filter) => is_plain(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => is_plain(&alias.input),
        LogicalPlan::TableScan(scan) => RelationSource::of(&scan.source).is_some_and(|relation| relation.append_only),
        _ => false,
    }
}
