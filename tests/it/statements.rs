//! What graphical tools ask of a database (`tests/clients/statements`): each statement is run, and its answer has the columns and
//! values that the lines before it name.

use std::path::Path;

use tokio_postgres::SimpleQueryMessage;

use crate::harness::{Db, Server, block_on, describe};

/// What the tools find.
const OBJECTS: &str = "
    CREATE TABLE orders (id INT PRIMARY KEY, customer VARCHAR NOT NULL DEFAULT 'nobody', price NUMERIC(12,2), at TIMESTAMP);
    CREATE VIEW cheap AS SELECT id FROM orders WHERE price < 10;
    CREATE MATERIALIZED VIEW per_customer AS SELECT customer, count(*) AS orders FROM orders GROUP BY customer;
    CREATE INDEX by_customer ON orders (customer);
    CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT LANGUAGE sql RETURN x * 2;
    CREATE SCHEMA warehouse;
    CREATE TABLE warehouse.stock (item VARCHAR PRIMARY KEY, n BIGINT);
    COMMENT ON TABLE orders IS 'what was ordered';
    COMMENT ON COLUMN orders.price IS 'in euros';
    INSERT INTO orders VALUES (1, 'ada', 9.50, '2024-01-02 03:04:05'), (2, 'bob', 20, '2024-01-03'), (3, 'ada', 1.25, '2024-01-04')";

/// One statement and what is said of its answer.
#[derive(Default)]
struct Case {
    sql: String,
    columns: Option<String>,
    has: Vec<String>,
    rows: Option<usize>,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in text.split("\n\n") {
        let mut case = Case::default();
        for line in part.lines() {
            match line.strip_prefix("-- ") {
                None => case.sql.push_str(&format!("{line}\n")),
                Some(said) => match said.split_once(": ") {
                    Some(("columns", names)) => case.columns = Some(names.to_string()),
                    Some(("has", value)) => case.has.push(value.to_string()),
                    Some(("rows", count)) => case.rows = Some(count.parse().unwrap()),
                    _ => {}
                },
            }
        }
        cases.push(case);
    }
    cases
}

/// What is wrong with the answer.
async fn wrong(db: &Db, case: &Case) -> Option<String> {
    let messages = match db.client().simple_query(&case.sql).await {
        Ok(messages) => messages,
        Err(error) => return Some(describe(&error)),
    };
    let (mut columns, mut values, mut rows) = (String::new(), Vec::new(), 0);
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(found) => {
                columns = found.iter().map(|column| column.name()).collect::<Vec<_>>().join(", ");
            }
            SimpleQueryMessage::Row(row) => {
                rows += 1;
                values.extend((0..row.len()).filter_map(|i| row.get(i).map(str::to_string)));
            }
            _ => {}
        }
    }
    if case.columns.as_ref().is_some_and(|expected| *expected != columns) {
        return Some(format!("columns: {columns}"));
    }
    if case.rows.is_some_and(|expected| expected != rows) {
        return Some(format!("rows: {rows}: {values:?}"));
    }
    let missing = case.has.iter().find(|wanted| !values.contains(wanted));
    missing.map(|wanted| format!("no {wanted:?} in {rows} rows: {:?}", &values[..values.len().min(60)]))
}

#[test]
fn tools_find_what_they_ask_for() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        server.connect().await.run(OBJECTS).await;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/statements");
        let mut failures = Vec::new();
        let mut count = 0;
        for tool in ["dbeaver", "grafana", "metabase", "pgadmin"] {
            let db = server.connect().await;
            let text = std::fs::read_to_string(folder.join(format!("{tool}.sql"))).unwrap();
            for case in cases(&text) {
                count += 1;
                if let Some(wrong) = wrong(&db, &case).await {
                    failures.push(format!("{tool}: {}\n=> {wrong}", case.sql));
                }
            }
        }
        assert!(failures.is_empty(), "{} of {count} statements failed:\n\n{}", failures.len(), failures.join("\n\n"));
        assert!(count > 50, "{count} statements");
    });
}
