//! Floor 2: the outside world: moves records without knowing what they mean.
//!
//! A source connector is a [`Source`]: it names its splits and opens one at a position; what it hands over are pieces
//! ([`Piece`]): line-aligned blocks of bytes, or whole files for formats that frame themselves. Adding a connector is a
//! folder here and a line below.

#![deny(clippy::indexing_slicing)]

mod file;
mod source;

pub use file::{FilePosition, FileSource, FileSourceOptions, Follow};
pub use source::{Block, FilePiece, Framing, LastRecordEnd, Oversize, Piece, Place, Promises, Source, SplitReader};
