//! GROUPING SETS, ROLLUP and CUBE: the sets of an aggregate, what grouping() says of each, and the set without columns,
//! which has its one row also where there is no row at all (PostgreSQL's rule; DataFusion's engine gives none).

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, Result as PlanResult, ScalarValue, plan_datafusion_err};
use datafusion::logical_expr::expr::{Alias, Case};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, GroupingSet, LogicalPlan, LogicalPlanBuilder, Projection, cast, lit,
};

/// One grouping set: which of the aggregate's keys it has, and its number in the column `__grouping_id`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    /// For each key whether it is grouped by.
    pub has: Vec<bool>,
    /// The number: a bit per key that is missing, the last key's the lowest; above them how many equal sets came before.
    pub id: u64,
}

/// The sets of an aggregate over `keys`; none if it is a plain GROUP BY.
pub(super) fn sets(group: &[Expr]) -> PlanResult<Option<(Vec<&Expr>, Vec<Set>)>> {
    let [Expr::GroupingSet(sets)] = group else { return Ok(None) };
    let keys = grouping_set_to_exprlist(group)?;
    let lists: Vec<Vec<&Expr>> = match sets {
        GroupingSet::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
        GroupingSet::Rollup(keys) => (0..=keys.len()).rev().map(|n| keys[..n].iter().collect()).collect(),
        GroupingSet::Cube(keys) => {
            let bits = u32::try_from(keys.len()).ok().filter(|&bits| bits <= 12);
            let bits = bits.ok_or_else(|| plan_datafusion_err!("CUBE of more than 12 columns"))?;
            let of = |mask: u32| (0..keys.len()).filter(|i| mask >> i & 1 == 1).map(|i| &keys[i]).collect();
            (0..1u32 << bits).rev().map(of).collect()
        }
    };
    let mut found: Vec<Set> = Vec::new();
    for list in lists {
        let has: Vec<bool> = keys.iter().map(|key| list.contains(key)).collect();
        let missing = has.iter().fold(0u64, |bits, has| bits << 1 | u64::from(!has));
        let before = found.iter().filter(|set| set.has == has).count() as u64;
        found.push(Set { id: missing | before << keys.len(), has });
    }
    Ok(Some((keys, found)))
}

/// `plan` with every grouping() as a CASE over the number of the set, which our expressions have, and every grouping set
/// over columns.
pub fn resolve_grouping(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(|call| grouping(call).is_some()) => {
            Ok(Transformed::yes(resolve(aggregate)?))
        }
        LogicalPlan::Aggregate(aggregate) if has_computed_keys(&aggregate)? => {
            Ok(Transformed::yes(LogicalPlan::Aggregate(over_columns(aggregate)?)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(resolved.data)
}

/// Whether a grouping set has a key that is not a column.
fn has_computed_keys(aggregate: &Aggregate) -> PlanResult<bool> {
    match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(_)] => {
            let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
            Ok(keys.iter().any(|key| !matches!(key, Expr::Column(_))))
        }
        _ => Ok(false),
    }
}

/// `aggregate` with its computed keys as columns of a projection below it: what rewrites a key (types, constants) then keeps
/// its name, where in a grouping set it would name the sets as a whole.
fn over_columns(aggregate: Aggregate) -> PlanResult<Aggregate> {
    let keys: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
    let named = |key: &Expr| Column::new_unqualified(key.schema_name().to_string());
    let computed = keys.iter().filter(|key| !matches!(key, Expr::Column(_)));
    let columns = aggregate.input.schema().columns().into_iter().map(Expr::Column);
    let below: Vec<Expr> = columns.chain(computed.map(|key| key.clone().alias(named(key).name))).collect();
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(aggregate.input)).project(below)?.build()?;
    let sets = aggregate.group_expr.into_iter().map(|set| {
        let replaced = set.transform_down(|expr| match keys.contains(&expr) {
            true if matches!(expr, Expr::Column(_)) => Ok(Transformed::no(expr)),
            true => Ok(Transformed::new(Expr::Column(named(&expr)), true, TreeNodeRecursion::Jump)),
            false => Ok(Transformed::no(expr)),
        });
        replaced.map(|replaced| replaced.data)
    });
    Aggregate::try_new(Arc::new(input), sets.collect::<PlanResult<Vec<_>>>()?, aggregate.aggr_expr)
}

/// The arguments, if `expr` is a call of grouping().
fn grouping(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Alias(alias) => grouping(&alias.expr),
        Expr::AggregateFunction(call) if call.func.name() == "grouping" => Some(&call.params.args),
        _ => None,
    }
}

fn resolve(aggregate: Aggregate) -> PlanResult<LogicalPlan> {
    let calls = aggregate.aggr_expr.len();
    let columns = aggregate.schema.columns();
    let names = &columns[columns.len() - calls..];
    let mut shown: Vec<Expr> = columns[..columns.len() - calls]
        .iter()
        .filter(|c| c.name != Aggregate::INTERNAL_GROUPING_ID)
        .cloned()
        .map(Expr::Column)
        .collect();
    let mut kept = Vec::new();
    for (call, name) in aggregate.aggr_expr.iter().zip(names) {
        match grouping(call) {
            None => {
                kept.push(call.clone());
                shown.push(Expr::Column(name.clone()));
            }
            Some(args) => {
                let value = value_of(&aggregate, args)?;
                shown.push(Expr::Alias(Alias::new(value, name.relation.clone(), name.name.clone())));
            }
        }
    }
    let mut grouped = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr, kept)?;
    if has_computed_keys(&grouped)? {
        grouped = over_columns(grouped)?;
    }
    Ok(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(LogicalPlan::Aggregate(grouped)))?))
}

/// What grouping(args) is in each set: a bit per argument that is not grouped by, the last one's the lowest.
fn value_of(aggregate: &Aggregate, args: &[Expr]) -> PlanResult<Expr> {
    let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
    let places = args.iter().map(|arg| keys.iter().position(|key| *key == arg)).collect::<Option<Vec<_>>>();
    let places = places.filter(|places| !places.is_empty() && places.len() < 32).ok_or_else(|| {
        plan_datafusion_err!("arguments to GROUPING must be grouping expressions of the associated query level")
    })?;
    let Some((_, sets)) = sets(&aggregate.group_expr)? else { return Ok(lit(0i32)) };
    let id = Column::new_unqualified(Aggregate::INTERNAL_GROUPING_ID);
    let ty = aggregate.schema.field_from_column(&id)?.data_type().clone();
    let branches = sets.iter().map(|set| {
        let value = places.iter().fold(0i32, |bits, &place| bits << 1 | i32::from(!set.has[place]));
        Ok((Box::new(Expr::Literal(number(set.id, &ty)?, None)), Box::new(lit(value))))
    });
    let branches = branches.collect::<PlanResult<Vec<_>>>()?;
    Ok(Expr::Case(Case::new(Some(Box::new(Expr::Column(id))), branches, Some(Box::new(lit(0i32))))))
}

/// A set's number as a value of the column's type.
fn number(id: u64, ty: &DataType) -> PlanResult<ScalarValue> {
    ScalarValue::UInt64(Some(id)).cast_to(ty)
}

/// `plan` with each grouping set without columns as an aggregate without GROUP BY, for DataFusion's engine.
pub(super) fn expand_empty_sets(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let expanded = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Aggregate(aggregate) => match sets(&aggregate.group_expr)? {
            Some((keys, sets)) if sets.iter().any(|set| !set.has.contains(&true)) => {
                Ok(Transformed::yes(apart(&aggregate, &keys, &sets)?))
            }
            _ => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    Ok(expanded.data)
}

/// Every set as an aggregate of its own, and UNION ALL of them.
fn apart(aggregate: &Aggregate, keys: &[&Expr], sets: &[Set]) -> PlanResult<LogicalPlan> {
    let schema = &aggregate.schema;
    let id_type = schema.field(keys.len()).data_type();
    let mut whole: Option<LogicalPlanBuilder> = None;
    for set in sets {
        let group: Vec<Expr> =
            keys.iter().zip(&set.has).filter(|(_, has)| **has).map(|(key, _)| (*key).clone()).collect();
        let input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone());
        let grouped = match (group.is_empty(), aggregate.aggr_expr.is_empty()) {
            (true, true) => LogicalPlanBuilder::empty(true),
            _ => input.aggregate(group, aggregate.aggr_expr.clone())?,
        };
        let mut given = grouped.schema().columns().into_iter().map(Expr::Column);
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (place, field) in schema.fields().iter().enumerate() {
            let value = if place == keys.len() {
                Expr::Literal(number(set.id, id_type)?, None)
            } else if set.has.get(place) == Some(&false) {
                Expr::Literal(ScalarValue::try_from(field.data_type())?, None)
            } else {
                let value = given.next().ok_or_else(|| plan_datafusion_err!("a grouping set lost a column"))?;
                let same = value.get_type(grouped.schema())? == *field.data_type();
                if same { value } else { cast(value, field.data_type().clone()) }
            };
            columns.push(value.alias(format!("__set_{place}")));
        }
        let part = grouped.project(columns)?;
        whole = Some(match whole {
            None => part,
            Some(whole) => whole.union(part.build()?)?,
        });
    }
    let whole = whole.ok_or_else(|| plan_datafusion_err!("GROUPING SETS without a set"))?;
    let named = schema.iter().enumerate().map(|(place, (relation, field))| {
        let column = Expr::Column(Column::new_unqualified(format!("__set_{place}")));
        Expr::Alias(Alias::new(column, relation.cloned(), field.name().clone()))
    });
    whole.project(named.collect::<Vec<_>>())?.build()
}
