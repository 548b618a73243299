//! What clients feel: point lookups beside a busy view, large answers against PostgreSQL, the way of a change to its subscriber,
//! idle connections.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::server::Server;
use super::{millis, number, report, seconds};

fn at(times: &mut [Duration], share: usize) -> Duration {
    times.sort();
    times[(times.len() * share / 100).min(times.len() - 1)]
}

/// Lookups by key in a view of `MILLSTREAM_BENCH_ROWS` (1,000,000) rows that takes 50,000 updates a second.
pub async fn point() {
    let rows = number("MILLSTREAM_BENCH_ROWS", 1_000_000);
    let server = Server::start(&[]);
    let client = server.connect().await;
    let path = server.folder().join("feed.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    for k in 0..rows {
        writeln!(file, "{{\"k\":{k},\"v\":1}}").expect("the disk has room");
    }
    file.into_inner().expect("the disk has room");
    let source = format!(
        "CREATE SOURCE s (k BIGINT, v BIGINT) WITH (connector = 'file', path = '{}', follow = 'true') FORMAT PLAIN ENCODE JSON",
        path.display()
    );
    client.batch_execute(&source).await.expect("a source");
    let view = "CREATE MATERIALIZED VIEW m AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k";
    client.batch_execute(view).await.expect("a view");
    while server.value("SELECT count(*) FROM m").await != rows.to_string() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let lookup = client.prepare("SELECT n, total FROM m WHERE k = $1").await.expect("it is prepared");
    let until = Instant::now() + seconds();
    let feeding = std::thread::spawn(move || feed(&path, rows, until));
    let (mut times, mut key) = (Vec::new(), 1u64);
    while Instant::now() < until {
        key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let k = ((key >> 33) % rows) as i64;
        let since = Instant::now();
        let row = client.query_one(&lookup, &[&k]).await.expect("the key is there");
        times.push(since.elapsed());
        assert!(row.get::<_, i64>(0) >= 1);
    }
    let written = feeding.join().expect("the file is written");
    report(
        "updates of the view beside lookups",
        format!("{:.0} /s", written as f64 / seconds().as_secs_f64()),
        "50,000 /s",
    );
    report(&format!("lookup by key in {rows} rows, p50 of {}", times.len()), millis(at(&mut times, 50)), "< 0.5 ms");
    report("the same, p99", millis(at(&mut times, 99)), "< 5 ms");
}

/// Appends 5,000 rows every 100 ms; how many in all. On a thread of its own: lookups do not wait for the disk.
fn feed(path: &Path, rows: u64, until: Instant) -> u64 {
    let (begun, mut written) = (Instant::now(), 0);
    while Instant::now() < until {
        let text: String =
            (written..written + 5_000).map(|i| format!("{{\"k\":{},\"v\":1}}\n", i * 7_919 % rows)).collect();
        let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("the file is there");
        file.write_all(text.as_bytes()).expect("the disk has room");
        written += 5_000;
        let due = begun + Duration::from_millis(written / 50);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    written
}

const LOAD: &str = "CREATE TABLE big (id BIGINT PRIMARY KEY, name VARCHAR, price NUMERIC(12,2), at TIMESTAMP, ratio DOUBLE PRECISION); \
    INSERT INTO big SELECT i, 'name of row ' || i, i % 10000 / 100.0, TIMESTAMP '2024-01-01' + i * INTERVAL '1 second', i / 7.0 \
    FROM generate_series(1, ROWS) AS g(i)";

/// A server with the rows: where it listens, and its user and database, which are called alike.
struct Place {
    host: String,
    port: String,
    user: &'static str,
}

impl Place {
    fn new(address: &str, user: &'static str) -> Place {
        let (host, port) = address.trim().rsplit_once(':').expect("host and port");
        Place { host: host.to_string(), port: port.to_string(), user }
    }

    /// psql, connected.
    fn psql(&self) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-h", &self.host, "-p", &self.port, "-U", self.user, "-d", self.user]);
        command
    }

    /// Seconds that the best of three readings of `SELECT * FROM big` takes: with psql, and with psycopg in binary.
    fn read(&self, python: &Path) -> [f64; 2] {
        let psql = || {
            let since = Instant::now();
            let done = self.psql().args(["-o", "/dev/null", "-c", "SELECT * FROM big"]).status().expect("psql");
            assert!(done.success());
            since.elapsed().as_secs_f64()
        };
        let program = format!(
            "import psycopg, time\nc = psycopg.connect('host={} port={} user={u} dbname={u}')\nt = time.perf_counter()\n\
             r = c.cursor(binary=True).execute('SELECT * FROM big').fetchall()\nprint(time.perf_counter() - t)",
            self.host,
            self.port,
            u = self.user
        );
        let psycopg = || {
            let done = Command::new(python).args(["-c", &program]).output().expect("python");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8_lossy(&done.stdout).trim().parse::<f64>().expect("seconds")
        };
        let best = |run: &dyn Fn() -> f64| (0..3).map(|_| run()).fold(f64::MAX, f64::min);
        [best(&psql), best(&psycopg)]
    }
}

/// `SELECT *` of `MILLSTREAM_BENCH_ROWS` rows of 5 columns, here and in PostgreSQL (`scripts/postgres start` before).
pub async fn rows() {
    let count = number("MILLSTREAM_BENCH_ROWS", 1_000_000);
    let load = LOAD.replace("ROWS", &count.to_string());
    let cache = std::env::var("MILLSTREAM_CACHE")
        .unwrap_or_else(|_| format!("{}/.cache/millstream", std::env::var("HOME").unwrap_or_default()));
    let cache = PathBuf::from(cache);
    let python = cache.join("clients/bin/python");
    let postgres = std::fs::read_to_string(cache.join("postgres/address"));
    let server = Server::start(&[]);
    server.connect().await.batch_execute(&load).await.expect("the rows are in");
    let ours = Place::new(&server.address().to_string(), "millstream").read(&python);
    let theirs = postgres.ok().map(|address| {
        let place = Place::new(&address, "postgres");
        let done = place.psql().args(["-c", "DROP TABLE IF EXISTS big", "-c", &load]).status().expect("psql");
        assert!(done.success(), "PostgreSQL takes the rows");
        place.read(&python)
    });
    for (i, client) in ["psql", "psycopg, binary"].into_iter().enumerate() {
        let times = theirs.map_or(String::new(), |theirs| format!(", {:.2} x", ours[i] / theirs[i]));
        report(
            &format!("{count} rows x 5 columns to {client}"),
            format!("{:.2} s{times}", ours[i]),
            "<= 1.5 x PostgreSQL",
        );
    }
}

/// From the answer of an INSERT until its subscriber has the change.
pub async fn subscribe() {
    let server = Server::start(&[]);
    let (writer, reader) = (server.connect().await, server.connect().await);
    let tables =
        "CREATE TABLE t (k INT, v BIGINT); CREATE MATERIALIZED VIEW g AS SELECT k, count(*) AS n FROM t GROUP BY k";
    writer.batch_execute(tables).await.expect("a table and a view");
    let stream =
        reader.copy_out("COPY (SUBSCRIBE TO g WITH (snapshot = false)) TO STDOUT").await.expect("it subscribes");
    let mut stream = std::pin::pin!(stream);
    let rounds = number("MILLSTREAM_BENCH_ROUNDS", 5_000).min(500);
    let mut times = Vec::new();
    for round in 0..rounds {
        let sql = format!("INSERT INTO t VALUES ({round}, 1)");
        let inserting = async {
            writer.simple_query(&sql).await.expect("it is inserted");
            Instant::now()
        };
        let receiving = async {
            stream.next().await.expect("the stream goes on").expect("a change");
            Instant::now()
        };
        let (committed, received) = tokio::join!(inserting, receiving);
        times.push(received.saturating_duration_since(committed));
    }
    report(
        &format!("change committed until received, p50 of {rounds}"),
        millis(at(&mut times, 50)),
        "< 10 ms over the epoch",
    );
    report("the same, p99", millis(at(&mut times, 99)), "-");
}

/// What 500 connections take that do nothing.
pub async fn idle() {
    let server = Server::start(&["--connections-max", "600"]);
    server.connect().await.simple_query("SELECT 1").await.expect("it answers");
    let before = server.anonymous_mb();
    let mut connections = Vec::new();
    for _ in 0..500 {
        connections.push(server.connect().await);
    }
    let since = Instant::now();
    server.connect().await.simple_query("SELECT 1").await.expect("it answers");
    report("one more client beside 500 idle ones: SELECT 1", millis(since.elapsed()), "-");
    report("500 idle connections, RssAnon", format!("{:.0} MB", server.anonymous_mb() - before), "< 100 MB");
}
