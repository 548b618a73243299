//! Hostile clients: frames of the protocol that are nearly right, and statements that are. The server answers or hangs up; it does not
//! panic, hang, or grow. `MILLSTREAM_SEED` repeats a run.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use millstream::base::random::{Random, fresh_seed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Db, Server, block_on, full};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn seed() -> u64 {
    let named = std::env::var("MILLSTREAM_SEED").ok().and_then(|text| text.parse().ok());
    let seed = named.unwrap_or_else(fresh_seed);
    println!("MILLSTREAM_SEED={seed}");
    seed
}

/// How many of something: set by a variable, or by the tier.
fn count(variable: &str, quick: usize, whole: usize) -> usize {
    let named = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    named.unwrap_or(if full() { whole } else { quick })
}

/// Memory in kB and open files of the server.
fn size(server: &Server) -> (u64, usize) {
    let folder = Path::new("/proc").join(server.pid().to_string());
    let status = std::fs::read_to_string(folder.join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let memory = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (memory, std::fs::read_dir(folder.join("fd")).unwrap().count())
}

/// The server is as it was: no panic in its log, memory and files flat, and it answers.
async fn unharmed(server: &Server, before: (u64, usize), grown_kb: u64) {
    let since = Instant::now();
    server.connect().await.run("SELECT 1").await;
    // Connections that were hung up are closed when their task has seen it.
    while size(server).1 > before.1 + 8 && since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = size(server);
    assert!(after.1 <= before.1 + 8, "open files: {} before, {} after", before.1, after.1);
    assert!(after.0 < before.0 + grown_kb, "memory: {} kB before, {} kB after", before.0, after.0);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// One message: its kind, its length as it should be, its body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as i32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn startup() -> Vec<u8> {
    let mut body = Vec::from(196_608i32.to_be_bytes());
    body.extend(b"user\0fuzz\0database\0millstream\0\0");
    let mut bytes = Vec::from((body.len() as i32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

const QUERIES: [&str; 10] = [
    "SELECT 1",
    "SELECT id, v FROM t WHERE id = $1",
    "INSERT INTO t VALUES ($1, $2)",
    "BEGIN",
    "ROLLBACK",
    "COPY t FROM STDIN",
    "COPY (SELECT * FROM t) TO STDOUT (FORMAT binary)",
    "DECLARE c CURSOR FOR SELECT * FROM t",
    "FETCH 3 FROM c",
    "",
];

/// A message that a client might send, well-formed.
fn plausible(random: &mut Random) -> Vec<u8> {
    let query = *random.pick(&QUERIES).unwrap();
    let name = *random.pick(&["", "a", "b", "c"]).unwrap();
    let mut body = Vec::new();
    let kind = *random.pick(b"QPBDECSHdcfXpF").unwrap();
    match kind {
        b'Q' => body.extend([query.as_bytes(), b"\0"].concat()),
        b'P' => {
            body.extend([name.as_bytes(), b"\0", query.as_bytes(), b"\0"].concat());
            let types = random.below(3) as i16;
            body.extend(types.to_be_bytes());
            (0..types).for_each(|_| {
                body.extend((*random.pick(&[0i32, 20, 23, 25, 26, 1016, 999_999]).unwrap()).to_be_bytes())
            });
        }
        b'B' => {
            body.extend([name.as_bytes(), b"\0", name.as_bytes(), b"\0"].concat());
            body.extend((random.below(3) as i16).to_be_bytes());
            body.extend(1i16.to_be_bytes());
            let values = random.below(3) as i16;
            body.extend(values.to_be_bytes());
            (0..values)
                .for_each(|_| body.extend([&4i32.to_be_bytes()[..], &random.next_u64().to_be_bytes()[..4]].concat()));
            body.extend(0i16.to_be_bytes());
        }
        b'D' | b'C' => body.extend([*random.pick(b"SP?").unwrap(), b'a', 0]),
        b'E' => body.extend([name.as_bytes(), b"\0", &(random.below(5) as i32).to_be_bytes()].concat()),
        b'd' => body.extend(b"1\tx\n"),
        b'f' | b'p' => body.extend(b"no\0"),
        b'F' => body.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        _ => {}
    }
    message(kind, &body)
}

/// Makes a message less well-formed, or leaves it.
fn damaged(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len() as u64) as usize),
        1 => {
            let lengths = [i32::MAX, i32::MIN, -1, 0, 3, 4, 5, 1 << 28, 100_000_000];
            bytes.splice(1..5, random.pick(&lengths).unwrap().to_be_bytes());
        }
        2 => bytes[0] = random.next_u64() as u8,
        3 => {
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << random.below(8);
        }
        4 => bytes.extend((0..random.below(40)).map(|_| random.next_u64() as u8).collect::<Vec<u8>>()),
        5 if bytes.len() > 6 => {
            let place = 5 + random.below(bytes.len() as u64 - 5) as usize;
            bytes.drain(place..(place + 3).min(bytes.len()));
        }
        _ => {}
    }
    bytes
}

/// How a conversation begins: as it should, with a request for TLS, a cancel, garbage, or half of it.
fn beginning(random: &mut Random) -> Vec<u8> {
    let request = |code: i32| [&8i32.to_be_bytes()[..], &code.to_be_bytes()[..]].concat();
    match random.below(12) {
        0 => request(80_877_103),
        1 => [request(80_877_103), startup()].concat(),
        2 => [request(80_877_103), vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]].concat(),
        3 => request(80_877_104),
        4 => {
            [&16i32.to_be_bytes()[..], &80_877_102i32.to_be_bytes()[..], &random.next_u64().to_be_bytes()[..]].concat()
        }
        5 => damaged(startup(), random),
        6 => [request(80_877_103), request(80_877_103), request(80_877_104), startup()].concat(),
        _ => startup(),
    }
}

/// One conversation of hostile frames; how many it sent.
async fn converse(server: &Server, random: &mut Random) -> usize {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let frames = 1 + random.below(40) as usize;
    let mut bytes = beginning(random);
    for _ in 0..frames {
        let frame = plausible(random);
        bytes.extend(damaged(frame, random));
    }
    // The server may hang up in the midst of it.
    let _ = timeout(PATIENCE, stream.write_all(&bytes)).await.expect("the server takes what is sent, or hangs up");
    let _ = stream.shutdown().await;
    let mut answer = vec![0; 1 << 16];
    timeout(PATIENCE, async { while stream.read(&mut answer).await.is_ok_and(|count| count > 0) {} })
        .await
        .expect("the server hangs up when the client has");
    frames
}

async fn frames(total: usize) {
    let server = Server::start(&["--workers", "1", "--statement-bytes-max", "1MB"]);
    server.connect().await.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR)").await;
    let mut random = Random::new(seed());
    let mut sent = 0;
    // The first conversations fill caches.
    while sent < total / 10 {
        sent += converse(&server, &mut random).await;
    }
    let before = size(&server);
    while sent < total {
        sent += converse(&server, &mut random).await;
    }
    unharmed(&server, before, 100_000).await;
}

#[test]
fn frames_that_are_nearly_right() {
    block_on(frames(count("MILLSTREAM_FRAMES", 2_000, 20_000)));
}

#[test]
#[ignore = "soak: a million frames"]
fn soak_a_million_frames() {
    block_on(frames(count("MILLSTREAM_FRAMES", 1_000_000, 1_000_000)));
}

/// Statements of the scripts in sql-tests, without those that read files or wait.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests");
    let mut found = BTreeSet::new();
    for folder in ["select", "views", "tables", "types", "functions", "joins", "windows", "sessions", "ddl", "catalog"]
    {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            for part in text.split("\n\n") {
                let lines: Vec<&str> = part.lines().take_while(|line| !line.starts_with("----")).collect();
                let begin = lines.iter().position(|line| line.starts_with("statement") || line.starts_with("query"));
                if let Some(begin) = begin {
                    found.insert(lines[begin + 1..].join("\n"));
                }
            }
        }
    }
    let slow =
        ["generate_series", "WAIT", "FLUSH", "SUBSCRIBE", "COPY", "connector", "epoch", "repeat", "lpad", "rpad"];
    found.into_iter().filter(|sql| !slow.iter().any(|word| sql.contains(word)) && sql.len() < 2_000).collect()
}

/// A statement with words swapped, dropped, doubled, or taken from another.
fn mutated(corpus: &[String], random: &mut Random) -> String {
    const HOSTILE: [&str; 16] = [
        "NULL",
        "''",
        "(",
        ")",
        "'",
        "\"",
        "$1",
        "-9223372036854775808",
        "1e400",
        "ARRAY[]",
        "::",
        "--",
        "/*",
        "\u{1F600}",
        "LATERAL",
        "OVER ()",
    ];
    let sql = random.pick(corpus).unwrap();
    let other: Vec<&str> = random.pick(corpus).unwrap().split(' ').collect();
    let mut words: Vec<&str> = sql.split(' ').collect();
    for _ in 0..=random.below(3) {
        let place = random.below(words.len() as u64) as usize;
        let word = *random.pick(&other).unwrap();
        match random.below(6) {
            0 if words.len() > 1 => drop(words.remove(place)),
            1 => words.insert(place, word),
            2 => words[place] = word,
            3 => words.insert(place, words[place]),
            4 => {
                let other_place = random.below(words.len() as u64) as usize;
                words.swap(place, other_place);
            }
            _ => words[place] = *random.pick(&HOSTILE).unwrap(),
        }
    }
    words.join(" ")
}

async fn statements(total: usize) {
    let server = Server::start(&["--workers", "1"]);
    let corpus = corpus();
    assert!(corpus.len() > 300, "{} statements", corpus.len());
    let mut random = Random::new(seed());
    let mut db = fresh(&server, None).await;
    let mut before = size(&server);
    let mut refused = 0;
    let mut ours = Vec::new();
    for number in 0..total {
        let sql = mutated(&corpus, &mut random);
        let ran = timeout(PATIENCE, db.try_rows(&sql)).await;
        let ran = ran.unwrap_or_else(|_| panic!("no answer to:\n{sql}"));
        if let Err(error) = ran {
            refused += 1;
            let told = error.as_db_error().unwrap_or_else(|| panic!("{error}:\n{sql}\n{}", server.log()));
            // XX000: an error of ours, not of the statement.
            if told.code().code() == "XX000" {
                ours.push(format!("{}:\n{sql}", told.message()));
                assert!(ours.len() < 20, "{}\n{}", ours.join("\n\n"), server.log());
            }
        }
        if number % 500 == 499 {
            db = fresh(&server, Some(db)).await;
        }
        if number == total / 4 {
            before = size(&server);
        }
    }
    println!("{total} statements, {refused} refused");
    assert!(ours.is_empty(), "{}\n{}", ours.join("\n\n"), server.log());
    unharmed(&server, before, 300_000).await;
}

/// A connection to a server without relations.
async fn fresh(server: &Server, old: Option<Db>) -> Db {
    drop(old);
    let db = server.connect().await;
    db.run("SET statement_timeout = '5s'").await;
    for row in db.rows("SELECT nspname FROM pg_namespace WHERE oid > 16384").await {
        db.run(&format!("DROP SCHEMA \"{}\" CASCADE", row[0])).await;
    }
    let relations =
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = 2200 AND relkind IN ('r', 'v', 'm', 'f')";
    for row in db.rows(relations).await {
        let kind = match row[1].as_str() {
            "r" => "TABLE",
            "v" => "VIEW",
            "m" => "MATERIALIZED VIEW",
            _ => "SOURCE",
        };
        // One may have gone with another.
        let _ = db.try_rows(&format!("DROP {kind} IF EXISTS public.\"{}\" CASCADE", row[0].replace('"', "\"\""))).await;
    }
    db
}

#[test]
fn statements_that_are_nearly_right() {
    block_on(statements(count("MILLSTREAM_STATEMENTS", 1_000, 20_000)));
}

#[test]
#[ignore = "soak: two hundred thousand statements"]
fn soak_mutated_statements() {
    block_on(statements(count("MILLSTREAM_STATEMENTS", 200_000, 200_000)));
}

#[test]
#[ignore = "full: a thousand connections, one after another"]
fn connections_leave_nothing_behind() {
    block_on(async {
        let server = Server::start(&["--workers", "1"]);
        for _ in 0..100 {
            server.connect().await.run("SELECT 1").await;
        }
        let before = size(&server);
        for _ in 0..1_000 {
            server.connect().await.run("SELECT count(*) FROM pg_class").await;
        }
        unharmed(&server, before, 50_000).await;
    });
}

#[test]
#[ignore = "full: ten thousand views, one after another"]
fn views_leave_nothing_behind() {
    block_on(async {
        let server = Server::start(&["--workers", "1", "--checkpoint-interval", "1s"]);
        let db = server.connect().await;
        db.run("CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1)").await;
        let cycles = count("MILLSTREAM_CYCLES", 10_000, 10_000);
        let cycle = "CREATE VIEW w AS SELECT id FROM t; DROP VIEW w; CREATE MATERIALIZED VIEW m AS SELECT v, count(*) FROM t GROUP BY v; DROP MATERIALIZED VIEW m";
        for _ in 0..cycles / 20 {
            db.run(cycle).await;
        }
        let (before, files) = (size(&server), files(&server));
        for _ in 0..cycles / 2 - cycles / 20 {
            db.run(cycle).await;
        }
        unharmed(&server, before, 100_000).await;
        let after = self::files(&server);
        assert!(after < files + 60, "files in the data directory: {files} before, {after} after");
    });
}

/// How many files are in the server's data directory.
fn files(server: &Server) -> usize {
    fn below(folder: &Path) -> usize {
        let entries =
            std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
        entries.iter().map(|entry| if entry.path().is_dir() { below(&entry.path()) } else { 1 }).sum()
    }
    below(&server.data_dir())
}
