//! CREATE SOURCE and CREATE TABLE: columns with types, keys, generated columns, defaults and the watermark.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{EmptyRelation, Expr as Logical, ExprSchemable, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use sqlparser::ast::{self, Spanned};

use super::errors::{hinted, planned};
use super::provider::Provider;
use super::spellings::length_of;
use super::types::sql_type;
use super::{BindMode, Binder};
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::catalog::Relation;
use crate::functions::{BinaryOp, Expr, PROCTIME, Value, from_datafusion};
use crate::sql::statement::{CreateRelation, Name, ObjectKind};
use crate::types::{Column, RelationId, Schema, SqlType};

/// A source or table as its CREATE statement defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct RelationDefinition {
    /// All its columns, generated ones among them; those of the primary key are not nullable.
    pub schema: Schema,
    /// Generated columns: place and value, over `schema`'s columns (only those that are not generated).
    pub generated: Vec<(usize, Expr)>,
    /// Places of the primary key.
    pub primary_key: Vec<usize>,
    /// `WATERMARK FOR`.
    pub watermark: Option<WatermarkDefinition>,
    /// Functions of users that its expressions call.
    pub functions: Vec<Arc<Relation>>,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug, PartialEq)]
pub struct WatermarkDefinition {
    /// The event-time column.
    pub column: usize,
    /// What it promises, over the relation's columns.
    pub expression: Expr,
    /// When it is the column less a fixed time: how much, in microseconds.
    pub delay_us: Option<i64>,
}

impl Binder<'_> {
    /// Defines a source or table. `inferred` are the columns that the connector found, for a source that declares none.
    pub fn definition(
        &self,
        create: &CreateRelation,
        kind: ObjectKind,
        inferred: Option<&Schema>,
    ) -> Result<RelationDefinition> {
        if let Some(include) = create.include.first() {
            return Err(Error::unsupported(format!("INCLUDE {} is not supported", include.what.name))
                .with_hint("Leave INCLUDE out: records of files carry nothing beside their columns.")
                .at(include.what.position));
        }
        let mut schema = Schema::default();
        let declares_none = create.columns.iter().all(|column| column.generated.is_some());
        if declares_none {
            let Some(inferred) = inferred else {
                return Err(Error::syntax(format!("{kind} \"{}\" has no columns", create.name.name))
                    .with_hint(
                        "Declare them: (id BIGINT, ts TIMESTAMP, ...). Only Parquet, and CSV with a header, tell them.",
                    )
                    .at(create.name.position));
            };
            schema = inferred.clone();
        }
        let mut places = Vec::new();
        for column in &create.columns {
            if schema.index_of(&column.name.name).is_some() {
                return Err(Error::invalid(format!("column \"{}\" is specified more than once", column.name.name))
                    .with_code(sqlstate::DUPLICATE_COLUMN)
                    .with_hint("Rename one of them.")
                    .at(column.name.position));
            }
            places.push(schema.columns.len());
            // A generated column without a type has one once its expression is bound, below.
            let ty = match &column.data_type {
                // What comes from elsewhere is not written by a statement, which counts the characters.
                Some(ty)
                    if kind == ObjectKind::Table && create.options.values.is_empty() && length_of(ty).is_some() =>
                {
                    SqlType::Varchar
                }
                Some(ty) => sql_type(ty).map_err(|error| error.at(column.name.position))?,
                None => SqlType::Varchar,
            };
            schema.columns.push(Column { name: column.name.name.clone(), ty, nullable: !column.not_null });
        }
        let provider = self.provider(BindMode::Stored);
        let generated = self.generated(&provider, create, &mut schema, &places)?;
        let primary_key = primary_key(create, kind, &mut schema)?;
        let watermark = self.watermark(&provider, create, kind, &schema)?;
        let mut named = provider.named.into_inner();
        named.extend(self.defaults(create, kind, &schema)?);
        let functions = named.into_values().collect();
        Ok(RelationDefinition { schema, generated, primary_key, watermark, functions })
    }

    fn generated(
        &self,
        provider: &Provider<'_>,
        create: &CreateRelation,
        schema: &mut Schema,
        places: &[usize],
    ) -> Result<Vec<(usize, Expr)>> {
        let computed: Vec<usize> = create
            .columns
            .iter()
            .zip(places)
            .filter(|(column, _)| column.generated.is_some())
            .map(|(_, &at)| at)
            .collect();
        let stored: Vec<usize> = (0..schema.columns.len()).filter(|at| !computed.contains(at)).collect();
        let input = schema.project(&stored);
        let mut generated = Vec::new();
        for (column, &at) in create.columns.iter().zip(places) {
            let Some(expression) = &column.generated else { continue };
            let mut value = match is_proctime(expression) {
                true => proctime(),
                false => self.expression_over(provider, expression, &input)?,
            };
            let ty = value.ty(&input)?;
            match &column.data_type {
                Some(_) if schema.columns[at].ty != ty => value = value.cast(schema.columns[at].ty.clone()),
                Some(_) => {}
                None => schema.columns[at].ty = ty,
            }
            value.map_columns(&mut |i| stored.get(i).copied().unwrap_or(i));
            generated.push((at, value));
        }
        Ok(generated)
    }

    /// DEFAULTs are bound anew by each INSERT, which may ask for the time: what it gave lies in the log. Here they are
    /// only tried; the functions that they call are given.
    fn defaults(
        &self,
        create: &CreateRelation,
        kind: ObjectKind,
        schema: &Schema,
    ) -> Result<BTreeMap<RelationId, Arc<Relation>>> {
        let provider = self.provider(BindMode::Read);
        for column in &create.columns {
            let Some(default) = &column.default else { continue };
            let at = position(default, column.name.position);
            if kind == ObjectKind::Source {
                return Err(Error::unsupported("DEFAULT of a source's column is not supported")
                    .with_hint("Write coalesce(column, value) in a view over the source.")
                    .at(at));
            }
            let ty = self.default_type(&provider, default, at)?;
            let wanted = schema.index_of(&column.name.name).map(|i| schema.columns[i].ty.clone());
            let fits = wanted
                .as_ref()
                .is_some_and(|wanted| datafusion::arrow::compute::can_cast_types(&ty.arrow(), &wanted.arrow()));
            if !fits {
                return Err(Error::invalid(format!("default of column \"{}\" is of type {ty}", column.name.name))
                    .with_code(sqlstate::DATATYPE_MISMATCH)
                    .with_hint("Write a value of the column's type.")
                    .at(at));
            }
        }
        Ok(provider.named.into_inner())
    }

    fn default_type(&self, provider: &Provider<'_>, default: &ast::Expr, at: usize) -> Result<SqlType> {
        let refused = |what: &str| {
            Err(Error::unsupported(format!("{what} in a DEFAULT is not supported"))
                .with_hint("Write a value, or a function of values and of the time.")
                .at(at))
        };
        let reads = |expr: &ast::Expr| match expr {
            ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        if ast::visit_expressions(default, reads).is_break() {
            return refused("a sub-query");
        }
        let nothing =
            LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(DFSchema::empty()) });
        let value = self.expression(provider, default.clone(), &nothing)?;
        let folds = |expr: &Logical| Ok(matches!(expr, Logical::AggregateFunction(_) | Logical::WindowFunction(_)));
        if planned(value.exists(folds))? {
            return refused("an aggregate");
        }
        SqlType::from_arrow(&planned(value.get_type(nothing.schema()))?)
    }

    fn watermark(
        &self,
        provider: &Provider<'_>,
        create: &CreateRelation,
        kind: ObjectKind,
        schema: &Schema,
    ) -> Result<Option<WatermarkDefinition>> {
        let Some(declared) = &create.watermark else { return Ok(None) };
        let at = declared.column.position;
        if kind == ObjectKind::Table {
            return Err(Error::unsupported("WATERMARK FOR of a table is not supported")
                .with_hint("Declare it on a SOURCE; windows over a table are revised as it changes.")
                .at(at));
        }
        let column = find(schema, &declared.column)?;
        let ty = &schema.columns[column].ty;
        if !ty.is_timestamp() {
            return Err(Error::invalid(format!("watermark column \"{}\" is of type {ty}", declared.column.name))
                .with_code(sqlstate::DATATYPE_MISMATCH)
                .with_hint("It must be TIMESTAMP or TIMESTAMPTZ; add a generated column that casts it.")
                .at(at));
        }
        let expression = self.expression_over(provider, &declared.expression, schema)?;
        let found = expression.ty(schema)?;
        if found != *ty {
            return Err(Error::invalid(format!(
                "watermark of column \"{}\" is of type {found}, not {ty}",
                declared.column.name
            ))
            .with_code(sqlstate::DATATYPE_MISMATCH)
            .with_hint(format!("Write for instance {} - INTERVAL '5 seconds'.", declared.column.name))
            .at(position(&declared.expression, at)));
        }
        let delay_us = delay(&expression, column);
        Ok(Some(WatermarkDefinition { column, expression, delay_us }))
    }

    /// An expression over rows of `input`, in the IR, with the names that `provider` knows.
    pub(super) fn expression_over(
        &self,
        provider: &Provider<'_>,
        expression: &ast::Expr,
        input: &Schema,
    ) -> Result<Expr> {
        let schema = Arc::new(planned(DFSchema::try_from(input.arrow().as_ref().clone()))?);
        let plan = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::clone(&schema) });
        let bound = self.expression(provider, expression.clone(), &plan)?;
        let context = SimplifyContext::builder().with_config_options(Arc::clone(self.session.config_options())).build();
        let coerced = planned(ExprSimplifier::new(context).coerce(bound, &schema))?;
        from_datafusion(&coerced, &schema).map_err(|error| error.at(position(expression, 1)))
    }
}

/// Whether a generated column is PROCTIME(): of a table the clock of the statement, of a source that of the epoch.
fn is_proctime(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case(PROCTIME))
}

fn proctime() -> Expr {
    Expr::Call { function: PROCTIME.to_string(), args: Vec::new(), ty: SqlType::TimestampTz }
}

fn position(expr: &ast::Expr, otherwise: usize) -> usize {
    let at = expr.span().start.column as usize;
    if at > 0 { at } else { otherwise }
}

fn find(schema: &Schema, name: &Name) -> Result<usize> {
    schema.index_of(&name.name).ok_or_else(|| {
        let known = schema.columns.iter().map(|column| column.name.as_str());
        let error = Error::invalid(format!("column \"{}\" does not exist", name.name))
            .with_code(sqlstate::UNDEFINED_COLUMN)
            .at(name.position);
        hinted(error, did_you_mean(&name.name, known))
    })
}

fn primary_key(create: &CreateRelation, kind: ObjectKind, schema: &mut Schema) -> Result<Vec<usize>> {
    let mut key = Vec::new();
    for name in &create.primary_key {
        if kind == ObjectKind::Source {
            return Err(Error::unsupported("PRIMARY KEY of a source is not supported")
                .with_hint("A source only adds rows: leave PRIMARY KEY out.")
                .at(name.position));
        }
        let at = find(schema, name)?;
        if key.contains(&at) {
            return Err(Error::invalid(format!("column \"{}\" appears twice in primary key", name.name))
                .with_code(sqlstate::DUPLICATE_COLUMN)
                .with_hint("Name it once.")
                .at(name.position));
        }
        if create.columns.iter().any(|column| column.name.name == name.name && column.generated.is_some()) {
            return Err(Error::unsupported("a generated column in the primary key is not supported")
                .with_hint("Name columns that INSERT gives.")
                .at(name.position));
        }
        schema.columns[at].nullable = false;
        key.push(at);
    }
    Ok(key)
}

/// `column` or `column - interval` without months.
fn delay(expression: &Expr, column: usize) -> Option<i64> {
    match expression {
        Expr::Column(found) if *found == column => Some(0),
        Expr::Binary { op: BinaryOp::Subtract, left, right } => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(found), Expr::Literal(literal)) if *found == column => match literal.value {
                Value::Interval { months: 0, days, nanoseconds } if nanoseconds % 1_000 == 0 => {
                    i64::from(days).checked_mul(86_400_000_000)?.checked_add(nanoseconds / 1_000)
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}
