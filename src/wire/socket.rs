//! A client's socket with its two buffers, encrypted or not. Both halves can be waited for at once, so that a client's end
//! is seen while rows are written, and rows are written while the next ones are computed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::tls::Loaded;

/// Bytes that are read ahead while a statement runs: enough to see a client's end behind pipelined messages, too little
/// to be a burden.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// A socket with what has come and is not yet decoded, and what is to be sent.
pub struct Socket {
    stream: Stream,
    peer: SocketAddr,
    /// The certificate with which it was encrypted.
    certificate: Option<Arc<Loaded>>,
    /// Read, not yet decoded.
    pub input: BytesMut,
    /// Encoded, not yet written: whole messages, but for the part of the first one that is written already.
    pub output: BytesMut,
    /// Whether bytes were written that an encrypted stream may still hold.
    held: bool,
}

/// The stream of bytes.
enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
    /// While it is being encrypted; for good, when that did not come about.
    Gone,
}

impl Socket {
    /// A connection from `peer` that was just accepted.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Socket { stream: Stream::Plain(stream), peer, certificate: None, input, output, held: false }
    }

    /// Where the client is.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The certificate with which it was encrypted; none: it is not.
    pub fn certificate(&self) -> Option<&Arc<Loaded>> {
        self.certificate.as_ref()
    }

    /// From here on everything is encrypted. An error leaves a socket that is closed.
    pub async fn encrypt(&mut self, loaded: Arc<Loaded>) -> io::Result<()> {
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        self.stream = Stream::Encrypted(Box::new(loaded.accept(stream).await?));
        self.certificate = Some(loaded);
        Ok(())
    }

    /// Reads more into `input`; false at the client's end.
    pub async fn read(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    /// Writes everything in `output`.
    pub async fn flush(&mut self) -> io::Result<()> {
        write_all(&mut self.stream, &mut self.output, &mut self.held).await
    }

    /// Both halves, to be waited for at once.
    pub fn split(&mut self) -> (Incoming<'_>, Outgoing<'_>) {
        let (read, write) = tokio::io::split(&mut self.stream);
        let outgoing = Outgoing { write, output: &mut self.output, held: &mut self.held };
        (Incoming { read, input: &mut self.input }, outgoing)
    }
}

/// Writes everything in `output`, and what `stream` still holds. May be dropped at any moment.
async fn write_all(stream: &mut (impl AsyncWrite + Unpin), output: &mut BytesMut, held: &mut bool) -> io::Result<()> {
    while !output.is_empty() {
        *held = true;
        stream.write_buf(output).await?;
    }
    if *held {
        stream.flush().await?;
        *held = false;
    }
    Ok(())
}

/// The reading half while a statement runs.
pub struct Incoming<'a> {
    read: ReadHalf<&'a mut Stream>,
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
    write: WriteHalf<&'a mut Stream>,
    /// As [`Socket::output`].
    pub output: &'a mut BytesMut,
    held: &'a mut bool,
}

impl Outgoing<'_> {
    /// Whether something waits to be written.
    pub fn waits(&self) -> bool {
        !self.output.is_empty() || *self.held
    }

    /// Writes everything that waits; returns at once when nothing does. May be dropped at any moment: what is not yet
    /// written stays in the buffer.
    pub async fn flush(&mut self) -> io::Result<()> {
        write_all(&mut self.write, self.output, self.held).await
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Gone => gone(),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Gone => gone(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Gone => gone(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Gone => gone(),
        }
    }
}
