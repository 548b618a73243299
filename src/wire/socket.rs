//! A client's socket with its two buffers. Both halves can be waited for at once, so that a client's end is seen while
//! rows are written, and rows are written while the next ones are computed.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Bytes that are read ahead while a statement runs: enough to see a client's end behind pipelined messages, too little
/// to be a burden.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// A socket with what has come and is not yet decoded, and what is to be sent.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Read, not yet decoded.
    pub input: BytesMut,
    /// Encoded, not yet written: whole messages, but for the part of the first one that is written already.
    pub output: BytesMut,
}

impl Socket {
    /// A connection that was just accepted.
    pub fn new(stream: TcpStream) -> Self {
        Socket { stream, input: BytesMut::new(), output: BytesMut::new() }
    }

    /// Reads more into `input`; false at the client's end.
    pub async fn read(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    /// Writes everything in `output`.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            self.stream.write_buf(&mut self.output).await?;
        }
        Ok(())
    }

    /// Both halves, to be waited for at once.
    pub fn split(&mut self) -> (Incoming<'_>, Outgoing<'_>) {
        let (read, write) = self.stream.split();
        (Incoming { read, input: &mut self.input }, Outgoing { write, output: &mut self.output })
    }
}

/// The reading half while a statement runs.
pub struct Incoming<'a> {
    read: ReadHalf<'a>,
    input: &'a mut BytesMut,
}

impl Incoming<'_> {
    /// Returns when the client is gone. Reads ahead meanwhile, up to a limit; beyond it waits for ever. May be dropped
    /// at any moment: nothing read is lost.
    pub async fn ended(&mut self) {
        while self.input.len() < AHEAD_BYTES_MAX {
            match self.read.read_buf(self.input).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }
}

/// The writing half while a statement runs.
pub struct Outgoing<'a> {
    write: WriteHalf<'a>,
    /// As [`Socket::output`].
    pub output: &'a mut BytesMut,
}

impl Outgoing<'_> {
    /// Writes everything that waits; returns at once when nothing does. May be dropped at any moment: what is not yet
    /// written stays in the buffer.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            self.write.write_buf(self.output).await?;
        }
        Ok(())
    }
}
