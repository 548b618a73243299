//! A server process on a data directory of its own, and what the kernel says of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Killed, and its folder removed, when dropped.
pub struct Server {
    child: Option<Child>,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    address: std::net::SocketAddr,
}

impl Server {
    /// Starts a server with `arguments` on an empty directory, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Server {
        let folder = tempfile::Builder::new().prefix("millstream-bench-").tempdir().expect("a temporary folder");
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut server = Server { child: None, folder, arguments, address: ([127, 0, 0, 1], 0).into() };
        server.spawn();
        server
    }

    /// A folder that lives as long as the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Starts the process on its directory.
    pub fn spawn(&mut self) {
        let data = self.folder.path().join("data");
        let address = data.join("millstream.addr");
        let _ = std::fs::remove_file(&address);
        let child = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .arg("serve")
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0", "--workers", "2"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.expect("the server starts"));
        let since = Instant::now();
        loop {
            let text = std::fs::read_to_string(&address).unwrap_or_default();
            if let Ok(parsed) = text.trim().parse() {
                self.address = parsed;
                return;
            }
            assert!(since.elapsed() < Duration::from_secs(60), "the server does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A new client.
    pub async fn connect(&self) -> Client {
        let text = format!("host={} port={} user=bench dbname=millstream", self.address.ip(), self.address.port());
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await.expect("the server accepts");
        tokio::spawn(connection);
        client
    }

    /// The one value of a query.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.connect().await.simple_query(sql).await.expect(sql);
        let value = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.unwrap_or_default()
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Memory that is no file's, in MB.
    pub fn anonymous_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel tells");
        line.trim().trim_end_matches("kB").trim().parse::<f64>().expect("a number") / 1024.0
    }

    /// Seconds of CPU used so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        // utime and stime, in ticks of 10 ms.
        (fields[11].parse::<f64>().expect("a number") + fields[12].parse::<f64>().expect("a number")) / 100.0
    }

    /// Which share of one core it uses over `time`.
    pub async fn cpu_share(&self, time: Duration) -> f64 {
        let (since, before) = (Instant::now(), self.cpu_seconds());
        tokio::time::sleep(time).await;
        (self.cpu_seconds() - before) / since.elapsed().as_secs_f64()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
