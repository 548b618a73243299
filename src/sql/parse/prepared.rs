//! PREPARE, EXECUTE, DECLARE, FETCH, MOVE, CLOSE.

use std::sync::Arc;

use sqlparser::tokenizer::Token;

use super::super::bind::type_of;
use super::super::statement::{Declare, Execute, Fetch, ParsedStatement, Prepare, Statement};
use super::cursor::Cursor;
use super::statement;
use crate::base::{Error, Result, sqlstate};

/// The statement that follows, as if it stood alone.
fn inner(cursor: &mut Cursor<'_>, takes: &str, fits: fn(&Statement) -> bool) -> Result<Arc<ParsedStatement>> {
    let (position, from) = (cursor.position(), cursor.index());
    let statement = statement(cursor)?;
    if !fits(&statement) {
        return Err(Error::syntax(format!("{takes} is expected here")).at(position));
    }
    Ok(Arc::new(ParsedStatement { statement, text: cursor.text_since(from), position }))
}

/// `PREPARE name [(type, ...)] AS statement`.
pub(super) fn prepare(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    if cursor.peek_is_word("transaction") {
        return Err(Error::unsupported("PREPARE TRANSACTION is not supported")
            .with_hint("Use BEGIN, COMMIT and ROLLBACK alone.")
            .at(cursor.position()));
    }
    let name = cursor.column_name()?.name;
    let mut types = Vec::new();
    if cursor.take(&Token::LParen) {
        loop {
            let position = cursor.position();
            let ty = cursor.data_type()?;
            types.push(type_of(&ty).map_err(|error| error.at(position))?);
            if cursor.take(&Token::RParen) {
                break;
            }
            cursor.expect(&Token::Comma)?;
        }
    }
    cursor.expect_words(&["as"])?;
    let fits = |statement: &Statement| {
        matches!(statement, Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_))
    };
    let statement = inner(cursor, "SELECT, INSERT, UPDATE or DELETE", fits)?;
    Ok(Statement::Prepare(Prepare { name, types, statement }))
}

/// `EXECUTE name [(value, ...)]`.
pub(super) fn execute(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    let name = cursor.column_name()?.name;
    if !cursor.take(&Token::LParen) || cursor.take(&Token::RParen) {
        return Ok(Statement::Execute(Execute { name, values: None }));
    }
    let mut values = vec![cursor.expression()?.to_string()];
    while cursor.take(&Token::Comma) {
        values.push(cursor.expression()?.to_string());
    }
    cursor.expect(&Token::RParen)?;
    let values = super::parse(&format!("SELECT {}", values.join(", ")))?.into_iter().next().map(Arc::new);
    Ok(Statement::Execute(Execute { name, values }))
}

/// `DECLARE name [BINARY] [INSENSITIVE] [[NO] SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query`.
pub(super) fn declare(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    let name = cursor.column_name()?.name;
    let mut binary = false;
    while !cursor.take_words(&["cursor"]) {
        if cursor.take_words(&["binary"]) {
            binary = true;
        } else if cursor.peek_is_word("scroll") {
            return Err(Error::unsupported("SCROLL cursors are not supported")
                .with_hint("Leave SCROLL out: rows are read forward.")
                .at(cursor.position()));
        } else if !["insensitive", "asensitive"].iter().any(|word| cursor.take_words(&[word]))
            && !cursor.take_words(&["no", "scroll"])
        {
            return Err(cursor.unexpected("CURSOR"));
        }
    }
    let hold = cursor.take_words(&["with", "hold"]);
    if !hold {
        cursor.take_words(&["without", "hold"]);
    }
    cursor.expect_words(&["for"])?;
    let fits = |statement: &Statement| matches!(statement, Statement::Query(_) | Statement::Subscribe(_));
    let statement = inner(cursor, "a query or SUBSCRIBE", fits)?;
    Ok(Statement::Declare(Declare { name, hold, binary, statement }))
}

/// `FETCH | MOVE [NEXT | FORWARD [count | ALL] | count | ALL] [FROM | IN] name`.
pub(super) fn fetch(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let passes_over = cursor.peek_is_word("move");
    cursor.advance();
    let position = cursor.position();
    for word in ["prior", "first", "last", "absolute", "relative", "backward"] {
        if (cursor.peek_is_word(word) && cursor.peek_nth(1).is_some()) || cursor.peek_is(&Token::Minus) {
            return Err(Error::invalid("cursor can only scan forward")
                .with_code(sqlstate::OBJECT_NOT_IN_STATE)
                .with_hint("Write FETCH count FROM name.")
                .at(position));
        }
    }
    let forward = cursor.take_words(&["forward"]);
    let count = match cursor.peek_nth(0).cloned() {
        Some(Token::Number(digits, _)) => {
            let count = digits.parse().map_err(|_| Error::syntax(format!("\"{digits}\" is no count")).at(position))?;
            cursor.advance();
            Some(count)
        }
        _ if cursor.take_words(&["all"]) => None,
        _ => {
            if !forward {
                cursor.take_words(&["next"]);
            }
            Some(1)
        }
    };
    if !cursor.take_words(&["from"]) {
        cursor.take_words(&["in"]);
    }
    let name = cursor.column_name()?.name;
    Ok(Statement::Fetch(Fetch { name, count, passes_over }))
}

/// `CLOSE name | ALL`.
pub(super) fn close(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    if cursor.take_words(&["all"]) {
        return Ok(Statement::Close(None));
    }
    Ok(Statement::Close(Some(cursor.column_name()?.name)))
}
