//! `COPY … FROM STDIN`: bytes of text, CSV or binary to rows, batch by batch; brought into the table when all have come.

mod binary;
mod lines;
#[cfg(test)]
mod tests;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;

use super::attend::{Guard, attend, stopped};
use super::connection::Connection;
use super::frame::{Frame, take};
use super::messages;
use crate::base::{Error, Result, sqlstate};
use crate::engine::{CancelReason, CopyFormat, Outcome, Statement};
use crate::types::text::read_column;
use crate::types::{Schema, SqlType};

use binary::Tuples;
use lines::Lines;

/// Rows of one batch.
const BATCH_ROWS: usize = 8192;

/// A value as it came: text or bytes of its type's binary format.
type Field = Option<Bytes>;

/// Rows as they come out of the bytes of a copy.
pub(super) struct Rows {
    schema: Schema,
    format: CopyFormat,
    decoder: Decoder,
    /// Values not yet made arrays, by column.
    fields: Vec<Vec<Field>>,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    bytes_max: usize,
}

enum Decoder {
    Lines(Lines),
    Tuples(Tuples),
}

impl Rows {
    /// No rows yet, of `schema`; more than `bytes_max` of values are refused.
    pub fn new(schema: Schema, format: CopyFormat, bytes_max: usize) -> Rows {
        let width = schema.columns.len();
        let decoder = match format.binary {
            true => Decoder::Tuples(Tuples::new(width)),
            false => Decoder::Lines(Lines::new(format.clone())),
        };
        let fields = vec![Vec::new(); width];
        Rows { schema, format, decoder, fields, batches: Vec::new(), rows: 0, bytes: 0, bytes_max }
    }

    /// Takes bytes as they came: they may begin and end anywhere.
    pub fn take(&mut self, bytes: &Bytes) -> Result<()> {
        match &mut self.decoder {
            Decoder::Lines(lines) => lines.push(bytes),
            Decoder::Tuples(tuples) => tuples.push(bytes),
        }
        self.decode(false)
    }

    /// The rows, when all bytes have come.
    pub fn finish(mut self) -> Result<Vec<RecordBatch>> {
        self.decode(true)?;
        self.make_batch()?;
        if self.batches.is_empty() {
            self.batches.push(RecordBatch::new_empty(self.schema.arrow()));
        }
        Ok(self.batches)
    }

    fn decode(&mut self, ended: bool) -> Result<()> {
        loop {
            let row = match &mut self.decoder {
                Decoder::Lines(lines) => lines.next(ended),
                Decoder::Tuples(tuples) => tuples.next(ended),
            };
            match row.map_err(|error| self.placed(error, None))? {
                Some(row) => self.add(row)?,
                None => return Ok(()),
            }
        }
    }

    fn add(&mut self, row: Vec<Field>) -> Result<()> {
        let header = self.format.header && self.lines_read() == 1;
        if header {
            return Ok(());
        }
        if row.len() != self.fields.len() {
            let message = match self.schema.columns.get(row.len()) {
                Some(missing) => format!("missing data for column \"{}\"", missing.name),
                None => "extra data after last expected column".to_string(),
            };
            return Err(self.placed(Error::invalid(message).with_code(BAD_COPY), None));
        }
        self.bytes += row.iter().map(|field| field.as_ref().map_or(0, Bytes::len) + 1).sum::<usize>();
        if self.bytes > self.bytes_max {
            return Err(Error::limit("COPY passes setting \"query_memory_limit\"")
                .with_code(sqlstate::PROGRAM_LIMIT_EXCEEDED)
                .with_detail(format!("The limit is {} bytes: all rows take effect together.", self.bytes_max))
                .with_hint("Copy in several parts, or raise query_memory_limit."));
        }
        for (fields, field) in self.fields.iter_mut().zip(row) {
            fields.push(field);
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.make_batch() } else { Ok(()) }
    }

    /// Lines or rows read so far, the header among them.
    fn lines_read(&self) -> usize {
        match &self.decoder {
            Decoder::Lines(lines) => lines.count,
            Decoder::Tuples(tuples) => tuples.count,
        }
    }

    /// What was read so far as a batch.
    fn make_batch(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let first = self.lines_read() - self.rows;
        let mut columns = Vec::with_capacity(self.fields.len());
        for (place, column) in self.schema.columns.iter().enumerate() {
            let fields = self.fields.get_mut(place).map(std::mem::take).unwrap_or_default();
            let made = match self.format.binary {
                true => binary::column(&fields, &column.ty),
                false => text_column(&fields, &column.ty),
            };
            columns.push(made.map_err(|(row, error)| {
                error.context(format!("COPY, line {}, column {}", first + row + 1, column.name))
            })?);
        }
        self.rows = 0;
        self.batches.push(RecordBatch::try_new(self.schema.arrow(), columns)?);
        Ok(())
    }

    fn placed(&self, error: Error, column: Option<&str>) -> Error {
        let column = column.map(|column| format!(", column {column}")).unwrap_or_default();
        error.context(format!("COPY, line {}{column}", self.lines_read()))
    }
}

/// SQLSTATE of a copy that is not as it should be.
pub(super) const BAD_COPY: &str = "22P04";

/// Texts read as values of `ty`; else the first row that is none, and why.
fn text_column(fields: &[Field], ty: &SqlType) -> std::result::Result<ArrayRef, (usize, Error)> {
    let mut texts = Vec::with_capacity(fields.len());
    for (row, field) in fields.iter().enumerate() {
        texts.push(match field {
            None => None,
            Some(bytes) => Some(std::str::from_utf8(bytes).map_err(|_| {
                (row, Error::invalid("invalid byte sequence for encoding \"UTF8\"").with_code("22021"))
            })?),
        });
    }
    let texts = StringArray::from(texts);
    let (values, misread) = read_column(&texts, ty).map_err(|error| (0, error))?;
    match misread.first() {
        Some((row, reason)) => Err((*row as usize, reason.to_error())),
        None => Ok(values),
    }
}

impl Connection {
    /// Reads the rows of a COPY FROM from the client and brings them in.
    pub(super) async fn copy_in(
        &mut self,
        statement: &Statement,
        schema: Schema,
        format: CopyFormat,
        guard: &Guard,
    ) -> Result<()> {
        messages::copy_in(&mut self.socket.output, schema.columns.len(), format.binary);
        let limit = self.shared.settings.query_memory_limit.as_usize();
        let mut rows = Rows::new(schema, format, limit);
        loop {
            match self.next_of_copy(guard).await? {
                Frame::CopyData(bytes) => rows.take(&bytes)?,
                Frame::CopyDone => break,
                Frame::CopyFail(why) => {
                    return Err(Error::unavailable(format!("COPY from stdin failed: {why}"))
                        .with_code(sqlstate::QUERY_CANCELED));
                }
                Frame::Flush | Frame::Sync => {}
                _ => {
                    return Err(Error::invalid("unexpected message type during COPY from stdin")
                        .with_code(sqlstate::PROTOCOL_VIOLATION));
                }
            }
        }
        let work = self.session.copy_in(statement, rows.finish()?, guard.token.clone());
        let outcome = attend(&mut self.socket, guard, work).await?;
        if let Outcome::Done { tag, notices } = outcome {
            self.notices(&notices);
            messages::complete(&mut self.socket.output, &tag);
        }
        Ok(())
    }

    /// The client's next message while it copies.
    async fn next_of_copy(&mut self, guard: &Guard) -> Result<Frame> {
        let bytes_max = self.shared.settings.statement_bytes_max.as_usize().saturating_add(5);
        loop {
            guard.check()?;
            if let Some(frame) = take(&mut self.socket.input, bytes_max)? {
                return frame;
            }
            self.socket.flush().await?;
            let read = tokio::select! {
                read = self.socket.read() => read?,
                reason = guard.token.cancelled() => return Err(reason.error()),
                () = guard.expired() => return Err(CancelReason::Timeout.error()),
                () = stopped(&guard.stopping) => return Err(CancelReason::Shutdown.error()),
            };
            if !read {
                return Err(CancelReason::Disconnected.error());
            }
        }
    }
}

/// Rows as text.
#[cfg(test)]
fn shown(batches: &[RecordBatch]) -> String {
    let rows = batches.iter().flat_map(|batch| {
        (0..batch.num_rows()).map(move |row| {
            let values = batch.columns().iter().map(|column| {
                if column.is_null(row) {
                    return "NULL".to_string();
                }
                arrow::util::display::array_value_to_string(column, row).unwrap_or_default()
            });
            values.collect::<Vec<_>>().join("|")
        })
    });
    rows.collect::<Vec<_>>().join(";")
}

/// Bytes are missing.
fn too_short() -> Error {
    Error::invalid("unexpected end of COPY data").with_code(BAD_COPY)
}
