//! The keys that a join wants of a scan: once it holds its other side and that is small, DataFusion says so in a filter
//! (`column IN (...)`), and the scan reads these keys instead of everything.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{Column, InListExpr, Literal};
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;

use super::lookup::equal_as_encoded;
use super::scan::external;
use crate::state::Snapshot;

/// Encoded prefixes of the keys of `snapshot`, each once, that hold every row which one of `filters` lets through now;
/// `None` when none of them names keys. `place` gives the column of the snapshot that a column of the filters is.
pub(super) fn keys(
    filters: &[Arc<dyn PhysicalExpr>],
    snapshot: &Snapshot,
    place: impl Fn(usize) -> usize,
) -> Result<Option<BTreeSet<Vec<u8>>>> {
    for filter in filters {
        let now = snapshot_physical_expr(Arc::clone(filter))?;
        for condition in split_conjunction(&now) {
            if let Some(found) = condition.downcast_ref::<InListExpr>().filter(|list| !list.negated())
                && let Some(keys) = keys_in(found, snapshot, &place)?
            {
                return Ok(Some(keys));
            }
        }
    }
    Ok(None)
}

fn keys_in(
    list: &InListExpr,
    snapshot: &Snapshot,
    place: &impl Fn(usize) -> usize,
) -> Result<Option<BTreeSet<Vec<u8>>>> {
    let columns: Vec<&Arc<dyn PhysicalExpr>> = match list.expr().downcast_ref::<ScalarFunctionExpr>() {
        Some(row) if row.fun().name() == "struct" => row.args().iter().collect(),
        Some(_) => return Ok(None),
        None => vec![list.expr()],
    };
    let places: Vec<Option<usize>> =
        columns.iter().map(|column| Some(place(column.downcast_ref::<Column>()?.index()))).collect();
    let schema = snapshot.schema();
    let fixed = |column: &usize| {
        let exact = equal_as_encoded(schema.field(*column).data_type());
        places.iter().position(|place| *place == Some(*column)).filter(|_| exact)
    };
    let prefix: Vec<(usize, usize)> =
        snapshot.key_columns().iter().map_while(|column| Some((*column, fixed(column)?))).collect();
    let values: Option<Vec<&ScalarValue>> =
        list.list().iter().map(|value| value.downcast_ref::<Literal>().map(Literal::value)).collect();
    let Some(values) = values.filter(|_| !prefix.is_empty()) else { return Ok(None) };
    let mut keys = BTreeSet::new();
    for value in values {
        let parts = prefix.iter().map(|&(column, part)| {
            let part = match value {
                ScalarValue::Struct(row) if columns.len() > 1 => row.column(part).slice(0, 1),
                value => value.to_array()?,
            };
            Ok((part.data_type() == schema.field(column).data_type()).then_some(part))
        });
        let Some(parts) = parts.collect::<Result<Option<Vec<ArrayRef>>>>()? else { return Ok(None) };
        // What equals nothing is not looked up.
        if parts.iter().all(|part| part.is_valid(0)) {
            keys.insert(snapshot.encode_key(&parts).map_err(external)?.row(0).to_vec());
        }
    }
    Ok(Some(keys))
}
