//! Functions of Flink SQL whose names PostgreSQL leaves free.

use super::pattern::java;
use super::to_char::{DAYS, MONTHS};
use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::calendar::{DAY_US, civil_from_days, days_from_civil};
use crate::functions::fault::Reason;

use Kind::{Big, Int, Stamp, Text};
const BIG: Returns = Returns::Type(Kind::Big);
const TEXT: Returns = Returns::Type(Kind::Text);

pub(super) const FUNCTIONS: &[Function] = &[
    function("year", &[Stamp], BIG, Run::Int(|row| Ok(Some(date(row).0)))),
    function("quarter", &[Stamp], BIG, Run::Int(|row| Ok(Some((date(row).1 + 2) / 3)))),
    function("month", &[Stamp], BIG, Run::Int(|row| Ok(Some(date(row).1)))),
    function("week", &[Stamp], BIG, Run::Int(|row| Ok(Some(week(row))))),
    function("dayofyear", &[Stamp], BIG, Run::Int(|row| Ok(Some(day(row) - days_from_civil(date(row).0, 1, 1) + 1)))),
    function("dayofmonth", &[Stamp], BIG, Run::Int(|row| Ok(Some(date(row).2)))),
    // Sunday is 1.
    function("dayofweek", &[Stamp], BIG, Run::Int(|row| Ok(Some((day(row) + 4).rem_euclid(7) + 1)))),
    function("hour", &[Stamp], BIG, Run::Int(|row| Ok(Some(clock(row) / 3_600_000_000)))),
    function("minute", &[Stamp], BIG, Run::Int(|row| Ok(Some(clock(row) / 60_000_000 % 60)))),
    function("second", &[Stamp], BIG, Run::Int(|row| Ok(Some(clock(row) / 1_000_000 % 60)))),
    function("date_format", &[Stamp, Text], TEXT, Run::Text(|row, out| shown(row, row.int(0), row.text(1), out))),
    function(
        "from_unixtime",
        &[Big],
        TEXT,
        Run::Text(|row, out| shown(row, seconds(row)?, "yyyy-MM-dd HH:mm:ss", out)),
    ),
    function("from_unixtime", &[Big, Text], TEXT, Run::Text(|row, out| shown(row, seconds(row)?, row.text(1), out))),
    function("split_index", &[Text, Text, Int], TEXT, Run::Text(split_index)),
    function("regexp_extract", &[Text, Text], TEXT, Run::Text(extract)),
    function("regexp_extract", &[Text, Text, Int], TEXT, Run::Text(extract)),
];

fn day(row: &Row<'_>) -> i64 {
    row.int(0).div_euclid(DAY_US)
}

fn clock(row: &Row<'_>) -> i64 {
    row.int(0).rem_euclid(DAY_US)
}

fn date(row: &Row<'_>) -> (i64, i64, i64) {
    civil_from_days(day(row))
}

/// ISO week.
fn week(row: &Row<'_>) -> i64 {
    let thursday = day(row) + 3 - (day(row) + 3).rem_euclid(7);
    let (year, ..) = civil_from_days(thursday);
    (thursday - days_from_civil(year, 1, 1)) / 7 + 1
}

fn seconds(row: &Row<'_>) -> Result<i64, Reason> {
    row.int(0)
        .checked_mul(1_000_000)
        .ok_or_else(|| Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
}

fn split_index(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (text, by) = (row.text(0), row.text(1));
    let Ok(index) = usize::try_from(row.int(2)) else { return Ok(None) };
    if by.is_empty() {
        return Ok(None);
    }
    Ok(text.split(by).nth(index).map(|part| out.push_str(part)))
}

fn extract(row: &Row<'_>, out: &mut String) -> Made<()> {
    let group = if row.len() > 2 { row.int(2) } else { 0 };
    let regex = java(row, row.text(1))?;
    let Some(found) = regex.captures(row.text(0)) else { return Ok(None) };
    let group = usize::try_from(group).ok().and_then(|group| found.get(group));
    Ok(group.map(|group| out.push_str(group.as_str())))
}

/// Letters of one kind in a row that `date_format` takes; as in Java.
const LONGEST_RUN: usize = 19;

fn shown(row: &Row<'_>, us: i64, pattern: &str, out: &mut String) -> Made<()> {
    row.shown(us, pattern, unit_us, out, |out| format(us, pattern, out))
}

/// The unit of time of which a pattern shows all points alike, or a smaller one.
fn unit_us(pattern: &str) -> i64 {
    match () {
        () if pattern.contains('S') => 1,
        () if pattern.contains('s') => 1_000_000,
        () if pattern.contains('m') => 60_000_000,
        () if pattern.contains(['H', 'k', 'K', 'h', 'a']) => 3_600_000_000,
        () => DAY_US,
    }
}

/// Java's `DateTimeFormatter` patterns: letters in runs, text in single quotes.
fn format(us: i64, pattern: &str, out: &mut String) -> Made<()> {
    let (day, time) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (year, month, of_month) = civil_from_days(day);
    let hour = time / 3_600_000_000;
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        if letter == '\'' {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner.find('\'').unwrap_or(inner.len());
            out.push_str(if end == 0 { "'" } else { inner.get(..end).unwrap_or_default() });
            rest = inner.get(end + 1..).unwrap_or_default();
            continue;
        }
        let run = rest.chars().take_while(|c| *c == letter).count();
        rest = rest.get(run * letter.len_utf8()..).unwrap_or_default();
        if run > LONGEST_RUN {
            let message =
                format!("pattern of date_format has {run} letters \"{letter}\" in a row; {LONGEST_RUN} is the most");
            return Err(Reason::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let mut padded = |value: i64| out.push_str(&format!("{value:0run$}"));
        match letter {
            'y' | 'u' if run == 2 => padded(year.rem_euclid(100)),
            'y' | 'u' => padded(year),
            'M' | 'L' if run <= 2 => padded(month),
            'M' | 'L' => {
                let name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
                out.push_str(if run == 3 { name.get(..3).unwrap_or(name) } else { name });
            }
            'd' => padded(of_month),
            'D' => padded(day - days_from_civil(year, 1, 1) + 1),
            'H' => padded(hour),
            'k' => padded(if hour == 0 { 24 } else { hour }),
            'K' => padded(hour % 12),
            'h' => padded(if hour % 12 == 0 { 12 } else { hour % 12 }),
            'm' => padded(time / 60_000_000 % 60),
            's' => padded(time / 1_000_000 % 60),
            'S' => {
                let digits = format!("{:06}000", time % 1_000_000);
                out.push_str(digits.get(..run.min(9)).unwrap_or_default());
            }
            'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            'E' => {
                let name = DAYS.get((day + 4).rem_euclid(7) as usize).copied().unwrap_or_default();
                out.push_str(if run < 4 { name.get(..3).unwrap_or(name) } else { name });
            }
            letter if letter.is_ascii_alphabetic() => {
                let message = format!("pattern letter \"{letter}\" of date_format is not supported");
                return Err(Reason::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
            other => (0..run).for_each(|_| out.push(other)),
        }
    }
    Ok(Some(()))
}
