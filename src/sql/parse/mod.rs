//! Text to statements: tokens once, statements apart at semicolons, each parsed by the file for its kind.

mod access;
mod clauses;
mod complexity;
mod copy;
mod create;
mod cursor;
mod ddl;
mod dml;
mod function;
mod hidden;
mod prepared;
mod refusals;
mod secret;
mod session;
mod signs;
#[cfg(test)]
mod tests;
mod versions;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use self::cursor::Cursor;
pub(super) use self::cursor::{fold, visited};
pub(super) use self::session::boolean;
use super::dialect::MillstreamDialect;
use super::statement::{Explain, ParsedStatement, Statement};
use crate::base::{Error, Result, sqlstate};

/// The statements of a text, in order; one [`Statement::Empty`] when there are none.
///
/// Positions, in errors and in the syntax trees, are 1-based character counts into `sql`: every token's location is
/// rewritten to line 1, column = position before anything is parsed, so a span needs no text to be told.
pub fn parse(sql: &str) -> Result<Vec<ParsedStatement>> {
    let dialect = MillstreamDialect::default();
    let text = Text::new(sql);
    let mut tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|error| {
        let shown = error.message.trim_end_matches('.').to_lowercase();
        Error::syntax(format!("text ends inside a literal or holds a stray character: {shown}"))
            .with_hint("Close the quote, or double it to write it inside a literal.")
            .at(text.position(error.location))
    })?;
    for token in &mut tokens {
        token.span = Span::new(text.location(token.span.start), text.location(token.span.end));
    }
    let tokens = signs::part(tokens, &dialect);
    let mut statements = Vec::new();
    for part in tokens.split(|token| token.token == Token::SemiColon) {
        let part: Vec<TokenWithSpan> =
            part.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).cloned().collect();
        let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
        let (from, to) = (first.span.start.column as usize, last.span.end.column as usize);
        complexity::check(&part)?;
        let part = versions::rewrite(part);
        let hidden = hidden::Hidden::of(&part);
        let mut cursor = Cursor::new(&dialect, part, &text);
        let statement = statement(&mut cursor).and_then(|statement| cursor.expect_end().map(|()| statement));
        let statement = statement.map_err(|error| hidden.error(error))?;
        statements.push(ParsedStatement { statement, text: hidden.text(&text, from, to), position: from });
    }
    if statements.is_empty() {
        statements.push(ParsedStatement { statement: Statement::Empty, text: String::new(), position: 1 });
    }
    Ok(statements)
}

/// One statement, by its first word.
fn statement(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if cursor.peek_is(&Token::LParen) {
        return dml::query(cursor);
    }
    let Some(word) = cursor.peek_word() else {
        return Err(cursor.unexpected("a statement"));
    };
    match word.as_str() {
        "select" | "with" | "values" => dml::query(cursor),
        "create" => create::create(cursor),
        "drop" => create::drop(cursor),
        "alter" => ddl::alter(cursor),
        "grant" | "revoke" => access::grant(cursor),
        "comment" => ddl::comment(cursor),
        "insert" | "update" | "delete" => dml::change(cursor),
        "truncate" => dml::truncate(cursor),
        "subscribe" => Ok(Statement::Subscribe(session::subscribe(cursor)?)),
        "copy" => copy::copy(cursor),
        "explain" => explain(cursor),
        "show" => session::show(cursor),
        "describe" | "desc" => {
            cursor.advance();
            Ok(Statement::Describe(cursor.name()?))
        }
        "flush" => {
            cursor.advance();
            Ok(Statement::Flush)
        }
        "wait" => session::wait(cursor),
        "refresh" => session::refresh(cursor),
        "set" => session::set(cursor),
        "reset" => session::reset(cursor),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" => session::transaction(cursor),
        "discard" => session::discard(cursor),
        "deallocate" => session::deallocate(cursor),
        "prepare" => prepared::prepare(cursor),
        "execute" => prepared::execute(cursor),
        "declare" => prepared::declare(cursor),
        "fetch" | "move" => prepared::fetch(cursor),
        "close" => prepared::close(cursor),
        "savepoint" => {
            cursor.advance();
            Ok(Statement::Savepoint(cursor.column_name()?.name))
        }
        "release" => {
            cursor.advance();
            cursor.take_words(&["savepoint"]);
            Ok(Statement::Release(cursor.column_name()?.name))
        }
        "unlisten" => session::unlisten(cursor),
        other => Err(refusals::statement(cursor, other)),
    }
}

/// `EXPLAIN statement`; of the options only those that change nothing are taken.
fn explain(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.advance();
    for word in ["analyze", "verbose"] {
        if cursor.peek_is_word(word) {
            return Err(Error::unsupported(format!("EXPLAIN {} is not supported", word.to_uppercase()))
                .with_hint("Write EXPLAIN alone; rows and state of running operators are in ms_catalog.ms_operators.")
                .at(cursor.position()));
        }
    }
    if cursor.peek_is(&Token::LParen) && !cursor.peek_nth_is_word(1, "select") && !cursor.peek_nth_is_word(1, "with") {
        return Err(Error::unsupported("EXPLAIN with options is not supported")
            .with_hint("Write EXPLAIN alone.")
            .at(cursor.position()));
    }
    let position = cursor.position();
    let inner = statement(cursor)?;
    let explainable = matches!(
        inner,
        Statement::Query(_)
            | Statement::CreateView(_)
            | Statement::CreateMaterializedView(_)
            | Statement::CreateSink(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
    );
    if !explainable {
        return Err(Error::unsupported("EXPLAIN takes a query, INSERT, UPDATE, DELETE, or CREATE of a view or sink")
            .with_hint("For instance: EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT ...")
            .at(position));
    }
    Ok(Statement::Explain(Box::new(Explain { statement: inner })))
}

/// The text, addressed by characters.
pub(super) struct Text<'a> {
    sql: &'a str,
    /// 1-based character position of each line's first character.
    lines: Vec<usize>,
    ascii: bool,
}

impl<'a> Text<'a> {
    fn new(sql: &'a str) -> Self {
        let mut lines = vec![1];
        lines.extend(sql.chars().enumerate().filter(|(_, ch)| *ch == '\n').map(|(i, _)| i + 2));
        Text { sql, lines, ascii: sql.is_ascii() }
    }

    /// The 1-based character position of a tokenizer's location.
    fn position(&self, location: Location) -> usize {
        let line = self.lines.get((location.line as usize).saturating_sub(1)).copied().unwrap_or(1);
        line + (location.column as usize).saturating_sub(1)
    }

    fn location(&self, location: Location) -> Location {
        Location { line: 1, column: self.position(location) as u64 }
    }

    /// The characters `from..to` (1-based, end exclusive), without white space around them.
    fn slice(&self, from: usize, to: usize) -> &'a str {
        let byte = |position: usize| {
            if self.ascii {
                return (position - 1).min(self.sql.len());
            }
            self.sql.char_indices().nth(position - 1).map_or(self.sql.len(), |(at, _)| at)
        };
        self.sql.get(byte(from)..byte(to)).unwrap_or_default().trim()
    }

    /// The position just behind the text.
    fn end(&self) -> usize {
        self.sql.chars().count() + 1
    }
}

/// sqlparser's error in our words and with its position; `end` is where the statement ends.
pub(super) fn parser_error(error: sqlparser::parser::ParserError, end: usize) -> Error {
    use sqlparser::parser::ParserError;
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::limit("statement is nested too deeply")
                .with_code(sqlstate::STATEMENT_TOO_COMPLEX)
                .with_hint("Split it into views, or write the inner part as WITH name AS (...).");
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let (text, position) = match text.rsplit_once(" at Line: 1, Column: ") {
        Some((text, column)) => (text.to_string(), column.trim().parse::<usize>().ok().filter(|&at| at > 0)),
        None => (text, None),
    };
    let Some((expected, found)) = text.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: ")) else {
        return Error::syntax(format!("syntax error: {}", text.trim_end_matches('.'))).at(position.unwrap_or(end));
    };
    let message = match found {
        "EOF" => "syntax error at end of input".to_string(),
        found => format!("syntax error at or near \"{found}\""),
    };
    Error::syntax(message).with_detail(format!("Expected {expected}.")).at(position.unwrap_or(end))
}
