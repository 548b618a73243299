//! The values that DISTINCT, and min or max under retraction, keep per group: their changes in the open epoch.
//!
//! An epoch's weights are added up per (group, value) before the state's Bag sees them: within an epoch a value may be
//! taken back before it was put in.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt64Array};
use arrow::compute::take;

use super::groups::Groups;
use crate::base::{Error, Result};
use crate::functions::{Accumulators, Arguments, Keeping};
use crate::state::{BagTable, Read};
use crate::types::{Column, EncodedRows, RowCodec, Schema, SqlType, Weights};

/// Bytes of the group's number in front of a value: marker and bigint.
const SLOT_BYTES: usize = 9;

/// One call's kept values.
pub(super) struct Kept {
    /// Which call.
    pub call: usize,
    /// Its Bag among the operator's tables: group key, value → weight.
    pub table: usize,
    /// For max and min: whether the last value is wanted, or the first. `None` for DISTINCT.
    pub extreme: Option<bool>,
    codec: RowCodec,
    /// (group, value) pairs changed in this epoch.
    pairs: Groups,
    slots: Vec<u32>,
    weights: Vec<i64>,
    /// Pairs by group, once the epoch ends.
    sorted: Vec<u32>,
    ids: Vec<u32>,
}

/// What the pairs of a range of groups do to the call's accumulators; nothing is changed by finding out.
#[derive(Default)]
pub(super) struct Effects {
    /// DISTINCT: values that appear (+1) or disappear (-1), and in which slot (within the range).
    pairs: Vec<u32>,
    weights: Vec<i64>,
    /// Min and max: slots (within the range) whose value may have gone.
    pub replaced: Vec<u32>,
}

impl Kept {
    /// For `call`, with table number `table`; `None` if it needs nothing beside its accumulator.
    pub fn new(call: usize, table: usize, keeping: &Keeping) -> Option<Kept> {
        let (value, extreme) = match keeping {
            Keeping::Accumulator => return None,
            Keeping::Distinct { value } => (value, None),
            Keeping::Extreme { value, last } => (value, Some(*last)),
        };
        let column = |name: &str, ty: SqlType| Column { name: name.to_owned(), ty, nullable: false };
        let schema = Schema::new(vec![column("group", SqlType::BigInt), column("value", value.clone())]);
        Some(Kept {
            call,
            table,
            extreme,
            codec: RowCodec::new(vec![value.clone()]),
            pairs: Groups::new(&schema, None),
            slots: Vec::new(),
            weights: Vec::new(),
            sorted: Vec::new(),
            ids: Vec::new(),
        })
    }

    /// Takes in a batch: row `i` belongs to group `groups[i]`.
    pub fn update(&mut self, arguments: &Arguments, groups: &[u32], weights: &Weights) -> Result<()> {
        let values =
            arguments.values(self.call).ok_or_else(|| Error::internal("DISTINCT, min or max has no argument"))?;
        let rows: Vec<u64> =
            (0..groups.len()).filter(|&row| arguments.counts(self.call, row)).map(|row| row as u64).collect();
        let slots = Int64Array::from_iter_values(rows.iter().map(|&row| i64::from(groups[row as usize])));
        let values = match rows.len() == groups.len() {
            true => Arc::clone(values),
            false => take(values, &UInt64Array::from(rows.clone()), None)?,
        };
        self.pairs.assign(&[Arc::new(slots), values], rows.len(), &mut self.ids)?;
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

    fn value(&self, pair: u32) -> &[u8] {
        &self.pairs.keys().row(pair as usize)[SLOT_BYTES..]
    }

    fn values(&self, pairs: &[u32]) -> Result<ArrayRef> {
        let mut columns = self.codec.decode(pairs.iter().map(|&pair| self.value(pair)))?;
        columns.pop().ok_or_else(|| Error::internal("a kept value has no column"))
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
            rows.push(self.value(pair));
        }
        bag.missing_rows(&pair_keys, &rows)
    }

    /// What the pairs of groups `from .. to` do; `new` has taken in the epoch's insertions.
    pub fn effects(
        &self,
        bag: &BagTable,
        from: usize,
        to: usize,
        keys: &EncodedRows,
        new: &Accumulators,
    ) -> Result<Effects> {
        let mut effects = Effects::default();
        let mut gone = Vec::new();
        for &pair in self.range(from, to) {
            let weight = self.weights[pair as usize];
            let before = bag.weight(keys.row(self.slot(pair, from)), self.value(pair))?;
            let after = before.saturating_add(weight);
            if after < 0 {
                return Err(Error::internal("a value was taken back from a group more often than it was put in"));
            }
            match self.extreme {
                None if (before > 0) != (after > 0) => {
                    effects.pairs.push(pair);
                    effects.weights.push(if after > 0 { 1 } else { -1 });
                }
                Some(_) if after == 0 => gone.push(pair),
                None | Some(_) => {}
            }
        }
        if !gone.is_empty() {
            let values = self.values(&gone)?;
            for (row, &pair) in gone.iter().enumerate() {
                let slot = self.slot(pair, from);
                if new.holds(self.call, slot, &values, row) {
                    effects.replaced.push(slot as u32);
                }
            }
        }
        Ok(effects)
    }

    /// Changes the bag, and the accumulators by what that means for them.
    pub fn apply(
        &self,
        bag: &mut BagTable,
        from: usize,
        to: usize,
        keys: &EncodedRows,
        effects: &Effects,
        new: &mut Accumulators,
    ) -> Result<()> {
        for &pair in self.range(from, to) {
            bag.add(keys.row(self.slot(pair, from)), self.value(pair), self.weights[pair as usize])?;
        }
        if !effects.pairs.is_empty() {
            let slots: Vec<u32> = effects.pairs.iter().map(|&pair| self.slot(pair, from) as u32).collect();
            let weights = Weights::from_vec(effects.weights.clone());
            new.update_call(self.call, &self.values(&effects.pairs)?, &slots, &weights)?;
        }
        self.replace(bag, keys, &effects.replaced, new)
    }

    fn replace(&self, bag: &BagTable, keys: &EncodedRows, slots: &[u32], new: &mut Accumulators) -> Result<()> {
        let Some(last) = self.extreme.filter(|_| !slots.is_empty()) else { return Ok(()) };
        let null = RowCodec::new(self.codec.types().to_vec())
            .encode(&[arrow::array::new_null_array(&self.codec.types()[0].arrow(), 1)])?;
        let mut rows = Vec::with_capacity(slots.len());
        for &slot in slots {
            let key = keys.row(slot as usize);
            let found = if last { bag.last(key)? } else { bag.first(key)? };
            rows.push(found.map_or_else(|| null.row(0), |(row, _)| row));
        }
        let mut columns = self.codec.decode(rows)?;
        let values = columns.pop().ok_or_else(|| Error::internal("a kept value has no column"))?;
        new.replace(self.call, slots, &values)
    }
}
