//! A coordinator small enough for tests: it creates jobs, sends epochs, collects responses and cuts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::dataflow::*;
use crate::operators::{JoinSpec, OperatorSpec};
use crate::state::PublishedView;
use crate::types::*;

pub(super) type Row = Vec<i64>;
/// (row, weight) in any order.
pub(super) type Rows = Vec<(Row, i64)>;

/// A schema of `bigint` columns.
pub(super) fn schema(names: &[&str]) -> Schema {
    Schema::new(names.iter().map(|name| Column::new(*name, SqlType::BigInt)).collect())
}

pub(super) fn batch(schema: &Schema, rows: &[(Row, i64)]) -> DeltaBatch {
    let column = |c: usize| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(|(row, _)| row[c]))) };
    let columns = (0..schema.columns.len()).map(column).collect();
    let weights = rows.iter().map(|(_, weight)| *weight).collect();
    DeltaBatch::new(RecordBatch::try_new(schema.arrow(), columns).unwrap(), weights).unwrap()
}

pub(super) fn rows_of(batches: impl Iterator<Item = RecordBatch>) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|c| c.as_primitive::<Int64Type>().value(row)).collect());
        }
    }
    rows.sort();
    rows
}

pub(super) fn node(id: u32, name: &str, kind: NodeKind, inputs: Vec<Edge>, schema: &Schema) -> Node {
    let schema = schema.clone();
    Node { id: NodeId(id), name: name.into(), kind, inputs, schema, append_only: false, parallelism: None }
}

pub(super) fn edge(from: u32, exchange: Exchange) -> Edge {
    Edge { from: NodeId(from), port: 0, exchange, watermark: WatermarkExpr::None }
}

pub(super) fn source(id: u32, schema: &Schema) -> Node {
    let columns = (0..schema.columns.len()).collect();
    let input = SourceInput { relation: RelationId(100 + u64::from(id)), columns, watermark: false };
    node(id, "rows", NodeKind::Source(input), vec![], schema)
}

pub(super) fn publish(id: u32, relation: u64, from: Edge, schema: &Schema) -> Node {
    let spec = PublishSpec { relation: RelationId(relation), key: vec![] };
    node(id, "answer", NodeKind::Publish(spec), vec![from], schema)
}

/// source → publish, as relation `relation`.
pub(super) fn pass_graph(relation: u64, schema: &Schema) -> Graph {
    let all = (0..schema.columns.len()).collect();
    Graph::new(vec![source(0, schema), publish(1, relation, edge(0, Exchange::Key(all)), schema)])
}

/// a(k, v) ⋈ b(k, w) on k → publish.
pub(super) fn join_graph(relation: u64) -> Graph {
    let (left, right) = (schema(&["k", "v"]), schema(&["k2", "w"]));
    let spec = JoinSpec::inner(left.clone(), right.clone(), vec![(0, 0)], None);
    let joined = OperatorSpec::Join(spec).outputs().unwrap().remove(0);
    let spec = JoinSpec::inner(left.clone(), right.clone(), vec![(0, 0)], None);
    let inputs = vec![edge(0, Exchange::Key(vec![0])), edge(1, Exchange::Key(vec![0]))];
    let join = node(2, "matches", NodeKind::Operator(OperatorSpec::Join(spec)), inputs, &joined);
    let out = publish(3, relation, edge(2, Exchange::Key(vec![0, 1, 2, 3])), &joined);
    Graph::new(vec![source(0, &left), source(1, &right), join, out])
}

/// The runtime with what it has answered.
pub(super) struct Bench {
    pub(super) runtime: Runtime,
    responses: UnboundedReceiver<Response>,
    waiter: tokio::runtime::Runtime,
    pub(super) seen: Vec<Response>,
}

/// A job with its host sides.
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) inputs: Vec<JobInput>,
    pub(super) views: HashMap<NodeId, Arc<PublishedView>>,
    schemas: Vec<Schema>,
}

impl Bench {
    pub(super) fn new(workers: usize) -> Self {
        Bench::with(workers, RuntimeSettings::default())
    }

    pub(super) fn with(workers: usize, settings: RuntimeSettings) -> Self {
        let (sender, responses) = unbounded_channel();
        let runtime = Runtime::start(workers, settings, sender).unwrap();
        let waiter = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Bench { runtime, responses, waiter, seen: Vec::new() }
    }

    /// Takes responses until `done`, a function of all seen so far, holds.
    pub(super) fn wait(&mut self, what: &str, done: impl Fn(&[Response]) -> bool) {
        while !done(&self.seen) {
            let next = self.responses.recv();
            let next = self.waiter.block_on(async { tokio::time::timeout(Duration::from_secs(30), next).await });
            match next {
                Ok(Some(response)) => self.seen.push(response),
                Ok(None) | Err(_) => {
                    panic!("waited for {what}; last seen: {:?}", self.seen.iter().rev().take(8).collect::<Vec<_>>())
                }
            }
        }
    }

    /// A job over `graph`, whose relation inputs tap `taps`.
    pub(super) fn create(&mut self, id: u64, graph: Graph, start: u64, setup: Setup) -> Job {
        let workers = self.runtime.workers();
        let job = JobId(id);
        let (mut inputs, mut receivers, mut schemas) = (Vec::new(), HashMap::new(), Vec::new());
        for node in graph.inputs() {
            let (input, receiver) = job_input(workers, setup.input_bytes, Deal::InTurn);
            inputs.push(input);
            receivers.insert(node.id, receiver);
            schemas.push(node.schema.clone());
        }
        let mut views = setup.views;
        for node in &graph.nodes {
            if let NodeKind::Publish(spec) = &node.kind {
                let view = || PublishedView::new(node.schema.clone(), spec.key.clone(), workers);
                views.entry(node.id).or_insert_with(view);
            }
        }
        let create = CreateJob {
            job,
            graph: Arc::new(graph),
            start: Epoch(start),
            inputs: receivers,
            taps: setup.taps,
            publish: views.clone(),
            sinks: setup.sinks,
            known: std::collections::HashMap::new(),
            restore: setup.restore,
        };
        self.runtime.create(create).unwrap();
        Job { id: job, inputs, views, schemas }
    }

    /// Waits until every worker has closed `epoch` of `job`.
    pub(super) fn closed(&mut self, job: &Job, epoch: u64) {
        let workers = self.runtime.workers();
        let id = job.id;
        self.wait(&format!("epoch {epoch} of job {id} closed"), |seen| {
            if let Some(failed) = seen.iter().find(|response| matches!(response, Response::Failed { job, .. } if *job == id)) {
                panic!("{failed:?}");
            }
            (0..workers).all(|w| {
                seen.iter().any(|response| {
                    matches!(response, Response::Closed { job, worker, epoch: e, .. } if (*job, *worker) == (id, w) && e.0 >= epoch)
                })
            })
        });
    }

    /// Waits for the cuts of `job` at `epoch` and applies all that have come since the last time to `disk`.
    pub(super) fn store(&mut self, job: &Job, epoch: u64, disk: &mut Disk) {
        self.closed(job, epoch);
        for response in std::mem::take(&mut self.seen) {
            let Response::Cut { mut cut, .. } = response else { continue };
            for (node, tables) in &mut cut.tables {
                for table in tables {
                    table.sort();
                    for (key, value) in table.iter() {
                        disk.tables.insert((*node, table.table, key.to_vec()), value.map(<[u8]>::to_vec));
                    }
                }
            }
            for (_, cut) in &cut.views {
                for (key, value) in cut.entries().unwrap().iter() {
                    disk.view.insert(key.to_vec(), value.map(<[u8]>::to_vec));
                }
            }
        }
    }
}

/// What checkpoints have written: the newest value of each key, `None` if it was deleted.
#[derive(Default)]
pub(super) struct Disk {
    tables: BTreeMap<(NodeId, u16, Vec<u8>), Option<Vec<u8>>>,
    view: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Disk {
    /// What a restored job begins with.
    pub(super) fn state(&self) -> JobState {
        let mut state = JobState::new();
        for ((node, table, key), value) in &self.tables {
            if let Some(value) = value {
                state.table_mut(*node, *table).push(key, value);
            }
        }
        state
    }

    /// A view of `schema` with the stored contents at `epoch`.
    pub(super) fn view(&self, schema: &Schema, epoch: u64, workers: usize) -> Arc<PublishedView> {
        let view = PublishedView::new(schema.clone(), vec![], workers);
        let entries = self.view.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        view.load(Epoch(epoch), entries).unwrap();
        view
    }
}

/// What a job may need beside its graph.
pub(super) struct Setup {
    pub(super) input_bytes: usize,
    pub(super) taps: HashMap<NodeId, Arc<PublishedView>>,
    pub(super) views: HashMap<NodeId, Arc<PublishedView>>,
    pub(super) sinks: HashMap<NodeId, SinkOutbox>,
    pub(super) restore: Option<Arc<JobState>>,
}

impl Default for Setup {
    fn default() -> Self {
        let (taps, views, sinks) = (HashMap::new(), HashMap::new(), HashMap::new());
        Setup { input_bytes: 1 << 20, taps, views, sinks, restore: None }
    }
}

pub(super) fn close(epoch: u64, checkpoint: bool) -> Close {
    Close { epoch: Epoch(epoch), watermark: Watermark(epoch as i64), clock_us: 0, checkpoint }
}

impl Job {
    /// Sends rows of `epoch` to the `input`th input, in batches of three.
    pub(super) fn send(&self, input: usize, epoch: u64, rows: &[(Row, i64)]) {
        for part in rows.chunks(3) {
            let sent = self.inputs[input].send_blocking(
                Epoch(epoch),
                batch(&self.schemas[input], part),
                Duration::from_secs(30),
            );
            assert!(matches!(sent.unwrap(), Sent::Accepted));
        }
    }

    /// Ends `epoch` at all inputs.
    pub(super) fn close(&self, epoch: u64, checkpoint: bool) {
        self.inputs.iter().for_each(|input| input.close(close(epoch, checkpoint)));
    }

    /// The contents of the published view of `node` at `epoch`, sorted.
    pub(super) fn contents(&self, node: u32, epoch: u64) -> Vec<Row> {
        let snapshot = self.views[&NodeId(node)].snapshot(Epoch(epoch)).unwrap();
        rows_of(snapshot.batches(None, 100).map(Result::unwrap))
    }
}
