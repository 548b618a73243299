//! The command line as its users meet it: exit codes, what goes to which stream, a directory in use, a clean end.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::harness::{Server, block_on};

fn millstream(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millstream")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn on_script(word: &str, sql: &str) -> (bool, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script.sql");
    std::fs::write(&script, sql).unwrap();
    let output = millstream(&[word, script.to_str().unwrap()]);
    let shown = |bytes| String::from_utf8(bytes).unwrap().replace(&folder.path().display().to_string(), "");
    (output.status.success(), shown(output.stdout), shown(output.stderr))
}

#[test]
fn run_stops_at_the_first_error() {
    let (ended_well, stdout, stderr) = on_script("run", "SELECT 1 AS one;\nSELECT nothing;\nSELECT 2;\n");
    assert!(!ended_well);
    assert_eq!(stdout, " one \n-----\n   1\n(1 row)\n\n");
    assert!(stderr.contains("column \"nothing\" does not exist"), "{stderr}");
    assert!(stderr.contains("/script.sql:2:8"), "{stderr}");
}

#[test]
fn run_fails_when_a_job_failed() {
    let sql = "CREATE SOURCE s (a INT) WITH (connector = 'file', path = '/nowhere/at/all.ndjson') FORMAT PLAIN ENCODE JSON;\n\
               CREATE MATERIALIZED VIEW v AS SELECT a FROM s;";
    let (ended_well, _, stderr) = on_script("run", sql);
    assert!(!ended_well);
    assert!(stderr.contains("/nowhere/at/all.ndjson"), "{stderr}");
}

#[test]
fn check_plans_and_touches_nothing() {
    let sql = "CREATE TABLE t (id BIGINT PRIMARY KEY, v INT);\n\
               CREATE MATERIALIZED VIEW sums AS SELECT v, count(*) FROM t GROUP BY v;\n\
               CREATE SINK s FROM sums WITH (connector = 'file', path = '/nowhere/out', changelog = true) FORMAT PLAIN ENCODE JSON;";
    let (ended_well, stdout, stderr) = on_script("check", sql);
    assert!(ended_well, "{stderr}");
    assert!(stdout.contains("aggregate") && stdout.contains("publish"), "{stdout}");
    assert!(!std::path::Path::new("/nowhere").exists());
    let (ended_well, _, stderr) = on_script("check", "CREATE MATERIALIZED VIEW v AS SELECT * FROM missing;");
    assert!(!ended_well && stderr.contains("\"missing\" does not exist"), "{stderr}");
}

#[test]
fn a_directory_in_use_is_refused() {
    let server = Server::start(&[]);
    let data_dir = server.data_dir();
    let second = millstream(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir.to_str().unwrap()]);
    assert!(!second.status.success());
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(stderr.contains("in use") && stderr.contains(&server.pid().to_string()), "{stderr}");
    block_on(async { assert_eq!(server.connect().await.value("SELECT 1").await, "1") });
}

#[test]
fn sigterm_ends_it_cleanly_and_nothing_is_lost() {
    let mut server = Server::start(&[]);
    block_on(async {
        let db = server.connect().await;
        db.run("CREATE TABLE t (id INT PRIMARY KEY); CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM t").await;
        db.run("INSERT INTO t VALUES (1), (2), (3)").await;
        let (code, message) = db.error("INSERT INTO t VALUES (3)").await;
        assert_eq!(code, "23505", "{message}");
        let out = server.folder().join("out");
        let with = format!("WITH (connector = 'file', path = '{}', changelog = true)", out.display());
        db.run(&format!("CREATE SINK s FROM n {with} FORMAT PLAIN ENCODE JSON; WAIT FOR s")).await;
        let files = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(files.filter(|name| name.ends_with(".ndjson")).count(), 1);
    });
    let took = server.stop();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!server.data_dir().join("millstream.addr").exists());
    server.restart(None);
    block_on(async { assert_eq!(server.connect().await.value("SELECT n FROM n").await, "3") });
}
