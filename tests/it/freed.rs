//! State is freed: event time runs through a thousand windows, and what operators hold stays bounded.

use std::fmt::Write;

use crate::harness::{Db, Server, block_on, temporary};

/// Windows that event time runs through.
const WINDOWS: i64 = 1_000;
/// Seconds between two rows of a source.
const STEP_S: i64 = 5;

/// A source of one row each five seconds for a thousand windows of ten, under four keys, in order.
async fn source(server: &Server, db: &Db, name: &str) {
    let mut text = String::new();
    for i in 0..WINDOWS * 10 / STEP_S {
        let at = chrono::DateTime::from_timestamp(1_700_000_000 + i * STEP_S, 0).expect("a time");
        let ts = at.format("%Y-%m-%d %H:%M:%S");
        writeln!(text, r#"{{"k": {}, "v": {i}, "ts": "{ts}"}}"#, i % 4).expect("a string takes it");
    }
    let path = server.folder().join(format!("{name}.ndjson"));
    std::fs::write(&path, text).expect("the folder takes a file");
    // It is followed: a bounded source would free everything at its end.
    db.run(&format!(
        "CREATE SOURCE {name} (k INT, v INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '4 seconds')
         WITH (connector = 'file', path = '{}', follow = true) FORMAT PLAIN ENCODE JSON",
        path.display()
    ))
    .await;
}

/// The rows that all operators of a job hold, beside the newest late and faulty rows.
async fn state_rows(db: &Db, name: &str) -> i64 {
    let sql = format!(
        "SELECT sum(o.state_rows) FROM ms_operators o JOIN ms_jobs j ON o.job_id = j.id
         WHERE j.name = '{name}' AND o.name <> 'keep' AND o.name <> 'answer'"
    );
    db.value(&sql).await.parse().expect("a number")
}

/// Each construct: its query, and how many rows of state it may hold at the end.
const CONSTRUCTS: &[(&str, &str, i64)] = &[
    (
        "interval",
        "SELECT a.k, a.v, b.v AS w FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 minute'",
        120,
    ),
    (
        "interval_left",
        "SELECT a.k, a.v, b.v AS w FROM a LEFT JOIN b
         ON a.k = b.k AND b.v % 3 = 0 AND b.ts BETWEEN a.ts - INTERVAL '20 seconds' AND a.ts + INTERVAL '20 seconds'",
        120,
    ),
    (
        "interval_anti",
        "SELECT k, v FROM a WHERE NOT EXISTS
         (SELECT 1 FROM b WHERE a.k = b.k AND b.v > a.v AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '10 seconds')",
        120,
    ),
    (
        "interval_windowed",
        "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(
           (SELECT a.ts, a.k FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 minute'),
           ts, INTERVAL '10 seconds') GROUP BY window_start, window_end",
        140,
    ),
    (
        "windows",
        "SELECT x.k, x.window_end, x.n, y.n AS m
         FROM (SELECT window_end, k, count(*) AS n FROM TUMBLE(a, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end, k) x
         JOIN (SELECT window_end, k, count(*) AS n FROM TUMBLE(b, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end, k) y
         ON x.k = y.k AND x.window_end = y.window_end",
        60,
    ),
    (
        "rows_of_windows",
        "SELECT x.k, x.v, y.v AS w FROM TUMBLE(a, ts, INTERVAL '10 seconds') x JOIN TUMBLE(b, ts, INTERVAL '10 seconds') y
         ON x.k = y.k AND x.window_start = y.window_start AND x.window_end = y.window_end",
        60,
    ),
    (
        "sessions",
        "SELECT k, window_start, window_end, count(*) AS n FROM SESSION(a PARTITION BY k, ts, INTERVAL '10 seconds')
         GROUP BY k, window_start, window_end",
        40,
    ),
    (
        "sessions_once",
        "SELECT window_start, window_end, count(*) AS n FROM SESSION(a, ts, INTERVAL '4 seconds')
         GROUP BY window_start, window_end EMIT ON WINDOW CLOSE",
        40,
    ),
    (
        "tumble",
        "SELECT window_end, k, count(DISTINCT v) AS n FROM TUMBLE(a, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end, k",
        60,
    ),
    (
        "hop",
        "SELECT window_end, sum(v) AS n FROM HOP(a, ts, INTERVAL '10 seconds', INTERVAL '30 seconds') GROUP BY window_start, window_end",
        60,
    ),
    (
        "cumulate",
        "SELECT window_start, window_end, max(v) AS n FROM CUMULATE(a, ts, INTERVAL '10 seconds', INTERVAL '1 minute')
         GROUP BY window_start, window_end EMIT ON WINDOW CLOSE",
        60,
    ),
    (
        "windows_full",
        "SELECT x.window_end, x.n, y.n AS m
         FROM (SELECT window_end, count(*) AS n FROM TUMBLE(a, ts, INTERVAL '10 seconds') GROUP BY window_start, window_end) x
         FULL JOIN (SELECT window_end, count(*) AS n FROM TUMBLE(b, ts, INTERVAL '10 seconds') WHERE v % 4 = 0 GROUP BY window_start, window_end) y
         ON x.window_end = y.window_end",
        60,
    ),
    (
        "top_of_windows",
        "SELECT window_end, k, v FROM (SELECT window_end, k, v, row_number() OVER (PARTITION BY window_start, window_end ORDER BY v DESC) AS r
           FROM TUMBLE(a, ts, INTERVAL '10 seconds')) x WHERE r <= 1",
        60,
    ),
    ("asof", "SELECT a.k, a.v, b.v AS w FROM a ASOF JOIN b ON a.k = b.k AND a.ts >= b.ts", 60),
    (
        "versions",
        "SELECT a.k, a.v, b.v AS w FROM a LEFT JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k",
        60,
    ),
];

#[test]
fn a_thousand_windows_leave_no_state() {
    let server = Server::start(&["--workers", "2"]);
    block_on(async {
        let db = server.connect().await;
        source(&server, &db, "a").await;
        source(&server, &db, "b").await;
        for (name, sql, _) in CONSTRUCTS {
            db.run(&format!("CREATE MATERIALIZED VIEW {name} AS {sql}")).await;
        }
        let names: Vec<&str> = CONSTRUCTS.iter().map(|(name, _, _)| *name).collect();
        db.run(&format!("WAIT FOR {}", names.join(", "))).await;
        for (name, _, most) in CONSTRUCTS {
            let rows: i64 = db.value(&format!("SELECT count(*) FROM {name}")).await.parse().expect("a number");
            assert!(rows > WINDOWS / 2, "{name} has {rows} rows only");
            let held = state_rows(&db, name).await;
            assert!(held <= *most, "{name} holds {held} rows of state, {most} are enough");
        }
    });
}

/// The same by the clock: constructs over PROCTIME().
const BY_CLOCK: &[(&str, &str, i64)] = &[
    (
        "tumbled",
        "SELECT window_end, count(*) AS n FROM TUMBLE((SELECT k, PROCTIME() AS p FROM c), p, INTERVAL '10 seconds')
         GROUP BY window_start, window_end",
        20,
    ),
    (
        "tumbled_once",
        "SELECT window_end, k, count(*) AS n FROM TUMBLE((SELECT k, PROCTIME() AS p FROM c), p, INTERVAL '10 seconds')
         GROUP BY window_start, window_end, k EMIT ON WINDOW CLOSE",
        20,
    ),
    (
        "hopped",
        "SELECT window_end, count(DISTINCT v) AS n FROM HOP((SELECT v, PROCTIME() AS p FROM c), p, INTERVAL '10 seconds', INTERVAL '30 seconds')
         GROUP BY window_start, window_end",
        40,
    ),
    (
        "cumulated",
        "SELECT window_start, window_end, max(v) AS n FROM CUMULATE((SELECT v, PROCTIME() AS p FROM c), p, INTERVAL '10 seconds', INTERVAL '1 minute')
         GROUP BY window_start, window_end",
        40,
    ),
    (
        "gathered",
        "SELECT k, window_start, count(*) AS n FROM SESSION((SELECT k, PROCTIME() AS p FROM c) PARTITION BY k, p, INTERVAL '10 seconds')
         GROUP BY k, window_start, window_end",
        40,
    ),
    ("looked_up", "SELECT c.v, d.w FROM c JOIN d FOR SYSTEM_TIME AS OF PROCTIME() ON c.k = d.k", 20),
    ("looked_up_left", "SELECT c.v, d.w FROM c LEFT JOIN d FOR SYSTEM_TIME AS OF PROCTIME() ON c.k = d.k", 20),
];

/// What happens between two steps of the clock.
async fn step(server: &Server, db: &Db, events: &mut std::fs::File, i: i64) {
    use std::io::Write;
    let now = chrono::DateTime::from_timestamp(1_700_000_000 + i * 10, 0).expect("a time");
    // Renamed to its place: whoever reads the clock finds a whole time.
    let (new, clock) = (server.folder().join("new"), server.folder().join("clock"));
    std::fs::write(&new, now.format("%Y-%m-%d %H:%M:%S").to_string()).expect("the folder takes a file");
    std::fs::rename(new, clock).expect("the folder takes a file");
    writeln!(events, r#"{{"k": {}, "v": {i}}}"#, i % 4).expect("the file takes a line");
    if i % 10 == 0 {
        db.run(&format!("UPDATE d SET w = {i} WHERE k = {}", i / 10 % 2)).await;
    }
    db.run("WAIT FOR tumbled, looked_up").await;
}

#[test]
fn a_thousand_windows_of_the_clock_leave_no_state() {
    let folder = temporary("millstream-it-");
    std::fs::write(folder.path().join("clock"), "2023-11-14 22:13:20").expect("the folder takes a file");
    let server = Server::start_in(folder, &["--workers", "2", "--clock-file", "clock"]);
    let path = server.folder().join("c.ndjson");
    let mut events = std::fs::File::create(&path).expect("the folder takes a file");
    block_on(async {
        let db = server.connect().await;
        db.run(&format!(
            "CREATE SOURCE c (k INT, v INT) WITH (connector = 'file', path = '{}', follow = true) FORMAT PLAIN ENCODE JSON",
            path.display()
        ))
        .await;
        db.run("CREATE TABLE d (k INT PRIMARY KEY, w INT)").await;
        db.run("INSERT INTO d VALUES (0, 0), (1, 0)").await;
        for (name, sql, _) in BY_CLOCK {
            db.run(&format!("CREATE MATERIALIZED VIEW {name} AS {sql}")).await;
        }
        for i in 0..WINDOWS + 10 {
            step(&server, &db, &mut events, i).await;
        }
        let names: Vec<&str> = BY_CLOCK.iter().map(|(name, _, _)| *name).collect();
        db.run(&format!("WAIT FOR {}", names.join(", "))).await;
        for (name, _, most) in BY_CLOCK {
            let rows: i64 = db.value(&format!("SELECT count(*) FROM {name}")).await.parse().expect("a number");
            assert!(rows >= WINDOWS / 2, "{name} has {rows} rows only");
            let held = state_rows(&db, name).await;
            assert!(held <= *most, "{name} holds {held} rows of state, {most} are enough");
        }
    });
}
