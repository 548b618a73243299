//! The thread that owns the newest segment: group commit, rolling, and the end after the first error.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use super::frame::{Header, begin_frame, finish_frame, push_record};
use super::replay::segment_path;
use super::{Append, LogSettings, SegmentFile, Shared, stopped};
use crate::base::Result;
use crate::storage::disk::{Disk, io_error};
use crate::types::Epoch;

/// A frame takes no further record once it holds this much.
const FRAME_BYTES: usize = 8 << 20;

/// What the log's thread works with.
pub(super) struct Writer {
    dir: PathBuf,
    disk: Disk,
    segment_bytes: u64,
    allocate_bytes: u64,
    /// The epoch of the newest durable record.
    newest: Epoch,
    segment: Option<Segment>,
    shared: Arc<Shared>,
    /// The frame being made; kept for its memory.
    frame: Vec<u8>,
}

struct Segment {
    file: File,
    path: PathBuf,
    nonce: u64,
    /// Where the next frame will lie.
    end: u64,
    /// How long the file is: zeros from `end` on.
    allocated: u64,
}

impl Writer {
    pub(super) fn new(dir: PathBuf, settings: &LogSettings, newest: Epoch, shared: Arc<Shared>) -> Writer {
        let LogSettings { segment_bytes, allocate_bytes, .. } = *settings;
        let disk = settings.disk.clone();
        Writer { dir, disk, segment_bytes, allocate_bytes, newest, segment: None, shared, frame: Vec::new() }
    }

    /// Writes until nobody can append any more.
    pub(super) fn run(mut self, appends: &Receiver<Append>) {
        while let Ok(first) = appends.recv() {
            let mut bytes = first.record.len();
            let mut group = vec![first];
            while bytes < FRAME_BYTES
                && let Ok(append) = appends.try_recv()
            {
                bytes += append.record.len();
                group.push(append);
            }
            let failure = self.commit(&group).err();
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            for append in group {
                (append.done)(match &failure {
                    Some(why) => Err(stopped(why)),
                    None => Ok(()),
                });
            }
        }
    }

    /// Makes a group durable, or says why nothing will be any more.
    fn commit(&mut self, group: &[Append]) -> Result<(), String> {
        if let Some(why) = &*self.shared.failure.lock() {
            return Err(why.clone());
        }
        match self.write(group) {
            Ok(newest) => {
                self.newest = newest;
                self.shared.durable.store(newest.0, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                let why = error.message().to_owned();
                tracing::error!(error = %error.report(), "epoch log stopped");
                *self.shared.failure.lock() = Some(why.clone());
                self.take_back();
                Err(why)
            }
        }
    }

    fn write(&mut self, group: &[Append]) -> Result<Epoch> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(self.newest);
        };
        if self.segment.as_ref().is_none_or(|segment| segment.end >= self.segment_bytes) {
            self.roll(first.epoch)?;
        }
        let Some(segment) = &mut self.segment else {
            return Ok(self.newest);
        };
        begin_frame(&mut self.frame);
        for append in group {
            push_record(&mut self.frame, append.epoch, &append.record);
        }
        finish_frame(&mut self.frame, segment.nonce, segment.end, group.len() as u32);
        let end = segment.end + self.frame.len() as u64;
        if end > segment.allocated {
            segment.allocated = end.checked_next_multiple_of(self.allocate_bytes).unwrap_or(end);
            self.frame.resize((segment.allocated - segment.end) as usize, 0);
        }
        self.disk.write_at(&segment.file, &segment.path, &self.frame, segment.end)?;
        self.disk.sync(&segment.file, &segment.path)?;
        segment.end = end;
        if self.frame.capacity() > 2 * FRAME_BYTES {
            self.frame = Vec::new();
        }
        Ok(last.epoch)
    }

    /// Begins a segment whose first record will have epoch `first`; its header is durable before its first frame.
    fn roll(&mut self, first: Epoch) -> Result<()> {
        if let Some(full) = self.segment.take()
            && full.allocated > full.end
        {
            // Only to give the disk its room back: zeros behind the last frame mean nothing.
            self.disk.set_len(&full.file, &full.path, full.end)?;
        }
        let nonce = RandomState::new().build_hasher().finish();
        let header = Header { nonce, first, previous: self.newest }.encode();
        let path = segment_path(&self.dir, first);
        self.disk.write_aside(&path, &header)?;
        let file = OpenOptions::new().write(true).open(&path).map_err(|error| io_error("open", &path, error))?;
        self.shared.segments.lock().push(SegmentFile { first, path: path.clone() });
        self.segment = Some(Segment { file, path, nonce, end: header.len() as u64, allocated: header.len() as u64 });
        Ok(())
    }

    /// Tries to cut off a frame that was not acknowledged, so that the next start does not find it.
    fn take_back(&self) {
        if let Some(segment) = &self.segment
            && let Err(error) = segment.file.set_len(segment.end)
        {
            tracing::warn!(%error, "a frame that was not acknowledged stays in the epoch log");
        }
    }
}
