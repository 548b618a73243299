//! System views: the engine's own state, read with SQL. Their columns are fixed here; the engine gives the rows.

use std::sync::{Arc, OnceLock};

use super::relation::{Relation, RelationKind};
use crate::types::{Column, RelationId, Schema, SqlType};

/// System views have the numbers from here on; no created relation ever gets so far.
pub(super) const FIRST_ID: u64 = 1 << 48;

/// What a system view is.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemViewDefinition {
    /// Its name in schema `ms_catalog`.
    pub name: &'static str,
    /// Its columns.
    pub schema: Schema,
    /// One sentence for `\d+` and the manual.
    pub comment: &'static str,
}

/// All system views, by name.
pub fn system_view_definitions() -> &'static [SystemViewDefinition] {
    static DEFINITIONS: OnceLock<Vec<SystemViewDefinition>> = OnceLock::new();
    DEFINITIONS.get_or_init(definitions)
}

fn definitions() -> Vec<SystemViewDefinition> {
    use SqlType::{BigInt, Boolean, Timestamp, TimestampTz, Varchar};
    let view = |name, comment, columns: &[(&str, SqlType)]| {
        let columns = columns.iter().map(|(name, ty)| Column::new(*name, ty.clone()));
        SystemViewDefinition { name, schema: Schema::new(columns.collect()), comment }
    };
    #[rustfmt::skip]
    let definitions = vec![
        view("ms_checkpoints", "Checkpoints, newest first: what each holds and how long it took.", &[
            ("id", BigInt), ("epoch", BigInt), ("started", TimestampTz), ("duration_ms", BigInt), ("bytes", BigInt),
            ("rows", BigInt), ("state", Varchar),
        ]),
        view("ms_jobs", "Jobs: one per table, materialized view and sink; why one stopped or waits.", &[
            ("id", BigInt), ("name", Varchar), ("kind", Varchar), ("state", Varchar), ("reason", Varchar),
            ("since", TimestampTz), ("epoch", BigInt), ("lag_ms", BigInt),
        ]),
        view("ms_operators", "Operators of running jobs on each worker: rows, time, state and what bounds it.", &[
            ("job_id", BigInt), ("operator_id", BigInt), ("worker", BigInt), ("name", Varchar), ("detail", Varchar),
            ("rows_in", BigInt), ("rows_out", BigInt), ("busy_ms", BigInt), ("state_rows", BigInt),
            ("state_bytes", BigInt), ("bounded_by", Varchar),
        ]),
        view("ms_secrets", "Secrets: whose they are, who may use them, what they are for; their values are shown nowhere.", &[
            ("name", Varchar), ("owner", Varchar), ("acl", Varchar), ("comment", Varchar),
        ]),
        view("ms_sinks", "Sinks: what has been delivered and what waits in the outbox.", &[
            ("name", Varchar), ("state", Varchar), ("reason", Varchar), ("epoch_delivered", BigInt),
            ("outbox_rows", BigInt), ("outbox_bytes", BigInt), ("rows_sent", BigInt), ("lag_ms", BigInt),
        ]),
        view("ms_sources", "Splits of sources: how far each was read, its watermark, whether it is idle.", &[
            ("name", Varchar), ("split", Varchar), ("position", Varchar), ("rows_read", BigInt),
            ("rows_decoded", BigInt), ("rows_faulted", BigInt), ("bytes_read", BigInt), ("watermark", Timestamp),
            ("idle", Boolean), ("state", Varchar),
        ]),
        view("ms_watermarks", "Watermarks of relations and operators, and which split holds each back.", &[
            ("relation", Varchar), ("operator", Varchar), ("watermark", Timestamp), ("held_by_source", Varchar),
            ("held_by_split", Varchar), ("since", TimestampTz),
        ]),
        view("ms_workers", "Worker threads: how busy each is and with how many jobs.", &[
            ("process", BigInt), ("worker", BigInt), ("busy_ms", BigInt), ("jobs", BigInt),
        ]),
    ];
    definitions
}

/// The system views as relations.
pub(super) fn system_relations() -> &'static [Arc<Relation>] {
    static RELATIONS: OnceLock<Vec<Arc<Relation>>> = OnceLock::new();
    RELATIONS.get_or_init(|| {
        let relation = |(place, definition): (usize, &SystemViewDefinition)| {
            let id = RelationId(FIRST_ID + place as u64);
            let schema = definition.schema.clone();
            let mut relation = Relation::new(id, definition.name, RelationKind::System, schema);
            relation.comment = Some(definition.comment.to_owned());
            Arc::new(relation)
        };
        system_view_definitions().iter().enumerate().map(relation).collect()
    })
}
