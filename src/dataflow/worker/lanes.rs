//! Lanes: exactly how many bytes of deltas are under way on each edge from each worker, and the bound on them.
//!
//! Timely's queues are unbounded. So every parcel is charged to its lane when it is sent and released when its receiver
//! has consumed it, on whichever worker; a sender whose lane is full makes no further call, input nodes read no further
//! message, and so the bound reaches the host that feeds the job.
//!
//! Why this cannot stand still: a full lane waits for a receiver that is at an epoch not above the sender's. Of all
//! that wait take the one at the smallest epoch, and of these the last in the graph: its receiver either has rows of
//! its open epoch and works on them, or waits for an input at a smaller epoch, whose lanes are not full.
//!
//! Tried and rejected: ticks below the epoch in timely's timestamps, with the oldest tick in flight read from the
//! frontier. That needs progress traffic per burst; and an input that has nothing to say at its tick holds up all
//! others of a join until the epoch is cut: in an epoch as large as a whole backfill, for ever. A second process needs
//! the releases sent back to it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

/// The lanes of a job: one per edge and sending worker.
#[derive(Debug)]
pub(super) struct Lanes {
    window_bytes: usize,
    lanes: Vec<Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    bytes: AtomicUsize,
    /// Whether the sender has left its waker.
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Lanes {
    /// `count` lanes of at most `window_bytes` each; an empty lane takes a parcel of any size.
    pub(super) fn new(count: usize, window_bytes: usize) -> Self {
        Lanes { window_bytes: window_bytes.max(1), lanes: (0..count).map(|_| Lane::default()).collect() }
    }

    /// Whether more may be sent on `lane`. If not, `waker` is woken when half the lane is free.
    pub(super) fn has_room(&self, lane: u32, waker: &Waker) -> bool {
        let Some(lane) = self.lanes.get(lane as usize) else { return true };
        if lane.bytes.load(Ordering::SeqCst) < self.window_bytes {
            return true;
        }
        *lane.waker.lock() = Some(waker.clone());
        lane.waits.store(true, Ordering::SeqCst);
        // Released since the first look: nobody may be left to wake us.
        lane.bytes.load(Ordering::SeqCst) <= self.window_bytes / 2
    }

    /// Notes `bytes` as under way.
    pub(super) fn charge(&self, lane: u32, bytes: usize) {
        if let Some(lane) = self.lanes.get(lane as usize) {
            lane.bytes.fetch_add(bytes, Ordering::SeqCst);
        }
    }

    /// Notes `bytes` as consumed.
    pub(super) fn release(&self, lane: u32, bytes: usize) {
        let Some(lane) = self.lanes.get(lane as usize) else { return };
        let before = lane.bytes.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(before >= bytes, "released more than was charged");
        if before - bytes <= self.window_bytes / 2 && lane.waits.swap(false, Ordering::SeqCst) {
            let waker = lane.waker.lock().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Bytes under way on all lanes.
    pub(super) fn bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.bytes.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_full_lane_wakes_its_sender_at_half() {
        let lanes = Lanes::new(2, 100);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(lanes.has_room(0, &waker));
        lanes.charge(0, 150);
        assert!(!lanes.has_room(0, &waker));
        assert!(lanes.has_room(1, &waker));
        lanes.release(0, 90);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        lanes.release(0, 10);
        assert_eq!((woken.0.load(Ordering::SeqCst), lanes.bytes()), (1, 50));
        lanes.release(0, 50);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "it was woken once");
    }
}
