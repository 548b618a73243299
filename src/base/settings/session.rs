//! The settings of a session: what `SET`, `RESET` and `SHOW` name, and what clients are told of at once.

use std::time::Duration;

use super::value::{parse_bool, parse_duration, show_duration};
use super::{SETTINGS, Settings};
use crate::base::{Error, Result, nearest::did_you_mean, sqlstate};

/// The PostgreSQL version whose behaviour is imitated, as clients see it in `server_version`.
pub const SERVER_VERSION: &str = concat!("16.0 (Millstream ", env!("CARGO_PKG_VERSION"), ")");

/// What values a session setting takes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Shown only.
    Fixed,
    /// Any text.
    Text,
    /// One of these words; the first of each row is how it is shown, the others are spellings of it.
    Words(&'static [&'static [&'static str]]),
    /// A duration; a bare number counts milliseconds, as in PostgreSQL.
    Duration,
    /// A whole number in this range.
    Number(i64, i64),
}

/// A setting that a session has.
#[derive(Clone, Copy, Debug)]
pub struct SessionSetting {
    /// Its name as `SHOW ALL` prints it; matched without regard to case.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    default: &'static str,
    kind: Kind,
    reported: bool,
}

const ON: &[&[&str]] = &[&["on", "true", "yes", "1"]];
const OFF: &[&[&str]] = &[&["off", "false", "no", "0"]];
const ISOLATION: &[&[&str]] = &[&["serializable"], &["repeatable read"], &["read committed"], &["read uncommitted"]];
const MESSAGES: &[&[&str]] = &[
    &["notice"],
    &["debug5"],
    &["debug4"],
    &["debug3"],
    &["debug2"],
    &["debug1", "debug"],
    &["log"],
    &["info"],
    &["warning"],
    &["error"],
];

macro_rules! table {
    ($($name:literal = $default:expr, $kind:expr, $reported:literal, $doc:literal;)*) => {
        const TABLE: &[SessionSetting] = &[$(SessionSetting {
            name: $name, doc: $doc, default: $default, kind: $kind, reported: $reported,
        }),*];
    };
}

table! {
    "application_name" = "", Kind::Text, true, "The name that the client gives itself.";
    "bytea_output" = "hex", Kind::Words(&[&["hex"]]), false, "How bytea is written.";
    "client_encoding" = "UTF8", Kind::Words(&[&["UTF8", "utf-8", "unicode"]]), true, "Text is always UTF-8.";
    "client_min_messages" = "notice", Kind::Words(MESSAGES), false, "The least severity of notices sent.";
    "DateStyle" = "ISO, MDY", Kind::Words(&[&["ISO, MDY", "iso", "iso,mdy"], &["ISO, DMY", "iso,dmy"], &["ISO, YMD", "iso,ymd"]]), true, "How dates are written: always ISO.";
    "default_table_access_method" = "heap", Kind::Fixed, false, "How rows are kept, in PostgreSQL's words.";
    "default_tablespace" = "", Kind::Text, false, "There is one tablespace.";
    "default_transaction_isolation" = "serializable", Kind::Words(ISOLATION), false, "Every level gets the strictest: reads at one epoch.";
    "default_transaction_read_only" = "off", Kind::Words(OFF), true, "Transactions may write.";
    "epoch" = "auto", Kind::Words(&[&["auto"], &["manual"]]), false, "manual: epochs end only by FLUSH (for tests).";
    "extra_float_digits" = "1", Kind::Number(-15, 3), false, "Floats are always written with the fewest digits that read back the same.";
    "idle_in_transaction_session_timeout" = "0", Kind::Duration, false, "Open blocks are not ended.";
    "in_hot_standby" = "off", Kind::Fixed, true, "Whether this server only follows another.";
    "integer_datetimes" = "on", Kind::Fixed, true, "Times are counted in microseconds.";
    "IntervalStyle" = "postgres", Kind::Words(&[&["postgres"]]), true, "How intervals are written.";
    "is_superuser" = "on", Kind::Fixed, true, "Whether this session may do everything.";
    "lc_collate" = "C", Kind::Fixed, false, "Text is ordered by code point.";
    "lc_ctype" = "C", Kind::Fixed, false, "Character classes are those of ASCII.";
    "lock_timeout" = "0", Kind::Duration, false, "There are no locks to wait for.";
    "max_identifier_length" = "63", Kind::Fixed, false, "Bytes of a name.";
    "max_index_keys" = "32", Kind::Fixed, false, "Columns of an index, as clients expect to be told.";
    "read_timeout" = "30s", Kind::Duration, false, "A read that waits longer for a relation fails and names the one that lags.";
    "role" = "none", Kind::Text, false, "The role whose rights statements have: SET ROLE.";
    "row_security" = "on", Kind::Words(&[&["on"], &["off"]]), false, "There are no policies on rows.";
    "search_path" = "\"$user\", public", Kind::Text, false, "Schemas in which names are looked up.";
    "server_encoding" = "UTF8", Kind::Fixed, true, "Text is always UTF-8.";
    "server_version" = SERVER_VERSION, Kind::Fixed, true, "The PostgreSQL version imitated, and ours.";
    "server_version_num" = "160000", Kind::Fixed, false, "The PostgreSQL version imitated, as a number.";
    "session_authorization" = "millstream", Kind::Fixed, true, "The user's name.";
    "standard_conforming_strings" = "on", Kind::Words(ON), true, "Backslashes in strings are plain characters.";
    "statement_timeout" = "0", Kind::Duration, false, "A statement that runs longer is cancelled; 0 is never.";
    "TimeZone" = "UTC", Kind::Words(&[&["UTC", "gmt", "etc/utc", "etc/gmt", "z", "zulu", "+00", "+00:00"]]), true, "Times are always shown in UTC.";
    "transaction_isolation" = "serializable", Kind::Words(ISOLATION), false, "Every level gets the strictest: reads at one epoch.";
    "transaction_read_only" = "off", Kind::Words(OFF), false, "Transactions may write.";
}

/// The settings of one session with their values.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Per line of the table: the present value and the one that RESET goes back to.
    values: Vec<(String, String)>,
    changes: u64,
}

impl Default for SessionSettings {
    fn default() -> Self {
        let values = TABLE.iter().map(|setting| (setting.default.to_string(), setting.default.to_string())).collect();
        SessionSettings { values, changes: 0 }
    }
}

/// The line of the table that `name` means, without regard to case; `timezone`'s and `session characteristics`'
/// spellings of SQL are those of the parser.
fn find(name: &str) -> Result<usize> {
    TABLE.iter().position(|setting| setting.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let error = Error::invalid(format!("unrecognized configuration parameter \"{name}\""))
            .with_code(sqlstate::UNDEFINED_OBJECT);
        if SETTINGS.iter().any(|setting| setting.name.eq_ignore_ascii_case(name)) {
            return error
                .with_detail("It is a setting of the process.")
                .with_hint(format!("Set it at the start: millstream --{} ….", name.to_lowercase().replace('_', "-")));
        }
        let hint = did_you_mean(name, TABLE.iter().map(|setting| setting.name))
            .unwrap_or_else(|| "SHOW ALL lists the settings of a session.".to_string());
        error.with_hint(hint)
    })
}

impl SessionSettings {
    /// Those of a new session: defaults from the settings of the process, and the user's name.
    pub fn new(settings: &Settings, user: &str) -> Self {
        let mut session = SessionSettings::default();
        session.start_with("read_timeout", show_duration(settings.read_timeout));
        session.start_with("statement_timeout", show_duration(settings.statement_timeout));
        session.start_with("session_authorization", user.to_string());
        session
    }

    /// Tells clients whether the session may do everything.
    pub fn tell_superuser(&mut self, superuser: bool) {
        let shown = if superuser { "on" } else { "off" };
        if self.value("is_superuser") != shown {
            self.start_with("is_superuser", shown.to_string());
            self.changes += 1;
        }
    }

    /// The schemas of `search_path`, in order; `$user` is none of ours.
    pub fn search_path(&self) -> Vec<String> {
        let text = self.show("search_path").map_or("public", |(_, value)| value);
        let name = |part: &str| {
            let part = part.trim();
            match part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => part.to_lowercase(),
            }
        };
        text.split(',').map(name).filter(|name| !name.is_empty() && name != "$user").collect()
    }

    fn start_with(&mut self, name: &str, value: String) {
        if let Some(slot) = find(name).ok().and_then(|index| self.values.get_mut(index)) {
            *slot = (value.clone(), value);
        }
    }

    /// `SET name = value`: the value as it will be shown, or why it is refused (22023; 42704 when there is no such
    /// setting; 55P02 when it only can be shown).
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let index = find(name)?;
        let shown = TABLE[index].normalise(value)?;
        if self.values[index].0 != shown {
            self.values[index].0 = shown;
            self.changes += 1;
        }
        Ok(())
    }

    /// As [`SessionSettings::set`], and RESET goes back to it: for the parameters of a connection's start.
    pub fn set_at_start(&mut self, name: &str, value: &str) -> Result<()> {
        self.set(name, value)?;
        let index = find(name)?;
        self.values[index].1 = self.values[index].0.clone();
        Ok(())
    }

    /// `RESET name`; `ALL` resets every one.
    pub fn reset(&mut self, name: &str) -> Result<()> {
        self.changes += 1;
        if name.eq_ignore_ascii_case("all") {
            for (value, start) in &mut self.values {
                value.clone_from(start);
            }
            return Ok(());
        }
        let (value, start) = &mut self.values[find(name)?];
        value.clone_from(start);
        Ok(())
    }

    /// `SHOW name`: the setting's own spelling of its name, and its value.
    pub fn show(&self, name: &str) -> Result<(&'static str, &str)> {
        let index = find(name)?;
        Ok((TABLE[index].name, &self.values[index].0))
    }

    /// `SHOW ALL`: name, value, doc.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        TABLE.iter().zip(&self.values).map(|(setting, (value, _))| (setting.name, value.as_str(), setting.doc))
    }

    /// Name and value of those that clients are told of whenever they change.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let lines = TABLE.iter().zip(&self.values);
        lines.filter(|(setting, _)| setting.reported).map(|(setting, (value, _))| (setting.name, value.as_str()))
    }

    /// Grows with every change, so that a watcher need not compare.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn value(&self, name: &str) -> &str {
        find(name).ok().and_then(|index| self.values.get(index)).map_or("", |(value, _)| value)
    }

    /// Whether epochs end only by FLUSH.
    pub fn epoch_is_manual(&self) -> bool {
        self.value("epoch") == "manual"
    }

    /// How long a statement may run; none is for ever.
    pub fn statement_timeout(&self) -> Option<Duration> {
        parse_duration(self.value("statement_timeout"), Some("ms")).ok().filter(|duration| !duration.is_zero())
    }

    /// How long a read waits for a relation; none is for ever.
    pub fn read_timeout(&self) -> Option<Duration> {
        parse_duration(self.value("read_timeout"), Some("ms")).ok().filter(|duration| !duration.is_zero())
    }
}

impl SessionSetting {
    /// `value` as it is shown, or why it is refused.
    fn normalise(&self, value: &str) -> Result<String> {
        let refused = |expected: String| {
            Error::invalid(format!("invalid value for parameter \"{}\": \"{value}\"", self.name))
                .with_detail(format!("Expected {expected}."))
        };
        match self.kind {
            Kind::Fixed => Err(Error::invalid(format!("parameter \"{}\" cannot be changed", self.name))
                .with_code("55P02")
                .with_detail(self.doc)),
            Kind::Text => Ok(value.to_string()),
            Kind::Words(words) => {
                let wanted = value.trim().trim_matches('\'').to_ascii_lowercase().replace(", ", ",");
                let same = |spelling: &&str| {
                    let spelling = spelling.to_ascii_lowercase().replace(", ", ",");
                    spelling == wanted
                        || (parse_bool(&spelling).is_some() && parse_bool(&spelling) == parse_bool(&wanted))
                };
                let found = words.iter().find(|spellings| spellings.iter().any(same));
                found.and_then(|spellings| spellings.first()).map(|shown| shown.to_string()).ok_or_else(|| {
                    let known: Vec<&str> = words.iter().filter_map(|spellings| spellings.first()).copied().collect();
                    refused(known.join(" or ")).with_hint(self.doc)
                })
            }
            Kind::Duration => parse_duration(value, Some("ms")).map(show_duration).map_err(refused),
            Kind::Number(low, high) => match value.trim().parse::<i64>() {
                Ok(number) if (low..=high).contains(&number) => Ok(number.to_string()),
                Ok(_) | Err(_) => Err(refused(format!("a whole number from {low} to {high}"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, expected: &str) {
        let mut settings = SessionSettings::default();
        let shown = match settings.set(name, value) {
            Ok(()) => settings.show(name).unwrap().1.to_string(),
            Err(error) => format!("{}: {}", error.sqlstate(), error.report().replace('\n', " ")),
        };
        assert_eq!(shown, expected, "{name} = {value}");
    }

    #[test]
    fn values_are_checked_and_shown_in_one_spelling() {
        check("timezone", "utc", "UTC");
        check(
            "TimeZone",
            "Europe/Berlin",
            "22023: invalid value for parameter \"TimeZone\": \"Europe/Berlin\" DETAIL: Expected UTC. HINT: Times are always shown in UTC.",
        );
        check("statement_timeout", "1500", "1500ms");
        check("statement_timeout", "2min", "2min");
        check("epoch", "MANUAL", "manual");
        check("datestyle", "ISO,DMY", "ISO, DMY");
        check("standard_conforming_strings", "true", "on");
        check("client_encoding", "'utf-8'", "UTF8");
        check(
            "extra_float_digits",
            "4",
            "22023: invalid value for parameter \"extra_float_digits\": \"4\" DETAIL: Expected a whole number from -15 to 3.",
        );
        check(
            "server_version",
            "17",
            "55P02: parameter \"server_version\" cannot be changed DETAIL: The PostgreSQL version imitated, and ours.",
        );
        check(
            "statement_timeot",
            "1",
            "42704: unrecognized configuration parameter \"statement_timeot\" HINT: Did you mean \"statement_timeout\"?",
        );
        check(
            "workers",
            "1",
            "42704: unrecognized configuration parameter \"workers\" DETAIL: It is a setting of the process. HINT: Set it at the start: millstream --workers ….",
        );
    }

    #[test]
    fn reset_goes_back_to_the_start() {
        let mut settings = SessionSettings::new(&Settings::default(), "ada");
        settings.set_at_start("application_name", "psql").unwrap();
        let before = settings.changes();
        settings.set("application_name", "x").unwrap();
        assert!(settings.changes() > before);
        assert!(settings.reported().any(|line| line == ("application_name", "x")));
        settings.reset("ALL").unwrap();
        assert_eq!(settings.show("APPLICATION_NAME").unwrap(), ("application_name", "psql"));
        assert_eq!(settings.show("session_authorization").unwrap().1, "ada");
        assert_eq!(settings.read_timeout(), Some(Duration::from_secs(30)));
        assert_eq!(settings.statement_timeout(), None);
    }
}
