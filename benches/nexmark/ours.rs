//! The same query on our engine, in this process, on a data directory of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use millstream::base::Settings;
use millstream::base::clock::SystemClock;
use millstream::engine::{CancelToken, Engine, Outcome, Session, SqlEngine, SqlSession};

use super::events::{Files, KINDS};
use super::queries::Query;
use super::{CHECKPOINT_INTERVAL, SIDE_INPUT, THREADS};

/// An engine with a source for each kind of events, removed with its data when it is dropped.
struct Bench {
    runtime: tokio::runtime::Runtime,
    engine: Engine,
    session: Session,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn start(files: &Files, checkpoint_interval: &str) -> Bench {
        let folder = tempfile::Builder::new().prefix("millstream-bench-").tempdir().expect("a temporary folder");
        let mut settings = Settings::default();
        settings.data_dir = folder.path().join("data");
        settings.workers = THREADS;
        settings.set("checkpoint_interval", checkpoint_interval).expect("a duration");
        for (variable, value) in std::env::vars() {
            if let Some(name) = variable.strip_prefix("BENCH_SET_") {
                settings.set(&name.to_lowercase(), &value).expect("a setting");
            }
        }
        let engine = Engine::start(settings, Arc::new(SystemClock::default())).expect("the engine starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut session = engine.session("bench");
        session.settings_mut().set_at_start("read_timeout", "0").expect("a setting");
        let mut bench = Bench { runtime, engine, session, _folder: folder };
        for kind in &KINDS {
            let columns: Vec<String> = kind.columns.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
            bench.run(&format!(
                "CREATE SOURCE {name} ({}, WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds') \
                 WITH (connector = 'file', path = '{}/{name}/{name}-[0-{}].ndjson') FORMAT PLAIN ENCODE JSON",
                columns.join(", "),
                files.folder.display(),
                files.read - 1,
                name = kind.name,
            ));
        }
        bench.run(&format!(
            "CREATE TABLE side_input (key BIGINT PRIMARY KEY, value VARCHAR); INSERT INTO side_input {SIDE_INPUT}"
        ));
        bench
    }

    /// Runs statements; gives the rows of all of them.
    fn run(&mut self, sql: &str) -> Vec<RecordBatch> {
        let Bench { runtime, session, .. } = self;
        runtime.block_on(async {
            let mut batches = Vec::new();
            for statement in session.parse(sql).expect(sql) {
                let outcome = session.execute(&statement, &[], CancelToken::new()).await;
                match outcome.unwrap_or_else(|error| panic!("{sql}: {}", error.report())) {
                    Outcome::Rows { mut rows, .. } => {
                        while let Some(batch) = rows.next().await {
                            batches.push(batch.unwrap_or_else(|error| panic!("{sql}: {}", error.report())));
                        }
                    }
                    Outcome::Done { .. } => {}
                    Outcome::CopyOut { .. } | Outcome::CopyIn { .. } => panic!("{sql} is a COPY"),
                }
            }
            batches
        })
    }

    fn number(&mut self, sql: &str) -> i64 {
        let batches = self.run(sql);
        batches
            .iter()
            .find(|batch| batch.num_rows() == 1)
            .expect("one row")
            .column(0)
            .as_primitive::<Int64Type>()
            .value(0)
    }

    /// Every line must have become a row: no fault, nothing late.
    fn check_rows(&mut self, query: &Query, files: &Files) {
        let decoded = self.number("SELECT CAST(sum(rows_decoded) AS BIGINT) FROM ms_catalog.ms_sources");
        assert_eq!(decoded as u64, files.lines(&query.kinds), "{}: rows decoded and lines differ", query.name);
    }

    fn stop(self) {
        let Bench { runtime, engine, session, .. } = self;
        drop(session);
        runtime.block_on(engine.shutdown()).expect("the engine stops");
    }
}

/// What a run took.
pub struct Taken {
    pub elapsed: Duration,
    /// Time of processors, of all threads.
    pub processors: Duration,
}

/// How long the query takes over all files.
pub fn time(query: &Query, files: &Files) -> Taken {
    files.read_once(&query.kinds);
    let mut bench = Bench::start(files, if query.checkpoints { CHECKPOINT_INTERVAL } else { "1h" });
    let create = if query.into_view {
        format!("CREATE MATERIALIZED VIEW answer AS {}", query.ours)
    } else {
        format!("CREATE SINK answer AS {} WITH (connector = 'blackhole')", query.ours)
    };
    let (since, before) = (Instant::now(), processor_time());
    bench.run(&create);
    bench.run("WAIT FOR answer");
    let taken = Taken { elapsed: since.elapsed(), processors: processor_time() - before };
    bench.check_rows(query, files);
    bench.stop();
    taken
}

/// What one operator of a query holds at the end.
pub struct Held {
    pub operator: String,
    pub rows: i64,
    pub bytes: i64,
}

/// What the operators of the query hold after all files, and by how many bytes the process has grown meanwhile.
pub fn state(query: &Query, files: &Files) -> (Vec<Held>, u64) {
    let mut bench = Bench::start(files, "1h");
    let before = anonymous_memory();
    bench.run(&format!("CREATE SINK answer AS {} WITH (connector = 'blackhole')", query.ours));
    bench.run("WAIT FOR answer");
    let grown = anonymous_memory().saturating_sub(before);
    let batches = bench.run(
        "SELECT name || ' ' || detail, CAST(sum(state_rows) AS BIGINT), CAST(sum(state_bytes) AS BIGINT) \
         FROM ms_catalog.ms_operators GROUP BY 1 HAVING sum(state_rows) > 0 ORDER BY 3 DESC",
    );
    let held = batches.iter().flat_map(|batch| {
        let (rows, bytes) = (batch.column(1).as_primitive::<Int64Type>(), batch.column(2).as_primitive::<Int64Type>());
        let name = |row| batch.column(0).as_string::<i32>().value(row).to_owned();
        let held = |row| Held { operator: name(row), rows: rows.value(row), bytes: bytes.value(row) };
        (0..batch.num_rows()).map(held).collect::<Vec<_>>()
    });
    let held = held.collect();
    bench.stop();
    (held, grown)
}

/// What this process has had of the processors.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // After the name in brackets: user and system time are the 12th and 13th, in hundredths of a second (proc(5)).
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Bytes of memory of this process that no file stands for.
fn anonymous_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a kernel since 4.5");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// What a view of `sql` holds at the end.
pub fn contents(query: &Query, sql: &str, files: &Files) -> Vec<RecordBatch> {
    let mut bench = Bench::start(files, "1h");
    bench.run(&format!("CREATE MATERIALIZED VIEW answer AS {sql}"));
    bench.run("WAIT FOR answer");
    bench.check_rows(query, files);
    let rows = bench.run("SELECT * FROM answer");
    bench.stop();
    rows
}
