//! Rows about what runs: sessions, and which tables there are to have statistics of.

use super::names::role;
use super::relations::all;
use super::table::{Table, Value};
use super::{DATABASE, Facts, SessionFact};
use crate::catalog::RelationKind;
use crate::catalog::postgres::relation_oid;

/// Adds the rows if `table` is one of these.
pub(super) fn fill(table: &mut Table, facts: &Facts) {
    match table.name() {
        "pg_stat_activity" => sessions(table, facts),
        "pg_stat_database" => table.row([("datid", 5u32.into()), ("datname", DATABASE.into())]),
        "pg_stat_all_tables" | "pg_stat_user_tables" | "pg_stat_sys_tables" => tables(table, facts),
        _ => {}
    }
}

/// What is shown of a statement that is not open to who asks.
const HIDDEN: &str = "<insufficient privilege>";

fn sessions(table: &mut Table, facts: &Facts) {
    // As in PostgreSQL: what others run is for them, for members of theirs, and for superusers.
    let open = |session: &SessionFact| facts.identity.is(&session.user) || session.process == facts.process;
    for session in &facts.sessions {
        table.row([
            ("datid", 5u32.into()),
            ("datname", DATABASE.into()),
            ("pid", session.process.into()),
            ("leader_pid", Value::Null),
            ("usesysid", role(&session.user).into()),
            ("usename", session.user.as_str().into()),
            ("application_name", session.application.as_str().into()),
            ("client_port", Value::Null),
            ("backend_start", session.since_us.into()),
            ("query_start", session.statement_us.into()),
            ("state_change", session.statement_us.into()),
            ("state", session.state.into()),
            ("backend_xid", Value::Null),
            ("backend_xmin", Value::Null),
            ("query_id", Value::Null),
            ("query", if open(session) { session.statement.as_str() } else { HIDDEN }.into()),
            ("backend_type", "client backend".into()),
        ]);
    }
}

fn tables(table: &mut Table, facts: &Facts) {
    for (relation, _) in all(&facts.catalog).filter(|(_, kind)| matches!(*kind, "r" | "m")) {
        let system = relation.kind == RelationKind::System;
        if (table.name() == "pg_stat_user_tables" && system) || (table.name() == "pg_stat_sys_tables" && !system) {
            continue;
        }
        table.row([
            ("relid", relation_oid(&relation).into()),
            ("schemaname", relation.schema_name.as_str().into()),
            ("relname", relation.name.as_str().into()),
        ]);
    }
}
