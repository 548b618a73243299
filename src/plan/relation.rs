//! A relation of the catalog inside a logical plan.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{LogicalPlan, TableSource};

use crate::catalog::Relation;
use crate::catalog::postgres::arrow_schema;

/// What a table scan of a logical plan reads. Takes no filters (DataFusion's own source takes them all, and drops them
/// from the plan), and gives the plan of a view to be inlined.
pub struct RelationSource {
    relation: Arc<Relation>,
    arrow: SchemaRef,
    inlined: Option<LogicalPlan>,
}

impl RelationSource {
    /// A scan of `relation`.
    pub fn new(relation: Arc<Relation>) -> Self {
        let arrow = arrow_schema(&relation);
        RelationSource { relation, arrow, inlined: None }
    }

    /// The view `relation`, whose query is `plan` with the view's column names.
    pub fn view(relation: Arc<Relation>, plan: LogicalPlan) -> Self {
        let arrow = Arc::new(plan.schema().as_arrow().clone());
        RelationSource { relation, arrow, inlined: Some(plan) }
    }

    /// The relation.
    pub fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    /// The relation that `source` stands for, if it is one of ours.
    pub fn of(source: &Arc<dyn TableSource>) -> Option<&Arc<Relation>> {
        let any: &dyn Any = source.as_ref();
        any.downcast_ref::<RelationSource>().map(RelationSource::relation)
    }
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.arrow)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.inlined.as_ref().map(Cow::Borrowed)
    }
}
