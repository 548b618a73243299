//! Casts among dates, times, timestamps and intervals; the session's time zone is UTC.

use arrow::datatypes::*;

use super::no_cast;
use crate::base::Result;
use crate::functions::calendar::DAY_US;
use crate::functions::fault::Reason;
use crate::functions::kernels::{Col, map};
use crate::types::SqlType;

type Stamp = TimestampMicrosecondType;
type Clock = Time64MicrosecondType;
type Span = IntervalMonthDayNanoType;

/// The first microsecond of a day, where 64 bits hold it.
fn midnight(days: i32) -> (i64, bool) {
    let (us, over) = i64::from(days).overflowing_mul(DAY_US);
    (us, !over)
}

/// Casts a column of date, time, timestamp(tz) or interval to another of these.
pub(super) fn cast(column: Col, from: &SqlType, to: &SqlType) -> Result<Col> {
    use SqlType::*;
    let arrow = to.arrow();
    match (from, to) {
        (Date, Timestamp | TimestampTz) => {
            map::<Date32Type, Stamp>(column, &arrow, midnight, |_| Reason::out_of_range(to))
        }
        (Timestamp | TimestampTz, Timestamp | TimestampTz) => {
            map::<Stamp, Stamp>(column, &arrow, |us| (us, true), |_| Reason::out_of_range(to))
        }
        (Timestamp | TimestampTz, Date) => map::<Stamp, Date32Type>(
            column,
            &arrow,
            |us| (us.div_euclid(DAY_US) as i32, true),
            |_| Reason::out_of_range(to),
        ),
        (Timestamp | TimestampTz, Time) => {
            map::<Stamp, Clock>(column, &arrow, |us| (us.rem_euclid(DAY_US), true), |_| Reason::out_of_range(to))
        }
        (Time, Interval) => map::<Clock, Span>(
            column,
            &arrow,
            |us| (IntervalMonthDayNano::new(0, 0, us.saturating_mul(1000)), true),
            |_| Reason::out_of_range(to),
        ),
        (Interval, Time) => map::<Span, Clock>(
            column,
            &arrow,
            |span| ((span.nanoseconds / 1000).rem_euclid(DAY_US), true),
            |_| Reason::out_of_range(to),
        ),
        _ => Err(no_cast(from, to)),
    }
}
