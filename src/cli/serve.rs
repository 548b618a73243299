//! `millstream serve`: the engine, the listener, the address file, and the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Duration, timeout};

use super::{Launch, Screen, Stdout};
use crate::base::{Error, Result, ResultExt, Settings};
use crate::engine::SqlEngine;
use crate::wire::{Server, Tls};

/// Threads that speak with clients; statements run on the engine's own.
const WIRE_THREADS: usize = 2;

/// What the threads of the wire may still take once everything has stopped.
const THREADS_PATIENCE: Duration = Duration::from_secs(1);

/// The file in the data folder that holds the bound address while the server is ready.
const ADDRESS_FILE: &str = "millstream.addr";

/// The runtime of the command line: wire and signals.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WIRE_THREADS)
        .thread_name("millstream-wire")
        .enable_all()
        .build();
    built.map_err(|error| Error::unavailable(format!("threads could not be started: {error}")).caused_by(error))
}

/// Serves until SIGTERM or Ctrl-C.
pub fn serve(launch: &dyn Launch, settings: Settings) -> Result<()> {
    let runtime = runtime()?;
    let settings = Arc::new(settings);
    let engine = launch.engine(&settings)?;
    let served = runtime.block_on(listen(Arc::clone(&engine), Arc::clone(&settings)));
    let stopped = runtime.block_on(stop(&*engine, &settings));
    runtime.shutdown_timeout(THREADS_PATIENCE);
    served.and(stopped)
}

/// Stops `engine`. One that takes longer than half of `shutdown_timeout` is left as it is: a stop at any moment is
/// safe, it only costs the next start some replay.
pub async fn stop(engine: &dyn SqlEngine, settings: &Settings) -> Result<()> {
    match timeout(settings.shutdown_timeout / 2, engine.shutdown()).await {
        Ok(stopped) => stopped,
        Err(_) => {
            tracing::warn!("stopped without a last checkpoint: it took longer than shutdown_timeout allows");
            Ok(())
        }
    }
}

async fn listen(engine: Arc<dyn SqlEngine>, settings: Arc<Settings>) -> Result<()> {
    let mut signals = Signals::new()?;
    let server = Server::bind(Arc::clone(&settings), engine).await?;
    let address = server.address();
    let file = AddressFile::write(&settings.data_dir, address)?;
    Stdout.print(&banner(&settings, address))?;
    let tls = server.tls();
    let reload = tokio::spawn(async move { reload(tls.as_deref()).await });
    server.serve(async { signals.next().await }).await;
    reload.abort();
    drop(file);
    Ok(())
}

/// Reads certificate and key again with every SIGHUP; without any the signal is taken and means nothing.
async fn reload(tls: Option<&Tls>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    while hangups.recv().await.is_some() {
        match tls.map(Tls::reload) {
            Some(Ok(())) => tracing::info!(target: "audit", "certificate and key were read again"),
            Some(Err(error)) => tracing::error!(error = %error.report(), "certificate and key stay as they were"),
            None => {}
        }
    }
}

fn banner(settings: &Settings, address: SocketAddr) -> String {
    let workers = settings.worker_count();
    let plural = if workers == 1 { "" } else { "s" };
    format!(
        "millstream {} · data {} · {workers} worker{plural} · psql -h {} -p {} -d millstream\n",
        env!("CARGO_PKG_VERSION"),
        settings.data_dir.display(),
        address.ip(),
        address.port()
    )
}

/// SIGTERM and Ctrl-C.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on neither ends the process by itself.
    pub fn new() -> Result<Self> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one. The one after it ends the process at once: someone is impatient.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tokio::spawn(async {
            if let Ok(mut again) = Signals::new() {
                tokio::select! {
                    _ = again.terminate.recv() => {}
                    _ = again.interrupt.recv() => {}
                }
                std::process::exit(130);
            }
        });
    }
}

/// The address file; gone when dropped.
struct AddressFile(PathBuf);

impl AddressFile {
    /// Written aside and renamed, so that whoever sees it can read it whole.
    fn write(folder: &Path, address: SocketAddr) -> Result<AddressFile> {
        let path = folder.join(ADDRESS_FILE);
        let aside = folder.join(format!(".{ADDRESS_FILE}"));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&aside, format!("{address}\n")))
            .and_then(|()| std::fs::rename(&aside, &path))
            .context(|| format!("writing {}", path.display()))?;
        Ok(AddressFile(path))
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        // Whoever finds a stale one cannot connect; that is all.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_file_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let file = AddressFile::write(&data, "127.0.0.1:7432".parse().unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(data.join("millstream.addr")).unwrap(), "127.0.0.1:7432\n");
        drop(file);
        assert!(std::fs::read_dir(&data).unwrap().next().is_none());
    }

    #[test]
    fn the_banner_says_how_to_connect() {
        let settings = Settings { workers: 2, ..Settings::default() };
        let expected = concat!(
            "millstream ",
            env!("CARGO_PKG_VERSION"),
            " · data ./millstream-data · 2 workers · psql -h 127.0.0.1 -p 7432 -d millstream\n"
        );
        assert_eq!(banner(&settings, "127.0.0.1:7432".parse().unwrap()), expected);
    }
}
