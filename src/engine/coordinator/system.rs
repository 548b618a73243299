//! The rows of system views: the coordinator's own state, gathered while a client waits.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use crate::base::{Error, Result};
use crate::catalog::{ObjectClass, SecretEntry, system_view_definitions};
use crate::dataflow::NodeKind;
use crate::dataflow::source::SourceState;
use crate::types::{Epoch, RelationId, Watermark};

use super::super::job::Job;
use super::Coordinator;

/// Columns under construction; each method adds one.
struct Columns(Vec<ArrayRef>);

impl Columns {
    fn number(&mut self, values: impl IntoIterator<Item = Option<u64>>) -> &mut Self {
        let values = values.into_iter().map(|value| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX)));
        self.0.push(Arc::new(values.collect::<Int64Array>()));
        self
    }

    fn text(&mut self, values: impl IntoIterator<Item = Option<String>>) -> &mut Self {
        self.0.push(Arc::new(values.into_iter().collect::<StringArray>()));
        self
    }

    fn flag(&mut self, values: impl IntoIterator<Item = bool>) -> &mut Self {
        self.0.push(Arc::new(values.into_iter().map(Some).collect::<BooleanArray>()));
        self
    }

    /// Points of event time; nothing promised is NULL, the end is `infinity`.
    fn watermark(&mut self, values: impl IntoIterator<Item = Watermark>) -> &mut Self {
        let values = values.into_iter().map(|value| (value != Watermark::NONE).then_some(value.0));
        self.0.push(Arc::new(values.collect::<TimestampMicrosecondArray>()));
        self
    }

    fn time(&mut self, values: impl IntoIterator<Item = i64>) -> &mut Self {
        let values = values.into_iter().map(Some).collect::<TimestampMicrosecondArray>();
        self.0.push(Arc::new(values.with_timezone("UTC")));
        self
    }

    /// The rows of the system view `name`.
    fn finish(&mut self, name: &str) -> Result<RecordBatch> {
        let definition = system_view_definitions().iter().find(|definition| definition.name == name);
        let schema = definition.ok_or_else(|| Error::internal(format!("system view \"{name}\" is not defined")))?;
        Ok(RecordBatch::try_new(schema.schema.arrow(), std::mem::take(&mut self.0))?)
    }
}

impl Coordinator {
    /// The present rows of `ms_catalog.<name>`.
    pub(super) fn system_view(&self, name: &str) -> Result<RecordBatch> {
        match name {
            "ms_checkpoints" => self.ms_checkpoints(),
            "ms_jobs" => self.ms_jobs(),
            "ms_operators" => self.ms_operators(),
            "ms_secrets" => self.ms_secrets(),
            "ms_sinks" => self.ms_sinks(),
            "ms_sources" => self.ms_sources(),
            "ms_watermarks" => self.ms_watermarks(),
            "ms_workers" => self.ms_workers(),
            other => Err(Error::internal(format!("system view \"{other}\" has no rows"))),
        }
    }

    fn ms_checkpoints(&self) -> Result<RecordBatch> {
        let reports = &self.checkpoints.reports;
        let mut columns = Columns(Vec::new());
        columns
            .number(reports.iter().map(|report| Some(report.id.0)))
            .number(reports.iter().map(|report| Some(report.epoch.0)))
            .time(reports.iter().map(|report| report.started_us))
            .number(reports.iter().map(|report| u64::try_from(report.duration.as_millis()).ok()))
            .number(reports.iter().map(|report| Some(report.bytes)))
            .number(reports.iter().map(|report| Some(report.rows)))
            .text(reports.iter().map(|report| Some(report.state.clone())))
            .finish("ms_checkpoints")
    }

    fn ms_jobs(&self) -> Result<RecordBatch> {
        let catalog = self.catalog.read();
        let jobs: Vec<&Job> = self.jobs.values().collect();
        let kind = |job: &&Job| catalog.by_id(job.relation).map(|relation| relation.kind.noun().to_string());
        let name =
            |job: &&Job| catalog.by_id(job.relation).map_or_else(|| job.name.clone(), |relation| relation.path());
        let mut columns = Columns(Vec::new());
        columns
            .number(jobs.iter().map(|job| Some(job.id.0)))
            .text(jobs.iter().map(|job| Some(name(job))))
            .text(jobs.iter().map(kind))
            .text(jobs.iter().map(|job| Some(job.state.to_string())))
            .text(jobs.iter().map(|job| job.reason.clone()))
            .time(jobs.iter().map(|job| job.since_us))
            .number(jobs.iter().map(|job| self.progress.closed(job.id).map(|epoch| epoch.0)))
            .number(jobs.iter().map(|job| Some(self.lag_ms(job))))
            .finish("ms_jobs")
    }

    /// For how long the oldest epoch that a job has not closed has been cut.
    fn lag_ms(&self, job: &Job) -> u64 {
        let Some(oldest) = self.progress.oldest_open(job.id) else { return 0 };
        let cut_us = self.recent_clock(oldest);
        u64::try_from((self.shared.clock.now_us() - cut_us).max(0) / 1000).unwrap_or(0)
    }

    fn ms_operators(&self) -> Result<RecordBatch> {
        let mut rows = Vec::new();
        for job in self.jobs.values() {
            let Some(metrics) = self.runtime.job_metrics(job.id) else { continue };
            for node in &job.graph.nodes {
                let (detail, bounded_by) = match &node.kind {
                    NodeKind::Operator(spec) => (spec.detail(), spec.bounded_by()),
                    NodeKind::Source(_) | NodeKind::Relation(_) => (String::new(), "nothing kept".to_string()),
                    NodeKind::Publish(_) => (String::new(), "rows of the relation".to_string()),
                    NodeKind::Sink(_) => (String::new(), "outbox_bytes_max".to_string()),
                };
                for worker in 0..metrics.workers() {
                    let Some(subtask) = metrics.subtask(node.id, worker) else { continue };
                    let counts = [
                        &subtask.rows_in,
                        &subtask.rows_out,
                        &subtask.busy_us,
                        &subtask.state_rows,
                        &subtask.state_bytes,
                    ];
                    let counts = counts.map(crate::dataflow::Counter::get);
                    rows.push((job.id.0, node, worker as u64, detail.clone(), counts, bounded_by.clone()));
                }
            }
        }
        let mut columns = Columns(Vec::new());
        columns
            .number(rows.iter().map(|row| Some(row.0)))
            .number(rows.iter().map(|row| Some(u64::from(row.1.id.0))))
            .number(rows.iter().map(|row| Some(row.2)))
            .text(rows.iter().map(|row| Some(row.1.name.clone())))
            .text(rows.iter().map(|row| Some(row.3.clone())))
            .number(rows.iter().map(|row| Some(row.4[0])))
            .number(rows.iter().map(|row| Some(row.4[1])))
            .number(rows.iter().map(|row| Some(row.4[2] / 1000)))
            .number(rows.iter().map(|row| Some(row.4[3])))
            .number(rows.iter().map(|row| Some(row.4[4])))
            .text(rows.iter().map(|row| Some(row.5.clone())))
            .finish("ms_operators")
    }

    fn ms_sources(&self) -> Result<RecordBatch> {
        let mut rows = Vec::new();
        for (relation, source) in &self.sources {
            let name = self.name_of(*relation);
            rows.extend(source.host.stats().splits.into_iter().map(|split| (name.clone(), split)));
        }
        let mut columns = Columns(Vec::new());
        columns
            .text(rows.iter().map(|(name, _)| Some(name.clone())))
            .text(rows.iter().map(|(_, split)| Some(split.split.0.clone())))
            .text(rows.iter().map(|(_, split)| Some(split.position.0.clone())))
            .number(rows.iter().map(|(_, split)| Some(split.rows_read)))
            .number(rows.iter().map(|(_, split)| Some(split.rows_decoded)))
            .number(rows.iter().map(|(_, split)| Some(split.rows_faulted)))
            .number(rows.iter().map(|(_, split)| Some(split.bytes_read)))
            .watermark(rows.iter().map(|(_, split)| split.watermark))
            .flag(rows.iter().map(|(_, split)| split.idle))
            .text(rows.iter().map(|(_, split)| {
                Some(match &split.state {
                    SourceState::Waiting => "waiting".to_string(),
                    SourceState::Running => "running".to_string(),
                    SourceState::Retrying(why) => format!("retrying: {why}"),
                    SourceState::Failed(why) => format!("failed: {why}"),
                    SourceState::Finished => "finished".to_string(),
                })
            }))
            .finish("ms_sources")
    }

    /// Per source its merged watermark and the split that holds it back.
    fn ms_watermarks(&self) -> Result<RecordBatch> {
        let mut rows = Vec::new();
        for (relation, source) in &self.sources {
            let stats = source.host.stats();
            let held = stats.splits.iter().filter(|split| !split.idle && split.watermark == stats.watermark);
            let split = held.map(|split| split.split.0.clone()).next();
            rows.push((self.name_of(*relation), stats.watermark, split));
        }
        let now_us = self.shared.clock.now_us();
        let mut columns = Columns(Vec::new());
        columns
            .text(rows.iter().map(|row| Some(row.0.clone())))
            .text(rows.iter().map(|_| Some("source".to_string())))
            .watermark(rows.iter().map(|row| row.1))
            .text(rows.iter().map(|row| row.2.is_some().then(|| row.0.clone())))
            .text(rows.iter().map(|row| row.2.clone()))
            .time(rows.iter().map(|_| now_us))
            .finish("ms_watermarks")
    }

    fn ms_workers(&self) -> Result<RecordBatch> {
        let workers = self.runtime.worker_metrics();
        let mut columns = Columns(Vec::new());
        columns
            .number(workers.iter().map(|_| Some(0)))
            .number((0..workers.len()).map(|worker| Some(worker as u64)))
            .number(workers.iter().map(|metrics| Some(metrics.busy_us.get() / 1000)))
            .number(workers.iter().map(|metrics| Some(metrics.jobs.get())))
            .finish("ms_workers")
    }

    fn ms_secrets(&self) -> Result<RecordBatch> {
        let catalog = self.catalog.read();
        let acl = |entry: &SecretEntry| {
            let items = entry.rights.items(ObjectClass::Secret, false);
            items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let mut columns = Columns(Vec::new());
        columns
            .text(catalog.secrets().map(|(name, _)| Some(name.to_string())))
            .text(catalog.secrets().map(|(_, entry)| Some(entry.rights.owner.clone())))
            .text(catalog.secrets().map(|(_, entry)| Some(acl(entry))))
            .text(catalog.secrets().map(|(_, entry)| entry.comment.clone()))
            .finish("ms_secrets")
    }

    fn ms_sinks(&self) -> Result<RecordBatch> {
        let rows: Vec<_> = self.sinks.iter().map(|(relation, sink)| (self.name_of(*relation), sink.report())).collect();
        let lag_ms = |delivered: Epoch| {
            let behind = self.progress.cut() > delivered;
            let since_us = self.shared.clock.now_us() - self.recent_clock(delivered.next());
            if behind { u64::try_from(since_us.max(0) / 1000).ok() } else { Some(0) }
        };
        let mut columns = Columns(Vec::new());
        columns
            .text(rows.iter().map(|(name, _)| Some(name.clone())))
            .text(rows.iter().map(|(_, sink)| Some(sink.state.to_string())))
            .text(rows.iter().map(|(_, sink)| sink.reason.clone()))
            .number(rows.iter().map(|(_, sink)| Some(sink.delivered.0)))
            .number(rows.iter().map(|(_, sink)| Some(sink.outbox_rows)))
            .number(rows.iter().map(|(_, sink)| Some(sink.outbox_bytes)))
            .number(rows.iter().map(|(_, sink)| Some(sink.rows_sent)))
            .number(rows.iter().map(|(_, sink)| lag_ms(sink.delivered)))
            .finish("ms_sinks")
    }

    fn name_of(&self, relation: RelationId) -> String {
        self.catalog.read().by_id(relation).map_or_else(|| relation.to_string(), |relation| relation.path())
    }
}
