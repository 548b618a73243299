//! `union`: n inputs of the same column types pass through to one output (UNION ALL).

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::spec::Door;
use super::{EpochEnd, Flow, MAIN_PORT, Operator, Output};
use crate::base::Result;
use crate::state::OperatorState;
use crate::types::{DeltaBatch, Schema};

/// A union of `inputs` relations whose columns have the types of `schema`, whatever their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnionSpec {
    /// The schema of the output.
    pub schema: Schema,
    /// How many input ports.
    pub inputs: usize,
}

impl UnionSpec {
    pub(super) fn build(&self) -> Union {
        Union { schema: self.schema.arrow(), inputs: self.inputs, door: Door::new("union", &self.schema) }
    }
}

/// Passes batches on under the output's schema.
pub(super) struct Union {
    schema: SchemaRef,
    inputs: usize,
    door: Door,
}

impl Operator for Union {
    fn on_delta(&mut self, port: usize, batch: &DeltaBatch, _: &mut OperatorState, out: &mut Output) -> Result<Flow> {
        if port >= self.inputs {
            return Err(self.door.no_port(port));
        }
        self.door.check(&batch.rows)?;
        out.emit(MAIN_PORT, DeltaBatch { rows: under(&batch.rows, &self.schema)?, weights: batch.weights.clone() });
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, _: &EpochEnd, _: &mut OperatorState, _: &mut Output) -> Result<Flow> {
        Ok(Flow::Done)
    }
}

/// The same columns under another schema of the same types.
pub(super) fn under(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), rows.columns().to_vec(), &options)?)
}

#[cfg(test)]
mod tests;
