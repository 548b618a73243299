//! One call's accumulators of many groups, by kind.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;

use super::aggregates::Call;
use super::extreme::Extremes;
use super::float_sum::FloatSum;
use super::function::{AggregateFunction, Method};
use super::moments::Moments;
use super::sums::{Rows, add_floats, add_whole, finish_floats, finish_whole, merge_counts};
use super::tally::Tally;
use super::varint::{Bytes, put_i64, take_i64};
use super::wide::Wide;
use crate::base::{Error, Result};
use crate::functions::fault::Evaluated;
use crate::types::{RowCodec, SqlType, Weights};

/// One call's accumulators, slot by slot. The last vector of sums counts the values that are not NULL.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// `count(*)`: nothing beside the weight of rows.
    Rows,
    Count(Vec<i64>),
    Whole(Vec<Wide>, Vec<i64>),
    Float(Vec<FloatSum>, Vec<i64>),
    Tally(Tally),
    Moments(Moments),
    /// Min and max: the value.
    Extreme(Extremes),
    /// First and last value: the kept row as canonical bytes, and how to read them.
    Edge(Extremes, RowCodec),
    /// An answer worked out elsewhere.
    Answer(Extremes),
}

impl State {
    pub fn new(
        function: AggregateFunction,
        argument: &SqlType,
        ty: &SqlType,
        filtered: bool,
        row: &[SqlType],
    ) -> State {
        use AggregateFunction::*;
        match function {
            CountStar if !filtered => State::Rows,
            CountStar | Count => State::Count(Vec::new()),
            Sum | Avg => match argument {
                SqlType::Real | SqlType::Double => State::Float(Vec::new(), Vec::new()),
                _ => State::Whole(Vec::new(), Vec::new()),
            },
            BoolAnd | BoolOr | BitAnd | BitOr | BitXor => State::Tally(Tally::new(match argument {
                SqlType::Boolean => 1,
                SqlType::SmallInt => 16,
                SqlType::Int => 32,
                _ => 64,
            })),
            VarPop | VarSamp | StddevPop | StddevSamp => State::Moments(Moments::new(1)),
            CovarPop | CovarSamp | Corr | RegrCount | RegrAvgx | RegrAvgy | RegrSxx | RegrSyy | RegrSxy | RegrSlope
            | RegrIntercept | RegrR2 => State::Moments(Moments::new(2)),
            Min => State::Extreme(Extremes::new(argument, false)),
            Max => State::Extreme(Extremes::new(argument, true)),
            FirstValue | LastValue => {
                let last = function.method() == Method::Edge { last: true };
                State::Edge(Extremes::new(&SqlType::Bytea, last), RowCodec::new(row.to_vec()))
            }
            StringAgg | ArrayAgg | PercentileCont | PercentileDisc | Mode => State::Answer(Extremes::new(ty, false)),
        }
    }

    pub fn resize(&mut self, slots: usize) {
        match self {
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
            State::Tally(tally) => tally.resize(slots),
            State::Moments(moments) => moments.resize(slots),
            State::Extreme(values) | State::Edge(values, _) | State::Answer(values) => values.resize(slots),
        }
    }

    pub fn forget_first(&mut self, count: usize) {
        match self {
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
            State::Tally(tally) => tally.forget_first(count),
            State::Moments(moments) => moments.forget_first(count),
            State::Extreme(values) | State::Edge(values, _) | State::Answer(values) => values.forget_first(count),
        }
    }

    /// Takes in rows of `call`: row `i` of `columns` belongs to slot `groups[i]`.
    pub fn add(
        &mut self,
        call: &Call,
        columns: &[ArrayRef],
        keep: Option<&BooleanBuffer>,
        groups: &[u32],
        weights: &Weights,
    ) -> Result<()> {
        let rows = Rows::new(if let [one] = columns { Some(one) } else { None }, keep, groups, weights);
        let one = || columns.first().ok_or_else(|| Error::internal("aggregate has no argument"));
        match self {
            State::Rows => {}
            State::Count(counts) => rows.each(|_, slot, weight| counts[slot] += weight),
            State::Whole(sums, counts) => add_whole(sums, counts, one()?, &rows)?,
            State::Float(sums, counts) => add_floats(sums, counts, one()?, &rows),
            State::Tally(tally) => tally.add(one()?, &rows)?,
            State::Moments(moments) => moments.add(columns, &rows)?,
            State::Extreme(extremes) | State::Edge(extremes, _) => {
                let all = keep.is_none() && *weights == Weights::Ones;
                let kept = |row: usize| keep.is_none_or(|keep| keep.value(row)) && weights.get(row) > 0;
                extremes.update(&call.edge(columns)?, groups, kept, all);
            }
            State::Answer(_) => {
                return Err(Error::internal(format!("{} is worked out anew, not added to", call.function.name())));
            }
        }
        Ok(())
    }

    /// Adds slot `i` of `other` to slot `map[i]`. An answer of `other` replaces that of a slot.
    pub fn merge(&mut self, other: &State, map: &[u32]) -> Result<()> {
        match (self, other) {
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
            (State::Tally(mine), State::Tally(theirs)) => mine.merge(theirs, map),
            (State::Moments(mine), State::Moments(theirs)) => mine.merge(theirs, map),
            (State::Extreme(mine), State::Extreme(theirs)) | (State::Edge(mine, _), State::Edge(theirs, _)) => {
                mine.merge(theirs, map)?;
            }
            // Within an epoch there are no answers; they come once all of it is known.
            (State::Answer(_), State::Answer(_)) => {}
            _ => return Err(Error::internal("accumulators of different calls cannot be merged")),
        }
        Ok(())
    }

    /// Whether the slot's value is that of row `row` of `values`, a column of [`Call::edge`].
    pub fn holds(&self, slot: usize, values: &ArrayRef, row: usize) -> bool {
        match self {
            State::Extreme(extremes) | State::Edge(extremes, _) => extremes.holds(slot, values, row),
            State::Rows
            | State::Count(_)
            | State::Whole(..)
            | State::Float(..)
            | State::Tally(_)
            | State::Moments(_)
            | State::Answer(_) => false,
        }
    }

    /// Sets the values of the given slots; NULL: there is none.
    pub fn replace(&mut self, slots: &[u32], values: &ArrayRef) -> Result<()> {
        match self {
            State::Extreme(mine) | State::Edge(mine, _) | State::Answer(mine) => {
                slots.iter().for_each(|&slot| mine.clear(slot as usize));
                mine.update(values, slots, |_| true, true);
                Ok(())
            }
            State::Rows
            | State::Count(_)
            | State::Whole(..)
            | State::Float(..)
            | State::Tally(_)
            | State::Moments(_) => Err(Error::internal("sums and counts cannot be replaced")),
        }
    }

    pub fn finish(&self, call: &Call, rows: &[i64], from: usize, to: usize) -> Result<Evaluated> {
        let whole = |values: ArrayRef| Evaluated { values, faults: None };
        let Call { function, argument_type, ty, .. } = call;
        Ok(match self {
            State::Rows => whole(Arc::new(Int64Array::from(rows[from..to].to_vec()))),
            State::Count(counts) => whole(Arc::new(Int64Array::from(counts[from..to].to_vec()))),
            State::Whole(sums, counts) => {
                let average = (*function == AggregateFunction::Avg).then_some(argument_type);
                finish_whole(&sums[from..to], &counts[from..to], average, ty)
            }
            State::Float(sums, counts) => {
                let average = *function == AggregateFunction::Avg;
                finish_floats(&sums[from..to], &counts[from..to], average, ty)
            }
            State::Tally(tally) => whole(tally.finish(*function, from, to)),
            State::Moments(moments) => moments.finish(*function, argument_type, ty, from, to),
            State::Extreme(values) | State::Answer(values) => whole(values.array(from, to)?),
            State::Edge(rows, codec) => whole(last_column(&rows.array(from, to)?, codec)?),
        })
    }

    pub fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        match self {
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
            State::Tally(tally) => tally.encode(slot, out),
            State::Moments(moments) => moments.encode(slot, out),
            State::Extreme(values) | State::Edge(values, _) | State::Answer(values) => values.encode(slot, out),
        }
    }

    /// Appends a slot.
    pub fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<()> {
        match self {
            State::Rows => Ok(()),
            State::Count(counts) => {
                counts.push(take_i64(bytes)?);
                Ok(())
            }
            State::Whole(sums, counts) => {
                counts.push(take_i64(bytes)?);
                sums.push(Wide::decode(bytes)?);
                Ok(())
            }
            State::Float(sums, counts) => {
                counts.push(take_i64(bytes)?);
                sums.push(FloatSum::decode(bytes)?);
                Ok(())
            }
            State::Tally(tally) => tally.decode(bytes),
            State::Moments(moments) => moments.decode(bytes),
            State::Extreme(values) | State::Edge(values, _) | State::Answer(values) => values.decode(bytes),
        }
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        match self {
            State::Rows => 0,
            State::Count(counts) => counts.capacity() * 8,
            State::Whole(sums, counts) => sums.capacity() * size_of::<Wide>() + counts.capacity() * 8,
            State::Float(sums, counts) => sums.capacity() * size_of::<FloatSum>() + counts.capacity() * 8,
            State::Tally(tally) => tally.bytes(),
            State::Moments(moments) => moments.bytes(),
            State::Extreme(values) | State::Edge(values, _) | State::Answer(values) => values.bytes(),
        }
    }
}

/// The last column of rows given by their bytes; NULL where there is no row.
fn last_column(rows: &ArrayRef, codec: &RowCodec) -> Result<ArrayRef> {
    let nothing = codec.types().iter().map(|ty| new_null_array(&ty.arrow(), 1)).collect::<Vec<_>>();
    let none = codec.encode(&nothing)?;
    let rows = rows.as_binary::<i32>();
    let mut columns = codec.decode(rows.iter().map(|row| row.unwrap_or_else(|| none.row(0))))?;
    columns.pop().ok_or_else(|| Error::internal("a kept row has no column"))
}
