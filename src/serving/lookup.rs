//! Point reads: `column = constant` on the first key columns, with and without the query engine.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableScan};

use super::SnapshotTable;
use crate::base::Result;
use crate::state::Snapshot;

/// A condition `column = value`, the value being of the column's type.
#[derive(Debug)]
pub struct KeyFilter {
    /// The column's place in the table.
    pub(super) column: usize,
    value: ArrayRef,
}

impl KeyFilter {
    /// `filter` as such a condition on a table of `schema`.
    pub fn of(filter: &Expr, schema: &Schema) -> Option<KeyFilter> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
        let (column, value) = match (&**left, &**right) {
            (column, Expr::Literal(value, _)) | (Expr::Literal(value, _), column) => (column, value),
            _ => return None,
        };
        let place = widened(column, schema)?;
        let value = same_value(value, schema.field(place).data_type())?;
        Some(KeyFilter { column: place, value })
    }

    /// The column's place in the table.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The value, one row of the column's type.
    pub fn value(&self) -> &ArrayRef {
        &self.value
    }
}

/// The place of the column that `expr` is, maybe as a wider whole number: equality is the same then.
fn widened(expr: &Expr, schema: &Schema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of(&column.name).ok(),
        Expr::Cast(cast) => {
            let Expr::Column(column) = &*cast.expr else { return None };
            let place = schema.index_of(&column.name).ok()?;
            let (from, to) = (schema.field(place).data_type(), cast.field.data_type());
            let wider = from.is_signed_integer() && to.is_signed_integer() && from.size() <= to.size();
            wider.then_some(place)
        }
        _ => None,
    }
}

/// `value` as one row of `wanted`, if that is the very same value and equality is that of the encoding.
fn same_value(value: &ScalarValue, wanted: &DataType) -> Option<ArrayRef> {
    if value.is_null() || !equal_as_encoded(wanted) {
        return None;
    }
    let found = value.data_type();
    if found != *wanted {
        let numbers = (found.is_integer() || found.is_decimal()) && (wanted.is_integer() || wanted.is_decimal());
        let texts = found.is_string() && wanted.is_string();
        if !numbers && !texts {
            return None;
        }
        let cast = value.cast_to(wanted).ok()?;
        if cast.is_null() || cast.cast_to(&found).ok()? != *value {
            return None;
        }
        return cast.to_array().ok();
    }
    value.to_array().ok()
}

/// Whether equality of values of this type is that of their encoding (a float's is not: 0 and -0).
pub(super) fn equal_as_encoded(ty: &DataType) -> bool {
    !ty.is_floating()
}

/// The encoded prefix that `filters` fix, if they fix the first key column.
pub(super) fn key_prefix(snapshot: &Snapshot, filters: &[KeyFilter]) -> Result<Option<Vec<u8>>> {
    let values: Vec<ArrayRef> = prefix_values(snapshot, filters);
    if values.is_empty() {
        return Ok(None);
    }
    Ok(Some(snapshot.encode_key(&values)?.row(0).to_vec()))
}

fn prefix_values(snapshot: &Snapshot, filters: &[KeyFilter]) -> Vec<ArrayRef> {
    let value =
        |column: &usize| filters.iter().find(|filter| filter.column == *column).map(|filter| Arc::clone(&filter.value));
    snapshot.key_columns().iter().map_while(value).collect()
}

/// The rows of `SELECT columns FROM view WHERE key = constant`, read without the query engine; `None` when `plan` is
/// anything else. Works on plans that are bound to snapshots and not yet optimised.
pub(super) fn answer(plan: &LogicalPlan) -> Result<Option<RecordBatch>> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(None) };
    let LogicalPlan::Filter(filter) = &*projection.input else { return Ok(None) };
    let Some((scan, snapshot)) = scanned(&filter.input) else { return Ok(None) };
    let schema = snapshot.schema();
    let Some(columns) = projection.expr.iter().map(|expr| place(expr, scan)).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let conditions = split_conjunction(&filter.predicate);
    let Some(filters) = conditions.iter().map(|c| KeyFilter::of(c, &schema)).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let values = prefix_values(snapshot, &filters);
    if values.is_empty() || values.len() != filters.len() {
        return Ok(None);
    }
    let shown = Arc::clone(plan.schema().inner());
    let Some(rows) = snapshot.get(snapshot.encode_key(&values)?.row(0))? else {
        return Ok(Some(RecordBatch::new_empty(shown)));
    };
    let found = columns.iter().map(|&column| Arc::clone(rows.column(column))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(Some(RecordBatch::try_new_with_options(shown, found, &options)?))
}

/// The scan of a snapshot that `plan` is, maybe under another name.
fn scanned(plan: &LogicalPlan) -> Option<(&TableScan, &Snapshot)> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => scanned(&alias.input),
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
            Some((scan, snapshot_of(scan)?))
        }
        _ => None,
    }
}

/// The snapshot behind a scan.
pub(super) fn snapshot_of(scan: &TableScan) -> Option<&Snapshot> {
    let source: &dyn std::any::Any = &*scan.source;
    let provider = &source.downcast_ref::<DefaultTableSource>()?.table_provider;
    Some(provider.downcast_ref::<SnapshotTable>()?.snapshot())
}

/// The place in the table of a plain column, maybe renamed.
fn place(expr: &Expr, scan: &TableScan) -> Option<usize> {
    match expr {
        Expr::Column(Column { name, .. }) => scan.source.schema().index_of(name).ok(),
        Expr::Alias(alias) => place(&alias.expr, scan),
        _ => None,
    }
}
