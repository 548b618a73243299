//! Parsing, by table.

use super::super::statement::*;
use super::parse;

fn one(sql: &str) -> Statement {
    let mut statements = parse(sql).unwrap_or_else(|error| panic!("{sql}: {}", error.report()));
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0).statement
}

#[test]
fn everything_of_the_dialect_parses() {
    for sql in [
        "CREATE SOURCE IF NOT EXISTS bids (auction BIGINT, \"Price\" BIGINT NOT NULL, ts TIMESTAMP, price_eur AS price * 0.9,
           WATERMARK FOR ts AS ts - INTERVAL '4 seconds') INCLUDE partition AS c, offset
         WITH (connector = 'file', \"path\" = 'x', 'follow' = true, properties.bootstrap.server = 'localhost') FORMAT PLAIN ENCODE JSON",
        "CREATE SOURCE s WITH (connector='file', path='*.parquet') FORMAT PLAIN ENCODE PARQUET",
        "CREATE TABLE t (id INT PRIMARY KEY, v DOUBLE PRECISION DEFAULT 1.5, d DECIMAL(12,2), at TIMESTAMPTZ)",
        "CREATE TABLE t (a INT, b INT, c INT GENERATED ALWAYS AS (a + b) STORED, PRIMARY KEY (a, b) NOT ENFORCED)",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS mv (a, b) WITH (parallelism = 2) AS SELECT a, b FROM t EMIT ON WINDOW CLOSE",
        "CREATE MATERIALIZED VIEW mv AS WITH x AS (SELECT 1) SELECT * FROM x",
        "CREATE SINK s FROM mv WITH (connector = 'file', path = 'x') FORMAT PLAIN ENCODE CSV (header = true)",
        "CREATE SINK s AS SELECT a FROM t WHERE a IN (1, 2) WITH (connector = 'blackhole')",
        "CREATE SINK s AS WITH x AS (SELECT 1 AS a) SELECT a FROM x EMIT ON WINDOW CLOSE WITH (connector = 'blackhole')",
        "DROP SOURCE IF EXISTS a, b CASCADE",
        "DROP MATERIALIZED VIEW x RESTRICT",
        "INSERT INTO t VALUES (1, 'a'), (2, DEFAULT)",
        "INSERT INTO t (a, b) SELECT 1, 2",
        "UPDATE t SET a = a + 1, b = 2 WHERE id = $1",
        "DELETE FROM t WHERE id = 1",
        "SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
        "SELECT * FROM TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)",
        "SELECT * FROM TUMBLE(DATA => TABLE bids, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND)",
        "SELECT count(*) FROM bids GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)",
        "SELECT 1 FROM HOP(bids, ts, INTERVAL '1 second', INTERVAL '10 seconds') AS h",
        "VALUES (1), (2)",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SUBSCRIBE TO mv WITH (snapshot = false, progress = true) AS OF 17",
        "CREATE SECRET IF NOT EXISTS \"Key\" AS 'x'",
        "CREATE SECRET key AS $$a 'quoted' one$$",
        "ALTER SECRET key AS E'\\n'",
        "ALTER SECRET key OWNER TO ada",
        "DROP SECRET IF EXISTS a, b CASCADE",
        "COMMENT ON SECRET key IS NULL",
        "GRANT USAGE ON SECRET a, b TO ada WITH GRANT OPTION",
        "GRANT SELECT ON secret TO ada",
        "CREATE SINK s FROM mv WITH (connector = 'file', path = 'x', password = SECRET \"Key\", a = secret) FORMAT PLAIN ENCODE CSV (null = SECRET b)",
        "SUBSCRIBE mv",
        "COPY (SUBSCRIBE TO mv) TO STDOUT",
        "COPY (SELECT 1) TO STDOUT WITH (FORMAT csv, HEADER)",
        "COPY (SELECT 1) TO STDOUT CSV HEADER",
        "EXPLAIN SELECT 1",
        "EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT 1",
        "SHOW MATERIALIZED VIEWS",
        "SHOW JOBS",
        "SHOW CREATE MATERIALIZED VIEW x",
        "SHOW CREATE x",
        "SHOW server_version",
        "SHOW ALL",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "DESCRIBE x",
        "FLUSH",
        "WAIT FOR a, b",
        "SET SESSION epoch = 'manual'",
        "SET a.b TO 1, 2",
        "SET TIME ZONE 'UTC'",
        "RESET ALL",
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE",
        "START TRANSACTION",
        "COMMIT WORK",
        "ROLLBACK",
        "DISCARD ALL",
        "DEALLOCATE PREPARE ALL",
        "",
    ] {
        one(sql);
    }
}

#[test]
fn texts_and_positions_are_those_of_the_statement() {
    let statements =
        parse(" SELECT 1 ;\n-- words\nCREATE MATERIALIZED VIEW ü AS SELECT 'é;' FROM t EMIT ON WINDOW CLOSE ;;")
            .unwrap();
    assert_eq!(statements.len(), 2);
    assert_eq!((statements[0].text.as_str(), statements[0].position), ("SELECT 1", 2));
    assert_eq!(statements[1].position, 22);
    let Statement::CreateMaterializedView(view) = &statements[1].statement else { panic!() };
    assert_eq!(view.query_text, "SELECT 'é;' FROM t");
    assert_eq!(view.name, Name { schema: None, name: "ü".to_string(), position: 47 });
    assert_eq!(view.emit, EmitClause::WindowClose { position: 71 });
}

#[test]
fn option_keys_may_be_dotted_or_quoted() {
    let Statement::CreateSink(sink) = one(
        "CREATE SINK s FROM v WITH (connector = 'file', a.b.C = 'x', \"Path\" = y, 'roll' = INTERVAL '5' SECOND, n = -1)",
    ) else {
        panic!()
    };
    let found: Vec<_> = sink.options.values.iter().map(|(key, value)| format!("{key}={}", value.text)).collect();
    assert_eq!(found, ["a.b.c=x", "connector=file", "n=-1", "path=y", "roll=5 second"]);
}

#[test]
fn deep_and_long_statements_are_refused_or_work() {
    let parentheses = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(parse(&parentheses).unwrap_err().sqlstate(), "54001");
    let open = format!("SELECT {}", "(".repeat(10_000));
    assert_eq!(parse(&open).unwrap_err().sqlstate(), "54001");
    let chain = format!("SELECT {} true", "true AND ".repeat(10_000));
    assert_eq!(parse(&chain).unwrap_err().sqlstate(), "54001");
    for prefix in ["- ", "NOT ", "~ ", "CASE WHEN true THEN "] {
        let text = format!("SELECT {} 1", prefix.repeat(10_000));
        assert_eq!(parse(&text).unwrap_err().sqlstate(), "54001", "{prefix}");
    }
    let unions = vec!["SELECT 1"; 5_000].join(" UNION ALL ");
    assert_eq!(parse(&unions).unwrap_err().sqlstate(), "54001");
    let selects = format!("{}SELECT 1{}", "SELECT * FROM (".repeat(60), ")".repeat(60));
    let _ = parse(&selects);
    one(&format!("SELECT {}", vec!["1 + 1"; 5_000].join(", ")));
    one(&format!("INSERT INTO t VALUES {}", vec!["(1, 'a', -2.5)"; 10_000].join(", ")));
    one(&format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 10_000].join(", ")));
    one(&format!("SELECT {}1{}", "(".repeat(30), ")".repeat(30)));
}

#[test]
fn values_of_secrets_and_passwords_are_in_no_text() {
    for (sql, expected) in [
        ("CREATE SECRET s AS 'canary'", "CREATE SECRET s AS '***'"),
        (" alter secret s /* x */ as E'it\\'s canary' ; ", "alter secret s /* x */ as '***'"),
        ("CREATE SECRET s AS $a$canary$a$", "CREATE SECRET s AS '***'"),
        ("CREATE ROLE r PASSWORD 'canary' LOGIN", "CREATE ROLE r PASSWORD '***' LOGIN"),
        ("SELECT 'canary'", "SELECT 'canary'"),
    ] {
        let parsed = parse(sql).unwrap().remove(0);
        assert_eq!(parsed.text, expected);
        assert_eq!(format!("{:?}", parsed.statement).contains("canary"), sql.starts_with("SELECT"), "{sql}");
    }
    for sql in [
        "CREATE SECRET s AS canary",
        "CREATE SECRET s AS canary17x",
        "CREATE SECRET s 'canary'",
        "CREATE SECRET s 'it''s canary'",
        "CREATE SECRET 'canary'",
        "CREATE SECRET s AS 'x' 'canary'",
        "CREATE SECRET s AS N'canary'",
        "CREATE SECRET s AS U&'canary'",
        "CREATE SECRET s AS \"canary\"",
        "CREATE SECRET s AS 'canary",
        "CREATE SECRET s AS 'x' || 'canary'",
        "CREATE OR REPLACE SECRET s AS 'canary'",
        "EXPLAIN CREATE SECRET s AS 'canary'",
        "PREPARE p AS ALTER SECRET s AS 'canary'",
        "DECLARE c CURSOR FOR CREATE SECRET s AS 'canary'",
        "SELECT 1 CREATE SECRET s AS 'canary'",
        "CREATE ROLE r 'it''s canary'",
    ] {
        let report = parse(sql).map(|_| ()).expect_err(sql).report();
        assert!(!report.contains("canary"), "{sql}: {report}");
    }
}
