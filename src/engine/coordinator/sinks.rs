//! Sinks: what a published checkpoint fixes of their outboxes, and its delivery.
//!
//! A batch is what a sink's job sent between two checkpoints. It lies in `outbox/`, named by the manifest, from the
//! moment its checkpoint is published until its arrival has been told by a later manifest; after a crash the same bytes
//! are delivered again, and the destination's mark tells whether they have arrived.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, ResultExt};
use crate::catalog::Relation;
use crate::connectors::SinkOwner;
use crate::dataflow::SinkOutbox;
use crate::dataflow::sink::{Keep, Outbox, SinkHost, SinkSpec, SinkState};
use crate::sql::SinkConnector;
use crate::storage::OutboxManifest;
use crate::types::{Epoch, JobId, RelationId, Schema};

use super::super::request::Event;
use super::super::sources::sink_options;
use super::Coordinator;

/// A batch that was published and has not arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct PendingBatch {
    /// Its number: the epoch of its checkpoint.
    pub epoch: Epoch,
    /// Its rows.
    pub rows: u64,
    /// Its file in `outbox/`.
    pub file: String,
}

/// What a manifest keeps of a sink beside the files.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::engine) struct OutboxExtra {
    /// In order of delivery.
    pub pending: Vec<PendingBatch>,
    /// The newest batch that was ever published.
    pub newest: Option<Epoch>,
    /// All changes up to this epoch are in batches that were published.
    #[serde(default)]
    pub upto: Epoch,
}

/// One sink.
pub(in crate::engine) struct SinkDelivery {
    job: JobId,
    outbox: Arc<Outbox>,
    host: Arc<SinkHost>,
    kept: OutboxExtra,
    /// All changes up to this epoch are in published batches.
    published: Epoch,
    /// All changes up to this epoch have arrived.
    arrived: Epoch,
    finishing: bool,
}

/// A sink as `ms_sinks` shows it.
pub(in crate::engine) struct SinkReport {
    /// Its state.
    pub state: String,
    /// Why it does not get on.
    pub reason: Option<String>,
    /// Up to which epoch everything has arrived.
    pub delivered: Epoch,
    /// Rows that have not arrived.
    pub outbox_rows: u64,
    /// Their bytes.
    pub outbox_bytes: u64,
    /// Rows that have arrived since the process began.
    pub rows_sent: u64,
}

/// A sink's part of a checkpoint, for the thread that writes it.
pub(super) struct OutboxCut {
    pub sink: RelationId,
    pub upto: Epoch,
    pub outbox: Arc<Outbox>,
    pub kept: OutboxExtra,
}

/// A batch that a published checkpoint has fixed.
#[derive(Debug)]
pub(in crate::engine) struct FixedBatch {
    sink: RelationId,
    upto: Epoch,
    kept: OutboxExtra,
    /// The batch, unless nothing happened.
    batch: Option<(Epoch, u64, Vec<u8>)>,
}

impl OutboxCut {
    /// Takes the batch and writes its file, durably.
    pub(super) fn write(self, dir: &Path) -> Result<(RelationId, OutboxManifest, FixedBatch)> {
        let OutboxCut { sink, upto, outbox, mut kept } = self;
        kept.upto = kept.upto.max(upto);
        let mut fixed = None;
        if let Some(batch) = outbox.take(upto)? {
            let file = format!("{sink}-{:020}.arrow", batch.epoch.0);
            let path = dir.join(&file);
            let written = std::fs::write(&path, &batch.bytes).and_then(|()| std::fs::File::open(&path)?.sync_all());
            written.context(|| format!("while the outbox file \"{}\" was written", path.display()))?;
            kept.pending.push(PendingBatch { epoch: batch.epoch, rows: batch.rows, file });
            kept.newest = Some(batch.epoch);
            fixed = Some((batch.epoch, batch.rows, batch.bytes));
        }
        let manifest = OutboxManifest {
            files: kept.pending.iter().map(|batch| batch.file.clone()).collect(),
            extra: serde_json::to_value(&kept)
                .map_err(|error| Error::internal("outbox is not JSON").caused_by(error))?,
        };
        Ok((sink, manifest, FixedBatch { sink, upto, kept, batch: fixed }))
    }
}

impl SinkDelivery {
    /// Ends the delivery; what has not arrived is forgotten with the sink.
    pub(super) fn stop(&self) {
        self.host.stop();
    }

    /// Up to which epoch everything has arrived.
    pub(super) fn delivered(&self) -> Epoch {
        self.arrived
    }

    /// Whether there is nothing to deliver, if no checkpoint is being written: a sink that is silent, or whose job has
    /// finished, has everything though no later checkpoint will say so.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.pending.is_empty() && self.outbox.waiting() == (0, 0)
    }

    /// Whether rows go anywhere: else they are gone with the epoch, and no checkpoint is needed to let go of them.
    pub(super) fn keeps_rows(&self) -> bool {
        self.outbox.keeps_rows()
    }

    /// For `ms_sinks`.
    pub(super) fn report(&self) -> SinkReport {
        let stats = self.host.stats();
        let (rows, bytes) = self.outbox.waiting();
        let (state, reason) = match stats.state {
            SinkState::Running => ("running", None),
            SinkState::Retrying(why) => ("retrying", Some(why)),
            SinkState::Failed(why) => ("failed", Some(why)),
            SinkState::Finished => ("finished", None),
        };
        SinkReport {
            state: state.to_string(),
            reason,
            delivered: self.arrived,
            outbox_rows: stats.outbox_rows + rows,
            outbox_bytes: stats.outbox_bytes + bytes,
            rows_sent: stats.rows_sent,
        }
    }
}

impl Coordinator {
    /// Opens the delivery of a sink, and gives the outbox that its job fills. `restored`: what the manifest keeps.
    pub(in crate::engine) fn open_outbox(
        &mut self,
        sink: &Relation,
        id: RelationId,
        schema: &Schema,
    ) -> Result<SinkOutbox> {
        let catalog = Arc::clone(&self.catalog.read());
        let (options, format) = sink_options(sink, &self.shared.secrets(&catalog))?;
        let restored = self.checkpoints.restored_outbox(id)?;
        let keep = match options.connector {
            SinkConnector::Blackhole => Keep::Counts,
            SinkConnector::File { .. } => Keep::Rows,
        };
        let outbox = Outbox::new(schema, keep);
        let owner = SinkOwner {
            sink: id.0,
            name: sink.name.clone(),
            incarnation: self.shared.data_dir.incarnation().to_string(),
        };
        let spec =
            SinkSpec { owner, schema: schema.clone(), format, changelog: options.changelog, newest: restored.newest };
        let sender = self.sender.clone();
        let told = move |epoch| drop(sender.send(Event::Delivered { sink: id, epoch }));
        let host = SinkHost::start(spec, super::super::sources::sink(&options, &self.shared.settings)?, told)?;
        for batch in &restored.pending {
            let path = self.shared.data_dir.outbox().join(&batch.file);
            let bytes =
                std::fs::read(&path).context(|| format!("while the outbox file \"{}\" was read", path.display()))?;
            host.offer(batch.epoch, batch.rows, bytes);
        }
        let published = restored.newest.unwrap_or_default().max(restored.upto);
        let arrived = restored.pending.first().map_or(published, |batch| Epoch(batch.epoch.0 - 1));
        let job = sink.job.ok_or_else(|| Error::internal("sink has no job"))?;
        let writers = outbox.writers(self.shared.workers);
        let kept = restored;
        let delivery = SinkDelivery { job, outbox, host, kept, published, arrived, finishing: false };
        self.sinks.insert(id, delivery);
        Ok(writers)
    }

    /// The parts of a checkpoint that sinks have; `entries`: up to which epoch each job is in it.
    pub(super) fn cut_outboxes(&self, entries: &BTreeMap<JobId, Epoch>) -> Vec<OutboxCut> {
        let cut = |(id, sink): (&RelationId, &SinkDelivery)| {
            let upto = *entries.get(&sink.job)?;
            Some(OutboxCut { sink: *id, upto, outbox: Arc::clone(&sink.outbox), kept: sink.kept.clone() })
        };
        self.sinks.iter().filter_map(cut).collect()
    }

    /// Hands the batches of a published checkpoint to their destinations.
    pub(super) fn deliver_outboxes(&mut self, batches: Vec<FixedBatch>) {
        for fixed in batches {
            let Some(sink) = self.sinks.get_mut(&fixed.sink) else { continue };
            // What has arrived meanwhile stays arrived.
            let arrived = sink.arrived;
            sink.kept = fixed.kept;
            sink.kept.pending.retain(|batch| batch.epoch > arrived);
            sink.published = sink.published.max(fixed.upto);
            if let Some((epoch, rows, bytes)) = fixed.batch {
                sink.host.offer(epoch, rows, bytes);
            }
            if sink.kept.pending.is_empty() {
                sink.arrived = sink.published;
            }
        }
    }

    /// A batch has arrived at its destination.
    pub(super) fn note_delivered(&mut self, id: RelationId, epoch: Epoch) {
        let Some(sink) = self.sinks.get_mut(&id) else { return };
        sink.kept.pending.retain(|batch| batch.epoch > epoch);
        sink.arrived = sink.arrived.max(epoch);
        if sink.kept.pending.is_empty() {
            sink.arrived = sink.arrived.max(sink.published);
        }
    }

    /// A sink whose job has finished shows whatever it holds back once everything has arrived.
    pub(super) fn finish_sinks(&mut self) {
        use super::super::job::JobState;
        for sink in self.sinks.values_mut().filter(|sink| !sink.finishing) {
            let ended = self.jobs.get(&sink.job).is_some_and(|job| job.state == JobState::Finished);
            let closed = self.progress.closed(sink.job).unwrap_or_default();
            if ended && sink.published >= closed && sink.kept.pending.is_empty() {
                sink.finishing = true;
                sink.host.finish();
            }
        }
    }
}
