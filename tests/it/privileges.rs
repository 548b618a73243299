//! The privilege matrix: who (rows of `WHO`) may do what (lines of `ACTIONS`), against a table of expected answers.

use crate::harness::{Db, Server, block_on};

/// How each who is made: after the objects, before the actions. All act by SET ROLE.
const GRANTS: &str = "
    GRANT SELECT ON t, src, v, mv, closed, keyed TO reader;
    GRANT INSERT, UPDATE, DELETE ON t TO writer;
    GRANT SELECT, INSERT, UPDATE, DELETE ON t TO both;
    GRANT CREATE ON SCHEMA public TO maker; GRANT SELECT ON t TO maker;
    GRANT ALL ON DATABASE millstream TO maker;
    GRANT reader TO member; GRANT owner TO heir;
    GRANT SELECT ON t TO giver WITH GRANT OPTION;
    REVOKE EXECUTE ON FUNCTION shut(INT) FROM PUBLIC; GRANT EXECUTE ON FUNCTION shut(INT) TO reader;
    GRANT USAGE ON SECRET key TO reader; GRANT USAGE ON SECRET key TO maker WITH GRANT OPTION;
    GRANT USAGE ON SCHEMA away TO reader; GRANT SELECT ON away.far TO reader; GRANT SELECT ON away.far TO writer";

const WHO: [&str; 11] =
    ["boss", "owner", "heir", "reader", "member", "writer", "both", "maker", "giver", "stranger", "loner"];

/// An action, and who may do it: the letters of `WHO` by their place, or `-`.
///        B boss, O owner, H heir, R reader, M member, W writer, 2 both, K maker, G giver, S stranger, L loner (NOINHERIT member of owner)
const ACTIONS: &[(&str, &str)] = &[
    ("SELECT * FROM t", "BOHRM-2KG--"),
    ("SELECT count(*) FROM t", "BOHRM-2KG--"),
    ("SELECT * FROM src LIMIT 1", "BOHRM------"),
    ("SELECT * FROM v", "BOHRM------"),
    ("SELECT * FROM mv", "BOHRM------"),
    // A view reads with the rights of its owner: loner's view reads what loner may not.
    ("SELECT * FROM closed", "BOHRM------"),
    ("SELECT * FROM ms_faults.mv", "BOHRM------"),
    ("SELECT 1 FROM t AS a JOIN mv AS b ON true", "BOHRM------"),
    ("SELECT (SELECT max(id) FROM t)", "BOHRM-2KG--"),
    ("WITH x AS (SELECT * FROM t) SELECT * FROM x", "BOHRM-2KG--"),
    ("EXPLAIN SELECT * FROM t", "BOHRM-2KG--"),
    ("COPY (SELECT * FROM t) TO STDOUT", "BOHRM-2KG--"),
    ("COPY t TO STDOUT", "BOHRM-2KG--"),
    ("BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH 1 FROM c; COMMIT", "BOHRM-2KG--"),
    ("PREPARE p AS SELECT * FROM t; EXECUTE p; DEALLOCATE p", "BOHRM-2KG--"),
    ("SELECT * FROM away.far", "BOHRM------"),
    ("INSERT INTO t VALUES (1000, 1) ON CONFLICT DO NOTHING", "BOH--W2----"),
    ("INSERT INTO t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = 1", "BOH---2----"),
    ("INSERT INTO t SELECT id + 2000, v FROM mv ON CONFLICT DO NOTHING", "BOH--------"),
    ("INSERT INTO t VALUES (1001, 1) ON CONFLICT DO NOTHING RETURNING id", "BOH---2----"),
    ("UPDATE t SET v = 7", "BOH--W2----"),
    ("UPDATE t SET v = v + 1", "BOH---2----"),
    // A sub-query reads the table though it names none of its columns.
    ("UPDATE t SET v = (SELECT count(*) FROM t)", "BOH---2----"),
    ("UPDATE t SET v = 7 WHERE id = 1", "BOH---2----"),
    ("DELETE FROM t WHERE id = 999", "BOH---2----"),
    ("EXPLAIN DELETE FROM t WHERE id = 999", "BOH---2----"),
    ("SELECT shut(1)", "BOHRM------"),
    ("SELECT free(1)", "BOHRMW2KGSL"),
    ("WAIT FOR mv", "BOHRM------"),
    ("CREATE TABLE made (a INT); DROP TABLE made", "BOH----K---"),
    ("CREATE VIEW made AS SELECT 1 AS a; DROP VIEW made", "BOH----K---"),
    ("CREATE MATERIALIZED VIEW made AS SELECT id FROM t; DROP MATERIALIZED VIEW made", "BOH----K---"),
    ("CREATE MATERIALIZED VIEW made AS SELECT * FROM mv; DROP MATERIALIZED VIEW made", "BOH--------"),
    ("CREATE SINK made FROM mv WITH (connector = 'blackhole'); DROP SINK made", "BOH--------"),
    ("CREATE FUNCTION made(a INT) RETURNS INT LANGUAGE sql AS 'SELECT a'; DROP FUNCTION made", "BOH----K---"),
    // Others run the text of what is theirs: only its owner replaces it.
    ("CREATE OR REPLACE VIEW v AS SELECT id FROM t", "BOH--------"),
    ("CREATE OR REPLACE FUNCTION free(a INT) RETURNS INT LANGUAGE sql AS 'SELECT a'", "BOH--------"),
    ("EXPLAIN CREATE MATERIALIZED VIEW made AS SELECT * FROM mv", "BOH--------"),
    ("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE TO mv; FETCH 1 FROM c; COMMIT", "BOHRM------"),
    ("CREATE SCHEMA made; DROP SCHEMA made", "B------K---"),
    ("CREATE INDEX made ON t (v); DROP INDEX made", "BOH--------"),
    ("COMMENT ON TABLE t IS 'x'", "BOH--------"),
    ("ALTER TABLE t RENAME TO t2; ALTER TABLE t2 RENAME TO t", "BOH--------"),
    ("GRANT SELECT ON t TO nobody; REVOKE SELECT ON t FROM nobody", "BOH-----G--"),
    ("GRANT INSERT ON t TO nobody; REVOKE INSERT ON t FROM nobody", "BOH--------"),
    ("GRANT SELECT ON mv TO nobody; REVOKE SELECT ON mv FROM nobody", "BOH--------"),
    ("CREATE ROLE made; DROP ROLE made", "B----------"),
    ("SET epoch = 'auto'", "B----------"),
    ("SELECT rolpassword FROM pg_authid", "B----------"),
    ("SELECT rolname FROM pg_roles", "BOHRMW2KGSL"),
    ("SELECT relname FROM pg_class", "BOHRMW2KGSL"),
    ("SELECT name FROM ms_jobs", "BOHRMW2KGSL"),
    ("FLUSH", "BOHRMW2KGSL"),
    ("SELECT 1", "BOHRMW2KGSL"),
    ("TRUNCATE t", "BOH--------"),
    ("CREATE SECRET made AS 'x'; ALTER SECRET made AS 'y'; DROP SECRET made", "B------K---"),
    ("CREATE SOURCE made (a INT) WITH (connector = 'datagen', rows = SECRET key); DROP SOURCE made", "BOH----K---"),
    ("CREATE SINK made FROM t WITH (connector = 'blackhole', snapshot = SECRET flag); DROP SINK made", "BOH--------"),
    ("EXPLAIN CREATE SINK made FROM t WITH (connector = 'blackhole', snapshot = SECRET flag)", "BOH--------"),
    // Whoever reads what uses a secret need not be granted the secret.
    ("SELECT * FROM keyed", "BOHRM------"),
    ("ALTER SECRET key AS '4'", "BOH--------"),
    ("COMMENT ON SECRET key IS 'x'", "BOH--------"),
    ("ALTER SECRET key OWNER TO owner", "BOH--------"),
    ("GRANT USAGE ON SECRET key TO nobody; REVOKE USAGE ON SECRET key FROM nobody", "BOH----K---"),
    ("GRANT USAGE ON SECRET flag TO nobody; REVOKE USAGE ON SECRET flag FROM nobody", "BOH--------"),
    ("SELECT name, owner FROM ms_secrets", "BOHRMW2KGSL"),
    (
        "CREATE SINK made FROM t WITH (connector = 'file', path = 'made', changelog = true) FORMAT PLAIN ENCODE CSV; DROP SINK made",
        "B----------",
    ),
    ("DROP SECRET flag", "BOH--------"),
    ("DROP SECRET key CASCADE", "BOH--------"),
    ("DROP SINK s", "BOH--------"),
    ("DROP VIEW v", "BOH--------"),
    ("DROP MATERIALIZED VIEW mv CASCADE", "BOH--------"),
    ("DROP SOURCE src CASCADE", "BOH--------"),
    ("DROP TABLE t CASCADE", "BOH--------"),
];

/// As `owner`, who may make things in public.
const OBJECTS: &str = "
    CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1);
    CREATE TABLE hidden (a INT);
    CREATE VIEW v AS SELECT id FROM t;
    CREATE VIEW closed AS SELECT a FROM hidden;
    CREATE MATERIALIZED VIEW mv AS SELECT id, v / id AS v FROM t;
    CREATE SOURCE src (a BIGINT) WITH (connector = 'datagen', rows = 3);
    CREATE SOURCE keyed (a BIGINT) WITH (connector = 'datagen', rows = SECRET key);
    CREATE SINK s FROM mv WITH (connector = 'blackhole');
    CREATE FUNCTION free(a INT) RETURNS INT LANGUAGE sql AS 'SELECT a';
    CREATE FUNCTION shut(a INT) RETURNS INT LANGUAGE sql AS 'SELECT a'";

async fn prepared(db: &Db) {
    db.run(
        "CREATE ROLE boss SUPERUSER; CREATE ROLE owner; CREATE ROLE heir; CREATE ROLE loner NOINHERIT IN ROLE owner",
    )
    .await;
    for role in ["reader", "member", "writer", "both", "maker", "giver", "stranger", "nobody"] {
        db.run(&format!("CREATE ROLE {role}")).await;
    }
    db.run("GRANT CREATE ON SCHEMA public TO owner; CREATE SCHEMA away AUTHORIZATION owner").await;
    db.run("CREATE SECRET key AS '3'; CREATE SECRET flag AS 'false'").await;
    db.run("ALTER SECRET key OWNER TO owner; ALTER SECRET flag OWNER TO owner").await;
    db.run("SET ROLE owner; CREATE TABLE away.far (a INT)").await;
    db.run(OBJECTS).await;
    db.run("RESET ROLE").await;
    db.run(GRANTS).await;
}

/// Whether it was done; an error that is no refusal fails the test.
async fn may(db: &Db, who: &str, action: &str) -> bool {
    db.run(&format!("SET ROLE {who}")).await;
    let mut done = true;
    for statement in action.split("; ") {
        let outcome = match statement.starts_with("COPY") {
            true => db.client().copy_out(statement).await.map(drop),
            false => db.try_rows(statement).await.map(drop),
        };
        if let Err(error) = outcome {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{who}: {statement}: {error}")).clone();
            assert_eq!(error.code().code(), "42501", "{who}: {statement}: {}", error.message());
            done = false;
            break;
        }
    }
    db.run("ROLLBACK; DEALLOCATE ALL").await;
    db.run("RESET ROLE").await;
    done
}

#[test]
fn everyone_may_do_what_the_table_says_and_no_more() {
    let mut server = Server::start(&[]);
    let (mut wrong, mut cells) = (Vec::new(), 0);
    block_on(async {
        let db = server.connect().await;
        prepared(&db).await;
    });
    // Rights outlive a crash.
    server.restart(None);
    block_on(async {
        let db = server.connect().await;
        for (action, expected) in ACTIONS {
            assert_eq!(expected.len(), WHO.len(), "{action}");
            // What is dropped is gone for the next: the refused ones come first.
            let drops = action.starts_with("DROP");
            for (who, letter) in WHO.iter().zip(expected.chars()).filter(|(_, letter)| !drops || *letter == '-') {
                let found = may(&db, who, action).await;
                cells += 1;
                if found != (letter != '-') {
                    wrong.push(format!("{who}: {action}: {}", if found { "done" } else { "refused" }));
                }
            }
            if drops {
                cells += 1;
                assert!(may(&db, "heir", action).await, "heir: {action}");
            }
        }
    });
    assert!(wrong.is_empty(), "{} of {cells} are not as expected:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells >= 600, "{cells}");
}

#[test]
fn rights_are_shown_as_postgres_shows_them() {
    let server = Server::start(&[]);
    block_on(async {
        let db = server.connect().await;
        prepared(&db).await;
        let acl = |name: &str| format!("SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = '{name}'");
        assert_eq!(
            db.value(&acl("t")).await,
            "owner=arwdDxt/owner reader=r/owner writer=awd/owner both=arwd/owner maker=r/owner giver=r*/owner"
        );
        assert_eq!(db.value(&acl("hidden")).await, "NULL");
        let has = |what: &str| format!("SELECT has_table_privilege({what})");
        assert_eq!(db.value(&has("'reader', 't', 'select'")).await, "t");
        assert_eq!(db.value(&has("'reader', 't', 'insert, update'")).await, "f");
        assert_eq!(db.value(&has("'giver', 't', 'select with grant option'")).await, "t");
        assert_eq!(db.value("SELECT has_schema_privilege('reader', 'away', 'usage')").await, "t");
        assert_eq!(db.value("SELECT has_schema_privilege('writer', 'away', 'usage')").await, "f");
        assert_eq!(db.value("SELECT pg_has_role('member', 'reader', 'usage')").await, "t");
        assert_eq!(db.value("SELECT pg_has_role('loner', 'owner', 'usage')").await, "f");
        assert_eq!(db.error("DROP ROLE reader").await.0, "2BP01");
        db.run("GRANT SELECT ON t TO stranger").await;
        assert_eq!(db.value(&has("'stranger', 't', 'select'")).await, "t");
        db.run("ALTER TABLE t OWNER TO boss; REVOKE ALL ON t FROM stranger, reader").await;
        assert_eq!(
            db.value(&acl("t")).await,
            "boss=arwdDxt/boss writer=awd/boss both=arwd/boss maker=r/boss giver=r*/boss"
        );
        assert_eq!(db.value("SELECT tableowner FROM pg_tables WHERE tablename = 't'").await, "boss");
        assert_eq!(db.error("GRANT EXECUTE ON t TO reader").await.0, "0LP01");
        assert_eq!(db.error("GRANT SELECT (id) ON t TO reader").await.0, "0A000");
    });
}
