//! The stored layout of state entries: what a cut writes and a load reads. On disk; a golden test guards it.
//!
//! Within one table (its `u16` number is written before, big-endian, by whoever joins the tables of an operator):
//!
//! | field | bytes | of kind |
//! |---|---|---|
//! | key group | 1: low byte of xxh3-64 over the *key* field | all |
//! | order | [`crate::types::RowCodec`] of the spec's `order` | Ordered |
//! | key | `RowCodec` of the spec's `key` | all |
//! | row | `RowCodec` of the spec's `row` | Bag |
//!
//! No lengths: `RowCodec` is self-delimiting given the types, so stored keys sort by (group, order, key, row).
//! The value is a version byte `01`, then: Map, Ordered: the operator's bytes. Bag: the weight, `i64` big-endian.
//!
//! Worked entry of a Bag with key `(7::bigint)` and row `('a')`, weight 2:
//! `43 · 01 80 00 00 00 00 00 00 07 · 01 61 00 00` → `01 · 00 00 00 00 00 00 00 02`.
#![deny(clippy::indexing_slicing)]

use super::{TableKind, TableSpec};
use crate::base::{Error, Result};
use crate::types::{RowCodec, SqlType, key_group};

/// The version byte at the head of every stored value.
pub const LAYOUT_VERSION: u8 = 1;

/// A stored key, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredKey<'a> {
    /// The key group.
    pub group: u8,
    /// The order (Ordered tables; else empty).
    pub order: &'a [u8],
    /// The key.
    pub key: &'a [u8],
    /// The row (Bag tables; else empty).
    pub row: &'a [u8],
}

impl<'a> StoredKey<'a> {
    /// Takes apart the stored key of a table of `spec`. `Corrupt` when the bytes are not such a key.
    pub fn parse(spec: &TableSpec, bytes: &'a [u8]) -> Result<StoredKey<'a>> {
        let (group, rest) = bytes.split_first().ok_or_else(|| torn(spec))?;
        let (order, rest) = split(&spec.order, rest).ok_or_else(|| torn(spec))?;
        let (key, row) = split(&spec.key, rest).ok_or_else(|| torn(spec))?;
        let has_row = match spec.kind {
            TableKind::Bag => true,
            TableKind::Map | TableKind::Ordered => false,
        };
        if key_group(key) != *group || (!has_row && !row.is_empty()) {
            return Err(torn(spec));
        }
        Ok(StoredKey { group: *group, order, key, row })
    }
}

fn torn(spec: &TableSpec) -> Error {
    Error::corrupt(format!("stored key of state table \"{}\" is not of the table's types", spec.name))
}

/// Appends the stored key of (order, key, row).
pub(super) fn write_key(out: &mut Vec<u8>, order: &[u8], key: &[u8], row: &[u8]) {
    out.push(key_group(key));
    out.extend_from_slice(order);
    out.extend_from_slice(key);
    out.extend_from_slice(row);
}

/// The payload behind the version byte.
pub(super) fn read_value(bytes: &[u8]) -> Result<&[u8]> {
    match bytes.split_first() {
        Some((&LAYOUT_VERSION, payload)) => Ok(payload),
        Some((version, _)) => Err(Error::corrupt(format!("stored state value has layout version {version}"))
            .with_detail(format!("This build reads version {LAYOUT_VERSION}."))
            .with_hint("Start the data directory with the build that wrote it.")),
        None => Err(Error::corrupt("stored state value is empty; expected a version byte")),
    }
}

/// The weight in a Bag's value.
pub(super) fn read_weight(bytes: &[u8]) -> Result<i64> {
    let payload = read_value(bytes)?;
    let payload = <[u8; 8]>::try_from(payload)
        .map_err(|_| Error::corrupt(format!("stored weight has {} bytes; expected 8", payload.len())))?;
    Ok(i64::from_be_bytes(payload))
}

/// Splits `bytes` behind one encoded row of `types`; `None` when they end before, or a marker is unknown.
pub(super) fn split<'a>(types: &[SqlType], bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut rest = bytes;
    for ty in types {
        rest = RowCodec::skip(ty, rest)?;
    }
    bytes.split_at_checked(bytes.len() - rest.len())
}
