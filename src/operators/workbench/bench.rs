//! A host of one operator for tests: subtasks, exchange, fetches, slices, cuts and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ZSet;
use crate::operators::{EpochEnd, Flow, Operator, OperatorSpec, Output};
use crate::state::{MemoryBudget, OperatorState, Tier};
use crate::types::{DeltaBatch, RowCodec, Schema, key_group, worker_of};

/// One operator on some subtasks, and what a checkpoint of it would hold.
pub(in crate::operators) struct Bench {
    spec: OperatorSpec,
    outputs: Vec<Schema>,
    tier: Tier,
    subtasks: Vec<Subtask>,
    stored: BTreeMap<(u16, Vec<u8>), Vec<u8>>,
    turn: usize,
    /// What the open epoch put out: port and batch as emitted.
    pub emitted: Vec<(usize, DeltaBatch)>,
    /// How often operators asked for another slice.
    pub slices: usize,
}

struct Subtask {
    operator: Box<dyn Operator>,
    state: OperatorState,
}

impl Bench {
    pub fn new(spec: &OperatorSpec, tier: Tier, workers: usize) -> Bench {
        // As a stored graph would give it back.
        let text = serde_json::to_string(spec).unwrap();
        let back: OperatorSpec = serde_json::from_str(&text).unwrap();
        assert_eq!(&back, spec, "the spec does not survive its own JSON");
        let outputs = back.outputs().unwrap();
        let mut bench = Bench {
            spec: back,
            outputs,
            tier,
            subtasks: Vec::new(),
            stored: BTreeMap::new(),
            turn: 0,
            emitted: Vec::new(),
            slices: 0,
        };
        bench.start(workers);
        bench
    }

    fn start(&mut self, workers: usize) {
        let workers = if self.spec.partition(0) == Some(Vec::new()) { 1 } else { workers.max(1) };
        let tables = self.spec.tables().unwrap();
        self.subtasks = (0..workers)
            .map(|_| Subtask {
                operator: self.spec.build().unwrap(),
                state: OperatorState::new(tables.clone(), self.tier, &MemoryBudget::unlimited()),
            })
            .collect();
        for ((table, key), value) in &self.stored {
            let subtask = &mut self.subtasks[worker_of(key[0], workers)];
            subtask.state.load(usize::from(*table), [(key.as_slice(), Some(value.as_slice()))]).unwrap();
        }
    }

    /// Gives the operator a batch, its rows to the subtasks that own their keys.
    pub fn delta(&mut self, port: usize, batch: &DeltaBatch) {
        let workers = self.subtasks.len();
        let Some(keys) = self.spec.partition(port) else {
            self.turn += 1;
            return self.call(self.turn % workers, |operator, state, out| operator.on_delta(port, batch, state, out));
        };
        let columns: Vec<_> = keys.iter().map(|&key| Arc::clone(batch.rows.column(key))).collect();
        let types = columns.iter().map(|c| crate::types::SqlType::from_arrow(c.data_type()).unwrap()).collect();
        let encoded = RowCodec::new(types).encode_rows(&columns, batch.len()).unwrap();
        for worker in 0..workers {
            let rows = (0..batch.len()).filter(|&row| worker_of(key_group(encoded.row(row)), workers) == worker);
            let rows: Vec<u64> = rows.map(|row| row as u64).collect();
            if !rows.is_empty() {
                let part = batch.take(&rows).unwrap();
                self.call(worker, |operator, state, out| operator.on_delta(port, &part, state, out));
            }
        }
    }

    /// Ends the epoch on every subtask; what it put out, by port.
    pub fn end(&mut self, end: &EpochEnd) -> Vec<ZSet> {
        for worker in 0..self.subtasks.len() {
            self.call(worker, |operator, state, out| operator.on_epoch_end(end, state, out));
        }
        let mut sums: Vec<ZSet> = self.outputs.iter().map(|schema| ZSet::new(schema.clone())).collect();
        for (port, batch) in &self.emitted {
            let schema = self.outputs[*port].arrow();
            assert_eq!(batch.rows.schema(), schema, "port {port} of {}", self.spec.name());
            assert!((0..batch.len()).all(|row| batch.weights.get(row) != 0), "a delta of weight 0");
            sums[*port].add(batch);
        }
        sums
    }

    fn call(
        &mut self,
        worker: usize,
        mut call: impl FnMut(&mut dyn Operator, &mut OperatorState, &mut Output) -> crate::base::Result<Flow>,
    ) {
        let Subtask { operator, state } = &mut self.subtasks[worker];
        let mut out = Output::new();
        loop {
            match call(operator.as_mut(), state, &mut out).unwrap_or_else(|error| panic!("{}", error.report())) {
                Flow::Done => break,
                Flow::More => self.slices += 1,
                Flow::Fetch(reads) => {
                    assert!(!reads.is_empty() && reads.iter().all(|read| !read.wanted.is_empty()), "an empty fetch");
                    state.admit(&reads);
                }
            }
        }
        state.forget_all();
        state.settle().unwrap();
        self.emitted.extend(out.drain());
    }

    /// Cuts the state as a checkpoint does.
    pub fn cut(&mut self) {
        for subtask in &mut self.subtasks {
            for mut cut in subtask.state.cut() {
                cut.sort();
                for (key, value) in cut.iter() {
                    match value {
                        Some(value) => self.stored.insert((cut.table, key.to_vec()), value.to_vec()),
                        None => self.stored.remove(&(cut.table, key.to_vec())),
                    };
                }
            }
        }
    }

    /// Stops and starts again from a cut taken now, on `workers` subtasks.
    pub fn restart(&mut self, workers: usize) {
        self.cut();
        let rows = self.rows();
        self.start(workers);
        assert_eq!(self.rows(), rows, "rows of state after a restart");
    }

    /// The operator's tables and how many rows each has.
    pub fn rows(&mut self) -> Vec<(String, usize)> {
        let specs = self.spec.tables().unwrap();
        let rows = |subtasks: &mut [Subtask], i: usize| -> usize {
            subtasks.iter_mut().map(|subtask| subtask.state.table(i).unwrap().rows()).sum()
        };
        specs.iter().enumerate().map(|(i, spec)| (spec.name.clone(), rows(&mut self.subtasks, i))).collect()
    }
}
