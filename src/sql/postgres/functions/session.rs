//! Functions about the session and the server: who, where, which settings.

use super::super::table::Value;
use super::super::{DATABASE, objects};
use super::{Call, Entry, entry, flag, int, ints, number, text, texts, time};
use crate::base::Result;
use crate::catalog::schemas;

pub(super) const ENTRIES: &[Entry] = &[
    entry("version", (0, 0), text, version),
    entry("current_database", (0, 0), text, |_| Ok(DATABASE.into())),
    entry("current_catalog", (0, 0), text, |_| Ok(DATABASE.into())),
    entry("current_user", (0, 0), text, |call| Ok(call.facts.identity.name.as_str().into())),
    entry("session_user", (0, 0), text, |call| Ok(call.facts.user().into())),
    entry("current_role", (0, 0), text, |call| Ok(call.facts.identity.name.as_str().into())),
    entry("user", (0, 0), text, |call| Ok(call.facts.identity.name.as_str().into())),
    entry("current_schema", (0, 0), text, |call| Ok(path(call).into_iter().next().into())),
    entry("current_schemas", (1, 1), texts, current_schemas),
    entry("current_setting", (1, 2), text, current_setting),
    entry("set_config", (3, 3), text, set_config),
    entry("pg_backend_pid", (0, 0), int, |call| Ok(call.facts.process.into())),
    entry("pg_postmaster_start_time", (0, 0), time, |call| Ok(call.facts.started_us.into())),
    entry("pg_conf_load_time", (0, 0), time, |call| Ok(call.facts.started_us.into())),
    // There are no advisory locks: all of them are given back.
    entry("pg_advisory_unlock_all", (0, 0), text, |_| Ok("".into())),
    // Nothing is locked, so nobody waits for another.
    entry("pg_blocking_pids", (1, 1), ints, |_| Ok(Value::Ints(Vec::new()))),
    entry("pg_is_in_recovery", (0, 0), flag, |_| Ok(false.into())),
    entry("pg_my_temp_schema", (0, 0), number, |_| Ok(0u32.into())).told("oid"),
    entry("pg_is_other_temp_schema", (1, 1), flag, |_| Ok(false.into())),
    entry("pg_client_encoding", (0, 0), text, |_| Ok("UTF8".into())),
    entry("getdatabaseencoding", (0, 0), text, |_| Ok("UTF8".into())),
    entry("pg_encoding_to_char", (1, 1), text, |call| Ok(encoding_name(call.int(0)).into())),
    entry("pg_char_to_encoding", (1, 1), int, |call| Ok(encoding_number(call.text(0)).into())),
    entry("inet_server_addr", (0, 0), text, |_| Ok(Value::Null)),
    entry("inet_server_port", (0, 0), int, |_| Ok(Value::Null)),
    entry("inet_client_addr", (0, 0), text, |_| Ok(Value::Null)),
    entry("inet_client_port", (0, 0), int, |_| Ok(Value::Null)),
];

fn version(call: &Call<'_>) -> Result<Value> {
    let version = call.facts.settings.show("server_version").map_or("", |(_, value)| value);
    Ok(format!("PostgreSQL {version} on {}-{}", std::env::consts::ARCH, std::env::consts::OS).into())
}

/// The schemas of the search path that are there.
fn path(call: &Call<'_>) -> Vec<String> {
    call.facts.catalog.path().iter().filter(|schema| call.facts.catalog.has_schema(schema)).cloned().collect()
}

fn current_schemas(call: &Call<'_>) -> Result<Value> {
    let mut found = path(call);
    if call.flag(0) {
        let named = |schema: &str| found.iter().any(|found| found == schema);
        let implied: Vec<String> =
            [schemas::POSTGRES, schemas::CATALOG].into_iter().filter(|s| !named(s)).map(str::to_string).collect();
        found = implied.into_iter().chain(found).collect();
    }
    Ok(found.into())
}

fn current_setting(call: &Call<'_>) -> Result<Value> {
    match call.facts.settings.show(call.text(0).unwrap_or_default()) {
        Ok((_, value)) => Ok(value.into()),
        Err(_) if call.flag(1) => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// The setting is taken over by the session when its next statement begins.
fn set_config(call: &Call<'_>) -> Result<Value> {
    let (name, value) = (call.text(0).unwrap_or_default(), call.text(1).unwrap_or_default());
    let mut settings = call.facts.settings.clone();
    settings.set(name, value)?;
    let shown = settings.show(name)?.1.to_string();
    call.facts.wishes.lock().push((name.to_string(), value.to_string()));
    Ok(shown.into())
}

fn encoding_name(number: Option<i64>) -> &'static str {
    match number {
        Some(0) => "SQL_ASCII",
        Some(objects::UTF8) => "UTF8",
        Some(8) => "LATIN1",
        _ => "",
    }
}

fn encoding_number(name: Option<&str>) -> i64 {
    let bare = name.unwrap_or_default().to_lowercase().replace(['-', '_'], "");
    match bare.as_str() {
        "utf8" | "unicode" => objects::UTF8,
        "sqlascii" => 0,
        "latin1" | "iso88591" => 8,
        _ => -1,
    }
}
