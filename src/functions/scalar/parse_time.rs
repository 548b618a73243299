//! to_date and to_timestamp: points in time out of text, by a template.

use super::to_char::{DAYS, MONTHS, next_pattern, unsupported};
use super::{Function, Kind, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::calendar::{DAY_US, days_from_civil, days_in_month};
use crate::functions::fault::Reason;

use Kind::Text;

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "to_date",
        &[Text, Text],
        Returns::Type(Kind::Date),
        Run::Int(|row| Ok(Some(parse(row)?.div_euclid(DAY_US)))),
    ),
    function("to_timestamp", &[Text, Text], Returns::Type(Kind::StampTz), Run::Int(|row| parse(row).map(Some))),
];

/// What was read so far.
struct Found {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    us: i64,
    afternoon: Option<bool>,
}

fn wrong(pattern: &str, found: &str) -> Reason {
    let found: String = found.chars().take(pattern.len()).collect();
    Reason::new(sqlstate::INVALID_DATETIME_FORMAT, format!("invalid value \"{found}\" for \"{pattern}\""))
}

/// The point that a text shows by a template, in microseconds since 1970 UTC.
fn parse(row: &Row<'_>) -> Result<i64, Reason> {
    let (text, template) = (row.text(0), row.text(1));
    let mut found =
        Found { year: 1, month: 1, day: 1, day_of_year: None, hour: 0, minute: 0, second: 0, us: 0, afternoon: None };
    let (mut rest, mut left) = (text.trim_start(), template);
    while let Some(first) = left.chars().next() {
        let body = left.strip_prefix("FM").unwrap_or(left);
        let Some(pattern) = next_pattern(body) else {
            left = left.get(first.len_utf8()..).unwrap_or_default();
            // A separator stands for any; letters of the template for themselves.
            let skipped = rest.strip_prefix(first).or_else(|| {
                let next = rest.chars().next()?;
                (!first.is_alphanumeric() && !next.is_alphanumeric()).then(|| rest.get(next.len_utf8()..)).flatten()
            });
            rest = skipped.unwrap_or(rest);
            continue;
        };
        left = body.get(pattern.len()..).unwrap_or_default();
        rest = found.take(pattern, rest.trim_start(), next_pattern(left).is_some())?;
    }
    found.point(text)
}

impl Found {
    /// Reads what `pattern` stands for at the head of `rest`; returns what follows.
    fn take<'a>(&mut self, pattern: &str, rest: &'a str, more: bool) -> Result<&'a str, Reason> {
        let upper = pattern.to_uppercase();
        let names: Option<(&[&str], bool)> = match upper.as_str() {
            "MONTH" => Some((&MONTHS, false)),
            "MON" => Some((&MONTHS, true)),
            "DAY" => Some((&DAYS, false)),
            "DY" => Some((&DAYS, true)),
            _ => None,
        };
        if let Some((names, short)) = names {
            let length = |name: &&str| {
                let name = if short { name.get(..3).unwrap_or(name) } else { name };
                rest.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name)).map(|_| name.len())
            };
            let known = names.iter().enumerate().find_map(|(index, name)| Some((index, length(name)?)));
            let (index, length) = known.ok_or_else(|| wrong(pattern, rest))?;
            if upper.starts_with('M') {
                self.month = index as i64 + 1;
            }
            return Ok(rest.get(length..).unwrap_or_default());
        }
        if matches!(upper.as_str(), "AM" | "PM" | "A.M." | "P.M.") {
            let head = rest.get(..upper.len()).ok_or_else(|| wrong(pattern, rest))?;
            self.afternoon = Some(head.to_ascii_uppercase().starts_with('P'));
            return Ok(rest.get(upper.len()..).unwrap_or_default());
        }
        let width = match pattern {
            "YYYY" if !more => 9,
            "HH24" | "HH12" => 2,
            other => other.len(),
        };
        let end = rest.bytes().take(width).position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len().min(width));
        let digits = rest.get(..end).unwrap_or_default();
        let value: i64 = digits.parse().map_err(|_| wrong(pattern, rest))?;
        self.set(&upper, value, digits.len())?;
        Ok(rest.get(end..).unwrap_or_default())
    }

    fn set(&mut self, pattern: &str, value: i64, width: usize) -> Result<(), Reason> {
        let fraction = |places: u32| value * 10i64.pow(places.saturating_sub(width as u32));
        match pattern {
            "YYYY" => self.year = value,
            "YYY" => self.year = value + if value >= 520 { 1000 } else { 2000 },
            "YY" => self.year = value + if value < 70 { 2000 } else { 1900 },
            "MM" => self.month = value,
            "DD" => self.day = value,
            "DDD" => self.day_of_year = Some(value),
            "HH24" => self.hour = value,
            "HH12" | "HH" if (1..=12).contains(&value) => {
                self.hour = value % 12;
                self.afternoon = self.afternoon.or(Some(false));
            }
            "HH12" | "HH" => {
                let message = format!("hour \"{value}\" is invalid for the 12-hour clock");
                return Err(Reason::new(sqlstate::INVALID_DATETIME_FORMAT, message));
            }
            "MI" => self.minute = value,
            "SS" => self.second = value,
            "MS" => self.us += fraction(3) * 1000,
            "US" => self.us += fraction(6),
            other => return Err(unsupported(other)),
        }
        Ok(())
    }

    fn point(&self, text: &str) -> Result<i64, Reason> {
        let hour = self.hour + if self.afternoon == Some(true) { 12 } else { 0 };
        let days_of_month = days_in_month(self.year, self.month.clamp(1, 12));
        let valid = (1..=12).contains(&self.month)
            && (1..=days_of_month).contains(&self.day)
            && (0..=24).contains(&hour)
            && (0..60).contains(&self.minute)
            && (0..=60).contains(&self.second)
            && self.year < 290_000;
        if !valid {
            let message = format!("date/time field value out of range: \"{text}\"");
            return Err(Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, message));
        }
        let days = match self.day_of_year {
            Some(day) => days_from_civil(self.year, 1, 1) + day - 1,
            None => days_from_civil(self.year, self.month, self.day),
        };
        Ok(days * DAY_US + hour * 3_600_000_000 + self.minute * 60_000_000 + self.second * 1_000_000 + self.us)
    }
}
