//! A suite of queries as files: each is kept as a view and must equal the same query run as a batch, after every change.
//!
//! A file holds one query. Its first lines are comments: what it asks; `-- refused: text` when our engine refuses it, with
//! a part of the message (a query that starts to work must lose the line: the test fails); `-- batch: query` when the
//! batch is written otherwise; `-- view: query` over `{view}` when it is not the view itself that must equal the batch.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::{Db, describe};

/// One query of a suite.
#[derive(Clone, Debug)]
pub struct Query {
    pub name: String,
    pub sql: String,
    pub refused: Option<String>,
    batch: String,
    view: String,
}

/// All queries of `sql-tests/<folder>`, by their numbers; `MILLSTREAM_SLT` picks those whose path contains it.
pub fn queries(folder: &str) -> Vec<Query> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests").join(folder);
    let wanted = std::env::var("MILLSTREAM_SLT").unwrap_or_default();
    let mut queries = BTreeMap::new();
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "sql") && path.to_string_lossy().contains(&wanted) {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let number: u32 = name.trim_start_matches('q').parse().unwrap();
            queries.insert(number, read(name, &std::fs::read_to_string(&path).unwrap()));
        }
    }
    queries.into_values().collect()
}

fn read(name: String, text: &str) -> Query {
    let head = |key: &str| {
        let line = text.lines().take_while(|line| line.starts_with("--")).find_map(|line| line.strip_prefix(key));
        line.map(|rest| rest.trim().to_string())
    };
    let body = text.lines().skip_while(|line| line.starts_with("--")).collect::<Vec<_>>().join("\n");
    let sql = body.trim().trim_end_matches(';').to_string();
    Query {
        refused: head("-- refused:"),
        batch: head("-- batch:").unwrap_or_else(|| sql.clone()),
        view: head("-- view:").unwrap_or_else(|| "SELECT * FROM {view}".to_string()),
        name,
        sql,
    }
}

/// Makes a view of every query that is not refused, in the schema on the search path; gives those that were made.
/// What is refused and should not be, or the other way round, is collected in `wrong`.
pub async fn create(db: &Db, queries: &[Query], wrong: &mut Vec<String>) -> Vec<Query> {
    let mut made = Vec::new();
    for query in queries {
        let created = db.try_rows(&format!("CREATE MATERIALIZED VIEW {} AS {}", query.name, query.sql)).await;
        match (created, &query.refused) {
            (Ok(_), None) => made.push(query.clone()),
            (Ok(_), Some(_)) => wrong.push(format!("{} works now: take its `-- refused` line away", query.name)),
            (Err(error), Some(part)) if describe(&error).contains(part.as_str()) => {}
            (Err(error), _) => wrong.push(format!("{}: {}", query.name, describe(&error))),
        }
    }
    made
}

/// Compares every view with its batch.
pub async fn compare(db: &Db, made: &[Query], when: &str, wrong: &mut Vec<String>) {
    for query in made {
        let mut kept = match db.try_rows(&query.view.replace("{view}", &query.name)).await {
            Ok(rows) => rows,
            Err(error) => {
                wrong.push(format!("{} {when}: view: {}", query.name, describe(&error)));
                continue;
            }
        };
        let mut batch = match db.try_rows(&query.batch).await {
            Ok(rows) => rows,
            Err(error) => {
                wrong.push(format!("{} {when}: batch: {}", query.name, describe(&error)));
                continue;
            }
        };
        kept.sort();
        batch.sort();
        if kept != batch {
            let only = |a: &[Vec<String>], b: &[Vec<String>]| {
                let rows = a.iter().filter(|row| !b.contains(row)).take(3);
                rows.map(|row| row.join(" | ")).collect::<Vec<_>>().join("\n    ")
            };
            wrong.push(format!(
                "{} {when}: {} rows kept, {} in the batch\n  only kept:\n    {}\n  only in the batch:\n    {}",
                query.name,
                kept.len(),
                batch.len(),
                only(&kept, &batch),
                only(&batch, &kept)
            ));
        }
    }
}

/// Fails with everything that is wrong.
pub fn verdict(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
