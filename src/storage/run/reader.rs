//! Reading runs: the part of RocksDB's block-based table format that [`super::RunWriter`] writes.
//!
//! ```text
//! file    data blocks · properties and other blocks · metaindex block · index block · footer
//! block   entries · restarts (u32 each) · restart count u32 ║ trailer: compression u8 (0), checksum u32
//! entry   shared varint32 · unshared varint32 · value length varint32 · unshared key bytes · value
//!         (`shared` bytes are taken over from the key before)
//! key     our key, then 8 bytes: sequence number << 8 | kind (1: value), little-endian
//! index   entries: a key not below all of a block's → offset varint64 · size varint64 (without trailer)
//! footer  53 bytes: checksum kind u8 (4: xxh3) · metaindex handle · index handle · zeros up to byte 41
//!         version u32 (2) · magic u64 88e241b785f4cff7
//! ```
//! Little-endian. The checksum of a block is the low half of its xxh3-64, xored with its compression byte times
//! 6b9083d9 (RocksDB, `table/format.cc`). RocksDB's own reader is not in its C interface, and a database per run
//! would cost 20 ms to open. The tests compare with what RocksDB reads after it ingested the same file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::{RunEntry, untag_value};
use crate::base::{Error, Result};
use crate::storage::bytes::Fields;
use crate::storage::disk::io_error;

const FOOTER_BYTES: usize = 53;
const TRAILER_BYTES: usize = 5;
const MAGIC: u64 = 0x88e2_41b7_85f4_cff7;
const VERSION: u32 = 2;
const CHECKSUM_XXH3: u8 = 4;
const KIND_VALUE: u8 = 1;

/// A run, open for reading. Cheap to clone; the file may be unlinked while it is open.
#[derive(Clone, Debug)]
pub struct RunReader(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    file: File,
    /// Per data block a key not below all of its keys, and where it lies.
    index: Vec<(Vec<u8>, Handle)>,
}

#[derive(Clone, Copy, Debug)]
struct Handle {
    offset: u64,
    size: usize,
}

impl RunReader {
    /// Opens the run at `path`. Fails with `Corrupt` when it is not one, or not whole.
    pub fn open(path: &Path) -> Result<RunReader> {
        let file = File::open(path).map_err(|error| io_error("open", path, error))?;
        let bytes = file.metadata().map_err(|error| io_error("read", path, error))?.len();
        let mut opened = Opened { path: path.to_path_buf(), file, index: Vec::new() };
        let Some(footer_at) = bytes.checked_sub(FOOTER_BYTES as u64) else {
            return Err(opened.broken("it is too short"));
        };
        let mut footer = [0; FOOTER_BYTES];
        opened.file.read_exact_at(&mut footer, footer_at).map_err(|error| io_error("read", path, error))?;
        let index_at = read_footer(&footer).map_err(|error| opened.broken(error.message()))?;
        let block = opened.read_block(index_at, footer_at)?;
        let mut cursor = BlockCursor::new(block).map_err(|error| opened.broken(error.message()))?;
        while cursor.step().map_err(|error| opened.broken(error.message()))? {
            let handle = read_handle(&mut Fields::new(cursor.value(), "index of a run"));
            let handle = handle.map_err(|error| opened.broken(error.message()))?;
            if handle.offset.saturating_add((handle.size + TRAILER_BYTES) as u64) > footer_at {
                return Err(opened.broken("its index names bytes behind its end"));
            }
            opened.index.push((cursor.user_key()?.to_vec(), handle));
        }
        Ok(RunReader(Arc::new(opened)))
    }

    /// All entries in order.
    pub fn entries(&self) -> RunScan {
        self.scan(&[], None)
    }

    /// The entries whose keys begin with `prefix`.
    pub fn scan_prefix(&self, prefix: &[u8]) -> RunScan {
        self.scan(prefix, crate::storage::store::after_prefix(prefix).as_deref())
    }

    /// The entries from key `from` up to, not including, `to` (`None`: to the end).
    pub fn scan(&self, from: &[u8], to: Option<&[u8]>) -> RunScan {
        let first = self.0.index.partition_point(|(upper, _)| upper.as_slice() < from);
        let (from, to) = (from.to_vec(), to.map(<[u8]>::to_vec));
        RunScan { run: self.clone(), next_block: first, cursor: None, from, to, ended: false }
    }
}

impl Opened {
    fn broken(&self, why: &str) -> Error {
        Error::corrupt(format!("run \"{}\" is damaged: {why}", self.path.display()))
            .with_hint("Restore the data directory from a backup.")
    }

    /// The block at `handle`, checked, without its trailer.
    fn read_block(&self, handle: Handle, limit: u64) -> Result<Vec<u8>> {
        let whole = handle.size.saturating_add(TRAILER_BYTES);
        if handle.offset.saturating_add(whole as u64) > limit {
            return Err(self.broken("a block lies behind its end"));
        }
        let mut block = vec![0; whole];
        self.file.read_exact_at(&mut block, handle.offset).map_err(|error| io_error("read", &self.path, error))?;
        let trailer = block.split_off(handle.size);
        let mut fields = Fields::new(&trailer, "trailer");
        let (compression, checksum) = (fields.u8()?, fields.u32()?);
        let computed = (xxh3_64(&block) as u32) ^ u32::from(compression).wrapping_mul(0x6b90_83d9);
        if checksum != computed {
            return Err(self.broken("a block does not have its checksum"));
        }
        if compression != 0 {
            return Err(self.broken("a block is compressed, which this program does not write"));
        }
        Ok(block)
    }
}

/// Where the index block lies.
fn read_footer(footer: &[u8; FOOTER_BYTES]) -> Result<Handle> {
    let (head, tail) = footer.split_at(FOOTER_BYTES - 12);
    let mut tail = Fields::new(tail, "footer");
    let (version, magic) = (tail.u32()?, tail.u64()?);
    let mut head = Fields::new(head, "footer");
    let checksum = head.u8()?;
    if (version, magic, checksum) != (VERSION, MAGIC, CHECKSUM_XXH3) {
        return Err(Error::corrupt(format!(
            "its footer says version {version}, magic {magic:x}, checksum {checksum}; {VERSION}, {MAGIC:x}, \
             {CHECKSUM_XXH3} were expected"
        )));
    }
    read_handle(&mut head)?;
    read_handle(&mut head)
}

fn read_handle(fields: &mut Fields<'_>) -> Result<Handle> {
    let (offset, size) = (varint(fields)?, varint(fields)?);
    let size = usize::try_from(size).map_err(|_| Error::corrupt("a block is larger than memory"))?;
    Ok(Handle { offset, size })
}

fn varint(fields: &mut Fields<'_>) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = fields.u8()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::corrupt("a number has more than ten bytes"))
}

/// Steps through the entries of one block.
#[derive(Debug)]
struct BlockCursor {
    block: Vec<u8>,
    /// Where the next entry begins.
    at: usize,
    /// Where the entries end.
    end: usize,
    /// The current key with its last 8 bytes.
    key: Vec<u8>,
    value: std::ops::Range<usize>,
}

impl BlockCursor {
    fn new(block: Vec<u8>) -> Result<BlockCursor> {
        let Some((_, count)) = block.split_last_chunk::<4>() else {
            return Err(Error::corrupt("a block is too short"));
        };
        let restarts = u32::from_le_bytes(*count) as usize;
        let Some(end) = restarts.checked_mul(4).and_then(|bytes| block.len().checked_sub(bytes + 4)) else {
            return Err(Error::corrupt("a block has more restarts than bytes"));
        };
        Ok(BlockCursor { block, at: 0, end, key: Vec::new(), value: 0..0 })
    }

    /// Goes to the next entry; false when there is none.
    fn step(&mut self) -> Result<bool> {
        let Some(rest) = self.block.get(self.at..self.end).filter(|rest| !rest.is_empty()) else {
            return Ok(false);
        };
        let mut fields = Fields::new(rest, "block of a run");
        let (shared, unshared, length) = (varint(&mut fields)?, varint(&mut fields)?, varint(&mut fields)?);
        let fits = |count: u64| usize::try_from(count).map_err(|_| Error::corrupt("an entry is larger than memory"));
        if fits(shared)? > self.key.len() {
            return Err(Error::corrupt("a key takes over more bytes than the one before has"));
        }
        self.key.truncate(fits(shared)?);
        self.key.extend_from_slice(fields.take(fits(unshared)?)?);
        let length = fits(length)?;
        fields.take(length)?;
        self.at = self.end - fields.rest().len();
        self.value = self.at - length..self.at;
        Ok(true)
    }

    fn value(&self) -> &[u8] {
        self.block.get(self.value.clone()).unwrap_or_default()
    }

    /// The current key as it was written.
    fn user_key(&self) -> Result<&[u8]> {
        match self.key.split_last_chunk::<8>() {
            Some((key, _)) => Ok(key),
            None => Err(Error::corrupt("a key is too short")),
        }
    }

    fn entry(&self) -> Result<RunEntry> {
        match self.key.split_last_chunk::<8>() {
            Some((key, &[KIND_VALUE, ..])) => Ok((key.to_vec(), untag_value(self.value())?.map(<[u8]>::to_vec))),
            Some(_) | None => Err(Error::corrupt("an entry is not a value")),
        }
    }
}

/// Entries of one run in ascending order. Ends after the first error.
#[derive(Debug)]
pub struct RunScan {
    run: RunReader,
    next_block: usize,
    cursor: Option<BlockCursor>,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    ended: bool,
}

impl RunScan {
    fn next_entry(&mut self) -> Result<Option<RunEntry>> {
        let broken = |error: Error| self.run.0.broken(error.message());
        loop {
            if let Some(cursor) = &mut self.cursor {
                while cursor.step().map_err(broken)? {
                    let key = cursor.user_key().map_err(broken)?;
                    if self.to.as_ref().is_some_and(|to| key >= to.as_slice()) {
                        return Ok(None);
                    }
                    if key >= self.from.as_slice() {
                        return cursor.entry().map(Some).map_err(broken);
                    }
                }
            }
            let Some((_, handle)) = self.run.0.index.get(self.next_block) else { return Ok(None) };
            self.next_block += 1;
            self.cursor = Some(BlockCursor::new(self.run.0.read_block(*handle, u64::MAX)?).map_err(broken)?);
        }
    }
}

impl Iterator for RunScan {
    type Item = Result<RunEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_entry().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
