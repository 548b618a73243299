//! Nexmark bids as 8 NDJSON files: our engine against DataFusion's batch run of the same query, both on 2 threads, the
//! same files, the same schema: `MILLSTREAM_BENCH_EVENTS=20000000 cargo bench --bench nexmark [QUERY]`.
//!
//! Prints per query the seconds of both (median of alternating pairs, `MILLSTREAM_BENCH_PAIRS`, default 5) and the
//! median of the pairs' ratios. What is timed: ours from CREATE SINK or CREATE MATERIALIZED VIEW until WAIT FOR
//! returns, theirs from planning until the last batch was streamed and dropped (collected, where ours is a view). Once
//! per query the contents of both are hashed, independent of order, and must be equal; `rows_decoded` must be the
//! number of lines. Files are made once, under `$MILLSTREAM_CACHE/bench`.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "a benchmark is a program of its own: it prints what it measured and stops at the first thing amiss"
)]

#[path = "nexmark/bids.rs"]
mod bids;
#[path = "nexmark/ours.rs"]
mod ours;
#[path = "nexmark/theirs.rs"]
mod theirs;

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, SortField};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Worker threads and partitions.
const THREADS: usize = 2;
/// Checkpoints follow one another at this distance where they are on.
const CHECKPOINT_INTERVAL: &str = "1s";

/// One line of the table.
struct Query {
    name: &'static str,
    /// Ours, without CREATE …: a sink's or a view's query.
    ours: &'static str,
    /// Whether ours goes into a view.
    into_view: bool,
    theirs: &'static str,
    checkpoints: bool,
    /// Whether it belongs to the figure's set that is checked by hash.
    hashed: bool,
}

const PASS: &str = "SELECT * FROM bids";
const FILTER: &str = "SELECT auction, bidder, price, date_time FROM bids WHERE auction % 123 = 0";
const TUMBLE: &str = "SELECT window_start, auction, count(*) AS bids, max(price) AS top \
                      FROM TUMBLE(bids, date_time, INTERVAL '10 seconds') GROUP BY window_start, auction";
const TUMBLE_CLOSED: &str = "SELECT window_start, auction, count(*) AS bids, max(price) AS top \
                             FROM TUMBLE(bids, date_time, INTERVAL '10 seconds') GROUP BY window_start, auction \
                             EMIT ON WINDOW CLOSE";
const BINNED: &str = "SELECT date_bin(INTERVAL '10 seconds', date_time) AS window_start, auction, count(*) AS bids, \
                      max(price) AS top FROM bids GROUP BY 1, 2";
/// A row that tells any two sets of bids apart for our purpose, where a hash of all columns would be our code.
const SUMMARY: &str = "SELECT count(*) AS n, sum(auction) AS a, sum(bidder) AS b, max(price) AS p, \
                       max(date_time) AS d, max(channel) AS c, max(url) AS u, max(extra) AS e FROM bids";

const QUERIES: [Query; 7] = [
    query("pass-through", PASS, false, PASS, false),
    query("pass-through, checkpoints", PASS, false, PASS, true),
    query("filter", FILTER, false, FILTER, false),
    query("filter, checkpoints", FILTER, false, FILTER, true),
    query("tumble", TUMBLE, true, BINNED, false),
    query("tumble, checkpoints", TUMBLE, true, BINNED, true),
    query("tumble, on window close", TUMBLE_CLOSED, true, BINNED, false),
];

const fn query(
    name: &'static str,
    ours: &'static str,
    into_view: bool,
    theirs: &'static str,
    checkpoints: bool,
) -> Query {
    Query { name, ours, into_view, theirs, checkpoints, hashed: !checkpoints }
}

fn main() {
    let events = number("MILLSTREAM_BENCH_EVENTS", 20_000_000);
    let pairs = number("MILLSTREAM_BENCH_PAIRS", 5);
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let files = bids::files(events);
    println!(
        "nexmark: {events} events, {} bids, {:.2} GB in {} files, {THREADS} threads, median of {pairs} pairs",
        files.lines,
        files.bytes as f64 / 1e9,
        bids::FILES
    );
    println!("{:<28} {:>8} {:>12} {:>8} {:>14}", "query", "ours s", "ours M row/s", "theirs s", "ratio (range)");
    for query in QUERIES.iter().filter(|query| wanted.is_empty() || wanted.iter().any(|name| query.name == name)) {
        if query.hashed && std::env::var_os("MILLSTREAM_BENCH_NO_HASH").is_none() {
            check(query, &files);
        }
        run(query, &files, pairs);
    }
}

fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

fn run(query: &Query, files: &bids::Files, pairs: usize) {
    let mut runs: Vec<(Duration, Duration)> = Vec::new();
    for pair in 0..pairs.max(1) {
        let ours = || ours::time(query, files);
        let theirs = || theirs::time(query, files);
        runs.push(if pair % 2 == 0 {
            let first = ours();
            (first, theirs())
        } else {
            let first = theirs();
            (ours(), first)
        });
    }
    let ratios = sorted(runs.iter().map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64()));
    let ours = median(&sorted(runs.iter().map(|(ours, _)| ours.as_secs_f64())));
    let theirs = median(&sorted(runs.iter().map(|(_, theirs)| theirs.as_secs_f64())));
    println!(
        "{:<28} {ours:>8.2} {:>12.2} {theirs:>8.2} {:>5.2} ({:.2}-{:.2})",
        query.name,
        files.lines as f64 / ours / 1e6,
        median(&ratios),
        ratios[0],
        ratios[ratios.len() - 1],
    );
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// Compares what both hold. A sink keeps nothing, so a view of the same rows stands for it: of the filter's rows all,
/// of all bids a summary over every column.
fn check(query: &Query, files: &bids::Files) {
    let (ours, theirs) = if query.ours == PASS { (SUMMARY, SUMMARY) } else { (query.ours, query.theirs) };
    let mine = fingerprint(&ours::contents(ours, files));
    let reference = fingerprint(&theirs::contents(theirs, files));
    assert_eq!(mine, reference, "{}: rows and hash of ours and theirs differ", query.name);
}

/// Rows, and a hash of them that does not depend on their order.
fn fingerprint(batches: &[RecordBatch]) -> (usize, u64) {
    let Some(first) = batches.first() else { return (0, 0) };
    // Sums of BIGINT are numeric with us and BIGINT with them: integers are compared as numeric.
    let wide = |batch: &RecordBatch| {
        let columns = batch.columns().iter().map(|column| match column.data_type() {
            arrow::datatypes::DataType::Int64 | arrow::datatypes::DataType::Decimal128(_, _) => {
                arrow::compute::cast(column, &arrow::datatypes::DataType::Decimal128(38, 0)).expect("an integer")
            }
            _ => arrow::array::ArrayRef::clone(column),
        });
        columns.collect::<Vec<_>>()
    };
    let fields = wide(first).iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("plain columns");
    let mut total = (0, 0u64);
    for batch in batches {
        let rows = converter.convert_columns(&wide(batch)).expect("the same columns");
        total.0 += rows.num_rows();
        for row in &rows {
            total.1 = total.1.wrapping_add(xxhash_rust::xxh3::xxh3_64(row.as_ref()));
        }
    }
    total
}
