//! A plan about the row around it, as a plan over all rows around at once: beside its columns it has, as keys, those values of
//! the row around that a row of it belongs to.
//!
//! ```text
//! SELECT b.v FROM b WHERE b.k = a.k                 SELECT b.k AS key, b.v FROM b WHERE b.k IS NOT NULL
//! SELECT b.v FROM b WHERE b.t < a.t                 SELECT d.t AS key, b.v FROM (SELECT DISTINCT a.t FROM a) d JOIN b ON b.t < d.t
//! SELECT sum(v) FROM ... GROUP BY g                 SELECT key, sum(v) FROM ... GROUP BY key, g
//! ... ORDER BY v LIMIT 2                            ... WHERE row_number() OVER (PARTITION BY key ORDER BY v) <= 2
//! ```
//!
//! After Neumann and Kemper, Unnesting Arbitrary Queries (BTW 2015); where a condition sets a column equal to the row
//! around, that column is the key, and the values around are not needed.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, NullEquality, Result as PlanResult, ScalarValue};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, FetchType, Filter, Join, JoinType, Limit, LogicalPlan,
    LogicalPlanBuilder, Operator, Projection, SkipType, Sort, SubqueryAlias, Union, Values, Window, WindowFrame,
    WindowFunctionDefinition, binary_expr, build_join_schema, cast, lit, when,
};

use super::around::{Around, Key, Pushed, join, refused, same};
use crate::functions::outward::{Outer, holds_subquery, map_outward, outward, outward_of};
use crate::plan::Unnest;

/// Aggregates that are 0 over nothing; the others are NULL.
const COUNTS: [&str; 4] = ["count", "regr_count", "approx_distinct", "approx_count_distinct"];

impl Around<'_> {
    /// `plan` over all rows around.
    pub fn push(&self, plan: &LogicalPlan) -> PlanResult<Pushed> {
        if self.places(&outward(plan)).is_empty() {
            return self.fresh(plan);
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => self.push(input),
            LogicalPlan::Subquery(subquery) => self.push(&subquery.subquery),
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                let grouped = self.aggregate(aggregate)?;
                self.over_nothing(aggregate, grouped)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let pushed = self.push(input)?;
                let plan = LogicalPlanBuilder::from(pushed.tight()?).distinct()?.build()?;
                Ok(Pushed { plan, ..pushed })
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                let order = on.sort_expr.as_deref().unwrap_or_default();
                let pushed = self.first(&on.input, &on.on_expr, order, 0, Some(1))?;
                self.projected(pushed, &on.select_expr, on.input.schema())
            }
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Values(values) => self.rows(values),
            LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<Unnest>() {
                Some(unnest) => self.unnest(unnest),
                None => Err(refused(plan)),
            },
            other => Err(refused(other)),
        }
    }

    fn filter(&self, filter: &Filter) -> PlanResult<Pushed> {
        let scope = filter.input.schema();
        let wanted = self.places(&outward_of(&filter.predicate, scope));
        let parts = split_conjunction_owned(filter.predicate.clone());
        let pushed = self.push(&filter.input)?;
        let missing: Vec<usize> = wanted.iter().copied().filter(|&of| pushed.key(of).is_none()).collect();
        let mut keyed = Vec::new();
        let mut rest = parts.clone();
        for &of in &missing {
            let Some((at, expr)) =
                rest.iter().enumerate().find_map(|(at, part)| Some((at, self.set_equal(part, of, scope)?)))
            else {
                continue;
            };
            keyed.push((of, expr));
            rest.remove(at);
        }
        // The values around belong together: all of them come from columns, or none.
        let whole = keyed.len() == missing.len();
        let (parts, pushed) = if whole { (rest, self.keyed(pushed, scope, keyed)?) } else { (parts, pushed) };
        let (above, on): (Vec<Expr>, Vec<Expr>) = parts.into_iter().partition(holds_subquery);
        let columns = pushed.columns.clone();
        let pushed = self
            .joined(pushed, &wanted, |keys| on.iter().map(|part| self.moved(part, scope, &columns, keys)).collect())?;
        let above = above.iter().map(|part| self.moved_over(part, scope, &pushed)).collect::<PlanResult<Vec<_>>>()?;
        let Some(above) = above.into_iter().reduce(Expr::and) else { return Ok(pushed) };
        let plan = LogicalPlanBuilder::from(pushed.plan).filter(above)?.build()?;
        Ok(Pushed { plan, ..pushed })
    }

    /// What `part` sets equal to the column around, if it is of its type.
    fn set_equal(&self, part: &Expr, of: usize, scope: &DFSchema) -> Option<Expr> {
        let (field, around) = &self.columns[of];
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return None };
        let is = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(_, column) if column == around);
        let inner = match (is(left), is(right)) {
            (true, false) => right,
            (false, true) => left,
            _ => return None,
        };
        let own = outward_of(inner, scope).is_empty() && !holds_subquery(inner) && !inner.column_refs().is_empty();
        let same_type = inner.get_type(scope).is_ok_and(|ty| ty == *field.data_type());
        (own && same_type).then(|| inner.as_ref().clone())
    }

    /// `pushed` with columns of its own as keys, where they are not NULL.
    fn keyed(&self, pushed: Pushed, scope: &DFSchema, keyed: Vec<(usize, Expr)>) -> PlanResult<Pushed> {
        if keyed.is_empty() {
            return Ok(pushed);
        }
        let Pushed { plan, mut keys, columns } = pushed;
        let mut shown: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let mut known = Vec::new();
        for (of, expr) in keyed {
            let column = self.name();
            shown.push(self.moved(&expr, scope, &columns, &keys)?.alias(&column.name));
            known.push(Expr::Column(column.clone()).is_not_null());
            keys.push(Key { of, column, may_be_null: false });
        }
        let plan = LogicalPlanBuilder::from(plan).project(shown)?;
        let plan = match known.into_iter().reduce(Expr::and) {
            Some(known) => plan.filter(known)?,
            None => plan,
        };
        Ok(Pushed { plan: plan.build()?, keys, columns })
    }

    fn projection(&self, projection: &Projection) -> PlanResult<Pushed> {
        let scope = projection.input.schema();
        let wanted: Vec<Outer> = projection.expr.iter().flat_map(|expr| outward_of(expr, scope)).collect();
        let pushed = self.with_keys(self.push(&projection.input)?, &self.places(&wanted))?;
        self.projected(pushed, &projection.expr, scope)
    }

    fn projected(&self, pushed: Pushed, exprs: &[Expr], scope: &DFSchema) -> PlanResult<Pushed> {
        let mut shown: Vec<Expr> = pushed.key_columns().collect();
        let mut columns = Vec::new();
        for expr in exprs {
            let column = self.name();
            shown.push(self.moved_over(expr, scope, &pushed)?.alias(&column.name));
            columns.push(column);
        }
        let plan = LogicalPlanBuilder::from(pushed.plan).project(shown)?.build()?;
        Ok(Pushed { plan, keys: pushed.keys, columns })
    }

    /// An aggregate of each set of keys; without GROUP BY none where there is nothing to aggregate.
    pub fn aggregate(&self, aggregate: &Aggregate) -> PlanResult<Pushed> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(refused(&LogicalPlan::Aggregate(aggregate.clone())));
        }
        let scope = aggregate.input.schema();
        let exprs = || aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
        let wanted: Vec<Outer> = exprs().flat_map(|expr| outward_of(expr, scope)).collect();
        let pushed = self.with_keys(self.push(&aggregate.input)?, &self.places(&wanted))?;
        let mut columns = Vec::new();
        let mut moved = Vec::new();
        for expr in exprs() {
            let column = self.name();
            moved.push(self.moved_over(expr, scope, &pushed)?.unalias().alias(&column.name));
            columns.push(column);
        }
        let calls = moved.split_off(aggregate.group_expr.len());
        let groups: Vec<Expr> = pushed.key_columns().chain(moved).collect();
        let plan = LogicalPlanBuilder::from(pushed.plan).aggregate(groups, calls)?.build()?;
        Ok(Pushed { plan, keys: pushed.keys, columns })
    }

    /// `grouped` with what `aggregate` is over nothing where the row around has nothing.
    fn over_nothing(&self, aggregate: &Aggregate, grouped: Pushed) -> PlanResult<Pushed> {
        let wanted: Vec<usize> = grouped.keys.iter().map(|key| key.of).collect();
        let values = self.values(&wanted)?;
        let on = same(&values.keys, &grouped.keys);
        let mut shown: Vec<Expr> = values.key_columns().collect();
        let mut columns = Vec::new();
        for value in counted(aggregate, &grouped.columns)? {
            let column = self.name();
            shown.push(value.alias(&column.name));
            columns.push(column);
        }
        let plan = join(values.plan, grouped.plan, JoinType::Left, on)?;
        let plan = LogicalPlanBuilder::from(plan).project(shown)?.build()?;
        Ok(Pushed { plan, keys: values.keys, columns })
    }

    fn join(&self, node: &Join) -> PlanResult<Pushed> {
        if outward(&node.right).iter().any(|(_, column)| node.left.schema().has_column(column)) {
            return self.lateral(node);
        }
        let both = node.left.schema().join(node.right.schema())?;
        let conditions: Vec<Expr> = node.filter.iter().cloned().collect();
        let named: Vec<Outer> = conditions.iter().flat_map(|expr| outward_of(expr, &both)).collect();
        let (mut left, mut right) = (self.push(&node.left)?, self.push(&node.right)?);
        let keys_of = |pushed: &Pushed| pushed.keys.iter().map(|key| key.of).collect::<Vec<usize>>();
        let named = self.places(&named);
        match node.join_type {
            JoinType::Inner => {
                let absent: Vec<usize> = named.into_iter().filter(|&of| right.key(of).is_none()).collect();
                left = self.with_keys(left, &absent)?;
            }
            // What has no match is there for each row around.
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => {
                left = self.with_keys(left, &[keys_of(&right), named].concat())?;
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => {
                right = self.with_keys(right, &[keys_of(&left), named].concat())?;
            }
            JoinType::Full => {
                left = self.with_keys(left, &[keys_of(&right), named].concat())?;
                right = self.with_keys(right, &keys_of(&left))?;
            }
            _ => return Err(refused(&LogicalPlan::Join(node.clone()))),
        }
        let mut keys = left.keys.clone();
        keys.extend(right.keys.iter().filter(|key| left.key(key.of).is_none()).cloned());
        let columns = [left.columns.clone(), right.columns.clone()].concat();
        let mut on = same(&left.keys, &right.keys);
        let equal = match node.null_equality {
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
            NullEquality::NullEqualsNothing => Operator::Eq,
        };
        for (one, other) in &node.on {
            let one = self.moved_over(one, node.left.schema(), &left)?;
            on.push(binary_expr(one, equal, self.moved_over(other, node.right.schema(), &right)?));
        }
        for condition in &conditions {
            on.push(self.moved(condition, &both, &columns, &keys)?);
        }
        let columns = match node.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
            JoinType::RightSemi | JoinType::RightAnti => right.columns,
            _ => columns,
        };
        let outer = match node.join_type {
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => right.keys,
            JoinType::Full => {
                return self.full(join(left.plan, right.plan, JoinType::Full, on)?, left.keys, &right.keys, columns);
            }
            JoinType::Inner => keys,
            _ => left.keys,
        };
        Ok(Pushed { plan: join(left.plan, right.plan, node.join_type, on)?, keys: outer, columns })
    }

    /// A join whose right side names rows of its left.
    fn lateral(&self, node: &Join) -> PlanResult<Pushed> {
        let scope = node.left.schema();
        let named: Vec<Outer> = node.filter.iter().flat_map(|expr| outward_of(expr, &node.schema)).collect();
        let wanted = self.places(&[outward(&node.right), named].concat());
        let left = self.with_keys(self.push(&node.left)?, &wanted)?;
        let both = scope.join(node.right.schema())?;
        let own: Vec<Column> = node.right.schema().columns();
        let columns = [left.columns.clone(), own.clone()].concat();
        let filter = node.filter.as_ref().map(|expr| self.moved(expr, &both, &columns, &left.keys)).transpose()?;
        let right = map_outward(node.right.as_ref().clone(), &mut |field, column| {
            let inner = scope.maybe_index_of_column(column).and_then(|at| left.columns.get(at));
            let of = self.columns.iter().position(|(_, around)| around == column);
            let new = inner.or_else(|| of.and_then(|of| left.key(of)).map(|key| &key.column))?;
            Some(Expr::OuterReferenceColumn(Arc::clone(field), new.clone()))
        })?;
        let schema = Arc::new(build_join_schema(left.plan.schema(), right.schema(), &node.join_type)?);
        let beneath = Join { left: Arc::new(left.plan), right: Arc::new(right), filter, schema, ..node.clone() };
        let Some(joined) = super::lateral(&beneath, self.names)? else {
            return Err(refused(&LogicalPlan::Join(node.clone())));
        };
        let mut shown: Vec<Expr> =
            left.keys.iter().map(|key| &key.column).chain(&left.columns).cloned().map(Expr::Column).collect();
        let mut columns = left.columns;
        for column in own {
            let name = self.name();
            shown.push(Expr::Column(column).alias(&name.name));
            columns.push(name);
        }
        Ok(Pushed { plan: LogicalPlanBuilder::from(joined).project(shown)?.build()?, keys: left.keys, columns })
    }

    /// A full join has its keys from either side.
    fn full(&self, plan: LogicalPlan, left: Vec<Key>, right: &[Key], columns: Vec<Column>) -> PlanResult<Pushed> {
        let mut shown: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let mut keys = Vec::new();
        for key in left {
            let Some(other) = right.iter().find(|other| other.of == key.of) else { continue };
            let column = self.name();
            let (one, other) = (Expr::Column(key.column), Expr::Column(other.column.clone()));
            shown.push(when(one.clone().is_null(), other).otherwise(one)?.alias(&column.name));
            keys.push(Key { of: key.of, column, may_be_null: true });
        }
        Ok(Pushed { plan: LogicalPlanBuilder::from(plan).project(shown)?.build()?, keys, columns })
    }

    fn sort(&self, sort: &Sort) -> PlanResult<Pushed> {
        if let Some(fetch) = sort.fetch {
            return self.first(&sort.input, &[], &sort.expr, 0, Some(fetch));
        }
        let pushed = self.ordered(&sort.input, &sort.expr)?;
        let order = self.moved_sort(&sort.expr, sort.input.schema(), &pushed)?;
        let plan = LogicalPlan::Sort(Sort { expr: order, input: Arc::new(pushed.plan), fetch: None });
        Ok(Pushed { plan, ..pushed })
    }

    /// `plan` with the keys that `order` names.
    fn ordered(&self, plan: &LogicalPlan, order: &[SortExpr]) -> PlanResult<Pushed> {
        let wanted: Vec<Outer> = order.iter().flat_map(|sort| outward_of(&sort.expr, plan.schema())).collect();
        self.with_keys(self.push(plan)?, &self.places(&wanted))
    }

    fn limit(&self, limit: &Limit) -> PlanResult<Pushed> {
        let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) =
            (limit.get_skip_type(), limit.get_fetch_type())
        else {
            return Err(refused(&LogicalPlan::Limit(limit.clone())));
        };
        match limit.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.first(&sort.input, &[], &sort.expr, skip, fetch),
            // What shows columns does so of the rows that are left.
            LogicalPlan::Projection(projection) => {
                let input = Arc::clone(&projection.input);
                let beneath = LogicalPlan::Limit(Limit { input, ..limit.clone() });
                let plan = Projection::try_new(projection.expr.clone(), Arc::new(beneath))?;
                self.push(&LogicalPlan::Projection(plan))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                self.push(&LogicalPlan::Limit(Limit { input: Arc::clone(&alias.input), ..limit.clone() }))
            }
            _ => self.first(&limit.input, &[], &[], skip, fetch),
        }
    }

    /// The rows of `plan` from `skip` on, `fetch` of them, for each row around and each set of values of `within`.
    fn first(
        &self,
        plan: &LogicalPlan,
        within: &[Expr],
        order: &[SortExpr],
        skip: usize,
        fetch: Option<usize>,
    ) -> PlanResult<Pushed> {
        let pushed = self.ordered(plan, order)?;
        let named: Vec<Outer> = within.iter().flat_map(|expr| outward_of(expr, plan.schema())).collect();
        let pushed = self.with_keys(pushed, &self.places(&named))?;
        let mut partition: Vec<Expr> = pushed.key_columns().collect();
        for expr in within {
            partition.push(self.moved_over(expr, plan.schema(), &pushed)?);
        }
        let function = Expr::WindowFunction(Box::new(WindowFunction {
            fun: WindowFunctionDefinition::WindowUDF(row_number_udwf()),
            params: WindowFunctionParams {
                args: Vec::new(),
                partition_by: partition,
                order_by: self.moved_sort(order, plan.schema(), &pushed)?,
                window_frame: WindowFrame::new(Some(true)),
                filter: None,
                null_treatment: None,
                distinct: false,
            },
        }));
        let number = self.name();
        let window = Window::try_new(vec![function.alias(&number.name)], Arc::new(pushed.tight()?))?;
        let bound = |rows: usize| lit(ScalarValue::UInt64(Some(rows as u64)));
        let mut rows = LogicalPlanBuilder::from(LogicalPlan::Window(window));
        let mut wanted = Vec::new();
        if let Some(fetch) = fetch {
            wanted.push(Expr::Column(number.clone()).lt_eq(bound(skip.saturating_add(fetch))));
        }
        if skip > 0 {
            wanted.push(Expr::Column(number).gt(bound(skip)));
        }
        if let Some(wanted) = wanted.into_iter().reduce(Expr::and) {
            rows = rows.filter(wanted)?;
        }
        let kept = pushed.key_columns().chain(pushed.columns.iter().cloned().map(Expr::Column)).collect::<Vec<_>>();
        Ok(Pushed { plan: rows.project(kept)?.build()?, ..pushed })
    }

    fn window(&self, window: &Window) -> PlanResult<Pushed> {
        let scope = window.input.schema();
        let wanted: Vec<Outer> = window.window_expr.iter().flat_map(|expr| outward_of(expr, scope)).collect();
        let mut pushed = self.with_keys(self.push(&window.input)?, &self.places(&wanted))?;
        let mut functions = Vec::new();
        for expr in &window.window_expr {
            let column = self.name();
            let Expr::WindowFunction(mut function) = self.moved_over(expr, scope, &pushed)?.unalias() else {
                return Err(refused(&LogicalPlan::Window(window.clone())));
            };
            function.params.partition_by.extend(pushed.key_columns());
            functions.push(Expr::WindowFunction(function).alias(&column.name));
            pushed.columns.push(column);
        }
        let plan = LogicalPlan::Window(Window::try_new(functions, Arc::new(pushed.plan))?);
        Ok(Pushed { plan, ..pushed })
    }

    fn union(&self, union: &Union) -> PlanResult<Pushed> {
        let wanted = self.places(&outward(&LogicalPlan::Union(union.clone())));
        let keys: Vec<Column> = wanted.iter().map(|_| self.name()).collect();
        let columns: Vec<Column> = union.schema.fields().iter().map(|_| self.name()).collect();
        let mut inputs = Vec::new();
        for input in &union.inputs {
            let pushed = self.with_keys(self.push(input)?, &wanted)?;
            let from = wanted.iter().filter_map(|&of| pushed.key(of)).map(|key| &key.column).chain(&pushed.columns);
            let named = from.zip(keys.iter().chain(&columns));
            let named = named.map(|(from, to)| Expr::Column(from.clone()).alias(&to.name)).collect::<Vec<_>>();
            inputs.push(Arc::new(LogicalPlanBuilder::from(pushed.plan).project(named)?.build()?));
        }
        let keys = wanted.into_iter().zip(keys).map(|(of, column)| Key { of, column, may_be_null: true }).collect();
        Ok(Pushed { plan: LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?), keys, columns })
    }

    /// VALUES: one after another.
    fn rows(&self, values: &Values) -> PlanResult<Pushed> {
        let nothing = DFSchema::empty();
        let named: Vec<Outer> = values.values.iter().flatten().flat_map(|expr| outward_of(expr, &nothing)).collect();
        let around = self.values(&self.places(&named))?;
        let columns: Vec<Column> = values.schema.fields().iter().map(|_| self.name()).collect();
        let mut inputs = Vec::new();
        for row in &values.values {
            let mut shown: Vec<Expr> = around.key_columns().collect();
            for ((expr, field), column) in row.iter().zip(values.schema.fields()).zip(&columns) {
                let expr = self.moved_over(expr, &nothing, &around)?;
                shown.push(cast(expr, field.data_type().clone()).alias(&column.name));
            }
            inputs.push(Arc::new(LogicalPlanBuilder::from(around.plan.clone()).project(shown)?.build()?));
        }
        let plan = match inputs.as_slice() {
            [one] => one.as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?),
        };
        Ok(Pushed { plan, keys: around.keys, columns })
    }

    fn unnest(&self, unnest: &Unnest) -> PlanResult<Pushed> {
        let scope = unnest.input.schema();
        let wanted: Vec<Outer> = unnest.lists.iter().flat_map(|expr| outward_of(expr, scope)).collect();
        let mut pushed = self.with_keys(self.push(&unnest.input)?, &self.places(&wanted))?;
        let mut lists = Vec::new();
        for list in &unnest.lists {
            lists.push((self.name(), self.moved_over(list, scope, &pushed)?));
        }
        pushed.columns.extend(lists.iter().map(|(column, _)| column.clone()));
        let lists = lists.into_iter().map(|(column, list)| (column.name, list)).collect();
        Ok(Pushed { plan: Unnest::new(pushed.plan, lists)?.into_plan(), ..pushed })
    }
}

/// What an aggregate without GROUP BY gives, of columns that are NULL where there is nothing.
pub(super) fn counted(aggregate: &Aggregate, columns: &[Column]) -> PlanResult<Vec<Expr>> {
    let value = |(call, column): (&Expr, &Column)| {
        let found = Expr::Column(column.clone());
        match call.clone().unalias() {
            Expr::AggregateFunction(call) if COUNTS.contains(&call.func.name()) => {
                when(found.clone().is_null(), lit(0i64)).otherwise(found)
            }
            _ => Ok(found),
        }
    };
    aggregate.aggr_expr.iter().zip(columns).map(value).collect()
}
