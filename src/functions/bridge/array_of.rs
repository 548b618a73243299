//! `ARRAY(query)` as statements are bound with it; the planner makes an aggregate of it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The function that makes an array of the rows of its argument, a sub-query.
pub const ARRAY_OF: &str = "__array_of";

/// [`ARRAY_OF`]; it never runs.
pub fn array_of() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(ArrayOf { signature: Signature::any(1, Volatility::Stable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayOf {
    signature: Signature,
}

impl ScalarUDFImpl for ArrayOf {
    fn name(&self) -> &str {
        ARRAY_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let element = types.first().cloned().unwrap_or(DataType::Null);
        Ok(DataType::List(Arc::new(Field::new_list_field(element, true))))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        datafusion::common::internal_err!("ARRAY(sub-query) was not taken out of the plan")
    }
}
