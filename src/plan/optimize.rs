//! Logical rewriting of stored queries: DataFusion's rules that are pure equivalences over Z-sets, and no others.

use std::sync::{Arc, LazyLock};

use datafusion::common::Result as PlanResult;
use datafusion::common::alias::AliasGenerator;
use datafusion::config::ConfigOptions;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::filter_null_join_keys::FilterNullJoinKeys;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::first_rows::first_rows;
use super::subquery::join_single_rows;
use crate::functions::{IndependentSubqueries, with_own_casts};

/// The rules, in DataFusion's order. Left out on purpose: those that move LIMIT (its meaning stays ours), split
/// DISTINCT aggregates (we keep DISTINCT per key), compute what is common to two expressions before either (a part that
/// does not count in them would then fault its row), pull struct fields up for Parquet, or replace what is always empty (a graph keeps its inputs, and with them its watermarks).
static RULES: LazyLock<Optimizer> = LazyLock::new(|| {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(IndependentSubqueries),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(FilterNullJoinKeys::default()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    Optimizer::with_rules(rules)
});

/// Resolves types and rewrites `plan`. `now()` is not folded: it is the clock of each epoch.
pub(super) fn optimize(plan: LogicalPlan, session: &SessionState) -> PlanResult<LogicalPlan> {
    let config = Config::new(session);
    let analyzed = Analyzer::new().execute_and_check(first_rows(plan)?, &config.options, |_, _| {})?;
    let plan = join_single_rows(with_own_casts(analyzed)?)?;
    RULES.optimize(plan, &config, |_, _| {})
}

/// DataFusion's session, but without a time at which the query started.
struct Config<'a> {
    session: &'a SessionState,
    options: Arc<ConfigOptions>,
    aliases: Arc<AliasGenerator>,
}

impl<'a> Config<'a> {
    fn new(session: &'a SessionState) -> Self {
        let mut options = session.config_options().as_ref().clone();
        options.optimizer.filter_null_join_keys = true;
        options.optimizer.skip_failed_rules = false;
        Config { session, options: Arc::new(options), aliases: Arc::new(AliasGenerator::new()) }
    }
}

impl OptimizerConfig for Config<'_> {
    fn query_execution_start_time(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        None
    }

    fn alias_generator(&self) -> &Arc<AliasGenerator> {
        &self.aliases
    }

    fn options(&self) -> Arc<ConfigOptions> {
        Arc::clone(&self.options)
    }

    fn function_registry(&self) -> Option<&dyn FunctionRegistry> {
        Some(self.session)
    }
}
