//! Statements about the session and about what runs: SUBSCRIBE, SHOW, WAIT, SET, transactions.

use sqlparser::tokenizer::Token;

use super::super::statement::{Options, Set, Show, Statement, Subscribe};
use super::clauses;
use super::create::{name_of, object_kind};
use super::cursor::Cursor;
use crate::base::{Error, Result};

/// `SUBSCRIBE [TO] x [WITH (...)] [AS OF e]`.
pub(super) fn subscribe(cursor: &mut Cursor<'_>) -> Result<Subscribe> {
    cursor.advance();
    cursor.take_words(&["to"]);
    if cursor.peek_is(&Token::LParen) {
        return Err(Error::unsupported("SUBSCRIBE to a query is not supported")
            .with_hint("CREATE MATERIALIZED VIEW v AS the query, then SUBSCRIBE TO v.")
            .at(cursor.position()));
    }
    let mut subscribe = Subscribe { relation: cursor.name()?, snapshot: true, progress: false, as_of: None };
    loop {
        if cursor.take_words(&["with"]) {
            let options = clauses::option_list(cursor)?;
            subscribe_options(&options, &mut subscribe)?;
        } else if cursor.take_words(&["as", "of"]) {
            let position = cursor.position();
            let text = match cursor.peek_nth(0) {
                Some(Token::Number(text, _) | Token::SingleQuotedString(text)) => text.clone(),
                _ => return Err(cursor.unexpected("an epoch (a whole number)")),
            };
            cursor.advance();
            let epoch = text.parse().map_err(|_| {
                Error::syntax(format!("\"{text}\" is not an epoch"))
                    .with_hint("Take the number from column ms_epoch of the last row that was received.")
                    .at(position)
            })?;
            subscribe.as_of = Some(epoch);
        } else {
            return Ok(subscribe);
        }
    }
}

fn subscribe_options(options: &Options, subscribe: &mut Subscribe) -> Result<()> {
    for (key, value) in &options.values {
        if value.secret.is_some() {
            return Err(Error::syntax(format!("option \"{key}\" of SUBSCRIBE cannot be a secret"))
                .with_hint("Write true or false.")
                .at(value.position));
        }
        let flag = boolean(&value.text).ok_or_else(|| {
            Error::invalid(format!("option \"{key}\" takes true or false, not '{}'", value.text)).at(value.position)
        })?;
        match key.as_str() {
            "snapshot" => subscribe.snapshot = flag,
            "progress" => subscribe.progress = flag,
            _ => {
                return Err(Error::syntax(format!("SUBSCRIBE has no option \"{key}\""))
                    .with_hint("It takes snapshot and progress.")
                    .at(value.position));
            }
        }
    }
    Ok(())
}

/// A boolean as PostgreSQL reads it.
pub(in crate::sql) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" | "t" => Some(true),
        "false" | "off" | "no" | "0" | "f" => Some(false),
        _ => None,
    }
}

pub(super) fn show(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    if cursor.take_words(&["create"]) {
        let kind = object_kind(cursor, false);
        let name = match kind {
            Some(kind) => name_of(cursor, kind)?,
            None => cursor.name()?,
        };
        return Ok(Statement::Show(Show::Create { kind, name }));
    }
    if let Some(kind) = object_kind(cursor, true) {
        return Ok(Statement::Show(Show::Objects(kind)));
    }
    if cursor.take_words(&["jobs"]) {
        return Ok(Statement::Show(Show::Jobs));
    }
    if cursor.take_words(&["all"]) {
        return Ok(Statement::Show(Show::AllSettings));
    }
    Ok(Statement::Show(Show::Setting(setting_name(cursor)?)))
}

/// A setting's name; the standard's two-word spellings become PostgreSQL's names.
fn setting_name(cursor: &mut Cursor<'_>) -> Result<String> {
    if cursor.take_words(&["time", "zone"]) {
        return Ok("timezone".to_string());
    }
    if cursor.take_words(&["transaction", "isolation", "level"]) {
        return Ok("transaction_isolation".to_string());
    }
    let mut name = cursor.column_name()?.name.to_lowercase();
    while cursor.take(&Token::Period) {
        name.push('.');
        name.push_str(&cursor.column_name()?.name.to_lowercase());
    }
    Ok(name)
}

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] x [WITH DATA]`.
pub(super) fn refresh(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    cursor.expect_words(&["materialized", "view"])?;
    cursor.take_words(&["concurrently"]);
    let name = cursor.name()?;
    cursor.take_words(&["with", "data"]);
    Ok(Statement::Refresh(name))
}

/// `WAIT FOR x, ...`.
pub(super) fn wait(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    cursor.expect_words(&["for"])?;
    let mut names = vec![cursor.name()?];
    while cursor.take(&Token::Comma) {
        names.push(cursor.name()?);
    }
    Ok(Statement::WaitFor(names))
}

/// `SET [SESSION | LOCAL] name {= | TO} value`, `SET TIME ZONE x`, `SET NAMES x`, `SET TRANSACTION ...`.
pub(super) fn set(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    for scope in ["session", "local"] {
        if cursor.peek_is_word(scope) && matches!(cursor.peek_nth(1), Some(Token::Word(_))) {
            cursor.advance();
        }
    }
    let position = cursor.position();
    if cursor.take_words(&["role"]) {
        if !cursor.take(&Token::Eq) {
            cursor.take_words(&["to"]);
        }
        let quoted = match cursor.peek_nth(0) {
            Some(Token::SingleQuotedString(text)) => Some(text.clone()),
            Some(_) | None => None,
        };
        let value = match quoted {
            Some(text) => {
                cursor.advance();
                text
            }
            None => cursor.column_name()?.name,
        };
        let value = Some(value).filter(|value| value != "default");
        return Ok(Statement::Set(Set { name: "role".to_string(), value, position }));
    }
    if cursor.peek_is_word("authorization") {
        return Err(Error::unsupported("SET SESSION AUTHORIZATION is not supported")
            .with_hint("Write SET ROLE, or connect as that user.")
            .at(position));
    }
    if cursor.take_words(&["transaction"]) || cursor.take_words(&["characteristics"]) {
        while !cursor.at_end() {
            cursor.advance();
        }
        let value = Some("serializable".to_string());
        return Ok(Statement::Set(Set { name: "transaction_isolation".to_string(), value, position }));
    }
    if cursor.take_words(&["names"]) {
        let value = set_values(cursor)?;
        return Ok(Statement::Set(Set { name: "client_encoding".to_string(), value, position }));
    }
    let name = setting_name(cursor)?;
    if name == "timezone" && !cursor.peek_is(&Token::Eq) && !cursor.peek_is_word("to") {
        let value = set_values(cursor)?;
        return Ok(Statement::Set(Set { name, value, position }));
    }
    if !cursor.take(&Token::Eq) && !cursor.take_words(&["to"]) {
        return Err(cursor.unexpected("`=` or TO"));
    }
    let value = set_values(cursor)?;
    Ok(Statement::Set(Set { name, value, position }))
}

/// One value or a comma-separated list of them; `DEFAULT` is none.
fn set_values(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if cursor.take_words(&["default"]) {
        return Ok(None);
    }
    let mut values = Vec::new();
    loop {
        let minus = cursor.take(&Token::Minus);
        let text = match cursor.peek_nth(0) {
            Some(Token::Word(word)) if !minus => word.value.clone(),
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) if !minus => text.clone(),
            Some(Token::Number(text, _)) => format!("{}{text}", if minus { "-" } else { "" }),
            _ => return Err(cursor.unexpected("a value")),
        };
        cursor.advance();
        values.push(text);
        if !cursor.take(&Token::Comma) {
            return Ok(Some(values.join(", ")));
        }
    }
}

pub(super) fn reset(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    if cursor.take_words(&["all"]) {
        return Ok(Statement::Reset(None));
    }
    Ok(Statement::Reset(Some(setting_name(cursor)?)))
}

/// `BEGIN`, `START TRANSACTION`, `COMMIT`, `END`, `ROLLBACK`, `ABORT`; isolation levels and access modes are taken and
/// mean nothing: every block is serializable.
pub(super) fn transaction(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let word = cursor.peek_word().unwrap_or_default();
    cursor.advance();
    if word == "start" {
        cursor.expect_words(&["transaction"])?;
    } else if !cursor.take_words(&["transaction"]) {
        cursor.take_words(&["work"]);
    }
    let statement = match word.as_str() {
        "begin" | "start" => Statement::Begin,
        "commit" | "end" => Statement::Commit,
        _ => Statement::Rollback,
    };
    if matches!(statement, Statement::Begin) {
        while !cursor.at_end() {
            let mode = ["isolation", "level", "serializable", "repeatable", "read", "committed", "uncommitted"]
                .iter()
                .chain(["only", "write", "not", "deferrable"].iter())
                .any(|mode| cursor.take_words(&[mode]));
            if !mode && !cursor.take(&Token::Comma) {
                return Err(cursor.unexpected("a transaction mode"));
            }
        }
    } else if word == "rollback" && cursor.take_words(&["to"]) {
        cursor.take_words(&["savepoint"]);
        return Ok(Statement::RollbackTo(cursor.column_name()?.name));
    } else if cursor.peek_is_word("prepared") {
        return Err(Error::unsupported("prepared transactions are not supported")
            .with_hint("Use BEGIN, COMMIT and ROLLBACK alone.")
            .at(cursor.position()));
    } else if cursor.take_words(&["and", "no", "chain"]) {
        // The default, spelled out.
    }
    Ok(statement)
}

pub(super) fn discard(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    for what in ["all", "plans", "temp", "temporary", "sequences"] {
        if cursor.take_words(&[what]) {
            return Ok(Statement::Discard);
        }
    }
    Err(cursor.unexpected("ALL, PLANS, TEMP or SEQUENCES"))
}

/// `UNLISTEN * | name`.
pub(super) fn unlisten(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    if !cursor.take(&Token::Mul) {
        cursor.column_name()?;
    }
    Ok(Statement::Unlisten)
}

pub(super) fn deallocate(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    cursor.take_words(&["prepare"]);
    if cursor.take_words(&["all"]) {
        return Ok(Statement::Deallocate(None));
    }
    Ok(Statement::Deallocate(Some(cursor.column_name()?.name)))
}
