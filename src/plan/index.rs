//! Indexes: the rows of a relation, published once more under other columns, and which reads they serve.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::build::Builder;
use super::point::{reads, scans};
use super::view::{Target, output};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::{Relation, RelationKind};
use crate::dataflow::{Graph, NodeKind, RelationInput};
use crate::serving::KeyFilter;
use crate::types::RelationId;

/// The graph of an index: the rows of `relation`, published as `index`, found by `columns`; and the columns that name
/// a row there: these, then what names it in the relation.
pub fn plan_index(relation: &Relation, index: RelationId, columns: &[usize]) -> Result<(Graph, Vec<usize>)> {
    match relation.kind {
        RelationKind::Table | RelationKind::MaterializedView => {}
        RelationKind::Source
        | RelationKind::View
        | RelationKind::Sink
        | RelationKind::Late(_)
        | RelationKind::Faults(_)
        | RelationKind::Index(_)
        | RelationKind::Function
        | RelationKind::System => {
            return Err(Error::invalid(format!("{} cannot be indexed", relation.title()))
                .with_code(sqlstate::WRONG_OBJECT_TYPE)
                .with_hint("Indexes are for tables and materialized views."));
        }
    }
    let mut builder = Builder::default();
    let schema = relation.columns.clone();
    let input = NodeKind::Relation(RelationInput { relation: relation.id });
    let node = builder.add(&relation.path(), input, Vec::new(), schema.clone(), relation.append_only)?;
    let mut stream = builder.stream(node, schema.clone(), relation.append_only);
    let all: Vec<usize> = (0..schema.columns.len()).collect();
    let own = if relation.primary_key.is_empty() { &all } else { &relation.primary_key };
    let mut key = columns.to_vec();
    key.extend(own.iter().filter(|column| !columns.contains(column)));
    output(&mut builder, &mut stream, Target::View(index), &schema, &key)?;
    Ok((builder.finish()?, key))
}

/// The one of `indexes` that finds the rows of `relation` for `plan`, which reads it once: beneath conditions `column =
/// constant` on the first columns of the index, else joined by `column = other column` on them; and not so on the first
/// column of the relation's own key. The one with most such columns. Reading all of an index is as good as reading all of
/// the relation.
pub fn index_for(plan: &LogicalPlan, relation: &Relation, indexes: &[Arc<Relation>]) -> Option<RelationId> {
    if indexes.is_empty() || scans(plan, relation.id) != 1 {
        return None;
    }
    let known = Known::of(plan, relation).ok()?;
    for columns in [known.fixed, known.joined] {
        if relation.primary_key.first().is_some_and(|first| columns.contains(first)) {
            return None;
        }
        let matched = |index: &Arc<Relation>| index.primary_key.iter().take_while(|key| columns.contains(key)).count();
        let found = indexes.iter().filter(|index| matched(index) > 0).max_by_key(|index| matched(index));
        if let Some(index) = found {
            return Some(index.id);
        }
    }
    None
}

/// Columns of a relation that a plan knows.
#[derive(Default)]
struct Known {
    /// Equal to a constant.
    fixed: Vec<usize>,
    /// Equal to columns of other relations.
    joined: Vec<usize>,
}

impl Known {
    fn of(plan: &LogicalPlan, relation: &Relation) -> datafusion::common::Result<Known> {
        let schema = relation.columns.arrow();
        let (mut known, mut name, mut pairs) = (Known::default(), None, Vec::new());
        plan.apply(|node| {
            if name.is_none() && reads(node, relation.id) {
                name = node.schema().qualified_field(0).0.cloned();
            }
            match node {
                LogicalPlan::Filter(filter) => {
                    let conditions = split_conjunction(&filter.predicate);
                    if reads(&filter.input, relation.id) {
                        let filters = conditions.iter().filter_map(|condition| KeyFilter::of(condition, &schema));
                        known.fixed = filters.map(|filter| filter.column()).collect();
                    }
                    pairs.extend(conditions.into_iter().filter_map(equated));
                }
                LogicalPlan::Join(join) => {
                    let on = join.on.iter().map(|(left, right)| (left, right));
                    pairs.extend(on.filter_map(|(left, right)| Some([left.try_as_col()?, right.try_as_col()?])));
                    let filter = join.filter.iter().flat_map(split_conjunction);
                    pairs.extend(filter.filter_map(equated));
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let own = |column: &&Column| column.relation.is_some() && column.relation == name;
        let joined = pairs.iter().filter(|pair| pair.iter().filter(|column| own(column)).count() == 1);
        let columns = joined.flat_map(|pair| pair.iter().find(|column| own(column)));
        known.joined = columns.filter_map(|column| schema.index_of(&column.name).ok()).collect();
        Ok(known)
    }
}

/// The columns of `column = column`.
fn equated(condition: &Expr) -> Option<[&Column; 2]> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            Some([left.try_as_col()?, right.try_as_col()?])
        }
        _ => None,
    }
}
