//! SUBSCRIBE for programs: a subscriber that disconnects, or whose server is killed, goes on behind the last epoch it had seen whole,
//! and has every change exactly once.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio_postgres::error::SqlState;

use crate::harness::{Db, Server, block_on, describe, full};

/// A relation as a subscriber knows it: rows with their weights, and the epoch up to which it knows everything.
#[derive(Default)]
struct Follower {
    rows: BTreeMap<String, i64>,
    /// Changes of epochs that are not known to be whole.
    open: Vec<(String, i64)>,
    seen: Option<u64>,
    changes: usize,
}

impl Follower {
    /// What it subscribes with.
    fn statement(&self) -> String {
        let resume = self.seen.map(|epoch| format!(" AS OF {epoch}")).unwrap_or_default();
        format!("COPY (SUBSCRIBE TO s WITH (progress = true){resume}) TO STDOUT")
    }

    /// Takes one line: epoch, weight, then the row; a progress row has no weight.
    fn take(&mut self, line: &str) {
        let (epoch, rest) = line.split_once('\t').unwrap();
        let (weight, row) = rest.split_once('\t').unwrap();
        let epoch: u64 = epoch.parse().unwrap();
        match weight.parse::<i64>() {
            Ok(weight) => {
                assert!(self.seen.is_none_or(|seen| seen < epoch), "epoch {epoch} was told before: {line}");
                self.open.push((row.to_string(), weight));
            }
            Err(_) => {
                assert!(self.seen.is_none_or(|seen| seen <= epoch), "progress went back: {line}");
                self.seen = Some(epoch);
                for (row, weight) in self.open.drain(..) {
                    self.changes += 1;
                    *self.rows.entry(row).or_default() += weight;
                }
                self.rows.retain(|_, weight| *weight != 0);
                assert!(self.rows.values().all(|&weight| weight == 1), "rows are there once: {:?}", self.rows);
            }
        }
    }

    /// Reads until `enough` or the stream ends; changes of an epoch that was not told whole are forgotten, as resuming tells
    /// them again.
    async fn follow(&mut self, db: &Db, enough: impl Fn(&Follower) -> bool) -> Result<(), tokio_postgres::Error> {
        self.open.clear();
        let stream = db.client().copy_out(&self.statement()).await?;
        let mut stream = std::pin::pin!(stream);
        while let Some(bytes) = stream.next().await {
            for line in String::from_utf8(bytes?.to_vec()).unwrap().lines() {
                self.take(line);
            }
            if enough(self) {
                break;
            }
        }
        Ok(())
    }

    /// Its rows as `SELECT` would give them.
    fn contents(&self) -> Vec<Vec<String>> {
        self.rows.keys().map(|row| row.split('\t').map(str::to_string).collect()).collect()
    }
}

const VIEW: &str = "CREATE TABLE t (id INT PRIMARY KEY, k INT, v INT);
    CREATE MATERIALIZED VIEW s AS SELECT k, count(*) AS n, sum(v) AS v FROM t GROUP BY k";

async fn write(db: &Db, from: i32, to: i32) {
    for id in from..to {
        db.run(&format!("INSERT INTO t VALUES ({id}, {}, {id})", id % 5)).await;
    }
}

#[test]
fn a_subscriber_resumes_across_disconnects() {
    block_on(async {
        let server = Server::start(&["--workers", "2"]);
        let writer = server.connect().await;
        writer.run(VIEW).await;
        let mut follower = Follower::default();
        let rounds = if full() { 40 } else { 10 };
        for round in 0..rounds {
            let writing = write(&writer, round * 10, round * 10 + 10);
            let db = server.connect().await;
            // In the midst of it, wherever that is, the connection goes.
            let before = follower.changes;
            let following = follower.follow(&db, |follower| follower.changes > before);
            let ((), followed) = tokio::join!(writing, following);
            followed.unwrap_or_else(|error| panic!("{}", describe(&error)));
        }
        let expected = writer.rows("SELECT k, n, v FROM s ORDER BY k").await;
        let db = server.connect().await;
        follower.follow(&db, |follower| follower.contents() == expected).await.unwrap();
    });
}

/// A server that is killed in each round, behind changes that the subscriber has not seen. How often it could resume.
async fn resumed_through_kills(checkpoint_interval: &str, rounds: i32) -> i32 {
    let mut server = Server::start(&["--workers", "2", "--checkpoint-interval", checkpoint_interval]);
    server.connect().await.run(VIEW).await;
    let (mut follower, mut resumed) = (Follower::default(), 0);
    for round in 0..=rounds {
        let writer = server.connect().await;
        write(&writer, round * 10, round * 10 + 7).await;
        let target = writer.rows("SELECT k, n, v FROM s ORDER BY k").await;
        resumed += i32::from(followed(&mut follower, &server.connect().await, &target).await && round > 0);
        if round < rounds {
            write(&writer, round * 10 + 7, round * 10 + 10).await;
            server.kill();
            server.restart(None);
        }
    }
    resumed
}

#[test]
fn a_subscriber_resumes_after_kill_9_or_is_told_to_begin_anew() {
    let rounds = if full() { 10 } else { 3 };
    // No checkpoint holds the view: it is filled anew, and what it showed before is not known.
    assert_eq!(block_on(resumed_through_kills("1h", rounds)), 0);
    // A checkpoint may have been taken between what the subscriber saw and the kill, seldom in all rounds.
    let resumed = block_on(resumed_through_kills("100ms", 4 * rounds));
    assert!(resumed > 0, "in {} rounds the subscriber never resumed", 4 * rounds);
}

/// Follows until the rows are `target`; whether it could resume. Where the history does not reach back any more, that is
/// said, and it begins anew.
async fn followed(follower: &mut Follower, db: &Db, target: &[Vec<String>]) -> bool {
    let Err(error) = follower.follow(db, |follower| follower.contents() == target).await else { return true };
    let said = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(said.code(), &SqlState::CONFIGURATION_LIMIT_EXCEEDED, "{}", describe(&error));
    assert!(said.hint().is_some_and(|hint| !hint.is_empty()), "{}", describe(&error));
    *follower = Follower::default();
    follower.follow(db, |follower| follower.contents() == target).await.unwrap();
    false
}

/// Resident memory of the server in kB.
fn resident_kb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn idle_connections_block_nobody() {
    block_on(async {
        let count = if full() { 500 } else { 100 };
        let server = Server::start(&["--workers", "1", "--connections-max", "600"]);
        let before = resident_kb(&server);
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(server.connect().await);
        }
        let grown = resident_kb(&server).saturating_sub(before);
        assert!(grown < 100_000, "{count} idle connections take {grown} kB");
        let since = Instant::now();
        server.connect().await.run("SELECT 1").await;
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        for db in &idle {
            db.run("SELECT 1").await;
        }
    });
}

/// A connection that speaks bytes: to stop reading where no driver would.
fn raw(server: &Server, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let mut hello = Vec::from(196_608i32.to_be_bytes());
    hello.extend(b"user\0millstream\0database\0millstream\0\0");
    stream.write_all(&(hello.len() as i32 + 4).to_be_bytes()).unwrap();
    stream.write_all(&hello).unwrap();
    let mut query = Vec::from(query.as_bytes());
    query.push(0);
    stream.write_all(b"Q").unwrap();
    stream.write_all(&(query.len() as i32 + 4).to_be_bytes()).unwrap();
    stream.write_all(&query).unwrap();
    stream
}

#[test]
fn a_subscriber_that_is_gone_is_found_out() {
    block_on(async {
        let server = Server::start(&["--workers", "1", "--heartbeat-interval", "50ms"]);
        let db = server.connect().await;
        db.run(VIEW).await;
        let subscribers =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (SUBSCRIBE%' AND state = 'active'";
        let streams: Vec<TcpStream> = (0..5).map(|_| raw(&server, "COPY (SUBSCRIBE TO s) TO STDOUT")).collect();
        wait_for(&db, subscribers, "5").await;
        drop(streams);
        wait_for(&db, subscribers, "0").await;
    });
}

#[test]
fn sessions_tell_what_they_do() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        let (db, other) = (server.connect().await, server.connect().await);
        db.run(VIEW).await;
        let process = other.value("SELECT pg_backend_pid()").await;
        let state = format!("SELECT state FROM pg_stat_activity WHERE pid = {process}");
        assert_eq!(db.value(&state).await, "idle");
        other.run("BEGIN").await;
        wait_for(&db, &state, "idle in transaction").await;
        other.try_rows("SELECT nothing").await.unwrap_err();
        wait_for(&db, &state, "idle in transaction (aborted)").await;
        other.run("ROLLBACK").await;
        wait_for(&db, &state, "idle").await;
        let cancel = other.client().cancel_token();
        let following = other.try_rows("SUBSCRIBE TO s");
        let watching = async {
            wait_for(&db, &state, "active").await;
            cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
            wait_for(&db, &state, "idle").await;
        };
        assert!(tokio::join!(following, watching).0.is_err(), "it was cancelled");
    });
}

async fn wait_for(db: &Db, query: &str, expected: &str) {
    let since = Instant::now();
    loop {
        let found = db.value(query).await;
        if found == expected {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "{found} instead of {expected}: {query}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_slow_subscriber_is_bounded_and_told() {
    block_on(async {
        let server = Server::start(&["--workers", "1", "--view-history-bytes", "64kB"]);
        let db = server.connect().await;
        db.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR); CREATE MATERIALIZED VIEW s AS SELECT id, v FROM t")
            .await;
        db.run("INSERT INTO t SELECT i, repeat('x', 2000) FROM generate_series(1, 500) AS g(i)").await;
        let mut slow = raw(&server, "COPY (SUBSCRIBE TO s) TO STDOUT");
        // It reads nothing; others go on, and nothing is kept for it beyond what the view keeps.
        for round in 0..(if full() { 200 } else { 60 }) {
            db.run(&format!("UPDATE t SET v = repeat('{}', 2000)", round % 10)).await;
        }
        slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (mut read, mut text) = (vec![0; 1 << 16], Vec::new());
        let since = Instant::now();
        while !String::from_utf8_lossy(&text[text.len().saturating_sub(4_000)..]).contains("53400") {
            assert!(since.elapsed() < Duration::from_secs(60), "the slow subscriber was not told");
            let count = slow.read(&mut read).unwrap();
            assert!(count > 0, "the slow subscriber was not told before the end");
            text.extend(&read[..count]);
        }
    });
}
