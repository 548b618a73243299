//! `row_order(a, b, ...)`: a row's canonical bytes, by which ties are broken. The binder adds it behind ORDER BY wherever
//! the order of peers can be seen, so that reads, the oracle and the operators agree; nobody can name it in SQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::udf::external;
use crate::types::{RowCodec, SqlType};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RowOrder {
    signature: Signature,
}

/// The order of whole rows: their `columns` as canonical bytes, the first one weighing most.
pub fn row_order(columns: impl IntoIterator<Item = Column>) -> Expr {
    call(columns.into_iter().map(Expr::Column).collect(), Volatility::Immutable)
}

fn call(args: Vec<Expr>, volatility: Volatility) -> Expr {
    ScalarUDF::new_from_impl(RowOrder { signature: Signature::variadic_any(volatility) }).call(args)
}

/// The arguments of a call of `row_order`.
pub fn row_order_args(expr: &Expr) -> Option<&[Expr]> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let inner: &dyn std::any::Any = call.func.inner().as_ref();
    inner.is::<RowOrder>().then_some(call.args.as_slice())
}

/// A call of `row_order` that is not computed beforehand as a column of its own: the operators keep the row itself.
pub fn keep_row_order(expr: &Expr) -> Option<Expr> {
    let args = row_order_args(expr)?;
    Some(call(args.to_vec(), Volatility::Volatile))
}

impl ScalarUDFImpl for RowOrder {
    fn name(&self) -> &str {
        "row_order"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.iter().try_for_each(|ty| SqlType::from_arrow(ty).map(drop)).map_err(external)?;
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut types = Vec::with_capacity(args.args.len());
        let mut columns = Vec::with_capacity(args.args.len());
        for arg in &args.args {
            let column = arg.to_array(args.number_rows)?;
            let ty = SqlType::from_arrow(column.data_type()).map_err(external)?;
            let exact = *column.data_type() == ty.arrow();
            columns.push(if exact { column } else { arrow::compute::cast(&column, &ty.arrow())? });
            types.push(ty);
        }
        let rows = RowCodec::new(types).encode_rows(&columns, args.number_rows).map_err(external)?;
        let mut values = BinaryBuilder::with_capacity(rows.len(), rows.bytes());
        rows.iter().for_each(|row| values.append_value(row));
        Ok(ColumnarValue::Array(Arc::new(values.finish()) as ArrayRef))
    }
}
