//! What clients send: frames, cut out of the byte stream by their length, then decoded field by field. Nothing here
//! trusts a number that came from outside.
//!
//! | first message | | every other message | |
//! |---|---|---|---|
//! | `i32` length, itself included | `i32` code or version, body | `u8` kind, `i32` length without the kind | body |

use bytes::{Buf, Bytes, BytesMut};

use crate::base::{Error, Result, sqlstate};

/// Bytes of the first message, as PostgreSQL limits it.
pub const FIRST_FRAME_MAX: usize = 10_000;

/// A message of a client after its start.
#[derive(Debug, PartialEq)]
pub enum Frame {
    /// `Q`: a text of statements.
    Query(String),
    /// `P`: prepare a statement.
    Parse {
        /// Its name; empty is the unnamed one.
        name: String,
        /// Its text.
        sql: String,
        /// The types the client gives its parameters; 0 leaves one open.
        types: Vec<u32>,
    },
    /// `B`: make a portal of a statement and parameters.
    Bind {
        /// The portal's name.
        portal: String,
        /// The statement's name.
        statement: String,
        /// Text (0) or binary (1): none for all, one for all, or one each.
        formats: Vec<i16>,
        /// Values; none is NULL.
        values: Vec<Option<Bytes>>,
        /// Formats of the columns, counted as `formats`.
        column_formats: Vec<i16>,
    },
    /// `D`: describe a statement (`S`) or a portal (`P`).
    Describe(Target, String),
    /// `C`: forget a statement or a portal.
    Close(Target, String),
    /// `E`: run a portal, for at most so many rows; 0 or less is all.
    Execute(String, i32),
    /// `H`.
    Flush,
    /// `S`.
    Sync,
    /// `X`.
    Terminate,
    /// `d`: bytes of a copy. Outside of one they are left over from one that failed, and ignored, like the next two.
    CopyData(Bytes),
    /// `c`: the end of a copy.
    CopyDone,
    /// `f`: the client gives a copy up, and says why.
    CopyFail(String),
}

/// What Describe and Close mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// The first message of a connection.
#[derive(Debug, PartialEq)]
pub enum First {
    /// Asks for TLS.
    Tls,
    /// Asks for GSS encryption, which is not spoken.
    Gss,
    /// Asks to cancel what the connection with this number and secret is doing.
    Cancel(i32, i32),
    /// Says hello: minor version, and parameters.
    Startup(u16, Vec<(String, String)>),
}

fn violation(message: impl Into<String>) -> Error {
    Error::invalid(message).with_code(sqlstate::PROTOCOL_VIOLATION)
}

/// Cuts the first message off `input`; none while it is incomplete. An error closes the connection.
pub fn take_first(input: &mut BytesMut) -> Result<Option<First>> {
    let Some(length) = input.get(..4).map(|mut bytes| bytes.get_i32()) else { return Ok(None) };
    let length = usize::try_from(length).ok().filter(|length| (8..=FIRST_FRAME_MAX).contains(length));
    let length = length.ok_or_else(|| violation("invalid length of startup packet"))?;
    if input.len() < length {
        return Ok(None);
    }
    let mut body = Body(input.split_to(length).freeze());
    body.u32()?;
    let (major, minor) = (body.u16()?, body.u16()?);
    match (major, minor) {
        (1234, 5679) => Ok(Some(First::Tls)),
        (1234, 5680) => Ok(Some(First::Gss)),
        (1234, 5678) => Ok(Some(First::Cancel(body.u32()? as i32, body.u32()? as i32))),
        (3, _) => {
            let mut parameters = Vec::new();
            loop {
                let name = body.text("startup packet")?;
                if name.is_empty() {
                    return Ok(Some(First::Startup(minor, parameters)));
                }
                parameters.push((name, body.text("startup packet")?));
            }
        }
        _ => Err(Error::unsupported(format!("unsupported frontend protocol {major}.{minor}"))
            .with_detail("The server speaks PostgreSQL's protocol 3.0.")),
    }
}

/// Bytes of one step of a login.
const PASSWORD_MAX: usize = 10_000;

/// The first step of a login.
#[derive(Debug, PartialEq)]
pub struct SaslInitial {
    /// The mechanism that the client chose.
    pub mechanism: String,
    /// Its first message.
    pub data: Bytes,
}

/// Cuts one step of a login (`p`) off `input`; none while it is incomplete. An error closes the connection.
pub fn take_password(input: &mut BytesMut) -> Result<Option<Bytes>> {
    let Some(mut head) = input.get(..5) else { return Ok(None) };
    let (kind, length) = (head.get_u8(), head.get_i32());
    let length = usize::try_from(length).ok().filter(|length| (4..=PASSWORD_MAX).contains(length));
    let (b'p', Some(length)) = (kind, length) else {
        return Err(violation("expected SASL response, got something else"));
    };
    if input.len() < length + 1 {
        return Ok(None);
    }
    let mut frame = input.split_to(length + 1).freeze();
    frame.advance(5);
    Ok(Some(frame))
}

/// Decodes the first step of a login.
pub fn sasl_initial(frame: Bytes) -> Result<SaslInitial> {
    let mut body = Body(frame);
    let mechanism = body.text("SASLInitialResponse")?;
    match body.value()? {
        Some(data) => Ok(SaslInitial { mechanism, data }),
        None => Err(violation("the first message of the login is missing")),
    }
}

/// Cuts the next message off `input`; none while it is incomplete. An error closes the connection: where the next
/// message begins is not known. `bytes_max` bounds what a client can make us hold.
pub fn take(input: &mut BytesMut, bytes_max: usize) -> Result<Option<Result<Frame>>> {
    let Some(mut head) = input.get(..5) else { return Ok(None) };
    let (kind, length) = (head.get_u8(), head.get_i32());
    if !b"QPBDCEHSXdcfFp".contains(&kind) {
        return Err(violation(format!("invalid frontend message type {kind}")));
    }
    let length = usize::try_from(length).ok().filter(|&length| length >= 4);
    let length = length.ok_or_else(|| violation(format!("invalid length of message \"{}\"", char::from(kind))))?;
    if length > bytes_max {
        return Err(Error::limit(format!("message of {length} bytes passes setting \"statement_bytes_max\""))
            .with_code(sqlstate::PROGRAM_LIMIT_EXCEEDED)
            .with_detail(format!("The limit is {bytes_max} bytes."))
            .with_hint("Raise statement_bytes_max or send less in one statement."));
    }
    if input.len() < length + 1 {
        return Ok(None);
    }
    let mut frame = input.split_to(length + 1).freeze();
    frame.advance(5);
    Ok(Some(decode(kind, Body(frame))))
}

/// Decodes the body of a message of `kind`. The frame is whole, so an error costs only this message.
fn decode(kind: u8, mut body: Body) -> Result<Frame> {
    Ok(match kind {
        b'Q' => Frame::Query(body.text("Query")?),
        b'P' => {
            let (name, sql) = (body.text("Parse")?, body.text("Parse")?);
            let count = body.u16()?;
            Frame::Parse { name, sql, types: (0..count).map(|_| body.u32()).collect::<Result<_>>()? }
        }
        b'B' => {
            let (portal, statement) = (body.text("Bind")?, body.text("Bind")?);
            let formats = body.formats()?;
            let count = body.u16()?;
            let values = (0..count).map(|_| body.value()).collect::<Result<_>>()?;
            Frame::Bind { portal, statement, formats, values, column_formats: body.formats()? }
        }
        b'D' => Frame::Describe(body.target()?, body.text("Describe")?),
        b'C' => Frame::Close(body.target()?, body.text("Close")?),
        b'E' => Frame::Execute(body.text("Execute")?, body.u32()? as i32),
        b'H' => Frame::Flush,
        b'S' => Frame::Sync,
        b'X' => Frame::Terminate,
        b'F' => {
            return Err(Error::unsupported("function calls of the protocol are not supported")
                .with_hint("Call the function with SELECT."));
        }
        b'p' => return Err(violation("a password came though none was asked for")),
        b'd' => Frame::CopyData(body.0),
        b'c' => Frame::CopyDone,
        _ => Frame::CopyFail(body.text("CopyFail")?),
    })
}

/// The unread rest of a message.
struct Body(Bytes);

impl Body {
    fn short() -> Error {
        violation("insufficient data left in message")
    }

    fn u16(&mut self) -> Result<u16> {
        self.0.try_get_u16().map_err(|_| Body::short())
    }

    fn u32(&mut self) -> Result<u32> {
        self.0.try_get_u32().map_err(|_| Body::short())
    }

    /// Text up to a NUL.
    fn text(&mut self, message: &str) -> Result<String> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or_else(Body::short)?;
        let bytes = self.0.split_to(end);
        self.0.advance(1);
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(error) => Err(Error::invalid("invalid byte sequence for encoding \"UTF8\"")
                .with_code("22021")
                .with_detail(format!("At byte {} of a text in message {message}.", error.valid_up_to()))),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = self.u16()?;
        let codes: Vec<i16> = (0..count).map(|_| Ok(self.u16()? as i16)).collect::<Result<_>>()?;
        match codes.iter().find(|&&code| code != 0 && code != 1) {
            Some(code) => Err(violation(format!("unsupported format code: {code}"))),
            None => Ok(codes),
        }
    }

    fn value(&mut self) -> Result<Option<Bytes>> {
        let length = self.u32()? as i32;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).ok().filter(|&length| length <= self.0.len());
        Ok(Some(self.0.split_to(length.ok_or_else(Body::short)?)))
    }

    fn target(&mut self) -> Result<Target> {
        match self.0.try_get_u8() {
            Ok(b'S') => Ok(Target::Statement),
            Ok(b'P') => Ok(Target::Portal),
            Ok(other) => Err(violation(format!("invalid DESCRIBE or CLOSE message subtype {other}"))),
            Err(_) => Err(Body::short()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Random, fresh_seed};

    fn take_all(bytes: &[u8]) -> String {
        let mut input = BytesMut::from(bytes);
        match take(&mut input, 1 << 20) {
            Ok(None) => "incomplete".to_string(),
            Ok(Some(Ok(frame))) => format!("{frame:?}"),
            Ok(Some(Err(error))) => format!("refused: {error}"),
            Err(error) => format!("closed: {error}"),
        }
    }

    #[test]
    fn messages_are_decoded_or_refused() {
        assert_eq!(take_all(b"Q\0\0\0\x0dSELECT 1\0"), "Query(\"SELECT 1\")");
        assert_eq!(take_all(b"Q\0\0\0\x0dSELECT"), "incomplete");
        assert_eq!(take_all(b"Q\0\0\0\x06\xff\0"), "refused: invalid byte sequence for encoding \"UTF8\"");
        assert_eq!(take_all(b"Q\0\0\0\x05x"), "refused: insufficient data left in message");
        assert_eq!(take_all(b"Q\0\0\0\x03"), "closed: invalid length of message \"Q\"");
        assert_eq!(take_all(b"Q\xff\xff\xff\xff"), "closed: invalid length of message \"Q\"");
        assert_eq!(
            take_all(b"Q\x7f\xff\xff\xff"),
            "closed: message of 2147483647 bytes passes setting \"statement_bytes_max\""
        );
        assert_eq!(take_all(b"?\0\0\0\x04"), "closed: invalid frontend message type 63");
        assert_eq!(take_all(b"P\0\0\0\x0d\0a\0\0\x01\0\0\0\x17"), "Parse { name: \"\", sql: \"a\", types: [23] }");
        assert_eq!(take_all(b"P\0\0\0\x09\0a\0\xff\xff"), "refused: insufficient data left in message");
        assert_eq!(take_all(b"B\0\0\0\x10\0\0\0\0\0\x01\0\0\0\x05ab"), "refused: insufficient data left in message");
    }

    #[test]
    fn random_bytes_never_panic() {
        let seed = fresh_seed();
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..random.below(60)).map(|_| random.next_u64() as u8).collect();
            if let Some(kind) = bytes.first_mut() {
                *kind = *random.pick(b"QPBDCEHSXdcfFp").unwrap();
            }
            let length = bytes.len() as u32;
            if length >= 5 {
                bytes[1..5].copy_from_slice(&(length - 1).to_be_bytes());
            }
            let _ = take(&mut BytesMut::from(&bytes[..]), 1 << 20);
            let _ = take_first(&mut BytesMut::from(&bytes[..]));
            if length >= 8 {
                bytes[..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..8].copy_from_slice(&196_608u32.to_be_bytes());
                let _ = take_first(&mut BytesMut::from(&bytes[..]));
            }
        }
    }
}
