//! INSERT, UPDATE and DELETE as plans whose rows are the table's own rows: what goes in, what goes out.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::{self, Ident, ObjectName, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut};

use super::assigned::assigned;
use super::errors::{hinted, planned};
use super::provider::Provider;
use super::{BindMode, Binder, BoundQuery, plan_query};
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::catalog::{Relation, RelationKind};
use crate::sql::parse::{fold, parse};
use crate::sql::statement::{ColumnDeclaration, Delete, Insert, Name, Query, Statement, Update};
use crate::types::SqlType;

/// A bound INSERT.
#[derive(Clone, Debug)]
pub struct BoundInsert {
    /// Into which table.
    pub table: Arc<Relation>,
    /// Gives the rows to insert: all columns of the table, in order, defaults and generated columns computed.
    pub rows: BoundQuery,
    /// What happens where a row with the key is there already; none: it is an error.
    pub conflict: Option<BoundConflict>,
    /// `RETURNING`, over the rows that were inserted or updated.
    pub returning: Option<BoundQuery>,
}

/// A bound ON CONFLICT.
#[derive(Clone, Debug)]
pub enum BoundConflict {
    /// `DO NOTHING`.
    Nothing,
    /// `DO UPDATE`.
    Update {
        /// Stands for the rows that could not be inserted.
        excluded: Arc<Relation>,
        /// As [`BoundChange::rows`] of an UPDATE, over the table and `excluded`, one row each per key.
        rows: Box<BoundQuery>,
    },
}

/// A bound UPDATE or DELETE.
#[derive(Clone, Debug)]
pub struct BoundChange {
    /// Of which table.
    pub table: Arc<Relation>,
    /// UPDATE: each row that changes, as it was and then as it will be (twice the table's columns).
    /// DELETE: each row that goes (the table's columns).
    pub rows: BoundQuery,
    /// `RETURNING`, over the rows as they are now, or were when they were deleted.
    pub returning: Option<BoundQuery>,
}

/// What the CREATE TABLE of a table says of its columns.
fn declarations(table: &Relation) -> Result<Vec<ColumnDeclaration>> {
    match parse(&table.sql)?.into_iter().next().map(|parsed| parsed.statement) {
        Some(Statement::CreateTable(created)) => Ok(created.columns),
        _ => Err(Error::internal(format!("{} has no CREATE TABLE in the catalog", table.title()))),
    }
}

/// The target of a change: a table with what its columns are declared as.
pub(super) struct Target {
    pub(super) table: Arc<Relation>,
    pub(super) declared: Vec<ColumnDeclaration>,
}

impl Target {
    pub(super) fn new(binder: &Binder<'_>, name: &Name) -> Result<Self> {
        let table =
            binder.catalog.resolve(name.schema.as_deref(), &name.name).map_err(|error| error.at(name.position))?;
        if table.kind != RelationKind::Table {
            return Err(Error::invalid(format!("{} cannot be changed by a statement", table.title()))
                .with_code(sqlstate::WRONG_OBJECT_TYPE)
                .with_hint("INSERT, UPDATE and DELETE take tables.")
                .at(name.position));
        }
        let declared = declarations(&table)?;
        if declared.len() != table.columns.columns.len() {
            return Err(Error::internal(format!("{} has other columns than its CREATE TABLE", table.title())));
        }
        Ok(Target { table, declared })
    }

    fn types(&self) -> Vec<SqlType> {
        self.table.columns.types()
    }

    /// The place of the column `name`, which a statement may set.
    pub(super) fn column(&self, name: &Name) -> Result<usize> {
        let Some(index) = self.table.columns.index_of(&name.name) else {
            let known = self.table.columns.columns.iter().map(|column| column.name.as_str());
            let message = format!("column \"{}\" of table \"{}\" does not exist", name.name, self.table.name);
            let error = Error::invalid(message).with_code(sqlstate::UNDEFINED_COLUMN).at(name.position);
            return Err(hinted(error, did_you_mean(&name.name, known)));
        };
        if self.declared[index].generated.is_some() {
            return Err(Error::invalid(format!("column \"{}\" is generated and cannot be set", name.name))
                .with_code("428C9")
                .with_hint("Leave it out: it is computed from the others.")
                .at(name.position));
        }
        Ok(index)
    }

    fn default(&self, index: usize) -> ast::Expr {
        self.declared[index].default.clone().unwrap_or_else(|| ast::Expr::Value(Value::Null.into()))
    }
}

/// Whether `expr` is the bare word DEFAULT.
fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// Notes that the parameter `expr` (if it is one) takes values for a column of type `ty`.
fn note_parameter(parameters: &mut Vec<Option<SqlType>>, expr: &ast::Expr, ty: &SqlType) {
    let ast::Expr::Value(value) = expr else { return };
    let Value::Placeholder(name) = &value.value else { return };
    let Some(number) = name.trim_start_matches('$').parse::<usize>().ok().filter(|n| (1..=65_535).contains(n)) else {
        return;
    };
    if parameters.len() < number {
        parameters.resize(number, None);
    }
    parameters[number - 1].get_or_insert_with(|| ty.clone());
}

impl Binder<'_> {
    /// Binds an INSERT. NOT NULL and the primary key are for the table's host to judge.
    pub fn insert(&self, insert: &Insert, parameters: &[Option<SqlType>]) -> Result<BoundInsert> {
        let target = Target::new(self, &insert.table)?;
        let types = target.types();
        let set: Vec<usize> = if insert.columns.is_empty() {
            (0..types.len()).filter(|&i| target.declared[i].generated.is_none()).collect()
        } else {
            insert.columns.iter().map(|name| target.column(name)).collect::<Result<_>>()?
        };
        for (i, index) in set.iter().enumerate() {
            if set[..i].contains(index) {
                return Err(Error::invalid(format!(
                    "column \"{}\" is specified more than once",
                    insert.columns[i].name
                ))
                .with_code(sqlstate::DUPLICATE_COLUMN)
                .at(insert.columns[i].position));
            }
        }
        let mut given = parameters.to_vec();
        let mut provider = self.provider(BindMode::Read);
        let source = match &insert.source {
            None => LogicalPlanBuilder::empty(true).build().map_err(|error| super::errors::translate(error, None))?,
            Some(query) => {
                let mut query = query.clone();
                fill_values(&mut query, &target, &set, &mut given);
                plan_query(&provider, *query, &given, false)?
            }
        };
        let set = if insert.source.is_none() { Vec::new() } else { width_checked(&source, set, insert)? };
        let plan = self.table_rows(&mut provider, source, &target, &set)?;
        let mut rows = self.bound(provider, plan, &given)?;
        let conflict = self.conflict(insert, &target, &mut rows.parameters)?;
        let alias = insert.alias.clone().map(plain_alias);
        let returning = self.returning(&insert.table, alias, insert.returning.as_deref(), &mut rows.parameters)?;
        Ok(BoundInsert { table: target.table, rows, conflict, returning })
    }

    /// `source`, whose columns are the table's columns `set`, with the others filled in.
    pub(super) fn table_rows(
        &self,
        provider: &mut Provider<'_>,
        source: LogicalPlan,
        target: &Target,
        set: &[usize],
    ) -> Result<LogicalPlan> {
        let types = target.types();
        let sources: Vec<Column> = source.schema().columns();
        let mut stored = Vec::new();
        for (index, declared) in target.declared.iter().enumerate() {
            if declared.generated.is_some() {
                continue;
            }
            let value = match set.iter().position(|&column| column == index) {
                Some(at) => Expr::Column(sources[at].clone()),
                None => self.expression(provider, target.default(index), &source)?,
            };
            stored.push(assigned(value, &source, &types[index], declared)?.alias(&declared.name.name));
        }
        let plan = planned(LogicalPlanBuilder::from(source).project(stored).and_then(LogicalPlanBuilder::build))?;
        if target.declared.iter().all(|declared| declared.generated.is_none()) {
            return Ok(plan);
        }
        let mut all = Vec::new();
        for (index, declared) in target.declared.iter().enumerate() {
            let value = match &declared.generated {
                Some(expression) => self.expression(provider, expression.clone(), &plan)?,
                None => Expr::Column(Column::new_unqualified(&declared.name.name)),
            };
            all.push(assigned(value, &plan, &types[index], declared)?.alias(&declared.name.name));
        }
        planned(LogicalPlanBuilder::from(plan).project(all).and_then(LogicalPlanBuilder::build))
    }

    /// Binds an UPDATE.
    pub fn update(&self, update: &Update, parameters: &[Option<SqlType>]) -> Result<BoundChange> {
        let target = Target::new(self, &update.table)?;
        let mut given = parameters.to_vec();
        let items = new_rows(&target, &update.assignments, None, &mut given)?;
        let query = change_query(&update.table, update.alias.clone(), items, update.selection.clone())?;
        let provider = self.provider(BindMode::Read);
        let mut rows = self.changed(provider, query, &target, &given)?;
        let returning =
            self.returning(&update.table, update.alias.clone(), update.returning.as_deref(), &mut rows.parameters)?;
        Ok(BoundChange { table: target.table, rows, returning })
    }

    /// Binds a query of [`new_rows`]: its second half gets the types of the table's columns.
    pub(super) fn changed(
        &self,
        provider: Provider<'_>,
        query: Query,
        target: &Target,
        given: &[Option<SqlType>],
    ) -> Result<BoundQuery> {
        let types = target.types();
        let plan = plan_query(&provider, query, given, false)?;
        let width = types.len();
        let mut row = Vec::new();
        for (i, column) in plan.schema().columns().into_iter().enumerate() {
            let name = column.name.clone();
            let value = Expr::Column(column);
            row.push(match i.checked_sub(width) {
                None => value,
                Some(new) => assigned(value, &plan, &types[new], &target.declared[new])?.alias(name),
            });
        }
        let plan = planned(LogicalPlanBuilder::from(plan).project(row).and_then(LogicalPlanBuilder::build))?;
        self.bound(provider, plan, given)
    }

    /// Binds RETURNING: the items over the rows of the table that a statement has changed. `parameters` are those of
    /// the statement so far, and gain what stands here.
    fn returning(
        &self,
        table: &Name,
        alias: Option<ast::TableAlias>,
        items: Option<&[SelectItem]>,
        parameters: &mut Vec<SqlType>,
    ) -> Result<Option<BoundQuery>> {
        let Some(items) = items else { return Ok(None) };
        let query = change_query(table, alias, items.to_vec(), None)?;
        let given: Vec<Option<SqlType>> = parameters.iter().cloned().map(Some).collect();
        let bound = self.query(&query, BindMode::Read, &given)?;
        if bound.relations.len() > 1 || crate::plan::scans(&bound.plan, bound.relations[0].id) > 1 {
            return Err(Error::unsupported("RETURNING with a sub-query is not supported")
                .with_hint("SELECT afterwards, with the values that RETURNING gave.")
                .at(table.position));
        }
        parameters.clone_from(&bound.parameters);
        Ok(Some(bound))
    }

    /// Binds a DELETE.
    pub fn delete(&self, delete: &Delete, parameters: &[Option<SqlType>]) -> Result<BoundChange> {
        let target = Target::new(self, &delete.table)?;
        let items = target.declared.iter().map(|declared| &declared.name.name);
        let items = items.map(|name| item(column(name, None), name)).collect();
        let query = change_query(&delete.table, delete.alias.clone(), items, delete.selection.clone())?;
        let mut rows = self.query(&query, BindMode::Read, parameters)?;
        let returning =
            self.returning(&delete.table, delete.alias.clone(), delete.returning.as_deref(), &mut rows.parameters)?;
        Ok(BoundChange { table: target.table, rows, returning })
    }
}

/// The items of a query that gives each row as it is and as `assignments` make it; columns are named of `qualifier`.
pub(super) fn new_rows(
    target: &Target,
    assignments: &[(Name, ast::Expr)],
    qualifier: Option<&Ident>,
    given: &mut Vec<Option<SqlType>>,
) -> Result<Vec<SelectItem>> {
    let types = target.types();
    let mut new: Vec<Option<ast::Expr>> = vec![None; types.len()];
    for (name, value) in assignments {
        let index = target.column(name)?;
        note_parameter(given, value, &types[index]);
        let value = if is_default(value) { target.default(index) } else { value.clone() };
        if new[index].replace(value).is_some() {
            return Err(Error::invalid(format!("column \"{}\" is set more than once", name.name))
                .with_code(sqlstate::DUPLICATE_COLUMN)
                .at(name.position));
        }
    }
    let mut items: Vec<SelectItem> = target
        .declared
        .iter()
        .map(|declared| item(column(&declared.name.name, qualifier), &declared.name.name))
        .collect();
    for (index, declared) in target.declared.iter().enumerate() {
        let value = match &declared.generated {
            Some(expression) => with_new_values(expression.clone(), target, &new, qualifier),
            None => new[index].clone().unwrap_or_else(|| column(&declared.name.name, qualifier)),
        };
        items.push(item(value, &format!("__new_{}", declared.name.name)));
    }
    Ok(items)
}

fn plain_alias(name: Ident) -> ast::TableAlias {
    ast::TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

/// Replaces DEFAULT in the rows of VALUES, and notes the types of parameters that stand there.
fn fill_values(query: &mut Query, target: &Target, set: &[usize], parameters: &mut Vec<Option<SqlType>>) {
    let types = target.types();
    let SetExpr::Values(values) = query.body.as_mut() else { return };
    for row in &mut values.rows {
        for (value, &index) in row.content.iter_mut().zip(set) {
            if is_default(value) {
                *value = target.default(index);
            }
            note_parameter(parameters, value, &types[index]);
        }
    }
    // Beside values of another kind a text is read as the column's type: `(ARRAY[1]), ('{}')`.
    let is_text = |value: &ast::Expr| matches!(value, ast::Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    for (at, &index) in set.iter().enumerate() {
        let mut column = values.rows.iter().filter_map(|row| row.content.get(at));
        let texts = column.clone().filter(|value| is_text(value)).count();
        let Some(data_type) = target.declared[index].data_type.clone() else { continue };
        if texts == 0 || types[index] == SqlType::Varchar || column.all(is_text) {
            continue;
        }
        let is_float = matches!(types[index], SqlType::Real | SqlType::Double);
        let read = |value: &ast::Expr| is_text(value) || (is_float && is_number(value));
        for value in values.rows.iter_mut().filter_map(|row| row.content.get_mut(at)).filter(|value| read(value)) {
            let (kind, expr) = (ast::CastKind::Cast, Box::new(value.clone()));
            *value = ast::Expr::Cast { kind, expr, data_type: data_type.clone(), array: false, format: None };
        }
    }
}

/// Whether `expr` is a number as it is written.
fn is_number(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Value(value) => matches!(value.value, Value::Number(..)),
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => is_number(expr),
        _ => false,
    }
}

/// The columns that `source` sets: as many as it has.
fn width_checked(source: &LogicalPlan, mut set: Vec<usize>, insert: &Insert) -> Result<Vec<usize>> {
    let width = source.schema().fields().len();
    let problem = if width > set.len() {
        "INSERT has more expressions than target columns"
    } else if width < set.len() && !insert.columns.is_empty() {
        "INSERT has more target columns than expressions"
    } else {
        set.truncate(width);
        return Ok(set);
    };
    Err(Error::syntax(problem)
        .with_detail(format!("The source has {width} columns, the target {}.", set.len()))
        .with_hint("Name the columns: INSERT INTO table (a, b) ...")
        .at(insert.table.position))
}

/// The column `name`, of `qualifier`.
pub(super) fn column(name: &str, qualifier: Option<&Ident>) -> ast::Expr {
    let column = Ident::with_quote('"', name);
    match qualifier {
        Some(qualifier) => ast::Expr::CompoundIdentifier(vec![qualifier.clone(), column]),
        None => ast::Expr::Identifier(column),
    }
}

fn item(expr: ast::Expr, alias: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) }
}

/// A generated column's expression over the values that an UPDATE sets.
fn with_new_values(
    mut expression: ast::Expr,
    target: &Target,
    new: &[Option<ast::Expr>],
    qualifier: Option<&Ident>,
) -> ast::Expr {
    let _ = expression.visit(&mut NewValues { target, new, qualifier });
    expression
}

/// Puts new values where columns are named. It replaces on the way up, so that names inside a value (which mean the row
/// as it was) are not replaced again.
struct NewValues<'a> {
    target: &'a Target,
    new: &'a [Option<ast::Expr>],
    qualifier: Option<&'a Ident>,
}

impl VisitorMut for NewValues<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Identifier(ident) = expr
            && let Some(index) = self.target.table.columns.index_of(&fold(ident))
        {
            let Some(Some(value)) = self.new.get(index) else {
                *expr = column(&self.target.table.columns.columns[index].name, self.qualifier);
                return ControlFlow::Continue(());
            };
            let value = Box::new(ast::Expr::Nested(Box::new(value.clone())));
            *expr = match self.target.declared[index].data_type.clone() {
                Some(data_type) => {
                    let kind = ast::CastKind::Cast;
                    ast::Expr::Cast { kind, expr: value, data_type, array: false, format: None }
                }
                None => *value,
            };
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT items FROM table AS alias WHERE selection`.
pub(super) fn change_query(
    table: &Name,
    alias: Option<ast::TableAlias>,
    items: Vec<SelectItem>,
    selection: Option<ast::Expr>,
) -> Result<Query> {
    let template = parse("SELECT 1 FROM t")?.into_iter().next().map(|parsed| parsed.statement);
    let Some(Statement::Query(mut query)) = template else {
        return Err(Error::internal("the template of a change is no query"));
    };
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("the template of a change is no SELECT"));
    };
    select.projection = items;
    select.selection = selection;
    if let Some(TableFactor::Table { name, alias: to, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
        let parts = table.schema.iter().chain([&table.name]).map(|part| Ident::with_quote('"', part));
        *name = ObjectName::from(parts.collect::<Vec<_>>());
        *to = alias;
    }
    Ok(*query)
}

impl Binder<'_> {
    /// An expression over the columns of `input`.
    pub(super) fn expression(
        &self,
        provider: &Provider<'_>,
        expression: ast::Expr,
        input: &LogicalPlan,
    ) -> Result<Expr> {
        super::check::check(&expression, provider)?;
        let mut expression = expression;
        super::rows::rewrite(&mut expression)?;
        super::operators::rewrite(&mut expression);
        let planner = datafusion::sql::planner::SqlToRel::new_with_options(provider, super::options());
        let mut context = datafusion::sql::planner::PlannerContext::new();
        planned(planner.sql_to_expr(expression, input.schema(), &mut context))
    }
}
