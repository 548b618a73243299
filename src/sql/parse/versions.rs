//! `ASOF JOIN`, made of tokens that sqlparser takes: a plain join with a mark among its conditions.
//!
//! ```text
//! a ASOF [LEFT] JOIN b ON a.k = b.k AND a.ts >= b.ts                      a [LEFT] JOIN b ON __asof() AND a.k = b.k AND ...
//! a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k      a JOIN b ON __asof() AND (a.ts >= b.ts) AND a.k = b.k
//! ```

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::super::dialect::is_word;
use crate::plan::ASOF;

/// Rewrites every ASOF JOIN among `tokens`, which hold no spaces. What is not whole stays, for the parser to refuse.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| is_word(&token.token, "asof")) {
        return tokens;
    }
    let mut tokens = tokens;
    let mut from = 0;
    while let Some(at) = (from..tokens.len()).find(|&i| is_word(&tokens[i].token, "asof")) {
        from = at + 1;
        if let Some(join) = join_of(&tokens, at) {
            from = at + usize::from(!mark(&mut tokens, at, join));
        }
    }
    tokens
}

/// Where JOIN stands behind ASOF.
fn join_of(tokens: &[TokenWithSpan], asof: usize) -> Option<usize> {
    let mut i = asof + 1;
    while tokens.get(i).is_some_and(|t| ["left", "inner", "outer"].iter().any(|word| is_word(&t.token, word))) {
        i += 1;
    }
    tokens.get(i).filter(|token| is_word(&token.token, "join")).map(|_| i)
}

/// Moves the conditions of one join behind its ON, with the mark; whether the join is whole.
fn mark(tokens: &mut Vec<TokenWithSpan>, asof: usize, join: usize) -> bool {
    let Some(at) = outside(tokens, join + 1, &["match_condition", "on"]) else { return false };
    let mut matched = Vec::new();
    if is_word(&tokens[at].token, "match_condition") {
        let open = at + 1;
        let Some(end) = closing(tokens, open) else { return false };
        matched.extend(tokens.drain(at..=end).skip(open - at));
    }
    let span = tokens.get(at).map_or(Span::empty(), |token| token.span);
    let word = |text: &str| TokenWithSpan::new(Token::make_word(text, None), span);
    let mut inserted = Vec::new();
    let on = tokens.get(at).is_some_and(|token| is_word(&token.token, "on"));
    if !on {
        inserted.push(word("ON"));
    }
    inserted.push(word(ASOF));
    inserted.extend([Token::LParen, Token::RParen].map(|token| TokenWithSpan::new(token, span)));
    if !matched.is_empty() {
        inserted.push(word("AND"));
        inserted.append(&mut matched);
    }
    if on {
        inserted.push(word("AND"));
    }
    let place = (at + usize::from(on)).min(tokens.len());
    tokens.splice(place..place, inserted);
    tokens.remove(asof);
    true
}

/// The first of `words` outside parentheses.
fn outside(tokens: &[TokenWithSpan], from: usize, words: &[&str]) -> Option<usize> {
    let mut depth = 0i32;
    for (i, token) in tokens.iter().enumerate().skip(from) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
        if depth == 0 && words.iter().any(|word| is_word(&token.token, word)) {
            return Some(i);
        }
    }
    None
}

/// The parenthesis that closes the one at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    tokens.get(open).filter(|token| token.token == Token::LParen)?;
    let mut depth = 0i32;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
    }
    None
}
