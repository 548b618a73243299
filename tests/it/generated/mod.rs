//! Generated queries over generated changes, through the wire, against DataFusion's batch answer at every epoch.
//!
//! `MILLSTREAM_SEED` repeats a run, `MILLSTREAM_QUERIES` says how many queries; what was covered is printed.

mod about;
mod called;
mod oracle;
mod over;
mod query;
mod sets;
mod spread;
mod tables;
mod top;

use std::collections::BTreeMap;

use millstream::base::random::{Random, fresh_seed};

use self::oracle::{Oracle, Rows};
use self::query::{Feature, Generator, View};
use self::tables::Table;
use crate::harness::{Db, Server, block_on, full};

/// Views in one server at once.
const VIEWS_AT_ONCE: usize = 40;
const EPOCHS: usize = 6;
/// Where the clock begins: not on a whole second, as no row's time is.
const CLOCK_US: i64 = 1_709_280_000_500_000;

/// What one query went through.
struct Seen {
    features: Vec<Feature>,
    filled: bool,
    retracted: bool,
}

/// One batch of views in one server, over tables of their own.
struct Round {
    random: Random,
    tables: Vec<Table>,
    views: Vec<View>,
    oracle: Oracle,
    before: Vec<Rows>,
    seen: Vec<Seen>,
    log: Vec<String>,
    clock_us: i64,
}

impl Round {
    /// With `rare`, how often each feature was seen: then two views of three have the rarest.
    fn new(seed: u64, count: usize, rare: Option<BTreeMap<Feature, usize>>) -> Round {
        let mut random = Random::new(seed);
        let tables = Table::all();
        let mut generator = Generator::new(&tables);
        let mut rare = rare;
        let make = |i: usize| match &mut rare {
            Some(seen) if !i.is_multiple_of(3) => {
                let view = generator.rare_view(&mut random, i, seen);
                view.features.iter().for_each(|feature| *seen.entry(*feature).or_default() += 1);
                view
            }
            _ => generator.view(&mut random, i),
        };
        let views: Vec<View> = (0..count).map(make).collect();
        let oracle = Oracle::new(&tables, &views);
        let seen = |view: &View| Seen { features: view.features.clone(), filled: false, retracted: false };
        let seen = views.iter().map(seen).collect();
        Round {
            random,
            tables,
            before: vec![Rows::new(); views.len()],
            views,
            oracle,
            seen,
            log: Vec::new(),
            clock_us: CLOCK_US,
        }
    }

    async fn run(&mut self, server: &mut Server) {
        self.pass(server);
        let mut db = manual(server).await;
        for table in &self.tables {
            self.log.push(table.create_sql());
            db.run(&table.create_sql()).await;
        }
        for (_, sql) in called::FUNCTIONS {
            self.log.push(sql.into());
            db.run(sql).await;
        }
        // Some views begin over empty tables, the others are filled from what is there.
        let early = self.views.len() / 2;
        self.create(&db, 0..early).await;
        self.pass(server);
        self.change(&db).await;
        self.create(&db, early..self.views.len()).await;
        self.compare(&db, 1).await;
        for epoch in 2..=EPOCHS {
            self.pass(server);
            self.change(&db).await;
            self.compare(&db, epoch).await;
            if epoch == EPOCHS / 2 {
                drop(db);
                self.log.push("-- kill -9".into());
                server.kill();
                server.restart(None);
                db = manual(server).await;
                self.compare(&db, epoch).await;
            }
        }
    }

    /// Sets the server's clock a while later.
    fn pass(&mut self, server: &Server) {
        self.clock_us += self.random.between(0, 70) * 60_000_000 + 1_000_000;
        let at = chrono::DateTime::from_timestamp_micros(self.clock_us).expect("a time");
        let text = at.format("%Y-%m-%d %H:%M:%S%.f").to_string();
        self.log.push(format!("-- the clock says {text}"));
        // Renamed, lest the server read half of it.
        std::fs::write(server.folder().join("clock.new"), text).expect("the folder takes a file");
        std::fs::rename(server.folder().join("clock.new"), server.folder().join("clock")).expect("the same folder");
    }

    async fn create(&mut self, db: &Db, range: std::ops::Range<usize>) {
        for i in range {
            let view = &self.views[i];
            self.log.push(view.sql.clone());
            if let Err(error) = db.try_rows(&view.sql).await {
                panic!("{}\n\n{}\n{}", self.script(i), view.sql, crate::harness::describe(&error));
            }
        }
    }

    /// One epoch: random changes of every table, then FLUSH.
    async fn change(&mut self, db: &Db) {
        for table in &mut self.tables {
            for sql in table.change(&mut self.random) {
                self.log.push(sql.clone());
                db.run(&sql).await;
            }
        }
        self.log.push("FLUSH".into());
        db.run("FLUSH").await;
    }

    async fn compare(&mut self, db: &Db, epoch: usize) {
        let expected = self.oracle.answer(&self.tables, &self.views, self.clock_us).await;
        for (i, expected) in expected.into_iter().enumerate() {
            let view = &self.views[i];
            let mut found = db.rows(&format!("SELECT * FROM {}", view.name)).await;
            found.sort();
            if found != expected {
                self.report(i, epoch, &found, &expected);
            }
            self.seen[i].filled |= !expected.is_empty();
            self.seen[i].retracted |= lost_a_row(&self.before[i], &expected);
            self.before[i] = expected;
        }
    }

    /// What was said to the server so far, without the views that the `i`th does not read.
    fn script(&self, i: usize) -> String {
        let needed = self.views[i].needs(&self.views);
        let is_of_another =
            |line: &&String| self.views.iter().any(|view| !needed.contains(&view.name) && view.sql == **line);
        let script: Vec<&String> = self.log.iter().filter(|line| !is_of_another(line)).collect();
        let script: Vec<String> = script.into_iter().map(|line| format!("{line};")).collect();
        script.join("\n")
    }

    fn report(&self, i: usize, epoch: usize, found: &Rows, expected: &Rows) -> ! {
        let faults = "look at ms_faults too";
        let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).take(10).collect();
        let surplus: Vec<_> = found.iter().filter(|row| !expected.contains(row)).take(10).collect();
        panic!(
            "{}\n\nafter epoch {epoch}: {} rows found, {} expected ({faults})\nmissing: {missing:#?}\nsurplus: {surplus:#?}\nview: {}",
            self.script(i),
            found.len(),
            expected.len(),
            self.views[i].sql
        );
    }
}

async fn manual(server: &Server) -> Db {
    let db = server.connect().await;
    db.run("SET epoch = 'manual'").await;
    db
}

/// Whether a row of `before` is there less often in `after`; both are sorted.
fn lost_a_row(before: &Rows, after: &Rows) -> bool {
    let count = |rows: &Rows, row: &Vec<String>| rows.iter().filter(|other| *other == row).count();
    before.iter().any(|row| after.binary_search(row).is_err() || count(after, row) < count(before, row))
}

fn report_coverage(seen: &[Seen]) -> BTreeMap<Feature, usize> {
    let mut features: BTreeMap<Feature, usize> = Feature::ALL.iter().map(|feature| (*feature, 0)).collect();
    features.extend(counts(seen));
    let share = |count: usize| 100 * count / seen.len().max(1);
    let filled = seen.iter().filter(|seen| seen.filled).count();
    let retracted = seen.iter().filter(|seen| seen.retracted).count();
    eprintln!("{} queries: {} % not empty, {} % saw retractions", seen.len(), share(filled), share(retracted));
    for (feature, count) in &features {
        eprintln!("  {feature:?}: {count}");
    }
    assert!(share(filled) >= 80 && share(retracted) >= 50, "too tame");
    features
}

/// How many queries had each feature.
fn counts(seen: &[Seen]) -> BTreeMap<Feature, usize> {
    let mut counts = BTreeMap::new();
    for feature in seen.iter().flat_map(|seen| &seen.features) {
        *counts.entry(*feature).or_default() += 1;
    }
    counts
}

/// Surroundings that no answer may depend on: other ones for each round.
fn corner(round: usize) -> [&'static str; 10] {
    let (workers, batch_rows) = (["1", "2", "4"][round % 3], ["4096", "7", "1"][round / 3 % 3]);
    let strict = if round.is_multiple_of(2) { "false" } else { "true" };
    let often = ["--checkpoint-interval", "300ms"];
    [
        "--workers",
        workers,
        "--batch-rows",
        batch_rows,
        "--strict-state",
        strict,
        often[0],
        often[1],
        "--clock-file",
        "clock",
    ]
}

#[test]
fn every_view_equals_the_batch_query_at_every_epoch() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    // What every change runs is the same every time; the full tier looks for what nobody has seen.
    let seed = number("MILLSTREAM_SEED").unwrap_or_else(|| if full() { fresh_seed() } else { 77 });
    let queries = number("MILLSTREAM_QUERIES").unwrap_or(if full() { 2_000 } else { 40 }) as usize;
    eprintln!("generated: repeat with MILLSTREAM_SEED={seed} MILLSTREAM_QUERIES={queries}");
    let mut seeds = Random::new(seed);
    let mut seen = Vec::new();
    while seen.len() < queries {
        let count = VIEWS_AT_ONCE.min(queries - seen.len());
        let mut server = Server::start(&corner(seen.len() / VIEWS_AT_ONCE));
        let mut round = Round::new(seeds.next_u64(), count, full().then(|| counts(&seen)));
        block_on(round.run(&mut server));
        seen.append(&mut round.seen);
    }
    let features = report_coverage(&seen);
    if queries >= 2_000 {
        assert!(features.values().all(|count| *count >= 30), "a feature with fewer than 30 queries");
    }
}

/// The queries themselves, without a server: all bind, none faults, and they are worth asking.
#[test]
fn the_queries_are_worth_asking() {
    let mut random = Random::new(7);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut round = Round::new(random.next_u64(), VIEWS_AT_ONCE, None);
        for _ in 0..EPOCHS {
            round.tables.iter_mut().for_each(|table| drop(table.change(&mut round.random)));
            let answers = block_on(round.oracle.answer(&round.tables, &round.views, round.clock_us));
            for (i, answer) in answers.into_iter().enumerate() {
                round.seen[i].filled |= !answer.is_empty();
                round.seen[i].retracted |= lost_a_row(&round.before[i], &answer);
                round.before[i] = answer;
            }
        }
        seen.append(&mut round.seen);
    }
    report_coverage(&seen);
}
