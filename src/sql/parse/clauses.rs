//! Clauses of several statements: option lists, `FORMAT ... ENCODE ...`, `INCLUDE`, `EMIT ON WINDOW CLOSE`.

use sqlparser::tokenizer::Token;

use super::super::statement::{EmitClause, Encoding, Envelope, FormatClause, Include, OptionValue, Options};
use super::cursor::Cursor;
use crate::base::{Error, Result};

/// `( key = value, ... )`; keys are dotted words, quoted identifiers or string literals.
pub(super) fn option_list(cursor: &mut Cursor<'_>) -> Result<Options> {
    cursor.expect(&Token::LParen)?;
    let mut options = Options::default();
    if cursor.take(&Token::RParen) {
        return Ok(options);
    }
    loop {
        let position = cursor.position();
        let key = option_key(cursor)?;
        if !cursor.take(&Token::Eq) {
            return Err(cursor.unexpected(&format!("`=` and the value of option \"{key}\"")));
        }
        let secret = super::secret::named(cursor)?;
        let text = if secret.is_some() { String::new() } else { option_value(cursor, &key)? };
        if options.values.insert(key.clone(), OptionValue { text, secret, position }).is_some() {
            return Err(Error::syntax(format!("option \"{key}\" is given twice"))
                .with_hint("Keep one of them.")
                .at(position));
        }
        if cursor.take(&Token::RParen) {
            return Ok(options);
        }
        cursor.expect(&Token::Comma)?;
    }
}

fn option_key(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut key = String::new();
    loop {
        match cursor.peek_nth(0) {
            Some(Token::Word(word)) => key.push_str(&word.value.to_lowercase()),
            Some(Token::SingleQuotedString(text)) if key.is_empty() => key.push_str(&text.to_lowercase()),
            _ => return Err(cursor.unexpected("an option's name")),
        }
        cursor.advance();
        match cursor.peek_nth(0) {
            Some(Token::Period) => key.push('.'),
            Some(Token::Minus) => key.push('-'),
            _ => return Ok(key),
        }
        cursor.advance();
    }
}

/// A literal or a word; `INTERVAL '5 seconds'` counts as its text.
fn option_value(cursor: &mut Cursor<'_>, key: &str) -> Result<String> {
    let interval = cursor.take_words(&["interval"]);
    let minus = !interval && cursor.take(&Token::Minus);
    let text = match cursor.peek_nth(0) {
        Some(
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text),
        ) if !minus => text.clone(),
        Some(Token::DollarQuotedString(text)) if !minus => text.value.clone(),
        Some(Token::Number(number, _)) => format!("{}{number}", if minus { "-" } else { "" }),
        Some(Token::Word(word)) if !minus => word.value.clone(),
        _ => return Err(cursor.unexpected(&format!("the value of option \"{key}\" (a literal)"))),
    };
    cursor.advance();
    if interval && matches!(cursor.peek_nth(0), Some(Token::Word(_))) {
        let unit = cursor.peek_word().unwrap_or_default();
        cursor.advance();
        return Ok(format!("{text} {unit}"));
    }
    Ok(text)
}

/// `FORMAT envelope ENCODE encoding [(options)]`, if it is next.
pub(super) fn format(cursor: &mut Cursor<'_>) -> Result<Option<FormatClause>> {
    let position = cursor.position();
    if !cursor.take_words(&["format"]) {
        return Ok(None);
    }
    let envelope_position = cursor.position();
    let envelope = match cursor.peek_word().as_deref() {
        Some("plain") => Envelope::Plain,
        Some(other @ ("upsert" | "debezium" | "debezium_mongo" | "maxwell" | "canal" | "native")) => {
            return Err(Error::unsupported(format!("FORMAT {} is not supported", other.to_uppercase()))
                .with_hint("Write FORMAT PLAIN, where every record is an insert.")
                .at(envelope_position));
        }
        _ => return Err(cursor.unexpected("PLAIN")),
    };
    cursor.advance();
    cursor.expect_words(&["encode"])?;
    let encoding_position = cursor.position();
    let encoding = match cursor.peek_word().as_deref() {
        Some("json") => Encoding::Json,
        Some("csv") => Encoding::Csv,
        Some("parquet") => Encoding::Parquet,
        Some(other @ ("avro" | "protobuf" | "bytes" | "native" | "text" | "template")) => {
            return Err(Error::unsupported(format!("ENCODE {} is not supported", other.to_uppercase()))
                .with_hint("Write ENCODE JSON, CSV or PARQUET.")
                .at(encoding_position));
        }
        _ => return Err(cursor.unexpected("JSON, CSV or PARQUET")),
    };
    cursor.advance();
    let options = if cursor.peek_is(&Token::LParen) { option_list(cursor)? } else { Options::default() };
    Ok(Some(FormatClause { envelope, encoding, options, position }))
}

/// `INCLUDE what [AS name] [, what [AS name]] ...`, any number of times.
pub(super) fn include(cursor: &mut Cursor<'_>) -> Result<Vec<Include>> {
    let mut included = Vec::new();
    while cursor.take_words(&["include"]) {
        loop {
            let what = cursor.column_name()?;
            let known = ["partition", "offset", "timestamp", "key", "headers"];
            if !known.contains(&what.name.as_str()) {
                return Err(Error::syntax(format!("INCLUDE has no \"{}\"", what.name))
                    .with_hint("It takes partition, offset, timestamp, key and headers.")
                    .at(what.position));
            }
            let column = match cursor.take_words(&["as"]) {
                true => cursor.column_name()?.name,
                false => format!("_{}", what.name),
            };
            included.push(Include { what, column });
            if !cursor.take(&Token::Comma) {
                break;
            }
        }
    }
    Ok(included)
}

/// Whether `EMIT ON WINDOW CLOSE` begins `n` tokens ahead.
pub(super) fn emit_begins(cursor: &Cursor<'_>, n: usize) -> bool {
    cursor.peek_nth_is_word(n, "emit") && cursor.peek_nth_is_word(n + 1, "on")
}

/// `[EMIT ON WINDOW CLOSE]`.
pub(super) fn emit(cursor: &mut Cursor<'_>) -> Result<EmitClause> {
    let position = cursor.position();
    if !cursor.take_words(&["emit"]) {
        return Ok(EmitClause::Changes);
    }
    cursor.expect_words(&["on", "window", "close"])?;
    Ok(EmitClause::WindowClose { position })
}
