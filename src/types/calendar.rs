//! The proleptic Gregorian calendar: days since 1970 ↔ year, month, day (algorithms of Howard Hinnant,
//! "chrono-compatible low-level date algorithms").

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a day of the calendar; `month` from 1 to 12, `day` may lie outside the month.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of the day `days` after 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// How many days a month has.
pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `us` since 1970 moved by an interval, as PostgreSQL does it: months first (the day clipped to the month's
/// end), then days, then time. `None` beyond 64 bits.
pub(crate) fn add_interval(us: i64, months: i32, days: i32, nanoseconds: i64) -> Option<i64> {
    let mut us = us;
    if months != 0 {
        let (day, time) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
        let (year, month, day) = civil_from_days(day);
        let index = year * 12 + (month - 1) + i64::from(months);
        let (year, month) = (index.div_euclid(12), index.rem_euclid(12) + 1);
        let day = day.min(days_in_month(year, month));
        us = days_from_civil(year, month, day).checked_mul(DAY_US)?.checked_add(time)?;
    }
    us.checked_add(i64::from(days).checked_mul(DAY_US)?)?.checked_add(nanoseconds / 1000)
}
