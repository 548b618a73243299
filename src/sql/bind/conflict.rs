//! ON CONFLICT: which rows of an INSERT meet one that is there, and what becomes of it.

use std::sync::Arc;

use sqlparser::ast::{self, BinaryOperator, Ident, ObjectName, SetExpr, TableFactor};

use super::change::{BoundConflict, Target, change_query, column, new_rows};
use super::{BindMode, Binder};
use crate::base::{Error, Result, sqlstate};
use crate::catalog::{Relation, RelationKind};
use crate::sql::statement::{ConflictAction, Insert, OnConflict};
use crate::types::{Column, RelationId, Schema, SqlType};

/// The name of the rows that could not be inserted.
const EXCLUDED: &str = "excluded";
/// Its number in plans; no relation of the catalog has it.
const EXCLUDED_ID: RelationId = RelationId(u64::MAX);

impl Binder<'_> {
    /// Binds ON CONFLICT. `parameters` are those of the statement so far, and gain what stands here.
    pub(super) fn conflict(
        &self,
        insert: &Insert,
        target: &Target,
        parameters: &mut Vec<SqlType>,
    ) -> Result<Option<BoundConflict>> {
        let Some(on) = &insert.on_conflict else { return Ok(None) };
        check_target(on, &target.table)?;
        let ConflictAction::Update { assignments, selection } = &on.action else {
            return Ok(Some(BoundConflict::Nothing));
        };
        let nullable = target.table.columns.columns.iter().map(|column| Column { nullable: true, ..column.clone() });
        let columns = Schema::new(nullable.collect());
        let excluded = Arc::new(Relation::new(EXCLUDED_ID, EXCLUDED, RelationKind::Table, columns));
        let mut provider = self.provider(BindMode::Read);
        provider.extra = Some(Arc::clone(&excluded));
        let mut given: Vec<Option<SqlType>> = parameters.iter().cloned().map(Some).collect();
        let own = match &insert.alias {
            Some(alias) => alias.clone(),
            None => Ident::with_quote('"', &insert.table.name),
        };
        let items = new_rows(target, assignments, Some(&own), &mut given)?;
        let alias =
            insert.alias.clone().map(|name| ast::TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        let other = Ident::with_quote('"', EXCLUDED);
        let names = target.table.primary_key.iter().filter_map(|&key| target.table.columns.columns.get(key));
        let same_key = names.map(|key| equal(column(&key.name, Some(&own)), column(&key.name, Some(&other))));
        let wanted = selection.clone().map(ast::Expr::Nested);
        let condition = same_key.chain(wanted).reduce(and);
        let mut query = change_query(&insert.table, alias, items, condition)?;
        read_also(&mut query, other);
        let rows = self.changed(provider, query, target, &given)?;
        parameters.clone_from(&rows.parameters);
        Ok(Some(BoundConflict::Update { excluded, rows: Box::new(rows) }))
    }
}

/// The columns of the conflict must be the primary key: nothing else is unique.
fn check_target(on: &OnConflict, table: &Relation) -> Result<()> {
    let mut named = Vec::new();
    for name in &on.target {
        let Some(index) = table.columns.index_of(&name.name) else {
            return Err(Error::invalid(format!("column \"{}\" does not exist", name.name))
                .with_code(sqlstate::UNDEFINED_COLUMN)
                .with_hint("Name columns of the primary key.")
                .at(name.position));
        };
        named.push(index);
    }
    named.sort_unstable();
    let mut key = table.primary_key.clone();
    key.sort_unstable();
    let Some(first) = on.target.first().filter(|_| named != key) else { return Ok(()) };
    let hint = match table.primary_key.is_empty() {
        true => format!("Table \"{}\" has no primary key: leave ON CONFLICT out.", table.name),
        false => {
            let names = table.primary_key.iter().filter_map(|&key| table.columns.columns.get(key));
            let names = names.map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            format!("Name the primary key: ON CONFLICT ({names}).")
        }
    };
    Err(Error::invalid("there is no unique constraint matching the ON CONFLICT specification")
        .with_code("42P10")
        .with_hint(hint)
        .at(first.position))
}

fn equal(left: ast::Expr, right: ast::Expr) -> ast::Expr {
    ast::Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Eq, right: Box::new(right) }
}

fn and(left: ast::Expr, right: ast::Expr) -> ast::Expr {
    ast::Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// Adds `relation` to FROM.
fn read_also(query: &mut ast::Query, relation: Ident) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(mut also) = select.from.first().cloned() else { return };
    if let TableFactor::Table { name, alias, .. } = &mut also.relation {
        *name = ObjectName::from(vec![relation]);
        *alias = None;
    }
    select.from.push(also);
}
