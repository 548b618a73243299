//! Real clients against a real server: each file of tests/clients is a program that is given host and port and ends with
//! "ok". Python's and Node's packages are put where `scripts/setup clients` says. A tool that is not there is passed over, and
//! is a failure where the variable CI is set.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Server, full};

/// Where `scripts/setup` puts the packages of clients.
fn packages() -> PathBuf {
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("MILLSTREAM_CACHE").unwrap_or_else(|_| format!("{home}/.cache/millstream"));
    Path::new(&cache).join("clients")
}

/// Runs `file` of tests/clients with `tool` (whose packages are in the last of `environment`) against a server of its own.
fn check(tool: &Path, file: &str, environment: &[(&str, PathBuf)]) {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    let there = found && environment.iter().all(|(_, path)| path.exists());
    if !there {
        assert!(
            std::env::var("CI").is_err(),
            "{} or its packages are not there: scripts/setup clients",
            tool.display()
        );
        println!("{file} is passed over: {} or its packages are not there (scripts/setup clients)", tool.display());
        return;
    }
    let server = Server::start(&["--workers", "2"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(file);
    let mut command = Command::new(tool);
    command.arg(script).arg(server.address().ip().to_string()).arg(server.address().port().to_string());
    command.envs(environment.iter().map(|(name, path)| (name, path)));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let ok = output.status.success() && said.trim_end().ends_with("ok");
    assert!(ok, "{file}:\n{said}\n{}\n{}", String::from_utf8_lossy(&output.stderr), server.log());
}

fn python(file: &str) {
    check(&packages().join("bin/python"), file, &[]);
}

#[test]
fn psql_finds_and_copies() {
    if !full() && Command::new("psql").arg("--version").output().is_err() && std::env::var("CI").is_err() {
        return;
    }
    check(Path::new("bash"), "psql.sh", &[]);
}

#[test]
fn psycopg_uses_cursors_copy_pipelines_and_savepoints() {
    python("psycopg_test.py");
}

#[test]
fn asyncpg_speaks_binary() {
    python("asyncpg_test.py");
}

#[test]
fn sqlalchemy_reflects() {
    python("sqlalchemy_test.py");
}

#[test]
fn node_postgres_binds_and_fails_well() {
    check(Path::new("node"), "node_pg.cjs", &[("NODE_PATH", packages().join("node/node_modules"))]);
}

#[test]
fn jdbc_reads_metadata_and_prepares() {
    check(Path::new("java"), "Jdbc.java", &[("CLASSPATH", packages().join("java/postgresql-42.7.4.jar"))]);
}
