//! Literals that are never shown again: passwords and the values of secrets. From the parser on, the text of such a statement
//! has `'***'` in their places: that is what other sessions, logs and the catalog see of it.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::dialect::is_word;
use super::Text;
use crate::base::Error;

/// What stands in the place of a literal.
const SHOWN: &str = "'***'";

/// The literals of a statement that are not shown: where they stand (1-based characters, end exclusive), and what they say.
pub(super) struct Hidden(Vec<(usize, usize, String)>);

impl Hidden {
    /// All texts of a statement about roles or secrets; nothing of any other.
    pub(super) fn of(tokens: &[TokenWithSpan]) -> Hidden {
        let word = |place: usize, words: &[&str]| {
            tokens.get(place).is_some_and(|token| words.iter().any(|word| is_word(&token.token, word)))
        };
        if !word(0, &["create", "alter"]) || !word(1, &["role", "user", "group", "secret"]) {
            return Hidden(Vec::new());
        }
        let literal = |token: &TokenWithSpan| {
            let text = match &token.token {
                Token::SingleQuotedString(text)
                | Token::EscapedStringLiteral(text)
                | Token::UnicodeStringLiteral(text)
                | Token::NationalStringLiteral(text)
                | Token::DoubleQuotedString(text) => text.clone(),
                Token::DollarQuotedString(text) => text.value.clone(),
                _ => return None,
            };
            Some((token.span.start.column as usize, token.span.end.column as usize, text))
        };
        Hidden(tokens.iter().filter_map(literal).collect())
    }

    /// The characters `from..to` of `text`, without the literals.
    pub(super) fn text(&self, text: &Text<'_>, from: usize, to: usize) -> String {
        let (mut parts, mut at) = (Vec::new(), from);
        for (start, end, _) in &self.0 {
            parts.extend([text.slice(at, *start), SHOWN]);
            at = *end;
        }
        parts.push(text.slice(at, to));
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    }

    /// The same error; without its texts if they quote a literal.
    pub(super) fn error(&self, error: Error) -> Error {
        let quotes = |text: &str| self.0.iter().any(|(_, _, literal)| !literal.is_empty() && text.contains(literal));
        let texts = [Some(error.message()), error.detail(), error.hint()];
        if !texts.into_iter().flatten().any(quotes) {
            return error;
        }
        let plain = Error::syntax("syntax error at or near a text that is not shown")
            .with_hint("A password or the value of a secret stands alone: PASSWORD '...', AS '...'.");
        match error.position() {
            Some(position) => plain.at(position),
            None => plain,
        }
    }
}
