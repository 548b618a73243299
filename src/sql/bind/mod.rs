//! Binding: names looked up, types resolved, a statement's syntax tree made DataFusion's logical plan.
//!
//! ```text
//!   Query ─ legacy windows ─ refusals ─ output names ─▶ SqlToRel (our provider) ─▶ types ─▶ LogicalPlan
//! ```

mod assigned;
mod change;
mod check;
mod clock;
mod columnless;
mod columns;
mod conflict;
mod copied;
mod definition;
mod errors;
mod function;
mod hidden_order;
mod json_aggregates;
mod legacy;
mod limits;
mod missing_rows;
mod named_windows;
mod names;
mod operators;
mod parameters;
mod provider;
mod rows;
mod set_functions;
mod sets;
mod shifts;
mod spellings;
mod spread;
#[cfg(test)]
mod tests;
mod ties;
mod types;
mod using;
mod versions;
mod windows;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, ExprSchema};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use sqlparser::ast;

use self::errors::planned;
use self::provider::Provider;
use super::parse::parse;
use super::postgres::{self, Facts};
use super::statement::{Name, Query, Statement};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::postgres::types_told;
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::plan::{check_lookups, join_subqueries, resolve_grouping};
use crate::types::{Column as TypedColumn, Schema, SqlType, Told};

pub(super) use self::types::sql_type as type_of;
pub use change::{BoundChange, BoundConflict, BoundInsert};
pub use definition::{RelationDefinition, WatermarkDefinition};
pub use function::{BoundFunction, function_signature};
pub use provider::Use;
pub(super) use provider::without_position;

/// What a query is bound for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMode {
    /// To be run once, over contents at one epoch: all of DataFusion's SQL.
    Read,
    /// To be kept up to date: what our operators do.
    Stored,
}

/// Looks up names in one version of the catalog, with the functions and options of one session.
pub struct Binder<'a> {
    catalog: &'a Catalog,
    session: &'a SessionState,
    facts: Option<Arc<Facts>>,
}

/// A bound query.
#[derive(Clone, Debug)]
pub struct BoundQuery {
    /// Its plan, types resolved; scans hold [`crate::plan::RelationSource`]s, windows are
    /// [`crate::plan::WindowAssign`]s. Not optimised.
    pub plan: LogicalPlan,
    /// Its columns as the client sees them: PostgreSQL's names, possibly one name twice. The plan's own may differ.
    pub schema: Schema,
    /// The types of `$1`, `$2`, ...
    pub parameters: Vec<SqlType>,
    /// What clients are told of them besides.
    pub parameters_told: Told,
    /// Every relation that it names, inlined views among them, by number.
    pub relations: Vec<Arc<Relation>>,
    /// The same with where each is named, functions of users among them.
    pub uses: Vec<Use>,
    /// Whether it calls functions that tell the sizes of relations.
    pub asks_sizes: bool,
    /// Whether it ends with an ORDER BY that a stored view does not keep.
    pub unordered: bool,
}

impl<'a> Binder<'a> {
    /// A binder over `catalog`; `session` holds our functions.
    pub fn new(catalog: &'a Catalog, session: &'a SessionState) -> Self {
        Binder { catalog, session, facts: None }
    }

    /// The same, for a session: functions that ask for the catalog or for settings see `facts`.
    pub fn with_facts(self, facts: Arc<Facts>) -> Self {
        Binder { facts: Some(facts), ..self }
    }

    /// Binds `query`; `parameters` are types that the client gave, the others are inferred (text where nothing says).
    pub fn query(&self, query: &Query, mode: BindMode, parameters: &[Option<SqlType>]) -> Result<BoundQuery> {
        let provider = self.provider(mode);
        let ties = mode == BindMode::Stored;
        let plan = plan_query(&provider, query.clone(), parameters, ties)?;
        self.bound(provider, plan, parameters)
    }

    /// Binds the query of a stored view, whose columns `columns` name (all of them, or none).
    pub fn view(&self, query: &Query, columns: &[Name], mode: BindMode) -> Result<BoundQuery> {
        let mut bound = self.query(query, mode, &[])?;
        bound.unordered = query.order_by.is_some() && !limits::order_matters(query);
        if !bound.parameters.is_empty() {
            return Err(Error::invalid("a view has no parameters")
                .with_code(sqlstate::UNDEFINED_PARAMETER)
                .with_hint("Write the value instead of $1."));
        }
        if bound.schema.columns.is_empty() {
            return Err(Error::syntax("a view must have a column").with_hint("Name a column behind SELECT."));
        }
        if columns.len() > bound.schema.columns.len() {
            return Err(Error::syntax(format!(
                "the column list names {} columns, the query has {}",
                columns.len(),
                bound.schema.columns.len()
            ))
            .with_hint("Name as many columns as the query has.")
            .at(columns[0].position));
        }
        for (column, name) in bound.schema.columns.iter_mut().zip(columns) {
            column.name.clone_from(&name.name);
        }
        for (i, column) in bound.schema.columns.iter().enumerate() {
            if bound.schema.index_of(&column.name) != Some(i) {
                return Err(Error::invalid(format!("column \"{}\" is specified more than once", column.name))
                    .with_code(sqlstate::DUPLICATE_COLUMN)
                    .with_hint("Rename one of them with AS."));
            }
        }
        bound.plan = planned(rename(bound.plan, &bound.schema))?;
        Ok(bound)
    }

    fn provider(&self, mode: BindMode) -> Provider<'a> {
        let mut provider = Provider::new(self.catalog, self.session, mode);
        provider.facts.clone_from(&self.facts);
        provider
    }

    fn bound(&self, provider: Provider<'_>, plan: LogicalPlan, given: &[Option<SqlType>]) -> Result<BoundQuery> {
        let plan = planned(parameters::of_arrays(plan))?;
        let (parameters, parameters_told) = parameter_types(&plan, given)?;
        let (plan, told) = match provider.mode {
            BindMode::Read => planned(postgres::tell(plan, provider.asks_catalog.get(), &provider))?,
            BindMode::Stored => (plan, Told::new()),
        };
        let plan = planned(analyzed(plan, provider.mode, self.session))?;
        let columns = plan.schema().fields().iter().map(|field| {
            Ok(TypedColumn {
                name: names::shown(field.name()).to_string(),
                ty: SqlType::from_arrow(field.data_type())?,
                nullable: field.is_nullable(),
            })
        });
        let schema = Schema { told, ..Schema::new(columns.collect::<Result<_>>()?) };
        let asks_sizes = provider.asks_sizes.get();
        let relations = provider.named.into_inner().into_values().collect();
        let uses = provider.uses.into_inner().into_values().collect();
        Ok(BoundQuery { plan, schema, parameters, parameters_told, relations, uses, asks_sizes, unordered: false })
    }
}

/// `plan` with its types resolved. What is read may hold sub-queries that DataFusion finds too hard: they are run by
/// themselves.
fn analyzed(plan: LogicalPlan, mode: BindMode, session: &SessionState) -> datafusion::common::Result<LogicalPlan> {
    let (analyzer, options) = (Analyzer::new(), session.config_options());
    match mode {
        BindMode::Stored => analyzer.execute_and_check(join_subqueries(plan, true)?, options, |_, _| {}),
        BindMode::Read => analyzer.rules.iter().try_fold(plan, |plan, rule| rule.analyze(plan, options)),
    }
}

/// `plan` with the names of `schema` and the types that SQL names, without qualifiers.
fn rename(plan: LogicalPlan, schema: &Schema) -> datafusion::common::Result<LogicalPlan> {
    let columns: Vec<Column> = plan.schema().columns();
    let input = Arc::clone(plan.schema());
    let expressions = columns.into_iter().zip(&schema.columns).map(|(column, named)| {
        let same = input.field_from_column(&column).is_ok_and(|field| field.data_type() == &named.ty.arrow());
        let column = Expr::Column(column);
        let typed = if same { column } else { datafusion::logical_expr::cast(column, named.ty.arrow()) };
        typed.alias(&named.name)
    });
    LogicalPlanBuilder::from(plan).project(expressions.collect::<Vec<_>>())?.build()
}

fn options() -> ParserOptions {
    ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_map_string_types_to_utf8view(false)
        .with_collect_spans(true)
        .with_default_null_ordering(NullOrdering::NullsMax)
}

/// The plan of `query`, types not yet resolved. `ties`: LIMIT breaks its ties by the whole row.
fn plan_query(
    provider: &Provider<'_>,
    mut query: Query,
    parameters: &[Option<SqlType>],
    ties: bool,
) -> Result<LogicalPlan> {
    legacy::rewrite(&mut query)?;
    spellings::rewrite(&mut query)?;
    versions::rewrite(&mut query, provider.catalog)?;
    check::check(&query, provider)?;
    if provider.mode == BindMode::Stored && !limits::order_matters(&query) {
        query.order_by = None; // A kept relation has no order.
    }
    limits::rewrite(&mut query)?;
    using::rewrite(&mut query, provider)?;
    names::apply(&mut query);
    hidden_order::rewrite(&mut query);
    json_aggregates::rewrite(&mut query)?;
    set_functions::rewrite(&mut query)?;
    postgres::rewrite(&mut query)?;
    named_windows::rewrite(&mut query)?;
    rows::rewrite(&mut query)?;
    operators::rewrite(&mut query);
    let planner = SqlToRel::new_with_options(provider, options());
    let fields: Vec<Option<FieldRef>> = parameters.iter().map(|ty| ty.as_ref().map(parameter_field)).collect();
    let mut context = PlannerContext::new();
    if fields.iter().any(Option::is_some) {
        context = context.with_prepare_param_data_types(fields);
    }
    let statement = ast::Statement::Query(Box::new(query));
    let plan = planner.sql_statement_to_plan_with_context(statement, &mut context).and_then(spread::spread);
    let plan = plan
        .and_then(check_lookups)
        .and_then(resolve_grouping)
        .and_then(sets::count_both_sides)
        .and_then(shifts::spell_shifts)
        .and_then(|plan| limits::expand_ties(plan, provider.session));
    planned(plan.and_then(missing_rows::may_be_missing).and_then(|plan| ties::break_ties(plan, ties)))
}

fn parameter_field(ty: &SqlType) -> FieldRef {
    Arc::new(Field::new("", ty.arrow(), true))
}

/// `$1`, `$2`, ... in order: the given type, else the inferred one, else text.
fn parameter_types(plan: &LogicalPlan, given: &[Option<SqlType>]) -> Result<(Vec<SqlType>, Told)> {
    let inferred = planned(plan.get_parameter_types())?;
    let mut count = given.len();
    for name in inferred.keys() {
        let number =
            name.trim_start_matches('$').parse::<usize>().ok().filter(|&number| (1..=65_535).contains(&number));
        let Some(number) = number else {
            return Err(Error::invalid(format!("there is no parameter {name}"))
                .with_code(sqlstate::UNDEFINED_PARAMETER)
                .with_hint("Parameters are $1, $2, ..."));
        };
        count = count.max(number);
    }
    let named = |number: usize| inferred.get(&format!("${number}")).and_then(Option::as_ref);
    let types = (1..=count).map(|number| match (given.get(number - 1).and_then(Option::as_ref), named(number)) {
        (Some(ty), _) => Ok(ty.clone()),
        (None, Some(ty)) => SqlType::from_arrow(ty),
        (None, None) => Ok(SqlType::Varchar),
    });
    let fields = (1..=count).map(|number| Field::new("", named(number).cloned().unwrap_or(DataType::Null), true));
    let told = types_told(&datafusion::arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
    Ok((types.collect::<Result<_>>()?, told))
}

/// The plan of a view of the catalog, from the statement that created it, with the view's column names.
fn view_plan(provider: &Provider<'_>, relation: &Relation) -> Result<LogicalPlan> {
    let broken = || Error::internal(format!("{} has no query in the catalog", relation.title()));
    let statement = parse(&relation.sql)?.into_iter().next().ok_or_else(broken)?.statement;
    let query = match statement {
        Statement::CreateView(view) | Statement::CreateMaterializedView(view) => view.query,
        Statement::Query(query) => query,
        _ => return Err(broken()),
    };
    debug_assert_eq!(relation.kind, RelationKind::View);
    let plan = plan_query(provider, *query, &[], true)?;
    planned(rename(plan, &relation.columns))
}
