//! Binding, by table.

use datafusion::execution::session_state::SessionState;

use super::*;
use crate::types::{Column as TypedColumn, RelationId};

fn session() -> SessionState {
    crate::functions::session_state_builder().build()
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    let mut add = |name: &str, kind, columns: Vec<(&str, SqlType)>, sql: &str| {
        let columns = Schema::new(columns.into_iter().map(|(name, ty)| TypedColumn::new(name, ty)).collect());
        let id: RelationId = catalog.allocate_relation();
        let mut relation = Relation::new(id, name, kind, columns);
        relation.sql = sql.to_string();
        if name == "bids" {
            relation.watermark = Some(crate::catalog::RelationWatermark {
                column: 3,
                expression: serde_json::Value::Null,
                delay_us: None,
            });
            relation.append_only = true;
        }
        catalog.create(relation).unwrap();
    };
    let bids = vec![
        ("auction", SqlType::BigInt),
        ("price", SqlType::BigInt),
        ("channel", SqlType::Varchar),
        ("ts", SqlType::Timestamp),
    ];
    add("bids", RelationKind::Source, bids, "");
    let table = "CREATE TABLE t (id INT PRIMARY KEY, v DOUBLE PRECISION DEFAULT 1.5, twice AS v * 2, note VARCHAR)";
    let columns =
        vec![("id", SqlType::Int), ("v", SqlType::Double), ("twice", SqlType::Double), ("note", SqlType::Varchar)];
    add("t", RelationKind::Table, columns, table);
    let view = "CREATE VIEW dear (a, p) AS SELECT auction, price FROM bids WHERE price > 100";
    add("dear", RelationKind::View, vec![("a", SqlType::BigInt), ("p", SqlType::BigInt)], view);
    catalog
}

fn bind(sql: &str, mode: BindMode) -> Result<BoundQuery> {
    let statement = parse(sql)?.remove(0).statement;
    let Statement::Query(query) = statement else { panic!("{sql} is no query") };
    let (catalog, session) = (catalog(), session());
    Binder::new(&catalog, &session).query(&query, mode, &[])
}

/// The names and types of a query's columns.
fn columns(sql: &str) -> String {
    let bound = bind(sql, BindMode::Read).unwrap_or_else(|error| panic!("{sql}: {}", error.report()));
    let shown = bound.schema.columns.iter().map(|column| format!("{} {}", column.name, column.ty));
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn columns_have_postgres_names() {
    for (sql, expected) in [
        ("SELECT 1", "?column? integer"),
        ("SELECT 1, 1, 'a'", "?column? integer, ?column? integer, ?column? character varying"),
        ("SELECT count(*), count(*) FROM bids", "count bigint, count bigint"),
        ("SELECT price, price FROM bids", "price bigint, price bigint"),
        ("SELECT price::int, '1'::bigint FROM bids", "price integer, int8 bigint"),
        ("SELECT CASE WHEN true THEN 1 END", "case integer"),
        ("SELECT max(price) FROM bids GROUP BY auction HAVING max(price) > 1 ORDER BY max(price)", "max bigint"),
        ("SELECT x.max FROM (SELECT max(price) FROM bids) x", "max bigint"),
        ("SELECT * FROM dear", "a bigint, p bigint"),
        ("SELECT TIMESTAMP '2020-01-01 00:00:00'", "timestamp timestamp without time zone"),
        ("SELECT 1.5", "?column? numeric(2,1)"),
    ] {
        assert_eq!(columns(sql), expected, "{sql}");
    }
}

#[test]
fn windows_have_one_meaning_in_every_spelling() {
    let plan = |sql: &str| {
        let bound = bind(sql, BindMode::Stored).unwrap_or_else(|error| panic!("{sql}: {}", error.report()));
        bound
            .plan
            .display_indent()
            .to_string()
            .lines()
            .find(|line| line.contains("WindowAssign"))
            .unwrap()
            .trim()
            .to_string()
    };
    for sql in [
        "SELECT window_start FROM TUMBLE(bids, ts, INTERVAL '10 seconds')",
        "SELECT window_start FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
        "SELECT window_start FROM TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND) AS w",
        "SELECT window_start FROM TABLE(TUMBLE(DATA => TABLE bids, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND))",
        "SELECT TUMBLE_START(ts, INTERVAL '10' SECOND), count(*) FROM bids GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)",
        "SELECT tumble_end(b.ts, INTERVAL '10' SECOND) FROM bids b GROUP BY b.auction, TUMBLE(b.ts, INTERVAL '10' SECOND)",
        "SELECT w.window_start FROM TUMBLE(bids, ts, '10 seconds') AS w",
    ] {
        assert_eq!(plan(sql), "WindowAssign: TUMBLE size 10 s on bids.ts", "{sql}");
    }
    assert_eq!(
        plan("SELECT 1 FROM HOP(bids, ts, INTERVAL '1 second', INTERVAL '1 minute', INTERVAL '500 ms')"),
        "WindowAssign: HOP slide 1 s size 1 min offset 500 ms on bids.ts"
    );
    plan(
        "SELECT count(*) FROM TUMBLE((SELECT * FROM bids WHERE price > 1), ts, INTERVAL '10 seconds') GROUP BY window_end",
    );
}

#[test]
fn parameters_have_types() {
    let bound = bind("SELECT * FROM bids WHERE price > $1 AND channel = $2 AND $3 IS NULL", BindMode::Read).unwrap();
    assert_eq!(bound.parameters, [SqlType::BigInt, SqlType::Varchar, SqlType::Varchar]);
    let (catalog, session) = (catalog(), session());
    let Statement::Insert(insert) =
        parse("INSERT INTO t (id, v) VALUES ($1, $2), (1, DEFAULT)").unwrap().remove(0).statement
    else {
        panic!()
    };
    let bound = Binder::new(&catalog, &session).insert(&insert, &[]).unwrap();
    assert_eq!(bound.rows.parameters, [SqlType::Int, SqlType::Double]);
    assert_eq!(bound.rows.schema.types(), bound.table.columns.types());
}

#[test]
fn changes_give_whole_rows() {
    let (catalog, session) = (catalog(), session());
    let binder = Binder::new(&catalog, &session);
    let Statement::Update(update) =
        parse("UPDATE t SET v = v + 1, note = DEFAULT WHERE id = $1").unwrap().remove(0).statement
    else {
        panic!()
    };
    let bound = binder.update(&update, &[]).unwrap();
    let names: Vec<_> = bound.rows.schema.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "v", "twice", "note", "__new_id", "__new_v", "__new_twice", "__new_note"]);
    assert_eq!(bound.rows.schema.types()[4..], bound.table.columns.types());
    assert_eq!(bound.rows.parameters, [SqlType::Int]);
    let Statement::Delete(delete) =
        parse("DELETE FROM t AS x WHERE x.id IN (SELECT auction FROM bids)").unwrap().remove(0).statement
    else {
        panic!()
    };
    assert_eq!(binder.delete(&delete, &[]).unwrap().rows.schema.types(), bound.table.columns.types());
}

/// The report of what a statement is refused with, its position first; `EXPLAIN` of the job when it is not.
fn outcome(sql: &str) -> String {
    let planned = plan(sql);
    match planned {
        Ok(text) => text,
        Err(error) => {
            let position = error.position().map_or(String::new(), |at| format!(" at {at}"));
            format!("{}{position}: {}", error.sqlstate(), error.report())
        }
    }
}

fn plan(sql: &str) -> Result<String> {
    use crate::plan::{EmitMode, KeepLimits, Target, ViewRequest, explain, plan_view};
    use crate::sql::statement::{EmitClause, ObjectKind};
    let (catalog, session) = (catalog(), session());
    let binder = Binder::new(&catalog, &session);
    match parse(sql)?.remove(0).statement {
        Statement::Query(query) => binder.query(&query, BindMode::Read, &[]).map(|_| "ok".to_string()),
        Statement::CreateMaterializedView(view) => {
            let bound = binder.view(&view.query, &view.columns, BindMode::Stored)?;
            let emit = match view.emit {
                EmitClause::Changes => EmitMode::Changes,
                EmitClause::WindowClose { position } => EmitMode::WindowClose { position },
            };
            let id = |n: u64| RelationId(1000 + n);
            let request = ViewRequest {
                plan: &bound.plan,
                schema: &bound.schema,
                emit,
                target: Target::View(id(0)),
                late: Some(id(1)),
                faults: Some(id(2)),
                keep: KeepLimits::default(),
            };
            Ok(explain(&plan_view(&request, &session)?))
        }
        Statement::CreateSource(create) => {
            crate::sql::options::source_options(&create)?;
            binder.definition(&create, ObjectKind::Source, None).map(|definition| format!("{definition:?}"))
        }
        Statement::CreateTable(create) => {
            crate::sql::options::table_options(&create)?;
            binder.definition(&create, ObjectKind::Table, None).map(|definition| format!("{definition:?}"))
        }
        Statement::CreateSink(create) => {
            crate::sql::options::sink_options(&create).map(|options| format!("{options:?}"))
        }
        Statement::Insert(insert) => binder.insert(&insert, &[]).map(|_| "ok".to_string()),
        Statement::Update(update) => binder.update(&update, &[]).map(|_| "ok".to_string()),
        Statement::Delete(delete) => binder.delete(&delete, &[]).map(|_| "ok".to_string()),
        _ => Ok("ok".to_string()),
    }
}

#[test]
fn views_become_graphs() {
    for (query, wanted) in [
        ("SELECT auction, price * 2 AS d FROM bids WHERE price > 5", &["source bids", "append-only"][..]),
        ("SELECT count(*), sum(price) FROM bids", &["aggregate"]),
        ("SELECT auction, count(*) FROM bids GROUP BY auction HAVING count(*) > 2", &["key auction", "revised"]),
        (
            "SELECT window_start, auction, count(*) AS n, avg(price) FROM TUMBLE(bids, ts, INTERVAL '10 seconds') GROUP BY 1, 2",
            &[
                "gate",
                "hidden watermark",
                "watermark has not reached",
                "late rows are kept",
                "key window_start, auction",
            ],
        ),
        (
            "SELECT window_end, max(price) FROM HOP(bids, ts, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY window_end EMIT ON WINDOW CLOSE",
            &["gate", "on window close", "append-only; late rows are kept"],
        ),
        ("SELECT DISTINCT auction FROM bids", &["distinct", "append-only"]),
        ("SELECT b.price, t.note FROM bids b JOIN t ON b.auction = t.id AND b.price > t.v", &["join", "relation t"]),
        ("SELECT a, p FROM dear UNION ALL SELECT auction, price FROM bids", &["union"]),
        ("SELECT a FROM dear UNION SELECT auction FROM bids", &["union", "distinct"]),
        ("SELECT count(DISTINCT channel) FILTER (WHERE price > 3) FROM bids GROUP BY auction % 10", &["aggregate"]),
        ("SELECT 1 AS x FROM bids WHERE false", &["source bids"]),
    ] {
        let text = outcome(&format!("CREATE MATERIALIZED VIEW v AS {query}"));
        for part in wanted {
            assert!(text.contains(part), "{query}: no {part:?} in\n{text}");
        }
    }
}

/// Each file of `sql-tests/errors` holds statements and what they are refused with: the statement up to `;`, a line
/// `----`, the report, and a blank line. `MILLSTREAM_BLESS=1` writes the reports anew.
#[test]
fn errors_are_as_recorded() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests/errors");
    let bless = std::env::var_os("MILLSTREAM_BLESS").is_some();
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        // The .slt files beside are tests/it's.
        if path.extension().is_none_or(|end| end != "txt") {
            continue;
        }
        let recorded = std::fs::read_to_string(&path).unwrap();
        let mut found = String::new();
        for entry in recorded.split("\n\n").filter(|entry| !entry.trim().is_empty()) {
            let sql = entry.split("\n----").next().unwrap().trim();
            found.push_str(&format!("{sql}\n----\n{}\n\n", outcome(sql.trim_end_matches(';'))));
        }
        if bless {
            std::fs::write(&path, found).unwrap();
        } else {
            assert_eq!(found.trim(), recorded.trim(), "{}", path.display());
        }
    }
}
