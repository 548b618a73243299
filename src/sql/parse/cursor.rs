//! A place in a statement's tokens: words are compared by their text, since many of ours are no keywords of sqlparser.

use std::ops::ControlFlow;

use sqlparser::ast::{DataType, Expr, ObjectName, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::dialect::{MillstreamDialect, is_word};
use super::super::statement::Name;
use super::{Text, parser_error};
use crate::base::{Error, Result};

/// How deep sqlparser may recurse; each nesting of parentheses takes two or three steps.
const RECURSION_LIMIT: usize = 150;

/// The tokens of one statement and how far they are read.
pub(super) struct Cursor<'a> {
    dialect: &'a MillstreamDialect,
    tokens: Vec<TokenWithSpan>,
    at: usize,
    text: &'a Text<'a>,
}

impl<'a> Cursor<'a> {
    pub fn new(dialect: &'a MillstreamDialect, tokens: Vec<TokenWithSpan>, text: &'a Text<'a>) -> Self {
        Cursor { dialect, tokens, at: 0, text }
    }

    pub fn advance(&mut self) {
        self.at += 1;
    }

    pub fn peek_nth(&self, n: usize) -> Option<&Token> {
        self.tokens.get(self.at + n).map(|token| &token.token)
    }

    pub fn peek_is(&self, token: &Token) -> bool {
        self.peek_nth(0) == Some(token)
    }

    pub fn peek_nth_is_word(&self, n: usize, word: &str) -> bool {
        self.peek_nth(n).is_some_and(|token| is_word(token, word))
    }

    pub fn peek_is_word(&self, word: &str) -> bool {
        self.peek_nth_is_word(0, word)
    }

    /// The next token as an unquoted word, in lower case.
    pub fn peek_word(&self) -> Option<String> {
        match self.peek_nth(0) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
            _ => None,
        }
    }

    /// Where the next token stands; behind the last one at the end.
    pub fn position(&self) -> usize {
        match self.tokens.get(self.at) {
            Some(token) => token.span.start.column as usize,
            None => self.end_position(),
        }
    }

    fn end_position(&self) -> usize {
        self.tokens.last().map_or_else(|| self.text.end(), |token| token.span.end.column as usize)
    }

    /// Takes `token` if it is next.
    pub fn take(&mut self, token: &Token) -> bool {
        let taken = self.peek_is(token);
        self.at += usize::from(taken);
        taken
    }

    /// Takes `words` if they are next, all of them or none.
    pub fn take_words(&mut self, words: &[&str]) -> bool {
        let taken = words.iter().enumerate().all(|(n, word)| self.peek_nth_is_word(n, word));
        if taken {
            self.at += words.len();
        }
        taken
    }

    pub fn expect(&mut self, token: &Token) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(&format!("`{token}`"))) }
    }

    pub fn expect_words(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.take_words(&[word]) {
                return Err(self.unexpected(&word.to_uppercase()));
            }
        }
        Ok(())
    }

    pub fn expect_end(&self) -> Result<()> {
        if self.at < self.tokens.len() { Err(self.unexpected("the end of the statement")) } else { Ok(()) }
    }

    pub fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The error that `expected` stands not here.
    pub fn unexpected(&self, expected: &str) -> Error {
        let message = match self.peek_nth(0) {
            Some(token) => format!("syntax error at or near \"{token}\""),
            None => "syntax error at end of input".to_string(),
        };
        Error::syntax(message).with_detail(format!("Expected {expected}.")).at(self.position())
    }

    /// Runs sqlparser from here and moves behind what it took.
    pub fn with_parser<T>(&mut self, parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<T> {
        self.with_parser_until(self.tokens.len(), parse)
    }

    /// Runs sqlparser from here on the tokens before `until`, and moves behind what it took.
    pub fn with_parser_until<T>(
        &mut self,
        until: usize,
        parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let tokens = self.tokens.get(self.at..until).unwrap_or_default().to_vec();
        let end = tokens.last().map_or_else(|| self.end_position(), |token| token.span.end.column as usize);
        let mut parser =
            Parser::new(self.dialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens);
        let parsed = parse(&mut parser).map_err(|error| parser_error(error, end))?;
        // What is left counts from the end: the parser's own index does not tell "none taken" from "one taken".
        let mut left = 0;
        while parser.peek_nth_token_ref(left).token != Token::EOF {
            left += 1;
        }
        self.at = until - left;
        Ok(parsed)
    }

    /// The place (token index) of the first token outside parentheses, from here, for which `stop` holds; else the end.
    pub fn find_outside_parentheses(&self, stop: impl Fn(&Cursor<'a>, usize) -> bool) -> usize {
        let mut depth = 0usize;
        for at in self.at..self.tokens.len() {
            match self.tokens[at].token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && stop(self, at - self.at) {
                return at;
            }
        }
        self.tokens.len()
    }

    /// The text of the tokens from `from` (a token index) to here.
    pub fn text_since(&self, from: usize) -> String {
        let (Some(first), Some(last)) = (self.tokens.get(from), self.tokens.get(self.at.saturating_sub(1))) else {
            return String::new();
        };
        self.text.slice(first.span.start.column as usize, last.span.end.column as usize).to_string()
    }

    /// The index of the next token.
    pub fn index(&self) -> usize {
        self.at
    }

    /// A name, possibly with a schema.
    pub fn name(&mut self) -> Result<Name> {
        let position = self.position();
        let name = self.with_parser(|parser| parser.parse_object_name(false))?;
        object_name(&name, position)
    }

    /// A bare column name.
    pub fn column_name(&mut self) -> Result<Name> {
        let position = self.position();
        let ident = self.with_parser(|parser| parser.parse_identifier())?;
        Ok(Name { schema: None, name: fold(&ident), position })
    }

    pub fn expression(&mut self) -> Result<Expr> {
        self.with_parser(|parser| parser.parse_expr())
    }

    pub fn data_type(&mut self) -> Result<DataType> {
        self.with_parser(|parser| parser.parse_data_type())
    }

    /// A query that ends before token `until`.
    pub fn query_until(&mut self, until: usize) -> Result<Box<Query>> {
        let query = self.with_parser_until(until, |parser| parser.parse_query())?;
        if self.at < until { Err(self.unexpected("the end of the query")) } else { Ok(query) }
    }

    /// `( name, ... )`.
    pub fn name_list(&mut self) -> Result<Vec<Name>> {
        self.expect(&Token::LParen)?;
        let mut names = vec![self.column_name()?];
        while self.take(&Token::Comma) {
            names.push(self.column_name()?);
        }
        self.expect(&Token::RParen)?;
        Ok(names)
    }
}

/// The answer of a visitor that stops at an error.
pub(in crate::sql) fn visited(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// An identifier as it is looked up: folded to lower case unless quoted.
pub(in crate::sql) fn fold(ident: &sqlparser::ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// A name of one or two parts.
pub(in crate::sql) fn object_name(name: &ObjectName, position: usize) -> Result<Name> {
    let parts: Vec<_> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    let position = parts.first().map(|ident| ident.span.start.column as usize).filter(|&at| at > 0).unwrap_or(position);
    match parts.as_slice() {
        [name] => Ok(Name { schema: None, name: fold(name), position }),
        [schema, name] => Ok(Name { schema: Some(fold(schema)), name: fold(name), position }),
        [database, schema, name] if fold(database) == "millstream" => {
            Ok(Name { schema: Some(fold(schema)), name: fold(name), position })
        }
        _ => Err(Error::syntax(format!("name \"{name}\" has too many parts"))
            .with_hint("Write name, or schema.name.")
            .at(position)),
    }
}
