//! What is computed of every record: generated columns, and the running maximum of the watermark expression.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

use super::rows::batch;
use super::spec::{SourceSpec, WatermarkRule};
use crate::base::{Error, Result};
use crate::formats::{BadRecord, DecodeSettings, Format};
use crate::functions::{Compiled, Expr, Faults};
use crate::types::Schema;

/// How rows of a source are made of what records carry; compiled once per reading.
pub(super) struct Plan {
    pub(super) decode: DecodeSettings,
    format: Option<Format>,
    schema: SchemaRef,
    /// Per column of the schema: where it comes from.
    columns: Vec<Origin>,
    nullable: Vec<bool>,
    watermark: Rule,
}

enum Origin {
    Carried(usize),
    Generated(Compiled),
}

enum Rule {
    None,
    Delay { column: usize, us: i64 },
    Compiled(Compiled),
}

/// The rows that could be computed.
pub(super) struct Computed {
    pub(super) rows: RecordBatch,
    /// Per row the largest watermark value before it in this batch; empty without a rule.
    pub(super) before: Vec<i64>,
    pub(super) largest: i64,
    /// The decoded rows that could not; they are not in `rows`.
    pub(super) faults: Option<Faults>,
}

impl Plan {
    pub(super) fn new(spec: &SourceSpec) -> Result<Plan> {
        let carried = spec.carried();
        let physical: Schema = spec.schema.project(&carried);
        let places: HashMap<usize, usize> =
            carried.iter().enumerate().map(|(place, &column)| (column, place)).collect();
        let mut columns = Vec::with_capacity(spec.schema.columns.len());
        for (index, column) in spec.schema.columns.iter().enumerate() {
            columns.push(match spec.generated.iter().find(|generated| generated.column == index) {
                None => Origin::Carried(places.get(&index).copied().unwrap_or_default()),
                Some(generated) => {
                    let expr = over_carried(&generated.expr, &places, &column.name)?;
                    let expr = if expr.ty(&physical)? == column.ty { expr } else { expr.cast(column.ty.clone()) };
                    Origin::Generated(Compiled::new(&expr, &physical)?)
                }
            });
        }
        let watermark = match &spec.watermark {
            None => Rule::None,
            Some(WatermarkRule::Delay { column, us }) => Rule::Delay { column: *column, us: *us },
            Some(WatermarkRule::Expression(expr)) => Rule::Compiled(Compiled::new(expr, &spec.schema)?),
        };
        let decode = DecodeSettings {
            schema: physical,
            batch_rows: spec.settings.batch_rows,
            record_bytes_max: spec.settings.record_bytes_max,
        };
        let nullable = spec.schema.columns.iter().map(|column| column.nullable).collect();
        Ok(Plan { decode, format: spec.format.clone(), schema: spec.schema.arrow(), columns, nullable, watermark })
    }

    /// Computes what records do not carry. A row of which something cannot be computed is a fault.
    pub(super) fn compute(&self, decoded: RecordBatch) -> Result<Computed> {
        let rows = decoded.num_rows();
        let mut faults = None;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (origin, &nullable) in self.columns.iter().zip(&self.nullable) {
            columns.push(match origin {
                Origin::Carried(place) => Arc::clone(decoded.column(*place)),
                Origin::Generated(compiled) => {
                    let evaluated = compiled.evaluate(&decoded)?;
                    faults = Faults::union(faults, evaluated.faults);
                    if !nullable && evaluated.values.null_count() > 0 {
                        return Err(Error::unsupported("a generated column can not be NOT NULL"));
                    }
                    evaluated.values
                }
            });
        }
        let mut full = batch(SchemaRef::clone(&self.schema), columns, rows)?;
        if let Rule::Compiled(compiled) = &self.watermark {
            // A row whose watermark cannot be computed is none: else what comes after it could not be judged.
            let evaluated = compiled.evaluate(&full)?;
            faults = Faults::union(faults, evaluated.faults);
            full = without(&full, faults.as_ref())?;
            let keep = mask(faults.as_ref(), rows);
            let values = match keep {
                Some(keep) => arrow::compute::filter(&evaluated.values, &keep)?,
                None => evaluated.values,
            };
            let (before, largest) = running_max(&values, 0)?;
            return Ok(Computed { rows: full, before, largest, faults });
        }
        full = without(&full, faults.as_ref())?;
        let (before, largest) = match &self.watermark {
            Rule::Delay { column, us } if *column < full.num_columns() => running_max(full.column(*column), *us)?,
            Rule::None | Rule::Delay { .. } | Rule::Compiled(_) => (Vec::new(), i64::MIN),
        };
        Ok(Computed { rows: full, before, largest, faults })
    }

    /// Adds the faults of decoded rows to those of records, in the order of the records.
    pub(super) fn add_faults(&self, bad: &mut Vec<BadRecord>, faults: &Faults, block: &[u8], bytes: &Range<usize>) {
        let records = match &self.format {
            Some(format) => format.records(block.get(bytes.clone()).unwrap_or_default()),
            None => (0..bytes.len()).map(|record| record..record + 1).collect(),
        };
        let begins = |record: &Range<usize>| record.start + bytes.start;
        let good: Vec<Range<usize>> =
            records.into_iter().filter(|record| !bad.iter().any(|bad| bad.at.start == begins(record))).collect();
        for fault in faults.iter() {
            let at = good
                .get(fault.row as usize)
                .map_or(bytes.start..bytes.start, |record| record.start + bytes.start..record.end + bytes.start);
            bad.push(BadRecord { at, reason: fault.reason.message().to_owned() });
        }
        bad.sort_by_key(|bad| bad.at.start);
    }
}

fn over_carried(expr: &Expr, places: &HashMap<usize, usize>, name: &str) -> Result<Expr> {
    if expr.columns().iter().any(|column| !places.contains_key(column)) {
        return Err(Error::invalid(format!("generated column \"{name}\" refers to another generated column"))
            .with_hint("Write its expression out."));
    }
    let mut expr = expr.clone();
    expr.map_columns(&mut |column| places.get(&column).copied().unwrap_or_default());
    Ok(expr)
}

fn mask(faults: Option<&Faults>, rows: usize) -> Option<BooleanArray> {
    let faults = faults?;
    debug_assert_eq!(faults.mask.len(), rows);
    Some(BooleanArray::new(!&faults.mask, None))
}

fn without(rows: &RecordBatch, faults: Option<&Faults>) -> Result<RecordBatch> {
    match mask(faults, rows.num_rows()) {
        Some(keep) => Ok(filter_record_batch(rows, &keep)?),
        None => Ok(rows.clone()),
    }
}

/// Per row the largest of the values before it, less `delay_us`; and the largest of all. NULL says nothing.
fn running_max(times: &ArrayRef, delay_us: i64) -> Result<(Vec<i64>, i64)> {
    let times = times
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal("the watermark of a source is no timestamp"))?;
    let mut largest = i64::MIN;
    let mut before = Vec::with_capacity(times.len());
    let mut note = |value: Option<i64>| {
        before.push(largest);
        if let Some(value) = value {
            // The two ends of the range mean "none" and "end", which no row may claim.
            largest = largest.max(value.saturating_sub(delay_us).clamp(i64::MIN + 1, i64::MAX - 1));
        }
    };
    match times.nulls() {
        None => times.values().iter().for_each(|&value| note(Some(value))),
        Some(_) => times.iter().for_each(note),
    }
    Ok((before, largest))
}
