//! `+ - * / %` and unary minus, checked, over operands already cast to the types of `typing`.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::*;

use super::{Col, decimal, map, temporal, zip};
use crate::base::{Error, Result};
use crate::functions::expr::BinaryOp;
use crate::functions::fault::Reason;
use crate::types::SqlType;

/// Evaluates `left op right`; `types` are those of left, right and result.
pub(crate) fn binary(op: BinaryOp, left: Col, right: Col, types: [&SqlType; 3], rows: usize) -> Result<Col> {
    let [left_type, right_type, result] = types;
    match result {
        SqlType::SmallInt => integers::<Int16Type>(op, left, right, result, rows),
        SqlType::Int if *left_type == SqlType::Int => integers::<Int32Type>(op, left, right, result, rows),
        SqlType::BigInt => integers::<Int64Type>(op, left, right, result, rows),
        SqlType::Real => floats::<Float32Type>(op, left, right, result, rows),
        SqlType::Double => floats::<Float64Type>(op, left, right, result, rows),
        SqlType::Decimal { .. } => decimal::binary(op, left, right, types, rows),
        _ => temporal::binary(op, left, right, [left_type, right_type, result], rows),
    }
}

/// Whole numbers whose overflow can be seen.
trait Whole: ArrowNativeTypeOp {
    fn add(self, other: Self) -> (Self, bool);
    fn subtract(self, other: Self) -> (Self, bool);
    fn multiply(self, other: Self) -> (Self, bool);
    fn divide(self, other: Self) -> (Self, bool);
    fn modulo(self, other: Self) -> (Self, bool);
}

use arrow::array::ArrowNativeTypeOp;

macro_rules! whole {
    ($($native:ty),*) => { $(
        impl Whole for $native {
            #[inline]
            fn add(self, other: Self) -> (Self, bool) {
                let (value, over) = self.overflowing_add(other);
                (value, !over)
            }
            #[inline]
            fn subtract(self, other: Self) -> (Self, bool) {
                let (value, over) = self.overflowing_sub(other);
                (value, !over)
            }
            #[inline]
            fn multiply(self, other: Self) -> (Self, bool) {
                let (value, over) = self.overflowing_mul(other);
                (value, !over)
            }
            #[inline]
            fn divide(self, other: Self) -> (Self, bool) {
                match self.checked_div(other) {
                    Some(value) => (value, true),
                    None => (0, false),
                }
            }
            #[inline]
            fn modulo(self, other: Self) -> (Self, bool) {
                // The least number modulo -1 is 0, although the division overflows.
                if other == 0 { (0, false) } else { (self.wrapping_rem(other), true) }
            }
        }
    )* };
}
whole!(i16, i32, i64);

fn integers<T: ArrowPrimitiveType>(op: BinaryOp, left: Col, right: Col, ty: &SqlType, rows: usize) -> Result<Col>
where
    T::Native: Whole,
{
    let to = ty.arrow();
    let range = |_, _| Reason::out_of_range(ty);
    let division = |_, r: T::Native| if r.is_zero() { Reason::division_by_zero() } else { Reason::out_of_range(ty) };
    match op {
        BinaryOp::Add => zip::<T, T, T>(left, right, rows, &to, Whole::add, range),
        BinaryOp::Subtract => zip::<T, T, T>(left, right, rows, &to, Whole::subtract, range),
        BinaryOp::Multiply => zip::<T, T, T>(left, right, rows, &to, Whole::multiply, range),
        BinaryOp::Divide => zip::<T, T, T>(left, right, rows, &to, Whole::divide, division),
        BinaryOp::Modulo => zip::<T, T, T>(left, right, rows, &to, Whole::modulo, division),
        _ => Err(not_arithmetic(op)),
    }
}

pub(super) fn not_arithmetic(op: BinaryOp) -> Error {
    Error::internal(format!("operator {} has no arithmetic kernel for its operands", op.symbol()))
}

/// Floats whose overflow and underflow can be seen.
trait Float: ArrowNativeTypeOp {
    const TYPE: SqlType;
    fn finite(self) -> bool;
    fn remainder(self, other: Self) -> Self;
}

impl Float for f32 {
    const TYPE: SqlType = SqlType::Real;
    fn finite(self) -> bool {
        self.is_finite()
    }
    fn remainder(self, other: Self) -> Self {
        self % other
    }
}

impl Float for f64 {
    const TYPE: SqlType = SqlType::Double;
    fn finite(self) -> bool {
        self.is_finite()
    }
    fn remainder(self, other: Self) -> Self {
        self % other
    }
}

fn floats<T: ArrowPrimitiveType>(op: BinaryOp, left: Col, right: Col, ty: &SqlType, rows: usize) -> Result<Col>
where
    T::Native: Float + PartialEq,
{
    let to = ty.arrow();
    let zero = T::Native::default();
    // As PostgreSQL's check_float: finite operands must not give an infinite result.
    let over = |l: T::Native, r: T::Native, v: T::Native| v.finite() || !l.finite() || !r.finite();
    let range = |_, _| Reason::out_of_range(&T::Native::TYPE);
    let underflow = || Reason::new(crate::base::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow");
    match op {
        BinaryOp::Add => zip::<T, T, T>(
            left,
            right,
            rows,
            &to,
            |l, r| {
                let v = l.add_wrapping(r);
                (v, over(l, r, v))
            },
            range,
        ),
        BinaryOp::Subtract => zip::<T, T, T>(
            left,
            right,
            rows,
            &to,
            |l, r| {
                let v = l.sub_wrapping(r);
                (v, over(l, r, v))
            },
            range,
        ),
        BinaryOp::Multiply => zip::<T, T, T>(
            left,
            right,
            rows,
            &to,
            |l, r| {
                let v = l.mul_wrapping(r);
                (v, over(l, r, v) && (v != zero || l == zero || r == zero))
            },
            |l, r| if l.mul_wrapping(r) == zero { underflow() } else { range(l, r) },
        ),
        BinaryOp::Divide => zip::<T, T, T>(
            left,
            right,
            rows,
            &to,
            |l, r| {
                let v = l.div_wrapping(r);
                (v, r != zero && over(l, r, v) && (v != zero || l == zero || !r.finite()))
            },
            |l, r| match (r == zero, l.div_wrapping(r) == zero) {
                (true, _) => Reason::division_by_zero(),
                (false, true) => underflow(),
                (false, false) => range(l, r),
            },
        ),
        BinaryOp::Modulo => zip::<T, T, T>(
            left,
            right,
            rows,
            &to,
            |l, r| (l.remainder(r), r != zero),
            |_, _| Reason::division_by_zero(),
        ),
        _ => Err(not_arithmetic(op)),
    }
}

/// Unary minus.
pub(crate) fn negate(column: Col, ty: &SqlType) -> Result<Col> {
    let to = ty.arrow();
    match ty {
        SqlType::SmallInt => negate_whole::<Int16Type>(column, ty),
        SqlType::Int => negate_whole::<Int32Type>(column, ty),
        SqlType::BigInt => negate_whole::<Int64Type>(column, ty),
        SqlType::Real => map::<Float32Type, Float32Type>(column, &to, |v| (-v, true), |_| Reason::out_of_range(ty)),
        SqlType::Double => map::<Float64Type, Float64Type>(column, &to, |v| (-v, true), |_| Reason::out_of_range(ty)),
        SqlType::Decimal { .. } => map::<Decimal128Type, Decimal128Type>(
            column,
            &to,
            |v| (v.wrapping_neg(), true),
            |_| Reason::out_of_range(ty),
        ),
        SqlType::Interval => temporal::negate(column),
        _ => Err(Error::internal(format!("unary minus has no kernel for {ty}"))),
    }
}

fn negate_whole<T: ArrowPrimitiveType>(column: Col, ty: &SqlType) -> Result<Col>
where
    T::Native: Whole,
{
    map::<T, T>(column, &ty.arrow(), |v| T::Native::default().subtract(v), |_| Reason::out_of_range(ty))
}
