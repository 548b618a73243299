//! `sql-tests/**/*.slt` against real server processes, one each, several at once.
//!
//! Beside sqllogictest's own records these statements are for the runner, not for the server:
//!
//! | statement | what it does |
//! |---|---|
//! | `CRASH` | `kill -9`, then a start on the same directory |
//! | `RESTART` / `RESTART workers=4` | SIGTERM, then a start, perhaps with another number of workers |
//! | `WRITE name` / `APPEND name` + lines | makes, or lengthens, a file in the test's own folder `{dir}`; `clock` is the server's clock |
//! | `FOLLOW relation` | subscribes on this connection |
//! | `TAKE n` (query) | the next `n` changes; epochs are numbered from 1, rows of one epoch are sorted |
//!
//! `{dir}` in a statement is that folder, `{data}` is `sql-tests/data`. Waiting is `WAIT FOR` and `FLUSH`: records that
//! sleep or try again are refused. `MILLSTREAM_BLESS=1` writes the answers into the files; `MILLSTREAM_SLT=text` runs
//! the files whose path contains it. Answers hold in every [`Corner`]: the quick tier gives each file one of them,
//! `MILLSTREAM_FULL=1` all.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, ExpectedError, QueryExpect, Record, RecordOutput, Runner, StatementExpect,
    parse_file, strict_column_validator, update_record_with_output,
};
use tokio_postgres::{Client, CopyOutStream, NoTls, SimpleQueryMessage};

use crate::harness::{PATIENCE, Server, block_on, full};

/// Between two columns in the files.
const BETWEEN: &str = "  ";

type SltRecord = Record<DefaultColumnType>;

/// In which surroundings a file is run; its answers may not depend on it.
#[derive(Clone, Copy, Debug)]
struct Corner {
    workers: usize,
    checkpoint_interval: &'static str,
    batch_rows: usize,
    /// Every entry of state is missing until it was fetched.
    strict: bool,
    /// The server is killed, or stopped, and started again behind every statement that may be followed by that.
    restarts: bool,
}

const PLAIN: Corner =
    Corner { workers: 2, checkpoint_interval: "1h", batch_rows: 4096, strict: false, restarts: false };

const CORNERS: [Corner; 6] = [
    Corner { checkpoint_interval: "50ms", ..PLAIN },
    Corner { workers: 1, batch_rows: 1, ..PLAIN },
    Corner { workers: 4, checkpoint_interval: "200ms", batch_rows: 7, ..PLAIN },
    Corner { strict: true, ..PLAIN },
    Corner { workers: 4, strict: true, batch_rows: 1, checkpoint_interval: "50ms", ..PLAIN },
    Corner { restarts: true, ..PLAIN },
];

impl Corner {
    fn arguments(self, workers: usize) -> Vec<String> {
        let (workers, batch_rows) = (workers.to_string(), self.batch_rows.to_string());
        let mut arguments = vec!["--workers", &workers, "--checkpoint-interval", self.checkpoint_interval];
        // `WRITE clock` sets it.
        arguments.extend(["--batch-rows", &batch_rows, "--clock-file", "clock"]);
        arguments.extend(self.strict.then_some("--strict-state=true"));
        arguments.into_iter().map(String::from).collect()
    }
}

/// What all connections of one file share.
struct Host {
    server: Server,
    corner: Corner,
    /// Grows with every start: connections of an older one are gone.
    starts: u64,
    /// A connection has something that would go with it: a block, a subscription, settings.
    bound: bool,
}

impl Host {
    fn start(corner: Corner) -> Host {
        let arguments = corner.arguments(corner.workers);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Host { server: Server::start(&arguments), corner, starts: 1, bound: false }
    }

    /// `CRASH`, `RESTART`, `RESTART workers=n`.
    fn again(&mut self, clean: bool, workers: Option<usize>) {
        match clean {
            true => drop(self.server.stop()),
            false => self.server.kill(),
        }
        self.corner.workers = workers.unwrap_or(self.corner.workers);
        let arguments = self.corner.arguments(self.corner.workers);
        self.server.restart(Some(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        self.starts += 1;
    }

    /// In the corner of restarts: one behind every statement, a kill and a stop by turns, but not behind those that
    /// only read, and not while a connection has something that would go with it.
    fn restart_behind(&mut self, sql: &str) {
        let upper = sql.to_ascii_uppercase();
        let first = upper.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
        let last = upper.rsplit(';').next().unwrap_or("").trim();
        match (first, last) {
            (_, "COMMIT" | "ROLLBACK") => self.bound = false,
            ("BEGIN" | "SET" | "FOLLOW" | "PREPARE" | "DECLARE", _) => self.bound = true,
            _ => {}
        }
        let reads = ["SELECT", "WITH", "VALUES", "SHOW", "EXPLAIN", "TAKE", "WAIT"].contains(&first);
        if self.corner.restarts && !self.bound && !reads {
            self.again(self.starts.is_multiple_of(2), None);
        }
    }
}

/// Changes as they come, with the epochs seen so far.
struct Following {
    changes: Pin<Box<CopyOutStream>>,
    /// What came in the last chunk and was not taken yet.
    rest: Vec<String>,
    epochs: Vec<String>,
}

/// One connection of a file.
struct Connection {
    host: Arc<Mutex<Host>>,
    client: Option<(u64, Client)>,
    following: Option<Following>,
}

/// An error as the files show it.
#[derive(Debug)]
struct Shown(String);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Shown {}

impl From<tokio_postgres::Error> for Shown {
    fn from(error: tokio_postgres::Error) -> Shown {
        let Some(db) = error.as_db_error() else { return Shown(error.to_string()) };
        let mut text = format!("{}: {}", db.code().code(), db.message());
        for (name, part) in [("DETAIL", db.detail()), ("HINT", db.hint())] {
            text.extend(part.map(|part| format!("\n{name}: {part}")));
        }
        if let Some(tokio_postgres::error::ErrorPosition::Original(at)) = db.position() {
            text.push_str(&format!("\nAT: {at}"));
        }
        Shown(text)
    }
}

impl Connection {
    fn places(&self) -> (PathBuf, PathBuf) {
        (folder(), self.host.lock().unwrap().server.folder().to_path_buf())
    }

    /// `text` with the placeholders' folders in their place.
    fn placed(&self, text: &str) -> String {
        let (slt, own) = self.places();
        text.replace("{data}", &slt.join("data").display().to_string()).replace("{dir}", &own.display().to_string())
    }

    /// `text` with placeholders where those folders stand.
    fn unplaced(&self, text: &str) -> String {
        let (slt, own) = self.places();
        text.replace(&slt.join("data").display().to_string(), "{data}").replace(&own.display().to_string(), "{dir}")
    }

    async fn client(&mut self) -> Result<&Client, Shown> {
        let (starts, address) = {
            let host = self.host.lock().unwrap();
            (host.starts, host.server.address())
        };
        if self.client.as_ref().is_none_or(|(start, _)| *start != starts) {
            let text = format!("host={} port={} user=test dbname=millstream", address.ip(), address.port());
            let (client, connection) = tokio_postgres::connect(&text, NoTls).await?;
            tokio::spawn(connection);
            self.client = Some((starts, client));
            self.following = None;
        }
        Ok(&self.client.as_ref().expect("just connected").1)
    }

    async fn query(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Shown> {
        let messages = self.client().await?.simple_query(sql).await?;
        let (mut columns, mut rows, mut count) = (None, Vec::new(), 0);
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(described) => {
                    columns = Some(described.len());
                    rows.clear();
                }
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|i| self.cell(row.get(i))).collect());
                }
                SimpleQueryMessage::CommandComplete(rows) => count = rows,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => DBOutput::Rows { types: vec![DefaultColumnType::Text; columns], rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    fn cell(&self, value: Option<&str>) -> String {
        match value {
            None => "NULL".into(),
            Some("") => "(empty)".into(),
            Some(text) => self.unplaced(text).replace('\n', "\\n"),
        }
    }

    /// `WRITE name` and `APPEND name`: the lines behind the first one go into the file.
    fn write(&self, sql: &str, append: bool) -> Result<(), Shown> {
        let (first, lines) = sql.split_once('\n').unwrap_or((sql, ""));
        let name = first.split_whitespace().nth(1).ok_or_else(|| Shown("name a file".into()))?;
        let path = self.host.lock().unwrap().server.folder().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).map_err(|error| Shown(error.to_string()))?;
        let mut options = std::fs::File::options();
        let mut file = options.create(true).append(append).truncate(!append).write(true).open(path).unwrap();
        let newline = if lines.is_empty() { "" } else { "\n" };
        std::io::Write::write_all(&mut file, format!("{lines}{newline}").as_bytes()).map_err(|e| Shown(e.to_string()))
    }

    async fn follow(&mut self, relation: &str) -> Result<(), Shown> {
        let sql = format!("COPY (SUBSCRIBE TO {relation}) TO STDOUT");
        let changes = Box::pin(self.client().await?.copy_out(&sql).await?);
        self.following = Some(Following { changes, rest: Vec::new(), epochs: Vec::new() });
        Ok(())
    }
}

impl Following {
    /// The next `count` changes.
    async fn take(&mut self, count: usize) -> Result<Vec<Vec<String>>, Shown> {
        while self.rest.len() < count {
            let next = tokio::time::timeout(PATIENCE, self.changes.next()).await;
            let chunk = next.map_err(|_| Shown(format!("no more changes than {:?}", self.rest)))?;
            let chunk = chunk.ok_or_else(|| Shown("the subscription has ended".into()))??;
            self.rest.extend(String::from_utf8_lossy(&chunk).lines().map(String::from));
        }
        let mut taken: Vec<Vec<String>> =
            self.rest.drain(..count).map(|line| line.split('\t').map(String::from).collect()).collect();
        for row in &mut taken {
            if self.epochs.last() != row.first() {
                self.epochs.push(row[0].clone());
            }
            row[0] = format!("e{}", self.epochs.len());
        }
        taken.sort_by(|a, b| (epoch_number(&a[0]), &a[2..], &a[1]).cmp(&(epoch_number(&b[0]), &b[2..], &b[1])));
        Ok(taken)
    }
}

fn epoch_number(text: &str) -> usize {
    text.trim_start_matches('e').parse().unwrap_or(0)
}

#[async_trait::async_trait]
impl AsyncDB for Connection {
    type Error = Shown;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Shown> {
        let sql = self.placed(sql);
        let mut words = sql.split_whitespace();
        match (words.next().unwrap_or(""), words.next()) {
            ("CRASH", None) => self.host.lock().unwrap().again(false, None),
            ("RESTART", workers) => {
                let workers = workers.and_then(|text| text.strip_prefix("workers=")?.parse().ok());
                self.host.lock().unwrap().again(true, workers);
            }
            ("WRITE", Some(_)) => self.write(&sql, false)?,
            ("APPEND", Some(_)) => self.write(&sql, true)?,
            ("FOLLOW", Some(relation)) => self.follow(relation).await?,
            ("TAKE", Some(count)) => {
                let count = count.parse().map_err(|_| Shown("TAKE takes a number".into()))?;
                let following = self.following.as_mut().ok_or_else(|| Shown("FOLLOW something first".into()))?;
                let rows = following.take(count).await?;
                let types = vec![DefaultColumnType::Text; rows.first().map_or(0, Vec::len)];
                return Ok(DBOutput::Rows { types, rows });
            }
            _ => {
                let output = self.query(&sql).await.map_err(|Shown(text)| Shown(self.unplaced(&text)));
                self.host.lock().unwrap().restart_behind(&sql);
                return output;
            }
        }
        self.host.lock().unwrap().restart_behind(&sql);
        Ok(DBOutput::StatementComplete(0))
    }

    async fn shutdown(&mut self) {
        self.client = None;
    }

    fn engine_name(&self) -> &str {
        "millstream"
    }

    async fn sleep(_: Duration) {
        unreachable!("records that sleep are refused before the file is run")
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests")
}

fn files() -> Vec<PathBuf> {
    let pattern = folder().join("**/*.slt");
    let wanted = std::env::var("MILLSTREAM_SLT").unwrap_or_default();
    let found = glob::glob(pattern.to_str().expect("UTF-8")).unwrap().map(Result::unwrap);
    found.filter(|path| path.to_string_lossy().contains(&wanted)).collect()
}

/// Why a record may not stand in a file.
fn refused(record: &SltRecord, blessing: bool) -> Option<&'static str> {
    match record {
        Record::Sleep { .. } => Some("sleeping is forbidden: WAIT FOR or FLUSH"),
        Record::Statement { retry: Some(_), .. } | Record::Query { retry: Some(_), .. } => {
            Some("trying again is forbidden: WAIT FOR or FLUSH")
        }
        Record::System { .. } => Some("system commands are forbidden"),
        Record::Halt { .. } => Some("the rest of the file would not be run"),
        Record::Statement { expected: StatementExpect::Error(ExpectedError::Empty), .. }
        | Record::Query { expected: QueryExpect::Error(ExpectedError::Empty), .. }
            if !blessing =>
        {
            Some("say which error is expected (MILLSTREAM_BLESS=1 writes it)")
        }
        _ => None,
    }
}

#[allow(clippy::ptr_arg, reason = "the crate sqllogictest asks for exactly this signature")]
fn normalised(text: &String) -> String {
    text.trim_end().to_string()
}

fn same(_: sqllogictest::Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let actual = actual.iter().map(|row| row.join(BETWEEN).trim_end().to_string());
    actual.eq(expected.iter().map(|line| line.trim_end().to_string()))
}

/// Runs one file in one corner; gives what was wrong.
async fn run(path: &Path, corner: Corner, bless: bool) -> Result<(), String> {
    let records: Vec<SltRecord> = parse_file(path).map_err(|error| error.to_string())?;
    let host = Arc::new(Mutex::new(Host::start(corner)));
    let mut runner =
        Runner::new(|| async { Ok(Connection { host: Arc::clone(&host), client: None, following: None }) });
    runner.with_validator(same);
    runner.with_normalizer(normalised);
    runner.with_column_validator(strict_column_validator);
    let (mut blessed, mut surprises) = (String::new(), Vec::new());
    for mut record in records {
        if let Some(why) = refused(&record, bless) {
            return Err(format!("{}: {why}: {record}", path.display()));
        }
        if !bless {
            let log = |error| format!("{corner:?}\n{error}\n{}", host.lock().unwrap().server.log());
            runner.run_async(record).await.map_err(log)?;
            continue;
        }
        let fails = matches!(
            record,
            Record::Statement { expected: StatementExpect::Error(_), .. }
                | Record::Query { expected: QueryExpect::Error(_), .. }
        );
        if let Record::Statement { expected: expected @ StatementExpect::Error(_), .. } = &mut record {
            *expected = StatementExpect::Ok;
        }
        let output = runner.apply_record(record.clone()).await;
        if let Some(why) = surprise(&output, fails) {
            // What is blessed is the text of an answer, never whether there is one.
            surprises.push(format!("{why}: {record}"));
            if let Record::Statement { expected, .. } = &mut record
                && fails
            {
                *expected = StatementExpect::Error(ExpectedError::Empty);
            }
            blessed.push_str(&format!("{record}\n"));
            continue;
        }
        let updated = update_record_with_output(&record, &output, BETWEEN, same, normalised, strict_column_validator);
        blessed.push_str(&format!("{}\n", updated.unwrap_or(record)));
    }
    if bless {
        std::fs::write(path, format!("{}\n", blessed.trim_end())).map_err(|error| error.to_string())?;
    }
    match surprises.is_empty() {
        true => Ok(()),
        false => Err(format!("{}\n{}", surprises.join("\n"), host.lock().unwrap().server.log())),
    }
}

/// Why the answer is none that could be blessed.
fn surprise(output: &RecordOutput<DefaultColumnType>, fails: bool) -> Option<String> {
    let error = match output {
        RecordOutput::Query { error, .. } | RecordOutput::Statement { error, .. } => error.as_ref(),
        _ => return None,
    };
    match (error, fails) {
        (Some(error), false) => Some(format!("failed with {error}")),
        (None, true) => Some("an error was expected".into()),
        (Some(_), true) | (None, false) => None,
    }
}

#[test]
fn every_file_gives_its_answers() {
    let bless = std::env::var_os("MILLSTREAM_BLESS").is_some();
    let mut runs: Vec<(PathBuf, Corner)> = Vec::new();
    for (i, path) in files().into_iter().enumerate() {
        match full() && !bless {
            true => runs.extend(CORNERS.map(|corner| (path.clone(), corner))),
            false => runs.push((path, CORNERS[if bless { 0 } else { i % CORNERS.len() }])),
        }
    }
    assert!(!runs.is_empty(), "no files");
    let (runs, failures) = (Mutex::new(runs.into_iter()), Mutex::new(Vec::new()));
    // A thread for each file under way: starting a server waits, and that must not hold up the others.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((path, corner)) = runs.lock().unwrap().next() else { return };
                    let done = block_on(async { tokio::time::timeout(PATIENCE, run(&path, corner, bless)).await });
                    let done = done.unwrap_or_else(|_| Err(format!("not done after {PATIENCE:?}")));
                    let failure = done.err().map(|error| format!("{}: {error}", path.display()));
                    failures.lock().unwrap().extend(failure);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}
