//! The examples: each script runs with `millstream run` and through psql, and prints what lies beside it as `.out`.
//! `MILLSTREAM_BLESS=1` writes the `.out` files anew, for a reader to review.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::harness::Server;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The example scripts, in order.
fn scripts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("examples")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let mut scripts: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "sql")).collect();
    scripts.sort();
    assert!(scripts.len() >= 5, "{scripts:?}");
    scripts
}

/// A folder in which `examples/data` is the repository's, and what an example writes is its own.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("millstream-examples-").tempdir().unwrap();
    std::fs::create_dir(folder.path().join("examples")).unwrap();
    let data = folder.path().join("examples/data");
    std::os::unix::fs::symlink(root().join("examples/data"), data).unwrap();
    folder
}

fn text(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    assert_eq!(stderr, "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn run_prints_what_is_beside_it() {
    for script in scripts() {
        let folder = workplace();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.current_dir(folder.path()).env("TMPDIR", folder.path()).arg("run").arg(&script);
        let printed = text(command.output().unwrap());
        let beside = script.with_extension("out");
        if std::env::var_os("MILLSTREAM_BLESS").is_some() {
            std::fs::write(&beside, printed).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        assert_eq!(printed, expected, "{}", script.display());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["examples"], "a run leaves nothing behind");
    }
}

#[test]
fn psql_prints_the_same() {
    if Command::new("psql").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "psql is missing: run scripts/setup");
        eprintln!("SKIPPED: psql is missing; scripts/setup installs it");
        return;
    }
    let server = Server::start_in(workplace(), &[]);
    let (host, port) = (server.address().ip().to_string(), server.address().port().to_string());
    // One after another on one server: they share the sources.
    for script in scripts() {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-h", &host, "-p", &port, "-d", "millstream", "-U", "test", "-v", "ON_ERROR_STOP=1", "-f"]);
        let output = psql.arg(&script).env("PGCLIENTENCODING", "UTF8").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {stderr}", script.display());
        let printed = String::from_utf8(output.stdout).unwrap();
        let expected = std::fs::read_to_string(script.with_extension("out")).unwrap();
        assert_eq!(printed, expected, "{}", script.display());
    }
}
