//! Variances, covariances and regressions from exact sums of values and of their products.
//!
//! Sums are exact, so an answer depends on the multiset of rows alone; it is rounded once, at its end. With
//! `N = n·Σxy − Σx·Σy`, covariance is `N / n²` or `N / (n·(n−1))`. Formulas and NULLs are PostgreSQL's (`float.c`).

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use num_bigint::{BigInt, Sign};

use super::float_sum::FloatSum;
use super::function::AggregateFunction;
use super::sums::Rows;
use super::varint::{Bytes, put_i64, take_i64};
use crate::base::{Error, Result};
use crate::functions::fault::{Evaluated, Fault, Faults, Reason};
use crate::functions::kernels::decimal::bound;
use crate::types::SqlType;
use crate::types::numeric::Leading;

/// Per slot how many rows count, and sums: of one variable Σx, Σx²; of two (the first argument is y) Σx, Σx², Σy,
/// Σy², Σxy. Whole numbers and numerics are summed as their digits.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    counts: Vec<i64>,
    sums: Vec<FloatSum>,
    stride: usize,
}

const X: usize = 0;
const XX: usize = 1;
const Y: usize = 2;
const YY: usize = 3;
const XY: usize = 4;

impl Moments {
    pub fn new(variables: usize) -> Moments {
        Moments { counts: Vec::new(), sums: Vec::new(), stride: if variables == 1 { 2 } else { 5 } }
    }

    pub fn resize(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
        self.sums.resize(slots * self.stride, FloatSum::default());
    }

    pub fn forget_first(&mut self, slots: usize) {
        self.counts.drain(..slots);
        self.sums.drain(..slots * self.stride);
    }

    pub fn bytes(&self) -> usize {
        self.counts.capacity() * 8 + self.sums.capacity() * size_of::<FloatSum>()
    }

    pub fn add(&mut self, columns: &[ArrayRef], rows: &Rows<'_>) -> Result<()> {
        let stride = self.stride;
        let (counts, sums) = (&mut self.counts, &mut self.sums);
        match columns {
            [x] if is_float(x.data_type()) => {
                let x = double(x)?;
                rows.each(|row, slot, weight| {
                    let sums = &mut sums[slot * stride..][..stride];
                    counts[slot] += weight;
                    sums[X].add(x[row], weight);
                    sums[XX].add_product(x[row], x[row], weight);
                });
            }
            [x] => {
                let x = digits(x)?;
                rows.each(|row, slot, weight| {
                    let sums = &mut sums[slot * stride..][..stride];
                    counts[slot] += weight;
                    sums[X].add_whole(i256::from_i128(x[row]), weight);
                    // The square of 127 bits has 254.
                    sums[XX].add_whole(i256::from_i128(x[row]).wrapping_mul(i256::from_i128(x[row])), weight);
                });
            }
            [y, x] => {
                let (y, x) = (double(y)?, double(x)?);
                rows.each(|row, slot, weight| {
                    let sums = &mut sums[slot * stride..][..stride];
                    counts[slot] += weight;
                    sums[X].add(x[row], weight);
                    sums[XX].add_product(x[row], x[row], weight);
                    sums[Y].add(y[row], weight);
                    sums[YY].add_product(y[row], y[row], weight);
                    sums[XY].add_product(x[row], y[row], weight);
                });
            }
            other => return Err(Error::internal(format!("moments of {} columns", other.len()))),
        }
        Ok(())
    }

    pub fn merge(&mut self, other: &Moments, map: &[u32]) {
        for (from, &to) in map.iter().enumerate() {
            let to = to as usize;
            self.counts[to] += other.counts[from];
            let theirs = &other.sums[from * self.stride..][..self.stride];
            self.sums[to * self.stride..].iter_mut().zip(theirs).for_each(|(mine, theirs)| mine.merge(theirs));
        }
    }

    pub fn encode(&self, slot: usize, out: &mut Vec<u8>) {
        put_i64(self.counts[slot], out);
        self.sums[slot * self.stride..][..self.stride].iter().for_each(|sum| sum.encode(out));
    }

    pub fn decode(&mut self, bytes: &mut Bytes<'_>) -> Result<()> {
        self.counts.push(take_i64(bytes)?);
        for _ in 0..self.stride {
            self.sums.push(FloatSum::decode(bytes)?);
        }
        Ok(())
    }

    /// The answers of slots `from .. to`; `argument` is the type of the first argument.
    pub fn finish(
        &self,
        function: AggregateFunction,
        argument: &SqlType,
        ty: &SqlType,
        from: usize,
        to: usize,
    ) -> Evaluated {
        if function == AggregateFunction::RegrCount {
            let counts: ArrayRef = Arc::new(Int64Array::from(self.counts[from..to].to_vec()));
            return Evaluated { values: counts, faults: None };
        }
        let mut faults = Vec::new();
        let mut fault =
            |slot: usize| faults.push(Fault { row: (slot - from) as u32, reason: Reason::out_of_range(ty) });
        let slots = (from..to).map(|slot| (slot, self.counts[slot], &self.sums[slot * self.stride..][..self.stride]));
        let values: ArrayRef = match ty {
            SqlType::Decimal { precision, scale } => {
                let from_scale = if let SqlType::Decimal { scale, .. } = argument { *scale } else { 0 };
                let limit = BigInt::from(bound(*precision));
                let values = slots.map(|(slot, n, sums)| {
                    let value = numeric(function, n, sums, from_scale, *scale)?;
                    let fits = if value < limit { i128::try_from(value).ok() } else { None };
                    fits.or_else(|| {
                        fault(slot);
                        None
                    })
                });
                Arc::new(values.collect::<Decimal128Array>().with_data_type(ty.arrow()))
            }
            _ => {
                let values = slots.map(|(slot, n, sums)| {
                    let special = sums[X].has_special() || sums.get(Y).is_some_and(FloatSum::has_special);
                    // A product beyond all doubles, or an answer beyond them.
                    if !special && sums.iter().any(FloatSum::has_special) {
                        fault(slot);
                        return None;
                    }
                    let value = double_of(function, n, sums)?;
                    if value.is_infinite() && !special {
                        fault(slot);
                    }
                    Some(value)
                });
                Arc::new(values.collect::<Float64Array>())
            }
        };
        Evaluated { values, faults: Faults::new(to - from, faults) }
    }
}

fn is_float(ty: &DataType) -> bool {
    matches!(ty, DataType::Float32 | DataType::Float64)
}

fn double(column: &ArrayRef) -> Result<Vec<f64>> {
    if let Some(reals) = column.as_primitive_opt::<Float32Type>() {
        return Ok(reals.values().iter().map(|&value| value.into()).collect());
    }
    match column.as_primitive_opt::<Float64Type>() {
        Some(doubles) => Ok(doubles.values().to_vec()),
        None => Err(Error::internal(format!("moments were given values of {}", column.data_type()))),
    }
}

fn digits(column: &ArrayRef) -> Result<Vec<i128>> {
    Ok(match column.data_type() {
        DataType::Int16 => column.as_primitive::<Int16Type>().values().iter().map(|&value| value.into()).collect(),
        DataType::Int32 => column.as_primitive::<Int32Type>().values().iter().map(|&value| value.into()).collect(),
        DataType::Int64 => column.as_primitive::<Int64Type>().values().iter().map(|&value| value.into()).collect(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().values().to_vec(),
        other => return Err(Error::internal(format!("moments were given values of {other}"))),
    })
}

/// `mantissa · 2^exponent`, exactly.
#[derive(Clone, Debug)]
pub(super) struct Dyadic {
    pub mantissa: BigInt,
    pub exponent: i32,
}

impl Dyadic {
    fn times(&self, other: &Dyadic) -> Dyadic {
        Dyadic { mantissa: &self.mantissa * &other.mantissa, exponent: self.exponent + other.exponent }
    }

    fn times_whole(&self, times: i64) -> Dyadic {
        Dyadic { mantissa: &self.mantissa * times, exponent: self.exponent }
    }

    fn minus(&self, other: &Dyadic) -> Dyadic {
        let exponent = self.exponent.min(other.exponent);
        let at = |of: &Dyadic| &of.mantissa << (of.exponent - exponent) as usize;
        Dyadic { mantissa: at(self) - at(other), exponent }
    }

    fn is_zero(&self) -> bool {
        self.mantissa.sign() == Sign::NoSign
    }

    /// As a whole number, which it is.
    fn whole(&self) -> BigInt {
        if self.exponent >= 0 {
            &self.mantissa << self.exponent as usize
        } else {
            &self.mantissa >> -self.exponent as usize
        }
    }

    /// `self / other` as a double, rounded once and once more where it is not normal.
    fn over(&self, other: &Dyadic) -> f64 {
        let (top, bottom) = (self.mantissa.magnitude(), other.mantissa.magnitude());
        if top.bits() == 0 || bottom.bits() == 0 {
            return if bottom.bits() == 0 { f64::NAN } else { 0.0 };
        }
        // A quotient of 64 or 65 bits, its last one set if anything was lost.
        let shift = 65 + bottom.bits() as i64 - top.bits() as i64;
        let (top, bottom) =
            if shift >= 0 { (top << shift as usize, bottom.clone()) } else { (top.clone(), bottom << -shift as usize) };
        let quotient = &top / &bottom;
        let lost = &quotient * &bottom != top;
        let mut bits = quotient.iter_u64_digits().rev().fold(0u128, |all, digit| all << 64 | u128::from(digit));
        bits = bits << 1 | u128::from(lost);
        let value = scale(bits as f64, i64::from(self.exponent) - i64::from(other.exponent) - shift - 1);
        if (self.mantissa.sign() == Sign::Minus) != (other.mantissa.sign() == Sign::Minus) { -value } else { value }
    }
}

fn scale(mut value: f64, mut exponent: i64) -> f64 {
    while exponent > 0 && value.is_finite() {
        let step = exponent.min(1000);
        value *= 2f64.powi(step as i32);
        exponent -= step;
    }
    while exponent < 0 && value != 0.0 {
        let step = (-exponent).min(1000);
        value *= 2f64.powi(-(step as i32));
        exponent += step;
    }
    value
}

/// `n·Σab − Σa·Σb`.
fn centred(n: i64, ab: &Dyadic, a: &Dyadic, b: &Dyadic) -> Dyadic {
    ab.times_whole(n).minus(&a.times(b))
}

fn whole(value: i64) -> Dyadic {
    Dyadic { mantissa: value.into(), exponent: 0 }
}

/// The digits of a variance or deviation of numerics with `from_scale` digits behind the point, at `scale`; `None`
/// for NULL.
fn numeric(function: AggregateFunction, n: i64, sums: &[FloatSum], from_scale: i8, scale: i8) -> Option<BigInt> {
    use AggregateFunction::{StddevPop, StddevSamp, VarSamp};
    let sample = matches!(function, VarSamp | StddevSamp);
    if n < if sample { 2 } else { 1 } {
        return None;
    }
    let (x, xx) = (sums[X].exact()?, sums[XX].exact()?);
    let top = centred(n, &xx, &x, &x).whole();
    let ten = BigInt::from(10);
    let bottom = BigInt::from(n) * (if sample { n - 1 } else { n });
    let twice = 2 * i32::from(from_scale.max(0));
    // PostgreSQL rounds the variance to the digits of a quotient, and takes the root of what it rounded.
    let leading = Leading::of_text(&top.to_string(), twice);
    let digits = leading.divided_by(Leading::of_text(&bottom.to_string(), 0)).max(twice);
    let rounded = |top: BigInt, bottom: BigInt| (top * 2 + &bottom) / (bottom * 2);
    let variance = rounded(top * ten.pow((digits - twice) as u32), bottom);
    let value = match function {
        StddevPop | StddevSamp => {
            let four: BigInt = variance * ten.pow(digits as u32) * 4;
            (four.sqrt() + 1) / 2
        }
        _ => variance,
    };
    let scale = i32::from(scale.max(0));
    Some(match u32::try_from(digits - scale) {
        Ok(dropped) => rounded(value, ten.pow(dropped)),
        Err(_) => value * ten.pow((scale - digits) as u32),
    })
}

/// The answer in double precision; `None` for NULL.
fn double_of(function: AggregateFunction, n: i64, sums: &[FloatSum]) -> Option<f64> {
    use AggregateFunction::*;
    let sample = matches!(function, VarSamp | StddevSamp | CovarSamp);
    if n < if sample { 2 } else { 1 } {
        return None;
    }
    let needed: &[usize] = match function {
        VarPop | VarSamp | StddevPop | StddevSamp | RegrSxx => &[X, XX],
        RegrAvgx => return Some(sums[X].to_f64() / n as f64),
        RegrAvgy => return Some(sums[Y].to_f64() / n as f64),
        RegrSyy => &[Y, YY],
        CovarPop | CovarSamp | RegrSxy => &[X, Y, XY],
        _ => &[X, XX, Y, YY, XY],
    };
    if needed.iter().any(|&sum| sums[sum].has_special()) {
        return Some(f64::NAN);
    }
    let exact = |sum: usize| sums[sum].exact();
    let over = |top: &Dyadic, times: i64| top.over(&whole(n).times_whole(times));
    let spread = |square: usize, sum: usize| Some(centred(n, &exact(square)?, &exact(sum)?, &exact(sum)?));
    Some(match function {
        VarPop => over(&spread(XX, X)?, n),
        VarSamp => over(&spread(XX, X)?, n - 1),
        StddevPop => over(&spread(XX, X)?, n).sqrt(),
        StddevSamp => over(&spread(XX, X)?, n - 1).sqrt(),
        RegrSxx => over(&spread(XX, X)?, 1),
        RegrSyy => over(&spread(YY, Y)?, 1),
        _ => {
            let sxy = centred(n, &exact(XY)?, &exact(X)?, &exact(Y)?);
            match function {
                CovarPop => return Some(over(&sxy, n)),
                CovarSamp => return Some(over(&sxy, n - 1)),
                RegrSxy => return Some(over(&sxy, 1)),
                _ => {}
            }
            let (sxx, syy) = (spread(XX, X)?, spread(YY, Y)?);
            if sxx.is_zero() || (function == Corr && syy.is_zero()) {
                return None;
            }
            match function {
                Corr => {
                    let square = sxy.times(&sxy).over(&sxx.times(&syy));
                    let corr = square.sqrt().min(1.0);
                    if sxy.mantissa.sign() == Sign::Minus { -corr } else { corr }
                }
                RegrR2 if syy.is_zero() => 1.0,
                RegrR2 => sxy.times(&sxy).over(&sxx.times(&syy)),
                RegrSlope => sxy.over(&sxx),
                // (Σy − Σx·slope) / n
                _ => exact(Y)?.times(&sxx).minus(&exact(X)?.times(&sxy)).over(&sxx.times_whole(n)),
            }
        }
    })
}
