//! Floor 2: the outside world: moves records without knowing what they mean.
//!
//! A source connector is a [`Source`]: it names its splits and opens one at a position; what it hands over are pieces
//! ([`Piece`]): line-aligned blocks of bytes, or whole files for formats that frame themselves. Adding a connector is a
//! folder here and a line below. A sink connector is a [`Sink`]: it takes parcels of encoded rows, each exactly once.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod blackhole;
mod file;
mod sink;
mod source;

pub use blackhole::Blackhole;
pub use file::{FilePosition, FileSink, FileSource, FileSourceOptions, Follow, Roll};
pub use sink::{Parcel, Sink, SinkOwner};
pub use source::{Block, FilePiece, Framing, LastRecordEnd, Oversize, Piece, Place, Promises, Source, SplitReader};
