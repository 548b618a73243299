//! `has_*_privilege`: there is no default deny yet, whoever is connected may do everything.

use super::super::names::{Reg, missing};
use super::super::table::Value;
use super::{Call, Entry, entry, flag};
use crate::base::{Error, Result};
use crate::catalog::postgres::relation_of_oid;

pub(super) const ENTRIES: &[Entry] = &[
    entry("has_table_privilege", (2, 3), flag, on_relation),
    entry("has_any_column_privilege", (2, 3), flag, on_relation),
    entry("has_column_privilege", (3, 4), flag, may),
    entry("has_schema_privilege", (2, 3), flag, may),
    entry("has_database_privilege", (2, 3), flag, may),
    entry("has_function_privilege", (2, 3), flag, may),
    entry("has_sequence_privilege", (2, 3), flag, may),
    entry("has_language_privilege", (2, 3), flag, may),
    entry("has_type_privilege", (2, 3), flag, may),
    entry("has_tablespace_privilege", (2, 3), flag, may),
    entry("has_server_privilege", (2, 3), flag, may),
    entry("has_foreign_data_wrapper_privilege", (2, 3), flag, may),
    entry("has_parameter_privilege", (2, 3), flag, may),
    entry("pg_has_role", (2, 3), flag, may),
    entry("row_security_active", (1, 1), flag, |_| Ok(false.into())),
];

fn may(_: &Call<'_>) -> Result<Value> {
    Ok(true.into())
}

/// A relation that is named must be there; one that is numbered and not there gives NULL.
fn on_relation(call: &Call<'_>) -> Result<Value> {
    let place = call.args.len() - 2;
    let privilege = call.text(place + 1).unwrap_or_default();
    let known = ["select", "insert", "update", "delete", "truncate", "references", "trigger", "maintain"];
    let bare = |word: &str| word.trim().to_lowercase().trim_end_matches(" with grant option").to_string();
    if let Some(stray) = privilege.split(',').map(bare).find(|word| !known.contains(&word.as_str())) {
        return Err(Error::invalid(format!("unrecognized privilege type: \"{stray}\"")));
    }
    let oid = call.oid(place, Reg::Class)?;
    match (relation_of_oid(&call.facts.catalog, oid), call.text(place)) {
        (Some(_), _) => Ok(true.into()),
        (None, Some(name)) if name.parse::<u32>().is_err() => Err(missing(Reg::Class, name)),
        (None, _) => Ok(Value::Null),
    }
}
