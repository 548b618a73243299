//! Reading a bounded source once, from its start to its end, for a SELECT.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::reading::{Reading, Step};
use super::spec::{SourceSpec, SplitPoint, Wanted};
use crate::base::{Error, Result};

/// All rows of a bounded source, split after split. It blocks its thread while it reads and decodes.
pub struct BoundedReader {
    spec: Arc<SourceSpec>,
    wanted: Wanted,
    splits: VecDeque<SplitPoint>,
    reading: Option<Reading>,
}

impl BoundedReader {
    /// Reads `columns` of the source. Refuses a source that does not end.
    pub fn new(spec: Arc<SourceSpec>, columns: Vec<usize>) -> Result<Self> {
        if !spec.connector.promises().bounded {
            return Err(Error::unsupported(format!(
                "source \"{}\" does not end, so it can not be read whole",
                spec.name
            ))
            .with_hint("Create a materialized view over it and read that."));
        }
        let splits = spec.start()?.into();
        Ok(BoundedReader { spec, wanted: Wanted::Rows { columns, watermark: false }, splits, reading: None })
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(reading) = &mut self.reading else {
                let Some(point) = self.splits.pop_front() else { return Ok(None) };
                self.reading = Some(Reading::open(&self.spec, &point)?);
                continue;
            };
            match reading.next()? {
                Step::Ready(ready) => {
                    if let Some(batch) = ready.project(&self.wanted)? {
                        return Ok(Some(batch.rows));
                    }
                }
                Step::Wait | Step::Bound | Step::End => self.reading = None,
            }
        }
    }
}

impl Iterator for BoundedReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.reading = None;
            self.splits.clear();
        }
        step.transpose()
    }
}
