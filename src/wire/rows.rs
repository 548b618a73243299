//! Rows on their way to a client: a stream of batches, read as the client takes them, in pieces if it asks for pieces.

use arrow::array::RecordBatch;
use bytes::{BufMut, BytesMut};
use futures::{FutureExt, StreamExt};

use super::attend::{Guard, attend, drain, follow};
use super::column::Column;
use super::socket::Socket;
use crate::base::Result;
use crate::engine::RowStream;
use crate::types::Schema;

/// Output is handed to the socket whenever it has grown to this.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Writes rows as messages.
pub trait RowWriter: Send {
    /// Appends the message for `row`.
    fn write(&mut self, columns: &[Column<'_>], row: usize, out: &mut BytesMut);
}

/// DataRow messages, each column in text or in binary.
pub struct DataRows {
    /// Per column; missing ones are text.
    pub binary: Vec<bool>,
}

impl RowWriter for DataRows {
    fn write(&mut self, columns: &[Column<'_>], row: usize, out: &mut BytesMut) {
        out.put_u8(b'D');
        let start = out.len();
        out.put_i32(0);
        out.put_i16(columns.len() as i16);
        for (index, column) in columns.iter().enumerate() {
            if column.is_null(row) {
                out.put_i32(-1);
                continue;
            }
            let at = out.len();
            out.put_i32(0);
            match self.binary.get(index) {
                Some(true) => column.write_binary(row, out),
                Some(false) | None => column.write_text(row, out),
            }
            set_length(out, at, out.len() - at - 4);
        }
        set_length(out, start, out.len() - start);
    }
}

/// Writes `length` into the four bytes kept free for it at `at`.
pub fn set_length(out: &mut BytesMut, at: usize, length: usize) {
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&(length as u32).to_be_bytes());
    }
}

/// What became of asking for rows.
enum Fetched {
    Rows,
    End,
    NotYet,
}

/// A statement's rows with the place that was reached.
pub struct Cursor {
    /// The columns.
    pub schema: Schema,
    rows: RowStream,
    batch: Option<RecordBatch>,
    next_row: usize,
    /// How many rows were sent since it began.
    pub sent: u64,
    /// Whether the rows are changes that never end.
    pub follows: bool,
    /// Only what is there is sent, but for the first row, which is waited for.
    pub only_ready: bool,
}

impl Cursor {
    /// At the first row of `rows`; `follows`: they are changes that never end.
    pub fn new(schema: Schema, rows: RowStream, follows: bool) -> Self {
        Cursor { schema, rows, batch: None, next_row: 0, sent: 0, follows, only_ready: false }
    }

    /// Sends rows until there are none (true) or `limit` were sent (false). Whether a row follows the last one that
    /// the limit allows is not looked at, as in PostgreSQL.
    pub async fn send(
        &mut self,
        socket: &mut Socket,
        guard: &Guard,
        writer: &mut dyn RowWriter,
        limit: Option<u64>,
    ) -> Result<bool> {
        let (mut left, before) = (limit.unwrap_or(u64::MAX), self.sent);
        loop {
            guard.check()?;
            let Some(batch) = self.batch.take() else {
                match self.fetch(socket, guard, self.only_ready && self.sent > before).await? {
                    Fetched::Rows => continue,
                    Fetched::End => return Ok(true),
                    Fetched::NotYet => return Ok(false),
                }
            };
            let end = batch.num_rows().min(self.next_row.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
            let from = self.next_row;
            let sent = self.write_rows(&batch, end, socket, guard, writer).await;
            left -= (self.next_row - from) as u64;
            if self.next_row < batch.num_rows() {
                self.batch = Some(batch);
            }
            sent?;
            if left == 0 {
                return Ok(false);
            }
        }
    }

    /// Gets the next batch; unless `ready`, waits for it.
    async fn fetch(&mut self, socket: &mut Socket, guard: &Guard, ready: bool) -> Result<Fetched> {
        let next = match self.rows.next().now_or_never() {
            Some(next) => next.transpose()?,
            None if ready => return Ok(Fetched::NotYet),
            None if self.follows => follow(socket, guard, self.rows.next().map(Option::transpose)).await?,
            None => attend(socket, guard, self.rows.next().map(Option::transpose)).await?,
        };
        self.next_row = 0;
        self.batch = next;
        Ok(if self.batch.is_some() { Fetched::Rows } else { Fetched::End })
    }

    /// Writes rows up to `end` of `batch`.
    async fn write_rows(
        &mut self,
        batch: &RecordBatch,
        end: usize,
        socket: &mut Socket,
        guard: &Guard,
        writer: &mut dyn RowWriter,
    ) -> Result<()> {
        while self.next_row < end {
            self.write_some(batch, end, socket, writer)?;
            if socket.output.len() >= OUTPUT_BYTES {
                drain(socket, guard).await?;
            }
        }
        Ok(())
    }

    /// Encodes rows up to `end` of `batch` or until the output is full. Not async: columns borrow the batch.
    fn write_some(
        &mut self,
        batch: &RecordBatch,
        end: usize,
        socket: &mut Socket,
        writer: &mut dyn RowWriter,
    ) -> Result<()> {
        let columns = batch.columns().iter().zip(&self.schema.columns).enumerate();
        let column = |(place, (array, column)): (usize, (_, &crate::types::Column))| {
            Column::told(array, &column.ty, self.schema.told.get(&place).copied())
        };
        let columns: Vec<Column<'_>> = columns.map(column).collect::<Result<_>>()?;
        while self.next_row < end && socket.output.len() < OUTPUT_BYTES {
            writer.write(&columns, self.next_row, &mut socket.output);
            self.next_row += 1;
            self.sent += 1;
        }
        Ok(())
    }
}
