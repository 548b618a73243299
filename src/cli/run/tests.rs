//! Scripts against the engine's double.

use super::*;
use crate::cli::check::check;
use crate::engine::SqlChecker;
use crate::engine::fake::{FakeChecker, FakeEngine};

struct Fake;

impl Launch for Fake {
    fn engine(&self, _: &Settings) -> Result<Arc<dyn SqlEngine>> {
        Ok(Arc::new(FakeEngine::default()))
    }

    fn checker(&self, _: &Settings) -> Result<Box<dyn SqlChecker>> {
        Ok(Box::new(FakeChecker))
    }
}

impl Screen for String {
    fn print(&mut self, text: &str) -> Result<()> {
        self.push_str(text);
        Ok(())
    }
}

/// What a script prints, and its error.
fn script(sql: &str, go: impl FnOnce(&Path, &mut String) -> Result<()>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.sql");
    std::fs::write(&file, sql).unwrap();
    let mut printed = String::new();
    if let Err(error) = go(&file, &mut printed) {
        let place = format!("{}/", folder.path().display());
        printed.push_str(&format!("ERROR {}: {}\n", error.sqlstate(), error.report().replace(&place, "")));
    }
    printed
}

fn ran(sql: &str) -> String {
    script(sql, |file, printed| run(&Fake, Settings::default(), file, printed))
}

#[test]
fn statements_run_in_order() {
    assert_eq!(ran("BEGIN; COMMIT;\nSELECT 2"), "BEGIN\nCOMMIT\n n \n---\n 0\n 1\n(2 rows)\n\n");
    assert_eq!(
        ran("-- nothing"),
        "ERROR 42601: syntax error at or near \"-- nothing\"\nCONTEXT: at a.sql:1:1\n  -- nothing\n  ^\n"
    );
    assert_eq!(
        ran("BEGIN;\nFAIL;\nCOMMIT"),
        "BEGIN\nERROR 42P01: relation \"x\" does not exist\nDETAIL: A detail.\nHINT: Did you mean \"y\"?\nCONTEXT: in view \"v\"\nCONTEXT: at a.sql:1:3\n  BEGIN;\n    ^\n"
    );
    assert!(ran("COPY CSV").starts_with("c0,c1,c2,"));
    assert!(ran("COPY CSV").ends_with(",,,,,\n"));
}

#[test]
fn a_script_that_is_not_there() {
    let mut printed = String::new();
    let error = run(&Fake, Settings::default(), Path::new("/nowhere/a.sql"), &mut printed).unwrap_err();
    assert_eq!(error.sqlstate(), "58P01");
}

#[test]
fn check_prints_plans() {
    let checked = |sql: &str| script(sql, |file, printed| check(&Fake, &Settings::default(), file, printed));
    assert_eq!(checked("A 1; B"), "-- A 1\nplan of A 1\n\n-- B\nplan of B\n\n");
    assert_eq!(
        checked("A;\nFAIL"),
        "-- A\nplan of A\n\nERROR 22023: relation \"x\" does not exist\nCONTEXT: at a.sql:2:3\n  FAIL\n    ^\n"
    );
}

#[test]
fn what_waits_for_sources() {
    let reading = |text: &str| reads(&Statement { text: text.into(), position: 1, parsed: Arc::new(()) });
    assert!(
        reading("select 1") && reading("WITH a AS (SELECT 1) SELECT * FROM a") && reading("COPY (SELECT 1) TO STDOUT")
    );
    assert!(!reading("COPY (SUBSCRIBE TO v) TO STDOUT") && !reading("INSERT INTO t SELECT 1") && !reading(""));
}
