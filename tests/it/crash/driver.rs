//! The driver: changes tables, lengthens the followed file, creates and drops a view, and reads, until the server is gone.

use std::io::Write;
use std::time::Duration;

use millstream::base::random::{Random, fresh_seed};

use super::Place;
use super::journal::{Ending, Journal};
use super::verifier::{Accounts, apply};
use crate::harness::{Db, describe};

/// What the server answered: `None` when it is gone.
async fn answer(db: &Db, sql: &str) -> Option<Vec<Vec<String>>> {
    match db.try_rows(sql).await {
        Ok(rows) => Some(rows),
        // 57...: it is going down. Anything else that it says is a failure of the test.
        Err(error) if error.as_db_error().is_none_or(|error| error.code().code().starts_with("57")) => None,
        Err(error) => panic!("{sql}\n{}", describe(&error)),
    }
}

/// All clients at once; ends when the server does.
pub async fn drive(place: &Place) {
    let Some(address) = place.address() else { return };
    let mut clients = Vec::new();
    for _ in 0..5 {
        // Killed before we could connect: nothing was begun.
        let Ok(db) = Db::connect(address).await else { return };
        clients.push(db);
    }
    let [left, right, counter, ddl, reader] = clients.try_into().unwrap_or_else(|_| unreachable!("five were made"));
    tokio::select! {
        () = events(place) => unreachable!("the file can always be lengthened"),
        ((), (), (), (), ()) = async {
            tokio::join!(
                accounts(place, &left, "left", 0),
                accounts(place, &right, "right", 1),
                count(place, &counter),
                create_and_drop(place, &ddl),
                read(place, &reader),
            )
        } => {}
    }
}

/// Changes accounts whose number is `parity` modulo 2.
async fn accounts(place: &Place, db: &Db, name: &str, parity: i64) {
    let mut journal = Journal::open(place.journal(name));
    let mut accounts = Accounts::new();
    for entry in journal.entries() {
        if entry.ending == Ending::Acknowledged {
            apply(&mut accounts, &entry);
        }
    }
    let mut random = Random::new(fresh_seed());
    loop {
        let mut id = || 2 * random.below(50) as i64 + parity;
        let (a, b) = (id(), id());
        let value = random.between(0, 30);
        let what = match random.below(5) {
            0 if accounts.contains_key(&a) => format!("delete {a}"),
            1 if accounts.contains_key(&a) && accounts.contains_key(&b) && a != b => format!("move {a} {b} {value}"),
            2 => format!("bump {}", random.below(30)),
            _ if accounts.contains_key(&a) => format!("update {a} {value}"),
            _ => format!("insert {a} {value}"),
        };
        let number = journal.attempt(&what);
        let words: Vec<&str> = what.split(' ').collect();
        let sql = match words.as_slice() {
            ["delete", id] => format!("DELETE FROM accounts WHERE id = {id}"),
            ["move", a, b, value] => format!(
                "BEGIN; UPDATE accounts SET v = v - {value}, version = {number} WHERE id = {a};
                 UPDATE accounts SET v = v + {value}, version = {number} WHERE id = {b}; COMMIT"
            ),
            ["bump", below] => {
                format!("UPDATE accounts SET v = v + 1, version = {number} WHERE id % 2 = {parity} AND v < {below}")
            }
            ["update", id, value] => format!("UPDATE accounts SET v = {value}, version = {number} WHERE id = {id}"),
            ["insert", id, value] => format!("INSERT INTO accounts VALUES ({id}, {value}, {number})"),
            _ => unreachable!("made above"),
        };
        if answer(db, &sql).await.is_none() {
            return;
        }
        journal.acknowledged(number);
        let entry = journal_entry(number, &words);
        apply(&mut accounts, &entry);
    }
}

fn journal_entry(number: u64, words: &[&str]) -> super::journal::Entry {
    let words = words.iter().map(ToString::to_string).collect();
    super::journal::Entry { number, words, ending: Ending::Acknowledged }
}

/// Adds one to the counter, again and again.
async fn count(place: &Place, db: &Db) {
    let mut journal = Journal::open(place.journal("counter"));
    loop {
        let number = journal.attempt("add");
        if answer(db, "UPDATE counter SET n = n + 1").await.is_none() {
            return;
        }
        journal.acknowledged(number);
    }
}

/// Creates a view, reads it, drops it.
async fn create_and_drop(place: &Place, db: &Db) {
    let mut journal = Journal::open(place.journal("ddl"));
    loop {
        for (what, sql) in [
            ("create", "CREATE MATERIALIZED VIEW extra AS SELECT id, v + 1 AS w FROM accounts WHERE v > 3"),
            ("read", "SELECT count(*) FROM extra"),
            ("drop", "DROP MATERIALIZED VIEW extra"),
        ] {
            let number = journal.attempt(what);
            if answer(db, sql).await.is_none() {
                return;
            }
            journal.acknowledged(number);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Reads what can only grow, and what must always add up.
async fn read(place: &Place, db: &Db) {
    let mut journal = Journal::open(place.journal("reader"));
    let (mut counted, mut seen) = (journal.last_shown("counted"), journal.last_shown("seen"));
    loop {
        for (what, sql, last) in
            [("counted", "SELECT n FROM counted", &mut counted), ("seen", "SELECT n FROM seen", &mut seen)]
        {
            let Some(rows) = answer(db, sql).await else { return };
            let value: i64 = rows[0][0].parse().unwrap();
            assert!(value >= *last, "{what} went back from {last} to {value}");
            *last = value;
            journal.shown(what, value);
        }
        let sql = "SELECT (SELECT count(*) FROM accounts) - (SELECT coalesce(sum(n), 0) FROM totals)";
        let Some(rows) = answer(db, sql).await else { return };
        assert_eq!(rows, [["0"]], "table and view were read at different epochs");
    }
}

/// Lengthens the followed file: mostly in order, some late, some that cannot be decoded.
async fn events(place: &Place) {
    let mut random = Random::new(fresh_seed());
    let text = std::fs::read_to_string(place.events()).unwrap();
    let mut seq = text.lines().count() as i64;
    let mut file = std::fs::File::options().append(true).open(place.events()).unwrap();
    loop {
        let mut lines = String::new();
        for _ in 0..1 + random.below(40) {
            seq += 1;
            if random.one_in(50) {
                lines.push_str(&format!("{{\"seq\": {seq}, \"k\": \"broken\n"));
                continue;
            }
            // A second of event time for ten lines; one line in eight comes up to half a minute too late.
            let late = if random.one_in(8) { random.below(30) as i64 } else { 0 };
            let second = (seq / 10 - late).max(0);
            let (k, amount) = (random.below(20), random.between(-50, 50));
            let ts = format!(
                "2024-05-{:02}T{:02}:{:02}:{:02}",
                1 + second / 86_400,
                second / 3_600 % 24,
                second / 60 % 60,
                second % 60
            );
            lines.push_str(&format!("{{\"seq\": {seq}, \"k\": {k}, \"amount\": {amount}, \"ts\": \"{ts}\"}}\n"));
        }
        file.write_all(lines.as_bytes()).unwrap();
        tokio::time::sleep(Duration::from_millis(random.below(40))).await;
    }
}
