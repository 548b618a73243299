//! Interval joins, and joins of windows: conditions that hold two times of event time together, so that state is freed.
//!
//! # Which gate makes the law hold
//!
//! The pair's condition says `left + low <= right <= left + high` for a time of each side (equality of windows: both 0).
//! A side is *sealed* at (column, shift) when every change that comes after an epoch whose watermark was *W* has
//! `column + shift > W`. A gate seals a source: it judges each row against the watermark of the row's **own** split
//! when it was read, which is never below the watermark of an earlier epoch; what passes has `time + 1 > W`, that is, it
//! is not behind the watermark. (So a row is late exactly when it comes behind its own split's watermark: a function of
//! the split alone, as everywhere.) A window aggregate over gated rows is sealed at its window's end.
//!
//! A left row *l* can be freed once the right watermark has reached `l + high + right shift`: a partner *r* that came later
//! would have `r <= l + high`, hence `r + right shift <= W`, and no change like that comes any more. In the mirror, *r* is
//! freed at `r - low + left shift`. Where a side takes rows back (a window that is revised), its rows also wait for their
//! own watermark, since the retraction must still find its partners. So both sides are gated, and only if both can be;
//! with one side alone, nothing could be freed and nothing is refused as late.
//!
//! Pairs are shown when they are found. A row of an outer join without a match is shown beside NULLs at once, and taken
//! back when the match comes: each epoch shows the current answer.

use std::collections::BTreeMap;

use super::Lowering;
use crate::base::Result;
use crate::dataflow::WatermarkExpr;
use crate::operators::{Band, Due};
use crate::plan::build::{Builder, Stream};

/// Two times that a join's condition holds together, by column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Together {
    left: usize,
    right: usize,
    /// `left + low <= right <= left + high`.
    low: i64,
    high: i64,
    /// What the sides are sealed at.
    shifts: [i64; 2],
}

impl Together {
    /// When rows are freed.
    pub fn due(&self, revised: [bool; 2]) -> [Due; 2] {
        let own = |side: usize| revised[side].then_some(self.shifts[side]);
        [
            Due { column: self.left, partner_us: self.high.saturating_add(self.shifts[1]), own_us: own(0) },
            Due { column: self.right, partner_us: self.shifts[0].saturating_sub(self.low), own_us: own(1) },
        ]
    }

    /// The columns of the output (the right ones from `offset` on) that it is sealed at.
    pub fn windows(&self, offset: usize) -> BTreeMap<usize, i64> {
        let [left, right] = self.shifts;
        [
            (self.left, left.max(self.high.saturating_add(right))),
            (offset + self.right, right.max(left.saturating_sub(self.low))),
        ]
        .into()
    }
}

/// What a stream is sealed at in `column`, or could be by a gate.
pub(super) fn seal_of(builder: &Builder, stream: &Stream, column: usize) -> Option<i64> {
    if stream.watermark == WatermarkExpr::None {
        return None;
    }
    match stream.windows.get(&column) {
        Some(&shift) if stream.sealed || stream.hidden => Some(shift),
        _ if stream.sealed => None,
        _ => (stream.event_time == Some(column) && builder.can_carry(stream)).then_some(1),
    }
}

impl Lowering {
    /// Seals both sides of a join at times that its condition holds together, if there are such.
    pub(super) fn seal(
        &mut self,
        left: Stream,
        right: Stream,
        on: &[(usize, usize)],
        band: Option<&Band>,
    ) -> Result<(Stream, Stream, Vec<Together>)> {
        let equal = on.iter().map(|&(l, r)| (l, r, 0, 0));
        let ranged = band.and_then(|band| Some((band.left, band.right, band.low?, band.high?)));
        let together = |(l, r, low, high): (usize, usize, i64, i64)| {
            let time = |stream: &Stream, i: usize| stream.schema.columns.get(i).is_some_and(|c| c.ty.is_timestamp());
            if !time(&left, l) || !time(&right, r) {
                return None;
            }
            let shifts = [seal_of(&self.builder, &left, l)?, seal_of(&self.builder, &right, r)?];
            Some(Together { left: l, right: r, low, high, shifts })
        };
        let all: Vec<Together> = equal.chain(ranged).filter_map(together).collect();
        // A window's end (shift 0) before its start: both say the same, and the end needs no sum.
        let Some(first) = all.iter().min_by_key(|one| one.shifts[0].max(one.shifts[1])).copied() else {
            return Ok((left, right, Vec::new()));
        };
        let left = self.sealed(left, first.left, first.shifts[0])?;
        let right = self.sealed(right, first.right, first.shifts[1])?;
        let kept = |one: &Together| {
            left.windows.get(&one.left) == Some(&one.shifts[0]) && right.windows.get(&one.right) == Some(&one.shifts[1])
        };
        let mut others: Vec<Together> = all.into_iter().filter(kept).collect();
        others.sort_by_key(|one| (one.left, one.right) != (first.left, first.right));
        Ok((left, right, others))
    }

    pub(super) fn sealed(&mut self, mut stream: Stream, column: usize, shift: i64) -> Result<Stream> {
        if stream.sealed {
            return Ok(stream);
        }
        if !self.builder.carry_watermark(&mut stream)? {
            return Ok(stream);
        }
        self.gated(stream, column, shift)
    }
}
