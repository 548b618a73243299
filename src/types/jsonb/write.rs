//! JSONB as text: PostgreSQL's, with a space behind commas and colons, and without.

use std::fmt::{Result, Write};

use super::{Item, number};
use crate::types::json::write_string;

/// As PostgreSQL shows it: `{"a": [1, 2]}`.
pub fn to_text(bytes: &[u8], out: &mut dyn Write) -> Result {
    write(bytes, " ", out)
}

/// Without spaces, for JSON records: `{"a":[1,2]}`.
pub fn to_json(bytes: &[u8], out: &mut dyn Write) -> Result {
    write(bytes, "", out)
}

fn write(bytes: &[u8], space: &str, out: &mut dyn Write) -> Result {
    match Item::of(bytes) {
        Item::Null => out.write_str("null"),
        Item::String(text) => write_string(text, out),
        Item::Number(digits) => number::write(digits, out),
        Item::Bool(value) => out.write_str(if value { "true" } else { "false" }),
        Item::Array(elements) => {
            out.write_char('[')?;
            for (i, element) in elements.enumerate() {
                if i > 0 {
                    write!(out, ",{space}")?;
                }
                write(element, space, out)?;
            }
            out.write_char(']')
        }
        Item::Object(pairs) => {
            out.write_char('{')?;
            for (i, (key, value)) in pairs.enumerate() {
                if i > 0 {
                    write!(out, ",{space}")?;
                }
                write_string(key, out)?;
                write!(out, ":{space}")?;
                write(value, space, out)?;
            }
            out.write_char('}')
        }
    }
}
