//! Bad input of every kind: a clear error, no panic, and the engine is alive after each.

use std::io::Write;
use std::path::Path;

use millstream::base::random::{Random, fresh_seed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Db, Server, block_on};

const SETUP: &str = "
    CREATE TABLE orders (id INT PRIMARY KEY, price NUMERIC(10, 2), customer VARCHAR, at TIMESTAMP);
    CREATE MATERIALIZED VIEW spent AS SELECT customer, sum(price) AS total FROM orders GROUP BY customer;
    INSERT INTO orders VALUES (1, 9.50, 'ann', '2024-01-01 10:00:00');";

/// Statement, SQLSTATE, what the message must hold, what the hint must hold.
const STATEMENTS: &[(&str, &str, &str, &str)] = &[
    // Names that do not exist: the nearest is offered.
    ("SELECT * FROM oders", "42P01", "\"oders\"", "orders"),
    ("SELECT prise FROM orders", "42703", "prise", "price"),
    ("SELECT totl FROM spent", "42703", "totl", "total"),
    ("SELECT cuont(*) FROM orders", "42883", "cuont", "count"),
    ("DROP TABLE oders", "42P01", "oders", "orders"),
    ("INSERT INTO oders VALUES (1)", "42P01", "oders", "orders"),
    ("UPDATE orders SET prise = 1", "42703", "prise", "price"),
    ("SET epohc = 'manual'", "42704", "epohc", "epoch"),
    ("CREATE TABLE x (a BIGNT)", "42704", "bignt", "bigint"),
    ("WAIT FOR spnt", "42P01", "spnt", "spent"),
    ("SELECT * FROM ms_catalg.ms_jobs", "3F000", "ms_catalg", "ms_catalog"),
    // Options.
    ("CREATE SOURCE s (a INT) WITH (connector = 'fil', path = '/x') FORMAT PLAIN ENCODE JSON", "0A000", "fil", "file"),
    ("CREATE SOURCE s (a INT) WITH (connector = 'file', pth = '/x') FORMAT PLAIN ENCODE JSON", "22023", "pth", "path"),
    (
        "CREATE SOURCE s (a INT) WITH (connector = 'file', path = '/x') FORMAT PLAIN ENCODE JSN",
        "42601",
        "expected JSON",
        "",
    ),
    ("CREATE SOURCE s (a INT) WITH (connector = 'file', path = '/x')", "42601", "format", "FORMAT PLAIN"),
    // Types and values.
    ("INSERT INTO orders VALUES ('one', 1, 'x', NULL)", "22P02", "one", ""),
    ("INSERT INTO orders VALUES (1, 2.0, 'bob', NULL)", "23505", "orders", ""),
    ("INSERT INTO orders VALUES (NULL, 2.0, 'bob', NULL)", "23502", "id", ""),
    ("INSERT INTO orders VALUES (5, 2.0, 'bob', NULL, 1)", "42601", "", ""),
    ("INSERT INTO orders VALUES (99999999999, 2.0, 'bob', NULL)", "22003", "", ""),
    ("SELECT 1 / 0", "22012", "division by zero", ""),
    ("SELECT 9223372036854775807 + 1", "22003", "", ""),
    ("SELECT customer + 1 FROM orders", "42883", "", ""),
    ("SELECT sum(customer) FROM orders", "42883", "sum", "cast"),
    // Unsupported: the construct, its place, a rewrite.
    (
        "CREATE MATERIALIZED VIEW v AS SELECT id FROM orders FETCH FIRST 2 ROWS WITH TIES",
        "42601",
        "WITH TIES",
        "ORDER BY",
    ),
    ("CREATE MATERIALIZED VIEW v AS SELECT id, rank() FROM orders", "42809", "rank", "OVER"),
    ("CREATE MATERIALIZED VIEW v AS SELECT now() AS n FROM orders", "0A000", "now", "SELECT"),
    (
        "CREATE MATERIALIZED VIEW v AS WITH RECURSIVE r AS (SELECT id FROM orders UNION ALL SELECT id FROM r) SELECT * FROM r",
        "0A000",
        "WITH RECURSIVE",
        "joins",
    ),
    ("CREATE TABLE x (a INT CHECK (a > 0))", "0A000", "CHECK", ""),
    ("CREATE TABLE x (a SERIAL)", "0A000", "serial", "BIGINT"),
    ("CREATE UNIQUE INDEX i ON orders (price)", "0A000", "UNIQUE", ""),
    ("CREATE TABLE x (a INT, a INT)", "42701", "\"a\"", ""),
    ("CREATE TABLE orders (a INT)", "42P07", "orders", ""),
    ("DROP TABLE orders", "2BP01", "orders", "CASCADE"),
    ("DROP VIEW spent", "42809", "spent", "MATERIALIZED VIEW"),
    ("INSERT INTO spent VALUES ('x', 1)", "42809", "spent", "table"),
    // Nonsense.
    ("SELEC 1", "42601", "", ""),
    ("SELECT (1", "42601", "", ""),
    ("SELECT 'abc", "42601", "", ""),
    ("SELECT $1", "08P01", "parameters", ""),
    ("\u{1}\u{2}\u{3}", "42601", "", ""),
];

#[test]
fn statements_are_refused_with_place_and_mend() {
    let server = Server::start(&["--workers", "2"]);
    block_on(async {
        let db = server.connect().await;
        db.run(SETUP).await;
        let mut wrong = Vec::new();
        for (sql, code, message, hint) in STATEMENTS {
            if let Err(what) = refused(&db, sql, code, message, hint).await {
                wrong.push(format!("{sql}\n    {what}"));
            }
            assert_eq!(db.value("SELECT total FROM spent WHERE customer = 'ann'").await, "9.50", "after {sql}");
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), STATEMENTS.len(), wrong.join("\n"));
    });
    no_panics(&server);
}

async fn refused(db: &Db, sql: &str, code: &str, message: &str, hint: &str) -> Result<(), String> {
    let error = match db.try_rows(sql).await {
        Ok(rows) => return Err(format!("was accepted: {rows:?}")),
        Err(error) => error,
    };
    let Some(error) = error.as_db_error() else { return Err(format!("connection lost: {error}")) };
    let told = [Some(error.message()), error.detail(), error.hint()];
    let told: String = told.into_iter().flatten().collect::<Vec<_>>().join(" / ").to_lowercase();
    let hinted = error.hint().unwrap_or("").to_lowercase();
    if error.code().code() != code || !told.contains(&message.to_lowercase()) || !hinted.contains(&hint.to_lowercase())
    {
        return Err(format!("expected {code} ({message}; hint {hint}), got {}: {told}", error.code().code()));
    }
    Ok(())
}

fn no_panics(server: &Server) {
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn deep_and_long_statements_are_refused_not_fatal() {
    let server = Server::start(&["--workers", "1"]);
    block_on(async {
        let db = server.connect().await;
        db.run("CREATE TABLE t (a INT)").await;
        let deep = 20_000;
        let nested =
            |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(deep), close.repeat(deep));
        let statements = [
            format!("SELECT {}", nested("(", "1", ")")),
            format!("SELECT {}1", "-".to_string() + &"- ".repeat(deep)),
            format!("SELECT {}true", "NOT ".repeat(deep)),
            format!("SELECT {}", nested("abs(", "1", ")")),
            format!("SELECT * FROM {} x", nested("(SELECT * FROM ", "t", ")")),
            format!("SELECT 1{}", " + 1".repeat(deep)),
            format!("SELECT 1 WHERE {}", vec!["a = 1"; deep].join(" OR ")),
            format!("SELECT {}", nested("CASE WHEN true THEN ", "1", " END")),
            format!("CREATE MATERIALIZED VIEW v AS SELECT {} AS a FROM t", nested("(", "a", ")")),
            format!("SELECT '{}'::varchar = 1", "x".repeat(1 << 20)),
            format!("SELECT {}", vec!["1"; 2_000].join(", ")),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(200)),
            format!("SELECT 1{}", " UNION SELECT 1".repeat(deep)),
            format!("SELECT true{}", " AND true".repeat(deep)),
            format!("SELECT 'a'{}", " || 'a'".repeat(deep)),
            format!("SELECT {}", nested("ARRAY[", "1", "]")),
            format!("SELECT {}", nested("(SELECT ", "1", ")")),
            format!("SELECT '{}'::jsonb", nested("[", "", "]")),
            format!(
                "WITH {} SELECT 1",
                (0..deep).map(|i| format!("c{i} AS (SELECT 1)")).collect::<Vec<_>>().join(", ")
            ),
        ];
        for sql in &statements {
            let since = std::time::Instant::now();
            let answer = db.try_rows(sql).await;
            eprintln!("{}…: {} bytes, {:?}", &sql[..40.min(sql.len())], sql.len(), since.elapsed());
            let lost = answer.as_ref().err().is_some_and(|error| error.as_db_error().is_none());
            assert!(!lost, "connection lost by {}…: {answer:?}\n{}", &sql[..40.min(sql.len())], server.log());
            let code = answer.as_ref().err().and_then(|error| error.code()).map(|code| code.code().to_string());
            assert_ne!(code.as_deref(), Some("XX000"), "{}…: {answer:?}", &sql[..40.min(sql.len())]);
            assert_eq!(db.value("SELECT count(*) FROM t").await, "0", "after {}…", &sql[..40.min(sql.len())]);
        }
    });
    no_panics(&server);
}

fn source_sql(name: &str, path: &Path, encode: &str) -> String {
    format!(
        "CREATE SOURCE {name} (a BIGINT, s VARCHAR) WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE {encode};
         CREATE MATERIALIZED VIEW {name}_sum AS SELECT count(*) AS n, sum(a) AS total FROM {name}",
        path.display()
    )
}

/// Creates a source over `bytes` and a view of it; rows, their sum, and faults.
async fn read(server: &Server, db: &Db, name: &str, bytes: &[u8], encode: &str) -> (String, String, String) {
    let path = server.folder().join(name);
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    db.run(&source_sql(name, &path, encode)).await;
    db.run(&format!("WAIT FOR {name}_sum")).await;
    let row = db.rows(&format!("SELECT n, total FROM {name}_sum")).await.remove(0);
    let faults = db.value(&format!("SELECT count(*) FROM ms_faults.{name}")).await;
    (row[0].clone(), row[1].clone(), faults)
}

#[test]
fn damaged_files_become_faults() {
    let server = Server::start(&["--workers", "2"]);
    block_on(async {
        let db = server.connect().await;
        let good = "{\"a\": 1, \"s\": \"x\"}\n";
        let of = |n: &str, total: &str, faults: &str| (n.to_string(), total.to_string(), faults.to_string());
        let half = format!("{good}{good}{{\"a\": 7, \"s");
        assert_eq!(read(&server, &db, "half", half.as_bytes(), "JSON").await, of("2", "2", "1"));
        let text = format!("{good}not json\n\n[1, 2]\n{{\"a\": \"x\"}}\n{{\"a\": 1e400}}\n{good}");
        let (n, total, faults) = read(&server, &db, "mixed", text.as_bytes(), "JSON").await;
        assert_eq!((n.as_str(), total.as_str()), ("2", "2"));
        assert!(faults == "4" || faults == "5", "{faults} faults (an empty line may be none)");
        let long = format!("{good}{{\"a\": 2, \"s\": \"{}\"}}\n{good}", "y".repeat(10 << 20));
        assert_eq!(read(&server, &db, "long", long.as_bytes(), "JSON").await, of("3", "4", "0"));
        let longer = format!("{good}{{\"a\": 2, \"s\": \"{}\"}}\n{good}", "y".repeat(20 << 20));
        assert_eq!(read(&server, &db, "longer", longer.as_bytes(), "JSON").await, of("2", "2", "1"));
        let mut random = Random::new(3);
        let binary: Vec<u8> = (0..200_000).map(|_| random.next_u64() as u8).collect();
        let (n, _, faults) = read(&server, &db, "binary", &binary, "JSON").await;
        assert_eq!(n, "0");
        assert!(faults.parse::<u64>().unwrap() > 100, "{faults} faults");
        assert_eq!(read(&server, &db, "empty", b"", "JSON").await.0, "0");
        assert_eq!(read(&server, &db, "nul", b"{\"a\": 1}\n\0\0\0\n{\"a\": 2}\n", "JSON").await, of("2", "3", "1"));
        let deep = format!("{good}{{\"a\": {}1{}}}\n{good}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&server, &db, "deep", deep.as_bytes(), "JSON").await, of("2", "2", "1"));
        assert_eq!(read(&server, &db, "csv", b"1,x\nfour,y\n2,\"z\n", "CSV").await.0, "1");
        assert_eq!(db.value("SELECT 1").await, "1");
    });
    no_panics(&server);
}

#[test]
fn files_that_are_missing_or_no_parquet_are_named() {
    let server = Server::start(&["--workers", "2"]);
    block_on(async {
        let db = server.connect().await;
        let missing = server.folder().join("nowhere.ndjson");
        // Refused at once, or a view that says why it waits or failed: never silence, never a panic.
        match db.try_rows(&source_sql("missing", &missing, "JSON")).await {
            Err(error) => assert!(format!("{error:?}").contains("nowhere.ndjson"), "{error:?}"),
            Ok(_) => told(&db, "missing", "nowhere.ndjson").await,
        }
        let path = server.folder().join("bad.parquet");
        std::fs::write(&path, b"PAR1 this is no parquet file PAR1").unwrap();
        match db.try_rows(&source_sql("bad", &path, "PARQUET")).await {
            Err(error) => assert!(format!("{error:?}").contains("bad.parquet"), "{error:?}"),
            Ok(_) => told(&db, "bad", "bad.parquet").await,
        }
        let path = server.folder().join("gone.ndjson");
        std::fs::write(&path, "{\"a\": 5}\n").unwrap();
        db.run(&source_sql("gone", &path, "JSON").replace(".ndjson'", ".ndjson', follow = 'true'")).await;
        db.run("WAIT FOR gone_sum").await;
        std::fs::remove_file(&path).unwrap();
        assert_eq!(db.value("SELECT total FROM gone_sum").await, "5");
        assert_eq!(db.value("SELECT 1").await, "1");
    });
    no_panics(&server);
}

/// The error of waiting for the view, or the state of the source, names the file.
async fn told(db: &Db, source: &str, file: &str) {
    db.run("SET statement_timeout = '20s'").await;
    let waited = db.try_rows(&format!("WAIT FOR {source}_sum")).await;
    let error = waited.err().map(|error| format!("{error:?}")).unwrap_or_default();
    let state = db.rows(&format!("SELECT state FROM ms_sources WHERE name = '{source}'")).await;
    let jobs = db.rows("SELECT name, state, reason FROM ms_jobs").await;
    let all = format!("{error}\n{state:?}\n{jobs:?}");
    assert!(all.contains(file), "nothing names {file}:\n{all}");
    db.run("RESET statement_timeout").await;
}

#[test]
fn random_bytes_on_the_port_disturb_nobody() {
    let seed = fresh_seed();
    eprintln!("random bytes: seed {seed}");
    let mut random = Random::new(seed);
    let server = Server::start(&["--workers", "1"]);
    block_on(async {
        let db = server.connect().await;
        for round in 0..200 {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            let mut bytes: Vec<u8> = (0..random.below(600)).map(|_| random.next_u64() as u8).collect();
            if round % 4 == 1 {
                // A true start, then noise inside true frames and outside of them.
                let mut start = vec![0, 0, 0, 0, 0, 3, 0, 0];
                start.extend(b"user\0test\0database\0millstream\0\0");
                let length = start.len() as u32;
                start[..4].copy_from_slice(&length.to_be_bytes());
                let kind = *random.pick(b"QPBEDSCHXdcf").unwrap();
                start.push(kind);
                start.extend((bytes.len() as u32 + 4).to_be_bytes());
                start.append(&mut bytes);
                bytes = start;
            }
            if round % 4 == 2 {
                bytes.splice(0..0, [0x7f, 0xff, 0xff, 0xff]);
            }
            let _ = stream.write_all(&bytes).await;
            if round % 2 == 0 {
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let _ = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
            }
        }
        assert_eq!(db.value("SELECT 1").await, "1");
        assert_eq!(server.connect().await.value("SELECT 2").await, "2");
    });
    no_panics(&server);
}
