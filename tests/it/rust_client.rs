//! tokio-postgres: parameters and rows in binary, pipelining, portals, COPY in binary, transactions with savepoints, notices.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures::TryStreamExt;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Kind, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, IsolationLevel, NoTls};

use crate::harness::{Server, block_on};

/// Connects; notices are gathered.
async fn connect(server: &Server) -> (Client, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let text = format!("host=127.0.0.1 port={} user=ada dbname=millstream", server.address().port());
    let (client, mut connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    let (tell, notices) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Ok(Some(message)) = messages.try_next().await {
            if let AsyncMessage::Notice(notice) = message {
                let _ = tell.send(notice.message().to_string());
            }
        }
    });
    (client, notices)
}

const TABLE: &str =
    "CREATE TABLE every (id BIGINT PRIMARY KEY, b BOOLEAN, s SMALLINT, i INT, r REAL, d DOUBLE PRECISION,
    v VARCHAR, y BYTEA, day DATE, clock TIME, at TIMESTAMP, tz TIMESTAMPTZ, list INT[], words VARCHAR[])";

#[test]
fn tokio_postgres_binds_and_reads_every_type() {
    block_on(async {
        let server = Server::start(&["--workers", "2"]);
        let (client, _notices) = connect(&server).await;
        client.batch_execute(TABLE).await.unwrap();
        let insert = "INSERT INTO every VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
        let insert = client.prepare(insert).await.unwrap();
        assert_eq!(insert.params()[..4], [Type::INT8, Type::BOOL, Type::INT2, Type::INT4]);
        assert!(matches!(insert.params()[12].kind(), Kind::Array(element) if *element == Type::INT4));
        let day = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
        let clock = NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999).unwrap();
        let at = NaiveDateTime::new(day, clock);
        let tz: DateTime<Utc> = at.and_utc();
        let (list, words) = (vec![Some(1), None, Some(i32::MIN)], vec!["a,\"b\"".to_string(), String::new()]);
        let bytes = vec![0u8, 255, 7];
        let none: Option<i32> = None;
        let values: [&(dyn ToSql + Sync); 14] = [
            &i64::MIN,
            &true,
            &i16::MIN,
            &i32::MAX,
            &0.25f32,
            &1e300f64,
            &"grüße",
            &bytes,
            &day,
            &clock,
            &at,
            &tz,
            &list,
            &words,
        ];
        assert_eq!(client.execute(&insert, &values).await.unwrap(), 1);
        client.execute("INSERT INTO every (id, i) VALUES ($1, $2)", &[&2i64, &none]).await.unwrap();
        let row = client.query_one("SELECT * FROM every WHERE id = $1", &[&i64::MIN]).await.unwrap();
        assert_eq!(
            (row.get::<_, i64>("id"), row.get::<_, bool>("b"), row.get::<_, i16>("s")),
            (i64::MIN, true, i16::MIN)
        );
        assert_eq!((row.get::<_, i32>("i"), row.get::<_, f32>("r"), row.get::<_, f64>("d")), (i32::MAX, 0.25, 1e300));
        assert_eq!((row.get::<_, &str>("v"), row.get::<_, Vec<u8>>("y")), ("grüße", bytes));
        assert_eq!((row.get::<_, NaiveDate>("day"), row.get::<_, NaiveTime>("clock")), (day, clock));
        assert_eq!((row.get::<_, NaiveDateTime>("at"), row.get::<_, DateTime<Utc>>("tz")), (at, tz));
        assert_eq!((row.get::<_, Vec<Option<i32>>>("list"), row.get::<_, Vec<String>>("words")), (list, words));
        let empty = client.query_one("SELECT * FROM every WHERE id = ANY ($1)", &[&vec![2i64, 3]]).await.unwrap();
        assert!((1..14).all(|column| empty.try_get::<_, Option<bool>>(column).is_err() || column == 1));
        assert_eq!(empty.get::<_, Option<Vec<i32>>>("list"), None);
        // Names of types are looked up in the catalog, with oids in binary.
        let row =
            client.query_one("SELECT oid, typname, typelem FROM pg_type WHERE oid = $1", &[&1007u32]).await.unwrap();
        assert_eq!((row.get::<_, u32>(0), row.get::<_, &str>(1), row.get::<_, u32>(2)), (1007, "_int4", 23));
        let now: SystemTime = client.query_one("SELECT now()", &[]).await.unwrap().get(0);
        assert!(now.elapsed().unwrap() < Duration::from_secs(600));
    });
}

#[test]
fn tokio_postgres_pipelines_and_reads_in_pieces() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        let (mut client, mut notices) = connect(&server).await;
        client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR)").await.unwrap();
        // Sent before any answer is read.
        let statement = client.prepare("SELECT $1::int * 2").await.unwrap();
        let answers = (0..100).map(|i| {
            let (client, statement) = (&client, &statement);
            async move { client.query_one(statement, &[&i]).await.unwrap().get::<_, i32>(0) }
        });
        assert_eq!(futures::future::join_all(answers).await, (0..100).map(|i| i * 2).collect::<Vec<_>>());

        let sink = client.copy_in("COPY t (id, v) FROM STDIN (FORMAT binary)").await.unwrap();
        let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, &[Type::INT4, Type::VARCHAR]));
        for id in 0..1_000 {
            let v = (id % 3 > 0).then(|| format!("row {id}"));
            writer.as_mut().write(&[&id, &v]).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap(), 1_000);
        let out = client.copy_out("COPY (SELECT id, v FROM t ORDER BY id) TO STDOUT (FORMAT binary)").await.unwrap();
        let rows: Vec<_> = BinaryCopyOutStream::new(out, &[Type::INT4, Type::VARCHAR]).try_collect().await.unwrap();
        assert_eq!((rows.len(), rows[7].get::<i32>(0), rows[7].get::<&str>(1)), (1_000, 7, "row 7"));
        assert_eq!(rows[9].get::<Option<&str>>(1), None);

        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind("SELECT id FROM t WHERE id >= $1 ORDER BY id", &[&10]).await.unwrap();
        for piece in 0..3 {
            let rows = transaction.query_portal(&portal, 100).await.unwrap();
            let ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(ids, (10 + piece * 100..110 + piece * 100).collect::<Vec<_>>());
        }
        transaction.rollback().await.unwrap();
        // DDL in a block takes effect, and says when.
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute("CREATE TABLE made (id INT PRIMARY KEY)").await.unwrap();
        transaction.commit().await.unwrap();
        assert!(notices.recv().await.is_some_and(|notice| notice.contains("takes effect at once")));
    });
}

#[test]
fn tokio_postgres_nests_transactions_and_places_errors() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        let (mut client, _notices) = connect(&server).await;
        client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
        let count = "SELECT count(*) FROM t";
        let mut outer =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
        outer.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
        {
            let mut inner = outer.savepoint("inner_one").await.unwrap();
            inner.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
            let innermost = inner.transaction().await.unwrap();
            let error = innermost.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
            innermost.rollback().await.unwrap();
            inner.commit().await.unwrap();
        }
        {
            let inner = outer.transaction().await.unwrap();
            inner.execute("DELETE FROM t", &[]).await.unwrap();
            // Dropped: rolled back.
        }
        assert_eq!(outer.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
        outer.commit().await.unwrap();
        assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
        let error = client.query("SELECT id, nothing FROM t", &[]).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code(), &SqlState::UNDEFINED_COLUMN);
        assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(12)));
        let error = client.query("SELECT id FROM t WHERE id = $1", &[&"text"]).await;
        assert!(error.is_err(), "the client refuses a text for an integer");
        assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
    });
}
