//! to_char of points in time and intervals, with PostgreSQL's template patterns.

use super::{Function, Kind, Made, Returns, Run, function};
use crate::base::sqlstate;
use crate::functions::calendar::{DAY_US, civil_from_days, days_from_civil};
use crate::functions::fault::Reason;

use Kind::{Span, Stamp, StampTz, Text};
const TEXT: Returns = Returns::Type(Kind::Text);

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "to_char",
        &[Stamp, Text],
        TEXT,
        Run::Text(|row, out| {
            let (us, template) = (row.int(0), row.text(1));
            row.shown(us, template, unit_us, out, |out| point(Point::of(us, false), template, out))
        }),
    ),
    function(
        "to_char",
        &[StampTz, Text],
        TEXT,
        Run::Text(|row, out| {
            let (us, template) = (row.int(0), row.text(1));
            row.shown(us, template, unit_us, out, |out| point(Point::of(us, true), template, out))
        }),
    ),
    function(
        "to_char",
        &[Span, Text],
        TEXT,
        Run::Text(|row, out| point(Point::of_span(row.span(0)), row.text(1), out)),
    ),
];

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Patterns, longer ones before those that begin them.
const PATTERNS: [&str; 52] = [
    "SSSSS", "SSSS", "Y,YYY", "MONTH", "Month", "month", "IYYY", "IDDD", "YYYY", "HH24", "HH12", "A.D.", "B.C.",
    "A.M.", "P.M.", "a.m.", "p.m.", "DAY", "Day", "day", "DDD", "MON", "Mon", "mon", "YYY", "IYY", "HH", "MI", "MS",
    "US", "SS", "YY", "IY", "IW", "WW", "MM", "DD", "DY", "Dy", "dy", "ID", "AM", "PM", "am", "pm", "AD", "BC", "CC",
    "RM", "TZ", "OF", "FF",
];
const SINGLE: [&str; 6] = ["Y", "I", "D", "W", "Q", "J"];

/// A point in time, or an interval, in parts.
struct Point {
    year: i64,
    month: i64,
    day: i64,
    /// Days since 1970; none for intervals.
    days: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    us: i64,
    zone: bool,
}

impl Point {
    fn of(us: i64, zone: bool) -> Point {
        let days = us.div_euclid(DAY_US);
        let (year, month, day) = civil_from_days(days);
        Point { year, month, day, days: Some(days), zone, ..Point::clock(us.rem_euclid(DAY_US)) }
    }

    fn of_span(span: arrow::datatypes::IntervalMonthDayNano) -> Point {
        let months = i64::from(span.months);
        let (year, month, day) = (months / 12, months % 12, span.days.into());
        Point { year, month, day, ..Point::clock(span.nanoseconds / 1000) }
    }

    fn clock(us: i64) -> Point {
        Point {
            year: 0,
            month: 0,
            day: 0,
            days: None,
            hour: us / 3_600_000_000,
            minute: us / 60_000_000 % 60,
            second: us / 1_000_000 % 60,
            us: us % 1_000_000,
            zone: false,
        }
    }

    fn day_of_year(&self) -> i64 {
        self.days.map_or(0, |days| days - days_from_civil(self.year, 1, 1) + 1)
    }

    /// Sunday is 0.
    fn weekday(&self) -> i64 {
        self.days.map_or(0, |days| (days + 4).rem_euclid(7))
    }

    /// ISO year and week.
    fn iso(&self) -> (i64, i64) {
        let days = self.days.unwrap_or(0);
        let thursday = days + 3 - (days + 3).rem_euclid(7);
        let (year, ..) = civil_from_days(thursday);
        (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
    }
}

pub(super) fn next_pattern(rest: &str) -> Option<&'static str> {
    let all = || PATTERNS.iter().chain(&SINGLE).copied();
    let alike = |pattern: &&str| rest.get(..pattern.len()).is_some_and(|head| head.eq_ignore_ascii_case(pattern));
    // The spelling of names decides how they are shown; that of numbers is free.
    all().find(|pattern| rest.starts_with(pattern)).or_else(|| all().find(alike))
}

fn ordinal(number: i64) -> &'static str {
    match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

/// The unit of time of which a template shows all points alike, or a smaller one.
fn unit_us(template: &str) -> i64 {
    let template = template.to_ascii_uppercase();
    let has = |patterns: &[&str]| patterns.iter().any(|pattern| template.contains(pattern));
    match () {
        () if has(&["US", "MS", "FF"]) => 1,
        () if has(&["S"]) => 1_000_000,
        () if has(&["MI"]) => 60_000_000,
        () if has(&["H", "AM", "PM", "M."]) => 3_600_000_000,
        () => DAY_US,
    }
}

fn point(at: Point, template: &str, out: &mut String) -> Made<()> {
    let mut rest = template;
    if rest.is_empty() {
        return Ok(None);
    }
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner.find('"').unwrap_or(inner.len());
            out.push_str(inner.get(..end).unwrap_or_default());
            rest = inner.get(end + 1..).unwrap_or_default();
            continue;
        }
        let fill = rest.strip_prefix("FM");
        let body = fill.unwrap_or(rest);
        let Some(pattern) = next_pattern(body) else {
            if fill.is_some() {
                rest = body;
                continue;
            }
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        };
        rest = body.get(pattern.len()..).unwrap_or_default();
        let shown = part(&at, pattern, fill.is_none())?;
        out.push_str(&shown);
        for (suffix, upper) in [("TH", true), ("th", false)] {
            if let (Some(after), Ok(number)) = (rest.strip_prefix(suffix), shown.trim().parse::<i64>()) {
                let ordinal = ordinal(number);
                out.push_str(&if upper { ordinal.to_uppercase() } else { ordinal.to_owned() });
                rest = after;
            }
        }
    }
    Ok(Some(()))
}

/// Digits, with zeros in front when `padded`.
fn digits(value: i64, width: usize, padded: bool) -> String {
    let width = if padded { width + usize::from(value < 0) } else { 0 };
    format!("{value:0width$}")
}

/// What one pattern shows; numbers with zeros and names with blanks before or behind when `padded`.
fn part(at: &Point, pattern: &str, padded: bool) -> Result<String, Reason> {
    let year = if at.days.is_some() && at.year <= 0 { 1 - at.year } else { at.year };
    let (iso_year, iso_week) = at.iso();
    let twelve = if at.hour % 12 == 0 { 12 } else { at.hour % 12 };
    let (value, width) = match pattern {
        "YYYY" => (year, 4),
        "YYY" => (year % 1000, 3),
        "YY" => (year % 100, 2),
        "Y" => (year % 10, 1),
        "IYYY" => (iso_year, 4),
        "IYY" => (iso_year % 1000, 3),
        "IY" => (iso_year % 100, 2),
        "I" => (iso_year % 10, 1),
        "MM" => (at.month, 2),
        "DD" => (at.day, 2),
        "DDD" => (at.day_of_year(), 3),
        "IDDD" => ((iso_week - 1) * 7 + (at.weekday() + 6) % 7 + 1, 3),
        "HH24" => (at.hour, 2),
        "HH12" | "HH" => (twelve, 2),
        "MI" => (at.minute, 2),
        "SS" => (at.second, 2),
        "MS" => (at.us / 1000, 3),
        "US" => (at.us, 6),
        "SSSS" | "SSSSS" => (at.hour * 3600 + at.minute * 60 + at.second, 1),
        "WW" => ((at.day_of_year() - 1) / 7 + 1, 2),
        "W" => ((at.day - 1) / 7 + 1, 1),
        "IW" => (iso_week, 2),
        "J" => (at.days.unwrap_or(0) + 2_440_588, 1),
        "CC" => ((year + 99) / 100, 2),
        _ => return word(at, pattern, padded),
    };
    Ok(digits(value, width, padded))
}

/// What a pattern of words shows.
fn word(at: &Point, pattern: &str, padded: bool) -> Result<String, Reason> {
    let half = |am: &str, pm: &str| if at.hour.rem_euclid(24) < 12 { am.to_owned() } else { pm.to_owned() };
    let era = |bc: &str, ad: &str| if at.days.is_some() && at.year <= 0 { bc.to_owned() } else { ad.to_owned() };
    let dated = at.days.is_some();
    let shown = match pattern {
        "Y,YYY" => format!("{},{:03}", at.year / 1000, at.year % 1000),
        "Q" if dated => ((at.month + 2) / 3).to_string(),
        "Q" => String::new(),
        "AM" | "PM" => half("AM", "PM"),
        "am" | "pm" => half("am", "pm"),
        "A.M." | "P.M." => half("A.M.", "P.M."),
        "a.m." | "p.m." => half("a.m.", "p.m."),
        "AD" | "BC" => era("BC", "AD"),
        "A.D." | "B.C." => era("B.C.", "A.D."),
        "TZ" => {
            if at.zone {
                "UTC".to_owned()
            } else {
                String::new()
            }
        }
        "OF" => "+00".to_owned(),
        "RM" => format!("{:<4}", ROMAN.get((at.month - 1).max(0) as usize).copied().unwrap_or_default()),
        _ if !dated => {
            return Err(Reason::new(
                sqlstate::INVALID_DATETIME_FORMAT,
                "invalid format specification for an interval value",
            ));
        }
        "D" => (at.weekday() + 1).to_string(),
        "ID" => ((at.weekday() + 6) % 7 + 1).to_string(),
        "MONTH" | "Month" | "month" => name(&MONTHS, at.month - 1, pattern, padded, false),
        "MON" | "Mon" | "mon" => name(&MONTHS, at.month - 1, pattern, padded, true),
        "DAY" | "Day" | "day" => name(&DAYS, at.weekday(), pattern, padded, false),
        "DY" | "Dy" | "dy" => name(&DAYS, at.weekday(), pattern, padded, true),
        other => return Err(unsupported(other)),
    };
    Ok(shown)
}

/// A name in the capitals of `like`, in nine places if it is whole and `padded`.
fn name(names: &[&str], index: i64, like: &str, padded: bool, short: bool) -> String {
    let name = names.get(index as usize).copied().unwrap_or_default();
    let name = if short { name.get(..3).unwrap_or(name) } else { name };
    let mut chars = like.chars();
    let upper = (chars.next().is_some_and(char::is_uppercase), chars.next().is_some_and(char::is_uppercase));
    let name = match upper {
        (true, true) => name.to_uppercase(),
        (true, false) => name.to_owned(),
        _ => name.to_lowercase(),
    };
    if padded && !short { format!("{name:9}") } else { name }
}

pub(super) fn unsupported(pattern: &str) -> Reason {
    Reason::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("template pattern \"{pattern}\" is not supported"))
}
