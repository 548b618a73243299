//! Our accumulators behind DataFusion's traits. The partial state of a group is its state row, as bytes.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray};
use arrow::buffer::BooleanBuffer;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::udf::external;
use crate::functions::aggregate::{Accumulators, AggregateCall, AggregateFunction, Aggregates};
use crate::functions::expr::Expr;
use crate::types::{Column, RowCodec, Schema, SqlType, Weights};

fn one_call(function: AggregateFunction, argument: &SqlType) -> crate::base::Result<Aggregates> {
    let input = Schema::new(vec![Column::new("x", argument.clone())]);
    let call = AggregateCall::new(function, vec![Expr::Column(0)], false, None, &input)?;
    Aggregates::new(&[call], &input, true)
}

fn argument(values: &[ArrayRef]) -> Result<&ArrayRef> {
    match values {
        [values] => Ok(values),
        other => datafusion::common::internal_err!("aggregate was given {} columns", other.len()),
    }
}

/// Rows that an optional filter lets pass.
fn keep(filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    filter.map(|filter| match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    })
}

fn finish(accumulators: &Accumulators, to: usize) -> Result<ArrayRef> {
    let mut results = accumulators.finish(0, to).map_err(external)?;
    match results.pop() {
        Some(result) => result.all().map_err(external),
        None => datafusion::common::internal_err!("aggregate without a call"),
    }
}

fn encode(accumulators: &Accumulators, to: usize) -> BinaryArray {
    let mut states = BinaryBuilder::with_capacity(to, to * 16);
    let mut buffer = Vec::new();
    for slot in 0..to {
        buffer.clear();
        accumulators.encode(slot, &mut buffer);
        states.append_value(&buffer);
    }
    states.finish()
}

/// Accumulators of many groups.
pub(super) struct Grouped {
    aggregates: Aggregates,
    accumulators: Accumulators,
    groups: Vec<u32>,
}

impl Grouped {
    pub fn new(function: AggregateFunction, argument: &SqlType) -> crate::base::Result<Grouped> {
        let aggregates = one_call(function, argument)?;
        let accumulators = aggregates.accumulators();
        Ok(Grouped { aggregates, accumulators, groups: Vec::new() })
    }

    fn take_groups(&mut self, indices: &[usize], total: usize) -> Vec<u32> {
        if self.accumulators.len() < total {
            self.accumulators.resize(total);
        }
        let mut groups = mem::take(&mut self.groups);
        groups.clear();
        groups.extend(indices.iter().map(|&index| index as u32));
        groups
    }

    fn emit<T>(&mut self, to: EmitTo, take: impl Fn(&Accumulators, usize) -> Result<T>) -> Result<T> {
        let count = match to {
            EmitTo::All => self.accumulators.len(),
            EmitTo::First(count) => count,
        };
        let taken = take(&self.accumulators, count)?;
        match to {
            EmitTo::All => self.accumulators = self.aggregates.accumulators(),
            EmitTo::First(count) => self.accumulators.forget_first(count),
        }
        Ok(taken)
    }
}

impl GroupsAccumulator for Grouped {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = argument(values)?;
        let groups = self.take_groups(group_indices, total_num_groups);
        let keep = keep(opt_filter);
        let added = self.accumulators.add(0, Some(values), keep.as_ref(), &groups, &Weights::Ones);
        self.groups = groups;
        added.map_err(external)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to, finish)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.emit(emit_to, |accumulators, count| Ok(vec![Arc::new(encode(accumulators, count)) as ArrayRef]))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let states = argument(values)?.as_binary::<i32>();
        let groups = self.take_groups(group_indices, total_num_groups);
        let mut partial = self.aggregates.accumulators();
        for state in states.iter().flatten() {
            partial.decode(state).map_err(external)?;
        }
        let merged = match states.null_count() {
            0 => self.accumulators.merge(&partial, &groups),
            _ => {
                let present = groups.iter().enumerate().filter(|(row, _)| states.is_valid(*row));
                self.accumulators.merge(&partial, &present.map(|(_, &group)| group).collect::<Vec<_>>())
            }
        };
        self.groups = groups;
        merged.map_err(external)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = argument(values)?;
        let mut rows = self.aggregates.accumulators();
        rows.resize(values.len());
        let groups: Vec<u32> = (0..values.len() as u32).collect();
        rows.add(0, Some(values), keep(opt_filter).as_ref(), &groups, &Weights::Ones).map_err(external)?;
        Ok(vec![Arc::new(encode(&rows, values.len()))])
    }

    fn size(&self) -> usize {
        self.accumulators.bytes() + self.groups.capacity() * 4
    }
}

/// The accumulator of one group.
#[derive(Debug)]
pub(super) struct Single {
    aggregates: Aggregates,
    accumulators: Accumulators,
}

impl Single {
    pub fn new(function: AggregateFunction, argument: &SqlType) -> crate::base::Result<Single> {
        let aggregates = one_call(function, argument)?;
        let mut accumulators = aggregates.accumulators();
        accumulators.resize(1);
        Ok(Single { aggregates, accumulators })
    }

    fn add(&mut self, values: &[ArrayRef], weight: i64) -> Result<()> {
        let values = argument(values)?;
        let weights = Weights::from_vec(vec![weight; values.len()]);
        self.accumulators.update_call(0, values, &vec![0; values.len()], &weights).map_err(external)
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&finish(&self.accumulators, 1)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.accumulators.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::new();
        self.accumulators.encode(0, &mut bytes);
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let mut partial = self.aggregates.accumulators();
        for state in argument(states)?.as_binary::<i32>().iter().flatten() {
            partial.decode(state).map_err(external)?;
        }
        self.accumulators.merge(&partial, &vec![0; partial.len()]).map_err(external)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// The accumulator of one group over DISTINCT values, kept as encoded rows.
#[derive(Debug)]
pub(super) struct Distinct {
    function: AggregateFunction,
    argument: SqlType,
    codec: RowCodec,
    values: HashSet<Box<[u8]>>,
}

impl Distinct {
    pub fn new(function: AggregateFunction, argument: &SqlType) -> crate::base::Result<Distinct> {
        let codec = RowCodec::new(vec![argument.clone()]);
        Ok(Distinct { function, argument: argument.clone(), codec, values: HashSet::new() })
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = argument(values)?;
        let rows = self.codec.encode(std::slice::from_ref(values)).map_err(external)?;
        for (row, bytes) in rows.iter().enumerate().filter(|(row, _)| values.is_valid(*row)) {
            debug_assert!(row < values.len());
            if !self.values.contains(bytes) {
                self.values.insert(bytes.into());
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut single = Single::new(self.function, &self.argument).map_err(external)?;
        let columns = self.codec.decode(self.values.iter().map(|bytes| &**bytes)).map_err(external)?;
        single.update_batch(&columns)?;
        single.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.iter().map(|value| value.len() + 24).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.codec.decode(self.values.iter().map(|bytes| &**bytes)).map_err(external)?;
        let mut state = Vec::new();
        let rows = self.codec.encode(&columns).map_err(external)?;
        for row in rows.iter() {
            state.extend_from_slice(&(row.len() as u64).to_le_bytes());
            state.extend_from_slice(row);
        }
        Ok(vec![ScalarValue::Binary(Some(state))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in argument(states)?.as_binary::<i32>().iter().flatten() {
            let mut rest = state;
            while let Some((length, tail)) = rest.split_first_chunk::<8>() {
                let length = u64::from_le_bytes(*length) as usize;
                let Some((value, tail)) = tail.split_at_checked(length) else {
                    return datafusion::common::internal_err!("distinct state is torn");
                };
                self.values.insert(value.into());
                rest = tail;
            }
        }
        Ok(())
    }
}
