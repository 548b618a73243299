//! Logs on stderr, quiet by default, and the phase marker by which a crash test knows what a kill hit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use super::{Error, Result};

/// Sends the events of the whole process to stderr. `filter` is a level (`error`, `warn`, `info`, `debug`) or a
/// tracing filter such as `warn,millstream::engine=debug`. A second call changes nothing.
pub fn start(filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Error::invalid(format!("setting \"log\" holds no log filter: \"{filter}\""))
            .with_detail(format!("{error}."))
            .with_hint("Use error, warn, info or debug, or a filter like warn,millstream::engine=debug.")
    })?;
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).finish();
    // A test process starts many engines: the first one's filter stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// What the process is doing that a crash could interrupt. The number is the byte in the phase file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Nothing of the below.
    Idle = b'0',
    /// Reading a source.
    Reading = b'1',
    /// Writing a cut's record into the epoch log.
    CutLog = b'2',
    /// Making the epoch log durable.
    LogSync = b'3',
    /// Closing an epoch: publishing its deltas.
    EpochClose = b'4',
    /// Cutting operators' state for a checkpoint.
    CheckpointCut = b'5',
    /// Writing a run.
    RunWrite = b'6',
    /// Writing and renaming a manifest.
    ManifestWrite = b'7',
    /// Delivering an outbox batch to its destination.
    OutboxDeliver = b'8',
    /// Recovering from a manifest and the log.
    Recovery = b'9',
    /// Creating or dropping a relation.
    Ddl = b'a',
}

impl Phase {
    /// All phases, in the order of their bytes.
    pub const ALL: [Phase; 11] = [
        Phase::Idle,
        Phase::Reading,
        Phase::CutLog,
        Phase::LogSync,
        Phase::EpochClose,
        Phase::CheckpointCut,
        Phase::RunWrite,
        Phase::ManifestWrite,
        Phase::OutboxDeliver,
        Phase::Recovery,
        Phase::Ddl,
    ];

    /// The phase whose byte is `byte`.
    pub fn from_byte(byte: u8) -> Option<Phase> {
        Phase::ALL.into_iter().find(|&phase| phase as u8 == byte)
    }
}

/// The file that [`phase`] marks; none unless `MILLSTREAM_PHASE_FILE` names one when the first phase is marked.
fn phase_file() -> Option<&'static File> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = std::env::var_os("MILLSTREAM_PHASE_FILE")?;
        match File::options().create(true).truncate(false).write(true).open(&path) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(path = %path.to_string_lossy(), %error, "phase file does not open");
                None
            }
        }
    })
    .as_ref()
}

/// Marks what the process does from now on: one byte at the head of the file named by `MILLSTREAM_PHASE_FILE`, if
/// that is set (one `pwrite`, about a microsecond); otherwise a load and a branch. Threads overwrite each other: the
/// byte says what was begun last, which is what a histogram of kills needs.
pub fn phase(phase: Phase) {
    if let Some(file) = phase_file() {
        // The marker is a measurement of a test: a full disk must not disturb what is measured.
        let _ = file.write_at(&[phase as u8], 0);
    }
}

/// Marks `during` until it is dropped, then [`Phase::Idle`].
#[derive(Debug)]
pub struct PhaseGuard(());

impl PhaseGuard {
    /// Marks `during`.
    pub fn enter(during: Phase) -> PhaseGuard {
        phase(during);
        PhaseGuard(())
    }
}

impl Drop for PhaseGuard {
    fn drop(&mut self) {
        phase(Phase::Idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_its_own_byte() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_byte(phase as u8), Some(phase));
        }
        assert_eq!(Phase::from_byte(b'z'), None);
        let _guard = PhaseGuard::enter(Phase::Ddl);
    }

    #[test]
    fn a_filter_that_does_not_parse_is_refused() {
        assert_eq!(start("a=b=c").unwrap_err().sqlstate(), "22023");
    }
}
