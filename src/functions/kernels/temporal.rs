//! Arithmetic of dates, times, timestamps and intervals.

use arrow::datatypes::*;

use super::arithmetic::not_arithmetic;
use super::{Col, map, zip};
use crate::base::Result;
use crate::functions::calendar::{DAY_US, add_interval};
use crate::functions::expr::BinaryOp;
use crate::functions::fault::Reason;
use crate::types::SqlType;

type Span = IntervalMonthDayNano;
type SpanType = IntervalMonthDayNanoType;
type Stamp = TimestampMicrosecondType;
type Clock = Time64MicrosecondType;

fn checked<V: Default>(value: Option<V>) -> (V, bool) {
    match value {
        Some(value) => (value, true),
        None => (V::default(), false),
    }
}

/// Evaluates `left op right`; `types` are those of left, right and result.
pub(crate) fn binary(op: BinaryOp, left: Col, right: Col, types: [&SqlType; 3], rows: usize) -> Result<Col> {
    use SqlType::*;
    let subtract = op == BinaryOp::Subtract;
    let (result, to) = (types[2], types[2].arrow());
    match (types[0], types[1]) {
        (Date, Int) => zip::<Date32Type, Int32Type, Date32Type>(
            left,
            right,
            rows,
            &to,
            |l, r| checked(if subtract { l.checked_sub(r) } else { l.checked_add(r) }),
            |_, _| Reason::out_of_range(result),
        ),
        (Int, Date) => binary(op, right, left, [&Date, &Int, result], rows),
        (Date, Date) => zip::<Date32Type, Date32Type, Int32Type>(
            left,
            right,
            rows,
            &to,
            |l, r| checked(l.checked_sub(r)),
            |_, _| Reason::out_of_range(result),
        ),
        (Timestamp | TimestampTz, Interval) => move_stamp(left, right, subtract, result, rows),
        (Interval, Timestamp | TimestampTz) => move_stamp(right, left, false, result, rows),
        (Timestamp | TimestampTz, Timestamp | TimestampTz) => zip::<Stamp, Stamp, SpanType>(
            left,
            right,
            rows,
            &to,
            |l, r| checked(difference(l, r)),
            |_, _| Reason::out_of_range(result),
        ),
        (Time, Interval) => move_clock(left, right, subtract, rows),
        (Interval, Time) => move_clock(right, left, false, rows),
        (Time, Time) => zip::<Clock, Clock, SpanType>(
            left,
            right,
            rows,
            &to,
            |l, r| (Span::new(0, 0, l.wrapping_sub(r).wrapping_mul(1000)), true),
            |_, _| Reason::out_of_range(result),
        ),
        (Interval, Interval) => zip::<SpanType, SpanType, SpanType>(
            left,
            right,
            rows,
            &to,
            |l, r| checked(if subtract { subtract_spans(l, r) } else { add_spans(l, r) }),
            |_, _| Reason::out_of_range(result),
        ),
        (Interval, Double) => stretch(op, left, right, result, rows),
        (Double, Interval) => binary(op, right, left, [&Interval, &Double, result], rows),
        _ => Err(not_arithmetic(op)),
    }
}

/// An interval times or divided by a number.
fn stretch(op: BinaryOp, span: Col, number: Col, ty: &SqlType, rows: usize) -> Result<Col> {
    let to = ty.arrow();
    if op == BinaryOp::Multiply {
        let op = |l, r| checked(scale_span(l, |v| v * r));
        return zip::<SpanType, Float64Type, SpanType>(span, number, rows, &to, op, |_, _| Reason::out_of_range(ty));
    }
    let op = |l, r| checked(scale_span(l, |v| v / r));
    zip::<SpanType, Float64Type, SpanType>(span, number, rows, &to, op, |_, r| {
        if r == 0.0 { Reason::division_by_zero() } else { Reason::out_of_range(ty) }
    })
}

fn move_stamp(stamp: Col, span: Col, back: bool, ty: &SqlType, rows: usize) -> Result<Col> {
    let op = move |us: i64, span: Span| {
        let moved = if back {
            negated(span).and_then(|span| add_interval(us, span.months, span.days, span.nanoseconds))
        } else {
            add_interval(us, span.months, span.days, span.nanoseconds)
        };
        checked(moved)
    };
    zip::<Stamp, SpanType, Stamp>(stamp, span, rows, &ty.arrow(), op, |_, _| Reason::out_of_range(ty))
}

/// Only the time part of the interval counts, modulo a day, as in PostgreSQL.
fn move_clock(clock: Col, span: Col, back: bool, rows: usize) -> Result<Col> {
    let op = move |us: i64, span: Span| {
        let by = span.nanoseconds / 1000 % DAY_US;
        (us.wrapping_add(if back { -by } else { by }).rem_euclid(DAY_US), true)
    };
    zip::<Clock, SpanType, Clock>(clock, span, rows, &SqlType::Time.arrow(), op, |_, _| {
        Reason::out_of_range(&SqlType::Time)
    })
}

/// `left - right` as whole days and the time that remains.
fn difference(left: i64, right: i64) -> Option<Span> {
    let us = left.checked_sub(right)?;
    Some(Span::new(0, i32::try_from(us / DAY_US).ok()?, us % DAY_US * 1000))
}

fn negated(span: Span) -> Option<Span> {
    Some(Span::new(span.months.checked_neg()?, span.days.checked_neg()?, span.nanoseconds.checked_neg()?))
}

fn add_spans(l: Span, r: Span) -> Option<Span> {
    let (months, days) = (l.months.checked_add(r.months)?, l.days.checked_add(r.days)?);
    Some(Span::new(months, days, l.nanoseconds.checked_add(r.nanoseconds)?))
}

fn subtract_spans(l: Span, r: Span) -> Option<Span> {
    let (months, days) = (l.months.checked_sub(r.months)?, l.days.checked_sub(r.days)?);
    Some(Span::new(months, days, l.nanoseconds.checked_sub(r.nanoseconds)?))
}

/// Multiplies or divides an interval by a number: what is left of a month becomes days of 1/30, what is left of a
/// day becomes time (PostgreSQL's interval_mul).
fn scale_span(span: Span, by: impl Fn(f64) -> f64) -> Option<Span> {
    let whole = |value: f64, limit: f64| (value.is_finite() && value.abs() < limit).then_some(value);
    let months = whole(by(f64::from(span.months)), 2_147_483_648.0)?;
    let days = whole(by(f64::from(span.days)), 2_147_483_648.0)?;
    let rest_days = round_to_us((months - months.trunc()) * 30.0);
    let all_days = whole(days.trunc() + rest_days.trunc(), 2_147_483_648.0)?;
    let rest = round_to_us(days - days.trunc() + rest_days - rest_days.trunc());
    let us = by(span.nanoseconds as f64 / 1000.0) + rest * DAY_US as f64;
    let us = whole(us.round_ties_even(), 9.2e15)?;
    Some(Span::new(months.trunc() as i32, all_days as i32, us as i64 * 1000))
}

/// Rounds a fraction of days so that binary noise does not show in the time of day.
fn round_to_us(days: f64) -> f64 {
    (days * DAY_US as f64).round_ties_even() / DAY_US as f64
}

/// Unary minus of an interval.
pub(crate) fn negate(column: Col) -> Result<Col> {
    let to = SqlType::Interval.arrow();
    map::<SpanType, SpanType>(column, &to, |span| checked(negated(span)), |_| Reason::out_of_range(&SqlType::Interval))
}
