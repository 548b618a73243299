//! EXTRACT, date_part and date_trunc over dates, times, timestamps and intervals.

use arrow::datatypes::*;

use super::calendar::{DAY_US, civil_from_days, days_from_civil};
use super::cast;
use super::fault::Reason;
use super::kernels::{Col, map};
use crate::base::{Error, Result, sqlstate};
use crate::types::SqlType;

/// A field of a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeField {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Epoch,
}

impl TimeField {
    /// The field called `name`, for values of `ty`.
    pub fn parse(name: &str, ty: &SqlType) -> Result<TimeField> {
        use TimeField::*;
        let lower = name.to_ascii_lowercase();
        let field = match lower.as_str() {
            "millennium" | "millenniums" => Millennium,
            "century" | "centuries" => Century,
            "decade" | "decades" => Decade,
            "year" | "years" | "y" => Year,
            "isoyear" => IsoYear,
            "quarter" | "qtr" => Quarter,
            "month" | "months" | "mon" => Month,
            "week" | "weeks" => Week,
            "day" | "days" | "d" => Day,
            "dow" => DayOfWeek,
            "isodow" => IsoDayOfWeek,
            "doy" => DayOfYear,
            "hour" | "hours" | "h" => Hour,
            "minute" | "minutes" | "min" => Minute,
            "second" | "seconds" | "s" | "sec" => Second,
            "millisecond" | "milliseconds" | "ms" => Millisecond,
            "microsecond" | "microseconds" | "us" => Microsecond,
            "epoch" => Epoch,
            _ => {
                return Err(Error::invalid(format!("unit \"{name}\" not recognized for type {ty}"))
                    .with_hint("Use year, quarter, month, week, day, dow, doy, hour, minute, second or epoch."));
            }
        };
        let date_only = matches!(field, Hour | Minute | Second | Millisecond | Microsecond);
        let calendar = matches!(field, IsoYear | Week | DayOfWeek | IsoDayOfWeek | DayOfYear);
        let fits = match ty {
            SqlType::Timestamp | SqlType::TimestampTz => true,
            SqlType::Date => !date_only,
            SqlType::Time => date_only || field == Epoch,
            SqlType::Interval => !calendar,
            _ => false,
        };
        if fits {
            return Ok(field);
        }
        Err(Error::invalid(format!("unit \"{name}\" not supported for type {ty}"))
            .with_code(sqlstate::FEATURE_NOT_SUPPORTED))
    }

    fn scale(self) -> i8 {
        match self {
            TimeField::Second | TimeField::Epoch => 6,
            TimeField::Millisecond => 3,
            TimeField::Millennium | TimeField::Century | TimeField::Decade | TimeField::Year | TimeField::IsoYear => 0,
            TimeField::Quarter | TimeField::Month | TimeField::Week | TimeField::Day => 0,
            TimeField::DayOfWeek | TimeField::IsoDayOfWeek | TimeField::DayOfYear => 0,
            TimeField::Hour | TimeField::Minute | TimeField::Microsecond => 0,
        }
    }

    /// Whether date_trunc takes it.
    pub fn truncates(self) -> bool {
        use TimeField::*;
        !matches!(self, DayOfWeek | IsoDayOfWeek | DayOfYear | Epoch | IsoYear)
    }

    /// The type that EXTRACT gives for it.
    pub fn numeric_type(self) -> SqlType {
        SqlType::Decimal { precision: 20, scale: self.scale() }
    }
}

/// ISO week and year of a day.
fn iso_week(days: i64) -> (i64, i64) {
    // The Thursday of the same week decides the year.
    let thursday = days + 3 - (days + 3).rem_euclid(7);
    let (year, ..) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn round_up(year: i64, years: i64) -> i64 {
    if year > 0 { (year + years - 1) / years } else { -((years - 1 - (year - 1)) / years) }
}

/// The unscaled digits of a field of a timestamp.
fn of_timestamp(us: i64, field: TimeField) -> i64 {
    let (days, time) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (year, month, day) = civil_from_days(days);
    let shown = if year > 0 { year } else { year - 1 };
    match field {
        TimeField::Millennium => round_up(year, 1000),
        TimeField::Century => round_up(year, 100),
        TimeField::Decade => year.div_euclid(10),
        TimeField::Year => shown,
        TimeField::IsoYear => iso_week(days).0,
        TimeField::Quarter => (month + 2) / 3,
        TimeField::Month => month,
        TimeField::Week => iso_week(days).1,
        TimeField::Day => day,
        TimeField::DayOfWeek => (days + 4).rem_euclid(7),
        TimeField::IsoDayOfWeek => (days + 3).rem_euclid(7) + 1,
        TimeField::DayOfYear => days - days_from_civil(year, 1, 1) + 1,
        TimeField::Hour => time / 3_600_000_000,
        TimeField::Minute => time / 60_000_000 % 60,
        TimeField::Second | TimeField::Millisecond | TimeField::Microsecond => time % 60_000_000,
        TimeField::Epoch => us,
    }
}

/// The unscaled digits of a field of an interval.
fn of_interval(span: IntervalMonthDayNano, field: TimeField) -> i64 {
    let (months, us) = (i64::from(span.months), span.nanoseconds / 1000);
    match field {
        TimeField::Millennium => months / 12_000,
        TimeField::Century => months / 1200,
        TimeField::Decade => months / 120,
        TimeField::Year => months / 12,
        TimeField::Quarter => months % 12 / 3 + 1,
        TimeField::Month => months % 12,
        TimeField::Day => span.days.into(),
        TimeField::Hour => us / 3_600_000_000,
        TimeField::Minute => us / 60_000_000 % 60,
        TimeField::Second | TimeField::Millisecond | TimeField::Microsecond => us % 60_000_000,
        TimeField::Epoch => {
            // A year counts 365.25 days, a month of the rest 30.
            let quarter_days = months / 12 * 1461 + months % 12 * 120 + i64::from(span.days) * 4;
            (quarter_days.saturating_mul(DAY_US / 4)).saturating_add(us)
        }
        TimeField::IsoYear
        | TimeField::Week
        | TimeField::DayOfWeek
        | TimeField::IsoDayOfWeek
        | TimeField::DayOfYear => 0,
    }
}

/// EXTRACT(field FROM x): numeric.
pub(crate) fn numeric(column: Col, field: TimeField, from: &SqlType, to: &SqlType) -> Result<Col> {
    let arrow = to.arrow();
    let range = || Reason::out_of_range(to);
    match from {
        SqlType::Interval => map::<IntervalMonthDayNanoType, Decimal128Type>(
            column,
            &arrow,
            |span| (of_interval(span, field).into(), true),
            |_| range(),
        ),
        SqlType::Time => map::<Time64MicrosecondType, Decimal128Type>(
            column,
            &arrow,
            |us| (of_timestamp(us, field).into(), true),
            |_| range(),
        ),
        _ => {
            let column = cast::cast(column, from, &SqlType::Timestamp)?;
            map::<TimestampMicrosecondType, Decimal128Type>(
                column,
                &arrow,
                |us| (of_timestamp(us, field).into(), true),
                |_| range(),
            )
        }
    }
}

/// date_part(field, x): double precision.
pub(crate) fn double(column: Col, field: TimeField, from: &SqlType) -> Result<Col> {
    let ty = field.numeric_type();
    let digits = numeric(column, field, from, &ty)?;
    cast::cast(digits, &ty, &SqlType::Double)
}

/// date_trunc(field, x).
pub(crate) fn truncate(column: Col, field: TimeField, ty: &SqlType) -> Result<Col> {
    let arrow = ty.arrow();
    if *ty == SqlType::Interval {
        return map::<IntervalMonthDayNanoType, IntervalMonthDayNanoType>(
            column,
            &arrow,
            |span| (truncate_interval(span, field), field != TimeField::Week),
            |_| Reason::new(sqlstate::FEATURE_NOT_SUPPORTED, "unit \"week\" not supported for type interval"),
        );
    }
    map::<TimestampMicrosecondType, TimestampMicrosecondType>(
        column,
        &arrow,
        |us| truncate_timestamp(us, field).map_or((0, false), |us| (us, true)),
        |_| Reason::out_of_range(ty),
    )
}

/// Microseconds of the clock units, which need no calendar.
fn unit_us(field: TimeField) -> Option<i64> {
    match field {
        TimeField::Day => Some(DAY_US),
        TimeField::Hour => Some(3_600_000_000),
        TimeField::Minute => Some(60_000_000),
        TimeField::Second => Some(1_000_000),
        TimeField::Millisecond => Some(1000),
        TimeField::Microsecond => Some(1),
        TimeField::Millennium | TimeField::Century | TimeField::Decade | TimeField::Year | TimeField::IsoYear => None,
        TimeField::Quarter | TimeField::Month | TimeField::Week | TimeField::Epoch => None,
        TimeField::DayOfWeek | TimeField::IsoDayOfWeek | TimeField::DayOfYear => None,
    }
}

fn truncate_timestamp(us: i64, field: TimeField) -> Option<i64> {
    if let Some(unit) = unit_us(field) {
        return us.checked_sub(us.rem_euclid(unit));
    }
    let days = us.div_euclid(DAY_US);
    let (year, month, _) = civil_from_days(days);
    let first = |year: i64| days_from_civil(year, 1, 1);
    let days = match field {
        TimeField::Millennium => first((year - 1).div_euclid(1000) * 1000 + 1),
        TimeField::Century => first((year - 1).div_euclid(100) * 100 + 1),
        TimeField::Decade => first(year.div_euclid(10) * 10),
        TimeField::Quarter => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        TimeField::Month => days_from_civil(year, month, 1),
        TimeField::Week => days - (days + 3).rem_euclid(7),
        _ => first(year),
    };
    days.checked_mul(DAY_US)
}

fn truncate_interval(span: IntervalMonthDayNano, field: TimeField) -> IntervalMonthDayNano {
    let months = |unit: i32| IntervalMonthDayNano::new(span.months / unit * unit, 0, 0);
    match field {
        TimeField::Millennium => months(12_000),
        TimeField::Century => months(1200),
        TimeField::Decade => months(120),
        TimeField::Year => months(12),
        TimeField::Quarter => months(3),
        TimeField::Month => months(1),
        TimeField::Day => IntervalMonthDayNano::new(span.months, span.days, 0),
        _ => {
            let unit = unit_us(field).unwrap_or(1) * 1000;
            IntervalMonthDayNano::new(span.months, span.days, span.nanoseconds / unit * unit)
        }
    }
}
