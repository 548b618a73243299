//! Queries and changes of tables: sqlparser parses them, here they are narrowed to what we execute.

use sqlparser::ast::{
    self, AssignmentTarget, ConflictTarget, FromTable, OnConflictAction, OnInsert, Spanned, TableFactor, TableObject,
};

use sqlparser::tokenizer::Token;

use super::super::statement::{ConflictAction, Delete, Insert, Name, OnConflict, Statement, Update};
use super::cursor::{Cursor, fold, object_name};
use crate::base::{Error, Result};

pub(super) fn query(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let position = cursor.position();
    let query = cursor.with_parser(|parser| parser.parse_query())?;
    refuse_changes_in_query(&query, position)?;
    Ok(Statement::Query(query))
}

/// `WITH x AS (...) INSERT/UPDATE/DELETE` parses as a query.
fn refuse_changes_in_query(query: &ast::Query, position: usize) -> Result<()> {
    match query.body.as_ref() {
        ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_) => {
            Err(refused("WITH before INSERT, UPDATE or DELETE", "Move the WITH into the query or condition.", position))
        }
        _ => Ok(()),
    }
}

pub(super) fn change(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let position = cursor.position();
    match cursor.with_parser(|parser| parser.parse_statement())? {
        ast::Statement::Insert(insert) => insert_statement(insert, position),
        ast::Statement::Update(update) => update_statement(update, position),
        ast::Statement::Delete(delete) => delete_statement(delete, position),
        _ => Err(cursor.unexpected("INSERT, UPDATE or DELETE")),
    }
}

fn refused(what: &str, rewrite: &str, position: usize) -> Error {
    Error::unsupported(format!("{what} is not supported")).with_hint(rewrite).at(position)
}

fn insert_statement(insert: ast::Insert, position: usize) -> Result<Statement> {
    if insert.overwrite || insert.replace_into || insert.or.is_some() || insert.partitioned.is_some() {
        return Err(refused("this form of INSERT", "Write INSERT INTO table (columns) VALUES (...).", position));
    }
    let TableObject::TableName(table) = &insert.table else {
        return Err(refused("INSERT into a function", "Write INSERT INTO table.", position));
    };
    let columns = insert.columns.iter().map(|name| object_name(name, position)).collect::<Result<Vec<_>>>()?;
    if let Some(query) = &insert.source {
        refuse_changes_in_query(query, position)?;
    }
    let on_conflict = insert.on.map(|on| conflict(on, position)).transpose()?;
    Ok(Statement::Insert(Box::new(Insert {
        table: object_name(table, position)?,
        columns,
        source: insert.source,
        alias: insert.table_alias.map(|alias| alias.alias),
        on_conflict,
        returning: insert.returning,
    })))
}

fn conflict(on: OnInsert, position: usize) -> Result<OnConflict> {
    let OnInsert::OnConflict(on) = on else {
        return Err(refused("ON DUPLICATE KEY UPDATE", "Write ON CONFLICT (key) DO UPDATE SET ...", position));
    };
    let target = match on.conflict_target {
        None => Vec::new(),
        Some(ConflictTarget::Columns(columns)) => columns
            .iter()
            .map(|ident| Name { schema: None, name: fold(ident), position: ident.span.start.column as usize })
            .collect(),
        Some(ConflictTarget::OnConstraint(_)) => {
            return Err(refused("ON CONFLICT ON CONSTRAINT", "Name the columns: ON CONFLICT (key).", position));
        }
    };
    let action = match on.action {
        OnConflictAction::DoNothing => ConflictAction::Nothing,
        OnConflictAction::DoUpdate(update) => {
            if target.is_empty() {
                return Err(Error::syntax("ON CONFLICT DO UPDATE requires the columns of the conflict")
                    .with_hint("Name the primary key: ON CONFLICT (key) DO UPDATE SET ...")
                    .at(position));
            }
            let assignments = assignments(update.assignments, position)?;
            ConflictAction::Update { assignments, selection: update.selection.map(Box::new) }
        }
    };
    Ok(OnConflict { target, action })
}

/// `SET a = ..., b = ...`.
fn assignments(assignments: Vec<ast::Assignment>, position: usize) -> Result<Vec<(Name, ast::Expr)>> {
    let one = |assignment: ast::Assignment| match assignment.target {
        AssignmentTarget::ColumnName(name) => Ok((object_name(&name, position)?, assignment.value)),
        AssignmentTarget::Tuple(_) => {
            let at = assignment.value.span().start.column as usize;
            Err(refused("SET (a, b) = ...", "Write SET a = ..., b = ...", if at > 0 { at } else { position }))
        }
    };
    assignments.into_iter().map(one).collect()
}

fn update_statement(update: ast::Update, position: usize) -> Result<Statement> {
    if update.from.is_some() || !update.table.joins.is_empty() {
        return Err(refused("UPDATE ... FROM", "Write the other table as a sub-query in SET or WHERE.", position));
    }
    if update.limit.is_some() || !update.order_by.is_empty() {
        return Err(refused("UPDATE ... LIMIT", "Say which rows in WHERE.", position));
    }
    let (table, alias) = plain_table(&update.table.relation, position)?;
    let (assignments, returning) = (assignments(update.assignments, position)?, update.returning);
    let selection = update.selection;
    Ok(Statement::Update(Box::new(Update { table, alias, assignments, selection, returning })))
}

fn delete_statement(delete: ast::Delete, position: usize) -> Result<Statement> {
    if delete.using.is_some() {
        return Err(refused("DELETE ... USING", "Write the other table as a sub-query in WHERE.", position));
    }
    if delete.limit.is_some() || !delete.order_by.is_empty() {
        return Err(refused("DELETE ... LIMIT", "Say which rows in WHERE.", position));
    }
    let tables = match &delete.from {
        FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => tables,
    };
    let [table] = tables.as_slice() else {
        return Err(refused("DELETE from several tables", "Write one DELETE for each.", position));
    };
    if !table.joins.is_empty() || !delete.tables.is_empty() {
        return Err(refused("DELETE with joins", "Write the other table as a sub-query in WHERE.", position));
    }
    let (table, alias) = plain_table(&table.relation, position)?;
    let (selection, returning) = (delete.selection, delete.returning);
    Ok(Statement::Delete(Box::new(Delete { table, alias, selection, returning, truncates: false })))
}

/// `TRUNCATE [TABLE] [ONLY] table [RESTART | CONTINUE IDENTITY] [RESTRICT | CASCADE]`: a DELETE of all rows. No table has an identity
/// or refers to another.
pub(super) fn truncate(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    cursor.take_words(&["table"]);
    cursor.take_words(&["only"]);
    let table = cursor.name()?;
    if cursor.peek_is(&Token::Comma) {
        return Err(refused("TRUNCATE of several tables", "Write one TRUNCATE for each.", cursor.position()));
    }
    for words in [&["restart", "identity"][..], &["continue", "identity"], &["restrict"], &["cascade"]] {
        cursor.take_words(words);
    }
    Ok(Statement::Delete(Box::new(Delete { table, alias: None, selection: None, returning: None, truncates: true })))
}

/// The table of UPDATE and DELETE: a name with at most an alias.
fn plain_table(factor: &TableFactor, position: usize) -> Result<(Name, Option<ast::TableAlias>)> {
    match factor {
        TableFactor::Table { name, alias, args: None, .. } => Ok((object_name(name, position)?, alias.clone())),
        _ => Err(refused("a change of anything but a table", "Name a table.", position)),
    }
}
