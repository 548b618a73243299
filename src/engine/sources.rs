//! Sources and sinks of the catalog as they are hosted: connector, format, expressions and limits, from the statements
//! that created them.

use std::sync::Arc;

use crate::base::{Error, Result, ResultExt, Settings};
use crate::catalog::{Relation, RelationKind, RelationWatermark};
use crate::connectors::{
    Blackhole, Datagen, Extent, FileSink, FileSource, FileSourceOptions, Follow, Nexmark, NexmarkOptions, NexmarkTable,
    NumberedSource, Roll, Sink, Source,
};
use crate::dataflow::source::{BoundedReader, Generated, HostSettings, SourceSpec, WatermarkRule};
use crate::formats::{CsvOptions, Format, NdjsonOptions, TimestampUnit, infer_schema};
use crate::functions::{Expr, Literal, PROCTIME};
use crate::serving::Rows;
use crate::sql::{self, FormatOptions, SinkConnector, SinkOptions, SourceConnector, SourceOptions, Statement as Sql};
use crate::types::Schema;

use super::files::around;
use super::secrets::{Revealed, Secrets, fill_sink, fill_source};

/// Whether rows that a generator makes keep the pace that their source declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// They do.
    Kept,
    /// They come as fast as they are taken: for one who reads a bounded source whole.
    Ignored,
}

/// The source `relation` as its host takes it.
pub(super) fn source_spec(relation: &Relation, settings: &Settings, secrets: &dyn Secrets) -> Result<SourceSpec> {
    spec(relation, settings, secrets, Pace::Kept)
}

fn spec(relation: &Relation, settings: &Settings, secrets: &dyn Secrets, pace: Pace) -> Result<SourceSpec> {
    let place = || format!("in {}", relation.title());
    let (options, revealed) = stored_source(relation, secrets).context(place)?;
    let connector = revealed.guard(connector(&options, &carried(relation), settings, pace)).context(place)?;
    let generated =
        relation.generated.iter().map(|(column, json)| Ok(Generated { column: *column, expr: computed(expr(json)?) }));
    let watermark = match &relation.watermark {
        None => None,
        Some(RelationWatermark { column, delay_us: Some(us), .. }) => {
            Some(WatermarkRule::Delay { column: *column, us: *us })
        }
        Some(watermark) => Some(WatermarkRule::Expression(expr(&watermark.expression)?)),
    };
    let mut host = HostSettings {
        batch_rows: settings.batch_rows,
        record_bytes_max: bytes(settings.record_bytes_max.0),
        share_patience: settings.share_patience,
        epoch_rows: settings.epoch_rows as u64,
        ..HostSettings::default()
    };
    if let Some(idle_timeout) = options.idle_timeout {
        host.idle_timeout = idle_timeout;
    }
    Ok(SourceSpec {
        relation: relation.id,
        name: relation.name.clone(),
        schema: relation.columns.clone(),
        generated: generated.collect::<Result<_>>()?,
        watermark,
        connector,
        format: match &options.connector {
            SourceConnector::File { format: options, .. } => Some(format(options)?),
            SourceConnector::Nexmark(_) | SourceConnector::Datagen(_) => None,
        },
        settings: host,
    })
}

/// The options of a source of the catalog.
fn stored_source(relation: &Relation, secrets: &dyn Secrets) -> Result<(SourceOptions, Revealed)> {
    let Sql::CreateSource(create) = created(relation)? else { return Err(not_created(relation)) };
    let (create, revealed) = fill_source(&create, secrets)?;
    Ok((revealed.guard(sql::source_options(&create))?, revealed))
}

/// Fails when a source or sink of the catalog would not be accepted with the values that its secrets have now.
pub(super) fn check(relation: &Relation, settings: &Settings, secrets: &dyn Secrets) -> Result<()> {
    if relation.kind == RelationKind::Sink {
        return sink_options(relation, secrets).map(drop);
    }
    let (options, revealed) = stored_source(relation, secrets)?;
    revealed.guard(check_source(&options).and_then(|()| check_columns(&options, relation, settings)))
}

/// What the reader computes of a generated column: nothing of PROCTIME(), which is known when the epoch ends.
fn computed(expr: Expr) -> Expr {
    match expr {
        Expr::Call { ref function, ref ty, .. } if function == PROCTIME => Expr::Literal(Literal::null(ty.clone())),
        expr => expr,
    }
}

/// The columns that records of `relation` carry: those that are not generated.
fn carried(relation: &Relation) -> Schema {
    let columns = (0..relation.columns.columns.len()).filter(|column| !relation.generated.contains_key(column));
    relation.columns.project(&columns.collect::<Vec<_>>())
}

/// Refuses options that the connector has no use for, as far as that shows without the columns.
pub(super) fn check_source(options: &SourceOptions) -> Result<()> {
    if options.idle_advance {
        return Err(Error::unsupported("option \"idle_advance\" is not supported yet")
            .with_hint("Leave it out: the watermark stays while nothing comes."));
    }
    match &options.connector {
        SourceConnector::File { format: options, .. } => format(options).map(drop),
        SourceConnector::Nexmark(options) => nexmark(options).map(drop),
        SourceConnector::Datagen(_) => Ok(()),
    }
}

/// Refuses columns that a generator cannot make.
pub(super) fn check_columns(options: &SourceOptions, relation: &Relation, settings: &Settings) -> Result<()> {
    match &options.connector {
        SourceConnector::File { .. } => Ok(()),
        SourceConnector::Nexmark(_) | SourceConnector::Datagen(_) => {
            connector(options, &carried(relation), settings, Pace::Kept).map(drop)
        }
    }
}

fn connector(options: &SourceOptions, columns: &Schema, settings: &Settings, pace: Pace) -> Result<Arc<dyn Source>> {
    let per_second = |rate: Option<u64>| rate.filter(|_| pace == Pace::Kept);
    Ok(match &options.connector {
        SourceConnector::File { path, follow, .. } => Arc::new(file(path, *follow, settings)?),
        SourceConnector::Nexmark(options) => {
            let made = nexmark(options)?;
            let paced = per_second(options.paced.then_some(made.rate));
            let extent = Extent { events: options.events, per_second: paced };
            Arc::new(NumberedSource::new(Nexmark::new(made, columns)?, extent))
        }
        SourceConnector::Datagen(options) => {
            let extent = Extent { events: options.rows, per_second: per_second(options.rate) };
            Arc::new(NumberedSource::new(Datagen::new(columns, &options.fields)?, extent))
        }
    })
}

fn file(path: &str, follow: bool, settings: &Settings) -> Result<FileSource> {
    let mut file = FileSourceOptions::new(path);
    file.follow = if follow { Follow::Yes } else { Follow::No };
    file.record_bytes_max = bytes(settings.record_bytes_max.0);
    file.beneath = around(settings, path)?;
    FileSource::new(file)
}

fn nexmark(options: &sql::NexmarkOptions) -> Result<NexmarkOptions> {
    let table = match options.table {
        sql::NexmarkTable::Person => NexmarkTable::Person,
        sql::NexmarkTable::Auction => NexmarkTable::Auction,
        sql::NexmarkTable::Bid => NexmarkTable::Bid,
        sql::NexmarkTable::All => NexmarkTable::All,
    };
    let mut made = NexmarkOptions::new(table);
    made.rate = options.rate.unwrap_or(made.rate);
    made.first_event = options.first_event;
    made.out_of_order_group = options.out_of_order_group;
    if let Some(text) = &options.base_time {
        made.base_time_ms = nexmark_time(text)?;
    }
    Ok(made)
}

/// A timestamp, or milliseconds since 1970.
fn nexmark_time(text: &str) -> Result<u64> {
    let parsed = text.parse::<u64>().ok().or_else(|| {
        let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        let at = forms.iter().find_map(|form| chrono::NaiveDateTime::parse_from_str(text, form).ok())?;
        u64::try_from(at.and_utc().timestamp_millis()).ok()
    });
    parsed.ok_or_else(|| {
        Error::invalid(format!("option \"base_time\" has no value '{text}'"))
            .with_hint("It takes a timestamp such as '2015-07-15 00:00:00', or milliseconds since 1970.")
    })
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn format(options: &FormatOptions) -> Result<Format> {
    Ok(match options {
        FormatOptions::Json { timestamp_unit } => {
            let timestamp_unit = match timestamp_unit {
                sql::TimestampUnit::Seconds => TimestampUnit::Seconds,
                sql::TimestampUnit::Milliseconds => TimestampUnit::Milliseconds,
                sql::TimestampUnit::Microseconds => TimestampUnit::Microseconds,
                sql::TimestampUnit::Nanoseconds => TimestampUnit::Nanoseconds,
            };
            Format::Ndjson(NdjsonOptions { timestamp_unit })
        }
        FormatOptions::Csv { delimiter, header, quote: b'"', null } => {
            Format::Csv(CsvOptions { header: *header, delimiter: *delimiter, null: null.clone() })
        }
        FormatOptions::Csv { .. } => {
            return Err(
                Error::unsupported("option \"quote\": only the double quote is supported").with_hint("Leave it out.")
            );
        }
        FormatOptions::Parquet => Format::Parquet,
    })
}

/// A sink of the catalog: its options and its format.
pub(super) fn sink_options(relation: &Relation, secrets: &dyn Secrets) -> Result<(SinkOptions, Option<Format>)> {
    let Sql::CreateSink(create) = created(relation)? else { return Err(not_created(relation)) };
    let (create, revealed) = fill_sink(&create, secrets)?;
    let options = revealed.guard(sql::sink_options(&create))?;
    let format = match &options.connector {
        SinkConnector::File { format: options, .. } => Some(revealed.guard(format(options))?),
        SinkConnector::Blackhole => None,
    };
    Ok((options, format))
}

/// The connector of a sink.
pub(super) fn sink(options: &SinkOptions, settings: &Settings) -> Result<Box<dyn Sink>> {
    Ok(match &options.connector {
        SinkConnector::Blackhole => Box::new(Blackhole::default()),
        SinkConnector::File { path, roll_rows, roll_bytes, roll_interval, format } => {
            let extension = match format {
                FormatOptions::Json { .. } => "ndjson",
                FormatOptions::Csv { .. } => "csv",
                FormatOptions::Parquet => "parquet",
            };
            let interval_us = roll_interval.map(|interval| i64::try_from(interval.as_micros()).unwrap_or(i64::MAX));
            let roll = Roll { rows: *roll_rows, bytes: *roll_bytes, interval_us };
            Box::new(FileSink::new(path, extension, roll).beneath(around(settings, path)?))
        }
    })
}

/// The statement that created `relation`.
fn created(relation: &Relation) -> Result<Sql> {
    let parsed = sql::parse(&relation.sql)?.into_iter().next();
    parsed.map(|parsed| parsed.statement).ok_or_else(|| not_created(relation))
}

fn not_created(relation: &Relation) -> Error {
    Error::internal(format!("{} has another statement in the catalog", relation.title()))
}

/// Reads all columns of a bounded source: once per call.
pub(super) fn read_bounded(
    relation: &Relation,
    settings: &Settings,
    secrets: &dyn Secrets,
) -> Result<impl Fn() -> Result<Rows> + Send + Sync + use<>> {
    let spec = Arc::new(spec(relation, settings, secrets, Pace::Ignored)?);
    let columns: Vec<usize> = (0..relation.columns.columns.len()).collect();
    drop(BoundedReader::new(Arc::clone(&spec), columns.clone())?);
    Ok(move || -> Result<Rows> { Ok(Box::new(BoundedReader::new(Arc::clone(&spec), columns.clone())?)) })
}

fn expr(json: &serde_json::Value) -> Result<Expr> {
    serde_json::from_value(json.clone()).map_err(|error| {
        Error::corrupt("stored expression of a source is not readable")
            .with_hint("Start the version of millstream that wrote this data directory.")
            .caused_by(error)
    })
}

/// The columns that the records of a source have, when CREATE SOURCE names none.
pub(super) fn infer(options: &SourceOptions, settings: &Settings) -> Result<Schema> {
    let (path, follow, written) = match &options.connector {
        SourceConnector::File { path, follow, format } => (path, *follow, format),
        SourceConnector::Nexmark(options) => return Ok(nexmark(options)?.schema()),
        SourceConnector::Datagen(_) => {
            return Err(Error::syntax("a datagen source has no columns of its own")
                .with_hint("List the columns with their types."));
        }
    };
    let first = file(path, follow, settings)?.first_file().ok_or_else(|| {
        Error::invalid("columns cannot be inferred: no file is there yet")
            .with_hint("List the columns with their types.")
    })?;
    infer_schema(&format(written)?, &first)
}
