//! The end of an epoch, in slices: changed groups are merged into the state, closed windows are freed.

use super::kept::Effects;
use super::{Aggregate, Emit, GROUPS, Phase};
use crate::base::{Error, Result};
use crate::functions::Accumulators;
use crate::operators::{Flow, Output, SLICE_ROWS};
use crate::state::{OperatorState, Read};
use crate::types::EncodedRows;

/// Changed groups `from .. to` on their way into the state.
struct Slice {
    from: usize,
    to: usize,
    keys: EncodedRows,
    /// The window's end of each, if windows close.
    orders: EncodedRows,
    stored: Vec<bool>,
    /// Whether its window has closed: it is shown a last time and freed.
    closing: Vec<bool>,
    old: Accumulators,
    new: Accumulators,
}

fn copy(rows: &EncodedRows, from: usize, to: usize) -> EncodedRows {
    let mut part = EncodedRows::with_capacity(to - from, 0);
    (from..to).for_each(|row| part.push(rows.row(row)));
    part
}

impl Aggregate {
    /// Merges the next slice of changed groups. `Done` when it was the last.
    pub(super) fn merge_slice(
        &mut self,
        from: usize,
        bound: &[u8],
        state: &mut OperatorState,
        out: &mut Output,
    ) -> Result<Flow> {
        let to = (from + SLICE_ROWS).min(self.groups.len());
        if from == to {
            return Ok(Flow::Done);
        }
        let keys = copy(self.groups.keys(), from, to);
        let windowed = self.spec.window().is_some();
        let orders = if windowed { copy(self.groups.orders(), from, to) } else { EncodedRows::default() };
        let reads = self.reads(from, to, &keys, &orders, state)?;
        if !reads.is_empty() {
            return Ok(Flow::Fetch(reads));
        }
        let mut slice = self.load(from, to, keys, orders, bound, state)?;
        let (effects, reads) = self.effects(&slice, state)?;
        if !reads.is_empty() {
            return Ok(Flow::Fetch(reads));
        }
        // From here on everything is in memory, and the state may change.
        for (kept, effects) in self.kept.iter().zip(&effects) {
            let bag = state.bag(kept.table)?;
            kept.apply(bag, (from, to), &slice.keys, effects, (&self.aggregates, &mut slice.new))?;
        }
        self.show(&slice, out)?;
        self.store(&slice, state)?;
        if to == self.groups.len() {
            return Ok(Flow::Done);
        }
        self.phase = Phase::Merging(to);
        Ok(Flow::More)
    }

    fn reads(
        &self,
        from: usize,
        to: usize,
        keys: &EncodedRows,
        orders: &EncodedRows,
        state: &mut OperatorState,
    ) -> Result<Vec<Read>> {
        let groups = match self.spec.window() {
            None => state.map(GROUPS)?.missing(keys),
            Some(_) => state.ordered(GROUPS)?.missing(orders, keys),
        };
        let mut reads: Vec<Read> = groups.into_iter().collect();
        for kept in &self.kept {
            reads.extend(kept.missing(state.bag(kept.table)?, from, to, keys));
        }
        Ok(reads)
    }

    /// Reads what is stored of the groups and adds the epoch's part.
    fn load(
        &self,
        from: usize,
        to: usize,
        keys: EncodedRows,
        orders: EncodedRows,
        bound: &[u8],
        state: &mut OperatorState,
    ) -> Result<Slice> {
        let mut old = self.aggregates.accumulators();
        let mut stored = Vec::with_capacity(to - from);
        let mut closing = Vec::with_capacity(to - from);
        for slot in 0..to - from {
            let bytes = match self.spec.window() {
                None => state.map(GROUPS)?.get(keys.row(slot))?,
                Some(_) => {
                    let order = orders.row(slot);
                    if order <= self.closed.as_slice() {
                        return Err(freed());
                    }
                    closing.push(order <= bound);
                    state.ordered(GROUPS)?.get(order, keys.row(slot))?
                }
            };
            stored.push(bytes.is_some());
            match bytes {
                Some(bytes) => {
                    old.decode(bytes)?;
                }
                None => old.resize(slot + 1),
            }
        }
        closing.resize(to - from, false);
        let mut new = old.clone();
        let slots: Vec<u32> = (0..(to - from) as u32).collect();
        if from == 0 && to == self.partial.len() {
            new.merge(&self.partial, &slots)?;
        } else {
            new.merge(&self.part(from, to)?, &slots)?;
        }
        if let Some(slot) = (0..new.len()).find(|&slot| new.rows(slot) < 0) {
            return Err(Error::internal("rows were taken back from a group more often than they were put in")
                .with_detail(format!("The group's rows add up to {}.", new.rows(slot))));
        }
        Ok(Slice { from, to, keys, orders, stored, closing, old, new })
    }

    /// Groups `from .. to` of the epoch's part by themselves.
    fn part(&self, from: usize, to: usize) -> Result<Accumulators> {
        let mut part = self.aggregates.accumulators();
        let mut bytes = Vec::new();
        for slot in from..to {
            bytes.clear();
            self.partial.encode(slot, &mut bytes);
            part.decode(&bytes)?;
        }
        Ok(part)
    }

    /// What the kept values do, and the reads that doing it needs.
    fn effects(&self, slice: &Slice, state: &mut OperatorState) -> Result<(Vec<Effects>, Vec<Read>)> {
        let (mut all, mut reads) = (Vec::with_capacity(self.kept.len()), Vec::new());
        let shows = match self.spec.emit {
            Emit::Changes => None,
            Emit::WindowClose { .. } => Some(slice.closing.as_slice()),
        };
        let mut closing = EncodedRows::default();
        (0..slice.keys.len()).filter(|&slot| slice.closing[slot]).for_each(|slot| closing.push(slice.keys.row(slot)));
        for kept in &self.kept {
            let bag = state.bag(kept.table)?;
            let range = (slice.from, slice.to);
            let effects = kept.effects(bag, range, &slice.keys, (&self.aggregates, &slice.new), shows)?;
            reads.extend(kept.missing_rows(bag, &slice.keys, &effects));
            reads.extend(bag.missing(&closing));
            all.push(effects);
        }
        Ok((all, reads))
    }

    fn show(&self, slice: &Slice, out: &mut Output) -> Result<()> {
        let whole = self.spec.keys.is_empty();
        let is: Vec<bool> = (0..slice.keys.len()).map(|slot| whole || slice.new.rows(slot) > 0).collect();
        match self.spec.emit {
            Emit::Changes => self.showing.changes(&slice.keys, (&slice.old, &slice.stored), (&slice.new, &is), out),
            Emit::WindowClose { .. } => {
                let is: Vec<bool> = is.iter().zip(&slice.closing).map(|(&is, &closing)| is && closing).collect();
                self.showing.insertions(&slice.keys, &slice.new, &is, out)
            }
        }
    }

    fn store(&self, slice: &Slice, state: &mut OperatorState) -> Result<()> {
        let whole = self.spec.keys.is_empty();
        let mut bytes = Vec::new();
        for slot in 0..slice.keys.len() {
            let key = slice.keys.row(slot);
            let stays = (whole || slice.new.rows(slot) > 0) && !slice.closing[slot];
            if slice.closing[slot] {
                for kept in &self.kept {
                    state.bag(kept.table)?.delete_key(key)?;
                }
            }
            bytes.clear();
            slice.new.encode(slot, &mut bytes);
            match (self.spec.window(), stays) {
                (None, true) => state.map(GROUPS)?.put(key, &bytes)?,
                (None, false) => state.map(GROUPS)?.delete(key)?,
                (Some(_), true) => state.ordered(GROUPS)?.put(slice.orders.row(slot), key, &bytes)?,
                (Some(_), false) => state.ordered(GROUPS)?.delete(slice.orders.row(slot), key)?,
            }
        }
        Ok(())
    }

    /// Frees the next groups whose window has closed, showing them if that is when they are shown.
    pub(super) fn close_slice(&mut self, bound: &[u8], state: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        if self.spec.window().is_none() || bound.is_empty() {
            return Ok(Flow::Done);
        }
        let groups = state.ordered(GROUPS)?;
        if groups.first_order().is_none_or(|first| first > bound) {
            return Ok(Flow::Done);
        }
        if let Some(read) = groups.missing_through(bound) {
            return Ok(Flow::Fetch(vec![read]));
        }
        if !self.kept.is_empty() {
            let mut keys = EncodedRows::default();
            groups.each_through(bound, |_, key, _| {
                keys.push(key);
                Ok(())
            })?;
            let mut reads = Vec::new();
            for kept in &self.kept {
                reads.extend(state.bag(kept.table)?.missing(&keys));
            }
            if !reads.is_empty() {
                return Ok(Flow::Fetch(reads));
            }
        }
        let mut keys = EncodedRows::default();
        let mut last = self.aggregates.accumulators();
        let shows = match self.spec.emit {
            Emit::Changes => false,
            Emit::WindowClose { .. } => true,
        };
        let left = state.ordered(GROUPS)?.take_through(bound, SLICE_ROWS, |_, key, value| {
            keys.push(key);
            if shows {
                last.decode(value)?;
            }
            Ok(())
        })?;
        for kept in &self.kept {
            let bag = state.bag(kept.table)?;
            if shows {
                let slots: Vec<u32> = (0..keys.len() as u32).collect();
                kept.fold(bag, &keys, &slots, (&self.aggregates, &mut last))?;
            }
            keys.iter().try_for_each(|key| bag.delete_key(key))?;
        }
        if shows {
            let is: Vec<bool> = (0..last.len()).map(|slot| last.rows(slot) > 0).collect();
            self.showing.insertions(&keys, &last, &is, out)?;
        }
        Ok(if left { Flow::More } else { Flow::Done })
    }
}

fn freed() -> Error {
    Error::internal("a row came for a window that was closed and freed")
        .with_detail("The watermark had reached the window's end, so the gate should have called the row late.")
}
