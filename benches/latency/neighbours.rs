//! A view beside another that is a hundred times slower, over the same source: its rate, and the memory of both.

use std::io::Write;
use std::time::{Duration, Instant};

use super::report;
use super::server::Server;

/// Rows of the file: at least as many as the fast view reads in the longest run.
const ROWS: u64 = 24_000_000;
const FAST: &str = "CREATE MATERIALIZED VIEW fast AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k";
/// Hashes 20 kB for every row.
const SLOW: &str = "CREATE MATERIALIZED VIEW slow AS SELECT k, count(*) AS n, \
                    max(length(md5(repeat(pad, 500)))) AS x FROM s GROUP BY k";

/// Rates of the fast view alone and beside the slow one, alternating; `time` per run of the slow one alone.
pub async fn run(time: Duration) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rows.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    for row in 0..ROWS {
        writeln!(file, "{{\"k\":{},\"v\":{row},\"pad\":\"abcdefghijklmnopqrstuvwxyzabcdefghijklmn\"}}", row % 100)
            .expect("the disk has room");
    }
    file.flush().expect("the disk has room");
    let source = format!(
        "CREATE SOURCE s (k BIGINT, v BIGINT, pad VARCHAR) WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE JSON",
        path.display()
    );
    let slow = slow_rate(&source, time).await;
    let (mut shares, mut rates, mut growth) = (Vec::new(), Vec::new(), 0.0f64);
    for _ in 0..3 {
        let (alone, _) = fast_rate(&source, false).await;
        let (beside, grown) = fast_rate(&source, true).await;
        shares.push(beside / alone);
        rates.push(alone);
        growth = growth.max(grown);
    }
    shares.sort_by(f64::total_cmp);
    rates.sort_by(f64::total_cmp);
    report("fast view alone", format!("{:.0} rows/s", rates[1]), "-");
    report("slow view alone", format!("{slow:.0} rows/s ({:.0} x slower)", rates[1] / slow), "100 x");
    report("fast view beside the slow one keeps (median of 3)", format!("{:.0} %", shares[1] * 100.0), ">= 80 %");
    report("memory over that of the fast view alone, at most", format!("{growth:.0} MB"), "100 MB");
}

async fn slow_rate(source: &str, time: Duration) -> f64 {
    let server = Server::start(&["--epoch-interval", "100ms"]);
    let client = server.connect().await;
    client.batch_execute(source).await.expect("a source");
    client.batch_execute(SLOW).await.expect("a view");
    tokio::time::sleep(time).await;
    let rows: f64 =
        server.value("SELECT coalesce(max(rows_in), 0) FROM ms_catalog.ms_operators").await.parse().unwrap_or(0.0);
    rows.max(1.0) / time.as_secs_f64()
}

/// Rows per second of the fast view until it has read the whole file, and by how much the memory grew while the slow
/// one went on.
async fn fast_rate(source: &str, with_slow: bool) -> (f64, f64) {
    let server = Server::start(&[]);
    let client = server.connect().await;
    client.batch_execute(source).await.expect("a source");
    let since = Instant::now();
    client.batch_execute(FAST).await.expect("a view");
    if with_slow {
        client.batch_execute(SLOW).await.expect("a view");
    }
    client.batch_execute("WAIT FOR fast").await.expect("it is filled");
    let rate = ROWS as f64 / since.elapsed().as_secs_f64();
    let before = server.anonymous_mb();
    let mut most = before;
    if with_slow {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            most = most.max(server.anonymous_mb());
        }
    }
    (rate, most - before)
}
