//! Nexmark over NDJSON files: our engine against DataFusion's batch run of the same query, both on 2 threads, the same
//! files, the same schema: `MILLSTREAM_BENCH_EVENTS=20000000 cargo bench --bench nexmark [QUERY …]`.
//!
//! | command | prints |
//! |---|---|
//! | `cargo bench --bench nexmark [QUERY …]` | per query the seconds of both (median of alternating pairs, `MILLSTREAM_BENCH_PAIRS`, default 5) and the median of the pairs' ratios |
//! | `… -- skewed [QUERY …]` | the same over a stream of which half of the bids go to one auction in a hundred |
//! | `… -- twice [QUERY …]` | our seconds for half of the events and for all, plain and skewed, and their ratio; in brackets that of the processors' seconds, which neighbours disturb less |
//! | `… -- state [QUERY …]` | rows and bytes of state of each operator, and by how much the process has grown |
//!
//! Before a run its files are read once: what the kernel or the host had put aside would be timed otherwise (first reads
//! here run at 0.6-1.8 GB/s, second ones at more than 10). What is timed: ours from CREATE SINK or CREATE MATERIALIZED VIEW until WAIT FOR returns, theirs from planning until
//! the last batch was streamed and dropped (collected, where ours is a view). Once per query the contents of both are
//! hashed, independent of order, and must be equal (over at most `MILLSTREAM_BENCH_CHECKED` events, default 1,000,000);
//! `rows_decoded` must be the number of lines. Files are made once, under `$MILLSTREAM_CACHE/bench`.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "a benchmark is a program of its own: it prints what it measured and stops at the first thing amiss"
)]

#[path = "nexmark/events.rs"]
mod events;
#[path = "nexmark/ours.rs"]
mod ours;
#[path = "nexmark/queries.rs"]
mod queries;
#[path = "nexmark/theirs.rs"]
mod theirs;

use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, SortField};

use events::Files;
use ours::Taken;
use queries::Query;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Worker threads and partitions.
const THREADS: usize = 2;
/// Checkpoints follow one another at this distance where they are on.
const CHECKPOINT_INTERVAL: &str = "1s";
/// What q13 looks up.
const SIDE_INPUT: &str = "SELECT n AS key, 'value ' || n AS value FROM generate_series(0, 99) AS g(n)";

fn main() {
    let events = number("MILLSTREAM_BENCH_EVENTS", 20_000_000);
    let pairs = number("MILLSTREAM_BENCH_PAIRS", 5).max(1);
    let mut words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let mode = match words.first().map(String::as_str) {
        Some("skewed" | "twice" | "state") => words.remove(0),
        _ => String::new(),
    };
    let mut queries = queries::all();
    queries.retain(|query| words.is_empty() || words.contains(&query.name));
    match mode.as_str() {
        "twice" => twice(&queries, events, pairs),
        "state" => state(&queries, &events::files(events, false), words.is_empty()),
        mode => pairwise(&queries, events, mode == "skewed", pairs),
    }
}

fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

/// Ours against theirs.
fn pairwise(queries: &[Query], events: usize, skewed: bool, pairs: usize) {
    let files = events::files(events, skewed);
    let checked = events::files(events.min(number("MILLSTREAM_BENCH_CHECKED", 1_000_000)), skewed);
    println!(
        "nexmark: {events} events{}, {:.2} GB in {} files of each kind, {THREADS} threads, median of {pairs} pairs",
        if skewed { ", skewed" } else { "" },
        files.bytes() as f64 / 1e9,
        events::FILES
    );
    println!("{:<28} {:>8} {:>12} {:>8} {:>14}", "query", "ours s", "ours M row/s", "theirs s", "ratio (range)");
    for query in queries {
        check(query, &checked);
        run(query, &files, pairs);
    }
}

fn run(query: &Query, files: &Files, pairs: usize) {
    let million = files.lines(&query.kinds) as f64 / 1e6;
    let Some(theirs) = &query.theirs else {
        let ours = seconds(&sorted((0..pairs).map(|_| ours::time(query, files).elapsed.as_secs_f64())));
        println!("{:<28} {ours:>8.2} {:>12.2} {:>8} {:>14}", query.name, million / ours, "-", "-");
        return;
    };
    let mut runs: Vec<(Duration, Duration)> = Vec::new();
    for pair in 0..pairs {
        let ours = || ours::time(query, files).elapsed;
        let theirs = || theirs::time(query, theirs, files);
        runs.push(if pair % 2 == 0 {
            let first = ours();
            (first, theirs())
        } else {
            let first = theirs();
            (ours(), first)
        });
    }
    let ratios = sorted(runs.iter().map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64()));
    let ours = seconds(&sorted(runs.iter().map(|(ours, _)| ours.as_secs_f64())));
    let theirs = seconds(&sorted(runs.iter().map(|(_, theirs)| theirs.as_secs_f64())));
    println!(
        "{:<28} {ours:>8.2} {:>12.2} {theirs:>8.2} {:>5.2} ({:.2}-{:.2})",
        query.name,
        million / ours,
        seconds(&ratios),
        ratios[0],
        ratios[ratios.len() - 1],
    );
}

/// How our time grows with the input. Half and whole take turns, so that a machine that changes its pace changes both.
fn twice(queries: &[Query], events: usize, runs: usize) {
    println!("nexmark: seconds for {} and for {events} events, median of {runs}", events / 2);
    let sets = [("plain", false), ("skewed", true)].map(|(name, skewed)| (name, events::files(events, skewed)));
    println!("{:<28} {:<8} {:>8} {:>8} {:>14}", "query", "events", "half", "all", "ratio (CPU)");
    for query in queries {
        for (name, files) in &sets {
            let half = files.half();
            let (mut halves, mut wholes): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
            for _ in 0..runs {
                halves.push(ours::time(query, &half));
                wholes.push(ours::time(query, files));
            }
            let median = |runs: &[Taken], of: fn(&Taken) -> Duration| {
                seconds(&sorted(runs.iter().map(|run| of(run).as_secs_f64())))
            };
            let [half, all] = [&halves, &wholes].map(|runs| median(runs, |run| run.elapsed));
            let [half_cpu, all_cpu] = [&halves, &wholes].map(|runs| median(runs, |run| run.processors));
            println!(
                "{:<28} {name:<8} {half:>8.2} {all:>8.2} {:>6.2}  ({:.2})",
                query.name,
                all / half,
                all_cpu / half_cpu
            );
        }
    }
}

/// What operators keep; by default of the queries whose state grows with the input.
fn state(queries: &[Query], files: &Files, default: bool) {
    println!("{:<8} {:>12} {:>14} {:>12}  operator", "query", "rows", "bytes", "bytes/row");
    for query in queries.iter().filter(|query| !default || ["q4", "q17", "q18", "q20"].contains(&&*query.name)) {
        let (held, grown) = ours::state(query, files);
        for held in held {
            let each = held.bytes as f64 / held.rows as f64;
            let operator: String = held.operator.chars().take(90).collect();
            println!("{:<8} {:>12} {:>14} {each:>12.1}  {operator}", query.name, held.rows, held.bytes);
        }
        println!("{:<8} {:>12} {grown:>14} {:>12}  process (RssAnon)", query.name, "", "");
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The median.
fn seconds(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// Compares what both hold. A sink keeps nothing, so a view of the same rows stands for it.
fn check(query: &Query, files: &Files) {
    let Some((ours, theirs)) = &query.compared else { return };
    let (ours, theirs) = (ours::contents(query, ours, files), theirs::contents(theirs, files));
    let (mine, reference) = (fingerprint(&ours), fingerprint(&theirs));
    if mine == reference {
        return;
    }
    let [mine, reference] = [texts(&ours), texts(&theirs)];
    println!("{}: {} rows of ours, {} of theirs", query.name, mine.len(), reference.len());
    println!("ours alone: {:#?}", mine.difference(&reference).take(5).collect::<Vec<_>>());
    println!("theirs alone: {:#?}", reference.difference(&mine).take(5).collect::<Vec<_>>());
    panic!("{}: ours and theirs differ", query.name);
}

/// The rows as texts.
fn texts(batches: &[RecordBatch]) -> std::collections::BTreeSet<String> {
    let mut rows = std::collections::BTreeSet::new();
    for batch in batches {
        let columns: Vec<ArrayRef> = batch.columns().iter().map(comparable).collect();
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayRef| arrow::util::display::array_value_to_string(column, row).expect("a text");
            rows.insert(columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
        }
    }
    rows
}

/// Rows, and a hash of them that does not depend on their order.
fn fingerprint(batches: &[RecordBatch]) -> (usize, u64) {
    let mut total = (0, 0u64);
    for batch in batches {
        let columns: Vec<ArrayRef> = batch.columns().iter().map(comparable).collect();
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let converter = RowConverter::new(fields).expect("plain columns");
        let rows = converter.convert_columns(&columns).expect("the same columns");
        total.0 += rows.num_rows();
        for row in &rows {
            total.1 = total.1.wrapping_add(xxhash_rust::xxh3::xxh3_64(row.as_ref()));
        }
    }
    total
}

/// A column whose types and digits may differ between the two: sums and averages are numeric with us, BIGINT or DOUBLE
/// with them. Numbers are compared to nine digits, moved a little lest one that ends in 5 there be rounded both ways.
fn comparable(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => cast(column, &DataType::Utf8).expect("text"),
        ty if ty.is_numeric() => {
            let numbers = cast(column, &DataType::Float64).expect("a number");
            let numbers = arrow::array::AsArray::as_primitive::<Float64Type>(&numbers);
            let digits = numbers.iter().map(|number| number.map(|number| format!("{:.8e}", number * (1.0 + 1e-12))));
            std::sync::Arc::new(digits.collect::<arrow::array::StringArray>())
        }
        _ => ArrayRef::clone(column),
    }
}
