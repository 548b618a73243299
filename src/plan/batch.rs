//! A bound plan made ready for DataFusion's batch execution: nodes of our own expanded, relations replaced by what can be read.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;

use super::asof::{expand_asof, find_asof};
use super::grouping::expand_empty_sets;
use super::lookup::find_lookups;
use super::partition_keys::expand_partition_keys;
use super::relation::RelationSource;
use super::repeat::expand_repeats;
use super::subquery::join_subqueries;
use super::unnest::expand_unnest;
use super::window::expand_windows;
use crate::base::{Error, Result};
use crate::catalog::Relation;
use crate::functions::aggregate_in_order;

/// Gives what a scan of a relation reads.
pub type Provide<'a> = dyn FnMut(&Arc<Relation>) -> Result<Arc<dyn TableProvider>> + 'a;

/// `plan` with windows and repeats expanded and every scan of one of our relations reading what `provide` gives for it. The
/// provider's schema must be [`Relation::columns`]'s Arrow schema. The result is not yet optimised: hand it to
/// `SessionState::create_physical_plan`. Reads and the test oracle go this way.
pub fn for_batch(plan: LogicalPlan, provide: &mut Provide<'_>) -> Result<LogicalPlan> {
    let plan = expand_asof(find_asof(find_lookups(plan, true)?)?).map_err(internal)?;
    let plan = join_subqueries(plan, false).and_then(aggregate_in_order).map_err(internal)?;
    let windows = expand_windows(plan).and_then(expand_repeats).and_then(expand_unnest);
    let expanded = windows.and_then(expand_empty_sets).and_then(expand_partition_keys).map_err(internal)?;
    let mut failure = None;
    let bound = expanded.transform_up_with_subqueries(|plan| {
        let LogicalPlan::TableScan(mut scan) = plan else { return Ok(Transformed::no(plan)) };
        let Some(relation) = RelationSource::of(&scan.source) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        match provide(relation) {
            Ok(provider) => {
                scan.source = provider_as_source(provider);
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            Err(error) => {
                failure = Some(error);
                Err(DataFusionError::Plan("a relation cannot be read".to_string()))
            }
        }
    });
    match (failure, bound) {
        (Some(error), _) => Err(error),
        (None, Ok(bound)) => Ok(bound.data),
        (None, Err(error)) => Err(internal(error)),
    }
}

fn internal(error: DataFusionError) -> Error {
    Error::internal(format!("plan could not be rewritten for reading: {error}"))
}
