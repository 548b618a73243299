//! Exact sums of whole numbers and numerics: 128 bits and what is carried beyond them.

use arrow::datatypes::i256;

use super::varint::{Bytes, put_i64, put_i128, take_i64, take_i128};
use crate::base::Result;

/// A sum `carry * 2^128 + low`. The pair is unique for a value, so equal sums have equal bytes whatever their order
/// of addition was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wide {
    low: i128,
    carry: i64,
}

impl Wide {
    /// Adds `value`.
    #[inline]
    pub fn add(&mut self, value: i128) {
        let (low, over) = self.low.overflowing_add(value);
        self.low = low;
        if over {
            self.carry += if value < 0 { -1 } else { 1 };
        }
    }

    /// Adds `value * weight`.
    #[inline]
    pub fn add_weighted(&mut self, value: i128, weight: i64) {
        match value.checked_mul(weight.into()) {
            Some(product) => self.add(product),
            None => self.add_product(value, weight),
        }
    }

    #[cold]
    fn add_product(&mut self, value: i128, weight: i64) {
        // 127 + 63 bits never overflow 256.
        let product = i256::from_i128(value).wrapping_mul(i256::from_i128(weight.into()));
        let (low, high) = product.to_parts();
        let low = low as i128;
        self.carry += high as i64 + i64::from(low < 0);
        self.add(low);
    }

    /// Adds another sum.
    #[inline]
    pub fn merge(&mut self, other: &Wide) {
        self.add(other.low);
        self.carry += other.carry;
    }

    /// The sum, if 128 bits hold it.
    pub fn get(&self) -> Option<i128> {
        (self.carry == 0).then_some(self.low)
    }

    /// The sum in 256 bits.
    pub fn wide(&self) -> i256 {
        let carried = i256::from_parts(0, self.carry.into());
        carried.wrapping_add(i256::from_i128(self.low))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_i128(self.low, out);
        put_i64(self.carry, out);
    }

    pub(super) fn decode(bytes: &mut Bytes<'_>) -> Result<Wide> {
        Ok(Wide { low: take_i128(bytes)?, carry: take_i64(bytes)? })
    }
}
