//! Epochs that end by statements alone, beside checkpoints that come by the clock.

use std::time::Duration;

use crate::harness::{Server, block_on};

#[test]
fn a_view_of_proctime_is_made_while_a_checkpoint_is_due() {
    let server = Server::start(&["--workers", "1", "--checkpoint-interval", "20ms"]);
    block_on(async {
        let db = server.connect().await;
        db.run("SET epoch = 'manual'; CREATE TABLE t (a INT)").await;
        for name in ["first", "second", "third"] {
            db.run("INSERT INTO t VALUES (1)").await;
            // The checkpoint that is due by now goes with the epoch of CREATE, which cannot hold the view.
            tokio::time::sleep(Duration::from_millis(60)).await;
            let create = format!("CREATE MATERIALIZED VIEW {name} AS SELECT a, PROCTIME() AS at FROM t");
            let made = tokio::time::timeout(Duration::from_secs(30), db.try_rows(&create)).await;
            made.expect("CREATE is answered").unwrap();
        }
    });
}

#[test]
fn waiting_for_a_sink_that_keeps_nothing_takes_no_checkpoint() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&["--workers", "1", "--checkpoint-interval", "1h"]);
        let db = server.connect().await;
        db.run("CREATE TABLE t (i INT PRIMARY KEY); CREATE SINK nothing FROM t WITH (connector = 'blackhole')").await;
        let path = folder.path().join("out");
        let sink = "WITH (connector = 'file', path = '{}', changelog = true) FORMAT PLAIN ENCODE JSON";
        db.run(&format!("CREATE SINK something FROM t {}", sink.replace("{}", path.to_str().unwrap()))).await;
        db.run("INSERT INTO t VALUES (1); WAIT FOR something").await;
        let checkpoints = "SELECT count(*) FROM ms_checkpoints";
        let before: i64 = db.value(checkpoints).await.parse().unwrap();
        db.run("INSERT INTO t VALUES (2); WAIT FOR nothing").await;
        assert_eq!(db.value(checkpoints).await, before.to_string());
        db.run("WAIT FOR something").await;
        assert_eq!(db.value(checkpoints).await, (before + 1).to_string());
    });
}

#[test]
fn a_view_slower_than_the_view_it_reads_catches_up() {
    block_on(async {
        let arguments = ["--workers", "2", "--follow-bytes-max", "20kB", "--epoch-rows", "5000"];
        let mut server = Server::start(&arguments);
        let db = server.connect().await;
        db.run("CREATE SOURCE bid WITH (connector = 'nexmark', table = 'bid', events = 400000)").await;
        db.run("CREATE MATERIALIZED VIEW quick AS SELECT auction % 50 AS part, bidder, price, date_time FROM bid")
            .await;
        let slow =
            "SELECT part, price, rank() OVER (PARTITION BY part ORDER BY price, bidder, date_time) AS place FROM quick";
        db.run(&format!("CREATE MATERIALIZED VIEW slow AS {slow}")).await;
        let summary = |of: &str| format!("SELECT count(*), sum(price), sum(place * (part + 1)) FROM {of}");
        db.run("WAIT FOR quick").await;
        drop(db);
        server.kill();
        server.restart(None);
        let db = server.connect().await;
        db.run("SET read_timeout = '5min'; WAIT FOR slow").await;
        assert_eq!(db.rows(&summary("slow")).await, db.rows(&summary(&format!("({slow}) AS batch"))).await);
    });
}
