//! Indexes: the rows of a relation, published once more under other columns, and which reads they serve.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::utils::split_conjunction;

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

/// The one of `indexes` that finds the rows of `relation` for `plan`: when it reads the relation once, beneath conditions
/// `column = constant` on the first columns of the index, and none on the first column of the relation's own key. The
/// one with most such columns.
pub fn index_for(plan: &LogicalPlan, relation: &Relation, indexes: &[Arc<Relation>]) -> Option<RelationId> {
    if indexes.is_empty() || scans(plan, relation.id) != 1 {
        return None;
    }
    let mut fixed: Vec<usize> = Vec::new();
    let walked = plan.apply(|node| {
        if let LogicalPlan::Filter(filter) = node
            && reads(&filter.input, relation.id)
        {
            let schema = relation.columns.arrow();
            let conditions = split_conjunction(&filter.predicate);
            fixed = conditions.iter().filter_map(|c| KeyFilter::of(c, &schema)).map(|filter| filter.column()).collect();
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let own = relation.primary_key.first().is_some_and(|first| fixed.contains(first));
    if walked.is_err() || own {
        return None;
    }
    let matched = |index: &Arc<Relation>| index.primary_key.iter().take_while(|column| fixed.contains(column)).count();
    let found = indexes.iter().filter(|index| matched(index) > 0).max_by_key(|index| matched(index));
    found.map(|index| index.id)
}
