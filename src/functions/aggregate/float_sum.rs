//! Exact sums of floats: a sparse superaccumulator of integer limbs (after Kulisch; Neal 2015, arXiv:1505.05571).
//!
//! Every finite double is an integer times 2^-1074. The sum is kept as limbs of radix 2^32 around the exponents that
//! occur, each in 64 signed bits so that carries can wait. So addition is exact, commutative and can be taken back;
//! the result is rounded once, at the end.

use arrow::datatypes::i256;
use num_bigint::{BigInt, Sign};
use smallvec::SmallVec;

use super::moments::Dyadic;
use super::varint::{Bytes, put_i64, put_u64, take_i64, take_u64, torn};
use crate::base::Result;

const LIMB_BITS: i32 = 32;
/// Bits in front of the point of limb 0: its weight is 2^-1088, the next multiple of 32 below 2^-1074.
const LOWEST: i32 = -1088;
/// How many unit weights may be added before carries must be taken: each adds less than 2^32 to a limb.
const CARRY_AFTER: u64 = 1 << 29;

/// An exact sum of doubles with weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatSum {
    /// The limb number of `limbs[0]`.
    base: i16,
    limbs: SmallVec<[i64; 4]>,
    /// Weights added since carries were last taken.
    pending: u64,
    /// How often +infinity, -infinity and NaN were added, less retractions.
    special: Option<Box<[i64; 3]>>,
}

impl FloatSum {
    /// Adds `value` `weight` times (takes it back for a negative weight).
    #[inline]
    pub fn add(&mut self, value: f64, weight: i64) {
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32;
        if exponent == 0x7ff {
            return self.add_special(value, weight);
        }
        if weight.unsigned_abs() >= CARRY_AFTER {
            return self.add_in_parts(value, weight);
        }
        let mantissa = bits & ((1 << 52) - 1);
        let (mantissa, exponent) =
            if exponent == 0 { (mantissa, -1074) } else { (mantissa | 1 << 52, exponent - 1075) };
        if mantissa == 0 {
            return;
        }
        let place = exponent - LOWEST;
        let (limb, shift) = (place / LIMB_BITS, place % LIMB_BITS);
        let shifted = u128::from(mantissa) << shift;
        let weight = if value < 0.0 { -weight } else { weight };
        let part = |i: u32| ((shifted >> (32 * i)) as u32) as i64 * weight;
        if self.pending + weight.unsigned_abs() >= CARRY_AFTER {
            self.carry();
        }
        self.pending += weight.unsigned_abs();
        let at = self.window(limb as i16, 3);
        self.limbs[at] += part(0);
        self.limbs[at + 1] += part(1);
        self.limbs[at + 2] += part(2);
    }

    #[cold]
    fn add_special(&mut self, value: f64, weight: i64) {
        let special = self.special.get_or_insert_default();
        let which = if value.is_nan() { 2 } else { usize::from(value < 0.0) };
        special[which] += weight;
        if **special == [0; 3] {
            self.special = None;
        }
    }

    #[cold]
    fn add_in_parts(&mut self, value: f64, weight: i64) {
        // weight = high * 2^29 + low; 2^29 * value is exact unless it overflows, so it is added as 2^29 limbs apart.
        let step = (CARRY_AFTER - 1) as i64;
        let (times, rest) = (weight / step, weight % step);
        self.add(value, rest);
        let mut part = FloatSum::default();
        part.add(value, step - 1);
        part.add(value, 1);
        part.carry();
        part.scale(times);
        self.merge(&part);
    }

    /// Adds `x * y` `weight` times: exactly, unless the product is so small that its last bits are below all doubles.
    /// A product beyond all doubles is an infinity.
    pub(super) fn add_product(&mut self, x: f64, y: f64, weight: i64) {
        let product = x * y;
        self.add(product, weight);
        if product.is_finite() {
            self.add(x.mul_add(y, -product), weight);
        }
    }

    /// Adds a whole number of at most 255 bits `weight` times.
    pub(super) fn add_whole(&mut self, value: i256, weight: i64) {
        let negative = value < i256::ZERO;
        let (mut low, mut high) = value.wrapping_abs().to_parts();
        let mut place = 0;
        // 52 bits at a time are a double each.
        while low != 0 || high != 0 {
            let part = (low & ((1 << 52) - 1)) as u64 as f64 * 2f64.powi(place);
            self.add(if negative { -part } else { part }, weight);
            low = low >> 52 | (high as u128) << 76;
            high >>= 52;
            place += 52;
        }
    }

    /// The finite sum, exactly; `None` with an infinity or NaN in it.
    pub(super) fn exact(&self) -> Option<Dyadic> {
        if self.has_special() {
            return None;
        }
        let (negative, base, digits) = self.magnitude();
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        let exponent = if digits.is_empty() { 0 } else { i32::from(base) * LIMB_BITS + LOWEST };
        Some(Dyadic { mantissa: BigInt::from_slice(sign, &digits), exponent })
    }

    /// Multiplies by `times`, by doubling.
    fn scale(&mut self, times: i64) {
        let mut base = std::mem::take(self);
        let mut left = times.unsigned_abs();
        while left > 0 {
            if left & 1 == 1 {
                self.merge(&base);
            }
            let copy = base.clone();
            base.merge(&copy);
            left >>= 1;
        }
        if times < 0 {
            self.limbs.iter_mut().for_each(|limb| *limb = -*limb);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &FloatSum) {
        if let Some(special) = &other.special {
            let mine = self.special.get_or_insert_default();
            mine.iter_mut().zip(special.iter()).for_each(|(mine, other)| *mine += other);
            if **mine == [0; 3] {
                self.special = None;
            }
        }
        if other.limbs.is_empty() {
            return;
        }
        if self.pending + other.pending + 2 >= CARRY_AFTER {
            self.carry();
            let mut other = other.clone();
            other.carry();
            return self.merge_limbs(&other);
        }
        self.merge_limbs(other);
    }

    fn merge_limbs(&mut self, other: &FloatSum) {
        self.pending += other.pending + 1;
        let at = self.window(other.base, other.limbs.len());
        for (mine, limb) in self.limbs[at..].iter_mut().zip(&other.limbs) {
            *mine += limb;
        }
    }

    /// Makes room for `count` limbs from number `first`; returns the place of the first.
    #[inline]
    fn window(&mut self, first: i16, count: usize) -> usize {
        if self.limbs.is_empty() {
            self.base = first;
        }
        let at = i32::from(first) - i32::from(self.base);
        if at >= 0 && at as usize + count <= self.limbs.len() {
            return at as usize;
        }
        self.widen(first, count)
    }

    #[cold]
    fn widen(&mut self, first: i16, count: usize) -> usize {
        if first < self.base {
            let missing = (i32::from(self.base) - i32::from(first)) as usize;
            self.limbs.insert_many(0, std::iter::repeat_n(0, missing));
            self.base = first;
        }
        let at = (i32::from(first) - i32::from(self.base)) as usize;
        if self.limbs.len() < at + count {
            self.limbs.resize(at + count, 0);
        }
        at
    }

    /// Takes all carries: limbs become digits in [0, 2^32), the highest one signed; zeros at both ends go.
    fn carry(&mut self) {
        self.pending = 1;
        let mut carry = 0i64;
        for limb in &mut self.limbs {
            let sum = *limb + carry;
            *limb = sum & 0xffff_ffff;
            carry = sum >> 32;
        }
        while carry != 0 && carry != -1 {
            self.limbs.push(carry & 0xffff_ffff);
            carry >>= 32;
        }
        if carry == -1 {
            self.limbs.push(-1);
        }
        // -1 above a digit d is the digit d - 2^32; shortest form keeps the highest limb off -1 when it can.
        while let [.., below, -1] = self.limbs[..] {
            if below == 0 {
                break;
            }
            self.limbs.pop();
            if let Some(top) = self.limbs.last_mut() {
                *top -= 1 << 32;
            }
            if self.limbs.last() != Some(&-1) {
                break;
            }
        }
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        let zeros = self.limbs.iter().take_while(|&&limb| limb == 0).count();
        if zeros > 0 {
            self.limbs.drain(..zeros);
            self.base += zeros as i16;
        }
        if self.limbs.is_empty() {
            self.base = 0;
        }
    }

    /// The sign and the digits of the magnitude (radix 2^32, lowest first) with the first one's number.
    fn magnitude(&self) -> (bool, i16, SmallVec<[u32; 8]>) {
        let mut copy = self.clone();
        copy.carry();
        let negative = copy.limbs.last().is_some_and(|&limb| limb < 0);
        if negative {
            copy.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            copy.carry();
        }
        (negative, copy.base, copy.limbs.iter().map(|&limb| limb as u32).collect())
    }

    /// The sum, rounded once to the nearest double (half to even). Infinite when finite values sum beyond the range.
    pub fn to_f64(&self) -> f64 {
        self.special_result().unwrap_or_else(|| self.rounded(53, -1074, 1024))
    }

    /// The sum, rounded once to the nearest real.
    pub fn to_f32(&self) -> f32 {
        self.special_result().unwrap_or_else(|| self.rounded(24, -149, 128)) as f32
    }

    /// Whether an infinity or NaN was added.
    pub fn has_special(&self) -> bool {
        self.special.is_some()
    }

    fn special_result(&self) -> Option<f64> {
        let [positive, negative, nan] = **self.special.as_ref()?;
        Some(match (nan != 0, positive != 0, negative != 0) {
            (true, ..) | (_, true, true) => f64::NAN,
            (_, true, _) => f64::INFINITY,
            _ => f64::NEG_INFINITY,
        })
    }

    /// Rounds to `bits` of mantissa, nothing below 2^`lowest`, infinite from 2^`highest` on.
    fn rounded(&self, bits: i32, lowest: i32, highest: i32) -> f64 {
        let (negative, base, digits) = self.magnitude();
        let Some(&top) = digits.last() else { return 0.0 };
        let bottom = i32::from(base) * LIMB_BITS + LOWEST;
        let length = (digits.len() as i32 - 1) * LIMB_BITS + (32 - top.leading_zeros() as i32);
        // The value is an integer of `length` bits times 2^bottom; keep bits from `cut` on.
        let cut = (length - bits).max(lowest - bottom);
        let bit = |place: i32| digits.get((place / 32) as usize).is_some_and(|digit| digit >> (place % 32) & 1 == 1);
        let mut mantissa = 0u64;
        for place in (cut.max(0)..length).rev() {
            mantissa = mantissa << 1 | u64::from(bit(place));
        }
        if cut > 0 && bit(cut - 1) {
            let sticky = (0..cut - 1).any(bit);
            mantissa += u64::from(sticky || mantissa & 1 == 1);
        }
        let value = exact_product(mantissa, bottom + cut.max(0));
        let value = if value >= 2f64.powi(highest - 1) * 2.0 { f64::INFINITY } else { value };
        if negative { -value } else { value }
    }

    /// Writes base, limb count and limbs after carrying, so that equal sums have equal bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (negative, base, digits) = self.magnitude();
        put_u64(digits.len() as u64 * 4 + u64::from(negative) * 2 + u64::from(self.special.is_some()), out);
        if !digits.is_empty() {
            put_i64(base.into(), out);
            digits.iter().for_each(|digit| out.extend_from_slice(&digit.to_le_bytes()));
        }
        for count in self.special.iter().flat_map(|special| special.iter()) {
            put_i64(*count, out);
        }
    }

    pub(super) fn decode(bytes: &mut Bytes<'_>) -> Result<FloatSum> {
        let head = take_u64(bytes)?;
        let (count, negative, special) = (head / 4, head & 2 != 0, head & 1 != 0);
        if count > 80 {
            return Err(torn());
        }
        let mut sum = FloatSum::default();
        if count > 0 {
            sum.base = i16::try_from(take_i64(bytes)?).map_err(|_| torn())?;
            for _ in 0..count {
                let (digit, rest) = bytes.split_first_chunk::<4>().ok_or_else(torn)?;
                *bytes = rest;
                let digit = i64::from(u32::from_le_bytes(*digit));
                sum.limbs.push(if negative { -digit } else { digit });
            }
            sum.pending = 1;
        }
        if special {
            sum.special = Some(Box::new([take_i64(bytes)?, take_i64(bytes)?, take_i64(bytes)?]));
        }
        Ok(sum)
    }
}

/// `mantissa * 2^exponent`, which the caller knows to be a double (or too large for one).
fn exact_product(mantissa: u64, exponent: i32) -> f64 {
    let mantissa = mantissa as f64;
    if exponent >= 1000 {
        return mantissa * 2f64.powi(1000) * 2f64.powi((exponent - 1000).min(1000));
    }
    if exponent <= -1000 {
        return mantissa * 2f64.powi(-1000) * 2f64.powi((exponent + 1000).max(-1000));
    }
    mantissa * 2f64.powi(exponent)
}
