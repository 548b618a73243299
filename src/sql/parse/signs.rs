//! Where an operator ends before a sign: `j->-1`, `a*-b`.
//!
//! PostgreSQL's rule: a name of several characters may end in `+` or `-` only if it holds one of ``~ ! @ # % ^ & | ` ?`` (its
//! manual, 4.1.3). sqlparser takes all characters of operators together.

use sqlparser::dialect::Dialect;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// `tokens` with signs by themselves. Positions are in columns.
pub(super) fn part(tokens: Vec<TokenWithSpan>, dialect: &dyn Dialect) -> Vec<TokenWithSpan> {
    let mut parted = Vec::with_capacity(tokens.len());
    for token in tokens {
        let split = match &token.token {
            Token::CustomBinaryOperator(name) => split(name, dialect),
            _ => None,
        };
        let Some(split) = split else {
            parted.push(token);
            continue;
        };
        let mut column = token.span.start.column;
        for (token, length) in split {
            let at = |column| Location { line: 1, column };
            parted.push(TokenWithSpan { token, span: Span::new(at(column), at(column + length)) });
            column += length;
        }
    }
    parted
}

/// The operator and the signs behind it, with their lengths; `None`: it is one name.
fn split(name: &str, dialect: &dyn Dialect) -> Option<Vec<(Token, u64)>> {
    // A name of signs alone is one sign and others.
    let operator = &name[..name.trim_end_matches(['+', '-']).len().max(1)];
    if operator.len() == name.len() || name.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) {
        return None;
    }
    let mut tokens = Tokenizer::new(dialect, operator).tokenize().ok()?;
    let first = tokens.pop().filter(|_| tokens.is_empty())?;
    let sign = |sign| (if sign == '-' { Token::Minus } else { Token::Plus }, 1);
    Some([(first, operator.len() as u64)].into_iter().chain(name[operator.len()..].chars().map(sign)).collect())
}
