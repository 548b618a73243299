//! Every expression of `sql-tests/functions/*.golden` gives what PostgreSQL gave when `scripts/postgres record` asked it:
//! the same type, value or SQLSTATE, read at once and kept in a view.
//!
//! What is known to differ stands in `sql-tests/functions/differences.txt`, with our answer and the reason: a line that no
//! longer differs fails the test too. `MILLSTREAM_GOLDEN=text` looks at the files whose names contain that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::harness::{Db, Server, block_on};

/// Expressions of one view.
const VIEW_WIDTH: usize = 30;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests/functions")
}

/// An expression and PostgreSQL's answer: type and value, or `!` and SQLSTATE.
struct Line {
    expression: String,
    ty: String,
    value: String,
}

fn lines(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut parts = line.splitn(3, '\t').map(str::to_owned);
        Line {
            expression: parts.next().unwrap(),
            ty: parts.next().unwrap_or_default(),
            value: parts.next().unwrap_or_default(),
        }
    };
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(line).collect()
}

/// The catalog's name of a type that `pg_typeof` shows; text and varchar are one type here.
fn catalog_name(shown: &str) -> String {
    if let Some(element) = shown.strip_suffix("[]") {
        // Clients are told text[] of arrays of text.
        return format!("_{}", catalog_name(element).replace("varchar", "text"));
    }
    let known = match shown {
        "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "boolean" => "bool",
        "double precision" => "float8",
        "real" => "float4",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time without time zone" => "time",
        "text" | "character varying" | "unknown" => "varchar",
        other => other,
    };
    known.to_owned()
}

fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "''".into();
    }
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r")
}

/// Our answer, in the words of the golden files.
async fn ask(db: &Db, expression: &str) -> (String, String) {
    let state = |error: &tokio_postgres::Error| {
        ("!".to_owned(), error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()))
    };
    let sql = format!("SELECT {expression} AS x");
    let ty = match db.client().prepare(&sql).await {
        Ok(statement) => statement.columns()[0].type_().name().to_owned(),
        Err(error) => return state(&error),
    };
    match db.client().simple_query(&sql).await {
        Ok(messages) => {
            let row = messages.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            let value = row.and_then(|row| row.get(0)).map_or_else(|| "NULL".to_owned(), escaped);
            (ty, value)
        }
        Err(error) => state(&error),
    }
}

/// Expressions whose answers differ: our answer.
fn differences() -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(folder().join("differences.txt")).unwrap_or_default();
    lines(&text).into_iter().map(|line| (line.expression, (line.ty, line.value))).collect()
}

/// Keeps the expressions in views over a table of one row; each must hold what a read gave.
async fn keep(db: &Db, answered: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (i, chunk) in answered.chunks(VIEW_WIDTH).enumerate() {
        let name = format!("kept{i}");
        let items: Vec<String> = chunk.iter().enumerate().map(|(i, (sql, _))| format!("{sql} AS c{i}")).collect();
        let create = format!("CREATE MATERIALIZED VIEW {name} AS SELECT {} FROM one", items.join(", "));
        if let Err(error) = db.try_rows(&create).await {
            wrong.push(format!("in a view: {}\n{create}", crate::harness::describe(&error)));
            continue;
        }
        let messages = db.client().simple_query(&format!("SELECT * FROM {name}")).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        for (at, (sql, read)) in chunk.iter().enumerate() {
            let kept = row.map(|row| row.get(at).map_or_else(|| "NULL".to_owned(), escaped));
            if kept.as_ref() != Some(read) {
                wrong.push(format!("in a view: {sql}\n  read {read}, kept {kept:?}"));
            }
        }
        db.run(&format!("DROP MATERIALIZED VIEW {name}")).await;
    }
    wrong
}

#[test]
fn expressions_give_what_postgres_gives() {
    let wanted = std::env::var("MILLSTREAM_GOLDEN").unwrap_or_default();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "golden"));
    files.retain(|path| path.to_string_lossy().contains(&wanted));
    files.sort();
    let server = Server::start(&[]);
    let wrong = block_on(async {
        let db = server.connect().await;
        db.run("CREATE TABLE one (id INT)").await;
        db.run("INSERT INTO one VALUES (1)").await;
        let known = differences();
        let (mut wrong, mut count, mut equal) = (Vec::new(), 0, 0);
        for file in &files {
            let mut answered = Vec::new();
            for line in lines(&std::fs::read_to_string(file).unwrap()) {
                count += 1;
                let (ty, value) = ask(&db, &line.expression).await;
                let recorded = if line.ty == "!" { "!".to_owned() } else { catalog_name(&line.ty) };
                let same = ty == recorded && value == line.value;
                equal += usize::from(same);
                if ty != "!" {
                    answered.push((line.expression.clone(), value.clone()));
                }
                match known.get(&line.expression) {
                    None if same => {}
                    Some(ours) if !same && *ours == (ty.clone(), value.clone()) => {}
                    Some(ours) => wrong.push(format!(
                        "{}\t{ty}\t{value}\n  differences.txt says {ours:?}, PostgreSQL {} {}",
                        line.expression, line.ty, line.value
                    )),
                    None => wrong
                        .push(format!("{}\t{ty}\t{value}\n  PostgreSQL: {}\t{}", line.expression, line.ty, line.value)),
                }
            }
            wrong.extend(keep(&db, &answered).await);
        }
        eprintln!("{count} expressions, {equal} as in PostgreSQL, {} known to differ", known.len());
        wrong
    });
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
