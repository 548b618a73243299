//! Statements that end before their time, in every phase: cancelled by their client or by `statement_timeout`, they end at once, and the
//! connection goes on. And what one client does, others do not feel: heavy queries, readers that read nothing.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, Error, NoTls};

use crate::harness::{Db, Server, block_on};

/// A cancelled statement has ended after this long.
const AT_ONCE: Duration = Duration::from_secs(1);

const SETUP: &str = "CREATE TABLE n (i INT PRIMARY KEY);
    INSERT INTO n SELECT i FROM generate_series(1, 3000) AS g(i);
    CREATE TABLE copied (i INT PRIMARY KEY);
    CREATE MATERIALIZED VIEW s AS SELECT i % 7 AS k, count(*) AS c FROM n GROUP BY i % 7";

/// Takes a long time on any machine: 27,000,000,000 rows.
const HEAVY: &str = "SELECT count(*) FROM n a, n b, n c WHERE (a.i + b.i * c.i) % 7 = 3";

/// As long, and no row comes of it on the way.
const UNMATCHED: &str = "SELECT count(*) FROM (SELECT a.i + b.i AS i FROM n a, n b) x JOIN n c ON x.i * c.i = -1";

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// A phase of a statement: what is done before it, and what has to be ended.
struct Phase {
    name: &'static str,
    before: &'static str,
    run: for<'a> fn(&'a Client) -> Running<'a>,
}

fn phase(name: &'static str, before: &'static str, run: for<'a> fn(&'a Client) -> Running<'a>) -> Phase {
    Phase { name, before, run }
}

async fn simple(client: &Client, sql: &str) -> Result<(), Error> {
    client.simple_query(sql).await.map(drop)
}

async fn copy_out(client: &Client, sql: &str) -> Result<(), Error> {
    let rows = client.copy_out(sql).await?;
    rows.try_for_each(|_| async { Ok(()) }).await
}

fn phases() -> Vec<Phase> {
    vec![
        phase("execute", "", |client| Box::pin(simple(client, HEAVY))),
        phase("execute, extended", "", |client| Box::pin(async { client.query(HEAVY, &[]).await.map(drop) })),
        phase("a join without a match", "", |client| Box::pin(simple(client, UNMATCHED))),
        phase("rows", "", |client| Box::pin(simple(client, "SELECT a.i FROM n a, n b, n c"))),
        phase("sort", "", |client| {
            Box::pin(simple(client, "SELECT a.i FROM n a, n b WHERE a.i * b.i % 1009 = 3 ORDER BY b.i % 17, a.i * b.i"))
        }),
        phase("a recursive query", "", |client| {
            let sql = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT (i + 1) % 1000 FROM r) SELECT count(*) FROM r";
            Box::pin(simple(client, sql))
        }),
        phase("insert", "", |client| {
            Box::pin(simple(client, "INSERT INTO copied SELECT a.i * b.i * c.i FROM n a, n b, n c"))
        }),
        phase("copy in", "", |client| {
            Box::pin(async {
                let mut sink = std::pin::pin!(client.copy_in("COPY copied FROM STDIN").await?);
                // This driver looks for an answer only at the end.
                for _ in 0..60 {
                    sink.send(bytes::Bytes::from_static(b"1\n")).await?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                sink.finish().await.map(drop)
            })
        }),
        phase("copy out", "", |client| {
            Box::pin(copy_out(client, "COPY (SELECT a.i FROM n a, n b, n c) TO STDOUT (FORMAT binary)"))
        }),
        phase("subscribe", "", |client| Box::pin(simple(client, "SUBSCRIBE TO s"))),
        phase("copy of a subscription", "", |client| {
            Box::pin(copy_out(client, "COPY (SUBSCRIBE TO s WITH (snapshot = false)) TO STDOUT"))
        }),
        phase("declare and fetch", "BEGIN", |client| {
            Box::pin(async {
                simple(client, &format!("DECLARE c CURSOR FOR {HEAVY}")).await?;
                simple(client, "FETCH 1 FROM c").await
            })
        }),
        phase("fetch all", "BEGIN; DECLARE c CURSOR FOR SELECT a.i FROM n a, n b, n c", |client| {
            Box::pin(simple(client, "MOVE ALL FROM c"))
        }),
        phase(
            "fetch of a subscription",
            "BEGIN; DECLARE c CURSOR FOR SUBSCRIBE TO s WITH (snapshot = false)",
            |client| Box::pin(simple(client, "FETCH 1 FROM c")),
        ),
        phase("prepared", PREPARED, |client| Box::pin(simple(client, "EXECUTE heavy(3)"))),
    ]
}

const PREPARED: &str = "PREPARE heavy(int) AS SELECT count(*) FROM n a, n b, n c WHERE (a.i + b.i * c.i) % 7 = $1";

/// How long after `ended` began the statement of `phase` had ended, with 57014 and `message`.
async fn ends(db: &Db, phase: &Phase, message: &str, ended: impl Future<Output = Instant>) -> Duration {
    if !phase.before.is_empty() {
        db.run(phase.before).await;
    }
    let (ended, outcome) = tokio::join!(ended, (phase.run)(db.client()));
    let took = ended.elapsed();
    let error = outcome.expect_err(phase.name);
    let told = error.as_db_error().unwrap_or_else(|| panic!("{}: {error}", phase.name));
    assert_eq!(told.code().code(), "57014", "{}: {}", phase.name, told.message());
    assert!(told.message().contains(message), "{}: {}", phase.name, told.message());
    // The connection goes on, and what was cancelled has had no effect.
    db.run("ROLLBACK; SET statement_timeout = 0; DEALLOCATE ALL").await;
    assert_eq!(db.value("SELECT count(*) FROM copied").await, "0", "{}", phase.name);
    took
}

#[test]
fn every_phase_is_cancelled_at_once() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        server.connect().await.run(SETUP).await;
        for phase in phases() {
            let mut best = Duration::MAX;
            // Other tests share the machine: one of three attempts has to be quick.
            for _ in 0..3 {
                let db = server.connect().await;
                let cancel = db.client().cancel_token();
                let cancelling = async {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    let begun = Instant::now();
                    cancel.cancel_query(NoTls).await.unwrap();
                    begun
                };
                best = best.min(ends(&db, &phase, "user request", cancelling).await);
                if best < AT_ONCE {
                    break;
                }
            }
            println!("{}: {best:?}", phase.name);
            assert!(best < AT_ONCE, "{}: {best:?}", phase.name);
        }
    });
}

#[test]
fn every_phase_has_a_timeout() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        server.connect().await.run(SETUP).await;
        for phase in phases() {
            let mut best = Duration::MAX;
            for _ in 0..3 {
                let db = server.connect().await;
                let limited = async {
                    let begun = Instant::now();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    begun
                };
                db.run("SET statement_timeout = '100ms'").await;
                best = best.min(ends(&db, &phase, "statement timeout", limited).await);
                if best < AT_ONCE {
                    break;
                }
            }
            assert!(best < AT_ONCE, "{}: {best:?}", phase.name);
        }
    });
}

/// What is planned, not run: a long statement takes a moment, and a cancel during it is not lost on the next one.
#[test]
fn parse_and_bind_are_over_at_once() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        let db = server.connect().await;
        db.run(SETUP).await;
        let branches = vec!["SELECT a.i + b.i FROM n a JOIN n b ON a.i = b.i + 1 WHERE a.i > 3"; 200];
        for sql in [format!("SELECT {}", vec!["1"; 5_000].join(" + ")), branches.join(" UNION ALL ")] {
            let mut best = Duration::MAX;
            for _ in 0..3 {
                let cancel = db.client().cancel_token();
                let cancelling = async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let begun = Instant::now();
                    cancel.cancel_query(NoTls).await.unwrap();
                    begun
                };
                let (begun, prepared) = tokio::join!(cancelling, db.client().prepare(&sql));
                best = best.min(begun.elapsed());
                if let Err(error) = prepared {
                    let code = error.code().map(|code| code.code().to_string());
                    assert!(matches!(code.as_deref(), Some("57014" | "54001")), "{error}: {code:?}");
                }
            }
            assert!(best < AT_ONCE, "{}: {best:?}", &sql[..40]);
            // The driver does not wait until the server has read its request.
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(db.value("SELECT 1").await, "1");
        }
    });
}

#[test]
fn heavy_queries_and_slow_readers_block_nobody() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        let db = server.connect().await;
        db.run(SETUP).await;
        let busy = [server.connect().await, server.connect().await, server.connect().await];
        let cancels: Vec<_> = busy.iter().map(|db| db.client().cancel_token()).collect();
        let heavy = async { tokio::join!(simple(busy[0].client(), HEAVY), simple(busy[1].client(), HEAVY)) };
        // It has the first rows and reads no more.
        let slow = busy[2].client().copy_out("COPY (SELECT a.i FROM n a, n b, n c) TO STDOUT").await.unwrap();
        let others = async {
            let mut best = Duration::MAX;
            for i in 0..5 {
                let begun = Instant::now();
                let other = server.connect().await;
                other.run(&format!("INSERT INTO n VALUES ({})", 10_000 + i)).await;
                assert_eq!(other.value("SELECT sum(c) FROM s").await, (3_001 + i).to_string());
                best = best.min(begun.elapsed());
            }
            for cancel in cancels {
                cancel.cancel_query(NoTls).await.unwrap();
            }
            best
        };
        let (ran, best) = tokio::join!(heavy, others);
        assert!(ran.0.is_err() && ran.1.is_err(), "they ran until they were cancelled");
        assert!(best < Duration::from_secs(2), "others wait {best:?}");
        drop(slow);
    });
}
