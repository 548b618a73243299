//! `kill -9` at random moments, over and over: nothing acknowledged is lost, nothing is there twice.
//!
//! Server, driver and verifier are processes of their own. One cycle:
//!
//! ```text
//!   server starts (1, 2 or 4 workers) ── driver changes things, journals what was acknowledged ── kill -9 after 50 ms – 3 s
//!   server starts again (other workers) ── verifier compares everything with journal and files ── kill -9
//! ```
//!
//! The phase byte (`MILLSTREAM_PHASE_FILE`) says what each kill hit. Most phases last microseconds, so after its random time
//! a kill waits up to half a second for the phase that it was told to hit. `MILLSTREAM_CYCLES` says how many cycles
//! (`scripts/crash-test --cycles 100`), `MILLSTREAM_SEED` repeats the times and workers of a run.

mod driver;
mod journal;
mod verifier;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use millstream::base::random::{Random, fresh_seed};
use millstream::base::telemetry::Phase;

use crate::harness::{Db, PATIENCE, block_on, temporary};

/// Which process this is to be: `driver` or `verifier`.
const ROLE: &str = "CRASH_ROLE";
/// The run's folder: data directory, events, the sink's files, journals.
const FOLDER: &str = "CRASH_FOLDER";

/// Where the things of a run lie.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    fn events(&self) -> PathBuf {
        self.folder.join("events.ndjson")
    }

    fn sink(&self) -> PathBuf {
        self.folder.join("out")
    }

    fn journal(&self, of: &str) -> PathBuf {
        self.folder.join(format!("journal-{of}"))
    }

    fn address(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.folder.join("data/millstream.addr")).ok()?.trim().parse().ok()
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
        let from = log.len().saturating_sub(8_000);
        log[log.ceil_char_boundary(from)..].to_string()
    }

    fn setup_sql(&self) -> String {
        format!(
            "CREATE TABLE accounts (id BIGINT PRIMARY KEY, v BIGINT, version BIGINT);
             CREATE TABLE counter (id INT PRIMARY KEY, n BIGINT);
             INSERT INTO counter VALUES (1, 0);
             CREATE SOURCE events (seq BIGINT, k BIGINT, amount BIGINT, ts TIMESTAMP,
               WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
             WITH (connector = 'file', path = '{}', follow = 'true') FORMAT PLAIN ENCODE JSON;
             CREATE MATERIALIZED VIEW windows AS
               SELECT k, window_start, count(*) AS n, sum(amount) AS total
               FROM TUMBLE(events, ts, INTERVAL '10 seconds') GROUP BY k, window_start, window_end;
             CREATE MATERIALIZED VIEW totals AS
               SELECT v % 10 AS g, count(*) AS n, sum(v) AS total FROM accounts GROUP BY v % 10;
             CREATE MATERIALIZED VIEW joined AS
               SELECT a.id, a.v, w.k, w.n FROM accounts a JOIN windows w ON a.v = w.k;
             CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS n, max(seq) AS newest FROM events;
             CREATE MATERIALIZED VIEW counted AS SELECT sum(n) AS n FROM counter;
             CREATE SINK out AS SELECT seq, k, amount FROM events
             WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE JSON;",
            self.events().display(),
            self.sink().display()
        )
    }
}

/// A server that need not have come to listen yet.
struct Victim(Child);

impl Victim {
    fn start(place: &Place, random: &mut Random) -> Victim {
        let _ = std::fs::remove_file(place.folder.join("data/millstream.addr"));
        let log = std::fs::File::options().create(true).append(true).open(place.folder.join("stderr")).unwrap();
        let workers = ["1", "2", "4"][random.below(3) as usize];
        let checkpoints = ["20ms", "100ms", "700ms"][random.below(3) as usize];
        let child = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", workers, "--checkpoint-interval", checkpoints])
            .arg("--data-dir")
            .arg(place.folder.join("data"))
            .env("MILLSTREAM_PHASE_FILE", place.folder.join("phase"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Victim(child.unwrap())
    }

    /// Waits until it listens, but not beyond `deadline`.
    fn listens(&mut self, place: &Place, deadline: Instant) -> Option<SocketAddr> {
        while Instant::now() < deadline {
            if let Some(address) = place.address() {
                return Some(address);
            }
            let ended = self.0.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended by itself with {ended:?}:\n{}", place.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    /// `kill -9`; what it was doing.
    fn kill(mut self, place: &Place) -> Option<Phase> {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended by itself with {ended:?}:\n{}", place.log());
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        std::fs::read(place.folder.join("phase")).ok().and_then(|bytes| Phase::from_byte(*bytes.first()?))
    }
}

/// Watches the phase byte without pause until it is `wanted` or `deadline` has come.
fn await_phase(place: &Place, wanted: Phase, deadline: Instant) {
    use std::os::unix::fs::FileExt;
    let Ok(file) = std::fs::File::open(place.folder.join("phase")) else { return };
    let mut byte = [0];
    while Instant::now() < deadline {
        if file.read_at(&mut byte, 0).is_ok() && byte[0] == wanted as u8 {
            return;
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this test binary as another process, in `role`.
fn process(role: &str, place: &Place) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::driver_or_verifier", "--exact", "--nocapture", "--test-threads", "1"])
        .env(ROLE, role)
        .env(FOLDER, &place.folder)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Prints how far everything in the server is.
async fn tell(place: &Place) {
    let Some(address) = place.address() else { return };
    let Ok(db) = Db::connect(address).await else { return };
    for what in ["ms_jobs", "ms_sources", "ms_sinks", "ms_checkpoints", "ms_operators"] {
        for row in db.try_rows(&format!("SELECT * FROM ms_catalog.{what}")).await.unwrap_or_default() {
            eprintln!("{what}: {}", row.join(" | "));
        }
    }
}

fn finished(mut child: Child, what: &str, place: &Place) {
    let since = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if since.elapsed() > PATIENCE => {
                block_on(tell(place));
                let _ = child.kill();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let log = || format!("folder {}\n{}", place.folder.display(), place.log());
    assert!(status.is_some_and(|status| status.success()), "the {what} gave {status:?}\n{}", log());
}

#[test]
fn driver_or_verifier() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let place = Place { folder: folder.into() };
    match std::env::var(ROLE).as_deref() {
        Ok("driver") => block_on(driver::drive(&place)),
        Ok("verifier") => block_on(verifier::verify(&place)),
        role => panic!("no such role: {role:?}"),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs `cycles`; how often each phase was hit.
fn run(place: &Place, random: &mut Random, cycles: u64) -> BTreeMap<u8, usize> {
    let mut hits: BTreeMap<u8, usize> = BTreeMap::new();
    let mut hit = |phase: Option<Phase>| {
        *hits.entry(phase.map_or(b'?', |phase| phase as u8)).or_default() += 1;
    };
    std::fs::write(place.events(), "").unwrap();
    let mut victim = Victim::start(place, random);
    let address = victim.listens(place, Instant::now() + PATIENCE).expect("listens");
    block_on(async { Db::connect(address).await.unwrap().run(&place.setup_sql()).await });
    hit(victim.kill(place));
    for cycle in 1..=cycles {
        let wanted = Phase::ALL[random.below(Phase::ALL.len() as u64) as usize];
        let until = match wanted {
            Phase::Recovery => Duration::ZERO,
            _ => Duration::from_millis(50 + random.below(2_950)),
        };
        let started = Instant::now();
        let mut victim = Victim::start(place, random);
        let driver = victim.listens(place, started + until).map(|_| process("driver", place));
        std::thread::sleep((started + until).saturating_duration_since(Instant::now()));
        await_phase(place, wanted, Instant::now() + Duration::from_millis(500));
        hit(victim.kill(place));
        if let Some(driver) = driver {
            finished(driver, "driver", place);
        }
        let mut victim = Victim::start(place, random);
        victim.listens(place, Instant::now() + PATIENCE).unwrap_or_else(|| panic!("silent:\n{}", place.log()));
        finished(process("verifier", place), "verifier", place);
        hit(victim.kill(place));
        eprintln!("crash cycle {cycle} of {cycles}: killed after {until:?}, nothing lost, nothing twice");
    }
    hits
}

#[test]
fn nothing_is_lost_and_nothing_is_twice() {
    let seed = number("MILLSTREAM_SEED").unwrap_or_else(fresh_seed);
    let cycles = number("MILLSTREAM_CYCLES").unwrap_or(5);
    eprintln!("crash: repeat with MILLSTREAM_SEED={seed} MILLSTREAM_CYCLES={cycles}");
    let folder = temporary("millstream-crash-");
    let place = Place { folder: folder.path().to_path_buf() };
    let hits = run(&place, &mut Random::new(seed), cycles);
    eprintln!("kills by what they hit:");
    for phase in Phase::ALL {
        let count = hits.get(&(phase as u8)).copied().unwrap_or(0);
        eprintln!("  {:<14} {count:>4}  {}", format!("{phase:?}"), "#".repeat(count));
    }
    let unmarked = hits.get(&b'?').copied().unwrap_or(0);
    eprintln!("  {:<14} {unmarked:>4}", "before any");
    eprintln!("{}", summary(&place));
    if cycles >= 100 {
        let missed = Phase::ALL.into_iter().filter(|&phase| !hits.contains_key(&(phase as u8))).collect::<Vec<_>>();
        assert!(missed.is_empty(), "no kill hit {missed:?}");
    }
}

/// How much was done in all, so that a reader sees that the run was worth something.
fn summary(place: &Place) -> String {
    let lines = |path: &Path| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
    let journals: Vec<String> =
        ["left", "right", "counter", "ddl", "reader"].map(|of| format!("{of} {}", lines(&place.journal(of)))).into();
    format!("journal entries: {}; event lines: {}", journals.join(", "), lines(&place.events()))
}
