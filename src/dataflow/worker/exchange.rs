//! Edges between subtasks: which worker a batch goes to, and the timely channel that takes it there.

use std::rc::Rc;

use timely::communication::{Pull, Push};
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, ParallelizationContract, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::logging::TimelyLogger;
use timely::progress::Stamp;
use timely::worker::Worker;

use super::Time;
use super::container::{Deltas, Parcel};
use crate::base::Result;
use crate::dataflow::deal::split_by_key;
use crate::dataflow::input::slice_bytes;
use crate::dataflow::{Exchange, Placement};
use crate::types::{DeltaBatch, Epoch};

/// Decides, on the sending side, where the rows of one edge go.
#[derive(Debug)]
pub(super) struct Spreader {
    exchange: Exchange,
    /// How many workers the receiving node runs on.
    width: usize,
    gathered: usize,
    worker: usize,
    next: usize,
    /// The lane of this edge and worker.
    lane: u32,
}

impl Spreader {
    /// For the edge numbered `edge` into a node placed at `placement`, on `worker` of `workers`.
    pub(super) fn new(exchange: Exchange, placement: Placement, edge: usize, worker: usize, workers: usize) -> Self {
        let exchange = if workers == 1 { Exchange::OneToOne } else { exchange };
        let width = placement.width(workers);
        let gathered = placement.gathered(workers);
        let lane = (edge * workers + worker) as u32;
        Spreader { exchange, width, gathered, worker, next: worker % width, lane }
    }

    /// The lane that the parcels are sent on.
    pub(super) fn lane(&self) -> u32 {
        self.lane
    }

    /// The parcels of `batch`; they are not yet charged to the lane.
    pub(super) fn spread(&mut self, batch: &DeltaBatch) -> Result<Vec<Parcel>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let parcel = |target: usize, batch: DeltaBatch| Parcel {
            target: target as u32,
            lane: self.lane,
            charge: slice_bytes(&batch),
            batch,
        };
        Ok(match &self.exchange {
            Exchange::OneToOne => vec![parcel(self.worker, batch.clone())],
            Exchange::Gather => vec![parcel(self.gathered, batch.clone())],
            Exchange::Broadcast => (0..self.width).map(|target| parcel(target, batch.clone())).collect(),
            Exchange::Rebalance => {
                let target = self.next;
                self.next = (target + 1) % self.width;
                vec![parcel(target, batch.clone())]
            }
            Exchange::Key(columns) => {
                let parts = split_by_key(batch, columns, self.width)?;
                parts.into_iter().map(|(target, part)| parcel(target, part)).collect()
            }
        })
    }
}

/// The channel of an edge: within the worker, or to every worker by each parcel's target.
pub(super) struct EdgePact {
    /// Whether the sender is always the receiver.
    pub(super) local: bool,
}

impl ParallelizationContract<Time, Deltas> for EdgePact {
    type Pusher = Box<dyn Push<Message<Time, Deltas>>>;
    type Puller = Box<dyn Pull<Message<Time, Deltas>>>;

    fn connect(
        self,
        worker: &Worker,
        identifier: usize,
        address: Rc<[usize]>,
        logging: Option<TimelyLogger>,
    ) -> (Self::Pusher, Self::Puller) {
        if self.local {
            let (pusher, puller) =
                ParallelizationContract::<Time, Deltas>::connect(Pipeline, worker, identifier, address, logging);
            (Box::new(pusher), Box::new(puller))
        } else {
            let pact = DistributorPact(|_peers| ByTarget);
            let (pusher, puller) =
                ParallelizationContract::<Time, Deltas>::connect(pact, worker, identifier, address, logging);
            (Box::new(pusher), Box::new(puller))
        }
    }
}

/// Sends each parcel to its target. Holds nothing back.
struct ByTarget;

impl Distributor<Deltas> for ByTarget {
    fn partition<T: Clone, P: Push<Message<T, Deltas>>>(
        &mut self,
        container: &mut Deltas,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        // Containers are made in this process, so they are whole.
        let mut parcels = container.take().unwrap_or_default();
        while let Some(first) = parcels.first() {
            let target = first.target;
            let (mine, others) = parcels.into_iter().partition(|parcel| parcel.target == target);
            parcels = others;
            if let Some(pusher) = pushers.get_mut(target as usize) {
                Message::push_at(&mut Deltas::new(mine), stamp.clone(), pusher);
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Deltas>>>(&mut self, _stamp: &Stamp<T>, _pushers: &mut [P]) {}
}

/// Timely's timestamp of an epoch.
pub(super) fn time_of(epoch: Epoch) -> Time {
    epoch.0
}

/// The epoch of one of timely's timestamps.
pub(super) fn epoch_of(time: Time) -> Epoch {
    Epoch(time)
}
