//! UUIDs out of text.

use super::read::{Parsed, invalid};
use crate::types::SqlType;

/// A UUID: 32 hex digits, a hyphen allowed behind every fourth, in braces or not.
pub(crate) fn uuid(text: &str) -> Parsed<[u8; 16]> {
    let wrong = || invalid(&SqlType::Uuid, text);
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(wrong)?,
        None => text,
    };
    let (mut bytes, mut digits) = ([0u8; 16], 0usize);
    let mut after_hyphen = false;
    for c in inner.chars() {
        if c == '-' && digits > 0 && digits % 4 == 0 && digits < 32 && !after_hyphen {
            after_hyphen = true;
            continue;
        }
        after_hyphen = false;
        let digit = c.to_digit(16).ok_or_else(wrong)?;
        let byte = bytes.get_mut(digits / 2).ok_or_else(wrong)?;
        *byte = *byte << 4 | digit as u8;
        digits += 1;
    }
    if digits == 32 { Ok(bytes) } else { Err(wrong()) }
}
