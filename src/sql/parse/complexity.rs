//! Limits on a statement's shape, judged on its tokens: what comes after walks trees with the thread's stack.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::dialect::is_word;
use crate::base::{Error, Result, sqlstate};

/// Parentheses and brackets that may be open at once.
const NESTING_MAX: usize = 64;
/// Operators in a row, without parentheses or commas between them: `a AND b AND c` has two.
const CHAIN_MAX: usize = 500;
/// Joins and set operations of one query level.
const BRANCHES_MAX: usize = 200;

/// Refuses what is nested or chained more deeply than the limits above.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = vec![Level::default()];
    let mut arrays = 0usize;
    let mut cases = 0usize;
    for token in tokens {
        let at = token.span.start.column as usize;
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                levels.push(Level::default());
                if levels.len() > NESTING_MAX + 1 {
                    return Err(too_complex(format!("statement nests more than {NESTING_MAX} parentheses"), at));
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace if levels.len() > 1 => {
                levels.pop();
            }
            _ => {}
        }
        arrays += usize::from(is_word(&token.token, "array"));
        cases += usize::from(is_word(&token.token, "case"));
        cases = cases.saturating_sub(usize::from(is_word(&token.token, "end")));
        if cases > NESTING_MAX || (arrays > NESTING_MAX && matches!(token.token, Token::Lt)) {
            return Err(too_complex(format!("statement nests more than {NESTING_MAX} expressions"), at));
        }
        let Some(level) = levels.last_mut() else { continue };
        level.see(&token.token);
        if level.operators > CHAIN_MAX {
            return Err(too_complex(format!("expression chains more than {CHAIN_MAX} operators"), at));
        }
        if level.branches > BRANCHES_MAX {
            return Err(too_complex(format!("query has more than {BRANCHES_MAX} joins or set operations"), at));
        }
    }
    Ok(())
}

/// What one level of parentheses has seen.
#[derive(Default)]
struct Level {
    operators: usize,
    branches: usize,
}

impl Level {
    fn see(&mut self, token: &Token) {
        match token {
            Token::Comma => self.operators = 0,
            Token::Word(word) if word.quote_style.is_none() => match word.value.to_ascii_lowercase().as_str() {
                "and" | "or" | "not" | "is" | "like" | "ilike" | "similar" | "collate" | "at" | "in" | "between" => {
                    self.operators += 1;
                }
                "join" | "union" | "intersect" | "except" => self.branches += 1,
                _ => {}
            },
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::LParen
            | Token::RParen
            | Token::LBracket
            | Token::RBracket
            | Token::Period
            | Token::Placeholder(_) => {}
            _ => self.operators += 1,
        }
    }
}

fn too_complex(message: String, position: usize) -> Error {
    Error::limit(message)
        .with_code(sqlstate::STATEMENT_TOO_COMPLEX)
        .with_hint("Write long chains as x IN (...) or = ANY (...), and inner queries as views or WITH name AS (...).")
        .at(position)
}
