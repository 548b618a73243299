//! Nexmark q0 to q23 and q101 to q107 as views over the `nexmark` source, and over tables with inserts, updates and
//! deletes, each equal to the batch.

use crate::harness::{Db, Server, block_on, full};
use crate::suite;

/// Rows that q13 looks up.
const SIDE_INPUT: &str = "CREATE TABLE side_input (key BIGINT PRIMARY KEY, value VARCHAR);
    INSERT INTO side_input SELECT n, 'value ' || n FROM generate_series(0, 99) AS g(n);";

fn events() -> u32 {
    if full() { 50_000 } else { 4_000 }
}

async fn sources(db: &Db, schema: &str) {
    db.run(&format!("CREATE SCHEMA {schema}")).await;
    for table in ["person", "auction", "bid"] {
        let events = events();
        db.run(&format!(
            "CREATE SOURCE {schema}.{table} (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds') \
             WITH (connector = 'nexmark', table = '{table}', events = {events})"
        ))
        .await;
    }
}

#[test]
fn over_the_source() {
    block_on(async {
        let server = Server::start(&["--workers", "2"]);
        let db = server.connect().await;
        db.run(SIDE_INPUT).await;
        sources(&db, "events").await;
        db.run("SET search_path = events, public").await;
        let mut wrong = Vec::new();
        let made = suite::create(&db, &suite::queries("nexmark"), &mut wrong).await;
        for query in &made {
            db.run(&format!("WAIT FOR {}", query.name)).await;
        }
        suite::compare(&db, &made, "over the source", &mut wrong).await;
        suite::verdict(&wrong);
    });
}

/// What a batch of changes does to the tables.
const CHANGES: [&str; 9] = [
    "INSERT INTO person SELECT * FROM events.person",
    "INSERT INTO auction SELECT * FROM events.auction WHERE id % 4 <> 0",
    "INSERT INTO bid SELECT * FROM events.bid WHERE auction % 3 <> 0",
    "UPDATE bid SET price = price * 2 WHERE bidder % 5 = 0",
    "DELETE FROM bid WHERE auction % 7 = 0",
    "UPDATE auction SET category = 10, expires = date_time + INTERVAL '100 milliseconds' WHERE id % 9 = 0",
    "INSERT INTO bid SELECT * FROM events.bid WHERE auction % 3 = 0; INSERT INTO auction SELECT * FROM events.auction WHERE id % 4 = 0",
    "DELETE FROM auction WHERE id % 5 = 0; UPDATE person SET state = 'or', city = upper(city) WHERE id % 3 = 0",
    "UPDATE bid SET date_time = date_time + INTERVAL '50 milliseconds', channel = 'apple' WHERE bidder % 4 = 1; DELETE FROM person WHERE id % 6 = 0",
];

#[test]
fn over_tables() {
    block_on(async {
        let server = Server::start(&["--workers", "2"]);
        let db = server.connect().await;
        db.run(SIDE_INPUT).await;
        sources(&db, "events").await;
        db.run(
            "CREATE TABLE person (id BIGINT PRIMARY KEY, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR,
                 state VARCHAR, date_time TIMESTAMP, extra VARCHAR);
             CREATE TABLE auction (id BIGINT PRIMARY KEY, item_name VARCHAR, description VARCHAR, initial_bid BIGINT,
                 reserve BIGINT, date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR);
             CREATE TABLE bid (auction BIGINT NOT NULL, bidder BIGINT NOT NULL, price BIGINT, channel VARCHAR, url VARCHAR,
                 date_time TIMESTAMP, extra VARCHAR)",
        )
        .await;
        let mut wrong = Vec::new();
        let made = suite::create(&db, &suite::queries("nexmark"), &mut wrong).await;
        for change in CHANGES {
            for statement in change.split(';') {
                db.run(statement).await;
            }
            db.run("FLUSH").await;
            suite::compare(&db, &made, &format!("after {change}"), &mut wrong).await;
        }
        suite::verdict(&wrong);
    });
}
