//! The few file operations that durability rests on, in one place, so that a test can make any one of them fail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::{Error, Result, sqlstate};

/// File operations: the real ones, or (for tests) ones that stop at a chosen step as a crash or a full disk would.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    failing: Option<Arc<FailPlan>>,
}

#[derive(Debug)]
struct FailPlan {
    /// The first step that fails; all later ones fail too.
    at: u64,
    done: AtomicU64,
}

impl Disk {
    /// The real one.
    pub fn real() -> Disk {
        Disk::default()
    }

    /// One whose operation number `step` (from 0) and all later ones fail; a failing write leaves half of its bytes.
    /// It counts syncs but does none: what reached the operating system survives the crash of a process.
    pub fn failing_at(step: u64) -> Disk {
        Disk { failing: Some(Arc::new(FailPlan { at: step, done: AtomicU64::new(0) })) }
    }

    /// Whether a chosen failure has happened.
    pub fn has_failed(&self) -> bool {
        self.failing.as_ref().is_some_and(|plan| plan.done.load(Ordering::SeqCst) > plan.at)
    }

    fn is_first_failure(&self) -> bool {
        self.failing.as_ref().is_some_and(|plan| plan.done.load(Ordering::SeqCst) == plan.at + 1)
    }

    fn step(&self) -> io::Result<()> {
        match &self.failing {
            Some(plan) if plan.done.fetch_add(1, Ordering::SeqCst) >= plan.at => Err(io::Error::from_raw_os_error(28)),
            Some(_) | None => Ok(()),
        }
    }

    /// A new, empty file; an old one of that name is emptied.
    pub(super) fn create(&self, path: &Path) -> Result<File> {
        let create = || {
            self.step()?;
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
        };
        create().map_err(|error| io_error("create", path, error))
    }

    /// Writes `bytes` at `offset`.
    pub(super) fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<()> {
        let write = || match self.step() {
            Ok(()) => file.write_all_at(bytes, offset),
            Err(error) if self.is_first_failure() => {
                let (half, _) = bytes.split_at(bytes.len() / 2);
                file.write_all_at(half, offset)?;
                Err(error)
            }
            Err(error) => Err(error),
        };
        write().map_err(|error| io_error("write", path, error))
    }

    /// Waits until the file's bytes are on the disk.
    pub(super) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        self.step()
            .and_then(|()| if self.failing.is_some() { Ok(()) } else { file.sync_data() })
            .map_err(|error| io_error("sync", path, error))
    }

    /// Cuts a file to `length` bytes.
    pub(super) fn set_len(&self, file: &File, path: &Path, length: u64) -> Result<()> {
        self.step().and_then(|()| file.set_len(length)).map_err(|error| io_error("shorten", path, error))
    }

    /// Renames a file; the new name appears whole or not at all.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step().and_then(|()| fs::rename(from, to)).map_err(|error| io_error("rename", from, error))
    }

    /// Removes a file; one that is not there is fine.
    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        match self.step().and_then(|()| fs::remove_file(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Waits until the names in the folder are on the disk.
    pub(super) fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.step()
            .and_then(|()| if self.failing.is_some() { Ok(()) } else { File::open(dir)?.sync_all() })
            .map_err(|error| io_error("sync", dir, error))
    }

    /// Writes a whole file so that after a crash it is there complete or not at all: aside, synced, renamed, folder synced.
    pub(super) fn write_aside(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let aside = path.with_extension("tmp");
        let file = self.create(&aside)?;
        self.write_at(&file, &aside, bytes, 0)?;
        self.sync(&file, &aside)?;
        self.rename(&aside, path)?;
        match path.parent() {
            Some(dir) => self.sync_dir(dir),
            None => Ok(()),
        }
    }
}

/// What an operation on a file that the operating system refused means for the reader.
pub(super) fn io_error(verb: &str, path: &Path, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Make room on this disk, then start millstream again."
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "Give the user that runs millstream the right to write there."
        }
        _ => "Look at the disk's health, then start millstream again.",
    };
    Error::unavailable(format!("could not {verb} \"{}\": {error}", path.display()))
        .with_code(sqlstate::IO_ERROR)
        .with_hint(hint)
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_aside_is_whole_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        for step in 0.. {
            let disk = Disk::failing_at(step);
            let result = disk.write_aside(&path, b"whole");
            if let Ok(bytes) = fs::read(&path) {
                assert_eq!(bytes, b"whole");
            }
            if result.is_ok() {
                assert!(step > 4 && !disk.has_failed());
                return;
            }
        }
    }
}
