//! A cluster: rows of one key that are within the gap of each other, counting those before an epoch's change and those
//! after it. Whatever session a change can touch lies in the cluster around it.

use crate::base::{Error, Result};
use crate::operators::instant::{time_key, time_of};
use crate::state::BagTable;

/// A row with its weight before and after the change.
pub(super) struct Row {
    bytes: Vec<u8>,
    time: i64,
    pub old: i64,
    pub new: i64,
}

/// Rows in order, no two neighbours further apart than the gap.
pub(super) struct Cluster {
    rows: Vec<Row>,
    gap: i64,
}

impl Cluster {
    /// The cluster around the first of `deltas` (sorted), and how many of them lie in it.
    pub fn around(bag: &BagTable, key: &[u8], deltas: &[(&[u8], i64)], gap: i64) -> Result<(Cluster, usize)> {
        let mut first = match deltas.first() {
            Some((row, _)) => time_of(row)?,
            None => return Ok((Cluster { rows: Vec::new(), gap }, 0)),
        };
        while let Some((row, _)) = bag.last_below(key, &time_key(first))? {
            let time = time_of(row)?;
            if first - time > gap {
                break;
            }
            first = time;
        }
        let from = time_key(first);
        let mut kept = bag.rows_from(key, &from)?.peekable();
        let mut taken = 0;
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let delta = deltas.get(taken);
            let (bytes, old, new) = match (kept.peek(), delta) {
                (None, None) => break,
                (Some((row, weight)), Some((change, by))) if row == change => (*row, *weight, weight + by),
                (Some((row, weight)), Some((change, _))) if row < change => (*row, *weight, *weight),
                (Some((row, weight)), None) => (*row, *weight, *weight),
                (_, Some((change, by))) => (*change, 0, *by),
            };
            let time = time_of(bytes)?;
            if rows.last().is_some_and(|last| time - last.time > gap) {
                break;
            }
            if new < 0 {
                return Err(Error::internal("a row was taken back from a session more often than it was put in"));
            }
            if kept.peek().is_some_and(|(row, _)| *row == bytes) {
                kept.next();
            }
            taken += usize::from(delta.is_some_and(|(change, _)| *change == bytes));
            rows.push(Row { bytes: bytes.to_vec(), time, old, new });
        }
        Ok((Cluster { rows, gap }, taken))
    }

    /// The sessions of the rows that `weight` says are there: first time and end.
    pub fn sessions(&self, weight: impl Fn(&Row) -> i64) -> Vec<(i64, i64)> {
        let mut sessions: Vec<(i64, i64)> = Vec::new();
        for row in self.rows.iter().filter(|row| weight(row) > 0) {
            match sessions.last_mut() {
                Some((_, end)) if row.time <= *end => *end = row.time + self.gap,
                _ => sessions.push((row.time, row.time + self.gap)),
            }
        }
        sessions
    }

    /// Calls `change` with each row whose weight or window changes, its window, and the change of weight.
    pub fn each_change(
        &self,
        before: &[(i64, i64)],
        after: &[(i64, i64)],
        mut change: impl FnMut(&[u8], (i64, i64), i64),
    ) {
        let window = |sessions: &[(i64, i64)], time: i64| {
            let place = sessions.partition_point(|(start, _)| *start <= time);
            place.checked_sub(1).map_or((time, time), |place| sessions[place])
        };
        for row in &self.rows {
            let (old, new) = (window(before, row.time), window(after, row.time));
            if old == new {
                change(&row.bytes, new, row.new - row.old);
            } else {
                change(&row.bytes, old, -row.old);
                change(&row.bytes, new, row.new);
            }
        }
    }
}
