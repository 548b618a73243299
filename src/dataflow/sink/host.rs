//! The delivery of one sink: a thread that hands over batches in order, tries again while that may help, and stops with
//! its reason when it does not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::outbox::{changelog_schema, rows_of};
use crate::base::telemetry::{Phase, PhaseGuard};
use crate::base::{Error, ErrorKind, Result};
use crate::connectors::{Parcel, Sink, SinkOwner};
use crate::formats::Format;
use crate::types::{Epoch, Schema};

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How often a destination may look at the clock.
const TICK: Duration = Duration::from_secs(1);

/// A sink as it is hosted.
pub struct SinkSpec {
    /// Who writes.
    pub owner: SinkOwner,
    /// The columns of its relation.
    pub schema: Schema,
    /// How rows are encoded; `None` for a destination that does not look at them.
    pub format: Option<Format>,
    /// Whether rows carry `ms_epoch` and `ms_weight`. Without it the relation must be append-only.
    pub changelog: bool,
    /// The newest batch that was ever published: a mark beyond it is from another history.
    pub newest: Option<Epoch>,
}

/// How a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkState {
    /// Everything that was offered is delivered, or about to be.
    Running,
    /// The destination cannot be reached; it is tried again. With the reason.
    Retrying(String),
    /// It has stopped, with the reason.
    Failed(String),
    /// Everything is delivered and nothing will come.
    Finished,
}

/// A sink as `ms_sinks` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkStats {
    /// Its state.
    pub state: SinkState,
    /// The newest batch that has arrived.
    pub delivered: Option<Epoch>,
    /// Rows of published batches that have not.
    pub outbox_rows: u64,
    /// Their bytes.
    pub outbox_bytes: u64,
    /// Rows that have arrived since the process started.
    pub rows_sent: u64,
}

struct Offer {
    epoch: Epoch,
    rows: u64,
    bytes: Bytes,
}

struct Desk {
    offers: VecDeque<Offer>,
    state: SinkState,
    delivered: Option<Epoch>,
    rows_sent: u64,
    last: bool,
    stopped: bool,
}

/// The delivery of one sink.
pub struct SinkHost {
    desk: Mutex<Desk>,
    changed: Condvar,
    delivered: Box<dyn Fn(Epoch) + Send + Sync>,
}

impl SinkHost {
    /// Starts delivering to `sink`. `delivered` is called from the sink's thread when a batch has arrived: its bytes may
    /// go then. It must return at once, without calling the host.
    pub fn start(
        spec: SinkSpec,
        sink: Box<dyn Sink>,
        delivered: impl Fn(Epoch) + Send + Sync + 'static,
    ) -> Result<Arc<SinkHost>> {
        let desk = Desk {
            offers: VecDeque::new(),
            state: SinkState::Running,
            delivered: None,
            rows_sent: 0,
            last: false,
            stopped: false,
        };
        let host =
            Arc::new(SinkHost { desk: Mutex::new(desk), changed: Condvar::new(), delivered: Box::new(delivered) });
        let own = Arc::clone(&host);
        let name = format!("sink {}", spec.owner.name);
        let run = move || Delivery { host: own, spec, sink, mark: None, open: false }.run();
        std::thread::Builder::new()
            .name(name)
            .spawn(run)
            .map_err(|error| Error::unavailable(format!("no thread for a sink: {error}")).caused_by(error))?;
        Ok(host)
    }

    /// Hands over the batch of a *published* checkpoint; after a restart, first those that were not delivered. In order.
    pub fn offer(&self, epoch: Epoch, rows: u64, bytes: impl Into<Bytes>) {
        self.desk.lock().offers.push_back(Offer { epoch, rows, bytes: bytes.into() });
        self.changed.notify_all();
    }

    /// Nothing will be offered any more: whatever the destination holds back becomes visible.
    pub fn finish(&self) {
        self.desk.lock().last = true;
        self.changed.notify_all();
    }

    /// Stops the delivery; what has not arrived is delivered by the next host.
    pub fn stop(&self) {
        self.desk.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Counts and state.
    pub fn stats(&self) -> SinkStats {
        let desk = self.desk.lock();
        SinkStats {
            state: desk.state.clone(),
            delivered: desk.delivered,
            outbox_rows: desk.offers.iter().map(|offer| offer.rows).sum(),
            outbox_bytes: desk.offers.iter().map(|offer| offer.bytes.len() as u64).sum(),
            rows_sent: desk.rows_sent,
        }
    }

    /// Waits until everything offered so far has arrived (true), or the sink has failed or `timeout` has passed (false).
    pub fn wait_delivered(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut desk = self.desk.lock();
        while !desk.offers.is_empty() {
            if matches!(desk.state, SinkState::Failed(_)) || self.changed.wait_until(&mut desk, until).timed_out() {
                return desk.offers.is_empty();
            }
        }
        true
    }
}

struct Delivery {
    host: Arc<SinkHost>,
    spec: SinkSpec,
    sink: Box<dyn Sink>,
    mark: Option<u64>,
    open: bool,
}

/// What the thread does next.
enum Next {
    Deliver(Epoch, u64, Bytes),
    Tick { last: bool },
    Stop,
}

impl Delivery {
    fn run(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            let outcome = match self.open() {
                Ok(()) => match self.next() {
                    Next::Deliver(epoch, rows, bytes) => self.deliver(epoch, rows, &bytes),
                    Next::Tick { last } => self.tick(last),
                    Next::Stop => return,
                },
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => pause = RETRY_MIN,
                Err(error) => {
                    self.open = false;
                    if !self.trouble(&error, pause) {
                        return;
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    fn open(&mut self) -> Result<()> {
        if self.open {
            return Ok(());
        }
        self.mark = self.sink.open(&self.spec.owner)?;
        let newest = self.host.desk.lock().offers.back().map(|offer| offer.epoch).max(self.spec.newest);
        if self.mark > newest.map(|epoch| epoch.0) {
            return Err(Error::invalid(format!("the destination of sink \"{}\" is ahead of the engine", self.spec.owner.name))
                .with_detail(format!(
                    "Its mark says {}, the newest batch here is {}: the data directory was restored from a backup, or copied.",
                    self.mark.unwrap_or_default(),
                    newest.map_or("none".to_owned(), |epoch| epoch.to_string())
                ))
                .with_hint("Drop the sink and create it anew with an empty destination."));
        }
        self.open = true;
        Ok(())
    }

    fn next(&self) -> Next {
        let mut desk = self.host.desk.lock();
        if desk.stopped {
            return Next::Stop;
        }
        if desk.offers.is_empty() && !desk.last {
            self.host.changed.wait_for(&mut desk, TICK);
        }
        match desk.offers.front() {
            _ if desk.stopped => Next::Stop,
            Some(offer) => Next::Deliver(offer.epoch, offer.rows, offer.bytes.clone()),
            None if desk.last && desk.state == SinkState::Finished => Next::Stop,
            None => Next::Tick { last: desk.last },
        }
    }

    fn deliver(&mut self, epoch: Epoch, rows: u64, bytes: &Bytes) -> Result<()> {
        if self.mark.is_none_or(|mark| mark < epoch.0) {
            let parcel = self.parcel(epoch, rows, bytes)?;
            let _marked = PhaseGuard::enter(Phase::OutboxDeliver);
            self.sink.deliver(&parcel)?;
            self.mark = Some(epoch.0);
        }
        let mut desk = self.host.desk.lock();
        desk.offers.pop_front();
        desk.delivered = desk.delivered.max(Some(epoch));
        desk.rows_sent += rows;
        desk.state = SinkState::Running;
        drop(desk);
        self.host.changed.notify_all();
        (self.host.delivered)(epoch);
        Ok(())
    }

    fn parcel(&self, epoch: Epoch, rows: u64, bytes: &[u8]) -> Result<Parcel> {
        let Some(format) = &self.spec.format else {
            return Ok(Parcel { number: epoch.0, rows, header: Bytes::new(), body: Bytes::new(), whole_file: false });
        };
        let schema = match self.spec.changelog {
            true => changelog_schema(&self.spec.schema).arrow(),
            false => self.spec.schema.arrow(),
        };
        let batches = rows_of(bytes, self.spec.changelog)?;
        let written = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let encoded = format.encode(&schema, &batches)?;
        Ok(Parcel {
            number: epoch.0,
            rows: written,
            header: encoded.header,
            body: encoded.body,
            whole_file: encoded.whole_file,
        })
    }

    fn tick(&mut self, last: bool) -> Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.sink.tick(i64::try_from(since.as_micros()).unwrap_or(i64::MAX), last)?;
        if last {
            self.host.desk.lock().state = SinkState::Finished;
            self.host.changed.notify_all();
        }
        Ok(())
    }

    /// Notes the trouble and sleeps; false when trying again would not help, or nobody wants it.
    fn trouble(&self, error: &Error, pause: Duration) -> bool {
        let again = error.kind() == ErrorKind::Unavailable;
        let reason = error.report();
        let mut desk = self.host.desk.lock();
        let state = if again { SinkState::Retrying(reason) } else { SinkState::Failed(reason) };
        if desk.state != state {
            tracing::warn!(sink = %self.spec.owner.name, %error, "sink can not be delivered to");
            desk.state = state;
        }
        self.host.changed.notify_all();
        let until = Instant::now() + pause;
        while again && !desk.stopped {
            if self.host.changed.wait_until(&mut desk, until).timed_out() {
                return true;
            }
        }
        false
    }
}
