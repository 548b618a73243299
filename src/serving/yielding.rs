//! What makes rows of rows, joins above all, gives way now and then: DataFusion lets only scans and exchanges do so, and a join that
//! holds its inputs already reads neither. Without it such a query keeps its thread until its end, cannot be cancelled, and
//! everyone waits.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::unnest::UnnestExec;

use super::slices::Sliced;

/// Wraps such nodes in [`CooperativeExec`].
#[derive(Debug)]
pub(super) struct Yielding;

impl PhysicalOptimizerRule for Yielding {
    fn name(&self) -> &str {
        "Yielding"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|node| {
            let node = if node.downcast_ref::<NestedLoopJoinExec>().is_some() { sliced(node)? } else { node };
            let multiplies = node.children().len() > 1 || node.downcast_ref::<UnnestExec>().is_some();
            Ok(match multiplies {
                true => Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>),
                false => Transformed::no(node),
            })
        });
        wrapped.map(|wrapped| wrapped.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A join whose probed side, the right one, comes in slices.
fn sliced(join: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut children: Vec<Arc<dyn ExecutionPlan>> = join.children().into_iter().map(Arc::clone).collect();
    if let Some(probed) = children.get_mut(1) {
        *probed = Arc::new(Sliced(Arc::clone(probed)));
    }
    join.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}
