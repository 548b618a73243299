//! Limits of what clients may ask: each is refused with the setting's name and a way out, and the connection (or the next one) goes on.

use futures::SinkExt;
use tokio_postgres::Error;

use crate::harness::{Db, Server, block_on};

/// What is told of an error: its code, and all its text.
fn told(error: &Error) -> (String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
    let text = [Some(error.message()), error.detail(), error.hint()];
    (error.code().code().to_string(), text.into_iter().flatten().collect::<Vec<_>>().join(" / "))
}

/// An error of `code` that names `setting` and has a hint.
fn check(error: &Error, code: &str, setting: &str) {
    let (found, text) = told(error);
    assert_eq!(found, code, "{text}");
    assert!(text.contains(setting), "{text}");
    assert!(error.as_db_error().is_some_and(|error| error.hint().is_some()), "{text}");
}

#[test]
fn connections_are_limited() {
    block_on(async {
        let server = Server::start(&["--workers", "1", "--connections-max", "3"]);
        let connections = [server.connect().await, server.connect().await, server.connect().await];
        check(&Db::connect(server.address()).await.err().unwrap(), "53300", "connections_max");
        connections[0].run("SELECT 1").await;
        // A place is free as soon as one has gone.
        drop(connections);
        let since = std::time::Instant::now();
        while Db::connect(server.address()).await.is_err() {
            assert!(since.elapsed() < crate::harness::PATIENCE, "the place of a client that left is not free");
        }
    });
}

#[test]
fn messages_are_limited() {
    block_on(async {
        let server = Server::start(&["--workers", "1", "--statement-bytes-max", "100kB"]);
        let db = server.connect().await;
        db.run(&format!("SELECT '{}'", "x".repeat(90_000))).await;
        check(
            &db.try_rows(&format!("SELECT '{}'", "x".repeat(200_000))).await.unwrap_err(),
            "54000",
            "statement_bytes_max",
        );
        // Where the next message begins is not known: the connection ends, others do not.
        assert!(db.try_rows("SELECT 1").await.is_err());
        server.connect().await.run("SELECT 1").await;
    });
}

#[test]
fn prepared_statements_and_cursors_are_limited() {
    block_on(async {
        let server = Server::start(&["--workers", "1", "--prepared-max", "5"]);
        let db = server.connect().await;
        for i in 0..5 {
            db.run(&format!("PREPARE p{i} AS SELECT 1")).await;
        }
        check(&db.try_rows("PREPARE p5 AS SELECT 1").await.unwrap_err(), "53400", "prepared_max");
        check(&db.client().prepare("SELECT 1").await.unwrap_err(), "53400", "prepared_max");
        db.run("DEALLOCATE p0").await;
        db.run("DECLARE c CURSOR WITH HOLD FOR SELECT 1").await;
        check(&db.try_rows("DECLARE d CURSOR WITH HOLD FOR SELECT 1").await.unwrap_err(), "53400", "prepared_max");
        db.run("DEALLOCATE ALL; CLOSE ALL; PREPARE p AS SELECT 1; EXECUTE p").await;
    });
}

#[test]
fn memory_of_results_is_limited() {
    block_on(async {
        let server = Server::start(&["--workers", "1", "--query-memory-limit", "8MB"]);
        let db = server.connect().await;
        db.run("CREATE TABLE t (i INT PRIMARY KEY, v VARCHAR); CREATE TABLE u (i INT, v VARCHAR)").await;
        for part in 0..6 {
            let (from, to) = (part * 2_000 + 1, part * 2_000 + 2_000);
            let rows = format!("SELECT i, repeat('x', 1000) FROM generate_series({from}, {to}) AS g(i)");
            db.run(&format!("INSERT INTO t {rows}")).await;
        }
        // 12 MB: what only passes through is not limited.
        let passed = db.rows("SELECT * FROM t").await;
        assert_eq!(passed.len(), 12_000);
        for sql in [
            "SELECT i, v FROM t ORDER BY v, i DESC",
            "SELECT v || i, count(*) FROM t GROUP BY v || i",
            "SELECT count(*) FROM t a JOIN t b ON a.v || a.i = b.v || b.i",
        ] {
            check(&db.try_rows(sql).await.unwrap_err(), "53000", "query_memory_limit");
            assert_eq!(db.value("SELECT count(*) FROM t").await, "12000", "after {sql}");
        }
        // All rows of a COPY take effect together.
        let mut sink = std::pin::pin!(db.client().copy_in("COPY u FROM STDIN").await.unwrap());
        let line = bytes::Bytes::from(format!("1\t{}\n", "y".repeat(50_000)));
        let mut ended = Ok(());
        for _ in 0..400 {
            ended = sink.send(bytes::Bytes::clone(&line)).await;
            if ended.is_err() {
                break;
            }
        }
        let ended = match ended {
            Ok(()) => sink.finish().await.map(drop),
            Err(error) => Err(error),
        };
        check(&ended.unwrap_err(), "54000", "query_memory_limit");
        assert_eq!(db.value("SELECT count(*) FROM u").await, "0");
    });
}
