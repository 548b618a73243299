//! The values of secrets: a file each that only the server's user may read, under a name that says nothing. A value is
//! never written anew: another one is another file, so that a crash leaves either the old or the new one.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::data_dir::draw;
use super::disk::{Disk, io_error};
use crate::base::{Error, Result, Secret};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    value: Secret,
}

/// The folder of the values.
#[derive(Clone, Debug)]
pub struct SecretFiles(PathBuf);

impl SecretFiles {
    pub(super) fn new(folder: PathBuf) -> SecretFiles {
        SecretFiles(folder)
    }

    /// Makes the folder, for its owner alone.
    pub(super) fn make(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|error| io_error("create", &self.0, error))
    }

    fn path(&self, file: &str) -> Result<PathBuf> {
        match file.len() == 32 && file.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(self.0.join(file)),
            false => Err(Error::corrupt("the catalog names a file of a secret that is none")
                .with_hint("Restore the data directory from a backup.")),
        }
    }

    /// Writes a value, durably; gives the name of its file.
    pub fn write(&self, value: &Secret) -> Result<String> {
        let file = draw()?;
        let path = self.path(&file)?;
        let text = serde_json::to_vec(&Stored { version: VERSION, value: value.clone() })
            .map_err(|error| Error::internal("a secret could not be spelled").caused_by(error))?;
        let write = || -> std::io::Result<()> {
            let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            open.write_all(&text)?;
            open.sync_all()
        };
        write().map_err(|error| io_error("write", &path, error))?;
        Disk::real().sync_dir(&self.0)?;
        Ok(file)
    }

    /// The value in `file`.
    pub fn read(&self, file: &str) -> Result<Secret> {
        let path = self.path(file)?;
        let text = fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(&path, "is gone"),
            _ => io_error("read", &path, error),
        })?;
        // What the parser says of it may quote the value.
        let stored: Stored = serde_json::from_slice(&text).map_err(|_| damaged(&path, "is damaged"))?;
        if stored.version != VERSION {
            return Err(damaged(&path, "was written by another version of millstream"));
        }
        Ok(stored.value)
    }

    /// Takes a value away that nothing names any more. What stays goes with the next start.
    pub fn remove(&self, file: &str) {
        let removed = self.path(file).map(fs::remove_file);
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!("the value of a secret that is no longer used could not be removed; the next start does");
        }
    }

    /// Takes away all values but those in `kept`.
    pub fn sweep(&self, kept: &BTreeSet<&str>) -> Result<()> {
        for entry in fs::read_dir(&self.0).map_err(|error| io_error("read", &self.0, error))? {
            let entry = entry.map_err(|error| io_error("read", &self.0, error))?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().filter(|name| !kept.contains(name) && self.path(name).is_ok()) {
                self.remove(name);
            }
        }
        Ok(())
    }
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::corrupt(format!("the file of a secret {what}: \"{}\"", path.display()))
        .with_hint("Restore it from a backup of the data directory.")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn values_lie_apart_and_closed() {
        let top = tempfile::tempdir().unwrap();
        let files = SecretFiles::new(top.path().join("secrets"));
        files.make().unwrap();
        let (first, second) = (files.write(&Secret::new("a\"b\n")).unwrap(), files.write(&Secret::new("c")).unwrap());
        assert_eq!(files.read(&first).unwrap().reveal(), "a\"b\n");
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(top.path().join("secrets")), mode(files.path(&first).unwrap())), (0o700, 0o600));
        files.sweep(&BTreeSet::from([second.as_str()])).unwrap();
        let error = files.read(&first).unwrap_err();
        assert!(error.message().contains("is gone"), "{}", error.report());
        assert_eq!(files.read(&second).unwrap().reveal(), "c");
        fs::write(files.path(&second).unwrap(), "{\"version\":1,\"value\":\"canary").unwrap();
        assert!(!files.read(&second).unwrap_err().report().contains("canary"));
        assert!(files.read("../x").is_err());
    }
}
