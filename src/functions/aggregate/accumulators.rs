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
//! | sum, avg of floats | count of values, then limb count × 4 + 2 if negative + 1 if special; if there are limbs: the number of the lowest (limb k weighs 2^(32k - 1088)), limbs (4 bytes each, little-endian, lowest first); if special: how many +infinity, -infinity, NaN |
//! | min, max | `00` for none, or `01` and the value: integers, dates, times and numerics as integer; floats as 4 or 8 bytes little-endian; boolean 1 byte; text and bytea as length and bytes; interval as months, days, nanoseconds |
//!
//! Worked value: `count(*), sum(x)` over x = 7, 7 (bigint) is `01 04 04 1c 00`.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;

use super::call::{AggregateCall, AggregateFunction};
use super::extreme::Extremes;
use super::float_sum::FloatSum;
use super::sums::{Rows, add_floats, add_whole, finish_floats, finish_whole, merge_counts};
use super::varint::{Bytes, put_i64, take, take_i64, torn};
use super::wide::Wide;
use crate::base::{Error, Result};
use crate::functions::compiled::Compiled;
use crate::functions::fault::{Evaluated, Faults};
use crate::types::{Schema, SqlType, Weights};

const VERSION: u8 = 1;

/// What a call needs beside its accumulator.
#[derive(Clone, Debug, PartialEq)]
pub enum Keeping {
    /// Nothing.
    Accumulator,
    /// A `Bag` table (group key, value) → weight. When a value's weight leaves or reaches zero, its appearance or
    /// disappearance is told to [`Accumulators::update_call`] with weight +1 or -1.
    Distinct {
        /// The type of the values.
        value: SqlType,
    },
    /// A `Bag` table (group key, value) → weight. [`Accumulators::update`] takes in insertions; a retraction of the
    /// value that the slot [holds](Accumulators::holds) needs the first (or last) value still present, told by
    /// [`Accumulators::replace`].
    Extreme {
        /// The type of the values.
        value: SqlType,
        /// Whether the last value is wanted: max.
        last: bool,
    },
}

/// The calls of one GROUP BY, compiled.
#[derive(Clone, Debug)]
pub struct Aggregates {
    calls: Vec<Call>,
}

#[derive(Clone, Debug)]
struct Call {
    function: AggregateFunction,
    argument: Option<Compiled>,
    argument_type: SqlType,
    filter: Option<Compiled>,
    ty: SqlType,
    keeping: Keeping,
}

/// The arguments of all calls for one batch.
#[derive(Clone, Debug)]
pub struct Arguments {
    rows: usize,
    calls: Vec<Argument>,
    /// Rows for which an argument or FILTER could not be computed. They must not be given to
    /// [`Accumulators::update`]: take them out of the batch and compute the arguments again.
    pub faults: Option<Faults>,
}

#[derive(Clone, Debug)]
struct Argument {
    values: Option<ArrayRef>,
    keep: Option<BooleanBuffer>,
}

impl Arguments {
    /// The values of call `call`; none for `count(*)`.
    pub fn values(&self, call: usize) -> Option<&ArrayRef> {
        self.calls[call].values.as_ref()
    }

    /// Whether row `row` counts for call `call`: FILTER lets it pass and the value is not NULL.
    pub fn counts(&self, call: usize, row: usize) -> bool {
        let argument = &self.calls[call];
        argument.keep.as_ref().is_none_or(|keep| keep.value(row))
            && argument.values.as_ref().is_none_or(|values| values.is_valid(row))
    }
}

impl Aggregates {
    /// Compiles `calls` over rows of `input`; `append_only` promises that no weight is ever negative.
    pub fn new(calls: &[AggregateCall], input: &Schema, append_only: bool) -> Result<Aggregates> {
        let calls = calls.iter().map(|call| Call::new(call, input, append_only)).collect::<Result<_>>()?;
        Ok(Aggregates { calls })
    }

    /// What each call needs beside its accumulator.
    pub fn keeping(&self) -> Vec<Keeping> {
        self.calls.iter().map(|call| call.keeping.clone()).collect()
    }

    /// The type of each call's result.
    pub fn types(&self) -> Vec<SqlType> {
        self.calls.iter().map(|call| call.ty.clone()).collect()
    }

    /// Evaluates arguments and filters for a batch.
    pub fn arguments(&self, batch: &RecordBatch) -> Result<Arguments> {
        let mut faults = None;
        let mut calls = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let mut keep = None;
            if let Some(filter) = &call.filter {
                let (mask, found) = filter.evaluate_filter(batch)?;
                faults = Faults::union(faults, found);
                keep = Some(match mask.nulls() {
                    Some(nulls) => mask.values() & nulls.inner(),
                    None => mask.values().clone(),
                });
            }
            let mut values = None;
            if let Some(argument) = &call.argument {
                let evaluated = argument.evaluate(batch)?;
                faults = Faults::union(faults, kept_faults(evaluated.faults, keep.as_ref()));
                values = Some(evaluated.values);
            }
            calls.push(Argument { values, keep });
        }
        Ok(Arguments { rows: batch.num_rows(), calls, faults })
    }

    /// Accumulators without any slot.
    pub fn accumulators(&self) -> Accumulators {
        let states = self.calls.iter().map(Call::state).collect();
        Accumulators { calls: Arc::new(self.calls.clone()), states, rows: Vec::new() }
    }
}

/// Faults of an argument count only where FILTER is true.
fn kept_faults(faults: Option<Faults>, keep: Option<&BooleanBuffer>) -> Option<Faults> {
    let (Some(faults), Some(keep)) = (&faults, keep) else { return faults };
    let rows = faults.mask.len();
    Faults::new(rows, faults.iter().filter(|fault| keep.value(fault.row as usize)).cloned().collect())
}

impl Call {
    fn new(call: &AggregateCall, input: &Schema, append_only: bool) -> Result<Call> {
        let argument = call.args.first().map(|arg| Compiled::new(arg, input)).transpose()?;
        let filter = call.filter.as_ref().map(|filter| Compiled::new(filter, input)).transpose()?;
        let argument_type = argument.as_ref().map_or(SqlType::BigInt, |argument| argument.ty().clone());
        let ty = call.function.result_type(argument.as_ref().map(Compiled::ty))?;
        if ty != call.ty {
            return Err(Error::internal(format!("aggregate {call} gives {ty}, its plan says {}", call.ty)));
        }
        let value = argument_type.clone();
        let keeping = match call.function {
            AggregateFunction::Min | AggregateFunction::Max if append_only => Keeping::Accumulator,
            AggregateFunction::Min => Keeping::Extreme { value, last: false },
            AggregateFunction::Max => Keeping::Extreme { value, last: true },
            AggregateFunction::Count | AggregateFunction::Sum | AggregateFunction::Avg if call.distinct => {
                Keeping::Distinct { value }
            }
            AggregateFunction::Count | AggregateFunction::Sum | AggregateFunction::Avg => Keeping::Accumulator,
            AggregateFunction::CountStar => Keeping::Accumulator,
        };
        Ok(Call { function: call.function, argument, argument_type, filter, ty, keeping })
    }

    fn state(&self) -> State {
        match self.function {
            AggregateFunction::CountStar if self.filter.is_none() => State::Rows,
            AggregateFunction::CountStar | AggregateFunction::Count => State::Count(Vec::new()),
            AggregateFunction::Sum | AggregateFunction::Avg => match self.argument_type {
                SqlType::Real | SqlType::Double => State::Float(Vec::new(), Vec::new()),
                _ => State::Whole(Vec::new(), Vec::new()),
            },
            AggregateFunction::Min => State::Extreme(Extremes::new(&self.argument_type, false)),
            AggregateFunction::Max => State::Extreme(Extremes::new(&self.argument_type, true)),
        }
    }
}

/// Accumulators of many groups: slot `i` is group `i`.
#[derive(Clone, Debug)]
pub struct Accumulators {
    calls: Arc<Vec<Call>>,
    states: Vec<State>,
    rows: Vec<i64>,
}

/// One call's accumulators, by kind. The last vector counts the values that are not NULL.
#[derive(Clone, Debug)]
enum State {
    Rows,
    Count(Vec<i64>),
    Whole(Vec<Wide>, Vec<i64>),
    Float(Vec<FloatSum>, Vec<i64>),
    Extreme(Extremes),
}

impl Accumulators {
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
        for state in &mut self.states {
            match state {
                State::Rows => {}
                State::Count(counts) => counts.resize(slots, 0),
                State::Whole(sums, counts) => {
                    sums.resize(slots, Wide::default());
                    counts.resize(slots, 0);
                }
                State::Float(sums, counts) => {
                    sums.resize(slots, FloatSum::default());
                    counts.resize(slots, 0);
                }
                State::Extreme(extremes) => extremes.resize(slots),
            }
        }
    }

    /// Removes the first `count` slots; the others move down.
    pub(crate) fn forget_first(&mut self, count: usize) {
        self.rows.drain(..count);
        for state in &mut self.states {
            match state {
                State::Rows => {}
                State::Count(counts) => drop(counts.drain(..count)),
                State::Whole(sums, counts) => {
                    sums.drain(..count);
                    counts.drain(..count);
                }
                State::Float(sums, counts) => {
                    sums.drain(..count);
                    counts.drain(..count);
                }
                State::Extreme(extremes) => extremes.forget_first(count),
            }
        }
    }

    /// The weight of all rows of the group in `slot`, whatever FILTER says; the group is gone when it is zero.
    pub fn rows(&self, slot: usize) -> i64 {
        self.rows[slot]
    }

    /// Takes in a batch: row `i` belongs to slot `groups[i]`, which must exist. Calls that keep a `Distinct`
    /// multiset are left out; those that keep an `Extreme` one take in insertions only.
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
            if !matches!(self.calls[call].keeping, Keeping::Distinct { .. }) {
                let argument = &arguments.calls[call];
                self.add(call, argument.values.as_ref(), argument.keep.as_ref(), groups, weights)?;
            }
        }
        Ok(())
    }

    /// Takes in values of one call: value `i` belongs to slot `groups[i]`.
    pub fn update_call(&mut self, call: usize, values: &ArrayRef, groups: &[u32], weights: &Weights) -> Result<()> {
        self.add(call, Some(values), None, groups, weights)
    }

    /// As [`Accumulators::update_call`], for the values that `keep` lets pass.
    pub(crate) fn add(
        &mut self,
        call: usize,
        values: Option<&ArrayRef>,
        keep: Option<&BooleanBuffer>,
        groups: &[u32],
        weights: &Weights,
    ) -> Result<()> {
        let rows = Rows::new(values, keep, groups, weights);
        let missing = || Error::internal("aggregate has no argument");
        match &mut self.states[call] {
            State::Rows => {}
            State::Count(counts) => rows.each(|_, slot, weight| counts[slot] += weight),
            State::Whole(sums, counts) => add_whole(sums, counts, values.ok_or_else(missing)?, &rows)?,
            State::Float(sums, counts) => add_floats(sums, counts, values.ok_or_else(missing)?, &rows),
            State::Extreme(extremes) => {
                let all = keep.is_none() && *weights == Weights::Ones;
                let kept = |row: usize| keep.is_none_or(|keep| keep.value(row)) && weights.get(row) > 0;
                extremes.update(values.ok_or_else(missing)?, groups, kept, all);
            }
        }
        Ok(())
    }

    /// Adds group `i` of `other`, made by the same [`Aggregates`], to slot `map[i]`, which must exist.
    pub fn merge(&mut self, other: &Accumulators, map: &[u32]) -> Result<()> {
        if map.len() != other.len() || self.states.len() != other.states.len() {
            return Err(Error::internal("accumulators of different shape cannot be merged"));
        }
        map.iter().zip(&other.rows).for_each(|(&slot, rows)| self.rows[slot as usize] += rows);
        for (mine, theirs) in self.states.iter_mut().zip(&other.states) {
            match (mine, theirs) {
                (State::Rows, State::Rows) => {}
                (State::Count(mine), State::Count(theirs)) => merge_counts(mine, theirs, map),
                (State::Whole(mine, counts), State::Whole(theirs, their_counts)) => {
                    map.iter().zip(theirs).for_each(|(&slot, sum)| mine[slot as usize].merge(sum));
                    merge_counts(counts, their_counts, map);
                }
                (State::Float(mine, counts), State::Float(theirs, their_counts)) => {
                    map.iter().zip(theirs).for_each(|(&slot, sum)| mine[slot as usize].merge(sum));
                    merge_counts(counts, their_counts, map);
                }
                (State::Extreme(mine), State::Extreme(theirs)) => mine.merge(theirs, map)?,
                _ => return Err(Error::internal("accumulators of different calls cannot be merged")),
            }
        }
        Ok(())
    }

    /// Whether row `row` of `values` is the value that the min or max `call` has in `slot`: its retraction needs
    /// [`Accumulators::replace`].
    pub fn holds(&self, call: usize, slot: usize, values: &ArrayRef, row: usize) -> bool {
        match &self.states[call] {
            State::Extreme(extremes) => extremes.holds(slot, values, row),
            State::Rows | State::Count(_) | State::Whole(..) | State::Float(..) => false,
        }
    }

    /// Sets the min or max `call` of the given slots to `values`; NULL: no value is left.
    pub fn replace(&mut self, call: usize, slots: &[u32], values: &ArrayRef) -> Result<()> {
        match &mut self.states[call] {
            State::Extreme(extremes) => {
                slots.iter().for_each(|&slot| extremes.clear(slot as usize));
                extremes.update(values, slots, |_| true, true);
                Ok(())
            }
            State::Rows | State::Count(_) | State::Whole(..) | State::Float(..) => {
                Err(Error::internal("only min and max can be replaced"))
            }
        }
    }

    /// The results of all calls for slots `from..to`: one column per call. A sum beyond its type is a fault.
    pub fn finish(&self, from: usize, to: usize) -> Result<Vec<Evaluated>> {
        (0..self.states.len()).map(|call| self.finish_call(call, from, to)).collect()
    }

    fn finish_call(&self, call: usize, from: usize, to: usize) -> Result<Evaluated> {
        let Call { function, argument_type, ty, .. } = &self.calls[call];
        let whole = |values: ArrayRef| Evaluated { values, faults: None };
        Ok(match &self.states[call] {
            State::Rows => whole(Arc::new(Int64Array::from(self.rows[from..to].to_vec()))),
            State::Count(counts) => whole(Arc::new(Int64Array::from(counts[from..to].to_vec()))),
            State::Whole(sums, counts) => {
                let scale = |ty: &SqlType| if let SqlType::Decimal { scale, .. } = ty { *scale } else { 0 };
                let average = (*function == AggregateFunction::Avg).then(|| scale(ty) - scale(argument_type));
                finish_whole(&sums[from..to], &counts[from..to], average, ty)
            }
            State::Float(sums, counts) => {
                let average = *function == AggregateFunction::Avg;
                finish_floats(&sums[from..to], &counts[from..to], average, ty)
            }
            State::Extreme(extremes) => whole(extremes.array(from, to)?),
        })
    }

    /// Appends the state row of the group in `slot` to `out`.
    pub fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_i64(self.rows[slot], out);
        for state in &self.states {
            match state {
                State::Rows => {}
                State::Count(counts) => put_i64(counts[slot], out),
                State::Whole(sums, counts) => {
                    put_i64(counts[slot], out);
                    sums[slot].encode(out);
                }
                State::Float(sums, counts) => {
                    put_i64(counts[slot], out);
                    sums[slot].encode(out);
                }
                State::Extreme(extremes) => extremes.encode(slot, out),
            }
        }
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
        for state in &mut self.states {
            match state {
                State::Rows => {}
                State::Count(counts) => counts.push(take_i64(&mut rest)?),
                State::Whole(sums, counts) => {
                    counts.push(take_i64(&mut rest)?);
                    sums.push(Wide::decode(&mut rest)?);
                }
                State::Float(sums, counts) => {
                    counts.push(take_i64(&mut rest)?);
                    sums.push(FloatSum::decode(&mut rest)?);
                }
                State::Extreme(extremes) => extremes.decode(&mut rest)?,
            }
        }
        if rest.is_empty() { Ok(self.rows.len() - 1) } else { Err(torn()) }
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        let slots = self.rows.capacity() * 8;
        let states = self.states.iter().map(|state| match state {
            State::Rows => 0,
            State::Count(counts) => counts.capacity() * 8,
            State::Whole(sums, counts) => sums.capacity() * size_of::<Wide>() + counts.capacity() * 8,
            State::Float(sums, counts) => sums.capacity() * size_of::<FloatSum>() + counts.capacity() * 8,
            State::Extreme(extremes) => extremes.bytes(),
        });
        slots + states.sum::<usize>()
    }
}
