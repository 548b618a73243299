//! The contract of a sink connector: batches with fixed bounds arrive exactly once, by a mark in the destination.

use bytes::Bytes;

use crate::base::Result;

/// Who writes to a destination: part of the mark, so that a stranger's is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOwner {
    /// The sink, by a number that is never used twice in one data directory.
    pub sink: u64,
    /// Its name, for messages.
    pub name: String,
    /// The incarnation of the data directory: another one after a restore from a backup.
    pub incarnation: String,
}

/// A batch of encoded rows. Its number and its bytes are the same at every delivery.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Its number: ascending, not necessarily without gaps.
    pub number: u64,
    /// How many rows it holds.
    pub rows: u64,
    /// What a new file begins with, if the format has such a thing.
    pub header: Bytes,
    /// The rows.
    pub body: Bytes,
    /// Whether the body is a whole file, to which nothing can be added.
    pub whole_file: bool,
}

/// A destination.
///
/// *Contract*
/// 1. `open` takes ownership and returns the number of the last parcel that has arrived, in this order: fence (a former
///    owner can write no more), settle (what it left half-done is finished or undone), read the mark. Else a parcel in
///    flight arrives after its redelivery.
/// 2. A destination marked by another sink or incarnation is refused: going on would mix two histories.
/// 3. `deliver` makes the parcel and the mark that names it visible together or not at all, and does nothing for a parcel
///    at or below the mark.
/// 4. `Unavailable` means: surely or perhaps not delivered; the host delivers the same parcel again, after opening again.
///    Any other error stops the sink with its reason.
pub trait Sink: Send {
    /// Takes ownership; returns the number in the mark, if there is one.
    fn open(&mut self, owner: &SinkOwner) -> Result<Option<u64>>;

    /// Delivers a parcel. Parcels come in ascending order.
    fn deliver(&mut self, parcel: &Parcel) -> Result<()>;

    /// Called now and then: what is due by the clock (`now_us`, microseconds since 1970) is made visible; with `last`,
    /// everything, because nothing will come.
    fn tick(&mut self, now_us: i64, last: bool) -> Result<()>;
}
