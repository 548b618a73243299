//! Dates and times: made of parts, moved between zones, aligned to bins.

use arrow::array::timezone::Tz;
use arrow::datatypes::IntervalMonthDayNano as Span;
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::calendar::{DAY_US, civil_from_days, days_from_civil, days_in_month};
use crate::functions::fault::Reason;
use crate::types::SqlType;

use Kind::{Date, Double, Int, Stamp, StampTz, Text};
const STAMP: Returns = Returns::Type(Kind::Stamp);
const STAMP_TZ: Returns = Returns::Type(Kind::StampTz);
const SPAN: Returns = Returns::Type(Kind::Span);

pub(super) const FUNCTIONS: &[Function] = &[
    function("make_date", &[Int, Int, Int], Returns::Type(Kind::Date), Run::Int(make_date)),
    function("make_time", &[Int, Int, Double], Returns::Type(Kind::Time), Run::Int(|row| clock(row, 0).map(Some))),
    function("make_timestamp", &[Int, Int, Int, Int, Int, Double], STAMP, Run::Int(make_timestamp)),
    function("make_timestamptz", &[Int, Int, Int, Int, Int, Double], STAMP_TZ, Run::Int(make_timestamp)),
    function("make_interval", &[Int], SPAN, Run::Span(make_interval)),
    function("make_interval", &[Int, Int], SPAN, Run::Span(make_interval)),
    function("make_interval", &[Int, Int, Int], SPAN, Run::Span(make_interval)),
    function("make_interval", &[Int, Int, Int, Int], SPAN, Run::Span(make_interval)),
    function("make_interval", &[Int, Int, Int, Int, Int], SPAN, Run::Span(make_interval)),
    function("make_interval", &[Int, Int, Int, Int, Int, Int], SPAN, Run::Span(make_interval)),
    function("make_interval", &[Int, Int, Int, Int, Int, Int, Double], SPAN, Run::Span(make_interval)),
    function("age", &[Stamp, Stamp], SPAN, Run::Span(|row| Ok(Some(age(row.int(0), row.int(1)))))),
    function("age", &[StampTz, StampTz], SPAN, Run::Span(|row| Ok(Some(age(row.int(0), row.int(1)))))),
    function("to_timestamp", &[Double], STAMP_TZ, Run::Int(to_timestamp)),
    function("date_bin", &[Kind::Span, Stamp, Stamp], STAMP, Run::Int(date_bin)),
    function("date_bin", &[Kind::Span, StampTz, StampTz], STAMP_TZ, Run::Int(date_bin)),
    function("timezone", &[Text, Stamp], STAMP_TZ, Run::Int(|row| at_zone(row, true))),
    function("timezone", &[Text, StampTz], STAMP, Run::Int(|row| at_zone(row, false))),
    function("justify_hours", &[Kind::Span], SPAN, Run::Span(|row| Ok(justify(row.span(0), true, false)))),
    function("justify_days", &[Kind::Span], SPAN, Run::Span(|row| Ok(justify(row.span(0), false, true)))),
    function("justify_interval", &[Kind::Span], SPAN, Run::Span(|row| Ok(justify(row.span(0), true, true)))),
    function("isfinite", &[Date], Returns::Type(Kind::Bool), Run::Bool(|_| Ok(Some(true)))),
    function("isfinite", &[Stamp], Returns::Type(Kind::Bool), Run::Bool(|_| Ok(Some(true)))),
    function("isfinite", &[StampTz], Returns::Type(Kind::Bool), Run::Bool(|_| Ok(Some(true)))),
    function("isfinite", &[Kind::Span], Returns::Type(Kind::Bool), Run::Bool(|_| Ok(Some(true)))),
];

fn overflow(message: impl Into<std::borrow::Cow<'static, str>>) -> Reason {
    Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

fn days(row: &Row<'_>) -> Result<i64, Reason> {
    let (year, month, day) = (row.int(0), row.int(1), row.int(2));
    // There is no year zero; -1 is 1 BC.
    let civil = if year < 0 { year + 1 } else { year };
    let valid = year != 0 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(civil, month);
    if !valid || !(-4800..300_000).contains(&year) {
        return Err(overflow(format!("date field value out of range: {year}-{month:02}-{day:02}")));
    }
    Ok(days_from_civil(civil, month, day))
}

fn make_date(row: &Row<'_>) -> Made<i64> {
    days(row).map(Some)
}

/// Hours, minutes and seconds from argument `from` on, as microseconds.
fn clock(row: &Row<'_>, from: usize) -> Result<i64, Reason> {
    let (hour, minute, second) = (row.int(from), row.int(from + 1), row.double(from + 2));
    let us = (second * 1e6).round_ties_even();
    let valid = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60e6).contains(&us)
        || hour == 24 && minute == 0 && us == 0.0;
    if !valid {
        return Err(overflow(format!("time field value out of range: {hour}:{minute:02}:{second:02}")));
    }
    Ok(hour * 3_600_000_000 + minute * 60_000_000 + us as i64)
}

fn make_timestamp(row: &Row<'_>) -> Made<i64> {
    let (days, clock) = (days(row)?, clock(row, 3)?);
    days.checked_mul(DAY_US)
        .and_then(|us| us.checked_add(clock))
        .map(Some)
        .ok_or_else(|| overflow("timestamp out of range"))
}

fn make_interval(row: &Row<'_>) -> Made<Span> {
    let part = |index: usize| if index < row.len() { row.int(index) } else { 0 };
    let seconds = if row.len() > 6 { row.double(6) } else { 0.0 };
    let range = || overflow("interval out of range");
    let months = i32::try_from(part(0) * 12 + part(1)).map_err(|_| range())?;
    let days = i32::try_from(part(2) * 7 + part(3)).map_err(|_| range())?;
    let us = (seconds * 1e6).round_ties_even();
    if !us.is_finite() || us.abs() > 9e15 {
        return Err(range());
    }
    let us = part(4) * 3_600_000_000 + part(5) * 60_000_000 + us as i64;
    Ok(Some(Span::new(months, days, us.checked_mul(1000).ok_or_else(range)?)))
}

/// The difference in years, months, days and time, as calendars count.
fn age(later: i64, earlier: i64) -> Span {
    if later < earlier {
        let Span { months, days, nanoseconds } = age(earlier, later);
        return Span::new(-months, -days, -nanoseconds);
    }
    let (later_day, earlier_day) = (later.div_euclid(DAY_US), earlier.div_euclid(DAY_US));
    let ((y1, m1, d1), (y2, m2, d2)) = (civil_from_days(later_day), civil_from_days(earlier_day));
    let mut us = later.rem_euclid(DAY_US) - earlier.rem_euclid(DAY_US);
    let mut days = d1 - d2;
    let mut months = (y1 - y2) * 12 + m1 - m2;
    if us < 0 {
        us += DAY_US;
        days -= 1;
    }
    if days < 0 {
        // The month that the earlier one lies in lends its days.
        days += days_in_month(y2, m2);
        months -= 1;
    }
    Span::new(months as i32, days as i32, us * 1000)
}

fn to_timestamp(row: &Row<'_>) -> Made<i64> {
    let us = (row.double(0) * 1e6).round_ties_even();
    if us.is_nan() {
        return Err(overflow("timestamp cannot be NaN"));
    }
    if us.abs() < 9.2e18 { Ok(Some(us as i64)) } else { Err(overflow("timestamp out of range")) }
}

fn date_bin(row: &Row<'_>) -> Made<i64> {
    let span = row.span(0);
    if span.months != 0 {
        return Err(Reason::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let stride = i64::from(span.days) * DAY_US + span.nanoseconds / 1000;
    if stride <= 0 {
        return Err(overflow("stride must be greater than zero"));
    }
    let (at, origin) = (row.int(1), row.int(2));
    let since = at.checked_sub(origin).ok_or_else(|| overflow("interval out of range"))?;
    Ok(Some(origin + since - since.rem_euclid(stride)))
}

/// The zone called `name`: of the database, `UTC`, or an offset; PostgreSQL's bare `+02` means west, as POSIX has it.
fn zone(name: &str) -> Result<Tz, Reason> {
    let unknown = || Reason::new(sqlstate::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"));
    let upper = name.to_ascii_uppercase();
    let name = match upper.as_str() {
        "Z" | "UTC" | "GMT" => "UTC",
        "CET" => "+01:00",
        "CEST" => "+02:00",
        "EST" => "-05:00",
        "PST" => "-08:00",
        _ => name,
    };
    let turned;
    let name = match name.as_bytes().first() {
        Some(b'+') if !matches!(upper.as_str(), "CET" | "CEST") => {
            turned = name.replacen('+', "-", 1);
            &turned
        }
        Some(b'-') if !matches!(upper.as_str(), "EST" | "PST") => {
            turned = name.replacen('-', "+", 1);
            &turned
        }
        _ => name,
    };
    name.parse().map_err(|_| unknown())
}

fn at_zone(row: &Row<'_>, to_utc: bool) -> Made<i64> {
    let zone = zone(row.text(0))?;
    let us = row.int(1);
    let range = || Reason::out_of_range(&SqlType::Timestamp);
    let point: NaiveDateTime = DateTime::from_timestamp_micros(us).ok_or_else(range)?.naive_utc();
    let offset = if to_utc {
        match zone.offset_from_local_datetime(&point) {
            MappedLocalTime::Single(offset) => offset,
            // The clock goes back: standard time, the later one.
            MappedLocalTime::Ambiguous(_, later) => later,
            // The clock skips: the offset before it does.
            MappedLocalTime::None => {
                let before = point - chrono::TimeDelta::hours(3);
                zone.offset_from_utc_datetime(&before)
            }
        }
    } else {
        zone.offset_from_utc_datetime(&point)
    };
    let shift = i64::from(offset.fix().local_minus_utc()) * 1_000_000;
    Ok(if to_utc { us.checked_sub(shift) } else { us.checked_add(shift) })
}

fn justify(span: Span, hours: bool, days: bool) -> Option<Span> {
    const DAY_NS: i64 = DAY_US * 1000;
    let (mut months, mut day, mut ns) = (i64::from(span.months), i64::from(span.days), span.nanoseconds);
    if hours {
        day += ns / DAY_NS;
        ns %= DAY_NS;
    }
    if days {
        months += day / 30;
        day %= 30;
    }
    if days && hours {
        if months > 0 && (day < 0 || day == 0 && ns < 0) {
            (months, day) = (months - 1, day + 30);
        } else if months < 0 && (day > 0 || day == 0 && ns > 0) {
            (months, day) = (months + 1, day - 30);
        }
    } else if days {
        if months > 0 && day < 0 {
            (months, day) = (months - 1, day + 30);
        } else if months < 0 && day > 0 {
            (months, day) = (months + 1, day - 30);
        }
    }
    if hours {
        if day > 0 && ns < 0 {
            (day, ns) = (day - 1, ns + DAY_NS);
        } else if day < 0 && ns > 0 {
            (day, ns) = (day + 1, ns - DAY_NS);
        }
    }
    Some(Span::new(i32::try_from(months).ok()?, i32::try_from(day).ok()?, ns))
}
