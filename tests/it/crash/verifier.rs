//! The verifier: after a restart, everything is as the journals and the events file say.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Place;
use super::journal::{Ending, Entry, Journal};
use crate::harness::{Db, PATIENCE};

/// id → (v, version)
pub type Accounts = BTreeMap<i64, (i64, i64)>;

const SECOND: i64 = 1;
const WINDOW: i64 = 10 * SECOND;

/// Does `entry` to the copy.
pub fn apply(accounts: &mut Accounts, entry: &Entry) {
    let version = entry.number as i64;
    match entry.word(0) {
        "insert" | "update" => drop(accounts.insert(entry.value(1), (entry.value(2), version))),
        "delete" => drop(accounts.remove(&entry.value(1))),
        "move" => {
            for (i, sign) in [(1, -1), (2, 1)] {
                let account = accounts.get_mut(&entry.value(i)).expect("moves are between accounts that are there");
                *account = (account.0 + sign * entry.value(3), version);
            }
        }
        "bump" => {
            for account in accounts.values_mut().filter(|account| account.0 < entry.value(1)) {
                *account = (account.0 + 1, version);
            }
        }
        other => panic!("the journal says {other}"),
    }
}

/// One line of the events file that can be decoded.
struct Event {
    seq: i64,
    k: i64,
    amount: i64,
    /// Seconds.
    ts: i64,
}

/// By k and window start: rows, and the sum of their amounts.
type Windows = BTreeMap<(i64, i64), (i64, i64)>;

struct Events {
    rows: Vec<Event>,
    faults: usize,
}

impl Events {
    fn read(place: &Place) -> Events {
        let mut events = Events { rows: Vec::new(), faults: 0 };
        for line in std::fs::read_to_string(place.events()).unwrap().lines() {
            let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else {
                events.faults += 1;
                continue;
            };
            let number = |name: &str| value[name].as_i64().unwrap();
            let ts = value["ts"].as_str().unwrap();
            let part = |from: usize| ts[from..from + 2].parse::<i64>().unwrap();
            let ts = (part(8) - 1) * 86_400 + part(11) * 3_600 + part(14) * 60 + part(17);
            events.rows.push(Event { seq: number("seq"), k: number("k"), amount: number("amount"), ts });
        }
        events
    }

    /// (k, window start) → (rows, sum), and the late rows' number and sum: the rule of the design, row by row.
    fn windows(&self) -> (Windows, (i64, i64)) {
        let (mut windows, mut late, mut watermark) = (Windows::new(), (0, 0), i64::MIN);
        for event in &self.rows {
            let start = event.ts.div_euclid(WINDOW) * WINDOW;
            let sums: &mut (i64, i64) = match start + WINDOW <= watermark {
                true => &mut late,
                false => windows.entry((event.k, start)).or_default(),
            };
            sums.0 += 1;
            sums.1 += event.amount;
            watermark = watermark.max(event.ts - 5 * SECOND);
        }
        (windows, late)
    }
}

async fn numbers(db: &Db, sql: &str) -> Vec<Vec<i64>> {
    let number = |text: &String| text.parse().unwrap_or_else(|_| panic!("{sql}: {text} is no number"));
    let mut rows: Vec<Vec<i64>> = db.rows(sql).await.iter().map(|row| row.iter().map(number).collect()).collect();
    rows.sort();
    rows
}

async fn number(db: &Db, sql: &str) -> i64 {
    numbers(db, sql).await[0][0]
}

/// Compares everything; panics where something is lost or there twice.
pub async fn verify(place: &Place) {
    let db = Db::connect(place.address().expect("listens")).await.unwrap();
    shown(place, &db).await;
    let accounts = tables(place, &db).await;
    extra(place, &db, &accounts).await;
    let events = Events::read(place);
    caught_up(&db, &events).await;
    views(&db, &accounts, &events).await;
    sink(place, &db, &events).await;
}

/// No read goes back behind what was shown before the crash.
async fn shown(place: &Place, db: &Db) {
    let journal = Journal::open(place.journal("reader"));
    for (what, sql) in [("counted", "SELECT n FROM counted"), ("seen", "SELECT n FROM seen")] {
        let (before, now) = (journal.last_shown(what), number(db, sql).await);
        if now < before {
            // Lost, or only shown too early? The table under it tells.
            let (table, epochs) =
                (db.rows("SELECT n FROM counter").await, db.rows("SELECT name, epoch, state FROM ms_jobs").await);
            let again = number(db, sql).await;
            panic!(
                "{what}: {before} was shown before the crash, {now} after it, then {again}; counter {table:?}; {epochs:?}"
            );
        }
    }
}

/// The tables hold what was acknowledged; what was not answered happened wholly or not at all.
async fn tables(place: &Place, db: &Db) -> Accounts {
    let found: Accounts =
        numbers(db, "SELECT id, v, version FROM accounts").await.iter().map(|r| (r[0], (r[1], r[2]))).collect();
    for (name, parity) in [("left", 0), ("right", 1)] {
        let own: Accounts = found.iter().filter(|(id, _)| *id % 2 == parity).map(|(id, value)| (*id, *value)).collect();
        let mut journal = Journal::open(place.journal(name));
        let (mut acknowledged, mut open) = (Accounts::new(), None);
        for entry in journal.entries() {
            match entry.ending {
                Ending::Acknowledged => apply(&mut acknowledged, &entry),
                Ending::Open => open = Some(entry),
                Ending::Gone => {}
            }
        }
        let Some(entry) = open else {
            assert_eq!(own, acknowledged, "{name}: accounts (left: found)");
            continue;
        };
        let mut with = acknowledged.clone();
        apply(&mut with, &entry);
        assert!(
            own == acknowledged || own == with,
            "{name}: found {own:?}\nacknowledged {acknowledged:?}\nor with {entry:?}"
        );
        match own == with {
            true => journal.acknowledged(entry.number),
            false => journal.gone(entry.number),
        }
    }
    let mut journal = Journal::open(place.journal("counter"));
    let entries = journal.entries();
    let sure = entries.iter().filter(|entry| entry.ending == Ending::Acknowledged).count() as i64;
    let open = entries.iter().find(|entry| entry.ending == Ending::Open);
    let counter = number(db, "SELECT n FROM counter").await;
    match open {
        Some(entry) if counter == sure + 1 => journal.acknowledged(entry.number),
        Some(entry) => {
            assert_eq!(counter, sure, "counter");
            journal.gone(entry.number);
        }
        None => assert_eq!(counter, sure, "counter"),
    }
    found
}

/// The view that comes and goes is there exactly when it was acknowledged to be.
async fn extra(place: &Place, db: &Db, accounts: &Accounts) {
    let mut journal = Journal::open(place.journal("ddl"));
    let entries = journal.entries();
    let exists = match db.try_rows("SELECT id, w FROM extra").await {
        Ok(mut rows) => {
            rows.sort();
            let mut expected: Vec<Vec<String>> = (accounts.iter().filter(|(_, (v, _))| *v > 3))
                .map(|(id, (v, _))| vec![id.to_string(), (v + 1).to_string()])
                .collect();
            expected.sort();
            assert_eq!(rows, expected, "extra (left: found)");
            true
        }
        Err(error) => {
            assert_eq!(error.code().map(|code| code.code()), Some("42P01"), "{error:?}");
            false
        }
    };
    if let Some(last) = entries.iter().rev().find(|entry| entry.ending != Ending::Gone && entry.word(0) != "read")
        && last.ending == Ending::Acknowledged
    {
        assert_eq!(exists, last.word(0) == "create", "after {last:?}");
    }
    for open in entries.iter().filter(|entry| entry.ending == Ending::Open) {
        // What was under way at the kill may have taken effect: later cycles must know.
        let happened = match open.word(0) {
            "create" => exists,
            "drop" => !exists,
            _ => false,
        };
        match happened {
            true => journal.acknowledged(open.number),
            false => journal.gone(open.number),
        }
    }
    if exists {
        let number = journal.attempt("drop");
        db.run("DROP MATERIALIZED VIEW extra").await;
        journal.acknowledged(number);
    }
}

/// Waits until the source has been read to its end.
async fn caught_up(db: &Db, events: &Events) {
    let since = Instant::now();
    loop {
        let seen = number(db, "SELECT n FROM seen").await;
        let faults = number(db, "SELECT count(*) FROM ms_faults.events").await;
        assert!(seen <= events.rows.len() as i64, "{seen} rows seen, the file holds {}", events.rows.len());
        assert!(faults <= events.faults as i64, "{faults} faults, the file holds {}", events.faults);
        if seen == events.rows.len() as i64 && faults == events.faults as i64 {
            break;
        }
        let message = format!("{seen} of {} rows, {faults} of {} faults", events.rows.len(), events.faults);
        assert!(since.elapsed() < PATIENCE / 2, "the source does not catch up: {message}");
        tokio::task::yield_now().await;
    }
    db.run("WAIT FOR windows, joined, totals, seen").await;
}

async fn views(db: &Db, accounts: &Accounts, events: &Events) {
    let (windows, late) = events.windows();
    let seconds = "(extract(epoch FROM window_start - TIMESTAMP '2024-05-01 00:00:00'))::bigint";
    let found = numbers(db, &format!("SELECT k, {seconds}, n, total FROM windows")).await;
    let expected: Vec<Vec<i64>> = windows.iter().map(|((k, start), (n, total))| vec![*k, *start, *n, *total]).collect();
    assert_eq!(found, expected, "windows (left: found)");
    let found = numbers(db, "SELECT count(*), coalesce(sum(amount), 0) FROM ms_late.windows").await;
    assert_eq!(found, [[late.0, late.1]], "late rows (left: found)");

    let mut totals: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for (v, _) in accounts.values() {
        let total = totals.entry(v % 10).or_default();
        *total = (total.0 + 1, total.1 + v);
    }
    let expected: Vec<Vec<i64>> = totals.iter().map(|(g, (n, total))| vec![*g, *n, *total]).collect();
    assert_eq!(numbers(db, "SELECT g, n, total FROM totals").await, expected, "totals (left: found)");

    let mut expected: Vec<Vec<i64>> = Vec::new();
    for (id, (v, _)) in accounts {
        let matching = windows.iter().filter(|((k, _), _)| k == v);
        expected.extend(matching.map(|((k, _), (n, _))| vec![*id, *v, *k, *n]));
    }
    expected.sort();
    assert_eq!(numbers(db, "SELECT id, v, k, n FROM joined").await, expected, "joined (left: found)");
}

/// Every row stands in the finished files exactly once.
async fn sink(place: &Place, db: &Db, events: &Events) {
    db.run("WAIT FOR out").await;
    let mut found: Vec<(i64, i64, i64)> = Vec::new();
    for entry in std::fs::read_dir(place.sink()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        assert!(name.ends_with(".ndjson"), "{name} is no finished file and does not begin with a dot");
        for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {line}: {e}"));
            let number = |name: &str| value[name].as_i64().unwrap_or_else(|| panic!("{name} in {line}"));
            found.push((number("seq"), number("k"), number("amount")));
        }
    }
    found.sort();
    let expected: Vec<(i64, i64, i64)> = events.rows.iter().map(|event| (event.seq, event.k, event.amount)).collect();
    let lost: Vec<_> = expected.iter().filter(|row| found.binary_search(row).is_err()).take(5).collect();
    let twice: Vec<_> = found.windows(2).filter(|pair| pair[0] == pair[1]).take(5).collect();
    assert!(
        found == expected,
        "{} rows in the sink, {} expected; lost {lost:?}; twice {twice:?}",
        found.len(),
        expected.len()
    );
}
