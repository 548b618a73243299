//! Subscriptions: a relation's contents, then the changes of every epoch, in order, for ever.
//!
//! Nothing is queued for a subscriber: it takes what it has not seen from the view's kept history, which is bounded
//! (`view_history_bytes`) and shared. One that falls behind the history is told so with a `Limit` error; no worker and
//! no other reader waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::watch;

use crate::base::{Error, Result};
use crate::state::PublishedView;
use crate::types::{Column, DeltaBatch, Epoch, Schema, SqlType};

/// Rows of a batch of the snapshot a subscription begins with.
const SNAPSHOT_ROWS: usize = 8192;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the contents at the visible epoch.
    Snapshot,
    /// With the first change after the visible epoch.
    Now,
    /// With the first change after this epoch (`AS OF`): resumes a subscription that had seen it.
    After(Epoch),
}

/// What a subscriber is told.
#[derive(Clone, Debug)]
pub enum Change {
    /// Rows that came or went in an epoch; an epoch's changes may come in several batches, epochs in ascending order.
    /// The contents a subscription begins with come as insertions in the epoch they were read at.
    Rows(Epoch, DeltaBatch),
    /// All changes up to this epoch have been told: the token to resume with.
    Progress(Epoch),
}

/// A relation's changes, told as epochs become visible.
#[derive(Debug)]
pub struct Subscription {
    view: Arc<PublishedView>,
    visible: watch::Receiver<Epoch>,
    told: Epoch,
    queue: VecDeque<Change>,
    snapshot: Option<BoxStreamOfRows>,
}

/// The snapshot still to be told.
struct BoxStreamOfRows(Box<dyn Iterator<Item = Result<RecordBatch>> + Send>);

impl std::fmt::Debug for BoxStreamOfRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("rows of a snapshot")
    }
}

impl Subscription {
    /// Subscribes to `view`. `visible` is the newest epoch that the relation may show, as the engine announces it.
    /// `Limit` when the changes after an epoch are no longer kept, `Invalid` when that epoch has not been reached.
    pub fn begin(view: Arc<PublishedView>, mut visible: watch::Receiver<Epoch>, start: Start) -> Result<Subscription> {
        let now = *visible.borrow_and_update();
        let (told, snapshot) = match start {
            Start::Snapshot => {
                let rows = view.snapshot(now)?.batches(None, SNAPSHOT_ROWS);
                (now, Some(BoxStreamOfRows(Box::new(rows))))
            }
            Start::Now => (now, None),
            Start::After(epoch) if epoch > now => {
                return Err(Error::invalid(format!("epoch {epoch} has not been reached"))
                    .with_detail(format!("The newest visible epoch is {now}."))
                    .with_hint("Subscribe AS OF the epoch of a progress row of this relation."));
            }
            Start::After(epoch) => (epoch, None),
        };
        view.changes(told, now)?;
        let mut subscription = Subscription { view, visible, told, queue: VecDeque::new(), snapshot };
        if let Start::After(_) = start {
            subscription.collect(now)?;
        }
        Ok(subscription)
    }

    /// The relation's columns.
    pub fn schema(&self) -> &Schema {
        self.view.schema()
    }

    /// The next change; waits for one. `None` when the engine has stopped announcing epochs (the relation is dropped,
    /// or the server ends). `Limit` when the subscriber was too slow: it ends then.
    pub async fn next(&mut self) -> Option<Result<Change>> {
        loop {
            if let Some(snapshot) = &mut self.snapshot {
                match snapshot.0.next() {
                    Some(rows) => return Some(rows.map(|rows| Change::Rows(self.told, DeltaBatch::inserts(rows)))),
                    None => {
                        self.snapshot = None;
                        return Some(Ok(Change::Progress(self.told)));
                    }
                }
            }
            if let Some(change) = self.queue.pop_front() {
                return Some(Ok(change));
            }
            let now = *self.visible.borrow_and_update();
            if now <= self.told {
                self.visible.changed().await.ok()?;
                continue;
            }
            if let Err(error) = self.collect(now) {
                self.queue.clear();
                return Some(Err(error));
            }
        }
    }

    fn collect(&mut self, now: Epoch) -> Result<()> {
        let changes = self.view.changes(self.told, now).map_err(|error| {
            error.context(format!("the subscriber was {} epochs behind", now.0.saturating_sub(self.told.0)))
        })?;
        self.queue.extend(changes.into_iter().map(|(epoch, deltas)| Change::Rows(epoch, deltas)));
        self.queue.push_back(Change::Progress(now));
        self.told = now;
        Ok(())
    }

    /// As a stream that ends after its first error.
    pub fn into_stream(self) -> BoxStream<'static, Result<Change>> {
        let next = |state: Option<Subscription>| async move {
            let mut subscription = state?;
            let change = subscription.next().await?;
            let state = change.is_ok().then_some(subscription);
            Some((change, state))
        };
        futures::stream::unfold(Some(self), next).boxed()
    }
}

/// The columns of SUBSCRIBE: `ms_epoch`, `ms_weight`, then the relation's.
pub fn subscription_schema(relation: &Schema) -> Schema {
    let own = ["ms_epoch", "ms_weight"].map(|name| Column::new(name, SqlType::BigInt));
    // A progress row has NULL in every column of the relation.
    let theirs = relation.columns.iter().map(|column| Column { nullable: true, ..column.clone() });
    Schema::new(own.into_iter().chain(theirs).collect())
}

/// A subscription's changes as rows of [`subscription_schema`]. With `progress`, a row of the epoch and NULLs tells that
/// an epoch is complete.
pub fn subscription_rows(subscription: Subscription, progress: bool) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let schema = subscription_schema(subscription.schema()).arrow();
    subscription.into_stream().filter_map(move |change| {
        let rows = match change {
            Ok(Change::Rows(epoch, deltas)) => Some(rows_of(&schema, epoch, &deltas)),
            Ok(Change::Progress(epoch)) if progress => Some(progress_row(&schema, epoch)),
            Ok(Change::Progress(_)) => None,
            Err(error) => Some(Err(error)),
        };
        std::future::ready(rows)
    })
}

fn rows_of(schema: &arrow::datatypes::SchemaRef, epoch: Epoch, deltas: &DeltaBatch) -> Result<RecordBatch> {
    let epochs: ArrayRef = Arc::new(Int64Array::from_value(epoch.0 as i64, deltas.len()));
    let own = [epochs, Arc::new(deltas.weight_array())];
    let columns = own.into_iter().chain(deltas.rows.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn progress_row(schema: &arrow::datatypes::SchemaRef, epoch: Epoch) -> Result<RecordBatch> {
    let epoch: ArrayRef = Arc::new(Int64Array::from_value(epoch.0 as i64, 1));
    let nulls = schema.fields().iter().skip(1).map(|field| new_null_array(field.data_type(), 1));
    Ok(RecordBatch::try_new(Arc::clone(schema), std::iter::once(epoch).chain(nulls).collect())?)
}
