//! Literals that are never shown again: passwords and the values of secrets. From the parser on, the text of such a statement
//! has `'***'` in their places: that is what other sessions, logs and the catalog see of it.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::dialect::is_word;
use super::Text;
use crate::base::Error;

/// What stands in the place of a literal.
const SHOWN: &str = "'***'";

/// The literals of a statement that are not shown: where they stand (1-based characters, end exclusive), and what they say.
pub(super) struct Hidden {
    literals: Vec<(usize, usize, String)>,
    /// Whether the statement itself is such a one.
    whole: bool,
}

impl Hidden {
    /// All texts of a statement about roles or secrets, and whatever stands behind the AS of a secret; nothing of any other.
    /// Also where such a statement stands within another, which does not parse.
    pub(super) fn of(tokens: &[TokenWithSpan]) -> Hidden {
        let word = |place: usize, words: &[&str]| {
            tokens.get(place).is_some_and(|token| words.iter().any(|word| is_word(&token.token, word)))
        };
        let kind = |at: usize| if word(at + 1, &["or"]) && word(at + 2, &["replace"]) { at + 3 } else { at + 1 };
        let begins =
            |at: &usize| word(*at, &["create", "alter"]) && word(kind(*at), &["role", "user", "group", "secret"]);
        let Some(begin) = (0..tokens.len()).find(begins) else {
            return Hidden { literals: Vec::new(), whole: false };
        };
        let value = match word(kind(begin), &["secret"]) {
            true => (kind(begin)..tokens.len()).find(|at| word(*at, &["as"])).unwrap_or(tokens.len()),
            false => tokens.len(),
        };
        let literal = |(at, token): (usize, &TokenWithSpan)| {
            let text = match &token.token {
                Token::SingleQuotedString(text)
                | Token::EscapedStringLiteral(text)
                | Token::UnicodeStringLiteral(text)
                | Token::NationalStringLiteral(text)
                | Token::DoubleQuotedString(text) => text.clone(),
                Token::DollarQuotedString(text) => text.value.clone(),
                Token::Word(word) if at > value => word.value.clone(),
                Token::Number(number, _) if at > value => number.clone(),
                _ => return None,
            };
            Some((token.span.start.column as usize, token.span.end.column as usize, text))
        };
        let literals = tokens.iter().enumerate().skip(begin).filter_map(literal).collect();
        Hidden { literals, whole: begin == 0 }
    }

    /// The characters `from..to` of `text`, without the literals.
    pub(super) fn text(&self, text: &Text<'_>, from: usize, to: usize) -> String {
        let (mut parts, mut at) = (Vec::new(), from);
        for (start, end, _) in self.literals.iter().filter(|_| self.whole) {
            parts.extend([text.slice(at, *start), SHOWN]);
            at = *end;
        }
        parts.push(text.slice(at, to));
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    }

    /// The same error; without its texts if they quote a literal.
    pub(super) fn error(&self, error: Error) -> Error {
        let quotes =
            |text: &str| self.literals.iter().any(|(_, _, literal)| !literal.is_empty() && text.contains(literal));
        let texts = [Some(error.message()), error.detail(), error.hint()];
        // What stands where a literal does may spell it in another way.
        let stands = |(start, end, _): &(usize, usize, String)| {
            error.position().is_some_and(|at| (*start..*end).contains(&at)) && error.message().contains(" near ")
        };
        if !texts.into_iter().flatten().any(quotes) && !self.literals.iter().any(stands) {
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
