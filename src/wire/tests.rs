//! The protocol end to end over a socket: a real client (tokio-postgres, psql where it is installed) or raw bytes on one
//! side, the engine's double on the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use super::Server;
use crate::base::Settings;
use crate::base::random::{Random, fresh_seed};
use crate::engine::fake::{EVERY_TYPE, FakeEngine};

/// What takes longer hangs. On an idle machine everything here ends within the grace of 300 ms.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: std::net::SocketAddr,
    alive: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

async fn serve(change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = Settings { listen: "127.0.0.1:0".to_string(), ..Settings::default() };
    change(&mut settings);
    let engine = Arc::new(FakeEngine::default());
    let alive = Arc::clone(&engine.alive);
    let server = Server::bind(Arc::new(settings), engine).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(server.serve(async move {
        let _ = stopped.await;
    }));
    Running { address, alive, stop, served }
}

impl Running {
    /// A connected client and its notices and end.
    async fn connect(&self, more: &str) -> Result<(Client, Watcher), tokio_postgres::Error> {
        let config = format!("host=127.0.0.1 port={} user=ada dbname=millstream {more}", self.address.port());
        let (client, mut connection) = tokio_postgres::connect(&config, NoTls).await?;
        let (tell, notices) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(message) = messages.next().await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) => drop(tell.send(notice.message().to_string())),
                    Ok(_) => {}
                    Err(error) => {
                        let _ = tell.send(format!("end: {error}"));
                        return;
                    }
                }
            }
        });
        Ok((client, notices))
    }

    /// Waits until nothing runs any more; fails when patience ends.
    async fn idle(&self) {
        let begun = Instant::now();
        while self.alive.load(Ordering::SeqCst) > 0 {
            assert!(begun.elapsed() < PATIENCE, "a statement is still alive");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until something runs.
    async fn busy(&self) {
        while self.alive.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

type Watcher = tokio::sync::mpsc::UnboundedReceiver<String>;

fn code(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_string())
}

/// Every row of a simple query, values joined by `|`, and the counts of its tags.
async fn simple(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let lines = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
                    Some(values.join("|"))
                }
                SimpleQueryMessage::CommandComplete(count) => Some(format!("#{count}")),
                _ => None,
            });
            lines.collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("error {}", code(&error)),
    }
}

#[tokio::test]
async fn simple_queries_of_several_statements() {
    let server = serve(|_| ()).await;
    let (client, _) = server.connect("").await.unwrap();
    assert_eq!(simple(&client, "SELECT 3; SELECT 1").await, "0 1 2 #3 0 #1");
    assert_eq!(simple(&client, "").await, "#0");
    assert_eq!(simple(&client, " ; ").await, "#0");
    assert_eq!(simple(&client, "SELECT 1; FAIL; SELECT 1").await, "error 42P01");
    assert_eq!(simple(&client, "SELECT 20000").await.len(), simple(&client, "SELECT 20000").await.len());
    assert_eq!(
        simple(&client, "TYPES").await,
        "t|-7|2147483647|-9223372036854775808|0.25|1e+300|-1234.50|grüße\t\"x\"|\\x6279746573|2024-02-29|04:05:06.789|\
         2024-02-29 12:30:00.5|2024-02-29 12:30:00+00|1 year 2 days 03:00:00 \
         NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL #2"
    );
    let error = client.simple_query("FAIL").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.detail(), error.hint()), (Some("A detail."), Some("Did you mean \"y\"?")));
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(3)));
    assert_eq!(error.where_(), Some("in view \"v\""));
}

#[tokio::test]
async fn prepared_statements_in_binary() {
    let server = serve(|_| ()).await;
    let (client, _) = server.connect("").await.unwrap();
    let rows = client.query("TYPES", &[]).await.unwrap();
    let row = &rows[0];
    assert_eq!(row.len(), EVERY_TYPE.len());
    assert!(row.get::<_, bool>(0));
    assert_eq!((row.get::<_, i16>(1), row.get::<_, i32>(2), row.get::<_, i64>(3)), (-7, i32::MAX, i64::MIN));
    assert_eq!((row.get::<_, f32>(4), row.get::<_, f64>(5)), (0.25, 1e300));
    assert_eq!(row.get::<_, String>(7), "grüße\t\"x\"");
    assert_eq!(row.get::<_, Vec<u8>>(8), b"bytes");
    assert_eq!(row.get::<_, chrono::NaiveDate>(9).to_string(), "2024-02-29");
    assert_eq!(row.get::<_, chrono::NaiveDateTime>(11).to_string(), "2024-02-29 12:30:00.500");
    assert_eq!(row.get::<_, chrono::DateTime<chrono::Utc>>(12).to_string(), "2024-02-29 12:30:00 UTC");
    assert!(rows[1].get::<_, Option<i64>>(3).is_none());
    assert_eq!(client.query_one("ECHO $1", &[&"hello"]).await.unwrap().get::<_, &str>(0), "hello");
    let typed = client.prepare_typed("ECHO $1", &[tokio_postgres::types::Type::INT8]).await.unwrap();
    assert_eq!(client.query_one(&typed, &[&-5i64]).await.unwrap().get::<_, &str>(0), "-5");
    assert_eq!(client.query_one(&typed, &[&None::<i64>]).await.unwrap().get::<_, &str>(0), "null");
    assert_eq!(code(&client.prepare("SELECT 1; SELECT 2").await.unwrap_err()), "42601");
    assert_eq!(client.execute("BEGIN", &[]).await.unwrap(), 0);
    assert_eq!(code(&client.execute("FAIL", &[]).await.unwrap_err()), "42P01");
    assert_eq!(client.query("SELECT 30", &[]).await.unwrap().len(), 30);
}

#[tokio::test]
async fn portals_give_rows_in_pieces() {
    let server = serve(|_| ()).await;
    let (mut client, _) = server.connect("").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT 20", &[]).await.unwrap();
    let mut sizes = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 8).await.unwrap();
        sizes.push(rows.len());
        if rows.is_empty() || rows.len() < 8 {
            break;
        }
        assert_eq!(rows[0].get::<_, i64>(0) as usize, sizes.iter().sum::<usize>() - rows.len());
    }
    assert_eq!(sizes, [8, 8, 4]);
    transaction.commit().await.unwrap();
    server.idle().await;
}

#[tokio::test]
async fn copy_out_in_text_and_csv() {
    let server = serve(|_| ()).await;
    let (client, _) = server.connect("").await.unwrap();
    for (sql, expected) in [
        ("COPY", "t\t-7\t2147483647\t-9223372036854775808\t0.25\t1e+300\t-1234.50\tgrüße\\t\"x\"\t\\\\x6279746573\t"),
        ("COPY CSV", "c0,c1,c2,c3,c4,c5,c6,c7,c8,c9,c10,c11,c12,c13\nt,-7,2147483647,"),
    ] {
        let chunks: Vec<bytes::Bytes> = client.copy_out(sql).await.unwrap().try_collect().await.unwrap();
        let text = String::from_utf8(chunks.concat()).unwrap();
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with('\n'));
    }
    assert_eq!(simple(&client, "SELECT 1").await, "0 #1");
}

#[tokio::test]
async fn cancel_in_every_phase() {
    let server = serve(|_| ()).await;
    for sql in ["HANG", "STUBBORN", "TRICKLE", "FLOOD", "COPY TRICKLE"] {
        let (client, _) = server.connect("").await.unwrap();
        let cancel = client.cancel_token();
        let running = tokio::spawn(async move {
            let error = match sql {
                "COPY TRICKLE" => {
                    let rows = client.copy_out(sql).await.unwrap();
                    rows.try_collect::<Vec<_>>().await.unwrap_err()
                }
                _ => client.simple_query(sql).await.unwrap_err(),
            };
            (code(&error), simple(&client, "SELECT 1").await)
        });
        server.busy().await;
        let begun = Instant::now();
        cancel.cancel_query(NoTls).await.unwrap();
        assert_eq!(running.await.unwrap(), ("57014".to_string(), "0 #1".to_string()), "{sql}");
        assert!(begun.elapsed() < PATIENCE, "{sql} took {:?}", begun.elapsed());
        server.idle().await;
    }
    let (client, _) = server.connect("").await.unwrap();
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    assert_eq!(simple(&client, "SET statement_timeout = 20").await, "#0");
    assert_eq!(simple(&client, "HANG").await, "error 57014");
    assert_eq!(simple(&client, "FLOOD").await, "error 57014");
}

#[tokio::test]
async fn a_vanished_client_ends_its_statement() {
    let server = serve(|settings| settings.heartbeat_interval = Duration::from_millis(5)).await;
    for sql in ["HANG", "STUBBORN", "TRICKLE", "FOLLOW", "FLOOD", "COPY TRICKLE"] {
        let mut raw = Raw::connect(&server).await;
        raw.query(sql).await;
        server.busy().await;
        drop(raw);
        server.idle().await;
    }
    for (sql, expected) in
        [("TRICKLE", "TDSSS"), ("FOLLOW", "TDNNN"), ("SET client_min_messages = warning; FOLLOW", "CTDSSS")]
    {
        let mut raw = Raw::connect(&server).await;
        raw.query(sql).await;
        let kinds = raw.read_kinds(expected.len()).await;
        assert_eq!(kinds, expected, "{sql}: a row at once, then heartbeats");
    }
}

#[tokio::test]
async fn who_may_connect() {
    let server = serve(|settings| settings.connections_max = 2).await;
    let refused = |more: &'static str| async { code(&server.connect(more).await.err().unwrap()) };
    assert_eq!(refused("dbname=other").await, "3D000");
    assert_eq!(refused("options='-c nonsense=1'").await, "42704");
    assert_eq!(refused("user=nobody").await, "57P03");
    let (client, _) = server.connect("application_name=x options='-c epoch=manual'").await.unwrap();
    assert_eq!(simple(&client, "SHOW epoch; SHOW application_name").await, "manual #0 x #0");
    assert_eq!(simple(&client, "SHOW session_authorization").await, "ada #0");
    let second = server.connect("sslmode=prefer").await.unwrap();
    assert_eq!(refused("").await, "53300");
    drop(second);
    while server.connect("").await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn notices_and_settings_are_told() {
    let server = serve(|_| ()).await;
    let (client, mut notices) = server.connect("").await.unwrap();
    simple(&client, "NOTE").await;
    assert_eq!(notices.recv().await.unwrap(), "quiet");
    assert_eq!(notices.recv().await.unwrap(), "loud");
    simple(&client, "SET client_min_messages = warning; NOTE; SET client_min_messages = error; NOTE").await;
    assert_eq!(notices.recv().await.unwrap(), "loud");
    assert!(notices.try_recv().is_err());
    let mut raw = Raw::connect(&server).await;
    raw.query("SET application_name = new").await;
    assert_eq!(raw.read_kinds(3).await, "SCZ");
    raw.query("SET application_name = new").await;
    assert_eq!(raw.read_kinds(2).await, "CZ");
}

#[tokio::test]
async fn stopping_tells_clients() {
    let server = serve(|_| ()).await;
    let (idle, mut watcher) = server.connect("").await.unwrap();
    let (busy, _) = server.connect("").await.unwrap();
    let running = tokio::spawn(async move { code(&busy.simple_query("HANG").await.unwrap_err()) });
    server.busy().await;
    let Running { stop, served, .. } = server;
    stop.send(()).unwrap();
    served.await.unwrap();
    assert_eq!(running.await.unwrap(), "57P01");
    assert!(watcher.recv().await.unwrap().starts_with("end: "));
    assert!(idle.is_closed());
}

#[tokio::test]
async fn a_bug_costs_one_client() {
    let server = serve(|_| ()).await;
    let (client, _) = server.connect("").await.unwrap();
    assert!(client.simple_query("PANIC").await.is_err());
    let (client, _) = server.connect("").await.unwrap();
    assert_eq!(simple(&client, "SELECT 1").await, "0 #1");
}

/// A client that speaks bytes.
struct Raw {
    stream: TcpStream,
    input: BytesMut,
    /// BackendKeyData: what a cancel request repeats.
    key: Vec<u8>,
}

impl Raw {
    async fn connect(server: &Running) -> Raw {
        let mut raw =
            Raw { stream: TcpStream::connect(server.address).await.unwrap(), input: BytesMut::new(), key: Vec::new() };
        raw.send(b"\0\0\0\x13\0\x03\0\0user\0raw\0\0\0").await;
        loop {
            match raw.next().await {
                (b'K', key) => raw.key = key,
                (b'Z', _) => return raw,
                (kind, _) => assert_ne!(kind, 0, "closed at the start"),
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn message(&mut self, kind: u8, body: &[u8]) {
        let mut bytes = vec![kind];
        bytes.extend((body.len() as u32 + 4).to_be_bytes());
        bytes.extend(body);
        self.send(&bytes).await;
    }

    async fn query(&mut self, sql: &str) {
        self.message(b'Q', format!("{sql}\0").as_bytes()).await;
    }

    /// The next message; kind 0 at the end.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some(mut head) = self.input.get(..5) {
                let (kind, length) = (head.get_u8(), head.get_u32() as usize);
                if self.input.len() > length {
                    return (kind, self.input.split_to(length + 1)[5..].to_vec());
                }
            }
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return (0, Vec::new());
            }
        }
    }

    async fn read_kinds(&mut self, count: usize) -> String {
        let mut kinds = String::new();
        for _ in 0..count {
            kinds.push(char::from(self.next().await.0));
        }
        kinds
    }
}

#[tokio::test]
async fn messages_out_of_order_are_answered() {
    let server = serve(|settings| settings.statement_bytes_max = crate::base::settings::ByteSize(2048)).await;
    let mut raw = Raw::connect(&server).await;
    // Execute of a portal that is not there: one error, then silence until Sync.
    raw.message(b'E', b"none\0\0\0\0\0").await;
    raw.message(b'E', b"none\0\0\0\0\0").await;
    raw.query("SELECT 1").await;
    raw.message(b'S', b"").await;
    assert_eq!(raw.read_kinds(2).await, "EZ");
    // Parse, bind, describe and execute of nothing.
    raw.message(b'P', b"\0 ; \0\0\0").await;
    raw.message(b'B', b"\0\0\0\0\0\0\0\0").await;
    raw.message(b'D', b"P\0").await;
    raw.message(b'E', b"\0\0\0\0\0").await;
    raw.message(b'S', b"").await;
    assert_eq!(raw.read_kinds(5).await, "12nIZ");
    // Two formats for one column.
    raw.message(b'P', b"\0SELECT 1\0\0\0").await;
    raw.message(b'B', b"\0\0\0\0\0\0\0\x02\0\0\0\0").await;
    raw.message(b'S', b"").await;
    assert_eq!(raw.read_kinds(3).await, "1EZ");
    // A suspended portal goes on, ends, and is gone after Sync.
    raw.message(b'P', b"\0SELECT 9\0\0\0").await;
    raw.message(b'B', b"p\0\0\0\0\0\0\0\0").await;
    for _ in 0..3 {
        raw.message(b'E', b"p\0\0\0\0\x05").await;
    }
    raw.message(b'S', b"").await;
    raw.message(b'E', b"p\0\0\0\0\x05").await;
    raw.message(b'S', b"").await;
    assert_eq!(raw.read_kinds(17).await, "12DDDDDsDDDDCCZEZ");
    raw.message(b'F', b"").await;
    assert_eq!(raw.read_kinds(2).await, "EZ");
    raw.query(&"x".repeat(3000)).await;
    assert_eq!(raw.read_kinds(2).await, "E\0");
}

#[tokio::test]
async fn a_client_that_does_not_read_can_cancel() {
    let server = serve(|_| ()).await;
    let mut raw = Raw::connect(&server).await;
    raw.query("FLOOD").await;
    server.busy().await;
    let mut cancel = TcpStream::connect(server.address).await.unwrap();
    let wrong = [&b"\0\0\0\x10\x04\xd2\x16\x2e"[..], &raw.key[..4], b"nope"].concat();
    cancel.write_all(&wrong).await.unwrap();
    assert_eq!(cancel.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(server.alive.load(Ordering::SeqCst) > 0, "cancelled by someone who does not know the secret");
    let mut cancel = TcpStream::connect(server.address).await.unwrap();
    cancel.write_all(&[&b"\0\0\0\x10\x04\xd2\x16\x2e"[..], &raw.key].concat()).await.unwrap();
    server.idle().await;
    let mut kinds = std::collections::BTreeSet::new();
    while !kinds.contains(&b'Z') {
        kinds.insert(raw.next().await.0);
    }
    assert_eq!(kinds.into_iter().map(char::from).collect::<String>(), "DETZ");
}

#[tokio::test]
async fn random_bytes_on_the_port() {
    let server = serve(|settings| settings.startup_timeout = Duration::from_millis(20)).await;
    let seed = fresh_seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut half_open = Vec::new();
    for round in 0..60u32 {
        let noise: Vec<u8> = (0..random.below(300)).map(|_| random.next_u64() as u8).collect();
        if round % 2 == 0 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let _ = stream.write_all(&noise).await;
            half_open.push(stream);
        } else {
            let mut raw = Raw::connect(&server).await;
            let kind = *random.pick(b"QPBDCEHSdcfFp").unwrap();
            raw.message(kind, &noise).await;
            raw.message(b'S', b"").await;
            let _ = raw.stream.write_all(&noise).await;
            raw.stream.shutdown().await.unwrap();
            while raw.next().await.0 != 0 {}
        }
    }
    for first in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x08\x04\xd2\x16\x2f\x16\x03\x01",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        half_open.push(stream);
    }
    let (client, _) = server.connect("").await.unwrap();
    assert_eq!(simple(&client, "SELECT 1").await, "0 #1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_speaks_to_us() {
    let server = serve(|_| ()).await;
    let run = |sql: &'static str| {
        let port = server.address.port().to_string();
        let mut command = std::process::Command::new("psql");
        command.args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", "ada", "-d", "millstream", "-c", sql]);
        tokio::task::spawn_blocking(move || command.output())
    };
    let Ok(output) = run("SELECT 2").await.unwrap() else {
        println!("psql is not installed: skipped");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), " n \n---\n 0\n 1\n(2 rows)\n\n");
    let output = run("  FAIL").await.unwrap().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "ERROR:  relation \"x\" does not exist\nLINE 1:   FAIL\n          ^\nDETAIL:  A detail.\nHINT:  Did you mean \"y\"?\nCONTEXT:  in view \"v\"\n"
    );
    let output = run("COPY").await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
}
