//! `--files-from`: which files of the server sources and sinks may name.

use std::os::unix::fs::symlink;

use crate::harness::{Db, Server, block_on, temporary};

const RECORD: &str = "{\"a\":1}\n";

fn source(name: &str, path: &str) -> String {
    format!("CREATE SOURCE {name} (a INT) WITH (connector = 'file', path = '{path}') FORMAT PLAIN ENCODE JSON")
}

fn sink(name: &str, path: &str) -> String {
    format!(
        "CREATE SINK {name} FROM t WITH (connector = 'file', path = '{path}', changelog = true) FORMAT PLAIN ENCODE JSON"
    )
}

/// SQLSTATE and position of the error of `sql`, with its whole text.
async fn refused(db: &Db, sql: &str) -> (String, Option<u32>, String) {
    let error = db.try_rows(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    let position = match error.position() {
        Some(tokio_postgres::error::ErrorPosition::Original(at)) => Some(*at),
        Some(_) | None => None,
    };
    let text = format!("{} {} {}", error.message(), error.detail().unwrap_or(""), error.hint().unwrap_or(""));
    (error.code().code().to_string(), position, text)
}

#[test]
fn files_stay_below_their_folder_whoever_names_them() {
    let folder = temporary("millstream-files-");
    let at = |path: &str| folder.path().join(path);
    for path in ["in/sub", "out", "data"] {
        std::fs::create_dir_all(at(path)).unwrap();
    }
    for path in ["in/a.json", "in/sub/b.json", "out/c.json"] {
        std::fs::write(at(path), RECORD).unwrap();
    }
    symlink(at("out"), at("in/link")).unwrap();
    symlink(at("out/c.json"), at("in/leaf.json")).unwrap();
    let top = folder.path().display().to_string();
    // A source and a sink from before stay, wherever their files are.
    let mut server = Server::start_in(folder, &[]);
    block_on(async {
        let db = server.connect().await;
        db.run("CREATE TABLE t (a INT); CREATE ROLE ada; GRANT CREATE ON SCHEMA public TO ada").await;
        db.run("ALTER TABLE t OWNER TO ada").await;
        db.run(&source("old", "out/c.json")).await;
        db.run(&sink("old_sink", "out/sent")).await;
        db.run("CREATE MATERIALIZED VIEW old_sum AS SELECT sum(a) AS s FROM old; WAIT FOR old_sum").await;
        db.run("SET ROLE ada").await;
        for (sql, option) in [
            (source("s", "in/a.json"), "path"),
            (source("s", "out/missing.json"), "path"),
            (sink("k", "in/sent"), "path"),
            (format!("EXPLAIN {}", sink("k", "in/sent")), "path"),
            ("CREATE SOURCE s WITH (connector = 'file', path = 'in/*.json') FORMAT PLAIN ENCODE JSON".into(), "path"),
        ] {
            let (code, position, text) = refused(&db, &sql).await;
            assert_eq!((code.as_str(), position), ("42501", sql.find(option).map(|at| at as u32 + 1)), "{sql}: {text}");
            assert!(text.contains("--files-from DIR") && text.contains("only superusers"), "{text}");
        }
    });
    server.restart(Some(&["--files-from", "in"]));
    block_on(async {
        let db = server.connect().await;
        assert_eq!(db.value("SELECT s FROM old_sum").await, "1");
        db.run("INSERT INTO t VALUES (5); WAIT FOR old_sink").await;
        for role in ["RESET ROLE", "SET ROLE ada"] {
            db.run(role).await;
            for path in [
                "out/c.json",
                "/etc/passwd",
                "in/../out/c.json",
                "in/link/c.json",
                "in/leaf.json",
                "in/*/*.json",
                "in/l*.json",
                "i*/a.json",
                "data/format",
            ] {
                let (code, _, text) = refused(&db, &source("s", path)).await;
                assert_eq!(code, "42501", "{role}: {path}: {text}");
                assert!(!text.contains("root:"), "{text}");
            }
            for path in ["out/sent2", "in/../out/sent2", "/tmp/millstream-never"] {
                let (code, _, text) = refused(&db, &sink("k", path)).await;
                assert_eq!(code, "42501", "{role}: {path}: {text}");
            }
            db.run(&source("s", "in/a.json")).await;
            db.run(&source("s2", &format!("{top}/in/sub/*.json"))).await;
            db.run("SELECT * FROM s; SELECT * FROM s2").await;
            db.run(&sink("k", "in/sent")).await;
            db.run("INSERT INTO t VALUES (6); WAIT FOR k").await;
            db.run("DROP SOURCE s, s2; DROP SINK k").await;
            std::fs::remove_dir_all(server.folder().join("in/sent")).unwrap();
        }
        let (code, _, text) = refused(&db, &sink("away", "in/link/sent")).await;
        assert!(code == "42501" && text.contains("A link on the way"), "{text}");
        db.run(&sink("away", "in/moved")).await;
        db.run("INSERT INTO t VALUES (7); WAIT FOR away").await;
    });
    // A folder that is led out afterwards is not written to.
    server.kill();
    let at = |path: &str| server.folder().join(path);
    std::fs::rename(at("in/moved"), at("out/moved")).unwrap();
    symlink(at("out/moved"), at("in/moved")).unwrap();
    let before = std::fs::read_dir(at("out/moved")).unwrap().count();
    server.restart(None);
    block_on(async {
        let db = server.connect().await;
        db.run("INSERT INTO t VALUES (8)").await;
        let since = std::time::Instant::now();
        let reason = "SELECT coalesce(max(reason), '') FROM ms_sinks WHERE name = 'away'";
        while !db.value(reason).await.contains("is not below the folder of --files-from") {
            assert!(since.elapsed() < crate::harness::PATIENCE, "{:?}", db.rows("SELECT * FROM ms_sinks").await);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(db.value("SELECT s FROM old_sum").await, "1");
    });
    assert_eq!(std::fs::read_dir(server.folder().join("out/moved")).unwrap().count(), before);
}

#[test]
fn a_folder_that_is_not_there_is_refused_at_the_start() {
    let folder = temporary("millstream-files-");
    let told = std::process::Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--files-from", "nowhere"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && text.contains("folder \"nowhere\" of --files-from does not open"), "{text}");
    assert!(text.contains("in setting \"files_from\""), "{text}");
}
