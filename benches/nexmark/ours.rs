//! The same query on our engine, in this process, on a data directory of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use millstream::base::Settings;
use millstream::base::clock::SystemClock;
use millstream::engine::{CancelToken, Engine, Outcome, Session, SqlEngine, SqlSession};

use super::{CHECKPOINT_INTERVAL, Query, THREADS, bids};

/// An engine with the source `bids`, removed with its data when it is dropped.
struct Bench {
    runtime: tokio::runtime::Runtime,
    engine: Engine,
    session: Session,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn start(files: &bids::Files, checkpoint_interval: &str) -> Bench {
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
        bench.run(&format!(
            "CREATE SOURCE bids (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, \
             date_time TIMESTAMP, extra VARCHAR, WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds') \
             WITH (connector = 'file', path = '{}/bids-*.ndjson') FORMAT PLAIN ENCODE JSON",
            files.folder.display()
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
    fn check_rows(&mut self, files: &bids::Files) {
        let decoded = self.number("SELECT CAST(sum(rows_decoded) AS BIGINT) FROM ms_catalog.ms_sources");
        assert_eq!(decoded as u64, files.lines, "rows decoded and lines differ");
    }

    fn stop(self) {
        let Bench { runtime, engine, session, .. } = self;
        drop(session);
        runtime.block_on(engine.shutdown()).expect("the engine stops");
    }
}

/// How long the query takes over all files.
pub fn time(query: &Query, files: &bids::Files) -> Duration {
    let mut bench = Bench::start(files, if query.checkpoints { CHECKPOINT_INTERVAL } else { "1h" });
    let create = if query.into_view {
        format!("CREATE MATERIALIZED VIEW answer AS {}", query.ours)
    } else {
        format!("CREATE SINK answer AS {} WITH (connector = 'blackhole')", query.ours)
    };
    let since = Instant::now();
    bench.run(&create);
    bench.run("WAIT FOR answer");
    let elapsed = since.elapsed();
    bench.check_rows(files);
    bench.stop();
    elapsed
}

/// What a view of `sql` holds at the end.
pub fn contents(sql: &str, files: &bids::Files) -> Vec<RecordBatch> {
    let mut bench = Bench::start(files, "1h");
    bench.run(&format!("CREATE MATERIALIZED VIEW answer AS {sql}"));
    bench.run("WAIT FOR answer");
    bench.check_rows(files);
    let rows = bench.run("SELECT * FROM answer");
    bench.stop();
    rows
}
