//! The random oracle: an operator under random input, cuts, tiers and restarts against a batch answer at every epoch.
//!
//! Each case has a seed; a failing one prints the line that repeats it: `MILLSTREAM_SEED=… cargo test …`.
//! `MILLSTREAM_CASES=10000` runs more of them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{Bench, RandomRows, ZSet};
use crate::base::random::{Random, fresh_seed};
use crate::operators::{EpochEnd, OperatorSpec};
use crate::state::Tier;
use crate::types::{DeltaBatch, Epoch, RowCodec, Watermark, Weights};

/// What the batch side is shown at the end of an epoch.
pub(in crate::operators) struct Moment<'a> {
    /// The epoch that ends.
    pub epoch: Epoch,
    /// The contents of every input.
    pub inputs: &'a [ZSet],
    /// What this epoch changed of every input.
    pub changes: &'a [ZSet],
    /// The watermark of every input.
    pub watermark: Watermark,
    /// The clock reading of the epoch.
    pub clock_us: i64,
}

/// The batch side: the whole contents of each output port.
pub(in crate::operators) type Answer = Box<dyn FnMut(&Moment<'_>) -> Vec<ZSet>>;

/// Looks at the raw output of an epoch, by port.
pub(in crate::operators) type EmittedCheck = Box<dyn Fn(&[(usize, DeltaBatch)])>;

/// One random case.
pub(in crate::operators) struct Case {
    pub spec: OperatorSpec,
    /// How each input's rows are made.
    pub inputs: Vec<RandomRows>,
    /// Whether rows are taken back.
    pub retracts: bool,
    /// The input column (a timestamp) whose rows a gate would hold back once the watermark has reached it.
    pub window_end: Option<usize>,
    pub answer: Answer,
    /// Checks the raw output of an epoch.
    pub emitted: Option<EmittedCheck>,
}

/// Runs `cases` cases that `make` makes, or the one of `MILLSTREAM_SEED`. They are the same at every run (so that what is
/// said of their coverage always holds), and fresh ones, five times as many, under `MILLSTREAM_FULL`.
pub(in crate::operators) fn run_cases(name: &str, cases: usize, make: impl Fn(&mut Random) -> Case) {
    let repeat = std::env::var("MILLSTREAM_SEED").ok().map(|seed| seed.parse::<u64>().expect("a seed is a number"));
    let full = std::env::var_os("MILLSTREAM_FULL").is_some();
    let mut seeds = Random::new(if full { fresh_seed() } else { xxhash_rust::xxh3::xxh3_64(name.as_bytes()) });
    let mut tally = Tally::default();
    let cases = if full { cases * 5 } else { cases };
    let cases = std::env::var("MILLSTREAM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    for _ in 0..if repeat.is_some() { 1 } else { cases } {
        let seed = repeat.unwrap_or_else(|| seeds.next_u64());
        let run = || run_case(&mut Random::new(seed), &make);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(one) => tally.add(&one),
            Err(panic) => {
                eprintln!("repeat with: MILLSTREAM_SEED={seed} cargo test --lib {name}");
                resume_unwind(panic);
            }
        }
    }
    eprintln!("{name}: {tally:?}");
    if repeat.is_none() && cases >= 12 {
        assert!(tally.filled * 2 > tally.epochs, "most answers are empty: the cases prove little: {tally:?}");
        assert!(tally.restarts > cases / 4 && tally.retractions > 0 || cases < 20, "too tame: {tally:?}");
    }
}

/// What the cases covered.
#[derive(Debug, Default)]
struct Tally {
    epochs: usize,
    filled: usize,
    retractions: usize,
    restarts: usize,
    slices: usize,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.epochs += other.epochs;
        self.filled += other.filled;
        self.retractions += other.retractions;
        self.restarts += other.restarts;
        self.slices += other.slices;
    }
}

/// One input under way: every row that is in it, once per time it is.
struct Feed {
    make: RandomRows,
    present: Vec<Vec<u8>>,
    contents: ZSet,
}

fn run_case(random: &mut Random, make: &impl Fn(&mut Random) -> Case) -> Tally {
    let mut case = make(random);
    let tier = if random.one_in(2) { Tier::Strict } else { Tier::Resident };
    let mut bench = Bench::new(&case.spec, tier, 1 + random.below(4) as usize);
    let feed =
        |make: &RandomRows| Feed { make: make.clone(), present: Vec::new(), contents: ZSet::new(make.schema.clone()) };
    let mut feeds: Vec<Feed> = case.inputs.iter().map(feed).collect();
    let mut sums: Vec<ZSet> = case.spec.outputs().unwrap().into_iter().map(ZSet::new).collect();
    let mut watermark = Watermark::NONE;
    let mut clock_us = -20;
    let mut tally = Tally::default();
    let epochs = 3 + random.below(5);
    for epoch in (1..=epochs).map(|i| Epoch(i * 2)) {
        let window_end = case.window_end.map(|column| (column, watermark));
        let changes: Vec<Vec<(Vec<u8>, i64)>> =
            feeds.iter_mut().map(|feed| change(feed, random, case.retracts, window_end)).collect();
        let summed: Vec<ZSet> = feeds.iter().zip(&changes).map(|(feed, changes)| sum(feed, changes)).collect();
        feeds.iter_mut().zip(&summed).for_each(|(feed, changes)| feed.contents.add_all(changes));
        give(&mut bench, &feeds, changes, random);
        watermark = later(watermark, random, epoch.0 == epochs * 2);
        clock_us += random.between(1, 12);
        let end = EpochEnd { epoch, clock_us, watermarks: vec![watermark; feeds.len()] };
        let put_out = bench.end(&end);
        tally.retractions += usize::from(put_out.iter().any(|zset| zset.rows.values().any(|&weight| weight < 0)));
        sums.iter_mut().zip(&put_out).for_each(|(sum, put_out)| sum.add_all(put_out));
        let contents: Vec<ZSet> = feeds.iter().map(|feed| feed.contents.clone()).collect();
        let moment = Moment { epoch, inputs: &contents, changes: &summed, watermark, clock_us };
        compare(&case.spec, &sums, &(case.answer)(&moment), epoch);
        if let Some(check) = &case.emitted {
            check(&bench.emitted);
        }
        bench.emitted.clear();
        tally.epochs += 1;
        tally.filled += usize::from(!sums[0].is_empty());
        match random.below(6) {
            0 | 1 => {
                bench.restart(1 + random.below(4) as usize);
                tally.restarts += 1;
            }
            2 => bench.cut(),
            _ => {}
        }
    }
    tally.slices = bench.slices;
    tally
}

fn compare(spec: &OperatorSpec, found: &[ZSet], expected: &[ZSet], epoch: Epoch) {
    for (port, (found, expected)) in found.iter().zip(expected).enumerate() {
        if found != expected {
            panic!(
                "{} {spec:#?}\nport {port} at epoch {epoch}\nfound    {:#?}\nexpected {:#?}",
                spec.name(),
                found.lines(),
                expected.lines()
            );
        }
    }
}

/// Random deltas of one input, in random order.
fn change(
    feed: &mut Feed,
    random: &mut Random,
    retracts: bool,
    window_end: Option<(usize, Watermark)>,
) -> Vec<(Vec<u8>, i64)> {
    let codec = feed.contents.codec();
    let mut deltas = Vec::new();
    let most = if random.one_in(4) { 40 } else { 8 };
    let inserts = random.below(most) as usize;
    let rows = feed.make.rows(random, inserts);
    let encoded = codec.encode_rows(rows.columns(), inserts).unwrap();
    for row in encoded.iter().filter(|row| in_time(&codec, row, window_end)) {
        feed.present.push(row.to_vec());
        deltas.push((row.to_vec(), 1));
    }
    if retracts {
        for _ in 0..random.below(most / 2) {
            if feed.present.is_empty() {
                break;
            }
            let at = random.below(feed.present.len() as u64) as usize;
            if in_time(&codec, &feed.present[at], window_end) {
                deltas.push((feed.present.swap_remove(at), -1));
            }
        }
    }
    random.shuffle(&mut deltas);
    deltas
}

/// Whether a gate would let the row pass at this watermark.
fn in_time(codec: &RowCodec, row: &[u8], window_end: Option<(usize, Watermark)>) -> bool {
    let Some((column, watermark)) = window_end else { return true };
    use arrow::array::{Array, AsArray};
    let columns = codec.decode([row]).unwrap();
    let ends = columns[column].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    if ends.is_null(0) { watermark != Watermark::END } else { !watermark.closes(ends.value(0)) }
}

fn sum(feed: &Feed, changes: &[(Vec<u8>, i64)]) -> ZSet {
    let mut sum = ZSet::new(feed.make.schema.clone());
    changes.iter().for_each(|(row, weight)| sum.add_row(row, *weight));
    sum
}

/// Gives the deltas in random batches, the inputs' interleaved.
fn give(bench: &mut Bench, feeds: &[Feed], mut changes: Vec<Vec<(Vec<u8>, i64)>>, random: &mut Random) {
    while changes.iter().any(|changes| !changes.is_empty()) {
        let port = random.below(changes.len() as u64) as usize;
        let left = changes[port].len();
        if left == 0 {
            continue;
        }
        let rows: Vec<_> = changes[port].drain(left - 1 - random.below(left as u64) as usize..).collect();
        let columns = feeds[port].contents.codec().decode(rows.iter().map(|(row, _)| row.as_slice())).unwrap();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = feeds[port].make.schema.arrow();
        let batch = arrow::array::RecordBatch::try_new_with_options(schema, columns, &options).unwrap();
        let weights = Weights::from_vec(rows.iter().map(|(_, weight)| *weight).collect());
        bench.delta(port, &DeltaBatch { rows: batch, weights });
    }
}

fn later(watermark: Watermark, random: &mut Random, last: bool) -> Watermark {
    match random.below(4) {
        0 => watermark,
        1 if last => Watermark::END,
        _ if watermark == Watermark::NONE => Watermark(random.between(-20, 10)),
        _ => Watermark(watermark.0 + random.between(0, 15)),
    }
}
