//! The decode pool: as many threads as cores, shared by all sources of the process.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::base::{Error, Result};

/// Microseconds that all decoding of the process has taken.
static BUSY_US: AtomicU64 = AtomicU64::new(0);

/// Time that all decoding of the process has taken, summed over threads.
pub(in crate::dataflow) fn decode_busy() -> Duration {
    Duration::from_micros(BUSY_US.load(Ordering::Relaxed))
}

/// Notes that decoding has taken the time since `since`.
pub(super) fn was_decoding(since: Instant) {
    BUSY_US.fetch_add(since.elapsed().as_micros() as u64, Ordering::Relaxed);
}

type Work = Box<dyn FnOnce() + Send>;

/// Threads that run work in the order in which it came.
struct Pool {
    queue: Mutex<VecDeque<Work>>,
    arrived: Condvar,
}

/// Work that was handed to the pool; its outcome can be waited for.
pub(super) struct Ticket<T> {
    slot: Arc<Slot<T>>,
}

struct Slot<T> {
    outcome: Mutex<Option<Result<T>>>,
    done: Condvar,
}

/// Runs `work` on the pool. A panic in it becomes an `Internal` error of the ticket.
pub(super) fn submit<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Ticket<T> {
    let slot = Arc::new(Slot { outcome: Mutex::new(None), done: Condvar::new() });
    let place = Arc::clone(&slot);
    let work = move || {
        let outcome = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::internal("a decoder panicked").with_hint("Please report it.")));
        *place.outcome.lock() = Some(outcome);
        place.done.notify_all();
    };
    let pool = pool();
    pool.queue.lock().push_back(Box::new(work));
    pool.arrived.notify_one();
    Ticket { slot }
}

impl<T> Ticket<T> {
    /// Waits for the outcome.
    pub(super) fn wait(self) -> Result<T> {
        let mut outcome = self.slot.outcome.lock();
        loop {
            match outcome.take() {
                Some(outcome) => return outcome,
                None => self.slot.done.wait(&mut outcome),
            }
        }
    }
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<&'static Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let pool: &'static Pool =
            Box::leak(Box::new(Pool { queue: Mutex::new(VecDeque::new()), arrived: Condvar::new() }));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        for index in 0..threads {
            let spawned = std::thread::Builder::new().name(format!("decode-{index}")).spawn(move || run(pool));
            // With at least one thread the pool works; without any, the process has no threads left for anything.
            if let Err(error) = spawned {
                tracing::error!(%error, "decode thread did not start");
            }
        }
        pool
    })
}

fn run(pool: &'static Pool) {
    loop {
        let mut queue = pool.queue.lock();
        let work = loop {
            match queue.pop_front() {
                Some(work) => break work,
                None => pool.arrived.wait(&mut queue),
            }
        };
        drop(queue);
        let since = Instant::now();
        work();
        was_decoding(since);
    }
}
