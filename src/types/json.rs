//! JSON text, scanned in place: where a value ends, what a string says. Nothing is built.

use crate::base::sqlstate;
use crate::types::Reason;

/// How deep arrays and objects may be nested.
pub const DEPTH_MAX: usize = 256;

/// What kind a JSON value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// Why text is no JSON; the text of the first thing that was not expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its offset in the text.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl Malformed {
    /// `invalid input syntax for type json`, 22P02.
    pub fn reason(&self) -> Reason {
        if self.what == TOO_DEEP {
            return Reason::new(
                sqlstate::STATEMENT_TOO_COMPLEX,
                format!("JSON is nested deeper than {DEPTH_MAX} levels"),
            );
        }
        Reason::new(sqlstate::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
    }
}

const TOO_DEEP: &str = "it is nested too deep";

/// A place in JSON text.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

type Scanned<T> = Result<T, Malformed>;

impl<'a> Scanner<'a> {
    /// At the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    /// The offset reached.
    pub fn at(&self) -> usize {
        self.at
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn wrong<T>(&self, what: &'static str) -> Scanned<T> {
        Err(Malformed { at: self.at, what })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    /// Skips white space.
    #[inline]
    pub fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `byte` if it stands here (behind white space).
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Fails unless only white space is left.
    pub fn end(&mut self) -> Scanned<()> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.wrong("something follows the value") }
    }

    /// The kind of the value that stands here.
    #[inline]
    pub fn token(&mut self) -> Scanned<Token> {
        self.space();
        match self.peek() {
            Some(b'"') => Ok(Token::String),
            Some(b'{') => Ok(Token::Object),
            Some(b'[') => Ok(Token::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Token::Number),
            Some(b't') => Ok(Token::True),
            Some(b'f') => Ok(Token::False),
            Some(b'n') => Ok(Token::Null),
            Some(_) => self.wrong("no value begins like this"),
            None => self.wrong("it ends too early"),
        }
    }

    /// Skips the value that stands here and returns its text, without the white space around it.
    pub fn value(&mut self) -> Scanned<(Token, &'a str)> {
        let token = self.token()?;
        let start = self.at;
        self.skip(token, 0)?;
        Ok((token, self.text.get(start..self.at).unwrap_or_default()))
    }

    fn skip(&mut self, token: Token, depth: usize) -> Scanned<()> {
        match token {
            Token::Null => self.word("null"),
            Token::True => self.word("true"),
            Token::False => self.word("false"),
            Token::Number => self.number().map(drop),
            Token::String => self.string().map(drop),
            Token::Array | Token::Object if depth >= DEPTH_MAX => self.wrong(TOO_DEEP),
            Token::Array => {
                self.at += 1;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    let token = self.token()?;
                    self.skip(token, depth + 1)?;
                    if !self.more(b']')? {
                        return Ok(());
                    }
                }
            }
            Token::Object => {
                self.at += 1;
                if self.take(b'}') {
                    return Ok(());
                }
                loop {
                    self.key()?;
                    let token = self.token()?;
                    self.skip(token, depth + 1)?;
                    if !self.more(b'}')? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes a comma (true) or the end of the array or object (false).
    #[inline]
    pub fn more(&mut self, end: u8) -> Scanned<bool> {
        if self.take(b',') {
            return Ok(true);
        }
        if self.take(end) { Ok(false) } else { self.wrong("expected a comma or the end") }
    }

    /// A key and its colon; the key between its quotes, escapes in place.
    #[inline]
    pub fn key(&mut self) -> Scanned<Raw<'a>> {
        self.space();
        let key = self.string()?;
        if self.take(b':') { Ok(key) } else { self.wrong("expected a colon") }
    }

    fn word(&mut self, word: &'static str) -> Scanned<()> {
        let follows = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        let end = self.at + word.len();
        let ends = !matches!(self.bytes().get(end), Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_'));
        if !follows || !ends {
            return self.wrong("it is no JSON word");
        }
        self.at = end;
        Ok(())
    }

    fn digits(&mut self) -> Scanned<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { self.wrong("expected a digit") }
    }

    /// A number's text.
    pub fn number(&mut self) -> Scanned<&'a str> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let zero = self.peek() == Some(b'0');
        let first = self.at;
        self.digits()?;
        if zero && self.at > first + 1 {
            return self.wrong("a number begins with zero");
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'a'..=b'z' | b'A'..=b'Z' | b'_')) {
            return self.wrong("a letter follows a number");
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// A string, between its quotes.
    pub fn string(&mut self) -> Scanned<Raw<'a>> {
        if self.peek() != Some(b'"') {
            return self.wrong("expected a string");
        }
        let start = self.at + 1;
        let mut escaped = false;
        let mut at = start;
        loop {
            at += plain(self.bytes().get(at..).unwrap_or_default());
            match self.bytes().get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += match self.bytes().get(at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        Some(b'u') if self.hex(at + 2).is_some() => 6,
                        _ => {
                            self.at = at;
                            return self.wrong("it is no escape");
                        }
                    };
                }
                Some(0..=0x1f) => {
                    self.at = at;
                    return self.wrong("a control character stands in a string");
                }
                Some(_) => at += 1,
                None => {
                    self.at = at;
                    return self.wrong("a string does not end");
                }
            }
        }
        self.at = at + 1;
        Ok(Raw { text: self.text.get(start..at).unwrap_or_default(), escaped })
    }

    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.bytes().get(at..at + 4)?;
        digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
    }
}

/// How many bytes at the head of `text`, by eights, surely are no quote, no backslash and no control character, up to the first
/// that is one.
#[inline]
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // Sets the high bit of the lowest byte below `limit` (and maybe of bytes above it).
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
    let (words, _) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = is(b'"') | is(b'\\') | below(word, 0x20);
        if found != 0 {
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8
}

/// A string as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Between the quotes.
    pub text: &'a str,
    /// Whether it holds escapes.
    pub escaped: bool,
}

impl Raw<'_> {
    /// Whether it says `other`.
    pub fn is(&self, other: &str) -> bool {
        if !self.escaped {
            return self.text == other;
        }
        let mut said = String::new();
        self.push_to(&mut said).is_ok() && said == other
    }

    /// Appends what it says. A NUL and half a surrogate pair are refused (22P05), as PostgreSQL does.
    pub fn push_to(&self, out: &mut String) -> Result<(), Reason> {
        if !self.escaped {
            out.push_str(self.text);
            return Ok(());
        }
        let mut rest = self.text;
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            let (before, escape) = rest.split_at(at);
            out.push_str(before);
            let mut chars = escape.chars();
            chars.next();
            match chars.next() {
                Some('b') => out.push('\u{8}'),
                Some('f') => out.push('\u{c}'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('u') => {
                    rest = unicode(chars.as_str(), out)?;
                    continue;
                }
                Some(other) => out.push(other),
                None => {}
            }
            rest = chars.as_str();
        }
        out.push_str(rest);
        Ok(())
    }
}

/// Appends the character of four hex digits, or of two such escapes that are a surrogate pair, at the head of `text`; returns what follows.
fn unicode<'a>(text: &'a str, out: &mut String) -> Result<&'a str, Reason> {
    let half = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let refused = |what: &'static str| Err(Reason::new(sqlstate::UNTRANSLATABLE_CHARACTER, what));
    let first = half(text).unwrap_or_default();
    let rest = text.get(4..).unwrap_or_default();
    if first == 0 {
        return refused("unsupported Unicode escape sequence: \\u0000 cannot be converted to text");
    }
    if let Some(character) = char::from_u32(first) {
        out.push(character);
        return Ok(rest);
    }
    let second = rest.strip_prefix("\\u").and_then(half).filter(|low| (0xdc00..0xe000).contains(low));
    let pair = second.filter(|_| first < 0xdc00).map(|low| 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00));
    match pair.and_then(char::from_u32) {
        Some(character) => {
            out.push(character);
            Ok(rest.get(6..).unwrap_or_default())
        }
        None => Err(Reason::new(sqlstate::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")),
    }
}

/// Appends `text` as a JSON string with its quotes.
pub fn write_string(text: &str, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
    out.write_char('"')?;
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            8 => "\\b",
            12 => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        out.write_str(text.get(from..at).unwrap_or_default())?;
        if escape.is_empty() {
            write!(out, "\\u{byte:04x}")?
        } else {
            out.write_str(escape)?
        }
        from = at + 1;
    }
    out.write_str(text.get(from..).unwrap_or_default())?;
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_do() {
        let check = |text: &str, expected: Result<&str, usize>| {
            let mut scanner = Scanner::new(text);
            let found = scanner.value().and_then(|(_, value)| scanner.end().map(|()| value));
            assert_eq!(found.map_err(|error| error.at), expected, "{text}");
        };
        check(
            " {\"a\" : [1, -2.5e+3, null], \"b\": \"x\\\"\\u00e4\"} ",
            Ok("{\"a\" : [1, -2.5e+3, null], \"b\": \"x\\\"\\u00e4\"}"),
        );
        check("[]", Ok("[]"));
        check("01", Err(2));
        check("1.", Err(2));
        check("tru", Err(0));
        check("truex", Err(0));
        check("[1,]", Err(3));
        check("{\"a\" 1}", Err(5));
        check("\"\n\"", Err(1));
        check("\"\\x\"", Err(1));
        check("1 2", Err(2));
        check("", Err(0));
        let deep = "[".repeat(100_000);
        assert_eq!(Scanner::new(&deep).value().unwrap_err().what, TOO_DEEP);
    }

    #[test]
    fn plain_bytes_are_passed_over_by_eights() {
        let special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        for around in [b'a', 0x21, 0x20, 0x7f, 0x80, 0xff, b'#', b']'] {
            for byte in 0..=u8::MAX {
                for at in 0..20 {
                    let mut text = [around; 20];
                    text[at] = byte;
                    let expected = if special(byte) && at < 16 { at } else { 16 };
                    assert_eq!(plain(&text), expected, "{byte:#x} at {at} in {around:#x}");
                }
            }
        }
        assert_eq!((plain(b""), plain(b"1234567\""), plain(b"1234567")), (0, 7, 0));
    }

    #[test]
    fn strings_say_what_they_say() {
        let said = |text: &str| {
            let mut out = String::new();
            Scanner::new(text).string().unwrap().push_to(&mut out).map(|()| out).map_err(|reason| reason.code())
        };
        assert_eq!(said(r#""a\n\u00e4\ud83d\ude00\/""#), Ok("a\nä😀/".to_owned()));
        assert_eq!(said(r#""\u0000""#), Err("22P05"));
        assert_eq!(said(r#""\ud83d""#), Err("22P02"));
        let mut out = String::new();
        write_string("a\"\u{1}\n", &mut out).unwrap();
        assert_eq!(out, "\"a\\\"\\u0001\\n\"");
    }
}
