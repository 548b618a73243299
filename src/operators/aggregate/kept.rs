//! The rows that calls keep per group beside their accumulators: their changes in the open epoch. Calls over the same rows
//! (five percentiles of one column) keep them once.
//!
//! An epoch's weights are added up per (group, row) before the state's Bag sees them: within an epoch a row may be
//! taken back before it was put in.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt64Array, new_null_array};
use arrow::compute::{nullif, take_arrays};

use super::groups::Groups;
use crate::base::{Error, Result};
use crate::functions::{Accumulators, Aggregates, Arguments, Keeping};
use crate::state::{BagTable, Read};
use crate::types::{Column, EncodedRows, RowCodec, Schema, SqlType, Weights};

/// Bytes of the group's number in front of a value: marker and bigint.
const SLOT_BYTES: usize = 9;

/// What a call keeps its rows for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Purpose {
    /// To know when one comes and goes.
    Distinct,
    /// To find the next first one (or last one).
    Edge { last: bool },
    /// To work out the answer anew.
    Fold,
}

/// A call that reads kept rows.
#[derive(Clone, Copy)]
struct User {
    call: usize,
    purpose: Purpose,
}

/// The kept rows of one call or of several.
pub(super) struct Kept {
    /// Their Bag among the operator's tables: group key, row → weight.
    pub table: usize,
    /// The calls; at least one.
    users: Vec<User>,
    codec: RowCodec,
    /// (group, row) pairs changed in this epoch.
    pairs: Groups,
    slots: Vec<u32>,
    weights: Vec<i64>,
    /// Pairs by group, once the epoch ends.
    sorted: Vec<u32>,
    ids: Vec<u32>,
}

/// What the pairs of a range of groups do to the accumulators of each call; nothing is changed by finding out.
pub(super) struct Effects(Vec<Effect>);

#[derive(Default)]
struct Effect {
    /// DISTINCT: rows that appear (+1) or disappear (-1), and in which slot (within the range).
    pairs: Vec<u32>,
    weights: Vec<i64>,
    /// Slots (within the range) whose answer is to be found in the kept rows, in order.
    replaced: Vec<u32>,
    /// How many rows of such a slot must be read for its first (or last) one to be among them.
    depths: Vec<u32>,
}

impl Kept {
    /// For no call yet, with table number `table` of `row`s.
    pub fn new(table: usize, row: &[SqlType]) -> Kept {
        let column = |ty: &SqlType| Column { name: "kept".to_owned(), ty: ty.clone(), nullable: row.len() > 1 };
        let mut schema = Schema::new(vec![Column { name: "group".to_owned(), ty: SqlType::BigInt, nullable: false }]);
        schema.columns.extend(row.iter().map(column));
        Kept {
            table,
            users: Vec::new(),
            codec: RowCodec::new(row.to_vec()),
            pairs: Groups::new(&schema, None),
            slots: Vec::new(),
            weights: Vec::new(),
            sorted: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// Serves `call` too.
    pub fn serve(&mut self, call: usize, keeping: &Keeping) {
        let purpose = match keeping {
            Keeping::Accumulator => return,
            Keeping::Distinct { .. } => Purpose::Distinct,
            Keeping::Extreme { last, .. } => Purpose::Edge { last: *last },
            Keeping::Multiset { .. } => Purpose::Fold,
        };
        self.users.push(User { call, purpose });
    }

    /// Takes in a batch: row `i` belongs to group `groups[i]`.
    pub fn update(&mut self, arguments: &Arguments, groups: &[u32], weights: &Weights) -> Result<()> {
        let call = self.users[0].call;
        let columns = arguments.columns(call);
        let rows: Vec<u64> =
            (0..groups.len()).filter(|&row| arguments.counts(call, row)).map(|row| row as u64).collect();
        let slots = Int64Array::from_iter_values(rows.iter().map(|&row| i64::from(groups[row as usize])));
        let mut keyed: Vec<ArrayRef> = vec![Arc::new(slots)];
        match rows.len() == groups.len() {
            true => keyed.extend(columns.iter().cloned()),
            false => keyed.extend(take_arrays(columns, &UInt64Array::from(rows.clone()), None)?),
        }
        self.pairs.assign(&keyed, rows.len(), &mut self.ids)?;
        self.slots.resize(self.pairs.len(), 0);
        self.weights.resize(self.pairs.len(), 0);
        for (&pair, &row) in self.ids.iter().zip(&rows) {
            self.slots[pair as usize] = groups[row as usize];
            let sum = &mut self.weights[pair as usize];
            *sum = sum.saturating_add(weights.get(row as usize));
        }
        Ok(())
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.pairs.bytes() + (self.slots.capacity() + self.sorted.capacity()) * 4 + self.weights.capacity() * 8
    }

    /// Orders the pairs by group: what the calls below need.
    pub fn sort(&mut self) {
        self.sorted = (0..self.pairs.len() as u32).collect();
        let slots = &self.slots;
        self.sorted.sort_unstable_by_key(|&pair| slots[pair as usize]);
    }

    /// Forgets the epoch.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.slots = Vec::new();
        self.weights = Vec::new();
        self.sorted = Vec::new();
    }

    fn range(&self, from: usize, to: usize) -> &[u32] {
        let place = |slot: usize| self.sorted.partition_point(|&pair| (self.slots[pair as usize] as usize) < slot);
        &self.sorted[place(from)..place(to)]
    }

    fn row(&self, pair: u32) -> &[u8] {
        &self.pairs.keys().row(pair as usize)[SLOT_BYTES..]
    }

    fn columns(&self, pairs: &[u32]) -> Result<Vec<ArrayRef>> {
        self.codec.decode(pairs.iter().map(|&pair| self.row(pair)))
    }

    fn slot(&self, pair: u32, from: usize) -> usize {
        self.slots[pair as usize] as usize - from
    }

    /// The reads needed for the pairs of groups `from .. to`, whose keys are `keys`.
    pub fn missing(&self, bag: &BagTable, from: usize, to: usize, keys: &EncodedRows) -> Option<Read> {
        let pairs = self.range(from, to);
        let mut pair_keys = EncodedRows::with_capacity(pairs.len(), 0);
        let mut rows = EncodedRows::with_capacity(pairs.len(), 0);
        for &pair in pairs {
            pair_keys.push(keys.row(self.slot(pair, from)));
            rows.push(self.row(pair));
        }
        bag.missing_rows(&pair_keys, &rows)
    }

    /// What the pairs of groups `from .. to` do; `new` has taken in the epoch's insertions. `shows`: for which slots
    /// answers are needed that were not kept so far; `None` where they were.
    pub fn effects(
        &self,
        bag: &BagTable,
        (from, to): (usize, usize),
        keys: &EncodedRows,
        (aggregates, new): (&Aggregates, &Accumulators),
        shows: Option<&[bool]>,
    ) -> Result<Effects> {
        let (mut turned, mut signs, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for &pair in self.range(from, to) {
            let weight = self.weights[pair as usize];
            let before = bag.weight(keys.row(self.slot(pair, from)), self.row(pair))?;
            let after = before.saturating_add(weight);
            if after < 0 {
                return Err(Error::internal("a value was taken back from a group more often than it was put in"));
            }
            if (before > 0) != (after > 0) {
                turned.push(pair);
                signs.push(if after > 0 { 1 } else { -1 });
            }
            if after == 0 {
                gone.push(pair);
            }
        }
        let effect = |user: &User| match user.purpose {
            Purpose::Distinct => Ok(Effect { pairs: turned.clone(), weights: signs.clone(), ..Effect::default() }),
            Purpose::Edge { .. } => self.edges(user.call, &gone, from, (aggregates, new)),
            Purpose::Fold => {
                let mut replaced: Vec<u32> = match shows {
                    Some(shows) => (0..(to - from) as u32).filter(|&slot| shows[slot as usize]).collect(),
                    None => {
                        let changed = self.range(from, to).iter().filter(|&&pair| self.weights[pair as usize] != 0);
                        changed.map(|&pair| self.slot(pair, from) as u32).collect()
                    }
                };
                replaced.dedup();
                Ok(Effect { replaced, ..Effect::default() })
            }
        };
        self.users.iter().map(effect).collect::<Result<_>>().map(Effects)
    }

    /// Finds the slots whose first (or last) row goes, and how deep the next one may lie: behind all that go.
    fn edges(
        &self,
        call: usize,
        gone: &[u32],
        from: usize,
        (aggregates, new): (&Aggregates, &Accumulators),
    ) -> Result<Effect> {
        let mut effect = Effect::default();
        if gone.is_empty() {
            return Ok(effect);
        }
        let values = aggregates.edge(call, &self.columns(gone)?)?;
        let mut at = 0;
        // Pairs come by slot.
        for same in gone.chunk_by(|a, b| self.slot(*a, from) == self.slot(*b, from)) {
            let slot = self.slot(same[0], from);
            if (at..at + same.len()).any(|row| new.holds(call, slot, &values, row)) {
                effect.replaced.push(slot as u32);
                effect.depths.push(same.len() as u32 + 1);
            }
            at += same.len();
        }
        Ok(effect)
    }

    /// The reads needed before [`Kept::apply`]: of the rows in which answers are found.
    pub fn missing_rows(&self, bag: &BagTable, keys: &EncodedRows, effects: &Effects) -> Vec<Read> {
        let reads = self.users.iter().zip(&effects.0).filter_map(|(user, effect)| {
            let mut whole = EncodedRows::with_capacity(effect.replaced.len(), 0);
            effect.replaced.iter().for_each(|&slot| whole.push(keys.row(slot as usize)));
            match user.purpose {
                Purpose::Distinct => None,
                Purpose::Edge { last } => bag.missing_ends(&whole, &effect.depths, last),
                Purpose::Fold => bag.missing(&whole),
            }
        });
        reads.collect()
    }

    /// Changes the bag, and the accumulators by what that means for them.
    pub fn apply(
        &self,
        bag: &mut BagTable,
        (from, to): (usize, usize),
        keys: &EncodedRows,
        effects: &Effects,
        (aggregates, new): (&Aggregates, &mut Accumulators),
    ) -> Result<()> {
        for &pair in self.range(from, to) {
            bag.add(keys.row(self.slot(pair, from)), self.row(pair), self.weights[pair as usize])?;
        }
        for (user, effect) in self.users.iter().zip(&effects.0) {
            if !effect.pairs.is_empty() {
                let slots: Vec<u32> = effect.pairs.iter().map(|&pair| self.slot(pair, from) as u32).collect();
                let weights = Weights::from_vec(effect.weights.clone());
                new.update_call(user.call, &self.columns(&effect.pairs)?, &slots, &weights)?;
            }
            match user.purpose {
                Purpose::Distinct => {}
                Purpose::Edge { last } => {
                    self.next_edges(bag, keys, (user.call, &effect.replaced, last), (aggregates, new))?;
                }
                Purpose::Fold => fold(user.call, bag, keys, &effect.replaced, (aggregates, new))?,
            }
        }
        Ok(())
    }

    /// Has the answers that are always worked out anew worked out for `slots`, whose keys are rows of `keys`.
    pub fn fold(
        &self,
        bag: &BagTable,
        keys: &EncodedRows,
        slots: &[u32],
        (aggregates, new): (&Aggregates, &mut Accumulators),
    ) -> Result<()> {
        let mut folds = self.users.iter().filter(|user| user.purpose == Purpose::Fold);
        folds.try_for_each(|user| fold(user.call, bag, keys, slots, (aggregates, new)))
    }

    fn next_edges(
        &self,
        bag: &BagTable,
        keys: &EncodedRows,
        (call, slots, last): (usize, &[u32], bool),
        (aggregates, new): (&Aggregates, &mut Accumulators),
    ) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let nothing: Vec<ArrayRef> = self.codec.types().iter().map(|ty| new_null_array(&ty.arrow(), 1)).collect();
        let nothing = self.codec.encode(&nothing)?;
        let mut rows = Vec::with_capacity(slots.len());
        let mut none = Vec::with_capacity(slots.len());
        for &slot in slots {
            let key = keys.row(slot as usize);
            let found = if last { bag.last(key)? } else { bag.first(key)? };
            none.push(found.is_none());
            rows.push(found.map_or_else(|| nothing.row(0), |(row, _)| row));
        }
        let values = aggregates.edge(call, &self.codec.decode(rows)?)?;
        new.replace(call, slots, &nullif(&values, &BooleanArray::from(none))?)
    }
}

fn fold(
    call: usize,
    bag: &BagTable,
    keys: &EncodedRows,
    slots: &[u32],
    (aggregates, new): (&Aggregates, &mut Accumulators),
) -> Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    let mut folding = aggregates.folding(call)?;
    for &slot in slots {
        folding.group(bag.rows(keys.row(slot as usize))?.filter(|&(_, weight)| weight > 0))?;
    }
    new.replace(call, slots, &folding.finish()?)
}
