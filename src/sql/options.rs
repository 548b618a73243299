//! WITH options: names checked against what each connector and format knows, values read once, here.
//!
//! What connectors do with them is theirs; this room knows only their names and types.

mod generators;

use std::time::Duration;

use super::statement::{CreateRelation, CreateSink, Encoding, FormatClause, OptionValue, Options};
use crate::base::settings::{ByteSize, SettingValue, parse_duration};
use crate::base::{Error, Result, did_you_mean, nearest, sqlstate};

pub use generators::{DatagenOptions, NexmarkOptions, NexmarkTable};

/// What CREATE SOURCE says behind its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOptions {
    /// Where from.
    pub connector: SourceConnector,
    /// After how long of silence a split at its end counts as idle.
    pub idle_timeout: Option<Duration>,
    /// How far in event time a split may run ahead of the slowest.
    pub max_drift: Option<Duration>,
    /// Whether the watermark goes on while all splits are idle.
    pub idle_advance: bool,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConnector {
    /// Files.
    File {
        /// A path or glob.
        path: String,
        /// Whether files grow, and new ones come.
        follow: bool,
        /// How records are spelled.
        format: FormatOptions,
    },
    /// Events of the Nexmark benchmark.
    Nexmark(NexmarkOptions),
    /// Made-up rows.
    Datagen(DatagenOptions),
}

/// What CREATE SINK says behind its relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOptions {
    /// Where to.
    pub connector: SinkConnector,
    /// Whether the present contents are sent first (default true).
    pub snapshot: bool,
    /// Whether each row tells its epoch and weight, so that rows can be taken back (default false).
    pub changelog: bool,
}

/// Destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkConnector {
    /// Files in a folder.
    File {
        /// The folder.
        path: String,
        /// Rows after which a file ends.
        roll_rows: Option<u64>,
        /// Bytes after which a file ends.
        roll_bytes: Option<u64>,
        /// Time after which a file ends.
        roll_interval: Option<Duration>,
        /// How rows are spelled.
        format: FormatOptions,
    },
    /// Counts, keeps nothing.
    Blackhole,
}

/// `FORMAT PLAIN ENCODE ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatOptions {
    /// One JSON object a line.
    Json {
        /// What numbers in timestamp columns count.
        timestamp_unit: TimestampUnit,
    },
    /// Comma-separated values.
    Csv {
        /// One ASCII character between fields.
        delimiter: u8,
        /// Whether the first line names the columns.
        header: bool,
        /// One ASCII character around fields.
        quote: u8,
        /// The text that means NULL (unquoted).
        null: String,
    },
    /// Parquet files.
    Parquet,
}

/// What numbers in timestamp columns count, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// Options that every source takes.
const SOURCE_COMMON: [&str; 4] = ["connector", "idle_timeout", "idle_advance", "max_drift"];
/// Options of a `file` source.
const SOURCE_FILE: [&str; 2] = ["path", "follow"];
/// Options that every sink takes.
const SINK_COMMON: [&str; 3] = ["connector", "snapshot", "changelog"];
/// Options of a `file` sink.
const SINK_FILE: [&str; 4] = ["path", "roll_rows", "roll_bytes", "roll_interval"];

/// Reads the options of CREATE SOURCE.
pub fn source_options(create: &CreateRelation) -> Result<SourceOptions> {
    let given = Given { options: &create.options, what: "a source", position: create.name.position };
    let connector = match given.connector(&["file", "nexmark", "datagen"])? {
        "file" => {
            given.only("source with connector 'file'", &[&SOURCE_COMMON, &SOURCE_FILE])?;
            let Some(clause) = &create.format else {
                return Err(Error::syntax(format!("source \"{}\" has no FORMAT", create.name.name))
                    .with_hint("Write FORMAT PLAIN ENCODE JSON, CSV or PARQUET behind WITH (...).")
                    .at(create.name.position));
            };
            SourceConnector::File {
                path: given.required("path")?,
                follow: given.boolean("follow")?.unwrap_or(false),
                format: format_options(clause)?,
            }
        }
        "nexmark" => {
            given.only("source with connector 'nexmark'", &[&SOURCE_COMMON, &generators::NEXMARK])?;
            SourceConnector::Nexmark(NexmarkOptions::read(&given)?)
        }
        _ => {
            given.only("source with connector 'datagen'", &[&SOURCE_COMMON, &generators::DATAGEN])?;
            SourceConnector::Datagen(DatagenOptions::read(&given)?)
        }
    };
    if let (SourceConnector::Nexmark(_) | SourceConnector::Datagen(_), Some(clause)) = (&connector, &create.format) {
        return Err(Error::invalid("a source that makes its rows has no FORMAT")
            .with_code(sqlstate::INVALID_PARAMETER_VALUE)
            .with_hint("Leave FORMAT ... ENCODE ... out.")
            .at(clause.position));
    }
    Ok(SourceOptions {
        connector,
        idle_timeout: given.duration("idle_timeout")?,
        max_drift: given.duration("max_drift")?,
        idle_advance: given.boolean("idle_advance")?.unwrap_or(false),
    })
}

/// Refuses a connector or format of a CREATE TABLE: a table's rows come from statements.
pub fn table_options(create: &CreateRelation) -> Result<()> {
    if let Some((key, value)) = create.options.values.iter().next() {
        return Err(Error::unsupported(format!("option \"{key}\" of a table is not supported"))
            .with_hint("Leave WITH (...) out, or write CREATE SOURCE.")
            .at(value.position));
    }
    match &create.format {
        Some(clause) => Err(Error::unsupported("FORMAT of a table is not supported")
            .with_hint("Leave it out, or write CREATE SOURCE.")
            .at(clause.position)),
        None => Ok(()),
    }
}

/// Refuses options of a materialized view: there are none yet.
pub fn view_options(options: &Options) -> Result<()> {
    match options.values.iter().next() {
        Some((key, value)) => {
            Err(Error::unsupported(format!("option \"{key}\" of a materialized view is not supported"))
                .with_hint("Leave WITH (...) out.")
                .at(value.position))
        }
        None => Ok(()),
    }
}

/// Reads the options of CREATE SINK.
pub fn sink_options(create: &CreateSink) -> Result<SinkOptions> {
    let given = Given { options: &create.options, what: "a sink", position: create.name.position };
    let connector = match given.connector(&["file", "blackhole"])? {
        "file" => {
            given.only("sink with connector 'file'", &[&SINK_COMMON, &SINK_FILE])?;
            let Some(clause) = &create.format else {
                return Err(Error::syntax(format!("sink \"{}\" has no FORMAT", create.name.name))
                    .with_hint("Write FORMAT PLAIN ENCODE JSON, CSV or PARQUET behind WITH (...).")
                    .at(create.name.position));
            };
            SinkConnector::File {
                path: given.required("path")?,
                roll_rows: given.number("roll_rows")?,
                roll_bytes: given.bytes("roll_bytes")?,
                roll_interval: given.duration("roll_interval")?,
                format: format_options(clause)?,
            }
        }
        _ => {
            given.only("sink with connector 'blackhole'", &[&SINK_COMMON])?;
            SinkConnector::Blackhole
        }
    };
    Ok(SinkOptions {
        connector,
        snapshot: given.boolean("snapshot")?.unwrap_or(true),
        changelog: given.boolean("changelog")?.unwrap_or(false),
    })
}

fn format_options(clause: &FormatClause) -> Result<FormatOptions> {
    let given = Given { options: &clause.options, what: "a format", position: clause.position };
    let name = |encoding: &str| format!("ENCODE {encoding}");
    match clause.encoding {
        Encoding::Json => {
            given.only(&name("JSON"), &[&["timestamp_unit"]])?;
            let units = [
                ("seconds", TimestampUnit::Seconds),
                ("milliseconds", TimestampUnit::Milliseconds),
                ("microseconds", TimestampUnit::Microseconds),
                ("nanoseconds", TimestampUnit::Nanoseconds),
            ];
            let timestamp_unit =
                given.read("timestamp_unit", "seconds, milliseconds, microseconds or nanoseconds", |text| {
                    units.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, unit)| *unit)
                })?;
            Ok(FormatOptions::Json { timestamp_unit: timestamp_unit.unwrap_or(TimestampUnit::Microseconds) })
        }
        Encoding::Csv => {
            given.only(&name("CSV"), &[&["delimiter", "header", "quote", "null"]])?;
            let character = |key, default| {
                let read = given.read(key, "one ASCII character", |text| match (text, text.as_bytes()) {
                    ("\\t" | "tab", _) => Some(b'\t'),
                    (_, [byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Some(*byte),
                    _ => None,
                });
                read.map(|read: Option<u8>| read.unwrap_or(default))
            };
            Ok(FormatOptions::Csv {
                delimiter: character("delimiter", b',')?,
                header: given.boolean("header")?.unwrap_or(false),
                quote: character("quote", b'"')?,
                null: given.text("null").unwrap_or_default(),
            })
        }
        Encoding::Parquet => {
            given.only(&name("PARQUET"), &[])?;
            Ok(FormatOptions::Parquet)
        }
    }
}

/// Fails when `value` is a secret: what the option says shows elsewhere.
fn open(key: &str, value: &OptionValue) -> Result<()> {
    if value.secret.is_none() {
        return Ok(());
    }
    Err(Error::unsupported(format!("option \"{key}\" cannot be a secret"))
        .with_detail("Its value shows in ms_sources, ms_sinks, positions of faults and messages.")
        .with_hint(format!("Write {key} = '...' as a text."))
        .at(value.position))
}

/// The error that an option has not that value; a secret's is not said.
fn not_taken(key: &str, value: &OptionValue) -> Error {
    Error::invalid(match &value.secret {
        Some(secret) => format!("option \"{key}\" has no value such as that of secret \"{secret}\""),
        None => format!("option \"{key}\" has no value '{}'", value.text),
    })
}

/// An option list, and of what it is.
struct Given<'a> {
    options: &'a Options,
    what: &'a str,
    position: usize,
}

impl<'a> Given<'a> {
    fn get(&self, key: &str) -> Option<&'a OptionValue> {
        self.options.values.get(key)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|value| value.text.clone())
    }

    /// The connector, one of `known`.
    fn connector(&self, known: &[&'a str]) -> Result<&'a str> {
        let list = known.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" or ");
        let Some(value) = self.get("connector") else {
            return Err(Error::syntax(format!("{} needs option \"connector\"", self.what))
                .with_hint(format!("Write WITH (connector = {list}, ...)."))
                .at(self.position));
        };
        open("connector", value)?;
        let found = known.iter().find(|name| name.eq_ignore_ascii_case(&value.text));
        found.copied().ok_or_else(|| {
            let hint = match nearest(&value.text, known.iter().copied()) {
                Some(near) => format!("Did you mean '{near}'?"),
                None => format!("Write connector = {list}."),
            };
            Error::unsupported(format!("connector '{}' is not supported by {}", value.text, self.what))
                .with_hint(hint)
                .at(value.position)
        })
    }

    /// Refuses options that are in none of the lists.
    fn only(&self, what: &str, known: &[&[&str]]) -> Result<()> {
        let known = || known.iter().flat_map(|list| list.iter().copied());
        for (key, value) in &self.options.values {
            let of_a_column = key.starts_with("fields.") && known().any(|name| generators::DATAGEN.contains(&name));
            if of_a_column || known().any(|name| name == key) {
                continue;
            }
            let all = known().collect::<Vec<_>>();
            let hint = did_you_mean(key, all.iter().copied()).unwrap_or_else(|| match all.is_empty() {
                true => "It takes no options.".to_string(),
                false => format!("It takes {}.", all.join(", ")),
            });
            return Err(Error::invalid(format!("{what} has no option \"{key}\""))
                .with_code(sqlstate::INVALID_PARAMETER_VALUE)
                .with_hint(hint)
                .at(value.position));
        }
        Ok(())
    }

    /// The option `key`, which must be given, and whose value anyone may see.
    fn required(&self, key: &str) -> Result<String> {
        self.get(key).map_or(Ok(()), |value| open(key, value))?;
        self.text(key).filter(|text| !text.is_empty()).ok_or_else(|| {
            Error::syntax(format!("{} needs option \"{key}\"", self.what))
                .with_hint(format!("Write {key} = '...' into WITH (...)."))
                .at(self.position)
        })
    }

    /// The option `key` as `read` understands it; `expected` says what it understands.
    fn read<T>(&self, key: &str, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(&value.text) {
            Some(read) => Ok(Some(read)),
            None => Err(not_taken(key, value).with_hint(format!("It takes {expected}.")).at(value.position)),
        }
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.read(key, "true or false", super::parse::boolean)
    }

    fn number(&self, key: &str) -> Result<Option<u64>> {
        self.read(key, "a whole number above 0", |text| text.parse().ok().filter(|&number| number > 0))
    }

    fn bytes(&self, key: &str) -> Result<Option<u64>> {
        self.read(key, "a size such as 64MB", |text| {
            <ByteSize as SettingValue>::parse(text).ok().map(|ByteSize(bytes)| bytes).filter(|&bytes| bytes > 0)
        })
    }

    fn duration(&self, key: &str) -> Result<Option<Duration>> {
        self.read(key, "a time such as '5 seconds' or 100ms", |text| parse_duration(text, None).ok())
    }
}
