//! The engine as its users meet it: a server process of its own, clients over the wire:
//! `cargo bench --bench latency [start|insert|clients|views|neighbours|point|rows|subscribe|idle]` prints the figures with their bounds.
//!
//! `MILLSTREAM_BENCH_ROUNDS` (5,000) rounds of INSERT and SELECT; `MILLSTREAM_BENCH_SECONDS` (10) per measured rate;
//! `MILLSTREAM_BENCH_ROWS` (1,000,000) rows of the large answers, which `scripts/postgres start` has PostgreSQL give too.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "a benchmark is a program of its own: it prints what it measured and stops at the first thing amiss"
)]

#[path = "latency/neighbours.rs"]
mod neighbours;
#[path = "latency/server.rs"]
mod server;
#[path = "latency/wire.rs"]
mod wire;

use std::time::{Duration, Instant};

use server::Server;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let parts = ["start", "insert", "clients", "views", "neighbours", "point", "rows", "subscribe", "idle"];
        for part in parts.into_iter().filter(|part| wanted.is_empty() || wanted.iter().any(|name| name == part)) {
            match part {
                "start" => start().await,
                "insert" => insert().await,
                "clients" => clients().await,
                "views" => views().await,
                "point" => wire::point().await,
                "rows" => wire::rows().await,
                "subscribe" => wire::subscribe().await,
                "idle" => wire::idle().await,
                _ => neighbours::run(seconds()).await,
            }
        }
    });
}

/// A number given by the environment.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn seconds() -> Duration {
    Duration::from_secs(number("MILLSTREAM_BENCH_SECONDS", 10))
}

/// Prints one figure.
pub fn report(what: &str, found: String, bound: &str) {
    println!("{what:<58} {found:>24}   bound {bound}");
}

/// Process start until the answer of `SELECT 1`, on an empty directory; memory when idle.
async fn start() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let since = Instant::now();
        let server = Server::start(&[]);
        server.connect().await.simple_query("SELECT 1").await.expect("it answers");
        times.push(since.elapsed());
    }
    times.sort();
    report("start to SELECT 1, empty directory (median of 5)", millis(times[2]), "< 1 s");
    let server = Server::start(&[]);
    server.connect().await.simple_query("SELECT 1").await.expect("it answers");
    tokio::time::sleep(Duration::from_secs(3)).await;
    report("idle memory, RssAnon", format!("{:.0} MB", server.anonymous_mb()), "< 100 MB");
}

const GROUPED: &str = "CREATE TABLE t (k INT, v BIGINT); \
                       CREATE MATERIALIZED VIEW g AS SELECT k, count(*) AS n, sum(v) AS total FROM t GROUP BY k;";

/// Rounds of one INSERT and one SELECT that must show it.
async fn insert() {
    let server = Server::start(&[]);
    let client = server.connect().await;
    client.batch_execute(GROUPED).await.expect("a table and a view");
    let rounds = number("MILLSTREAM_BENCH_ROUNDS", 5_000);
    let (mut inserted, mut both) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let key = round % 100;
        let since = Instant::now();
        client.simple_query(&format!("INSERT INTO t VALUES ({key}, {round})")).await.expect("it is inserted");
        inserted.push(since.elapsed());
        let rows = client.simple_query(&format!("SELECT n FROM g WHERE k = {key}")).await.expect("it is read");
        both.push(since.elapsed());
        let shown = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        assert_eq!(shown, Some((round / 100 + 1).to_string()), "the row just inserted is not counted");
    }
    for (what, times, bounds) in [
        ("INSERT alone", inserted, ["-", "-"]),
        ("INSERT, then SELECT of the grouped view", both, ["< 8 ms", "< 25 ms"]),
    ] {
        let mut times = times;
        times.sort();
        for (share, bound) in [50, 99].into_iter().zip(bounds) {
            let at = times[(times.len() * share / 100).min(times.len() - 1)];
            report(&format!("{what}, p{share} of {rounds}"), millis(at), bound);
        }
    }
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// INSERTs per second of 32 clients, one row each.
async fn clients() {
    let server = Server::start(&[]);
    server.connect().await.batch_execute(GROUPED).await.expect("a table and a view");
    let until = Instant::now() + seconds();
    let mut tasks = Vec::new();
    for client in 0..32 {
        let connection = server.connect().await;
        tasks.push(tokio::spawn(async move {
            let mut count = 0u64;
            while Instant::now() < until {
                let sql = format!("INSERT INTO t VALUES ({client}, {count})");
                connection.simple_query(&sql).await.expect("it is inserted");
                count += 1;
            }
            count
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await.expect("a client ends");
    }
    let seen = server.value("SELECT sum(n) FROM g").await;
    assert_eq!(seen, total.to_string(), "the view has not counted every row");
    let rate = total as f64 / seconds().as_secs_f64();
    report("INSERTs of 32 clients", format!("{rate:.0} /s"), ">= 2,000 /s");
}

/// 200 views: starting with them, CPU when silent, CPU while one of 20 sources gets 100 rows a second.
async fn views() {
    let mut server = Server::start(&[]);
    let client = server.connect().await;
    let file = |source: usize| server.folder().join(format!("feed-{source}.ndjson"));
    let files: Vec<_> = (0..20).map(file).collect();
    for (source, path) in files.iter().enumerate() {
        std::fs::write(path, "{\"k\":1,\"v\":1}\n").expect("a file");
        let sql = format!(
            "CREATE SOURCE s{source} (k BIGINT, v BIGINT) WITH (connector = 'file', path = '{}', follow = 'true') \
             FORMAT PLAIN ENCODE JSON",
            path.display()
        );
        client.batch_execute(&sql).await.expect("a source");
    }
    for view in 0..200 {
        let source = view / 10;
        let sql = format!(
            "CREATE MATERIALIZED VIEW v{view} AS SELECT k, count(*) AS n, sum(v + {view}) AS t FROM s{source} GROUP BY k"
        );
        client.batch_execute(&sql).await.expect("a view");
    }
    client.batch_execute("WAIT FOR v0, v199").await.expect("they are filled");
    tokio::time::sleep(Duration::from_secs(12)).await;
    let silent = server.cpu_share(seconds()).await;
    report("200 views over 20 followed files, silent: CPU", percent(silent), "< 1 % of a core");
    let busy = feed(&server, &files[..1]).await;
    report("the same, one source (10 views) gets 100 rows/s: CPU", percent(busy), "< 15 % of a core");
    report("memory with 200 views, RssAnon", format!("{:.0} MB", server.anonymous_mb()), "-");
    drop(client);
    server.kill();
    let since = Instant::now();
    server.spawn();
    server.connect().await.simple_query("SELECT 1").await.expect("it answers");
    report("start to SELECT 1 with 200 views, after kill -9", millis(since.elapsed()), "< 2 s");
}

/// Appends 10 rows to the files in turn every 100 ms while the CPU is measured.
async fn feed(server: &Server, files: &[std::path::PathBuf]) -> f64 {
    use std::io::Write;
    let writing = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let mut row = 0u64;
        loop {
            tick.tick().await;
            let path = &files[row as usize / 10 % files.len()];
            let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("the file is there");
            let mut text = String::new();
            for _ in 0..10 {
                text.push_str(&format!("{{\"k\":{},\"v\":{row}}}\n", row % 50));
                row += 1;
            }
            file.write_all(text.as_bytes()).expect("the disk has room");
        }
    };
    tokio::select! {
        share = server.cpu_share(seconds()) => share,
        () = writing => unreachable!("it writes for ever"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
