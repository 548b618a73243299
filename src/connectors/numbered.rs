//! Sources whose events are a function of their number: generators. One split; a position counts the events before it,
//! so every one of them can be made again, in any order, on any thread.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;

use super::{Framing, Piece, Place, Promises, RowsPiece, Source, SplitReader};
use crate::base::{Error, Result};
use crate::types::{Position, SplitId};

/// Makes rows of numbered events.
///
/// *Contract*
/// 1. The rows of an event depend on its number alone; those of `from .. to` are those of its parts, in order.
/// 2. Every batch has the schema that the generator was made for.
pub trait Numbered: Send + Sync + 'static {
    /// The rows of events `from .. to`.
    fn rows(&self, from: u64, to: u64) -> Result<RecordBatch>;

    /// How many events make a batch of a good size.
    fn events_per_batch(&self) -> u64;

    /// About how many bytes the rows of one event take.
    fn bytes_per_event(&self) -> u64;
}

/// How many events there are, and how soon they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many there are in all; none: it never ends.
    pub events: Option<u64>,
    /// How many come per second of the wall clock; none: as many as are taken. The past is read as fast as can be.
    pub per_second: Option<u64>,
}

/// A generator as a source.
pub struct NumberedSource {
    generator: Arc<dyn Numbered>,
    extent: Extent,
}

impl NumberedSource {
    /// The one split.
    pub const SPLIT: &str = "events";

    /// Events of `generator`, as many as `extent` says.
    pub fn new(generator: impl Numbered, extent: Extent) -> NumberedSource {
        NumberedSource { generator: Arc::new(generator), extent }
    }
}

impl Source for NumberedSource {
    fn promises(&self) -> Promises {
        Promises { bounded: self.extent.events.is_some(), resumes: true, replays: true }
    }

    fn splits(&self) -> Result<Vec<SplitId>> {
        Ok(vec![SplitId(NumberedSource::SPLIT.into())])
    }

    fn start(&self, _split: &SplitId) -> Result<Position> {
        Ok(place(0).position(0))
    }

    fn open(&self, _split: &SplitId, position: &Position, _framing: Framing) -> Result<Box<dyn SplitReader>> {
        let next = number(position)?;
        let generator = Arc::clone(&self.generator);
        Ok(Box::new(Reader { generator, extent: self.extent, next, since: Instant::now(), opened: next }))
    }
}

struct Reader {
    generator: Arc<dyn Numbered>,
    extent: Extent,
    /// The event that comes next.
    next: u64,
    /// When and where the present pace began.
    since: Instant,
    opened: u64,
}

impl Reader {
    /// The event before which to stop for now.
    fn limit(&self) -> u64 {
        let end = self.extent.events.unwrap_or(u64::MAX);
        let Some(rate) = self.extent.per_second else { return end };
        let due = self.since.elapsed().as_micros().saturating_mul(u128::from(rate)) / 1_000_000;
        end.min(self.opened.saturating_add(u64::try_from(due).unwrap_or(u64::MAX)))
    }
}

impl SplitReader for Reader {
    fn next(&mut self, until: Option<&Position>) -> Result<Piece> {
        let limit = match until {
            Some(until) => number(until)?,
            None => self.limit(),
        };
        if self.next >= limit {
            return Ok(match (until, self.extent.events) {
                (Some(_), _) => Piece::Bound,
                (None, Some(events)) if self.next >= events => Piece::End,
                (None, _) => Piece::Wait,
            });
        }
        let (from, to) = (self.next, limit.min(self.next.saturating_add(self.generator.events_per_batch())));
        let generator = Arc::clone(&self.generator);
        self.next = to;
        Ok(Piece::Rows(RowsPiece {
            place: place(from),
            records: to - from,
            bytes: usize::try_from((to - from).saturating_mul(self.generator.bytes_per_event())).unwrap_or(usize::MAX),
            make: Box::new(move || generator.rows(from, to)),
        }))
    }
}

fn place(number: u64) -> Place {
    Place::new("", number, "")
}

fn number(position: &Position) -> Result<u64> {
    position.0.parse().map_err(|_| {
        Error::corrupt(format!("position \"{position}\" is none of a generator"))
            .with_detail("Expected the number of events before it.")
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    struct Count;

    impl Numbered for Count {
        fn rows(&self, from: u64, to: u64) -> Result<RecordBatch> {
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from as i64..to as i64));
            Ok(RecordBatch::try_from_iter([("n", numbers)])?)
        }

        fn events_per_batch(&self) -> u64 {
            7
        }

        fn bytes_per_event(&self) -> u64 {
            8
        }
    }

    fn read(source: &NumberedSource, from: u64, until: Option<u64>) -> (Vec<i64>, &'static str) {
        let split = source.splits().unwrap().remove(0);
        let mut reader = source.open(&split, &place(from).position(0), Framing::Whole).unwrap();
        let until = until.map(|until| place(until).position(0));
        let mut rows = Vec::new();
        loop {
            match reader.next(until.as_ref()).unwrap() {
                Piece::Rows(piece) => {
                    let batch = (piece.make)().unwrap();
                    assert_eq!(batch.num_rows() as u64, piece.records);
                    rows.extend(batch.column(0).as_primitive::<Int64Type>().values());
                }
                Piece::Bound => return (rows, "bound"),
                Piece::End => return (rows, "end"),
                Piece::Wait => return (rows, "wait"),
                other => unreachable!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_same_events_from_any_position() {
        let source = NumberedSource::new(Count, Extent { events: Some(100), per_second: None });
        assert_eq!(read(&source, 0, None), ((0..100).collect(), "end"));
        assert_eq!(read(&source, 13, Some(29)), ((13..29).collect(), "bound"));
        assert_eq!(read(&source, 100, Some(100)), (Vec::new(), "bound"));
        assert_eq!(read(&source, 100, None), (Vec::new(), "end"));
        let start = source.start(&SplitId("events".into())).unwrap();
        assert_eq!(start.0, "00000000000000000000");
    }

    #[test]
    fn a_pace_holds_back_the_present_only() {
        let source = NumberedSource::new(Count, Extent { events: None, per_second: Some(1) });
        assert_eq!(read(&source, 5, None), (Vec::new(), "wait"));
        assert_eq!(read(&source, 5, Some(20)), ((5..20).collect(), "bound"));
    }
}
