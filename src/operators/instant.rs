//! Times as the bytes that order them: what ordered tables and rows of sessions begin with.

use crate::base::{Error, Result};

/// The canonical bytes of a time.
pub(super) fn time_key(time: i64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(1);
    key.extend_from_slice(&(time ^ i64::MIN).to_be_bytes());
    key
}

/// The time with which `bytes` begin.
pub(super) fn time_of(bytes: &[u8]) -> Result<i64> {
    match bytes.split_first() {
        Some((1, rest)) => rest.first_chunk::<8>().map(|time| i64::from_be_bytes(*time) ^ i64::MIN),
        _ => None,
    }
    .ok_or_else(|| Error::corrupt("a row of state begins with no time"))
}
