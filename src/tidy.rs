//! The judge of the house: reads the sources and enforces the floors, the crates kept in one room, a `//!` sentence at
//! the head of every file, the sizes of files and functions, and no TODO without an issue.

mod source;

use std::path::Path;

use source::{Source, read_sources};

/// Rooms with their floor. A room imports only rooms on a lower floor; rooms of one floor are strangers.
const FLOORS: [(&str, u8); 19] = [
    ("cli", 11),
    ("wire", 10),
    ("console", 10),
    ("engine", 9),
    ("sql", 8),
    ("plan", 7),
    ("serving", 6),
    ("dataflow", 5),
    ("operators", 4),
    ("state", 3),
    ("catalog", 3),
    ("storage", 2),
    ("functions", 2),
    ("formats", 2),
    ("connectors", 2),
    ("types", 1),
    ("base", 0),
    ("docs", 255),
    ("tidy", 255),
];

/// Crates that only some folders may name outside tests.
const KEPT_CRATES: [(&str, &[&str]); 7] = [
    ("timely", &["dataflow/worker"]),
    ("rocksdb", &["storage"]),
    ("pgwire", &["wire"]),
    ("datafusion", &["sql", "plan", "functions", "serving"]),
    ("sqlparser", &["sql"]),
    ("clap", &["cli"]),
    ("nexmark", &["connectors/nexmark"]),
];

/// Files that may be longer than [`FILE_LINES_MAX`], with the reason.
const LONG_FILES: [(&str, &str); 0] = [];

/// Functions (`file: name`) that may be longer than [`FUNCTION_LINES_MAX`], with the reason.
const LONG_FUNCTIONS: [(&str, &str); 0] = [];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// What the house has to say about `source`, one line per finding.
fn findings(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    head(source, &mut found);
    floors(source, &mut found);
    kept_crates(source, &mut found);
    sizes(source, &mut found);
    promises(source, &mut found);
    found
}

fn head(source: &Source, found: &mut Vec<String>) {
    let head: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
    if !head.join(" ").contains(['.', ':']) {
        found.push(format!("{}: does not begin with `//!` and a sentence", source.path));
    }
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|&(_, floor)| floor)
}

fn floors(source: &Source, found: &mut Vec<String>) {
    let Some(room) = source.room() else { return };
    let Some(own) = floor(room) else {
        found.push(format!("{}: room \"{room}\" has no floor in src/tidy.rs", source.path));
        return;
    };
    for (line, imported) in source.crate_paths() {
        let Some(below) = floor(&imported) else { continue };
        if imported != room && below >= own {
            found.push(format!("{}:{line}: {room} (floor {own}) imports {imported} (floor {below})", source.path));
        }
    }
}

fn kept_crates(source: &Source, found: &mut Vec<String>) {
    for (name, homes) in KEPT_CRATES {
        if homes.iter().any(|home| Path::new(&source.path).starts_with(home) || source.path == format!("{home}.rs")) {
            continue;
        }
        for line in source.uses_of_crate(name) {
            if !source.is_test_line(line) {
                found.push(format!("{}:{line}: crate {name} is kept in {}", source.path, homes.join(", ")));
            }
        }
    }
}

fn sizes(source: &Source, found: &mut Vec<String>) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX && !LONG_FILES.iter().any(|(path, _)| *path == source.path) {
        found.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most", source.path));
    }
    for function in source.functions() {
        let name = format!("{}: {}", source.path, function.name);
        let allowed = LONG_FUNCTIONS.iter().any(|(long, _)| *long == name) || source.is_test_line(function.line);
        if function.lines > FUNCTION_LINES_MAX && !allowed {
            found.push(format!(
                "{}:{}: function {} has {} lines, {FUNCTION_LINES_MAX} at most",
                source.path, function.line, function.name, function.lines
            ));
        }
    }
}

/// A promise to do something later names the issue: `TODO(#12)`.
fn promises(source: &Source, found: &mut Vec<String>) {
    for (index, line) in source.text.lines().enumerate() {
        let broken = ["TODO", "FIXME", "XXX"].iter().any(|word| line.contains(word) && !line.contains("(#"));
        if broken && source.room() != Some("tidy") {
            found.push(format!("{}:{}: a promise without an issue number", source.path, index + 1));
        }
    }
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = read_sources(&root);
    assert!(sources.len() > 20, "no sources beneath {}", root.display());
    let found: Vec<String> = sources.iter().flat_map(findings).collect();
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_exception_is_still_needed() {
    let sources = read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for (path, reason) in LONG_FILES {
        assert!(!reason.is_empty());
        let long = sources.iter().any(|source| source.path == path && source.text.lines().count() > FILE_LINES_MAX);
        assert!(long, "{path} is short enough now: take it off LONG_FILES");
    }
    for (name, reason) in LONG_FUNCTIONS {
        assert!(!reason.is_empty());
        let long = sources.iter().any(|source| {
            source.functions().iter().any(|function| {
                format!("{}: {}", source.path, function.name) == name && function.lines > FUNCTION_LINES_MAX
            })
        });
        assert!(long, "{name} is short enough now: take it off LONG_FUNCTIONS");
    }
}

#[test]
fn the_judge_sees_what_it_should() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        assert_eq!(findings(&Source::new(path, text)), expected, "{path}");
    };
    check("state/mod.rs", "//! Keyed tables.\nuse crate::types::Epoch;\n", &[]);
    check("state/mod.rs", "use crate::types::Epoch;\n", &["state/mod.rs: does not begin with `//!` and a sentence"]);
    check(
        "state/mod.rs",
        "//! Tables.\nuse crate::{types::Epoch,\n  catalog::Catalog, base::{Error, engine}};\n",
        &["state/mod.rs:3: state (floor 3) imports catalog (floor 3)"],
    );
    check(
        "state/mod.rs",
        "//! Tables.\n// crate::engine in a comment, and \n/// \"crate::wire\" here\nconst A: &str = \"crate::wire\";\n",
        &[],
    );
    check(
        "sql/a.rs",
        "//! A.\nfn f() { let x = pgwire::api::Type::INT4; }\n#[cfg(test)]\nmod tests { use pgwire::x; }\n",
        &["sql/a.rs:2: crate pgwire is kept in wire"],
    );
    check("dataflow/worker/a.rs", "//! A.\nuse timely::x;\nuse ::timely::y;\n", &[]);
    check("dataflow/a.rs", "//! A.\nuse ::timely::y;\n", &["dataflow/a.rs:2: crate timely is kept in dataflow/worker"]);
    let long = format!("//! A.\nimpl X {{ fn long(&self) {{\n{}}} }}\n", "let a = '{';\n".repeat(80));
    check("sql/b.rs", &long, &["sql/b.rs:2: function long has 82 lines, 70 at most"]);
}
