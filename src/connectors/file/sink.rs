//! Sink `file`: parcels become files of a folder, each row exactly once.
//!
//! Files that are finished end in the format's extension and never change; whatever else is in the folder begins with a
//! dot: the file being written (`.part-<number>.<extension>.open`), the lock and the mark. A parcel is appended to the
//! open file and synced; then the mark, written aside and renamed, says up to which byte the file counts. What lies
//! behind that byte came from a delivery that did not end, and is cut off before the next. A file is finished by a mark
//! that says so, then its renaming, which `open` repeats if it did not happen.
//!
//! The mark, `.millstream-mark`, is one JSON object:
//! `{"version":1,"sink":3,"incarnation":"a1b2","number":17,"file":"part-000000000015.ndjson","bytes":4096,"rows":40,
//! "began_us":1700000000000000,"finished":false}`; `file` is null when no file is open.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Beneath;
use crate::base::{Error, Result, sqlstate};
use crate::connectors::{Parcel, Sink, SinkOwner};

const MARK: &str = ".millstream-mark";
const LOCK: &str = ".millstream-lock";
const MARK_VERSION: u32 = 1;

/// When a file is finished. Each limit that is given is checked after every parcel; without any, every parcel is a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
    /// Microseconds since its first parcel.
    pub interval_us: Option<i64>,
}

/// A folder of files.
pub struct FileSink {
    folder: PathBuf,
    extension: String,
    roll: Roll,
    beneath: Option<Beneath>,
    lock: Option<File>,
    mark: Option<Mark>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    version: u32,
    sink: u64,
    incarnation: String,
    number: Option<u64>,
    file: Option<String>,
    bytes: u64,
    rows: u64,
    began_us: i64,
    finished: bool,
}

impl FileSink {
    /// Writes files ending in `.extension` to `folder`, which is made if it is not there.
    pub fn new(folder: impl Into<PathBuf>, extension: &str, roll: Roll) -> Self {
        FileSink { folder: folder.into(), extension: extension.to_owned(), roll, beneath: None, lock: None, mark: None }
    }

    /// The same; its folder must lie in that one, also after links were followed.
    pub fn beneath(self, beneath: Option<Beneath>) -> Self {
        FileSink { beneath, ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn fence(&mut self) -> Result<()> {
        self.beneath.as_ref().map_or(Ok(()), |beneath| beneath.require(&self.folder))?;
        std::fs::create_dir_all(&self.folder).map_err(|error| self.refused("made", error))?;
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.path(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| self.refused("locked", error))?;
        lock.try_lock().map_err(|_| {
            Error::unavailable(format!("folder \"{}\" is being written to by another sink", self.folder.display()))
                .with_code(sqlstate::OBJECT_IN_USE)
                .with_hint("Give every sink a folder of its own.")
        })?;
        self.lock = Some(lock);
        Ok(())
    }

    fn read_mark(&self, owner: &SinkOwner) -> Result<Option<Mark>> {
        let path = self.path(MARK);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.refused("read", error)),
        };
        let hint = format!(
            "Use an empty folder; or, if nobody else needs what is there, delete {} and have everything sent again.",
            path.display()
        );
        let mark: Mark = serde_json::from_slice(&text).map_err(|error| {
            Error::corrupt(format!("the mark in folder \"{}\" is damaged", self.folder.display()))
                .with_detail(format!("{error}."))
                .with_hint(hint.clone())
        })?;
        if mark.version != MARK_VERSION {
            return Err(Error::invalid(format!(
                "the mark in folder \"{}\" has version {}",
                self.folder.display(),
                mark.version
            ))
            .with_detail(format!("This build writes version {MARK_VERSION}."))
            .with_hint("Use the build that wrote it, or an empty folder."));
        }
        if mark.sink != owner.sink || mark.incarnation != owner.incarnation {
            return Err(Error::invalid(format!("folder \"{}\" belongs to another sink", self.folder.display()))
                .with_code(sqlstate::OBJECT_IN_USE)
                .with_detail(format!(
                    "Its mark names sink {} of data directory {}; this is sink {} (\"{}\") of {}.",
                    mark.sink, mark.incarnation, owner.sink, owner.name, owner.incarnation
                ))
                .with_hint(hint));
        }
        Ok(Some(mark))
    }

    /// Writes the mark aside, syncs, renames, syncs the folder.
    fn write_mark(&mut self, mark: Mark) -> Result<()> {
        let aside = self.path(".millstream-mark.new");
        let text = serde_json::to_vec(&mark)
            .map_err(|error| Error::internal("a sink's mark could not be encoded").caused_by(error))?;
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&aside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&aside, self.path(MARK))?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| self.refused("written to", error))?;
        self.mark = Some(mark);
        Ok(())
    }

    /// Renames the file that the mark calls finished, if that has not happened yet; nothing is open then.
    fn settle(&mut self) -> Result<()> {
        let Some(mark) = self.mark.clone().filter(|mark| mark.finished) else { return Ok(()) };
        let Some(name) = &mark.file else { return Ok(()) };
        let (open, done) = (self.path(&open_name(name)), self.path(name));
        match std::fs::rename(&open, &done) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && done.exists() => {}
            Err(error) => return Err(self.refused("renamed in", error)),
        }
        self.write_mark(Mark { file: None, bytes: 0, rows: 0, began_us: 0, finished: false, ..mark })
    }

    /// Appends `bytes` to the open file behind the byte that counts; returns the new length.
    fn append(&self, path: &Path, counts: u64, pieces: [&[u8]; 2]) -> Result<u64> {
        let write = || -> std::io::Result<u64> {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            if file.metadata()?.len() < counts {
                return Err(std::io::Error::other("the file being written was shortened by someone else"));
            }
            file.set_len(counts)?;
            file.seek(SeekFrom::Start(counts))?;
            let mut length = counts;
            for piece in pieces {
                file.write_all(piece)?;
                length += piece.len() as u64;
            }
            file.sync_all()?;
            Ok(length)
        };
        write().map_err(|error| self.refused("written to", error))
    }

    fn is_full(&self, mark: &Mark, now_us: i64) -> bool {
        let Roll { rows, bytes, interval_us } = &self.roll;
        let never = rows.is_none() && bytes.is_none() && interval_us.is_none();
        never
            || rows.is_some_and(|limit| mark.rows >= limit)
            || bytes.is_some_and(|limit| mark.bytes >= limit)
            || interval_us.is_some_and(|limit| now_us.saturating_sub(mark.began_us) >= limit)
    }

    fn refused(&self, what: &str, error: std::io::Error) -> Error {
        Error::unavailable(format!("folder \"{}\" can not be {what}: {error}", self.folder.display()))
            .with_code(sqlstate::IO_ERROR)
            .with_hint("Check that the server's user may write there and that the disk is not full.")
            .caused_by(error)
    }
}

fn open_name(name: &str) -> String {
    format!(".{name}.open")
}

fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl Sink for FileSink {
    fn open(&mut self, owner: &SinkOwner) -> Result<Option<u64>> {
        self.fence()?;
        self.mark = self.read_mark(owner)?;
        match &self.mark {
            Some(_) => self.settle()?,
            None => {
                let mark = Mark {
                    version: MARK_VERSION,
                    sink: owner.sink,
                    incarnation: owner.incarnation.clone(),
                    number: None,
                    file: None,
                    bytes: 0,
                    rows: 0,
                    began_us: 0,
                    finished: false,
                };
                self.write_mark(mark)?;
            }
        }
        Ok(self.mark.as_ref().and_then(|mark| mark.number))
    }

    fn deliver(&mut self, parcel: &Parcel) -> Result<()> {
        let mark = self.mark.clone().ok_or_else(|| Error::internal("a sink was written to before it was opened"))?;
        if mark.number.is_some_and(|number| number >= parcel.number) {
            return Ok(());
        }
        if parcel.rows == 0 {
            return self.write_mark(Mark { number: Some(parcel.number), ..mark });
        }
        let fresh = mark.file.is_none();
        let name = mark.file.clone().unwrap_or_else(|| format!("part-{:012}.{}", parcel.number, self.extension));
        let header: &[u8] = if fresh { &parcel.header } else { &[] };
        let bytes = self.append(&self.path(&open_name(&name)), mark.bytes, [header, &parcel.body])?;
        let now = now_us();
        let began_us = if fresh { now } else { mark.began_us };
        let rows = mark.rows + parcel.rows;
        let mut next = Mark { number: Some(parcel.number), file: Some(name), bytes, rows, began_us, ..mark };
        next.finished = parcel.whole_file || self.is_full(&next, now);
        self.write_mark(next)?;
        self.settle()
    }

    fn tick(&mut self, now_us: i64, last: bool) -> Result<()> {
        let Some(mark) = self.mark.clone().filter(|mark| mark.file.is_some()) else { return Ok(()) };
        if last || self.is_full(&mark, now_us) {
            self.write_mark(Mark { finished: true, ..mark })?;
            self.settle()?;
        }
        Ok(())
    }
}
