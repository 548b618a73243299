//! Secrets: CREATE, ALTER, DROP SECRET, and where options name one.

use sqlparser::tokenizer::Token;

use super::super::statement::{AccessStatement, Name, ObjectName, SecretStatement, Statement};
use super::access;
use super::cursor::Cursor;
use crate::base::{Error, Result, Secret};

/// The longest value, in bytes: above any certificate with its key.
const VALUE_BYTES_MAX: usize = 64 << 10;

fn said(statement: SecretStatement) -> Statement {
    Statement::Access(Box::new(AccessStatement::Secret(statement)))
}

/// `[IF NOT EXISTS] name AS 'value'`, behind CREATE SECRET.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_not_exists = cursor.take_words(&["if", "not", "exists"]);
    let name = cursor.column_name()?;
    Ok(said(SecretStatement::Create { name, if_not_exists, value: value(cursor)? }))
}

/// `name AS 'value'` or `name OWNER TO role`, behind ALTER SECRET.
pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let name = cursor.column_name()?;
    if let Some(owner) = access::owner(cursor, ObjectName::Secret(name.clone()))? {
        return Ok(owner);
    }
    Ok(said(SecretStatement::Alter { name, value: value(cursor)? }))
}

/// `[IF EXISTS] name, ... [CASCADE | RESTRICT]`, behind DROP SECRET.
pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_exists = cursor.take_words(&["if", "exists"]);
    let names = access::names(cursor)?;
    let cascade = cursor.take_words(&["cascade"]);
    if !cascade {
        cursor.take_words(&["restrict"]);
    }
    Ok(said(SecretStatement::Drop { names, if_exists, cascade }))
}

/// `name IS 'text' | NULL`, behind COMMENT ON SECRET.
pub(super) fn comment(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let name = cursor.column_name()?;
    cursor.expect_words(&["is"])?;
    let text = match cursor.take_words(&["null"]) {
        true => None,
        false => Some(access::text(cursor, "a text or NULL")?),
    };
    Ok(said(SecretStatement::Comment { name, text }))
}

/// `AS 'value'`.
fn value(cursor: &mut Cursor<'_>) -> Result<Secret> {
    cursor.expect_words(&["as"])?;
    let position = cursor.position();
    let value = match cursor.peek_nth(0) {
        Some(Token::DollarQuotedString(text)) => {
            let value = text.value.clone();
            cursor.advance();
            value
        }
        _ => access::text(cursor, "the value (a text)")?,
    };
    let refused = |why: &str, hint: &str| Err(Error::invalid(why).with_hint(hint).at(position));
    if value.is_empty() {
        return refused("a secret is not empty", "DROP SECRET takes it away.");
    }
    if value.len() > VALUE_BYTES_MAX {
        return refused("the value of a secret is too long", "At most 64 kB fit.");
    }
    Ok(Secret::new(value))
}

/// `SECRET name`, as the value of an option, if it is next.
pub(super) fn named(cursor: &mut Cursor<'_>) -> Result<Option<Name>> {
    if !cursor.peek_is_word("secret") || !matches!(cursor.peek_nth(1), Some(Token::Word(_))) {
        return Ok(None);
    }
    cursor.advance();
    cursor.column_name().map(Some)
}
