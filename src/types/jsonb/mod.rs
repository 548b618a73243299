//! JSONB values as canonical bytes whose order is PostgreSQL's. They are on disk; a golden test guards them.
//!
//! | value | bytes |
//! |---|---|
//! | null | `01` |
//! | string | `02`, its UTF-8, `00` (a JSON string holds no NUL here, as in PostgreSQL) |
//! | number | `03`, then see [`number`] |
//! | false, true | `04`, `05` |
//! | array | `06`, how many (4, big-endian), the elements |
//! | object | `07`, how many pairs (4), then key (UTF-8, `00`) and value of each; keys once, shorter ones first, then by bytes |
//!
//! So Object > Array > Boolean > Number > String > Null, and longer arrays and objects after shorter ones. Two things
//! differ from PostgreSQL: text compares by bytes (its collation "C"), and `1.0` is not equal to `1`, which it is
//! shown apart from (there they are equal, and one of them is shown for both).
//!
//! Worked value: `{"b": [1, null], "a": "x"}` is
//! `07 00000002 · 61 00 · 02 78 00 · 62 00 · 06 00000002 · 03 82 80000001 02 00 0000 · 01`.

mod build;
pub mod number;
mod write;

pub use build::{Object, from_text, push_array, push_bool, push_null, push_number, push_string};
pub use write::{to_json, to_text};

pub(super) const NULL: u8 = 1;
pub(super) const STRING: u8 = 2;
pub(super) const NUMBER: u8 = 3;
pub(super) const FALSE: u8 = 4;
pub(super) const TRUE: u8 = 5;
pub(super) const ARRAY: u8 = 6;
pub(super) const OBJECT: u8 = 7;

/// A value, taken apart one level deep. Bytes that are no JSONB read as null.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// null.
    Null,
    /// A string.
    String(&'a str),
    /// A number: its encoding, for [`number::write`].
    Number(&'a [u8]),
    /// true or false.
    Bool(bool),
    /// An array.
    Array(Elements<'a>),
    /// An object.
    Object(Pairs<'a>),
}

impl<'a> Item<'a> {
    /// The value at the head of `bytes`.
    pub fn of(bytes: &'a [u8]) -> Item<'a> {
        let Some((tag, rest)) = bytes.split_first() else { return Item::Null };
        match *tag {
            STRING => Item::String(text(rest).map_or("", |(text, _)| text)),
            NUMBER => Item::Number(rest),
            FALSE => Item::Bool(false),
            TRUE => Item::Bool(true),
            ARRAY => count(rest).map_or(Item::Null, |(left, rest)| Item::Array(Elements { left, rest })),
            OBJECT => count(rest).map_or(Item::Null, |(left, rest)| Item::Object(Pairs { left, rest })),
            _ => Item::Null,
        }
    }

    /// As `jsonb_typeof` names it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Item::Null => "null",
            Item::String(_) => "string",
            Item::Number(_) => "number",
            Item::Bool(_) => "boolean",
            Item::Array(_) => "array",
            Item::Object(_) => "object",
        }
    }
}

fn count(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*count), rest))
}

/// A string up to its NUL, and what follows.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
    Some((text, bytes.get(end + 1..)?))
}

/// What follows the value at the head of `bytes`; `None` when it is not whole.
pub fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = bytes.split_first()?;
    match *tag {
        NULL | FALSE | TRUE => Some(rest),
        STRING => rest.get(memchr::memchr(0, rest)? + 1..),
        NUMBER => number::skip(rest),
        ARRAY => {
            let (left, rest) = count(rest)?;
            (0..left).try_fold(rest, |rest, _| skip(rest))
        }
        OBJECT => {
            let (left, rest) = count(rest)?;
            (0..left).try_fold(rest, |rest, _| skip(rest.get(memchr::memchr(0, rest)? + 1..)?))
        }
        _ => None,
    }
}

/// The elements of an array, each as its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let tail = skip(self.rest)?;
        let (value, tail) = self.rest.split_at(self.rest.len() - tail.len());
        self.rest = tail;
        Some(value)
    }
}

impl Elements<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

/// The pairs of an object: key, and the value's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<(&'a str, &'a [u8])> {
        self.left = self.left.checked_sub(1)?;
        let (key, rest) = text(self.rest)?;
        let tail = skip(rest)?;
        let (value, tail) = rest.split_at(rest.len() - tail.len());
        self.rest = tail;
        Some((key, value))
    }
}

impl Pairs<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

/// The value of `key` in an object.
pub fn field<'a>(bytes: &'a [u8], key: &str) -> Option<&'a [u8]> {
    match Item::of(bytes) {
        Item::Object(mut pairs) => pairs.find(|(name, _)| *name == key).map(|(_, value)| value),
        Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_) | Item::Array(_) => None,
    }
}

/// The element at `index` of an array; negative ones count from its end.
pub fn element(bytes: &[u8], index: i64) -> Option<&[u8]> {
    let Item::Array(mut elements) = Item::of(bytes) else { return None };
    let index = if index < 0 { index.checked_add(elements.len() as i64)? } else { index };
    elements.nth(usize::try_from(index).ok()?)
}

/// `left @> right`: whether `left` holds everything that `right` does.
pub fn contains(left: &[u8], right: &[u8]) -> bool {
    match (Item::of(left), Item::of(right)) {
        (Item::Object(_), Item::Object(mut wanted)) => {
            wanted.all(|(key, value)| field(left, key).is_some_and(|found| contained(found, value)))
        }
        (Item::Array(found), Item::Array(mut wanted)) => {
            wanted.all(|value| found.into_iter().any(|found| contained(found, value)))
        }
        // An array holds a bare value.
        (Item::Array(mut found), Item::Null | Item::String(_) | Item::Number(_) | Item::Bool(_)) => {
            found.any(|found| equal(found, right))
        }
        _ => equal(left, right),
    }
}

/// As [`contains`], below the top: an array holds no bare value there.
fn contained(found: &[u8], wanted: &[u8]) -> bool {
    let is_array = |bytes: &[u8]| matches!(Item::of(bytes), Item::Array(_));
    is_array(found) == is_array(wanted) && contains(found, wanted)
}

/// Whether two values are equal; numbers by value.
fn equal(left: &[u8], right: &[u8]) -> bool {
    match (Item::of(left), Item::of(right)) {
        (Item::Number(left), Item::Number(right)) => number::value(left) == number::value(right),
        _ => left == right,
    }
}

#[cfg(test)]
mod tests;
