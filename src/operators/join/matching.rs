//! Which rows have a match, and what is shown when that changes.

use super::SLICE_BYTES;
use super::side::{Arriving, Matching, Shown};
use super::work::{Join, too_often};
use crate::base::Result;
use crate::operators::{Output, SLICE_ROWS};
use crate::state::{BagTable, OperatorState};
use crate::types::EncodedRows;

/// Rows of the other side that arriving rows have matched.
#[derive(Default)]
pub(super) struct Hits {
    arriving: Vec<usize>,
    others: EncodedRows,
}

impl Hits {
    pub fn push(&mut self, arriving: usize, other: &[u8]) {
        self.arriving.push(arriving);
        self.others.push(other);
    }
}

/// Rows of one side whose match has come or gone.
#[derive(Default)]
struct Turns<'a> {
    keys: Vec<&'a [u8]>,
    rests: Vec<&'a [u8]>,
    weights: Vec<i64>,
    bytes: usize,
}

impl Shown {
    /// The sign with which a row appears when it gets its first match (`matched`) or loses its last.
    fn sign(self, matched: bool) -> i64 {
        match (self, matched) {
            (Shown::Matched, true) | (Shown::Unmatched, false) => 1,
            (Shown::Matched, false) | (Shown::Unmatched, true) => -1,
        }
    }
}

impl Join {
    /// Adds what a slice of pairs has matched to the counts of the other side's rows, and shows what that changes.
    pub(super) fn count_hits(
        &self,
        open: &Arriving,
        hits: Hits,
        state: &mut OperatorState,
        out: &mut Output,
    ) -> Result<()> {
        let other = 1 - open.port;
        let (Some(matches), Some(shown)) = (self.places.matches[other], self.sides[other].shown) else {
            return Ok(());
        };
        let row = |hit: usize| (open.keys.row(hits.arriving[hit]), hits.others.row(hit));
        let mut order: Vec<usize> = (0..hits.arriving.len()).collect();
        order.sort_unstable_by(|&a, &b| row(a).cmp(&row(b)));
        let mut turns = Turns::default();
        for same in order.chunk_by(|&a, &b| row(a) == row(b)) {
            let (key, rest) = row(same[0]);
            let added = same.iter().try_fold(0i64, |sum, &hit| {
                sum.checked_add(open.batch.weights.get(hits.arriving[hit])).ok_or_else(too_often)
            })?;
            if added == 0 {
                continue;
            }
            let after = state.bag(matches)?.add(key, rest, added)?;
            let before = after - added;
            if (before == 0) != (after == 0) {
                let times = state.bag(other)?.weight(key, rest)?;
                turns.push(key, rest, shown.sign(after != 0) * times);
            }
        }
        self.show_turns(other, turns, out)
    }

    fn show_turns(&self, side: usize, turns: Turns<'_>, out: &mut Output) -> Result<()> {
        if turns.weights.is_empty() {
            return Ok(());
        }
        let columns = self.sides[side].decode(turns.keys, turns.rests)?;
        self.show(side, columns, turns.weights, out)
    }

    /// Puts the open batch into its side's state, shows its own single rows, and notes the keys that came or went.
    pub(super) fn keep(&self, open: &mut Arriving, state: &mut OperatorState, out: &mut Output) -> Result<()> {
        self.show_arriving(open, state, out)?;
        let firsts = match self.sides[1 - open.port].matching {
            Matching::ByKey => first_of_each_key(&open.keys),
            Matching::Counted | Matching::Unknown => Vec::new(),
        };
        let own = state.bag(open.port)?;
        let before = present(own, open, &firsts)?;
        match self.places.matches[open.port] {
            None => own.add_batch(&open.keys, &open.rests, &open.batch.weights)?,
            Some(matches) => keep_counted(open, matches, state)?,
        }
        let after = present(state.bag(open.port)?, open, &firsts)?;
        let changed = firsts.iter().zip(before.into_iter().zip(after));
        let turned = changed.filter(|(_, (before, after))| before != after).map(|(&row, (_, after))| (row, after));
        open.turned = Some(turned.collect());
        open.row = 0;
        if let (Some(times), Some(place)) =
            (self.sides[open.port].times(open.batch.rows.columns())?, self.places.due[open.port])
        {
            let due = state.ordered(place)?;
            times.iter().zip(open.keys.iter()).try_for_each(|(time, key)| due.put(time, key, &[]))?;
        }
        Ok(())
    }

    /// Shows those rows of the open batch that are shown by themselves.
    fn show_arriving(&self, open: &Arriving, state: &mut OperatorState, out: &mut Output) -> Result<()> {
        let side = &self.sides[open.port];
        let Some(shown) = side.shown else { return Ok(()) };
        let other = state.bag(1 - open.port)?;
        let mut rows = Vec::new();
        for row in 0..open.batch.len() {
            let matched = match side.matching {
                Matching::ByKey => is_present(other, open.keys.row(row))?,
                Matching::Counted | Matching::Unknown => open.counts.get(row).is_some_and(|&count| count != 0),
            };
            if shown.sign(matched) > 0 {
                rows.push(row as u64);
            }
        }
        let batch = if rows.len() == open.batch.len() { open.batch.clone() } else { open.batch.take(&rows)? };
        if batch.is_empty() {
            return Ok(());
        }
        let weights = (0..batch.len()).map(|row| batch.weights.get(row)).collect();
        self.show(open.port, batch.rows.columns().to_vec(), weights, out)
    }

    /// Shows what changed of the other side's rows because keys came or went on this one, until a slice is full;
    /// whether some are left.
    pub(super) fn turn_slice(&self, open: &mut Arriving, state: &mut OperatorState, out: &mut Output) -> Result<bool> {
        let side = 1 - open.port;
        let (Some(turned), Some(shown)) = (&open.turned, self.sides[side].shown) else { return Ok(false) };
        let other = &*state.bag(side)?;
        let mut turns = Turns::default();
        let from = std::mem::take(&mut open.from);
        let mut start: &[u8] = &from;
        while let Some(&(row, matched)) = turned.get(open.row) {
            let key = open.keys.row(row);
            for (rest, times) in other.rows_from(key, start)? {
                if turns.weights.len() >= SLICE_ROWS || turns.bytes >= SLICE_BYTES {
                    open.from = rest.to_vec();
                    self.show_turns(side, turns, out)?;
                    return Ok(true);
                }
                turns.push(key, rest, shown.sign(matched) * times);
            }
            start = &[];
            open.row += 1;
        }
        self.show_turns(side, turns, out)?;
        Ok(false)
    }
}

impl<'a> Turns<'a> {
    fn push(&mut self, key: &'a [u8], rest: &'a [u8], weight: i64) {
        self.bytes += key.len() + rest.len();
        self.keys.push(key);
        self.rests.push(rest);
        self.weights.push(weight);
    }
}

/// Keeps the rows of a side whose matches are counted: a row that comes brings its count, one that goes takes it away.
fn keep_counted(open: &Arriving, matches: usize, state: &mut OperatorState) -> Result<()> {
    for (row, (key, rest)) in open.keys.iter().zip(open.rests.iter()).enumerate() {
        let weight = open.batch.weights.get(row);
        let after = state.bag(open.port)?.add(key, rest, weight)?;
        let matches = state.bag(matches)?;
        if after == weight {
            matches.add(key, rest, open.counts[row])?;
        }
        if after == 0 {
            let count = matches.weight(key, rest)?;
            matches.add(key, rest, -count)?;
        }
    }
    Ok(())
}

fn is_present(bag: &BagTable, key: &[u8]) -> Result<bool> {
    Ok(bag.rows(key)?.next().is_some())
}

fn present(bag: &BagTable, open: &Arriving, rows: &[usize]) -> Result<Vec<bool>> {
    rows.iter().map(|&row| is_present(bag, open.keys.row(row))).collect()
}

/// One row of each distinct key.
fn first_of_each_key(keys: &EncodedRows) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_unstable_by(|&a, &b| keys.row(a).cmp(keys.row(b)));
    order.dedup_by(|a, b| keys.row(*a) == keys.row(*b));
    order
}
