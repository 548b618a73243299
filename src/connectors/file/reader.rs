//! Reads the files of a sequence, one after another, into blocks of whole records.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use bytes::Bytes;

use super::position::place_in;
use super::sequence::{Sequence, unreadable};
use super::{FilePosition, FileSourceOptions, Follow};
use crate::base::{Error, Result};
use crate::connectors::{Block, FilePiece, Framing, LastRecordEnd, Oversize, Piece, SplitReader};
use crate::types::Position;

/// How many bytes of a record beyond the limit are kept.
const HEAD_BYTES: usize = 1024;
/// A byte order mark at the begin of a file is no data.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The file that is being read.
struct Open {
    file: File,
    name: Arc<str>,
    header: Option<Bytes>,
}

/// A reader of the one split.
pub(super) struct FileReader {
    sequence: Arc<Sequence>,
    options: FileSourceOptions,
    framing: Framing,
    open: Option<Open>,
    /// Index of the file that is open, or comes next.
    file: usize,
    /// Offset of the next record (row, when files are handed over whole).
    offset: u64,
    /// Bytes from `offset` on that were read and not handed over.
    carry: Vec<u8>,
    /// While a record beyond the limit is skipped: how much of it was read. `carry` then holds its head.
    skipped: Option<u64>,
}

impl FileReader {
    /// Opens the sequence after `position`. `Unavailable` when its file is not where it was.
    pub(super) fn open(
        sequence: Arc<Sequence>,
        options: FileSourceOptions,
        position: FilePosition,
        framing: Framing,
    ) -> Result<Self> {
        let mut reader = FileReader {
            sequence,
            options,
            framing,
            open: None,
            file: position.file,
            offset: position.place,
            carry: Vec::new(),
            skipped: None,
        };
        if !position.name.is_empty() {
            reader.check_name(&position.name)?;
        }
        Ok(reader)
    }

    fn check_name(&mut self, expected: &str) -> Result<()> {
        if self.sequence.name(self.file).is_none() {
            self.sequence.refresh()?;
        }
        let found = self.sequence.name(self.file);
        if found.as_deref() == Some(expected) {
            return Ok(());
        }
        Err(Error::unavailable(format!("file \"{expected}\" is no longer number {} of the source", self.file + 1))
            .with_detail(format!("In its place is {}.", found.as_deref().unwrap_or("nothing")))
            .with_hint("Restore the files that were there when it was read; the source goes on by itself then."))
    }

    /// Opens the current file if it exists.
    fn ensure_open(&mut self) -> Result<bool> {
        if self.open.is_some() {
            return Ok(true);
        }
        let mut name = self.sequence.name(self.file);
        if name.is_none() && self.options.follow == Follow::Yes {
            self.sequence.refresh()?;
            name = self.sequence.name(self.file);
        }
        let Some(name) = name else { return Ok(false) };
        self.sequence.permit(&name)?;
        let file = File::open(&*name).map_err(|error| unreadable(&name, error))?;
        let mut open = Open { file, name, header: None };
        if let Framing::Records { header, .. } = self.framing {
            if self.offset == 0 && starts_with_bom(&open)? {
                self.offset = BOM.len() as u64;
            }
            if header && !self.read_header(&mut open)? {
                return Ok(false);
            }
        }
        self.open = Some(open);
        Ok(true)
    }

    /// Reads the first line; false while it is not there yet.
    fn read_header(&mut self, open: &mut Open) -> Result<bool> {
        let begin = if starts_with_bom(open)? { BOM.len() } else { 0 };
        let mut bytes = vec![0; self.options.record_bytes_max.min(64 << 10)];
        let read = read_up_to(open, &mut bytes, begin as u64)?;
        let line = bytes.get(..read).unwrap_or_default();
        let end = match memchr::memchr(b'\n', line) {
            Some(end) => end + 1,
            None if self.options.follow == Follow::No && read < bytes.len() => read,
            None if read < bytes.len() => return Ok(false),
            None => {
                return Err(Error::invalid(format!(
                    "the header of file \"{}\" is longer than {read} bytes",
                    open.name
                ))
                .with_hint("Set header = false if the file has none."));
            }
        };
        open.header = Some(Bytes::copy_from_slice(line.get(..end).unwrap_or_default()));
        self.offset = self.offset.max((begin + end) as u64);
        Ok(true)
    }

    /// The next piece of the open file; `None` when the file is done.
    fn next_in_file(&mut self, bound: Option<u64>, last_end: &LastRecordEnd) -> Result<Option<Piece>> {
        loop {
            let at_end = self.fill(bound)?;
            if self.skipped.is_some() {
                match self.skip(at_end, bound)? {
                    Some(piece) => return Ok(Some(piece)),
                    None if at_end => return self.at_end(bound),
                    None => continue,
                }
            }
            if let Some(end) = last_end(&self.carry) {
                return Ok(Some(self.block(end)));
            }
            if self.carry.len() > self.options.record_bytes_max {
                // From a fixed place on, so that where the record ends does not depend on the size of blocks.
                self.skipped = Some(self.options.record_bytes_max as u64 + 1);
                self.carry.truncate(HEAD_BYTES.min(self.options.record_bytes_max + 1));
                continue;
            }
            if at_end {
                return self.at_end(bound);
            }
        }
    }

    /// Reads on until a block is full; true at the end of the file or at the bound.
    fn fill(&mut self, bound: Option<u64>) -> Result<bool> {
        let Some(open) = &self.open else { return Ok(true) };
        let have = self.skipped.unwrap_or(self.carry.len() as u64);
        let mut want = self.options.block_bytes.max(1);
        if self.skipped.is_none() && self.carry.len() < want {
            want -= self.carry.len();
        }
        let from = self.offset + have;
        let want = bound.map_or(want, |bound| want.min(usize::try_from(bound.saturating_sub(from)).unwrap_or(want)));
        let begin = self.carry.len();
        debug_assert!(self.skipped.is_none() || begin <= HEAD_BYTES);
        // No room is made for what is not there: a file that is looked at again and again costs a look.
        let length = open.file.metadata().map_err(|error| unreadable(&open.name, error))?.len();
        let want = want.min(usize::try_from(length.saturating_sub(from)).unwrap_or(want));
        self.carry.resize(begin + want, 0);
        let read = match self.carry.get_mut(begin..) {
            Some(buffer) => read_up_to(open, buffer, from)?,
            None => 0,
        };
        self.carry.truncate(begin + read);
        if read < want || want == 0 {
            let length = open.file.metadata().map_err(|error| unreadable(&open.name, error))?.len();
            let needed = bound.unwrap_or(from);
            if length < needed {
                return Err(shrunk(&open.name, needed, length));
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Looks for the end of a record beyond the limit in what was just read behind its head.
    fn skip(&mut self, at_end: bool, bound: Option<u64>) -> Result<Option<Piece>> {
        let Some(skipped) = self.skipped else { return Ok(None) };
        let head = HEAD_BYTES.min(self.options.record_bytes_max + 1);
        let fresh = self.carry.get(head..).unwrap_or_default();
        let length = match memchr::memchr(b'\n', fresh) {
            Some(end) => skipped + end as u64 + 1,
            None => {
                let length = skipped + fresh.len() as u64;
                self.carry.truncate(head);
                self.skipped = Some(length);
                if !at_end || !self.is_complete(bound)? {
                    return Ok(None);
                }
                length
            }
        };
        let place = self.place();
        let head = Bytes::copy_from_slice(self.carry.get(..head).unwrap_or_default());
        self.carry.clear();
        self.skipped = None;
        self.offset += length;
        let limit = self.options.record_bytes_max as u64;
        Ok(Some(Piece::Oversize(Oversize { head, length, place, limit })))
    }

    /// At the end of what there is: the last record without line end, waiting, or done.
    fn at_end(&mut self, bound: Option<u64>) -> Result<Option<Piece>> {
        if !self.is_complete(bound)? {
            return Ok(Some(Piece::Wait));
        }
        // What was appended between our last read and the appearance of the next file still belongs to this one.
        if bound.is_none() && self.options.follow == Follow::Yes && self.grew()? {
            return Ok(Some(Piece::Wait));
        }
        if !self.carry.is_empty() {
            let end = self.carry.len();
            return Ok(Some(self.block(end)));
        }
        Ok(None)
    }

    /// Whether nothing will be added to the current file. While it may, it must still be the file that we hold.
    fn is_complete(&mut self, bound: Option<u64>) -> Result<bool> {
        if self.options.follow == Follow::No || bound.is_some() {
            return Ok(true);
        }
        if let Some(open) = &self.open {
            let there = std::fs::metadata(&*open.name).map_err(|error| unreadable(&open.name, error))?;
            let held = open.file.metadata().map_err(|error| unreadable(&open.name, error))?;
            if there.ino() != held.ino() || there.dev() != held.dev() {
                return Err(Error::unavailable(format!("file \"{}\" was replaced while it was followed", open.name))
                    .with_hint("Let new data come in files of new names; move the first one back to go on."));
            }
        }
        Ok(self.sequence.refresh()? > self.file + 1)
    }

    fn grew(&self) -> Result<bool> {
        let Some(open) = &self.open else { return Ok(false) };
        let length = open.file.metadata().map_err(|error| unreadable(&open.name, error))?.len();
        Ok(length > self.offset + self.skipped.unwrap_or(self.carry.len() as u64))
    }

    fn place(&self) -> crate::connectors::Place {
        let name = self.open.as_ref().map_or("", |open| &open.name);
        place_in(self.file, self.offset, name)
    }

    /// Hands over the first `end` bytes of `carry`.
    fn block(&mut self, end: usize) -> Piece {
        let place = self.place();
        let mut bytes = std::mem::take(&mut self.carry);
        self.carry = bytes.split_off(end.min(bytes.len()));
        self.offset += bytes.len() as u64;
        let header = self.open.as_ref().and_then(|open| open.header.clone());
        Piece::Block(Block { bytes: bytes.into(), place, header })
    }

    fn next_file(&mut self) {
        self.open = None;
        self.file += 1;
        self.offset = 0;
        self.carry.clear();
        self.skipped = None;
    }

    fn whole(&mut self, bound: Option<u64>) -> Option<Piece> {
        let place = self.place();
        let path = self.open.as_ref().map(|open| std::path::PathBuf::from(&*open.name))?;
        let from_row = self.offset;
        match bound {
            // The rest of the file is read when the bound has moved on.
            Some(row) => self.offset = row,
            None => self.next_file(),
        }
        Some(Piece::File(FilePiece { path, from_row, until_row: bound, place }))
    }
}

impl SplitReader for FileReader {
    fn next(&mut self, until: Option<&Position>) -> Result<Piece> {
        let until = until.map(FilePosition::parse).transpose()?;
        loop {
            let mut bound = None;
            if let Some(until) = &until {
                if (self.file, self.offset) >= (until.file, until.place) {
                    return Ok(Piece::Bound);
                }
                if self.file == until.file {
                    self.check_name(&until.name)?;
                    bound = Some(until.place);
                }
            }
            if !self.ensure_open()? {
                return Ok(if self.options.follow == Follow::Yes { Piece::Wait } else { Piece::End });
            }
            let piece = match self.framing.clone() {
                Framing::Records { last_end, .. } => self.next_in_file(bound, &last_end)?,
                Framing::Whole => self.whole(bound),
            };
            match piece {
                Some(piece) => return Ok(piece),
                None if bound.is_some_and(|bound| self.offset < bound) => {
                    let name = self.open.as_ref().map_or("", |open| &open.name);
                    return Err(shrunk(name, bound.unwrap_or(0), self.offset));
                }
                None if bound.is_some() => return Ok(Piece::Bound),
                None => self.next_file(),
            }
        }
    }
}

fn shrunk(name: &str, read: u64, length: u64) -> Error {
    Error::unavailable(format!("file \"{name}\" is shorter than what was read of it"))
        .with_detail(format!("It was read up to byte {read} and now ends at byte {length}."))
        .with_hint("Restore its contents; the source goes on by itself then.")
}

fn starts_with_bom(open: &Open) -> Result<bool> {
    let mut begin = [0; 3];
    Ok(read_up_to(open, &mut begin, 0)? == BOM.len() && begin == BOM)
}

/// Fills `buffer` from `offset` on; fewer bytes only at the end of the file.
fn read_up_to(open: &Open, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match open.file.read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(&open.name, error)),
        }
    }
    Ok(read)
}
