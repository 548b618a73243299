//! `CREATE FUNCTION ... LANGUAGE sql`, and how functions are named.

use sqlparser::ast::{self, Query, Select, SelectItem, SetExpr};
use sqlparser::tokenizer::Token;

use super::super::bind::{function_signature, without_position};
use super::super::statement::{CreateFunction, FunctionParameter, Name, Statement};
use super::cursor::Cursor;
use super::parse;
use crate::base::{Error, Result};

/// What stands behind CREATE [OR REPLACE] FUNCTION.
pub(super) fn create(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<Statement> {
    let name = cursor.name()?;
    if name.name.contains('(') {
        return Err(Error::syntax("the name of a function holds no parenthesis")
            .with_hint("Choose another name.")
            .at(name.position));
    }
    let parameters = parameters(cursor)?;
    if !cursor.take_words(&["returns"]) {
        return Err(cursor.unexpected("RETURNS and the type of the result"));
    }
    let returns_position = cursor.position();
    if cursor.peek_is_word("setof") || cursor.peek_is_word("table") || cursor.peek_is_word("trigger") {
        let word = cursor.peek_word().unwrap_or_default().to_uppercase();
        return Err(Error::unsupported(format!("a function that RETURNS {word} is not supported"))
            .with_hint("A function gives one value; CREATE VIEW gives rows.")
            .at(returns_position));
    }
    let returns = cursor.data_type()?;
    let mut found = Attributes::default();
    while !cursor.at_end() {
        attribute(cursor, &mut found)?;
    }
    let Some(body) = found.body else { return Err(cursor.unexpected("AS 'SELECT ...' or RETURN expression")) };
    let body = Box::new(body);
    Ok(Statement::CreateFunction(Box::new(CreateFunction {
        name,
        or_replace,
        parameters,
        returns,
        returns_position,
        strict: found.strict,
        body,
        body_position: found.body_position,
    })))
}

#[derive(Default)]
struct Attributes {
    strict: bool,
    body: Option<ast::Expr>,
    body_position: Option<usize>,
}

fn parameters(cursor: &mut Cursor<'_>) -> Result<Vec<FunctionParameter>> {
    cursor.expect(&Token::LParen)?;
    let mut parameters = Vec::new();
    if cursor.take(&Token::RParen) {
        return Ok(parameters);
    }
    loop {
        parameters.push(parameter(cursor)?);
        if cursor.take(&Token::RParen) {
            return Ok(parameters);
        }
        cursor.expect(&Token::Comma)?;
    }
}

/// `[IN] [name] type`.
fn parameter(cursor: &mut Cursor<'_>) -> Result<FunctionParameter> {
    let position = cursor.position();
    for mode in ["out", "inout", "variadic"] {
        if cursor.peek_is_word(mode) && matches!(cursor.peek_nth(1), Some(Token::Word(_))) {
            return Err(Error::unsupported(format!("{} parameters are not supported", mode.to_uppercase()))
                .with_hint("A function takes values and gives one.")
                .at(position));
        }
    }
    if cursor.peek_is_word("in") {
        cursor.advance();
    }
    // A type may have several words, but a second one that begins a type makes the first one a name.
    let has_name = matches!(cursor.peek_nth(1), Some(Token::Word(_)))
        && !["precision", "varying", "with", "without", "array"].iter().any(|word| cursor.peek_nth_is_word(1, word));
    let name = if has_name { Some(cursor.column_name()?) } else { None };
    let data_type = cursor.data_type()?;
    if cursor.peek_is_word("default") || cursor.peek_is(&Token::Eq) {
        return Err(Error::unsupported("DEFAULT of a parameter is not supported")
            .with_hint("Create another function of that name with fewer parameters.")
            .at(cursor.position()));
    }
    Ok(FunctionParameter { name, data_type, position })
}

fn attribute(cursor: &mut Cursor<'_>, found: &mut Attributes) -> Result<()> {
    let position = cursor.position();
    if cursor.take_words(&["language"]) {
        let language = match cursor.peek_nth(0) {
            Some(Token::SingleQuotedString(text)) => {
                let text = text.to_lowercase();
                cursor.advance();
                text
            }
            _ => cursor.column_name()?.name.to_lowercase(),
        };
        if language != "sql" {
            return Err(Error::unsupported(format!("LANGUAGE {language} is not supported"))
                .with_hint("Write the function in SQL: LANGUAGE sql AS 'SELECT ...'.")
                .at(position));
        }
        return Ok(());
    }
    if cursor.take_words(&["strict"]) || cursor.take_words(&["returns", "null", "on", "null", "input"]) {
        found.strict = true;
        return Ok(());
    }
    let harmless: [&[&str]; 9] = [
        &["immutable"],
        &["stable"],
        &["volatile"],
        &["called", "on", "null", "input"],
        &["parallel", "safe"],
        &["parallel", "unsafe"],
        &["parallel", "restricted"],
        &["not", "leakproof"],
        &["leakproof"],
    ];
    if harmless.iter().any(|words| cursor.take_words(words)) {
        return Ok(());
    }
    if cursor.take_words(&["cost"]) {
        cursor.expression()?;
        return Ok(());
    }
    if found.body.is_none() && cursor.take_words(&["return"]) {
        found.body = Some(cursor.expression()?);
        return Ok(());
    }
    if found.body.is_none() && cursor.take_words(&["as"]) {
        let text = match cursor.peek_nth(0) {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
            Some(Token::DollarQuotedString(text)) => text.value.clone(),
            _ => return Err(cursor.unexpected("the body in quotes")),
        };
        let at = cursor.position();
        cursor.advance();
        found.body_position = Some(at);
        found.body = Some(body(&text).map_err(|error| without_position(error).at(at))?);
        return Ok(());
    }
    Err(cursor.unexpected("LANGUAGE sql, IMMUTABLE, STRICT, AS 'SELECT ...' or RETURN expression"))
}

/// The expression of `SELECT expression`.
fn body(text: &str) -> Result<ast::Expr> {
    let refused = || {
        Error::unsupported("the body of a function is one SELECT of one expression over its parameters")
            .with_hint("Write AS 'SELECT expression'; what reads relations is a view to be joined.")
    };
    let mut statements = parse(text)?.into_iter();
    let (Some(first), None) = (statements.next(), statements.next()) else { return Err(refused()) };
    let Statement::Query(query) = first.statement else { return Err(refused()) };
    match *query {
        Query {
            with: None, body, order_by: None, limit_clause: None, fetch: None, locks, for_clause: None, ..
        } if locks.is_empty() => match *body {
            SetExpr::Select(select) => only_expression(*select).ok_or_else(refused),
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

fn only_expression(mut select: Select) -> Option<ast::Expr> {
    let plain = select.from.is_empty()
        && select.distinct.is_none()
        && select.selection.is_none()
        && select.having.is_none()
        && select.group_by == ast::GroupByExpr::Expressions(Vec::new(), Vec::new())
        && select.projection.len() == 1;
    match select.projection.pop() {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) if plain => Some(expr),
        _ => None,
    }
}

/// `name [(types)]`: the name, with the types as the catalog spells them if they are told. The names of parameters may stand
/// before their types.
pub(super) fn named(cursor: &mut Cursor<'_>) -> Result<Name> {
    let mut name = cursor.name()?;
    if cursor.peek_is(&Token::LParen) {
        let types: Vec<_> = parameters(cursor)?.into_iter().map(|parameter| parameter.data_type).collect();
        name.name = function_signature(&name.name, &types).map_err(|error| error.at(name.position))?;
    }
    Ok(name)
}
