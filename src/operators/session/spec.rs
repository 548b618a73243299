//! The spec of `session`: rows of a key that follow each other within a gap.

use arrow::datatypes::IntervalMonthDayNano;
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::functions::write_interval;
use crate::operators::partition::{OrderKey, PartitionCodec, RowOrder};
use crate::operators::spec::names;
use crate::state::TableSpec;
use crate::types::{Column, Schema, SqlType};

/// Appends `window_start` and `window_end` of each row's session. A row whose time is NULL belongs to none and goes
/// nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// The schema of the input.
    pub input: Schema,
    /// The columns by which sessions are kept apart.
    pub keys: Vec<usize>,
    /// The column of the event time, a timestamp.
    pub time: usize,
    /// The longest pause within a session, above 0.
    pub gap_us: i64,
    /// How far the watermark must be behind a session's end until no change can touch the session; then it is freed.
    /// `None`: changes may come at any time.
    pub free_after_us: Option<i64>,
    /// Whether rows are shown once, when their session is freed.
    pub on_close: bool,
}

impl SessionSpec {
    /// The type of the time.
    pub(super) fn time_type(&self) -> Result<SqlType> {
        match self.input.columns.get(self.time) {
            Some(column) if column.ty.is_timestamp() && self.gap_us > 0 => Ok(column.ty.clone()),
            _ => Err(Error::internal(format!("session over column {} with a gap of {} us", self.time, self.gap_us))),
        }
    }

    /// The schema of port 0.
    pub(in crate::operators) fn output(&self) -> Result<Schema> {
        let ty = self.time_type()?;
        let mut columns = self.input.columns.clone();
        for name in ["window_start", "window_end"] {
            columns.push(Column { name: name.into(), ty: ty.clone(), nullable: false });
        }
        Ok(Schema::new(columns))
    }

    /// Rows to state and back: by key, in order of time.
    pub(super) fn codec(&self) -> Result<PartitionCodec> {
        let order = vec![OrderKey { column: self.time, descending: false, nulls_first: false }];
        PartitionCodec::new(&self.input, &RowOrder { partition: self.keys.clone(), order, tie: Vec::new() })
    }

    pub(in crate::operators) fn tables(&self) -> Result<Vec<TableSpec>> {
        self.time_type()?;
        let codec = self.codec()?;
        let keys = codec.key_types().to_vec();
        let mut tables = vec![TableSpec::bag("rows", keys.clone(), codec.row_types())];
        if self.free_after_us.is_some() {
            tables.push(TableSpec::ordered("ends", vec![SqlType::Timestamp], keys, vec![SqlType::BigInt]));
        } else if self.on_close {
            return Err(Error::internal("sessions that are never freed cannot be shown when they are"));
        }
        Ok(tables)
    }

    /// For EXPLAIN.
    pub(in crate::operators) fn detail(&self) -> String {
        let mut text = format!("{} gap {}", names(&self.input, &[self.time]), span(self.gap_us));
        if !self.keys.is_empty() {
            text.push_str(&format!(" by ({})", names(&self.input, &self.keys)));
        }
        if self.on_close {
            text.push_str(", on close");
        }
        text
    }

    /// What bounds the state.
    pub(in crate::operators) fn bounded_by(&self) -> String {
        match self.free_after_us {
            Some(0) => "the rows of sessions that the watermark has not closed".to_owned(),
            Some(after) => format!("the rows of sessions that the watermark has not passed by {}", span(after)),
            None => "the rows of the input".to_owned(),
        }
    }
}

/// A length of time, for EXPLAIN.
fn span(us: i64) -> String {
    const DAY_US: i64 = 86_400_000_000;
    let days = i32::try_from(us / DAY_US).unwrap_or(i32::MAX);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_interval(IntervalMonthDayNano::new(0, days, us % DAY_US * 1000), &mut text);
    text
}
