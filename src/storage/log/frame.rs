//! The bytes of a log segment: a header, then frames.
//!
//! ```text
//! segment header, 48 bytes                          frame, a multiple of 8 bytes
//!  0  magic        "MSTRMLOG"                        0  magic      "MFRM"
//!  8  version      u16, now 1                        4  records    u32
//! 10  zero         u16, u32                          8  length     u64, of the payload without padding
//! 16  nonce        u64, drawn when it was made      16  offset     u64, of this frame in its segment
//! 24  first        u64, its first record's epoch    24  payload crc32
//! 32  previous     u64, epoch of the record before  28  header crc32 of nonce, then bytes 0..28
//! 40  zero         u32                              32  payload: per record epoch u64, length u32, bytes
//! 44  crc32 of bytes 0..44                              then zeros up to a multiple of 8
//! ```
//! Little-endian; crc32 is the one of zlib. The nonce and the offset under the header's checksum make sure that bytes
//! which a user stored, or which an older file left in the same blocks, are never taken for a frame.

use crate::base::{Error, Result};
use crate::storage::bytes::Fields;
use crate::types::Epoch;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 48;
const FRAME_HEADER_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"MSTRMLOG";
const FRAME_MAGIC: &[u8; 4] = b"MFRM";
const VERSION: u16 = 1;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) nonce: u64,
    /// The epoch of its first record.
    pub(super) first: Epoch,
    /// The epoch of the record before that, in the segment before.
    pub(super) previous: Epoch,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(&self.first.0.to_le_bytes());
        out.extend_from_slice(&self.previous.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// The header of a segment's bytes. Fails with `Corrupt`.
    pub(super) fn decode(segment: &[u8]) -> Result<Header> {
        let mut fields = Fields::new(segment, "segment of the epoch log");
        let checked = Fields::new(segment, "segment of the epoch log").take(HEADER_BYTES - 4)?;
        if fields.take(8)? != MAGIC {
            return Err(Error::corrupt("segment of the epoch log does not begin with MSTRMLOG"));
        }
        let version = fields.u16()?;
        if version != VERSION {
            return Err(Error::corrupt(format!(
                "epoch log has version {version}; this program reads version {VERSION}"
            ))
            .with_hint("Start the version of millstream that wrote this data directory."));
        }
        fields.take(6)?;
        let header = Header { nonce: fields.u64()?, first: Epoch(fields.u64()?), previous: Epoch(fields.u64()?) };
        fields.take(4)?;
        if fields.u32()? != crc32fast::hash(checked) {
            return Err(Error::corrupt("header of a segment of the epoch log does not have its checksum"));
        }
        Ok(header)
    }
}

/// Starts a frame that will lie at `offset`; then come [`push_record`]s and [`finish_frame`].
pub(super) fn begin_frame(out: &mut Vec<u8>) {
    out.clear();
    out.resize(FRAME_HEADER_BYTES, 0);
}

/// Appends a record to the frame in `out`.
pub(super) fn push_record(out: &mut Vec<u8>, epoch: Epoch, record: &[u8]) {
    let length = u32::try_from(record.len()).expect("records are limited to 1 GiB when they are appended");
    out.extend_from_slice(&epoch.0.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(record);
}

/// Writes the frame's header and padding: `out` is then what lies at `offset` of the segment `nonce`.
pub(super) fn finish_frame(out: &mut Vec<u8>, nonce: u64, offset: u64, records: u32) {
    let (_, payload) = out.split_at(FRAME_HEADER_BYTES);
    let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
    header.extend_from_slice(FRAME_MAGIC);
    header.extend_from_slice(&records.to_le_bytes());
    header.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    header.extend_from_slice(&offset.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    header.extend_from_slice(&header_crc(nonce, &header).to_le_bytes());
    out.splice(..FRAME_HEADER_BYTES, header);
    out.resize(out.len().next_multiple_of(8), 0);
}

fn header_crc(nonce: u64, header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(header);
    hasher.finalize()
}

/// What lies at a place of a segment where a frame may begin.
#[derive(Debug, PartialEq)]
pub(super) enum Place<'a> {
    /// A whole frame, and where the next may begin.
    Frame { payload: &'a [u8], records: u32, next: usize },
    /// Nothing but zeros, or nothing at all.
    End,
    /// Something else: a frame that was torn or changed.
    Broken,
}

/// Reads the place `at` of a segment.
pub(super) fn read_place(segment: &[u8], nonce: u64, at: usize) -> Place<'_> {
    let rest = segment.get(at..).unwrap_or_default();
    if let Some((payload_crc, records, length)) = read_header(rest, nonce, at)
        && let Some(end) = usize::try_from(length).ok().and_then(|length| length.checked_add(FRAME_HEADER_BYTES))
        && let Some(payload) = rest.get(FRAME_HEADER_BYTES..end)
        && crc32fast::hash(payload) == payload_crc
        && rest.get(end..end.next_multiple_of(8)).is_some_and(|padding| padding.iter().all(|&byte| byte == 0))
    {
        return Place::Frame { payload, records, next: at + end.next_multiple_of(8) };
    }
    if rest.iter().all(|&byte| byte == 0) { Place::End } else { Place::Broken }
}

/// Whether a frame's whole header lies anywhere behind `at`: then the frame before it had been acknowledged.
pub(super) fn has_frame_behind(segment: &[u8], nonce: u64, at: usize) -> bool {
    (at + 8..segment.len())
        .step_by(8)
        .any(|place| segment.get(place..).is_some_and(|rest| read_header(rest, nonce, place).is_some()))
}

/// Payload checksum, record count and payload length, if a whole frame header begins here.
fn read_header(rest: &[u8], nonce: u64, at: usize) -> Option<(u32, u32, u64)> {
    let checked = rest.get(..FRAME_HEADER_BYTES - 4)?;
    if checked.get(..4)? != FRAME_MAGIC {
        return None;
    }
    let mut fields = Fields::new(rest.get(4..)?, "frame");
    let (records, length) = (fields.u32().ok()?, fields.u64().ok()?);
    let (offset, payload_crc, crc) = (fields.u64().ok()?, fields.u32().ok()?, fields.u32().ok()?);
    (crc == header_crc(nonce, checked) && offset == at as u64).then_some((payload_crc, records, length))
}

/// The records of a frame's payload. Fails with `Corrupt` when the payload holds others than its header says.
pub(super) fn read_records(payload: &[u8], records: u32) -> Result<Vec<(Epoch, &[u8])>> {
    let mut fields = Fields::new(payload, "frame of the epoch log");
    let read = (0..records).map(|_| Ok((Epoch(fields.u64()?), fields.sized()?))).collect::<Result<_>>()?;
    fields.end()?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden() {
        // These bytes are in the logs of data directories in use.
        let header = Header { nonce: 0x1122_3344_5566_7788, first: Epoch(7), previous: Epoch(6) };
        assert_eq!(
            hex(&header.encode()),
            "4d5354524d4c4f4701000000000000008877665544332211070000000000000006000000000000000000000003771f84"
        );
        assert_eq!(Header::decode(&header.encode()).unwrap(), header);
        let mut frame = Vec::new();
        begin_frame(&mut frame);
        push_record(&mut frame, Epoch(7), b"abc");
        finish_frame(&mut frame, header.nonce, 48, 1);
        assert_eq!(
            hex(&frame),
            "4d46524d010000000f000000000000003000000000000000b08e5fb72ef59797070000000000000003000000616263\
            00"
        );
        let segment = [header.encode(), frame].concat();
        let Place::Frame { payload, records, next } = read_place(&segment, header.nonce, 48) else { panic!() };
        assert_eq!(next, segment.len());
        assert_eq!(read_records(payload, records).unwrap(), [(Epoch(7), &b"abc"[..])]);
        assert_eq!(read_place(&segment, header.nonce, next), Place::End);
        assert_eq!(read_place(&segment, header.nonce + 1, 48), Place::Broken);
    }
}
