//! The functions themselves: one value, or the reason why there is none, for each row of a partition.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, UInt64Array};
use arrow::compute::{concat, take};

use super::frames::{Framing, Rows};
use super::spec::{Bound, OverCall, OverFunction};
use crate::base::{Error, Result};
use crate::functions::{AggregateCall, AggregateFunction, Aggregates, Keeping};
use crate::operators::partition::{PartitionCodec, RowOrder};
use crate::types::{RowCodec, Schema, SqlType, Weights};

/// The results of one call.
pub(super) struct Results {
    pub values: ArrayRef,
    /// Why a row has no value; empty when all have one.
    pub reasons: Vec<Option<String>>,
}

impl From<ArrayRef> for Results {
    fn from(values: ArrayRef) -> Self {
        Results { values, reasons: Vec::new() }
    }
}

/// One call, compiled.
pub(super) struct Calling {
    call: OverCall,
    framing: Framing,
    aggregate: Option<Moving>,
}

impl Calling {
    pub fn new(call: &OverCall, input: &Schema, order: &RowOrder) -> Result<Calling> {
        let named = match &call.function {
            OverFunction::Shift { column, .. } | OverFunction::Nth { column, .. } => Some(*column),
            OverFunction::RowNumber
            | OverFunction::Rank
            | OverFunction::DenseRank
            | OverFunction::PercentRank
            | OverFunction::CumeDist
            | OverFunction::Ntile(_)
            | OverFunction::Aggregate(_) => None,
        };
        if let Some(column) = named.filter(|&column| column >= input.columns.len()) {
            return Err(Error::internal(format!("window function of column {column} of {}", input.columns.len())));
        }
        let aggregate = match &call.function {
            OverFunction::Aggregate(aggregate) => Some(Moving::new(aggregate, input, call.frame.end == Bound::Last)?),
            _ => None,
        };
        Ok(Calling { framing: Framing::new(&call.frame, input, order)?, call: call.clone(), aggregate })
    }

    /// Its value for each of `rows`.
    pub fn results(&self, rows: &Rows, codec: &PartitionCodec) -> Result<Results> {
        let count = rows.len();
        let numbers = |number: &dyn Fn(usize) -> usize| -> Results {
            let values = Int64Array::from_iter_values((0..count).map(|row| number(row) as i64));
            (Arc::new(values) as ArrayRef).into()
        };
        let shares = |share: &dyn Fn(usize) -> f64| -> Results {
            (Arc::new(Float64Array::from_iter_values((0..count).map(share))) as ArrayRef).into()
        };
        let rank = |row: usize| rows.starts[rows.groups[row]];
        Ok(match &self.call.function {
            OverFunction::RowNumber => numbers(&|row| row + 1),
            OverFunction::Rank => numbers(&|row| rank(row) + 1),
            OverFunction::DenseRank => numbers(&|row| rows.groups[row] + 1),
            OverFunction::PercentRank => {
                shares(&|row| if count > 1 { rank(row) as f64 / (count - 1) as f64 } else { 0.0 })
            }
            OverFunction::CumeDist => shares(&|row| rows.group_end(rows.groups[row]) as f64 / count as f64),
            OverFunction::Ntile(buckets) => numbers(&|row| bucket(row, count, *buckets)),
            OverFunction::Shift { column, by, default, ignore_nulls } => {
                let values = rows.batch.column(*column);
                let from = shifted(values, *by, *ignore_nulls);
                let default = default.as_ref().map(|default| default.to_array()).transpose()?;
                pick(values, &from, default)?.into()
            }
            OverFunction::Nth { column, place, ignore_nulls } => {
                let values = rows.batch.column(*column);
                let ranges = self.framing.ranges(rows, codec)?;
                pick(values, &nth(values, &ranges, *place, *ignore_nulls), None)?.into()
            }
            OverFunction::Aggregate(_) => {
                let moving = self.aggregate.as_ref().ok_or_else(|| Error::internal("aggregate is not compiled"))?;
                moving.results(rows, &self.framing.ranges(rows, codec)?)?
            }
        })
    }
}

/// The bucket, from 1, of row `row` of `count`: the first ones have one row more.
fn bucket(row: usize, count: usize, buckets: u64) -> usize {
    let buckets = usize::try_from(buckets).unwrap_or(usize::MAX).max(1);
    let (size, larger) = (count / buckets, count % buckets);
    let in_larger = larger * (size + 1);
    if row < in_larger { row / (size + 1) + 1 } else { larger + (row - in_larger) / size.max(1) + 1 }
}

/// The row that lag or lead shows for each row.
fn shifted(values: &ArrayRef, by: i64, ignore_nulls: bool) -> Vec<Option<u64>> {
    let count = values.len();
    let distance = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    if !ignore_nulls || by == 0 {
        let from = |row: usize| if by >= 0 { row.checked_sub(distance) } else { row.checked_add(distance) };
        return (0..count).map(|row| from(row).filter(|&row| row < count).map(|row| row as u64)).collect();
    }
    let there: Vec<usize> = (0..count).filter(|&row| values.is_valid(row)).collect();
    let from = |row: usize| match by > 0 {
        true => there.partition_point(|&other| other < row).checked_sub(distance),
        false => there.partition_point(|&other| other <= row).checked_add(distance - 1),
    };
    (0..count).map(|row| from(row).and_then(|place| there.get(place)).map(|&row| row as u64)).collect()
}

/// The row that first_value, last_value or nth_value shows for each row.
fn nth(values: &ArrayRef, ranges: &[Range<usize>], place: i64, ignore_nulls: bool) -> Vec<Option<u64>> {
    let distance = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
    let there: Vec<usize> = match ignore_nulls {
        true => (0..values.len()).filter(|&row| values.is_valid(row)).collect(),
        false => Vec::new(),
    };
    let from = |range: &Range<usize>| {
        let (first, last) = match ignore_nulls {
            true => (there.partition_point(|&row| row < range.start), there.partition_point(|&row| row < range.end)),
            false => (range.start, range.end),
        };
        let found = match place > 0 {
            true => first.checked_add(distance - 1).filter(|&found| found < last),
            false => last.checked_sub(distance).filter(|&found| found >= first),
        };
        found.map(|found| if ignore_nulls { there[found] } else { found } as u64)
    };
    ranges.iter().map(from).collect()
}

/// `values` at `from`; where there is no row the default, or NULL.
fn pick(values: &ArrayRef, from: &[Option<u64>], default: Option<ArrayRef>) -> Result<ArrayRef> {
    let Some(default) = default else {
        return Ok(take(values, &UInt64Array::from(from.to_vec()), None)?);
    };
    let both = concat(&[values, &default])?;
    let last = values.len() as u64;
    Ok(take(&both, &UInt64Array::from_iter_values(from.iter().map(|from| from.unwrap_or(last))), None)?)
}

/// An aggregate over frames that move along.
struct Moving {
    aggregates: Aggregates,
    /// Whether a row can be taken back from the accumulator alone.
    retracts: bool,
    /// Whether frames grow towards the front.
    backwards: bool,
    /// Whether the answer is about the rows in the order of OVER.
    as_they_come: bool,
}

/// See [`OverFunction::can_move`].
pub(super) fn moves(call: &AggregateCall, input: &Schema) -> Result<bool> {
    let keeping = Aggregates::new(std::slice::from_ref(call), input, true)?.keeping();
    let known = |keeping: &Keeping| matches!(keeping, Keeping::Accumulator | Keeping::Multiset { .. });
    Ok(!call.distinct && call.order.is_empty() && keeping.iter().all(known))
}

impl Moving {
    fn new(call: &AggregateCall, input: &Schema, backwards: bool) -> Result<Moving> {
        if !moves(call, input)? {
            return Err(Error::internal(format!("aggregate {call} cannot be computed over frames")));
        }
        let calls = std::slice::from_ref(call);
        let retracts = Aggregates::new(calls, input, false)?.keeping().iter().all(|k| *k == Keeping::Accumulator);
        let as_they_come = matches!(call.function, AggregateFunction::StringAgg | AggregateFunction::ArrayAgg);
        Ok(Moving { aggregates: Aggregates::new(calls, input, true)?, retracts, backwards, as_they_come })
    }

    /// Frames share most of their rows with the one before: only what comes and goes is counted. Where rows cannot be
    /// taken back (min, max) and some go, the frame is counted anew.
    fn results(&self, rows: &Rows, ranges: &[Range<usize>]) -> Result<Results> {
        if let Some(row) = self.aggregates.keeping().first().and_then(Keeping::row) {
            return self.anew(row, rows, ranges);
        }
        let mut now = self.aggregates.accumulators();
        now.resize(1);
        let mut all = self.aggregates.accumulators();
        let mut slots = vec![0u64; ranges.len()];
        let mut counted = 0..0;
        let mut bytes = Vec::new();
        let order: Box<dyn Iterator<Item = usize>> = match self.backwards {
            true => Box::new((0..ranges.len()).rev()),
            false => Box::new(0..ranges.len()),
        };
        for row in order {
            let range = &ranges[row];
            if all.is_empty() || *range != counted {
                let meet = range.start < counted.end && counted.start < range.end;
                let leave = range.start > counted.start || range.end < counted.end;
                if !meet || (leave && !self.retracts) {
                    now = self.aggregates.accumulators();
                    now.resize(1);
                    self.count(&mut now, rows, range.clone(), 1)?;
                } else {
                    self.count(&mut now, rows, range.start..counted.start, 1)?;
                    self.count(&mut now, rows, counted.end..range.end, 1)?;
                    self.count(&mut now, rows, counted.start..range.start, -1)?;
                    self.count(&mut now, rows, range.end..counted.end, -1)?;
                }
                counted = range.clone();
                bytes.clear();
                now.encode(0, &mut bytes);
                all.decode(&bytes)?;
            }
            slots[row] = all.len() as u64 - 1;
        }
        let mut found = all.finish(0, all.len())?;
        let found = found.pop().ok_or_else(|| Error::internal("an aggregate without a result"))?;
        let reasons = match found.faults {
            None => Vec::new(),
            Some(faults) => {
                let reason =
                    |&slot: &u64| faults.mask.value(slot as usize).then(|| faults.reason(slot as usize).to_owned());
                slots.iter().map(reason).collect()
            }
        };
        Ok(Results { values: take(&found.values, &UInt64Array::from(slots), None)?, reasons })
    }

    /// Each frame from all its rows, of types `row` as they are kept: texts and lists in the order of the rows.
    fn anew(&self, row: &[SqlType], rows: &Rows, ranges: &[Range<usize>]) -> Result<Results> {
        let arguments = self.aggregates.arguments(&rows.batch)?;
        if arguments.faults.is_some() {
            return Err(faulty());
        }
        let kept = RowCodec::new(row.to_vec()).encode_rows(arguments.columns(0), rows.len())?;
        let mut folding = self.aggregates.folding(0)?;
        let mut slots = Vec::with_capacity(ranges.len());
        let mut last: Option<&Range<usize>> = None;
        let mut frames = 0u64;
        let mut sorted: Vec<&[u8]> = Vec::new();
        for range in ranges {
            if last != Some(range) {
                let counting = range.clone().filter(|&row| arguments.counts(0, row));
                sorted.clear();
                sorted.extend(counting.map(|row| kept.row(row)));
                if !self.as_they_come {
                    sorted.sort_unstable();
                }
                folding.group(sorted.iter().map(|row| (*row, 1)))?;
                (last, frames) = (Some(range), frames + 1);
            }
            slots.push(frames - 1);
        }
        Ok(take(&folding.finish()?, &UInt64Array::from(slots), None)?.into())
    }

    fn count(
        &self,
        now: &mut crate::functions::Accumulators,
        rows: &Rows,
        range: Range<usize>,
        weight: i64,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let part = rows.batch.slice(range.start, range.len());
        let arguments = self.aggregates.arguments(&part)?;
        if arguments.faults.is_some() {
            return Err(faulty());
        }
        let weights = if weight == 1 { Weights::Ones } else { Weights::from_vec(vec![weight; range.len()]) };
        now.update(&arguments, &vec![0; range.len()], &weights)
    }
}

fn faulty() -> Error {
    Error::internal("an argument of a window function faults; the planner computes them before")
}

/// The type of a call's result.
pub(super) fn result_type(function: &OverFunction, input: &Schema) -> Option<SqlType> {
    match function {
        OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank | OverFunction::Ntile(_) => {
            Some(SqlType::BigInt)
        }
        OverFunction::PercentRank | OverFunction::CumeDist => Some(SqlType::Double),
        OverFunction::Shift { column, .. } | OverFunction::Nth { column, .. } => {
            input.columns.get(*column).map(|column| column.ty.clone())
        }
        OverFunction::Aggregate(call) => Some(call.ty.clone()),
    }
}
