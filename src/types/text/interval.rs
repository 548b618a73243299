//! Intervals out of text.

use arrow::datatypes::IntervalMonthDayNano;

use super::read::{Parsed, Reader, invalid, trim};
use crate::base::sqlstate;
use crate::types::calendar::DAY_US;
use crate::types::{Reason, SqlType};

/// An interval: `1 year 2 mons 3 days 04:05:06.7 ago` or ISO 8601 `P1Y2M3DT4H5M6.7S`.
pub(crate) fn interval(text: &str) -> Parsed<IntervalMonthDayNano> {
    let trimmed = trim(text);
    let mut sum = Span::default();
    if let Some(iso) = trimmed.strip_prefix('P') {
        sum.iso(iso, text)?;
    } else {
        sum.words(trimmed, text)?;
    }
    sum.finish(text)
}

#[derive(Default)]
struct Span {
    months: f64,
    days: f64,
    us: f64,
    /// Time that was given in exact digits.
    exact_us: i64,
}

impl Span {
    fn add(&mut self, amount: f64, unit: &str) -> bool {
        let unit = unit.strip_suffix('s').filter(|rest| rest.len() > 1 && *rest != "m").unwrap_or(unit);
        let months = |count: f64| amount * count;
        match unit {
            "millennium" | "millennia" | "mil" => self.months += months(12_000.0),
            "century" | "centurie" | "cent" | "c" => self.months += months(1200.0),
            "decade" | "dec" => self.months += months(120.0),
            "year" | "yr" | "y" => self.months += months(12.0),
            "month" | "mon" => self.months += amount,
            "week" | "w" => self.days += amount * 7.0,
            "day" | "d" => self.days += amount,
            "hour" | "hr" | "h" => self.us += amount * 3_600_000_000.0,
            "minute" | "min" | "m" => self.us += amount * 60_000_000.0,
            "second" | "sec" | "s" => self.us += amount * 1_000_000.0,
            "millisecond" | "msec" | "ms" => self.us += amount * 1000.0,
            "microsecond" | "usec" | "us" => self.us += amount,
            _ => return false,
        }
        true
    }

    fn words(&mut self, trimmed: &str, text: &str) -> Parsed<()> {
        let fault = || invalid(&SqlType::Interval, text);
        let lower = trimmed.to_ascii_lowercase();
        let mut rest = lower.strip_prefix('@').unwrap_or(&lower).trim();
        let ago = rest.strip_suffix("ago");
        rest = ago.unwrap_or(rest).trim_end();
        if rest.is_empty() {
            return Err(fault());
        }
        while !rest.is_empty() {
            let end = rest
                .char_indices()
                .find(|&(i, c)| !(c.is_ascii_digit() || c == '.' || c == ':' || (i == 0 && (c == '-' || c == '+'))))
                .map_or(rest.len(), |(i, _)| i);
            let (number, tail) = rest.split_at(end);
            if number.contains(':') {
                self.clock(number, text)?;
                rest = tail.trim_start();
                continue;
            }
            let amount: f64 = number.parse().map_err(|_| fault())?;
            let tail = tail.trim_start();
            let end = tail.bytes().position(|b| !b.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            // A bare number is seconds.
            if !self.add(amount, if unit.is_empty() { "second" } else { unit }) {
                return Err(fault());
            }
            rest = tail.trim_start();
        }
        if ago.is_some() {
            *self =
                Span { months: -self.months, days: -self.days, us: -self.us, exact_us: self.exact_us.saturating_neg() };
        }
        Ok(())
    }

    fn clock(&mut self, number: &str, text: &str) -> Parsed<()> {
        let fault = || invalid(&SqlType::Interval, text);
        let (negative, digits) = match number.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let mut reader = Reader { rest: digits };
        let hours = reader.number(9).ok_or_else(fault)?;
        let minutes = if reader.eat(':') { reader.number(2).ok_or_else(fault)? } else { 0 };
        let seconds = if reader.eat(':') { reader.number(2).ok_or_else(fault)? } else { 0 };
        let us = if reader.eat('.') { reader.fraction() } else { 0 };
        if !reader.rest.is_empty() || minutes > 59 || seconds > 59 {
            return Err(fault());
        }
        let total = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + us;
        self.exact_us = self.exact_us.saturating_add(if negative { -total } else { total });
        Ok(())
    }

    fn iso(&mut self, iso: &str, text: &str) -> Parsed<()> {
        let fault = || invalid(&SqlType::Interval, text);
        let (mut rest, mut time) = (iso, false);
        if rest.is_empty() {
            return Err(fault());
        }
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('T') {
                (rest, time) = (tail, true);
                continue;
            }
            let end = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(fault)?;
            let (number, tail) = rest.split_at(end);
            let amount: f64 = number.parse().map_err(|_| fault())?;
            let unit = match (tail.as_bytes().first(), time) {
                (Some(b'Y'), false) => "year",
                (Some(b'M'), false) => "month",
                (Some(b'W'), false) => "week",
                (Some(b'D'), false) => "day",
                (Some(b'H'), true) => "hour",
                (Some(b'M'), true) => "minute",
                (Some(b'S'), true) => "second",
                _ => return Err(fault()),
            };
            self.add(amount, unit);
            rest = &tail[1..];
        }
        Ok(())
    }

    fn finish(self, text: &str) -> Parsed<IntervalMonthDayNano> {
        let overflow =
            || Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("interval field value out of range: \"{text}\""));
        let days = self.days + (self.months - self.months.trunc()) * 30.0;
        let us = self.us + (days - days.trunc()) * DAY_US as f64;
        let limit = f64::from(i32::MAX);
        if !(self.months.abs() <= limit && days.abs() <= limit && us.abs() < 9.0e15) {
            return Err(overflow());
        }
        let us = (us.round_ties_even() as i64).checked_add(self.exact_us).and_then(|us| us.checked_mul(1000));
        Ok(IntervalMonthDayNano::new(self.months.trunc() as i32, days.trunc() as i32, us.ok_or_else(overflow)?))
    }
}
