//! Speed of single operators on one core, without runtime or source: `cargo bench --bench operators [ROWS]`.
//!
//! Prints per line: what, million rows per second (median of 5 runs). Input is built beforehand, 4,096 rows a batch.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use millstream::functions::{AggregateCall, AggregateFunction, BinaryOp, Expr, Literal};
use millstream::operators::{
    AggregateSpec, ChainSpec, Emit, EpochEnd, Flow, GateSpec, JoinSpec, OperatorSpec, Output, Step,
};
use millstream::state::OperatorState;
use millstream::types::{Column, DeltaBatch, Epoch, Schema, SqlType, Watermark};

const BATCH_ROWS: usize = 4096;

fn main() {
    let rows = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(20_000_000);
    let bids = Bids { auctions: 1000, per_window: 1_000_000 };
    let windowed = bids.batches(rows);
    let few = rows.div_ceil(20);
    report("aggregate count, max by (auction, window): 1,000 groups an epoch", rows, || {
        run(&tumbling(Emit::Changes), &[&windowed], few)
    });
    report("aggregate the same, on window close", rows, || {
        run(&tumbling(Emit::WindowClose { key: 2 }), &[&windowed], few)
    });
    let many = Bids { auctions: 1_000_000, per_window: 1_000_000 }.batches(rows / 4);
    report("aggregate the same, 1,000,000 groups an epoch", rows / 4, || run(&tumbling(Emit::Changes), &[&many], few));
    report("chain filter and project", rows, || run(&filter(), &[&windowed], few));
    report("chain tumble", rows, || run(&tumble(), &[&windowed], few));
    report("gate, nothing late", rows, || run(&gate(), &[&windowed], few));
    let side = Bids { auctions: 100_000, per_window: 1_000_000 }.batches(100_000);
    let probes = rows / 20;
    let probing = Bids { auctions: 100_000, per_window: 1_000_000 }.batches(probes);
    report("join: 1 match a row", probes, || run(&join(), &[&side, &probing], few));
}

/// Rows (auction, window_start, window_end, price, __watermark), auctions in turn.
struct Bids {
    auctions: i64,
    per_window: usize,
}

impl Bids {
    fn schema() -> Schema {
        let column = |name: &str, ty| Column { name: name.into(), ty, nullable: name == "auction" };
        Schema::new(vec![
            column("auction", SqlType::BigInt),
            column("window_start", SqlType::Timestamp),
            column("window_end", SqlType::Timestamp),
            column("price", SqlType::BigInt),
            column("__watermark", SqlType::BigInt),
        ])
    }

    fn batches(&self, rows: usize) -> Vec<DeltaBatch> {
        let schema = Self::schema().arrow();
        let window = |row: usize| (row / self.per_window) as i64 * 10_000_000;
        (0..rows)
            .step_by(BATCH_ROWS)
            .map(|from| {
                let rows = from..(from + BATCH_ROWS).min(rows);
                // A walk over all auctions in scattered order.
                let auctions = rows.clone().map(|row| (row as i64).wrapping_mul(7_919) % self.auctions);
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(Int64Array::from_iter_values(auctions)),
                    Arc::new(TimestampMicrosecondArray::from_iter_values(rows.clone().map(window))),
                    Arc::new(TimestampMicrosecondArray::from_iter_values(rows.clone().map(|r| window(r) + 10_000_000))),
                    Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| (row as i64 * 31) % 10_007))),
                    Arc::new(Int64Array::from_iter_values(rows.map(window))),
                ];
                DeltaBatch::inserts(RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns of the schema"))
            })
            .collect()
    }
}

fn tumbling(emit: Emit) -> OperatorSpec {
    let input = Bids::schema();
    let call = |function, args| AggregateCall::new(function, args, false, None, &input).expect("a call over bigint");
    OperatorSpec::Aggregate(AggregateSpec {
        keys: vec![0, 1, 2],
        calls: vec![
            call(AggregateFunction::CountStar, Vec::new()),
            call(AggregateFunction::Max, vec![Expr::Column(3)]),
        ],
        append_only: true,
        emit,
        free_on: Some(2),
        input,
    })
}

fn filter() -> OperatorSpec {
    let modulo = Expr::binary(BinaryOp::Modulo, Expr::Column(0), Expr::Literal(Literal::bigint(123)));
    let is_zero = Expr::binary(BinaryOp::Equal, modulo, Expr::Literal(Literal::bigint(0)));
    let columns = vec![("auction".to_owned(), Expr::Column(0)), ("price".to_owned(), Expr::Column(3))];
    OperatorSpec::Chain(ChainSpec { input: Bids::schema(), steps: vec![Step::Filter(is_zero), Step::Project(columns)] })
}

fn tumble() -> OperatorSpec {
    let steps = vec![Step::Tumble { time: 1, size_us: 10_000_000, offset_us: 0 }];
    OperatorSpec::Chain(ChainSpec { input: Bids::schema(), steps })
}

fn gate() -> OperatorSpec {
    OperatorSpec::Gate(GateSpec { input: Bids::schema(), watermark: 4, window_end: 2, shift_us: 0 })
}

fn join() -> OperatorSpec {
    OperatorSpec::Join(JoinSpec::inner(Bids::schema(), Bids::schema(), vec![(0, 0)], None))
}

/// Runs an operator over its inputs, an epoch every `epoch_rows`; returns how many rows came out.
fn run(spec: &OperatorSpec, inputs: &[&[DeltaBatch]], epoch_rows: usize) -> usize {
    let mut operator = spec.build().expect("a sound spec");
    let mut state = OperatorState::in_memory(spec.tables().expect("a sound spec"));
    let (mut out, mut emitted, mut epoch) = (Output::new(), 0, 1);
    let mut drained = |out: &mut Output| emitted += out.drain().map(|(_, batch)| batch.len()).sum::<usize>();
    for (port, batches) in inputs.iter().enumerate() {
        let mut open = 0;
        for (i, batch) in batches.iter().enumerate() {
            while !matches!(operator.on_delta(port, batch, &mut state, &mut out).expect("sound input"), Flow::Done) {
                drained(&mut out);
            }
            open += batch.len();
            if open >= epoch_rows || i + 1 == batches.len() {
                // The watermark lags one window behind.
                let watermark = Watermark((i * BATCH_ROWS / 1_000_000) as i64 * 10_000_000);
                let end = EpochEnd { epoch: Epoch(epoch), clock_us: 0, watermarks: vec![watermark; inputs.len()] };
                while !matches!(operator.on_epoch_end(&end, &mut state, &mut out).expect("sound input"), Flow::Done) {
                    drained(&mut out);
                }
                (open, epoch) = (0, epoch + 1);
            }
            drained(&mut out);
        }
    }
    emitted
}

#[allow(clippy::print_stdout, reason = "a benchmark's answer goes to its reader")]
fn report(what: &str, rows: usize, run: impl Fn() -> usize) {
    let mut emitted = 0;
    let mut seconds: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            emitted = run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    println!("{:8.1} M rows/s  {what} ({emitted} rows out)", rows as f64 / seconds[2] / 1e6);
}
