//! Transfers between 100 accounts: whatever is read, and whenever, credits and debits add up to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;

use crate::harness::{Db, Server, block_on, describe, full};

const SETUP: &str = "
    CREATE TABLE transfers (id BIGINT, debit INT, credit INT, amount BIGINT);
    CREATE MATERIALIZED VIEW credits AS SELECT credit AS account, sum(amount) AS total FROM transfers GROUP BY credit;
    CREATE MATERIALIZED VIEW debits AS SELECT debit AS account, sum(amount) AS total FROM transfers GROUP BY debit;
    CREATE MATERIALIZED VIEW balances AS
      SELECT c.account AS account, c.total - d.total AS balance FROM credits c JOIN debits d ON c.account = d.account;";

/// Every account pays and is paid once, so that the inner join has them all from the first epoch on.
fn first_round() -> String {
    let rows: Vec<String> = (0..100).map(|i| format!("({}, {i}, {}, 10)", -1 - i, (i + 1) % 100)).collect();
    format!("INSERT INTO transfers VALUES {}", rows.join(", "))
}

struct Load {
    address: RwLock<std::net::SocketAddr>,
    stop: AtomicBool,
    transfers: AtomicU64,
    reads: AtomicU64,
}

/// Sends transfers until told to stop; a lost connection is opened again. Returns how many were acknowledged.
async fn client(load: Arc<Load>, number: u64) -> u64 {
    let mut acknowledged = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let address = *load.address.read().await;
        let Ok(db) = Db::connect(address).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        while !load.stop.load(Ordering::Relaxed) {
            let id = load.transfers.fetch_add(1, Ordering::Relaxed);
            let (debit, credit) = ((id * 7 + number) % 100, (id * 13 + number * 3 + 1) % 100);
            let amount = id % 97 + 1;
            let sql = format!("INSERT INTO transfers VALUES ({id}, {debit}, {credit}, {amount})");
            match db.try_rows(&sql).await {
                Ok(_) => acknowledged += 1,
                Err(error) if error.as_db_error().is_none_or(|e| e.code().code().starts_with("57")) => break,
                Err(error) => panic!("{sql}: {}", describe(&error)),
            }
        }
    }
    acknowledged
}

/// Reads the total until told to stop: it is 0 every time, and all accounts are there.
async fn reader(load: Arc<Load>) {
    while !load.stop.load(Ordering::Relaxed) {
        let address = *load.address.read().await;
        let Ok(db) = Db::connect(address).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        while !load.stop.load(Ordering::Relaxed) {
            match db.try_rows("SELECT sum(balance), count(*) FROM balances").await {
                Ok(rows) => assert_eq!(rows, [["0", "100"]]),
                Err(error) if error.as_db_error().is_none_or(|e| e.code().code().starts_with("57")) => break,
                Err(error) => panic!("read: {}", describe(&error)),
            }
            let both = "SELECT (SELECT sum(total) FROM credits) - (SELECT sum(total) FROM debits)";
            match db.try_rows(both).await {
                Ok(rows) => assert_eq!(rows, [["0"]]),
                Err(error) if error.as_db_error().is_none_or(|e| e.code().code().starts_with("57")) => break,
                Err(error) => panic!("read: {}", describe(&error)),
            }
            load.reads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn every_read_adds_up_to_nothing() {
    let (seconds, kills) = if full() { (60, 5) } else { (8, 2) };
    let mut server = Server::start(&["--workers", "4", "--checkpoint-interval", "1s"]);
    block_on(async {
        let db = server.connect().await;
        db.run(SETUP).await;
        db.run(&first_round()).await;
        db.run("WAIT FOR balances").await;
        drop(db);
        let load = Arc::new(Load {
            address: RwLock::new(server.address()),
            stop: AtomicBool::new(false),
            transfers: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        });
        let clients: Vec<_> = (0..8).map(|number| tokio::spawn(client(Arc::clone(&load), number))).collect();
        let readers: Vec<_> = (0..2).map(|_| tokio::spawn(reader(Arc::clone(&load)))).collect();
        let since = Instant::now();
        for kill in 1..=kills {
            tokio::time::sleep(Duration::from_secs(seconds) * kill / (kills + 1) - since.elapsed()).await;
            let mut address = load.address.write().await;
            server.kill();
            server.restart(None);
            *address = server.address();
        }
        tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(since.elapsed())).await;
        load.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = 0;
        for client in clients {
            acknowledged += client.await.unwrap();
        }
        for reader in readers {
            reader.await.unwrap();
        }
        let db = server.connect().await;
        let held: u64 = db.value("SELECT count(*) FROM transfers WHERE id >= 0").await.parse().unwrap();
        let twice = db.value("SELECT count(*) FROM (SELECT id FROM transfers GROUP BY id HAVING count(*) > 1) t").await;
        assert_eq!(twice, "0", "a transfer was repeated");
        assert!(held >= acknowledged, "{acknowledged} transfers were acknowledged, {held} are there");
        assert!(acknowledged > 100, "only {acknowledged} transfers in {seconds} s");
        let reads = load.reads.load(Ordering::Relaxed);
        println!("constant sum: {acknowledged} transfers, {reads} reads, {kills} kills in {seconds} s");
    });
}
