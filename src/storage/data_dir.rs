//! The data directory: what makes a folder ours, and ours alone while we run.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Disk, io_error};
use super::secrets::SecretFiles;
use crate::base::{Error, Result, sqlstate};

/// The version of the layout drawn at the head of this room.
const FORMAT: u32 = 1;

/// A data directory, locked by this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    incarnation: String,
    /// The operating system gives the lock back when the file is closed, also after `kill -9`.
    _lock: File,
}

/// What the file `format` holds.
#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
    incarnation: String,
    created_by: String,
}

impl DataDir {
    /// Opens `root`, or makes it when it is absent or empty. Wipes its scratch folder.
    /// Fails with `Unavailable` while another process uses it, with `Invalid` when it is not a data directory of ours
    /// or of a version this program does not read.
    pub fn open(root: &Path) -> Result<DataDir> {
        fs::create_dir_all(root).map_err(|error| io_error("create", root, error))?;
        let format_path = root.join("format");
        if !format_path.exists() {
            refuse_foreign(root)?;
        }
        let lock = lock(root)?;
        let incarnation = match fs::read_to_string(&format_path) {
            Ok(text) => read_format(&text, &format_path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_format(&format_path)?,
            Err(error) => return Err(io_error("read", &format_path, error)),
        };
        let dir = DataDir { root: root.to_path_buf(), incarnation, _lock: lock };
        let scratch = dir.scratch();
        if scratch.exists() {
            fs::remove_dir_all(&scratch).map_err(|error| io_error("empty", &scratch, error))?;
        }
        for folder in [dir.log(), dir.manifest(), dir.runs(), dir.outbox(), scratch] {
            fs::create_dir_all(&folder).map_err(|error| io_error("create", &folder, error))?;
        }
        dir.secrets().make()?;
        Disk::real().sync_dir(root)?;
        Ok(dir)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// 32 hexadecimal digits drawn when the directory was made: tells it from every other one, also from one that was
    /// restored from nothing under the same path. Sinks write it into their marks.
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// Where the epoch log lies.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where manifests lie.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("manifest")
    }

    /// Where runs lie.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Where the outboxes of sinks lie.
    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    /// The values of secrets.
    pub fn secrets(&self) -> SecretFiles {
        SecretFiles::new(self.root.join("secrets"))
    }

    /// Where anything may lie that need not survive.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }
}

fn refuse_foreign(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).map_err(|error| io_error("read", root, error))? {
        let name = entry.map_err(|error| io_error("read", root, error))?.file_name();
        // What a start that was killed before it wrote `format` can have left, and what a new file system holds.
        if name != "lock" && name != "format.tmp" && name != "lost+found" {
            return Err(Error::invalid(format!("\"{}\" is not a data directory of millstream", root.display()))
                .with_detail(format!("It holds \"{}\" and no file \"format\".", name.to_string_lossy()))
                .with_hint("Name an empty or absent folder with --data-dir."));
        }
    }
    Ok(())
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|error| io_error("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The id only makes the message better; without it the message still holds.
            let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let who = if known { format!("process {}", holder.trim()) } else { "another process".to_owned() };
            return Err(Error::unavailable(format!("data directory \"{}\" is in use by {who}", root.display()))
                .with_code(sqlstate::OBJECT_IN_USE)
                .with_hint("End that process, or start with another --data-dir."));
        }
        Err(TryLockError::Error(error)) => return Err(io_error("lock", &path, error)),
    }
    let disk = Disk::real();
    disk.set_len(&file, &path, 0)?;
    disk.write_at(&file, &path, format!("{}\n", std::process::id()).as_bytes(), 0)?;
    Ok(file)
}

fn read_format(text: &str, path: &Path) -> Result<String> {
    let format: Format = serde_json::from_str(text).map_err(|error| {
        Error::corrupt(format!("\"{}\" does not say which format this data directory has", path.display()))
            .with_hint("Restore the data directory from a backup.")
            .caused_by(error)
    })?;
    if format.format != FORMAT {
        return Err(Error::invalid(format!(
            "data directory has format {}; this program reads format {FORMAT}",
            format.format
        ))
        .with_detail(format!("It was made by millstream {}.", format.created_by))
        .with_hint("Start the version of millstream that wrote it, or name another --data-dir."));
    }
    Ok(format.incarnation)
}

fn write_format(path: &Path) -> Result<String> {
    let incarnation = draw()?;
    let format =
        Format { format: FORMAT, incarnation: incarnation.clone(), created_by: env!("CARGO_PKG_VERSION").to_owned() };
    let text = serde_json::to_string(&format)
        .map_err(|error| Error::internal("format file could not be spelled").caused_by(error))?;
    Disk::real().write_aside(path, format!("{text}\n").as_bytes())?;
    Ok(incarnation)
}

/// 32 hexadecimal digits that nobody can guess.
pub(super) fn draw() -> Result<String> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| io_error("read", path, error))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_again_and_wipes_scratch() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/b");
        let first = DataDir::open(&root).unwrap();
        fs::write(first.scratch().join("x"), "x").unwrap();
        fs::write(first.runs().join("x"), "x").unwrap();
        let incarnation = first.incarnation().to_owned();
        assert_eq!(incarnation.len(), 32);
        drop(first);
        let second = DataDir::open(&root).unwrap();
        assert_eq!(second.incarnation(), incarnation);
        assert!(!second.scratch().join("x").exists() && second.runs().join("x").exists());
    }

    #[test]
    fn a_second_start_is_refused_with_the_process() {
        let root = tempfile::tempdir().unwrap();
        let held = DataDir::open(root.path()).unwrap();
        let error = DataDir::open(root.path()).unwrap_err();
        let expected = format!("is in use by process {}", std::process::id());
        assert!(error.message().ends_with(&expected), "{error}");
        drop(held);
        assert!(DataDir::open(root.path()).is_ok());
    }

    #[test]
    fn foreign_and_newer_folders_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.txt"), "x").unwrap();
        let error = DataDir::open(root.path()).unwrap_err();
        assert_eq!(error.detail(), Some("It holds \"thesis.txt\" and no file \"format\"."));
        assert!(!root.path().join("lock").exists());
        let root = tempfile::tempdir().unwrap();
        let newer = r#"{"format":2,"incarnation":"00","created_by":"9.9"}"#;
        fs::write(root.path().join("format"), newer).unwrap();
        let error = DataDir::open(root.path()).unwrap_err();
        assert_eq!(error.message(), "data directory has format 2; this program reads format 1");
        fs::write(root.path().join("format"), "{").unwrap();
        assert_eq!(DataDir::open(root.path()).unwrap_err().kind(), crate::base::ErrorKind::Corrupt);
    }
}
