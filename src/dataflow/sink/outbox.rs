//! The outbox of one sink: what the workers have handed over and no checkpoint has fixed yet.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use parking_lot::Mutex;

use crate::base::{Error, Result};
use crate::dataflow::{OutboxWriter, SinkOutbox};
use crate::types::{Column, DeltaBatch, Epoch, Schema, SqlType};

/// The columns that a changelog has before those of the relation, as SUBSCRIBE names them.
pub const CHANGELOG_COLUMNS: [&str; 2] = ["ms_epoch", "ms_weight"];

/// The columns of `relation`'s changelog.
pub fn changelog_schema(relation: &Schema) -> Schema {
    let column = |name: &str| Column { name: name.into(), ty: SqlType::BigInt, nullable: false };
    Schema::new(CHANGELOG_COLUMNS.map(column).into_iter().chain(relation.columns.iter().cloned()).collect())
}

/// What an outbox is to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The rows.
    Rows,
    /// Their number only: for a sink that keeps nothing either.
    Counts,
}

/// Collects, per epoch and worker, what a sink node hands over.
pub struct Outbox {
    schema: SchemaRef,
    keep: Keep,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Ordered, so that what is taken does not depend on which worker was quicker.
    batches: BTreeMap<(Epoch, usize), Vec<DeltaBatch>>,
    counted: BTreeMap<Epoch, u64>,
    bytes: u64,
}

/// What a checkpoint fixes of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxBatch {
    /// It holds the changes of all epochs up to this one since the last batch. It is also the batch's number.
    pub epoch: Epoch,
    /// How many rows.
    pub rows: u64,
    /// An Arrow IPC stream of [`changelog_schema`]; empty if the outbox only counts.
    pub bytes: Vec<u8>,
}

struct Writer {
    outbox: Arc<Outbox>,
    worker: usize,
}

impl Outbox {
    /// The outbox of a relation with columns `relation`.
    pub fn new(relation: &Schema, keep: Keep) -> Arc<Outbox> {
        Arc::new(Outbox { schema: changelog_schema(relation).arrow(), keep, waiting: Mutex::default() })
    }

    /// Whether there is anything to deliver: what only counts has nothing that a crash could make undone.
    pub fn keeps_rows(&self) -> bool {
        self.keep == Keep::Rows
    }

    /// A writer for each of `workers` workers.
    pub fn writers(self: &Arc<Self>, workers: usize) -> SinkOutbox {
        let writer = |worker| Box::new(Writer { outbox: Arc::clone(self), worker }) as Box<dyn OutboxWriter>;
        SinkOutbox::new((0..workers).map(writer).collect())
    }

    /// Takes everything up to `epoch`, which all workers must have closed; `None` if nothing happened. Called once per
    /// checkpoint; what it gives must become durable with the checkpoint, or the job be restored from the one before.
    pub fn take(&self, epoch: Epoch) -> Result<Option<OutboxBatch>> {
        let (batches, counted) = {
            let mut waiting = self.waiting.lock();
            let later = waiting.batches.split_off(&(epoch.next(), 0));
            let batches = std::mem::replace(&mut waiting.batches, later);
            let later = waiting.counted.split_off(&epoch.next());
            let counted = std::mem::replace(&mut waiting.counted, later);
            waiting.bytes = waiting.batches.values().flatten().map(|batch| batch.bytes() as u64).sum();
            (batches, counted.values().sum::<u64>())
        };
        if batches.is_empty() && counted == 0 {
            return Ok(None);
        }
        let mut rows = counted;
        let mut bytes = Vec::new();
        if self.keep == Keep::Rows {
            let mut writer = StreamWriter::try_new(&mut bytes, &self.schema)?;
            for ((epoch, _), batches) in &batches {
                for batch in batches {
                    rows += batch.len() as u64;
                    writer.write(&self.changelog(*epoch, batch)?)?;
                }
            }
            writer.finish()?;
        }
        Ok(Some(OutboxBatch { epoch, rows, bytes }))
    }

    /// Rows and bytes that no checkpoint has taken yet.
    pub fn waiting(&self) -> (u64, u64) {
        let waiting = self.waiting.lock();
        let rows = waiting.batches.values().flatten().map(|batch| batch.len() as u64).sum::<u64>();
        (rows + waiting.counted.values().sum::<u64>(), waiting.bytes)
    }

    fn changelog(&self, epoch: Epoch, batch: &DeltaBatch) -> Result<RecordBatch> {
        let epoch = i64::try_from(epoch.0).map_err(|_| Error::limit("an epoch does not fit a bigint"))?;
        let epochs: ArrayRef = Arc::new(Int64Array::from_value(epoch, batch.len()));
        let weights: ArrayRef = Arc::new(batch.weight_array());
        let columns = [epochs, weights].into_iter().chain(batch.rows.columns().iter().cloned()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }
}

impl OutboxWriter for Writer {
    fn push(&mut self, epoch: Epoch, batch: DeltaBatch) -> Result<()> {
        let mut waiting = self.outbox.waiting.lock();
        match self.outbox.keep {
            Keep::Rows => {
                waiting.bytes += batch.bytes() as u64;
                waiting.batches.entry((epoch, self.worker)).or_default().push(batch);
            }
            Keep::Counts => *waiting.counted.entry(epoch).or_default() += batch.len() as u64,
        }
        Ok(())
    }

    fn close(&mut self, _epoch: Epoch, _checkpoint: bool) -> Result<()> {
        Ok(())
    }
}

/// The rows of an outbox batch as they are to be written: with their changelog columns, or as plain rows, each as often
/// as its weight says. `Fault` when rows are taken back and there is no column to say so.
pub(super) fn rows_of(bytes: &[u8], changelog: bool) -> Result<Vec<RecordBatch>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let torn = |error: arrow::error::ArrowError| {
        Error::corrupt("a batch of an outbox is damaged").with_detail(format!("{error}.")).caused_by(error)
    };
    let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(torn)?;
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch.map_err(torn)?;
        batches.push(if changelog { batch } else { plain(&batch)? });
    }
    Ok(batches)
}

fn plain(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns: Vec<usize> = (CHANGELOG_COLUMNS.len()..batch.num_columns()).collect();
    let rows = batch.project(&columns)?;
    let weights = batch.column(1).as_primitive::<Int64Type>();
    if weights.values().iter().all(|&weight| weight == 1) {
        return Ok(rows);
    }
    if weights.values().iter().any(|&weight| weight < 0) {
        return Err(Error::fault("the relation of an append-only sink took a row back").with_hint(
            "Create the sink with changelog = true; it then writes ms_epoch and ms_weight with every row.",
        ));
    }
    let each = weights.values().iter().enumerate();
    let indices = each.flat_map(|(row, &weight)| (0..weight).map(move |_| row as u64));
    Ok(take_record_batch(&rows, &UInt64Array::from_iter_values(indices))?)
}
