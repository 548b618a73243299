//! The accumulators of one GROUP BY: one slot per group in flat typed vectors.
//!
//! One group's state as bytes (`encode`): a version byte `01`, then its weight of rows, then each call's field in
//! order. Integers are LEB128, signed ones in zigzag.
//!
//! | call | field |
//! |---|---|
//! | `count(*)` without FILTER | nothing: it is the weight of rows |
//! | other counts | the count |
//! | sum, avg of integers and numerics | count of values, sum modulo 2^128 (signed), what is carried beyond |
//! | sum, avg of floats | count of values, then the sum: limb count × 4 + 2 if negative + 1 if special; if there are limbs: the number of the lowest (limb k weighs 2^(32k - 1088)), limbs (4 bytes each, little-endian, lowest first); if special: how many +infinity, -infinity, NaN |
//! | bool_and, bool_or, bit_and, bit_or, bit_xor | count of values, then how many are true, or have bit 0, 1, … set |
//! | variances, deviations | count of values, sum of values, sum of squares; sums as those of floats |
//! | covariances, regressions | count of pairs, sums of x, x², y, y², xy |
//! | min, max | `00` for none, or `01` and the value: integers, dates, times and numerics as integer; floats as 4 or 8 bytes little-endian; boolean 1 byte; text and bytea as length and bytes; interval as months, days, nanoseconds |
//! | first_value, last_value | as max of bytea: the kept row (what is ordered by, then the value) in the canonical encoding |
//! | string_agg, percentiles, mode | as max: the answer shown last |
//!
//! Worked value: `count(*), sum(x)` over x = 7, 7 (bigint) is `01 04 04 1c 00`.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;

use super::aggregates::{Arguments, Call, Keeping};
use super::state::State;
use super::varint::{Bytes, put_i64, take, take_i64, torn};
use crate::base::{Error, Result};
use crate::functions::fault::Evaluated;
use crate::types::Weights;

const VERSION: u8 = 1;

/// Accumulators of many groups: slot `i` is group `i`.
#[derive(Clone, Debug)]
pub struct Accumulators {
    calls: Arc<Vec<Call>>,
    states: Vec<State>,
    rows: Vec<i64>,
}

impl Accumulators {
    pub(super) fn new(calls: Arc<Vec<Call>>) -> Accumulators {
        let states = calls.iter().map(Call::state).collect();
        Accumulators { calls, states, rows: Vec::new() }
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Makes it `slots` slots; new ones are empty groups.
    pub fn resize(&mut self, slots: usize) {
        self.rows.resize(slots, 0);
        self.states.iter_mut().for_each(|state| state.resize(slots));
    }

    /// Removes the first `count` slots; the others move down.
    pub(crate) fn forget_first(&mut self, count: usize) {
        self.rows.drain(..count);
        self.states.iter_mut().for_each(|state| state.forget_first(count));
    }

    /// The weight of all rows of the group in `slot`, whatever FILTER says; the group is gone when it is zero.
    pub fn rows(&self, slot: usize) -> i64 {
        self.rows[slot]
    }

    /// Takes in a batch: row `i` belongs to slot `groups[i]`, which must exist. Calls that keep a `Distinct` or
    /// `Multiset` table are left out; those that keep an `Extreme` one take in insertions only.
    pub fn update(&mut self, arguments: &Arguments, groups: &[u32], weights: &Weights) -> Result<()> {
        if groups.len() != arguments.rows {
            return Err(Error::internal(format!("{} rows were given {} groups", arguments.rows, groups.len())));
        }
        match weights {
            Weights::Ones => groups.iter().for_each(|&slot| self.rows[slot as usize] += 1),
            Weights::Each(weights) => {
                groups.iter().zip(weights.iter()).for_each(|(&slot, weight)| self.rows[slot as usize] += weight);
            }
        }
        for call in 0..self.states.len() {
            match self.calls[call].keeping {
                Keeping::Accumulator | Keeping::Extreme { .. } => {
                    let argument = &arguments.calls[call];
                    self.add(call, &argument.columns, argument.keep.as_ref(), groups, weights)?;
                }
                Keeping::Distinct { .. } | Keeping::Multiset { .. } => {}
            }
        }
        Ok(())
    }

    /// Takes in rows of one call: row `i` of its columns belongs to slot `groups[i]`.
    pub fn update_call(&mut self, call: usize, columns: &[ArrayRef], groups: &[u32], weights: &Weights) -> Result<()> {
        self.add(call, columns, None, groups, weights)
    }

    /// As [`Accumulators::update_call`], for the rows that `keep` lets pass.
    pub(crate) fn add(
        &mut self,
        call: usize,
        columns: &[ArrayRef],
        keep: Option<&BooleanBuffer>,
        groups: &[u32],
        weights: &Weights,
    ) -> Result<()> {
        self.states[call].add(&self.calls[call], columns, keep, groups, weights)
    }

    /// Adds group `i` of `other`, made by the same [`super::Aggregates`], to slot `map[i]`, which must exist.
    pub fn merge(&mut self, other: &Accumulators, map: &[u32]) -> Result<()> {
        if map.len() != other.len() || self.states.len() != other.states.len() {
            return Err(Error::internal("accumulators of different shape cannot be merged"));
        }
        map.iter().zip(&other.rows).for_each(|(&slot, rows)| self.rows[slot as usize] += rows);
        self.states.iter_mut().zip(&other.states).try_for_each(|(mine, theirs)| mine.merge(theirs, map))
    }

    /// Whether row `row` of `values` (of [`super::Aggregates::edge`]) is the one that `call`, which keeps an
    /// `Extreme` table, has in `slot`: its retraction needs [`Accumulators::replace`].
    pub fn holds(&self, call: usize, slot: usize, values: &ArrayRef, row: usize) -> bool {
        self.states[call].holds(slot, values, row)
    }

    /// Sets what `call` has in the given slots: rows of [`super::Aggregates::edge`], or answers of
    /// [`super::Folding`]; NULL: none is left.
    pub fn replace(&mut self, call: usize, slots: &[u32], values: &ArrayRef) -> Result<()> {
        self.states[call].replace(slots, values)
    }

    /// The results of all calls for slots `from..to`: one column per call. A sum beyond its type is a fault.
    pub fn finish(&self, from: usize, to: usize) -> Result<Vec<Evaluated>> {
        let calls = self.states.iter().zip(self.calls.iter());
        calls.map(|(state, call)| state.finish(call, &self.rows, from, to)).collect()
    }

    /// Appends the state row of the group in `slot` to `out`.
    pub fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_i64(self.rows[slot], out);
        self.states.iter().for_each(|state| state.encode(slot, out));
    }

    /// Appends a slot from its state row; returns its number. Bytes that were not written by [`Accumulators::encode`]
    /// of the same calls are a `Corrupt` error, after which the accumulators must not be used.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut rest: Bytes<'_> = bytes;
        let [version] = take::<1>(&mut rest)?;
        if version != VERSION {
            return Err(Error::corrupt(format!("accumulator has format {version}, this program reads {VERSION}")));
        }
        self.rows.push(take_i64(&mut rest)?);
        self.states.iter_mut().try_for_each(|state| state.decode(&mut rest))?;
        if rest.is_empty() { Ok(self.rows.len() - 1) } else { Err(torn()) }
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * 8 + self.states.iter().map(State::bytes).sum::<usize>()
    }
}
