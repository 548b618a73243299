//! SUBSCRIBE for programs: a subscriber that disconnects, or whose server is killed, goes on behind the last epoch it had seen whole,
//! and has every change exactly once.

use std::collections::BTreeMap;
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
