//! What we send: pgwire's messages, appended to a buffer; rows apart, which are written in place.

use bytes::{Bytes, BytesMut};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use pgwire::messages::{Message, copy, data, extendedquery};

use super::pg_type;
use crate::base::{Error, ErrorKind};
use crate::engine::{Notice, Prepared, Severity, TransactionState};
use crate::types::Schema;

/// The protocol that we speak, as NegotiateProtocolVersion numbers it.
const PROTOCOL_3_0: i32 = 3 << 16;

/// Bytes of one field of an error: libpq refuses error messages of more than 30,000 bytes.
const FIELD_BYTES_MAX: usize = 6_000;

/// How an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The connection goes on.
    Error,
    /// The connection ends.
    Fatal,
}

/// Appends `message`. The lengths that pgwire refuses (more than 2 GB, or a long error) are kept away by the callers;
/// should one pass, the message is left out and logged: the client sees a missing answer, not a broken stream.
fn put(out: &mut BytesMut, encode: impl FnOnce(&mut BytesMut) -> PgWireResult<()>) {
    let start = out.len();
    if let Err(error) = encode(out) {
        out.truncate(start);
        log_unsent(&error);
    }
}

fn log_unsent(error: &PgWireError) {
    tracing::error!(%error, "message could not be encoded");
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(FIELD_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default();
    let kept = if end < text.len() { format!("{kept}…") } else { kept.to_string() };
    // A NUL would end the field for the client.
    kept.replace('\0', "\u{fffd}")
}

/// ErrorResponse. Internal errors are logged too: someone must act.
pub fn error(out: &mut BytesMut, error: &Error, fate: Fate) {
    if error.kind() == ErrorKind::Internal || error.kind() == ErrorKind::Corrupt {
        tracing::error!(error = %error.report(), "statement ended with an error of ours");
    }
    let severity = match fate {
        Fate::Error => "ERROR",
        Fate::Fatal => "FATAL",
    };
    let mut info = ErrorInfo::new(severity.to_string(), error.sqlstate().to_string(), cut(error.message()));
    info.severity_nonlocalized = Some(severity.to_string());
    info.detail = error.detail().map(cut);
    info.hint = error.hint().map(cut);
    info.position = error.position().map(|position| position.to_string());
    if !error.contexts().is_empty() {
        info.where_context = Some(cut(&error.contexts().join("\n")));
    }
    put(out, |out| pgwire::messages::response::ErrorResponse::from(info).encode(out));
}

/// NoticeResponse.
pub fn notice(out: &mut BytesMut, notice: &Notice) {
    let (severity, code) = match notice.severity {
        Severity::Notice => ("NOTICE", "00000"),
        Severity::Warning => ("WARNING", "01000"),
    };
    let mut info = ErrorInfo::new(severity.to_string(), code.to_string(), cut(&notice.message));
    info.severity_nonlocalized = Some(severity.to_string());
    info.detail = notice.detail.as_deref().map(cut);
    info.hint = notice.hint.as_deref().map(cut);
    put(out, |out| NoticeResponse::from(info).encode(out));
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut BytesMut) {
    put(out, |out| Authentication::Ok.encode(out));
}

/// AuthenticationSASL: the ways to prove a password.
pub fn sasl(out: &mut BytesMut, mechanisms: Vec<String>) {
    put(out, |out| Authentication::SASL(mechanisms).encode(out));
}

/// AuthenticationSASLContinue.
pub fn sasl_continue(out: &mut BytesMut, data: Bytes) {
    put(out, |out| Authentication::SASLContinue(data).encode(out));
}

/// AuthenticationSASLFinal.
pub fn sasl_final(out: &mut BytesMut, data: Bytes) {
    put(out, |out| Authentication::SASLFinal(data).encode(out));
}

/// BackendKeyData: what a cancel request must repeat.
pub fn backend_key(out: &mut BytesMut, process: i32, secret: i32) {
    put(out, |out| BackendKeyData::new(process, SecretKey::I32(secret)).encode(out));
}

/// NegotiateProtocolVersion: we speak 3.0, and none of the client's `_pq_.` options.
pub fn negotiate(out: &mut BytesMut, unknown: Vec<String>) {
    put(out, |out| NegotiateProtocolVersion::new(PROTOCOL_3_0, unknown).encode(out));
}

/// ParameterStatus.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    put(out, |out| ParameterStatus::new(name.to_string(), cut(value)).encode(out));
}

/// ReadyForQuery.
pub fn ready(out: &mut BytesMut, state: TransactionState) {
    let status = match state {
        TransactionState::Idle => TransactionStatus::Idle,
        TransactionState::Open => TransactionStatus::Transaction,
        TransactionState::Failed => TransactionStatus::Error,
    };
    put(out, |out| ReadyForQuery::new(status).encode(out));
}

/// CommandComplete.
pub fn complete(out: &mut BytesMut, tag: &str) {
    put(out, |out| CommandComplete::new(tag.to_string()).encode(out));
}

/// EmptyQueryResponse.
pub fn empty_query(out: &mut BytesMut) {
    put(out, |out| EmptyQueryResponse::new().encode(out));
}

/// ParseComplete.
pub fn parse_complete(out: &mut BytesMut) {
    put(out, |out| extendedquery::ParseComplete::new().encode(out));
}

/// BindComplete.
pub fn bind_complete(out: &mut BytesMut) {
    put(out, |out| extendedquery::BindComplete::new().encode(out));
}

/// CloseComplete.
pub fn close_complete(out: &mut BytesMut) {
    put(out, |out| extendedquery::CloseComplete::new().encode(out));
}

/// PortalSuspended: the row limit was reached.
pub fn portal_suspended(out: &mut BytesMut) {
    put(out, |out| extendedquery::PortalSuspended::new().encode(out));
}

/// NoData: the statement gives no rows.
pub fn no_data(out: &mut BytesMut) {
    put(out, |out| data::NoData::new().encode(out));
}

/// ParameterDescription.
pub fn parameters(out: &mut BytesMut, prepared: &Prepared) {
    let types = prepared.parameters.iter().enumerate();
    let types =
        types.map(|(index, ty)| prepared.told.get(&index).copied().unwrap_or_else(|| pg_type::oid(ty))).collect();
    put(out, |out| data::ParameterDescription::new(types).encode(out));
}

/// RowDescription.
pub fn row_description(out: &mut BytesMut, schema: &Schema, binary: impl Fn(usize) -> bool) {
    put(out, |out| data::RowDescription::new(pg_type::fields(schema, binary)).encode(out));
}

/// CopyOutResponse: so many columns, all in text or all in binary.
pub fn copy_out(out: &mut BytesMut, columns: usize, binary: bool) {
    let columns = i16::try_from(columns).unwrap_or(i16::MAX);
    let formats = vec![i16::from(binary); usize::try_from(columns).unwrap_or_default()];
    put(out, |out| copy::CopyOutResponse::new(i8::from(binary), columns, formats).encode(out));
}

/// CopyInResponse: so many columns, all in text or all in binary.
pub fn copy_in(out: &mut BytesMut, columns: usize, binary: bool) {
    let columns = i16::try_from(columns).unwrap_or(i16::MAX);
    let formats = vec![i16::from(binary); usize::try_from(columns).unwrap_or_default()];
    put(out, |out| copy::CopyInResponse::new(i8::from(binary), columns, formats).encode(out));
}

/// CopyDone.
pub fn copy_done(out: &mut BytesMut) {
    put(out, |out| copy::CopyDone::new().encode(out));
}
