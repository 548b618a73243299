//! `may_be_null(a)`: its argument, told to be NULL at times. The binder puts it around scalar sub-queries: DataFusion takes
//! one over a NOT NULL column for never NULL, and it is where there is no row. Nobody can name it in SQL.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// What the function is called in plans.
pub(super) const NAME: &str = "may_be_null";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MayBeNull {
    signature: Signature,
}

/// `expr`, NULL at times.
pub fn may_be_null(expr: Expr) -> Expr {
    ScalarUDF::new_from_impl(MayBeNull { signature: Signature::any(1, Volatility::Immutable) }).call(vec![expr])
}

impl ScalarUDFImpl for MayBeNull {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| exec_datafusion_err!("may_be_null has an argument"))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = args.arg_fields.first().ok_or_else(|| exec_datafusion_err!("may_be_null has an argument"))?;
        Ok(Arc::new(Field::clone(field).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args.into_iter().next().ok_or_else(|| exec_datafusion_err!("may_be_null has an argument"))
    }
}
