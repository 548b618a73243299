//! The values that settings hold, and how each is written: `100ms`, `256MB`, `true`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A kind of value that a setting can hold.
pub trait SettingValue: Sized {
    /// How it is written, for the manual: `duration`, `bytes`, `number`, …
    const UNIT: &'static str;

    /// Reads it; the error says what is expected, as the end of the sentence "expected …".
    fn parse(text: &str) -> Result<Self, String>;

    /// Writes it so that [`SettingValue::parse`] reads the same value back.
    fn show(&self) -> String;
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// As a `usize`, saturated.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const BYTE_UNITS: [(&str, u64); 4] = [("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let (unit, size) = BYTE_UNITS.iter().find(|(_, size)| self.0.is_multiple_of(*size)).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// Splits `12.5 ms` into number and unit.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    Some((number, unit.trim()))
}

impl SettingValue for ByteSize {
    const UNIT: &'static str = "bytes";

    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "a number of bytes like 64kB, 256MB or 2GB".to_string();
        let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
        let size = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1u64 << 40,
            _ => return Err(expected()),
        };
        let bytes = number * size as f64;
        if bytes > 1e18 { Err(expected()) } else { Ok(ByteSize(bytes as u64)) }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for Duration {
    const UNIT: &'static str = "duration";

    fn parse(text: &str) -> Result<Self, String> {
        parse_duration(text, None)
    }

    fn show(&self) -> String {
        show_duration(*self)
    }
}

/// Reads `100ms`, `5 s`, `1.5 min`, `2h`, `1d`; a number without unit counts in `bare_unit`, and is refused when
/// there is none (0 needs no unit).
pub fn parse_duration(text: &str, bare_unit: Option<&str>) -> Result<Duration, String> {
    let expected = || "a duration like 100ms, 5s, 10min or 1h".to_string();
    let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
    let unit = if unit.is_empty() { bare_unit.unwrap_or(if number == 0.0 { "ms" } else { "" }) } else { unit };
    let unit_us: f64 = match unit.to_ascii_lowercase().as_str() {
        "us" => 1.0,
        "ms" | "millisecond" | "milliseconds" => 1e3,
        "s" | "sec" | "second" | "seconds" => 1e6,
        "m" | "min" | "minute" | "minutes" => 60e6,
        "h" | "hour" | "hours" => 3600e6,
        "d" | "day" | "days" => 86400e6,
        _ => return Err(expected()),
    };
    let micros = number * unit_us;
    if micros > 1e17 { Err(expected()) } else { Ok(Duration::from_micros(micros.round() as u64)) }
}

/// Writes a duration in the largest unit that holds it whole.
pub fn show_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let units: [(u64, &str); 5] =
        [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    match units.iter().find(|(size, _)| micros != 0 && micros.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", micros / size),
        None if micros == 0 => "0".to_string(),
        None => format!("{micros}us"),
    }
}

impl SettingValue for usize {
    const UNIT: &'static str = "number";

    fn parse(text: &str) -> Result<Self, String> {
        text.trim().replace('_', "").parse().map_err(|_| "a whole number, 0 or more".to_string())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for bool {
    const UNIT: &'static str = "on or off";

    fn parse(text: &str) -> Result<Self, String> {
        parse_bool(text).ok_or_else(|| "on or off".to_string())
    }

    fn show(&self) -> String {
        if *self { "on" } else { "off" }.to_string()
    }
}

/// PostgreSQL's spellings of a Boolean setting.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "on" | "true" | "t" | "yes" | "y" | "1" => Some(true),
        "off" | "false" | "f" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

impl SettingValue for String {
    const UNIT: &'static str = "text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_string())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl SettingValue for PathBuf {
    const UNIT: &'static str = "path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a path".to_string()) } else { Ok(PathBuf::from(text)) }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: SettingValue>(text: &str, expected: &str) {
        let shown = match T::parse(text) {
            Ok(value) => value.show(),
            Err(expected) => format!("expected {expected}"),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn values_are_read_and_written() {
        check::<Duration>("100ms", "100ms");
        check::<Duration>("1.5 s", "1500ms");
        check::<Duration>("120s", "2min");
        check::<Duration>("0", "0");
        check::<Duration>("5", "expected a duration like 100ms, 5s, 10min or 1h");
        check::<Duration>("-5s", "expected a duration like 100ms, 5s, 10min or 1h");
        check::<ByteSize>("256MB", "256MB");
        check::<ByteSize>("1 gb", "1GB");
        check::<ByteSize>("1500", "1500B");
        check::<ByteSize>("9999999TB", "expected a number of bytes like 64kB, 256MB or 2GB");
        check::<usize>("100_000", "100000");
        check::<usize>("-1", "expected a whole number, 0 or more");
        check::<bool>("TRUE", "on");
        check::<bool>("maybe", "expected on or off");
    }
}
