//! Reading the epoch log at start: the order of its segments, its torn tail, its records.

use std::fs;
use std::path::{Path, PathBuf};

use super::SegmentFile;
use super::frame::{HEADER_BYTES, Header, Place, has_frame_behind, read_place, read_records};
use crate::base::{Error, Result, ResultExt};
use crate::storage::disk::{Disk, io_error};
use crate::types::Epoch;

/// The records of the log in epoch order, read segment by segment. Ends after the first error.
pub struct LogReplay {
    /// Newest first.
    segments: Vec<SegmentFile>,
    /// Records of the current segment, last one first.
    records: Vec<(Epoch, Vec<u8>)>,
    /// The epoch before the oldest one here.
    starts_after: Epoch,
    /// The newest epoch given, or `starts_after`.
    newest: Epoch,
    /// Records up to here are left out.
    after: Epoch,
}

impl LogReplay {
    pub(super) fn new(mut segments: Vec<SegmentFile>) -> Result<LogReplay> {
        segments.reverse();
        let starts_after = match segments.last() {
            Some(oldest) => Header::decode(&read(&oldest.path)?).context(|| place(&oldest.path))?.previous,
            None => Epoch::ZERO,
        };
        Ok(LogReplay { segments, records: Vec::new(), starts_after, newest: starts_after, after: Epoch::ZERO })
    }

    /// The records of epochs after `epoch` alone (what a checkpoint of `epoch` does not hold).
    /// Fails with `Corrupt` when the log was trimmed above `epoch`.
    pub fn after(mut self, epoch: Epoch) -> Result<LogReplay> {
        if self.starts_after > epoch {
            return Err(Error::corrupt(format!(
                "the epoch log begins after epoch {}, the checkpoint ends at epoch {epoch}",
                self.starts_after
            ))
            .with_hint("Restore the data directory from a backup."));
        }
        self.after = epoch;
        Ok(self)
    }

    fn read_segment(&mut self, segment: &SegmentFile) -> Result<()> {
        let bytes = read(&segment.path)?;
        let header = Header::decode(&bytes)?;
        if header.previous != self.newest {
            let found =
                format!("The segment before ends with epoch {}, this one follows {}.", self.newest, header.previous);
            return Err(Error::corrupt("a segment of the epoch log is missing").with_detail(found));
        }
        let mut at = HEADER_BYTES;
        loop {
            match read_place(&bytes, header.nonce, at) {
                Place::Frame { payload, records, next } => {
                    for (epoch, record) in read_records(payload, records)? {
                        self.admit(epoch, record)?;
                    }
                    at = next;
                }
                Place::End => break,
                Place::Broken => return Err(broken(at)),
            }
        }
        self.records.reverse();
        Ok(())
    }

    fn admit(&mut self, epoch: Epoch, record: &[u8]) -> Result<()> {
        if epoch <= self.newest {
            return Err(Error::corrupt(format!("epoch {epoch} stands after epoch {} in the log", self.newest)));
        }
        self.newest = epoch;
        if epoch > self.after {
            self.records.push((epoch, record.to_vec()));
        }
        Ok(())
    }
}

impl Iterator for LogReplay {
    type Item = Result<(Epoch, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.records.pop() {
                return Some(Ok(record));
            }
            let segment = self.segments.pop()?;
            if let Err(error) = self.read_segment(&segment) {
                self.segments.clear();
                self.records.clear();
                return Some(Err(error.context(place(&segment.path))));
            }
        }
    }
}

/// The segments in order after the newest one's torn tail was cut off, and the epoch of the newest record.
pub(super) fn recover(dir: &Path, disk: &Disk) -> Result<(Vec<SegmentFile>, Epoch)> {
    let mut segments = list(dir, disk)?;
    // What a segment that was removed below says about the one before it.
    let mut expected: Option<Epoch> = None;
    while let Some(last) = segments.last() {
        let bytes = read(&last.path)?;
        let header = Header::decode(&bytes).context(|| place(&last.path))?;
        let (end, newest) = find_end(&bytes, &header).context(|| place(&last.path))?;
        if expected.is_some_and(|expected| newest != Some(expected)) {
            return Err(broken(end).context(place(&last.path)));
        }
        if let Some(newest) = newest {
            cut_tail(&last.path, bytes.len(), end, disk)?;
            return Ok((segments, newest));
        }
        // Nothing in it was ever acknowledged; its name may be needed again.
        disk.remove(&last.path)?;
        disk.sync_dir(dir)?;
        expected = Some(header.previous);
        segments.pop();
    }
    Ok((segments, expected.unwrap_or(Epoch::ZERO)))
}

/// Where the whole frames of the newest segment end, and its newest epoch.
fn find_end(bytes: &[u8], header: &Header) -> Result<(usize, Option<Epoch>)> {
    let (mut at, mut newest) = (HEADER_BYTES, None);
    loop {
        match read_place(bytes, header.nonce, at) {
            Place::Frame { payload, records, next } => {
                newest = read_records(payload, records)?.last().map(|&(epoch, _)| epoch).or(newest);
                at = next;
            }
            Place::End => return Ok((at, newest)),
            Place::Broken if has_frame_behind(bytes, header.nonce, at) => return Err(broken(at)),
            Place::Broken => return Ok((at, newest)),
        }
    }
}

fn cut_tail(path: &Path, length: usize, end: usize, disk: &Disk) -> Result<()> {
    if length <= end {
        return Ok(());
    }
    let file = fs::OpenOptions::new().write(true).open(path).map_err(|error| io_error("open", path, error))?;
    disk.set_len(&file, path, end as u64)?;
    disk.sync(&file, path)
}

/// The segments by name; files that were being made are removed.
fn list(dir: &Path, disk: &Disk) -> Result<Vec<SegmentFile>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| io_error("read", dir, error))? {
        let path = entry.map_err(|error| io_error("read", dir, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".tmp") {
            disk.remove(&path)?;
        } else if let Some(first) = name.strip_suffix(".log").and_then(|first| first.parse().ok()) {
            segments.push(SegmentFile { first: Epoch(first), path });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// The path of the segment whose first record has epoch `first`.
pub(super) fn segment_path(dir: &Path, first: Epoch) -> PathBuf {
    dir.join(format!("{:020}.log", first.0))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| io_error("read", path, error))
}

fn place(path: &Path) -> String {
    format!("in \"{}\"", path.display())
}

fn broken(at: usize) -> Error {
    Error::corrupt("the epoch log is damaged: a frame that was acknowledged does not have its checksum")
        .with_detail(format!("The frame begins at byte {at}."))
        .with_hint("Restore the data directory from a backup.")
}
