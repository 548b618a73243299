//! Connector `datagen`: rows made up column by column: sequences, random values, choices.
//!
//! A value is a function of its row's number, its column's place and the seed, so the source replays.

mod field;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use self::field::Field;
use super::Numbered;
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::types::Schema;

/// Rows of a batch.
const BATCH_ROWS: u64 = 8192;

/// What the statement says of one column: `kind`, `min`, ... by their names.
pub type FieldOptions = BTreeMap<String, String>;

/// Options of a column.
pub const FIELD_OPTIONS: [&str; 10] =
    ["kind", "start", "end", "step", "min", "max", "length", "choices", "seed", "nulls"];

/// The generator of made-up rows.
pub struct Datagen {
    schema: SchemaRef,
    fields: Vec<Field>,
    bytes_per_row: u64,
}

impl Datagen {
    /// Rows with `columns`; `fields` says how each is made (else: random).
    pub fn new(columns: &Schema, fields: &BTreeMap<String, FieldOptions>) -> Result<Datagen> {
        for name in fields.keys() {
            if columns.index_of(name).is_none() {
                let error = Error::invalid(format!("option \"fields.{name}\" names no column"))
                    .with_code(sqlstate::UNDEFINED_COLUMN);
                let names = columns.columns.iter().map(|column| column.name.as_str());
                return Err(match did_you_mean(name, names) {
                    Some(hint) => error.with_hint(hint),
                    None => error.with_hint("Name a column that is declared and not generated."),
                });
            }
        }
        let none = FieldOptions::new();
        let made = columns.columns.iter().enumerate().map(|(place, column)| {
            Field::new(place, column, fields.get(&column.name).unwrap_or(&none))
                .map_err(|error| error.context(format!("in column \"{}\"", column.name)))
        });
        let fields: Vec<Field> = made.collect::<Result<_>>()?;
        let bytes_per_row = fields.iter().map(Field::bytes).sum::<u64>().max(1);
        Ok(Datagen { schema: columns.arrow(), fields, bytes_per_row })
    }
}

impl Numbered for Datagen {
    fn rows(&self, from: u64, to: u64) -> Result<RecordBatch> {
        let columns = self.fields.iter().map(|field| field.values(from, to)).collect::<Result<Vec<ArrayRef>>>()?;
        let rows = usize::try_from(to - from).unwrap_or(usize::MAX);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }

    fn events_per_batch(&self) -> u64 {
        BATCH_ROWS
    }

    fn bytes_per_event(&self) -> u64 {
        self.bytes_per_row
    }
}
