//! The spec of `asof`: its sides, their times, and when state is freed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use serde::{Deserialize, Serialize};

use super::{Asof, Bounds};
use crate::base::{Error, Result};
use crate::operators::join::Side;
use crate::operators::spec::names;
use crate::state::TableSpec;
use crate::types::{Column, RowCodec, Schema, SqlType};

/// A join of left rows with the newest right row of their key. Port 0 of the input is the left side, port 1 the right;
/// the output has the left columns, then the right ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AsofSpec {
    /// The schema of the left input.
    pub left: Schema,
    /// The schema of the right input.
    pub right: Schema,
    /// Pairs of (left column, right column) of one type that must be equal; NULL equals nothing.
    pub on: Vec<(usize, usize)>,
    /// The column of the left rows' time, a timestamp.
    pub left_time: usize,
    /// The column of the versions' time, of the same type.
    pub right_time: usize,
    /// Whether a version must be older than the row; otherwise it may be of the same time.
    pub strict: bool,
    /// Whether rows without a version are shown, beside NULLs.
    pub outer: bool,
    /// What both sides are sealed at: after an epoch whose watermark was *W*, only rows with `time + shift > W` come,
    /// and none is taken back. `None`: rows are kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_us: Option<[i64; 2]>,
}

impl AsofSpec {
    /// The schema of port 0.
    pub(in crate::operators) fn output(&self) -> Schema {
        let right = self.right.columns.iter();
        let right = right.map(|column| Column { nullable: column.nullable || self.outer, ..column.clone() });
        Schema::new(self.left.columns.iter().cloned().chain(right).collect())
    }

    /// For EXPLAIN.
    pub(in crate::operators) fn detail(&self) -> String {
        let pair = |&(left, right): &(usize, usize)| {
            format!("{} = {}", names(&self.left, &[left]), names(&self.right, &[right]))
        };
        let on: Vec<String> = self.on.iter().map(pair).collect();
        format!(
            "{}on {}{}the newest {} {} {}",
            if self.outer { "left " } else { "" },
            on.join(" and "),
            if on.is_empty() { "" } else { ", " },
            names(&self.right, &[self.right_time]),
            if self.strict { "<" } else { "<=" },
            names(&self.left, &[self.left_time]),
        )
    }

    /// What bounds the state.
    pub(in crate::operators) fn bounded_by(&self) -> String {
        match self.sealed_us {
            None => "the rows of both inputs".to_owned(),
            Some(_) => format!(
                "rows whose {} the watermark of the right side has not passed, the versions that a watermark has not passed, and one of each key",
                names(&self.left, &[self.left_time])
            ),
        }
    }

    /// By which columns rows of a side are exchanged.
    pub(in crate::operators) fn partition(&self, port: usize) -> Vec<usize> {
        self.on.iter().map(|&(left, right)| if port == 0 { left } else { right }).collect()
    }

    pub(super) fn time(&self, side: usize) -> usize {
        if side == 0 { self.left_time } else { self.right_time }
    }

    pub(in crate::operators) fn tables(&self) -> Result<Vec<TableSpec>> {
        let sides = self.sides()?;
        let mut tables: Vec<TableSpec> = sides.iter().map(|side| side.table("")).collect();
        if self.sealed_us.is_some() {
            for (i, side) in sides.iter().enumerate() {
                let order = vec![side.schema.columns[self.time(i)].ty.clone()];
                let name = format!("{}_due", side.name);
                tables.push(TableSpec::ordered(name, order, side.key_types.clone(), Vec::new()));
            }
        }
        Ok(tables)
    }

    fn sides(&self) -> Result<[Side; 2]> {
        let left = Side::new("left", &self.left, self.partition(0), Some(self.left_time))?;
        let right = Side::new("right", &self.right, self.partition(1), Some(self.right_time))?;
        let time = (&self.left.columns[self.left_time].ty, &self.right.columns[self.right_time].ty);
        if left.key_types != right.key_types || time.0 != time.1 || !time.0.is_timestamp() {
            return Err(Error::internal(
                "asof join has other types on the left than on the right, or times of no time",
            ));
        }
        Ok([left, right])
    }

    pub(in crate::operators) fn build(&self) -> Result<Asof> {
        let sides = self.sides()?;
        Ok(Asof { spec: self.clone(), sides, output: self.output().arrow(), open: None })
    }

    /// Where rows begin whose time is not below `times`, or with `behind` those whose time is above, as bytes that a
    /// kept row is compared with.
    pub(super) fn after(&self, times: ArrayRef, behind: bool) -> Result<Bounds> {
        let ty: SqlType = self.left.columns[self.left_time].ty.clone();
        let times = if behind {
            let plain = cast(&times, &DataType::Int64)?;
            let later: Int64Array = plain.as_primitive::<Int64Type>().unary(|time: i64| time.saturating_add(1));
            let later: ArrayRef = Arc::new(later);
            cast(&later, &ty.arrow())?
        } else {
            times
        };
        let rows = times.len();
        RowCodec::new(vec![ty]).encode_rows(&[times], rows)
    }
}
