//! Aggregates on several workers: watermarks reach them, and keyless ones run once.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use super::harness::*;
use crate::dataflow::*;
use crate::functions::{AggregateCall, AggregateFunction};
use crate::operators::{AggregateSpec, Emit, OperatorSpec};
use crate::types::*;

fn columns() -> Schema {
    Schema::new(vec![Column::new("window_end", SqlType::Timestamp), Column::new("v", SqlType::BigInt)])
}

fn rows(ends: &[i64]) -> DeltaBatch {
    let end: ArrayRef = Arc::new(TimestampMicrosecondArray::from(ends.to_vec()));
    let v: ArrayRef = Arc::new(Int64Array::from_value(1, ends.len()));
    DeltaBatch::inserts(RecordBatch::try_new(columns().arrow(), vec![end, v]).unwrap())
}

/// source → count per window, final → publish 2; the counts' total → publish 4.
fn graph() -> Graph {
    let count = |input: &Schema| AggregateCall::new(AggregateFunction::CountStar, vec![], false, None, input).unwrap();
    let spec = |input: &Schema, keys: Vec<usize>, emit: Emit| {
        let calls = vec![count(input)];
        AggregateSpec { input: input.clone(), keys, calls, append_only: false, emit, free_on: None }
    };
    let windows = OperatorSpec::Aggregate(spec(&columns(), vec![0], Emit::WindowClose { key: 0 }));
    let windows_schema = windows.outputs().unwrap().remove(0);
    let total = OperatorSpec::Aggregate(spec(&windows_schema, vec![], Emit::Changes));
    let total_schema = total.outputs().unwrap().remove(0);
    let mut by_window = edge(0, Exchange::Key(vec![0]));
    by_window.watermark = WatermarkExpr::Input(NodeId(0));
    Graph::new(vec![
        source(0, &columns()),
        node(1, "windows", NodeKind::Operator(windows), vec![by_window], &windows_schema),
        publish(2, 1, edge(1, Exchange::Key(vec![0, 1])), &windows_schema),
        node(3, "total", NodeKind::Operator(total), vec![edge(1, Exchange::Gather)], &total_schema),
        publish(4, 2, edge(3, Exchange::OneToOne), &total_schema),
    ])
}

fn windows(job: &Job, epoch: u64) -> Vec<(i64, i64)> {
    let snapshot = job.views[&NodeId(2)].snapshot(Epoch(epoch)).unwrap();
    let mut found = Vec::new();
    for batch in snapshot.batches(None, 100) {
        let batch = batch.unwrap();
        let ends = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let counts = batch.column(1).as_primitive::<Int64Type>();
        found.extend((0..batch.num_rows()).map(|row| (ends.value(row), counts.value(row))));
    }
    found.sort_unstable();
    found
}

#[test]
fn windows_close_by_watermark_and_keyless_totals_run_once() {
    for workers in [1, 2, 4] {
        let mut bench = Bench::new(workers);
        let job = bench.create(1, graph(), 1, Setup::default());
        let send = |epoch: u64, ends: &[i64], watermark: i64| {
            for end in ends {
                let sent = job.inputs[0].send_blocking(Epoch(epoch), rows(&[*end]), Duration::from_secs(30));
                assert!(matches!(sent.unwrap(), Sent::Accepted));
            }
            let close = Close { epoch: Epoch(epoch), watermark: Watermark(watermark), clock_us: 0, checkpoint: false };
            job.inputs[0].close(close);
        };
        send(1, &[10, 20, 10, 30, 40, 10], 9);
        bench.closed(&job, 1);
        assert_eq!(windows(&job, 1), []);
        assert_eq!(job.contents(4, 1), [[0]], "{workers} workers");
        send(3, &[20, 40], 20);
        bench.closed(&job, 3);
        assert_eq!(windows(&job, 3), [(10, 3), (20, 2)]);
        assert_eq!(job.contents(4, 3), [[2]]);
        // Nothing but the watermark moves.
        send(8, &[], i64::MAX);
        bench.closed(&job, 8);
        assert_eq!(windows(&job, 8), [(10, 3), (20, 2), (30, 1), (40, 2)]);
        assert_eq!(job.contents(4, 8), [[4]]);
        bench.runtime.shutdown().unwrap();
    }
}
