//! The sending end of a subtask: its output edges, their capabilities and lanes.

use std::rc::Rc;
use std::task::Waker;

use timely::dataflow::channels::pushers::Output as TimelyOutput;
use timely::dataflow::operators::Capability;

use super::Time;
use super::container::Deltas;
use super::exchange::{Spreader, time_of};
use super::job::JobCell;
use crate::base::Result;
use crate::operators::Output;
use crate::types::{Epoch, NodeId};

/// One output edge.
pub(super) struct Outlet {
    /// The output port it reads.
    pub(super) port: usize,
    pub(super) spreader: Spreader,
    pub(super) output: TimelyOutput<Time, Deltas>,
    /// Permission to send; its time is the first epoch that this subtask has not ended.
    pub(super) capability: Capability<Time>,
}

/// An output edge whose capability is still to come.
pub(super) struct PendingOutlet {
    pub(super) port: usize,
    pub(super) spreader: Spreader,
    pub(super) output: TimelyOutput<Time, Deltas>,
}

/// All output edges of a subtask.
pub(super) struct Outlets {
    job: Rc<JobCell>,
    node: NodeId,
    outlets: Vec<Outlet>,
    waker: Waker,
}

impl Outlets {
    pub(super) fn new(job: Rc<JobCell>, node: NodeId, outlets: Vec<Outlet>, waker: Waker) -> Self {
        Outlets { job, node, outlets, waker }
    }

    /// Whether no lane is full; if one is, the subtask is woken when there is room.
    pub(super) fn have_room(&self) -> bool {
        self.outlets.iter().all(|outlet| self.job.plan.lanes.has_room(outlet.spreader.lane(), &self.waker))
    }

    /// The waker of the subtask: any thread may wake it.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Sends what is in `out`, as rows of `epoch`, which must not have ended. Ports that nobody reads are dropped.
    pub(super) fn send(&mut self, epoch: Epoch, out: &mut Output) -> Result<()> {
        let time = time_of(epoch);
        let mut rows = 0;
        for (port, batch) in out.drain() {
            rows += batch.len();
            for outlet in self.outlets.iter_mut().filter(|outlet| outlet.port == port) {
                let parcels = outlet.spreader.spread(&batch)?;
                for parcel in &parcels {
                    self.job.plan.lanes.charge(parcel.lane, parcel.charge);
                }
                if parcels.is_empty() {
                    continue;
                }
                let mut container = Deltas::new(parcels);
                if *outlet.capability.time() == time {
                    outlet.output.activate().give(&outlet.capability, &mut container);
                } else {
                    outlet.output.activate().give(&outlet.capability.delayed(&time), &mut container);
                }
            }
        }
        if rows > 0
            && let Some(metrics) = self.job.metrics(self.node)
        {
            metrics.rows_out.add(rows as u64);
        }
        Ok(())
    }

    /// Every epoch below `epoch` has ended here: nothing more is sent for it.
    pub(super) fn advance(&mut self, epoch: Epoch) {
        let time = time_of(epoch);
        for outlet in &mut self.outlets {
            if *outlet.capability.time() < time {
                outlet.capability.downgrade(&time);
            }
        }
    }
}
