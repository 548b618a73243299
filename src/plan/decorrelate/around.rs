//! The rows around a sub-query, and what has values of them as keys.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, Result as PlanResult};
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr};

use crate::base::{Error, sqlstate};
use crate::functions::outward::{Outer, map_inward_of, map_outward_of, outward};

/// A value of the row around, as a column.
#[derive(Clone)]
pub(super) struct Key {
    /// Which of the columns around.
    pub of: usize,
    pub column: Column,
    /// Whether it may be NULL: it is compared as such then.
    pub may_be_null: bool,
}

/// A plan over all rows around. Its columns have names that nothing else has.
pub(super) struct Pushed {
    pub plan: LogicalPlan,
    /// At most one for each column around; of those without, the plan does not depend.
    pub keys: Vec<Key>,
    /// The columns of the plan it was, in order.
    pub columns: Vec<Column>,
}

impl Pushed {
    pub fn key(&self, of: usize) -> Option<&Key> {
        self.keys.iter().find(|key| key.of == of)
    }

    /// Just its keys and columns.
    pub fn tight(&self) -> PlanResult<LogicalPlan> {
        let columns = self.keys.iter().map(|key| &key.column).chain(&self.columns);
        LogicalPlanBuilder::from(self.plan.clone()).project(columns.cloned().map(Expr::Column))?.build()
    }

    pub fn key_columns(&self) -> impl Iterator<Item = Expr> + '_ {
        self.keys.iter().map(|key| Expr::Column(key.column.clone()))
    }
}

/// The rows around a plan.
pub(super) struct Around<'a> {
    /// What they are rows of.
    pub rows: &'a LogicalPlan,
    /// The columns of them that the plan names.
    pub columns: Vec<Outer>,
    /// How many names were given.
    pub names: &'a Cell<usize>,
}

impl<'a> Around<'a> {
    /// What a sub-query about rows of `input` names of them; `None` if it names rows further out, or none.
    pub fn of(subquery: &LogicalPlan, input: &'a LogicalPlan, names: &'a Cell<usize>) -> Option<Around<'a>> {
        let columns = outward(subquery);
        let own = columns.iter().all(|(_, column)| input.schema().has_column(column));
        (own && !columns.is_empty()).then_some(Around { rows: input, columns, names })
    }

    /// A name that nothing else has.
    pub fn name(&self) -> Column {
        self.names.set(self.names.get() + 1);
        Column::new_unqualified(format!("__around_{}", self.names.get()))
    }

    /// Which of the columns around are among `named`.
    pub fn places(&self, named: &[Outer]) -> Vec<usize> {
        let place = |(_, column): &Outer| self.columns.iter().position(|(_, around)| around == column);
        named.iter().filter_map(place).collect()
    }

    /// The distinct values of the columns at `wanted`.
    pub fn values(&self, wanted: &[usize]) -> PlanResult<Pushed> {
        let mut keys = Vec::new();
        let mut shown = Vec::new();
        for &of in wanted {
            let (field, around) = &self.columns[of];
            let column = self.name();
            shown.push(Expr::Column(around.clone()).alias(&column.name));
            keys.push(Key { of, column, may_be_null: field.is_nullable() });
        }
        let plan = LogicalPlanBuilder::from(self.rows.clone()).project(shown)?.distinct()?.build()?;
        Ok(Pushed { plan, keys, columns: Vec::new() })
    }

    /// `plan`, which names nothing around it.
    pub fn fresh(&self, plan: &LogicalPlan) -> PlanResult<Pushed> {
        let columns: Vec<Column> = plan.schema().fields().iter().map(|_| self.name()).collect();
        if columns.is_empty() {
            return Ok(Pushed { plan: plan.clone(), keys: Vec::new(), columns });
        }
        let shown = plan.schema().columns().into_iter().zip(&columns);
        let shown = shown.map(|(column, name)| Expr::Column(column).alias(&name.name));
        let plan = LogicalPlanBuilder::from(plan.clone()).project(shown)?.build()?;
        Ok(Pushed { plan, keys: Vec::new(), columns })
    }

    /// `expr` over `scope`, whose columns are now `columns`, with `keys` for what it names around.
    pub fn moved(&self, expr: &Expr, scope: &DFSchema, columns: &[Column], keys: &[Key]) -> PlanResult<Expr> {
        let key = |column: &Column| {
            let of = self.columns.iter().position(|(_, around)| around == column)?;
            keys.iter().find(|key| key.of == of).map(|key| Expr::Column(key.column.clone()))
        };
        let direct = expr.clone().unalias().transform_up(|expr| match &expr {
            Expr::OuterReferenceColumn(_, column) => Ok(key(column).map_or(Transformed::no(expr), Transformed::yes)),
            _ => Ok(Transformed::no(expr)),
        });
        let inner = map_outward_of(direct.data()?, scope, &mut |field, column| match key(column)? {
            Expr::Column(key) => Some(Expr::OuterReferenceColumn(Arc::clone(field), key)),
            _ => None,
        })?;
        let inner = map_inward_of(inner, scope, &mut |field, column| {
            let at = scope.index_of_column(column).ok()?;
            Some(Expr::OuterReferenceColumn(Arc::clone(field), columns.get(at)?.clone()))
        })?;
        inner
            .transform_up(|expr| match &expr {
                Expr::Column(column) if !keys.iter().any(|key| key.column == *column) => {
                    let at = scope.index_of_column(column)?;
                    Ok(columns.get(at).map_or(Transformed::no(expr), |new| Transformed::yes(Expr::Column(new.clone()))))
                }
                _ => Ok(Transformed::no(expr)),
            })
            .data()
    }

    pub fn moved_over(&self, expr: &Expr, scope: &DFSchema, pushed: &Pushed) -> PlanResult<Expr> {
        self.moved(expr, scope, &pushed.columns, &pushed.keys)
    }

    pub fn moved_sort(&self, sort: &[SortExpr], scope: &DFSchema, pushed: &Pushed) -> PlanResult<Vec<SortExpr>> {
        let moved =
            |sort: &SortExpr| Ok(SortExpr { expr: self.moved_over(&sort.expr, scope, pushed)?, ..sort.clone() });
        sort.iter().map(moved).collect()
    }

    /// `pushed` with a key for each of `wanted`, joined with the rows around where it has none.
    pub fn with_keys(&self, pushed: Pushed, wanted: &[usize]) -> PlanResult<Pushed> {
        self.joined(pushed, wanted, |_| Ok(Vec::new()))
    }

    /// The same, joined under further conditions over the columns and the keys.
    pub fn joined(
        &self,
        pushed: Pushed,
        wanted: &[usize],
        conditions: impl FnOnce(&[Key]) -> PlanResult<Vec<Expr>>,
    ) -> PlanResult<Pushed> {
        let mut all: Vec<usize> = pushed.keys.iter().map(|key| key.of).collect();
        all.extend(wanted.iter().filter(|&&of| pushed.key(of).is_none()));
        if all.len() == pushed.keys.len() {
            let plan = LogicalPlanBuilder::from(pushed.plan);
            let condition = conditions(&pushed.keys)?.into_iter().reduce(Expr::and);
            let plan = if let Some(condition) = condition { plan.filter(condition)? } else { plan };
            return Ok(Pushed { plan: plan.build()?, ..pushed });
        }
        let values = self.values(&all)?;
        let mut on = same(&values.keys, &pushed.keys);
        on.extend(conditions(&values.keys)?);
        let plan = match &pushed.plan {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && pushed.columns.is_empty() => {
                let plan = LogicalPlanBuilder::from(values.plan);
                let condition = on.into_iter().reduce(Expr::and);
                if let Some(condition) = condition { plan.filter(condition)?.build()? } else { plan.build()? }
            }
            _ => join(values.plan, pushed.plan, JoinType::Inner, on)?,
        };
        Ok(Pushed { plan, keys: values.keys, columns: pushed.columns })
    }

    /// `expr` over `scope`, as over `columns` beside the rows around.
    pub fn beside(&self, expr: &Expr, scope: &DFSchema, columns: &[Expr]) -> PlanResult<Expr> {
        let inner = map_inward_of(expr.clone().unalias(), scope, &mut |field, column| {
            let at = scope.index_of_column(column).ok()?;
            match columns.get(at)? {
                Expr::Column(new) => Some(Expr::OuterReferenceColumn(Arc::clone(field), new.clone())),
                _ => None,
            }
        })?;
        inner
            .transform_up(|expr| match &expr {
                Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column.clone()))),
                Expr::Column(column) => match scope.maybe_index_of_column(column).and_then(|at| columns.get(at)) {
                    Some(new) => Ok(Transformed::yes(new.clone())),
                    None => Ok(Transformed::no(expr)),
                },
                _ => Ok(Transformed::no(expr)),
            })
            .data()
    }
}

/// Where both have a key of the same column around, they are the same.
pub(super) fn same(left: &[Key], right: &[Key]) -> Vec<Expr> {
    let pairs =
        left.iter().flat_map(|one| right.iter().filter(|other| other.of == one.of).map(move |other| (one, other)));
    let equal = pairs.map(|(one, other)| {
        let nulls = one.may_be_null && other.may_be_null;
        let operator = if nulls { Operator::IsNotDistinctFrom } else { Operator::Eq };
        binary_expr(Expr::Column(one.column.clone()), operator, Expr::Column(other.column.clone()))
    });
    equal.collect()
}

/// Where the row around has the keys.
pub(super) fn matching(around: &Around<'_>, pushed: &Pushed) -> Vec<Expr> {
    let own = around.columns.iter().enumerate();
    let own = own.map(|(of, (field, column))| Key { of, column: column.clone(), may_be_null: field.is_nullable() });
    same(&own.collect::<Vec<_>>(), &pushed.keys)
}

pub(super) fn join(left: LogicalPlan, right: LogicalPlan, ty: JoinType, on: Vec<Expr>) -> PlanResult<LogicalPlan> {
    LogicalPlanBuilder::from(left).join_on(right, ty, on)?.build()
}

pub(super) fn refused(plan: &LogicalPlan) -> DataFusionError {
    let what = match plan {
        LogicalPlan::Aggregate(_) => "GROUPING SETS".to_owned(),
        LogicalPlan::Limit(_) => "LIMIT of what is no constant".to_owned(),
        LogicalPlan::Distinct(_) => "DISTINCT ON".to_owned(),
        LogicalPlan::Extension(extension) => extension.node.name().to_owned(),
        other => other.display().to_string(),
    };
    let error = Error::unsupported(format!("{what} in a sub-query that names the row around it is not supported here"))
        .with_hint("Join the relations first, and compute it over the joined rows.");
    DataFusionError::External(Box::new(error))
}

/// Whether an error is of [`refused`].
pub(super) fn is_refusal(error: &DataFusionError) -> bool {
    let ours = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<Error>().is_some_and(|ours| ours.sqlstate() == sqlstate::FEATURE_NOT_SUPPORTED)
    };
    matches!(error, DataFusionError::External(inner) if ours(inner.as_ref()))
}
