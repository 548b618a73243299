//! Lowering: each logical node to streams and operators, one file per node.

mod aggregate;
mod asof;
mod band;
mod became;
mod constant;
mod during;
mod gate;
mod grouping;
mod interval;
mod join;
mod lookup;
mod ordered;
mod over;
mod proctime;
mod project;
mod repeat;
mod scan;
mod session;
mod single;
mod top;
mod union;
mod unnest;
mod window;

use datafusion::logical_expr::{Distinct, LogicalPlan};

pub use self::became::Became;
pub(super) use self::constant::Unit;
pub use self::constant::unit_row;

use super::asof::AsofJoin;
use super::build::{Builder, Stream};
use super::during::During;
use super::lookup::LookupJoin;
use super::proctime::Proctime;
use super::repeat::Repeat;
use super::single::SingleRow;
use super::unnest::Unnest;
use super::view::EmitMode;
use super::window::WindowAssign;
use crate::base::{Error, Result};

/// Lowers the nodes of one plan.
pub(super) struct Lowering {
    pub builder: Builder,
    pub emit: EmitMode,
    pub unit: Unit,
    pub became: Became,
    /// What the author of the query should know.
    pub notices: Vec<String>,
    /// In how many windows the node being lowered lies: then sources send the watermark of each row's split.
    pub carried: usize,
}

impl Lowering {
    /// The stream of `plan`'s rows; notes which operators it took.
    pub fn lower(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        let place = self.became.begin(plan, self.builder.nodes.len());
        let stream = self.node(plan)?;
        self.became.end(place, self.builder.nodes.len());
        Ok(stream)
    }

    fn node(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any();
                if let Some(assign) = node.downcast_ref::<WindowAssign>() {
                    self.window(assign)
                } else if let Some(single) = node.downcast_ref::<SingleRow>() {
                    self.single(single)
                } else if let Some(asof) = node.downcast_ref::<AsofJoin>() {
                    self.asof(asof)
                } else if let Some(during) = node.downcast_ref::<During>() {
                    self.during(during)
                } else if let Some(proctime) = node.downcast_ref::<Proctime>() {
                    self.proctime(proctime)
                } else if let Some(lookup) = node.downcast_ref::<LookupJoin>() {
                    self.lookup(lookup)
                } else if let Some(repeat) = node.downcast_ref::<Repeat>() {
                    self.repeat(repeat)
                } else if let Some(unnest) = node.downcast_ref::<Unnest>() {
                    self.unnest(unnest)
                } else {
                    Err(refused(extension.node.name(), "Leave it out."))
                }
            }
            // A kept relation has no order; LIMIT is a node of its own.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.lower(&sort.input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Sort(_) => Err(Error::internal("ORDER BY with a limit of its own in a stored query")),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::Window(window) => self.over(window),
            LogicalPlan::Distinct(Distinct::On(_)) => Err(Error::internal("DISTINCT ON was not rewritten")),
            LogicalPlan::Subquery(_) => Err(refused("a sub-query in an expression", "Write it as a join.")),
            LogicalPlan::RecursiveQuery(_) => Err(refused("WITH RECURSIVE", "Write the levels out as joins.")),
            LogicalPlan::Unnest(_) => Err(Error::internal("UNNEST was planned by DataFusion")),
            LogicalPlan::Repartition(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(refused("this statement", "Write a SELECT.")),
        }
    }
}

/// The refusal of a construct that has no operator.
pub(super) fn refused(what: &str, rewrite: &str) -> Error {
    Error::unsupported(format!("{what} is not supported in a materialized view or sink")).with_hint(rewrite)
}

/// The names of a logical node's fields.
pub(super) fn field_names(plan: &LogicalPlan) -> Vec<String> {
    plan.schema().fields().iter().map(|field| field.name().clone()).collect()
}
