//! Cutting bytes into lines and batches, and finding the bad ones of many by halving.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::{BadRecord, Decoded, oversize_reason};
use crate::base::Result;

/// The most characters of a reason.
const REASON_CHARS: usize = 400;

/// The lines of `bytes` without their ends; blank ones are left out.
pub(super) fn lines(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut lines = Vec::with_capacity(bytes.len() / 128 + 1);
    let mut begin = 0;
    for end in memchr::memchr_iter(b'\n', bytes) {
        push_line(&mut lines, bytes, begin..end);
        begin = end + 1;
    }
    push_line(&mut lines, bytes, begin..bytes.len());
    lines
}

fn push_line(lines: &mut Vec<Range<usize>>, bytes: &[u8], line: Range<usize>) {
    let is_record = |line: &[u8]| match line.first() {
        Some(first) if !first.is_ascii_whitespace() => true,
        Some(_) | None => line.iter().any(|byte| !byte.is_ascii_whitespace()),
    };
    if bytes.get(line.clone()).is_some_and(is_record) {
        lines.push(line);
    }
}

/// Why some records could not be decoded together.
pub(super) struct Refusal {
    /// The first record at fault (its index in the attempt), if that is known; else any of them may be.
    pub(super) record: Option<usize>,
    /// Why.
    pub(super) reason: String,
}

/// Decodes several records at once.
pub(super) trait Attempt {
    /// The rows of `records`, one each, or why not. May be called again with fewer.
    fn attempt(&mut self, bytes: &[u8], records: &[Range<usize>]) -> Result<RecordBatch, Refusal>;
}

/// Decodes `bytes`, whose records lie at `records`, in batches of at most `batch_rows`, evenly cut.
pub(super) fn decode_records(
    attempt: &mut impl Attempt,
    schema: &SchemaRef,
    bytes: &[u8],
    records: &[Range<usize>],
    batch_rows: usize,
    record_bytes_max: usize,
) -> Result<Vec<Decoded>> {
    let batches = records.len().div_ceil(batch_rows.max(1)).max(1);
    let rows = records.len().div_ceil(batches).max(1);
    let mut decoded = Vec::with_capacity(batches);
    let mut begin = 0;
    let mut chunks = records.chunks(rows).peekable();
    if chunks.peek().is_none() {
        let rows = RecordBatch::new_empty(SchemaRef::clone(schema));
        return Ok(vec![Decoded { rows, bytes: 0..bytes.len(), bad: Vec::new() }]);
    }
    while let Some(chunk) = chunks.next() {
        // A batch ends where the first record of the next one begins, so that no line between them is lost.
        let next = chunks.peek().and_then(|chunk| chunk.first());
        let end = next.map_or(bytes.len(), |record| record.start);
        let mut pieces = Pieces { attempt, bytes, good: Vec::new(), bad: Vec::new(), record_bytes_max };
        pieces.decode(chunk);
        let Pieces { mut good, mut bad, .. } = pieces;
        bad.sort_unstable_by_key(|bad| bad.at.start);
        let rows = match good.len() {
            1 => good.remove(0),
            _ => concat_batches(schema, &good)?,
        };
        decoded.push(Decoded { rows, bytes: begin..end, bad });
        begin = end;
    }
    Ok(decoded)
}

struct Pieces<'a, A> {
    attempt: &'a mut A,
    bytes: &'a [u8],
    good: Vec<RecordBatch>,
    bad: Vec<BadRecord>,
    record_bytes_max: usize,
}

impl<A: Attempt> Pieces<'_, A> {
    /// Leaves out records beyond the limit, decodes the rest.
    fn decode(&mut self, records: &[Range<usize>]) {
        let limit = self.record_bytes_max;
        let mut rest = records;
        while let Some(long) = rest.iter().position(|record| record.len() > limit) {
            let (before, after) = rest.split_at(long);
            self.halve(before);
            if let Some((record, after)) = after.split_first() {
                self.refuse(record, oversize_reason(record.len() as u64, limit as u64));
                rest = after;
            }
        }
        self.halve(rest);
    }

    /// Decodes `records`, leaving out those at fault. The depth of calls is the logarithm of their number.
    fn halve(&mut self, mut records: &[Range<usize>]) {
        while !records.is_empty() {
            let refusal = match self.attempt.attempt(self.bytes, records) {
                Ok(rows) => {
                    self.good.push(rows);
                    return;
                }
                Err(refusal) => refusal,
            };
            let known = if records.len() == 1 { Some(0) } else { refusal.record };
            let middle = known.unwrap_or(records.len() / 2);
            let (before, after) = records.split_at(middle.min(records.len()));
            self.halve(before);
            records = after;
            if known.is_some()
                && let Some((record, after)) = records.split_first()
            {
                self.refuse(record, refusal.reason);
                records = after;
            }
        }
    }

    fn refuse(&mut self, record: &Range<usize>, reason: String) {
        let reason = match reason.char_indices().nth(REASON_CHARS) {
            Some((end, _)) => format!("{}...", reason.get(..end).unwrap_or_default()),
            None => reason,
        };
        self.bad.push(BadRecord { at: record.clone(), reason });
    }
}
