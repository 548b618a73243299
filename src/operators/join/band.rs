//! A band: which range of the other side's rows, ordered by one column, can meet a row at all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::types::{EncodedRows, RowCodec, Schema, SqlType};

/// `left + low <= right <= left + high`, in the units of the columns' type (microseconds, days, 1); a missing bound
/// bounds nothing. Both columns are of one type; bounds other than 0 are for types that are whole numbers inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Band {
    /// The left column.
    pub left: usize,
    /// The right column.
    pub right: usize,
    /// The smallest difference.
    pub low: Option<i64>,
    /// The largest difference.
    pub high: Option<i64>,
}

/// Ranges of the other side's order, one per arriving row.
pub(in crate::operators) struct Ranges {
    pub starts: Option<EncodedRows>,
    pub stops: Option<EncodedRows>,
}

impl Ranges {
    pub fn start(&self, row: usize) -> &[u8] {
        self.starts.as_ref().map_or(&[], |starts| starts.row(row))
    }

    /// Whether the range of `row` ends before a state row that begins with these bytes.
    pub fn ends_before(&self, row: usize, other: &[u8]) -> bool {
        let Some(stops) = &self.stops else { return false };
        let stop = stops.row(row);
        &other[..stop.len().min(other.len())] > stop
    }

    pub fn bytes(&self) -> usize {
        self.starts.iter().chain(&self.stops).map(EncodedRows::bytes).sum()
    }
}

/// Whether values of the type are whole numbers that bounds can be added to.
fn is_whole(ty: &SqlType) -> bool {
    matches!(
        ty,
        SqlType::SmallInt | SqlType::Int | SqlType::BigInt | SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz
    )
}

impl Band {
    /// Whether an index over this type orders rows as comparisons do, with bounds other than 0 if `shifted`.
    pub fn can_order(ty: &SqlType, shifted: bool) -> bool {
        is_whole(ty) || (!shifted && matches!(ty, SqlType::Decimal { .. } | SqlType::Varchar | SqlType::Time))
    }

    pub(super) fn check(&self, left: &Schema, right: &Schema) -> Result<()> {
        let types = (left.columns.get(self.left), right.columns.get(self.right));
        let shifted = [self.low, self.high].into_iter().flatten().any(|bound| bound != 0);
        match types {
            (Some(left), Some(right)) if left.ty == right.ty && Band::can_order(&left.ty, shifted) => Ok(()),
            _ => Err(Error::internal(format!("join band {self:?} does not fit its sides"))),
        }
    }

    /// For EXPLAIN.
    pub(super) fn text(&self, left: &Schema, right: &Schema) -> String {
        let name = |schema: &Schema, i: usize| schema.columns.get(i).map_or("?".to_owned(), |c| c.name.clone());
        format!("{} and {}", name(left, self.left), name(right, self.right))
    }

    /// The ranges of the other side for the rows of side `port`, whose column of the band is `values` (no NULLs).
    pub(super) fn ranges(&self, port: usize, values: &ArrayRef) -> Result<Ranges> {
        let (low, high) = match port {
            0 => (self.low, self.high),
            _ => (self.high.map(i64::saturating_neg), self.low.map(i64::saturating_neg)),
        };
        Ok(Ranges { starts: shifted(values, low)?, stops: shifted(values, high)? })
    }
}

/// `values + by` as canonical bytes; at the end of the type's range it stays there.
fn shifted(values: &ArrayRef, by: Option<i64>) -> Result<Option<EncodedRows>> {
    let Some(by) = by else { return Ok(None) };
    let ty = SqlType::from_arrow(values.data_type())?;
    let column = if by == 0 { Arc::clone(values) } else { add(values, by)? };
    Ok(Some(RowCodec::new(vec![ty]).encode_rows(&[column], values.len())?))
}

fn add(values: &ArrayRef, by: i64) -> Result<ArrayRef> {
    let (least, most) = match values.data_type() {
        DataType::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int32 | DataType::Date32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let wide = match values.data_type() {
        DataType::Date32 => cast(&cast(values, &DataType::Int32)?, &DataType::Int64)?,
        _ => cast(values, &DataType::Int64)?,
    };
    let wide = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&wide);
    let sums: Int64Array = wide.unary(|value: i64| value.saturating_add(by).clamp(least, most));
    let sums: ArrayRef = Arc::new(sums);
    Ok(match values.data_type() {
        DataType::Date32 => cast(&cast(&sums, &DataType::Int32)?, &DataType::Date32)?,
        ty => cast(&sums, ty)?,
    })
}
