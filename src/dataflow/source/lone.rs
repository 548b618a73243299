//! A reader for one job that is behind: it follows the recorded cuts until it stands where the shared reader stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::{Hub, Lone, SourceHost, Subscriber};
use super::reading::{Reading, Step};
use super::shared::{FULL_NAP, RETRY_MIN};
use super::spec::{SplitPoint, SubscriberId};
use crate::base::{Error, ErrorKind, Result};
use crate::types::{Epoch, Position, Watermark};

/// The longest such sleep: a job that is behind need not be looked at in haste.
const FULL_NAP_MAX: Duration = Duration::from_millis(8);
/// A stretch that took less than this is short enough to let the shared reader hold still for the next one.
const SHORT: Duration = Duration::from_millis(50);

/// Starts a thread that feeds `subscriber` from `from` on.
pub(super) fn spawn(host: &Arc<SourceHost>, subscriber: Subscriber, from: Vec<SplitPoint>) -> Result<()> {
    let own = Arc::clone(host);
    let name = format!("read {} alone", host.spec.name);
    let run = move || {
        let readings = from.iter().map(|_| None).collect();
        let (pausing, short, skipped) = (false, false, Epoch::ZERO);
        LoneReader { host: own, subscriber: Some(subscriber), at: from, readings, pausing, short, skipped }.run();
    };
    let spawned = std::thread::Builder::new().name(name).spawn(run);
    spawned.map(drop).map_err(|error| Error::unavailable(format!("no thread for a reader: {error}")).caused_by(error))
}

struct LoneReader {
    host: Arc<SourceHost>,
    /// Gone when it has joined the shared reader.
    subscriber: Option<Subscriber>,
    /// Where it stands, by split in the host's order.
    at: Vec<SplitPoint>,
    readings: Vec<Option<Reading>>,
    /// Whether the shared reader holds still for it.
    pausing: bool,
    /// Whether the last stretch was short.
    short: bool,
    /// The newest epoch that the job was told to skip to.
    skipped: Epoch,
}

/// What to do next.
enum Next {
    /// Read up to these positions (in the host's order); the rows are of this epoch. They end the epoch `cut`, if given.
    Read { to: Vec<Option<Position>>, epoch: Epoch, cut: Option<Epoch> },
    /// It has joined, or is not wanted any more.
    Done,
}

impl Lone {
    /// Tells `subscriber` the ends of the epochs below `below` that it has passed.
    fn tell_ended(&mut self, subscriber: &mut Subscriber, below: Epoch) {
        while let Some(cut) = self.cuts.front().filter(|cut| cut.splits.is_empty() && cut.epoch < below) {
            let Some(close) = cut.close else { break };
            if subscriber.closed < close.epoch {
                subscriber.closed = close.epoch;
                subscriber.inlet.close(close);
            }
            self.cuts.pop_front();
        }
    }
}

impl LoneReader {
    fn run(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            let next = self.next();
            let outcome = match next {
                Ok(Next::Done) => break,
                Ok(Next::Read { to, epoch, cut }) => self.read_all(&to, epoch).map(|wanted| (wanted, cut)),
                Err(error) => Err(error),
            };
            match outcome {
                Ok((true, cut)) => {
                    pause = RETRY_MIN;
                    self.passed(cut);
                }
                Ok((false, _)) => break,
                Err(error) => {
                    self.release();
                    self.readings.iter_mut().for_each(|reading| *reading = None);
                    if !self.wait_out(&error, pause) {
                        break;
                    }
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
        self.release();
        if let Some(id) = self.id() {
            let mut hub = self.host.lock();
            if hub.alone.get(&id).is_some_and(|lone| lone.trouble.is_none()) {
                hub.alone.remove(&id);
            }
        }
    }

    fn id(&self) -> Option<SubscriberId> {
        self.subscriber.as_ref().map(|subscriber| subscriber.id)
    }

    /// Tells the job what has ended, and decides what to read, or joins the shared reader.
    fn next(&mut self) -> Result<Next> {
        let host = Arc::clone(&self.host);
        let mut hub = host.lock();
        let ahead = self.first_ahead(&hub);
        let Some(subscriber) = &mut self.subscriber else { return Ok(Next::Done) };
        if hub.stopped || subscriber.inlet.is_gone() {
            return Ok(Next::Done);
        }
        let Some(lone) = hub.alone.get_mut(&subscriber.id) else { return Ok(Next::Done) };
        lone.tell_ended(subscriber, Epoch(u64::MAX));
        // When the end of a cut is known, every end before it was told: its rows, which may be more than what the job holds of
        // rows that it must not take yet, need not wait for one.
        if let Some(cut) = lone.cuts.front().filter(|cut| !cut.splits.is_empty() && cut.close.is_some())
            && self.skipped < cut.epoch
        {
            self.skipped = cut.epoch;
            subscriber.inlet.skip_to(cut.epoch);
        }
        if let Some(cut) = lone.cuts.iter().find(|cut| !cut.splits.is_empty()) {
            let (epoch, splits) = (cut.epoch, cut.splits.clone());
            let to = self.at.iter().map(|at| {
                let point = splits.iter().find(|point| point.split == at.split);
                point.map(|point| point.position.clone())
            });
            return Ok(Next::Read { to: to.collect(), epoch, cut: Some(epoch) });
        }
        if let Some(index) = ahead {
            let reached = self.at.get(index).map(|at| at.position.to_string()).unwrap_or_default();
            return Err(Error::internal(format!("a reader of source \"{}\" overtook the shared one", host.spec.name))
                .with_detail(format!("It stands at {reached}.")));
        }
        let level = self.at.iter().enumerate().all(|(index, at)| hub.position(index) == Some(&at.position));
        let has_room = subscriber.inlet.has_room();
        if level && has_room {
            return Ok(self.join(&mut hub));
        }
        if self.pausing && !has_room {
            // The shared reader must not hold still for a job that takes nothing.
            self.pausing = false;
            hub.pauses -= 1;
            host.changed.notify_all();
        } else if self.short && !self.pausing && has_room {
            self.pausing = true;
            hub.pauses += 1;
        }
        if level {
            // Cuts may be made during the nap, so all is decided anew after it.
            host.nap(&mut hub, FULL_NAP);
            return Ok(Next::Read { to: Vec::new(), epoch: hub.open, cut: None });
        }
        let to = (0..self.at.len()).map(|index| hub.position(index).cloned()).collect();
        Ok(Next::Read { to, epoch: hub.open, cut: None })
    }

    fn join(&mut self, hub: &mut Hub) -> Next {
        if let Some(subscriber) = self.subscriber.take() {
            self.host.join(hub, subscriber);
        }
        Next::Done
    }

    /// The first split in which it is beyond the shared reader, which cannot be.
    fn first_ahead(&self, hub: &Hub) -> Option<usize> {
        self.at
            .iter()
            .enumerate()
            .position(|(index, at)| hub.position(index).is_some_and(|shared| *shared < at.position))
    }

    /// Reads every split up to its place in `to`. False when the job does not want it any more.
    fn read_all(&mut self, to: &[Option<Position>], epoch: Epoch) -> Result<bool> {
        let begun = Instant::now();
        for (index, to) in to.iter().enumerate() {
            if let Some(to) = to
                && !self.read_one(index, to, epoch)?
            {
                return Ok(false);
            }
        }
        self.short = begun.elapsed() < SHORT;
        Ok(true)
    }

    fn read_one(&mut self, index: usize, to: &Position, epoch: Epoch) -> Result<bool> {
        let (Some(at), Some(slot)) = (self.at.get_mut(index), self.readings.get_mut(index)) else { return Ok(true) };
        if *to <= at.position {
            return Ok(true);
        }
        let reading = match slot {
            Some(reading) => reading,
            None => slot.insert(Reading::open(&self.host.spec, at)?),
        };
        reading.bound(to.clone());
        loop {
            let ready = match reading.next()? {
                Step::Ready(ready) => ready,
                Step::Bound => {
                    at.position = to.clone();
                    return Ok(true);
                }
                Step::Wait | Step::End => {
                    return Err(Error::unavailable(format!("the past of source \"{}\" is gone", self.host.spec.name))
                        .with_detail(format!("It was read up to {to} and now ends at {}.", at.position))
                        .with_hint("Restore what is missing; the job goes on by itself then."));
                }
            };
            let Some(subscriber) = &mut self.subscriber else { return Ok(false) };
            if let Some(batch) = ready.project(&subscriber.wanted)? {
                let (waiting, mut nap) = (Instant::now(), FULL_NAP);
                let mut hub = self.host.lock();
                while !subscriber.inlet.has_room() {
                    if self.pausing && waiting.elapsed() >= SHORT {
                        self.pausing = false;
                        hub.pauses -= 1;
                    }
                    if hub.stopped || subscriber.inlet.is_gone() {
                        return Ok(false);
                    }
                    let Some(lone) = hub.alone.get_mut(&subscriber.id) else { return Ok(false) };
                    // The job may be waiting for the end of an epoch before these rows to make room.
                    lone.tell_ended(subscriber, epoch);
                    self.host.nap(&mut hub, nap);
                    nap = (nap * 2).min(FULL_NAP_MAX);
                }
                drop(hub);
                subscriber.inlet.send(epoch, batch);
            }
            at.position = ready.end;
            at.watermark = Watermark(ready.watermark);
        }
    }

    /// The cut of `epoch` is reached: its close is the next thing to be told.
    fn passed(&mut self, epoch: Option<Epoch>) {
        let Some(id) = self.id() else { return };
        let mut hub = self.host.lock();
        let Some(lone) = hub.alone.get_mut(&id) else { return };
        lone.trouble = None;
        if let Some(cut) = lone.cuts.iter_mut().find(|cut| Some(cut.epoch) == epoch) {
            cut.splits.clear();
        }
    }

    /// Lets the shared reader go on.
    fn release(&mut self) {
        if std::mem::take(&mut self.pausing) {
            self.host.lock().pauses -= 1;
            self.host.changed.notify_all();
        }
    }

    /// Notes the trouble and sleeps; false when it is not to be tried again.
    fn wait_out(&mut self, error: &Error, pause: Duration) -> bool {
        let Some(id) = self.id() else { return false };
        tracing::warn!(source = %self.host.spec.name, %error, "a job's own reader can not go on");
        let mut hub = self.host.lock();
        let until = Instant::now() + pause;
        loop {
            let Some(lone) = hub.alone.get_mut(&id) else { return false };
            lone.trouble = Some(error.report());
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || error.kind() != ErrorKind::Unavailable {
                return error.kind() == ErrorKind::Unavailable;
            }
            self.host.nap(&mut hub, left);
        }
    }
}
