//! The shared reader: a thread per split that hands every batch to all jobs of the source at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::host::{Hub, SourceHost, Subscriber};
use super::reading::{Reading, Step};
use super::spec::{SourceEvent, SourceState, Wanted};
use crate::base::{Error, ErrorKind};

/// How long a reader sleeps when a job is full, before it looks again.
pub(super) const FULL_NAP: Duration = Duration::from_millis(1);
/// A split without news for so long is looked at less often.
const QUIET_AFTER: Duration = Duration::from_secs(5);
/// How much less often.
const QUIET_TIMES: u32 = 4;
/// The longest pause before a source that could not be read is tried again.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// The first such pause.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(100);

/// Starts the threads of splits that are wanted and not read yet.
pub(super) fn start(host: &Arc<SourceHost>, hub: &mut Hub) {
    if !hub.is_wanted() {
        return;
    }
    for (index, split) in hub.splits.iter_mut().enumerate() {
        if split.reading || split.ended || matches!(split.state, SourceState::Failed(_)) {
            continue;
        }
        let own = Arc::clone(host);
        let name = format!("read {}", host.spec.name);
        match std::thread::Builder::new().name(name).spawn(move || run(&own, index)) {
            Ok(_) => {
                split.reading = true;
                split.state = SourceState::Running;
            }
            Err(error) => split.state = SourceState::Retrying(format!("no thread for it: {error}")),
        }
    }
}

/// Reads split `index` until nobody wants it or it has ended.
fn run(host: &Arc<SourceHost>, index: usize) {
    let mut pause = RETRY_MIN;
    loop {
        let point = {
            let mut hub = host.lock();
            let wanted = hub.is_wanted();
            match hub.splits.get_mut(index) {
                Some(split) if wanted => split.point.clone(),
                Some(split) => {
                    split.reading = false;
                    split.waiting_since = None;
                    split.state = SourceState::Waiting;
                    return;
                }
                None => return,
            }
        };
        let outcome = Reading::open(&host.spec, &point).and_then(|mut reading| read(host, index, &mut reading));
        match outcome {
            Ok(Rest::Unwanted) => {}
            Ok(Rest::Ended) => return,
            Err(error) => {
                let mut hub = host.lock();
                let moved = hub.position(index) != Some(&point.position);
                pause = if moved { RETRY_MIN } else { (pause * 2).min(RETRY_MAX) };
                if trouble(host, &mut hub, index, &error) {
                    return;
                }
                wait_out(host, &mut hub, pause);
            }
        }
    }
}

enum Rest {
    Unwanted,
    Ended,
}

fn read(host: &Arc<SourceHost>, index: usize, reading: &mut Reading) -> Result<Rest, Error> {
    let mut news = Instant::now();
    // A step that finds nothing after one that found something may speak of a look that was taken long before.
    let mut looks_anew = false;
    loop {
        let began = Instant::now();
        match reading.next()? {
            Step::Ready(ready) => {
                news = Instant::now();
                looks_anew = false;
                let mut hub = host.lock();
                if !await_room(host, &mut hub) {
                    return Ok(Rest::Unwanted);
                }
                host.deliver(&mut hub, index, &ready)?;
                recovered(host, &mut hub, index);
            }
            Step::Wait if !looks_anew => looks_anew = true,
            Step::Wait => {
                let mut hub = host.lock();
                if !hub.is_wanted() {
                    return Ok(Rest::Unwanted);
                }
                recovered(host, &mut hub, index);
                if let Some(split) = hub.splits.get_mut(index) {
                    split.waiting_since.get_or_insert_with(Instant::now);
                    split.looked = Some(began);
                }
                let idle = hub.splits.iter().filter(|split| split.waiting_since.is_some()).count();
                host.note_idle(&mut hub);
                if idle > 0 && hub.watermark_moved() {
                    host.tell(SourceEvent::Input);
                }
                let times = if news.elapsed() < QUIET_AFTER { 1 } else { QUIET_TIMES };
                host.nap(&mut hub, host.spec.settings.poll * times);
            }
            Step::Bound | Step::End => {
                let mut hub = host.lock();
                host.end(&mut hub, index);
                return Ok(Rest::Ended);
            }
        }
    }
}

/// Waits until every job has room. A job that is full while another is not, for longer than `share_patience` (or, if it
/// gives way to others, a tenth of that), is given a reader of its own. False when nobody wants the rows any more.
fn await_room(host: &Arc<SourceHost>, hub: &mut MutexGuard<'_, Hub>) -> bool {
    loop {
        hub.shared.retain(|subscriber| !subscriber.inlet.is_gone());
        if !hub.is_wanted() {
            return false;
        }
        if hub.pauses == 0 {
            let full: Vec<bool> = hub.shared.iter().map(|subscriber| !subscriber.inlet.has_room()).collect();
            if full.iter().all(|&full| !full) {
                hub.shared.iter_mut().for_each(|subscriber| subscriber.full_since = None);
                return true;
            }
            let others_wait = hub
                .shared
                .iter()
                .zip(&full)
                .any(|(subscriber, &full)| !full && matches!(subscriber.wanted, Wanted::Rows { .. }));
            mark_full(hub, &full, others_wait);
            if others_wait {
                part_with_slow(host, hub);
            }
        }
        host.nap(hub, FULL_NAP);
    }
}

fn mark_full(hub: &mut Hub, full: &[bool], others_wait: bool) {
    for (subscriber, &full) in hub.shared.iter_mut().zip(full) {
        if full && others_wait {
            subscriber.full_since.get_or_insert_with(Instant::now);
        } else {
            subscriber.full_since = None;
        }
    }
}

fn part_with_slow(host: &Arc<SourceHost>, hub: &mut Hub) {
    let patience = host.spec.settings.share_patience;
    let is_slow = |subscriber: &Subscriber| {
        let patience = if subscriber.inlet.gives_way() { patience / 10 } else { patience };
        subscriber.full_since.is_some_and(|since| since.elapsed() >= patience)
    };
    while let Some(slow) = hub.shared.iter().position(is_slow) {
        let subscriber = hub.shared.swap_remove(slow);
        let from = hub.splits.iter().map(|split| split.point.clone()).collect();
        tracing::info!(source = %host.spec.name, "a slow job reads on alone");
        host.leave_alone(hub, subscriber, from, std::collections::VecDeque::new());
    }
}

/// Notes why a split is not read; true when it is not to be tried again.
fn trouble(host: &SourceHost, hub: &mut Hub, index: usize, error: &Error) -> bool {
    let passes = error.kind() == ErrorKind::Unavailable;
    let reason = error.report();
    let Some(split) = hub.splits.get_mut(index) else { return true };
    split.waiting_since = None;
    let state = if passes { SourceState::Retrying(reason) } else { SourceState::Failed(reason) };
    if split.state != state {
        tracing::warn!(source = %host.spec.name, split = %split.point.split, %error, "source can not be read");
        split.state = state;
        host.tell(SourceEvent::State);
    }
    split.reading = passes;
    !passes
}

fn recovered(host: &SourceHost, hub: &mut Hub, index: usize) {
    if let Some(split) = hub.splits.get_mut(index)
        && split.state != SourceState::Running
    {
        split.state = SourceState::Running;
        host.tell(SourceEvent::State);
    }
}

/// Sleeps for `pause`, however often it is woken, unless nobody wants the source any more.
fn wait_out(host: &SourceHost, hub: &mut MutexGuard<'_, Hub>, pause: Duration) {
    let until = Instant::now() + pause;
    while hub.is_wanted() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        host.nap(hub, left);
    }
}
