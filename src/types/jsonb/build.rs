//! Making JSONB: from text, and from parts.

use super::{ARRAY, FALSE, NULL, NUMBER, OBJECT, STRING, TRUE, number};
use crate::types::Reason;
use crate::types::json::{Malformed, Scanner, Token};

/// Appends the value that `text` spells; text that is no JSON is refused (22P02).
pub fn from_text(text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    // The scanner bounds the depth before anything is built.
    let mut scanner = Scanner::new(text);
    scanner.value().and_then(|_| scanner.end()).map_err(|error| error.reason())?;
    let mut scratch = String::new();
    value(&mut Scanner::new(text), &mut scratch, out)
}

fn malformed(error: Malformed) -> Reason {
    error.reason()
}

fn value(scanner: &mut Scanner<'_>, scratch: &mut String, out: &mut Vec<u8>) -> Result<(), Reason> {
    match scanner.token().map_err(malformed)? {
        Token::Null => leaf(scanner, push_null, out),
        Token::True => leaf(scanner, |out| push_bool(true, out), out),
        Token::False => leaf(scanner, |out| push_bool(false, out), out),
        Token::Number => push_number(scanner.number().map_err(malformed)?, out),
        Token::String => {
            scratch.clear();
            scanner.string().map_err(malformed)?.push_to(scratch)?;
            push_string(scratch, out);
            Ok(())
        }
        Token::Array => {
            scanner.take(b'[');
            let mut count = 0u32;
            out.push(ARRAY);
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            if !scanner.take(b']') {
                loop {
                    value(scanner, scratch, out)?;
                    count += 1;
                    if !scanner.more(b']').map_err(malformed)? {
                        break;
                    }
                }
            }
            set_count(out, at, count);
            Ok(())
        }
        Token::Object => {
            scanner.take(b'{');
            let mut object = Object::default();
            if !scanner.take(b'}') {
                loop {
                    scratch.clear();
                    scanner.key().map_err(malformed)?.push_to(scratch)?;
                    let key = scratch.clone();
                    object.add_with(key, |out| value(scanner, scratch, out))?;
                    if !scanner.more(b'}').map_err(malformed)? {
                        break;
                    }
                }
            }
            object.finish(out);
            Ok(())
        }
    }
}

fn leaf(scanner: &mut Scanner<'_>, push: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) -> Result<(), Reason> {
    scanner.value().map_err(malformed)?;
    push(out);
    Ok(())
}

fn set_count(out: &mut [u8], at: usize, count: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}

/// Appends null.
pub fn push_null(out: &mut Vec<u8>) {
    out.push(NULL);
}

/// Appends true or false.
pub fn push_bool(value: bool, out: &mut Vec<u8>) {
    out.push(if value { TRUE } else { FALSE });
}

/// Appends a string. It ends at its first NUL, which no text of PostgreSQL's holds.
pub fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(STRING);
    out.extend(text.bytes().take_while(|byte| *byte != 0));
    out.push(0);
}

/// Appends a number in JSON's spelling.
pub fn push_number(text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    out.push(NUMBER);
    number::push(text, out)
}

/// Appends an array of these values.
pub fn push_array<'a>(elements: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    out.push(ARRAY);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0;
    for element in elements {
        out.extend_from_slice(element);
        count += 1;
    }
    set_count(out, at, count);
}

/// An object under construction: of one key twice, the last value stays.
#[derive(Default)]
pub struct Object {
    pairs: Vec<(String, Vec<u8>)>,
}

impl Object {
    /// Sets `key` to a value given by its bytes.
    pub fn add(&mut self, key: &str, value: &[u8]) {
        self.pairs.push((key.to_owned(), value.to_vec()));
    }

    /// Sets `key` to what `write` appends.
    pub fn add_with<E>(&mut self, key: String, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let mut value = Vec::new();
        write(&mut value)?;
        self.pairs.push((key, value));
        Ok(())
    }

    /// Leaves out `key`.
    pub fn remove(&mut self, key: &str) {
        self.pairs.retain(|(name, _)| name != key);
    }

    /// Appends it.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        // A stable sort: of equal keys the last one added comes last, and stays.
        self.pairs.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
        out.push(OBJECT);
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut count = 0;
        for (i, (key, value)) in self.pairs.iter().enumerate() {
            if self.pairs.get(i + 1).is_some_and(|(next, _)| next == key) {
                continue;
            }
            out.extend(key.bytes().take_while(|byte| *byte != 0));
            out.push(0);
            out.extend_from_slice(value);
            count += 1;
        }
        set_count(out, at, count);
    }
}
