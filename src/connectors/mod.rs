//! Floor 2: the outside world: moves records without knowing what they mean.
//!
//! A source connector is a [`Source`]: it names its splits and opens one at a position; what it hands over are pieces
//! ([`Piece`]): line-aligned blocks of bytes, whole files for formats that frame themselves, or rows. A generator
//! ([`Numbered`]) makes rows of event numbers. Adding a connector is a folder here and a line below. A sink connector is a [`Sink`]: it takes parcels of encoded rows, each exactly once.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod blackhole;
mod datagen;
mod file;
mod nexmark;
mod numbered;
mod sink;
mod source;

pub use self::nexmark::{Nexmark, NexmarkOptions, NexmarkTable};
pub use blackhole::Blackhole;
pub use datagen::{Datagen, FIELD_OPTIONS, FieldOptions};
pub use file::{Beneath, FilePosition, FileSink, FileSource, FileSourceOptions, Follow, Roll};
pub use numbered::{Extent, Numbered, NumberedSource};
pub use sink::{Parcel, Sink, SinkOwner};
pub use source::{
    Block, FilePiece, Framing, LastRecordEnd, Oversize, Piece, Place, Promises, RowsPiece, Source, SplitReader,
};
