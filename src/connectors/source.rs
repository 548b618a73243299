//! The contract of a source connector, and the pieces in which records arrive.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;

use crate::base::Result;
use crate::types::{Position, SplitId};

/// What a connector promises of a source; it decides what the engine keeps itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// It ends: every split comes to [`Piece::End`].
    pub bounded: bool,
    /// A split opened at a position goes on with the record after it.
    pub resumes: bool,
    /// Everything since the start position can be read again, the same bytes in the same order. Without it the engine
    /// keeps the rows in its epoch log.
    pub replays: bool,
}

/// Finds where the last whole record in some bytes ends, given that they begin with a record. The format supplies it.
pub type LastRecordEnd = Arc<dyn Fn(&[u8]) -> Option<usize> + Send + Sync>;

/// How a connector that carries bytes is to cut them, so that only whole records leave it; the format says how.
#[derive(Clone)]
pub enum Framing {
    /// Blocks of whole records.
    Records {
        /// Where the last whole record of a piece of bytes ends.
        last_end: LastRecordEnd,
        /// Whether the first line of every file is not a record but names the columns.
        header: bool,
    },
    /// The format finds its records itself: whole files are handed over.
    Whole,
}

impl std::fmt::Debug for Framing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Framing::Records { header, .. } => write!(f, "records (header: {header})"),
            Framing::Whole => f.write_str("whole files"),
        }
    }
}

/// A source as its connector sees it.
///
/// *Contract*
/// 1. `splits` names at least one split; the same names for ever. Else positions in the log lose their split.
/// 2. `start` is before every record of the split, and fixed: two calls agree. Else views made at different times differ.
/// 3. A reader opened at position `p` gives exactly the records after `p`, in the same order at every opening (if the
///    source `replays`). Else recovery invents or loses rows.
/// 4. Positions of one split compare as text in reading order. Else cuts cannot be followed.
/// 5. Errors that may pass are `Unavailable`: the host tries again at the same position, with growing pauses. Any other
///    kind stops the source with its reason. No input makes it panic.
pub trait Source: Send + Sync {
    /// What it promises.
    fn promises(&self) -> Promises;

    /// The splits that there are now.
    fn splits(&self) -> Result<Vec<SplitId>>;

    /// The position before the first record of `split`.
    fn start(&self, split: &SplitId) -> Result<Position>;

    /// Opens `split` after `position`, giving blocks framed by `framing`.
    fn open(&self, split: &SplitId, position: &Position, framing: Framing) -> Result<Box<dyn SplitReader>>;
}

/// Reads one split, forward.
///
/// *Contract*
/// 1. `next` returns soon: it may read a disk, it never waits for new data (that is [`Piece::Wait`]).
/// 2. No piece crosses `until`: the last piece ends exactly there, then comes [`Piece::Bound`].
/// 3. After an error the reader is not used again; its host opens another one at the last position it delivered.
pub trait SplitReader: Send {
    /// The next piece, not beyond `until`, which was a position of this split that a reader has reported.
    fn next(&mut self, until: Option<&Position>) -> Result<Piece>;
}

/// What a reader hands over.
#[derive(Debug)]
pub enum Piece {
    /// Whole records as bytes.
    Block(Block),
    /// A record longer than `record_bytes_max`, of which only the head was kept.
    Oversize(Oversize),
    /// A file, or the rest of one, for a format that frames itself.
    File(FilePiece),
    /// Rows that need no format.
    Rows(RowsPiece),
    /// The end is reached for now; more may come. Call again later.
    Wait,
    /// Everything up to `until` was handed over.
    Bound,
    /// The split has ended; nothing will come.
    End,
}

/// Where a run of bytes (or rows) lies, so that a position can be made for each place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    before: Arc<str>,
    base: u64,
    after: Arc<str>,
}

impl Place {
    /// Positions here read `before`, the place as 20 digits, `after`; the run begins at `base`.
    pub fn new(before: impl Into<Arc<str>>, base: u64, after: impl Into<Arc<str>>) -> Self {
        Place { before: before.into(), base, after: after.into() }
    }

    /// The position `forward` bytes (or rows) after the begin of the run.
    pub fn position(&self, forward: u64) -> Position {
        Position(format!("{}{:020}{}", self.before, self.base.saturating_add(forward), self.after))
    }

    /// The same file, `forward` later.
    pub fn forward(&self, forward: u64) -> Place {
        Place { base: self.base.saturating_add(forward), ..self.clone() }
    }
}

/// Whole records, one after another, each with its line end (the last of a bounded file may lack it).
#[derive(Clone, Debug)]
pub struct Block {
    /// The bytes.
    pub bytes: Bytes,
    /// Where they begin.
    pub place: Place,
    /// The first line of the file, if the framing says that it is a header.
    pub header: Option<Bytes>,
}

/// A record that was not kept whole.
#[derive(Clone, Debug)]
pub struct Oversize {
    /// Its first bytes.
    pub head: Bytes,
    /// Its length in bytes, with its line end.
    pub length: u64,
    /// Where it begins.
    pub place: Place,
    /// The limit that it passed.
    pub limit: u64,
}

/// A whole file. Positions in it count rows.
#[derive(Clone, Debug)]
pub struct FilePiece {
    /// Where it lies.
    pub path: PathBuf,
    /// The row at which to begin.
    pub from_row: u64,
    /// The row before which to stop, if the reading is bounded there.
    pub until_row: Option<u64>,
    /// The place of `from_row`.
    pub place: Place,
}

/// Records that their connector makes rows of, on whatever thread there is. Positions in it count records.
pub struct RowsPiece {
    /// Where they begin.
    pub place: Place,
    /// How many records they are. There may be fewer rows: a record may be none.
    pub records: u64,
    /// About how many bytes their rows take.
    pub bytes: usize,
    /// Makes the rows.
    pub make: Box<dyn FnOnce() -> Result<RecordBatch> + Send>,
}

impl std::fmt::Debug for RowsPiece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} records at {}", self.records, self.place.position(0))
    }
}
