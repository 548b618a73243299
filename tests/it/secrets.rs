//! Fifty canaries: values of secrets that must be found nowhere but in the files that hold them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio_postgres::error::DbError;

use crate::harness::{Db, Server, block_on};

/// The value of secret `number`. Each fits, or does not fit, the option that it is put into.
fn canary(number: usize) -> String {
    format!("Canary{:04}x{:04}", number * 37 % 9973, number)
}

const CANARIES: usize = 50;

/// Everything that a client was told.
#[derive(Default)]
struct Seen(Vec<String>);

impl Seen {
    /// Runs `sql`, keeps what was said of it.
    async fn run(&mut self, db: &Db, sql: &str) -> bool {
        let told = db.try_rows(sql).await;
        match told {
            Ok(rows) => {
                self.0.extend(rows.into_iter().flatten());
                true
            }
            Err(error) => {
                let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
                self.0.push(all_of(error));
                false
            }
        }
    }

    async fn must(&mut self, db: &Db, sql: &str) {
        assert!(self.run(db, sql).await, "{sql}: {:?}", self.0.last());
    }

    async fn must_fail(&mut self, db: &Db, sql: &str) {
        assert!(!self.run(db, sql).await, "{sql}");
    }

    fn check(&self, log: &str) {
        for number in 0..CANARIES {
            let canary = canary(number).to_lowercase();
            for text in self.0.iter().map(String::as_str).chain([log]) {
                let found = text.to_lowercase().find(&canary);
                assert!(found.is_none(), "canary {number} was told: {}", &text[found.unwrap_or(0)..]);
            }
        }
    }
}

fn all_of(error: &DbError) -> String {
    format!("{error:?}")
}

/// A failing statement for secret `number`: with the value in options, in broken statements, in other statements.
fn wrong(number: usize) -> String {
    let (name, value) = (format!("c{number}"), canary(number));
    match number % 12 {
        0 => format!("CREATE SOURCE w (a BIGINT) WITH (connector = 'datagen', rows = SECRET {name})"),
        1 => {
            format!("CREATE SOURCE w (a BIGINT) WITH (connector = 'datagen', rows = 2, fields.a.kind = SECRET {name})")
        }
        2 => format!("CREATE SOURCE w WITH (connector = 'nexmark', table = 'bid', base_time = SECRET {name})"),
        3 => {
            format!("CREATE SOURCE w (a INT) WITH (connector = 'file', path = SECRET {name}) FORMAT PLAIN ENCODE JSON")
        }
        4 => format!("CREATE SINK w FROM t WITH (connector = 'blackhole', snapshot = SECRET {name})"),
        5 => format!(
            "EXPLAIN CREATE SINK w FROM t WITH (connector = 'file', path = 'w', roll_bytes = SECRET {name}) FORMAT PLAIN ENCODE CSV"
        ),
        6 => format!("CREATE SECRET {name} AS '{value}'"),
        7 => format!("CREATE SECRET x AS {value}"),
        8 => format!("CREATE SECRET x '{value}' AS"),
        9 => format!("PREPARE p AS CREATE SECRET x AS '{value}'"),
        10 => format!(
            "CREATE SOURCE w (a INT) WITH (connector = 'file', path = 'w') FORMAT PLAIN ENCODE CSV (delimiter = SECRET {name})"
        ),
        _ => format!("ALTER SECRET missing{number} AS '{value}'"),
    }
}

/// What the system tells: every row of every system relation.
async fn look_everywhere(seen: &mut Seen, db: &Db) {
    let relations = db
        .rows(
            "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') ORDER BY 1, 2",
        )
        .await;
    assert!(relations.len() > 100, "{}", relations.len());
    for relation in relations {
        let sql = format!("SELECT * FROM \"{}\".\"{}\"", relation[0], relation[1]);
        seen.run(db, &sql).await;
    }
    for row in db.rows("SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'public'").await {
        seen.run(db, &format!("SHOW CREATE \"{}\".\"{}\"", row[0], row[1])).await;
        seen.run(db, &format!("SHOW CREATE {}", row[1])).await;
        seen.run(db, &format!("EXPLAIN SELECT * FROM {}", row[1])).await;
        seen.run(db, &format!("DESCRIBE {}", row[1])).await;
    }
    for sql in ["SHOW ALL", "SHOW SOURCES", "SHOW SINKS", "SHOW JOBS", "SELECT * FROM ms_faults.s1"] {
        seen.run(db, sql).await;
    }
}

async fn make(seen: &mut Seen, db: &Db) {
    seen.must(db, "CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (1, NULL)").await;
    for number in 0..CANARIES {
        seen.must(db, &format!("CREATE SECRET c{number} AS '{}'", canary(number))).await;
    }
    seen.must(db, "CREATE SECRET rows AS '2'").await;
    // Sources and sinks that work: the text for NULL may be any.
    for number in 0..10 {
        let made =
            format!("CREATE SOURCE s{number} (a BIGINT, b TEXT) WITH (connector = 'datagen', rows = SECRET rows)");
        seen.must(db, &made).await;
        let csv = format!(
            "CREATE SINK k{number} FROM t WITH (connector = 'file', path = 'k{number}', changelog = true) FORMAT PLAIN ENCODE CSV (null = SECRET c{number})"
        );
        seen.must(db, &csv).await;
        seen.must(db, &format!("EXPLAIN {}", csv.replace(&format!("SINK k{number} "), &format!("SINK e{number} "))))
            .await;
    }
    for number in 0..CANARIES {
        seen.must_fail(db, &wrong(number)).await;
    }
    seen.must_fail(db, "CREATE SOURCE f (a INT) WITH (connector = 'file', path = 'in.csv') FORMAT PLAIN ENCODE CSV (quote = SECRET c3)").await;
}

fn modes(folder: &Path) -> Vec<u32> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    files.map(|file| file.permissions().mode() & 0o777).collect()
}

#[test]
fn fifty_canaries_are_found_nowhere() {
    let mut server = Server::start(&["--log", "debug,audit=info"]);
    let mut seen = Seen::default();
    block_on(async {
        let db = server.connect().await;
        make(&mut seen, &db).await;
        // The session's own last statement, as another one sees it.
        let other = server.connect().await;
        seen.must(&db, &format!("ALTER SECRET c11 AS '{}'", canary(12))).await;
        let shown = other.rows("SELECT query FROM pg_stat_activity").await;
        assert!(shown.iter().any(|row| row[0] == "ALTER SECRET c11 AS '***'"), "{shown:?}");
        seen.0.extend(shown.into_iter().flatten());
        // Over the extended protocol too.
        let prepared = db.client().prepare(&format!("CREATE SECRET late AS '{}'", canary(13))).await.unwrap();
        db.client().execute(&prepared, &[]).await.unwrap();
        seen.0.extend(other.rows("SELECT query FROM pg_stat_activity").await.into_iter().flatten());
        look_everywhere(&mut seen, &db).await;
        db.run("WAIT FOR k0").await;
    });
    server.restart(None);
    block_on(async {
        let db = server.connect().await;
        assert_eq!(db.value("SELECT count(*) FROM ms_secrets").await, (CANARIES + 2).to_string());
        assert_eq!(db.value("SELECT count(*) FROM ms_sinks WHERE state = 'failed'").await, "0");
        // Values are there after kill -9: they stand where NULL is written.
        db.run("INSERT INTO t VALUES (2, NULL); WAIT FOR k5").await;
        look_everywhere(&mut seen, &db).await;
        seen.must_fail(&db, "DROP SECRET c5").await;
        seen.must(&db, "DROP SECRET c5 CASCADE").await;
    });
    let written = std::fs::read_dir(server.folder().join("k5")).unwrap();
    let texts = written.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok()).collect::<String>();
    assert!(texts.matches(&canary(5)).count() >= 2, "{texts}");
    // A stop writes the catalog into a manifest: neither it nor the log holds a value.
    server.stop();
    let data = server.data_dir();
    assert_eq!(std::fs::metadata(data.join("secrets")).unwrap().permissions().mode() & 0o777, 0o700);
    let modes = modes(&data.join("secrets"));
    assert!(modes.iter().all(|mode| *mode == 0o600) && modes.len() == CANARIES + 1, "{modes:?}");
    for folder in ["log", "manifest", "runs"] {
        for file in std::fs::read_dir(data.join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                let bytes = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                seen.0.push(bytes);
            }
        }
    }
    let log = server.log();
    for expected in ["catalog changed", "CREATE SECRET c1 AS '***'", "ALTER SECRET c11 AS '***'"] {
        assert!(log.contains(expected), "{expected} is not in the log");
    }
    seen.check(&log);
}
