//! From decoded records to rows of the source: the hidden watermark, and faults as rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int64Array, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};

use super::computed::Plan;
use super::spec::{SourceSpec, Wanted, source_fault_schema};
use crate::base::Result;
use crate::connectors::{Oversize, Place};
use crate::formats::{Decoded, oversize_reason};
use crate::types::{DeltaBatch, Position, SplitId};

/// The name of the hidden column.
pub(super) const HIDDEN: &str = "__watermark";

/// Rows of one stretch of a split, before the watermark of what came earlier is known.
pub(super) struct Stretch {
    pub(super) rows: RecordBatch,
    /// Per row: the largest watermark value of the rows before it in this stretch. Empty without `WATERMARK FOR`.
    before: Vec<i64>,
    /// The largest of the whole stretch.
    largest: i64,
    pub(super) faults: Option<RecordBatch>,
    pub(super) end: Position,
    pub(super) bytes: u64,
}

/// Rows ready to be handed over.
#[derive(Clone)]
pub(super) struct Ready {
    /// The columns of the source, then the hidden one.
    pub(super) rows: RecordBatch,
    pub(super) faults: Option<RecordBatch>,
    pub(super) end: Position,
    pub(super) bytes: u64,
    /// The split's watermark behind it.
    pub(super) watermark: i64,
}

impl Stretch {
    /// From decoded records of a block that begins at `place` (bytes `block`).
    pub(super) fn new(plan: &Plan, split: &SplitId, decoded: Decoded, block: &[u8], place: &Place) -> Result<Self> {
        let computed = plan.compute(decoded.rows)?;
        let mut bad = decoded.bad;
        if let Some(faults) = &computed.faults {
            plan.add_faults(&mut bad, faults, block, &decoded.bytes);
        }
        let mut faults = FaultRows::new(split, bad.len());
        for bad in &bad {
            let record = block.get(bad.at.clone()).unwrap_or_default();
            faults.push(&bad.reason, record, &place.position(bad.at.start as u64));
        }
        Ok(Stretch {
            rows: computed.rows,
            before: computed.before,
            largest: computed.largest,
            faults: faults.finish()?,
            end: place.position(decoded.bytes.end as u64),
            bytes: (decoded.bytes.end - decoded.bytes.start) as u64,
        })
    }

    /// Of a record that was too long to keep.
    pub(super) fn oversize(spec: &SourceSpec, split: &SplitId, record: &Oversize) -> Result<Self> {
        let mut faults = FaultRows::new(split, 1);
        let reason = oversize_reason(record.length, record.limit);
        faults.push(&reason, &record.head, &record.place.position(0));
        Ok(Stretch {
            rows: RecordBatch::new_empty(spec.schema.arrow()),
            before: Vec::new(),
            largest: i64::MIN,
            faults: faults.finish()?,
            end: record.place.position(record.length),
            bytes: record.length,
        })
    }

    /// With the hidden column, given the split's watermark before it. `schema` is [`full_schema`].
    pub(super) fn finish(mut self, schema: &SchemaRef, watermark: i64) -> Result<Ready> {
        let rows = self.rows.num_rows();
        if self.before.is_empty() {
            self.before = vec![watermark; rows];
        } else {
            // What lies before the stretch is the larger of the two until a row in it passes it; then never again.
            for value in self.before.iter_mut().take_while(|value| **value < watermark) {
                *value = watermark;
            }
        }
        let hidden: ArrayRef = Arc::new(Int64Array::from(self.before));
        let columns = self.rows.columns().iter().cloned().chain([hidden]).collect();
        let rows = batch(SchemaRef::clone(schema), columns, rows)?;
        let watermark = watermark.max(self.largest);
        Ok(Ready { rows, faults: self.faults, end: self.end, bytes: self.bytes, watermark })
    }
}

impl Ready {
    /// How many records it holds that are no rows.
    pub(super) fn fault_count(&self) -> usize {
        self.faults.as_ref().map_or(0, RecordBatch::num_rows)
    }

    /// What a subscriber that wants `wanted` gets of it, if anything.
    pub(super) fn project(&self, wanted: &Wanted) -> Result<Option<DeltaBatch>> {
        let rows = match wanted {
            Wanted::Faults => self.faults.clone(),
            Wanted::Rows { columns, watermark } => {
                let hidden = watermark.then(|| self.rows.num_columns().saturating_sub(1));
                let indices: Vec<usize> = columns.iter().copied().chain(hidden).collect();
                Some(self.rows.project(&indices)?)
            }
        };
        Ok(rows.filter(|rows| rows.num_rows() > 0).map(DeltaBatch::inserts))
    }
}

/// The columns of the source and the hidden one behind them.
pub(super) fn full_schema(spec: &SourceSpec) -> SchemaRef {
    let arrow = spec.schema.arrow();
    let hidden = Arc::new(Field::new(HIDDEN, DataType::Int64, false));
    Arc::new(ArrowSchema::new(arrow.fields().iter().cloned().chain([hidden]).collect::<Vec<_>>()))
}

/// Builds rows of [`source_fault_schema`].
struct FaultRows<'a> {
    split: &'a SplitId,
    reason: StringBuilder,
    record: BinaryBuilder,
    splits: StringBuilder,
    position: StringBuilder,
    rows: usize,
}

impl<'a> FaultRows<'a> {
    fn new(split: &'a SplitId, rows: usize) -> Self {
        FaultRows {
            split,
            reason: StringBuilder::with_capacity(rows, 0),
            record: BinaryBuilder::with_capacity(rows, 0),
            splits: StringBuilder::with_capacity(rows, 0),
            position: StringBuilder::with_capacity(rows, 0),
            rows: 0,
        }
    }

    fn push(&mut self, reason: &str, record: &[u8], position: &Position) {
        self.reason.append_value(reason);
        self.record.append_value(record);
        self.splits.append_value(&self.split.0);
        self.position.append_value(&position.0);
        self.rows += 1;
    }

    fn finish(mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.reason.finish()),
            Arc::new(self.record.finish()),
            Arc::new(self.splits.finish()),
            Arc::new(self.position.finish()),
        ];
        batch(source_fault_schema().arrow(), columns, self.rows).map(Some)
    }
}

pub(super) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
