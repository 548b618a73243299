//! Counts per group of a fixed number of things: values and true ones, values and set bits.
//!
//! From them bool_and, bool_or, bit_and, bit_or and bit_xor follow, whatever is added or taken back.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

use super::function::AggregateFunction;
use super::sums::Rows;
use super::varint::{Bytes, put_i64, take_i64};
use crate::base::{Error, Result};

/// `stride` counts per slot; the first counts the values that are not NULL.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    stride: usize,
    counts: Vec<i64>,
}

impl Tally {
    /// For values of `bits` bits each (a boolean has one).
    pub fn new(bits: usize) -> Tally {
        Tally { stride: 1 + bits, counts: Vec::new() }
    }

    pub fn resize(&mut self, slots: usize) {
        self.counts.resize(slots * self.stride, 0);
    }

    pub fn forget_first(&mut self, slots: usize) {
        self.counts.drain(..slots * self.stride);
    }

    pub fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }

    fn slot(&self, slot: usize) -> &[i64] {
        &self.counts[slot * self.stride..][..self.stride]
    }

    fn slot_mut(&mut self, slot: usize) -> &mut [i64] {
        &mut self.counts[slot * self.stride..][..self.stride]
    }

    pub fn add(&mut self, values: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        match values.data_type() {
            DataType::Boolean => {
                let values = values.as_boolean();
                self.add_bits(rows, |row| u64::from(values.value(row)));
            }
            DataType::Int16 => {
                let values = values.as_primitive::<Int16Type>().values();
                self.add_bits(rows, |row| u64::from(values[row] as u16));
            }
            DataType::Int32 => {
                let values = values.as_primitive::<Int32Type>().values();
                self.add_bits(rows, |row| u64::from(values[row] as u32));
            }
            DataType::Int64 => {
                let values = values.as_primitive::<Int64Type>().values();
                self.add_bits(rows, |row| values[row] as u64);
            }
            other => return Err(Error::internal(format!("bits of {other} cannot be counted"))),
        }
        Ok(())
    }

    fn add_bits(&mut self, rows: &Rows<'_>, bits: impl Fn(usize) -> u64) {
        rows.each(|row, slot, weight| {
            let counts = self.slot_mut(slot);
            counts[0] += weight;
            let mut left = bits(row);
            while left != 0 {
                counts[1 + left.trailing_zeros() as usize] += weight;
                left &= left - 1;
            }
        });
    }

    pub fn merge(&mut self, other: &Tally, map: &[u32]) {
        for (from, &to) in map.iter().enumerate() {
            let theirs = other.slot(from);
            self.slot_mut(to as usize).iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
    }

    pub fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        self.slot(slot).iter().for_each(|&count| put_i64(count, out));
    }

    pub fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<()> {
        for _ in 0..self.stride {
            self.counts.push(take_i64(bytes)?);
        }
        Ok(())
    }

    pub fn finish(&self, function: AggregateFunction, from: usize, to: usize) -> ArrayRef {
        let answer = |slot: usize| {
            let (&count, bits) = self.slot(slot).split_first()?;
            if count == 0 {
                return None;
            }
            let set = |&bit: &i64| match function {
                AggregateFunction::BoolAnd | AggregateFunction::BitAnd => bit == count,
                AggregateFunction::BitXor => bit % 2 != 0,
                _ => bit > 0,
            };
            Some(bits.iter().enumerate().fold(0u64, |all, (i, bit)| all | u64::from(set(bit)) << i))
        };
        let answers = (from..to).map(answer);
        match self.stride - 1 {
            1 => Arc::new(answers.map(|bits| bits.map(|bits| bits != 0)).collect::<BooleanArray>()),
            16 => Arc::new(answers.map(|bits| bits.map(|bits| bits as i16)).collect::<Int16Array>()),
            32 => Arc::new(answers.map(|bits| bits.map(|bits| bits as i32)).collect::<Int32Array>()),
            _ => Arc::new(answers.map(|bits| bits.map(|bits| bits as i64)).collect::<Int64Array>()),
        }
    }
}
