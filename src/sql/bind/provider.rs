//! What DataFusion's SQL planner asks for, answered from our catalog and the session's functions.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::{DFSchema, Result as PlanResult, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::super::postgres::{Facts, catalog_function, is_catalog_function};
use super::BindMode;
use super::errors::carry;
use super::set_functions::SetFunctions;
use super::types::Types;
use super::windows::Windows;
use crate::base::{Error, Result, sqlstate};
use crate::catalog::{Catalog, Relation, RelationKind, schemas};
use crate::functions::{ARRAY_OF, array_of};
use crate::plan::{ASOF, LOOKUP, RelationSource, asof_mark, lookup_mark, stamped};
use crate::types::RelationId;

/// Views may be built on views this deep.
const VIEW_DEPTH_MAX: usize = 32;

/// A relation or function that a statement uses.
#[derive(Clone, Debug)]
pub struct Use {
    /// Which.
    pub relation: Arc<Relation>,
    /// The view whose text names it, whose owner's rights count then; none: the statement itself does.
    pub inside: Option<RelationId>,
}

/// Names resolved for one statement.
pub(super) struct Provider<'a> {
    pub catalog: &'a Catalog,
    pub session: &'a SessionState,
    pub mode: BindMode,
    /// Every relation that was named, views that were inlined among them.
    pub named: RefCell<BTreeMap<RelationId, Arc<Relation>>>,
    /// What was named where: by the statement itself, or inside a view.
    pub uses: RefCell<BTreeMap<(Option<RelationId>, RelationId), Use>>,
    /// The views that are being inlined, the innermost last.
    within: RefCell<Vec<RelationId>>,
    /// A relation that only this statement knows: `excluded` of ON CONFLICT.
    pub extra: Option<Arc<Relation>>,
    /// Whether a function was named that tells sizes.
    pub asks_sizes: Cell<bool>,
    /// Whether a relation or function of the catalog was named.
    pub asks_catalog: Cell<bool>,
    /// What functions of the catalog see.
    pub facts: Option<Arc<Facts>>,
    /// The catalog as the views that are being inlined see it, the innermost last.
    seen: RefCell<Vec<Catalog>>,
    depth: Cell<usize>,
    relations: [Arc<dyn RelationPlanner>; 2],
}

impl<'a> Provider<'a> {
    pub fn new(catalog: &'a Catalog, session: &'a SessionState, mode: BindMode) -> Self {
        Provider {
            catalog,
            session,
            mode,
            named: RefCell::default(),
            uses: RefCell::default(),
            within: RefCell::default(),
            extra: None,
            asks_sizes: Cell::new(false),
            asks_catalog: Cell::new(false),
            facts: None,
            seen: RefCell::default(),
            depth: Cell::new(0),
            relations: [Arc::new(Windows), Arc::new(SetFunctions { mode })],
        }
    }

    fn source(&self, name: &TableReference) -> Result<RelationSource> {
        let extra = self.extra.as_ref().filter(|extra| name.schema().is_none() && extra.name == name.table());
        let relation = match extra {
            Some(extra) => Arc::clone(extra),
            None => self.used(match self.seen.borrow().last() {
                Some(catalog) => catalog.resolve(name.schema(), name.table())?,
                None => self.catalog.resolve(name.schema(), name.table())?,
            }),
        };
        self.named.borrow_mut().insert(relation.id, Arc::clone(&relation));
        self.asks_catalog.set(self.asks_catalog.get() || relation.kind == RelationKind::System);
        match relation.kind {
            RelationKind::Sink | RelationKind::Index(_) | RelationKind::Function => {
                Err(Error::invalid(format!("{} cannot be read", relation.title()))
                    .with_code(sqlstate::WRONG_OBJECT_TYPE)
                    .with_hint("Read the relation of which it is made."))
            }
            RelationKind::System if self.mode == BindMode::Stored => {
                Err(Error::unsupported(format!("{} cannot be read by a materialized view or sink", relation.title()))
                    .with_hint("Read it with SELECT."))
            }
            RelationKind::View => {
                let plan = self.view(&relation)?;
                Ok(RelationSource::view(relation, plan))
            }
            RelationKind::Source => match stamped(&relation)? {
                Some(plan) => Ok(RelationSource::view(relation, plan)),
                None => Ok(RelationSource::new(relation)),
            },
            RelationKind::Table
            | RelationKind::MaterializedView
            | RelationKind::Late(_)
            | RelationKind::Faults(_)
            | RelationKind::System => Ok(RelationSource::new(relation)),
        }
    }

    /// Notes that `relation` is used where the binder is now.
    fn used(&self, relation: Arc<Relation>) -> Arc<Relation> {
        let inside = self.within.borrow().last().copied();
        let noted = Use { relation: Arc::clone(&relation), inside };
        self.uses.borrow_mut().insert((inside, relation.id), noted);
        relation
    }

    /// The plan of a view, bound anew from its text.
    fn view(&self, relation: &Relation) -> Result<LogicalPlan> {
        self.within.borrow_mut().push(relation.id);
        let plan = self.inside(relation, || super::view_plan(self, relation));
        self.within.borrow_mut().pop();
        // A place in the view's text is none in the statement's.
        plan.map_err(|error| without_position(error).context(format!("in {}", relation.title())))
    }

    /// The relation that a name means here, if any.
    pub(super) fn find(&self, schema: Option<&str>, name: &str) -> Option<Arc<Relation>> {
        let extra = self.extra.as_ref().filter(|extra| schema.is_none() && extra.name == name);
        extra.map(Arc::clone).or_else(|| match self.seen.borrow().last() {
            Some(catalog) => catalog.resolve(schema, name).ok(),
            None => self.catalog.resolve(schema, name).ok(),
        })
    }

    /// The functions of users called `name`.
    pub(super) fn functions(&self, schema: Option<&str>, name: &str) -> Vec<Arc<Relation>> {
        match self.seen.borrow().last() {
            Some(catalog) => catalog.functions(schema, name),
            None => self.catalog.functions(schema, name),
        }
    }

    /// What `work` gives where names are looked up as the statement of `relation` did.
    pub(super) fn inside<T>(&self, relation: &Relation, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let depth = self.depth.get();
        if depth >= VIEW_DEPTH_MAX {
            return Err(Error::limit(format!("views are built on views more than {VIEW_DEPTH_MAX} deep"))
                .with_code(sqlstate::STATEMENT_TOO_COMPLEX)
                .with_hint("Make one of them a materialized view."));
        }
        self.depth.set(depth + 1);
        let public = [schemas::PUBLIC.to_string()];
        let path = if relation.search_path.is_empty() { &public } else { relation.search_path.as_slice() };
        self.seen.borrow_mut().push(self.catalog.along(path));
        let made = work();
        self.seen.borrow_mut().pop();
        self.depth.set(depth);
        made
    }
}

/// The same error, without its position.
pub(in crate::sql) fn without_position(error: Error) -> Error {
    let mut bare = Error::new(error.kind(), error.message()).with_code(error.sqlstate());
    if let Some(detail) = error.detail() {
        bare = bare.with_detail(detail);
    }
    if let Some(hint) = error.hint() {
        bare = bare.with_hint(hint);
    }
    for line in error.contexts() {
        bare = bare.context(line);
    }
    bare
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        Ok(Arc::new(self.source(&name).map_err(carry)?))
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> PlanResult<Arc<dyn TableSource>> {
        let Some(function) = self.session.table_functions().get(name).filter(|_| self.mode == BindMode::Read) else {
            let error = Error::invalid(format!("table function \"{name}\" does not exist"))
                .with_code(sqlstate::UNDEFINED_FUNCTION)
                .with_hint("In FROM stand relations, sub-queries, and the windows TUMBLE and HOP.");
            return Err(carry(error));
        };
        let context = SimplifyContext::builder().with_config_options(Arc::clone(self.session.config_options())).build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|arg| simplifier.simplify(arg)))
            .collect::<PlanResult<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.session))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> PlanResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.session.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types { oids: self.mode == BindMode::Read }))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if name == ASOF {
            return Some(asof_mark());
        }
        if name == LOOKUP {
            return Some(lookup_mark());
        }
        if name == super::spread::ROWS {
            return Some(super::spread::rows_udf());
        }
        if name == ARRAY_OF {
            return Some(array_of());
        }
        if is_catalog_function(name) && self.mode == BindMode::Read {
            self.asks_catalog.set(true);
            self.asks_sizes.set(self.asks_sizes.get() || name.ends_with("_size"));
            let bare = || Arc::new(Facts::of(self.catalog.clone()));
            return catalog_function(name, &self.facts.clone().unwrap_or_else(bare));
        }
        if let Some(known) = self.session.scalar_functions().get(name) {
            return Some(Arc::clone(known));
        }
        if name == super::limits::WITH_TIES {
            return Some(super::limits::with_ties_udf());
        }
        let (schema, name) = name.rsplit_once('.').map_or((None, name), |(schema, name)| (Some(schema), name));
        let found = self.functions(schema, name);
        if found.is_empty() {
            return None;
        }
        found.iter().for_each(|function| drop(self.used(Arc::clone(function))));
        self.named.borrow_mut().extend(found.iter().map(|function| (function.id, Arc::clone(function))));
        // Their statements were bound when they were created, and what these name is still there.
        super::function::user_function(self, name, &found).ok()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.session.higher_order_functions().get(name).map(Arc::clone)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.session.aggregate_functions().get(name).map(Arc::clone)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.session.window_functions().get(name).map(Arc::clone)
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.session.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.session.scalar_functions().keys().map(String::clone).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.session.higher_order_functions().keys().map(String::clone).collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.session.aggregate_functions().keys().map(String::clone).collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.session.window_functions().keys().map(String::clone).collect()
    }
}
