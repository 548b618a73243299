//! Builds a graph as a timely dataflow: the same operators in the same order on every worker.
//!
//! Nothing here may fail or depend on the worker except inside the closures: a node that cannot be built or restored
//! on this worker is still there, without a body, and its job has failed.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Wake, Waker};

use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::{Activator, SyncActivator};
use timely::worker::Worker;

use super::Time;
use super::body::{Body, OperatorBody, PublishBody, SinkBody};
use super::container::Deltas;
use super::exchange::{EdgePact, Spreader, time_of};
use super::host::Host;
use super::inlet::Inlet;
use super::job::{JobCell, JobPlan, guard};
use super::outlet::{Outlet, Outlets, PendingOutlet};
use super::subtask::{Pause, Subtask};
use super::tap::Tap;
use crate::base::{Error, Result, ResultExt};
use crate::dataflow::{Exchange, Node, NodeKind};
use crate::operators::{OperatorSpec, Output};
use crate::state::OperatorState;

/// Wakes a subtask from any thread.
struct SubtaskWaker(SyncActivator);

impl Wake for SubtaskWaker {
    fn wake(self: Arc<Self>) {
        // A worker that is gone needs no waking.
        let _ = self.0.activate();
    }
}

/// Where edges end: (consuming node, input port).
type Streams<'s> = BTreeMap<(usize, usize), Stream<'s, Time, Deltas>>;

/// Builds the job on this worker. Gives timely's number of the dataflow and what its subtasks share.
pub(super) fn build(worker: &mut Worker, host: &Host, plan: &Arc<JobPlan>) -> (usize, Rc<JobCell>) {
    let cell = JobCell::new(Arc::clone(plan), host.worker, Rc::clone(&host.changed), Arc::clone(&host.metrics));
    let dataflow = worker.next_dataflow_index();
    worker.dataflow_named::<Time, _, _>(&format!("job {}", plan.create.job), |scope| {
        let mut streams: Streams<'_> = BTreeMap::new();
        for node in &plan.create.graph.nodes {
            if node.kind.is_input() {
                build_input(scope, host, &cell, node, &mut streams);
            } else {
                build_node(scope, host, &cell, node, &mut streams);
            }
        }
    });
    plan.loaded();
    check_identifier(worker, &cell);
    (dataflow, cell)
}

/// Channels are told apart by numbers that each worker counts alone: if they differ, rows would go astray in silence.
fn check_identifier(worker: &Worker, cell: &JobCell) {
    let mine = worker.peek_identifier() + 1;
    let first = cell.plan.identifier.compare_exchange(0, mine, Ordering::SeqCst, Ordering::SeqCst);
    if let Err(first) = first
        && first != mine
    {
        cell.fail(Error::internal(format!("workers built job {} differently: {first} and {mine} channels", cell.id())));
    }
}

/// The output edges of `node`, in the order of their consumers, with their numbers in the graph.
fn outputs<'s>(
    builder: &mut OperatorBuilder<'s, Time>,
    host: &Host,
    cell: &JobCell,
    node: &Node,
    streams: &mut Streams<'s>,
) -> Vec<PendingOutlet> {
    let mut pending = Vec::new();
    let mut number = 0;
    for (consumer, placement) in cell.plan.create.graph.nodes.iter().zip(&cell.plan.placements) {
        for (port, edge) in consumer.inputs.iter().enumerate() {
            if edge.from == node.id {
                let (output, stream) = builder.new_output::<Deltas>();
                streams.insert((consumer.id.0 as usize, port), stream);
                let spreader = Spreader::new(edge.exchange.clone(), *placement, number, host.worker, host.workers);
                pending.push(PendingOutlet { port: edge.port, spreader, output });
            }
            number += 1;
        }
    }
    pending
}

fn outlets(
    cell: &Rc<JobCell>,
    node: &Node,
    pending: Vec<PendingOutlet>,
    capabilities: Vec<Capability<Time>>,
    waker: Waker,
) -> Outlets {
    let start = time_of(cell.plan.create.start);
    let outlets = pending.into_iter().zip(capabilities).map(|(pending, mut capability)| {
        capability.downgrade(&start);
        Outlet { port: pending.port, spreader: pending.spreader, output: pending.output, capability }
    });
    Outlets::new(Rc::clone(cell), node.id, outlets.collect(), waker)
}

fn activators(scope: Scope<'_, Time>, address: Rc<[usize]>) -> (Activator, Waker) {
    let sync = scope.worker().sync_activator_for(address.to_vec());
    (scope.activator_for(address), Waker::from(Arc::new(SubtaskWaker(sync))))
}

fn build_input<'s>(scope: Scope<'s, Time>, host: &Host, cell: &Rc<JobCell>, node: &Node, streams: &mut Streams<'s>) {
    let mut builder = OperatorBuilder::new(node.name.clone(), scope);
    let pending = outputs(&mut builder, host, cell, node, streams);
    let address = builder.operator_info().address;
    let (activator, waker) = activators(scope, Rc::clone(&address));
    let follower_activator = scope.activator_for(address);
    builder.build(move |capabilities| {
        let outlets = outlets(cell, node, pending, capabilities, waker);
        let mut inlet = match new_inlet(host, cell, node, outlets, follower_activator) {
            Ok(inlet) => Ok(inlet),
            Err((error, outlets)) => {
                cell.fail(error);
                // The capabilities must stay: they keep the job from being taken for finished.
                Err(outlets)
            }
        };
        move |_frontiers| {
            if let Ok(inlet) = &mut inlet
                && inlet.work() == Pause::Slice
            {
                activator.activate();
            }
        }
    });
}

fn new_inlet(
    host: &Host,
    cell: &Rc<JobCell>,
    node: &Node,
    outlets: Outlets,
    activator: Activator,
) -> std::result::Result<Inlet, (Error, Outlets)> {
    let create = &cell.plan.create;
    let receiver = create.inputs.get(&node.id).and_then(|receivers| receivers.receiver(host.worker));
    let Some(receiver) = receiver.map(Rc::new) else {
        return Err((
            Error::internal(format!("input node {} has no queue for worker {}", node.id, host.worker)),
            outlets,
        ));
    };
    cell.add_receiver(&receiver);
    let tap = match (&node.kind, create.taps.get(&node.id)) {
        (NodeKind::Relation(input), Some(view)) => {
            let relation = host.relations.relation(input.relation);
            let follower = relation.follow(activator, &host.settings);
            let restored = cell.plan.is_restored;
            let upper = view.upper(host.worker);
            // What was closed before this job came was told to nobody here. A restored job has all below its start.
            if upper > create.start || (restored && upper == create.start) {
                let error =
                    Error::internal(format!("relation {} was already past the epoch of joining", input.relation))
                        .with_detail(format!("It has closed epoch {upper}; the job starts at {}.", create.start));
                return Err((error, outlets));
            }
            Some(Tap::new(Arc::clone(view), host.worker, relation, follower, create.start, restored))
        }
        (NodeKind::Relation(input), None) => {
            return Err((Error::internal(format!("relation {} has no published view", input.relation)), outlets));
        }
        (NodeKind::Source(_) | NodeKind::Operator(_) | NodeKind::Publish(_) | NodeKind::Sink(_), _) => None,
    };
    Ok(Inlet {
        job: Rc::clone(cell),
        node: node.id,
        receiver,
        bus: Arc::clone(&host.bus),
        outlets,
        tap,
        open: create.start,
        grants: VecDeque::new(),
        out: Output::new(),
        small: Vec::new(),
        small_epoch: create.start,
    })
}

fn build_node<'s>(scope: Scope<'s, Time>, host: &Host, cell: &Rc<JobCell>, node: &Node, streams: &mut Streams<'s>) {
    let mut builder = OperatorBuilder::new(node.name.clone(), scope);
    let mut inputs = Vec::new();
    for (port, edge) in node.inputs.iter().enumerate() {
        if let Some(stream) = streams.remove(&(node.id.0 as usize, port)) {
            let local = host.workers == 1 || edge.exchange == Exchange::OneToOne;
            inputs.push((port, builder.new_input(stream, EdgePact { local })));
        }
    }
    let pending = outputs(&mut builder, host, cell, node, streams);
    let (activator, waker) = activators(scope, builder.operator_info().address);
    builder.build(move |capabilities| {
        let outlets = outlets(cell, node, pending, capabilities, waker);
        let body = guard(|| new_body(host, cell, node)).context(|| format!("in node {} \"{}\"", node.id, node.name));
        let body = body.unwrap_or_else(|error| {
            cell.fail(error);
            None
        });
        let ports = node.inputs.iter().map(|edge| edge.watermark.clone()).collect();
        let mut subtask = Subtask::new(Rc::clone(cell), node.id, body, ports, outlets);
        move |frontiers| {
            for (port, input) in &mut inputs {
                input.for_each(|capability, container| {
                    if let Some(time) = capability.least() {
                        subtask.arrive(*port, *time, container.take());
                    }
                });
            }
            let frontier = frontiers.iter().filter_map(|frontier| frontier.frontier().first().copied()).min();
            match subtask.work(frontier) {
                Pause::Idle => {}
                Pause::Slice => activator.activate(),
                Pause::Yield(pause) => activator.activate_after(pause),
            }
        }
    });
}

/// What `node` calls on this worker; nothing where an operator does not run.
fn new_body(host: &Host, cell: &JobCell, node: &Node) -> Result<Option<Box<dyn Body>>> {
    let create = &cell.plan.create;
    Ok(Some(match &node.kind {
        NodeKind::Source(_) | NodeKind::Relation(_) => return Ok(None),
        NodeKind::Operator(spec) => {
            let placement = cell.plan.placements.get(node.id.0 as usize);
            if !placement.is_some_and(|placement| placement.runs_on(host.worker, host.workers)) {
                return Ok(None);
            }
            Box::new(operator_body(host, cell, node, spec)?)
        }
        NodeKind::Publish(spec) => {
            let view = create.publish.get(&node.id);
            let view =
                view.ok_or_else(|| Error::internal(format!("relation {} has no published view", spec.relation)))?;
            let local = host.relations.relation(spec.relation);
            Box::new(PublishBody { writer: view.shard(host.worker)?, local, epoch_deltas: Vec::new() })
        }
        NodeKind::Sink(spec) => {
            let writer = create.sinks.get(&node.id).and_then(|outbox| outbox.take(host.worker));
            let writer = writer.ok_or_else(|| Error::internal(format!("sink {} has no outbox", spec.relation)))?;
            let begins = spec.changes_only && cell.plan.restore.lock().0.is_none();
            let unsent = begins.then_some(create.start);
            Box::new(SinkBody { writer, epoch_deltas: Vec::new(), unsent })
        }
    }))
}

fn operator_body(host: &Host, cell: &JobCell, node: &Node, spec: &OperatorSpec) -> Result<OperatorBody> {
    let tables = spec.tables()?;
    let count = tables.len();
    let mut state = OperatorState::new(tables, host.settings.tier, &host.settings.budget);
    let restore = cell.plan.restore.lock().0.clone();
    if let (Some(restore), Some(placement)) = (restore, cell.plan.placements.get(node.id.0 as usize)) {
        let owns = |key: &[u8]| key.first().is_some_and(|&group| placement.owns(group, host.worker, host.workers));
        for table in 0..count {
            let Some(entries) = restore.table(node.id, table as u16) else { continue };
            state.load(table, entries.iter().filter(|(key, _)| owns(key)).map(|(key, value)| (key, Some(value))))?;
        }
        state.forget_all();
    }
    Ok(OperatorBody { operator: spec.build()?, state })
}
