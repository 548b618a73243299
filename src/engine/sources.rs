//! Sources and sinks of the catalog as they are hosted: connector, format, expressions and limits, from the statements
//! that created them.

use std::sync::Arc;

use crate::base::{Error, Result, ResultExt, Settings};
use crate::catalog::Relation;
use crate::connectors::{Blackhole, FileSink, FileSource, FileSourceOptions, Follow, Roll, Sink};
use crate::dataflow::source::{BoundedReader, Generated, HostSettings, SourceSpec, WatermarkRule};
use crate::formats::{CsvOptions, Format, NdjsonOptions, TimestampUnit, infer_schema};
use crate::functions::{BinaryOp, Expr, Literal, Value};
use crate::serving::Rows;
use crate::sql::{self, FormatOptions, SinkConnector, SinkOptions, SourceOptions, Statement as Sql};
use crate::types::Schema;

/// The source `relation` as its host takes it.
pub(super) fn source_spec(relation: &Relation, settings: &Settings) -> Result<SourceSpec> {
    let place = || format!("in {}", relation.title());
    let options = match created(relation)? {
        Sql::CreateSource(create) => sql::source_options(&create).context(place)?,
        _ => return Err(not_created(relation)),
    };
    let connector = connector(&options, settings).context(place)?;
    let generated =
        relation.generated.iter().map(|(column, json)| Ok(Generated { column: *column, expr: expr(json)? }));
    let watermark = relation.watermark.as_ref().map(|watermark| expr(&watermark.expression).map(rule));
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
        watermark: watermark.transpose()?,
        connector: Arc::new(connector),
        format: format(&options.format)?,
        settings: host,
    })
}

/// Refuses options that the connector `file` has no use for yet.
pub(super) fn check_source(options: &SourceOptions) -> Result<()> {
    if options.idle_advance {
        return Err(Error::unsupported("option \"idle_advance\" is not supported for connector \"file\"")
            .with_hint("Leave it out: the watermark stays while no file grows."));
    }
    format(&options.format).map(drop)
}

fn connector(options: &SourceOptions, settings: &Settings) -> Result<FileSource> {
    let mut file = FileSourceOptions::new(&options.path);
    file.follow = if options.follow { Follow::Yes } else { Follow::No };
    file.record_bytes_max = bytes(settings.record_bytes_max.0);
    FileSource::new(file)
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
pub(super) fn sink_options(relation: &Relation) -> Result<(SinkOptions, Option<Format>)> {
    let options = match created(relation)? {
        Sql::CreateSink(create) => sql::sink_options(&create)?,
        _ => return Err(not_created(relation)),
    };
    let format = match &options.connector {
        SinkConnector::File { format: options, .. } => Some(format(options)?),
        SinkConnector::Blackhole => None,
    };
    Ok((options, format))
}

/// The connector of a sink.
pub(super) fn sink(options: &SinkOptions) -> Box<dyn Sink> {
    match &options.connector {
        SinkConnector::Blackhole => Box::new(Blackhole::default()),
        SinkConnector::File { path, roll_rows, roll_bytes, roll_interval, format } => {
            let extension = match format {
                FormatOptions::Json { .. } => "ndjson",
                FormatOptions::Csv { .. } => "csv",
                FormatOptions::Parquet => "parquet",
            };
            let interval_us = roll_interval.map(|interval| i64::try_from(interval.as_micros()).unwrap_or(i64::MAX));
            Box::new(FileSink::new(path, extension, Roll { rows: *roll_rows, bytes: *roll_bytes, interval_us }))
        }
    }
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
) -> Result<impl Fn() -> Result<Rows> + Send + Sync + 'static> {
    let spec = Arc::new(source_spec(relation, settings)?);
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

/// `column - interval` without months, which needs no expression engine; else the expression itself.
fn rule(expr: Expr) -> WatermarkRule {
    match &expr {
        Expr::Column(column) => WatermarkRule::Delay { column: *column, us: 0 },
        Expr::Binary { op: BinaryOp::Subtract, left, right } => match (&**left, &**right) {
            (
                Expr::Column(column),
                Expr::Literal(Literal { value: Value::Interval { months: 0, days, nanoseconds }, .. }),
            ) if nanoseconds % 1000 == 0 => {
                let us = i64::from(*days) * 86_400_000_000 + nanoseconds / 1000;
                WatermarkRule::Delay { column: *column, us }
            }
            _ => WatermarkRule::Expression(expr),
        },
        _ => WatermarkRule::Expression(expr),
    }
}

/// The columns that the records of a source have, when CREATE SOURCE names none.
pub(super) fn infer(options: &SourceOptions, settings: &Settings) -> Result<Schema> {
    let file = connector(options, settings)?.first_file().ok_or_else(|| {
        Error::invalid("columns cannot be inferred: no file is there yet")
            .with_hint("List the columns with their types.")
    })?;
    infer_schema(&format(&options.format)?, &file)
}
