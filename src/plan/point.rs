//! Which rows of a table a bound statement can touch: those of one key, when its condition names one.

use arrow::array::ArrayRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::utils::split_conjunction;

use super::relation::RelationSource;
use crate::catalog::Relation;
use crate::serving::KeyFilter;
use crate::types::RelationId;

/// How often `plan` reads `relation`, sub-queries counted.
pub fn scans(plan: &LogicalPlan, relation: RelationId) -> usize {
    let mut count = 0;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && RelationSource::of(&scan.source).is_some_and(|found| found.id == relation)
        {
            count += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if walked.is_ok() { count } else { usize::MAX }
}

/// The primary key of the only row of `table` that `plan` can read, one value a column, in the order of the key: when
/// it reads the table once, beneath a condition that sets each key column equal to a constant.
pub fn fixed_key(plan: &LogicalPlan, table: &Relation) -> Option<Vec<ArrayRef>> {
    if table.primary_key.is_empty() || scans(plan, table.id) != 1 {
        return None;
    }
    let mut found = None;
    let walked = plan.apply(|node| {
        if let LogicalPlan::Filter(filter) = node
            && reads(&filter.input, table.id)
        {
            let schema = table.columns.arrow();
            let conditions = split_conjunction(&filter.predicate);
            let filters: Vec<KeyFilter> = conditions.iter().filter_map(|c| KeyFilter::of(c, &schema)).collect();
            let value = |column: &usize| {
                filters.iter().find(|filter| filter.column() == *column).map(|filter| ArrayRef::clone(filter.value()))
            };
            found = table.primary_key.iter().map(value).collect::<Option<Vec<ArrayRef>>>();
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok().and(found)
}

/// Whether `plan` is the scan of `relation`, maybe under another name.
pub(super) fn reads(plan: &LogicalPlan, relation: RelationId) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => reads(&alias.input, relation),
        LogicalPlan::TableScan(scan) => RelationSource::of(&scan.source).is_some_and(|found| found.id == relation),
        _ => false,
    }
}
