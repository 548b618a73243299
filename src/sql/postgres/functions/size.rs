//! Sizes of relations, and how sizes are written.

use super::super::names::Reg;
use super::super::table::Value;
use super::{Call, Entry, entry, number, text};
use crate::base::{Error, Result};
use crate::catalog::RelationKind;
use crate::catalog::postgres::relation_of_oid;

pub(super) const ENTRIES: &[Entry] = &[
    entry("pg_relation_size", (1, 2), number, of_relation),
    entry("pg_table_size", (1, 1), number, of_relation),
    entry("pg_total_relation_size", (1, 1), number, of_all),
    entry("pg_indexes_size", (1, 1), number, of_indexes),
    entry("pg_database_size", (1, 1), number, |call| Ok(total(call).into())),
    entry("pg_tablespace_size", (1, 1), number, |call| Ok(total(call).into())),
    // How often indexes were read is not counted.
    entry("pg_stat_get_numscans", (1, 1), number, |_| Ok(0u32.into())),
    entry("pg_size_pretty", (1, 1), text, |call| Ok(call.int(0).map(pretty).into())),
    entry("pg_size_bytes", (1, 1), number, |call| bytes(call.text(0).unwrap_or_default()).map(Value::Int)),
];

fn total(call: &Call<'_>) -> i64 {
    i64::try_from(call.facts.bytes.get().map_or(0, |bytes| bytes.values().sum::<u64>())).unwrap_or(i64::MAX)
}

fn relation_bytes(call: &Call<'_>, id: crate::types::RelationId) -> i64 {
    call.facts.bytes.get().and_then(|bytes| bytes.get(&id)).map_or(0, |&bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn of_relation(call: &Call<'_>) -> Result<Value> {
    let relation = relation_of_oid(&call.facts.catalog, call.oid(0, Reg::Class)?);
    Ok(relation.map(|relation| relation_bytes(call, relation.id)).into())
}

fn of_indexes(call: &Call<'_>) -> Result<Value> {
    let relation = relation_of_oid(&call.facts.catalog, call.oid(0, Reg::Class)?);
    let sum = |relation: std::sync::Arc<crate::catalog::Relation>| -> i64 {
        let indexes = call.facts.catalog.belongings(relation.id).into_iter();
        let indexes = indexes.filter(|belonging| matches!(belonging.kind, RelationKind::Index(_)));
        indexes.map(|index| relation_bytes(call, index.id)).sum()
    };
    Ok(relation.map(sum).into())
}

fn of_all(call: &Call<'_>) -> Result<Value> {
    match (of_relation(call)?, of_indexes(call)?) {
        (Value::Int(rows), Value::Int(indexes)) => Ok(Value::Int(rows.saturating_add(indexes))),
        _ => Ok(Value::Null),
    }
}

/// As PostgreSQL writes a size: a unit is used below 10 × the next one, and rounded half away from zero.
pub(super) fn pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    // Doubled from the first division on, so that the last bit tells how to round.
    let mut doubled = i128::from(bytes);
    let mut half = false;
    loop {
        let limit = if unit == 0 { 10 * 1024 } else { 20 * 1024 - 1 };
        if doubled.abs() < limit || unit + 1 == UNITS.len() {
            break;
        }
        doubled /= if unit == 0 { 512 } else { 1024 };
        half = true;
        unit += 1;
    }
    let shown = if half { (doubled + doubled.signum()) / 2 } else { doubled };
    format!("{shown} {}", UNITS.get(unit).copied().unwrap_or("PB"))
}

fn bytes(text: &str) -> Result<i64> {
    let invalid =
        || Error::invalid(format!("invalid size: \"{text}\"")).with_hint("Write a number and B, kB, MB, GB, TB or PB.");
    let trimmed = text.trim();
    let end = trimmed.find(|ch: char| ch.is_alphabetic()).unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(end);
    let value: f64 = digits.trim().parse().map_err(|_| invalid())?;
    let power = match unit.trim().to_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "kb" => 1,
        "mb" => 2,
        "gb" => 3,
        "tb" => 4,
        "pb" => 5,
        _ => return Err(invalid()),
    };
    let bytes = value * 1024f64.powi(power);
    if bytes.abs() < 9.2e18 { Ok(bytes.round() as i64) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_postgres_writes_them() {
        let check = |bytes: i64, expected: &str| assert_eq!(pretty(bytes), expected, "{bytes}");
        check(0, "0 bytes");
        check(10_239, "10239 bytes");
        check(10_240, "10 kB");
        check(1_000_000, "977 kB");
        check(-1_000_000, "-977 kB");
        check(1_000_000_000, "954 MB");
        check(1_000_000_000_000, "931 GB");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("1 kB").unwrap(), 1024);
        assert_eq!(bytes("1.5MB").unwrap(), 1_572_864);
        assert!(bytes("x").is_err());
    }
}
