//! Reading one split from a position on: blocks are decoded on the pool and come out in order.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use super::computed::Plan;
use super::pool::{Ticket, submit, was_decoding};
use super::rows::{Ready, Stretch, full_schema};
use super::spec::{SourceSpec, SplitPoint};
use crate::base::{Error, Result};
use crate::connectors::{Block, FilePiece, Framing, Piece, Place, RowsPiece, SplitReader};
use crate::formats::{BadRecord, Decoded, Decoder, ParquetRows};
use crate::types::{Position, SplitId};

/// What a reading comes to next.
pub(super) enum Step {
    /// Rows, faults, or both; or neither, when only the position has moved.
    Ready(Ready),
    /// Nothing more for now.
    Wait,
    /// The bound is reached.
    Bound,
    /// The split has ended.
    End,
}

/// How the reader of a split came to rest.
enum Rest {
    Wait,
    Bound,
    End,
    Failed(Error),
}

/// One split being read.
pub(super) struct Reading {
    spec: Arc<SourceSpec>,
    split: SplitId,
    schema: SchemaRef,
    reader: Box<dyn SplitReader>,
    decoders: Arc<Decoders>,
    plan: Arc<Plan>,
    until: Option<Position>,
    ahead: VecDeque<(usize, Ahead)>,
    ahead_bytes: usize,
    ready: VecDeque<Stretch>,
    file: Option<OpenFile>,
    rest: Option<Rest>,
    watermark: i64,
}

/// What was read and is not decoded yet, or is being decoded.
enum Ahead {
    Block(Ticket<Vec<Stretch>>),
    File(FilePiece),
}

/// A file that frames itself, being decoded on the reader's thread.
struct OpenFile {
    rows: ParquetRows,
    place: Place,
    from_row: u64,
    at_row: u64,
}

/// Decoders that are not at work.
struct Decoders(Mutex<Vec<Box<dyn Decoder>>>);

impl Reading {
    /// Opens the split of `point` after its position.
    pub(super) fn open(spec: &Arc<SourceSpec>, point: &SplitPoint) -> Result<Self> {
        let format = spec.format.as_ref();
        let framing = match format.and_then(|format| Some((format.last_end()?, format.has_header()))) {
            Some((last_end, header)) => Framing::Records { last_end, header },
            None => Framing::Whole,
        };
        let reader = spec.connector.open(&point.split, &point.position, framing)?;
        Ok(Reading {
            schema: full_schema(spec),
            plan: Arc::new(Plan::new(spec)?),
            spec: Arc::clone(spec),
            split: point.split.clone(),
            reader,
            decoders: Arc::new(Decoders(Mutex::new(Vec::new()))),
            until: None,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            ready: VecDeque::new(),
            file: None,
            rest: None,
            watermark: point.watermark.0,
        })
    }

    /// Goes no further than `until`. Call it before the first step, or after [`Step::Bound`].
    pub(super) fn bound(&mut self, until: Position) {
        self.until = Some(until);
    }

    /// The next step. It may wait for the pool and the disk, never for new data.
    pub(super) fn next(&mut self) -> Result<Step> {
        loop {
            if let Some(stretch) = self.ready.pop_front() {
                let ready = stretch.finish(&self.schema, self.watermark)?;
                self.watermark = ready.watermark;
                return Ok(Step::Ready(ready));
            }
            if let Some(stretch) = self.next_of_file()? {
                self.ready.push_back(stretch);
                continue;
            }
            self.read_ahead();
            if let Some((bytes, ahead)) = self.ahead.pop_front() {
                self.ahead_bytes -= bytes;
                match ahead {
                    Ahead::Block(ticket) => self.ready.extend(ticket.wait()?),
                    Ahead::File(piece) => self.file = Some(self.open_file(piece)?),
                }
                continue;
            }
            match self.rest.take() {
                None => {}
                Some(Rest::Wait) => return Ok(Step::Wait),
                Some(Rest::Bound) => return Ok(Step::Bound),
                Some(Rest::End) => return Ok(Step::End),
                Some(Rest::Failed(error)) => return Err(error),
            }
        }
    }

    fn open_file(&self, piece: FilePiece) -> Result<OpenFile> {
        let rows = ParquetRows::open(&piece.path, &self.plan.decode, piece.from_row, piece.until_row)?;
        Ok(OpenFile { rows, place: piece.place, from_row: piece.from_row, at_row: piece.from_row })
    }

    /// The next rows of the file that is open; `None` when none is, or it has ended.
    fn next_of_file(&mut self) -> Result<Option<Stretch>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let since = std::time::Instant::now();
        let next = file.rows.next();
        was_decoding(since);
        let batch = match next {
            Some(batch) => batch?,
            None => {
                self.file = None;
                return Ok(None);
            }
        };
        let relative = |row: u64| usize::try_from(row.saturating_sub(file.from_row)).unwrap_or(usize::MAX);
        let bytes = relative(file.at_row)..relative(batch.end_row);
        let bad = batch.bad.into_iter().map(|(row, reason)| BadRecord { at: relative(row)..relative(row) + 1, reason });
        let decoded = Decoded { rows: batch.rows, bytes, bad: bad.collect() };
        file.at_row = batch.end_row;
        Stretch::new(&self.plan, &self.split, decoded, &[], &file.place).map(Some)
    }

    fn read_ahead(&mut self) {
        while self.rest.is_none() && (self.ahead.is_empty() || self.ahead_bytes < self.spec.settings.ahead_bytes) {
            let rest = match self.reader.next(self.until.as_ref()) {
                Ok(Piece::Block(block)) => {
                    self.decode(block);
                    continue;
                }
                Ok(Piece::Oversize(record)) => {
                    let (spec, split) = (Arc::clone(&self.spec), self.split.clone());
                    let ticket = submit(move || Ok(vec![Stretch::oversize(&spec, &split, &record)?]));
                    self.ahead.push_back((record_bytes(1024), Ahead::Block(ticket)));
                    self.ahead_bytes += record_bytes(1024);
                    continue;
                }
                Ok(Piece::File(piece)) => {
                    // One at a time: opening the next one early would hold two.
                    let bytes = self.spec.settings.ahead_bytes.max(1);
                    self.ahead.push_back((bytes, Ahead::File(piece)));
                    self.ahead_bytes += bytes;
                    continue;
                }
                Ok(Piece::Rows(piece)) => {
                    self.make(piece);
                    continue;
                }
                Ok(Piece::Wait) => Rest::Wait,
                Ok(Piece::Bound) => Rest::Bound,
                Ok(Piece::End) => Rest::End,
                Err(error) => Rest::Failed(error),
            };
            self.rest = Some(rest);
        }
    }

    fn decode(&mut self, block: Block) {
        let bytes = record_bytes(block.bytes.len());
        let (spec, split) = (Arc::clone(&self.spec), self.split.clone());
        let decoders = Arc::clone(&self.decoders);
        let plan = Arc::clone(&self.plan);
        let ticket = submit(move || {
            let idle = decoders.0.lock().pop();
            let mut decoder = match idle {
                Some(decoder) => decoder,
                None => decoder(&spec, &plan, block.header.as_deref())?,
            };
            let decoded = decoder.decode(&block.bytes)?;
            // A decoder that knows a header fits the blocks of its file only.
            if block.header.is_none() {
                decoders.0.lock().push(decoder);
            }
            let stretch = |decoded| Stretch::new(&plan, &split, decoded, &block.bytes, &block.place);
            decoded.into_iter().map(stretch).collect()
        });
        self.ahead.push_back((bytes, Ahead::Block(ticket)));
        self.ahead_bytes += bytes;
    }

    /// Rows of a connector that makes them itself.
    fn make(&mut self, piece: RowsPiece) {
        let bytes = record_bytes(piece.bytes);
        let (plan, split) = (Arc::clone(&self.plan), self.split.clone());
        let ticket = submit(move || {
            let records = usize::try_from(piece.records).unwrap_or(usize::MAX);
            let decoded = Decoded { rows: (piece.make)()?, bytes: 0..records, bad: Vec::new() };
            Ok(vec![Stretch::new(&plan, &split, decoded, &[], &piece.place)?])
        });
        self.ahead.push_back((bytes, Ahead::Block(ticket)));
        self.ahead_bytes += bytes;
    }
}

fn decoder(spec: &SourceSpec, plan: &Plan, header: Option<&[u8]>) -> Result<Box<dyn Decoder>> {
    match &spec.format {
        Some(format) => format.decoder(&plan.decode, header),
        None => Err(Error::internal(format!("source \"{}\" gives bytes and has no format", spec.name))),
    }
}

fn record_bytes(bytes: usize) -> usize {
    bytes.max(1)
}
