//! A real server as a process of its own: started, connected to, killed, started again on the same directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How long anything may take before the test gives up: far above what is ever seen.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder that goes when it is dropped, unless `MILLSTREAM_KEEP` is set.
pub fn temporary(prefix: &str) -> TempDir {
    let keep = std::env::var_os("MILLSTREAM_KEEP").is_some();
    tempfile::Builder::new().prefix(prefix).disable_cleanup(keep).tempdir().unwrap()
}

/// A server process with a data directory of its own, killed when dropped.
pub struct Server {
    child: Option<Child>,
    folder: TempDir,
    arguments: Vec<String>,
    address: SocketAddr,
}

impl Server {
    /// Starts `millstream serve` with `arguments` on an empty directory and waits until it listens.
    pub fn start(arguments: &[&str]) -> Server {
        Server::start_in(temporary("millstream-it-"), arguments)
    }

    /// The same in a folder that has something in it; relative paths of statements begin there.
    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Server {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut server = Server { child: None, folder, arguments, address: ([127, 0, 0, 1], 0).into() };
        server.spawn();
        server
    }

    /// A folder that lives as long as the server, for files that tests make.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the server wrote to stderr since the test began.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("server runs").id()
    }

    fn spawn(&mut self) {
        let address_file = self.data_dir().join("millstream.addr");
        let _ = std::fs::remove_file(&address_file);
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("stderr")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .current_dir(self.folder.path())
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen", "127.0.0.1:0"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let since = Instant::now();
        loop {
            let text = std::fs::read_to_string(&address_file).unwrap_or_default();
            if let Ok(address) = text.trim().parse() {
                self.address = address;
                return;
            }
            let ended = self.child.as_mut().expect("just started").try_wait().unwrap();
            assert!(ended.is_none(), "server ended with {ended:?} before it listened:\n{}", self.log());
            assert!(since.elapsed() < PATIENCE, "server does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `kill -9`, then waits for the process to be gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same directory, with other arguments if any are given.
    pub fn restart(&mut self, arguments: Option<&[&str]>) {
        self.kill();
        if let Some(arguments) = arguments {
            self.arguments = arguments.iter().map(ToString::to_string).collect();
        }
        self.spawn();
    }

    /// SIGTERM, and waits until it has ended by itself; gives how long that took.
    pub fn stop(&mut self) -> Duration {
        let since = Instant::now();
        let mut child = self.child.take().expect("server runs");
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        while child.try_wait().unwrap().is_none() {
            assert!(since.elapsed() < PATIENCE, "server does not end on SIGTERM:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        since.elapsed()
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new client.
    pub async fn connect(&self) -> Db {
        Db::connect(self.address).await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("server's log:\n{}", self.log());
        }
    }
}

/// A client that speaks text.
pub struct Db {
    client: Client,
}

impl Db {
    /// Connects to a server.
    pub async fn connect(address: SocketAddr) -> Result<Db, tokio_postgres::Error> {
        let text = format!("host={} port={} user=test dbname=millstream", address.ip(), address.port());
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await?;
        tokio::spawn(connection);
        Ok(Db { client })
    }

    /// Of a client that is connected.
    pub fn of(client: Client) -> Db {
        Db { client }
    }

    /// The client itself, for what text does not show.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs statements and gives the rows of the last one that has any, as text (NULL: `NULL`).
    pub async fn try_rows(&self, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
        let mut rows = Vec::new();
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(_) => rows.clear(),
                SimpleQueryMessage::Row(row) => {
                    let value = |i| row.get(i).unwrap_or("NULL").to_string();
                    rows.push((0..row.len()).map(value).collect());
                }
                _ => {}
            }
        }
        Ok(rows)
    }

    /// As [`Db::try_rows`]; an error fails the test.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_rows(sql).await.unwrap_or_else(|error| panic!("{sql}\n{}", describe(&error)))
    }

    /// The one value of the one row.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert!(rows.len() == 1 && rows[0].len() == 1, "one value expected of {sql}: {rows:?}");
        rows[0][0].clone()
    }

    /// Runs statements whose rows do not matter.
    pub async fn run(&self, sql: &str) {
        self.rows(sql).await;
    }

    /// The error of a statement that must fail: SQLSTATE and message.
    pub async fn error(&self, sql: &str) -> (String, String) {
        match self.try_rows(sql).await {
            Ok(rows) => panic!("an error was expected of {sql}: {rows:?}"),
            Err(error) => match error.as_db_error() {
                Some(error) => (error.code().code().to_string(), error.message().to_string()),
                None => panic!("{sql}: {error}"),
            },
        }
    }
}

/// An error as a person would want to see it.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!(
            "{} {}\nDETAIL: {}\nHINT: {}",
            error.code().code(),
            error.message(),
            error.detail().unwrap_or("-"),
            error.hint().unwrap_or("-")
        ),
        None => error.to_string(),
    }
}

/// Whether the long forms of tests were asked for (`scripts/test --full`).
pub fn full() -> bool {
    std::env::var_os("MILLSTREAM_FULL").is_some()
}

/// The three million real flights, if they are here.
pub fn flights() -> Option<PathBuf> {
    let named = std::env::var_os("MILLSTREAM_FLIGHTS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/flights-3m.parquet");
    let found = named.filter(|path| path.exists()).or_else(|| beside.exists().then_some(beside));
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "flights-3m.parquet is missing: set MILLSTREAM_FLIGHTS");
        eprintln!(
            "SKIPPED: flights-3m.parquet is missing (set MILLSTREAM_FLIGHTS); the 30,000 of examples/data stand in"
        );
    }
    found
}

/// A runtime for one test.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}
