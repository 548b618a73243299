//! Indexes and schemas, ALTER ... RENAME, COMMENT ON.

use sqlparser::tokenizer::Token;

use super::super::statement::{
    Comment, CreateIndex, CreateSchema, DropSchema, Name, ObjectKind, ObjectName, Rename, RoleName, Statement,
};
use super::create::{name_of, object_kind};
use super::cursor::{Cursor, fold, object_name};
use crate::base::{Error, Result};

/// `[name] ON relation [USING method] (column, ...) [INCLUDE (...)]`, behind CREATE INDEX.
pub(super) fn index(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_not_exists = cursor.take_words(&["if", "not", "exists"]);
    let name = if cursor.peek_is_word("on") { None } else { Some(cursor.name()?) };
    cursor.expect_words(&["on"])?;
    let relation = cursor.name()?;
    if cursor.take_words(&["using"]) && !cursor.take_words(&["btree"]) {
        return Err(Error::unsupported("CREATE INDEX USING is not supported for this method")
            .with_hint("Leave USING out: every index is ordered.")
            .at(cursor.position()));
    }
    cursor.expect(&Token::LParen)?;
    let mut columns = Vec::new();
    loop {
        let position = cursor.position();
        if cursor.peek_is(&Token::LParen) || cursor.peek_nth(1) == Some(&Token::LParen) {
            return Err(Error::unsupported("an index over an expression is not supported")
                .with_hint("Make the expression a column of a materialized view, and index that.")
                .at(position));
        }
        columns.push(cursor.column_name()?);
        // The order within an index is ours: rows are found by equality.
        if !cursor.take_words(&["asc"]) {
            cursor.take_words(&["desc"]);
        }
        if cursor.take_words(&["nulls"]) && !cursor.take_words(&["first"]) {
            cursor.expect_words(&["last"])?;
        }
        if cursor.take(&Token::RParen) {
            break;
        }
        cursor.expect(&Token::Comma)?;
    }
    if cursor.take_words(&["include"]) {
        // Every index holds whole rows.
        cursor.name_list()?;
    }
    if cursor.peek_is_word("where") {
        return Err(Error::unsupported("an index over some of the rows is not supported")
            .with_hint("Make a materialized view of these rows, and index that.")
            .at(cursor.position()));
    }
    Ok(Statement::CreateIndex(CreateIndex { name, if_not_exists, relation, columns }))
}

/// `[IF NOT EXISTS] name`, behind CREATE SCHEMA.
pub(super) fn schema(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_not_exists = cursor.take_words(&["if", "not", "exists"]);
    let name = if cursor.peek_is_word("authorization") { None } else { Some(cursor.column_name()?) };
    let owner = match cursor.take_words(&["authorization"]) {
        true => Some(super::access::role_name(cursor)?),
        false => None,
    };
    let name = match (name, &owner) {
        (Some(name), _) => name,
        // The schema is called like its owner.
        (None, Some(RoleName::Named(owner))) => owner.clone(),
        (None, _) => return Err(cursor.unexpected("the name of the schema")),
    };
    Ok(Statement::CreateSchema(CreateSchema { name, if_not_exists, owner }))
}

/// `[IF EXISTS] name [CASCADE | RESTRICT]`, behind DROP SCHEMA.
pub(super) fn drop_schema(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_exists = cursor.take_words(&["if", "exists"]);
    let name = cursor.column_name()?;
    let cascade = cursor.take_words(&["cascade"]);
    if !cascade {
        cursor.take_words(&["restrict"]);
    }
    Ok(Statement::DropSchema(DropSchema { name, if_exists, cascade }))
}

/// `ALTER kind [IF EXISTS] name RENAME TO other`.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let start = cursor.position();
    cursor.advance();
    if super::access::role_word(cursor).is_some() {
        return super::access::alter_role(cursor);
    }
    if cursor.take_words(&["secret"]) {
        return super::secret::alter(cursor);
    }
    let refused = |what: String| {
        Error::unsupported(format!("{what} is not supported"))
            .with_hint("DROP the object and CREATE it anew; its dependents with DROP ... CASCADE.")
            .at(start)
    };
    for (word, object) in [("schema", ObjectName::Schema as fn(Name) -> ObjectName), ("database", ObjectName::Database)]
    {
        if cursor.peek_is_word(word) && matches!(cursor.peek_nth(1), Some(Token::Word(_))) {
            cursor.advance();
            let named = object(cursor.column_name()?);
            let shown = word.to_uppercase();
            return super::access::owner(cursor, named)?.ok_or_else(|| refused(format!("ALTER {shown} ...")));
        }
    }
    let Some(kind) = object_kind(cursor, false) else {
        let word = cursor.peek_word().unwrap_or_default().to_uppercase();
        return Err(refused(format!("ALTER {word}").trim_end().to_string()));
    };
    let if_exists = cursor.take_words(&["if", "exists"]);
    let name = name_of(cursor, kind)?;
    if let Some(owner) = super::access::owner(cursor, ObjectName::Relation(Some(kind), name.clone()))? {
        return Ok(owner);
    }
    if kind == ObjectKind::Function {
        return Err(refused("ALTER FUNCTION".to_string()));
    }
    if !cursor.take_words(&["rename", "to"]) {
        let word = cursor.peek_word().unwrap_or_default().to_uppercase();
        return Err(refused(format!("ALTER {} ... {word}", kind.to_string().to_uppercase())));
    }
    Ok(Statement::Rename(Rename { kind, if_exists, name, to: cursor.column_name()? }))
}

/// `COMMENT ON kind name IS 'text' | NULL`.
pub(super) fn comment(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    cursor.expect_words(&["on"])?;
    if cursor.take_words(&["secret"]) {
        return super::secret::comment(cursor);
    }
    let (kind, name, column) = if cursor.take_words(&["column"]) {
        let (name, column) = column_of(cursor)?;
        (None, name, Some(column))
    } else {
        let Some(kind) = object_kind(cursor, false) else {
            return Err(cursor.unexpected("SOURCE, TABLE, VIEW, MATERIALIZED VIEW, SINK, INDEX or COLUMN"));
        };
        (Some(kind), name_of(cursor, kind)?, None)
    };
    cursor.expect_words(&["is"])?;
    let text = match cursor.peek_nth(0) {
        Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => Some(text.clone()),
        Some(_) if cursor.peek_is_word("null") => None,
        _ => return Err(cursor.unexpected("a text or NULL")),
    };
    cursor.advance();
    Ok(Statement::Comment(Comment { kind, name, column, text }))
}

/// `relation.column` or `schema.relation.column`.
fn column_of(cursor: &mut Cursor<'_>) -> Result<(Name, Name)> {
    let position = cursor.position();
    let mut name = cursor.with_parser(|parser| parser.parse_object_name(false))?;
    let last = if name.0.len() > 1 { name.0.pop() } else { None };
    let Some(ident) = last.as_ref().and_then(|part| part.as_ident()) else {
        return Err(Error::syntax("a column is named with its relation")
            .with_hint("Write COMMENT ON COLUMN relation.column IS '...'.")
            .at(position));
    };
    let column = Name { schema: None, name: fold(ident), position: ident.span.start.column as usize };
    Ok((object_name(&name, position)?, column))
}
