//! COPY: rows of a query, a subscription or a table to the client, rows from the client into a table.

use sqlparser::tokenizer::Token;

use super::super::statement::{Copy, CopyFormat, CopyFrom, CopyIn, CopyOptions, Name, Statement};
use super::cursor::Cursor;
use super::session::{boolean, subscribe};
use crate::base::{Error, Result};

/// `COPY (SUBSCRIBE TO v | query) | table TO STDOUT`, `COPY table FROM STDIN`, with options.
pub(super) fn copy(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    if cursor.take(&Token::LParen) {
        let from = if cursor.peek_is_word("subscribe") {
            CopyFrom::Subscribe(subscribe(cursor)?)
        } else {
            CopyFrom::Query(cursor.with_parser(|parser| parser.parse_query())?)
        };
        cursor.expect(&Token::RParen)?;
        cursor.expect_words(&["to"])?;
        return to_stdout(cursor, from);
    }
    let table = cursor.name()?;
    let columns = if cursor.peek_is(&Token::LParen) { cursor.name_list()? } else { Vec::new() };
    if cursor.take_words(&["to"]) {
        let query = super::parse(&select(&table, &columns))?.into_iter().next();
        return match query.map(|parsed| parsed.statement) {
            Some(Statement::Query(query)) => to_stdout(cursor, CopyFrom::Query(query)),
            _ => Err(cursor.unexpected("TO STDOUT")),
        };
    }
    cursor.expect_words(&["from"])?;
    let position = cursor.position();
    if !cursor.take_words(&["stdin"]) {
        return Err(Error::unsupported("COPY reads from STDIN only")
            .with_hint("Write COPY name FROM STDIN (in psql: \\copy name FROM 'file'), or make a source over the file.")
            .at(position));
    }
    let options = options(cursor)?;
    Ok(Statement::CopyIn(CopyIn { table, columns, options }))
}

/// The rows of a table as a query.
fn select(table: &Name, columns: &[Name]) -> String {
    let quoted = super::super::quoted;
    let list: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let list = if list.is_empty() { "*".to_string() } else { list.join(", ") };
    let schema = table.schema.as_ref().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    format!("SELECT {list} FROM {schema}{}", quoted(&table.name))
}

fn to_stdout(cursor: &mut Cursor<'_>, from: CopyFrom) -> Result<Statement> {
    let position = cursor.position();
    if !cursor.take_words(&["stdout"]) {
        return Err(Error::unsupported("COPY writes to STDOUT only")
            .with_hint("Write COPY (...) TO STDOUT; for files use CREATE SINK with connector = 'file'.")
            .at(position));
    }
    Ok(Statement::Copy(Copy { from, options: options(cursor)? }))
}

fn options(cursor: &mut Cursor<'_>) -> Result<CopyOptions> {
    let mut options =
        CopyOptions { format: CopyFormat::Text, header: false, delimiter: None, null: None, quote: None, escape: None };
    cursor.take_words(&["with"]);
    if cursor.take(&Token::LParen) {
        loop {
            option(cursor, &mut options)?;
            if cursor.take(&Token::RParen) {
                break;
            }
            cursor.expect(&Token::Comma)?;
        }
    } else {
        while !cursor.at_end() {
            option(cursor, &mut options)?;
        }
    }
    if options.format == CopyFormat::Binary
        && (options.header || options.delimiter.is_some() || options.null.is_some() || options.quote.is_some())
    {
        return Err(Error::syntax("COPY in binary format takes no other option").at(cursor.position()));
    }
    if options.format == CopyFormat::Text && (options.quote.is_some() || options.escape.is_some()) {
        return Err(Error::unsupported("COPY option QUOTE or ESCAPE is only for format csv").at(cursor.position()));
    }
    Ok(options)
}

fn option(cursor: &mut Cursor<'_>, options: &mut CopyOptions) -> Result<()> {
    let position = cursor.position();
    let Some(word) = cursor.peek_word().or_else(|| text(cursor)) else {
        return Err(cursor.unexpected("FORMAT text, csv or binary, HEADER, DELIMITER, NULL, QUOTE or ESCAPE"));
    };
    cursor.advance();
    match word.to_lowercase().as_str() {
        "format" => return option(cursor, options),
        "csv" => options.format = CopyFormat::Csv,
        "text" => options.format = CopyFormat::Text,
        "binary" => options.format = CopyFormat::Binary,
        "header" => {
            let value = match cursor.peek_nth(0) {
                Some(Token::Word(word)) => boolean(&word.value),
                Some(Token::SingleQuotedString(text) | Token::Number(text, _)) => boolean(text),
                _ => None,
            };
            if value.is_some() {
                cursor.advance();
            }
            options.header = value.unwrap_or(true);
        }
        "delimiter" | "delimiters" => options.delimiter = Some(byte(cursor, "DELIMITER")?),
        "quote" => options.quote = Some(byte(cursor, "QUOTE")?),
        "escape" => options.escape = Some(byte(cursor, "ESCAPE")?),
        "null" => options.null = Some(value(cursor, "a text")?),
        "encoding" => {
            let value = value(cursor, "an encoding")?;
            if !["utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()) {
                return Err(Error::unsupported(format!("COPY in encoding \"{value}\" is not supported"))
                    .with_hint("Text is always UTF-8.")
                    .at(position));
            }
        }
        other @ ("force_quote" | "force_not_null" | "force_null" | "freeze" | "force" | "oids" | "default") => {
            return Err(Error::unsupported(format!("COPY option {} is not supported", other.to_uppercase()))
                .with_hint("COPY takes FORMAT text, csv or binary, HEADER, DELIMITER, NULL, QUOTE and ESCAPE.")
                .at(position));
        }
        _ => {
            return Err(Error::syntax(format!("syntax error at or near \"{word}\""))
                .with_detail("Expected FORMAT text, csv or binary, HEADER, DELIMITER, NULL, QUOTE or ESCAPE.")
                .at(position));
        }
    }
    Ok(())
}

/// The string that stands here.
fn text(cursor: &Cursor<'_>) -> Option<String> {
    match cursor.peek_nth(0) {
        Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => Some(text.clone()),
        _ => None,
    }
}

fn value(cursor: &mut Cursor<'_>, what: &str) -> Result<String> {
    cursor.take_words(&["as"]);
    let found = text(cursor).ok_or_else(|| cursor.unexpected(what))?;
    cursor.advance();
    Ok(found)
}

/// One byte that separates or quotes.
fn byte(cursor: &mut Cursor<'_>, what: &str) -> Result<u8> {
    let position = cursor.position();
    let text = value(cursor, "one character")?;
    match text.as_bytes() {
        [b'\\'] if what != "DELIMITER" => Ok(b'\\'),
        [byte] if !matches!(byte, b'\n' | b'\r' | b'\\' | b'.') => Ok(*byte),
        _ => Err(Error::unsupported(format!("COPY option {what} is one byte, and no line end or point")).at(position)),
    }
}
